//! What was known and may no longer hold.

use domicile_estate::BackendName;
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::row::{known_backend_id, raise_revision};

impl Catalogue {
    /// Notes that a backend leads to another place than before: nothing is known any more of what lies there. Copies
    /// become unknown, origins listed, and retirements are off. Nothing is deleted in any store.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn doubt_backend(&self, backend: &BackendName) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let Some(backend) = known_backend_id(&mut tx, backend).await? else {
            return Ok(());
        };
        let mut changed = 0;
        for sql in [
            // By dataset first: that is how the rows are found without reading all of them.
            "DELETE FROM placed WHERE backend_id = ?1
                 AND dataset_id IN (SELECT dataset_id FROM copies WHERE backend_id = ?1)",
            // What lies beside the copies there is not known either.
            "UPDATE copies SET list_due = 1 WHERE backend_id = ?1 AND list_due = 0",
            // No trigger counts deleted rows.
            "UPDATE copies SET retiring = 0, begun = 0, trusted_through = 0, verified_objects = 0,
                 verified_bytes = 0, damaged_objects = 0, gone_objects = 0
             WHERE backend_id = ?1 AND (retiring, begun, trusted_through) IS NOT (0, 0, 0)
                OR backend_id = ?1
                 AND (verified_objects, verified_bytes, damaged_objects, gone_objects) IS NOT (0, 0, 0, 0)",
        ] {
            let done = sqlx::query(sql).bind(backend).execute(&mut *tx).await?;
            changed += done.rows_affected();
        }
        if changed > 0 {
            raise_revision(&mut tx).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// A copy whose retirement was interrupted may have lost any of its objects: none counts as whole any more, and each
/// stays recorded as ours, or as gone.
pub(crate) async fn doubt_retiring(
    connection: &mut SqliteConnection,
    dataset: i64,
    backend: i64,
) -> Result<bool, CatalogueError> {
    let lift = sqlx::query(
        "UPDATE copies SET retiring = 0, begun = 1 WHERE dataset_id = ? AND backend_id = ? AND retiring = 1",
    );
    if lift
        .bind(dataset)
        .bind(backend)
        .execute(&mut *connection)
        .await?
        .rows_affected()
        == 0
    {
        return Ok(false);
    }
    for sql in [
        "UPDATE placed SET state = 0, reason = NULL
         WHERE dataset_id = ?1 AND backend_id = ?2 AND state <> 3",
        "INSERT INTO placed (dataset_id, backend_id, object_id, state)
         SELECT o.dataset_id, ?2, o.id, 0 FROM objects o
         JOIN copies c ON c.dataset_id = o.dataset_id AND c.backend_id = ?2
         WHERE o.dataset_id = ?1 AND o.id <= c.trusted_through ON CONFLICT DO NOTHING",
    ] {
        sqlx::query(sql)
            .bind(dataset)
            .bind(backend)
            .execute(&mut *connection)
            .await?;
    }
    Ok(true)
}
