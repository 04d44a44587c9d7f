//! Problem files: nothing is lost on the way, and nothing wrong comes in.

use std::sync::Arc;

use domicile_placement::problem_file::{Fault, ProblemFileError, Reader, anonymous, lines};
use domicile_placement::{
    Audit, Bars, Durability, Goal, GoalAim, Hop, Movement, Problem, Reason, RefusalKind, Refused, check,
    input_digest, solve,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{Dice, tariffed, world};

fn file(problem: &Problem) -> Vec<String> {
    lines(problem).collect::<Result<_, _>>().unwrap()
}

fn read(file: &[String]) -> Result<Problem, ProblemFileError> {
    Reader::read(file.iter().map(String::as_str))
}

/// A random estate, with all that a problem can say.
fn full(seed: u64) -> Problem {
    let mut problem = world(seed);
    let mut dice = Dice::new(!seed);
    let backends = problem.backends.len();
    problem.policies[0].movement = Movement {
        bytes: Some(dice.next()),
        cost: Some(dice.share()),
        payback_days: Some(30),
    };
    for _ in 0..dice.below(4) {
        let hop = Hop {
            forbidden: dice.one_in(3),
            price_per_gib: dice.one_in(2).then(|| dice.share()),
            bandwidth_bits_per_second: dice.one_in(2).then(|| dice.next()),
            latency_ms: dice.one_in(2).then(|| dice.below(500)),
        };
        let ends = (
            dice.below(backends as u64) as usize,
            dice.below(backends as u64) as usize,
        );
        problem.links.insert(ends, hop);
    }
    for requirement in &mut problem.requirements {
        requirement.durability = dice.one_in(2).then(|| Durability {
            milli_nines: dice.below(12_000) as u32,
            of: (0..backends)
                .map(|backend| (!dice.one_in(4)).then(|| (backend / 2, dice.below(5000) as u32)))
                .collect(),
        });
    }
    for subject in &mut problem.datasets {
        let profile = Arc::make_mut(&mut subject.profile);
        profile.goals = vec![Goal {
            aim: dice.pick(&[GoalAim::Carbon, GoalAim::Cost]),
            slack_millionths: dice.below(50_000) as u32,
        }];
        profile.audits = vec![Audit {
            policy: 0,
            refused: vec![Refused {
                backend: backends - 1,
                reason: 0,
            }],
            requirements: vec![1],
        }];
    }
    problem
}

proptest! {
    #[test]
    fn a_problem_comes_back_as_it_was(seed in any::<u64>()) {
        let problem = full(seed);
        let written = file(&problem);
        let back = read(&written).unwrap();
        prop_assert_eq!(input_digest(&back), input_digest(&problem));
        prop_assert_eq!(file(&back), written);
        prop_assert_eq!(back, problem);
    }

    #[test]
    fn a_problem_that_was_read_is_solved_alike(seed in any::<u64>(), has_tariffs in any::<bool>()) {
        let problem = if has_tariffs { tariffed(seed) } else { world(seed) };
        let back = read(&file(&problem)).unwrap();
        prop_assert_eq!(solve(&back, None), solve(&problem, None));
    }

    #[test]
    fn without_its_names_a_problem_has_the_same_solution(seed in any::<u64>()) {
        let problem = world(seed);
        let hidden = read(&file(&anonymous(&problem).unwrap())).unwrap();
        let solution = solve(&problem, None);
        prop_assert_eq!(solve(&hidden, None), solution.clone());
        prop_assert!(check(&hidden, &solution).is_ok());
    }

    #[test]
    fn a_line_less_is_noticed(seed in any::<u64>(), place in 0.0..1.0f64) {
        let mut written = file(&full(seed));
        let gone = (place * written.len() as f64) as usize;
        written.remove(gone);
        prop_assert!(read(&written).is_err());
    }
}

#[test]
fn profiles_are_stated_once_and_shared_again() {
    let mut problem = world(3);
    let profile = problem.datasets[0].profile.clone();
    let mut first = problem.datasets[0].clone();
    for name in ["x1", "x2", "x3"] {
        first.name = domicile_estate::DatasetName::new(name).unwrap();
        problem.datasets.push(first.clone());
    }
    let written = file(&problem);
    let head: Value = serde_json::from_str(&written[0]).unwrap();
    let profiles = head["rows"]["profiles"].as_u64().unwrap() as usize;
    assert_eq!(profiles, problem.datasets.len() - 3, "of {profile:?}");
    let back = read(&written).unwrap();
    let last = back.datasets.len() - 1;
    assert!(Arc::ptr_eq(
        &back.datasets[last].profile,
        &back.datasets[last - 1].profile
    ));
}

#[test]
fn anonymous_problems_name_nobody() {
    let mut problem = world(11);
    problem.reasons.push(Reason {
        rule: "secret-rule".to_owned(),
        kind: RefusalKind::Admission,
        bars: Bars::Every,
        message: "the secret domain".to_owned(),
    });
    let secret = |text: &str| format!("secret-{text}");
    for place in &mut problem.backends {
        place.name = domicile_estate::BackendName::new(&secret(place.name.as_str())).unwrap();
        place.provider = Some("secret provider".to_owned());
        place.region = Some("secret region".to_owned());
        place.energy.grid_source = "secret grid".to_owned();
    }
    for terms in &mut problem.policies {
        terms.name = domicile_estate::PolicyName::new(&secret(terms.name.as_str())).unwrap();
    }
    for wanted in &mut problem.requirements {
        wanted.name = secret(&wanted.name);
        wanted.place = "secret key".to_owned();
        for spread in &mut wanted.spread {
            spread.across = secret(&spread.across);
        }
    }
    for subject in &mut problem.datasets {
        subject.name = domicile_estate::DatasetName::new(&secret(subject.name.as_str())).unwrap();
    }
    let text = file(&anonymous(&problem).unwrap()).join("\n");
    assert!(!text.contains("secret"), "{text}");
    assert!(
        file(&problem).join("\n").contains("secret grid"),
        "the test hides something"
    );
}

/// Rows of a kind begin at this line of a file, counted from 0.
fn begins(written: &[String], kind: &str) -> usize {
    let head: Value = serde_json::from_str(&written[0]).unwrap();
    let kinds = [
        "backends",
        "policies",
        "reasons",
        "requirements",
        "links",
        "profiles",
        "datasets",
    ];
    let before = kinds.into_iter().take_while(|other| *other != kind);
    1 + before
        .map(|other| head["rows"][other].as_u64().unwrap() as usize)
        .sum::<usize>()
}

/// The fault of a file in which one field of the first row of a kind has another value.
fn fault_of(kind: &str, pointer: &str, value: Value) -> Fault {
    let mut written = file(&full(2));
    let at = begins(&written, kind);
    let mut row: Value = serde_json::from_str(&written[at]).unwrap();
    *row.pointer_mut(pointer)
        .unwrap_or_else(|| panic!("no {pointer} in {}", written[at])) = value;
    written[at] = row.to_string();
    match read(&written) {
        Err(ProblemFileError::Row { line, fault, .. }) if line == at as u64 + 1 => fault,
        other => panic!("{kind}{pointer}: {other:?}"),
    }
}

fn range(field: &'static str, limit: usize) -> Fault {
    Fault::Range {
        field,
        found: 99,
        limit,
    }
}

#[test]
fn an_index_that_leads_nowhere_is_refused_with_its_place() {
    let problem = full(2);
    let (backends, policies) = (problem.backends.len(), problem.policies.len());
    let (reasons, requirements) = (problem.reasons.len(), problem.requirements.len());
    let profiles = problem.datasets.len();
    let lost = json!([[99, "Verified", false, 0, 0]]);
    let cases = [
        ("backends", "/reasons", json!([99]), "reasons", reasons),
        ("requirements", "/policy", json!(99), "policy", policies),
        ("requirements", "/accepts", json!([99]), "accepts", backends),
        (
            "profiles",
            "/requirements",
            json!([99]),
            "requirements",
            requirements,
        ),
        ("profiles", "/refused", json!([[99, 0]]), "refused", backends),
        ("profiles", "/refused", json!([[0, 99]]), "refused", reasons),
        ("profiles", "/audits/0/policy", json!(99), "policy", policies),
        ("datasets", "/3", json!(99), "profile", profiles),
        ("datasets", "/5", lost, "backend", backends),
    ];
    for (kind, pointer, value, field, limit) in cases {
        assert_eq!(
            fault_of(kind, pointer, value),
            range(field, limit),
            "{kind}{pointer}"
        );
    }
}

#[test]
fn what_is_out_of_order_is_refused_with_its_place() {
    let twice = json!([[0, "Verified", false, 0, 0], [0, "Listed", true, 0, 0]]);
    let cases = [
        (
            "requirements",
            "/accepts",
            json!([1, 0]),
            Fault::Unsorted("accepts"),
        ),
        (
            "profiles",
            "/refused",
            json!([[1, 0], [0, 0]]),
            Fault::Unsorted("refused"),
        ),
        ("profiles", "/horizonMonths", json!(0), Fault::Horizon),
        ("datasets", "/5", twice, Fault::Unsorted("copies")),
        ("datasets", "/6", json!([[0, 0]]), Fault::Billable),
    ];
    for (kind, pointer, value, fault) in cases {
        assert_eq!(fault_of(kind, pointer, value), fault, "{kind}{pointer}");
    }
}

#[test]
fn words_lengths_and_amounts_are_checked() {
    let word = |field, word: &str| Fault::Word {
        field,
        word: word.to_owned(),
    };
    assert_eq!(fault_of("reasons", "/kind", json!("Whim")), word("kind", "Whim"));
    assert_eq!(fault_of("reasons", "/bars", json!("Some")), word("bars", "Some"));
    assert_eq!(
        fault_of("datasets", "/5", json!([[0, "Lost", true, 0, 0]])),
        word("state", "Lost")
    );
    assert_eq!(
        fault_of("backends", "/price/egressPerGiB", json!(-0.5)),
        Fault::Amount {
            field: "egressPerGiB",
            found: "-0.5".to_owned()
        }
    );
    let short = json!([{"across": "zone", "groups": 2, "groupOf": [0]}]);
    assert!(matches!(
        fault_of("requirements", "/spread", short),
        Fault::Length {
            field: "groupOf",
            found: 1,
            ..
        }
    ));
    assert!(matches!(
        fault_of("backends", "/name", json!("Not A Name")),
        Fault::Name(_)
    ));
}

/// JSON has no NaN: it is written as null, and no amount is read from that. Nor is one read that no double holds.
#[test]
fn no_amount_that_is_no_number_comes_in() {
    let mut problem = world(5);
    problem.backends[0].price.ingress_per_gib = f64::NAN;
    let refused = read(&file(&problem)).unwrap_err();
    assert!(
        matches!(
            &refused,
            ProblemFileError::Form {
                line: 2,
                row: "backend",
                ..
            }
        ),
        "{refused}"
    );
    let written = file(&world(5));
    let with = |text: &str| {
        let mut changed = written.clone();
        let mut row: Value = serde_json::from_str(&changed[1]).unwrap();
        row["energy"]["pue"] = json!("here");
        changed[1] = row.to_string().replace("\"here\"", text);
        read(&changed)
    };
    assert!(with("1.5").is_ok());
    for text in ["1e999", "NaN", "Infinity", "null"] {
        assert!(with(text).is_err(), "{text}");
    }
}

#[test]
fn another_version_is_named_before_its_fields_are_looked_at() {
    let head = r#"{"apiVersion":"domicile.dev/placement/v9","kind":"Problem","novelty":1}"#;
    let refused = Reader::read([head]).unwrap_err();
    assert_eq!(
        refused,
        ProblemFileError::Version {
            api_version: "domicile.dev/placement/v9".to_owned(),
            kind: "Problem".to_owned()
        }
    );
    assert!(
        refused.to_string().contains("domicile.dev/placement/v1"),
        "{refused}"
    );
    let plan = r#"{"apiVersion":"domicile.dev/v1alpha1","kind":"Plan"}"#;
    assert!(matches!(
        Reader::read([plan]),
        Err(ProblemFileError::Version { .. })
    ));
    assert!(matches!(
        Reader::read(["kind: Problem"]),
        Err(ProblemFileError::Form { line: 1, .. })
    ));
}

#[test]
fn files_that_are_cut_off_or_go_on_are_refused() {
    let mut written = file(&world(8));
    let whole = written.len();
    let last = written.pop().unwrap();
    assert_eq!(
        read(&written),
        Err(ProblemFileError::Cut {
            line: whole as u64 - 1,
            row: "dataset"
        })
    );
    assert_eq!(
        Reader::read([]),
        Err(ProblemFileError::Cut { line: 0, row: "head" })
    );
    written.push(last.clone());
    assert!(read(&written).is_ok());
    written.push(last);
    assert_eq!(
        read(&written),
        Err(ProblemFileError::Extra {
            line: whole as u64 + 1
        })
    );
}

#[test]
fn names_come_in_their_order() {
    for kind in ["backends", "policies", "datasets"] {
        // The first world that has two policies and two datasets.
        let written = (0..).map(|seed| file(&world(seed))).find(|written| {
            let head: Value = serde_json::from_str(&written[0]).unwrap();
            ["policies", "datasets"]
                .iter()
                .all(|kind| head["rows"][kind].as_u64() > Some(1))
        });
        let mut written = written.unwrap();
        let at = begins(&written, kind);
        written.swap(at, at + 1);
        let refused = read(&written).unwrap_err();
        assert!(
            matches!(refused, ProblemFileError::Row { line, fault: Fault::Unsorted("name"), .. } if line == at as u64 + 2),
            "{kind}: {refused}"
        );
    }
}
