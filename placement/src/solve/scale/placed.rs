//! A placement of whole lots, kept exactly: what is used and spent, what fits, what is too much.

use super::super::need::Shortfall;
use super::members::Members;
use super::scales::Scales;
use super::stock::{Best, Stock};
use super::wish::{Tolls, Wish};

/// Rounds of making room, and of using what is left.
const ROUNDS: usize = 12;
/// In rounds of improvement, what a lot may lose at the tolls for what it gains in cost, as a share of its price: room
/// that is left goes first to those to whom it is worth most.
const LOSSES: [f64; 5] = [1e-6, 1e-4, 1e-3, 1e-2, f64::INFINITY];
/// Offers of lots to leave a backend that are enough, if together they could free so many times what must be freed.
const OFFERS: usize = 2_000;
const PLENTY: u128 = 10;
/// Relative gain in cost below which nothing is a gain.
const GAIN: f64 = 1e-9;

/// One set for each lot.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    /// The sets, in the order of the lots.
    pub sets: Vec<Members>,
    /// Bytes that each backend's room is used by.
    pub used: Vec<u128>,
    /// What is spent of each budget.
    pub spent: Vec<f64>,
}

impl Placed {
    /// These sets.
    pub fn of(stock: &Stock, sets: Vec<Members>) -> Self {
        let mut placed = Self {
            used: vec![0; stock.limits.room.len()],
            spent: vec![0.0; stock.limits.budgets.len()],
            sets: Vec::new(),
        };
        for (lot, members) in sets.iter().enumerate() {
            placed.put(stock, lot, members);
        }
        placed.sets = sets;
        placed
    }

    fn put(&mut self, stock: &Stock, lot: usize, members: &[u16]) {
        let bytes = u128::from(stock.lots[lot].bytes);
        stock.takes(lot, members, |backend| self.used[backend] += bytes);
        for budget in &stock.shape(lot).budgets {
            self.spent[*budget as usize] += stock.spends_of(lot, members, *budget as usize);
        }
    }

    fn take_away(&mut self, stock: &Stock, lot: usize, members: &[u16]) {
        let bytes = u128::from(stock.lots[lot].bytes);
        stock.takes(lot, members, |backend| self.used[backend] -= bytes);
        for budget in &stock.shape(lot).budgets {
            self.spent[*budget as usize] -= stock.spends_of(lot, members, *budget as usize);
        }
    }

    /// Takes a lot's set up; it has none until another is laid down.
    pub fn lift(&mut self, stock: &Stock, lot: usize) -> Members {
        let set = std::mem::take(&mut self.sets[lot]);
        self.take_away(stock, lot, &set);
        set
    }

    /// Lays a set down for a lot that has none.
    pub fn lay(&mut self, stock: &Stock, lot: usize, members: Members) {
        self.put(stock, lot, &members);
        self.sets[lot] = members;
    }

    /// Lets a lot have another set.
    pub fn change(&mut self, stock: &Stock, lot: usize, members: Members) {
        let before = std::mem::take(&mut self.sets[lot]);
        self.take_away(stock, lot, &before);
        self.put(stock, lot, &members);
        self.sets[lot] = members;
    }

    /// Whether room and money suffice.
    pub fn is_within(&self, stock: &Stock) -> bool {
        let room = self
            .used
            .iter()
            .zip(&stock.limits.room)
            .all(|(used, room)| used <= room);
        room && self
            .spent
            .iter()
            .zip(&stock.limits.budgets)
            .all(|(spent, limit)| spent <= limit)
    }

    /// What the sets cost per month.
    pub fn cost(&self, stock: &Stock) -> f64 {
        self.sets
            .iter()
            .enumerate()
            .map(|(lot, members)| stock.cost_of(lot, members))
            .sum()
    }

    /// Whether a lot could have another set beside all others: a set takes no more than there is, or than it has.
    pub fn fits(&mut self, stock: &Stock, lot: usize, members: &[u16]) -> bool {
        let before = self.sets[lot].clone();
        self.take_away(stock, lot, &before);
        let bytes = u128::from(stock.lots[lot].bytes);
        let mut fits = true;
        stock.takes(lot, members, |backend| {
            fits &= self.used[backend] + bytes <= stock.limits.room[backend]
        });
        for budget in stock.shape(lot).budgets.iter().map(|budget| *budget as usize) {
            let spends = stock.spends_of(lot, members, budget);
            fits &= spends <= 0.0 || self.spent[budget] + spends <= stock.limits.budgets[budget];
        }
        self.put(stock, lot, &before);
        fits
    }

    /// Bars the candidates for which there is no room beside all others, and on `but` even if the lot is there.
    fn bar_full(&self, stock: &Stock, lot: usize, but: Option<usize>, scales: &mut Scales) {
        let bytes = u128::from(stock.lots[lot].bytes);
        let (class, shape) = (stock.class(lot), stock.shape(lot));
        for (position, backend) in shape.backends.iter().map(|backend| *backend as usize).enumerate() {
            let at = position as u16;
            let free = stock.limits.room[backend].saturating_sub(self.used[backend]);
            let stays = self.sets[lot].contains(&at) && stock.limits.room[backend] >= self.used[backend];
            let has_room = class.roomless().contains(&at) || stays || free >= bytes;
            if (!has_room || but == Some(backend)) && !shape.needs.forced[position] {
                scales.prices.candidates[position] = f64::INFINITY;
            }
        }
    }

    /// The best set of a lot that fits beside all others, at these tolls, and what it costs more than the present one.
    pub fn best_fitting(
        &mut self,
        stock: &Stock,
        lot: usize,
        at: (&Wish, &Tolls),
        but: Option<usize>,
        scales: &mut Scales,
    ) -> Option<(Members, f64)> {
        let (wish, tolls) = at;
        stock.weigh(lot, wish, tolls, scales);
        let present = stock.value(lot, wish, tolls, &self.sets[lot], scales);
        self.bar_full(stock, lot, but, scales);
        let Best { value, .. } = stock.choose(lot, wish, tolls, scales)?;
        if !value.is_finite() {
            return None;
        }
        let members = Members::of(&scales.members);
        let leaves = but.is_none_or(|backend| !stock.backends(lot, &members).contains(&backend));
        (leaves && self.fits(stock, lot, &members)).then_some((members, value - present))
    }

    /// The cheapest set of a lot at these tolls that fits beside all others and misses no more than this; without a limit,
    /// of those that miss least.
    pub fn best_within(
        &mut self,
        stock: &Stock,
        lot: usize,
        tolls: &Tolls,
        most: Option<Shortfall>,
        scales: &mut Scales,
    ) -> Option<Members> {
        stock.weigh(lot, &Wish::cost(), tolls, scales);
        self.bar_full(stock, lot, None, scales);
        let least = |scales: &Scales| {
            let needs = &stock.shape(lot).needs;
            needs.least_shortfall(|at| needs.forced[at] || scales.prices.candidates[at].is_finite())
        };
        let most = most.unwrap_or_else(|| least(scales));
        stock.choose_within(lot, most, scales)?;
        let members = Members::of(&scales.members);
        self.fits(stock, lot, &members).then_some(members)
    }

    /// Moves lots off backends that hold too much, those that lose least first. Whether all is within the limits then.
    pub fn make_room(&mut self, stock: &Stock, wish: &Wish, tolls: &Tolls, lots: &[u32]) -> bool {
        let mut scales = Scales::default();
        for _ in 0..ROUNDS {
            if self.is_within(stock) {
                return true;
            }
            let mut moved = false;
            for (backend, there) in self.on_overfull(stock, lots).into_iter().enumerate() {
                moved |= self.relieve(stock, (wish, tolls), backend, &there, &mut scales);
            }
            moved |= self.save(stock, (wish, tolls), lots, &mut scales);
            if !moved {
                break;
            }
        }
        self.is_within(stock)
    }

    fn excess(&self, stock: &Stock, backend: usize) -> u128 {
        self.used[backend].saturating_sub(stock.limits.room[backend])
    }

    /// For each backend that holds too much, those of these lots that take room there, the last first.
    fn on_overfull(&self, stock: &Stock, lots: &[u32]) -> Vec<Vec<u32>> {
        let over: Vec<bool> = (0..self.used.len())
            .map(|backend| self.excess(stock, backend) > 0)
            .collect();
        let mut on = vec![Vec::new(); over.len()];
        for lot in lots
            .iter()
            .rev()
            .filter(|lot| stock.lots[**lot as usize].bytes > 0)
        {
            stock.takes(*lot as usize, &self.sets[*lot as usize], |backend| {
                if over[backend] {
                    on[backend].push(*lot);
                }
            });
        }
        on
    }

    fn relieve(
        &mut self,
        stock: &Stock,
        at: (&Wish, &Tolls),
        backend: usize,
        there: &[u32],
        scales: &mut Scales,
    ) -> bool {
        let excess = self.excess(stock, backend);
        if excess == 0 {
            return false;
        }
        let mut offers = Vec::new();
        let (mut count, mut could_free) = (0, 0);
        // The smallest first: they fit elsewhere, and leave no hole behind.
        for lot in there.iter().map(|lot| *lot as usize) {
            if count >= OFFERS && could_free / PLENTY >= excess {
                break;
            }
            let mut takes = false;
            stock.takes(lot, &self.sets[lot], |at| takes |= at == backend);
            if !takes {
                continue;
            }
            if let Some((_, loss)) = self.best_fitting(stock, lot, at, Some(backend), scales) {
                count += 1;
                could_free += u128::from(stock.lots[lot].bytes);
                let bytes = u128::from(stock.lots[lot].bytes);
                let frees = bytes.min(excess);
                // Where not everything fits, a hole that is left behind is lost.
                let hole = if at.0.is_cost_alone() { 0 } else { bytes - frees };
                let loss = loss + hole as f64 * at.1.room[backend];
                offers.push((loss / frees as f64, lot));
            }
        }
        offers.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut moved = false;
        for (_, lot) in offers {
            if self.excess(stock, backend) == 0 {
                break;
            }
            if let Some((members, _)) = self.best_fitting(stock, lot, at, Some(backend), scales) {
                self.change(stock, lot, members);
                moved = true;
            }
        }
        moved
    }

    /// Lets lots spend less of budgets that are overspent.
    fn save(&mut self, stock: &Stock, at: (&Wish, &Tolls), lots: &[u32], scales: &mut Scales) -> bool {
        let (wish, tolls) = at;
        let mut moved = false;
        for budget in 0..self.spent.len() {
            let mut offers = Vec::new();
            if self.spent[budget] <= stock.limits.budgets[budget] {
                continue;
            }
            // The dearer this budget is, the less is spent of it.
            let mut dearer = tolls.clone();
            dearer.budgets[budget] = dearer.budgets[budget] * 2.0 + 1.0;
            for lot in lots.iter().map(|lot| *lot as usize) {
                if !stock.shape(lot).budgets.contains(&(budget as u32)) {
                    continue;
                }
                stock.weigh(lot, wish, &dearer, scales);
                self.bar_full(stock, lot, None, scales);
                if stock.choose(lot, wish, &dearer, scales).is_none() {
                    continue;
                }
                let members = Members::of(&scales.members);
                let saves =
                    stock.spends_of(lot, &self.sets[lot], budget) - stock.spends_of(lot, &members, budget);
                if saves > 0.0 {
                    stock.weigh(lot, wish, tolls, scales);
                    let loss = stock.value(lot, wish, tolls, &members, scales)
                        - stock.value(lot, wish, tolls, &self.sets[lot], scales);
                    offers.push((loss / saves, lot, members));
                }
            }
            offers.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for (_, lot, members) in offers {
                if self.spent[budget] <= stock.limits.budgets[budget] {
                    break;
                }
                let before = self.sets[lot].clone();
                self.change(stock, lot, members);
                let too_much = self.sets[lot].iter().any(|position| {
                    let backend = stock.shape(lot).backends.get(usize::from(*position));
                    backend.is_some_and(|backend| self.excess(stock, *backend as usize) > 0)
                });
                if too_much {
                    self.change(stock, lot, before);
                } else {
                    moved = true;
                }
            }
        }
        moved
    }

    /// Lets each of these lots take a cheaper set where there is room, those first that lose least at the tolls, until
    /// so much is saved.
    pub fn improve(&mut self, stock: &Stock, (wish, tolls): (&Wish, &Tolls), lots: &[u32], enough: f64) {
        let mut saved = 0.0;
        let mut scales = Scales::default();
        let free = Tolls {
            room: vec![0.0; tolls.room.len()],
            budgets: vec![0.0; tolls.budgets.len()],
            levels: tolls.levels.clone(),
        };
        for loss in LOSSES {
            for lot in lots.iter().map(|lot| *lot as usize) {
                let Some((members, more)) = self.best_fitting(stock, lot, (wish, &free), None, &mut scales)
                else {
                    continue;
                };
                if saved >= enough {
                    return;
                }
                let cost = stock.cost_of(lot, &self.sets[lot]);
                if more >= -GAIN * cost.abs() {
                    continue;
                }
                if loss.is_finite() {
                    stock.weigh(lot, wish, tolls, &mut scales);
                    let (now, then) = (
                        stock.value(lot, wish, tolls, &self.sets[lot], &scales),
                        stock.value(lot, wish, tolls, &members, &scales),
                    );
                    if then - now > loss * now.abs() {
                        continue;
                    }
                }
                self.change(stock, lot, members);
                saved -= more;
            }
        }
    }
}
