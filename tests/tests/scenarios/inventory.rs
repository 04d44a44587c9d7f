//! Datasets that come as an inventory.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

use domicile_tests::{Estate, files, manifest, skip};
use serde_json::Value;

use crate::placed;

/// What is known of two datasets whose names are no DNS names.
const DATASETS: [(&str, &[(&str, &str)]); 2] = [
    (
        "lib+1.0~rc",
        &[("x/one.bin", "first object"), ("two.bin", "second")],
    ),
    ("Größe", &[("only.bin", "third object")]),
];

/// The SHA-256 of a text by the system's own tool: the tests share no code with what they test.
fn sha256(text: &str) -> Option<String> {
    let estate = Estate::new();
    estate.write("text", text);
    let output = Command::new("sha256sum").arg(estate.path("text")).output().ok()?;
    Some(
        String::from_utf8_lossy(&output.stdout)
            .split(' ')
            .next()?
            .to_owned(),
    )
}

/// Where an object lies: an inventory's keys begin at the root of the origin; copies lie below the dataset's name.
fn place(at: usize, backend: &str, dataset: &str, key: &str) -> String {
    if at == 0 {
        format!("stores/{backend}/{key}")
    } else {
        format!("stores/{backend}/{dataset}/{key}")
    }
}

/// Three backends, those in `replicas` holding both datasets, the origin first; and the inventory of it.
fn estate(replicas: &str) -> Option<Estate> {
    let estate = Estate::new();
    let mut csv = "dataset,key,size,sha256,replicas,section\n".to_owned();
    for (dataset, objects) in DATASETS {
        for (key, text) in objects {
            for (at, backend) in replicas.split(';').enumerate() {
                estate.write(&place(at, backend, dataset, key), text);
            }
            let digest = sha256(text)?;
            writeln!(csv, "{dataset},{key},{},{digest},{replicas},main", text.len()).expect("text grows");
        }
    }
    estate.write("inventory.csv", csv);
    estate.manifests(&(manifest::home(&["b1", "b2"]) + &manifest::copies(2)));
    Some(estate)
}

/// What a full copy of everything looks like.
fn everything() -> BTreeMap<String, Vec<u8>> {
    let all = DATASETS.iter().flat_map(|(dataset, objects)| {
        objects
            .iter()
            .map(move |(key, text)| (format!("{dataset}/{key}"), text.as_bytes().to_vec()))
    });
    all.collect()
}

pub(crate) fn import(estate: &Estate, more: &[&str]) -> domicile_tests::Outcome {
    let mut arguments = vec![
        "dataset",
        "import",
        "inventory.csv",
        "-f",
        "manifests",
        "--domain",
        "home",
    ];
    arguments.extend(more);
    estate.run(&arguments)
}

#[test]
fn an_inventory_is_registered_planned_and_copied() {
    let Some(estate) = estate("origin") else {
        return skip(
            "an_inventory_is_registered_planned_and_copied",
            "sha256sum is missing",
        );
    };
    import(&estate, &[]).exits(0);
    import(&estate, &[]).exits(0);
    let plan = estate.run(&["plan", "-o", "json"]).exits(0).json();
    assert_eq!(
        plan["datasets"].as_array().map(Vec::len),
        Some(2),
        "importing twice registers once: {plan}"
    );
    assert_eq!(placed(&plan, "lib+1.0~rc"), ["b1", "origin"]);
    estate.run(&["apply", "--yes"]).exits(0);
    assert_eq!(files(&estate.path("stores/b1")), everything());
}

#[test]
fn a_source_that_differs_from_the_inventory_fails_and_spreads_nowhere() {
    let Some(estate) = estate("origin") else {
        return skip(
            "a_source_that_differs_from_the_inventory_fails_and_spreads_nowhere",
            "sha256sum is missing",
        );
    };
    import(&estate, &[]).exits(0);
    estate.write("stores/origin/x/one.bin", "FIRST object");
    estate
        .run(&["apply", "--yes"])
        .exits(5)
        .says("origin")
        .says("x/one.bin");
    let copy = files(&estate.path("stores/b1"));
    assert!(!copy.contains_key("lib+1.0~rc/x/one.bin"), "{:?}", copy.keys());
    assert!(
        copy.contains_key("Größe/only.bin"),
        "the other dataset is done: {:?}",
        copy.keys()
    );
}

#[test]
fn what_an_inventory_says_is_unknown_until_scrubbed() {
    let Some(estate) = estate("origin;b2") else {
        return skip(
            "what_an_inventory_says_is_unknown_until_scrubbed",
            "sha256sum is missing",
        );
    };
    import(&estate, &[]).exits(0);
    let b2 = |plan: &Value| placed(plan, "lib+1.0~rc").contains(&"b2".to_owned());
    let plan = estate.run(&["plan", "-o", "json"]).json();
    assert!(
        !plan["moves"].as_array().expect("moves").is_empty(),
        "an unknown copy does not count: {plan}"
    );
    let retired = plan["moves"]
        .as_array()
        .expect("moves")
        .iter()
        .any(|step| step["action"] == "Retire");
    assert!(!retired, "an unknown copy is not retired: {plan}");
    estate.run(&["dataset", "scrub", "lib+1.0~rc"]).exits(0);
    estate.run(&["dataset", "scrub", "Größe"]).exits(0);
    let plan = estate.run(&["plan", "-o", "json"]).exits(0).json();
    assert!(
        b2(&plan) || !plan["moves"].as_array().expect("moves").is_empty(),
        "a scrubbed copy counts: {plan}"
    );
    estate.run(&["apply", "--yes"]).exits(0);
    estate.run(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn a_trusted_inventory_counts_at_once_and_no_store_is_touched() {
    let Some(estate) = estate("origin;b1") else {
        return skip(
            "a_trusted_inventory_counts_at_once_and_no_store_is_touched",
            "sha256sum is missing",
        );
    };
    std::fs::rename(estate.path("stores"), estate.path("elsewhere")).expect("a folder to move");
    import(&estate, &["--trust-inventory"]).exits(0);
    let plan = estate
        .run(&["plan", "-o", "json", "--detailed-exitcode"])
        .exits(0)
        .json();
    assert_eq!(placed(&plan, "Größe"), ["b1", "origin"]);
    assert!(!estate.path("stores").exists(), "planning touches no store");
}

#[test]
fn a_broken_inventory_is_refused_whole_with_its_lines() {
    let Some(estate) = estate("origin") else {
        return skip(
            "a_broken_inventory_is_refused_whole_with_its_lines",
            "sha256sum is missing",
        );
    };
    estate.write(
        "inventory.csv",
        "dataset,key,size\ngood,a,1\nbad,../x,1\nbad,b,many\n.domicile-x,c,1\ngood,/etc/passwd,2\n",
    );
    import(&estate, &["--backend", "origin"])
        .exits(1)
        .says("../x")
        .says("many")
        .says(".domicile-x")
        .says("/etc/passwd");
    let plan = estate
        .run(&["plan", "-f", "manifests", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(
        plan["datasets"],
        serde_json::json!([]),
        "nothing of a refused inventory is registered"
    );
}
