//! Documents in canonical form: JSON with sorted keys and absolute paths. Reading it again gives the same values.

use serde_json::Value as Json;

use super::document::Draft;
use super::fields::API_VERSION;
use super::path;
use super::yaml::{Node, Value};

/// A document as JSON. `folder` is where its relative paths start.
pub(super) fn json(draft: &Draft, folder: &str) -> String {
    let mut root = value(&draft.root);
    if let Some(map) = root.as_object_mut() {
        map.insert("apiVersion".to_owned(), Json::from(API_VERSION));
        // It is the program's word and would be out of date.
        map.remove("status");
    }
    if draft.kind() == "Backend" {
        let is_folder = root.pointer("/spec/store/type").and_then(Json::as_str) == Some("Fs");
        if is_folder {
            make_absolute(root.pointer_mut("/spec/store/root"), folder);
        }
        make_absolute(root.pointer_mut("/spec/credentials/file"), folder);
    }
    sorted(root).to_string()
}

fn make_absolute(slot: Option<&mut Json>, folder: &str) {
    if let Some(slot) = slot
        && let Some(text) = slot.as_str()
    {
        *slot = Json::from(path::absolute(folder, text));
    }
}

/// Nothing is the same as not stated, so it is left out.
fn value(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Boolean(boolean) => Json::from(*boolean),
        Value::Integer(integer) => Json::from(*integer),
        // No field takes a floating-point number, so that none comes here.
        Value::Float(text) | Value::Text(text) => Json::from(text.as_str()),
        Value::List(nodes) => Json::Array(nodes.iter().map(value).collect()),
        Value::Map(entries) => Json::Object(
            entries
                .iter()
                .filter(|(_, node)| !matches!(node.value, Value::Null))
                .map(|(key, node)| (key.text.clone(), value(node)))
                .collect(),
        ),
    }
}

/// Sorted whether or not some other crate of the build has asked `serde_json` to keep the order of insertion.
fn sorted(json: Json) -> Json {
    match json {
        Json::Object(map) => {
            let mut entries: Vec<(String, Json)> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Json::Object(entries.into_iter().collect())
        }
        Json::Array(values) => Json::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}
