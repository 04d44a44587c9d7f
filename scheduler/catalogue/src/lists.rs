//! Lists of digests beside copies: which lie where, and which are due.

use domicile_estate::{BackendName, DatasetName};
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::group::Change;
use crate::row::{
    backend_id, backend_name, dataset_id, dataset_name, hex, known_backend_id, known_dataset_id, unhex,
};

/// A list of digests beside a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRow {
    /// BLAKE3 of its bytes in hexadecimal: what it is called.
    pub blake3: String,
    /// Whether it lies there. Else it was about to be written, and what was begun of it may lie there.
    pub written: bool,
}

impl Catalogue {
    /// Whole copies of ours whose lists may be other than what is known of their objects, without those that are being
    /// retired, after one of them; `limit` at most. One that is not whole keeps the lists that it has: they may be the only
    /// ones that name what still lies there.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn lists_due(
        &self,
        after: Option<(&DatasetName, &BackendName)>,
        limit: u32,
    ) -> Result<Vec<(DatasetName, BackendName)>, CatalogueError> {
        let mut tx = self.read().await?;
        let select = sqlx::query_as(
            "SELECT d.name, b.name FROM copies c JOIN datasets d ON d.id = c.dataset_id
             JOIN backends b ON b.id = c.backend_id
             WHERE c.list_due = 1 AND c.begun = 1 AND c.origin = 0 AND c.retiring = 0
                 AND c.verified_objects = d.objects AND c.damaged_objects = 0 AND c.gone_objects = 0
                 AND (d.name, b.name) > (?, ?) ORDER BY d.name, b.name LIMIT ?",
        );
        let (dataset, backend) = after.map_or(("", ""), |(d, b)| (d.as_str(), b.as_str()));
        let select = select.bind(dataset).bind(backend).bind(limit);
        let rows: Vec<(String, String)> = select.fetch_all(&mut *tx).await?;
        let named =
            |(dataset, backend): &(String, String)| Ok((dataset_name(dataset)?, backend_name(backend)?));
        rows.iter().map(named).collect()
    }

    /// The lists that lie beside a copy, or may.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn lists(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
    ) -> Result<Vec<ListRow>, CatalogueError> {
        let mut tx = self.read().await?;
        let ids = (
            known_dataset_id(&mut tx, dataset).await?,
            known_backend_id(&mut tx, backend).await?,
        );
        let (Some(dataset), Some(backend)) = ids else {
            return Ok(Vec::new());
        };
        let select = sqlx::query_as(
            "SELECT blake3, written FROM digest_lists WHERE dataset_id = ? AND backend_id = ? ORDER BY blake3",
        );
        let rows: Vec<(Vec<u8>, bool)> = select.bind(dataset).bind(backend).fetch_all(&mut *tx).await?;
        let row = |(blake3, written): (Vec<u8>, bool)| ListRow {
            blake3: hex(&blake3),
            written,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Notes that a list is about to be written beside a copy, before its first byte is.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`], or what the database says.
    pub async fn intend_list(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
        blake3: &str,
    ) -> Result<(), CatalogueError> {
        let (dataset, backend) = (dataset.clone(), backend.clone());
        self.together(Change::IntendList(dataset, backend, blake3.to_owned()))
            .await
    }

    /// Notes which lists lie beside a copy now; others are gone. With `complete`, they say what is known of its objects.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`], or what the database says.
    pub async fn settle_lists(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
        lists: &[String],
        complete: bool,
    ) -> Result<(), CatalogueError> {
        let (dataset, backend) = (dataset.clone(), backend.clone());
        self.together(Change::SettleLists(dataset, backend, lists.to_vec(), complete))
            .await
    }
}

pub(crate) async fn intend(
    connection: &mut SqliteConnection,
    (dataset, backend): (&DatasetName, &BackendName),
    blake3: &str,
) -> Result<(), CatalogueError> {
    let dataset = dataset_id(connection, dataset).await?;
    let backend = backend_id(connection, backend).await?;
    let insert = sqlx::query(
        "INSERT INTO digest_lists (dataset_id, backend_id, blake3) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    );
    let insert = insert.bind(dataset).bind(backend).bind(unhex(blake3)?.as_slice());
    insert.execute(connection).await?;
    Ok(())
}

pub(crate) async fn settle(
    connection: &mut SqliteConnection,
    (dataset, backend): (&DatasetName, &BackendName),
    lists: &[String],
    complete: bool,
) -> Result<(), CatalogueError> {
    let dataset = dataset_id(connection, dataset).await?;
    let backend = backend_id(connection, backend).await?;
    forget(connection, dataset, backend).await?;
    for blake3 in lists {
        let insert = sqlx::query(
            "INSERT INTO digest_lists (dataset_id, backend_id, blake3, written) VALUES (?, ?, ?, 1)
             ON CONFLICT DO NOTHING",
        );
        insert
            .bind(dataset)
            .bind(backend)
            .bind(unhex(blake3)?.as_slice())
            .execute(&mut *connection)
            .await?;
    }
    if complete {
        let update = sqlx::query("UPDATE copies SET list_due = 0 WHERE dataset_id = ? AND backend_id = ?");
        update.bind(dataset).bind(backend).execute(connection).await?;
    }
    Ok(())
}

/// Forgets which lists lie there.
pub(crate) async fn forget(
    connection: &mut SqliteConnection,
    dataset: i64,
    backend: i64,
) -> Result<(), CatalogueError> {
    let delete = sqlx::query("DELETE FROM digest_lists WHERE dataset_id = ? AND backend_id = ?");
    delete.bind(dataset).bind(backend).execute(connection).await?;
    Ok(())
}

/// What is known of the copy's objects is about to change.
pub(crate) async fn due(
    connection: &mut SqliteConnection,
    dataset: i64,
    backend: i64,
) -> Result<(), CatalogueError> {
    let update = sqlx::query(
        "UPDATE copies SET list_due = 1 WHERE dataset_id = ? AND backend_id = ? AND list_due = 0",
    );
    update.bind(dataset).bind(backend).execute(connection).await?;
    Ok(())
}
