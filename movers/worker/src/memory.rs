//! The memory that one process holds bytes of objects in: one budget, which everything that reads or writes takes shares of.
//!
//! ```text
//!  memory ─┬─ under way: parts, whole objects, what is read back, pages of listings ── 11/16
//!          ├─ read for several copies, and waiting for the slower ones ─────────────── 4/16
//!          └─ second readings, by those who hold a share already ───────────────────── 1/16
//! ```

#[cfg(test)]
mod tests;

use std::sync::Arc;

use domicile_estate::ByteCount;
use domicile_movers::{Failure, FailureClass, Place};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that a store hands out at once, at most.
const CHUNK: u64 = 1024 * 1024;
/// What the pages of a listing take that wait for whoever reads it: 5 of 1,000 entries with paths of 200 bytes.
pub(crate) const LISTING: u64 = 1024 * 1024;
/// The least that a worker can do with: a part of a large object in the share for what is under way.
const LEAST: u64 = 16 * 1024 * 1024;

/// A share of the memory.
pub(crate) type Share = OwnedSemaphorePermit;

/// The shares of a worker's memory.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// For what is under way.
    pub under_way: Budget,
    /// Bytes that may wait for slower copies.
    pub kept_max: u64,
    /// For who holds a share already, and must read again.
    pub second: Budget,
}

impl Memory {
    pub(crate) fn of(bytes: u64) -> Self {
        let (kept_max, second) = (bytes / 4, bytes / 16);
        Self {
            under_way: Budget::new(bytes - kept_max - second),
            kept_max,
            second: Budget::new(second),
        }
    }

    /// Refuses what can never be held. In parts nothing is larger than 8 MiB, but for objects above 78 GiB.
    ///
    /// # Errors
    /// `TargetDenied`, with what would be enough.
    pub(crate) fn check(&self, bytes: u64, place: &Place) -> Result<(), Failure> {
        if bytes <= self.under_way.bytes {
            return Ok(());
        }
        let enough = (bytes * 16 / 11).div_ceil(CHUNK) + 1;
        let message = format!(
            "{} of it have to be held in memory at once to bring it here, and there is room for {}: `--memory {enough}Mi` is \
             enough",
            ByteCount(bytes),
            ByteCount(self.under_way.bytes),
        );
        Err(Failure::of_place(FailureClass::TargetDenied, place, message))
    }
}

/// The least memory that a worker can do with, in bytes.
#[must_use]
pub fn least_memory() -> u64 {
    LEAST
}

/// What reading an object of so many bytes piece by piece takes.
pub(crate) fn chunk_of(size: u64) -> u64 {
    size.min(CHUNK)
}

/// Memory that many take shares of, in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    bytes: u64,
    /// Bytes of a permit: a share is told in 32 bits.
    unit: u64,
    free: Arc<Semaphore>,
}

impl Budget {
    fn new(bytes: u64) -> Self {
        let bytes = bytes.max(1);
        let unit = bytes.div_ceil(u64::from(u32::MAX));
        let permits = usize::try_from(bytes / unit).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            bytes,
            unit,
            free: Arc::new(Semaphore::new(permits)),
        }
    }

    /// Waits for a share. Who holds one asks for no second here, so that no two wait for each other; [`Memory::check`] has
    /// refused who asks for more than there is.
    pub(crate) async fn take(&self, bytes: u64) -> Option<Share> {
        let units = bytes
            .min(self.bytes)
            .div_ceil(self.unit)
            .min(self.bytes / self.unit);
        let share = u32::try_from(units).unwrap_or(u32::MAX).max(1);
        // The semaphore is never closed.
        Arc::clone(&self.free).acquire_many_owned(share).await.ok()
    }
}
