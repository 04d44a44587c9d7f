//! What networks and stores do to a copy: a proxy before a real S3 server refuses, cuts, stalls, flips, loses, doubles and
//! delays what the binary sends and is sent. Each case ends correct, or failed with a reason; nothing damaged is ever
//! visible or recorded as verified; and once the fault is gone, the next apply ends what is left.
//!
//! `DOMICILE_FAULT` runs only the cases whose names contain it.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod cases;
mod in_parts;
mod others;
mod readings;

mod stand;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use domicile_tests::Server;

use cases::{Case, Ends};
use stand::Stand;

/// Cases under way at once: most of their time they wait for the next try.
const AT_ONCE: usize = 10;

fn server(test: &str) -> Option<Server> {
    Server::for_test(test, "alpha")
}

/// One case from its first apply, under the fault, to its last one, when it is gone.
fn run(server: &Server, case: &Case) {
    let stand = Stand::new(server, case);
    let outcome = stand.apply();
    stand.assert_nothing_damaged(&outcome);
    case.ends.assert(&outcome);
    assert!(stand.proxy.befell(), "the fault befell no request");
    stand.proxy.heal();
    let last = stand.apply();
    assert_eq!(last.code, 0, "once the fault is gone: {}", last.all());
    stand.assert_whole(&last);
}

#[test]
fn whatever_a_network_does_nothing_damaged_is_visible_or_verified() {
    let Some(server) = server("whatever_a_network_does_nothing_damaged_is_visible_or_verified") else {
        return;
    };
    server.bucket("first");
    let only = std::env::var("DOMICILE_FAULT").unwrap_or_default();
    let mut cases: Vec<Case> = cases::all()
        .into_iter()
        .filter(|case| case.name.contains(&only))
        .collect();
    // Those that fail for good try longest, so that they begin first.
    cases.sort_by_key(|case| matches!(case.ends, Ends::Whole));
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|threads| {
        for _ in 0..AT_ONCE {
            threads.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = Instant::now();
                    let ended = catch_unwind(AssertUnwindSafe(|| run(&server, case)));
                    eprintln!("{}: {} ms", case.name, begun.elapsed().as_millis());
                    if ended.is_err() {
                        failed.lock().expect("a list").push(case.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("a list");
    assert!(
        failed.is_empty(),
        "cases that failed, with reasons above: {failed:#?}"
    );
}
