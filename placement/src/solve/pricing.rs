//! Every dataset's best pattern at given row prices, exactly: what makes the lower bound true whatever the LP did.

use super::need::Unit;
use super::pattern::Pattern;
use super::picker::{self, Prices};
use super::rows::{Aim, Levels, RowPrices};
use super::search::Task;

/// Everything that pricing needs beside the row prices.
#[derive(Clone, Copy)]
pub(crate) struct Market<'a> {
    pub task: &'a Task,
    pub levels: &'a Levels,
    pub aim: Aim,
}

/// A dataset's best pattern at row prices.
pub(crate) struct Priced {
    pub pattern: Pattern,
    /// What it costs at the prices.
    pub value: f64,
    /// No pattern of the dataset costs less at the prices.
    pub bound: f64,
}

impl Market<'_> {
    /// What the candidates and shortfalls of one choice cost at row prices.
    pub fn prices(&self, index: usize, rows: &RowPrices) -> Prices {
        let choice = &self.task.choices[index];
        let of_candidate = |candidate: &super::choice::Candidate| {
            let cost = if self.aim == Aim::Cost {
                candidate.cost
            } else {
                0.0
            };
            let room = if candidate.takes_room {
                rows.room[candidate.backend] * choice.bytes as f64
            } else {
                0.0
            };
            let budgets: f64 = rows
                .budgets
                .iter()
                .zip(&candidate.spends)
                .map(|(price, spends)| price * spends)
                .sum();
            cost + room + budgets
        };
        let weight = |wanted: Aim| {
            let settled = self
                .levels
                .settled
                .iter()
                .zip(&rows.levels)
                .filter(|(level, _)| level.aim == wanted);
            settled.map(|(_, price)| price).sum::<f64>() + f64::from(u8::from(self.aim == wanted))
        };
        let caps = self.levels.caps[index];
        Prices {
            candidates: choice.candidates.iter().map(of_candidate).collect(),
            missing: Unit::ALL.map(|unit| weight(Aim::Missing(unit, choice.priority))),
            max_missing: caps.missing,
        }
    }

    /// The best pattern of one choice.
    pub fn best(&self, index: usize, rows: &RowPrices) -> Priced {
        let choice = &self.task.choices[index];
        let stay = &self.task.stays[index];
        let stay_value = rows.of_pattern(self.task, self.levels, self.aim, index, stay);
        let stays = || Priced {
            pattern: stay.clone(),
            value: stay_value,
            bound: stay_value,
        };
        let Some(pick) = picker::pick(choice.offer(), &self.prices(index, rows)) else {
            return stays();
        };
        // A fallback is no set of candidates, so that the picker does not see it.
        if stay.fallback && self.levels.caps[index].allow(stay) && stay_value < pick.bound {
            return stays();
        }
        let bound = if stay.fallback && self.levels.caps[index].allow(stay) {
            pick.bound.min(stay_value)
        } else {
            pick.bound
        };
        Priced {
            pattern: Pattern::of_members(choice, &pick.members),
            value: pick.value,
            bound,
        }
    }

    /// Every allowed pattern of one choice whose priced value is at most `threshold`; `None` if there are too many.
    pub fn all(&self, index: usize, rows: &RowPrices, threshold: f64, limit: usize) -> Option<Vec<Pattern>> {
        let choice = &self.task.choices[index];
        let stay = &self.task.stays[index];
        let mut found: Vec<_> =
            picker::enumerate(choice.offer(), &self.prices(index, rows), threshold, limit)?
                .into_iter()
                .map(|members| Pattern::of_members(choice, &members))
                .collect();
        if stay.fallback && self.levels.caps[index].allow(stay) {
            found.push(stay.clone());
        }
        Some(found)
    }
}
