//! A pattern is one possible set of one dataset with everything that the joint choice needs to know of it.

use crate::cost::copy_cost;
use crate::ground::{self, Ground};
use crate::problem::Problem;

use super::choice::Choice;
use super::need::Shortfall;

/// One possible set of one dataset.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pattern {
    /// The backends, ascending.
    pub set: Vec<usize>,
    /// The backends where it takes room.
    pub takes: Vec<usize>,
    /// What it costs per month.
    pub cost: f64,
    /// What it spends of each budget.
    pub spends: Vec<f64>,
    /// How far it falls short.
    pub short: Shortfall,
    /// Whether it keeps inadmissible copies for want of better.
    pub fallback: bool,
    /// How many copies it makes and retires.
    pub changes: u32,
}

impl Pattern {
    /// The pattern of a set of candidates.
    pub fn of_members(choice: &Choice, members: &[usize]) -> Self {
        let chosen = || members.iter().map(|member| &choice.candidates[*member]);
        let current = choice
            .candidates
            .iter()
            .filter(|candidate| candidate.current)
            .count();
        let kept = chosen().filter(|candidate| candidate.current).count();
        let changes = (members.len() - kept) + (current - kept);
        let budgets = choice
            .candidates
            .first()
            .map_or(0, |candidate| candidate.spends.len());
        Self {
            set: chosen().map(|candidate| candidate.backend).collect(),
            takes: chosen()
                .filter(|candidate| candidate.takes_room)
                .map(|candidate| candidate.backend)
                .collect(),
            cost: chosen().map(|candidate| candidate.cost).sum(),
            spends: (0..budgets)
                .map(|budget| chosen().map(|candidate| candidate.spends[budget]).sum())
                .collect(),
            short: choice.shortfall(members),
            fallback: false,
            changes: u32::try_from(changes).unwrap_or(u32::MAX),
        }
    }

    /// The pattern that makes nothing.
    pub fn of_stay(problem: &Problem, ground: &Ground, choice: &Choice) -> Self {
        if !choice.stay_is_fallback {
            return Self::of_set(choice, &choice.stay)
                .unwrap_or_else(|| unreachable!("what stays is a candidate"));
        }
        let subject = &problem.datasets[choice.dataset];
        let spent = |budget: &ground::BudgetLimit| -> f64 {
            choice
                .stay
                .iter()
                .map(|backend| budget.spends(problem, subject, *backend))
                .sum()
        };
        Self {
            set: choice.stay.clone(),
            takes: choice
                .stay
                .iter()
                .copied()
                .filter(|b| !ground::stays_anyway(subject, *b))
                .collect(),
            cost: choice
                .stay
                .iter()
                .map(|backend| copy_cost(problem, subject, *backend).per_month())
                .sum(),
            spends: ground.budgets.iter().map(spent).collect(),
            short: choice.shortfall_of_set(&choice.stay),
            fallback: true,
            changes: 0,
        }
    }

    /// The pattern of a set of backends; `None` if one is no candidate, a forced one is missing or none is whole.
    pub fn of_set(choice: &Choice, set: &[usize]) -> Option<Self> {
        let position = |backend: &usize| {
            choice
                .candidates
                .binary_search_by_key(backend, |c| c.backend)
                .ok()
        };
        let members: Vec<_> = set.iter().map(position).collect::<Option<_>>()?;
        let forced = |member: usize| !choice.needs.forced[member] || members.contains(&member);
        let whole = members.iter().any(|member| choice.needs.whole[*member]);
        (whole && (0..choice.candidates.len()).all(forced)).then(|| Self::of_members(choice, &members))
    }
}
