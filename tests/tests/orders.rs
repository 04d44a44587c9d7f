//! Orders of people while moves are being carried: `moves pause`, `resume`, `cancel` and `retry` by the command line, before a
//! real S3 server whose line is slow.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use domicile_tests::{Estate, Exchange, Kind, Proxy, Server, bytes, files, manifest, rclone};

const LARGE: usize = 40 << 20;
const LINE: u64 = 3 << 20;
/// Parts of one object that are under way at once may have to be sent again.
const IN_FLIGHT: u64 = 4 * (8 << 20) + (2 << 20);

struct Stand {
    server: Server,
    proxy: Proxy,
    estate: Estate,
}

impl Stand {
    fn new(test: &str) -> Option<Self> {
        let server = Server::for_test(test, "alpha")?;
        server.bucket("first");
        let proxy = Proxy::before(&server.endpoint, LINE);
        let estate = server.estate();
        estate.write("stores/origin/d/large", bytes(7, LARGE));
        for at in 0..300 {
            estate.write(&format!("stores/origin/d/small/{at}"), bytes(at, 20_000));
        }
        let store = format!(
            "{{type: S3, bucket: first, endpoint: \"{}\", region: us-east-1, root: data}}",
            proxy.endpoint
        );
        let alpha = manifest::backend("alpha", "home", "DE", &store, &["credentials: {env: ALPHA}"]);
        estate.manifests(
            &(manifest::home(&[])
                + &alpha
                + &manifest::dataset("d", "home", "origin", &[])
                + &manifest::copies(2)),
        );
        Some(Self {
            server,
            proxy,
            estate,
        })
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.estate.command(arguments);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the binary starts")
    }

    /// Waits until so many bytes more have been sent.
    fn sends(&self, more: u64) {
        let (before, begun) = (self.proxy.sent(), Instant::now());
        while self.proxy.sent() < before + more {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing is sent");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn order(&self, order: &str, says: &str) {
        self.estate.run(&["moves", order, "--all"]).exits(0).says(says);
    }

    /// Demands that two seconds after an order nothing is asked of the store any more and nothing becomes visible, and that
    /// no byte moves once the buffers of the slow line are empty.
    fn assert_it_rests(&self, state: &str) {
        let ordered = Instant::now();
        std::thread::sleep(Duration::from_secs(2));
        let asked = self.published();
        std::thread::sleep(Duration::from_secs(3));
        let before = self.proxy.sent();
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(self.proxy.sent(), before, "bytes move though nobody may carry");
        let late = |exchange: &&Exchange| exchange.begun > ordered + Duration::from_secs(2);
        let log = self.proxy.log();
        let late: Vec<_> = log.iter().filter(late).collect();
        assert!(late.is_empty(), "asked though nobody may carry: {late:?}");
        assert_eq!(
            self.published(),
            asked,
            "objects become visible though nobody may carry"
        );
        let list = self.estate.run(&["moves", "ls", "-o", "json"]).exits(0).json();
        assert_eq!(list["items"][0]["state"], state, "{list}");
    }

    fn published(&self) -> usize {
        let log = self.proxy.log();
        let ours = log.iter().filter(|exchange| {
            let asked = &exchange.asked;
            asked.is_about("/data/d/")
                && matches!(asked.kind, Kind::Put | Kind::Complete)
                && exchange.status == 200
        });
        ours.count()
    }

    /// Everything is there, and no more was sent than what was in flight at each of so many orders.
    fn assert_done(&self, orders: u64) {
        let size: u64 = files(&self.estate.path("stores/origin/d"))
            .values()
            .map(|b| b.len() as u64)
            .sum();
        let (sent, most) = (self.proxy.sent(), size + orders * IN_FLIGHT);
        assert!(sent <= most, "{sent} bytes were sent, {most} at most were to be");
        let origin = self.estate.path("stores/origin/d");
        let origin = origin.to_str().expect("a path in UTF-8");
        let same = rclone(&["check", "--download", origin, &self.server.remote("first/data/d")]);
        assert_eq!(same, Some(true), "the bucket holds every object and nothing else");
        self.estate
            .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
            .exits(0);
    }
}

fn kill(mut child: Child) {
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().expect("the child ends");
}

const APPLY: [&str; 4] = ["apply", "-f", "manifests", "--yes"];

#[test]
fn what_is_paused_or_cancelled_while_an_apply_carries_it_rests_at_once() {
    let test = "what_is_paused_or_cancelled_while_an_apply_carries_it_rests_at_once";
    let Some(stand) = Stand::new(test) else { return };
    let mut apply = stand.start(&APPLY);
    stand.sends(6 << 20);
    stand.order("pause", "1 move paused");
    stand.assert_it_rests("Paused");
    let code = apply.wait().expect("it ends by itself").code();
    assert_eq!(code, Some(3), "what rests leaves its dataset unsatisfied");
    stand.order("resume", "1 move");
    let mut apply = stand.start(&APPLY);
    stand.sends(6 << 20);
    stand.order("cancel", "1 move cancelled");
    stand.assert_it_rests("Cancelled");
    assert_eq!(apply.wait().expect("it ends by itself").code(), Some(3));
    stand.estate.apply().exits(3).says("moves retry");
    stand.order("retry", "1 move to be tried again");
    stand.estate.apply().exits(0);
    stand.assert_done(2);
}

#[test]
fn movers_put_down_what_is_paused_and_take_it_up_when_it_is_resumed() {
    let test = "movers_put_down_what_is_paused_and_take_it_up_when_it_is_resumed";
    let Some(stand) = Stand::new(test) else { return };
    let apply = stand.start(&APPLY);
    stand.sends(2 << 20);
    kill(apply);
    // With leases of the usual length: an order is not to wait for them.
    let movers = [stand.start(&["mover"]), stand.start(&["mover"])];
    stand.sends(6 << 20);
    stand.order("pause", "1 move paused");
    stand.assert_it_rests("Paused");
    stand.order("resume", "1 move");
    // Nobody has to apply anything: what was approved is carried on.
    stand.sends(6 << 20);
    movers.into_iter().for_each(kill);
    stand.estate.apply().exits(0);
    stand.assert_done(3);
}
