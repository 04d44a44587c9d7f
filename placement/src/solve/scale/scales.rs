//! What weighing one lot after the other needs, in memory that is kept.

use super::super::picker::{Picker, Prices};
use super::stock::Stock;

/// Works out prices of candidates and best sets, in memory that is kept.
#[derive(Debug, Default)]
pub(crate) struct Scales {
    /// For each candidate of the lot weighed last, its price.
    pub prices: Prices,
    /// For each candidate, whether it is there now.
    pub current: Vec<bool>,
    pub picker: Picker,
    /// The members of the set found last.
    pub members: Vec<usize>,
    /// Costs of candidates that were worked out before.
    pub flat: Vec<f64>,
    /// Whether they are kept, and for each class or lot where they begin.
    keeps: bool,
    of_class: Vec<u32>,
    of_lot: Vec<u32>,
}

/// Costs that are kept at most: 32 MB of them.
const KEPT_COSTS: usize = 4_000_000;
/// Not kept yet.
const UNKNOWN: u32 = u32::MAX;

impl Scales {
    /// Scales that keep the costs of candidates: for lots that are weighed again and again.
    pub fn keeping(stock: &Stock) -> Self {
        Self {
            keeps: true,
            of_class: vec![UNKNOWN; stock.catalog.classes.len()],
            of_lot: vec![UNKNOWN; stock.lots.len()],
            ..Self::default()
        }
    }

    /// Where the costs of a lot's candidates begin, and what they are times.
    pub fn costs(&mut self, stock: &Stock, lot: usize) -> (usize, f64) {
        let item = &stock.lots[lot];
        let proportional = stock.class(lot).is_proportional();
        let scale = if proportional { item.bytes as f64 } else { 1.0 };
        let known = match proportional {
            _ if !self.keeps => UNKNOWN,
            true => self.of_class[item.class as usize],
            false => self.of_lot[lot],
        };
        if known != UNKNOWN {
            return (known as usize, scale);
        }
        if !self.keeps || self.flat.len() > KEPT_COSTS {
            self.keeps = false;
            self.flat.truncate(KEPT_COSTS.min(self.flat.len()));
        }
        if !self.keeps {
            self.flat.clear();
        }
        let start = self.flat.len();
        stock.list_costs(lot, &mut self.flat);
        if self.keeps {
            let known = match proportional {
                true => &mut self.of_class[item.class as usize],
                false => &mut self.of_lot[lot],
            };
            *known = start as u32;
        }
        (start, scale)
    }
}
