//! From a problem to a solution.
//!
//! Each dataset alone is a small exact search ([`picker`]). Where the best sets of all datasets fit together, that is
//! the optimum. Otherwise the datasets share room and budgets, and the joint choice is made by [`joint`] in a small
//! estate, exactly where steps suffice, and by [`scale`] in any larger one.

mod branch;
mod branching;
mod choice;
mod cuts;
mod exact;
mod joint;
mod load;
mod master;
mod need;
mod pattern;
mod picker;
mod pricing;
mod rows;
mod scale;
mod search;
mod tiers;
mod tree;

use std::collections::BTreeMap;

use crate::cost;
use crate::ground::{self, Ground};
use crate::problem::Problem;
use crate::solution::{Solution, Stuck};

pub use scale::{Change, Revision, Standing};

use choice::Choice;
use joint::Joint;
use load::Limits;
use pattern::Pattern;
use picker::Prices;
use rows::RowPrices;
use search::{Assignment, Task};
use tiers::{Charges, large};

/// Datasets times backends up to which a problem is solved by the exact method.
const EXACT_PAIRS: usize = 4_000;
/// Datasets times backends up to which every plan is meant to be proven the best, and room is priced by solving again.
const REPRICED_PAIRS: usize = 200;

/// Solves a problem. `previous`, if it fits, is where the search begins; it changes the answer only where a search was
/// cut short.
#[must_use]
pub fn solve(problem: &Problem, previous: Option<&Solution>) -> Solution {
    solve_pinned(problem, previous, BTreeMap::new())
}

/// Solves a problem in which some datasets stay as they are, since their copies would wait for each other.
pub(crate) fn solve_pinned(
    problem: &Problem,
    previous: Option<&Solution>,
    stuck: BTreeMap<usize, Stuck>,
) -> Solution {
    let ground = Ground::of(problem);
    let pairs = problem.datasets.len().saturating_mul(problem.backends.len());
    if pairs > EXACT_PAIRS {
        return by_program(problem, &ground, stuck);
    }
    let sets = stays(problem, &ground, |_| true);
    solve_exactly(problem, &ground, previous, sets, stuck)
}

/// What one more GiB of each backend would save per month. Where a problem is small enough to be solved exactly, it is
/// solved again with that GiB; else it is what the program's prices say.
pub(crate) fn worth_of_room(problem: &Problem, solution: &Solution) -> Vec<f64> {
    let pairs = problem.datasets.len().saturating_mul(problem.backends.len());
    if pairs > REPRICED_PAIRS {
        return solution.shadow_prices.clone();
    }
    let missing = |problem: &Problem, solution: &Solution| {
        crate::check(problem, solution).map(|checked| checked.missing)
    };
    let before = missing(problem, solution);
    let worth = |backend: usize| {
        let mut more = problem.clone();
        let capacity = &mut more.backends[backend].capacity.0;
        *capacity = capacity.saturating_add(domicile_estate::BYTES_PER_GIB as u64);
        let again = solve_pinned(&more, Some(solution), solution.stuck.clone());
        if missing(&more, &again) == before {
            (solution.objective.per_month - again.objective.per_month).max(0.0)
        } else {
            // More would be satisfied, which no saving says.
            solution.shadow_prices[backend]
        }
    };
    // Where everything would fit at once, more room changes nothing.
    let room = Ground::of(problem).room;
    let all: u128 = problem
        .datasets
        .iter()
        .map(|subject| u128::from(subject.summary.bytes.0))
        .sum();
    let of = |backend: usize| if room[backend] < all { worth(backend) } else { 0.0 };
    (0..problem.backends.len()).map(of).collect()
}

/// Solves by the method for large estates, whatever the size: for tests, and to compare.
#[must_use]
pub fn solve_at_scale(problem: &Problem) -> Solution {
    by_program(problem, &Ground::of(problem), BTreeMap::new())
}

/// Solves by one program over all datasets.
fn by_program(problem: &Problem, ground: &Ground, stuck: BTreeMap<usize, Stuck>) -> Solution {
    let chooses = |dataset: usize| !stuck.contains_key(&dataset);
    let mut sets = Vec::new();
    let mut limits = |is_lot: &[bool]| {
        sets = stays(problem, ground, |dataset| !is_lot[dataset]);
        Limits::of(problem, ground, is_lot, &sets)
    };
    let mut is_chosen = Vec::new();
    let limits = |is_lot: &[bool]| {
        is_chosen = is_lot.to_vec();
        limits(is_lot)
    };
    let mut stock = scale::take_stock(problem, ground, chooses, limits);
    // No further dataset comes, and keys take room.
    stock.catalog.forget_rules();
    let large::Priced {
        placed,
        cost,
        bound,
        floor,
        tolls,
        shortages,
    } = match large::charges_of(problem, &stock, &is_chosen, &sets) {
        Some(charges) => large::choose(&mut stock, &charges),
        None => large::Priced::of(scale::choose(&mut stock), &stock),
    };
    // Each set gives its memory back as soon as it is spelled out: there may be millions.
    for (lot, members) in placed.sets.into_iter().enumerate() {
        sets[stock.lots[lot].dataset as usize] = stock.backends(lot, &members);
    }
    drop(stock);
    let objective = cost::objective(problem, &sets);
    let fixed = objective.per_month - cost;
    let tolls = tolls.room.iter();
    Solution {
        lower_bound: (bound + fixed).max(floor).min(objective.per_month),
        shadow_prices: tolls.map(|toll| toll * domicile_estate::BYTES_PER_GIB).collect(),
        shortages,
        objective,
        sets,
        stuck,
    }
}

/// What those datasets that are asked for keep if nothing is made; nothing for the others.
fn stays(problem: &Problem, ground: &Ground, asked: impl Fn(usize) -> bool) -> Vec<Vec<usize>> {
    let stay = |(dataset, subject)| {
        if asked(dataset) {
            ground::stay(problem, ground, subject)
        } else {
            Vec::new()
        }
    };
    problem.datasets.iter().enumerate().map(stay).collect()
}

/// Solves a small problem, exactly where steps suffice.
fn solve_exactly(
    problem: &Problem,
    ground: &Ground,
    previous: Option<&Solution>,
    mut sets: Vec<Vec<usize>>,
    stuck: BTreeMap<usize, Stuck>,
) -> Solution {
    let chooses = |dataset: &usize| !stuck.contains_key(dataset);
    let choices: Vec<_> = (0..problem.datasets.len())
        .filter(chooses)
        .filter_map(|dataset| Choice::of(problem, ground, dataset))
        .collect();
    let mut is_choice = vec![false; problem.datasets.len()];
    choices.iter().for_each(|choice| is_choice[choice.dataset] = true);
    let limits = Limits::of(problem, ground, &is_choice, &sets);
    let stays = choices
        .iter()
        .map(|choice| Pattern::of_stay(problem, ground, choice))
        .collect();
    let task = Task {
        choices,
        stays,
        limits,
    };
    let charges = Charges::of_choices(problem, &task.choices, &task.limits, &sets);
    let answer = match charges {
        Some(charges) => tiers::answer(problem, &task, &charges, previous),
        None => answer(&task, previous).into(),
    };
    for (choice, pattern) in task.choices.iter().zip(&answer.assignment.patterns) {
        sets[choice.dataset].clone_from(&pattern.set);
    }
    let objective = cost::objective(problem, &sets);
    let fixed = objective.per_month - answer.cost;
    Solution {
        lower_bound: (answer.bound + fixed).max(answer.floor).min(objective.per_month),
        shadow_prices: answer
            .room_prices
            .iter()
            .map(|price| price * domicile_estate::BYTES_PER_GIB)
            .collect(),
        shortages: Vec::new(),
        objective,
        sets,
        stuck,
    }
}

/// The choice of all datasets with its proof.
fn answer(task: &Task, previous: Option<&Solution>) -> Joint {
    let (best_alone, bound) = alone(task);
    let mut joint = if best_alone.load.is_within(&task.limits) {
        Joint {
            assignment: best_alone,
            bound,
            prices: RowPrices::zero(task, &rows::Levels::default()),
        }
    } else {
        joint::choose(task, start(task, previous))
    };
    joint.assignment.settle_down(task);
    joint
}

/// Where the joint choice begins: with what is there now or with what was planned before, improved dataset by dataset.
fn start(task: &Task, previous: Option<&Solution>) -> Assignment {
    let mut start = Assignment::stay(task);
    start.improve(task);
    let set = |choice: &Choice| previous.and_then(|previous| previous.sets.get(choice.dataset));
    let planned = task
        .choices
        .iter()
        .map(|choice| Pattern::of_set(choice, set(choice)?))
        .collect::<Option<Vec<_>>>();
    let Some(patterns) = planned else { return start };
    let mut planned = Assignment::of(task, patterns);
    if !planned.load.is_within(&task.limits) {
        return start;
    }
    planned.improve(task);
    if planned.compare(&start, task).is_lt() {
        planned
    } else {
        start
    }
}

/// The best set of a dataset as if it shared room and budgets with nobody.
pub(crate) fn best_alone(problem: &Problem, ground: &Ground, dataset: usize) -> Vec<usize> {
    best_alone_among(problem, ground, dataset, 0..problem.backends.len())
}

/// The same among some backends, in order; what is there now must be among them.
pub(crate) fn best_alone_among(
    problem: &Problem,
    ground: &Ground,
    dataset: usize,
    backends: impl Iterator<Item = usize>,
) -> Vec<usize> {
    let Some(choice) = Choice::among(problem, ground, dataset, backends) else {
        return ground::stay(problem, ground, &problem.datasets[dataset]);
    };
    let stay = Pattern::of_stay(problem, ground, &choice);
    best_pattern(&choice, &stay).0.set
}

/// Each dataset alone, and a bound on their cost.
fn alone(task: &Task) -> (Assignment, f64) {
    let best = task
        .choices
        .iter()
        .zip(&task.stays)
        .map(|(choice, stay)| best_pattern(choice, stay));
    let (patterns, bounds): (Vec<_>, Vec<f64>) = best.unzip();
    (Assignment::of(task, patterns), bounds.iter().sum())
}

/// The best pattern of a dataset alone, and a bound on the cost of any that satisfies as much.
fn best_pattern(choice: &Choice, stay: &Pattern) -> (Pattern, f64) {
    let least = choice.least_shortfall(|_| true);
    let costs = choice.candidates.iter().map(|candidate| candidate.cost);
    let prices = Prices::within(costs.collect(), least);
    let Some(pick) = picker::pick(choice.offer(), &prices) else {
        return (stay.clone(), 0.0);
    };
    let pattern = Pattern::of_members(choice, &pick.members);
    let better = search::compare(&pattern, stay).is_lt();
    (if better { pattern } else { stay.clone() }, pick.bound)
}
