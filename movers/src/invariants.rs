//! The invariants of moving (MV-1 to MV-5), by name: one predicate each, used by property tests, the simulator
//! and the running system's counters.

use std::collections::BTreeSet;

use domicile_estate::BackendName;

use crate::Seen;

/// MV-1: an object is visible under its name only when complete and verified: what is visible is what was there
/// before the transfer, or the whole object whose source was checked; nothing in between.
#[must_use]
pub fn mv1_visible_is_complete(visible: Option<&Seen>, before: Option<&Seen>, object: &Seen) -> bool {
    match visible {
        None => true,
        Some(now) => now.same_bytes(object) || before.is_some_and(|then| now.same_bytes(then)),
    }
}

/// Something that a transfer did at its target, for [`mv2_read_back_before_receipt`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetEvent {
    /// The object under the name was written, replaced or removed.
    Changed,
    /// It was read from end to end.
    ReadBack(Seen),
}

/// MV-2: a copy is recorded as verified only after its bytes were read back from the backend and matched: since
/// the last change of the target there was a reading, and the last one saw the recorded bytes.
#[must_use]
pub fn mv2_read_back_before_receipt(events: &[TargetEvent], recorded: &Seen) -> bool {
    matches!(events.last(), Some(TargetEvent::ReadBack(seen)) if seen.same_bytes(recorded))
}

/// What can be seen of a target once nobody works on it and leftovers are swept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndState {
    /// The object under its name.
    pub visible: Option<Seen>,
    /// Temporary objects that are left.
    pub temporary: u64,
}

/// MV-3: carrying out a move twice, or crashing anywhere in it, ends in the same state as once.
#[must_use]
pub fn mv3_same_end(once: &EndState, interrupted: &EndState) -> bool {
    once == interrupted
}

/// What a deletion of one copy would change, for [`mv4_deletion_is_safe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// Copies missing over all requirements before, counting verified copies alone.
    pub missing_before: u64,
    /// The same, afterwards.
    pub missing_after: u64,
    /// Verified copies that stay.
    pub verified_left: u64,
    /// Whether it is an origin whose owner has not released it.
    pub unreleased_origin: bool,
}

/// MV-4: no deletion leaves a requirement less met by verified copies than its policies demand, or than it was;
/// never the last verified copy, never an unreleased origin.
#[must_use]
pub fn mv4_deletion_is_safe(deletion: &Deletion) -> bool {
    !deletion.unreleased_origin
        && deletion.verified_left > 0
        && deletion.missing_after <= deletion.missing_before
}

/// MV-5: no byte is written to, or relayed through, a place that a confinement forbids: each place that bytes
/// are written to on the way is admissible.
#[must_use]
pub fn mv5_written_places_are_allowed<'a>(
    mut written: impl Iterator<Item = &'a BackendName>,
    admissible: &BTreeSet<BackendName>,
) -> bool {
    written.all(|place| admissible.contains(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(blake3: &str) -> Seen {
        Seen {
            size: 1,
            sha256: None,
            blake3: blake3.to_owned(),
        }
    }

    #[test]
    fn mv1_refuses_what_is_neither_old_nor_whole() {
        let (old, new, part) = (seen("old"), seen("new"), seen("part"));
        assert!(mv1_visible_is_complete(None, None, &new));
        assert!(mv1_visible_is_complete(Some(&new), None, &new));
        assert!(mv1_visible_is_complete(Some(&old), Some(&old), &new));
        assert!(!mv1_visible_is_complete(Some(&part), Some(&old), &new));
        assert!(!mv1_visible_is_complete(Some(&part), None, &new));
    }

    #[test]
    fn mv2_wants_the_reading_after_the_last_change() {
        let (good, bad) = (seen("good"), seen("bad"));
        let read = |s: &Seen| TargetEvent::ReadBack(s.clone());
        assert!(mv2_read_back_before_receipt(
            &[TargetEvent::Changed, read(&good)],
            &good
        ));
        assert!(mv2_read_back_before_receipt(&[read(&good)], &good), "adopted");
        assert!(!mv2_read_back_before_receipt(
            &[read(&good), TargetEvent::Changed],
            &good
        ));
        assert!(!mv2_read_back_before_receipt(
            &[TargetEvent::Changed, read(&bad)],
            &good
        ));
        assert!(!mv2_read_back_before_receipt(&[], &good));
    }

    #[test]
    fn mv3_counts_what_is_left_over() {
        let clean = EndState {
            visible: Some(seen("a")),
            temporary: 0,
        };
        assert!(mv3_same_end(&clean, &clean.clone()));
        assert!(!mv3_same_end(
            &clean,
            &EndState {
                temporary: 1,
                ..clean.clone()
            }
        ));
    }

    #[test]
    fn mv4_keeps_the_last_copy_the_requirement_and_the_origin() {
        let fine = Deletion {
            missing_before: 1,
            missing_after: 1,
            verified_left: 1,
            unreleased_origin: false,
        };
        assert!(mv4_deletion_is_safe(&fine));
        assert!(!mv4_deletion_is_safe(&Deletion {
            missing_after: 2,
            ..fine
        }));
        assert!(!mv4_deletion_is_safe(&Deletion {
            verified_left: 0,
            ..fine
        }));
        assert!(!mv4_deletion_is_safe(&Deletion {
            unreleased_origin: true,
            ..fine
        }));
    }

    #[test]
    fn mv5_looks_at_every_hop() {
        let name = |text: &str| BackendName::new(text).unwrap();
        let admissible = BTreeSet::from([name("a"), name("b")]);
        assert!(mv5_written_places_are_allowed(
            [name("a"), name("b")].iter(),
            &admissible
        ));
        assert!(!mv5_written_places_are_allowed(
            [name("a"), name("c")].iter(),
            &admissible
        ));
    }
}
