//! Room and money that choices share.

use crate::ground::{self, Ground};
use crate::problem::Problem;

use super::choice::Choice;
use super::pattern::Pattern;

/// What is left to be shared once everything that does not depend on a choice is taken away.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Bytes, for each backend.
    pub room: Vec<u128>,
    /// Amount of each budget, its rounding slack included.
    pub budgets: Vec<f64>,
}

impl Limits {
    /// The limits for the datasets that choose, given the sets of all others.
    pub fn of(problem: &Problem, ground: &Ground, chooses: &[bool], sets: &[Vec<usize>]) -> Self {
        let mut taken = vec![0u128; ground.room.len()];
        let mut spent = vec![0.0; ground.budgets.len()];
        for (index, subject) in problem.datasets.iter().enumerate() {
            let bytes = u128::from(subject.summary.bytes.0);
            if chooses[index] {
                let stays = subject
                    .copies
                    .iter()
                    .filter(|held| ground::stays_anyway(subject, held.backend));
                stays.for_each(|held| taken[held.backend] += bytes);
                continue;
            }
            let left = ground::left_alone(problem, subject, &sets[index]);
            sets[index]
                .iter()
                .chain(&left)
                .for_each(|backend| taken[*backend] += bytes);
            for (sum, budget) in spent.iter_mut().zip(&ground.budgets) {
                *sum += sets[index]
                    .iter()
                    .map(|backend| budget.spends(problem, subject, *backend))
                    .sum::<f64>();
            }
        }
        Self {
            room: ground
                .room
                .iter()
                .zip(&taken)
                .map(|(room, taken)| room.saturating_sub(*taken))
                .collect(),
            budgets: ground
                .budgets
                .iter()
                .zip(&spent)
                .map(|(budget, spent)| budget.limit() + budget.slack(budget.limit()) * 0.5 - spent)
                .collect(),
        }
    }
}

/// What chosen patterns use of the limits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Load {
    used: Vec<u128>,
    spent: Vec<f64>,
}

impl Load {
    /// Nothing.
    pub fn empty(limits: &Limits) -> Self {
        Self {
            used: vec![0; limits.room.len()],
            spent: vec![0.0; limits.budgets.len()],
        }
    }

    /// Takes a pattern on.
    pub fn add(&mut self, choice: &Choice, pattern: &Pattern) {
        pattern
            .takes
            .iter()
            .for_each(|backend| self.used[*backend] += choice.bytes);
        self.spent
            .iter_mut()
            .zip(&pattern.spends)
            .for_each(|(sum, spends)| *sum += spends);
    }

    /// Puts a pattern down again.
    pub fn remove(&mut self, choice: &Choice, pattern: &Pattern) {
        pattern
            .takes
            .iter()
            .for_each(|backend| self.used[*backend] -= choice.bytes);
        self.spent
            .iter_mut()
            .zip(&pattern.spends)
            .for_each(|(sum, spends)| *sum -= spends);
    }

    /// Whether a backend has room for one more copy.
    pub fn has_room(&self, limits: &Limits, backend: usize, bytes: u128) -> bool {
        self.used[backend] + bytes <= limits.room[backend]
    }

    /// Whether a pattern can be taken on.
    pub fn fits(&self, limits: &Limits, choice: &Choice, pattern: &Pattern) -> bool {
        pattern
            .takes
            .iter()
            .all(|backend| self.has_room(limits, *backend, choice.bytes))
            && self
                .spent
                .iter()
                .zip(&pattern.spends)
                .zip(&limits.budgets)
                .all(|((sum, spends), limit)| sum + spends <= *limit)
    }

    /// Whether everything taken on keeps to the limits.
    pub fn is_within(&self, limits: &Limits) -> bool {
        self.used
            .iter()
            .zip(&limits.room)
            .all(|(used, room)| used <= room)
            && self
                .spent
                .iter()
                .zip(&limits.budgets)
                .all(|(spent, limit)| spent <= limit)
    }
}
