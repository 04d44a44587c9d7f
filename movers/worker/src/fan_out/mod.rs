//! Read once, write many: what several copies want of the same object is read by whoever comes first, and the others take
//! it from there.
//!
//! ```text
//!  copy to A ─┐                 ┌ chunk · chunk · chunk ─ …   one reading of the source;
//!             ├──▶ a reading ───┤                             whoever wants a chunk that has not come yet fetches it
//!  copy to B ─┘                 └ kept until all have had it, or until the room for what waits is full
//! ```
//!
//! Nobody waits for a slower one: what a slow copy has not fetched in time is given up, and it reads that itself. A reading
//! that fails, or whose reader goes away in the middle, is left by all others, and each goes on by itself where it is.
//! Copies that are to confirm what they have read do so past this.

mod reading;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domicile_estate::BackendName;
use domicile_movers::Failure;
use tokio::sync::OwnedSemaphorePermit;

use crate::carry::{Budget, Watch};
use crate::role::Role;
use crate::store::{Content, Store, Version, Wanted};

use reading::{Reading, Tee};

/// The share of the memory that may hold what nobody uses at the moment and somebody is expected to.
const KEPT_SHARE: u32 = 4;

/// What is read once for several copies.
#[derive(Debug, Clone)]
pub(crate) struct FanOut {
    budget: Budget,
    kept_max: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    expected: Vec<Reader>,
    readings: BTreeMap<Piece, Kept>,
    /// Pieces that nobody uses at the moment, the one that has waited longest first.
    idle: BTreeMap<u64, Piece>,
    idle_bytes: u64,
    clock: u64,
}

/// A copy that is going to read what lies below a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reader {
    source: BackendName,
    prefix: String,
    target: BackendName,
}

/// What is read at once: an object, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    source: BackendName,
    path: String,
    range: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Kept {
    reading: Arc<Reading>,
    waiting: BTreeSet<BackendName>,
    users: usize,
    idle_since: Option<u64>,
}

/// A copy's word that it is going to read; dropping it takes that back.
#[derive(Debug)]
#[must_use]
pub struct Expected {
    fan_out: FanOut,
    readers: Vec<Reader>,
}

/// The memory of what is being read, and of what was read until it is written. Whoever holds one asks for no second.
#[derive(Debug)]
pub(crate) struct Memory {
    _share: Option<Arc<OwnedSemaphorePermit>>,
    used: Option<(FanOut, Piece, Arc<Reading>)>,
}

/// What a copy wants to read.
pub(crate) struct Want<'a> {
    pub from: &'a Arc<dyn Store>,
    pub source: &'a BackendName,
    pub path: &'a str,
    pub range: Option<Range<u64>>,
    pub version: Option<&'a Version>,
    /// Bytes that this takes in memory.
    pub bytes: u64,
    /// Where they go.
    pub target: &'a BackendName,
}

impl FanOut {
    /// Divides the memory of a worker: one share for what is under way, one for what waits.
    pub(crate) fn new(bytes: u32) -> Self {
        let kept_max = bytes / KEPT_SHARE;
        Self {
            budget: Budget::new(bytes - kept_max),
            kept_max: u64::from(kept_max),
            state: Arc::default(),
        }
    }

    /// The memory for what is under way.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Announces a copy that is going to read what lies below these prefixes of backends.
    pub(crate) fn expect(&self, sources: Vec<(BackendName, String)>, target: &BackendName) -> Expected {
        let reader = |(source, prefix)| Reader {
            source,
            prefix,
            target: target.clone(),
        };
        let readers: Vec<_> = sources.into_iter().map(reader).collect();
        self.state().expected.extend(readers.iter().cloned());
        Expected {
            fan_out: self.clone(),
            readers,
        }
    }

    /// Opens what is wanted, with memory for it.
    pub(crate) async fn open(
        &self,
        want: Want<'_>,
        watch: &Watch,
    ) -> Result<(Box<dyn Content>, Memory), Failure> {
        let Some((piece, reading)) = self.join(&want) else {
            let memory = watch.or_stop(self.budget.take(want.bytes)).await?;
            let wanted = Wanted {
                path: want.path,
                role: Role::Source,
                range: want.range.clone(),
                version: want.version,
            };
            let content = watch.or_stop(want.from.open(wanted)).await??;
            let memory = Memory {
                _share: memory.map(Arc::new),
                used: None,
            };
            return Ok((content, memory));
        };
        let mut memory = Memory {
            _share: None,
            used: Some((self.clone(), piece, Arc::clone(&reading))),
        };
        memory._share = watch.or_stop(reading.share(&self.budget)).await?;
        let content = watch.or_stop(Tee::of(reading, want.version)).await??;
        Ok((content, memory))
    }

    /// The reading that this copy shares with others; `None` if it is alone.
    fn join(&self, want: &Want<'_>) -> Option<(Piece, Arc<Reading>)> {
        let mut state = self.state();
        let mut readers = state.readers(want.source, want.path);
        if !readers.remove(want.target) || readers.is_empty() {
            return None;
        }
        let piece = Piece {
            source: want.source.clone(),
            path: want.path.to_owned(),
            range: want.range.as_ref().map(|range| (range.start, range.end)),
        };
        let Some(kept) = state.readings.get_mut(&piece) else {
            let reading = Arc::new(Reading::of(want));
            let kept = Kept {
                reading: Arc::clone(&reading),
                waiting: readers,
                users: 1,
                idle_since: None,
            };
            state.readings.insert(piece.clone(), kept);
            return Some((piece, reading));
        };
        // Whoever comes for the second time wants to read anew.
        if !kept.waiting.remove(want.target) {
            return None;
        }
        let reading = Arc::clone(&kept.reading);
        kept.users += 1;
        let (idle_since, is_last) = (kept.idle_since.take(), kept.waiting.is_empty());
        state.not_idle(idle_since, reading.bytes);
        if is_last {
            state.readings.remove(&piece);
        }
        Some((piece, reading))
    }

    fn leave(&self, piece: &Piece, reading: &Arc<Reading>) {
        let mut state = self.state();
        let Some(kept) = state.readings.get_mut(piece) else {
            return;
        };
        if !Arc::ptr_eq(&kept.reading, reading) {
            return;
        }
        kept.users -= 1;
        if kept.users == 0 {
            state.rest(piece, reading.bytes);
        }
        while state.idle_bytes > self.kept_max
            && let Some((since, piece)) = state.idle.pop_first()
        {
            if let Some(kept) = state.readings.remove(&piece) {
                state.idle_bytes -= kept.reading.bytes;
                tracing::debug!(path = piece.path, since, "a copy was too slow to share a reading");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The targets of the copies that are going to read this.
    fn readers(&self, source: &BackendName, path: &str) -> BTreeSet<BackendName> {
        let of_this = self
            .expected
            .iter()
            .filter(|reader| reader.source == *source && path.starts_with(&reader.prefix));
        of_this.map(|reader| reader.target.clone()).collect()
    }

    fn rest(&mut self, piece: &Piece, bytes: u64) {
        self.clock += 1;
        if let Some(kept) = self.readings.get_mut(piece) {
            kept.idle_since = Some(self.clock);
            self.idle.insert(self.clock, piece.clone());
            self.idle_bytes += bytes;
        }
    }

    fn not_idle(&mut self, since: Option<u64>, bytes: u64) {
        if let Some(since) = since {
            self.idle.remove(&since);
            self.idle_bytes -= bytes;
        }
    }

    /// Nobody waits for what only this reader was to read.
    fn forget(&mut self, reader: &Reader) {
        if let Some(place) = self.expected.iter().position(|other| other == reader) {
            self.expected.swap_remove(place);
        }
        if self.expected.contains(reader) {
            return;
        }
        let mut unwanted = Vec::new();
        for (piece, kept) in &mut self.readings {
            let is_theirs = piece.source == reader.source && piece.path.starts_with(&reader.prefix);
            if is_theirs && kept.waiting.remove(&reader.target) && kept.waiting.is_empty() {
                unwanted.push(piece.clone());
            }
        }
        for piece in unwanted {
            if let Some(kept) = self.readings.remove(&piece) {
                self.not_idle(kept.idle_since, kept.reading.bytes);
            }
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        let mut state = self.fan_out.state();
        self.readers.iter().for_each(|reader| state.forget(reader));
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some((fan_out, piece, reading)) = self.used.take() {
            fan_out.leave(&piece, &reading);
        }
    }
}
