//! What must never cost anybody an object: origins that lose objects, files that others put where copies lie, backends
//! and origins that move.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod support;

use std::collections::BTreeSet;

use domicile_catalogue::{Catalogue, DatasetSource, Finding, Inspection, Mode, RetireError, Retirement};
use domicile_estate::{CopyState, Observed};
use support::{
    Fixture, backend, dataset, key, listing, name, options, read_back, register, row, state, verify,
};

#[tokio::test]
async fn an_origin_that_lost_an_object_does_not_count_beside_a_whole_copy() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 2).await;
    read_back(catalogue, "src", 2).await;
    verify(catalogue, "b", 1).await;
    let without_b = listing("d", ("src", "p/"), &[("a", 10, 1)]);
    // No copy is whole: what is left at the origin is the best there is.
    let foreseen = catalogue
        .observed_with(Observed::default(), &[], std::slice::from_ref(&without_b))
        .await
        .unwrap();
    let copies = &foreseen.observed.datasets[&name("d")];
    assert_eq!(copies.copy_on("src").unwrap().state, CopyState::Listed);
    verify(catalogue, "b", 2).await;
    let foreseen = catalogue
        .observed_with(Observed::default(), &[], std::slice::from_ref(&without_b))
        .await
        .unwrap();
    catalogue.record_origin(&without_b).await.unwrap();
    let recorded = catalogue.observed(&[]).await.unwrap();
    assert_eq!(foreseen.observed.datasets, recorded.datasets);
    assert_eq!(
        state(catalogue, "src").await,
        Some((CopyState::Incomplete, 1, 20))
    );
    assert!(!recorded.datasets[&name("d")].copy_on("src").unwrap().is_current());
    let refused = catalogue
        .begin_retire(&name("d"), &backend("b"), 0, &|_| true)
        .await;
    assert!(matches!(refused, Err(RetireError::LastCopy { .. })));
    // It came back.
    let whole = listing("d", ("src", "p/"), &[("a", 10, 1), ("b", 20, 1)]);
    catalogue.record_origin(&whole).await.unwrap();
    assert_eq!(state(catalogue, "src").await, Some((CopyState::Listed, 0, 0)));
}

#[cfg(unix)]
#[tokio::test]
async fn two_spellings_of_one_catalogue_share_one_lock() {
    use std::os::unix::fs::symlink;

    use domicile_catalogue::LockError;

    let fixture = Fixture::new().await;
    let root = fixture.folder.path();
    symlink(root.join("deep"), root.join("folder")).unwrap();
    symlink(root.join("deep/catalogue.db"), root.join("file.db")).unwrap();
    let lock = fixture.catalogue.lock().unwrap();
    let spellings = ["folder/catalogue.db", "file.db", "deep/../deep/catalogue.db"];
    for spelling in spellings {
        let url = format!("sqlite://{}", root.join(spelling).display());
        let other = Catalogue::open(&url, Mode::ReadWrite).await.unwrap();
        let refused = other.lock();
        assert!(matches!(refused, Err(LockError::Held { .. })), "{spelling}");
    }
    drop(lock);
}

/// Keys of `d` that are ours on a backend, in pages of one; then those that a copy to it may replace.
async fn ours(catalogue: &Catalogue, at: &str) -> (String, String) {
    let (mut ours, mut after) = (String::new(), None);
    loop {
        let page = catalogue
            .objects_of_copy(&name("d"), &backend(at), after.as_ref(), 1)
            .await
            .unwrap();
        let Some(object) = page.into_iter().next() else {
            break;
        };
        if object.ours {
            ours.push_str(object.object.key.as_str());
        }
        after = Some(object.object.key);
    }
    let missing = catalogue
        .objects_missing_on(&name("d"), &backend(at), None, 9)
        .await
        .unwrap();
    let replaceable = missing.iter().filter(|object| object.ours_recorded);
    (ours, replaceable.map(|object| object.key.as_str()).collect())
}

async fn find(catalogue: &Catalogue, at: &str, object: &str, finding: Finding) {
    let objects = catalogue.objects(&name("d"), None, 9).await.unwrap();
    let found = objects.iter().find(|o| o.object.key == key(object)).unwrap();
    let inspection = Inspection {
        object_id: found.object_id,
        backend: backend(at),
        finding,
        at_ms: 3,
    };
    catalogue.record_scrubbed(&[inspection]).await.unwrap();
}

fn damaged() -> Finding {
    Finding::Damaged {
        reason: "other bytes".to_owned(),
    }
}

fn pair(ours: &str, replaceable: &str) -> (String, String) {
    (ours.to_owned(), replaceable.to_owned())
}

#[tokio::test]
async fn a_look_at_what_we_did_not_write_does_not_make_it_ours() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 3).await;
    verify(catalogue, "b", 1).await;
    assert_eq!(ours(catalogue, "b").await, pair("a", ""));
    assert_eq!(ours(catalogue, "src").await, pair("abc", ""));
    assert_eq!(ours(catalogue, "nowhere").await, pair("", ""));
    let before = catalogue.observed(&[]).await.unwrap();
    find(catalogue, "b", "b", damaged()).await;
    find(catalogue, "b", "c", Finding::Gone).await;
    assert_eq!(catalogue.observed(&[]).await.unwrap(), before);
    assert_eq!(ours(catalogue, "b").await, pair("a", ""));
    // What we wrote stays ours when it rots, and is so no more once it is gone, whatever lies there afterwards.
    find(catalogue, "b", "a", damaged()).await;
    assert_eq!(ours(catalogue, "b").await, pair("a", "a"));
    assert_eq!(state(catalogue, "b").await.unwrap().0, CopyState::Damaged);
    find(catalogue, "b", "a", Finding::Gone).await;
    assert_eq!(ours(catalogue, "b").await, pair("", ""));
    find(catalogue, "b", "a", damaged()).await;
    assert_eq!(ours(catalogue, "b").await, pair("", ""));
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Damaged, 3, 60)));
    // At the origin, which we never wrote, damage is noted.
    find(catalogue, "src", "b", damaged()).await;
    assert_eq!(state(catalogue, "src").await.unwrap().0, CopyState::Damaged);
}

#[tokio::test]
async fn what_was_gone_before_an_interrupted_retirement_does_not_become_ours() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 2).await;
    read_back(catalogue, "src", 2).await;
    verify(catalogue, "b", 2).await;
    find(catalogue, "b", "a", Finding::Gone).await;
    catalogue
        .begin_retire(&name("d"), &backend("b"), 0, &|_| true)
        .await
        .unwrap();
    assert_eq!(ours(catalogue, "b").await.0, "b");
    catalogue.begin_copy(&name("d"), &backend("b")).await.unwrap();
    assert_eq!(ours(catalogue, "b").await, pair("b", "b"));
}

#[tokio::test]
async fn a_trusted_inventory_makes_objects_ours_and_an_untrusted_one_does_not() {
    for trust in [true, false] {
        let fixture = Fixture::new().await;
        let catalogue = &fixture.catalogue;
        let mut import = catalogue.begin_import(options(trust)).await.unwrap();
        let rows = [
            row(2, "d", "a", 10, &["src", "b"]),
            row(3, "d", "b", 20, &["src", "b"]),
        ];
        import.add(&rows).await.unwrap();
        import.commit().await.unwrap();
        find(catalogue, "b", "a", damaged()).await;
        let expected = if trust { pair("ab", "a") } else { pair("", "") };
        assert_eq!(ours(catalogue, "b").await, expected);
        let expected = if trust {
            CopyState::Damaged
        } else {
            CopyState::Unknown
        };
        assert_eq!(state(catalogue, "b").await.unwrap().0, expected);
    }
}

async fn register_at(catalogue: &Catalogue, text: &str, origin: (&str, &str)) {
    catalogue
        .register_dataset(&dataset(text, Some(origin)), DatasetSource::Manifest)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_folders_of_origins_are_named_with_their_first_dataset() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    let sets = [
        ("z", ("src", "p/"), &["a", "b/c"][..]),
        ("m", ("src", "p/q/"), &["a"]),
        ("r", ("src", ""), &["p/a", "b/c", "b/d", "file", "\u{fc}/x"]),
        ("s", ("src", "pre-"), &["a/b", "c"]),
        ("empty", ("src", "e/"), &[]),
        ("else", ("b", "p/"), &["a"]),
    ];
    for (text, origin, keys) in sets {
        register_at(catalogue, text, origin).await;
        let objects: Vec<_> = keys.iter().map(|key| (*key, 1, 1)).collect();
        let listed = listing(text, origin, &objects);
        catalogue.record_origin(&listed).await.unwrap();
    }
    let folders = catalogue.origin_folders(&backend("src")).await.unwrap();
    let folders: Vec<_> = folders.iter().map(|(f, d)| (f.as_str(), d.as_str())).collect();
    let expected = [
        ("b", "r"),
        ("file", "r"),
        ("p", "m"),
        ("pre-a", "s"),
        ("pre-c", "s"),
        ("\u{fc}", "r"),
    ];
    assert_eq!(folders, expected);
    let nowhere = catalogue.origin_folders(&backend("nowhere")).await.unwrap();
    assert!(nowhere.is_empty());
}

#[tokio::test]
async fn of_a_backend_that_moved_nothing_is_known() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    let mut import = catalogue.begin_import(options(true)).await.unwrap();
    let rows = [
        row(2, "d", "a", 10, &["src", "b", "c"]),
        row(3, "d", "b", 20, &["src", "b", "c"]),
    ];
    import.add(&rows).await.unwrap();
    import.commit().await.unwrap();
    verify(catalogue, "b", 1).await;
    find(catalogue, "b", "b", damaged()).await;
    catalogue
        .begin_retire(&name("d"), &backend("b"), 0, &|_| true)
        .await
        .unwrap();
    find(catalogue, "src", "a", Finding::Gone).await;
    let before = catalogue.revision().await.unwrap();
    catalogue.doubt_backend(&backend("nowhere")).await.unwrap();
    assert_eq!(catalogue.revision().await.unwrap(), before);
    for (at, expected) in [
        ("b", Some((CopyState::Unknown, 2, 30))),
        ("src", Some((CopyState::Listed, 0, 0))),
    ] {
        let before = catalogue.revision().await.unwrap();
        catalogue.doubt_backend(&backend(at)).await.unwrap();
        assert_eq!(state(catalogue, at).await, expected);
        let after = catalogue.revision().await.unwrap();
        assert!(after > before);
        catalogue.doubt_backend(&backend(at)).await.unwrap();
        assert_eq!(catalogue.revision().await.unwrap(), after);
    }
    assert_eq!(ours(catalogue, "b").await, pair("", ""));
    // Elsewhere nothing changed, and what is read at the new place counts from nothing.
    assert_eq!(state(catalogue, "c").await, Some((CopyState::Verified, 0, 0)));
    verify(catalogue, "b", 1).await;
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Incomplete, 1, 20)));
    verify(catalogue, "b", 2).await;
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Verified, 0, 0)));
}

#[tokio::test]
async fn a_new_origin_is_not_held_against_the_times_of_the_old_one() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 2).await;
    let elsewhere = ("src", "q/");
    let moved = listing("d", elsewhere, &[("a", 10, 5), ("b", 20, 5)]);
    let foreseen = catalogue
        .observed_with(Observed::default(), &[], std::slice::from_ref(&moved))
        .await
        .unwrap();
    assert!(foreseen.diffs[0].changed.is_empty());
    register_at(catalogue, "d", elsewhere).await;
    let diff = catalogue.record_origin(&moved).await.unwrap();
    assert_eq!(diff, foreseen.diffs[0]);
    // From now on the new origin's times count, and sizes always do.
    let later = listing("d", elsewhere, &[("a", 10, 6), ("b", 20, 5)]);
    let changed = catalogue.diff_origin(&later).await.unwrap().changed;
    assert_eq!(changed.len(), 1);
    let other_size = listing("d", ("src", "r/"), &[("a", 11, 6), ("b", 20, 6)]);
    let changed = catalogue.diff_origin(&other_size).await.unwrap().changed;
    assert_eq!(changed.len(), 1);
}

/// Two whole copies of a dataset of two objects, on `src` and `b`; the owner has not released the origin.
async fn two_copies() -> Fixture {
    let fixture = Fixture::new().await;
    register(&fixture.catalogue, 2).await;
    read_back(&fixture.catalogue, "src", 2).await;
    verify(&fixture.catalogue, "b", 2).await;
    fixture
}

#[tokio::test]
async fn a_copy_waits_before_it_is_retired_and_counts_meanwhile() {
    const LONG_MS: u64 = 3_600_000;
    let fixture = two_copies().await;
    let catalogue = &fixture.catalogue;
    let retire = async |grace_ms: u64| {
        catalogue
            .begin_retire(&name("d"), &backend("b"), grace_ms, &|_| true)
            .await
    };
    let Ok(Retirement::Waits { left_ms }) = retire(LONG_MS).await else {
        panic!("it does not wait");
    };
    assert!(left_ms <= LONG_MS && left_ms > LONG_MS - 60_000, "{left_ms}");
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Verified, 0, 0)));
    // It waits on, from when it first could go, also by another time of grace.
    let Ok(Retirement::Waits { left_ms: less }) = retire(LONG_MS).await else {
        panic!("it does not wait");
    };
    assert!(less <= left_ms);
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert!(matches!(retire(1).await, Ok(Retirement::Begun)));
    // What has begun is not to wait again.
    assert!(matches!(retire(LONG_MS).await, Ok(Retirement::Begun)));
}

#[tokio::test]
async fn a_copy_that_is_needed_again_or_planned_again_waits_anew() {
    const WAIT_MS: u64 = 40;
    let fixture = two_copies().await;
    let catalogue = &fixture.catalogue;
    let (d, b) = (name("d"), backend("b"));
    let pause = || std::thread::sleep(std::time::Duration::from_millis(2 * WAIT_MS));
    let waits = async || {
        let begun = catalogue.begin_retire(&d, &b, WAIT_MS, &|_| true).await;
        matches!(begun, Ok(Retirement::Waits { .. }))
    };
    assert!(waits().await);
    pause();
    let needed = catalogue.begin_retire(&d, &b, WAIT_MS, &|_| false).await;
    assert!(matches!(needed, Err(RetireError::TooFew { .. })));
    assert!(waits().await, "it was needed in between");
    pause();
    catalogue.keep_waiting(&BTreeSet::new()).await.unwrap();
    assert!(waits().await, "a plan in between did not want it to go");
    pause();
    catalogue.keep_waiting(&BTreeSet::from([(&d, &b)])).await.unwrap();
    assert!(!waits().await, "every plan in between wanted it to go");
}

#[tokio::test]
async fn a_scrub_goes_on_where_it_was_and_no_two_read_the_same() {
    let fixture = two_copies().await;
    let catalogue = &fixture.catalogue;
    let (d, b) = (name("d"), backend("b"));
    let mark = async || {
        let marks = catalogue.scrub_marks().await.unwrap();
        marks.get(&(d.clone(), b.clone())).cloned().unwrap_or_default()
    };
    assert!(catalogue.claim_scrub(&d, &b, 60_000).await.unwrap());
    assert!(!catalogue.claim_scrub(&d, &b, 60_000).await.unwrap());
    catalogue.note_scrubbed(&d, &b, Some(&key("a"))).await.unwrap();
    assert_eq!(
        (mark().await.after, mark().await.ended_ms),
        (Some(key("a")), None)
    );
    // What was noted is free again, also for a claim that runs out at once.
    assert!(catalogue.claim_scrub(&d, &b, 0).await.unwrap());
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert!(catalogue.claim_scrub(&d, &b, 60_000).await.unwrap());
    catalogue.note_scrubbed(&d, &b, None).await.unwrap();
    let ended = mark().await;
    assert_eq!(ended.after, None);
    assert!(ended.ended_ms.is_some());
    // A round that is under way does not forget when the last one ended.
    catalogue.note_scrubbed(&d, &b, Some(&key("a"))).await.unwrap();
    assert_eq!(mark().await.ended_ms, ended.ended_ms);
}
