//! `plan -o json` is what programs read: its fields, its sums, its order.

use std::collections::BTreeSet;

use domicile_tests::{Estate, manifest};
use serde_json::Value;

use crate::{entry, seed, simple};

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

#[track_caller]
fn has(value: &Value, wanted: &[&str]) {
    let found = keys(value);
    let missing: Vec<_> = wanted.iter().filter(|key| !found.contains(**key)).collect();
    assert!(missing.is_empty(), "{missing:?} missing in {value}");
}

#[track_caller]
fn number(value: &Value, key: &str) -> f64 {
    value[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} is no number in {value}"))
}

#[track_caller]
fn close(left: f64, right: f64, what: &str) {
    assert!(
        (left - right).abs() <= 1e-9 * left.abs().max(right.abs()),
        "{what}: {left} against {right}"
    );
}

/// Prices, carbon, transfers and two datasets of different policies.
fn rich() -> Estate {
    let estate = Estate::new();
    seed(&estate, "d");
    seed(&estate, "e");
    let priced = "price: {currency: EUR, storagePerGiBMonth: \"0.02\", ingressPerGiB: \"0.01\", putPer1000: \"0.005\", \
                  minObjectSize: 64Ki}";
    let text = manifest::domain("home", "DE")
        + &manifest::domain("away", "FR")
        + &manifest::folder(
            "origin",
            "home",
            "DE",
            &[
                "accessMode: ReadOnly",
                "price: {currency: EUR, storagePerGiBMonth: \"0.03\", egressPerGiB: \"0.09\"}",
            ],
        )
        + &manifest::folder(
            "one",
            "home",
            "DE",
            &[priced, "energy: {gridGramsPerKWh: 400, physicalCopies: 3}"],
        )
        + &manifest::folder("two", "away", "FR", &[priced])
        + &manifest::dataset("d", "home", "origin", &[])
        + &manifest::dataset("e", "home", "origin", &[])
        + &manifest::policy(
            "p",
            &[
                "require: [{name: two, copies: 2}]",
                "objective: {carbonPricePerTonne: \"100\", horizonMonths: 6}",
            ],
        )
        + &manifest::policy(
            "q",
            &[
                "selector: {matchLabels: {set: e}}",
                "require: [{name: three, copies: 3}]",
            ],
        );
    estate.manifests(&text);
    estate
}

#[test]
fn the_plan_has_every_field() {
    let plan = rich().plan().exits(0).json();
    assert_eq!(plan["apiVersion"], "domicile.dev/v1alpha1");
    assert_eq!(plan["kind"], "Plan");
    assert_eq!(plan["name"], "plan-000001");
    let digest = plan["inputDigest"].as_str().expect("a digest");
    assert!(
        digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64),
        "{digest}"
    );
    has(
        &plan["objective"],
        &[
            "currency",
            "perMonth",
            "lowerBound",
            "gap",
            "storagePerMonth",
            "carbonPerMonth",
            "transferPerMonth",
            "carbonKgPerMonth",
            "transferOnce",
            "transferCarbonKg",
            "routedOnce",
            "savedByRoutes",
        ],
    );
    for dataset in plan["datasets"].as_array().expect("datasets") {
        has(
            dataset,
            &[
                "name",
                "satisfied",
                "backends",
                "bytes",
                "objects",
                "storagePerMonth",
                "carbonKgPerMonth",
                "policies",
                "violations",
                "refusals",
                "relaxations",
            ],
        );
        assert_eq!(dataset["objects"], 5);
        assert_eq!(dataset["bytes"], 80_334);
    }
    for step in plan["moves"].as_array().expect("moves") {
        assert_eq!(step["action"], "Copy");
        has(
            step,
            &[
                "id", "dataset", "from", "to", "via", "bytes", "objects", "cost", "carbonKg", "after",
            ],
        );
    }
    for shadow in plan["shadowPrices"].as_array().expect("shadow prices") {
        has(shadow, &["backend", "perGiBMonth"]);
    }
}

#[test]
fn the_sums_of_the_plan_add_up() {
    let plan = rich().plan().exits(0).json();
    let objective = &plan["objective"];
    let parts = ["storagePerMonth", "carbonPerMonth", "transferPerMonth"].map(|part| number(objective, part));
    close(
        number(objective, "perMonth"),
        parts.iter().sum(),
        "the parts of perMonth",
    );
    let per_month = number(objective, "perMonth");
    let bound = number(objective, "lowerBound");
    assert!(
        bound <= per_month * (1.0 + 1e-12),
        "the bound {bound} is above the plan's {per_month}"
    );
    close(
        number(objective, "gap") + 1.0,
        (per_month - bound) / per_month + 1.0,
        "the gap",
    );
    let sum = |list: &str, key: &str| -> f64 {
        plan[list]
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| number(entry, key))
            .sum()
    };
    close(
        number(objective, "storagePerMonth"),
        sum("datasets", "storagePerMonth"),
        "storage",
    );
    close(
        number(objective, "carbonKgPerMonth"),
        sum("datasets", "carbonKgPerMonth"),
        "carbon",
    );
    close(
        number(objective, "carbonPerMonth"),
        number(objective, "carbonKgPerMonth") * 0.1,
        "priced carbon",
    );
    close(number(objective, "routedOnce"), sum("moves", "cost"), "transfer");
    close(
        number(objective, "transferOnce") - number(objective, "savedByRoutes"),
        number(objective, "routedOnce"),
        "what routes save",
    );
    let priced = |once: f64, carbon_kg: f64| once + 0.1 * carbon_kg;
    let routed = priced(sum("moves", "cost"), sum("moves", "carbonKg"));
    let formula = priced(
        number(objective, "transferOnce"),
        number(objective, "transferCarbonKg"),
    );
    assert!(
        routed <= formula * (1.0 + 1e-12),
        "{routed} by the routes, {formula} by the formula"
    );
    let transfer = (number(objective, "transferOnce") + 0.1 * number(objective, "transferCarbonKg")) / 6.0;
    close(
        number(objective, "transferPerMonth"),
        transfer,
        "transfer over six months",
    );
}

#[test]
fn the_figures_of_one_copy_are_those_of_the_formula() {
    let plan = rich().plan().exits(0).json();
    // The first dataset: the origin and one of two; five objects, each billed for at least 64 KiB there.
    let gib = 1_073_741_824.0;
    let origin = 80_334.0 / gib * 0.03;
    let billable = 4.0 * 65_536.0 + 70_000.0;
    let copy = billable / gib * 0.02;
    close(
        number(crate::entry(&plan, "d"), "storagePerMonth"),
        origin + copy,
        "storage of d",
    );
    let cost = |egress: f64| 80_334.0 / gib * (egress + 0.01) + 5.0 / 1000.0 * 0.005;
    // Of both datasets one copy stays with the provider, and `e` has one more abroad.
    close(
        number(&plan["objective"], "transferOnce"),
        cost(0.0) + cost(0.0) + cost(0.09),
        "egress, ingress and requests",
    );
    let moves = plan["moves"].as_array().expect("moves");
    let step = moves
        .iter()
        .find(|step| step["dataset"] == "e" && step["to"] == "two")
        .expect("a copy of e to two");
    assert_eq!(step["from"], "one", "the copy that leaves for nothing is read");
    close(number(step, "cost"), cost(0.0), "ingress and requests");
}

#[test]
fn equal_inputs_give_equal_bytes() {
    let estate = rich();
    let first = estate.plan().exits(0).stdout;
    for _ in 0..3 {
        assert_eq!(estate.plan().exits(0).stdout, first);
    }
    let plan: Value = serde_json::from_str(&first).expect("JSON");
    let names: Vec<_> = plan["datasets"]
        .as_array()
        .expect("datasets")
        .iter()
        .map(|d| d["name"].to_string())
        .collect();
    assert!(names.is_sorted(), "{names:?}");
}

#[test]
fn a_dataset_that_nothing_selects_is_listed_and_left_alone() {
    let estate = simple(&["b1"], 2);
    let text = manifest::home(&["b1"]) + &manifest::dataset("d", "home", "origin", &[]);
    estate.manifests(&text);
    let plan = estate.plan().exits(0).json();
    let entry = crate::entry(&plan, "d");
    assert_eq!(entry["satisfied"], true);
    assert_eq!(entry["backends"], serde_json::json!(["origin"]));
    assert_eq!(plan["moves"], serde_json::json!([]));
}

#[test]
fn a_recorded_plan_says_of_satisfied_datasets_only_where_they_lie() {
    let recorded = |copies, exit| {
        let estate = simple(&["b1", "b2"], copies);
        estate.apply().exits(exit);
        let listed = estate.run(&["get", "plans", "-o", "json"]).exits(0).json();
        let newest = if listed.is_array() {
            &listed[0]
        } else {
            &listed["items"][0]
        };
        entry(newest, "d").clone()
    };
    let satisfied = recorded(2, 0);
    has(&satisfied, &["name", "satisfied", "backends", "violations"]);
    assert_eq!(satisfied["satisfied"], true);
    assert!(satisfied.get("refusals").is_none(), "{satisfied}");
    let unsatisfied = recorded(9, 3);
    assert_eq!(unsatisfied["satisfied"], false);
    let refusals = unsatisfied["refusals"].as_array().expect("refusals");
    assert!(!refusals.is_empty(), "{unsatisfied}");
    has(&unsatisfied, &["relaxations"]);
}
