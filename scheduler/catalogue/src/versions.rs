//! Objects that their owner changed at the origin: the new bytes become the object, and copies hold the old ones until they
//! are brought up to date.

use domicile_estate::{BackendName, ByteCount, DatasetName, ObjectKey};
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::row::{
    PlacedState, backend_id, dataset_id, known_dataset_id, now_ms, raise_revision, stored, unhex,
};
use crate::sums::resum;

/// An object as it was just read at its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVersion {
    /// Its key; it is registered.
    pub key: ObjectKey,
    /// Its size.
    pub size: ByteCount,
    /// When it was last written, in milliseconds since 1970, if the store tells.
    pub modified_ms: Option<i64>,
    /// SHA-256 in hexadecimal, where it was computed.
    pub sha256: Option<String>,
    /// BLAKE3 in hexadecimal.
    pub blake3: String,
}

/// What came of taking versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Versioned {
    /// Objects with other bytes than before.
    pub replaced: u64,
    /// Objects of which only the time had changed.
    pub touched: u64,
}

#[derive(sqlx::FromRow)]
struct Before {
    id: i64,
    size: i64,
    blake3: Option<Vec<u8>>,
}

impl Catalogue {
    /// Takes what lies at an origin for what the objects are, all or none of it. Where the bytes are others than before,
    /// the old version is remembered, and no copy counts as whole until it has the new one; what lies in the copies stays
    /// there, and stays ours.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`]; [`CatalogueError::Database`] if an object or the copy at the origin is not
    /// registered.
    pub async fn record_versions(
        &self,
        dataset: &DatasetName,
        origin: &BackendName,
        versions: &[NewVersion],
    ) -> Result<Versioned, CatalogueError> {
        let mut versioned = Versioned::default();
        if versions.is_empty() {
            return Ok(versioned);
        }
        let mut tx = self.write().await?;
        let id = dataset_id(&mut tx, dataset).await?;
        let backend = backend_id(&mut tx, origin).await?;
        for version in versions {
            let select =
                sqlx::query_as("SELECT id, size, blake3 FROM objects WHERE dataset_id = ? AND key = ?");
            let select = select.bind(id).bind(version.key.as_str());
            let before: Before = select.fetch_one(&mut *tx).await?;
            let blake3 = unhex(&version.blake3)?;
            let size = stored(version.size.0, "an object's size")?;
            if before.size == size && before.blake3.as_deref() == Some(blake3.as_slice()) {
                versioned.touched += 1;
            } else {
                versioned.replaced += 1;
                remember(&mut tx, id, &before).await?;
            }
            let sha256 = version.sha256.as_deref().map(unhex).transpose()?;
            let update = sqlx::query(
                "UPDATE objects SET size = ?2, modified_ms = ?3, blake3 = ?5,
                     sha256 = iif(size = ?2 AND blake3 IS ?5, coalesce(?4, sha256), ?4)
                 WHERE id = ?1",
            );
            let update = update.bind(before.id).bind(size).bind(version.modified_ms);
            let update = update.bind(sha256.as_ref().map(<[u8; 32]>::as_slice));
            update.bind(blake3.as_slice()).execute(&mut *tx).await?;
            verify(&mut tx, (id, backend), before.id, version.key.as_str()).await?;
        }
        if versioned.replaced > 0 {
            resum(&mut tx, id).await?;
        }
        raise_revision(&mut tx).await?;
        tx.commit().await?;
        Ok(versioned)
    }

    /// Whether some copy of a dataset still holds an old version of an object, or did when a process was killed.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn is_renewing(&self, dataset: &DatasetName) -> Result<bool, CatalogueError> {
        let mut tx = self.read().await?;
        let Some(id) = known_dataset_id(&mut tx, dataset).await? else {
            return Ok(false);
        };
        let select = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM versions v
                 JOIN copies c ON c.dataset_id = v.dataset_id AND c.origin = 0
                 JOIN placed p ON p.dataset_id = c.dataset_id AND p.backend_id = c.backend_id
                     AND p.object_id = v.object_id
                 WHERE v.dataset_id = ? AND p.state = 0)",
        );
        Ok(select.bind(id).fetch_one(&mut *tx).await?)
    }
}

/// Remembers an old version and takes back what was known of it in copies. What is there is still ours: it may be replaced.
async fn remember(
    connection: &mut SqliteConnection,
    dataset: i64,
    before: &Before,
) -> Result<(), CatalogueError> {
    let insert = sqlx::query(
        "INSERT INTO versions (dataset_id, object_id, number, size, modified_ms, sha256, blake3, replaced_ms)
         SELECT ?1, o.id, 1 + (SELECT count(*) FROM versions v WHERE v.dataset_id = ?1 AND v.object_id = o.id),
                o.size, o.modified_ms, o.sha256, o.blake3, ?3
         FROM objects o WHERE o.id = ?2",
    );
    let insert = insert.bind(dataset).bind(before.id).bind(now_ms());
    insert.execute(&mut *connection).await?;
    // The sums over copies are of the old size until here: the triggers must still see it.
    for sql in [
        "UPDATE placed SET state = 0, reason = NULL
         WHERE object_id = ?2 AND state <> 3 AND dataset_id = ?1
           AND backend_id IN (SELECT backend_id FROM copies WHERE dataset_id = ?1)",
        "INSERT INTO placed (dataset_id, backend_id, object_id, state)
         SELECT dataset_id, backend_id, ?2, 0 FROM copies WHERE dataset_id = ?1 AND trusted_through >= ?2
         ON CONFLICT DO NOTHING",
    ] {
        let statement = sqlx::query(sql).bind(dataset).bind(before.id);
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Notes that the object was read at its origin, and that it is not changed any more.
async fn verify(
    connection: &mut SqliteConnection,
    (dataset, backend): (i64, i64),
    object: i64,
    key: &str,
) -> Result<(), CatalogueError> {
    let upsert = sqlx::query(
        "INSERT INTO placed (dataset_id, backend_id, object_id, state, at_ms) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET state = excluded.state, at_ms = excluded.at_ms, reason = NULL",
    );
    let upsert = upsert.bind(dataset).bind(backend).bind(object);
    upsert
        .bind(PlacedState::Verified.code())
        .bind(now_ms())
        .execute(&mut *connection)
        .await?;
    let delete = sqlx::query("DELETE FROM findings WHERE dataset_id = ? AND kind = 'Changed' AND key = ?");
    delete.bind(dataset).bind(key).execute(connection).await?;
    Ok(())
}
