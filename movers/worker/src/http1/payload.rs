//! What a request sends.

use std::io::IoSlice;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

/// Chunks that are given to the system at once.
const CHUNKS_AT_ONCE: usize = 32;

/// The bytes of a request. Cloning shares them, for the next try.
#[derive(Debug, Clone, Default)]
pub(crate) struct Payload {
    chunks: Arc<[Bytes]>,
    /// Bytes that come while they are sent; such a request can be sent once.
    coming: Option<Arc<Mutex<mpsc::Receiver<Bytes>>>>,
    size: u64,
}

impl Payload {
    pub(crate) fn of(chunks: &[Bytes]) -> Self {
        Self {
            chunks: chunks.into(),
            coming: None,
            size: chunks.iter().map(|chunk| chunk.len() as u64).sum(),
        }
    }

    /// So many bytes, which come through a channel. Where it ends before, the request breaks off.
    pub(crate) fn coming(bytes: mpsc::Receiver<Bytes>, size: u64) -> Self {
        Self {
            chunks: Arc::default(),
            coming: Some(Arc::new(Mutex::new(bytes))),
            size,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether it can be sent once more.
    pub(super) fn can_be_repeated(&self) -> bool {
        self.coming.is_none()
    }
}

/// A request on its way: its head, then its bytes.
#[derive(Debug)]
pub(super) struct Sending {
    head: Bytes,
    payload: Payload,
    /// The chunk that is under way, where all are known.
    next: usize,
    chunk: Bytes,
    /// Bytes of the payload that were not taken up yet.
    left: u64,
}

impl Sending {
    pub(super) fn new(head: Bytes, payload: Payload) -> Self {
        let left = payload.size;
        Self {
            head,
            payload,
            next: 0,
            chunk: Bytes::new(),
            left,
        }
    }

    /// Whether nothing is left to be sent, as far as it has come; `None` if it broke off.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Option<bool>> {
        while self.head.is_empty() && self.chunk.is_empty() && self.left > 0 {
            let chunk = match &self.payload.coming {
                None => self.payload.chunks.get(self.next).cloned(),
                Some(coming) => {
                    let mut coming = coming.lock().unwrap_or_else(PoisonError::into_inner);
                    ready!(coming.poll_recv(context))
                }
            };
            self.next += 1;
            let fits = chunk.filter(|chunk| chunk.len() as u64 <= self.left);
            let Some(chunk) = fits else {
                return Poll::Ready(None);
            };
            self.left -= chunk.len() as u64;
            self.chunk = chunk;
        }
        Poll::Ready(Some(self.head.is_empty() && self.chunk.is_empty()))
    }

    /// What is to be sent next, as one write.
    pub(super) fn slices<'a>(&'a self, into: &mut Vec<IoSlice<'a>>) {
        let known = match self.payload.coming {
            None => self.payload.chunks.get(self.next..).unwrap_or_default(),
            Some(_) => &[],
        };
        let all = [&self.head, &self.chunk].into_iter().chain(known);
        let some = all.filter(|chunk| !chunk.is_empty()).take(CHUNKS_AT_ONCE);
        into.extend(some.map(|chunk| IoSlice::new(chunk)));
    }

    /// That many bytes of the slices were sent.
    pub(super) fn sent(&mut self, mut bytes: usize) {
        let of_head = bytes.min(self.head.len());
        self.head.advance(of_head);
        bytes -= of_head;
        loop {
            let of_chunk = bytes.min(self.chunk.len());
            self.chunk.advance(of_chunk);
            bytes -= of_chunk;
            if bytes == 0 {
                return;
            }
            let Some(chunk) = self.payload.chunks.get(self.next) else {
                return;
            };
            self.chunk = chunk.clone();
            self.next += 1;
            self.left = self.left.saturating_sub(self.chunk.len() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_sent_at_once_all_is_sent_in_order() {
        let chunks: Vec<Bytes> = [&b"abc"[..], b"", b"defgh", b"i"]
            .into_iter()
            .map(Bytes::from_static)
            .collect();
        let mut context = Context::from_waker(std::task::Waker::noop());
        for at_once in 1..14 {
            let mut sending = Sending::new(Bytes::from_static(b"head:"), Payload::of(&chunks));
            let mut sent = Vec::new();
            while sending.poll_ready(&mut context) == Poll::Ready(Some(false)) {
                let mut slices = Vec::new();
                sending.slices(&mut slices);
                let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                let some = at_once.min(all.len());
                sent.extend_from_slice(&all[..some]);
                sending.sent(some);
            }
            assert_eq!(sent, b"head:abcdefghi", "{at_once}");
        }
    }

    #[test]
    fn what_comes_short_or_long_breaks_off() {
        let mut context = Context::from_waker(std::task::Waker::noop());
        for (size, chunk) in [(4, "abc"), (2, "abc")] {
            let (sender, receiver) = mpsc::channel(1);
            sender.try_send(Bytes::from_static(chunk.as_bytes())).unwrap();
            drop(sender);
            let mut sending = Sending::new(Bytes::new(), Payload::coming(receiver, size));
            if sending.poll_ready(&mut context) == Poll::Ready(Some(false)) {
                sending.sent(chunk.len());
            }
            assert_eq!(sending.poll_ready(&mut context), Poll::Ready(None), "{size}");
        }
    }
}
