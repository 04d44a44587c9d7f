//! Inventories, taken in one transaction: all of it or nothing.

use std::collections::HashMap;
use std::sync::Arc;

use domicile_estate::{BackendName, ByteCount, DatasetName, DomainName, Labels, ObjectKey};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, Transaction};

use crate::Catalogue;
use crate::dataset::{OriginRow, labels_json, origin_row};
use crate::error::{CatalogueError, ImportError, ImportProblem};
use crate::row::{backend_id, hex, raise_revision, stored};

/// Problems that an import collects before it gives up.
pub const IMPORT_PROBLEMS_MAX: usize = 20;
/// Rows of one statement: four values each, below SQLite's limit of 32,766 values.
const ROWS_MAX: usize = 500;

/// How an inventory is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// The owner of the datasets.
    pub domain: DomainName,
    /// The backend of the origins, if the inventory does not say or is not to decide.
    pub backend: Option<BackendName>,
    /// What every key begins after at the origin; empty if keys start at the backend's root.
    pub origin_prefix: String,
    /// Whether what the inventory says is taken as verified.
    pub trust: bool,
}

/// One row of an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryRow {
    /// Its line, for errors.
    pub line: u64,
    /// The dataset.
    pub dataset: DatasetName,
    /// The object's key.
    pub key: ObjectKey,
    /// The object's size.
    pub size: ByteCount,
    /// SHA-256 of the object, if the inventory has it.
    pub sha256: Option<[u8; 32]>,
    /// The dataset's labels, shared by its rows.
    pub labels: Arc<Labels>,
    /// Backends that hold the whole dataset, the origin first, shared by its rows.
    pub replicas: Arc<[BackendName]>,
}

/// What an import brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportSummary {
    /// Datasets that the inventory names.
    pub datasets: u64,
    /// Of those, the ones that were not registered before.
    pub datasets_added: u64,
    /// Rows.
    pub objects: u64,
    /// Objects that were not registered before.
    pub objects_added: u64,
    /// Bytes of all rows.
    pub bytes: ByteCount,
    /// Copies that were not recorded before.
    pub copies_added: u64,
}

/// An import under way. Dropping it takes nothing of it.
#[derive(Debug)]
pub struct Import {
    tx: Transaction<'static, Sqlite>,
    options: ImportOptions,
    datasets: HashMap<DatasetName, Importing>,
    backends: HashMap<BackendName, i64>,
    problems: Vec<ImportProblem>,
    summary: ImportSummary,
}

/// What is known of one dataset while its rows come in.
#[derive(Debug)]
struct Importing {
    id: i64,
    first_line: u64,
    /// Whether it had been registered before.
    known: bool,
    labels: Arc<Labels>,
    replicas: Arc<[BackendName]>,
    objects: u64,
    bytes: u64,
    /// Numbers of its rows' objects; only for datasets that were known, in a trusted inventory.
    listed: Vec<i64>,
}

impl Catalogue {
    /// Begins to take an inventory. Until the end no other writer gets its turn.
    ///
    /// # Errors
    /// [`ImportError::Catalogue`] if the database fails.
    pub async fn begin_import(&self, options: ImportOptions) -> Result<Import, ImportError> {
        Ok(Import {
            tx: self.write().await?,
            options,
            datasets: HashMap::new(),
            backends: HashMap::new(),
            problems: Vec::new(),
            summary: ImportSummary::default(),
        })
    }
}

impl Import {
    /// Takes rows, best some thousands at a time.
    ///
    /// # Errors
    /// [`ImportError::Refused`] once [`IMPORT_PROBLEMS_MAX`] rows contradict what is known.
    pub async fn add(&mut self, rows: &[InventoryRow]) -> Result<(), ImportError> {
        for chunk in rows.chunks(ROWS_MAX) {
            self.add_chunk(chunk).await?;
            if self.problems.len() >= IMPORT_PROBLEMS_MAX {
                return Err(self.refuse());
            }
        }
        Ok(())
    }

    /// Ends the inventory: records the copies, and makes all of it visible at once.
    ///
    /// # Errors
    /// [`ImportError::Refused`] if any row contradicts what is known.
    pub async fn commit(mut self) -> Result<ImportSummary, ImportError> {
        let through: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM objects")
            .fetch_one(&mut *self.tx)
            .await?;
        let datasets = std::mem::take(&mut self.datasets);
        let mut changed = self.summary.objects_added + self.summary.datasets_added > 0;
        for (name, importing) in datasets {
            changed |= self.settle(&name, importing, through).await?;
        }
        if !self.problems.is_empty() {
            return Err(self.refuse());
        }
        if changed {
            raise_revision(&mut self.tx).await?;
        }
        self.tx.commit().await?;
        Ok(self.summary)
    }

    fn refuse(&mut self) -> ImportError {
        let mut problems = std::mem::take(&mut self.problems);
        problems.sort_by_key(|problem| problem.line);
        problems.truncate(IMPORT_PROBLEMS_MAX);
        ImportError::Refused { problems }
    }

    fn problem(&mut self, line: u64, message: String) {
        self.problems.push(ImportProblem { line, message });
    }

    async fn add_chunk(&mut self, chunk: &[InventoryRow]) -> Result<(), ImportError> {
        let mut values = Vec::with_capacity(chunk.len());
        let mut any_known = false;
        for row in chunk {
            let (id, known) = self.dataset(row).await?;
            any_known |= known;
            let size = stored(row.size.0, "an object's size")?;
            values.push((id, row.key.as_str(), size, row.sha256));
            self.summary.objects += 1;
            self.summary.bytes.0 = self.summary.bytes.0.saturating_add(row.size.0);
        }
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO objects (dataset_id, key, size, sha256) ");
        insert.push_values(values.iter(), |mut row, (id, key, size, sha256)| {
            row.push_bind(*id).push_bind((*key).to_owned()).push_bind(*size);
            row.push_bind(sha256.map(|digest| digest.to_vec()));
        });
        insert.push(" ON CONFLICT (dataset_id, key) DO NOTHING");
        let inserted = insert.build().execute(&mut *self.tx).await?.rows_affected();
        self.summary.objects_added += inserted;
        if any_known || inserted < chunk.len() as u64 {
            self.compare_chunk(chunk, &values).await?;
        }
        Ok(())
    }

    /// The dataset of a row, registered at its first row.
    async fn dataset(&mut self, row: &InventoryRow) -> Result<(i64, bool), ImportError> {
        if let Some(importing) = self.datasets.get_mut(&row.dataset) {
            importing.objects += 1;
            importing.bytes = importing.bytes.saturating_add(row.size.0);
            let (id, known) = (importing.id, importing.known);
            let same = |a: &Importing| a.labels == row.labels && a.replicas == row.replicas;
            if !same(importing) {
                let first = importing.first_line;
                let what = format!(
                    "the dataset `{}` has other labels or replicas than on line {first}: make its rows agree",
                    row.dataset
                );
                self.problem(row.line, what);
            }
            return Ok((id, known));
        }
        let known = origin_row(&mut self.tx, &row.dataset).await?;
        let id = self.register(row, known.as_ref()).await?;
        self.summary.datasets += 1;
        self.summary.datasets_added += u64::from(known.is_none());
        let importing = Importing {
            id,
            first_line: row.line,
            known: known.is_some(),
            labels: Arc::clone(&row.labels),
            replicas: Arc::clone(&row.replicas),
            objects: 1,
            bytes: row.size.0,
            listed: Vec::new(),
        };
        self.datasets.insert(row.dataset.clone(), importing);
        Ok((id, known.is_some()))
    }

    async fn register(&mut self, row: &InventoryRow, known: Option<&OriginRow>) -> Result<i64, ImportError> {
        if let Some(known) = known {
            let labels = labels_json(&row.labels)?;
            // What a manifest describes keeps the manifest's labels; what an inventory described gets the new ones.
            let update = sqlx::query(
                "UPDATE datasets SET labels = ?1, domain = ?2
                 WHERE id = ?3 AND source = 'inventory' AND (labels, domain) IS NOT (?1, ?2)",
            );
            let update = update
                .bind(labels)
                .bind(self.options.domain.as_str())
                .bind(known.id);
            if update.execute(&mut *self.tx).await?.rows_affected() > 0 {
                raise_revision(&mut self.tx).await?;
            }
            return Ok(known.id);
        }
        let insert = sqlx::query_scalar(
            "INSERT INTO datasets (name, source, domain, labels, record, keep_origin)
             VALUES (?, 'inventory', ?, ?, '{}', 1) RETURNING id",
        );
        let insert = insert
            .bind(row.dataset.as_str())
            .bind(self.options.domain.as_str());
        Ok(insert
            .bind(labels_json(&row.labels)?)
            .fetch_one(&mut *self.tx)
            .await?)
    }

    /// Compares rows with the objects that are registered under their keys, which they may be themselves.
    async fn compare_chunk(
        &mut self,
        chunk: &[InventoryRow],
        values: &[(i64, &str, i64, Option<[u8; 32]>)],
    ) -> Result<(), ImportError> {
        let mut select = QueryBuilder::<Sqlite>::new("WITH rows (at, dataset_id, key) AS (");
        select.push_values(values.iter().enumerate(), |mut row, (at, (id, key, ..))| {
            row.push_bind(at as i64)
                .push_bind(*id)
                .push_bind((*key).to_owned());
        });
        // CROSS JOIN keeps the few rows in the outer loop.
        select.push(
            ") SELECT rows.at, o.id, o.size, o.sha256 FROM rows CROSS JOIN objects o
             ON o.dataset_id = rows.dataset_id AND o.key = rows.key ORDER BY rows.at",
        );
        let found: Vec<(i64, i64, i64, Option<Vec<u8>>)> =
            select.build_query_as().fetch_all(&mut *self.tx).await?;
        for (at, object, size, sha256) in found {
            let Some((row, (.., given_size, given))) = usize::try_from(at)
                .ok()
                .and_then(|at| chunk.get(at).zip(values.get(at)))
            else {
                continue;
            };
            if let Some(importing) = self.datasets.get_mut(&row.dataset)
                && importing.known
                && self.options.trust
            {
                importing.listed.push(object);
            }
            let key = row.key.as_str().escape_debug().to_string();
            if size != *given_size {
                let what = format!(
                    "the object `{key}` is registered with {size} bytes, the inventory says {given_size}: a changed object needs another key"
                );
                self.problem(row.line, what);
                continue;
            }
            match (sha256, given) {
                (Some(known), Some(given)) if known != *given => {
                    let known = hex(&known);
                    let what = format!(
                        "the object `{key}` is registered with sha256 {known}, the inventory says {}: a changed object needs another key",
                        hex(given)
                    );
                    self.problem(row.line, what);
                }
                (None, Some(given)) => set_sha256(&mut self.tx, object, given).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Records origin and copies of a dataset after its last row; says whether anything changed.
    async fn settle(
        &mut self,
        name: &DatasetName,
        importing: Importing,
        through: i64,
    ) -> Result<bool, ImportError> {
        let mut places: Vec<BackendName> = self.options.backend.iter().cloned().collect();
        for replica in importing.replicas.iter() {
            if !places.contains(replica) {
                places.push(replica.clone());
            }
        }
        let mut changed = false;
        let mut origin = None;
        if let Some(first) = places.first().cloned() {
            match self.settle_origin(name, &importing, &first).await? {
                Origin::Is(backend, set) => {
                    origin = Some(backend);
                    changed |= set;
                }
                // Retired long ago: the inventory is older than that.
                Origin::Released => drop(places.remove(0)),
                Origin::Nowhere => {}
                Origin::Refused => return Ok(false),
            }
        }
        for place in &places {
            let backend = self.backend(place).await?;
            let is_origin = origin == Some(backend);
            changed |= self.settle_copy(&importing, backend, is_origin, through).await?;
        }
        Ok(changed)
    }

    async fn settle_origin(
        &mut self,
        name: &DatasetName,
        importing: &Importing,
        first: &BackendName,
    ) -> Result<Origin, ImportError> {
        let backend = self.backend(first).await?;
        if importing.known
            && let Some(row) = origin_row(&mut self.tx, name).await?
        {
            if row.released_backend_id == Some(backend) {
                return Ok(Origin::Released);
            }
            if row.origin_backend_id == Some(backend) {
                return Ok(Origin::Is(backend, false));
            }
            if row.origin_backend_id.is_some() {
                let what = format!(
                    "the dataset `{name}` has its origin on another backend than `{first}`: put that one first in `replicas`"
                );
                self.problem(importing.first_line, what);
                return Ok(Origin::Refused);
            }
            if row.released_backend_id.is_some() {
                return Ok(Origin::Nowhere);
            }
        }
        let update = sqlx::query("UPDATE datasets SET origin_backend_id = ?, origin_prefix = ? WHERE id = ?");
        let update = update
            .bind(backend)
            .bind(&self.options.origin_prefix)
            .bind(importing.id);
        update.execute(&mut *self.tx).await?;
        Ok(Origin::Is(backend, true))
    }

    async fn settle_copy(
        &mut self,
        importing: &Importing,
        backend: i64,
        origin: bool,
        through: i64,
    ) -> Result<bool, ImportError> {
        let trusted = self.options.trust;
        let insert = sqlx::query(
            "INSERT INTO copies (dataset_id, backend_id, origin) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        );
        let insert = insert.bind(importing.id).bind(backend).bind(origin);
        let added = insert.execute(&mut *self.tx).await?.rows_affected() > 0;
        self.summary.copies_added += u64::from(added);
        if !trusted {
            return Ok(added);
        }
        if !importing.known {
            // Nothing of it was there before: the sums of the rows are the counts.
            let update = sqlx::query(
                "UPDATE copies SET trusted_through = ?, verified_objects = ?, verified_bytes = ?
                 WHERE dataset_id = ? AND backend_id = ?",
            );
            let update = update
                .bind(through)
                .bind(stored(importing.objects, "a number of objects")?);
            let update = update.bind(stored(importing.bytes, "a dataset's size")?);
            update
                .bind(importing.id)
                .bind(backend)
                .execute(&mut *self.tx)
                .await?;
            return Ok(true);
        }
        Ok(vouch(&mut self.tx, importing, backend).await? || added)
    }

    async fn backend(&mut self, name: &BackendName) -> Result<i64, ImportError> {
        if let Some(id) = self.backends.get(name) {
            return Ok(*id);
        }
        let id = backend_id(&mut self.tx, name).await?;
        self.backends.insert(name.clone(), id);
        Ok(id)
    }
}

/// What the first backend of a dataset is to it.
enum Origin {
    /// It is the origin; whether that is new.
    Is(i64, bool),
    /// It was, and was retired.
    Released,
    /// An ordinary copy: another backend was the origin, and was retired.
    Nowhere,
    /// Another one is.
    Refused,
}

async fn set_sha256(
    connection: &mut SqliteConnection,
    object: i64,
    sha256: &[u8; 32],
) -> Result<(), CatalogueError> {
    let update = sqlx::query("UPDATE objects SET sha256 = ? WHERE id = ? AND sha256 IS NULL");
    update
        .bind(sha256.as_slice())
        .bind(object)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes the listed objects of a copy that was known before as verified, except those of which more is known; says
/// whether that changed anything.
async fn vouch(
    connection: &mut SqliteConnection,
    importing: &Importing,
    backend: i64,
) -> Result<bool, CatalogueError> {
    let mut vouched = 0;
    for object in &importing.listed {
        let insert = sqlx::query(
            "INSERT INTO placed (dataset_id, backend_id, object_id, state)
             SELECT c.dataset_id, c.backend_id, ?3, 1 FROM copies c
             WHERE c.dataset_id = ?1 AND c.backend_id = ?2 AND c.retiring = 0 AND c.trusted_through < ?3
             ON CONFLICT DO NOTHING",
        );
        let insert = insert.bind(importing.id).bind(backend).bind(object);
        vouched += insert.execute(&mut *connection).await?.rows_affected();
    }
    Ok(vouched > 0)
}
