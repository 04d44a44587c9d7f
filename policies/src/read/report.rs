//! Collects what is wrong, keeps secrets out of what is shown, and puts it into order.

use std::collections::BTreeSet;

use super::fields::NameOf;
use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::manifests::Source;

/// Findings kept; after so many the rest says nothing new.
const FINDINGS_MAX: usize = 1000;
/// Lines around a marked place that a renderer may show.
const LINES_SHOWN: usize = 3;

/// The findings so far.
pub(super) struct Report<'s> {
    sources: &'s [Source],
    findings: Vec<Diagnostic>,
    /// Places that hold, or may hold, a secret.
    secrets: BTreeSet<Place>,
    /// Text that could not be read to a tree: source and first byte. Secrets there have no known place.
    unread: Vec<(usize, usize)>,
    /// Names of documents that cannot be used, which was reported where they are given.
    bad_names: BTreeSet<(NameOf, String)>,
}

impl<'s> Report<'s> {
    pub(super) fn new(sources: &'s [Source]) -> Self {
        Self {
            sources,
            findings: Vec::new(),
            secrets: BTreeSet::new(),
            unread: Vec::new(),
            bad_names: BTreeSet::new(),
        }
    }

    pub(super) fn push(&mut self, finding: Diagnostic) {
        if !self.is_full() {
            self.findings.push(finding);
        }
    }

    /// Whether further findings are dropped, so that no work on their text is worth it.
    pub(super) fn is_full(&self) -> bool {
        self.findings.len() >= FINDINGS_MAX
    }

    pub(super) fn error(&mut self, place: Place, message: impl Into<String>) {
        self.push(Diagnostic::error(place, message));
    }

    pub(super) fn error_help(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.push(Diagnostic::error(place, message).with_help(help));
    }

    /// An error with a help if there is one.
    pub(super) fn error_maybe(&mut self, place: Place, message: impl Into<String>, help: Option<String>) {
        self.push(Diagnostic {
            help,
            ..Diagnostic::error(place, message)
        });
    }

    pub(super) fn warning(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.push(Diagnostic::warning(place, message).with_help(help));
    }

    /// An error of the syntax. Nothing is known of the lines around it, so they are kept back where a word in them
    /// looks like the name of a secret.
    pub(super) fn syntax_error(&mut self, place: Place, message: String) {
        let lines = self.lines_around(place).to_lowercase();
        let finding = Diagnostic::error(place, message);
        let secret = looks_secret(&lines);
        self.push(if secret { finding.hidden() } else { finding });
    }

    /// Remembers that a place holds a secret: findings near it are shown with the place masked.
    pub(super) fn secret(&mut self, place: Place) {
        self.secrets.insert(place);
    }

    /// Remembers that a source was not read from some byte on: findings that show lines of it are kept back where a
    /// word in these looks like the name of a secret.
    pub(super) fn unread(&mut self, source: usize, from: usize) {
        self.unread.push((source, from));
    }

    /// Remembers that a document states a name that it cannot have.
    pub(super) fn bad_name(&mut self, of: NameOf, name: &str) {
        self.bad_names.insert((of, name.to_owned()));
    }

    /// An error of a reference that cannot be a name, unless a document states that very name: the mistake is there.
    pub(super) fn bad_reference(&mut self, of: NameOf, name: &str, place: Place, message: String) {
        if !self.bad_names.contains(&(of, name.to_owned())) {
            self.error(place, message);
        }
    }

    /// Whether anything is an error.
    pub(super) fn has_errors(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity == Severity::Error)
    }

    /// The text from some lines before a place to some lines behind it.
    fn lines_around(&self, place: Place) -> &'s str {
        let text = self
            .sources
            .get(place.source)
            .map_or("", |source| source.text.as_str());
        let (start, end) = lines_around(text, place);
        text.get(start..end).unwrap_or_default()
    }

    /// Errors and warnings, each by source and place.
    pub(super) fn finish(mut self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        for finding in &mut self.findings {
            let text = self
                .sources
                .get(finding.source)
                .map_or("", |source| source.text.as_str());
            let (start, end) = lines_around(text, finding.place());
            let overlaps = |secret: &&Place| {
                secret.source == finding.source
                    && secret.offset < end
                    && secret.offset + secret.length >= start
            };
            finding.masked = self.secrets.iter().filter(overlaps).copied().collect();
            finding.hide_source |= self.unread.iter().any(|(source, from)| {
                let shown = text.get(start.max(*from)..end).unwrap_or_default();
                *source == finding.source && looks_secret(&shown.to_lowercase())
            });
        }
        self.findings
            .sort_by(|a, b| (a.place(), &a.message).cmp(&(b.place(), &b.message)));
        self.findings.dedup();
        self.findings
            .into_iter()
            .partition(|finding| finding.severity == Severity::Error)
    }
}

fn lines_around(text: &str, place: Place) -> (usize, usize) {
    let bytes = text.as_bytes();
    let first = place.offset.min(bytes.len());
    let last = (place.offset + place.length).min(bytes.len());
    let before = bytes.get(..first).unwrap_or_default().iter().rev().enumerate();
    let start = before
        .filter(|(_, b)| **b == b'\n')
        .nth(LINES_SHOWN)
        .map_or(0, |(back, _)| first - back);
    let behind = bytes.get(last..).unwrap_or_default().iter().enumerate();
    let end = behind
        .filter(|(_, b)| **b == b'\n')
        .nth(LINES_SHOWN)
        .map_or(bytes.len(), |(on, _)| last + on);
    (start, end)
}

/// Whether a field's name, or a text in lower case, speaks of a secret.
pub(super) fn looks_secret(lower: &str) -> bool {
    const WORDS: [&str; 14] = [
        "accesskey",
        "access_key",
        "access-key",
        "secretaccess",
        "secretkey",
        "secret_",
        "password",
        "passwd",
        "passphrase",
        "token",
        "apikey",
        "api_key",
        "privatekey",
        "private_key",
    ];
    WORDS.iter().any(|word| lower.contains(word))
}

/// Whether a value looks like a key, a password in a URL or the like: better masked than shown.
pub(super) fn looks_like_key(value: &str) -> bool {
    /// Shortest run of letters and digits that is taken for a key.
    const RUN_MIN: usize = 16;
    let is_key = |run: &str| {
        run.len() >= RUN_MIN
            && run.bytes().any(|b| b.is_ascii_digit())
            && run.bytes().any(|b| b.is_ascii_alphabetic())
    };
    value.contains(['@', '?', '+', '='])
        || looks_secret(&value.to_lowercase())
        || value
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '/')
            .any(is_key)
}

/// Whether a text is a URL that names a user or a password.
pub(super) fn is_url_with_user(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| rest.contains('@'))
}
