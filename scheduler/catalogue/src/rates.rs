//! How fast copies go, as those who carry them have measured it, and how much of large objects lies at their targets.

use std::collections::BTreeMap;

use domicile_estate::{BackendName, DatasetName};

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::leases::NOW_MS;
use crate::row::{backend_id, backend_name, count, dataset_id, dataset_name};

/// What was measured longer ago says nothing any more, in milliseconds.
const FRESH_MS: i64 = 15_000;

/// A copy: a dataset on a backend.
type Of = (DatasetName, BackendName);

impl Catalogue {
    /// Notes what a worker has measured of the copies that he carries, in bytes per second, instead of what he noted before.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`], or what the database says.
    pub async fn note_rates(&self, worker: &str, rates: &[(Of, f64)]) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let forget = format!("DELETE FROM rates WHERE worker = ? OR at_ms < {NOW_MS} - {FRESH_MS}");
        sqlx::query(sqlx::AssertSqlSafe(forget))
            .bind(worker)
            .execute(&mut *tx)
            .await?;
        for ((dataset, backend), per_second) in rates {
            let dataset = dataset_id(&mut tx, dataset).await?;
            let backend = backend_id(&mut tx, backend).await?;
            let insert = format!(
                "INSERT INTO rates (dataset_id, backend_id, worker, bytes_per_second, at_ms) VALUES (?, ?, ?, ?, {NOW_MS})"
            );
            let insert = sqlx::query(sqlx::AssertSqlSafe(insert));
            let insert = insert.bind(dataset).bind(backend).bind(worker).bind(*per_second);
            insert.execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Bytes per second of copies, over all who carry them now.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn rates(&self) -> Result<BTreeMap<Of, f64>, CatalogueError> {
        let mut tx = self.read().await?;
        let select = format!(
            "SELECT d.name, b.name, sum(r.bytes_per_second) FROM rates r JOIN datasets d ON d.id = r.dataset_id
             JOIN backends b ON b.id = r.backend_id WHERE r.at_ms >= {NOW_MS} - {FRESH_MS} GROUP BY d.id, b.id"
        );
        let select = sqlx::query_as(sqlx::AssertSqlSafe(select));
        let rows: Vec<(String, String, f64)> = select.fetch_all(&mut *tx).await?;
        let rate = |(dataset, backend, rate): (String, String, f64)| {
            Ok(((dataset_name(&dataset)?, backend_name(&backend)?), rate))
        };
        rows.into_iter().map(rate).collect()
    }

    /// Bytes of large objects that lie at their targets in parts, by copy: they are not whole yet.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn bytes_in_parts(&self) -> Result<BTreeMap<Of, u64>, CatalogueError> {
        let mut tx = self.read().await?;
        let select = sqlx::query_as(
            "SELECT d.name, b.name, sum(p.size) FROM ledger_parts p JOIN ledgers g ON g.transfer = p.transfer
             JOIN leases l ON l.id = g.lease_id JOIN datasets d ON d.id = l.dataset_id
             JOIN backends b ON b.id = l.backend_id GROUP BY d.id, b.id",
        );
        let rows: Vec<(String, String, i64)> = select.fetch_all(&mut *tx).await?;
        let bytes = |(dataset, backend, bytes): (String, String, i64)| {
            Ok(((dataset_name(&dataset)?, backend_name(&backend)?), count(bytes)?))
        };
        rows.into_iter().map(bytes).collect()
    }
}
