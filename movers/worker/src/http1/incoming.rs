//! The bytes of an answer, as they come.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::Broken;
use super::connection::Connection;
use super::head::{Framing, HEAD_MAX};
use super::pool::{Peer, Pool};
use crate::buffers::{self, Buffer};

/// Bytes that are given on at once: large enough that a wake is worth it, small enough to be still in the processor's
/// cache when they are digested.
const PIECE: u64 = 1024 * 1024;
/// The same where it is not known how many come.
const PIECE_UNKNOWN: usize = 32 * 1024;

/// Where in an answer the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// So many bytes are left, and nothing behind them.
    Length(u64),
    UntilClosed,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    End,
}

/// The bytes of an answer. At their end the connection is kept for the next request; dropped before, it is closed.
#[derive(Debug)]
pub(crate) struct Incoming {
    connection: Option<Connection>,
    home: Option<(Arc<Pool>, Peer)>,
    at: At,
    filling: Option<Buffer>,
    /// What is told once the bytes before it were given on.
    broken: Option<Broken>,
}

impl Incoming {
    /// `home` is where the connection goes at the end, if it can be used again.
    pub(super) fn new(connection: Connection, framing: Framing, home: Option<(Arc<Pool>, Peer)>) -> Self {
        let mut incoming = Self {
            connection: Some(connection),
            home,
            at: match framing {
                Framing::Length(0) => At::End,
                Framing::Length(length) => At::Length(length),
                Framing::Chunked => At::ChunkSize,
                Framing::UntilClosed => At::UntilClosed,
            },
            filling: None,
            broken: None,
        };
        incoming.end();
        incoming
    }

    /// Bytes that went over the connection so far.
    pub(super) fn moved(&self) -> u64 {
        self.connection.as_ref().map_or(0, |connection| connection.moved)
    }

    /// Gives the connection back if the answer has ended.
    fn end(&mut self) {
        if self.at == At::End
            && let Some(connection) = self.connection.take()
            && let Some((pool, peer)) = self.home.take()
        {
            pool.keep(peer, connection);
        }
    }

    /// The next bytes; `None` at the end.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Some(broken) = self.broken.take() {
            self.connection = None;
            return Poll::Ready(Some(Err(broken)));
        }
        loop {
            let step = match self.at {
                At::End => {
                    self.end();
                    return Poll::Ready(None);
                }
                At::Length(left) | At::Chunk(left) => ready!(self.poll_fill(context, left)),
                At::UntilClosed => ready!(self.poll_some(context)),
                At::ChunkSize | At::ChunkEnd | At::Trailer => ready!(self.poll_frame(context)).map(|()| None),
            };
            let bytes = self.filling.take().filter(|bytes| bytes.len() > 0);
            match step {
                Err(broken) if bytes.is_some() => self.broken = Some(broken),
                Err(broken) => {
                    self.connection = None;
                    return Poll::Ready(Some(Err(broken)));
                }
                Ok(next) => self.at = next.unwrap_or(self.at),
            }
            self.end();
            if let Some(bytes) = bytes {
                return Poll::Ready(Some(Ok(bytes.into_bytes())));
            }
        }
    }

    /// Fills a buffer, and says where the answer stands then. A buffer that is half full would hold as much memory.
    fn poll_fill(&mut self, context: &mut Context<'_>, left: u64) -> Poll<Result<Option<At>, Broken>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(Err(ended_early()));
        };
        let wanted = usize::try_from(left.min(PIECE)).unwrap_or(PIECE_UNKNOWN);
        let buffer = self.filling.get_or_insert_with(|| buffers::take(wanted));
        while buffer.len() < wanted {
            let left = wanted - buffer.len();
            let room = buffer.room();
            let most = left.min(room.len());
            match ready!(connection.poll_bytes(context, &mut room[..most])) {
                Ok(0) => return Poll::Ready(Err(ended_early())),
                Ok(read) => buffer.fill(read),
                Err(error) => return Poll::Ready(Err(Broken::of(&error))),
            }
        }
        let left = left - wanted as u64;
        let next = match self.at {
            At::Chunk(_) if left == 0 => At::ChunkEnd,
            At::Chunk(_) => At::Chunk(left),
            _ if left == 0 => At::End,
            _ => At::Length(left),
        };
        Poll::Ready(Ok(Some(next)))
    }

    /// Reads whatever comes; where the other side closes, it has ended.
    fn poll_some(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<At>, Broken>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(Err(ended_early()));
        };
        let buffer = self.filling.get_or_insert_with(|| buffers::take(PIECE_UNKNOWN));
        Poll::Ready(match ready!(connection.poll_bytes(context, buffer.room())) {
            Ok(0) => Ok(Some(At::End)),
            Ok(read) => {
                buffer.fill(read);
                Ok(Some(At::UntilClosed))
            }
            Err(error) => Err(Broken::of(&error)),
        })
    }

    /// Reads what stands between chunks (RFC 9112, 7.1).
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(Err(ended_early()));
        };
        let odd = || Broken::new("the answer comes in odd pieces");
        loop {
            let unused = connection.unused();
            let found = match self.at {
                At::ChunkSize => match httparse::parse_chunk_size(unused) {
                    Ok(httparse::Status::Complete((length, 0))) => Some((length, At::Trailer)),
                    Ok(httparse::Status::Complete((length, size))) => Some((length, At::Chunk(size))),
                    Ok(httparse::Status::Partial) => None,
                    Err(_) => return Poll::Ready(Err(odd())),
                },
                At::ChunkEnd if unused.len() < 2 => None,
                At::ChunkEnd if unused.starts_with(b"\r\n") => Some((2, At::ChunkSize)),
                At::ChunkEnd => return Poll::Ready(Err(odd())),
                _ => match unused.windows(2).position(|pair| pair == b"\r\n") {
                    Some(0) => Some((2, At::End)),
                    Some(length) => Some((length + 2, At::Trailer)),
                    None => None,
                },
            };
            if let Some((length, next)) = found {
                connection.consume(length);
                self.at = next;
                return Poll::Ready(Ok(()));
            }
            if unused.len() > HEAD_MAX {
                return Poll::Ready(Err(odd()));
            }
            match ready!(connection.poll_more(context)) {
                Ok(0) => return Poll::Ready(Err(ended_early())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(Broken::of(&error))),
            }
        }
    }
}

fn ended_early() -> Broken {
    Broken::new("the connection was closed before the answer ended")
}
