//! What backends with a tariff charge, as far as the choices still decide it.

use crate::problem::Problem;
use crate::tariff::{self, Tariff};

use super::super::choice::Choice;
use super::super::load::Limits;

/// The tariffs that the choices can change something of.
#[derive(Debug)]
pub(crate) struct Charges {
    /// For each backend.
    pub tariffs: Vec<Option<Tariff>>,
    /// For each backend, what is billed whatever is chosen.
    pub fixed: Vec<u128>,
    /// For each backend, the least and the most that can be billed.
    pub ranges: Vec<(f64, f64)>,
}

/// What the choices could bill on a backend.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Demand {
    /// What they bill whatever they choose.
    pub forced: u128,
    /// What they could bill beside that without taking room.
    pub roomless: u128,
    /// What they could bill in room.
    pub most: u128,
    /// How much more than its bytes that is.
    pub excess: u128,
}

impl Charges {
    /// The charges that demands decide, given the sets of datasets that choose nothing; `None` where no tariff depends
    /// on a choice.
    pub fn of(
        problem: &Problem,
        room: &[u128],
        chooses: &[bool],
        sets: &[Vec<usize>],
        demands: impl FnOnce(&[Option<Tariff>]) -> Vec<Demand>,
    ) -> Option<Self> {
        let mut tariffs = tariff::tariffs(problem);
        if tariffs.is_empty() {
            return None;
        }
        let pairs = problem.datasets.iter().zip(sets.iter().map(Vec::as_slice));
        let others = pairs.zip(chooses).filter(|(_, chooses)| !**chooses);
        let fixed = tariff::billed_by(problem, &tariffs, others.map(|(pair, _)| pair));
        let demands = demands(&tariffs);
        let range = |(backend, demand): (usize, &Demand)| {
            let in_room = demand.most.min(room[backend].saturating_add(demand.excess));
            let least = fixed[backend] + demand.forced;
            (least as f64, (least + demand.roomless + in_room) as f64)
        };
        let ranges: Vec<_> = demands.iter().enumerate().map(range).collect();
        for (tariff, (least, most)) in tariffs.iter_mut().zip(&ranges) {
            if most <= least {
                *tariff = None;
            }
        }
        tariffs.iter().any(Option::is_some).then_some(Self {
            tariffs,
            fixed,
            ranges,
        })
    }

    /// The charges that choices decide, given the sets of all other datasets.
    pub fn of_choices(
        problem: &Problem,
        choices: &[Choice],
        limits: &Limits,
        sets: &[Vec<usize>],
    ) -> Option<Self> {
        let mut chooses = vec![false; problem.datasets.len()];
        choices.iter().for_each(|choice| chooses[choice.dataset] = true);
        Self::of(problem, &limits.room, &chooses, sets, |tariffs| {
            let mut demands = vec![Demand::default(); tariffs.len()];
            for choice in choices {
                let subject = &problem.datasets[choice.dataset];
                for (candidate, forced) in choice.candidates.iter().zip(&choice.needs.forced) {
                    if tariffs[candidate.backend].is_none() {
                        continue;
                    }
                    let demand = &mut demands[candidate.backend];
                    let billed = u128::from(tariff::billed(problem, subject, candidate.backend));
                    match (*forced, candidate.takes_room) {
                        (true, _) => demand.forced += billed,
                        (false, false) => demand.roomless += billed,
                        (false, true) => {
                            demand.most += billed;
                            demand.excess += billed.saturating_sub(choice.bytes);
                        }
                    }
                }
                // What stays for want of better may lie where nothing may be chosen.
                for backend in choice.stay.iter().filter(|_| choice.stay_is_fallback) {
                    if tariffs[*backend].is_some() {
                        demands[*backend].roomless += u128::from(tariff::billed(problem, subject, *backend));
                    }
                }
            }
            demands
        })
    }

    /// The backends with a tariff.
    pub fn backends(&self) -> impl Iterator<Item = (usize, &Tariff)> {
        let tariffs = self.tariffs.iter().enumerate();
        tariffs.filter_map(|(backend, tariff)| Some((backend, tariff.as_ref()?)))
    }

    /// What is charged where the choices bill this in all, what is fixed included.
    pub fn sum(&self, billed: &[u128]) -> f64 {
        self.backends()
            .map(|(backend, tariff)| tariff.at(billed[backend] as f64))
            .sum()
    }

    /// What a copy adds to what is charged already.
    pub fn more(&self, billed: &[u128], backend: usize, more: u64) -> f64 {
        let tariff = self.tariffs[backend].as_ref();
        tariff.map_or(0.0, |tariff| tariff.more(billed[backend], more))
    }

    /// The least of all charges less a toll on each byte that is billed above what is fixed: beside the cost of choices
    /// that pay these tolls, it bounds what they cost with all charges.
    pub fn least(&self, tolls: &[f64], ranges: &[(f64, f64)]) -> f64 {
        let least = |(backend, tariff): (usize, &Tariff)| {
            let fixed = tolls[backend] * self.fixed[backend] as f64;
            tariff.least(tolls[backend], ranges[backend]).0 + fixed
        };
        self.backends().map(least).sum()
    }

    /// Where the charges less tolls are least, for each backend.
    pub fn aims(&self, tolls: &[f64], ranges: &[(f64, f64)]) -> Vec<f64> {
        let mut aims = vec![0.0; tolls.len()];
        for (backend, tariff) in self.backends() {
            aims[backend] = tariff.least(tolls[backend], ranges[backend]).1;
        }
        aims
    }

    /// What a byte pays on average beside the list price where so much is billed; the tolls that lead to nothing where
    /// nothing is.
    pub fn means(&self, billed: &[u128]) -> Vec<f64> {
        let mut tolls = vec![0.0; self.tariffs.len()];
        for (backend, tariff) in self.backends() {
            let amount = billed[backend] as f64;
            tolls[backend] = if amount > 0.0 {
                tariff.at(amount) / amount
            } else {
                tariff.toll(self.ranges[backend], 0.0)
            };
        }
        tolls
    }

    /// The tolls at which the best convex bounds of the tariffs lead to what is billed.
    pub fn tolls(&self, ranges: &[(f64, f64)], billed: &[f64]) -> Vec<f64> {
        let mut tolls = vec![0.0; self.tariffs.len()];
        for (backend, tariff) in self.backends() {
            tolls[backend] = tariff.toll(ranges[backend], billed[backend]);
        }
        tolls
    }
}
