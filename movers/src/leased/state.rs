//! Where a transfer under a lease stands.

use super::Ending;
use crate::ledger::{Opening, PartPlan, PartReceipt, Record, UploadToken};
use crate::{Answer, Failure, Place, Receipt, Seen};

/// What happens once an upload is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    /// The transfer's own step is answered.
    Answer(Answer),
    /// The source is looked at, and the upload begun.
    LookAgain,
    /// The same, for what was begun was lost: so often and no more.
    StartOver,
    /// The target is looked at again, for only now nobody can publish behind our back.
    LookAtTarget,
    Register(Receipt),
    Fail(Failure),
    Cancel,
}

/// What is guarded by a record right before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guarded {
    Complete,
    Publish,
    Remove,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// The transfer's own step is next.
    Inner,
    LookAtSource,
    Reclaim(Then),
    Intend(Opening),
    Begin(Opening),
    Open(UploadToken),
    List,
    Copy(Vec<PartPlan>),
    Keep(Vec<PartReceipt>, Vec<PartPlan>),
    /// The parts have no SHA-256 together, and the catalogue knows nothing else: one more reading tells both digests. Or it
    /// knows none at all: then somebody else has to confirm what was read.
    Compare(Seen),
    /// What lies there in parts is read before it takes the place of what is there.
    Show(Place),
    Seal(Seen),
    Renew(Guarded),
    /// What is there is recorded as withdrawn, and then removed or replaced.
    Withdraw(Guarded, Option<String>),
    Act(Guarded),
    Published(Option<String>),
    Abort(Then),
    Clear(Then),
    NoteWait {
        ms: u64,
        reason: String,
    },
    Finish(Record, Ending),
    /// A chore failed and is done again later.
    Pause {
        ms: u64,
        reason: String,
        then: Box<State>,
    },
    /// We have lost the lease and take back what nobody else knows of.
    TakeBack(Ending),
    Ended(Ending),
}

impl State {
    /// What is to be recorded, if that is what is next.
    pub(super) fn record(&self) -> Option<Record> {
        Some(match self {
            Self::Intend(opening) => Record::Intended(opening.clone()),
            Self::Open(token) => Record::Opened(token.clone()),
            Self::Keep(receipts, _) => Record::Parts(receipts.clone()),
            Self::Seal(seen) => Record::Sealed(seen.clone()),
            Self::Renew(_) => Record::Renewed,
            Self::Withdraw(_, etag) => Record::Withdrawing { etag: etag.clone() },
            Self::Published(etag) => Record::Published { etag: etag.clone() },
            Self::Clear(_) => Record::Cleared,
            Self::NoteWait { ms, reason } => Record::Waiting {
                ms: *ms,
                reason: reason.clone(),
            },
            Self::Finish(record, _) => record.clone(),
            _ => return None,
        })
    }
}
