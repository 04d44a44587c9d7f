//! Whole stories with the built binary: each starts with an empty folder and ends with what a user would look at.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod contract;
mod damage;
mod exit_codes;
mod explain;
mod faults;
mod init;
mod inventory;
mod life;
mod limits;
mod links;
mod lists;
mod memory;
mod mistakes;
mod names;
mod oracle;
mod orders;
mod problems;
mod progress;
mod quickstart;
mod rebuild;
mod recovery;
mod relied;
mod retirement;
mod routes;
mod safety;
mod scan;
mod tariffs;
mod web;

use domicile_tests::{Estate, bytes, manifest};

/// Objects of the datasets in these stories: name and length.
const OBJECTS: [(&str, usize); 5] = [
    ("a.bin", 10_000),
    ("b.bin", 1),
    ("empty", 0),
    ("deep/er/c.bin", 70_000),
    ("with space.txt", 333),
];

/// Puts the objects of a dataset where its owner keeps them.
fn seed(estate: &Estate, dataset: &str) {
    for (at, (name, length)) in OBJECTS.iter().enumerate() {
        estate.write(
            &format!("stores/origin/{dataset}/{name}"),
            bytes(at as u64 + 1, *length),
        );
    }
}

/// An estate with one dataset `d` on `origin`, the given further backends, and a policy for so many copies.
fn simple(backends: &[&str], copies: usize) -> Estate {
    let estate = Estate::new();
    seed(&estate, "d");
    estate.manifests(
        &(manifest::home(backends)
            + &manifest::dataset("d", "home", "origin", &[])
            + &manifest::copies(copies)),
    );
    estate
}

/// Demands that a backend holds a copy of a dataset, byte for byte, and nothing else below its name.
#[track_caller]
fn assert_copy(estate: &Estate, dataset: &str, backend: &str) {
    let source = domicile_tests::files(&estate.path(&format!("stores/origin/{dataset}")));
    let copy = domicile_tests::files(&estate.path(&format!("stores/{backend}/{dataset}")));
    let names =
        |files: &std::collections::BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&copy),
        names(&source),
        "the objects of {dataset} on {backend}"
    );
    assert!(copy == source, "the bytes of {dataset} on {backend} differ");
}

/// The names of the backends that a plan gives a dataset.
#[track_caller]
fn placed(plan: &serde_json::Value, dataset: &str) -> Vec<String> {
    let found = entry(plan, dataset);
    let backends = found["backends"].as_array().expect("a list of backends");
    backends
        .iter()
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect()
}

/// What a plan says of a dataset.
#[track_caller]
fn entry<'a>(plan: &'a serde_json::Value, dataset: &str) -> &'a serde_json::Value {
    let datasets = plan["datasets"].as_array().expect("a list of datasets");
    datasets
        .iter()
        .find(|entry| entry["name"] == dataset)
        .unwrap_or_else(|| panic!("{dataset} is not in {plan}"))
}
