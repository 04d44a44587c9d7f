//! `moves`: people look at moves and give orders, and whoever carries them obeys.

use domicile_tests::{Estate, manifest};
use serde_json::Value;

use crate::{assert_copy, seed};

/// A dataset of which a copy is wanted on `b1`, where somebody else's file was in the way of the first apply.
fn failed() -> Estate {
    let estate = Estate::new();
    seed(&estate, "d");
    estate.write("stores/b1/d/a.bin", "in the way");
    let dataset = manifest::dataset("d", "home", "origin", &[]);
    estate.manifests(&(manifest::home(&["b1"]) + &dataset + &manifest::copies(2)));
    estate.apply().exits(5);
    std::fs::remove_file(estate.path("stores/b1/d/a.bin")).expect("a file to delete");
    estate
}

fn only_move(estate: &Estate) -> Value {
    let list = estate.run(&["moves", "ls", "-o", "json"]).exits(0).json();
    let moves = list["items"].as_array().expect("a list");
    assert_eq!(moves.len(), 1, "{list}");
    moves[0].clone()
}

#[test]
fn moves_are_listed_with_what_is_done_of_them() {
    let estate = failed();
    let one = only_move(&estate);
    assert_eq!((&one["state"], &one["to"]), (&"Failed".into(), &"b1".into()));
    let (done, all) = (one["doneBytes"].as_u64(), one["bytes"].as_u64());
    assert!(done > Some(0) && done < all, "all but one object is there: {one}");
    estate.run(&["moves", "ls"]).exits(0).says("Failed").says("a.bin");
    estate
        .run(&["moves", "ls", "--dataset", "nothing"])
        .exits(1)
        .says("nothing");
}

#[test]
fn a_cancelled_move_is_not_made_by_any_apply_until_somebody_retries_it() {
    let estate = failed();
    let id = only_move(&estate)["id"].as_str().expect("an id").to_owned();
    estate.run(&["moves", "cancel"]).exits(64).says("which moves");
    estate
        .run(&["moves", "cancel", &id[..6]])
        .exits(0)
        .says("1 move cancelled");
    assert_eq!(only_move(&estate)["state"], "Cancelled");
    estate.apply().exits(3).says("moves retry");
    assert!(!estate.path("stores/b1/d/a.bin").exists());
    assert_eq!(only_move(&estate)["state"], "Cancelled");
    estate
        .run(&["moves", "retry", "--all"])
        .exits(0)
        .says("1 move to be tried again");
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
    let done = only_move(&estate);
    assert_eq!(
        (&done["state"], &done["doneBytes"]),
        (&"Done".into(), &done["bytes"])
    );
    estate
        .run(&["moves", "pause", "--all"])
        .exits(0)
        .says("0 moves paused");
}

#[test]
fn a_paused_move_rests_and_no_plan_that_lacks_it_remembers_that() {
    let estate = failed();
    // A failed move does not run, so that there is nothing to pause; one that waits is.
    estate.run(&["moves", "retry", "--all"]).exits(0);
    estate
        .run(&["moves", "pause", "--backend", "b1"])
        .exits(0)
        .says("1 move paused");
    estate.apply().exits(3).says("moves resume");
    assert_eq!(only_move(&estate)["state"], "Paused");
    let without = manifest::policy("copies", &["require: [{name: enough, copies: 1}]"]);
    let with = manifest::copies(2);
    let dataset = manifest::dataset("d", "home", "origin", &[]);
    estate.manifests(&(manifest::home(&["b1"]) + &dataset + &without));
    estate.apply().exits(0);
    estate.manifests(&(manifest::home(&["b1"]) + &dataset + &with));
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
}
