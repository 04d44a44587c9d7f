//! What the text of the sources keeps to.

use std::path::Path;

use crate::{PURE, WORLD, assert_none, crates, read, root, texts};

/// Longest file of source. STYLE asks for 500; past this the build says no.
const MAX_LINES: usize = 600;

/// What no line of a pure crate outside its tests may say, and why.
const IMPURE: &[(&str, &str)] = &[
    ("async fn", "a decision does not wait"),
    (".await", "a decision does not wait"),
    ("std::env", "the environment comes in as a value"),
    ("std::fs", "the world stands at the edge"),
    ("std::net", "the world stands at the edge"),
    ("std::process", "the world stands at the edge"),
    ("std::thread", "equal inputs give equal outputs"),
    ("std::io", "the world stands at the edge"),
    ("println!", "rendering is done elsewhere"),
    ("Instant::now", "time comes in as a value"),
    ("SystemTime", "time comes in as a value"),
    ("HashMap", "its order of iteration is random"),
    ("HashSet", "its order of iteration is random"),
    ("static mut", "no hidden state"),
    ("thread_local!", "no hidden state"),
    ("include_dir", "the world stands at the edge"),
];

fn below(path: &str, folder: &str) -> bool {
    Path::new(path).starts_with(Path::new(folder).join("src"))
}

/// The lines of a source file before its unit tests, without comments, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default()))
}

#[test]
fn pure_crates_touch_nothing() {
    let mut findings = Vec::new();
    for (path, text) in texts(&["rs"]) {
        let pure = PURE.iter().any(|(_, folder)| below(&path, folder));
        if !pure || path.ends_with("tests.rs") || path.contains("/tests/") {
            continue;
        }
        for (number, line) in code_lines(&text) {
            for (word, why) in IMPURE.iter().filter(|(word, _)| line.contains(word)) {
                findings.push(format!("{path}:{number}: `{word}`: {why}"));
            }
        }
    }
    assert_none("a pure crate touches the world", &findings);
}

#[test]
fn the_lists_of_banned_types_are_equal() {
    let text = |folder: &str| read(&root().join(folder).join("clippy.toml"));
    let first = text(PURE[0].1);
    for word in [
        "HashMap",
        "HashSet",
        "Instant",
        "SystemTime",
        "env::var",
        "thread::sleep",
    ] {
        assert!(first.contains(word), "{} must ban {word}", PURE[0].1);
    }
    for (_, folder) in PURE {
        assert_eq!(
            text(folder),
            first,
            "{folder}/clippy.toml differs from that of {}",
            PURE[0].1
        );
    }
    for (_, folder) in WORLD {
        let text = text(folder);
        for line in [
            "allow-unwrap-in-tests = true",
            "too-many-lines-threshold = 70",
            "too-many-arguments-threshold = 6",
        ] {
            assert!(text.contains(line), "{folder}/clippy.toml lacks `{line}`");
        }
    }
}

#[test]
fn no_file_is_a_monster() {
    let long: Vec<_> = texts(&["rs"])
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines, at most {MAX_LINES}"))
        .collect();
    assert_none("files that ask to be split", &long);
}

#[test]
fn every_crate_opens_with_what_it_is() {
    let mut findings = Vec::new();
    for (_, folder) in crates() {
        let source = root().join(folder).join("src");
        let file = if source.join("lib.rs").exists() {
            "lib.rs"
        } else {
            "main.rs"
        };
        let text = read(&source.join(file));
        let opening = text.lines().take_while(|line| line.starts_with("//!")).count();
        if opening < 3 {
            findings.push(format!("{folder}/src/{file} opens with {opening} lines"));
        }
    }
    assert_none(
        "crates that do not say what they are and what they must not do",
        &findings,
    );
}

#[test]
fn every_invariant_is_named_in_the_code() {
    let sources: Vec<_> = texts(&["rs"])
        .into_iter()
        .filter(|(path, _)| !path.starts_with("tests/"))
        .collect();
    let ids = (1..=5)
        .map(|n| format!("PL-{n}"))
        .chain((1..=5).map(|n| format!("MV-{n}")))
        .chain((1..=2).map(|n| format!("SC-{n}")));
    let missing: Vec<_> = ids
        .filter(|id| !sources.iter().any(|(_, text)| text.contains(id.as_str())))
        .collect();
    assert_none("invariants that no predicate carries", &missing);
}

#[test]
fn nothing_is_left_for_later_and_no_machine_is_named() {
    // Put together here, so that this file does not find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("/wo", "rk/"),
        concat!("/tm", "p/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
    ];
    let mut findings = Vec::new();
    for (path, text) in texts(&["rs", "toml", "md", "yaml", "yml", "sh", "sql", "json"]) {
        for (at, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                findings.push(format!("{path}:{}: `{word}`", at + 1));
            }
        }
    }
    assert_none("left for later, or the path of one machine", &findings);
}
