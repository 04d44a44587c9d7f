//! What follows from a problem before anything is chosen: what is used and spent now, and who may take what.

use domicile_estate::CopyState;

use crate::cost::{carbon_kg_per_month, made, price_per_kg, storage_per_month, transfer};
use crate::problem::{Bars, Problem, RefusalKind, Subject};

/// Relative slack of a budget, for amounts of money are sums of rounded doubles. Capacities have none.
pub const BUDGET_SLACK: f64 = 1e-9;

/// Room and money, as they stand now and as they limit a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Ground {
    /// Bytes that recorded copies occupy, for each backend.
    pub used: Vec<u128>,
    /// Bytes that a plan may occupy: the capacity, or what is used where that is more already.
    pub room: Vec<u128>,
    /// What every enforced budget and limit of movement says, in the order of the policies.
    pub budgets: Vec<BudgetLimit>,
}

/// One enforced budget, or one enforced limit of what a plan may move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetLimit {
    /// The policy.
    pub policy: usize,
    /// What it counts.
    pub unit: BudgetUnit,
    /// What the manifest says.
    pub stated: f64,
    /// What is spent now.
    pub spent: f64,
}

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BudgetUnit {
    /// Storage plus priced carbon per month.
    Cost,
    /// Storage carbon in kg CO2e per month.
    CarbonKg,
    /// Bytes that new copies take to make, once.
    MoveBytes,
    /// Money that new copies cost to make, once, without priced carbon.
    MoveCost,
}

impl BudgetUnit {
    /// Whether it counts what one plan moves, and not what copies cost while they are there.
    #[must_use]
    pub fn is_movement(self) -> bool {
        matches!(self, Self::MoveBytes | Self::MoveCost)
    }
}

impl BudgetLimit {
    /// What a plan may spend: the budget, or what is spent where that is more already.
    #[must_use]
    pub fn limit(&self) -> f64 {
        self.stated.max(self.spent)
    }

    /// What rounding may add to an amount. Bytes are whole, and have none.
    #[must_use]
    pub fn slack(&self, amount: f64) -> f64 {
        match self.unit {
            BudgetUnit::MoveBytes => 0.5,
            _ => BUDGET_SLACK * amount.abs().max(1e-6),
        }
    }

    /// Whether what is spent now keeps to what the manifest says.
    #[must_use]
    pub fn allows_as_stated(&self) -> bool {
        self.spent <= self.stated + self.slack(self.stated)
    }

    /// Whether an amount keeps to the limit.
    #[must_use]
    pub fn allows(&self, amount: f64) -> bool {
        amount <= self.limit() + self.slack(self.limit())
    }

    /// What one copy spends of it; nothing if the policy does not select the dataset.
    #[must_use]
    pub fn spends(&self, problem: &Problem, subject: &Subject, backend: usize) -> f64 {
        if subject.profile.policies.binary_search(&self.policy).is_err() {
            return 0.0;
        }
        let place = &problem.backends[backend];
        let carbon_kg = || carbon_kg_per_month(subject, place);
        let made = || made(problem, subject, backend);
        match self.unit {
            BudgetUnit::Cost => storage_per_month(subject, place) + carbon_kg() * price_per_kg(subject),
            BudgetUnit::CarbonKg => carbon_kg(),
            BudgetUnit::MoveBytes => made().map_or(0.0, |made| made.bytes as f64),
            BudgetUnit::MoveCost => made().map_or(0.0, |made| made.money),
        }
    }
}

impl Ground {
    /// Takes stock.
    #[must_use]
    pub fn of(problem: &Problem) -> Self {
        let mut used = vec![0u128; problem.backends.len()];
        for subject in &problem.datasets {
            for held in &subject.copies {
                used[held.backend] += u128::from(subject.summary.bytes.0);
            }
        }
        let room = problem
            .backends
            .iter()
            .zip(&used)
            .map(|(place, used)| u128::from(place.capacity.0).max(*used))
            .collect();
        let mut budgets = Vec::new();
        for (policy, terms) in problem
            .policies
            .iter()
            .enumerate()
            .filter(|(_, terms)| terms.enforced)
        {
            let stated = [
                (BudgetUnit::Cost, terms.cost_per_month),
                (BudgetUnit::CarbonKg, terms.carbon_kg_per_month),
                (
                    BudgetUnit::MoveBytes,
                    terms.movement.bytes.map(|bytes| bytes as f64),
                ),
                (BudgetUnit::MoveCost, terms.movement.cost),
            ];
            for (unit, stated) in stated {
                budgets.extend(stated.map(|stated| BudgetLimit {
                    policy,
                    unit,
                    stated,
                    spent: 0.0,
                }));
            }
        }
        for budget in &mut budgets {
            budget.spent = spent_now(problem, budget);
        }
        Self { used, room, budgets }
    }

    /// Whether a backend holds more than its capacity already: it takes nothing new.
    #[must_use]
    pub fn is_overfull(&self, problem: &Problem, backend: usize) -> bool {
        self.used[backend] > u128::from(problem.backends[backend].capacity.0)
    }
}

fn spent_now(problem: &Problem, budget: &BudgetLimit) -> f64 {
    let of_subject = |subject: &Subject| -> f64 {
        subject
            .now()
            .into_iter()
            .map(|backend| budget.spends(problem, subject, backend))
            .sum()
    };
    problem
        .datasets
        .iter()
        .filter(|subject| subject.profile.policies.contains(&budget.policy))
        .map(of_subject)
        .sum()
}

/// Why a backend may not hold, or take, a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A rule, in [`Problem::reasons`].
    Rule(usize),
    /// There is no current copy to read from.
    NoSource,
    /// Links forbid every way there from a current copy.
    NoWay,
    /// The origin there is damaged, and we never change an origin.
    DamagedOrigin,
    /// The backend holds more than its capacity already.
    Overfull,
}

/// Everything that keeps a backend from counting for a dataset; empty: it is admissible.
#[must_use]
pub fn causes(problem: &Problem, ground: &Ground, subject: &Subject, backend: usize) -> Vec<Cause> {
    let held = subject.copy_on(backend);
    let current = held.is_some_and(crate::problem::Held::is_current);
    let binds = |reason: &usize| !current || problem.reasons[*reason].bars == Bars::Every;
    let mut causes: Vec<_> = problem
        .reasons_against(subject, backend)
        .filter(binds)
        .map(Cause::Rule)
        .collect();
    if current {
        return causes;
    }
    if !subject.has_current() {
        causes.push(Cause::NoSource);
    } else if held.is_some_and(|held| held.origin) {
        causes.push(Cause::DamagedOrigin);
    } else if held.is_none() && ground.is_overfull(problem, backend) {
        causes.push(Cause::Overfull);
    } else if !problem.links.is_empty() && transfer(problem, subject, backend).is_none() {
        causes.push(Cause::NoWay);
    }
    causes
}

/// The same for a backend that holds nothing of a dataset, where the dataset has a current copy and no link speaks of any
/// way there.
#[must_use]
pub(crate) fn causes_of_new(
    problem: &Problem,
    ground: &Ground,
    subject: &Subject,
    backend: usize,
) -> Vec<Cause> {
    let rules = problem.reasons_against(subject, backend).map(Cause::Rule);
    let overfull = ground.is_overfull(problem, backend).then_some(Cause::Overfull);
    rules.chain(overfull).collect()
}

/// What a dataset keeps if nothing is made: what is there now as far as it is admissible (and the kept origin); if
/// that is nothing, what is there now.
#[must_use]
pub fn stay(problem: &Problem, ground: &Ground, subject: &Subject) -> Vec<usize> {
    let now = subject.now();
    if !subject.has_current() {
        return now;
    }
    if !subject.is_reached() {
        return stay_unreached(problem, subject, now);
    }
    let origin = subject.kept_origin();
    let may_stay =
        |backend: &usize| origin == Some(*backend) || causes(problem, ground, subject, *backend).is_empty();
    let kept: Vec<_> = now.iter().copied().filter(may_stay).collect();
    // A damaged origin alone would leave nothing whole.
    if kept.iter().any(|backend| subject.is_current_on(*backend)) {
        kept
    } else {
        now
    }
}

/// Only a confinement retires copies of a dataset that no requirement reaches, never the last one.
fn stay_unreached(problem: &Problem, subject: &Subject, now: Vec<usize>) -> Vec<usize> {
    let origin = subject.kept_origin();
    let may_stay =
        |backend: &usize| origin == Some(*backend) || !is_confined_away(problem, subject, *backend);
    let kept: Vec<_> = now.iter().copied().filter(may_stay).collect();
    let last_is_current = kept.iter().any(|backend| subject.is_current_on(*backend));
    if last_is_current {
        return kept;
    }
    let cost = |backend: usize| {
        let place = &problem.backends[backend];
        storage_per_month(subject, place) + carbon_kg_per_month(subject, place) * price_per_kg(subject)
    };
    let cheapest = now
        .into_iter()
        .filter(|backend| subject.is_current_on(*backend))
        .reduce(|best, next| if cost(next) < cost(best) { next } else { best });
    let mut kept: Vec<_> = kept.into_iter().chain(cheapest).collect();
    kept.sort_unstable();
    kept.dedup();
    kept
}

/// Whether a confinement refuses a backend for a dataset.
#[must_use]
pub fn is_confined_away(problem: &Problem, subject: &Subject, backend: usize) -> bool {
    problem
        .reasons_against(subject, backend)
        .any(|reason| problem.reasons[reason].kind == RefusalKind::Confinement)
}

/// Whether nothing may be deleted on a backend.
#[must_use]
pub fn is_read_only(problem: &Problem, backend: usize) -> bool {
    let reasons = &problem.backends[backend].reasons;
    reasons
        .iter()
        .any(|reason| problem.reasons[*reason].kind == RefusalKind::ReadOnly)
}

/// The backends outside a dataset's set whose recorded copies a plan leaves where they are. What is unknown or on a
/// read-only backend is never retired; without a current copy nothing is; and of a dataset that no requirement reaches
/// only what is current (or being retired, or confined away) is.
///
/// What is left on a read-only backend takes no room from anything: nothing new goes there.
#[must_use]
pub fn left_alone(problem: &Problem, subject: &Subject, set: &[usize]) -> Vec<usize> {
    let anything_retires = subject.has_current();
    let stays = |held: &&crate::problem::Held| {
        let retires = match held.state {
            CopyState::Unknown => false,
            CopyState::Verified | CopyState::Listed | CopyState::Retiring => true,
            CopyState::Incomplete | CopyState::Damaged => {
                subject.is_reached() || is_confined_away(problem, subject, held.backend)
            }
        };
        let retires = anything_retires && retires && !is_read_only(problem, held.backend);
        !set.contains(&held.backend) && !retires
    };
    subject
        .copies
        .iter()
        .filter(stays)
        .map(|held| held.backend)
        .collect()
}

/// Whether the copy on a backend occupies it whatever is chosen: an unknown copy of a reached dataset, a kept origin.
#[must_use]
pub fn stays_anyway(subject: &Subject, backend: usize) -> bool {
    subject.kept_origin() == Some(backend)
        || subject
            .copy_on(backend)
            .is_some_and(|held| held.state == CopyState::Unknown)
}
