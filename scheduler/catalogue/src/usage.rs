//! What each backend holds, for `backend usage`.

use std::collections::BTreeMap;

use domicile_estate::{BackendName, ByteCount, CopyState};

use crate::Catalogue;
use crate::error::CatalogueError;

/// The copies of one state on a backend, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateUsage {
    /// Number of copies.
    pub copies: u64,
    /// Objects of their datasets.
    pub objects: u64,
    /// Bytes of their datasets.
    pub bytes: ByteCount,
    /// Of those objects, the ones not known to be there whole.
    pub missing_objects: u64,
    /// Bytes of those.
    pub missing_bytes: ByteCount,
}

/// What each backend holds, by the state of the copies.
pub type Usage = BTreeMap<BackendName, BTreeMap<CopyState, StateUsage>>;

impl Catalogue {
    /// What each backend holds.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn usage(&self) -> Result<Usage, CatalogueError> {
        let mut usage = Usage::new();
        for dataset in self.observed(&[]).await?.datasets.into_values() {
            for copy in dataset.copies {
                let sum = usage
                    .entry(copy.backend)
                    .or_default()
                    .entry(copy.state)
                    .or_default();
                sum.copies += 1;
                sum.objects += dataset.summary.objects;
                sum.bytes.0 += dataset.summary.bytes.0;
                sum.missing_objects += copy.missing_objects;
                sum.missing_bytes.0 += copy.missing_bytes.0;
            }
        }
        Ok(usage)
    }
}
