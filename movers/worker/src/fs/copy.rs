//! A whole object at once: from one folder to another, or from a folder into a digest.

use std::fs::File;
use std::os::unix::fs::FileExt;

use domicile_movers::{Digests, Failure, Publication, Seen};
use rustix::fd::AsFd;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::direct::{DirectFile, Piece, pass};
use super::driver::FileUpload;
use super::holes::Holes;
use super::{FsStore, OpenObject, SMALL};
use crate::carry::{Count, Watch};
use crate::digest::Digester;
use crate::role::Role;
use crate::store::Upload;
use crate::threads::{blocking, brief};

/// What waits to be published, or the size that the source has instead of the one that was expected.
pub(crate) type FileCopy = Result<(Seen, Box<dyn Upload>), u64>;

/// Bytes that are digested before more are read: they are still in the processor's cache then.
const CACHED: usize = 256 * 1024;
/// Smaller files lie in one piece anyhow: the system gives them their room when it writes them.
const RESERVED_FROM: u64 = 1024 * 1024;

impl FsStore {
    /// Copies an object from another folder to a file that waits to be published. What is read is hashed while it is
    /// still in the processor's cache.
    pub(crate) async fn copy_from(
        self,
        (from, source, size): (FsStore, String, u64),
        (path, how, may_create_root): (String, Publication, bool),
        digests: Digests,
        watch: Watch,
    ) -> Result<FileCopy, Failure> {
        let copy = move || {
            let object = from.open(&source, Role::Source)?;
            if object.size() != size {
                return Ok(Err(object.size()));
            }
            let staged = self.stage(&path, may_create_root)?;
            self.reserve(&*staged.file, &path, size)?;
            let mut digester = Digester::new(digests);
            let to = DirectFile::of(&*staged.file, size);
            let mut holes = Holes::of(&object.file, size);
            pass(
                size,
                |piece, (length, at)| {
                    from.read_and(&object, &source, (&mut piece[..length], at), |cached| {
                        digester.update(cached);
                    })?;
                    watch.progress.add_read(length as u64);
                    watch.go_on()
                },
                |bytes, at| {
                    holes
                        .write(&to, bytes, at)
                        .map_err(|error| self.unwritten(&path, &error))?;
                    if size > SMALL {
                        // Of a smaller one it is told when it is published.
                        watch.progress.add_written(bytes.len() as u64);
                    }
                    Ok(())
                },
            )?;
            holes
                .punch(&staged.file, &to)
                .map_err(|error| self.unwritten(&path, &error))?;
            from.check_unchanged(&object, &source, Role::Source)?;
            let upload: Box<dyn Upload> = Box::new(FileUpload::new(self, staged, (path, size), how));
            Ok(Ok((digester.finish(), upload)))
        };
        if size <= SMALL {
            return brief(copy).await;
        }
        blocking(copy).await
    }

    /// Fills memory with what lies at a place of an object; `each` gets it while it is in the processor's cache.
    pub(super) fn read_and(
        &self,
        object: &OpenObject,
        path: &str,
        (into, at): (&mut [u8], u64),
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Failure> {
        for (number, cached) in into.chunks_mut(CACHED).enumerate() {
            let read = object.file.read_exact_at(cached, at + (number * CACHED) as u64);
            read.map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => self.changed(path),
                _ => self.failed_io(Role::Source, path, "read it", &error),
            })?;
            each(cached);
        }
        Ok(())
    }

    /// Takes the room of a larger file at once: then it lies in one piece, and a full disk is told before it is copied.
    /// The file does not grow by it: how long it is says how much of it came.
    pub(super) fn reserve(&self, file: impl AsFd, path: &str, size: u64) -> Result<(), Failure> {
        if size < RESERVED_FROM {
            return Ok(());
        }
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, size) {
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
                Err(self.failed(Role::Target, path, "write it", errno))
            }
            // Where the file system cannot, it takes the room as the bytes come.
            _ => Ok(()),
        }
    }

    /// Digests what lies there, from end to end, as the disk has it.
    pub(crate) async fn see(
        self,
        (path, role): (String, Role),
        digests: Digests,
        count: Count,
        watch: Watch,
    ) -> Result<Seen, Failure> {
        blocking(move || {
            let object = self.open(&path, role)?;
            let seen = self.digest_file(
                (&object.file, object.size()),
                (&path, role),
                digests,
                &mut |bytes| {
                    count(&watch.progress, bytes);
                    watch.go_on()
                },
            )?;
            self.check_unchanged(&object, &path, role)?;
            Ok(seen)
        })
        .await
    }

    /// Digests a file that nobody sees yet, from end to end, as the disk has it.
    pub(super) fn see_staged(&self, file: &File, path: &str) -> Result<Seen, Failure> {
        let stat = rustix::fs::fstat(file);
        let stat = stat.map_err(|errno| self.failed(Role::Target, path, "read it back", errno))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.digest_file((file, size), (path, Role::Target), Digests::Blake3, &mut |_| {
            Ok(())
        })
    }

    /// Digests an open file of a size; `each` is told the bytes as they pass, and may end it.
    fn digest_file(
        &self,
        (file, size): (&File, u64),
        (path, role): (&str, Role),
        digests: Digests,
        each: &mut dyn FnMut(u64) -> Result<(), Failure>,
    ) -> Result<Seen, Failure> {
        let mut digester = Digester::new(digests);
        let from = DirectFile::of(file, size);
        pass(
            size,
            |piece: &mut Piece, (length, at)| match from.read_at(piece, length, at) {
                Ok(read) if read == length => Ok(()),
                Ok(_) => Err(self.changed(path)),
                Err(errno) => Err(self.failed(role, path, "read it", errno)),
            },
            |bytes, _| {
                digester.update(bytes);
                each(bytes.len() as u64)
            },
        )?;
        Ok(digester.finish())
    }
}
