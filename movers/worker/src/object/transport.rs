//! OpenDAL over our own connections.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use http::{Method, Request, Response};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};

use crate::http1::{Http, Incoming, Payload};

/// Our connections as OpenDAL asks for them. Redirections are not followed: no store that we drive by it needs them,
/// and where one leads is not for a store to say.
pub(super) struct Transport(pub Http);

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>, Error> {
        let (mut head, body) = request.into_parts();
        let chunks: Vec<Bytes> = body.into_iter().collect();
        if let Some(authority) = head.uri.authority()
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            head.headers.entry(HOST).or_insert(host);
        }
        if chunks.is_empty() && (head.method == Method::PUT || head.method == Method::POST) {
            // Said even where it is zero: some servers wait for it.
            head.headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from(0));
        }
        let sent = self
            .0
            .send(&head.method, &head.uri, head.headers, Payload::of(&chunks))
            .await;
        let response = sent.map_err(|broken| Error::new(ErrorKind::Unexpected, broken.0).set_temporary())?;
        let (mut answer, body) = response.into_parts();
        // OpenDAL reads the address of an answer from here.
        answer.extensions.insert(head.uri);
        let length = answer
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok());
        let size = length
            .and_then(|length| length.parse().ok())
            .filter(|_| head.method != Method::HEAD);
        Ok(Response::from_parts(answer, HttpBody::new(Coming(body), size)))
    }
}

/// The bytes of an answer. How long they may take is watched by OpenDAL's layer of time-outs.
struct Coming(Incoming);

impl Stream for Coming {
    type Item = Result<Buffer, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.0.poll_next(context));
        Poll::Ready(next.map(|bytes| match bytes {
            Ok(bytes) => Ok(Buffer::from(bytes)),
            Err(broken) => Err(Error::new(ErrorKind::Unexpected, broken.0).set_temporary()),
        }))
    }
}
