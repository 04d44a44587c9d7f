//! The table of fields as JSON Schema and as a page for people.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::expression::Scope;
use crate::read::fields::{API_VERSION, Field, KINDS, KindTable, METADATA, NameOf, Type};

/// A number of at least zero as a text, with at most one point.
const DECIMAL: &str = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)$";
/// A Kubernetes quantity of at least zero.
const QUANTITY: &str = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[kMGTPE])?$";
/// A DNS-1123 subdomain.
const DNS_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// The JSON Schema (draft 2020-12) of every kind of manifest, for editors and for Kubernetes. What it accepts may still
/// be refused by [`crate::read`], which also knows references and expressions; what it refuses is always refused.
#[must_use]
pub fn json_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://domicile.dev/schema/v1alpha1.json",
        "title": "Manifests of Domicile",
        "oneOf": KINDS.iter().map(kind_schema).collect::<Vec<_>>(),
    })
}

fn kind_schema(table: &KindTable) -> Value {
    let mut metadata = object_schema(METADATA, None);
    if let Some(name) = metadata.pointer_mut("/properties/name") {
        *name = name_schema(table.name_of);
    }
    json!({
        "title": table.kind,
        "description": table.doc,
        "type": "object",
        "properties": {
            "apiVersion": {
                "const": API_VERSION,
                "description": "Only the first manifest of a text must state it.",
            },
            "kind": {"const": table.kind},
            "metadata": metadata,
            "spec": object_schema(table.spec, None),
            "status": {"type": "object", "description": "What the program shows; not read."},
        },
        "required": ["kind", "metadata", "spec"],
        "additionalProperties": false,
    })
}

fn object_schema(fields: &[Field], variant: Option<&str>) -> Value {
    let mut properties = Map::new();
    let mut required: Vec<&str> = Vec::new();
    if let Some(variant) = variant {
        properties.insert("type".to_owned(), json!({"const": variant}));
        required.push("type");
    }
    for field in fields {
        properties.insert(field.name.to_owned(), field_schema(field));
        if field.required {
            required.push(field.name);
        }
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn field_schema(field: &Field) -> Value {
    let mut schema = type_schema(field.kind);
    if let Some(map) = schema.as_object_mut() {
        let mut description = field.doc.to_owned();
        if !field.default.is_empty() {
            let _ = write!(description, " Default: {}.", field.default);
        }
        map.insert("description".to_owned(), Value::from(description));
    }
    schema
}

fn type_schema(kind: Type) -> Value {
    match kind {
        Type::Text => json!({"type": "string"}),
        Type::Word | Type::Expression(_) => json!({"type": "string", "minLength": 1}),
        Type::Boolean => json!({"type": "boolean"}),
        Type::Integer(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Type::Decimal(min) => json!({"anyOf": [
            {"type": "string", "pattern": DECIMAL, "maxLength": 30},
            {"type": "integer", "minimum": min},
        ]}),
        Type::Quantity => json!({"anyOf": [
            {"type": "string", "pattern": QUANTITY},
            {"type": "integer", "minimum": 0},
        ]}),
        Type::BitRate => json!({"anyOf": [
            {"type": "string", "pattern": QUANTITY},
            {"type": "integer", "minimum": 1},
        ]}),
        Type::Choice(words) => json!({"enum": words}),
        Type::Name(of) => name_schema(of),
        Type::Country => json!({"type": "string", "pattern": "^[A-Z]{2}$"}),
        Type::Currency => json!({"type": "string", "pattern": "^[A-Z]{3}$"}),
        Type::Labels => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Type::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Type::Values => json!({"type": "array", "items": {"type": ["string", "integer"]}}),
        Type::Names(of) => json!({"type": "array", "items": name_schema(of)}),
        Type::Object(fields) => object_schema(fields, None),
        Type::OneOf(fields) => {
            let mut schema = object_schema(fields, None);
            if let Some(map) = schema.as_object_mut() {
                map.extend([
                    ("minProperties".to_owned(), json!(1)),
                    ("maxProperties".to_owned(), json!(1)),
                ]);
            }
            schema
        }
        Type::Objects(fields) => json!({"type": "array", "items": object_schema(fields, None)}),
        Type::Variants(variants) => json!({
            "oneOf": variants.iter().map(|(name, fields)| object_schema(fields, Some(name))).collect::<Vec<_>>(),
        }),
    }
}

fn name_schema(of: NameOf) -> Value {
    match of {
        NameOf::Dataset => json!({"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[^/]*$"}),
        NameOf::Domain | NameOf::Backend | NameOf::Link | NameOf::Policy | NameOf::Test => {
            json!({"type": "string", "maxLength": 253, "pattern": DNS_NAME})
        }
    }
}

/// Every field of every kind as a page in Markdown.
#[must_use]
pub fn field_reference() -> String {
    let mut page = String::from("# Fields of the manifests\n\n");
    page.push_str("Made from the table of fields in the crate `policies`; a test keeps it equal.\n");
    for table in &KINDS {
        let _ = write!(page, "\n## {}\n\n{}\n\n", table.kind, table.doc);
        page.push_str("| field | holds | default | meaning | example |\n| --- | --- | --- | --- | --- |\n");
        rows("spec", table.spec, &mut page);
    }
    page
}

fn rows(path: &str, fields: &[Field], page: &mut String) {
    for field in fields {
        let path = format!("{path}.{}", field.name);
        let default = if field.required {
            "**required**"
        } else {
            field.default
        };
        let example = field.example.replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{path}` | {} | {default} | {} | `{example}` |",
            holds(field.kind),
            field.doc
        );
        match field.kind {
            Type::Object(fields) | Type::OneOf(fields) => rows(&path, fields, page),
            Type::Objects(fields) => rows(&format!("{path}[]"), fields, page),
            Type::Variants(variants) => {
                for (name, fields) in variants {
                    rows(&format!("{path}({name})"), fields, page);
                }
            }
            _ => {}
        }
    }
}

fn holds(kind: Type) -> String {
    match kind {
        Type::Text | Type::Word => "text".to_owned(),
        Type::Boolean => "true or false".to_owned(),
        Type::Integer(min, max) if max > 1_000_000_000 => format!("whole number from {min}"),
        Type::Integer(min, max) => format!("whole number {min} to {max}"),
        Type::Decimal(min) => format!("decimal as text, at least {min}"),
        Type::Quantity => "size".to_owned(),
        Type::BitRate => "bits per second".to_owned(),
        Type::Choice(words) => words.join(", "),
        Type::Name(of) => format!("name of a {}", noun(of)),
        Type::Names(of) => format!("names of {}s", noun(of)),
        Type::Country => "country code".to_owned(),
        Type::Currency => "currency code".to_owned(),
        Type::Expression(Scope::Rule) => "CEL over backend and dataset".to_owned(),
        Type::Expression(Scope::Admission) => "CEL over dataset and domain".to_owned(),
        Type::Labels => "texts by key".to_owned(),
        Type::Texts => "texts".to_owned(),
        Type::Values => "texts or whole numbers".to_owned(),
        Type::Object(_) => "object".to_owned(),
        Type::OneOf(_) => "object with one field".to_owned(),
        Type::Objects(_) => "list of objects".to_owned(),
        Type::Variants(variants) => {
            let names: Vec<&str> = variants.iter().map(|(name, _)| *name).collect();
            format!("object by `type`: {}", names.join(", "))
        }
    }
}

fn noun(of: NameOf) -> &'static str {
    match of {
        NameOf::Domain => "domain",
        NameOf::Backend => "backend",
        NameOf::Link => "link",
        NameOf::Dataset => "dataset",
        NameOf::Policy => "policy",
        NameOf::Test => "test",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validator() -> jsonschema::Validator {
        jsonschema::draft202012::new(&json_schema()).expect("a schema")
    }

    #[test]
    fn the_schema_is_one_of_its_draft() {
        assert!(jsonschema::draft202012::meta::is_valid(&json_schema()));
    }

    #[test]
    fn good_documents_fit_the_schema() {
        let source = crate::Source {
            name: "estate.yaml".to_owned(),
            text: crate::read::EXAMPLE.to_owned(),
            folder: "/estate".to_owned(),
            stored: false,
        };
        let manifests = crate::read(&[source]).expect("a good estate");
        let validator = validator();
        assert!(manifests.documents.len() >= 8);
        for document in manifests.documents {
            let json = serde_json::from_str(&document.json).expect("canonical JSON");
            let errors: Vec<String> = validator
                .iter_errors(&json)
                .map(|error| error.to_string())
                .collect();
            assert!(
                errors.is_empty(),
                "{} {}: {errors:?}",
                document.kind,
                document.name
            );
        }
    }

    #[test]
    fn wrong_documents_do_not() {
        let validator = validator();
        let domain = |spec: Value| json!({"kind": "Domain", "metadata": {"name": "a"}, "spec": spec});
        assert!(validator.is_valid(&domain(json!({"jurisdiction": "DE"}))));
        for wrong in [
            json!({"jurisdiction": "DE", "wrong": 1}),
            json!({}),
            json!({"jurisdiction": "Germany"}),
            json!({"jurisdiction": "DE", "admission": [{"name": "x"}]}),
        ] {
            assert!(!validator.is_valid(&domain(wrong.clone())), "{wrong}");
        }
        let link = |spec: Value| json!({"kind": "Link", "metadata": {"name": "a"}, "spec": spec});
        let end = json!({"region": "r"});
        assert!(validator.is_valid(&link(
            json!({"from": end, "to": {"backend": "b"}, "bandwidthBitsPerSecond": "10G"})
        )));
        for wrong in [
            json!({"from": end}),
            json!({"from": end, "to": {}}),
            json!({"from": end, "to": {"region": "r", "domain": "d"}}),
            json!({"from": end, "to": {"backend": "B"}}),
            json!({"from": end, "to": end, "bandwidthBitsPerSecond": "10Gbps"}),
            json!({"from": end, "to": end, "latencyMilliseconds": "12"}),
        ] {
            assert!(!validator.is_valid(&link(wrong.clone())), "{wrong}");
        }
        let policy = |more: &str| {
            let spec = format!("{{\"selector\": {{\"matchAll\": true}}, {more}}}");
            let spec: Value = serde_json::from_str(&spec).expect("JSON");
            json!({"kind": "ReplicationPolicy", "metadata": {"name": "a"}, "spec": spec})
        };
        for (good, wrong) in [
            (
                r#""require": [{"name": "r", "nines": "11"}]"#,
                r#""require": [{"name": "r", "nines": 1.5}]"#,
            ),
            (
                r#""objective": {"goals": [{"minimise": "Cost"}]}"#,
                r#""objective": {"goals": [{"minimise": "Money"}]}"#,
            ),
            (
                r#""movement": {"maxBytes": "10Ti"}"#,
                r#""movement": {"maxBytes": "10TB"}"#,
            ),
            (
                r#""movement": {"paybackDays": 90}"#,
                r#""movement": {"paybackDays": 0}"#,
            ),
        ] {
            assert!(validator.is_valid(&policy(good)), "{good}");
            assert!(!validator.is_valid(&policy(wrong)), "{wrong}");
        }
        assert!(!validator.is_valid(&json!({"kind": "Domian", "metadata": {"name": "a"}, "spec": {}})));
    }

    #[test]
    fn the_page_of_fields_is_up_to_date() {
        assert_eq!(field_reference(), include_str!("../../docs/manifest-fields.md"));
    }
}
