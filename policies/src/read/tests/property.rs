use proptest::prelude::*;

use super::good::ESTATE;
use super::*;
use crate::expression::{Expression, Scope};

/// Reads a text and checks what holds for every answer: each finding lies within the text, at the edges of letters.
fn never_panics(text: &str) {
    if let Err(found) = read(&[source(text)]) {
        assert!(!found.is_empty());
        for finding in found {
            assert!(
                text.get(finding.offset..finding.offset + finding.length)
                    .is_some(),
                "{finding:?}"
            );
            assert!(!finding.message.is_empty());
        }
    }
}

/// Pieces that texts of manifests are made of, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "apiVersion: domicile.dev/v1alpha1\n",
        "kind: ",
        "Domain",
        "Backend\n",
        "metadata: {name: a}\n",
        "spec:\n",
        "  ",
        "\n",
        "---\n",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ": ",
        ",",
        "\"",
        "'",
        "|\n",
        ">\n",
        "&a ",
        "*a",
        "!!str ",
        "? ",
        "<<: ",
        "#",
        "ä",
        "名",
        "\t",
        "\r\n",
        "\u{feff}",
        "\0",
        "0x1",
        "1e3",
        "~",
        "%YAML 1.2\n",
        "...\n",
        "store: ",
        "type: Fs",
        "selector",
        "values",
        "cel: ",
        "backend.labels['x'] == ''",
        "capacity: 1Ti",
        "credentials: ",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// The good estate with some bytes cut out and something put in.
fn damaged() -> impl Strategy<Value = String> {
    (0..ESTATE.len(), 0..60usize, pieces()).prop_map(|(at, cut, put)| {
        let mut text: Vec<char> = ESTATE.chars().collect();
        let end = (at + cut).min(text.len());
        text.splice(at.min(end)..end, put.chars());
        text.into_iter().collect()
    })
}

/// Pieces that expressions are made of.
fn expressions() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "backend",
        "dataset",
        "domain",
        ".labels",
        "['x']",
        ".name",
        ".nines",
        "== ",
        "!= ",
        "&& ",
        "|| ",
        "!",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "'a'",
        "1",
        "1u",
        "2.5",
        "-",
        "+",
        "*",
        "/",
        "%",
        "? ",
        ": ",
        ",",
        " in ",
        "has(",
        ".exists(k, ",
        ".all(k, ",
        ".map(k, ",
        "size(",
        "int(",
        "true",
        "null",
        "b'a'",
        "'\\x'",
        "\"",
        "9223372036854775807",
        "ä",
        " ",
        ".startsWith(",
        "type(",
        ".?",
        "matches(",
        "`a`",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        never_panics(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,200}") {
        never_panics(&text);
    }

    #[test]
    fn pieces_of_manifests_are_read_without_a_panic(text in pieces()) {
        never_panics(&text);
    }

    #[test]
    fn expressions_are_compiled_and_evaluated_without_a_panic(text in expressions()) {
        for scope in [Scope::Rule, Scope::Admission] {
            // The compilation evaluates once over made-up values.
            if let Err(error) = Expression::compile(&text, scope) {
                prop_assert!(!error.message.is_empty());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_estates_are_read_without_a_panic(text in damaged()) {
        never_panics(&text);
    }

    #[test]
    fn canonical_documents_read_the_same_again(
        name in "[a-z]([a-z0-9-]{0,8}[a-z0-9])?",
        root in "[a-zäß ./]{1,20}",
        labels in prop::collection::btree_map("[a-z]{1,5}", "\\PC{0,8}", 0..4),
        capacity in prop::sample::select(vec!["1", "1.5Ki", "40Ti", "1500M"]),
        price in "[0-9]{1,4}\\.[0-9]{0,4}",
        drain in any::<bool>(),
    ) {
        let domain = serde_json::json!({"apiVersion": "domicile.dev/v1alpha1", "kind": "Domain",
            "metadata": {"name": name}, "spec": {"jurisdiction": "DE"}});
        let backend = serde_json::json!({"kind": "Backend", "metadata": {"name": name, "labels": labels},
            "spec": {"domain": name, "store": {"type": "Fs", "root": root}, "capacity": capacity, "drain": drain,
                "price": {"currency": "EUR", "putPer1000": price}}});
        let text = format!("{domain}\n---\n{backend}\n");
        let first = read(&[source(&text)]).map_err(|errors| TestCaseError::fail(format!("{errors:?}")))?;
        let again: Vec<Source> = first
            .documents
            .iter()
            .map(|document| Source { folder: "/elsewhere".to_owned(), ..source(&document.json) })
            .collect();
        let second = read(&again).map_err(|errors| TestCaseError::fail(format!("{errors:?}")))?;
        prop_assert_eq!(&first.backends, &second.backends);
        prop_assert_eq!(&first.documents, &second.documents);
    }
}
