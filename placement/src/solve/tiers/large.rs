//! Tariffs in large estates: what can be billed on a backend is divided into parts, in each of which the tariff is nearly
//! straight.
//!
//! A node is a range of billed bytes for each backend. Its tolls are the slopes of the convex envelopes of the tariffs
//! there; one linear choice at them gives sets and a bound. The node that proves least is divided next, at the backend
//! where the tariff of what the sets bill is furthest above its envelope. All nodes together cover everything, so that
//! the least of their bounds holds. A few nodes are all that a large estate pays for: each costs a linear choice.

use std::cmp::Ordering;

use crate::problem::Problem;
use crate::solution::Shortage;
use crate::tariff::Tariff;

use super::super::scale::{self, FALLBACK, Placed, SETTLED, Settled, Stock, Tolls, Wish};
use super::charges::{Charges, Demand};
use super::moving::Moving;

/// Lots and, up to so many, linear choices over the whole range and nodes.
const EFFORTS: [(usize, usize, usize); 3] = [(20_000, 8, 24), (200_000, 4, 10), (usize::MAX, 3, 4)];
/// Relative gain for which a plan is taken that is not as calm as the first.
const GAIN: f64 = 1e-5;

/// The charges that the lots of a stock decide, given the sets of all other datasets.
pub(in super::super) fn charges_of(
    problem: &Problem,
    stock: &Stock,
    is_lot: &[bool],
    sets: &[Vec<usize>],
) -> Option<Charges> {
    Charges::of(problem, &stock.limits.room, is_lot, sets, |tariffs| {
        let mut demands = vec![Demand::default(); tariffs.len()];
        for lot in 0..stock.lots.len() {
            demand(stock, lot, tariffs, &mut demands);
        }
        demands
    })
}

fn demand(stock: &Stock, lot: usize, tariffs: &[Option<Tariff>], demands: &mut [Demand]) {
    let (class, shape) = (stock.class(lot), stock.shape(lot));
    let bytes = u128::from(stock.lots[lot].bytes);
    for (position, backend) in shape.backends.iter().enumerate() {
        if tariffs[*backend as usize].is_none() {
            continue;
        }
        let billed = stock.billed(lot, *backend) as u128;
        let demand = &mut demands[*backend as usize];
        if shape.needs.forced[position] {
            demand.forced += billed;
        } else if class.roomless().contains(&(position as u16)) {
            demand.roomless += billed;
        } else {
            demand.most += billed;
            demand.excess += billed.saturating_sub(bytes);
        }
    }
    if class.fallback().is_some() {
        for backend in stock.backends(lot, &[FALLBACK]) {
            if tariffs[backend].is_some() {
                demands[backend].roomless += stock.billed(lot, backend as u32) as u128;
            }
        }
    }
}

/// A choice of all lots with its proof.
pub(in super::super) struct Priced {
    pub placed: Placed,
    /// What it costs with all charges.
    pub cost: f64,
    /// No choice that satisfies as much costs less, in the same sense.
    pub bound: f64,
    /// Nothing costs less than nothing, whatever rounding leaves.
    pub floor: f64,
    pub tolls: Tolls,
    /// Where not everything fits, how much is missing and how little could be.
    pub shortages: Vec<Shortage>,
}

impl Priced {
    /// A choice without tariffs.
    pub fn of(settled: Settled, stock: &Stock) -> Self {
        Self {
            cost: settled.placed.cost(stock),
            placed: settled.placed,
            bound: settled.bound,
            floor: f64::NEG_INFINITY,
            tolls: settled.tolls,
            shortages: settled.shortages,
        }
    }
}

/// Ranges of what is billed, and what was proved there.
struct Node {
    ranges: Vec<(f64, f64)>,
    bound: f64,
    /// What the sets of its linear choice bill.
    billed: Vec<f64>,
    /// The tolls of rooms and budgets.
    near: Option<Tolls>,
}

/// The choice of all lots at the least true cost.
pub(in super::super) fn choose(stock: &mut Stock, charges: &Charges) -> Priced {
    let mut search = Search::begin(stock, charges);
    let (.., most) = effort(search.moving.stock);
    for _ in 0..most {
        let Some(open) = search.weakest() else { break };
        let node = search.nodes.swap_remove(open);
        let Some(parts) = search.divide(&node) else {
            // Its envelopes are what is truly charged, and what is left open is the linear choice's own gap.
            search.closed = search.closed.min(node.bound);
            continue;
        };
        for ranges in parts {
            search.visit(ranges, &node);
        }
    }
    search.end()
}

fn effort(stock: &Stock) -> (usize, usize, usize) {
    let fits = |(lots, ..): &(usize, usize, usize)| stock.lots.len() <= *lots;
    EFFORTS.into_iter().find(fits).unwrap_or_default()
}

/// Tolls, and between which they are looked for: where a tariff gets dearer, a toll may let all come and the next let
/// nobody, and the right one is between.
struct Brackets {
    tolls: Vec<f64>,
    between: Vec<(f64, f64)>,
}

impl Brackets {
    fn around(charges: &Charges, billed: &[f64]) -> Self {
        Self {
            tolls: charges.tolls(&charges.ranges, billed),
            between: vec![(f64::NEG_INFINITY, f64::INFINITY); billed.len()],
        }
    }

    /// Narrows them by what is billed at the tolls. Whether any toll moves.
    fn narrow(&mut self, charges: &Charges, billed: &[f64]) -> bool {
        let wanted = charges.tolls(&charges.ranges, billed);
        let mut moves = false;
        for (backend, _) in charges.backends() {
            let (toll, next) = (self.tolls[backend], wanted[backend]);
            let (low, high) = &mut self.between[backend];
            if next > toll {
                *low = low.max(toll);
            } else if next < toll {
                *high = high.min(toll);
            } else {
                continue;
            }
            let is_new = next > *low && next < *high;
            self.tolls[backend] = if is_new { next } else { f64::midpoint(*low, *high) };
            moves |= (self.tolls[backend] - toll).abs() > 1e-9 * toll.abs();
        }
        moves
    }
}

struct Search<'a> {
    charges: &'a Charges,
    moving: Moving<'a>,
    nodes: Vec<Node>,
    /// The least bound of nodes that are not divided any further.
    closed: f64,
    best: (Placed, f64),
    tolls: Tolls,
    /// Whether not everything could be met: then one node is all.
    is_short: bool,
    /// What is known of that, and what the placement misses of which it is known.
    shortages: (Vec<Shortage>, Missing),
}

/// What a placement misses, and how many fall back.
type Missing = (Vec<[u64; 3]>, usize);

impl<'a> Search<'a> {
    /// The whole range.
    fn begin(stock: &'a mut Stock, charges: &'a Charges) -> Self {
        let mut moving = Moving::of(stock, charges);
        let ranges = charges.ranges.clone();
        let stays = Placed::of(moving.stock, scale::stays(moving.stock));
        let mut brackets = Brackets::around(charges, &moving.amounts(&stays));
        let mut best: Option<(Placed, f64)> = None;
        let mut root: Option<(Node, Tolls)> = None;
        let mut is_short = false;
        let mut shortages = (Vec::new(), Missing::default());
        let (_, rounds, _) = effort(moving.stock);
        for _ in 0..rounds {
            let tolls = brackets.tolls.clone();
            moving.set_tolls(&tolls);
            let mut settled = scale::choose(moving.stock);
            is_short = moving.is_short(&settled.placed);
            if is_short {
                shortages = (
                    std::mem::take(&mut settled.shortages),
                    moving.levels(&settled.placed),
                );
            }
            let bound = settled.bound + charges.least(&tolls, &ranges);
            let billed = moving.amounts(&settled.placed);
            let moves = brackets.narrow(charges, &billed);
            if root.as_ref().is_none_or(|(node, _)| bound > node.bound) {
                let node = Node {
                    ranges: ranges.clone(),
                    bound,
                    billed,
                    near: Some(settled.tolls.clone()),
                };
                root = Some((node, settled.tolls.clone()));
            }
            offer(&mut moving, &mut best, settled);
            let open = best.as_ref().zip(root.as_ref());
            let is_done = open.is_some_and(|(best, (node, _))| best.1 - node.bound <= SETTLED * best.1.abs());
            if is_short || !moves || is_done {
                break;
            }
        }
        let (Some((node, tolls)), Some(best)) = (root, best) else {
            unreachable!("there is at least one round")
        };
        Self {
            charges,
            nodes: vec![node],
            closed: f64::INFINITY,
            best,
            tolls,
            is_short,
            shortages,
            moving,
        }
    }

    /// The node that proves least, if that leaves anything open.
    fn weakest(&self) -> Option<usize> {
        let open = |node: &Node| self.best.1 - node.bound > SETTLED * self.best.1.abs();
        let by_bound = |a: &usize, b: &usize| self.nodes[*a].bound.total_cmp(&self.nodes[*b].bound);
        let nodes = (0..self.nodes.len()).filter(|node| !self.is_short && open(&self.nodes[*node]));
        // Where what is never divided any further proves less, nothing is gained.
        let least = nodes.min_by(|a, b| by_bound(a, b).then(a.cmp(b)))?;
        (self.nodes[least].bound < self.closed).then_some(least)
    }

    /// The two parts of a node; `None` where its envelopes are what is charged.
    fn divide(&self, node: &Node) -> Option<[Vec<(f64, f64)>; 2]> {
        let mut best: Option<(f64, usize, f64)> = None;
        for (backend, tariff) in self.charges.backends() {
            let gain = tariff.best_cut(node.ranges[backend], node.billed[backend]);
            let Some((cut, gain)) = gain else { continue };
            if best.is_none_or(|(most, ..)| gain > most) {
                best = Some((gain, backend, cut));
            }
        }
        let (gain, backend, cut) = best?;
        if gain <= 1e-12 * self.best.1.abs() {
            return None;
        }
        let (least, most) = node.ranges[backend];
        // What is billed is whole bytes: either nothing beyond the least, or one more.
        let ends = if cut <= least {
            (least, least + 1.0)
        } else {
            (cut, cut)
        };
        let part = |range: (f64, f64)| {
            let mut ranges = node.ranges.clone();
            ranges[backend] = range;
            ranges
        };
        Some([part((least, ends.0)), part((ends.1, most))])
    }

    /// Asks for the linear choice of a part of a node.
    fn visit(&mut self, ranges: Vec<(f64, f64)>, parent: &Node) {
        let charges = self.charges;
        let within = |(billed, (least, most)): (&f64, &(f64, f64))| billed.clamp(*least, *most);
        let billed: Vec<f64> = parent.billed.iter().zip(&ranges).map(within).collect();
        let tolls = charges.tolls(&ranges, &billed);
        self.moving.set_tolls(&tolls);
        let limits = self.moving.stock.limits.clone();
        for (backend, _) in charges.backends() {
            // A copy takes no more room than it bills.
            let most = (ranges[backend].1 - charges.fixed[backend] as f64).max(0.0);
            let room = &mut self.moving.stock.limits.room[backend];
            *room = (*room).min(most.ceil() as u128);
        }
        let settled = scale::cheapest(self.moving.stock, parent.near.as_ref());
        let charged = charges.least(&tolls, &ranges);
        match settled {
            Ok(settled) => {
                self.moving.stock.limits = limits;
                let node = Node {
                    bound: (settled.bound + charged).max(parent.bound),
                    billed: self.moving.amounts(&settled.placed),
                    near: Some(settled.tolls.clone()),
                    ranges,
                };
                let mut best = Some((self.best.0.clone(), self.best.1));
                offer(&mut self.moving, &mut best, settled);
                self.best = best.unwrap_or_else(|| unreachable!("there is one already"));
                self.nodes.push(node);
            }
            Err(tolls) => {
                let bound = scale::bound(self.moving.stock, &Wish::cost(), &tolls);
                self.moving.stock.limits = limits;
                self.closed = self.closed.min((bound + charged).max(parent.bound));
            }
        }
    }

    fn end(mut self) -> Priced {
        let bound = self
            .nodes
            .iter()
            .map(|node| node.bound)
            .fold(self.closed, f64::min);
        let (mut placed, _) = self.best;
        self.moving.take_back(&mut placed);
        if let Some(stays) = self.moving.stays_if_as_good(&placed) {
            placed = stays;
        }
        let cost = self.moving.cost(&placed);
        // What was proven holds for whatever misses just as much.
        let (shortages, missing) = self.shortages;
        let is_known = !shortages.is_empty() && self.moving.levels(&placed) == missing;
        Priced {
            bound: bound.min(cost),
            floor: 0.0,
            cost,
            placed,
            tolls: self.tolls,
            shortages: if is_known { shortages } else { Vec::new() },
        }
    }
}

/// Improves what a linear choice came to, and takes it if it is enough better than what is known.
fn offer(moving: &mut Moving<'_>, best: &mut Option<(Placed, f64)>, settled: Settled) {
    let Settled { mut placed, near, .. } = settled;
    if !placed.is_within(moving.stock) {
        return;
    }
    moving.improve(&mut placed, near);
    let cost = moving.cost(&placed);
    let is_better = best.as_ref().is_none_or(|(known, least)| {
        let levels = moving.levels(&placed).cmp(&moving.levels(known));
        levels == Ordering::Less || (levels == Ordering::Equal && cost < least - GAIN * least.abs())
    });
    if is_better {
        *best = Some((placed, cost));
    }
}
