use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use domicile_estate::BackendName;
use domicile_movers::UploadToken;
use futures::future::BoxFuture;

use super::*;
use crate::store::{
    Capabilities, Content, Doing, Pages, Parts, Probed, Proven, Sink, Source, Stat, Unfinished, Upload,
    Version,
};

const TEXT: &[u8] = b"what a note says\n";
const TURNED: &[u8] = b"what a note says.";
const OTHERWISE: &[u8] = b"What a note says\n";

/// A store of one note on a bad line: what each reading gives, as long as something is told here, then what is kept.
#[derive(Debug, Default)]
struct BadLine {
    gives: Mutex<VecDeque<&'static [u8]>>,
    kept: Mutex<Option<Bytes>>,
}

struct Given {
    size: u64,
    bytes: Option<Bytes>,
    version: Version,
}

impl Content for Given {
    fn size(&self) -> u64 {
        self.size
    }
    fn version(&self) -> &Version {
        &self.version
    }
    fn next(&mut self) -> Doing<'_, Option<Bytes>> {
        Box::pin(std::future::ready(Ok(self.bytes.take())))
    }
}

impl BadLine {
    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Bytes>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for BadLine {
    fn stat<'a>(&'a self, _: &'a str, _: Role) -> Doing<'a, Option<Stat>> {
        unreachable!("nobody looks")
    }
    fn open<'a>(&'a self, _: Wanted<'a>) -> Doing<'a, Box<dyn Content>> {
        let mut gives = self.gives.lock().unwrap_or_else(PoisonError::into_inner);
        let given = gives.pop_front().map(Bytes::from_static);
        let bytes = given.or_else(|| self.kept().clone()).unwrap();
        let content = Given {
            size: bytes.len() as u64,
            bytes: Some(bytes),
            version: Version(String::new()),
        };
        Box::pin(async move { Ok(Box::new(content) as Box<dyn Content>) })
    }
    fn list<'a>(&'a self, _: &'a str, _: &'a [String], _: &'a Pages) -> Doing<'a, ()> {
        unreachable!("nobody lists")
    }
    fn is_empty_or_gone(&self) -> Doing<'_, bool> {
        unreachable!("nobody asks")
    }
}

impl Sink for BadLine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            parts: Parts::Never,
            whole_max: 1024,
            trims_paths: false,
            makes_root: false,
            looks_cheaply: false,
            shows_staged: false,
        }
    }
    fn put_whole<'a>(&'a self, _: Aim<'a>, whole: &'a Whole) -> Doing<'a, Published> {
        *self.kept() = whole.chunks.first().cloned();
        Box::pin(async { Ok(Published::DONE) })
    }
    fn begin<'a>(&'a self, _: Aim<'a>) -> Doing<'a, Box<dyn Upload>> {
        unreachable!("a note is put whole")
    }
    fn resume(&self, _: Aim<'_>, _: &UploadToken) -> Option<Box<dyn Upload>> {
        None
    }
    fn unfinished<'a>(&'a self, _: &'a str) -> Doing<'a, Vec<Unfinished>> {
        unreachable!("a note is put whole")
    }
    fn delete<'a>(&'a self, _: &'a str, _: Option<&'a Version>, _: bool) -> Doing<'a, ()> {
        *self.kept() = None;
        Box::pin(async { Ok(()) })
    }
    fn sweep<'a>(&'a self, _: &'a str) -> Doing<'a, u64> {
        unreachable!("nothing is swept")
    }
    fn proven(&self) -> BoxFuture<'_, Proven> {
        Box::pin(async { Proven::default() })
    }
    fn probe(&self, _: bool, _: bool) -> Doing<'_, Probed> {
        unreachable!("nobody tries it out")
    }
}

impl Store for BadLine {}

/// Puts the note on a line that gives these readings; whether that went well, and whether the note is there then.
async fn put_on(gives: &[&'static [u8]]) -> (bool, bool) {
    let store = BadLine::default();
    store.gives.lock().unwrap().extend(gives);
    let place = Place {
        backend: BackendName::new("store").unwrap(),
        path: "note".to_owned(),
    };
    let done = put(&store, &place, &Bytes::from_static(TEXT)).await;
    if let Err(failure) = &done {
        assert_eq!(failure.class, FailureClass::Transient, "{failure}");
    }
    let is_there = store.kept().as_deref() == Some(TEXT);
    (done.is_ok(), is_there)
}

#[tokio::test]
async fn a_bit_that_turns_on_the_way_back_removes_no_note() {
    assert_eq!(put_on(&[]).await, (true, true));
    assert_eq!(put_on(&[TURNED]).await, (true, true));
    // Nobody knows what lies there: it stays, and is put once more.
    assert_eq!(put_on(&[TURNED, OTHERWISE]).await, (false, true));
    // Two readings that agree say that it turned where it lies.
    assert_eq!(put_on(&[TURNED, TURNED]).await, (false, false));
}
