//! What a policy costs and emits, and what each of its rules costs: the plan without that rule, beside the plan with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_estate::{Dataset, DatasetName, Observed, PolicyName};
use domicile_policies::{Enforcement, Manifests, Policy};

use crate::cost::{Objective, copy_cost};
use crate::ground::{BudgetUnit, Ground};
use crate::plan::place;
use crate::pose::pose;
use crate::problem::{Problem, RefusalKind};
use crate::refusals::Scene;
use crate::solution::Solution;

/// Rules of one policy that are left out in turn; further ones are named as not tried.
const TRIED_RULES: usize = 16;

/// What an estate is, for leaving rules out of it.
#[derive(Debug, Clone, Copy)]
pub struct Estate<'a> {
    /// Its manifests.
    pub manifests: &'a Manifests,
    /// Its datasets, of manifests and inventories.
    pub datasets: &'a BTreeMap<DatasetName, Arc<Dataset>>,
    /// What is known of them.
    pub observed: &'a Observed,
}

/// What a policy costs and emits.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyWorth {
    /// The policy.
    pub policy: PolicyName,
    /// `false` for an Audit policy, which binds nothing and costs nothing by itself.
    pub enforced: bool,
    /// Datasets that it selects.
    pub datasets: usize,
    /// Those of them that some requirement of some policy is not met for.
    pub unsatisfied: usize,
    /// What all copies of those datasets cost and emit.
    pub spending: Objective,
    /// Its budgets.
    pub budgets: Vec<BudgetState>,
    /// What each rule costs, the strictest first: without it the most datasets more are satisfied, then the most is
    /// saved.
    pub rules: Vec<RuleCost>,
    /// Rules that were not tried, for they are too many.
    pub untried: Vec<String>,
}

/// One budget of a policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetState {
    /// Whether it counts kg CO2e instead of money.
    pub is_carbon: bool,
    /// What the manifest says, per month.
    pub stated: f64,
    /// What the plan spends of it, per month.
    pub spent: f64,
}

/// What one rule costs.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleCost {
    /// Its name; `costPerMonth` or `carbonKgPerMonth` for a budget.
    pub rule: String,
    /// `Confinement`, `Requirement` or `Budget`.
    pub kind: RefusalKind,
    /// What the whole estate costs less per month without it; below zero where more copies can then be made.
    pub saves: f64,
    /// What the whole estate emits less in kg CO2e per month without it.
    pub saves_carbon_kg: f64,
    /// Datasets more that are satisfied without it.
    pub satisfies: i64,
}

/// One rule of a policy.
#[derive(Debug, Clone, Copy)]
enum Rule {
    Confine(usize),
    Require(usize),
    CostBudget,
    CarbonBudget,
}

/// What a policy costs and emits in a solution of the estate's problem; `None` if there is no such policy.
#[must_use]
pub fn policy_worth(
    estate: &Estate<'_>,
    problem: &Problem,
    solution: &Solution,
    policy: &str,
) -> Option<PolicyWorth> {
    let at = problem
        .policies
        .iter()
        .position(|terms| terms.name.as_str() == policy)?;
    let (name, stated) = estate
        .manifests
        .policies
        .iter()
        .find(|(name, _)| name.as_str() == policy)?;
    let ground = Ground::of(problem);
    let scene = Scene::new(problem, &ground, solution);
    let selected: Vec<usize> = (0..problem.datasets.len())
        .filter(|dataset| selects(problem, at, *dataset))
        .collect();
    let enforced = stated.enforcement == Enforcement::Enforce;
    let mut rules: Vec<_> = rules(stated).into_iter().filter(|_| enforced).collect();
    let untried = rules.split_off(rules.len().min(TRIED_RULES));
    let mut costs: Vec<_> = rules
        .into_iter()
        .map(|rule| rule_cost(estate, &scene, name, rule))
        .collect();
    costs.sort_by(|a, b| {
        b.satisfies
            .cmp(&a.satisfies)
            .then(b.saves.total_cmp(&a.saves))
            .then_with(|| a.rule.cmp(&b.rule))
    });
    Some(PolicyWorth {
        policy: name.clone(),
        enforced,
        unsatisfied: selected.iter().filter(|d| !scene.is_satisfied(**d)).count(),
        spending: spending(problem, solution, &selected),
        datasets: selected.len(),
        budgets: ground
            .budgets
            .iter()
            .zip(&scene.spent)
            .filter(|(budget, _)| budget.policy == at && !budget.unit.is_movement())
            .map(|(budget, spent)| BudgetState {
                is_carbon: budget.unit == BudgetUnit::CarbonKg,
                stated: budget.stated,
                spent: *spent,
            })
            .collect(),
        rules: costs,
        untried: untried.into_iter().map(|rule| words(stated, rule).0).collect(),
    })
}

fn selects(problem: &Problem, policy: usize, dataset: usize) -> bool {
    let profile = &problem.datasets[dataset].profile;
    profile.policies.contains(&policy) || profile.audits.iter().any(|audit| audit.policy == policy)
}

fn spending(problem: &Problem, solution: &Solution, datasets: &[usize]) -> Objective {
    let mut sum = Objective::default();
    for dataset in datasets {
        for backend in &solution.sets[*dataset] {
            sum.add(&copy_cost(problem, &problem.datasets[*dataset], *backend));
        }
    }
    sum.total();
    sum
}

fn rules(policy: &Policy) -> Vec<Rule> {
    let confine = (0..policy.confine.len()).map(Rule::Confine);
    let require = (0..policy.require.len()).map(Rule::Require);
    let cost = policy.budget.cost_per_month.map(|_| Rule::CostBudget);
    let carbon = policy.budget.carbon_kg_per_month.map(|_| Rule::CarbonBudget);
    confine.chain(require).chain(cost).chain(carbon).collect()
}

/// A rule's name and kind.
fn words(policy: &Policy, rule: Rule) -> (String, RefusalKind) {
    match rule {
        Rule::Confine(at) => (policy.confine[at].name.clone(), RefusalKind::Confinement),
        Rule::Require(at) => (policy.require[at].name.clone(), RefusalKind::Requirement),
        Rule::CostBudget => ("costPerMonth".to_owned(), RefusalKind::Budget),
        Rule::CarbonBudget => ("carbonKgPerMonth".to_owned(), RefusalKind::Budget),
    }
}

/// Plans as if a rule had never been written.
fn rule_cost(estate: &Estate<'_>, with: &Scene<'_>, policy: &PolicyName, rule: Rule) -> RuleCost {
    let mut manifests = estate.manifests.clone();
    let mut named = (String::new(), RefusalKind::Requirement);
    if let Some(policy) = manifests.policies.get_mut(policy) {
        named = words(policy, rule);
        match rule {
            Rule::Confine(at) => drop(policy.confine.remove(at)),
            Rule::Require(at) => drop(policy.require.remove(at)),
            Rule::CostBudget => policy.budget.cost_per_month = None,
            Rule::CarbonBudget => policy.budget.carbon_kg_per_month = None,
        }
    }
    let problem = pose(&manifests, estate.datasets, estate.observed);
    let solution = place(&problem, Some(with.solution));
    let ground = Ground::of(&problem);
    let without = Scene::new(&problem, &ground, &solution);
    let satisfied = |scene: &Scene<'_>| {
        let count = (0..scene.problem.datasets.len()).filter(|d| scene.is_satisfied(*d));
        i64::try_from(count.count()).unwrap_or(i64::MAX)
    };
    RuleCost {
        rule: named.0,
        kind: named.1,
        saves: with.solution.objective.per_month - solution.objective.per_month,
        saves_carbon_kg: with.solution.objective.carbon_kg - solution.objective.carbon_kg,
        satisfies: satisfied(&without) - satisfied(with),
    }
}
