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

/// A link from the ends on one side to those on the other.
fn link(name: &str, from: &str, to: &str, says: &str) -> String {
    format!(
        "apiVersion: domicile.dev/v1alpha1\nkind: Link\nmetadata: {{name: {name}}}\nspec: {{from: {{{from}}}, to: {{{to}}}, {says}}}\n---\n"
    )
}

/// A copy of a plan.
struct Crossing {
    id: String,
    from: String,
    via: Vec<String>,
    to: String,
    after: Vec<String>,
}

fn steps(plan: &Value) -> Vec<Crossing> {
    let texts = |value: &Value| -> Vec<String> {
        let items = value.as_array().expect("a list");
        items.iter().map(|item| text(item).to_owned()).collect()
    };
    let moves = plan["moves"].as_array().expect("moves");
    let copies = moves.iter().filter(|step| step["action"] == "Copy");
    copies
        .map(|step| Crossing {
            id: text(&step["id"]).to_owned(),
            from: text(&step["from"]).to_owned(),
            via: texts(&step["via"]),
            to: text(&step["to"]).to_owned(),
            after: texts(&step["after"]),
        })
        .collect()
}

/// What every recorded move came to, by its id: its state.
fn states(estate: &Estate) -> std::collections::BTreeMap<String, String> {
    let listed = estate.run(&["get", "moves", "-o", "json"]).exits(0).json();
    let items = listed.as_array().or_else(|| listed["items"].as_array());
    let items = items.unwrap_or_else(|| panic!("no list of moves: {listed}"));
    items
        .iter()
        .map(|item| (text(&item["id"]).to_owned(), text(&item["state"]).to_owned()))
        .collect()
}

/// As [`abroad`], but all that is dear about the way out of home is what a manifest says of it.
#[test]
fn the_dear_way_of_a_link_is_crossed_once() {
    let estate = Estate::new();
    seed(&estate, "d");
    let price = manifest::price("0.02");
    let mut text = manifest::domain("home", "DE")
        + &manifest::domain("cloud", "FR")
        + &manifest::folder("origin", "home", "DE", &["accessMode: ReadOnly", &price]);
    for name in ["b1", "b2", "b3"] {
        text += &manifest::folder(name, "cloud", "FR", &[&price]);
    }
    text += &manifest::dataset("d", "home", "origin", &["keepOrigin: true"]);
    text += &manifest::copies(4);
    // Without the links every way costs nothing, and each copy is read where the dataset lies.
    estate.manifests(&text);
    let plain = estate.plan().exits(0).json();
    assert!(steps(&plain).iter().all(|step| step.from == "origin"), "{plain}");
    assert_eq!(plain["objective"]["savedByRoutes"], 0.0);

    text += &link("out", "domain: home", "domain: cloud", "pricePerGiB: \"0.09\"");
    text += &link(
        "within",
        "domain: cloud",
        "domain: cloud",
        "pricePerGiB: \"0.01\"",
    );
    estate.manifests(&text);
    let plan = estate.run(&["plan", "-f", "manifests", "--out", "plan.json", "-o", "json"]);
    let plan = plan.exits(0).json();
    let steps = steps(&plan);
    assert!(steps.iter().all(|step| step.via.is_empty()), "{plan}");
    let (first, others): (Vec<_>, Vec<_>) = steps.iter().partition(|step| step.from == "origin");
    assert_eq!((first.len(), others.len()), (1, 2), "{plan}");
    assert!(first[0].after.is_empty(), "{plan}");
    for step in others {
        assert_eq!(step.from, first[0].to, "{plan}");
        assert_eq!(step.after, [first[0].id.clone()], "{plan}");
    }
    let amount = |name: &str| plan["objective"][name].as_f64().expect("an amount");
    assert!(amount("savedByRoutes") > 0.0, "{plan}");
    let share = amount("routedOnce") / amount("transferOnce");
    assert!((share - 11.0 / 27.0).abs() < 1e-9, "{plan}");

    estate.run(&["apply", "plan.json", "--yes"]).exits(0);
    let states = states(&estate);
    for id in steps.iter().map(|step| &step.id) {
        assert_eq!(states.get(id).map(String::as_str), Some("Done"), "{states:?}");
    }
    for backend in ["b1", "b2", "b3"] {
        assert_copy(&estate, "d", backend);
    }
    let after = estate.plan().exits(0).json();
    assert_eq!(after["moves"].as_array().map(Vec::len), Some(0), "{after}");
}

/// No byte may go straight from home to the vault; a backend between them offers to relay.
#[test]
fn past_a_forbidden_link_a_relay_passes_a_copy_on_and_keeps_nothing() {
    let estate = Estate::new();
    seed(&estate, "d");
    let text = |relay: &str| {
        let dear = manifest::price("1");
        manifest::domain("home", "DE")
            + &manifest::domain("vaults", "DE")
            + &manifest::folder("origin", "home", "DE", &["accessMode: ReadOnly"])
            + &manifest::folder("between", "home", "DE", &[&dear, relay])
            + &manifest::folder("vault", "vaults", "DE", &[&manifest::price("0.01")])
            + &manifest::dataset("d", "home", "origin", &[])
            + &manifest::policy(
                "vaulted",
                &[
                    "require: [{name: there, copies: 1, where: [{key: store, operator: In, values: [vault]}]}]",
                ],
            )
            + &link("never", "backend: origin", "domain: vaults", "forbidden: true")
    };
    estate.manifests(&text("relay: false"));
    let refused = estate.plan().exits(3).json();
    let refusals = crate::entry(&refused, "d")["refusals"]
        .as_array()
        .expect("refusals");
    let by_link = refusals.iter().find(|refusal| refusal["rule"] == "link");
    let by_link = by_link.unwrap_or_else(|| panic!("no link refuses: {refused}"));
    assert_eq!(by_link["backends"], serde_json::json!(["vault"]));

    estate.manifests(&text("relay: true"));
    let plan = estate.plan().exits(0).json();
    let steps = steps(&plan);
    assert_eq!(steps.len(), 1, "{plan}");
    let step = &steps[0];
    assert_eq!((step.from.as_str(), step.to.as_str()), ("origin", "vault"));
    assert_eq!(step.via, ["between"]);
    estate
        .run(&["plan", "-f", "manifests"])
        .exits(0)
        .says("from origin by between");
    estate.apply().exits(0);
    assert_copy(&estate, "d", "vault");
    assert!(
        files(&estate.path("stores/between")).is_empty(),
        "the relay is left empty"
    );
    let after = estate.plan().exits(0).json();
    assert_eq!(after["moves"].as_array().map(Vec::len), Some(0), "{after}");
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
