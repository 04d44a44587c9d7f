//! The joint choice where backends have tariffs: tiers, included storage, base fees.
//!
//! ```text
//!  a toll on each billed byte ──▶ the linear choice, as without tariffs ──▶ sets ──▶ improved at what they truly cost
//!        ▲      │                                                                          │
//!        │      └─ its bound + the least of (tariff - toll x bytes) ─▶ bound               │
//!        └────────────── the toll that leads to what these sets bill ◀─────────────────────┘
//! ```
//!
//! Storage on a backend costs the list price for each byte plus a tariff, which is a function of all bytes billed there.
//! At any tolls, what the choices cost with the tolls, plus for each backend the least that its tariff less the toll can
//! be, is no more than what they truly cost: so any tolls prove a bound, and where the tariff is straight between two
//! amounts, the right toll is its slope. In a small estate [`tree`] then searches what that leaves open, and needs no
//! straightness; in a large one [`large`] divides what can be billed into parts.

mod ascent;
mod bills;
mod charges;
pub(super) mod large;
mod moving;
mod tree;

use crate::problem::Problem;
use crate::solution::Solution;

use super::exact;
use super::joint::{self, Joint};
use super::pattern::Pattern;
use super::pricing::Market;
use super::rows::{Aim, Levels, RowPrices};
use super::search::{Assignment, Task};

use ascent::{Height, climb};
use bills::{Billing, Bills};
pub(super) use charges::Charges;
use tree::{Offer, Row, Tree};

/// Linear choices that are made, each at other tolls.
const ROUNDS: usize = 4;
/// Patterns that the search looks at, for one choice and in all.
const PATTERNS_PER_CHOICE: usize = 20_000;
const PATTERNS: usize = 100_000;
/// Relative gap between placement and bound at which a placement is the best.
const DONE: f64 = 1e-9;

/// A choice with its proof.
pub(super) struct Priced {
    pub assignment: Assignment,
    /// No choice that satisfies as much costs less, all charges of backends with a tariff included.
    pub bound: f64,
    /// What it costs, in the same sense.
    pub cost: f64,
    /// Nothing costs less than nothing. Where tariffs take the list price back, rounding may leave less than that.
    pub floor: f64,
    pub room_prices: Vec<f64>,
}

impl From<Joint> for Priced {
    /// A choice without tariffs.
    fn from(joint: Joint) -> Self {
        Self {
            bound: joint.bound,
            floor: f64::NEG_INFINITY,
            cost: joint.assignment.cost(),
            assignment: joint.assignment,
            room_prices: joint.prices.room,
        }
    }
}

/// What one linear choice proves.
struct Proof {
    levels: (Vec<[u64; 3]>, usize),
    bound: f64,
    tolls: Vec<f64>,
    prices: RowPrices,
}

/// The choice of all datasets of a small estate, with its proof.
pub(super) fn answer(
    problem: &Problem,
    task: &Task,
    charges: &Charges,
    previous: Option<&Solution>,
) -> Priced {
    let billing = Billing::of(problem, task, charges);
    let stays = task.stays.iter().map(|stay| stay.set.clone());
    let Some(mut best) = Bills::of(&billing, stays) else {
        unreachable!("what stays is a pattern of its choice")
    };
    best.improve();
    let proofs = propose(&billing, previous, &mut best);
    let reached = best.assignment.levels(task);
    let levels = joint::reached(task, &mut best.assignment);
    let proof = proofs
        .into_iter()
        .filter(|proof| proof.levels == reached && proof.prices.levels.len() == levels.settled.len())
        .reduce(|best, next| if next.bound > best.bound { next } else { best });
    // A linear choice may prove more by its own search than its prices do; what is left open is told by prices.
    let proven = proof.as_ref().map_or(f64::NEG_INFINITY, |proof| proof.bound);
    let (tolls, prices) = proof.map_or_else(
        || (vec![0.0; charges.tariffs.len()], RowPrices::zero(task, &levels)),
        |proof| (proof.tolls, proof.prices),
    );
    let height = climb(&billing, &levels, Height::at(tolls, prices), best.ceiling());
    let mut bound = height.bound.max(proven);
    if best.cost() - bound > DONE * best.cost().abs() {
        bound = bound.max(search(&billing, &levels, &height, &mut best));
    }
    best.settle_down();
    let cost = best.cost();
    Priced {
        bound: bound.min(cost),
        floor: 0.0,
        cost,
        assignment: best.assignment,
        room_prices: height.prices.room,
    }
}

/// Makes linear choices at some tolls, and keeps the best placement that they lead to.
fn propose<'a>(billing: &'a Billing<'a>, previous: Option<&Solution>, best: &mut Bills<'a>) -> Vec<Proof> {
    let (task, charges) = (billing.task, billing.charges);
    let as_amounts = |billed: &[u128]| -> Vec<f64> { billed.iter().map(|bytes| *bytes as f64).collect() };
    let mut proofs: Vec<Proof> = Vec::new();
    let mut tolls = charges.tolls(&charges.ranges, &as_amounts(&best.billed));
    for round in 0..ROUNDS {
        let Joint {
            assignment,
            bound,
            prices,
        } = super::answer(&billing.tolled(&tolls), previous);
        let next = Bills::like(billing, &assignment).map(|mut found| {
            let amounts = as_amounts(&found.billed);
            found.improve();
            found.empty();
            best.offer(found);
            amounts
        });
        proofs.push(Proof {
            levels: assignment.levels(task),
            bound: bound + charges.least(&tolls, &charges.ranges),
            tolls,
            prices,
        });
        // The last tolls are what a byte really pays where the best placement bills anything.
        tolls = match next {
            Some(amounts) if round + 2 < ROUNDS => charges.tolls(&charges.ranges, &amounts),
            _ => charges.means(&best.billed),
        };
        if proofs.iter().any(|proof| proof.tolls == tolls) {
            tolls = charges.means(&best.billed);
            if proofs.iter().any(|proof| proof.tolls == tolls) {
                break;
            }
        }
    }
    best.empty();
    proofs
}

/// Searches what the bound leaves open: what it proves, and a better placement if there is one.
fn search<'a>(billing: &'a Billing<'a>, levels: &Levels, height: &Height, best: &mut Bills<'a>) -> f64 {
    let task = billing.task;
    let tolled = billing.tolled(&height.tolls);
    let market = Market {
        task: &tolled,
        levels,
        aim: Aim::Cost,
    };
    let Some(patterns) = within_gap(billing, &market, height, best.ceiling()) else {
        return height.bound;
    };
    if patterns.iter().any(Vec::is_empty) {
        return best.cost();
    }
    let chosen = |picked: &[usize]| -> Vec<Pattern> {
        let pairs = patterns.iter().zip(picked);
        pairs.map(|(patterns, place)| patterns[*place].clone()).collect()
    };
    let untolled = Market { task, ..market };
    let fits = |picked: &[usize]| exact::is_within(&untolled, chosen(picked));
    let found = tree::search(tree_of(billing, levels, height, &patterns, &fits), best.ceiling());
    let better = found.best.and_then(|picked| {
        let sets = chosen(&picked).into_iter().map(|pattern| pattern.set);
        Bills::of(billing, sets)
    });
    if let Some(mut better) = better {
        better.improve();
        best.offer(better);
    }
    if found.is_cut_short {
        found.bound.min(best.cost())
    } else {
        best.cost()
    }
}

/// For each choice, the patterns that may be part of a better placement, without tolls; `None` if there are too many.
fn within_gap(
    billing: &Billing<'_>,
    tolled: &Market<'_>,
    height: &Height,
    below: f64,
) -> Option<Vec<Vec<Pattern>>> {
    let task = billing.task;
    let gap = (below - height.bound).max(0.0) + 1e-9 * below.abs();
    let mut all = Vec::new();
    let mut total = 0;
    for (index, (choice, stay)) in task.choices.iter().zip(&task.stays).enumerate() {
        let best = tolled.best(index, &height.prices).bound;
        let patterns = tolled.all(index, &height.prices, best + gap, PATTERNS_PER_CHOICE)?;
        total += patterns.len();
        if total > PATTERNS {
            return None;
        }
        let own = |pattern: &Pattern| match pattern.fallback {
            true => Some(stay.clone()),
            false => Pattern::of_set(choice, &pattern.set),
        };
        all.push(patterns.iter().map(own).collect::<Option<_>>()?);
    }
    Some(all)
}

/// The patterns and rows as numbers: rooms, budgets, settled levels, what is billed.
fn tree_of<'t>(
    billing: &'t Billing<'_>,
    levels: &Levels,
    height: &Height,
    patterns: &[Vec<Pattern>],
    fits: &'t dyn Fn(&[usize]) -> bool,
) -> Tree<'t> {
    let (task, charges) = (billing.task, billing.charges);
    let limits: Vec<f64> = levels.limits(task).collect();
    let priced: Vec<usize> = charges.backends().map(|(backend, _)| backend).collect();
    let offer = |index: usize, pattern: &Pattern| {
        let row =
            |backend: usize| limits.len() + priced.iter().position(|other| *other == backend).unwrap_or(0);
        let billed = billing.of_set(index, &pattern.set);
        let billed = billed.map(|(backend, bytes)| (row(backend), bytes as f64));
        let uses = levels.uses(task, index, pattern).chain(billed);
        Offer {
            cost: pattern.cost,
            uses: uses.filter(|(_, uses)| *uses > 0.0).collect(),
        }
    };
    let offers = patterns.iter().enumerate();
    let offers = offers.map(|(index, of)| of.iter().map(|pattern| offer(index, pattern)).collect());
    let billed = charges
        .backends()
        .map(|(backend, tariff)| Row::Billed(tariff, charges.fixed[backend] as f64));
    let tolls = priced.iter().map(|backend| height.tolls[*backend]);
    let offers = offers.collect();
    let rows = limits.into_iter().map(Row::Limit).chain(billed);
    Tree {
        offers,
        weights: task.choices.iter().map(|choice| choice.bytes as f64).collect(),
        prices: height.prices.all().chain(tolls).collect(),
        rows: rows.collect(),
        fits,
    }
}
