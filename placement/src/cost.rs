//! What copies cost and emit: the formulas of DESIGN.md section 3, and nothing else.

use domicile_estate::{BYTES_PER_GIB, HOURS_PER_MONTH};

use crate::problem::{Hop, Place, Problem, Subject};
use crate::routes;
use crate::tariff;

/// Energy of moving one GB (10^9 bytes), in kWh, as DESIGN.md section 3 has it.
pub const TRANSFER_KWH_PER_GB: f64 = 0.001;

/// What one copy costs and emits.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CopyCost {
    /// Storage per month.
    pub storage: f64,
    /// Storage carbon in kg CO2e per month.
    pub carbon_kg: f64,
    /// The same, priced, per month.
    pub carbon: f64,
    /// Making it, once; `None` for a copy that is current.
    pub transfer: Option<Transfer>,
    /// Making it, with its priced carbon, spread over the horizon, per month.
    pub transfer_per_month: f64,
}

impl CopyCost {
    /// What the copy adds to the objective per month.
    #[must_use]
    pub fn per_month(&self) -> f64 {
        self.storage + self.carbon + self.transfer_per_month
    }
}

/// Making one copy, once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transfer {
    /// The current copy to read from.
    pub from: usize,
    /// Bytes to move.
    pub bytes: u64,
    /// Objects to move.
    pub objects: u64,
    /// Money, once, without priced carbon.
    pub money: f64,
    /// kg CO2e, once.
    pub carbon_kg: f64,
    /// Money with priced carbon, once.
    pub priced: f64,
}

/// Storage per month of a dataset on a backend at list price: billable GiB times the price.
#[must_use]
pub fn storage_per_month(subject: &Subject, place: &Place) -> f64 {
    subject.summary.billable(place.price.min_object_size).gib() * place.price.storage_per_gib_month
}

/// kg CO2e per month of storing a dataset on a backend.
#[must_use]
pub fn carbon_kg_per_month(subject: &Subject, place: &Place) -> f64 {
    let energy = &place.energy;
    let watt_hours = (subject.summary.bytes.0 as f64 / 1e12)
        * HOURS_PER_MONTH
        * energy.watt_hours_per_tb_hour
        * energy.physical_copies
        * energy.pue;
    watt_hours / 1000.0 * energy.grid_grams_per_kwh / 1000.0
}

/// Price per GiB of reading from `a` for `b`: what a link says of the way, else by where they lie. An absent provider or
/// region equals nothing.
#[must_use]
pub fn egress_per_gib(a: &Place, b: &Place, hop: Option<&Hop>) -> f64 {
    if let Some(price) = hop.and_then(|hop| hop.price_per_gib) {
        return price;
    }
    let same = |x: &Option<String>, y: &Option<String>| x.is_some() && x == y;
    if !same(&a.provider, &b.provider) {
        a.price.egress_per_gib
    } else if same(&a.region, &b.region) {
        a.price.egress_within_region_per_gib
    } else {
        a.price.egress_within_provider_per_gib
    }
}

/// What manifests say of the way from one backend to another.
#[must_use]
pub(crate) fn hop(problem: &Problem, from: usize, to: usize) -> Option<&Hop> {
    // Most estates say nothing of any way.
    if problem.links.is_empty() {
        return None;
    }
    problem.links.get(&(from, to))
}

/// Whether bytes must not go from one backend to another.
#[must_use]
pub(crate) fn is_forbidden(problem: &Problem, from: usize, to: usize) -> bool {
    hop(problem, from, to).is_some_and(|hop| hop.forbidden)
}

/// Making a copy of a dataset on backend `to`, from the current copy that is cheapest to read (reachable ones if there
/// is any; ties: first name) by a way that no link forbids; through relays only where every direct way is forbidden.
/// `None` if there is no other current copy, or no allowed way.
#[must_use]
pub fn transfer(problem: &Problem, subject: &Subject, to: usize) -> Option<Transfer> {
    let sources = |reachable: bool| {
        let other = move |held: &&crate::problem::Held| {
            held.is_current() && held.backend != to && problem.backends[held.backend].reachable == reachable
        };
        subject.copies.iter().filter(other).map(|held| held.backend)
    };
    let cheapest = |reachable: bool| {
        let direct = sources(reachable)
            .filter(|from| !is_forbidden(problem, *from, to))
            .map(|from| transfer_between(problem, subject, from, to))
            .reduce(|best, next| if next.priced < best.priced { next } else { best });
        direct.or_else(|| routes::relayed(problem, subject, sources(reachable), to))
    };
    cheapest(true).or_else(|| cheapest(false))
}

/// Carrying a dataset from one backend to another, or what is missing there.
pub(crate) fn transfer_between(problem: &Problem, subject: &Subject, from: usize, to: usize) -> Transfer {
    let (bytes, objects) = match subject.copy_on(to) {
        Some(held) => (
            held.missing_bytes.0.min(subject.summary.bytes.0),
            held.missing_objects.min(subject.summary.objects),
        ),
        None => (subject.summary.bytes.0, subject.summary.objects),
    };
    let (a, b) = (&problem.backends[from], &problem.backends[to]);
    let gib = bytes as f64 / BYTES_PER_GIB;
    let money = gib * egress_per_gib(a, b, hop(problem, from, to))
        + gib * b.price.ingress_per_gib
        + objects as f64 / 1000.0 * (a.price.get_per_1000 + b.price.put_per_1000);
    let grid = f64::midpoint(a.energy.grid_grams_per_kwh, b.energy.grid_grams_per_kwh);
    let carbon_kg = bytes as f64 / 1e9 * TRANSFER_KWH_PER_GB * grid / 1000.0;
    Transfer {
        from,
        bytes,
        objects,
        money,
        carbon_kg,
        priced: money + carbon_kg * price_per_kg(subject),
    }
}

/// Price of a kg CO2e for a dataset.
#[must_use]
pub fn price_per_kg(subject: &Subject) -> f64 {
    subject.profile.carbon_price_per_tonne / 1000.0
}

/// Making a copy of a dataset on a backend; `None` for what is there and stays: a current copy, an origin.
#[must_use]
pub(crate) fn made(problem: &Problem, subject: &Subject, backend: usize) -> Option<Transfer> {
    let makes = !subject.is_current_on(backend) && !subject.copy_on(backend).is_some_and(|held| held.origin);
    makes.then(|| transfer(problem, subject, backend)).flatten()
}

/// Everything that a copy of a dataset on a backend costs, given what is there now.
#[must_use]
pub fn copy_cost(problem: &Problem, subject: &Subject, backend: usize) -> CopyCost {
    let place = &problem.backends[backend];
    let carbon_kg = carbon_kg_per_month(subject, place);
    let transfer = made(problem, subject, backend);
    CopyCost {
        storage: storage_per_month(subject, place),
        carbon_kg,
        carbon: carbon_kg * price_per_kg(subject),
        transfer,
        transfer_per_month: transfer.map_or(0.0, |made| {
            made.priced / f64::from(subject.profile.horizon_months.max(1))
        }),
    }
}

/// The objective and its parts, per month unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Objective {
    /// `storage + carbon + transfer`: what the plan minimises.
    pub per_month: f64,
    /// Storage: at list price for every copy, with what tiers, included storage and base fees add to that.
    pub storage: f64,
    /// Of the storage, what tiers, included storage and base fees add to the list price; below zero where they take
    /// away.
    pub tariffs: f64,
    /// Priced storage carbon.
    pub carbon: f64,
    /// Transfers with their priced carbon, spread over the horizons.
    pub transfer: f64,
    /// Storage carbon in kg CO2e.
    pub carbon_kg: f64,
    /// Transfers, once, without priced carbon.
    pub transfer_once: f64,
    /// Carbon of the transfers in kg CO2e, once.
    pub transfer_carbon_kg: f64,
}

impl Objective {
    /// Adds what one copy costs; [`Objective::total`] comes last.
    pub(crate) fn add(&mut self, cost: &CopyCost) {
        self.storage += cost.storage;
        self.carbon += cost.carbon;
        self.transfer += cost.transfer_per_month;
        self.carbon_kg += cost.carbon_kg;
        if let Some(transfer) = cost.transfer {
            self.transfer_once += transfer.money;
            self.transfer_carbon_kg += transfer.carbon_kg;
        }
    }

    /// Adds the parts per month up.
    pub(crate) fn total(&mut self) {
        self.per_month = self.storage + self.carbon + self.transfer;
    }
}

/// The objective of a placement: for each dataset, the backends of its set.
#[must_use]
pub fn objective(problem: &Problem, sets: &[Vec<usize>]) -> Objective {
    let mut sum = Objective::default();
    for (subject, set) in problem.datasets.iter().zip(sets) {
        for &backend in set {
            sum.add(&copy_cost(problem, subject, backend));
        }
    }
    sum.tariffs = tariff::more(problem, sets);
    sum.storage += sum.tariffs;
    sum.total();
    sum
}
