//! What happens to copies: begun, verified, found damaged, retired.

use domicile_estate::{BackendName, DatasetName};
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::doubt::doubt_retiring;
use crate::error::CatalogueError;
use crate::group::Change;
use crate::retire::forget_drop;
use crate::row::{
    PlacedState, backend_id, backend_name, corrupt, dataset_id, dataset_name, hex, known_backend_id,
    raise_revision, unhex,
};

/// An object that was read back from a backend and matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The object's number in the catalogue.
    pub object_id: i64,
    /// The backend.
    pub backend: BackendName,
    /// SHA-256 of the bytes, in hexadecimal, where it was computed.
    pub sha256: Option<String>,
    /// BLAKE3 of the bytes, in hexadecimal.
    pub blake3: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// What a look at an object of a copy found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It was read whole and has these digests.
    Whole {
        /// SHA-256 in hexadecimal, where it was computed.
        sha256: Option<String>,
        /// BLAKE3 in hexadecimal.
        blake3: String,
    },
    /// It was read and does not match, or could not be read whole.
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// It is not there.
    Gone,
}

/// One object of a copy as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The object's number in the catalogue.
    pub object_id: i64,
    /// The backend.
    pub backend: BackendName,
    /// What was found.
    pub finding: Finding,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

impl Catalogue {
    /// Records objects that were read back and matched, all or none of them. An object's digests are set at its
    /// first verification and never overwritten.
    ///
    /// # Errors
    /// [`CatalogueError::DigestDiffers`] if other digests are recorded, [`CatalogueError::NoCopy`] if no copy was
    /// begun there or it is being retired.
    pub async fn record_verified(&self, batch: &[Verification]) -> Result<(), CatalogueError> {
        self.record_scrubbed(&as_inspections(batch)).await
    }

    /// Records that an object was read back and does not match.
    ///
    /// # Errors
    /// As [`Catalogue::record_scrubbed`].
    pub async fn record_damaged(
        &self,
        object_id: i64,
        backend: &BackendName,
        reason: &str,
        at_ms: i64,
    ) -> Result<(), CatalogueError> {
        let finding = Finding::Damaged {
            reason: reason.to_owned(),
        };
        self.record_scrubbed(&[Inspection {
            object_id,
            backend: backend.clone(),
            finding,
            at_ms,
        }])
        .await
    }

    /// Records what a look at objects found, all or none of it. What is damaged or gone where we recorded nothing is
    /// not noted, except at an origin: we never wrote there, and what lies there is somebody else's.
    ///
    /// # Errors
    /// [`CatalogueError::DigestDiffers`] for a whole object whose recorded digests are others (it is to be reported
    /// as damaged), [`CatalogueError::NoCopy`] if no copy is recorded there or it is being retired.
    pub async fn record_scrubbed(&self, batch: &[Inspection]) -> Result<(), CatalogueError> {
        self.together(Change::Inspected(batch.to_vec())).await
    }

    /// Notes that a copy is being made, before its first byte is written. A copy whose retirement was interrupted
    /// becomes an ordinary one again, of which nothing is known to be whole.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`], or what the database says.
    pub async fn begin_copy(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
    ) -> Result<(), CatalogueError> {
        let (dataset, backend) = (dataset.clone(), backend.clone());
        self.together(Change::BeginCopy(dataset, backend)).await
    }

    /// Notes that nothing is being written there any more and no temporary file is left.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn end_copy(&self, dataset: &DatasetName, backend: &BackendName) -> Result<(), CatalogueError> {
        let (dataset, backend) = (dataset.clone(), backend.clone());
        self.together(Change::EndCopy(dataset, backend)).await
    }

    /// Where a copy or retirement is, or was when a process was killed, under way.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn interrupted(&self) -> Result<Vec<(DatasetName, BackendName)>, CatalogueError> {
        let mut tx = self.read().await?;
        let select = sqlx::query_as(
            "SELECT d.name, b.name FROM writes w JOIN datasets d ON d.id = w.dataset_id
             JOIN backends b ON b.id = w.backend_id ORDER BY d.name, b.name",
        );
        let rows: Vec<(String, String)> = select.fetch_all(&mut *tx).await?;
        rows.iter()
            .map(|(dataset, backend)| Ok((dataset_name(dataset)?, backend_name(backend)?)))
            .collect()
    }

    /// Notes that what an interrupted copy or retirement left was swept. A retirement stays marked.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn clear_interrupted(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
    ) -> Result<(), CatalogueError> {
        self.end_copy(dataset, backend).await
    }
}

pub(crate) async fn begin_copy(
    connection: &mut SqliteConnection,
    dataset: &DatasetName,
    backend: &BackendName,
) -> Result<(), CatalogueError> {
    let dataset = dataset_id(connection, dataset).await?;
    let backend = backend_id(connection, backend).await?;
    let insert = sqlx::query(
        "INSERT INTO copies (dataset_id, backend_id, begun) VALUES (?, ?, 1) ON CONFLICT DO NOTHING",
    );
    let insert = insert.bind(dataset).bind(backend);
    let mut changed = insert.execute(&mut *connection).await?.rows_affected() > 0;
    changed |= doubt_retiring(connection, dataset, backend).await?;
    forget_drop(connection, dataset, backend).await?;
    note_write(connection, dataset, backend).await?;
    if changed {
        raise_revision(connection).await?;
    }
    Ok(())
}

pub(crate) async fn end_copy(
    connection: &mut SqliteConnection,
    dataset: &DatasetName,
    backend: &BackendName,
) -> Result<(), CatalogueError> {
    let dataset = dataset_id(connection, dataset).await?;
    if let Some(backend) = known_backend_id(connection, backend).await? {
        let delete = sqlx::query("DELETE FROM writes WHERE dataset_id = ? AND backend_id = ?");
        delete.bind(dataset).bind(backend).execute(connection).await?;
    }
    Ok(())
}

/// Records what a look at objects found.
pub(crate) async fn record_all(
    connection: &mut SqliteConnection,
    batch: &[Inspection],
) -> Result<(), CatalogueError> {
    let mut changed = false;
    for inspection in batch {
        changed |= record(connection, inspection).await?;
    }
    if changed {
        raise_revision(connection).await?;
    }
    Ok(())
}

pub(crate) async fn note_write(
    connection: &mut SqliteConnection,
    dataset: i64,
    backend: i64,
) -> Result<(), CatalogueError> {
    let insert =
        sqlx::query("INSERT INTO writes (dataset_id, backend_id) VALUES (?, ?) ON CONFLICT DO NOTHING");
    insert.bind(dataset).bind(backend).execute(connection).await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct TargetRow {
    dataset_id: i64,
    dataset: String,
    key: String,
    sha256: Option<Vec<u8>>,
    blake3: Option<Vec<u8>>,
    backend_id: Option<i64>,
    retiring: Option<bool>,
    origin: Option<bool>,
    state: Option<i64>,
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

/// Records one inspection; says whether planning would see it.
async fn record(connection: &mut SqliteConnection, inspection: &Inspection) -> Result<bool, CatalogueError> {
    let select = sqlx::query_as::<_, TargetRow>(
        "SELECT o.dataset_id, d.name AS dataset, o.key, o.sha256, o.blake3, c.backend_id, c.retiring, c.origin,
                coalesce(p.state, iif(o.id <= c.trusted_through, 1, NULL)) AS state
         FROM objects o JOIN datasets d ON d.id = o.dataset_id
         LEFT JOIN backends b ON b.name = ?2
         LEFT JOIN copies c ON c.dataset_id = o.dataset_id AND c.backend_id = b.id
         LEFT JOIN placed p ON p.dataset_id = o.dataset_id AND p.backend_id = b.id AND p.object_id = o.id
         WHERE o.id = ?1",
    );
    let object = inspection.object_id;
    let row = select
        .bind(object)
        .bind(inspection.backend.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let row = row.ok_or(CatalogueError::UnknownObject { object })?;
    let (Some(backend), Some(false)) = (row.backend_id, row.retiring) else {
        return Err(CatalogueError::NoCopy {
            dataset: row.dataset,
            backend: inspection.backend.clone(),
        });
    };
    let (state, reason) = match &inspection.finding {
        Finding::Whole { sha256, blake3 } => {
            let sha256 = sha256.as_deref().map(unhex).transpose()?;
            set_digests(connection, object, &row, (sha256.as_ref(), &unhex(blake3)?)).await?;
            (PlacedState::Verified, None)
        }
        Finding::Damaged { reason } => (PlacedState::Damaged, Some(reason.as_str())),
        Finding::Gone => (PlacedState::Gone, None),
    };
    if state != PlacedState::Verified && row.origin != Some(true) && !is_ours(row.state) {
        return Ok(false);
    }
    let upsert = sqlx::query(
        "INSERT INTO placed (dataset_id, backend_id, object_id, state, at_ms, reason) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET state = excluded.state, at_ms = excluded.at_ms, reason = excluded.reason",
    );
    let upsert = upsert
        .bind(row.dataset_id)
        .bind(backend)
        .bind(object)
        .bind(state.code());
    upsert
        .bind(inspection.at_ms)
        .bind(reason)
        .execute(connection)
        .await?;
    Ok(row.state != Some(state.code()))
}

/// Whether what lies in a copy is ours, given what is known of it there. Other bytes where ours were gone are not: else
/// a look at them would make them ours.
fn is_ours(state: Option<i64>) -> bool {
    state.is_some_and(|state| state != PlacedState::Gone.code())
}

/// Sets the digests that are not known yet.
async fn set_digests(
    connection: &mut SqliteConnection,
    object: i64,
    row: &TargetRow,
    (sha256, blake3): (Option<&[u8; 32]>, &[u8; 32]),
) -> Result<(), CatalogueError> {
    for (known, found) in [(&row.sha256, sha256), (&row.blake3, Some(blake3))] {
        if let (Some(known), Some(found)) = (known, found)
            && known.as_slice() != found
        {
            return Err(CatalogueError::DigestDiffers {
                key: row.key.escape_debug().to_string(),
                known: hex(known),
                found: hex(found),
            });
        }
    }
    if (row.sha256.is_some() || sha256.is_none()) && row.blake3.is_some() {
        return Ok(());
    }
    let update = sqlx::query("UPDATE objects SET sha256 = coalesce(sha256, ?), blake3 = ? WHERE id = ?");
    let update = update
        .bind(sha256.map(<[u8; 32]>::as_slice))
        .bind(blake3.as_slice())
        .bind(object);
    match update.execute(connection).await?.rows_affected() {
        1 => Ok(()),
        rows => Err(corrupt(format!("object {object} has {rows} rows"))),
    }
}
