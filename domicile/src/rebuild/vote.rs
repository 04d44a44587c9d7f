//! Which of the bytes that copies have under one key are right, when no origin tells.

use std::collections::{BTreeMap, BTreeSet};

use domicile_catalogue::AdoptedObject;
use domicile_estate::{BackendName, ByteCount, ObjectKey};
use domicile_movers::Failure;

use super::lists::Lists;
use super::reading::Adoption;

/// What copies have under one key.
pub struct Vote {
    pub key: ObjectKey,
    /// By size and BLAKE3, who has it.
    pub seen: BTreeMap<(u64, String), BTreeSet<BackendName>>,
    pub unread: Vec<Failure>,
}

impl Vote {
    /// The bytes that a list of digests names; where none does, or two, those that more copies have than all others together.
    pub fn decide(self, lists: &Lists, adoption: &mut Adoption) -> Option<AdoptedObject> {
        adoption.unread += self.unread.len() as u64;
        for failure in &self.unread {
            adoption.tell(failure.to_string());
        }
        let all: usize = self.seen.values().map(BTreeSet::len).sum();
        let shown = self.key.as_str().escape_debug().to_string();
        let versions = self.seen.len();
        let proven = self
            .seen
            .keys()
            .filter(|(_, blake3)| lists.prove(&self.key, blake3));
        let proven: Vec<_> = proven.cloned().collect();
        let is_named = lists.names(&self.key);
        let most = self.seen.iter().max_by_key(|(_, holders)| holders.len())?;
        let (right, is_proven) = match proven.as_slice() {
            [one] => (one.clone(), true),
            _ => (most.0.clone(), false),
        };
        let holders = self.seen.get(&right).cloned().unwrap_or_default();
        let untrue = is_named && proven.is_empty();
        if versions > 1 || untrue {
            adoption.differing += 1;
        }
        if untrue && holders.len() == 1 {
            adoption.tell(format!(
                "object `{shown}`: its bytes are not those that its list of digests names; it was not adopted"
            ));
            return None;
        }
        if !is_proven && holders.len() * 2 <= all {
            adoption.tell(format!(
                "object `{shown}`: its {all} copies have {versions} different contents, and nothing tells which is right; \
                 it was not adopted"
            ));
            return None;
        }
        let (count, rest) = (
            holders.len(),
            if versions > 1 { ", the others differ" } else { "" },
        );
        match (is_proven, untrue) {
            (true, _) if versions > 1 => adoption.tell(format!(
                "object `{shown}`: {count} of {all} copies have the bytes that the list of digests names and were adopted{rest}"
            )),
            (_, true) => adoption.tell(format!(
                "object `{shown}`: {count} of {all} copies agree and were adopted{rest}; the list of digests names other bytes"
            )),
            _ if versions > 1 => adoption.tell(format!(
                "object `{shown}`: {count} of {all} copies agree and were adopted{rest}"
            )),
            _ => {}
        }
        Some(AdoptedObject {
            key: self.key,
            size: ByteCount(right.0),
            blake3: right.1,
            holders,
        })
    }
}
