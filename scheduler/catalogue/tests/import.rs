//! Inventories: all or nothing, the same twice, and what trust means.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod support;

use std::sync::Arc;

use domicile_catalogue::{Catalogue, ImportError, ImportOptions, ImportSummary, InventoryRow};
use domicile_estate::{ByteCount, CopyState};
use support::{Fixture, backend, key, listing, name, options, row, state};

async fn import(
    catalogue: &Catalogue,
    options: ImportOptions,
    rows: &[InventoryRow],
) -> Result<ImportSummary, ImportError> {
    let mut import = catalogue.begin_import(options).await?;
    import.add(rows).await?;
    import.commit().await
}

#[tokio::test]
async fn what_an_inventory_says_is_unknown_and_the_origin_listed() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    let rows = [
        row(2, "d", "a", 1, &["src", "b"]),
        row(3, "e", "a", 2, &[]),
        row(4, "d", "b", 4, &["src", "b"]),
    ];
    let summary = import(catalogue, options(false), &rows).await.unwrap();
    assert_eq!(
        (
            summary.datasets,
            summary.objects,
            summary.bytes.0,
            summary.copies_added
        ),
        (2, 3, 7, 2)
    );
    assert_eq!(state(catalogue, "src").await, Some((CopyState::Listed, 0, 0)));
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Unknown, 2, 5)));
    let datasets = catalogue.inventory_datasets().await.unwrap();
    assert_eq!(datasets.len(), 2);
    assert_eq!(
        datasets[0].origin.as_ref().map(|origin| origin.backend.clone()),
        Some(backend("src"))
    );
    assert_eq!(datasets[1].origin, None);
}

#[tokio::test]
async fn a_trusted_inventory_is_taken_as_verified_object_by_object() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    let rows = [
        row(2, "d", "a", 1, &["src", "b"]),
        row(3, "d", "b", 4, &["src", "b"]),
    ];
    import(catalogue, options(true), &rows).await.unwrap();
    assert_eq!(state(catalogue, "src").await, Some((CopyState::Verified, 0, 0)));
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Verified, 0, 0)));
    let observed = catalogue.observed(&[]).await.unwrap();
    assert!(
        observed.datasets[&name("d")]
            .copies
            .iter()
            .all(|copy| copy.trusted)
    );
    assert!(catalogue.registered().await.unwrap()[&name("d")].origin_trusted);
    assert!(
        catalogue
            .objects_missing_on(&name("d"), &backend("b"), None, 9)
            .await
            .unwrap()
            .is_empty()
    );
    let object = catalogue.objects(&name("d"), None, 9).await.unwrap()[0].object_id;
    catalogue
        .record_damaged(object, &backend("b"), "rot", 5)
        .await
        .unwrap();
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Damaged, 1, 1)));
    // Saying so again does not make it whole.
    import(catalogue, options(true), &rows).await.unwrap();
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Damaged, 1, 1)));
    let missing = catalogue
        .objects_missing_on(&name("d"), &backend("b"), None, 9)
        .await
        .unwrap();
    assert!(missing.len() == 1 && missing[0].ours_recorded);
}

#[tokio::test]
async fn trust_reaches_only_what_was_listed() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    import(catalogue, options(true), &[row(2, "d", "a", 1, &["src", "b"])])
        .await
        .unwrap();
    catalogue
        .record_origin(&listing("d", ("src", ""), &[("a", 1, 1), ("new", 8, 1)]))
        .await
        .unwrap();
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Incomplete, 1, 8)));
    assert_eq!(state(catalogue, "src").await, Some((CopyState::Listed, 0, 0)));
    import(catalogue, options(true), &[row(2, "d", "c", 2, &["src", "b"])])
        .await
        .unwrap();
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Incomplete, 1, 8)));
    import(catalogue, options(true), &[row(2, "d", "new", 8, &["src", "b"])])
        .await
        .unwrap();
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Verified, 0, 0)));
}

#[tokio::test]
async fn the_same_inventory_twice_changes_nothing() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    for trust in [false, true] {
        let text = if trust { "t" } else { "u" };
        let rows = [
            row(2, text, "a", 1, &["src", "b"]),
            row(3, text, "b", 4, &["src", "b"]),
        ];
        import(catalogue, options(trust), &rows).await.unwrap();
        let before = catalogue.observed(&[]).await.unwrap();
        let summary = import(catalogue, options(trust), &rows).await.unwrap();
        assert_eq!(
            (summary.objects, summary.objects_added, summary.copies_added),
            (2, 0, 0)
        );
        assert_eq!(catalogue.observed(&[]).await.unwrap(), before);
    }
}

#[tokio::test]
async fn rows_that_contradict_what_is_known_refuse_the_whole_inventory() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    let with = |sha256: u8, row: InventoryRow| InventoryRow {
        sha256: Some([sha256; 32]),
        ..row
    };
    let first = [
        with(1, row(2, "d", "a", 1, &["src"])),
        row(3, "d", "b", 4, &["src"]),
    ];
    import(catalogue, options(false), &first).await.unwrap();
    let before = catalogue.observed(&[]).await.unwrap();
    let bad = [
        row(2, "new", "x", 1, &["src"]),
        with(2, row(3, "d", "a", 1, &["src"])),
        row(4, "d", "b", 5, &["src"]),
        row(5, "f", "x", 1, &["src"]),
        row(6, "f", "y", 1, &["b"]),
    ];
    let lines = match import(catalogue, options(true), &bad).await {
        Err(ImportError::Refused { problems }) => {
            problems.iter().map(|problem| problem.line).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(lines, [3, 4, 6]);
    let elsewhere = import(catalogue, options(false), &[row(2, "d", "a", 1, &["b"])]).await;
    assert!(matches!(elsewhere, Err(ImportError::Refused { .. })));
    assert_eq!(catalogue.observed(&[]).await.unwrap(), before);
    // A digest that was missing joins, and the digest that was there stays.
    import(
        catalogue,
        options(false),
        &[with(9, row(2, "d", "b", 4, &["src"]))],
    )
    .await
    .unwrap();
    let objects = catalogue.objects(&name("d"), None, 9).await.unwrap();
    assert_eq!(
        objects[0].object.sha256.as_deref(),
        Some("01".repeat(32).as_str())
    );
    assert_eq!(
        objects[1].object.sha256.as_deref(),
        Some("09".repeat(32).as_str())
    );
}

#[tokio::test]
async fn an_import_gives_up_after_its_first_problems() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    let rows: Vec<_> = (0..100)
        .map(|at| row(at + 2, "d", &format!("k{at}"), 1, &["src"]))
        .collect();
    import(catalogue, options(false), &rows).await.unwrap();
    let changed: Vec<_> = (0..100)
        .map(|at| row(at + 2, "d", &format!("k{at}"), 2, &["src"]))
        .collect();
    let mut session = catalogue.begin_import(options(false)).await.unwrap();
    match session.add(&changed).await {
        Err(ImportError::Refused { problems }) => {
            assert_eq!(problems.len(), domicile_catalogue::IMPORT_PROBLEMS_MAX);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_backend_that_is_given_is_the_origin() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    let given = ImportOptions {
        backend: Some(backend("mine")),
        origin_prefix: "x/".into(),
        ..options(false)
    };
    import(catalogue, given, &[row(2, "d", "a", 1, &["b"])])
        .await
        .unwrap();
    assert_eq!(state(catalogue, "mine").await, Some((CopyState::Listed, 0, 0)));
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Unknown, 1, 1)));
    let diff = catalogue
        .record_origin(&listing("d", ("mine", "x/"), &[("a", 1, 5)]))
        .await
        .unwrap();
    assert!(diff.changed.is_empty(), "a time that was not known is no change");
    let diff = catalogue
        .record_origin(&listing("d", ("mine", "x/"), &[("a", 1, 6)]))
        .await
        .unwrap();
    assert_eq!(diff.changed.len(), 1);
    let pending = catalogue
        .objects_missing_on(&name("d"), &backend("b"), None, 9)
        .await
        .unwrap();
    assert!(pending[0].changed_at_origin);
    assert_eq!(pending[0].key, key("a"));
}

/// An inventory as large as an archive of a distribution: 100,000 rows of 50,000 datasets, a third of them apart.
#[tokio::test]
async fn a_large_inventory_is_taken_in_batches() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    let replicas: Arc<[_]> = [backend("src"), backend("b"), backend("c")].into();
    let labels = Arc::default();
    let rows: Vec<InventoryRow> = (0..100_000u64)
        .map(|at| InventoryRow {
            line: at + 2,
            dataset: name(&format!("package+{}", (at * 7) % 50_000)),
            key: key(&format!("pool/main/p/package_{at}.deb")),
            size: ByteCount(at),
            sha256: Some([at as u8; 32]),
            labels: Arc::clone(&labels),
            replicas: Arc::clone(&replicas),
        })
        .collect();
    let mut session = catalogue.begin_import(options(true)).await.unwrap();
    for chunk in rows.chunks(4096) {
        session.add(chunk).await.unwrap();
    }
    let summary = session.commit().await.unwrap();
    assert_eq!(
        (summary.datasets, summary.objects_added, summary.copies_added),
        (50_000, 100_000, 150_000)
    );
    let observed = catalogue.observed(&[ByteCount(1000)]).await.unwrap();
    assert_eq!(observed.datasets.len(), 50_000);
    let bytes: u64 = observed
        .datasets
        .values()
        .map(|dataset| dataset.summary.bytes.0)
        .sum();
    assert_eq!(bytes, (0..100_000).sum::<u64>());
    let copies = observed.datasets.values().flat_map(|dataset| &dataset.copies);
    assert!(
        copies.clone().count() == 150_000 && copies.clone().all(|copy| copy.state == CopyState::Verified)
    );
    let again = import(catalogue, options(true), &rows[..10_000]).await.unwrap();
    assert_eq!(again.objects_added, 0);
}
