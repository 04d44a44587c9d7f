//! Placements of a small estate at what they truly cost, tariffs included.
//!
//! With the others as they are, what one dataset adds to each backend's charge depends on that backend alone, so that the
//! exact picker finds its best set. What no single change gains, emptying a backend may: then its base fee is saved.

use std::cmp::Ordering;

use crate::problem::Problem;
use crate::tariff;

use super::super::choice::Choice;
use super::super::pattern::Pattern;
use super::super::search::{Assignment, COST_TIE, Task, best_fitting, by_priority, compare_cost};
use super::charges::Charges;

/// Rounds of improvement; each strictly improves, so this only bounds the work.
const ROUNDS: usize = 20;

/// What the candidates of all choices bill.
pub(super) struct Billing<'a> {
    pub problem: &'a Problem,
    pub task: &'a Task,
    pub charges: &'a Charges,
    /// For each choice, for each candidate; zero where there is no tariff.
    pub billed: Vec<Vec<u64>>,
}

impl<'a> Billing<'a> {
    pub fn of(problem: &'a Problem, task: &'a Task, charges: &'a Charges) -> Self {
        let of_choice = |choice: &Choice| {
            let subject = &problem.datasets[choice.dataset];
            let of = |backend: usize| match charges.tariffs[backend] {
                Some(_) => tariff::billed(problem, subject, backend),
                None => 0,
            };
            choice
                .candidates
                .iter()
                .map(|candidate| of(candidate.backend))
                .collect()
        };
        Self {
            billed: task.choices.iter().map(of_choice).collect(),
            problem,
            task,
            charges,
        }
    }

    /// What a set of a choice bills, backend by backend.
    pub fn of_set(&self, index: usize, set: &[usize]) -> impl Iterator<Item = (usize, u64)> {
        let subject = &self.problem.datasets[self.task.choices[index].dataset];
        let priced = set
            .iter()
            .filter(|backend| self.charges.tariffs[**backend].is_some());
        priced.map(|backend| (*backend, tariff::billed(self.problem, subject, *backend)))
    }

    /// The task with tolls on what is billed in its costs.
    pub fn tolled(&self, tolls: &[f64]) -> Task {
        let mut task = Task {
            choices: self.task.choices.clone(),
            stays: self.task.stays.clone(),
            limits: self.task.limits.clone(),
        };
        self.charge(tolls, &mut task);
        task
    }

    /// Sets the costs of a tolled task to other tolls.
    pub fn charge(&self, tolls: &[f64], task: &mut Task) {
        for (index, (own, tolled)) in self.task.choices.iter().zip(&mut task.choices).enumerate() {
            let candidates = own
                .candidates
                .iter()
                .zip(&mut tolled.candidates)
                .zip(&self.billed[index]);
            for ((own, tolled), billed) in candidates {
                // Prices are never below zero but by rounding.
                tolled.cost = (own.cost + tolls[own.backend] * *billed as f64).max(0.0);
            }
            let stay = &self.task.stays[index];
            let paid: f64 = self
                .of_set(index, &stay.set)
                .map(|(backend, billed)| tolls[backend] * billed as f64)
                .sum();
            task.stays[index].cost = stay.cost + paid;
        }
    }
}

/// One pattern for each choice, and what each backend bills.
#[derive(Clone)]
pub(super) struct Bills<'a> {
    billing: &'a Billing<'a>,
    pub assignment: Assignment,
    pub billed: Vec<u128>,
}

impl<'a> Bills<'a> {
    /// These sets. `None` if one is none of its choice.
    pub fn of(billing: &'a Billing<'a>, sets: impl Iterator<Item = Vec<usize>>) -> Option<Self> {
        let task = billing.task;
        let mut patterns = Vec::with_capacity(task.choices.len());
        for ((choice, stay), set) in task.choices.iter().zip(&task.stays).zip(sets) {
            let pattern = if stay.set == set {
                stay.clone()
            } else {
                Pattern::of_set(choice, &set)?
            };
            patterns.push(pattern);
        }
        (patterns.len() == task.choices.len()).then(|| {
            let mut billed = billing.charges.fixed.clone();
            for (index, pattern) in patterns.iter().enumerate() {
                let bills = billing.of_set(index, &pattern.set);
                bills.for_each(|(backend, bytes)| billed[backend] += u128::from(bytes));
            }
            Self {
                assignment: Assignment::of(task, patterns),
                billed,
                billing,
            }
        })
    }

    /// The sets of another placement, of a task with tolls.
    pub fn like(billing: &'a Billing<'a>, assignment: &Assignment) -> Option<Self> {
        Self::of(
            billing,
            assignment.patterns.iter().map(|pattern| pattern.set.clone()),
        )
    }

    /// Cost per month, with all charges.
    pub fn cost(&self) -> f64 {
        self.assignment.cost() + self.billing.charges.sum(&self.billed)
    }

    /// Whether it keeps to the limits.
    pub fn is_within(&self) -> bool {
        self.assignment.load.is_within(&self.billing.task.limits)
    }

    /// Orders two placements: what falls short, fallbacks, the true cost, changes.
    pub fn compare(&self, other: &Self) -> Ordering {
        let task = self.billing.task;
        let levels = |bills: &Self| bills.assignment.levels(task);
        let changes = |bills: &Self| -> u64 {
            let patterns = bills.assignment.patterns.iter();
            patterns.map(|pattern| u64::from(pattern.changes)).sum()
        };
        levels(self)
            .cmp(&levels(other))
            .then(compare_cost(self.cost(), other.cost()))
            .then(changes(self).cmp(&changes(other)))
    }

    fn lift(&mut self, index: usize) -> Pattern {
        let pattern = self.assignment.patterns[index].clone();
        self.assignment
            .load
            .remove(&self.billing.task.choices[index], &pattern);
        for (backend, bytes) in self.billing.of_set(index, &pattern.set) {
            self.billed[backend] -= u128::from(bytes);
        }
        pattern
    }

    fn lay(&mut self, index: usize, pattern: Pattern) {
        self.assignment
            .load
            .add(&self.billing.task.choices[index], &pattern);
        for (backend, bytes) in self.billing.of_set(index, &pattern.set) {
            self.billed[backend] += u128::from(bytes);
        }
        self.assignment.patterns[index] = pattern;
    }

    /// What a pattern costs beside the others, its charges included, while its choice is lifted.
    fn beside_others(&self, index: usize, pattern: &Pattern) -> f64 {
        let bills = self.billing.of_set(index, &pattern.set);
        let charges = bills.map(|(backend, bytes)| self.billing.charges.more(&self.billed, backend, bytes));
        pattern.cost + charges.sum::<f64>()
    }

    /// What each candidate costs beside the others, while its choice is lifted.
    fn prices(&self, index: usize) -> Vec<f64> {
        let candidates = self.billing.task.choices[index]
            .candidates
            .iter()
            .zip(&self.billing.billed[index]);
        let price = |(candidate, bytes): (&super::super::choice::Candidate, &u64)| {
            let more = self.billing.charges.more(&self.billed, candidate.backend, *bytes);
            (candidate.cost + more).max(0.0)
        };
        candidates.map(price).collect()
    }

    fn is_better(&self, index: usize, a: &Pattern, b: &Pattern) -> bool {
        let cost = |pattern: &Pattern| self.beside_others(index, pattern);
        a.short
            .cmp(&b.short)
            .then(a.fallback.cmp(&b.fallback))
            .then_with(|| compare_cost(cost(a), cost(b)))
            .then(a.changes.cmp(&b.changes))
            .is_lt()
    }

    /// Lets each dataset in turn take the best set that fits, until none improves.
    pub fn improve(&mut self) {
        let task = self.billing.task;
        let order = by_priority(task);
        for _ in 0..ROUNDS {
            let mut improved = false;
            for &index in &order {
                let before = self.lift(index);
                let found = best_fitting(task, index, &self.assignment.load, &self.prices(index));
                let found = found.filter(|found| self.is_better(index, found, &before));
                improved |= found.is_some();
                self.lay(index, found.unwrap_or(before));
            }
            if !improved {
                return;
            }
        }
    }

    /// Empties one backend after the other where that gains.
    pub fn empty(&mut self) {
        let backends: Vec<usize> = self
            .billing
            .charges
            .backends()
            .map(|(backend, _)| backend)
            .collect();
        for backend in backends {
            if let Some(emptied) = self.without(backend)
                && emptied.compare(self).is_lt()
            {
                *self = emptied;
            }
        }
    }

    /// The placement with a backend left by all that may leave it; `None` if one finds no other place.
    fn without(&self, backend: usize) -> Option<Self> {
        let task = self.billing.task;
        let mut emptied = self.clone();
        let mut left = false;
        for index in by_priority(task) {
            if !emptied.assignment.patterns[index].set.contains(&backend) {
                continue;
            }
            let before = emptied.lift(index);
            let choice = &task.choices[index];
            let mut prices = emptied.prices(index);
            let at = choice
                .candidates
                .iter()
                .position(|candidate| candidate.backend == backend)?;
            if choice.needs.forced[at] {
                emptied.lay(index, before);
                continue;
            }
            prices[at] = f64::INFINITY;
            let found = best_fitting(task, index, &emptied.assignment.load, &prices)?;
            if found.set.contains(&backend) || found.short > before.short {
                return None;
            }
            emptied.lay(index, found);
            left = true;
        }
        emptied.improve();
        left.then_some(emptied)
    }

    /// Undoes changes that gain nothing: a set that is as good as what is there gives way to it, and a copy that costs
    /// nothing stays.
    pub fn settle_down(&mut self) {
        let task = self.billing.task;
        for (index, (choice, stay)) in task.choices.iter().zip(&task.stays).enumerate() {
            let mut pattern = self.lift(index);
            let fits =
                |bills: &Self, pattern: &Pattern| bills.assignment.load.fits(&task.limits, choice, pattern);
            if self.is_better(index, stay, &pattern) && fits(self, stay) {
                pattern = stay.clone();
            }
            for (candidate, price) in choice.candidates.iter().zip(self.prices(index)) {
                if !candidate.current || price > 0.0 {
                    continue;
                }
                let mut set = pattern.set.clone();
                if let Err(place) = set.binary_search(&candidate.backend) {
                    set.insert(place, candidate.backend);
                    let with = Pattern::of_set(choice, &set).filter(|with| fits(self, with));
                    pattern = with.unwrap_or(pattern);
                }
            }
            self.lay(index, pattern);
        }
    }

    /// Takes another placement if it is better.
    pub fn offer(&mut self, other: Self) {
        if other.is_within() && other.compare(self).is_lt() {
            *self = other;
        }
    }

    /// What a placement must cost less than to be better.
    pub fn ceiling(&self) -> f64 {
        let cost = self.cost();
        cost - COST_TIE * cost.abs()
    }
}
