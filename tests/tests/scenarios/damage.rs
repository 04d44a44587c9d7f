//! A flipped bit is found, repaired where a good copy is, and spreads nowhere.

use std::path::Path;

use domicile_tests::{Estate, manifest};

use crate::inventory::import;
use crate::{assert_copy, simple};

/// Turns one bit of a file and gives it back its old time, as a failing disk would.
fn flip(path: &Path) {
    let time = std::fs::metadata(path)
        .and_then(|meta| meta.modified())
        .expect("a time");
    let mut bytes = std::fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(path, bytes).expect("a writable file");
    let file = std::fs::File::options()
        .write(true)
        .open(path)
        .expect("a writable file");
    file.set_modified(time).expect("a time can be set");
}

fn wants(estate: &Estate, copies: usize) {
    estate.manifests(
        &(manifest::home(&["b1", "b2"])
            + &manifest::dataset("d", "home", "origin", &[])
            + &manifest::copies(copies)),
    );
}

#[test]
fn a_flipped_bit_in_a_copy_is_found_by_scrub_and_repaired_by_apply() {
    let estate = simple(&["b1", "b2"], 3);
    estate.apply().exits(0);
    flip(&estate.path("stores/b1/d/deep/er/c.bin"));
    estate.apply().exits(0);
    estate
        .run(&["dataset", "scrub", "d"])
        .exits(3)
        .says("b1")
        .says("deep/er/c.bin");
    let plan = estate.plan().exits(0).json();
    let moves = plan["moves"].as_array().expect("moves");
    assert_eq!(moves.len(), 1, "one repair: {plan}");
    assert_eq!(
        (&moves[0]["action"], &moves[0]["to"]),
        (&"Copy".into(), &"b1".into())
    );
    assert_eq!(
        (&moves[0]["bytes"], &moves[0]["objects"]),
        (&70_000.into(), &1.into()),
        "only what is damaged"
    );
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
    estate.run(&["dataset", "scrub", "d"]).exits(0);
}

#[test]
fn an_object_that_vanished_from_a_copy_is_found_and_made_again() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    std::fs::remove_file(estate.path("stores/b1/d/a.bin")).expect("a file to delete");
    estate.run(&["dataset", "scrub", "d"]).exits(3).says("a.bin");
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
}

#[test]
fn a_flipped_bit_in_the_only_source_is_reported_and_spreads_nowhere() {
    let estate = simple(&["b1", "b2"], 1);
    estate.apply().exits(0);
    estate.run(&["dataset", "scrub", "d"]).exits(0);
    flip(&estate.path("stores/origin/d/a.bin"));
    let damaged = std::fs::read(estate.path("stores/origin/d/a.bin")).expect("the origin");
    wants(&estate, 2);
    estate.apply().exits(5).says("origin").says("a.bin");
    assert!(
        !estate.path("stores/b1/d/a.bin").exists(),
        "the damaged bytes must not spread"
    );
    assert!(
        estate.path("stores/b1/d/deep/er/c.bin").exists(),
        "everything else is done"
    );
    assert_eq!(
        domicile_tests::temporary_files(&estate.path("stores")),
        Vec::<String>::new()
    );
    let kept = std::fs::read(estate.path("stores/origin/d/a.bin")).expect("the origin");
    assert_eq!(kept, damaged, "an origin is never changed");
}

#[test]
fn a_damaged_origin_is_not_a_source_when_a_good_copy_is_there() {
    let estate = simple(&["b1", "b2"], 2);
    estate.apply().exits(0);
    let good = std::fs::read(estate.path("stores/origin/d/a.bin")).expect("the origin");
    flip(&estate.path("stores/origin/d/a.bin"));
    estate
        .run(&["dataset", "scrub", "d"])
        .exits(3)
        .says("origin")
        .says("a.bin");
    wants(&estate, 2);
    let outcome = estate.apply();
    assert!(
        [0, 3].contains(&outcome.code),
        "the damaged origin is a violation at most: {}",
        outcome.all()
    );
    for backend in ["b1", "b2"] {
        let copy = std::fs::read(estate.path(&format!("stores/{backend}/d/a.bin"))).expect("a good copy");
        assert_eq!(copy, good, "{backend} holds what was registered");
    }
}

/// Its owner changed one object and another one rotted: no copy is whole, and the way out is told and works.
#[test]
fn a_damaged_origin_is_mended_as_the_plan_says() {
    let estate = simple(&["b1"], 2);
    let home = manifest::home(&["b1"]).replace("accessMode: ReadOnly", "accessMode: ReadWrite");
    let all = home + &manifest::dataset("d", "home", "origin", &[]) + &manifest::copies(2);
    estate.manifests(&all);
    estate.apply().exits(0);
    let good = std::fs::read(estate.path("stores/origin/d/a.bin")).expect("the origin");
    flip(&estate.path("stores/origin/d/a.bin"));
    estate.run(&["dataset", "scrub", "d"]).exits(3);
    estate.write("stores/origin/d/deep/er/c.bin", b"a new version");
    estate.run(&["dataset", "import", "--scan", "origin"]).exits(0);
    let said = "`domicile dataset restore d --backend origin --overwrite`";
    estate.apply().exits(3).says(said);
    estate.run(&["status"]).says(said);
    let restore = ["dataset", "restore", "d", "--backend", "origin", "--overwrite"];
    estate.run(&restore).exits(0);
    estate.apply().exits(0);
    let origin = domicile_tests::files(&estate.path("stores/origin/d"));
    assert_eq!(origin["a.bin"], good);
    assert_eq!(origin["deep/er/c.bin"], b"a new version");
    assert_copy(&estate, "d", "b1");
}

#[test]
fn what_lies_there_already_is_adopted_when_equal_and_refused_when_not() {
    let estate = simple(&["b1"], 2);
    let source = domicile_tests::files(&estate.path("stores/origin/d"));
    estate.write("stores/b1/d/a.bin", &source["a.bin"]);
    estate.write("stores/b1/d/deep/er/c.bin", b"somebody else's");
    estate.apply().exits(5).says("b1").says("deep/er/c.bin");
    let foreign = std::fs::read(estate.path("stores/b1/d/deep/er/c.bin")).expect("a file");
    assert_eq!(foreign, b"somebody else's", "what is not ours is not overwritten");
    std::fs::remove_file(estate.path("stores/b1/d/deep/er/c.bin")).expect("a file to delete");
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
}

#[test]
fn samples_move_on_until_all_is_read_and_then_begin_anew() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    let damaged = ["a.bin", "deep/er/c.bin"];
    damaged
        .iter()
        .for_each(|key| flip(&estate.path(&format!("stores/b1/d/{key}"))));
    let mut found = Vec::new();
    let mut read = 0;
    for _ in 0..5 {
        let outcome = estate.run(&["dataset", "scrub", "--sample", "20%", "-o", "json"]);
        let list = outcome.json();
        for row in list["items"].as_array().expect("rows") {
            read += row["whole"].as_u64().expect("a number");
            let damaged = row["damaged"].as_array().expect("a list");
            read += damaged.len() as u64;
            found.extend(
                damaged
                    .iter()
                    .map(|object| object["key"].as_str().expect("a key").to_owned()),
            );
        }
    }
    found.sort();
    // One object has most of the bytes, so that the rounds are shorter than five samples.
    found.dedup();
    assert_eq!(found, damaged, "five fifths are all of it");
    assert!(
        read >= 2 * crate::OBJECTS.len() as u64,
        "every object of both copies: {read}"
    );
    for wrong in ["0%", "101%", "1", "much%"] {
        let _ = estate.run(&["dataset", "scrub", "--sample", wrong]).exits(64);
    }
}

#[test]
fn an_idle_mover_reads_copies_back_quarantines_what_is_damaged_and_apply_repairs_it() {
    let estate = simple(&["b1"], 2);
    estate.apply().exits(0);
    flip(&estate.path("stores/b1/d/a.bin"));
    let mover = || estate.run(&["mover", "--once", "--scrub-days", "30"]);
    mover().exits(3).says("damaged").says("b1").says("a.bin");
    estate.run(&["whereis", "d"]).exits(0).says("quarantined");
    // All of it was read within the last thirty days.
    mover().exits(0).says("0 objects read back");
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
    let shown = estate.run(&["whereis", "d"]).exits(0).all();
    assert!(!shown.contains("quarantined"), "{shown}");
}

#[test]
fn what_lies_where_an_object_should_be_and_is_no_file_is_no_copy_of_it() {
    let estate = simple(&["b1", "b2"], 3);
    estate.apply().exits(0);
    let object = estate.path("stores/b1/d/a.bin");
    std::fs::remove_file(&object).expect("a file to delete");
    std::fs::create_dir_all(object.join("sub")).expect("a folder");
    let deep = estate.path("stores/b2/d/deep");
    std::fs::remove_dir_all(&deep).expect("a folder to delete");
    std::os::unix::fs::symlink(estate.path("stores/origin/d/deep"), &deep).expect("a link");
    let scrubbed = estate.run(&["dataset", "scrub", "-o", "json"]).exits(3).json();
    let copies = scrubbed["items"].as_array().expect("copies");
    for copy in copies.iter().filter(|copy| copy["backend"] != "origin") {
        assert_ne!(copy["gone"].as_array().map_or(0, Vec::len), 0, "{copy}");
        assert_eq!(copy["unread"], serde_json::json!([]), "{copy}");
    }
    // They cannot be mended before somebody has taken away what lies there, and count for nothing until then.
    estate
        .apply()
        .exits(5)
        .says("a folder lies there")
        .says("a symbolic link");
    let whereis = estate.run(&["whereis", "d", "-o", "json"]).exits(0).json();
    let copies = whereis["copies"].as_array().expect("copies");
    for copy in copies.iter().filter(|copy| copy["backend"] != "origin") {
        assert_eq!(copy["state"], "Damaged", "{copy}");
    }
    std::fs::remove_dir_all(&object).expect("a folder to delete");
    std::fs::remove_file(&deep).expect("a link to delete");
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
    assert_copy(&estate, "d", "b2");
}

/// Each object would be asked for again and again, with pauses: twenty seconds for each eight of them.
#[test]
fn a_scrub_does_not_wait_for_each_object_of_a_backend_that_gives_no_answer() {
    let estate = Estate::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("its number").port();
    drop(silent);
    let mut csv = "dataset,key,size,replicas\n".to_owned();
    for object in 0..400 {
        csv.push_str(&format!("many,k{object},5,far\nmore,k{object},5,far\n"));
    }
    estate.write("inventory.csv", csv);
    let store = format!("{{type: S3, bucket: far, region: eu, endpoint: \"http://127.0.0.1:{port}\"}}");
    estate.manifests(&(manifest::home(&["b1"]) + &manifest::backend("far", "home", "DE", &store, &[])));
    import(&estate, &["--trust-inventory"]).exits(0);
    let began = std::time::Instant::now();
    estate
        .run(&["dataset", "scrub"])
        .exits(5)
        .says("the backend gives no answer");
    let took = began.elapsed();
    assert!(took < std::time::Duration::from_secs(180), "it took {took:?}");
}
