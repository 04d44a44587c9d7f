//! The id of a move.

use std::fmt;

use domicile_estate::DatasetName;
use sha2::{Digest, Sha256};

/// The id of a move: equal for equal dataset, action and places. Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MoveId(u64);

impl MoveId {
    /// The id of what is done with a dataset at one or two places.
    pub(super) fn of(dataset: &DatasetName, action: &str, from: &str, to: &str) -> Self {
        // No name holds a NUL, so that no two moves give the same text.
        let mut digest = Sha256::new();
        digest.update(dataset.as_str());
        for part in [action, from, to] {
            digest.update(b"\0");
            digest.update(part);
        }
        let mut first = [0; 8];
        first.copy_from_slice(&digest.finalize()[..8]);
        Self(u64::from_be_bytes(first))
    }
}

impl fmt::Display for MoveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for MoveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_first_bytes_of_the_digest_as_text() {
        let dataset = DatasetName::new("d").unwrap();
        let id = MoveId::of(&dataset, "Copy", "a", "b");
        let whole = crate::moves::hex(&Sha256::digest(b"d\0Copy\0a\0b"));
        assert_eq!(id.to_string(), whole[..16]);
    }
}
