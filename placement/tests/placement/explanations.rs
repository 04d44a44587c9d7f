//! What explanations say, against plain enumeration.

use std::sync::Arc;

use domicile_placement::{Explanation, Problem, check, explain, pareto, place, spell_out};
use proptest::prelude::*;

use crate::oracle;
use crate::world::{durable, world};

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// What a set costs with the room that it takes.
fn price(explanation: &Explanation, set: &[usize]) -> f64 {
    set.iter()
        .map(|backend| &explanation.candidates[*backend])
        .map(|candidate| candidate.cost.per_month() + candidate.room_worth)
        .sum()
}

/// The price of the best set that leaves out a copy of the plan's and meets as much of every requirement.
fn second_best(
    problem: &Problem,
    explanation: &Explanation,
    dataset: usize,
    planned: &[usize],
) -> Option<f64> {
    let subject = &problem.datasets[dataset];
    let origin = subject.kept_origin();
    let may_hold = |backend: usize| {
        let by_rule = problem.reasons_against(subject, backend).any(|reason| {
            problem.reasons[reason].bars == domicile_placement::Bars::Every || !subject.is_current_on(backend)
        });
        let damaged = subject
            .copy_on(backend)
            .is_some_and(|held| held.origin && !held.is_current());
        let used: u64 = problem
            .datasets
            .iter()
            .filter(|other| other.copy_on(backend).is_some())
            .map(|other| other.summary.bytes.0)
            .sum();
        let capacity = problem.backends[backend].capacity.0;
        let new = subject.copy_on(backend).is_none();
        let no_room = new && (used > capacity || subject.summary.bytes.0 > capacity.max(used));
        !by_rule && !damaged && !no_room
    };
    let met = oracle::met(problem, subject, planned);
    let mut best: Option<f64> = None;
    for bits in 0..1u32 << problem.backends.len() {
        let set: Vec<usize> = (0..problem.backends.len())
            .filter(|b| bits >> b & 1 == 1)
            .collect();
        let keeps_origin = origin.is_none_or(|origin| set.contains(&origin));
        let allowed = set.iter().all(|b| origin == Some(*b) || may_hold(*b));
        let is_whole = set
            .iter()
            .any(|b| origin != Some(*b) || subject.is_current_on(*b));
        let differs = planned.iter().any(|b| !set.contains(b));
        if !keeps_origin || !allowed || !is_whole || !differs {
            continue;
        }
        let as_much = oracle::met(problem, subject, &set)
            .iter()
            .zip(&met)
            .all(|(a, b)| a >= b);
        let price = price(explanation, &set);
        if as_much && best.is_none_or(|best| price < best) {
            best = Some(price);
        }
    }
    best
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_runner_up_is_the_best_set_but_one(seed in any::<u64>(), nines in any::<bool>()) {
        let problem = if nines { durable(seed) } else { world(seed) };
        let solution = place(&problem, None);
        for dataset in 0..problem.datasets.len() {
            let explanation = explain(&problem, &solution, dataset);
            let planned = &solution.sets[dataset];
            let Some(runner_up) = &explanation.runner_up else { continue };
            prop_assert!(runner_up.exact);
            let best = second_best(&problem, &explanation, dataset, planned).expect("there is one");
            let more = runner_up.cost_more + runner_up.room_worth_more;
            let stated = price(&explanation, planned) + more;
            prop_assert!((stated - best).abs() <= 1e-9 * best.abs().max(1e-9), "{stated} is said, {best} is best");
        }
    }

    #[test]
    fn a_satisfied_dataset_with_another_way_has_a_runner_up(seed in any::<u64>(), nines in any::<bool>()) {
        let problem = if nines { durable(seed) } else { world(seed) };
        let solution = place(&problem, None);
        for (dataset, subject) in problem.datasets.iter().enumerate() {
            let explanation = explain(&problem, &solution, dataset);
            let planned = &solution.sets[dataset];
            if explanation.satisfied && subject.is_reached() && explanation.runner_up.is_none() {
                prop_assert_eq!(second_best(&problem, &explanation, dataset, planned), None);
            }
        }
    }

    #[test]
    fn every_backend_is_counted_once(seed in any::<u64>()) {
        let problem = world(seed);
        let solution = place(&problem, None);
        let all: Vec<usize> = (0..problem.datasets.len()).collect();
        for (dataset, told) in spell_out(&problem, &solution, &all).iter().enumerate() {
            let tally = explain(&problem, &solution, dataset).tally;
            let counted: usize = tally.reasons.iter().map(|(_, count)| count).sum();
            prop_assert_eq!(tally.fit + counted, problem.backends.len());
            prop_assert!(tally.reasons.iter().map(|(_, count)| count).rev().is_sorted());
            let short = told.refusals.iter().filter(|refusal| refusal.backends.is_empty());
            for refusal in short {
                prop_assert!(refusal.message.contains(" backends fit"), "{}", refusal.message);
            }
        }
    }

    #[test]
    fn the_frontier_has_the_best_plan_at_every_price_of_carbon(seed in any::<u64>()) {
        // With one source for each dataset, dearer carbon does not change where a copy is read.
        let mut problem = world(seed);
        problem.datasets.iter_mut().for_each(|subject| subject.copies.retain(|held| held.origin));
        let frontier = pareto(&problem, place(&problem, None), 200);
        for point in &frontier.points {
            prop_assert!(check(&problem, &point.solution).is_ok());
        }
        for pair in frontier.points.windows(2) {
            prop_assert!(pair[0].cost() < pair[1].cost() && pair[0].carbon_kg > pair[1].carbon_kg);
        }
        // Budgets of money may hide plans from the sweep, and the oracle knows no circles.
        let budgets = problem.policies.iter().any(|terms| terms.cost_per_month.is_some());
        let circles = frontier.points.iter().any(|point| !point.solution.stuck.is_empty());
        let first = &frontier.points[0];
        if budgets || circles || !frontier.complete || first.carbon_kg <= 0.0 {
            return Ok(());
        }
        for share in [0.0, 1e-3, 0.1, 0.5, 1.0, 3.0, 50.0] {
            let price = share * first.cost() / first.carbon_kg;
            let best = oracle::best(&dearer(&problem, price)).per_month;
            let found = frontier.points.iter().map(|p| p.cost() + price * p.carbon_kg).fold(f64::INFINITY, f64::min);
            prop_assert!((found - best).abs() <= 1e-5 * best.abs(), "at {price}: {found} is found, {best} is best");
        }
    }
}

/// The problem with a kg at so much more.
fn dearer(problem: &Problem, per_kg: f64) -> Problem {
    let mut dearer = problem.clone();
    for subject in &mut dearer.datasets {
        Arc::make_mut(&mut subject.profile).carbon_price_per_tonne += per_kg * 1000.0;
    }
    dearer
}
