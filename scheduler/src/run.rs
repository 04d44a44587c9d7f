//! The steps of one run: where each stands, what waits for it, and which are worth a look.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{BackendName, ByteCount};

use crate::owners::Owners;
use crate::queue::Queue;
use crate::room::Rooms;
use crate::scrubs::scrub_effort;
use crate::step::{Step, StepId, StepState};

/// The steps of one run, known by their position in the plan's order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    steps: Vec<(Step, StepState)>,
    positions: BTreeMap<StepId, usize>,
    /// For each step those that wait for it, and what for. Forgotten when it has ended.
    waiters: Vec<Vec<(usize, For)>>,
    /// For each step how many it still waits for.
    waits: Vec<Waits>,
    queue: Queue,
    /// Steps to be tried again, by time.
    retries: BTreeSet<(u64, usize)>,
    running: usize,
    /// Steps that something has happened to after which they may never begin.
    suspects: BTreeSet<usize>,
    /// Retirements that the caps hold back for now.
    parked: BTreeSet<usize>,
}

/// What a step waits for another one for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// That it is done.
    Done,
    /// That it has ended, well or not.
    End,
    /// Nothing, but it need not begin if the other never began.
    Sake,
}

#[derive(Debug, Clone, Copy, Default)]
struct Waits {
    done: u32,
    end: u32,
}

impl Run {
    pub(crate) fn new(steps: Vec<Step>, rooms: Rooms, owners: &Owners) -> Self {
        let numbered = steps.iter().enumerate();
        let positions: BTreeMap<_, _> = numbered.map(|(at, step)| (step.id.clone(), at)).collect();
        assert_eq!(
            positions.len(),
            steps.len(),
            "two moves of a plan have the same id"
        );
        let mut run = Self {
            queue: Queue::new(steps.iter(), rooms, owners),
            waiters: vec![Vec::new(); steps.len()],
            waits: vec![Waits::default(); steps.len()],
            suspects: (0..steps.len()).collect(),
            steps: steps.into_iter().map(|s| (s, StepState::Waiting)).collect(),
            positions,
            ..Self::default()
        };
        (0..run.steps.len()).for_each(|at| run.wait(at));
        (0..run.steps.len()).for_each(|at| run.queue_up(at));
        run
    }

    /// Enters what a step waits for. Ids that are no steps of this run belong to moves that an earlier run has done.
    fn wait(&mut self, at: usize) {
        let step = &self.steps[at].0;
        let after = step.after.iter().map(|id| (id, For::Done));
        let ended = step.ended.iter().map(|id| (id, For::End));
        let undoes = step.undoes.iter().map(|id| (id, For::Sake));
        for (id, what) in after.chain(ended).chain(undoes) {
            let Some(before) = self.positions.get(id) else {
                continue;
            };
            self.waiters[*before].push((at, what));
            match what {
                For::Done => self.waits[at].done += 1,
                For::End => self.waits[at].end += 1,
                For::Sake => {}
            }
        }
    }

    /// Puts a step in line if it waits for nothing but room.
    fn queue_up(&mut self, at: usize) {
        let Waits { done: 0, end: 0 } = self.waits[at] else {
            return;
        };
        let (step, StepState::Waiting) = &self.steps[at] else {
            return;
        };
        let need = if step.is_copy() { step.room } else { ByteCount(0) };
        self.queue.insert(at, need);
    }

    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    pub(crate) fn position(&self, id: &StepId) -> Option<usize> {
        self.positions.get(id).copied()
    }

    pub(crate) fn step(&self, at: usize) -> &Step {
        &self.steps[at].0
    }

    pub(crate) fn state(&self, at: usize) -> &StepState {
        &self.steps[at].1
    }

    pub(crate) fn named(&self, id: &StepId) -> Option<(&Step, &StepState)> {
        let (step, state) = &self.steps[self.position(id)?];
        Some((step, state))
    }

    pub(crate) fn steps(&self) -> impl Iterator<Item = (&Step, &StepState)> {
        self.steps.iter().map(|(step, state)| (step, state))
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        self.queue.rooms()
    }

    pub(crate) fn running(&self) -> usize {
        self.running
    }

    pub(crate) fn next_retry(&self) -> Option<u64> {
        self.retries.first().map(|(at_ms, _)| *at_ms)
    }

    /// Whether steps have ended. Ids that are no steps of this run belong to moves that an earlier run has done.
    pub(crate) fn have_ended(&self, ids: &[StepId]) -> bool {
        ids.iter()
            .all(|id| self.named(id).is_none_or(|(_, state)| state.is_final()))
    }

    /// Sets where a step stands, with all that follows for those that wait for it.
    pub(crate) fn set(&mut self, at: usize, state: StepState) {
        match std::mem::replace(&mut self.steps[at].1, state) {
            StepState::Running { .. } => {
                self.running -= 1;
                self.queue.end(at, effort(&self.steps[at].0));
            }
            StepState::RetryAt { at_ms, .. } => {
                self.retries.remove(&(at_ms, at));
            }
            _ => {}
        }
        match &self.steps[at].1 {
            StepState::Waiting => {}
            StepState::Running { .. } => {
                self.running += 1;
                self.queue.remove(at);
                self.queue.begin(at, effort(&self.steps[at].0));
            }
            StepState::RetryAt { at_ms, .. } => {
                self.retries.insert((*at_ms, at));
                self.suspects.insert(at);
            }
            StepState::Done
            | StepState::Failed { .. }
            | StepState::Held { .. }
            | StepState::Skipped { .. } => {
                self.queue.remove(at);
                self.tell_waiters(at);
            }
        }
    }

    fn tell_waiters(&mut self, at: usize) {
        let done = self.steps[at].1 == StepState::Done;
        let skipped = matches!(
            self.steps[at].1,
            StepState::Held { .. } | StepState::Skipped { .. }
        );
        for (waiter, what) in std::mem::take(&mut self.waiters[at]) {
            let waits = &mut self.waits[waiter];
            let suspect = match what {
                For::Done if done => {
                    waits.done -= 1;
                    false
                }
                For::Done => true,
                For::End => {
                    waits.end -= 1;
                    waits.end == 0
                }
                For::Sake => skipped,
            };
            if suspect {
                self.suspects.insert(waiter);
            }
            self.queue_up(waiter);
        }
    }

    /// Every step is worth a look.
    pub(crate) fn suspect_all(&mut self) {
        self.suspects = (0..self.steps.len()).collect();
    }

    /// The steps at a backend are worth a look.
    pub(crate) fn suspect_those_at(&mut self, target: &BackendName) {
        self.suspects.extend(self.queue.at(target));
    }

    /// The steps that are worth a look, in the plan's order.
    pub(crate) fn take_suspects(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.suspects)
    }

    /// Puts in line what is to be tried again by now. Its room is reserved already.
    pub(crate) fn wake(&mut self, now_ms: u64) {
        while let Some((at_ms, at)) = self.retries.first().copied()
            && at_ms <= now_ms
        {
            self.retries.remove(&(at_ms, at));
            self.queue.insert(at, ByteCount(0));
        }
    }

    /// The step that may begin now: of the owner whose turn it is the first in the plan's order.
    pub(crate) fn first_ready(&self) -> Option<usize> {
        self.queue.first()
    }

    /// Takes a step out of its line until [`Run::unpark`].
    pub(crate) fn park(&mut self, at: usize) {
        self.queue.remove(at);
        self.parked.insert(at);
    }

    /// Puts every parked step in line again.
    pub(crate) fn unpark(&mut self) {
        for at in self.take_parked() {
            self.queue_up(at);
        }
    }

    /// The parked steps that still wait, in the plan's order. They are parked no more, and stand in no line.
    pub(crate) fn take_parked(&mut self) -> Vec<usize> {
        let parked = std::mem::take(&mut self.parked).into_iter();
        let waits = |at: &usize| self.steps[*at].1 == StepState::Waiting;
        parked.filter(waits).collect()
    }

    /// A step at a backend that was held back.
    pub(crate) fn held_at(&self, target: &BackendName) -> Option<&Step> {
        let held = |at: &&usize| matches!(self.steps[**at].1, StepState::Held { .. });
        self.queue
            .at(target)
            .iter()
            .find(held)
            .map(|at| &self.steps[*at].0)
    }

    /// Takes room for a step at its backend.
    pub(crate) fn reserve(&mut self, at: usize, bytes: ByteCount) {
        self.queue.reserve(at, bytes);
    }

    /// Gives back the room of what a step has retired.
    pub(crate) fn release(&mut self, at: usize) {
        self.queue.release(at, self.steps[at].0.room);
    }
}

/// What a step takes of the turns of its owner: retiring moves no bytes.
fn effort(step: &Step) -> u64 {
    match step.is_copy() {
        true => scrub_effort(step.bytes.0, step.objects),
        false => 0,
    }
}
