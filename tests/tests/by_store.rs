//! A copy within one S3 service is made by the service: what passes through us, and what networks and others do meanwhile.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use domicile_tests::{Asked, Estate, Fault, Kind, Outcome, Proxy, Server, bytes, files, manifest, rclone};

/// More than two parts of the smallest size.
const LARGE: usize = (20 << 20) + 12_345;

/// Two buckets of one service behind a proxy; the first holds a verified copy, and its origin is gone.
struct Stand {
    server: Arc<Server>,
    estate: Estate,
    proxy: Proxy,
    large: Vec<u8>,
}

impl Stand {
    fn new(test: &str) -> Option<Self> {
        let server = Arc::new(Server::for_test(test, "alpha")?);
        server.bucket("first");
        server.bucket("second");
        let proxy = Proxy::harming(&server.endpoint, |_| Fault::None);
        let estate = server.estate();
        let large = bytes(5, LARGE);
        estate.write("stores/origin/d/large +%?", &large);
        estate.write("stores/origin/d/small", "a small object");
        let stand = Self {
            server,
            estate,
            proxy,
            large,
        };
        stand.manifests("[alpha]", "Checksum");
        stand.apply().exits(0);
        let gone = stand.estate.path("gone");
        std::fs::rename(stand.estate.path("stores/origin"), gone).expect("the origin can be taken away");
        Some(stand)
    }

    fn manifests(&self, wanted: &str, verify: &str) {
        let backend = |name: &str, bucket: &str| {
            let store = format!(
                "{{type: S3, bucket: {bucket}, endpoint: \"{}\", region: us-east-1, root: data}}",
                self.proxy.endpoint
            );
            let price = manifest::price("0.02");
            manifest::backend(name, "home", "DE", &store, &["credentials: {env: ALPHA}", &price])
        };
        let copies = wanted.split(',').count();
        let require = format!(
            "require: [{{name: there, copies: {copies}, where: [{{key: store, operator: In, values: {wanted}}}]}}]"
        );
        let verify = format!("verify: {verify}");
        self.estate.manifests(
            &(manifest::home(&[])
                + &backend("alpha", "first")
                + &backend("beta", "second")
                + &manifest::dataset("d", "home", "origin", &[])
                + &manifest::policy("copies", &[&require, &verify])),
        );
    }

    fn apply(&self) -> Outcome {
        self.estate.run(&["apply", "-f", "manifests", "--yes", "-v"])
    }

    /// Requests for the large object in a bucket since so many.
    fn asked(&self, since: usize, kind: Kind, bucket: &str) -> Vec<Asked> {
        let log = self.proxy.log().into_iter().skip(since);
        let about = |asked: &Asked| asked.kind == kind && asked.is_about(&format!("/{bucket}/data/d/large"));
        log.map(|exchange| exchange.asked).filter(about).collect()
    }

    #[track_caller]
    fn is_whole(&self, outcome: &Outcome) {
        let seen = tempfile::tempdir().expect("a temporary folder");
        let path = seen.path().to_str().expect("a path in UTF-8");
        let second = self.server.remote("second/data/d");
        assert_eq!(rclone(&["copy", &second, path]), Some(true));
        let there = files(seen.path());
        assert!(there.get("large +%?") == Some(&self.large), "{}", outcome.all());
        assert_eq!(there.len(), 2);
    }
}

/// The origin is out of reach, which is told, and holds up nothing.
#[track_caller]
fn ended(outcome: &Outcome) {
    assert!([0, 3].contains(&outcome.code), "{}", outcome.all());
}

#[test]
fn another_process_has_it_copied_and_sees_not_a_byte_of_it() {
    let Some(stand) = Stand::new("another_process_has_it_copied_and_sees_not_a_byte_of_it") else {
        return;
    };
    let (before, sent) = (stand.proxy.log().len(), stand.proxy.sent());
    stand.manifests("[alpha, beta]", "Checksum");
    let outcome = stand.apply();
    ended(&outcome);
    stand.is_whole(&outcome);
    assert!(
        stand.asked(before, Kind::Get, "first").is_empty(),
        "nobody reads the source"
    );
    assert!(
        stand.asked(before, Kind::Get, "second").is_empty(),
        "nor the copy"
    );
    let parts = stand.asked(before, Kind::PutPart, "second");
    assert!(
        parts.len() >= 2 && parts.iter().all(|part| part.length == 0),
        "{parts:?}"
    );
    assert!(stand.proxy.sent() - sent < 1 << 20);
    let copies = stand.estate.run(&["whereis", "d", "-o", "json"]).json();
    let states = copies["copies"].as_array().expect("copies").iter();
    let verified = states.filter(|copy| copy["state"] == "Verified").count();
    assert!(verified >= 2, "{copies}");
}

/// How the copy is made when a rule befalls it.
fn befallen(test: &str, rule: impl Fn(&Stand) -> Box<dyn Fn(&Asked) -> Fault + Send + Sync>) {
    let Some(stand) = Stand::new(test) else { return };
    stand.manifests("[alpha, beta]", "Checksum");
    stand.proxy.rule(rule(&stand));
    let outcome = stand.apply();
    ended(&outcome);
    assert!(stand.proxy.befell(), "the fault befell no request");
    stand.is_whole(&outcome);
    no_uploads_are_left(&stand);
}

#[track_caller]
fn no_uploads_are_left(stand: &Stand) {
    let uploads = stand.server.unfinished_uploads("second");
    assert!(!uploads.contains("\"data/"), "uploads are left: {uploads}");
}

#[test]
fn what_a_killed_process_had_the_store_begin_is_found_though_the_copy_is_not_wanted_any_more() {
    let test = "what_a_killed_process_had_the_store_begin_is_found_though_the_copy_is_not_wanted_any_more";
    let Some(stand) = Stand::new(test) else { return };
    stand.manifests("[alpha, beta]", "Checksum");
    let for_long = Fault::Held(Duration::from_secs(30));
    stand.proxy.rule(first(u64::MAX, is_copied_part, for_long));
    let before = stand.proxy.log().len();
    let mut apply = stand.estate.command(&["apply", "-f", "manifests", "--yes"]);
    let mut child = apply
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    while stand.asked(before, Kind::Begin, "second").is_empty() {
        assert_eq!(
            child.try_wait().expect("it can be asked for"),
            None,
            "it ended without an upload"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    stand.proxy.rule(|_: &Asked| Fault::None);
    stand.manifests("[alpha]", "Checksum");
    ended(&stand.apply());
    no_uploads_are_left(&stand);
}

fn is_copied_part(asked: &Asked) -> bool {
    asked.kind == Kind::PutPart && asked.length == 0
}

/// A fault that befalls the first requests of a sort.
fn first(count: u64, ours: fn(&Asked) -> bool, fault: Fault) -> Box<dyn Fn(&Asked) -> Fault + Send + Sync> {
    let seen = AtomicU64::new(0);
    Box::new(move |asked| {
        let befalls = ours(asked) && seen.fetch_add(1, Ordering::Relaxed) < count;
        if befalls { fault.clone() } else { Fault::None }
    })
}

#[test]
fn a_store_that_refuses_to_copy_is_sent_the_bytes() {
    for (status, code) in [(501, "NotImplemented"), (403, "AccessDenied")] {
        befallen("a_store_that_refuses_to_copy_is_sent_the_bytes", |_| {
            first(u64::MAX, is_copied_part, Fault::Refused(status, code))
        });
    }
}

#[test]
fn lost_and_doubled_answers_make_no_difference() {
    let test = "lost_and_doubled_answers_make_no_difference";
    let completes = |asked: &Asked| asked.kind == Kind::Complete;
    befallen(test, |_| first(2, is_copied_part, Fault::AnswerLost));
    befallen(test, |_| first(u64::MAX, is_copied_part, Fault::Twice));
    befallen(test, |_| first(1, completes, Fault::AnswerLost));
    befallen(test, |_| first(u64::MAX, is_copied_part, Fault::FlipAnswer));
}

/// Does something once, right before the first request of a sort arrives.
fn right_before(
    ours: fn(&Asked) -> bool,
    act: impl Fn() + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Fault + Send + Sync {
    let done = AtomicBool::new(false);
    move |asked| {
        if ours(asked) && !done.swap(true, Ordering::SeqCst) {
            act();
        }
        Fault::None
    }
}

/// A file with other bytes of the same size, put under the name of the object in a bucket.
fn put_other(stand: &Stand, bucket: &str) -> impl Fn() + Send + Sync + 'static {
    stand.estate.write("other", bytes(6, LARGE));
    let other = stand.estate.path("other");
    let target = stand.server.remote(&format!("{bucket}/data/d/large +%?"));
    move || {
        let other = other.to_str().expect("a path in UTF-8");
        assert_eq!(rclone(&["copyto", other, &target]), Some(true));
    }
}

#[test]
fn a_source_that_changes_meanwhile_is_not_copied() {
    let Some(stand) = Stand::new("a_source_that_changes_meanwhile_is_not_copied") else {
        return;
    };
    stand.manifests("[alpha, beta]", "Checksum");
    stand
        .proxy
        .rule(right_before(is_copied_part, put_other(&stand, "first")));
    let outcome = stand.apply();
    assert_eq!(outcome.code, 5, "{}", outcome.all());
    outcome.says("alpha");
    let seen = tempfile::tempdir().expect("a temporary folder");
    let path = seen.path().to_str().expect("a path in UTF-8");
    let second = stand.server.remote("second/data/d");
    assert_eq!(rclone(&["copy", &second, path]), Some(true));
    let there: Vec<_> = files(seen.path()).into_keys().collect();
    assert_eq!(there, ["small"], "what is not the object is never seen");
}

#[test]
fn what_has_come_to_lie_at_the_target_stays() {
    let Some(stand) = Stand::new("what_has_come_to_lie_at_the_target_stays") else {
        return;
    };
    stand.manifests("[alpha, beta]", "Checksum");
    let completes = |asked: &Asked| asked.kind == Kind::Complete;
    stand
        .proxy
        .rule(right_before(completes, put_other(&stand, "second")));
    let outcome = stand.apply();
    assert_eq!(outcome.code, 5, "{}", outcome.all());
    outcome.says("another object lies there");
    let seen = tempfile::tempdir().expect("a temporary folder");
    let path = seen.path().to_str().expect("a path in UTF-8");
    let second = stand.server.remote("second/data/d");
    assert_eq!(rclone(&["copy", &second, path]), Some(true));
    let there = files(seen.path());
    assert!(there.get("large +%?") == Some(&bytes(6, LARGE)));
}
