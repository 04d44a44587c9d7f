//! What object stores answer when something is wrong, and that no credential is ever shown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod bench;

use std::collections::BTreeMap;

use bench::{Bench, S3Server, backend, name};
use domicile_estate::{Backend, CredentialsRef, StoreKind};
use domicile_movers::{Failure, FailureClass};

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
