//! Tiers, included storage and base fees, with a sum worked out by hand.

use domicile_tests::{Estate, bytes, manifest};
use serde_json::Value;

fn close(value: &Value, expected: f64) {
    let found = value.as_f64().unwrap_or_else(|| panic!("{value} is no amount"));
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

/// Datasets of three and of two objects, each billed as 1 GiB. On `cheap` all five cost a fee of 0.40, which pays for the
/// first, and 4 x 0.10; on `dear` 2 x 0.15 and, above that, 3 x 0.05.
fn estate() -> Estate {
    let estate = Estate::new();
    for (dataset, objects) in [("three", 3), ("two", 2)] {
        for object in 0..objects {
            estate.write(&format!("stores/origin/{dataset}/{object}"), bytes(object, 1000));
        }
    }
    let price = |text: &str| format!("price: {{currency: EUR, minObjectSize: 1Gi, {text}}}");
    let cheap = price("storagePerGiBMonth: \"0.10\", includedStorage: 1Gi, baseFeePerMonth: \"0.40\"");
    let dear = price("storagePerGiBMonth: \"0.15\", tiers: [{above: 2Gi, storagePerGiBMonth: \"0.05\"}]");
    let text = manifest::domain("home", "DE")
        + &manifest::folder("origin", "home", "DE", &["accessMode: ReadOnly"])
        + &manifest::folder("cheap", "home", "DE", &[&cheap])
        + &manifest::folder("dear", "home", "DE", &[&dear])
        + &manifest::dataset("three", "home", "origin", &[])
        + &manifest::dataset("two", "home", "origin", &[])
        + &manifest::copies(2);
    estate.manifests(&text);
    estate
}

#[test]
fn a_plan_counts_what_all_copies_of_a_backend_cost_together() {
    let estate = estate();
    let plan = estate.plan().exits(0).json();
    let objective = &plan["objective"];
    close(&objective["perMonth"], 2.0 * 0.15 + 3.0 * 0.05);
    close(&objective["lowerBound"], 0.45);
    close(&objective["storagePerMonth"], 0.45);
    close(&objective["tariffsPerMonth"], 0.45 - 5.0 * 0.15);
    for dataset in plan["datasets"].as_array().expect("datasets") {
        assert_eq!(dataset["backends"], serde_json::json!(["dear", "origin"]));
    }
    close(&plan["datasets"][0]["storagePerMonth"], 3.0 * 0.15);
    let tariffs = plan["tariffs"].as_array().expect("tariffs");
    assert_eq!(tariffs.len(), 2);
    let (cheap, dear) = (&tariffs[0], &tariffs[1]);
    assert_eq!(
        (&cheap["backend"], &dear["backend"]),
        (&"cheap".into(), &"dear".into())
    );
    assert_eq!(cheap["billableBytes"], 0);
    close(&cheap["perMonth"], 0.0);
    // The first GiB would cost the fee, and is included.
    close(&cheap["nextGiBPerMonth"], 0.40);
    assert_eq!(dear["billableBytes"], 5_u64 << 30);
    close(&dear["atListPerMonth"], 0.75);
    close(&dear["tariffPerMonth"], -0.30);
    close(&dear["nextGiBPerMonth"], 0.05);
    let table = estate.run(&["plan", "-f", "manifests"]).exits(0);
    table.says("dear bills 5.00 GiB: 0.750 at list price, 0.450 EUR/month with tiers");
}

#[test]
fn why_tells_what_a_copy_adds_to_a_tariff_and_carried_out_the_plan_rests() {
    let estate = estate();
    estate.apply().exits(0);
    let again = estate.plan().exits(0).json();
    assert_eq!(again["moves"], serde_json::json!([]));
    close(&again["objective"]["perMonth"], 0.45);
    let why = estate.run(&["why", "three", "-o", "json"]).exits(0).json();
    let candidates = why["candidates"].as_array().expect("candidates");
    let of = |name: &str| {
        candidates
            .iter()
            .find(|candidate| candidate["backend"] == name)
            .expect("a candidate")
    };
    // Without it `two` fills the first tier of `dear` alone, so that all its three GiB are of the second.
    close(&of("dear")["tariffPerMonth"], 3.0 * (0.05 - 0.15));
    close(&of("dear")["costPerMonth"], 0.15);
    close(&of("cheap")["tariffPerMonth"], 0.40 - 0.10);
    close(&of("cheap")["costPerMonth"], 0.60);
    assert_eq!(of("origin")["tariffPerMonth"], Value::Null);
    close(&why["runnerUp"]["costMorePerMonth"], 0.60 - 0.15);
}
