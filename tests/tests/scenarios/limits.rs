//! Limits of backends: what they allow is not exceeded, and everything gets there.

use std::time::{Duration, Instant};

use domicile_tests::{Estate, manifest};

use crate::{assert_copy, seed};

/// How long an apply takes at least that copies a dataset of 78.5 KiB to a backend with these limits.
fn takes(limits: &str) -> Duration {
    let estate = Estate::new();
    seed(&estate, "d");
    let more = [manifest::price("0.01"), limits.to_owned()];
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let limited = manifest::folder("slow", "home", "DE", &more);
    let dataset = manifest::dataset("d", "home", "origin", &[]);
    estate.manifests(&(manifest::home(&[]) + &limited + &dataset + &manifest::copies(2)));
    let began = Instant::now();
    estate.apply().exits(0);
    let took = began.elapsed();
    assert_copy(&estate, "d", "slow");
    took
}

#[test]
fn a_limit_holds_at_least_as_long_as_its_bytes_or_requests_take() {
    // Written and read back: 157 KiB, of which the last object, 68 KiB at most, need not be waited for.
    let bytes = takes("limits: {bytesPerSecond: 40Ki}");
    assert!(bytes >= Duration::from_secs(2), "{bytes:?}");
    // Five objects are put, and opened to be read back.
    let requests = takes("limits: {requestsPerSecond: 5}");
    assert!(requests >= Duration::from_millis(1800), "{requests:?}");
    // At every hour of the week something else holds than what is usual.
    let hours = takes(
        "limits: {bytesPerSecond: 1, timetable: [{from: \"00:00\", to: \"24:00\", bytesPerSecond: 40Ki}]}",
    );
    assert!(hours >= Duration::from_secs(2), "{hours:?}");
}
