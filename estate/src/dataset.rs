//! Datasets and their objects.

use std::sync::Arc;

use crate::{BackendName, ByteCount, DatasetName, DomainName, Labels, ObjectKey};

/// A named set of objects, placed as one.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Its name in the estate.
    pub name: DatasetName,
    /// Its labels, which policies select by. Millions of datasets share few sets of them.
    pub labels: Arc<Labels>,
    /// The owner.
    pub domain: DomainName,
    /// Its description for people and catalogues; an inventory brings none.
    pub record: Arc<FairRecord>,
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
    /// For minimum object sizes asked for, ascending: the sum over objects of max(size, minimum). Only where it is
    /// more than `max(bytes, objects * minimum)`, as it is where some objects are smaller than the minimum and some
    /// larger: a million datasets of one object each have nothing here.
    pub billable: Vec<(ByteCount, ByteCount)>,
}

impl DatasetSummary {
    /// Sums up object sizes for the minimum object sizes of an estate.
    #[must_use]
    pub fn of_sizes(sizes: impl Iterator<Item = ByteCount> + Clone, minimums: &[ByteCount]) -> Self {
        let mut minimums = minimums.to_vec();
        minimums.sort_unstable();
        minimums.dedup();
        let billable = minimums.into_iter().map(|min| {
            let sum = sizes.clone().map(|size| size.0.max(min.0)).sum();
            (min, ByteCount(sum))
        });
        let bytes = ByteCount(sizes.clone().map(|size| size.0).sum());
        Self::of_sums(bytes, sizes.clone().count() as u64, billable)
    }

    /// A summary of sums: bytes, objects and, for each minimum object size, ascending, what is billable.
    #[must_use]
    pub fn of_sums(
        bytes: ByteCount,
        objects: u64,
        billable: impl Iterator<Item = (ByteCount, ByteCount)>,
    ) -> Self {
        let mut summary = Self {
            bytes,
            objects,
            billable: Vec::new(),
        };
        let beyond: Vec<_> = billable
            .filter(|(minimum, sum)| *sum != summary.least_billable(*minimum))
            .collect();
        summary.billable = beyond;
        summary
    }

    /// Billable bytes on a backend that bills at least `minimum` per object. Exact for the minimums that the
    /// summary was made with; for another one, the bound `max(bytes, objects * minimum)` from below.
    #[must_use]
    pub fn billable(&self, minimum: ByteCount) -> ByteCount {
        let known = self.billable.iter().find(|(min, _)| *min == minimum);
        known.map_or_else(|| self.least_billable(minimum), |(_, sum)| *sum)
    }

    /// What is billable where all objects are smaller than the minimum, or none is; never more than what is.
    fn least_billable(&self, minimum: ByteCount) -> ByteCount {
        ByteCount(self.bytes.0.max(self.objects.saturating_mul(minimum.0)))
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

    #[test]
    fn what_follows_from_bytes_and_objects_is_not_kept() {
        let minimums = [0, 5, 64, 1000].map(ByteCount);
        let summary = DatasetSummary::of_sizes([10, 100].map(ByteCount).into_iter(), &minimums);
        assert_eq!(summary.billable, [(ByteCount(64), ByteCount(164))]);
        for (minimum, sum) in [(0, 110), (5, 110), (64, 164), (1000, 2000)] {
            assert_eq!(summary.billable(ByteCount(minimum)), ByteCount(sum), "{minimum}");
        }
    }
}
