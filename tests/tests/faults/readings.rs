//! Bits that turn on the way where nobody can compare what came with anything, or where what came decides what is deleted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use domicile_tests::{Asked, Estate, Fault, Kind, Proxy, Server, bytes, files, manifest, rclone};

use crate::server;

/// An estate with a bucket behind a proxy, the folders `origin` and `last`, and five objects apart from any store.
struct Stand {
    server: Server,
    proxy: Proxy,
    estate: Estate,
}

impl Stand {
    fn new(test: &str) -> Option<Self> {
        let server = server(test)?;
        server.bucket("first");
        let proxy = Proxy::harming(&server.endpoint, |_| Fault::None);
        let estate = server.estate();
        for at in 1..6 {
            estate.write(&format!("truth/{at}"), bytes(at, at as usize * 9_001));
        }
        let stand = Self {
            server,
            proxy,
            estate,
        };
        Some(stand)
    }

    fn truth(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.estate.path("truth"))
    }

    /// The dataset with its origin in a folder or in the bucket, and copies on these backends.
    fn manifests(&self, origin: &str, on: &[&str]) {
        let store = format!(
            "{{type: S3, bucket: first, endpoint: \"{}\", region: us-east-1, root: data}}",
            self.proxy.endpoint
        );
        let mode = if origin == "alpha" {
            "accessMode: ReadOnly"
        } else {
            "accessMode: ReadWrite"
        };
        let alpha = manifest::backend(
            "alpha",
            "home",
            "DE",
            &store,
            &["credentials: {env: ALPHA}", mode],
        );
        let rule = |name: &&str| {
            format!("{{name: {name}, copies: 1, where: [{{key: store, operator: In, values: [{name}]}}]}}")
        };
        let rules: Vec<_> = on.iter().map(rule).collect();
        let require = format!("require: [{}]", rules.join(", "));
        self.estate.manifests(
            &(manifest::home(&["last"])
                + &alpha
                + &manifest::dataset("d", "home", origin, &[])
                + &manifest::policy("there", &[&require])),
        );
    }

    fn put(&self, from: &str, to: &str) {
        let from = self.estate.path(from);
        let from = from.to_str().expect("a path in UTF-8");
        let to = match to.strip_prefix("alpha/") {
            Some(path) => self.server.remote(&format!("first/data/{path}")),
            None => self.estate.path(to).to_str().expect("a path in UTF-8").to_owned(),
        };
        assert_eq!(rclone(&["copy", "--ignore-times", from, &to]), Some(true));
    }

    /// One bit turns in the first reading of each object, and in none after it.
    fn turn_first_readings(&self) {
        let seen = std::sync::Mutex::new(std::collections::BTreeSet::new());
        self.proxy.rule(move |asked: &Asked| {
            let ours = asked.kind == Kind::Get && asked.path.starts_with("/first/data/d/");
            let is_first = ours && seen.lock().expect("a list").insert(asked.path.clone());
            if is_first { Fault::FlipAnswer } else { Fault::None }
        });
    }

    fn at_server(&self) -> BTreeMap<String, Vec<u8>> {
        let seen = tempfile::tempdir().expect("a temporary folder");
        let path = seen.path().to_str().expect("a path in UTF-8");
        assert_eq!(
            rclone(&["copy", &self.server.remote("first/data/d"), path]),
            Some(true)
        );
        files(seen.path())
    }

    fn lose_catalogue(&self) {
        std::fs::remove_dir_all(self.estate.path(".domicile")).expect("a catalogue to lose");
    }
}

const REBUILD: [&str; 5] = ["catalogue", "rebuild", "-f", "manifests", "-ojson"];

#[test]
fn a_rebuild_takes_no_bit_that_turned_on_the_way_from_an_origin_for_the_truth() {
    let test = "a_rebuild_takes_no_bit_that_turned_on_the_way_from_an_origin_for_the_truth";
    let Some(stand) = Stand::new(test) else { return };
    stand.put("truth", "alpha/d");
    stand.manifests("alpha", &["last"]);
    stand.estate.apply().exits(0);
    stand.lose_catalogue();
    stand.turn_first_readings();
    let outcome = stand.estate.run(&REBUILD).exits(0);
    assert!(stand.proxy.befell(), "nothing befell the rebuild");
    let row = &outcome.json()["items"][0];
    assert_eq!(row["verified"], serde_json::json!(["alpha", "last"]), "{row}");
    assert_eq!([&row["differing"], &row["unread"]], [0, 0], "{row}");
}

#[test]
fn a_rebuild_takes_no_bit_that_turned_on_the_way_from_the_last_copy_for_the_truth() {
    let test = "a_rebuild_takes_no_bit_that_turned_on_the_way_from_the_last_copy_for_the_truth";
    for with_list in [true, false] {
        let Some(stand) = Stand::new(test) else { return };
        stand.put("truth", "stores/origin/d");
        stand.manifests("origin", &["alpha"]);
        stand.estate.apply().exits(0);
        stand.lose_catalogue();
        std::fs::remove_dir_all(stand.estate.path("stores/origin")).expect("an origin to lose");
        let lists = stand.server.remote("first/data/.domicile-digests");
        if !with_list {
            assert_eq!(rclone(&["purge", &lists]), Some(true), "it has a list");
        }
        stand.turn_first_readings();
        let outcome = stand.estate.run(&REBUILD).exits(0);
        assert!(stand.proxy.befell(), "nothing befell the rebuild");
        let row = &outcome.json()["items"][0];
        let field = if with_list { "byList" } else { "byAgreement" };
        assert_eq!(row[field], 5, "{row}");
        stand.proxy.heal();
        stand
            .estate
            .run(&["dataset", "restore", "d", "--to", "out"])
            .exits(0);
        assert!(files(&stand.estate.path("out")) == stand.truth(), "byte for byte");
    }
}

#[test]
fn a_new_origin_is_not_refused_for_bits_that_turned_on_the_way() {
    let Some(stand) = Stand::new("a_new_origin_is_not_refused_for_bits_that_turned_on_the_way") else {
        return;
    };
    stand.put("truth", "stores/origin/d");
    stand.manifests("origin", &["last"]);
    stand.estate.apply().exits(0);
    std::fs::remove_dir_all(stand.estate.path("stores/origin")).expect("an origin to lose");
    stand.put("truth", "alpha/d/by/hand");
    let set = ["dataset", "set-origin", "d", "alpha/d/by/hand"];
    stand.turn_first_readings();
    stand.estate.run(&set).exits(0);
    assert!(stand.proxy.befell(), "nothing befell it");
    // What is another object stays refused.
    stand.estate.write("other/3", bytes(33, 27_003));
    stand.put("other", "alpha/d/other");
    let other = ["dataset", "set-origin", "d", "alpha/d/other"];
    stand
        .estate
        .run(&other)
        .exits(1)
        .says("`3`: its bytes are not those recorded");
}

#[test]
fn a_scan_takes_no_bit_that_turned_on_the_way_for_a_new_version() {
    let Some(stand) = Stand::new("a_scan_takes_no_bit_that_turned_on_the_way_for_a_new_version") else {
        return;
    };
    stand.put("truth", "alpha/d");
    stand.manifests("alpha", &["last"]);
    stand.estate.apply().exits(0);
    for at in 2..4 {
        stand
            .estate
            .write(&format!("truth/{at}"), bytes(at + 50, at as usize * 8_000));
    }
    stand.put("truth", "alpha/d");
    stand.turn_first_readings();
    let scan = [
        "dataset",
        "import",
        "--scan",
        "alpha/d",
        "-f",
        "manifests",
        "-ojson",
    ];
    let told = stand.estate.run(&scan).exits(0).json();
    assert!(stand.proxy.befell(), "nothing befell the scan");
    assert_eq!(told["items"][0]["newVersions"], 2, "{told}");
    stand.proxy.heal();
    stand.estate.apply().exits(0);
    assert!(
        files(&stand.estate.path("stores/last/d")) == stand.truth(),
        "byte for byte"
    );
}

/// Lists of digests go over the same bad line as objects: the first is flipped, cut or lost, and comes whole in the end.
#[test]
fn a_list_of_digests_stands_a_bad_line_in_both_directions() {
    let test = "a_list_of_digests_stands_a_bad_line_in_both_directions";
    let Some(stand) = Stand::new(test) else { return };
    let first = |kind: Kind, fault: Fault| {
        let seen = AtomicU64::new(0);
        move |asked: &Asked| {
            let list = asked.kind == kind && asked.path.contains("/.domicile-digests/");
            if list && seen.fetch_add(1, Ordering::Relaxed) == 0 {
                return fault.clone();
            }
            Fault::None
        }
    };
    stand.put("truth", "stores/origin/d");
    stand.manifests("origin", &["alpha"]);
    for fault in [Fault::FlipSent, Fault::CutSent, Fault::AnswerLost, Fault::Twice] {
        stand.proxy.rule(first(Kind::Put, fault.clone()));
        stand.estate.apply().exits(0).never_says("could not be written");
        assert!(stand.proxy.befell(), "nothing befell the list");
        let copy = stand.server.remote("first/data");
        stand.lose_catalogue();
        let origin = stand.estate.path("stores/origin");
        std::fs::rename(&origin, stand.estate.path("kept")).expect("an origin to take away");
        for turned in [Fault::FlipAnswer, Fault::CutAnswer, Fault::ShortAnswer] {
            stand.proxy.rule(first(Kind::Get, turned));
            let told = stand.estate.run(&REBUILD).exits(0).json();
            assert_eq!(told["items"][0]["byList"], 5, "{fault:?} {told}");
            stand.lose_catalogue();
        }
        std::fs::rename(stand.estate.path("kept"), &origin).expect("an origin to bring back");
        stand.proxy.heal();
        assert_eq!(rclone(&["purge", &copy]), Some(true));
    }
}

/// What a killed run had published and not recorded is ours by its bytes, and goes with the copy: one turned bit on the way
/// must not make it somebody else's.
#[test]
fn what_a_killed_run_left_goes_with_its_copy_though_a_bit_turns_on_the_way() {
    let test = "what_a_killed_run_left_goes_with_its_copy_though_a_bit_turns_on_the_way";
    let Some(stand) = Stand::new(test) else { return };
    stand.put("truth", "stores/origin/d");
    stand.manifests("origin", &["last", "alpha"]);
    stand.proxy.rule(|asked: &Asked| {
        let third = asked.kind == Kind::Put && asked.path.ends_with("/d/3");
        if third {
            Fault::Refused(403, "AccessDenied")
        } else {
            Fault::None
        }
    });
    stand.estate.apply().exits(5).says("d/3");
    stand.proxy.heal();
    stand.estate.write("left/3", &stand.truth()["3"]);
    stand.put("left", "alpha/d");
    stand.manifests("origin", &["last"]);
    let reads = std::sync::Arc::new(AtomicU64::new(0));
    let count = std::sync::Arc::clone(&reads);
    stand.proxy.rule(move |asked: &Asked| {
        let third = asked.kind == Kind::Get && asked.path.ends_with("/d/3");
        if third && count.fetch_add(1, Ordering::Relaxed) == 0 {
            return Fault::FlipAnswer;
        }
        Fault::None
    });
    stand.estate.apply().exits(0).says("1 retired");
    assert!(reads.load(Ordering::Relaxed) > 1, "it was read again");
    assert_eq!(
        stand.at_server().into_keys().collect::<Vec<_>>(),
        Vec::<String>::new()
    );
    let lists = stand.server.remote("first/data/.domicile-digests");
    let listed = std::process::Command::new(domicile_tests::installed("rclone").expect("rclone is there"))
        .args(["lsf", "-R", "--files-only", &lists])
        .output()
        .expect("rclone starts");
    assert!(
        listed.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&listed.stdout)
    );
}
