//! What planning starts from: sums and states of copies, never single objects.

use std::collections::BTreeMap;

use domicile_estate::{
    BackendName, ByteCount, Copy, CopyState, DatasetName, DatasetSummary, Observed, ObservedDataset,
    OriginFinding,
};
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::dataset::Registered;
use crate::error::CatalogueError;
use crate::pages::Pages;
use crate::row::{backend_name, count, known_dataset_id};

/// What is known of one copy, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub origin: bool,
    pub trusted: bool,
    pub retiring: bool,
    pub begun: bool,
    pub verified_objects: u64,
    pub verified_bytes: u64,
    pub damaged_objects: u64,
    pub gone_objects: u64,
    pub gone_bytes: u64,
}

impl Counts {
    /// The state of a copy of a dataset with so many objects, looked at alone.
    fn state_alone(&self, objects: u64) -> CopyState {
        if self.retiring {
            return CopyState::Retiring;
        }
        // What is gone at an origin is the owner's doing: it is reported, and damages nothing.
        let damaged = if self.origin {
            self.damaged_objects
        } else {
            self.damaged_objects + self.gone_objects
        };
        if damaged > 0 {
            return CopyState::Damaged;
        }
        match (self.origin, self.verified_objects) {
            (true, 0) => CopyState::Listed,
            (_, verified) if verified == objects => CopyState::Verified,
            (true, _) => CopyState::Listed,
            (false, 0) if !self.begun => CopyState::Unknown,
            (false, _) => CopyState::Incomplete,
        }
    }

    /// Objects and bytes that are not (or no longer) known to be there whole, for a copy in this state.
    fn missing(&self, state: CopyState, tally: &Tally) -> (u64, u64) {
        match (self.origin, state) {
            (true, CopyState::Incomplete) => (self.gone_objects, self.gone_bytes),
            (true, _) => (0, 0),
            (false, _) => (
                tally.objects.saturating_sub(self.verified_objects),
                tally.bytes.saturating_sub(self.verified_bytes),
            ),
        }
    }
}

/// What is known of one dataset, before states are concluded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub objects: u64,
    pub bytes: u64,
    /// For each minimum object size asked for, ascending, what is billed.
    pub billable: Vec<(ByteCount, ByteCount)>,
    /// By the names of the backends.
    copies: Vec<(BackendName, Counts)>,
    pub findings: Vec<OriginFinding>,
}

impl Tally {
    /// A dataset without objects and copies.
    pub fn empty(minimums: impl Iterator<Item = ByteCount>) -> Self {
        Self {
            billable: minimums.map(|minimum| (minimum, ByteCount(0))).collect(),
            ..Self::default()
        }
    }

    fn position(&self, backend: &str) -> Result<usize, usize> {
        self.copies
            .binary_search_by(|(name, _)| name.as_str().cmp(backend))
    }

    /// What is known of the copy on a backend.
    pub fn copy(&self, backend: &BackendName) -> Option<&Counts> {
        let at = self.position(backend.as_str()).ok()?;
        self.copies.get(at).map(|(_, counts)| counts)
    }

    /// The same to be changed; a copy of which nothing was known is noted.
    pub fn copy_entry(&mut self, backend: &BackendName) -> &mut Counts {
        let at = self.position(backend.as_str()).unwrap_or_else(|at| {
            self.copies.insert(at, (backend.clone(), Counts::default()));
            at
        });
        &mut self.copies[at].1
    }

    /// Forgets the copy on a backend.
    pub fn remove_copy(&mut self, backend: &str) {
        if let Ok(at) = self.position(backend) {
            self.copies.remove(at);
        }
    }

    /// The copies with their states, by backend.
    ///
    /// INVARIANT: an origin that has lost objects does not count while another copy is whole. Else the whole one
    /// could be retired as one too many, and what the origin has lost would be gone for good. With no whole copy
    /// there is nothing to lose by it, and the rest of the origin is what the owner has.
    pub fn states(&self) -> impl ExactSizeIterator<Item = (&BackendName, &Counts, CopyState)> {
        let objects = self.objects;
        // An origin with a lost object is never verified, so a whole copy is always another one.
        let any_whole = self
            .copies
            .iter()
            .any(|(_, counts)| counts.state_alone(objects) == CopyState::Verified);
        self.copies.iter().map(move |(backend, counts)| {
            let state = match counts.state_alone(objects) {
                CopyState::Listed if any_whole && counts.gone_objects > 0 => CopyState::Incomplete,
                state => state,
            };
            (backend, counts, state)
        })
    }

    pub fn observed(mut self) -> ObservedDataset {
        self.findings.sort();
        let copy = |(backend, counts, state): (&BackendName, &Counts, CopyState)| {
            let (missing_objects, missing_bytes) = counts.missing(state, &self);
            Copy {
                backend: backend.clone(),
                origin: counts.origin,
                state,
                missing_bytes: ByteCount(missing_bytes),
                missing_objects,
                trusted: counts.trusted,
            }
        };
        let copies = self.states().map(copy).collect();
        let billable = self.billable.iter().copied();
        ObservedDataset {
            copies,
            summary: DatasetSummary::of_sums(ByteCount(self.bytes), self.objects, billable),
            findings: self.findings,
        }
    }
}

/// Everything that is known at one moment.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Every registered dataset with its origin, by name.
    pub registered: BTreeMap<DatasetName, Registered>,
    /// What planning starts from.
    pub observed: Observed,
}

impl Catalogue {
    /// What planning starts from, with billable sums for these minimum object sizes.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn observed(&self, minimums: &[ByteCount]) -> Result<Observed, CatalogueError> {
        let mut tx = self.read().await?;
        Ok(known(&mut tx, minimums, false).await?.observed)
    }

    /// Every registered dataset and what planning starts from, both of one moment.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn known(&self, minimums: &[ByteCount]) -> Result<Known, CatalogueError> {
        let mut tx = self.read().await?;
        known(&mut tx, minimums, true).await
    }

    /// What is known of one dataset, or `None` if nobody registered it.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn observed_dataset(
        &self,
        dataset: &DatasetName,
        minimums: &[ByteCount],
    ) -> Result<Option<ObservedDataset>, CatalogueError> {
        let mut tx = self.read().await?;
        let Some(id) = known_dataset_id(&mut tx, dataset).await? else {
            return Ok(None);
        };
        Ok(tally(&mut tx, id, minimums).await?.map(Tally::observed))
    }
}

/// What is known of one dataset, by its number.
pub(crate) async fn tally(
    connection: &mut SqliteConnection,
    id: i64,
    minimums: &[ByteCount],
) -> Result<Option<Tally>, CatalogueError> {
    let mut pages = Pages::begin(connection, (id, id), minimums, false).await?;
    let page = pages.next(connection).await?;
    Ok(page.into_iter().next().map(|told| told.tally))
}

/// Everything that is known, with descriptions if they are asked for.
pub(crate) async fn known(
    connection: &mut SqliteConnection,
    minimums: &[ByteCount],
    described: bool,
) -> Result<Known, CatalogueError> {
    let mut pages = Pages::begin(connection, (1, i64::MAX), minimums, described).await?;
    let (mut registered, mut observed) = (Vec::new(), Vec::new());
    loop {
        let page = pages.next(connection).await?;
        if page.is_empty() {
            break;
        }
        for told in page {
            registered.extend(told.registered.map(|row| (told.name.clone(), row)));
            observed.push((told.name, told.tally.observed()));
        }
    }
    // Maps made of lists are packed tight, unlike those that grow by one name after another.
    let mut known = Known {
        registered: registered.into_iter().collect(),
        observed: Observed::default(),
    };
    known.observed.datasets = observed.into_iter().collect();
    surroundings(connection, &mut known.observed).await?;
    Ok(known)
}

/// Adds the revision and what is known of the backends.
pub(crate) async fn surroundings(
    connection: &mut SqliteConnection,
    observed: &mut Observed,
) -> Result<(), CatalogueError> {
    let revision: i64 = sqlx::query_scalar("SELECT revision FROM meta")
        .fetch_one(&mut *connection)
        .await?;
    observed.revision = count(revision)?;
    observed.unreachable.clear();
    observed.cordoned.clear();
    observed.draining.clear();
    let unreachable: Vec<(String, String)> =
        sqlx::query_as("SELECT b.name, u.reason FROM unreachable u JOIN backends b ON b.id = u.backend_id")
            .fetch_all(&mut *connection)
            .await?;
    for (backend, reason) in unreachable {
        observed.unreachable.insert(backend_name(&backend)?, reason);
    }
    let marks: Vec<(String, bool, bool)> = sqlx::query_as(
        "SELECT b.name, m.cordoned, m.draining FROM marks m JOIN backends b ON b.id = m.backend_id",
    )
    .fetch_all(&mut *connection)
    .await?;
    for (backend, cordoned, draining) in marks {
        let backend = backend_name(&backend)?;
        if cordoned {
            observed.cordoned.insert(backend.clone());
        }
        if draining {
            observed.draining.insert(backend);
        }
    }
    Ok(())
}
