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

use crate::carry::Watch;
use crate::in_parts::Gate;
use crate::memory::{Budget, Memory as Whole, Share};
use crate::role::Role;
use crate::store::{Content, Store, Version, Wanted};
use crate::turnstile::{Gated, Paces};

use reading::{Reading, Tee};

/// What is read once for several copies.
#[derive(Debug, Clone)]
pub(crate) struct FanOut {
    memory: Whole,
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
    /// Targets of copies that have not come yet.
    waiting: BTreeSet<BackendName>,
    /// Copies that have come, and wait for their share of the memory.
    coming: usize,
    /// Copies that hold a share of the memory for it.
    users: usize,
    /// Since when nobody does although something of it may be kept.
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
    /// Left before the share is given back, so that what is kept is always counted somewhere.
    _used: Option<Used>,
    _share: Option<Arc<Share>>,
}

/// A copy's part in a reading.
#[derive(Debug)]
struct Used {
    fan_out: FanOut,
    piece: Piece,
    reading: Arc<Reading>,
    /// Whether it has its share of the memory.
    entered: bool,
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
    /// The limits of the way there.
    pub link: Option<Arc<Paces>>,
    /// Who is to know as soon as there is memory for it.
    pub gate: Option<&'a Gate>,
}

impl FanOut {
    /// Takes the memory of a worker.
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            memory: Whole::of(bytes),
            state: Arc::default(),
        }
    }

    /// The memory for what is under way.
    pub(crate) fn budget(&self) -> &Budget {
        &self.memory.under_way
    }

    /// The memory for who holds some already, and must read again.
    pub(crate) fn second(&self) -> &Budget {
        &self.memory.second
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
        self.memory.check(want.bytes, &watch.place)?;
        let Some(link) = want.link.clone() else {
            return self.open_freely(want, watch).await;
        };
        watch.or_stop(link.pass(1, 0)).await?;
        let (content, memory) = self.open_freely(want, watch).await?;
        Ok((Gated::boxed(content, link), memory))
    }

    async fn open_freely(
        &self,
        want: Want<'_>,
        watch: &Watch,
    ) -> Result<(Box<dyn Content>, Memory), Failure> {
        let Some((piece, reading)) = self.join(&want) else {
            let memory = watch.or_stop(self.memory.under_way.take(want.bytes)).await?;
            want.gate.inspect(|gate| gate.pass());
            let wanted = Wanted {
                path: want.path,
                role: Role::Source,
                range: want.range.clone(),
                version: want.version,
            };
            let content = watch.or_stop(want.from.open(wanted)).await??;
            let memory = Memory {
                _used: None,
                _share: memory.map(Arc::new),
            };
            return Ok((content, memory));
        };
        let mut used = Used {
            fan_out: self.clone(),
            piece,
            reading: Arc::clone(&reading),
            entered: false,
        };
        let share = watch.or_stop(reading.share(&self.memory.under_way)).await?;
        used.enter();
        want.gate.inspect(|gate| gate.pass());
        let memory = Memory {
            _used: Some(used),
            _share: share,
        };
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
                coming: 1,
                users: 0,
                idle_since: None,
            };
            state.readings.insert(piece.clone(), kept);
            return Some((piece, reading));
        };
        // Whoever comes for the second time wants to read anew.
        if !kept.waiting.remove(want.target) {
            return None;
        }
        // What is kept stays counted as kept until there is a share of the memory for it.
        kept.coming += 1;
        Some((piece, Arc::clone(&kept.reading)))
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

    /// The reading of a piece, if it is this one: another may have taken its place.
    fn kept(&mut self, used: &Used) -> Option<&mut Kept> {
        let kept = self.readings.get_mut(&used.piece)?;
        Arc::ptr_eq(&kept.reading, &used.reading).then_some(kept)
    }

    /// Forgets a piece that nobody else will come for; says whether it did.
    fn forget_unwanted(&mut self, piece: &Piece) -> bool {
        let unwanted = self.readings.get(piece).is_some_and(Kept::is_unwanted);
        if unwanted && let Some(kept) = self.readings.remove(piece) {
            self.not_idle(kept.idle_since, kept.reading.bytes);
        }
        unwanted
    }

    /// Gives up what has waited longest, until no more waits than may.
    fn give_up(&mut self, kept_max: u64) {
        while self.idle_bytes > kept_max
            && let Some((since, piece)) = self.idle.pop_first()
        {
            if let Some(kept) = self.readings.remove(&piece) {
                self.idle_bytes -= kept.reading.bytes;
                // Whoever waits for his share reads it himself.
                kept.reading.give_up();
                tracing::debug!(path = piece.path, since, "a copy was too slow to share a reading");
            }
        }
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
            if is_theirs && kept.waiting.remove(&reader.target) {
                unwanted.push(piece.clone());
            }
        }
        for piece in unwanted {
            self.forget_unwanted(&piece);
        }
    }
}

impl Kept {
    fn is_unwanted(&self) -> bool {
        self.waiting.is_empty() && self.coming == 0
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        let mut state = self.fan_out.state();
        self.readers.iter().for_each(|reader| state.forget(reader));
    }
}

impl Used {
    /// There is a share of the memory for it now.
    fn enter(&mut self) {
        self.entered = true;
        let mut state = self.fan_out.state();
        let Some(kept) = state.kept(self) else {
            return;
        };
        kept.coming -= 1;
        kept.users += 1;
        let idle_since = kept.idle_since.take();
        state.not_idle(idle_since, self.reading.bytes);
        state.forget_unwanted(&self.piece);
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        let mut state = self.fan_out.state();
        let Some(kept) = state.kept(self) else {
            return;
        };
        if !self.entered {
            kept.coming -= 1;
            if kept.users == 0 {
                state.forget_unwanted(&self.piece);
            }
            return;
        }
        kept.users -= 1;
        if kept.users == 0 && !state.forget_unwanted(&self.piece) {
            state.rest(&self.piece, self.reading.bytes);
        }
        state.give_up(self.fan_out.memory.kept_max);
    }
}
