//! The table of exit codes, each from a command that a person could have typed.

use domicile_tests::{Estate, manifest};

use crate::simple;

#[test]
fn wrong_usage_is_64() {
    let estate = simple(&["b1"], 2);
    estate.run(&["frobnicate"]).exits(64);
    estate.run(&["plan", "--no-such-flag"]).exits(64);
    estate.run(&["plan", "-f", "manifests", "-o", "xml"]).exits(64);
    estate.run(&["apply", "-f", "manifests"]).exits(64).says("--yes");
    assert!(
        !estate.path(".domicile").exists(),
        "a refused command writes nothing"
    );
    assert!(
        !estate.path("stores/b1").exists(),
        "a refused command makes no root"
    );
}

#[test]
fn an_error_is_1_and_says_what_to_do() {
    let estate = Estate::new();
    estate.run(&["plan", "-f", "nowhere"]).exits(1).says("nowhere");
    estate.write(
        "catalogue.db",
        "this is no database, and it is long enough to be taken for one by mistake",
    );
    estate
        .run(&["status", "--catalogue", "sqlite://catalogue.db"])
        .exits(1)
        .says("catalogue.db");
    estate
        .run(&["status", "--catalogue", "mysql://host/db"])
        .exits(1)
        .says("mysql");
    estate
        .run(&["why", "no-such-dataset"])
        .exits(1)
        .says("no-such-dataset");
}

#[test]
fn help_and_version_are_0() {
    let estate = Estate::new();
    estate
        .run(&["--help"])
        .exits(0)
        .says("apply")
        .says("plan")
        .says("why");
    estate.run(&["version"]).exits(0);
    estate.run(&["completion", "bash"]).exits(0);
    let schema = estate.run(&["schema"]).exits(0).json();
    assert!(schema.is_object());
}

#[test]
fn pending_changes_are_2_only_when_asked_for() {
    let estate = simple(&["b1"], 2);
    estate.run(&["plan", "-f", "manifests"]).exits(0);
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(2);
    estate.apply().exits(0);
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(0);
    estate.run(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn an_unsatisfied_dataset_is_3() {
    let estate = simple(&["b1"], 3);
    estate.plan().exits(3);
    estate.apply().exits(3).says("enough");
    crate::assert_copy(&estate, "d", "b1");
    estate.apply().exits(3);
}

#[test]
fn a_violation_that_stays_is_3() {
    let estate = simple(&["b1"], 1);
    let french = manifest::policy(
        "french",
        &["confine: [{name: only-france, key: country, operator: In, values: [FR]}]"],
    );
    estate.manifests(&(manifest::home(&["b1"]) + &manifest::dataset("d", "home", "origin", &[]) + &french));
    let plan = estate.plan().exits(3).json();
    assert!(
        crate::entry(&plan, "d")["violations"]
            .to_string()
            .contains("only-france")
    );
}

#[test]
fn a_stale_plan_is_4() {
    let estate = simple(&["b1", "b2"], 2);
    estate.apply().exits(0);
    estate.manifests(
        &(manifest::home(&["b1", "b2"])
            + &manifest::dataset("d", "home", "origin", &[])
            + &manifest::copies(3)),
    );
    estate
        .run(&["plan", "-f", "manifests", "--out", "plan.json"])
        .exits(0);
    estate.run(&["backend", "cordon", "b2"]).exits(0);
    estate.run(&["apply", "plan.json", "--yes"]).exits(4).says("plan");
    assert!(
        !estate.path("stores/b2/d").exists(),
        "a stale plan copies nothing"
    );
}

#[test]
fn a_written_plan_is_applied_as_it_was_shown() {
    let estate = simple(&["b1", "b2"], 2);
    estate
        .run(&["plan", "-f", "manifests", "--out", "plan.json"])
        .exits(0);
    assert!(!estate.path(".domicile").exists(), "planning makes no catalogue");
    estate.manifests(&manifest::home(&["b1", "b2"]));
    estate.run(&["apply", "plan.json", "--yes"]).exits(0);
    crate::assert_copy(&estate, "d", "b1");
    estate.run(&["apply", "plan.json", "--yes"]).exits(4);
}
