//! Buffers that are used again, aligned as disks want them.
//!
//! A fresh large buffer is fresh pages of memory, which the system has to clear: for a mover that costs as much as hashing
//! what is put into them. And what a store sends straight into aligned memory goes from there to a disk past the memory of
//! the system (`fs/direct.rs`), which would cost more than all the rest together.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Bytes in a buffer that is used again; smaller ones are made as they are needed.
pub(crate) const BYTES: usize = 1024 * 1024;
/// What disks want addresses, offsets and lengths to be multiples of: the largest block in use. Where one wants more, it
/// says so, and its files are used as usual.
pub(crate) const ALIGN: usize = 4096;
/// Buffers that wait for their next use at most. What is in use is bounded by the budget of the worker.
const WAITING_MAX: usize = 64;

static WAITING: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer in use. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Buffer {
    /// All of it is initialised, once: so it can be filled by whoever takes a slice.
    memory: Vec<u8>,
    /// Where what is used of it begins.
    start: usize,
    filled: usize,
}

/// An empty buffer for so many bytes. A large one is aligned.
pub(crate) fn take(bytes: usize) -> Buffer {
    if bytes * 4 <= BYTES || bytes > BYTES {
        return Buffer {
            memory: vec![0; bytes],
            start: 0,
            filled: 0,
        };
    }
    let waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let memory = waiting.unwrap_or_else(|| vec![0; BYTES + ALIGN]);
    // Where it cannot be told, the disk refuses what is not aligned, and is used as usual.
    let start = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
    Buffer {
        memory,
        start,
        filled: 0,
    }
}

impl Buffer {
    fn is_used_again(&self) -> bool {
        self.memory.len() == BYTES + ALIGN
    }

    /// What was put into it.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.filled]
    }

    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.filled]
    }

    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    /// What can still be put into it, behind the rest; `fill` says how much was.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let end = match self.is_used_again() {
            true => self.start + BYTES,
            false => self.memory.len(),
        };
        &mut self.memory[self.start + self.filled..end]
    }

    /// So many bytes of its room were filled.
    pub(crate) fn fill(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    /// The bytes in it, shared; the buffer is given back when the last share is dropped.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        if self.is_used_again() {
            return Bytes::from_owner(self);
        }
        let mut memory = std::mem::take(&mut self.memory);
        memory.truncate(self.filled);
        Bytes::from(memory)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.filled()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.is_used_again() {
            return;
        }
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.push(std::mem::take(&mut self.memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(buffer: &mut Buffer, bytes: &[u8]) {
        buffer.room()[..bytes.len()].copy_from_slice(bytes);
        buffer.fill(bytes.len());
    }

    #[test]
    fn what_was_in_a_buffer_is_not_seen_by_its_next_user() {
        let mut buffer = take(BYTES);
        put(&mut buffer, b"first");
        let shared = buffer.into_bytes();
        let again = shared.clone();
        drop(shared);
        let mut other = take(BYTES);
        put(&mut other, b"other");
        assert_eq!(
            again,
            b"first".as_slice(),
            "what is still shared is not given out"
        );
        drop(again);
        let mut next = take(BYTES);
        assert!(next.filled().is_empty() && next.room().len() == BYTES);
    }

    #[test]
    fn a_large_buffer_begins_where_disks_want_it() {
        for bytes in [BYTES / 4 + 1, BYTES - 1, BYTES] {
            let mut buffer = take(bytes);
            assert_eq!(buffer.room().as_ptr().align_offset(ALIGN), 0, "{bytes}");
            put(&mut buffer, b"a");
            assert_eq!(buffer.into_bytes().as_ptr().align_offset(ALIGN), 0, "{bytes}");
        }
        for bytes in [0, 1, BYTES / 4, BYTES + 1] {
            let mut buffer = take(bytes);
            assert_eq!(buffer.room().len(), bytes);
            buffer.fill(bytes);
            assert_eq!(buffer.into_bytes().len(), bytes, "{bytes}");
        }
    }
}
