//! What was written back to an origin, and an origin that is lost.

use domicile_estate::{BackendName, DatasetName, Origin};
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::copies::Verification;
use crate::dataset::{forget_copy, is_place_of_copies, origin_row};
use crate::error::CatalogueError;
use crate::inspected::{as_inspections, record_all};
use crate::origin_rows::note_origin;
use crate::row::{backend_id, dataset_id, raise_revision};

impl Catalogue {
    /// Records objects that were written back to where the origin lies and read back there, all or none of them. Their
    /// times are the store's new ones, so that the next listing takes those; what was found gone or changed is so no
    /// more.
    ///
    /// # Errors
    /// As [`Catalogue::record_verified`].
    pub async fn record_restored(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
        batch: &[Verification],
    ) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let id = dataset_id(&mut tx, dataset).await?;
        let origin = backend_id(&mut tx, backend).await?;
        note_origin(&mut tx, id, origin).await?;
        record_all(&mut tx, &as_inspections(batch)).await?;
        for verified in batch {
            for sql in [
                "UPDATE objects SET modified_ms = NULL WHERE dataset_id = ?1 AND id = ?2",
                "DELETE FROM findings WHERE dataset_id = ?1 AND kind IN ('Gone', 'Changed')
                     AND key = (SELECT key FROM objects WHERE id = ?2)",
            ] {
                let statement = sqlx::query(sql).bind(id).bind(verified.object_id);
                statement.execute(&mut *tx).await?;
            }
        }
        raise_revision(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// Makes a place the origin of a dataset, in which every object was read and has the recorded digest: `verified` has
    /// one entry for each object. The old origin is remembered as one that is not to be looked at again until the manifest
    /// names another one; what is recorded of it is forgotten, and nothing is deleted in any store.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`]; [`CatalogueError::DigestDiffers`] if an object has another digest.
    pub async fn replace_origin(
        &self,
        dataset: &DatasetName,
        origin: &Origin,
        verified: &[Verification],
    ) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let known = origin_row(&mut tx, dataset).await?;
        let known = known.ok_or_else(|| CatalogueError::UnknownDataset {
            dataset: dataset.clone(),
        })?;
        let backend = backend_id(&mut tx, &origin.backend).await?;
        if let Some(old) = known.origin_backend_id {
            forget_copy(&mut tx, known.id, old).await?;
        }
        // Another place on that backend than the one that is recorded.
        if !is_place_of_copies(dataset, &origin.prefix) {
            forget_copy(&mut tx, known.id, backend).await?;
        }
        remember(&mut tx, known.id, (backend, &origin.prefix)).await?;
        note_origin(&mut tx, known.id, backend).await?;
        record_all(&mut tx, &as_inspections(verified)).await?;
        raise_revision(&mut tx).await?;
        Ok(tx.commit().await?)
    }
}

/// Notes the new origin and, if there was one, the old one as lost.
async fn remember(
    connection: &mut SqliteConnection,
    dataset: i64,
    (backend, prefix): (i64, &str),
) -> Result<(), CatalogueError> {
    for sql in [
        // An origin that was retired or lost before stays remembered where there is no other to remember.
        "UPDATE datasets SET released_backend_id = origin_backend_id, released_prefix = origin_prefix
         WHERE id = ?1 AND origin_backend_id IS NOT NULL AND (origin_backend_id, origin_prefix) IS NOT (?2, ?3)",
        "UPDATE datasets SET origin_backend_id = ?2, origin_prefix = ?3 WHERE id = ?1",
        "DELETE FROM findings WHERE dataset_id = ?1",
        // The same objects have other times there.
        "UPDATE objects SET modified_ms = NULL WHERE dataset_id = ?1",
    ] {
        let statement = sqlx::query(sql).bind(dataset).bind(backend).bind(prefix);
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}
