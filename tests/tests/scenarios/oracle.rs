//! `plan -o json` against an exhaustive search that was written from DESIGN.md alone, on random small estates.

mod search;
mod world;

use domicile_tests::{Estate, Random, bytes};
use serde_json::Value;

use crate::entry;
use world::World;

/// Estates to try, unless `DOMICILE_ORACLE` says how many.
const ESTATES: u64 = 150;
/// Plans that may follow each other before nothing is left to gain.
const FURTHER_PLANS: usize = 6;

fn numbers(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

/// A random estate with its objects and manifests in place.
fn settle(world: &World) -> Estate {
    let estate = Estate::new();
    for (name, sizes) in world
        .datasets
        .iter()
        .map(|dataset| (&dataset.name, &dataset.sizes))
    {
        for (at, size) in sizes.iter().enumerate() {
            estate.write(
                &format!("stores/b0/{name}/{at}"),
                bytes(at as u64, *size as usize),
            );
        }
    }
    estate.manifests(&world.manifests());
    estate
}

fn plan_of(seed: u64, estate: &Estate) -> Value {
    let outcome = estate.plan();
    assert!([0, 3].contains(&outcome.code), "seed {seed}: {}", outcome.all());
    outcome.json()
}

#[test]
fn the_plan_costs_what_the_exhaustive_search_finds() {
    let first = numbers("DOMICILE_ORACLE_SEED", 1);
    for seed in first..first + numbers("DOMICILE_ORACLE", ESTATES) {
        let world = World::random(&mut Random::new(seed));
        compare(
            seed,
            &world,
            &search::best(&world),
            &plan_of(seed, &settle(&world)),
        );
    }
}

/// Cost per month of keeping what a plan leads to, its transfers left out.
fn kept(plan: &Value) -> f64 {
    let part = |name: &str| plan["objective"][name].as_f64().expect("an amount");
    part("storagePerMonth") + part("carbonPerMonth")
}

#[test]
fn every_further_plan_is_empty_or_strictly_better() {
    let first = numbers("DOMICILE_ORACLE_SEED", 1);
    for seed in first..first + numbers("DOMICILE_ORACLE", ESTATES) / 4 {
        let world = World::random(&mut Random::new(seed));
        let estate = settle(&world);
        let mut before = kept(&plan_of(seed, &estate));
        for round in 0..=FURTHER_PLANS {
            let outcome = estate.apply();
            assert!([0, 3].contains(&outcome.code), "seed {seed}: {}", outcome.all());
            let plan = plan_of(seed, &estate);
            let now = plan["objective"]["perMonth"].as_f64().expect("an amount");
            let told = || {
                format!(
                    "seed {seed}: {before} then {now}\n{plan:#}\n{}",
                    world.manifests()
                )
            };
            if plan["moves"] == serde_json::json!([]) {
                assert!((now - before).abs() <= 1e-9 * before, "{}", told());
                break;
            }
            assert!(now < before, "{}", told());
            assert!(round < FURTHER_PLANS, "no end of changes: {}", told());
            before = kept(&plan);
        }
    }
}

fn compare(seed: u64, world: &World, best: &search::Best, plan: &Value) {
    let told = |what: &str| {
        let best = &best.backends;
        format!(
            "seed {seed}: {what}\nbest {best:?}\nplan {plan:#}\n{}",
            world.manifests()
        )
    };
    let per_month = plan["objective"]["perMonth"].as_f64().expect("an objective");
    let close = (per_month - best.cost).abs() <= 1e-6 * best.cost.abs().max(1e-12);
    assert!(
        close,
        "{}",
        told(&format!("{per_month} per month against {}", best.cost))
    );
    let bound = plan["objective"]["lowerBound"].as_f64().expect("a bound");
    assert!(
        bound <= best.cost * (1.0 + 1e-9),
        "{}",
        told("the bound is above the optimum")
    );
    for (dataset, satisfied) in world.datasets.iter().zip(&best.satisfied) {
        let found = entry(plan, &dataset.name)["satisfied"].as_bool();
        assert_eq!(found, Some(*satisfied), "{}", told(&dataset.name));
    }
}
