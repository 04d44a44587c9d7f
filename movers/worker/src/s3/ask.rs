//! One request and its answer: signed, sent, and sent again where that may help.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use jiff::Timestamp;

use super::S3Store;
use super::failure::Refused;
use super::keys::encode;
use super::sign::Signed;
use super::xml::Element;
use crate::http1::{Incoming, Payload};

/// Tries of one request within one step; what outlasts them is for the transfer, which has reasons and longer waits.
const TRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// What a store calls a signature of another time.
const SKEWED: &str = "RequestTimeTooSkewed";
/// From how many seconds on a clock is another one: stores allow a quarter of an hour.
const CLOCK_DIFFERS_S: i64 = 300;
/// How far a clock is followed.
const CLOCK_MAX_S: i64 = 2 * 24 * 3600;

/// Whether a store that was asked for one thing answers another question, which it takes the first one for: some know no
/// listing of uploads or parts, and tell objects instead, or call it by a name of their own. Of objects it is never taken:
/// they would be taken for gone.
fn is_other_question(asked: &str, told: &str) -> bool {
    asked != "ListBucketResult" && told.ends_with("Result")
}

/// What is asked of a store.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub method: Method,
    /// The path below the root; `None` for the bucket itself.
    pub path: Option<String>,
    /// Made by [`super::keys::query`], or empty.
    pub query: String,
    pub headers: HeaderMap,
    pub payload: Payload,
}

impl Ask {
    pub(super) fn object(method: Method, path: &str) -> Self {
        Self {
            method,
            path: Some(path.to_owned()),
            query: String::new(),
            headers: HeaderMap::with_capacity(12),
            payload: Payload::default(),
        }
    }

    pub(super) fn bucket(query: String) -> Self {
        Self {
            method: Method::GET,
            path: None,
            query,
            headers: HeaderMap::with_capacity(6),
            payload: Payload::default(),
        }
    }

    pub(super) fn query(mut self, query: String) -> Self {
        self.query = query;
        self
    }

    pub(super) fn payload(mut self, chunks: &[Bytes]) -> Self {
        self.payload = Payload::of(chunks);
        self
    }

    /// With a header, if the value is text that a header can hold; our own values are.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl S3Store {
    /// The head of a good answer, whose body is still to come. Refusals have been read.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Response<Incoming>, Refused> {
        self.again_and_again(|| self.ask_once(ask)).await
    }

    /// The same for an answer that is small: it is read whole.
    pub(super) async fn ask_whole(&self, ask: &Ask) -> Result<(HeaderMap, Bytes), Refused> {
        self.again_and_again(|| self.ask_whole_once(ask)).await
    }

    async fn ask_whole_once(&self, ask: &Ask) -> Result<(HeaderMap, Bytes), Refused> {
        let (head, body) = self.ask_once(ask).await?.into_parts();
        Ok((head.headers, self.http.all_bytes(body).await?))
    }

    /// The same for a question, whose answer is XML of one name: one that came short is asked for again, and so is a page
    /// that somebody on the way has put in its place.
    pub(super) async fn ask_xml(&self, ask: &Ask, name: &str) -> Result<Element, Refused> {
        self.again_and_again(|| async {
            let (_, body) = self.ask_whole_once(ask).await?;
            let broken = |message: String| Refused {
                status: None,
                code: String::new(),
                message,
            };
            let answer =
                Element::parse(&body).ok_or_else(|| broken("the answer is no whole XML".to_owned()))?;
            if answer.name != name {
                let message = format!("the answer is no `{name}`; is it an S3 store that answers there?");
                return Err(Refused {
                    status: is_other_question(name, &answer.name).then_some(StatusCode::NOT_IMPLEMENTED),
                    ..broken(message)
                });
            }
            // What a listing leaves out would be taken for gone.
            let told = answer
                .text_of("KeyCount")
                .and_then(|count| count.trim().parse().ok());
            if told.is_some_and(|told: usize| told > answer.all("Contents").count()) {
                return Err(broken("the listing tells fewer objects than it says".to_owned()));
            }
            Ok(answer)
        })
        .await
    }

    async fn again_and_again<T, F>(&self, mut once: impl FnMut() -> F) -> Result<T, Refused>
    where
        F: Future<Output = Result<T, Refused>>,
    {
        let mut wait = FIRST_WAIT;
        let mut corrected = false;
        for attempt in 1.. {
            let refused = match once().await {
                Ok(answer) => return Ok(answer),
                Err(refused) => refused,
            };
            if refused.code == SKEWED && !corrected {
                // The answer had the store's time in it, and the next request is signed by that.
                corrected = true;
                continue;
            }
            if attempt >= TRIES || !refused.may_pass() {
                return Err(refused);
            }
            tracing::debug!(backend = %self.backend, status = ?refused.status, "asking the store again");
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        unreachable!("the tries are bounded")
    }

    /// The same, sent once: for what is expected to be refused.
    pub(super) async fn ask_once(&self, ask: &Ask) -> Result<Response<Incoming>, Refused> {
        let signed_by = self.learnt.clock_ahead_s.load(Ordering::Relaxed);
        let (uri, headers) = self.address(ask)?;
        let response = self
            .http
            .send(&ask.method, &uri, headers, ask.payload.clone())
            .await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let body = self.http.all_bytes(body).await?;
        let mut refused = Refused::answered(status, &body);
        // The answer to a HEAD has no body that would say why.
        let untold = status == StatusCode::FORBIDDEN && body.is_empty();
        if refused.code == SKEWED || untold {
            self.follow_clock(&head.headers);
            let now = self.learnt.clock_ahead_s.load(Ordering::Relaxed);
            if untold && (now - signed_by).abs() > CLOCK_DIFFERS_S {
                SKEWED.clone_into(&mut refused.code);
            }
        }
        Err(refused)
    }

    fn address(&self, ask: &Ask) -> Result<(Uri, HeaderMap), Refused> {
        let broken = |what: &str| Refused {
            status: None,
            code: String::new(),
            message: what.to_owned(),
        };
        let mut path = String::with_capacity(128);
        path.push_str(&self.endpoint.path);
        path.push('/');
        encode(&self.bucket, true, &mut path);
        if let Some(object) = &ask.path {
            path.push('/');
            encode(&self.root, true, &mut path);
            encode(object, true, &mut path);
        }
        let target = match ask.query.as_str() {
            "" => path.clone(),
            query => format!("{path}?{query}"),
        };
        let uri = Uri::builder()
            .scheme(self.endpoint.scheme.clone())
            .authority(self.endpoint.authority.clone())
            .path_and_query(target)
            .build()
            .map_err(|_| broken("the path is no address"))?;
        let mut headers = ask.headers.clone();
        let host = HeaderValue::from_str(self.endpoint.authority.as_str());
        headers.insert(HOST, host.map_err(|_| broken("the endpoint is no host"))?);
        if let Some(signer) = &self.signer {
            let ahead = self.learnt.clock_ahead_s.load(Ordering::Relaxed);
            let now = Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
            let signed = Signed {
                method: ask.method.as_str(),
                path: &path,
                query: &ask.query,
            };
            let done = signer.sign(&signed, &mut headers, now);
            done.ok_or_else(|| broken("the keys or a header hold what no header can"))?;
        }
        if ask.method == Method::PUT || ask.method == Method::POST {
            // Said even where it is zero: some servers wait for it.
            headers.insert(CONTENT_LENGTH, HeaderValue::from(ask.payload.size()));
        }
        Ok((uri, headers))
    }

    /// Takes over the store's clock where ours is another: requests are signed with their time.
    fn follow_clock(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let Some(theirs) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) else {
            return;
        };
        let ahead = theirs.timestamp().as_second() - Timestamp::now().as_second();
        if ahead.abs() <= CLOCK_MAX_S {
            self.learnt.clock_ahead_s.store(ahead, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_store_that_answers_another_question_knows_not_what_was_asked() {
        for told in ["ListBucketResult", "ListMultipartUploadResult"] {
            assert!(is_other_question("ListMultipartUploadsResult", told), "{told}");
            assert!(is_other_question("ListPartsResult", told), "{told}");
            assert!(!is_other_question("ListBucketResult", told), "{told}");
        }
        for told in ["html", "Error"] {
            assert!(!is_other_question("ListPartsResult", told), "{told}");
        }
    }
}
