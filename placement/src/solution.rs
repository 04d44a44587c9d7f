//! What a solver answers.

use std::collections::BTreeMap;

use crate::cost::Objective;

/// A placement with its proof.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Solution {
    /// For each dataset of the problem, the backends of its set, ascending.
    pub sets: Vec<Vec<usize>>,
    /// What it costs, recomputed by the formulas.
    pub objective: Objective,
    /// No placement that satisfies as much costs less per month.
    pub lower_bound: f64,
    /// For each backend, what one more GiB of capacity would save per month; 0 where there is room.
    pub shadow_prices: Vec<f64>,
    /// Where not everything fits: what is missing of a priority, the highest first, and how little could be. Worked out in
    /// large estates alone, and for as many priorities as could be proven.
    pub shortages: Vec<Shortage>,
    /// Datasets that stay where they are, since the copies that they want cannot be made.
    pub stuck: BTreeMap<usize, Stuck>,
}

/// How much of one priority is missing where not everything fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// The priority.
    pub priority: i64,
    /// Copies that its datasets miss, as far as they have anything to choose.
    pub missing: u64,
    /// No placement that misses no more of the priorities above it than this one misses fewer copies.
    pub at_least: u64,
}

/// Why the copies that a dataset wants cannot be made, though every rule admits them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stuck {
    /// They would wait for each other's room in a circle of these backends.
    Circle(Vec<usize>),
    /// Links let them come to these backends only through relays, which have no room for them beside the rest of the
    /// plan.
    Relays(Vec<usize>),
    /// The dataset is satisfied, and what they cost would not be saved within so many days.
    Payback(u32),
}

impl Solution {
    /// How far the plan can be from the best one: `(objective - bound) / objective`, 0 if both are 0.
    #[must_use]
    pub fn gap(&self) -> f64 {
        let per_month = self.objective.per_month;
        if per_month > 0.0 {
            ((per_month - self.lower_bound) / per_month).max(0.0)
        } else {
            0.0
        }
    }
}
