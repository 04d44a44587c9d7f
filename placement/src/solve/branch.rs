//! Branch and bound over patterns, with row prices that are adapted in every branch.
//!
//! At any row prices, a branch costs at least what its choices' best patterns cost at them, less what the limits are
//! worth. In each branch the prices climb towards the best such bound by subgradient steps; a pattern that takes the
//! bound above the best placement known leaves the branch, and so does one that no longer fits beside the least that
//! the other choices use.

use super::branching::{BRANCH_STEPS, Pace, Priced, ROOT_STEPS, ROUNDING, undecided};
use super::cuts;
use super::search::COST_TIE;
use super::tree::{Offer, Tree};

/// Offers of a choice that are tried one by one.
const FEW: usize = 3;
/// Patterns priced, over all branches, after which the search gives up.
const WORK: u64 = 6_000_000;
/// The same for a first look.
const QUICK: u64 = 6_000_000;
/// The same for improving what was found, in all and in one try.
const POLISH: u64 = 30_000_000;
const SLICE: u64 = 1_500_000;
/// Choices that a try opens, at first and at least.
const FIRST_OPENED: usize = 10;
const LEAST_OPENED: usize = 4;
/// The same in an estate so small that the search is meant to see everything.
const WORK_IF_SMALL: u64 = 400_000_000;
/// Rounding that a counted sum may show.
pub(super) const COUNT_ROUNDING: f64 = 1e-6;

/// What a search came to.
pub(super) struct Searched {
    /// The best placement below the start, as one pattern for each choice, if there is any.
    pub best: Option<Vec<usize>>,
    /// Whether the search ended before it saw everything.
    pub is_cut_short: bool,
    /// No placement measures less than this or than the best found.
    pub bound: f64,
}

/// Looks for the best placement below a start.
pub(super) fn search(mut tree: Tree<'_>, below: f64) -> Searched {
    tree.scale();
    let alike = tree.tidy();
    let grain = tree.is_counted.then(|| tree.grain());
    let most_work = if tree.is_small { WORK_IF_SMALL } else { WORK };
    let mut walk = Walk {
        below: below_next(&tree, grain, below),
        tree,
        alike,
        grain,
        best: None,
        work: 0,
        until: 0,
    };
    let mut searched = Searched {
        best: None,
        is_cut_short: false,
        bound: below,
    };
    if !cuts::strengthen(&mut walk.tree, walk.below) {
        return searched;
    }
    searched.bound = walk.tree.bound(&walk.tree.prices).min(below);
    let open = |offers: &Vec<Offer>| (0..offers.len()).collect();
    let root = Branch {
        open: walk.tree.offers.iter().map(open).collect(),
        prices: walk.tree.prices.clone(),
    };
    searched.is_cut_short = !walk.finishes(&root, QUICK);
    if searched.is_cut_short {
        walk.polish(&root);
        // With what was found, much less is left to be seen.
        searched.is_cut_short = !walk.finishes(&root, most_work);
    }
    searched.best = walk.places();
    searched
}

/// What a placement must measure less than, if sums come in steps of a grain only.
fn below_next(tree: &Tree<'_>, grain: Option<f64>, below: f64) -> f64 {
    let Some(grain) = grain else { return below };
    let any: f64 = tree
        .offers
        .iter()
        .filter_map(|offers| offers.first())
        .map(|offer| offer.measure)
        .sum();
    any + ((below - any) / grain).floor() * grain + COUNT_ROUNDING
}

/// Numbers that look like chance and are always the same (splitmix64, Steele and others 2014).
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }
}

/// The patterns that are left for each choice.
#[derive(Clone)]
struct Branch {
    open: Vec<Vec<usize>>,
    prices: Vec<f64>,
}

struct Walk<'t> {
    tree: Tree<'t>,
    /// For each choice, an earlier one that is like it in everything.
    alike: Vec<Option<usize>>,
    /// For counted measures, what all differences between sums are multiples of.
    grain: Option<f64>,
    /// A placement must measure less than this.
    below: f64,
    best: Option<Vec<usize>>,
    work: u64,
    /// The work at which the present search gives up.
    until: u64,
}

impl Walk<'_> {
    /// The best placement found, as the tree's maker knows it.
    fn places(&self) -> Option<Vec<usize>> {
        let pairs = |best: &Vec<usize>| {
            let pairs = self.tree.offers.iter().zip(best);
            pairs.map(|(offers, offer)| offers[*offer].place).collect()
        };
        self.best.as_ref().map(pairs)
    }

    /// Searches everything that is left, with so much work. Whether that was enough.
    fn finishes(&mut self, root: &Branch, work: u64) -> bool {
        self.until = self.work + work;
        self.visit(root.clone(), ROOT_STEPS);
        self.work < self.until
    }

    /// The offers of the best placement found or known before, as far as they were not dropped.
    fn known(&self) -> Vec<Option<usize>> {
        if let Some(best) = &self.best {
            return best.iter().copied().map(Some).collect();
        }
        let position = |(offers, known): (&Vec<Offer>, &Option<usize>)| {
            let rank = (*known)?;
            offers.iter().position(|offer| offer.rank == rank)
        };
        self.tree
            .offers
            .iter()
            .zip(&self.tree.known)
            .map(position)
            .collect()
    }

    /// Improves the best placement known: again and again some choices are opened and searched while the others stay, more
    /// of them as long as that is quick.
    fn polish(&mut self, root: &Branch) {
        // What is known need not keep to the one order of what is alike.
        let alike = std::mem::take(&mut self.alike);
        let end = self.work + POLISH;
        let mut sequence = Sequence(1);
        let mut opened = FIRST_OPENED;
        while self.work < end {
            let best = self.known();
            let mut branch = root.clone();
            let priced = self.at(&branch.open, &branch.prices);
            self.drop_dear(&mut branch, &priced);
            let is_open = |choice: &usize| branch.open[*choice].len() > 1;
            let mut stay: Vec<usize> = (0..best.len()).filter(is_open).collect();
            for _ in 0..opened.min(stay.len()) {
                stay.swap_remove(sequence.below(stay.len()));
            }
            for choice in stay {
                // What is known of some choices may be too dear for anything better.
                if let Some(offer) = best[choice] {
                    branch.open[choice] = vec![offer];
                }
            }
            self.until = self.work + SLICE;
            self.visit(branch, BRANCH_STEPS);
            let is_quick = self.work < self.until;
            opened = if is_quick {
                opened + 1
            } else {
                opened.saturating_sub(1).max(LEAST_OPENED)
            };
        }
        self.alike = alike;
    }

    fn visit(&mut self, mut branch: Branch, steps: u32) {
        if !self.narrow(&mut branch) {
            return;
        }
        let Some(shares) = self.climb(&mut branch, steps) else {
            return;
        };
        let Some(choice) = undecided(&branch.open, &shares, &self.tree.weights) else {
            let last: Vec<_> = branch.open.iter().map(|open| open[0]).collect();
            self.take(&last);
            return;
        };
        for open in self.split(&branch, choice, &shares) {
            if self.work >= self.until {
                return;
            }
            let mut child = branch.clone();
            child.open[choice] = open;
            self.visit(child, BRANCH_STEPS);
        }
    }

    /// The offers of a choice in parts, the most promising first: those that use a row and those that do not, of the row
    /// of which the prices are least sure.
    fn split(&self, branch: &Branch, choice: usize, shares: &[Vec<u32>]) -> Vec<Vec<usize>> {
        let (offers, open, shares) = (&self.tree.offers[choice], &branch.open[choice], &shares[choice]);
        let all: u32 = open.iter().map(|offer| shares[*offer]).sum();
        let (mut with, mut using) = (vec![0; self.tree.limits.len()], vec![0; self.tree.limits.len()]);
        for offer in open {
            for (row, _) in &offers[*offer].uses {
                with[*row] += shares[*offer];
                using[*row] += 1;
            }
        }
        let splits = |row: &usize| using[*row] > 0 && using[*row] < open.len();
        let balance = |row: usize| (2 * i64::from(with[row]) - i64::from(all)).abs();
        let row = (0..self.tree.rows)
            .filter(splits)
            .min_by_key(|row| (balance(*row), *row));
        let cost = |offer: &usize| self.price(choice, *offer, &branch.prices);
        let Some(row) = row.filter(|_| open.len() > FEW) else {
            let mut open = open.clone();
            open.sort_by(|a, b| cost(a).total_cmp(&cost(b)).then(a.cmp(b)));
            return open.into_iter().map(|offer| vec![offer]).collect();
        };
        let (with, without): (Vec<_>, Vec<_>) = open
            .iter()
            .copied()
            .partition(|offer| offers[*offer].of(row).is_some());
        let least = |offers: &[usize]| offers.iter().map(cost).fold(f64::INFINITY, f64::min);
        if least(&without) < least(&with) {
            vec![without, with]
        } else {
            vec![with, without]
        }
    }

    fn price(&self, choice: usize, offer: usize, prices: &[f64]) -> f64 {
        self.tree.offers[choice][offer].price(prices)
    }

    fn at(&mut self, open: &[Vec<usize>], prices: &[f64]) -> Priced {
        let over: Vec<_> = self.tree.limits.iter().map(|limit| -limit).collect();
        let worth: f64 = over.iter().zip(prices).map(|(over, price)| over * price).sum();
        self.work += open.iter().map(|offers| offers.len() as u64).sum::<u64>();
        let price = |choice, offer| self.price(choice, offer, prices);
        Priced::of(open, (worth, over), price, |choice, offer| {
            &self.tree.offers[choice][offer].uses
        })
    }

    /// Drops what does not fit beside the least that the others use. Whether every choice has something left.
    fn narrow(&mut self, branch: &mut Branch) -> bool {
        loop {
            let rows = self.tree.limits.len();
            let mut least_of = vec![vec![0.0; rows]; branch.open.len()];
            let mut least = vec![0.0; rows];
            for (choice, open) in branch.open.iter().enumerate() {
                let mut seen = vec![(0, f64::INFINITY); rows];
                for offer in open {
                    for (row, uses) in &self.tree.offers[choice][*offer].uses {
                        seen[*row] = (seen[*row].0 + 1, seen[*row].1.min(*uses));
                    }
                }
                for (row, (count, uses)) in seen.into_iter().enumerate() {
                    if count == open.len() {
                        least_of[choice][row] = uses;
                        least[row] += uses;
                    }
                }
                self.work += open.len() as u64;
            }
            let mut dropped = self.order_alike(branch);
            if branch.open.iter().any(Vec::is_empty) {
                return false;
            }
            for (choice, open) in branch.open.iter_mut().enumerate() {
                let before = open.len();
                open.retain(|offer| {
                    let mut uses = self.tree.offers[choice][*offer].uses.iter();
                    uses.all(|(row, uses)| {
                        least[*row] - least_of[choice][*row] + uses <= self.tree.limits[*row] + ROUNDING
                    })
                });
                dropped |= open.len() < before;
            }
            if branch.open.iter().any(Vec::is_empty) {
                return false;
            }
            if !dropped {
                return true;
            }
        }
    }

    /// Of choices that are alike, an earlier one takes no later offer: one order stands for all. Whether any was dropped.
    fn order_alike(&self, branch: &mut Branch) -> bool {
        let mut dropped = false;
        let rank = |choice: usize, offer: usize| self.tree.offers[choice][offer].rank;
        for (choice, earlier) in self.alike.iter().enumerate() {
            let Some(earlier) = *earlier else { continue };
            let (first, last) = (&branch.open[earlier], &branch.open[choice]);
            let (Some(least), Some(most)) = (first.first(), last.last()) else {
                continue;
            };
            let (least, most) = (rank(earlier, *least), rank(choice, *most));
            let before = first.len() + last.len();
            branch.open[choice].retain(|offer| rank(choice, *offer) >= least);
            branch.open[earlier].retain(|offer| rank(earlier, *offer) <= most);
            dropped |= branch.open[choice].len() + branch.open[earlier].len() < before;
        }
        dropped
    }

    /// Raises a branch's bound; drops what would take it too high. How often each pattern was a choice's best, or
    /// `None` if nothing better is in the branch.
    fn climb(&mut self, branch: &mut Branch, steps: u32) -> Option<Vec<Vec<u32>>> {
        let mut shares: Vec<_> = self
            .tree
            .offers
            .iter()
            .map(|offers| vec![0; offers.len()])
            .collect();
        let mut prices = branch.prices.clone();
        let mut pace = Pace::new();
        for _ in 0..steps {
            let priced = self.at(&branch.open, &prices);
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
            if !step(&mut prices, &priced.over, pace.length(gap)) {
                break;
            }
        }
        Some(shares)
    }

    fn drop_dear(&self, branch: &mut Branch, priced: &Priced) {
        let Branch { open, prices } = branch;
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
                .map(|(offers, offer)| &offers[*offer])
        };
        let measure: f64 = offers().map(|offer| offer.measure).sum();
        if measure >= self.below {
            return;
        }
        let places: Vec<_> = offers().map(|offer| offer.place).collect();
        if (self.tree.fits)(&places) {
            self.best = Some(picked.to_vec());
            self.below = match self.grain {
                Some(grain) => measure - grain + COUNT_ROUNDING,
                None => measure - COST_TIE * measure.abs(),
            };
        }
    }
}

/// Moves prices towards what is used too much. Whether there was anything to move.
fn step(prices: &mut [f64], over: &[f64], length: f64) -> bool {
    let moves = |price: f64, over: f64| price > 0.0 || over > 0.0;
    let rows = prices.iter().zip(over);
    let norm: f64 = rows
        .filter(|(price, over)| moves(**price, **over))
        .map(|(_, over)| over * over)
        .sum();
    if norm <= ROUNDING * ROUNDING {
        return false;
    }
    for (price, over) in prices.iter_mut().zip(over) {
        *price = (*price + length / norm * over).max(0.0);
    }
    true
}
