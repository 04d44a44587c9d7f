//! Listings of origins, compared with what is registered. One pure comparison serves both `plan`, which only looks
//! at what would follow, and `apply`, which records it.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{ByteCount, DatasetName, DatasetSummary, ObjectKey, Observed, Origin, OriginFinding};
use futures::TryStreamExt;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::Catalogue;
use crate::dataset::{OriginRow, is_place_of_copies, origin_row};
use crate::error::CatalogueError;
use crate::observed::{Counts, Tally, surroundings, tallies};
use crate::row::{PlacedState, bytes, known_backend_id, now_ms, object_key, raise_revision, stored};

/// Rows of one statement that inserts: below SQLite's limit of 32,766 values.
const ROWS_MAX: usize = 500;

/// What lies at an origin now.
#[derive(Debug, Clone, PartialEq)]
pub struct OriginListing {
    /// The dataset.
    pub dataset: DatasetName,
    /// Where was looked.
    pub origin: Origin,
    /// Every object that a backend could hold.
    pub objects: Vec<ListedObject>,
    /// Names that were refused and things that are no files.
    pub findings: Vec<OriginFinding>,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key, below the origin's prefix.
    pub key: ObjectKey,
    /// Its size.
    pub size: ByteCount,
    /// When it was last written, in milliseconds since 1970, if the store tells.
    pub modified_ms: Option<i64>,
}

/// How an origin differs from what is registered.
#[derive(Debug, Clone, PartialEq)]
pub struct OriginDiff {
    /// The dataset.
    pub dataset: DatasetName,
    /// Objects that are new, by key.
    pub added: Vec<ListedObject>,
    /// Objects that are no longer there, by key.
    pub gone: Vec<ObjectKey>,
    /// Objects of another size or time than was registered, by key, as they are now.
    pub changed: Vec<ListedObject>,
    /// Names that were refused and things that are no files.
    pub refused: Vec<OriginFinding>,
}

impl OriginDiff {
    fn findings(&self) -> BTreeSet<OriginFinding> {
        let gone = self.gone.iter().map(|key| OriginFinding::Gone {
            key: key.as_str().to_owned(),
        });
        let changed = self.changed.iter().map(|object| OriginFinding::Changed {
            key: object.key.as_str().to_owned(),
        });
        gone.chain(changed).chain(self.refused.iter().cloned()).collect()
    }
}

/// What planning would start from if listings were recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreseen {
    /// The catalogue's view with the listings in it. The revision is that of the catalogue as it is.
    pub observed: Observed,
    /// How each listing differs, in the order of the listings; released and retiring origins are left out.
    pub diffs: Vec<OriginDiff>,
}

/// An object that is registered, with what is known of it at the origin.
struct Known {
    id: i64,
    key: ObjectKey,
    size: ByteCount,
    modified_ms: Option<i64>,
    at_origin: Option<PlacedState>,
}

/// What one listing changes.
struct Comparison {
    diff: OriginDiff,
    /// Objects whose state at the origin changes: number, size, from, to.
    transitions: Vec<Transition>,
    /// Objects whose time was not known and is now.
    dated: Vec<(i64, i64)>,
}

struct Transition {
    object: i64,
    size: ByteCount,
    from: Option<PlacedState>,
    to: PlacedState,
}

#[derive(Clone, Copy)]
enum Seen {
    Same,
    Changed,
    Gone,
}

/// The state of an object at its origin after a listing, where it changes.
fn next_state(state: Option<PlacedState>, seen: Seen) -> Option<PlacedState> {
    match (seen, state) {
        (Seen::Gone, Some(PlacedState::Gone)) => None,
        (Seen::Gone, _) => Some(PlacedState::Gone),
        // Other bytes than those that were verified lie there, or it came back and nobody has read it since.
        (Seen::Changed, Some(PlacedState::Verified | PlacedState::Gone))
        | (Seen::Same, Some(PlacedState::Gone)) => Some(PlacedState::Unknown),
        (Seen::Changed | Seen::Same, _) => None,
    }
}

fn compare(known: &[Known], listing: &OriginListing) -> Comparison {
    let mut listed: BTreeMap<&ObjectKey, &ListedObject> = listing
        .objects
        .iter()
        .map(|object| (&object.key, object))
        .collect();
    let mut diff = OriginDiff {
        dataset: listing.dataset.clone(),
        added: Vec::new(),
        gone: Vec::new(),
        changed: Vec::new(),
        refused: listing.findings.clone(),
    };
    let mut transitions = Vec::new();
    let mut dated = Vec::new();
    for object in known {
        let seen = match listed.remove(&object.key) {
            None => {
                diff.gone.push(object.key.clone());
                Seen::Gone
            }
            Some(now) if differs(object, now) => {
                diff.changed.push(now.clone());
                Seen::Changed
            }
            Some(now) => {
                if let (None, Some(modified_ms)) = (object.modified_ms, now.modified_ms) {
                    dated.push((object.id, modified_ms));
                }
                Seen::Same
            }
        };
        if let Some(to) = next_state(object.at_origin, seen) {
            transitions.push(Transition {
                object: object.id,
                size: object.size,
                from: object.at_origin,
                to,
            });
        }
    }
    diff.added = listed.into_values().cloned().collect();
    diff.refused.sort();
    diff.refused.dedup();
    Comparison {
        diff,
        transitions,
        dated,
    }
}

/// Times count only where both are known.
fn differs(known: &Known, now: &ListedObject) -> bool {
    let times = known.modified_ms.zip(now.modified_ms);
    known.size != now.size || times.is_some_and(|(was, is)| was != is)
}

impl Catalogue {
    /// How an origin differs from what is registered, without recording it.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn diff_origin(&self, listing: &OriginListing) -> Result<OriginDiff, CatalogueError> {
        let mut tx = self.read().await?;
        let relation = relate(&mut tx, listing).await?;
        if matches!(relation, Relation::Closed) {
            return Ok(no_difference(listing));
        }
        let known = relation.known(&mut tx, listing).await?;
        Ok(compare(&known, listing).diff)
    }

    /// What planning would start from if these listings were recorded, each after the registration of its dataset
    /// with that origin. Nothing is written.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn observed_with(
        &self,
        minimums: &[ByteCount],
        listings: &[OriginListing],
    ) -> Result<Foreseen, CatalogueError> {
        let mut tx = self.read().await?;
        let mut tallies = tallies(&mut tx, None, minimums).await?;
        let mut diffs = Vec::new();
        for listing in listings {
            let relation = relate(&mut tx, listing).await?;
            if matches!(relation, Relation::Closed) {
                continue;
            }
            let known = relation.known(&mut tx, listing).await?;
            let comparison = compare(&known, listing);
            let tally = tallies.entry(listing.dataset.clone()).or_insert_with(|| Tally {
                summary: DatasetSummary::of_sizes(std::iter::empty(), minimums),
                ..Tally::default()
            });
            foresee(&mut tx, tally, &relation, listing).await?;
            take(tally, &comparison, listing);
            diffs.push(comparison.diff);
        }
        let observed = surroundings(&mut tx, tallies).await?;
        Ok(Foreseen { observed, diffs })
    }

    /// Records what lies at an origin: new objects join, gone and changed ones are noted as findings, what is
    /// registered of them stays. A listing of an origin whose deletion has begun changes nothing.
    ///
    /// Whether an empty listing is the truth or a root that is not mounted is for the caller to decide.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`] and [`CatalogueError::OtherOrigin`] if the dataset was not registered
    /// with this origin; nothing is changed then.
    pub async fn record_origin(&self, listing: &OriginListing) -> Result<OriginDiff, CatalogueError> {
        let mut tx = self.write().await?;
        let (dataset, backend) = match relate(&mut tx, listing).await? {
            Relation::Same { dataset, backend } => (dataset, backend),
            Relation::Closed => return Ok(no_difference(listing)),
            Relation::New => {
                return Err(CatalogueError::UnknownDataset {
                    dataset: listing.dataset.clone(),
                });
            }
            Relation::Other(_) => {
                return Err(CatalogueError::OtherOrigin {
                    dataset: listing.dataset.clone(),
                });
            }
        };
        let known = known_objects(&mut tx, dataset, Some(backend)).await?;
        let comparison = compare(&known, listing);
        let mut changed = note_origin(&mut tx, dataset, backend).await?;
        changed |= insert_objects(&mut tx, dataset, &comparison.diff.added).await?;
        changed |= write_transitions(&mut tx, dataset, backend, &comparison.transitions).await?;
        changed |= write_findings(&mut tx, dataset, &comparison.diff.findings()).await?;
        write_dates(&mut tx, &comparison.dated).await?;
        if changed {
            raise_revision(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(comparison.diff)
    }
}

fn no_difference(listing: &OriginListing) -> OriginDiff {
    OriginDiff {
        dataset: listing.dataset.clone(),
        added: Vec::new(),
        gone: Vec::new(),
        changed: Vec::new(),
        refused: Vec::new(),
    }
}

/// How a listing's origin stands to the recorded one.
enum Relation {
    /// The dataset is not registered.
    New,
    /// It is the recorded origin.
    Same { dataset: i64, backend: i64 },
    /// Another origin, or none, is recorded.
    Other(OriginRow),
    /// It was retired, or its deletion has begun.
    Closed,
}

impl Relation {
    /// The objects that a listing is compared with, and what would be known of them at that origin.
    async fn known(
        &self,
        connection: &mut SqliteConnection,
        listing: &OriginListing,
    ) -> Result<Vec<Known>, CatalogueError> {
        match self {
            Self::New | Self::Closed => Ok(Vec::new()),
            Self::Same { dataset, backend } => known_objects(connection, *dataset, Some(*backend)).await,
            Self::Other(row) => {
                let backend = known_backend_id(connection, &listing.origin.backend).await?;
                let stays = is_place_of_copies(&listing.dataset, &listing.origin.prefix)
                    && backend != row.origin_backend_id;
                known_objects(connection, row.id, backend.filter(|_| stays)).await
            }
        }
    }
}

async fn relate(
    connection: &mut SqliteConnection,
    listing: &OriginListing,
) -> Result<Relation, CatalogueError> {
    let Some(row) = origin_row(connection, &listing.dataset).await? else {
        return Ok(Relation::New);
    };
    let Some(backend) = known_backend_id(connection, &listing.origin.backend).await? else {
        return Ok(Relation::Other(row));
    };
    if row.is_released(backend, &listing.origin.prefix) {
        return Ok(Relation::Closed);
    }
    if row.origin_backend_id != Some(backend) || row.origin_prefix != listing.origin.prefix {
        return Ok(Relation::Other(row));
    }
    let retiring = sqlx::query_scalar("SELECT retiring FROM copies WHERE dataset_id = ? AND backend_id = ?");
    let retiring: Option<bool> = retiring
        .bind(row.id)
        .bind(backend)
        .fetch_optional(connection)
        .await?;
    Ok(if retiring == Some(true) {
        Relation::Closed
    } else {
        Relation::Same {
            dataset: row.id,
            backend,
        }
    })
}

/// What registering the dataset with this origin would do to the tally: the same as `register_dataset` does.
async fn foresee(
    connection: &mut SqliteConnection,
    tally: &mut Tally,
    relation: &Relation,
    listing: &OriginListing,
) -> Result<(), CatalogueError> {
    let Relation::Other(row) = relation else {
        return Ok(());
    };
    let stays_as_copy = is_place_of_copies(&listing.dataset, &listing.origin.prefix);
    if let Some(old) = row.origin_backend_id {
        let name: String = sqlx::query_scalar("SELECT name FROM backends WHERE id = ?")
            .bind(old)
            .fetch_one(connection)
            .await?;
        let stays = name != listing.origin.backend.as_str()
            && is_place_of_copies(&listing.dataset, &row.origin_prefix);
        match tally.copies.get_mut(name.as_str()) {
            Some(copy) if stays => copy.origin = false,
            _ => drop(tally.copies.remove(name.as_str())),
        }
    }
    if !stays_as_copy {
        tally.copies.remove(&listing.origin.backend);
    }
    Ok(())
}

/// Takes a comparison into a tally.
fn take(tally: &mut Tally, comparison: &Comparison, listing: &OriginListing) {
    for object in &comparison.diff.added {
        tally.summary.objects += 1;
        tally.summary.bytes.0 += object.size.0;
        for (minimum, sum) in &mut tally.summary.billable {
            sum.0 += object.size.0.max(minimum.0);
        }
    }
    let counts = tally.copies.entry(listing.origin.backend.clone()).or_default();
    counts.origin = true;
    for transition in &comparison.transitions {
        let (from, to) = (transition.from, Some(transition.to));
        let step =
            |number: u64, state| number + u64::from(to == Some(state)) - u64::from(from == Some(state));
        counts.verified_objects = step(counts.verified_objects, PlacedState::Verified);
        counts.damaged_objects = step(counts.damaged_objects, PlacedState::Damaged);
        counts.gone_objects = step(counts.gone_objects, PlacedState::Gone);
        if from == Some(PlacedState::Verified) {
            counts.verified_bytes -= transition.size.0;
        }
    }
    tally.findings = comparison.diff.findings().into_iter().collect();
}

#[derive(sqlx::FromRow)]
struct KnownRow {
    id: i64,
    key: String,
    size: i64,
    modified_ms: Option<i64>,
    state: Option<i64>,
}

/// Objects by key, each with its state on a backend: what a row says, else what a trusted inventory vouches for.
async fn known_objects(
    connection: &mut SqliteConnection,
    dataset: i64,
    backend: Option<i64>,
) -> Result<Vec<Known>, CatalogueError> {
    let select = sqlx::query_as::<_, KnownRow>(
        "SELECT o.id, o.key, o.size, o.modified_ms,
                coalesce(p.state, iif(o.id <= c.trusted_through, 1, NULL)) AS state
         FROM objects o
         LEFT JOIN copies c ON c.dataset_id = o.dataset_id AND c.backend_id = ?2
         LEFT JOIN placed p ON p.dataset_id = o.dataset_id AND p.backend_id = ?2 AND p.object_id = o.id
         WHERE o.dataset_id = ?1 ORDER BY o.key",
    );
    let mut rows = select.bind(dataset).bind(backend).fetch(connection);
    let mut known = Vec::new();
    while let Some(row) = rows.try_next().await? {
        known.push(Known {
            id: row.id,
            key: object_key(&row.key)?,
            size: bytes(row.size)?,
            modified_ms: row.modified_ms,
            at_origin: row.state.map(PlacedState::try_from).transpose()?,
        });
    }
    Ok(known)
}

async fn note_origin(
    connection: &mut SqliteConnection,
    dataset: i64,
    backend: i64,
) -> Result<bool, CatalogueError> {
    let upsert = sqlx::query(
        "INSERT INTO copies (dataset_id, backend_id, origin) VALUES (?, ?, 1)
         ON CONFLICT (dataset_id, backend_id) DO UPDATE SET origin = 1 WHERE origin = 0",
    );
    Ok(upsert
        .bind(dataset)
        .bind(backend)
        .execute(connection)
        .await?
        .rows_affected()
        > 0)
}

async fn insert_objects(
    connection: &mut SqliteConnection,
    dataset: i64,
    added: &[ListedObject],
) -> Result<bool, CatalogueError> {
    for chunk in added.chunks(ROWS_MAX) {
        let mut rows = Vec::with_capacity(chunk.len());
        for object in chunk {
            rows.push((
                object.key.as_str(),
                stored(object.size.0, "an object's size")?,
                object.modified_ms,
            ));
        }
        let mut insert =
            QueryBuilder::<Sqlite>::new("INSERT INTO objects (dataset_id, key, size, modified_ms) ");
        insert.push_values(rows, |mut row, (key, size, modified_ms)| {
            row.push_bind(dataset)
                .push_bind(key.to_owned())
                .push_bind(size)
                .push_bind(modified_ms);
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(!added.is_empty())
}

async fn write_transitions(
    connection: &mut SqliteConnection,
    dataset: i64,
    backend: i64,
    transitions: &[Transition],
) -> Result<bool, CatalogueError> {
    let at_ms = now_ms();
    for transition in transitions {
        let upsert = sqlx::query(
            "INSERT INTO placed (dataset_id, backend_id, object_id, state, at_ms) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET state = excluded.state, at_ms = excluded.at_ms, reason = NULL",
        );
        let upsert = upsert.bind(dataset).bind(backend).bind(transition.object);
        upsert
            .bind(transition.to.code())
            .bind(at_ms)
            .execute(&mut *connection)
            .await?;
    }
    Ok(!transitions.is_empty())
}

/// The kind, key and reason of a finding, as stored.
fn finding_row(finding: &OriginFinding) -> (&'static str, String, String) {
    match finding {
        OriginFinding::Gone { key } => ("Gone", key.clone(), String::new()),
        OriginFinding::Changed { key } => ("Changed", key.clone(), String::new()),
        OriginFinding::RefusedKey { key, reason } => ("RefusedKey", key.clone(), reason.clone()),
        OriginFinding::NotAFile { key } => ("NotAFile", key.clone(), String::new()),
    }
}

async fn write_findings(
    connection: &mut SqliteConnection,
    dataset: i64,
    findings: &BTreeSet<OriginFinding>,
) -> Result<bool, CatalogueError> {
    let now: BTreeSet<(String, String, String)> = findings
        .iter()
        .map(finding_row)
        .map(|(kind, key, reason)| (kind.to_owned(), key, reason))
        .collect();
    let select = sqlx::query_as("SELECT kind, key, reason FROM findings WHERE dataset_id = ?");
    let was: Vec<(String, String, String)> = select.bind(dataset).fetch_all(&mut *connection).await?;
    if now == was.into_iter().collect() {
        return Ok(false);
    }
    sqlx::query("DELETE FROM findings WHERE dataset_id = ?")
        .bind(dataset)
        .execute(&mut *connection)
        .await?;
    for (kind, key, reason) in now {
        let insert = sqlx::query(
            "INSERT INTO findings (dataset_id, kind, key, reason) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        );
        insert
            .bind(dataset)
            .bind(kind)
            .bind(key)
            .bind(reason)
            .execute(&mut *connection)
            .await?;
    }
    Ok(true)
}

async fn write_dates(connection: &mut SqliteConnection, dated: &[(i64, i64)]) -> Result<(), CatalogueError> {
    for (object, modified_ms) in dated {
        let update = sqlx::query("UPDATE objects SET modified_ms = ? WHERE id = ?");
        update
            .bind(modified_ms)
            .bind(object)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
