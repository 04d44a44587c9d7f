//! The invariants of placement by name: one predicate each, for property tests, the simulator and production counters.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::{Violated, check, check_payback};
use crate::cost;
use crate::ground::{self, Ground};
use crate::moves::{Action, Move, MoveId};
use crate::plan::Plan;
use crate::problem::{Problem, Subject};
use crate::solution::Solution;

/// INVARIANT: PL-1. No copy is placed where a confinement, an admission rule or a cordon forbids it.
#[must_use]
pub fn pl_1(problem: &Problem, solution: &Solution) -> bool {
    let ground = Ground::of(problem);
    problem.datasets.iter().zip(&solution.sets).all(|(subject, set)| {
        let is_new = |backend: &&usize| copy_is_made(problem, subject, **backend);
        set.iter()
            .filter(is_new)
            .all(|backend| ground::causes(problem, &ground, subject, *backend).is_empty())
    })
}

fn copy_is_made(problem: &Problem, subject: &Subject, backend: usize) -> bool {
    cost::copy_cost(problem, subject, backend).transfer.is_some()
}

/// INVARIANT: PL-2. A dataset that the plan calls satisfied meets every requirement of every policy that selects it.
#[must_use]
pub fn pl_2(problem: &Problem, solution: &Solution, plan: &Plan) -> bool {
    let Ok(checked) = check(problem, solution) else {
        return false;
    };
    plan.datasets
        .iter()
        .zip(&checked.missing)
        .all(|(dataset, missing)| dataset.satisfied == (*missing == (0, 0, 0)))
}

/// INVARIANT: PL-3. No backend is above its capacity (or what it holds already) in the state that the moves lead to, nor
/// on the way, even if on each backend every copy runs as early and all that frees room as late as `after` allows.
#[must_use]
pub fn pl_3(problem: &Problem, moves: &[Move]) -> bool {
    let ground = Ground::of(problem);
    let known = moves.iter().all(|planned| backends(problem, planned).is_some());
    known && (0..problem.backends.len()).all(|backend| Adversary::of(problem, moves, backend).keeps(&ground))
}

/// What a move takes and frees of one backend, in bytes.
#[derive(Clone, Copy, Default)]
struct Bytes {
    taken: u128,
    freed: u128,
}

/// Runs moves in the order that is worst for one backend.
struct Adversary<'a> {
    backend: usize,
    moves: &'a [Move],
    bytes: Vec<Bytes>,
    /// Moves before each move that are not done.
    open: Vec<usize>,
    next: BTreeMap<MoveId, Vec<usize>>,
    done: usize,
}

impl<'a> Adversary<'a> {
    fn of(problem: &Problem, moves: &'a [Move], backend: usize) -> Self {
        let ids: BTreeSet<_> = moves.iter().map(|planned| planned.id).collect();
        let mut next: BTreeMap<MoveId, Vec<usize>> = BTreeMap::new();
        let mut open = Vec::new();
        for (place, planned) in moves.iter().enumerate() {
            let before: BTreeSet<_> = planned.after.iter().filter(|id| ids.contains(id)).collect();
            open.push(before.len());
            before
                .into_iter()
                .for_each(|id| next.entry(*id).or_default().push(place));
        }
        Self {
            backend,
            moves,
            bytes: moves
                .iter()
                .map(|planned| bytes_at(problem, planned, backend))
                .collect(),
            open,
            next,
            done: 0,
        }
    }

    /// Whether the backend keeps to its room: whatever frees nothing there ends at once, whatever does is held back
    /// until nothing else can begin, and then ends one by one.
    fn keeps(mut self, ground: &Ground) -> bool {
        let mut used = ground.used[self.backend];
        let mut held = BTreeSet::new();
        let mut ready: Vec<_> = (0..self.moves.len())
            .filter(|place| self.open[*place] == 0)
            .collect();
        loop {
            let Some(place) = ready.pop() else {
                // The least that frees anything: of what is held back it helps least.
                let Some((freed, place)) = held.pop_first() else {
                    break;
                };
                used = used.saturating_sub(freed);
                self.end(place, &mut ready);
                continue;
            };
            let Bytes { taken, freed } = self.bytes[place];
            used += taken;
            if used > ground.room[self.backend] {
                return false;
            }
            if freed > 0 {
                held.insert((freed, place));
            } else {
                self.end(place, &mut ready);
            }
        }
        self.done == self.moves.len()
    }

    fn end(&mut self, place: usize, ready: &mut Vec<usize>) {
        self.done += 1;
        for next in self.next.get(&self.moves[place].id).into_iter().flatten() {
            self.open[*next] -= 1;
            if self.open[*next] == 0 {
                ready.push(*next);
            }
        }
    }
}

/// What a move does to a backend: a copy takes room where it goes, and for a while on its relays.
fn bytes_at(problem: &Problem, planned: &Move, backend: usize) -> Bytes {
    let Some((subject, target, relays)) = backends(problem, planned) else {
        return Bytes::default();
    };
    let bytes = u128::from(subject.summary.bytes.0);
    let passing = if relays.contains(&backend) { bytes } else { 0 };
    match planned.action {
        Action::Copy { .. } => {
            let stays = if target == backend && subject.copy_on(backend).is_none() {
                bytes
            } else {
                0
            };
            Bytes {
                taken: stays + passing,
                freed: passing,
            }
        }
        Action::Retire { .. } => Bytes {
            taken: 0,
            freed: if target == backend { bytes } else { 0 },
        },
    }
}

/// The dataset of a move, the backend that is written or left, and the relays on the way, if all are known.
fn backends<'a>(problem: &'a Problem, planned: &Move) -> Option<(&'a Subject, usize, Vec<usize>)> {
    let subject = &problem.datasets[problem.dataset(planned.dataset.as_str())?];
    let (target, via) = match &planned.action {
        Action::Copy { to, via, .. } => (to, via.iter().collect()),
        Action::Retire { from } => (from, Vec::new()),
    };
    let relays = via.into_iter().map(|relay| problem.backend(relay.as_str()));
    Some((
        subject,
        problem.backend(target.as_str())?,
        relays.collect::<Option<_>>()?,
    ))
}

/// INVARIANT: MV-5. No copy is made or passed on where a rule forbids it, nor by a way that a link forbids.
#[must_use]
pub fn mv_5(problem: &Problem, moves: &[Move]) -> bool {
    let ground = Ground::of(problem);
    moves.iter().all(|planned| {
        let Action::Copy { from, .. } = &planned.action else {
            return true;
        };
        let (Some((subject, to, relays)), Some(from)) =
            (backends(problem, planned), problem.backend(from.as_str()))
        else {
            return false;
        };
        let passes = |relay: &usize| {
            problem.backends[*relay].relays
                && subject.copy_on(*relay).is_none()
                && ground::causes(problem, &ground, subject, *relay)
                    .iter()
                    .all(|cause| *cause == ground::Cause::NoWay)
        };
        let way: Vec<_> = [from]
            .into_iter()
            .chain(relays.iter().copied())
            .chain([to])
            .collect();
        let allowed = |hop: &[usize]| {
            !problem
                .links
                .get(&(hop[0], hop[1]))
                .is_some_and(|hop| hop.forbidden)
        };
        relays.iter().all(passes)
            && way.windows(2).all(allowed)
            && ground::causes(problem, &ground, subject, to)
                .iter()
                .all(|cause| *cause == ground::Cause::NoWay)
    })
}

/// Every copy is read where one is whole by then: a current copy that is not yet retired, or one that a move before it
/// makes.
#[must_use]
pub fn sources_exist(problem: &Problem, moves: &[Move]) -> bool {
    let by_id: BTreeMap<_, _> = moves.iter().map(|planned| (planned.id, planned)).collect();
    moves.iter().all(|planned| {
        let Action::Copy { from, .. } = &planned.action else {
            return true;
        };
        let makes = |id: &MoveId| {
            by_id.get(id).is_some_and(|before| {
                before.dataset == planned.dataset
                    && matches!(&before.action, Action::Copy { to, .. } if to == from)
            })
        };
        if planned.after.iter().any(makes) {
            return true;
        }
        let Some((subject, _, _)) = backends(problem, planned) else {
            return false;
        };
        let is_current = problem
            .backend(from.as_str())
            .is_some_and(|from| subject.is_current_on(from));
        let gone = moves.iter().any(|other| {
            other.dataset == planned.dataset
                && matches!(&other.action, Action::Retire { from: left } if left == from)
                && !comes_before(&by_id, planned.id, other)
        });
        is_current && !gone
    })
}

/// Whether a move has ended before another begins, through any chain of moves that wait for each other.
fn comes_before(by_id: &BTreeMap<MoveId, &Move>, first: MoveId, then: &Move) -> bool {
    let mut seen = BTreeSet::new();
    let mut waits_for: Vec<MoveId> = then.after.to_vec();
    while let Some(id) = waits_for.pop() {
        if id == first {
            return true;
        }
        if seen.insert(id)
            && let Some(before) = by_id.get(&id)
        {
            waits_for.extend(before.after.iter().copied());
        }
    }
    false
}

/// INVARIANT: PL-4. The lower bound is never above the objective of a checked plan.
#[must_use]
pub fn pl_4(problem: &Problem, solution: &Solution) -> bool {
    match check(problem, solution) {
        Ok(_) => true,
        Err(violated) => !violated
            .iter()
            .any(|violated| matches!(violated, Violated::BoundTooHigh { .. })),
    }
}

/// INVARIANT: PL-5. Where what is there now keeps every rule and meets as much, a plan that changes anything strictly
/// lowers the objective. It holds of the cheapest plan; a goal after cost may pay for less carbon.
#[must_use]
pub fn pl_5(problem: &Problem, solution: &Solution) -> bool {
    let sets: Vec<_> = problem.datasets.iter().map(Subject::now).collect();
    let now = Solution {
        objective: cost::objective(problem, &sets),
        lower_bound: 0.0,
        shadow_prices: vec![0.0; problem.backends.len()],
        shortages: Vec::new(),
        stuck: BTreeMap::new(),
        sets,
    };
    let (Ok(before), Ok(after)) = (check(problem, &now), check(problem, solution)) else {
        return true;
    };
    before.missing != after.missing
        || now.sets == solution.sets
        || leaves_what_is_forbidden(problem, &now, solution)
        || solution.objective.per_month < now.objective.per_month
}

/// What `paybackDays` asks for: no copy of a satisfied dataset is made unless the change saves within the strictest days
/// of the policies that select it what its transfers cost.
#[must_use]
pub fn changes_pay_back(problem: &Problem, solution: &Solution) -> bool {
    check_payback(problem, solution).is_empty()
}

/// Whether a solution leaves a place that is not admissible, where copies stay only for want of better.
fn leaves_what_is_forbidden(problem: &Problem, now: &Solution, solution: &Solution) -> bool {
    let ground = Ground::of(problem);
    let left = |((subject, before), after): ((&Subject, &Vec<usize>), &Vec<usize>)| {
        let gone = before.iter().filter(|backend| !after.contains(backend));
        gone.into_iter()
            .any(|backend| !ground::causes(problem, &ground, subject, *backend).is_empty())
    };
    problem
        .datasets
        .iter()
        .zip(&now.sets)
        .zip(&solution.sets)
        .any(left)
}
