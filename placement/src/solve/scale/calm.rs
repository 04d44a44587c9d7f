//! Calm: a plan that changes little is worth more than one that saves little.
//!
//! At the optimum very many sets are tied, and which of them a program ends at is chance. Carried out plan after plan,
//! copies would wander to and fro for nothing. So where what is there now, with the few changes that each pay for
//! themselves, is as near to the bound as any plan need be, that is the plan; and in any plan a change that gains nothing
//! by itself is taken back.

use super::super::need::Shortfall;
use super::members::FALLBACK;
use super::placed::Placed;
use super::scales::Scales;
use super::shortage::stays;
use super::stock::Stock;
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
fn is_content(stock: &Stock, lot: usize) -> bool {
    stock.class(lot).fallback().is_none() && stock.shortfall_of_stay(lot) == stock.least(lot)
}

/// What is there now, with the changes that each lot would gain by; `None` if that does not meet all that can be met.
fn stay_and_improve(stock: &Stock, tolls: &Tolls) -> Option<Placed> {
    if !(0..stock.lots.len()).all(|lot| is_content(stock, lot)) {
        return None;
    }
    let sets = stays(stock);
    let wish = Wish::cost();
    let mut scales = Scales::default();
    let mut gainers = Vec::new();
    let mut gain = 0.0;
    for (lot, members) in sets.iter().enumerate() {
        if lot == 0 || !stock.is_twin(lot - 1, lot) {
            stock.weigh(lot, &wish, tolls, &mut scales);
            let now = stock.value(lot, &wish, tolls, members, &scales);
            let best = stock.choose(lot, &wish, tolls, &mut scales)?;
            gain = if best.value < now - GAIN * now.abs() {
                best.value - now
            } else {
                0.0
            };
        }
        if gain < 0.0 {
            gainers.push((gain, lot as u32));
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
    for lot in 0..stock.lots.len() {
        let stay = stock.stay_set(lot);
        if placed.sets[lot] == stay || *stay == [FALLBACK] {
            continue;
        }
        let short = stock.shortfall_of_stay(lot);
        let no_worse = || short == Shortfall::default() || short <= stock.shortfall(lot, &placed.sets[lot]);
        let no_dearer = || stock.cost_of(lot, &stay) <= stock.cost_of(lot, &placed.sets[lot]) * (1.0 + EQUAL);
        if no_dearer() && no_worse() && placed.fits(stock, lot, &stay) {
            placed.change(stock, lot, stay);
        }
    }
}
