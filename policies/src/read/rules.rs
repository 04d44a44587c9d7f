//! Policies and their tests from their documents.

use std::collections::BTreeSet;

use domicile_estate::{
    BackendName, ByteCount, CountrySet, DatasetName, DomainName, PolicyName, Verify, group_table,
    parse_decimal,
};

use super::document::{Draft, Drafts};
use super::fields::NameOf;
use super::leaf::countries_help;
use super::objective::{milli_nines, movement, objective};
use super::record::Record;
use super::report::Report;
use crate::policy::{
    Budget, Enforcement, Key, LabelExpression, Movement, Operator, Policy, Requirement, Rule, Selector,
    Spread, Test,
};
use crate::policy_test::{Expectation, Expected, FixtureDataset, PolicyTest, RefusalKind};

/// Size of a dataset of a test that states none.
const FIXTURE_BYTES: ByteCount = ByteCount(1 << 30);

/// A policy; what is wrong in it is reported and left out.
pub(super) fn policy(
    draft: &Draft,
    spec: &Record,
    drafts: &Drafts,
    report: &mut Report<'_>,
) -> Option<Policy> {
    let selector = spec
        .record("selector")
        .map(|record| selector(record, drafts, report));
    let confine = spec.records("confine").iter().filter_map(|record| {
        let test = test(record, drafts, report)?;
        Some(Rule {
            name: record.word("name")?,
            test,
        })
    });
    let confine = confine.collect();
    let require = spec
        .records("require")
        .iter()
        .filter_map(|record| requirement(record, drafts, report))
        .collect();
    Some(Policy {
        name: PolicyName::new(&draft.name).ok()?,
        priority: spec.integer("priority").unwrap_or(0),
        selector: selector?,
        confine,
        require,
        objective: spec.record("objective").map(|record| objective(record, report)),
        budget: spec
            .record("budget")
            .map_or_else(Budget::default, |record| Budget {
                cost_per_month: record.decimal("costPerMonth"),
                carbon_kg_per_month: record.decimal("carbonKgPerMonth"),
            }),
        movement: spec.record("movement").map_or_else(Movement::default, movement),
        verify: Verify::ALL
            .into_iter()
            .find(|verify| verify.as_str() == spec.text("verify")),
        drop_grace_seconds: spec
            .integer("dropGraceSeconds")
            .and_then(|seconds| u64::try_from(seconds).ok()),
        enforcement: match spec.text("enforcement") {
            "Audit" => Enforcement::Audit,
            _ => Enforcement::Enforce,
        },
    })
}

fn selector(record: &Record, drafts: &Drafts, report: &mut Report<'_>) -> Selector {
    let match_all = record.boolean("matchAll").unwrap_or(false);
    let labels = record.labels("matchLabels");
    let expressions = record.records("matchExpressions");
    let domains = record.texts("domains");
    for (name, place) in domains {
        drafts.check(NameOf::Domain, name, *place, report);
    }
    let parts = ["matchLabels", "matchExpressions", "domains"];
    // What is wrong was reported, and does not make the selector empty.
    let is_wrong = |part: &str| record.stated.contains(part) && record.item(part).is_none();
    let stated = parts.iter().any(|part| record.stated.contains(part));
    let filled = !(labels.is_empty() && expressions.is_empty() && domains.is_empty());
    let broken = is_wrong("matchAll") || parts.into_iter().any(is_wrong);
    if match_all && stated {
        let help = "leave out `matchAll`, or everything else";
        report.error_help(
            record.key_of("matchAll"),
            "`matchAll` cannot stand together with other parts",
            help,
        );
    } else if !(match_all || filled || broken) {
        let help = "to select every dataset write `selector: {matchAll: true}`";
        report.error_help(record.place, "the selector is empty", help);
    }
    Selector {
        match_all,
        match_labels: labels,
        match_expressions: expressions
            .iter()
            .filter_map(|part| label_expression(part, report))
            .collect(),
        domains: domains
            .iter()
            .filter_map(|(name, _)| DomainName::new(name).ok())
            .collect(),
    }
}

fn label_expression(record: &Record, report: &mut Report<'_>) -> Option<LabelExpression> {
    let operator = operator(record)?;
    let values = values(record, operator, report)?;
    if matches!(operator, Operator::Gt | Operator::Lt) {
        require_numbers(record, report)?;
    }
    Some(LabelExpression {
        key: record.word("key")?,
        operator,
        values,
    })
}

fn operator(record: &Record) -> Option<Operator> {
    Operator::ALL
        .into_iter()
        .find(|operator| operator.as_str() == record.text("operator"))
}

/// The values, if there are as many as the operator takes.
fn values(record: &Record, operator: Operator, report: &mut Report<'_>) -> Option<Vec<String>> {
    let is_broken = record.stated.contains("values") && record.item("values").is_none();
    if is_broken {
        return None;
    }
    let given = record.texts("values");
    let place = if record.item("values").is_some() {
        record.key_of("values")
    } else {
        record.place_of("operator")
    };
    let wrong = match operator {
        Operator::In | Operator::NotIn => given.is_empty().then_some("at least one value"),
        Operator::Exists | Operator::DoesNotExist => (!given.is_empty()).then_some("no values"),
        Operator::Gt | Operator::Lt => (given.len() != 1).then_some("exactly one value"),
    };
    if let Some(wrong) = wrong {
        let message = format!("`{}` takes {wrong}, here are {}", operator.as_str(), given.len());
        report.error(place, message);
        return None;
    }
    Some(given.iter().map(|(text, _)| text.clone()).collect())
}

fn require_numbers(record: &Record, report: &mut Report<'_>) -> Option<()> {
    let mut good = Some(());
    for (text, place) in record.texts("values") {
        if parse_decimal(text).is_err() {
            report.error(
                *place,
                format!(
                    "`{text}` is no number, but `{}` is compared as one",
                    record.text("key")
                ),
            );
            good = None;
        }
    }
    good
}

/// The test of a rule or of an entry of `where`.
fn test(record: &Record, drafts: &Drafts, report: &mut Report<'_>) -> Option<Test> {
    let has_cel = record.stated.contains("cel");
    let parts = ["key", "operator", "values"].map(|part| record.stated.contains(part));
    if has_cel && parts.contains(&true) {
        let help = "write two rules, if both must hold";
        report.error_help(
            record.place_of("cel"),
            "a rule has either `cel` or `key`, `operator` and `values`",
            help,
        );
        return None;
    }
    if has_cel {
        return record.expression("cel").cloned().map(Test::Cel);
    }
    let [has_key, has_operator, _] = parts;
    if !has_key || !has_operator {
        let missing = if has_key { "operator" } else { "key" };
        let help = "write for example `{key: jurisdiction, operator: In, values: [EU]}`, or `cel`";
        let place = ["name", "key", "operator", "values"]
            .into_iter()
            .find_map(|name| record.item(name));
        report.error_help(
            place.map_or(record.place, |item| item.key),
            format!("the rule lacks `{missing}`"),
            help,
        );
        return None;
    }
    key_test(record, drafts, report)
}

fn key_test(record: &Record, drafts: &Drafts, report: &mut Report<'_>) -> Option<Test> {
    let key = Key::from_text(&record.word("key")?);
    let operator = operator(record)?;
    let values = values(record, operator, report)?;
    let compares_size = matches!(operator, Operator::Gt | Operator::Lt);
    if compares_size && !key.is_number() && !matches!(key, Key::Label(_)) {
        let message = format!("`{}` cannot be compared by `{}`", key.as_str(), operator.as_str());
        let help = "numbers are `gridGramsPerKWh`, `nines` and labels";
        report.error_help(record.place_of("operator"), message, help);
        return None;
    }
    if compares_size || key.is_number() {
        require_numbers(record, report)?;
    }
    let mut countries = CountrySet::new();
    for (text, place) in record.texts("values") {
        match key {
            Key::Backend => drafts.check(NameOf::Backend, text, *place, report),
            Key::Domain => drafts.check(NameOf::Domain, text, *place, report),
            _ if key.is_country() => match group_table().expand(text) {
                Ok(members) => countries.extend(members),
                Err(error) => report.error_help(*place, error.to_string(), countries_help(&error)),
            },
            _ => {}
        }
    }
    Some(Test::Key {
        key,
        operator,
        values,
        countries,
    })
}

fn requirement(record: &Record, drafts: &Drafts, report: &mut Report<'_>) -> Option<Requirement> {
    let place = record
        .records("where")
        .iter()
        .filter_map(|entry| test(entry, drafts, report))
        .collect();
    let copies = record
        .integer("copies")
        .and_then(|copies| u32::try_from(copies).ok());
    let mut spread = Vec::new();
    for entry in record.records("spread") {
        if let Some(one) = self::spread(entry, copies, &spread, report) {
            spread.push(one);
        }
    }
    let milli_nines = milli_nines(record, report);
    let copies = match copies {
        Some(copies) => copies,
        None if record.stated.contains("copies") => return None,
        None if record.stated.contains("nines") => {
            // Fewer copies cannot lie in as many groups.
            spread.iter().map(|spread| spread.groups).max().unwrap_or(1)
        }
        None => {
            let help = "write for example `copies: 3`; with `nines` it may be left out";
            let place = record.item("name").map_or(record.place, |item| item.key);
            report.error_help(place, "`require[]` lacks `copies`", help);
            return None;
        }
    };
    Some(Requirement {
        name: record.word("name")?,
        copies,
        milli_nines,
        place,
        spread,
    })
}

fn spread(
    record: &Record,
    copies: Option<u32>,
    before: &[Spread],
    report: &mut Report<'_>,
) -> Option<Spread> {
    let across = record.word("across").map(|text| Key::from_text(&text));
    let groups = record
        .integer("groups")
        .and_then(|groups| u32::try_from(groups).ok());
    if let (Some(copies), Some(groups)) = (copies, groups)
        && groups > copies
    {
        let message = format!("{copies} copies cannot lie in {groups} groups");
        report.error_help(
            record.place_of("groups"),
            message,
            format!("ask for {groups} copies or fewer groups"),
        );
        return None;
    }
    let across = across?;
    if across == Key::Jurisdiction {
        let help = "spread across `country` (soil) or `operatorCountry` (law)";
        report.error_help(
            record.place_of("across"),
            "a `jurisdiction` is two countries, not one group",
            help,
        );
        return None;
    }
    if before.iter().any(|spread| spread.across == across) {
        let message = format!("`{}` is spread across twice", across.as_str());
        report.error_help(
            record.place_of("across"),
            message,
            "keep the entry with more groups",
        );
        return None;
    }
    Some(Spread {
        across,
        groups: groups?,
    })
}

/// A test of policies.
pub(super) fn policy_test(
    draft: &Draft,
    spec: &Record,
    drafts: &Drafts,
    report: &mut Report<'_>,
) -> PolicyTest {
    let fixtures = spec.records("datasets");
    let names: BTreeSet<&str> = fixtures.iter().map(|record| record.text("name")).collect();
    let datasets = fixtures
        .iter()
        .filter_map(|record| fixture(record, drafts, report))
        .collect();
    let mut expect = Vec::new();
    for record in spec.records("expect") {
        let name = record.text("dataset");
        if record.item("dataset").is_some() && !names.contains(name) {
            drafts.check(NameOf::Dataset, name, record.place_of("dataset"), report);
        }
        expect.extend(expectation(record, drafts, report));
    }
    PolicyTest {
        name: draft.name.clone(),
        datasets,
        expect,
        place: draft.place,
    }
}

fn fixture(record: &Record, drafts: &Drafts, report: &mut Report<'_>) -> Option<FixtureDataset> {
    for (field, of) in [("domain", NameOf::Domain), ("origin", NameOf::Backend)] {
        if record.item(field).is_some() {
            drafts.check(of, record.text(field), record.place_of(field), report);
        }
    }
    if drafts.knows(NameOf::Dataset, record.text("name")) {
        let message = format!("a manifest describes a dataset `{}` already", record.text("name"));
        report.error_help(
            record.place_of("name"),
            message,
            "give the dataset of the test another name",
        );
    }
    Some(FixtureDataset {
        name: DatasetName::new(record.text("name")).ok()?,
        domain: DomainName::new(record.text("domain")).ok()?,
        labels: record.labels("labels"),
        bytes: record.bytes("bytes").unwrap_or(FIXTURE_BYTES),
        objects: record
            .integer("objects")
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(1),
        origin: BackendName::new(record.text("origin")).ok(),
    })
}

fn expectation(record: &Record, drafts: &Drafts, report: &mut Report<'_>) -> Option<Expectation> {
    const CHECKS: [&str; 4] = ["backends", "refused", "satisfied", "admissible"];
    let stated: Vec<&str> = CHECKS
        .into_iter()
        .filter(|check| record.stated.contains(check))
        .collect();
    let [check] = stated.as_slice() else {
        let place = record.item("dataset").map_or(record.place, |item| item.key);
        let message = format!(
            "an expectation has exactly one of {}",
            crate::suggest::list(CHECKS)
        );
        report.error_help(place, message, "write one entry for each");
        return None;
    };
    let place = record.key_of(check);
    let expected = match *check {
        "satisfied" => Expected::Satisfied(record.boolean("satisfied")?),
        "refused" => refused(record.record("refused")?, drafts, report)?,
        "backends" => Expected::Backends(backends(record, "backends", drafts, report)),
        _ => Expected::Admissible(backends(record, "admissible", drafts, report)),
    };
    Some(Expectation {
        dataset: DatasetName::new(record.text("dataset")).ok()?,
        expected,
        place,
    })
}

fn backends(record: &Record, field: &str, drafts: &Drafts, report: &mut Report<'_>) -> BTreeSet<BackendName> {
    let mut names = BTreeSet::new();
    for (name, place) in record.texts(field) {
        drafts.check(NameOf::Backend, name, *place, report);
        names.extend(BackendName::new(name).ok());
    }
    names
}

fn refused(record: &Record, drafts: &Drafts, report: &mut Report<'_>) -> Option<Expected> {
    if record.item("backend").is_some() {
        drafts.check(
            NameOf::Backend,
            record.text("backend"),
            record.place_of("backend"),
            report,
        );
    }
    Some(Expected::Refused {
        backend: BackendName::new(record.text("backend")).ok()?,
        rule: record.word("rule"),
        kind: RefusalKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == record.text("kind")),
    })
}
