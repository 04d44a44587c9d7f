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

/// A server of rclone's own, ended with the value.
struct Serving(std::process::Child, u16);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Serving {
    fn start(rclone: &std::path::Path, kind: &str, folder: &std::path::Path, password: &str) -> Self {
        std::fs::create_dir_all(folder).expect("a folder to serve");
        let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = held.local_addr().expect("an address").port();
        drop(held);
        let child = std::process::Command::new(rclone)
            .args(["--config", "/dev/null", "serve", kind])
            .arg(folder)
            .args([
                "--addr",
                &format!("127.0.0.1:{port}"),
                "--user",
                "anna",
                "--pass",
                password,
            ])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn();
        let serving = Self(child.expect("rclone starts"), port);
        for _ in 0..120 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return serving;
            }
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
        panic!("rclone does not serve {kind}");
    }
}

#[test]
fn passwords_that_rclone_has_obscured_open_the_same_servers() {
    let Some(rclone) = domicile_tests::installed("rclone") else {
        domicile_tests::skip("passwords that rclone has obscured", "rclone is not installed");
        return;
    };
    let estate = with_data();
    let password = " p w\"=#\u{f6}\"";
    let servers = ["webdav", "ftp"].map(|kind| Serving::start(&rclone, kind, &estate.path(kind), password));
    let config = estate.path("rclone.conf");
    let create = |arguments: &[&str]| {
        let done = std::process::Command::new(&rclone)
            .arg("--config")
            .arg(&config)
            .args(["config", "create"])
            .args(arguments)
            .output()
            .expect("rclone starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let (url, port) = (
        format!("url=http://127.0.0.1:{}/", servers[0].1),
        format!("port={}", servers[1].1),
    );
    let pass = format!("pass={password}");
    create(&["cloud", "webdav", &url, "vendor=other", "user=anna", &pass]);
    create(&["old", "ftp", "host=127.0.0.1", &port, "user=anna", &pass]);
    let written = std::fs::read_to_string(&config).expect("an rclone.conf");
    assert!(!written.contains(password), "rclone obscures it: {written}");
    let init = [
        "init",
        "--from",
        "rclone.conf",
        "--data",
        "data/photos",
        "--backend",
        "dav=cloud:backup",
        "--backend",
        "ftp=old:backup",
        "--country",
        "DE",
        "--copies",
        "3",
        "mine",
    ];
    estate
        .run(&init)
        .exits(0)
        .says("dav (Webdav, for copies): reached")
        .says("ftp (Ftp, for copies): reached")
        .never_says(password)
        .never_says("set the variable");
    for (path, content) in files(&estate.path("mine")) {
        let text = String::from_utf8(content).expect("text");
        let keeps = ["dav.keys", "ftp.keys"].contains(&path.as_str());
        assert_eq!(text.contains("p w"), keeps, "{path}");
    }
    estate
        .run(&["apply", "-f", "mine", "--yes"])
        .exits(0)
        .says("2 copies verified");
    for kind in ["webdav", "ftp"] {
        let copy = files(&estate.path(&format!("{kind}/backup/photos")));
        assert!(
            copy == files(&estate.path("data/photos")),
            "{kind}, byte for byte"
        );
    }
}
