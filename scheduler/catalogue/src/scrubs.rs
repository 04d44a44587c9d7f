//! How far the reading back of copies has come, so that the next run goes on where the last one stopped.

use std::collections::BTreeMap;

use domicile_estate::{BackendName, ByteCount, DatasetName, ObjectKey};

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::leases::NOW_MS;
use crate::lists;
use crate::object::after_text;
use crate::row::{backend_id, backend_name, bytes, dataset_id, dataset_name, object_key, stored};

/// How far the reading back of a copy has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubMark {
    /// The last key that was read in the round that is under way.
    pub after: Option<ObjectKey>,
    /// When the last whole round ended, in milliseconds since 1970 by the clock of the database.
    pub ended_ms: Option<i64>,
}

/// An object of a dataset, and when it was read in a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadObject {
    /// Its key.
    pub key: ObjectKey,
    /// Its size.
    pub size: ByteCount,
    /// When it was found whole, in milliseconds since 1970 by the clock of whoever read it; `None` if it never was.
    pub at_ms: Option<i64>,
}

impl Catalogue {
    /// How far the reading back of copies has come; copies that were never read are left out.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn scrub_marks(
        &self,
    ) -> Result<BTreeMap<(DatasetName, BackendName), ScrubMark>, CatalogueError> {
        let mut tx = self.read().await?;
        let select = sqlx::query_as(
            "SELECT d.name, b.name, s.after_key, s.ended_ms FROM scrubs s
             JOIN datasets d ON d.id = s.dataset_id JOIN backends b ON b.id = s.backend_id",
        );
        let rows: Vec<(String, String, Option<String>, Option<i64>)> = select.fetch_all(&mut *tx).await?;
        let mark = |(dataset, backend, after, ended_ms): (String, String, Option<String>, _)| {
            let after = after.map(|key| object_key(&key)).transpose()?;
            let copy = (dataset_name(&dataset)?, backend_name(&backend)?);
            Ok((copy, ScrubMark { after, ended_ms }))
        };
        rows.into_iter().map(mark).collect()
    }

    /// Objects of a dataset after a key, by key, with when each was read or proven in a copy.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn objects_read(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
        after: Option<&ObjectKey>,
        limit: u32,
    ) -> Result<Vec<ReadObject>, CatalogueError> {
        let mut tx = self.read().await?;
        let select = sqlx::query_as(
            "SELECT o.key, o.size, p.at_ms FROM datasets d JOIN objects o ON o.dataset_id = d.id
             LEFT JOIN backends b ON b.name = ?2
             LEFT JOIN placed p
                 ON p.dataset_id = d.id AND p.backend_id = b.id AND p.object_id = o.id AND p.state = 1
             WHERE d.name = ?1 AND o.key > ?3 ORDER BY o.key LIMIT ?4",
        );
        let select = select.bind(dataset.as_str()).bind(backend.as_str());
        let select = select.bind(after_text(after)).bind(limit);
        let rows: Vec<(String, i64, Option<i64>)> = select.fetch_all(&mut *tx).await?;
        let read = |(key, size, at_ms): (String, i64, Option<i64>)| {
            let (key, size) = (object_key(&key)?, bytes(size)?);
            Ok(ReadObject { key, size, at_ms })
        };
        rows.into_iter().map(read).collect()
    }

    /// Notes that a copy was read back up to a key; `None`: to its end.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`], or what the database says.
    pub async fn note_scrubbed(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
        up_to: Option<&ObjectKey>,
    ) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let ids = (
            dataset_id(&mut tx, dataset).await?,
            backend_id(&mut tx, backend).await?,
        );
        let upsert = format!(
            "INSERT INTO scrubs (dataset_id, backend_id, after_key, ended_ms)
             VALUES (?1, ?2, ?3, iif(?3 IS NULL, {NOW_MS}, NULL))
             ON CONFLICT DO UPDATE SET after_key = excluded.after_key, until_ms = NULL,
                 ended_ms = coalesce(excluded.ended_ms, ended_ms)"
        );
        let upsert = sqlx::query(sqlx::AssertSqlSafe(upsert));
        let upsert = upsert.bind(ids.0).bind(ids.1);
        upsert
            .bind(up_to.map(ObjectKey::as_str))
            .execute(&mut *tx)
            .await?;
        if up_to.is_none() {
            // What lies beside the objects may rot as they may.
            lists::due(&mut tx, ids.0, ids.1).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Takes up the reading back of a copy for so many milliseconds, so that no two processes read the same; says
    /// whether nobody else has.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`], or what the database says.
    pub async fn claim_scrub(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
        ttl_ms: u64,
    ) -> Result<bool, CatalogueError> {
        let mut tx = self.write().await?;
        let ids = (
            dataset_id(&mut tx, dataset).await?,
            backend_id(&mut tx, backend).await?,
        );
        let claim = format!(
            "INSERT INTO scrubs (dataset_id, backend_id, until_ms) VALUES (?1, ?2, {NOW_MS} + ?3)
             ON CONFLICT DO UPDATE SET until_ms = excluded.until_ms
                 WHERE scrubs.until_ms IS NULL OR scrubs.until_ms < {NOW_MS}"
        );
        let claim = sqlx::query(sqlx::AssertSqlSafe(claim));
        let claim = claim.bind(ids.0).bind(ids.1);
        let claimed = claim
            .bind(stored(ttl_ms, "a claim's time")?)
            .execute(&mut *tx)
            .await?
            .rows_affected()
            > 0;
        tx.commit().await?;
        Ok(claimed)
    }
}
