//! The state machine: which step begins, waits, is tried again or given up.

use std::collections::BTreeMap;

use domicile_estate::{BackendName, ByteCount};

use crate::room::Rooms;
use crate::step::{Action, Step, StepId, StepState};

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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            running: 4,
            attempts: 3,
            backoff_ms: 500,
            backoff_max_ms: 30_000,
        }
    }
}

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
    /// Whether the run was stopped before its end.
    pub stopped: bool,
}

/// The state machine of one run.
#[derive(Debug, Clone, Default)]
pub struct Scheduler {
    limits: Limits,
    order: Vec<StepId>,
    steps: BTreeMap<StepId, (Step, StepState)>,
    rooms: Rooms,
    lost: BTreeMap<BackendName, String>,
    stopping: bool,
    settled: bool,
}

impl Scheduler {
    /// A scheduler with nothing to do.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Where a step stands.
    #[must_use]
    pub fn state_of(&self, id: &StepId) -> Option<&StepState> {
        self.steps.get(id).map(|(_, state)| state)
    }

    /// The room as the scheduler accounts for it.
    #[must_use]
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Takes one event at a time `now_ms` and says what to do. Events about steps that are not under way (late or
    /// doubled ones) change nothing.
    pub fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Command> {
        let mut commands = Vec::new();
        match event {
            Event::Approved { steps, rooms } => self.begin(steps, rooms),
            Event::CopyEnded { id, outcome } => self.copy_ended(now_ms, &id, outcome, &mut commands),
            Event::RetireEnded { id, outcome } => self.retire_ended(now_ms, &id, outcome, &mut commands),
            Event::Woke => {}
            Event::Stop => self.stopping = true,
        }
        self.advance(now_ms, &mut commands);
        commands
    }

    fn begin(&mut self, steps: Vec<Step>, rooms: Rooms) {
        self.rooms = rooms;
        self.settled = false;
        self.order = steps.iter().map(|step| step.id.clone()).collect();
        self.steps = steps
            .into_iter()
            .map(|s| (s.id.clone(), (s, StepState::Waiting)))
            .collect();
        assert_eq!(
            self.order.len(),
            self.steps.len(),
            "two moves of a plan have the same id"
        );
    }

    fn running_attempt(&self, id: &StepId) -> Option<u32> {
        match self.state_of(id) {
            Some(StepState::Running { attempt }) => Some(*attempt),
            _ => None,
        }
    }

    fn set(&mut self, id: &StepId, state: StepState, commands: &mut Vec<Command>) {
        if let Some(entry) = self.steps.get_mut(id) {
            entry.1 = state.clone();
            // A move stands where the step stands for which it is there; its parts are nobody's business.
            if !id.is_part() {
                commands.push(Command::Note {
                    id: id.clone(),
                    state,
                });
            }
        }
    }

    fn copy_ended(&mut self, now_ms: u64, id: &StepId, outcome: CopyOutcome, commands: &mut Vec<Command>) {
        let Some(attempts) = self.running_attempt(id) else {
            return;
        };
        match outcome {
            CopyOutcome::Verified => self.set(id, StepState::Done, commands),
            CopyOutcome::Failed {
                reason,
                transient,
                lost,
            } => {
                if let Some(backend) = lost {
                    self.lost.insert(backend.clone(), reason.clone());
                    commands.push(Command::MarkUnreachable {
                        backend,
                        reason: reason.clone(),
                    });
                }
                let state = self.after_failure(now_ms, attempts, reason, transient);
                self.set(id, state, commands);
            }
        }
    }

    fn retire_ended(
        &mut self,
        now_ms: u64,
        id: &StepId,
        outcome: RetireOutcome,
        commands: &mut Vec<Command>,
    ) {
        let Some(attempts) = self.running_attempt(id) else {
            return;
        };
        let state = match outcome {
            RetireOutcome::Retired => {
                if let Some((step, _)) = self.steps.get(id) {
                    self.rooms.release(step.target(), step.room);
                }
                StepState::Done
            }
            RetireOutcome::Needed { reason } => StepState::Skipped { reason },
            RetireOutcome::Failed { reason, transient } => {
                self.after_failure(now_ms, attempts, reason, transient)
            }
        };
        self.set(id, state, commands);
    }

    /// INVARIANT: SC-2. Every retry is bounded, backed off and has a reason.
    fn after_failure(&self, now_ms: u64, attempts: u32, reason: String, transient: bool) -> StepState {
        if !transient || attempts >= self.limits.attempts || self.stopping {
            return StepState::Failed { reason };
        }
        let doubled = self.limits.backoff_ms.saturating_mul(1 << (attempts - 1).min(20));
        let at_ms = now_ms.saturating_add(doubled.min(self.limits.backoff_max_ms));
        StepState::RetryAt {
            at_ms,
            attempts,
            reason,
        }
    }

    fn advance(&mut self, now_ms: u64, commands: &mut Vec<Command>) {
        if self.settled {
            return;
        }
        self.skip_what_cannot_begin(commands);
        self.start_what_can(now_ms, commands);
        if self.count(|s| matches!(s, StepState::Running { .. })) > 0 {
            return;
        }
        if let Some(at_ms) = self.next_retry() {
            commands.push(Command::WakeAt { at_ms });
            return;
        }
        // Nothing runs and nothing will: what still waits, waits for room that will not come.
        self.skip_the_rest(commands);
        self.settled = true;
        commands.push(Command::Settled(self.summary()));
    }

    fn count(&self, wanted: impl Fn(&StepState) -> bool) -> usize {
        self.steps.values().filter(|(_, state)| wanted(state)).count()
    }

    fn next_retry(&self) -> Option<u64> {
        let retries = self.steps.values().filter_map(|(_, state)| match state {
            StepState::RetryAt { at_ms, .. } => Some(*at_ms),
            _ => None,
        });
        retries.min()
    }

    /// Steps whose predecessors failed, or whose target is lost, end here. Skipping one may skip others, so it goes
    /// on until nothing changes; each round skips at least one step.
    fn skip_what_cannot_begin(&mut self, commands: &mut Vec<Command>) {
        loop {
            let skipped: Vec<_> = self
                .order
                .iter()
                .filter_map(|id| Some((id.clone(), self.reason_to_skip(id)?)))
                .collect();
            if skipped.is_empty() {
                return;
            }
            for (id, state) in skipped {
                self.set(&id, state, commands);
            }
        }
    }

    fn reason_to_skip(&self, id: &StepId) -> Option<StepState> {
        let (step, state) = self.steps.get(id)?;
        if !matches!(state, StepState::Waiting | StepState::RetryAt { .. }) {
            return None;
        }
        if self.stopping {
            return Some(StepState::Skipped {
                reason: "the run was stopped".to_owned(),
            });
        }
        if step.is_copy()
            && let Some(reason) = self.lost.get(step.target())
        {
            return Some(StepState::Failed {
                reason: reason.clone(),
            });
        }
        let undone = step.undoes.as_ref().and_then(|made| self.state_of(made));
        if matches!(undone, Some(StepState::Skipped { .. })) {
            let reason = format!("nothing was passed on through `{}`", step.target());
            return Some(StepState::Skipped { reason });
        }
        if self.have_ended(&step.ended)
            && let Action::Copy { sources, .. } = &step.action
            && sources.iter().all(|source| self.is_not_made(step, source))
        {
            let reason = match sources.first() {
                Some(source) => format!("nothing to read, for the copy on `{source}` was not made"),
                None => "there is nothing to read".to_owned(),
            };
            return Some(StepState::Skipped { reason });
        }
        let blocker = step.after.iter().find(|before| {
            self.state_of(before)
                .is_some_and(|state| state.is_final() && *state != StepState::Done)
        })?;
        let (before, _) = self.steps.get(blocker)?;
        let reason = match &step.action {
            Action::Retire { .. } => {
                format!(
                    "kept, for the copy to `{}` that it waits for was not made",
                    before.target()
                )
            }
            Action::Copy { .. } => {
                format!("no room, for nothing was retired from `{}`", before.target())
            }
        };
        Some(StepState::Skipped { reason })
    }

    /// Whether steps have ended. Ids that are no steps of this run belong to moves that an earlier run has done.
    fn have_ended(&self, ids: &[StepId]) -> bool {
        ids.iter()
            .all(|id| self.state_of(id).is_none_or(StepState::is_final))
    }

    /// Whether a source is a copy that this run was to make and did not.
    fn is_not_made(&self, step: &Step, source: &BackendName) -> bool {
        let makes = |id: &StepId| {
            let (before, state) = self.steps.get(id)?;
            (before.is_copy() && before.target() == source).then_some(*state != StepState::Done)
        };
        step.ended.iter().find_map(makes).unwrap_or(false)
    }

    /// A step with the sources that there are: SC-1, a copy that failed does not hold up those that were to read it.
    fn with_sources_made(&self, step: &Step) -> Step {
        let mut made = step.clone();
        if let Action::Copy { sources, .. } = &mut made.action {
            sources.retain(|source| !self.is_not_made(step, source));
        }
        made
    }

    fn start_what_can(&mut self, now_ms: u64, commands: &mut Vec<Command>) {
        let mut running = self.count(|s| matches!(s, StepState::Running { .. }));
        for id in self.order.clone() {
            if running >= self.limits.running || self.stopping {
                return;
            }
            let Some((step, state)) = self.steps.get(&id) else {
                continue;
            };
            let (attempt, reserved) = match state {
                StepState::Waiting => (1, false),
                StepState::RetryAt { at_ms, attempts, .. } if *at_ms <= now_ms => (attempts + 1, true),
                _ => continue,
            };
            // Ids that are no steps of this run belong to moves that an earlier run has done.
            let ready = step
                .after
                .iter()
                .all(|before| matches!(self.state_of(before), None | Some(StepState::Done)));
            let needed = if step.is_copy() && !reserved {
                step.room
            } else {
                ByteCount(0)
            };
            let ready = ready && self.have_ended(&step.ended);
            if !ready || !self.rooms.has_room(step.target(), needed) {
                continue;
            }
            let step = self.with_sources_made(step);
            self.rooms.reserve(step.target(), needed);
            self.set(&id, StepState::Running { attempt }, commands);
            commands.push(if step.is_copy() {
                Command::StartCopy(step)
            } else {
                Command::StartRetire(step)
            });
            running += 1;
        }
    }

    fn skip_the_rest(&mut self, commands: &mut Vec<Command>) {
        for id in self.order.clone() {
            let Some((step, StepState::Waiting)) = self.steps.get(&id) else {
                continue;
            };
            let (target, free) = (step.target(), self.rooms.free(step.target()));
            let reason = if step.is_copy() {
                format!("no room on `{target}`: {} needed, {free} free", step.room)
            } else {
                "the copies that it waits for were not made".to_owned()
            };
            self.set(&id, StepState::Skipped { reason }, commands);
        }
    }

    fn summary(&self) -> Summary {
        let mut summary = Summary {
            stopped: self.stopping,
            ..Summary::default()
        };
        for id in &self.order {
            let Some((step, state)) = self.steps.get(id) else {
                continue;
            };
            match state {
                StepState::Done if id.is_part() => {}
                StepState::Done if step.is_copy() => summary.copied += 1,
                StepState::Done => summary.retired += 1,
                StepState::Failed { reason } => summary.failed.push((id.of_move(), reason.clone())),
                StepState::Skipped { reason } => summary.skipped.push((id.of_move(), reason.clone())),
                StepState::Waiting | StepState::Running { .. } | StepState::RetryAt { .. } => {
                    unreachable!("a run settles when every step has ended")
                }
            }
        }
        summary
    }
}
