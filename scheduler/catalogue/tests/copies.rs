//! What is concluded of copies, when they may go, and what is never overwritten.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod support;

use domicile_catalogue::{
    CatalogueError, DatasetSource, Finding, Inspection, Mode, PlacedState, RetireError,
};
use domicile_estate::{ByteCount, CopyState, Observed};
use support::{
    Fixture, backend, dataset, digest, key, listing, name, read_back, register, state, verified, verify,
};

#[tokio::test]
async fn the_state_of_a_copy_follows_from_its_objects() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    assert_eq!(state(catalogue, "src").await, None);
    register(catalogue, 3).await;
    assert_eq!(state(catalogue, "src").await, Some((CopyState::Listed, 0, 0)));
    catalogue.begin_copy(&name("d"), &backend("b")).await.unwrap();
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Incomplete, 3, 60)));
    verify(catalogue, "b", 2).await;
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Incomplete, 1, 30)));
    verify(catalogue, "b", 3).await;
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Verified, 0, 0)));
    let second = catalogue.objects(&name("d"), None, 9).await.unwrap()[1].object_id;
    catalogue
        .record_damaged(second, &backend("b"), "a bit flipped", 8)
        .await
        .unwrap();
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Damaged, 1, 20)));
    let gone = Inspection {
        object_id: second,
        backend: backend("b"),
        finding: Finding::Gone,
        at_ms: 9,
    };
    catalogue.record_scrubbed(&[gone]).await.unwrap();
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Damaged, 1, 20)));
    catalogue.record_verified(&[verified(second, "b")]).await.unwrap();
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Verified, 0, 0)));
    verify(catalogue, "src", 3).await;
    assert_eq!(state(catalogue, "src").await, Some((CopyState::Verified, 0, 0)));
    catalogue
        .record_damaged(second, &backend("src"), "rot", 8)
        .await
        .unwrap();
    assert_eq!(state(catalogue, "src").await, Some((CopyState::Damaged, 0, 0)));
}

#[tokio::test]
async fn what_is_gone_at_the_origin_is_reported_and_damages_nothing() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 2).await;
    verify(catalogue, "b", 2).await;
    let diff = catalogue
        .record_origin(&listing("d", ("src", "p/"), &[("a", 10, 1)]))
        .await
        .unwrap();
    assert_eq!(diff.gone, [key("b")]);
    assert_eq!(
        state(catalogue, "src").await,
        Some((CopyState::Incomplete, 1, 20))
    );
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Verified, 0, 0)));
    let pending = catalogue
        .objects_missing_on(&name("d"), &backend("c"), None, 9)
        .await
        .unwrap();
    let gone: Vec<bool> = pending.iter().map(|object| object.gone_at_origin).collect();
    assert_eq!(gone, [false, true]);
    assert!(pending.iter().all(|object| !object.ours_recorded));
    let found = catalogue.where_is(&name("d"), &key("b")).await.unwrap().unwrap();
    let states: Vec<_> = found
        .places
        .iter()
        .map(|place| (place.backend.as_str(), place.state))
        .collect();
    assert_eq!(states, [("b", PlacedState::Verified), ("src", PlacedState::Gone)]);
}

#[tokio::test]
async fn a_new_object_makes_copies_incomplete_and_is_the_only_one_missing() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 2).await;
    verify(catalogue, "b", 2).await;
    let listed = [("a", 10, 1), ("aa", 5, 1), ("b", 20, 1)];
    catalogue
        .record_origin(&listing("d", ("src", "p/"), &listed))
        .await
        .unwrap();
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Incomplete, 1, 5)));
    let pending = catalogue
        .objects_missing_on(&name("d"), &backend("b"), None, 9)
        .await
        .unwrap();
    let keys: Vec<&str> = pending.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(keys, ["aa"]);
}

#[tokio::test]
async fn pages_of_missing_objects_follow_the_keys() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 5).await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = catalogue
            .objects_missing_on(&name("d"), &backend("b"), after.as_ref(), 2)
            .await
            .unwrap();
        seen.extend(page.iter().map(|object| object.key.to_string()));
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn digests_are_set_once_and_a_batch_is_taken_whole_or_not_at_all() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 2).await;
    verify(catalogue, "b", 1).await;
    catalogue.begin_copy(&name("d"), &backend("c")).await.unwrap();
    let objects = catalogue.objects(&name("d"), None, 9).await.unwrap();
    let known = objects[0].object.sha256.clone().unwrap();
    let other = domicile_catalogue::Verification {
        sha256: Some(digest(99)),
        ..verified(objects[0].object_id, "c")
    };
    let batch = [verified(objects[1].object_id, "c"), other];
    let error = catalogue.record_verified(&batch).await.unwrap_err();
    assert!(matches!(error, CatalogueError::DigestDiffers { .. }), "{error}");
    let objects = catalogue.objects(&name("d"), None, 9).await.unwrap();
    assert_eq!(objects[0].object.sha256.as_deref(), Some(known.as_str()));
    assert_eq!(objects[1].object.sha256, None);
    assert_eq!(state(catalogue, "c").await, Some((CopyState::Incomplete, 2, 30)));
}

#[tokio::test]
async fn what_a_batch_says_twice_is_judged_by_what_it_said_first() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 1).await;
    catalogue.begin_copy(&name("d"), &backend("b")).await.unwrap();
    let object = catalogue.objects(&name("d"), None, 9).await.unwrap()[0].object_id;
    let whole = |byte: u8, at: &str| Inspection {
        object_id: object,
        backend: backend(at),
        finding: Finding::Whole {
            sha256: None,
            blake3: digest(byte),
        },
        at_ms: 7,
    };
    // Two digests of one object, on one backend and on two: nobody knew any of them before.
    for other in ["b", "src"] {
        let refused = catalogue.record_scrubbed(&[whole(1, "b"), whole(2, other)]).await;
        assert!(
            matches!(refused, Err(CatalogueError::DigestDiffers { .. })),
            "{refused:?}"
        );
        assert_eq!(state(catalogue, "b").await, Some((CopyState::Incomplete, 1, 10)));
    }
    let gone = Inspection {
        finding: Finding::Gone,
        ..whole(1, "b")
    };
    // Ours since the first of them: so the second one is noted, and the last one holds.
    catalogue
        .record_scrubbed(&[whole(1, "b"), gone.clone(), whole(1, "src")])
        .await
        .unwrap();
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Damaged, 1, 10)));
    assert_eq!(state(catalogue, "src").await, Some((CopyState::Verified, 0, 0)));
    let other = catalogue.record_scrubbed(&[whole(2, "b")]).await;
    assert!(
        matches!(other, Err(CatalogueError::DigestDiffers { .. })),
        "{other:?}"
    );
}

#[tokio::test]
async fn nothing_is_verified_where_no_copy_was_begun() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 1).await;
    let object = catalogue.objects(&name("d"), None, 9).await.unwrap()[0].object_id;
    let error = catalogue
        .record_verified(&[verified(object, "b")])
        .await
        .unwrap_err();
    assert!(matches!(error, CatalogueError::NoCopy { .. }), "{error}");
    let error = catalogue
        .record_verified(&[verified(object + 1, "src")])
        .await
        .unwrap_err();
    assert!(matches!(error, CatalogueError::UnknownObject { .. }), "{error}");
}

#[tokio::test]
async fn a_copy_is_retired_only_if_enough_remains() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 1).await;
    let two = |remaining: &[domicile_estate::BackendName]| remaining.len() >= 2;
    let retire = async |at: &str| catalogue.begin_retire(&name("d"), &backend(at), 0, &two).await;
    assert!(matches!(retire("nowhere").await, Err(RetireError::NoCopy { .. })));
    assert!(matches!(retire("src").await, Err(RetireError::KeptOrigin { .. })));
    verify(catalogue, "b", 1).await;
    catalogue.begin_copy(&name("d"), &backend("c")).await.unwrap();
    // An origin that was listed and never read is no verified copy.
    assert!(matches!(retire("b").await, Err(RetireError::LastCopy { .. })));
    read_back(catalogue, "src", 1).await;
    match retire("b").await {
        Err(RetireError::TooFew { remaining, .. }) => assert_eq!(remaining, [backend("src")]),
        other => panic!("{other:?}"),
    }
    verify(catalogue, "c", 1).await;
    verify(catalogue, "e", 1).await;
    retire("b").await.unwrap();
    assert_eq!(state(catalogue, "b").await.unwrap().0, CopyState::Retiring);
    retire("b").await.unwrap();
    // The second retirement no longer counts on the first one's copy.
    retire("c").await.unwrap();
    assert!(matches!(retire("e").await, Err(RetireError::TooFew { .. })));
    assert_eq!(state(catalogue, "e").await, Some((CopyState::Verified, 0, 0)));
    assert_eq!(catalogue.interrupted().await.unwrap().len(), 3);
    catalogue.end_retire(&name("d"), &backend("b")).await.unwrap();
    assert_eq!(state(catalogue, "b").await, None);
    assert!(catalogue.end_retire(&name("d"), &backend("e")).await.is_err());
}

#[tokio::test]
async fn the_last_copy_stays_whatever_the_caller_says() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 1).await;
    let released = domicile_estate::Dataset {
        keep_origin: false,
        ..dataset("d", Some(("src", "p/")))
    };
    catalogue
        .register_dataset(&released, DatasetSource::Manifest)
        .await
        .unwrap();
    let refused = catalogue
        .begin_retire(&name("d"), &backend("src"), 0, &|_| true)
        .await;
    assert!(matches!(refused, Err(RetireError::LastCopy { .. })));
}

#[tokio::test]
async fn a_retired_origin_is_remembered_until_another_is_named() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 2).await;
    verify(catalogue, "b", 2).await;
    let released = domicile_estate::Dataset {
        keep_origin: false,
        ..dataset("d", Some(("src", "p/")))
    };
    catalogue
        .register_dataset(&released, DatasetSource::Manifest)
        .await
        .unwrap();
    catalogue
        .begin_retire(&name("d"), &backend("src"), 0, &|_| true)
        .await
        .unwrap();
    // While it is being deleted, a listing must not take the deleted for gone.
    let diff = catalogue
        .record_origin(&listing("d", ("src", "p/"), &[]))
        .await
        .unwrap();
    assert!(diff.gone.is_empty());
    catalogue.end_retire(&name("d"), &backend("src")).await.unwrap();
    catalogue
        .register_dataset(&released, DatasetSource::Manifest)
        .await
        .unwrap();
    let registered = catalogue.registered().await.unwrap().remove(&name("d")).unwrap();
    assert_eq!(registered.dataset.origin, None);
    assert_eq!(registered.released_origin.as_deref(), released.origin.as_ref());
    let foreseen = catalogue
        .observed_with(
            Observed::default(),
            &[],
            &[listing("d", ("src", "p/"), &[("z", 1, 1)])],
        )
        .await
        .unwrap();
    assert_eq!(foreseen.observed, catalogue.observed(&[]).await.unwrap());
    let moved = dataset("d", Some(("src", "q/")));
    catalogue
        .register_dataset(&moved, DatasetSource::Manifest)
        .await
        .unwrap();
    let registered = catalogue.registered().await.unwrap().remove(&name("d")).unwrap();
    assert_eq!(*registered.dataset, moved);
    assert_eq!(registered.released_origin, None);
}

#[tokio::test]
async fn a_copy_after_an_interrupted_retirement_knows_nothing_but_that_it_is_ours() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 2).await;
    read_back(catalogue, "src", 2).await;
    verify(catalogue, "b", 2).await;
    catalogue
        .begin_retire(&name("d"), &backend("b"), 0, &|_| true)
        .await
        .unwrap();
    let fixture = fixture.reopened(Mode::ReadWrite).await;
    let catalogue = &fixture.catalogue;
    assert_eq!(
        catalogue.interrupted().await.unwrap(),
        [(name("d"), backend("b"))]
    );
    catalogue.begin_copy(&name("d"), &backend("b")).await.unwrap();
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Incomplete, 2, 30)));
    let pending = catalogue
        .objects_missing_on(&name("d"), &backend("b"), None, 9)
        .await
        .unwrap();
    assert_eq!(pending.len(), 2);
    assert!(
        pending
            .iter()
            .all(|object| object.ours_recorded && object.sha256.is_some())
    );
    catalogue.end_copy(&name("d"), &backend("b")).await.unwrap();
    assert!(catalogue.interrupted().await.unwrap().is_empty());
}

#[tokio::test]
async fn small_objects_are_billed_at_each_minimum() {
    let fixture = Fixture::new().await;
    register(&fixture.catalogue, 3).await;
    let observed = fixture
        .catalogue
        .observed(&[ByteCount(25), ByteCount(25), ByteCount(15)])
        .await
        .unwrap();
    let summary = &observed.datasets[&name("d")].summary;
    let sums = [0, 15, 25].map(|minimum| summary.billable(ByteCount(minimum)).0);
    assert_eq!(sums, [60, 65, 80]);
    let one = fixture
        .catalogue
        .observed_dataset(&name("d"), &[ByteCount(15), ByteCount(25)])
        .await
        .unwrap();
    assert_eq!(one.as_ref(), observed.datasets.get(&name("d")));
    let usage = fixture.catalogue.usage().await.unwrap();
    assert_eq!(usage[&backend("src")][&CopyState::Listed].bytes, ByteCount(60));
}

#[tokio::test]
async fn an_empty_dataset_counts_once_its_copy_is_recorded() {
    let fixture = Fixture::new().await;
    register(&fixture.catalogue, 0).await;
    assert_eq!(
        state(&fixture.catalogue, "src").await,
        Some((CopyState::Listed, 0, 0))
    );
    verify(&fixture.catalogue, "b", 0).await;
    assert_eq!(
        state(&fixture.catalogue, "b").await,
        Some((CopyState::Verified, 0, 0))
    );
}
