//! Whether a plan of an estate that is too large to look at every placement is the best: a search of its own, which shares
//! nothing with the solver but the values of the problem, and takes its sets from the oracle.
//!
//! Where the solver prices room, this splits the choice in two that must agree: every dataset picks a set, and every
//! backend picks what it holds (Lagrangean decomposition, Guignard and Kim 1987). What they disagree on is paid for, and
//! at any payments both sides together bound what is possible. Given a plan, it looks for a better one, level by level of
//! the objective, until there is none.

use domicile_placement::{Problem, Solution};

use crate::knapsack::{Item, fullest};
use crate::oracle::{self, Way};

/// Steps of the payments at the root, in a branch.
const ROOT_STEPS: usize = 240;
const BRANCH_STEPS: usize = 25;
/// Branches of one level after which the search gives up.
const BRANCHES: u32 = 3_000;
/// Relative differences of cost that count.
const TELLS: f64 = 1e-7;
const ROUNDING: f64 = 1e-9;

/// What is found out of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No placement is better.
    Best,
    /// One is better in the level of this number: those that are missing from the top, fallbacks, cost.
    Beaten(usize),
    /// The search gave up.
    Undecided,
}

/// What may be planned, and what was.
pub struct Trial {
    bytes: Vec<f64>,
    rooms: Vec<u64>,
    sizes: Vec<u64>,
    limits: Vec<(f64, f64)>,
    ways: Vec<Vec<Way>>,
    planned: Vec<Way>,
}

impl Trial {
    pub fn of(problem: &Problem, solution: &Solution) -> Self {
        let levels = oracle::levels(problem);
        let pairs = problem.datasets.iter().zip(&solution.sets);
        let planned = pairs.map(|(subject, set)| oracle::way_of(problem, subject, set, &levels));
        let ways = problem
            .datasets
            .iter()
            .map(|subject| oracle::useful_ways(problem, subject, &levels));
        let sizes: Vec<u64> = problem
            .datasets
            .iter()
            .map(|subject| subject.summary.bytes.0)
            .collect();
        Self {
            bytes: sizes.iter().map(|bytes| *bytes as f64).collect(),
            rooms: oracle::rooms(problem),
            sizes,
            limits: oracle::limits(problem),
            planned: planned.collect(),
            ways: ways.collect(),
        }
    }

    pub fn verdict(&self) -> Verdict {
        let counted = self.planned.first().map_or(0, |way| way.short.len());
        for level in 0..=counted {
            match self.level(level, counted) {
                Verdict::Best => {}
                other => return other,
            }
        }
        Verdict::Best
    }

    fn level(&self, level: usize, counted: usize) -> Verdict {
        let value = |way: &Way| {
            if level < counted {
                f64::from(way.short[level])
            } else {
                way.cost
            }
        };
        let planned: f64 = self.planned.iter().map(value).sum();
        let least = |ways: &Vec<Way>| ways.iter().map(value).fold(f64::INFINITY, f64::min);
        let below = if level < counted {
            planned - 1.0 + 1e-6
        } else {
            planned - TELLS * planned.abs() - 1e-12
        };
        if self.ways.iter().map(least).sum::<f64>() >= below {
            return Verdict::Best;
        }
        let reached =
            |above: usize| -> f64 { self.planned.iter().map(|way| f64::from(way.short[above])).sum() };
        let mut search = Search {
            trial: self,
            plain: self
                .ways
                .iter()
                .map(|ways| ways.iter().map(|way| plain(way, level, counted)).collect())
                .collect(),
            limits: self.row_limits((0..level.min(counted)).map(reached)),
            below,
            branches: 0,
            found: false,
        };
        let open = search.plain.iter().map(|ways| undominated(ways)).collect();
        let payments = vec![vec![0.0; self.rooms.len()]; self.ways.len()];
        let node = Node {
            open,
            payments,
            prices: vec![0.0; search.limits.len()],
        };
        search.visit(node, ROOT_STEPS);
        match (search.found, search.branches >= BRANCHES) {
            (true, _) => Verdict::Beaten(level),
            (false, true) => Verdict::Undecided,
            (false, false) => Verdict::Best,
        }
    }

    fn row_limits(&self, levels: impl Iterator<Item = f64>) -> Vec<f64> {
        let budgets = self.limits.iter().flat_map(|(cost, carbon)| [*cost, *carbon]);
        budgets.chain(levels).collect()
    }
}

/// A way as this level sees it.
struct Plain {
    value: f64,
    at: u32,
    /// What it uses of each budget and each level above.
    uses: Vec<f64>,
}

impl Plain {
    /// What it costs where its backends are paid and rows have prices.
    fn cost(&self, payments: &[f64], prices: &[f64]) -> f64 {
        let there = payments.iter().enumerate();
        let there: f64 = there
            .filter(|(b, _)| is_at(self.at, *b))
            .map(|(_, pays)| pays)
            .sum();
        let rows: f64 = self
            .uses
            .iter()
            .zip(prices)
            .map(|(uses, price)| uses * price)
            .sum();
        self.value + there + rows
    }
}

fn plain(way: &Way, level: usize, counted: usize) -> Plain {
    let budgets = way.spends.iter().flat_map(|(cost, carbon)| [*cost, *carbon]);
    let above = way.short[..level.min(counted)]
        .iter()
        .map(|short| f64::from(*short));
    Plain {
        value: if level < counted {
            f64::from(way.short[level])
        } else {
            way.cost
        },
        at: way.occupied,
        uses: budgets.chain(above).collect(),
    }
}

/// The ways of a dataset without those that another is as good as in everything.
fn undominated(ways: &[Plain]) -> Vec<usize> {
    let as_good = |a: &Plain, b: &Plain| {
        a.value <= b.value && a.at & !b.at == 0 && a.uses.iter().zip(&b.uses).all(|(a, b)| a <= b)
    };
    let stays = |way: &usize| {
        let beats = |other: usize| {
            let mutual = as_good(&ways[*way], &ways[other]);
            other != *way && as_good(&ways[other], &ways[*way]) && (!mutual || other < *way)
        };
        !(0..ways.len()).any(beats)
    };
    (0..ways.len()).filter(stays).collect()
}

#[derive(Clone)]
struct Node {
    /// For each dataset the ways left.
    open: Vec<Vec<usize>>,
    /// For each dataset and backend, what the dataset pays for being there.
    payments: Vec<Vec<f64>>,
    /// For each budget and level above, what a unit costs.
    prices: Vec<f64>,
}

/// What both sides choose at some payments.
struct Both {
    bound: f64,
    /// For each dataset its way, and what it costs.
    picked: Vec<(usize, f64)>,
    /// For each backend, the datasets that it holds.
    held: Vec<Vec<bool>>,
}

struct Search<'t> {
    trial: &'t Trial,
    plain: Vec<Vec<Plain>>,
    limits: Vec<f64>,
    below: f64,
    branches: u32,
    found: bool,
}

fn is_at(at: u32, backend: usize) -> bool {
    at >> backend & 1 == 1
}

impl Search<'_> {
    fn visit(&mut self, mut node: Node, steps: usize) {
        self.branches += 1;
        if self.found || self.branches >= BRANCHES || !self.fit(&mut node) {
            return;
        }
        let Some(doubts) = self.climb(&mut node, steps) else {
            return;
        };
        if self.found {
            return;
        }
        let open = |dataset: &usize| node.open[*dataset].len() > 1;
        let doubt = |dataset: usize| {
            doubts[dataset]
                .iter()
                .map(|doubt| doubt * self.trial.bytes[dataset])
                .sum::<f64>()
        };
        let rank = |a: &usize, b: &usize| {
            doubt(*a)
                .total_cmp(&doubt(*b))
                .then(self.trial.bytes[*a].total_cmp(&self.trial.bytes[*b]))
        };
        let Some(dataset) = (0..node.open.len()).filter(open).max_by(rank) else {
            let last: Vec<_> = node.open.iter().map(|open| open[0]).collect();
            self.found |= self.is_better(&last);
            return;
        };
        for part in self.parts(&node, dataset, &doubts[dataset]) {
            let mut child = node.clone();
            child.open[dataset] = part;
            self.visit(child, BRANCH_STEPS);
        }
    }

    /// The open ways of a dataset in two: those at the backend of which both sides are least of one mind, and the others.
    fn parts(&self, node: &Node, dataset: usize, doubts: &[f64]) -> Vec<Vec<usize>> {
        let open = &node.open[dataset];
        let at = |backend: usize| move |way: &usize| is_at(self.plain[dataset][*way].at, backend);
        let divides = |backend: &usize| open.iter().any(at(*backend)) && !open.iter().all(at(*backend));
        let backends = (0..self.trial.rooms.len()).filter(divides);
        match backends.max_by(|a, b| doubts[*a].total_cmp(&doubts[*b])) {
            Some(backend) => {
                let (with, without) = open.iter().copied().partition(at(backend));
                vec![with, without]
            }
            None => open.iter().map(|way| vec![*way]).collect(),
        }
    }

    /// Drops ways that do not fit beside what the others use at least. Whether every dataset keeps one.
    fn fit(&self, node: &mut Node) -> bool {
        let backends = self.trial.rooms.len();
        loop {
            let sure = |open: &Vec<usize>, ways: &Vec<Plain>| {
                open.iter().fold(u32::MAX, |all, way| all & ways[*way].at)
            };
            let sure: Vec<u32> = node
                .open
                .iter()
                .zip(&self.plain)
                .map(|(open, ways)| sure(open, ways))
                .collect();
            let mut free: Vec<i128> = self.trial.rooms.iter().map(|room| i128::from(*room)).collect();
            for (sure, size) in sure.iter().zip(&self.trial.sizes) {
                (0..backends)
                    .filter(|b| is_at(*sure, *b))
                    .for_each(|b| free[b] -= i128::from(*size));
            }
            if free.iter().any(|free| *free < 0) {
                return false;
            }
            let before: usize = node.open.iter().map(Vec::len).sum();
            for (dataset, open) in node.open.iter_mut().enumerate() {
                let size = i128::from(self.trial.sizes[dataset]);
                open.retain(|way| {
                    let more = self.plain[dataset][*way].at & !sure[dataset];
                    (0..backends).all(|b| !is_at(more, b) || free[b] >= size)
                });
            }
            if !self.spare(node) || node.open.iter().any(Vec::is_empty) {
                return false;
            }
            if node.open.iter().map(Vec::len).sum::<usize>() == before {
                return true;
            }
        }
    }

    /// The same for budgets and levels above.
    fn spare(&self, node: &mut Node) -> bool {
        for (row, limit) in self
            .limits
            .iter()
            .enumerate()
            .filter(|(_, limit)| limit.is_finite())
        {
            let uses = |dataset: usize, way: usize| self.plain[dataset][way].uses[row];
            let least = |(dataset, open): (usize, &Vec<usize>)| {
                open.iter()
                    .map(|way| uses(dataset, *way))
                    .fold(f64::INFINITY, f64::min)
            };
            let least: Vec<f64> = node.open.iter().enumerate().map(least).collect();
            let sum: f64 = least.iter().sum();
            let most = limit + ROUNDING * limit.abs() + 1e-12;
            for (dataset, open) in node.open.iter_mut().enumerate() {
                open.retain(|way| sum - least[dataset] + uses(dataset, *way) <= most);
            }
            if node.open.iter().any(Vec::is_empty) {
                return false;
            }
        }
        true
    }

    /// What both sides choose.
    fn both(&self, node: &Node, payments: &[Vec<f64>], prices: &[f64]) -> Both {
        let backends = self.trial.rooms.len();
        let cost = |dataset: usize, way: usize| self.plain[dataset][way].cost(&payments[dataset], prices);
        let pick = |(dataset, open): (usize, &Vec<usize>)| {
            let costs = open.iter().map(|way| (*way, cost(dataset, *way)));
            costs.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
        };
        let picked: Vec<(usize, f64)> = node.open.iter().enumerate().map(pick).collect();
        let worth = self
            .limits
            .iter()
            .zip(prices)
            .filter(|(_, price)| **price > 0.0)
            .map(|(limit, price)| limit * price);
        let mut bound = picked.iter().map(|(_, cost)| cost).sum::<f64>() - worth.sum::<f64>();
        let packed = (0..backends).map(|backend| self.packed(node, payments, backend));
        let (most, held): (Vec<f64>, Vec<_>) = packed.unzip();
        bound -= most.iter().sum::<f64>();
        Both { bound, picked, held }
    }

    /// The most that a backend can be paid for what it holds, and what it holds for that.
    fn packed(&self, node: &Node, payments: &[Vec<f64>], backend: usize) -> (f64, Vec<bool>) {
        let item = |(dataset, open): (usize, &Vec<usize>)| {
            let at = |way: &&usize| is_at(self.plain[dataset][**way].at, backend);
            let there = open.iter().filter(at).count();
            Item {
                weight: self.trial.bytes[dataset],
                profit: payments[dataset][backend],
                forced: there == open.len(),
                barred: there == 0,
            }
        };
        let items: Vec<Item> = node.open.iter().enumerate().map(item).collect();
        fullest(&items, self.trial.rooms[backend] as f64 * (1.0 + ROUNDING))
    }

    /// Raises the bound of a node and drops what is too dear. How often both sides differ, or `None` if there is nothing
    /// better in it.
    fn climb(&mut self, node: &mut Node, steps: usize) -> Option<Vec<Vec<f64>>> {
        let backends = self.trial.rooms.len();
        let mut doubts = vec![vec![0.0; backends]; node.open.len()];
        let (mut payments, mut prices) = (node.payments.clone(), node.prices.clone());
        let (mut highest, mut stride, mut idle) = (f64::NEG_INFINITY, 1.0, 0);
        for _ in 0..steps {
            let both = self.both(node, &payments, &prices);
            if both.bound >= self.below {
                return None;
            }
            let picked: Vec<usize> = both.picked.iter().map(|(way, _)| *way).collect();
            if self.is_better(&picked) {
                self.found = true;
                return None;
            }
            if both.bound > highest {
                (highest, idle) = (both.bound, 0);
                node.payments.clone_from(&payments);
                node.prices.clone_from(&prices);
                self.drop_dear(node, &both);
            } else {
                idle += 1;
                if idle == 5 {
                    (stride, idle) = (stride * 0.6, 0);
                }
            }
            let differ = self.differ(&picked, &both.held);
            for (sums, differ) in doubts.iter_mut().zip(&differ) {
                sums.iter_mut()
                    .zip(differ)
                    .for_each(|(sum, differs)| *sum += differs.abs());
            }
            let stride = stride * (self.below - both.bound);
            if !self.step(&mut payments, &mut prices, (&picked, &differ), stride) {
                break;
            }
        }
        Some(doubts)
    }

    /// For each dataset and backend, whether only the dataset (1) or only the backend (-1) says that it is there.
    fn differ(&self, picked: &[usize], held: &[Vec<bool>]) -> Vec<Vec<f64>> {
        let of = |(dataset, way): (usize, &usize)| {
            let at = self.plain[dataset][*way].at;
            let differs = |(backend, held): (usize, &Vec<bool>)| {
                f64::from(u8::from(is_at(at, backend))) - f64::from(u8::from(held[dataset]))
            };
            held.iter().enumerate().map(differs).collect()
        };
        picked.iter().enumerate().map(of).collect()
    }

    /// Moves payments and prices towards what both sides can agree on. Whether there was anything to move.
    fn step(
        &self,
        payments: &mut [Vec<f64>],
        prices: &mut [f64],
        (picked, differ): (&[usize], &[Vec<f64>]),
        stride: f64,
    ) -> bool {
        // Payments are in money; a price is of a unit of its row.
        let scale = |limit: f64| if limit > 0.0 { limit } else { 1.0 };
        let rows = self.limits.iter().enumerate();
        let over: Vec<f64> = rows
            .map(|(row, limit)| self.over(picked, row, *limit) / scale(*limit))
            .collect();
        let moves = |(price, differs): (&f64, &f64)| {
            if *price > 0.0 || *differs > 0.0 {
                differs * differs
            } else {
                0.0
            }
        };
        let pairs = payments.iter().flatten().zip(differ.iter().flatten());
        let norm: f64 = pairs.chain(prices.iter().zip(&over)).map(moves).sum();
        if norm <= 0.0 {
            return false;
        }
        let length = stride / norm;
        for (payment, differs) in payments.iter_mut().flatten().zip(differ.iter().flatten()) {
            *payment = (*payment + length * differs).max(0.0);
        }
        for ((price, over), limit) in prices.iter_mut().zip(&over).zip(&self.limits) {
            *price = (*price + length * over / scale(*limit)).max(0.0);
        }
        true
    }

    fn over(&self, picked: &[usize], row: usize, limit: f64) -> f64 {
        if limit.is_infinite() {
            return 0.0;
        }
        let uses = picked
            .iter()
            .enumerate()
            .map(|(dataset, way)| self.plain[dataset][*way].uses[row]);
        uses.sum::<f64>() - limit
    }

    fn drop_dear(&self, node: &mut Node, both: &Both) {
        let Node {
            open,
            payments,
            prices,
        } = node;
        for (dataset, open) in open.iter_mut().enumerate().filter(|(_, open)| open.len() > 1) {
            let (picked, least) = both.picked[dataset];
            open.retain(|way| {
                let cost = self.plain[dataset][*way].cost(&payments[dataset], prices);
                *way == picked || both.bound - least + cost < self.below
            });
        }
    }

    /// Whether a placement is better and keeps to everything, in whole bytes.
    fn is_better(&self, picked: &[usize]) -> bool {
        let ways = || self.plain.iter().zip(picked).map(|(ways, way)| &ways[*way]);
        if ways().map(|way| way.value).sum::<f64>() >= self.below {
            return false;
        }
        let fits = |(backend, room): (usize, &u64)| {
            let there = ways()
                .zip(&self.trial.sizes)
                .filter(|(way, _)| is_at(way.at, backend));
            there.map(|(_, size)| u128::from(*size)).sum::<u128>() <= u128::from(*room)
        };
        let keeps = |(row, limit): (usize, &f64)| ways().map(|way| way.uses[row]).sum::<f64>() <= *limit;
        self.trial.rooms.iter().enumerate().all(fits) && self.limits.iter().enumerate().all(keeps)
    }
}
