//! HTTP/1.1 to one store: connections are kept and used again.
//!
//! ```text
//!  send ──▶ pool (a kept connection) or connect ──▶ connection: request out, head of the answer in
//!                └───────────◀─── at its end ─── incoming: the bytes of the answer, whole megabytes at a time
//! ```
//!
//! Of our own, because most of what a small object costs is what lies around its bytes: here whoever waits for an answer
//! reads it from the connection itself, into buffers that are used again, and no other task has a part in it.

mod connect;
mod connection;
mod head;
mod incoming;
mod payload;
mod pool;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, Method, Response, Uri};
use tokio_rustls::TlsConnector;

use connection::{Answered, Exchange, Unanswered};
pub(crate) use incoming::Incoming;
pub(crate) use payload::Payload;
use pool::{Peer, Pool};

/// How long a store may take no further bytes, not answer, or send no further bytes of an answer.
const SILENCE: Duration = Duration::from_secs(60);
/// Says another number of seconds, so that tests need not wait so long.
const SILENCE_VARIABLE: &str = "DOMICILE_SILENCE_SECONDS";
/// Bytes of an answer that is read whole, such as a listing of a thousand keys.
const ANSWER_MAX: usize = 8 * 1024 * 1024;

/// Connections to one store.
#[derive(Clone)]
pub(crate) struct Http {
    pool: Arc<Pool>,
    tls: TlsConnector,
    silence: Duration,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

impl Http {
    pub(crate) fn new(with_tls: bool) -> Result<Self, String> {
        let told = std::env::var(SILENCE_VARIABLE).ok();
        let told = told
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs);
        Ok(Self {
            pool: Arc::default(),
            tls: connect::tls(with_tls)?,
            silence: told.unwrap_or(SILENCE),
        })
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        method: &Method,
        uri: &Uri,
        headers: HeaderMap,
        payload: Payload,
    ) -> Result<Response<Incoming>, Broken> {
        let authority = uri.authority().cloned();
        let peer = Peer {
            with_tls: uri.scheme() == Some(&Scheme::HTTPS),
            authority: authority.ok_or_else(|| Broken::new("the address names no host"))?,
        };
        loop {
            let kept = self.pool.take(&peer);
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => connect::connect(&peer, &self.tls).await?,
            };
            let mut exchange = Exchange::new(method, uri, &headers, payload.clone());
            let mut before = connection.moved;
            let answered = loop {
                let answer = poll_fn(|context| connection.poll_exchange(context, &mut exchange));
                match tokio::time::timeout(self.silence, answer).await {
                    Ok(answered) => break answered,
                    // A large body over a slow line may take long, as long as it moves.
                    Err(_) if connection.moved > before => before = connection.moved,
                    Err(_) => return Err(Broken::silent(self.silence)),
                }
            };
            match answered {
                Ok(Answered { head, in_order }) => {
                    let framing = head.framing(method)?;
                    let home = (in_order && head.keeps_connection()).then(|| (Arc::clone(&self.pool), peer));
                    let mut response = Response::new(Incoming::new(connection, framing, home));
                    *response.status_mut() = head.status;
                    *response.version_mut() = head.version;
                    *response.headers_mut() = head.headers;
                    return Ok(response);
                }
                // The other side closed it while it lay idle, which is no fault (RFC 9112, 9.3.1).
                Err(Unanswered {
                    nothing_came: true, ..
                }) if was_kept && method.is_idempotent() && payload.can_be_repeated() => {}
                Err(Unanswered { broken, .. }) => return Err(broken),
            }
        }
    }

    /// The next bytes of an answer; `None` at its end.
    pub(crate) async fn next_bytes(&self, body: &mut Incoming) -> Result<Option<Bytes>, Broken> {
        loop {
            let before = body.moved();
            match tokio::time::timeout(self.silence, poll_fn(|context| body.poll_next(context))).await {
                Ok(next) => return next.transpose(),
                Err(_) if body.moved() > before => {}
                Err(_) => return Err(Broken::silent(self.silence)),
            }
        }
    }

    /// A whole answer, which is small.
    pub(crate) async fn all_bytes(&self, mut body: Incoming) -> Result<Bytes, Broken> {
        let first = self.next_bytes(&mut body).await?.unwrap_or_default();
        let mut all = Vec::new();
        while let Some(bytes) = self.next_bytes(&mut body).await? {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            if all.len() + bytes.len() > ANSWER_MAX {
                return Err(Broken::new("the answer is too long"));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(if all.is_empty() { first } else { all.into() })
    }
}

/// A connection that broke, in the words of its cause.
#[derive(Debug)]
pub(crate) struct Broken(pub String);

impl Broken {
    fn new(what: &str) -> Self {
        Self(what.to_owned())
    }

    /// The innermost cause says what happened ("connection refused"); what wraps it says where, with URLs.
    fn of(error: &dyn std::error::Error) -> Self {
        let mut cause = error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        Self(cause.to_string())
    }

    fn silent(silence: Duration) -> Self {
        Self(format!("nothing moved for {} s", silence.as_secs()))
    }
}

/// Percent-encoded text as it is meant; `None` if it is none.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}
