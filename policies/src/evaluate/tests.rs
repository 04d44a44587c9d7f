use super::*;
use crate::manifests::Source;
use crate::read;

const ESTATE: &str = r#"
apiVersion: domicile.dev/v1alpha1
kind: Domain
metadata: {name: a}
spec: {jurisdiction: US}
---
kind: Backend
metadata: {name: full, labels: {tier: warm, level: "7", word: x}}
spec:
  domain: a
  location: {country: DE, region: r, zone: z, provider: p}
  store: {type: Memory}
  capacity: 1Ti
  energy: {gridGramsPerKWh: "100.5"}
  failure: {nines: "4"}
---
kind: Backend
metadata: {name: bare}
spec: {domain: a, operatorCountry: CH, store: {type: Memory}, capacity: 1Ti}
"#;

fn estate(policy: &str) -> Manifests {
    let text = format!("{ESTATE}---\nkind: ReplicationPolicy\nmetadata: {{name: p}}\nspec: {policy}\n");
    let source = Source {
        name: "x".to_owned(),
        text,
        folder: "/".to_owned(),
        stored: false,
    };
    read(&[source]).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Whether a rule accepts the backend with everything, and the one with nothing.
fn verdicts(rule: &str) -> (Verdict, Verdict) {
    let manifests = estate(&format!(
        "{{selector: {{matchAll: true}}, confine: [{{name: r, {rule}}}]}}"
    ));
    let name = DatasetName::new("d").expect("a name");
    let domain = DomainName::new("a").expect("a name");
    let labels = labels(&[("theme", "x")]);
    let dataset = DatasetFacts {
        name: &name,
        domain: &domain,
        labels: &labels,
        bytes: ByteCount(1),
        objects: 1,
    };
    let rule = &manifests.policies["p"].confine[0];
    let verdict = |backend: &str| rule.accepts(&manifests.backends[backend], &dataset);
    (verdict("full"), verdict("bare"))
}

#[test]
fn every_key_with_every_operator() {
    // full: country DE, law US; bare: no country, law CH, and nothing else.
    let cases = [
        ("key: backend, operator: In, values: [full]", true, false),
        ("key: domain, operator: NotIn, values: [a]", false, false),
        ("key: provider, operator: In, values: [p, q]", true, false),
        ("key: region, operator: NotIn, values: [r]", false, true),
        ("key: zone, operator: Exists", true, false),
        ("key: zone, operator: DoesNotExist", false, true),
        ("key: tier, operator: In, values: [warm]", true, false),
        ("key: tier, operator: NotIn, values: [warm]", false, true),
        ("key: tier, operator: NotIn, values: [cold]", true, true),
        ("key: tier, operator: DoesNotExist", false, true),
        ("key: level, operator: Gt, values: [6]", true, false),
        ("key: level, operator: Gt, values: [\"7\"]", false, false),
        ("key: level, operator: Lt, values: [\"7.5\"]", true, false),
        ("key: word, operator: Gt, values: [1]", false, false),
        ("key: gridGramsPerKWh, operator: Lt, values: [101]", true, false),
        (
            "key: gridGramsPerKWh, operator: In, values: [\"100.50\"]",
            true,
            false,
        ),
        ("key: nines, operator: Gt, values: [3]", true, false),
        ("key: nines, operator: DoesNotExist", false, true),
        ("key: country, operator: In, values: [EU]", true, false),
        ("key: country, operator: NotIn, values: [EU]", false, true),
        ("key: country, operator: Exists", true, false),
        (
            "key: operatorCountry, operator: In, values: [EU, CH]",
            false,
            true,
        ),
        ("key: operatorCountry, operator: NotIn, values: [US]", false, true),
        // `In` wants both within, `NotIn` neither; an unknown soil is within nothing.
        ("key: jurisdiction, operator: In, values: [EU]", false, false),
        ("key: jurisdiction, operator: In, values: [EU, US]", true, false),
        ("key: jurisdiction, operator: In, values: [EU, CH]", false, false),
        ("key: jurisdiction, operator: NotIn, values: [US]", false, true),
        ("key: jurisdiction, operator: NotIn, values: [DE]", false, true),
        ("key: jurisdiction, operator: NotIn, values: [FR]", true, true),
        ("key: jurisdiction, operator: Exists", true, false),
        ("key: jurisdiction, operator: DoesNotExist", false, true),
        (
            "cel: \"backend.labels['tier'] == 'warm' && backend.country == 'DE'\"",
            true,
            false,
        ),
        (
            "cel: \"backend.region == '' && backend.labels.tier == ''\"",
            false,
            true,
        ),
        (
            "cel: \"has(backend.region) && has(backend.labels.tier) && has(backend.nines)\"",
            true,
            false,
        ),
        ("cel: \"backend.gridGramsPerKWh < 101\"", true, false),
        (
            "cel: \"dataset.labels['theme'] == 'x' && backend.operatorCountry == 'US'\"",
            true,
            false,
        ),
    ];
    for (rule, full, bare) in cases {
        assert_eq!(verdicts(rule), (full.into(), bare.into()), "{rule}");
    }
}

#[test]
fn absent_nines_are_a_failure_with_a_reason() {
    let (full, bare) = verdicts("cel: \"backend.nines > 3.0\"");
    assert_eq!(full, Verdict::Accepted);
    assert_eq!(bare, Verdict::Failed("`nines` is not known here".to_owned()));
}

#[test]
fn groups_of_a_spread() {
    let manifests = estate("{selector: {matchAll: true}}");
    let value = |key: &str, backend: &str| Key::from_text(key).value(&manifests.backends[backend]);
    for (key, full) in [
        ("backend", "full"),
        ("domain", "a"),
        ("provider", "p"),
        ("region", "r"),
        ("zone", "z"),
        ("country", "DE"),
        ("operatorCountry", "US"),
        ("gridGramsPerKWh", "100.5"),
        ("nines", "4"),
        ("tier", "warm"),
    ] {
        assert_eq!(value(key, "full").as_deref(), Some(full), "{key}");
        assert_eq!(Key::from_text(key).as_str(), key);
    }
    for key in ["provider", "region", "zone", "country", "nines", "tier"] {
        assert_eq!(value(key, "bare"), None, "{key}");
    }
}

#[test]
fn selectors_match_as_in_kubernetes() {
    let cases = [
        ("{matchAll: true}", true, true),
        ("{matchLabels: {theme: x}}", true, false),
        ("{matchLabels: {theme: x, other: y}}", false, false),
        (
            "{matchExpressions: [{key: theme, operator: In, values: [x, y]}]}",
            true,
            false,
        ),
        (
            "{matchExpressions: [{key: theme, operator: NotIn, values: [x]}]}",
            false,
            true,
        ),
        (
            "{matchExpressions: [{key: theme, operator: Exists}]}",
            true,
            false,
        ),
        (
            "{matchExpressions: [{key: theme, operator: DoesNotExist}]}",
            false,
            true,
        ),
        (
            "{matchExpressions: [{key: level, operator: Gt, values: [2]}]}",
            true,
            false,
        ),
        ("{domains: [a]}", true, false),
        ("{domains: [a], matchLabels: {theme: y}}", false, false),
    ];
    let (name, a, b) = (DatasetName::new("d"), DomainName::new("a"), DomainName::new("b"));
    let (name, a, b) = (name.expect("a name"), a.expect("a name"), b.expect("a name"));
    let (rich, poor) = (labels(&[("theme", "x"), ("level", "3")]), labels(&[]));
    for (selector, owned, foreign) in cases {
        let manifests = estate(&format!("{{selector: {selector}}}"));
        let policy = &manifests.policies["p"];
        let selects = |domain, labels| {
            policy.selects(&DatasetFacts {
                name: &name,
                domain,
                labels,
                bytes: ByteCount(0),
                objects: 0,
            })
        };
        assert_eq!(
            (selects(&a, &rich), selects(&b, &poor)),
            (owned, foreign),
            "{selector}"
        );
    }
    assert!(!Selector::default().selects(&DatasetFacts {
        name: &name,
        domain: &a,
        labels: &rich,
        bytes: ByteCount(0),
        objects: 0
    }));
}
