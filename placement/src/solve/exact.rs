//! The exact joint choice for small estates: depth-first over the datasets, with only those patterns that can be part of
//! a better placement.
//!
//! At row prices every placement costs the bound, plus what its patterns cost above their dataset's best, plus the worth
//! of the room and money that it leaves unused. So a pattern whose excess alone spans the gap between the best placement
//! known and the bound is in no better placement, and a branch whose excesses add up to it ends.

use super::pattern::Pattern;
use super::pricing::Market;
use super::rows::RowPrices;
use super::search::Assignment;

/// Patterns that the search looks at, for one choice and in all.
const PATTERNS_PER_CHOICE: usize = 20_000;
const PATTERNS: usize = 100_000;
/// Branches that the search looks at.
const BRANCHES: u64 = 3_000_000;

/// What an exhaustive search found.
pub(crate) enum Outcome {
    /// No placement is better than the one known.
    Proven,
    /// A better placement, and none is better than it.
    Better(Assignment),
    /// The search was cut short, perhaps with a better placement.
    CutShort(Option<Assignment>),
}

/// Looks for a placement that measures less than `below`.
pub(crate) fn search(market: &Market<'_>, rows: &RowPrices, below: f64) -> Outcome {
    let Some(tree) = Tree::grow(market, rows, below) else {
        return Outcome::CutShort(None);
    };
    let mut walk = Walk::begin(market, &tree);
    walk.descend(0, tree.bound);
    let found = walk
        .best
        .map(|patterns| Assignment::of(market.task, patterns.into_iter().cloned().collect()));
    match (walk.branches >= BRANCHES, found) {
        (true, found) => Outcome::CutShort(found),
        (false, Some(found)) => Outcome::Better(found),
        (false, None) => Outcome::Proven,
    }
}

/// The choices in the order in which they are branched on, each with the patterns that may be part of a better placement.
struct Tree {
    order: Vec<usize>,
    /// For each position of the order, the patterns, the least excess first.
    patterns: Vec<Vec<(f64, Pattern)>>,
    /// For each position and backend, the most and the least that the choices from it on may take there.
    most: Vec<Vec<u128>>,
    least: Vec<Vec<u128>>,
    bound: f64,
    below: f64,
    room_prices: Vec<f64>,
}

impl Tree {
    fn grow(market: &Market<'_>, rows: &RowPrices, below: f64) -> Option<Self> {
        let task = market.task;
        let best: Vec<_> = (0..task.choices.len())
            .map(|index| market.best(index, rows).bound)
            .collect();
        let bound = best.iter().sum::<f64>() - rows.of_limits(task, market.levels);
        let gap = (below - bound).max(0.0) + 1e-9 * below.abs();
        let mut grown = Vec::new();
        let mut total = 0;
        for (index, best) in best.iter().enumerate() {
            let patterns = market.all(index, rows, best + gap, PATTERNS_PER_CHOICE)?;
            total += patterns.len();
            if total > PATTERNS {
                return None;
            }
            let excess =
                |pattern: &Pattern| rows.of_pattern(task, market.levels, market.aim, index, pattern) - best;
            let mut patterns: Vec<_> = patterns
                .into_iter()
                .map(|pattern| (excess(&pattern), pattern))
                .collect();
            patterns.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.set.cmp(&b.1.set)));
            grown.push((index, patterns));
        }
        // What is heavy decides most, so it is decided first.
        grown.sort_by_key(|(index, patterns)| {
            (
                std::cmp::Reverse(task.choices[*index].bytes),
                patterns.len(),
                *index,
            )
        });
        let (order, patterns): (Vec<_>, Vec<_>) = grown.into_iter().unzip();
        let (most, least) = extremes(market, &order, &patterns);
        Some(Self {
            order,
            patterns,
            most,
            least,
            bound,
            below,
            room_prices: rows.room.clone(),
        })
    }
}

/// For each position and backend, the most and the least bytes that the choices from it on may take there.
fn extremes(
    market: &Market<'_>,
    order: &[usize],
    patterns: &[Vec<(f64, Pattern)>],
) -> (Vec<Vec<u128>>, Vec<Vec<u128>>) {
    let backends = market.task.limits.room.len();
    let mut most = vec![vec![0; backends]; order.len() + 1];
    let mut least = most.clone();
    for position in (0..order.len()).rev() {
        let bytes = market.task.choices[order[position]].bytes;
        for backend in 0..backends {
            let takes = |(_, pattern): &(f64, Pattern)| pattern.takes.contains(&backend);
            let (any, all) = (
                patterns[position].iter().any(takes),
                patterns[position].iter().all(takes),
            );
            most[position][backend] = most[position + 1][backend] + if any { bytes } else { 0 };
            least[position][backend] = least[position + 1][backend] + if all { bytes } else { 0 };
        }
    }
    (most, least)
}

struct Walk<'t> {
    market: Market<'t>,
    tree: &'t Tree,
    chosen: Vec<Option<&'t Pattern>>,
    load: super::load::Load,
    /// For each settled level, its sum so far.
    levels: Vec<f64>,
    measure: f64,
    /// A placement must measure less than this.
    below: f64,
    best: Option<Vec<&'t Pattern>>,
    branches: u64,
}

impl<'t> Walk<'t> {
    fn begin(market: &Market<'t>, tree: &'t Tree) -> Self {
        Self {
            market: *market,
            tree,
            chosen: vec![None; market.task.choices.len()],
            load: super::load::Load::empty(&market.task.limits),
            levels: vec![0.0; market.levels.settled.len()],
            measure: 0.0,
            below: tree.below,
            best: None,
            branches: 0,
        }
    }

    fn descend(&mut self, position: usize, bound: f64) {
        self.branches += 1;
        if position == self.tree.order.len() {
            if self.measure < self.below {
                self.below = self.measure - super::search::COST_TIE * self.measure.abs();
                self.best = self.chosen.iter().copied().collect();
            }
            return;
        }
        if !self.least_fits(position) || bound + self.unused(position) >= self.below {
            return;
        }
        let index = self.tree.order[position];
        let choice = &self.market.task.choices[index];
        let tree = self.tree;
        for (excess, pattern) in &tree.patterns[position] {
            if bound + excess >= self.below || self.branches >= BRANCHES {
                return;
            }
            if !self.load.fits(&self.market.task.limits, choice, pattern)
                || !self.levels_allow(index, pattern)
            {
                continue;
            }
            let before = (self.measure, self.levels.clone(), self.load.spending());
            self.take(index, pattern);
            self.descend(position + 1, bound + excess);
            self.load.remove(choice, pattern);
            // Sums of doubles do not come back by subtraction.
            self.load.set_spending(&before.2);
            (self.measure, self.levels) = (before.0, before.1);
            self.chosen[index] = None;
        }
    }

    fn take(&mut self, index: usize, pattern: &'t Pattern) {
        let choice = &self.market.task.choices[index];
        self.load.add(choice, pattern);
        self.measure += self.market.aim.measure(choice.priority, pattern);
        for (sum, level) in self.levels.iter_mut().zip(&self.market.levels.settled) {
            *sum += level.aim.measure(choice.priority, pattern);
        }
        self.chosen[index] = Some(pattern);
    }

    fn levels_allow(&self, index: usize, pattern: &Pattern) -> bool {
        let priority = self.market.task.choices[index].priority;
        let settled = self.levels.iter().zip(&self.market.levels.settled);
        settled
            .into_iter()
            .all(|(sum, level)| sum + level.aim.measure(priority, pattern) <= level.at_most + 0.5)
    }

    /// Whether there is room for what the rest takes in any case.
    fn least_fits(&self, position: usize) -> bool {
        let room = &self.market.task.limits.room;
        let least = &self.tree.least[position];
        (0..room.len()).all(|backend| self.load.used(backend) + least[backend] <= room[backend])
    }

    /// The worth of the room that the rest cannot fill.
    fn unused(&self, position: usize) -> f64 {
        let (room, most) = (&self.market.task.limits.room, &self.tree.most[position]);
        let worth = |(backend, price): (usize, &f64)| {
            let filled = self.load.used(backend) + most[backend];
            if filled < room[backend] {
                price * (room[backend] - filled) as f64
            } else {
                0.0
            }
        };
        self.tree
            .room_prices
            .iter()
            .enumerate()
            .filter(|(_, price)| **price > 0.0)
            .map(worth)
            .sum()
    }
}
