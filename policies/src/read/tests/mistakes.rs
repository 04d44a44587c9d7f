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
  store: {type: Azblob, root: x}
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
        ("`spec` lacks `capacity`", "capacity: 40Ti", "spec"),
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
            "`Azblob` stores are not supported by this version yet",
            "supported are `Fs`, `S3` and `Memory`",
            "Azblob",
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
    // `capasity` and the missing `capacity` are one mistake, told from both ends.
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

/// The estate of the other tests with one line replaced, and what must then be said.
fn changed(from: &str, to: &str) -> Vec<(String, String, String)> {
    assert!(ESTATE.contains(from), "{from}");
    errors(&ESTATE.replacen(from, to, 1))
}

#[test]
fn every_class_of_mistake_is_found_and_marked() {
    let cases: &[(&str, &str, &str, &str, &str)] = &[
        (
            "jurisdiction: NO",
            "jurisdiction: XX",
            "no country code",
            "",
            "XX",
        ),
        (
            "jurisdiction: NO",
            "jurisdiction: EU",
            "no country code",
            "",
            "EU",
        ),
        (
            "title: Justus Liebig University Giessen",
            "title: 5",
            "`title` must be a text",
            "quotes",
            "5",
        ),
        (
            "{name: biodiversity}",
            "{name: Biodiversity}",
            "no valid name",
            "",
            "Biodiversity",
        ),
        (
            "domain.name ||",
            "doman.name ||",
            "`doman` is no variable",
            "did you mean `domain`?",
            "",
        ),
        (
            "zone: rz1, provider",
            "zone: 1, provider",
            "`zone` must be a text",
            "quotes",
            "1",
        ),
        (
            "type: Fs, root: /srv",
            "typ: Fs, root: /srv",
            "`store` lacks `type`",
            "`Fs`",
            "store",
        ),
        (
            "type: Fs, root: /srv",
            "type: FS, root: /srv",
            "no type of store",
            "did you mean `Fs`?",
            "FS",
        ),
        (
            "type: Fs, root: /srv",
            "type: Fs, rot: /srv",
            "`store` has no field `rot`",
            "did you mean `root`?",
            "rot",
        ),
        (
            "{env: GIESSEN}",
            "{env: GIESSEN, file: x}",
            "exactly one of",
            "credentials",
            "{env: GIESSEN, file: x}",
        ),
        ("capacity: 1Ti", "capacity: -1Ti", "below zero", "", "-1Ti"),
        (
            "capacity: 1Ti",
            "capacity: 1.5",
            "a floating-point number",
            "with a unit",
            "1.5",
        ),
        (
            "capacity: 1Ti",
            "capacity: [1]",
            "`capacity` must be a size, this is a list",
            "",
            "capacity",
        ),
        (
            "accessMode: ReadWrite",
            "accessMode: readonly",
            "no value of `accessMode`",
            "did you mean `ReadOnly`?",
            "readonly",
        ),
        (
            "cordoned: false",
            "cordoned: no",
            "must be `true` or `false`",
            "write `false`",
            "no",
        ),
        (
            "ingressPerGiB: \"0\"",
            "ingressPerGiB: \"-1\"",
            "must not be below zero",
            "",
            "\"-1\"",
        ),
        (
            "ingressPerGiB: \"0\"",
            "ingressPerGiB: \"1e3\"",
            "no decimal number",
            "",
            "\"1e3\"",
        ),
        (
            "currency: EUR",
            "currency: euro",
            "no currency code",
            "EUR",
            "euro",
        ),
        (
            "pue: \"1.3\"",
            "pue: \"0.9\"",
            "`pue` must be at least 1",
            "",
            "\"0.9\"",
        ),
        ("physicalCopies: 3", "physicalCopies: 0", "at least 1", "", "0"),
        (
            "physicalCopies: 3",
            "physicalCopies: \"3\"",
            "a whole number",
            "without quotes: 3",
            "\"3\"",
        ),
        (
            "access: Open",
            "access: open",
            "no value of `access`",
            "did you mean `Open`?",
            "open",
        ),
        (
            "authors: [A, B]",
            "authors: A",
            "`authors` must be a list",
            "[Ada Lovelace]",
            "A",
        ),
        (
            "prefix: plants/",
            "prefix: ../plants",
            "is no prefix",
            "",
            "../plants",
        ),
        (
            "prefix: plants/",
            "prefix: /plants",
            "must not begin with `/`",
            "",
            "/plants",
        ),
        (
            "origin: {backend: giessen-fs",
            "origin: {backend: giesen-fs",
            "there is no backend `giesen-fs`",
            "did you mean `giessen-fs`?",
            "giesen-fs",
        ),
        ("priority: 0", "priority: high", "a whole number", "", "high"),
        (
            "{matchLabels: {theme: biodiversity}}",
            "{matchAll: true, domains: [guest]}",
            "together",
            "leave out",
            "matchAll",
        ),
        (
            "{matchLabels: {theme: biodiversity}}",
            "{domains: [gest]}",
            "there is no domain `gest`",
            "did you mean `guest`?",
            "gest",
        ),
        (
            "{matchLabels: {theme: biodiversity}}",
            "{matchExpressions: [{key: a, operator: In}]}",
            "at least one value",
            "",
            "In",
        ),
        (
            "values: [EU, CH]",
            "values: [EUU, CH]",
            "no known group",
            "did you mean `EU`?",
            "EUU",
        ),
        (
            "values: [EU, CH]",
            "values: [GDPR-ADEQUATE-CONDITIONAL]",
            "only under conditions",
            "US-DPF",
            "GDPR-ADEQUATE-CONDITIONAL",
        ),
        (
            "key: jurisdiction, operator: In, values: [EU, CH]",
            "key: domain, operator: In, values: [gest]",
            "there is no domain `gest`",
            "did you mean `guest`?",
            "gest",
        ),
        (
            "operator: In, values: [EU, CH]",
            "operator: Exists, values: [EU]",
            "`Exists` takes no values",
            "",
            "values",
        ),
        (
            "operator: In, values: [EU, CH]",
            "operator: Gt, values: [EU]",
            "cannot be compared by `Gt`",
            "gridGramsPerKWh",
            "Gt",
        ),
        (
            "key: jurisdiction, operator: In, values: [EU, CH]",
            "key: nines, operator: Gt, values: [x]",
            "is no number",
            "",
            "x",
        ),
        (
            "key: jurisdiction, operator: In, values: [EU, CH]",
            "key: nines, operator: Gt, values: [1, 2]",
            "exactly one value",
            "",
            "values",
        ),
        (
            "operator: In, values: [EU, CH]",
            "operator: in, values: [EU]",
            "no value of `operator`",
            "did you mean `In`?",
            "in",
        ),
        (
            "key: jurisdiction, operator: In, values: [EU, CH]",
            "operator: In, values: [EU]",
            "the rule lacks `key`",
            "cel",
            "name",
        ),
        (
            "{name: no-tape, cel:",
            "{name: eu-soil-and-law, cel:",
            "two entries named `eu-soil-and-law`",
            "",
            "eu-soil-and-law",
        ),
        (
            "{name: no-tape, cel:",
            "{cel:",
            "`confine[]` lacks `name`",
            "",
            "cel",
        ),
        (
            "{name: no-tape, cel:",
            "{name: no-tape, key: tier, cel:",
            "either `cel` or",
            "two rules",
            "\"backend.labels['tier'] != 'tape'\"",
        ),
        (
            "\"backend.labels['tier'] != 'tape'\"",
            "\"backend.labels['tier']\"",
            "must be true or false",
            "",
            "\"backend.labels['tier']\"",
        ),
        ("copies: 3", "copies: 0", "`copies` must be at least 1", "", "0"),
        (
            "copies: 3",
            "copies: 101",
            "`copies` must be at most 100",
            "",
            "101",
        ),
        (
            "across: domain, groups: 3",
            "across: jurisdiction, groups: 2",
            "two countries, not one group",
            "country",
            "jurisdiction",
        ),
        (
            "across: domain, groups: 3",
            "across: zone, groups: 2",
            "`zone` is spread across twice",
            "",
            "zone",
        ),
        ("horizonMonths: 12", "horizonMonths: 0", "at least 1", "", "0"),
        (
            "enforcement: Enforce",
            "enforcement: Audt",
            "no value of `enforcement`",
            "did you mean `Audit`?",
            "Audt",
        ),
        (
            "dataset: hessian-plants, backends",
            "dataset: hesian-plants, backends",
            "there is no dataset",
            "did you mean `hessian-plants`?",
            "hesian-plants",
        ),
        (
            "satisfied: false",
            "satisfied: false, backends: [oslo]",
            "exactly one of",
            "",
            "dataset",
        ),
        (
            "kind: Confinement",
            "kind: Confined",
            "no value of `kind`",
            "",
            "Confined",
        ),
        (
            "{jurisdiction: NO}",
            "{jurisdiction: NO, jurisdiction: SE}",
            "`jurisdiction` is given twice",
            "",
            "jurisdiction",
        ),
        (
            "{jurisdiction: NO}",
            "{jurisdiction: &x NO}",
            "anchors and aliases",
            "write the value",
            "&x NO",
        ),
        (
            "{jurisdiction: NO}",
            "{jurisdiction: !!str NO}",
            "tags",
            "quote",
            "!!str NO",
        ),
    ];
    for (from, to, message, help, marked) in cases {
        let found = changed(from, to);
        let hit = found.iter().find(|found| found.0.contains(message));
        let Some((_, got_help, got_marked)) = hit else {
            panic!("{to}: no `{message}` in {found:#?}")
        };
        assert!(got_help.contains(help), "{to}: {got_help}");
        assert!(
            marked.is_empty() || got_marked.starts_with(marked),
            "{to}: marked {got_marked:?}"
        );
        assert!(found.len() <= 2, "{to}: {found:#?}");
    }
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
        assert!(found.iter().any(|d| d.hide_source), "{to}: {found:#?}");
        for finding in found {
            let said = format!("{} {:?}", finding.message, finding.help);
            assert!(!said.contains("hunter2"), "{to}: {said}");
            let marked = &text[finding.offset..finding.offset + finding.length];
            let near = {
                let before = text[..finding.offset].matches('\n').count();
                text.lines()
                    .skip(before.saturating_sub(2))
                    .take(5)
                    .any(|line| line.contains("hunter2"))
            };
            assert!(
                finding.hide_source || !(near || marked.contains("hunter2")),
                "{to}: {finding:?}"
            );
        }
    }
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
            "apiVersion: domicile.dev/v1alpha1\nkind: Domain\n",
            "lacks `metadata`",
            "apiVersion",
        ),
        (
            "apiVersion: domicile.dev/v1alpha1\nkind: Domain\nmetadata: {}\n",
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
