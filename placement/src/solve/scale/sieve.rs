//! The candidates of each lot that are near enough to being chosen to matter while tolls settle, side by side in memory.
//!
//! A turn of the program asks every lot, so what it reads for one must be little. What the sieve leaves out is asked
//! again by the sweep that ends the program.

use super::catalog::{NO_COPY, NO_GROUP, Simple};
use super::lacking::Terms;
use super::scales::Scales;
use super::stock::Stock;
use super::wish::{Tolls, Wish};

/// Not in the sieve.
const ABSENT: u32 = u32::MAX;

/// Near candidates of lots with simple needs.
#[derive(Debug, Default)]
pub(crate) struct Sieve {
    /// For each lot, its place in `starts`.
    places: Vec<u32>,
    starts: Vec<u32>,
    /// For each near candidate: its position, its group, its backend and what it costs at no tolls.
    positions: Vec<u16>,
    groups: Vec<u16>,
    backends: Vec<u16>,
    costs: Vec<f64>,
    /// Prices of the lot asked last.
    prices: Vec<f64>,
}

/// The choice of one lot among its near candidates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NearChoice {
    /// What its present set costs at the tolls.
    pub now: f64,
    /// What the best set costs.
    pub then: f64,
}

impl Sieve {
    /// Sifts the candidates of these lots at these tolls: one may be dearer than the dearest member by a share of the
    /// price of the set. Each lot's present set is kept.
    pub fn of<'k>(
        stock: &Stock,
        wish: &Wish,
        tolls: &Tolls,
        (lots, share): (&[u32], f64),
        key: impl Fn(usize) -> &'k [u16],
        scales: &mut Scales,
    ) -> Self {
        let mut sieve = Self {
            places: vec![ABSENT; stock.lots.len()],
            starts: vec![0],
            ..Self::default()
        };
        let has_numbers = stock.limits.room.len() < usize::from(u16::MAX);
        for lot in lots.iter().map(|lot| *lot as usize) {
            let shape = stock.shape(lot);
            let free = shape
                .simple
                .as_ref()
                .filter(|_| has_numbers && shape.budgets.is_empty());
            let Some(simple) = free else {
                continue;
            };
            let terms = Terms::where_lacking(stock, lot, wish, tolls);
            if terms.is_none() && wish.may_lack(shape.rank) {
                continue;
            }
            stock.weigh(lot, wish, tolls, scales);
            if stock.choose(lot, wish, tolls, scales).is_none() || stock.class(lot).fallback().is_some() {
                continue;
            }
            let lacking = terms.map_or(0.0, |terms| terms.dearest_lacking(simple, &scales.members));
            sieve.sift(stock, (lot, simple), key(lot), (wish, share, lacking), scales);
        }
        sieve
    }

    fn sift(
        &mut self,
        stock: &Stock,
        (lot, simple): (usize, &Simple),
        key: &[u16],
        (wish, share, lacking): (&Wish, f64, f64),
        scales: &Scales,
    ) {
        let (class, shape) = (stock.class(lot), stock.shape(lot));
        let prices = &scales.prices.candidates;
        let of_members = || scales.members.iter().map(|member| prices[*member]);
        let limit = of_members().fold(lacking, f64::max) + share * (lacking + of_members().sum::<f64>());
        for (position, price) in prices.iter().enumerate() {
            let at = position as u16;
            let kept = key.contains(&at) || simple.forced == Some(position);
            if !price.is_finite() || !(kept || (*price <= limit && simple.group[position] != NO_COPY)) {
                continue;
            }
            self.positions.push(at);
            self.groups.push(simple.group[position]);
            // The last toll is nothing, for candidates that take no room.
            let takes = !class.roomless().contains(&at);
            self.backends.push(if takes {
                shape.backends[position] as u16
            } else {
                stock.limits.room.len() as u16
            });
            self.costs
                .push(if wish.cost { stock.cost(lot, position) } else { 0.0 });
        }
        self.places[lot] = self.starts.len() as u32 - 1;
        self.starts.push(self.positions.len() as u32);
    }

    /// The best set of a lot among its near candidates, into `members` as positions; `None` if the lot is not in the
    /// sieve. `tolls`: one for each backend, and a last one that is zero.
    pub fn choose(
        &mut self,
        (simple, terms): (Option<&Simple>, Option<Terms>),
        (lot, bytes): (usize, f64),
        tolls: &[f64],
        key: &[u16],
        members: &mut Vec<usize>,
    ) -> Option<NearChoice> {
        let place = self.places[lot];
        let simple = simple.filter(|_| place != ABSENT)?;
        let range = self.starts[place as usize] as usize..self.starts[place as usize + 1] as usize;
        let (positions, groups) = (&self.positions[range.clone()], &self.groups[range.clone()]);
        self.prices.clear();
        let costs = self.costs[range.clone()].iter().zip(&self.backends[range]);
        let priced = costs.map(|(cost, backend)| cost + tolls[*backend as usize] * bytes);
        self.prices.extend(priced);
        let now = positions
            .iter()
            .zip(&self.prices)
            .filter(|(position, _)| key.contains(position));
        let now: f64 = now.map(|(_, price)| price).sum();
        let forced = simple
            .forced
            .and_then(|forced| positions.iter().position(|at| usize::from(*at) == forced));
        members.clear();
        let lacks = |terms: Terms| {
            let own = (0..positions.len()).filter(|member| key.contains(&positions[*member]));
            terms.price_of_set(simple, groups, own)
        };
        let now = now + terms.map_or(0.0, lacks);
        let then = match terms {
            None => greedy(simple, forced, groups, &self.prices, members)?,
            Some(terms) => terms.choose(simple, forced, groups, &self.prices, members)?.value,
        };
        members
            .iter_mut()
            .for_each(|member| *member = usize::from(positions[*member]));
        members.sort_unstable();
        Some(NearChoice { now, then })
    }
}

/// The cheapest set for simple needs, which is greedy: among sets of `copies` members with at least `groups` groups, the
/// cheapest candidate that still allows the rest joins next (the union of a partition matroid and a uniform one). Into
/// `members`; what it costs, or `None` if there is none.
pub(crate) fn greedy(
    simple: &Simple,
    forced: Option<usize>,
    groups: &[u16],
    prices: &[f64],
    members: &mut Vec<usize>,
) -> Option<f64> {
    let is_new = |group: u16, members: &[usize]| members.iter().all(|member| groups[*member] != group);
    let (mut counted, mut distinct, mut value) = (0, 0, 0.0);
    if let Some(position) = forced {
        value += prices[position];
        counted += usize::from(groups[position] != NO_COPY);
        distinct += usize::from(groups[position] < NO_GROUP);
        members.push(position);
    }
    // A forced member that is in no group leaves the spread to be met by further ones.
    let wanted = simple
        .copies
        .max(counted + simple.groups.saturating_sub(distinct));
    while counted < wanted {
        // Members beyond the groups that are wanted.
        let may_repeat = counted + 1 - distinct.min(simple.groups) <= wanted - simple.groups;
        let (mut cheapest, mut next) = (f64::INFINITY, usize::MAX);
        for (position, (price, group)) in prices.iter().zip(groups).enumerate() {
            if *price >= cheapest || *group == NO_COPY || members.contains(&position) {
                continue;
            }
            if may_repeat || (*group != NO_GROUP && is_new(*group, members)) {
                (cheapest, next) = (*price, position);
            }
        }
        if next == usize::MAX {
            return None;
        }
        value += cheapest;
        counted += 1;
        let group = groups[next];
        distinct += usize::from(group != NO_GROUP && is_new(group, members));
        members.push(next);
    }
    Some(value)
}
