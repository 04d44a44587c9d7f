//! Walks a node once against the table of fields and reports everything that does not fit.

use std::collections::BTreeSet;

use domicile_estate::{
    BackendName, DatasetName, DomainName, Labels, NameError, PolicyName, country, parse_decimal,
    parse_quantity,
};

use super::fields::{Field, NameOf, Type};
use super::record::{Item, Record, Typed};
use super::report::{Report, looks_secret};
use super::yaml::{MapKey, Node, Value};
use crate::diagnostic::Place;
use crate::expression::Expression;
use crate::suggest;

/// Stores of OpenDAL that a user may know and that no mover can use yet.
const STORES_NOT_YET: [&str; 16] = [
    "Azblob", "Azdls", "Azfile", "B2", "Cos", "Dropbox", "Ftp", "Gcs", "Gdrive", "Hdfs", "Http", "Obs",
    "Oss", "Sftp", "Webdav", "Webhdfs",
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
            unknown_field(name, value, fields, key, report);
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

fn unknown_field(name: &MapKey, node: &Node, fields: &[Field], parent: &MapKey, report: &mut Report<'_>) {
    let lower = name.text.to_lowercase();
    let guarded = matches!(parent.text.as_str(), "credentials" | "store" | "secretRef");
    if looks_secret(&lower) || (guarded && lower.contains("secret")) {
        report.secret(name.place);
        report.secret(node.place);
        let message = format!("`{}` would put a secret into a manifest", name.text);
        report.error_help(name.place, message, credentials_help());
        return;
    }
    if guarded {
        report.secret(node.place);
    }
    let known = fields.iter().map(|field| field.name);
    let message = format!("`{}` has no field `{}`", parent.text, name.text);
    let help = match suggest::nearest(&name.text, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if fields.is_empty() => "it has no fields".to_owned(),
        None => format!("it has {}", suggest::list(known)),
    };
    report.error_help(name.place, message, help);
}

pub(super) fn credentials_help() -> &'static str {
    "say where they are found: `credentials: {env: PREFIX}`, `{file: path}` or `{secretRef: {name: …}}`"
}

/// The value of a field, or `None` where it does not fit.
fn typed(field: &Field, key: &MapKey, node: &Node, report: &mut Report<'_>) -> Option<Typed> {
    match field.kind {
        Type::Boolean => boolean(key, node, report).map(Typed::Boolean),
        Type::Integer(min, max) => integer(key, node, (min, max), report).map(Typed::Integer),
        Type::Decimal(min) => decimal(field, key, node, min, report).map(Typed::Decimal),
        Type::Quantity => quantity(field, key, node, report),
        Type::Labels => labels(key, node, report).map(Typed::Labels),
        Type::Texts => texts(field, key, node, false, report).map(Typed::Texts),
        Type::Values => texts(field, key, node, true, report).map(Typed::Texts),
        Type::Names(of) => names(field, key, node, of, report).map(Typed::Texts),
        Type::Object(fields) => object(node, fields, key, report).map(Typed::Record),
        Type::Objects(fields) => objects(node, fields, key, report).map(Typed::Records),
        Type::Variants(variants) => variant(node, variants, key, report).map(Typed::Record),
        Type::Text
        | Type::Word
        | Type::Choice(_)
        | Type::Name(_)
        | Type::Country
        | Type::Currency
        | Type::Expression(_) => word(field, key, node, report),
    }
}

fn wrong_type(key: &MapKey, node: &Node, wanted: &str, help: Option<String>, report: &mut Report<'_>) {
    // The marked text of a map or list would be all its lines.
    let place = if matches!(node.value, Value::Map(_) | Value::List(_)) {
        key.place
    } else {
        node.place
    };
    let message = format!(
        "`{}` must be {wanted}, this is {}",
        key.text,
        node.value.describe()
    );
    report.error_maybe(place, message, help);
}

fn boolean(key: &MapKey, node: &Node, report: &mut Report<'_>) -> Option<bool> {
    if let Value::Boolean(boolean) = node.value {
        return Some(boolean);
    }
    let help = match &node.value {
        Value::Text(text) if matches!(text.to_lowercase().as_str(), "yes" | "on" | "true" | "y") => {
            "write `true`"
        }
        Value::Text(text) if matches!(text.to_lowercase().as_str(), "no" | "off" | "false" | "n") => {
            "write `false`"
        }
        _ => "write `true` or `false`",
    };
    wrong_type(key, node, "`true` or `false`", Some(help.to_owned()), report);
    None
}

fn integer(key: &MapKey, node: &Node, (min, max): (i64, i64), report: &mut Report<'_>) -> Option<i64> {
    let Value::Integer(integer) = node.value else {
        let help = match &node.value {
            Value::Text(text) if text.parse::<i64>().is_ok() => {
                Some(format!("write it without quotes: {text}"))
            }
            _ => None,
        };
        wrong_type(key, node, "a whole number", help, report);
        return None;
    };
    if integer < min {
        report.error(
            node.place,
            format!("`{}` must be at least {min}, this is {integer}", key.text),
        );
        return None;
    }
    if integer > max {
        report.error(
            node.place,
            format!("`{}` must be at most {max}, this is {integer}", key.text),
        );
        return None;
    }
    Some(integer)
}

fn decimal(field: &Field, key: &MapKey, node: &Node, min: u32, report: &mut Report<'_>) -> Option<f64> {
    let number = match &node.value {
        Value::Integer(integer) => integer.to_string(),
        Value::Text(text) => text.clone(),
        Value::Float(text) => {
            wrong_type(
                key,
                node,
                "a decimal",
                Some(format!("write it as a text: \"{text}\"")),
                report,
            );
            return None;
        }
        _ => {
            wrong_type(
                key,
                node,
                "a decimal",
                Some(format!("write for example {}", field.example)),
                report,
            );
            return None;
        }
    };
    match parse_decimal(&number) {
        Ok(value) if value < f64::from(min) => {
            let least = if min == 0 {
                "must not be below zero".to_owned()
            } else {
                format!("must be at least {min}")
            };
            report.error(node.place, format!("`{}` {least}, this is {number}", key.text));
            None
        }
        Ok(value) => Some(value),
        Err(error) => {
            report.error(node.place, error.to_string());
            None
        }
    }
}

fn quantity(field: &Field, key: &MapKey, node: &Node, report: &mut Report<'_>) -> Option<Typed> {
    let text = match &node.value {
        Value::Integer(integer) => integer.to_string(),
        Value::Text(text) => text.clone(),
        Value::Float(text) => {
            let help = format!("write it as a text with a unit, such as {}", field.example);
            report.error_help(
                node.place,
                format!("`{text}` is a floating-point number, not a size"),
                help,
            );
            return None;
        }
        _ => {
            wrong_type(
                key,
                node,
                "a size",
                Some(format!("write for example {}", field.example)),
                report,
            );
            return None;
        }
    };
    match parse_quantity(&text) {
        Ok(bytes) => Some(Typed::Bytes(bytes)),
        Err(error) => {
            report.error(node.place, error.to_string());
            None
        }
    }
}

/// A text of any kind.
fn word(field: &Field, key: &MapKey, node: &Node, report: &mut Report<'_>) -> Option<Typed> {
    let Value::Text(text) = &node.value else {
        let help = match &node.value {
            Value::Integer(_) | Value::Boolean(_) | Value::Float(_) => {
                Some(format!("put `{}` in quotes", key.text))
            }
            _ => Some(format!("write for example {}", field.example)),
        };
        wrong_type(key, node, "a text", help, report);
        return None;
    };
    if text.is_empty() && !matches!(field.kind, Type::Text) {
        report.error(node.place, format!("`{}` must not be empty", key.text));
        return None;
    }
    if text.contains('\0') {
        report.error(node.place, format!("`{}` must not contain NUL", key.text));
        return None;
    }
    let checked = match field.kind {
        Type::Choice(words) => choice(key, text, words),
        Type::Name(of) => check_name(of, text).map_err(|error| (error.to_string(), None)),
        Type::Country => {
            return match country(text) {
                Ok(country) => Some(Typed::Country(country)),
                Err(error) => {
                    report.error_maybe(node.place, not_a_country(text), did_you_mean(error.suggestion()));
                    None
                }
            };
        }
        Type::Currency if text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()) => Ok(()),
        Type::Currency => {
            let message = format!("`{text}` is no currency code of ISO 4217");
            Err((
                message,
                Some("write three capital letters, such as `EUR`".to_owned()),
            ))
        }
        Type::Expression(scope) => match Expression::compile(text, scope) {
            Ok(expression) => return Some(Typed::Expression(expression)),
            Err(error) => Err((error.message, error.help)),
        },
        _ => Ok(()),
    };
    match checked {
        Ok(()) => Some(Typed::Text(text.clone())),
        Err((message, help)) => {
            report.error_maybe(node.place, message, help);
            None
        }
    }
}

fn not_a_country(text: &str) -> String {
    format!("`{text}` is no country code of ISO 3166-1 alpha-2")
}

pub(super) fn did_you_mean(near: Option<&str>) -> Option<String> {
    near.map(|near| format!("did you mean `{near}`?"))
}

fn choice(key: &MapKey, text: &str, words: &[&str]) -> Result<(), (String, Option<String>)> {
    if words.contains(&text) {
        return Ok(());
    }
    let help = match suggest::nearest(text, words.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it is one of {}", suggest::list(words.iter().copied())),
    };
    Err((format!("`{text}` is no value of `{}`", key.text), Some(help)))
}

/// Whether a text can be the name of a document.
pub(super) fn check_name(of: NameOf, text: &str) -> Result<(), NameError> {
    match of {
        NameOf::Domain => DomainName::new(text).map(drop),
        NameOf::Backend => BackendName::new(text).map(drop),
        NameOf::Dataset => DatasetName::new(text).map(drop),
        NameOf::Policy | NameOf::Test => PolicyName::new(text).map(drop),
    }
}

fn labels(key: &MapKey, node: &Node, report: &mut Report<'_>) -> Option<Labels> {
    let Value::Map(entries) = &node.value else {
        wrong_type(
            key,
            node,
            "an object of texts",
            Some("write for example {tier: archive}".to_owned()),
            report,
        );
        return None;
    };
    let mut labels = Labels::new();
    for (name, value) in entries {
        if name.text.is_empty() {
            report.error(name.place, "the key of a label must not be empty");
        }
        match &value.value {
            Value::Text(text) => {
                labels.insert(name.text.clone(), text.clone());
            }
            Value::Boolean(_) | Value::Integer(_) | Value::Float(_) => {
                let help = "put the value in quotes, since labels are texts".to_owned();
                wrong_type(name, value, "a text", Some(help), report);
            }
            _ => wrong_type(name, value, "a text", None, report),
        }
    }
    Some(labels)
}

fn texts(
    field: &Field,
    key: &MapKey,
    node: &Node,
    integers: bool,
    report: &mut Report<'_>,
) -> Option<Vec<(String, Place)>> {
    let Value::List(nodes) = &node.value else {
        wrong_type(
            key,
            node,
            "a list",
            Some(format!("write for example {}", field.example)),
            report,
        );
        return None;
    };
    let mut texts = Vec::with_capacity(nodes.len());
    for entry in nodes {
        match &entry.value {
            Value::Text(text) => texts.push((text.clone(), entry.place)),
            Value::Integer(integer) if integers => texts.push((integer.to_string(), entry.place)),
            _ => {
                let message = format!(
                    "an entry of `{}` must be a text, this is {}",
                    key.text,
                    entry.value.describe()
                );
                report.error_help(entry.place, message, "put it in quotes");
            }
        }
    }
    Some(texts)
}

fn names(
    field: &Field,
    key: &MapKey,
    node: &Node,
    of: NameOf,
    report: &mut Report<'_>,
) -> Option<Vec<(String, Place)>> {
    let mut texts = texts(field, key, node, false, report)?;
    texts.retain(|(text, place)| match check_name(of, text) {
        Ok(()) => true,
        Err(error) => {
            report.error(*place, error.to_string());
            false
        }
    });
    Some(texts)
}

fn objects(
    node: &Node,
    fields: &'static [Field],
    key: &MapKey,
    report: &mut Report<'_>,
) -> Option<Vec<Record>> {
    let Value::List(nodes) = &node.value else {
        let help = "begin every entry with `-`, or write `[{…}]`".to_owned();
        wrong_type(key, node, "a list of objects", Some(help), report);
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
        wrong_type(
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
        wrong_type(
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

/// Marks whatever stands under a name that speaks of a secret, wherever it stands: no finding near it is shown with its
/// lines. The depth of a tree is bounded where it is read.
pub(super) fn guard(node: &Node, report: &mut Report<'_>) {
    match &node.value {
        Value::Map(entries) => {
            for (name, value) in entries {
                if looks_secret(&name.text.to_lowercase()) {
                    report.secret(name.place);
                    report.secret(value.place);
                }
                guard(value, report);
            }
        }
        Value::List(nodes) => nodes.iter().for_each(|node| guard(node, report)),
        _ => {}
    }
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
