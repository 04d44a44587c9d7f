//! Making folders durable, many at the price of one.
//!
//! After a rename the folder must be synced, or a power cut may undo it. Ten thousand small objects in one folder
//! would each wait for a sync of their own; so those who come while one is under way share the next one, as
//! databases share the commit of a log.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fd::OwnedFd;
use rustix::io::Errno;

/// Syncs under way, by device and inode of the folder.
#[derive(Debug, Default)]
pub(super) struct FolderSyncs {
    folders: Mutex<BTreeMap<(u64, u64), Arc<Folder>>>,
}

#[derive(Debug, Default)]
struct Folder {
    rounds: Mutex<Rounds>,
    ended: Condvar,
}

/// Tickets are numbered from 1. A sync that begins covers all tickets drawn before it.
#[derive(Debug, Default)]
struct Rounds {
    drawn: u64,
    covered: u64,
    failed: Option<(u64, Errno)>,
    running: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks, and the counters are right at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FolderSyncs {
    /// Returns once a sync of the folder that began after this call has ended.
    pub(super) fn sync(&self, fd: &OwnedFd) -> Result<(), Errno> {
        self.sync_by(fd, |fd| rustix::fs::fsync(fd))
    }

    fn sync_by(&self, fd: &OwnedFd, fsync: impl Fn(&OwnedFd) -> Result<(), Errno>) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(fd)?;
        let id = (stat.st_dev, stat.st_ino);
        let folder = lock(&self.folders).entry(id).or_default().clone();
        let result = folder.wait_for_sync(|| fsync(fd));
        let mut folders = lock(&self.folders);
        // Two: the map's and ours. Nobody else waits, so nobody misses the entry.
        if Arc::strong_count(&folder) == 2 {
            folders.remove(&id);
        }
        result
    }
}

impl Folder {
    fn wait_for_sync(&self, fsync: impl Fn() -> Result<(), Errno>) -> Result<(), Errno> {
        let mut rounds = lock(&self.rounds);
        rounds.drawn += 1;
        let ticket = rounds.drawn;
        loop {
            if rounds.covered >= ticket {
                return match rounds.failed {
                    Some((until, errno)) if ticket <= until => Err(errno),
                    _ => Ok(()),
                };
            }
            if rounds.running {
                rounds = self.ended.wait(rounds).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            rounds.running = true;
            let covers = rounds.drawn;
            drop(rounds);
            let result = fsync();
            rounds = lock(&self.rounds);
            rounds.running = false;
            rounds.covered = covers;
            if let Err(errno) = result {
                // Those of this round, and none of an earlier one, must hear of it; one of an earlier round that
                // has not woken yet fails too, which is safe.
                rounds.failed = Some((covers, errno));
            }
            self.ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn those_who_wait_share_a_sync_and_nobody_returns_before_one_of_his_own() {
        let folder = Arc::new(Folder::default());
        let syncs = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..16)
            .map(|_| {
                let (folder, syncs) = (folder.clone(), syncs.clone());
                std::thread::spawn(move || {
                    for _ in 0..20 {
                        let begun = syncs.load(Ordering::SeqCst);
                        let done = folder.wait_for_sync(|| {
                            syncs.fetch_add(1, Ordering::SeqCst);
                            std::thread::sleep(std::time::Duration::from_millis(1));
                            Ok(())
                        });
                        done.unwrap();
                        assert!(
                            syncs.load(Ordering::SeqCst) > begun,
                            "a sync began after the call"
                        );
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let syncs = syncs.load(Ordering::SeqCst);
        assert!(syncs < 16 * 20 / 2, "{syncs} syncs for 320 calls");
    }

    #[test]
    fn a_failed_sync_is_told_and_the_next_one_is_free_of_it() {
        let folder = Folder::default();
        assert_eq!(folder.wait_for_sync(|| Err(Errno::IO)), Err(Errno::IO));
        assert_eq!(folder.wait_for_sync(|| Ok(())), Ok(()));
    }

    #[test]
    fn folders_that_nobody_waits_for_are_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let fd: OwnedFd = std::fs::File::open(home.path()).unwrap().into();
        let syncs = FolderSyncs::default();
        syncs.sync(&fd).unwrap();
        assert!(lock(&syncs.folders).is_empty());
    }
}
