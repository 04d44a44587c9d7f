//! Answers for programs: the same value as JSON, YAML or JSON lines.

use anyhow::Context as _;
use saphyr::{LoadableYamlNode as _, Yaml, YamlEmitter};
use serde::Serialize;

use crate::cli::Format;
use crate::terminal::{answer, answering};

/// Answers with a value in the form asked for; `items` are the lines of `jsonl`. Returns whether a program's form
/// was asked for: if not, the caller draws a table.
///
/// # Errors
/// If the value cannot be written; a reader that has gone away is no error.
pub fn structured<T: Serialize>(format: Format, value: &impl Serialize, items: &[T]) -> anyhow::Result<bool> {
    match format {
        // Straight to the reader: a plan may be larger than what fits in memory.
        Format::Json => answering(|out| serde_json::to_writer_pretty(out, value))?,
        Format::Yaml => answer(&yaml(value)?),
        Format::Jsonl => {
            for item in items {
                answering(|out| serde_json::to_writer(out, item))?;
            }
        }
        Format::Table | Format::Wide | Format::Name => return Ok(false),
    }
    Ok(true)
}

/// Answers with names, one a line, if that form was asked for.
pub fn names<'a>(format: Format, names: impl Iterator<Item = &'a str>) -> bool {
    if format != Format::Name {
        return false;
    }
    let lines: String = names.map(|name| format!("{name}\n")).collect();
    answer(&lines);
    true
}

/// A list of things as Kubernetes lists them. Fields stand in the order of their names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List<'a, T> {
    api_version: &'static str,
    items: &'a [T],
    kind: &'static str,
}

/// A list of these things.
pub fn list<T: Serialize>(items: &[T]) -> List<'_, T> {
    List {
        api_version: "domicile.dev/v1alpha1",
        items,
        kind: "List",
    }
}

/// A value as YAML. JSON is YAML, so the parser that reads manifests gives the tree that is written.
fn yaml(value: &impl Serialize) -> anyhow::Result<String> {
    let json = serde_json::to_string(value)?;
    let documents = Yaml::load_from_str(&json).context("the answer could not be written as YAML")?;
    let mut text = String::new();
    for document in &documents {
        YamlEmitter::new(&mut text)
            .dump(document)
            .map_err(|e| anyhow::anyhow!("the answer could not be written as YAML: {e:?}"))?;
    }
    Ok(text.trim_start_matches("---\n").to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn yaml_reads_back_as_the_same_value() {
        let value = json!({"name": "NO", "text": "a: b\nc", "n": 1.25, "big": 123456789012u64, "list": [1, "2", {"k": true}], "none": []});
        let text = super::yaml(&value).unwrap();
        assert!(text.starts_with("big: 123456789012\n"), "{text}");
        assert!(text.contains("n: 1.25"), "{text}");
        use saphyr::LoadableYamlNode as _;
        let read = saphyr::Yaml::load_from_str(&text).unwrap();
        assert_eq!(
            read[0].as_mapping_get("name").and_then(|v| v.as_str()),
            Some("NO")
        );
        assert_eq!(
            read[0].as_mapping_get("text").and_then(|v| v.as_str()),
            Some("a: b\nc")
        );
    }
}
