//! The exact best set for one dataset at given prices, by branch and bound over its candidates in the order of price.
//!
//! Only sets in which every member is useful are looked at: prices are never below zero and requirements are
//! monotone and submodular, so a member that was useless when it joined never becomes useful, and leaving it out is
//! never dearer.

use std::collections::BTreeSet;

use super::choice::{Choice, Shortfall};

/// Sets that one pick may look at before it settles for the best found.
const PICK_STEPS: u64 = 200_000;
/// Relative difference of prices below which two sets count as equally good.
const TIE: f64 = 1e-12;

/// What candidates and shortfalls cost.
#[derive(Debug, Clone)]
pub(crate) struct Prices {
    /// For each candidate, what it costs; never below zero. `INFINITY`: not allowed.
    pub candidates: Vec<f64>,
    /// What each missing copy costs.
    pub copy: f64,
    /// What each missing group costs.
    pub group: f64,
    /// Missing copies that are allowed.
    pub max_copies: Option<u32>,
    /// Missing groups that are allowed.
    pub max_groups: Option<u32>,
}

/// The best set found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pick {
    /// Positions of its candidates, ascending.
    pub members: Vec<usize>,
    /// Its price.
    pub value: f64,
    /// No allowed set is cheaper than this; equal to `value` unless the search was cut short.
    pub bound: f64,
    /// Its shortfall.
    pub short: Shortfall,
}

/// The cheapest allowed set; `None` if there is none.
pub(crate) fn pick(choice: &Choice, prices: &Prices) -> Option<Pick> {
    let mut search = Search::new(choice, prices);
    let root_bound = search.paid + search.still_to_pay(0)?;
    let mut cheapest = Cheapest { best: None };
    search.run(0, &mut cheapest);
    let cut_short = search.steps >= PICK_STEPS;
    cheapest.best.map(|mut best| {
        best.members.sort_unstable();
        if cut_short {
            best.bound = root_bound.min(best.value);
        }
        best
    })
}

/// Every allowed set of useful members whose price is at most `threshold`; `None` if there are more than `limit`.
pub(crate) fn enumerate(
    choice: &Choice,
    prices: &Prices,
    threshold: f64,
    limit: usize,
) -> Option<Vec<Vec<usize>>> {
    let mut search = Search::new(choice, prices);
    let mut within = Within {
        threshold,
        limit,
        found: Vec::new(),
    };
    search.run(0, &mut within);
    (within.found.len() <= limit && search.steps < PICK_STEPS).then_some(within.found)
}

/// What a search looks for.
trait Goal {
    /// Sets at or above this price are of no interest.
    fn ceiling(&self) -> f64;
    /// Takes an allowed set.
    fn take(&mut self, members: &[usize], value: f64, short: Shortfall);
}

struct Cheapest {
    best: Option<Pick>,
}

impl Goal for Cheapest {
    fn ceiling(&self) -> f64 {
        self.best
            .as_ref()
            .map_or(f64::INFINITY, |best| best.value - TIE * best.value.abs())
    }

    fn take(&mut self, members: &[usize], value: f64, short: Shortfall) {
        if value < self.ceiling() {
            self.best = Some(Pick {
                members: members.to_vec(),
                value,
                bound: value,
                short,
            });
        }
    }
}

struct Within {
    threshold: f64,
    limit: usize,
    found: Vec<Vec<usize>>,
}

impl Goal for Within {
    fn ceiling(&self) -> f64 {
        // A list that is too long ends the search at once.
        if self.found.len() > self.limit {
            f64::NEG_INFINITY
        } else {
            self.threshold.next_up()
        }
    }

    fn take(&mut self, members: &[usize], value: f64, _: Shortfall) {
        if value <= self.threshold {
            let mut members = members.to_vec();
            members.sort_unstable();
            self.found.push(members);
        }
    }
}

struct Search<'a> {
    choice: &'a Choice,
    prices: &'a Prices,
    /// Candidates that may be added, cheapest first; among equals those that are there, then by name.
    order: Vec<usize>,
    members: Vec<usize>,
    paid: f64,
    /// For each requirement, copies had.
    copies: Vec<u32>,
    /// For each spread, how often each group is had.
    groups: Vec<Vec<u32>>,
    /// For each spread, how many groups are had.
    distinct: Vec<u32>,
    /// For each requirement, how many copies it must have for the limits and floors to hold.
    must_copies: Vec<u32>,
    /// For each spread, how many groups it must have for the limits and floors to hold.
    must_groups: Vec<u32>,
    whole: u32,
    steps: u64,
}

impl<'a> Search<'a> {
    fn new(choice: &'a Choice, prices: &'a Prices) -> Self {
        let candidates = &choice.candidates;
        let allowed = |member: &usize| prices.candidates[*member].is_finite() && !candidates[*member].forced;
        let mut order: Vec<_> = (0..candidates.len()).filter(allowed).collect();
        order.sort_by(|a, b| {
            let rank = |member: usize| (prices.candidates[member], !candidates[member].current);
            let ((price_a, new_a), (price_b, new_b)) = (rank(*a), rank(*b));
            price_a.total_cmp(&price_b).then(new_a.cmp(&new_b)).then(a.cmp(b))
        });
        let group_count = |spread: usize| {
            candidates
                .iter()
                .filter_map(|candidate| candidate.group[spread])
                .max()
                .map_or(0, |group| group + 1)
        };
        let mut search = Self {
            choice,
            prices,
            order,
            members: Vec::new(),
            paid: 0.0,
            copies: vec![0; choice.copies.len()],
            groups: (0..choice.groups.len())
                .map(|spread| vec![0; group_count(spread)])
                .collect(),
            distinct: vec![0; choice.groups.len()],
            must_copies: Vec::new(),
            must_groups: Vec::new(),
            whole: 0,
            steps: 0,
        };
        let all: Vec<_> = (0..candidates.len())
            .filter(|m| candidates[*m].forced || search.order.contains(m))
            .collect();
        search.must_copies = demanded(&choice.copies, prices.max_copies, |need| {
            all.iter()
                .filter(|member| candidates[**member].counts[need])
                .count()
        });
        search.must_groups = demanded(&choice.groups, prices.max_groups, |spread| {
            all.iter()
                .filter_map(|member| candidates[*member].group[spread])
                .collect::<BTreeSet<_>>()
                .len()
        });
        for (must, floor) in search.must_copies.iter_mut().zip(&choice.copies_floor) {
            *must = (*must).max(*floor);
        }
        for (must, floor) in search.must_groups.iter_mut().zip(&choice.groups_floor) {
            *must = (*must).max(*floor);
        }
        for member in (0..candidates.len()).filter(|member| candidates[*member].forced) {
            search.add(member);
        }
        search
    }

    fn add(&mut self, member: usize) {
        let candidate = &self.choice.candidates[member];
        self.members.push(member);
        self.paid += self.prices.candidates[member];
        self.whole += u32::from(candidate.whole);
        for (have, counts) in self.copies.iter_mut().zip(&candidate.counts) {
            *have += u32::from(*counts);
        }
        for (spread, group) in candidate.group.iter().enumerate() {
            if let Some(group) = group {
                self.groups[spread][*group] += 1;
                self.distinct[spread] += u32::from(self.groups[spread][*group] == 1);
            }
        }
    }

    fn remove_last(&mut self, paid_before: f64) {
        let Some(member) = self.members.pop() else { return };
        let candidate = &self.choice.candidates[member];
        self.paid = paid_before;
        self.whole -= u32::from(candidate.whole);
        for (have, counts) in self.copies.iter_mut().zip(&candidate.counts) {
            *have -= u32::from(*counts);
        }
        for (spread, group) in candidate.group.iter().enumerate() {
            if let Some(group) = group {
                self.groups[spread][*group] -= 1;
                self.distinct[spread] -= u32::from(self.groups[spread][*group] == 0);
            }
        }
    }

    fn short(&self) -> Shortfall {
        let missing = |wanted: &[u32], have: &[u32]| -> u32 {
            wanted
                .iter()
                .zip(have)
                .map(|(wanted, have)| wanted.saturating_sub(*have))
                .sum()
        };
        Shortfall {
            copies: missing(&self.choice.copies, &self.copies),
            groups: missing(&self.choice.groups, &self.distinct),
        }
    }

    fn value(&self) -> f64 {
        let short = self.short();
        self.paid + self.prices.copy * f64::from(short.copies) + self.prices.group * f64::from(short.groups)
    }

    fn is_useful(&self, member: usize) -> bool {
        let candidate = &self.choice.candidates[member];
        let another = |need: usize| candidate.counts[need] && self.copies[need] < self.choice.copies[need];
        let a_new_group = |spread: usize| {
            self.distinct[spread] < self.choice.groups[spread]
                && candidate.group[spread].is_some_and(|group| self.groups[spread][group] == 0)
        };
        self.whole == 0 || (0..self.copies.len()).any(another) || (0..self.distinct.len()).any(a_new_group)
    }

    fn is_allowed(&self, short: Shortfall) -> bool {
        self.whole > 0
            && self.prices.max_copies.is_none_or(|max| short.copies <= max)
            && self.prices.max_groups.is_none_or(|max| short.groups <= max)
            && self
                .copies
                .iter()
                .zip(&self.choice.copies_floor)
                .all(|(have, floor)| have >= floor)
            && self
                .distinct
                .iter()
                .zip(&self.choice.groups_floor)
                .all(|(have, floor)| have >= floor)
    }

    /// Visits every allowed set that extends the present one by candidates from `start` on and may be below the
    /// ceiling.
    fn run(&mut self, start: usize, goal: &mut impl Goal) {
        self.steps += 1;
        let short = self.short();
        if self.is_allowed(short) {
            goal.take(&self.members, self.value(), short);
        }
        for next in start..self.order.len() {
            let Some(rest) = self.still_to_pay(next) else {
                return;
            };
            if self.steps >= PICK_STEPS || self.paid + rest >= goal.ceiling() {
                return;
            }
            let member = self.order[next];
            if self.is_useful(member) {
                let paid_before = self.paid;
                self.add(member);
                self.run(next + 1, goal);
                self.remove_last(paid_before);
            }
        }
    }

    /// A bound from below of what any allowed extension by candidates from `start` on pays further: the most that one
    /// requirement or spread alone must pay, in candidates or in shortfall. `None` if no extension is allowed.
    fn still_to_pay(&self, start: usize) -> Option<f64> {
        let rest = &self.order[start..];
        let mut bound: f64 = 0.0;
        if self.whole == 0 {
            bound = self.prices.candidates[*rest.first()?];
        }
        for need in 0..self.copies.len() {
            let counting = rest
                .iter()
                .filter(|member| self.choice.candidates[**member].counts[need]);
            let due = Due {
                have: self.copies[need],
                must: self.must_copies[need],
                wanted: self.choice.copies[need],
            };
            bound = bound.max(due.least(
                counting.map(|member| self.prices.candidates[*member]),
                self.prices.copy,
            )?);
        }
        for spread in 0..self.distinct.len() {
            let mut seen = BTreeSet::new();
            let new_groups = rest.iter().filter(|member| {
                self.choice.candidates[**member].group[spread]
                    .is_some_and(|group| self.groups[spread][group] == 0 && seen.insert(group))
            });
            let due = Due {
                have: self.distinct[spread],
                must: self.must_groups[spread],
                wanted: self.choice.groups[spread],
            };
            bound = bound.max(due.least(
                new_groups.map(|member| self.prices.candidates[*member]),
                self.prices.group,
            )?);
        }
        Some(bound)
    }
}

/// What one requirement or spread has, must have and wants.
struct Due {
    have: u32,
    must: u32,
    wanted: u32,
}

impl Due {
    /// The least to pay, given the prices of what can be had, ascending, and the price of going without; `None` if
    /// what must be had cannot be had.
    fn least(&self, mut offers: impl Iterator<Item = f64>, without: f64) -> Option<f64> {
        let mut sum = 0.0;
        for _ in self.have..self.must {
            sum += offers.next()?;
        }
        for _ in self.have.max(self.must)..self.wanted {
            sum += offers.next().map_or(without, |offer| offer.min(without));
        }
        Some(sum)
    }
}

/// With a limit on what all together may miss, what each one cannot do without: the limit less what the others must
/// miss anyway. Nothing without a limit.
fn demanded(wanted: &[u32], limit: Option<u32>, available: impl Fn(usize) -> usize) -> Vec<u32> {
    let Some(limit) = limit else {
        return vec![0; wanted.len()];
    };
    let missing = |(need, wanted): (usize, &u32)| {
        wanted.saturating_sub(u32::try_from(available(need)).unwrap_or(u32::MAX))
    };
    let unavoidable: Vec<_> = wanted.iter().enumerate().map(missing).collect();
    let all: u32 = unavoidable.iter().sum();
    let must = |(wanted, own): (&u32, &u32)| wanted.saturating_sub(limit.saturating_sub(all - own));
    wanted.iter().zip(&unavoidable).map(must).collect()
}
