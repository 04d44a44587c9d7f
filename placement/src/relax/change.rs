//! One change that may be proposed: how it is applied to a problem, and how it is said.

use std::sync::Arc;

use domicile_estate::ByteCount;

use super::Relaxation;
use crate::ground::BudgetUnit;
use crate::problem::{Problem, RefusalKind, Requirement};

/// One change of what the manifests say.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// A requirement asks for less, of every dataset that it reaches.
    Require(Less),
    /// A confinement or an admission rule (by its reason) does not hold for this dataset.
    Lift(usize),
    /// A backend's own state (by its reason) is lifted.
    State { backend: usize, reason: usize },
    /// A backend may hold so many bytes.
    Capacity { backend: usize, bytes: u64 },
    /// A policy may spend so much per month; what one plan may move are changes of their own.
    Budget {
        policy: usize,
        unit: BudgetUnit,
        amount: f64,
    },
    /// One plan may move so many bytes of a policy's datasets.
    MovedBytes { policy: usize, bytes: u64 },
    /// One plan may pay so much for moving a policy's datasets.
    MovedCost { policy: usize, amount: f64 },
}

/// What a requirement asks for once it asks for less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Less {
    /// One of the places where the requirement is stated; every other of the same policy and name changes too.
    pub position: usize,
    /// Copies.
    pub copies: u32,
    /// For each spread, groups; 0: the spread is left out.
    pub groups: Vec<u32>,
    /// Thousandths of a nine; `None` where no durability is asked for.
    pub milli_nines: Option<u32>,
}

impl Less {
    /// What a requirement asks for as it stands.
    pub fn stated(position: usize, requirement: &Requirement) -> Self {
        Self {
            position,
            copies: requirement.copies,
            groups: requirement.spread.iter().map(|spread| spread.groups).collect(),
            milli_nines: requirement.durability.as_ref().map(|asked| asked.milli_nines),
        }
    }

    /// Lowers one requirement; nothing is ever asked for that was not.
    fn lower(&self, requirement: &mut Requirement) {
        requirement.copies = requirement.copies.min(self.copies);
        for (spread, groups) in requirement.spread.iter_mut().zip(&self.groups) {
            spread.groups = spread.groups.min(*groups);
        }
        requirement.spread.retain(|spread| spread.groups > 0);
        if let (Some(asked), Some(nines)) = (&mut requirement.durability, self.milli_nines) {
            asked.milli_nines = asked.milli_nines.min(nines);
        }
    }

    fn words(&self, stated: &Requirement) -> String {
        let mut words = Vec::new();
        if self.copies < stated.copies {
            words.push(format!("copies: {}", self.copies));
        }
        for (spread, groups) in stated.spread.iter().zip(&self.groups) {
            if *groups == 0 {
                words.push(format!("no spread across {}", spread.across));
            } else if *groups < spread.groups {
                words.push(format!("groups across {}: {groups}", spread.across));
            }
        }
        if let (Some(asked), Some(nines)) = (&stated.durability, self.milli_nines)
            && nines < asked.milli_nines
        {
            words.push(format!("nines: {}", thousandths(nines)));
        }
        words.join(", ")
    }
}

impl Change {
    /// Makes the change in a problem, for the dataset at a position of it.
    pub fn apply(&self, problem: &mut Problem, dataset: usize) {
        match self {
            Self::Require(less) => {
                let (policy, name) = {
                    let stated = &problem.requirements[less.position];
                    (stated.policy, stated.name.clone())
                };
                let same = |r: &&mut Requirement| r.policy == policy && r.name == name;
                problem
                    .requirements
                    .iter_mut()
                    .filter(same)
                    .for_each(|r| less.lower(r));
            }
            Self::Lift(reason) => Arc::make_mut(&mut problem.datasets[dataset].profile)
                .refused
                .retain(|refused| refused.reason != *reason),
            Self::State { backend, reason } => {
                let reasons = &problem.reasons;
                let place = &mut problem.backends[*backend];
                place.reasons.retain(|own| own != reason);
                let silent = |own: &usize| reasons[*own].kind == RefusalKind::Unreachable;
                place.reachable = !place.reasons.iter().any(silent);
            }
            Self::Capacity { backend, bytes } => problem.backends[*backend].capacity = ByteCount(*bytes),
            Self::Budget { policy, unit, amount } => {
                let terms = &mut problem.policies[*policy];
                match unit {
                    BudgetUnit::Cost => terms.cost_per_month = Some(*amount),
                    BudgetUnit::CarbonKg => terms.carbon_kg_per_month = Some(*amount),
                    BudgetUnit::MoveBytes | BudgetUnit::MoveCost => {}
                }
            }
            Self::MovedBytes { policy, bytes } => problem.policies[*policy].movement.bytes = Some(*bytes),
            Self::MovedCost { policy, amount } => problem.policies[*policy].movement.cost = Some(*amount),
        }
    }

    /// The change in words, given the problem as it stands.
    pub fn relaxation(&self, problem: &Problem) -> Relaxation {
        let (rule, change, message) = match self {
            Self::Require(less) => {
                let stated = &problem.requirements[less.position];
                let policy = &problem.policies[stated.policy].name;
                let change = less.words(stated);
                let message = format!(
                    "policy `{policy}`, requirement `{}`: ask for {change}",
                    stated.name
                );
                (stated.name.clone(), change, message)
            }
            Self::Lift(reason) => {
                let reason = &problem.reasons[*reason];
                let (change, what) = match reason.kind {
                    RefusalKind::Admission => ("admit it", "admit this dataset in spite of"),
                    RefusalKind::ReadOnly => (
                        "keep them apart",
                        "give this dataset another name, or that origin another folder:",
                    ),
                    _ => ("drop it", "drop, or let this dataset be exempt from,"),
                };
                let message = format!("{what} {}", reason.message);
                (reason.rule.clone(), change.to_owned(), message)
            }
            Self::State { backend, reason } => {
                let (reason, name) = (&problem.reasons[*reason], &problem.backends[*backend].name);
                let change = lifted(&reason.rule, name.as_str());
                let message = format!("{change}: {}", reason.message);
                (reason.rule.clone(), change, message)
            }
            Self::Capacity { backend, bytes } => {
                let place = &problem.backends[*backend];
                let more = ByteCount(bytes.saturating_sub(place.capacity.0));
                let change = format!("{} bytes more on {}", more.0, place.name);
                let message = format!(
                    "give backend `{}` {more} ({} bytes) more capacity",
                    place.name, more.0
                );
                ("capacity".to_owned(), change, message)
            }
            Self::Budget { policy, unit, amount } => {
                let field = match unit {
                    BudgetUnit::CarbonKg => "carbonKgPerMonth",
                    _ => "costPerMonth",
                };
                let name = &problem.policies[*policy].name;
                let change = format!("{field}: {}", written(*amount));
                let message = format!("raise the budget of policy `{name}` to {change}");
                (name.to_string(), change, message)
            }
            Self::MovedBytes { policy, bytes } => {
                let name = &problem.policies[*policy].name;
                let message = format!(
                    "let one plan move {} ({bytes} bytes) of the datasets of policy `{name}`",
                    ByteCount(*bytes)
                );
                (name.to_string(), format!("movement: {bytes} bytes"), message)
            }
            Self::MovedCost { policy, amount } => {
                let name = &problem.policies[*policy].name;
                let words = format!("{} {}", written(*amount), problem.currency);
                let message = format!("let one plan pay {words} for moving the datasets of policy `{name}`");
                (name.to_string(), format!("movement: {words}"), message)
            }
        };
        Relaxation {
            rule,
            change,
            message,
        }
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

/// Thousandths as a decimal: 3500 is `3.5`.
pub(crate) fn thousandths(of: u32) -> String {
    let text = format!("{}.{:03}", of / 1000, of % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The step in which an amount is shown: a ten-thousandth, or its fourth digit where it is smaller than that shows.
pub(super) fn step(amount: f64) -> f64 {
    10f64.powi(-decimals(amount))
}

fn decimals(amount: f64) -> i32 {
    if amount >= 0.1 || amount <= 0.0 {
        return 4;
    }
    // A double has no digit past 1e-300 worth writing; a manifest takes what is written here.
    (3 - amount.log10().floor() as i32).clamp(4, 300)
}

/// An amount in its steps.
fn written(amount: f64) -> String {
    let places = usize::try_from(decimals(amount)).unwrap_or(4);
    format!("{amount:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_amounts_keep_four_digits() {
        assert_eq!(written(12.3), "12.3000");
        assert_eq!(written(0.001_234_5), "0.001234");
        assert!((step(0.001_234_5) - 1e-6).abs() < 1e-18);
        assert_eq!(written(0.0), "0.0000");
        assert_eq!(thousandths(3500), "3.5");
        assert_eq!(thousandths(4000), "4");
    }
}
