use domicile_estate::{ByteCount, Country, DatasetName, Domain, DomainName, Labels, country};

use super::*;

fn code(text: &str) -> Country {
    country(text).expect("a code")
}

fn domain(name: &str, labels: &[(&str, &str)]) -> Domain {
    Domain {
        name: DomainName::new(name).expect("a name"),
        labels: labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        title: String::new(),
        jurisdiction: code("DE"),
        weight: 1,
        admission: Vec::new(),
    }
}

fn judge(text: &str, dataset_labels: &[(&str, &str)]) -> Verdict {
    let domain = domain("host", &[("kind", "library")]);
    let owner = DomainName::new("owner").expect("a name");
    let name = DatasetName::new("plants").expect("a name");
    let labels: Labels = dataset_labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let dataset = DatasetFacts {
        name: &name,
        domain: &owner,
        labels: &labels,
        bytes: ByteCount(2048),
        objects: 3,
    };
    let expression = Expression::compile(text, Scope::Admission).expect(text);
    expression.holds(&Variables {
        backend: None,
        dataset: Some(dataset),
        domain: Some(&domain),
    })
}

#[test]
fn what_expressions_see() {
    let accepted = [
        "dataset.name == 'plants' && dataset.domain == 'owner'",
        "dataset.bytes > 2000 && dataset.bytes <= 2048 && dataset.objects == 3",
        "domain.name == 'host' && domain.jurisdiction == 'DE'",
        "domain.labels['kind'] == 'library' && domain.labels.kind == 'library'",
        "dataset.labels['none'] == '' && dataset.labels.none == ''",
        "!('none' in dataset.labels) && 'theme' in dataset.labels",
        "!has(dataset.labels.none) && has(dataset.labels.theme)",
        "size(dataset.labels) == 1",
        "dataset.labels.exists(k, k == 'theme')",
        "dataset.labels.all(k, dataset.labels[k] != '')",
        "dataset.labels['theme'].startsWith('bio') && dataset.name.contains('lan')",
        "dataset.domain in ['owner', 'other']",
        "dataset.labels['theme'] == 'x' ? false : true",
        "dataset['name'] == 'plants'",
        "int('12') > 3",
        "double(dataset.bytes) / 1024.0 == 2.0",
    ];
    for text in accepted {
        assert_eq!(
            judge(text, &[("theme", "biodiversity")]),
            Verdict::Accepted,
            "{text}"
        );
    }
    assert_eq!(judge("dataset.name == 'x'", &[]), Verdict::Refused);
}

#[test]
fn an_error_at_run_time_is_no_acceptance_and_says_why() {
    let verdict = judge("int(dataset.labels['level']) > 3", &[("level", "high")]);
    assert!(
        matches!(&verdict, Verdict::Failed(why) if why.contains("int")),
        "{verdict:?}"
    );
    assert_eq!(
        judge("int(dataset.labels['level']) > 3", &[("level", "4")]),
        Verdict::Accepted
    );
}

/// An expression, what is said of it, and the help.
#[rustfmt::skip]
const MISTAKES: &[(&str, &str, &str)] = &[
    ("datset.name == 'x'", "`datset` is no variable", "did you mean `dataset`?"),
    ("dataset.nme == 'x'", "no field `nme`", "did you mean `dataset.name`?"),
    ("dataset['nme'] == 'x'", "no field `nme`", "did you mean `dataset.name`?"),
    ("dataset.sensitivity == 'x'", "no field `sensitivity`", "dataset.labels['sensitivity']"),
    ("backend.name == 'x'", "`backend` is no variable", "`dataset` and `domain`"),
    ("open == 'x'", "`open` is no variable", "in quotes"),
    ("dataset.name.startWith('x')", "`startWith` is no function", "did you mean `startsWith`?"),
    ("dataset.name.matches('x')", "`matches` is no function", "there are"),
    ("dataset.name", "must be true or false, this is a text", "compare"),
    ("dataset.labels['x']", "must be true or false, this is a text", "compare"),
    ("1 + 1", "must be true or false, this is a number", "compare"),
    ("'yes'", "must be true or false, this is a text", "compare"),
    ("true && dataset.bytes", "must be true or false, this is a number", "compare"),
    ("dataset.bytes > 1 ? 'a' : 'b'", "must be true or false, this is a text", "compare"),
    ("dataset.labels['x'] > 3", "cannot be evaluated", "labels are texts"),
    ("dataset.bytes > ", "no expression in CEL", "an example"),
    ("", "must not be empty", ""),
];

#[test]
fn unknown_names_and_other_kinds_are_errors_with_help() {
    for (text, message, help) in MISTAKES {
        let error = Expression::compile(text, Scope::Admission).expect_err(text);
        assert!(error.message.contains(message), "{text}: {}", error.message);
        assert!(
            error.help.as_deref().unwrap_or_default().contains(help),
            "{text}: {:?}",
            error.help
        );
    }
}

#[test]
fn looking_at_the_dataset_is_known() {
    let depends = |text| {
        Expression::compile(text, Scope::Rule)
            .expect(text)
            .depends_on_dataset()
    };
    assert!(!depends("backend.labels['tier'] == 'warm'"));
    assert!(depends("backend.domain == dataset.domain"));
    assert!(!depends("['a'].exists(dataset, dataset == backend.name)"));
}

#[test]
fn huge_and_deep_expressions_are_refused_before_they_are_parsed() {
    for text in [
        "(".repeat(2000),
        format!("true{}", " ? true : false".repeat(100)),
        format!("{}1", "-(".repeat(900)),
        "true && ".repeat(1000),
        format!("{} == 1", vec!["1"; 900].join("+")),
        format!("dataset{} == 1", ".labels".repeat(200)),
        format!("{}1{} == 1", "[".repeat(900), "]".repeat(900)),
    ] {
        assert!(Expression::compile(&text, Scope::Rule).is_err(), "{text}");
    }
    // The parser folds brackets around one value, and an even number of negations.
    let folded = format!("{}true{}", "(".repeat(900), ")".repeat(900));
    assert!(Expression::compile(&folded, Scope::Rule).is_ok());
    assert!(Expression::compile(&format!("{}true", "!".repeat(2000)), Scope::Rule).is_ok());
    let long = vec!["true"; 200].join(" && ");
    assert!(Expression::compile(&long, Scope::Rule).is_ok());
    let nested = format!("{}true{}", "(".repeat(15), ")".repeat(15));
    assert!(Expression::compile(&nested, Scope::Rule).is_ok());
    let sum = format!("{} == 20", vec!["1"; 20].join(" + "));
    assert!(Expression::compile(&sum, Scope::Rule).is_ok());
}
