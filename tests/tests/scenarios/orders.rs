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
    estate.run(&["moves", "cancel", ""]).exits(64).says("empty");
    assert_eq!(only_move(&estate)["state"], "Failed");
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

#[test]
fn progress_tells_how_fast_each_copy_goes_and_how_long_the_rest_takes() {
    let estate = Estate::new();
    for at in 0..10 {
        estate.write(
            &format!("stores/origin/d/{at}"),
            domicile_tests::bytes(at, 20_000),
        );
    }
    let link = "apiVersion: domicile.dev/v1alpha1\nkind: Link\nmetadata: {name: thin}\nspec: {from: {backend: origin}, \
                to: {backend: b1}, limits: {bytesPerSecond: 20k}}\n---\n";
    let dataset = manifest::dataset("d", "home", "origin", &[]);
    estate.manifests(&(manifest::home(&["b1"]) + link + &dataset + &manifest::copies(2)));
    let log = std::fs::File::create(estate.path("run.log")).expect("a log");
    let mut command = estate.command(&["apply", "-f", "manifests", "--yes", "--progress", "jsonl"]);
    let mut run = command.stderr(log).spawn().expect("the binary starts");
    // Others see it too, by what is noted in the catalogue.
    let mut seen = Value::Null;
    while run.try_wait().expect("the child can be asked for").is_none() {
        let list = estate.run(&["moves", "ls", "-o", "json"]).exits(0).json();
        if let Some(one) = list["items"].as_array().and_then(|all| all.first())
            && one["etaSeconds"].is_number()
        {
            seen = one.clone();
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert!(seen["bytesPerSecond"].as_f64() > Some(0.0), "{seen}");
    assert_copy(&estate, "d", "b1");
    let text = std::fs::read_to_string(estate.path("run.log")).expect("a log");
    let events = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let moving: Vec<Value> = events.filter(|event| event["event"] == "moving").collect();
    let told = moving.iter().find(|event| event["etaSeconds"].is_number());
    let told = told.unwrap_or_else(|| panic!("nothing tells how long it takes: {text}"));
    assert_eq!((&told["dataset"], &told["to"]), (&"d".into(), &"b1".into()));
    assert_eq!(told["totalBytes"], 200_000, "{told}");
    // Ten seconds at the limit, so that no rate is far from it.
    assert!(told["bytesPerSecond"].as_f64() < Some(100_000.0), "{told}");
}
