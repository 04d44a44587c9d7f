//! Copies: one dataset on one backend, and what we know of it.

use crate::{BackendName, ByteCount};

/// What we know of one dataset on one backend. Where no such value exists we know of no copy there, which is not
/// the same as knowing that there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The backend.
    pub backend: BackendName,
    /// Whether this is the copy that the owner registered where it lay.
    pub origin: bool,
    /// What we know of it.
    pub state: CopyState,
    /// Bytes of the objects that are not (or no longer) known to be there whole: what a Copy to this backend would
    /// have to move. 0 for a verified copy.
    pub missing_bytes: ByteCount,
    /// Number of those objects.
    pub missing_objects: u64,
    /// Whether it was listed or registered from an inventory that is trusted, so that no store is asked about it.
    pub trusted: bool,
}

/// What we know of a copy. Only an origin and a verified copy are *current*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CopyState {
    /// An inventory says that it is there; nobody has looked.
    Unknown,
    /// It is an origin and was listed; its digests may not be known yet.
    Listed,
    /// Some objects are there and verified, others are yet to come.
    Incomplete,
    /// Every object's size and digest were read back and match.
    Verified,
    /// At least one object was read back and does not match, or is gone.
    Damaged,
    /// Its deletion has begun.
    Retiring,
}

impl Copy {
    /// Whether the copy counts: it is verified, or it is an origin that was listed. A damaged origin does not.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.state.is_current(self.origin)
    }
}

impl CopyState {
    /// Whether a copy in this state counts, given whether it is the origin.
    #[must_use]
    pub fn is_current(self, origin: bool) -> bool {
        match self {
            Self::Verified => true,
            Self::Listed => origin,
            Self::Unknown | Self::Incomplete | Self::Damaged | Self::Retiring => false,
        }
    }
}
