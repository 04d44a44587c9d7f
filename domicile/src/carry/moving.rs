//! The copies that this process carries now: how much of each is done, and how fast it goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use domicile_estate::{BackendName, DatasetName};
use domicile_movers::{Rate, eta_seconds};
use domicile_worker::Progress;

use super::Carrier;
use crate::progress::Meter;

/// How often it is measured how fast copies go, and noted for whoever asks.
const MEASURE_EVERY: Duration = Duration::from_secs(2);

/// A copy that is under way.
#[derive(Debug)]
pub struct Moving {
    /// The dataset.
    pub dataset: DatasetName,
    /// Where it goes.
    pub target: BackendName,
    total: AtomicU64,
    progress: Arc<Progress>,
    meter: Arc<Meter>,
    rate: Mutex<Rate>,
}

impl Moving {
    /// Bytes that there are to do.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Bytes that are done, those that were there before included.
    pub fn done(&self) -> u64 {
        let (moved, there) = (self.progress.bytes_written(), self.meter.bytes());
        (moved + there).min(self.total())
    }

    /// Bytes per second of late; `None` before it was measured.
    pub fn per_second(&self) -> Option<f64> {
        self.rate().per_second()
    }

    /// Seconds that the rest takes; `None` where nobody can tell.
    pub fn eta_seconds(&self) -> Option<f64> {
        eta_seconds(self.total() - self.done(), self.per_second())
    }

    fn rate(&self) -> MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The copies that are under way; each leaves when nobody carries anything of it.
#[derive(Debug)]
pub struct Movings {
    began: Instant,
    all: Mutex<Vec<Weak<Moving>>>,
}

impl Default for Movings {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            all: Mutex::default(),
        }
    }
}

impl Movings {
    /// Those that are under way, by dataset and target.
    pub fn now(&self) -> Vec<Arc<Moving>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|moving| moving.strong_count() > 0);
        let mut now: Vec<_> = all.iter().filter_map(Weak::upgrade).collect();
        now.sort_by(|a, b| (&a.dataset, &a.target).cmp(&(&b.dataset, &b.target)));
        now
    }

    /// Measures how fast each goes.
    fn measure(&self) -> Vec<((DatasetName, BackendName), f64)> {
        let now_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut rates = Vec::new();
        for moving in self.now() {
            // What was there before, or is another's doing, is not fast.
            moving.rate().seen(now_us, moving.progress.bytes_written());
            let of = (moving.dataset.clone(), moving.target.clone());
            rates.extend(moving.per_second().map(|rate| (of, rate)));
        }
        rates
    }
}

/// A task that measures; it ends when this is dropped.
pub struct Measuring(tokio::task::JoinHandle<()>);

impl Drop for Measuring {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Carrier {
    /// What carries so many more bytes of one copy, and counts them for themselves too.
    pub fn of_move(
        &self,
        (dataset, target): (&DatasetName, &BackendName),
        bytes: u64,
    ) -> (Self, Arc<Moving>) {
        let known = self.movings.now();
        let known = known
            .iter()
            .find(|moving| moving.dataset == *dataset && moving.target == *target);
        let moving = if let Some(known) = known {
            known.total.fetch_add(bytes, Ordering::Relaxed);
            Arc::clone(known)
        } else {
            let moving = Arc::new(Moving {
                dataset: dataset.clone(),
                target: target.clone(),
                total: AtomicU64::new(bytes),
                progress: Arc::new(Progress::within(&self.progress)),
                meter: Arc::new(Meter::within(&self.meter)),
                rate: Mutex::default(),
            });
            let mut all = self.movings.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(Arc::downgrade(&moving));
            moving
        };
        let carrier = Self {
            progress: Arc::clone(&moving.progress),
            meter: Arc::clone(&moving.meter),
            ..self.clone()
        };
        (carrier, moving)
    }

    /// Measures how fast copies go, and notes it in the catalogue, until this is dropped.
    pub fn measuring(&self) -> Measuring {
        let (movings, catalogue) = (Arc::clone(&self.movings), Arc::clone(&self.catalogue));
        let worker = self.leasing.worker.clone();
        Measuring(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(MEASURE_EVERY);
            let mut noted = false;
            loop {
                ticks.tick().await;
                let rates = movings.measure();
                if (noted || !rates.is_empty())
                    && let Err(error) = catalogue.note_rates(&worker, &rates).await
                {
                    tracing::info!("how fast copies go was not noted: {error}");
                }
                noted = !rates.is_empty();
            }
        }))
    }
}
