//! Signatures of requests: AWS Signature Version 4, in the header, with a payload that is not signed (it has a checksum
//! of its own, which is signed).
//!
//! Source: the S3 API reference, "Authenticating Requests: Using the Authorization Header". Written here because the
//! signer that comes with OpenDAL can neither correct the clock nor keep the key of the day; a test compares the two.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use jiff::Timestamp;
use ring::{digest, hmac};

use crate::credentials::Keys;
use crate::digest::hex;

/// The header that says how the payload is signed.
pub(super) const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const UNSIGNED: HeaderValue = HeaderValue::from_static("UNSIGNED-PAYLOAD");

/// Signs requests with the keys to one store.
pub(super) struct Signer {
    keys: Keys,
    region: String,
    /// The key of a day, which is four digests to make.
    of_day: Mutex<Option<(String, hmac::Key)>>,
}

/// What is signed besides the headers.
pub(super) struct Signed<'a> {
    pub method: &'a str,
    /// The path as it is sent.
    pub path: &'a str,
    /// The query as it is sent: its parts in order of their names.
    pub query: &'a str,
}

impl Signer {
    pub(super) fn new(keys: Keys, region: String) -> Self {
        Self {
            keys,
            region,
            of_day: Mutex::new(None),
        }
    }

    /// Whose key it is.
    pub(super) fn key_id(&self) -> &str {
        &self.keys.access_key_id
    }

    /// Adds what a signed request has to have; `host` must be among the headers. `None` if a key is no text that a
    /// header can hold.
    pub(super) fn sign(&self, request: &Signed<'_>, headers: &mut HeaderMap, now: Timestamp) -> Option<()> {
        let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = time.get(..8)?;
        headers.insert(DATE, HeaderValue::from_str(&time).ok()?);
        headers.insert(CONTENT_SHA256, UNSIGNED);
        if let Some(token) = &self.keys.session_token {
            let mut value = HeaderValue::from_str(token).ok()?;
            value.set_sensitive(true);
            headers.insert(SECURITY_TOKEN, value);
        }
        let (text, names) = canonical(request, headers)?;
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(digest.as_ref()));
        let signature = hmac::sign(&self.key_of(day), to_sign.as_bytes());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            self.keys.access_key_id,
            hex(signature.as_ref())
        );
        let mut value = HeaderValue::from_str(&authorization).ok()?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        Some(())
    }

    fn key_of(&self, day: &str) -> hmac::Key {
        let mut of_day = self.of_day.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, key)) = &*of_day
            && of == day
        {
            return key.clone();
        }
        let secret = format!("AWS4{}", self.keys.secret_access_key);
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        for step in [day, &self.region, "s3", "aws4_request"] {
            let next = hmac::sign(&key, step.as_bytes());
            key = hmac::Key::new(hmac::HMAC_SHA256, next.as_ref());
        }
        *of_day = Some((day.to_owned(), key.clone()));
        key
    }
}

/// The canonical request, and the names of its headers.
fn canonical(request: &Signed<'_>, headers: &HeaderMap) -> Option<(String, String)> {
    let mut sorted = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        sorted.push((name.as_str(), std::str::from_utf8(value.as_bytes()).ok()?.trim()));
    }
    sorted.sort_unstable();
    let mut text = String::with_capacity(512);
    let mut names = String::with_capacity(128);
    // Writing to a String cannot fail.
    let _ = write!(text, "{}\n{}\n{}\n", request.method, request.path, request.query);
    for (name, value) in sorted {
        let _ = writeln!(text, "{name}:{value}");
        if !names.is_empty() {
            names.push(';');
        }
        names.push_str(name);
    }
    let _ = write!(text, "\n{names}\nUNSIGNED-PAYLOAD");
    Some((text, names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use reqsign_aws_v4::{Credential, RequestSigner};
    use reqsign_core::{Context, SignRequest as _};

    /// The signer that comes with OpenDAL, an implementation by others, says the same for the same moment.
    #[tokio::test]
    async fn another_signer_says_the_same() {
        for token in [None, Some("session+token/=".to_owned())] {
            let keys = Keys {
                access_key_id: "AKIDEXAMPLE".to_owned(),
                secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
                session_token: token.clone(),
            };
            let path = "/bucket/a%20b/%2B%C3%9F/c~d";
            let query = "list-type=2&prefix=a%2Fb%20c&uploads=";
            let uri = format!("http://localhost:8333{path}?{query}");
            let mut request = Request::get(&uri)
                .header("host", "localhost:8333")
                .header("x-amz-meta-domicile-transfer", "one")
                .header(CONTENT_SHA256, "UNSIGNED-PAYLOAD")
                .body(())
                .unwrap()
                .into_parts()
                .0;
            let mut ours = request.headers.clone();
            let credential = Credential {
                access_key_id: keys.access_key_id.clone(),
                secret_access_key: keys.secret_access_key.clone(),
                session_token: token,
                ..Credential::default()
            };
            RequestSigner::new("s3", "eu-central-1")
                .sign_request(&Context::new(), &mut request, Some(&credential), None)
                .await
                .unwrap();
            let date = request.headers.get(DATE).unwrap().to_str().unwrap();
            let now = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).unwrap();
            let now = now.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
            let signed = Signed {
                method: "GET",
                path,
                query,
            };
            Signer::new(keys, "eu-central-1".to_owned())
                .sign(&signed, &mut ours, now)
                .unwrap();
            assert_eq!(ours.get(AUTHORIZATION), request.headers.get(AUTHORIZATION));
        }
    }
}
