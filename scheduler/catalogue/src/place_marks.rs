//! Marks that are put into a store for a moment, to see whether two places are one. What a kill leaves of them is known by
//! name, and need not grow old before it goes.

use domicile_estate::BackendName;

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::row::{backend_id, backend_name, known_backend_id};

impl Catalogue {
    /// Notes that a mark is about to be put below a backend's root.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn intend_mark(&self, backend: &BackendName, path: &str) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let backend = backend_id(&mut tx, backend).await?;
        let insert =
            sqlx::query("INSERT INTO place_marks (backend_id, path) VALUES (?, ?) ON CONFLICT DO NOTHING");
        insert.bind(backend).bind(path).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Notes that a mark is gone.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn forget_mark(&self, backend: &BackendName, path: &str) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let Some(backend) = known_backend_id(&mut tx, backend).await? else {
            return Ok(());
        };
        let delete = sqlx::query("DELETE FROM place_marks WHERE backend_id = ? AND path = ?");
        delete.bind(backend).bind(path).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// The marks that may lie somewhere, with the backend and the path below its root.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn place_marks(&self) -> Result<Vec<(BackendName, String)>, CatalogueError> {
        let mut tx = self.read().await?;
        let select = sqlx::query_as(
            "SELECT b.name, m.path FROM place_marks m JOIN backends b ON b.id = m.backend_id
             ORDER BY b.name, m.path",
        );
        let rows: Vec<(String, String)> = select.fetch_all(&mut *tx).await?;
        rows.into_iter()
            .map(|(backend, path)| Ok((backend_name(&backend)?, path)))
            .collect()
    }
}
