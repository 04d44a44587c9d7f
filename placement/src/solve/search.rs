//! Good placements without proof: each dataset in turn takes the best set that the others leave room for.

use std::cmp::Ordering;

use super::choice::Choice;
use super::load::{Limits, Load};
use super::need::Unit;
use super::pattern::Pattern;
use super::picker::{self, Prices};

/// Rounds of improvement; each strictly improves, so this only bounds the work.
const ROUNDS: usize = 20;
/// Sets that are looked at one by one where a budget keeps the cheapest from being taken.
const ALTERNATIVES: usize = 4096;
/// Times that what found no place begins anew in front of all others.
const RESTARTS: usize = 8;
/// Share of a pattern in a mix below which it is noise.
const SHARE: f64 = 1e-4;
/// Relative difference below which two costs per month count as equal.
pub(crate) const COST_TIE: f64 = 1e-9;

/// Everything that the joint choice is made from.
pub(crate) struct Task {
    /// The datasets that choose.
    pub choices: Vec<Choice>,
    /// For each, what it does if nothing is made.
    pub stays: Vec<Pattern>,
    /// What they share.
    pub limits: Limits,
}

/// One pattern for each choice.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignment {
    /// The patterns, in the order of the choices.
    pub patterns: Vec<Pattern>,
    /// What they use.
    pub load: Load,
}

/// Orders two costs, equal if they differ by rounding only.
pub(crate) fn compare_cost(a: f64, b: f64) -> Ordering {
    if (a - b).abs() <= COST_TIE * a.abs().max(b.abs()) {
        Ordering::Equal
    } else {
        a.total_cmp(&b)
    }
}

/// Orders two patterns of one dataset: what falls short less, then what is admissible, then what is cheaper, then
/// what changes less.
pub(crate) fn compare(a: &Pattern, b: &Pattern) -> Ordering {
    a.short
        .cmp(&b.short)
        .then(a.fallback.cmp(&b.fallback))
        .then(compare_cost(a.cost, b.cost))
        .then(a.changes.cmp(&b.changes))
}

impl Assignment {
    /// Everything stays where it is: always within the limits.
    pub fn stay(task: &Task) -> Self {
        Self::of(task, task.stays.clone())
    }

    /// These patterns.
    pub fn of(task: &Task, patterns: Vec<Pattern>) -> Self {
        let mut load = Load::empty(&task.limits);
        for (choice, pattern) in task.choices.iter().zip(&patterns) {
            load.add(choice, pattern);
        }
        Self { patterns, load }
    }

    /// Orders two placements: for each priority from the top what is missing, unit by unit; then the number of
    /// fallbacks; then the cost; then the changes.
    pub fn compare(&self, other: &Self, task: &Task) -> Ordering {
        let changes = |assignment: &Self| {
            assignment
                .patterns
                .iter()
                .map(|p| u64::from(p.changes))
                .sum::<u64>()
        };
        self.levels(task)
            .cmp(&other.levels(task))
            .then(compare_cost(self.cost(), other.cost()))
            .then(changes(self).cmp(&changes(other)))
    }

    /// For each priority from the top what is missing, unit by unit; then the number of fallbacks.
    pub fn levels(&self, task: &Task) -> (Vec<[u64; 3]>, usize) {
        let mut levels = std::collections::BTreeMap::new();
        for (choice, pattern) in task.choices.iter().zip(&self.patterns) {
            let level = levels
                .entry(std::cmp::Reverse(choice.priority))
                .or_insert([0u64; 3]);
            for (sum, unit) in level.iter_mut().zip(Unit::ALL) {
                *sum += u64::from(pattern.short.of(unit));
            }
        }
        let fallbacks = self.patterns.iter().filter(|pattern| pattern.fallback).count();
        (levels.into_values().collect(), fallbacks)
    }

    /// Cost per month.
    pub fn cost(&self) -> f64 {
        self.patterns.iter().map(|pattern| pattern.cost).sum()
    }

    /// Lets each dataset in turn take the best set that fits, until none improves.
    pub fn improve(&mut self, task: &Task) {
        let order = by_priority(task);
        for _ in 0..ROUNDS {
            let mut improved = false;
            for &index in &order {
                self.load.remove(&task.choices[index], &self.patterns[index]);
                let base: Vec<_> = task.choices[index]
                    .candidates
                    .iter()
                    .map(|candidate| candidate.cost)
                    .collect();
                let better = best_fitting(task, index, &self.load, &base)
                    .filter(|pattern| compare(pattern, &self.patterns[index]).is_lt());
                improved |= better.is_some();
                self.patterns[index] = better.unwrap_or_else(|| self.patterns[index].clone());
                self.load.add(&task.choices[index], &self.patterns[index]);
            }
            if !improved {
                return;
            }
        }
    }

    /// Builds a placement from nothing: the datasets in the given order take the best set that fits at these prices
    /// (for each choice, for each candidate). What finds no place goes first in the next attempt.
    pub fn construct(task: &Task, order: &[usize], prices: &[Vec<f64>]) -> Option<Self> {
        build(task, order, |index, load| {
            best_fitting(task, index, load, &prices[index])
        })
    }

    /// Builds a placement near a mix of patterns: each dataset takes the pattern with the largest share that fits, else
    /// the best set that fits at these prices. Those that the mix does not split go first, then the heavy ones.
    pub fn near(
        task: &Task,
        patterns: &[Vec<Pattern>],
        shares: &[Vec<f64>],
        prices: &[Vec<f64>],
    ) -> Option<Self> {
        let mut ranked: Vec<Vec<usize>> = patterns.iter().map(|of| (0..of.len()).collect()).collect();
        for (rank, shares) in ranked.iter_mut().zip(shares) {
            rank.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
            rank.retain(|position| shares[*position] > SHARE);
        }
        let mut order = by_priority(task);
        order.sort_by_key(|index| {
            (
                ranked[*index].len() > 1,
                std::cmp::Reverse(task.choices[*index].bytes),
            )
        });
        build(task, &order, |index, load| {
            let fits = |position: &&usize| {
                load.fits(&task.limits, &task.choices[index], &patterns[index][**position])
            };
            let near = ranked[index]
                .iter()
                .find(fits)
                .map(|position| patterns[index][*position].clone());
            near.or_else(|| best_fitting(task, index, load, &prices[index]))
        })
    }

    /// Undoes changes that gain nothing: a set that is as good as what is there gives way to it, and a copy that costs
    /// nothing stays.
    pub fn settle_down(&mut self, task: &Task) {
        for index in 0..task.choices.len() {
            let (choice, stay) = (&task.choices[index], &task.stays[index]);
            self.load.remove(choice, &self.patterns[index]);
            let stays =
                compare(stay, &self.patterns[index]).is_lt() && self.load.fits(&task.limits, choice, stay);
            let mut pattern = if stays {
                stay.clone()
            } else {
                self.patterns[index].clone()
            };
            for free in choice
                .candidates
                .iter()
                .filter(|candidate| candidate.current && candidate.cost <= 0.0)
            {
                let mut set = pattern.set.clone();
                if let Err(place) = set.binary_search(&free.backend) {
                    set.insert(place, free.backend);
                    let with = Pattern::of_set(choice, &set)
                        .filter(|with| self.load.fits(&task.limits, choice, with));
                    pattern = with.unwrap_or(pattern);
                }
            }
            self.load.add(choice, &pattern);
            self.patterns[index] = pattern;
        }
    }
}

/// Builds a placement: each dataset in turn takes what `take` gives for the load so far, or stays.
fn build(task: &Task, order: &[usize], take: impl Fn(usize, &Load) -> Option<Pattern>) -> Option<Assignment> {
    let mut order = order.to_vec();
    for _ in 0..RESTARTS {
        let mut load = Load::empty(&task.limits);
        let mut patterns: Vec<Option<Pattern>> = vec![None; task.choices.len()];
        for &index in &order {
            let (choice, stay) = (&task.choices[index], &task.stays[index]);
            let pattern =
                take(index, &load).or_else(|| load.fits(&task.limits, choice, stay).then(|| stay.clone()));
            pattern.iter().for_each(|pattern| load.add(choice, pattern));
            patterns[index] = pattern;
        }
        let homeless = |index: &usize| patterns[*index].is_none();
        if !order.iter().any(homeless) {
            return Some(Assignment {
                patterns: patterns.into_iter().flatten().collect(),
                load,
            });
        }
        let (first, rest): (Vec<_>, Vec<_>) = order.iter().partition(|index| homeless(index));
        order = first.into_iter().chain(rest).collect();
    }
    None
}

/// The choices, the highest priority first.
pub(crate) fn by_priority(task: &Task) -> Vec<usize> {
    let mut order: Vec<_> = (0..task.choices.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(task.choices[*index].priority));
    order
}

/// The best pattern of one choice at these prices that fits beside a load; the fewest shortfalls come first.
pub(crate) fn best_fitting(task: &Task, index: usize, load: &Load, base: &[f64]) -> Option<Pattern> {
    let choice = &task.choices[index];
    let has_room: Vec<_> = choice
        .candidates
        .iter()
        .map(|candidate| {
            !candidate.takes_room || load.has_room(&task.limits, candidate.backend, choice.bytes)
        })
        .collect();
    let candidates: Vec<_> = base
        .iter()
        .zip(&has_room)
        .map(|(price, has_room)| if *has_room { *price } else { f64::INFINITY })
        .collect();
    let has_room_at = |candidate: &super::choice::Candidate| {
        choice
            .candidates
            .iter()
            .zip(&has_room)
            .any(|(other, has_room)| other.backend == candidate.backend && *has_room)
    };
    let least = choice.least_shortfall(has_room_at);
    let mut prices = Prices::within(candidates, least);
    let best = Pattern::of_members(choice, &picker::pick(choice.offer(), &prices)?.members);
    if load.fits(&task.limits, choice, &best) {
        return Some(best);
    }
    // Room there is, so a budget is in the way.
    prices = Prices::unlimited(prices.candidates);
    picker::enumerate(choice.offer(), &prices, f64::MAX, ALTERNATIVES)?
        .into_iter()
        .map(|members| Pattern::of_members(choice, &members))
        .filter(|pattern| load.fits(&task.limits, choice, pattern))
        .reduce(|best, next| if compare(&next, &best).is_lt() { next } else { best })
}
