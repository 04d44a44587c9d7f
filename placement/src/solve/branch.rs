//! Branch and bound over patterns, with row prices that are adapted in every branch.
//!
//! At any row prices, a branch costs at least what its choices' best patterns cost at them, less what the limits are
//! worth. In each branch the prices climb towards the best such bound by subgradient steps; a pattern that takes the
//! bound above the best placement known leaves the branch, and so does one that no longer fits beside the least that
//! the other choices use.

use super::search::COST_TIE;

/// Steps of the prices at the root and in a branch.
const ROOT_STEPS: u32 = 300;
const BRANCH_STEPS: u32 = 30;
/// Steps without gain after which steps become shorter.
const PATIENCE: u32 = 4;
/// Patterns priced, over all branches, after which the search gives up.
const WORK: u64 = 16_000_000;
/// Relative rounding that a row's sum may show.
const ROUNDING: f64 = 1e-9;
/// Rounding that a counted sum may show.
pub(super) const COUNT_ROUNDING: f64 = 1e-6;

/// One pattern as the search sees it.
pub(super) struct Offer {
    pub measure: f64,
    /// Rows and what it uses of them; only what is above zero.
    pub uses: Vec<(usize, f64)>,
}

/// What is searched.
pub(super) struct Tree<'t> {
    /// For each choice its patterns.
    pub offers: Vec<Vec<Offer>>,
    /// For each choice how much its decision weighs.
    pub weights: Vec<f64>,
    /// For each row its limit.
    pub limits: Vec<f64>,
    /// For each row the price to begin at.
    pub prices: Vec<f64>,
    /// Whether measures are whole numbers.
    pub is_counted: bool,
    /// Whether one pattern for each choice keeps to all limits, without rounding.
    pub fits: &'t dyn Fn(&[usize]) -> bool,
}

impl Tree<'_> {
    /// Divides every row by its size, so that prices are alike and steps suit all rows.
    fn scale(&mut self) {
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

/// The best placement below the start, as one pattern for each choice, if there is any; and whether the search ended
/// before it saw everything.
pub(super) fn search(mut tree: Tree<'_>, below: f64) -> (Option<Vec<usize>>, bool) {
    tree.scale();
    let root = Branch {
        open: tree
            .offers
            .iter()
            .map(|offers| (0..offers.len()).collect())
            .collect(),
        prices: tree.prices.clone(),
    };
    let mut walk = Walk {
        tree,
        below,
        best: None,
        work: 0,
    };
    walk.visit(root, ROOT_STEPS);
    (walk.best, walk.work >= WORK)
}

/// The patterns that are left for each choice.
#[derive(Clone)]
struct Branch {
    open: Vec<Vec<usize>>,
    prices: Vec<f64>,
}

/// The choices' best patterns at some prices.
struct Priced {
    bound: f64,
    picked: Vec<usize>,
    /// For each choice, what its best costs.
    least: Vec<f64>,
    /// For each row, what the best use above its limit.
    over: Vec<f64>,
}

struct Walk<'t> {
    tree: Tree<'t>,
    /// A placement must measure less than this.
    below: f64,
    best: Option<Vec<usize>>,
    work: u64,
}

impl Walk<'_> {
    fn visit(&mut self, mut branch: Branch, steps: u32) {
        if !self.narrow(&mut branch) {
            return;
        }
        let Some(shares) = self.climb(&mut branch, steps) else {
            return;
        };
        let Some(choice) = self.undecided(&branch, &shares) else {
            let last: Vec<_> = branch.open.iter().map(|open| open[0]).collect();
            self.take(&last);
            return;
        };
        let mut open = std::mem::take(&mut branch.open[choice]);
        let cost = |offer: &usize| self.price(choice, *offer, &branch.prices);
        open.sort_by(|a, b| cost(a).total_cmp(&cost(b)).then(a.cmp(b)));
        for offer in open {
            if self.work >= WORK {
                return;
            }
            let mut child = branch.clone();
            child.open[choice] = vec![offer];
            self.visit(child, BRANCH_STEPS);
        }
    }

    fn price(&self, choice: usize, offer: usize, prices: &[f64]) -> f64 {
        let offer = &self.tree.offers[choice][offer];
        let rows: f64 = offer.uses.iter().map(|(row, uses)| prices[*row] * uses).sum();
        offer.measure + rows
    }

    fn at(&mut self, open: &[Vec<usize>], prices: &[f64]) -> Priced {
        let mut over: Vec<_> = self.tree.limits.iter().map(|limit| -limit).collect();
        let worth: f64 = over.iter().zip(prices).map(|(over, price)| over * price).sum();
        let (mut picked, mut least) = (Vec::with_capacity(open.len()), Vec::with_capacity(open.len()));
        for (choice, offers) in open.iter().enumerate() {
            let mut best = (offers[0], f64::INFINITY);
            for offer in offers {
                let cost = self.price(choice, *offer, prices);
                if cost < best.1 {
                    best = (*offer, cost);
                }
            }
            self.work += offers.len() as u64;
            picked.push(best.0);
            least.push(best.1);
            for (row, uses) in &self.tree.offers[choice][best.0].uses {
                over[*row] += uses;
            }
        }
        Priced {
            bound: worth + least.iter().sum::<f64>(),
            picked,
            least,
            over,
        }
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
            let mut dropped = false;
            for (choice, open) in branch.open.iter_mut().enumerate() {
                let before = open.len();
                open.retain(|offer| {
                    let mut uses = self.tree.offers[choice][*offer].uses.iter();
                    uses.all(|(row, uses)| {
                        least[*row] - least_of[choice][*row] + uses <= self.tree.limits[*row] + ROUNDING
                    })
                });
                if open.is_empty() {
                    return false;
                }
                dropped |= open.len() < before;
            }
            if !dropped {
                return true;
            }
        }
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
        let (mut highest, mut stride, mut idle) = (f64::NEG_INFINITY, 1.0, 0);
        for _ in 0..steps {
            let priced = self.at(&branch.open, &prices);
            self.take(&priced.picked);
            if priced.bound >= self.below {
                return None;
            }
            for (shares, offer) in shares.iter_mut().zip(&priced.picked) {
                shares[*offer] += 1;
            }
            if priced.bound > highest {
                (highest, idle) = (priced.bound, 0);
                branch.prices.clone_from(&prices);
                self.drop_dear(branch, &priced);
            } else {
                idle += 1;
                if idle == PATIENCE {
                    (stride, idle) = (stride / 2.0, 0);
                }
            }
            if branch.open.iter().all(|open| open.len() == 1) {
                break;
            }
            let gap = self.below - priced.bound;
            if !step(&mut prices, &priced.over, stride * gap) {
                break;
            }
        }
        Some(shares)
    }

    fn drop_dear(&self, branch: &mut Branch, priced: &Priced) {
        let Branch { open, prices } = branch;
        for (choice, open) in open.iter_mut().enumerate().filter(|(_, open)| open.len() > 1) {
            let rest = priced.bound - priced.least[choice];
            open.retain(|offer| {
                *offer == priced.picked[choice] || rest + self.price(choice, *offer, prices) < self.below
            });
        }
    }

    /// The open choice that weighs most where the prices are least sure of it.
    fn undecided(&self, branch: &Branch, shares: &[Vec<u32>]) -> Option<usize> {
        let doubt = |choice: &usize| {
            let all: u32 = shares[*choice].iter().sum();
            let most = shares[*choice].iter().max().copied().unwrap_or(0);
            (1.05 - f64::from(most) / f64::from(all.max(1))) * self.tree.weights[*choice]
        };
        (0..branch.open.len())
            .filter(|choice| branch.open[*choice].len() > 1)
            .max_by(|a, b| doubt(a).total_cmp(&doubt(b)).then(b.cmp(a)))
    }

    /// Takes a placement if it is better and within all limits.
    fn take(&mut self, picked: &[usize]) {
        let offers = self.tree.offers.iter().zip(picked);
        let measure: f64 = offers.map(|(offers, offer)| offers[*offer].measure).sum();
        if measure < self.below && (self.tree.fits)(picked) {
            self.best = Some(picked.to_vec());
            self.below = if self.tree.is_counted {
                measure - 1.0 + COUNT_ROUNDING
            } else {
                measure - COST_TIE * measure.abs()
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
