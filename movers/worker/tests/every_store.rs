//! What else every kind of store must stand: races, long listings, large objects, what is not there, and wrong keys.
//! The same tests on every kind that can be had here; a server that is not installed is skipped by name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod bench;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use bench::{Bench, DATASET, bytes, files, name, served, servers, sha256};
use domicile_estate::{ByteCount, CredentialsRef, DatasetName, StoreKind};
use domicile_movers::{DIGEST_LISTS, Failure, FailureClass, Place, Receipt, list_path};
use domicile_worker::{Certificate, Listed};

on_every_kind!(
    of_two_writers_of_one_name_one_wins,
    a_listing_of_more_than_a_thousand_is_whole,
    a_large_object_comes_back_equal,
    what_is_not_there_is_told_and_needs_no_deleting,
    a_reading_that_breaks_off_is_taken_up_or_told,
    what_the_store_has_shown_can_be_told,
    a_note_lies_beside_objects_and_is_none,
);

/// Rounds of a race.
const ROUNDS: usize = 6;

async fn a_note_lies_beside_objects_and_is_none(bench: Bench) {
    bench.put("a/b", &bytes(5_000, 1)).await;
    let dataset = DatasetName::new(DATASET).unwrap();
    let at = |path: String| Place {
        backend: name("store"),
        path,
    };
    // More than a store is asked for at once where it is only to be known whether it holds anything.
    let notes: BTreeMap<String, Vec<u8>> = (0..9)
        .map(|note| format!("what lies here, told by note {note}\n").into_bytes())
        .map(|text| (list_path(&dataset, &blake3::hash(&text).to_hex()), text))
        .collect();
    let Bench { worker, cancel, .. } = &bench;
    for (path, text) in notes.iter().chain(notes.iter().take(1)) {
        let place = at(path.clone());
        worker.put_note(&place, text.clone(), cancel).await.unwrap();
        assert_eq!(&worker.note(&place, 1_000, cancel).await.unwrap().bytes, text);
        let refused = worker.note(&place, 10, cancel).await.unwrap_err();
        assert_eq!(refused.class, FailureClass::SourceUnreadable, "{refused}");
    }
    let paths = |listed: Vec<Listed>| listed.into_iter().map(|found| found.path).collect::<Vec<_>>();
    let object = format!("{DATASET}/a/b");
    assert_eq!(paths(bench.list("").await), [object.as_str()], "it is no object");
    let listed = paths(bench.list(&format!("{DIGEST_LISTS}/")).await);
    assert_eq!(listed, notes.keys().cloned().collect::<Vec<_>>());
    let store = name("store");
    assert!(!worker.is_empty_or_gone(&store).await.unwrap());
    worker.delete(&at(object), Some(&dataset), cancel).await.unwrap();
    assert!(
        worker.is_empty_or_gone(&store).await.unwrap(),
        "notes alone are nothing"
    );
    for path in notes.keys() {
        worker.remove_note(&at(path.clone()), cancel).await.unwrap();
    }
    let (path, _) = notes.first_key_value().unwrap();
    worker.remove_note(&at(path.clone()), cancel).await.unwrap();
    let gone = worker.note(&at(path.clone()), 1_000, cancel).await.unwrap_err();
    assert!(
        [FailureClass::SourceGone, FailureClass::StoreMissing].contains(&gone.class),
        "{gone}"
    );
}

async fn of_two_writers_of_one_name_one_wins(bench: Bench) {
    for round in 0..ROUNDS {
        let key = format!("contested-{round}");
        let contents = [
            bytes(40_000, 2 * round as u64 + 1),
            bytes(40_000, 2 * round as u64 + 2),
        ];
        let specs: Vec<_> = (0..2)
            .map(|writer| {
                let from = format!("{writer}-{round}");
                bench.seed(&from, &contents[writer]);
                let mut spec = bench.spec(&key, &contents[writer], "store");
                spec.source.path = from;
                spec
            })
            .collect();
        let (first, second) = tokio::join!(bench.transfer(&specs[0]), bench.transfer(&specs[1]));
        let there = bench.get(&key).await.unwrap().sha256;
        if ["gcs", "s3s"].contains(&bench.server) {
            // Google's emulator puts one object over another whatever the condition is; the real service refuses.
            // s3s-fs looks first and writes then. At least nobody is told of bytes that were never there.
            assert!(contents.iter().any(|content| there == Some(sha256(content))));
            continue;
        }
        let results = [first, second];
        if bench.server == "webdav" && results.iter().all(Result::is_ok) {
            // wsgidav looks whether something is there, and renames then: once under load both came between. No server
            // promises more (RFC 4918 says nothing of two requests at once), and one catalogue has one writer.
            let told = |result: &Result<Receipt, Failure>| result.as_ref().is_ok_and(|r| r.sha256 == there);
            assert!(results.iter().any(told), "neither of them is there");
            continue;
        }
        for (result, content) in results.iter().zip(&contents) {
            match result {
                Ok(receipt) => assert_eq!(receipt.sha256, there, "a winner is told of other bytes"),
                Err(failure) => {
                    assert_eq!(failure.class, FailureClass::TargetConflict, "{failure}");
                    assert_ne!(there, Some(sha256(content)), "a loser's bytes are there");
                }
            }
        }
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "{results:?}");
    }
}

async fn a_listing_of_more_than_a_thousand_is_whole(bench: Bench) {
    const OBJECTS: usize = 1_050;
    let keys: BTreeSet<_> = (0..OBJECTS).map(|n| format!("many/o{n:04}")).collect();
    if let Some(local) = &bench.local {
        let folder = local.join(DATASET).join("many");
        std::fs::create_dir_all(&folder).unwrap();
        for key in &keys {
            std::fs::write(local.join(DATASET).join(key), b"x").unwrap();
        }
    } else {
        for key in &keys {
            bench.seed(key, b"x");
        }
        let specs = keys.iter().map(|key| bench.spec(key, b"x", "store"));
        bench
            .worker
            .transfer_many(specs, 16, &bench.progress, &bench.cancel, |spec, result| {
                result.unwrap_or_else(|failure| panic!("{}: {failure}", spec.key));
                std::future::ready(())
            })
            .await;
    }
    let listed = bench.list(&format!("{DATASET}/many/")).await;
    assert!(listed.iter().all(|found| found.size == 1));
    let listed: BTreeSet<_> = listed.into_iter().map(|found| found.path).collect();
    let expected: BTreeSet<_> = keys.iter().map(|key| format!("{DATASET}/{key}")).collect();
    assert_eq!(listed, expected);
}

/// `DOMICILE_LARGE_MIB`; 64 where it is not set.
fn large_mib() -> u64 {
    let given = std::env::var("DOMICILE_LARGE_MIB").ok();
    given.map_or(64, |mib| mib.parse().expect("DOMICILE_LARGE_MIB is a number"))
}

async fn a_large_object_comes_back_equal(bench: Bench) {
    // Not held in memory here, whatever its size (a store of type `Memory` and Google's emulator do hold it), and no whole
    // number of parts.
    let path = bench.path("origin").join("large");
    let mut file = std::fs::File::create(&path).unwrap();
    let mut whole = blake3::Hasher::new();
    let tail = std::iter::once((1_234_567, 0));
    for (size, seed) in (1..=large_mib()).map(|seed| (1 << 20, seed)).chain(tail) {
        let chunk = bytes(size, seed);
        whole.update(&chunk);
        file.write_all(&chunk).unwrap();
    }
    drop(file);
    let digest = whole.finalize().to_hex().to_string();
    let mut spec = bench.spec("large", &[], "store");
    spec.size = ByteCount(std::fs::metadata(&path).unwrap().len());
    spec.sha256 = None;
    let receipt = bench.transfer(&spec).await.unwrap();
    assert_eq!(receipt.blake3, digest);
    assert_eq!(bench.get("large").await.unwrap().blake3, digest);

    // And home, part by part: each a range of it.
    std::fs::remove_file(path).unwrap();
    let mut home = spec.clone();
    home.source = spec.target.clone();
    home.target.backend = name("back");
    assert_eq!(bench.transfer(&home).await.unwrap().blake3, digest);
    let place = Place {
        backend: name("store"),
        path: format!("{DATASET}/large"),
    };
    bench.worker.delete(&place, None, &bench.cancel).await.unwrap();
}

async fn what_is_not_there_is_told_and_needs_no_deleting(bench: Bench) {
    bench.put("a", b"1").await;
    for key in ["missing", "missing/deeper", "a/below-a-file"] {
        let failure = bench.get(key).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::SourceGone, "{key}: {failure}");
    }
    for key in ["missing", "missing/deeper"] {
        let place = Place {
            backend: name("store"),
            path: format!("{DATASET}/{key}"),
        };
        bench.worker.delete(&place, None, &bench.cancel).await.unwrap();
    }
    assert_eq!(bench.list("").await.len(), 1);
}

async fn a_reading_that_breaks_off_is_taken_up_or_told(bench: Bench) {
    let content = bytes(12 * 1024 * 1024 + 9, 7);
    let home = |key: &str, source: &str| {
        let mut spec = bench.spec(key, &content, "back");
        spec.source = Place {
            backend: name(source),
            path: spec.target.path.clone(),
        };
        spec
    };
    if bench.server == "ftp" {
        // Data goes another way than words: the server itself ends what is called so before its end.
        let spec = home("cut-short", "store");
        std::fs::create_dir_all(bench.local.as_ref().unwrap().join(DATASET)).unwrap();
        std::fs::write(bench.local.as_ref().unwrap().join(&spec.source.path), &content).unwrap();
        let failure = bench.transfer(&spec).await.unwrap_err();
        assert!(failure.blames_source() || failure.is_transient(), "{failure}");
        assert_eq!(files(&bench.path("back")), BTreeMap::new());
        return;
    }
    let Some((behind, line)) = bench.behind_a_line() else {
        return;
    };
    bench.put("a", &content).await;
    bench.put("b", &content).await;
    line.cut(2);
    behind.transfer(&home("a", "cut")).await.unwrap();
    assert_eq!(line.left(), 0, "the line did not break");
    let whole = |found: &BTreeMap<String, Vec<u8>>| found.values().all(|found| *found == content);
    let found = files(&bench.path("back"));
    assert!(found.len() == 1 && whole(&found));

    if bench.server == "gcs" {
        // OpenDAL asks again and again for minutes.
        return;
    }
    line.cut(u64::MAX);
    match behind.transfer(&home("b", "cut")).await {
        // It went on, piece by piece, each time from where it had come.
        Ok(_) => assert!(whole(&files(&bench.path("back")))),
        Err(failure) => {
            assert!(failure.is_transient(), "{failure}");
            assert_eq!(files(&bench.path("back")).len(), 1, "nothing is seen of it");
        }
    }
}

async fn what_the_store_has_shown_can_be_told(bench: Bench) {
    let store = name("store");
    let report = bench.worker.probe(&store, true, false).await.unwrap();
    let certificate = bench.worker.certify(&store).await.unwrap();
    // The emulator heeds no condition.
    let refuses = bench.server != "gcs";
    let expected = Certificate {
        checksums: bench.kind == StoreKind::S3,
        refuses_to_overwrite: refuses,
        deletes_conditionally: bench.kind == StoreKind::S3 && bench.server != "s3s",
        one_writer_wins: refuses,
        replaces: true,
        keeps_empty: true,
        reads_ranges: true,
        // wsgidav cuts them off.
        keeps_odd_names: bench.kind != StoreKind::Webdav,
        // s3s-fs lists no uploads.
        goes_on: matches!(bench.kind, StoreKind::S3 | StoreKind::Fs) && bench.server != "s3s",
        took_ms: certificate.took_ms,
    };
    let races = certificate.one_writer_wins;
    assert_eq!(
        certificate,
        Certificate {
            one_writer_wins: races || refuses && bench.server != "s3s",
            ..expected
        }
    );
    assert_eq!(report.refuses_to_overwrite, refuses, "{report:?}");
    assert_eq!(report.proves_checksums, expected.checksums);
    assert_eq!(bench.list("").await, [], "it leaves nothing");
    assert!(bench.worker.is_empty_or_gone(&store).await.unwrap());

    // Another process that relies on it says the same without trying.
    let again = bench.again();
    again.worker.rely_on(&store, &certificate);
    let reads_back = again.worker.always_reads_back(&store).await.unwrap();
    assert_eq!(reads_back, !certificate.checksums);
}

async fn refuses(kind: StoreKind, server: &'static str) {
    let Some(running) = servers::Server::of(server) else {
        return;
    };
    const WRONG: &str = "bm90aGluZy10aGF0LW9wZW5zLWFueXRoaW5n";
    let mut store = served(kind, &running, "nobody");
    let mut variables = running.variables.clone();
    for (name, value) in &mut variables {
        if name.ends_with("PASSWORD") || name.ends_with("KEY") {
            WRONG.clone_into(value);
        }
    }
    if let Some(wrong) = &running.wrong {
        store.credentials = Some(CredentialsRef::File(wrong.clone()));
    }
    let bench = Bench::with(tempfile::tempdir().unwrap(), &[store], variables);
    bench.seed("a", b"1");
    let mut spec = bench.spec("a", b"1", "store");
    spec.allow_create_root = true;
    let failure = bench.transfer(&spec).await.unwrap_err();
    assert_eq!(
        failure.class,
        FailureClass::CredentialsRefused,
        "{server}: {failure}"
    );
    assert!(failure.blames_whole_backend());
    let probed = bench.worker.probe(&name("store"), true, false).await.unwrap_err();
    assert_eq!(
        probed.class,
        FailureClass::CredentialsRefused,
        "{server}: {probed}"
    );
    for text in [
        format!("{failure} {failure:?}"),
        format!("{probed} {:?}", bench.worker),
    ] {
        assert!(!text.contains(WRONG), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_and_not_shown() {
    refuses(StoreKind::Azblob, "azblob").await;
    refuses(StoreKind::Webdav, "webdav").await;
    refuses(StoreKind::Ftp, "ftp").await;
    refuses(StoreKind::Ftp, "ftps").await;
    refuses(StoreKind::Sftp, "sftp").await;
}

/// The root `/` of the server is where everything lies, whatever folder a connection was in last.
#[tokio::test(flavor = "multi_thread")]
async fn a_root_of_a_slash_is_the_root_of_the_server() {
    for server in ["ftp", "ftps"] {
        let Some(running) = servers::Server::of(server) else {
            continue;
        };
        let mut store = served(StoreKind::Ftp, &running, "");
        store.store.options.insert("root".to_owned(), "/".to_owned());
        let bench = Bench::with(tempfile::tempdir().unwrap(), &[store], running.variables.clone());
        let key = |round: u64| format!("from-the-top-{server}/sub/{round}");
        let prefix = format!("{DATASET}/from-the-top-{server}/");
        for round in 0..3 {
            bench.put(&key(round), &bytes(500, round)).await;
            let listed = bench.list(&prefix).await.len() as u64;
            assert_eq!(listed, round + 1, "{server}: each lies beside the others");
            assert!(!bench.worker.is_empty_or_gone(&name("store")).await.unwrap());
        }
        for round in 0..3 {
            let seen = bench.get(&key(round)).await.unwrap();
            assert_eq!(seen.sha256, Some(sha256(&bytes(500, round))), "{server}");
            let path = format!("{prefix}sub/{round}");
            assert_eq!(
                std::fs::read(running.folder.join(&path)).unwrap(),
                bytes(500, round)
            );
            let place = Place {
                backend: name("store"),
                path,
            };
            let dataset = DatasetName::new(DATASET).unwrap();
            bench
                .worker
                .delete(&place, Some(&dataset), &bench.cancel)
                .await
                .unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_trusted_is_told_nothing() {
    let Some(running) = servers::Server::of("ftps") else {
        return;
    };
    let probe = |change: fn(&mut std::collections::BTreeMap<String, String>)| {
        let mut store = served(StoreKind::Ftp, &running, "nobody");
        change(&mut store.store.options);
        let bench = Bench::with(tempfile::tempdir().unwrap(), &[store], running.variables.clone());
        async move { bench.worker.probe(&name("store"), true, true).await }
    };
    // Those whom the system trusts do not vouch for it.
    let stranger = probe(|options| drop(options.remove("authority")))
        .await
        .unwrap_err();
    assert_eq!(stranger.class, FailureClass::CredentialsRefused, "{stranger}");
    assert!(stranger.message.contains("not trusted"), "{stranger}");
    let missing = probe(|options| drop(options.insert("authority".to_owned(), "/nowhere".to_owned())));
    let missing = missing.await.unwrap_err();
    assert!(missing.message.contains("`/nowhere`"), "{missing}");
    // It lets nobody in who does without, and a server without TLS is told no password.
    let plain = probe(|options| {
        let endpoint = options["endpoint"].replace("ftps://", "ftp://");
        options.insert("endpoint".to_owned(), endpoint);
    });
    assert!(plain.await.is_err());
    if let Some(without) = servers::Server::of("ftp") {
        let mut store = served(StoreKind::Ftp, &without, "nobody");
        let endpoint = store.store.options["endpoint"].replace("ftp://", "ftps://");
        store.store.options.insert("endpoint".to_owned(), endpoint);
        let bench = Bench::with(tempfile::tempdir().unwrap(), &[store], without.variables.clone());
        let failure = bench.worker.probe(&name("store"), true, true).await.unwrap_err();
        assert!(failure.message.contains("offers no TLS"), "{failure}");
    }
    probe(|_| {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_is_read_and_never_written() {
    let Some(bench) = Bench::on(StoreKind::Http, "http") else {
        return;
    };
    let local = bench.local.clone().unwrap().join(DATASET);
    let objects = [
        ("a b+c%20d", 5_000),
        ("empty", 0),
        ("deep/er/Größe & <x>", 70_000),
        ("large", 20 * 1024 * 1024 + 3),
    ];
    for (seed, (key, size)) in objects.into_iter().enumerate() {
        let path = local.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes(size, seed as u64)).unwrap();
    }
    let listed: BTreeSet<_> = bench
        .list(&format!("{DATASET}/"))
        .await
        .into_iter()
        .map(|found| (found.path, found.size))
        .collect();
    let expected = objects.map(|(key, size)| (format!("{DATASET}/{key}"), size as u64));
    assert_eq!(listed, BTreeSet::from(expected));
    for (seed, (key, size)) in objects.into_iter().enumerate() {
        let content = bytes(size, seed as u64);
        let mut spec = bench.spec(key, &content, "back");
        spec.source = Place {
            backend: name("store"),
            path: format!("{DATASET}/{key}"),
        };
        assert_eq!(
            bench.transfer(&spec).await.unwrap().sha256,
            Some(sha256(&content)),
            "{key}"
        );
    }
    assert_eq!(
        bench.get("missing").await.unwrap_err().class,
        FailureClass::SourceGone
    );
    bench.seed("a", b"1");
    let failure = bench.transfer(&bench.spec("a", b"1", "store")).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::TargetDenied, "{failure}");
    assert!(failure.message.contains("ReadOnly"), "{failure}");
}
