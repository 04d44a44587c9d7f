//! The rules restated, independently of the solver: every solution passes here before anyone sees it.
//!
//! It shares with the solver only the formulas of cost. What is admissible, what a requirement asks for and what fits
//! is said here once more, in the plainest way.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{BackendName, CopyState, DatasetName, PolicyName};

use crate::cost::{self, Objective};
use crate::problem::{Bars, Durability, Problem, RefusalKind, Subject};
use crate::solution::Solution;

mod money;

pub use money::check_payback;
use money::{check_budgets, check_movement, list_of, storage_charged};

/// Relative difference that rounding may leave between two sums of money.
const ROUNDING: f64 = 1e-9;
/// Below this every whole number is a double.
const WHOLE_DOUBLES: f64 = 9_007_199_254_740_992.0;
/// Days of a month, as payback counts them: a year of 365.25 days has twelve.
const DAYS_PER_MONTH: f64 = 30.4375;

/// What a checked solution amounts to.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The objective, recomputed.
    pub objective: Objective,
    /// For each dataset, its missing copies, groups and thousandths of a nine over all requirements.
    pub missing: Vec<(u32, u32, u32)>,
    /// Bytes that each backend holds in the state that the plan leads to.
    pub used: Vec<u128>,
}

/// A rule that a solution breaks. Each is a bug of the solver.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Violated {
    /// The solution is of another problem.
    #[error(
        "the solution does not have one sorted set of known backends for each dataset and one price for each backend"
    )]
    Shape,
    /// PL-1.
    #[error("PL-1: dataset `{dataset}` would have a copy on backend `{backend}`, which is not admissible")]
    Inadmissible {
        /// The dataset.
        dataset: DatasetName,
        /// The backend.
        backend: BackendName,
    },
    /// The origin that must stay does not.
    #[error("dataset `{dataset}` would lose its origin on backend `{backend}`")]
    OriginLost {
        /// The dataset.
        dataset: DatasetName,
        /// The backend.
        backend: BackendName,
    },
    /// Nothing whole would be left, or a dataset that no requirement reaches would be moved.
    #[error("dataset `{dataset}` would not keep what it must keep")]
    NotKept {
        /// The dataset.
        dataset: DatasetName,
    },
    /// PL-2, or a satisfied dataset would become less satisfied.
    #[error("PL-2: dataset `{dataset}` would miss more copies or groups than it does now")]
    LessSatisfied {
        /// The dataset.
        dataset: DatasetName,
    },
    /// PL-3.
    #[error("PL-3: backend `{backend}` would hold {used} of {room} bytes")]
    OverCapacity {
        /// The backend.
        backend: BackendName,
        /// What it would hold.
        used: u128,
        /// What it may hold.
        room: u128,
    },
    /// A budget.
    #[error("policy `{policy}` would spend {spent} of {limit}")]
    OverBudget {
        /// The policy.
        policy: PolicyName,
        /// What it would spend.
        spent: f64,
        /// What it may spend.
        limit: f64,
    },
    /// A limit of what one plan may move.
    #[error("policy `{policy}` would move {moved} of {limit} ({what})")]
    OverMovement {
        /// The policy.
        policy: PolicyName,
        /// Bytes or money.
        what: &'static str,
        /// What it would move.
        moved: f64,
        /// What it may move.
        limit: f64,
    },
    /// A copy of a satisfied dataset is made for a change that does not pay back in time.
    #[error("dataset `{dataset}` would change though that does not pay back within {days} days")]
    NoPayback {
        /// The dataset.
        dataset: DatasetName,
        /// The days.
        days: u32,
    },
    /// The stated objective is not what the formulas give.
    #[error("the objective is stated as {stated}, and is {recomputed}")]
    WrongObjective {
        /// As stated.
        stated: f64,
        /// As recomputed.
        recomputed: f64,
    },
    /// PL-4.
    #[error("PL-4: the lower bound {bound} is above the objective {objective}")]
    BoundTooHigh {
        /// The bound.
        bound: f64,
        /// The objective.
        objective: f64,
    },
    /// A shadow price below zero, or not a number.
    #[error("the shadow price of backend `{backend}` is {price}")]
    WrongPrice {
        /// The backend.
        backend: BackendName,
        /// The price.
        price: f64,
    },
}

/// Checks a solution.
///
/// # Errors
/// Every rule that it breaks.
pub fn check(problem: &Problem, solution: &Solution) -> Result<Checked, Vec<Violated>> {
    if !has_shape(problem, solution) {
        return Err(vec![Violated::Shape]);
    }
    let scene = Scene {
        problem,
        used: used_now(problem),
    };
    let mut violated = Vec::new();
    for (subject, set) in problem.datasets.iter().zip(&solution.sets) {
        check_set(&scene, subject, set, &mut violated);
    }
    let used = used_after(problem, solution);
    check_room(&scene, &used, &mut violated);
    check_budgets(problem, solution, &mut violated);
    check_movement(problem, solution, &mut violated);
    let objective = cost::objective(problem, &solution.sets);
    check_proof(problem, solution, &objective, &mut violated);
    if !violated.is_empty() {
        return Err(violated);
    }
    let missing = problem
        .datasets
        .iter()
        .zip(&solution.sets)
        .map(|(subject, set)| scene.missing(subject, set));
    Ok(Checked {
        missing: missing.collect(),
        objective,
        used,
    })
}

/// The problem with what its backends hold now.
struct Scene<'a> {
    problem: &'a Problem,
    used: Vec<u128>,
}

fn has_shape(problem: &Problem, solution: &Solution) -> bool {
    let sorted = |set: &Vec<usize>| set.windows(2).all(|pair| pair[0] < pair[1]);
    let known = |set: &Vec<usize>| set.iter().all(|backend| *backend < problem.backends.len());
    solution.sets.len() == problem.datasets.len()
        && solution.shadow_prices.len() == problem.backends.len()
        && solution.sets.iter().all(|set| sorted(set) && known(set))
}

impl Scene<'_> {
    /// Rule 3: what may hold or take a copy of a dataset.
    fn is_admissible(&self, subject: &Subject, backend: usize) -> bool {
        let held = subject.copies.iter().find(|held| held.backend == backend);
        let current = held.is_some_and(|held| {
            held.state == CopyState::Verified || (held.origin && held.state == CopyState::Listed)
        });
        let rules = subject
            .profile
            .refused
            .iter()
            .filter(|refused| refused.backend == backend)
            .map(|refused| refused.reason);
        let all = rules.chain(self.problem.backends[backend].reasons.iter().copied());
        let refused = all
            .into_iter()
            .any(|reason| self.problem.reasons[reason].bars == Bars::Every || !current);
        let can_be_made = !held.is_some_and(|held| held.origin)
            && subject.copies.iter().any(|other| other.is_current())
            && (held.is_some()
                || self.used[backend] <= u128::from(self.problem.backends[backend].capacity.0))
            && self.has_way(subject, backend);
        !refused && (current || can_be_made)
    }

    /// Whether some way leads to a backend from another current copy that no link forbids, past relays that may hold
    /// the dataset for a while.
    fn has_way(&self, subject: &Subject, to: usize) -> bool {
        let problem = self.problem;
        if problem.links.is_empty() {
            return true;
        }
        let passes = |relay: usize| {
            let place = &problem.backends[relay];
            let refused = subject
                .profile
                .refused
                .iter()
                .any(|refused| refused.backend == relay);
            let empty = subject.copies.iter().all(|held| held.backend != relay);
            let fits = subject.summary.bytes <= place.capacity;
            place.relays && place.reachable && place.reasons.is_empty() && !refused && empty && fits
        };
        let mut reached: Vec<_> = current(subject).into_iter().filter(|from| *from != to).collect();
        let mut next = 0;
        while let Some(from) = reached.get(next).copied() {
            next += 1;
            let open = |to: &usize| !problem.links.get(&(from, *to)).is_some_and(|hop| hop.forbidden);
            if open(&to) {
                return true;
            }
            let relays = (0..problem.backends.len()).filter(|relay| open(relay) && passes(*relay));
            let new: Vec<_> = relays.filter(|relay| !reached.contains(relay)).collect();
            reached.extend(new);
        }
        false
    }

    /// For each requirement of a dataset, the copies and, for each of its spreads, the groups that a set has of what is
    /// asked for, beside what is asked for.
    fn met(&self, subject: &Subject, set: &[usize]) -> Vec<(u32, u32)> {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let mut met = Vec::new();
        for requirement in subject
            .profile
            .requirements
            .iter()
            .map(|index| &self.problem.requirements[*index])
        {
            let counts =
                |backend: &usize| requirement.accepts[*backend] && self.is_admissible(subject, *backend);
            let copies: Vec<_> = set.iter().copied().filter(counts).collect();
            met.push((count(copies.len()).min(requirement.copies), requirement.copies));
            for spread in &requirement.spread {
                let groups: BTreeSet<_> = copies
                    .iter()
                    .filter_map(|backend| spread.group_of[*backend])
                    .collect();
                met.push((count(groups.len()).min(spread.groups), spread.groups));
            }
            if let Some(durability) = &requirement.durability {
                let milli_nines = nines_of(durability, &copies);
                met.push((milli_nines.min(durability.milli_nines), durability.milli_nines));
            }
        }
        met
    }

    /// Missing copies, groups and thousandths of a nine of a set, summed over all requirements.
    fn missing(&self, subject: &Subject, set: &[usize]) -> (u32, u32, u32) {
        let met = self.met(subject, set);
        let mut met = met.iter().map(|(had, wanted)| wanted - had);
        let mut sum = (0, 0, 0);
        for requirement in subject
            .profile
            .requirements
            .iter()
            .map(|index| &self.problem.requirements[*index])
        {
            sum.0 += met.next().unwrap_or(0);
            sum.1 += met.by_ref().take(requirement.spread.len()).sum::<u32>();
            sum.2 += met
                .by_ref()
                .take(requirement.durability.iter().len())
                .sum::<u32>();
        }
        sum
    }
}

/// Thousandths of a nine of copies together: the best of each failure domain, added up.
fn nines_of(durability: &Durability, copies: &[usize]) -> u32 {
    let mut best = BTreeMap::new();
    for (domain, milli_nines) in copies.iter().filter_map(|backend| durability.of[*backend]) {
        let known = best.entry(domain).or_insert(0);
        *known = milli_nines.max(*known);
    }
    best.into_values().fold(0u32, u32::saturating_add)
}

fn check_set(scene: &Scene<'_>, subject: &Subject, set: &[usize], violated: &mut Vec<Violated>) {
    if let Some(origin) = kept_origin(subject).filter(|origin| !set.contains(origin)) {
        let backend = scene.problem.backends[origin].name.clone();
        violated.push(Violated::OriginLost {
            dataset: subject.name.clone(),
            backend,
        });
    }
    let is_kept = if !subject.copies.iter().any(|held| held.is_current()) {
        set.iter()
            .copied()
            .eq(subject.copies.iter().map(|held| held.backend))
    } else if subject.profile.requirements.is_empty() {
        keeps_unreached(scene.problem, subject, set)
    } else {
        check_reached(scene, subject, set, violated)
    };
    if !is_kept {
        violated.push(Violated::NotKept {
            dataset: subject.name.clone(),
        });
    }
}

/// The backends that hold a current copy.
fn current(subject: &Subject) -> Vec<usize> {
    let held = subject.copies.iter().filter(|held| held.is_current());
    held.map(|held| held.backend).collect()
}

/// Rule 7: only a confinement retires a copy, never the last one.
fn keeps_unreached(problem: &Problem, subject: &Subject, set: &[usize]) -> bool {
    let origin = kept_origin(subject);
    let current = current(subject);
    let is_confined = |backend: usize| {
        let rules = subject
            .profile
            .refused
            .iter()
            .filter(|refused| refused.backend == backend);
        rules
            .map(|refused| &problem.reasons[refused.reason])
            .any(|reason| reason.kind == RefusalKind::Confinement)
    };
    let known = set
        .iter()
        .all(|backend| current.contains(backend) || origin == Some(*backend));
    let whole = set.iter().any(|backend| current.contains(backend));
    let retired_rightly = current
        .iter()
        .all(|backend| set.contains(backend) || is_confined(*backend));
    let kept = set.iter().filter(|backend| current.contains(backend)).count();
    let kept_rightly = set
        .iter()
        .all(|backend| origin == Some(*backend) || !is_confined(*backend) || kept == 1);
    known && whole && retired_rightly && kept_rightly
}

/// Rule 6: admissible copies and the kept origin, at least one of them whole; or, where nothing admissible is there,
/// everything that is there now.
fn check_reached(scene: &Scene<'_>, subject: &Subject, set: &[usize], violated: &mut Vec<Violated>) -> bool {
    let problem = scene.problem;
    let origin = kept_origin(subject);
    let current = current(subject);
    let may_be = |backend: &usize| origin == Some(*backend) || scene.is_admissible(subject, *backend);
    let now = subject
        .copies
        .iter()
        .filter(|held| held.is_current() || origin == Some(held.backend));
    let nothing_may_stay = !current.iter().any(may_be);
    if nothing_may_stay && set.iter().copied().eq(now.map(|held| held.backend)) {
        return true;
    }
    for backend in set.iter().filter(|backend| !may_be(backend)) {
        let backend = problem.backends[*backend].name.clone();
        violated.push(Violated::Inadmissible {
            dataset: subject.name.clone(),
            backend,
        });
    }
    let (before, after) = (scene.met(subject, &current), scene.met(subject, set));
    if before
        .iter()
        .zip(&after)
        .any(|(before, after)| after.0 < before.0)
    {
        violated.push(Violated::LessSatisfied {
            dataset: subject.name.clone(),
        });
    }
    set.iter()
        .any(|backend| current.contains(backend) || scene.is_admissible(subject, *backend))
}

fn kept_origin(subject: &Subject) -> Option<usize> {
    subject
        .copies
        .iter()
        .find(|held| held.origin && subject.keep_origin)
        .map(|held| held.backend)
}

/// Bytes that recorded copies occupy now.
fn used_now(problem: &Problem) -> Vec<u128> {
    let mut used = vec![0; problem.backends.len()];
    for subject in &problem.datasets {
        subject
            .copies
            .iter()
            .for_each(|held| used[held.backend] += u128::from(subject.summary.bytes.0));
    }
    used
}

/// Bytes in the state that the plan leads to: the sets, and every recorded copy that is not retired.
fn used_after(problem: &Problem, solution: &Solution) -> Vec<u128> {
    let mut used = vec![0; problem.backends.len()];
    for (subject, set) in problem.datasets.iter().zip(&solution.sets) {
        let left = crate::ground::left_alone(problem, subject, set);
        set.iter()
            .chain(&left)
            .for_each(|backend| used[*backend] += u128::from(subject.summary.bytes.0));
    }
    used
}

/// PL-3 at the end: within the capacity, or not above what is there already.
fn check_room(scene: &Scene<'_>, used: &[u128], violated: &mut Vec<Violated>) {
    for ((place, used), now) in scene.problem.backends.iter().zip(used).zip(&scene.used) {
        let room = u128::from(place.capacity.0).max(*now);
        if *used > room {
            violated.push(Violated::OverCapacity {
                backend: place.name.clone(),
                used: *used,
                room,
            });
        }
    }
}

/// The objective is what the formulas give, and the bound and the prices make sense (PL-4).
fn check_proof(problem: &Problem, solution: &Solution, objective: &Objective, violated: &mut Vec<Violated>) {
    let parts = |o: &Objective| {
        [
            o.per_month,
            o.storage,
            o.tariffs,
            o.carbon,
            o.transfer,
            o.carbon_kg,
            o.transfer_once,
            o.transfer_carbon_kg,
        ]
    };
    for (stated, recomputed) in parts(&solution.objective).into_iter().zip(parts(objective)) {
        let near = (stated - recomputed).abs() <= ROUNDING * recomputed.abs().max(f64::MIN_POSITIVE);
        if !near && stated != recomputed {
            violated.push(Violated::WrongObjective { stated, recomputed });
        }
    }
    let (stated, recomputed) = (solution.objective.storage, storage_charged(problem, solution));
    if (stated - recomputed).abs() > ROUNDING * objective.storage.abs().max(list_of(objective)) {
        violated.push(Violated::WrongObjective { stated, recomputed });
    }
    let (bound, per_month) = (solution.lower_bound, objective.per_month);
    if !bound.is_finite() || bound > per_month + ROUNDING * per_month.abs() {
        violated.push(Violated::BoundTooHigh {
            bound,
            objective: per_month,
        });
    }
    for (place, price) in problem.backends.iter().zip(&solution.shadow_prices) {
        if !price.is_finite() || *price < 0.0 {
            violated.push(Violated::WrongPrice {
                backend: place.name.clone(),
                price: *price,
            });
        }
    }
}
