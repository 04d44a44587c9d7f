//! Writing: to a temporary name in the same folder, synced, then renamed, then the folder synced.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use domicile_estate::TEMPORARY_PREFIX;
use domicile_movers::{Failure, FailureClass, Publication};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Advice, AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::FsStore;
use crate::role::Role;
use crate::store::Published;

/// How often the temporary file may be swept away under our hands before we say so.
const OPEN_TRIES: u32 = 16;

/// A temporary file that is being written or waits to be published. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct StagedFile {
    folder: OwnedFd,
    temporary: String,
    name: String,
    pub(super) file: File,
    published: bool,
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.published {
            // If it cannot be removed now, the next transfer of this object or a sweep removes it.
            let _ = rustix::fs::unlinkat(&self.folder, &self.temporary, AtFlags::empty());
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

impl FsStore {
    /// Opens the temporary file of an object, empty. A lock on it tells a living writer from a crashed one.
    pub(crate) fn stage(&self, path: &str, allow_create_root: bool) -> Result<StagedFile, Failure> {
        let (folder, name) = self.create_parent(path, allow_create_root)?;
        let temporary = temporary_name(path);
        let at = |errno| self.failed(Role::Target, path, "write it", errno);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        for _ in 0..OPEN_TRIES {
            let file =
                rustix::fs::openat(&folder, &temporary, flags, Mode::from_raw_mode(0o666)).map_err(at)?;
            if is_locked_by_another(&file).map_err(at)? {
                let message = "another process is writing it".to_owned();
                return Err(Failure::of_object(
                    FailureClass::Transient,
                    &self.backend,
                    path,
                    message,
                ));
            }
            // Between opening and locking its last owner may have renamed it to its final name: such a file must
            // not be touched.
            if is_still_named(&folder, &temporary, &file) {
                if rustix::fs::fstat(&file).map_err(at)?.st_nlink > 1 {
                    // It has another name too: a crash came between link and unlink, or somebody planted it. What
                    // lies under that name must not be truncated.
                    rustix::fs::unlinkat(&folder, &temporary, AtFlags::empty()).map_err(at)?;
                    continue;
                }
                rustix::fs::ftruncate(&file, 0).map_err(at)?;
                let file = File::from(file);
                return Ok(StagedFile {
                    folder,
                    temporary,
                    name: name.to_owned(),
                    file,
                    published: false,
                });
            }
        }
        let message = "its temporary file is taken away again and again".to_owned();
        Err(Failure::of_object(
            FailureClass::Transient,
            &self.backend,
            path,
            message,
        ))
    }

    /// Appends to a staged file.
    pub(crate) fn write(&self, staged: &mut StagedFile, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        let written = staged.file.write_all(bytes);
        written.map_err(|error| self.unwritten(path, &error))
    }

    /// Writes at a place in a staged file.
    pub(super) fn write_at(
        &self,
        staged: &StagedFile,
        path: &str,
        bytes: &[u8],
        at: u64,
    ) -> Result<(), Failure> {
        let written = staged.file.write_all_at(bytes, at);
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
        staged: StagedFile,
        path: &str,
        publication: Publication,
    ) -> Result<Published, Failure> {
        let at = |errno| self.failed(Role::Target, path, "publish it", errno);
        let mut staged = staged;
        match publication {
            Publication::Replace => {
                rustix::fs::renameat(&staged.folder, &staged.temporary, &staged.folder, &staged.name)
                    .map_err(at)?;
            }
            Publication::New => match rename_new(&staged.folder, &staged.temporary, &staged.name) {
                Err(Errno::EXIST) => return Ok(Published::Occupied),
                other => other.map_err(at)?,
            },
        }
        staged.published = true;
        self.syncs.sync(&staged.folder).map_err(at)?;
        Ok(Published::DONE)
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
