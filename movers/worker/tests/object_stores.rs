//! What object stores answer when something is wrong, and that no credential is ever shown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod bench;

use std::collections::BTreeMap;

use bench::{Bench, DATASET, S3Server, backend, bytes, name, sha256};
use domicile_estate::{Backend, CredentialsRef, DatasetName, StoreKind};
use domicile_movers::{Digests, Failure, FailureClass, TargetRecorded};

const SECRET: &str = "sEcReT/that+nobody=sees";

fn variables(id: &str, secret: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("BENCH_ACCESS_KEY_ID".to_owned(), id.to_owned()),
        ("BENCH_SECRET_ACCESS_KEY".to_owned(), secret.to_owned()),
    ])
}

async fn write_to(store: Backend, variables: BTreeMap<String, String>) -> Failure {
    let bench = Bench::with(tempfile::tempdir().unwrap(), &[store], variables);
    bench.seed("a", b"1");
    let failure = bench.transfer(&bench.spec("a", b"1", "store")).await.unwrap_err();
    let probed = bench.worker.probe(&name("store"), true, false).await.unwrap_err();
    for text in [
        format!("{failure} {failure:?}"),
        format!("{probed} {probed:?}"),
        format!("{:?}", bench.worker),
    ] {
        for hidden in [SECRET, "AKIDHIDDEN"] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
    failure
}

fn s3(endpoint: &str, bucket: &str) -> Backend {
    let options = [("endpoint", endpoint.to_owned()), ("bucket", bucket.to_owned())];
    backend("store", StoreKind::S3, &options)
}

#[tokio::test]
async fn a_store_that_nobody_serves_is_told_after_bounded_attempts() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let failure = write_to(
        s3(&format!("http://127.0.0.1:{port}"), "bucket"),
        variables("AKIDHIDDEN", SECRET),
    )
    .await;
    assert_eq!(failure.class, FailureClass::Transient, "{failure}");
    assert!(failure.message.contains("gave up after 3 attempts"), "{failure}");
}

#[tokio::test]
async fn credentials_that_are_not_there_are_told_by_the_name_of_their_place() {
    let failure = write_to(s3("http://127.0.0.1:9", "bucket"), BTreeMap::new()).await;
    assert_eq!(failure.class, FailureClass::CredentialsRefused);
    assert!(failure.message.contains("`BENCH_ACCESS_KEY_ID`"), "{failure}");

    let mut store = s3("http://127.0.0.1:9", "bucket");
    store.credentials = Some(CredentialsRef::File("/nowhere/keys".to_owned()));
    let failure = write_to(store.clone(), BTreeMap::new()).await;
    assert!(failure.message.contains("`/nowhere/keys`"), "{failure}");

    store.credentials = Some(CredentialsRef::Secret("keys".to_owned()));
    let failure = write_to(store.clone(), BTreeMap::new()).await;
    assert!(failure.message.contains("Kubernetes only"), "{failure}");

    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("keys");
    std::fs::write(
        &file,
        format!("access_key_id = AKIDHIDDEN\nsecret_key = {SECRET}\n"),
    )
    .unwrap();
    store.credentials = Some(CredentialsRef::File(file.to_str().unwrap().to_owned()));
    let failure = write_to(store, BTreeMap::new()).await;
    assert!(failure.message.contains("no `secret_access_key`"), "{failure}");
}

#[tokio::test]
async fn a_bucket_without_a_name_is_told() {
    let failure = write_to(s3("http://127.0.0.1:9", ""), variables("AKIDHIDDEN", SECRET)).await;
    assert_eq!(failure.class, FailureClass::StoreMissing, "{failure}");
}

#[tokio::test]
async fn a_real_store_says_that_the_bucket_is_missing() {
    let Some(server) = S3Server::given() else { return };
    let failure = write_to(s3(&server.endpoint, "no-such-bucket-here"), server.variables()).await;
    assert_eq!(failure.class, FailureClass::StoreMissing, "{failure}");
    assert!(failure.blames_whole_backend());
}

#[tokio::test]
async fn a_real_store_says_that_the_key_is_wrong() {
    let Some(server) = S3Server::given() else { return };
    for variables in [
        variables(&server.access_key_id, SECRET),
        variables("AKIDHIDDEN", SECRET),
    ] {
        let failure = write_to(s3(&server.endpoint, &server.bucket), variables).await;
        assert_eq!(failure.class, FailureClass::CredentialsRefused, "{failure}");
        assert!(!failure.to_string().contains(&server.access_key_id), "{failure}");
    }
}

#[tokio::test]
async fn a_real_store_refuses_who_has_no_key() {
    let Some(server) = S3Server::given() else { return };
    let mut store = s3(&server.endpoint, &server.bucket);
    store.credentials = None;
    let failure = write_to(store, BTreeMap::new()).await;
    let told = [FailureClass::TargetDenied, FailureClass::CredentialsRefused];
    assert!(told.contains(&failure.class), "{failure}");
    assert!(failure.message.contains("credentials"), "{failure}");
}

#[tokio::test]
async fn a_name_that_a_real_store_would_change_is_kept_or_refused() {
    let Some(bench) = Bench::of(StoreKind::S3) else {
        return;
    };
    bench.seed("a\\b", b"1");
    let result = bench.transfer(&bench.spec("a\\b", b"1", "store")).await;
    let listed: Vec<_> = bench.list("").await.into_iter().map(|found| found.path).collect();
    match result {
        Ok(_) => assert_eq!(listed, ["plants+2/a\\b"]),
        Err(failure) => {
            assert_eq!(failure.class, FailureClass::KeyRefused, "{failure}");
            assert!(listed.is_empty(), "{listed:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stopped_goes_on_in_another_process_and_sends_no_part_twice() {
    const MIB: u64 = 1024 * 1024;
    let Some(bench) = Bench::of(StoreKind::S3) else {
        return;
    };
    let content = bytes(60 * 1024 * 1024 + 5, 3);
    bench.seed("big", &content);
    let spec = bench.spec("big", &content, "store");
    let stopper = async {
        while bench.progress.bytes_written() < 24 * MIB {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        bench.cancel.cancel();
    };
    let (stopped, ()) = tokio::join!(bench.transfer(&spec), stopper);
    assert_eq!(stopped.unwrap_err().class, FailureClass::Cancelled);
    let sent = bench.progress.bytes_written();

    // Another worker, which knows nothing of the first but what the store tells.
    let again = bench.again();
    let receipt = again.transfer(&spec).await.unwrap();
    assert_eq!(receipt.sha256, Some(sha256(&content)));
    // Those that were under way when it was stopped may have arrived, or not.
    let sent_again = again.progress.bytes_written();
    assert!(
        sent_again <= content.len() as u64 - sent,
        "{sent} bytes, then {sent_again}"
    );
    let dataset = DatasetName::new(DATASET).unwrap();
    assert_eq!(
        again.worker.give_up_uploads(&name("store"), &dataset).await,
        Ok(0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_another_object_are_not_taken_for_ours() {
    let Some(bench) = Bench::of(StoreKind::S3) else {
        return;
    };
    let old = bytes(40 * 1024 * 1024, 3);
    bench.seed("big", &old);
    let stopper = async {
        while bench.progress.bytes_written() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        bench.cancel.cancel();
    };
    let spec = bench.spec("big", &old, "store");
    let (stopped, ()) = tokio::join!(bench.transfer(&spec), stopper);
    assert_eq!(stopped.unwrap_err().class, FailureClass::Cancelled);

    // The owner has changed it, and registered it anew.
    let new = bytes(40 * 1024 * 1024, 4);
    bench.seed("big", &new);
    let again = bench.again();
    let receipt = again.transfer(&again.spec("big", &new, "store")).await.unwrap();
    assert_eq!(receipt.sha256, Some(sha256(&new)));
    assert_eq!(again.get("big").await.unwrap().sha256, Some(sha256(&new)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_nobody_goes_on_with_is_given_up() {
    let Some(bench) = Bench::of(StoreKind::S3) else {
        return;
    };
    let content = bytes(40 * 1024 * 1024, 3);
    bench.seed("big", &content);
    let stopper = async {
        while bench.progress.bytes_written() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        bench.cancel.cancel();
    };
    let spec = bench.spec("big", &content, "store");
    let (stopped, ()) = tokio::join!(bench.transfer(&spec), stopper);
    assert_eq!(stopped.unwrap_err().class, FailureClass::Cancelled);
    let dataset = DatasetName::new(DATASET).unwrap();
    let store = name("store");
    assert_eq!(bench.worker.sweep(&store, &dataset).await, Ok(0));
    assert_eq!(bench.worker.give_up_uploads(&store, &dataset).await, Ok(1));
    assert_eq!(bench.worker.give_up_uploads(&store, &dataset).await, Ok(0));
}

#[tokio::test]
async fn a_real_store_proves_its_checksums() {
    let Some(bench) = Bench::of(StoreKind::S3) else {
        return;
    };
    let report = bench.worker.probe(&name("store"), true, false).await.unwrap();
    assert!(
        report.proves_checksums,
        "SeaweedFS refuses a wrong checksum and tells the right one"
    );
    assert!(bench.worker.is_empty_or_gone(&name("store")).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn however_much_proof_is_wanted_each_object_is_made_sure_of_once() {
    let Some(bench) = Bench::of(StoreKind::S3) else {
        return;
    };
    let sizes = [0, 5_000, 20 * 1024 * 1024 + 7];
    let mut total = 0;
    for verify in domicile_estate::Verify::ALL {
        for size in sizes {
            let key = format!("{}-{size}", verify.as_str());
            let content = bytes(size, size as u64);
            bench.seed(&key, &content);
            let mut spec = bench.spec(&key, &content, "store");
            (spec.sha256, spec.verify) = (None, verify);
            let receipt = bench.transfer(&spec).await.unwrap();
            assert_eq!(receipt.blake3, blake3::hash(&content).to_hex().as_str(), "{key}");
            total += size as u64;
            assert_eq!(bench.progress.bytes_verified(), total, "{key}");
        }
    }
}

/// A store that shows nothing of an object before the old one is gone, and proves nothing of it afterwards.
#[tokio::test]
async fn what_a_killed_replacement_put_under_a_second_name_is_a_source() {
    let bench = Bench::of(StoreKind::Memory).unwrap();
    let (old, new) = (bytes(9_000, 1), bytes(9_000, 2));
    bench.put("a", &old).await;
    bench.seed("b", &new);
    let mut second = bench.spec("b", &new, "store");
    let digest = blake3::hash(format!("{DATASET}/a").as_bytes()).to_hex();
    second.target.path = format!("{DATASET}/.domicile-{}.spare", &digest.as_str()[..16]);
    bench.transfer(&second).await.unwrap();
    assert_eq!(bench.list("").await.len(), 1, "it is listed as no object");

    let mut spec = bench.spec("gone", &new, "store");
    spec.target.path = format!("{DATASET}/a");
    let refused = bench.transfer(&spec).await.unwrap_err();
    assert_eq!(
        refused.class,
        FailureClass::TargetConflict,
        "what is not ours stays"
    );
    spec.target_recorded = TargetRecorded::Ours;
    bench.transfer(&spec).await.unwrap();
    assert_eq!(bench.get("a").await.unwrap().sha256, Some(sha256(&new)));
    let place = &second.target;
    let left = bench
        .worker
        .read(place, Digests::Blake3, &bench.progress, &bench.cancel)
        .await;
    assert_eq!(left.unwrap_err().class, FailureClass::SourceGone, "it has served");
}
