//! Small changes that share a commit.
//!
//! A commit waits for the disk. Thousands of small copies would each wait for several of their own; so those changes
//! that come while one is being written go together into the next transaction. Nobody returns before his own change is
//! committed, so that nothing is done on the strength of what a power cut may undo.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use domicile_estate::{BackendName, DatasetName};
use futures::channel::oneshot;
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::copies::{self, Inspection};
use crate::error::CatalogueError;
use crate::inspected;
use crate::lists;
use crate::plans::{self, MoveNote};

/// Changes written in one transaction at most.
const TOGETHER_MAX: usize = 256;

type Outcome = Result<(), CatalogueError>;

/// A change that others may share a transaction with.
#[derive(Debug)]
pub(crate) enum Change {
    BeginCopy(DatasetName, BackendName),
    EndCopy(DatasetName, BackendName),
    Inspected(Vec<Inspection>),
    IntendList(DatasetName, BackendName, String),
    SettleLists(DatasetName, BackendName, Vec<String>, bool),
    Moves(u64, Vec<MoveNote>),
}

impl Change {
    async fn make(&self, connection: &mut SqliteConnection) -> Outcome {
        match self {
            Self::BeginCopy(dataset, backend) => copies::begin_copy(connection, dataset, backend).await,
            Self::EndCopy(dataset, backend) => copies::end_copy(connection, dataset, backend).await,
            Self::Inspected(batch) => inspected::record_all(connection, batch).await,
            Self::IntendList(dataset, backend, blake3) => {
                lists::intend(connection, (dataset, backend), blake3).await
            }
            Self::SettleLists(dataset, backend, names, complete) => {
                lists::settle(connection, (dataset, backend), names, *complete).await
            }
            Self::Moves(plan, notes) => plans::note_moves(connection, *plan, notes).await,
        }
    }
}

/// Changes that wait for the one transaction that is under way.
#[derive(Default)]
pub(crate) struct Group {
    waiting: Mutex<Vec<Waiting>>,
    turn: futures::lock::Mutex<()>,
}

struct Waiting {
    change: Change,
    tell: oneshot::Sender<Outcome>,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").finish_non_exhaustive()
    }
}

impl Group {
    fn join(&self, change: Change) -> oneshot::Receiver<Outcome> {
        let (tell, told) = oneshot::channel();
        let waiting = Waiting { change, tell };
        // Nothing panics while it holds the lock.
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(waiting);
        told
    }

    fn next(&self) -> Vec<Waiting> {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.len().min(TOGETHER_MAX);
        all.drain(..count).collect()
    }
}

impl Catalogue {
    /// Makes a change in a transaction that it may share. Returns once it is committed, or refused by itself.
    pub(crate) async fn together(&self, change: Change) -> Outcome {
        let mut told = self.group.join(change);
        // Whoever has the turn writes for all who wait, so that most find it done when theirs comes.
        let _turn = self.group.turn.lock().await;
        loop {
            match told.try_recv() {
                Ok(Some(outcome)) => return outcome,
                Ok(None) => self.write_all(self.group.next()).await,
                // Its writer was dropped in the middle: nothing of it is committed.
                Err(oneshot::Canceled) => return Err(sqlx::Error::WorkerCrashed.into()),
            }
        }
    }

    /// All in one transaction; if one of them is refused, each in its own.
    async fn write_all(&self, batch: Vec<Waiting>) {
        let whole = self.write_in_one(&batch).await;
        let (alone, together) = (batch.len() == 1, whole.is_ok());
        let mut whole = Some(whole);
        for waiting in batch {
            let outcome = match whole.take().filter(|_| alone) {
                Some(outcome) => outcome,
                None if together => Ok(()),
                None => self.write_in_one(std::slice::from_ref(&waiting)).await,
            };
            // Who has gone away needs no answer.
            let _ = waiting.tell.send(outcome);
        }
    }

    async fn write_in_one(&self, batch: &[Waiting]) -> Outcome {
        let mut tx = self.write().await?;
        for waiting in batch {
            waiting.change.make(&mut tx).await?;
        }
        Ok(tx.commit().await?)
    }
}
