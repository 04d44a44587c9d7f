//! Objects that somebody else's tool has put in parts, read for the first time over plain HTTP: the store tells the MD5 of the
//! MD5s of these parts. What agrees with it is read once; what does not is never taken for the truth.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use domicile_tests::{Asked, Estate, Fault, Kind, Proxy, Server, bytes, files, manifest, rclone};

use crate::server;

/// Bytes of each object: three parts of ours and a little, so that hardly any end lies where one of the store's does.
const SIZE: usize = 24 * 1024 * 1024 + 4321;
/// How large the parts are that it is put in, as rclone takes it: what tools do, and what none does.
const PARTS: [&str; 3] = ["5Mi", "8Mi", "7000001B"];

struct Stand {
    proxy: Proxy,
    estate: Estate,
    parts: Vec<&'static str>,
    _server: Server,
}

impl Stand {
    /// A bucket behind a proxy with one object of so many bytes for each size of parts and `small` small ones, and a folder that
    /// wants copies.
    fn new(test: &str, (parts, size): (&[&'static str], usize), small: usize) -> Option<Self> {
        let server = server(test)?;
        server.bucket("first");
        let proxy = Proxy::harming(&server.endpoint, |_| Fault::None);
        let estate = server.estate();
        for (at, part) in parts.iter().enumerate() {
            estate.write(&format!("truth/{part}"), bytes(at as u64 + 1, size));
            let from = estate.path(&format!("truth/{part}"));
            let from = from.to_str().expect("a path in UTF-8");
            let chunk = format!("--s3-chunk-size={part}");
            let to = server.remote("first/data/d");
            let put = ["copy", from, &to, "--s3-upload-cutoff=5Mi", &chunk];
            assert_eq!(rclone(&put), Some(true), "{part}");
        }
        for at in 0..small {
            estate.write(&format!("small/s{at}"), bytes(at as u64, 100 + at));
        }
        if small > 0 {
            let from = estate.path("small");
            let from = from.to_str().expect("a path in UTF-8");
            let put = ["copy", from, &server.remote("first/data/d")];
            assert_eq!(rclone(&put), Some(true));
        }
        let store = format!(
            "{{type: S3, bucket: first, endpoint: \"{}\", region: us-east-1, root: data}}",
            proxy.endpoint
        );
        let credentials = ["credentials: {env: ALPHA}", "accessMode: ReadOnly"];
        estate.manifests(
            &(manifest::home(&["last"])
                + &manifest::backend("alpha", "home", "DE", &store, &credentials)
                + &manifest::dataset("d", "home", "alpha", &[])
                + &manifest::policy(
                    "there",
                    &["require: [{name: last, copies: 1, where: [{key: store, operator: In, values: [last]}]}]"],
                )),
        );
        Some(Self {
            proxy,
            estate,
            parts: parts.to_vec(),
            _server: server,
        })
    }

    fn truth(&self) -> BTreeMap<String, Vec<u8>> {
        let mut truth = files(&self.estate.path("truth"));
        truth.extend(files(&self.estate.path("small")));
        truth
    }

    fn assert_whole(&self) {
        assert!(
            files(&self.estate.path("stores/last/d")) == self.truth(),
            "byte for byte"
        );
    }

    /// How often some of an object was asked for.
    fn readings(&self, part: &str) -> usize {
        let log = self.proxy.log();
        let of_it = |asked: &Asked| asked.kind == Kind::Get && asked.path.ends_with(&format!("/d/{part}"));
        log.iter().filter(|exchange| of_it(&exchange.asked)).count()
    }
}

fn is_reading(asked: &Asked) -> bool {
    asked.kind == Kind::Get && asked.is_about("/d/")
}

#[test]
fn it_is_read_once_whatever_the_size_of_its_parts() {
    let Some(stand) = Stand::new(
        "it_is_read_once_whatever_the_size_of_its_parts",
        (&PARTS, SIZE),
        0,
    ) else {
        return;
    };
    stand.estate.apply().exits(0);
    stand.assert_whole();
    for part in &stand.parts {
        assert_eq!(stand.readings(part), 4, "`{part}` has four parts of ours");
    }
}

/// Under a lease, too, where a large one can be gone on with. A bit that turns in it is found, and it is copied anew.
#[test]
fn it_is_read_once_under_a_lease() {
    let large = 64 * 1024 * 1024 + 4321;
    let Some(stand) = Stand::new("it_is_read_once_under_a_lease", (&["5Mi"], large), 300) else {
        return;
    };
    stand.estate.apply().exits(0);
    stand.assert_whole();
    assert_eq!(stand.readings("5Mi"), 9, "it has nine parts of ours");
    std::fs::remove_dir_all(stand.estate.path(".domicile")).expect("a catalogue to lose");
    std::fs::remove_dir_all(stand.estate.path("stores/last/d")).expect("a copy to lose");
    let once = AtomicBool::new(false);
    stand.proxy.rule(move |asked: &Asked| {
        let turns = is_reading(asked) && asked.path.ends_with("/5Mi") && !once.swap(true, Ordering::Relaxed);
        if turns { Fault::FlipAnswer } else { Fault::None }
    });
    stand.estate.apply().exits(0);
    assert!(stand.proxy.befell(), "nothing befell it");
    stand.assert_whole();
}

#[test]
fn a_bit_that_turns_every_time_is_never_taken() {
    let test = "a_bit_that_turns_every_time_is_never_taken";
    let Some(stand) = Stand::new(test, (&["5Mi"], SIZE), 0) else {
        return;
    };
    // Each answer to the same range has the same bit turned: a second reading would agree with the first.
    stand.proxy.rule(|asked: &Asked| {
        if is_reading(asked) {
            Fault::FlipAnswer
        } else {
            Fault::None
        }
    });
    let outcome = stand.estate.apply().exits(5);
    outcome.says("not what the store says").says("`d/5Mi`");
    assert!(
        !stand.estate.path("stores/last/d/5Mi").exists(),
        "what turned is visible"
    );
    stand.proxy.heal();
    stand.estate.apply().exits(0);
    stand.assert_whole();
}

/// A store that tells nothing of parts leaves a guess. Where that is wrong, what came is read a second time.
#[test]
fn a_wrong_guess_is_no_damage() {
    let Some(stand) = Stand::new("a_wrong_guess_is_no_damage", (&PARTS, SIZE), 0) else {
        return;
    };
    stand.proxy.rule(|asked: &Asked| {
        let of_part = asked.kind == Kind::Head && asked.part.is_some();
        if of_part {
            Fault::Refused(400, "InvalidArgument")
        } else {
            Fault::None
        }
    });
    stand.estate.apply().exits(0);
    stand.assert_whole();
    let readings = PARTS.map(|part| stand.readings(part));
    assert_eq!(
        readings,
        [4, 4, 8],
        "only what nobody puts by default is read twice"
    );
}
