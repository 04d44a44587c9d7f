//! Single objects: pages of them, and where each lies.

use domicile_estate::{BackendName, ByteCount, DatasetName, Object, ObjectKey};
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::leases::Consignment;
use crate::row::{
    PlacedState, backend_name, bytes, dataset_id, from_json, hex, known_dataset_id, object_key,
};

/// An object with its number in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedObject {
    /// Its number in the catalogue.
    pub object_id: i64,
    /// The object.
    pub object: Object,
}

/// An object that is not known to be whole on some backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingObject {
    /// Its number in the catalogue.
    pub object_id: i64,
    /// Its key.
    pub key: ObjectKey,
    /// Its size.
    pub size: ByteCount,
    /// SHA-256 in lower case hexadecimal, if it is known.
    pub sha256: Option<String>,
    /// BLAKE3 in lower case hexadecimal, if it is known.
    pub blake3: Option<String>,
    /// When it was last written at the origin, in milliseconds since 1970, as it was registered.
    pub modified_ms: Option<i64>,
    /// Whether the catalogue records the object there as ours, so that wrong bytes may be replaced.
    pub ours_recorded: bool,
    /// Whether the last listing did not find it at the origin.
    pub gone_at_origin: bool,
    /// Whether the last listing found other bytes at the origin: it must not be read from there.
    pub changed_at_origin: bool,
}

/// An object of a dataset as a copy has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyObject {
    /// Its number in the catalogue.
    pub object_id: i64,
    /// The object.
    pub object: Object,
    /// Whether the catalogue records the object there as ours, so that it may be deleted with the copy. At an
    /// origin every object is.
    pub ours: bool,
    /// Whether it is recorded there as whole: then what has another size is not it.
    pub whole: bool,
}

/// Where an object lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    /// The object, with its digests.
    pub object: Object,
    /// What is known of it in each copy of its dataset, by backend.
    pub places: Vec<Place>,
}

/// One object in one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The backend.
    pub backend: BackendName,
    /// Whether the copy is the origin.
    pub origin: bool,
    /// Whether the copy's deletion has begun.
    pub retiring: bool,
    /// What is known.
    pub state: PlacedState,
    /// When that was found, in milliseconds since 1970; `None` if an inventory vouches for it or nobody looked.
    pub at_ms: Option<i64>,
    /// Why it counts as damaged.
    pub reason: Option<String>,
}

#[derive(sqlx::FromRow)]
struct ObjectRow {
    id: i64,
    key: String,
    size: i64,
    sha256: Option<Vec<u8>>,
    blake3: Option<Vec<u8>>,
}

impl TryFrom<ObjectRow> for NumberedObject {
    type Error = CatalogueError;

    fn try_from(row: ObjectRow) -> Result<Self, CatalogueError> {
        let object = Object {
            key: object_key(&row.key)?,
            size: bytes(row.size)?,
            sha256: row.sha256.as_deref().map(hex),
            blake3: row.blake3.as_deref().map(hex),
        };
        Ok(Self {
            object_id: row.id,
            object,
        })
    }
}

#[derive(sqlx::FromRow)]
struct CopyObjectRow {
    #[sqlx(flatten)]
    object: ObjectRow,
    ours: bool,
    whole: bool,
}

impl TryFrom<CopyObjectRow> for CopyObject {
    type Error = CatalogueError;

    fn try_from(row: CopyObjectRow) -> Result<Self, CatalogueError> {
        let NumberedObject { object_id, object } = row.object.try_into()?;
        Ok(Self {
            object_id,
            object,
            ours: row.ours,
            whole: row.whole,
        })
    }
}

/// Number, key, size, SHA-256 and BLAKE3 in hexadecimal, when it was written, and whether it is ours, gone, and changed.
type PendingRow = (
    i64,
    String,
    i64,
    Option<String>,
    Option<String>,
    Option<i64>,
    i64,
    i64,
    i64,
);

fn pending(row: PendingRow) -> Result<PendingObject, CatalogueError> {
    let (object_id, key, size, sha256, blake3, modified_ms, ours, gone, changed) = row;
    Ok(PendingObject {
        object_id,
        key: object_key(&key)?,
        size: bytes(size)?,
        sha256,
        blake3,
        modified_ms,
        ours_recorded: ours != 0,
        gone_at_origin: gone != 0,
        changed_at_origin: changed != 0,
    })
}

/// Number, key, size, and SHA-256 and BLAKE3 in hexadecimal.
type ObjectTexts = (i64, String, i64, Option<String>, Option<String>);

fn numbered((object_id, key, size, sha256, blake3): ObjectTexts) -> Result<NumberedObject, CatalogueError> {
    let object = Object {
        key: object_key(&key)?,
        size: bytes(size)?,
        sha256,
        blake3,
    };
    Ok(NumberedObject { object_id, object })
}

/// Objects of dataset ?1 after key ?2, ?3 at most, as one JSON text: to hand over rows one at a time costs more than to read
/// them.
const SELECT_OBJECTS: &str = "
    SELECT json_group_array(json_array(id, key, size, iif(sha256 IS NULL, NULL, lower(hex(sha256))),
                                       iif(blake3 IS NULL, NULL, lower(hex(blake3)))) ORDER BY key)
    FROM (SELECT id, key, size, sha256, blake3 FROM objects WHERE dataset_id = ?1 AND key > ?2 ORDER BY key LIMIT ?3)";

/// Every object of dataset ?1 after key ?3 with whether it is ours on backend ?2, ?4 at most. What is gone (3) is not:
/// if something lies there again, somebody else put it there.
const SELECT_COPY: &str = "
    SELECT o.id, o.key, o.size, o.sha256, o.blake3,
           coalesce(c.origin, 0) OR coalesce(p.state <> 3, o.id <= coalesce(c.trusted_through, 0)) AS ours,
           coalesce(p.state = 1, o.id <= coalesce(c.trusted_through, 0)) AS whole
    FROM objects o
    LEFT JOIN copies c ON c.dataset_id = o.dataset_id AND c.backend_id = ?2
    LEFT JOIN placed p ON p.dataset_id = o.dataset_id AND p.backend_id = ?2 AND p.object_id = o.id
    WHERE o.dataset_id = ?1 AND o.key > ?3
    ORDER BY o.key LIMIT ?4";

/// Objects of dataset ?1 after key ?3 that copy ?2 is not known to hold whole, ?4 at most, as one JSON text.
const SELECT_MISSING: &str = "
    SELECT json_group_array(json_array(id, key, size, iif(sha256 IS NULL, NULL, lower(hex(sha256))),
                                       iif(blake3 IS NULL, NULL, lower(hex(blake3))), modified_ms, ours, gone, changed)
                            ORDER BY key)
    FROM (
        SELECT o.id, o.key, o.size, o.sha256, o.blake3, o.modified_ms,
               coalesce(p.state <> 3, o.id <= coalesce(c.trusted_through, 0)) AS ours,
               EXISTS (SELECT 1 FROM findings f
                       WHERE f.dataset_id = o.dataset_id AND f.kind = 'Gone' AND f.key = o.key) AS gone,
               EXISTS (SELECT 1 FROM findings f
                       WHERE f.dataset_id = o.dataset_id AND f.kind = 'Changed' AND f.key = o.key) AS changed
        FROM objects o
        LEFT JOIN copies c ON c.dataset_id = o.dataset_id AND c.backend_id = ?2
        LEFT JOIN placed p ON p.dataset_id = o.dataset_id AND p.backend_id = ?2 AND p.object_id = o.id
        WHERE o.dataset_id = ?1 AND o.key > ?3
          AND coalesce(p.state, o.id <= coalesce(c.trusted_through, 0)) <> 1
          AND (?5 IS NULL OR o.key <= ?5)
        ORDER BY o.key LIMIT ?4)";

/// Asks for what a copy, by the numbers of its dataset and backend, is missing: from a key, to a key, so many at most.
async fn missing(
    connection: &mut SqliteConnection,
    select: String,
    (dataset, backend): (i64, Option<i64>),
    (from, to, limit): (&str, Option<&str>, u32),
) -> Result<Vec<PendingObject>, CatalogueError> {
    let select = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(select));
    let select = select.bind(dataset).bind(backend).bind(from).bind(limit).bind(to);
    let rows: Vec<PendingRow> = from_json(&select.fetch_one(connection).await?)?;
    rows.into_iter().map(pending).collect()
}

impl Catalogue {
    /// Objects of a dataset by key, after a key, at most `limit`. A page that is not full is the last.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`], or what the database says.
    pub async fn objects(
        &self,
        dataset: &DatasetName,
        after: Option<&ObjectKey>,
        limit: u32,
    ) -> Result<Vec<NumberedObject>, CatalogueError> {
        let mut tx = self.read().await?;
        let id = dataset_id(&mut tx, dataset).await?;
        let select = sqlx::query_scalar::<_, String>(SELECT_OBJECTS);
        let select = select.bind(id).bind(after_text(after)).bind(limit);
        let rows: Vec<ObjectTexts> = from_json(&select.fetch_one(&mut *tx).await?)?;
        rows.into_iter().map(numbered).collect()
    }

    /// Objects of a dataset that a backend is not known to hold whole, by key, after a key, at most `limit`. A
    /// page that is not full is the last.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`], or what the database says.
    pub async fn objects_missing_on(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
        after: Option<&ObjectKey>,
        limit: u32,
    ) -> Result<Vec<PendingObject>, CatalogueError> {
        let mut tx = self.read().await?;
        let id = dataset_id(&mut tx, dataset).await?;
        let backend = crate::row::known_backend_id(&mut tx, backend).await?;
        let page = (after_text(after), None, limit);
        missing(&mut tx, SELECT_MISSING.to_owned(), (id, backend), page).await
    }

    /// The objects of a consignment that its target is not known to hold whole, by key, at most `limit`.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`], or what the database says.
    pub async fn objects_consigned(
        &self,
        consignment: &Consignment,
        limit: u32,
    ) -> Result<Vec<PendingObject>, CatalogueError> {
        let mut tx = self.read().await?;
        let id = dataset_id(&mut tx, &consignment.dataset).await?;
        let backend = crate::row::known_backend_id(&mut tx, &consignment.target).await?;
        // The first key itself is one of them.
        let select = SELECT_MISSING.replace("o.key > ?3", "o.key >= ?3");
        let page = (consignment.first.as_str(), Some(consignment.last.as_str()), limit);
        missing(&mut tx, select, (id, backend), page).await
    }

    /// Every object of a dataset by key, after a key, at most `limit`, with whether what lies on a backend under its
    /// key is ours. A page that is not full is the last.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`], or what the database says.
    pub async fn objects_of_copy(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
        after: Option<&ObjectKey>,
        limit: u32,
    ) -> Result<Vec<CopyObject>, CatalogueError> {
        let mut tx = self.read().await?;
        let id = dataset_id(&mut tx, dataset).await?;
        let backend = crate::row::known_backend_id(&mut tx, backend).await?;
        let select = sqlx::query_as::<_, CopyObjectRow>(SELECT_COPY);
        let select = select.bind(id).bind(backend).bind(after_text(after)).bind(limit);
        select
            .fetch_all(&mut *tx)
            .await?
            .into_iter()
            .map(CopyObject::try_from)
            .collect()
    }

    /// Where an object lies, or `None` if the dataset or the object is not known.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn where_is(
        &self,
        dataset: &DatasetName,
        key: &ObjectKey,
    ) -> Result<Option<Whereabouts>, CatalogueError> {
        let mut tx = self.read().await?;
        let Some(dataset) = known_dataset_id(&mut tx, dataset).await? else {
            return Ok(None);
        };
        let select = sqlx::query_as::<_, ObjectRow>(
            "SELECT id, key, size, sha256, blake3 FROM objects WHERE dataset_id = ? AND key = ?",
        );
        let row = select
            .bind(dataset)
            .bind(key.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let NumberedObject { object_id, object } = row.try_into()?;
        let places = places(&mut tx, dataset, object_id).await?;
        Ok(Some(Whereabouts { object, places }))
    }

    /// The number of objects of a dataset.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn object_count(&self, dataset: &DatasetName) -> Result<u64, CatalogueError> {
        let mut tx = self.read().await?;
        let id = dataset_id(&mut tx, dataset).await?;
        let select = sqlx::query_scalar("SELECT objects FROM datasets WHERE id = ?");
        crate::row::count(select.bind(id).fetch_one(&mut *tx).await?)
    }
}

/// No key is empty, so every key is after the empty text.
pub(crate) fn after_text(after: Option<&ObjectKey>) -> &str {
    after.map_or("", ObjectKey::as_str)
}

#[derive(sqlx::FromRow)]
struct PlaceRow {
    backend: String,
    origin: bool,
    retiring: bool,
    trusted: bool,
    state: Option<i64>,
    at_ms: Option<i64>,
    reason: Option<String>,
}

async fn places(
    connection: &mut SqliteConnection,
    dataset: i64,
    object: i64,
) -> Result<Vec<Place>, CatalogueError> {
    let select = sqlx::query_as::<_, PlaceRow>(
        "SELECT b.name AS backend, c.origin, c.retiring, c.trusted_through >= ?2 AS trusted, p.state, p.at_ms,
                p.reason
         FROM copies c JOIN backends b ON b.id = c.backend_id
         LEFT JOIN placed p ON p.dataset_id = c.dataset_id AND p.backend_id = c.backend_id AND p.object_id = ?2
         WHERE c.dataset_id = ?1 ORDER BY b.name",
    );
    let rows = select.bind(dataset).bind(object).fetch_all(connection).await?;
    let place = |row: PlaceRow| -> Result<Place, CatalogueError> {
        let state = match (
            row.state.map(PlacedState::try_from).transpose()?,
            row.trusted,
            row.origin,
        ) {
            (Some(PlacedState::Unknown), _, true) | (None, false, true) => PlacedState::Listed,
            (Some(state), _, _) => state,
            (None, true, _) => PlacedState::Verified,
            (None, false, false) => PlacedState::Unknown,
        };
        Ok(Place {
            backend: backend_name(&row.backend)?,
            origin: row.origin,
            retiring: row.retiring,
            state,
            at_ms: row.at_ms,
            reason: row.reason,
        })
    };
    rows.into_iter().map(place).collect()
}
