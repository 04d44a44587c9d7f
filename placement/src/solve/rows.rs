//! The rows that choices share, for the LP: room, budgets, and what was reached for the levels above; and their prices.

use super::need::Unit;
use super::pattern::Pattern;
use super::search::Task;

/// What one round minimises: the levels of the objective, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// What the datasets of one priority miss in one unit.
    Missing(Unit, i64),
    /// Datasets that keep inadmissible copies for want of better.
    Fallbacks,
    /// Cost per month.
    Cost,
}

impl Aim {
    /// What a pattern of a dataset of some priority adds to the aim.
    pub fn measure(self, priority: i64, pattern: &Pattern) -> f64 {
        match self {
            Self::Missing(unit, of) if of == priority => f64::from(pattern.short.of(unit)),
            Self::Missing(..) => 0.0,
            Self::Fallbacks => f64::from(u8::from(pattern.fallback)),
            Self::Cost => pattern.cost,
        }
    }

    /// Whether the aim counts in whole numbers.
    pub fn is_counted(self) -> bool {
        self != Self::Cost
    }
}

/// A level above that is settled: its sum over all datasets must not exceed what was reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Settled {
    pub aim: Aim,
    pub at_most: f64,
}

/// What the rounds so far settled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Levels {
    /// For each choice, what may be missing in each unit, and whether its fallback is: set where the sum
    /// is the least that the datasets reach each alone.
    pub caps: Vec<Caps>,
    /// Sums that are more than that.
    pub settled: Vec<Settled>,
}

/// What one choice is held to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Caps {
    pub missing: [Option<u32>; 3],
    pub no_fallback: bool,
}

impl Caps {
    /// Whether a pattern keeps to them.
    pub fn allow(&self, pattern: &Pattern) -> bool {
        let within =
            |unit: &Unit| self.missing[*unit as usize].is_none_or(|max| pattern.short.of(*unit) <= max);
        Unit::ALL.iter().all(within) && !(self.no_fallback && pattern.fallback)
    }
}

impl Levels {
    /// What every row is limited to: rooms, then budgets, then settled levels.
    pub fn limits(&self, task: &Task) -> impl Iterator<Item = f64> {
        let room = task.limits.room.iter().map(|room| *room as f64);
        let settled = self.settled.iter().map(|level| level.at_most);
        room.chain(task.limits.budgets.iter().copied()).chain(settled)
    }

    /// What a pattern of a choice uses of each row, in the same order; some of it may be nothing.
    pub fn uses(&self, task: &Task, index: usize, pattern: &Pattern) -> impl Iterator<Item = (usize, f64)> {
        let choice = &task.choices[index];
        let (rooms, budgets) = (task.limits.room.len(), task.limits.budgets.len());
        let room = pattern.takes.iter();
        let room = room.map(|backend| (*backend, choice.bytes as f64));
        let spends = pattern.spends.iter().enumerate();
        let spends = spends.map(move |(budget, spends)| (rooms + budget, *spends));
        let settled = self.settled.iter().enumerate();
        let settled = settled.map(move |(level, settled)| {
            let measure = settled.aim.measure(choice.priority, pattern);
            (rooms + budgets + level, measure)
        });
        room.chain(spends).chain(settled)
    }
}

/// The price of one unit of every row; none is below zero.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowPrices {
    /// For each backend, per byte.
    pub room: Vec<f64>,
    /// For each budget, per unit.
    pub budgets: Vec<f64>,
    /// For each settled level, per unit.
    pub levels: Vec<f64>,
}

impl RowPrices {
    /// Everything is free.
    pub fn zero(task: &Task, levels: &Levels) -> Self {
        Self {
            room: vec![0.0; task.limits.room.len()],
            budgets: vec![0.0; task.limits.budgets.len()],
            levels: vec![0.0; levels.settled.len()],
        }
    }

    /// The prices of all rows: rooms, then budgets, then settled levels.
    pub fn all(&self) -> impl Iterator<Item = f64> {
        let rows = self.room.iter().chain(&self.budgets).chain(&self.levels);
        rows.copied()
    }

    /// What the limits of all rows are worth.
    pub fn of_limits(&self, task: &Task, levels: &Levels) -> f64 {
        let room: f64 = self
            .room
            .iter()
            .zip(&task.limits.room)
            .map(|(price, room)| price * *room as f64)
            .sum();
        let budgets: f64 = self
            .budgets
            .iter()
            .zip(&task.limits.budgets)
            .map(|(price, limit)| price * limit)
            .sum();
        let settled: f64 = self
            .levels
            .iter()
            .zip(&levels.settled)
            .map(|(price, level)| price * level.at_most)
            .sum();
        room + budgets + settled
    }

    /// What a pattern costs at these prices, its measure included.
    pub fn of_pattern(&self, task: &Task, levels: &Levels, aim: Aim, index: usize, pattern: &Pattern) -> f64 {
        let choice = &task.choices[index];
        let room: f64 = pattern
            .takes
            .iter()
            .map(|backend| self.room[*backend] * choice.bytes as f64)
            .sum();
        let budgets: f64 = self
            .budgets
            .iter()
            .zip(&pattern.spends)
            .map(|(price, spends)| price * spends)
            .sum();
        let settled = self.levels.iter().zip(&levels.settled);
        let settled: f64 = settled
            .map(|(price, level)| price * level.aim.measure(choice.priority, pattern))
            .sum();
        aim.measure(choice.priority, pattern) + room + budgets + settled
    }
}
