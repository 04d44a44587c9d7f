//! What may be spent and moved, and what must pay back: restated, as everything of [`super::check`].

use crate::cost;
use crate::problem::{Problem, Subject, Terms};
use crate::solution::Solution;

use super::{DAYS_PER_MONTH, ROUNDING, Scene, Violated, WHOLE_DOUBLES, current, used_now};

/// Movement: all new copies of the datasets that a policy selects, together, within what it says.
pub(super) fn check_movement(problem: &Problem, solution: &Solution, violated: &mut Vec<Violated>) {
    let limited = |terms: &&Terms| terms.movement.bytes.is_some() || terms.movement.cost.is_some();
    if !problem.policies.iter().any(|terms| limited(&terms)) {
        return;
    }
    let mut moved = vec![(0u128, 0.0); problem.policies.len()];
    for (subject, set) in problem.datasets.iter().zip(&solution.sets) {
        let is_there = |backend: usize| {
            let mut held = subject.copies.iter();
            held.any(|held| held.backend == backend && (held.is_current() || held.origin))
        };
        for backend in set.iter().filter(|backend| !is_there(**backend)) {
            let Some(made) = cost::transfer(problem, subject, *backend) else {
                continue;
            };
            for policy in &subject.profile.policies {
                moved[*policy].0 += u128::from(made.bytes);
                moved[*policy].1 += made.money;
            }
        }
    }
    for (terms, (bytes, money)) in problem.policies.iter().zip(moved).filter(|(t, _)| t.enforced) {
        let limits = [
            (
                terms.movement.bytes.map(|most| most as f64),
                bytes as f64,
                "bytes",
            ),
            (terms.movement.cost, money, "money"),
        ];
        for (limit, moved, what) in limits {
            let Some(limit) = limit else { continue };
            // Whole bytes are counted exactly as far as doubles do.
            let exact = what == "bytes" && limit < WHOLE_DOUBLES;
            let slack = if exact { 0.0 } else { ROUNDING * limit.max(1e-6) };
            if moved > limit + slack {
                violated.push(Violated::OverMovement {
                    policy: terms.name.clone(),
                    what,
                    moved,
                    limit,
                });
            }
        }
    }
}

/// The satisfied datasets of which copies are made for a change that saves too little within the days that policies
/// state: apart from [`check`], since a plan holds to it and a placement alone need not.
#[must_use]
pub fn check_payback(problem: &Problem, solution: &Solution) -> Vec<Violated> {
    let mut violated = Vec::new();
    if !problem
        .policies
        .iter()
        .any(|terms| terms.movement.payback_days.is_some())
    {
        return violated;
    }
    let scene = Scene {
        problem,
        used: used_now(problem),
    };
    for (subject, set) in problem.datasets.iter().zip(&solution.sets) {
        let terms = subject
            .profile
            .policies
            .iter()
            .map(|policy| &problem.policies[*policy]);
        let days = terms
            .filter(|terms| terms.enforced)
            .filter_map(|terms| terms.movement.payback_days);
        let Some(days) = days.min() else { continue };
        let now = current(subject);
        let bound = !subject.profile.requirements.is_empty()
            && !now.is_empty()
            && scene.missing(subject, &now) == (0, 0, 0);
        if bound && !pays_back(problem, subject, set, days) {
            violated.push(Violated::NoPayback {
                dataset: subject.name.clone(),
                days,
            });
        }
    }
    violated
}

/// Whether going from what is there now to a set makes nothing, or saves in time what its copies cost.
fn pays_back(problem: &Problem, subject: &Subject, set: &[usize], days: u32) -> bool {
    let kept = |backends: &[usize]| -> f64 {
        let places = backends.iter().map(|backend| &problem.backends[*backend]);
        let cost = |place| {
            let kg = cost::carbon_kg_per_month(subject, place);
            cost::storage_per_month(subject, place) + kg * subject.profile.carbon_price_per_tonne / 1000.0
        };
        places.map(cost).sum()
    };
    let made: Vec<_> = set
        .iter()
        .filter_map(|backend| cost::copy_cost(problem, subject, *backend).transfer)
        .collect();
    if made.is_empty() {
        return true;
    }
    let money: f64 = made.iter().map(|made| made.money).sum();
    let (before, after) = (kept(&subject.now()), kept(set));
    let saved = (before - after) * f64::from(days) / DAYS_PER_MONTH;
    saved + ROUNDING * money.max(before) >= money
}

/// Budgets: within what is stated, or not above what is spent already.
pub(super) fn check_budgets(problem: &Problem, solution: &Solution, violated: &mut Vec<Violated>) {
    let limited = |terms: &Terms| {
        let stated = terms.cost_per_month.is_some() || terms.carbon_kg_per_month.is_some();
        terms.enforced && stated
    };
    let limited: Vec<bool> = problem.policies.iter().map(limited).collect();
    if !limited.contains(&true) {
        return;
    }
    let now: Vec<_> = problem.datasets.iter().map(Subject::now).collect();
    let (now, after) = (
        spent(problem, &limited, &now),
        spent(problem, &limited, &solution.sets),
    );
    for (policy, terms) in problem.policies.iter().enumerate().filter(|(p, _)| limited[*p]) {
        let budgets = [
            (terms.cost_per_month, now[policy].0, after[policy].0),
            (terms.carbon_kg_per_month, now[policy].1, after[policy].1),
        ];
        for (stated, now, spent) in budgets {
            let Some(stated) = stated else { continue };
            let limit = stated.max(now);
            if spent > limit + crate::ground::BUDGET_SLACK * limit.abs().max(1e-6) {
                violated.push(Violated::OverBudget {
                    policy: terms.name.clone(),
                    spent,
                    limit,
                });
            }
        }
    }
}

/// For each policy that is looked at, cost and carbon per month of the datasets that it selects.
fn spent(problem: &Problem, looked_at: &[bool], sets: &[Vec<usize>]) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0); looked_at.len()];
    for (subject, set) in problem.datasets.iter().zip(sets) {
        let policies = subject.profile.policies.iter();
        for policy in policies.copied().filter(|policy| looked_at[*policy]) {
            for place in set.iter().map(|backend| &problem.backends[*backend]) {
                let carbon_kg = cost::carbon_kg_per_month(subject, place);
                sums[policy].0 += cost::storage_per_month(subject, place)
                    + carbon_kg * subject.profile.carbon_price_per_tonne / 1000.0;
                sums[policy].1 += carbon_kg;
            }
        }
    }
    sums
}

/// Storage at list price, which is what rounding is measured by: tariffs may take nearly all of it back.
pub(super) fn list_of(objective: &cost::Objective) -> f64 {
    objective.storage - objective.tariffs
}

/// Storage of all sets per month, backend by backend: the base fee, and every billed byte above the included ones at the
/// price of the tier that it lies in.
pub(super) fn storage_charged(problem: &Problem, solution: &Solution) -> f64 {
    let mut billed = vec![0u128; problem.backends.len()];
    for (subject, set) in problem.datasets.iter().zip(&solution.sets) {
        for backend in set {
            let minimum = problem.backends[*backend].price.min_object_size;
            billed[*backend] += u128::from(subject.summary.billable(minimum).0);
        }
    }
    let charged = |(place, billed): (&crate::problem::Place, u128)| {
        let price = &place.price;
        if billed == 0 {
            return 0.0;
        }
        let mut sum = price.base_fee_per_month;
        let mut top = billed;
        // From the highest tier down: what of the bytes lies above its beginning has its price.
        let mut take = |from: u64, per_gib: f64| {
            let from = u128::from(from.max(price.included_storage.0));
            sum += top.saturating_sub(from) as f64 / domicile_estate::BYTES_PER_GIB * per_gib;
            top = top.min(from);
        };
        for tier in price.tiers.iter().rev() {
            take(tier.above.0, tier.storage_per_gib_month);
        }
        take(0, price.storage_per_gib_month);
        sum
    };
    problem.backends.iter().zip(billed).map(charged).sum()
}
