//! Carries out a plan: the scheduler says what to do next, the worker and the catalogue do it.
//!
//! ```text
//!  Scheduler ──StartCopy──▶ copy    begin ▶ sweep ▶ page of objects ▶ transfer ▶ record verified ▶ … ▶ end
//!            ──StartRetire▶ retire  verify origin ▶ re-check and mark ▶ delete ▶ forget
//! ```
//!
//! There is no decision about data here: what to start, to retry and to give up is the scheduler's.

pub mod consign;
mod copy;
mod ended;
mod inspect;
mod lease;
pub mod lists;
mod marks;
mod moving;
mod notes;
mod relied;
mod restore;
mod retire;
mod slots;

pub use copy::copy;
pub use inspect::{Inspected, Part, digests, inspect_copy, inspect_part, judge};
pub use marks::{one_place, sweep as sweep_marks};
pub use moving::{Moving, Movings};
use notes::Notes;
pub use relied::is_there;
pub use restore::{Restored, Restoring};
pub use slots::Slots;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use domicile_catalogue::{Catalogue, CatalogueError, Hold};
use domicile_estate::{
    AccessMode, Backend, BackendName, Dataset, DatasetName, DatasetSummary, ObjectKey, Observed,
    ObservedDataset, PolicyName, StoreKind, Verify,
};
use domicile_movers::Place;
use domicile_policies::{DatasetFacts, Enforcement, Policy};
use domicile_scheduler::{
    Command, Event, Limits, Order, Orders, RetireCaps, Rooms, Scheduler, Step, Summary,
};
use domicile_worker::{Cancel, Progress, Worker};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

use crate::cli::Global;
use crate::progress::{self, Counters, Meter};

/// Copies and retirements under way at once. Those of small datasets wait for the disk most of the time, and share the
/// commits of the catalogue.
const STEPS: usize = 16;
/// How often it is looked what people have ordered of moves.
const ORDERS_EVERY: std::time::Duration = std::time::Duration::from_secs(1);
/// Objects under way at once, over all copies: each takes a few open files.
pub const OBJECTS_UNDER_WAY: usize = 128;

/// What the carriers of all steps share.
#[derive(Debug, Clone)]
pub struct Carrier {
    /// The catalogue.
    pub catalogue: Arc<Catalogue>,
    /// The mover's hands.
    pub worker: Arc<Worker>,
    /// What lies where.
    pub layout: Arc<Layout>,
    /// Bytes as the worker counts them.
    pub progress: Arc<Progress>,
    /// Objects as the carriers count them.
    pub meter: Arc<Meter>,
    /// Pulled when the user interrupts.
    pub cancel: Cancel,
    /// When this process began to carry.
    pub began_ms: i64,
    /// Objects that may be under way at once, over all copies.
    pub slots: Arc<Slots>,
    /// The copies that are under way here.
    pub movings: Arc<Movings>,
    /// How this process leases what it carries.
    pub leasing: consign::Leasing,
    /// For each target so far, the folders at its root that belong to origins.
    pub folders: Arc<Mutex<BTreeMap<BackendName, OriginFolders>>>,
    /// For each dataset of which copies hold an old version: whose turn it is.
    pub turns: Arc<Mutex<BTreeMap<DatasetName, Turn>>>,
}

/// One copy of a dataset after the other.
type Turn = Arc<Mutex<()>>;

/// First parts of paths, and the dataset whose origin has objects there.
type OriginFolders = Arc<BTreeMap<String, DatasetName>>;

impl Carrier {
    /// Where copies hold an old version of a dataset, they are brought up to date one after the other: until one is
    /// verified, the others have the old bytes.
    pub async fn turn(&self, dataset: &DatasetName) -> Result<Option<OwnedMutexGuard<()>>, CatalogueError> {
        if !self.catalogue.is_renewing(dataset).await? {
            return Ok(None);
        }
        let turn = Arc::clone(self.turns.lock().await.entry(dataset.clone()).or_default());
        Ok(Some(turn.lock_owned().await))
    }

    /// The dataset whose origin has the folder on a backend in which a copy would lie, if there is one.
    pub async fn origin_in_the_way(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
    ) -> Result<Option<DatasetName>, CatalogueError> {
        let mut known = self.folders.lock().await;
        if !known.contains_key(backend) {
            let folders = self.catalogue.origin_folders(backend).await?;
            known.insert(backend.clone(), Arc::new(folders));
        }
        let owner = known
            .get(backend)
            .and_then(|folders| folders.get(dataset.as_str()));
        Ok(owner.filter(|owner| *owner != dataset).cloned())
    }
}

/// Where the objects of a dataset lie on each backend.
#[derive(Debug, Default)]
pub struct Layout {
    origins: BTreeMap<DatasetName, (BackendName, String)>,
    /// Backends on which nothing is recorded: their roots may be made.
    fresh: BTreeSet<BackendName>,
    /// Backends that are sources only: nothing is deleted there either.
    read_only: BTreeSet<BackendName>,
    /// Backends that are out of reach: what they hold stays as it is recorded.
    lost: BTreeSet<BackendName>,
    /// What it costs to read a GiB from those backends that are no folders.
    egress: BTreeMap<BackendName, f64>,
    /// Datasets whose policies say how much proof their copies need.
    verify: BTreeMap<DatasetName, Verify>,
    /// Datasets whose copies wait before they are retired, and for how many seconds.
    grace: BTreeMap<DatasetName, u64>,
}

impl Layout {
    /// From what is known and where the manifests say that the origins lie.
    pub fn new<'a>(
        observed: &Observed,
        datasets: impl Iterator<Item = &'a domicile_estate::Dataset>,
        backends: impl Iterator<Item = &'a Backend> + Clone,
    ) -> Self {
        let copies = observed.datasets.values().flat_map(ObservedDataset::holders);
        let holding: BTreeSet<_> = copies.map(|copy| copy.backend.clone()).collect();
        // A retired origin is no origin any more, whatever its manifest still names.
        let origins = datasets.filter_map(|d| {
            let origin = d.origin.as_ref()?;
            let copy = observed.datasets.get(&d.name)?.copy_on(origin.backend.as_str())?;
            copy.origin
                .then(|| (d.name.clone(), (origin.backend.clone(), origin.prefix.clone())))
        });
        let read_only = backends.clone().filter(|b| b.access_mode == AccessMode::ReadOnly);
        let remote = backends.clone().filter(|b| b.store.kind != StoreKind::Fs);
        let fresh = backends.clone().filter(|b| !holding.contains(&b.name));
        Self {
            origins: origins.collect(),
            fresh: fresh.map(|b| b.name.clone()).collect(),
            read_only: read_only.map(|b| b.name.clone()).collect(),
            lost: observed.unreachable.keys().cloned().collect(),
            egress: remote.map(|b| (b.name.clone(), b.price.egress_per_gib)).collect(),
            verify: BTreeMap::new(),
            grace: BTreeMap::new(),
        }
    }

    /// With how much proof the policies want, and how long copies wait before they are retired: of those that select a
    /// dataset, the one that wants most holds.
    #[must_use]
    pub fn guarded(
        mut self,
        observed: &Observed,
        datasets: &BTreeMap<DatasetName, Arc<Dataset>>,
        policies: &BTreeMap<PolicyName, Policy>,
    ) -> Self {
        let acting = policies
            .values()
            .filter(|p| p.enforcement == Enforcement::Enforce);
        let wanting: Vec<_> = acting
            .filter(|p| p.verify.is_some() || p.drop_grace_seconds.is_some())
            .collect();
        let unknown = DatasetSummary::default();
        for dataset in datasets.values().filter(|_| !wanting.is_empty()) {
            let known = observed.datasets.get(&dataset.name);
            let facts = DatasetFacts::new(dataset, known.map_or(&unknown, |known| &known.summary));
            let selecting = || wanting.iter().filter(|policy| policy.selects(&facts));
            if let Some(most) = selecting().filter_map(|policy| policy.verify).max() {
                self.verify.insert(dataset.name.clone(), most);
            }
            if let Some(longest) = selecting().filter_map(|policy| policy.drop_grace_seconds).max() {
                self.grace.insert(dataset.name.clone(), longest);
            }
        }
        self
    }

    /// How much proof the copies of a dataset need.
    pub fn verify(&self, dataset: &DatasetName) -> Verify {
        self.verify.get(dataset).copied().unwrap_or_default()
    }

    /// Milliseconds that a copy of a dataset waits before it is retired.
    pub fn grace_ms(&self, dataset: &DatasetName) -> u64 {
        self.grace.get(dataset).copied().unwrap_or(0).saturating_mul(1000)
    }

    /// Where an object of a dataset lies on a backend: below the origin's prefix, or in our copy.
    pub fn place(&self, dataset: &DatasetName, key: &ObjectKey, backend: &BackendName) -> Place {
        let path = match self.origins.get(dataset) {
            Some((origin, prefix)) if origin == backend => format!("{prefix}{key}"),
            _ => key.path_in_copy(dataset),
        };
        Place {
            backend: backend.clone(),
            path,
        }
    }

    /// What the paths of all objects of a dataset on a backend begin with.
    pub fn prefix(&self, dataset: &DatasetName, backend: &BackendName) -> String {
        let origin = self.origin_prefix(dataset, backend);
        origin.map_or_else(|| format!("{dataset}/"), str::to_owned)
    }

    /// Whether reading from a backend goes over a network, and what a GiB costs then.
    fn reading(&self, backend: &BackendName) -> (bool, f64) {
        let price = self.egress.get(backend);
        (price.is_some(), price.copied().unwrap_or(0.0))
    }

    /// Whether nothing is recorded on a backend, so that its root may be yet to be made.
    pub fn is_fresh(&self, backend: &BackendName) -> bool {
        self.fresh.contains(backend)
    }

    /// The prefix of a dataset's origin, if it lies on this backend.
    pub fn origin_prefix(&self, dataset: &DatasetName, backend: &BackendName) -> Option<&str> {
        let (origin, prefix) = self.origins.get(dataset)?;
        (origin == backend).then_some(prefix)
    }

    /// Whether a backend is the origin of a dataset.
    pub fn is_origin(&self, dataset: &DatasetName, backend: &BackendName) -> bool {
        self.origin_prefix(dataset, backend).is_some()
    }
}

/// Milliseconds since 1970 in UTC.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Carries out the steps of a recorded plan until nothing is left to do, or the user interrupts.
pub async fn carry(
    global: &Global,
    carrier: Carrier,
    plan: u64,
    (steps, rooms): (Vec<Step>, Rooms),
    retiring: RetireCaps,
) -> anyhow::Result<Summary> {
    let bytes = steps.iter().filter(|s| s.is_copy()).map(|s| s.bytes.0).sum();
    let objects = steps.iter().filter(|s| s.is_copy()).map(|s| s.objects).sum();
    let counters = Counters {
        meter: Arc::clone(&carrier.meter),
        moved: Some(Arc::clone(&carrier.progress)),
    };
    let movings = Arc::clone(&carrier.movings);
    let watch = progress::watch_moves(global, "copying", (bytes, objects), counters, movings);
    let _measuring = carrier.measuring();
    let mut scheduler = Scheduler::new(Limits {
        running: STEPS,
        retiring,
        ..Limits::default()
    })
    .sharing(carrier.slots.owners().clone());
    let notes = Notes::of(Arc::clone(&carrier.catalogue), plan);
    let (events, mut inbox) = mpsc::unbounded_channel();
    let mut ordered = orders(&carrier.catalogue).await?;
    let mut look = tokio::time::interval(ORDERS_EVERY);
    let started = std::time::Instant::now();
    // Orders come before the steps that they are about.
    let _ = events.send(Event::Approved { steps, rooms });
    let mut event = Event::Ordered(ordered.clone());
    loop {
        let now = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        for command in scheduler.handle(now, event) {
            match command {
                Command::Settled(summary) => {
                    drop(watch);
                    notes.end().await?;
                    return Ok(summary);
                }
                Command::Note { id, state } => {
                    progress::tell_move(global, id.as_str(), &state);
                    notes.add(id.as_str(), &state);
                }
                Command::MarkUnreachable { backend, reason } => {
                    carrier.catalogue.set_unreachable(&backend, &reason).await?;
                }
                Command::WakeAt { at_ms } => wake_at(at_ms.saturating_sub(now), events.clone()),
                Command::StartCopy(step) => start(copy::copy(carrier.clone(), step), events.clone()),
                Command::StartRetire(step) => start(retire::retire(carrier.clone(), step), events.clone()),
            }
        }
        event = loop {
            tokio::select! {
                event = inbox.recv() => break event.context("the carriers are gone before the plan has settled")?,
                _ = tokio::signal::ctrl_c(), if !carrier.cancel.is_cancelled() => {
                    carrier.cancel.cancel();
                    break Event::Stop;
                }
                _ = look.tick() => {
                    let now = orders(&carrier.catalogue).await?;
                    if now != ordered {
                        ordered = now;
                        break Event::Ordered(ordered.clone());
                    }
                }
            }
        };
    }
}

/// What people have ordered of moves.
async fn orders(catalogue: &Catalogue) -> Result<Orders, CatalogueError> {
    let holds = catalogue.holds().await?.into_iter();
    Ok(holds.map(|(copy, hold)| (copy, order(hold))).collect())
}

/// What an order in the catalogue is to the scheduler.
pub fn order(hold: Hold) -> Order {
    match hold {
        Hold::Paused => Order::Pause,
        Hold::Cancelled => Order::Cancel,
    }
}

fn start(work: impl Future<Output = Event> + Send + 'static, events: mpsc::UnboundedSender<Event>) {
    tokio::spawn(async move {
        let event = work.await;
        // The receiver is gone only after everything has settled.
        let _ = events.send(event);
    });
}

fn wake_at(in_ms: u64, events: mpsc::UnboundedSender<Event>) {
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(in_ms)).await;
        let _ = events.send(Event::Woke);
    });
}
