//! Where not everything fits: the most important datasets first, then as many as there is room for, then the cost.
//!
//! ```text
//!   what is there ──▶ built up ──▶ fewest missing, by priority ──▶ whole lots ──▶ held to that: program of cost ──▶ whole lots
//! ```
//!
//! A placement is built from what is there now: by priority, the small lots first, each takes the set that misses least
//! of what fits beside all others. `fewest` says how little can be missing, and what it ends at is made whole: room is
//! made, and lots are packed closely, the most important first (`pack`). What that reached binds
//! a program that gives the bound: no placement that misses as little costs less. Whatever the program rounds to is taken
//! if it misses no more and costs less.

use crate::solution::Shortage;

use super::super::need::{Shortfall, Unit};
use super::fewest::{self, Fewest};
use super::members::{FALLBACK, Members};
use super::pack::pack;
use super::placed::Placed;
use super::scales::Scales;
use super::stock::Stock;
use super::wish::{Held, Tolls, Wish};
use super::{SETTLED, Settled, TRUST, free, settle};

/// Rounds of building; each strictly improves, so this only bounds the work.
const ROUNDS: usize = 6;
/// Programs of cost, one after the other: what one rounds to may miss less, and the next is held to that.
const PROGRAMS: usize = 3;
/// Relative difference between cost and bound at which no other program is tried.
const ENOUGH: f64 = 10.0 * SETTLED;

/// The most that fits, at the least cost found.
pub(crate) fn most(stock: &mut Stock, scarce: &Tolls) -> Settled {
    let order = order(stock);
    let mut placed = Placed::of(stock, stays(stock));
    build(stock, &mut placed, &order, scarce);
    let fewest = fewest::fewest(stock, placed.sets.clone());
    let mut whole = Placed::of(stock, fewest.sets.clone());
    let largest: Vec<u32> = order.iter().rev().copied().collect();
    if whole.make_room(stock, &fewest.wish, &fewest.tolls, &largest) {
        fill(stock, &mut whole, &order, scarce);
        take_better(stock, &mut placed, whole);
    }
    let mut wish = held(stock, &placed);
    let mut best = Settled {
        bound: f64::NEG_INFINITY,
        tolls: free(stock, &wish),
        placed,
        near: order,
        suffices: true,
        shortages: Vec::new(),
    };
    for _ in 0..PROGRAMS {
        let was_held = wish.at_most.clone();
        take_program(stock, &mut wish, &fewest, &mut best);
        let cost = best.placed.cost(stock);
        if wish.at_most == was_held || cost - best.bound <= ENOUGH * cost.abs() {
            break;
        }
    }
    cheapen(stock, &mut best.placed, &best.near);
    let (missing, _) = levels(stock, &best.placed);
    let shortages = fewest.proofs.iter().map(|proof| Shortage {
        priority: stock.priorities[proof.rank],
        missing: missing[proof.rank][Unit::Copies as usize],
        at_least: proof.fewest(&missing),
    });
    best.shortages = shortages.collect();
    best
}

/// Lets lots take what is left; packs them more closely where that brings more.
fn fill(stock: &Stock, placed: &mut Placed, order: &[u32], tolls: &Tolls) {
    build(stock, placed, order, tolls);
    let mut packed = placed.clone();
    pack(stock, &mut packed, order, tolls);
    build(stock, &mut packed, order, tolls);
    if levels(stock, &packed) < levels(stock, placed) {
        *placed = packed;
    }
}

/// Takes the other placement if that misses less, or as little and costs less.
fn take_better(stock: &Stock, placed: &mut Placed, other: Placed) {
    let (then, now) = (levels(stock, &other), levels(stock, placed));
    if then < now || (then == now && other.cost(stock) < placed.cost(stock)) {
        *placed = other;
    }
}

/// Settles the program of cost, takes what it rounds to if that is better, and the bound that it proves of the better
/// one. The wish is then held to what that reached.
fn take_program(stock: &mut Stock, wish: &mut Wish, fewest: &Fewest, best: &mut Settled) {
    let start = first_tolls(stock, wish, fewest);
    let Settled {
        tolls,
        mut placed,
        near,
        bound,
        ..
    } = settle(stock, wish, &start, TRUST);
    if placed.make_room(stock, wish, &tolls, &near) {
        fill(stock, &mut placed, &best.near, &tolls);
        cheapen(stock, &mut placed, &best.near);
        take_better(stock, &mut best.placed, placed);
    }
    let at_most = at_most(wish, &levels(stock, &best.placed));
    let pairs = at_most.iter().zip(&wish.at_most);
    let less = tolls.levels.iter().zip(pairs);
    best.bound = bound
        - less
            .map(|(toll, (now, before))| toll * (now - before))
            .sum::<f64>();
    best.tolls = tolls;
    wish.at_most = at_most;
}

/// Tolls to begin with. Where not everything fits, every backend is full, so that with its toll each costs about as much
/// as the dearest; on top comes what the programs of the fewest missing say, as often as proves most.
fn first_tolls(stock: &Stock, wish: &Wish, fewest: &Fewest) -> Tolls {
    let backends = stock.limits.room.len();
    let (mut cost, mut bytes) = (vec![0.0; backends], vec![0.0; backends]);
    for lot in 0..stock.lots.len() {
        for (position, backend) in stock.shape(lot).backends.iter().enumerate() {
            let backend = *backend as usize;
            cost[backend] += stock.cost(lot, position);
            bytes[backend] += stock.lots[lot].bytes as f64;
        }
    }
    let per_byte = cost
        .iter()
        .zip(&bytes)
        .map(|(cost, bytes)| cost / f64::max(*bytes, 1.0));
    let per_byte: Vec<f64> = per_byte.collect();
    let dearest = per_byte.iter().copied().fold(0.0, f64::max);
    let mut even = free(stock, wish);
    for (toll, per_byte) in even.room.iter_mut().zip(&per_byte) {
        *toll = dearest - per_byte;
    }
    let mut scarce = Tolls {
        room: fewest.tolls.room.clone(),
        ..free(stock, wish)
    };
    for (held, there) in wish
        .missing
        .iter()
        .flatten()
        .zip(fewest.wish.missing.iter().flatten())
    {
        if let (Held::AtMost(row), Held::AtMost(there)) = (held, there) {
            scarce.levels[*row] = fewest.tolls.levels[*there];
        }
    }
    fewest::best_sum(stock, wish, (&even, &scarce), dearest)
}

/// What the levels of a wish would be held to by what another placement reached.
fn at_most(wish: &Wish, (missing, fallbacks): &(Vec<[u64; 3]>, usize)) -> Vec<f64> {
    let mut at_most = wish.at_most.clone();
    let all = wish.missing.iter().flatten().zip(missing.iter().flatten());
    for (held, reached) in all.chain([(&wish.fallbacks, &(*fallbacks as u64))]) {
        if let Held::AtMost(row) = held {
            at_most[*row] = *reached as f64;
        }
    }
    at_most
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
pub(crate) fn levels(stock: &Stock, placed: &Placed) -> (Vec<[u64; 3]>, usize) {
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
fn held(stock: &Stock, placed: &Placed) -> Wish {
    let (missing, fallbacks) = levels(stock, placed);
    let mut at_most = Vec::new();
    let mut hold = |reached: u64, least: u64| {
        if reached <= least {
            return Held::Least;
        }
        at_most.push(reached as f64);
        Held::AtMost(at_most.len() - 1)
    };
    let pairs = missing.iter().zip(fewest::least(stock));
    let held = pairs.map(|(reached, least)| [0, 1, 2].map(|unit| hold(reached[unit], least[unit])));
    let held = held.collect();
    let fallbacks = hold(fallbacks as u64, 0);
    Wish {
        cost: true,
        missing: held,
        fallbacks,
        at_most,
    }
}
