//! Buffers that are used again. A fresh large buffer is fresh pages of memory, which the system has to clear: for a
//! mover that costs as much as hashing what is put into them.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Bytes in a buffer that is used again; smaller ones are made as they are needed.
const BYTES: usize = 1024 * 1024;
/// Buffers that wait for their next use at most. What is in use is bounded by the budget of the worker.
const WAITING_MAX: usize = 64;

static WAITING: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer in use. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Buffer(Vec<u8>);

/// An empty buffer for at least this many bytes.
pub(crate) fn take(bytes: usize) -> Buffer {
    if bytes * 4 <= BYTES || bytes > BYTES {
        return Buffer(Vec::with_capacity(bytes));
    }
    let waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner).pop();
    Buffer(waiting.unwrap_or_else(|| Vec::with_capacity(BYTES)))
}

impl Buffer {
    pub(crate) fn vec(&self) -> &Vec<u8> {
        &self.0
    }

    pub(crate) fn vec_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// The bytes in it, shared; the buffer is given back when the last share is dropped.
    pub(crate) fn into_bytes(self) -> Bytes {
        if self.0.capacity() < BYTES {
            let mut buffer = self;
            return Bytes::from(std::mem::take(&mut buffer.0));
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.0.capacity() != BYTES {
            return;
        }
        let mut buffer = std::mem::take(&mut self.0);
        buffer.clear();
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_a_buffer_is_not_seen_by_its_next_user() {
        let mut buffer = take(BYTES);
        buffer.vec_mut().extend_from_slice(b"first");
        let shared = buffer.into_bytes();
        let again = shared.clone();
        drop(shared);
        let mut other = take(BYTES);
        other.vec_mut().extend_from_slice(b"other");
        assert_eq!(
            again,
            b"first".as_slice(),
            "what is still shared is not given out"
        );
        drop(again);
        let next = take(BYTES);
        assert!(next.vec().is_empty() && next.vec().capacity() == BYTES);
        assert_eq!(take(10).vec().capacity(), 10);
    }
}
