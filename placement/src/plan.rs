//! The plan: what a checked solution means for people and movers.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{BackendName, ByteCount, DatasetName, PolicyName};

use crate::check::check;
use crate::cost::{self, Objective};
use crate::ground::Ground;
use crate::moves::{self, Move};
use crate::problem::{Problem, RefusalKind, Subject};
use crate::refusals::{self, Refusal, Violation};
use crate::relax::{self, Relaxation};
use crate::solution::Solution;
use crate::{digest, solve};

/// Datasets that are pinned one at a time when copies wait for each other in a circle; further ones are pinned together.
const PINNED_SINGLY: usize = 16;
/// Unsatisfied datasets for which a plan says what would help; `why` says it for any.
const RELAXED_DATASETS: usize = 500;

/// A numbered proposal, without its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Digest of everything that the plan depends on.
    pub input_digest: String,
    /// The currency of every amount.
    pub currency: String,
    /// What the plan costs.
    pub objective: Objective,
    /// No plan that satisfies as much costs less per month.
    pub lower_bound: f64,
    /// `(per_month - lower_bound) / per_month`, 0 if both are 0.
    pub gap: f64,
    /// Every dataset, by name.
    pub datasets: Vec<DatasetPlan>,
    /// The moves, by dataset; of one dataset the copies first.
    pub moves: Vec<Move>,
    /// What one more GiB would save per month, for every backend, by name.
    pub shadow_prices: Vec<ShadowPrice>,
    /// Backends that are too full and budgets that are overspent.
    pub warnings: Vec<Warning>,
}

/// What the plan says of one dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetPlan {
    /// Its name.
    pub name: DatasetName,
    /// Whether every requirement of every policy that selects it is met.
    pub satisfied: bool,
    /// The backends of its set, by name.
    pub backends: Vec<BackendName>,
    /// Its size.
    pub bytes: ByteCount,
    /// Number of its objects.
    pub objects: u64,
    /// Storage of all copies of the set per month.
    pub storage_per_month: f64,
    /// Storage carbon of all copies of the set in kg CO2e per month.
    pub carbon_kg_per_month: f64,
    /// The policies that select and bind it.
    pub policies: Vec<PolicyName>,
    /// Copies that stay although a rule refuses them.
    pub violations: Vec<Violation>,
    /// Why backends were not taken.
    pub refusals: Vec<Refusal>,
    /// What would satisfy it.
    pub relaxations: Vec<Relaxation>,
    /// For rendering, not written: where it lies before the plan.
    pub now: Vec<BackendName>,
    /// For rendering, not written: storage and priced carbon of that per month.
    pub cost_now: f64,
    /// For rendering, not written: storage, priced carbon and transfers of the set per month.
    pub cost_planned: f64,
}

/// What one more GiB of a backend would save.
#[derive(Debug, Clone, PartialEq)]
pub struct ShadowPrice {
    /// The backend.
    pub backend: BackendName,
    /// Per GiB and month; 0 where there is room.
    pub per_gib_month: f64,
}

/// Something that the plan respects but a person should mend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// `Capacity` or `Budget`.
    pub kind: RefusalKind,
    /// The backend that is too full.
    pub backend: Option<BackendName>,
    /// The policy whose budget is overspent.
    pub policy: Option<PolicyName>,
    /// What is the matter, for people.
    pub message: String,
}

/// Plans: solves, checks and spells out. Where copies would wait for each other in a circle, one of them stays.
///
/// # Panics
/// If the solver's answer breaks a rule, which is a bug of this crate.
#[must_use]
pub fn propose(problem: &Problem) -> Plan {
    propose_with_solution(problem).1
}

/// As [`propose`], with the solution, which [`crate::explain`] asks for.
///
/// # Panics
/// As [`propose`].
#[must_use]
pub fn propose_with_solution(problem: &Problem) -> (Solution, Plan) {
    let (solution, moves) = carry_out(problem, None);
    let plan = assemble(problem, &solution, moves);
    (solution, plan)
}

/// The best solution that can be carried out: a plan without its moves, refusals and relaxations. `previous` is where
/// the search begins, as in [`crate::solve`].
///
/// # Panics
/// As [`propose`].
#[must_use]
pub fn place(problem: &Problem, previous: Option<&Solution>) -> Solution {
    carry_out(problem, previous).0
}

/// The best solution that can be carried out, and its moves.
fn carry_out(problem: &Problem, previous: Option<&Solution>) -> (Solution, Vec<Move>) {
    let mut stuck = BTreeMap::new();
    loop {
        let solution = solve::solve_pinned(problem, previous, stuck.clone());
        if let Err(violated) = check(problem, &solution) {
            let violated: Vec<_> = violated.iter().map(ToString::to_string).collect();
            panic!("the solver's answer breaks the rules: {}", violated.join("; "));
        }
        match moves::moves(problem, &solution) {
            Ok(moves) => return (solution, moves),
            Err(waiting) => {
                let circle: BTreeSet<_> = waiting
                    .iter()
                    .flat_map(|(_, backends)| backends)
                    .copied()
                    .collect();
                let circle: Vec<_> = circle.into_iter().collect();
                let count = if stuck.len() < PINNED_SINGLY {
                    1
                } else {
                    waiting.len()
                };
                stuck.extend(
                    waiting
                        .into_iter()
                        .take(count)
                        .map(|(dataset, _)| (dataset, circle.clone())),
                );
            }
        }
    }
}

fn assemble(problem: &Problem, solution: &Solution, moves: Vec<Move>) -> Plan {
    let ground = Ground::of(problem);
    let scene = refusals::Scene::new(problem, &ground, solution);
    let mut relaxed = 0;
    let mut effort = relax::Effort::of_a_plan();
    let mut datasets = Vec::new();
    for dataset in 0..problem.datasets.len() {
        let mut planned = dataset_plan(&scene, dataset);
        if !planned.satisfied && relaxed < RELAXED_DATASETS {
            relaxed += 1;
            planned.relaxations = relax::relaxations(&scene, dataset, &mut effort);
        }
        datasets.push(planned);
    }
    let price = |(place, price): (&crate::problem::Place, &f64)| ShadowPrice {
        backend: place.name.clone(),
        per_gib_month: *price,
    };
    Plan {
        input_digest: digest::input_digest(problem),
        currency: problem.currency.clone(),
        objective: solution.objective,
        lower_bound: solution.lower_bound,
        gap: solution.gap(),
        datasets,
        moves,
        shadow_prices: problem
            .backends
            .iter()
            .zip(&solution.shadow_prices)
            .map(price)
            .collect(),
        warnings: refusals::warnings(problem, &ground),
    }
}

fn dataset_plan(scene: &refusals::Scene<'_>, dataset: usize) -> DatasetPlan {
    let problem = scene.problem;
    let subject = &problem.datasets[dataset];
    let set = &scene.solution.sets[dataset];
    let satisfied = scene.is_satisfied(dataset);
    let costs: Vec<_> = set
        .iter()
        .map(|backend| cost::copy_cost(problem, subject, *backend))
        .collect();
    DatasetPlan {
        name: subject.name.clone(),
        satisfied,
        backends: names(problem, set),
        bytes: subject.summary.bytes,
        objects: subject.summary.objects,
        storage_per_month: costs.iter().map(|cost| cost.storage).sum(),
        carbon_kg_per_month: costs.iter().map(|cost| cost.carbon_kg).sum(),
        policies: subject
            .profile
            .policies
            .iter()
            .map(|policy| problem.policies[*policy].name.clone())
            .collect(),
        violations: refusals::violations(scene, dataset),
        refusals: refusals::refusals(scene, dataset),
        relaxations: Vec::new(),
        now: names(problem, &subject.now()),
        cost_now: cost_now(problem, subject),
        cost_planned: costs.iter().map(cost::CopyCost::per_month).sum(),
    }
}

fn cost_now(problem: &Problem, subject: &Subject) -> f64 {
    let kept = |backend: usize| {
        let cost = cost::copy_cost(problem, subject, backend);
        cost.storage + cost.carbon
    };
    subject.now().into_iter().map(kept).sum()
}

/// The names of backends.
pub(crate) fn names(problem: &Problem, backends: &[usize]) -> Vec<BackendName> {
    backends
        .iter()
        .map(|backend| problem.backends[*backend].name.clone())
        .collect()
}
