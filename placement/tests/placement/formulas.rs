//! The formulas and small decisions, with numbers worked out by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_estate::{
    BackendName, ByteCount, CopyState, DatasetName, DatasetSummary, Energy, PolicyName, Price,
};
use domicile_placement::{
    Action, Bars, Held, Movement, Place, Problem, Profile, Reason, RefusalKind, Refused, Requirement,
    Solution, Spelled, Spread, Subject, Terms, carbon_kg_per_month, check, copy_cost, egress_per_gib,
    explain, input_digest, propose, propose_with_solution, spell_out, storage_per_month,
};

use crate::world::GIB;

pub(crate) fn place(name: &str, storage: f64) -> Place {
    Place {
        name: BackendName::new(name).unwrap(),
        provider: None,
        region: None,
        capacity: ByteCount(100 * GIB),
        price: Price {
            storage_per_gib_month: storage,
            egress_per_gib: 0.12,
            ..Price::default()
        },
        energy: Energy {
            grid_grams_per_kwh: 400.0,
            grid_source: "given".to_owned(),
            watt_hours_per_tb_hour: 0.65,
            pue: 1.2,
            physical_copies: 3.0,
        },
        reachable: true,
        relays: false,
        reasons: Vec::new(),
    }
}

pub(crate) fn held(backend: usize, origin: bool, state: CopyState) -> Held {
    Held {
        backend,
        origin,
        state,
        missing_bytes: ByteCount(0),
        missing_objects: 0,
    }
}

/// One dataset of ten objects of 1 GiB on the first of four backends; one requirement of two copies.
pub(crate) fn problem() -> Problem {
    let sizes = [ByteCount(GIB); 10];
    Problem {
        currency: "EUR".to_owned(),
        backends: ["a", "b", "c", "d"]
            .into_iter()
            .zip([0.5, 0.1, 0.2, 0.3])
            .map(|(n, p)| place(n, p))
            .collect(),
        policies: vec![Terms {
            name: PolicyName::new("two").unwrap(),
            enforced: true,
            cost_per_month: None,
            carbon_kg_per_month: None,
            movement: Movement::default(),
        }],
        reasons: vec![Reason {
            rule: "soil".to_owned(),
            kind: RefusalKind::Confinement,
            bars: Bars::Every,
            message: "policy `two`, rule `soil`: country In DE".to_owned(),
        }],
        requirements: vec![Requirement {
            policy: 0,
            name: "pair".to_owned(),
            copies: 2,
            place: String::new(),
            accepts: vec![true; 4],
            spread: Vec::new(),
            durability: None,
        }],
        links: BTreeMap::new(),
        datasets: vec![Subject {
            name: DatasetName::new("plants").unwrap(),
            summary: DatasetSummary::of_sizes(sizes.iter().copied(), &[ByteCount(2 * GIB)]),
            keep_origin: true,
            profile: Arc::new(Profile {
                policies: vec![0],
                requirements: vec![0],
                ..Profile::default()
            }),
            copies: vec![held(0, true, CopyState::Listed)],
        }],
    }
}

pub(crate) fn near(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-12 * b.abs(), "{a} is not {b}");
}

#[test]
fn storage_is_billed_at_the_minimum_object_size() {
    let mut problem = problem();
    near(storage_per_month(&problem.datasets[0], &problem.backends[1]), 1.0);
    problem.backends[1].price.min_object_size = ByteCount(2 * GIB);
    near(storage_per_month(&problem.datasets[0], &problem.backends[1]), 2.0);
}

#[test]
fn carbon_follows_the_formula() {
    let mut problem = problem();
    // 1 TB: 730.5 h * 0.65 Wh * 3 copies * 1.2 = 1709.37 Wh; at 400 g/kWh 0.683748 kg.
    problem.datasets[0].summary.bytes = ByteCount(1_000_000_000_000);
    near(
        carbon_kg_per_month(&problem.datasets[0], &problem.backends[0]),
        0.683_748,
    );
    Arc::make_mut(&mut problem.datasets[0].profile).carbon_price_per_tonne = 100.0;
    near(copy_cost(&problem, &problem.datasets[0], 0).carbon, 0.068_374_8);
}

#[test]
fn egress_is_cheaper_within_a_provider_and_a_region() {
    let mut a = place("a", 0.0);
    (
        a.price.egress_within_provider_per_gib,
        a.price.egress_within_region_per_gib,
    ) = (0.02, 0.01);
    let mut b = place("b", 0.0);
    near(egress_per_gib(&a, &b, None), 0.12);
    (a.region, b.region) = (Some("r".to_owned()), Some("r".to_owned()));
    near(egress_per_gib(&a, &b, None), 0.12);
    (a.provider, b.provider) = (Some("p".to_owned()), Some("p".to_owned()));
    near(egress_per_gib(&a, &b, None), 0.01);
    b.region = None;
    near(egress_per_gib(&a, &b, None), 0.02);
}

#[test]
fn a_new_copy_pays_for_egress_ingress_requests_and_carbon_over_the_horizon() {
    let mut problem = problem();
    problem.backends[0].price.get_per_1000 = 1.0;
    problem.backends[1].price.put_per_1000 = 4.0;
    problem.backends[1].price.ingress_per_gib = 0.08;
    problem.backends[1].energy.grid_grams_per_kwh = 200.0;
    Arc::make_mut(&mut problem.datasets[0].profile).carbon_price_per_tonne = 1000.0;
    let cost = copy_cost(&problem, &problem.datasets[0], 1);
    let transfer = cost.transfer.unwrap();
    // 10 GiB * (0.12 + 0.08) + 10 objects / 1000 * (1 + 4)
    near(transfer.money, 2.05);
    // 10.73741824 GB * 0.001 kWh * 300 g
    near(transfer.carbon_kg, 10.737_418_24 * 0.001 * 0.3);
    near(cost.transfer_per_month, (2.05 + transfer.carbon_kg) / 12.0);
    assert_eq!(copy_cost(&problem, &problem.datasets[0], 0).transfer, None);
}

#[test]
fn a_repair_moves_what_is_missing_only() {
    let mut problem = problem();
    problem.datasets[0].copies.push(Held {
        missing_bytes: ByteCount(GIB),
        missing_objects: 1,
        ..held(1, false, CopyState::Damaged)
    });
    let plan = propose(&problem);
    assert_eq!(plan.moves.len(), 1);
    assert_eq!((plan.moves[0].bytes, plan.moves[0].objects), (ByteCount(GIB), 1));
    near(plan.objective.transfer_once, 0.12);
}

#[test]
fn the_cheapest_admissible_backend_is_taken_and_the_forbidden_one_refused() {
    let mut problem = problem();
    Arc::make_mut(&mut problem.datasets[0].profile)
        .refused
        .push(Refused {
            backend: 1,
            reason: 0,
        });
    let (solution, plan) = propose_with_solution(&problem);
    let dataset = &plan.datasets[0];
    let refusals = spelled(&problem, &solution).refusals;
    let names: Vec<_> = dataset.backends.iter().map(BackendName::as_str).collect();
    assert_eq!(names, ["a", "c"]);
    assert!(dataset.satisfied);
    assert_eq!(refusals.len(), 1, "d is merely dearer: {refusals:?}");
    assert_eq!(
        (refusals[0].rule.as_str(), refusals[0].kind),
        ("soil", RefusalKind::Confinement)
    );
    near(plan.objective.per_month, 5.0 + 2.0 + 1.2 / 12.0);
    near(plan.lower_bound, plan.objective.per_month);
    assert!(matches!(&plan.moves[0].action, Action::Copy { to, .. } if to.as_str() == "c"));
}

/// What is said of the first dataset.
fn spelled(problem: &Problem, solution: &Solution) -> Spelled {
    spell_out(problem, solution, &[0]).remove(0)
}

#[test]
fn a_released_origin_is_retired_after_the_copies() {
    let mut problem = problem();
    problem.datasets[0].keep_origin = false;
    let plan = propose(&problem);
    let retire = plan.moves.last().unwrap();
    assert!(matches!(&retire.action, Action::Retire { from } if from.as_str() == "a"));
    let mut copies: Vec<_> = plan.moves[..2].iter().map(|planned| planned.id).collect();
    copies.sort();
    assert_eq!(retire.after[..], copies);
}

#[test]
fn an_unsatisfied_dataset_says_what_would_help() {
    let mut problem = problem();
    for backend in 1..4 {
        Arc::make_mut(&mut problem.datasets[0].profile)
            .refused
            .push(Refused { backend, reason: 0 });
    }
    let (solution, plan) = propose_with_solution(&problem);
    let dataset = &plan.datasets[0];
    assert!(!dataset.satisfied && plan.moves.is_empty());
    let told = spelled(&problem, &solution);
    let rules: Vec<_> = told
        .relaxations
        .iter()
        .map(|r| (r.rule.as_str(), r.change.as_str()))
        .collect();
    assert_eq!(rules, [("pair", "copies: 1"), ("soil", "drop it")]);
    let explanation = explain(&problem, &solution, 0);
    assert_eq!(
        explanation.requirements[0].missing.as_deref(),
        Some("1 of 2 copies")
    );
    assert_eq!(explanation.candidates[2].refusals.len(), 1);
}

#[test]
fn too_little_capacity_says_how_much_more_is_needed() {
    let mut problem = problem();
    for backend in 1..4 {
        problem.backends[backend].capacity = ByteCount((9 - backend as u64) * GIB);
    }
    let (solution, plan) = propose_with_solution(&problem);
    assert!(!plan.datasets[0].satisfied);
    let told = spelled(&problem, &solution);
    let capacity = told
        .relaxations
        .iter()
        .find(|relaxation| relaxation.rule == "capacity")
        .unwrap();
    assert_eq!(capacity.change, format!("{} bytes more on b", 2 * GIB));
    let refusal = told
        .refusals
        .iter()
        .find(|refusal| refusal.kind == RefusalKind::Capacity)
        .unwrap();
    assert_eq!(refusal.rule, "capacity");
}

#[test]
fn a_spread_takes_a_dearer_backend() {
    let mut problem = problem();
    let spread = Spread {
        across: "zone".to_owned(),
        groups: 2,
        group_of: vec![Some(0), Some(0), None, Some(1)],
    };
    problem.requirements[0].spread.push(spread);
    let names: Vec<_> = propose(&problem).datasets[0]
        .backends
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["a", "d"]);
}

#[test]
fn a_dataset_without_a_current_copy_stays_and_says_why() {
    let mut problem = problem();
    problem.datasets[0].copies = vec![
        held(0, true, CopyState::Unknown),
        held(1, false, CopyState::Unknown),
    ];
    let (solution, plan) = propose_with_solution(&problem);
    assert!(plan.moves.is_empty() && !plan.datasets[0].satisfied);
    assert_eq!(plan.datasets[0].backends.len(), 2);
    assert!(
        spelled(&problem, &solution)
            .refusals
            .iter()
            .any(|r| r.kind == RefusalKind::Unreachable && r.message.contains("scrub"))
    );
}

#[test]
fn a_damaged_origin_alone_does_not_stand_for_the_last_whole_copy() {
    let mut problem = problem();
    problem.datasets[0].copies = vec![
        held(0, true, CopyState::Damaged),
        held(1, false, CopyState::Verified),
    ];
    for backend in 1..4 {
        Arc::make_mut(&mut problem.datasets[0].profile)
            .refused
            .push(Refused { backend, reason: 0 });
    }
    let plan = propose(&problem);
    assert!(
        plan.moves.is_empty(),
        "the only whole copy must stay: {:?}",
        plan.moves
    );
}

#[test]
fn two_datasets_that_would_change_places_between_full_backends_stay() {
    let mut problem = problem();
    problem.backends.truncate(2);
    for place in &mut problem.backends {
        place.capacity = ByteCount(10 * GIB);
        place.price.storage_per_gib_month = 0.0;
        place.price.egress_per_gib = 0.0;
    }
    problem.requirements[0].copies = 1;
    problem.requirements[0].accepts = vec![false, true];
    problem.requirements.push(Requirement {
        accepts: vec![true, false],
        ..problem.requirements[0].clone()
    });
    problem.datasets[0].keep_origin = false;
    let mut other = problem.datasets[0].clone();
    other.name = DatasetName::new("stones").unwrap();
    other.copies = vec![held(1, true, CopyState::Listed)];
    Arc::make_mut(&mut other.profile).requirements = vec![1];
    problem.datasets.push(other);
    let (solution, plan) = propose_with_solution(&problem);
    assert!(plan.moves.is_empty());
    let told = spelled(&problem, &solution);
    let refusal = told
        .refusals
        .iter()
        .find(|r| r.kind == RefusalKind::Capacity)
        .unwrap();
    assert!(refusal.message.contains("`a`, `b`"), "{}", refusal.message);
}

#[test]
fn the_digest_follows_every_input() {
    let base = problem();
    let digest = input_digest(&base);
    assert!(digest.starts_with("sha256:") && digest.len() == 71);
    let changes: [fn(&mut Problem); 7] = [
        |p| p.backends[3].capacity = ByteCount(1),
        |p| p.backends[0].price.put_per_1000 = 1.0,
        |p| p.datasets[0].keep_origin = false,
        |p| p.datasets[0].copies[0].state = CopyState::Verified,
        |p| p.requirements[0].accepts[3] = false,
        |p| p.policies[0].cost_per_month = Some(1.0),
        |p| {
            Arc::make_mut(&mut p.datasets[0].profile).refused.push(Refused {
                backend: 2,
                reason: 0,
            })
        },
    ];
    for change in changes {
        let mut changed = base.clone();
        change(&mut changed);
        assert_ne!(input_digest(&changed), digest);
    }
    assert_eq!(input_digest(&base.clone()), digest);
}

#[test]
fn the_wire_has_the_shape_of_the_contract() {
    let mut problem = problem();
    problem.datasets[0].keep_origin = false;
    let (solution, plan) = propose_with_solution(&problem);
    let json = serde_json::to_value(plan.to_wire(&problem, &solution, 1)).unwrap();
    assert_eq!(
        (json["kind"].as_str(), json["name"].as_str()),
        (Some("Plan"), Some("plan-000001"))
    );
    assert!(json["shadowPrices"][0]["perGiBMonth"].is_number());
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let copy = [
        "action", "after", "bytes", "carbonKg", "cost", "dataset", "from", "id", "objects", "to", "via",
    ];
    let mut found = keys(&json["moves"][0]);
    found.sort();
    assert_eq!(found, copy);
    let retire = ["action", "after", "bytes", "dataset", "from", "id", "objects"];
    let mut found = keys(json["moves"].as_array().unwrap().last().unwrap());
    found.sort();
    assert_eq!(found, retire);
}

#[test]
fn an_overfull_backend_takes_nothing_and_is_reported() {
    let mut problem = problem();
    problem.backends[1].capacity = ByteCount(5 * GIB);
    let mut other = problem.datasets[0].clone();
    other.name = DatasetName::new("stones").unwrap();
    other.copies = vec![held(1, true, CopyState::Listed)];
    Arc::make_mut(&mut other.profile).requirements.clear();
    problem.datasets.push(other);
    let (solution, plan) = propose_with_solution(&problem);
    assert!(check(&problem, &solution).is_ok());
    assert_eq!(plan.warnings.len(), 1);
    assert_eq!(
        plan.warnings[0].backend.as_ref().map(BackendName::as_str),
        Some("b")
    );
    assert!(
        !plan.datasets[0]
            .backends
            .iter()
            .any(|backend| backend.as_str() == "b")
    );
}
