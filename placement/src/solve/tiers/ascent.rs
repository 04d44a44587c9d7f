//! Prices and tolls that prove as much as they can: every dataset's best pattern at them, exactly, and a step towards
//! what is used too much or billed otherwise than the tariffs would have it.

use super::super::pricing::Market;
use super::super::rows::{Aim, Levels, RowPrices};
use super::bills::Billing;

/// Steps.
const STEPS: u32 = 200;
/// Steps without gain after which steps become shorter.
const PATIENCE: u32 = 4;
/// Strides below which nothing is gained any more.
const LEAST_STRIDE: f64 = 1e-3;

/// Prices, tolls and what they prove.
#[derive(Clone)]
pub(super) struct Height {
    pub bound: f64,
    pub tolls: Vec<f64>,
    pub prices: RowPrices,
}

impl Height {
    /// Nothing is proven yet.
    pub fn at(tolls: Vec<f64>, prices: RowPrices) -> Self {
        Self {
            bound: f64::NEG_INFINITY,
            tolls,
            prices,
        }
    }
}

/// What the choices use at some prices above what is given, in the order of the rows.
struct Over {
    room: Vec<f64>,
    budgets: Vec<f64>,
    levels: Vec<f64>,
    billed: Vec<f64>,
}

/// Climbs from a start until `below` is proven, or no further.
pub(super) fn climb(billing: &Billing<'_>, levels: &Levels, start: Height, below: f64) -> Height {
    let charges = billing.charges;
    let scales = Scales::of(billing, levels);
    let mut task = billing.tolled(&start.tolls);
    let mut at = start.clone();
    let mut best = start;
    let (mut stride, mut idle) = (1.0, 0);
    for _ in 0..STEPS {
        billing.charge(&at.tolls, &mut task);
        let market = Market {
            task: &task,
            levels,
            aim: Aim::Cost,
        };
        let (sum, over) = ask(billing, &market, &at);
        at.bound = sum + charges.least(&at.tolls, &charges.ranges);
        if at.bound > best.bound {
            best = at.clone();
            idle = 0;
        } else {
            idle += 1;
            if idle == PATIENCE {
                (stride, idle) = (stride / 2.0, 0);
                at = best.clone();
            }
        }
        let gap = below - at.bound;
        if best.bound >= below || stride < LEAST_STRIDE || !scales.step(billing, &mut at, &over, stride * gap)
        {
            break;
        }
    }
    best
}

/// Every choice's best pattern: the sum of their bounds less the worth of the limits, and what they use too much.
fn ask(billing: &Billing<'_>, market: &Market<'_>, at: &Height) -> (f64, Over) {
    let (task, charges, levels) = (billing.task, billing.charges, market.levels);
    let aims = charges.aims(&at.tolls, &charges.ranges);
    let mut over = Over {
        room: task.limits.room.iter().map(|room| -(*room as f64)).collect(),
        budgets: task.limits.budgets.iter().map(|limit| -limit).collect(),
        levels: levels.settled.iter().map(|level| -level.at_most).collect(),
        billed: charges
            .fixed
            .iter()
            .zip(&aims)
            .map(|(fixed, aim)| *fixed as f64 - aim)
            .collect(),
    };
    let mut sum = -at.prices.of_limits(task, levels);
    for (index, choice) in task.choices.iter().enumerate() {
        let priced = market.best(index, &at.prices);
        sum += priced.bound;
        let pattern = &priced.pattern;
        pattern
            .takes
            .iter()
            .for_each(|backend| over.room[*backend] += choice.bytes as f64);
        over.budgets
            .iter_mut()
            .zip(&pattern.spends)
            .for_each(|(sum, spends)| *sum += spends);
        for (sum, level) in over.levels.iter_mut().zip(&levels.settled) {
            *sum += level.aim.measure(choice.priority, pattern);
        }
        for (backend, bytes) in billing.of_set(index, &pattern.set) {
            over.billed[backend] += bytes as f64;
        }
    }
    (sum, over)
}

/// Sizes of rows, so that steps suit all of them; and how low tolls may be.
struct Scales {
    bytes: f64,
    budgets: Vec<f64>,
    floors: Vec<f64>,
}

impl Scales {
    fn of(billing: &Billing<'_>, levels: &Levels) -> Self {
        let (task, problem) = (billing.task, billing.problem);
        let largest = task.choices.iter().map(|choice| choice.bytes).max().unwrap_or(0);
        let spends = |budget: usize| {
            let candidates = task.choices.iter().flat_map(|choice| &choice.candidates);
            let most = candidates
                .map(|candidate| candidate.spends[budget])
                .fold(0.0, f64::max);
            if most > 0.0 { most } else { 1.0 }
        };
        debug_assert!(levels.caps.len() == task.choices.len());
        Self {
            bytes: (largest as f64).max(1.0),
            budgets: (0..task.limits.budgets.len()).map(spends).collect(),
            floors: problem
                .backends
                .iter()
                .map(|place| -place.price.storage_per_gib_month / domicile_estate::BYTES_PER_GIB)
                .collect(),
        }
    }

    /// Moves prices and tolls. Whether there was anything to move.
    fn step(&self, billing: &Billing<'_>, at: &mut Height, over: &Over, length: f64) -> bool {
        let is_priced: Vec<bool> = billing.charges.tariffs.iter().map(Option::is_some).collect();
        let rooms = at
            .prices
            .room
            .iter_mut()
            .zip(&over.room)
            .map(|(price, over)| (price, *over, self.bytes, 0.0));
        let budgets = at.prices.budgets.iter_mut().zip(&over.budgets).zip(&self.budgets);
        let budgets = budgets.map(|((price, over), scale)| (price, *over, *scale, 0.0));
        let levels = at
            .prices
            .levels
            .iter_mut()
            .zip(&over.levels)
            .map(|(price, over)| (price, *over, 1.0, 0.0));
        let tolls = at
            .tolls
            .iter_mut()
            .zip(&over.billed)
            .zip(&self.floors)
            .zip(is_priced);
        let tolls = tolls.filter(|(_, is_priced)| *is_priced);
        let tolls = tolls.map(|(((toll, over), floor), _)| (toll, *over, self.bytes, *floor));
        let rows: Vec<(&mut f64, f64, f64, f64)> = rooms.chain(budgets).chain(levels).chain(tolls).collect();
        let moves = |price: f64, over: f64, floor: f64| price > floor || over > 0.0;
        let norm: f64 = rows
            .iter()
            .filter(|(price, over, _, floor)| moves(**price, *over, *floor))
            .map(|(_, over, scale, _)| (over / scale) * (over / scale))
            .sum();
        if norm <= 1e-18 {
            return false;
        }
        for (price, over, scale, floor) in rows {
            *price = (*price + length / norm * (over / scale) / scale).max(floor);
        }
        true
    }
}
