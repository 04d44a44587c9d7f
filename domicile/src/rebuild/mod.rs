//! Finding out again what a lost catalogue knew: manifests say which datasets and backends there are, and everything else
//! lies in the stores. Every object is read; nothing is written or deleted in any store.
//!
//! ```text
//!  manifests ─▶ look at origins ─▶ record ─▶ per dataset: read origin ▶ copies against it ▶ copies against each other
//!                  list each backend once ──────────────┘
//! ```

mod lists;
mod lying;
mod reading;
mod vote;

pub use lists::Lists;
pub use lying::{Lying, is_lost, presumed};
pub use reading::{Adopting, Adoption};
