//! What is no single fault of a request: clocks, restarts, sources that change, and stores that take nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use domicile_tests::{Asked, Estate, Fault, Kind, Proxy, Server, bytes, files, manifest, rclone, skip};

use crate::server;

const LARGE: usize = (20 << 20) + 12_345;

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// An estate with an origin, a bucket behind a proxy, and a folder `last`.
fn estate(server: &Server, proxy: &Proxy) -> Estate {
    server.bucket("first");
    let mut estate = server.estate();
    estate.set("DOMICILE_SILENCE_SECONDS", "3");
    for at in 0..8 {
        estate.write(
            &format!("stores/origin/d/small/{at}"),
            bytes(at, at as usize * 7_001),
        );
    }
    estate.write("stores/origin/d/large", bytes(99, LARGE));
    place(&estate, proxy, &["alpha"]);
    estate
}

/// Manifests that want copies on exactly these backends, besides the kept origin.
fn place(estate: &Estate, proxy: &Proxy, on: &[&str]) {
    let store = format!(
        "{{type: S3, bucket: first, endpoint: \"{}\", region: us-east-1, root: data}}",
        proxy.endpoint
    );
    let alpha = manifest::backend("alpha", "home", "DE", &store, &["credentials: {env: ALPHA}"]);
    let rules: Vec<_> = on
        .iter()
        .map(|name| {
            format!("{{name: {name}, copies: 1, where: [{{key: store, operator: In, values: [{name}]}}]}}")
        })
        .collect();
    let require = format!("require: [{}]", rules.join(", "));
    estate.manifests(
        &(manifest::home(&["last"])
            + &alpha
            + &manifest::dataset("d", "home", "origin", &[])
            + &manifest::policy("there", &[&require])),
    );
}

fn at_server(server: &Server) -> BTreeMap<String, Vec<u8>> {
    let seen = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(
        rclone(&["copy", &server.remote("first/data/d"), text(seen.path())]),
        Some(true)
    );
    files(seen.path())
}

/// The states of the copies of an object, by backend.
fn states(estate: &Estate, key: &str) -> BTreeMap<String, String> {
    let told = estate
        .run(&["whereis", &format!("d/{key}"), "-o", "json"])
        .exits(0)
        .json();
    let copies = told["copies"].as_array().expect("copies");
    let word = |copy: &serde_json::Value, field: &str| copy[field].as_str().unwrap_or_default().to_owned();
    copies
        .iter()
        .map(|copy| (word(copy, "backend"), word(copy, "state")))
        .collect()
}

fn first(count: u64, kind: Kind, fault: Fault) -> impl Fn(&Asked) -> Fault + Send + Sync {
    let seen = AtomicU64::new(0);
    move |asked| {
        let befalls =
            asked.kind == kind && asked.is_about("/d/") && seen.fetch_add(1, Ordering::Relaxed) < count;
        if befalls { fault.clone() } else { Fault::None }
    }
}

/// The same for so many objects, each of which it befalls once: what turns in the same way twice is no longer a bad line.
fn first_of_each(count: usize, kind: Kind, fault: Fault) -> impl Fn(&Asked) -> Fault + Send + Sync {
    let seen = Mutex::new(BTreeSet::new());
    move |asked| {
        if asked.kind != kind || !asked.is_about("/d/") {
            return Fault::None;
        }
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let befalls = seen.len() < count && seen.insert(asked.path.clone());
        if befalls { fault.clone() } else { Fault::None }
    }
}

#[test]
fn a_clock_one_hour_off_is_followed() {
    let test = "a_clock_one_hour_off_is_followed";
    if std::env::var_os("DOMICILE_WITHOUT_SERVERS").is_some() {
        return skip(test, "run without S3 servers");
    }
    // Signatures of another hour are refused by a server that checks them; the proxy does so in its place.
    let Some(server) = Server::start_open("alpha") else {
        return skip(test, "no S3 server: `tests/run` installs one");
    };
    for ahead in [3_600, -3_600] {
        let proxy = Proxy::harming(&server.endpoint, |_| Fault::None);
        proxy.clock(ahead);
        let estate = estate(&server, &proxy);
        let outcome = estate.apply().exits(0);
        let refused = proxy
            .log()
            .iter()
            .filter(|exchange| exchange.fault != Fault::None)
            .count();
        assert!(refused > 0, "the clock was never found to be off");
        assert!(
            refused < 40,
            "{refused} requests were signed by the wrong clock: {}",
            outcome.all()
        );
        assert!(at_server(&server) == files(&estate.path("stores/origin/d")));
        assert_eq!(rclone(&["purge", &server.remote("first/data")]), Some(true));
    }
}

#[test]
fn a_scrub_over_a_bad_line_blames_nobody() {
    let Some(server) = server("a_scrub_over_a_bad_line_blames_nobody") else {
        return;
    };
    let proxy = Proxy::harming(&server.endpoint, |_| Fault::None);
    let estate = estate(&server, &proxy);
    estate.apply().exits(0);
    for fault in [Fault::FlipAnswer, Fault::ShortAnswer, Fault::CutAnswer] {
        proxy.rule(first_of_each(3, Kind::Get, fault));
        estate
            .run(&["dataset", "scrub", "d"])
            .exits(0)
            .never_says("damaged");
        assert!(proxy.befell(), "nothing befell the scrub");
    }
    // What is damaged at the store itself is found all the same.
    proxy.heal();
    estate.write("wrong", bytes(4, 7_001));
    let object = server.remote("first/data/d/small/1");
    assert_eq!(
        rclone(&["copyto", "--ignore-times", text(&estate.path("wrong")), &object]),
        Some(true)
    );
    estate.run(&["dataset", "scrub", "d"]).exits(3).says("small/1");
    assert_eq!(states(&estate, "small/1")["alpha"], "Damaged");
}

#[test]
fn a_bad_line_to_a_known_source_blames_nobody() {
    let Some(server) = server("a_bad_line_to_a_known_source_blames_nobody") else {
        return;
    };
    let proxy = Proxy::harming(&server.endpoint, |_| Fault::None);
    let estate = estate(&server, &proxy);
    estate.apply().exits(0);
    // The bucket is the only source that is left.
    std::fs::rename(estate.path("stores/origin"), estate.path("kept")).expect("the origin can be taken away");
    let truth = files(&estate.path("kept/d"));
    place(&estate, &proxy, &["last", "alpha"]);
    proxy.rule(first(4, Kind::Get, Fault::FlipAnswer));
    let outcome = estate.apply();
    assert!([0, 3].contains(&outcome.code), "{}", outcome.all());
    assert!(proxy.befell(), "nothing befell the copy");
    assert!(files(&estate.path("stores/last/d")) == truth, "{}", outcome.all());
    for key in truth.keys() {
        assert_eq!(
            states(&estate, key)["alpha"],
            "Verified",
            "{key}: {}",
            outcome.all()
        );
    }
}

#[test]
fn a_server_that_is_restarted_in_the_middle_holds_nothing_up_for_long() {
    let Some(mut server) = server("a_server_that_is_restarted_in_the_middle_holds_nothing_up_for_long")
    else {
        return;
    };
    let (told, hear) = mpsc::channel();
    let proxy = Proxy::harming(&server.endpoint, move |asked| {
        if asked.kind == Kind::PutPart {
            // Nobody listens any more after the first one.
            let _ = told.send(());
            return Fault::Held(Duration::from_millis(300));
        }
        Fault::None
    });
    let estate = estate(&server, &proxy);
    let outcome = std::thread::scope(|threads| {
        let apply = threads.spawn(|| estate.apply());
        hear.recv_timeout(Duration::from_secs(60))
            .expect("a part is sent");
        std::thread::sleep(Duration::from_millis(100));
        server.restart();
        apply.join().expect("the apply ends")
    });
    assert!([0, 5].contains(&outcome.code), "{}", outcome.all());
    if outcome.code == 5 {
        outcome.says("alpha");
    }
    estate.apply().exits(0);
    assert!(at_server(&server) == files(&estate.path("stores/origin/d")));
}

#[test]
fn an_upload_that_a_late_double_of_a_request_began_is_given_up() {
    let Some(server) = server("an_upload_that_a_late_double_of_a_request_began_is_given_up") else {
        return;
    };
    let proxy = Proxy::harming(&server.endpoint, first(1, Kind::Begin, Fault::Kept));
    let estate = estate(&server, &proxy);
    estate.apply().exits(0);
    assert!(
        !server.unfinished_uploads("first").contains("UploadId"),
        "nothing is left by itself"
    );
    // It comes when the object has long been there, and nobody knows of it.
    assert_eq!(proxy.deliver_kept(), 1, "no upload was begun");
    assert!(
        server.unfinished_uploads("first").contains("UploadId"),
        "it has begun another upload"
    );
    estate.apply().exits(0).says("nothing to do");
    let left = server.unfinished_uploads("first");
    assert!(!left.contains("UploadId"), "uploads are left: {left}");
    assert!(at_server(&server) == files(&estate.path("stores/origin/d")));
}

/// Whatever is visible of an object that changed is one of its versions, and what is recorded as verified is visible.
fn assert_no_mixture(estate: &Estate, visible: Option<&Vec<u8>>, versions: [&Vec<u8>; 2], target: &str) {
    if let Some(visible) = visible {
        assert!(
            versions.contains(&visible),
            "what is visible is a mixture of two versions"
        );
    }
    if states(estate, "large")
        .get(target)
        .is_some_and(|state| state == "Verified")
    {
        assert!(visible.is_some(), "it is recorded as verified, and is not there");
    }
}

#[test]
fn a_source_in_a_folder_that_changes_while_it_is_read_gives_no_mixture() {
    let Some(server) = server("a_source_in_a_folder_that_changes_while_it_is_read_gives_no_mixture") else {
        return;
    };
    for length in [LARGE, LARGE - 5_000_000, LARGE + 5_000_000] {
        let changed = bytes(100, length);
        let proxy = Proxy::harming(&server.endpoint, |_| Fault::None);
        let estate = estate(&server, &proxy);
        let (path, written) = (estate.path("stores/origin/d/large"), changed.clone());
        let changes = AtomicU64::new(0);
        proxy.rule(move |asked| {
            if asked.kind == Kind::PutPart && changes.fetch_add(1, Ordering::Relaxed) == 0 {
                std::fs::write(&path, &written).expect("the owner can write");
            }
            Fault::None
        });
        let outcome = estate.apply();
        assert!([0, 5].contains(&outcome.code), "{}", outcome.all());
        let visible = at_server(&server);
        assert_no_mixture(
            &estate,
            visible.get("large"),
            [&bytes(99, LARGE), &changed],
            "alpha",
        );
        assert_eq!(rclone(&["purge", &server.remote("first/data")]), Some(true));
    }
}

#[test]
fn a_source_in_a_bucket_that_changes_while_it_is_read_gives_no_mixture() {
    let Some(server) = server("a_source_in_a_bucket_that_changes_while_it_is_read_gives_no_mixture") else {
        return;
    };
    let proxy = Proxy::harming(&server.endpoint, |_| Fault::None);
    let estate = estate(&server, &proxy);
    let (old, new) = (bytes(99, LARGE), bytes(100, LARGE));
    let origin = estate.path("stores/origin/d");
    assert_eq!(
        rclone(&["copy", text(&origin), &server.remote("first/data/d")]),
        Some(true)
    );
    let store = format!(
        "{{type: S3, bucket: first, endpoint: \"{}\", region: us-east-1, root: data}}",
        proxy.endpoint
    );
    let lines = ["credentials: {env: ALPHA}", "accessMode: ReadOnly"];
    estate.manifests(
        &(manifest::home(&["last"])
            + &manifest::backend("alpha", "home", "DE", &store, &lines)
            + &manifest::dataset("d", "home", "alpha", &[])
            + &manifest::copies(2)),
    );
    estate.write("new", &new);
    let (new_file, target) = (estate.path("new"), server.remote("first/data/d/large"));
    let reads = AtomicU64::new(0);
    proxy.rule(move |asked| {
        let large = asked.kind == Kind::Get && asked.path.ends_with("/large");
        if large && reads.fetch_add(1, Ordering::Relaxed) == 1 {
            let done = rclone(&["copyto", "--ignore-times", text(&new_file), &target]);
            assert_eq!(done, Some(true), "the owner can write");
        }
        Fault::None
    });
    let outcome = estate.apply();
    assert!([0, 5].contains(&outcome.code), "{}", outcome.all());
    let visible = files(&estate.path("stores/last/d"));
    assert_no_mixture(&estate, visible.get("large"), [&old, &new], "last");
}

/// A file system that may only be read, unmounted at the end.
struct ReadOnlyDisk<'a>(&'a Path);

impl ReadOnlyDisk<'_> {
    fn mount(path: &Path) -> Option<ReadOnlyDisk<'_>> {
        std::fs::create_dir_all(path).expect("a folder to mount on");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "ro,size=1m", "tmpfs"])
            .arg(path)
            .output()
            .is_ok_and(|output| output.status.success());
        done.then_some(ReadOnlyDisk(path))
    }
}

impl Drop for ReadOnlyDisk<'_> {
    fn drop(&mut self) {
        // A disk that stays mounted keeps the temporary folder from being deleted; nothing more can be done here.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_folder_that_may_only_be_read_fails_by_name_and_holds_up_nothing_else() {
    let estate = Estate::new();
    for at in 0..5 {
        estate.write(&format!("stores/origin/d/{at}"), bytes(at, 10_000));
    }
    estate.manifests(
        &(manifest::home(&["closed", "open"])
            + &manifest::dataset("d", "home", "origin", &[])
            + &manifest::copies(3)),
    );
    let closed = estate.path("stores/closed");
    let Some(_disk) = ReadOnlyDisk::mount(&closed) else {
        return skip(
            "a_folder_that_may_only_be_read_fails_by_name_and_holds_up_nothing_else",
            "a tmpfs cannot be mounted here (needs root)",
        );
    };
    estate.apply().exits(5).says("closed").says("ead-only");
    assert!(files(&estate.path("stores/open/d")) == files(&estate.path("stores/origin/d")));
    assert!(files(&closed).is_empty());
    let told = states(&estate, "0");
    assert_ne!(told.get("closed").map(String::as_str), Some("Verified"));
}
