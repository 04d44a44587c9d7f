//! Copies that a store makes by itself: that they are made, are right, and are left where they cannot be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod bench;

use bench::{Bench, DATASET, S3Server, backend, bytes, name};
use domicile_estate::{StoreKind, Verify};
use domicile_movers::{Digests, FailureClass, Place, TargetRecorded, TransferSpec};

/// Two places of one service, and one of the same service by another name.
fn bench() -> Option<Bench> {
    let server = S3Server::given()?;
    let home = tempfile::tempdir().unwrap();
    let unique = home.path().file_name().unwrap().to_str().unwrap().to_owned();
    let place = |which: &str| {
        backend(
            which,
            StoreKind::S3,
            &server.options(&format!("{unique} {which}+1")),
        )
    };
    let mut elsewhere = place("elsewhere");
    let other_name = server.endpoint.replace("127.0.0.1", "localhost");
    elsewhere.store.options.insert("endpoint".to_owned(), other_name);
    let places = [place("one"), place("two"), elsewhere];
    Some(Bench::with(home, &places, server.variables()))
}

/// Two places of a store that tells no checksum of what it copies.
fn plain_bench() -> Bench {
    let home = tempfile::tempdir().unwrap();
    let endpoint = bench::s3s::serve(&home.path().join("s3s"));
    let place = |which: &str| {
        let texts = [
            ("endpoint", endpoint.as_str()),
            ("bucket", "bench"),
            ("root", which),
        ];
        let options = texts.map(|(name, text)| (name, text.to_owned()));
        backend(which, StoreKind::S3, &options)
    };
    let places = [place("one"), place("two")];
    Bench::with(home, &places, bench::s3s::variables())
}

/// From the place `one` to another, with a BLAKE3 that is known.
fn between(bench: &Bench, key: &str, content: &[u8], target: &str) -> TransferSpec {
    let mut spec = bench.spec(key, content, target);
    (spec.sha256, spec.blake3) = (None, Some(blake3::hash(content).to_hex().to_string()));
    spec.source = Place {
        backend: name("one"),
        path: spec.target.path.clone(),
    };
    spec
}

async fn fill(bench: &Bench, key: &str, content: &[u8]) {
    bench.seed(key, content);
    let mut spec = bench.spec(key, content, "one");
    spec.sha256 = None;
    bench.transfer(&spec).await.unwrap();
}

async fn reads(bench: &Bench, backend: &str, key: &str) -> String {
    let place = Place {
        backend: name(backend),
        path: format!("{DATASET}/{key}"),
    };
    let seen = bench
        .worker
        .read(&place, Digests::Blake3, &bench.progress, &bench.cancel);
    seen.await.unwrap().blake3
}

const SIZE: usize = 20 * 1024 * 1024 + 7;

#[tokio::test(flavor = "multi_thread")]
async fn where_the_checksum_is_known_nothing_passes_through_us() {
    let Some(bench) = bench() else { return };
    let content = bytes(SIZE, 1);
    let key = "odd +%20é&?";
    fill(&bench, key, &content).await;
    let before = (bench.progress.bytes_read(), bench.progress.bytes_written());
    let spec = between(&bench, key, &content, "two");
    let receipt = bench.transfer(&spec).await.unwrap();
    let size = SIZE as u64;
    assert_eq!((receipt.adopted, receipt.bytes_written), (false, size));
    assert_eq!(bench.progress.bytes_read(), before.0, "not a byte of it was read");
    assert_eq!(bench.progress.bytes_fetched(), size);
    assert_eq!(bench.progress.bytes_written() - before.1, size);
    assert_eq!(Some(reads(&bench, "two", key).await), spec.blake3);

    // Where all of it is to be read back, that alone is read.
    let mut full = between(&bench, key, &content, "two");
    full.target.path.push_str("-full");
    full.verify = Verify::Full;
    let verified = bench.progress.bytes_verified();
    bench.transfer(&full).await.unwrap();
    assert_eq!(bench.progress.bytes_fetched(), 2 * size);
    assert_eq!(bench.progress.bytes_verified() - verified, size);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_checksum_reads_and_sends_nothing() {
    let Some(bench) = bench() else { return };
    let content = bytes(SIZE, 2);
    fill(&bench, "a", &content).await;
    let again = bench.again();
    let spec = between(&again, "a", &content, "two");
    again.transfer(&spec).await.unwrap();
    let size = SIZE as u64;
    assert_eq!(
        (again.progress.bytes_read(), again.progress.bytes_fetched()),
        (size, size)
    );
    assert_eq!(Some(reads(&again, "two", "a").await), spec.blake3);

    // A first reading, too.
    let again = bench.again();
    let mut spec = between(&again, "a", &content, "two");
    let digest = spec.blake3.take();
    spec.target.path.push_str("-first");
    assert_eq!(Some(again.transfer(&spec).await.unwrap().blake3), digest);
    assert_eq!(again.progress.bytes_fetched(), size);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_is_sent_the_bytes() {
    let Some(bench) = bench() else { return };
    let content = bytes(SIZE, 3);
    fill(&bench, "a", &content).await;
    let spec = between(&bench, "a", &content, "elsewhere");
    bench.transfer(&spec).await.unwrap();
    assert_eq!(bench.progress.bytes_fetched(), 0);
    assert_eq!(Some(reads(&bench, "elsewhere", "a").await), spec.blake3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_holds_something_else_is_found_out() {
    let Some(bench) = bench() else { return };
    let (good, bad) = (bytes(SIZE, 4), bytes(SIZE, 5));
    fill(&bench, "good", &good).await;
    fill(&bench, "a", &bad).await;
    let spec = between(&bench, "a", &good, "two");
    let failure = bench.transfer(&spec).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::SourceDamaged, "{failure}");
    assert_eq!(failure.backend, name("one"));
    let listing = bench.worker.list(&name("two"), "", &[]).await.unwrap();
    assert_eq!(listing.all().await.unwrap(), [], "nothing is ever seen of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_there_is_left_or_replaced_as_ever() {
    let Some(bench) = bench() else { return };
    let (new, old) = (bytes(SIZE, 6), bytes(SIZE, 7));
    fill(&bench, "a", &new).await;
    bench.seed("a", &old);
    bench.transfer(&bench.spec("a", &old, "two")).await.unwrap();
    let mut spec = between(&bench, "a", &new, "two");
    let failure = bench.transfer(&spec).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::TargetConflict, "{failure}");
    assert_eq!(
        reads(&bench, "two", "a").await,
        blake3::hash(&old).to_hex().as_str()
    );
    spec.target_recorded = TargetRecorded::Ours;
    bench.transfer(&spec).await.unwrap();
    assert_eq!(Some(reads(&bench, "two", "a").await), spec.blake3);
    assert_eq!(bench.progress.bytes_fetched(), SIZE as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_tells_no_checksum_of_what_it_copied_is_not_taken_at_its_word() {
    let bench = plain_bench();
    let content = bytes(SIZE, 8);
    fill(&bench, "a +%20", &content).await;
    let (read, verified) = (bench.progress.bytes_read(), bench.progress.bytes_verified());
    let spec = between(&bench, "a +%20", &content, "two");
    bench.transfer(&spec).await.unwrap();
    let size = SIZE as u64;
    // It is read here, its parts are copied there and compared by their MD5, and then it is read back.
    assert_eq!(bench.progress.bytes_read() - read, size);
    assert_eq!(bench.progress.bytes_verified() - verified, size);
    assert!(bench.progress.bytes_fetched() >= size);
    assert_eq!(Some(reads(&bench, "two", "a +%20").await), spec.blake3);
    let uploads = bench.path("s3s/.multipart");
    assert!(!uploads.exists() || std::fs::read_dir(uploads).unwrap().next().is_none());
}
