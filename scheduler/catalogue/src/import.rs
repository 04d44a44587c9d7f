//! Inventories, taken in one transaction: all of it or nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use domicile_estate::{BackendName, ByteCount, DatasetName, DomainName, Labels, ObjectKey};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, Transaction};

use crate::Catalogue;
use crate::dataset::labels_json;
use crate::error::{CatalogueError, ImportError, ImportProblem};
use crate::row::{backend_id, hex, raise_revision, stored};
use crate::settle::NewCopy;
use crate::sums::{Sums, add_objects, add_small, resum};

/// Problems that an import collects before it gives up.
pub const IMPORT_PROBLEMS_MAX: usize = 20;
/// Rows of one statement: six values each at most, below SQLite's limit of 32,766 values.
pub(crate) const ROWS_MAX: usize = 2_000;

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
    pub(crate) tx: Transaction<'static, Sqlite>,
    pub(crate) options: ImportOptions,
    datasets: HashMap<DatasetName, Importing>,
    backends: HashMap<BackendName, i64>,
    problems: Vec<ImportProblem>,
    pub(crate) summary: ImportSummary,
    /// Whether a dataset that was known got another description.
    described: bool,
    /// The largest number of a dataset. Nobody else writes, so that we say the numbers of new ones.
    last_dataset: i64,
    /// Whether no dataset had been registered before.
    first: bool,
    /// Labels as they are stored, by their address. Each is kept, so that no other comes to have its address.
    labels: HashMap<usize, (Arc<Labels>, Arc<str>)>,
    /// Datasets of which some rows were there before, so that what was added is not known.
    to_sum_up: BTreeSet<i64>,
    /// Numbers of the rows' objects, by dataset; only of datasets that were known, in a trusted inventory.
    pub(crate) listed: HashMap<i64, Vec<i64>>,
}

/// What is known of one dataset while its rows come in.
#[derive(Debug)]
pub(crate) struct Importing {
    pub id: i64,
    pub first_line: u64,
    /// Whether it had been registered before.
    pub known: bool,
    pub labels: Arc<Labels>,
    pub replicas: Arc<[BackendName]>,
    pub objects: u64,
    pub bytes: u64,
}

impl Catalogue {
    /// Begins to take an inventory. Until the end no other writer gets its turn.
    ///
    /// # Errors
    /// [`ImportError::Catalogue`] if the database fails.
    pub async fn begin_import(&self, options: ImportOptions) -> Result<Import, ImportError> {
        let mut tx = self.write().await?;
        let last_dataset = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM datasets")
            .fetch_one(&mut *tx)
            .await?;
        Ok(Import {
            tx,
            last_dataset,
            first: last_dataset == 0,
            labels: HashMap::new(),
            to_sum_up: BTreeSet::new(),
            listed: HashMap::new(),
            options,
            datasets: HashMap::new(),
            backends: HashMap::new(),
            problems: Vec::new(),
            summary: ImportSummary::default(),
            described: false,
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
        let mut changed = self.described || self.summary.objects_added + self.summary.datasets_added > 0;
        let mut copies = Vec::new();
        // In the order of their numbers: rows then go to the end of their table.
        let mut datasets: Vec<_> = std::mem::take(&mut self.datasets).into_iter().collect();
        datasets.sort_unstable_by_key(|(_, importing)| importing.id);
        for (name, mut importing) in datasets {
            if self.to_sum_up.contains(&importing.id) {
                (importing.objects, importing.bytes) = resum(&mut self.tx, importing.id).await?;
            }
            if importing.known {
                changed |= self.settle(&name, &importing).await?;
                continue;
            }
            for (at, backend) in self.places(&importing.replicas).iter().enumerate() {
                copies.push(NewCopy {
                    dataset: importing.id,
                    backend: self.backend(backend).await?,
                    origin: at == 0,
                    objects: importing.objects,
                    bytes: importing.bytes,
                });
            }
            if copies.len() >= ROWS_MAX {
                self.insert_copies(&copies, through).await?;
                copies.clear();
            }
        }
        self.insert_copies(&copies, through).await?;
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

    pub(crate) fn problem(&mut self, line: u64, message: String) {
        self.problems.push(ImportProblem { line, message });
    }

    async fn add_chunk(&mut self, chunk: &[InventoryRow]) -> Result<(), ImportError> {
        let new = self.register(chunk).await?;
        let mut values = Vec::with_capacity(chunk.len());
        let mut any_known = false;
        let mut sums: BTreeMap<i64, Sums> = BTreeMap::new();
        for row in chunk {
            let size = stored(row.size.0, "an object's size")?;
            let Some((id, known)) = self.count(row) else {
                continue;
            };
            any_known |= known;
            values.push((id, row, size));
            sums.entry(id).or_default().add(row.size);
            self.summary.objects += 1;
            self.summary.bytes.0 = self.summary.bytes.0.saturating_add(row.size.0);
        }
        self.insert_datasets(&new, &sums).await?;
        let inserted = self.insert_objects(&values).await?;
        self.summary.objects_added += inserted;
        if inserted == values.len() as u64 {
            add_small(&mut self.tx, sums.iter().map(|(id, sums)| (*id, sums))).await?;
            // What is new was registered with its sums.
            new.iter().for_each(|(id, _)| drop(sums.remove(id)));
            add_objects(&mut self.tx, &sums).await?;
        } else if inserted > 0 {
            self.to_sum_up.extend(sums.into_keys());
        }
        if any_known || inserted < values.len() as u64 {
            self.compare_chunk(&values).await?;
        }
        Ok(())
    }

    async fn insert_objects(&mut self, values: &[(i64, &InventoryRow, i64)]) -> Result<u64, ImportError> {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO objects (dataset_id, key, size, sha256) ");
        insert.push_values(values, |mut row, (id, object, size)| {
            row.push_bind(*id).push_bind(object.key.shared()).push_bind(*size);
            row.push_bind(object.sha256.map(|digest| digest.to_vec()));
        });
        insert.push(" ON CONFLICT (dataset_id, key) DO NOTHING");
        Ok(insert.build().execute(&mut *self.tx).await?.rows_affected())
    }

    /// Counts a row for its dataset and checks that it says the same of it as the first row; the dataset's number,
    /// and whether it was registered before.
    fn count(&mut self, row: &InventoryRow) -> Option<(i64, bool)> {
        let importing = self.datasets.get_mut(&row.dataset)?;
        importing.objects += 1;
        importing.bytes = importing.bytes.saturating_add(row.size.0);
        let (id, known, first) = (importing.id, importing.known, importing.first_line);
        let same = |a: &Importing| a.labels == row.labels && a.replicas == row.replicas;
        if !same(importing) {
            let what = format!(
                "the dataset `{}` has other labels or replicas than on line {first}: make its rows agree",
                row.dataset
            );
            self.problem(row.line, what);
        }
        Some((id, known))
    }

    /// Counts in the datasets that a chunk is the first to name. The new ones, with their numbers, are yet to be inserted.
    async fn register<'r>(
        &mut self,
        chunk: &'r [InventoryRow],
    ) -> Result<Vec<(i64, &'r InventoryRow)>, ImportError> {
        let mut first_rows: BTreeMap<&str, &InventoryRow> = BTreeMap::new();
        for row in chunk
            .iter()
            .filter(|row| !self.datasets.contains_key(&row.dataset))
        {
            first_rows.entry(row.dataset.as_str()).or_insert(row);
        }
        if !self.first && !first_rows.is_empty() {
            for (id, name) in known_datasets(&mut self.tx, &first_rows).await? {
                if let Some(row) = first_rows.remove(name.as_str()) {
                    self.describe(id, row).await?;
                    self.datasets
                        .insert(row.dataset.clone(), Importing::first(id, true, row));
                }
            }
        }
        let mut new = Vec::with_capacity(first_rows.len());
        for row in first_rows.into_values() {
            self.last_dataset += 1;
            new.push((self.last_dataset, row));
            let importing = Importing::first(self.last_dataset, false, row);
            self.datasets.insert(row.dataset.clone(), importing);
        }
        self.summary.datasets_added += new.len() as u64;
        self.summary.datasets = self.datasets.len() as u64;
        Ok(new)
    }

    /// Inserts new datasets with the sums over their objects of the same chunk.
    async fn insert_datasets(
        &mut self,
        new: &[(i64, &InventoryRow)],
        sums: &BTreeMap<i64, Sums>,
    ) -> Result<(), ImportError> {
        if new.is_empty() {
            return Ok(());
        }
        let mut values = Vec::with_capacity(new.len());
        for (id, row) in new {
            let origin = self.options.backend.as_ref().or_else(|| row.replicas.first());
            let origin = match origin.cloned() {
                Some(backend) => Some(self.backend(&backend).await?),
                None => None,
            };
            let (objects, bytes) = sums.get(id).map_or((0, 0), |sums| (sums.objects, sums.bytes));
            let objects = stored(objects, "a number of objects")?;
            let bytes = stored(bytes, "a dataset's size")?;
            values.push((
                *id,
                row.dataset.shared(),
                self.labels(&row.labels)?,
                origin,
                objects,
                bytes,
            ));
        }
        let mut insert = QueryBuilder::<Sqlite>::new("WITH said (domain, prefix) AS (SELECT ");
        insert.push_bind(self.options.domain.shared()).push(", ");
        insert.push_bind(self.options.origin_prefix.clone());
        insert.push("), rows (id, name, labels, origin, objects, bytes) AS (");
        insert.push_values(values, |mut row, (id, name, labels, origin, objects, bytes)| {
            row.push_bind(id)
                .push_bind(name)
                .push_bind(labels)
                .push_bind(origin);
            row.push_bind(objects).push_bind(bytes);
        });
        insert.push(
            ") INSERT INTO datasets
               (id, name, source, domain, labels, record, keep_origin, origin_backend_id, origin_prefix, objects, bytes)
             SELECT r.id, r.name, 'inventory', s.domain, r.labels, '{}', 1, r.origin,
                    iif(r.origin IS NULL, '', s.prefix), r.objects, r.bytes
             FROM rows r CROSS JOIN said s",
        );
        insert.build().execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Labels as they are stored.
    fn labels(&mut self, labels: &Arc<Labels>) -> Result<Arc<str>, CatalogueError> {
        if let Some((_, text)) = self.labels.get(&Arc::as_ptr(labels).addr()) {
            return Ok(Arc::clone(text));
        }
        let text: Arc<str> = labels_json(labels)?.into();
        let kept = (Arc::clone(labels), Arc::clone(&text));
        self.labels.insert(Arc::as_ptr(labels).addr(), kept);
        Ok(text)
    }

    /// What a manifest describes keeps the manifest's labels; what an inventory described gets the new ones.
    async fn describe(&mut self, id: i64, row: &InventoryRow) -> Result<(), ImportError> {
        let update = sqlx::query(
            "UPDATE datasets SET labels = ?1, domain = ?2
             WHERE id = ?3 AND source = 'inventory' AND (labels, domain) IS NOT (?1, ?2)",
        );
        let update = update
            .bind(labels_json(&row.labels)?)
            .bind(self.options.domain.as_str())
            .bind(id);
        self.described |= update.execute(&mut *self.tx).await?.rows_affected() > 0;
        Ok(())
    }

    /// Compares rows with the objects that are registered under their keys, which they may be themselves.
    async fn compare_chunk(&mut self, values: &[(i64, &InventoryRow, i64)]) -> Result<(), ImportError> {
        let mut select = QueryBuilder::<Sqlite>::new("WITH rows (at, dataset_id, key) AS (");
        select.push_values(values.iter().enumerate(), |mut row, (at, (id, object, _))| {
            row.push_bind(at as i64)
                .push_bind(*id)
                .push_bind(object.key.shared());
        });
        // CROSS JOIN keeps the few rows in the outer loop.
        select.push(
            ") SELECT rows.at, o.id, o.size, o.sha256 FROM rows CROSS JOIN objects o
             ON o.dataset_id = rows.dataset_id AND o.key = rows.key ORDER BY rows.at",
        );
        let found: Vec<(i64, i64, i64, Option<Vec<u8>>)> =
            select.build_query_as().fetch_all(&mut *self.tx).await?;
        for (at, object, size, sha256) in found {
            let Some((dataset, row, given_size)) = usize::try_from(at).ok().and_then(|at| values.get(at))
            else {
                continue;
            };
            let known = self.datasets.get(&row.dataset).is_some_and(|known| known.known);
            if known && self.options.trust {
                self.listed.entry(*dataset).or_default().push(object);
            }
            let key = row.key.as_str().escape_debug().to_string();
            if size != *given_size {
                let what = format!(
                    "the object `{key}` is registered with {size} bytes, the inventory says {given_size}: a changed object needs another key"
                );
                self.problem(row.line, what);
                continue;
            }
            match (sha256, &row.sha256) {
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

    pub(crate) async fn backend(&mut self, name: &BackendName) -> Result<i64, ImportError> {
        if let Some(id) = self.backends.get(name) {
            return Ok(*id);
        }
        let id = backend_id(&mut self.tx, name).await?;
        self.backends.insert(name.clone(), id);
        Ok(id)
    }
}

impl Importing {
    /// A dataset at its first row, which is not counted yet.
    fn first(id: i64, known: bool, row: &InventoryRow) -> Self {
        Self {
            id,
            first_line: row.line,
            known,
            labels: Arc::clone(&row.labels),
            replicas: Arc::clone(&row.replicas),
            objects: 0,
            bytes: 0,
        }
    }
}

/// The numbers of those of the datasets that are registered.
async fn known_datasets(
    connection: &mut SqliteConnection,
    rows: &BTreeMap<&str, &InventoryRow>,
) -> Result<Vec<(i64, String)>, CatalogueError> {
    let mut select = QueryBuilder::<Sqlite>::new("SELECT id, name FROM datasets WHERE name IN (");
    let mut list = select.separated(", ");
    for row in rows.values() {
        list.push_bind(row.dataset.shared());
    }
    select.push(")");
    Ok(select.build_query_as().fetch_all(connection).await?)
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
