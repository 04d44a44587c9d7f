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
mod calm;
mod catalog;
mod class;
mod coarse;
mod effort;
mod fewest;
mod lacking;
mod members;
mod pack;
mod piles;
mod placed;
mod pool;
mod proof;
mod rates;
mod revision;
mod rows;
mod scales;
mod shortage;
mod sieve;
mod smooth;
mod standing;
mod stock;
mod sweep;
mod table;
mod take;
mod vertex;
mod ways;
mod wish;

pub(crate) use members::{FALLBACK, Members};
pub(crate) use placed::Placed;
pub use revision::{Change, Revision};
pub(crate) use scales::Scales;
pub(crate) use shortage::{levels, stays};
pub use standing::Standing;
pub(crate) use stock::Stock;
pub(crate) use take::take_stock;
pub(crate) use wish::{Tolls, Wish};

use crate::solution::Shortage;
use effort::{BoxAround, Effort};
use piles::Piles;
use smooth::{Smoothing, smooth};
use sweep::{Sweep, sweep};
use vertex::Vertex;

/// Margins up to which a lot may change its set while tolls settle, as a share of its price.
const NEAR: f32 = 0.01;
/// Classes of the small programs.
const COARSE: [usize; 2] = [2_500, 10_000];
/// Relative difference between what the program costs and the bound, at which it is settled.
pub(crate) const SETTLED: f64 = 4e-5;
/// Lots that settle among themselves at first, and that join from round to round.
const ACTIVE: usize = 400_000;
/// Rounds of settling the near lots and asking all.
const ROUNDS: usize = 40;
/// How closely a program is settled: the coarse one; the one over all lots at first, and from round to round.
const ROUGHLY: Effort = Effort {
    done: 1e-3,
    first: 0.02,
    turns: 200,
    sifts: 0.0,
    enough: f64::NEG_INFINITY,
};
const CLOSER: Effort = Effort {
    done: 1e-4,
    first: 5e-3,
    turns: 30,
    sifts: 0.0,
    enough: f64::NEG_INFINITY,
};
const FIRST_ROUND: Effort = Effort {
    done: 5e-6,
    first: 5e-3,
    turns: 12,
    sifts: 0.05,
    enough: f64::NEG_INFINITY,
};
const NEXT_ROUNDS: Effort = Effort {
    first: 1e-5,
    turns: 6,
    ..FIRST_ROUND
};
/// Shares of all room that the program leaves, one after the other, until whole lots fit.
const SPARE: [f64; 3] = [0.0, 0.005, 0.02];
/// Rounds after which room and money are said to lack.
const LACKING_ROUNDS: usize = 4;
/// How far the prices of the coarse program are trusted.
const TRUST: (f64, f64) = (0.03, 0.01);
/// How far those of the smoothed program are.
const CLOSE_TRUST: (f64, f64) = (0.001, 0.0005);
/// Lots that settle among themselves after a smoothed program: the largest.
const LARGEST: usize = 25_000;
/// How far the program over all lots looks after a smoothed one.
const CLOSE: f64 = 0.01;
/// Relative difference to the bound at which the program needs no further turn.
const ENOUGH: f64 = 3e-5;

/// How far prices are shaken in the smoothed programs, as a share of the price of a copy: from free tolls, and from near
/// ones; and how near candidates must be to be looked at.
const FROM_FREE: Smoothing = Smoothing {
    widths: &[0.5, 0.2, 0.06, 0.02, 0.006],
    share: f64::INFINITY,
};
const FROM_NEAR: Smoothing = Smoothing {
    widths: &[6e-3, 2e-3, 6e-4, 2e-4, 6e-5],
    share: 0.03,
};
/// The same where there are many lots: they leave more to the simplex method, which is no slower for it.
const FROM_NEAR_OF_MANY: Smoothing = Smoothing {
    widths: &[6e-3, 1e-3, 1.5e-4],
    ..FROM_NEAR
};
/// Lots from which on they are many.
const MANY: usize = 10_000;
/// Where not everything fits, from tolls that were guessed.
const FROM_AFAR: Smoothing = Smoothing {
    widths: &[0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4],
    share: 0.5,
};
/// Classes from which on programs are smoothed.
const SMOOTHED: usize = 3_000;
/// Classes of the smoothed program in place of one of more classes than [`COARSE`] has.
const SMOOTH_COARSE: usize = 5_000;

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
    /// Where not everything fits, how much is missing and how little could be.
    pub shortages: Vec<Shortage>,
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

/// Tolls from small programs in place of the large one, each larger than the one before.
pub(crate) fn coarse_tolls(stock: &mut Stock, wish: &Wish) -> Tolls {
    let tolls = free(stock, wish);
    let classes = stock.catalog.classes.len();
    let few = if classes > COARSE[1] {
        SMOOTH_COARSE
    } else {
        COARSE[1]
    };
    if classes >= SMOOTHED
        && let Some(tolls) = on_small(stock, few, |small| {
            let mut sets = sweep(small, wish, &tolls).sets;
            let all: Vec<u32> = (0..small.lots.len() as u32).collect();
            smooth(small, (wish, &tolls), &all, &FROM_FREE, &mut sets)
        })
    {
        return tolls;
    }
    let tolls = on_small(stock, COARSE[0], |small| coarse_level(small, wish, &tolls, true));
    if classes < COARSE[1] * 2 {
        return tolls;
    }
    on_small(stock, COARSE[1], |small| coarse_level(small, wish, &tolls, false))
}

/// Asks a small program in place of a stock.
fn on_small<T>(stock: &mut Stock, classes: usize, ask: impl FnOnce(&Stock) -> T) -> T {
    let (lots, billable) = coarse::lots(stock, classes);
    let small = Stock {
        catalog: std::mem::take(&mut stock.catalog),
        tight: Vec::new(),
        priorities: stock.priorities.clone(),
        capacities: stock.capacities.clone(),
        limits: stock.limits.clone(),
        lots,
        billable,
    };
    let answer = ask(&small);
    stock.catalog = small.catalog;
    answer
}

fn coarse_level(small: &Stock, wish: &Wish, tolls: &Tolls, is_first: bool) -> Tolls {
    let Sweep { sets, value, .. } = sweep(small, wish, tolls);
    let around = BoxAround {
        tolls,
        share: if is_first { 0.0 } else { TRUST.0 },
        of_mean: if is_first { 4.0 } else { TRUST.1 },
    };
    let mut vertex = Vertex::begin(small, wish, sets, &around);
    let mut all: Vec<u32> = (0..small.lots.len() as u32).collect();
    sort_by_size(small, &mut all);
    vertex.settle(&all, value, if is_first { ROUGHLY } else { CLOSER });
    vertex.mean_tolls()
}

/// Settles the program over all lots, beginning at these tolls.
pub(crate) fn settle(stock: &mut Stock, wish: &Wish, tolls: &Tolls, trust: (f64, f64)) -> Settled {
    let piles = Piles::of(stock, wish);
    let tolls = if tolls.are_finite() {
        tolls.clone()
    } else {
        free(stock, wish)
    };
    let program = settle_piles(&piles.stock, wish, &tolls, trust);
    let near = piles.lots_of(&program.near);
    let sets = piles.deal(stock, &program.keys, &program.split);
    piles.give_back(stock);
    Settled {
        placed: Placed::of(stock, sets),
        bound: program.bound,
        tolls: program.tolls,
        near,
        suffices: program.suffices,
        shortages: Vec::new(),
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
    let start = Start::of(stock, wish, tolls, trust);
    let around = BoxAround {
        tolls: &start.tolls,
        share: start.trust.0,
        of_mean: start.trust.1,
    };
    let mut near = start.near;
    let mut active: Vec<u32> = near.iter().copied().take(start.active).collect();
    let mut vertex = Vertex::begin(stock, wish, start.sets, &around);
    let mut suffices = true;
    let mut best = (start.bound, start.tolls.clone());
    for round in 0..ROUNDS {
        let mut effort = if round == 0 { FIRST_ROUND } else { NEXT_ROUNDS };
        effort.enough = best.0 + ENOUGH * best.0.abs();
        effort.sifts = start.sifts;
        effort.first = effort.first.min(start.sifts * 0.1);
        suffices = vertex.settle(&active, start.value, effort);
        if suffices && vertex.objective() - best.0 <= SETTLED * best.0.abs() {
            break;
        }
        let mut gains = Vec::new();
        for tolls in [vertex.tolls.clone(), vertex.mean_tolls()] {
            let again = sweep(stock, wish, &tolls);
            let bound = again.bound - worth_of_limits(stock, wish, &tolls);
            if bound > best.0 || gains.is_empty() {
                gains = vertex.gains(&again, &tolls);
            }
            if bound > best.0 {
                best = (bound, tolls);
            }
        }
        if suffices && vertex.objective() - best.0 <= SETTLED * best.0.abs() {
            break;
        }
        if !suffices {
            if round >= LACKING_ROUNDS {
                break;
            }
            active = (0..stock.lots.len() as u32).collect();
            sort_by_size(stock, &mut active);
            continue;
        }
        // Those that would gain most join.
        gains.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        active.extend(gains.iter().take(ACTIVE).map(|(lot, _)| *lot));
        active.sort_unstable();
        active.dedup();
        sort_by_size(stock, &mut active);
    }
    near.extend(&active);
    near.sort_unstable();
    near.dedup();
    sort_by_size(stock, &mut near);
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

/// Where the program over piles begins.
struct Start {
    tolls: Tolls,
    trust: (f64, f64),
    sets: Vec<Members>,
    value: f64,
    /// What these tolls prove.
    bound: f64,
    near: Vec<u32>,
    /// How many of the near ones settle among themselves at first.
    active: usize,
    /// How far candidates are looked at.
    sifts: f64,
}

impl Start {
    /// At these tolls, or at those of the smoothed program if that is worth it.
    fn of(stock: &Stock, wish: &Wish, tolls: &Tolls, trust: (f64, f64)) -> Self {
        let first = sweep(stock, wish, tolls);
        let near = nearest(stock, &first.margins, NEAR);
        let classes = stock.catalog.classes.len();
        let mut sets = first.sets;
        if near.len() < SMOOTHED || classes < SMOOTHED {
            return Self {
                tolls: tolls.clone(),
                bound: first.bound - worth_of_limits(stock, wish, tolls),
                value: first.value,
                active: ACTIVE,
                sifts: FIRST_ROUND.sifts,
                trust,
                near,
                sets,
            };
        }
        let how = if !wish.is_cost_alone() {
            &FROM_AFAR
        } else if near.len() < MANY {
            &FROM_NEAR
        } else {
            &FROM_NEAR_OF_MANY
        };
        let found = smooth(stock, (wish, tolls), &near, how, &mut sets);
        let is_smooth = found.is_some();
        let tolls = found.unwrap_or_else(|| tolls.clone());
        let again = sweep(stock, wish, &tolls);
        let mut moved = vec![!is_smooth; sets.len()];
        near.iter().for_each(|lot| moved[*lot as usize] = true);
        let all = sets.into_iter().zip(again.sets).zip(moved);
        let sets = all.map(|((own, best), moved)| if moved { own } else { best });
        Self {
            bound: again.bound - worth_of_limits(stock, wish, &tolls),
            value: again.value,
            sets: sets.collect(),
            near: nearest(stock, &again.margins, NEAR),
            trust: if is_smooth { CLOSE_TRUST } else { trust },
            active: if is_smooth { LARGEST } else { ACTIVE },
            sifts: if is_smooth { CLOSE } else { FIRST_ROUND.sifts },
            tolls,
        }
    }
}

fn nearest(stock: &Stock, margins: &[f32], share: f32) -> Vec<u32> {
    let near = (0u32..).zip(margins).filter(|(_, margin)| **margin <= share);
    let mut near: Vec<_> = near.map(|(lot, _)| lot).collect();
    sort_by_size(stock, &mut near);
    near
}

/// The largest first: they carry the tolls, and the others follow.
fn sort_by_size(stock: &Stock, lots: &mut [u32]) {
    lots.sort_by_key(|lot| std::cmp::Reverse(stock.lots[*lot as usize].bytes));
}

/// The joint choice: everything that can be met at the least cost; if that does not fit together, as much as does.
pub(crate) fn choose(stock: &mut Stock) -> Settled {
    match cheapest(stock, None) {
        Ok(mut settled) => {
            calm::calm(stock, &mut settled);
            settled
        }
        Err(tolls) => shortage::most(stock, &tolls),
    }
}

/// Everything that can be met at the least cost, beginning at tolls near to the end if some are known. If that does not
/// fit together, tolls that tell what is scarce.
pub(crate) fn cheapest(stock: &mut Stock, near: Option<&Tolls>) -> Result<Settled, Tolls> {
    let wish = Wish::cost();
    let start = free(stock, &wish);
    let alone = sweep(stock, &wish, &start);
    let placed = Placed::of(stock, alone.sets);
    if placed.is_within(stock) {
        return Ok(Settled {
            tolls: start,
            bound: alone.bound,
            placed,
            near: Vec::new(),
            suffices: true,
            shortages: Vec::new(),
        });
    }
    // No lot can do with fewer copies than it takes alone.
    if placed.used.iter().sum::<u128>() > stock.limits.room.iter().sum() {
        return Err(coarse_tolls(stock, &wish));
    }
    let tolls = near.cloned().unwrap_or_else(|| coarse_tolls(stock, &wish));
    let mut settled = settle(stock, &wish, &tolls, TRUST);
    if !settled.suffices || !make_room(stock, &mut settled) {
        return Err(settled.tolls);
    }
    let gap = settled.placed.cost(stock) - settled.bound;
    let may_be = SETTLED * settled.bound.abs();
    if gap > may_be {
        let at = (&wish, &settled.tolls);
        settled.placed.improve(stock, at, &settled.near, gap - may_be);
    }
    Ok(settled)
}

/// Makes room for whole lots. Where that fails, the program leaves a little room and is rounded anew.
fn make_room(stock: &mut Stock, settled: &mut Settled) -> bool {
    let wish = Wish::cost();
    let all: Vec<u32> = (0..stock.lots.len() as u32).collect();
    for spare in SPARE {
        if spare > 0.0 {
            let limits = stock.limits.clone();
            for room in &mut stock.limits.room {
                *room -= (*room as f64 * spare) as u128;
            }
            let again = settle(stock, &wish, &settled.tolls, TRUST);
            stock.limits = limits;
            settled.placed = Placed::of(stock, again.placed.sets);
            settled.near = again.near;
        }
        let Settled {
            placed, tolls, near, ..
        } = settled;
        if placed.make_room(stock, &wish, tolls, near) || placed.make_room(stock, &wish, tolls, &all) {
            return true;
        }
    }
    false
}
