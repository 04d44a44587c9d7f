//! The invariants of placement by name: one predicate each, for property tests, the simulator and production counters.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::{Violated, check};
use crate::cost;
use crate::ground::{self, Ground};
use crate::moves::{Action, Move};
use crate::plan::Plan;
use crate::problem::{Problem, Subject};
use crate::solution::Solution;

/// INVARIANT: PL-1. No copy is placed where a confinement, an admission rule or a cordon forbids it.
#[must_use]
pub fn pl_1(problem: &Problem, solution: &Solution) -> bool {
    let ground = Ground::of(problem);
    problem.datasets.iter().zip(&solution.sets).all(|(subject, set)| {
        let is_new = |backend: &&usize| copy_is_made(problem, subject, **backend);
        set.iter()
            .filter(is_new)
            .all(|backend| ground::causes(problem, &ground, subject, *backend).is_empty())
    })
}

fn copy_is_made(problem: &Problem, subject: &Subject, backend: usize) -> bool {
    cost::copy_cost(problem, subject, backend).transfer.is_some()
}

/// INVARIANT: PL-2. A dataset that the plan calls satisfied meets every requirement of every policy that selects it.
#[must_use]
pub fn pl_2(problem: &Problem, solution: &Solution, plan: &Plan) -> bool {
    let Ok(checked) = check(problem, solution) else {
        return false;
    };
    plan.datasets
        .iter()
        .zip(&checked.missing)
        .all(|(dataset, missing)| dataset.satisfied == (*missing == (0, 0, 0)))
}

/// INVARIANT: PL-3. No backend is above its capacity (or what it holds already) in the state that the moves lead to, nor
/// on the way, even if every copy runs as early and every retirement as late as its `after` allows.
#[must_use]
pub fn pl_3(problem: &Problem, moves: &[Move]) -> bool {
    let ground = Ground::of(problem);
    let mut used = ground.used.clone();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    loop {
        let ready: Vec<_> = moves
            .iter()
            .filter(|planned| !done.contains(planned.id.as_str()))
            .filter(|planned| planned.after.iter().all(|id| done.contains(id.as_str())))
            .collect();
        let is_copy = |planned: &&&Move| matches!(planned.action, Action::Copy { .. });
        let Some(next) = ready.iter().find(is_copy).or(ready.first()) else {
            break;
        };
        if !run(problem, next, &mut used) || used.iter().zip(&ground.room).any(|(used, room)| used > room) {
            return false;
        }
        done.insert(&next.id);
    }
    done.len() == moves.len()
}

/// Lets one move run. Whether it makes sense.
fn run(problem: &Problem, planned: &Move, used: &mut [u128]) -> bool {
    let Some(subject) = problem
        .dataset(planned.dataset.as_str())
        .map(|dataset| &problem.datasets[dataset])
    else {
        return false;
    };
    let bytes = u128::from(subject.summary.bytes.0);
    match &planned.action {
        Action::Copy { to, .. } => {
            let Some(to) = problem.backend(to.as_str()) else {
                return false;
            };
            used[to] += if subject.copy_on(to).is_some() { 0 } else { bytes };
        }
        Action::Retire { from } => {
            let Some(from) = problem.backend(from.as_str()) else {
                return false;
            };
            used[from] = used[from].saturating_sub(bytes);
        }
    }
    true
}

/// INVARIANT: PL-4. The lower bound is never above the objective of a checked plan.
#[must_use]
pub fn pl_4(problem: &Problem, solution: &Solution) -> bool {
    match check(problem, solution) {
        Ok(_) => true,
        Err(violated) => !violated
            .iter()
            .any(|violated| matches!(violated, Violated::BoundTooHigh { .. })),
    }
}

/// INVARIANT: PL-5. Where what is there now keeps every rule and meets as much, a plan that changes anything strictly
/// lowers the objective.
#[must_use]
pub fn pl_5(problem: &Problem, solution: &Solution) -> bool {
    let sets: Vec<_> = problem.datasets.iter().map(Subject::now).collect();
    let now = Solution {
        objective: cost::objective(problem, &sets),
        lower_bound: 0.0,
        shadow_prices: vec![0.0; problem.backends.len()],
        stuck: BTreeMap::new(),
        sets,
    };
    let (Ok(before), Ok(after)) = (check(problem, &now), check(problem, solution)) else {
        return true;
    };
    before.missing != after.missing
        || now.sets == solution.sets
        || leaves_what_is_forbidden(problem, &now, solution)
        || solution.objective.per_month < now.objective.per_month
}

/// Whether a solution leaves a place that is not admissible, where copies stay only for want of better.
fn leaves_what_is_forbidden(problem: &Problem, now: &Solution, solution: &Solution) -> bool {
    let ground = Ground::of(problem);
    let left = |((subject, before), after): ((&Subject, &Vec<usize>), &Vec<usize>)| {
        let gone = before.iter().filter(|backend| !after.contains(backend));
        gone.into_iter()
            .any(|backend| !ground::causes(problem, &ground, subject, *backend).is_empty())
    };
    problem
        .datasets
        .iter()
        .zip(&now.sets)
        .zip(&solution.sets)
        .any(left)
}
