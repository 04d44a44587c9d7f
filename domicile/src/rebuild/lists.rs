//! What the lists of digests say that lie beside copies: which bytes are right, when no catalogue and no origin tells.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{BackendName, DatasetName, ObjectKey};
use domicile_movers::{DigestList, Failure, LIST_BYTES_MAX, Place, list_path};

use crate::carry::Carrier;

/// What the lists of one dataset say, on all backends together: where old and new ones lie, an object may have two digests.
#[derive(Debug, Default)]
pub struct Lists {
    digests: BTreeMap<ObjectKey, BTreeSet<String>>,
    /// Lists that could not be read, with the reason.
    pub unread: Vec<Failure>,
    /// Lists that do not prove themselves, which count for nothing.
    pub damaged: Vec<(BackendName, String)>,
}

impl Lists {
    /// Reads the lists of a dataset, each of which is called by a digest.
    pub async fn read(carrier: &Carrier, dataset: &DatasetName, found: &[(BackendName, String)]) -> Self {
        let mut lists = Self::default();
        for (backend, blake3) in found {
            match lists.read_one(carrier, (dataset, backend), blake3).await {
                Ok(true) => {}
                Ok(false) => lists.damaged.push((backend.clone(), blake3.clone())),
                Err(failure) => lists.unread.push(failure),
            }
        }
        lists
    }

    /// Takes in a list; whether it proves itself.
    async fn read_one(
        &mut self,
        carrier: &Carrier,
        (dataset, backend): (&DatasetName, &BackendName),
        blake3: &str,
    ) -> Result<bool, Failure> {
        let place = Place {
            backend: backend.clone(),
            path: list_path(dataset, blake3),
        };
        // Bits may turn on the way, so it is read once more.
        for _ in 0..2 {
            let note = carrier
                .worker
                .note(&place, LIST_BYTES_MAX, &carrier.cancel)
                .await?;
            if let Some(list) = DigestList::proven(blake3, note.bytes) {
                for (key, digest) in list.entries() {
                    self.digests.entry(key).or_default().insert(digest.to_owned());
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether any list names the object.
    pub fn names(&self, key: &ObjectKey) -> bool {
        self.digests.contains_key(key)
    }

    /// Whether a list says that the object has these bytes.
    pub fn prove(&self, key: &ObjectKey, blake3: &str) -> bool {
        self.digests
            .get(key)
            .is_some_and(|digests| digests.contains(blake3))
    }

    /// The objects that lists name.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.digests.keys()
    }
}
