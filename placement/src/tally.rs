//! How many backends fit and why the others do not, counted as the Kubernetes scheduler counts nodes: every backend
//! once, under the first of its reasons, so that the numbers add up.

use std::collections::BTreeMap;
use std::fmt;

use crate::ground::{self, Cause};
use crate::problem::{RefusalKind, Requirement};
use crate::refusals::Scene;
use crate::solution::Stuck;

/// How many backends fit, and why the others do not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Backends that hold a copy that counts, or could.
    pub fit: usize,
    /// All backends: those that fit and every count of `reasons`.
    pub total: usize,
    /// A reason in a few words and the backends that it keeps out first, the most first.
    pub reasons: Vec<(String, usize)>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} backends fit", self.fit, self.total)?;
        for (at, (reason, count)) in self.reasons.iter().enumerate() {
            write!(f, "{} {count} {reason}", if at == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

/// Why a backend does not fit, in the order in which reasons are looked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum First {
    Confinement(String),
    Admission(String),
    Draining,
    Cordoned,
    ReadOnly,
    Unreachable,
    NoSource,
    NoWay,
    DamagedOrigin,
    OriginThere,
    Other(String),
    Elsewhere(String),
    Full,
    Circle,
    Relays,
    Budget(String),
    NoNewGroup(String),
}

impl fmt::Display for First {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confinement(rule) => write!(f, "confinement {rule}"),
            Self::Admission(rule) => write!(f, "admission {rule}"),
            Self::Draining => f.write_str("draining"),
            Self::Cordoned => f.write_str("cordoned"),
            Self::ReadOnly => f.write_str("read-only"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::NoSource => f.write_str("without a copy to read from"),
            Self::NoWay => f.write_str("where no link leads"),
            Self::DamagedOrigin => f.write_str("with a damaged origin"),
            Self::OriginThere => f.write_str("with an origin in its folder"),
            Self::Other(rule) => f.write_str(rule),
            Self::Elsewhere(requirement) => write!(f, "requirement {requirement}"),
            Self::Full => f.write_str("full"),
            Self::Circle => f.write_str("waiting in a circle for room"),
            Self::Relays => f.write_str("behind relays without room"),
            Self::Budget(policy) => write!(f, "budget {policy}"),
            Self::NoNewGroup(key) => write!(f, "adding no new {key}"),
        }
    }
}

/// Counts the backends for some requirements of a dataset.
pub(crate) fn tally(scene: &Scene<'_>, dataset: usize, requirements: &[&Requirement]) -> Tally {
    let total = scene.problem.backends.len();
    let mut counts: BTreeMap<First, usize> = BTreeMap::new();
    let mut fit = 0;
    for backend in 0..total {
        match first(scene, dataset, backend, requirements) {
            Some(reason) => *counts.entry(reason).or_default() += 1,
            None => fit += 1,
        }
    }
    let mut reasons: Vec<_> = counts.into_iter().collect();
    // Stable, so that equal counts stay in the order of the reasons.
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Tally {
        fit,
        total,
        reasons: reasons
            .into_iter()
            .map(|(reason, count)| (reason.to_string(), count))
            .collect(),
    }
}

/// Counts the backends for what a dataset lacks, or for all that it requires if it lacks nothing.
pub(crate) fn of_dataset(scene: &Scene<'_>, dataset: usize) -> Tally {
    let all = || {
        let positions = scene.problem.datasets[dataset].profile.requirements.iter();
        positions.map(|position| &scene.problem.requirements[*position])
    };
    let lacking: Vec<_> = all()
        .filter(|requirement| scene.missing(dataset, requirement).is_some())
        .collect();
    if lacking.is_empty() {
        tally(scene, dataset, &all().collect::<Vec<_>>())
    } else {
        tally(scene, dataset, &lacking)
    }
}

fn first(scene: &Scene<'_>, dataset: usize, backend: usize, requirements: &[&Requirement]) -> Option<First> {
    let (problem, subject) = (scene.problem, &scene.problem.datasets[dataset]);
    let causes = ground::causes(problem, scene.ground, subject, backend);
    let overfull = causes.contains(&Cause::Overfull);
    if let Some(reason) = causes.iter().filter_map(|cause| of_cause(scene, cause)).min() {
        return Some(reason);
    }
    let accepting: Vec<_> = requirements.iter().filter(|r| r.accepts[backend]).collect();
    if let (true, Some(requirement)) = (accepting.is_empty(), requirements.first()) {
        return Some(First::Elsewhere(requirement.name.clone()));
    }
    if scene.solution.sets[dataset].contains(&backend) {
        return None;
    }
    if overfull || !scene.has_room(dataset, backend) {
        return Some(First::Full);
    }
    match scene.solution.stuck.get(&dataset) {
        Some(Stuck::Circle(_)) => return Some(First::Circle),
        Some(Stuck::Relays(_)) => return Some(First::Relays),
        // Only satisfied datasets wait for a change to pay back.
        Some(Stuck::Payback(_)) | None => {}
    }
    let mut budgets = scene.ground.budgets.iter().zip(&scene.spent);
    let exceeded = budgets.find(|(budget, spent)| {
        let spends = budget.spends(problem, subject, backend);
        spends > 0.0 && !budget.allows(*spent + spends)
    });
    if let Some((budget, _)) = exceeded {
        return Some(First::Budget(problem.policies[budget.policy].name.to_string()));
    }
    no_new_group(scene, dataset, backend, &accepting)
}

/// What keeps a copy from being there at all.
fn of_cause(scene: &Scene<'_>, cause: &Cause) -> Option<First> {
    match cause {
        Cause::Rule(reason) => {
            let reason = &scene.problem.reasons[*reason];
            let rule = reason.rule.clone();
            Some(match reason.kind {
                RefusalKind::Confinement => First::Confinement(rule),
                RefusalKind::Admission => First::Admission(rule),
                RefusalKind::Cordoned if rule == "drain" => First::Draining,
                RefusalKind::Cordoned => First::Cordoned,
                RefusalKind::ReadOnly if rule == "origin" => First::OriginThere,
                RefusalKind::ReadOnly => First::ReadOnly,
                RefusalKind::Unreachable => First::Unreachable,
                RefusalKind::Requirement | RefusalKind::Capacity | RefusalKind::Budget => First::Other(rule),
            })
        }
        Cause::NoSource => Some(First::NoSource),
        Cause::NoWay => Some(First::NoWay),
        Cause::DamagedOrigin => Some(First::DamagedOrigin),
        // Too little room is looked for last.
        Cause::Overfull => None,
    }
}

/// A spread that is what alone is lacking, and to which the backend would add nothing.
fn no_new_group(
    scene: &Scene<'_>,
    dataset: usize,
    backend: usize,
    accepting: &[&&Requirement],
) -> Option<First> {
    let mut useless = None;
    for requirement in accepting {
        let had = scene.had(dataset, requirement);
        if had.is_all_of(requirement) {
            continue;
        }
        if had.copies < requirement.copies {
            return None;
        }
        let counting = scene.counting(dataset, requirement);
        for (spread, groups) in requirement.spread.iter().zip(&had.groups) {
            if *groups >= spread.groups {
                continue;
            }
            let known = |group: usize| counting.iter().any(|b| spread.group_of[*b] == Some(group));
            if spread.group_of[backend].is_some_and(|group| !known(group)) {
                return None;
            }
            useless.get_or_insert(First::NoNewGroup(spread.across.clone()));
        }
    }
    useless
}
