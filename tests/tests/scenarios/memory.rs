//! No object is held whole, and no list of objects is.

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
