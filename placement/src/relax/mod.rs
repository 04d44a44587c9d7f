//! What would help: the smallest changes that would satisfy a dataset, each tried out by planning anew.
//!
//! Single changes are tried one by one; where none helps, an elastic linear program ([`elastic`]) says which would have
//! to go together. Nothing is offered that was not tried, and no amount that could be less: one copy more, one byte or
//! one step of money less no longer satisfies the dataset. In a small estate a try plans everything anew; in a large
//! one the other datasets stay as planned, and the message says so; while it does not cost too much, what was found is then
//! planned anew once, and offered only if that satisfies the dataset as well.

mod change;
mod elastic;
mod least;
mod trial;

use crate::problem::Problem;
use crate::refusals::Scene;

pub(crate) use change::thousandths;
pub(crate) use trial::Effort;

use change::Change;
use trial::Trial;

/// Changes that are reported for one dataset.
const REPORTED: usize = 12;
/// Changes in one combination; more nobody would carry out.
const COMBINED: usize = 4;
/// Times that a combination is made smaller.
const ROUNDS: usize = 5;
/// Other datasets that are named as going without.
const NAMED: usize = 3;

/// One change that would satisfy a dataset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relaxation {
    /// The rule to change; of a combination all of them, with `, ` between.
    pub rule: String,
    /// The change, briefly; of a combination all of them, with `; ` between.
    pub change: String,
    /// The same for people.
    pub message: String,
}

/// The changes that would satisfy a dataset.
pub(crate) fn relaxations(scene: &Scene<'_>, dataset: usize, effort: &mut Effort) -> Vec<Relaxation> {
    let whole = Trial::whole(scene, dataset, effort).and_then(|mut trial| {
        let found = found_by(&mut trial);
        // What the whole estate refuses is not offered on the strength of a lesser trial.
        (!found.is_empty() || !trial.is_spent()).then_some(found)
    });
    let mut found = whole.unwrap_or_else(|| found_by(&mut Trial::beside(scene, dataset, effort)));
    found.truncate(REPORTED);
    found.sort();
    found
}

fn found_by(trial: &mut Trial<'_>) -> Vec<Relaxation> {
    let fewer = least::requirements(trial);
    let mut more: Vec<Vec<Change>> = Vec::new();
    trial.refill();
    more.extend(rules_lifted(trial).into_iter().map(|change| vec![change]));
    trial.refill();
    more.extend(least::capacity(trial).map(|change| vec![change]));
    trial.refill();
    more.extend(least::allowances(trial).into_iter().map(|change| vec![change]));
    if more.is_empty() {
        trial.refill();
        more.extend(combinations(trial));
    }
    trial.refill();
    fewer
        .into_iter()
        .chain(more)
        .filter_map(|changes| offered(trial, &changes))
        .collect()
}

/// A change in words, tried for the last time, with whom it harms.
fn offered(trial: &mut Trial<'_>, changes: &[Change]) -> Option<Relaxation> {
    let problem = trial.scene.problem;
    let answer = trial.satisfying(changes)?;
    let single: Vec<_> = changes.iter().map(|change| change.relaxation(problem)).collect();
    let join = |of: fn(&Relaxation) -> &str, by: &str| single.iter().map(of).collect::<Vec<_>>().join(by);
    let mut message = join(|relaxation| &relaxation.message, "; and ");
    let victims = if trial.whole {
        answer.victims
    } else {
        match trial.verified(changes) {
            Some(victims) => {
                message.push_str(" (found with all other datasets left as planned, then planned anew)");
                victims?
            }
            None => {
                message.push_str(" (tried with all other datasets left as planned)");
                Vec::new()
            }
        }
    };
    if !victims.is_empty() {
        message.push_str(&harmed(problem, &victims));
    }
    Some(Relaxation {
        rule: join(|relaxation| &relaxation.rule, ", "),
        change: join(|relaxation| &relaxation.change, "; "),
        message,
    })
}

fn harmed(problem: &Problem, victims: &[usize]) -> String {
    let mut names: Vec<_> = victims
        .iter()
        .take(NAMED)
        .map(|dataset| format!("`{}`", problem.datasets[*dataset].name))
        .collect();
    if victims.len() > NAMED {
        names.push(format!("{} more", victims.len() - NAMED));
    }
    format!(" (but {} would then be unsatisfied)", names.join(", "))
}

/// One rule less: a confinement or an admission rule for this dataset, or a backend's own state.
fn rules_lifted(trial: &mut Trial<'_>) -> Vec<Change> {
    let problem = trial.scene.problem;
    let mut rules: Vec<_> = problem.datasets[trial.dataset]
        .profile
        .refused
        .iter()
        .map(|refused| refused.reason)
        .collect();
    rules.sort_unstable();
    rules.dedup();
    let states = (0..problem.backends.len()).flat_map(|backend| {
        let reasons = problem.backends[backend].reasons.iter();
        reasons.map(move |reason| Change::State {
            backend,
            reason: *reason,
        })
    });
    rules
        .into_iter()
        .map(Change::Lift)
        .chain(states)
        .filter(|change| trial.satisfying(std::slice::from_ref(change)).is_some())
        .collect()
}

/// Changes that satisfy the dataset together and of which none can be left out.
fn combinations(trial: &mut Trial<'_>) -> Vec<Vec<Change>> {
    let mut found: Vec<Vec<Change>> = Vec::new();
    for proposed in elastic::proposals(trial) {
        let Some(needed) = needed(trial, proposed) else {
            continue;
        };
        // Asking for less alone was tried before.
        let is_new = needed.iter().any(|change| !matches!(change, Change::Require(_)));
        if is_new && !found.contains(&needed) {
            found.push(needed);
        }
    }
    found
}

/// What is needed of a proposal, every amount as small as it goes. Once amounts are small another member may be needed no
/// longer, so that both are done until neither finds anything.
fn needed(trial: &mut Trial<'_>, mut changes: Vec<Change>) -> Option<Vec<Change>> {
    trial.satisfying(&changes)?;
    for round in 0..ROUNDS {
        let before = changes.clone();
        leave_out(trial, &mut changes);
        if changes.len() > COMBINED {
            return None;
        }
        if round > 0 && changes == before {
            return (!trial.is_exhausted()).then_some(changes);
        }
        for at in 0..changes.len() {
            let mut others = changes.clone();
            let change = others.remove(at);
            changes[at] = least::shrunk(trial, &others, &change)?;
        }
    }
    None
}

/// Leaves out what is not needed.
fn leave_out(trial: &mut Trial<'_>, changes: &mut Vec<Change>) {
    let mut at = changes.len();
    while at > 0 {
        at -= 1;
        let mut fewer = changes.clone();
        fewer.remove(at);
        if trial.satisfying(&fewer).is_some() {
            *changes = fewer;
        }
    }
}
