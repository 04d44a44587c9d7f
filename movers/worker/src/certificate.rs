//! What a store shows when it is tried out: each line is something that was done and looked at, not something declared.
//!
//! All is done under names of our own at the root, which no object can have, and removed afterwards.

use std::time::Instant;

use bytes::Bytes;
use domicile_estate::{BackendName, TEMPORARY_PREFIX};
use domicile_movers::{Failure, FailureClass, Publication};

use crate::proof::by_chance;
use crate::role::Role;
use crate::store::{Aim, Proven, Published, Store, Wanted, Whole};
use crate::worker::Worker;

/// Rounds of two writers of one name.
const RACES: usize = 3;
/// Bytes of an object that is begun and given up: large enough to come in parts.
const LARGE: u64 = 64 * 1024 * 1024;
/// Characters that some stores trim, fold or cut off at.
const ODD: &str = " a?b#c%20;é+&'\"*~.x";

/// What a store has shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Certificate {
    /// It refuses bytes that do not match the checksum sent with them, and tells the checksum of what it holds.
    pub checksums: bool,
    /// It does not put an object where one is, if it is told so.
    pub refuses_to_overwrite: bool,
    /// Told to remove an object in one state, it leaves one in another where it is, in the same request.
    pub deletes_conditionally: bool,
    /// Of two who write one name at once, one wins and the other is told.
    pub one_writer_wins: bool,
    /// An object of ours can be put in the place of another.
    pub replaces: bool,
    /// It keeps objects of no bytes.
    pub keeps_empty: bool,
    /// It gives a range of an object.
    pub reads_ranges: bool,
    /// It keeps names with blanks, `%`, `?`, `#`, `;` and other letters as they are.
    pub keeps_odd_names: bool,
    /// Another process can go on in the middle of a large object.
    pub goes_on: bool,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

impl Worker {
    /// Tries a store out by writing small objects, and tells what it has shown. It leaves nothing there.
    ///
    /// # Errors
    /// What hinders writing, reading or removing at all; what a store cannot do is no error.
    pub async fn certify(&self, backend: &BackendName) -> Result<Certificate, Failure> {
        let begun = Instant::now();
        let store = self.store(backend)?;
        let trial = Trial {
            store: &*store,
            root: format!("{TEMPORARY_PREFIX}probe-{:016x}", by_chance()),
        };
        let mut certificate = trial.run().await?;
        certificate.took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(certificate)
    }

    /// Takes what a store has shown of late for shown, so that not every process has to try it out. For a worker that has
    /// not used the store yet.
    pub fn rely_on(&self, backend: &BackendName, certificate: &Certificate) {
        let proven = Proven {
            checksums: certificate.checksums,
            refuses_to_overwrite: certificate.refuses_to_overwrite,
            deletes_conditionally: certificate.deletes_conditionally,
        };
        self.assume(backend, proven);
    }
}

struct Trial<'a> {
    store: &'a dyn Store,
    /// What each name begins with.
    root: String,
}

impl Trial<'_> {
    async fn run(&self) -> Result<Certificate, Failure> {
        let proven = self.store.proven().await;
        let tried = self.try_all(proven).await;
        let mut names = vec![
            "a".to_owned(),
            "empty".to_owned(),
            ODD.to_owned(),
            "begun".to_owned(),
        ];
        names.extend((0..RACES).map(|race| format!("race-{race}")));
        for name in names {
            // A name that it cannot hold has nothing to be removed; whatever else hinders is told.
            match self.store.delete(&self.path(&name), None, false).await {
                Err(failure) if failure.class != FailureClass::KeyRefused && tried.is_ok() => {
                    return Err(failure);
                }
                _ => {}
            }
        }
        tried
    }

    fn path(&self, name: &str) -> String {
        format!("{}-{name}", self.root)
    }

    async fn try_all(&self, proven: Proven) -> Result<Certificate, Failure> {
        let (old, new) = (bytes(1), bytes(2));
        let written = self.put("a", &old, Publication::New).await?;
        let again = self.put("a", &new, Publication::New).await?;
        let kept = self.reads("a", None, &old).await?;
        let there = if kept { &old } else { &new };
        let range = self.reads("a", Some(7..40), &there[7..40]).await?;
        let replaced = self.put("a", &new, Publication::Replace).await?;
        Ok(Certificate {
            checksums: proven.checksums,
            refuses_to_overwrite: written && !again && kept && proven.refuses_to_overwrite,
            deletes_conditionally: proven.deletes_conditionally,
            one_writer_wins: self.one_writer_wins().await?,
            replaces: replaced && self.reads("a", None, &new).await?,
            keeps_empty: self.put("empty", &[], Publication::New).await?
                && self.size("empty").await? == Some(0),
            reads_ranges: range,
            keeps_odd_names: self.keeps_odd_names(&old).await?,
            goes_on: self.goes_on().await?,
            took_ms: 0,
        })
    }

    /// Whether it was put; something else may lie there.
    async fn put(&self, name: &str, bytes: &[u8], how: Publication) -> Result<bool, Failure> {
        let path = self.path(name);
        let whole = Whole::of(Bytes::copy_from_slice(bytes));
        let aim = Aim {
            path: &path,
            size: bytes.len() as u64,
            how,
            replaces: None,
            tag: "",
            may_create_root: false,
        };
        let published = self.store.put_whole(aim, &whole).await?;
        Ok(matches!(published, Published::Done { .. }))
    }

    async fn size(&self, name: &str) -> Result<Option<u64>, Failure> {
        let found = self.store.stat(&self.path(name), Role::Target).await?;
        Ok(found.map(|found| found.size))
    }

    async fn reads(
        &self,
        name: &str,
        range: Option<std::ops::Range<u64>>,
        expected: &[u8],
    ) -> Result<bool, Failure> {
        let path = self.path(name);
        let wanted = Wanted {
            range,
            ..Wanted::whole(&path, Role::Target)
        };
        let mut content = self.store.open(wanted).await?;
        let mut back = Vec::new();
        while let Some(bytes) = content.next().await? {
            back.extend_from_slice(&bytes);
        }
        Ok(back == expected)
    }

    async fn one_writer_wins(&self) -> Result<bool, Failure> {
        for race in 0..RACES {
            let name = format!("race-{race}");
            let (one, other) = (bytes(10), bytes(11));
            let (first, second) = tokio::join!(
                self.put(&name, &one, Publication::New),
                self.put(&name, &other, Publication::New)
            );
            let won = match (first, second) {
                (Ok(true), Ok(false)) => &one,
                (Ok(false), Ok(true)) => &other,
                // Told that another one is at it: that one has won.
                (Ok(true), Err(failure)) if failure.is_transient() => &one,
                (Err(failure), Ok(true)) if failure.is_transient() => &other,
                (Err(failure), _) | (_, Err(failure)) if !failure.is_transient() => return Err(failure),
                _ => return Ok(false),
            };
            if !self.reads(&name, None, won).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn keeps_odd_names(&self, content: &[u8]) -> Result<bool, Failure> {
        let put = match self.put(ODD, content, Publication::New).await {
            Err(failure) if failure.class == FailureClass::KeyRefused => return Ok(false),
            other => other?,
        };
        Ok(put && self.size(ODD).await? == Some(content.len() as u64))
    }

    /// Whether an upload that was begun can be seen and taken up by somebody else.
    async fn goes_on(&self) -> Result<bool, Failure> {
        let path = self.path("begun");
        let aim = Aim {
            size: LARGE.max(self.store.resumes_from()),
            ..Aim::nowhere(&path)
        };
        let upload = self.store.begin(aim).await?;
        let Some(token) = upload.token().cloned() else {
            upload.abort().await;
            return Ok(false);
        };
        let unfinished = self.store.unfinished(&path).await;
        let parts = match self.store.resume(aim, &token) {
            Some(again) => again.parts().await,
            None => Ok(None),
        };
        upload.abort().await;
        let seen = unfinished?.iter().any(|found| found.token == token);
        Ok(seen && parts?.is_some())
    }
}

/// Bytes that no store can make up, different for each seed.
fn bytes(seed: u8) -> Vec<u8> {
    (0..64_u8)
        .map(|at| at.wrapping_mul(37).wrapping_add(seed))
        .collect()
}
