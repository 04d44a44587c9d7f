//! The shape of the house, as tests: who may depend on whom, what a pure crate may touch, what every file keeps to.
//! Style that is not tested here or in a clippy.toml is opinion.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod documents;
mod graph;
mod sources;

use std::path::{Path, PathBuf};

/// The pure crates: package, folder.
const PURE: [(&str, &str); 5] = [
    ("domicile-estate", "estate"),
    ("domicile-policies", "policies"),
    ("domicile-movers", "movers"),
    ("domicile-placement", "placement"),
    ("domicile-scheduler", "scheduler"),
];

/// The crates that touch the world.
const WORLD: [(&str, &str); 4] = [
    ("domicile-worker", "movers/worker"),
    ("domicile-catalogue", "scheduler/catalogue"),
    ("domicile", "domicile"),
    ("domicile-tests", "tests"),
];

/// Folders that are made, not written.
const MADE: [&str; 5] = ["target", ".git", ".domicile", ".tests", "node_modules"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the workspace")
        .to_owned()
}

fn crates() -> impl Iterator<Item = (&'static str, &'static str)> {
    PURE.into_iter().chain(WORLD)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Every file below a folder that a person wrote, in order of name.
fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder entry").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_symlink() || MADE.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Files of these endings, each as its path below the root and its text.
fn texts(endings: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    files_below(&root, &mut found);
    found
        .into_iter()
        .filter(|path| {
            path.extension()
                .is_some_and(|end| endings.iter().any(|wanted| end == *wanted))
        })
        .map(|path| {
            let name = path
                .strip_prefix(&root)
                .expect("found below the root")
                .display()
                .to_string();
            (name, read(&path))
        })
        .collect()
}

/// Fails with all findings at once, so that one run shows everything.
fn assert_none(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}
