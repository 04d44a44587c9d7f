//! Where one case is tried: an estate, a proxy, and what lies at the server behind it.

use std::collections::BTreeMap;

use domicile_tests::{Estate, Outcome, Proxy, Server, bytes, files, manifest, rclone};

use crate::cases::{Case, Side};

/// More than two parts of the smallest size.
const LARGE: usize = (20 << 20) + 12_345;
const SMALL: usize = 8;

/// One case's own estate, and its own folder in the bucket.
pub struct Stand<'a> {
    server: &'a Server,
    estate: Estate,
    pub proxy: Proxy,
    side: Side,
    root: String,
    truth: BTreeMap<String, Vec<u8>>,
}

impl<'a> Stand<'a> {
    pub fn new(server: &'a Server, case: &Case) -> Self {
        let rule = (case.rule)();
        let proxy = Proxy::harming(&server.endpoint, rule);
        let root = case
            .name
            .replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let mut estate = server.estate();
        estate.set("DOMICILE_SILENCE_SECONDS", "3");
        // What the owner has, apart from any store.
        for at in 0..SMALL {
            estate.write(&format!("truth/small/{at}"), bytes(at as u64, at * 7_001));
        }
        estate.write("truth/large", bytes(99, LARGE));
        let truth = files(&estate.path("truth"));
        let stand = Self {
            server,
            estate,
            proxy,
            side: case.side,
            root,
            truth,
        };
        stand.put_origin();
        stand.write_manifests(case.more);
        stand
    }

    fn remote(&self) -> String {
        self.server.remote(&format!("first/{}/d", self.root))
    }

    fn put_origin(&self) {
        let truth = self.estate.path("truth");
        let truth = truth.to_str().expect("a path in UTF-8");
        let origin = match self.side {
            Side::Target => {
                let origin = self.estate.path("stores/origin/d");
                origin.to_str().expect("a path in UTF-8").to_owned()
            }
            Side::Source => self.remote(),
        };
        assert_eq!(rclone(&["copy", truth, &origin]), Some(true));
    }

    fn write_manifests(&self, policy: &[&str]) {
        let store = format!(
            "{{type: S3, bucket: first, endpoint: \"{}\", region: us-east-1, root: {}}}",
            self.proxy.endpoint, self.root
        );
        let read_only = match self.side {
            Side::Target => "accessMode: ReadWrite",
            Side::Source => "accessMode: ReadOnly",
        };
        let alpha = manifest::backend(
            "alpha",
            "home",
            "DE",
            &store,
            &["credentials: {env: ALPHA}", read_only, &manifest::price("0.01")],
        );
        let (folders, origin): (&[&str], _) = match self.side {
            Side::Target => (&[], "origin"),
            Side::Source => (&["last"], "alpha"),
        };
        let mut lines = vec!["require: [{name: enough, copies: 2}]"];
        lines.extend(policy);
        self.estate.manifests(
            &(manifest::home(folders)
                + &alpha
                + &manifest::dataset("d", "home", origin, &[])
                + &manifest::policy("copies", &lines)),
        );
    }

    pub fn apply(&self) -> Outcome {
        self.estate.run(&["apply", "-f", "manifests", "--yes", "-v"])
    }

    /// What lies at the server, read without the proxy.
    fn at_server(&self) -> BTreeMap<String, Vec<u8>> {
        let seen = tempfile::tempdir().expect("a temporary folder");
        let path = seen.path().to_str().expect("a path in UTF-8");
        assert_eq!(rclone(&["copy", &self.remote(), path]), Some(true));
        files(seen.path())
    }

    fn at_target(&self) -> BTreeMap<String, Vec<u8>> {
        match self.side {
            Side::Target => self.at_server(),
            Side::Source => files(&self.estate.path("stores/last/d")),
        }
    }

    fn target(&self) -> &'static str {
        match self.side {
            Side::Target => "alpha",
            Side::Source => "last",
        }
    }

    /// What is visible is whole, what is recorded as verified is there and whole, and no source is blamed that is right.
    #[track_caller]
    pub fn assert_nothing_damaged(&self, outcome: &Outcome) {
        let visible = self.at_target();
        for (path, content) in &visible {
            let temporary = path
                .rsplit('/')
                .next()
                .is_some_and(|name| name.starts_with(".domicile-"));
            assert!(
                temporary || self.truth.get(path) == Some(content),
                "`{path}` is visible and damaged: {}",
                outcome.all()
            );
        }
        if outcome.code == 0 {
            // Where all is said to be done, the copies say it of all objects at once.
            return self.assert_all_verified(&visible, outcome);
        }
        for key in self.truth.keys() {
            let told = self.estate.run(&["whereis", &format!("d/{key}"), "-o", "json"]);
            if told.code != 0 {
                // Where the first look at the origin failed, nothing is known of the object.
                continue;
            }
            let told = told.json();
            for copy in told["copies"].as_array().expect("copies") {
                let verified = copy["state"] == "Verified";
                if copy["backend"] == self.target() {
                    let there = visible.get(key) == self.truth.get(key);
                    assert!(
                        !verified || there,
                        "`{key}` is recorded as verified and is not: {copy}"
                    );
                } else {
                    assert_ne!(
                        copy["state"],
                        "Damaged",
                        "a whole source is blamed: {copy} {}",
                        outcome.all()
                    );
                }
            }
        }
    }

    #[track_caller]
    fn assert_all_verified(&self, visible: &BTreeMap<String, Vec<u8>>, outcome: &Outcome) {
        assert!(*visible == self.truth, "the copy is whole: {}", outcome.all());
        let whereis = self.estate.run(&["whereis", "d", "-o", "json"]).exits(0).json();
        let copies = whereis["copies"].as_array().expect("copies");
        let states: Vec<_> = copies.iter().map(|copy| &copy["state"]).collect();
        assert!(
            states.len() == 2 && states.iter().all(|state| *state == "Verified"),
            "both copies are verified: {whereis}"
        );
    }

    /// Everything is there, and nothing else.
    #[track_caller]
    pub fn assert_whole(&self, outcome: &Outcome) {
        self.assert_all_verified(&self.at_target(), outcome);
        let listed = self.server.unfinished_uploads("first");
        assert!(
            !listed.contains(&format!("\"{}/", self.root)),
            "uploads are left: {listed} {}",
            outcome.all()
        );
    }
}
