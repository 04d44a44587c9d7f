//! The joint choice where the datasets' best sets do not fit together.
//!
//! Level by level of the objective (missing copies and groups for each priority from the top, fallbacks, cost):
//! column generation finds row prices and a bound, rounding finds a placement, and an exhaustive search of what the
//! bound leaves open proves it or finds a better one. What a level reached binds the levels below it.

use std::collections::BTreeSet;

use super::exact::{self, Outcome};
use super::master;
use super::need::Unit;
use super::pattern::Pattern;
use super::pricing::Market;
use super::rows::{Aim, Caps, Levels, RowPrices, Settled};
use super::search::{Assignment, COST_TIE, Task, by_priority};

/// Rounds of column generation for one level.
const ROUNDS: usize = 40;
/// Patterns of an LP above which only prices are asked for: the simplex method would take too long.
const VERTEX_PATTERNS: usize = 30_000;
/// Relative gap between placement and bound at which a level is done.
const DONE: f64 = 1e-9;

/// The joint choice with its proof.
pub(crate) struct Joint {
    pub assignment: Assignment,
    /// No assignment that satisfies as much costs less.
    pub bound: f64,
    /// The prices that give it, of the levels that the assignment reached.
    pub prices: RowPrices,
}

/// Chooses for all datasets together, beginning at `start`, which must be within the limits.
pub(crate) fn choose(task: &Task, start: Assignment) -> Joint {
    let mut best = start;
    let levels = settle_all(task, &mut best, true);
    let market = Market {
        task,
        levels: &levels,
        aim: Aim::Cost,
    };
    let (bound, rows) = minimise(&market, &mut best);
    Joint {
        bound: bound.min(best.cost()),
        prices: rows,
        assignment: best,
    }
}

/// What a placement reached of the levels above cost, as what binds any that is to reach as much.
pub(crate) fn reached(task: &Task, assignment: &mut Assignment) -> Levels {
    settle_all(task, assignment, false)
}

/// Settles the levels above cost one after the other, each brought as low as it goes first if asked for.
fn settle_all(task: &Task, best: &mut Assignment, brings_low: bool) -> Levels {
    let mut levels = Levels {
        caps: vec![Caps::default(); task.choices.len()],
        settled: Vec::new(),
    };
    let priorities: BTreeSet<_> = task.choices.iter().map(|choice| choice.priority).collect();
    let counted = priorities
        .iter()
        .rev()
        .flat_map(|priority| Unit::ALL.map(|unit| Aim::Missing(unit, *priority)));
    for aim in counted.chain([Aim::Fallbacks]) {
        settle(task, &mut levels, aim, best, brings_low);
    }
    levels
}

/// Brings one counted level as low as it goes if asked for, and binds the levels below to it.
fn settle(task: &Task, levels: &mut Levels, aim: Aim, best: &mut Assignment, brings_low: bool) {
    let floors: Vec<_> = task
        .choices
        .iter()
        .map(|choice| choice.least_shortfall(|_| true))
        .collect();
    let floor_of = |index: usize| match aim {
        Aim::Missing(unit, of) if of == task.choices[index].priority => floors[index].of(unit),
        _ => 0,
    };
    let floor: f64 = (0..task.choices.len())
        .map(|index| f64::from(floor_of(index)))
        .sum();
    if brings_low && measure(task, aim, best) > floor {
        minimise(&Market { task, levels, aim }, best);
    }
    let reached = measure(task, aim, best);
    if reached > floor {
        levels.settled.push(Settled {
            aim,
            at_most: reached,
        });
        return;
    }
    for (index, caps) in levels.caps.iter_mut().enumerate() {
        match aim {
            Aim::Missing(unit, of) if of == task.choices[index].priority => {
                caps.missing[unit as usize] = Some(floors[index].of(unit));
            }
            Aim::Fallbacks => caps.no_fallback = true,
            Aim::Missing(..) | Aim::Cost => {}
        }
    }
}

/// What a placement measures at one level.
fn measure(task: &Task, aim: Aim, assignment: &Assignment) -> f64 {
    task.choices
        .iter()
        .zip(&assignment.patterns)
        .map(|(choice, pattern)| aim.measure(choice.priority, pattern))
        .sum()
}

/// Brings one level as low as it goes. Improves `best`; returns a bound and the prices that give it.
fn minimise(market: &Market<'_>, best: &mut Assignment) -> (f64, RowPrices) {
    let mut patterns: Vec<Vec<Pattern>> = best
        .patterns
        .iter()
        .map(|pattern| vec![pattern.clone()])
        .collect();
    let (mut bound, mut rows) = generate(market, &mut patterns, best);
    if is_done(market, bound, best) {
        return (bound, rows);
    }
    round(market, &patterns, &rows, best);
    if is_done(market, bound, best) {
        return (bound, rows);
    }
    if !rows.room.iter().all(|price| price.is_finite()) {
        rows = RowPrices::zero(market.task, market.levels);
    }
    let reached = measure(market.task, market.aim, best);
    let below = if market.aim.is_counted() {
        reached - 0.5
    } else {
        reached - COST_TIE * reached.abs()
    };
    match exact::search(market, &rows, best, below) {
        Outcome::Proven => bound = reached,
        Outcome::Better(found) => {
            *best = found;
            best.improve(market.task);
            bound = measure(market.task, market.aim, best);
        }
        Outcome::CutShort(found, closer) => {
            bound = bound.max(closer);
            *best = found.unwrap_or_else(|| best.clone());
        }
    }
    (bound, rows)
}

/// Whether the bound proves the best placement.
fn is_done(market: &Market<'_>, bound: f64, best: &Assignment) -> bool {
    let reached = measure(market.task, market.aim, best);
    if market.aim.is_counted() {
        bound > reached - 1.0 + 1e-6
    } else {
        reached - bound <= DONE * reached.abs()
    }
}

/// Column generation: the LP prices the rows, the prices find better patterns, until none is found.
fn generate(market: &Market<'_>, patterns: &mut [Vec<Pattern>], best: &Assignment) -> (f64, RowPrices) {
    let mut rows = RowPrices::zero(market.task, market.levels);
    let mut best_bound = (f64::NEG_INFINITY, rows.clone());
    for _ in 0..ROUNDS {
        let priced: Vec<_> = (0..patterns.len())
            .map(|index| market.best(index, &rows))
            .collect();
        let bound = priced.iter().map(|priced| priced.bound).sum::<f64>()
            - rows.of_limits(market.task, market.levels);
        if bound > best_bound.0 {
            best_bound = (bound, rows.clone());
        }
        let mut found = false;
        for (index, priced) in priced.into_iter().enumerate() {
            let value = |p: &Pattern| rows.of_pattern(market.task, market.levels, market.aim, index, p);
            let known = patterns[index].iter().map(value).fold(f64::INFINITY, f64::min);
            if priced.value < known - DONE * known.abs() {
                patterns[index].push(priced.pattern);
                found = true;
            }
        }
        if !found || is_done(market, best_bound.0, best) {
            break;
        }
        let Some(mix) = master::prices(market, patterns) else {
            break;
        };
        rows = mix.prices;
    }
    best_bound
}

/// Placements near the LP's mix.
fn round(market: &Market<'_>, patterns: &[Vec<Pattern>], rows: &RowPrices, best: &mut Assignment) {
    let task = market.task;
    let prices: Vec<_> = (0..task.choices.len())
        .map(|index| market.prices(index, rows).candidates)
        .collect();
    let costs: Vec<Vec<f64>> = task
        .choices
        .iter()
        .map(|choice| choice.candidates.iter().map(|candidate| candidate.cost).collect())
        .collect();
    let few = patterns.iter().map(Vec::len).sum::<usize>() <= VERTEX_PATTERNS;
    let shares = if few {
        master::vertex(market, patterns)
    } else {
        None
    };
    let shares = shares.or_else(|| master::prices(market, patterns).map(|mix| mix.shares));
    let mut offer = |candidate: Option<Assignment>| {
        let Some(mut candidate) = candidate else { return };
        candidate.improve(task);
        if candidate.load.is_within(&task.limits) && candidate.compare(best, task).is_lt() {
            *best = candidate;
        }
    };
    if let Some(shares) = shares {
        offer(Assignment::near(task, patterns, &shares, &prices));
    }
    let mut by_bytes = by_priority(task);
    by_bytes
        .sort_by_key(|index| std::cmp::Reverse((task.choices[*index].priority, task.choices[*index].bytes)));
    offer(Assignment::construct(task, &by_bytes, &prices));
    offer(Assignment::construct(task, &by_bytes, &costs));
    by_bytes.reverse();
    by_bytes.sort_by_key(|index| std::cmp::Reverse(task.choices[*index].priority));
    offer(Assignment::construct(task, &by_bytes, &prices));
}
