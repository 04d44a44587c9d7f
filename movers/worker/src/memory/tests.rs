//! What is held of objects at any time stays within the memory, also on stores that take objects only whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use domicile_estate::{
    AccessMode, Backend, BackendName, DatasetName, DomainName, Energy, Location, ObjectKey, Price,
    RateLimits, StoreKind, Verify, country,
};
use domicile_movers::{TargetRecorded, TransferSpec, UploadToken};
use futures::future::BoxFuture;

use super::*;
use crate::progress::{Cancel, Progress};
use crate::role::Role;
use crate::store::{
    Aim, Capabilities, Content, Doing, Pages, Parts, Probed, Proven, Published, Sink, Source, Stat, Store,
    Unfinished, Upload, Version, Wanted, Whole, size_of_chunks,
};
use crate::stores::Stores;
use crate::worker::{Limits, Worker};

const MIB: u64 = 1024 * 1024;
const PIECE: u64 = 256 * 1024;

/// Bytes of objects that are alive, now and at most.
#[derive(Debug, Default)]
struct Alive {
    now: AtomicU64,
    most: AtomicU64,
}

struct Counted(Vec<u8>, Arc<Alive>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.now.fetch_sub(self.0.len() as u64, Ordering::SeqCst);
    }
}

impl Alive {
    fn bytes(self: &Arc<Self>, byte: u8, size: u64) -> Bytes {
        let now = self.now.fetch_add(size, Ordering::SeqCst) + size;
        self.most.fetch_max(now, Ordering::SeqCst);
        let bytes = vec![byte; usize::try_from(size).unwrap()];
        Bytes::from_owner(Counted(bytes, Arc::clone(self)))
    }
}

/// A store that takes objects only whole, as some behind WebDAV do. What lies there is told by the sizes alone.
#[derive(Debug)]
struct Hoard {
    alive: Arc<Alive>,
    sizes: BTreeMap<String, u64>,
    put: Mutex<BTreeSet<String>>,
    /// Milliseconds that it takes to put an object.
    slow_ms: u64,
}

struct Piled {
    alive: Arc<Alive>,
    version: Version,
    size: u64,
    left: u64,
}

impl Content for Piled {
    fn size(&self) -> u64 {
        self.size
    }
    fn version(&self) -> &Version {
        &self.version
    }
    fn next(&mut self) -> Doing<'_, Option<Bytes>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let piece = self.left.min(PIECE);
            self.left -= piece;
            Ok((piece > 0).then(|| self.alive.bytes(7, piece)))
        })
    }
}

impl Hoard {
    fn has_put(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.put.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Hoard {
    fn stat<'a>(&'a self, path: &'a str, _: Role) -> Doing<'a, Option<Stat>> {
        assert!(!self.has_put().contains(path), "nobody looks at what is there");
        Box::pin(async { Ok(None) })
    }
    fn open<'a>(&'a self, wanted: Wanted<'a>) -> Doing<'a, Box<dyn Content>> {
        let size = self.sizes[wanted.path];
        let piled = Piled {
            alive: Arc::clone(&self.alive),
            version: Version(String::new()),
            size,
            left: size,
        };
        Box::pin(async move { Ok(Box::new(piled) as Box<dyn Content>) })
    }
    fn list<'a>(&'a self, _: &'a str, _: &'a [String], _: &'a Pages) -> Doing<'a, ()> {
        unreachable!("nobody lists")
    }
    fn is_empty_or_gone(&self) -> Doing<'_, bool> {
        unreachable!("nobody asks")
    }
}

impl Sink for Hoard {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            parts: Parts::Never,
            whole_max: PIECE,
            trims_paths: false,
            makes_root: false,
            looks_cheaply: false,
            shows_staged: false,
        }
    }
    fn put_whole<'a>(&'a self, aim: Aim<'a>, whole: &'a Whole) -> Doing<'a, Published> {
        Box::pin(async move {
            tokio::time::sleep(std::time::Duration::from_millis(self.slow_ms)).await;
            assert_eq!(size_of_chunks(&whole.chunks), self.sizes[aim.path]);
            self.has_put().insert(aim.path.to_owned());
            Ok(Published::DONE)
        })
    }
    fn begin<'a>(&'a self, _: Aim<'a>) -> Doing<'a, Box<dyn Upload>> {
        unreachable!("it takes no parts")
    }
    fn resume(&self, _: Aim<'_>, _: &UploadToken) -> Option<Box<dyn Upload>> {
        None
    }
    fn unfinished<'a>(&'a self, _: &'a str) -> Doing<'a, Vec<Unfinished>> {
        unreachable!("it takes no parts")
    }
    fn delete<'a>(&'a self, _: &'a str, _: Option<&'a Version>, _: bool) -> Doing<'a, ()> {
        unreachable!("nothing is removed")
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

impl Store for Hoard {}

fn name(text: &str) -> BackendName {
    BackendName::new(text).unwrap()
}

fn backend(text: &str) -> Backend {
    Backend {
        name: name(text),
        labels: BTreeMap::new(),
        domain: DomainName::new("d").unwrap(),
        location: Location::default(),
        operator_country: country("DE").unwrap(),
        store: domicile_estate::Store {
            kind: StoreKind::Memory,
            options: BTreeMap::new(),
        },
        credentials: None,
        capacity: ByteCount(1 << 40),
        access_mode: AccessMode::ReadWrite,
        cordoned: false,
        drain: false,
        relay: false,
        limits: RateLimits::default(),
        price: Price::default(),
        energy: Energy {
            grid_grams_per_kwh: 0.0,
            grid_source: String::new(),
            watt_hours_per_tb_hour: 0.0,
            pue: 1.0,
            physical_copies: 1.0,
        },
        nines: None,
    }
}

/// Copies objects of these sizes from one such store to two others, one of them slow, all at once.
async fn copy(memory_bytes: u64, sizes: &[u64]) -> (Vec<Result<(), Failure>>, u64) {
    let alive = Arc::new(Alive::default());
    let path = |at: usize| format!("d/{at}");
    let sizes: BTreeMap<String, u64> = sizes
        .iter()
        .enumerate()
        .map(|(at, size)| (path(at), *size))
        .collect();
    let hoard = |text: &str, slow_ms| {
        let hoard = Hoard {
            alive: Arc::clone(&alive),
            sizes: sizes.clone(),
            put: Mutex::default(),
            slow_ms,
        };
        (backend(text), Arc::new(hoard) as Arc<dyn Store>)
    };
    let stores = Stores::of(vec![hoard("from", 0), hoard("a", 1), hoard("b", 20)]);
    let limits = Limits {
        memory_bytes,
        ..Limits::default()
    };
    let worker = Worker::new(stores, limits);
    let expected = ["a", "b"].map(|to| worker.expect_copy(vec![(name("from"), "d/".to_owned())], &name(to)));
    let (progress, cancel) = (Arc::new(Progress::new()), Cancel::new());
    let place = |backend: &str, path: &String| Place {
        backend: name(backend),
        path: path.clone(),
    };
    let spec = |to: &str, (path, size): (&String, &u64)| TransferSpec {
        dataset: DatasetName::new("d").unwrap(),
        key: ObjectKey::new(path.trim_start_matches("d/")).unwrap(),
        size: ByteCount(*size),
        // Nobody has read it before: it is read a second time, while the first one is held.
        sha256: None,
        blake3: None,
        source: place("from", path),
        alternatives: Vec::new(),
        target: place(to, path),
        target_recorded: TargetRecorded::Nothing,
        allow_create_root: false,
        verify: Verify::Full,
    };
    let specs: Vec<_> = ["a", "b"]
        .iter()
        .flat_map(|to| sizes.iter().map(|object| spec(to, object)))
        .collect();
    let transfers = specs.iter().map(|spec| worker.transfer(spec, &progress, &cancel));
    let results = futures::future::join_all(transfers).await;
    drop(expected);
    let results = results.into_iter().map(|result| result.map(drop));
    (results.collect(), alive.most.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_held_never_exceeds_the_memory() {
    let sizes: Vec<u64> = (0..60).map(|at| (at * 397 % 3000) * 1024 + 1).collect();
    for memory in [16 * MIB, 24 * MIB] {
        let (results, most) = copy(memory, &sizes).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert!(most <= memory, "{} KiB of {}", most / 1024, memory / 1024);
        assert!(most > memory / 3, "{} KiB: it is hardly used", most / 1024);
    }
}

#[tokio::test]
async fn what_can_never_be_held_is_refused_with_the_reason_and_hinders_nobody() {
    let (results, most) = copy(16 * MIB, &[MIB, 11 * MIB, 11 * MIB + 1, MIB]).await;
    for (at, result) in results.iter().enumerate() {
        let Err(failure) = result else {
            assert_ne!(at % 4, 2, "it is larger than what one object may take");
            continue;
        };
        assert_eq!((at % 4, failure.class), (2, FailureClass::TargetDenied));
        let text = failure.to_string();
        assert!(
            text.contains("there is room for 11.0 MiB: `--memory 18Mi` is enough"),
            "{text}"
        );
    }
    assert!(most <= 16 * MIB);
    let (results, _) = copy(18 * MIB, &[11 * MIB + 1]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}
