//! A restore of a large object that is killed in the middle leaves nothing behind once it was run again: neither a file in a
//! folder nor an upload in a bucket.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use domicile_tests::{Estate, Fault, Kind, Proxy, Server, bytes, files, manifest, rclone, temporary_files};

/// Larger than what comes into a folder in one piece.
const LARGE: usize = 80 << 20;

struct Stand {
    server: Server,
    proxy: Proxy,
    estate: Estate,
}

impl Stand {
    /// A dataset with its origin on one backend and a verified copy on the other; `held` requests of the bucket are slow.
    fn new(test: &str, held: Kind, origin: &str, copy: &str) -> Option<Self> {
        let server = Server::for_test(test, "alpha")?;
        server.bucket("first");
        let proxy = Proxy::harming(&server.endpoint, |_| Fault::None);
        let estate = server.estate();
        estate.write("truth/large", bytes(7, LARGE));
        let stand = Self {
            server,
            proxy,
            estate,
        };
        stand.put_origin(origin);
        let store = format!(
            "{{type: S3, bucket: first, endpoint: \"{}\", region: us-east-1, root: data}}",
            stand.proxy.endpoint
        );
        let alpha = manifest::backend("alpha", "home", "DE", &store, &["credentials: {env: ALPHA}"]);
        let rule = format!(
            "require: [{{name: there, copies: 1, where: [{{key: store, operator: In, values: [{copy}]}}]}}]"
        );
        stand.estate.manifests(
            &(manifest::home(&["last"])
                + &alpha
                + &manifest::dataset("d", "home", origin, &[])
                + &manifest::policy("there", &[&rule])),
        );
        stand.estate.apply().exits(0);
        stand.proxy.rule(move |asked| match asked.kind == held {
            true => Fault::Held(Duration::from_millis(300)),
            false => Fault::None,
        });
        Some(stand)
    }

    fn put_origin(&self, origin: &str) {
        let truth = self.estate.path("truth");
        let to = match origin {
            "alpha" => self.server.remote("first/data/d"),
            folder => self
                .estate
                .path(&format!("stores/{folder}/d"))
                .display()
                .to_string(),
        };
        assert_eq!(rclone(&["copy", &truth.display().to_string(), &to]), Some(true));
    }

    /// Kills a restore once some requests of a kind were answered.
    fn kill_in_the_middle(&self, restore: &[&str], kind: Kind) {
        let count = || {
            self.proxy
                .log()
                .iter()
                .filter(|exchange| exchange.asked.kind == kind)
                .count()
        };
        let (before, begun) = (count(), Instant::now());
        let mut command = self.estate.command(restore);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        while count() < before + 3 {
            assert!(begun.elapsed() < Duration::from_secs(60), "it never comes so far");
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("the child ends");
    }
}

#[test]
fn a_killed_restore_into_a_folder_leaves_no_file_behind() {
    let test = "a_killed_restore_into_a_folder_leaves_no_file_behind";
    let Some(stand) = Stand::new(test, Kind::Get, "origin", "alpha") else {
        return;
    };
    std::fs::remove_dir_all(stand.estate.path("stores/origin")).expect("an origin to lose");
    let restore = ["dataset", "restore", "d", "--to", "out"];
    stand.kill_in_the_middle(&restore, Kind::Get);
    let left = temporary_files(&stand.estate.path("out"));
    assert_eq!(left.len(), 1, "it was killed in the middle: {left:?}");
    stand.proxy.heal();
    stand.estate.run(&restore).exits(0);
    assert!(files(&stand.estate.path("out")) == files(&stand.estate.path("truth")));
    assert_eq!(temporary_files(&stand.estate.path("out")), Vec::<String>::new());
}

#[test]
fn a_killed_restore_of_an_origin_in_a_bucket_leaves_no_upload_behind() {
    let test = "a_killed_restore_of_an_origin_in_a_bucket_leaves_no_upload_behind";
    let Some(stand) = Stand::new(test, Kind::PutPart, "alpha", "last") else {
        return;
    };
    let large = stand.server.remote("first/data/d/large");
    assert_eq!(rclone(&["deletefile", &large]), Some(true));
    let restore = ["dataset", "restore", "d", "--backend", "alpha"];
    stand.kill_in_the_middle(&restore, Kind::PutPart);
    assert!(
        stand.server.unfinished_uploads("first").contains("UploadId"),
        "it was killed in the middle"
    );
    stand.proxy.heal();
    stand.estate.run(&restore).exits(0);
    let left = stand.server.unfinished_uploads("first");
    assert!(!left.contains("UploadId"), "uploads are left: {left}");
    let truth = stand.estate.path("truth").display().to_string();
    let same = rclone(&[
        "check",
        "--download",
        &truth,
        &stand.server.remote("first/data/d"),
    ]);
    assert_eq!(same, Some(true), "byte for byte");
}
