//! What lots minimise, what they are held to, and what the rows that they share cost.

use super::super::need::Unit;
use super::members::FALLBACK;
use super::stock::Stock;

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

impl Tolls {
    /// Whether they can be reckoned with.
    pub fn are_finite(&self) -> bool {
        let mut all = self.room.iter().chain(&self.budgets).chain(&self.levels);
        all.all(|toll| toll.is_finite())
    }
}

/// How much may be missing in one unit of the lots of one priority, or how many may fall back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Held {
    /// Each lot alone to the least that it reaches.
    Least,
    /// It is what is minimised, each at so much; at nothing, it does not matter.
    Aim(f64),
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

    /// Whether lots of this rank may miss more than the least for a price.
    pub fn may_lack(&self, rank: u32) -> bool {
        let levels = self.missing.get(rank as usize);
        levels.is_some_and(|levels| levels.iter().any(|held| *held != Held::Least))
    }

    /// What a set has of the settled levels.
    pub fn of_levels(&self, stock: &Stock, lot: usize, members: &[u16]) -> Vec<(usize, f64)> {
        let held = self.missing.get(stock.shape(lot).rank as usize);
        let held = held.copied().unwrap_or([Held::Least; 3]);
        let mut levels = Vec::new();
        if held.iter().any(|held| matches!(held, Held::AtMost(_))) {
            let short = stock.shortfall(lot, members);
            for (unit, held) in Unit::ALL.into_iter().zip(held) {
                if let Held::AtMost(level) = held {
                    levels.push((level, f64::from(short.of(unit))));
                }
            }
        }
        if let Held::AtMost(level) = self.fallbacks
            && members == [FALLBACK]
        {
            levels.push((level, 1.0));
        }
        levels
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
        Held::Aim(each) => Some(each),
        Held::AtMost(row) => Some(tolls.levels[row]),
    }
}
