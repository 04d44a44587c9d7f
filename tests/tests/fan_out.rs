//! Read once, write many: copies that are made at the same time share the reading of their source.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use domicile_tests::{Estate, Fault, Kind, Proxy, Server, bytes, files, manifest, rclone};

/// More than two parts of the smallest size.
const LARGE: usize = (20 << 20) + 12_345;
const SMALL: usize = 40;
/// Requests that read everything once: each small object, and three parts of the large one.
const ONCE: usize = SMALL + 3;

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A server with two buckets, or the word that the test is left out.
fn server(test: &str) -> Option<Server> {
    let server = Server::for_test(test, "alpha")?;
    server.bucket("first");
    server.bucket("second");
    Some(server)
}

fn s3(name: &str, bucket: &str, endpoint: &str, lines: &[&str]) -> String {
    let store =
        format!("{{type: S3, bucket: {bucket}, endpoint: \"{endpoint}\", region: us-east-1, root: data}}");
    let mut all = vec!["credentials: {env: ALPHA}"];
    all.extend(lines);
    manifest::backend(name, "home", "DE", &store, &all)
}

/// An estate with an origin in a bucket.
fn estate(server: &Server) -> (Estate, BTreeMap<String, Vec<u8>>) {
    let estate = server.estate();
    for at in 0..SMALL {
        estate.write(&format!("truth/small/{at}"), bytes(at as u64, 5_000 + at));
    }
    estate.write("truth/large", bytes(99, LARGE));
    let (truth, origin) = (estate.path("truth"), server.remote("first/data/d"));
    assert_eq!(rclone(&["copy", text(&truth), &origin]), Some(true));
    let truth = files(&truth);
    (estate, truth)
}

fn gets(proxy: &Proxy) -> usize {
    let log = proxy.log();
    log.iter()
        .filter(|seen| seen.asked.kind == Kind::Get && seen.asked.is_about("/d/"))
        .count()
}

#[test]
fn two_copies_read_their_source_once() {
    let Some(server) = server("two_copies_read_their_source_once") else {
        return;
    };
    let (estate, truth) = estate(&server);
    let proxy = Proxy::harming(&server.endpoint, |_| Fault::None);
    estate.manifests(
        &(manifest::home(&["left", "right"])
            + &s3("alpha", "first", &proxy.endpoint, &["accessMode: ReadOnly"])
            + &manifest::dataset("d", "home", "alpha", &[])
            + &manifest::policy("three", &["require: [{name: enough, copies: 3}]"])),
    );
    estate.apply().exits(0);
    for target in ["left", "right"] {
        assert!(
            files(&estate.path(&format!("stores/{target}/d"))) == truth,
            "{target}"
        );
    }
    // A copy that comes a little late reads a little by itself.
    let gets = gets(&proxy);
    assert!(
        (ONCE..ONCE + ONCE / 2).contains(&gets),
        "{gets} requests, where {ONCE} read everything once"
    );
}

#[test]
fn a_slow_copy_does_not_hold_up_the_others() {
    let Some(server) = server("a_slow_copy_does_not_hold_up_the_others") else {
        return;
    };
    let (estate, truth) = estate(&server);
    let slow = Proxy::before(&server.endpoint, 1 << 20);
    estate.manifests(
        &(manifest::home(&["left"])
            + &s3("alpha", "first", &server.endpoint, &["accessMode: ReadOnly"])
            + &s3("beta", "second", &slow.endpoint, &[])
            + &manifest::dataset("d", "home", "alpha", &[])
            + &manifest::policy("three", &["require: [{name: enough, copies: 3}]"])),
    );
    std::thread::scope(|scope| {
        let run = scope.spawn(|| estate.apply());
        let until = Instant::now() + Duration::from_secs(120);
        // A folder that is being written has temporary files, which come and go.
        let is_there = |(key, bytes): (&String, &Vec<u8>)| {
            std::fs::read(estate.path(&format!("stores/left/d/{key}"))).is_ok_and(|found| found == *bytes)
        };
        while !truth.iter().all(is_there) {
            assert!(Instant::now() < until, "the fast copy waits for the slow one");
            std::thread::sleep(Duration::from_millis(100));
        }
        let sent = slow.sent();
        assert!(sent < LARGE as u64, "the slow copy had sent {sent} bytes by then");
        run.join().expect("a run").exits(0);
    });
    let seen = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(
        rclone(&["copy", &server.remote("second/data/d"), text(seen.path())]),
        Some(true)
    );
    assert!(files(seen.path()) == truth);
}
