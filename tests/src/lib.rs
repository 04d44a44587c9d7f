//! # Scenarios
//!
//! What the scenario tests share: an estate in a temporary folder, the built binary run in it, and real S3 servers.
//!
//! ```text
//!  Estate (folder) ──run──▶ domicile (the binary) ──▶ Outcome: exit code, stdout, stderr
//!     └─ Server: a real S3 server with keys of its own, where one is installed
//! ```
//!
//! The scenarios see what a user sees: they must not use any crate of ours. A broken test machine is a failed test, so
//! everything here panics with what was tried.

#![allow(clippy::expect_used, reason = "a scenario that cannot be set up has failed")]

mod azurite;
mod estate;
pub mod manifest;
mod outcome;
mod proxy;
mod server;
mod tree;

pub use azurite::Azurite;
pub use estate::Estate;
pub use outcome::Outcome;
pub use proxy::{Asked, Exchange, Fault, Kind, Proxy};
pub use server::{Server, installed, rclone};
pub use tree::{Random, bytes, digest_lists, files, temporary_files};

use std::path::PathBuf;

/// The binary under test: `DOMICILE_BIN`, or the one that cargo put beside the tests.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn binary() -> PathBuf {
    let path = std::env::var_os("DOMICILE_BIN").map_or_else(beside_the_tests, PathBuf::from);
    assert!(
        path.is_file(),
        "no binary at {}: run `cargo build` first, or set DOMICILE_BIN",
        path.display()
    );
    path
}

fn beside_the_tests() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test
        .ancestors()
        .nth(2)
        .expect("a test lies in target/<profile>/deps");
    folder.join("domicile")
}

/// The root of the repository.
///
/// # Panics
/// Never in a checkout.
#[must_use]
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the repository")
        .to_owned()
}

/// Says by name what a run leaves out. Under `DOMICILE_STRICT` nothing may be left out.
///
/// # Panics
/// When `DOMICILE_STRICT` is set.
pub fn skip(test: &str, why: &str) {
    assert!(
        std::env::var_os("DOMICILE_STRICT").is_none(),
        "{test} may not be skipped: {why}"
    );
    // The test runner swallows what a passing test prints; the file is read and shown by `tests/run`.
    if let Some(path) = std::env::var_os("DOMICILE_SKIPPED") {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .expect("the list of skipped tests can be written");
        writeln!(file, "{test}: {why}").expect("the list of skipped tests can be written");
    }
    eprintln!("skipped {test}: {why}");
}
