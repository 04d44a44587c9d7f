//! The joint choice for estates of any size.
//!
//! ```text
//!  datasets ──▶ stock: lots, classes, shapes ──▶ coarse program ──▶ tolls ──▶ program over all lots ──▶ vertex
//!                                                                                                     │
//!       sets ◀── use what is left ◀── make room ◀── whole lots ◀───────────────────────────────────────┤
//!      bound ◀── exact pricing of every lot ◀──────────────────────────────────────────────────────────┘
//! ```
//!
//! The programs and the roundings are advice. What the sets cost is worked out by the formulas, and the bound by exact
//! pricing of every lot at the final tolls, so that the proof holds whatever the program did.

mod basis;
mod catalog;
mod coarse;
mod piles;
mod placed;
mod rates;
mod rows;
mod stock;
mod sweep;
mod vertex;

pub(crate) use placed::Placed;
pub(crate) use stock::{Stock, Tolls, Wish, take_stock};

use piles::Piles;
use stock::Members;
use sweep::{Sweep, sweep};
use vertex::{BoxAround, Vertex};

/// Margins up to which a lot may change its set while tolls settle, as a share of its price.
const NEAR: f32 = 0.01;
/// Times that all lots are asked anew.
const SWEEPS: usize = 6;
/// Relative difference between what the program costs and the bound, at which it is settled.
const SETTLED: f64 = 1e-5;
/// Gains in one turn, as a share of the objective, at which a program is done: for prices, and for a plan.
const ROUGHLY: f64 = 1e-3;
const CLOSELY: f64 = 5e-6;
/// How far the prices of the coarse program are trusted.
const TRUST: (f64, f64) = (0.03, 0.01);

/// What the program came to.
pub(crate) struct Settled {
    /// The tolls at the end.
    pub tolls: Tolls,
    /// No placement that is held to the same costs less, fixed parts apart.
    pub bound: f64,
    /// Whole lots, perhaps with too much on some backends.
    pub placed: Placed,
    /// Lots that have another set nearly as good.
    pub near: Vec<u32>,
    /// Whether room and money suffice, lots being split.
    pub suffices: bool,
}

/// Free tolls.
pub(crate) fn free(stock: &Stock, wish: &Wish) -> Tolls {
    Tolls {
        room: vec![0.0; stock.limits.room.len()],
        budgets: vec![0.0; stock.limits.budgets.len()],
        levels: vec![0.0; wish.at_most.len()],
    }
}

/// What the limits are worth at tolls.
fn worth_of_limits(stock: &Stock, wish: &Wish, tolls: &Tolls) -> f64 {
    let room = tolls
        .room
        .iter()
        .zip(&stock.limits.room)
        .map(|(toll, room)| toll * *room as f64);
    let budgets = tolls
        .budgets
        .iter()
        .zip(&stock.limits.budgets)
        .map(|(toll, limit)| toll * limit);
    let levels = tolls
        .levels
        .iter()
        .zip(&wish.at_most)
        .map(|(toll, limit)| toll * limit);
    room.sum::<f64>() + budgets.sum::<f64>() + levels.sum::<f64>()
}

/// The bound that these tolls prove.
pub(crate) fn bound(stock: &Stock, wish: &Wish, tolls: &Tolls) -> f64 {
    sweep::bound(stock, wish, tolls) - worth_of_limits(stock, wish, tolls)
}

/// Tolls from a small program in place of the large one.
pub(crate) fn coarse_tolls(stock: &mut Stock, wish: &Wish) -> Tolls {
    let (lots, billable) = coarse::lots(stock);
    let small = Stock {
        catalog: std::mem::take(&mut stock.catalog),
        tight: Vec::new(),
        priorities: stock.priorities.clone(),
        limits: stock.limits.clone(),
        lots,
        billable,
    };
    let start = free(&small, wish);
    let Sweep { sets, value, .. } = sweep(&small, wish, &start);
    let around = BoxAround {
        tolls: &start,
        share: 0.0,
        of_mean: 4.0,
    };
    let mut vertex = Vertex::begin(&small, wish, sets, &around);
    let mut all: Vec<u32> = (0..small.lots.len() as u32).collect();
    all.sort_by_key(|lot| std::cmp::Reverse(small.lots[*lot as usize].bytes));
    vertex.settle(&all, value, ROUGHLY);
    let tolls = vertex.tolls.clone();
    drop(vertex);
    stock.catalog = small.catalog;
    tolls
}

/// Settles the program over all lots, beginning at these tolls.
pub(crate) fn settle(stock: &mut Stock, wish: &Wish, tolls: &Tolls, trust: (f64, f64)) -> Settled {
    let piles = Piles::of(stock, wish);
    let program = settle_piles(&piles.stock, wish, tolls, trust);
    let near = piles.lots_of(&program.near);
    let sets = piles.deal(stock, &program.keys, &program.split);
    piles.give_back(stock);
    Settled {
        placed: Placed::of(stock, sets),
        bound: program.bound,
        tolls: program.tolls,
        near,
        suffices: program.suffices,
    }
}

/// Where the program over piles ended.
struct Program {
    tolls: Tolls,
    bound: f64,
    keys: Vec<Members>,
    split: Vec<(u32, Vec<(Members, f64)>)>,
    near: Vec<u32>,
    suffices: bool,
}

fn settle_piles(stock: &Stock, wish: &Wish, tolls: &Tolls, trust: (f64, f64)) -> Program {
    let Sweep {
        sets, margins, value, ..
    } = sweep(stock, wish, tolls);
    let around = BoxAround {
        tolls,
        share: trust.0,
        of_mean: trust.1,
    };
    let mut near = nearest(&margins);
    let mut vertex = Vertex::begin(stock, wish, sets, &around);
    let mut suffices = true;
    let mut best = (f64::NEG_INFINITY, tolls.clone());
    for _ in 0..SWEEPS {
        suffices = vertex.settle(&near, value, CLOSELY);
        let again = sweep(stock, wish, &vertex.tolls);
        let bound = again.bound - worth_of_limits(stock, wish, &vertex.tolls);
        if bound > best.0 {
            best = (bound, vertex.tolls.clone());
        }
        let stale = vertex.stale(&again);
        if stale.is_empty() || vertex.objective() - best.0 <= SETTLED * best.0.abs() {
            break;
        }
        near.extend(stale);
        near.extend(nearest(&again.margins));
        near.sort_unstable();
        near.dedup();
    }
    let split = vertex.split();
    Program {
        tolls: best.1,
        bound: best.0,
        split,
        keys: vertex.keys,
        near,
        suffices,
    }
}

fn nearest(margins: &[f32]) -> Vec<u32> {
    let near = (0u32..).zip(margins).filter(|(_, margin)| **margin <= NEAR);
    near.map(|(lot, _)| lot).collect()
}

/// The joint choice at the least cost, everything that can be met being met; `None` if that does not fit together.
pub(crate) fn cheapest(stock: &mut Stock) -> Option<Settled> {
    let wish = Wish::cost();
    let start = free(stock, &wish);
    let alone = sweep(stock, &wish, &start);
    let placed = Placed::of(stock, alone.sets);
    if placed.is_within(stock) {
        return Some(Settled {
            tolls: start,
            bound: alone.bound,
            placed,
            near: Vec::new(),
            suffices: true,
        });
    }
    let tolls = coarse_tolls(stock, &wish);
    let mut settled = settle(stock, &wish, &tolls, TRUST);
    if !settled.suffices {
        return None;
    }
    let all: Vec<u32> = (0..stock.lots.len() as u32).collect();
    let fits = settled
        .placed
        .make_room(stock, &wish, &settled.tolls, &settled.near)
        || settled.placed.make_room(stock, &wish, &settled.tolls, &all);
    if !fits {
        return None;
    }
    settled
        .placed
        .improve(stock, &wish, &settled.tolls, &settled.near);
    Some(settled)
}
