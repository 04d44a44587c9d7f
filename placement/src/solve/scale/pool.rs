//! Lots with simple needs, each with the candidates that are near enough to being chosen, side by side in memory; and
//! what they choose at shaken prices.
//!
//! All prices are per byte of the lot.

use std::ops::Range;

use super::super::need::Unit;
use super::catalog::{NO_COPY, NO_GROUP, Simple};
use super::lacking::{Term, Terms};
use super::members::Members;
use super::scales::Scales;
use super::stock::Stock;
use super::wish::{Held, Tolls, Wish};

/// The lots.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    lots: Vec<Pooled>,
    /// For each candidate, its cost at no tolls, its group, its backend (one past the last: it takes no room) and its
    /// position.
    costs: Vec<f32>,
    groups: Vec<u16>,
    backends: Vec<u16>,
    positions: Vec<u16>,
}

/// A lot in a pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pooled {
    pub lot: u32,
    /// Where its candidates begin.
    start: u32,
    pub bytes: f64,
    /// The price of one copy.
    pub of_copy: f64,
    /// What it may miss for a price.
    lacking: Lacks,
}

/// What a lot may miss for a price.
#[derive(Debug, Clone, Copy)]
struct Lacks {
    /// How many copies and groups there must be.
    must: [u16; 2],
    /// The rows that missing copies and groups are counted in: levels stand behind the row of what takes no room.
    rows: [u32; 2],
}

/// No row.
const NOWHERE: u32 = u32::MAX;

/// Works out what one lot after the other chooses, in memory that is kept.
#[derive(Debug, Default)]
pub(crate) struct Choosing {
    /// The prices of the candidates of the lot asked last.
    prices: Vec<f64>,
    /// Its members, among its candidates.
    pub members: Vec<usize>,
    /// What they cost, with what is missing.
    pub value: f64,
    /// Copies and groups that are missing.
    pub lacks: [u32; 2],
}

impl Pool {
    /// Those of these lots that have simple needs, with the candidates that are at most so much dearer than the dearest
    /// member, as a share of the price of a copy.
    pub fn of(stock: &Stock, wish: &Wish, tolls: &Tolls, lots: &[u32], share: f64) -> Self {
        let mut pool = Self::default();
        let mut scales = Scales::default();
        let mut lots = lots.to_vec();
        lots.sort_unstable();
        if stock.limits.room.len() >= usize::from(u16::MAX) {
            return pool;
        }
        pool.reserve(stock, &lots);
        for lot in lots {
            let at = lot as usize;
            let shape = stock.shape(at);
            let Some(simple) = shape.simple.as_ref() else {
                continue;
            };
            let is_free = shape.budgets.is_empty() && stock.class(at).fallback().is_none();
            let Some(lacking) = Lacks::of(stock, at, wish) else {
                continue;
            };
            if !wish.cost || !is_free || stock.lots[at].bytes == 0 {
                continue;
            }
            stock.weigh(at, wish, tolls, &mut scales);
            if stock.choose(at, wish, tolls, &mut scales).is_some() {
                let terms = Terms::where_lacking(stock, at, wish, tolls);
                let dearest = terms.map_or(0.0, |terms| terms.dearest_lacking(simple, &scales.members));
                pool.put(stock, (lot, simple), tolls, (share, dearest), &scales);
                if let Some(pooled) = pool.lots.last_mut() {
                    pooled.lacking = lacking;
                }
            }
        }
        pool.costs.shrink_to_fit();
        pool.groups.shrink_to_fit();
        pool.backends.shrink_to_fit();
        pool.positions.shrink_to_fit();
        pool
    }

    /// Room for all candidates of these lots: lists that grow are copied, and for a while stand there twice.
    fn reserve(&mut self, stock: &Stock, lots: &[u32]) {
        let candidates = |lot: &u32| stock.shape(*lot as usize).backends.len();
        let all = lots.iter().map(candidates).sum();
        self.lots.reserve_exact(lots.len());
        self.costs.reserve_exact(all);
        self.groups.reserve_exact(all);
        self.backends.reserve_exact(all);
        self.positions.reserve_exact(all);
    }

    fn put(
        &mut self,
        stock: &Stock,
        (lot, simple): (u32, &Simple),
        tolls: &Tolls,
        (share, lacking): (f64, f64),
        scales: &Scales,
    ) {
        let at = lot as usize;
        let bytes = stock.lots[at].bytes as f64;
        let (class, shape) = (stock.class(at), stock.shape(at));
        let prices = &scales.prices.candidates;
        let of_members = || scales.members.iter().map(|member| prices[*member]);
        let of_copy = (of_members().sum::<f64>() / scales.members.len().max(1) as f64).max(lacking);
        let limit = of_members().fold(lacking, f64::max) + share * of_copy;
        self.lots.push(Pooled {
            lot,
            start: self.costs.len() as u32,
            bytes,
            of_copy: of_copy / bytes,
            lacking: Lacks {
                must: [u16::MAX; 2],
                rows: [NOWHERE; 2],
            },
        });
        for (position, price) in prices.iter().enumerate() {
            let is_forced = simple.forced == Some(position);
            if !price.is_finite() || !(is_forced || (*price <= limit && simple.group[position] != NO_COPY)) {
                continue;
            }
            let takes = !class.roomless().contains(&(position as u16));
            let backend = if takes {
                shape.backends[position] as usize
            } else {
                stock.limits.room.len()
            };
            let toll = if takes { tolls.room[backend] } else { 0.0 };
            self.costs.push((price / bytes - toll) as f32);
            self.groups.push(simple.group[position]);
            self.positions.push(position as u16);
            self.backends.push(backend as u16);
        }
    }

    /// The lots, ascending.
    pub fn lots(&self) -> &[Pooled] {
        &self.lots
    }

    fn range(&self, place: usize) -> Range<usize> {
        let end = self
            .lots
            .get(place + 1)
            .map_or(self.costs.len(), |next| next.start as usize);
        self.lots[place].start as usize..end
    }

    /// What takes room where, of the members chosen last.
    pub fn backends<'c>(&'c self, place: usize, choosing: &'c Choosing) -> impl Iterator<Item = usize> + 'c {
        let backends = &self.backends[self.range(place)];
        choosing.members.iter().map(|member| backends[*member] as usize)
    }

    /// The members chosen last, as positions.
    pub fn positions(&self, place: usize, choosing: &Choosing) -> Members {
        let positions = &self.positions[self.range(place)];
        let chosen = positions
            .iter()
            .enumerate()
            .filter(|(at, _)| choosing.members.contains(at));
        chosen.map(|(_, position)| *position).collect()
    }

    /// The best set of one lot at prices that are shaken by a share of the price of a copy. Whether there is one.
    pub fn choose(
        &self,
        stock: &Stock,
        place: usize,
        tolls: &[f64],
        width: f64,
        choosing: &mut Choosing,
    ) -> bool {
        let pooled = self.lots[place];
        let Some(simple) = stock.shape(pooled.lot as usize).simple.as_ref() else {
            return false;
        };
        let range = self.range(place);
        let shaken = width * pooled.of_copy;
        let costs = self.costs[range.clone()]
            .iter()
            .zip(&self.backends[range.clone()]);
        let seeds = self.positions[range.clone()]
            .iter()
            .map(|position| u64::from(pooled.lot) << 16 | u64::from(*position));
        choosing.prices.clear();
        choosing
            .prices
            .extend(costs.zip(seeds).map(|((cost, backend), seed)| {
                f64::from(*cost) + tolls[*backend as usize] + shaken * noise(seed)
            }));
        choosing.members.clear();
        let forced = simple.forced.and_then(|forced| {
            let mut positions = self.positions[range.clone()].iter();
            positions.position(|at| usize::from(*at) == forced)
        });
        let groups = &self.groups[range];
        let terms = pooled.lacking.terms(tolls, pooled.bytes);
        match terms.choose(simple, forced, groups, &choosing.prices, &mut choosing.members) {
            Some(found) => {
                choosing.value = found.value;
                choosing.lacks = [found.copies, found.groups];
            }
            None => return false,
        }
        true
    }

    /// Calls back with the rows that what is missing of the set chosen last is counted in, and how much that is.
    pub fn lacks(&self, place: usize, choosing: &Choosing, mut take: impl FnMut(usize, f64)) {
        let rows = self.lots[place].lacking.rows;
        for (row, amount) in rows.iter().zip(choosing.lacks) {
            if *row != NOWHERE && amount > 0 {
                take(*row as usize, f64::from(amount));
            }
        }
    }

    /// Calls back with each exchange that costs little more than the set chosen last: two backends, and how likely it is
    /// to happen as prices change.
    pub fn ties(
        &self,
        stock: &Stock,
        place: usize,
        (little, tolls): (f64, &[f64]),
        choosing: &Choosing,
        mut take: impl FnMut((usize, f64), (usize, f64), f64),
    ) {
        let pooled = self.lots[place];
        let Some(simple) = stock.shape(pooled.lot as usize).simple.as_ref() else {
            return;
        };
        let little = little * pooled.of_copy;
        let range = self.range(place);
        let (groups, backends) = (&self.groups[range.clone()], &self.backends[range.clone()]);
        let is_forced =
            |member: usize| simple.forced == Some(usize::from(self.positions[range.start + member]));
        let (prices, members) = (&choosing.prices, &choosing.members);
        let dearest = members.iter().map(|member| prices[*member]).fold(0.0, f64::max);
        let weight = |more: f64| 2.0 * (1.0 - more.max(0.0) / little) / (little * pooled.bytes);
        let uses = |member: usize| (backends[member] as usize, pooled.bytes);
        let level = pooled.lacking.rows[0];
        if level != NOWHERE {
            // One copy less, or one more.
            let missing = (level as usize, 1.0);
            let price = tolls[level as usize] / pooled.bytes;
            let may_go = members.len() > usize::from(pooled.lacking.must[0]).max(1);
            for gone in members.iter().copied().filter(|gone| may_go && !is_forced(*gone)) {
                let more = price - prices[gone];
                if more < little {
                    take(uses(gone), missing, weight(more));
                }
            }
            for (come, own) in prices.iter().enumerate() {
                let joins = choosing.lacks[0] > 0 && groups[come] != NO_COPY && !members.contains(&come);
                if joins && own - price < little {
                    take(missing, uses(come), weight(own - price));
                }
            }
        }
        for (come, price) in prices.iter().enumerate() {
            if price - dearest >= little || groups[come] == NO_COPY || members.contains(&come) {
                continue;
            }
            for gone in members.iter().copied().filter(|gone| !is_forced(*gone)) {
                let more = price - prices[gone];
                let others = || members.iter().copied().filter(|member| *member != gone);
                if more < little && spread(groups, others().chain([come])) >= simple.groups {
                    take(uses(gone), uses(come), weight(more));
                }
            }
        }
    }

    /// Drops candidates that are dearer than the dearest member by so much of the price of a copy, and lots that have
    /// no other candidate left, which are called back with.
    pub fn tighten(
        &mut self,
        stock: &Stock,
        tolls: &[f64],
        (width, share): (f64, f64),
        mut take: impl FnMut(&Self, usize, &Choosing),
    ) {
        let mut choosing = Choosing::default();
        let (mut lots, mut end) = (0, 0);
        for place in 0..self.lots.len() {
            let pooled = self.lots[place];
            let range = self.range(place);
            if !self.choose(stock, place, tolls, width, &mut choosing) {
                continue;
            }
            let dearest = choosing
                .members
                .iter()
                .map(|member| choosing.prices[*member])
                .fold(0.0, f64::max);
            let limit = dearest + share * pooled.of_copy;
            let is_near = |at: usize| choosing.prices[at] <= limit || choosing.members.contains(&at);
            let near = (0..range.len()).filter(|at| is_near(*at)).count();
            if near <= choosing.members.len() {
                take(self, place, &choosing);
                continue;
            }
            self.lots[lots] = Pooled {
                start: end as u32,
                ..pooled
            };
            lots += 1;
            for at in (0..range.len()).filter(|at| is_near(*at)) {
                let from = range.start + at;
                self.costs[end] = self.costs[from];
                self.groups[end] = self.groups[from];
                self.backends[end] = self.backends[from];
                self.positions[end] = self.positions[from];
                end += 1;
            }
        }
        self.lots.truncate(lots);
        self.costs.truncate(end);
        self.groups.truncate(end);
        self.backends.truncate(end);
        self.positions.truncate(end);
    }
}

impl Lacks {
    /// What a lot may miss; `None` where that is not simple to say.
    fn of(stock: &Stock, lot: usize, wish: &Wish) -> Option<Self> {
        let rank = stock.shape(lot).rank;
        let mut lacks = Self {
            must: [u16::MAX; 2],
            rows: [NOWHERE; 2],
        };
        if !wish.may_lack(rank) {
            return Some(lacks);
        }
        let nothing = Tolls {
            levels: vec![0.0; wish.at_most.len()],
            ..Tolls::default()
        };
        let terms = Terms::of(stock, lot, wish, &nothing)?;
        lacks.must = [terms.copies.must, terms.groups.must].map(|must| must as u16);
        for (row, unit) in lacks.rows.iter_mut().zip([Unit::Copies, Unit::Groups]) {
            match wish.missing[rank as usize][unit as usize] {
                Held::AtMost(level) => *row = (stock.limits.room.len() + 1 + level) as u32,
                Held::Least => {}
                Held::Aim(_) => return None,
            }
        }
        Some(lacks)
    }

    fn terms(&self, tolls: &[f64], bytes: f64) -> Terms {
        let term = |unit: usize| Term {
            must: usize::from(self.must[unit]),
            price: match self.rows[unit] {
                NOWHERE => 0.0,
                row => tolls[row as usize] / bytes,
            },
        };
        Terms {
            copies: term(0),
            groups: term(1),
        }
    }
}

/// In how many groups these are.
fn spread(groups: &[u16], members: impl Iterator<Item = usize> + Clone) -> usize {
    let is_new = |at: usize, group: u16| members.clone().take(at).all(|other| groups[other] != group);
    let of_members = members.clone().map(|member| groups[member]).enumerate();
    of_members
        .filter(|(at, group)| *group < NO_GROUP && is_new(*at, *group))
        .count()
}

/// A number from -0.5 to 0.5 that looks random.
fn noise(seed: u64) -> f64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 40) as f64 / (1u64 << 24) as f64 - 0.5
}
