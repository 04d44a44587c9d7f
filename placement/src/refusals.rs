//! Why backends were not taken, and which copies stay although a rule refuses them. Refusals are data; nothing here
//! changes a plan.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{BackendName, ByteCount, CopyState};

use crate::contest::{Contest, Known};
use crate::ground::{self, BudgetLimit, BudgetUnit, Cause, Ground};
use crate::plan::{Warning, names};
use crate::problem::{Bars, Problem, RefusalKind, Requirement, Subject};
use crate::relax::thousandths;
use crate::solution::{Solution, Stuck};
use crate::tally;

/// Which rule refused which backends, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// The rule's bare name.
    pub rule: String,
    /// Its kind.
    pub kind: RefusalKind,
    /// The backends, by name; none where a requirement as a whole is not met.
    pub backends: Vec<BackendName>,
    /// Whose rule it is and what it says, for people.
    pub message: String,
}

/// A copy that stays although a rule refuses it: the same facts as a refusal.
pub type Violation = Refusal;

/// A solution beside what refusals and relaxations need to know of it.
pub(crate) struct Scene<'a> {
    pub problem: &'a Problem,
    pub ground: &'a Ground,
    pub solution: &'a Solution,
    /// Bytes that each backend holds in the end.
    pub used: Vec<u128>,
    /// What is spent of each budget in the end.
    pub spent: Vec<f64>,
}

/// What a set has of what a requirement asks for, no more than that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Had {
    pub copies: u32,
    /// For each spread.
    pub groups: Vec<u32>,
    /// Thousandths of a nine; `None` where none are asked for.
    pub milli_nines: Option<u32>,
}

impl Had {
    /// What copies that count have of it.
    pub fn of(counting: &[usize], requirement: &Requirement) -> Self {
        let count = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
        let groups = requirement.spread.iter().map(|spread| {
            let groups: BTreeSet<_> = counting
                .iter()
                .filter_map(|backend| spread.group_of[*backend])
                .collect();
            count(groups.len()).min(spread.groups)
        });
        let milli_nines = requirement.durability.as_ref().map(|asked| {
            let mut best = BTreeMap::new();
            for (domain, nines) in counting.iter().filter_map(|backend| asked.of[*backend]) {
                let best = best.entry(domain).or_insert(nines);
                *best = nines.max(*best);
            }
            best.into_values()
                .fold(0, u32::saturating_add)
                .min(asked.milli_nines)
        });
        Self {
            copies: count(counting.len()).min(requirement.copies),
            groups: groups.collect(),
            milli_nines,
        }
    }

    /// The same, no more than another.
    pub fn at_most(&self, other: &Self) -> Self {
        Self {
            copies: self.copies.min(other.copies),
            groups: self
                .groups
                .iter()
                .zip(&other.groups)
                .map(|(own, other)| *own.min(other))
                .collect(),
            milli_nines: self.milli_nines.min(other.milli_nines),
        }
    }

    /// Whether it is no less of anything than another.
    pub fn reaches(&self, other: &Self) -> bool {
        self.copies >= other.copies
            && self
                .groups
                .iter()
                .zip(&other.groups)
                .all(|(own, other)| own >= other)
            && self.milli_nines >= other.milli_nines
    }

    /// Whether that is everything.
    pub fn is_all_of(&self, requirement: &Requirement) -> bool {
        let nines = requirement.durability.as_ref().map(|asked| asked.milli_nines);
        let groups = requirement.spread.iter().map(|spread| spread.groups);
        self.copies == requirement.copies
            && groups.eq(self.groups.iter().copied())
            && self.milli_nines == nines
    }
}

impl<'a> Scene<'a> {
    pub fn new(problem: &'a Problem, ground: &'a Ground, solution: &'a Solution) -> Self {
        let mut used = vec![0; problem.backends.len()];
        let mut spent = vec![0.0; ground.budgets.len()];
        for (subject, set) in problem.datasets.iter().zip(&solution.sets) {
            occupied(problem, subject, set)
                .for_each(|backend| used[backend] += u128::from(subject.summary.bytes.0));
            for (sum, budget) in spent.iter_mut().zip(&ground.budgets) {
                *sum += set
                    .iter()
                    .map(|backend| budget.spends(problem, subject, *backend))
                    .sum::<f64>();
            }
        }
        Self {
            problem,
            ground,
            solution,
            used,
            spent,
        }
    }

    /// Whether a set meets every requirement of its dataset.
    pub fn is_satisfied(&self, dataset: usize) -> bool {
        let subject = &self.problem.datasets[dataset];
        let met = |requirement: &usize| {
            self.missing(dataset, &self.problem.requirements[*requirement])
                .is_none()
        };
        subject.profile.requirements.iter().all(met)
    }

    /// The copies that count for a requirement.
    pub fn counting(&self, dataset: usize, requirement: &Requirement) -> Vec<usize> {
        let subject = &self.problem.datasets[dataset];
        let counts = |backend: &usize| {
            requirement.accepts[*backend]
                && ground::causes(self.problem, self.ground, subject, *backend).is_empty()
        };
        self.solution.sets[dataset]
            .iter()
            .copied()
            .filter(counts)
            .collect()
    }

    /// What a dataset's set has of what a requirement asks for, no more than that.
    pub fn had(&self, dataset: usize, requirement: &Requirement) -> Had {
        Had::of(&self.counting(dataset, requirement), requirement)
    }

    /// What a requirement lacks, for people; `None` if it is met.
    pub fn missing(&self, dataset: usize, requirement: &Requirement) -> Option<String> {
        let had = self.had(dataset, requirement);
        let mut lacks = Vec::new();
        if had.copies < requirement.copies {
            lacks.push(format!("{} of {} copies", had.copies, requirement.copies));
        }
        for (spread, groups) in requirement.spread.iter().zip(&had.groups) {
            if *groups < spread.groups {
                lacks.push(format!(
                    "{groups} of {} distinct values of `{}`",
                    spread.groups, spread.across
                ));
            }
        }
        if let (Some(asked), Some(nines)) = (&requirement.durability, had.milli_nines)
            && nines < asked.milli_nines
        {
            let [had, wanted] = [nines, asked.milli_nines].map(thousandths);
            lacks.push(format!("{had} of {wanted} nines"));
        }
        (!lacks.is_empty()).then(|| lacks.join(" and "))
    }

    /// Bytes that a backend holds in the end without a dataset's copy.
    pub fn used_by_others(&self, dataset: usize, backend: usize) -> u128 {
        let subject = &self.problem.datasets[dataset];
        let own =
            occupied(self.problem, subject, &self.solution.sets[dataset]).any(|occupied| occupied == backend);
        self.used[backend]
            - if own {
                u128::from(subject.summary.bytes.0)
            } else {
                0
            }
    }

    /// Whether a backend has room for a dataset beside everything else that the plan leaves there.
    pub fn has_room(&self, dataset: usize, backend: usize) -> bool {
        let bytes = u128::from(self.problem.datasets[dataset].summary.bytes.0);
        self.used_by_others(dataset, backend) + bytes <= self.ground.room[backend]
    }
}

/// The backends that a dataset occupies in the end: its set, and what is left alone.
fn occupied<'s>(
    problem: &Problem,
    subject: &Subject,
    set: &'s [usize],
) -> impl Iterator<Item = usize> + use<'s> {
    set.iter()
        .copied()
        .chain(ground::left_alone(problem, subject, set))
}

/// Refusals with equal words, gathered over backends. What refuses many backends is put into words once, at the end.
#[derive(Default)]
struct Gathered {
    worded: BTreeMap<(String, RefusalKind, String), Vec<usize>>,
    causes: BTreeMap<Cause, Vec<usize>>,
    /// By requirement, the backends that its `where` does not accept.
    elsewhere: BTreeMap<usize, Vec<usize>>,
}

impl Gathered {
    fn add(&mut self, rule: &str, kind: RefusalKind, message: String, backend: usize) {
        self.add_all(rule, kind, message, vec![backend]);
    }

    fn add_all(&mut self, rule: &str, kind: RefusalKind, message: String, mut backends: Vec<usize>) {
        if !backends.is_empty() {
            let known = self.worded.entry((rule.to_owned(), kind, message));
            known.or_default().append(&mut backends);
        }
    }

    fn add_cause(&mut self, cause: Cause, backend: usize) {
        self.causes.entry(cause).or_default().push(backend);
    }

    fn add_elsewhere(&mut self, asked: &[usize], backends: impl Iterator<Item = usize> + Clone) {
        for requirement in asked {
            self.elsewhere
                .entry(*requirement)
                .or_default()
                .extend(backends.clone());
        }
    }

    fn word_cause(&mut self, problem: &Problem, cause: Cause, backends: Vec<usize>) {
        let (rule, kind, message) = match cause {
            Cause::Rule(reason) => {
                let reason = &problem.reasons[reason];
                (reason.rule.as_str(), reason.kind, reason.message.clone())
            }
            Cause::NoSource => (
                "reachability",
                RefusalKind::Unreachable,
                "no current copy is known to read from: scrub the dataset, or bring back a backend that holds it whole".to_owned(),
            ),
            Cause::NoWay => (
                "link",
                RefusalKind::Confinement,
                "links forbid every way there from a current copy, and no relay that the dataset's rules admit leads there".to_owned(),
            ),
            Cause::DamagedOrigin => (
                "origin",
                RefusalKind::ReadOnly,
                "the origin there is not whole, and Domicile never changes an origin".to_owned(),
            ),
            Cause::Overfull => (
                "capacity",
                RefusalKind::Capacity,
                "the backend holds more than its capacity already, and takes nothing new".to_owned(),
            ),
        };
        self.add_all(rule, kind, message, backends);
    }

    fn into_refusals(mut self, problem: &Problem) -> Vec<Refusal> {
        for (cause, backends) in std::mem::take(&mut self.causes) {
            self.word_cause(problem, cause, backends);
        }
        for (requirement, backends) in std::mem::take(&mut self.elsewhere) {
            let requirement = &problem.requirements[requirement];
            let policy = &problem.policies[requirement.policy].name;
            let message = format!(
                "policy `{policy}`, requirement `{}`: only where {}",
                requirement.name, requirement.place
            );
            self.add_all(&requirement.name, RefusalKind::Requirement, message, backends);
        }
        let refusal = |((rule, kind, message), mut backends): (_, Vec<usize>)| {
            backends.sort_unstable();
            backends.dedup();
            Refusal {
                rule,
                kind,
                backends: names(problem, &backends),
                message,
            }
        };
        self.worded.into_iter().map(refusal).collect()
    }
}

/// The copies that stay although a rule refuses them: of a dataset's set, and on read-only backends, where nothing is
/// deleted.
pub(crate) fn violations(scene: &Scene<'_>, dataset: usize) -> Vec<Violation> {
    let problem = scene.problem;
    let subject = &problem.datasets[dataset];
    let mut gathered = Gathered::default();
    let set = &scene.solution.sets[dataset];
    let left = ground::left_alone(problem, subject, set);
    let undeletable = left.into_iter().filter(|b| ground::is_read_only(problem, *b));
    for backend in set.iter().copied().chain(undeletable) {
        let bars_every = |reason: &usize| problem.reasons[*reason].bars == Bars::Every;
        for reason in problem.reasons_against(subject, backend).filter(bars_every) {
            gathered.add_cause(Cause::Rule(reason), backend);
        }
        if !set.contains(&backend) {
            continue;
        }
        let Some(held) = subject
            .copy_on(backend)
            .filter(|held| held.origin && !held.is_current())
        else {
            continue;
        };
        if subject.keep_origin && (subject.is_reached() || held.state != CopyState::Unknown) {
            let message = "the origin there is not known to be whole, and counts for nothing".to_owned();
            gathered.add("origin", RefusalKind::Unreachable, message, backend);
        }
    }
    gathered.into_refusals(problem)
}

/// Why each backend outside a dataset's set was not taken, where a rule, room or a budget kept it out, and which
/// requirements are not met. `known` is kept from dataset to dataset of one problem.
pub(crate) fn refusals(scene: &Scene<'_>, known: &mut Known, dataset: usize) -> Vec<Refusal> {
    let problem = scene.problem;
    let subject = &problem.datasets[dataset];
    let set = &scene.solution.sets[dataset];
    let asked = subject.profile.requirements.iter();
    let asked = asked.map(|requirement| &problem.requirements[*requirement]);
    let unmet: Vec<_> = asked
        .filter_map(|requirement| Some((requirement, scene.missing(dataset, requirement)?)))
        .collect();
    let outlook = known.outlook(scene, subject);
    let lacking = unmet.iter().map(|(requirement, _)| *requirement).collect();
    let contest = Contest::new(scene, dataset, lacking, (outlook.as_deref(), known));
    let mut gathered = Gathered::default();
    // Without a requirement nothing is to be made, so that having no source keeps nothing out.
    let tells = |cause: &Cause| subject.is_reached() || matches!(cause, Cause::Rule(_));
    let look = |backend: usize, gathered: &mut Gathered| {
        let causes = ground::causes(problem, scene.ground, subject, backend);
        if causes.is_empty() {
            refuse(&contest, backend, gathered);
        }
        for cause in causes.into_iter().filter(tells) {
            gathered.add_cause(cause, backend);
        }
    };
    if let Some(outlook) = &outlook {
        let apart = |backend: &usize| !set.contains(backend) && subject.copy_on(*backend).is_none();
        for (cause, backends) in outlook.causes.iter().filter(|(cause, _)| tells(cause)) {
            let backends = backends.iter().copied().filter(apart);
            gathered.causes.insert(*cause, backends.collect());
        }
        let elsewhere = outlook.elsewhere.iter().copied().filter(apart);
        gathered.add_elsewhere(&subject.profile.requirements, elsewhere);
        let bytes = u128::from(subject.summary.bytes.0);
        let unlimited = scene.ground.budgets.is_empty() && !scene.solution.stuck.contains_key(&dataset);
        let has_room = |backend: usize| scene.used[backend] + bytes <= scene.ground.room[backend];
        let open = outlook.open.iter().copied().filter(apart);
        for backend in open.filter(|backend| !unlimited || !has_room(*backend)) {
            refuse_room(&contest, backend, &mut gathered);
        }
        let there = subject.copies.iter().map(|held| held.backend);
        there
            .filter(|backend| !set.contains(backend))
            .for_each(|backend| look(backend, &mut gathered));
    } else {
        (0..problem.backends.len())
            .filter(|backend| !set.contains(backend))
            .for_each(|backend| look(backend, &mut gathered));
    }
    let mut refusals = gathered.into_refusals(problem);
    for (requirement, missing) in unmet {
        let policy = &problem.policies[requirement.policy].name;
        let message = format!(
            "policy `{policy}`, requirement `{}`: only {missing} can be had; {}",
            requirement.name,
            tally::tally(scene, dataset, &[requirement]),
        );
        refusals.push(Refusal {
            rule: requirement.name.clone(),
            kind: RefusalKind::Requirement,
            backends: Vec::new(),
            message,
        });
    }
    refusals.sort();
    refusals
}

/// Why an admissible backend was not taken: no requirement asks for it, or there is no room or no money.
fn refuse(contest: &Contest<'_>, backend: usize, gathered: &mut Gathered) {
    let problem = contest.scene.problem;
    let asked = &contest.subject().profile.requirements;
    if !asked.is_empty() && !asked.iter().any(|r| problem.requirements[*r].accepts[backend]) {
        gathered.add_elsewhere(asked, std::iter::once(backend));
        return;
    }
    refuse_room(contest, backend, gathered);
}

/// The same where a requirement does ask for it.
fn refuse_room(contest: &Contest<'_>, backend: usize, gathered: &mut Gathered) {
    let (scene, dataset, subject) = (contest.scene, contest.dataset, contest.subject());
    let problem = scene.problem;
    let stuck = scene.solution.stuck.get(&dataset);
    let crowded = !scene.has_room(dataset, backend);
    let overspent = contest.overspent(backend);
    if stuck.is_none() && !crowded && overspent.is_empty() || !contest.is_sought(backend) {
        return;
    }
    if let Some(stuck) = stuck {
        let message = stuck_words(problem, stuck);
        let (rule, kind) = match stuck {
            Stuck::Circle(_) | Stuck::Relays(_) => ("capacity", RefusalKind::Capacity),
            Stuck::Payback(_) => ("paybackDays", RefusalKind::Budget),
        };
        gathered.add(rule, kind, message, backend);
    } else if crowded {
        let free = scene.ground.room[backend].saturating_sub(scene.used_by_others(dataset, backend));
        let free = ByteCount(u64::try_from(free).unwrap_or(u64::MAX));
        let message = format!(
            "{} are free beside the rest of the plan, {} are needed",
            free, subject.summary.bytes
        );
        gathered.add("capacity", RefusalKind::Capacity, message, backend);
    }
    for (budget, spent, spends) in overspent {
        let policy = &problem.policies[budget.policy].name;
        let message = format!(
            "policy `{policy}`: {}",
            budget_words(problem, budget, spent + spends)
        );
        gathered.add(policy.as_str(), RefusalKind::Budget, message, backend);
    }
}

/// Why copies that every rule admits cannot be made, for people.
fn stuck_words(problem: &Problem, stuck: &Stuck) -> String {
    let quoted = |backends: &[usize]| {
        let names = names(problem, backends);
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    match stuck {
        Stuck::Circle(backends) => format!(
            "copies to {} would wait for each other's room in a circle",
            quoted(backends)
        ),
        Stuck::Relays(backends) => format!(
            "copies to {} cannot all be made: links leave some only a way through relays, which have no room for it \
             beside the rest of the plan",
            quoted(backends)
        ),
        Stuck::Payback(days) => format!(
            "the dataset is satisfied, and a change would not save within {days} days what its transfers cost"
        ),
    }
}

/// An amount beside a budget, for people.
pub(crate) fn budget_words(problem: &Problem, budget: &BudgetLimit, amount: f64) -> String {
    let stated = budget.stated;
    let currency = problem.currency.as_str();
    match budget.unit {
        BudgetUnit::Cost => format!("the budget of {stated} {currency} per month would become {amount:.4}"),
        BudgetUnit::CarbonKg => format!("the budget of {stated} kg CO2e per month would become {amount:.4}"),
        BudgetUnit::MoveBytes => {
            format!("one plan may move {stated} bytes of its datasets, and would move {amount}")
        }
        BudgetUnit::MoveCost => format!(
            "one plan may pay {stated} {currency} once for moving its datasets, and would pay {amount:.4}"
        ),
    }
}

/// Backends that are too full and budgets that are overspent, Audit ones included.
pub(crate) fn warnings(problem: &Problem, ground: &Ground) -> Vec<Warning> {
    let overfull = (0..problem.backends.len())
        .filter(|backend| ground.is_overfull(problem, *backend))
        .map(|backend| {
            let place = &problem.backends[backend];
            let used = ByteCount(u64::try_from(ground.used[backend]).unwrap_or(u64::MAX));
            let message = format!(
                "backend `{}` holds {used} of {}: it takes nothing new until it is below its capacity",
                place.name, place.capacity
            );
            Warning {
                kind: RefusalKind::Capacity,
                backend: Some(place.name.clone()),
                policy: None,
                message,
            }
        });
    // Nothing is moved before there is a plan, so that no limit of movement is exceeded already.
    let overspent = ground
        .budgets
        .iter()
        .filter(|budget| !budget.unit.is_movement() && !budget.allows_as_stated());
    let overspent = overspent.map(|budget| {
        let policy = problem.policies[budget.policy].name.clone();
        let unit = match budget.unit {
            BudgetUnit::CarbonKg => "kg CO2e",
            _ => problem.currency.as_str(),
        };
        let message = format!(
            "policy `{policy}` spends {:.4} of {} {unit} per month already: a plan may not spend more",
            budget.spent, budget.stated
        );
        Warning {
            kind: RefusalKind::Budget,
            backend: None,
            policy: Some(policy),
            message,
        }
    });
    overfull.chain(overspent).collect()
}
