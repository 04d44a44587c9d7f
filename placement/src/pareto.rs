//! The frontier between cost and carbon: plans of which none is both cheaper and greener than another.
//!
//! ```text
//!  cost ▲  *                  every plan is the best one at some price of carbon; a plan between two known ones is
//!       │   \                 looked for at the price at which those two are equally good, until there is none
//!       │    *
//!       │      ` - _ *
//!       └────────────────▶ carbon
//! ```
//!
//! That finds the supported plans: those on the convex hull. Between two of them there may be further ones that are best
//! at no price of carbon.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::check::{check, check_payback};
use crate::cost::{self, copy_cost};
use crate::ground::{BudgetUnit, Ground};
use crate::plan::carry_out;
use crate::problem::{Problem, Profile};
use crate::refusals::Scene;
use crate::solution::Solution;

/// How much more than what the cheapest plan pays for a kg is offered for a kg less at the green end.
const GREENEST: f64 = 1e4;
/// Relative difference below which two plans are equally good.
const TIE: f64 = 1e-7;
/// Times that a plan is sought anew which keeps to the budgets at the prices that really hold.
const BUDGET_ROUNDS: usize = 4;

/// The frontier.
#[derive(Debug, Clone, PartialEq)]
pub struct Frontier {
    /// Its plans, the cheapest first, each greener than the one before.
    pub points: Vec<ParetoPoint>,
    /// Whether every supported plan was found, and not only as many as were allowed.
    pub complete: bool,
}

/// One plan on the frontier.
#[derive(Debug, Clone, PartialEq)]
pub struct ParetoPoint {
    /// The plan, with its objective at the prices that the manifests say.
    pub solution: Solution,
    /// kg CO2e per month: storage, and transfers spread over the horizons.
    pub carbon_kg: f64,
    /// Datasets whose sets differ from those of the cheapest plan.
    pub changed: Vec<usize>,
    /// Bytes to move.
    pub bytes: u64,
}

impl ParetoPoint {
    fn of(problem: &Problem, solution: Solution, cheapest: Option<&Self>) -> Self {
        let (mut carbon_kg, mut bytes) = (0.0, 0u64);
        for (subject, set) in problem.datasets.iter().zip(&solution.sets) {
            let horizon = f64::from(subject.profile.horizon_months.max(1));
            for backend in set {
                let cost = copy_cost(problem, subject, *backend);
                carbon_kg += cost.carbon_kg;
                if let Some(transfer) = cost.transfer {
                    carbon_kg += transfer.carbon_kg / horizon;
                    bytes = bytes.saturating_add(transfer.bytes);
                }
            }
        }
        let differs = |dataset: &usize| {
            cheapest.is_some_and(|other| other.solution.sets[*dataset] != solution.sets[*dataset])
        };
        Self {
            carbon_kg,
            bytes,
            changed: (0..problem.datasets.len()).filter(differs).collect(),
            solution,
        }
    }

    /// Cost per month at the prices that the manifests say.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.solution.objective.per_month
    }

    /// What it costs with a kg at so much more.
    fn cost_at(&self, per_kg: f64) -> f64 {
        self.cost() + per_kg * self.carbon_kg
    }
}

/// The frontier of a problem, beginning at its plan, solving at most so many times.
#[must_use]
pub fn pareto(problem: &Problem, plan: Solution, solves: usize) -> Frontier {
    let mut sweep = Sweep {
        problem,
        cheapest: ParetoPoint::of(problem, plan, None),
        left: solves,
    };
    let mut points = vec![sweep.cheapest.clone()];
    let mut complete = true;
    let price = sweep.greenest_price();
    if let Some(greenest) = price.and_then(|price| sweep.solve(price)) {
        points.push(greenest);
    }
    let mut open = if points.len() == 2 {
        vec![(0, 1)]
    } else {
        Vec::new()
    };
    while let Some((a, b)) = widest(&mut open, &points) {
        let (green, cheap) = (&points[b], &points[a]);
        let saved = cheap.carbon_kg - green.carbon_kg;
        let price = (green.cost() - cheap.cost()) / saved;
        if !(saved > 0.0 && price > 0.0 && price.is_finite()) {
            continue;
        }
        if sweep.left == 0 {
            complete = false;
            break;
        }
        let chord = cheap.cost_at(price).min(green.cost_at(price));
        let Some(found) = sweep.solve(price) else { continue };
        if found.cost_at(price) < chord - TIE * chord.abs() {
            points.push(found);
            let new = points.len() - 1;
            open.extend([(a, new), (new, b)]);
        }
    }
    Frontier {
        points: hull(points),
        complete,
    }
}

struct Sweep<'a> {
    problem: &'a Problem,
    cheapest: ParetoPoint,
    left: usize,
}

impl Sweep<'_> {
    /// A price of a kg at which almost nothing but carbon counts; `None` if there is none to save.
    fn greenest_price(&self) -> Option<f64> {
        let (cost, kg) = (self.cheapest.cost(), self.cheapest.carbon_kg);
        if kg <= 0.0 {
            return None;
        }
        Some(if cost > 0.0 { GREENEST * cost / kg } else { 1.0 })
    }

    /// The best plan with a kg at so much more, if it keeps to every rule at the prices that really hold and satisfies
    /// as much as the cheapest.
    fn solve(&mut self, per_kg: f64) -> Option<ParetoPoint> {
        let mut spent_kg = self.carbon_of_budgets(&self.cheapest.solution);
        for round in 0..=BUDGET_ROUNDS {
            self.left = self.left.checked_sub(1)?;
            // Without any allowance for dearer carbon the budget is kept for certain.
            if round == BUDGET_ROUNDS {
                spent_kg.values_mut().for_each(|kg| *kg = 0.0);
            }
            let raised = raised(self.problem, per_kg, &spent_kg);
            let placed = carry_out(&raised, Some(&self.cheapest.solution)).0;
            let objective = cost::objective(self.problem, &placed.sets);
            let base = &self.cheapest.solution;
            // Bound and prices are those of the problem as it is; the ones just found are in dearer money.
            let solution = Solution {
                lower_bound: base.lower_bound.min(objective.per_month),
                shadow_prices: base.shadow_prices.clone(),
                objective,
                ..placed
            };
            let now = self.carbon_of_budgets(&solution);
            match check(self.problem, &solution) {
                Ok(checked) => {
                    // At dearer carbon a change may pay back that does not at the price that holds.
                    if !check_payback(self.problem, &solution).is_empty() {
                        return None;
                    }
                    let point = ParetoPoint::of(self.problem, solution, Some(&self.cheapest));
                    return (missing(&checked.missing) <= self.missing()).then_some(point);
                }
                // Dearer carbon makes budgets of money tighter; how much must be guessed from what is emitted.
                Err(_) if spent_kg.is_empty() || now == spent_kg => return None,
                Err(_) => spent_kg = now,
            }
        }
        None
    }

    fn missing(&self) -> (u32, u32, u32) {
        check(self.problem, &self.cheapest.solution).map_or((0, 0, 0), |checked| missing(&checked.missing))
    }

    /// For each policy with a budget of money, what its datasets emit per month.
    fn carbon_of_budgets(&self, solution: &Solution) -> BTreeMap<usize, f64> {
        let ground = Ground::of(self.problem);
        let budgets = ground.budgets.iter().filter(|b| b.unit == BudgetUnit::Cost);
        let carbon = Ground {
            budgets: budgets
                .map(|budget| crate::ground::BudgetLimit {
                    unit: BudgetUnit::CarbonKg,
                    ..*budget
                })
                .collect(),
            ..ground
        };
        let scene = Scene::new(self.problem, &carbon, solution);
        carbon
            .budgets
            .iter()
            .zip(&scene.spent)
            .map(|(budget, kg)| (budget.policy, *kg))
            .collect()
    }
}

fn missing(of: &[(u32, u32, u32)]) -> (u32, u32, u32) {
    of.iter().fold((0, 0, 0), |sum, next| {
        (sum.0 + next.0, sum.1 + next.1, sum.2.saturating_add(next.2))
    })
}

/// The problem with a kg at so much more. Budgets of money grow by what this adds to what is emitted.
fn raised(problem: &Problem, per_kg: f64, spent_kg: &BTreeMap<usize, f64>) -> Problem {
    let mut raised = problem.clone();
    // Most datasets share their profile with many others, and so they should afterwards.
    let mut known: BTreeMap<*const Profile, Arc<Profile>> = BTreeMap::new();
    for subject in &mut raised.datasets {
        let dearer = known.entry(Arc::as_ptr(&subject.profile)).or_insert_with(|| {
            let mut profile = Profile::clone(&subject.profile);
            profile.carbon_price_per_tonne += per_kg * 1000.0;
            profile.goals.clear();
            Arc::new(profile)
        });
        subject.profile = dearer.clone();
    }
    for (policy, kg) in spent_kg {
        if let Some(cost) = &mut raised.policies[*policy].cost_per_month {
            *cost += per_kg * kg;
        }
    }
    raised
}

/// Takes the pair of neighbours that leaves the most open between them.
fn widest(open: &mut Vec<(usize, usize)>, points: &[ParetoPoint]) -> Option<(usize, usize)> {
    let area = |(a, b): (usize, usize)| {
        (points[a].carbon_kg - points[b].carbon_kg) * (points[b].cost() - points[a].cost())
    };
    let at = (0..open.len()).reduce(|best, next| {
        if area(open[next]) > area(open[best]) {
            next
        } else {
            best
        }
    })?;
    Some(open.swap_remove(at))
}

/// The points that lie on the lower left hull, the cheapest first.
fn hull(mut points: Vec<ParetoPoint>) -> Vec<ParetoPoint> {
    points.sort_by(|a, b| {
        a.cost()
            .total_cmp(&b.cost())
            .then(a.carbon_kg.total_cmp(&b.carbon_kg))
    });
    let mut hull: Vec<ParetoPoint> = Vec::new();
    for point in points {
        let greener = |known: &ParetoPoint| {
            known.carbon_kg - point.carbon_kg > TIE * known.carbon_kg.abs().max(f64::MIN_POSITIVE)
        };
        if hull.last().is_some_and(|last| !greener(last)) {
            continue;
        }
        while let [.., a, b] = hull.as_slice() {
            // b lies above the line from a to the new point.
            let bends = (b.cost() - a.cost()) * (a.carbon_kg - point.carbon_kg)
                >= (point.cost() - a.cost()) * (a.carbon_kg - b.carbon_kg);
            if !bends {
                break;
            }
            hull.pop();
        }
        hull.push(point);
    }
    hull
}
