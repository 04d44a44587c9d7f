//! What must never cost anybody an object: origins that lose objects, files that others put where copies lie, backends
//! and origins that move.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod support;

use domicile_catalogue::{Mode, RetireError};
use domicile_estate::CopyState;
use support::{Fixture, backend, listing, name, read_back, register, state, verify};

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
        .observed_with(&[], std::slice::from_ref(&without_b))
        .await
        .unwrap();
    let copies = &foreseen.observed.datasets[&name("d")];
    assert_eq!(copies.copy_on("src").unwrap().state, CopyState::Listed);
    verify(catalogue, "b", 2).await;
    let foreseen = catalogue
        .observed_with(&[], std::slice::from_ref(&without_b))
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
    let refused = catalogue.begin_retire(&name("d"), &backend("b"), &|_| true).await;
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

    use domicile_catalogue::{Catalogue, LockError};

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
