//! Every lot's best set at given tolls: the start of a program, and the bound that proves its end.

use super::members::Members;
use super::scales::Scales;
use super::stock::{Best, Stock};
use super::wish::{Tolls, Wish};

/// The best sets of all lots at given tolls.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// For each lot, its best set.
    pub sets: Vec<Members>,
    /// For each lot, what the next best exchange costs more, as a share of the price of the best set.
    pub margins: Vec<f32>,
    /// Sum of the prices.
    pub value: f64,
    /// No sets of all lots together are priced below this.
    pub bound: f64,
}

/// Asks every lot.
pub(crate) fn sweep(stock: &Stock, wish: &Wish, tolls: &Tolls) -> Sweep {
    let mut sweep = Sweep {
        sets: Vec::with_capacity(stock.lots.len()),
        margins: Vec::with_capacity(stock.lots.len()),
        ..Sweep::default()
    };
    let mut last: (u32, f32) = (u32::MAX, 0.0);
    for_each_best(stock, wish, tolls, |scales, lot, best| {
        sweep.sets.push(Members::of(&scales.members));
        let class = stock.lots[lot].class;
        let is_twin = lot > 0 && stock.is_twin(lot - 1, lot);
        if last.0 != class || !(is_twin || stock.is_alike(lot, wish)) {
            let share = if best.value > 0.0 && !wish.may_lack(stock.shape(lot).rank) {
                stock.margin(lot, scales) / best.value
            } else {
                0.0
            };
            last = (class, share as f32);
        }
        sweep.margins.push(last.1);
        sweep.value += best.value;
        sweep.bound += best.bound;
    });
    sweep
}

/// The sum of the bounds of all lots at given tolls.
pub(crate) fn bound(stock: &Stock, wish: &Wish, tolls: &Tolls) -> f64 {
    let mut sum = 0.0;
    for_each_best(stock, wish, tolls, |_, _, best| sum += best.bound);
    sum
}

/// Calls back with each lot's best set, in the order of the lots. Where the lots of a class choose alike, or are twins,
/// one is asked for all.
fn for_each_best(stock: &Stock, wish: &Wish, tolls: &Tolls, mut take: impl FnMut(&Scales, usize, Best)) {
    let mut scales = Scales::default();
    let mut last: Option<(u32, f64, f64)> = None;
    let mut twin = Best {
        value: 0.0,
        bound: 0.0,
    };
    for (lot, item) in stock.lots.iter().enumerate() {
        let bytes = item.bytes as f64;
        if lot > 0 && stock.is_twin(lot - 1, lot) {
            take(&scales, lot, twin);
            continue;
        }
        if let Some((class, value, bound)) = last
            && class == item.class
        {
            let best = Best {
                value: value * bytes,
                bound: bound * bytes,
            };
            take(&scales, lot, best);
            twin = best;
            continue;
        }
        stock.weigh(lot, wish, tolls, &mut scales);
        let best = stock.choose_or_stay(lot, wish, tolls, &mut scales);
        take(&scales, lot, best);
        twin = best;
        let alike = stock.is_alike(lot, wish);
        last = alike.then(|| (item.class, best.value / bytes, best.bound / bytes));
    }
}
