//! Several processes on one catalogue: killed, halted beyond their leases and woken again. Each object is published
//! once, nothing is left behind, and what has arrived of a large object is not sent again.
//!
//! `DOMICILE_MOVER_KILLS` says how many kills, `DOMICILE_KILL_SEED` from which seed.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use domicile_tests::{
    Estate, Exchange, Fault, Kind, Proxy, Random, Server, bytes, files, manifest, rclone, temporary_files,
};

/// Kills, unless `DOMICILE_MOVER_KILLS` says how many.
const KILLS: u64 = 10;
/// Movers at once.
const MOVERS: usize = 3;
/// Seconds that a lease of theirs lasts.
const LEASE: &str = "2";
const PART: u64 = 8 << 20;
/// Parts of one object that are under way at once, and what else goes over the line.
const IN_FLIGHT: u64 = 4 * PART + (4 << 20);

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

fn server(test: &str) -> Option<Server> {
    let server = Server::for_test(test, "alpha")?;
    server.bucket("first");
    Some(server)
}

fn estate(server: &Server, endpoint: &str, folders: &[&str]) -> Estate {
    let estate = server.estate();
    let store =
        format!("{{type: S3, bucket: first, endpoint: \"{endpoint}\", region: us-east-1, root: data}}");
    let alpha = manifest::backend("alpha", "home", "DE", &store, &["credentials: {env: ALPHA}"]);
    estate.manifests(
        &(manifest::home(folders)
            + &alpha
            + &manifest::dataset("d", "home", "origin", &[])
            + &manifest::copies(2 + folders.len())),
    );
    estate
}

fn start(estate: &Estate, arguments: &[&str]) -> Child {
    let sink = File::options()
        .create(true)
        .append(true)
        .open(estate.path("movers.log"))
        .expect("a log");
    let mut command = estate.command(arguments);
    command.stdout(sink.try_clone().expect("a log")).stderr(sink);
    command.spawn().expect("the binary starts")
}

fn kill(mut child: Child) {
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().expect("the child ends");
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([name, &child.id().to_string()])
        .stdin(Stdio::null())
        .status()
        .expect("kill(1) starts");
    assert!(status.success(), "kill {name} {}", child.id());
}

fn assert_same(estate: &Estate, server: &Server) {
    let origin = estate.path("stores/origin/d");
    let same = rclone(&[
        "check",
        "--download",
        origin.to_str().expect("a path"),
        &server.remote("first/data/d"),
    ]);
    assert_eq!(same, Some(true), "the bucket holds every object and nothing else");
}

fn assert_clean(estate: &Estate, server: &Server) {
    let listed = server.unfinished_uploads("first");
    assert!(!listed.contains("UploadId"), "uploads are left: {listed}");
    assert_eq!(temporary_files(&estate.path("stores")), Vec::<String>::new());
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(0);
}

#[test]
fn what_has_arrived_of_a_large_object_is_not_sent_again() {
    let Some(server) = server("what_has_arrived_of_a_large_object_is_not_sent_again") else {
        return;
    };
    let proxy = Proxy::before(&server.endpoint, 12 << 20);
    let estate = estate(&server, &proxy.endpoint, &[]);
    let size = number("DOMICILE_LARGE_MIB", 160) << 20;
    estate.write(
        "stores/origin/d/large.bin",
        bytes(7, usize::try_from(size).expect("a size")),
    );
    let begun = Instant::now();
    let first = start(&estate, &["apply", "-f", "manifests", "--yes"]);
    while proxy.sent() < size / 2 {
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "half of it is never sent"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(first);
    std::thread::sleep(Duration::from_millis(500));
    let before = proxy.sent();
    assert!(
        server.unfinished_uploads("first").contains("UploadId"),
        "it was killed in the middle"
    );
    estate.apply().exits(0);
    let again = proxy.sent() - before;
    eprintln!("{size} bytes: {before} sent before the kill, {again} after it");
    assert!(
        before + again <= size + IN_FLIGHT,
        "{before} bytes before the kill and {again} after it are too many for {size}"
    );
    assert_same(&estate, &server);
    assert_clean(&estate, &server);
}

/// Parts of one object that are under way at once.
const AT_ONCE: usize = 4;
/// Ranges of the large object that a store has given out whole.
fn ranges(proxy: &Proxy) -> u64 {
    let given =
        |exchange: &&Exchange| exchange.asked.kind == Kind::Get && exchange.status == 206 && exchange.told;
    proxy.log().iter().filter(given).count() as u64
}

/// The same on the way into a folder, and from one folder into the next.
#[test]
fn what_has_arrived_in_a_folder_is_not_read_again() {
    let Some(server) = server("what_has_arrived_in_a_folder_is_not_read_again") else {
        return;
    };
    let size = number("DOMICILE_LARGE_MIB", 160) << 20;
    // Slow enough to be killed in the middle.
    let proxy = Proxy::harming(&server.endpoint, |asked| match asked.kind {
        Kind::Get => Fault::Held(Duration::from_millis(200)),
        _ => Fault::None,
    });
    let estate = estate(&server, &proxy.endpoint, &["last"]);
    estate.write(
        "large/large.bin",
        bytes(7, usize::try_from(size).expect("a size")),
    );
    let large = estate.path("large");
    let large = large.to_str().expect("a path in UTF-8");
    assert_eq!(
        rclone(&["copy", large, &server.remote("first/data/d")]),
        Some(true)
    );
    let text = std::fs::read_to_string(estate.path("manifests/estate.yaml")).expect("the manifests");
    estate.manifests(
        &text
            .replace("backend: origin", "backend: alpha")
            .replace("copies: 3", "copies: 2"),
    );
    let parts = size / PART;
    let first = start(&estate, &["apply", "-f", "manifests", "--yes"]);
    let begun = Instant::now();
    while ranges(&proxy) < parts / 2 {
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "half of it never comes"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(first);
    std::thread::sleep(Duration::from_millis(500));
    let before = ranges(&proxy);
    assert_eq!(
        temporary_files(&estate.path("stores/last")).len(),
        1,
        "it was killed in the middle"
    );
    estate.apply().exits(0);
    let after = ranges(&proxy) - before;
    eprintln!("{parts} parts: {before} came before the kill, {after} after it");
    assert!(
        before + after <= parts + AT_ONCE as u64,
        "{before} parts before the kill and {after} after it are too many for {parts}"
    );
    assert!(
        files(&estate.path("stores/last/d")) == files(&estate.path("large")),
        "byte for byte"
    );
    assert_clean(&estate, &server);
}

/// How long the last apply of an estate may take before it is said to hang.
const HANGS: Duration = Duration::from_secs(240);
/// How often a run that takes long says what it waits for.
const TELLS: Duration = Duration::from_secs(20);

/// An apply to its end. One that takes long says what it waits for, and one that hangs is a failure that says so.
fn apply_to_the_end(estate: &Estate, proxy: &Proxy) {
    let begun = Instant::now();
    let mut told = begun;
    let mut child = start(estate, &["apply", "-f", "manifests", "--yes", "-v"]);
    loop {
        if let Some(status) = child.try_wait().expect("the child can be asked for") {
            assert!(
                status.success(),
                "the last apply: {status}\n{}",
                last_lines(estate)
            );
            return;
        }
        if told.elapsed() > TELLS {
            told = Instant::now();
            eprintln!(
                "after {} s: {} requests, {} bytes sent; under way: {}",
                begun.elapsed().as_secs(),
                proxy.log().len(),
                proxy.sent(),
                proxy.under_way()
            );
        }
        if begun.elapsed() > HANGS {
            let status = estate.run(&["status"]);
            kill(child);
            panic!("the last apply hangs: {}\n{}", status.all(), last_lines(estate));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn last_lines(estate: &Estate) -> String {
    let text = std::fs::read_to_string(estate.path("movers.log")).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// What went over the line, so that nothing was done twice.
#[derive(Debug, Default)]
struct Account {
    objects: usize,
    parts: usize,
    /// Parts that the store had, and that were sent again by somebody who could not have known.
    in_flight: usize,
    /// Parts that the store had had for longer than a lease lasts when they were sent again.
    sent_again: usize,
}

/// Demands that each object became visible once, and that the parts of each belong to one upload; counts what was sent again.
fn account(log: &[Exchange]) -> Account {
    let mut published: BTreeMap<&str, usize> = BTreeMap::new();
    let mut uploads: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut parts: BTreeMap<(&str, u32), Vec<&Exchange>> = BTreeMap::new();
    let ours = |exchange: &&Exchange| exchange.status == 200 && exchange.asked.is_about("/data/d/");
    for exchange in log.iter().filter(ours) {
        let asked = &exchange.asked;
        match asked.kind {
            Kind::Put | Kind::Complete => *published.entry(&asked.path).or_default() += 1,
            Kind::PutPart => {
                let upload = asked.upload.as_deref().expect("a part has an upload");
                uploads.entry(&asked.path).or_default().insert(upload);
                let part = asked.part.expect("a part has a number");
                parts.entry((upload, part)).or_default().push(exchange);
            }
            _ => {}
        }
    }
    let twice: Vec<_> = published.iter().filter(|(_, times)| **times != 1).collect();
    assert_eq!(
        twice,
        Vec::new(),
        "objects that did not become visible exactly once"
    );
    let split: Vec<_> = uploads.iter().filter(|(_, uploads)| uploads.len() != 1).collect();
    for (path, _) in &split {
        eprintln!("what went over the line about {path}:");
        for exchange in log.iter().filter(|exchange| exchange.asked.path == **path) {
            let since = |at: Instant| at.duration_since(log[0].begun).as_millis();
            let (begun, answered) = (since(exchange.begun), since(exchange.answered));
            eprintln!(
                "{begun:>7} to {answered:>7} ms: {} told {}, {:?}",
                exchange.status, exchange.told, exchange.asked
            );
        }
    }
    assert_eq!(split, Vec::new(), "objects with parts in more than one upload");
    let lease = Duration::from_secs(LEASE.parse().expect("seconds"));
    let mut account = Account {
        objects: published.len(),
        parts: parts.len(),
        ..Account::default()
    };
    for mut sent in parts.into_values() {
        sent.sort_by_key(|exchange| exchange.answered);
        for again in &sent[1..] {
            let late = again.begun > sent[0].answered + lease;
            *(if late {
                &mut account.sent_again
            } else {
                &mut account.in_flight
            }) += 1;
        }
    }
    account
}

/// Movers that are killed and halted at random; how many of them woke again.
fn disturb(estate: &Estate, random: &mut Random, kills: u64) -> usize {
    let mover = || start(estate, &["mover", "--lease", LEASE]);
    let mut movers: Vec<Child> = (0..MOVERS).map(|_| mover()).collect();
    let mut halted: Vec<Child> = Vec::new();
    let mut woken = 0;
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(100 + random.below(900)));
        let at = random.below(MOVERS as u64) as usize;
        let victim = std::mem::replace(&mut movers[at], mover());
        if random.below(3) == 0 {
            signal(&victim, "-STOP");
            halted.push(victim);
        } else {
            kill(victim);
        }
        // Those that were halted longest wake, and go on with what others have by now.
        if halted.len() > 2 {
            let sleeper = halted.remove(0);
            signal(&sleeper, "-CONT");
            woken += 1;
            std::thread::sleep(Duration::from_millis(random.below(500)));
            kill(std::mem::replace(&mut movers[at], sleeper));
        }
    }
    for sleeper in &halted {
        signal(sleeper, "-CONT");
    }
    woken += halted.len();
    std::thread::sleep(Duration::from_secs(1));
    for child in movers.into_iter().chain(halted) {
        kill(child);
    }
    woken
}

#[test]
fn kills_and_sleepers_among_three_movers_lose_and_double_nothing() {
    let Some(server) = server("kills_and_sleepers_among_three_movers_lose_and_double_nothing") else {
        return;
    };
    let seed = number("DOMICILE_KILL_SEED", 1);
    let kills = number("DOMICILE_MOVER_KILLS", KILLS);
    eprintln!("{kills} kills from seed {seed}");
    let mut random = Random::new(seed);
    let begun = Instant::now();
    let mut killed = 0;
    while killed < kills {
        let proxy = Proxy::before(&server.endpoint, 6 << 20);
        let estate = estate(&server, &proxy.endpoint, &["last"]);
        for at in 0..700 {
            estate.write(
                &format!("stores/origin/d/small/{at}"),
                bytes(at, 2000 + at as usize),
            );
        }
        for at in 0..3 {
            let length = (20 << 20) + 12_345 * (at as usize + 1);
            estate.write(&format!("stores/origin/d/large/{at}"), bytes(at, length));
        }
        let source = files(&estate.path("stores/origin/d"));
        // What an interrupted apply has approved is carried on by others.
        let apply = start(&estate, &["apply", "-f", "manifests", "--yes"]);
        std::thread::sleep(Duration::from_millis(1500 + random.below(1500)));
        kill(apply);
        let now = (kills - killed).min(10);
        let woken = disturb(&estate, &mut random, now);
        killed += now + 1;
        // What is visible is whole, also now.
        for (path, content) in files(&estate.path("stores/last/d")) {
            if !path
                .rsplit('/')
                .next()
                .is_some_and(|name| name.starts_with(".domicile-"))
            {
                assert!(
                    source.get(&path) == Some(&content),
                    "{path} is not what its source is"
                );
            }
        }
        apply_to_the_end(&estate, &proxy);
        let account = account(&proxy.log());
        eprintln!("{killed} kills, {} s: {account:?}", begun.elapsed().as_secs());
        assert_eq!(
            account.objects,
            source.len(),
            "each object became visible under way"
        );
        assert_eq!(account.parts, 9, "three objects of three parts each");
        // A sleeper may have had parts in hand that others have sent meanwhile.
        assert!(
            account.sent_again <= AT_ONCE * woken,
            "what the store had was sent again: {account:?}, {woken} sleepers"
        );
        assert!(
            account.in_flight <= AT_ONCE * (now as usize + 1),
            "more was sent again than was in flight: {account:?}"
        );
        assert_same(&estate, &server);
        assert!(
            files(&estate.path("stores/last/d")) == source,
            "the folder holds every object"
        );
        assert_clean(&estate, &server);
        estate.run(&["dataset", "scrub", "d"]).exits(0);
        assert_eq!(rclone(&["purge", &server.remote("first/data")]), Some(true));
    }
}
