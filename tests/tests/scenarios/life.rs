//! What happens to an estate over time: cordon, drain, release, growth, pruning.

use domicile_tests::{Estate, files, manifest};
use serde_json::Value;

use crate::{assert_copy, entry, placed, seed, simple};

fn moves(plan: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let place = |step: &Value| {
        if step["action"] == "Copy" {
            text(&step["to"])
        } else {
            text(&step["from"])
        }
    };
    let list = plan["moves"].as_array().expect("moves");
    list.iter()
        .map(|step| (text(&step["dataset"]), text(&step["action"]), place(step)))
        .collect()
}

fn step(dataset: &str, action: &str, place: &str) -> (String, String, String) {
    (dataset.to_owned(), action.to_owned(), place.to_owned())
}

#[test]
fn a_cordoned_backend_keeps_what_it_has_and_takes_nothing_new() {
    let estate = simple(&["b1", "b2"], 2);
    estate.apply().exits(0);
    estate.run(&["backend", "cordon", "b1"]).exits(0);
    seed(&estate, "e");
    let text = manifest::home(&["b1", "b2"])
        + &manifest::dataset("d", "home", "origin", &[])
        + &manifest::dataset("e", "home", "origin", &[])
        + &manifest::copies(2);
    estate.manifests(&text);
    let plan = estate.plan().exits(0).json();
    assert_eq!(moves(&plan), [step("e", "Copy", "b2")]);
    assert_eq!(placed(&plan, "d"), ["b1", "origin"]);
    assert!(
        entry(&plan, "e")["refusals"].to_string().contains("Cordoned"),
        "{plan}"
    );
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
    assert_copy(&estate, "e", "b2");
    estate.run(&["backend", "uncordon", "b1"]).exits(0);
    let plan = estate.plan().exits(0).json();
    assert_eq!(
        moves(&plan),
        [step("e", "Copy", "b1"), step("e", "Retire", "b2")],
        "the cheaper one is open again"
    );
}

#[test]
fn a_drained_backend_is_emptied_after_the_copies_were_made_elsewhere() {
    let estate = simple(&["b1", "b2"], 2);
    estate.apply().exits(0);
    estate.run(&["backend", "drain", "b1"]).exits(0);
    let plan = estate.run(&["plan", "-o", "json"]).exits(0).json();
    assert_eq!(moves(&plan), [step("d", "Copy", "b2"), step("d", "Retire", "b1")]);
    let list = plan["moves"].as_array().expect("moves");
    assert_eq!(
        list[1]["after"],
        serde_json::json!([list[0]["id"]]),
        "first the copy, then the deletion"
    );
    estate.run(&["apply", "--yes"]).exits(0);
    assert_copy(&estate, "d", "b2");
    assert_eq!(
        files(&estate.path("stores/b1")).len(),
        0,
        "the drained backend is empty"
    );
    estate.run(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn a_drained_backend_without_an_alternative_is_reported() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    estate.run(&["backend", "drain", "b1"]).exits(0);
    estate.run(&["apply", "--yes"]).exits(3);
    assert_eq!(
        files(&estate.path("stores/origin/d")).len(),
        5,
        "the origin stays"
    );
}

/// An estate whose origin lies on a backend that may be written to, and may be left.
fn released(keep: &str) -> Estate {
    let estate = Estate::new();
    seed(&estate, "d");
    let dear = manifest::folder("origin", "home", "DE", &[&manifest::price("0.50")]);
    let text = manifest::domain("home", "DE")
        + &dear
        + &manifest::folder("b1", "home", "DE", &[&manifest::price("0.01")])
        + &manifest::folder("b2", "home", "DE", &[&manifest::price("0.02")])
        + &manifest::dataset("d", "home", "origin", &[&format!("keepOrigin: {keep}")])
        + &manifest::copies(2);
    estate.manifests(&text);
    estate
}

#[test]
fn a_released_origin_is_retired_by_the_same_apply_once_the_copies_are_verified() {
    let estate = released("false");
    let source = files(&estate.path("stores/origin/d"));
    estate.apply().exits(0);
    for backend in ["b1", "b2"] {
        assert_eq!(
            files(&estate.path(&format!("stores/{backend}/d"))),
            source,
            "{backend}"
        );
    }
    assert_eq!(
        files(&estate.path("stores/origin/d")).len(),
        0,
        "the released origin is retired"
    );
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(0);
    estate.write("stores/origin/d/late.bin", "put there afterwards");
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(0);
}

#[test]
fn a_kept_origin_is_never_retired_however_dear_it_is() {
    let estate = released("true");
    let before = files(&estate.path("stores/origin"));
    estate.apply().exits(0);
    assert_eq!(files(&estate.path("stores/origin")), before);
    assert_copy(&estate, "d", "b1");
}

#[test]
fn new_objects_join_gone_and_changed_ones_are_reported() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    estate.write("stores/origin/d/new.bin", "a new object");
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
    let registered = files(&estate.path("stores/b1/d"));
    std::fs::remove_file(estate.path("stores/origin/d/b.bin")).expect("a file to delete");
    estate.write("stores/origin/d/a.bin", "changed by its owner, to another size");
    estate
        .run(&["plan", "-f", "manifests"])
        .says("b.bin")
        .says("a.bin");
    estate.apply().says("b.bin").says("a.bin");
    assert_eq!(
        files(&estate.path("stores/b1/d")),
        registered,
        "the copy stays as it was registered"
    );
}

#[test]
fn fewer_copies_retire_the_dearest_and_never_the_last() {
    let estate = simple(&["b1", "b2"], 3);
    estate.apply().exits(0);
    estate.manifests(
        &(manifest::home(&["b1", "b2"])
            + &manifest::dataset("d", "home", "origin", &[])
            + &manifest::copies(2)),
    );
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
    assert_eq!(files(&estate.path("stores/b2")).len(), 0);
}

#[test]
fn pruning_forgets_manifests_and_deletes_no_bytes() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    let before = files(&estate.path("stores"));
    estate.manifests(&manifest::home(&["b1"]));
    let outcome = estate.run(&["apply", "-f", "manifests", "--prune", "--yes"]);
    assert!([0, 3].contains(&outcome.code), "{}", outcome.all());
    assert_eq!(
        files(&estate.path("stores")),
        before,
        "pruning never deletes bytes"
    );
}

#[test]
fn a_policy_in_audit_is_reported_and_not_acted_on() {
    let estate = simple(&["b1"], 2);
    let audit = manifest::policy(
        "try",
        &["enforcement: Audit", "require: [{name: many, copies: 9}]"],
    );
    let text = manifest::home(&["b1"]) + &manifest::dataset("d", "home", "origin", &[]) + &audit;
    estate.manifests(&text);
    let plan = estate.plan().exits(0).json();
    assert_eq!(plan["moves"], serde_json::json!([]));
    estate.run(&["why", "d", "-f", "manifests"]).says("try");
}
