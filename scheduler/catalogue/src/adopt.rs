//! Objects of which only copies tell: where a catalogue and an origin are lost, and the copies agree.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{BackendName, ByteCount, DatasetName, ObjectKey};

use crate::Catalogue;
use crate::copies::{Finding, Inspection};
use crate::error::CatalogueError;
use crate::inspected::record_all;
use crate::origin::ListedObject;
use crate::origin_rows::insert_objects;
use crate::row::{backend_id, dataset_id, raise_revision};

/// An object as copies have it, each of which was read from end to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptedObject {
    /// Its key.
    pub key: ObjectKey,
    /// Its size.
    pub size: ByteCount,
    /// BLAKE3 of its bytes, in hexadecimal.
    pub blake3: String,
    /// The copies that have these bytes, never the origin.
    pub holders: BTreeSet<BackendName>,
}

impl Catalogue {
    /// Registers objects that nobody had registered, with the bytes that copies have, and records those copies of them as
    /// verified: all or none of it.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`]; [`CatalogueError::Database`] if one of them was registered already.
    pub async fn adopt(
        &self,
        dataset: &DatasetName,
        objects: &[AdoptedObject],
        at_ms: i64,
    ) -> Result<(), CatalogueError> {
        if objects.is_empty() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        let id = dataset_id(&mut tx, dataset).await?;
        let listed: Vec<_> = objects.iter().map(AdoptedObject::listed).collect();
        insert_objects(&mut tx, id, &listed).await?;
        let mut numbers: BTreeMap<&BackendName, i64> = BTreeMap::new();
        let mut found = Vec::new();
        for object in objects {
            let select = sqlx::query_scalar("SELECT id FROM objects WHERE dataset_id = ? AND key = ?");
            let object_id: i64 = select
                .bind(id)
                .bind(object.key.as_str())
                .fetch_one(&mut *tx)
                .await?;
            for holder in &object.holders {
                if !numbers.contains_key(holder) {
                    let backend = backend_id(&mut tx, holder).await?;
                    let insert = sqlx::query(
                        "INSERT INTO copies (dataset_id, backend_id, begun) VALUES (?, ?, 1) ON CONFLICT DO NOTHING",
                    );
                    insert.bind(id).bind(backend).execute(&mut *tx).await?;
                    numbers.insert(holder, backend);
                }
                found.push(Inspection {
                    object_id,
                    backend: holder.clone(),
                    finding: Finding::Whole {
                        sha256: None,
                        blake3: object.blake3.clone(),
                    },
                    at_ms,
                });
            }
        }
        record_all(&mut tx, &found).await?;
        raise_revision(&mut tx).await?;
        Ok(tx.commit().await?)
    }
}

impl AdoptedObject {
    fn listed(&self) -> ListedObject {
        ListedObject {
            key: self.key.clone(),
            size: self.size,
            modified_ms: None,
        }
    }
}
