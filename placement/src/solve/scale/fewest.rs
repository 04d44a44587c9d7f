//! How little can be missing where not everything fits, priority by priority from the top.
//!
//! ```text
//!   priority 9: all can be met         held to the least
//!   priority 8: 40 copies lack  ──▶ program: missing copies, then groups, of priority 8
//!   priority 7: 90 copies lack  ──▶ the same of priority 7, those above held to what was reached
//!   cost                        ──▶ program of cost, all held to what was reached
//! ```
//!
//! Each program is the one over all lots with another thing to minimise, begun where the one before it ended. It
//! gives what to hold the next to, and tolls; that no placement misses less is proven by asking every lot at them.

use super::super::need::{Need, Unit};
use super::effort::{BoxAround, Effort};
use super::members::Members;
use super::sort_by_size;
use super::stock::Stock;
use super::vertex::Vertex;
use super::wish::{Held, Tolls, Wish};

/// Of the lots of a priority that lack something, the place of the one that is taken for the first: a few small ones lack
/// since hardly any backend is theirs.
const FIRST_LACKING: f64 = 0.1;
/// What all missing groups count together at most, in missing copies; and all missing nines.
const LESS: f64 = 0.25;
/// Missing copies by which a program may be off when it is settled: absolute, and as a share of what is missing.
const SETTLED: (f64, f64) = (0.25, 1e-3);
/// How closely it is looked, round after round.
const ROUNDS: [f64; 4] = [1e-2, 1e-4, 1e-6, 1e-7];
const EFFORT: Effort = Effort {
    done: 1e-5,
    first: 0.0,
    turns: 20,
    sifts: 0.0,
    enough: f64::NEG_INFINITY,
};
/// Steps of four when tolls are scaled.
const TIMES: usize = 8;
/// Missing copies below which a difference is rounding.
const ROUNDING: f64 = 1e-6;

/// What is known of one priority of which something must be missing.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    /// Its rank.
    pub rank: usize,
    /// What the program was held to, and the tolls that prove.
    wish: Wish,
    tolls: Tolls,
    /// No placement that is held to this misses fewer.
    bound: f64,
}

impl Proof {
    /// The fewest copies that can be missing in any placement that misses no more of the priorities above than this.
    pub fn fewest(&self, missing: &[[u64; 3]]) -> u64 {
        let mut bound = self.bound;
        for (held, reached) in self.wish.missing[..self.rank].iter().zip(missing) {
            for (held, reached) in held.iter().zip(reached) {
                if let Held::AtMost(row) = held {
                    let more = *reached as f64 - self.wish.at_most[*row];
                    bound -= self.tolls.levels[*row] * more;
                }
            }
        }
        // Beside copies the program counts groups and nines, as so little that all together are less than this.
        let copies = bound - 2.0 * LESS - ROUNDING;
        copies.ceil().max(0.0) as u64
    }
}

/// Where the programs of the priorities ended.
pub(crate) struct Fewest {
    /// Room is all that counts; what is missing is held to what was reached, as far down as programs came to an end.
    pub wish: Wish,
    /// Tolls at which the last one settled.
    pub tolls: Tolls,
    /// What is proven.
    pub proofs: Vec<Proof>,
    /// Sets that miss about as little, perhaps with too much on some backends.
    pub sets: Vec<Members>,
}

/// Goes down the priorities. `sets`: a placement within the limits, to begin with.
pub(crate) fn fewest(stock: &Stock, sets: Vec<Members>) -> Fewest {
    let ranks = stock.priorities.len();
    let mut lots: Vec<u32> = (0..stock.lots.len() as u32).collect();
    sort_by_size(stock, &mut lots);
    let mut found = Fewest {
        wish: Wish {
            cost: false,
            missing: vec![[Held::Least; 3]; ranks],
            fallbacks: Held::Aim(0.0),
            at_most: Vec::new(),
        },
        tolls: super::free(stock, &Wish::cost()),
        proofs: Vec::new(),
        sets,
    };
    found.tolls.room.fill(1.0);
    let (least, wanted) = (least(stock), wanted(stock));
    for rank in 0..ranks {
        let now = missing(stock, rank, &found.sets, &[]);
        if now.map(|amount| amount.round() as u64) == least[rank] {
            continue;
        }
        if !found.go_down(stock, &lots, rank, (&least[rank], &wanted[rank])) {
            found.wish.missing[rank..].fill([Held::Aim(0.0); 3]);
            break;
        }
    }
    found
}

impl Fewest {
    /// Brings one priority as far down as it goes. Whether the program came to an end.
    fn go_down(
        &mut self,
        stock: &Stock,
        lots: &[u32],
        rank: usize,
        (least, wanted): (&[u64; 3], &[u64; 3]),
    ) -> bool {
        let wish = aimed(&self.wish, rank, wanted);
        // What was worth a missing copy of the priority above is worth some of this one.
        let first = first_lacking(stock, rank, &self.sets);
        let nothing = super::free(stock, &wish);
        let start = best_sum(stock, &wish, (&nothing, &self.tolls), 1.0 / first);
        let Some((vertex, proof)) = settle(stock, &wish, (rank, start), self.sets.clone(), lots) else {
            return false;
        };
        if !vertex.tolls.are_finite() {
            return false;
        }
        self.tolls = vertex.tolls.clone();
        let reached = missing(stock, rank, &vertex.keys, &vertex.split());
        self.sets = vertex.keys;
        self.proofs.push(proof);
        for unit in Unit::ALL.map(|unit| unit as usize) {
            if let (true, Held::Aim(each)) = (wanted[unit] > 0, wish.missing[rank][unit]) {
                self.wish.missing[rank][unit] = Held::AtMost(self.wish.at_most.len());
                // Whole lots miss a whole number.
                let at_most = (reached[unit] - ROUNDING).ceil().max(least[unit] as f64);
                self.wish.at_most.push(at_most);
                self.tolls.levels.push(each);
            }
        }
        true
    }
}

/// Tolls and so many times others.
fn sum(tolls: &Tolls, others: &Tolls, times: f64) -> Tolls {
    let both = |tolls: &[f64], others: &[f64]| tolls.iter().zip(others).map(|(a, b)| a + b * times).collect();
    Tolls {
        room: both(&tolls.room, &others.room),
        budgets: both(&tolls.budgets, &others.budgets),
        levels: both(&tolls.levels, &others.levels),
    }
}

/// These tolls, and others as often as proves most; looked for from where the dearest of those is as dear as this.
pub(crate) fn best_sum(stock: &Stock, wish: &Wish, (tolls, others): (&Tolls, &Tolls), dear: f64) -> Tolls {
    let value = |times: f64| {
        let tolls = sum(tolls, others, times);
        super::bound(stock, wish, &tolls)
    };
    let dearest = others.room.iter().copied().fold(0.0, f64::max);
    let start = dear / dearest;
    if !(start > 0.0 && start.is_finite() && others.are_finite()) {
        // Where nothing is dear, there is nothing to take more often.
        return tolls.clone();
    }
    let mut best = (value(start), start);
    if !best.0.is_finite() {
        return tolls.clone();
    }
    for (step, most) in [(4.0, TIMES), (0.25, TIMES), (2.0, 1), (0.5, 1)] {
        for _ in 0..most {
            let times = best.1 * step;
            let found = value(times);
            if found <= best.0 {
                break;
            }
            best = (found, times);
        }
    }
    sum(tolls, others, best.1)
}

/// The same wish with what is missing of one priority to be minimised; what is below it does not count.
fn aimed(wish: &Wish, rank: usize, wanted: &[u64; 3]) -> Wish {
    let weight = |unit: usize| {
        if unit == 0 {
            1.0
        } else {
            LESS / (1 + wanted[unit]) as f64
        }
    };
    let mut missing = wish.missing.clone();
    missing[rank] = [0, 1, 2].map(|unit| Held::Aim(weight(unit)));
    missing[rank + 1..].fill([Held::Aim(0.0); 3]);
    Wish {
        cost: false,
        missing,
        fallbacks: Held::Aim(0.0),
        at_most: wish.at_most.clone(),
    }
}

/// Settles the program of one priority, beginning at these tolls; `None` if it does not come to an end.
fn settle<'s>(
    stock: &'s Stock,
    wish: &'s Wish,
    (rank, tolls): (usize, Tolls),
    mut sets: Vec<Members>,
    lots: &[u32],
) -> Option<(Vertex<'s>, Proof)> {
    let alone = super::bound(stock, wish, &tolls);
    // Those below make room. They keep what they have: each must lie somewhere, and at the cheapest place there is not room
    // for all.
    for (lot, set) in sets.iter_mut().enumerate() {
        if stock.shape(lot).rank as usize > rank {
            *set = stock.stay_set(lot);
        }
    }
    let around = BoxAround {
        tolls: &tolls,
        share: 0.1,
        of_mean: 0.0,
    };
    let mut vertex = Vertex::begin(stock, wish, sets, &around);
    let mut best = (alone, tolls.clone());
    let mut is_settled = false;
    for first in ROUNDS {
        let off = |objective: f64| SETTLED.0.max(SETTLED.1 * objective);
        let objective = vertex.objective().max(1.0);
        let effort = Effort {
            first,
            enough: best.0 + off(objective),
            ..EFFORT
        };
        let suffices = vertex.settle(lots, objective, effort);
        for tolls in [vertex.tolls.clone(), vertex.mean_tolls()] {
            let bound = super::bound(stock, wish, &tolls);
            if bound > best.0 {
                best = (bound, tolls);
            }
        }
        is_settled = suffices && (vertex.objective() - best.0).abs() <= off(vertex.objective());
        if is_settled {
            break;
        }
    }
    if !is_settled {
        return None;
    }
    let proof = Proof {
        rank,
        wish: wish.clone(),
        bound: best.0,
        tolls: best.1,
    };
    Some((vertex, proof))
}

/// What sets miss of one priority; `split`: lots that have several sets, with their shares.
fn missing(stock: &Stock, rank: usize, sets: &[Members], split: &[(u32, Vec<(Members, f64)>)]) -> [f64; 3] {
    let mut sums = [0.0; 3];
    let mut add = |lot: usize, members: &[u16], share: f64| {
        let short = stock.shortfall(lot, members);
        Unit::ALL
            .iter()
            .for_each(|unit| sums[*unit as usize] += share * f64::from(short.of(*unit)));
    };
    let mut split = split.iter().peekable();
    for (lot, members) in sets.iter().enumerate() {
        let shares = split.next_if(|(of, _)| *of as usize == lot);
        if stock.shape(lot).rank as usize != rank {
            continue;
        }
        match shares {
            Some((_, shares)) => shares
                .iter()
                .for_each(|(members, share)| add(lot, members, *share)),
            None => add(lot, members, 1.0),
        }
    }
    sums
}

/// For each priority, the least that every lot alone must miss.
pub(crate) fn least(stock: &Stock) -> Vec<[u64; 3]> {
    let mut least = vec![[0u64; 3]; stock.priorities.len()];
    for lot in 0..stock.lots.len() {
        let short = stock.least(lot);
        let sums = &mut least[stock.shape(lot).rank as usize];
        Unit::ALL
            .iter()
            .for_each(|unit| sums[*unit as usize] += u64::from(short.of(*unit)));
    }
    least
}

/// For each priority, what is wanted in each unit.
fn wanted(stock: &Stock) -> Vec<[u64; 3]> {
    let mut wanted = vec![[0u64; 3]; stock.priorities.len()];
    for lot in 0..stock.lots.len() {
        let shape = stock.shape(lot);
        let sums = &mut wanted[shape.rank as usize];
        let mut add = |need: &Need| sums[need.unit as usize] += u64::from(need.wanted);
        shape.needs.needs.iter().for_each(&mut add);
    }
    wanted
}

/// The size of the first lot of a priority that lacks something, were the small ones served first.
fn first_lacking(stock: &Stock, rank: usize, sets: &[Members]) -> f64 {
    let lacks = |lot: &usize| {
        stock.shape(*lot).rank as usize == rank && stock.shortfall(*lot, &sets[*lot]) != stock.least(*lot)
    };
    let mut sizes: Vec<u64> = (0..sets.len())
        .filter(lacks)
        .map(|lot| stock.lots[lot].bytes)
        .collect();
    sizes.sort_unstable();
    let first = sizes.get((sizes.len() as f64 * FIRST_LACKING) as usize);
    // An empty dataset needs no room, and no room is worth one.
    first.map_or(1.0, |bytes| (*bytes as f64).max(1.0))
}
