//! What `plan` foresees is what `apply` records: on random histories and listings.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod support;

use domicile_catalogue::{Catalogue, DatasetSource, Finding, Inspection, OriginListing};
use domicile_estate::{ByteCount, DatasetSummary, Observed, OriginFinding};
use proptest::prelude::*;
use support::{Fixture, backend, dataset, listing, name, options, row, verified};

/// Where origins lie in these histories; `d/` is where copies of `d` lie, too.
const PLACES: [(&str, &str); 4] = [("src", "p/"), ("src", "d/"), ("b", "d/"), ("b", "")];
const KEYS: [&str; 5] = ["a", "b", "c/d", "e", "f"];
/// Sizes on both sides of the minimums, and of 1 MiB, up to which small objects are summed up by size.
const SIZES: [u64; 9] = [0, 1, 2, 3, 99_999, 100_000, (1 << 20) - 1, 1 << 20, 5 << 20];
const MINIMUMS: [u64; 6] = [0, 2, 100_000, 128 << 10, 1 << 20, 3 << 20];

#[derive(Debug, Clone)]
enum Step {
    List {
        place: usize,
        objects: Vec<(usize, u64, i64)>,
        odd: bool,
    },
    Verify {
        at: &'static str,
        objects: usize,
    },
    Damage {
        at: &'static str,
        object: usize,
        gone: bool,
    },
    Import {
        trust: bool,
        objects: Vec<(usize, u64)>,
    },
    Retire {
        at: &'static str,
        end: bool,
    },
    Doubt {
        at: &'static str,
    },
}

fn objects() -> impl Strategy<Value = Vec<(usize, u64, i64)>> {
    let sized = (prop::sample::select(SIZES.to_vec()), 0..2i64);
    prop::collection::btree_map(0..KEYS.len(), sized, 0..=KEYS.len()).prop_map(|map| {
        map.into_iter()
            .map(|(key, (size, time))| (key, size, time))
            .collect()
    })
}

fn step() -> impl Strategy<Value = Step> {
    let at = prop::sample::select(vec!["src", "b", "c"]);
    let sized = prop::collection::btree_map(0..KEYS.len(), prop::sample::select(SIZES.to_vec()), 1..4);
    prop_oneof![
        3 => (0..PLACES.len(), objects(), any::<bool>())
            .prop_map(|(place, objects, odd)| Step::List { place, objects, odd }),
        3 => (at.clone(), 0..6usize).prop_map(|(at, objects)| Step::Verify { at, objects }),
        1 => (at.clone(), 0..5usize, any::<bool>()).prop_map(|(at, object, gone)| Step::Damage { at, object, gone }),
        1 => (any::<bool>(), sized)
            .prop_map(|(trust, objects)| Step::Import { trust, objects: objects.into_iter().collect() }),
        1 => (at.clone(), any::<bool>()).prop_map(|(at, end)| Step::Retire { at, end }),
        1 => at.prop_map(|at| Step::Doubt { at }),
    ]
}

fn listed(place: usize, objects: &[(usize, u64, i64)], odd: bool) -> OriginListing {
    let objects: Vec<_> = objects
        .iter()
        .map(|(key, size, time)| (KEYS[*key], *size, *time))
        .collect();
    let mut listing = listing("d", PLACES[place], &objects);
    if odd {
        listing.findings.push(OriginFinding::NotAFile {
            key: "link".to_owned(),
        });
        listing.findings.push(OriginFinding::RefusedKey {
            key: "..".to_owned(),
            reason: "dots".to_owned(),
        });
    }
    listing
}

/// Registers and records a listing, as `apply` does; an origin that was retired is not listed.
async fn apply(catalogue: &Catalogue, listing: &OriginListing) -> Vec<domicile_catalogue::OriginDiff> {
    let origin = (listing.origin.backend.as_str(), listing.origin.prefix.as_str());
    let described = domicile_estate::Dataset {
        keep_origin: false,
        ..dataset("d", Some(origin))
    };
    catalogue
        .register_dataset(&described, DatasetSource::Manifest)
        .await
        .unwrap();
    let registered = catalogue.registered().await.unwrap().remove(&name("d")).unwrap();
    if registered.dataset.origin.as_ref() != Some(&listing.origin) || registered.origin_retiring {
        return Vec::new();
    }
    vec![catalogue.record_origin(listing).await.unwrap()]
}

/// Steps that a history forbids, such as damage where no copy is, are refused by the catalogue and change nothing.
async fn perform(catalogue: &Catalogue, step: &Step) {
    match step {
        Step::List { place, objects, odd } => drop(apply(catalogue, &listed(*place, objects, *odd)).await),
        Step::Verify { at, objects } => {
            let Ok(page) = catalogue.objects(&name("d"), None, *objects as u32).await else {
                return;
            };
            catalogue.begin_copy(&name("d"), &backend(at)).await.unwrap();
            let batch: Vec<_> = page.iter().map(|object| verified(object.object_id, at)).collect();
            catalogue.record_verified(&batch).await.unwrap();
        }
        Step::Damage { at, object, gone } => {
            let Ok(page) = catalogue.objects(&name("d"), None, 9).await else {
                return;
            };
            let Some(object) = page.get(*object) else { return };
            let finding = if *gone {
                Finding::Gone
            } else {
                Finding::Damaged {
                    reason: "rot".to_owned(),
                }
            };
            let inspection = Inspection {
                object_id: object.object_id,
                backend: backend(at),
                finding,
                at_ms: 3,
            };
            let _ = catalogue.record_scrubbed(&[inspection]).await;
        }
        Step::Import { trust, objects } => {
            let mut import = catalogue.begin_import(options(*trust)).await.unwrap();
            let rows: Vec<_> = objects
                .iter()
                .enumerate()
                .flat_map(|(line, (key, size))| {
                    ["d", "e"].map(|dataset| row(line as u64, dataset, KEYS[*key], *size, &["src", "c"]))
                })
                .collect();
            if import.add(&rows).await.is_ok() {
                let _ = import.commit().await;
            }
        }
        Step::Doubt { at } => catalogue.doubt_backend(&backend(at)).await.unwrap(),
        Step::Retire { at, end } => {
            let begun = catalogue
                .begin_retire(&name("d"), &backend(at), 0, &|_| true)
                .await;
            if begun.is_ok() && *end {
                catalogue.end_retire(&name("d"), &backend(at)).await.unwrap();
            }
        }
    }
}

/// The counts that the triggers keep, and the same counted anew.
async fn assert_counts_are_true(catalogue: &Catalogue) {
    let path = catalogue.path().unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let sql = "
        WITH truth AS (
            SELECT c.dataset_id, c.backend_id, coalesce(p.state, o.id <= c.trusted_through) AS state, o.size
            FROM copies c JOIN objects o ON o.dataset_id = c.dataset_id
            LEFT JOIN placed p ON p.dataset_id = c.dataset_id AND p.backend_id = c.backend_id AND p.object_id = o.id
        )
        SELECT count(*) FROM copies c WHERE (verified_objects, verified_bytes, damaged_objects, gone_objects) IS NOT (
            SELECT coalesce(sum(state = 1), 0), coalesce(sum((state = 1) * size), 0), coalesce(sum(state = 2), 0),
                   coalesce(sum(state = 3), 0)
            FROM truth t WHERE t.dataset_id = c.dataset_id AND t.backend_id = c.backend_id)";
    let wrong: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
    assert_eq!(wrong, 0, "copies whose counts are not true");
    let objects: Vec<(String, i64)> =
        sqlx::query_as("SELECT d.name, o.size FROM datasets d JOIN objects o ON o.dataset_id = d.id")
            .fetch_all(&pool)
            .await
            .unwrap();
    pool.close().await;
    let minimums = MINIMUMS.map(ByteCount);
    for (name, known) in catalogue.observed(&minimums).await.unwrap().datasets {
        let sizes = objects.iter().filter(|(of, _)| of.as_str() == name.as_str());
        let sizes = sizes.map(|(_, size)| ByteCount(*size as u64));
        assert_eq!(
            known.summary,
            DatasetSummary::of_sizes(sizes, &minimums),
            "{name}"
        );
    }
}

fn without_revision(observed: Observed) -> Observed {
    Observed {
        revision: 0,
        ..observed
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn what_plan_foresees_is_what_apply_records(
        history in prop::collection::vec(step(), 0..8),
        place in 0..PLACES.len(),
        objects in objects(),
        odd in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new().await;
            let catalogue = &fixture.catalogue;
            for step in &history {
                perform(catalogue, step).await;
            }
            assert_counts_are_true(catalogue).await;
            let listing = listed(place, &objects, odd);
            let minimums = MINIMUMS.map(ByteCount);
            let before = catalogue.observed(&minimums).await.unwrap();
            let listings = std::slice::from_ref(&listing);
            let foreseen = catalogue.observed_with(before.clone(), &minimums, listings).await.unwrap();
            // What was known of another revision is read anew.
            let stale = Observed { revision: before.revision + 1, ..Observed::default() };
            let anew = catalogue.observed_with(stale, &minimums, listings).await.unwrap();
            prop_assert_eq!(&foreseen, &anew);
            let diff = catalogue.diff_origin(&listing).await.unwrap();
            prop_assert_eq!(&before, &catalogue.observed(&minimums).await.unwrap(), "looking changes nothing");
            let diffs = apply(catalogue, &listing).await;
            let after = catalogue.observed(&minimums).await.unwrap();
            prop_assert_eq!(without_revision(foreseen.observed), without_revision(after));
            // A listing that is not recorded, of a retiring origin, shows no difference either.
            prop_assert!(foreseen.diffs.iter().all(|foreseen| *foreseen == diff));
            prop_assert!(diffs.iter().all(|recorded| *recorded == diff));
            assert_counts_are_true(catalogue).await;
            Ok(())
        })?;
    }
}
