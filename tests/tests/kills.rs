//! SIGKILL at random moments of an apply: whatever the moment, the next apply goes on and ends in the same state.
//!
//! `DOMICILE_KILLS` says how many kills, `DOMICILE_KILL_SEED` from which seed.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domicile_tests::{Estate, Random, bytes, files, manifest, temporary_files};

/// Kills, unless `DOMICILE_KILLS` says how many.
const KILLS: u64 = 200;
/// Objects of the dataset.
const OBJECTS: u64 = 300;
/// Kills of one estate before it is brought to its end and looked at.
const KILLS_PER_ESTATE: u64 = 10;
/// Everything that a copy may lie on besides the origin; the policies want all of the first three.
const TARGETS: [&str; 4] = ["b1", "b2", "b3", "b4"];

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

fn estate() -> Estate {
    let estate = Estate::new();
    for at in 0..OBJECTS {
        let length = [0, 1, 900, 4096, 40_000][(at % 5) as usize] + at;
        estate.write(
            &format!("stores/origin/d/part-{}/object-{at}", at % 7),
            bytes(at, length as usize),
        );
    }
    let text =
        manifest::home(&TARGETS) + &manifest::dataset("d", "home", "origin", &[]) + &manifest::copies(4);
    estate.manifests(&text);
    estate
}

/// Starts an apply and kills it after so long; whether it was still running then.
fn killed(estate: &Estate, after: Duration) -> bool {
    let mut command = estate.command(&["apply", "-f", "manifests", "--yes"]);
    let sink = std::fs::File::options()
        .create(true)
        .append(true)
        .open(estate.path("apply.log"))
        .expect("a log");
    command.stdout(sink.try_clone().expect("a log")).stderr(sink);
    let mut child = command.spawn().expect("the binary starts");
    std::thread::sleep(after);
    if let Some(status) = child.try_wait().expect("the child can be asked for") {
        let log = std::fs::read_to_string(estate.path("apply.log")).unwrap_or_default();
        assert!(
            status.success(),
            "an apply after kills ended with {status}:\n{log}"
        );
        return false;
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("the child ends");
    true
}

/// What must hold at any moment, also right after a kill: what is visible under its own name is whole.
fn assert_nothing_half_is_visible(estate: &Estate, source: &BTreeMap<String, Vec<u8>>) {
    for target in TARGETS {
        for (path, bytes) in files(&estate.path(&format!("stores/{target}/d"))) {
            if path
                .rsplit('/')
                .next()
                .is_some_and(|name| name.starts_with(".domicile-"))
            {
                continue;
            }
            assert!(
                source.get(&path) == Some(&bytes),
                "{path} on {target} is not what its source is"
            );
        }
    }
}

/// What must hold after the last apply.
fn assert_done(estate: &Estate, source: &BTreeMap<String, Vec<u8>>, planned: &[&str]) {
    let outcome = estate.run(&["apply", "-f", "manifests", "--yes"]).exits(0);
    assert_eq!(
        temporary_files(&estate.path("stores")),
        Vec::<String>::new(),
        "{}",
        outcome.all()
    );
    assert!(
        &files(&estate.path("stores/origin/d")) == source,
        "the origin is untouched"
    );
    for target in TARGETS {
        let copy = files(&estate.path(&format!("stores/{target}/d")));
        let wanted = if planned.contains(&target) {
            source.len()
        } else {
            0
        };
        assert_eq!(copy.len(), wanted, "objects on {target}: {}", outcome.all());
        assert!(
            copy.iter().all(|(path, bytes)| source.get(path) == Some(bytes)),
            "bytes on {target}"
        );
    }
    let plan = estate.plan().exits(0).json();
    assert_eq!(
        plan["moves"],
        serde_json::json!([]),
        "every copy is verified, nothing is left to do"
    );
    estate.run(&["dataset", "scrub", "d"]).exits(0);
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(0);
}

/// Kills applies of one estate until one comes through; how many were killed.
fn kill_until_done(
    estate: &Estate,
    random: &mut Random,
    whole: Duration,
    source: &BTreeMap<String, Vec<u8>>,
) -> u64 {
    for kills in 0..KILLS_PER_ESTATE {
        // Mostly early, for what was done before a kill is not done again: so the kills reach every stage of the work.
        let longest = whole.as_micros() as u64 / [2, 6, 12][random.below(3) as usize];
        let after = Duration::from_micros(random.below(longest));
        if !killed(estate, after) {
            return kills;
        }
        assert_nothing_half_is_visible(estate, source);
    }
    KILLS_PER_ESTATE
}

#[test]
fn kills_at_random_moments_lose_nothing() {
    let seed = number("DOMICILE_KILL_SEED", 1);
    let wanted = number("DOMICILE_KILLS", KILLS);
    eprintln!("{wanted} kills from seed {seed}");
    let mut random = Random::new(seed);
    let whole = {
        let estate = estate();
        let start = Instant::now();
        estate.run(&["apply", "-f", "manifests", "--yes"]).exits(0);
        start.elapsed()
    };
    let (mut kills, mut rounds) = (0, 0);
    while kills < wanted {
        assert!(
            rounds < wanted * 3 + 10,
            "{kills} kills in {rounds} rounds: applies end before they are killed"
        );
        let estate = estate();
        let source = files(&estate.path("stores/origin/d"));
        // Every other round kills copies into an empty estate; the rest a drain: copies, then deletions.
        let planned = if rounds % 2 == 0 {
            ["b1", "b2", "b3"]
        } else {
            estate.run(&["apply", "-f", "manifests", "--yes"]).exits(0);
            estate.run(&["backend", "drain", "b1"]).exits(0);
            ["b2", "b3", "b4"]
        };
        kills += kill_until_done(&estate, &mut random, whole, &source);
        assert_done(&estate, &source, &planned);
        rounds += 1;
    }
    eprintln!(
        "{kills} kills in {rounds} rounds, an undisturbed apply takes {} ms",
        whole.as_millis()
    );
}
