//! SIGKILL while new versions take the place of old ones: at any moment each object of the copy is whole, in its old or its new
//! version; at the end all are new, and nothing that helped on the way is left.
//!
//! The copy lies in a folder, on an S3 server that refuses wrong checksums, or on Azurite, which shows nothing of an object
//! before the old one is gone: there the new bytes are put under a second name first.
//!
//! `DOMICILE_REPLACEMENT_KILLS` says how many kills for each, `DOMICILE_KILL_SEED` from which seed.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use domicile_tests::{
    Azurite, Estate, Random, Server, bytes, digest_lists, files, manifest, rclone, skip, temporary_files,
};

/// Kills of one kind of store.
const KILLS: u64 = 8;
/// Kills before an estate is brought to its end and looked at.
const KILLS_PER_ESTATE: u64 = 4;
const SMALL: u64 = 40;

type Files = BTreeMap<String, Vec<u8>>;

/// Where the copy lies.
enum Target {
    Folder,
    S3(Server),
    Azure(Azurite),
}

impl Target {
    fn manifest(&self, number: u64) -> String {
        let store = match self {
            Self::Folder => return manifest::folder("store", "home", "DE", &[]),
            Self::S3(server) => format!(
                "{{type: S3, bucket: first, endpoint: \"{}\", region: us-east-1, root: e{number}}}",
                server.endpoint
            ),
            Self::Azure(azurite) => format!(
                "{{type: Azblob, container: first, endpoint: \"{}\", root: e{number}}}",
                azurite.endpoint
            ),
        };
        manifest::backend("store", "home", "DE", &store, &["credentials: {env: STORE}"])
    }

    /// What lies in the copy.
    fn copy(&self, estate: &Estate, number: u64) -> Files {
        let below = |remote: &str| {
            let seen = tempfile::tempdir().expect("a temporary folder");
            let path = seen.path().to_str().expect("a path in UTF-8");
            assert_eq!(rclone(&["copy", remote, path]), Some(true));
            let mut found = files(seen.path());
            found.extend(digest_lists(seen.path()));
            found
        };
        match self {
            Self::Folder => {
                let mut found = files(&estate.path("stores/store"));
                found.extend(digest_lists(&estate.path("stores/store")));
                found
            }
            Self::S3(server) => below(&server.remote(&format!("first/e{number}"))),
            Self::Azure(azurite) => below(&azurite.remote(&format!("first/e{number}"))),
        }
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn put_version(estate: &Estate, version: u64) {
    for at in 0..SMALL {
        let length = 500 + (at * 977 + version * 131) % 40_000;
        estate.write(
            &format!("stores/origin/d/small/{at}"),
            bytes(version * 1000 + at, length as usize),
        );
    }
    // One that comes in parts.
    let length = (9 << 20) + version as usize * 4_321;
    estate.write("stores/origin/d/large", bytes(version * 1000 + 500, length));
}

/// An estate whose copy holds an old version, of which the catalogue knows the new one.
fn estate(target: &Target, number: u64) -> (Estate, Files, Files) {
    let mut estate = Estate::new();
    match target {
        Target::Folder => {}
        Target::S3(server) => {
            estate.set("STORE_ACCESS_KEY_ID", &server.key);
            estate.set("STORE_SECRET_ACCESS_KEY", &server.secret);
        }
        Target::Azure(azurite) => {
            estate.set("STORE_ACCOUNT_NAME", &azurite.account);
            estate.set("STORE_ACCOUNT_KEY", &azurite.key);
        }
    }
    put_version(&estate, 1);
    let old = files(&estate.path("stores/origin/d"));
    estate.manifests(
        &(manifest::home(&[])
            + &target.manifest(number)
            + &manifest::dataset("d", "home", "origin", &[])
            + &manifest::copies(2)),
    );
    estate.apply().exits(0);
    put_version(&estate, 2);
    estate
        .run(&["dataset", "import", "--scan", "origin/d", "-f", "manifests"])
        .exits(0);
    let new = files(&estate.path("stores/origin/d"));
    (estate, old, new)
}

/// Starts an apply and kills it after so long; whether it was still running then.
fn killed(estate: &Estate, after: Duration) -> bool {
    let mut command = estate.command(&["apply", "-f", "manifests", "--yes"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    std::thread::sleep(after);
    if let Some(status) = child.try_wait().expect("the child can be asked for") {
        assert!(status.success(), "an apply after kills ended with {status}");
        return false;
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("the child ends");
    true
}

fn is_of_ours(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with(".domicile-"))
}

/// Each object has its old or its new bytes: under its own name, or, right after those were taken away, under a second one.
/// Returns how many are new by now.
fn assert_each_is_whole(there: &Files, old: &Files, new: &Files, seed: u64) -> usize {
    let spares: Vec<&Vec<u8>> = there
        .iter()
        .filter(|(path, _)| path.ends_with(".spare"))
        .map(|(_, bytes)| bytes)
        .collect();
    let mut renewed = 0;
    for key in new.keys() {
        let visible = there.get(&format!("d/{key}"));
        if let Some(visible) = visible {
            assert!(
                *visible == old[key] || *visible == new[key],
                "`{key}` is neither the old nor the new version, seed {seed}"
            );
        }
        assert!(
            visible.is_some() || spares.iter().any(|spare| **spare == new[key]),
            "`{key}` is gone, seed {seed}"
        );
        renewed += usize::from(visible == Some(&new[key]));
    }
    for path in there.keys().filter(|path| !is_of_ours(path)) {
        let key = path.strip_prefix("d/").unwrap_or(path);
        assert!(new.contains_key(key), "`{path}` is of nobody");
    }
    renewed
}

fn assert_done(target: &Target, estate: &Estate, at: u64, new: &Files) {
    let outcome = estate.apply().exits(0);
    let there = target.copy(estate, at);
    let lists = there
        .keys()
        .filter(|path| path.starts_with(".domicile-digests/d/"));
    assert_eq!(
        lists.count(),
        1,
        "the list of the new version, and no other: {}",
        outcome.all()
    );
    let mut objects = there;
    objects.retain(|path, _| !path.starts_with(".domicile-digests/"));
    let names: Vec<_> = objects.keys().filter(|path| is_of_ours(path)).collect();
    assert!(names.is_empty(), "left behind: {names:?} {}", outcome.all());
    assert_eq!(objects.len(), new.len());
    assert!(
        new.iter()
            .all(|(key, bytes)| objects.get(&format!("d/{key}")) == Some(bytes))
    );
    assert_eq!(temporary_files(&estate.path("stores")), Vec::<String>::new());
    estate.run(&["dataset", "scrub", "d"]).exits(0);
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(0);
}

/// The worst: in the middle of it the catalogue and the origin are lost. What is left is proven, object by object.
fn assert_proven_without_anything_else(estate: &Estate, old: &Files, new: &Files) {
    std::fs::remove_dir_all(estate.path(".domicile")).expect("a catalogue to lose");
    std::fs::remove_dir_all(estate.path("stores/origin")).expect("an origin to lose");
    let told = estate
        .run(&["catalogue", "rebuild", "-f", "manifests", "-ojson"])
        .exits(0);
    let row = &told.json()["items"][0];
    assert_eq!(row["byList"], new.len(), "{row}");
    estate.run(&["dataset", "restore", "d", "--to", "out"]).exits(0);
    let out = files(&estate.path("out"));
    assert_eq!(out.len(), new.len());
    for (key, bytes) in &out {
        assert!(*bytes == old[key] || *bytes == new[key], "`{key}` is neither");
    }
}

fn kill_replacements(target: &Target) {
    let seed = number("DOMICILE_KILL_SEED", 1);
    // Azurite is slow, and each object goes there twice.
    let usual = if matches!(target, Target::Azure(_)) {
        KILLS / 2
    } else {
        KILLS
    };
    let wanted = number("DOMICILE_REPLACEMENT_KILLS", usual);
    let mut random = Random::new(seed);
    let (first, _, _) = estate(target, 0);
    let begun = Instant::now();
    first.apply().exits(0);
    let whole = begun.elapsed();
    let (mut kills, mut between, mut round) = (0, 0, 0);
    // On a quick machine the moment between the first object and the last one is short: it is aimed at until it is hit.
    while kills < wanted || between == 0 {
        round += 1;
        assert!(
            round < wanted * 3 + 60,
            "of {kills} kills none came in the middle"
        );
        let (estate, old, new) = estate(target, round);
        for _ in 0..KILLS_PER_ESTATE {
            let longest = whole.as_micros() as u64 * 9 / 10;
            if !killed(&estate, Duration::from_micros(random.below(longest))) {
                break;
            }
            kills += 1;
            let renewed = assert_each_is_whole(&target.copy(&estate, round), &old, &new, seed);
            if 0 < renewed && renewed < new.len() {
                between += 1;
                if between == 2 {
                    assert_proven_without_anything_else(&estate, &old, &new);
                    break;
                }
            }
        }
        if estate.path("stores/origin").exists() {
            assert_done(target, &estate, round, &new);
        }
    }
    eprintln!("{kills} kills, {between} of them between two objects, an undisturbed apply takes {whole:?}");
}

#[test]
fn kills_in_the_middle_of_replacing_in_a_folder_lose_neither_version() {
    kill_replacements(&Target::Folder);
}

#[test]
fn kills_in_the_middle_of_replacing_on_s3_lose_neither_version() {
    let test = "kills_in_the_middle_of_replacing_on_s3_lose_neither_version";
    let Some(server) = Server::for_test(test, "store") else {
        return;
    };
    server.bucket("first");
    kill_replacements(&Target::S3(server));
}

#[test]
fn kills_in_the_middle_of_replacing_by_second_names_lose_neither_version() {
    let test = "kills_in_the_middle_of_replacing_by_second_names_lose_neither_version";
    if std::env::var_os("DOMICILE_WITHOUT_SERVERS").is_some() {
        return skip(test, "run without servers");
    }
    let Some(azurite) = Azurite::start("first") else {
        return skip(
            test,
            "no azurite or no node: `tests/run` installs it where npm is",
        );
    };
    kill_replacements(&Target::Azure(azurite));
}
