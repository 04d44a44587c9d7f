//! What is known, kept: manifests, datasets, objects, copies, plans and moves in SQL.
//!
//! ```text
//! manifests, marks ──┐
//! listings ──────────┼──> Catalogue (SQLite, one file) ──> Observed ──> placement
//! verifications ─────┘         │
//!                              └──> pages of objects ──> movers
//! ```
//!
//! Every method is done in one transaction, which small ones may share (`group`): a process that is killed at any moment
//! has done all of a method or nothing of it. Whatever changes what planning sees raises the revision, and only that does. Rows are types of their own,
//! turned into the estate's nouns with `TryFrom`. Credentials are never stored.
//!
//! It decides nothing: who gets a copy is placement's, and what may be deleted is asked of the caller.

mod adopt;
mod backup;
mod certificates;
mod checksums;
mod copies;
mod dataset;
mod doubt;
mod error;
mod group;
mod holds;
mod import;
mod inspected;
mod leases;
mod ledgers;
mod lists;
mod lock;
mod manifests;
mod object;
mod observed;
mod open;
mod origin;
mod origin_rows;
mod pages;
mod place_marks;
mod plans;
mod rates;
mod restored;
mod retire;
mod row;
mod scrubs;
mod settle;
mod sums;
mod turns;
mod usage;
mod versions;

pub use adopt::AdoptedObject;
pub use backup::{Backup, BackupError};
pub use certificates::CertificateRow;
pub use copies::{Finding, Inspection, Verification};
pub use dataset::{DatasetSource, Registered};
pub use error::{CatalogueError, ImportError, ImportProblem, LockError, OpenError, RetireError};
pub use holds::{HeldMove, Hold};
pub use import::{IMPORT_PROBLEMS_MAX, Import, ImportOptions, ImportSummary, InventoryRow};
pub use leases::{Consignment, ConsignmentEnd, Held, Lease, Offers};
pub use ledgers::Unswept;
pub use lists::ListRow;
pub use lock::CatalogueLock;
pub use manifests::ManifestRow;
pub use object::{CopyObject, NumberedObject, PendingObject, Place, Whereabouts};
pub use observed::Known;
pub use open::{Catalogue, Mode};
pub use origin::{Foreseen, ListedObject, OriginDiff, OriginListing};
pub use plans::{MoveNote, MoveRecord, MoveState, PlanRecord, PlanState};
pub use retire::Retirement;
pub use row::PlacedState;
pub use scrubs::{ReadObject, ScrubMark};
pub use usage::{StateUsage, Usage};
pub use versions::{NewVersion, Versioned};
