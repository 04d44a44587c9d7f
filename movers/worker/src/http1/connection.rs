//! One connection: a request is written to it and the head of its answer read from it, by whoever waits for the answer.
//! Nobody else looks after it: a task of its own would be woken, and wake, for every request.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BufMut as _;
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::head::{self, Head};
use super::payload::Sending;
use super::{Broken, Payload};

/// Bytes that are read at once where it is not known how many come: a head, and a small object behind it.
const READ: usize = 16 * 1024;

/// TLS reads its records in small pieces, which come from a buffer.
pub(super) type Secured = TlsStream<BufReader<TcpStream>>;

#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<Secured>),
}

impl Stream {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }

    /// Reads at most `limit` bytes behind those that are there already.
    fn poll_read_into(
        &mut self,
        context: &mut Context<'_>,
        into: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let mut into = into.limit(limit);
        match self {
            Self::Plain(stream) => pin!(stream.read_buf(&mut into)).poll(context),
            Self::Tls(stream) => pin!(stream.read_buf(&mut into)).poll(context),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    /// What was read and not used, from `used` on.
    read: Vec<u8>,
    used: usize,
    /// Bytes that went either way, for who watches whether anything moves.
    pub moved: u64,
}

/// What came of a request.
pub(super) struct Answered {
    pub head: Head,
    /// Whether the whole request was sent before.
    pub in_order: bool,
}

/// A request that broke, and whether the store may have seen it.
pub(super) struct Unanswered {
    pub broken: Broken,
    /// Whether nothing came back, which is so where a kept connection was closed meanwhile.
    pub nothing_came: bool,
}

/// A request on this connection.
pub(super) struct Exchange {
    sending: Sending,
    sent: bool,
    failed: Option<io::Error>,
    came: bool,
}

impl Exchange {
    pub(super) fn new(method: &Method, uri: &Uri, headers: &HeaderMap, payload: Payload) -> Self {
        Self {
            sending: Sending::new(head::request(method, uri, headers, &payload), payload),
            sent: false,
            failed: None,
            came: false,
        }
    }
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            read: Vec::with_capacity(READ),
            used: 0,
            moved: 0,
        }
    }

    /// Whether it can be used once more: the other side has not closed it, and has sent nothing that nobody asked for.
    pub(super) fn is_alive(&mut self) -> bool {
        if self.used < self.read.len() {
            return false;
        }
        let mut one = [0];
        let mut context = Context::from_waker(std::task::Waker::noop());
        self.stream
            .poll_read(&mut context, &mut ReadBuf::new(&mut one))
            .is_pending()
    }

    /// Sends what can be sent, and reads the head of the answer, which may come before all is sent.
    pub(super) fn poll_exchange(
        &mut self,
        context: &mut Context<'_>,
        exchange: &mut Exchange,
    ) -> Poll<Result<Answered, Unanswered>> {
        if !exchange.sent && exchange.failed.is_none() {
            match self.poll_send(context, &mut exchange.sending) {
                Poll::Ready(Ok(true)) => exchange.sent = true,
                Poll::Ready(Ok(false)) => {
                    let broken = Broken::new("what was to be sent broke off");
                    return Poll::Ready(Err(Unanswered {
                        broken,
                        nothing_came: false,
                    }));
                }
                // A store that refuses a request before its end says why and closes: that is still to be read.
                Poll::Ready(Err(error)) => exchange.failed = Some(error),
                Poll::Pending => {}
            }
        }
        loop {
            let head = match ready!(self.poll_head(context)) {
                Ok(head) => head,
                Err(broken) => {
                    let first = exchange.failed.take().map(|error| Broken::of(&error));
                    let nothing_came = !exchange.came && self.read.is_empty();
                    return Poll::Ready(Err(Unanswered {
                        broken: first.unwrap_or(broken),
                        nothing_came,
                    }));
                }
            };
            exchange.came = true;
            if head.status == StatusCode::SWITCHING_PROTOCOLS || head.status.is_success() && !exchange.sent {
                let broken = Broken::new("the answer came before the request was sent");
                return Poll::Ready(Err(Unanswered {
                    broken,
                    nothing_came: false,
                }));
            }
            // What is told on the way says nothing of the end.
            if !head.status.is_informational() {
                let in_order = exchange.sent;
                return Poll::Ready(Ok(Answered { head, in_order }));
            }
        }
    }

    /// Whether all is sent; `false` if what was to be sent broke off.
    fn poll_send(&mut self, context: &mut Context<'_>, sending: &mut Sending) -> Poll<io::Result<bool>> {
        loop {
            match ready!(sending.poll_ready(context)) {
                None => return Poll::Ready(Ok(false)),
                Some(true) => {
                    ready!(self.stream.poll_flush(context))?;
                    return Poll::Ready(Ok(true));
                }
                Some(false) => {
                    let mut slices = Vec::with_capacity(4);
                    sending.slices(&mut slices);
                    let sent = ready!(self.stream.poll_write(context, &slices))?;
                    if sent == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    drop(slices);
                    sending.sent(sent);
                    self.moved += sent as u64;
                }
            }
        }
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Head, Broken>> {
        loop {
            if self.used < self.read.len()
                && let Some((length, head)) = head::answer(self.unused())?
            {
                self.consume(length);
                return Poll::Ready(Ok(head));
            }
            if ready!(self.poll_more(context)).map_err(|error| Broken::of(&error))? == 0 {
                return Poll::Ready(Err(Broken::new(
                    "the connection was closed before an answer came",
                )));
            }
        }
    }

    /// What was read and not used.
    pub(super) fn unused(&self) -> &[u8] {
        self.read.get(self.used..).unwrap_or_default()
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.used += bytes;
        if self.used >= self.read.len() {
            self.read.clear();
            self.used = 0;
        }
    }

    /// Reads some more; 0 if the other side has ended.
    pub(super) fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.used > 0 {
            self.read.drain(..self.used);
            self.used = 0;
        }
        self.read.reserve(READ / 2);
        let room = self.read.capacity() - self.read.len();
        let read = ready!(self.stream.poll_read_into(context, &mut self.read, room))?;
        self.moved += read as u64;
        Poll::Ready(Ok(read))
    }

    /// Reads to where the bytes are wanted; 0 if the other side has ended.
    pub(super) fn poll_bytes(
        &mut self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let unused = self.unused();
        if !unused.is_empty() {
            let taken = unused.len().min(into.len());
            into[..taken].copy_from_slice(&unused[..taken]);
            self.consume(taken);
            return Poll::Ready(Ok(taken));
        }
        let mut into = ReadBuf::new(into);
        ready!(self.stream.poll_read(context, &mut into))?;
        let read = into.filled().len();
        self.moved += read as u64;
        Poll::Ready(Ok(read))
    }
}
