//! Stores that fail: told by backend and object, exit code 5, and everything else done.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use domicile_tests::{Estate, bytes, manifest, skip, temporary_files};

use crate::{assert_copy, seed, simple};

/// A small file system in memory, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, bytes: usize) -> Option<Self> {
        std::fs::create_dir_all(&path).expect("a folder to mount on");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(&path)
            .output()
            .is_ok_and(|output| output.status.success());
        done.then_some(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A disk that stays mounted keeps the temporary folder from being deleted; nothing more can be done here.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_fails_by_name_and_holds_up_nothing_else() {
    let estate = simple(&["full", "roomy"], 3);
    for at in 0..6 {
        estate.write(&format!("stores/origin/d/big-{at}.bin"), bytes(at, 256 * 1024));
    }
    let Some(_disk) = SmallDisk::mount(estate.path("stores/full"), 1 << 20) else {
        return skip(
            "a_full_disk_fails_by_name_and_holds_up_nothing_else",
            "a tmpfs cannot be mounted here (needs root)",
        );
    };
    estate.apply().exits(5).says("full").says(".bin");
    assert_copy(&estate, "d", "roomy");
    assert_eq!(temporary_files(&estate.path("stores")), Vec::<String>::new());
    for (path, copy) in domicile_tests::files(&estate.path("stores/full/d")) {
        let source = std::fs::read(estate.path(&format!("stores/origin/d/{path}"))).expect("a source");
        assert_eq!(copy, source, "what is visible on the full disk is whole: {path}");
    }
}

/// Runs a command line of the binary as the user `nobody`, in an estate that belongs to it.
fn as_nobody(estate: &Estate, arguments: &[&str]) -> domicile_tests::Outcome {
    let binary = estate.path("domicile-for-nobody");
    std::fs::copy(domicile_tests::binary(), &binary).expect("a copy of the binary");
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).expect("permissions");
    let owned = Command::new("chown")
        .args(["-R", "65534:65534"])
        .arg(estate.path(""))
        .status();
    assert!(
        owned.is_ok_and(|status| status.success()),
        "the estate can be given to nobody"
    );
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&binary)
        .args(arguments)
        .current_dir(estate.path(""))
        .output()
        .expect("setpriv starts");
    domicile_tests::Outcome {
        command: format!("(as nobody) domicile {}", arguments.join(" ")),
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

fn close(path: &Path) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o000)).expect("permissions");
}

#[test]
fn an_unreadable_object_fails_by_name_and_the_rest_is_copied() {
    let estate = simple(&["b1"], 2);
    close(&estate.path("stores/origin/d/a.bin"));
    let apply = ["apply", "-f", "manifests", "--yes"];
    let outcome = if is_root() {
        if Command::new("setpriv").arg("--version").output().is_err() {
            return skip(
                "an_unreadable_object_fails_by_name_and_the_rest_is_copied",
                "root reads all, and setpriv is missing",
            );
        }
        as_nobody(&estate, &apply)
    } else {
        estate.run(&apply)
    };
    outcome.exits(5).says("origin").says("a.bin");
    assert!(
        estate.path("stores/b1/d/deep/er/c.bin").exists(),
        "the rest is copied"
    );
    assert!(!estate.path("stores/b1/d/a.bin").exists());
}

#[test]
fn a_root_that_is_a_file_fails_by_name_and_others_go_on() {
    let estate = simple(&["broken", "fine"], 3);
    estate.write("stores/broken", "a file where a folder should be");
    let outcome = estate.apply();
    assert!([3, 5].contains(&outcome.code), "{}", outcome.all());
    outcome.says("broken");
    assert_copy(&estate, "d", "fine");
}

#[test]
fn a_root_that_held_data_and_is_gone_is_unreachable_and_never_empty() {
    let estate = simple(&["b1", "b2"], 2);
    estate.apply().exits(0);
    std::fs::rename(estate.path("stores/b1"), estate.path("stores/unplugged")).expect("a folder to move");
    estate.run(&["dataset", "scrub", "d"]).says("b1");
    estate.apply().says("b1");
    assert!(
        !estate.path("stores/b1/d").exists(),
        "nothing is written into the empty mount point"
    );
    let planned = estate.plan();
    let plan = planned.json();
    let _ = planned.says("`b1` is out of reach; copies there that count as they are recorded: 1");
    assert_eq!(plan["outOfReach"][0]["backend"], "b1", "{plan}");
    let status = estate
        .run(&["status"])
        .says("`b1` is out of reach")
        .says("backend drain b1");
    assert_eq!(status.code, 0, "{}", status.all());
    estate.run(&["whereis", "d"]).says("verified; out of reach");
    estate.run(&["whereis", "d/a.bin"]).says("verified; out of reach");
    estate.run(&["get", "datasets"]).says("b1 (out of reach)");
    let retired = plan["moves"]
        .as_array()
        .expect("moves")
        .iter()
        .any(|step| step["action"] == "Retire");
    assert!(
        !retired,
        "what an unreachable backend holds stays as recorded: {plan}"
    );
    std::fs::rename(estate.path("stores/unplugged"), estate.path("stores/b1")).expect("a folder to move");
    estate.run(&["backend", "probe", "b1"]).exits(0);
    assert_copy(&estate, "d", "b1");
    estate.run(&["status"]).exits(0).never_says("out of reach");
}

#[test]
fn a_copy_on_a_backend_that_no_manifest_has_any_more_counts_for_nothing() {
    let estate = simple(&["b1", "b2"], 3);
    estate.apply().exits(0);
    let dataset = manifest::dataset("d", "home", "origin", &[]);
    estate.manifests(&(manifest::home(&["b1"]) + &dataset + &manifest::copies(2)));
    estate
        .run(&["apply", "-f", "manifests", "--yes", "--prune"])
        .exits(0);
    estate
        .run(&["whereis", "d"])
        .exits(0)
        .says("unknown; backend is in no manifest");
    estate
        .run(&["whereis", "d/a.bin"])
        .says("unknown; backend is in no manifest");
    let told = estate.run(&["whereis", "d", "-o", "json"]).json();
    let gone = &told["copies"][1];
    assert_eq!(
        (&gone["backend"], &gone["reach"]),
        (&"b2".into(), &"NotInManifests".into())
    );
    assert_eq!(gone["current"], false, "{told}");
    let status = estate.run(&["status", "-o", "json"]).exits(0).json();
    assert_eq!(status["datasets"][0]["currentCopies"], 2, "{status}");
    estate.run(&["get", "datasets"]).says("b2 (in no manifest)");
    // Nothing was deleted, and it counts again when its manifest comes back and it has been read: another place may have
    // that name now.
    assert_copy(&estate, "d", "b2");
    estate.manifests(&(manifest::home(&["b1", "b2"]) + &dataset + &manifest::copies(3)));
    estate.apply().exits(0);
    let status = estate.run(&["status", "-o", "json"]).exits(0).json();
    assert_eq!(status["datasets"][0]["currentCopies"], 3, "{status}");
}

#[test]
fn one_failing_dataset_holds_up_no_other() {
    let estate = simple(&["b1"], 2);
    seed(&estate, "e");
    let text = manifest::home(&["b1"])
        + &manifest::dataset("d", "home", "origin", &[])
        + &manifest::dataset("e", "home", "origin", &[])
        + &manifest::copies(2);
    estate.manifests(&text);
    estate.write("stores/b1/d", "a file where the folder of d should be");
    estate.apply().exits(5).says("b1");
    assert_copy(&estate, "e", "b1");
}
