//! What a transfer under a lease tells its carrier to do, and what it can be told.

use crate::ledger::{Opening, PartPlan, PartReceipt, Record, SourceVersion, StoredPart, UploadToken};
use crate::{Answer, Failure, Place, Publication, Receipt, Seen, Step, TransferId};

/// What to do next. Every task may be done twice, or be cut off by a crash, without harm (MV-3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// A step of the transfer itself: `StatTarget`, `ReadTarget`, `ReadSource`, `Wait`, and for what goes in one piece
    /// `Stage` and `Discard`. Replies: `Found` if something is there, else `Answer`.
    Carry(Step),
    /// Update the catalogue, if our epoch is still the highest. Replies: `Recorded`, `Fenced`.
    Record(Record),
    /// Give up every upload of this transfer, whoever began it: list them, make sure that the lease is still ours, and only
    /// then give up what was listed. Else one that sleeps in between would give up what its successor has begun. Replies:
    /// `Done`, `Fenced`.
    Reclaim,
    /// Read what lies there in parts, before it takes the place of what is there, as [`Step::ReadStaged`] says. Replies:
    /// `Answer`, `NoUpload`.
    ReadStaged {
        /// The upload.
        token: UploadToken,
        /// Where its bytes came from.
        source: Place,
    },
    /// Look which version of the object a source has. Reply: `Source`.
    LookAtSource(Place),
    /// Make sure that a source holds the bytes that were read of it for the first time: by its own checksum of them, or by
    /// reading them again. Reply: `Answer` with `Contents`.
    Confirm {
        /// Where they were read.
        source: Place,
        /// What was read.
        seen: Seen,
        /// Their parts.
        parts: Vec<PartReceipt>,
    },
    /// Begin an upload that bears our tag. Reply: `Begun`.
    Begin(Opening),
    /// List the parts of an upload. Replies: `Parts`, `NoUpload`.
    ListParts(UploadToken),
    /// Copy parts. Those that have arrived are told at once, and in any case within a second or 64 MiB; the others go on,
    /// and are asked for again. Replies: `Copied` with one part at least, `SourceChanged`, `NoUpload`.
    CopyParts {
        /// The upload.
        token: UploadToken,
        /// Where to read, and which version.
        opening: Opening,
        /// What is still to be copied.
        parts: Vec<PartPlan>,
    },
    /// Make the parts one object that is visible under its name, durably. Replies: `Published`, `Occupied`,
    /// `NoUpload`.
    Complete {
        /// The upload.
        token: UploadToken,
        /// Its parts; one that has another etag now must be refused.
        parts: Vec<PartReceipt>,
        /// How.
        publication: Publication,
        /// For `Replace`: what the object that is to be replaced was called when it was last looked at.
        replaces: Option<String>,
    },
    /// Make what was staged in one piece visible under its name, durably. Replies: `Published`, `Occupied`.
    Publish {
        /// How.
        publication: Publication,
        /// For `Replace`: what the object that is to be replaced was called when it was last looked at.
        replaces: Option<String>,
    },
    /// Give up an upload; one that is not there is given up. Reply: `Done`.
    Abort(UploadToken),
    /// Remove the object that this transfer published, if it is still that one. Reply: `Done`.
    RemovePublished {
        /// What the store called it.
        etag: Option<String>,
    },
    /// Nothing more: this came of it. What is still staged in one piece is dropped.
    End(Ending),
}

/// What came of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// What came of a step of the transfer itself.
    Answer(Answer),
    /// Something is at the target.
    Found(TargetObject),
    /// The catalogue has it, and the lease goes on.
    Recorded,
    /// Somebody else has the lease.
    Fenced,
    /// The source looks so.
    Source(SourceVersion),
    /// The source is not of the version any more that the upload was begun with.
    SourceChanged,
    /// The upload has begun.
    Begun(UploadToken),
    /// These parts are there.
    Parts(Vec<StoredPart>),
    /// The store knows no such upload, or not with these parts.
    NoUpload,
    /// These parts have arrived.
    Copied(Vec<PartReceipt>),
    /// The object is visible under its name.
    Published {
        /// What the store calls it, where it does.
        etag: Option<String>,
    },
    /// Something else has come to lie at the target.
    Occupied,
    /// It is done.
    Done,
    /// The task failed. What was staged in one piece is gone; an upload and its parts are not.
    Failed(Failure),
}

/// What a look at the target found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetObject {
    /// Its bytes.
    pub size: u64,
    /// What tells this very object from one that is written later, even of equal bytes, where the store does: a version,
    /// or an entity tag with the time of writing.
    pub etag: Option<String>,
    /// The transfer that wrote it, where the store keeps such a mark.
    pub written_by: Option<TransferId>,
}

/// How a transfer under a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The object is verified and registered.
    Registered(Receipt),
    /// It failed, and the catalogue knows; if the failure is transient, what is there stays for the next time.
    Failed(Failure),
    /// A person has called it off.
    Cancelled,
    /// Somebody else goes on with it.
    Fenced,
    /// The catalogue could not be told what was done; whoever takes the transfer up next finds out.
    Unrecorded(Failure),
}
