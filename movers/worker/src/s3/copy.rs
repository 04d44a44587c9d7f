//! Parts that the store copies by itself from another of its objects, also in another bucket.
//!
//! Source: the S3 API reference, UploadPartCopy. A CopyObject is not used: it may carry the checksum of the source over
//! without reading a byte (SeaweedFS 4.48 does), and not every store heeds conditions with it. A part that is copied from
//! a range has a checksum of its own, and the object is only seen once Complete has found that they fit.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use domicile_movers::{Failure, FailureClass, StoredPart, UploadToken};
use http::header::{ETAG, HeaderName};
use http::{HeaderMap, Method, StatusCode};

use super::S3Store;
use super::ask::Ask;
use super::failure::Refused;
use super::keys::{encode, query};
use super::read::checksum_of;
use super::uploads::completed;
use super::xml::Element;
use crate::role::Role;
use crate::store::{Fetch, Fetched, Neighbour, Service};

const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");
const COPY_IF_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");
const COPY_RANGE: HeaderName = HeaderName::from_static("x-amz-copy-source-range");

impl S3Store {
    /// The address and whose key: only who may read there with the same key can have the store copy from there.
    fn service(&self) -> Service {
        let key = self.signer.as_ref().map_or("", |signer| signer.key_id());
        let endpoint = &self.endpoint;
        Service::named(&[
            endpoint.scheme.as_str(),
            endpoint.authority.as_str(),
            &endpoint.path,
            key,
        ])
    }

    pub(super) fn as_neighbour(&self, path: &str) -> Neighbour {
        let mut place = String::with_capacity(128);
        encode(&self.bucket, true, &mut place);
        place.push('/');
        encode(&self.root, true, &mut place);
        encode(path, true, &mut place);
        Neighbour {
            service: self.service(),
            place,
        }
    }

    pub(super) fn copies_from(&self, from: &Neighbour) -> bool {
        from.service == self.service() && !self.learnt.copies_nothing.load(Ordering::Relaxed)
    }

    /// Has the store copy a part of an upload to `path`.
    pub(super) async fn fetch(
        &self,
        path: &str,
        token: &UploadToken,
        fetch: Fetch<'_>,
    ) -> Result<Fetched, Failure> {
        if !self.copies_from(fetch.from) || fetch.range.is_empty() {
            return Ok(Fetched::Refused);
        }
        let number = fetch.number.to_string();
        let query = query(&mut [("partNumber", number.as_str()), ("uploadId", token.0.as_str())]);
        let range = format!("bytes={}-{}", fetch.range.start, fetch.range.end - 1);
        let ask = Ask::object(Method::PUT, path)
            .query(query)
            .header(COPY_SOURCE, &fetch.from.place)
            .header(COPY_IF_MATCH, &fetch.version.0)
            .header(COPY_RANGE, &range);
        let answer = self.ask_whole(&ask).await.and_then(completed_with_body);
        let refused = match answer {
            Ok((headers, body)) => {
                let part = copied_part(&fetch, &headers, &body);
                return Ok(part.map_or(Fetched::Refused, Fetched::Part));
            }
            Err(refused) => refused,
        };
        if refused.code == "NoSuchUpload" {
            return Ok(Fetched::NoUpload);
        }
        if refused.is(StatusCode::PRECONDITION_FAILED) || refused.code == "PreconditionFailed" {
            let message = "the object that it is copied from was changed meanwhile";
            return Err(self.failure(FailureClass::Transient, Some(path), message));
        }
        if refused.may_pass() {
            return Err(self.failed(Role::Target, Some(path), "have it copied", &refused));
        }
        // What was said of this object may hold for others, but for one that is not there.
        if !refused.is(StatusCode::NOT_FOUND) {
            tracing::info!(backend = %self.backend, status = ?refused.status, code = %refused.code, "the store copies nothing by itself; it is sent");
            self.learnt.copies_nothing.store(true, Ordering::Relaxed);
        }
        Ok(Fetched::Refused)
    }
}

/// Copying may take long, so here, too, a success may be followed by an error in the body.
fn completed_with_body((headers, body): (HeaderMap, Bytes)) -> Result<(HeaderMap, Bytes), Refused> {
    completed((headers, body.clone())).map(|headers| (headers, body))
}

fn copied_part(fetch: &Fetch<'_>, headers: &HeaderMap, body: &Bytes) -> Option<StoredPart> {
    let told = Element::parse(body)?;
    let etag = super::read::text(headers, &ETAG)?;
    // Some write it without its quotes here, and with them where parts are listed.
    let etag = if etag.starts_with('"') {
        etag.to_owned()
    } else {
        format!("\"{etag}\"")
    };
    Some(StoredPart {
        number: fetch.number,
        size: fetch.range.end - fetch.range.start,
        etag,
        crc64nvme: told
            .text_of("ChecksumCRC64NVME")
            .and_then(checksum_of)
            .map(|crc| crc.0),
    })
}
