//! Routes: read once behind a dear link, past forbidden links, through relays that every rule allows.

use std::sync::Arc;

use domicile_estate::{BackendName, ByteCount};
use domicile_placement::{
    Action, Bars, Hop, Move, Plan, Problem, Reason, RefusalKind, Refused, Stuck, check, copy_cost, explain,
    invariants, objective, propose, propose_with_solution, spell_out,
};
use proptest::prelude::*;

use crate::order::{SIZE, estate};
use crate::properties::assert_protected;
use crate::world::{Dice, GIB, world};

/// One dataset of a GiB on `b0`, kept there, with copies wanted on each of `to`; `b0` to `b<count - 1>`, then `x`.
fn fan(count: usize, to: &[usize]) -> Problem {
    let mut problem = estate(&vec![1 << 40; count], &[(Some(0), to[0])]);
    let subject = &mut problem.datasets[0];
    subject.summary = domicile_estate::DatasetSummary::of_sizes([ByteCount(GIB)].into_iter(), &[]);
    subject.keep_origin = true;
    Arc::make_mut(&mut subject.profile).requirements = to.to_vec();
    for place in &mut problem.backends {
        place.price.storage_per_gib_month = 1.0;
    }
    problem
}

fn priced(price: f64) -> Hop {
    Hop {
        price_per_gib: Some(price),
        ..Hop::default()
    }
}

const FORBIDDEN: Hop = Hop {
    forbidden: true,
    price_per_gib: None,
    bandwidth_bits_per_second: None,
    latency_ms: None,
};

/// The copies of a plan as `from>via>to`.
fn ways(plan: &Plan) -> Vec<String> {
    let way = |planned: &Move| match &planned.action {
        Action::Copy { from, to, via, .. } => {
            let places = std::iter::once(from).chain(via).chain([to]);
            Some(places.map(BackendName::as_str).collect::<Vec<_>>().join(">"))
        }
        Action::Retire { .. } => None,
    };
    plan.moves.iter().filter_map(way).collect()
}

fn assert_sound(problem: &Problem, plan: &Plan) {
    assert!(invariants::pl_3(problem, &plan.moves), "PL-3");
    assert!(invariants::mv_5(problem, &plan.moves), "MV-5");
    assert!(
        invariants::sources_exist(problem, &plan.moves),
        "a copy has nothing to read"
    );
    assert_protected(problem, plan);
}

/// The example of the issue: the origin lies behind a dear link, three copies are wanted abroad.
#[test]
fn a_dear_link_is_crossed_once() {
    let mut problem = fan(4, &[1, 2, 3]);
    for abroad in 1..4 {
        problem.links.insert((0, abroad), priced(0.09));
        for other in (1..4).filter(|other| *other != abroad) {
            problem.links.insert((abroad, other), priced(0.01));
        }
    }
    let (solution, plan) = propose_with_solution(&problem);
    let ways = ways(&plan);
    assert_eq!(ways.len(), 3);
    assert_eq!(
        ways.iter().filter(|way| way.starts_with("b0>")).count(),
        1,
        "{ways:?}"
    );
    assert!(
        (plan.objective.transfer_once - 0.27).abs() < 1e-12,
        "the objective is by the formulas"
    );
    assert!((plan.routed_once - 0.11).abs() < 1e-12);
    assert_sound(&problem, &plan);
    let first = &plan.moves[0];
    for other in &plan.moves[1..] {
        assert_eq!(other.after[..], [first.id]);
    }
    let json = serde_json::to_value(plan.to_wire(&problem, &solution, 1)).unwrap();
    assert!((json["objective"]["routedOnce"].as_f64().unwrap() - 0.11).abs() < 1e-12);
    assert!((json["objective"]["savedByRoutes"].as_f64().unwrap() - 0.16).abs() < 1e-12);
}

#[test]
fn a_thin_link_is_crossed_once_where_that_costs_no_more() {
    let mut problem = fan(4, &[1, 2, 3]);
    let plain = propose(&problem);
    assert_eq!(
        ways(&plain),
        ["b0>b1", "b0>b2", "b0>b3"],
        "what is equal is read where it is"
    );
    for abroad in 1..4 {
        let thin = Hop {
            bandwidth_bits_per_second: Some(10_000_000),
            ..Hop::default()
        };
        problem.links.insert((0, abroad), thin);
    }
    let plan = propose(&problem);
    assert_eq!(ways(&plan), ["b0>b1", "b1>b2", "b1>b3"]);
    assert_sound(&problem, &plan);
}

#[test]
fn a_link_names_its_price_instead_of_the_backend() {
    let mut problem = fan(2, &[1]);
    problem.backends[0].price.egress_per_gib = 0.5;
    let transfer = |problem: &Problem| {
        copy_cost(problem, &problem.datasets[0], 1)
            .transfer
            .unwrap()
            .money
    };
    assert!((transfer(&problem) - 0.5).abs() < 1e-12);
    problem.links.insert((0, 1), priced(0.02));
    assert!((transfer(&problem) - 0.02).abs() < 1e-12);
    // The other way is another way.
    problem.links = [((1, 0), priced(0.02))].into();
    assert!((transfer(&problem) - 0.5).abs() < 1e-12);
}

#[test]
fn past_a_forbidden_link_a_relay_is_taken_or_nothing_is_made() {
    let mut problem = fan(3, &[1]);
    problem.links.insert((0, 1), FORBIDDEN);
    problem.backends[0].price.egress_per_gib = 0.25;
    let (solution, plan) = propose_with_solution(&problem);
    assert!(!plan.datasets[0].satisfied && plan.moves.is_empty());
    let told = spell_out(&problem, &solution, &[0]).remove(0);
    let refusal = told
        .refusals
        .iter()
        .find(|refusal| refusal.rule == "link")
        .unwrap();
    assert_eq!(
        (refusal.kind, refusal.backends.len()),
        (RefusalKind::Confinement, 1)
    );
    let mut wrong = solution;
    wrong.sets[0] = vec![0, 1];
    wrong.objective = objective(&problem, &wrong.sets);
    wrong.lower_bound = 0.0;
    assert!(check(&problem, &wrong).is_err(), "no way leads there");
    let _ = explain(&problem, &wrong, 0);

    problem.backends[2].relays = true;
    let plan = propose(&problem);
    assert!(plan.datasets[0].satisfied);
    assert_eq!(ways(&plan), ["b0>b2>b1"]);
    assert!(
        (plan.objective.transfer_once - 0.25).abs() < 1e-12,
        "each hop at its price"
    );
    assert_sound(&problem, &plan);
    for (n, closed) in closed_relays(&problem).into_iter().enumerate() {
        let plan = propose(&closed);
        assert!(
            !plan.datasets[0].satisfied && plan.moves.is_empty(),
            "{n}: {:?}",
            ways(&plan)
        );
    }
}

/// The same estate with a relay that must not be used: refused by a rule, cordoned, unreachable, too small.
fn closed_relays(problem: &Problem) -> Vec<Problem> {
    let reason = |problem: &mut Problem, kind, bars| {
        problem.reasons.push(Reason {
            rule: "closed".to_owned(),
            kind,
            bars,
            message: "it is closed".to_owned(),
        });
        problem.reasons.len() - 1
    };
    let mut refused = problem.clone();
    let rule = reason(&mut refused, RefusalKind::Confinement, Bars::Every);
    Arc::make_mut(&mut refused.datasets[0].profile)
        .refused
        .push(Refused {
            backend: 2,
            reason: rule,
        });
    let mut cordoned = problem.clone();
    let rule = reason(&mut cordoned, RefusalKind::Cordoned, Bars::New);
    cordoned.backends[2].reasons = vec![rule];
    let mut gone = problem.clone();
    gone.backends[2].reachable = false;
    let mut small = problem.clone();
    small.backends[2].capacity = ByteCount(GIB - 1);
    let mut cut = problem.clone();
    cut.links.insert((2, 1), FORBIDDEN);
    vec![refused, cordoned, gone, small, cut]
}

#[test]
fn chains_of_relays_and_new_copies_go_where_no_direct_way_does() {
    let mut problem = fan(5, &[1, 2]);
    for to in [1, 2, 4] {
        problem.links.insert((0, to), FORBIDDEN);
    }
    problem.links.insert((3, 1), FORBIDDEN);
    problem.links.insert((3, 2), FORBIDDEN);
    problem.links.insert((4, 2), priced(5.0));
    problem.backends[3].relays = true;
    problem.backends[4].relays = true;
    let plan = propose(&problem);
    assert_eq!(ways(&plan), ["b0>b3>b4>b1", "b1>b2"]);
    assert_sound(&problem, &plan);
}

/// A relay with room for one at a time is used by one after the other.
#[test]
fn copies_take_turns_on_a_relay_with_little_room() {
    let mut problem = estate(&[5 * SIZE, 5 * SIZE, SIZE], &[(Some(0), 1); 4]);
    problem.links.insert((0, 1), FORBIDDEN);
    problem.backends[2].relays = true;
    let plan = propose(&problem);
    assert_eq!(ways(&plan), ["b0>b2>b1"; 4]);
    assert!(plan.moves[0].after.is_empty());
    for pair in plan.moves.windows(2) {
        assert_eq!(pair[1].after[..], [pair[0].id]);
    }
    assert!(invariants::pl_3(&problem, &plan.moves));
    // Without the waits all of them would lie there together.
    let mut hasty = plan.moves.clone();
    hasty.iter_mut().for_each(|copy| copy.after = Box::default());
    assert!(!invariants::pl_3(&problem, &hasty));
}

/// A relay that is filled by others keeps a dataset where it is, and the plan says so.
#[test]
fn a_dataset_behind_a_full_relay_stays_and_is_told_why() {
    let mut problem = estate(&[5 * SIZE, 5 * SIZE, SIZE], &[(Some(0), 1), (Some(2), 2)]);
    problem.links.insert((0, 1), FORBIDDEN);
    problem.backends[2].relays = true;
    let (solution, plan) = propose_with_solution(&problem);
    assert!(plan.moves.is_empty());
    let satisfied: Vec<_> = plan.datasets.iter().map(|dataset| dataset.satisfied).collect();
    assert_eq!(satisfied, [false, true]);
    assert_eq!(solution.stuck, [(0, Stuck::Relays(vec![1]))].into());
    let told = spell_out(&problem, &solution, &[0]).remove(0);
    let of = |text: &str| told.refusals.iter().any(|refusal| refusal.message.contains(text));
    assert!(of("copies to `b1` cannot all be made"), "{told:?}");
    assert!(of("1 behind relays without room"), "{told:?}");
    assert!(!of("circle"), "{told:?}");
    let more = format!("{SIZE} bytes more on b2");
    assert!(
        told.relaxations
            .iter()
            .any(|relaxation| relaxation.change == more),
        "{told:?}"
    );
    problem.backends[2].capacity = ByteCount(2 * SIZE);
    assert_eq!(ways(&propose(&problem)), ["b0>b2>b1"]);
}

/// A random estate with random links and relays.
fn linked(seed: u64) -> Problem {
    let mut problem = world(seed);
    connect(&mut problem, seed);
    problem
}

/// Adds random links and relays.
pub fn connect(problem: &mut Problem, seed: u64) {
    let mut dice = Dice::new(seed ^ 1);
    let count = problem.backends.len();
    let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
    for (from, to) in pairs.filter(|(from, to)| from != to) {
        if dice.one_in(3) {
            let hop = Hop {
                forbidden: dice.one_in(3),
                price_per_gib: (!dice.one_in(3)).then(|| dice.share()),
                bandwidth_bits_per_second: (!dice.one_in(3)).then(|| 1 + dice.below(1 << 30)),
                latency_ms: None,
            };
            problem.links.insert((from, to), hop);
        }
    }
    for place in &mut problem.backends {
        place.relays = dice.one_in(3);
    }
}

/// What the copies of a plan to the backends of its sets cost, with priced carbon, beside what the formula says.
fn assert_never_dearer(problem: &Problem, plan: &Plan) {
    for planned in &plan.moves {
        let Action::Copy {
            to, cost, carbon_kg, ..
        } = &planned.action
        else {
            continue;
        };
        let dataset = problem.dataset(planned.dataset.as_str()).unwrap();
        let subject = &problem.datasets[dataset];
        let stays = plan.datasets[dataset].backends.contains(to);
        // Where a circle is broken, a copy may go before it is read at the least price.
        let detour = plan.moves.iter().any(|other| {
            let leaves = matches!(other.action, Action::Retire { .. });
            other.dataset == planned.dataset && leaves && !other.after.contains(&planned.id)
        });
        if !stays || detour {
            continue;
        }
        let Some(formula) = copy_cost(problem, subject, problem.backend(to.as_str()).unwrap()).transfer
        else {
            panic!("a copy is made that the formula does not know");
        };
        // The relays that the formula counts on may have no room while the plan is carried out.
        let to = problem.backend(to.as_str()).unwrap();
        if problem
            .links
            .get(&(formula.from, to))
            .is_some_and(|hop| hop.forbidden)
        {
            continue;
        }
        let priced = cost + carbon_kg * subject.profile.carbon_price_per_tonne / 1000.0;
        assert!(
            priced <= formula.priced + 1e-6,
            "{priced} by route, {} by formula",
            formula.priced
        );
    }
}

fn cases() -> u32 {
    option_env!("DOMICILE_CASES")
        .and_then(|text| text.parse().ok())
        .unwrap_or(400)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn every_route_is_sound(seed in any::<u64>()) {
        let problem = linked(seed);
        let (solution, plan) = propose_with_solution(&problem);
        prop_assert_eq!(check(&problem, &solution).err(), None);
        prop_assert!(invariants::pl_1(&problem, &solution), "PL-1");
        assert_sound(&problem, &plan);
        assert_never_dearer(&problem, &plan);
    }
}
