//! Which copies are read back next, so that all of them are in time.

use std::cmp::Reverse;

use domicile_estate::{BackendName, DatasetName};

/// What reading one more object takes, in bytes that could be read meanwhile.
const BYTES_PER_OBJECT: u64 = 4096;

/// A copy that can be read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrubbable {
    /// The dataset.
    pub dataset: DatasetName,
    /// The backend.
    pub backend: BackendName,
    /// Whether it is the origin, which tells what the other copies are to be.
    pub origin: bool,
    /// Its bytes.
    pub bytes: u64,
    /// Its objects.
    pub objects: u64,
    /// Whether a round is under way.
    pub under_way: bool,
    /// When the last whole round ended, in milliseconds since 1970.
    pub ended_ms: Option<i64>,
}

impl Scrubbable {
    /// What reading it back takes.
    #[must_use]
    pub fn effort(&self) -> u64 {
        scrub_effort(self.bytes, self.objects)
    }

    /// Whether it is to be read again: a round is under way, or the last one ended too long ago.
    #[must_use]
    pub fn is_due(&self, now_ms: i64, period_ms: i64) -> bool {
        self.under_way
            || self
                .ended_ms
                .is_none_or(|ended| ended.saturating_add(period_ms) <= now_ms)
    }
}

/// What reading objects back takes, in bytes.
#[must_use]
pub fn scrub_effort(bytes: u64, objects: u64) -> u64 {
    bytes.saturating_add(objects.saturating_mul(BYTES_PER_OBJECT))
}

/// Puts copies in the order in which they are to be read: what is under way, what was never read, then what was read
/// longest ago; origins before copies, else by name. If every run reads some of the first ones and notes how far it came,
/// all are read before any is read again.
pub fn order_scrubs(copies: &mut [Scrubbable]) {
    copies.sort_by(|a, b| {
        let key = |copy: &Scrubbable| (Reverse(copy.under_way), copy.ended_ms, Reverse(copy.origin));
        key(a)
            .cmp(&key(b))
            .then_with(|| (&a.dataset, &a.backend).cmp(&(&b.dataset, &b.backend)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(dataset: &str, backend: &str, under_way: bool, ended_ms: Option<i64>) -> Scrubbable {
        Scrubbable {
            dataset: DatasetName::new(dataset).expect("a name"),
            backend: BackendName::new(backend).expect("a name"),
            origin: backend == "origin",
            bytes: 1,
            objects: 1,
            under_way,
            ended_ms,
        }
    }

    #[test]
    fn what_is_under_way_comes_first_then_what_nobody_has_read_then_the_oldest() {
        let mut all = [
            copy("d", "b", false, Some(20)),
            copy("c", "b", false, None),
            copy("d", "origin", false, Some(10)),
            copy("c", "origin", false, None),
            copy("e", "b", true, Some(30)),
        ];
        order_scrubs(&mut all);
        let names: Vec<_> = all
            .iter()
            .map(|c| (c.dataset.as_str(), c.backend.as_str()))
            .collect();
        assert_eq!(
            names,
            [
                ("e", "b"),
                ("c", "origin"),
                ("c", "b"),
                ("d", "origin"),
                ("d", "b")
            ]
        );
    }

    #[test]
    fn a_copy_is_due_until_it_was_read_within_the_period() {
        assert!(copy("d", "b", false, None).is_due(0, 100));
        assert!(!copy("d", "b", false, Some(50)).is_due(149, 100));
        assert!(copy("d", "b", false, Some(50)).is_due(150, 100));
        assert!(copy("d", "b", true, Some(50)).is_due(51, 100));
        assert!(!copy("d", "b", false, Some(i64::MAX)).is_due(0, i64::MAX));
    }
}
