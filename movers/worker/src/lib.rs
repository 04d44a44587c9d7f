//! # The mover's hands
//!
//! Reads, writes, verifies and deletes objects on real stores, as the state machine of `domicile-movers` says.
//!
//! ```text
//!  Transfer ──Step──▶ Worker ──▶ Source, Sink ──▶ fs, s3, tree (web, sftp, ftp)  |  object (OpenDAL)
//!     ▲                 │
//!     └─────Answer──────┘
//! ```
//!
//! This crate decides nothing about data: what to do next, when to retry and who is to blame is said by the pure
//! crate. It shows nothing to users, and no credential leaves it in an error, a log or a `Debug`.

mod attest;
mod blame;
mod buffers;
mod by_store;
mod carry;
mod certificate;
mod credentials;
mod digest;
mod fan_out;
mod fs;
mod ftp;
mod http1;
mod in_parts;
mod leased;
mod limited;
mod listing;
mod many_md5;
mod memory;
mod note;
mod object;
mod one_place;
mod parts;
mod progress;
mod proof;
mod redact;
mod removal;
mod replacing;
mod role;
mod s3;
mod sftp;
mod store;
mod stores;
mod threads;
mod tree;
mod turnstile;
mod web;
mod worker;

pub use certificate::Certificate;
pub use credentials::CredentialValues;
pub use fan_out::Expected;
pub use leased::Records;
pub use listing::{Listed, ListedKind, Listing};
pub use memory::least_memory;
pub use note::Note;
pub use one_place::{Sameness, mark_below};
pub use progress::{Cancel, Progress};
pub use stores::{LinkLimits, Stores};
pub use worker::{Limits, ProbeReport, Worker};
