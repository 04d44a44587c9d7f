//! Who may do what: a transfer has one name, whoever carries it out, and each time that somebody takes it up it gets a
//! higher epoch. What is done in the name of a lower one does not count any more.

use std::fmt;

use crate::TransferSpec;

/// Bytes of a digest that name a transfer: two transfers share a name with a chance of 2^-64 at 2^32 transfers.
const ID_BYTES: usize = 16;

/// The name of a transfer: the same for whoever computes it, so that to queue it twice is to queue it once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransferId(String);

impl TransferId {
    /// The name of a transfer of a generation: of the object, its size and its target. A digest is no part of it, for
    /// one that becomes known meanwhile must not make it another transfer; an object that was registered anew has
    /// another generation.
    #[must_use]
    pub fn of(spec: &TransferSpec, generation: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("domicile transfer, version 1");
        let target = &spec.target;
        let texts = [
            spec.dataset.as_str(),
            spec.key.as_str(),
            target.backend.as_str(),
            &target.path,
        ];
        for text in texts {
            // The length before each text: no two lists of texts give the same bytes.
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(&spec.size.0.to_le_bytes());
        hasher.update(&generation.to_le_bytes());
        let hex = hasher.finalize().to_hex();
        Self(hex.as_str().chars().take(2 * ID_BYTES).collect())
    }

    /// Reads a name as it was written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 2 * ID_BYTES && text.bytes().all(is_hex)).then(|| Self(text.to_owned()))
    }

    /// The name in lower case hexadecimal.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How often a transfer was taken up. It rises with each lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What marks an upload or a temporary file: which transfer made it, and in which epoch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UploadTag {
    /// The transfer.
    pub transfer: TransferId,
    /// The epoch in which it was made.
    pub epoch: Epoch,
}

impl UploadTag {
    /// Reads a tag as it was written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (transfer, epoch) = text.split_once('-')?;
        Some(Self {
            transfer: TransferId::parse(transfer)?,
            epoch: Epoch(epoch.parse().ok()?),
        })
    }
}

impl fmt::Display for UploadTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.transfer, self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use domicile_estate::{BackendName, ByteCount, DatasetName, ObjectKey, Verify};

    use super::*;
    use crate::{Place, TargetRecorded};

    fn spec(key: &str, path: &str) -> TransferSpec {
        let place = |path: &str| Place {
            backend: BackendName::new("b").unwrap(),
            path: path.to_owned(),
        };
        TransferSpec {
            dataset: DatasetName::new("d").unwrap(),
            key: ObjectKey::new(key).unwrap(),
            size: ByteCount(10),
            sha256: None,
            blake3: None,
            source: place("s"),
            alternatives: Vec::new(),
            target: place(path),
            target_recorded: TargetRecorded::Nothing,
            allow_create_root: false,
            verify: Verify::default(),
        }
    }

    #[test]
    fn a_transfer_has_one_name_whatever_is_learnt_about_its_object() {
        let (plain, mut known) = (spec("k", "d/k"), spec("k", "d/k"));
        known.blake3 = Some("00".to_owned());
        known.alternatives.push(known.source.clone());
        assert_eq!(TransferId::of(&plain, 1), TransferId::of(&known, 1));
        let others = [
            TransferId::of(&plain, 2),
            TransferId::of(&spec("kd", "/k"), 1),
            TransferId::of(&spec("k", "d/kk"), 1),
        ];
        for other in others {
            assert_ne!(TransferId::of(&plain, 1), other);
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let tag = UploadTag {
            transfer: TransferId::of(&spec("k", "d/k"), 0),
            epoch: Epoch(7),
        };
        assert_eq!(UploadTag::parse(&tag.to_string()), Some(tag));
        for text in ["", "-1", "00-1", "zz-1", "0123456789abcdef0123456789abcdef-x"] {
            assert_eq!(UploadTag::parse(text), None, "{text}");
        }
    }
}
