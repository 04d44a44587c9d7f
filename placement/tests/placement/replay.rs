//! The problems of `benches/problems`, worst cases among them, solved again and held against what other methods found.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test reads its problems from files"
)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use domicile_placement::problem_file::Reader;
use domicile_placement::{Problem, check, solve};
use serde_json::Value;

/// Two sums of rounded numbers.
const ROUNDING: f64 = 1e-9;
/// How far above the best plan that is known a plan may be, as a share of it.
const WORSE: f64 = 1e-3;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/problems")
}

fn problems() -> Vec<(String, Problem)> {
    let mut files: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "gz"))
        .collect();
    files.sort();
    let read = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        let name = name.trim_end_matches(".jsonl.gz").to_owned();
        let text = flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap());
        let mut reader = Reader::default();
        for line in BufReader::new(text).lines() {
            reader
                .line(&line.unwrap())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        (name, reader.finish().unwrap())
    };
    files.iter().map(read).collect()
}

#[test]
fn every_problem_is_solved_soundly_and_as_well_as_others_do() {
    let known: Value =
        serde_json::from_str(&std::fs::read_to_string(folder().join("known.json")).unwrap()).unwrap();
    let problems = problems();
    assert_eq!(problems.len(), 10);
    for (name, problem) in problems {
        let solution = solve(&problem, None);
        let checked = check(&problem, &solution).unwrap_or_else(|violated| panic!("{name}: {violated:?}"));
        assert_eq!(solve(&problem, None), solution, "{name}: solved twice");
        let unsatisfied = checked
            .missing
            .iter()
            .filter(|missing| **missing != (0, 0, 0))
            .count();
        let (objective, bound) = (solution.objective.per_month, solution.lower_bound);
        let known = &known[&name];
        if let Some(best) = known["unsatisfied"].as_u64() {
            assert_eq!(unsatisfied as u64, best, "{name}: unsatisfied datasets");
        }
        if let Some(plan) = known["plan"].as_f64() {
            assert!(
                bound <= plan + ROUNDING * plan,
                "{name}: the bound {bound} is above a plan of {plan}"
            );
            assert!(
                objective <= plan + WORSE * plan,
                "{name}: {objective} is planned, {plan} is known to do"
            );
        }
        if let Some(proved) = known["bound"].as_f64() {
            assert!(
                objective >= proved - ROUNDING * proved,
                "{name}: {objective} is planned, less than {proved} cannot be"
            );
        }
    }
}
