//! New versions of objects, objects that only copies tell of, another origin, and a copy of the catalogue itself.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod support;

use domicile_catalogue::{
    AdoptedObject, BackupError, CatalogueError, DatasetSource, Mode, NewVersion, Versioned,
};
use domicile_estate::{ByteCount, CopyState, Origin};
use support::{
    Fixture, backend, dataset, digest, key, listing, name, read_back, register, state, verified, verify,
};

fn version(text: &str, size: u64, byte: u8) -> NewVersion {
    NewVersion {
        key: key(text),
        size: ByteCount(size),
        modified_ms: Some(2),
        sha256: None,
        blake3: digest(byte),
    }
}

#[tokio::test]
async fn a_new_version_is_missing_in_every_copy_and_what_is_there_stays_ours() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 2).await;
    read_back(catalogue, "src", 2).await;
    verify(catalogue, "b", 2).await;
    verify(catalogue, "c", 1).await;
    assert!(!catalogue.is_renewing(&name("d")).await.unwrap());
    let changed = listing("d", ("src", "p/"), &[("a", 15, 2), ("b", 20, 1)]);
    catalogue.record_origin(&changed).await.unwrap();
    let taken = catalogue
        .record_versions(&name("d"), &backend("src"), &[version("a", 15, 99)])
        .await
        .unwrap();
    assert_eq!(
        taken,
        Versioned {
            replaced: 1,
            touched: 0
        }
    );
    let observed = catalogue.observed(&[ByteCount(16)]).await.unwrap();
    let known = &observed.datasets[&name("d")];
    assert_eq!(known.findings, []);
    assert_eq!(known.summary.bytes, ByteCount(35));
    assert_eq!(known.summary.billable(ByteCount(16)), ByteCount(36));
    assert_eq!(state(catalogue, "src").await, Some((CopyState::Verified, 0, 0)));
    // The sizes are those of now, whatever the copies had before.
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Incomplete, 1, 15)));
    assert_eq!(state(catalogue, "c").await, Some((CopyState::Incomplete, 2, 35)));
    assert!(catalogue.is_renewing(&name("d")).await.unwrap());
    let missing = catalogue
        .objects_missing_on(&name("d"), &backend("b"), None, 9)
        .await
        .unwrap();
    assert_eq!(missing.len(), 1);
    assert!(missing[0].ours_recorded, "the old bytes may be replaced");
    assert!(!missing[0].changed_at_origin);
    assert_eq!(missing[0].blake3, Some(digest(99)));
    let mut now = verified(missing[0].object_id, "b");
    (now.sha256, now.blake3) = (None, digest(98));
    let refused = catalogue.record_verified(&[now.clone()]).await.unwrap_err();
    assert!(
        matches!(refused, CatalogueError::DigestDiffers { .. }),
        "{refused}"
    );
    now.blake3 = digest(99);
    catalogue.record_verified(&[now.clone()]).await.unwrap();
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Verified, 0, 0)));
    assert!(
        catalogue.is_renewing(&name("d")).await.unwrap(),
        "c has the old one"
    );
    now.backend = backend("c");
    catalogue.record_verified(&[now]).await.unwrap();
    assert!(!catalogue.is_renewing(&name("d")).await.unwrap());
    assert_eq!(state(catalogue, "c").await, Some((CopyState::Incomplete, 1, 20)));
}

#[tokio::test]
async fn the_same_bytes_with_another_time_are_no_new_version() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 1).await;
    verify(catalogue, "b", 1).await;
    let known = catalogue
        .objects(&name("d"), None, 9)
        .await
        .unwrap()
        .remove(0)
        .object;
    let touched = NewVersion {
        blake3: known.blake3.clone().unwrap(),
        ..version("a", 10, 0)
    };
    let again = listing("d", ("src", "p/"), &[("a", 10, 2)]);
    assert_eq!(catalogue.record_origin(&again).await.unwrap().changed.len(), 1);
    let taken = catalogue
        .record_versions(&name("d"), &backend("src"), &[touched])
        .await
        .unwrap();
    assert_eq!(
        taken,
        Versioned {
            replaced: 0,
            touched: 1
        }
    );
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Verified, 0, 0)));
    let after = catalogue
        .objects(&name("d"), None, 9)
        .await
        .unwrap()
        .remove(0)
        .object;
    assert_eq!(after, known, "no digest is lost");
    assert_eq!(catalogue.diff_origin(&again).await.unwrap().changed, []);
}

#[tokio::test]
async fn what_copies_agree_on_is_registered_with_those_copies() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    let d = dataset("d", Some(("src", "p/")));
    catalogue
        .register_dataset(&d, DatasetSource::Manifest)
        .await
        .unwrap();
    let object = |text: &str, size, holders: &[&str]| AdoptedObject {
        key: key(text),
        size: ByteCount(size),
        blake3: digest(size as u8),
        holders: holders.iter().map(|at| backend(at)).collect(),
    };
    let objects = [object("x", 5, &["b", "c"]), object("y", 6, &["b"])];
    catalogue.adopt(&name("d"), &objects, 9).await.unwrap();
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Verified, 0, 0)));
    assert_eq!(state(catalogue, "c").await, Some((CopyState::Incomplete, 1, 6)));
    assert_eq!(state(catalogue, "src").await, None);
    // Known objects are not told anew: nothing of such a batch is taken.
    let before = catalogue.revision().await.unwrap();
    let twice = [object("z", 7, &["c"]), object("x", 8, &["c"])];
    catalogue.adopt(&name("d"), &twice, 9).await.unwrap_err();
    assert_eq!(catalogue.revision().await.unwrap(), before);
    assert_eq!(catalogue.object_count(&name("d")).await.unwrap(), 2);
}

#[tokio::test]
async fn another_origin_is_remembered_beside_the_lost_one() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    register(catalogue, 2).await;
    verify(catalogue, "b", 2).await;
    verify(catalogue, "c", 2).await;
    let there = Origin {
        backend: backend("b"),
        prefix: "d/".to_owned(),
    };
    catalogue.replace_origin(&name("d"), &there, &[]).await.unwrap();
    assert_eq!(state(catalogue, "src").await, None);
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Verified, 0, 0)));
    assert_eq!(state(catalogue, "c").await, Some((CopyState::Verified, 0, 0)));
    let row = catalogue.registered().await.unwrap().remove(&name("d")).unwrap();
    assert_eq!(row.dataset.origin.as_ref(), Some(&there));
    // The manifest still names the old one, and changes nothing.
    let old = dataset("d", Some(("src", "p/")));
    assert_eq!(row.released_origin.as_deref(), old.origin.as_ref());
    catalogue
        .register_dataset(&old, DatasetSource::Manifest)
        .await
        .unwrap();
    let row = catalogue.registered().await.unwrap().remove(&name("d")).unwrap();
    assert_eq!(row.dataset.origin.as_ref(), Some(&there));
    // A third place ends that.
    let third = dataset("d", Some(("e", "q/")));
    catalogue
        .register_dataset(&third, DatasetSource::Manifest)
        .await
        .unwrap();
    let row = catalogue.registered().await.unwrap().remove(&name("d")).unwrap();
    assert_eq!(
        (row.dataset.origin.as_ref(), row.released_origin),
        (third.origin.as_ref(), None)
    );
    assert_eq!(state(catalogue, "b").await, Some((CopyState::Verified, 0, 0)));
}

#[tokio::test]
async fn a_backup_is_of_one_moment_and_a_damaged_catalogue_gives_none() {
    let fixture = Fixture::new().await;
    register(&fixture.catalogue, 3).await;
    let file = fixture.folder.path().join("backup.db");
    let backup = fixture.catalogue.back_up(&file).await.unwrap();
    assert_eq!((backup.datasets, backup.objects), (1, 3));
    assert_eq!(backup.bytes, std::fs::metadata(&file).unwrap().len());
    let url = format!("sqlite://{}", file.display());
    let copy = domicile_catalogue::Catalogue::open(&url, Mode::ReadOnly)
        .await
        .unwrap();
    assert_eq!(copy.revision().await.unwrap(), backup.revision);
    copy.close().await;
    let whole = std::fs::read(&file).unwrap();
    // The middle of the file is overwritten behind its back.
    let path = fixture.catalogue.path().unwrap().to_path_buf();
    fixture.catalogue.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let pages = bytes.len() / 4096;
    for page in 2..pages {
        bytes[page * 4096..page * 4096 + 200].fill(0x5a);
    }
    std::fs::write(&path, bytes).unwrap();
    let damaged = domicile_catalogue::Catalogue::open(&support::url(&fixture.folder), Mode::ReadOnly).await;
    if let Ok(damaged) = damaged {
        let refused = damaged.back_up(&file).await.unwrap_err();
        assert!(
            matches!(refused, BackupError::Database(_) | BackupError::Damaged { .. }),
            "{refused}"
        );
    }
    assert_eq!(std::fs::read(&file).unwrap(), whole, "the backup before stays");
    assert!(!fixture.folder.path().join("backup.db.part").exists());
}
