//! The least of one kind of change: the most that a requirement can still ask for, the fewest bytes, the smallest sum.

use std::collections::BTreeSet;

use super::change::{Change, Less, step};
use super::trial::{Answer, Trial};
use crate::ground::{self, BudgetLimit, BudgetUnit, Cause};
use crate::problem::Problem;

/// Datasets up to which every sum of their sizes is looked at as a possible capacity.
const SUMMED_DATASETS: usize = 10;
/// Capacities that are tried one by one on one backend.
const SCANNED: usize = 48;

/// What a policy may be given more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowance {
    /// Its budget of the unit; the position in the ground's budgets.
    Budget(usize),
    /// Money for movement.
    MovedCost(usize),
    /// Bytes for movement.
    MovedBytes(usize),
}

impl Allowance {
    /// What a row of the ground's budgets is an allowance of.
    pub fn of(trial: &Trial<'_>, at: usize) -> Self {
        let budget = trial.scene.ground.budgets[at];
        match budget.unit {
            BudgetUnit::Cost | BudgetUnit::CarbonKg => Self::Budget(at),
            BudgetUnit::MoveBytes => Self::MovedBytes(budget.policy),
            BudgetUnit::MoveCost => Self::MovedCost(budget.policy),
        }
    }
}

/// Requirements reduced no further than they must be: one alone where that is enough, else all that are not met.
pub(super) fn requirements(trial: &mut Trial<'_>) -> Vec<Vec<Change>> {
    let (scene, dataset) = (trial.scene, trial.dataset);
    let problem = scene.problem;
    let unmet: Vec<usize> = problem.datasets[dataset]
        .profile
        .requirements
        .iter()
        .copied()
        .filter(|position| scene.missing(dataset, &problem.requirements[*position]).is_some())
        .collect();
    let mut found = Vec::new();
    for position in &unmet {
        found.extend(reduced(trial, &[*position]));
    }
    if found.is_empty() && unmet.len() > 1 {
        found.extend(reduced(trial, &unmet));
    }
    found
}

fn changes(lowered: &[Less]) -> Vec<Change> {
    lowered.iter().cloned().map(Change::Require).collect()
}

/// These requirements reduced so far that the dataset is satisfied, and no count of them can be one higher.
fn reduced(trial: &mut Trial<'_>, positions: &[usize]) -> Option<Vec<Change>> {
    let problem = trial.scene.problem;
    let stated: Vec<Less> = positions
        .iter()
        .map(|position| Less::stated(*position, &problem.requirements[*position]))
        .collect();
    let mut lowered = first_that_satisfies(trial, positions)?;
    loop {
        let before = lowered.clone();
        for at in 0..lowered.len() {
            raise(trial, &[], &mut lowered, at);
        }
        if lowered == before {
            break;
        }
    }
    let lowered: Vec<_> = lowered
        .into_iter()
        .zip(stated)
        .filter(|(less, stated)| less != stated)
        .map(|(less, _)| less)
        .collect();
    (!trial.is_exhausted() && !lowered.is_empty()).then(|| changes(&lowered))
}

/// What the plan has of the requirements, or still less, where that satisfies the dataset.
fn first_that_satisfies(trial: &mut Trial<'_>, positions: &[usize]) -> Option<Vec<Less>> {
    let (scene, dataset) = (trial.scene, trial.dataset);
    let had: Vec<Less> = positions
        .iter()
        .map(|position| {
            let requirement = &scene.problem.requirements[*position];
            let had = scene.had(dataset, requirement);
            Less {
                position: *position,
                copies: had.copies,
                groups: had.groups,
                milli_nines: had.milli_nines,
            }
        })
        .collect();
    // A requirement of no copy is none: what would help then is to drop it, which nobody needs to be told.
    if had.iter().any(|less| less.copies == 0) {
        return None;
    }
    let most = had.iter().map(|less| less.copies).max().unwrap_or(1);
    for copies in (1..=most).rev() {
        let lowered: Vec<_> = had.iter().map(|less| at_most(less, copies)).collect();
        if trial.satisfying(&changes(&lowered)).is_some() {
            return Some(lowered);
        }
    }
    None
}

/// The same with at most so many copies, and what so many copies can be spread over.
fn at_most(less: &Less, copies: u32) -> Less {
    Less {
        copies: less.copies.min(copies),
        groups: less.groups.iter().map(|groups| (*groups).min(copies)).collect(),
        ..less.clone()
    }
}

/// Raises each count of one requirement as far as the dataset stays satisfied.
fn raise(trial: &mut Trial<'_>, others: &[Change], lowered: &mut [Less], at: usize) {
    let position = lowered[at].position;
    let stated = Less::stated(position, &trial.scene.problem.requirements[position]);
    let mut keeps = |lowered: &mut [Less], change: &dyn Fn(&mut Less)| {
        let before = lowered[at].clone();
        change(&mut lowered[at]);
        let all: Vec<_> = others.iter().cloned().chain(changes(lowered)).collect();
        let satisfied = trial.satisfying(&all).is_some();
        if !satisfied {
            lowered[at] = before;
        }
        satisfied
    };
    while lowered[at].copies < stated.copies && keeps(lowered, &|less| less.copies += 1) {}
    for spread in 0..stated.groups.len() {
        while lowered[at].groups[spread] < stated.groups[spread]
            && keeps(lowered, &|less| less.groups[spread] += 1)
        {}
    }
    let Some(most) = stated.milli_nines else { return };
    // Nines are asked for in thousandths: halving the way is quicker than walking it.
    let (mut low, mut high) = (lowered[at].milli_nines.unwrap_or(0), most + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if keeps(lowered, &|less| less.milli_nines = Some(middle)) {
            low = middle;
        } else {
            high = middle;
        }
    }
}

/// The fewest bytes more on any one backend; of equal ones the first name.
pub(super) fn capacity(trial: &mut Trial<'_>) -> Option<Change> {
    let (scene, dataset) = (trial.scene, trial.dataset);
    let mut best: Option<(u64, Change)> = None;
    for backend in 0..scene.problem.backends.len() {
        let too_full = scene.ground.is_overfull(scene.problem, backend);
        if !trial.whole && scene.has_room(dataset, backend) && !too_full {
            continue;
        }
        let now = scene.problem.backends[backend].capacity.0;
        // Not as many as were enough elsewhere.
        let most = match &best {
            Some((more, _)) => now.saturating_add(more - 1),
            None => everything(scene.problem),
        };
        if most <= now {
            continue;
        }
        if let Some(Change::Capacity { backend, bytes }) = least_capacity(trial, &[], backend, most) {
            best = Some((bytes - now, Change::Capacity { backend, bytes }));
        }
    }
    best.map(|(_, change)| change).filter(|_| !trial.is_exhausted())
}

/// A capacity that holds whatever there is.
fn everything(problem: &Problem) -> u64 {
    problem
        .datasets
        .iter()
        .fold(0, |sum: u64, subject| sum.saturating_add(subject.summary.bytes.0))
}

/// The least capacity of a backend, at most `most`, that satisfies the dataset beside other changes.
pub(super) fn least_capacity(
    trial: &mut Trial<'_>,
    others: &[Change],
    backend: usize,
    most: u64,
) -> Option<Change> {
    let now = u128::from(trial.scene.problem.backends[backend].capacity.0);
    let change = |bytes: u128| Change::Capacity {
        backend,
        bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
    };
    let sums: Vec<u128> = sums(trial, backend)
        .into_iter()
        .filter(|bytes| (now + 1..=u128::from(most)).contains(bytes))
        .collect();
    // More room may also be worse, since another dataset takes it: the smallest are looked at one by one.
    for bytes in sums.iter().take(SCANNED) {
        if trial.satisfying(&with(others, change(*bytes))).is_some() {
            return Some(change(*bytes));
        }
    }
    if trial.scene.problem.datasets.len() > SUMMED_DATASETS {
        let range = (now, u128::from(most));
        return least(trial, others, range, &change, &|answer| answer.used[backend]).map(change);
    }
    let rest = sums.get(SCANNED..).unwrap_or_default();
    if rest.is_empty() {
        return None;
    }
    let at = |position: u128| rest[usize::try_from(position - 1).unwrap_or(0)];
    let position = |bytes: u128| rest.partition_point(|sum| *sum < bytes) as u128 + 1;
    let range = (0, rest.len() as u128);
    let found = least(trial, others, range, &|p| change(at(p)), &|answer| {
        position(answer.used[backend])
    });
    found.map(|found| change(at(found)))
}

fn with(others: &[Change], change: Change) -> Vec<Change> {
    others.iter().cloned().chain([change]).collect()
}

/// Every sum of sizes of some datasets that are or may be on a backend, if they are few: what it holds, at any time, is
/// one of them, so that no capacity between two of them makes a difference.
fn sums(trial: &Trial<'_>, backend: usize) -> BTreeSet<u128> {
    let (problem, ground) = (trial.scene.problem, trial.scene.ground);
    let mut sums = BTreeSet::new();
    if problem.datasets.len() > SUMMED_DATASETS {
        return sums;
    }
    sums.insert(0);
    let barred = |cause: &Cause| *cause != Cause::Overfull;
    for subject in &problem.datasets {
        let causes = ground::causes(problem, ground, subject, backend);
        if subject.copy_on(backend).is_none() && causes.iter().any(barred) {
            continue;
        }
        let bytes = u128::from(subject.summary.bytes.0);
        let more: Vec<_> = sums.iter().map(|sum| sum + bytes).collect();
        sums.extend(more);
    }
    sums
}

/// The least quantity above `range.0` and at most `range.1` that satisfies the dataset while one less does not. It goes
/// down from what each answer really used, which is mostly the least at once.
fn least(
    trial: &mut Trial<'_>,
    others: &[Change],
    range: (u128, u128),
    change: &dyn Fn(u128) -> Change,
    used: &dyn Fn(&Answer) -> u128,
) -> Option<u128> {
    let (mut low, mut high) = range;
    let mut answer = trial.satisfying(&with(others, change(high)))?;
    while high > low + 1 {
        let guess = used(&answer).clamp(low + 1, high);
        if guess < high {
            if let Some(better) = trial.satisfying(&with(others, change(guess))) {
                (high, answer) = (guess, better);
            } else {
                // On the way, or by rounding, a little more is needed than in the end.
                low = guess;
                let mut more = 1;
                while low + more < high {
                    if let Some(better) = trial.satisfying(&with(others, change(low + more))) {
                        (high, answer) = (low + more, better);
                        break;
                    }
                    low += more;
                    more *= 2;
                }
                continue;
            }
        }
        if high <= low + 1 {
            break;
        }
        match trial.satisfying(&with(others, change(high - 1))) {
            Some(better) => (high, answer) = (high - 1, better),
            None => low = high - 1,
        }
    }
    (!trial.is_exhausted()).then_some(high)
}

/// For each budget and each limit of movement that is in the way, the least that is enough.
pub(super) fn allowances(trial: &mut Trial<'_>) -> Vec<Change> {
    let scene = trial.scene;
    let monthly = |at: &usize| !scene.ground.budgets[*at].unit.is_movement();
    let mut all: Vec<_> = (0..scene.ground.budgets.len())
        .filter(monthly)
        .map(Allowance::Budget)
        .collect();
    for (policy, terms) in scene.problem.policies.iter().enumerate() {
        all.extend(terms.movement.bytes.map(|_| Allowance::MovedBytes(policy)));
        all.extend(terms.movement.cost.map(|_| Allowance::MovedCost(policy)));
    }
    all.into_iter()
        .filter_map(|allowance| least_allowance(trial, &[], allowance))
        .collect()
}

/// The least allowance that satisfies the dataset beside other changes.
pub(super) fn least_allowance(
    trial: &mut Trial<'_>,
    others: &[Change],
    allowance: Allowance,
) -> Option<Change> {
    let problem = trial.scene.problem;
    match allowance {
        Allowance::MovedBytes(policy) => {
            let now = problem.policies[policy].movement.bytes.unwrap_or(0);
            let change = |bytes: u128| Change::MovedBytes {
                policy,
                bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            };
            let range = (u128::from(now), u128::from(u64::MAX));
            let found = least(trial, others, range, &change, &|answer| {
                u128::from(answer.moved[policy].0)
            });
            found.map(change)
        }
        Allowance::MovedCost(policy) => {
            let now = problem.policies[policy].movement.cost.unwrap_or(0.0);
            let change = |amount| Change::MovedCost { policy, amount };
            least_amount(trial, others, now, &change, &|answer| answer.moved[policy].1)
        }
        Allowance::Budget(at) => {
            let budget = trial.scene.ground.budgets[at];
            let change = |amount| Change::Budget {
                policy: budget.policy,
                unit: budget.unit,
                amount,
            };
            least_amount(trial, others, budget.stated, &change, &|answer| answer.spent[at])
        }
    }
}

/// Steps in which no sum of money or carbon is more than can be counted exactly.
const MOST_STEPS: u128 = 1 << 52;

/// The least amount in the steps in which it is written.
fn least_amount(
    trial: &mut Trial<'_>,
    others: &[Change],
    now: f64,
    change: &dyn Fn(f64) -> Change,
    spent: &dyn Fn(&Answer) -> f64,
) -> Option<Change> {
    let unlimited = trial.satisfying(&with(others, change(1e300)))?;
    let mut unit = step(spent(&unlimited));
    loop {
        // Whole steps by dividing, since a step itself is no exact number.
        let per_unit = (1.0 / unit).round();
        let amount = |steps: u128| steps as f64 / per_unit;
        let steps = |amount: f64| ((amount * per_unit).ceil().max(0.0) as u128).min(MOST_STEPS);
        let floor = ((now * per_unit).floor().max(0.0) as u128).min(MOST_STEPS);
        let most = (steps(spent(&unlimited)) + 1).max(floor + 1);
        let found = least(
            trial,
            others,
            (floor, most),
            &|steps| change(amount(steps)),
            &|answer| steps(spent(answer) * (1.0 - 1e-12)),
        )?;
        let finer = step(amount(found));
        if finer >= unit {
            return Some(change(amount(found)));
        }
        unit = finer;
    }
}

/// A change that is enough for anything, to be made less later.
pub(super) fn without_limit(trial: &Trial<'_>, allowance: Allowance) -> Change {
    match allowance {
        Allowance::MovedBytes(policy) => Change::MovedBytes {
            policy,
            bytes: u64::MAX,
        },
        Allowance::MovedCost(policy) => Change::MovedCost {
            policy,
            amount: 1e300,
        },
        Allowance::Budget(at) => {
            let budget = trial.scene.ground.budgets[at];
            Change::Budget {
                policy: budget.policy,
                unit: budget.unit,
                amount: 1e300,
            }
        }
    }
}

/// A capacity for everything, to be made less later.
pub(super) fn whole_capacity(trial: &Trial<'_>, backend: usize) -> Change {
    Change::Capacity {
        backend,
        bytes: everything(trial.scene.problem),
    }
}

/// Makes one member of a combination as small as it goes, the others fixed; rules are lifted or not.
pub(super) fn shrunk(trial: &mut Trial<'_>, others: &[Change], change: &Change) -> Option<Change> {
    let budgets = &trial.scene.ground.budgets;
    match change {
        Change::Capacity { backend, bytes } => least_capacity(trial, others, *backend, *bytes),
        Change::Budget { policy, unit, .. } => {
            let same = |b: &BudgetLimit| b.policy == *policy && b.unit == *unit;
            let at = budgets.iter().position(same)?;
            least_allowance(trial, others, Allowance::Budget(at))
        }
        Change::MovedBytes { policy, .. } => least_allowance(trial, others, Allowance::MovedBytes(*policy)),
        Change::MovedCost { policy, .. } => least_allowance(trial, others, Allowance::MovedCost(*policy)),
        Change::Require(less) => {
            let mut lowered = [less.clone()];
            raise(trial, others, &mut lowered, 0);
            let [less] = lowered;
            Some(Change::Require(less))
        }
        Change::Lift(_) | Change::State { .. } => Some(change.clone()),
    }
}
