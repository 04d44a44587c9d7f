//! One dataset's choice: its candidates, what they cost and which needs they meet.

use crate::cost::copy_cost;
use crate::ground::{self, Ground};
use crate::problem::{Problem, Subject};

use super::need::{Needs, Shortfall};
use super::picker::Offer;

/// What one dataset may choose among.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    /// The dataset.
    pub dataset: usize,
    /// Bytes of a copy.
    pub bytes: u128,
    /// Its priority.
    pub priority: i64,
    /// The admissible backends and the kept origin, by backend.
    pub candidates: Vec<Candidate>,
    /// What is needed of them.
    pub needs: Needs,
    /// For each need, what it has now and asks for: no plan takes that away (MV-4).
    pub floors: Vec<u32>,
    /// For each candidate, whether a current copy lies there.
    pub current: Vec<bool>,
    /// What is kept if nothing is made; always feasible.
    pub stay: Vec<usize>,
    /// Whether `stay` holds inadmissible copies for want of any admissible one.
    pub stay_is_fallback: bool,
}

/// One backend that a dataset may choose.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// The backend.
    pub backend: usize,
    /// What it adds to the objective per month.
    pub cost: f64,
    /// Whether a current copy lies there.
    pub current: bool,
    /// Whether choosing it takes room: not where a copy lies that stays anyway.
    pub takes_room: bool,
    /// Whether it counts for requirements: not an inadmissible origin that is kept.
    pub counts: bool,
    /// What it spends of each budget.
    pub spends: Vec<f64>,
}

impl Choice {
    /// The choice of a dataset; `None` if there is nothing to choose.
    pub fn of(problem: &Problem, ground: &Ground, dataset: usize) -> Option<Self> {
        Self::among(problem, ground, dataset, 0..problem.backends.len())
    }

    /// The same among some backends, in order; what is there now must be among them.
    pub fn among(
        problem: &Problem,
        ground: &Ground,
        dataset: usize,
        backends: impl Iterator<Item = usize>,
    ) -> Option<Self> {
        let subject = &problem.datasets[dataset];
        if !subject.is_reached() || !subject.has_current() {
            return None;
        }
        let candidates: Vec<_> = backends
            .filter_map(|backend| Candidate::of(problem, ground, subject, backend))
            .collect();
        let current: Vec<_> = candidates.iter().map(|candidate| candidate.current).collect();
        let forced = candidates
            .iter()
            .map(|c| subject.kept_origin() == Some(c.backend));
        let forced: Vec<_> = forced.collect();
        let whole: Vec<_> = current
            .iter()
            .zip(&forced)
            .map(|(current, forced)| *current || !forced)
            .collect();
        if !whole.contains(&true) {
            return None;
        }
        let stay = ground::stay(problem, ground, subject);
        let admitted = |backend: &usize| candidates.iter().any(|candidate| candidate.backend == *backend);
        let stay_is_fallback = !stay.iter().all(admitted);
        let counted: Vec<_> = candidates.iter().map(|c| (c.backend, c.counts)).collect();
        let requirements = subject
            .profile
            .requirements
            .iter()
            .map(|r| &problem.requirements[*r]);
        let mut choice = Self {
            dataset,
            bytes: u128::from(subject.summary.bytes.0),
            priority: subject.profile.priority,
            needs: Needs::of(requirements, &counted, forced, whole),
            floors: Vec::new(),
            current,
            stay_is_fallback,
            stay,
            candidates,
        };
        choice.floors = choice.needs.had(&choice.members(&choice.stay));
        Some(choice)
    }

    /// What the picker looks at.
    pub fn offer(&self) -> Offer<'_> {
        Offer {
            needs: &self.needs,
            floors: &self.floors,
            current: &self.current,
        }
    }

    /// The positions of those of these backends that are candidates.
    fn members(&self, set: &[usize]) -> Vec<usize> {
        let member = |backend: &usize| {
            self.candidates
                .binary_search_by_key(backend, |candidate| candidate.backend)
                .ok()
        };
        set.iter().filter_map(member).collect()
    }

    /// How far a set of candidates (by their positions) falls short.
    pub fn shortfall(&self, members: &[usize]) -> Shortfall {
        self.needs.shortfall(members)
    }

    /// How far a set of backends falls short.
    pub fn shortfall_of_set(&self, set: &[usize]) -> Shortfall {
        self.shortfall(&self.members(set))
    }

    /// The least that any set of these candidates falls short.
    pub fn least_shortfall(&self, allowed: impl Fn(&Candidate) -> bool) -> Shortfall {
        self.needs
            .least_shortfall(|member| allowed(&self.candidates[member]))
    }
}

impl Candidate {
    fn of(problem: &Problem, ground: &Ground, subject: &Subject, backend: usize) -> Option<Self> {
        let forced = subject.kept_origin() == Some(backend);
        let counts = ground::causes(problem, ground, subject, backend).is_empty();
        if !counts && !forced {
            return None;
        }
        Some(Self {
            backend,
            cost: copy_cost(problem, subject, backend).per_month(),
            current: subject.is_current_on(backend),
            takes_room: !ground::stays_anyway(subject, backend),
            counts,
            spends: ground
                .budgets
                .iter()
                .map(|budget| budget.spends(problem, subject, backend))
                .collect(),
        })
    }
}
