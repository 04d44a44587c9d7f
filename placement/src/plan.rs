//! The plan: what a checked solution means for people and movers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domicile_estate::{BackendName, ByteCount, DatasetName, PolicyName};

use crate::check::{Violated, check, check_payback};
use crate::contest::Known;
use crate::cost::{self, Objective};
use crate::goals::{self, Followed};
use crate::ground::Ground;
use crate::moves::{self, Move};
use crate::problem::{Problem, RefusalKind, Subject};
use crate::refusals::{self, Refusal, Scene, Violation};
use crate::relax::{self, Relaxation};
use crate::solution::{Shortage, Solution, Stuck};
use crate::tariff::{self, TariffCharge};
use crate::{digest, solve};

/// Datasets that are pinned one at a time where copies cannot be made; further ones are pinned together.
const PINNED_SINGLY: usize = 16;
/// Solves after which no satisfied dataset that must wait for payback changes at all.
const PAYBACK_ROUNDS: usize = 8;
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
    /// Money that the copies cost once by the routes that they take, without priced carbon: less than
    /// `objective.transfer_once` where copies are read once behind a dear link; more where a circle of full backends
    /// is broken through a third place.
    pub routed_once: f64,
    /// No plan that satisfies as much costs less per month.
    pub lower_bound: f64,
    /// `(per_month - lower_bound) / per_month`, 0 if both are 0.
    pub gap: f64,
    /// Where not everything fits: how much of a priority is missing, and how little could be.
    pub shortages: Vec<Shortage>,
    /// Every dataset, by name.
    pub datasets: Vec<DatasetPlan>,
    /// The moves, by dataset; of one dataset the copies first.
    pub moves: Vec<Move>,
    /// What one more GiB would save per month, for every backend, by name.
    pub shadow_prices: Vec<ShadowPrice>,
    /// Backends that are too full and budgets that are overspent.
    pub warnings: Vec<Warning>,
    /// The goals after cost that were followed.
    pub followed: Vec<Followed>,
    /// What backends charge beside the list price, for every backend with tiers, included storage or a base fee, by name.
    pub tariffs: Vec<TariffCharge>,
    /// For rendering, not written: what the same charge per month, all together, for what is there before the plan.
    pub tariffs_now: f64,
}

/// What the plan says of one dataset. Why backends were not taken is not kept: [`spell_out`] says it of those that are
/// asked about, and the document of a plan of each as it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetPlan {
    /// Its name.
    pub name: DatasetName,
    /// Whether every requirement of every policy that selects it is met.
    pub satisfied: bool,
    /// The backends of its set, by name; shared by datasets of equal sets.
    pub backends: Arc<[BackendName]>,
    /// Its size.
    pub bytes: ByteCount,
    /// Number of its objects.
    pub objects: u64,
    /// Storage of all copies of the set per month.
    pub storage_per_month: f64,
    /// Storage carbon of all copies of the set in kg CO2e per month.
    pub carbon_kg_per_month: f64,
    /// The policies that select and bind it; shared by datasets of equal profiles.
    pub policies: Arc<[PolicyName]>,
    /// Copies that stay although a rule refuses them.
    pub violations: Vec<Violation>,
    /// For rendering, not written: storage and priced carbon per month of what is there before the plan.
    pub cost_now: f64,
    /// For rendering, not written: storage, priced carbon and transfers of the set per month.
    pub cost_planned: f64,
}

/// Why a dataset lies where it lies, as far as a plan tells of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Spelled {
    /// Why backends were not taken.
    pub refusals: Vec<Refusal>,
    /// What would satisfy it.
    pub relaxations: Vec<Relaxation>,
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

/// Plans: solves, checks and spells out. Where copies cannot be made, since they would wait for each
/// other in a circle or the relays on their way are full, some dataset stays.
///
/// # Panics
/// If the solver's answer breaks a rule, which is a bug of this crate.
#[must_use]
pub fn propose(problem: &Problem) -> Plan {
    propose_with_solution(problem).1
}

/// As [`propose`], with the solution that it was made of.
///
/// # Panics
/// As [`propose`].
#[must_use]
pub fn propose_with_solution(problem: &Problem) -> (Solution, Plan) {
    let ((mut solution, moves), followed) = goals::follow(problem, carry_out(problem, None));
    solution.shadow_prices = solve::worth_of_room(problem, &solution);
    let plan = Plan {
        followed,
        ..assemble(problem, &solution, moves)
    };
    (solution, plan)
}

/// The best solution that can be carried out: a plan without its moves, refusals and relaxations. `previous` is where
/// the search begins, as in [`crate::solve`].
///
/// # Panics
/// As [`propose`].
#[must_use]
pub fn place(problem: &Problem, previous: Option<&Solution>) -> Solution {
    goals::follow(problem, carry_out(problem, previous)).0.0
}

/// As [`place`], with what room is worth, which [`crate::explain`] asks for.
///
/// # Panics
/// As [`propose`].
#[must_use]
pub fn place_and_price(problem: &Problem) -> Solution {
    let mut solution = place(problem, None);
    solution.shadow_prices = solve::worth_of_room(problem, &solution);
    solution
}

/// The cheapest solution that can be carried out, and its moves.
pub(crate) fn carry_out(problem: &Problem, previous: Option<&Solution>) -> (Solution, Vec<Move>) {
    let mut stuck = BTreeMap::new();
    let mut waits = 0;
    loop {
        let solution = solve::solve_pinned(problem, previous, stuck.clone());
        if let Err(violated) = check(problem, &solution) {
            let violated: Vec<_> = violated.iter().map(ToString::to_string).collect();
            panic!("the solver's answer breaks the rules: {}", violated.join("; "));
        }
        let slow = check_payback(problem, &solution);
        if !slow.is_empty() {
            waits += 1;
            for (dataset, days) in slow_to_pay(problem, slow, waits >= PAYBACK_ROUNDS) {
                stuck.entry(dataset).or_insert(Stuck::Payback(days));
            }
            continue;
        }
        match moves::moves(problem, &solution) {
            Ok(moves) => return (solution, moves),
            Err(blocked) => {
                let count = if stuck.len() < PINNED_SINGLY {
                    1
                } else {
                    blocked.len()
                };
                let all = all_of_the_circle(&blocked);
                let pinned = blocked.into_iter().take(count);
                stuck.extend(pinned.map(|(dataset, why)| match why {
                    Stuck::Circle(_) => (dataset, Stuck::Circle(all.clone())),
                    Stuck::Relays(_) | Stuck::Payback(_) => (dataset, why),
                }));
            }
        }
    }
}

/// The datasets to keep where they are since their change does not pay back, with the days. What they would have taken
/// others take then, so that new ones may turn up: in the end every dataset that must wait for payback is kept.
fn slow_to_pay(problem: &Problem, slow: Vec<Violated>, all: bool) -> Vec<(usize, u32)> {
    if !all {
        let position = |violated| match violated {
            Violated::NoPayback { dataset, days } => Some((problem.dataset(dataset.as_str())?, days)),
            _ => None,
        };
        return slow.into_iter().filter_map(position).collect();
    }
    let ground = Ground::of(problem);
    let now = Solution {
        sets: problem.datasets.iter().map(Subject::now).collect(),
        ..Solution::default()
    };
    let scene = Scene::new(problem, &ground, &now);
    let days = |dataset: usize| {
        let policies = &problem.datasets[dataset].profile.policies;
        let days = policies
            .iter()
            .filter_map(|policy| problem.policies[*policy].movement.payback_days);
        days.min()
    };
    (0..problem.datasets.len())
        .filter(|dataset| scene.is_satisfied(*dataset))
        .filter_map(|dataset| Some((dataset, days(dataset)?)))
        .collect()
}

/// The backends that any dataset of a circle waits for.
fn all_of_the_circle(blocked: &[(usize, Stuck)]) -> Vec<usize> {
    let own = |(_, stuck): &(usize, Stuck)| match stuck {
        Stuck::Circle(backends) => backends.clone(),
        Stuck::Relays(_) | Stuck::Payback(_) => Vec::new(),
    };
    let all: BTreeSet<_> = blocked.iter().flat_map(own).collect();
    all.into_iter().collect()
}

/// Says of some datasets of a solution, by their positions in the problem, why backends were not taken and what would
/// help; the latter of the first 500 unsatisfied ones.
#[must_use]
pub fn spell_out(problem: &Problem, solution: &Solution, datasets: &[usize]) -> Vec<Spelled> {
    let ground = Ground::of(problem);
    let mut spelling = Spelling::new(Scene::new(problem, &ground, solution));
    datasets
        .iter()
        .map(|dataset| spelling.dataset(*dataset))
        .collect()
}

/// Spells out dataset after dataset, and keeps nothing of it.
pub(crate) struct Spelling<'a> {
    scene: Scene<'a>,
    /// What is found once for all datasets.
    known: Known,
    /// Unsatisfied datasets so far.
    relaxed: usize,
    /// What is left of the work on relaxations.
    effort: relax::Effort,
}

impl<'a> Spelling<'a> {
    pub fn new(scene: Scene<'a>) -> Self {
        Self {
            scene,
            known: Known::default(),
            relaxed: 0,
            effort: relax::Effort::of_a_plan(),
        }
    }

    /// Spells out the dataset at this position.
    pub fn dataset(&mut self, dataset: usize) -> Spelled {
        let mut relaxations = Vec::new();
        if self.relaxed < RELAXED_DATASETS && !self.scene.is_satisfied(dataset) {
            self.relaxed += 1;
            relaxations = relax::relaxations(&self.scene, dataset, &mut self.effort);
        }
        Spelled {
            refusals: refusals::refusals(&self.scene, &mut self.known, dataset),
            relaxations,
        }
    }
}

fn assemble(problem: &Problem, solution: &Solution, moves: Vec<Move>) -> Plan {
    let ground = Ground::of(problem);
    let scene = Scene::new(problem, &ground, solution);
    let mut shared = Shared::default();
    let datasets = (0..problem.datasets.len()).map(|dataset| dataset_plan(&scene, dataset, &mut shared));
    let price = |(place, price): (&crate::problem::Place, &f64)| ShadowPrice {
        backend: place.name.clone(),
        per_gib_month: *price,
    };
    Plan {
        input_digest: digest::input_digest(problem),
        currency: problem.currency.clone(),
        objective: solution.objective,
        routed_once: moves::routed_once(&moves),
        lower_bound: solution.lower_bound,
        gap: solution.gap(),
        shortages: solution.shortages.clone(),
        datasets: datasets.collect(),
        moves,
        shadow_prices: problem
            .backends
            .iter()
            .zip(&solution.shadow_prices)
            .map(price)
            .collect(),
        warnings: refusals::warnings(problem, &ground),
        followed: Vec::new(),
        tariffs: tariff::charges(problem, &solution.sets),
        tariffs_now: tariff::more_now(problem),
    }
}

/// Lists of names that many datasets share.
#[derive(Default)]
struct Shared<'a> {
    backends: BTreeMap<&'a [usize], Arc<[BackendName]>>,
    policies: BTreeMap<&'a [usize], Arc<[PolicyName]>>,
}

fn dataset_plan<'a>(scene: &Scene<'a>, dataset: usize, shared: &mut Shared<'a>) -> DatasetPlan {
    let problem = scene.problem;
    let subject = &problem.datasets[dataset];
    let set = scene.solution.sets[dataset].as_slice();
    let (mut storage_per_month, mut carbon_kg_per_month, mut cost_planned) = (0.0, 0.0, 0.0);
    for backend in set {
        let cost = cost::copy_cost(problem, subject, *backend);
        storage_per_month += cost.storage;
        carbon_kg_per_month += cost.carbon_kg;
        cost_planned += cost.per_month();
    }
    let policy = |policy: &usize| problem.policies[*policy].name.clone();
    let policies = subject.profile.policies.as_slice();
    DatasetPlan {
        name: subject.name.clone(),
        satisfied: scene.is_satisfied(dataset),
        backends: Arc::clone(
            shared
                .backends
                .entry(set)
                .or_insert_with(|| names(problem, set).into()),
        ),
        bytes: subject.summary.bytes,
        objects: subject.summary.objects,
        storage_per_month,
        carbon_kg_per_month,
        policies: Arc::clone(
            shared
                .policies
                .entry(policies)
                .or_insert_with(|| policies.iter().map(policy).collect()),
        ),
        violations: refusals::violations(scene, dataset),
        cost_now: cost_now(problem, subject),
        cost_planned,
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
