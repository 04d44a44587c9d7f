//! What each store has shown when it was tried out, for `backend probe`, `describe backend` and the mover.

use std::collections::BTreeMap;

use domicile_estate::BackendName;

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::row::{backend_id, backend_name, now_ms};

/// What a store has shown, and when. What it is about is for whoever tried it out; here it is a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRow {
    /// Which place was tried.
    pub place: String,
    /// When, in milliseconds since 1970 UTC.
    pub taken_ms: i64,
    /// What it has shown, as JSON with a version.
    pub shown: String,
}

impl Catalogue {
    /// Keeps what a store has shown now, in the place of what it had shown before. Planning does not see it.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn set_certificate(
        &self,
        backend: &BackendName,
        place: &str,
        shown: &str,
    ) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let id = backend_id(&mut tx, backend).await?;
        sqlx::query(
            "INSERT INTO certificates (backend_id, place, taken_ms, shown) VALUES (?, ?, ?, ?)
             ON CONFLICT (backend_id) DO UPDATE SET place = excluded.place, taken_ms = excluded.taken_ms,
             shown = excluded.shown",
        )
        .bind(id)
        .bind(place)
        .bind(now_ms())
        .bind(shown)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// What the stores have shown that were tried out.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn certificates(&self) -> Result<BTreeMap<BackendName, CertificateRow>, CatalogueError> {
        let mut tx = self.read().await?;
        let rows: Vec<(String, String, i64, String)> = sqlx::query_as(
            "SELECT b.name, c.place, c.taken_ms, c.shown FROM certificates c JOIN backends b ON b.id = c.backend_id",
        )
        .fetch_all(&mut *tx)
        .await?;
        let row = |(name, place, taken_ms, shown): (String, _, _, _)| {
            let row = CertificateRow {
                place,
                taken_ms,
                shown,
            };
            Ok((backend_name(&name)?, row))
        };
        rows.into_iter().map(row).collect()
    }
}
