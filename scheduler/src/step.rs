//! The steps of a plan as the scheduler sees them, and where each stands.

use std::fmt;
use std::sync::Arc;

use domicile_estate::{BackendName, ByteCount, DatasetName};

use crate::Demand;

/// What stands between the id of a move and the part of it that a step does.
const PART: char = '/';

/// The id of a step: that of a move of a plan, or of a part of it, such as passing a copy on through a relay.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(Arc<str>);

impl StepId {
    /// Takes a plan's id of a move.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(Arc::from(id))
    }

    /// The id of a part of this move.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        Self(Arc::from(format!("{}{PART}{name}", self.0)))
    }

    /// The id of the move of which this is a part, or is.
    #[must_use]
    pub fn of_move(&self) -> Self {
        self.0.split(PART).next().map_or_else(|| self.clone(), Self::new)
    }

    /// Whether this is a part of a move beside what the move is for.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.0.contains(PART)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One copy to make or retire.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its id in the plan.
    pub id: StepId,
    /// The dataset.
    pub dataset: DatasetName,
    /// What is to be done.
    pub action: Action,
    /// Bytes that it moves or deletes.
    pub bytes: ByteCount,
    /// Room that it takes (a copy; none where one is recorded already) or makes (a retirement), in bytes.
    pub room: ByteCount,
    /// Objects that it moves or deletes.
    pub objects: u64,
    /// Steps that must be done before this one begins.
    pub after: Vec<StepId>,
    /// Steps that must have ended before this one begins, well or not: a copy that was to be read, and others can
    /// be read instead; a copy for whose sake another was passed on.
    pub ended: Vec<StepId>,
    /// For a retirement: the step that makes the copy in this same run. If that was never begun, there is nothing to
    /// retire.
    pub undoes: Option<StepId>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make or complete a copy.
    Copy {
        /// Where to read, best first; the objects of one copy may come from several sources.
        sources: Vec<BackendName>,
        /// Where to write.
        to: BackendName,
    },
    /// Retire a copy.
    Retire {
        /// Where it lies.
        from: BackendName,
        /// What must stay met by verified copies.
        demand: Demand,
    },
}

impl Step {
    /// The backend that the step writes to or deletes from.
    #[must_use]
    pub fn target(&self) -> &BackendName {
        match &self.action {
            Action::Copy { to, .. } => to,
            Action::Retire { from, .. } => from,
        }
    }

    /// Whether the step makes a copy.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        matches!(self.action, Action::Copy { .. })
    }
}

/// Who or what holds a step back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBy {
    /// A bound of this run or a time that has to pass, for it or for what it waits for.
    Bound,
    /// A person, until he resumes it.
    Pause,
    /// A person, for good.
    Cancel,
}

/// Where a step stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepState {
    /// It has not begun: steps before it are not done, or there is no room yet.
    Waiting,
    /// It is under way for the `attempt`th time, counted from 1.
    Running {
        /// Which attempt.
        attempt: u32,
    },
    /// It failed and will be tried again.
    RetryAt {
        /// Not before this time.
        at_ms: u64,
        /// Attempts made.
        attempts: u32,
        /// Why it failed, for people.
        reason: String,
    },
    /// It is done: copied, verified and recorded; or retired and confirmed.
    Done,
    /// It failed for good.
    Failed {
        /// Why, for people.
        reason: String,
    },
    /// It could be done, but not in this run; a later one may do it. Nothing is wrong.
    Held {
        /// Who or what holds it back.
        by: HeldBy,
        /// Why, for people.
        reason: String,
    },
    /// It was not begun, and will not be in this run.
    Skipped {
        /// Why, for people.
        reason: String,
    },
}

impl StepState {
    /// Whether nothing more happens to the step in this run.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Done | Self::Failed { .. } | Self::Held { .. } | Self::Skipped { .. }
        )
    }
}
