//! The best set of a lot with simple needs where not everything need be had: what is missing has a price instead.
//!
//! What a set is worth is then a flow: each member brings one copy, and the first of its group may bring a group as well;
//! copies and groups are worth the less the more there are. Such a worth is M-natural-concave (Murota, Discrete Convex
//! Analysis, 2003), for which the greedy choice is exact: whatever gains most joins next, until nothing gains.

use super::super::need::{Shortfall, Unit};
use super::catalog::{NO_COPY, NO_GROUP, Simple};
use super::sieve::greedy;
use super::stock::Stock;
use super::wish::{Tolls, Wish};

/// What is asked for of copies or of groups.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Term {
    /// How many there must be.
    pub must: usize,
    /// What each one costs that is missing beyond that.
    pub price: f64,
}

/// What is asked for of a lot.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Terms {
    pub copies: Term,
    pub groups: Term,
}

/// What a set costs, and what it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Lacking {
    /// What its members and what is missing cost together.
    pub value: f64,
    /// Missing copies.
    pub copies: u32,
    /// Missing groups.
    pub groups: u32,
}

impl Terms {
    /// The terms of a lot at these tolls; `None` where its needs are not so simple that they can be told apart.
    pub fn of(stock: &Stock, lot: usize, wish: &Wish, tolls: &Tolls) -> Option<Self> {
        let rank = stock.shape(lot).rank;
        let least = stock.least(lot);
        Self::told_apart(stock, lot, |unit| match wish.price_of(unit, rank, tolls) {
            None => (Some(least.of(unit)), 0.0),
            Some(price) => (None, price),
        })
    }

    /// The same, and `None` also where everything must be had that can be.
    pub fn where_lacking(stock: &Stock, lot: usize, wish: &Wish, tolls: &Tolls) -> Option<Self> {
        if !wish.may_lack(stock.shape(lot).rank) {
            return None;
        }
        Self::of(stock, lot, wish, tolls)
    }

    /// The terms on which no more than this is missing.
    pub fn within(stock: &Stock, lot: usize, most: Shortfall) -> Option<Self> {
        Self::told_apart(stock, lot, |unit| (Some(most.of(unit)), 0.0))
    }

    /// `term`: for each unit how many may be missing at most, if that is limited, and the price of each.
    fn told_apart(stock: &Stock, lot: usize, term: impl Fn(Unit) -> (Option<u32>, f64)) -> Option<Self> {
        let shape = stock.shape(lot);
        let simple = shape.simple.as_ref()?;
        let needs = &shape.needs;
        // What others imply is missed as well, and a damaged origin is no whole copy.
        let is_told_apart = needs.core.len() == needs.needs.len();
        if !is_told_apart || simple.forced.is_some_and(|forced| !needs.whole[forced]) {
            return None;
        }
        let mut terms = Self::default();
        for (need, floor) in needs.needs.iter().zip(stock.class(lot).floors()) {
            let own = match need.unit {
                Unit::Copies => &mut terms.copies,
                Unit::Groups => &mut terms.groups,
                Unit::MilliNines => return None,
            };
            let (most, price) = term(need.unit);
            let must = most.map_or(0, |most| need.wanted.saturating_sub(most));
            own.must = must.max(*floor) as usize;
            own.price = price;
        }
        Some(terms)
    }

    /// The most that may be paid for one more member of a set, since it would be missing less then.
    pub fn dearest_lacking(&self, simple: &Simple, members: &[usize]) -> f64 {
        let lacks = Had::of(&simple.group, members.iter().copied()).lacks(simple);
        let price = |term: Term, lacks: u32| if lacks > 0 { term.price } else { 0.0 };
        price(self.copies, lacks.copies) + price(self.groups, lacks.groups)
    }

    /// The cheapest set, into `members`; `None` if there is none that has what it must.
    pub fn choose(
        &self,
        simple: &Simple,
        forced: Option<usize>,
        groups: &[u16],
        prices: &[f64],
        members: &mut Vec<usize>,
    ) -> Option<Lacking> {
        if self.copies.must >= simple.copies && self.groups.must >= simple.groups {
            let value = greedy(simple, forced, groups, prices, members)?;
            return Some(Lacking {
                value,
                ..Lacking::default()
            });
        }
        let mut had = Had::default();
        let mut paid = 0.0;
        if let Some(position) = forced {
            had.add(groups, members, position);
            paid += prices[position];
        }
        while let Some((position, _)) = self.next(simple, groups, prices, (&had, members)) {
            had.add(groups, members, position);
            paid += prices[position];
        }
        let lacks = had.lacks(simple);
        let enough = had.copies >= self.copies.must.min(simple.copies) && had.groups >= self.groups.must;
        (enough && !members.is_empty()).then(|| Lacking {
            value: paid + self.price_of(lacks),
            copies: lacks.copies,
            groups: lacks.groups,
        })
    }

    /// What gains most, and what it gains; a set is never empty.
    fn next(
        &self,
        simple: &Simple,
        groups: &[u16],
        prices: &[f64],
        (had, members): (&Had, &[usize]),
    ) -> Option<(usize, (usize, f64))> {
        let mut best: Option<(usize, (usize, f64))> = None;
        for (position, (price, group)) in prices.iter().zip(groups).enumerate() {
            if !price.is_finite() || members.contains(&position) {
                continue;
            }
            let is_copy = *group != NO_COPY;
            let is_new = *group < NO_GROUP && had.is_new(groups, members, *group);
            let must = usize::from(is_copy && had.copies < self.copies.must)
                + usize::from(is_new && had.groups < self.groups.must);
            let copy = is_copy && had.copies < simple.copies;
            let group = is_new && had.groups < simple.groups;
            let saved = f64::from(u8::from(copy)) * self.copies.price
                + f64::from(u8::from(group)) * self.groups.price;
            let gain = (must, saved - price);
            let joins = must > 0 || gain.1 > 0.0 || members.is_empty();
            let is_better = |(_, known): (usize, (usize, f64))| {
                gain.0 > known.0 || (gain.0 == known.0 && gain.1 > known.1)
            };
            if joins && best.is_none_or(is_better) {
                best = Some((position, gain));
            }
        }
        best
    }

    /// What is missing costs.
    fn price_of(&self, lacks: Shortfall) -> f64 {
        self.copies.price * f64::from(lacks.copies) + self.groups.price * f64::from(lacks.groups)
    }

    /// What a set lacks costs.
    pub fn price_of_set(&self, simple: &Simple, groups: &[u16], members: impl Iterator<Item = usize>) -> f64 {
        self.price_of(Had::of(groups, members).lacks(simple))
    }
}

/// What a set has.
#[derive(Debug, Default)]
struct Had {
    copies: usize,
    groups: usize,
}

impl Had {
    fn of(groups: &[u16], members: impl Iterator<Item = usize>) -> Self {
        let (mut had, mut known) = (Self::default(), Vec::new());
        members.for_each(|member| had.add(groups, &mut known, member));
        had
    }

    fn is_new(&self, groups: &[u16], members: &[usize], group: u16) -> bool {
        self.groups == 0 || members.iter().all(|member| groups[*member] != group)
    }

    fn add(&mut self, groups: &[u16], members: &mut Vec<usize>, position: usize) {
        let group = groups[position];
        self.copies += usize::from(group != NO_COPY);
        self.groups += usize::from(group < NO_GROUP && self.is_new(groups, members, group));
        members.push(position);
    }

    fn lacks(&self, simple: &Simple) -> Shortfall {
        Shortfall {
            copies: simple.copies.saturating_sub(self.copies) as u32,
            groups: simple.groups.saturating_sub(self.groups) as u32,
            milli_nines: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least that any set costs, by trying them all.
    fn by_trial(terms: &Terms, simple: &Simple, prices: &[f64]) -> Option<f64> {
        let sets = (1u32..1 << prices.len()).map(|bits| -> Vec<usize> {
            (0..prices.len())
                .filter(|member| bits >> member & 1 == 1)
                .collect()
        });
        let allowed = sets.filter(|members| {
            let had = Had::of(&simple.group, members.iter().copied());
            let forced = simple.forced.is_none_or(|forced| members.contains(&forced));
            let copies = had.copies >= terms.copies.must.min(simple.copies);
            forced && copies && had.groups >= terms.groups.must
        });
        let cost = |members: Vec<usize>| {
            let paid: f64 = members.iter().map(|member| prices[*member]).sum();
            paid + terms.price_of_set(simple, &simple.group, members.into_iter())
        };
        allowed.map(cost).reduce(f64::min)
    }

    #[test]
    fn no_set_costs_less() {
        let mut state = 11u64;
        let mut below = |limit: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        for _ in 0..20_000 {
            let copies = 1 + below(4) as usize;
            let candidates = 1 + below(7) as usize;
            let group: Vec<u16> = (0..candidates)
                .map(|_| match below(6) {
                    0 => NO_COPY,
                    1 => NO_GROUP,
                    other => other as u16,
                })
                .collect();
            let simple = Simple {
                copies,
                groups: below(copies as u64 + 1) as usize,
                group,
                forced: (below(3) == 0).then(|| below(candidates as u64) as usize),
            };
            let mut term = |most: usize| Term {
                must: below(most as u64 + 1) as usize,
                price: below(12) as f64,
            };
            let terms = Terms {
                copies: term(copies),
                groups: term(simple.groups),
            };
            if terms.copies.must == copies && terms.groups.must == simple.groups {
                continue;
            }
            let prices: Vec<f64> = (0..candidates).map(|_| below(20) as f64).collect();
            let mut members = Vec::new();
            let found = terms.choose(&simple, simple.forced, &simple.group, &prices, &mut members);
            let least = by_trial(&terms, &simple, &prices);
            assert_eq!(
                found.map(|found| found.value),
                least,
                "{terms:?} {simple:?} {prices:?} {members:?}"
            );
        }
    }
}
