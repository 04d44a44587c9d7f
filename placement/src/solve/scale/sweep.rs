//! Every lot's best set at given tolls: the start of a program, and the bound that proves its end.

use super::stock::{Members, Scales, Stock, Tolls, Wish};

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
    for_each_best(stock, wish, tolls, |scales, value, bound, margin| {
        sweep
            .sets
            .push(scales.members.iter().map(|member| *member as u16).collect());
        sweep.margins.push(margin);
        sweep.value += value;
        sweep.bound += bound;
    });
    sweep
}

/// The sum of the bounds of all lots at given tolls.
pub(crate) fn bound(stock: &Stock, wish: &Wish, tolls: &Tolls) -> f64 {
    let mut sum = 0.0;
    for_each_best(stock, wish, tolls, |_, _, bound, _| sum += bound);
    sum
}

/// Calls back with each lot's best set, in the order of the lots: price, bound and relative margin. Where all costs of a
/// class go with bytes, its lots choose alike, and one is asked for all.
fn for_each_best(stock: &Stock, wish: &Wish, tolls: &Tolls, mut take: impl FnMut(&Scales, f64, f64, f32)) {
    let mut scales = Scales::default();
    let mut last: Option<(u32, f64, f64, f32)> = None;
    for (lot, item) in stock.lots.iter().enumerate() {
        let bytes = item.bytes as f64;
        if let Some((class, value, bound, margin)) = last
            && class == item.class
        {
            take(&scales, value * bytes, bound * bytes, margin);
            continue;
        }
        stock.weigh(lot, wish, tolls, &mut scales);
        let best = stock.choose(lot, wish, tolls, &mut scales);
        let margin = if best.value > 0.0 {
            (best.margin / best.value) as f32
        } else {
            0.0
        };
        take(&scales, best.value, best.bound, margin);
        let alike =
            stock.class(lot).proportional && wish.cost && wish.missing.is_empty() && stock.tight.is_empty();
        let alike =
            alike && stock.shape(lot).simple.is_some() && stock.shape(lot).budgets.is_empty() && bytes > 0.0;
        last = alike.then(|| (item.class, best.value / bytes, best.bound / bytes, margin));
    }
}
