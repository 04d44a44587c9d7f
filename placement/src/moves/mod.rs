//! Moves: what to copy and what to retire, and what must wait for what.
//!
//! ```text
//!  Solution ─▶ parts: the copies of one dataset by the cheapest routes, then its retirements
//!           ─▶ order: whole parts, so that every copy finds room (way)
//!           ─▶ where parts wait for each other in a circle, one goes by a third place (circle)
//!           ─▶ `after`: what a copy reads, and whose room it takes (pool)
//! ```
//!
//! A dataset's retirements wait for its copies. A copy that finds no room waits for the retirements that make it, so
//! that no backend is ever above its capacity on the way (PL-3). Room counts everything that is recorded, also what is
//! yet to be retired.

mod circle;
mod id;
mod part;
mod pool;
#[cfg(test)]
mod tests;
mod way;

use domicile_estate::{BackendName, ByteCount, DatasetName};

use crate::cost::{self, Transfer};
use crate::ground;
use crate::problem::{Problem, Subject};
use crate::routes::Leg;
use crate::solution::{Solution, Stuck};

pub use id::MoveId;
use way::Way;

/// One copy to make or to retire.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// Its id: equal for equal dataset, action and places.
    pub id: MoveId,
    /// The dataset.
    pub dataset: DatasetName,
    /// What is done.
    pub action: Action,
    /// Bytes to move or to delete.
    pub bytes: ByteCount,
    /// Objects to move or to delete.
    pub objects: u64,
    /// Ids of the moves that must be done before, sorted: copies that it reads or replaces, retirements that make its
    /// room.
    pub after: Box<[MoveId]>,
}

/// What a move does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Makes, completes or repairs a copy.
    Copy {
        /// Where it is read: a current copy, or one that a move in `after` makes.
        from: BackendName,
        /// Where it is written.
        to: BackendName,
        /// Relays on the way, in order: the dataset lies on each of them for a while.
        via: Box<[BackendName]>,
        /// Money, once, without priced carbon, over all hops.
        cost: f64,
        /// kg CO2e, once.
        carbon_kg: f64,
    },
    /// Deletes a copy.
    Retire {
        /// Where it lies.
        from: BackendName,
    },
}

impl Move {
    fn copy(problem: &Problem, subject: &Subject, leg: &Leg) -> Self {
        let name = |backend: usize| &problem.backends[backend].name;
        let (from, to) = (name(leg.from), name(leg.to));
        Self {
            id: MoveId::of(&subject.name, "Copy", from.as_str(), to.as_str()),
            dataset: subject.name.clone(),
            action: Action::Copy {
                from: from.clone(),
                to: to.clone(),
                via: leg.via.iter().map(|relay| name(*relay).clone()).collect(),
                cost: leg.transfer.money,
                carbon_kg: leg.transfer.carbon_kg,
            },
            bytes: ByteCount(leg.transfer.bytes),
            objects: leg.transfer.objects,
            after: Box::default(),
        }
    }

    fn retire(problem: &Problem, subject: &Subject, from: usize) -> Self {
        let from = &problem.backends[from].name;
        Self {
            id: MoveId::of(&subject.name, "Retire", from.as_str(), ""),
            dataset: subject.name.clone(),
            action: Action::Retire { from: from.clone() },
            bytes: subject.summary.bytes,
            objects: subject.summary.objects,
            after: Box::default(),
        }
    }
}

impl Move {
    /// Copies first, then by the backend that is written or left: with the dataset, the order of a plan.
    fn rank(&self) -> (u8, &BackendName) {
        match &self.action {
            Action::Copy { to, .. } => (0, to),
            Action::Retire { from } => (1, from),
        }
    }
}

/// Bytes in lower case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The backends to which a dataset's copies are to be made, completed or repaired for a set.
pub(crate) fn targets(problem: &Problem, subject: &Subject, set: &[usize]) -> Vec<(usize, Transfer)> {
    let made = |backend: &usize| {
        cost::copy_cost(problem, subject, *backend)
            .transfer
            .map(|made| (*backend, made))
    };
    set.iter().filter_map(made).collect()
}

/// The backends from which a dataset's copies are to be retired for a set.
pub(crate) fn retired(problem: &Problem, subject: &Subject, set: &[usize]) -> Vec<usize> {
    if subject.copies.iter().all(|held| set.contains(&held.backend)) {
        return Vec::new();
    }
    let left = ground::left_alone(problem, subject, set);
    let retires = |backend: &usize| !set.contains(backend) && !left.contains(backend);
    subject
        .copies
        .iter()
        .map(|held| held.backend)
        .filter(retires)
        .collect()
}

/// What the copies of a plan cost once by the routes that they really take, without priced carbon: what goes by a third
/// place included.
#[must_use]
pub(crate) fn routed_once(moves: &[Move]) -> f64 {
    let cost = |planned: &Move| match planned.action {
        Action::Copy { cost, .. } => Some(cost),
        Action::Retire { .. } => None,
    };
    moves.iter().filter_map(cost).sum()
}

/// Datasets whose copies cannot be made, by name; of a circle each with the backends that it waits for itself.
pub(crate) type Blocked = Vec<(usize, Stuck)>;

/// The moves that lead to a solution, by dataset, copies first, then by backend.
pub(crate) fn moves(problem: &Problem, solution: &Solution) -> Result<Vec<Move>, Blocked> {
    let parts = part::Parts::of(problem, solution)?;
    Way::find(parts)
}
