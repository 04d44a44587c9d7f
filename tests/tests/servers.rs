//! Real S3 servers, two of them with keys of their own, compared by an outside tool.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use domicile_tests::{Estate, Server, bytes, files, manifest, rclone};

/// Two servers with a bucket each, or the word that they are left out.
fn servers(test: &str) -> Option<(Server, Server)> {
    let (a, b) = (Server::for_test(test, "alpha")?, Server::for_test(test, "beta")?);
    a.bucket("first");
    b.bucket("second");
    Some((a, b))
}

fn s3(name: &str, server: &Server, bucket: &str, price: &str, more: &[&str]) -> String {
    let store = format!(
        "{{type: S3, bucket: {bucket}, endpoint: \"{}\", region: us-east-1, root: data}}",
        server.endpoint
    );
    let (prefix, price) = (
        format!("credentials: {{env: {}}}", name.to_uppercase()),
        manifest::price(price),
    );
    let mut lines = vec![prefix.as_str(), price.as_str()];
    lines.extend(more);
    manifest::backend(name, "home", "DE", &store, &lines)
}

/// An estate with an origin and a last folder in the file system and two buckets between them.
fn estate(a: &Server, b: &Server) -> Estate {
    let mut estate = Estate::new();
    for (name, server) in [("ALPHA", a), ("BETA", b)] {
        estate.set(&format!("{name}_ACCESS_KEY_ID"), &server.key);
        estate.set(&format!("{name}_SECRET_ACCESS_KEY"), &server.secret);
    }
    estate.write("stores/origin/d/empty", "");
    estate.write("stores/origin/d/small.txt", "a small object");
    estate.write("stores/origin/d/plus+and%20percent/Größe", "an odd name");
    estate.write("stores/origin/d/large.bin", bytes(7, 20 << 20));
    for at in 0..40 {
        estate.write(&format!("stores/origin/d/many/{at}"), bytes(at, 4096));
    }
    estate
}

/// Manifests that want every copy of `d` on exactly one backend besides the kept origin.
fn only_on(a: &Server, b: &Server, target: &str) -> String {
    let wanted = manifest::policy(
        "only",
        &[&format!(
            "require: [{{name: there, copies: 1, where: [{{key: store, operator: In, values: [{target}]}}]}}]"
        )],
    );
    manifest::home(&["last"])
        + &s3("alpha", a, "first", "0.02", &[])
        + &s3("beta", b, "second", "0.02", &[])
        + &manifest::dataset("d", "home", "origin", &[])
        + &wanted
}

fn apply(estate: &Estate, text: &str) {
    estate.manifests(text);
    estate.apply().exits(0);
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(0);
}

#[test]
fn the_servers_are_two_and_check_their_keys() {
    let Some((a, b)) = servers("the_servers_are_two_and_check_their_keys") else {
        return;
    };
    assert_eq!(rclone(&["lsf", &a.remote("first")]), Some(true));
    assert_eq!(rclone(&["lsf", &b.remote("second")]), Some(true));
    let stranger = Server::remote_of(&a.endpoint, &b.key, &b.secret, "first");
    assert_eq!(
        rclone(&["lsf", &stranger]),
        Some(false),
        "the keys of one server open no other"
    );
}

#[test]
fn a_dataset_travels_from_a_folder_over_two_servers_into_a_folder() {
    let Some((a, b)) = servers("a_dataset_travels_from_a_folder_over_two_servers_into_a_folder") else {
        return;
    };
    let estate = estate(&a, &b);
    let origin = estate.path("stores/origin/d");
    let origin = origin.to_str().expect("a path in UTF-8");
    // After the first step the origin is taken away, so that each further step reads from the copy that the last one made.
    apply(&estate, &only_on(&a, &b, "alpha"));
    let same = |left: &str, right: &str| rclone(&["check", "--download", left, right]);
    assert_eq!(
        same(origin, &a.remote("first/data/d")),
        Some(true),
        "the first server holds every object"
    );
    let kept = estate.path("kept");
    std::fs::rename(estate.path("stores/origin"), &kept).expect("the origin can be taken away");
    let outcome = {
        estate.manifests(&only_on(&a, &b, "beta"));
        estate.apply()
    };
    assert!(
        [0, 3].contains(&outcome.code),
        "the other server reads from the first: {}",
        outcome.all()
    );
    let kept = kept.join("d");
    let kept = kept.to_str().expect("a path in UTF-8");
    assert_eq!(
        same(kept, &b.remote("second/data/d")),
        Some(true),
        "the second server holds every object"
    );
    estate.manifests(&only_on(&a, &b, "last"));
    let outcome = estate.apply();
    assert!(
        [0, 3].contains(&outcome.code),
        "the folder reads from the second server: {}",
        outcome.all()
    );
    let last = estate.path("stores/last/d");
    assert_eq!(
        same(kept, last.to_str().expect("a path in UTF-8")),
        Some(true),
        "the last folder holds every object"
    );
    assert!(files(&last) == files(&estate.path("kept/d")), "byte for byte");
}

#[test]
fn a_missing_bucket_and_a_wrong_key_are_told_by_name_and_hold_up_nothing() {
    let Some((a, b)) = servers("a_missing_bucket_and_a_wrong_key_are_told_by_name_and_hold_up_nothing")
    else {
        return;
    };
    let mut estate = estate(&a, &b);
    estate.set("BETA_SECRET_ACCESS_KEY", "a-wrong-secret-that-must-not-be-told");
    let text = manifest::home(&["last"])
        + &s3("alpha", &a, "no-such-bucket", "0.02", &[])
        + &s3("beta", &b, "second", "0.02", &[])
        + &manifest::dataset("d", "home", "origin", &[])
        + &manifest::copies(4);
    estate.manifests(&text);
    let outcome = estate
        .apply()
        .exits(5)
        .says("alpha")
        .says("no-such-bucket")
        .says("beta");
    outcome.never_says("a-wrong-secret").never_says(&a.secret);
    assert!(
        files(&estate.path("stores/last/d")) == files(&estate.path("stores/origin/d")),
        "the folder is done"
    );
    estate
        .run(&["backend", "probe", "beta", "-f", "manifests"])
        .says("beta")
        .never_says("a-wrong-secret");
}

#[test]
fn credentials_are_nowhere() {
    let Some((a, b)) = servers("credentials_are_nowhere") else {
        return;
    };
    let estate = estate(&a, &b);
    estate.manifests(&(only_on(&a, &b, "alpha") + &manifest::copies(3)));
    for arguments in [
        &["plan", "-f", "manifests", "--out", "plan.json", "-v"][..],
        &["apply", "-f", "manifests", "--yes", "-v"],
        &["get", "backend", "alpha", "-o", "yaml"],
        &["describe", "backend", "alpha"],
        &["status", "-v"],
        &["backend", "probe", "alpha", "-v"],
    ] {
        let outcome = estate.run(arguments);
        for secret in [&a.secret, &b.secret, &a.key, &b.key] {
            assert!(
                !outcome.stdout.contains(secret) && !outcome.stderr.contains(secret),
                "{}",
                outcome.command
            );
        }
    }
    for (path, content) in estate.written() {
        for secret in [&a.secret, &b.secret] {
            let found = content
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "a secret lies in {path}");
        }
    }
}

#[test]
fn a_copy_that_was_overwritten_in_a_bucket_is_found_and_repaired() {
    let Some((a, b)) = servers("a_copy_that_was_overwritten_in_a_bucket_is_found_and_repaired") else {
        return;
    };
    let estate = estate(&a, &b);
    apply(&estate, &only_on(&a, &b, "alpha"));
    estate.write("wrong", "A small object");
    let wrong = estate.path("wrong");
    let object = a.remote("first/data/d/small.txt");
    assert_eq!(
        rclone(&[
            "copyto",
            "--ignore-times",
            wrong.to_str().expect("a path"),
            &object
        ]),
        Some(true)
    );
    estate
        .run(&["dataset", "scrub", "d"])
        .exits(3)
        .says("alpha")
        .says("small.txt");
    estate.apply().exits(0);
    let origin = estate.path("stores/origin/d");
    let same = rclone(&[
        "check",
        "--download",
        origin.to_str().expect("a path"),
        &a.remote("first/data/d"),
    ]);
    assert_eq!(same, Some(true));
}

#[test]
fn the_catalogue_and_an_origin_are_deleted_and_everything_comes_back() {
    let Some((a, b)) = servers("the_catalogue_and_an_origin_are_deleted_and_everything_comes_back") else {
        return;
    };
    let estate = estate(&a, &b);
    estate.write("stores/origin/e/only.txt", "a second dataset");
    let text = manifest::home(&["last"])
        + &s3("alpha", &a, "first", "0.02", &[])
        + &s3("beta", &b, "second", "0.02", &[])
        + &manifest::dataset("d", "home", "origin", &[])
        + &manifest::dataset("e", "home", "origin", &[])
        + &manifest::copies(4);
    estate.manifests(&text);
    estate.apply().exits(0);
    let source = files(&estate.path("stores/origin"));
    for lost in [".domicile", "stores/origin", "stores/last/d"] {
        std::fs::remove_dir_all(estate.path(lost)).expect("a folder to lose");
    }
    // One copy is damaged besides: the lists of digests tell which.
    estate.write("wrong", "A small object");
    let wrong = estate.path("wrong");
    let wrong = wrong.to_str().expect("a path");
    let damaged = a.remote("first/data/e/only.txt");
    assert_eq!(rclone(&["copyto", "--ignore-times", wrong, &damaged]), Some(true));
    let told = estate
        .run(&["catalogue", "rebuild", "-f", "manifests", "-o", "json"])
        .exits(3)
        .says("2 of 3 copies have the bytes that the list of digests names")
        .json();
    assert_eq!(told["items"][0]["verified"], serde_json::json!(["alpha", "beta"]));
    assert_eq!(told["items"][1]["verified"], serde_json::json!(["beta", "last"]));
    for dataset in ["d", "e"] {
        let to = format!("rescued/{dataset}");
        estate.run(&["dataset", "restore", dataset, "--to", &to]).exits(0);
    }
    assert!(files(&estate.path("rescued")) == source, "byte for byte");
    // Into the bucket of one server from the other.
    estate.run(&["dataset", "set-origin", "d", "beta"]).exits(0);
    assert_eq!(rclone(&["purge", &a.remote("first/data/d")]), Some(true));
    estate
        .run(&["dataset", "restore", "d", "--backend", "alpha"])
        .exits(0);
    let rescued = estate.path("rescued/d");
    let same = rclone(&[
        "check",
        "--download",
        rescued.to_str().expect("a path"),
        &a.remote("first/data/d"),
    ]);
    assert_eq!(same, Some(true));
}

#[test]
fn from_a_folder_a_bucket_and_an_rclone_conf_to_a_first_plan() {
    let Some((a, b)) = servers("from_a_folder_a_bucket_and_an_rclone_conf_to_a_first_plan") else {
        return;
    };
    let mut estate = Estate::new();
    for at in 0..20 {
        estate.write(&format!("photos/2024/{at}.jpg"), bytes(at, 50_000));
    }
    let source = files(&estate.path("photos"));
    // What people have: a folder, a bucket of one server in an rclone.conf, and another by its URL.
    let conf = format!(
        "[alpha]\ntype = s3\nprovider = SeaweedFS\naccess_key_id = {}\nsecret_access_key = {}\nendpoint = {}\n\n[safe]\ntype = \
         alias\nremote = alpha:first/backups\n",
        a.key, a.secret, a.endpoint
    );
    estate.write("rclone.conf", conf);
    estate.set("AWS_ACCESS_KEY_ID", &b.key);
    estate.set("AWS_SECRET_ACCESS_KEY", &b.secret);
    let bucket = format!("s3://second?endpoint={}&region=us-east-1", b.endpoint);
    let outcome = estate
        .run(&[
            "init",
            "--from",
            "rclone.conf",
            "--data",
            "photos",
            "--backend",
            "safe:",
            "--backend",
            &bucket,
            "--country",
            "de",
            "--copies",
            "3",
        ])
        .exits(0)
        .says("domicile plan -f estate");
    outcome.never_says(&a.secret).never_says("not reached");
    for (path, content) in files(&estate.path("estate")) {
        let text = String::from_utf8(content).expect("manifests are text");
        assert!(
            path.ends_with(".keys") || !text.contains(&a.secret),
            "a secret lies in {path}"
        );
        assert!(!text.contains(&b.secret), "a secret lies in {path}");
    }
    let plan = estate
        .run(&["plan", "-f", "estate", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(
        plan["datasets"][0]["backends"],
        serde_json::json!(["first-backups", "photos", "second"])
    );
    estate.run(&["apply", "-f", "estate", "--yes"]).exits(0);
    assert!(files(&estate.path("photos")) == source, "the data is as it was");
    let photos = estate.path("photos");
    let photos = photos.to_str().expect("a path");
    for copy in [a.remote("first/backups/photos"), b.remote("second/photos")] {
        assert_eq!(rclone(&["check", "--download", photos, &copy]), Some(true));
    }
}

#[test]
fn one_bucket_under_two_addresses_is_one_place() {
    let Some(server) = Server::for_test("one_bucket_under_two_addresses_is_one_place", "alpha") else {
        return;
    };
    server.bucket("first");
    let estate = estate(&server, &server);
    let again = s3("beta", &server, "first", "0.02", &[]).replace("127.0.0.1", "localhost");
    assert!(
        again.contains("localhost"),
        "the server is at {}",
        server.endpoint
    );
    let both = manifest::home(&[])
        + &s3("alpha", &server, "first", "0.02", &[])
        + &again
        + &manifest::dataset("d", "home", "origin", &[])
        + &manifest::copies(3);
    estate.manifests(&both);
    estate
        .apply()
        .exits(1)
        .says("`alpha` and `beta` are one place under two addresses");
    // Nothing of the trial is left, and nothing was copied.
    let held = estate.path("held");
    assert_eq!(
        rclone(&[
            "copy",
            &server.remote("first"),
            held.to_str().expect("a path in UTF-8")
        ]),
        Some(true)
    );
    assert!(
        !held.exists() || files(&held).is_empty(),
        "{:?}",
        files(&held).keys()
    );
}

#[test]
fn a_copy_that_cannot_answer_hinders_no_retirement_for_which_the_others_are_enough() {
    let test = "a_copy_that_cannot_answer_hinders_no_retirement_for_which_the_others_are_enough";
    let Some((mut a, b)) = servers(test) else {
        return;
    };
    let estate = estate(&a, &b);
    let alpha = s3("alpha", &a, "first", "0.02", &[]);
    let wants = |copies: usize, dataset: &[&str]| {
        let home = manifest::home(&["last"]).replace("accessMode: ReadOnly", "accessMode: ReadWrite");
        let dataset = manifest::dataset("d", "home", "origin", dataset);
        estate.manifests(&(home + &alpha + &dataset + &manifest::copies(copies)));
    };
    wants(3, &[]);
    estate.apply().exits(0);
    let source = files(&estate.path("stores/origin/d"));
    wants(1, &["keepOrigin: false"]);
    a.halt();
    // The origin is let go because of the copy in the folder; that of the server is still to be retired.
    estate.apply().exits(5).says("1 retired");
    assert!(files(&estate.path("stores/origin")).is_empty());
    assert!(
        files(&estate.path("stores/last/d")) == source,
        "the copy that stays is whole"
    );
}

#[test]
fn what_only_looks_like_ours_is_never_swept() {
    const TRIAL: &str = "domicile was here, and should have removed this\n";
    let Some((a, b)) = servers("what_only_looks_like_ours_is_never_swept") else {
        return;
    };
    let estate = estate(&a, &b);
    let ours = [
        ".domicile-probe-0123456789abcdef",
        ".domicile-place-0123456789abcdef",
    ];
    let theirs = [
        ".domicile-probe-1",
        ".domicile-probes.tar",
        ".domicile-place-0123456789ABCDEF",
        ".domicile-place-0123456789abcdef.tar",
        "probe-0123456789abcdef",
    ];
    for name in ours.iter().chain(&theirs) {
        estate.write(&format!("put/{name}"), TRIAL);
    }
    // Its name is one of ours, and its bytes are none.
    estate.write("put/.domicile-probe-aaaaaaaaaaaaaaaa", "somebody's");
    let put = estate.path("put").display().to_string();
    assert_eq!(rclone(&["copy", &put, &a.remote("first/data")]), Some(true));
    a.age("first");
    estate.manifests(&(manifest::home(&["last"]) + &s3("alpha", &a, "first", "0.02", &[])));
    estate.apply().exits(0);
    estate.run(&["backend", "probe", "alpha"]).exits(0);
    let left = estate.path("left");
    let to = left.display().to_string();
    assert_eq!(rclone(&["copy", &a.remote("first/data"), &to]), Some(true));
    let mut expected = files(&estate.path("put"));
    for name in ours {
        expected.remove(name);
    }
    let left = files(&left);
    assert!(left == expected, "{:?}", left.keys());
}

#[test]
fn of_a_copy_whose_whole_root_is_gone_meanwhile_nothing_is_recorded() {
    let test = "of_a_copy_whose_whole_root_is_gone_meanwhile_nothing_is_recorded";
    let Some((a, b)) = servers(test) else {
        return;
    };
    let estate = estate(&a, &b);
    let alpha = s3("alpha", &a, "first", "0.02", &[]);
    let wants = |copies: usize, dataset: &[&str]| {
        let home = manifest::home(&[]).replace("accessMode: ReadOnly", "accessMode: ReadWrite");
        let dataset = manifest::dataset("d", "home", "origin", dataset);
        estate.manifests(&(home + &alpha + &dataset + &manifest::copies(copies)));
    };
    wants(2, &[]);
    estate.apply().exits(0);
    let source = files(&estate.path("stores/origin/d"));
    // Nobody looks at it before the origin is to go.
    assert_eq!(rclone(&["purge", &a.remote("first/data")]), Some(true));
    wants(1, &["keepOrigin: false"]);
    estate
        .apply()
        .exits(5)
        .says("the root is gone or empty; is it mounted?");
    assert!(
        files(&estate.path("stores/origin/d")) == source,
        "nothing else is left"
    );
    let told = estate.run(&["whereis", "d", "-o", "json"]).exits(0).json();
    assert_eq!(told["copies"][0]["backend"], "alpha");
    assert_eq!(
        told["copies"][0]["state"], "Verified",
        "object by object it would all be gone: {told}"
    );
}
