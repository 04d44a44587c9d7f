//! Values that hold no further fields: numbers, texts, names, labels.

use domicile_estate::{
    BackendName, DatasetName, DomainName, Labels, LinkName, NameError, PolicyName, UnknownCountry, country,
    group_table, parse_decimal, parse_quantity,
};

use super::fields::{Field, NameOf, Type};
use super::record::Typed;
use super::report::Report;
use super::yaml::{MapKey, Node, Value};
use crate::diagnostic::Place;
use crate::expression::Expression;
use crate::suggest;

pub(super) fn wrong_type(
    key: &MapKey,
    node: &Node,
    wanted: &str,
    help: Option<String>,
    report: &mut Report<'_>,
) {
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

pub(super) fn boolean(key: &MapKey, node: &Node, report: &mut Report<'_>) -> Option<bool> {
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

pub(super) fn integer(
    key: &MapKey,
    node: &Node,
    (min, max): (i64, i64),
    report: &mut Report<'_>,
) -> Option<i64> {
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

pub(super) fn decimal(
    field: &Field,
    key: &MapKey,
    node: &Node,
    min: u32,
    report: &mut Report<'_>,
) -> Option<f64> {
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

pub(super) fn quantity(field: &Field, key: &MapKey, node: &Node, report: &mut Report<'_>) -> Option<Typed> {
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

/// Bits per second.
pub(super) fn bit_rate(field: &Field, key: &MapKey, node: &Node, report: &mut Report<'_>) -> Option<Typed> {
    let text = match &node.value {
        Value::Integer(integer) => integer.to_string(),
        Value::Text(text) => text.clone(),
        _ => {
            let help = format!("write for example {}", field.example);
            wrong_type(key, node, "a number of bits per second", Some(help), report);
            return None;
        }
    };
    const HELP: &str = "write bits per second with a unit of powers of ten, such as `10G` or `500M`";
    match parse_quantity(&text) {
        Ok(rate) if rate.0 > 0 => Some(Typed::Bytes(rate)),
        Ok(_) => {
            let help = "to keep bytes from going this way write `forbidden: true`";
            report.error_help(node.place, format!("`{}` must be above zero", key.text), help);
            None
        }
        Err(_) => {
            report.error_help(
                node.place,
                format!("`{text}` is no number of bits per second"),
                HELP,
            );
            None
        }
    }
}

/// A text of any kind.
pub(super) fn word(field: &Field, key: &MapKey, node: &Node, report: &mut Report<'_>) -> Option<Typed> {
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
        Type::Name(of) => {
            return match check_name(of, text) {
                Ok(()) => Some(Typed::Text(text.clone())),
                Err(error) => {
                    report.bad_reference(of, text, node.place, error.to_string());
                    None
                }
            };
        }
        Type::Country => {
            return match country(text) {
                Ok(country) => Some(Typed::Country(country)),
                Err(error) => {
                    let (message, help) = not_a_country(text, error.suggestion());
                    report.error_help(node.place, message, help);
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

/// Message and help for a text that is not one country.
fn not_a_country(text: &str, near: Option<&str>) -> (String, String) {
    const CODE: &str = "use a two-letter code of ISO 3166-1 such as `DE`";
    let is_group = !matches!(group_table().expand(text), Err(UnknownCountry::Unknown { .. }));
    if is_group {
        let message = format!("`{text}` is a group of countries; name one country");
        return (message, CODE.to_owned());
    }
    let message = format!("`{text}` is no country code of ISO 3166-1 alpha-2");
    (message, did_you_mean(near).unwrap_or_else(|| CODE.to_owned()))
}

/// The help for a text that is neither a country nor a group of them.
pub(super) fn countries_help(error: &UnknownCountry) -> String {
    let help = "use a two-letter code of ISO 3166-1 such as `DE`, or a group such as `EU`";
    did_you_mean(error.suggestion()).unwrap_or_else(|| match error {
        UnknownCountry::UnknownCondition { group, .. } => format!("write `{group}` alone"),
        _ => help.to_owned(),
    })
}

fn did_you_mean(near: Option<&str>) -> Option<String> {
    near.map(|near| format!("did you mean `{near}`?"))
}

pub(super) fn choice(key: &MapKey, text: &str, words: &[&str]) -> Result<(), (String, Option<String>)> {
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
        NameOf::Link => LinkName::new(text).map(drop),
        NameOf::Dataset => DatasetName::new(text).map(drop),
        NameOf::Policy | NameOf::Test => PolicyName::new(text).map(drop),
    }
}

pub(super) fn labels(key: &MapKey, node: &Node, report: &mut Report<'_>) -> Option<Labels> {
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

pub(super) fn texts(
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

pub(super) fn names(
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
            report.bad_reference(of, text, *place, error.to_string());
            false
        }
    });
    Some(texts)
}
