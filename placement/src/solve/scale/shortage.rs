//! Where not everything fits: the most important datasets first, then as many as there is room for, then the cost.
//!
//! A placement is built from what is there now: by priority, the small lots first, each takes the set that misses least
//! of what fits beside all others. What it reached binds a program that gives the bound: no placement that misses as
//! little costs less. Whatever the program rounds to is taken if it misses no more and costs less.

use super::super::need::{Shortfall, Unit};
use super::members::{FALLBACK, Members};
use super::placed::Placed;
use super::stock::{Scales, Stock};
use super::wish::{Held, Tolls, Wish};
use super::{Settled, TRUST, bound, free, settle};

/// Rounds of building; each strictly improves, so this only bounds the work.
const ROUNDS: usize = 6;
/// Lots above which the program for the bound is not run for levels: its rows then hold every lot.
const PROGRAM_LOTS: usize = 20_000;

/// The most that fits, at the least cost found.
pub(crate) fn most(stock: &mut Stock, tolls: &Tolls) -> Settled {
    let mut placed = Placed::of(stock, stays(stock));
    let order = order(stock);
    build(stock, &mut placed, &order, tolls);
    cheapen(stock, &mut placed, &order);
    let wish = reached(stock, &placed);
    let near: Vec<u32> = order.clone();
    let mut start = free(stock, &wish);
    start.room.clone_from(&tolls.room);
    start.budgets.clone_from(&tolls.budgets);
    let mut best = Settled {
        bound: bound(stock, &wish, &free(stock, &wish)),
        tolls: free(stock, &wish),
        placed,
        near,
        suffices: true,
    };
    if stock.lots.len() <= PROGRAM_LOTS {
        take_program(stock, &wish, &start, &order, &mut best);
    }
    best
}

/// Takes the bound of the program, and what it rounds to if that is better.
fn take_program(stock: &mut Stock, wish: &Wish, start: &Tolls, order: &[u32], best: &mut Settled) {
    let mut settled = settle(stock, wish, start, TRUST);
    if settled.bound > best.bound {
        best.bound = settled.bound;
        best.tolls = settled.tolls.clone();
    }
    let fits = settled
        .placed
        .make_room(stock, wish, &settled.tolls, &settled.near);
    if !fits {
        return;
    }
    cheapen(stock, &mut settled.placed, order);
    let score = |placed: &Placed| levels(stock, placed);
    let (found, known) = (score(&settled.placed), score(&best.placed));
    if found < known || (found == known && settled.placed.cost(stock) < best.placed.cost(stock)) {
        best.placed = settled.placed;
    }
}

/// What every lot keeps if nothing is made.
pub(crate) fn stays(stock: &Stock) -> Vec<Members> {
    (0..stock.lots.len()).map(|lot| stock.stay_set(lot)).collect()
}

/// The most important first, and of those the smallest.
fn order(stock: &Stock) -> Vec<u32> {
    let mut order: Vec<u32> = (0..stock.lots.len() as u32).collect();
    order.sort_by_key(|lot| {
        (
            stock.shape(*lot as usize).rank,
            stock.lots[*lot as usize].bytes,
            *lot,
        )
    });
    order
}

/// Lets each lot in turn take a set that misses less, if one fits.
fn build(stock: &Stock, placed: &mut Placed, order: &[u32], tolls: &Tolls) {
    let mut scales = Scales::default();
    for _ in 0..ROUNDS {
        let mut changed = false;
        for lot in order.iter().map(|lot| *lot as usize) {
            let short = stock.shortfall(lot, &placed.sets[lot]);
            let is_fallback = *placed.sets[lot] == [FALLBACK];
            if short == Shortfall::default() && !is_fallback {
                continue;
            }
            let found = placed.best_within(stock, lot, tolls, None, &mut scales);
            if let Some(members) = found.filter(|members| {
                let then = stock.shortfall(lot, members);
                then < short || (then == short && is_fallback)
            }) {
                placed.change(stock, lot, members);
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

/// Lets each lot take a cheaper set that misses no more, if one fits.
fn cheapen(stock: &Stock, placed: &mut Placed, order: &[u32]) {
    let mut scales = Scales::default();
    let tolls = free(stock, &Wish::cost());
    for _ in 0..ROUNDS {
        let mut changed = false;
        for lot in order.iter().map(|lot| *lot as usize) {
            let short = stock.shortfall(lot, &placed.sets[lot]);
            let cost = stock.cost_of(lot, &placed.sets[lot]);
            let Some(members) = placed.best_within(stock, lot, &tolls, Some(short), &mut scales) else {
                continue;
            };
            if stock.cost_of(lot, &members) < cost * (1.0 - 1e-9) {
                placed.change(stock, lot, members);
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

/// For each priority what is missing, then the fallbacks: the order of placements before cost.
fn levels(stock: &Stock, placed: &Placed) -> (Vec<[u64; 3]>, usize) {
    let mut missing = vec![[0u64; 3]; stock.priorities.len()];
    for (lot, members) in placed.sets.iter().enumerate() {
        let short = stock.shortfall(lot, members);
        let sums = &mut missing[stock.shape(lot).rank as usize];
        Unit::ALL
            .iter()
            .for_each(|unit| sums[*unit as usize] += u64::from(short.of(*unit)));
    }
    let fallbacks = placed
        .sets
        .iter()
        .filter(|members| ***members == [FALLBACK])
        .count();
    (missing, fallbacks)
}

/// A wish that is held to what a placement reached.
fn reached(stock: &Stock, placed: &Placed) -> Wish {
    let (missing, fallbacks) = levels(stock, placed);
    let mut least = vec![[0u64; 3]; stock.priorities.len()];
    for lot in 0..stock.lots.len() {
        let short = stock.least(lot);
        let sums = &mut least[stock.shape(lot).rank as usize];
        Unit::ALL
            .iter()
            .for_each(|unit| sums[*unit as usize] += u64::from(short.of(*unit)));
    }
    let mut at_most = Vec::new();
    let mut hold = |reached: u64, least: u64| {
        if reached <= least {
            return Held::Least;
        }
        at_most.push(reached as f64);
        Held::AtMost(at_most.len() - 1)
    };
    let held = missing
        .iter()
        .zip(&least)
        .map(|(reached, least)| Unit::ALL.map(|unit| hold(reached[unit as usize], least[unit as usize])));
    let held = held.collect();
    let fallbacks = hold(fallbacks as u64, 0);
    Wish {
        cost: true,
        missing: held,
        fallbacks,
        at_most,
    }
}
