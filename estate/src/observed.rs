//! What we know of the world at one moment: the catalogue's view, which planning starts from.

use std::collections::{BTreeMap, BTreeSet};

use crate::{BackendName, Copy, CopyState, DatasetName, DatasetSummary};

/// What is known at one revision of the catalogue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// The catalogue's revision; it rises with every change that planning can see.
    pub revision: u64,
    /// What is known of each dataset that the catalogue has registered.
    pub datasets: BTreeMap<DatasetName, ObservedDataset>,
    /// Backends whose last probe or move failed, with the reason.
    pub unreachable: BTreeMap<BackendName, String>,
    /// Backends cordoned by command, apart from their manifest.
    pub cordoned: BTreeSet<BackendName>,
    /// Backends drained by command, apart from their manifest.
    pub draining: BTreeSet<BackendName>,
}

/// What is known of one dataset.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservedDataset {
    /// Sizes summed up.
    pub summary: DatasetSummary,
    /// Its copies, one for each backend, in the order of the backends' names.
    pub copies: Vec<Copy>,
    /// What was found at the origin that a person should know.
    pub findings: Vec<OriginFinding>,
}

impl ObservedDataset {
    /// Backends that are known to hold something of the dataset: not a copy that was begun and has nothing yet, nor
    /// one that an inventory only tells of, nor one that is being deleted.
    pub fn holders(&self) -> impl Iterator<Item = &Copy> {
        let objects = self.summary.objects;
        self.copies.iter().filter(move |copy| match copy.state {
            CopyState::Unknown | CopyState::Retiring => false,
            CopyState::Incomplete => copy.missing_objects < objects,
            CopyState::Listed | CopyState::Verified | CopyState::Damaged => objects > 0,
        })
    }

    /// The copy on a backend, if one is known.
    #[must_use]
    pub fn copy_on(&self, backend: &str) -> Option<&Copy> {
        self.copies.iter().find(|copy| copy.backend.as_str() == backend)
    }
}

/// Something found at an origin that is reported and not acted on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OriginFinding {
    /// An object is no longer there.
    Gone {
        /// Its key.
        key: String,
    },
    /// An object has another size or time than was registered.
    Changed {
        /// Its key.
        key: String,
    },
    /// A name that no backend could hold byte for byte; it is not registered.
    RefusedKey {
        /// The name, control characters escaped.
        key: String,
        /// Why.
        reason: String,
    },
    /// A symbolic link or another thing that is no plain file; it is not followed.
    NotAFile {
        /// Its path.
        key: String,
    },
}
