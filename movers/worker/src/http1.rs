//! HTTP/1.1 to one store: connections are kept and used again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::sync::mpsc;

const CONNECT: Duration = Duration::from_secs(15);
/// How long a kept connection may lie idle: less than servers wait, which often is a minute.
const IDLE: Duration = Duration::from_secs(30);
/// How long a store may take no further bytes, not answer, or send no further bytes of an answer.
const SILENCE: Duration = Duration::from_secs(60);
/// Says another number of seconds, so that tests need not wait so long.
const SILENCE_VARIABLE: &str = "DOMICILE_SILENCE_SECONDS";
/// Bytes of an answer that is read whole, such as a listing of a thousand keys.
const ANSWER_MAX: usize = 8 * 1024 * 1024;

/// The bytes of a request. Cloning shares them, for the next try.
#[derive(Debug, Clone, Default)]
pub(crate) struct Payload {
    chunks: VecDeque<Bytes>,
    /// Bytes that come while they are sent; such a request can be sent once.
    coming: Option<Arc<Mutex<mpsc::Receiver<Bytes>>>>,
    left: u64,
    /// Chunks that the connection has taken, over all tries.
    taken: Arc<AtomicU64>,
}

impl Payload {
    pub(crate) fn of(chunks: &[Bytes]) -> Self {
        let chunks: VecDeque<_> = chunks.iter().filter(|chunk| !chunk.is_empty()).cloned().collect();
        let left = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self {
            chunks,
            coming: None,
            left,
            taken: Arc::default(),
        }
    }

    /// So many bytes, which come through a channel. Where it ends before, the request breaks off.
    pub(crate) fn coming(bytes: mpsc::Receiver<Bytes>, size: u64) -> Self {
        Self {
            chunks: VecDeque::new(),
            coming: Some(Arc::new(Mutex::new(bytes))),
            left: size,
            taken: Arc::default(),
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = match &self.coming {
            None => self.chunks.pop_front(),
            Some(coming) => {
                let mut coming = coming.lock().unwrap_or_else(PoisonError::into_inner);
                ready!(coming.poll_recv(context))
            }
        };
        let size = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        self.left = self.left.saturating_sub(size);
        self.taken.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Connections to one store.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Payload>,
    silence: Duration,
}

impl Http {
    /// TLS is by rustls with ring, which a C compiler alone can build; roots are those of the machine, and are only
    /// read where TLS is spoken.
    pub(crate) fn new(with_tls: bool) -> Result<Self, String> {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let failed = |error: &dyn std::fmt::Display| format!("cannot set up TLS: {error}");
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?;
        let tls = if with_tls {
            tls.with_native_roots().map_err(|error| failed(&error))?
        } else {
            tls.with_root_certificates(rustls::RootCertStore::empty())
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(IDLE));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .set_host(false)
            .build(connector);
        let told = std::env::var(SILENCE_VARIABLE).ok();
        let told = told
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs);
        Ok(Self {
            client,
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
        let taken = Arc::clone(&payload.taken);
        let mut request = Request::new(payload);
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        let mut answer = self.client.request(request);
        let mut before = taken.load(Ordering::Relaxed);
        loop {
            match tokio::time::timeout(self.silence, &mut answer).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(Broken::of(&error)),
                Err(_) => {
                    // A large body over a slow line may take long, as long as it moves.
                    let now = taken.load(Ordering::Relaxed);
                    if now == before {
                        return Err(Broken::silent(self.silence));
                    }
                    before = now;
                }
            }
        }
    }

    /// The next bytes of an answer; `None` at its end.
    pub(crate) async fn next_bytes(&self, body: &mut Incoming) -> Result<Option<Bytes>, Broken> {
        loop {
            match tokio::time::timeout(self.silence, body.frame()).await {
                Err(_) => return Err(Broken::silent(self.silence)),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(Broken::of(&error)),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data()
                        && !bytes.is_empty()
                    {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// A whole answer, which is small.
    pub(crate) async fn all_bytes(&self, body: Incoming) -> Result<Bytes, Broken> {
        match tokio::time::timeout(self.silence, Limited::new(body, ANSWER_MAX).collect()).await {
            Err(_) => Err(Broken::silent(self.silence)),
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) => Err(Broken::of(&*error)),
        }
    }
}

/// A connection that broke, in the words of its cause.
#[derive(Debug)]
pub(crate) struct Broken(pub String);

impl Broken {
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
