//! The invariants of moving, by name: one predicate each, used by property tests and the simulator. What MV-4 says about
//! retiring, which is about what policies demand, is `Demand::allows_retirement` of the scheduler.

use std::collections::BTreeSet;

use domicile_estate::BackendName;

use crate::{Record, Seen, TransferId};

/// MV-1: an object is visible under its name only when complete and verified: what is visible is what was there
/// before the transfer, or the whole object whose source was checked; nothing in between.
#[must_use]
pub fn mv1_visible_is_complete(visible: Option<&Seen>, before: Option<&Seen>, object: &Seen) -> bool {
    match visible {
        None => true,
        Some(now) => now.same_bytes(object) || before.is_some_and(|then| now.same_bytes(then)),
    }
}

/// MV-1 among many workers: right before an object becomes visible or is removed, the catalogue has accepted that this
/// worker still has the lease; and what goes in parts is sealed by then, with the digest that becomes visible.
#[must_use]
pub fn mv1_act_is_guarded(accepted_before: Option<&Record>) -> bool {
    matches!(
        accepted_before,
        Some(Record::Sealed(_) | Record::Withdrawing { .. } | Record::Renewed)
    )
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

/// MV-4, for what a transfer itself removes: nothing that others wrote, and nothing that is registered.
#[must_use]
pub fn mv4_removes_its_own(written_by: Option<&TransferId>, remover: &TransferId, registered: bool) -> bool {
    written_by == Some(remover) && !registered
}

/// MV-4, for what a transfer replaces: what lies there, the old bytes, goes only once the new ones were shown to lie at the
/// store, or where the store itself publishes no others.
#[must_use]
pub fn mv4_replaces_by_what_is_shown(shown: Option<&Seen>, assured: bool, published: &Seen) -> bool {
    assured || shown.is_some_and(|shown| shown.same_bytes(published))
}

/// MV-4, at each moment of replacing: a version that no verified one has superseded has its bytes somewhere, as what is
/// there or as what is to come.
#[must_use]
pub fn mv4_some_version_is_whole(held: &[Seen], old: &Seen, new: &Seen) -> bool {
    held.iter()
        .any(|held| held.same_bytes(old) || held.same_bytes(new))
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
    fn mv1_wants_the_lease_right_before() {
        assert!(mv1_act_is_guarded(Some(&Record::Renewed)));
        assert!(mv1_act_is_guarded(Some(&Record::Sealed(seen("a")))));
        assert!(!mv1_act_is_guarded(Some(&Record::Parts(Vec::new()))));
        assert!(!mv1_act_is_guarded(None));
    }

    #[test]
    fn mv4_spares_what_others_wrote_and_what_is_registered() {
        let id = |digit: &str| TransferId::parse(&digit.repeat(32)).unwrap();
        let (ours, other) = (id("1"), id("2"));
        assert!(mv4_removes_its_own(Some(&ours), &ours, false));
        assert!(!mv4_removes_its_own(Some(&ours), &ours, true));
        assert!(!mv4_removes_its_own(Some(&other), &ours, false));
        assert!(!mv4_removes_its_own(None, &ours, false));
    }

    #[test]
    fn mv4_wants_the_new_bytes_seen_before_the_old_ones_go() {
        let (old, new, other) = (seen("old"), seen("new"), seen("other"));
        assert!(mv4_replaces_by_what_is_shown(Some(&new), false, &new));
        assert!(mv4_replaces_by_what_is_shown(None, true, &new));
        assert!(!mv4_replaces_by_what_is_shown(Some(&other), false, &new));
        assert!(!mv4_replaces_by_what_is_shown(None, false, &new));
        assert!(mv4_some_version_is_whole(
            &[other.clone(), new.clone()],
            &old,
            &new
        ));
        assert!(mv4_some_version_is_whole(std::slice::from_ref(&old), &old, &new));
        assert!(!mv4_some_version_is_whole(&[other], &old, &new));
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
