//! Who may depend on whom, over `cargo metadata` and `cargo tree`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use crate::{PURE, assert_none, crates, read, root};

const PURE_NAMES: &[&str] = &[
    "domicile-estate",
    "domicile-policies",
    "domicile-movers",
    "domicile-placement",
    "domicile-scheduler",
];

/// Crate, and the crates of ours that it may depend on. Dependencies point one way:
/// `estate <- {policies, movers} <- placement <- scheduler`; a nested crate depends on pure ones only; the binary on all.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("domicile-estate", &[]),
    ("domicile-policies", &["domicile-estate"]),
    ("domicile-movers", &["domicile-estate"]),
    (
        "domicile-placement",
        &["domicile-estate", "domicile-policies", "domicile-movers"],
    ),
    (
        "domicile-scheduler",
        &[
            "domicile-estate",
            "domicile-policies",
            "domicile-movers",
            "domicile-placement",
        ],
    ),
    // A mover in a foreign domain never links the solver: of the pure crates it may have these.
    ("domicile-worker", &["domicile-estate", "domicile-movers"]),
    ("domicile-catalogue", PURE_NAMES),
    (
        "domicile",
        &[
            "domicile-estate",
            "domicile-policies",
            "domicile-movers",
            "domicile-placement",
            "domicile-scheduler",
            "domicile-worker",
            "domicile-catalogue",
        ],
    ),
    // The scenarios see what a user sees: the binary, and nothing of its code.
    ("domicile-tests", &[]),
];

/// What a pure crate may depend on directly, and why.
const PURE_MAY_USE: &[(&str, &str)] = &[
    ("blake3", "a digest is a function of bytes"),
    ("cel", "evaluates expressions over values that are given to it"),
    (
        "good_lp",
        "builds linear programs and solves them with solvers in Rust; no time limit is set",
    ),
    ("petgraph", "paths and trees over graphs that are given to it"),
    ("saphyr", "parses YAML text into a tree with places"),
    ("saphyr-parser", "gives the places of what saphyr parses"),
    ("serde", "shapes of values"),
    ("serde_json", "shapes of values as JSON text"),
    ("sha2", "a digest is a function of bytes"),
    ("strsim", "distance between two texts, for suggestions"),
    ("thiserror", "error types"),
];

/// What must not come in behind a pure crate: async, clock, randomness, logging or I/O.
const BANNED: &[&str] = &[
    "async-std",
    "chrono",
    "env_logger",
    "fastrand",
    "futures",
    "futures-util",
    "getrandom",
    "hyper",
    "instant",
    "jiff",
    "log",
    "mio",
    "opendal",
    "rand",
    "rand_core",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "sqlx",
    "time",
    "tokio",
    "tracing",
    "uuid",
    "web-time",
];

/// What comes in all the same: crate that brings it, crate, why it does no harm.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "log",
        "the solver microlp writes debug lines to a logger that nobody installs",
    ),
    (
        "uuid",
        "the parser generator's runtime behind cel names its serialised tables by it; without features it draws nothing",
    ),
    (
        "web-time",
        "microlp reads a clock for its time limit, which is never set",
    ),
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata reads the workspace")
}

#[test]
fn the_table_lists_every_crate() {
    let listed: BTreeSet<String> = MAY_DEPEND_ON.iter().map(|(name, _)| (*name).to_owned()).collect();
    let real: BTreeSet<String> = metadata()
        .packages
        .iter()
        .map(|package| package.name.to_string())
        .collect();
    assert_eq!(
        listed, real,
        "a new crate needs a new outside system or a new deployable, and a line here"
    );
    let known: BTreeSet<String> = crates().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(
        known, real,
        "a crate is either pure or touches the world: say which"
    );
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_DEPEND_ON.iter().copied().collect();
    let mut findings = Vec::new();
    for package in &metadata().packages {
        let may = allowed.get(package.name.as_str()).copied().unwrap_or_default();
        for dependency in &package.dependencies {
            let ours = allowed.contains_key(dependency.name.as_str());
            if ours && !may.contains(&dependency.name.as_str()) {
                findings.push(format!("{} must not depend on {}", package.name, dependency.name));
            }
        }
    }
    assert_none("dependencies against the direction of DESIGN", &findings);
}

#[test]
fn pure_crates_use_only_what_is_listed_with_a_reason() {
    let mut findings = Vec::new();
    for package in metadata()
        .packages
        .iter()
        .filter(|package| is_pure(package.name.as_str()))
    {
        for dependency in package
            .dependencies
            .iter()
            .filter(|d| d.kind != DependencyKind::Development)
        {
            let listed = PURE_MAY_USE.iter().any(|(name, _)| *name == dependency.name);
            if !listed && !is_pure(&dependency.name) {
                findings.push(format!("{} uses {}", package.name, dependency.name));
            }
        }
    }
    assert_none("a pure crate uses what no reason is given for", &findings);
}

#[test]
fn nothing_behind_a_pure_crate_touches_the_world() {
    let mut findings = Vec::new();
    for (package, _) in PURE {
        for name in tree(package) {
            let excepted = EXCEPTIONS.iter().any(|(excepted, _)| *excepted == name);
            if BANNED.contains(&name.as_str()) && !excepted {
                findings.push(format!("{package} brings {name}"));
            }
        }
    }
    assert_none(
        "async, clock, randomness, logging or I/O behind a pure crate",
        &findings,
    );
}

#[test]
fn every_exception_is_still_needed() {
    let all: BTreeSet<String> = PURE.iter().flat_map(|(package, _)| tree(package)).collect();
    let stale: Vec<_> = EXCEPTIONS
        .iter()
        .filter(|(name, _)| !all.contains(*name))
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_none("exceptions that nothing needs any more", &stale);
}

#[test]
fn a_mover_never_links_the_solver() {
    let found: Vec<_> = tree("domicile-worker")
        .into_iter()
        .filter(|name| ["good_lp", "microlp", "clarabel", "domicile-placement"].contains(&name.as_str()))
        .collect();
    assert_none("the solver is linked into the worker", &found);
}

#[test]
fn anyhow_is_for_the_binary() {
    let mut findings = Vec::new();
    for package in metadata()
        .packages
        .iter()
        .filter(|package| package.name.as_str() != "domicile")
    {
        if package
            .dependencies
            .iter()
            .any(|dependency| dependency.name == "anyhow")
        {
            findings.push(package.name.to_string());
        }
    }
    assert_none("crates with anyhow: errors are enums that hold facts", &findings);
}

#[test]
fn versions_stand_in_the_workspace_alone() {
    let mut findings = Vec::new();
    for (_, folder) in crates() {
        let mut in_dependencies = false;
        for line in read(&root().join(folder).join("Cargo.toml")).lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
            } else if in_dependencies && !line.is_empty() && !line.contains("workspace = true") {
                findings.push(format!("{folder}/Cargo.toml: {line}"));
            }
        }
    }
    assert_none("dependencies that do not say `workspace = true`", &findings);
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let mut findings = Vec::new();
    for (_, folder) in crates() {
        let text = read(&root().join(folder).join("Cargo.toml"));
        if !text.contains("[lints]\nworkspace = true") {
            findings.push(folder.to_owned());
        }
    }
    assert_none("crates without `[lints] workspace = true`", &findings);
}

fn is_pure(name: &str) -> bool {
    PURE.iter().any(|(package, _)| *package == name)
}

/// Names of all crates that a crate links, features resolved for it alone. `cargo metadata` would unite the features of
/// the whole workspace and blame a pure crate for what another one asked for.
fn tree(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(root())
        .output()
        .expect("cargo tree runs");
    assert!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names: BTreeSet<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    assert!(
        names.contains(package),
        "cargo tree does not name {package}: its output has changed"
    );
    names
}
