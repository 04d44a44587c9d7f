//! The first folder of manifests.

use domicile_tests::{Estate, bytes, files};

fn with_data() -> Estate {
    let estate = Estate::new();
    estate.write("data/photos/a.jpg", bytes(1, 10_000));
    estate.write("data/photos/b/c.jpg", bytes(2, 20_000));
    estate
}

#[test]
fn two_folders_make_an_estate_that_can_be_planned_and_applied_at_once() {
    let estate = with_data();
    // Nobody says which is which: what holds something is data.
    estate
        .run(&[
            "init",
            "--backend",
            "data/photos",
            "--backend",
            "disk2",
            "--country",
            "DE",
        ])
        .exits(0)
        .says("photos (Fs, for data)")
        .says("disk2 (Fs, for copies)");
    estate.run(&["policy", "lint", "-f", "estate"]).exits(0);
    estate
        .run(&["plan", "-f", "estate", "--detailed-exitcode"])
        .exits(2);
    estate.run(&["apply", "-f", "estate", "--yes"]).exits(0);
    assert!(
        files(&estate.path("disk2/photos")) == files(&estate.path("data/photos")),
        "byte for byte"
    );
    estate
        .run(&["plan", "-f", "estate", "--detailed-exitcode"])
        .exits(0);
}

#[test]
fn manifests_are_never_overwritten_and_a_refusal_writes_nothing() {
    let estate = with_data();
    let init = [
        "init",
        "--data",
        "data/photos",
        "--backend",
        "disk2",
        "--country",
        "DE",
    ];
    estate
        .run(&[
            "init",
            "--data",
            "data/photos",
            "--backend",
            "gopher://x",
            "--country",
            "DE",
        ])
        .exits(64);
    estate
        .run(&[
            "init",
            "--data",
            "nothing/here",
            "--backend",
            "disk2",
            "--country",
            "DE",
        ])
        .exits(1)
        .says("nothing lies there");
    estate
        .run(&[
            "init",
            "--data",
            "data/photos",
            "--backend",
            "disk2",
            "--country",
            "Germany",
        ])
        .exits(1);
    estate
        .run(&[
            "init",
            "--data",
            "data",
            "--backend",
            "data/photos",
            "--country",
            "DE",
        ])
        .exits(1)
        .says("contains the backend");
    estate
        .run(&["init", "--data", "data/photos", "--backend", "disk2"])
        .exits(64)
        .says("--country");
    estate.run(&["init"]).exits(64).says("--data");
    assert!(!estate.path("estate").exists(), "nothing was written");
    estate.run(&init).exits(0);
    let before = files(&estate.path("estate"));
    estate.run(&init).exits(1).says("another folder");
    assert!(files(&estate.path("estate")) == before, "nothing was changed");
}

#[test]
fn an_rclone_conf_brings_its_keys_into_files_and_never_into_manifests() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut estate = with_data();
    estate.set("LANG", "de_AT.UTF-8");
    let conf = "[far]\ntype = s3\nprovider = Other\naccess_key_id = AKIA-of-mine\nsecret_access_key = not-for-manifests\n\
                endpoint = 127.0.0.1:9\n\n[dav]\ntype = webdav\nurl = https://127.0.0.1:9/\nuser = me\npass = obscured-pass\n";
    estate.write("rclone.conf", conf);
    let outcome = estate
        .run(&[
            "init",
            "--from",
            "rclone.conf",
            "--data",
            "data/photos",
            "--backend",
            "cold=far:bucket/deep/down",
            "--backend",
            "dav:backup",
            "mine",
        ])
        .exits(0)
        .says("not reached");
    outcome
        .never_says("not-for-manifests")
        .never_says("obscured-pass");
    for (path, content) in files(&estate.path("mine")) {
        let text = String::from_utf8(content).expect("manifests are text");
        assert!(!text.contains("obscured-pass"), "{path}");
        assert_eq!(text.contains("not-for-manifests"), path == "cold.keys", "{path}");
    }
    let mode = std::fs::metadata(estate.path("mine/cold.keys"))
        .expect("the keys")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let domain = std::fs::read_to_string(estate.path("mine/domain.yaml")).expect("the domain");
    assert!(domain.contains("jurisdiction: \"AT\""), "{domain}");
    // A place that cannot be reached now hinders no plan.
    let plan = estate.run(&["plan", "-f", "mine", "-o", "json"]);
    assert!([0, 3].contains(&plan.code), "{}", plan.all());
    estate
        .run(&["init", "--from", "rclone.conf", "--backend", "far:", "other"])
        .exits(64)
        .says("which bucket");
}
