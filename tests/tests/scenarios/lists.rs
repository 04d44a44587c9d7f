//! Lists of digests beside copies: a copy that is all that is left is proven by its own list.

use std::collections::BTreeMap;

use domicile_tests::{Estate, bytes, digest_lists, files, manifest, temporary_files};
use serde_json::Value;

use super::{OBJECTS, simple};

const REBUILD: [&str; 5] = ["catalogue", "rebuild", "-f", "manifests", "-ojson"];

fn lose(estate: &Estate, folder: &str) {
    std::fs::remove_dir_all(estate.path(folder)).expect("a folder to lose");
}

/// Changes one bit of a file and not its size.
fn turn(estate: &Estate, file: &str) {
    let path = estate.path(file);
    let mut bytes = std::fs::read(&path).expect("a file to damage");
    bytes[7] ^= 1;
    std::fs::write(&path, bytes).expect("a file to damage");
}

fn lists(estate: &Estate, backend: &str) -> BTreeMap<String, Vec<u8>> {
    digest_lists(&estate.path(&format!("stores/{backend}")))
}

/// An estate of which nothing is left but what lies on its backends; what a rebuild then says, and how it ends.
fn rebuilt(estate: &Estate, code: i32) -> (Value, String) {
    lose(estate, ".domicile");
    lose(estate, "stores/origin");
    let outcome = estate.run(&REBUILD).exits(code);
    (outcome.json()["items"][0].clone(), outcome.all())
}

fn restored(estate: &Estate) -> BTreeMap<String, Vec<u8>> {
    estate.run(&["dataset", "restore", "d", "--to", "out"]).exits(0);
    files(&estate.path("out"))
}

#[test]
fn the_last_copy_is_proven_by_its_list_and_restored() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    let source = files(&estate.path("stores/origin/d"));
    let written = lists(&estate, "b1");
    assert_eq!(written.len(), 1, "one for the whole copy: {:?}", written.keys());
    assert_eq!(temporary_files(&estate.path("stores")), Vec::<String>::new());
    assert_eq!(lists(&estate, "origin").len(), 0, "an origin is its owner's");
    let (row, said) = rebuilt(&estate, 0);
    assert_eq!(row["byList"], OBJECTS.len());
    assert_eq!(row["byAgreement"], 0);
    assert!(
        said.contains("5 objects were verified by its list of digests"),
        "{said}"
    );
    assert!(restored(&estate) == source, "byte for byte");
    // The list is known again, and goes with the copy.
    assert_eq!(lists(&estate, "b1"), written);
}

#[test]
fn what_has_turned_or_is_lost_in_the_last_copy_is_told_and_not_restored() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    let mut source = files(&estate.path("stores/origin/d"));
    turn(&estate, "stores/b1/d/deep/er/c.bin");
    std::fs::remove_file(estate.path("stores/b1/d/b.bin")).expect("a file to lose");
    let (row, said) = rebuilt(&estate, 3);
    assert_eq!([&row["differing"], &row["missing"], &row["byList"]], [1, 1, 3]);
    assert!(
        said.contains("`deep/er/c.bin`: its bytes are not those that its list of digests names"),
        "{said}"
    );
    assert!(
        said.contains("`b.bin`: a list of digests names it, and no backend that was listed has it"),
        "{said}"
    );
    source.remove("b.bin");
    source.remove("deep/er/c.bin");
    assert!(restored(&estate) == source, "what is proven, and nothing else");
}

#[test]
fn a_list_that_has_turned_counts_for_nothing_and_is_written_anew() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    let source = files(&estate.path("stores/origin/d"));
    let written = lists(&estate, "b1");
    let (name, _) = written.first_key_value().expect("a list");
    turn(&estate, &format!("stores/b1/{name}"));
    let (row, said) = rebuilt(&estate, 0);
    assert_eq!([&row["byList"], &row["byAgreement"]], [0, OBJECTS.len()]);
    assert!(said.contains("is damaged and counts for nothing"), "{said}");
    assert!(said.contains("nothing was there to compare it with"), "{said}");
    assert!(restored(&estate) == source, "byte for byte");
    // One copy and a policy that wants two: unsatisfied, and the list is whole again.
    estate.apply().exits(3);
    assert_eq!(lists(&estate, "b1"), written);
}

#[test]
fn a_list_that_rots_is_mended_by_the_next_apply_after_a_scrub() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    let written = lists(&estate, "b1");
    let (name, _) = written.first_key_value().expect("a list");
    let name = format!("stores/b1/{name}");
    turn(&estate, &name);
    estate.apply().exits(0).says("nothing to do");
    assert_ne!(lists(&estate, "b1"), written, "nobody has looked");
    estate.run(&["dataset", "scrub", "d"]).exits(0);
    estate.apply().exits(0).says("nothing to do");
    assert_eq!(lists(&estate, "b1"), written);
    std::fs::remove_file(estate.path(&name)).expect("a list to lose");
    estate.run(&["dataset", "scrub"]).exits(0);
    estate.apply().exits(0);
    assert_eq!(lists(&estate, "b1"), written);
}

#[test]
fn where_two_copies_differ_the_list_decides() {
    let estate = simple(&["b1", "b2"], 3);
    estate.apply().exits(0);
    let source = files(&estate.path("stores/origin/d"));
    turn(&estate, "stores/b1/d/a.bin");
    let (row, said) = rebuilt(&estate, 3);
    assert_eq!([&row["byList"], &row["differing"]], [OBJECTS.len(), 1]);
    assert!(
        said.contains("1 of 2 copies have the bytes that the list of digests names"),
        "{said}"
    );
    assert!(restored(&estate) == source, "byte for byte");
}

#[test]
fn a_new_version_has_a_new_list_and_the_old_one_goes() {
    let estate = simple(&["b1", "b2"], 3);
    estate.apply().exits(0);
    let before = lists(&estate, "b1");
    assert_eq!(
        before,
        lists(&estate, "b2"),
        "a list says what the dataset is, wherever it lies"
    );
    estate.write("stores/origin/d/a.bin", bytes(77, 10_000));
    estate.write("stores/origin/d/new.bin", bytes(78, 100));
    estate
        .run(&["dataset", "import", "--scan", "origin/d", "-f", "manifests"])
        .exits(0);
    estate.apply().exits(0);
    let after = lists(&estate, "b1");
    assert_eq!(after, lists(&estate, "b2"));
    assert_eq!(after.len(), 1);
    assert_ne!(after.keys().next(), before.keys().next());
    let source = files(&estate.path("stores/origin/d"));
    lose(&estate, "stores/b2");
    let (row, _) = rebuilt(&estate, 0);
    assert_eq!(row["byList"], OBJECTS.len() + 1);
    assert!(restored(&estate) == source, "byte for byte");
}

#[test]
fn lists_go_with_their_copies_and_not_into_what_becomes_an_origin() {
    let estate = simple(&["b1", "b2"], 3);
    estate.apply().exits(0);
    estate.manifests(
        &(manifest::home(&["b1", "b2"])
            + &manifest::dataset("d", "home", "origin", &[])
            + &manifest::copies(2)),
    );
    estate.apply().exits(0).says("1 retired");
    let (gone, stays) = if estate.path("stores/b1/d").exists() {
        ("b2", "b1")
    } else {
        ("b1", "b2")
    };
    assert_eq!(lists(&estate, stays).len(), 1);
    assert!(!estate.path(&format!("stores/{gone}/.domicile-digests")).exists());
    lose(&estate, "stores/origin");
    estate.run(&["dataset", "set-origin", "d", stays]).exits(0);
    assert!(!estate.path(&format!("stores/{stays}/.domicile-digests")).exists());
}

#[test]
fn a_list_that_cannot_be_written_is_told_and_written_later() {
    let estate = simple(&["b1"], 2);
    estate.write("stores/b1/.domicile-digests", "somebody's file is in the way");
    estate
        .apply()
        .exits(0)
        .says("1 copy verified")
        .says("the list of digests of dataset `d` could not be written");
    std::fs::remove_file(estate.path("stores/b1/.domicile-digests")).expect("a file to delete");
    estate.apply().exits(0).never_says("could not be written");
    assert_eq!(lists(&estate, "b1").len(), 1);
}

#[test]
fn an_origin_whose_bytes_turned_since_is_told_apart_from_its_copies_by_their_list() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    turn(&estate, "stores/origin/d/a.bin");
    lose(&estate, ".domicile");
    let written = lists(&estate, "b1");
    let outcome = estate.run(&REBUILD).exits(3);
    outcome
        .says("a.bin")
        .says("They are those of its list of digests");
    // Whatever an apply makes of that, the only evidence stays.
    let _ = estate.apply();
    assert_eq!(lists(&estate, "b1"), written);
}

#[test]
fn a_copy_that_is_renewed_in_part_keeps_the_list_of_what_it_still_has() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    let mut left = files(&estate.path("stores/b1/d"));
    let old = lists(&estate, "b1");
    let new = bytes(77, 10_000);
    estate.write("stores/origin/d/a.bin", &new);
    estate.write("stores/origin/d/b.bin", bytes(78, 100));
    estate
        .run(&["dataset", "import", "--scan", "origin/d", "-f", "manifests"])
        .exits(0);
    // Of two new versions one is gone before the copy has it.
    std::fs::remove_file(estate.path("stores/origin/d/b.bin")).expect("a file to lose");
    let _ = estate.apply();
    let _ = estate.apply();
    left.insert("a.bin".to_owned(), new);
    assert!(
        files(&estate.path("stores/b1/d")) == left,
        "one of two is renewed"
    );
    let lying = lists(&estate, "b1");
    assert!(old.iter().all(|(name, bytes)| lying.get(name) == Some(bytes)));
    let (row, said) = rebuilt(&estate, 0);
    assert_eq!(row["byList"], OBJECTS.len(), "{said}");
    assert!(restored(&estate) == left, "byte for byte");
}

/// The tool of BLAKE3's authors reads the lists.
#[test]
fn b3sum_checks_a_copy_by_its_list() {
    let found = std::process::Command::new("b3sum").arg("--version").output();
    if found.is_err() {
        domicile_tests::skip("b3sum_checks_a_copy_by_its_list", "b3sum is not installed");
        return;
    }
    let estate = simple(&["b1"], 2);
    estate.write("stores/origin/d/back\\slash and\nline", "odd");
    estate.apply().exits(0);
    let check = || {
        let lists = lists(&estate, "b1");
        let (name, _) = lists.first_key_value().expect("a list");
        let list = estate.path(&format!("stores/b1/{name}"));
        let mut b3sum = std::process::Command::new("b3sum");
        b3sum
            .arg("--check")
            .arg(list)
            .current_dir(estate.path("stores/b1/d"));
        b3sum.output().expect("b3sum runs")
    };
    let checked = check();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{said}");
    assert_eq!(said.matches(": OK").count(), OBJECTS.len() + 1, "{said}");
    turn(&estate, "stores/b1/d/a.bin");
    assert!(!check().status.success());
}
