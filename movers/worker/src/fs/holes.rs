//! Holes of sparse files: where a source stores nothing, its copy in a folder stores nothing either. They read as zeros, so
//! that no digest knows of them.

use std::fs::File;
use std::ops::{Deref, Range};
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::FallocateFlags;

use super::direct::DirectFile;

/// What is looked at at once: file systems store in smaller blocks, and smaller holes save little.
const BLOCK: usize = 64 * 1024;
static ZEROS: [u8; BLOCK] = [0; BLOCK];
/// What ends before that has no holes worth looking for.
const WORTH_A_LOOK: u64 = 1024 * 1024;
/// The unit in which systems tell what a file takes.
const SECTOR: u64 = 512;

/// The holes of what is being copied.
pub(super) struct Holes {
    /// Whether the source has any: only then it is worth looking for zeros.
    sparse: bool,
    /// Where the bytes end that are copied. The last ones are always written, so that the file is as long.
    end: u64,
    found: Vec<Range<u64>>,
}

impl Holes {
    /// For a copy of a file, or of a part of it that ends there.
    pub(super) fn of(source: &File, end: u64) -> Self {
        let is_sparse = || {
            let found = source.metadata();
            found.is_ok_and(|found| found.blocks() * SECTOR < found.len())
        };
        Self {
            sparse: end >= WORTH_A_LOOK && is_sparse(),
            end,
            found: Vec::new(),
        }
    }

    /// Writes bytes at a place, but for what may be a hole there.
    pub(super) fn write<F: Deref<Target = File>>(
        &mut self,
        to: &DirectFile<F>,
        bytes: &[u8],
        at: u64,
    ) -> std::io::Result<()> {
        if !self.sparse {
            return to.write_at(bytes, at);
        }
        let mut written = 0;
        for begin in (0..bytes.len()).step_by(BLOCK) {
            let until = begin + BLOCK;
            let is_hole = bytes.get(begin..until) == Some(&ZEROS[..]) && at + (until as u64) < self.end;
            if is_hole {
                to.write_at(&bytes[written..begin], at + written as u64)?;
                written = until;
                self.add(at + begin as u64..at + until as u64);
            }
        }
        to.write_at(&bytes[written..], at + written as u64)
    }

    fn add(&mut self, hole: Range<u64>) {
        match self.found.last_mut() {
            Some(last) if last.end == hole.start => last.end = hole.end,
            _ => self.found.push(hole),
        }
    }

    /// Gives back the room of all holes, once what is around them is written: a system gives back none behind the end of a
    /// file. What lay there before is gone then, too.
    pub(super) fn punch<F: Deref<Target = File>>(
        self,
        file: &File,
        to: &DirectFile<F>,
    ) -> std::io::Result<()> {
        for hole in self.found {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            if rustix::fs::fallocate(file, flags, hole.start, hole.end - hole.start).is_ok() {
                continue;
            }
            for at in hole.step_by(BLOCK) {
                to.write_at(&ZEROS, at)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn zeros_of_a_sparse_source_take_no_room_and_hide_nothing_that_lay_there() {
        const SIZE: u64 = 40 * BLOCK as u64 + 5;
        let home = tempfile::tempdir().unwrap();
        let source = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(home.path().join("source"))
            .unwrap();
        source.set_len(SIZE).unwrap();
        source.write_all_at(b"some", 3 * BLOCK as u64 + 7).unwrap();
        source.write_all_at(b"more", 20 * BLOCK as u64 - 2).unwrap();
        let mut bytes = vec![0; SIZE as usize];
        source.read_exact_at(&mut bytes, 0).unwrap();
        let copied = |name: &str, before: &[u8], sparse: bool| {
            let path = home.path().join(name);
            std::fs::write(&path, before).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            let to = DirectFile::of(&file, SIZE);
            let mut holes = Holes::of(&source, SIZE);
            holes.sparse &= sparse;
            for (at, piece) in bytes.chunks(16 * BLOCK).enumerate() {
                holes.write(&to, piece, (at * 16 * BLOCK) as u64).unwrap();
            }
            holes.punch(&file, &to).unwrap();
            assert!(std::fs::read(&path).unwrap() == bytes, "{name}");
            file.metadata().unwrap().blocks() * SECTOR
        };
        let dense = copied("dense", b"", false);
        let sparse = copied("sparse", b"", true);
        copied("over others", &vec![b'x'; SIZE as usize], true);
        if Holes::of(&source, SIZE).sparse {
            assert!(sparse * 4 < dense, "{sparse} bytes of {dense} are stored");
        }
    }
}
