//! `plan --write-problem` and `solve`: what was planned is solved again elsewhere, with the same outcome.

use domicile_tests::{Estate, manifest};
use serde_json::Value;

use crate::{seed, simple};

/// Two datasets, three copies wanted, prices that differ.
fn estate() -> Estate {
    let estate = Estate::new();
    seed(&estate, "secret-plants");
    seed(&estate, "secret-birds");
    let text = manifest::home(&["secret-vault", "attic", "cellar"])
        + &manifest::dataset("secret-plants", "home", "origin", &[])
        + &manifest::dataset("secret-birds", "home", "origin", &[])
        + &manifest::copies(3);
    estate.manifests(&text);
    estate
}

/// The objective of a plan without what its moves add: `solve` makes none.
fn of_the_solution(plan: &Value) -> Value {
    let mut objective = plan["objective"].clone();
    let fields = objective.as_object_mut().expect("an objective");
    for of_the_moves in ["routedOnce", "savedByRoutes"] {
        assert!(fields.remove(of_the_moves).is_some(), "{plan}");
    }
    objective
}

#[test]
fn a_problem_is_solved_again_as_it_was_planned() {
    let estate = estate();
    for file in ["problem.jsonl", "problem.jsonl.gz", "problem.jsonl.zst"] {
        let written = ["plan", "-f", "manifests", "-o", "json", "--write-problem", file];
        let plan = estate.run(&written).exits(0).json();
        let replay = estate.run(&["solve", file, "-o", "json"]).exits(0);
        let replayed = replay.json();
        assert_eq!(replayed["inputDigest"], plan["inputDigest"], "{file}");
        assert_eq!(replayed["objective"], of_the_solution(&plan), "{file}");
        assert_eq!(replayed["unsatisfied"], 0);
        assert_eq!(replayed["datasets"], 2);
        assert!(replay.stderr.contains("CPU seconds: "), "{}", replay.stderr);
        let sets = estate.run(&["solve", file, "-o", "jsonl"]).exits(0);
        let sets: Vec<Value> = sets
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        for (set, planned) in sets.iter().zip(plan["datasets"].as_array().expect("datasets")) {
            assert_eq!(set["dataset"], planned["name"]);
            assert_eq!(set["backends"], planned["backends"]);
        }
        assert_eq!(sets.len(), 2);
    }
    let size = |file: &str| std::fs::metadata(estate.path(file)).expect("a file").len();
    for packed in ["problem.jsonl.gz", "problem.jsonl.zst"] {
        assert!(size(packed) < size("problem.jsonl"), "{packed} is compressed");
    }
}

#[test]
fn a_problem_comes_through_a_pipe_and_is_drawn() {
    let estate = estate();
    let written = [
        "plan",
        "-f",
        "manifests",
        "-o",
        "name",
        "--write-problem",
        "problem.gz",
    ];
    let _ = estate.run(&written).exits(0);
    let mut command = estate.command(&["solve", "-"]);
    command.stdin(std::fs::File::open(estate.path("problem.gz")).expect("the problem"));
    let output = command.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.starts_with("DATASETS  BACKENDS  OBJECTIVE"), "{text}");
}

#[test]
fn an_anonymous_problem_tells_no_names_and_has_the_same_solution() {
    let estate = estate();
    let write = |more: &[&str]| {
        let asked = [
            "plan",
            "-f",
            "manifests",
            "-o",
            "json",
            "--write-problem",
            "problem.jsonl",
        ];
        let plan = estate.run(&[&asked[..], more].concat()).exits(0).json();
        let text = std::fs::read_to_string(estate.path("problem.jsonl")).expect("the problem");
        (plan, text)
    };
    let (_, named) = write(&[]);
    assert!(named.contains("secret-plants") && named.contains("secret-vault"));
    let (plan, text) = write(&["--anonymous"]);
    assert!(!text.contains("secret"), "{text}");
    let replay = estate
        .run(&["solve", "problem.jsonl", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(replay["objective"], of_the_solution(&plan));
    let _ = estate.run(&["plan", "-f", "manifests", "--anonymous"]).exits(64);
}

#[test]
fn a_problem_that_cannot_be_satisfied_ends_with_3() {
    let estate = simple(&["one"], 4);
    let _ = estate
        .run(&["plan", "-f", "manifests", "--write-problem", "problem.jsonl"])
        .exits(3);
    let replay = estate
        .run(&["solve", "problem.jsonl", "-o", "json"])
        .exits(3)
        .json();
    assert_eq!(replay["unsatisfied"], 1);
}

#[test]
fn what_is_no_problem_file_is_refused_with_its_line() {
    let estate = estate();
    let _ = estate
        .run(&["plan", "-f", "manifests", "--write-problem", "problem.jsonl"])
        .exits(0);
    let text = std::fs::read_to_string(estate.path("problem.jsonl")).expect("the problem");
    let cut = text.rsplit_once("[\"secret-plants\"").expect("the last row").0;
    estate.write("cut.jsonl", cut);
    let _ = estate.run(&["solve", "cut.jsonl"]).exits(1).says("cut off");
    estate.write(
        "backend.jsonl",
        text.replacen("\"reasons\":[]", "\"reasons\":[7]", 1),
    );
    let _ = estate
        .run(&["solve", "backend.jsonl"])
        .exits(1)
        .says("line 2, a backend: `reasons` has 7");
    estate.write("later.jsonl", text.replacen("placement/v1", "placement/v7", 1));
    let _ = estate
        .run(&["solve", "later.jsonl"])
        .exits(1)
        .says("domicile.dev/placement/v7");
    estate.write("broken.jsonl.gz", [0x1f, 0x8b, 8, 0, 1, 2, 3]);
    let _ = estate.run(&["solve", "broken.jsonl.gz"]).exits(1).says("damaged");
    let _ = estate
        .run(&["solve", "manifests/estate.yaml"])
        .exits(1)
        .says("line 1");
    let _ = estate
        .run(&["solve", "absent.jsonl"])
        .exits(1)
        .says("absent.jsonl");
    let _ = estate
        .run(&[
            "plan",
            "-f",
            "manifests",
            "--write-problem",
            "no/such/folder.jsonl",
        ])
        .exits(1)
        .says("could not be written");
}
