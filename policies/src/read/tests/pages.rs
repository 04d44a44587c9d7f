//! What the pages for people say is what is read.

use std::fmt::Write as _;

use domicile_estate::{ByteCount, price_list};

use super::*;

const PRICES: &str = include_str!("../../../../docs/prices.md");
const PAGES: [&str; 4] = [
    PRICES,
    include_str!("../../../../docs/links.md"),
    include_str!("../../../../docs/durability.md"),
    include_str!("../../../../docs/objective.md"),
];

/// What the examples refer to.
const ESTATE: &str = "apiVersion: domicile.dev/v1alpha1
kind: Domain
metadata: {name: giessen}
spec: {jurisdiction: DE}
---
{kind: Domain, metadata: {name: lyon}, spec: {jurisdiction: FR}}
---
{kind: Backend, metadata: {name: giessen-archive}, spec: {domain: giessen, location: {country: DE}, store: {type: Memory},
  capacity: 1Ti}}
---
";

fn example(page: &str) -> Manifests {
    let (_, rest) = page.split_once("```yaml\n").expect("an example");
    let (yaml, _) = rest.split_once("```").expect("its end");
    read(&[source(&format!("{ESTATE}{yaml}"))]).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

#[test]
fn the_examples_are_read() {
    for page in PAGES {
        let manifests = example(page);
        assert!(manifests.documents.len() > 3, "an example adds documents");
    }
}

#[test]
fn the_example_of_a_price_costs_what_the_page_says() {
    let price = &example(PRICES).backends["negotiated"].price;
    let cost = price.storage_per_month(ByteCount(60 << 40));
    assert!((cost - 1374.08).abs() < 0.005, "{cost}");
    assert!(PRICES.contains("1374.08 USD per month"));
}

/// At most six significant digits, without zeros at the end.
fn short(value: f64) -> String {
    let digits = if value == 0.0 {
        0
    } else {
        5 - value.log10().floor() as i32
    };
    let text = format!("{value:.*}", usize::try_from(digits).unwrap_or(0));
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

#[test]
fn the_page_of_prices_has_every_list_price() {
    let mut table = String::from(
        "| from | currency | storage per GiB and month | included, base fee | egress per GiB: elsewhere, within the provider, \
         within the region | put, get per 1,000 | object at least | seen | not counted |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (name, listed) in price_list() {
        let price = &listed.price;
        let mut storage = short(price.storage_per_gib_month);
        for tier in &price.tiers {
            let _ = write!(
                storage,
                "; {} above {}",
                short(tier.storage_per_gib_month),
                tier.above
            );
        }
        let included = match (price.included_storage.0, price.base_fee_per_month) {
            (0, 0.0) => String::new(),
            (_, fee) => format!("{}, {}", price.included_storage, short(fee)),
        };
        let egress = [
            price.egress_per_gib,
            price.egress_within_provider_per_gib,
            price.egress_within_region_per_gib,
        ];
        let _ = writeln!(
            table,
            "| `{name}` | {} | {storage} | {included} | {} | {}, {} | {} | {} | {} |",
            price.currency.as_deref().unwrap_or_default(),
            egress.map(short).join(", "),
            short(price.put_per_1000),
            short(price.get_per_1000),
            price.min_object_size,
            listed.seen,
            listed.limits,
        );
    }
    assert!(PRICES.ends_with(&table), "the page must end with:\n{table}");
}
