//! Where moves stand, for those who ask: written behind the run, many at a time.
//!
//! Nothing depends on these notes. What a run that was killed must know, its copies and retirements have recorded
//! themselves, and the next run plans anew from that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domicile_catalogue::{Catalogue, CatalogueError, MoveNote, MoveState};
use domicile_scheduler::{HeldBy, StepState};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Notes written at once at most.
const NOTES: usize = 256;
/// How long a note waits for others.
const WAIT: Duration = Duration::from_millis(100);

/// Notes on their way to the catalogue.
pub struct Notes {
    queue: mpsc::UnboundedSender<MoveNote>,
    writer: JoinHandle<Result<(), CatalogueError>>,
}

impl Notes {
    /// Notes on the moves of a plan.
    pub fn of(catalogue: Arc<Catalogue>, plan: u64) -> Self {
        let (queue, inbox) = mpsc::unbounded_channel();
        let writer = tokio::spawn(write(catalogue, plan, inbox));
        Self { queue, writer }
    }

    /// Adds where a move stands.
    pub fn add(&self, id: &str, state: &StepState) {
        let attempts = u32::from(matches!(state, StepState::Running { .. }));
        let (state, reason) = match state {
            StepState::Waiting => (MoveState::Pending, String::new()),
            StepState::Running { .. } => (MoveState::Running, String::new()),
            StepState::RetryAt { attempts, reason, .. } => {
                (MoveState::Pending, format!("attempt {attempts} failed: {reason}"))
            }
            StepState::Held { by, reason } => {
                let state = match by {
                    HeldBy::Bound => MoveState::Pending,
                    HeldBy::Pause => MoveState::Paused,
                    HeldBy::Cancel => MoveState::Cancelled,
                };
                (state, reason.clone())
            }
            StepState::Done => (MoveState::Done, String::new()),
            StepState::Failed { reason } => (MoveState::Failed, reason.clone()),
            StepState::Skipped { reason } => (MoveState::Cancelled, reason.clone()),
        };
        // A writer that has failed says why at the end.
        let _ = self.queue.send(MoveNote {
            id: id.to_owned(),
            state,
            reason,
            attempts,
        });
    }

    /// Waits until all are written.
    pub async fn end(self) -> anyhow::Result<()> {
        drop(self.queue);
        Ok(self
            .writer
            .await
            .context("the notes on moves were not written")??)
    }
}

async fn write(
    catalogue: Arc<Catalogue>,
    plan: u64,
    mut inbox: mpsc::UnboundedReceiver<MoveNote>,
) -> Result<(), CatalogueError> {
    while let Some(first) = inbox.recv().await {
        let until = Instant::now() + WAIT;
        // Of each move the last state counts, and every attempt.
        let mut notes = BTreeMap::from([(first.id.clone(), first)]);
        while notes.len() < NOTES
            && let Ok(Some(mut next)) = timeout_at(until, inbox.recv()).await
        {
            if let Some(before) = notes.get(&next.id) {
                next.attempts += before.attempts;
            }
            notes.insert(next.id.clone(), next);
        }
        catalogue.move_states(plan, notes.into_values().collect()).await?;
    }
    Ok(())
}
