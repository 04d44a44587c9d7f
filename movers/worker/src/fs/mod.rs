//! A folder of a file system as a store: our own driver, since what must hold here (no symbolic link is followed,
//! nothing partial is visible, what is visible survives a power cut, names are kept byte for byte) is below what
//! a general library promises.
//!
//! Every path is walked part by part from a handle of the root, and no part may be a symbolic link. The root
//! itself may be one: that is the operator's choice.

mod content;
mod copy;
mod direct;
mod driver;
mod failure;
mod group_sync;
mod holes;
mod list;
mod paths;
mod stage;
mod sync_pace;
mod upload;

use std::fs::File;
use std::path::PathBuf;

use domicile_estate::BackendName;
use domicile_movers::{Failure, FailureClass};
use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use crate::role::Role;
use crate::store::{Stat, Version};

pub(crate) use direct::memory_for;
use group_sync::GroupSync;
pub(crate) use list::is_skipped;
pub(crate) use stage::StagedFile;

/// Bytes read and written at once. Larger ones cost more in page faults than they save in system calls.
pub(crate) const BUFFER: usize = 1024 * 1024;

/// Bytes of the largest object that is done along with others: by the threads that do brief work, and in shared syncs. A
/// larger one would hold the others up.
pub(crate) const SMALL: u64 = 256 * 1024;

/// One folder as a store. Its methods block.
#[derive(Debug, Clone)]
pub(crate) struct FsStore {
    backend: BackendName,
    root: PathBuf,
    syncs: GroupSync,
}

/// A file open for reading, with what it was when it was opened.
pub(crate) struct OpenObject {
    file: File,
    size: u64,
    state: State,
}

/// What changes when the bytes of a file change, or another file comes to lie there.
type State = (i64, i64, u64);

impl OpenObject {
    /// Its bytes when it was opened.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    fn version(&self) -> Version {
        version(self.size, self.state)
    }

    fn of(file: impl Into<File>, stat: &rustix::fs::Stat) -> Self {
        Self {
            file: file.into(),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            state: state(stat),
        }
    }
}

impl FsStore {
    pub(crate) fn new(backend: BackendName, root: PathBuf) -> Self {
        Self {
            backend,
            root,
            syncs: GroupSync::default(),
        }
    }

    /// The size and the state of the object under a path; `None` if nothing is there.
    pub(super) fn look(&self, path: &str, role: Role) -> Result<Option<Stat>, Failure> {
        let at = |errno| self.failed(role, path, "look at it", errno);
        let (folder, name) = match self.open_parent(path) {
            Ok(found) => found,
            Err(Errno::NOENT) => return self.check_root(role).map(|()| None),
            Err(errno) => return Err(at(errno)),
        };
        match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                Ok(Some(Stat {
                    size,
                    version: version(size, state(&stat)),
                    checksum: None,
                    tag: None,
                }))
            }
            Ok(stat) => Err(self.no_plain_file(role, path, FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(at(errno)),
        }
    }

    fn no_plain_file(&self, role: Role, path: &str, kind: FileType) -> Failure {
        let what = match kind {
            FileType::Symlink => "a symbolic link lies there; links are not followed",
            FileType::Directory => "a folder lies there",
            _ => "what lies there is no plain file",
        };
        // The object is not there, however often one looks.
        let class = match role {
            Role::Source => FailureClass::SourceGone,
            Role::Target => FailureClass::TargetConflict,
        };
        Failure::of_object(class, &self.backend, path, what.to_owned())
    }

    pub(crate) fn open(&self, path: &str, role: Role) -> Result<OpenObject, Failure> {
        let at = |errno| {
            let mut failure = self.failed(role, path, "open it", errno);
            // As with all that is no plain file.
            if errno == Errno::LOOP && role == Role::Source {
                failure.class = FailureClass::SourceGone;
            }
            failure
        };
        let (folder, name) = match self.open_parent(path) {
            Ok(found) => found,
            Err(Errno::NOENT) => {
                self.check_root(role)?;
                return Err(at(Errno::NOENT));
            }
            Err(errno) => return Err(at(errno)),
        };
        // NONBLOCK: opening a pipe must not wait for somebody to write into it.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, name, flags, rustix::fs::Mode::empty()).map_err(at)?;
        let stat = rustix::fs::fstat(&file).map_err(at)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::RegularFile {
            return Err(self.no_plain_file(role, path, kind));
        }
        Ok(OpenObject::of(file, &stat))
    }

    /// Fails if an open file is not what it was when it was opened.
    fn check_unchanged(&self, object: &OpenObject, path: &str, role: Role) -> Result<(), Failure> {
        let stat =
            rustix::fs::fstat(&object.file).map_err(|errno| self.failed(role, path, "read it", errno))?;
        if state(&stat) != object.state || u64::try_from(stat.st_size) != Ok(object.size) {
            return Err(self.changed(path));
        }
        Ok(())
    }

    fn busy(&self, path: &str, message: &str) -> Failure {
        Failure::of_object(FailureClass::Transient, &self.backend, path, message.to_owned())
    }
}

fn state(stat: &rustix::fs::Stat) -> State {
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    (stat.st_mtime, nanoseconds, stat.st_ino)
}

fn version(size: u64, (seconds, nanoseconds, inode): State) -> Version {
    Version(format!("{size}-{seconds}.{nanoseconds}-{inode}"))
}
