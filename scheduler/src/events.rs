//! What a shell tells the scheduler and what it is told.

use std::collections::BTreeMap;

use domicile_estate::{BackendName, ByteCount, DatasetName};

use crate::room::Rooms;
use crate::step::{Step, StepId, StepState};

/// Bounds of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Steps under way at once.
    pub running: usize,
    /// Attempts at one step, the first included.
    pub attempts: u32,
    /// Wait before the second attempt; it doubles with each further one.
    pub backoff_ms: u64,
    /// Longest wait.
    pub backoff_max_ms: u64,
    /// How much may be retired.
    pub retiring: RetireCaps,
}

/// How much one run may retire; the others are held back. What a run itself has put on relays does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetireCaps {
    /// Copies; `None`: any number.
    pub copies: Option<u64>,
    /// Bytes of them together; `None`: any number.
    pub bytes: Option<ByteCount>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            running: 4,
            attempts: 3,
            backoff_ms: 500,
            backoff_max_ms: 30_000,
            retiring: RetireCaps::default(),
        }
    }
}

/// What a person has ordered of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It is to rest until it is resumed.
    Pause,
    /// It is not to be made.
    Cancel,
}

/// Orders by the dataset and the backend that a move writes to or deletes from.
pub type Orders = BTreeMap<(DatasetName, BackendName), Order>;

/// What a shell tells the scheduler.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A plan was approved: these are its steps, in the plan's order, and the room there is.
    Approved {
        /// The steps.
        steps: Vec<Step>,
        /// The room on every backend.
        rooms: Rooms,
    },
    /// A copy ended.
    CopyEnded {
        /// Which.
        id: StepId,
        /// How.
        outcome: CopyOutcome,
    },
    /// A retirement ended.
    RetireEnded {
        /// Which.
        id: StepId,
        /// How.
        outcome: RetireOutcome,
    },
    /// What people have ordered of moves is this now; what was ordered before and is not there is lifted.
    Ordered(Orders),
    /// The time of a `WakeAt` has come.
    Woke,
    /// Begin nothing more; what is under way ends by itself.
    Stop,
}

/// How a copy ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyOutcome {
    /// Every object was read back, matches and is recorded as verified.
    Verified,
    /// It rests, for a person has ordered so; what was carried is recorded.
    Ordered(Order),
    /// Some objects failed; the others are verified and recorded.
    Failed {
        /// Why, for people: backend, object, what happened.
        reason: String,
        /// Whether another attempt may help.
        transient: bool,
        /// A backend of which everything is out of reach, if that is the cause.
        lost: Option<BackendName>,
    },
}

/// How a retirement ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetireOutcome {
    /// Every object is gone, confirmed and recorded.
    Retired,
    /// The copy may go, but not yet; nothing was deleted.
    NotYet {
        /// Why, for people.
        reason: String,
    },
    /// The re-check found that the copy is still needed; nothing was deleted.
    Needed {
        /// Why, for people.
        reason: String,
    },
    /// Deleting failed; what is left is recorded as retiring.
    Failed {
        /// Why, for people.
        reason: String,
        /// Whether another attempt may help.
        transient: bool,
    },
}

/// What the scheduler tells a shell to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Make the copy: copy, read back, verify, record; then tell by `CopyEnded`.
    StartCopy(Step),
    /// Retire the copy: re-check in one transaction, mark, delete, confirm; then tell by `RetireEnded`.
    StartRetire(Step),
    /// Record that a backend is out of reach.
    MarkUnreachable {
        /// Which.
        backend: BackendName,
        /// Why, for people.
        reason: String,
    },
    /// Record where a step stands.
    Note {
        /// Which.
        id: StepId,
        /// Where it stands.
        state: StepState,
    },
    /// Send `Woke` at this time, or any event before.
    WakeAt {
        /// When.
        at_ms: u64,
    },
    /// Everything has ended.
    Settled(Summary),
}

/// What became of the steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Copies made and verified, those on relays aside.
    pub copied: u64,
    /// Copies retired, those on relays aside.
    pub retired: u64,
    /// Moves of which a step failed, with their reasons, in the plan's order.
    pub failed: Vec<(StepId, String)>,
    /// Moves of which a step was not begun, with their reasons, in the plan's order.
    pub skipped: Vec<(StepId, String)>,
    /// Moves that were held back and may be made by a later run, with their reasons, in the plan's order.
    pub held: Vec<(StepId, String)>,
    /// Whether the run was stopped before its end.
    pub stopped: bool,
}
