//! What lots minimise, what they are held to, and what the rows that they share cost.

use super::super::need::Unit;

/// Prices of the rows that lots share, per unit of each.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Tolls {
    /// For each backend, per byte.
    pub room: Vec<f64>,
    /// For each budget, per unit.
    pub budgets: Vec<f64>,
    /// For each level that was settled above the least, per unit.
    pub levels: Vec<f64>,
}

/// How much may be missing in one unit of the lots of one priority, or how many may fall back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Each lot alone to the least that it reaches.
    Least,
    /// It is what is minimised.
    Aim,
    /// All together to what was reached: the row of that number.
    AtMost(usize),
}

/// What the lots minimise, and what they are held to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wish {
    /// Whether cost is minimised.
    pub cost: bool,
    /// For each priority by its rank, for each unit; none: everything is held to the least.
    pub missing: Vec<[Held; 3]>,
    /// Inadmissible copies that stay for want of better.
    pub fallbacks: Held,
    /// What the settled levels are held to.
    pub at_most: Vec<f64>,
}

impl Wish {
    /// The least cost, everything that can be met being met.
    pub fn cost() -> Self {
        Self {
            cost: true,
            missing: Vec::new(),
            fallbacks: Held::Least,
            at_most: Vec::new(),
        }
    }

    /// Whether nothing but cost is minimised, and everything else is held to the least.
    pub fn is_cost_alone(&self) -> bool {
        self.cost && self.missing.is_empty() && self.fallbacks == Held::Least
    }

    /// What a missing unit costs; `None`: no more may be missing than the least.
    pub fn price_of(&self, unit: Unit, rank: u32, tolls: &Tolls) -> Option<f64> {
        let levels = self.missing.get(rank as usize)?;
        price(levels[unit as usize], tolls)
    }
}

pub(crate) fn price(held: Held, tolls: &Tolls) -> Option<f64> {
    match held {
        Held::Least => None,
        Held::Aim => Some(1.0),
        Held::AtMost(row) => Some(tolls.levels[row]),
    }
}
