//! What only folders can do to us: links, locks, leftovers, names that are no text, missing roots, full disks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod bench;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use bench::{Bench, DATASET, backend, bytes, files, name, root_of};
use domicile_estate::{DatasetName, StoreKind};
use domicile_movers::{FailureClass, Place, TargetRecorded};
use domicile_worker::ListedKind;

fn bench() -> Bench {
    Bench::of(StoreKind::Fs).unwrap()
}

#[tokio::test]
async fn a_planted_link_leads_no_write_out() {
    let bench = bench();
    let outside = bench.path("outside");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::create_dir_all(bench.path("store").join(DATASET)).unwrap();
    symlink(&outside, bench.path("store").join(DATASET).join("link")).unwrap();
    symlink(
        outside.join("file"),
        bench.path("store").join(DATASET).join("direct"),
    )
    .unwrap();
    // Also one that stays within the root: another dataset must be as safe as another folder.
    std::fs::create_dir_all(bench.path("store").join("other")).unwrap();
    symlink("../other", bench.path("store").join(DATASET).join("inner")).unwrap();
    for key in ["link/x", "link/deep/x", "inner/x", "direct"] {
        bench.seed(key, b"new");
        let mut spec = bench.spec(key, b"new", "store");
        spec.target_recorded = TargetRecorded::Ours;
        let failure = bench.transfer(&spec).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::TargetConflict, "{key}: {failure}");
        let place = spec.target.clone();
        let dataset = DatasetName::new(DATASET).unwrap();
        let deleted = bench.worker.delete(&place, Some(&dataset), &bench.cancel).await;
        assert_eq!(deleted.unwrap_err().class, FailureClass::TargetConflict, "{key}");
    }
    assert_eq!(
        (
            files(&outside).len(),
            files(&bench.path("store").join("other")).len()
        ),
        (0, 0)
    );
}

#[tokio::test]
async fn a_backslash_is_a_character_like_others() {
    let bench = bench();
    bench.put("a\\b", b"1").await;
    bench.put("a/b", b"2").await;
    let expected = [
        (format!("{DATASET}/a\\b"), b"1".to_vec()),
        (format!("{DATASET}/a/b"), b"2".to_vec()),
    ];
    assert_eq!(files(&bench.path("store")), expected.into());
}

#[tokio::test]
async fn a_planted_temporary_link_is_not_written_through() {
    let bench = bench();
    let victim = bench.path("victim");
    std::fs::write(&victim, b"precious").unwrap();
    let folder = bench.path("store").join(DATASET);
    std::fs::create_dir_all(&folder).unwrap();
    let hash = blake3::hash(format!("{DATASET}/a").as_bytes()).to_hex();
    let temporary = folder.join(format!(".domicile-{}.part", &hash.as_str()[..16]));
    bench.seed("a", b"new");
    symlink(&victim, &temporary).unwrap();
    assert!(bench.transfer(&bench.spec("a", b"new", "store")).await.is_err());
    std::fs::remove_file(&temporary).unwrap();
    std::fs::hard_link(&victim, &temporary).unwrap();
    bench.transfer(&bench.spec("a", b"new", "store")).await.unwrap();
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    assert_eq!(
        files(&folder),
        BTreeMap::from([("a".to_owned(), b"new".to_vec())])
    );
}

#[tokio::test]
async fn links_and_odd_things_at_an_origin_are_told_and_not_followed() {
    let bench = bench();
    let origin = bench.path("origin");
    bench.seed("plain", b"1");
    std::fs::create_dir_all(bench.path("outside")).unwrap();
    std::fs::write(bench.path("outside").join("secret"), b"2").unwrap();
    symlink(bench.path("outside").join("secret"), origin.join("link")).unwrap();
    symlink(bench.path("outside"), origin.join("folder")).unwrap();
    std::fs::write(origin.join(std::ffi::OsStr::from_bytes(b"latin-\xe4")), b"3").unwrap();
    std::fs::write(origin.join(".domicile-0123456789abcdef.part"), b"4").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(origin.join("socket")).unwrap();

    let listing = bench.worker.list(&name("origin"), "", &[]).await.unwrap();
    let found: BTreeMap<_, _> = listing
        .all()
        .await
        .unwrap()
        .into_iter()
        .map(|found| (found.path, found.kind))
        .collect();
    let expected = [
        ("folder", ListedKind::SymbolicLink),
        ("latin-\u{fffd}", ListedKind::NotUtf8),
        ("link", ListedKind::SymbolicLink),
        ("plain", ListedKind::File),
        ("socket", ListedKind::Special),
    ];
    assert_eq!(found, expected.map(|(path, kind)| (path.to_owned(), kind)).into());

    for (path, key) in [("link", "link"), ("folder/secret", "secret")] {
        let mut spec = bench.spec(key, b"2", "store");
        spec.source.path = path.to_owned();
        let failure = bench.transfer(&spec).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::SourceGone, "{failure}");
    }
    let listing = bench.worker.list(&name("origin"), "folder/", &[]).await.unwrap();
    assert_eq!(
        listing.all().await.unwrap_err().class,
        FailureClass::SourceUnreadable
    );
}

#[tokio::test]
async fn paths_that_lead_elsewhere_are_refused() {
    let bench = bench();
    let escaped = bench.path("x");
    std::fs::write(&escaped, b"outside").unwrap();
    for path in [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a//b",
        "./x",
        "",
        "a\0b",
        "a/",
    ] {
        let mut spec = bench.spec("k", b"new", "store");
        spec.target.path = path.to_owned();
        spec.target_recorded = TargetRecorded::Ours;
        let failure = bench.transfer(&spec).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::KeyRefused, "{path:?}: {failure}");
        let place = Place {
            backend: name("store"),
            path: path.to_owned(),
        };
        let deleted = bench
            .worker
            .delete(&place, None, &bench.cancel)
            .await
            .unwrap_err();
        assert_eq!(deleted.class, FailureClass::KeyRefused, "{path:?}");
    }
    assert_eq!(std::fs::read(&escaped).unwrap(), b"outside");
}

#[tokio::test]
async fn what_a_crash_left_is_reused_or_swept_but_not_from_the_living() {
    let bench = bench();
    let store = bench.path("store");
    let left = |key: &str| {
        let hash = blake3::hash(format!("{DATASET}/{key}").as_bytes()).to_hex();
        store
            .join(DATASET)
            .join(key)
            .parent()
            .unwrap()
            .join(format!(".domicile-{}.part", &hash.as_str()[..16]))
    };
    std::fs::create_dir_all(store.join(DATASET).join("deep/empty")).unwrap();
    for key in ["a", "deep/b", "deep/c"] {
        std::fs::write(left(key), bytes(100_000, 1)).unwrap();
    }
    bench.put("a", b"short").await;
    assert!(!left("a").exists());

    let living = std::fs::File::open(left("deep/c")).unwrap();
    living.lock().unwrap();
    let dataset = DatasetName::new(DATASET).unwrap();
    assert_eq!(bench.worker.sweep(&name("store"), &dataset).await, Ok(1));
    // Folders stay: an empty one may be somebody's.
    assert!(left("deep/c").exists() && store.join(DATASET).join("deep/empty").exists());
    bench.seed("deep/c", b"new");
    let busy = bench
        .transfer(&bench.spec("deep/c", b"new", "store"))
        .await
        .unwrap_err();
    assert_eq!(busy.class, FailureClass::Transient, "{busy}");
    drop(living);
    assert_eq!(bench.worker.sweep(&name("store"), &dataset).await, Ok(1));
    assert_eq!(
        files(&store),
        BTreeMap::from([(format!("{DATASET}/a"), b"short".to_vec())])
    );
    let place = Place {
        backend: name("store"),
        path: format!("{DATASET}/a"),
    };
    bench
        .worker
        .delete(&place, Some(&dataset), &bench.cancel)
        .await
        .unwrap();
    assert!(!store.join(DATASET).join("a").exists() && store.exists());
    assert_eq!(bench.worker.sweep(&name("store"), &dataset).await, Ok(0));
}

#[tokio::test]
async fn a_missing_root_is_made_only_where_nothing_is_recorded() {
    let bench = bench();
    let store = bench.path("store");
    std::fs::remove_dir_all(&store).unwrap();
    bench.seed("a", b"1");
    let mut spec = bench.spec("a", b"1", "store");
    let failure = bench.transfer(&spec).await.unwrap_err();
    assert_eq!(
        (failure.class, failure.object.clone()),
        (FailureClass::StoreMissing, None),
        "{failure}"
    );
    assert!(failure.blames_whole_backend() && !store.exists());
    assert!(bench.worker.is_empty_or_gone(&name("store")).await.unwrap());
    assert_eq!(
        bench
            .worker
            .probe(&name("store"), false, false)
            .await
            .unwrap_err()
            .class,
        FailureClass::StoreMissing
    );
    spec.allow_create_root = true;
    bench.transfer(&spec).await.unwrap();
    assert_eq!(files(&store).len(), 1);

    std::fs::remove_dir_all(bench.path("origin")).unwrap();
    std::fs::remove_dir_all(&store).unwrap();
    let failure = bench.transfer(&spec).await.unwrap_err();
    assert_eq!(
        (failure.class, failure.backend.as_str()),
        (FailureClass::StoreMissing, "origin"),
        "{failure}"
    );
    assert!(
        bench
            .worker
            .list(&name("origin"), "", &[])
            .await
            .unwrap()
            .all()
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_prefix_that_is_not_there_is_told() {
    let bench = bench();
    let listing = bench.worker.list(&name("store"), "plantz/", &[]).await.unwrap();
    let failure = listing.all().await.unwrap_err();
    assert_eq!(failure.class, FailureClass::SourceGone, "{failure}");
    assert_eq!(failure.object.as_deref(), Some("plantz"));
}

#[tokio::test]
async fn an_unknown_backend_and_a_relative_root_are_told() {
    let home = tempfile::tempdir().unwrap();
    let relative = backend("store", StoreKind::Fs, &[("root", "data".to_owned())]);
    let bench = Bench::with(home, &[relative], BTreeMap::new());
    for backend_name in ["store", "nowhere"] {
        let failure = bench
            .worker
            .probe(&name(backend_name), true, false)
            .await
            .unwrap_err();
        assert_eq!(failure.class, FailureClass::StoreMissing, "{failure}");
    }
}

#[tokio::test]
async fn a_file_that_may_not_be_read_is_told() {
    let bench = bench();
    bench.seed("locked", b"1");
    let path = bench.path("origin").join("locked");
    let nobody = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(&path, nobody).unwrap();
    if std::fs::read(&path).is_ok() {
        eprintln!("skipped: this user may read everything");
        return;
    }
    let failure = bench
        .transfer(&bench.spec("locked", b"1", "store"))
        .await
        .unwrap_err();
    assert_eq!(failure.class, FailureClass::SourceUnreadable, "{failure}");
}

/// Needs a small file system to fill: the folder that `DOMICILE_TEST_SMALL_FS` names, of at most 16 MiB.
#[tokio::test]
async fn a_full_disk_is_told_and_leaves_nothing() {
    let Ok(small) = std::env::var("DOMICILE_TEST_SMALL_FS") else {
        eprintln!("skipped: DOMICILE_TEST_SMALL_FS names no small file system");
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let small = tempfile::tempdir_in(small).unwrap();
    let bench = Bench::with(
        home,
        &[backend("small", StoreKind::Fs, &root_of(small.path()))],
        BTreeMap::new(),
    );
    let content = bytes(20 * 1024 * 1024, 1);
    bench.seed("big", &content);
    bench.seed("little", b"1");
    let failure = bench
        .transfer(&bench.spec("big", &content, "small"))
        .await
        .unwrap_err();
    assert_eq!(failure.class, FailureClass::TargetFull, "{failure}");
    assert_eq!(
        (failure.backend.as_str(), failure.object.as_deref()),
        ("small", Some("plants+2/big"))
    );
    assert_eq!(files(small.path()), BTreeMap::new());
    bench
        .transfer(&bench.spec("little", b"1", "small"))
        .await
        .unwrap();
}

/// What a file takes on its disk.
fn stored(path: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).unwrap().blocks() * 512
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_of_a_sparse_file_stay_holes() {
    use std::os::unix::fs::FileExt as _;
    let bench = bench();
    // Copied at once, and in parts that others could go on with.
    for (key, size) in [("small", 4 << 20), ("large", (80 << 20) + 7)] {
        let source = bench.path("origin").join(key);
        bench.seed(key, b"");
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open(&source)
            .unwrap();
        file.set_len(size).unwrap();
        for at in [0, size / 2 - 5, size - 4_000] {
            file.write_all_at(&bytes(3_000, at), at).unwrap();
        }
        let mut content = vec![0; usize::try_from(size).unwrap()];
        file.read_exact_at(&mut content, 0).unwrap();
        bench.transfer(&bench.spec(key, &content, "store")).await.unwrap();
        let copy = bench.path("store").join(DATASET).join(key);
        assert!(std::fs::read(&copy).unwrap() == content, "{key}: byte for byte");
        // Where the file system keeps no holes, there are none to keep.
        if stored(&source) * 4 < size {
            assert!(
                stored(&copy) * 2 < size,
                "{key}: {} of {size} bytes are stored",
                stored(&copy)
            );
        }
    }
}
