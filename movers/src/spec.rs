//! What to move, and what came of it.

use domicile_estate::{BackendName, ByteCount, DatasetName, ObjectKey, Verify};

use crate::Failure;

/// One place of one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The backend.
    pub backend: BackendName,
    /// The path below the backend's root.
    pub path: String,
}

/// What the catalogue has recorded about the object at the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TargetRecorded {
    /// Nothing: what differs there is somebody else's and is never overwritten.
    #[default]
    Nothing,
    /// An object of ours: if its bytes are wrong it is damaged, and is replaced.
    Ours,
}

/// The transfer of one object to one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferSpec {
    /// The dataset.
    pub dataset: DatasetName,
    /// The object.
    pub key: ObjectKey,
    /// Its size as catalogued.
    pub size: ByteCount,
    /// SHA-256 as catalogued, in lower case hexadecimal.
    pub sha256: Option<String>,
    /// BLAKE3 as catalogued, in lower case hexadecimal.
    pub blake3: Option<String>,
    /// Where to read it.
    pub source: Place,
    /// Where else to read it, in order of preference.
    pub alternatives: Vec<Place>,
    /// Where to write it.
    pub target: Place,
    /// What the catalogue has recorded there.
    pub target_recorded: TargetRecorded,
    /// Whether a missing root of the target (a folder) may be made: only where the catalogue records nothing
    /// on that backend, for else the root was there and is gone.
    pub allow_create_root: bool,
    /// How to make sure of what was written.
    pub verify: Verify,
}

impl TransferSpec {
    /// Source number `index`: 0 is the preferred one.
    #[must_use]
    pub fn source(&self, index: usize) -> Option<&Place> {
        match index {
            0 => Some(&self.source),
            n => self.alternatives.get(n - 1),
        }
    }

    /// The same, read from this source first, if it is one of them.
    #[must_use]
    pub fn reading_first(mut self, source: &Place) -> Self {
        if let Some(at) = self.alternatives.iter().position(|other| other == source) {
            self.alternatives[..=at].rotate_right(1);
            std::mem::swap(&mut self.source, &mut self.alternatives[0]);
        }
        self
    }

    /// Whether the catalogue knows a digest of the object.
    #[must_use]
    pub fn has_digest(&self) -> bool {
        self.sha256.is_some() || self.blake3.is_some()
    }

    /// Which digests a reading has to compute: SHA-256 only where it is the only one that is known, for it costs several
    /// times what BLAKE3 does.
    #[must_use]
    pub fn digests(&self) -> Digests {
        if self.sha256.is_some() && self.blake3.is_none() {
            Digests::Both
        } else {
            Digests::Blake3
        }
    }

    /// Whether bytes that were seen are those that are catalogued. A digest that was not computed counts for
    /// nothing, but where the catalogue knows any, at least one must have been compared.
    #[must_use]
    pub fn matches(&self, seen: &Seen) -> bool {
        let equal = |want: Option<&String>, have: Option<&String>| Some(want? == have?);
        let sha256 = equal(self.sha256.as_ref(), seen.sha256.as_ref());
        let blake3 = equal(self.blake3.as_ref(), Some(&seen.blake3));
        let compared = sha256.is_some() || blake3.is_some() || !self.has_digest();
        seen.size == self.size.0 && compared && sha256 != Some(false) && blake3 != Some(false)
    }
}

/// What was seen of an object's bytes when they were read from end to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Bytes read.
    pub size: u64,
    /// SHA-256 in lower case hexadecimal; `None` where only BLAKE3 was asked for, which is several times faster.
    pub sha256: Option<String>,
    /// BLAKE3 in lower case hexadecimal.
    pub blake3: String,
}

impl Seen {
    /// What is said of an object whose size alone shows that it is another one: nothing of it was read.
    #[must_use]
    pub fn of_size(size: u64) -> Self {
        Self {
            size,
            sha256: None,
            blake3: String::new(),
        }
    }

    /// Whether both readings saw the same bytes: size, BLAKE3, and SHA-256 where both have it.
    #[must_use]
    pub fn same_bytes(&self, other: &Seen) -> bool {
        let sha256 = match (&self.sha256, &other.sha256) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        self.size == other.size && self.blake3 == other.blake3 && sha256
    }
}

/// Which digests a reading has to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digests {
    /// BLAKE3 alone: enough to compare with bytes that were digested before.
    Blake3,
    /// BLAKE3 and SHA-256.
    Both,
}

/// The proof that an object is where it should be: its bytes were read back from the backend and match, or the backend's
/// own checksum of them does ([`Verify`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its size.
    pub size: ByteCount,
    /// SHA-256 in lower case hexadecimal, where it is known.
    pub sha256: Option<String>,
    /// BLAKE3 in lower case hexadecimal.
    pub blake3: String,
    /// Whether it was there already.
    pub adopted: bool,
    /// Bytes written to the target; 0 if it was adopted.
    pub bytes_written: u64,
    /// The backend that the bytes were read from; `None` if no source was read.
    pub source: Option<BackendName>,
    /// What was wrong with sources that were tried before, such as a damaged one.
    pub source_failures: Vec<Failure>,
}
