//! Manifests as they were applied, marks set by command, and what could not be reached.

use domicile_estate::BackendName;

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::row::{backend_id, count, known_backend_id, now_ms, raise_revision};

/// One manifest in canonical form. It never holds credentials, only where they are found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub struct ManifestRow {
    /// `Domain`, `Backend`, `Dataset` or `ReplicationPolicy`.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// The whole document as JSON.
    pub json: String,
}

impl Catalogue {
    /// The revision: it rises with every change that planning can see.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn revision(&self) -> Result<u64, CatalogueError> {
        let mut tx = self.read().await?;
        count(
            sqlx::query_scalar("SELECT revision FROM meta")
                .fetch_one(&mut *tx)
                .await?,
        )
    }

    /// The recorded manifests, by kind and name.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn manifests(&self) -> Result<Vec<ManifestRow>, CatalogueError> {
        let mut tx = self.read().await?;
        let select = sqlx::query_as("SELECT kind, name, json FROM manifests ORDER BY kind, name");
        Ok(select.fetch_all(&mut *tx).await?)
    }

    /// Records manifests, replacing those of the same kind and name, and forgets those of `deletes` (kind and
    /// name). Forgetting never touches a copy.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails; nothing is changed then.
    pub async fn record_manifests(
        &self,
        upserts: &[ManifestRow],
        deletes: &[(String, String)],
    ) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let mut changed = 0;
        for (kind, name) in deletes {
            let delete = sqlx::query("DELETE FROM manifests WHERE kind = ? AND name = ?");
            changed += delete
                .bind(kind)
                .bind(name)
                .execute(&mut *tx)
                .await?
                .rows_affected();
        }
        for row in upserts {
            let upsert = sqlx::query(
                "INSERT INTO manifests (kind, name, json) VALUES (?, ?, ?) ON CONFLICT (kind, name)
                 DO UPDATE SET json = excluded.json WHERE json <> excluded.json",
            );
            let upsert = upsert.bind(&row.kind).bind(&row.name).bind(&row.json);
            changed += upsert.execute(&mut *tx).await?.rows_affected();
        }
        if changed > 0 {
            raise_revision(&mut tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Cordons a backend by command, or lifts that.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn set_cordoned(&self, backend: &BackendName, cordoned: bool) -> Result<(), CatalogueError> {
        let sql = "UPDATE marks SET cordoned = ?2 WHERE backend_id = ?1 AND cordoned <> ?2";
        self.set_mark(sql, backend, cordoned).await
    }

    /// Drains a backend by command, or lifts that.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn set_draining(&self, backend: &BackendName, draining: bool) -> Result<(), CatalogueError> {
        let sql = "UPDATE marks SET draining = ?2 WHERE backend_id = ?1 AND draining <> ?2";
        self.set_mark(sql, backend, draining).await
    }

    async fn set_mark(
        &self,
        sql: &'static str,
        backend: &BackendName,
        on: bool,
    ) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let id = backend_id(&mut tx, backend).await?;
        let insert = sqlx::query("INSERT INTO marks (backend_id) VALUES (?) ON CONFLICT DO NOTHING");
        insert.bind(id).execute(&mut *tx).await?;
        if sqlx::query(sql)
            .bind(id)
            .bind(on)
            .execute(&mut *tx)
            .await?
            .rows_affected()
            > 0
        {
            raise_revision(&mut tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Records that the last probe or move failed. The time of the first failure in a row is kept.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn set_unreachable(&self, backend: &BackendName, reason: &str) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let id = backend_id(&mut tx, backend).await?;
        let upsert = sqlx::query(
            "INSERT INTO unreachable (backend_id, reason, since_ms) VALUES (?, ?, ?) ON CONFLICT (backend_id)
             DO UPDATE SET reason = excluded.reason WHERE reason <> excluded.reason",
        );
        let upsert = upsert.bind(id).bind(reason).bind(now_ms());
        if upsert.execute(&mut *tx).await?.rows_affected() > 0 {
            raise_revision(&mut tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Records that the last probe or move succeeded.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn set_reachable(&self, backend: &BackendName) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let Some(id) = known_backend_id(&mut tx, backend).await? else {
            return Ok(());
        };
        let delete = sqlx::query("DELETE FROM unreachable WHERE backend_id = ?");
        if delete.bind(id).execute(&mut *tx).await?.rows_affected() > 0 {
            raise_revision(&mut tx).await?;
        }
        Ok(tx.commit().await?)
    }
}
