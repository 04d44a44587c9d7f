use super::good::ESTATE;
use super::*;
use crate::diagnostic::Severity;

/// Ten mistakes in one text: ten errors, each at its place, in the order of the text.
const TEN: &str = r#"apiVersion: domicile.dev/v1alpha1
kind: Domain
metadata: {name: a}
spec: {jurisdiction: DEU}
---
kind: Backnd
metadata: {name: typo}
---
kind: Backend
metadata: {name: one, labels: {ready: yes, tier: 1}}
spec:
  domain: aa
  store: {type: Fs, root: ./one}
  capasity: 40Ti
  price: {currency: EUR, storagePerGiBMonth: 0.012}
---
kind: Backend
metadata: {name: two}
spec:
  domain: a
  store: {type: Hdfs, root: x}
  capacity: 40TB
---
kind: ReplicationPolicy
metadata: {name: p}
spec:
  selector: {}
  require:
    - {name: r, copies: 2, spread: [{across: zone, groups: 3}]}
"#;

#[test]
fn ten_mistakes_are_ten_errors() {
    let found = errors(TEN);
    let expected = [
        ("`DEU` is no country code", "did you mean `DE`?", "DEU"),
        (
            "`Backnd` is no kind of manifest",
            "did you mean `Backend`?",
            "Backnd",
        ),
        ("`tier` must be a text, this is a whole number", "quotes", "1"),
        ("there is no domain `aa`", "", "aa"),
        (
            "`spec` has no field `capasity`",
            "did you mean `capacity`?",
            "capasity",
        ),
        (
            "this is a floating-point number",
            "write it as a text: \"0.012\"",
            "0.012",
        ),
        (
            "`Hdfs` stores are not supported by this version yet",
            "supported are `Fs`, `S3`, `Azblob`, `Gcs`, `Webdav`, `Sftp`, `Ftp`, `Http` and `Memory`",
            "Hdfs",
        ),
        ("`TB` is no unit of size", "", "40TB"),
        ("the selector is empty", "matchAll: true", "{}"),
        ("2 copies cannot lie in 3 groups", "", "3"),
    ];
    for (found, (message, help, marked)) in found.iter().zip(expected) {
        assert!(found.0.contains(message), "{found:?} is not {message}");
        assert!(found.1.contains(help), "{found:?} lacks {help}");
        assert_eq!(found.2, marked, "{found:?}");
    }
    // `capasity` is one mistake: the field that was meant does not count as missing.
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn secrets_are_refused_and_never_shown() {
    let cases = [
        ("{env: GIESSEN}", "{accessKeyId: AKIAX, secretAccessKey: hunter2}"),
        ("{env: GIESSEN}", "hunter2"),
        ("{env: GIESSEN}", "{env: \"hunter2/+=\"}"),
        ("{env: GIESSEN}", "{password: hunter2}"),
        (
            "{type: Fs, root: /srv/giessen}",
            "{type: S3, bucket: b, secret_access_key: hunter2}",
        ),
        ("{type: Fs, root: /srv/giessen}", "{type: Gcs, token: hunter2}"),
        ("https://s3.example.org", "https://user:hunter2@s3.example.org"),
        ("https://s3.example.org", "https://s3.example.org?sig=hunter2"),
        (
            "capacity: 40Ti",
            "capacity: 4Tib\n  credential: {secretKey: hunter2}",
        ),
    ];
    for (from, to) in cases {
        assert!(ESTATE.contains(from), "{from}");
        let text = ESTATE.replacen(from, to, 1);
        let found = read(&[source(&text)]).expect_err(to);
        assert!(found.iter().any(|d| !d.masked.is_empty()), "{to}: {found:#?}");
        assert!(found.iter().all(|d| !d.hide_source), "{to}: {found:#?}");
        for finding in found {
            let said = format!("{} {:?}", finding.message, finding.help);
            assert!(!said.contains("hunter2"), "{to}: {said}");
            let shown = near(&text, &finding);
            assert!(!shown.contains("hunter2"), "{to}: {shown}");
        }
    }
}

/// The lines around a finding as they may be shown, three to each side.
fn near(text: &str, finding: &Diagnostic) -> String {
    let shown = finding.shown_text(&source(text));
    assert_eq!(shown.len(), text.len());
    let first = text[..finding.offset].matches('\n').count().saturating_sub(3);
    let marked = text[finding.offset..finding.offset + finding.length]
        .lines()
        .count();
    let lines: Vec<_> = shown.lines().skip(first).take(6 + marked).collect();
    lines.join("\n")
}

#[test]
fn a_secret_of_any_form_is_masked() {
    let cases = [
        "  credentials:\n    secretAccessKey: |\n      hunter2\n      hunter2\n    accessKeyId: >-\n      hunter2",
        "  credentials: {secretAccessKey: 'hunter2\n    hunter2', accessKeyId: \"hunter2\"}",
        "  credentials: {secretAccessKey: &x hunter2}",
        "  credentials: {secretAccessKey: !!str hunter2}",
        "  credentials: {secretAccessKey: Größe-hunter2-ß}",
        "  credentials: {secretAccessKey: a, secretAccessKey: hunter2}",
        "  credentials: {env: A}\n  credentials: {env: hunter2}",
        "  credentials: [hunter2, hunter2]",
        "  credentials: {? {secretAccessKey: hunter2} : hunter2}",
        "  credentials: {mine: hunter2}",
        "  credentials: {envv: \"hunter2/+=\"}",
        "  credentials: {env: A}\n  extra:\n    - {token:\n      [hunter2,\n      hunter2]}",
    ];
    for case in cases {
        let text = ESTATE.replacen("  credentials: {env: GIESSEN}", case, 1);
        assert!(text.contains(case));
        for finding in read(&[source(&text)]).expect_err(case) {
            let shown = near(&text, &finding);
            assert!(
                !finding.hide_source && !shown.contains("hunter2"),
                "{case}: {finding:?} {shown}"
            );
        }
    }
}

#[test]
fn a_slip_of_the_pen_near_credentials_is_shown() {
    for (from, to) in [
        ("bucket: b,", "buckt: my-data,"),
        ("{file: keys/oslo}", "{fil: keys/oslo}"),
        ("{env: GIESSEN}", "{envv: GIESSEN}"),
        ("{type: Fs, root: /srv/giessen}", "{type: Fs, rot: /srv/giessen}"),
    ] {
        let text = ESTATE.replacen(from, to, 1);
        let found = read(&[source(&text)]).expect_err(to);
        assert!(near(&text, &found[0]).contains(to), "{found:?}");
    }
}

#[test]
fn what_is_near_text_that_could_not_be_read_shows_no_secret() {
    let text = format!(
        "{HEAD}---\nkind: Backend\nlabels: {{a: 1, a: 2}}\nspec:\n  credentials: {{password: hunter2}}\n\n\n\n\n\n\n  - ]\n"
    );
    let found = read(&[source(&text)]).expect_err("no YAML");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].hide_source && !found[1].hide_source, "{found:?}");
}

#[test]
fn a_syntax_error_near_a_secret_is_hidden() {
    let text = "kind: Backend\nspec:\n  credentials: {secretAccessKey: hunter2\n  x: ]\n";
    let found = read(&[source(text)]).expect_err("no YAML");
    assert!(found.iter().all(|finding| finding.hide_source), "{found:?}");
}

const HEAD: &str =
    "apiVersion: domicile.dev/v1alpha1\nkind: Domain\nmetadata: {name: a}\nspec: {jurisdiction: DE}\n";

fn backend(name: &str, store: &str, extra: &str) -> String {
    format!(
        "---\nkind: Backend\nmetadata: {{name: {name}}}\nspec: {{domain: a, location: {{country: DE}}, store: {store}, capacity: 1Ti{extra}}}\n"
    )
}

#[test]
fn an_estate_has_one_currency() {
    let text = [
        HEAD,
        &backend("one", "{type: Fs, root: a}", ", price: {currency: EUR}"),
        &backend("two", "{type: Fs, root: b}", ", price: {currency: USD}"),
    ]
    .concat();
    let found = errors(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].0.contains("this is `USD`, that of `one` is `EUR`"),
        "{found:?}"
    );
    assert_eq!(found[0].2, "USD");
}

#[test]
fn prices_without_any_currency_are_warned_of() {
    let cases = [
        ("{putPer1000: \"0.1\"}", "{egressPerGiB: 1}", 1),
        ("{putPer1000: \"0.1\"}", "{currency: USD}", 0),
        (
            "{putPer1000: \"0.0\", minObjectSize: 1Ki}",
            "{egressPerGiB: 0}",
            0,
        ),
    ];
    for (one, two, count) in cases {
        let text = [
            HEAD,
            &backend("one", "{type: Fs, root: a}", &format!(", price: {one}")),
            &backend("two", "{type: Fs, root: b}", &format!(", price: {two}")),
        ]
        .concat();
        let warnings = read(&[source(&text)]).expect("no errors").warnings;
        assert_eq!(warnings.len(), count, "{one} {two}: {warnings:?}");
        for warning in warnings {
            assert_eq!(warning.severity, Severity::Warning);
            assert!(warning.message.contains("`EUR` is taken"), "{warning:?}");
            assert_eq!(Some(warning.offset), text.find("price:"));
        }
    }
}

#[test]
fn two_names_for_one_place_are_an_error() {
    let cases = [
        ("{type: Fs, root: ./x}", "{type: Fs, root: /estate/y/../x/}", 1),
        ("{type: Fs, root: ./x}", "{type: Fs, root: ./y}", 0),
        (
            "{type: S3, bucket: b, endpoint: \"http://h\"}",
            "{type: S3, bucket: b, endpoint: \"http://H/\", root: /}",
            1,
        ),
        (
            "{type: S3, bucket: b, endpoint: \"http://h\"}",
            "{type: S3, bucket: b, endpoint: \"http://h\", root: r}",
            0,
        ),
        ("{type: Memory}", "{type: Memory}", 0),
    ];
    for (one, two, count) in cases {
        let text = [HEAD, &backend("one", one, ""), &backend("two", two, "")].concat();
        let found = errors(&text);
        assert_eq!(found.len(), count, "{two}: {found:?}");
        assert!(
            found
                .iter()
                .all(|found| found.0.contains("`two` and `one` are the same place")),
            "{found:?}"
        );
    }
}

#[test]
fn what_lies_where_a_copy_would_lie_is_an_error() {
    let dataset = |name: &str, holder: &str, prefix: &str| {
        format!(
            "---\nkind: Dataset\nmetadata: {{name: {name}}}\nspec: {{domain: a, origin: {{backend: {holder}, prefix: {prefix:?}}}}}\n"
        )
    };
    let backends = |inner: &str| {
        [
            HEAD,
            &backend("outer", "{type: Fs, root: x}", ""),
            &backend("inner", inner, ""),
        ]
        .concat()
    };
    for (inner, origin, says) in [
        // The copy of `d` on `outer` would lie in x/d.
        (
            "{type: Fs, root: x/d}",
            "",
            Some("`inner` lies where the copy of `d` on `outer`"),
        ),
        (
            "{type: Fs, root: x/d/deep}",
            "e",
            Some("`inner` lies where the copy of `d` on `outer`"),
        ),
        (
            "{type: Fs, root: .}",
            "x/d",
            Some("the origin of `d` lies where the copy of `d` on `outer`"),
        ),
        ("{type: Fs, root: x/e}", "d", None),
        ("{type: Fs, root: xd}", "d", None),
        ("{type: Fs, root: .}", "y/d", None),
    ] {
        let found = errors(&[backends(inner), dataset("d", "inner", origin)].concat());
        let said = found
            .iter()
            .any(|found| says.is_some_and(|says| found.0.contains(says)));
        assert_eq!(said, says.is_some(), "{inner} {origin}: {found:?}");
        assert!(says.is_some() || found.is_empty(), "{inner} {origin}: {found:?}");
    }
}

#[test]
fn origins_within_each_other_are_an_error() {
    let dataset = |name: &str, prefix: &str| {
        format!(
            "---\nkind: Dataset\nmetadata: {{name: {name}}}\nspec: {{domain: a, origin: {{backend: one, prefix: {prefix:?}}}}}\n"
        )
    };
    for (first, second, count) in [
        ("x", "x/", 1),
        ("x", "x/y", 1),
        ("x/y", "x", 1),
        ("", "x", 1),
        ("x", "xy", 0),
        ("x/a", "x/b", 0),
    ] {
        let text = [
            HEAD,
            &backend("one", "{type: Fs, root: a}", ""),
            &dataset("d", first),
            &dataset("e", second),
        ]
        .concat();
        let found = errors(&text);
        assert_eq!(found.len(), count, "{first} {second}: {found:?}");
        assert!(
            found
                .iter()
                .all(|found| found.0.contains("the origins of `d` and `e` on `one`")),
            "{found:?}"
        );
    }
}

#[test]
fn documents_need_a_version_a_kind_and_a_name_of_their_own() {
    let twice = format!("{HEAD}---\nkind: Domain\nmetadata: {{name: a}}\nspec: {{jurisdiction: FR}}\n");
    let cases = [
        (
            "kind: Domain\nmetadata: {name: a}\nspec: {jurisdiction: DE}\n",
            "must state `apiVersion`",
            "kind",
        ),
        (
            "apiVersion: v1\nkind: Domain\nmetadata: {name: a}\nspec: {jurisdiction: DE}\n",
            "`v1` is no version",
            "v1",
        ),
        (
            "apiVersion: domicile.dev/v1alpha1\nmetadata: {name: a}\n",
            "lacks `kind`",
            "apiVersion",
        ),
        (
            "apiVersion: domicile.dev/v1alpha1\nkind: Domain\nspec: {jurisdiction: DE}\n",
            "lacks `metadata`",
            "apiVersion",
        ),
        (
            "apiVersion: domicile.dev/v1alpha1\nkind: Domain\nmetadata: {}\nspec: {jurisdiction: DE}\n",
            "`metadata` lacks `name`",
            "metadata",
        ),
        (
            "apiVersion: domicile.dev/v1alpha1\nkind: Domain\nmetadata: {name: a}\n",
            "lacks `spec`",
            "a",
        ),
        (
            "apiVersion: domicile.dev/v1alpha1\nkind: Domain\nmetadata: {name: a}\nspec:\n",
            "lacks `jurisdiction`",
            "spec",
        ),
        ("just a text", "must be an object", "just a text"),
        ("a: [", "no valid YAML", ""),
        (&twice, "two documents of kind Domain named `a`", "a"),
    ];
    for (text, message, marked) in cases {
        let found = errors(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].0.contains(message), "{found:?}");
        assert_eq!(found[0].2, marked, "{found:?}");
    }
    assert!(
        errors(&twice)[0]
            .1
            .contains("the first is in `estate.yaml`, line 3")
    );
}

#[test]
fn places_are_bytes_also_behind_other_letters() {
    let text = "apiVersion: domicile.dev/v1alpha1\nkind: Domain\nmetadata: {name: a}\nspec: {title: Größe 名前, jurisdiction: ZZ}\n";
    let found = errors(text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].2, "ZZ");
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    for text in [
        format!("{}1{}", "[".repeat(5000), "]".repeat(5000)),
        "- ".repeat(5000),
        "{a: ".repeat(5000),
    ] {
        let found = read(&[source(&text)]).expect_err("too deep");
        assert!(
            found.iter().all(|finding| finding.severity == Severity::Error),
            "{found:?}"
        );
    }
}

#[test]
fn an_origin_does_not_contain_another_backend() {
    let dataset = |prefix: &str| {
        format!(
            "---\nkind: Dataset\nmetadata: {{name: d}}\nspec: {{domain: a, origin: {{backend: one, prefix: {prefix:?}}}}}\n"
        )
    };
    let cases = [
        ("{type: Fs, root: /x}", "{type: Fs, root: /x/y}", "", 1),
        ("{type: Fs, root: /x}", "{type: Fs, root: /x/y}", "y", 1),
        ("{type: Fs, root: /x}", "{type: Fs, root: /x/y/z}", "y", 1),
        ("{type: Fs, root: /x}", "{type: Fs, root: /x/yy}", "y", 0),
        ("{type: Fs, root: /x}", "{type: Fs, root: /xy}", "", 0),
        ("{type: Fs, root: /x/y}", "{type: Fs, root: /x}", "", 0),
        ("{type: S3, bucket: b}", "{type: S3, bucket: b, root: y}", "", 1),
        ("{type: S3, bucket: b}", "{type: S3, bucket: bb, root: y}", "", 0),
    ];
    for (one, two, prefix, count) in cases {
        let text = [
            HEAD,
            &backend("one", one, ""),
            &backend("two", two, ""),
            &dataset(prefix),
        ]
        .concat();
        let found = errors(&text);
        assert_eq!(found.len(), count, "{one} {two} {prefix}: {found:?}");
        assert!(
            found
                .iter()
                .all(|f| f.0 == "the origin of `d` contains the backend `two`"),
            "{found:?}"
        );
    }
}

#[test]
fn an_origin_that_is_a_whole_backend_for_copies_is_warned_of() {
    for (extra, prefix, count) in [("", "", 1), ("", "p", 0), (", accessMode: ReadOnly", "", 0)] {
        let dataset = format!(
            "---\nkind: Dataset\nmetadata: {{name: d}}\nspec: {{domain: a, origin: {{backend: one, prefix: {prefix:?}}}}}\n"
        );
        let text = [HEAD, &backend("one", "{type: Fs, root: /x}", extra), &dataset].concat();
        let warnings = read(&[source(&text)]).expect("no errors").warnings;
        assert_eq!(warnings.len(), count, "{extra} {prefix}: {warnings:?}");
        assert!(
            warnings
                .iter()
                .all(|w| w.severity == Severity::Warning && w.message.contains("whole of `one`"))
        );
    }
}

#[test]
fn a_byte_order_mark_and_other_line_ends_are_no_mistakes() {
    let text = format!("\u{feff}{}", ESTATE.replace('\n', "\r\n"));
    assert!(read(&[source(&text)]).is_ok(), "{:?}", errors(&text));
}

#[test]
fn an_object_has_no_million_fields() {
    let many: String = (0..20_000).map(|n| format!("f{n}: 1\n")).collect();
    let found = read(&[source(&many)]).expect_err("too many");
    assert!(found.len() <= 1000, "{}", found.len());
}

#[test]
fn a_bad_name_hides_no_other_mistake_and_adds_none() {
    let documents = |metadata: &str, name: &str| {
        format!(
            "apiVersion: domicile.dev/v1alpha1\nkind: Domain\nmetadata: {metadata}\nspec: {{jurisdiction: DEU, titel: x}}\n---\nkind: Backend\nmetadata: {metadata}\nspec: {{domain: {name}, store: {{type: S3, bucket: b, endpoint: ftp}}, capacity: 1TB}}\n---\nkind: Dataset\nmetadata: {{name: d}}\nspec: {{domain: {name}, origin: {{backend: {name}, prefix: p}}}}\n"
        )
    };
    let cases = [
        ("{name: Bad_Name}", "Bad_Name", "no valid name"),
        ("{name: 5}", "\"5\"", "`name` must be a text"),
        ("[a]", "a", "`metadata` must be an object"),
        ("{nam: a}", "a", "`metadata` has no field `nam`"),
        ("{name: a, label: {}}", "a", "`metadata` has no field `label`"),
        ("{name: a, labels: 3}", "a", "`labels` must be an object"),
        ("", "a", "lacks `metadata`"),
    ];
    for (metadata, name, message) in cases {
        let mut found = errors(&documents(metadata, name));
        found.retain(|found| !found.0.contains(message));
        let said: Vec<_> = found.iter().map(|found| found.2.as_str()).collect();
        assert_eq!(said, ["DEU", "titel", "ftp", "1TB"], "{metadata}: {found:#?}");
    }
    let other = errors(&documents("{name: Bad_Name}", "Other_Name"));
    let references = other.iter().filter(|found| found.2 == "Other_Name").count();
    assert_eq!(references, 3, "{other:#?}");
}
