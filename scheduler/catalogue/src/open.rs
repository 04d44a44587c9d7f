//! Opening: where the catalogue lies, its version, and the two pools.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};

use crate::error::{CatalogueError, OpenError};
use crate::group::Group;

/// How long a statement waits for another process that is writing.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a caller waits for its turn in this process: longer than any batch takes.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(600);
/// Connections that read beside the one that writes.
const READERS_MAX: u32 = 4;
/// Marks a SQLite file as ours: `Domi` in ASCII.
pub(crate) const APPLICATION_ID: i64 = 0x446f_6d69;
/// The steps from an empty file to the newest version; version n is reached by the first n.
const MIGRATIONS: [&str; 13] = [
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_sums.sql"),
    include_str!("../migrations/0003_plan_parts.sql"),
    include_str!("../migrations/0004_leases.sql"),
    include_str!("../migrations/0005_drops.sql"),
    include_str!("../migrations/0006_scrubs.sql"),
    include_str!("../migrations/0007_versions.sql"),
    include_str!("../migrations/0008_holds.sql"),
    include_str!("../migrations/0009_certificates.sql"),
    include_str!("../migrations/0010_checksums.sql"),
    include_str!("../migrations/0011_shares.sql"),
    include_str!("../migrations/0012_digest_lists.sql"),
    include_str!("../migrations/0013_place_marks.sql"),
];

/// Whether a catalogue is opened to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Folders and file are made where they are missing, and an older version is brought up to date.
    ReadWrite,
    /// Nothing is changed; a missing file reads as an empty catalogue.
    ReadOnly,
}

/// What is known, kept in SQL. Cheap to clone; all clones share the connections.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// One connection: writers of this process take turns in order of arrival rather than by polling the file.
    writer: SqlitePool,
    reader: SqlitePool,
    path: Option<PathBuf>,
    /// Small changes that share a commit.
    pub(crate) group: Arc<Group>,
}

impl Catalogue {
    /// Opens the catalogue at a URL: `sqlite:///absolute/path` or `sqlite://path/from/the/current/folder`.
    ///
    /// # Errors
    /// [`OpenError`] for another scheme, a foreign file, a newer version, or what the system refuses.
    pub async fn open(url: &str, mode: Mode) -> Result<Self, OpenError> {
        let path = path_of(url)?;
        if mode == Mode::ReadOnly && !path.exists() {
            return Self::empty(&path).await;
        }
        if mode == Mode::ReadWrite
            && let Some(folder) = path.parent()
        {
            std::fs::create_dir_all(folder).map_err(|source| OpenError::Folder {
                folder: folder.display().to_string(),
                source,
            })?;
        }
        let writer = connect(&path, mode, 1)
            .await
            .map_err(|source| database(&path, source))?;
        match prepare(&writer, &path, mode).await? {
            Prepared::Ready => {
                let reader = connect(&path, Mode::ReadOnly, READERS_MAX).await;
                let reader = reader.map_err(|source| database(&path, source))?;
                Ok(Self {
                    writer,
                    reader,
                    path: Some(path),
                    group: Arc::default(),
                })
            }
            Prepared::Blank => {
                writer.close().await;
                Self::empty(&path).await
            }
        }
    }

    /// An empty catalogue in memory: what a missing file reads as.
    async fn empty(path: &Path) -> Result<Self, OpenError> {
        let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
        // The database lives in its one connection, which must therefore never be closed for idleness or age.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await
            .map_err(|source| database(path, source))?;
        prepare(&pool, path, Mode::ReadWrite).await?;
        Ok(Self {
            writer: pool.clone(),
            reader: pool,
            path: None,
            group: Arc::default(),
        })
    }

    /// The file, or `None` for an empty catalogue in memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Closes all connections, so that the write-ahead log is folded into the file.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// A transaction that writes. It is rolled back when dropped.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Sqlite>, CatalogueError> {
        // IMMEDIATE: a transaction that begins by reading and then writes could fail as busy in its middle.
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// A transaction that reads one moment of the catalogue.
    pub(crate) async fn read(&self) -> Result<Transaction<'static, Sqlite>, CatalogueError> {
        Ok(self.reader.begin().await?)
    }
}

fn path_of(url: &str) -> Result<PathBuf, OpenError> {
    let Some(path) = url.strip_prefix("sqlite://") else {
        return Err(OpenError::Scheme {
            url: without_secrets(url),
        });
    };
    if path.is_empty() || path.ends_with('/') {
        return Err(OpenError::NoPath { url: url.to_owned() });
    }
    Ok(PathBuf::from(path))
}

/// The URL without user and password, for errors.
fn without_secrets(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => url.to_owned(),
    }
}

async fn connect(path: &Path, mode: Mode, connections: u32) -> Result<SqlitePool, sqlx::Error> {
    let mut options = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT);
    match mode {
        // FULL: without it a power cut could undo the mark of a retirement whose deletions have happened.
        Mode::ReadWrite => {
            options = options
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full);
        }
        // Not `read_only`: a log that a killed process left must be readable, and that takes a shared-memory file.
        Mode::ReadOnly => options = options.pragma("query_only", "ON"),
    }
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await
}

enum Prepared {
    Ready,
    /// Opened for reading only, and nothing was ever written: a process was killed as it made the file.
    Blank,
}

/// Checks whose file it is and of which version, and brings it up to date.
async fn prepare(pool: &SqlitePool, path: &Path, mode: Mode) -> Result<Prepared, OpenError> {
    let failed = |source| database(path, source);
    let known = MIGRATIONS.len() as i64;
    let begin = if mode == Mode::ReadWrite {
        "BEGIN IMMEDIATE"
    } else {
        "BEGIN"
    };
    let mut tx = pool.begin_with(begin).await.map_err(failed)?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *tx)
        .await
        .map_err(failed)?;
    let application: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *tx)
        .await
        .map_err(failed)?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *tx)
        .await
        .map_err(failed)?;
    let text = || path.display().to_string();
    if tables > 0 && application != APPLICATION_ID {
        return Err(OpenError::NotACatalogue { path: text() });
    }
    if version > known {
        return Err(OpenError::Newer {
            path: text(),
            found: version,
            known,
        });
    }
    if version == known {
        return Ok(Prepared::Ready);
    }
    if mode == Mode::ReadOnly {
        return match version {
            0 => Ok(Prepared::Blank),
            found => Err(OpenError::Older {
                path: text(),
                found,
                known,
            }),
        };
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        sqlx::raw_sql(*step).execute(&mut *tx).await.map_err(failed)?;
    }
    let stamp = format!("PRAGMA user_version = {known}; PRAGMA application_id = {APPLICATION_ID}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(stamp))
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    Ok(Prepared::Ready)
}

fn database(path: &Path, source: sqlx::Error) -> OpenError {
    // SQLITE_NOTADB.
    let foreign = matches!(&source, sqlx::Error::Database(error) if error.code().as_deref() == Some("26"));
    let path = path.display().to_string();
    if foreign {
        OpenError::NotACatalogue { path }
    } else {
        OpenError::Database { path, source }
    }
}
