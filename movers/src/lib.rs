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
//! This crate decides and touches nothing: no store, no clock, no randomness. The worker carries out its steps.

mod failure;
pub mod invariants;
pub mod retry;
mod spec;
mod transfer;

pub use failure::{Failure, FailureClass};
pub use spec::{Digests, Place, Receipt, Seen, TargetRecorded, TransferSpec};
pub use transfer::{Answer, Publication, Step, Transfer};
