//! A plan that stands, ready for changes: what a change does not touch keeps its place, and nothing of the size of the
//! estate is worked out anew.
//!
//! Every lot's best price at the standing tolls is kept, and for each backend the lots that lie there. A change asks the
//! lots that it touches, and no others, and puts them where there is room. The bound stays true: what was not asked can
//! only have become dearer.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use domicile_estate::BYTES_PER_GIB;

use crate::cost::copy_cost;
use crate::ground::{self, Ground};
use crate::problem::{Problem, Subject};
use crate::solution::Solution;
use crate::tariff;

use super::super::load::Limits;
use super::members::{FALLBACK, Members};
use super::placed::Placed;
use super::proof::{Proof, Wants};
use super::revision::{Change, Revision};
use super::scales::Scales;
use super::stock::Stock;
use super::take::{lot, take_stock};
use super::wish::{Tolls, Wish};
use super::{free, worth_of_limits};

/// New datasets for which there is room before a list grows.
const NEW_DATASETS: usize = 4_096;
/// What a plan may cost more than the bound, as a share of it, before a closer bound is looked for.
const PROVED: f64 = 5e-4;
/// No lot: the dataset has nothing to choose.
const NONE: u32 = u32::MAX;

/// A plan that stands.
#[derive(Debug)]
pub struct Standing {
    stock: Stock,
    placed: Placed,
    tolls: Tolls,
    ground: Ground,
    /// For each dataset, its lot.
    lot_of: Vec<u32>,
    /// For each backend, the lots that lie there or lay there once.
    on: Vec<Vec<u32>>,
    /// For each lot, the price of its best set at the tolls, or less.
    best: Vec<f64>,
    /// For each backend, bytes of its room that do not depend on lots.
    taken: Vec<u128>,
    /// Backends that are being emptied since.
    drained: BTreeSet<usize>,
    /// Lots whose set misses more than the best prices allow them to: while there are any, these prices bound nothing,
    /// for other plans may miss as much elsewhere, and cheaper.
    lacking: BTreeSet<u32>,
    best_sum: f64,
    /// What those sets are.
    wants: Wants,
    /// What higher tolls prove more than these prices; `None` once a lot has other prices than it was proved with.
    closer: Option<Proof>,
    /// What lots had before the changes that are being taken up, of those that were given another set meanwhile.
    before: BTreeMap<u32, Vec<usize>>,
    cost: f64,
    /// Cost of what has nothing to choose, in all and of each dataset, with its bytes.
    fixed: f64,
    fixed_of: BTreeMap<usize, (f64, u64)>,
    /// Whether a change came that this plan cannot take up.
    is_lost: bool,
    scales: Scales,
}

impl Standing {
    /// Sets a plan up for changes. This takes about as long as one look at every dataset.
    #[must_use]
    pub fn of(problem: &Problem, solution: &Solution) -> Self {
        let ground = Ground::of(problem);
        let chooses = |dataset: usize| !solution.stuck.contains_key(&dataset);
        let limits = |is_lot: &[bool]| Limits::of(problem, &ground, is_lot, &solution.sets);
        let stock = take_stock(problem, &ground, chooses, limits);
        let taken = ground
            .room
            .iter()
            .zip(&stock.limits.room)
            .map(|(room, left)| room.saturating_sub(*left));
        let taken = taken.collect();
        let mut lot_of = vec![NONE; problem.datasets.len()];
        for (place, lot) in (0u32..).zip(&stock.lots) {
            lot_of[lot.dataset as usize] = place;
        }
        let sets: Vec<Members> = (0..stock.lots.len())
            .map(|lot| members(&stock, lot, &solution.sets[stock.lots[lot].dataset as usize]))
            .collect();
        let mut on = vec![Vec::new(); problem.backends.len()];
        for (lot, set) in sets.iter().enumerate() {
            stock
                .backends(lot, set)
                .into_iter()
                .for_each(|backend| on[backend].push(lot as u32));
        }
        let mut tolls = free(&stock, &Wish::cost());
        let prices = tolls.room.iter_mut().zip(&solution.shadow_prices);
        prices.for_each(|(toll, price)| *toll = price / BYTES_PER_GIB);
        let mut standing = Self {
            placed: Placed::of(&stock, sets),
            best: Vec::new(),
            best_sum: 0.0,
            wants: Wants::default(),
            closer: None,
            before: BTreeMap::new(),
            cost: 0.0,
            fixed: 0.0,
            fixed_of: BTreeMap::new(),
            drained: BTreeSet::new(),
            lacking: BTreeSet::new(),
            // What a change adds to tariffs depends on all that is billed: those estates are planned anew.
            is_lost: !tariff::tariffs(problem).is_empty(),
            scales: Scales::default(),
            stock,
            tolls,
            ground,
            lot_of,
            on,
            taken,
        };
        standing.best = (0..standing.stock.lots.len())
            .map(|lot| standing.ask(lot))
            .collect();
        standing.best_sum = standing.best.iter().sum();
        (0..standing.stock.lots.len()).for_each(|lot| standing.note_lack(lot));
        standing.make_ready();
        standing.cost = standing.placed.cost(&standing.stock);
        for (dataset, subject) in problem.datasets.iter().enumerate() {
            if standing.lot_of[dataset] == NONE {
                standing.fix(problem, subject, dataset, &solution.sets[dataset]);
            }
        }
        standing.prove();
        standing
    }

    /// Leaves room for new datasets, so that taking one up moves no list of all.
    fn make_ready(&mut self) {
        self.stock.lots.reserve(NEW_DATASETS);
        self.stock
            .billable
            .reserve(NEW_DATASETS * self.stock.catalog.minimums.len());
        self.placed.sets.reserve(NEW_DATASETS);
        self.best.reserve(NEW_DATASETS);
        self.wants.reserve(NEW_DATASETS);
        self.lot_of.reserve(NEW_DATASETS);
        self.on
            .iter_mut()
            .for_each(|lots| lots.reserve(NEW_DATASETS.min(lots.len() / 8 + 8)));
    }

    /// Takes the cost of a dataset that has nothing to choose.
    fn fix(&mut self, problem: &Problem, subject: &Subject, dataset: usize, set: &[usize]) {
        let cost: f64 = set
            .iter()
            .map(|backend| copy_cost(problem, subject, *backend).per_month())
            .sum();
        let before = self.fixed_of.insert(dataset, (cost, subject.summary.bytes.0));
        self.fixed += cost - before.map_or(0.0, |(cost, _)| cost);
    }

    /// The price of a lot's best set at the tolls.
    fn ask(&mut self, lot: usize) -> f64 {
        let wish = Wish::cost();
        self.stock.weigh(lot, &wish, &self.tolls, &mut self.scales);
        let best = self
            .stock
            .choose_or_stay(lot, &wish, &self.tolls, &mut self.scales);
        self.wants.note(&self.stock, lot, &self.scales);
        best.bound
    }

    /// Notes whether a lot's set misses more than the set that its best price is of.
    fn note_lack(&mut self, lot: usize) {
        let set = &self.placed.sets[lot];
        let lacks = self.stock.shortfall(lot, set) != self.stock.least(lot)
            || (**set == [FALLBACK] && {
                self.ask(lot);
                self.scales.members != [usize::from(FALLBACK)]
            });
        if lacks {
            self.lacking.insert(lot as u32);
        } else {
            self.lacking.remove(&(lot as u32));
        }
    }

    /// Takes changes up: `problem` is the problem with all of them.
    pub fn revise(&mut self, problem: &Problem, changes: &[Change]) -> Revision {
        let mut touched: Vec<u32> = Vec::new();
        if changes
            .iter()
            .any(|change| matches!(change, Change::Drained { .. }))
        {
            self.stock.catalog.forget_rules();
        }
        for change in changes {
            match *change {
                Change::Drained { backend } => touched.extend(self.drain(problem, backend)),
                Change::Resized { dataset } => touched.extend(self.resize(problem, dataset)),
                Change::Added { dataset } => touched.extend(self.add(problem, dataset)),
            }
        }
        if !self.stock.catalog.budgets.is_empty() && !changes.is_empty() {
            // What is spent now has changed, and with it what may be spent.
            self.is_lost = true;
        }
        self.is_lost |= self.has_reopened();
        for backend in self.grown_overfull() {
            touched.extend(self.turn_away(problem, backend));
        }
        // The largest find the least room.
        touched.sort_by_key(|lot| (std::cmp::Reverse(self.stock.lots[*lot as usize].bytes), *lot));
        touched.dedup();
        touched.into_iter().for_each(|lot| self.put(lot as usize));
        self.make_room(problem);
        // Where datasets have only come, what was proved of the others holds.
        if !changes
            .iter()
            .all(|change| matches!(change, Change::Added { .. }))
        {
            self.prove();
        }
        Revision {
            changed: self.changed(),
            fits: !self.is_lost && self.placed.is_within(&self.stock),
            per_month: self.cost + self.fixed,
            lower_bound: (self.lower_bound() + self.fixed).min(self.cost + self.fixed),
        }
    }

    /// The datasets that have another set than before these changes, with that set.
    fn changed(&mut self) -> Vec<(usize, Vec<usize>)> {
        let before = std::mem::take(&mut self.before);
        let now = before.into_iter().filter_map(|(lot, before)| {
            let set = self.stock.backends(lot as usize, &self.placed.sets[lot as usize]);
            (set != before).then(|| (self.stock.lots[lot as usize].dataset as usize, set))
        });
        let mut changed: Vec<_> = now.collect();
        changed.sort_unstable();
        changed
    }

    /// Bytes that each backend can hold at most: one that is being emptied, what could not leave.
    fn room(&self, backend: usize) -> f64 {
        let room = self.stock.limits.room[backend];
        if self.drained.contains(&backend) {
            room.min(self.placed.used[backend]) as f64
        } else {
            room as f64
        }
    }

    /// No plan of the lots that satisfies as much costs less. Where not everything fits, nothing is proved.
    fn lower_bound(&self) -> f64 {
        if !self.lacking.is_empty() {
            return 0.0;
        }
        // Nothing can lie on a backend that is being emptied but what could not leave.
        let unused = self.drained.iter().map(|backend| {
            self.tolls.room[*backend] * (self.stock.limits.room[*backend] as f64 - self.room(*backend))
        });
        let unused: f64 = unused.sum();
        self.best_sum - worth_of_limits(&self.stock, &Wish::cost(), &self.tolls)
            + unused
            + self
                .closer
                .as_ref()
                .map_or(0.0, |closer| closer.gain(|backend| self.room(backend)))
    }

    /// Looks for a closer bound where the standing tolls prove little.
    fn prove(&mut self) {
        self.closer = Some(Proof::default());
        let lacks = self.cost - self.lower_bound();
        let enough = PROVED * (self.cost + self.fixed);
        if self.lacking.is_empty() && lacks > enough {
            let room: Vec<f64> = (0..self.on.len()).map(|backend| self.room(backend)).collect();
            let closer = self.wants.closer(
                &self.stock,
                (&self.tolls, &room),
                &self.best,
                (lacks, enough),
                &mut self.scales,
            );
            self.closer = Some(closer);
        }
    }

    /// The lots that lie on a backend that is being emptied, each with what may be chosen now.
    fn drain(&mut self, problem: &Problem, backend: usize) -> Vec<u32> {
        self.drained.insert(backend);
        let lots = std::mem::take(&mut self.on[backend]);
        lots.iter()
            .for_each(|lot| self.choose_anew(problem, *lot as usize, backend));
        lots
    }

    /// Gives a lot that has, or was to have, a copy on a backend what may be chosen now.
    fn choose_anew(&mut self, problem: &Problem, lot: usize, backend: usize) {
        let subject = &problem.datasets[self.stock.lots[lot].dataset as usize];
        let set = self.stock.backends(lot, &self.placed.sets[lot]);
        if !set.contains(&backend) {
            return;
        }
        let Some(class) = self.stock.catalog.class(problem, &self.ground, subject) else {
            // Nothing is left to choose: it stays as it is, whatever was planned, which only a whole plan can say.
            self.is_lost = true;
            return;
        };
        self.cost -= self.stock.cost_of(lot, &self.placed.sets[lot]);
        self.placed.lift(&self.stock, lot);
        self.stock.lots[lot].class = class;
        // Until it is put, it has what is left of its set.
        let left: Vec<_> = set.iter().copied().filter(|other| *other != backend).collect();
        self.before.entry(lot as u32).or_insert(set);
        let left = members_or_stay(&self.stock, lot, &left);
        self.placed.lay(&self.stock, lot, left);
        self.cost += self.stock.cost_of(lot, &self.placed.sets[lot]);
        self.renew_best(lot);
        self.note_lack(lot);
    }

    /// Backends that hold more than their capacity since datasets there grew: they take nothing new.
    fn grown_overfull(&mut self) -> Vec<usize> {
        let is_over = |backend: &usize| self.ground.used[*backend] > self.stock.capacities[*backend];
        let over: Vec<_> = (0..self.on.len()).filter(is_over).collect();
        let grown: Vec<_> = over
            .into_iter()
            .filter(|backend| self.stock.catalog.set_overfull(*backend))
            .collect();
        if !grown.is_empty() {
            self.stock.catalog.forget_rules();
        }
        grown
    }

    /// Turns lots away from backends on which datasets have grown so much that not all new copies have room.
    fn make_room(&mut self, problem: &Problem) {
        for backend in 0..self.on.len() {
            let is_over =
                |standing: &Self| standing.placed.used[backend] > standing.stock.limits.room[backend];
            if !is_over(self) {
                continue;
            }
            for lot in self.on[backend].clone().into_iter().map(|lot| lot as usize) {
                let dataset = self.stock.lots[lot].dataset as usize;
                let there = problem.datasets[dataset].copy_on(backend).is_some();
                if there
                    || !self
                        .stock
                        .backends(lot, &self.placed.sets[lot])
                        .contains(&backend)
                {
                    continue;
                }
                // It may have been asked before other backends were closed.
                self.choose_anew(problem, lot, backend);
                self.put(lot);
                if !is_over(self) {
                    break;
                }
            }
        }
    }

    /// The lots that were to have a new copy on a backend that takes nothing new any more.
    fn turn_away(&mut self, problem: &Problem, backend: usize) -> Vec<u32> {
        let lots = std::mem::take(&mut self.on[backend]);
        let is_new = |lot: &u32| {
            let subject = &problem.datasets[self.stock.lots[*lot as usize].dataset as usize];
            subject.copy_on(backend).is_none()
        };
        let (new, there): (Vec<u32>, Vec<u32>) = lots.into_iter().partition(is_new);
        self.on[backend] = there;
        new.iter()
            .for_each(|lot| self.choose_anew(problem, *lot as usize, backend));
        new
    }

    /// Takes down the price of a lot that has other candidates or another size than before.
    fn renew_best(&mut self, lot: usize) {
        self.closer = None;
        let best = self.ask(lot);
        self.best_sum += best - self.best[lot];
        self.best[lot] = best;
    }

    /// The dataset's lot, if it cannot keep the set that it had.
    fn resize(&mut self, problem: &Problem, dataset: usize) -> Option<u32> {
        let subject = &problem.datasets[dataset];
        let place = self.lot_of[dataset];
        let Some(before) = self.stock.lots.get(place as usize).copied() else {
            let bytes = self.fixed_of.get(&dataset).map_or(0, |(_, bytes)| *bytes);
            let set = ground::stay(problem, &self.ground, subject);
            self.fix(problem, subject, dataset, &set);
            for held in &subject.copies {
                self.grow(
                    held.backend,
                    bytes,
                    subject,
                    takes_room(problem, subject, held.backend, Some(&set)),
                );
            }
            return None;
        };
        let at = place as usize;
        let Some(class) = self.stock.catalog.class(problem, &self.ground, subject) else {
            self.is_lost = true;
            return None;
        };
        self.cost -= self.stock.cost_of(at, &self.placed.sets[at]);
        let set = self.stock.backends(at, &self.placed.lift(&self.stock, at));
        self.stock.lots[at] = lot(dataset, class, subject);
        let minimums = self.stock.catalog.minimums.clone();
        for (slot, minimum) in minimums.iter().enumerate() {
            self.stock.billable[at * minimums.len() + slot] = subject.summary.billable(*minimum).0;
        }
        for held in &subject.copies {
            self.grow(
                held.backend,
                before.bytes,
                subject,
                ground::stays_anyway(subject, held.backend),
            );
        }
        let kept = members_or_stay(&self.stock, at, &set);
        self.placed.lay(&self.stock, at, kept);
        self.cost += self.stock.cost_of(at, &self.placed.sets[at]);
        self.renew_best(at);
        self.note_lack(at);
        let is_other = self.stock.backends(at, &self.placed.sets[at]) != set;
        is_other.then(|| {
            self.before.entry(place).or_insert(set);
            place
        })
    }

    /// A copy on a backend grew, or shrank, from so many bytes to what it has now.
    fn grow(&mut self, backend: usize, before: u64, subject: &Subject, takes: bool) {
        let (before, now) = (u128::from(before), u128::from(subject.summary.bytes.0));
        self.ground.used[backend] = self.ground.used[backend] - before + now;
        if takes {
            self.taken[backend] = self.taken[backend].saturating_sub(before) + now;
        }
        self.renew_room(backend);
    }

    /// A backend's room: its capacity, or what it holds already where that is more.
    fn renew_room(&mut self, backend: usize) {
        let room = self.stock.capacities[backend].max(self.ground.used[backend]);
        self.ground.room[backend] = room;
        let left = room.saturating_sub(self.taken[backend]);
        let before = std::mem::replace(&mut self.stock.limits.room[backend], left);
        if before < left && self.stock.tight.binary_search(&(backend as u32)).is_ok() {
            self.renew_those_of(before + 1..=left);
        }
    }

    /// Takes down the prices of lots of these sizes: a backend that was too small for them is so no more.
    fn renew_those_of(&mut self, bytes: RangeInclusive<u128>) {
        for lot in 0..self.best.len() {
            if bytes.contains(&u128::from(self.stock.lots[lot].bytes)) {
                self.renew_best(lot);
                self.note_lack(lot);
            }
        }
    }

    /// Whether a backend that took nothing new could do so again since datasets there shrank: every dataset may choose it.
    fn has_reopened(&self) -> bool {
        let fits = |backend: &usize| self.ground.used[*backend] <= self.stock.capacities[*backend];
        (0..self.on.len())
            .filter(fits)
            .any(|backend| self.stock.catalog.is_overfull(backend))
    }

    /// A new dataset as a lot that stays where it is, still to be put where it is best.
    fn add(&mut self, problem: &Problem, dataset: usize) -> Option<u32> {
        let subject = &problem.datasets[dataset];
        self.lot_of.resize(problem.datasets.len(), NONE);
        let class = self.stock.catalog.class(problem, &self.ground, subject);
        let stays = ground::stay(problem, &self.ground, subject);
        for held in &subject.copies {
            let fixed = class.is_none().then_some(&*stays);
            let takes = takes_room(problem, subject, held.backend, fixed);
            self.grow(held.backend, 0, subject, takes);
        }
        let Some(class) = class else {
            self.fix(problem, subject, dataset, &stays);
            return None;
        };
        let place = self.stock.lots.len();
        self.stock.lots.push(lot(dataset, class, subject));
        let minimums = self.stock.catalog.minimums.iter();
        self.stock
            .billable
            .extend(minimums.map(|minimum| subject.summary.billable(*minimum).0));
        self.lot_of[dataset] = place as u32;
        self.placed.sets.push(Members::default());
        let members = members(&self.stock, place, &stays);
        self.placed.lay(&self.stock, place, members);
        self.cost += self.stock.cost_of(place, &self.placed.sets[place]);
        let best = self.ask(place);
        self.best.push(best);
        self.best_sum += best;
        self.note_lack(place);
        Some(place as u32)
    }

    /// Puts a lot where it is best at the tolls and fits.
    fn put(&mut self, lot: usize) {
        let at = (&Wish::cost(), &self.tolls);
        let full = self
            .placed
            .best_fitting(&self.stock, lot, at, None, &mut self.scales);
        let found = full.map(|(members, _)| members).or_else(|| {
            // Not everything that is asked for has room: as much as has.
            self.placed
                .best_within(&self.stock, lot, &self.tolls, None, &mut self.scales)
        });
        let members = found.unwrap_or_else(|| self.stock.stay_set(lot));
        if members != self.placed.sets[lot] {
            self.move_to(lot, members);
        }
    }

    fn move_to(&mut self, lot: usize, members: Members) {
        let before = self.stock.backends(lot, &self.placed.sets[lot]);
        self.before.entry(lot as u32).or_insert(before);
        self.cost -= self.stock.cost_of(lot, &self.placed.sets[lot]);
        for backend in self.stock.backends(lot, &members) {
            self.on[backend].push(lot as u32);
        }
        self.placed.change(&self.stock, lot, members);
        self.cost += self.stock.cost_of(lot, &self.placed.sets[lot]);
        self.note_lack(lot);
    }

    /// The standing plan as a solution of the problem as it is now.
    #[must_use]
    pub fn solution(&self, problem: &Problem) -> Solution {
        let mut sets: Vec<_> = problem
            .datasets
            .iter()
            .map(|subject| ground::stay(problem, &self.ground, subject))
            .collect();
        for (lot, members) in self.placed.sets.iter().enumerate() {
            sets[self.stock.lots[lot].dataset as usize] = self.stock.backends(lot, members);
        }
        let objective = crate::cost::objective(problem, &sets);
        Solution {
            lower_bound: (self.lower_bound() + self.fixed).min(objective.per_month),
            shadow_prices: self.tolls.room.iter().map(|toll| toll * BYTES_PER_GIB).collect(),
            objective,
            sets,
            shortages: Vec::new(),
            stuck: BTreeMap::new(),
        }
    }
}

/// Whether a copy takes room whatever lots choose: nobody may retire it, or its dataset has nothing to choose and keeps it.
/// One that is to be retired gives its room to others in the end. `fixed`: the set of a dataset that has nothing to choose.
fn takes_room(problem: &Problem, subject: &Subject, backend: usize, fixed: Option<&[usize]>) -> bool {
    fixed.map_or_else(
        || ground::stays_anyway(subject, backend),
        |set| set.contains(&backend) || ground::left_alone(problem, subject, set).contains(&backend),
    )
}

/// A set of backends as members of a lot's class; what the lot keeps if nothing is made, if one is no candidate.
fn members_or_stay(stock: &Stock, lot: usize, set: &[usize]) -> Members {
    let found = members(stock, lot, set);
    if *found == [FALLBACK] {
        stock.stay_set(lot)
    } else {
        found
    }
}

/// A set of backends as members of a lot's class; the fallback if one is no candidate.
fn members(stock: &Stock, lot: usize, set: &[usize]) -> Members {
    let backends = &stock.shape(lot).backends;
    let position = |backend: &usize| {
        backends
            .binary_search(&(*backend as u32))
            .ok()
            .map(|at| at as u16)
    };
    let positions: Option<Members> = set.iter().map(position).collect();
    positions.unwrap_or_else(Members::fallback)
}
