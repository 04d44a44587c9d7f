//! The lots to place, and what any set of backends costs each of them at any prices.

use crate::ground::BudgetUnit;

use super::super::load::Limits;
use super::super::need::{Shortfall, Unit};
use super::super::picker::Offer;
use super::catalog::{Catalog, Lot, NO_COPY, NO_GROUP, Shape, Simple};
use super::class::Class;
use super::lacking::Terms;
use super::members::{FALLBACK, Members};
use super::scales::Scales;
use super::sieve::greedy;
use super::ways::Relayed;
use super::wish::{Tolls, Wish, price};

/// The lots with everything that they are priced by.
#[derive(Debug)]
pub(crate) struct Stock {
    pub catalog: Catalog,
    /// Sorted by class, the largest first.
    pub lots: Vec<Lot>,
    /// For each lot, for each of the catalog's minimums, the billed bytes.
    pub billable: Vec<u64>,
    /// What they share.
    pub limits: Limits,
    /// Bytes that each backend may hold.
    pub capacities: Vec<u128>,
    /// Backends that are too small for some lot; none where lots stand for many datasets.
    pub tight: Vec<u32>,
    /// The priorities, the highest first.
    pub priorities: Vec<i64>,
}

/// What a best set costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Best {
    /// Its price.
    pub value: f64,
    /// No set costs less.
    pub bound: f64,
}

impl Stock {
    /// The lot's class.
    pub fn class(&self, lot: usize) -> Class<'_> {
        self.catalog.classes.get(self.lots[lot].class as usize)
    }

    /// The lot's shape.
    pub fn shape(&self, lot: usize) -> &Shape {
        &self.catalog.shapes[self.class(lot).shape()]
    }

    /// Bytes that a backend bills for the lot.
    pub fn billed(&self, lot: usize, backend: u32) -> f64 {
        match self.catalog.minimum_of[backend as usize] {
            None => self.lots[lot].bytes as f64,
            Some(minimum) => self.billable[lot * self.catalog.minimums.len() + minimum] as f64,
        }
    }

    /// Whether a backend could hold the lot if nothing else were there.
    pub fn could_fit(&self, lot: usize, position: usize) -> bool {
        let backend = self.shape(lot).backends[position];
        let relayed = self.relayed(lot, position);
        if !self.lots[lot].is_pile && relayed.is_some_and(|way| !way.admits(self.lots[lot].bytes)) {
            return false;
        }
        self.lots[lot].is_pile
            || self.tight.binary_search(&backend).is_err()
            || u128::from(self.lots[lot].bytes) <= self.limits.room[backend as usize]
            || self.class(lot).roomless().contains(&(position as u16))
    }

    /// Whether two lots of one class are of one size in every respect, so that they choose alike.
    pub fn is_twin(&self, a: usize, b: usize) -> bool {
        let (x, y) = (&self.lots[a], &self.lots[b]);
        let minimums = self.catalog.minimums.len();
        let billed = |lot: usize| &self.billable[lot * minimums..(lot + 1) * minimums];
        x.class == y.class
            && x.bytes == y.bytes
            && x.objects == y.objects
            && x.is_pile == y.is_pile
            && billed(a) == billed(b)
    }

    /// Whether every backend could hold the lot if nothing else were there.
    pub fn fits_everywhere(&self, lot: usize) -> bool {
        let bytes = u128::from(self.lots[lot].bytes);
        let holds = |backend: &u32| bytes <= self.limits.room[*backend as usize];
        let admits = |relayed: &Relayed| relayed.admits(self.lots[lot].bytes);
        self.lots[lot].is_pile
            || (self.tight.iter().all(holds) && self.class(lot).relayed().iter().all(admits))
    }

    /// kg CO2e per month of a lot on a backend.
    fn carbon_kg(&self, lot: usize, backend: u32) -> f64 {
        let rates = &self.catalog.rates[self.shape(lot).rates as usize];
        rates.carbon_kg(backend) * self.lots[lot].bytes as f64
    }

    /// What keeping a lot on a backend costs per month: storage and priced carbon.
    fn keeping(&self, lot: usize, backend: u32) -> f64 {
        let rates = &self.catalog.rates[self.shape(lot).rates as usize];
        rates.storage(backend) * self.billed(lot, backend) + self.carbon_kg(lot, backend) * rates.per_kg
    }

    /// What keeping a lot on a backend costs per month, with the toll in place of its tariff.
    fn kept(&self, lot: usize, backend: u32) -> f64 {
        let toll = self.catalog.rates[self.shape(lot).rates as usize].tolls[backend as usize];
        let kept = self.keeping(lot, backend);
        if toll == 0.0 {
            return kept;
        }
        // Below zero by rounding alone.
        (kept + toll * self.billed(lot, backend)).max(0.0)
    }

    /// What a lot on a backend spends of a budget.
    pub fn spends(&self, lot: usize, position: usize, budget: usize) -> f64 {
        let shape = self.shape(lot);
        let backend = shape.backends[position];
        let made = || self.made(lot, position).unwrap_or_default();
        match self.catalog.budgets[budget].unit {
            BudgetUnit::CarbonKg => self.carbon_kg(lot, backend),
            BudgetUnit::Cost => self.keeping(lot, backend),
            BudgetUnit::MoveBytes => made().0,
            BudgetUnit::MoveCost => {
                let (bytes, objects) = made();
                if let Some(relayed) = self.relayed(lot, position) {
                    return self.making_relayed(lot, relayed, (bytes, objects)).1;
                }
                let rates = &self.catalog.rates[shape.rates as usize];
                rates.money(self.class(lot).sources(), backend, bytes, objects)
            }
        }
    }

    /// Bytes and objects that a copy of a lot on a candidate takes to make; `None` for what is there and stays.
    fn made(&self, lot: usize, position: usize) -> Option<(f64, f64)> {
        let class = self.class(lot);
        if class.kept().contains(&(position as u16)) {
            return None;
        }
        let partial = class
            .partial()
            .iter()
            .find(|(at, ..)| usize::from(*at) == position);
        let whole = (self.lots[lot].bytes as f64, self.lots[lot].objects as f64);
        Some(partial.map_or(whole, |(_, bytes, objects)| (*bytes as f64, *objects as f64)))
    }

    /// What a lot on a candidate costs per month.
    pub fn cost(&self, lot: usize, position: usize) -> f64 {
        let (class, shape) = (self.class(lot), self.shape(lot));
        let backend = shape.backends[position];
        let kept = self.kept(lot, backend);
        let Some((bytes, objects)) = self.made(lot, position) else {
            return kept;
        };
        if let Some(relayed) = self.relayed(lot, position) {
            return kept + self.making_relayed(lot, relayed, (bytes, objects)).0;
        }
        let rates = &self.catalog.rates[shape.rates as usize];
        kept + rates.making(class.sources(), backend, bytes, objects)
    }

    /// How a candidate is reached to which no direct way leads.
    fn relayed(&self, lot: usize, position: usize) -> Option<&Relayed> {
        let mut relayed = self.class(lot).relayed().iter();
        relayed.find(|relayed| usize::from(relayed.position) == position)
    }

    /// What making a copy through relays costs per month, and in money once.
    fn making_relayed(&self, lot: usize, relayed: &Relayed, missing: (f64, f64)) -> (f64, f64) {
        let item = &self.lots[lot];
        // Of a pile, each lot goes by itself.
        let held = if item.is_pile { 0 } else { item.bytes };
        relayed.making(held, (item.bytes as f64, item.objects as f64), missing)
    }

    /// The backends of a lot's fallback.
    fn fallback(&self, lot: usize) -> impl Iterator<Item = u32> + '_ {
        let set = self
            .class(lot)
            .fallback()
            .into_iter()
            .flat_map(|fallback| &fallback.set);
        set.copied()
    }

    /// What a lot keeps if nothing is made.
    pub fn stay_set(&self, lot: usize) -> Members {
        let class = self.class(lot);
        if class.fallback().is_some() {
            Members::fallback()
        } else {
            Members::from(class.stay())
        }
    }

    /// What a set costs per month.
    pub fn cost_of(&self, lot: usize, members: &[u16]) -> f64 {
        if members == [FALLBACK] {
            return self.fallback(lot).map(|backend| self.kept(lot, backend)).sum();
        }
        members
            .iter()
            .map(|position| self.cost(lot, usize::from(*position)))
            .sum()
    }

    /// The backends of a set.
    pub fn backends(&self, lot: usize, members: &[u16]) -> Vec<usize> {
        if members == [FALLBACK] {
            return self.fallback(lot).map(|backend| backend as usize).collect();
        }
        let shape = self.shape(lot);
        members
            .iter()
            .map(|position| shape.backends[usize::from(*position)] as usize)
            .collect()
    }

    /// Calls back for every backend on which a set takes room.
    pub fn takes(&self, lot: usize, members: &[u16], mut take: impl FnMut(usize)) {
        let class = self.class(lot);
        if members == [FALLBACK] {
            let takes = class.fallback().into_iter().flat_map(|fallback| &fallback.takes);
            takes.for_each(|backend| take(*backend as usize));
            return;
        }
        let shape = self.shape(lot);
        for position in members
            .iter()
            .filter(|position| !class.roomless().contains(position))
        {
            take(shape.backends[usize::from(*position)] as usize);
        }
    }

    /// What a set spends of one budget; nothing if the budget does not count the lot.
    pub fn spends_of(&self, lot: usize, members: &[u16], budget: usize) -> f64 {
        if !self.shape(lot).budgets.contains(&(budget as u32)) {
            return 0.0;
        }
        if members == [FALLBACK] {
            let spends = |backend: u32| match self.catalog.budgets[budget].unit {
                BudgetUnit::CarbonKg => self.carbon_kg(lot, backend),
                BudgetUnit::Cost => self.keeping(lot, backend),
                // What stays is not made.
                BudgetUnit::MoveBytes | BudgetUnit::MoveCost => 0.0,
            };
            return self.fallback(lot).map(spends).sum();
        }
        members
            .iter()
            .map(|position| self.spends(lot, usize::from(*position), budget))
            .sum()
    }

    /// How far a set falls short.
    pub fn shortfall(&self, lot: usize, members: &[u16]) -> Shortfall {
        let members = if members == [FALLBACK] {
            self.class(lot).stay()
        } else {
            members
        };
        let members: Vec<_> = members.iter().map(|position| usize::from(*position)).collect();
        self.shape(lot).needs.shortfall(&members)
    }

    /// How far what the lot keeps if nothing is made falls short; what is admissible of it, if that is a fallback.
    pub fn shortfall_of_stay(&self, lot: usize) -> Shortfall {
        self.shape(lot).needs.shortfall_of(self.class(lot).floors())
    }

    /// The least that the lot falls short, with the backends that could hold it.
    pub fn least(&self, lot: usize) -> Shortfall {
        let shape = self.shape(lot);
        if self.fits_everywhere(lot) {
            return shape.least;
        }
        shape
            .needs
            .least_shortfall(|position| self.could_fit(lot, position))
    }

    /// Weighs a lot: what each candidate costs it at these tolls.
    pub fn weigh(&self, lot: usize, wish: &Wish, tolls: &Tolls, scales: &mut Scales) {
        let (class, shape) = (self.class(lot), self.shape(lot));
        let item = &self.lots[lot];
        let bytes = item.bytes as f64;
        scales.prices.candidates.clear();
        if wish.cost {
            let (start, scale) = scales.costs(self, lot);
            let costs = &scales.flat[start..start + shape.backends.len()];
            let priced = costs.iter().zip(&shape.backends);
            let priced = priced.map(|(cost, backend)| cost * scale + tolls.room[*backend as usize] * bytes);
            scales.prices.candidates.extend(priced);
        } else {
            let tolled = shape
                .backends
                .iter()
                .map(|backend| tolls.room[*backend as usize] * bytes);
            scales.prices.candidates.extend(tolled);
        }
        for position in class.roomless().iter().map(|position| usize::from(*position)) {
            scales.prices.candidates[position] -= tolls.room[shape.backends[position] as usize] * bytes;
        }
        for budget in shape.budgets.iter().map(|budget| *budget as usize) {
            let toll = tolls.budgets[budget];
            if toll > 0.0 {
                for position in 0..shape.backends.len() {
                    scales.prices.candidates[position] += toll * self.spends(lot, position, budget);
                }
            }
        }
        self.bar_what_cannot_fit(lot, scales);
    }

    /// What every candidate costs a lot per month, added to a list; for a lot of whose class all costs go with bytes, what
    /// they cost for each byte.
    pub fn list_costs(&self, lot: usize, costs: &mut Vec<f64>) {
        let (class, shape) = (self.class(lot), self.shape(lot));
        let rates = &self.catalog.rates[shape.rates as usize];
        if !class.is_proportional() {
            costs.extend((0..shape.backends.len()).map(|position| self.cost(lot, position)));
            return;
        }
        let start = costs.len();
        let stored = |at: u32| (rates.storage(at) + rates.tolls[at as usize]).max(0.0);
        let kept = |at: u32| stored(at) + rates.carbon_kg(at) * rates.per_kg;
        let made = shape
            .backends
            .iter()
            .map(|backend| kept(*backend) + rates.making_a_byte(class.sources(), *backend));
        costs.extend(made);
        for position in class.kept().iter().map(|position| usize::from(*position)) {
            costs[start + position] = kept(shape.backends[position]);
        }
    }

    /// Whether all lots of a lot's class choose alike, whatever the tolls of rooms.
    pub fn is_alike(&self, lot: usize, wish: &Wish) -> bool {
        let shape = self.shape(lot);
        let free =
            wish.cost && wish.missing.is_empty() && shape.budgets.is_empty() && self.fits_everywhere(lot);
        free && self.class(lot).is_proportional() && shape.simple.is_some() && self.lots[lot].bytes > 0
    }

    fn bar_what_cannot_fit(&self, lot: usize, scales: &mut Scales) {
        let shape = self.shape(lot);
        for relayed in self.class(lot).relayed() {
            if !self.could_fit(lot, usize::from(relayed.position)) {
                scales.prices.candidates[usize::from(relayed.position)] = f64::INFINITY;
            }
        }
        for backend in &self.tight {
            if let Ok(position) = shape.backends.binary_search(backend)
                && !self.could_fit(lot, position)
            {
                scales.prices.candidates[position] = f64::INFINITY;
            }
        }
    }

    /// What the cheapest exchange in the set found last costs more; zero where that is not simple to say.
    pub fn margin(&self, lot: usize, scales: &Scales) -> f64 {
        let simple = self.shape(lot).simple.as_ref();
        simple.map_or(0.0, |simple| match scales.members.first() {
            Some(member) if *member == usize::from(FALLBACK) => 0.0,
            _ => margin(simple, &scales.prices.candidates, &scales.members),
        })
    }

    /// The best set of a lot that was weighed, into `scales.members`; what it has now if nothing better may be chosen.
    pub fn choose_or_stay(&self, lot: usize, wish: &Wish, tolls: &Tolls, scales: &mut Scales) -> Best {
        self.choose(lot, wish, tolls, scales)
            .unwrap_or_else(|| self.stay(lot, wish, tolls, scales))
    }

    /// The best set of a lot that was weighed, into `scales.members`; `None` if none may be chosen.
    pub fn choose(&self, lot: usize, wish: &Wish, tolls: &Tolls, scales: &mut Scales) -> Option<Best> {
        let found = self.choose_among_candidates(lot, wish, tolls, scales);
        if self.class(lot).fallback().is_none() {
            return found;
        }
        let allowed = price(wish.fallbacks, tolls).is_some() || found.is_none();
        let fallback = self.value(lot, wish, tolls, &[FALLBACK], scales);
        match found {
            Some(found) if !allowed || found.bound <= fallback => Some(found),
            _ => {
                scales.members.clear();
                scales.members.push(usize::from(FALLBACK));
                Some(Best {
                    value: fallback,
                    bound: fallback,
                })
            }
        }
    }

    fn stay(&self, lot: usize, wish: &Wish, tolls: &Tolls, scales: &mut Scales) -> Best {
        let stay = self.class(lot).stay();
        scales.members.clear();
        scales
            .members
            .extend(stay.iter().map(|position| usize::from(*position)));
        let value = self.value(lot, wish, tolls, stay, scales);
        Best { value, bound: value }
    }

    fn choose_among_candidates(
        &self,
        lot: usize,
        wish: &Wish,
        tolls: &Tolls,
        scales: &mut Scales,
    ) -> Option<Best> {
        let shape = self.shape(lot);
        if let Some(simple) = &shape.simple
            && !wish.may_lack(shape.rank)
        {
            scales.members.clear();
            let prices = &scales.prices.candidates;
            if let Some(value) = greedy(simple, simple.forced, &simple.group, prices, &mut scales.members) {
                scales.members.sort_unstable();
                return Some(Best { value, bound: value });
            }
        }
        if wish.may_lack(shape.rank)
            && let Some(terms) = Terms::of(self, lot, wish, tolls)
            && let Some(found) = self.choose_on(lot, terms, scales)
        {
            return Some(found);
        }
        let least = self.least(lot);
        for unit in Unit::ALL {
            let price = wish.price_of(unit, shape.rank, tolls);
            scales.prices.missing[unit as usize] = price.unwrap_or(0.0);
            scales.prices.max_missing[unit as usize] = price.is_none().then(|| least.of(unit));
        }
        self.search(lot, scales)
    }

    /// The best set of a lot that was weighed which misses no more than this, into `scales.members`.
    pub fn choose_within(&self, lot: usize, most: Shortfall, scales: &mut Scales) -> Option<Best> {
        if let Some(terms) = Terms::within(self, lot, most)
            && let Some(found) = self.choose_on(lot, terms, scales)
        {
            return Some(found);
        }
        scales.prices.missing = [0.0; 3];
        scales.prices.max_missing = Unit::ALL.map(|unit| Some(most.of(unit)));
        self.search(lot, scales)
    }

    /// The best set of a lot with simple needs that was weighed, into `scales.members`.
    fn choose_on(&self, lot: usize, terms: Terms, scales: &mut Scales) -> Option<Best> {
        let simple = self.shape(lot).simple.as_ref()?;
        scales.members.clear();
        let (forced, prices) = (simple.forced, &scales.prices.candidates);
        let found = terms.choose(simple, forced, &simple.group, prices, &mut scales.members)?;
        scales.members.sort_unstable();
        Some(Best {
            value: found.value,
            bound: found.value,
        })
    }

    fn search(&self, lot: usize, scales: &mut Scales) -> Option<Best> {
        let (class, shape) = (self.class(lot), self.shape(lot));
        scales.current.clear();
        scales.current.resize(shape.backends.len(), false);
        class
            .current()
            .iter()
            .for_each(|position| scales.current[usize::from(*position)] = true);
        let offer = Offer {
            needs: &shape.needs,
            floors: class.floors(),
            current: &scales.current,
        };
        let pick = scales.picker.pick(offer, &scales.prices)?;
        scales.members.clear();
        scales.members.extend_from_slice(&pick.members);
        Some(Best {
            value: pick.value,
            bound: pick.bound,
        })
    }

    /// What a set costs at the prices that its lot was weighed with.
    pub fn value(&self, lot: usize, wish: &Wish, tolls: &Tolls, members: &[u16], scales: &Scales) -> f64 {
        let paid = if members == [FALLBACK] {
            self.value_of_fallback(lot, wish, tolls)
        } else {
            members
                .iter()
                .map(|position| scales.prices.candidates[usize::from(*position)])
                .sum()
        };
        if wish.missing.is_empty() {
            return paid;
        }
        let (short, rank) = (self.shortfall(lot, members), self.shape(lot).rank);
        let missing = Unit::ALL
            .into_iter()
            .map(|unit| wish.price_of(unit, rank, tolls).unwrap_or(0.0) * f64::from(short.of(unit)));
        paid + missing.sum::<f64>()
    }

    fn value_of_fallback(&self, lot: usize, wish: &Wish, tolls: &Tolls) -> f64 {
        let cost = if wish.cost {
            self.cost_of(lot, &[FALLBACK])
        } else {
            0.0
        };
        let mut room = 0.0;
        self.takes(lot, &[FALLBACK], |backend| {
            room += tolls.room[backend] * self.lots[lot].bytes as f64
        });
        let budgets = self.shape(lot).budgets.iter().map(|budget| *budget as usize);
        let spent: f64 = budgets
            .map(|budget| tolls.budgets[budget] * self.spends_of(lot, &[FALLBACK], budget))
            .sum();
        cost + room + spent + price(wish.fallbacks, tolls).unwrap_or(0.0)
    }
}

/// What the cheapest exchange of one member for another candidate costs more.
fn margin(simple: &Simple, prices: &[f64], members: &[usize]) -> f64 {
    let mut margin = f64::INFINITY;
    for gone in members.iter().filter(|member| simple.forced != Some(**member)) {
        let is_left = |group: u16| {
            members
                .iter()
                .any(|member| member != gone && simple.group[*member] == group)
        };
        let mut groups: Vec<u16> = members
            .iter()
            .filter(|member| *member != gone)
            .map(|member| simple.group[*member])
            .collect();
        groups.retain(|group| *group < NO_GROUP);
        groups.sort_unstable();
        groups.dedup();
        let short = simple.groups.saturating_sub(groups.len());
        for (position, (price, group)) in prices.iter().zip(&simple.group).enumerate() {
            let more = price - prices[*gone];
            if more >= margin || *group == NO_COPY || members.contains(&position) {
                continue;
            }
            if short == 0 || (short == 1 && *group != NO_GROUP && !is_left(*group)) {
                margin = more;
            }
        }
    }
    margin.max(0.0)
}
