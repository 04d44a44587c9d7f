//! From manifests to the problem: links, relays, durability, goals, movement and prices.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_estate::{ByteCount, Observed, PriceTier};
use domicile_placement::{Durability, Goal, GoalAim, Hop, Movement, Problem, input_digest, pose};
use domicile_policies::{Source, read};

/// Backends `a` and `b` in two zones of one region, `c` in another region, `d` in no known place; one dataset `x`.
const ESTATE: &str = r#"
apiVersion: domicile.dev/v1alpha1
kind: Domain
metadata: {name: home}
spec: {jurisdiction: DE}
---
{kind: Backend, metadata: {name: a}, spec: {domain: home, location: {country: DE, region: r, zone: z1, provider: p},
  store: {type: Memory}, capacity: 1Ti, relay: true, failure: {nines: "4"}}}
---
{kind: Backend, metadata: {name: b}, spec: {domain: home, location: {country: DE, region: r, zone: z2, provider: p},
  store: {type: Memory}, capacity: 1Ti, failure: {nines: "3.1239"}}}
---
{kind: Backend, metadata: {name: c}, spec: {domain: home, location: {country: FR, region: s, provider: p},
  store: {type: Memory}, capacity: 1Ti}}
---
{kind: Backend, metadata: {name: d}, spec: {domain: home, location: {country: FR},
  store: {type: Memory}, capacity: 1Ti, failure: {nines: "2"}}}
---
{kind: Dataset, metadata: {name: x}, spec: {domain: home}}
"#;

fn posed(more: &[&str]) -> Problem {
    let text = [&[ESTATE], more].concat().join("\n---\n");
    let source = Source {
        name: "estate.yaml".to_owned(),
        text,
        folder: "/".to_owned(),
        stored: false,
    };
    let manifests = read(&[source]).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let datasets = manifests.datasets.clone().into_iter();
    let datasets = datasets.map(|(name, dataset)| (name, Arc::new(dataset)));
    pose(&manifests, &datasets.collect(), &Observed::default())
}

fn policy(spec: &str) -> String {
    format!(
        "{{kind: ReplicationPolicy, metadata: {{name: p}}, spec: {{selector: {{matchAll: true}}, {spec}}}}}"
    )
}

#[test]
fn links_become_hops_of_the_pairs_that_they_speak_of() {
    assert_eq!(posed(&[]).links, BTreeMap::new());
    let problem = posed(&[
        "{kind: Link, metadata: {name: one}, spec: {from: {region: r}, to: {backend: c}, pricePerGiB: \"0.5\", \
         bandwidthBitsPerSecond: 10G, latencyMilliseconds: 7}}",
        "{kind: Link, metadata: {name: two}, spec: {from: {backend: a}, to: {backend: c}, forbidden: true}}",
    ]);
    let hop = |forbidden| Hop {
        forbidden,
        price_per_gib: Some(0.5),
        bandwidth_bits_per_second: Some(10_000_000_000),
        latency_ms: Some(7),
    };
    assert_eq!(
        problem.links,
        BTreeMap::from([((0, 2), hop(true)), ((1, 2), hop(false))])
    );
    assert_ne!(input_digest(&problem), input_digest(&posed(&[])));
}

#[test]
fn relays_are_those_that_offer_it() {
    let relays: Vec<bool> = posed(&[]).backends.iter().map(|place| place.relays).collect();
    assert_eq!(relays, [true, false, false, false]);
}

#[test]
fn nines_are_counted_by_failure_domain() {
    let text = policy(
        "require: [{name: eleven, nines: \"11.5\", where: [{key: backend, operator: NotIn, values: [d]}]}]",
    );
    let problem = posed(&[&text]);
    let requirement = &problem.requirements[0];
    assert_eq!(requirement.copies, 1);
    assert_eq!(requirement.accepts, [true, true, true, false]);
    let Some(Durability { milli_nines, of }) = &requirement.durability else {
        panic!("no durability in {requirement:?}");
    };
    assert_eq!(*milli_nines, 11_500);
    let nines: Vec<_> = of.iter().map(|own| own.map(|(_, nines)| nines)).collect();
    // What is below a thousandth is cut off; a backend that states nothing adds nothing.
    assert_eq!(nines, [Some(4000), Some(3123), None, Some(2000)]);
    let domains: Vec<_> = of.iter().flatten().map(|(domain, _)| domain).collect();
    assert!(domains[0] != domains[1] && domains[1] != domains[2] && domains[0] != domains[2]);
}

#[test]
fn backends_of_one_zone_fail_together() {
    let twin = "{kind: Backend, metadata: {name: e}, spec: {domain: home, location: {country: DE, region: r, zone: z1, \
                provider: p}, store: {type: Memory}, capacity: 1Ti, failure: {nines: \"5\"}}}";
    let problem = posed(&[twin, &policy("require: [{name: r, nines: \"8\"}]")]);
    let of = &problem.requirements[0].durability.as_ref().expect("nines").of;
    assert_eq!(of[0].expect("nines").0, of[4].expect("nines").0);
}

#[test]
fn copies_follow_from_spread_where_only_nines_are_asked_for() {
    let text = policy("require: [{name: r, nines: \"8\", spread: [{across: zone, groups: 2}]}]");
    assert_eq!(posed(&[&text]).requirements[0].copies, 2);
    let text = policy("require: [{name: r, nines: \"8\", copies: 3}]");
    assert_eq!(posed(&[&text]).requirements[0].copies, 3);
    let text = policy("require: [{name: r, copies: 3}]");
    assert_eq!(posed(&[&text]).requirements[0].durability, None);
}

#[test]
fn goals_after_the_first_become_those_of_the_profile() {
    let goals = |goals: &str| {
        posed(&[&policy(&format!("objective: {{{goals}}}"))]).datasets[0]
            .profile
            .goals
            .clone()
    };
    let goal = |aim, slack_millionths| Goal {
        aim,
        slack_millionths,
    };
    assert_eq!(goals("horizonMonths: 6"), []);
    assert_eq!(goals("goals: []"), []);
    assert_eq!(goals("goals: [{minimise: Cost}]"), []);
    assert_eq!(
        goals("goals: [{minimise: Cost}, {minimise: Carbon, slackPercent: \"2\"}]"),
        [goal(GoalAim::Carbon, 20_000)]
    );
    assert_eq!(
        goals("goals: [{minimise: Cost}, {minimise: Carbon, slackPercent: \"0.0001\"}, {minimise: Cost}]"),
        [goal(GoalAim::Carbon, 1), goal(GoalAim::Cost, 0)]
    );
}

#[test]
fn only_enforced_policies_limit_movement() {
    let limits = "movement: {maxBytes: 10Ti, maxCost: \"50\", paybackDays: 90}";
    let expected = Movement {
        bytes: Some(10 << 40),
        cost: Some(50.0),
        payback_days: Some(90),
    };
    assert_eq!(posed(&[&policy(limits)]).policies[0].movement, expected);
    let audit = policy(&format!("{limits}, enforcement: Audit"));
    assert_eq!(posed(&[&audit]).policies[0].movement, Movement::default());
}

#[test]
fn prices_travel_whole_and_their_source_changes_no_digest() {
    let backend = "{kind: Backend, metadata: {name: e}, spec: {domain: home, location: {country: DE}, store: {type: Memory}, \
                   capacity: 1Ti, price: {from: aws-s3/eu-central-1, includedStorage: 1Ti, baseFeePerMonth: \"4.99\"}}}";
    let mut problem = posed(&[backend]);
    let price = problem.backends[4].price.clone();
    let tier = |tib: u64, storage_per_gib_month| PriceTier {
        above: ByteCount(tib << 40),
        storage_per_gib_month,
    };
    assert_eq!(price.tiers, [tier(50, 0.0235), tier(500, 0.0225)]);
    assert_eq!(
        (price.included_storage, price.base_fee_per_month),
        (ByteCount(1 << 40), 4.99)
    );
    assert_eq!(problem.currency, "USD");
    let digest = input_digest(&problem);
    problem.backends[4].price.source = "elsewhere".to_owned();
    assert_eq!(input_digest(&problem), digest);
    for change in [
        |price: &mut domicile_estate::Price| price.tiers[1].above = ByteCount(1),
        |price: &mut domicile_estate::Price| price.tiers[1].storage_per_gib_month = 1.0,
        |price: &mut domicile_estate::Price| price.included_storage = ByteCount(1),
        |price: &mut domicile_estate::Price| price.base_fee_per_month = 1.0,
        |price: &mut domicile_estate::Price| price.tiers.truncate(1),
    ] {
        let mut changed = problem.clone();
        change(&mut changed.backends[4].price);
        assert_ne!(input_digest(&changed), digest);
    }
}
