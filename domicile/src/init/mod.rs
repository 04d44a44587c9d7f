//! The first folder of manifests: from what a user names (folders, buckets, remotes of an `rclone.conf`) to commented
//! YAML. Nothing here asks a store or writes a file; that is the command's part.
//!
//! ```text
//!  rclone.conf ─▶ Remotes ─┐
//!  "s3://…", "/folder" ────┴─▶ Draft (a backend) ─▶ text
//! ```

mod draft;
mod obscured;
mod place;
mod remotes;
mod text;

pub use draft::{Credentials, Draft};
pub use place::{Place, manifest_name};
pub use remotes::Remotes;
pub use text::{Owner, Role, backend, dataset, domain, kept, policy};
