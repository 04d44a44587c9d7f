//! Branch and bound over patterns where backends have tariffs.
//!
//! A row is a limit, with a price from zero upwards, or what a backend bills, with a toll of either sign. At any prices a
//! branch costs at least what its choices' best patterns cost at them, less what the limits are worth, plus for each
//! tariff the least that it less the toll can be between what the branch bills there at least and at most. The fewer
//! patterns are left, the closer those ends are, and a branch that is decided is bounded by what it truly costs:
//! so tariffs need no convexity. Prices climb towards the best such bound by subgradient steps in every branch.

use crate::tariff::Tariff;

use super::super::branching::{BRANCH_STEPS, Pace, Priced, ROOT_STEPS, ROUNDING, undecided};
use super::super::search::COST_TIE;

/// Patterns priced, over all branches, after which the search gives up.
const WORK: u64 = 16_000_000;

/// One pattern as the search sees it.
pub(super) struct Offer {
    /// Its cost without charges.
    pub cost: f64,
    /// Rows and what it uses of them; only what is above zero.
    pub uses: Vec<(usize, f64)>,
}

/// What patterns share.
pub(super) enum Row<'t> {
    /// No more than this is used.
    Limit(f64),
    /// Above what is billed anyway, what is used is billed.
    Billed(&'t Tariff, f64),
}

/// What is searched.
pub(super) struct Tree<'t> {
    /// For each choice its patterns.
    pub offers: Vec<Vec<Offer>>,
    /// For each choice how much its decision weighs.
    pub weights: Vec<f64>,
    pub rows: Vec<Row<'t>>,
    /// For each row the price to begin at.
    pub prices: Vec<f64>,
    /// Whether one pattern for each choice keeps to all limits, without rounding.
    pub fits: &'t dyn Fn(&[usize]) -> bool,
}

/// What a search came to.
pub(super) struct Found {
    /// The best placement below the start, as one pattern for each choice, if there is any.
    pub best: Option<Vec<usize>>,
    /// Nothing costs less.
    pub bound: f64,
    /// Whether the search ended before it saw everything.
    pub is_cut_short: bool,
}

/// Looks for a placement that costs less than `below`.
pub(super) fn search(tree: Tree<'_>, below: f64) -> Found {
    let rows = 0..tree.rows.len();
    let scales = rows.map(|row| scale(&tree, row)).collect();
    let open = tree.offers.iter().map(|offers| (0..offers.len()).collect());
    let root = Branch {
        open: open.collect(),
        prices: tree.prices.clone(),
        ranges: Vec::new(),
    };
    let mut walk = Walk {
        tree,
        scales,
        below,
        best: None,
        bound: f64::INFINITY,
        work: 0,
    };
    walk.visit(root, ROOT_STEPS, f64::NEG_INFINITY);
    Found {
        is_cut_short: walk.work >= WORK,
        bound: walk.bound.min(walk.below),
        best: walk.best,
    }
}

/// A size of a row, so that steps suit all rows.
fn scale(tree: &Tree<'_>, row: usize) -> f64 {
    let uses = tree.offers.iter().flatten().flat_map(|offer| &offer.uses);
    let most = uses
        .filter(|(at, _)| *at == row)
        .map(|(_, uses)| *uses)
        .fold(0.0, f64::max);
    let limit = match tree.rows[row] {
        Row::Limit(limit) => limit.abs(),
        Row::Billed(..) => 0.0,
    };
    let scale = most.max(limit);
    if scale > 0.0 { scale } else { 1.0 }
}

/// The patterns that are left for each choice.
#[derive(Clone)]
struct Branch {
    open: Vec<Vec<usize>>,
    prices: Vec<f64>,
    /// For each row, what is used at least and at most.
    ranges: Vec<(f64, f64)>,
}

struct Walk<'t> {
    tree: Tree<'t>,
    scales: Vec<f64>,
    /// A placement must cost less than this.
    below: f64,
    best: Option<Vec<usize>>,
    /// The least that any branch that was given up may cost.
    bound: f64,
    work: u64,
}

impl Walk<'_> {
    fn visit(&mut self, mut branch: Branch, steps: u32, known: f64) {
        if self.work >= WORK {
            self.bound = self.bound.min(known);
            return;
        }
        if !self.narrow(&mut branch) {
            return;
        }
        let Some((shares, bound)) = self.climb(&mut branch, steps) else {
            return;
        };
        let bound = bound.max(known);
        let Some(choice) = undecided(&branch.open, &shares, &self.tree.weights) else {
            let last: Vec<_> = branch.open.iter().map(|open| open[0]).collect();
            self.take(&last);
            return;
        };
        let mut open = std::mem::take(&mut branch.open[choice]);
        let cost = |offer: &usize| self.price(choice, *offer, &branch.prices);
        open.sort_by(|a, b| cost(a).total_cmp(&cost(b)).then(a.cmp(b)));
        for offer in open {
            let mut child = branch.clone();
            child.open[choice] = vec![offer];
            self.visit(child, BRANCH_STEPS, bound);
        }
    }

    fn price(&self, choice: usize, offer: usize, prices: &[f64]) -> f64 {
        let offer = &self.tree.offers[choice][offer];
        let rows: f64 = offer.uses.iter().map(|(row, uses)| prices[*row] * uses).sum();
        offer.cost + rows
    }

    /// What a row adds to the bound at a price, and how much of it is given then.
    fn given(&self, row: usize, price: f64, (least, most): (f64, f64)) -> (f64, f64) {
        match self.tree.rows[row] {
            Row::Limit(limit) => (-price * limit, limit),
            Row::Billed(tariff, fixed) => {
                let (value, at) = tariff.least(price, (fixed + least, fixed + most));
                (value + price * fixed, at - fixed)
            }
        }
    }

    fn at(&mut self, branch: &Branch, prices: &[f64]) -> Priced {
        let mut over = Vec::with_capacity(prices.len());
        let mut bound = 0.0;
        for (row, price) in prices.iter().enumerate() {
            let (worth, given) = self.given(row, *price, branch.ranges[row]);
            bound += worth;
            over.push(-given);
        }
        self.work += branch.open.iter().map(|offers| offers.len() as u64).sum::<u64>();
        let price = |choice, offer| self.price(choice, offer, prices);
        Priced::of(&branch.open, (bound, over), price, |choice, offer| {
            &self.tree.offers[choice][offer].uses
        })
    }

    /// What each choice, and all together, use of each row at least and at most.
    fn uses(&mut self, branch: &Branch) -> (Vec<Vec<f64>>, Vec<(f64, f64)>) {
        let rows = self.tree.rows.len();
        let mut least_of = vec![vec![0.0; rows]; branch.open.len()];
        let mut ranges = vec![(0.0, 0.0); rows];
        for (choice, open) in branch.open.iter().enumerate() {
            let mut seen = vec![(0, f64::INFINITY, 0.0f64); rows];
            for offer in open {
                for (row, uses) in &self.tree.offers[choice][*offer].uses {
                    let seen = &mut seen[*row];
                    *seen = (seen.0 + 1, seen.1.min(*uses), seen.2.max(*uses));
                }
            }
            for (row, (count, least, most)) in seen.into_iter().enumerate() {
                if count == open.len() {
                    least_of[choice][row] = least;
                    ranges[row].0 += least;
                }
                ranges[row].1 += most;
            }
            self.work += open.len() as u64;
        }
        (least_of, ranges)
    }

    /// Drops what does not fit beside the least that the others use. Whether every choice has something left.
    fn narrow(&mut self, branch: &mut Branch) -> bool {
        loop {
            let (least_of, ranges) = self.uses(branch);
            let mut dropped = false;
            for (choice, open) in branch.open.iter_mut().enumerate() {
                let before = open.len();
                open.retain(|offer| {
                    let mut uses = self.tree.offers[choice][*offer].uses.iter();
                    uses.all(|(row, uses)| match self.tree.rows[*row] {
                        Row::Limit(limit) => {
                            let sum = ranges[*row].0 - least_of[choice][*row] + uses;
                            sum <= limit + ROUNDING * self.scales[*row]
                        }
                        Row::Billed(..) => true,
                    })
                });
                if open.is_empty() {
                    return false;
                }
                dropped |= open.len() < before;
            }
            if !dropped {
                branch.ranges = ranges;
                return true;
            }
        }
    }

    /// Raises a branch's bound; drops what would take it too high. How often each pattern was a choice's best and the
    /// bound, or `None` if nothing better is in the branch.
    fn climb(&mut self, branch: &mut Branch, steps: u32) -> Option<(Vec<Vec<u32>>, f64)> {
        let offers = self.tree.offers.iter();
        let mut shares: Vec<_> = offers.map(|offers| vec![0; offers.len()]).collect();
        let mut prices = branch.prices.clone();
        let mut pace = Pace::new();
        for _ in 0..steps {
            let priced = self.at(branch, &prices);
            self.take(&priced.picked);
            if priced.bound >= self.below {
                return None;
            }
            for (shares, offer) in shares.iter_mut().zip(&priced.picked) {
                shares[*offer] += 1;
            }
            if pace.rises(priced.bound) {
                branch.prices.clone_from(&prices);
                self.drop_dear(branch, &priced);
            }
            if branch.open.iter().all(|open| open.len() == 1) {
                break;
            }
            let gap = self.below - priced.bound;
            if !self.step(&mut prices, &priced.over, pace.length(gap)) {
                break;
            }
        }
        Some((shares, pace.highest))
    }

    /// Moves prices towards what is used too much. Whether there was anything to move.
    fn step(&self, prices: &mut [f64], over: &[f64], length: f64) -> bool {
        let moves = |row: usize, price: f64, over: f64| match self.tree.rows[row] {
            Row::Limit(_) => price > 0.0 || over > 0.0,
            Row::Billed(..) => true,
        };
        let mut norm = 0.0;
        for (row, (price, over)) in prices.iter().zip(over).enumerate() {
            let over = over / self.scales[row];
            if moves(row, *price, over) {
                norm += over * over;
            }
        }
        if norm <= ROUNDING * ROUNDING {
            return false;
        }
        for (row, (price, over)) in prices.iter_mut().zip(over).enumerate() {
            let scale = self.scales[row];
            *price += length / norm * (over / scale) / scale;
            if matches!(self.tree.rows[row], Row::Limit(_)) {
                *price = price.max(0.0);
            }
        }
        true
    }

    fn drop_dear(&self, branch: &mut Branch, priced: &Priced) {
        let Branch { open, prices, .. } = branch;
        priced.drop_dear(open, self.below, |choice, offer| {
            self.price(choice, offer, prices)
        });
    }

    /// Takes a placement if it is better and within all limits.
    fn take(&mut self, picked: &[usize]) {
        let offers = || {
            self.tree
                .offers
                .iter()
                .zip(picked)
                .map(|(offers, at)| &offers[*at])
        };
        let mut cost: f64 = offers().map(|offer| offer.cost).sum();
        let mut used = vec![0.0; self.tree.rows.len()];
        let uses = offers().flat_map(|offer| &offer.uses);
        uses.for_each(|(row, uses)| used[*row] += uses);
        for (row, used) in self.tree.rows.iter().zip(used) {
            if let Row::Billed(tariff, fixed) = row {
                cost += tariff.at(fixed + used);
            }
        }
        if cost < self.below && (self.tree.fits)(picked) {
            self.best = Some(picked.to_vec());
            self.below = cost - COST_TIE * cost.abs();
        }
    }
}
