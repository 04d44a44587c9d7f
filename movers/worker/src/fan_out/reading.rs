//! One reading of a piece, which several copies take part in.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use domicile_movers::Failure;

use super::Want;
use crate::memory::{Budget, Share};
use crate::role::Role;
use crate::store::{Attested, Content, Doing, Store, Version, Wanted};

/// What even an empty object takes.
const LEAST_BYTES: u64 = 512;

/// One reading of a piece.
pub(super) struct Reading {
    from: Arc<dyn Store>,
    path: String,
    range: Option<Range<u64>>,
    version: Option<Version>,
    pub bytes: u64,
    /// The memory that those who use it share.
    memory: Mutex<Weak<Share>>,
    come: tokio::sync::Mutex<Come>,
}

/// What has come of it.
#[derive(Default)]
struct Come {
    state: Coming,
    facts: Option<Facts>,
    chunks: Vec<Bytes>,
}

#[derive(Default)]
enum Coming {
    #[default]
    Unopened,
    Open(Box<dyn Content>),
    Ended,
    /// Somebody went away while it was read, or it failed.
    Broken,
}

/// What a store told when a piece was opened.
#[derive(Debug, Clone)]
struct Facts {
    size: u64,
    version: Version,
    attested: Attested,
}

impl Reading {
    pub fn of(want: &Want<'_>) -> Self {
        Self {
            from: Arc::clone(want.from),
            path: want.path.to_owned(),
            range: want.range.clone(),
            version: want.version.cloned(),
            bytes: want.bytes.max(LEAST_BYTES),
            memory: Mutex::default(),
            come: tokio::sync::Mutex::default(),
        }
    }

    /// A share of the memory that its users have together.
    pub async fn share(&self, budget: &Budget) -> Option<Arc<Share>> {
        let known = || {
            self.memory
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .upgrade()
        };
        if let Some(share) = known() {
            return Some(share);
        }
        let share = Arc::new(budget.take(self.bytes).await?);
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&share);
        Some(share)
    }

    /// Lets go of what is kept of it; nobody who holds a share of the memory for it is there.
    pub fn give_up(&self) {
        // Who waits for his share does not hold the lock.
        if let Ok(mut come) = self.come.try_lock() {
            come.chunks = Vec::new();
            come.state = Coming::Broken;
        }
    }

    /// Its chunk of this number, `None` behind the last; `Err(None)` if it is broken.
    async fn chunk(&self, number: usize) -> Result<Option<Bytes>, Option<Failure>> {
        let mut come = self.come.lock().await;
        if let Some(chunk) = come.chunks.get(number) {
            return Ok(Some(chunk.clone()));
        }
        match std::mem::replace(&mut come.state, Coming::Broken) {
            Coming::Open(mut content) => match content.next().await? {
                Some(chunk) => {
                    come.chunks.push(chunk.clone());
                    come.state = Coming::Open(content);
                    Ok(Some(chunk))
                }
                None => {
                    come.state = Coming::Ended;
                    Ok(None)
                }
            },
            Coming::Ended => {
                come.state = Coming::Ended;
                Ok(None)
            }
            Coming::Unopened | Coming::Broken => Err(None),
        }
    }

    fn wanted<'a>(&'a self, from: u64, version: Option<&'a Version>, size: u64) -> Wanted<'a> {
        let range = match &self.range {
            Some(range) => Some(range.start + from..range.end),
            None if from > 0 => Some(from..size),
            None => None,
        };
        Wanted {
            path: &self.path,
            role: Role::Source,
            range,
            version,
        }
    }
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A copy's view of a reading.
pub(super) struct Tee {
    reading: Arc<Reading>,
    facts: Facts,
    /// Chunks and bytes that it has had.
    chunks: usize,
    bytes: u64,
    /// Its own reading, once the shared one is of no use to it.
    own: Option<Box<dyn Content>>,
}

impl Tee {
    /// Opens a reading, or takes part in it; of another version than the one wanted it takes nothing.
    pub async fn of(reading: Arc<Reading>, version: Option<&Version>) -> Result<Box<dyn Content>, Failure> {
        let mut come = reading.come.lock().await;
        if matches!(come.state, Coming::Unopened) {
            // If this is given up meanwhile, so is the reading.
            come.state = Coming::Broken;
            let content = reading
                .from
                .open(reading.wanted(0, reading.version.as_ref(), 0))
                .await?;
            come.facts = Some(Facts {
                size: content.size(),
                version: content.version().clone(),
                attested: content.attested(),
            });
            come.state = Coming::Open(content);
        }
        let facts = come.facts.clone();
        let facts = facts.filter(|facts| version.is_none_or(|version| *version == facts.version));
        drop(come);
        let Some(facts) = facts else {
            let wanted = reading.wanted(0, version, 0);
            return reading.from.open(wanted).await;
        };
        Ok(Box::new(Self {
            reading,
            facts,
            chunks: 0,
            bytes: 0,
            own: None,
        }))
    }

    async fn go_on(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.own.is_none() {
            match self.reading.chunk(self.chunks).await {
                Ok(chunk) => {
                    self.chunks += 1;
                    self.bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                    return Ok(chunk);
                }
                Err(Some(failure)) => return Err(failure),
                Err(None) => {
                    let end = self.reading.range.as_ref().map_or(self.facts.size, |range| {
                        range.end.min(self.facts.size) - range.start
                    });
                    if self.bytes >= end && end > 0 {
                        return Ok(None);
                    }
                    let version = Some(&self.facts.version);
                    let wanted = self.reading.wanted(self.bytes, version, self.facts.size);
                    self.own = Some(self.reading.from.open(wanted).await?);
                }
            }
        }
        match &mut self.own {
            Some(own) => own.next().await,
            None => Ok(None),
        }
    }
}

impl Content for Tee {
    fn size(&self) -> u64 {
        self.facts.size
    }

    fn version(&self) -> &Version {
        &self.facts.version
    }

    fn attested(&self) -> Attested {
        self.facts.attested.clone()
    }

    fn next(&mut self) -> Doing<'_, Option<Bytes>> {
        Box::pin(self.go_on())
    }
}
