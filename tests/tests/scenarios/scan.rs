//! What lies in a place is registered where it lies; a further scan notices what its owner did since.

use domicile_tests::{Estate, bytes, files, manifest};
use serde_json::{Value, json};

/// An estate with two folders and a file on `origin`, and further backends.
fn estate(backends: &[&str], copies: usize) -> Estate {
    let estate = Estate::new();
    estate.write("stores/origin/photos/a.jpg", bytes(1, 9_000));
    estate.write("stores/origin/photos/b/c.jpg", bytes(2, 70_000));
    estate.write("stores/origin/films/d.mp4", bytes(3, 300_000));
    estate.write("stores/origin/readme.txt", "beside");
    estate.manifests(&(manifest::home(backends) + &manifest::copies(copies)));
    estate
}

const SCAN: [&str; 7] = [
    "dataset",
    "import",
    "--scan",
    "origin",
    "-f",
    "manifests",
    "-ojson",
];

fn rows(outcome: &domicile_tests::Outcome) -> Vec<Value> {
    outcome.json()["items"].as_array().expect("a list").clone()
}

/// What a scan tells of a dataset: new, new versions, touched, gone.
fn told(outcome: &domicile_tests::Outcome, dataset: &str) -> [u64; 4] {
    let rows = rows(outcome);
    let row = rows
        .iter()
        .find(|row| row["dataset"] == dataset)
        .expect("the dataset is told of");
    ["new", "newVersions", "touched", "gone"].map(|field| row[field].as_u64().expect("a number"))
}

fn whole(estate: &Estate, dataset: &str, backends: &[&str]) {
    let source = files(&estate.path(&format!("stores/origin/{dataset}")));
    for backend in backends {
        let copy = files(&estate.path(&format!("stores/{backend}/{dataset}")));
        assert!(copy == source, "{dataset} on {backend} is as at the origin");
    }
}

#[test]
fn each_folder_becomes_a_dataset_where_it_lies_and_is_copied_like_any_other() {
    let estate = estate(&["b1"], 2);
    let before = files(&estate.path("stores/origin"));
    let outcome = estate.run(&SCAN).exits(0).says("1 object beside the folders");
    assert_eq!(told(&outcome, "photos"), [2, 0, 0, 0]);
    assert_eq!(told(&outcome, "films"), [1, 0, 0, 0]);
    assert!(!estate.path("stores/b1").exists(), "a scan moves nothing");
    estate.apply().exits(0);
    whole(&estate, "photos", &["b1"]);
    whole(&estate, "films", &["b1"]);
    assert!(
        files(&estate.path("stores/origin")) == before,
        "the origin is as it was"
    );
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(0);
    let again = estate.run(&SCAN).exits(0);
    assert_eq!(told(&again, "photos"), [0, 0, 0, 0]);
}

#[test]
fn what_was_changed_becomes_a_new_version_and_copies_keep_the_old_one_until_it_comes() {
    let estate = estate(&["b1", "b2"], 3);
    estate.run(&SCAN).exits(0);
    estate.apply().exits(0);
    let old = files(&estate.path("stores/b1/photos"));
    estate.write("stores/origin/photos/a.jpg", bytes(11, 12_345));
    estate.write("stores/origin/photos/new.jpg", bytes(12, 10));
    std::fs::remove_file(estate.path("stores/origin/photos/b/c.jpg")).expect("a file to delete");
    // To apply is not to say that the old bytes may go.
    estate.apply().says("a.jpg").says("--scan");
    assert_eq!(files(&estate.path("stores/b2/photos"))["a.jpg"], old["a.jpg"]);
    let outcome = estate
        .run(&SCAN)
        .exits(0)
        .says("c.jpg")
        .says("copies keep the old versions");
    assert_eq!(told(&outcome, "photos"), [0, 1, 0, 1]);
    let kept = files(&estate.path("stores/b1/photos"));
    assert_eq!(kept["a.jpg"], old["a.jpg"], "a scan moves nothing");
    let sums = estate.run(&["whereis", "photos", "-o", "json"]).exits(0).json();
    assert_eq!(sums["bytes"], 12_345 + 70_000 + 10);
    // The owner is faster than the mover: what was scanned is not there any more, and no copy takes anything else.
    estate.write("stores/origin/photos/a.jpg", bytes(13, 12_345));
    let outcome = estate.apply();
    assert_ne!(outcome.code, 0, "{}", outcome.all());
    for backend in ["b1", "b2"] {
        let copy = files(&estate.path(&format!("stores/{backend}/photos")));
        assert_eq!(copy["a.jpg"], old["a.jpg"], "{backend} keeps the old version");
    }
    let outcome = estate.run(&SCAN).exits(0);
    assert_eq!(told(&outcome, "photos"), [0, 1, 0, 1]);
    let plan = estate.plan().json();
    let moves = plan["moves"].as_array().expect("moves");
    assert_eq!(moves.len(), 2, "both copies are to be brought up to date: {plan}");
    let outcome = estate.apply();
    // What is gone from the origin stays reported.
    assert!([0, 3].contains(&outcome.code), "{}", outcome.all());
    for backend in ["b1", "b2"] {
        let mut copy = files(&estate.path(&format!("stores/{backend}/photos")));
        assert_eq!(
            copy.remove("b/c.jpg"),
            Some(old["b/c.jpg"].clone()),
            "what is gone stays in the copies"
        );
        assert!(
            copy == files(&estate.path("stores/origin/photos")),
            "{backend} has the new version"
        );
    }
    let plan = estate.plan().json();
    assert_eq!(plan["moves"], json!([]));
    estate
        .run(&["dataset", "scrub", "photos", "--backend", "b1"])
        .exits(0);
}

#[test]
fn a_new_time_alone_is_no_new_version() {
    let estate = estate(&["b1"], 2);
    estate.run(&SCAN).exits(0);
    estate.apply().exits(0);
    let file = std::fs::File::options()
        .write(true)
        .open(estate.path("stores/origin/photos/a.jpg"));
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    file.and_then(|file| file.set_modified(time))
        .expect("a time to set");
    estate.plan().says("a.jpg");
    let outcome = estate.run(&SCAN).exits(0);
    assert_eq!(told(&outcome, "photos"), [0, 0, 1, 0]);
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(0)
        .never_says("a.jpg");
}

#[test]
fn a_place_may_be_one_dataset_and_what_is_asked_wrongly_changes_nothing() {
    let estate = estate(&["b1"], 2);
    let scan =
        |more: &[&str]| estate.run(&[&["dataset", "import", "-f", "manifests", "-ojson"], more].concat());
    scan(&["--scan", "origin/films"]).exits(1).says("--as NAME");
    scan(&["--scan", "origin/nothing"])
        .exits(1)
        .says("nothing lies in");
    scan(&["--scan", "origin/../x"]).exits(64);
    scan(&["--scan", "orign"]).exits(1).says("origin");
    assert!(!estate.path(".domicile").exists(), "nothing was recorded");
    let outcome = scan(&[
        "--scan",
        "origin/films",
        "--as",
        "cinema",
        "--label",
        "theme=film",
    ])
    .exits(0);
    assert_eq!(told(&outcome, "cinema"), [1, 0, 0, 0]);
    let described = estate.run(&["get", "dataset", "cinema", "-o", "json"]).exits(0);
    assert!(described.stdout.contains("film"), "{}", described.all());
    scan(&["--scan", "origin/photos", "--as", "cinema"])
        .exits(1)
        .says("already");
    // A second scan knows the place again without being told its name.
    let outcome = scan(&["--scan", "origin/films"]).exits(0);
    assert_eq!(told(&outcome, "cinema"), [0, 0, 0, 0]);
    // All of the backend would be cut in two by what is known.
    scan(&["--scan", "origin", "--as", "everything"])
        .exits(1)
        .says("lie within each other");
    let outcome = estate.run(&SCAN).exits(0);
    assert_eq!(rows(&outcome).len(), 2, "photos is new, films is known as cinema");
    std::fs::rename(estate.path("stores/origin"), estate.path("away")).expect("a disk to unmount");
    std::fs::create_dir(estate.path("stores/origin")).expect("an empty mount point");
    scan(&["--scan", "origin/films"]).exits(1).says("mounted");
}
