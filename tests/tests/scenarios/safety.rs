//! Bytes that nobody can make again stay: what is not ours, what has changed, what only seems to be copied elsewhere.

use std::collections::BTreeMap;

use domicile_tests::{Estate, files, manifest};

use crate::{OBJECTS, assert_copy, seed, simple};

/// A policy that wants so many copies of a dataset on some of the named backends.
fn copies_on(dataset: &str, count: usize, backends: &[&str]) -> String {
    let place = format!(
        "{{key: backend, operator: In, values: [{}]}}",
        backends.join(", ")
    );
    manifest::policy(
        &format!("copies-of-{dataset}"),
        &[
            &format!("selector: {{matchLabels: {{set: {dataset}}}}}"),
            &format!("require: [{{name: enough, copies: {count}, where: [{place}]}}]"),
        ],
    )
}

/// A dataset whose origin lies in a folder of another name than its own.
fn dataset_in(folder: &str, dataset: &str, origin: &str, more: &[&str]) -> String {
    let text = manifest::dataset(dataset, "home", origin, more);
    text.replace(&format!("prefix: {dataset}/"), &format!("prefix: \"{folder}\""))
}

/// Backends in folders of one domain, all of which may be written to, the first the cheapest.
fn writable(backends: &[&str]) -> String {
    let folders = backends.iter().enumerate().map(|(at, name)| {
        let price = manifest::price(&format!("0.{}", at + 10));
        manifest::folder(name, "home", "DE", &[&price])
    });
    manifest::domain("home", "DE") + &folders.collect::<String>()
}

fn stored(estate: &Estate, below: &str) -> BTreeMap<String, Vec<u8>> {
    files(&estate.path(&format!("stores/{below}")))
}

#[test]
fn an_origin_that_lost_an_object_does_not_count_and_the_whole_copy_stays() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    let whole = stored(&estate, "b1/d");
    assert_eq!(whole.len(), OBJECTS.len(), "the copy is whole");
    std::fs::remove_file(estate.path("stores/origin/d/a.bin")).expect("a file to delete");
    estate.manifests(
        &(manifest::home(&["b1"]) + &manifest::dataset("d", "home", "origin", &[]) + &manifest::copies(1)),
    );
    let plan = estate.plan().json();
    assert!(!plan["moves"].to_string().contains("Retire"), "{plan}");
    estate.apply().exits(3);
    estate.apply().exits(3);
    assert_eq!(stored(&estate, "b1/d"), whole, "the only whole copy stays");
}

/// An estate whose dataset shall lie on `b1`, where somebody else's file is in the way; applied once.
fn foreign() -> Estate {
    let estate = Estate::new();
    seed(&estate, "d");
    estate.write("stores/b1/d/a.bin", "somebody else's");
    wants_on(&estate, "b1");
    estate.apply().exits(5).says("b1").says("a.bin");
    assert_foreign(&estate, "after the first apply");
    estate
}

fn wants_on(estate: &Estate, backend: &str) {
    estate.manifests(
        &(manifest::home(&["b1", "b2"])
            + &manifest::dataset("d", "home", "origin", &[])
            + &copies_on("d", 1, &[backend])),
    );
}

#[track_caller]
fn assert_foreign(estate: &Estate, when: &str) {
    let found = stored(estate, "b1/d");
    let text = found
        .get("a.bin")
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(text.as_deref(), Some("somebody else's"), "{when}");
}

#[test]
fn somebody_elses_file_stays_when_the_copy_moves_elsewhere() {
    let estate = foreign();
    wants_on(&estate, "b2");
    let _ = estate.apply();
    assert_copy(&estate, "d", "b2");
    assert_foreign(&estate, "after the copy went to b2");
    assert_eq!(stored(&estate, "b1/d").len(), 1, "what is ours on b1 is retired");
}

#[test]
fn somebody_elses_file_stays_after_a_scrub() {
    let estate = foreign();
    let _ = estate.run(&["dataset", "scrub", "d"]);
    assert_foreign(&estate, "after the scrub");
    estate.apply().exits(5).says("a.bin");
    assert_foreign(&estate, "after an apply that followed the scrub");
    wants_on(&estate, "b2");
    let _ = estate.apply();
    assert_copy(&estate, "d", "b2");
    assert_foreign(&estate, "after the copy went to b2");
}

#[test]
fn somebody_elses_file_stays_when_it_comes_after_a_scrub_that_found_nothing_there() {
    let estate = foreign();
    std::fs::remove_dir_all(estate.path("stores/b1/d")).expect("a folder to delete");
    let _ = estate.run(&["dataset", "scrub", "d"]);
    estate.write("stores/b1/d/a.bin", "somebody else's");
    estate.apply().exits(5).says("a.bin");
    assert_foreign(&estate, "after the apply");
}

#[test]
fn nothing_is_written_into_the_folder_of_another_datasets_origin() {
    let estate = Estate::new();
    estate.write("stores/shared/data/own.bin", "of the dataset `owner`");
    estate.write("stores/other/data/own.bin", "of the dataset `data`");
    estate.write("stores/other/data/more.bin", "more of the dataset `data`");
    let backends = writable(&["shared", "other", "third"]);
    let datasets =
        dataset_in("data/", "owner", "shared", &[]) + &manifest::dataset("data", "home", "other", &[]);
    let before = stored(&estate, "shared");
    estate.manifests(&format!(
        "{backends}{datasets}{}",
        copies_on("data", 1, &["shared"])
    ));
    estate.apply().exits(3).says("shared");
    assert_eq!(stored(&estate, "shared"), before, "the origin of `owner`");
    estate.manifests(&format!(
        "{backends}{datasets}{}",
        copies_on("data", 1, &["third"])
    ));
    let _ = estate.apply();
    assert_eq!(
        stored(&estate, "shared"),
        before,
        "the origin of `owner` after the copy went elsewhere"
    );
    assert_eq!(
        stored(&estate, "third/data"),
        stored(&estate, "other/data"),
        "the copy of `data`"
    );
}

#[test]
fn one_folder_under_two_names_is_refused() {
    let estate = Estate::new();
    seed(&estate, "d");
    std::fs::create_dir_all(estate.path("stores/b1")).expect("a folder");
    std::os::unix::fs::symlink(estate.path("stores/b1"), estate.path("stores/b2")).expect("a link");
    estate.manifests(
        &(manifest::home(&["b1", "b2"])
            + &manifest::dataset("d", "home", "origin", &[])
            + &copies_on("d", 2, &["b1", "b2"])),
    );
    let before = stored(&estate, "");
    estate.apply().exits(1).says("b1").says("b2");
    assert_eq!(stored(&estate, ""), before, "nothing is written");
}

#[test]
fn a_copy_where_a_released_origin_lay_is_put_and_found_below_the_datasets_name() {
    let estate = Estate::new();
    for (name, text) in [("one.bin", "one"), ("two.bin", "two")] {
        estate.write(&format!("stores/was/held/{name}"), text);
    }
    let source = stored(&estate, "was/held");
    let nouns = writable(&["was", "b1"]) + &dataset_in("held/", "d", "was", &["keepOrigin: false"]);
    estate.manifests(&format!("{nouns}{}", copies_on("d", 1, &["b1"])));
    estate.apply().exits(0);
    assert_eq!(stored(&estate, "was").len(), 0, "the released origin is retired");
    estate.manifests(&format!("{nouns}{}", copies_on("d", 2, &["b1", "was"])));
    estate.apply().exits(0);
    assert_eq!(
        stored(&estate, "was/d"),
        source,
        "the copy lies below the dataset's name"
    );
    assert_eq!(
        stored(&estate, "was/held").len(),
        0,
        "and not where the origin lay"
    );
    estate
        .run(&["whereis", "d", "-o", "json"])
        .exits(0)
        .says("stores/was/d")
        .never_says("held");
    estate.run(&["dataset", "scrub", "d"]).exits(0);
}

#[test]
fn a_released_origin_that_was_rewritten_is_not_retired() {
    let estate = Estate::new();
    seed(&estate, "d");
    let nouns = |keep: &str| {
        writable(&["b1", "origin"])
            + &manifest::dataset("d", "home", "origin", &[&format!("keepOrigin: {keep}")])
    };
    estate.manifests(&(nouns("true") + &copies_on("d", 2, &["b1", "origin"])));
    estate.apply().exits(0);
    estate.write("stores/origin/d/a.bin", "new, and only here");
    let rewritten = stored(&estate, "origin/d");
    estate.apply().says("has another size or time");
    estate.manifests(&(nouns("false") + &copies_on("d", 1, &["b1"])));
    estate.apply().exits(5).says("a.bin");
    assert_eq!(stored(&estate, "origin/d"), rewritten, "the origin stays");
    let _ = estate.apply();
    assert_eq!(
        stored(&estate, "origin/d"),
        rewritten,
        "the origin stays the next time, too"
    );
}

/// An estate with copies on `b1` and the dearer `b2` alone, the origin retired; and the objects.
fn moved_root(count: usize) -> (Estate, BTreeMap<String, Vec<u8>>) {
    let estate = Estate::new();
    seed(&estate, "d");
    let source = stored(&estate, "origin/d");
    let nouns =
        writable(&["b1", "b2", "origin"]) + &manifest::dataset("d", "home", "origin", &["keepOrigin: false"]);
    estate.manifests(&format!("{nouns}{}", copies_on("d", 2, &["b1", "b2"])));
    estate.apply().exits(0);
    assert_eq!(stored(&estate, "origin").len(), 0, "the origin is retired");
    estate.write("stores/moved/note", "a folder that is in use");
    let moved = nouns.replace("../stores/b1", "../stores/moved");
    estate.manifests(&format!("{moved}{}", copies_on("d", count, &["b1", "b2"])));
    (estate, source)
}

#[test]
fn a_backend_with_another_root_holds_nothing_until_its_copy_is_made_anew() {
    let (estate, source) = moved_root(2);
    let plan = estate.plan().json();
    let moves = plan["moves"].as_array().expect("moves");
    assert_eq!(moves.len(), 1, "one copy: {plan}");
    assert_eq!(
        (&moves[0]["action"], &moves[0]["to"]),
        (&"Copy".into(), &"b1".into())
    );
    estate.apply().exits(0);
    for place in ["moved/d", "b2/d", "b1/d"] {
        assert_eq!(stored(&estate, place), source, "{place}");
    }
    estate.run(&["dataset", "scrub", "d"]).exits(0);
}

#[test]
fn nothing_is_retired_for_a_copy_on_a_backend_with_another_root() {
    let (estate, source) = moved_root(1);
    for turn in 1..=2 {
        let _ = estate.apply();
        let (moved, kept) = (stored(&estate, "moved/d"), stored(&estate, "b2/d"));
        assert!(
            moved == source || kept == source,
            "apply {turn} left no whole copy: {:?} and {:?}",
            moved.keys(),
            kept.keys()
        );
    }
    assert_eq!(
        stored(&estate, "b1/d"),
        source,
        "the old folder is nobody's business"
    );
}

#[test]
fn a_damaged_copy_is_repaired_on_a_backend_without_a_byte_to_spare() {
    let estate = Estate::new();
    seed(&estate, "d");
    let size: usize = OBJECTS.iter().map(|(_, length)| length).sum();
    let tight = manifest::folder(
        "b1",
        "home",
        "DE",
        &[&manifest::price("0.01"), &format!("capacity: {size}")],
    );
    estate.manifests(
        &(manifest::home(&[])
            + &tight
            + &manifest::dataset("d", "home", "origin", &[])
            + &manifest::copies(2)),
    );
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
    let mut damaged = stored(&estate, "b1/d")["a.bin"].clone();
    damaged[5] ^= 1;
    estate.write("stores/b1/d/a.bin", damaged);
    estate.run(&["dataset", "scrub", "d"]).exits(3).says("a.bin");
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
    estate.run(&["dataset", "scrub", "d"]).exits(0);
}

#[test]
fn probing_folders_that_do_not_exist_yet_holds_nothing_up() {
    let estate = simple(&["b1", "b2"], 3);
    estate.run(&["backend", "probe", "-f", "manifests"]).exits(0);
    // Marks are kept for the backends that the catalogue knows, so these are recorded before the second probe.
    estate.write("backends/estate.yaml", manifest::home(&["b1", "b2"]));
    estate.run(&["apply", "-f", "backends", "--yes"]).exits(0);
    assert!(!estate.path("stores/b1").exists(), "nothing was copied yet");
    let probed = estate.run(&["backend", "probe", "-o", "json"]).exits(0).json();
    let items = probed["items"].as_array().expect("items");
    assert_eq!(items.len(), 3, "{probed}");
    assert!(items.iter().all(|item| item["reachable"] == true), "{probed}");
    estate
        .run(&["get", "backends"])
        .exits(0)
        .says("b1")
        .never_says("unreachable");
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
    assert_copy(&estate, "d", "b2");
}

#[test]
fn what_a_store_has_shown_is_kept_and_told() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    let described = || {
        estate
            .run(&["describe", "backend", "b1", "-o", "json"])
            .exits(0)
            .json()
    };
    assert!(
        described()["status"]["certificate"].is_null(),
        "nothing was tried out"
    );
    let probed = estate
        .run(&["backend", "probe", "b1", "-o", "json"])
        .exits(0)
        .json();
    let certificate = described()["status"]["certificate"].clone();
    for (field, expected) in [
        ("refusesToOverwrite", true),
        ("oneWriterWins", true),
        ("keepsEmpty", true),
        ("checksums", false),
        ("goesOn", true),
        ("reliedOn", true),
    ] {
        assert_eq!(certificate[field], expected, "{field}: {certificate}");
    }
    assert_eq!(
        probed["items"][0]["certificate"]["oneWriterWins"], true,
        "{probed}"
    );
    let objects = stored(&estate, "b1");
    assert!(
        objects.keys().all(|path| path.starts_with("d/")),
        "{:?}",
        objects.keys()
    );
}

#[test]
fn the_catalogue_inside_an_origin_is_no_object() {
    for catalogue in ["sqlite://.domicile/catalogue.db", "sqlite://cat.db"] {
        let (estate, target) = (Estate::new(), Estate::new());
        estate.write("one.bin", "one");
        let root = |path: &str| format!("{{type: Fs, root: {path}}}");
        let outside = root(&target.path("copies").display().to_string());
        let text = manifest::domain("home", "DE")
            + &manifest::backend("origin", "home", "DE", &root(".."), &["accessMode: ReadOnly"])
            + &manifest::backend("b1", "home", "DE", &outside, &[])
            + &dataset_in("", "d", "origin", &[])
            + &manifest::copies(2);
        estate.manifests(&text);
        let apply = ["apply", "-f", "manifests", "--yes", "--catalogue", catalogue];
        // The second run finds the catalogue in its place.
        for _ in 0..2 {
            estate.run(&apply).exits(0).never_says("another size or time");
        }
        let copied: Vec<String> = files(&target.path("copies/d")).into_keys().collect();
        assert_eq!(copied, ["manifests/estate.yaml", "one.bin"], "{catalogue}");
    }
}

#[test]
fn a_copy_is_not_planned_into_the_folder_of_an_origin() {
    // The whole of `b1` is somebody's origin in the second case, and has a folder of the other dataset's name.
    for (prefix, below) in [("y/", "y"), ("y/deep/", "y/deep"), ("", "y")] {
        let estate = Estate::new();
        for object in ["a", "b"] {
            estate.write(&format!("stores/b1/{below}/{object}"), "somebody's");
            estate.write(&format!("stores/b3/y/{object}"), format!("of y: {object}"));
        }
        let manifests = |place: &[&str]| {
            let datasets = dataset_in(prefix, "x", "b1", &[]) + &manifest::dataset("y", "home", "b3", &[]);
            estate.manifests(&(writable(&["b1", "b2", "b3"]) + &datasets + &copies_on("y", 1, place)));
        };
        // The cheapest place cannot be had, so that the next one is taken.
        manifests(&["b1", "b2"]);
        estate.apply().exits(0).says("1 copy verified");
        assert_eq!(stored(&estate, "b2/y"), stored(&estate, "b3/y"));
        let theirs = "belongs to the origin of dataset `x`";
        estate.run(&["why", "y"]).exits(0).says(theirs);
        manifests(&["b1"]);
        estate.apply().exits(3).says(theirs).says("another name");
        let unsatisfied = estate.run(&["status", "-o", "json"]).exits(3).json();
        assert_eq!(unsatisfied["datasets"][1]["pendingMoves"], 0, "{unsatisfied}");
        assert_eq!(stored(&estate, &format!("b1/{below}")).len(), 2);
    }
}

#[test]
fn a_backend_that_was_pruned_and_comes_again_elsewhere_holds_nothing_that_is_known() {
    let estate = simple(&["b1", "b2"], 3);
    estate.apply().exits(0);
    let of = |backends: &str| backends.to_owned() + &manifest::dataset("d", "home", "origin", &[]);
    let with = |backends: &str, count| of(backends) + &manifest::copies(count);
    estate.manifests(&with(&manifest::home(&["b2"]), 2));
    estate
        .run(&["apply", "-f", "manifests", "--prune", "--yes"])
        .exits(0);
    // The same name, and another folder, in which something of somebody's lies.
    let elsewhere = manifest::backend("b1", "home", "DE", "{type: Fs, root: ../stores/elsewhere}", &[]);
    estate.write("stores/elsewhere/notes.txt", "somebody's");
    estate.manifests(&with(&(manifest::home(&["b2"]) + &elsewhere), 3));
    estate.apply().exits(0).says("1 copy verified");
    let copy = domicile_tests::files(&estate.path("stores/elsewhere/d"));
    assert!(copy == domicile_tests::files(&estate.path("stores/origin/d")));
}
