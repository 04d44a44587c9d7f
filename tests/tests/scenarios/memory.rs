//! No object is held whole, and no list of objects is; and a process can be given less.

use domicile_tests::{bytes, files};

use crate::simple;

/// What a run may hold at most.
const BOUND: u64 = 200 << 20;

#[test]
fn an_object_larger_than_the_bound_is_copied_within_it() {
    let estate = simple(&["b1"], 2);
    estate.write("stores/origin/d/large.bin", bytes(1, 256 << 20));
    let peak = estate.peak_memory(&["apply", "-f", "manifests", "--yes"]);
    assert!(peak < BOUND, "{} MiB", peak >> 20);
    assert!(
        files(&estate.path("stores/b1/d")) == files(&estate.path("stores/origin/d")),
        "byte for byte"
    );
}

#[test]
fn many_small_objects_are_copied_within_the_bound() {
    let estate = simple(&["b1"], 2);
    for at in 0..3000 {
        estate.write(&format!("stores/origin/d/{}/{at}", at % 30), bytes(at, 4096));
    }
    let peak = estate.peak_memory(&["apply", "-f", "manifests", "--yes"]);
    assert!(peak < BOUND, "{} MiB", peak >> 20);
    assert!(
        files(&estate.path("stores/b1/d")) == files(&estate.path("stores/origin/d")),
        "byte for byte"
    );
}

#[test]
fn a_process_with_less_memory_holds_less() {
    let estate = simple(&["b1"], 2);
    estate.write("stores/origin/d/large.bin", bytes(1, 96 << 20));
    // With a limit the bytes pass through the process, in parts.
    let link = "apiVersion: domicile.dev/v1alpha1\nkind: Link\nmetadata: {name: fast}\nspec: {from: {backend: origin}, \
                to: {backend: b1}, limits: {bytesPerSecond: 100Gi}}\n---\n";
    let text = std::fs::read_to_string(estate.path("manifests/estate.yaml")).expect("manifests");
    estate.manifests(&(text + link));
    let refused = estate.run(&["apply", "-f", "manifests", "--yes", "--memory", "1Mi"]);
    refused.exits(64).says("16.0 MiB at least");
    let peak = estate.peak_memory(&["apply", "-f", "manifests", "--yes", "--memory", "16Mi"]);
    assert!(peak < BOUND / 2, "{} MiB", peak >> 20);
    assert!(
        files(&estate.path("stores/b1/d")) == files(&estate.path("stores/origin/d")),
        "byte for byte"
    );
}
