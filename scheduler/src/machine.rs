//! The state machine: which step begins, waits, is tried again or given up.
//!
//! An event touches only the steps that wait for what it ended, and the room that it made, so that a run of a million
//! steps costs no more for each of them than a short one.

use std::collections::BTreeMap;

use domicile_estate::{BackendName, ByteCount};

use crate::caps::Used;
use crate::events::{Command, CopyOutcome, Event, Limits, Order, Orders, RetireOutcome, Summary};
use crate::owners::Owners;
use crate::room::Rooms;
use crate::run::Run;
use crate::step::{Action, HeldBy, Step, StepId, StepState};

/// The state machine of one run.
#[derive(Debug, Clone, Default)]
pub struct Scheduler {
    limits: Limits,
    owners: Owners,
    run: Run,
    lost: BTreeMap<BackendName, String>,
    retired: Used,
    orders: Orders,
    stopping: bool,
    settled: bool,
}

impl Scheduler {
    /// A scheduler with nothing to do.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            settled: true,
            ..Self::default()
        }
    }

    /// With owners who share what is under way by their weights, rather than one after the other in the plan's order.
    #[must_use]
    pub fn sharing(mut self, owners: Owners) -> Self {
        self.owners = owners;
        self
    }

    /// Where a step stands.
    #[must_use]
    pub fn state_of(&self, id: &StepId) -> Option<&StepState> {
        self.run.named(id).map(|(_, state)| state)
    }

    /// The room as the scheduler accounts for it.
    #[must_use]
    pub fn rooms(&self) -> &Rooms {
        self.run.rooms()
    }

    /// Takes one event at a time `now_ms` and says what to do. Events about steps that are not under way (late or
    /// doubled ones) change nothing.
    pub fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Command> {
        let mut commands = Vec::new();
        match event {
            Event::Approved { steps, rooms } => self.begin(steps, rooms),
            Event::CopyEnded { id, outcome } => self.copy_ended(now_ms, &id, outcome, &mut commands),
            Event::RetireEnded { id, outcome } => self.retire_ended(now_ms, &id, outcome, &mut commands),
            Event::Ordered(orders) => {
                self.orders = orders;
                self.run.unpark();
            }
            Event::Woke => {}
            Event::Stop => {
                self.stopping = true;
                self.run.suspect_all();
            }
        }
        self.advance(now_ms, &mut commands);
        commands
    }

    fn begin(&mut self, steps: Vec<Step>, rooms: Rooms) {
        self.settled = false;
        self.retired = Used::default();
        self.run = Run::new(steps, rooms, &self.owners);
    }

    /// A step that is under way, and for which time.
    fn running_attempt(&self, id: &StepId) -> Option<(usize, u32)> {
        let at = self.run.position(id)?;
        match self.run.state(at) {
            StepState::Running { attempt } => Some((at, *attempt)),
            _ => None,
        }
    }

    fn set(&mut self, at: usize, state: StepState, commands: &mut Vec<Command>) {
        // A move stands where the step stands for which it is there; its parts are nobody's business.
        let id = &self.run.step(at).id;
        if !id.is_part() {
            commands.push(Command::Note {
                id: id.clone(),
                state: state.clone(),
            });
        }
        self.run.set(at, state);
    }

    fn copy_ended(&mut self, now_ms: u64, id: &StepId, outcome: CopyOutcome, commands: &mut Vec<Command>) {
        let Some((at, attempts)) = self.running_attempt(id) else {
            return;
        };
        match outcome {
            CopyOutcome::Verified => self.set(at, StepState::Done, commands),
            CopyOutcome::Ordered(order) => self.set(at, ordered(order), commands),
            CopyOutcome::Failed {
                reason,
                transient,
                lost,
            } => {
                if let Some(backend) = lost {
                    self.lost.insert(backend.clone(), reason.clone());
                    self.run.suspect_those_at(&backend);
                    commands.push(Command::MarkUnreachable {
                        backend,
                        reason: reason.clone(),
                    });
                }
                let state = self.after_failure(now_ms, attempts, reason, transient);
                self.set(at, state, commands);
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
        let Some((at, attempts)) = self.running_attempt(id) else {
            return;
        };
        let state = match outcome {
            RetireOutcome::Retired => {
                self.run.release(at);
                StepState::Done
            }
            RetireOutcome::NotYet { reason } => {
                self.deleted_nothing(at);
                StepState::Held {
                    by: HeldBy::Bound,
                    reason,
                }
            }
            RetireOutcome::Needed { reason } => {
                self.deleted_nothing(at);
                StepState::Skipped { reason }
            }
            RetireOutcome::Failed { reason, transient } => {
                self.after_failure(now_ms, attempts, reason, transient)
            }
        };
        self.set(at, state, commands);
    }

    /// What it was allowed to retire, others may.
    fn deleted_nothing(&mut self, at: usize) {
        self.retired.give_back(self.run.step(at));
        self.run.unpark();
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
        loop {
            self.skip_what_cannot_begin(commands);
            self.start_what_can(now_ms, commands);
            if self.run.running() > 0 {
                return;
            }
            if let Some(at_ms) = self.run.next_retry() {
                commands.push(Command::WakeAt { at_ms });
                return;
            }
            if !self.hold_what_is_parked(commands) {
                break;
            }
        }
        // Nothing runs and nothing will: what still waits, waits for room that will not come.
        self.skip_the_rest(commands);
        self.settled = true;
        commands.push(Command::Settled(self.summary()));
    }

    /// Nothing more will be given back to the caps: what they hold back now stays for another run.
    fn hold_what_is_parked(&mut self, commands: &mut Vec<Command>) -> bool {
        let parked = self.run.take_parked();
        for at in &parked {
            let step = self.run.step(*at);
            if let Some(order) = self.order_for(step) {
                self.set(*at, ordered(order), commands);
                continue;
            }
            let reason = self.retired.reason_to_hold(&self.limits.retiring, step);
            let reason = reason.unwrap_or_else(|| "held back".to_owned());
            self.set(
                *at,
                StepState::Held {
                    by: HeldBy::Bound,
                    reason,
                },
                commands,
            );
        }
        !parked.is_empty()
    }

    /// Steps whose predecessors failed, or whose target is lost, end here. Skipping one may skip others, so it goes
    /// on until nothing is left to look at.
    fn skip_what_cannot_begin(&mut self, commands: &mut Vec<Command>) {
        loop {
            let suspects = self.run.take_suspects();
            if suspects.is_empty() {
                return;
            }
            let skipped: Vec<_> = suspects
                .into_iter()
                .filter_map(|at| Some((at, self.reason_to_skip(at)?)))
                .collect();
            for (at, state) in skipped {
                self.set(at, state, commands);
            }
        }
    }

    fn reason_to_skip(&self, at: usize) -> Option<StepState> {
        let (step, state) = (self.run.step(at), self.run.state(at));
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
        if matches!(undone, Some(StepState::Held { .. } | StepState::Skipped { .. })) {
            let reason = format!("nothing was passed on through `{}`", step.target());
            return Some(unbegun(undone, reason));
        }
        if self.run.have_ended(&step.ended)
            && let Action::Copy { sources, .. } = &step.action
            && sources.iter().all(|source| self.is_not_made(step, source))
        {
            let reason = match sources.first() {
                Some(source) => format!("nothing to read, for the copy on `{source}` was not made"),
                None => "there is nothing to read".to_owned(),
            };
            let mut ended = step.ended.iter().filter_map(|id| self.state_of(id));
            let held = ended.find(|state| matches!(state, StepState::Held { .. }));
            return Some(unbegun(held, reason));
        }
        let blocker = step.after.iter().find(|before| {
            self.state_of(before)
                .is_some_and(|state| state.is_final() && *state != StepState::Done)
        })?;
        let (before, state) = self.run.named(blocker)?;
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
        Some(unbegun(Some(state), reason))
    }

    /// Whether a source is a copy that this run was to make and did not.
    fn is_not_made(&self, step: &Step, source: &BackendName) -> bool {
        let makes = |id: &StepId| {
            let (before, state) = self.run.named(id)?;
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

    /// What a person has ordered of the move that a step is. What this run has put on relays is removed all the same.
    fn order_for(&self, step: &Step) -> Option<Order> {
        if self.orders.is_empty() || step.id.is_part() {
            return None;
        }
        let copy = (step.dataset.clone(), step.target().clone());
        self.orders.get(&copy).copied()
    }

    fn start_what_can(&mut self, now_ms: u64, commands: &mut Vec<Command>) {
        self.run.wake(now_ms);
        while self.run.running() < self.limits.running
            && !self.stopping
            && let Some(at) = self.run.first_ready()
        {
            let (step, first) = (self.run.step(at), *self.run.state(at) == StepState::Waiting);
            if let Some(order) = self.order_for(step) {
                match first {
                    // It may be lifted while others are under way.
                    true => self.run.park(at),
                    false => self.set(at, ordered(order), commands),
                }
                continue;
            }
            if first && !step.is_copy() {
                if self.retired.reason_to_hold(&self.limits.retiring, step).is_some() {
                    self.run.park(at);
                    continue;
                }
                self.retired.take(step);
            }
            let step = self.with_sources_made(self.run.step(at));
            let attempt = match self.run.state(at) {
                StepState::RetryAt { attempts, .. } => attempts + 1,
                _ => {
                    let needed = if step.is_copy() { step.room } else { ByteCount(0) };
                    self.run.reserve(at, needed);
                    1
                }
            };
            self.set(at, StepState::Running { attempt }, commands);
            commands.push(if step.is_copy() {
                Command::StartCopy(step)
            } else {
                Command::StartRetire(step)
            });
        }
    }

    fn skip_the_rest(&mut self, commands: &mut Vec<Command>) {
        for at in 0..self.run.len() {
            let (step, StepState::Waiting) = (self.run.step(at), self.run.state(at)) else {
                continue;
            };
            let (target, free) = (step.target(), self.run.rooms().free(step.target()));
            let reason = if step.is_copy() {
                format!("no room on `{target}`: {} needed, {free} free", step.room)
            } else {
                "the copies that it waits for were not made".to_owned()
            };
            // Room that a retirement will make which only waits is no failure.
            let held = self.run.held_at(target).filter(|_| step.is_copy());
            let state = match held {
                Some(_) => StepState::Held {
                    by: HeldBy::Bound,
                    reason,
                },
                None => StepState::Skipped { reason },
            };
            self.set(at, state, commands);
        }
    }

    fn summary(&self) -> Summary {
        let mut summary = Summary {
            stopped: self.stopping,
            ..Summary::default()
        };
        for (step, state) in self.run.steps() {
            let id = &step.id;
            match state {
                StepState::Done if id.is_part() => {}
                StepState::Done if step.is_copy() => summary.copied += 1,
                StepState::Done => summary.retired += 1,
                StepState::Failed { reason } => summary.failed.push((id.of_move(), reason.clone())),
                StepState::Held { reason, .. } => summary.held.push((id.of_move(), reason.clone())),
                StepState::Skipped { reason } => summary.skipped.push((id.of_move(), reason.clone())),
                StepState::Waiting | StepState::Running { .. } | StepState::RetryAt { .. } => {
                    unreachable!("a run settles when every step has ended")
                }
            }
        }
        summary
    }
}

/// Where a step stands that a person holds back.
fn ordered(order: Order) -> StepState {
    let (by, reason) = match order {
        Order::Pause => (HeldBy::Pause, "paused; `domicile moves resume` lifts that"),
        Order::Cancel => (HeldBy::Cancel, "cancelled; `domicile moves retry` lifts that"),
    };
    StepState::Held {
        by,
        reason: reason.to_owned(),
    }
}

/// Where a step stands that does not begin because of another: held back as well if that one only waits.
fn unbegun(because_of: Option<&StepState>, reason: String) -> StepState {
    match because_of {
        Some(StepState::Held { .. }) => StepState::Held {
            by: HeldBy::Bound,
            reason,
        },
        _ => StepState::Skipped { reason },
    }
}
