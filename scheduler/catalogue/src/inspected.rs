//! What looks at objects found, written down: one question and at most two changes for each backend of a batch, however many
//! objects it has. A question for each object would cost more than copying a small one.

use std::collections::BTreeMap;

use domicile_estate::BackendName;
use serde_json::json;
use sqlx::SqliteConnection;

use crate::copies::{Finding, Inspection, Verification};
use crate::error::CatalogueError;
use crate::row::{PlacedState, digest, from_json, json_rows, raise_revision};

/// One object and its copy, as recorded.
#[derive(serde::Deserialize)]
struct TargetRow {
    id: i64,
    dataset_id: i64,
    key: String,
    /// In hexadecimal, as the next.
    sha256: Option<String>,
    blake3: Option<String>,
    backend_id: Option<i64>,
    retiring: Option<i64>,
    origin: Option<i64>,
    state: Option<i64>,
}

/// What is to be written of one backend.
#[derive(Default)]
struct Changes {
    /// Digests that were not known: an object, SHA-256, BLAKE3.
    digests: Vec<serde_json::Value>,
    /// A dataset, an object, its state, when, and why.
    placed: Vec<serde_json::Value>,
    /// Whether planning would see it.
    seen: bool,
}

/// Objects that were read back and matched, as what a look at them found.
pub(crate) fn as_inspections(batch: &[Verification]) -> Vec<Inspection> {
    let whole = batch.iter().map(|verified| Inspection {
        object_id: verified.object_id,
        backend: verified.backend.clone(),
        finding: Finding::Whole {
            sha256: verified.sha256.clone(),
            blake3: verified.blake3.clone(),
        },
        at_ms: verified.at_ms,
    });
    whole.collect()
}

/// Records what a look at objects found.
pub(crate) async fn record_all(
    connection: &mut SqliteConnection,
    batch: &[Inspection],
) -> Result<(), CatalogueError> {
    let mut by_backend: BTreeMap<&BackendName, Vec<&Inspection>> = BTreeMap::new();
    for inspection in batch {
        by_backend
            .entry(&inspection.backend)
            .or_default()
            .push(inspection);
    }
    let mut seen = false;
    for (backend, inspections) in by_backend {
        seen |= record_on(connection, backend, &inspections).await?;
    }
    if seen {
        raise_revision(connection).await?;
    }
    Ok(())
}

/// Records what was found on one backend; says whether planning would see it.
async fn record_on(
    connection: &mut SqliteConnection,
    backend: &BackendName,
    inspections: &[&Inspection],
) -> Result<bool, CatalogueError> {
    let mut rows = rows_of(connection, backend, inspections).await?;
    let mut changes = Changes::default();
    let mut copy = None;
    for inspection in inspections {
        let object = inspection.object_id;
        let row = rows
            .get_mut(&object)
            .ok_or(CatalogueError::UnknownObject { object })?;
        let (Some(id), Some(0)) = (row.backend_id, row.retiring) else {
            let dataset = name_of(connection, row.dataset_id).await?;
            let backend = backend.clone();
            return Err(CatalogueError::NoCopy { dataset, backend });
        };
        copy = Some(id);
        changes.note(row, inspection)?;
    }
    let seen = changes.seen;
    if let Some(backend) = copy {
        changes.write(connection, backend).await?;
    }
    Ok(seen)
}

/// The name of a dataset, for people.
async fn name_of(connection: &mut SqliteConnection, dataset: i64) -> Result<String, CatalogueError> {
    let select = sqlx::query_scalar("SELECT name FROM datasets WHERE id = ?");
    Ok(select.bind(dataset).fetch_one(connection).await?)
}

/// What is recorded of the objects, as one text: to hand over rows one at a time costs more than to read them. CROSS JOIN: the few
/// that are asked for come first, and each is looked up.
async fn rows_of(
    connection: &mut SqliteConnection,
    backend: &BackendName,
    inspections: &[&Inspection],
) -> Result<BTreeMap<i64, TargetRow>, CatalogueError> {
    let select = sqlx::query_scalar::<_, String>(
        "SELECT json_group_array(json_object('id', o.id, 'dataset_id', o.dataset_id, 'key', o.key,
             'sha256', iif(o.sha256 IS NULL, NULL, lower(hex(o.sha256))),
             'blake3', iif(o.blake3 IS NULL, NULL, lower(hex(o.blake3))), 'backend_id', c.backend_id,
             'retiring', c.retiring, 'origin', c.origin,
             'state', coalesce(p.state, iif(o.id <= c.trusted_through, 1, NULL))))
         FROM json_each(?1) w CROSS JOIN objects o ON o.id = w.value
         LEFT JOIN backends b ON b.name = ?2
         LEFT JOIN copies c ON c.dataset_id = o.dataset_id AND c.backend_id = b.id
         LEFT JOIN placed p ON p.dataset_id = o.dataset_id AND p.backend_id = b.id AND p.object_id = o.id",
    );
    let wanted = inspections.iter().map(|inspection| json!(inspection.object_id));
    let select = select.bind(json_rows(wanted)).bind(backend.as_str());
    let rows: Vec<TargetRow> = from_json(&select.fetch_one(connection).await?)?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

impl Changes {
    /// Notes one inspection; another one of the same object in the same batch sees what this one changes.
    fn note(&mut self, row: &mut TargetRow, inspection: &Inspection) -> Result<(), CatalogueError> {
        let (state, reason) = match &inspection.finding {
            Finding::Whole { sha256, blake3 } => {
                let sha256 = sha256.as_deref().map(digest).transpose()?;
                self.note_digests(row, (sha256, digest(blake3)?))?;
                (PlacedState::Verified, None)
            }
            Finding::Damaged { reason } => (PlacedState::Damaged, Some(reason.as_str())),
            Finding::Gone => (PlacedState::Gone, None),
        };
        if state != PlacedState::Verified && row.origin != Some(1) && !is_ours(row.state) {
            return Ok(());
        }
        let (object, code) = (inspection.object_id, state.code());
        self.placed
            .push(json!([row.dataset_id, object, code, inspection.at_ms, reason]));
        self.seen |= row.state != Some(code);
        row.state = Some(code);
        Ok(())
    }

    /// Digests that are not known yet are to be set; known ones must be the same.
    fn note_digests(
        &mut self,
        row: &mut TargetRow,
        (sha256, blake3): (Option<String>, String),
    ) -> Result<(), CatalogueError> {
        for (known, found) in [(&row.sha256, sha256.as_ref()), (&row.blake3, Some(&blake3))] {
            if let (Some(known), Some(found)) = (known, found)
                && known != found
            {
                return Err(CatalogueError::DigestDiffers {
                    key: row.key.escape_debug().to_string(),
                    known: known.clone(),
                    found: found.clone(),
                });
            }
        }
        if (row.sha256.is_some() || sha256.is_none()) && row.blake3.is_some() {
            return Ok(());
        }
        self.digests.push(json!([row.id, sha256, blake3]));
        row.sha256 = row.sha256.take().or(sha256);
        row.blake3 = Some(blake3);
        Ok(())
    }

    async fn write(self, connection: &mut SqliteConnection, backend: i64) -> Result<(), CatalogueError> {
        if !self.digests.is_empty() {
            let update = sqlx::query(
                "UPDATE objects SET sha256 = coalesce(sha256, unhex(w.value ->> 1)), blake3 = unhex(w.value ->> 2)
                 FROM json_each(?) w WHERE objects.id = w.value ->> 0",
            );
            let update = update.bind(json_rows(self.digests.into_iter()));
            update.execute(&mut *connection).await?;
        }
        if !self.placed.is_empty() {
            let upsert = sqlx::query(
                "INSERT INTO placed (dataset_id, backend_id, object_id, state, at_ms, reason)
                 SELECT w.value ->> 0, ?2, w.value ->> 1, w.value ->> 2, w.value ->> 3, w.value ->> 4
                 FROM json_each(?1) w WHERE true
                 ON CONFLICT DO UPDATE SET state = excluded.state, at_ms = excluded.at_ms, reason = excluded.reason",
            );
            let upsert = upsert.bind(json_rows(self.placed.into_iter())).bind(backend);
            upsert.execute(connection).await?;
        }
        Ok(())
    }
}

/// Whether what lies in a copy is ours, given what is known of it there. Other bytes where ours were gone are not: else
/// a look at them would make them ours.
fn is_ours(state: Option<i64>) -> bool {
    state.is_some_and(|state| state != PlacedState::Gone.code())
}
