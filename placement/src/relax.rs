//! What would help: the smallest changes that would satisfy a dataset, each tried out by solving anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_estate::ByteCount;

use crate::ground::{BudgetUnit, Ground};
use crate::problem::{Problem, RefusalKind, Requirement};
use crate::refusals::Scene;
use crate::solution::Solution;
use crate::solve::solve;

/// Changes that are tried for one dataset.
const TRIES: usize = 64;
/// Changes that are reported for one dataset.
const REPORTED: usize = 12;

/// One change that would satisfy a dataset, everything else staying as planned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relaxation {
    /// The rule to change.
    pub rule: String,
    /// The change, briefly.
    pub change: String,
    /// The same for people.
    pub message: String,
}

/// The changes that would satisfy a dataset.
pub(crate) fn relaxations(scene: &Scene<'_>, dataset: usize) -> Vec<Relaxation> {
    let mut trial = Trial {
        scene,
        dataset,
        alone: alone(scene, dataset),
        tries: 0,
    };
    let mut found = trial.smaller_requirements();
    found.extend(trial.rules_lifted());
    found.extend(trial.more_capacity());
    found.extend(trial.larger_budget());
    found.truncate(REPORTED);
    found.sort();
    found
}

/// The problem of this dataset alone: the others stay as planned, and leave it the room and money that they do not use.
fn alone(scene: &Scene<'_>, dataset: usize) -> Problem {
    let problem = scene.problem;
    let subject = problem.datasets[dataset].clone();
    let mut backends = problem.backends.clone();
    for (backend, place) in backends.iter_mut().enumerate() {
        let left = scene.ground.room[backend].saturating_sub(scene.used_by_others(dataset, backend));
        place.capacity = ByteCount(u64::try_from(left).unwrap_or(u64::MAX));
    }
    let mut policies = problem.policies.clone();
    for (budget, spent) in scene.ground.budgets.iter().zip(&scene.spent) {
        let own: f64 = scene.solution.sets[dataset]
            .iter()
            .map(|b| budget.spends(problem, &subject, *b))
            .sum();
        let left = (budget.limit() - (spent - own)).max(0.0);
        match budget.unit {
            BudgetUnit::Cost => policies[budget.policy].cost_per_month = Some(left),
            BudgetUnit::CarbonKg => policies[budget.policy].carbon_kg_per_month = Some(left),
        }
    }
    Problem {
        currency: problem.currency.clone(),
        backends,
        policies,
        reasons: problem.reasons.clone(),
        requirements: problem.requirements.clone(),
        links: problem.links.clone(),
        datasets: vec![subject],
    }
}

struct Trial<'a> {
    scene: &'a Scene<'a>,
    dataset: usize,
    alone: Problem,
    tries: usize,
}

impl Trial<'_> {
    /// The solution of the changed problem, if it satisfies the dataset.
    fn satisfying(&mut self, change: impl FnOnce(&mut Problem)) -> Option<(Problem, Solution)> {
        self.tries += 1;
        if self.tries > TRIES {
            return None;
        }
        let mut changed = self.alone.clone();
        change(&mut changed);
        let solution = solve(&changed, None);
        let satisfied = Scene::new(&changed, &Ground::of(&changed), &solution).is_satisfied(0);
        satisfied.then_some((changed, solution))
    }

    /// Requirements reduced to what the plan has of them: one alone where that is enough, else all together.
    fn smaller_requirements(&mut self) -> Vec<Relaxation> {
        let problem = self.scene.problem;
        let unmet: Vec<_> = problem.datasets[self.dataset]
            .profile
            .requirements
            .iter()
            .copied()
            .filter(|requirement| {
                self.scene
                    .missing(self.dataset, &problem.requirements[*requirement])
                    .is_some()
            })
            .collect();
        let reduced: BTreeMap<usize, (Requirement, Relaxation)> = unmet
            .iter()
            .filter_map(|position| Some((*position, self.reduced(*position)?)))
            .collect();
        let mut found = Vec::new();
        for (position, (requirement, relaxation)) in &reduced {
            if self
                .satisfying(|changed| changed.requirements[*position] = requirement.clone())
                .is_some()
            {
                found.push(relaxation.clone());
            }
        }
        if !found.is_empty() || reduced.len() < unmet.len() || reduced.is_empty() {
            return found;
        }
        let all = self.satisfying(|changed| {
            for (position, (requirement, _)) in &reduced {
                changed.requirements[*position] = requirement.clone();
            }
        });
        let join = |of: fn(&Relaxation) -> &str, by: &str| {
            reduced
                .values()
                .map(|(_, relaxation)| of(relaxation))
                .collect::<Vec<_>>()
                .join(by)
        };
        let together = || Relaxation {
            rule: join(|relaxation| &relaxation.rule, ", "),
            change: join(|relaxation| &relaxation.change, "; "),
            message: join(|relaxation| &relaxation.message, "; and "),
        };
        all.map(|_| together()).into_iter().collect()
    }

    /// A requirement reduced to what the plan has of it; `None` if it has nothing.
    fn reduced(&self, position: usize) -> Option<(Requirement, Relaxation)> {
        let problem = self.scene.problem;
        let mut requirement = problem.requirements[position].clone();
        let counting = self.scene.counting(self.dataset, &requirement);
        let had = u32::try_from(counting.len()).unwrap_or(u32::MAX);
        if had == 0 {
            return None;
        }
        let mut changes = Vec::new();
        if had < requirement.copies {
            requirement.copies = had;
            changes.push(format!("copies: {had}"));
        }
        for spread in &mut requirement.spread {
            let mut groups: Vec<_> = counting
                .iter()
                .filter_map(|backend| spread.group_of[*backend])
                .collect();
            groups.sort_unstable();
            groups.dedup();
            let had = u32::try_from(groups.len()).unwrap_or(u32::MAX);
            if had < spread.groups {
                spread.groups = had;
                changes.push(format!("groups across {}: {had}", spread.across));
            }
        }
        let change = changes.join(", ");
        let policy = &problem.policies[requirement.policy].name;
        let message = format!(
            "policy `{policy}`, requirement `{}`: ask for {change}",
            requirement.name
        );
        let relaxation = Relaxation {
            rule: requirement.name.clone(),
            change,
            message,
        };
        Some((requirement, relaxation))
    }

    /// One rule less: a confinement or an admission rule for this dataset, or a backend's own state.
    fn rules_lifted(&mut self) -> Vec<Relaxation> {
        let problem = self.scene.problem;
        let mut rules: Vec<_> = problem.datasets[self.dataset]
            .profile
            .refused
            .iter()
            .map(|refused| refused.reason)
            .collect();
        rules.sort_unstable();
        rules.dedup();
        let mut found = Vec::new();
        for rule in rules {
            let without = |changed: &mut Problem| {
                Arc::make_mut(&mut changed.datasets[0].profile)
                    .refused
                    .retain(|refused| refused.reason != rule)
            };
            if self.satisfying(without).is_some() {
                let reason = &problem.reasons[rule];
                let (change, what) = match reason.kind {
                    RefusalKind::Admission => ("admit it", "admit this dataset in spite of"),
                    _ => ("drop it", "drop, or let this dataset be exempt from,"),
                };
                let message = format!("{what} {}", reason.message);
                found.push(Relaxation {
                    rule: reason.rule.clone(),
                    change: change.to_owned(),
                    message,
                });
            }
        }
        for backend in 0..problem.backends.len() {
            for &rule in &problem.backends[backend].reasons {
                let without = |changed: &mut Problem| {
                    changed.backends[backend].reasons.retain(|reason| *reason != rule)
                };
                if self.satisfying(without).is_some() {
                    let (reason, name) = (&problem.reasons[rule], &problem.backends[backend].name);
                    let change = lifted(&reason.rule, name.as_str());
                    let message = format!("{change}: {}", reason.message);
                    found.push(Relaxation {
                        rule: reason.rule.clone(),
                        change,
                        message,
                    });
                }
            }
        }
        found
    }

    /// The least capacity more on one backend.
    fn more_capacity(&mut self) -> Vec<Relaxation> {
        let (scene, dataset) = (self.scene, self.dataset);
        let bytes = scene.problem.datasets[dataset].summary.bytes;
        let mut tight: Vec<_> = (0..scene.problem.backends.len())
            .filter(|backend| !scene.has_room(dataset, *backend))
            .map(|backend| {
                let needed = scene.used_by_others(dataset, backend) + u128::from(bytes.0);
                (
                    needed.saturating_sub(u128::from(scene.problem.backends[backend].capacity.0)),
                    backend,
                )
            })
            .collect();
        tight.sort_unstable();
        for (more, backend) in tight {
            if self
                .satisfying(|changed| changed.backends[backend].capacity = bytes)
                .is_some()
            {
                let name = &scene.problem.backends[backend].name;
                let more = ByteCount(u64::try_from(more).unwrap_or(u64::MAX));
                let message = format!("give backend `{name}` {more} ({} bytes) more capacity", more.0);
                let change = format!("{} bytes more on {name}", more.0);
                return vec![Relaxation {
                    rule: "capacity".to_owned(),
                    change,
                    message,
                }];
            }
        }
        Vec::new()
    }

    /// A larger budget, for each budget that is enough alone.
    fn larger_budget(&mut self) -> Vec<Relaxation> {
        let (scene, dataset) = (self.scene, self.dataset);
        let mut found = Vec::new();
        for (budget, spent) in scene.ground.budgets.iter().zip(&scene.spent) {
            let unlimited = |changed: &mut Problem| match budget.unit {
                BudgetUnit::Cost => changed.policies[budget.policy].cost_per_month = None,
                BudgetUnit::CarbonKg => changed.policies[budget.policy].carbon_kg_per_month = None,
            };
            let Some((changed, solution)) = self.satisfying(unlimited) else {
                continue;
            };
            let subject = &changed.datasets[0];
            let of = |set: &[usize]| {
                set.iter()
                    .map(|b| budget.spends(&changed, subject, *b))
                    .sum::<f64>()
            };
            let needed = spent - of(&scene.solution.sets[dataset]) + of(&solution.sets[0]);
            let policy = &scene.problem.policies[budget.policy].name;
            let field = match budget.unit {
                BudgetUnit::Cost => "costPerMonth",
                BudgetUnit::CarbonKg => "carbonKgPerMonth",
            };
            // Rounded up, so that what is written is enough.
            let change = format!("{field}: {:.4}", (needed * 1e4).ceil() / 1e4);
            let message = format!("raise the budget of policy `{policy}` to {change}");
            found.push(Relaxation {
                rule: policy.to_string(),
                change,
                message,
            });
        }
        found
    }
}

/// How a backend's own state is lifted.
fn lifted(rule: &str, backend: &str) -> String {
    match rule {
        "drain" => format!("stop draining `{backend}`"),
        "cordon" => format!("uncordon `{backend}`"),
        "accessMode" => format!("make `{backend}` writable"),
        _ => format!("bring `{backend}` back"),
    }
}
