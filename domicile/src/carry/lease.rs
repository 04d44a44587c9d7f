//! One lease in this process: it is kept alive while the work goes on, and nothing is written once it is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domicile_catalogue::{Catalogue, CatalogueError, Held, Lease};
use domicile_estate::BackendName;
use domicile_movers::{Failure, FailureClass, Record, TransferId};
use domicile_worker::{Cancel, Records};
use futures::future::BoxFuture;

/// How often a lease is renewed within its time.
const RENEWALS: u32 = 3;
/// How often it is looked whether it was taken away, so that what a person orders is done at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A lease that we hold, as far as we know.
#[derive(Debug)]
pub struct Keeper {
    catalogue: Arc<Catalogue>,
    pub lease: Lease,
    pub ttl: Duration,
    /// When the catalogue last confirmed it. This clock goes on while the process is halted.
    confirmed: Mutex<Instant>,
    lost: Cancel,
}

/// A task that keeps a lease alive; it ends when this is dropped.
pub struct Heartbeat(tokio::task::JoinHandle<()>);

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Keeper {
    pub fn new(catalogue: Arc<Catalogue>, lease: Lease, ttl: Duration) -> Arc<Self> {
        Arc::new(Self {
            catalogue,
            lease,
            ttl,
            confirmed: Mutex::new(Instant::now()),
            lost: Cancel::new(),
        })
    }

    pub fn ttl_ms(&self) -> u64 {
        u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX)
    }

    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Takes note of what the catalogue says, asked at a time.
    pub fn note(&self, asked: Instant, held: Held) -> bool {
        match held {
            Held::Yes => *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = asked,
            Held::No => self.lost.cancel(),
        }
        held == Held::Yes
    }

    fn is_fresh(&self) -> bool {
        let confirmed = *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        confirmed.elapsed() < self.ttl / RENEWALS
    }

    async fn renew(&self) -> Result<bool, CatalogueError> {
        let asked = Instant::now();
        let held = self.catalogue.renew(&self.lease, self.ttl_ms()).await?;
        Ok(self.note(asked, held))
    }

    /// Keeps the lease alive until the heartbeat is dropped.
    pub fn heartbeat(self: &Arc<Self>) -> Heartbeat {
        let keeper = Arc::clone(self);
        Heartbeat(tokio::spawn(async move {
            let every = keeper.ttl / RENEWALS;
            let mut renewed = Instant::now();
            while !keeper.is_lost() {
                tokio::time::sleep(every.min(LOOK_EVERY)).await;
                let beat = if renewed.elapsed() + LOOK_EVERY > every {
                    renewed = Instant::now();
                    keeper.renew().await.map(drop)
                } else {
                    keeper.look().await
                };
                if let Err(error) = beat {
                    // A lease that cannot be renewed runs out, and then somebody else may have it.
                    tracing::warn!("a lease could not be renewed: {error}");
                }
            }
        }))
    }

    /// Looks whether somebody has taken the lease away, as a person does who pauses the move.
    async fn look(&self) -> Result<(), CatalogueError> {
        if self.catalogue.still_leased(&self.lease).await? == Held::No {
            self.lost.cancel();
        }
        Ok(())
    }

    async fn write(&self, at: (&TransferId, &str), record: &Record) -> Result<bool, CatalogueError> {
        let asked = Instant::now();
        let held = self
            .catalogue
            .record_transfer(&self.lease, at, record, self.ttl_ms())
            .await?;
        Ok(self.note(asked, held))
    }

    fn failure(&self, error: &CatalogueError) -> Failure {
        let target: &BackendName = &self.lease.consignment.target;
        let class = if error.is_retryable() {
            FailureClass::Transient
        } else {
            FailureClass::TargetDenied
        };
        Failure::of_backend(class, target, error.to_string())
    }
}

impl Records for Keeper {
    fn record<'a>(
        &'a self,
        at: (&'a TransferId, &'a str),
        record: &'a Record,
    ) -> BoxFuture<'a, Result<bool, Failure>> {
        Box::pin(async move {
            // Many small objects share a lease; what was confirmed a moment ago need not be asked again for each.
            let asks_only = matches!(
                record,
                Record::Renewed | Record::Waiting { .. } | Record::Released(_)
            );
            if asks_only && self.is_fresh() && !self.is_lost() {
                return Ok(true);
            }
            // An object that goes in one piece has nothing to close.
            self.write(at, record).await.map_err(|error| self.failure(&error))
        })
    }

    fn lost(&self) -> &Cancel {
        &self.lost
    }
}
