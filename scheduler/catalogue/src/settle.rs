//! The end of an import: origins and copies of the datasets that it named.

use domicile_estate::{BackendName, DatasetName};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::dataset::origin_row;
use crate::error::{CatalogueError, ImportError};
use crate::import::{Import, Importing, ROWS_MAX};
use crate::row::stored;

/// A copy of a dataset that was not registered before.
#[derive(Debug)]
pub(crate) struct NewCopy {
    pub dataset: i64,
    pub backend: i64,
    /// It is the first place that the inventory names.
    pub origin: bool,
    /// Objects of the dataset.
    pub objects: u64,
    /// Bytes of the dataset.
    pub bytes: u64,
}

impl Import {
    /// Where an inventory says that a dataset lies, the origin first.
    pub(crate) fn places(&self, replicas: &[BackendName]) -> Vec<BackendName> {
        let mut places: Vec<BackendName> = self.options.backend.iter().cloned().collect();
        for replica in replicas {
            if !places.contains(replica) {
                places.push(replica.clone());
            }
        }
        places
    }

    /// Records copies of datasets that were not registered before. Nothing of them was there, so that the sums of the
    /// rows are what a trusted inventory vouches for.
    pub(crate) async fn insert_copies(
        &mut self,
        copies: &[NewCopy],
        through: i64,
    ) -> Result<(), ImportError> {
        if copies.is_empty() {
            return Ok(());
        }
        let mut values = Vec::with_capacity(copies.len());
        for copy in copies {
            let objects = stored(copy.objects, "a number of objects")?;
            let bytes = stored(copy.bytes, "a dataset's size")?;
            let counts = if self.options.trust {
                (through, objects, bytes)
            } else {
                (0, 0, 0)
            };
            values.push((copy, counts));
        }
        for chunk in values.chunks(ROWS_MAX) {
            let mut insert = QueryBuilder::<Sqlite>::new(
                "INSERT INTO copies
                 (dataset_id, backend_id, origin, trusted_through, verified_objects, verified_bytes) ",
            );
            insert.push_values(chunk, |mut row, (copy, (through, objects, bytes))| {
                row.push_bind(copy.dataset)
                    .push_bind(copy.backend)
                    .push_bind(copy.origin);
                row.push_bind(*through).push_bind(*objects).push_bind(*bytes);
            });
            insert.build().execute(&mut *self.tx).await?;
        }
        self.summary.copies_added += copies.len() as u64;
        Ok(())
    }

    /// Records origin and copies of a dataset that was registered before; says whether anything changed.
    pub(crate) async fn settle(
        &mut self,
        name: &DatasetName,
        importing: &Importing,
    ) -> Result<bool, ImportError> {
        let mut places = self.places(&importing.replicas);
        let mut changed = false;
        let mut origin = None;
        if let Some(first) = places.first().cloned() {
            match self.settle_origin(name, importing, &first).await? {
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
            let insert = sqlx::query(
                "INSERT INTO copies (dataset_id, backend_id, origin) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            );
            let insert = insert
                .bind(importing.id)
                .bind(backend)
                .bind(origin == Some(backend));
            let added = insert.execute(&mut *self.tx).await?.rows_affected();
            self.summary.copies_added += added;
            changed |= added > 0;
            if self.options.trust {
                let listed = self.listed.get(&importing.id).map_or(&[][..], Vec::as_slice);
                changed |= vouch(&mut self.tx, importing.id, listed, backend).await?;
            }
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
        let Some(row) = origin_row(&mut self.tx, name).await? else {
            return Ok(Origin::Nowhere);
        };
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
        let update = sqlx::query("UPDATE datasets SET origin_backend_id = ?, origin_prefix = ? WHERE id = ?");
        let update = update
            .bind(backend)
            .bind(&self.options.origin_prefix)
            .bind(importing.id);
        update.execute(&mut *self.tx).await?;
        Ok(Origin::Is(backend, true))
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

/// Takes the listed objects of a copy that was known before as verified, except those of which more is known; says
/// whether that changed anything.
async fn vouch(
    connection: &mut SqliteConnection,
    dataset: i64,
    listed: &[i64],
    backend: i64,
) -> Result<bool, CatalogueError> {
    let mut vouched = 0;
    for object in listed {
        let insert = sqlx::query(
            "INSERT INTO placed (dataset_id, backend_id, object_id, state)
             SELECT c.dataset_id, c.backend_id, ?3, 1 FROM copies c
             WHERE c.dataset_id = ?1 AND c.backend_id = ?2 AND c.retiring = 0 AND c.trusted_through < ?3
             ON CONFLICT DO NOTHING",
        );
        let insert = insert.bind(dataset).bind(backend).bind(object);
        vouched += insert.execute(&mut *connection).await?.rows_affected();
    }
    Ok(vouched > 0)
}
