use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use bytes::Bytes;
use domicile_movers::UploadToken;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::*;
use crate::progress::{Cancel, Progress};
use crate::store::{
    Aim, Capabilities, Doing, Pages, Probed, Proven, Published, Sink, Source, Stat, Unfinished, Upload, Whole,
};

const SIZE: u64 = 100;
const CHUNK: u64 = 7;

/// A store of one object, which counts what is read of it and hands out every chunk only when it is asked again.
#[derive(Debug, Default)]
struct Tape {
    opened: AtomicU64,
    read: Arc<AtomicU64>,
}

struct Playing {
    version: Version,
    at: u64,
    end: u64,
    read: Arc<AtomicU64>,
}

fn byte(at: u64) -> u8 {
    (at * 31 % 251) as u8
}

fn whole() -> Vec<u8> {
    (0..SIZE).map(byte).collect()
}

impl Content for Playing {
    fn size(&self) -> u64 {
        SIZE
    }
    fn version(&self) -> &Version {
        &self.version
    }
    fn next(&mut self) -> Doing<'_, Option<Bytes>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let until = (self.at + CHUNK).min(self.end);
            let chunk: Vec<u8> = (self.at..until).map(byte).collect();
            self.at = until;
            self.read.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            Ok((!chunk.is_empty()).then(|| chunk.into()))
        })
    }
}

impl Source for Tape {
    fn stat<'a>(&'a self, _: &'a str, _: Role) -> Doing<'a, Option<Stat>> {
        unreachable!("nobody looks")
    }
    fn open<'a>(&'a self, wanted: Wanted<'a>) -> Doing<'a, Box<dyn Content>> {
        let range = wanted.range.unwrap_or(0..SIZE);
        self.opened.fetch_add(1, Ordering::Relaxed);
        let playing = Playing {
            version: Version("1".to_owned()),
            at: range.start,
            end: range.end,
            read: Arc::clone(&self.read),
        };
        Box::pin(async move { Ok(Box::new(playing) as Box<dyn Content>) })
    }
    fn list<'a>(&'a self, _: &'a str, _: &'a [String], _: &'a Pages) -> Doing<'a, ()> {
        unreachable!("nobody lists")
    }
    fn is_empty_or_gone(&self) -> Doing<'_, bool> {
        unreachable!("nobody asks")
    }
}

impl Sink for Tape {
    fn capabilities(&self) -> Capabilities {
        unreachable!("nothing is written")
    }
    fn put_whole<'a>(&'a self, _: Aim<'a>, _: &'a Whole) -> Doing<'a, Published> {
        unreachable!("nothing is written")
    }
    fn begin<'a>(&'a self, _: Aim<'a>) -> Doing<'a, Box<dyn Upload>> {
        unreachable!("nothing is written")
    }
    fn resume(&self, _: Aim<'_>, _: &UploadToken) -> Option<Box<dyn Upload>> {
        None
    }
    fn unfinished<'a>(&'a self, _: &'a str) -> Doing<'a, Vec<Unfinished>> {
        unreachable!("nothing is written")
    }
    fn delete<'a>(&'a self, _: &'a str, _: Option<&'a Version>, _: bool) -> Doing<'a, ()> {
        unreachable!("nothing is written")
    }
    fn sweep<'a>(&'a self, _: &'a str) -> Doing<'a, u64> {
        unreachable!("nothing is written")
    }
    fn proven(&self) -> BoxFuture<'_, Proven> {
        unreachable!("nothing is written")
    }
    fn probe(&self, _: bool, _: bool) -> Doing<'_, Probed> {
        unreachable!("nothing is written")
    }
}

impl Store for Tape {}

struct Stand {
    tape: Arc<Tape>,
    store: Arc<dyn Store>,
    fan_out: FanOut,
    watch: Watch,
}

fn name(text: &str) -> BackendName {
    BackendName::new(text).unwrap()
}

impl Stand {
    fn new(memory: u64) -> Self {
        let tape = Arc::new(Tape::default());
        Self {
            store: tape.clone(),
            tape,
            fan_out: FanOut::new(memory),
            watch: Watch {
                progress: Arc::new(Progress::default()),
                cancel: Cancel::default(),
                place: domicile_movers::Place {
                    backend: name("tape"),
                    path: "d/o".to_owned(),
                },
            },
        }
    }

    fn expect(&self, target: &str) -> Expected {
        let sources = vec![(name("tape"), "d/".to_owned())];
        self.fan_out.expect(sources, &name(target))
    }

    async fn open(&self, target: &str, path: &str) -> (Box<dyn Content>, Memory) {
        let want = Want {
            from: &self.store,
            source: &name("tape"),
            path,
            range: None,
            version: None,
            bytes: SIZE,
            target: &name(target),
            gate: None,
            link: None,
        };
        self.fan_out.open(want, &self.watch).await.unwrap()
    }

    async fn read(&self, target: &str, path: &str) -> Vec<u8> {
        let (mut content, _memory) = self.open(target, path).await;
        rest(&mut *content).await
    }

    fn counted(&self) -> (u64, u64) {
        let (opened, read) = (&self.tape.opened, &self.tape.read);
        (opened.load(Ordering::Relaxed), read.load(Ordering::Relaxed))
    }
}

async fn rest(content: &mut dyn Content) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = content.next().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    all
}

#[tokio::test]
async fn those_who_are_expected_read_once() {
    let stand = Stand::new(1 << 20);
    let _a = stand.expect("a");
    let _b = stand.expect("b");
    let _c = stand.expect("c");
    let (a, b) = tokio::join!(stand.read("a", "d/o"), stand.read("b", "d/o"));
    assert_eq!((&a, &b), (&whole(), &whole()));
    // One that comes when the others are done finds it all.
    assert_eq!(stand.read("c", "d/o").await, whole());
    assert_eq!(stand.counted(), (1, SIZE));
    // Whoever comes again wants to read anew.
    assert_eq!(stand.read("c", "d/o").await, whole());
    assert_eq!(stand.counted().0, 2);
    assert!(stand.fan_out.state().readings.len() <= 1);
}

#[tokio::test]
async fn one_alone_keeps_nothing() {
    let stand = Stand::new(1 << 20);
    let _a = stand.expect("a");
    assert_eq!(stand.read("a", "d/o").await, whole());
    assert!(stand.fan_out.state().readings.is_empty());
    // Copies of other datasets, and of backends that nobody announced, have nothing to do with it.
    let _b = stand.expect("b");
    assert_eq!(stand.read("c", "d/o").await, whole());
    assert_eq!(stand.read("a", "e/o").await, whole());
    assert!(stand.fan_out.state().readings.is_empty());
}

#[tokio::test]
async fn what_a_reader_leaves_in_the_middle_the_others_read_themselves() {
    for chunks in 0..5 {
        let stand = Stand::new(1 << 20);
        let _a = stand.expect("a");
        let _b = stand.expect("b");
        let (mut first, memory) = stand.open("a", "d/o").await;
        let (mut second, _memory) = stand.open("b", "d/o").await;
        let mut seen = Vec::new();
        for _ in 0..chunks {
            first.next().await.unwrap();
            seen.extend_from_slice(&second.next().await.unwrap().unwrap());
        }
        // It goes away while it waits for the next chunk.
        let mut next = first.next();
        assert!(matches!(futures::poll!(&mut next), Poll::Pending));
        drop(next);
        drop((first, memory));
        seen.extend(rest(&mut *second).await);
        assert_eq!(seen, whole(), "after {chunks} chunks");
        assert_eq!(stand.counted().0, 2);
    }
}

#[tokio::test]
async fn what_waits_too_long_is_given_up() {
    // Room for one object to wait, and for three under way.
    let stand = Stand::new(4 * 512);
    let _a = stand.expect("a");
    let _b = stand.expect("b");
    for path in ["d/1", "d/2", "d/3"] {
        assert_eq!(stand.read("a", path).await, whole());
        assert!(stand.fan_out.state().idle_bytes <= 512);
    }
    assert_eq!(stand.read("b", "d/3").await, whole());
    assert_eq!(stand.counted().0, 3, "the last one waits");
    assert_eq!(stand.read("b", "d/1").await, whole());
    assert_eq!(stand.counted().0, 4, "the first one does not");
}

#[tokio::test]
async fn when_a_copy_ends_nothing_waits_for_it() {
    let stand = Stand::new(1 << 20);
    let _a = stand.expect("a");
    let b = stand.expect("b");
    assert_eq!(stand.read("a", "d/o").await, whole());
    assert!(stand.fan_out.state().idle_bytes > 0);
    drop(b);
    let state = stand.fan_out.state();
    assert!(state.readings.is_empty() && state.idle.is_empty() && state.idle_bytes == 0);
}

#[tokio::test]
async fn users_of_one_reading_share_its_memory() {
    // Room for one object under way.
    let stand = Stand::new(512);
    let _a = stand.expect("a");
    let _b = stand.expect("b");
    let (_first, _memory) = stand.open("a", "d/o").await;
    assert!(
        stand.open("b", "d/o").now_or_never().is_some(),
        "it need not wait"
    );
    assert!(
        stand.open("b", "d/other").now_or_never().is_none(),
        "another must"
    );
}
