//! Lots of one class that choose alike, or that are twins, taken together: the linear program splits a pile where it would else split lot
//! after lot, and the shares of a pile are then dealt out to its lots.

use std::ops::Range;

use super::catalog::Lot;
use super::members::Members;
use super::stock::Stock;
use super::wish::Wish;

/// The stock as piles, with the lots of each.
pub(crate) struct Piles {
    pub stock: Stock,
    /// For each pile, its lots.
    pub lots: Vec<Range<usize>>,
}

impl Piles {
    /// Piles the lots of a stock; its catalog is lent until [`Piles::give_back`].
    pub fn of(stock: &mut Stock, wish: &Wish) -> Self {
        let mut piles = Vec::new();
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let mut billable = Vec::new();
        let minimums = stock.catalog.minimums.len();
        for (position, lot) in stock.lots.iter().enumerate() {
            let is_twin = position > 0 && wish.is_cost_alone() && stock.is_twin(position - 1, position);
            let alike = stock.is_alike(position, wish);
            let billed = &stock.billable[position * minimums..(position + 1) * minimums];
            let joins = piles
                .last_mut()
                .filter(|pile: &&mut Lot| pile.is_pile && pile.class == lot.class && (alike || is_twin));
            if let (Some(pile), Some(range)) = (joins, ranges.last_mut()) {
                pile.bytes = pile.bytes.saturating_add(lot.bytes);
                pile.objects = pile.objects.saturating_add(lot.objects);
                let from = billable.len() - minimums;
                billable[from..]
                    .iter_mut()
                    .zip(billed)
                    .for_each(|(sum, bytes): (&mut u64, _)| {
                        *sum = sum.saturating_add(*bytes);
                    });
                range.end = position + 1;
            } else {
                piles.push(Lot {
                    is_pile: alike || (wish.is_cost_alone() && stock.fits_everywhere(position)),
                    ..*lot
                });
                ranges.push(position..position + 1);
                billable.extend_from_slice(billed);
            }
        }
        let piled = Stock {
            catalog: std::mem::take(&mut stock.catalog),
            tight: stock.tight.clone(),
            priorities: stock.priorities.clone(),
            capacities: stock.capacities.clone(),
            limits: stock.limits.clone(),
            lots: piles,
            billable,
        };
        Self {
            stock: piled,
            lots: ranges,
        }
    }

    /// Deals the sets of the piles out to their lots. `split`: for each pile that is split, its sets and their shares.
    pub fn deal(
        &self,
        stock: &Stock,
        keys: &[Members],
        split: &[(u32, Vec<(Members, f64)>)],
    ) -> Vec<Members> {
        let mut sets = Vec::with_capacity(stock.lots.len());
        let mut split = split.iter().peekable();
        for (pile, lots) in self.lots.iter().enumerate() {
            match split.next_if(|(of, _)| *of as usize == pile) {
                Some((_, shares)) => self.deal_shares(stock, pile, shares, &mut sets),
                None => sets.extend(lots.clone().map(|_| keys[pile].clone())),
            }
        }
        sets
    }

    /// The largest lot first, each to the set that still lacks most of its share.
    fn deal_shares(&self, stock: &Stock, pile: usize, shares: &[(Members, f64)], sets: &mut Vec<Members>) {
        let bytes = self.stock.lots[pile].bytes as f64;
        let mut lacks: Vec<f64> = shares.iter().map(|(_, share)| share * bytes).collect();
        for lot in self.lots[pile].clone() {
            let most = (0..lacks.len())
                .max_by(|a, b| lacks[*a].total_cmp(&lacks[*b]).then(b.cmp(a)))
                .unwrap_or(0);
            lacks[most] -= stock.lots[lot].bytes as f64;
            sets.push(shares[most].0.clone());
        }
    }

    /// The lots of these piles.
    pub fn lots_of(&self, piles: &[u32]) -> Vec<u32> {
        let lots = piles.iter().flat_map(|pile| self.lots[*pile as usize].clone());
        lots.map(|lot| lot as u32).collect()
    }

    /// Gives the catalog back.
    pub fn give_back(self, stock: &mut Stock) {
        stock.catalog = self.stock.catalog;
    }
}
