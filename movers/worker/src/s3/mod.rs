//! S3 by its own protocol: what a general library hides is needed here (the ids of uploads, the parts that lie there, the
//! checksums that the store computes), and what it costs per object matters.
//!
//! ```text
//!  read, write, uploads, list ──▶ ask (sign, send, try again) ──▶ http (kept connections)
//!                                   └ failure: what an answer means
//! ```

mod ask;
mod copy;
mod encoding;
mod failure;
mod keys;
mod list;
mod open;
mod read;
mod sign;
mod uploads;
mod write;
mod xml;

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, OnceLock};

use domicile_estate::BackendName;
use domicile_movers::UploadToken;
use domicile_movers::tree::PART_MIN;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use crate::http1::Http;
use crate::redact::Redactor;
use crate::role::Role;
use crate::store::{
    Aim, Attested, Capabilities, Content, Doing, Neighbour, Pages, Parts, Probed, Proven, Published, Sink,
    Source, Stat, Store, Unfinished, Upload, Version, Wanted, Whole, empty_or_gone,
};

pub(crate) use keys::encode;
pub(crate) use open::open;
pub(crate) use xml::Element;

/// Parts of one object under way at once.
const PARTS_AT_ONCE: usize = 4;

/// One bucket, or what lies below a prefix in it. Cloning shares the connections.
#[derive(Clone)]
pub(crate) struct S3Store {
    backend: BackendName,
    http: Http,
    /// `None` where no credentials are given.
    signer: Option<Arc<sign::Signer>>,
    redactor: Redactor,
    /// `https` or `http`, and the host with its port.
    endpoint: Endpoint,
    bucket: String,
    /// Empty, or ends with `/`.
    root: String,
    /// What was learnt of the store.
    learnt: Arc<Learnt>,
}

#[derive(Debug, Clone)]
struct Endpoint {
    scheme: http::uri::Scheme,
    authority: http::uri::Authority,
    /// A path that the endpoint itself has, without a `/` at its end.
    path: String,
}

#[derive(Debug, Default)]
struct Learnt {
    /// Seconds that the store's clock is before ours.
    clock_ahead_s: AtomicI64,
    /// Whether it has refused our checksums altogether.
    refuses_checksums: AtomicBool,
    /// Whether it encodes the keys of listings where it says so.
    encodes: OnceLock<bool>,
    /// Whether it has said that it copies nothing by itself.
    copies_nothing: AtomicBool,
    /// Whether its bucket has been seen: a HEAD cannot tell a missing object from a missing bucket.
    bucket_seen: AtomicBool,
    /// What it has shown when it was tried out.
    proven: OnceCell<Proven>,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Store({}, bucket `{}`)", self.backend, self.bucket)
    }
}

impl Store for S3Store {}

impl Source for S3Store {
    fn stat<'a>(&'a self, path: &'a str, role: Role) -> Doing<'a, Option<Stat>> {
        Box::pin(self.head(path, role))
    }

    fn open<'a>(&'a self, wanted: Wanted<'a>) -> Doing<'a, Box<dyn Content>> {
        Box::pin(async move {
            let content = self.get(wanted).await?;
            Ok(Box::new(content) as Box<dyn Content>)
        })
    }

    fn attested<'a>(&'a self, path: &'a str) -> Doing<'a, Attested> {
        Box::pin(self.attested_by_head(path))
    }

    fn part_of<'a>(
        &'a self,
        path: &'a str,
        number: u32,
        version: &'a Version,
    ) -> Doing<'a, Option<Range<u64>>> {
        Box::pin(self.part_by_head(path, number, version))
    }

    fn neighbour(&self, path: &str) -> Option<Neighbour> {
        Some(self.as_neighbour(path))
    }

    fn way_is_safe(&self) -> bool {
        self.endpoint.scheme == ::http::uri::Scheme::HTTPS
    }

    fn list<'a>(&'a self, prefix: &'a str, skip: &'a [String], pages: &'a Pages) -> Doing<'a, ()> {
        Box::pin(self.list_objects(prefix, skip, pages))
    }

    fn is_empty_or_gone(&self) -> Doing<'_, bool> {
        Box::pin(async move { empty_or_gone(self.holds_something().await) })
    }
}

impl Sink for S3Store {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            parts: Parts::AnyOrder(PARTS_AT_ONCE),
            whole_max: PART_MIN,
            trims_paths: false,
            makes_root: false,
            looks_cheaply: false,
            shows_staged: false,
        }
    }

    fn put_whole<'a>(&'a self, aim: Aim<'a>, whole: &'a Whole) -> Doing<'a, Published> {
        Box::pin(self.put(aim, whole))
    }

    fn begin<'a>(&'a self, aim: Aim<'a>) -> Doing<'a, Box<dyn Upload>> {
        Box::pin(self.begin_upload(aim))
    }

    fn resume(&self, aim: Aim<'_>, token: &UploadToken) -> Option<Box<dyn Upload>> {
        Some(Box::new(uploads::S3Upload::new(self, aim, token.clone())))
    }

    fn reaches(&self, from: &Neighbour) -> bool {
        self.copies_from(from)
    }

    fn unfinished<'a>(&'a self, prefix: &'a str) -> Doing<'a, Vec<Unfinished>> {
        Box::pin(self.list_uploads(prefix))
    }

    fn delete<'a>(&'a self, path: &'a str, only: Option<&'a Version>, _: bool) -> Doing<'a, ()> {
        Box::pin(self.remove(path, only))
    }

    /// What is unfinished here can be gone on with.
    fn sweep<'a>(&'a self, _: &'a str) -> Doing<'a, u64> {
        Box::pin(async { Ok(0) })
    }

    fn proven(&self) -> BoxFuture<'_, Proven> {
        Box::pin(async move { Proven::by_trying(self.try_out().await) })
    }

    fn assume(&self, proven: Proven) {
        // What this process has seen itself holds.
        let _ = self.learnt.proven.set(proven);
    }

    fn probe(&self, write: bool, _: bool) -> Doing<'_, Probed> {
        Box::pin(async move {
            let holds_something = self.holds_something().await?;
            let mut proven = Proven::default();
            if write {
                self.probe_write().await?;
                proven = self.try_out().await?;
            }
            Ok(Probed {
                holds_something,
                wrote: write,
                proven,
            })
        })
    }
}
