//! Where those wait who ask one store, or send over one link.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use domicile_estate::{RateLimits, Rates};
use domicile_movers::{Crowd, Failure, FailureClass, Pace};
use tokio::sync::Notify;

use crate::store::{Attested, Content, Doing, Version};

/// Limits that everybody keeps to together.
pub(crate) struct Paces {
    limits: RateLimits,
    began: Instant,
    state: Mutex<(Pace, Pace)>,
}

impl fmt::Debug for Paces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paces")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Paces {
    pub(crate) fn new(limits: RateLimits) -> Self {
        Self {
            limits,
            began: Instant::now(),
            state: Mutex::default(),
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn rates(&self) -> Rates {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.limits
            .at(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Waits until so many requests and bytes may pass.
    pub(crate) async fn pass(&self, requests: u64, bytes: u64) {
        if self.limits.is_unlimited() {
            return;
        }
        let rates = self.rates();
        let wait_us = {
            let now_us = self.now_us();
            // Nothing panics while it holds the lock.
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let for_bytes = rates.bytes_per_second.filter(|_| bytes > 0);
            let for_bytes = for_bytes.map_or(0, |rate| state.0.take(now_us, bytes, rate));
            let for_requests = rates.requests_per_second.filter(|_| requests > 0);
            for_bytes.max(for_requests.map_or(0, |rate| state.1.take(now_us, requests, rate)))
        };
        if wait_us > 0 {
            tokio::time::sleep(Duration::from_micros(wait_us)).await;
        }
    }
}

/// What everybody who asks one store shares: its limits, and how much it is asked at once.
pub(crate) struct Turnstile {
    paces: Paces,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Default)]
struct State {
    crowd: Crowd,
    under_way: usize,
}

/// A place among those who ask at once; given back when it is dropped.
struct Turn<'a>(&'a Turnstile);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
        self.0.freed.notify_one();
    }
}

impl Turnstile {
    pub(crate) fn new(limits: RateLimits) -> Self {
        Self {
            paces: Paces::new(limits),
            state: Mutex::default(),
            freed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn turn(&self) -> Turn<'_> {
        loop {
            let freed = self.freed.notified();
            {
                let mut state = self.state();
                if state.under_way < state.crowd.allowed() {
                    state.under_way += 1;
                    return Turn(self);
                }
            }
            freed.await;
        }
    }

    /// Does one request with so many bytes, in its turn. Who waits for the pace is not under way: else a limit would look like
    /// a store that has enough.
    pub(crate) async fn ask<T>(
        &self,
        bytes: u64,
        request: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.paces.pass(1, bytes).await;
        let _turn = self.turn().await;
        let answer = request.await;
        let now_us = self.paces.now_us();
        let mut state = self.state();
        match &answer {
            Err(failure) if failure.class == FailureClass::Transient => state.crowd.overburdened(now_us),
            _ => {
                let under_way = state.under_way;
                let before = state.crowd.allowed();
                state.crowd.answered(now_us, under_way, bytes);
                for _ in before..state.crowd.allowed() {
                    self.freed.notify_one();
                }
            }
        }
        drop(state);
        answer
    }
}

/// Who is told of bytes that have come, and may hold up the next ones.
pub(crate) trait Gate: Send + Sync + 'static {
    /// So many bytes have come; waits as long as they take at the limit.
    fn moved(&self, bytes: u64) -> impl Future<Output = ()> + Send;
}

impl Gate for Turnstile {
    async fn moved(&self, bytes: u64) {
        self.state().crowd.moved(bytes);
        self.paces.pass(0, bytes).await;
    }
}

/// A link with limits. Each copy that takes part in one reading counts for itself: wherever this process runs, on one side of the
/// link they may cross it twice.
impl Gate for Paces {
    async fn moved(&self, bytes: u64) {
        self.pass(0, bytes).await;
    }
}

/// Bytes that are read through a gate.
pub(crate) struct Gated<G> {
    inner: Box<dyn Content>,
    gate: Arc<G>,
}

impl<G: Gate> Gated<G> {
    pub(crate) fn boxed(inner: Box<dyn Content>, gate: Arc<G>) -> Box<dyn Content> {
        Box::new(Self { inner, gate })
    }
}

impl<G: Gate> Content for Gated<G> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn version(&self) -> &Version {
        self.inner.version()
    }

    fn attested(&self) -> Attested {
        self.inner.attested()
    }

    fn next(&mut self) -> Doing<'_, Option<Bytes>> {
        Box::pin(async {
            let next = self.inner.next().await?;
            if let Some(bytes) = &next {
                self.gate.moved(bytes.len() as u64).await;
            }
            Ok(next)
        })
    }
}
