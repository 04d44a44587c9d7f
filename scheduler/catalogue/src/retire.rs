//! Retirement: what may go, how long it waits, and that it is gone.

use std::collections::BTreeSet;

use domicile_estate::{BackendName, CopyState, DatasetName};
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::copies::note_write;
use crate::dataset::{forget_copy, origin_row};
use crate::error::{CatalogueError, RetireError};
use crate::leases::NOW_MS;
use crate::observed::tally;
use crate::row::{
    backend_id, backend_name, count, dataset_id, dataset_name, known_backend_id, known_dataset_id,
    raise_revision, stored,
};

/// How a retirement that is allowed begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retirement {
    /// The copy is marked: its objects may be deleted.
    Begun,
    /// It has to wait, and nothing is marked.
    Waits {
        /// Milliseconds that are left.
        left_ms: u64,
    },
}

impl Catalogue {
    /// Marks a copy as being retired, before its first object is deleted, if what remains is enough and it has been
    /// waiting for so many milliseconds since that was first so.
    ///
    /// INVARIANT: MV-4. The remaining copies are read in the transaction that sets the mark, so that of two
    /// retirements the later one no longer counts on the earlier one's copy. `enough` is given the backends, by
    /// name, of every other copy that is verified; an origin that was only listed is none.
    ///
    /// # Errors
    /// [`RetireError`] says why not; nothing is changed then. A copy that is marked already is checked again.
    pub async fn begin_retire(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
        grace_ms: u64,
        enough: &(dyn Fn(&[BackendName]) -> bool + Sync),
    ) -> Result<Retirement, RetireError> {
        self.check_retire((dataset, backend), grace_ms, true, enough)
            .await
    }

    /// What [`Catalogue::begin_retire`] would say now, with nothing marked: before it is worth looking at the copies that
    /// stay. The time of waiting begins here as well.
    ///
    /// # Errors
    /// As there.
    pub async fn may_retire(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
        grace_ms: u64,
        enough: &(dyn Fn(&[BackendName]) -> bool + Sync),
    ) -> Result<Retirement, RetireError> {
        self.check_retire((dataset, backend), grace_ms, false, enough)
            .await
    }

    async fn check_retire(
        &self,
        (dataset, backend): (&DatasetName, &BackendName),
        grace_ms: u64,
        marks: bool,
        enough: &(dyn Fn(&[BackendName]) -> bool + Sync),
    ) -> Result<Retirement, RetireError> {
        let mut tx = self.write().await?;
        let refused = match may_go(&mut tx, dataset, backend, enough).await {
            Ok((dataset_id, retiring)) => {
                let ids = (dataset_id, backend_id(&mut tx, backend).await?);
                let left_ms = if retiring {
                    0
                } else {
                    wait(&mut tx, ids, grace_ms).await?
                };
                let begun = if left_ms > 0 {
                    Retirement::Waits { left_ms }
                } else {
                    if marks {
                        mark(&mut tx, ids).await?;
                    }
                    Retirement::Begun
                };
                tx.commit().await?;
                return Ok(begun);
            }
            Err(refused) => refused,
        };
        // It is needed again: if it can go later, it waits anew.
        let ids = (
            known_dataset_id(&mut tx, dataset).await?,
            known_backend_id(&mut tx, backend).await?,
        );
        if let (Some(dataset), Some(backend)) = ids {
            forget_drop(&mut tx, dataset, backend).await?;
            tx.commit().await?;
        }
        Err(refused)
    }

    /// Forgets since when copies have been waiting to be retired that are not to be retired any more.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn keep_waiting(
        &self,
        planned: &BTreeSet<(&DatasetName, &BackendName)>,
    ) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let select = sqlx::query_as(
            "SELECT w.dataset_id, w.backend_id, d.name, b.name FROM drops w
             JOIN datasets d ON d.id = w.dataset_id JOIN backends b ON b.id = w.backend_id",
        );
        let rows: Vec<(i64, i64, String, String)> = select.fetch_all(&mut *tx).await?;
        for (dataset, backend, dataset_text, backend_text) in rows {
            let (name, at) = (dataset_name(&dataset_text)?, backend_name(&backend_text)?);
            if !planned.contains(&(&name, &at)) {
                forget_drop(&mut tx, dataset, backend).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Forgets a retired copy once its last object is deleted. If it was the origin, that is remembered: it is not
    /// scanned again until the manifest names another one.
    ///
    /// # Errors
    /// [`CatalogueError::NoCopy`] if no retirement was begun there.
    pub async fn end_retire(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
    ) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let no_copy = || CatalogueError::NoCopy {
            dataset: dataset.to_string(),
            backend: backend.clone(),
        };
        let dataset_id = dataset_id(&mut tx, dataset).await?;
        let backend_id = known_backend_id(&mut tx, backend).await?.ok_or_else(no_copy)?;
        let select =
            sqlx::query_scalar("SELECT retiring FROM copies WHERE dataset_id = ? AND backend_id = ?");
        let retiring: Option<bool> = select
            .bind(dataset_id)
            .bind(backend_id)
            .fetch_optional(&mut *tx)
            .await?;
        if retiring != Some(true) {
            return Err(no_copy());
        }
        forget_copy(&mut tx, dataset_id, backend_id).await?;
        release_origin(&mut tx, dataset_id, backend_id).await?;
        raise_revision(&mut tx).await?;
        Ok(tx.commit().await?)
    }
}

/// INVARIANT: MV-4. Whether a copy may go, by what is known in this transaction; the number of its dataset, and whether
/// it is being retired already.
async fn may_go(
    connection: &mut SqliteConnection,
    dataset: &DatasetName,
    backend: &BackendName,
    enough: &(dyn Fn(&[BackendName]) -> bool + Sync),
) -> Result<(i64, bool), RetireError> {
    let no_copy = || RetireError::NoCopy {
        dataset: dataset.clone(),
        backend: backend.clone(),
    };
    let row = origin_row(&mut *connection, dataset).await?.ok_or_else(no_copy)?;
    let tally = tally(connection, row.id, &[]).await?.ok_or_else(no_copy)?;
    let copy = tally.copy(backend).ok_or_else(no_copy)?;
    if copy.origin && row.keep_origin {
        return Err(RetireError::KeptOrigin {
            dataset: dataset.clone(),
            backend: backend.clone(),
        });
    }
    let others = tally
        .states()
        .filter(|(name, _, state)| *name != backend && *state == CopyState::Verified);
    let remaining: Vec<BackendName> = others.map(|(name, _, _)| name.clone()).collect();
    if remaining.is_empty() {
        return Err(RetireError::LastCopy {
            dataset: dataset.clone(),
            backend: backend.clone(),
        });
    }
    if !enough(&remaining) {
        return Err(RetireError::TooFew {
            dataset: dataset.clone(),
            backend: backend.clone(),
            remaining,
        });
    }
    Ok((row.id, copy.retiring))
}

async fn mark(
    connection: &mut SqliteConnection,
    (dataset, backend): (i64, i64),
) -> Result<(), CatalogueError> {
    let mark = sqlx::query(
        "UPDATE copies SET retiring = 1 WHERE dataset_id = ? AND backend_id = ? AND retiring = 0",
    );
    let marked = mark
        .bind(dataset)
        .bind(backend)
        .execute(&mut *connection)
        .await?
        .rows_affected()
        > 0;
    note_write(connection, dataset, backend).await?;
    if marked {
        raise_revision(connection).await?;
    }
    Ok(())
}

/// Notes that a copy waits, if it does not yet, and says how long it has to.
async fn wait(
    connection: &mut SqliteConnection,
    (dataset, backend): (i64, i64),
    grace_ms: u64,
) -> Result<u64, CatalogueError> {
    if grace_ms == 0 {
        return Ok(0);
    }
    let insert = format!(
        "INSERT INTO drops (dataset_id, backend_id, since_ms) VALUES (?, ?, {NOW_MS}) ON CONFLICT DO NOTHING"
    );
    let insert = sqlx::query(sqlx::AssertSqlSafe(insert));
    insert
        .bind(dataset)
        .bind(backend)
        .execute(&mut *connection)
        .await?;
    let select =
        format!("SELECT max(0, since_ms + ? - {NOW_MS}) FROM drops WHERE dataset_id = ? AND backend_id = ?");
    let select = sqlx::query_scalar(sqlx::AssertSqlSafe(select));
    let select = select
        .bind(stored(grace_ms, "a time of grace")?)
        .bind(dataset)
        .bind(backend);
    count(select.fetch_one(connection).await?)
}

pub(crate) async fn forget_drop(
    connection: &mut SqliteConnection,
    dataset: i64,
    backend: i64,
) -> Result<(), CatalogueError> {
    let delete = sqlx::query("DELETE FROM drops WHERE dataset_id = ? AND backend_id = ?");
    delete.bind(dataset).bind(backend).execute(connection).await?;
    Ok(())
}

async fn release_origin(
    connection: &mut SqliteConnection,
    dataset: i64,
    backend: i64,
) -> Result<(), CatalogueError> {
    let update = sqlx::query(
        "UPDATE datasets SET released_backend_id = origin_backend_id, released_prefix = origin_prefix,
             origin_backend_id = NULL, origin_prefix = '' WHERE id = ? AND origin_backend_id = ?",
    );
    if update
        .bind(dataset)
        .bind(backend)
        .execute(&mut *connection)
        .await?
        .rows_affected()
        > 0
    {
        // They were about the origin.
        sqlx::query("DELETE FROM findings WHERE dataset_id = ?")
            .bind(dataset)
            .execute(connection)
            .await?;
    }
    Ok(())
}
