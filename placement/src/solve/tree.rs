//! A joint choice as numbers: for each choice its offers, and the rows that all of them share.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Offers of a choice up to which each is held against every other.
const COMPARED: usize = 1_000;

/// One pattern as the search sees it.
pub(super) struct Offer {
    /// Its place among the patterns of its choice, as [`Tree::fits`] knows it.
    pub place: usize,
    /// Its rank among the offers of its choice and of all choices that are alike.
    pub rank: usize,
    pub measure: f64,
    /// Rows and what it uses of them; only what is above zero.
    pub uses: Vec<(usize, f64)>,
}

/// What is searched.
pub(super) struct Tree<'t> {
    /// For each choice its patterns.
    pub offers: Vec<Vec<Offer>>,
    /// For each choice, the place of its offer in a placement that is known, and once tidied its rank.
    pub known: Vec<Option<usize>>,
    /// For each choice how much its decision weighs.
    pub weights: Vec<f64>,
    /// Rows that the task has; what follows them says nothing new.
    pub rows: usize,
    /// For each row its limit.
    pub limits: Vec<f64>,
    /// For each row the price to begin at.
    pub prices: Vec<f64>,
    /// Whether the estate is so small that it is meant to be solved exactly.
    pub is_small: bool,
    /// Whether measures are whole numbers.
    pub is_counted: bool,
    /// Whether one pattern for each choice keeps to all limits, without rounding.
    pub fits: &'t dyn Fn(&[usize]) -> bool,
}

impl Offer {
    /// What it uses of a row, if anything.
    pub fn of(&self, row: usize) -> Option<f64> {
        self.uses.iter().find(|(of, _)| *of == row).map(|(_, uses)| *uses)
    }

    /// Whether it is no worse and uses no more of anything. Both list their rows ascending.
    fn is_as_good_as(&self, other: &Self) -> bool {
        let mut others = other.uses.iter();
        let mut beside = |row: usize, uses: f64| others.any(|(of, more)| *of == row && uses <= *more);
        self.measure <= other.measure && self.uses.iter().all(|(row, uses)| beside(*row, *uses))
    }

    pub fn price(&self, prices: &[f64]) -> f64 {
        let rows: f64 = self.uses.iter().map(|(row, uses)| prices[*row] * uses).sum();
        self.measure + rows
    }
}

impl Tree<'_> {
    /// Drops offers that another one of their choice is as good as in everything, and ranks the rest. For each choice, the
    /// next earlier one that is like it in everything.
    pub fn tidy(&mut self) -> Vec<Option<usize>> {
        for (offers, known) in self.offers.iter_mut().zip(&mut self.known) {
            tidy(offers, known);
        }
        let mut last: BTreeMap<Vec<u64>, usize> = BTreeMap::new();
        let key = |offers: &Vec<Offer>| {
            let numbers = offers.iter().flat_map(|offer| {
                let uses = offer
                    .uses
                    .iter()
                    .flat_map(|(row, uses)| [*row as u64, uses.to_bits()]);
                [offer.measure.to_bits(), offer.uses.len() as u64]
                    .into_iter()
                    .chain(uses)
            });
            numbers.collect()
        };
        let alike = |(choice, offers)| last.insert(key(offers), choice);
        self.offers.iter().enumerate().map(alike).collect()
    }

    /// For counted measures, what all differences between sums are multiples of.
    pub fn grain(&self) -> f64 {
        let steps = self.offers.iter().flat_map(|offers| {
            let first = offers.first().map_or(0.0, |offer| offer.measure);
            offers
                .iter()
                .map(move |offer| (offer.measure - first).abs().round() as u64)
        });
        let grain = steps.fold(0, common_divisor);
        grain.max(1) as f64
    }

    /// Drops what is in no placement below: no offer that the prices show to be too dear.
    pub fn drop_dear(&mut self, below: f64) {
        let least = self.least(&self.prices);
        let bound = self.bound(&self.prices);
        for (offers, least) in self.offers.iter_mut().zip(least) {
            offers.retain(|offer| bound - least + offer.price(&self.prices) < below);
        }
    }

    /// Drops rows from `first` on whose price says nothing.
    pub fn drop_idle(&mut self, first: usize, idle: f64) {
        let largest = self.prices.iter().copied().fold(0.0, f64::max);
        let mut number = vec![None; self.limits.len()];
        let mut next = 0;
        for (row, number) in number.iter_mut().enumerate() {
            if row < first || self.prices[row] > idle * largest {
                *number = Some(next);
                self.limits.swap(next, row);
                self.prices.swap(next, row);
                next += 1;
            }
        }
        self.limits.truncate(next);
        self.prices.truncate(next);
        for offer in self.offers.iter_mut().flatten() {
            offer.uses = offer
                .uses
                .iter()
                .filter_map(|(row, uses)| Some((number[*row]?, *uses)))
                .collect();
        }
    }

    /// What every placement measures at least, by these prices.
    pub fn bound(&self, prices: &[f64]) -> f64 {
        let worth: f64 = self
            .limits
            .iter()
            .zip(prices)
            .map(|(limit, price)| limit * price)
            .sum();
        self.least(prices).iter().sum::<f64>() - worth
    }

    /// For each choice, what its best costs at these prices.
    fn least(&self, prices: &[f64]) -> Vec<f64> {
        let least = |offers: &Vec<Offer>| {
            offers
                .iter()
                .map(|offer| offer.price(prices))
                .fold(f64::INFINITY, f64::min)
        };
        self.offers.iter().map(least).collect()
    }

    /// Divides every row by its size, so that prices are alike and steps suit all rows.
    pub fn scale(&mut self) {
        let mut scales: Vec<f64> = self.limits.iter().map(|limit| limit.abs()).collect();
        let uses = self.offers.iter().flatten().flat_map(|offer| &offer.uses);
        uses.for_each(|(row, uses)| scales[*row] = scales[*row].max(*uses));
        for (row, scale) in scales.iter_mut().enumerate() {
            *scale = if *scale > 0.0 { *scale } else { 1.0 };
            self.limits[row] /= *scale;
            self.prices[row] *= *scale;
        }
        for (row, uses) in self.offers.iter_mut().flatten().flat_map(|offer| &mut offer.uses) {
            *uses /= scales[*row];
        }
    }
}

/// The same for one choice and its known offer.
fn tidy(offers: &mut Vec<Offer>, known: &mut Option<usize>) {
    for offer in offers.iter_mut() {
        offer.uses.sort_by_key(|(row, _)| *row);
    }
    offers.sort_by(|a, b| {
        let by_measure = a.measure.total_cmp(&b.measure);
        by_measure.then_with(|| compare_uses(&a.uses, &b.uses))
    });
    if offers.len() <= COMPARED {
        let mut kept: Vec<Offer> = Vec::with_capacity(offers.len());
        for offer in offers.drain(..) {
            let better = kept.iter().find(|other| other.is_as_good_as(&offer));
            match better.map(|better| better.place) {
                Some(better) if *known == Some(offer.place) => *known = Some(better),
                Some(_) => {}
                None => kept.push(offer),
            }
        }
        *offers = kept;
    }
    for (rank, offer) in offers.iter_mut().enumerate() {
        offer.rank = rank;
    }
    *known = known.and_then(|place| offers.iter().position(|offer| offer.place == place));
}

fn compare_uses(a: &[(usize, f64)], b: &[(usize, f64)]) -> Ordering {
    let pairs = a.iter().zip(b);
    let differ = pairs
        .map(|(a, b)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))
        .find(|order| order.is_ne());
    differ.unwrap_or_else(|| a.len().cmp(&b.len()))
}

/// Euclid's.
fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}
