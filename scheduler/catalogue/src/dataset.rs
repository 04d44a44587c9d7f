//! Datasets as they are registered, by a manifest or by an inventory.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_estate::{Access, BackendName, Dataset, DatasetName, FairRecord, Labels, Origin};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::row::{backend_id, backend_name, corrupt, dataset_name, raise_revision};

/// Who described a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DatasetSource {
    /// A manifest.
    Manifest,
    /// An inventory.
    Inventory,
}

impl TryFrom<&str> for DatasetSource {
    type Error = CatalogueError;

    fn try_from(text: &str) -> Result<Self, CatalogueError> {
        match text {
            "manifest" => Ok(Self::Manifest),
            "inventory" => Ok(Self::Inventory),
            other => Err(corrupt(format!("source `{other}` of a dataset"))),
        }
    }
}

impl DatasetSource {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Inventory => "inventory",
        }
    }
}

/// A dataset as the catalogue has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// The dataset; `origin` is `None` once it was retired.
    pub dataset: Arc<Dataset>,
    /// Who described it.
    pub source: DatasetSource,
    /// The origin that was retired: not to be scanned until the manifest names another one.
    pub released_origin: Option<Box<Origin>>,
    /// Whether the origin was listed or registered at all.
    pub origin_known: bool,
    /// Whether a trusted inventory vouches for the origin, so that its store is not asked.
    pub origin_trusted: bool,
    /// Whether the origin's deletion has begun, so that a listing would mislead.
    pub origin_retiring: bool,
}

/// What is stored of the FAIR record, version 1. New fields get a default; old ones keep their names.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct RecordV1 {
    title: String,
    description: String,
    authors: Vec<String>,
    license: String,
    keywords: Vec<String>,
    format: String,
    conforms_to: String,
    access: Option<String>,
}

impl From<&FairRecord> for RecordV1 {
    fn from(record: &FairRecord) -> Self {
        let access = record.access.map(|access| match access {
            Access::Open => "Open",
            Access::Restricted => "Restricted",
            Access::Closed => "Closed",
        });
        Self {
            title: record.title.clone(),
            description: record.description.clone(),
            authors: record.authors.clone(),
            license: record.license.clone(),
            keywords: record.keywords.clone(),
            format: record.format.clone(),
            conforms_to: record.conforms_to.clone(),
            access: access.map(str::to_owned),
        }
    }
}

impl TryFrom<RecordV1> for FairRecord {
    type Error = CatalogueError;

    fn try_from(row: RecordV1) -> Result<Self, CatalogueError> {
        let access = match row.access.as_deref() {
            None => None,
            Some("Open") => Some(Access::Open),
            Some("Restricted") => Some(Access::Restricted),
            Some("Closed") => Some(Access::Closed),
            Some(other) => return Err(corrupt(format!("access `{other}` of a dataset"))),
        };
        Ok(Self {
            title: row.title,
            description: row.description,
            authors: row.authors,
            license: row.license,
            keywords: row.keywords,
            format: row.format,
            conforms_to: row.conforms_to,
            access,
        })
    }
}

/// First parts of the paths of objects whose origins lie on the backend ?1, with their datasets. Where a prefix has a
/// slash its objects share the part, so that not all of them need be read.
const SELECT_FOLDERS: &str = "
    SELECT substr(d.origin_prefix, 1, instr(d.origin_prefix, '/') - 1), d.name
    FROM backends b JOIN datasets d ON d.origin_backend_id = b.id
    WHERE b.name = ?1 AND instr(d.origin_prefix, '/') > 0
      AND EXISTS (SELECT 1 FROM objects o WHERE o.dataset_id = d.id)
    UNION ALL
    SELECT DISTINCT d.origin_prefix || substr(o.key, 1, instr(o.key || '/', '/') - 1), d.name
    FROM backends b JOIN datasets d ON d.origin_backend_id = b.id JOIN objects o ON o.dataset_id = d.id
    WHERE b.name = ?1 AND instr(d.origin_prefix, '/') = 0";

/// The labels of a dataset, as stored.
pub(crate) fn labels_of(dataset: &DatasetName, json: &str) -> Result<Labels, CatalogueError> {
    serde_json::from_str(json).map_err(|error| corrupt(format!("labels of `{dataset}`: {error}")))
}

/// The FAIR record of a dataset, as stored.
pub(crate) fn record_of(dataset: &DatasetName, json: &str) -> Result<FairRecord, CatalogueError> {
    let record: RecordV1 =
        serde_json::from_str(json).map_err(|error| corrupt(format!("record of `{dataset}`: {error}")))?;
    record.try_into()
}

/// The origin of a dataset as numbers.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct OriginRow {
    pub id: i64,
    pub source: String,
    pub origin_backend_id: Option<i64>,
    pub origin_prefix: String,
    pub keep_origin: bool,
    pub released_backend_id: Option<i64>,
    pub released_prefix: String,
}

impl OriginRow {
    /// Whether a place was this dataset's origin and was retired.
    pub(crate) fn is_released(&self, backend: i64, prefix: &str) -> bool {
        self.released_backend_id == Some(backend) && self.released_prefix == prefix
    }
}

pub(crate) async fn origin_row(
    connection: &mut SqliteConnection,
    dataset: &DatasetName,
) -> Result<Option<OriginRow>, CatalogueError> {
    let select = sqlx::query_as(
        "SELECT id, source, origin_backend_id, origin_prefix, keep_origin, released_backend_id, released_prefix
         FROM datasets WHERE name = ?",
    );
    Ok(select.bind(dataset.as_str()).fetch_optional(connection).await?)
}

/// Whether copies recorded on a backend stay true when it becomes an origin with this prefix: only if the origin
/// lies where our copies do.
pub(crate) fn is_place_of_copies(dataset: &DatasetName, prefix: &str) -> bool {
    prefix.strip_suffix('/') == Some(dataset.as_str())
}

pub(crate) fn labels_json(labels: &Labels) -> Result<String, CatalogueError> {
    serde_json::to_string(labels).map_err(|error| corrupt(format!("labels that cannot be written: {error}")))
}

fn record_json(record: &FairRecord) -> Result<String, CatalogueError> {
    serde_json::to_string(&RecordV1::from(record))
        .map_err(|error| corrupt(format!("a record that cannot be written: {error}")))
}

impl Catalogue {
    /// Every registered dataset with its origin, by name.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn registered(&self) -> Result<BTreeMap<DatasetName, Registered>, CatalogueError> {
        Ok(self.known(&[]).await?.registered)
    }

    /// The folders at the top of a backend that origins lie in, or objects where an origin has no folder, each with
    /// the first dataset, by name, that has objects there.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn origin_folders(
        &self,
        backend: &BackendName,
    ) -> Result<BTreeMap<String, DatasetName>, CatalogueError> {
        let mut tx = self.read().await?;
        let select = sqlx::query_as::<_, (String, String)>(SELECT_FOLDERS);
        let mut rows = select.bind(backend.as_str()).fetch(&mut *tx);
        let mut folders = BTreeMap::new();
        while let Some((folder, dataset)) = rows.try_next().await? {
            let dataset = dataset_name(&dataset)?;
            let first = folders.entry(folder).or_insert_with(|| dataset.clone());
            if dataset < *first {
                *first = dataset;
            }
        }
        Ok(folders)
    }

    /// The datasets that an inventory described, by name.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn inventory_datasets(&self) -> Result<Vec<Arc<Dataset>>, CatalogueError> {
        let registered = self.registered().await?.into_values();
        let from_inventory = registered.filter(|row| row.source == DatasetSource::Inventory);
        Ok(from_inventory.map(|row| row.dataset).collect())
    }

    /// Registers a dataset, or brings its description up to date. An origin that was retired stays so until
    /// another one is named. A new origin ends what was known of the old one; nothing is deleted in any store. A
    /// manifest for a dataset of an inventory changes its origin only: its description is in the manifest, and the
    /// inventory's comes back when the manifest goes.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn register_dataset(
        &self,
        dataset: &Dataset,
        source: DatasetSource,
    ) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let known = origin_row(&mut tx, &dataset.name).await?;
        let described = describe(&mut tx, dataset, source).await?;
        let moved = match &dataset.origin {
            None => false,
            Some(origin) => {
                let backend = backend_id(&mut tx, &origin.backend).await?;
                set_origin(&mut tx, &dataset.name, (backend, &origin.prefix), known.as_ref()).await?
            }
        };
        if described || moved {
            raise_revision(&mut tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// The backend that a dataset's retired origin lay on, if it was retired.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn released_origin(
        &self,
        dataset: &DatasetName,
    ) -> Result<Option<BackendName>, CatalogueError> {
        let mut tx = self.read().await?;
        let select = sqlx::query_scalar::<_, String>(
            "SELECT b.name FROM datasets d JOIN backends b ON b.id = d.released_backend_id WHERE d.name = ?",
        );
        let name = select.bind(dataset.as_str()).fetch_optional(&mut *tx).await?;
        name.map(|name| backend_name(&name)).transpose()
    }
}

/// Writes the description; says whether anything changed.
async fn describe(
    connection: &mut SqliteConnection,
    dataset: &Dataset,
    source: DatasetSource,
) -> Result<bool, CatalogueError> {
    let upsert = sqlx::query(
        "INSERT INTO datasets (name, source, domain, labels, record, keep_origin) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (name) DO UPDATE SET
             domain = iif(source = ?2, ?3, domain), labels = iif(source = ?2, ?4, labels),
             record = iif(source = ?2, ?5, record), keep_origin = ?6
         WHERE keep_origin <> ?6 OR source = ?2 AND (domain, labels, record) IS NOT (?3, ?4, ?5)",
    );
    let upsert = upsert
        .bind(dataset.name.as_str())
        .bind(source.as_str())
        .bind(dataset.domain.as_str())
        .bind(labels_json(&dataset.labels)?)
        .bind(record_json(&dataset.record)?)
        .bind(dataset.keep_origin);
    Ok(upsert.execute(connection).await?.rows_affected() > 0)
}

/// Sets the origin unless it is the recorded or the released one; says whether it changed.
async fn set_origin(
    connection: &mut SqliteConnection,
    dataset: &DatasetName,
    (backend, prefix): (i64, &str),
    known: Option<&OriginRow>,
) -> Result<bool, CatalogueError> {
    if let Some(known) = known {
        let same = known.origin_backend_id == Some(backend) && known.origin_prefix == prefix;
        if same || known.is_released(backend, prefix) {
            return Ok(false);
        }
        if let Some(old) = known.origin_backend_id {
            let stays = old != backend && is_place_of_copies(dataset, &known.origin_prefix);
            forget_origin(connection, known.id, old, stays).await?;
        }
        // A copy whose deletion has begun is no ground to build on: the listing will tell what is left.
        if !is_place_of_copies(dataset, prefix) || is_retiring(connection, known.id, backend).await? {
            forget_copy(connection, known.id, backend).await?;
        }
        // Times are the old origin's: at the new one the same objects may have others.
        for sql in [
            "DELETE FROM findings WHERE dataset_id = ?",
            "UPDATE objects SET modified_ms = NULL WHERE dataset_id = ? AND modified_ms IS NOT NULL",
        ] {
            sqlx::query(sql).bind(known.id).execute(&mut *connection).await?;
        }
    }
    let update = sqlx::query(
        "UPDATE datasets SET origin_backend_id = ?, origin_prefix = ?, released_backend_id = NULL,
             released_prefix = '' WHERE name = ?",
    );
    update
        .bind(backend)
        .bind(prefix)
        .bind(dataset.as_str())
        .execute(connection)
        .await?;
    Ok(true)
}

/// The old origin: an ordinary copy from now on if it lies where copies do, else unknown to us.
async fn forget_origin(
    connection: &mut SqliteConnection,
    dataset: i64,
    backend: i64,
    stays: bool,
) -> Result<(), CatalogueError> {
    if !stays {
        return forget_copy(connection, dataset, backend).await;
    }
    let update = sqlx::query("UPDATE copies SET origin = 0 WHERE dataset_id = ? AND backend_id = ?");
    update.bind(dataset).bind(backend).execute(connection).await?;
    Ok(())
}

/// Whether the deletion of a copy has begun.
pub(crate) async fn is_retiring(
    connection: &mut SqliteConnection,
    dataset: i64,
    backend: i64,
) -> Result<bool, CatalogueError> {
    let select = sqlx::query_scalar("SELECT retiring FROM copies WHERE dataset_id = ? AND backend_id = ?");
    let retiring: Option<bool> = select
        .bind(dataset)
        .bind(backend)
        .fetch_optional(connection)
        .await?;
    Ok(retiring == Some(true))
}

/// Removes what is recorded of a copy.
pub(crate) async fn forget_copy(
    connection: &mut SqliteConnection,
    dataset: i64,
    backend: i64,
) -> Result<(), CatalogueError> {
    for sql in [
        "DELETE FROM placed WHERE dataset_id = ? AND backend_id = ?",
        "DELETE FROM copies WHERE dataset_id = ? AND backend_id = ?",
        "DELETE FROM writes WHERE dataset_id = ? AND backend_id = ?",
        "DELETE FROM drops WHERE dataset_id = ? AND backend_id = ?",
        "DELETE FROM scrubs WHERE dataset_id = ? AND backend_id = ?",
        "DELETE FROM digest_lists WHERE dataset_id = ? AND backend_id = ?",
    ] {
        sqlx::query(sql)
            .bind(dataset)
            .bind(backend)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
