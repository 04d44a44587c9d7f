//! Documents: kind, name and labels of every manifest, and which of two with one name counts.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::Labels;

use super::fields::{API_VERSION, KINDS, KindTable, METADATA, NameOf};
use super::leaf;
use super::record::Record;
use super::report::Report;
use super::walk;
use super::yaml::{MapKey, Node, Value};
use crate::diagnostic::Place;
use crate::manifests::Source;
use crate::suggest;

/// A manifest with a known kind and a good name, before its `spec` is looked at.
pub(super) struct Draft {
    pub(super) table: &'static KindTable,
    pub(super) name: String,
    /// Where its name is.
    pub(super) place: Place,
    pub(super) labels: Labels,
    pub(super) source: usize,
    pub(super) stored: bool,
    /// The whole document, for its canonical form.
    pub(super) root: Node,
}

impl Draft {
    pub(super) fn kind(&self) -> &'static str {
        self.table.kind
    }
}

/// Documents by kind and name. A fresh one replaces a stored one; of two fresh ones the second is an error.
#[derive(Default)]
pub(super) struct Drafts {
    pub(super) by_name: BTreeMap<(NameOf, String), Draft>,
    /// Names of documents that exist but may be broken, so that references to them are no further errors.
    pub(super) known: BTreeSet<(NameOf, String)>,
    /// Documents whose name cannot be used. They are looked at for further mistakes only.
    pub(super) nameless: Vec<Draft>,
    /// Kinds of which a document states no name at all: a reference to one of them may mean that document.
    guessed: BTreeSet<NameOf>,
}

impl Drafts {
    pub(super) fn of_kind(&self, of: NameOf) -> impl Iterator<Item = &Draft> {
        self.by_name
            .values()
            .filter(move |draft| draft.table.name_of == of)
    }

    pub(super) fn knows(&self, of: NameOf, name: &str) -> bool {
        self.known.contains(&(of, name.to_owned()))
    }

    /// Reports a reference to a document that does not exist.
    pub(super) fn check(&self, of: NameOf, name: &str, place: Place, report: &mut Report<'_>) {
        if self.knows(of, name) || self.guessed.contains(&of) || report.is_full() {
            return;
        }
        let names = || {
            self.known
                .iter()
                .filter(|(kind, _)| *kind == of)
                .map(|(_, name)| name.as_str())
        };
        let noun = match of {
            NameOf::Domain => "domain",
            NameOf::Backend => "backend",
            NameOf::Link => "link",
            NameOf::Dataset => "dataset",
            NameOf::Policy => "policy",
            NameOf::Test => "test",
        };
        let help = match suggest::nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names().next().is_none() => format!("no manifest describes a {noun}"),
            None if names().count() <= 8 => format!("there are {}", suggest::list(names())),
            None => format!("no manifest describes a {noun} of that name"),
        };
        report.error_help(place, format!("there is no {noun} `{name}`"), help);
    }

    fn add(&mut self, draft: Draft, sources: &[Source], report: &mut Report<'_>) {
        let key = (draft.table.name_of, draft.name.clone());
        self.known.insert(key.clone());
        match self.by_name.get(&key) {
            Some(first) if first.stored == draft.stored => {
                let message = format!(
                    "there are two documents of kind {} named `{}`",
                    draft.kind(),
                    draft.name
                );
                report.error_help(draft.place, message, first_place(first, sources));
            }
            Some(first) if draft.stored && !first.stored => {}
            _ => {
                self.by_name.insert(key, draft);
            }
        }
    }
}

/// Where the first of two documents is, in words.
fn first_place(first: &Draft, sources: &[Source]) -> String {
    let source = sources.get(first.source);
    let name = source.map_or("another source", |source| source.name.as_str());
    let before = source
        .and_then(|source| source.text.get(..first.place.offset))
        .unwrap_or_default();
    format!(
        "the first is in `{name}`, line {}",
        before.matches('\n').count() + 1
    )
}

/// Takes all documents of a source.
pub(super) fn take_all(
    nodes: Vec<Node>,
    index: usize,
    sources: &[Source],
    drafts: &mut Drafts,
    report: &mut Report<'_>,
) {
    let stored = sources.get(index).is_some_and(|source| source.stored);
    let mut version: Option<String> = None;
    let mut is_first = true;
    for node in nodes {
        if matches!(node.value, Value::Null) {
            continue;
        }
        walk::guard(&node, report);
        if let Some((mut draft, is_named)) = take(node, &mut version, is_first, drafts, report) {
            draft.source = index;
            draft.stored = stored;
            if is_named {
                drafts.add(draft, sources, report);
            } else {
                drafts.nameless.push(draft);
            }
        }
        is_first = false;
    }
}

/// A document with a known kind, and whether it has a good name.
fn take(
    root: Node,
    version: &mut Option<String>,
    is_first: bool,
    drafts: &mut Drafts,
    report: &mut Report<'_>,
) -> Option<(Draft, bool)> {
    let Value::Map(entries) = &root.value else {
        let message = format!("a manifest must be an object, this is {}", root.value.describe());
        report.error_help(
            root.place,
            message,
            "it begins with `apiVersion`, `kind` and `metadata`",
        );
        return None;
    };
    let find = |name: &str| {
        entries
            .iter()
            .find(|(key, node)| key.text == name && !matches!(node.value, Value::Null))
    };
    let first = entries.first().map_or(root.place, |(key, _)| key.place);
    check_version(find("apiVersion"), first, version, is_first, report);
    check_top_level(entries, report);
    let table = find_kind(find("kind"), first, report);
    let metadata = match find("metadata") {
        Some((key, node)) => walk::object(node, METADATA, key, report),
        None => {
            report.error_help(
                first,
                "the manifest lacks `metadata`",
                "write `metadata: {name: …}`",
            );
            None
        }
    };
    // References to a document that is broken would only repeat its error.
    let written = find("metadata").and_then(|(_, node)| written_name(node));
    let Some(table) = table else {
        // It may have been meant as any kind.
        let name = written.unwrap_or_default();
        drafts
            .known
            .extend(KINDS.iter().map(|table| (table.name_of, name.clone())));
        return None;
    };
    let place = find("metadata").map_or(first, |(key, _)| key.place);
    let metadata = metadata.unwrap_or_else(|| Record {
        place,
        ..Record::default()
    });
    let name = name_of(table, &metadata, report);
    if name.is_none() {
        match &written {
            Some(written) => {
                drafts.known.insert((table.name_of, written.clone()));
                report.bad_name(table.name_of, written);
            }
            None => {
                drafts.guessed.insert(table.name_of);
            }
        }
    }
    let is_named = name.is_some();
    let draft = Draft {
        table,
        name: name.or(written).unwrap_or_default(),
        place: metadata.place_of("name"),
        labels: metadata.labels("labels"),
        source: 0,
        stored: false,
        root,
    };
    Some((draft, is_named))
}

/// The name that a document states, be it good or not.
fn written_name(metadata: &Node) -> Option<String> {
    let Value::Map(entries) = &metadata.value else {
        return None;
    };
    let (_, name) = entries.iter().find(|(key, _)| key.text == "name")?;
    match &name.value {
        Value::Text(text) | Value::Float(text) if !text.is_empty() => Some(text.clone()),
        Value::Integer(integer) => Some(integer.to_string()),
        Value::Boolean(boolean) => Some(boolean.to_string()),
        _ => None,
    }
}

fn check_version(
    entry: Option<&(MapKey, Node)>,
    first: Place,
    version: &mut Option<String>,
    is_first: bool,
    report: &mut Report<'_>,
) {
    match entry {
        Some((
            _,
            Node {
                value: Value::Text(text),
                place,
            },
        )) => {
            if text != API_VERSION {
                let help = format!("write `apiVersion: {API_VERSION}`");
                report.error_help(
                    *place,
                    format!("`{text}` is no version that this program reads"),
                    help,
                );
            }
            if is_first {
                *version = Some(text.clone());
            }
        }
        Some((_, node)) => {
            report.error_help(
                node.place,
                "`apiVersion` must be a text",
                format!("write `{API_VERSION}`"),
            );
            *version = Some(String::new());
        }
        None if version.is_none() => {
            let help = format!(
                "write `apiVersion: {API_VERSION}`; later documents of the same text may leave it out"
            );
            report.error_help(
                first,
                "the first manifest of a text must state `apiVersion`",
                help,
            );
            // Said once for all documents of the text.
            *version = Some(String::new());
        }
        None => {}
    }
}

fn check_top_level(entries: &[(MapKey, Node)], report: &mut Report<'_>) {
    const KNOWN: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];
    for (key, _) in entries {
        // As in Kubernetes, what a program shows can be handed back to it: its `status` is not read.
        if KNOWN.contains(&key.text.as_str()) || key.text == "status" {
            continue;
        }
        let help = match suggest::nearest(&key.text, KNOWN) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has {}; all else stands under `spec`", suggest::list(KNOWN)),
        };
        report.error_help(key.place, format!("a manifest has no field `{}`", key.text), help);
    }
}

fn find_kind(
    entry: Option<&(MapKey, Node)>,
    first: Place,
    report: &mut Report<'_>,
) -> Option<&'static KindTable> {
    let kinds = || KINDS.iter().map(|table| table.kind);
    let Some((_, node)) = entry else {
        report.error_help(
            first,
            "the manifest lacks `kind`",
            format!("it is one of {}", suggest::list(kinds())),
        );
        return None;
    };
    let Value::Text(text) = &node.value else {
        report.error_help(
            node.place,
            "`kind` must be a text",
            format!("it is one of {}", suggest::list(kinds())),
        );
        return None;
    };
    let table = KINDS.iter().find(|table| table.kind == text);
    if table.is_none() {
        let help = match suggest::nearest(text, kinds()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it is one of {}", suggest::list(kinds())),
        };
        report.error_help(node.place, format!("`{text}` is no kind of manifest"), help);
    }
    table
}

fn name_of(table: &KindTable, metadata: &Record, report: &mut Report<'_>) -> Option<String> {
    let item = metadata.item("name")?;
    let name = metadata.text("name");
    match leaf::check_name(table.name_of, name) {
        Ok(()) => Some(name.to_owned()),
        Err(error) => {
            report.error(item.place, error.to_string());
            None
        }
    }
}

/// The `spec` of a draft, walked once.
pub(super) fn spec(draft: &Draft, report: &mut Report<'_>) -> Option<Record> {
    let Value::Map(entries) = &draft.root.value else {
        return None;
    };
    match entries.iter().find(|(key, _)| key.text == "spec") {
        Some((key, node)) => walk::object(node, draft.table.spec, key, report),
        None => {
            let message = match draft.name.as_str() {
                "" => format!("the {} lacks `spec`", draft.kind()),
                name => format!("the {} `{name}` lacks `spec`", draft.kind()),
            };
            report.error(draft.place, message);
            None
        }
    }
}
