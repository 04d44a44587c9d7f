//! A copy of the whole catalogue in one file, made while others go on writing.

use std::fs::File;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::Catalogue;
use crate::open::{APPLICATION_ID, BUSY_TIMEOUT};
use crate::row::count;

/// Problems of a damaged file that are told.
const PROBLEMS_MAX: i64 = 5;

/// What lies in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// The revision of the catalogue at that moment.
    pub revision: u64,
    /// Datasets.
    pub datasets: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Why a backup was not made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The catalogue has no file.
    #[error("there is no catalogue to back up: `domicile apply` makes one, `--catalogue` names another")]
    NoCatalogue,
    /// The database refused.
    #[error("the catalogue could not be copied: {0}")]
    Database(#[from] sqlx::Error),
    /// The file could not be written.
    #[error("the backup `{path}` could not be written: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// What was written is not whole.
    #[error(
        "the backup is not whole, so that it was thrown away; the catalogue itself may be damaged: {problems}"
    )]
    Damaged {
        /// What SQLite found.
        problems: String,
    },
}

impl Catalogue {
    /// Writes the catalogue as it is at one moment to a file, which is checked before it gets its name. Whoever reads or
    /// writes the catalogue meanwhile is not held up. A file of that name is replaced.
    ///
    /// # Errors
    /// [`BackupError`]; the file of that name is as it was then.
    pub async fn back_up(&self, file: &Path) -> Result<Backup, BackupError> {
        let source = self.path().ok_or(BackupError::NoCatalogue)?;
        let io = |source| BackupError::Io {
            path: file.display().to_string(),
            source,
        };
        let unfinished = unfinished(file);
        remove(&unfinished).map_err(io)?;
        // A connection of its own: the others may not write at all, not even elsewhere.
        let options = SqliteConnectOptions::new()
            .filename(source)
            .busy_timeout(BUSY_TIMEOUT);
        let mut connection = options.connect().await?;
        let written = sqlx::query("VACUUM INTO ?").bind(unfinished.to_string_lossy());
        let written = written.execute(&mut connection).await.map(|_| ());
        connection.close().await?;
        let checked = match written {
            Ok(()) => check(&unfinished).await,
            Err(error) => Err(error.into()),
        };
        match checked {
            Ok(mut backup) => {
                backup.bytes = publish(&unfinished, file).map_err(io)?;
                Ok(backup)
            }
            Err(error) => {
                // It is of no use to anybody; what hinders removing it is not why the backup failed.
                let _ = remove(&unfinished);
                Err(error)
            }
        }
    }
}

fn unfinished(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

fn remove(file: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives a file its name once its bytes are on the disk, and says how many they are.
fn publish(unfinished: &Path, file: &Path) -> std::io::Result<u64> {
    let written = File::open(unfinished)?;
    written.sync_all()?;
    std::fs::rename(unfinished, file)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(written.metadata()?.len())
}

/// Reads a backup from end to end and compares what refers to each other.
async fn check(file: &Path) -> Result<Backup, BackupError> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = options.connect().await?;
    let mut problems: Vec<String> =
        sqlx::query_scalar("SELECT integrity_check FROM pragma_integrity_check LIMIT ?")
            .bind(PROBLEMS_MAX)
            .fetch_all(&mut connection)
            .await?;
    problems.retain(|problem| problem != "ok");
    let strays: i64 = number(&mut connection, "SELECT count(*) FROM pragma_foreign_key_check").await?;
    if strays > 0 {
        problems.push(format!("{strays} rows refer to others that are not there"));
    }
    if number(&mut connection, "PRAGMA application_id").await? != APPLICATION_ID {
        problems.push("it is not marked as a catalogue".to_owned());
    }
    if !problems.is_empty() {
        return Err(BackupError::Damaged {
            problems: problems.join("; "),
        });
    }
    let counted = |value: i64| count(value).unwrap_or_default();
    let backup = Backup {
        revision: counted(number(&mut connection, "SELECT revision FROM meta").await?),
        datasets: counted(number(&mut connection, "SELECT count(*) FROM datasets").await?),
        objects: counted(number(&mut connection, "SELECT count(*) FROM objects").await?),
        bytes: 0,
    };
    connection.close().await?;
    Ok(backup)
}

async fn number(connection: &mut SqliteConnection, sql: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(sql).fetch_one(connection).await
}
