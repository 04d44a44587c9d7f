//! What a caller may watch and stop while objects move.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counters that any number of transfers add to and anybody may read at any time. They only rise: bytes that are
/// moved twice because of a retry are counted twice.
#[derive(Debug, Default)]
pub struct Progress {
    read: AtomicU64,
    written: AtomicU64,
    fetched: AtomicU64,
    verified: AtomicU64,
    waits: AtomicU64,
    /// Whether the last look at a target found something.
    targets_occupied: AtomicBool,
    /// What counts the same beside others.
    whole: Option<Arc<Self>>,
}

impl Progress {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counters at zero, of a part of what others count: they count it as well.
    #[must_use]
    pub fn within(whole: &Arc<Self>) -> Self {
        Self {
            whole: Some(Arc::clone(whole)),
            ..Self::default()
        }
    }

    fn add(&self, counter: fn(&Self) -> &AtomicU64, count: u64) {
        counter(self).fetch_add(count, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add(counter, count);
        }
    }

    /// Bytes read from sources.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes written to targets.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Those of them that a store fetched from a neighbour by itself: they did not pass through here.
    #[must_use]
    pub fn bytes_fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// Bytes at targets that were made sure of: read back, or told by a store's own checksum.
    #[must_use]
    pub fn bytes_verified(&self) -> u64 {
        self.verified.load(Ordering::Relaxed)
    }

    /// How often a transfer had to wait before it tried again.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    pub(crate) fn add_read(&self, bytes: u64) {
        self.add(|all| &all.read, bytes);
    }

    pub(crate) fn add_written(&self, bytes: u64) {
        self.add(|all| &all.written, bytes);
    }

    pub(crate) fn add_fetched(&self, bytes: u64) {
        self.add(|all| &all.fetched, bytes);
        self.add_written(bytes);
    }

    pub(crate) fn add_verified(&self, bytes: u64) {
        self.add(|all| &all.verified, bytes);
    }

    pub(crate) fn expects_something(&self) -> bool {
        self.targets_occupied.load(Ordering::Relaxed)
    }

    pub(crate) fn expect_something(&self, occupied: bool) {
        self.targets_occupied.store(occupied, Ordering::Relaxed);
    }

    pub(crate) fn add_wait(&self) {
        self.add(|all| &all.waits, 1);
    }
}

/// A switch that stops everything that was given it; clones share it. Nothing half-done stays visible.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    cancelled: AtomicBool,
    woken: Notify,
}

impl Cancel {
    /// A switch that nobody has pulled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops everything.
    pub fn cancel(&self) {
        self.inner.cancelled.store(true, Ordering::SeqCst);
        self.inner.woken.notify_waiters();
    }

    /// Whether it was pulled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.load(Ordering::SeqCst)
    }

    /// Returns once it is pulled.
    pub async fn cancelled(&self) {
        loop {
            let woken = self.inner.woken.notified();
            tokio::pin!(woken);
            // Registered before the look, so that a pull in between is not missed.
            woken.as_mut().enable();
            if self.is_cancelled() {
                return;
            }
            woken.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pull_wakes_those_who_wait_and_those_who_come_later() {
        let cancel = Cancel::new();
        let waiting = tokio::spawn({
            let cancel = cancel.clone();
            async move { cancel.cancelled().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        cancel.cancel();
        waiting.await.unwrap();
        cancel.cancelled().await;
    }
}
