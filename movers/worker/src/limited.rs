//! A store behind its limits: whoever asks it waits for his turn.
//!
//! ```text
//!  worker ──▶ Limited ── pace (bytes, requests per second) ── turn (as many at once as it answers well) ──▶ driver
//! ```

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use domicile_estate::RateLimits;
use domicile_movers::{StoredPart, UploadToken};
use futures::future::BoxFuture;

use crate::fs::FsStore;
use crate::role::Role;
use crate::store::{
    Aim, Attested, Capabilities, Content, Crc64, Doing, Fetch, Fetched, Neighbour, Pages, Part, Probed,
    Proven, Published, Sink, Source, Stat, Store, Unfinished, Upload, Version, Wanted, Whole, size_of_chunks,
};
use crate::turnstile::{Gated, Turnstile};

/// A store that is asked no faster than its limits allow.
pub(crate) struct Limited {
    inner: Arc<dyn Store>,
    turnstile: Arc<Turnstile>,
}

impl fmt::Debug for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Limited {
    pub(crate) fn new(inner: Arc<dyn Store>, limits: RateLimits) -> Self {
        Self {
            inner,
            turnstile: Arc::new(Turnstile::new(limits)),
        }
    }
}

impl Store for Limited {
    /// What the system copies by itself goes by no limit: bytes have to pass through us.
    fn as_folder(&self) -> Option<&FsStore> {
        None
    }
}

impl Source for Limited {
    fn stat<'a>(&'a self, path: &'a str, role: Role) -> Doing<'a, Option<Stat>> {
        Box::pin(self.turnstile.ask(0, self.inner.stat(path, role)))
    }

    fn open<'a>(&'a self, wanted: Wanted<'a>) -> Doing<'a, Box<dyn Content>> {
        Box::pin(async {
            let inner = self.turnstile.ask(0, self.inner.open(wanted)).await?;
            Ok(Gated::boxed(inner, Arc::clone(&self.turnstile)))
        })
    }

    fn attested<'a>(&'a self, path: &'a str) -> Doing<'a, Attested> {
        Box::pin(self.turnstile.ask(0, self.inner.attested(path)))
    }

    fn part_of<'a>(
        &'a self,
        path: &'a str,
        number: u32,
        version: &'a Version,
    ) -> Doing<'a, Option<Range<u64>>> {
        Box::pin(self.turnstile.ask(0, self.inner.part_of(path, number, version)))
    }

    fn neighbour(&self, path: &str) -> Option<Neighbour> {
        self.inner.neighbour(path)
    }

    fn way_is_safe(&self) -> bool {
        self.inner.way_is_safe()
    }

    fn list<'a>(&'a self, prefix: &'a str, skip: &'a [String], pages: &'a Pages) -> Doing<'a, ()> {
        // It waits for whoever takes the pages, so that it must hold nobody's turn.
        self.inner.list(prefix, skip, pages)
    }

    fn is_empty_or_gone(&self) -> Doing<'_, bool> {
        Box::pin(self.turnstile.ask(0, self.inner.is_empty_or_gone()))
    }
}

struct LimitedUpload {
    inner: Box<dyn Upload>,
    turnstile: Arc<Turnstile>,
}

impl LimitedUpload {
    fn boxed(inner: Box<dyn Upload>, turnstile: &Arc<Turnstile>) -> Box<dyn Upload> {
        let turnstile = Arc::clone(turnstile);
        Box::new(Self { inner, turnstile })
    }
}

impl Upload for LimitedUpload {
    fn token(&self) -> Option<&UploadToken> {
        self.inner.token()
    }

    fn put_part<'a>(&'a self, part: &'a Part) -> Doing<'a, Option<StoredPart>> {
        Box::pin(self.turnstile.ask(part.size(), self.inner.put_part(part)))
    }

    /// A request, and no bytes: they do not pass here.
    fn fetch_part<'a>(&'a self, fetch: Fetch<'a>) -> Doing<'a, Fetched> {
        Box::pin(self.turnstile.ask(0, self.inner.fetch_part(fetch)))
    }

    fn parts(&self) -> Doing<'_, Option<Vec<StoredPart>>> {
        Box::pin(self.turnstile.ask(0, self.inner.parts()))
    }

    fn complete<'a>(
        self: Box<Self>,
        parts: &'a [StoredPart],
        checksum: Option<Crc64>,
    ) -> Doing<'a, Published> {
        let Self { inner, turnstile } = *self;
        Box::pin(async move { turnstile.ask(0, inner.complete(parts, checksum)).await })
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.inner.abort()
    }
}

impl Sink for Limited {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn put_whole<'a>(&'a self, aim: Aim<'a>, whole: &'a Whole) -> Doing<'a, Published> {
        let bytes = size_of_chunks(&whole.chunks);
        Box::pin(self.turnstile.ask(bytes, self.inner.put_whole(aim, whole)))
    }

    fn begin<'a>(&'a self, aim: Aim<'a>) -> Doing<'a, Box<dyn Upload>> {
        Box::pin(async move {
            let inner = self.turnstile.ask(0, self.inner.begin(aim)).await?;
            Ok(LimitedUpload::boxed(inner, &self.turnstile))
        })
    }

    fn resume(&self, aim: Aim<'_>, token: &UploadToken) -> Option<Box<dyn Upload>> {
        let inner = self.inner.resume(aim, token)?;
        Some(LimitedUpload::boxed(inner, &self.turnstile))
    }

    fn reaches(&self, from: &Neighbour) -> bool {
        self.inner.reaches(from)
    }

    fn unfinished<'a>(&'a self, prefix: &'a str) -> Doing<'a, Vec<Unfinished>> {
        Box::pin(self.turnstile.ask(0, self.inner.unfinished(prefix)))
    }

    fn delete<'a>(&'a self, path: &'a str, only: Option<&'a Version>, emptied: bool) -> Doing<'a, ()> {
        Box::pin(self.turnstile.ask(0, self.inner.delete(path, only, emptied)))
    }

    fn sweep<'a>(&'a self, prefix: &'a str) -> Doing<'a, u64> {
        Box::pin(self.turnstile.ask(0, self.inner.sweep(prefix)))
    }

    fn proven(&self) -> BoxFuture<'_, Proven> {
        self.inner.proven()
    }

    fn assume(&self, proven: Proven) {
        self.inner.assume(proven);
    }

    fn probe(&self, write: bool, may_be_new: bool) -> Doing<'_, Probed> {
        self.inner.probe(write, may_be_new)
    }
}
