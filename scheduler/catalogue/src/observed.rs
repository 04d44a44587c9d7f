//! What planning starts from: sums and states of copies, never single objects.

use std::collections::BTreeMap;

use domicile_estate::{
    BackendName, ByteCount, Copy, CopyState, DatasetName, DatasetSummary, Observed, ObservedDataset,
    OriginFinding,
};
use futures::TryStreamExt;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::row::{backend_name, bytes, corrupt, count, dataset_name, known_dataset_id};

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
    fn missing(&self, state: CopyState, summary: &DatasetSummary) -> (u64, u64) {
        match (self.origin, state) {
            (true, CopyState::Incomplete) => (self.gone_objects, self.gone_bytes),
            (true, _) => (0, 0),
            (false, _) => (
                summary.objects.saturating_sub(self.verified_objects),
                summary.bytes.0.saturating_sub(self.verified_bytes),
            ),
        }
    }
}

/// What is known of one dataset, before states are concluded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub summary: DatasetSummary,
    pub copies: BTreeMap<BackendName, Counts>,
    pub findings: Vec<OriginFinding>,
}

impl Tally {
    /// The copies with their states, by backend.
    ///
    /// INVARIANT: an origin that has lost objects does not count while another copy is whole. Else the whole one
    /// could be retired as one too many, and what the origin has lost would be gone for good. With no whole copy
    /// there is nothing to lose by it, and the rest of the origin is what the owner has.
    pub(crate) fn states(&self) -> impl Iterator<Item = (&BackendName, &Counts, CopyState)> {
        let objects = self.summary.objects;
        // An origin with a lost object is never verified, so a whole copy is always another one.
        let any_whole = self
            .copies
            .values()
            .any(|counts| counts.state_alone(objects) == CopyState::Verified);
        self.copies.iter().map(move |(backend, counts)| {
            let state = match counts.state_alone(objects) {
                CopyState::Listed if any_whole && counts.gone_objects > 0 => CopyState::Incomplete,
                state => state,
            };
            (backend, counts, state)
        })
    }

    pub(crate) fn observed(mut self, dataset: &DatasetName) -> ObservedDataset {
        self.findings.sort();
        let copy = |(backend, counts, state): (&BackendName, &Counts, CopyState)| {
            let (missing_objects, missing_bytes) = counts.missing(state, &self.summary);
            Copy {
                dataset: dataset.clone(),
                backend: backend.clone(),
                origin: counts.origin,
                state,
                missing_bytes: ByteCount(missing_bytes),
                missing_objects,
                trusted: counts.trusted,
            }
        };
        ObservedDataset {
            copies: self.states().map(copy).collect(),
            findings: self.findings,
            summary: self.summary,
        }
    }
}

impl Catalogue {
    /// What planning starts from, with billable sums for these minimum object sizes.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn observed(&self, minimums: &[ByteCount]) -> Result<Observed, CatalogueError> {
        let mut tx = self.read().await?;
        let tallies = tallies(&mut tx, None, minimums).await?;
        surroundings(&mut tx, tallies).await
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
        let mut tallies = tallies(&mut tx, Some(id), minimums).await?;
        Ok(tallies.remove(dataset).map(|tally| tally.observed(dataset)))
    }
}

/// Concludes the states and adds what is known of the backends.
pub(crate) async fn surroundings(
    connection: &mut SqliteConnection,
    tallies: BTreeMap<DatasetName, Tally>,
) -> Result<Observed, CatalogueError> {
    let revision: i64 = sqlx::query_scalar("SELECT revision FROM meta")
        .fetch_one(&mut *connection)
        .await?;
    let mut observed = Observed {
        revision: count(revision)?,
        ..Observed::default()
    };
    for (name, tally) in tallies {
        let dataset = tally.observed(&name);
        observed.datasets.insert(name, dataset);
    }
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
    Ok(observed)
}

/// Tallies of one dataset or of all.
pub(crate) async fn tallies(
    connection: &mut SqliteConnection,
    only: Option<i64>,
    minimums: &[ByteCount],
) -> Result<BTreeMap<DatasetName, Tally>, CatalogueError> {
    // A range instead of an optional condition, so that one text serves both and each uses the index.
    let range = only.map_or((0, i64::MAX), |id| (id, id));
    let mut by_id = names(connection, range, minimums).await?;
    add_sums(connection, range, minimums, &mut by_id).await?;
    add_copies(connection, range, &mut by_id).await?;
    add_findings(connection, range, &mut by_id).await?;
    Ok(by_id.into_values().collect())
}

type TalliesById = BTreeMap<i64, (DatasetName, Tally)>;

async fn names(
    connection: &mut SqliteConnection,
    (low, high): (i64, i64),
    minimums: &[ByteCount],
) -> Result<TalliesById, CatalogueError> {
    let select = sqlx::query_as("SELECT id, name FROM datasets WHERE id BETWEEN ? AND ?");
    let mut rows = select.bind(low).bind(high).fetch(connection);
    let empty = DatasetSummary::of_sizes(std::iter::empty(), minimums);
    let mut by_id = TalliesById::new();
    while let Some((id, name)) = rows.try_next().await? as Option<(i64, String)> {
        let tally = Tally {
            summary: empty.clone(),
            ..Tally::default()
        };
        by_id.insert(id, (dataset_name(&name)?, tally));
    }
    Ok(by_id)
}

async fn add_sums(
    connection: &mut SqliteConnection,
    (low, high): (i64, i64),
    minimums: &[ByteCount],
    by_id: &mut TalliesById,
) -> Result<(), CatalogueError> {
    let empty = DatasetSummary::of_sizes(std::iter::empty(), minimums);
    let mut select = QueryBuilder::<Sqlite>::new("SELECT dataset_id, count(*), sum(size)");
    for (minimum, _) in &empty.billable {
        let minimum = crate::row::stored(minimum.0, "a minimum object size")?;
        select.push(format_args!(", sum(max(size, {minimum}))"));
    }
    select.push(" FROM objects INDEXED BY objects_sizes WHERE dataset_id BETWEEN ");
    select
        .push_bind(low)
        .push(" AND ")
        .push_bind(high)
        .push(" GROUP BY dataset_id");
    let mut rows = select.build().fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let id: i64 = row.try_get(0)?;
        let (_, tally) = by_id
            .get_mut(&id)
            .ok_or_else(|| corrupt(format!("objects of no dataset {id}")))?;
        tally.summary.objects = count(row.try_get(1)?)?;
        tally.summary.bytes = bytes(row.try_get(2)?)?;
        for (at, (_, sum)) in tally.summary.billable.iter_mut().enumerate() {
            *sum = bytes(row.try_get(at + 3)?)?;
        }
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct CopyRow {
    dataset_id: i64,
    backend: String,
    origin: bool,
    retiring: bool,
    begun: bool,
    trusted: bool,
    verified_objects: i64,
    verified_bytes: i64,
    damaged_objects: i64,
    gone_objects: i64,
    gone_bytes: i64,
}

impl TryFrom<&CopyRow> for Counts {
    type Error = CatalogueError;

    fn try_from(row: &CopyRow) -> Result<Self, CatalogueError> {
        Ok(Self {
            origin: row.origin,
            trusted: row.trusted,
            retiring: row.retiring,
            begun: row.begun,
            verified_objects: count(row.verified_objects)?,
            verified_bytes: count(row.verified_bytes)?,
            damaged_objects: count(row.damaged_objects)?,
            gone_objects: count(row.gone_objects)?,
            gone_bytes: count(row.gone_bytes)?,
        })
    }
}

async fn add_copies(
    connection: &mut SqliteConnection,
    (low, high): (i64, i64),
    by_id: &mut TalliesById,
) -> Result<(), CatalogueError> {
    let select = sqlx::query_as::<_, CopyRow>(
        "SELECT c.dataset_id, b.name AS backend, c.origin, c.retiring, c.begun, c.trusted_through > 0 AS trusted,
                c.verified_objects, c.verified_bytes, c.damaged_objects, c.gone_objects,
                iif(c.gone_objects = 0, 0, (SELECT coalesce(sum(o.size), 0) FROM placed p JOIN objects o ON o.id = p.object_id
                    WHERE p.dataset_id = c.dataset_id AND p.backend_id = c.backend_id AND p.state = 3)) AS gone_bytes
         FROM copies c JOIN backends b ON b.id = c.backend_id WHERE c.dataset_id BETWEEN ? AND ?",
    );
    // Few backends stand beside many copies: their names are shared.
    let mut names: BTreeMap<String, BackendName> = BTreeMap::new();
    let mut rows = select.bind(low).bind(high).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let backend = match names.get(&row.backend) {
            Some(name) => name.clone(),
            None => {
                let name = backend_name(&row.backend)?;
                names.insert(row.backend.clone(), name.clone());
                name
            }
        };
        let id = row.dataset_id;
        let (_, tally) = by_id
            .get_mut(&id)
            .ok_or_else(|| corrupt(format!("copies of no dataset {id}")))?;
        tally.copies.insert(backend, Counts::try_from(&row)?);
    }
    Ok(())
}

async fn add_findings(
    connection: &mut SqliteConnection,
    (low, high): (i64, i64),
    by_id: &mut TalliesById,
) -> Result<(), CatalogueError> {
    let select =
        sqlx::query_as("SELECT dataset_id, kind, key, reason FROM findings WHERE dataset_id BETWEEN ? AND ?");
    let mut rows = select.bind(low).bind(high).fetch(connection);
    while let Some((id, kind, key, reason)) = rows.try_next().await? as Option<(i64, String, String, String)>
    {
        let (_, tally) = by_id
            .get_mut(&id)
            .ok_or_else(|| corrupt(format!("findings of no dataset {id}")))?;
        tally.findings.push(match kind.as_str() {
            "Gone" => OriginFinding::Gone { key },
            "Changed" => OriginFinding::Changed { key },
            "RefusedKey" => OriginFinding::RefusedKey { key, reason },
            "NotAFile" => OriginFinding::NotAFile { key },
            other => return Err(corrupt(format!("a finding `{other}`"))),
        });
    }
    Ok(())
}
