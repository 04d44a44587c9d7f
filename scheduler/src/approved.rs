//! An approved plan as steps: what to do, where to read, what must stay met, and the room there is.

use std::collections::BTreeMap;

use domicile_estate::{BackendName, ByteCount};
use domicile_placement::{Action as Planned, Bars, Move, Plan, Problem, Subject};

use crate::{Action, Demand, DemandedCopies, Rooms, Step, StepId};

/// The steps of a plan in its order, with the room on every backend.
///
/// # Panics
/// If the plan is not of this problem.
#[must_use]
pub fn approved(problem: &Problem, plan: &Plan) -> (Vec<Step>, Rooms) {
    let steps = plan.moves.iter().map(|planned| step(problem, planned)).collect();
    (steps, rooms(problem))
}

/// Everything that is recorded takes room, whatever its state: it may be there.
fn rooms(problem: &Problem) -> Rooms {
    let mut occupied = vec![0u64; problem.backends.len()];
    for subject in &problem.datasets {
        for held in &subject.copies {
            occupied[held.backend] = occupied[held.backend].saturating_add(subject.summary.bytes.0);
        }
    }
    let mut rooms = Rooms::default();
    for (place, occupied) in problem.backends.iter().zip(occupied) {
        rooms.insert(place.name.clone(), place.capacity, ByteCount(occupied));
    }
    rooms
}

fn step(problem: &Problem, planned: &Move) -> Step {
    let dataset = problem.dataset(planned.dataset.as_str());
    let subject = dataset.map(|index| &problem.datasets[index]);
    let subject =
        subject.unwrap_or_else(|| panic!("`{}` is planned and not in the problem", planned.dataset));
    let (action, room) = match &planned.action {
        Planned::Copy { from, to, .. } => {
            let recorded = problem.backend(to.as_str()).and_then(|to| subject.copy_on(to));
            let room = if recorded.is_some() {
                ByteCount(0)
            } else {
                subject.summary.bytes
            };
            (
                Action::Copy {
                    sources: sources(problem, subject, from, to),
                    to: to.clone(),
                },
                room,
            )
        }
        Planned::Retire { from } => (
            Action::Retire {
                from: from.clone(),
                demand: demand(problem, subject),
            },
            subject.summary.bytes,
        ),
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

/// What the policies of a dataset demand of its verified copies, their rules applied to the backends.
fn demand(problem: &Problem, subject: &Subject) -> Demand {
    let name = |backend: usize| problem.backends[backend].name.clone();
    let admissible = |backend: &usize| {
        let mut reasons = problem.reasons_against(subject, *backend);
        !reasons.any(|reason| problem.reasons[reason].bars == Bars::Every)
    };
    let demanded = |requirement: &usize| {
        let requirement = &problem.requirements[*requirement];
        let eligible = (0..problem.backends.len())
            .filter(|b| requirement.accepts[*b])
            .filter(admissible);
        let spreads = requirement.spread.iter().map(|spread| {
            let grouped = spread.group_of.iter().enumerate();
            let groups: BTreeMap<_, _> = grouped
                .filter_map(|(b, group)| Some((name(b), (*group)?.to_string())))
                .collect();
            (spread.groups, groups)
        });
        DemandedCopies {
            name: requirement.name.clone(),
            copies: requirement.copies,
            eligible: eligible.map(name).collect(),
            spreads: spreads.collect(),
        }
    };
    Demand {
        requirements: subject.requirements.iter().map(demanded).collect(),
        kept_origin: subject.kept_origin().map(name),
    }
}
