//! What each dataset has to do: its copies by their routes, then its retirements.

use crate::ground::Ground;
use crate::problem::{Problem, Subject};
use crate::routes::{self, Leg};
use crate::solution::{Solution, Stuck};

use super::{Blocked, Move, MoveId, retired, targets};

/// All that is to be done.
pub(super) struct Parts<'a> {
    pub problem: &'a Problem,
    pub ground: Ground,
    /// Backends that offer to relay.
    pub relays: Vec<usize>,
    /// The datasets that change anything, by name.
    pub parts: Vec<Part>,
    /// Their moves, in the order of the parts.
    pub moves: Vec<Move>,
    /// Where each move writes or deletes.
    pub at: Vec<Spot>,
    /// For each backend, bytes that new copies will take, less what is free there now. Where this is above zero, not
    /// all of them find room before something is retired.
    pub lack: Vec<i128>,
    /// For each backend, the most that any copy needs there as a relay.
    pub passing: Vec<i128>,
}

/// The backend where a move writes or deletes, and whether it takes room there: what is recorded there already is only
/// completed. Kept close together, for the order looks at it again and again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot(u32);

/// The bit of a spot that says that no room is taken.
const ROOMLESS: u32 = 1 << 31;

impl Spot {
    fn new(backend: usize, takes_room: bool) -> Self {
        let backend = narrow(backend);
        Self(if takes_room { backend } else { backend | ROOMLESS })
    }

    pub fn backend(self) -> usize {
        (self.0 & !ROOMLESS) as usize
    }

    pub fn takes_room(self) -> bool {
        self.0 & ROOMLESS == 0
    }
}

/// One dataset that changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// The bytes of each of its copies.
    pub bytes: u64,
    /// The dataset.
    pub dataset: u32,
    /// Its first move; its copies come first.
    pub first: u32,
    pub copies: u32,
    pub retirements: u32,
}

impl Part {
    pub fn copies(&self) -> std::ops::Range<usize> {
        let first = self.first as usize;
        first..first + self.copies as usize
    }

    pub fn retirements(&self) -> std::ops::Range<usize> {
        let first = (self.first + self.copies) as usize;
        first..first + self.retirements as usize
    }
}

impl<'a> Parts<'a> {
    /// The parts of a solution; or the datasets for which no route is left, since the relays have no room.
    pub fn of(problem: &'a Problem, solution: &Solution) -> Result<Self, Blocked> {
        let ground = Ground::of(problem);
        let free = ground
            .room
            .iter()
            .zip(&ground.used)
            .map(|(room, used)| signed(room - used));
        let count = problem.backends.len();
        let mut parts = Self {
            problem,
            relays: (0..count)
                .filter(|backend| problem.backends[*backend].relays)
                .collect(),
            parts: Vec::new(),
            moves: Vec::new(),
            at: Vec::new(),
            lack: free.map(|free| -free).collect(),
            passing: vec![0; count],
            ground,
        };
        for (dataset, set) in solution.sets.iter().enumerate() {
            parts.count_room(dataset, set);
        }
        let mut stuck = Vec::new();
        for (dataset, set) in solution.sets.iter().enumerate() {
            if let Err(backends) = parts.add(dataset, set) {
                stuck.push((dataset, Stuck::Relays(backends)));
            }
        }
        if stuck.is_empty() { Ok(parts) } else { Err(stuck) }
    }

    pub fn subject(&self, part: &Part) -> &'a Subject {
        &self.problem.datasets[part.dataset as usize]
    }

    /// The backend of a move.
    pub fn backend(&self, place: usize) -> usize {
        self.at[place].backend()
    }

    /// Bytes on a backend that nothing of the plan will need, now or later.
    pub fn spare(&self, lack: &[i128], backend: usize) -> i128 {
        -lack[backend] - self.passing[backend]
    }

    fn count_room(&mut self, dataset: usize, set: &[usize]) {
        let subject = &self.problem.datasets[dataset];
        let new = set.iter().filter(|backend| subject.copy_on(**backend).is_none());
        // Where there is nothing to read, nothing is made.
        if subject.has_current() {
            new.for_each(|backend| self.lack[*backend] += i128::from(subject.summary.bytes.0));
        }
    }

    fn add(&mut self, dataset: usize, set: &[usize]) -> Result<(), Vec<usize>> {
        let problem = self.problem;
        let subject = &problem.datasets[dataset];
        let targets = targets(problem, subject, set);
        let retired = retired(problem, subject, set);
        if targets.is_empty() && retired.is_empty() {
            return Ok(());
        }
        let legs = if targets.len() > 1 || !problem.links.is_empty() || !self.relays.is_empty() {
            let sources: Vec<_> = current(subject).collect();
            let to: Vec<_> = targets.iter().map(|(to, _)| *to).collect();
            let relays = self.roomy_relays(subject);
            routes::tree(problem, subject, &sources, &to, &relays).ok_or(to)?
        } else {
            let direct = |(to, transfer): (usize, crate::cost::Transfer)| Leg {
                to,
                from: transfer.from,
                via: Vec::new(),
                from_new: false,
                transfer,
            };
            targets.into_iter().map(direct).collect()
        };
        for relay in legs.iter().flat_map(|leg| &leg.via) {
            let passing = &mut self.passing[*relay];
            *passing = (*passing).max(i128::from(subject.summary.bytes.0));
        }
        let first = narrow(self.moves.len());
        self.moves.extend(copies(problem, subject, &legs));
        let empty = subject.summary.bytes.0 == 0;
        let spot = |leg: &Leg| Spot::new(leg.to, subject.copy_on(leg.to).is_none() && !empty);
        self.at.extend(legs.iter().map(spot));
        for from in &retired {
            self.moves.push(Move::retire(problem, subject, *from));
            self.at.push(Spot::new(*from, false));
        }
        self.parts.push(Part {
            bytes: subject.summary.bytes.0,
            dataset: narrow(dataset),
            first,
            copies: narrow(legs.len()),
            retirements: narrow(retired.len()),
        });
        Ok(())
    }

    /// Relays that have room for a dataset whatever else the plan does.
    pub fn roomy_relays(&self, subject: &Subject) -> Vec<usize> {
        let bytes = i128::from(subject.summary.bytes.0);
        let has_room = |relay: &usize| -self.lack[*relay] >= bytes;
        self.relays.iter().copied().filter(has_room).collect()
    }
}

/// The current copies of a dataset.
pub(super) fn current(subject: &Subject) -> impl Iterator<Item = usize> {
    let current = subject.copies.iter().filter(|held| held.is_current());
    current.map(|held| held.backend)
}

/// The copies of a dataset by their routes; one that is read from a new copy waits for it.
pub(super) fn copies(problem: &Problem, subject: &Subject, legs: &[Leg]) -> Vec<Move> {
    let mut moves: Vec<_> = legs.iter().map(|leg| Move::copy(problem, subject, leg)).collect();
    let ids: Vec<MoveId> = moves.iter().map(|planned| planned.id).collect();
    for (planned, leg) in moves.iter_mut().zip(legs).filter(|(_, leg)| leg.from_new) {
        let source = legs.iter().position(|other| other.to == leg.from);
        planned.after = source.map(|place| ids[place]).into_iter().collect();
    }
    moves
}

pub(super) fn signed(bytes: u128) -> i128 {
    i128::try_from(bytes).unwrap_or(i128::MAX / 4)
}

/// Positions are kept in four bytes: a plan of more than four thousand million moves is not to be held in memory.
pub(super) fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or_else(|_| panic!("a plan has fewer than 2^32 moves"))
}
