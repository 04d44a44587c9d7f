//! The catalogue is lost: what it knew is found out again from the manifests and by reading what lies on the backends.

use domicile_tests::{Estate, bytes, files, manifest};

use super::inventory::import;
use super::{OBJECTS, seed, simple};

const REBUILD: [&str; 5] = ["catalogue", "rebuild", "-f", "manifests", "-ojson"];

fn lose(estate: &Estate, folder: &str) {
    std::fs::remove_dir_all(estate.path(folder)).expect("a folder to lose");
}

fn whereis(estate: &Estate, dataset: &str) -> serde_json::Value {
    estate.run(&["whereis", dataset, "-o", "json"]).exits(0).json()
}

#[test]
fn with_the_origins_there_everything_is_known_again() {
    let estate = simple(&["b1", "b2"], 3);
    estate.apply().exits(0);
    let (before, stores) = (whereis(&estate, "d"), files(&estate.path("stores")));
    lose(&estate, ".domicile");
    let told = estate.run(&REBUILD).exits(0).json();
    let row = &told["items"][0];
    assert_eq!(row["origin"], "read");
    assert_eq!(row["verified"], serde_json::json!(["b1", "b2", "origin"]));
    assert_eq!(whereis(&estate, "d"), before);
    assert!(
        files(&estate.path("stores")) == stores,
        "nothing was written or deleted"
    );
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(0);
    // Once more: nothing is left to find out.
    estate.run(&REBUILD).exits(0);
    assert_eq!(whereis(&estate, "d"), before);
}

#[test]
fn with_an_origin_lost_as_well_its_copies_are_taken_for_right_and_restored() {
    let estate = simple(&["b1", "b2"], 3);
    estate.apply().exits(0);
    let source = files(&estate.path("stores/origin/d"));
    lose(&estate, ".domicile");
    lose(&estate, "stores/origin");
    let outcome = estate
        .run(&REBUILD)
        .exits(0)
        .says("5 objects were verified by its list of digests")
        .says("set-origin d b1");
    let row = &outcome.json()["items"][0];
    assert_eq!(row["origin"], "lost");
    assert_eq!(row["byList"], OBJECTS.len());
    estate.run(&["dataset", "restore", "d", "--to", "out"]).exits(0);
    assert!(files(&estate.path("out")) == source, "byte for byte");
    estate.run(&["dataset", "set-origin", "d", "b1"]).exits(0);
    let outcome = estate.apply();
    // There were three copies, and one backend is left for the third: none.
    outcome.exits(3).says("unsatisfied");
    assert!(files(&estate.path("stores/b2/d")) == source, "byte for byte");
}

#[test]
fn where_copies_differ_most_of_them_decide_and_else_nobody() {
    let estate = simple(&["b1", "b2", "b3"], 4);
    estate.apply().exits(0);
    let source = files(&estate.path("stores/origin/d"));
    lose(&estate, ".domicile");
    lose(&estate, "stores/origin");
    // Without their lists, as copies are that an older version made.
    for backend in ["b1", "b2", "b3"] {
        lose(&estate, &format!("stores/{backend}/.domicile-digests"));
    }
    estate.write("stores/b1/d/a.bin", bytes(99, 10_000));
    for (at, backend) in ["b1", "b2"].iter().enumerate() {
        estate.write(&format!("stores/{backend}/d/b.bin"), [at as u8]);
    }
    let outcome = estate
        .run(&REBUILD)
        .exits(3)
        .says("2 of 3 copies agree")
        .says("3 different contents");
    assert_eq!(outcome.json()["items"][0]["differing"], 2);
    estate.run(&["dataset", "restore", "d", "--to", "out"]).exits(0);
    let mut wanted = source;
    wanted.remove("b.bin");
    assert!(files(&estate.path("out")) == wanted, "what the copies agree on");
}

#[test]
fn a_copy_of_another_version_than_the_origins_is_told_and_left_alone() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    lose(&estate, ".domicile");
    estate.write("stores/origin/d/a.bin", bytes(77, 10_000));
    std::fs::remove_file(estate.path("stores/origin/d/b.bin")).expect("a file to delete");
    let before = files(&estate.path("stores/b1"));
    estate.run(&REBUILD).exits(3).says("a.bin").says("left as it is");
    assert!(files(&estate.path("stores/b1")) == before, "nothing was touched");
    // What the owner deleted since is kept, and told as gone from the origin.
    estate.run(&["plan", "-f", "manifests"]).says("b.bin");
    let told = estate.run(&["whereis", "d/b.bin", "-o", "json"]).exits(0).json();
    assert_eq!(told["copies"][0]["state"], "Verified");
}

#[test]
fn an_origin_at_the_root_of_a_backend_is_not_mixed_with_copies_beside_it() {
    let estate = Estate::new();
    seed(&estate, "d");
    estate.write("stores/b1/own/thing.txt", "of the whole backend");
    let origin = "apiVersion: domicile.dev/v1alpha1\nkind: Dataset\nmetadata: {name: whole}\nspec:\n  domain: home\n  \
                  origin: {backend: b1, prefix: \"\"}\n---\n";
    let text = manifest::home(&["b1"])
        + &manifest::dataset("d", "home", "origin", &[])
        + origin
        + &manifest::policy(
            "two",
            &[
                "selector: {matchLabels: {set: d}}",
                "require: [{name: two, copies: 2}]",
            ],
        );
    estate.manifests(&text);
    estate.apply().exits(0);
    let before = [whereis(&estate, "d"), whereis(&estate, "whole")];
    assert_eq!(before[1]["objects"], 1);
    lose(&estate, ".domicile");
    estate.write("stores/b1/stray.txt", "part of the origin from now on");
    estate.write("stores/origin/left/over.bin", "of nobody");
    estate.run(&REBUILD).exits(0).says("`left`");
    assert_eq!(whereis(&estate, "d"), before[0]);
    assert_eq!(whereis(&estate, "whole")["objects"], 2);
}

#[test]
fn an_inventory_that_is_imported_first_is_adopted_as_well() {
    let estate = Estate::new();
    seed(&estate, "set+1");
    estate.manifests(&(manifest::home(&["b1"]) + &manifest::copies(2)));
    let mut rows = "dataset,key,size\n".to_owned();
    for (name, length) in OBJECTS {
        rows.push_str(&format!("set+1,{name},{length}\n"));
    }
    estate.write("inventory.csv", rows);
    let place = ["--backend", "origin", "--prefix", "set+1"];
    import(&estate, &place).exits(0);
    estate.apply().exits(0);
    let before = whereis(&estate, "set+1");
    lose(&estate, ".domicile");
    estate.run(&REBUILD).exits(0).says("`set+1`").says("import");
    import(&estate, &place).exits(0);
    estate.run(&REBUILD).exits(0);
    assert_eq!(whereis(&estate, "set+1"), before);
}
