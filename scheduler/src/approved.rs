//! An approved plan as steps: what to do, where to read, what must stay met, and the room there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domicile_estate::{BackendName, ByteCount, CopyState};
use domicile_placement::{Action as Planned, Bars, Held, Move, MoveId, Plan, Problem, Profile, Subject};

use crate::{Action, Demand, DemandedCopies, DemandedNines, Rooms, Step, StepId};

/// The steps of a plan in its order, with the room on every backend. A copy that goes through relays becomes a step for
/// each relay, one for the copy itself, and one for each relay to be emptied again.
///
/// # Panics
/// If the plan is not of this problem.
#[must_use]
pub fn approved(problem: &Problem, plan: &Plan) -> (Vec<Step>, Rooms) {
    let mut steps = Vec::with_capacity(plan.moves.len());
    let mut stated = Stated::new();
    for moves in plan.moves.chunk_by(|a, b| a.dataset == b.dataset) {
        let dataset = Approved::of(problem, plan, moves, &mut stated);
        moves.iter().for_each(|planned| dataset.add(planned, &mut steps));
    }
    wait_for_relays(plan, &mut steps);
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

/// What datasets demand, by their profile, where the plan has their copies, and the relays that these pass.
type Stated<'a> =
    BTreeMap<(*const Profile, BTreeSet<BackendName>, BTreeSet<&'a BackendName>), Arc<[DemandedCopies]>>;

/// The moves of one dataset.
struct Approved<'a> {
    problem: &'a Problem,
    subject: &'a Subject,
    moves: &'a [Move],
    /// What must stay met, if anything is to be retired.
    demand: Demand,
}

impl<'a> Approved<'a> {
    fn of(problem: &'a Problem, plan: &Plan, moves: &'a [Move], stated: &mut Stated<'a>) -> Self {
        let name = &moves[0].dataset;
        let dataset = problem.dataset(name.as_str());
        let subject = dataset.map(|index| &problem.datasets[index]);
        let subject = subject.unwrap_or_else(|| panic!("`{name}` is planned and not in the problem"));
        let mut passing = BTreeSet::new();
        moves.iter().for_each(|planned| passing.extend(via(planned)));
        let retires = |planned: &Move| matches!(planned.action, Planned::Retire { .. });
        let demand = if passing.is_empty() && !moves.iter().any(retires) {
            Demand::default()
        } else {
            let key = (
                Arc::as_ptr(&subject.profile),
                planned_set(plan, &moves[0]),
                passing,
            );
            let known = stated.get(&key).map(Arc::clone);
            Demand {
                requirements: known.unwrap_or_else(|| {
                    let requirements: Arc<[_]> = demanded(problem, subject, &key.1, &key.2).into();
                    stated.insert(key, Arc::clone(&requirements));
                    requirements
                }),
                kept_origin: subject
                    .kept_origin()
                    .map(|backend| problem.backends[backend].name.clone()),
            }
        };
        Self {
            problem,
            subject,
            moves,
            demand,
        }
    }

    /// The steps of a move.
    fn add(&self, planned: &Move, steps: &mut Vec<Step>) {
        match &planned.action {
            Planned::Copy { from, to, .. } => self.add_copy(planned, (from, to), steps),
            Planned::Retire { from } => steps.push(Step {
                action: Action::Retire {
                    from: from.clone(),
                    demand: self.demand.clone(),
                },
                room: self.there(from),
                after: planned.after.iter().map(step_id).collect(),
                ..self.blank(planned)
            }),
        }
    }

    fn add_copy(&self, planned: &Move, (from, to): (&BackendName, &BackendName), steps: &mut Vec<Step>) {
        let whole = self.subject.summary.bytes;
        let source = self.makes(planned, from);
        let room = |id: &&MoveId| source != Some(**id);
        let after: Vec<_> = planned.after.iter().filter(room).map(step_id).collect();
        let mut read = from;
        let mut ended: Vec<_> = source.iter().map(step_id).collect();
        let mut hops: Vec<(StepId, &BackendName)> = Vec::new();
        for (number, relay) in via(planned).iter().enumerate() {
            let id = step_id(&planned.id).part(&format!("to-relay-{}", number + 1));
            steps.push(Step {
                id: id.clone(),
                action: self.copy(planned, read, relay),
                bytes: whole,
                room: whole,
                objects: self.subject.summary.objects,
                after: after.clone(),
                ended,
                ..self.blank(planned)
            });
            hops.push((id.clone(), relay));
            (read, ended) = (relay, vec![id]);
        }
        steps.push(Step {
            action: self.copy(planned, read, to),
            room: ByteCount(whole.0.saturating_sub(self.there(to).0)),
            after,
            ended,
            ..self.blank(planned)
        });
        let next = hops
            .iter()
            .skip(1)
            .map(|(id, _)| id.clone())
            .chain([step_id(&planned.id)]);
        for (number, ((made, relay), next)) in hops.iter().zip(next).enumerate() {
            steps.push(Step {
                id: emptied(&planned.id, number),
                action: Action::Retire {
                    from: (*relay).clone(),
                    demand: self.demand.clone(),
                },
                bytes: whole,
                room: whole,
                objects: self.subject.summary.objects,
                ended: vec![made.clone(), next],
                undoes: Some(made.clone()),
                ..self.blank(planned)
            });
        }
    }

    /// A step of a move that does nothing yet.
    fn blank(&self, planned: &Move) -> Step {
        Step {
            id: step_id(&planned.id),
            dataset: planned.dataset.clone(),
            action: Action::Copy {
                sources: Vec::new(),
                to: target(planned).clone(),
            },
            bytes: planned.bytes,
            room: ByteCount(0),
            objects: planned.objects,
            after: Vec::new(),
            ended: Vec::new(),
            undoes: None,
        }
    }

    /// What a recorded copy on a backend takes up.
    fn there(&self, backend: &BackendName) -> ByteCount {
        let recorded = self.problem.backend(backend.as_str());
        let held = recorded.and_then(|at| self.subject.copy_on(at));
        held.map_or(ByteCount(0), |held| occupied(self.subject, held))
    }

    /// The move that makes the copy which another one reads, if it is not there yet.
    fn makes(&self, planned: &Move, from: &BackendName) -> Option<MoveId> {
        let at = self.problem.backend(from.as_str())?;
        if self.subject.is_current_on(at) {
            return None;
        }
        let makes = |other: &&Move| {
            planned.after.contains(&other.id)
                && matches!(&other.action, Planned::Copy { to, .. } if to == from)
        };
        self.moves.iter().find(makes).map(|other| other.id)
    }

    /// The planned source first, then every other current copy from which a way is allowed; then those out of reach,
    /// and last what the plan may have retired by then.
    fn copy(&self, planned: &Move, from: &BackendName, to: &BackendName) -> Action {
        let problem = self.problem;
        let current = self.subject.copies.iter().filter(|held| held.is_current());
        let target = problem.backend(to.as_str());
        let allowed = |from: usize| {
            let hop = target.and_then(|to| problem.links.get(&(from, to)));
            !hop.is_some_and(|hop| hop.forbidden)
        };
        let mut others: Vec<_> = current
            .filter(|held| allowed(held.backend))
            .map(|held| &problem.backends[held.backend])
            .filter(|place| place.name != *from && place.name != *to)
            .collect();
        others.sort_by_key(|place| (self.may_be_gone(planned, &place.name), !place.reachable));
        let sources = std::iter::once(from).chain(others.into_iter().map(|place| &place.name));
        Action::Copy {
            sources: sources.cloned().collect(),
            to: to.clone(),
        }
    }

    /// Whether a copy may be retired before a move has read it.
    fn may_be_gone(&self, planned: &Move, backend: &BackendName) -> bool {
        self.moves.iter().any(|other| {
            matches!(&other.action, Planned::Retire { from } if from == backend)
                && !other.after.contains(&planned.id)
        })
    }
}

fn step_id(id: &MoveId) -> StepId {
    StepId::new(&id.to_string())
}

/// The step that empties a relay of a move.
fn emptied(id: &MoveId, number: usize) -> StepId {
    step_id(id).part(&format!("empty-relay-{}", number + 1))
}

fn via(planned: &Move) -> &[BackendName] {
    match &planned.action {
        Planned::Copy { via, .. } => via,
        Planned::Retire { .. } => &[],
    }
}

fn target(planned: &Move) -> &BackendName {
    match &planned.action {
        Planned::Copy { to, .. } => to,
        Planned::Retire { from } => from,
    }
}

/// A copy that waits for another one, and does not read it, waits for the room of its relays: until these are empty.
fn wait_for_relays(plan: &Plan, steps: &mut [Step]) {
    let passed = plan.moves.iter().filter(|planned| !via(planned).is_empty());
    let relays: BTreeMap<StepId, Vec<StepId>> = passed
        .map(|planned| {
            let emptied = (0..via(planned).len()).map(|number| emptied(&planned.id, number));
            (step_id(&planned.id), emptied.collect())
        })
        .collect();
    if relays.is_empty() {
        return;
    }
    for step in steps.iter_mut().filter(|step| step.is_copy()) {
        let (room, after): (Vec<_>, Vec<_>) = std::mem::take(&mut step.after)
            .into_iter()
            .partition(|id| relays.contains_key(id));
        step.after = after;
        step.ended.extend(room.iter().flat_map(|id| &relays[id]).cloned());
    }
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
/// A copy on a relay counts for nothing, so that nothing else goes for its sake, and it may always go itself. A copy on
/// a third place counts like any other: it stands in for the one that makes way.
fn demanded(
    problem: &Problem,
    subject: &Subject,
    set: &BTreeSet<BackendName>,
    passing: &BTreeSet<&BackendName>,
) -> Vec<DemandedCopies> {
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
            .filter(|name| !passing.contains(name))
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
        let durability = requirement.durability.as_ref().map(|durability| {
            let adds = durability.of.iter().enumerate();
            let all = DemandedNines {
                milli_nines: u32::MAX,
                of: adds.filter_map(|(b, nines)| Some((name(b), (*nines)?))).collect(),
            };
            let met = all.nines_in(set, &eligible);
            DemandedNines {
                milli_nines: durability.milli_nines.min(met),
                ..all
            }
        });
        DemandedCopies {
            name: requirement.name.clone(),
            copies: requirement.copies.min(count(counting.len())),
            spreads: spreads.collect(),
            durability,
            eligible,
        }
    };
    subject.profile.requirements.iter().map(demanded).collect()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
