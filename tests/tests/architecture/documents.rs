//! What is written for people is true to the tree.

use crate::{assert_none, crates, read, root, texts};

#[test]
fn the_architecture_names_every_crate() {
    let text = read(&root().join("ARCHITECTURE.md"));
    let missing: Vec<_> = crates()
        .filter(|(package, folder)| {
            !text.contains(&format!("`{package}`")) || !text.contains(&format!("{folder}/"))
        })
        .map(|(package, folder)| format!("{package} in {folder}/"))
        .collect();
    assert_none("crates that ARCHITECTURE.md does not name", &missing);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut findings = Vec::new();
    for (path, text) in texts(&["md"]) {
        let folder = root()
            .join(&path)
            .parent()
            .expect("a file has a folder")
            .to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            if !folder.join(file).exists() {
                findings.push(format!("{path}: {target}"));
            }
        }
    }
    assert_none("links that lead nowhere", &findings);
}

#[test]
fn the_readme_says_which_rust() {
    let workspace = read(&root().join("Cargo.toml"));
    let version = workspace
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .expect("the workspace says which Rust it needs")
        .trim_matches('"')
        .to_owned();
    assert!(
        read(&root().join("README.md")).contains(&format!("Rust {version}")),
        "README.md must name Rust {version}"
    );
}
