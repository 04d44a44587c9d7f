//! Limits of backends and links: what they allow is not exceeded, everything gets there, and owners have their shares.

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

/// How long an apply takes at least that copies six objects of 20,000 bytes from `origin` to `one` and `two` over a link.
fn crosses(link: &str) -> (Estate, Duration) {
    let estate = Estate::new();
    for at in 0..6 {
        estate.write(
            &format!("stores/origin/d/{at}"),
            domicile_tests::bytes(at, 20_000),
        );
    }
    let link = format!(
        "apiVersion: domicile.dev/v1alpha1\nkind: Link\nmetadata: {{name: thin}}\nspec: {link}\n---\n"
    );
    let dataset = manifest::dataset("d", "home", "origin", &[]);
    estate.manifests(&(manifest::home(&["one", "two"]) + &link + &dataset + &manifest::copies(3)));
    let began = Instant::now();
    estate.apply().exits(0);
    let took = began.elapsed();
    assert_copy(&estate, "d", "one");
    assert_copy(&estate, "d", "two");
    (estate, took)
}

#[test]
fn what_crosses_a_link_goes_no_faster_than_it_allows() {
    // Read once for both copies, and counted for each: 220,000 bytes, and the last object need not be waited for.
    let (estate, took) =
        crosses("{from: {domain: home}, to: {domain: home}, limits: {bytesPerSecond: 100k}}");
    assert!(took >= Duration::from_millis(2100), "{took:?}");
    estate.run(&["get", "links"]).exits(0).says("97.7 KiB/s");
    // What is left to do is told with what holds it.
    estate.write("stores/two/e/a.bin", "in the way");
    seed(&estate, "e");
    let text = std::fs::read_to_string(estate.path("manifests/estate.yaml")).expect("manifests");
    estate.manifests(&(text + &manifest::dataset("e", "home", "origin", &[])));
    estate.apply().exits(5);
    let list = estate
        .run(&["moves", "ls", "--backend", "two", "-o", "json"])
        .exits(0)
        .json();
    let one = &list["items"][0];
    assert_eq!(one["heldTo"]["by"], "link `thin`", "{one}");
    assert_eq!(one["heldTo"]["bytesPerSecond"], 100_000, "{one}");
    estate
        .run(&["moves", "ls"])
        .exits(0)
        .says("97.7 KiB/s by link `thin`");
    // Twelve objects, of which the first one need not wait.
    let (_, took) = crosses("{from: {backend: origin}, to: {domain: home}, limits: {requestsPerSecond: 5}}");
    assert!(took >= Duration::from_millis(2100), "{took:?}");
}

/// How much of `heavy`'s dataset was there when that of `light` was, of two alike that go to one slow backend.
fn there_when_the_other_is_done(weight: u32) -> f64 {
    let estate = Estate::new();
    for (at, dataset) in (0..1_200).flat_map(|at| ["a", "z"].map(|dataset| (at, dataset))) {
        let bytes = domicile_tests::bytes(at, 10_000);
        estate.write(&format!("stores/origin/{dataset}/{at}"), bytes);
    }
    let light = format!(
        "apiVersion: domicile.dev/v1alpha1\nkind: Domain\nmetadata: {{name: light}}\nspec: {{title: Light, jurisdiction: DE, weight: {weight}}}\n---\n"
    );
    let slow = manifest::folder("slow", "home", "DE", &["limits: {bytesPerSecond: 12M}"]);
    let datasets =
        manifest::dataset("a", "home", "origin", &[]) + &manifest::dataset("z", "light", "origin", &[]);
    estate.manifests(&(manifest::home(&[]) + &light + &slow + &datasets + &manifest::copies(2)));
    let outcome = estate
        .run(&["apply", "-f", "manifests", "--yes", "--progress", "jsonl"])
        .exits(0);
    let mut there = 0.0;
    let mut done = 0;
    for line in outcome.stderr.lines() {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        if event["event"] == "moving" && event["dataset"] == "a" {
            there = event["bytes"].as_f64().expect("bytes") / event["totalBytes"].as_f64().expect("bytes");
        }
        if event["event"] == "move" && event["state"] == "done" {
            done += 1;
            if done == 1 {
                return there;
            }
        }
    }
    panic!("nothing was done:\n{}", outcome.stderr)
}

#[test]
fn an_owner_of_weight_three_has_three_times_as_much_under_way() {
    // A third of the other's, were both asked for from the first object to the last; as much as the other's with equal weights.
    let there = there_when_the_other_is_done(3);
    assert!(there > 0.1 && there < 0.85, "{there}");
}
