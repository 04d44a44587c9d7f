//! # What can be
//!
//! The transfer of one object to one backend, as a state machine that says what to do next and is told what came
//! of it; what can fail and who is to blame; when to try again; and the invariants of moving, by name.
//!
//! ```text
//!  inspect ──absent──────────▶ stage ──▶ publish ──▶ read back ──▶ receipt
//!     ├──equal──▶ adopt          ▲                       │
//!     ├──ours, but wrong ────────┤◀──remove what we wrote┘ does not match
//!     └──differs──▶ refuse       └── next source, or wait and try again
//! ```
//!
//! Many workers share this work by leases ([`LeasedTransfer`]): each act that could leave something behind is recorded
//! before it is done, so that anybody can go on in the middle of an object, and who has lost the lease does no harm.
//!
//! This crate decides and touches nothing: no store, no clock, no randomness. The worker carries out its steps.

mod crowd;
mod digest_list;
mod failure;
pub mod invariants;
mod lease;
mod leased;
mod ledger;
mod pace;
mod rate;
pub mod retry;
mod shares;
mod spec;
mod transfer;
pub mod tree;

pub use crowd::Crowd;
pub use digest_list::{
    DIGEST_LISTS, DigestLines, DigestList, LIST_BYTES_MAX, lies_among_lists, list_at, list_path, lists_folder,
};
pub use failure::{Failure, FailureClass};
pub use lease::{Epoch, TransferId, UploadTag};
pub use leased::{Claim, Ending, LeasedTransfer, Reply, TargetObject, Task};
pub use ledger::{
    Ledger, Opening, PartPlan, PartReceipt, Phase, Record, SourceVersion, StoredPart, UploadToken,
};
pub use pace::Pace;
pub use rate::{Rate, eta_seconds};
pub use shares::{Shares, Standing, turn};
pub use spec::{Digests, Place, Receipt, Seen, TargetRecorded, TransferSpec};
pub use transfer::{Answer, Publication, Step, Transfer};
