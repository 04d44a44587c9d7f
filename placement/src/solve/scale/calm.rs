//! Calm: a plan that changes little is worth more than one that saves little.
//!
//! At the optimum very many sets are tied, and which of them a program ends at is chance. Carried out plan after plan,
//! copies would wander to and fro for nothing. So where what is there now, with the few changes that each pay for
//! themselves, is as near to the bound as any plan need be, that is the plan; and in any plan a change that gains nothing
//! by itself is taken back.

use super::super::need::Shortfall;
use super::placed::Placed;
use super::shortage::stays;
use super::stock::{FALLBACK, Scales, Stock};
use super::wish::{Tolls, Wish};
use super::{SETTLED, Settled};

/// How much more than the bound a calm plan may cost, in multiples of what any plan may.
const CALM: f64 = 2.0;
/// Relative gain at the tolls below which a lot stays where it is.
const GAIN: f64 = 1e-6;
/// Relative difference below which two costs are equal.
const EQUAL: f64 = 1e-9;

/// Makes a settled plan calm.
pub(crate) fn calm(stock: &Stock, settled: &mut Settled) {
    if let Some(placed) = stay_and_improve(stock, &settled.tolls) {
        let cost = placed.cost(stock);
        let enough = cost - settled.bound <= CALM * SETTLED * settled.bound.abs();
        if enough || cost <= settled.placed.cost(stock) {
            settled.placed = placed;
            return;
        }
    }
    take_back(stock, &mut settled.placed);
}

/// Whether a lot meets what it can as it is.
pub(crate) fn is_content(stock: &Stock, lot: usize, members: &[u16]) -> bool {
    *members != [FALLBACK] && stock.shortfall(lot, members) == stock.least(lot)
}

/// What is there now, with the changes that each lot would gain by; `None` if that does not meet all that can be met.
fn stay_and_improve(stock: &Stock, tolls: &Tolls) -> Option<Placed> {
    let sets = stays(stock);
    if !sets
        .iter()
        .enumerate()
        .all(|(lot, members)| is_content(stock, lot, members))
    {
        return None;
    }
    let wish = Wish::cost();
    let mut scales = Scales::default();
    let mut gainers = Vec::new();
    for (lot, members) in sets.iter().enumerate() {
        stock.weigh(lot, &wish, tolls, &mut scales);
        let now = stock.value(lot, &wish, tolls, members, &scales);
        let best = stock.choose(lot, &wish, tolls, &mut scales)?;
        if best.value < now - GAIN * now.abs() {
            gainers.push((best.value - now, lot as u32));
        }
    }
    gainers.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let gainers: Vec<u32> = gainers.into_iter().map(|(_, lot)| lot).collect();
    let mut placed = Placed::of(stock, sets);
    placed.improve(stock, (&wish, tolls), &gainers, f64::INFINITY);
    Some(placed)
}

/// Takes back what gains nothing: a lot that costs no more as it is stays so.
fn take_back(stock: &Stock, placed: &mut Placed) {
    for (lot, stay) in stays(stock).into_iter().enumerate() {
        if placed.sets[lot] == stay || *stay == [FALLBACK] {
            continue;
        }
        let short = |members: &[u16]| -> Shortfall { stock.shortfall(lot, members) };
        let no_worse = short(&stay) <= short(&placed.sets[lot]);
        let no_dearer = || stock.cost_of(lot, &stay) <= stock.cost_of(lot, &placed.sets[lot]) * (1.0 + EQUAL);
        if no_worse && no_dearer() && placed.fits(stock, lot, &stay) {
            placed.change(stock, lot, stay);
        }
    }
}
