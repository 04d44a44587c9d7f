//! How much one plan may move, and within which time a change must pay back.

use std::sync::Arc;

use domicile_estate::{ByteCount, CopyState, DatasetName, PolicyName};
use domicile_placement::{
    Held, Problem, RefusalKind, Solution, Violated, check, copy_cost, invariants, propose_with_solution,
    solve, solve_at_scale, spell_out,
};
use proptest::prelude::*;

use crate::formulas::{held, problem};
use crate::world::{Dice, GIB, world};

/// Two datasets of 10 GiB, each in want of a second copy.
fn two() -> Problem {
    let mut problem = problem();
    let mut other = problem.datasets[0].clone();
    other.name = DatasetName::new("trees").unwrap();
    problem.datasets.push(other);
    problem
}

fn satisfied(problem: &Problem, solution: &Solution) -> usize {
    let checked = check(problem, solution).unwrap_or_else(|violated| panic!("{violated:?}"));
    checked
        .missing
        .iter()
        .filter(|missing| **missing == (0, 0, 0))
        .count()
}

fn both(problem: &Problem) -> [Solution; 2] {
    [solve(problem, None), solve_at_scale(problem)]
}

#[test]
fn max_bytes_lets_as_many_copies_be_made_as_it_has_bytes_for() {
    let mut problem = two();
    for (gib, count) in [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2)] {
        problem.policies[0].movement.bytes = Some(ByteCount(gib * GIB).0);
        for solution in both(&problem) {
            assert_eq!(satisfied(&problem, &solution), count, "{gib} GiB");
        }
    }
}

#[test]
fn max_bytes_counts_what_is_missing_only() {
    let mut problem = two();
    problem.policies[0].movement.bytes = Some(11 * GIB);
    problem.datasets[1].copies.push(Held {
        missing_bytes: ByteCount(GIB),
        missing_objects: 1,
        ..held(1, false, CopyState::Damaged)
    });
    for solution in both(&problem) {
        assert_eq!(satisfied(&problem, &solution), 2);
    }
}

#[test]
fn max_cost_counts_money_without_carbon() {
    let mut problem = two();
    for subject in &mut problem.datasets {
        Arc::make_mut(&mut subject.profile).carbon_price_per_tonne = 1e6;
    }
    // 10 GiB * 0.12 each.
    for (most, count) in [(0.0, 0), (1.19, 0), (1.2, 1), (2.39, 1), (2.4, 2)] {
        problem.policies[0].movement.cost = Some(most);
        for solution in both(&problem) {
            assert_eq!(satisfied(&problem, &solution), count, "{most}");
        }
    }
}

#[test]
fn a_limit_of_movement_is_named_where_it_keeps_a_copy_from_being_made() {
    let mut problem = two();
    problem.policies[0].movement.bytes = Some(10 * GIB);
    let (solution, plan) = propose_with_solution(&problem);
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    let waits = plan
        .datasets
        .iter()
        .position(|dataset| !dataset.satisfied)
        .unwrap();
    let told = spell_out(&problem, &solution, &[waits]).remove(0);
    let refusal = told
        .refusals
        .iter()
        .find(|refusal| refusal.kind == RefusalKind::Budget)
        .unwrap();
    assert_eq!(
        refusal.message,
        format!(
            "policy `two`: one plan may move {} bytes of its datasets, and would move {}",
            10 * GIB,
            20 * GIB
        )
    );
    let changes: Vec<_> = told
        .relaxations
        .iter()
        .map(|relaxation| relaxation.change.as_str())
        .collect();
    let enough = format!("movement: {} bytes", 20 * GIB);
    assert!(changes.contains(&enough.as_str()), "{changes:?}");
}

#[test]
fn the_checker_finds_plans_that_move_too_much() {
    let mut problem = two();
    let free = solve(&problem, None);
    problem.policies[0].movement.bytes = Some(20 * GIB - 100);
    let is_found = |problem: &Problem| {
        let violated = check(problem, &free).unwrap_err();
        matches!(violated[..], [Violated::OverMovement { .. }])
    };
    assert!(is_found(&problem));
    problem.policies[0].movement.bytes = None;
    problem.policies[0].movement.cost = Some(2.3999);
    assert!(is_found(&problem));
    problem.policies[0].enforced = false;
    assert!(check(&problem, &free).is_ok());
}

/// A satisfied dataset, 2 per month dearer than need be: the better copy costs 1.2 once, 18.3 days of that.
fn dear() -> Problem {
    let mut problem = problem();
    let subject = &mut problem.datasets[0];
    subject.copies.push(held(3, false, CopyState::Verified));
    for place in &mut problem.backends {
        place.energy.grid_grams_per_kwh = 0.0;
    }
    problem
}

#[test]
fn a_satisfied_dataset_moves_only_if_that_pays_back_in_time() {
    let mut problem = dear();
    for (days, set) in [(None, [0, 1]), (Some(18), [0, 3]), (Some(19), [0, 1])] {
        problem.policies[0].movement.payback_days = days;
        let (solution, plan) = propose_with_solution(&problem);
        assert_eq!(solution.sets[0], set, "{days:?}");
        assert_eq!(plan.moves.is_empty(), set == [0, 3]);
        assert!(invariants::changes_pay_back(&problem, &solution));
    }
}

#[test]
fn the_strictest_enforced_days_hold_and_the_refusal_names_them() {
    let mut problem = dear();
    problem.policies[0].movement.payback_days = Some(90);
    let mut strict = problem.policies[0].clone();
    strict.name = PolicyName::new("zeal").unwrap();
    strict.movement.payback_days = Some(5);
    problem.policies.push(strict);
    Arc::make_mut(&mut problem.datasets[0].profile).policies.push(1);
    let (solution, plan) = propose_with_solution(&problem);
    assert!(plan.moves.is_empty());
    let told = spell_out(&problem, &solution, &[0]).remove(0);
    let refusal = told
        .refusals
        .iter()
        .find(|refusal| refusal.rule == "paybackDays")
        .unwrap();
    assert!(refusal.message.contains("within 5 days"), "{refusal:?}");
    assert_eq!(refusal.backends.len(), 1, "{refusal:?}");
    problem.policies[1].enforced = false;
    assert_eq!(propose_with_solution(&problem).0.sets[0], [0, 1]);
}

#[test]
fn payback_keeps_no_dataset_from_being_satisfied() {
    let mut problem = two();
    problem.policies[0].movement.payback_days = Some(1);
    let (_, plan) = propose_with_solution(&problem);
    assert!(plan.datasets.iter().all(|dataset| dataset.satisfied));
}

#[test]
fn the_payback_check_finds_what_the_solver_alone_does_not_look_at() {
    let mut problem = dear();
    problem.policies[0].movement.payback_days = Some(18);
    let free = solve(&problem, None);
    assert!(!invariants::changes_pay_back(&problem, &free));
}

/// For each policy, bytes and money that a solution moves.
fn moved(problem: &Problem, solution: &Solution) -> Vec<(u64, f64)> {
    let mut moved = vec![(0, 0.0); problem.policies.len()];
    for (subject, set) in problem.datasets.iter().zip(&solution.sets) {
        let costs = set.iter().map(|backend| copy_cost(problem, subject, *backend));
        for made in costs.filter_map(|cost| cost.transfer) {
            for policy in &subject.profile.policies {
                moved[*policy].0 += made.bytes;
                moved[*policy].1 += made.money;
            }
        }
    }
    moved
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_estates_keep_to_limits_and_lose_nothing_by_limits_that_they_keep(seed in any::<u64>()) {
        let mut problem = world(seed);
        let mut dice = Dice::new(seed);
        let free = solve(&problem, None);
        let moves = moved(&problem, &free);
        for (terms, (bytes, money)) in problem.policies.iter_mut().zip(&moves) {
            terms.movement.bytes = Some(*bytes);
            terms.movement.cost = Some(*money);
        }
        let loose = solve(&problem, None);
        prop_assert!(check(&problem, &loose).is_ok());
        let (a, b) = (free.objective.per_month, loose.objective.per_month);
        prop_assert!((a - b).abs() <= 1e-6 * a.abs(), "{a} became {b}");
        for (terms, (bytes, money)) in problem.policies.iter_mut().zip(&moves) {
            terms.movement.bytes = Some((*bytes as f64 * dice.share()) as u64);
            terms.movement.cost = Some(money * dice.share());
        }
        for solution in both(&problem) {
            prop_assert!(check(&problem, &solution).is_ok(), "{:?}", check(&problem, &solution));
        }
    }

    #[test]
    fn plans_of_random_estates_pay_back(seed in any::<u64>()) {
        let mut problem = world(seed);
        let mut dice = Dice::new(seed);
        for terms in &mut problem.policies {
            terms.movement.payback_days = Some(1 + dice.below(400) as u32);
        }
        let (solution, _) = propose_with_solution(&problem);
        prop_assert!(invariants::changes_pay_back(&problem, &solution));
    }
}
