//! An approved plan as steps: what to do, where to read, what must stay met, and the room there is.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{BackendName, ByteCount, CopyState};
use domicile_placement::{Action as Planned, Bars, Held, Move, Plan, Problem, Subject};

use crate::{Action, Demand, DemandedCopies, Rooms, Step, StepId};

/// The steps of a plan in its order, with the room on every backend.
///
/// # Panics
/// If the plan is not of this problem.
#[must_use]
pub fn approved(problem: &Problem, plan: &Plan) -> (Vec<Step>, Rooms) {
    let steps = plan
        .moves
        .iter()
        .map(|planned| step(problem, plan, planned))
        .collect();
    (steps, rooms(problem))
}

/// What a recorded copy takes up: everything that may be there, whatever its state.
fn occupied(subject: &Subject, held: &Held) -> ByteCount {
    let missing = match held.state {
        CopyState::Incomplete => held.missing_bytes.0,
        _ => 0,
    };
    ByteCount(subject.summary.bytes.0.saturating_sub(missing))
}

fn rooms(problem: &Problem) -> Rooms {
    let mut sums = vec![0u64; problem.backends.len()];
    for subject in &problem.datasets {
        for held in &subject.copies {
            sums[held.backend] = sums[held.backend].saturating_add(occupied(subject, held).0);
        }
    }
    let mut rooms = Rooms::default();
    for (place, sum) in problem.backends.iter().zip(sums) {
        rooms.insert(place.name.clone(), place.capacity, ByteCount(sum));
    }
    rooms
}

fn step(problem: &Problem, plan: &Plan, planned: &Move) -> Step {
    let dataset = problem.dataset(planned.dataset.as_str());
    let subject = dataset.map(|index| &problem.datasets[index]);
    let subject =
        subject.unwrap_or_else(|| panic!("`{}` is planned and not in the problem", planned.dataset));
    let recorded = problem
        .backend(target(planned).as_str())
        .and_then(|at| subject.copy_on(at));
    let there = recorded.map_or(ByteCount(0), |held| occupied(subject, held));
    let (action, room) = match &planned.action {
        Planned::Copy { from, to, .. } => {
            let sources = sources(problem, subject, from, to);
            let room = ByteCount(subject.summary.bytes.0.saturating_sub(there.0));
            (
                Action::Copy {
                    sources,
                    to: to.clone(),
                },
                room,
            )
        }
        Planned::Retire { from } => {
            let demand = demand(problem, subject, &planned_set(plan, planned));
            (
                Action::Retire {
                    from: from.clone(),
                    demand,
                },
                there,
            )
        }
    };
    Step {
        id: StepId::new(&planned.id),
        dataset: planned.dataset.clone(),
        action,
        bytes: planned.bytes,
        room,
        objects: planned.objects,
        after: planned.after.iter().map(|id| StepId::new(id)).collect(),
    }
}

fn target(planned: &Move) -> &BackendName {
    match &planned.action {
        Planned::Copy { to, .. } => to,
        Planned::Retire { from } => from,
    }
}

/// The planned source first, then every other current copy; those out of reach come last.
fn sources(problem: &Problem, subject: &Subject, from: &BackendName, to: &BackendName) -> Vec<BackendName> {
    let current = subject.copies.iter().filter(|held| held.is_current());
    let mut others: Vec<_> = current
        .map(|held| &problem.backends[held.backend])
        .filter(|place| place.name != *from && place.name != *to)
        .collect();
    others.sort_by_key(|place| !place.reachable);
    std::iter::once(from)
        .chain(others.into_iter().map(|place| &place.name))
        .cloned()
        .collect()
}

/// Where the plan has the copies of the dataset of a move.
fn planned_set(plan: &Plan, planned: &Move) -> BTreeSet<BackendName> {
    let position = plan.datasets.binary_search_by(|d| d.name.cmp(&planned.dataset));
    let dataset = position.ok().map(|index| &plan.datasets[index]);
    dataset
        .into_iter()
        .flat_map(|d| d.backends.iter())
        .cloned()
        .collect()
}

/// What a retirement must leave met, the policies' rules applied to the backends: what each requirement demands, or as
/// much of it as the plan meets. The check of the plan has seen to it that this is no less than was met before (MV-4).
fn demand(problem: &Problem, subject: &Subject, set: &BTreeSet<BackendName>) -> Demand {
    let name = |backend: usize| problem.backends[backend].name.clone();
    let admissible = |backend: &usize| {
        let mut reasons = problem.reasons_against(subject, *backend);
        !reasons.any(|reason| problem.reasons[reason].bars == Bars::Every)
    };
    let demanded = |requirement: &usize| {
        let requirement = &problem.requirements[*requirement];
        let eligible: BTreeSet<BackendName> = (0..problem.backends.len())
            .filter(|b| requirement.accepts[*b])
            .filter(admissible)
            .map(name)
            .collect();
        let counting: Vec<_> = set.intersection(&eligible).collect();
        let spreads = requirement.spread.iter().map(|spread| {
            let grouped = spread.group_of.iter().enumerate();
            let groups: BTreeMap<_, _> = grouped
                .filter_map(|(b, group)| Some((name(b), (*group)?.to_string())))
                .collect();
            let met: BTreeSet<_> = counting
                .iter()
                .filter_map(|backend| groups.get(*backend))
                .collect();
            (spread.groups.min(count(met.len())), groups)
        });
        DemandedCopies {
            name: requirement.name.clone(),
            copies: requirement.copies.min(count(counting.len())),
            spreads: spreads.collect(),
            eligible,
        }
    };
    Demand {
        requirements: subject.profile.requirements.iter().map(demanded).collect(),
        kept_origin: subject.kept_origin().map(name),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
