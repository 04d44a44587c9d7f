//! Folders behind HTTP: WebDAV, and what a plain web server gives out.
//!
//! ```text
//!  Dav, Index ──▶ Web (address, sign in, send, try again) ──▶ http1 (kept connections)
//! ```

mod dav;
mod index;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use domicile_estate::{Backend, StoreKind};
use domicile_movers::{Failure, FailureClass};
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, ETAG, HOST, HeaderName, HeaderValue, IF_MATCH, LAST_MODIFIED, RANGE,
};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Response, StatusCode, Uri};

use crate::credentials::{CredentialValues, Keys, resolve};
use crate::http1::{Broken, Http, Incoming, Payload, decode};
use crate::redact::Redactor;
use crate::s3::encode;
use crate::tree::TreeStore;
use crate::tree::remote::{Asked, Coming, Entry, Remote, Trouble, TroubleKind};

/// Tries of one request within one step; what outlasts them is for the transfer, which has reasons and longer waits.
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Opens a folder behind HTTP as its manifest says. It asks nothing.
pub(crate) fn open(backend: &Backend, values: &CredentialValues) -> Result<TreeStore, Failure> {
    let refused = |class, message| Failure::of_backend(class, &backend.name, message);
    let keys =
        resolve(backend, values).map_err(|message| refused(FailureClass::CredentialsRefused, message))?;
    let redactor = Redactor::of(keys.iter().map(|keys| keys.secret_access_key.as_str()));
    let web =
        Web::new(backend, keys.as_ref()).map_err(|message| refused(FailureClass::StoreMissing, message))?;
    let place = format!("folder `{}` at `{}`", web.root, web.authority);
    let remote: Arc<dyn Remote> = match backend.store.kind {
        StoreKind::Webdav => Arc::new(dav::Dav::new(web)),
        _ => Arc::new(index::Index(web)),
    };
    Ok(TreeStore::new(backend.name.clone(), remote, redactor, place))
}

/// One server and the folder on it.
#[derive(Clone)]
struct Web {
    http: Http,
    scheme: Scheme,
    authority: Authority,
    /// The path of the root, decoded, with no `/` at its end.
    root: String,
    signed_in: Option<HeaderValue>,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Web({}{})", self.authority, self.root)
    }
}

/// What is asked of a path. A path that ends with `/` is a folder.
struct Ask<'a> {
    method: Method,
    path: &'a str,
    headers: HeaderMap,
    payload: Payload,
}

impl<'a> Ask<'a> {
    fn new(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            headers: HeaderMap::with_capacity(6),
            payload: Payload::default(),
        }
    }

    fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl Web {
    fn new(backend: &Backend, keys: Option<&Keys>) -> Result<Self, String> {
        let text = backend.store.option("endpoint").trim();
        let broken = || format!("its endpoint `{text}` is no address");
        let uri: Uri = text.parse().map_err(|_| broken())?;
        let base = decode(uri.path()).ok_or_else(broken)?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.ok_or_else(broken)?;
        let authority = parts.authority.ok_or_else(broken)?;
        if authority.as_str().contains('@') {
            return Err("its endpoint has a user in it: give `credentials` instead".to_owned());
        }
        let root = match backend.store.option("root").trim_matches('/') {
            "" => base.trim_end_matches('/').to_owned(),
            root => format!("{}/{root}", base.trim_end_matches('/')),
        };
        let signed_in = keys.map(|keys| {
            let both = format!("{}:{}", keys.access_key_id, keys.secret_access_key);
            let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(both)))
                .map_err(|_| "its credentials hold what no header can".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        });
        Ok(Self {
            http: Http::new(scheme == Scheme::HTTPS)?,
            scheme,
            authority,
            root,
            signed_in: signed_in.transpose()?,
        })
    }

    /// The path of an address, encoded.
    fn encoded(&self, path: &str) -> String {
        let mut text = String::with_capacity(64 + path.len());
        encode(&self.root, true, &mut text);
        text.push('/');
        encode(path, true, &mut text);
        text
    }

    /// Whether TLS notices bits that turn on the way.
    fn is_guarded(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    fn address(&self, path: &str) -> Result<Uri, Trouble> {
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(self.encoded(path))
            .build();
        uri.map_err(|_| Trouble::new(TroubleKind::Name, "its name is too long for an address"))
    }

    /// The head of a good answer, whose body is still to come; sent again where that may help.
    async fn ask(&self, ask: &Ask<'_>) -> Result<Response<Incoming>, Trouble> {
        let mut wait = FIRST_WAIT;
        for _ in 1..TRIES {
            match self.ask_once(ask).await {
                Err(trouble) if trouble.is(TroubleKind::Passing) => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                other => return other,
            }
        }
        self.ask_once(ask).await
    }

    async fn ask_once(&self, ask: &Ask<'_>) -> Result<Response<Incoming>, Trouble> {
        let uri = self.address(ask.path)?;
        let mut headers = ask.headers.clone();
        if let Ok(host) = HeaderValue::from_str(self.authority.as_str()) {
            headers.insert(HOST, host);
        }
        if let Some(signed_in) = &self.signed_in {
            headers.insert(AUTHORIZATION, signed_in.clone());
        }
        if ask.method == Method::PUT {
            // Said even where it is zero: some servers wait for it.
            headers.insert(CONTENT_LENGTH, HeaderValue::from(ask.payload.size()));
        }
        let response = self
            .http
            .send(&ask.method, &uri, headers, ask.payload.clone())
            .await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        // Read, so that the connection can be used again; what is said in it is for browsers.
        let _ = self.http.all_bytes(response.into_body()).await;
        Err(refused(status))
    }

    /// The same where nothing but success is of interest.
    async fn do_it(&self, ask: &Ask<'_>) -> Result<(), Trouble> {
        let response = self.ask(ask).await?;
        self.http.all_bytes(response.into_body()).await?;
        Ok(())
    }

    /// Reads a range of a file that is in the state that was seen.
    async fn read(&self, path: &str, range: Range<u64>, seen: &Entry) -> Result<Box<dyn Coming>, Trouble> {
        let size = range.end - range.start;
        let mut ask = Ask::new(Method::GET, path);
        if seen.size != Some(size) {
            ask = ask.header(RANGE, &format!("bytes={}-{}", range.start, range.end - 1));
        }
        // A weak one is never matched (RFC 9110, 13.1.1).
        if let Some(etag) = seen.etag.as_deref().filter(|etag| !etag.starts_with("W/")) {
            ask = ask.header(IF_MATCH, &format!("\"{etag}\""));
        }
        let response = self.ask(&ask).await?;
        // A server may send everything whatever range is asked for (RFC 9110, 14.2).
        let skip = match response.status() {
            StatusCode::PARTIAL_CONTENT => 0,
            _ => range.start,
        };
        let told = entry(response.headers());
        let same = told.etag == seen.etag || told.etag.is_none() || seen.etag.is_none();
        if !same {
            return Err(changed());
        }
        Ok(Box::new(Body {
            http: self.http.clone(),
            body: response.into_body(),
            skip,
            left: size,
        }))
    }
}

fn changed() -> Trouble {
    Trouble::new(TroubleKind::Changed, "it was changed while it was read")
}

/// What a status means; every kind of server uses these alike.
fn refused(status: StatusCode) -> Trouble {
    let kind = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::CONFLICT => TroubleKind::Gone,
        StatusCode::PRECONDITION_FAILED => TroubleKind::Exists,
        StatusCode::UNAUTHORIZED => TroubleKind::Credentials,
        StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => TroubleKind::Denied,
        StatusCode::INSUFFICIENT_STORAGE | StatusCode::PAYLOAD_TOO_LARGE => TroubleKind::NoRoom,
        StatusCode::URI_TOO_LONG | StatusCode::BAD_REQUEST => TroubleKind::Name,
        status if status.is_redirection() => TroubleKind::Place,
        _ => TroubleKind::Passing,
    };
    Trouble::new(kind, format!("the server said {status}"))
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Self {
        Self::passing(broken.0)
    }
}

/// What the head of an answer tells of a file.
fn entry(headers: &HeaderMap) -> Entry {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    Entry {
        name: String::new(),
        size: text(CONTENT_LENGTH).and_then(|size| size.parse().ok()),
        modified_ms: text(LAST_MODIFIED).and_then(time_ms),
        etag: text(ETAG).map(bare_etag),
        kind: Some(crate::listing::ListedKind::File),
    }
}

/// An ETag without its quotes: some servers forget them in one answer and not in another.
fn bare_etag(etag: &str) -> String {
    etag.trim().trim_matches('"').to_owned()
}

/// A time as HTTP writes it.
fn time_ms(text: &str) -> Option<i64> {
    let time = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    Some(time.timestamp().as_millisecond())
}

/// The bytes of an answer that were asked for.
struct Body {
    http: Http,
    body: Incoming,
    skip: u64,
    left: u64,
}

impl Coming for Body {
    fn next(&mut self) -> Asked<'_, Option<Bytes>> {
        Box::pin(async move {
            while self.left > 0 {
                let Some(mut bytes) = self.http.next_bytes(&mut self.body).await? else {
                    return Ok(None);
                };
                let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.skip -= skipped as u64;
                let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
                bytes = bytes.slice(skipped..);
                bytes.truncate(wanted);
                if !bytes.is_empty() {
                    self.left -= bytes.len() as u64;
                    return Ok(Some(bytes));
                }
            }
            Ok(None)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_as_they_were_encoded() {
        let name = "Größe/a+b%20c ?#";
        let mut text = String::new();
        encode(name, true, &mut text);
        assert_eq!(decode(&text).as_deref(), Some(name));
        assert_eq!(
            decode("a+b"),
            Some("a+b".to_owned()),
            "a plus is no blank in a path"
        );
        for bad in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_status_says_whom_to_blame() {
        let kind = |status: u16| refused(StatusCode::from_u16(status).unwrap()).kind;
        assert_eq!(kind(404), TroubleKind::Gone);
        assert_eq!(kind(401), TroubleKind::Credentials);
        assert_eq!(kind(412), TroubleKind::Exists);
        assert_eq!(kind(507), TroubleKind::NoRoom);
        assert_eq!(kind(503), TroubleKind::Passing);
    }
}
