//! The exact joint choice: an exhaustive search of what the bound leaves open.
//!
//! At row prices every placement costs the bound, plus what its patterns cost above their dataset's best, plus the worth
//! of the room and money that it leaves unused. So a pattern whose excess alone spans the gap between the best placement
//! known and the bound is in no better placement; the others are searched by [`branch`].

use super::branch::{self, COUNT_ROUNDING};
use super::pattern::Pattern;
use super::pricing::Market;
use super::rows::RowPrices;
use super::search::Assignment;
use super::tree::{Offer, Tree};

/// Patterns that the search looks at, for one choice and in all.
const PATTERNS_PER_CHOICE: usize = 20_000;
const PATTERNS: usize = 100_000;

/// What an exhaustive search found.
pub(crate) enum Outcome {
    /// No placement is better than the one known.
    Proven,
    /// A better placement, and none is better than it.
    Better(Assignment),
    /// The search was cut short, perhaps with a better placement. None measures less than this bound, or than that one.
    CutShort(Option<Assignment>, f64),
}

/// Looks for a placement that measures less than `below`. `known` is the best so far.
pub(crate) fn search(market: &Market<'_>, rows: &RowPrices, known: &Assignment, below: f64) -> Outcome {
    // What is counted reaches the next whole number below or nothing.
    let below = if market.aim.is_counted() {
        below.floor() + COUNT_ROUNDING
    } else {
        below
    };
    let Some(patterns) = within_gap(market, rows, below) else {
        return Outcome::CutShort(None, f64::NEG_INFINITY);
    };
    if patterns.iter().any(Vec::is_empty) {
        return Outcome::Proven;
    }
    let chosen = |picked: &[usize]| -> Vec<Pattern> {
        let pairs = patterns.iter().zip(picked);
        pairs.map(|(patterns, place)| patterns[*place].clone()).collect()
    };
    let fits = |picked: &[usize]| is_within(market, chosen(picked));
    let mut tree = tree(market, rows, &patterns, &fits);
    let pairs = patterns.iter().zip(&known.patterns);
    let place =
        |(patterns, known): (&Vec<Pattern>, &Pattern)| patterns.iter().position(|p| p.set == known.set);
    tree.known = pairs.map(place).collect();
    let searched = branch::search(tree, below);
    let found = searched
        .best
        .map(|picked| Assignment::of(market.task, chosen(&picked)));
    match (searched.is_cut_short, found) {
        (true, found) => Outcome::CutShort(found, searched.bound),
        (false, Some(found)) => Outcome::Better(found),
        (false, None) => Outcome::Proven,
    }
}

/// For each choice, the patterns that may be part of a placement that measures less; `None` if there are too many.
fn within_gap(market: &Market<'_>, rows: &RowPrices, below: f64) -> Option<Vec<Vec<Pattern>>> {
    let task = market.task;
    let best: Vec<_> = (0..task.choices.len())
        .map(|index| market.best(index, rows).bound)
        .collect();
    let bound = best.iter().sum::<f64>() - rows.of_limits(task, market.levels);
    let gap = (below - bound).max(0.0) + 1e-9 * below.abs();
    let mut all = Vec::new();
    let mut total = 0;
    for (index, best) in best.iter().enumerate() {
        let patterns = market.all(index, rows, best + gap, PATTERNS_PER_CHOICE)?;
        total += patterns.len();
        if total > PATTERNS {
            return None;
        }
        all.push(patterns);
    }
    Some(all)
}

/// Whether patterns, one for each choice, keep to all limits and to what is settled.
pub(super) fn is_within(market: &Market<'_>, patterns: Vec<Pattern>) -> bool {
    let assignment = Assignment::of(market.task, patterns);
    let keeps = |level: &super::rows::Settled| {
        let pairs = market.task.choices.iter().zip(&assignment.patterns);
        let sum: f64 = pairs
            .map(|(choice, pattern)| level.aim.measure(choice.priority, pattern))
            .sum();
        sum <= level.at_most + 0.5
    };
    assignment.load.is_within(&market.task.limits) && market.levels.settled.iter().all(keeps)
}

/// The patterns and rows as numbers: rooms, then budgets, then settled levels.
fn tree<'t>(
    market: &Market<'_>,
    rows: &RowPrices,
    patterns: &[Vec<Pattern>],
    fits: &'t dyn Fn(&[usize]) -> bool,
) -> Tree<'t> {
    let task = market.task;
    let offer = |index: usize, (place, pattern): (usize, &Pattern)| {
        let uses = market.levels.uses(task, index, pattern);
        Offer {
            place,
            rank: 0,
            measure: market.aim.measure(task.choices[index].priority, pattern),
            uses: uses.filter(|(_, uses)| *uses > 0.0).collect(),
        }
    };
    let offers = patterns.iter().enumerate();
    let offers = offers.map(|(index, of)| {
        of.iter()
            .enumerate()
            .map(|pattern| offer(index, pattern))
            .collect()
    });
    let limits: Vec<f64> = market.levels.limits(task).collect();
    Tree {
        offers: offers.collect(),
        rows: limits.len(),
        known: Vec::new(),
        weights: task.choices.iter().map(|choice| choice.bytes as f64).collect(),
        limits,
        prices: rows.all().collect(),
        is_small: task.choices.len() * task.limits.room.len() <= super::REPRICED_PAIRS,
        is_counted: market.aim.is_counted(),
        fits,
    }
}
