//! The rows behind listings of origins.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{ByteCount, ObjectKey, OriginFinding};
use serde_json::json;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::error::CatalogueError;
use crate::origin::ListedObject;
use crate::row::{PlacedState, bytes, from_json, json_rows, now_ms, object_key, stored};
use crate::sums::{Sums, add_sums};

/// Rows of one statement that inserts: below SQLite's limit of 32,766 values.
const ROWS_MAX: usize = 500;
/// Objects that are read at once.
const KNOWN_PAGE: usize = 4_096;
/// Rows of one statement that changes, which come as one text: this bounds its memory.
const CHANGES_MAX: usize = 10_000;

/// An object that is registered, with what is known of it at the origin.
pub(crate) struct Known {
    pub id: i64,
    pub key: ObjectKey,
    pub size: ByteCount,
    pub modified_ms: Option<i64>,
    pub at_origin: Option<PlacedState>,
}

/// A change of what is known of an object at its origin.
pub(crate) struct Transition {
    pub object: i64,
    pub size: ByteCount,
    pub from: Option<PlacedState>,
    pub to: PlacedState,
}

/// Number, key, size, when it was written, and its state.
type KnownRow = (i64, String, i64, Option<i64>, Option<i64>);

/// Objects of dataset ?1 after key ?3, ?4 at most, as one text: to hand over rows one at a time costs more than to read them.
const SELECT_KNOWN: &str = "
    SELECT json_group_array(json_array(id, key, size, modified_ms, state) ORDER BY key) FROM (
        SELECT o.id, o.key, o.size, o.modified_ms,
               coalesce(p.state, iif(o.id <= c.trusted_through, 1, NULL)) AS state
        FROM objects o
        LEFT JOIN copies c ON c.dataset_id = o.dataset_id AND c.backend_id = ?2
        LEFT JOIN placed p ON p.dataset_id = o.dataset_id AND p.backend_id = ?2 AND p.object_id = o.id
        WHERE o.dataset_id = ?1 AND o.key > ?3 ORDER BY o.key LIMIT ?4)";

/// Objects by key, each with its state on a backend: what a row says, else what a trusted inventory vouches for.
pub(crate) async fn known_objects(
    connection: &mut SqliteConnection,
    dataset: i64,
    backend: Option<i64>,
) -> Result<Vec<Known>, CatalogueError> {
    let mut known: Vec<Known> = Vec::new();
    loop {
        // No key is empty.
        let after = known.last().map_or("", |last| last.key.as_str());
        let select = sqlx::query_scalar::<_, String>(SELECT_KNOWN)
            .bind(dataset)
            .bind(backend);
        let select = select.bind(after).bind(KNOWN_PAGE as i64);
        let rows: Vec<KnownRow> = from_json(&select.fetch_one(&mut *connection).await?)?;
        // Most datasets are no longer than a page, and asked for once.
        let is_last = rows.len() < KNOWN_PAGE;
        for (id, key, size, modified_ms, state) in rows {
            known.push(Known {
                id,
                key: object_key(&key)?,
                size: bytes(size)?,
                modified_ms,
                at_origin: state.map(PlacedState::try_from).transpose()?,
            });
        }
        if is_last {
            return Ok(known);
        }
    }
}

pub(crate) async fn note_origin(
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

pub(crate) async fn insert_objects(
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
    let sums = Sums::of(added.iter().map(|object| object.size));
    add_sums(connection, &BTreeMap::from([(dataset, sums)])).await?;
    Ok(!added.is_empty())
}

pub(crate) async fn write_transitions(
    connection: &mut SqliteConnection,
    dataset: i64,
    backend: i64,
    transitions: &[Transition],
) -> Result<bool, CatalogueError> {
    let at_ms = now_ms();
    for chunk in transitions.chunks(CHANGES_MAX) {
        let rows = chunk
            .iter()
            .map(|transition| json!([transition.object, transition.to.code()]));
        let upsert = sqlx::query(
            "INSERT INTO placed (dataset_id, backend_id, object_id, state, at_ms)
             SELECT ?1, ?2, w.value ->> 0, w.value ->> 1, ?3 FROM json_each(?4) w WHERE true
             ON CONFLICT DO UPDATE SET state = excluded.state, at_ms = excluded.at_ms, reason = NULL",
        );
        let upsert = upsert.bind(dataset).bind(backend).bind(at_ms);
        upsert.bind(json_rows(rows)).execute(&mut *connection).await?;
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

pub(crate) async fn write_findings(
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

pub(crate) async fn write_dates(
    connection: &mut SqliteConnection,
    dated: &[(i64, i64)],
) -> Result<(), CatalogueError> {
    for chunk in dated.chunks(CHANGES_MAX) {
        let update = sqlx::query(
            "UPDATE objects SET modified_ms = w.value ->> 1 FROM json_each(?) w WHERE objects.id = w.value ->> 0",
        );
        let rows = chunk
            .iter()
            .map(|(object, modified_ms)| json!([object, modified_ms]));
        update.bind(json_rows(rows)).execute(&mut *connection).await?;
    }
    Ok(())
}
