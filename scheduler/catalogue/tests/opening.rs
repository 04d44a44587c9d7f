//! Opening, locking, marks, plans, and what a killed process leaves.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod support;

use std::collections::BTreeMap;

use std::process::{Command, Stdio};

use domicile_catalogue::{
    Catalogue, DatasetSource, LockError, ManifestRow, Mode, MoveNote, MoveState, OpenError, PlanState,
};
use domicile_estate::{ByteCount, CopyState};
use support::{Fixture, backend, dataset, name, options, register, row, state, url, verify};

#[tokio::test]
async fn reading_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(&url(&folder), Mode::ReadOnly).await.unwrap();
    let observed = catalogue.observed(&[]).await.unwrap();
    assert_eq!(observed, domicile_estate::Observed::default());
    assert_eq!(catalogue.next_plan_number().await.unwrap(), 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn urls_and_files_that_are_not_ours_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |url: &str| Catalogue::open(url, Mode::ReadWrite).await.unwrap_err();
    let error = open("postgres://me:hunter2@db/x").await;
    assert!(matches!(error, OpenError::Scheme { .. }));
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(matches!(open("sqlite://").await, OpenError::NoPath { .. }));
    let text = folder.path().join("notes.txt");
    std::fs::write(
        &text,
        "these are my notes, and they are longer than a header\n".repeat(50),
    )
    .unwrap();
    let error = open(&format!("sqlite://{}", text.display())).await;
    assert!(matches!(error, OpenError::NotACatalogue { .. }), "{error}");
    let error = open(&format!("sqlite://{}/sub/catalogue.db", text.display())).await;
    assert!(matches!(error, OpenError::Folder { .. }), "{error}");
}

#[tokio::test]
async fn an_older_catalogue_is_brought_up_to_date_with_its_sums() {
    let fixture = Fixture::new().await;
    let path = fixture.folder.path().join("old.db");
    let url = format!("sqlite://{}", path.display());
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    for sql in [
        include_str!("../migrations/0001_first.sql"),
        "PRAGMA user_version = 1; PRAGMA application_id = 1148153193",
        "INSERT INTO datasets (id, name, source, domain, labels, record, keep_origin)
         VALUES (1, 'd', 'manifest', 'giessen', '{}', '{}', 1), (2, 'empty', 'manifest', 'giessen', '{}', '{}', 1)",
        "INSERT INTO objects (dataset_id, key, size) VALUES (1, 'a', 0), (1, 'b', 70000), (1, 'c', 9000000)",
    ] {
        sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let error = Catalogue::open(&url, Mode::ReadOnly).await.unwrap_err();
    assert!(matches!(error, OpenError::Older { found: 1, .. }), "{error}");
    let catalogue = Catalogue::open(&url, Mode::ReadWrite).await.unwrap();
    let minimums = [0, 65_536, 100_000].map(ByteCount);
    let observed = catalogue.observed(&minimums).await.unwrap();
    let sums = |name: &str| minimums.map(|minimum| observed.datasets[name].summary.billable(minimum).0);
    assert_eq!(sums("d"), [9_070_000, 9_135_536, 9_200_000]);
    assert_eq!(sums("empty"), [0, 0, 0]);
    assert_eq!(observed.datasets["d"].summary.objects, 3);
}

#[tokio::test]
async fn a_newer_catalogue_and_a_foreign_database_are_refused() {
    let fixture = Fixture::new().await;
    let path = fixture.catalogue.path().unwrap().to_owned();
    fixture.catalogue.close().await;
    let change = async |path: &std::path::Path, sql: &'static str| {
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        sqlx::raw_sql(sql).execute(&pool).await.unwrap();
        pool.close().await;
    };
    change(&path, "PRAGMA user_version = 99").await;
    for mode in [Mode::ReadOnly, Mode::ReadWrite] {
        let error = Catalogue::open(&url(&fixture.folder), mode).await.unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    }
    let other = fixture.folder.path().join("other.db");
    change(&other, "CREATE TABLE guests (name TEXT)").await;
    let error = Catalogue::open(&format!("sqlite://{}", other.display()), Mode::ReadWrite)
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::NotACatalogue { .. }), "{error}");
}

#[tokio::test]
async fn a_file_left_by_a_kill_at_the_first_moment_is_blank() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    std::fs::write(folder.path().join("deep/catalogue.db"), "").unwrap();
    let catalogue = Catalogue::open(&url(&folder), Mode::ReadOnly).await.unwrap();
    assert!(catalogue.registered().await.unwrap().is_empty());
    let catalogue = Catalogue::open(&url(&folder), Mode::ReadWrite).await.unwrap();
    register(&catalogue, 1).await;
}

#[tokio::test]
async fn a_transaction_that_never_ended_leaves_nothing() {
    let fixture = Fixture::new().await;
    register(&fixture.catalogue, 2).await;
    let before = fixture.catalogue.observed(&[]).await.unwrap();
    let mut import = fixture.catalogue.begin_import(options(true)).await.unwrap();
    import
        .add(&[row(2, "e", "x", 1, &["b"]), row(3, "d", "x", 1, &["b"])])
        .await
        .unwrap();
    // As a kill would: neither commit nor rollback is said, and the file is opened anew.
    std::mem::forget(import);
    let copy = fixture.folder.path().join("after");
    copy_folder(&fixture.folder.path().join("deep"), &copy);
    let url = format!("sqlite://{}/catalogue.db", copy.display());
    for mode in [Mode::ReadOnly, Mode::ReadWrite] {
        let after = Catalogue::open(&url, mode).await.unwrap();
        assert_eq!(after.observed(&[]).await.unwrap(), before);
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Run by the tests below as a process of its own; on its own it does nothing.
#[tokio::test]
async fn child_process() {
    let Ok(url) = std::env::var("CATALOGUE_OF_CHILD") else {
        return;
    };
    let catalogue = Catalogue::open(&url, Mode::ReadWrite).await.unwrap();
    let _lock = catalogue.lock().unwrap();
    for number in 0.. {
        let text = format!("set-{number:06}");
        catalogue
            .register_dataset(&dataset(&text, None), DatasetSource::Manifest)
            .await
            .unwrap();
        // Only what was said to be done may be counted on.
        std::fs::write(
            format!("{}.done", catalogue.path().unwrap().display()),
            number.to_string(),
        )
        .unwrap();
    }
}

#[tokio::test]
async fn kills_lose_nothing_and_free_the_lock() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    let done = format!("{}.done", catalogue.path().unwrap().display());
    for round in 0..5 {
        let _ = std::fs::remove_file(&done);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_process"])
            .env("CATALOGUE_OF_CHILD", url(&fixture.folder))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let said: i64 = loop {
            let text = std::fs::read_to_string(&done).unwrap_or_default();
            match text.parse() {
                Ok(number) if number >= round => break number,
                _ => tokio::time::sleep(std::time::Duration::from_millis(2)).await,
            }
        };
        let held = catalogue.lock().unwrap_err();
        let expected = format!("process {}", child.id());
        assert!(
            matches!(&held, LockError::Held { holder, .. } if *holder == expected),
            "{held}"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        drop(catalogue.lock().unwrap());
        let registered = catalogue.registered().await.unwrap();
        for number in 0..=said {
            assert!(
                registered.contains_key(&name(&format!("set-{number:06}"))),
                "{number} was lost"
            );
        }
    }
}

#[tokio::test]
async fn the_lock_is_held_until_it_is_dropped() {
    let fixture = Fixture::new().await;
    let other = Catalogue::open(&url(&fixture.folder), Mode::ReadWrite)
        .await
        .unwrap();
    let lock = fixture.catalogue.lock().unwrap();
    assert!(matches!(other.lock(), Err(LockError::Held { .. })));
    // Marks and readings need no lock.
    other.set_cordoned(&backend("b"), true).await.unwrap();
    drop(lock);
    other.lock().unwrap();
}

#[tokio::test]
async fn the_revision_rises_with_what_planning_sees_and_with_nothing_else() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    let manifest = |json: &str| ManifestRow {
        kind: "Domain".into(),
        name: "x".into(),
        json: json.into(),
    };
    let mut last = catalogue.revision().await.unwrap();
    macro_rules! rises {
        ($rises:expr, $call:expr) => {
            $call.await.unwrap();
            let now = catalogue.revision().await.unwrap();
            assert_eq!(now > last, $rises, "{}", stringify!($call));
            last = now;
        };
    }
    rises!(true, catalogue.record_manifests(&[manifest("{}")], &[]));
    rises!(false, catalogue.record_manifests(&[manifest("{}")], &[]));
    rises!(true, catalogue.record_manifests(&[manifest("{1}")], &[]));
    assert_eq!(catalogue.manifests().await.unwrap(), [manifest("{1}")]);
    rises!(
        true,
        catalogue.record_manifests(&[], &[("Domain".into(), "x".into())])
    );
    rises!(
        false,
        catalogue.record_manifests(&[], &[("Domain".into(), "x".into())])
    );
    rises!(false, catalogue.set_cordoned(&backend("b"), false));
    rises!(true, catalogue.set_cordoned(&backend("b"), true));
    rises!(false, catalogue.set_cordoned(&backend("b"), true));
    rises!(true, catalogue.set_draining(&backend("b"), true));
    rises!(true, catalogue.set_cordoned(&backend("b"), false));
    rises!(true, catalogue.set_unreachable(&backend("b"), "no route"));
    rises!(false, catalogue.set_unreachable(&backend("b"), "no route"));
    let observed = catalogue.observed(&[]).await.unwrap();
    assert!(observed.cordoned.is_empty());
    assert!(observed.draining.contains(&backend("b")));
    assert_eq!(observed.unreachable[&backend("b")], "no route");
    rises!(true, catalogue.set_reachable(&backend("b")));
    rises!(false, catalogue.set_reachable(&backend("b")));
    let described = dataset("d", Some(("src", "p/")));
    rises!(
        true,
        catalogue.register_dataset(&described, DatasetSource::Manifest)
    );
    rises!(
        false,
        catalogue.register_dataset(&described, DatasetSource::Manifest)
    );
    let listed = support::listing("d", ("src", "p/"), &[("a", 1, 1)]);
    rises!(true, catalogue.record_origin(&listed));
    rises!(false, catalogue.record_origin(&listed));
    rises!(true, catalogue.begin_copy(&name("d"), &backend("b")));
    rises!(false, catalogue.begin_copy(&name("d"), &backend("b")));
    let object = catalogue.objects(&name("d"), None, 1).await.unwrap()[0].object_id;
    rises!(true, catalogue.record_verified(&[support::verified(object, "b")]));
    rises!(
        false,
        catalogue.record_verified(&[support::verified(object, "b")])
    );
    rises!(
        false,
        catalogue.record_plan(1, "sha256:0", [b"{}".to_vec()], Vec::<(String, String)>::new())
    );
    rises!(false, catalogue.end_copy(&name("d"), &backend("b")));
    assert!(last > 0);
}

#[tokio::test]
async fn plans_and_moves_are_kept() {
    let fixture = Fixture::new().await;
    let catalogue = &fixture.catalogue;
    let moves = [
        ("m1".to_owned(), BTreeMap::from([("bytes", 1)])),
        ("m2".to_owned(), BTreeMap::new()),
    ];
    // A part may end within a letter.
    let text = "{\"name\": \"Gießen\"}";
    let parts: Vec<_> = text.as_bytes().chunks(1).map(<[u8]>::to_vec).collect();
    let record = |parts| catalogue.record_plan(1, "sha256:1", parts, moves.clone());
    record(parts.clone()).await.unwrap();
    assert!(record(parts).await.is_err());
    assert_eq!(catalogue.plans().await.unwrap()[0].json, text);
    let note = |id: &str, state: MoveState, reason: &str, attempts: u32| MoveNote {
        id: id.to_owned(),
        state,
        reason: reason.to_owned(),
        attempts,
    };
    let begun = vec![
        note("m1", MoveState::Running, "", 1),
        note("m1", MoveState::Running, "again", 1),
    ];
    catalogue.move_states(1, begun).await.unwrap();
    let unknown = vec![
        note("m2", MoveState::Done, "", 1),
        note("m3", MoveState::Done, "", 1),
    ];
    let ended = vec![note("m1", MoveState::Failed, "the disk is full", 0)];
    // What comes together may be written together; what is refused takes nothing else with it.
    let (refused, kept) = futures::join!(catalogue.move_states(1, unknown), catalogue.move_states(1, ended));
    assert!(refused.is_err());
    kept.unwrap();
    let kept = catalogue.moves(1).await.unwrap();
    assert_eq!(
        (kept[0].state, kept[0].attempts, kept[0].reason.as_str()),
        (MoveState::Failed, 2, "the disk is full")
    );
    assert_eq!(kept[0].json, r#"{"bytes":1}"#);
    assert_eq!(kept[1].state, MoveState::Pending);
    assert_eq!(catalogue.next_plan_number().await.unwrap(), 2);
    catalogue
        .record_plan(2, "sha256:2", [b"{}".to_vec()], Vec::<(String, String)>::new())
        .await
        .unwrap();
    catalogue.plan_state(2, PlanState::Done).await.unwrap();
    let states: Vec<_> = catalogue
        .plans()
        .await
        .unwrap()
        .iter()
        .map(|plan| (plan.number, plan.state))
        .collect();
    assert_eq!(states, [(2, PlanState::Done), (1, PlanState::Superseded)]);
}

#[tokio::test]
async fn what_was_recorded_is_there_after_reopening() {
    let fixture = Fixture::new().await;
    register(&fixture.catalogue, 2).await;
    verify(&fixture.catalogue, "b", 2).await;
    let before = fixture.catalogue.observed(&[]).await.unwrap();
    // The pools are not closed: the log is as a kill leaves it.
    let fixture = fixture.reopened(Mode::ReadOnly).await;
    assert_eq!(fixture.catalogue.observed(&[]).await.unwrap(), before);
    assert_eq!(
        state(&fixture.catalogue, "b").await,
        Some((CopyState::Verified, 0, 0))
    );
    assert!(fixture.catalogue.set_cordoned(&backend("b"), true).await.is_err());
}
