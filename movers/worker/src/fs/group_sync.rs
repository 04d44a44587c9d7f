//! Making files and folders durable, many at the price of one.
//!
//! A file must be synced before it gets its name, and its folder afterwards, or a power cut may undo it. Ten thousand small
//! objects would each wait for two syncs of their own; so those who come while a round is under way share the next one, as
//! databases share the commit of a log.
//!
//! ```text
//!  who asks ──▶ waiting ──▶ a round: few: each by itself, a folder once for all who changed it
//!                  ▲                 many: their file system as a whole
//!                  └── what they do next (rename, then ask for the folder) is done by the threads that sync
//! ```
//! Where many wait, one `syncfs` takes the place of all (Linux, syncfs(2)): whatever was written before it is durable after
//! it. It flushes what others write there too, so it is left alone for a while where it takes longer than what it replaces.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;

use super::sync_pace::SyncPace;
use crate::threads::beside;

/// From so many on, their file system is synced as a whole.
const MANY: usize = 8;
/// Threads that sync one each at once.
const AT_ONCE: usize = 32;
/// The thread that syncs waits so long for more before it ends.
const LINGER: Duration = Duration::from_millis(200);

/// What is to be synced.
pub(super) type Handle = Arc<dyn AsFd + Send + Sync>;
/// What is done when that is done, on the thread that syncs: it must not block for long.
pub(super) type Then = Box<dyn FnOnce(Result<(), Errno>) + Send>;

/// When a handle was opened, among all handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Opened(u64);

impl Opened {
    /// To be drawn after the handle was opened and before anything is written that it is to vouch for: an error of the
    /// file system is told to every handle that was open when it befell.
    pub(super) fn now() -> Self {
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        Self(DRAWN.fetch_add(1, Ordering::SeqCst))
    }
}

struct Waiting {
    handle: Handle,
    /// `None` if it has to be synced by itself.
    opened: Option<Opened>,
    then: Then,
}

impl Waiting {
    /// Tells what came of it. The handle is closed before: whoever hears of it may want the lock that it holds.
    fn tell(self, result: Result<(), Errno>) {
        let Self { handle, then, .. } = self;
        drop(handle);
        then(result);
    }
}

/// The calls of the system; tests have others.
trait Calls: Send + Sync {
    fn fsync(&self, handle: BorrowedFd<'_>) -> Result<(), Errno>;
    fn syncfs(&self, handle: BorrowedFd<'_>) -> Result<(), Errno>;
    /// Whether `syncfs` is known to do what is promised here, and to tell errors.
    fn syncs_whole(&self, handle: BorrowedFd<'_>) -> bool;
}

struct System;

impl Calls for System {
    fn fsync(&self, handle: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::fs::fsync(handle)
    }

    fn syncfs(&self, handle: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::fs::syncfs(handle)?;
        // An ext4 without a journal flushes the disk's own cache before the last of its tables are written, so once more.
        rustix::fs::fsync(handle)
    }

    fn syncs_whole(&self, handle: BorrowedFd<'_>) -> bool {
        /// ext2 to ext4, XFS, Btrfs, F2FS (statfs(2)). Of others, some do not pass it on to where the bytes lie.
        const KNOWN: [u64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010];
        let kind = rustix::fs::fstatfs(handle).map(|stat| stat.f_type);
        let known = kind.is_ok_and(|kind| u64::try_from(kind).is_ok_and(|kind| KNOWN.contains(&kind)));
        known && syncfs_tells_errors()
    }
}

/// Since Linux 5.8 (syncfs(2)).
fn syncfs_tells_errors() -> bool {
    static TELLS: OnceLock<bool> = OnceLock::new();
    *TELLS.get_or_init(|| {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release
            .split(|c: char| !c.is_ascii_digit())
            .map(str::parse::<u32>);
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        (next(), next()) >= (5, 8)
    })
}

/// The syncs of one store; clones share them.
#[derive(Clone)]
pub(super) struct GroupSync(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    come: Condvar,
    calls: Box<dyn Calls>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Whether a thread syncs, and whether it has nothing to do at the moment.
    led: bool,
    idle: bool,
    pace: SyncPace,
}

impl fmt::Debug for GroupSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupSync").finish_non_exhaustive()
    }
}

impl Default for GroupSync {
    fn default() -> Self {
        Self::with(Box::new(System))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl GroupSync {
    fn with(calls: Box<dyn Calls>) -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::default(),
            come: Condvar::new(),
            calls,
        }))
    }

    /// Syncs a handle together with others, in a round that begins after this call.
    pub(super) fn ask(&self, handle: Handle, opened: Option<Opened>, then: Then) {
        let mut queue = lock(&self.0.queue);
        queue.waiting.push(Waiting { handle, opened, then });
        if queue.led {
            if queue.idle {
                self.0.come.notify_one();
            }
            return;
        }
        queue.led = true;
        drop(queue);
        let shared = self.0.clone();
        let led = std::thread::Builder::new()
            .name("sync".to_owned())
            .spawn(move || shared.lead(LINGER));
        if led.is_err() {
            // No thread is to be had: then it is done here.
            self.0.lead(Duration::ZERO);
        }
    }

    /// Returns once a sync of the handle that began after this call has ended.
    pub(super) fn sync(&self, handle: impl AsFd) -> Result<(), Errno> {
        let handle = handle.as_fd().try_clone_to_owned();
        let handle = handle.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::MFILE))?;
        let (told, heard) = std::sync::mpsc::sync_channel(1);
        let then = Box::new(move |result| {
            // Whoever asked waits below.
            let _ = told.send(result);
        });
        self.ask(Arc::new(handle), None, then);
        heard.recv().unwrap_or(Err(Errno::AGAIN))
    }
}

impl Shared {
    fn lead(self: &Arc<Self>, linger: Duration) {
        let mut queue = lock(&self.queue);
        loop {
            if queue.waiting.is_empty() {
                queue.idle = true;
                let woken = self.come.wait_timeout(queue, linger);
                queue = woken.unwrap_or_else(PoisonError::into_inner).0;
                queue.idle = false;
                if queue.waiting.is_empty() {
                    queue.led = false;
                    return;
                }
            }
            let waiting = std::mem::take(&mut queue.waiting);
            let mut pace = std::mem::take(&mut queue.pace);
            drop(queue);
            self.round(waiting, &mut pace);
            queue = lock(&self.queue);
            queue.pace = pace;
        }
    }

    fn round(self: &Arc<Self>, waiting: Vec<Waiting>, pace: &mut SyncPace) {
        let mut devices: BTreeMap<u64, Vec<(u64, Waiting)>> = BTreeMap::new();
        for waiting in waiting {
            match rustix::fs::fstat(&waiting.handle) {
                Ok(stat) => devices
                    .entry(stat.st_dev)
                    .or_default()
                    .push((stat.st_ino, waiting)),
                Err(errno) => waiting.tell(Err(errno)),
            }
        }
        for group in devices.into_values() {
            let (together, alone): (Vec<_>, Vec<_>) = group
                .into_iter()
                .partition(|(_, waiting)| waiting.opened.is_some());
            let whole = self.sync_whole(&together, pace);
            if whole {
                together.into_iter().for_each(|(_, waiting)| waiting.tell(Ok(())));
                self.sync_each(alone);
                continue;
            }
            let (began, waited) = (Instant::now(), together.len());
            self.sync_each(together.into_iter().chain(alone).collect());
            if waited >= MANY {
                pace.took_each(began.elapsed(), waited);
            }
        }
    }

    /// Syncs a whole file system, if that pays; `false` if everybody has to see to himself.
    fn sync_whole(&self, waiting: &[(u64, Waiting)], pace: &mut SyncPace) -> bool {
        // The handle that was opened first hears of every error that befell what any of them has written.
        let first = waiting
            .iter()
            .map(|(_, waiting)| waiting)
            .min_by_key(|waiting| waiting.opened);
        let Some(first) = first.filter(|_| waiting.len() >= MANY) else {
            return false;
        };
        let handle = first.handle.as_fd();
        if !self.calls.syncs_whole(handle) || !pace.allows_whole() {
            return false;
        }
        let began = Instant::now();
        let synced = self.calls.syncfs(handle);
        pace.took_whole(began.elapsed(), waiting.len());
        synced.is_ok()
    }

    /// Syncs each by itself, and what several have changed once for all of them.
    fn sync_each(self: &Arc<Self>, waiting: Vec<(u64, Waiting)>) {
        let mut inodes: BTreeMap<u64, Vec<Waiting>> = BTreeMap::new();
        for (inode, waiting) in waiting {
            inodes.entry(inode).or_default().push(waiting);
        }
        let mut inodes: Vec<_> = inodes.into_values().collect();
        let for_each_thread = inodes.len().div_ceil(AT_ONCE);
        let (held, ended) = channel::<()>();
        // A disk does many at once, and the last share is ours. What no thread is to be had for is dropped, and whoever
        // asked for it tries again.
        while inodes.len() > for_each_thread {
            let share = inodes.split_off(inodes.len() - for_each_thread);
            let (shared, held) = (Arc::clone(self), held.clone());
            beside(Box::new(move || {
                share.into_iter().for_each(|same| shared.sync_same(same));
                drop(held);
            }));
        }
        inodes.into_iter().for_each(|same| self.sync_same(same));
        drop(held);
        // Once nobody holds the other end, all have ended.
        while ended.recv().is_ok() {}
    }

    fn sync_same(&self, mut same: Vec<Waiting>) {
        let Some(last) = same.pop() else {
            return;
        };
        let synced = self.calls.fsync(last.handle.as_fd());
        for other in same {
            // An error is told once to each handle that was open: each of them has to ask.
            let of_this = match synced {
                Ok(()) => Ok(()),
                Err(_) => self.calls.fsync(other.handle.as_fd()).and(synced),
            };
            other.tell(of_this);
        }
        last.tell(synced);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls that are counted, and that fail where they are told to.
    #[derive(Clone, Default)]
    struct Told(Arc<Record>);

    #[derive(Default)]
    struct Record {
        begun: AtomicU64,
        fsyncs: AtomicU64,
        whole: AtomicU64,
        fails_whole: bool,
        fails_each: bool,
    }

    impl Calls for Told {
        fn fsync(&self, _: BorrowedFd<'_>) -> Result<(), Errno> {
            self.0.begun.fetch_add(1, Ordering::SeqCst);
            self.0.fsyncs.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(2));
            if self.0.fails_each { Err(Errno::IO) } else { Ok(()) }
        }

        fn syncfs(&self, _: BorrowedFd<'_>) -> Result<(), Errno> {
            self.0.begun.fetch_add(1, Ordering::SeqCst);
            self.0.whole.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
            if self.0.fails_whole {
                Err(Errno::IO)
            } else {
                Ok(())
            }
        }

        fn syncs_whole(&self, _: BorrowedFd<'_>) -> bool {
            true
        }
    }

    fn file() -> Arc<std::fs::File> {
        Arc::new(tempfile::tempfile().unwrap())
    }

    /// Asks for so many files at once, and returns what came of each.
    fn ask_at_once(group: &GroupSync, files: &[Arc<std::fs::File>]) -> Vec<Result<(), Errno>> {
        let (told, heard) = channel();
        // The first one is under way while the others come.
        for file in files {
            let told = told.clone();
            let then = Box::new(move |result| told.send(result).unwrap());
            group.ask(file.clone(), Some(Opened::now()), then);
        }
        drop(told);
        heard.iter().collect()
    }

    #[test]
    fn nobody_is_told_before_a_sync_that_began_after_he_asked() {
        let calls = Told::default();
        let group = GroupSync::with(Box::new(calls.clone()));
        let threads: Vec<_> = (0..16)
            .map(|_| {
                let (group, calls) = (group.clone(), calls.clone());
                std::thread::spawn(move || {
                    let file = file();
                    for round in 0..20 {
                        let begun = calls.0.begun.load(Ordering::SeqCst);
                        let (told, heard) = channel();
                        let then = Box::new(move |result| told.send(result).unwrap());
                        group.ask(file.clone(), (round % 4 > 0).then(Opened::now), then);
                        heard.recv().unwrap().unwrap();
                        assert!(calls.0.begun.load(Ordering::SeqCst) > begun);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let begun = calls.0.begun.load(Ordering::SeqCst);
        assert!(begun < 16 * 20, "{begun} syncs for 320 calls");
        assert!(calls.0.whole.load(Ordering::SeqCst) > 0);
    }

    #[test]
    fn where_the_whole_fails_each_is_synced_by_itself() {
        let record = |fails_each| Record {
            fails_whole: true,
            fails_each,
            ..Record::default()
        };
        for fails_each in [false, true] {
            let calls = Told(Arc::new(record(fails_each)));
            let group = GroupSync::with(Box::new(calls.clone()));
            let files: Vec<_> = (0..MANY as u64 * 3).map(|_| file()).collect();
            let results = ask_at_once(&group, &files);
            let expected = if fails_each { Err(Errno::IO) } else { Ok(()) };
            assert!(calls.0.whole.load(Ordering::SeqCst) > 0);
            assert_eq!(results, vec![expected; files.len()]);
            assert_eq!(calls.0.fsyncs.load(Ordering::SeqCst), files.len() as u64);
        }
    }

    #[test]
    fn those_of_one_folder_share_its_sync_and_each_hears_of_an_error() {
        let calls = Told(Arc::new(Record {
            fails_each: true,
            ..Record::default()
        }));
        let group = GroupSync::with(Box::new(calls));
        let one = file();
        let (told, heard) = channel();
        for _ in 0..5 {
            let told = told.clone();
            group.ask(
                one.clone(),
                None,
                Box::new(move |result| told.send(result).unwrap()),
            );
        }
        drop(told);
        assert_eq!(heard.iter().collect::<Vec<_>>(), vec![Err(Errno::IO); 5]);

        let calls = Told::default();
        let group = GroupSync::with(Box::new(calls.clone()));
        let waiting = (0..5).map(|_| Waiting {
            handle: one.clone(),
            opened: None,
            then: Box::new(|result| assert_eq!(result, Ok(()))),
        });
        group.0.round(waiting.collect(), &mut SyncPace::default());
        assert_eq!(calls.0.fsyncs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_system_syncs_a_folder_and_the_thread_ends() {
        let home = tempfile::tempdir().unwrap();
        let folder = std::fs::File::open(home.path()).unwrap();
        let group = GroupSync::default();
        group.sync(&folder).unwrap();
        std::thread::sleep(LINGER * 3);
        assert!(!lock(&group.0.queue).led);
        group.sync(&folder).unwrap();
    }
}
