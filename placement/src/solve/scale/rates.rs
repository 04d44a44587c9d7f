//! What a copy costs, taken apart into what goes with bytes, with billed bytes and with objects.

use std::sync::Arc;

use domicile_estate::{BYTES_PER_GIB, ByteCount, CopyState, DatasetName, DatasetSummary};

use crate::cost;
use crate::problem::{Held, Problem, Profile, Subject};

/// Bytes and objects of the datasets by which the formulas are asked for their rates: powers of two, so that nothing is
/// lost in dividing by them.
const PROBE_BYTES: u64 = 1 << 40;
const PROBE_OBJECTS: u64 = 1 << 20;

/// What copies cost per month, at one price of carbon and one horizon.
#[derive(Debug)]
pub(crate) struct Rates {
    /// Number of backends.
    backends: usize,
    /// For each backend, storage for each billed byte.
    pub storage: Vec<f64>,
    /// For each backend, kg CO2e for each byte.
    pub carbon_kg: Vec<f64>,
    /// The price of a kg.
    pub per_kg: f64,
    /// For each pair of backends, what making a copy costs for each byte, spread over the horizon; infinite where bytes
    /// must not go that way.
    by_byte: Vec<f64>,
    /// The same for each object.
    by_object: Vec<f64>,
    /// For each pair of backends, money for each byte once, without priced carbon; nothing where bytes must not go.
    money_by_byte: Vec<f64>,
    /// The same for each object.
    money_by_object: Vec<f64>,
    /// Whether no way costs anything for objects.
    pub is_free_of_objects: bool,
    /// Whether bytes may go every way.
    pub has_every_way: bool,
}

impl Rates {
    /// The rates at a profile's settings.
    pub fn of(problem: &Problem, profile: &Profile) -> Self {
        let backends = problem.backends.len();
        let probe = Arc::new(Profile {
            carbon_price_per_tonne: profile.carbon_price_per_tonne,
            horizon_months: profile.horizon_months,
            ..Profile::default()
        });
        let ask = |bytes: u64, objects: u64| -> (Vec<f64>, Vec<f64>) {
            let count = bytes.max(objects) as f64;
            let subjects: Vec<_> = (0..backends)
                .map(|from| subject(&probe, from, bytes, objects))
                .collect();
            let pairs = (0..backends * backends).map(|pair| (pair / backends, pair % backends));
            pairs
                .map(|(from, to)| way(problem, &subjects[from], from, to))
                .map(|(per_month, money)| (per_month / count, money / count))
                .unzip()
        };
        let (by_byte, money_by_byte) = ask(PROBE_BYTES, 0);
        let (by_object, money_by_object) = ask(0, PROBE_OBJECTS);
        let sized = subject(&probe, 0, PROBE_BYTES, 0);
        let carbon_kg = problem
            .backends
            .iter()
            .map(|place| cost::carbon_kg_per_month(&sized, place));
        let storage = problem
            .backends
            .iter()
            .map(|place| place.price.storage_per_gib_month / BYTES_PER_GIB);
        Self {
            backends,
            storage: storage.collect(),
            carbon_kg: carbon_kg.map(|kg| kg / PROBE_BYTES as f64).collect(),
            per_kg: profile.carbon_price_per_tonne / 1000.0,
            has_every_way: by_byte.iter().all(|rate| rate.is_finite()),
            is_free_of_objects: by_object.iter().all(|rate| *rate <= 0.0),
            by_byte,
            by_object,
            money_by_byte,
            money_by_object,
        }
    }

    /// What making a copy of this size costs once, without priced carbon, from the source of which [`Rates::making`]
    /// speaks.
    pub fn money(&self, sources: &[u32], to: u32, bytes: f64, objects: f64) -> f64 {
        let way = |source: &u32| *source as usize * self.backends + to as usize;
        let priced = |way: usize| self.by_byte[way] * bytes + self.by_object[way] * objects;
        let cheapest = sources
            .iter()
            .map(way)
            .reduce(|best, next| if priced(next) < priced(best) { next } else { best });
        cheapest.map_or(0.0, |way| {
            self.money_by_byte[way] * bytes + self.money_by_object[way] * objects
        })
    }

    /// What making a copy of this size costs per month, from the cheapest of these sources.
    pub fn making(&self, sources: &[u32], to: u32, bytes: f64, objects: f64) -> f64 {
        let from = |source: &u32| {
            let way = *source as usize * self.backends + to as usize;
            self.by_byte[way] * bytes + self.by_object[way] * objects
        };
        sources.iter().map(from).fold(f64::INFINITY, f64::min)
    }

    /// The same for one byte, where objects cost nothing.
    pub fn making_a_byte(&self, sources: &[u32], to: u32) -> f64 {
        let from = |source: &u32| self.by_byte[*source as usize * self.backends + to as usize];
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

/// What a way costs per month, and in money once.
fn way(problem: &Problem, subject: &Subject, from: usize, to: usize) -> (f64, f64) {
    if from == to {
        return (0.0, 0.0);
    }
    // Whether a relay may serve depends on the dataset, so that only direct ways have rates.
    if cost::is_forbidden(problem, from, to) {
        return (f64::INFINITY, f64::INFINITY);
    }
    let cost = cost::copy_cost(problem, subject, to);
    cost.transfer
        .map_or((f64::INFINITY, 0.0), |made| (cost.transfer_per_month, made.money))
}
