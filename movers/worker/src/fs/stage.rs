//! Writing: to a temporary name in the same folder, synced, then renamed, then the folder synced; a small object's syncs are
//! shared with others.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use domicile_estate::TEMPORARY_PREFIX;
use domicile_movers::{Failure, Publication};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Advice, AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::FsStore;
use super::group_sync::Opened;
use crate::role::Role;
use crate::store::Published;

/// How often the temporary file may be swept away under our hands before we say so.
const OPEN_TRIES: u32 = 16;

/// A temporary file that is being written or waits to be published. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct StagedFile {
    folder: Arc<OwnedFd>,
    temporary: String,
    name: String,
    pub(super) file: Arc<File>,
    opened: Opened,
    published: bool,
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.published {
            // If it cannot be removed now, the next transfer of this object or a sweep removes it.
            let _ = rustix::fs::unlinkat(&*self.folder, &self.temporary, AtFlags::empty());
        }
    }
}

/// The temporary name of an object: the same each time, so that a transfer that is taken up again after a crash
/// finds and reuses what the last one left.
pub(super) fn temporary_name(path: &str) -> String {
    let digest = blake3::hash(path.as_bytes()).to_hex();
    format!("{TEMPORARY_PREFIX}{}.part", &digest.as_str()[..16])
}

/// Whether a name is of the form that we give to temporary files. Others that begin alike are somebody's.
pub(super) fn is_temporary_name(name: &str) -> bool {
    let hash = name
        .strip_prefix(TEMPORARY_PREFIX)
        .and_then(|rest| rest.strip_suffix(".part"));
    hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl StagedFile {
    /// The same file, for reading.
    pub(super) fn reopen(&self) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder, &self.temporary, flags, Mode::empty()).map(File::from)
    }
}

impl FsStore {
    /// Opens the temporary file of an object, empty. A lock on it tells a living writer from a crashed one.
    pub(crate) fn stage(&self, path: &str, allow_create_root: bool) -> Result<StagedFile, Failure> {
        let (folder, name) = self.create_parent(path, allow_create_root)?;
        let temporary = temporary_name(path);
        let at = |errno| self.failed(Role::Target, path, "write it", errno);
        let folder = Arc::new(folder);
        for _ in 0..OPEN_TRIES {
            let (file, is_new) = open_temporary(&folder, &temporary).map_err(at)?;
            if is_locked_by_another(&file).map_err(at)? {
                return Err(self.busy(path, "another process is writing it"));
            }
            if is_new {
                // Nobody but a sweeper can have touched it before it was locked.
                if rustix::fs::fstat(&file).map_err(at)?.st_nlink == 0 {
                    continue;
                }
            } else if !self.take_over(&folder, &temporary, &file).map_err(at)? {
                continue;
            }
            return Ok(StagedFile {
                folder,
                temporary,
                name: name.to_owned(),
                file: Arc::new(File::from(file)),
                opened: Opened::now(),
                published: false,
            });
        }
        Err(self.busy(path, "its temporary file is taken away again and again"))
    }

    /// Empties what an earlier writer has left under a temporary name; `false` if it is not ours to write.
    fn take_over(&self, folder: &OwnedFd, temporary: &str, file: &OwnedFd) -> Result<bool, Errno> {
        // Between opening and locking its last owner may have renamed it to its final name: such a file must not be
        // touched.
        if !is_still_named(folder, temporary, file) {
            return Ok(false);
        }
        if rustix::fs::fstat(file)?.st_nlink > 1 {
            // It has another name too: a crash came between link and unlink, or somebody planted it. What lies under
            // that name must not be truncated.
            rustix::fs::unlinkat(folder, temporary, AtFlags::empty())?;
            return Ok(false);
        }
        rustix::fs::ftruncate(file, 0)?;
        Ok(true)
    }

    /// Appends to a staged file.
    pub(crate) fn write(&self, staged: &StagedFile, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        let written = (&*staged.file).write_all(bytes);
        written.map_err(|error| self.unwritten(path, &error))
    }

    pub(super) fn unwritten(&self, path: &str, error: &std::io::Error) -> Failure {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            // Unlike on reading, no other object is damaged: the disk may only be going.
            Some(Errno::IO) => self.busy(path, "cannot write it: the disk reports an input/output error"),
            _ => self.failed_io(Role::Target, path, "write it", error),
        }
    }

    /// Makes a staged file's bytes durable.
    pub(crate) fn finish(&self, staged: &StagedFile, path: &str) -> Result<(), Failure> {
        self.make_durable(&staged.file, path)
    }

    /// Makes the bytes of a file durable.
    pub(super) fn make_durable(&self, file: &File, path: &str) -> Result<(), Failure> {
        rustix::fs::fsync(file).map_err(|errno| self.failed(Role::Target, path, "write it", errno))?;
        // So that the read-back reads the disk and not the memory that the bytes were written from. Where the
        // file system does not do it, the read-back still proves what the system would give to any reader.
        let _ = rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
        Ok(())
    }

    /// Makes a staged file visible under its name, durably.
    pub(crate) fn publish(
        &self,
        mut staged: StagedFile,
        path: &str,
        publication: Publication,
    ) -> Result<Published, Failure> {
        if !self.rename(&mut staged, path, publication)? {
            return Ok(Published::Occupied);
        }
        let synced = self.syncs.sync(&*staged.folder);
        synced.map_err(|errno| self.failed(Role::Target, path, "publish it", errno))?;
        Ok(Published::DONE)
    }

    /// Gives a staged file its name; `false` if something else has it.
    fn rename(&self, staged: &mut StagedFile, path: &str, publication: Publication) -> Result<bool, Failure> {
        let StagedFile {
            folder,
            temporary,
            name,
            ..
        } = &*staged;
        let renamed = match publication {
            Publication::Replace => rustix::fs::renameat(&**folder, temporary, &**folder, name),
            Publication::New => rename_new(folder, temporary, name),
        };
        match renamed {
            Err(Errno::EXIST) if publication == Publication::New => return Ok(false),
            other => other.map_err(|errno| self.failed(Role::Target, path, "publish it", errno))?,
        }
        staged.published = true;
        Ok(true)
    }

    /// Makes a small staged file durable and visible, together with others who do so at the same time.
    pub(super) async fn publish_together(
        self,
        staged: StagedFile,
        path: String,
        publication: Publication,
    ) -> Result<Published, Failure> {
        let (told, heard) = oneshot::channel();
        let (store, lost) = (self.clone(), path.clone());
        let (syncs, file, opened) = (self.syncs.clone(), staged.file.clone(), staged.opened);
        let then = move |synced| self.publish_synced(synced, staged, (path, publication), told);
        syncs.ask(file, Some(opened), Box::new(then));
        let published = heard.await;
        published.unwrap_or_else(|_| Err(store.busy(&lost, "whoever was to make it durable has gone")))
    }

    /// What follows on the sync of a small staged file: it gets its name, and its folder is synced.
    fn publish_synced(
        self,
        synced: Result<(), Errno>,
        mut staged: StagedFile,
        (path, publication): (String, Publication),
        told: oneshot::Sender<Result<Published, Failure>>,
    ) {
        let synced = synced.map_err(|errno| self.failed(Role::Target, &path, "write it", errno));
        let renamed = synced.and_then(|()| {
            expect_back(&staged.file);
            self.rename(&mut staged, &path, publication)
        });
        if !matches!(renamed, Ok(true)) {
            // What is dropped is removed, and free for the next one before anybody hears of it.
            drop(staged);
            // Whoever asked may have gone.
            let _ = told.send(renamed.map(|_| Published::Occupied));
            return;
        }
        let (syncs, folder, opened) = (self.syncs.clone(), staged.folder.clone(), staged.opened);
        drop(staged);
        let then = move |synced: Result<(), Errno>| {
            let failed = |errno| self.failed(Role::Target, &path, "publish it", errno);
            let _ = told.send(synced.map(|()| Published::DONE).map_err(failed));
        };
        syncs.ask(folder, Some(opened), Box::new(then));
    }
}

/// Has the disk asked for a small file that is soon read back, and not the memory that it was written from.
fn expect_back(file: &File) {
    // Where the file system does not do it, the reading still proves what the system would give to any reader.
    let _ = rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
    let _ = rustix::fs::fadvise(file, 0, None, Advice::WillNeed);
}

/// Opens the temporary file of an object, and tells whether it is new.
fn open_temporary(folder: &OwnedFd, temporary: &str) -> Result<(OwnedFd, bool), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    match rustix::fs::openat(folder, temporary, flags | OFlags::EXCL, mode) {
        Err(Errno::EXIST) => Ok((rustix::fs::openat(folder, temporary, flags, mode)?, false)),
        other => Ok((other?, true)),
    }
}

/// Renames without overwriting, on file systems without RENAME_NOREPLACE by a second link.
pub(super) fn rename_new(folder: &OwnedFd, from: &str, to: &str) -> Result<(), Errno> {
    match rustix::fs::renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rustix::fs::linkat(folder, from, folder, to, AtFlags::empty())?;
            rustix::fs::unlinkat(folder, from, AtFlags::empty())
        }
        other => other,
    }
}

/// Takes the lock of a temporary file. File systems without locks have no second writer as far as we can know.
pub(super) fn is_locked_by_another(file: impl AsFd) -> Result<bool, Errno> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno),
    }
}

pub(super) fn is_still_named(folder: &OwnedFd, name: &str, file: impl AsFd) -> bool {
    let named = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    let open = rustix::fs::fstat(file);
    matches!((named, open), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_published_in_vain_finds_the_temporary_file_free_at_once() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("a"), b"first").unwrap();
        let name = domicile_estate::BackendName::new("disk").unwrap();
        let store = FsStore::new(name, home.path().to_owned());
        for _ in 0..200 {
            let staged = store.stage("a", false).unwrap();
            store.write(&staged, "a", b"second").unwrap();
            let published = store
                .clone()
                .publish_together(staged, "a".to_owned(), Publication::New);
            assert_eq!(published.await, Ok(Published::Occupied));
        }
        let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(std::fs::read(home.path().join("a")).unwrap(), b"first");
    }
}
