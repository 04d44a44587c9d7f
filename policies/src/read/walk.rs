//! Walks a node once against the table of fields and reports everything that does not fit.

use std::collections::BTreeSet;

use super::fields::{Field, Type};
use super::leaf;
use super::record::{Item, Record, Typed};
use super::report::{Report, is_url_with_user, looks_like_key, looks_secret};
use super::yaml::{MapKey, Node, Value};
use crate::diagnostic::Place;
use crate::suggest;

/// Stores of OpenDAL that a user may know and that no mover can use yet.
const STORES_NOT_YET: [&str; 10] = [
    "Azdls", "Azfile", "B2", "Cos", "Dropbox", "Gdrive", "Hdfs", "Obs", "Oss", "Webhdfs",
];

/// An object by its fields. `key` is where its own key is, for what is missing from it.
pub(super) fn object(
    node: &Node,
    fields: &'static [Field],
    key: &MapKey,
    report: &mut Report<'_>,
) -> Option<Record> {
    let entries = match &node.value {
        Value::Map(entries) => entries.as_slice(),
        Value::Null => &[],
        other => {
            let names = suggest::list(fields.iter().map(|field| field.name).take(6));
            let message = format!("`{}` must be an object, this is {}", key.text, other.describe());
            if key.text == "credentials" {
                report.secret(node.place);
                report.error_help(key.place, message, credentials_help());
            } else {
                report.error_help(node.place, message, format!("it has fields such as {names}"));
            }
            return None;
        }
    };
    let mut record = Record {
        place: node.place,
        ..Record::default()
    };
    if node.place.length == 0 {
        record.place = key.place;
    }
    for (name, value) in entries {
        let Some(field) = fields.iter().find(|field| field.name == name.text) else {
            // What was probably meant counts as stated, so that one slip is one error.
            record
                .stated
                .extend(unknown_field(name, value, fields, key, report));
            continue;
        };
        take_field(field, name, value, &mut record, report);
    }
    require(fields, &record, key, report);
    Some(record)
}

fn take_field(
    field: &'static Field,
    name: &MapKey,
    node: &Node,
    record: &mut Record,
    report: &mut Report<'_>,
) {
    if matches!(node.value, Value::Null) && !matches!(field.kind, Type::Variants(_)) {
        // As in Kubernetes, nothing is the same as not stated.
        return;
    }
    record.stated.insert(field.name);
    if let Some(value) = typed(field, name, node, report) {
        record.items.insert(
            field.name,
            Item {
                key: name.place,
                place: node.place,
                value,
            },
        );
    }
}

/// Reports the required fields that are not stated.
pub(super) fn require(fields: &[Field], record: &Record, key: &MapKey, report: &mut Report<'_>) {
    for field in fields {
        if field.required && !record.stated.contains(field.name) {
            let message = format!("`{}` lacks `{}`", key.text, field.name);
            report.error_help(
                key.place,
                message,
                format!("write for example `{}: {}`", field.name, field.example),
            );
        }
    }
}

/// Reports a field that is not in the table; returns the one that was probably meant.
fn unknown_field(
    name: &MapKey,
    node: &Node,
    fields: &'static [Field],
    parent: &MapKey,
    report: &mut Report<'_>,
) -> Option<&'static str> {
    let lower = name.text.to_lowercase();
    let guarded = matches!(parent.text.as_str(), "credentials" | "store" | "secretRef");
    if looks_secret(&lower) || (guarded && lower.contains("secret")) {
        report.secret(node.place);
        let message = format!("`{}` would put a secret into a manifest", name.text);
        report.error_help(name.place, message, credentials_help());
        return None;
    }
    let known = fields.iter().map(|field| field.name);
    let message = format!("`{}` has no field `{}`", parent.text, name.text);
    let near = suggest::nearest(&name.text, known.clone());
    // Next to credentials, what is no slip of the pen may be a secret under any name.
    let unclear = near.is_none() && parent.text != "store";
    if guarded && (unclear || may_be_key(node)) {
        report.secret(node.place);
    }
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None if fields.is_empty() => "it has no fields".to_owned(),
        None => format!("it has {}", suggest::list(known)),
    };
    report.error_help(name.place, message, help);
    near
}

/// Whether a value, or one within it, looks like a key.
fn may_be_key(node: &Node) -> bool {
    match &node.value {
        Value::Text(text) => looks_like_key(text),
        Value::List(nodes) => nodes.iter().any(may_be_key),
        Value::Map(entries) => entries.iter().any(|(_, node)| may_be_key(node)),
        _ => false,
    }
}

pub(super) fn credentials_help() -> &'static str {
    "say where they are found: `credentials: {env: PREFIX}`, `{file: path}` or `{secretRef: {name: …}}`"
}

/// The value of a field, or `None` where it does not fit.
fn typed(field: &Field, key: &MapKey, node: &Node, report: &mut Report<'_>) -> Option<Typed> {
    match field.kind {
        Type::Boolean => leaf::boolean(key, node, report).map(Typed::Boolean),
        Type::Integer(min, max) => leaf::integer(key, node, (min, max), report).map(Typed::Integer),
        Type::Decimal(min) => leaf::decimal(field, key, node, min, report).map(Typed::Decimal),
        Type::Quantity => leaf::quantity(field, key, node, report),
        Type::BitRate => leaf::bit_rate(field, key, node, report),
        Type::Labels => leaf::labels(key, node, report).map(Typed::Labels),
        Type::Texts => leaf::texts(field, key, node, false, report).map(Typed::Texts),
        Type::Values => leaf::texts(field, key, node, true, report).map(Typed::Texts),
        Type::Names(of) => leaf::names(field, key, node, of, report).map(Typed::Texts),
        Type::Object(fields) => object(node, fields, key, report).map(Typed::Record),
        Type::OneOf(fields) => one_of(node, fields, key, report).map(Typed::Record),
        Type::Objects(fields) => objects(node, fields, key, report).map(Typed::Records),
        Type::Variants(variants) => variant(node, variants, key, report).map(Typed::Record),
        Type::Text
        | Type::Word
        | Type::Choice(_)
        | Type::Name(_)
        | Type::Country
        | Type::Currency
        | Type::Expression(_) => leaf::word(field, key, node, report),
    }
}

/// An object that states exactly one of its fields.
fn one_of(node: &Node, fields: &'static [Field], key: &MapKey, report: &mut Report<'_>) -> Option<Record> {
    let record = object(node, fields, key, report)?;
    // Of an object with unknown fields alone these were reported.
    let is_empty = match &node.value {
        Value::Map(entries) => entries
            .iter()
            .all(|(_, value)| matches!(value.value, Value::Null)),
        _ => true,
    };
    if record.stated.len() > 1 || is_empty {
        let names = suggest::list(fields.iter().map(|field| field.name));
        let message = format!("`{}` must have exactly one of {names}", key.text);
        let example = fields.first().map_or("", |field| field.example);
        let first = fields.first().map_or("", |field| field.name);
        report.error_help(
            key.place,
            message,
            format!("write for example `{{{first}: {example}}}`"),
        );
        return None;
    }
    Some(record)
}

fn objects(
    node: &Node,
    fields: &'static [Field],
    key: &MapKey,
    report: &mut Report<'_>,
) -> Option<Vec<Record>> {
    let Value::List(nodes) = &node.value else {
        let help = "begin every entry with `-`, or write `[{…}]`".to_owned();
        leaf::wrong_type(key, node, "a list of objects", Some(help), report);
        return None;
    };
    let mut records = Vec::with_capacity(nodes.len());
    let mut seen = BTreeSet::new();
    for entry in nodes {
        // What an entry lacks is marked at its first line.
        let place = first_key(entry);
        let entry_key = MapKey {
            text: format!("{}[]", key.text),
            place,
        };
        let Some(record) = object(entry, fields, &entry_key, report) else {
            continue;
        };
        let name = record.text("name");
        if !name.is_empty() && !seen.insert(name.to_owned()) {
            let message = format!("`{}` has two entries named `{name}`", key.text);
            report.error_help(
                record.place_of("name"),
                message,
                "give every entry a name of its own",
            );
        }
        records.push(record);
    }
    Some(records)
}

fn first_key(node: &Node) -> Place {
    match &node.value {
        Value::Map(entries) => entries.first().map_or(node.place, |(key, _)| key.place),
        _ => node.place,
    }
}

/// An object whose `type` says which fields it has.
fn variant(
    node: &Node,
    variants: &'static [(&'static str, &'static [Field])],
    key: &MapKey,
    report: &mut Report<'_>,
) -> Option<Record> {
    let Value::Map(entries) = &node.value else {
        leaf::wrong_type(
            key,
            node,
            "an object",
            Some("write for example {type: Fs, root: ./data}".to_owned()),
            report,
        );
        return None;
    };
    let known = || suggest::list(variants.iter().map(|(name, _)| *name));
    let Some((type_key, type_node)) = entries.iter().find(|(name, _)| name.text == "type") else {
        let message = format!("`{}` lacks `type`", key.text);
        report.error_help(key.place, message, format!("it is one of {}", known()));
        return None;
    };
    let Value::Text(text) = &type_node.value else {
        leaf::wrong_type(
            type_key,
            type_node,
            "a text",
            Some(format!("it is one of {}", known())),
            report,
        );
        return None;
    };
    let Some((name, fields)) = variants.iter().find(|(name, _)| name == text) else {
        unknown_variant(text, type_node.place, variants, report);
        return None;
    };
    let rest = entries
        .iter()
        .filter(|(name, _)| name.text != "type")
        .cloned()
        .collect();
    let rest = Node {
        place: node.place,
        value: Value::Map(rest),
    };
    let mut record = object(&rest, fields, key, report)?;
    record.variant = name;
    Some(record)
}

/// Marks whatever stands under a name that speaks of a secret, wherever it stands, so that no finding near it shows it.
/// The depth of a tree is bounded where it is read.
pub(super) fn guard(node: &Node, report: &mut Report<'_>) {
    match &node.value {
        Value::Map(entries) => {
            for (name, value) in entries {
                let inline = name.text == "credentials" && !matches!(value.value, Value::Map(_));
                if inline || looks_secret(&name.text.to_lowercase()) {
                    report.secret(value.place);
                }
                guard(value, report);
            }
        }
        Value::List(nodes) => nodes.iter().for_each(|node| guard(node, report)),
        Value::Text(text) if is_url_with_user(text) => report.secret(node.place),
        _ => {}
    }
}

/// The same for a value that does not come into the tree, for its key is given twice or its object is too large.
pub(super) fn guard_dropped(key: &MapKey, node: &Node, report: &mut Report<'_>) {
    let names_access = matches!(key.text.as_str(), "credentials" | "env" | "file" | "endpoint");
    if names_access || looks_secret(&key.text.to_lowercase()) {
        report.secret(node.place);
    }
    guard(node, report);
}

fn unknown_variant(text: &str, place: Place, variants: &[(&str, &[Field])], report: &mut Report<'_>) {
    let known = variants.iter().map(|(name, _)| *name);
    let is_known_elsewhere = STORES_NOT_YET
        .iter()
        .any(|store| store.eq_ignore_ascii_case(text));
    if is_known_elsewhere {
        let message = format!("`{text}` stores are not supported by this version yet");
        report.error_help(place, message, format!("supported are {}", suggest::list(known)));
        return;
    }
    let help = match suggest::nearest(text, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("supported are {}", suggest::list(known)),
    };
    report.error_help(place, format!("`{text}` is no type of store"), help);
}
