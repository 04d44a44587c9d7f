//! Bytes to and from the disk past the memory of the system.
//!
//! What is written once and read back once is of no use to the system's cache: taking memory for it, copying it there and
//! giving the memory back costs more than the disk and the digest together. So large files are written and read back
//! directly (`O_DIRECT`), from memory that is aligned as disks want it. It is also the honest way to read back: the bytes
//! come from the disk, whatever the system remembers of them. A file system that does not do it, or does it badly, is used
//! as usual.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, sync_channel};

use bytes::Bytes;
use domicile_movers::Failure;
use rustix::fs::OFlags;
use rustix::io::{Errno, retry_on_intr};

use crate::buffers::{self, ALIGN, Buffer};

/// Bytes that are read or written at once. With fewer, the disk waits for us; more hold memory and gain nothing.
pub(super) const PIECE: usize = buffers::BYTES;
/// Smaller files are not worth it: they lie in memory anyhow when they are written.
const DIRECT_MIN: u64 = 256 * 1024;
/// From here on a second thread reads while the first one writes; for less it costs more than it gains.
const TWO_THREADS_FROM: u64 = 8 * 1024 * 1024;
/// One piece that is filled and one that is emptied.
const PIECES: usize = 2;

/// The memory that passing a file of this size takes.
pub(crate) fn memory_for(size: u64) -> u64 {
    let pieces = if size >= TWO_THREADS_FROM { PIECES } else { 1 };
    size.min((pieces * PIECE) as u64)
}

/// Aligned memory of [`PIECE`] bytes. Dropping it gives it back.
pub(super) struct Piece(Buffer);

impl Piece {
    pub(super) fn take() -> Self {
        let mut buffer = buffers::take(PIECE);
        // What is in it is what its last user left.
        buffer.fill(PIECE);
        Self(buffer)
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.filled()
    }
}

impl DerefMut for Piece {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.filled_mut()
    }
}

/// A file that goes past the system's memory as long as its file system and the bytes allow it.
pub(super) struct DirectFile<F> {
    file: F,
    was_direct: bool,
    direct: AtomicBool,
}

impl<F: Deref<Target = File>> DirectFile<F> {
    /// For a file that is going to have a size. Nobody else may write or read by the same handle meanwhile.
    pub(super) fn of(file: F, size: u64) -> Self {
        let direct = size >= DIRECT_MIN && set_direct(&file, true).is_ok();
        Self {
            file,
            was_direct: direct,
            direct: AtomicBool::new(direct),
        }
    }

    fn is_direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed)
    }

    /// From here on as usual.
    fn stop(&self) -> Result<(), Errno> {
        self.direct.store(false, Ordering::Relaxed);
        // Also where another part of it has just done so, and may not have come to this yet.
        set_direct(&self.file, false)
    }

    /// Writes chunks one after the other from a place on. Those that are not aligned are put together in memory that is.
    pub(super) fn write_chunks(&self, chunks: &[Bytes], mut at: u64) -> std::io::Result<()> {
        let mut held = 0;
        let mut piece = None;
        for (number, chunk) in chunks.iter().enumerate() {
            let mut rest = &chunk[..];
            if held == 0 && (!self.is_direct() || rest.as_ptr().align_offset(ALIGN) == 0) {
                let straight = match self.is_direct() {
                    true => rest.len() - rest.len() % ALIGN,
                    false => rest.len(),
                };
                self.write_at(&rest[..straight], at)?;
                at += straight as u64;
                rest = &rest[straight..];
                if number + 1 == chunks.len() {
                    // Less than a block, and nothing behind it: memory to put it together in would be for nothing.
                    return self.write_at(rest, at);
                }
            }
            while !rest.is_empty() {
                let piece = piece.get_or_insert_with(Piece::take);
                let some = rest.len().min(PIECE - held);
                piece[held..held + some].copy_from_slice(&rest[..some]);
                (held, rest) = (held + some, &rest[some..]);
                if held == PIECE {
                    self.write_at(piece, at)?;
                    (held, at) = (0, at + PIECE as u64);
                }
            }
        }
        match piece {
            Some(piece) => self.write_at(&piece[..held], at),
            None => Ok(()),
        }
    }

    /// Writes all of the bytes at a place.
    pub(super) fn write_at(&self, bytes: &[u8], at: u64) -> std::io::Result<()> {
        let whole = bytes.len() - bytes.len() % ALIGN;
        if !self.is_direct() || !at.is_multiple_of(ALIGN as u64) || whole == 0 {
            if self.was_direct && !bytes.is_empty() {
                self.stop()?;
            }
            return self.file.write_all_at(bytes, at);
        }
        let done = match retry_on_intr(|| rustix::io::pwrite(&*self.file, &bytes[..whole], at)) {
            Ok(done) => done,
            Err(errno) if is_full(errno) => return Err(errno.into()),
            // What a file system says to what it does not do is of its own choice.
            Err(_) => 0,
        };
        if done < whole {
            // Refused, or the disk is getting full: the usual way finds out, and its error is the one to tell.
            self.stop()?;
        }
        match &bytes[done..] {
            [] => Ok(()),
            rest => self.write_at(rest, at + done as u64),
        }
    }

    /// Fills the beginning of memory with what lies at a place; fewer bytes than wanted at the end of the file.
    pub(super) fn read_at(&self, into: &mut [u8], wanted: usize, at: u64) -> Result<usize, Errno> {
        let mut done = 0;
        while done < wanted {
            let from = at + done as u64;
            let end = wanted.next_multiple_of(ALIGN).min(into.len());
            if !from.is_multiple_of(ALIGN as u64) && self.is_direct() {
                self.stop()?;
            }
            match retry_on_intr(|| rustix::io::pread(&*self.file, &mut into[done..end], from)) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(_) if self.is_direct() => self.stop()?,
                Err(errno) => return Err(errno),
            }
        }
        Ok(done.min(wanted))
    }
}

fn is_full(errno: Errno) -> bool {
    matches!(errno, Errno::NOSPC | Errno::DQUOT | Errno::FBIG)
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

    /// The bytes as chunks of these lengths in turn: aligned ones where a buffer is, others where a plain one is.
    fn cut(bytes: &[u8], lengths: &[usize]) -> Vec<Bytes> {
        let (mut chunks, mut rest) = (Vec::new(), bytes);
        for length in lengths.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (some, others) = rest.split_at((*length).min(rest.len()));
            let mut buffer = buffers::take(some.len());
            buffer.room()[..some.len()].copy_from_slice(some);
            buffer.fill(some.len());
            chunks.push(buffer.into_bytes());
            rest = others;
        }
        chunks
    }

    #[test]
    fn chunks_of_any_length_at_any_place_come_to_lie_there() {
        let sizes = [
            0,
            1,
            4095,
            4096,
            4097,
            PIECE - 1,
            PIECE,
            PIECE + 1,
            2 * PIECE,
            3 * PIECE + 4095,
            3 * PIECE + 4097,
        ];
        let cuts: [&[usize]; 5] = [
            &[PIECE],
            &[PIECE - 1],
            &[300_000],
            &[PIECE, 4096, 5],
            &[7, PIECE, PIECE / 2, 99_999],
        ];
        let homes = [std::env::temp_dir(), "/dev/shm".into()];
        for home in homes.iter().filter(|home| home.is_dir()) {
            let home = tempfile::tempdir_in(home).unwrap();
            for (size, lengths, at) in sizes
                .iter()
                .flat_map(|size| cuts.iter().map(move |cut| (size, cut)))
                .flat_map(|(size, cut)| [0, 4096, 4097].map(|at| (*size, *cut, at)))
            {
                let path = home.path().join("file");
                // What lies there already ends where they begin, or after them.
                let mut expected = vec![0xaa; at + if size % 2 == 0 { 0 } else { size + 10 }];
                std::fs::write(&path, &expected).unwrap();
                let bytes = bytes_of(size);
                let file = File::options().write(true).open(&path).unwrap();
                let to = DirectFile::of(&file, 16 << 20);
                to.write_chunks(&cut(&bytes, lengths), at as u64).unwrap();
                expected.resize(expected.len().max(at + size), 0);
                expected[at..at + size].copy_from_slice(&bytes);
                let found = std::fs::read(&path).unwrap();
                assert!(found == expected, "{size} bytes at {at}, cut into {lengths:?}");
            }
        }
    }

    #[test]
    fn whole_buffers_of_a_whole_file_never_leave_the_direct_way() {
        let home = tempfile::tempdir().unwrap();
        let file = File::create(home.path().join("file")).unwrap();
        let to = DirectFile::of(&file, 4 << 20);
        if !to.is_direct() {
            // This file system does not do it.
            return;
        }
        to.write_chunks(&cut(&bytes_of(4 << 20), &[PIECE]), 0).unwrap();
        assert!(to.is_direct());
        to.write_chunks(&cut(&bytes_of(4096 * 100), &[PIECE]), 4 << 20)
            .unwrap();
        assert!(to.is_direct());
        to.write_chunks(&cut(b"end", &[PIECE]), 5 << 20).unwrap();
        assert!(!to.is_direct(), "the end of a file is no whole block");
    }

    #[test]
    fn parts_that_are_written_at_once_by_one_handle_all_come_to_lie_there() {
        const PART: usize = 2 * PIECE;
        let home = tempfile::tempdir().unwrap();
        let bytes = bytes_of(3 * PART + 5);
        for round in 0..8_usize {
            let path = home.path().join(round.to_string());
            let file = File::create(&path).unwrap();
            let to = DirectFile::of(&file, bytes.len() as u64);
            // The last one ends what is direct while the others are under way, some of which are not aligned.
            std::thread::scope(|scope| {
                for (number, part) in bytes.chunks(PART).enumerate() {
                    let (to, length) = (&to, if number % 2 == round % 2 { PIECE } else { 300_001 });
                    scope.spawn(move || {
                        to.write_chunks(&cut(part, &[length]), (number * PART) as u64)
                            .unwrap()
                    });
                }
            });
            assert!(std::fs::read(&path).unwrap() == bytes, "{round}");
        }
    }

    #[test]
    fn what_fails_directly_is_tried_once_the_usual_way_whose_error_is_told() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        std::fs::write(&path, bytes_of(PIECE)).unwrap();
        let file = File::open(&path).unwrap();
        let to = DirectFile::of(&file, PIECE as u64);
        let mut piece = Piece::take();
        let failed = to.write_at(&piece, 0).unwrap_err();
        assert_eq!(failed.raw_os_error(), Some(Errno::BADF.raw_os_error()));
        assert!(!to.is_direct());
        let file = File::options().write(true).open(&path).unwrap();
        let from = DirectFile::of(&file, PIECE as u64);
        assert_eq!(from.read_at(&mut piece, PIECE, 0), Err(Errno::BADF));
        assert!(!from.is_direct());
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
