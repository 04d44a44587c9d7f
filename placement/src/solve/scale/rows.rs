//! The rows that lots share, each divided by its limit, so that their numbers are alike: backends, budgets, levels.

use super::super::need::Unit;
use super::basis::Column;
use super::members::{FALLBACK, Members};
use super::stock::Stock;
use super::wish::{Held, Tolls, Wish};

/// The rows.
#[derive(Debug)]
pub(crate) struct Rows {
    backends: usize,
    budgets: usize,
    /// For each row, what its numbers are divided by.
    divisors: Vec<f64>,
    /// For each row, its limit, divided.
    pub limits: Vec<f64>,
    /// For each row, the mean worth of one unit of it, divided.
    steps: Vec<f64>,
}

impl Rows {
    /// The rows of a stock and a wish.
    pub fn of(stock: &Stock, wish: &Wish) -> Self {
        let room = stock.limits.room.iter().map(|room| *room as f64);
        let limits: Vec<f64> = room
            .chain(stock.limits.budgets.iter().copied())
            .chain(wish.at_most.iter().copied())
            .collect();
        let bytes: f64 = stock.lots.iter().map(|lot| lot.bytes as f64).sum();
        let spare = (bytes / stock.limits.room.len().max(1) as f64).max(1.0);
        let backends = stock.limits.room.len();
        let divisor = |(row, limit): (usize, &f64)| match *limit {
            limit if limit > 0.0 => limit,
            _ if row < backends => spare,
            _ => 1.0,
        };
        let divisors: Vec<f64> = limits.iter().enumerate().map(divisor).collect();
        Self {
            backends,
            budgets: stock.limits.budgets.len(),
            limits: limits
                .iter()
                .zip(&divisors)
                .map(|(limit, divisor)| limit / divisor)
                .collect(),
            steps: vec![0.0; divisors.len()],
            divisors,
        }
    }

    /// What is rounding in a row.
    pub fn rounding(&self, _row: usize) -> f64 {
        1e-9
    }

    /// By how much a box is widened at least.
    pub fn step(&self, row: usize) -> f64 {
        self.steps[row]
    }

    /// Adds what a set uses of the rows, times a factor.
    pub fn uses(
        &self,
        stock: &Stock,
        wish: &Wish,
        (lot, members): (usize, &[u16]),
        factor: f64,
        column: &mut Column,
    ) {
        let bytes = stock.lots[lot].bytes as f64 * factor;
        if bytes != 0.0 {
            stock.takes(lot, members, |backend| {
                column.push((backend, bytes / self.divisors[backend]))
            });
        }
        for budget in stock.shape(lot).budgets.iter().map(|budget| *budget as usize) {
            let row = self.backends + budget;
            column.push((
                row,
                factor * stock.spends_of(lot, members, budget) / self.divisors[row],
            ));
        }
        if wish.at_most.is_empty() {
            return;
        }
        for (level, amount) in wish.of_levels(stock, lot, members) {
            let row = self.backends + self.budgets + level;
            column.push((row, factor * amount / self.divisors[row]));
        }
    }

    /// What a set adds to what is minimised.
    pub fn measure(&self, stock: &Stock, wish: &Wish, lot: usize, members: &[u16]) -> f64 {
        let cost = if wish.cost {
            stock.cost_of(lot, members)
        } else {
            0.0
        };
        let held = wish
            .missing
            .get(stock.shape(lot).rank as usize)
            .copied()
            .unwrap_or([Held::Least; 3]);
        let mut counted = 0.0;
        if held
            .iter()
            .any(|held| matches!(held, Held::Aim(each) if *each > 0.0))
        {
            let short = stock.shortfall(lot, members);
            for (unit, held) in Unit::ALL.into_iter().zip(held) {
                if let Held::Aim(each) = held {
                    counted += each * f64::from(short.of(unit));
                }
            }
        }
        if let Held::Aim(each) = wish.fallbacks
            && members == [FALLBACK]
        {
            counted += each;
        }
        cost + counted
    }

    /// What the keys add to what is minimised.
    pub fn measure_all(&self, stock: &Stock, wish: &Wish, keys: &[Members]) -> f64 {
        let keys = keys.iter().enumerate();
        keys.map(|(lot, key)| self.measure(stock, wish, lot, key)).sum()
    }

    /// What the keys use of each row.
    pub fn load(&self, stock: &Stock, wish: &Wish, keys: &[Members]) -> Vec<f64> {
        let mut load = vec![0.0; self.limits.len()];
        let mut column = Column::new();
        for (lot, key) in keys.iter().enumerate() {
            column.clear();
            self.uses(stock, wish, (lot, key), 1.0, &mut column);
            column.iter().for_each(|(row, amount)| load[*row] += amount);
        }
        load
    }

    /// The mean worth of each row: all that is minimised, by what the rows of its kind are used. `measured`: what so many
    /// keys add to what is minimised.
    pub fn worth(&mut self, wish: &Wish, (keys, measured): (usize, f64), load: &[f64]) -> &[f64] {
        let measured = if measured > 0.0 {
            measured
        } else {
            keys as f64 * f64::from(u8::from(!wish.cost))
        };
        let used: f64 = load
            .iter()
            .zip(&self.divisors)
            .take(self.backends)
            .map(|(load, by)| load * by)
            .sum();
        let per_byte = measured / used.max(1.0);
        for (row, step) in self.steps.iter_mut().enumerate() {
            *step = if row < self.backends {
                per_byte * self.divisors[row]
            } else {
                measured / load[row].max(self.limits[row]).max(1e-12)
            };
        }
        &self.steps
    }

    /// Tolls as prices of the divided rows.
    pub fn prices(&self, tolls: &Tolls) -> Vec<f64> {
        let all = tolls.room.iter().chain(&tolls.budgets).chain(&tolls.levels);
        all.zip(&self.divisors)
            .map(|(toll, divisor)| toll * divisor)
            .collect()
    }

    /// Prices of the divided rows as tolls; none is below zero.
    pub fn tolls(&self, prices: &[f64]) -> Tolls {
        let mut tolls = Tolls::default();
        self.set_tolls(prices, &mut tolls);
        tolls
    }

    /// The same, in place.
    pub fn set_tolls(&self, prices: &[f64], tolls: &mut Tolls) {
        let mut all = prices
            .iter()
            .zip(&self.divisors)
            .map(|(price, divisor)| (price / divisor).max(0.0));
        tolls.room.clear();
        tolls.room.extend(all.by_ref().take(self.backends));
        tolls.budgets.clear();
        tolls.budgets.extend(all.by_ref().take(self.budgets));
        tolls.levels.clear();
        tolls.levels.extend(all);
    }
}
