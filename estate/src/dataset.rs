//! Datasets and their objects.

use crate::{BackendName, ByteCount, DatasetName, DomainName, Labels, ObjectKey};

/// A named set of objects, placed as one.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Its name in the estate.
    pub name: DatasetName,
    /// Its labels, which policies select by.
    pub labels: Labels,
    /// The owner.
    pub domain: DomainName,
    /// Its description for people and catalogues.
    pub record: FairRecord,
    /// Where it lies as the owner registered it.
    pub origin: Option<Origin>,
    /// Whether the origin must stay; `false` is the owner's release.
    pub keep_origin: bool,
}

/// Where a dataset lies as its owner registered it: in place, never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The backend.
    pub backend: BackendName,
    /// What every key of an object is prefixed with below the backend's root; empty, or ending with `/`.
    pub prefix: String,
}

/// The FAIR record of a dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FairRecord {
    /// Its title.
    pub title: String,
    /// What it is.
    pub description: String,
    /// Who made it.
    pub authors: Vec<String>,
    /// Its licence, best as an SPDX id.
    pub license: String,
    /// Words to find it by.
    pub keywords: Vec<String>,
    /// The format of its objects.
    pub format: String,
    /// A specification that it conforms to.
    pub conforms_to: String,
    /// Who may read it.
    pub access: Option<Access>,
}

/// Who may read a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Whoever was given access.
    Restricted,
    /// Nobody but the owner.
    Closed,
}

/// One object of a dataset, as the catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its path below the origin's prefix.
    pub key: ObjectKey,
    /// Its size.
    pub size: ByteCount,
    /// SHA-256 in lower case hexadecimal, once an inventory or a first reading brought it.
    pub sha256: Option<String>,
    /// BLAKE3 in lower case hexadecimal, once it was read.
    pub blake3: Option<String>,
}

/// What planning needs to know of a dataset's objects, without the objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatasetSummary {
    /// Sum of the sizes.
    pub bytes: ByteCount,
    /// Number of objects.
    pub objects: u64,
    /// For each minimum object size asked for, ascending: the sum over objects of max(size, minimum). It always
    /// has the entry for 0, which equals `bytes`.
    pub billable: Vec<(ByteCount, ByteCount)>,
}

impl DatasetSummary {
    /// Sums up object sizes for the minimum object sizes of an estate.
    #[must_use]
    pub fn of_sizes(sizes: impl Iterator<Item = ByteCount> + Clone, minimums: &[ByteCount]) -> Self {
        let mut minimums: Vec<_> = minimums.iter().copied().chain([ByteCount(0)]).collect();
        minimums.sort_unstable();
        minimums.dedup();
        let billable = minimums
            .into_iter()
            .map(|min| (min, ByteCount(sizes.clone().map(|size| size.0.max(min.0)).sum())))
            .collect();
        Self {
            bytes: ByteCount(sizes.clone().map(|size| size.0).sum()),
            objects: sizes.count() as u64,
            billable,
        }
    }

    /// Billable bytes on a backend that bills at least `minimum` per object. Exact for the minimums that the
    /// summary was made with; for another one, the bound `max(bytes, objects * minimum)` from below.
    #[must_use]
    pub fn billable(&self, minimum: ByteCount) -> ByteCount {
        self.billable.iter().find(|(min, _)| *min == minimum).map_or(
            ByteCount(self.bytes.0.max(self.objects.saturating_mul(minimum.0))),
            |(_, sum)| *sum,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_objects_are_billed_at_the_minimum() {
        let sizes = [0, 10, 100].map(ByteCount);
        let summary = DatasetSummary::of_sizes(sizes.iter().copied(), &[ByteCount(64)]);
        assert_eq!(summary.bytes, ByteCount(110));
        assert_eq!(summary.objects, 3);
        assert_eq!(summary.billable(ByteCount(0)), ByteCount(110));
        assert_eq!(summary.billable(ByteCount(64)), ByteCount(64 + 64 + 100));
    }
}
