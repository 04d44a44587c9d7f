//! Why a dataset lies where it lies: every policy, candidate, term and refusal, as data. Rendering is done elsewhere.

use std::collections::BTreeSet;

use domicile_estate::{BackendName, CopyState, DatasetName, PolicyName};

use crate::contest::Known;
use crate::cost::{CopyCost, copy_cost};
use crate::ground::Ground;
use crate::plan::names;
use crate::problem::{Audit, Problem, Requirement};
use crate::refusals::{self, Refusal, Scene, Violation};
use crate::relax::{self, Relaxation};
use crate::runner_up::{self, RunnerUp};
use crate::solution::Solution;
use crate::tally::{self, Tally};

/// Why a dataset lies where it lies.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The dataset.
    pub dataset: DatasetName,
    /// Whether every requirement is met.
    pub satisfied: bool,
    /// The policies that select and bind it.
    pub policies: Vec<PolicyName>,
    /// Its priority: the highest of its policies.
    pub priority: i64,
    /// Price of a tonne of CO2e.
    pub carbon_price_per_tonne: f64,
    /// Months over which the cost of making a copy is spread.
    pub horizon_months: u32,
    /// What is required, and what of it is met.
    pub requirements: Vec<RequirementState>,
    /// Every backend, by name.
    pub candidates: Vec<CandidateState>,
    /// The best set other than the plan's, if any other meets as much.
    pub runner_up: Option<RunnerUp>,
    /// Copies that stay although a rule refuses them.
    pub violations: Vec<Violation>,
    /// Why backends were not taken.
    pub refusals: Vec<Refusal>,
    /// How many backends fit, each of the others counted once.
    pub tally: Tally,
    /// What would satisfy it.
    pub relaxations: Vec<Relaxation>,
    /// What Audit policies would do.
    pub audits: Vec<AuditState>,
}

/// A requirement and what of it is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequirementState {
    /// Whose it is.
    pub policy: PolicyName,
    /// Its name.
    pub name: String,
    /// Copies asked for.
    pub copies: u32,
    /// What its `where` says; empty without one.
    pub place: String,
    /// Spreads asked for: the key and the number of groups.
    pub spread: Vec<(String, u32)>,
    /// The copies that count.
    pub counting: Vec<BackendName>,
    /// What it lacks, such as `1 of 3 copies`; `None` if it is met.
    pub missing: Option<String>,
}

/// One backend as seen for the dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct CandidateState {
    /// The backend.
    pub backend: BackendName,
    /// Whether the plan has a copy there.
    pub planned: bool,
    /// What is there now.
    pub held: Option<CopyState>,
    /// Whether the origin is there.
    pub origin: bool,
    /// What a copy there costs.
    pub cost: CopyCost,
    /// Where a new copy would be read.
    pub source: Option<BackendName>,
    /// What the room that it takes is worth to others, per month: its size times the shadow price; nothing where a copy
    /// lies that stays anyway.
    pub room_worth: f64,
    /// Why it was not taken; empty if it was, or if it is merely dearer.
    pub refusals: Vec<Refusal>,
}

/// What an Audit policy would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditState {
    /// The policy.
    pub policy: PolicyName,
    /// Planned backends that it would refuse.
    pub refused: Vec<Refusal>,
    /// Requirements of it that the plan does not meet, with what they lack.
    pub unmet: Vec<(String, String)>,
}

/// Explains one dataset of a solution, by its position in the problem.
#[must_use]
pub fn explain(problem: &Problem, solution: &Solution, dataset: usize) -> Explanation {
    let ground = Ground::of(problem);
    let scene = Scene::new(problem, &ground, solution);
    let subject = &problem.datasets[dataset];
    let refusals = refusals::refusals(&scene, &mut Known::default(), dataset);
    let satisfied = scene.is_satisfied(dataset);
    let requirement = |position: &usize| requirement_state(&scene, dataset, &problem.requirements[*position]);
    Explanation {
        dataset: subject.name.clone(),
        satisfied,
        policies: subject
            .profile
            .policies
            .iter()
            .map(|policy| problem.policies[*policy].name.clone())
            .collect(),
        priority: subject.profile.priority,
        carbon_price_per_tonne: subject.profile.carbon_price_per_tonne,
        horizon_months: subject.profile.horizon_months,
        requirements: subject.profile.requirements.iter().map(requirement).collect(),
        candidates: (0..problem.backends.len())
            .map(|b| candidate_state(&scene, dataset, b, &refusals))
            .collect(),
        runner_up: runner_up::runner_up(&scene, dataset),
        violations: refusals::violations(&scene, dataset),
        tally: tally::of_dataset(&scene, dataset),
        relaxations: if satisfied {
            Vec::new()
        } else {
            relax::relaxations(&scene, dataset, &mut relax::Effort::of_an_explanation())
        },
        audits: subject
            .profile
            .audits
            .iter()
            .map(|audit| audit_state(&scene, dataset, audit))
            .collect(),
        refusals,
    }
}

fn requirement_state(scene: &Scene<'_>, dataset: usize, requirement: &Requirement) -> RequirementState {
    RequirementState {
        policy: scene.problem.policies[requirement.policy].name.clone(),
        name: requirement.name.clone(),
        copies: requirement.copies,
        place: requirement.place.clone(),
        spread: requirement
            .spread
            .iter()
            .map(|spread| (spread.across.clone(), spread.groups))
            .collect(),
        counting: names(scene.problem, &scene.counting(dataset, requirement)),
        missing: scene.missing(dataset, requirement),
    }
}

fn candidate_state(
    scene: &Scene<'_>,
    dataset: usize,
    backend: usize,
    refusals: &[Refusal],
) -> CandidateState {
    let (problem, subject) = (scene.problem, &scene.problem.datasets[dataset]);
    let name = &problem.backends[backend].name;
    let held = subject.copy_on(backend);
    let cost = copy_cost(problem, subject, backend);
    CandidateState {
        backend: name.clone(),
        planned: scene.solution.sets[dataset].contains(&backend),
        held: held.map(|held| held.state),
        origin: held.is_some_and(|held| held.origin),
        source: cost
            .transfer
            .map(|transfer| problem.backends[transfer.from].name.clone()),
        cost,
        room_worth: runner_up::room_worth(scene, dataset, backend),
        refusals: refusals
            .iter()
            .filter(|refusal| refusal.backends.contains(name))
            .cloned()
            .collect(),
    }
}

fn audit_state(scene: &Scene<'_>, dataset: usize, audit: &Audit) -> AuditState {
    let problem = scene.problem;
    let set = &scene.solution.sets[dataset];
    let rules: BTreeSet<_> = audit.refused.iter().map(|refused| refused.reason).collect();
    let refused = rules.into_iter().filter_map(|rule| {
        let refuses = |backend: &usize| {
            audit
                .refused
                .iter()
                .any(|r| r.backend == *backend && r.reason == rule)
        };
        let backends: Vec<_> = set.iter().copied().filter(refuses).collect();
        let reason = &problem.reasons[rule];
        (!backends.is_empty()).then(|| Refusal {
            rule: reason.rule.clone(),
            kind: reason.kind,
            backends: names(problem, &backends),
            message: reason.message.clone(),
        })
    });
    let requirements = audit
        .requirements
        .iter()
        .map(|requirement| &problem.requirements[*requirement]);
    let unmet = requirements.filter_map(|r| Some((r.name.clone(), scene.missing(dataset, r)?)));
    AuditState {
        policy: problem.policies[audit.policy].name.clone(),
        refused: refused.collect(),
        unmet: unmet.collect(),
    }
}
