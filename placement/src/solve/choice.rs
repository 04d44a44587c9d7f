//! One dataset's choice: its candidates, what they cost and which requirements they count for.

use std::collections::BTreeSet;

use crate::cost::copy_cost;
use crate::ground::{self, Ground};
use crate::problem::{Problem, Requirement, Subject};

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
    /// For each requirement, the copies that it asks for.
    pub copies: Vec<u32>,
    /// For each spread of each requirement, the groups that it asks for.
    pub groups: Vec<u32>,
    /// For each requirement, copies that it has now and asks for: no plan takes them away (MV-4).
    pub copies_floor: Vec<u32>,
    /// For each spread, groups that it has now and asks for.
    pub groups_floor: Vec<u32>,
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
    /// Whether it belongs to every set: the kept origin.
    pub forced: bool,
    /// Whether it will be whole: not a damaged origin.
    pub whole: bool,
    /// For each requirement, whether it counts.
    pub counts: Vec<bool>,
    /// For each spread of each requirement, its group, if it counts.
    pub group: Vec<Option<usize>>,
    /// What it spends of each budget.
    pub spends: Vec<f64>,
}

/// How far a set falls short, summed over all requirements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Shortfall {
    /// Missing copies.
    pub copies: u32,
    /// Missing groups.
    pub groups: u32,
}

impl Choice {
    /// The choice of a dataset; `None` if there is nothing to choose.
    pub fn of(problem: &Problem, ground: &Ground, dataset: usize) -> Option<Self> {
        let subject = &problem.datasets[dataset];
        if !subject.is_reached() || !subject.has_current() {
            return None;
        }
        let requirements: Vec<_> = subject
            .profile
            .requirements
            .iter()
            .map(|r| &problem.requirements[*r])
            .collect();
        let candidates: Vec<_> = (0..problem.backends.len())
            .filter_map(|backend| Candidate::of(problem, ground, subject, &requirements, backend))
            .collect();
        if !candidates.iter().any(|candidate| candidate.whole) {
            return None;
        }
        let stay = ground::stay(problem, ground, subject);
        let admitted = |backend: &usize| candidates.iter().any(|candidate| candidate.backend == *backend);
        let stay_is_fallback = !stay.iter().all(admitted);
        let spreads = requirements.iter().flat_map(|requirement| &requirement.spread);
        let mut choice = Self {
            dataset,
            bytes: u128::from(subject.summary.bytes.0),
            priority: subject.profile.priority,
            copies: requirements
                .iter()
                .map(|requirement| requirement.copies)
                .collect(),
            groups: spreads.map(|spread| spread.groups).collect(),
            copies_floor: Vec::new(),
            groups_floor: Vec::new(),
            stay_is_fallback,
            stay,
            candidates,
        };
        (choice.copies_floor, choice.groups_floor) = choice.had(&choice.members(&choice.stay));
        Some(choice)
    }

    /// What a set of candidates has of what each requirement and each spread asks for.
    fn had(&self, members: &[usize]) -> (Vec<u32>, Vec<u32>) {
        let count = |wanted: u32, have: usize| wanted.min(u32::try_from(have).unwrap_or(u32::MAX));
        let copies = |(need, wanted): (usize, &u32)| {
            count(
                *wanted,
                members
                    .iter()
                    .filter(|member| self.candidates[**member].counts[need])
                    .count(),
            )
        };
        let groups = |(spread, wanted): (usize, &u32)| {
            let seen: BTreeSet<_> = members
                .iter()
                .filter_map(|member| self.candidates[*member].group[spread])
                .collect();
            count(*wanted, seen.len())
        };
        (
            self.copies.iter().enumerate().map(copies).collect(),
            self.groups.iter().enumerate().map(groups).collect(),
        )
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
        let (copies, groups) = self.had(members);
        Shortfall {
            copies: self
                .copies
                .iter()
                .zip(&copies)
                .map(|(wanted, had)| wanted - had)
                .sum(),
            groups: self
                .groups
                .iter()
                .zip(&groups)
                .map(|(wanted, had)| wanted - had)
                .sum(),
        }
    }

    /// How far a set of backends falls short.
    pub fn shortfall_of_set(&self, set: &[usize]) -> Shortfall {
        self.shortfall(&self.members(set))
    }

    /// The least that any set of these candidates falls short: taking all is best for every requirement at once.
    pub fn least_shortfall(&self, allowed: impl Fn(&Candidate) -> bool) -> Shortfall {
        let all: Vec<_> = (0..self.candidates.len())
            .filter(|member| allowed(&self.candidates[*member]))
            .collect();
        self.shortfall(&all)
    }
}

impl Candidate {
    fn of(
        problem: &Problem,
        ground: &Ground,
        subject: &Subject,
        requirements: &[&Requirement],
        backend: usize,
    ) -> Option<Self> {
        let forced = subject.kept_origin() == Some(backend);
        let admissible = ground::causes(problem, ground, subject, backend).is_empty();
        if !admissible && !forced {
            return None;
        }
        let current = subject.is_current_on(backend);
        let counts: Vec<_> = requirements
            .iter()
            .map(|r| admissible && r.accepts[backend])
            .collect();
        let group = requirements
            .iter()
            .zip(&counts)
            .flat_map(|(requirement, counts)| {
                requirement
                    .spread
                    .iter()
                    .map(move |spread| spread.group_of[backend].filter(|_| *counts))
            })
            .collect();
        Some(Self {
            backend,
            cost: copy_cost(problem, subject, backend).per_month(),
            current,
            takes_room: !ground::stays_anyway(subject, backend),
            forced,
            whole: current || !forced,
            counts,
            group,
            spends: ground
                .budgets
                .iter()
                .map(|budget| budget.spends(problem, subject, backend))
                .collect(),
        })
    }
}
