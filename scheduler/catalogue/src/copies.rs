//! What happens to copies: begun, verified, found damaged, retired.

use domicile_estate::{BackendName, DatasetName};
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::doubt::doubt_retiring;
use crate::error::CatalogueError;
use crate::group::Change;
use crate::inspected::as_inspections;
use crate::lists;
use crate::retire::forget_drop;
use crate::row::{backend_id, backend_name, dataset_id, dataset_name, known_backend_id, raise_revision};

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
    lists::due(connection, dataset, backend).await?;
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
