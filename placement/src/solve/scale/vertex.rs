//! The linear program over all lots, solved to a vertex by the simplex method with generalised upper bounds
//! (Dantzig and Van Slyke, 1967): each lot takes one set, or a mix that adds up to one.
//!
//! One set of each lot is its *key*; the basis holds, for the rows alone, slacks and the few other sets of lots that are
//! split. New sets are not listed but priced: at the present tolls each lot is asked for its best one. So a program with a
//! million lots and every possible set of backends has a basis of the size of the backends, and a vertex splits at
//! most as many lots as there are rows.
//!
//! The tolls begin where a smaller program ended. Until they are proven wrong they are held in a box around that
//! (du Merle and others, 1999): room left over is paid the low end, room that lacks costs the high end, and where such a
//! payment is still made at the optimum the box is widened. What comes of all this is advice: the bound is worked out by
//! exact pricing, and the placement by rounding.

use std::collections::BTreeMap;

use super::basis::{Column, Inverse};
use super::effort::{Basic, BoxAround, Effort, Entering, Leaving, Mean};
use super::lacking::Terms;
use super::members::Members;
use super::rows::Rows;
use super::scales::Scales;
use super::sieve::Sieve;
use super::stock::Stock;
use super::sweep::Sweep;
use super::wish::{Tolls, Wish};

/// Entries of a product below this are rounding, as a share of the largest.
const NOISE: f64 = 1e-9;
/// Ratios that differ by less are ties, of which the largest pivot is taken.
const RATIO_TIE: f64 = 1e-12;
/// By how much the gain below which a lot is left as it is falls from turn to turn.
const FALL: f64 = 4.0;
/// Times that boxes are widened before the other lots are asked too.
const WIDENINGS: u32 = 12;
/// Relative gain below which nothing is a gain.
const LAST_GAIN: f64 = 1e-9;
/// Turns without a pivot, after which the lots that are looked at have no more to give.
const IDLE_TURNS: u32 = 8;
/// Turns over the lots that gained, after one over all; and the share of what all gained at which they end.
const INNER_TURNS: u32 = 10;
const INNER_DONE: f64 = 0.1;

/// The program at one vertex.
pub(crate) struct Vertex<'s> {
    stock: &'s Stock,
    wish: &'s Wish,
    rows: Rows,
    /// For each lot, its key.
    pub keys: Vec<Members>,
    /// What the keys use of each row.
    load: Vec<f64>,
    /// What the keys add to what is minimised.
    measured: f64,
    inverse: Inverse,
    basics: Vec<Basic>,
    /// The value at each position of the basis.
    values: Vec<f64>,
    /// For each lot with sets in the basis, their positions.
    groups: BTreeMap<u32, Vec<usize>>,
    /// The price of each row.
    duals: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
    /// The same prices, per unit of each row.
    pub tolls: Tolls,
    scales: Scales,
    product: Vec<f64>,
    sieve: Sieve,
    /// The prices since the last start.
    mean: Mean,
    /// The tolls of the backends, and a last one that is zero.
    room_tolls: Vec<f64>,
    pivots: u64,
}

impl<'s> Vertex<'s> {
    /// Begins with these keys, and prices in a box.
    pub fn begin(stock: &'s Stock, wish: &'s Wish, keys: Vec<Members>, around: &BoxAround<'_>) -> Self {
        let mut rows = Rows::of(stock, wish);
        let load = rows.load(stock, wish, &keys);
        let measured = rows.measure_all(stock, wish, &keys);
        let worth = rows.worth(wish, (keys.len(), measured), &load).to_vec();
        let start = rows.prices(around.tolls);
        let width = |row: usize| around.share * start[row] + around.of_mean * worth[row];
        let low: Vec<_> = (0..start.len())
            .map(|row| (start[row] - width(row)).max(0.0))
            .collect();
        let high: Vec<_> = (0..start.len()).map(|row| start[row] + width(row)).collect();
        let rest: Vec<_> = rows
            .limits
            .iter()
            .zip(&load)
            .map(|(limit, load)| limit - load)
            .collect();
        let signs: Vec<_> = rest
            .iter()
            .map(|rest| if *rest >= 0.0 { 1.0 } else { -1.0 })
            .collect();
        let basics = (0..rest.len()).map(|row| {
            if rest[row] >= 0.0 {
                Basic::Slack(row)
            } else {
                Basic::Over(row)
            }
        });
        let duals: Vec<_> = (0..rest.len())
            .map(|row| if rest[row] >= 0.0 { low[row] } else { high[row] })
            .collect();
        Self {
            inverse: Inverse::of_signs(&signs),
            basics: basics.collect(),
            values: rest.iter().map(|rest| rest.abs()).collect(),
            groups: BTreeMap::new(),
            tolls: rows.tolls(&duals),
            measured,
            stock,
            wish,
            keys,
            load,
            duals,
            low,
            high,
            scales: Scales::keeping(stock),
            product: Vec::new(),
            sieve: Sieve::default(),
            mean: Mean::default(),
            room_tolls: Vec::new(),
            pivots: 0,
            rows,
        }
    }

    /// Goes to the best vertex that these lots can reach; the others keep their keys. `false` if room or money lacks however dear it is.
    pub fn settle(&mut self, lots: &[u32], objective: f64, effort: Effort) -> bool {
        self.set_tolls();
        let keys = |lot: usize| &self.keys[lot][..];
        let sifted = if effort.sifts > 0.0 { lots } else { &[] };
        self.sieve = Sieve::of(
            self.stock,
            self.wish,
            &self.tolls,
            (sifted, effort.sifts),
            keys,
            &mut self.scales,
        );
        let mut movers = Vec::new();
        let (mut idle, mut widenings) = (0, 0);
        let mut least = effort.first;
        self.mean.clear();
        for _ in 0..effort.turns {
            movers.clear();
            let before = self.pivots;
            let gains = self.turn(lots, least, Some(&mut movers));
            let widened = self.widen();
            widenings += u32::from(widened);
            let is_done = !widened && gains <= effort.done * objective.abs();
            idle = if before == self.pivots { idle + 1 } else { 0 };
            let is_enough = || !self.lacks() && self.objective() <= effort.enough;
            if is_done
                || (effort.enough > f64::NEG_INFINITY && is_enough())
                || idle > IDLE_TURNS
                || widenings > WIDENINGS
            {
                break;
            }
            // Those that gained are the likeliest to gain again.
            for _ in 0..INNER_TURNS {
                if self.turn(&movers, least, None) <= INNER_DONE * gains {
                    break;
                }
            }
            if before == self.pivots || !widened {
                least = (least / FALL).max(LAST_GAIN);
            }
        }
        !self.lacks()
    }

    /// Asks each of these lots once; what they gain, and which do.
    fn turn(&mut self, lots: &[u32], least: f64, mut movers: Option<&mut Vec<u32>>) -> f64 {
        let mut gains = 0.0;
        for lot in lots {
            let gain = self.look_at(*lot, least);
            gains += gain.abs();
            if gain > 0.0
                && let Some(movers) = movers.as_deref_mut()
            {
                movers.push(*lot);
            }
        }
        gains
    }

    /// Asks one lot for its best set and takes it on if it gains enough. What it gains.
    fn look_at(&mut self, lot: u32, least: f64) -> f64 {
        let at = lot as usize;
        let bytes = self.stock.lots[at].bytes as f64;
        let simple = self.stock.shape(at).simple.as_ref();
        let terms = Terms::where_lacking(self.stock, at, self.wish, &self.tolls);
        let near = self.sieve.choose(
            (simple, terms),
            (at, bytes),
            &self.room_tolls,
            &self.keys[at],
            &mut self.scales.members,
        );
        if let Some(near) = near {
            return self.take_up(lot, least, near.now, near.then);
        }
        self.stock.weigh(at, self.wish, &self.tolls, &mut self.scales);
        let best = self
            .stock
            .choose_or_stay(at, self.wish, &self.tolls, &mut self.scales);
        let now = self
            .stock
            .value(at, self.wish, &self.tolls, &self.keys[at], &self.scales);
        self.take_up(lot, least, now, best.value)
    }

    /// Takes the set on the scales on if it gains enough. What it gains, below zero if it was not enough.
    fn take_up(&mut self, lot: u32, least: f64, now: f64, then: f64) -> f64 {
        let gain = now - then;
        if gain <= least * now.abs() {
            return -gain.max(0.0);
        }
        let members = Members::of(&self.scales.members);
        self.enter(Entering::Set(lot, members), -gain);
        gain
    }

    /// Brings something into the basis whose price is below what it replaces, then whatever row prices left their box.
    fn enter(&mut self, entering: Entering, reduced: f64) {
        let changed = self.pivot(entering, reduced);
        if !changed {
            return;
        }
        for _ in 0..self.basics.len() {
            let Some((entering, reduced)) = self.outside() else {
                return;
            };
            if !self.pivot(entering, reduced) {
                return;
            }
        }
    }

    fn set_tolls(&mut self) {
        self.rows.set_tolls(&self.duals, &mut self.tolls);
        self.mean.add(&self.duals);
        self.room_tolls.clear();
        self.room_tolls.extend_from_slice(&self.tolls.room);
        self.room_tolls.push(0.0);
    }

    /// The row whose price is furthest outside its box.
    fn outside(&self) -> Option<(Entering, f64)> {
        let mut worst = (0.0, None);
        for (row, dual) in self.duals.iter().enumerate() {
            let rounding = NOISE * (self.high[row].abs() + f64::MIN_POSITIVE);
            let below = self.low[row] - dual;
            let above = dual - self.high[row];
            if below > rounding && below > worst.0 {
                worst = (below, Some(Entering::Slack(row)));
            }
            if above > rounding && above > worst.0 {
                worst = (above, Some(Entering::Over(row)));
            }
        }
        worst.1.map(|entering| (entering, -worst.0))
    }

    fn column(&self, entering: &Entering) -> Column {
        match entering {
            Entering::Slack(row) => vec![(*row, 1.0)],
            Entering::Over(row) => vec![(*row, -1.0)],
            Entering::Set(lot, members) => self.beside_key(*lot, members),
        }
    }

    /// What a set uses, less what its lot's key uses.
    fn beside_key(&self, lot: u32, members: &[u16]) -> Column {
        let mut column = Column::new();
        let at = lot as usize;
        self.rows
            .uses(self.stock, self.wish, (at, members), 1.0, &mut column);
        self.rows
            .uses(self.stock, self.wish, (at, &self.keys[at]), -1.0, &mut column);
        column.sort_unstable_by_key(|(row, _)| *row);
        column.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0.0 };
            same
        });
        column.retain(|(_, amount)| *amount != 0.0);
        column
    }

    /// One step of the simplex method. Whether the basis, and so the prices, changed.
    fn pivot(&mut self, entering: Entering, reduced: f64) -> bool {
        let column = self.column(&entering);
        let mut product = std::mem::take(&mut self.product);
        self.inverse.times(&column, &mut product);
        let (step, leaving) = self.ratio(&entering, &product);
        let changed = self.step(entering, &column, &mut product, (step, leaving, reduced));
        self.product = product;
        if changed && self.inverse.is_worn() {
            self.renew();
        }
        changed
    }

    /// How far the entering variable can go, and what stops it.
    fn ratio(&self, entering: &Entering, product: &[f64]) -> (f64, Leaving) {
        let largest = product.iter().fold(0.0f64, |most, entry| most.max(entry.abs()));
        let noise = NOISE * largest;
        let own = match entering {
            Entering::Set(lot, _) => Some(*lot),
            _ => None,
        };
        let (mut step, mut pivot, mut leaving) = match own {
            Some(lot) if !self.groups.contains_key(&lot) => (1.0, f64::INFINITY, Leaving::OwnKey),
            _ => (f64::INFINITY, 0.0, Leaving::Nothing),
        };
        let mut offer = |ratio: f64, size: f64, what: Leaving| {
            if ratio < step - RATIO_TIE || (ratio <= step + RATIO_TIE && size > pivot) {
                (step, pivot, leaving) = (ratio.min(step), size, what);
            }
        };
        for (position, entry) in product.iter().enumerate() {
            if *entry > noise {
                offer(
                    self.values[position].max(0.0) / entry,
                    *entry,
                    Leaving::Position(position),
                );
            }
        }
        for (lot, positions) in &self.groups {
            let rest = 1.0
                - positions
                    .iter()
                    .map(|position| self.values[*position])
                    .sum::<f64>();
            let falls = f64::from(u8::from(own == Some(*lot)))
                - positions.iter().map(|position| product[*position]).sum::<f64>();
            if falls > noise {
                offer(rest.max(0.0) / falls, falls, Leaving::Key(*lot));
            }
        }
        (step, leaving)
    }

    /// Carries out one step. Whether the basis changed.
    fn step(
        &mut self,
        entering: Entering,
        column: &[(usize, f64)],
        product: &mut Vec<f64>,
        (step, leaving, reduced): (f64, Leaving, f64),
    ) -> bool {
        if matches!(leaving, Leaving::Nothing) {
            return false;
        }
        self.values
            .iter_mut()
            .zip(product.iter())
            .for_each(|(value, entry)| *value -= step * entry);
        let position = match leaving {
            Leaving::OwnKey | Leaving::Nothing => {
                column.iter().for_each(|(row, amount)| self.load[*row] += amount);
                if let Entering::Set(lot, members) = entering {
                    self.change_key(lot, members);
                }
                return false;
            }
            Leaving::Position(position) => position,
            Leaving::Key(lot) => {
                let position = self.rekey(lot);
                let column = self.column(&entering);
                self.inverse.times(&column, product);
                position
            }
        };
        self.leave(position);
        let ratio = reduced / product[position];
        for (row, dual) in self.duals.iter_mut().enumerate() {
            *dual -= ratio * self.inverse.entry(position, row);
        }
        self.inverse.replace(position, product);
        self.values[position] = step;
        self.basics[position] = match entering {
            Entering::Slack(row) => Basic::Slack(row),
            Entering::Over(row) => Basic::Over(row),
            Entering::Set(lot, members) => {
                self.groups.entry(lot).or_default().push(position);
                Basic::Set(lot, members)
            }
        };
        self.set_tolls();
        self.pivots += 1;
        true
    }

    /// Gives a lot another key; the one before.
    fn change_key(&mut self, lot: u32, members: Members) -> Members {
        let at = lot as usize;
        let measure = |members: &[u16]| self.rows.measure(self.stock, self.wish, at, members);
        self.measured += measure(&members) - measure(&self.keys[at]);
        std::mem::replace(&mut self.keys[at], members)
    }

    fn leave(&mut self, position: usize) {
        let Basic::Set(lot, _) = &self.basics[position] else {
            return;
        };
        let lot = *lot;
        if let Some(positions) = self.groups.get_mut(&lot) {
            positions.retain(|other| *other != position);
            if positions.is_empty() {
                self.groups.remove(&lot);
            }
        }
    }

    /// Lets the largest set of a split lot be its key; the position where the old key stands now.
    fn rekey(&mut self, lot: u32) -> usize {
        let positions = self.groups.get(&lot).cloned().unwrap_or_default();
        let largest = positions
            .iter()
            .copied()
            .max_by(|a, b| self.values[*a].total_cmp(&self.values[*b]));
        let position = largest.unwrap_or_else(|| unreachable!("a split lot has a set in the basis"));
        let rest = 1.0 - positions.iter().map(|other| self.values[*other]).sum::<f64>();
        if let Basic::Set(_, members) = &self.basics[position] {
            let members = members.clone();
            for (row, amount) in self.beside_key(lot, &members) {
                self.load[row] += amount;
            }
            let key = self.change_key(lot, members);
            self.basics[position] = Basic::Set(lot, key);
        }
        self.inverse.rekey(position, &positions);
        self.values[position] = rest;
        position
    }

    /// Works out inverse, values and prices anew, so that rounding does not add up.
    fn renew(&mut self) {
        let columns = self.basics.iter().map(|basic| match basic {
            Basic::Slack(row) => vec![(*row, 1.0)],
            Basic::Over(row) => vec![(*row, -1.0)],
            Basic::Set(lot, members) => self.beside_key(*lot, members),
        });
        let columns: Vec<Column> = columns.collect();
        if !self.inverse.renew(&columns) {
            return;
        }
        let rest: Column = self
            .rows
            .limits
            .iter()
            .zip(&self.load)
            .map(|(limit, load)| limit - load)
            .enumerate()
            .collect();
        let mut values = std::mem::take(&mut self.values);
        self.inverse.times(&rest, &mut values);
        self.values = values;
        self.price();
    }

    /// Works out the prices: nothing in the basis gains or loses.
    fn price(&mut self) {
        let costs = self.basics.iter().map(|basic| match basic {
            Basic::Slack(row) => -self.low[*row],
            Basic::Over(row) => self.high[*row],
            Basic::Set(lot, members) => {
                let at = *lot as usize;
                let measure = |members: &[u16]| self.rows.measure(self.stock, self.wish, at, members);
                measure(members) - measure(&self.keys[at])
            }
        });
        let costs: Vec<f64> = costs.collect();
        for (row, dual) in self.duals.iter_mut().enumerate() {
            *dual = -costs
                .iter()
                .enumerate()
                .map(|(k, cost)| cost * self.inverse.entry(k, row))
                .sum::<f64>();
        }
        self.set_tolls();
    }

    /// Widens the box where its edge is still paid. Whether it was.
    fn widen(&mut self) -> bool {
        let mut widened = false;
        for (basic, value) in self.basics.iter().zip(&self.values) {
            match basic {
                Basic::Slack(row) if self.low[*row] > 0.0 && *value > self.rows.rounding(*row) => {
                    let width = (self.high[*row] - self.low[*row]).max(self.high[*row] * 0.01);
                    self.low[*row] = (self.low[*row] - width).max(0.0);
                    widened = true;
                }
                Basic::Over(row) if *value > self.rows.rounding(*row) => {
                    let width = (self.high[*row] - self.low[*row]).max(self.rows.step(*row));
                    self.high[*row] += width;
                    widened = true;
                }
                _ => {}
            }
        }
        if widened {
            self.price();
        }
        widened
    }

    /// Whether some row lacks room or money.
    fn lacks(&self) -> bool {
        let over = |(basic, value): (&Basic, &f64)| match basic {
            Basic::Over(row) => *value > self.rows.rounding(*row),
            _ => false,
        };
        self.basics.iter().zip(&self.values).any(over)
    }

    /// The mean tolls since the last start.
    pub fn mean_tolls(&self) -> Tolls {
        if self.mean.sums.is_empty() {
            return self.tolls.clone();
        }
        let mean: Vec<f64> = self
            .mean
            .sums
            .iter()
            .map(|sum| sum / self.mean.count.max(1.0))
            .collect();
        self.rows.tolls(&mean)
    }

    /// What the mix costs, with what is still paid at the edges of boxes left out.
    pub fn objective(&self) -> f64 {
        let sets = self
            .basics
            .iter()
            .zip(&self.values)
            .map(|(basic, value)| match basic {
                Basic::Set(lot, members) => {
                    let at = *lot as usize;
                    let measure = |members: &[u16]| self.rows.measure(self.stock, self.wish, at, members);
                    value * (measure(members) - measure(&self.keys[at]))
                }
                _ => 0.0,
            });
        self.measured + sets.sum::<f64>()
    }

    /// The lots that are whole and would gain by the best set that a sweep at these tolls found, and what they would gain.
    pub fn gains(&mut self, sweep: &Sweep, tolls: &Tolls) -> Vec<(u32, f64)> {
        let mut gains = Vec::new();
        for (lot, best) in sweep.sets.iter().enumerate() {
            if *best == self.keys[lot] || self.groups.contains_key(&(lot as u32)) {
                continue;
            }
            self.stock.weigh(lot, self.wish, tolls, &mut self.scales);
            let value = |members: &[u16]| self.stock.value(lot, self.wish, tolls, members, &self.scales);
            let (now, then) = (value(&self.keys[lot]), value(best));
            if then < now - LAST_GAIN * now.abs() {
                gains.push((lot as u32, now - then));
            }
        }
        gains
    }

    /// Each lot that is split, with its sets and their shares, the key first.
    pub fn split(&self) -> Vec<(u32, Vec<(Members, f64)>)> {
        let of_lot = |(lot, positions): (&u32, &Vec<usize>)| {
            let sets = positions
                .iter()
                .filter_map(|position| match &self.basics[*position] {
                    Basic::Set(_, members) => Some((members.clone(), self.values[*position])),
                    _ => None,
                });
            let rest = 1.0
                - positions
                    .iter()
                    .map(|position| self.values[*position])
                    .sum::<f64>();
            let key = (self.keys[*lot as usize].clone(), rest);
            (*lot, std::iter::once(key).chain(sets).collect())
        };
        self.groups.iter().map(of_lot).collect()
    }
}
