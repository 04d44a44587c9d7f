//! # The mover's hands
//!
//! Reads, writes, verifies and deletes objects on real stores, as the state machine of `domicile-movers` says.
//!
//! ```text
//!  Transfer ──Step──▶ Worker ──▶ Fs (own driver)  |  S3, Memory (OpenDAL)
//!     ▲                 │
//!     └─────Answer──────┘
//! ```
//!
//! This crate decides nothing about data: what to do next, when to retry and who is to blame is said by the pure
//! crate. It shows nothing to users, and no credential leaves it in an error, a log or a `Debug`.

mod carry;
mod credentials;
mod digest;
mod fs;
mod listing;
mod object;
mod progress;
mod pump;
mod redact;
mod role;
mod stores;
mod worker;

pub use credentials::CredentialValues;
pub use listing::{Listed, ListedKind, Listing};
pub use progress::{Cancel, Progress};
pub use stores::Stores;
pub use worker::{Limits, ProbeReport, Worker};
