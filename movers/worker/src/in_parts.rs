//! Objects that somebody put into an S3 store in parts: their ETag is the MD5 of the MD5s of these parts, with their number
//! behind it. So what came is proven by one reading, if it is known where the parts lie.
//!
//! ```text
//!  the store's parts:  │──── 1 ────│──── 2 ────│──── 3 ────│─ 4 ─│      each has a running MD5
//!  what we read:       │──────── 1 ────────│──────── 2 ────────│ …      several at once
//! ```
//!
//! What we read is cut where the store's parts end. A piece that begins one of them is taken in at once, side by side with
//! others (`many_md5`); one that goes on with one waits for the piece before it. INVARIANT: pieces are held in memory while
//! they wait, so what is read first gets its share of the memory first (`Gate`): nobody waits for who waits for memory.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use domicile_movers::Failure;
use md5::{Digest as _, Md5};
use tokio::sync::{Notify, watch};

use crate::digest::hex;
use crate::many_md5::RunningMd5;
use crate::store::{InParts, Store};

const MIB: u64 = 1024 * 1024;
/// What tools put by default, in MiB: rclone, aws and boto3, mc and minio-go, s3cmd, the AWS SDK, s5cmd.
const USUAL: [u64; 7] = [5, 8, 16, 15, 10, 50, 64];

/// Where the parts of an object lie at its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartsAt {
    /// Bytes of each but the last.
    pub size: u64,
    /// Whether the store says so; else it is what tools do.
    pub is_told: bool,
}

impl PartsAt {
    /// What the store says, or what is likely; `None` if its parts are of odd sizes.
    pub(crate) async fn of(
        from: &dyn Store,
        (path, size): (&str, u64),
        parts: &InParts,
    ) -> Result<Option<Self>, Failure> {
        let Some(first) = from.part_of(path, 1, &parts.version).await? else {
            let guess = likely_size(size, parts.count);
            return Ok(guess.map(|size| Self { size, is_told: false }));
        };
        let told = Self {
            size: first.end,
            is_told: true,
        };
        let fits = first == told.range(1, size) && told.count(size) == u64::from(parts.count);
        let last = from.part_of(path, parts.count, &parts.version).await?;
        let is_even = fits && last == Some(told.range(parts.count, size));
        Ok(is_even.then_some(told))
    }

    /// Whether each part lies where this says; asks the store for every one of them.
    pub(crate) async fn is_so(
        self,
        from: &dyn Store,
        (path, size): (&str, u64),
        parts: &InParts,
    ) -> Result<bool, Failure> {
        for number in 1..=parts.count {
            let told = from.part_of(path, number, &parts.version).await?;
            if told != Some(self.range(number, size)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn count(self, size: u64) -> u64 {
        size.div_ceil(self.size.max(1))
    }

    fn range(self, number: u32, size: u64) -> Range<u64> {
        let start = u64::from(number.saturating_sub(1)) * self.size;
        start.min(size)..(start + self.size).min(size)
    }
}

/// The size of parts that makes so many of an object: a usual one, or the smallest whole MiB.
fn likely_size(size: u64, count: u32) -> Option<u64> {
    if count <= 1 {
        return (count == 1).then_some(size.max(1));
    }
    let makes_it = |part: &u64| *part > 0 && size.div_ceil(*part) == u64::from(count);
    let smallest = size.div_ceil(u64::from(count)).next_multiple_of(MIB);
    let usual = USUAL.iter().map(|mib| mib * MIB);
    usual.chain([smallest]).find(makes_it)
}

/// The MD5 of an object in parts whose bytes are in memory, if it is clear where they lie.
pub(crate) async fn agrees_in_memory(parts: &InParts, chunks: &[Bytes]) -> bool {
    let size = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let Some(part) = likely_size(size, parts.count) else {
        return false;
    };
    let at = PartsAt {
        size: part,
        is_told: false,
    };
    let running = RunningParts::new(parts.clone(), at, size);
    running.take_in(0, chunks).await;
    running.verdict() == Some(true)
}

/// Lets what is read first have memory first.
#[derive(Debug)]
pub(crate) struct Gate(watch::Sender<u32>);

impl Gate {
    fn new() -> Self {
        Self(watch::Sender::new(1))
    }

    /// Waits until all before this number have their memory.
    pub(crate) async fn turn(&self, number: u32) {
        // Nobody drops the sender meanwhile.
        let _ = self.0.subscribe().wait_for(|next| *next >= number).await;
    }

    /// Lets the next one come.
    pub(crate) fn pass(&self) {
        self.0.send_modify(|next| *next += 1);
    }
}

/// The MD5s of the parts of one object while it comes.
#[derive(Debug)]
pub(crate) struct RunningParts {
    pub told: InParts,
    pub at: PartsAt,
    pub gate: Gate,
    size: u64,
    parts: Mutex<Vec<OnePart>>,
    moved: Notify,
}

#[derive(Debug)]
struct OnePart {
    /// Up to which byte of the object it has been taken in.
    until: u64,
    /// `None` while somebody takes in more of it.
    md5: Option<RunningMd5>,
}

/// What we read of one of the store's parts.
struct Piece {
    part: usize,
    offset: u64,
    chunks: Vec<Bytes>,
}

impl RunningParts {
    pub(crate) fn new(told: InParts, at: PartsAt, size: u64) -> Self {
        let parts = (1..=told.count).map(|number| OnePart {
            until: at.range(number, size).start,
            md5: Some(RunningMd5::new()),
        });
        let parts = Mutex::new(parts.collect());
        Self {
            told,
            at,
            gate: Gate::new(),
            size,
            parts,
            moved: Notify::new(),
        }
    }

    /// Takes in what came from this byte on. If this is given up in the middle, there is never a verdict.
    pub(crate) async fn take_in(&self, offset: u64, chunks: &[Bytes]) {
        let pieces = self.cut(offset, chunks).into_iter();
        futures::future::join_all(pieces.map(|piece| self.take_in_piece(piece))).await;
    }

    fn cut(&self, mut offset: u64, chunks: &[Bytes]) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for chunk in chunks {
            let mut rest = chunk.clone();
            while !rest.is_empty() {
                let number = offset / self.at.size;
                let room = (number + 1) * self.at.size - offset;
                let taken = rest.split_to(rest.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
                let part = usize::try_from(number).unwrap_or(usize::MAX);
                let begun = offset;
                offset += taken.len() as u64;
                match pieces.last_mut().filter(|piece| piece.part == part) {
                    Some(piece) => piece.chunks.push(taken),
                    None => pieces.push(Piece {
                        part,
                        offset: begun,
                        chunks: vec![taken],
                    }),
                }
            }
        }
        pieces
    }

    async fn take_in_piece(&self, piece: Piece) {
        let Some(mut md5) = self.turn(&piece).await else {
            return;
        };
        md5.update(&piece.chunks).await;
        let size: u64 = piece.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        if let Some(part) = self.parts().get_mut(piece.part) {
            part.until = piece.offset + size;
            part.md5 = Some(md5);
        }
        self.moved.notify_waiters();
    }

    /// Waits until everything before this piece has been taken in; `None` if it belongs to no part, or came before.
    async fn turn(&self, piece: &Piece) -> Option<RunningMd5> {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // From here on it hears of what moves.
            moved.as_mut().enable();
            {
                let mut parts = self.parts();
                let part = parts.get_mut(piece.part)?;
                if part.until > piece.offset {
                    return None;
                }
                if part.until == piece.offset && part.md5.is_some() {
                    return part.md5.take();
                }
            }
            moved.await;
        }
    }

    /// Whether what came is what the store holds; `None` if not all has come.
    pub(crate) fn verdict(&self) -> Option<bool> {
        let mut all = Md5::new();
        let mut parts = self.parts();
        for (part, number) in parts.iter_mut().zip(1..) {
            if part.until != self.at.range(number, self.size).end {
                return None;
            }
            all.update(part.md5.as_ref()?.digest());
        }
        Some(hex(&all.finalize()) == self.told.md5)
    }

    fn parts(&self) -> MutexGuard<'_, Vec<OnePart>> {
        // Nothing panics while it holds the lock.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at * 31 % 251) as u8).collect()
    }

    fn told(bytes: &[u8], part: usize) -> InParts {
        let mut all = Md5::new();
        bytes.chunks(part).for_each(|part| all.update(Md5::digest(part)));
        InParts {
            md5: hex(&all.finalize()),
            count: u32::try_from(bytes.len().div_ceil(part)).unwrap(),
            version: crate::store::Version(String::new()),
        }
    }

    fn running(told: InParts, part: usize, size: usize) -> RunningParts {
        let at = PartsAt {
            size: part as u64,
            is_told: true,
        };
        RunningParts::new(told, at, size as u64)
    }

    /// What is read comes in pieces of this size, the last one first.
    async fn verdict(bytes: &[u8], (part, read): (usize, usize), told: InParts) -> Option<bool> {
        let running = running(told, part, bytes.len());
        let pieces: Vec<_> = bytes.chunks(read).enumerate().collect();
        let taken = pieces.iter().rev().map(|(number, piece)| {
            let chunks: Vec<_> = piece.chunks(70_001).map(Bytes::copy_from_slice).collect();
            let running = &running;
            async move { running.take_in((number * read) as u64, &chunks).await }
        });
        futures::future::join_all(taken).await;
        running.verdict()
    }

    #[tokio::test]
    async fn whatever_the_sizes_are_the_same_bytes_agree_and_others_do_not() {
        let bytes = bytes_of(3_000_017);
        for part in [200_000, 262_144, 500_001, 1 << 20, 2_999_999, 3_000_017] {
            for read in [131_072, 262_144, 1 << 20, 4_000_000] {
                let agrees = verdict(&bytes, (part, read), told(&bytes, part)).await;
                assert_eq!(agrees, Some(true), "{part} {read}");
                let mut other = bytes.clone();
                other[2_999_999] ^= 4;
                let agrees = verdict(&other, (part, read), told(&bytes, part)).await;
                assert_eq!(agrees, Some(false), "{part} {read}");
            }
        }
    }

    #[tokio::test]
    async fn what_has_not_come_leaves_no_verdict_and_another_size_does_not_agree() {
        let bytes = bytes_of(1_000_000);
        let running = running(told(&bytes, 300_000), 300_000, bytes.len());
        running
            .take_in(0, &[Bytes::from(bytes[..600_000].to_vec())])
            .await;
        assert_eq!(running.verdict(), None);
        let guessed_wrong = verdict(&bytes, (250_001, 1 << 17), told(&bytes, 300_000)).await;
        assert_eq!(guessed_wrong, Some(false));
    }

    #[tokio::test]
    async fn small_ones_are_proven_in_memory() {
        let bytes = bytes_of(7 << 20);
        let chunks = [Bytes::from(bytes.clone())];
        for part in [5 << 20, 7 << 20, 8 << 20] {
            assert!(agrees_in_memory(&told(&bytes, part), &chunks).await, "{part}");
        }
        // Nobody can tell where these end.
        assert!(!agrees_in_memory(&told(&bytes, 3_700_000), &chunks).await);
        let other = [Bytes::from(bytes_of((7 << 20) - 1))];
        assert!(!agrees_in_memory(&told(&bytes, 5 << 20), &other).await);
    }

    #[test]
    fn what_tools_do_is_likely() {
        assert_eq!(likely_size(1 << 30, 205), Some(5 * MIB));
        assert_eq!(likely_size(1 << 30, 128), Some(8 * MIB));
        assert_eq!(likely_size(1 << 30, 21), Some(50 * MIB));
        assert_eq!(likely_size(1 << 30, 3), Some(342 * MIB));
        assert_eq!(likely_size(100, 1), Some(100));
        assert_eq!(likely_size(100, 3), None);
        assert_eq!(likely_size(100, 0), None);
    }
}
