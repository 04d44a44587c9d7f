//! `policy lint` and `policy test`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domicile_estate::{
    BackendName, ByteCount, Copy, CopyState, Dataset, DatasetName, DatasetSummary, FairRecord, Observed,
    ObservedDataset, Origin,
};
use domicile_placement::{Bars, Plan, Problem, Solution};
use domicile_policies::{Diagnostic, Expectation, Expected, Manifests, PolicyTest, Severity, Source};
use serde_json::{Value, json};

use crate::answer;
use crate::cli::{Files, Global};
use crate::outcome::{Outcome, Refusal};
use crate::reading;
use crate::terminal;

/// Reads manifests from files alone; every mistake at once.
pub fn read_files(global: &Global, files: &Files) -> anyhow::Result<(Vec<Source>, Manifests)> {
    if files.files.is_empty() {
        return Err(Refusal::usage(
            "name the manifests to check: -f FOLDER, -f FILE or -f -",
        ));
    }
    let sources = reading::fresh_sources(files)?;
    let manifests = reading::manifests(global, &sources)?;
    Ok((sources, manifests))
}

/// `policy lint`.
pub fn lint(global: &Global, files: &Files) -> anyhow::Result<Outcome> {
    let (sources, manifests) = read_files(global, files)?;
    let mut diagnostics: Vec<Diagnostic> = manifests.warnings.clone();
    diagnostics.extend(domicile_policies::lint(&manifests));
    let rows: Vec<Value> = diagnostics.iter().map(|d| finding(&sources, d)).collect();
    answer::structured(global.output, &answer::list(&rows), &rows)?;
    if !diagnostics.is_empty() {
        let text = reading::render(&sources, &diagnostics, terminal::colour_errors(global));
        terminal::say(global, &text);
    }
    let errors = diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .count();
    terminal::say(
        global,
        &format!(
            "read {} domains, {} backends, {} datasets, {} policies, {} policy tests: {}",
            manifests.domains.len(),
            manifests.backends.len(),
            manifests.datasets.len(),
            manifests.policies.len(),
            manifests.tests.len(),
            if diagnostics.is_empty() {
                "nothing to complain about"
            } else {
                "see above"
            },
        ),
    );
    Ok(if errors > 0 { Outcome::Error } else { Outcome::Done })
}

/// A finding with its place, for programs.
fn finding(sources: &[Source], diagnostic: &Diagnostic) -> Value {
    let source = sources.get(diagnostic.source);
    let before = source.and_then(|s| s.text.get(..diagnostic.offset)).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    json!({
        "file": source.map(|s| s.name.as_str()), "line": line, "column": column,
        "severity": format!("{:?}", diagnostic.severity), "message": diagnostic.message, "help": diagnostic.help,
    })
}

/// `policy test`: places the fixtures as `plan` would, on an estate where nothing else lies, and compares.
pub fn test(global: &Global, files: &Files) -> anyhow::Result<Outcome> {
    let (_, manifests) = read_files(global, files)?;
    if manifests.tests.is_empty() {
        return Err(Refusal::usage(
            "the manifests have no PolicyTest; `docs/policy-tests.md` shows how to write one",
        ));
    }
    let mut rows = Vec::new();
    for test in &manifests.tests {
        let (datasets, observed) = stage(&manifests, test);
        let problem = domicile_placement::pose(&manifests, &datasets, &observed);
        let planned = domicile_placement::propose_with_solution(&problem);
        for expectation in &test.expect {
            let fault = compare(&problem, &planned, expectation);
            rows.push(json!({
                "test": test.name, "dataset": expectation.dataset.as_str(), "expected": wording(&expectation.expected),
                "passed": fault.is_none(), "message": fault,
            }));
        }
    }
    let failed = rows.iter().filter(|row| row["passed"] == false).count();
    if !answer::structured(global.output, &answer::list(&rows), &rows)? {
        for row in &rows {
            let text = |field: &str| row[field].as_str().unwrap_or("").to_owned();
            let verdict = if row["passed"] == true { "ok  " } else { "FAIL" };
            let message = if row["passed"] == true {
                String::new()
            } else {
                format!(": {}", text("message"))
            };
            terminal::answer(&format!(
                "{verdict} {} {} {}{message}",
                text("test"),
                text("dataset"),
                text("expected")
            ));
        }
    }
    terminal::say(
        global,
        &format!("{} passed, {failed} failed", rows.len() - failed),
    );
    Ok(if failed > 0 {
        Outcome::AssertionFailed
    } else {
        Outcome::Done
    })
}

/// The fixtures and the manifests' datasets, each lying at its origin and nowhere else.
fn stage(manifests: &Manifests, test: &PolicyTest) -> (BTreeMap<DatasetName, Arc<Dataset>>, Observed) {
    let minimums = crate::world::minimums(manifests);
    let described = manifests.datasets.iter();
    let mut datasets: BTreeMap<_, _> = described
        .map(|(name, dataset)| (name.clone(), Arc::new(dataset.clone())))
        .collect();
    let mut observed = Observed::default();
    for dataset in manifests.datasets.values() {
        let known = lying_at(
            dataset.origin.as_ref().map(|o| &o.backend),
            DatasetSummary::default(),
        );
        observed.datasets.insert(dataset.name.clone(), known);
    }
    for fixture in &test.datasets {
        let each = fixture.bytes.0 / fixture.objects.max(1);
        let sizes = (0..fixture.objects).map(|n| {
            // The first object takes what the division leaves, so that the sizes add up.
            ByteCount(if n == 0 {
                fixture.bytes.0 - each * (fixture.objects - 1)
            } else {
                each
            })
        });
        let summary = DatasetSummary::of_sizes(sizes, &minimums);
        observed
            .datasets
            .insert(fixture.name.clone(), lying_at(fixture.origin.as_ref(), summary));
        let dataset = Dataset {
            name: fixture.name.clone(),
            labels: Arc::new(fixture.labels.clone()),
            domain: fixture.domain.clone(),
            record: Arc::new(FairRecord::default()),
            origin: fixture.origin.clone().map(|backend| Origin {
                backend,
                prefix: String::new(),
            }),
            keep_origin: true,
        };
        datasets.insert(fixture.name.clone(), Arc::new(dataset));
    }
    (datasets, observed)
}

fn lying_at(backend: Option<&BackendName>, summary: DatasetSummary) -> ObservedDataset {
    let origin = backend.map(|backend| Copy {
        backend: backend.clone(),
        origin: true,
        state: CopyState::Listed,
        missing_bytes: ByteCount(0),
        missing_objects: 0,
        trusted: false,
    });
    ObservedDataset {
        summary,
        copies: origin.into_iter().collect(),
        findings: Vec::new(),
    }
}

/// What is expected, in a few words.
fn wording(expected: &Expected) -> String {
    match expected {
        Expected::Backends(backends) => format!("on {}", listed(backends)),
        Expected::Refused { backend, .. } => format!("refused by {backend}"),
        Expected::Satisfied(true) => "satisfied".to_owned(),
        Expected::Satisfied(false) => "unsatisfied".to_owned(),
        Expected::Admissible(backends) => format!("admissible on {}", listed(backends)),
    }
}

fn listed(names: &BTreeSet<BackendName>) -> String {
    if names.is_empty() {
        return "no backend".to_owned();
    }
    names
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The backends that no rule refuses for a dataset.
fn admissible(problem: &Problem, dataset: usize) -> BTreeSet<BackendName> {
    let subject = &problem.datasets[dataset];
    let free = |backend: &usize| {
        let mut reasons = problem
            .reasons_against(subject, *backend)
            .map(|reason| problem.reasons[reason].bars);
        !reasons.any(|bars| bars == Bars::Every || !subject.is_current_on(*backend))
    };
    let free = (0..problem.backends.len()).filter(free);
    free.map(|backend| problem.backends[backend].name.clone())
        .collect()
}

/// What is wrong, or nothing.
fn compare(
    problem: &Problem,
    (solution, plan): &(Solution, Plan),
    expectation: &Expectation,
) -> Option<String> {
    let dataset = problem.dataset(expectation.dataset.as_str())?;
    let planned = &plan.datasets[dataset];
    match &expectation.expected {
        Expected::Backends(wanted) => {
            let found: BTreeSet<_> = planned.backends.iter().cloned().collect();
            (found != *wanted)
                .then(|| format!("expected on {}, planned on {}", listed(wanted), listed(&found)))
        }
        Expected::Satisfied(wanted) => (planned.satisfied != *wanted).then(|| {
            let word = |satisfied| if satisfied { "satisfied" } else { "unsatisfied" };
            format!("expected {}, planned {}", word(*wanted), word(planned.satisfied))
        }),
        Expected::Admissible(wanted) => {
            let found = admissible(problem, dataset);
            (found != *wanted)
                .then(|| format!("expected admissible {}, found {}", listed(wanted), listed(&found)))
        }
        Expected::Refused { backend, rule, kind } => {
            let spelled = domicile_placement::spell_out(problem, solution, &[dataset]);
            let refusals = spelled.iter().flat_map(|spelled| &spelled.refusals);
            let of_backend = refusals.filter(|r| r.backends.contains(backend));
            let all: Vec<_> = of_backend.collect();
            let fits = |refusal: &&&domicile_placement::Refusal| {
                rule.as_ref().is_none_or(|rule| *rule == refusal.rule)
                    && kind.is_none_or(|kind| kind == refusal.kind)
            };
            if all.iter().any(|refusal| fits(&refusal)) {
                return None;
            }
            let found: Vec<_> = all
                .iter()
                .map(|r| format!("{} ({})", r.rule, r.kind.as_str()))
                .collect();
            Some(match found.as_slice() {
                [] => format!("expected `{backend}` to be refused, and nothing refuses it"),
                found => format!(
                    "expected another refusal of `{backend}`, found {}",
                    found.join(", ")
                ),
            })
        }
    }
}
