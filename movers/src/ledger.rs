//! What is written down about a transfer that goes in parts, so that anybody can go on with it.

use std::collections::BTreeMap;

use domicile_estate::ByteCount;

use crate::tree::{self, ChainingValue};
use crate::{Failure, Place, Receipt, Seen};

/// What a store calls an upload that was begun; any process can go on with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UploadToken(pub String);

/// What a source looks like from outside: if it looks otherwise, its bytes may be others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceVersion {
    /// Its bytes.
    pub size: u64,
    /// What the store calls this version, where it does.
    pub etag: Option<String>,
    /// When it was written, in milliseconds since 1970, where the store says so.
    pub modified_ms: Option<i64>,
}

/// A part that the store has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartReceipt {
    /// Its number, from 1.
    pub number: u32,
    /// Its bytes.
    pub size: u64,
    /// What the store calls it.
    pub etag: String,
    /// Its place in the object's BLAKE3 tree.
    pub chaining: ChainingValue,
    /// Its CRC64NVME, if it was computed.
    pub crc64nvme: Option<u64>,
}

/// A part as the store lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// Its number, from 1.
    pub number: u32,
    /// Its bytes.
    pub size: u64,
    /// What the store calls it.
    pub etag: String,
    /// Its CRC64NVME, if the store tells.
    pub crc64nvme: Option<u64>,
}

/// How an upload is begun: what it is made of. As long as that holds, its parts fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Where it is read.
    pub source: Place,
    /// Which version of that.
    pub version: SourceVersion,
    /// Bytes of each part but the last.
    pub part_size: u64,
}

/// A part to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPlan {
    /// Its number, from 1.
    pub number: u32,
    /// Where it begins in the object.
    pub offset: u64,
    /// Its bytes.
    pub size: u64,
    /// What the store has under this number though nobody has recorded it: if its checksum is that of the bytes, they
    /// need not be sent again.
    pub present: Option<StoredPart>,
}

/// How far a transfer has come, as it is recorded. What would leave litter is recorded before it is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing has begun that could leave anything behind.
    #[default]
    Planned,
    /// An upload is about to begin; whether it has, only the store knows.
    Intended,
    /// An upload is open, and its parts come in.
    Opened,
    /// All parts are there, and their digest is known.
    Sealed,
    /// The object is visible under its name; it was not read back yet.
    Published,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Phase; 5] = [
        Self::Planned,
        Self::Intended,
        Self::Opened,
        Self::Sealed,
        Self::Published,
    ];

    /// The phase as catalogues and programs write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "Planned",
            Self::Intended => "Intended",
            Self::Opened => "Opened",
            Self::Sealed => "Sealed",
            Self::Published => "Published",
        }
    }
}

/// What to write down. Each is one update of the catalogue that holds only if the epoch is still the highest, and that
/// makes the lease last longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An upload is about to begin.
    Intended(Opening),
    /// The upload has begun.
    Opened(UploadToken),
    /// Parts are there.
    Parts(Vec<PartReceipt>),
    /// All parts are there; these are the bytes that will be published.
    Sealed(Seen),
    /// The worker lives, and means to go on.
    Renewed,
    /// An object of ours is about to be removed, or replaced in one piece.
    Withdrawing {
        /// What the store calls it, where it does.
        etag: Option<String>,
    },
    /// The object is visible under its name.
    Published {
        /// What the store calls it, where it does.
        etag: Option<String>,
    },
    /// No upload is left.
    Cleared,
    /// It is tried again later.
    Waiting {
        /// In milliseconds.
        ms: u64,
        /// Why, for people.
        reason: String,
    },
    /// The object was read back and matches: it is registered, and the transfer is over.
    Registered(Receipt),
    /// It was given up for now. What is there already stays for the next time.
    Released(Failure),
    /// It was given up for good, and left nothing behind.
    Failed(Failure),
    /// A person has called it off, and it left nothing behind.
    Cancelled,
}

/// The ledger of one transfer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// How far it has come.
    pub phase: Phase,
    /// How the upload was begun, from `Intended` on.
    pub opening: Option<Opening>,
    /// What the store calls the upload, while it is open.
    pub token: Option<UploadToken>,
    /// The parts that are there, by number.
    pub parts: BTreeMap<u32, PartReceipt>,
    /// The bytes that were sealed.
    pub sealed: Option<Seen>,
    /// What the store calls the published object.
    pub etag: Option<String>,
    /// What the store calls an object that was about to be removed or replaced: a worker that has lost its lease may yet
    /// do so, and whoever has it now must not rely on that very object.
    pub withdrawn: Option<String>,
}

impl Ledger {
    /// The ledger after a record: the same for who keeps it and for who reads it.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Intended(opening) => {
                *self = Self {
                    phase: Phase::Intended,
                    opening: Some(opening.clone()),
                    withdrawn: self.withdrawn.take(),
                    ..Self::default()
                };
            }
            Record::Opened(token) => {
                self.phase = Phase::Opened;
                self.token = Some(token.clone());
            }
            Record::Parts(receipts) => {
                let numbered = receipts.iter().map(|receipt| (receipt.number, receipt.clone()));
                self.parts.extend(numbered);
            }
            Record::Sealed(seen) => {
                self.phase = Phase::Sealed;
                self.sealed = Some(seen.clone());
            }
            Record::Withdrawing { etag } => self.withdrawn.clone_from(etag),
            Record::Published { etag } => {
                self.phase = Phase::Published;
                self.token = None;
                self.parts.clear();
                self.etag.clone_from(etag);
            }
            Record::Cleared => {
                *self = Self {
                    withdrawn: self.withdrawn.take(),
                    ..Self::default()
                };
            }
            Record::Registered(_) | Record::Failed(_) | Record::Cancelled => *self = Self::default(),
            Record::Renewed | Record::Waiting { .. } | Record::Released(_) => {}
        }
    }

    /// Forgets the parts that the store does not have as they are recorded, and says what is still to be copied.
    pub fn reconcile(&mut self, size: ByteCount, stored: &[StoredPart]) -> Vec<PartPlan> {
        let Some(opening) = &self.opening else {
            return Vec::new();
        };
        let stored: BTreeMap<u32, &StoredPart> = stored.iter().map(|part| (part.number, part)).collect();
        self.parts.retain(|number, receipt| {
            let part = stored.get(number);
            part.is_some_and(|part| part.size == receipt.size && part.etag == receipt.etag)
        });
        let plans = plans(opening.part_size, size.0);
        let missing = plans.filter(|plan| !self.parts.contains_key(&plan.number));
        let found = |plan: PartPlan| PartPlan {
            present: stored
                .get(&plan.number)
                .filter(|part| part.size == plan.size)
                .map(|part| (*part).clone()),
            ..plan
        };
        missing.map(found).collect()
    }

    /// What the parts are together, once all are there.
    #[must_use]
    pub fn whole(&self, size: ByteCount) -> Option<Seen> {
        let opening = self.opening.as_ref()?;
        let whole = plans(opening.part_size, size.0).all(|plan| {
            let receipt = self.parts.get(&plan.number);
            receipt.is_some_and(|receipt| receipt.size == plan.size)
        });
        let values: Vec<ChainingValue> = self.parts.values().map(|receipt| receipt.chaining).collect();
        let blake3 = tree::root(opening.part_size, size.0, &values)?;
        whole.then_some(Seen {
            size: size.0,
            sha256: None,
            blake3,
        })
    }
}

/// The parts of an object of this size.
fn plans(part_size: u64, size: u64) -> impl Iterator<Item = PartPlan> {
    (0..size.div_ceil(part_size)).map(move |index| {
        let offset = index * part_size;
        PartPlan {
            number: u32::try_from(index + 1).unwrap_or(u32::MAX),
            offset,
            size: part_size.min(size - offset),
            present: None,
        }
    })
}

#[cfg(test)]
mod tests {
    use domicile_estate::BackendName;

    use super::*;

    const PART: u64 = 1024;
    const SIZE: ByteCount = ByteCount(2 * PART + 10);

    fn receipt(number: u32, etag: &str) -> PartReceipt {
        PartReceipt {
            number,
            size: if number == 3 { 10 } else { PART },
            etag: etag.to_owned(),
            chaining: [number as u8; 32],
            crc64nvme: None,
        }
    }

    fn stored(number: u32, etag: &str) -> StoredPart {
        let receipt = receipt(number, etag);
        StoredPart {
            number,
            size: receipt.size,
            etag: receipt.etag,
            crc64nvme: None,
        }
    }

    fn opened(receipts: Vec<PartReceipt>) -> Ledger {
        let mut ledger = Ledger::default();
        let source = Place {
            backend: BackendName::new("s").unwrap(),
            path: "k".to_owned(),
        };
        ledger.apply(&Record::Intended(Opening {
            source,
            version: SourceVersion::default(),
            part_size: PART,
        }));
        ledger.apply(&Record::Opened(UploadToken("u".to_owned())));
        ledger.apply(&Record::Parts(receipts));
        ledger
    }

    #[test]
    fn only_what_both_know_counts() {
        let mut ledger = opened(vec![receipt(1, "a"), receipt(2, "b")]);
        let missing = ledger.reconcile(SIZE, &[stored(1, "a"), stored(2, "other"), stored(3, "c")]);
        let told: Vec<_> = missing
            .iter()
            .map(|plan| {
                let present = plan.present.as_ref().map(|part| part.etag.as_str());
                (plan.number, plan.offset, plan.size, present)
            })
            .collect();
        assert_eq!(
            told,
            [(2, PART, PART, Some("other")), (3, 2 * PART, 10, Some("c"))]
        );
        assert_eq!(ledger.parts.len(), 1);
        assert_eq!(ledger.whole(SIZE), None);
    }

    #[test]
    fn all_parts_are_a_whole() {
        let ledger = opened((1..=3).map(|n| receipt(n, "e")).collect());
        assert_eq!(ledger.whole(SIZE).unwrap().size, SIZE.0);
        assert_eq!(
            ledger.whole(ByteCount(SIZE.0 + 1)),
            None,
            "the last one is too short"
        );
        assert_eq!(ledger.whole(ByteCount(2 * PART)), None, "there is one too many");
    }

    #[test]
    fn publishing_ends_the_upload_and_keeps_what_was_sealed() {
        let mut ledger = opened((1..=3).map(|n| receipt(n, "e")).collect());
        let seen = ledger.whole(SIZE).unwrap();
        ledger.apply(&Record::Sealed(seen.clone()));
        ledger.apply(&Record::Published { etag: None });
        assert_eq!((ledger.token.clone(), ledger.sealed.clone()), (None, Some(seen)));
        ledger.apply(&Record::Cleared);
        assert_eq!(ledger, Ledger::default());
    }
}
