//! Bytes to and from the disk past the memory of the system.
//!
//! What is written once and read back once is of no use to the system's cache: taking memory for it, copying it there and
//! giving the memory back costs more than the disk and the digest together. So large files are written and read back
//! directly (`O_DIRECT`), from memory that is aligned as disks want it. It is also the honest way to read back: the bytes
//! come from the disk, whatever the system remembers of them. A file system that does not do it is used as usual.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Mutex, PoisonError};

use domicile_movers::Failure;
use rustix::fs::OFlags;
use rustix::io::{Errno, retry_on_intr};

/// Bytes that are read or written at once. With fewer, the disk waits for us; more hold memory and gain nothing.
pub(super) const PIECE: usize = 1024 * 1024;
/// What disks want addresses, offsets and lengths to be multiples of: the largest block in use. Where one wants more, it
/// says so, and its files are used as usual.
const ALIGN: usize = 4096;
/// Smaller files are not worth it: they lie in memory anyhow when they are written.
const DIRECT_MIN: u64 = 256 * 1024;
/// From here on a second thread reads while the first one writes; for less it costs more than it gains.
const TWO_THREADS_FROM: u64 = 8 * 1024 * 1024;
/// One piece that is filled and one that is emptied.
const PIECES: usize = 2;
/// Pieces that wait for their next use at most; what is in use is bounded by the budget of the worker.
const WAITING_MAX: usize = 32;

static WAITING: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// The memory that passing a file of this size takes.
pub(crate) fn memory_for(size: u64) -> u64 {
    let pieces = if size >= TWO_THREADS_FROM { PIECES } else { 1 };
    size.min((pieces * PIECE) as u64)
}

/// Aligned memory of [`PIECE`] bytes. Dropping it gives it back: fresh memory has to be cleared by the system.
pub(super) struct Piece {
    memory: Vec<u8>,
    start: usize,
}

impl Piece {
    pub(super) fn take() -> Self {
        let waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let memory = waiting.unwrap_or_else(|| vec![0; PIECE + ALIGN]);
        // Where it cannot be told, the disk refuses what is not aligned, and is used as usual.
        let start = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { memory, start }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.push(std::mem::take(&mut self.memory));
        }
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + PIECE]
    }
}

impl DerefMut for Piece {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + PIECE]
    }
}

/// A file that goes past the system's memory as long as its file system and the bytes allow it.
pub(super) struct DirectFile<'f> {
    file: &'f File,
    direct: AtomicBool,
}

impl<'f> DirectFile<'f> {
    pub(super) fn of(file: &'f File, size: u64) -> Self {
        let direct = size >= DIRECT_MIN && set_direct(file, true).is_ok();
        Self {
            file,
            direct: AtomicBool::new(direct),
        }
    }

    fn is_direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed)
    }

    /// From here on as usual.
    fn stop(&self) -> Result<(), Errno> {
        if self.direct.swap(false, Ordering::Relaxed) {
            set_direct(self.file, false)?;
        }
        Ok(())
    }

    /// Writes all of the bytes at a place.
    pub(super) fn write_at(&self, bytes: &[u8], at: u64) -> std::io::Result<()> {
        let whole = bytes.len() - bytes.len() % ALIGN;
        if !self.is_direct() || !at.is_multiple_of(ALIGN as u64) || whole == 0 {
            self.stop()?;
            return self.file.write_all_at(bytes, at);
        }
        let done = match retry_on_intr(|| rustix::io::pwrite(self.file, &bytes[..whole], at)) {
            Ok(done) => done,
            Err(Errno::INVAL) => 0,
            Err(errno) => return Err(errno.into()),
        };
        if done < whole {
            // Refused, or the disk is getting full: the usual way finds out.
            self.stop()?;
        }
        match &bytes[done..] {
            [] => Ok(()),
            rest => self.write_at(rest, at + done as u64),
        }
    }

    /// Fills the beginning of a piece with what lies at a place; fewer bytes than wanted at the end of the file.
    pub(super) fn read_at(&self, piece: &mut Piece, wanted: usize, at: u64) -> Result<usize, Errno> {
        let mut done = 0;
        while done < wanted {
            let from = at + done as u64;
            let end = wanted.next_multiple_of(ALIGN).min(PIECE);
            if !from.is_multiple_of(ALIGN as u64) {
                self.stop()?;
            }
            match retry_on_intr(|| rustix::io::pread(self.file, &mut piece[done..end], from)) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(Errno::INVAL) if self.is_direct() => self.stop()?,
                Err(errno) => return Err(errno),
            }
        }
        Ok(done.min(wanted))
    }
}

fn set_direct(file: &File, on: bool) -> Result<(), Errno> {
    let mut flags = rustix::fs::fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, on);
    rustix::fs::fcntl_setfl(file, flags)
}

/// Bytes of a piece, and where in the file they lie.
pub(super) type Span = (usize, u64);

fn spans(size: u64) -> impl Iterator<Item = Span> {
    (0..size).step_by(PIECE).map(move |at| {
        let left = usize::try_from(size - at).unwrap_or(PIECE);
        (left.min(PIECE), at)
    })
}

/// Takes a file of a known size through memory piece by piece: `fill` gets each piece first, `empty` then. A large one is
/// filled by a second thread, so that neither of the two waits for the other.
pub(super) fn pass(
    size: u64,
    mut fill: impl FnMut(&mut Piece, Span) -> Result<(), Failure> + Send,
    mut empty: impl FnMut(&[u8], u64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if size < TWO_THREADS_FROM {
        let mut piece = Piece::take();
        for (length, at) in spans(size) {
            fill(&mut piece, (length, at))?;
            empty(&piece[..length], at)?;
        }
        return Ok(());
    }
    std::thread::scope(|scope| {
        let (to_fill, free) = channel();
        let (to_empty, full) = sync_channel(PIECES);
        for _ in 0..PIECES {
            // The other end lives: it is in our hands.
            let _ = to_fill.send(Piece::take());
        }
        scope.spawn(move || {
            for (length, at) in spans(size) {
                // Whoever empties has failed, if nothing comes back.
                let Ok(mut piece) = free.recv() else { return };
                let filled = fill(&mut piece, (length, at));
                let failed = filled.is_err();
                if to_empty.send(filled.map(|()| (piece, length, at))).is_err() || failed {
                    return;
                }
            }
        });
        for filled in full {
            let (piece, length, at) = filled?;
            empty(&piece[..length], at)?;
            // Nobody waits for it after the last one.
            let _ = to_fill.send(piece);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use domicile_movers::FailureClass;

    use super::*;

    fn bytes_of(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at * 31 % 251) as u8).collect()
    }

    const SIZES: [usize; 7] = [
        0,
        1,
        DIRECT_MIN as usize,
        DIRECT_MIN as usize + 1,
        3 * PIECE - 4095,
        TWO_THREADS_FROM as usize,
        TWO_THREADS_FROM as usize + PIECE + 4097,
    ];

    #[test]
    fn what_is_written_piece_by_piece_is_read_back_to_the_last_byte() {
        let home = tempfile::tempdir().unwrap();
        for size in SIZES {
            let (bytes, path) = (bytes_of(size), home.path().join(size.to_string()));
            let file = File::create(&path).unwrap();
            let to = DirectFile::of(&file, size as u64);
            let from = bytes.clone();
            let fill = move |piece: &mut Piece, (length, at): Span| {
                piece[..length].copy_from_slice(&from[at as usize..at as usize + length]);
                Ok(())
            };
            pass(size as u64, fill, |bytes, at| {
                to.write_at(bytes, at).unwrap();
                Ok(())
            })
            .unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "{size}");

            let file = File::open(&path).unwrap();
            let (from, mut back) = (DirectFile::of(&file, size as u64), Vec::new());
            let fill = |piece: &mut Piece, (length, at): Span| {
                assert_eq!(from.read_at(piece, length, at), Ok(length));
                Ok(())
            };
            pass(size as u64, fill, |bytes, _| {
                back.extend_from_slice(bytes);
                Ok(())
            })
            .unwrap();
            assert!(back == bytes, "{size}");
        }
    }

    #[test]
    fn bytes_that_are_not_aligned_take_the_usual_way() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let file = File::create(&path).unwrap();
        let bytes = bytes_of(3 * PIECE);
        let to = DirectFile::of(&file, bytes.len() as u64);
        to.write_at(&bytes[..PIECE + 7], 0).unwrap();
        to.write_at(&bytes[PIECE + 7..], PIECE as u64 + 7).unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes);
    }

    #[test]
    fn a_file_that_ends_early_is_told() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        std::fs::write(&path, bytes_of(PIECE / 2 + 3)).unwrap();
        let file = File::open(&path).unwrap();
        let from = DirectFile::of(&file, PIECE as u64);
        let read = from.read_at(&mut Piece::take(), PIECE, 0);
        assert_eq!(read, Ok(PIECE / 2 + 3));
    }

    #[test]
    fn whoever_fails_first_ends_it_for_both() {
        let failure = || Failure {
            class: FailureClass::Transient,
            backend: domicile_estate::BackendName::new("disk").unwrap(),
            object: None,
            message: String::new(),
        };
        for size in [1, TWO_THREADS_FROM * 2] {
            let filled = pass(size, |_, _| Err(failure()), |_, _| Ok(()));
            assert_eq!(filled, Err(failure()));
            let emptied = pass(size, |_, _| Ok(()), |_, _| Err(failure()));
            assert_eq!(emptied, Err(failure()));
        }
    }
}
