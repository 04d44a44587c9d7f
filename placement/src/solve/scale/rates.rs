//! What a copy costs, taken apart into what goes with bytes, with billed bytes and with objects.

use std::sync::Arc;

use domicile_estate::{BYTES_PER_GIB, ByteCount, CopyState, DatasetName, DatasetSummary};

use crate::cost;
use crate::problem::{Held, Problem, Profile, Subject};

/// Bytes and objects of the datasets by which the formulas are asked for their rates: powers of two, so that nothing is
/// lost in dividing by them.
const PROBE_BYTES: u64 = 1 << 40;
const PROBE_OBJECTS: u64 = 1 << 20;

/// What ways cost once, for each pair of backends: the same for all policies.
#[derive(Debug)]
pub(crate) struct Ways {
    /// Money and kg CO2e for each byte, money for each object; `None` where bytes must not go that way.
    by_pair: Vec<Option<[f64; 3]>>,
    /// For each backend, storage per month for each billed byte.
    storage: Vec<f64>,
    /// For each backend, kg CO2e per month for each byte.
    carbon_kg: Vec<f64>,
}

impl Ways {
    /// The ways of a problem.
    pub fn of(problem: &Problem) -> Self {
        let backends = problem.backends.len();
        let probe = Arc::new(Profile::default());
        let sized = |from| subject(&probe, from, PROBE_BYTES, 0);
        let counted = |from| subject(&probe, from, 0, PROBE_OBJECTS);
        let mut by_pair = Vec::with_capacity(backends * backends);
        for from in 0..backends {
            let (sized, counted) = (sized(from), counted(from));
            by_pair.extend((0..backends).map(|to| way(problem, (&sized, &counted), from, to)));
        }
        let sized = sized(0);
        let places = || problem.backends.iter();
        let carbon_kg = places().map(|place| cost::carbon_kg_per_month(&sized, place) / PROBE_BYTES as f64);
        let storage = places().map(|place| place.price.storage_per_gib_month / BYTES_PER_GIB);
        Self {
            by_pair,
            storage: storage.collect(),
            carbon_kg: carbon_kg.collect(),
        }
    }
}

/// What copies cost per month, at one price of carbon and one horizon.
#[derive(Debug)]
pub(crate) struct Rates {
    ways: Arc<Ways>,
    /// For each backend, what is tried beside storage for each billed byte, in place of its tariff: budgets do not count it.
    pub tolls: Vec<f64>,
    /// The price of a kg.
    pub per_kg: f64,
    /// Months over which what making a copy costs once is spread.
    months: f64,
    /// Whether no way costs anything for objects.
    pub is_free_of_objects: bool,
    /// Whether bytes may go every way.
    pub has_every_way: bool,
}

/// What going one way, or one after the other, costs for each byte and each object.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Step {
    /// Per month, spread over the horizon; infinite where bytes must not go that way.
    pub by_byte: f64,
    pub by_object: f64,
    /// Money once, without priced carbon.
    money_by_byte: f64,
    money_by_object: f64,
}

impl Step {
    /// Whether bytes may go that way.
    pub fn is_allowed(&self) -> bool {
        self.by_byte.is_finite()
    }

    /// One way after the other.
    pub fn and(self, next: Self) -> Self {
        Self {
            by_byte: self.by_byte + next.by_byte,
            by_object: self.by_object + next.by_object,
            money_by_byte: self.money_by_byte + next.money_by_byte,
            money_by_object: self.money_by_object + next.money_by_object,
        }
    }

    /// What so many bytes and objects cost per month.
    pub fn per_month(&self, (bytes, objects): (f64, f64)) -> f64 {
        if !self.is_allowed() {
            return f64::INFINITY;
        }
        self.by_byte * bytes + self.by_object * objects
    }

    /// What they cost in money once.
    pub fn money(&self, (bytes, objects): (f64, f64)) -> f64 {
        self.money_by_byte * bytes + self.money_by_object * objects
    }
}

impl Rates {
    /// The rates at a profile's settings.
    pub fn of(ways: &Arc<Ways>, profile: &Profile) -> Self {
        let costs_objects = |way: &[f64; 3]| way[2] > 0.0;
        Self {
            tolls: vec![0.0; ways.storage.len()],
            per_kg: profile.carbon_price_per_tonne / 1000.0,
            months: f64::from(profile.horizon_months.max(1)),
            is_free_of_objects: !ways.by_pair.iter().flatten().any(costs_objects),
            has_every_way: ways.by_pair.iter().all(Option::is_some),
            ways: ways.clone(),
        }
    }

    /// Storage on a backend per month for each billed byte.
    pub fn storage(&self, backend: u32) -> f64 {
        self.ways.storage[backend as usize]
    }

    /// kg CO2e on a backend per month for each byte.
    pub fn carbon_kg(&self, backend: u32) -> f64 {
        self.ways.carbon_kg[backend as usize]
    }

    /// The direct way from one backend to another.
    pub fn step(&self, from: u32, to: u32) -> Step {
        let way = from as usize * self.ways.storage.len() + to as usize;
        let Some([money_by_byte, kg_by_byte, money_by_object]) = self.ways.by_pair[way] else {
            return Step {
                by_byte: f64::INFINITY,
                by_object: f64::INFINITY,
                ..Step::default()
            };
        };
        Step {
            by_byte: (money_by_byte + kg_by_byte * self.per_kg) / self.months,
            by_object: money_by_object / self.months,
            money_by_byte,
            money_by_object,
        }
    }

    /// What making a copy of this size costs once, without priced carbon, from the source of which [`Rates::making`]
    /// speaks.
    pub fn money(&self, sources: &[u32], to: u32, bytes: f64, objects: f64) -> f64 {
        let amount = (bytes, objects);
        let steps = sources.iter().map(|source| self.step(*source, to));
        let cheapest = steps.reduce(|best, next| {
            if next.per_month(amount) < best.per_month(amount) {
                next
            } else {
                best
            }
        });
        cheapest.map_or(0.0, |step| step.money(amount))
    }

    /// What making a copy of this size costs per month, from the cheapest of these sources.
    pub fn making(&self, sources: &[u32], to: u32, bytes: f64, objects: f64) -> f64 {
        let from = |source: &u32| self.step(*source, to).per_month((bytes, objects));
        sources.iter().map(from).fold(f64::INFINITY, f64::min)
    }

    /// The same for one byte, where objects cost nothing.
    pub fn making_a_byte(&self, sources: &[u32], to: u32) -> f64 {
        let from = |source: &u32| self.step(*source, to).by_byte;
        sources.iter().map(from).fold(f64::INFINITY, f64::min)
    }
}

fn subject(profile: &Arc<Profile>, from: usize, bytes: u64, objects: u64) -> Subject {
    let name = DatasetName::new("probe").unwrap_or_else(|_| unreachable!("`probe` is a name"));
    Subject {
        name,
        summary: DatasetSummary {
            bytes: ByteCount(bytes),
            objects,
            billable: Vec::new(),
        },
        keep_origin: false,
        copies: vec![Held {
            backend: from,
            origin: false,
            state: CopyState::Verified,
            missing_bytes: ByteCount(0),
            missing_objects: 0,
        }],
        profile: profile.clone(),
    }
}

/// What a way costs once: money and kg for each byte, money for each object.
fn way(
    problem: &Problem,
    (sized, counted): (&Subject, &Subject),
    from: usize,
    to: usize,
) -> Option<[f64; 3]> {
    if from == to {
        return Some([0.0; 3]);
    }
    // Whether a relay may serve depends on the dataset: see `ways`.
    if cost::is_forbidden(problem, from, to) {
        return None;
    }
    let by_byte = cost::transfer_between(problem, sized, from, to);
    let by_object = cost::transfer_between(problem, counted, from, to);
    let (bytes, objects) = (PROBE_BYTES as f64, PROBE_OBJECTS as f64);
    Some([
        by_byte.money / bytes,
        by_byte.carbon_kg / bytes,
        by_object.money / objects,
    ])
}
