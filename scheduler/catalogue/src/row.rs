//! Between rows and the nouns of the estate: names, numbers, digests, states.

use domicile_estate::{BackendName, ByteCount, DatasetName, DomainName, ObjectKey};
use sqlx::SqliteConnection;

use crate::error::CatalogueError;

/// What is known of one object in one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlacedState {
    /// Nobody has looked, or what was known no longer holds.
    Unknown,
    /// It was read back and matches.
    Verified,
    /// It was read back and does not match.
    Damaged,
    /// It is no longer there.
    Gone,
    /// It lies at the origin as listed; it was not read yet.
    Listed,
}

impl PlacedState {
    /// The number in the table `placed`. `Listed` is never stored: it is what an origin has without a row.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Unknown | Self::Listed => 0,
            Self::Verified => 1,
            Self::Damaged => 2,
            Self::Gone => 3,
        }
    }
}

impl TryFrom<i64> for PlacedState {
    type Error = CatalogueError;

    fn try_from(code: i64) -> Result<Self, CatalogueError> {
        match code {
            0 => Ok(Self::Unknown),
            1 => Ok(Self::Verified),
            2 => Ok(Self::Damaged),
            3 => Ok(Self::Gone),
            _ => Err(corrupt(format!("state {code} of an object"))),
        }
    }
}

pub(crate) fn corrupt(what: impl Into<String>) -> CatalogueError {
    CatalogueError::Corrupt { what: what.into() }
}

pub(crate) fn stored(value: u64, what: &'static str) -> Result<i64, CatalogueError> {
    i64::try_from(value).map_err(|_| CatalogueError::TooLarge { what })
}

pub(crate) fn count(value: i64) -> Result<u64, CatalogueError> {
    u64::try_from(value).map_err(|_| corrupt(format!("a count or size of {value}")))
}

pub(crate) fn bytes(value: i64) -> Result<ByteCount, CatalogueError> {
    count(value).map(ByteCount)
}

pub(crate) fn backend_name(text: &str) -> Result<BackendName, CatalogueError> {
    BackendName::new(text).map_err(|error| corrupt(format!("a backend's name: {error}")))
}

pub(crate) fn dataset_name(text: &str) -> Result<DatasetName, CatalogueError> {
    DatasetName::new(text).map_err(|error| corrupt(format!("a dataset's name: {error}")))
}

pub(crate) fn domain_name(text: &str) -> Result<DomainName, CatalogueError> {
    DomainName::new(text).map_err(|error| corrupt(format!("a domain's name: {error}")))
}

pub(crate) fn object_key(text: &str) -> Result<ObjectKey, CatalogueError> {
    ObjectKey::new(text).map_err(|error| corrupt(format!("a key: {error}")))
}

pub(crate) fn hex(digest: &[u8]) -> String {
    use std::fmt::Write;
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Rows for a statement that takes any number of them at once, through `json_each`.
pub(crate) fn json_rows(rows: impl Iterator<Item = serde_json::Value>) -> String {
    serde_json::Value::Array(rows.collect()).to_string()
}

/// Rows that a statement gave at once, as one array of arrays.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<Vec<T>, CatalogueError> {
    serde_json::from_str(text).map_err(|error| corrupt(format!("rows: {error}")))
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn no_digest(text: &str) -> CatalogueError {
    CatalogueError::NotADigest {
        text: text.escape_debug().to_string(),
    }
}

/// A digest in lower case hexadecimal.
pub(crate) fn digest(text: &str) -> Result<String, CatalogueError> {
    match is_digest(text) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(no_digest(text)),
    }
}

pub(crate) fn unhex(text: &str) -> Result<[u8; 32], CatalogueError> {
    let malformed = || no_digest(text);
    let mut digest = [0; 32];
    if !is_digest(text) {
        return Err(malformed());
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| malformed())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| malformed())?;
    }
    Ok(digest)
}

/// Milliseconds since 1970 in UTC.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since
        .ok()
        .and_then(|d| i64::try_from(d.as_millis()).ok())
        .unwrap_or(0)
}

/// The number of a backend, which it gets at its first mention.
pub(crate) async fn backend_id(
    connection: &mut SqliteConnection,
    backend: &BackendName,
) -> Result<i64, CatalogueError> {
    if let Some(id) = known_backend_id(connection, backend).await? {
        return Ok(id);
    }
    let insert = sqlx::query_scalar("INSERT INTO backends (name) VALUES (?) RETURNING id");
    Ok(insert.bind(backend.as_str()).fetch_one(connection).await?)
}

/// The number of a backend, if it was ever mentioned.
pub(crate) async fn known_backend_id(
    connection: &mut SqliteConnection,
    backend: &BackendName,
) -> Result<Option<i64>, CatalogueError> {
    let select = sqlx::query_scalar("SELECT id FROM backends WHERE name = ?");
    Ok(select.bind(backend.as_str()).fetch_optional(connection).await?)
}

pub(crate) async fn known_dataset_id(
    connection: &mut SqliteConnection,
    dataset: &DatasetName,
) -> Result<Option<i64>, CatalogueError> {
    let select = sqlx::query_scalar("SELECT id FROM datasets WHERE name = ?");
    Ok(select.bind(dataset.as_str()).fetch_optional(connection).await?)
}

pub(crate) async fn dataset_id(
    connection: &mut SqliteConnection,
    dataset: &DatasetName,
) -> Result<i64, CatalogueError> {
    known_dataset_id(connection, dataset)
        .await?
        .ok_or_else(|| CatalogueError::UnknownDataset {
            dataset: dataset.clone(),
        })
}

/// Raises the revision: planning would see something else now.
pub(crate) async fn raise_revision(connection: &mut SqliteConnection) -> Result<(), CatalogueError> {
    sqlx::query("UPDATE meta SET revision = revision + 1")
        .execute(connection)
        .await?;
    Ok(())
}
