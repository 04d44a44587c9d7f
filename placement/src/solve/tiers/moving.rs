//! Placements of a large estate at what they truly cost: lots are moved one by one, and backends emptied, where that
//! gains with all charges.

use super::super::scale::{self, Members, Placed, Scales, Stock, Tolls, Wish};
use super::charges::Charges;

/// Rounds over the lots; each move gains, so this only bounds the work.
const ROUNDS: usize = 3;
/// Lots that are asked in one round.
const LOTS: usize = 50_000;
/// Lots that are moved to empty a backend, at most.
const EMPTIED: usize = 20_000;
/// Relative gain below which nothing is a gain.
const GAIN: f64 = 1e-9;

/// A stock whose prices are moved.
pub(super) struct Moving<'a> {
    pub stock: &'a mut Stock,
    charges: &'a Charges,
    /// The tolls that its prices hold.
    tolls: Vec<f64>,
}

impl<'a> Moving<'a> {
    pub fn of(stock: &'a mut Stock, charges: &'a Charges) -> Self {
        Self {
            tolls: vec![0.0; charges.tariffs.len()],
            stock,
            charges,
        }
    }

    /// Lets every billed byte pay a toll in place of the tariffs.
    pub fn set_tolls(&mut self, tolls: &[f64]) {
        for rates in &mut self.stock.catalog.rates {
            rates.tolls.copy_from_slice(tolls);
        }
        self.tolls.copy_from_slice(tolls);
    }

    /// What a set bills on each backend with a tariff.
    fn bills(&self, lot: usize, members: &[u16]) -> Vec<(usize, u64)> {
        let priced = self.stock.backends(lot, members).into_iter();
        let priced = priced.filter(|backend| self.charges.tariffs[*backend].is_some());
        priced
            .map(|backend| (backend, self.stock.billed(lot, backend as u32) as u64))
            .collect()
    }

    /// What all sets bill, with what is fixed.
    fn billed(&self, placed: &Placed) -> Vec<u128> {
        let mut billed = self.charges.fixed.clone();
        for (lot, members) in placed.sets.iter().enumerate() {
            for (backend, bytes) in self.bills(lot, members) {
                billed[backend] += u128::from(bytes);
            }
        }
        billed
    }

    /// The same as amounts.
    pub fn amounts(&self, placed: &Placed) -> Vec<f64> {
        self.billed(placed)
            .into_iter()
            .map(|bytes| bytes as f64)
            .collect()
    }

    /// What sets truly cost, all charges of backends with a tariff included.
    pub fn cost(&self, placed: &Placed) -> f64 {
        let billed = self.billed(placed);
        let pairs = self.tolls.iter().zip(&billed).zip(&self.charges.fixed);
        let tolled: f64 = pairs
            .map(|((toll, billed), fixed)| toll * (billed - fixed) as f64)
            .sum();
        placed.cost(self.stock) - tolled + self.charges.sum(&billed)
    }

    /// What is missing and how many fall back.
    pub fn levels(&self, placed: &Placed) -> (Vec<[u64; 3]>, usize) {
        scale::levels(self.stock, placed)
    }

    /// Whether some lot misses more than it must.
    pub fn is_short(&self, placed: &Placed) -> bool {
        let mut sets = placed.sets.iter().enumerate();
        !sets.all(|(lot, members)| is_content(self.stock, lot, members))
    }

    /// What a lot's set costs more than its present one, charges included.
    fn more(&self, lot: usize, (now, then): (&[u16], &[u16]), billed: &mut [u128]) -> f64 {
        let own = |members: &[u16]| -> f64 {
            let tolled: f64 = self
                .bills(lot, members)
                .iter()
                .map(|(backend, bytes)| self.tolls[*backend] * *bytes as f64)
                .sum();
            self.stock.cost_of(lot, members) - tolled
        };
        let (leaves, comes) = (self.bills(lot, now), self.bills(lot, then));
        let mut touched: Vec<usize> = leaves.iter().chain(&comes).map(|(backend, _)| *backend).collect();
        touched.sort_unstable();
        touched.dedup();
        let charge = |billed: &[u128]| -> f64 {
            let at = |backend: &usize| {
                let tariff = self.charges.tariffs[*backend].as_ref();
                tariff.map_or(0.0, |tariff| tariff.at(billed[*backend] as f64))
            };
            touched.iter().map(at).sum()
        };
        let before = charge(billed);
        change(billed, &leaves, &comes);
        let after = charge(billed);
        change(billed, &comes, &leaves);
        own(then) - own(now) + after - before
    }

    /// Moves lots where that gains, and empties backends where it does.
    pub fn improve(&mut self, placed: &mut Placed, mut lots: Vec<u32>) {
        let kept = self.tolls.clone();
        let mut billed = self.billed(placed);
        if self.stock.lots.len() <= LOTS {
            lots = (0..self.stock.lots.len() as u32).collect();
        }
        lots.truncate(LOTS);
        for _ in 0..ROUNDS {
            let next = self.next_tolls(&billed);
            self.set_tolls(&next);
            if !self.pass(placed, &mut billed, &lots) {
                break;
            }
        }
        let backends: Vec<usize> = self.charges.backends().map(|(backend, _)| backend).collect();
        for backend in backends {
            if self.could_save(backend, &billed) {
                self.empty(placed, &mut billed, backend);
            }
        }
        self.set_tolls(&kept);
    }

    /// What one more byte pays on each backend; where nothing is billed yet, its share of the fee as well.
    fn next_tolls(&self, billed: &[u128]) -> Vec<f64> {
        (0..self.tolls.len())
            .map(|backend| self.next_toll(backend, billed))
            .collect()
    }

    fn next_toll(&self, backend: usize, billed: &[u128]) -> f64 {
        let amount = billed[backend] as f64;
        self.charges.tariffs[backend].as_ref().map_or(0.0, |tariff| {
            if amount > 0.0 {
                tariff.slope_after(amount)
            } else {
                tariff.toll(self.charges.ranges[backend], 0.0)
            }
        })
    }

    /// Lets those backends pay what one more byte pays there now.
    fn follow(&mut self, touched: &[(usize, u64)], billed: &[u128]) {
        for backend in touched.iter().map(|(backend, _)| *backend) {
            let toll = self.next_toll(backend, billed);
            if toll != self.tolls[backend] {
                self.tolls[backend] = toll;
                self.stock
                    .catalog
                    .rates
                    .iter_mut()
                    .for_each(|rates| rates.tolls[backend] = toll);
            }
        }
    }

    /// Lets each lot take a set that is cheaper with all charges. Whether any did.
    fn pass(&mut self, placed: &mut Placed, billed: &mut [u128], lots: &[u32]) -> bool {
        let (wish, mut scales) = (Wish::cost(), Scales::default());
        let free = scale::free(self.stock, &wish);
        let mut moved = false;
        for lot in lots.iter().map(|lot| *lot as usize) {
            let at: (&Wish, &Tolls) = (&wish, &free);
            let Some((members, more)) = placed.best_fitting(self.stock, lot, at, None, &mut scales) else {
                continue;
            };
            if more >= 0.0 || members == placed.sets[lot] {
                continue;
            }
            let cost = self.stock.cost_of(lot, &placed.sets[lot]);
            if self.more(lot, (&placed.sets[lot], &members), billed) < -GAIN * cost.abs() {
                let touched = [self.bills(lot, &placed.sets[lot]), self.bills(lot, &members)].concat();
                self.give(placed, billed, lot, members);
                self.follow(&touched, billed);
                moved = true;
            }
        }
        moved
    }

    fn give(&self, placed: &mut Placed, billed: &mut [u128], lot: usize, members: Members) {
        let (leaves, comes) = (self.bills(lot, &placed.sets[lot]), self.bills(lot, &members));
        change(billed, &leaves, &comes);
        placed.change(self.stock, lot, members);
    }

    /// Whether a backend is charged more than the envelope of its tariff, so that leaving it could save that.
    fn could_save(&self, backend: usize, billed: &[u128]) -> bool {
        let amount = billed[backend] as f64;
        let Some(tariff) = &self.charges.tariffs[backend] else {
            return false;
        };
        amount > self.charges.ranges[backend].0
            && tariff.above_envelope(self.charges.ranges[backend], amount) > 0.0
    }

    /// Lets all that may leave a backend leave it, if that gains.
    fn empty(&mut self, placed: &mut Placed, billed: &mut [u128], backend: usize) {
        let lies_there = |lot: &usize| {
            let members = &placed.sets[*lot];
            let backends = &self.stock.shape(*lot).backends;
            match backends.binary_search(&(backend as u32)) {
                Ok(position) => members.contains(&(position as u16)),
                Err(_) => false,
            }
        };
        let lots: Vec<usize> = (0..self.stock.lots.len())
            .filter(lies_there)
            .take(EMPTIED + 1)
            .collect();
        if lots.is_empty() || lots.len() > EMPTIED {
            return;
        }
        let next = self.next_tolls(billed);
        self.set_tolls(&next);
        let (wish, mut scales) = (Wish::cost(), Scales::default());
        let free = scale::free(self.stock, &wish);
        let mut undo = Vec::new();
        let mut gain = 0.0;
        for lot in lots {
            let found = placed.best_fitting(self.stock, lot, (&wish, &free), Some(backend), &mut scales);
            let Some((members, _)) = found else { continue };
            let before = placed.sets[lot].clone();
            gain -= self.more(lot, (&before, &members), billed);
            self.give(placed, billed, lot, members);
            undo.push((lot, before));
        }
        if gain > GAIN * placed.cost(self.stock).abs() {
            return;
        }
        for (lot, before) in undo {
            self.give(placed, billed, lot, before);
        }
    }

    /// Takes back what gains nothing: a lot that costs no more as it is stays so.
    pub fn take_back(&mut self, placed: &mut Placed) {
        let mut billed = self.billed(placed);
        for (lot, stay) in scale::stays(self.stock).into_iter().enumerate() {
            if placed.sets[lot] == stay || stay[..] == [scale::FALLBACK] {
                continue;
            }
            let no_worse = self.stock.shortfall(lot, &stay) <= self.stock.shortfall(lot, &placed.sets[lot]);
            let no_dearer = |billed: &mut [u128]| {
                let cost = self.stock.cost_of(lot, &placed.sets[lot]);
                self.more(lot, (&placed.sets[lot], &stay), billed) <= GAIN * cost.abs()
            };
            if no_worse && no_dearer(&mut billed) && placed.fits(self.stock, lot, &stay) {
                self.give(placed, &mut billed, lot, stay);
            }
        }
    }

    /// What is there now, if that meets all that can be met and costs no more.
    pub fn stays_if_as_good(&self, placed: &Placed) -> Option<Placed> {
        let stays = Placed::of(self.stock, scale::stays(self.stock));
        let as_good = !self.is_short(&stays) && self.cost(&stays) <= self.cost(placed);
        as_good.then_some(stays)
    }
}

/// Whether a set meets what its lot can.
fn is_content(stock: &Stock, lot: usize, members: &[u16]) -> bool {
    *members != [scale::FALLBACK] && stock.shortfall(lot, members) == stock.least(lot)
}

/// Books what leaves and what comes.
fn change(billed: &mut [u128], leaves: &[(usize, u64)], comes: &[(usize, u64)]) {
    leaves
        .iter()
        .for_each(|(backend, bytes)| billed[*backend] -= u128::from(*bytes));
    comes
        .iter()
        .for_each(|(backend, bytes)| billed[*backend] += u128::from(*bytes));
}
