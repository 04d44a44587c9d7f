//! Where copies are read, and how full backends change places.

use domicile_tests::{Estate, files, manifest};
use serde_json::Value;

use crate::{assert_copy, placed, seed};

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn copies(plan: &Value) -> Vec<(String, String)> {
    let moves = plan["moves"].as_array().expect("moves");
    let copies = moves.iter().filter(|step| step["action"] == "Copy");
    copies
        .map(|step| (text(&step["from"]).to_owned(), text(&step["to"]).to_owned()))
        .collect()
}

/// The origin at home pays dearly for what leaves it; abroad, one provider's regions are cheap to each other.
fn abroad() -> Estate {
    let estate = Estate::new();
    seed(&estate, "d");
    let dear = "price: {currency: EUR, storagePerGiBMonth: \"0.03\", egressPerGiB: \"0.09\"}";
    let cheap = "price: {currency: EUR, storagePerGiBMonth: \"0.02\", egressPerGiB: \"0.09\", \
                 egressWithinProviderPerGiB: \"0.01\"}";
    let mut text = manifest::domain("home", "DE")
        + &manifest::domain("cloud", "DE")
        + &manifest::folder("origin", "home", "DE", &["accessMode: ReadOnly", dear]);
    for name in ["b1", "b2", "b3"] {
        text += &manifest::folder(name, "cloud", "DE", &[cheap]);
    }
    text += &manifest::dataset("d", "home", "origin", &["keepOrigin: true"]);
    estate.manifests(&(text + &manifest::copies(4)));
    estate
}

#[test]
fn a_dear_link_is_crossed_once_and_the_plan_says_what_that_saves() {
    let estate = abroad();
    let plan = estate.plan().exits(0).json();
    assert_eq!(placed(&plan, "d"), ["b1", "b2", "b3", "origin"]);
    let copies = copies(&plan);
    let crossings = copies.iter().filter(|(from, _)| from == "origin").count();
    assert_eq!((copies.len(), crossings), (3, 1), "{plan}");
    let amount = |name: &str| plan["objective"][name].as_f64().expect("an amount");
    let share = amount("routedOnce") / amount("transferOnce");
    assert!((share - 11.0 / 27.0).abs() < 1e-9, "{plan}");
    assert!((amount("savedByRoutes") - amount("transferOnce") + amount("routedOnce")).abs() < 1e-15);
    estate
        .run(&["plan", "-f", "manifests"])
        .exits(0)
        .says("saved by routes")
        .says("once that copy is verified");
    estate.apply().exits(0);
    for backend in ["b1", "b2", "b3"] {
        assert_copy(&estate, "d", backend);
    }
    assert!(
        estate.plan().exits(0).json()["moves"]
            .as_array()
            .expect("moves")
            .is_empty()
    );
}

/// What was to be read from a new copy is read where it is, if that copy fails.
#[test]
fn the_other_copies_are_made_where_the_first_one_fails() {
    let estate = abroad();
    // A file stands where the first copy's folder is to be.
    estate.write("stores/b1/d", b"in the way");
    estate.apply().exits(5);
    assert_copy(&estate, "d", "b2");
    assert_copy(&estate, "d", "b3");
}

/// Two full backends hold each other's dataset.
#[test]
fn full_backends_change_places_through_a_third() {
    let estate = Estate::new();
    for dataset in ["d", "e"] {
        seed(&estate, dataset);
    }
    let bytes: u64 = files(&estate.path("stores/origin/d"))
        .values()
        .map(|bytes| bytes.len() as u64)
        .sum();
    let capacity = format!("capacity: \"{bytes}\"");
    let sized = |name: &str| manifest::folder(name, "home", "DE", &[&capacity, &manifest::price("0.01")]);
    let text = manifest::home(&[])
        + &["b1", "b2", "b3"].map(sized).concat()
        + &manifest::dataset("d", "home", "origin", &[])
        + &manifest::dataset("e", "home", "origin", &[]);
    let at = |dataset: &str, backend: &str| {
        let selector = format!("selector: {{matchLabels: {{set: {dataset}}}}}");
        let require = format!(
            "require: [{{name: there, copies: 1, where: [{{key: store, operator: In, values: [{backend}]}}]}}]"
        );
        manifest::policy(&format!("place-{dataset}"), &[&selector, &require])
    };
    estate.manifests(&(text.clone() + &at("d", "b1") + &at("e", "b2")));
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
    estate.manifests(&(text + &at("d", "b2") + &at("e", "b1")));
    let plan = estate.plan().exits(0).json();
    assert!(plan["moves"].as_array().expect("moves").len() >= 4, "{plan}");
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b2");
    assert_copy(&estate, "e", "b1");
    assert!(files(&estate.path("stores/b3")).is_empty());
    assert!(
        estate.plan().exits(0).json()["moves"]
            .as_array()
            .expect("moves")
            .is_empty()
    );
}
