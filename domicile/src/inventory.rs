//! Inventories: CSV as storage systems export it, read as a stream and checked cell by cell.
//!
//! A row names a dataset and one of its objects. Memory grows with the number of datasets, and by 16 bytes with each
//! object, so that one that comes twice is seen wherever it comes.

mod cells;
pub mod decode;
#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domicile_catalogue::InventoryRow;
use domicile_estate::{BackendName, DatasetName, KeyRefusal, Labels, ObjectKey, StoreKind};

use self::cells::{Columns, columns, sha256, size};

/// Problems that are collected before reading stops.
pub const PROBLEMS_MAX: usize = 20;
/// Longest row, in bytes: an open quotation mark must not draw the rest of the file into memory.
const ROW_MAX: u64 = 1 << 20;
/// Most backends that one row may name.
const REPLICAS_MAX: usize = 1000;

/// What is wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column `{column}`: {message}")]
pub struct RowProblem {
    /// Its line, from 1.
    pub line: u64,
    /// The column, or `row` if the row as a whole is wrong.
    pub column: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Why an inventory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The file could not be opened.
    #[error("the inventory `{file}` could not be opened: {source}")]
    Open {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Reading or decompressing stopped.
    #[error(
        "the inventory `{file}` could not be read beyond line {line}, it may be cut off or damaged: {source}"
    )]
    Read {
        /// The file.
        file: String,
        /// The last line that was read.
        line: u64,
        /// What the system or the decoder said.
        source: io::Error,
    },
    /// The first line does not say what an inventory's must.
    #[error("the inventory `{file}`, line 1: {message}")]
    Header {
        /// The file.
        file: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// Rows are wrong.
    #[error("the inventory `{file}` was refused:{}", lines(.problems))]
    Rows {
        /// The file.
        file: String,
        /// The first problems, [`PROBLEMS_MAX`] at most, in the order of the rows.
        problems: Vec<RowProblem>,
    },
}

fn lines(problems: &[RowProblem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// An inventory being read.
pub struct Inventory {
    file: String,
    records: csv::Reader<Metered<Box<dyn Read + Send>>>,
    record: csv::StringRecord,
    columns: Columns,
    kinds: Vec<StoreKind>,
    /// Bytes read since the last row.
    drawn: Arc<AtomicU64>,
    line: u64,
    seen: Seen,
}

/// What earlier rows said.
struct Seen {
    datasets: HashMap<DatasetName, Described>,
    /// By the cells, each with its length before it.
    labels: HashMap<String, Arc<Labels>>,
    /// The cells of the row at hand.
    cells: String,
    replicas: HashMap<String, Arc<[BackendName]>>,
    /// 128 bits of hash of each dataset and key, under keys that no file can know.
    objects: HashSet<u128>,
    hashers: (RandomState, RandomState),
}

struct Described {
    line: u64,
    labels: Arc<Labels>,
    replicas: Arc<[BackendName]>,
}

impl Inventory {
    /// Opens an inventory, `-` for standard input, and reads its header. Keys must fit stores of these kinds.
    ///
    /// # Errors
    /// [`InventoryError`] if the file cannot be read or its header is not that of an inventory.
    pub fn open(path: &Path, kinds: &[StoreKind]) -> Result<Self, InventoryError> {
        if path == Path::new("-") {
            return Self::read(io::stdin(), "<stdin>", kinds);
        }
        let file = path.display().to_string();
        match std::fs::File::open(path) {
            Ok(source) => Self::read(source, &file, kinds),
            Err(source) => Err(InventoryError::Open { file, source }),
        }
    }

    /// Reads an inventory from anything; `file` is what errors call it.
    ///
    /// # Errors
    /// As [`Inventory::open`].
    pub fn read(
        source: impl Read + Send + 'static,
        file: &str,
        kinds: &[StoreKind],
    ) -> Result<Self, InventoryError> {
        let failed = |source| InventoryError::Read {
            file: file.to_owned(),
            line: 0,
            source,
        };
        let decoded = decode::decoded(source).map_err(failed)?;
        let drawn = Arc::new(AtomicU64::new(0));
        let metered = Metered {
            source: decoded,
            drawn: Arc::clone(&drawn),
        };
        let records = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(metered);
        let mut inventory = Self {
            file: file.to_owned(),
            records,
            record: csv::StringRecord::new(),
            columns: Columns::default(),
            kinds: kinds.to_vec(),
            drawn,
            line: 0,
            seen: Seen {
                datasets: HashMap::new(),
                labels: HashMap::new(),
                cells: String::new(),
                replicas: HashMap::new(),
                objects: HashSet::new(),
                hashers: (RandomState::new(), RandomState::new()),
            },
        };
        let header = |message| InventoryError::Header {
            file: file.to_owned(),
            message,
        };
        match inventory.next_record()? {
            Next::Record => inventory.columns = columns(&inventory.record).map_err(header)?,
            Next::End => {
                return Err(header(
                    "it is empty: the columns dataset, key and size are needed".to_owned(),
                ));
            }
            Next::Problem(problem) => return Err(header(problem.message)),
        }
        Ok(inventory)
    }

    /// The next rows, `rows_max` at most; none at the end. After the first wrong row the rest of the inventory is
    /// only looked through for further ones.
    ///
    /// # Errors
    /// [`InventoryError::Rows`] with all wrong rows, the first [`PROBLEMS_MAX`] of them; [`InventoryError::Read`].
    pub fn next_batch(&mut self, rows_max: usize) -> Result<Vec<InventoryRow>, InventoryError> {
        let mut rows = Vec::new();
        let mut problems = Vec::new();
        while problems.len() < PROBLEMS_MAX && (rows.len() < rows_max || !problems.is_empty()) {
            match self.next_record()? {
                Next::End => break,
                Next::Problem(problem) => problems.push(problem),
                Next::Record => match self.row() {
                    Ok(row) if problems.is_empty() => rows.push(row),
                    Ok(_) => {}
                    Err(problem) => problems.push(problem),
                },
            }
        }
        if problems.is_empty() {
            return Ok(rows);
        }
        Err(InventoryError::Rows {
            file: self.file.clone(),
            problems,
        })
    }

    fn next_record(&mut self) -> Result<Next, InventoryError> {
        self.drawn.store(0, Ordering::Relaxed);
        let whole = |message: &str| RowProblem {
            line: self.line + 1,
            column: "row".to_owned(),
            message: message.to_owned(),
        };
        match self.records.read_record(&mut self.record) {
            Ok(false) => Ok(Next::End),
            Ok(true) => {
                self.line = self.record.position().map_or(self.line + 1, csv::Position::line);
                Ok(Next::Record)
            }
            Err(error) => match error.into_kind() {
                csv::ErrorKind::Utf8 { pos, .. } => {
                    let problem = whole("it is not valid UTF-8: export the inventory as UTF-8");
                    self.line = pos.map_or(self.line + 1, |pos| pos.line());
                    Ok(Next::Problem(RowProblem {
                        line: self.line,
                        ..problem
                    }))
                }
                csv::ErrorKind::Io(source) => Err(InventoryError::Read {
                    file: self.file.clone(),
                    line: self.line,
                    source,
                }),
                other => Ok(Next::Problem(whole(&format!("it is no row of CSV: {other:?}")))),
            },
        }
    }

    /// The record as a row.
    fn row(&mut self) -> Result<InventoryRow, RowProblem> {
        let line = self.line;
        let problem = |column: &str, message: String| RowProblem {
            line,
            column: column.to_owned(),
            message,
        };
        let (columns, record) = (&self.columns, &self.record);
        if record.len() != columns.count {
            let what = format!(
                "it has {} cells, the header has {}: quote cells that contain a comma or quotation mark",
                record.len(),
                columns.count
            );
            return Err(problem("row", what));
        }
        let cell = |at: usize| record.get(at).unwrap_or("");
        let dataset =
            DatasetName::new(cell(columns.dataset)).map_err(|error| problem("dataset", error.to_string()))?;
        let refused = |refusal: KeyRefusal| {
            let key = cell(columns.key).escape_debug().to_string();
            problem("key", format!("`{key}`: {refusal}"))
        };
        let key = ObjectKey::new(cell(columns.key)).map_err(refused)?;
        for kind in &self.kinds {
            key.fits(&dataset, *kind).map_err(refused)?;
        }
        let size = size(cell(columns.size)).map_err(|message| problem("size", message))?;
        let sha256 = columns
            .sha256
            .map_or(Ok(None), |at| sha256(cell(at)))
            .map_err(|message| problem("sha256", message))?;
        let replicas = columns.replicas.map_or("", cell);
        let replicas = self
            .seen
            .replicas(replicas)
            .map_err(|message| problem("replicas", message))?;
        let labels = self.seen.labels(columns, record);
        self.seen.check(line, &dataset, (&labels, &replicas))?;
        if !self.seen.objects.insert(self.seen.hash(&dataset, &key)) {
            let key = key.as_str().escape_debug();
            let what =
                format!("the object `{key}` of the dataset `{dataset}` comes twice: keep one of its rows");
            return Err(problem("key", what));
        }
        Ok(InventoryRow {
            line,
            dataset,
            key,
            size,
            sha256,
            labels,
            replicas,
        })
    }
}

enum Next {
    Record,
    End,
    Problem(RowProblem),
}

impl Seen {
    fn hash(&self, dataset: &DatasetName, key: &ObjectKey) -> u128 {
        let one = |state: &RandomState| u128::from(state.hash_one((dataset.as_str(), key.as_str())));
        one(&self.hashers.0) << 64 | one(&self.hashers.1)
    }

    fn labels(&mut self, columns: &Columns, record: &csv::StringRecord) -> Arc<Labels> {
        let cell = |at: usize| record.get(at).unwrap_or("");
        self.cells.clear();
        for (at, _) in &columns.labels {
            let cell = cell(*at);
            // Writing to a String cannot fail.
            let _ = write!(self.cells, "{} {cell}", cell.len());
        }
        if let Some(labels) = self.labels.get(&self.cells) {
            return Arc::clone(labels);
        }
        let named = columns.labels.iter().map(|(at, name)| (name, cell(*at)));
        let labels: Arc<Labels> = Arc::new(
            named
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name.clone(), value.to_owned()))
                .collect(),
        );
        self.labels.insert(self.cells.clone(), Arc::clone(&labels));
        labels
    }

    fn replicas(&mut self, text: &str) -> Result<Arc<[BackendName]>, String> {
        if let Some(replicas) = self.replicas.get(text) {
            return Ok(Arc::clone(replicas));
        }
        let mut replicas = Vec::new();
        for part in text.split(';').map(str::trim).filter(|_| !text.is_empty()) {
            let backend = BackendName::new(part)
                .map_err(|error| format!("{error}; backends are named with `;` between, the origin first"))?;
            if replicas.contains(&backend) {
                return Err(format!("the backend `{backend}` is named twice"));
            }
            replicas.push(backend);
        }
        if replicas.len() > REPLICAS_MAX {
            return Err(format!(
                "it names {} backends, at most {REPLICAS_MAX} are taken",
                replicas.len()
            ));
        }
        let replicas: Arc<[BackendName]> = replicas.into();
        self.replicas.insert(text.to_owned(), Arc::clone(&replicas));
        Ok(replicas)
    }

    /// Checks that a row says the same of its dataset as the dataset's first row.
    fn check(
        &mut self,
        line: u64,
        dataset: &DatasetName,
        (labels, replicas): (&Arc<Labels>, &Arc<[BackendName]>),
    ) -> Result<(), RowProblem> {
        let first = match self.datasets.entry(dataset.clone()) {
            Entry::Occupied(first) => first.into_mut(),
            Entry::Vacant(none) => {
                none.insert(Described {
                    line,
                    labels: Arc::clone(labels),
                    replicas: Arc::clone(replicas),
                });
                return Ok(());
            }
        };
        let column = if !Arc::ptr_eq(&first.labels, labels) && first.labels != *labels {
            differing_label(&first.labels, labels)
        } else if !Arc::ptr_eq(&first.replicas, replicas) && first.replicas != *replicas {
            "replicas".to_owned()
        } else {
            return Ok(());
        };
        let message = format!(
            "the dataset `{dataset}` has another value on line {}: labels and replicas belong to the whole dataset",
            first.line
        );
        Err(RowProblem {
            line,
            column,
            message,
        })
    }
}

fn differing_label(first: &Labels, now: &Labels) -> String {
    let mut names = first.keys().chain(now.keys());
    names
        .find(|name| first.get(*name) != now.get(*name))
        .cloned()
        .unwrap_or_default()
}

/// Counts what is read between two rows, and stops a row that does not end.
struct Metered<R> {
    source: R,
    drawn: Arc<AtomicU64>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        let drawn = self.drawn.fetch_add(read as u64, Ordering::Relaxed) + read as u64;
        if drawn > ROW_MAX {
            return Err(io::Error::other(
                "a row has more than 1 MiB: a quotation mark may not be closed",
            ));
        }
        Ok(read)
    }
}
