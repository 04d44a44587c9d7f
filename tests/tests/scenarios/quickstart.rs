//! The quickstart, as a newcomer runs it.

use std::collections::BTreeMap;
use std::path::Path;

use domicile_tests::{Estate, files, repository};

use crate::{entry, placed};

const FOLDER: &str = "deploy/quickstart";

/// The shipped folder in an estate of its own, so that what a user made in the checkout stays untouched.
fn quickstart() -> Estate {
    let estate = Estate::new();
    for (path, bytes) in files(&repository().join(FOLDER)) {
        estate.write(&format!("{FOLDER}/{path}"), bytes);
    }
    estate
}

fn modified(folder: &Path) -> BTreeMap<String, std::time::SystemTime> {
    let time = |path: &String| {
        std::fs::metadata(folder.join(path))
            .and_then(|meta| meta.modified())
            .expect("a time")
    };
    files(folder)
        .into_keys()
        .map(|path| (path.clone(), time(&path)))
        .collect()
}

#[test]
fn the_quickstart_copies_once_and_then_has_nothing_to_do() {
    let estate = quickstart();
    let shipped = files(&estate.path(FOLDER));
    estate.run(&["apply", "-f", FOLDER, "--yes"]).exits(0);
    let stores = estate.path(".domicile/quickstart");
    let expected = [
        ("giessen/palmer-penguins", ["lyon-warm", "uppsala-object"]),
        ("lyon/el-nino", ["polder-helsinki", "potomac-frankfurt"]),
        ("lyon/seattle-weather", ["polder-amsterdam", "potomac-frankfurt"]),
    ];
    let mut wanted = BTreeMap::new();
    for (origin, backends) in expected {
        let dataset = origin.split('/').nth(1).expect("a dataset");
        for (path, bytes) in files(&estate.path(&format!("{FOLDER}/data/{origin}"))) {
            for backend in backends {
                wanted.insert(format!("{backend}/{dataset}/{path}"), bytes.clone());
            }
        }
    }
    assert_eq!(
        files(&stores),
        wanted,
        "exactly the copies that the README promises"
    );
    let before = modified(&stores);
    estate
        .run(&["apply", "-f", FOLDER, "--yes"])
        .exits(0)
        .says("nothing to do");
    assert_eq!(modified(&stores), before, "a second run writes no object");
    assert_eq!(
        files(&estate.path(FOLDER)),
        shipped,
        "what the owners keep is untouched"
    );
    estate
        .run(&["plan", "-f", FOLDER, "--detailed-exitcode"])
        .exits(0);
}

#[test]
fn the_plan_of_the_quickstart_is_satisfied_and_changes_nothing() {
    let estate = quickstart();
    let plan = estate.run(&["plan", "-f", FOLDER, "-o", "json"]).exits(0).json();
    for dataset in ["el-nino", "palmer-penguins", "seattle-weather"] {
        assert_eq!(entry(&plan, dataset)["satisfied"], true, "{dataset}");
        assert_eq!(
            entry(&plan, dataset)["violations"],
            serde_json::json!([]),
            "{dataset}"
        );
    }
    assert_eq!(
        placed(&plan, "palmer-penguins"),
        ["giessen-collections", "lyon-warm", "uppsala-object"]
    );
    assert_eq!(
        placed(&plan, "el-nino"),
        ["lyon-records", "polder-helsinki", "potomac-frankfurt"]
    );
    assert_eq!(plan["moves"].as_array().map(Vec::len), Some(6));
    estate
        .run(&["plan", "-f", FOLDER, "--detailed-exitcode"])
        .exits(2);
    assert!(!estate.path(".domicile").exists(), "planning makes no catalogue");
}

#[test]
fn why_names_the_law_and_the_admission_rule() {
    let estate = quickstart();
    estate
        .run(&["apply", "-f", FOLDER, "--yes"])
        .exits(0)
        .says("why palmer-penguins")
        .says("exercises");
    estate
        .run(&["why", "palmer-penguins"])
        .exits(0)
        .says("potomac-frankfurt")
        .says("eu-soil-and-law")
        .says("polder-amsterdam")
        .says("nothing-restricted");
    estate
        .run(&["why", "palmer-penguins", "--backend", "potomac-frankfurt"])
        .exits(0)
        .says("eu-soil-and-law");
    let whereis = estate.run(&["whereis", "palmer-penguins"]).exits(0);
    whereis
        .says("giessen-collections")
        .says("lyon-warm")
        .says("uppsala-object")
        .never_says("polder");
}

#[test]
fn the_exercises_show_what_they_promise() {
    let estate = quickstart();
    estate.run(&["apply", "-f", FOLDER, "--yes"]).exits(0);
    let exercise = format!("{FOLDER}/exercises/too-many-copies.yaml");
    let plan = estate
        .run(&["plan", "-f", &exercise, "-o", "json"])
        .exits(3)
        .json();
    let penguins = entry(&plan, "palmer-penguins");
    assert_eq!(penguins["satisfied"], false);
    let refusals = penguins["refusals"].to_string();
    for word in [
        "eu-soil-and-law",
        "Confinement",
        "nothing-restricted",
        "Admission",
    ] {
        assert!(refusals.contains(word), "{word} in {refusals}");
    }
    assert!(
        penguins["relaxations"]
            .as_array()
            .is_some_and(|list| !list.is_empty()),
        "what would help: {penguins}"
    );

    let exercise = format!("{FOLDER}/exercises/leave-potomac.yaml");
    let plan = estate
        .run(&["plan", "-f", &exercise, "-o", "json"])
        .exits(0)
        .json();
    for dataset in ["el-nino", "palmer-penguins", "seattle-weather"] {
        assert!(
            !placed(&plan, dataset).contains(&"potomac-frankfurt".to_owned()),
            "{dataset} leaves"
        );
    }
}

#[test]
fn the_shipped_policies_pass_their_test_and_a_wrong_expectation_fails() {
    let estate = quickstart();
    estate.run(&["policy", "test", "-f", FOLDER]).exits(0);
    let file = format!("{FOLDER}/5-tests.yaml");
    let text = std::fs::read_to_string(estate.path(&file)).expect("the shipped test");
    estate.write(&file, text.replace("satisfied: true", "satisfied: false"));
    estate
        .run(&["policy", "test", "-f", FOLDER])
        .exits(7)
        .says("made-up-nests");
    assert!(!estate.path(".domicile").exists(), "testing makes no catalogue");
}

#[test]
fn the_shipped_policies_lint_clean() {
    let estate = quickstart();
    estate.run(&["policy", "lint", "-f", FOLDER]).exits(0);
    assert!(!estate.path(".domicile").exists(), "linting makes no catalogue");
}
