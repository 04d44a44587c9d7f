//! The way back: restoring from whatever copies are left, and another origin after a loss.

use std::time::{Duration, Instant};

use domicile_tests::{Estate, Random, bytes, files, manifest, temporary_files};

use super::{OBJECTS, placed, simple};

/// Changes one byte of a file and not its size.
fn damage(estate: &Estate, file: &str) {
    let path = estate.path(file);
    let mut bytes = std::fs::read(&path).expect("a file to damage");
    bytes[0] ^= 0x40;
    std::fs::write(&path, bytes).expect("a file to damage");
}

fn lose(estate: &Estate, folder: &str) {
    std::fs::remove_dir_all(estate.path(folder)).expect("a folder to lose");
}

/// The state of each copy, by backend.
fn states(estate: &Estate, dataset: &str) -> Vec<(String, String, bool)> {
    let told = estate.run(&["whereis", dataset, "-o", "json"]).exits(0).json();
    let copies = told["copies"].as_array().expect("a list of copies");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    copies
        .iter()
        .map(|copy| {
            (
                text(&copy["backend"]),
                text(&copy["state"]),
                copy["origin"] == true,
            )
        })
        .collect()
}

#[test]
fn a_lost_origin_is_restored_into_a_folder_and_a_second_run_writes_nothing() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    let source = files(&estate.path("stores/origin/d"));
    lose(&estate, "stores/origin");
    let told = estate
        .run(&["dataset", "restore", "d", "--to", "out/d", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(told["written"], OBJECTS.len());
    assert!(files(&estate.path("out/d")) == source, "byte for byte");
    std::fs::remove_file(estate.path("out/d/b.bin")).expect("a file to delete");
    let told = estate
        .run(&["dataset", "restore", "d", "--to", "out/d", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(told["written"], 1, "the same command goes on where it was");
    assert!(files(&estate.path("out/d")) == source, "byte for byte");
}

#[test]
fn a_damaged_copy_is_passed_over_told_and_recorded() {
    let estate = simple(&["b1", "b2"], 3);
    estate.apply().exits(0);
    let source = files(&estate.path("stores/origin/d"));
    lose(&estate, "stores/origin");
    damage(&estate, "stores/b1/d/a.bin");
    damage(&estate, "stores/b2/d/deep/er/c.bin");
    estate
        .run(&["dataset", "restore", "d", "--to", "out"])
        .exits(0)
        .says("damaged")
        .says("b1");
    assert!(files(&estate.path("out")) == source, "byte for byte");
    // The one that was not needed was not read.
    let recorded = states(&estate, "d");
    assert!(
        recorded.contains(&("b1".to_owned(), "Damaged".to_owned(), false)),
        "{recorded:?}"
    );
    damage(&estate, "stores/b2/d/a.bin");
    let told = estate.run(&["dataset", "restore", "d", "--to", "other"]);
    told.exits(5).says("a.bin").says("goes on where it was");
    assert!(
        !estate.path("other/a.bin").exists(),
        "nothing damaged is ever visible"
    );
}

#[test]
fn other_bytes_in_the_folder_stay_unless_they_may_be_replaced() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    let source = files(&estate.path("stores/origin/d"));
    estate.write("out/a.bin", "the owner's own notes");
    estate.write("out/mine.txt", "nothing of the dataset");
    let restore = ["dataset", "restore", "d", "--to", "out"];
    estate.run(&restore).exits(5).says("a.bin").says("--overwrite");
    let left = std::fs::read(estate.path("out/a.bin")).expect("the file is there");
    assert_eq!(left, b"the owner's own notes");
    estate.run(&[&restore[..], &["--overwrite"]].concat()).exits(0);
    assert!(estate.path("out/mine.txt").exists(), "nothing is deleted");
    std::fs::remove_file(estate.path("out/mine.txt")).expect("a file to delete");
    assert!(files(&estate.path("out")) == source, "byte for byte");
}

#[test]
fn an_origin_that_was_restored_in_place_is_as_it_was() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    let source = files(&estate.path("stores/origin/d"));
    estate.write("stores/origin/another-thing", "so that the root is not empty");
    lose(&estate, "stores/origin/d");
    estate
        .run(&["dataset", "restore", "d", "--backend", "origin"])
        .exits(1)
        .says("read-only");
    estate.apply().says("a.bin");
    estate
        .run(&["dataset", "restore", "d", "--to", "stores/origin/d"])
        .exits(0);
    assert!(files(&estate.path("stores/origin/d")) == source, "byte for byte");
    let origin = ("origin".to_owned(), "Verified".to_owned(), true);
    assert!(
        states(&estate, "d").contains(&origin),
        "{:?}",
        states(&estate, "d")
    );
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(0)
        .never_says("a.bin");
}

#[test]
fn a_copy_is_restored_onto_a_backend_only_where_a_policy_lets_it_lie() {
    let estate = simple(&["b1", "b2"], 2);
    estate.apply().exits(0);
    estate
        .run(&["dataset", "restore", "d", "--backend", "b2"])
        .exits(0);
    super::assert_copy(&estate, "d", "b2");
    let copy = ("b2".to_owned(), "Verified".to_owned(), false);
    assert!(states(&estate, "d").contains(&copy), "{:?}", states(&estate, "d"));
    let text = manifest::home(&["b1"])
        + &manifest::folder("far", "home", "US", &[])
        + &manifest::dataset("d", "home", "origin", &[])
        + &manifest::policy(
            "here",
            &["confine: [{name: german-soil, key: country, operator: In, values: [DE]}]"],
        );
    estate.manifests(&text);
    estate
        .run(&["dataset", "restore", "d", "--backend", "far", "-f", "manifests"])
        .exits(1)
        .says("german-soil");
    assert!(
        !estate.path("stores/far").exists(),
        "no byte of it was written there"
    );
}

#[test]
fn after_a_loss_a_verified_copy_becomes_the_origin_and_the_old_manifest_does_no_harm() {
    let estate = simple(&["b1", "b2"], 2);
    estate.apply().exits(0);
    let source = files(&estate.path("stores/origin/d"));
    lose(&estate, "stores/origin");
    estate
        .run(&["dataset", "set-origin", "d", "b2"])
        .exits(1)
        .says("nothing was changed");
    estate
        .run(&["dataset", "set-origin", "d", "b1"])
        .exits(0)
        .says("origin/d/ is remembered as lost");
    let origin = ("b1".to_owned(), "Verified".to_owned(), true);
    assert_eq!(states(&estate, "d"), [origin]);
    // The manifest still names the old origin, and what comes to lie there is nobody's.
    estate.write("stores/origin/d/a.bin", "another thing");
    estate.apply().exits(0);
    assert_eq!(placed(&estate.plan().exits(0).json(), "d"), ["b1", "b2"]);
    assert!(files(&estate.path("stores/b2/d")) == source, "byte for byte");
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(0);
}

#[test]
fn a_verified_copy_that_has_lost_an_object_does_not_become_the_origin() {
    let estate = simple(&["b1", "b2"], 2);
    estate.apply().exits(0);
    std::fs::remove_file(estate.path("stores/b1/d/a.bin")).expect("it was there");
    estate
        .run(&["dataset", "set-origin", "d", "b1"])
        .exits(1)
        .says("a.bin")
        .says("nothing was changed");
}

#[test]
fn after_set_origin_get_and_describe_tell_the_new_origin_and_not_the_old_one() {
    let estate = simple(&["b1", "b2"], 2);
    estate.apply().exits(0);
    lose(&estate, "stores/origin");
    estate.run(&["dataset", "set-origin", "d", "b1"]).exits(0);
    let told = |arguments: &[&str]| estate.run(arguments).exits(0);
    let dataset = told(&["describe", "dataset", "d", "-o", "json"]).json();
    let place = |backend: &str| serde_json::json!({"backend": backend, "prefix": "d/"});
    // The manifest still names the old one; what is in force stands beside it.
    assert_eq!(dataset["spec"]["origin"], place("origin"), "{dataset}");
    let status = &dataset["status"];
    assert_eq!(
        (&status["origin"], &status["formerOrigin"]),
        (&place("b1"), &place("origin"))
    );
    let copies = status["copies"].as_array().expect("copies");
    let backends: Vec<_> = copies.iter().map(|copy| &copy["backend"]).collect();
    assert_eq!(backends, ["b1"], "{dataset}");
    assert_eq!(
        (&copies[0]["origin"], &copies[0]["state"]),
        (&true.into(), &"Verified".into())
    );
    told(&["describe", "dataset", "d"]).says("formerOrigin");
    let list = told(&["get", "datasets", "-o", "json"]).json();
    assert_eq!(list["items"][0]["status"], *status, "{list}");
    told(&["get", "datasets", "-o", "wide"])
        .says("b1")
        .never_says("origin");
    // The backend where it lay is still known, and nobody wants anything there.
    told(&["get", "backends"]).says("origin");
    told(&["describe", "backend", "origin"]).says("ReadOnly");
    // Once the manifest names the new one there is nothing to tell of the old one.
    estate.manifests(
        &(manifest::home(&["b1", "b2"]) + &manifest::dataset("d", "home", "b1", &[]) + &manifest::copies(2)),
    );
    estate.apply().exits(0);
    let dataset = told(&["describe", "dataset", "d", "-o", "json"]).json();
    assert_eq!(dataset["spec"]["origin"], place("b1"), "{dataset}");
    assert_eq!(dataset["status"]["origin"], place("b1"), "{dataset}");
}

#[test]
fn a_place_that_was_filled_by_hand_becomes_the_origin_once_it_was_read() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    lose(&estate, "stores/origin");
    estate
        .run(&["dataset", "restore", "d", "--to", "stores/b1/rescued/plants"])
        .exits(0);
    damage(&estate, "stores/b1/rescued/plants/a.bin");
    let set = ["dataset", "set-origin", "d", "b1/rescued/plants"];
    estate.run(&set).exits(1).says("a.bin");
    damage(&estate, "stores/b1/rescued/plants/a.bin");
    estate.run(&set).exits(0);
    let told = estate.run(&["whereis", "d", "-o", "json"]).exits(0).json();
    assert!(
        told["copies"][0]["path"]
            .as_str()
            .is_some_and(|path| path.ends_with("b1/rescued/plants/")),
        "{told}"
    );
}

#[test]
fn a_backup_of_the_catalogue_is_whole_and_replaces_nothing_unasked() {
    let estate = simple(&["b1"], 2);
    estate
        .run(&["catalogue", "backup", "none.db"])
        .exits(1)
        .says("no catalogue");
    estate.apply().exits(0);
    let backup = ["catalogue", "backup", "kept/catalogue.db", "-o", "json"];
    estate.run(&backup).exits(1);
    std::fs::create_dir(estate.path("kept")).expect("a folder");
    let told = estate.run(&backup).exits(0).json();
    assert_eq!(told["objects"], OBJECTS.len());
    estate.run(&backup).exits(1).says("--overwrite");
    estate
        .run(&["catalogue", "backup", ".domicile/catalogue.db", "--overwrite"])
        .exits(1);
    let before = states(&estate, "d");
    lose(&estate, ".domicile");
    std::fs::create_dir(estate.path(".domicile")).expect("a folder");
    std::fs::copy(
        estate.path("kept/catalogue.db"),
        estate.path(".domicile/catalogue.db"),
    )
    .expect("a backup to put back");
    assert_eq!(states(&estate, "d"), before);
    estate.run(&["dataset", "scrub"]).exits(0);
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(0);
}

/// Runs a command and kills it after a while; whether it was killed.
fn killed(estate: &Estate, arguments: &[&str], after: Duration) -> bool {
    let mut command = estate.command(arguments);
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().expect("the binary starts");
    std::thread::sleep(after);
    if child.try_wait().expect("the child can be asked for").is_some() {
        return false;
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("the child ends");
    true
}

#[test]
fn killed_at_any_moment_a_rebuild_and_a_restore_go_on_where_they_were() {
    let seed = 4_711;
    let mut random = Random::new(seed);
    let estate = simple(&["b1", "b2"], 3);
    for at in 0..400 {
        estate.write(&format!("stores/origin/d/many/{at}"), bytes(at, 20_000));
    }
    estate.write("stores/origin/d/large.bin", bytes(1_000, 30 << 20));
    estate.apply().exits(0);
    let source = files(&estate.path("stores/origin/d"));
    lose(&estate, ".domicile");
    lose(&estate, "stores/origin");
    for command in [
        &["catalogue", "rebuild", "-f", "manifests"][..],
        &["dataset", "restore", "d", "--to", "out"],
    ] {
        let started = Instant::now();
        let mut kills = 0;
        while kills < 12 {
            // Longer from time to time, so that kills come in every stage.
            let after = Duration::from_millis(20 + random.below(60 * (1 + kills)));
            if !killed(&estate, command, after) {
                break;
            }
            kills += 1;
            for (path, content) in files(&estate.path("out")) {
                let unfinished = path
                    .rsplit('/')
                    .next()
                    .is_some_and(|name| name.starts_with(".domicile-"));
                assert!(unfinished || source[&path] == content, "{path}, seed {seed}");
            }
        }
        assert!(
            kills > 0,
            "it was too quick to be killed: {:?}",
            started.elapsed()
        );
        estate.run(command).exits(0);
    }
    assert!(files(&estate.path("out")) == source, "byte for byte, seed {seed}");
    assert_eq!(temporary_files(&estate.path("out")), Vec::<String>::new());
    let copies = states(&estate, "d");
    assert!(
        copies.iter().all(|(_, state, _)| state == "Verified"),
        "{copies:?}, seed {seed}"
    );
}

#[test]
fn a_dataset_without_objects_is_restored_as_nothing() {
    let estate = Estate::new();
    std::fs::create_dir_all(estate.path("stores/origin/d")).expect("a folder");
    let dataset = manifest::dataset("d", "home", "origin", &[]);
    estate.manifests(&(manifest::home(&["b1"]) + &dataset + &manifest::copies(2)));
    estate.apply().exits(0);
    lose(&estate, "stores/origin");
    let told = estate
        .run(&["dataset", "restore", "d", "--to", "out/d", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(told["written"], 0);
}
