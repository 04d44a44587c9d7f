//! Explanations that a user can act on: what is counted, offered and compared is carried out here and holds.

use domicile_tests::{Estate, manifest};
use serde_json::Value;

use crate::{OBJECTS, entry, placed, seed, simple};

const HEAD: &str = "apiVersion: domicile.dev/v1alpha1\n";
const GIB: f64 = 1_073_741_824.0;

fn bytes() -> usize {
    OBJECTS.iter().map(|(_, length)| length).sum()
}

fn closed_domain() -> String {
    format!(
        "{HEAD}kind: Domain\nmetadata: {{name: closed}}\nspec:\n  title: Closed\n  jurisdiction: DE\n  admission:\n    \
         - {{name: guests, when: \"dataset.domain == domain.name\"}}\n---\n"
    )
}

/// Nine backends: four abroad, three with hardly any room (the first with `room`), two of a domain that takes no guests.
fn refusing(room: usize) -> Estate {
    let estate = Estate::new();
    seed(&estate, "d");
    let mut text = manifest::domain("home", "DE") + &manifest::domain("abroad", "US") + &closed_domain();
    for name in ["origin", "a1", "a2", "a3"] {
        text += &manifest::folder(name, "abroad", "US", &[]);
    }
    for name in ["h1", "h2", "h3"] {
        let capacity = format!("capacity: {}", if name == "h1" { room } else { 1024 });
        text += &manifest::folder(name, "home", "DE", &[&capacity]);
    }
    for name in ["c1", "c2"] {
        text += &manifest::folder(name, "closed", "DE", &[]);
    }
    text += &manifest::dataset("d", "home", "origin", &[]);
    text += &manifest::policy(
        "eu",
        &[
            "confine: [{name: eu-soil-and-law, key: jurisdiction, operator: In, values: [EU]}]",
            "require: [{name: one, copies: 1}]",
        ],
    );
    estate.manifests(&text);
    estate
}

#[test]
fn refusals_are_counted_once_for_each_backend() {
    let line = "0 of 9 backends fit: 4 confinement eu-soil-and-law, 3 full, 2 admission guests";
    let estate = refusing(2048);
    estate.run(&["plan", "-f", "manifests"]).exits(3).says(line);
    estate.run(&["why", "d", "-f", "manifests"]).exits(3).says(line);
    let plan = estate.plan().exits(3).json();
    let refusals = entry(&plan, "d")["refusals"]
        .as_array()
        .expect("refusals")
        .clone();
    let lacking = refusals.iter().find(|refusal| refusal["kind"] == "Requirement");
    let message = lacking.expect("what is lacking")["message"].to_string();
    assert!(message.contains(line), "{message}");
    let why = estate
        .run(&["why", "d", "-f", "manifests", "-o", "json"])
        .exits(3)
        .json();
    assert_eq!(why["tally"]["message"], line);
    let counts = why["tally"]["reasons"].as_array().expect("reasons");
    let sum: u64 = counts.iter().filter_map(|count| count["backends"].as_u64()).sum();
    assert_eq!(Some(sum), why["tally"]["total"].as_u64());
}

#[test]
fn the_capacity_that_is_offered_is_enough_to_the_byte() {
    let plan = refusing(2048).plan().exits(3).json();
    let offered = capacity_offered(&plan, "d");
    assert_eq!(offered, (bytes() - 2048, "h1".to_owned()));
    for (room, satisfied) in [(bytes(), true), (bytes() - 1, false)] {
        // The origin abroad stays a violation, so that the code is 3 either way.
        let plan = refusing(room).plan().exits(3).json();
        assert_eq!(
            entry(&plan, "d")["satisfied"],
            satisfied,
            "with room for {room} bytes"
        );
    }
}

fn capacity_offered(plan: &Value, dataset: &str) -> (usize, String) {
    let relaxations = entry(plan, dataset)["relaxations"]
        .as_array()
        .expect("a list")
        .clone();
    let capacity = relaxations
        .iter()
        .find(|relaxation| relaxation["rule"] == "capacity");
    let change = capacity.expect("more capacity")["change"]
        .as_str()
        .expect("a text")
        .to_owned();
    let (bytes, backend) = change.split_once(" bytes more on ").expect("bytes and a backend");
    (bytes.parse().expect("a number"), backend.to_owned())
}

/// Two datasets of equal rank that both want a second copy on the only other backend.
fn rivals(room: usize) -> Estate {
    let estate = Estate::new();
    seed(&estate, "d");
    seed(&estate, "e");
    estate.manifests(
        &(manifest::domain("home", "DE")
            + &manifest::folder("origin", "home", "DE", &[])
            + &manifest::folder("one", "home", "DE", &[&format!("capacity: {room}")])
            + &manifest::dataset("d", "home", "origin", &[])
            + &manifest::dataset("e", "home", "origin", &[])
            + &manifest::copies(2)),
    );
    estate
}

#[test]
fn what_helps_one_of_two_rivals_is_not_taken_by_the_other() {
    let room = 100;
    let plan = rivals(room).plan().exits(3).json();
    let mut offers = Vec::new();
    for dataset in ["d", "e"] {
        let (more, backend) = capacity_offered(&plan, dataset);
        assert_eq!(backend, "one");
        let after = rivals(room + more).plan().json();
        assert_eq!(
            entry(&after, dataset)["satisfied"],
            true,
            "{dataset} with {more} bytes more"
        );
        offers.push(more);
    }
    offers.sort_unstable();
    assert_eq!(
        offers,
        [bytes() - room, 2 * bytes() - room],
        "one must wait for the other"
    );
}

#[test]
fn rules_that_must_give_way_together_are_named_together() {
    let estate = refusing(1024);
    // No room at home, no guests: what is left needs both rules of some backend lifted.
    let text = manifest::domain("home", "DE")
        + &closed_domain().replace("jurisdiction: DE", "jurisdiction: US")
        + &manifest::folder("origin", "home", "DE", &["accessMode: ReadOnly"])
        + &manifest::folder("c1", "closed", "US", &[])
        + &manifest::dataset("d", "home", "origin", &[])
        + &manifest::policy(
            "eu",
            &[
                "confine: [{name: eu-soil-and-law, key: jurisdiction, operator: In, values: [EU]}]",
                "require: [{name: two, copies: 2}]",
            ],
        );
    estate.manifests(&text);
    let plan = estate.plan().exits(3).json();
    let relaxations = entry(&plan, "d")["relaxations"]
        .as_array()
        .expect("a list")
        .clone();
    let rules: Vec<_> = relaxations
        .iter()
        .map(|relaxation| {
            relaxation["rule"]
                .as_str()
                .expect("a text")
                .split(", ")
                .collect::<Vec<_>>()
        })
        .collect();
    let both = |rules: &&Vec<&str>| rules.contains(&"eu-soil-and-law") && rules.contains(&"guests");
    assert!(rules.iter().any(|rules| both(&rules)), "{relaxations:?}");
    assert!(
        !rules
            .iter()
            .any(|rules| *rules == ["guests"] || *rules == ["eu-soil-and-law"]),
        "neither is enough alone: {relaxations:?}"
    );
}

#[test]
fn the_runner_up_and_its_price_are_told() {
    let estate = simple(&["one", "two", "three"], 2);
    let why = estate
        .run(&["why", "d", "-f", "manifests", "-o", "json"])
        .exits(0)
        .json();
    let other = &why["runnerUp"];
    assert_eq!(other["backends"], serde_json::json!(["origin", "two"]));
    let more = other["costMorePerMonth"].as_f64().expect("a number");
    let expected = bytes() as f64 / GIB * 0.001;
    assert!(
        (more - expected).abs() < 1e-9 * expected,
        "{more} against {expected}"
    );
    assert_eq!(
        (&other["hasRoom"], &other["exact"]),
        (&Value::from(true), &Value::from(true))
    );
    estate
        .run(&["why", "d", "-f", "manifests"])
        .exits(0)
        .says("runner-up: origin, two costs");
}

/// A cheap backend abroad and a dear one at home, with or without the rule that forbids the cheap one.
fn confined(rule: bool) -> Estate {
    let estate = Estate::new();
    seed(&estate, "d");
    let confine = "confine: [{name: at-home, key: country, operator: In, values: [DE]}]";
    let mut lines = vec!["require: [{name: two, copies: 2}]"];
    lines.extend(rule.then_some(confine));
    estate.manifests(
        &(manifest::domain("home", "DE")
            + &manifest::folder(
                "origin",
                "home",
                "DE",
                &["accessMode: ReadOnly", &manifest::price("0.03")],
            )
            + &manifest::folder("cheap", "home", "FR", &[&manifest::price("0.001")])
            + &manifest::folder("dear", "home", "DE", &[&manifest::price("0.02")])
            + &manifest::dataset("d", "home", "origin", &[])
            + &manifest::policy("p", &lines)),
    );
    estate
}

#[test]
fn a_rule_costs_what_the_plan_without_it_saves() {
    let per_month = |rule| {
        let plan = confined(rule).plan().exits(0).json();
        plan["objective"]["perMonth"].as_f64().expect("a number")
    };
    let saved = per_month(true) - per_month(false);
    let estate = confined(true);
    let asked = ["why", "--policy", "p", "-f", "manifests"];
    let costs = estate
        .run(&[&asked[..], &["-o", "json"]].concat())
        .exits(0)
        .json();
    assert_eq!(costs["kind"], "PolicyCosts");
    assert_eq!(costs["datasets"], 1);
    let rules = costs["rules"].as_array().expect("rules");
    let saves = |name: &str| {
        let rule = rules.iter().find(|rule| rule["rule"] == name).expect("the rule");
        rule["savesPerMonth"].as_f64().expect("a number")
    };
    assert!(
        (saves("at-home") - saved).abs() <= 1e-9 * saved,
        "{} against {saved}",
        saves("at-home")
    );
    let dear = bytes() as f64 / GIB * 0.02;
    assert!(
        (saves("two") - dear).abs() <= 1e-9 * dear,
        "without copies nothing is made"
    );
    estate
        .run(&asked)
        .exits(0)
        .says("strictest: without requirement two");
    assert!(!estate.path(".domicile").exists(), "asking makes no catalogue");
    estate.run(&["why", "--policy", "q", "-f", "manifests"]).exits(1);
    estate.run(&["why", "-f", "manifests"]).exits(64);
    estate
        .run(&["why", "d", "--policy", "p", "-f", "manifests"])
        .exits(64);
}

/// A cheap backend on coal and a dear one on water, with a price of carbon.
fn coal_or_water(carbon_price: &str) -> Estate {
    let estate = Estate::new();
    seed(&estate, "d");
    let coal = "energy: {gridGramsPerKWh: 900, physicalCopies: 3}";
    let water = "energy: {gridGramsPerKWh: 10}";
    estate.manifests(
        &(manifest::domain("home", "DE")
            + &manifest::folder(
                "origin",
                "home",
                "DE",
                &["accessMode: ReadOnly", water, &manifest::price("0.03")],
            )
            + &manifest::folder("coal", "home", "DE", &[coal, &manifest::price("0.001")])
            + &manifest::folder("water", "home", "DE", &[water, &manifest::price("0.02")])
            + &manifest::dataset("d", "home", "origin", &[])
            + &manifest::policy(
                "p",
                &[
                    "require: [{name: two, copies: 2}]",
                    &format!("objective: {{carbonPricePerTonne: \"{carbon_price}\"}}"),
                ],
            )),
    );
    estate
}

#[test]
fn the_frontier_goes_from_the_cheapest_to_the_greenest() {
    let estate = coal_or_water("0");
    let asked = ["plan", "-f", "manifests", "--pareto", "cost,carbon"];
    let frontier = estate
        .run(&[&asked[..], &["-o", "json"]].concat())
        .exits(0)
        .json();
    let points = frontier["points"].as_array().expect("points");
    assert_eq!((points.len(), &frontier["complete"]), (2, &Value::from(true)));
    let number = |at: usize, field: &str| points[at][field].as_f64().expect("a number");
    let plan = estate.plan().exits(0).json();
    assert_eq!(plan["objective"]["perMonth"], points[0]["costPerMonth"]);
    assert!(number(0, "costPerMonth") < number(1, "costPerMonth"));
    assert!(number(0, "carbonKgPerMonth") > number(1, "carbonKgPerMonth"));
    assert_eq!(
        points[1]["changes"][0]["backends"],
        serde_json::json!(["origin", "water"])
    );

    // Carbon dearer than what a tonne less costs takes the next plan, cheaper carbon does not.
    let turn = number(1, "costPerTonneLess");
    for (price, backend) in [(turn * 0.99, "coal"), (turn * 1.01, "water")] {
        let plan = coal_or_water(&format!("{price:.6}")).plan().exits(0).json();
        assert!(
            placed(&plan, "d").contains(&backend.to_owned()),
            "at {price} per tonne it lies on {backend}"
        );
    }

    let drawn = estate.run(&asked).exits(0);
    drawn.says("EUR PER TONNE LESS").says("|2").says("kg CO2e/month");
    assert!(!estate.path(".domicile").exists(), "looking makes no catalogue");
    estate
        .run(&["plan", "-f", "manifests", "--pareto", "cost"])
        .exits(64);
}

#[test]
fn wide_plans_say_what_room_is_worth() {
    let estate = simple(&["one", "two"], 2);
    estate
        .run(&["plan", "-f", "manifests", "-o", "wide"])
        .exits(0)
        .says("more on any backend would save nothing");
    let status = estate.run(&["status", "-o", "json"]).exits(0).json();
    assert!(status["shadowPrices"].is_array(), "{status}");
}
