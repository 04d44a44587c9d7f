//! Links and list prices: read, recorded, shown, taken away.

use domicile_tests::{Estate, manifest};

use crate::seed;

const LINK: &str = "apiVersion: domicile.dev/v1alpha1
kind: Link
metadata: {name: to-one}
spec: {from: {domain: home}, to: {backend: one}, bidirectional: true, pricePerGiB: \"0.01\", bandwidthBitsPerSecond: 10G,
  latencyMilliseconds: 12}
---
";

fn estate(price: &str, more: &str) -> Estate {
    let estate = Estate::new();
    seed(&estate, "d");
    write(&estate, price, more);
    estate
}

fn write(estate: &Estate, price: &str, more: &str) {
    let text = manifest::domain("home", "DE")
        + &manifest::folder("origin", "home", "DE", &["accessMode: ReadOnly"])
        + &manifest::folder("one", "home", "DE", &[price, "relay: true"])
        + &manifest::dataset("d", "home", "origin", &[])
        + &manifest::copies(2)
        + more;
    estate.manifests(&text);
}

#[test]
fn a_link_is_recorded_shown_and_pruned() {
    let estate = estate(&manifest::price("0.01"), LINK);
    let before = estate.plan().exits(0).json();
    estate.apply().exits(0);
    let listed = estate.run(&["get", "links"]).exits(0);
    let listed = listed
        .says("to-one")
        .says("domain home")
        .says("<->")
        .says("backend one");
    listed.says("0.0100 EUR/GiB").says("10.00 Gbit/s").says("12 ms");
    estate.run(&["get", "backends"]).exits(0).says("relay");
    let shown = estate
        .run(&["get", "Link", "to-one", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(shown["kind"], "Link");
    assert_eq!(shown["spec"]["bandwidthBitsPerSecond"], "10G");
    estate
        .run(&["describe", "link", "to-one"])
        .exits(0)
        .says("latencyMilliseconds: 12");
    estate
        .run(&["describe", "link", "to-one2"])
        .exits(1)
        .says("did you mean `to-one`?");
    // What the catalogue keeps is read again by every later command, and can be handed back to it.
    let backend = estate
        .run(&["get", "backend", "one", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(backend["status"]["price"]["source"], "given");
    estate.write("shown/link.json", shown.to_string());
    estate.write("shown/backend.json", backend.to_string());
    estate.run(&["apply", "-f", "shown/link.json", "--yes"]).exits(0);
    estate
        .run(&["apply", "-f", "shown/backend.json", "--yes"])
        .exits(0);
    assert_eq!(
        estate
            .run(&["get", "backend", "one", "-o", "json"])
            .exits(0)
            .json(),
        backend
    );
    // A link is an input of the plan.
    write(
        &estate,
        &manifest::price("0.01"),
        &LINK.replace("\"0.01\"", "\"0.02\""),
    );
    let after = estate.plan().exits(0).json();
    assert_ne!(before["inputDigest"], after["inputDigest"]);
    write(&estate, &manifest::price("0.01"), "");
    estate.apply().exits(0);
    estate
        .run(&["get", "links", "-o", "name"])
        .exits(0)
        .says("to-one");
    estate
        .run(&["apply", "-f", "manifests", "--prune", "--yes"])
        .exits(0);
    let none = estate.run(&["get", "links"]).exits(0);
    none.never_says("to-one").says("no links are known");
}

#[test]
fn a_broken_link_is_shown_with_its_place_and_nothing_is_recorded() {
    let estate = estate(
        &manifest::price("0.01"),
        &LINK.replace("backend: one", "backend: on"),
    );
    let refused = estate.apply().exits(1);
    refused
        .says("there is no backend `on`")
        .says("did you mean `one`?")
        .says("estate.yaml");
    estate.run(&["get", "domains"]).exits(0).never_says("home");
}

#[test]
fn a_list_price_is_shown_with_its_date_and_what_is_stated_instead() {
    let estate = estate(
        "price: {from: hetzner-object/fsn1, egressPerGiB: \"0.5\", storagePerGiBMonth: \"0.004\"}",
        "",
    );
    estate.apply().exits(0);
    let wide = estate.run(&["get", "backends", "-o", "wide"]).exits(0);
    let wide = wide.says("hetzner-object/fsn1, 2025; given: egressPerGiB, storagePerGiBMonth");
    wide.says("0.00400 EUR/GiB/month, 931.3 GiB included, base fee 4.99 EUR/month");
    let described = estate
        .run(&["describe", "backend", "one", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(described["spec"]["price"]["from"], "hetzner-object/fsn1");
    let price = &described["status"]["price"];
    assert_eq!(price["seen"], "2025");
    assert_eq!(price["currency"], "EUR");
    assert_eq!(price["egressPerGiB"], 0.5);
    assert_eq!(price["includedStorage"], 1_000_000_000_000_u64);
    assert_eq!(price["minObjectSize"], 65_536);
    assert!(
        price["limits"]
            .as_str()
            .is_some_and(|limits| limits.contains("per account"))
    );
    let plan = estate.plan().exits(0).json();
    assert_eq!(plan["objective"]["currency"], "EUR");
    let wrong = self::estate("price: {from: hetzner-object/fsn2}", "");
    wrong.apply().exits(1).says("did you mean `hetzner-object/fsn1`?");
}
