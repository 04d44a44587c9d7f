//! A folder of a file system as a store: our own driver, since what must hold here (no symbolic link is followed,
//! nothing partial is visible, what is visible survives a power cut, names are kept byte for byte) is below what
//! a general library promises.
//!
//! Every path is walked part by part from a handle of the root, and no part may be a symbolic link. The root
//! itself may be one: that is the operator's choice.

mod failure;
mod folder_sync;
mod list;
mod paths;
mod stage;

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use domicile_estate::BackendName;
use domicile_movers::{Digests, Failure, FailureClass, Seen};
use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use crate::digest::Digester;
use crate::progress::Cancel;
use crate::role::Role;

use folder_sync::FolderSyncs;
pub(crate) use list::is_skipped;
pub(crate) use stage::StagedFile;

/// Bytes read and written at once. Larger ones cost more in page faults than they save in system calls.
const BUFFER: usize = 1024 * 1024;

/// What is told to whoever counts bytes.
pub(crate) type Count<'a> = &'a (dyn Fn(u64) + Sync);

/// One folder as a store. Its methods block.
#[derive(Debug, Clone)]
pub(crate) struct FsStore {
    backend: BackendName,
    root: PathBuf,
    syncs: Arc<FolderSyncs>,
}

/// A file open for reading, with what it was when it was opened.
pub(crate) struct OpenObject {
    file: File,
    size: u64,
    modified: (i64, i64),
}

impl OpenObject {
    /// Its bytes when it was opened.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

impl FsStore {
    pub(crate) fn new(backend: BackendName, root: PathBuf) -> Self {
        Self {
            backend,
            root,
            syncs: Arc::default(),
        }
    }

    /// The size of the object under a path; `None` if nothing is there.
    pub(crate) fn stat(&self, path: &str, role: Role) -> Result<Option<u64>, Failure> {
        let at = |errno| self.failed(role, path, "look at it", errno);
        let (folder, name) = match self.open_parent(path) {
            Ok(found) => found,
            Err(Errno::NOENT) => return self.check_root(role).map(|()| None),
            Err(errno) => return Err(at(errno)),
        };
        match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                Ok(Some(u64::try_from(stat.st_size).unwrap_or(0)))
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
        let class = match role {
            Role::Source => FailureClass::SourceUnreadable,
            Role::Target => FailureClass::TargetConflict,
        };
        Failure::of_object(class, &self.backend, path, what.to_owned())
    }

    pub(crate) fn open(&self, path: &str, role: Role) -> Result<OpenObject, Failure> {
        let at = |errno| self.failed(role, path, "open it", errno);
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
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(OpenObject {
            file: File::from(file),
            size,
            modified: modified(&stat),
        })
    }

    /// Reads an object to its end; `each` gets its bytes.
    pub(crate) fn read_open(
        &self,
        object: &mut OpenObject,
        path: &str,
        role: Role,
        each: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let capacity = usize::try_from(object.size + 1)
            .unwrap_or(BUFFER)
            .clamp(4096, BUFFER);
        let mut buffer = vec![0; capacity];
        let mut left = object.size;
        loop {
            match object.file.read(&mut buffer) {
                Ok(0) => break,
                // It grows while it is read: what is read on would be held in memory without a bound.
                Ok(bytes) if bytes as u64 > left => break,
                Ok(bytes) => {
                    left -= bytes as u64;
                    each(&buffer[..bytes])?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed_io(role, path, "read it", &error)),
            }
        }
        let stat =
            rustix::fs::fstat(&object.file).map_err(|errno| self.failed(role, path, "read it", errno))?;
        if left > 0 || modified(&stat) != object.modified || u64::try_from(stat.st_size) != Ok(object.size) {
            let message = "it was changed while it was read".to_owned();
            return Err(Failure::of_object(
                FailureClass::Transient,
                &self.backend,
                path,
                message,
            ));
        }
        Ok(())
    }

    /// Reads an object from end to end and digests it; `None` if nothing is there.
    pub(crate) fn digest(
        &self,
        path: &str,
        role: Role,
        digests: Digests,
        count: Count<'_>,
        cancel: &Cancel,
    ) -> Result<Seen, Failure> {
        let mut object = self.open(path, role)?;
        let mut digester = Digester::new(digests);
        self.read_open(&mut object, path, role, &mut |bytes| {
            digester.update(bytes);
            count(bytes.len() as u64);
            self.unless_cancelled(path, cancel)
        })?;
        Ok(digester.finish())
    }

    pub(crate) fn unless_cancelled(&self, path: &str, cancel: &Cancel) -> Result<(), Failure> {
        if cancel.is_cancelled() {
            Err(self.stopped(path))
        } else {
            Ok(())
        }
    }

    pub(crate) fn stopped(&self, path: &str) -> Failure {
        Failure::of_object(
            FailureClass::Cancelled,
            &self.backend,
            path,
            "stopped on request".to_owned(),
        )
    }
}

fn modified(stat: &rustix::fs::Stat) -> (i64, i64) {
    (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0))
}
