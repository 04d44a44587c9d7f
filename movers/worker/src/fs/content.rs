//! Reading a file in chunks, each on a thread that may block.

use std::io::IoSliceMut;
use std::ops::Range;

use bytes::Bytes;
use domicile_movers::{Failure, FailureClass};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::{ReadWriteFlags, preadv2};

use super::direct::DirectFile;
use super::{BUFFER, FsStore, OpenObject};
use crate::buffers;
use crate::role::Role;
use crate::store::{Content, Doing, Version, Wanted};
use crate::threads::blocking;

/// Bytes of the largest file that is read without another thread.
const CACHED_MAX: usize = 64 * 1024;

/// A file that is being read.
pub(super) struct FileContent {
    size: u64,
    version: Version,
    /// `None` only while a chunk is under way, or if that was given up.
    reading: Option<Reading>,
    /// The first chunk: it came with opening, which for a small object is all there is.
    first: Option<Bytes>,
}

struct Reading {
    store: FsStore,
    object: OpenObject,
    path: String,
    role: Role,
    left: Range<u64>,
}

impl FsStore {
    /// Opens a file and reads its first chunk.
    pub(super) fn open_content(&self, wanted: &Wanted<'_>) -> Result<FileContent, Failure> {
        let object = self.open(wanted.path, wanted.role)?;
        let version = object.version();
        if wanted.version.is_some_and(|expected| *expected != version) {
            return Err(self.changed(wanted.path));
        }
        let (size, path, role) = (object.size(), wanted.path.to_owned(), wanted.role);
        let mut reading = Reading {
            store: self.clone(),
            object,
            path,
            role,
            left: wanted.range.clone().unwrap_or(0..size),
        };
        let first = reading.next()?;
        Ok(FileContent {
            size,
            version,
            reading: Some(reading),
            first,
        })
    }

    /// A small file that the system holds in memory with all that leads to it: it is read at once, without a wait and
    /// without another thread, which for a few kilobytes costs more than the reading. `None` where anything is in the
    /// way; then it is opened as others are, and what is wrong is told there.
    pub(super) fn open_cached(&self, wanted: &Wanted<'_>) -> Option<FileContent> {
        if wanted.range.is_some() || wanted.path.split('/').any(|part| part == "..") {
            return None;
        }
        let cached = ResolveFlags::CACHED;
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat2(CWD, &self.root, folder, Mode::empty(), cached).ok()?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let below = cached | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = openat2(&root, wanted.path, flags, Mode::empty(), below).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        let size = usize::try_from(stat.st_size).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || size == 0 || size > CACHED_MAX {
            return None;
        }
        let object = OpenObject::of(file, &stat);
        let version = object.version();
        if wanted.version.is_some_and(|expected| *expected != version) {
            return None;
        }
        let mut bytes = vec![0; size];
        let mut into = [IoSliceMut::new(&mut bytes)];
        let read = preadv2(&object.file, &mut into, 0, ReadWriteFlags::NOWAIT).ok()?;
        let unchanged = self.check_unchanged(&object, wanted.path, wanted.role).is_ok();
        (read == size && unchanged).then(|| FileContent {
            size: size as u64,
            version,
            reading: None,
            first: Some(Bytes::from(bytes)),
        })
    }

    /// The bytes of a small file that the system has ready in memory.
    pub(crate) fn read_cached(&self, path: &str, role: Role) -> Option<Bytes> {
        self.open_cached(&Wanted::whole(path, role))?.into_first()
    }

    pub(super) fn changed(&self, path: &str) -> Failure {
        let message = "it was changed while it was read".to_owned();
        Failure::of_object(FailureClass::Transient, &self.backend, path, message)
    }
}

impl FileContent {
    /// The first chunk, for who knows that there is no second.
    pub(super) fn into_first(self) -> Option<Bytes> {
        self.first
    }
}

impl Reading {
    /// The next chunk. With the last one it is made sure that the file is what it was when it was opened.
    fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let left = self.left.end.saturating_sub(self.left.start);
        if left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
        let mut buffer = buffers::take(wanted);
        let from = DirectFile::of(&self.object.file, self.object.size());
        let read = from.read_at(buffer.room(), wanted, self.left.start);
        let read = read.map_err(|errno| self.store.failed(self.role, &self.path, "read it", errno))?;
        if read < wanted {
            return Err(self.store.changed(&self.path));
        }
        buffer.fill(wanted);
        self.left.start += wanted as u64;
        if self.left.start >= self.left.end {
            self.store.check_unchanged(&self.object, &self.path, self.role)?;
        }
        Ok(Some(buffer.into_bytes()))
    }
}

impl Content for FileContent {
    fn size(&self) -> u64 {
        self.size
    }

    fn version(&self) -> &Version {
        &self.version
    }

    fn next(&mut self) -> Doing<'_, Option<Bytes>> {
        Box::pin(async move {
            if let Some(first) = self.first.take() {
                return Ok(Some(first));
            }
            let Some(mut reading) = self.reading.take() else {
                return Ok(None);
            };
            if reading.left.is_empty() {
                return Ok(None);
            }
            let (reading, chunk) = blocking(move || {
                let chunk = reading.next();
                (reading, chunk)
            })
            .await;
            self.reading = Some(reading);
            chunk
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_range_of_a_file_of_any_size_is_read_as_it_is() {
        for home in [std::env::temp_dir(), "/dev/shm".into()] {
            if !home.is_dir() {
                continue;
            }
            let home = tempfile::tempdir_in(home).unwrap();
            let name = domicile_estate::BackendName::new("disk").unwrap();
            let store = FsStore::new(name, home.path().to_owned());
            let mib = BUFFER as u64;
            for size in [
                0,
                1,
                4095,
                4096,
                4097,
                mib - 1,
                mib,
                mib + 1,
                3 * mib + 4095,
                3 * mib + 4097,
            ] {
                let bytes: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
                std::fs::write(home.path().join("a"), &bytes).unwrap();
                let inner = [
                    0..size,
                    1..size,
                    4096..size,
                    0..size / 2,
                    size / 3..size / 2 + 1,
                    mib..2 * mib + 7,
                ];
                let ranges = inner
                    .into_iter()
                    .filter(|range| range.start <= range.end && range.end <= size);
                for range in ranges {
                    let wanted = Wanted {
                        range: Some(range.clone()),
                        ..Wanted::whole("a", Role::Source)
                    };
                    let mut content = store.open_content(&wanted).unwrap();
                    let mut found = Vec::new();
                    while let Some(chunk) = content.next().await.unwrap() {
                        found.extend_from_slice(&chunk);
                    }
                    let expected = &bytes[range.start as usize..range.end as usize];
                    assert!(found == expected, "{range:?} of {size}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_grows_shorter_while_it_is_read_is_told() {
        let home = tempfile::tempdir().unwrap();
        let name = domicile_estate::BackendName::new("disk").unwrap();
        let store = FsStore::new(name, home.path().to_owned());
        let path = home.path().join("a");
        std::fs::write(&path, vec![1; 3 * BUFFER]).unwrap();
        let mut content = store.open_content(&Wanted::whole("a", Role::Source)).unwrap();
        assert!(content.next().await.unwrap().is_some());
        std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(BUFFER as u64 + 100)
            .unwrap();
        assert_eq!(content.next().await.unwrap_err().class, FailureClass::Transient);
    }
}
