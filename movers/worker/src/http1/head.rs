//! Heads of requests and answers as text.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Uri, Version};

use super::{Broken, Payload};

/// Bytes of a head at most.
pub(super) const HEAD_MAX: usize = 64 * 1024;
/// Headers of an answer at most.
const HEADERS_MAX: usize = 128;

/// A request's head. The names and values are such as cannot hold an end of line.
pub(super) fn request(method: &Method, uri: &Uri, headers: &HeaderMap, payload: &Payload) -> Bytes {
    let mut text = Vec::with_capacity(1024);
    let mut add = |parts: &[&[u8]]| parts.iter().for_each(|part| text.extend_from_slice(part));
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    add(&[
        method.as_str().as_bytes(),
        b" ",
        target.as_bytes(),
        b" HTTP/1.1\r\n",
    ]);
    for (name, value) in headers {
        add(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    if payload.size() > 0 && !headers.contains_key(CONTENT_LENGTH) {
        let length = payload.size().to_string();
        add(&[b"content-length: ", length.as_bytes(), b"\r\n"]);
    }
    add(&[b"\r\n"]);
    text.into()
}

/// An answer's head.
#[derive(Debug)]
pub(super) struct Head {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub version: Version,
}

/// How it is told where an answer ends (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClosed,
}

/// Reads a head and says how long it is; `None` if it has not come whole.
pub(super) fn answer(text: &[u8]) -> Result<Option<(usize, Head)>, Broken> {
    let odd = || Broken::new("the answer is no HTTP");
    let mut found = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut found);
    let length = match parsed.parse(text).map_err(|_| odd())? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial if text.len() >= HEAD_MAX => return Err(odd()),
        httparse::Status::Partial => return Ok(None),
    };
    let shared = Bytes::copy_from_slice(text.get(..length).unwrap_or_default());
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| odd())?;
        // The value is a part of the text: it is taken from the copy that all values share.
        let start = header.value.as_ptr() as usize - text.as_ptr() as usize;
        let value = shared.slice(start..start + header.value.len());
        headers.append(name, HeaderValue::from_maybe_shared(value).map_err(|_| odd())?);
    }
    let status = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(odd)?;
    let version = match parsed.version {
        Some(1) => Version::HTTP_11,
        _ => Version::HTTP_10,
    };
    Ok(Some((
        length,
        Head {
            status,
            headers,
            version,
        },
    )))
}

impl Head {
    /// Where the answer ends. What could be read in two ways is no answer.
    pub(super) fn framing(&self, method: &Method) -> Result<Framing, Broken> {
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
        if method == Method::HEAD || self.status.is_informational() || bodiless.contains(&self.status) {
            return Ok(Framing::Length(0));
        }
        let odd = || Broken::new("it is not clear where the answer ends");
        let mut lengths = self.headers.get_all(CONTENT_LENGTH).iter();
        let first = lengths.next();
        if lengths.any(|other| Some(other) != first) {
            return Err(odd());
        }
        let mut encodings = self.headers.get_all(TRANSFER_ENCODING).iter();
        match (encodings.next(), first) {
            (None, None) => Ok(Framing::UntilClosed),
            (None, Some(length)) => {
                let digits = length.as_bytes();
                let length = std::str::from_utf8(digits)
                    .ok()
                    .filter(|_| digits.iter().all(u8::is_ascii_digit));
                let length = length.and_then(|length| length.parse().ok()).ok_or_else(odd)?;
                Ok(Framing::Length(length))
            }
            (Some(encoding), None)
                if encodings.next().is_none() && encoding.as_bytes().eq_ignore_ascii_case(b"chunked") =>
            {
                Ok(Framing::Chunked)
            }
            (Some(_), _) => Err(odd()),
        }
    }

    /// Whether the connection can be used for another request.
    pub(super) fn keeps_connection(&self) -> bool {
        let says = |word: &str| {
            let all = self.headers.get_all(CONNECTION).iter();
            let mut words = all
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','));
            words.any(|found| found.trim().eq_ignore_ascii_case(word))
        };
        !says("close") && (self.version == Version::HTTP_11 || says("keep-alive"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        let text = text.replace('\n', "\r\n");
        let (length, head) = answer(text.as_bytes()).unwrap().unwrap();
        assert_eq!(length, text.len());
        head
    }

    #[test]
    fn where_an_answer_ends_is_told_in_one_way_only() {
        let get = |text: &str| head(text).framing(&Method::GET).ok();
        assert_eq!(
            get("HTTP/1.1 200 OK\nContent-Length: 5\n\n"),
            Some(Framing::Length(5))
        );
        assert_eq!(
            get("HTTP/1.1 200 OK\nTransfer-Encoding: Chunked\n\n"),
            Some(Framing::Chunked)
        );
        assert_eq!(get("HTTP/1.1 200 OK\n\n"), Some(Framing::UntilClosed));
        assert_eq!(get("HTTP/1.1 204 No\n\n"), Some(Framing::Length(0)));
        for odd in [
            "Content-Length: 5\nContent-Length: 6",
            "Content-Length: +5",
            "Content-Length: 5\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
        ] {
            assert_eq!(get(&format!("HTTP/1.1 200 OK\n{odd}\n\n")), None, "{odd}");
        }
        let to_head = head("HTTP/1.1 200 OK\nContent-Length: 5\n\n").framing(&Method::HEAD);
        assert_eq!(to_head.ok(), Some(Framing::Length(0)));
    }

    #[test]
    fn a_connection_is_kept_unless_one_side_says_otherwise() {
        assert!(head("HTTP/1.1 200 OK\n\n").keeps_connection());
        assert!(!head("HTTP/1.1 200 OK\nConnection: te, Close\n\n").keeps_connection());
        assert!(!head("HTTP/1.0 200 OK\n\n").keeps_connection());
        assert!(head("HTTP/1.0 200 OK\nConnection: keep-alive\n\n").keeps_connection());
    }

    #[test]
    fn half_a_head_is_waited_for_and_what_is_none_is_refused() {
        assert!(answer(b"HTTP/1.1 200 OK\r\nEtag: \"a\"\r\n").unwrap().is_none());
        assert!(answer(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_MAX));
        assert!(answer(endless.as_bytes()).is_err());
        let (_, head) = answer(b"HTTP/1.1 200 OK\r\nETag: \"a\"\r\n\r\nbytes")
            .unwrap()
            .unwrap();
        assert_eq!(head.headers["etag"], "\"a\"");
    }

    #[test]
    fn a_request_says_how_long_it_is() {
        let uri: Uri = "http://h:1/a%20b?c=d".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("h:1"));
        let payload = Payload::of(&[Bytes::from_static(b"abc")]);
        let text = request(&Method::PUT, &uri, &headers, &payload);
        assert_eq!(
            text,
            "PUT /a%20b?c=d HTTP/1.1\r\nhost: h:1\r\ncontent-length: 3\r\n\r\n".as_bytes()
        );
    }
}
