//! What a retirement relies on: the copies that stay are looked at before one goes, and none of them is the very place that
//! goes.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use domicile_tests::{Estate, manifest};

use crate::seed;

const RELEASED: &[&str] = &["keepOrigin: false"];

/// An estate whose origin may be written, with these backends; copies in all, and what is said of the dataset.
fn wants(estate: &Estate, backends: &[&str], copies: usize, dataset: &[&str]) {
    let home = manifest::home(backends).replace("accessMode: ReadOnly", "accessMode: ReadWrite");
    estate
        .manifests(&(home + &manifest::dataset("d", "home", "origin", dataset) + &manifest::copies(copies)));
}

fn origin_is_whole(estate: &Estate) -> bool {
    domicile_tests::files(&estate.path("stores/origin/d")).len() == crate::OBJECTS.len()
}

fn assert_whole(estate: &Estate) {
    let copy = domicile_tests::files(&estate.path("stores/b1/d"));
    for (at, (name, length)) in crate::OBJECTS.iter().enumerate() {
        assert!(
            copy.get(*name) == Some(&domicile_tests::bytes(at as u64 + 1, *length)),
            "{name} on b1"
        );
    }
}

/// A dataset with a verified copy on `b1`, to which something then happens, before the origin is released.
fn released_after(happens: impl Fn(&Estate)) -> Estate {
    let estate = Estate::new();
    seed(&estate, "d");
    wants(&estate, &["b1"], 2, &[]);
    estate.apply().exits(0);
    // So that its root is not taken for one that is not mounted.
    estate.write("stores/b1/something-else", "here");
    happens(&estate);
    wants(&estate, &["b1"], 1, RELEASED);
    estate
}

#[test]
fn a_copy_that_somebody_has_removed_is_not_relied_on() {
    type Happens = (&'static str, fn(&Estate));
    let ways: [Happens; 3] = [
        ("one object", |e| {
            fs::remove_file(e.path("stores/b1/d/a.bin")).expect("it was there");
        }),
        ("everything", |e| {
            fs::remove_dir_all(e.path("stores/b1/d")).expect("it was there");
        }),
        ("some bytes", |e| e.write("stores/b1/d/a.bin", "short")),
    ];
    for (what, happens) in ways {
        let estate = released_after(happens);
        estate
            .apply()
            .exits(5)
            .says("stays")
            .says("is recorded as verified and is not whole");
        assert!(origin_is_whole(&estate), "{what} was removed from the only copy");
        // The next run mends it, and only then lets the origin go.
        estate.apply().exits(0).says("1 retired");
        assert_whole(&estate);
    }
}

/// Bytes of the same size in the place of an object, with a time of long ago.
fn damage(estate: &Estate) {
    damage_on(estate, "b1");
}

fn damage_on(estate: &Estate, backend: &str) {
    let path = format!("stores/{backend}/d/a.bin");
    let size = fs::metadata(estate.path(&path)).expect("it is there").len();
    estate.write(&path, vec![b'x'; usize::try_from(size).expect("a small file")]);
    let file = fs::File::options().write(true).open(estate.path(&path));
    let file = file.expect("it is there");
    file.set_modified(std::time::UNIX_EPOCH)
        .expect("its time can be set");
}

/// What the catalogue answers to a statement; `None` where there is nobody to ask it.
fn catalogue(estate: &Estate, statement: &str) -> Option<String> {
    let code = format!(
        "import sqlite3; c = sqlite3.connect('.domicile/catalogue.db'); \
         print(c.execute(\"{statement}\").fetchall()); c.commit()"
    );
    let python = Command::new("python3")
        .args(["-c", &code])
        .current_dir(estate.path(""))
        .output()
        .ok()?;
    let said = String::from_utf8(python.stdout).ok()?;
    python.status.success().then(|| said.trim().to_owned())
}

#[test]
fn an_object_that_was_changed_since_it_was_read_itself_is_read() {
    let hours_ago = |hours: u64| std::time::SystemTime::now() - std::time::Duration::from_secs(hours * 3600);
    let estate = Estate::new();
    seed(&estate, "d");
    wants(&estate, &["b1", "b2"], 3, &[]);
    estate.apply().exits(0);
    damage(&estate);
    let file = fs::File::options()
        .write(true)
        .open(estate.path("stores/b1/d/a.bin"));
    file.and_then(|file| file.set_modified(hours_ago(5)))
        .expect("its time can be set");
    // It was read before that, unlike the other objects; the other copy was not read for a year.
    let on = |backend: &str| format!("backend_id = (SELECT id FROM backends WHERE name = '{backend}')");
    let earlier = format!(
        "UPDATE placed SET at_ms = at_ms - 36000000 WHERE {} AND object_id = (SELECT id FROM objects WHERE key = 'a.bin')",
        on("b1")
    );
    let a_year_ago = format!("UPDATE placed SET at_ms = at_ms - 31536000000 WHERE {}", on("b2"));
    for statement in [earlier, a_year_ago] {
        let Some(_) = catalogue(&estate, &statement) else {
            domicile_tests::skip("an object that was changed", "python3 is missing");
            return;
        };
    }
    wants(&estate, &["b1", "b2"], 2, RELEASED);
    estate.apply().exits(5).says("1 damaged");
    assert!(origin_is_whole(&estate), "one of the two other copies is damaged");
}

#[test]
fn of_a_root_that_is_not_mounted_nothing_is_recorded() {
    let estate = Estate::new();
    seed(&estate, "d");
    wants(&estate, &["b1", "b2"], 3, &[]);
    estate.apply().exits(0);
    fs::rename(estate.path("stores/b2"), estate.path("unplugged")).expect("it is there");
    fs::create_dir(estate.path("stores/b2")).expect("a mount point");
    wants(&estate, &["b1", "b2"], 1, RELEASED);
    estate.apply().says("1 retired");
    let Some(gone) = catalogue(&estate, "SELECT sum(gone_objects) FROM copies") else {
        domicile_tests::skip("a root that is not mounted", "python3 is missing");
        return;
    };
    assert_eq!(gone, "[(0,)]", "it is out of reach, not empty");
}

#[test]
fn a_copy_that_was_changed_since_it_was_read_is_read_before_another_goes() {
    let estate = released_after(|estate| {
        damage(estate);
        let file = fs::File::options()
            .write(true)
            .open(estate.path("stores/b1/d/a.bin"));
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        file.and_then(|file| file.set_modified(later))
            .expect("its time can be set");
    });
    estate.apply().exits(5).says("1 damaged");
    assert!(origin_is_whole(&estate), "the only copy is damaged");
    estate.apply().exits(0).says("1 retired");
    assert_whole(&estate);
}

#[test]
fn the_only_copy_that_stays_is_read_whatever_was_read_before_this_run() {
    // Its bytes have turned within seconds of their last reading, with size and time as they were.
    let estate = released_after(damage);
    estate.apply().exits(5).says("1 damaged");
    assert!(origin_is_whole(&estate), "the only copy is damaged");
    estate.apply().exits(0).says("1 retired");
    assert_whole(&estate);
    // What is made in the run itself is read back in it, and that is enough.
    let estate = Estate::new();
    seed(&estate, "d");
    wants(&estate, &["b1"], 1, RELEASED);
    estate.apply().exits(0).says("1 retired");
    assert_whole(&estate);
}

#[test]
fn a_copy_that_was_not_read_for_long_is_read_before_another_goes() {
    let estate = released_after(damage);
    // Read a year ago, as far as is recorded.
    let Some(_) = catalogue(&estate, "UPDATE placed SET at_ms = at_ms - 31536000000") else {
        domicile_tests::skip("a copy that was not read for long", "python3 is missing");
        return;
    };
    estate.apply().exits(5).says("1 damaged");
    assert!(origin_is_whole(&estate), "the only copy is damaged");
    estate.apply().exits(0).says("1 retired");
    assert_whole(&estate);
}

#[test]
fn of_two_copies_that_stay_one_is_read_if_none_was_for_a_day() {
    let estate = Estate::new();
    seed(&estate, "d");
    wants(&estate, &["b1", "b2"], 3, &[]);
    estate.apply().exits(0);
    for backend in ["b1", "b2"] {
        damage_on(&estate, backend);
        // Nothing says that any of them was changed since it was read.
        for (name, _) in crate::OBJECTS {
            let file = fs::File::options()
                .write(true)
                .open(estate.path(&format!("stores/{backend}/d/{name}")));
            file.and_then(|file| file.set_modified(std::time::UNIX_EPOCH))
                .expect("its time can be set");
        }
    }
    let Some(_) = catalogue(&estate, "UPDATE placed SET at_ms = at_ms - 31536000000") else {
        domicile_tests::skip("two copies that were not read for long", "python3 is missing");
        return;
    };
    wants(&estate, &["b1", "b2"], 2, RELEASED);
    estate.apply().exits(5).says("1 damaged");
    assert!(origin_is_whole(&estate), "both copies are damaged");
    estate.apply().exits(0).says("1 retired");
    assert_whole(&estate);
}

#[test]
fn who_could_not_look_restarts_no_waiting() {
    let estate = Estate::new();
    seed(&estate, "d");
    wants(&estate, &["b1"], 2, &[]);
    estate.apply().exits(0);
    let released = |grace_seconds: u64| {
        let home = manifest::home(&["b1"]).replace("accessMode: ReadOnly", "accessMode: ReadWrite");
        let dataset = manifest::dataset("d", "home", "origin", RELEASED);
        let grace = format!("dropGraceSeconds: {grace_seconds}");
        let policy = ["require: [{name: one, copies: 1}]", grace.as_str()];
        estate.manifests(&(home + &dataset + &manifest::policy("copies", &policy)));
    };
    let waits = "waits for";
    released(3600);
    estate.apply().exits(0).says(waits);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    // It has waited for long enough, and nobody can look at the other copy.
    released(2);
    fs::rename(estate.path("stores/b1"), estate.path("unplugged")).expect("it is there");
    fs::create_dir(estate.path("stores/b1")).expect("a mount point");
    estate
        .apply()
        .exits(5)
        .says("stays until the others were looked at");
    assert!(origin_is_whole(&estate));
    fs::remove_dir(estate.path("stores/b1")).expect("a mount point");
    fs::rename(estate.path("unplugged"), estate.path("stores/b1")).expect("it was there");
    // Had the waiting begun anew, it would not be over.
    estate.apply().exits(0).says("1 retired");
    assert_whole(&estate);
}

#[test]
fn a_copy_that_is_out_of_reach_is_not_relied_on() {
    let estate = released_after(|estate| {
        fs::rename(estate.path("stores/b1"), estate.path("unplugged")).expect("it is there");
    });
    let _ = estate.apply();
    assert!(
        origin_is_whole(&estate),
        "nobody knows whether the other copy is there still"
    );
}

#[test]
fn what_lies_in_the_folder_of_a_copy_is_no_other_place() {
    // The root of the origin's backend is a link to where the copy on `b2` would lie.
    let estate = Estate::new();
    fs::create_dir_all(estate.path("stores/b2/d")).expect("a folder");
    estate.write("stores/b2/d/d/a.bin", "bytes");
    let home = manifest::home(&["b2"]).replace("stores/origin", "stores/linked");
    symlink(estate.path("stores/b2/d"), estate.path("stores/linked")).expect("a link");
    let home = home.replace("accessMode: ReadOnly", "accessMode: ReadWrite");
    estate.manifests(&(home + &manifest::dataset("d", "home", "origin", RELEASED) + &manifest::copies(1)));
    estate
        .apply()
        .exits(1)
        .says("lies where the copy of `d` on `b2` would lie");
    assert!(estate.path("stores/b2/d/d/a.bin").exists());
}

/// A folder that is mounted a second time; `None` where that is not allowed.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(what: &std::path::Path, at: &std::path::Path) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder");
        let mount = Command::new("mount").arg("--bind").args([what, at]).output();
        mount
            .is_ok_and(|done| done.status.success())
            .then(|| Self(at.to_path_buf()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

#[test]
fn a_folder_that_is_mounted_twice_is_one_place() {
    let estate = Estate::new();
    seed(&estate, "d");
    for below in ["stores/b1", "stores/b2/d", "stores/b3"] {
        fs::create_dir_all(estate.path(below)).expect("a folder");
    }
    let Some(root) = Mounted::new(&estate.path("stores/b1"), &estate.path("stores/b3")) else {
        domicile_tests::skip("a folder that is mounted twice", "mounting is not allowed");
        return;
    };
    wants(&estate, &["b1", "b2", "b3"], 3, &[]);
    estate.apply().exits(1).says("are one folder under two names");
    drop(root);
    // Below the roots nobody looks, until something is to be deleted: the copy on `b2` is the origin itself.
    let Some(_copy) = Mounted::new(&estate.path("stores/origin/d"), &estate.path("stores/b2/d")) else {
        return;
    };
    wants(&estate, &["b2"], 1, RELEASED);
    estate.apply().exits(5).says("one place under two names");
    assert!(origin_is_whole(&estate), "the copy would have gone with it");
}
