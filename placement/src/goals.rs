//! Goals after cost: the least storage carbon that some more cost buys.
//!
//! A kg is made dearer for the datasets of a goal until the plan that is best then costs, at the prices that really hold,
//! more than the slack allows. The dearest price that does not is looked for by halving, so that only plans are found
//! that are best at some price of carbon.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::check::{check, check_payback};
use crate::cost::{self, copy_cost};
use crate::moves::{self, Move};
use crate::plan::carry_out;
use crate::problem::{Goal, GoalAim, Problem, Profile};
use crate::solution::Solution;

/// Solves for all goals of a plan together, the cheapest plan apart.
const SOLVES: usize = 12;
/// The prices of a kg that are tried, as shares of what the datasets pay for a kg in all.
const PRICES: (f64, f64) = (1e-7, 1e4);
/// Relative difference that rounding may leave between two sums of money.
const ROUNDING: f64 = 1e-9;

/// One goal that was followed, and what that cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Followed {
    /// By how many millionths cost was allowed to grow.
    pub slack_millionths: u32,
    /// The datasets whose policies state it.
    pub datasets: usize,
    /// What these cost per month in the cheapest plan.
    pub cheapest_per_month: f64,
    /// What they cost per month.
    pub per_month: f64,
    /// Their storage carbon in the cheapest plan, in kg CO2e per month.
    pub cheapest_carbon_kg: f64,
    /// Their storage carbon in kg CO2e per month.
    pub carbon_kg: f64,
}

/// The datasets of one list of goals.
struct Group {
    goals: Vec<Goal>,
    datasets: Vec<usize>,
    cheapest: Sum,
}

/// What some datasets cost and emit per month.
#[derive(Clone, Copy)]
struct Sum {
    cost: f64,
    carbon_kg: f64,
}

impl Sum {
    fn of(problem: &Problem, solution: &Solution, datasets: &[usize]) -> Self {
        let mut sum = Self {
            cost: 0.0,
            carbon_kg: 0.0,
        };
        for dataset in datasets {
            for backend in &solution.sets[*dataset] {
                let cost = copy_cost(problem, &problem.datasets[*dataset], *backend);
                sum.cost += cost.per_month();
                sum.carbon_kg += cost.carbon_kg;
            }
        }
        sum
    }
}

impl Group {
    /// What the goal lets the datasets cost more.
    fn allowance(&self) -> f64 {
        let slack = self.goals.first().map_or(0, |goal| goal.slack_millionths);
        self.cheapest.cost * f64::from(slack) / 1e6
    }
}

/// A solution with its moves.
pub(crate) type Carried = (Solution, Vec<Move>);

/// From the cheapest plan to one that follows the goals that policies state after cost, if any do.
pub(crate) fn follow(problem: &Problem, cheapest: Carried) -> (Carried, Vec<Followed>) {
    let groups = groups(problem, &cheapest.0);
    if groups.is_empty() {
        return (cheapest, Vec::new());
    }
    let mut search = Search {
        problem,
        missing: missing(problem, &cheapest.0),
        base: cheapest.0.clone(),
        groups: &groups,
        prices: vec![0.0; groups.len()],
    };
    let mut best = cheapest;
    for group in 0..groups.len() {
        best = search.green(group, best, (SOLVES / groups.len()).max(2));
    }
    let followed = groups.iter().map(|group| {
        let now = Sum::of(problem, &best.0, &group.datasets);
        Followed {
            slack_millionths: group.goals.first().map_or(0, |goal| goal.slack_millionths),
            datasets: group.datasets.len(),
            cheapest_per_month: group.cheapest.cost,
            per_month: now.cost,
            cheapest_carbon_kg: group.cheapest.carbon_kg,
            carbon_kg: now.carbon_kg,
        }
    });
    let followed = followed.collect();
    (best, followed)
}

fn groups(problem: &Problem, cheapest: &Solution) -> Vec<Group> {
    let mut by_goals: BTreeMap<&[Goal], Vec<usize>> = BTreeMap::new();
    for (dataset, subject) in problem.datasets.iter().enumerate() {
        let goals = subject.profile.goals.as_slice();
        if goals.first().is_some_and(|goal| goal.aim == GoalAim::Carbon) {
            by_goals.entry(goals).or_default().push(dataset);
        }
    }
    let group = |(goals, datasets): (&[Goal], Vec<usize>)| Group {
        goals: goals.to_vec(),
        cheapest: Sum::of(problem, cheapest, &datasets),
        datasets,
    };
    by_goals.into_iter().map(group).collect()
}

/// Missing copies, groups and thousandths of a nine of each dataset.
fn missing(problem: &Problem, solution: &Solution) -> Vec<(u32, u32, u32)> {
    check(problem, solution).map_or_else(|_| Vec::new(), |checked| checked.missing)
}

struct Search<'a> {
    problem: &'a Problem,
    /// The cheapest plan, and what it lacks.
    base: Solution,
    missing: Vec<(u32, u32, u32)>,
    groups: &'a [Group],
    /// For each group, what a kg costs more.
    prices: Vec<f64>,
}

impl Search<'_> {
    /// The plan of least carbon for a group within the slack of all groups.
    fn green(&mut self, group: usize, start: Carried, solves: usize) -> Carried {
        let of = &self.groups[group];
        if of.cheapest.cost <= 0.0 || of.cheapest.carbon_kg <= 0.0 {
            return start;
        }
        let unit = of.cheapest.cost / of.cheapest.carbon_kg;
        let (mut low, mut high) = (PRICES.0 * unit, PRICES.1 * unit);
        let mut found = vec![(0.0, start)];
        let mut price = high;
        for _ in 0..solves {
            self.prices[group] = price;
            if let Some(carried) = self.solve() {
                found.push((price, carried));
                low = price;
                if price >= high {
                    break;
                }
            } else {
                high = price;
            }
            price = (low * high).sqrt();
        }
        let (price, best) = self.choose(of, found);
        self.prices[group] = price;
        best
    }

    /// The cheapest of those that are within the slack of the goal `Cost`, if there is one, of the least carbon.
    fn choose(&self, group: &Group, found: Vec<(f64, Carried)>) -> (f64, Carried) {
        let sum = |carried: &Carried| Sum::of(self.problem, &carried.0, &group.datasets);
        let least = found
            .iter()
            .map(|(_, carried)| sum(carried).carbon_kg)
            .fold(f64::INFINITY, f64::min);
        let slack = group.goals.get(1).map_or(0, |goal| goal.slack_millionths);
        let most = least * (1.0 + f64::from(slack) / 1e6) * (1.0 + ROUNDING);
        let cheapest = found
            .into_iter()
            .filter(|(_, carried)| sum(carried).carbon_kg <= most)
            .min_by(|a, b| sum(&a.1).cost.total_cmp(&sum(&b.1).cost));
        cheapest.unwrap_or_else(|| unreachable!("the least carbon is that of one of them"))
    }

    /// The best plan at the prices as they are, if it keeps to every rule and slack at the prices that really hold.
    fn solve(&self) -> Option<Carried> {
        let problem = self.problem;
        let (placed, _) = carry_out(&self.raised(), Some(&self.base));
        let objective = cost::objective(problem, &placed.sets);
        // Bound and prices of room are those of cost alone; the ones just found are in dearer money.
        let solution = Solution {
            lower_bound: self.base.lower_bound.min(objective.per_month),
            shadow_prices: self.base.shadow_prices.clone(),
            objective,
            ..placed
        };
        let checked = check(problem, &solution).ok()?;
        if checked.missing != self.missing || !check_payback(problem, &solution).is_empty() {
            return None;
        }
        let allowance: f64 = self.groups.iter().map(Group::allowance).sum();
        let near = |cost: f64, most: f64| cost <= most + ROUNDING * most.abs();
        let within = |group: &Group| {
            let cost = Sum::of(problem, &solution, &group.datasets).cost;
            near(cost, group.cheapest.cost + group.allowance())
        };
        let all = near(objective.per_month, self.base.objective.per_month + allowance);
        if !all || !self.groups.iter().all(within) {
            return None;
        }
        let moves = moves::moves(problem, &solution).ok()?;
        Some((solution, moves))
    }

    /// The problem with a kg at so much more for each group. Budgets of money stay: they are kept for certain then.
    fn raised(&self) -> Problem {
        let mut raised = self.problem.clone();
        for (group, per_kg) in self.groups.iter().zip(&self.prices) {
            // Most datasets share their profile with many others, and so they should afterwards.
            let mut known: BTreeMap<*const Profile, Arc<Profile>> = BTreeMap::new();
            for dataset in &group.datasets {
                let own = &self.problem.datasets[*dataset].profile;
                let dearer = known.entry(Arc::as_ptr(own)).or_insert_with(|| {
                    let mut profile = Profile::clone(own);
                    profile.carbon_price_per_tonne += per_kg * 1000.0;
                    Arc::new(profile)
                });
                raised.datasets[*dataset].profile = dearer.clone();
            }
        }
        raised
    }
}
