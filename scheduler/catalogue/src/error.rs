//! Why the catalogue could not do what was asked.

use domicile_estate::{BackendName, DatasetName};

/// Why a catalogue could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A URL of another scheme.
    #[error("the catalogue `{url}` is not supported by this version: write `sqlite://` and a path")]
    Scheme {
        /// What was given.
        url: String,
    },
    /// A URL without a path.
    #[error("the catalogue `{url}` names no file: write `sqlite://` and a path")]
    NoPath {
        /// What was given.
        url: String,
    },
    /// The folder of the catalogue could not be made.
    #[error("the folder `{folder}` of the catalogue could not be made: {source}")]
    Folder {
        /// The folder.
        folder: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("`{path}` is no catalogue of Domicile: give another path with `--catalogue`")]
    NotACatalogue {
        /// The file.
        path: String,
    },
    /// The file was written by a newer version.
    #[error("the catalogue `{path}` has version {found}, this program knows {known}: use a newer Domicile")]
    Newer {
        /// The file.
        path: String,
        /// Version of the file.
        found: i64,
        /// Newest version that this program knows.
        known: i64,
    },
    /// The file was written by an older version and was opened for reading only.
    #[error(
        "the catalogue `{path}` has version {found}, this program needs {known}: `apply` brings it up to date"
    )]
    Older {
        /// The file.
        path: String,
        /// Version of the file.
        found: i64,
        /// The version that is needed.
        known: i64,
    },
    /// The database refused.
    #[error("the catalogue `{path}` could not be opened: {source}")]
    Database {
        /// The file.
        path: String,
        /// What the database said.
        source: sqlx::Error,
    },
}

/// Why the right to change things was not given.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another command is changing the catalogue `{path}` ({holder}): wait until it has finished")]
    Held {
        /// The catalogue's file.
        path: String,
        /// The other, as it wrote itself down, such as `process 4711`.
        holder: String,
    },
    /// The lock's file could not be made or locked.
    #[error("the lock `{path}` could not be taken: {source}")]
    Io {
        /// The lock's file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a reading or writing failed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The database refused.
    #[error("the catalogue could not be read or written: {0}")]
    Database(#[from] sqlx::Error),
    /// A row holds what no version of ours writes.
    #[error("the catalogue is damaged: {what}")]
    Corrupt {
        /// What was found where.
        what: String,
    },
    /// A number above 2^63 - 1.
    #[error("{what} is too large for the catalogue: at most 2^63 - 1")]
    TooLarge {
        /// What the number is.
        what: &'static str,
    },
    /// A text that is no digest.
    #[error("`{text}` is no digest: 64 hexadecimal digits are needed")]
    NotADigest {
        /// What was given.
        text: String,
    },
    /// A dataset that nobody registered.
    #[error("the catalogue knows no dataset `{dataset}`")]
    UnknownDataset {
        /// The dataset.
        dataset: DatasetName,
    },
    /// An object that nobody registered.
    #[error("the catalogue knows no object with the number {object}")]
    UnknownObject {
        /// The object's number.
        object: i64,
    },
    /// A record about a copy that was never begun, or that is being retired.
    #[error("no copy of the dataset `{dataset}` on `{backend}` is recorded that could be written to")]
    NoCopy {
        /// The dataset.
        dataset: String,
        /// The backend.
        backend: BackendName,
    },
    /// A digest that differs from the recorded one, which is never overwritten.
    #[error(
        "the object `{key}` is recorded with the digest {known}, but {found} was read: one of them is damaged"
    )]
    DigestDiffers {
        /// The object's key.
        key: String,
        /// The digest that is recorded.
        known: String,
        /// The other digest.
        found: String,
    },
    /// A listing of another origin than the recorded one.
    #[error("the listing of the dataset `{dataset}` is of another origin than the recorded one")]
    OtherOrigin {
        /// The dataset.
        dataset: DatasetName,
    },
    /// A plan that was never recorded, or a move that it does not have.
    #[error("the catalogue knows no plan {plan} with such a move or state")]
    UnknownMove {
        /// The plan's number.
        plan: u64,
    },
    /// A plan's number that is taken.
    #[error("plan {plan} is recorded already: plan again")]
    PlanTaken {
        /// The plan's number.
        plan: u64,
    },
}

impl CatalogueError {
    /// Whether the same call may succeed later without a change: the database was busy or out of room.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) => true,
            // SQLITE_BUSY 5, SQLITE_LOCKED 6, SQLITE_FULL 13; extended codes keep them in the low byte.
            Self::Database(sqlx::Error::Database(error)) => error
                .code()
                .and_then(|code| code.parse::<i64>().ok())
                .is_some_and(|code| matches!(code & 0xff, 5 | 6 | 13)),
            _ => false,
        }
    }
}

/// Why a copy may not be retired now.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// No copy is recorded there.
    #[error("no copy of the dataset `{dataset}` on `{backend}` is recorded")]
    NoCopy {
        /// The dataset.
        dataset: DatasetName,
        /// The backend.
        backend: BackendName,
    },
    /// It is the origin and the owner has not released it.
    #[error(
        "`{backend}` holds the origin of the dataset `{dataset}`, which its owner keeps: set `keepOrigin: false` to release it"
    )]
    KeptOrigin {
        /// The dataset.
        dataset: DatasetName,
        /// The backend.
        backend: BackendName,
    },
    /// Nothing verified would remain.
    #[error("the copy of the dataset `{dataset}` on `{backend}` is the last one that is known to be whole")]
    LastCopy {
        /// The dataset.
        dataset: DatasetName,
        /// The backend.
        backend: BackendName,
    },
    /// What would remain does not do.
    #[error("without the copy of the dataset `{dataset}` on `{backend}` its policies would be less met: only {} would remain", list(.remaining))]
    TooFew {
        /// The dataset.
        dataset: DatasetName,
        /// The backend.
        backend: BackendName,
        /// The backends with the copies that would remain, by name.
        remaining: Vec<BackendName>,
    },
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

impl From<sqlx::Error> for RetireError {
    fn from(error: sqlx::Error) -> Self {
        Self::Catalogue(CatalogueError::Database(error))
    }
}

fn list(names: &[BackendName]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// One row of an inventory that contradicts what is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ImportProblem {
    /// Its line in the inventory.
    pub line: u64,
    /// What is wrong and what to do.
    pub message: String,
}

/// Why an inventory was not taken. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Rows contradict what is known, or each other.
    #[error("the inventory was refused, nothing was written: {}", sentence(.problems))]
    Refused {
        /// The first problems, [`crate::IMPORT_PROBLEMS_MAX`] at most, in the order of the rows.
        problems: Vec<ImportProblem>,
    },
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

impl From<sqlx::Error> for ImportError {
    fn from(error: sqlx::Error) -> Self {
        Self::Catalogue(CatalogueError::Database(error))
    }
}

fn sentence(problems: &[ImportProblem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
