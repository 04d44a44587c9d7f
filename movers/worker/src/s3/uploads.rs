//! Objects that come in parts: uploads that any process can go on with by their token, which is the id that the store
//! gave them.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use domicile_movers::{Failure, Publication, StoredPart, UploadToken};
use futures::future::BoxFuture;
use http::header::{ETAG, HeaderName};
use http::{HeaderMap, Method, StatusCode};

use super::S3Store;
use super::ask::Ask;
use super::failure::Refused;
use super::keys::query;
use super::read::{CHECKSUM, TAG, checksum_of, checksum_text, text};
use super::xml::Element;
use crate::role::Role;
use crate::store::{Aim, Crc64, Doing, Fetch, Fetched, Part, Published, Unfinished, Upload, Version};

const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
const CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");
/// Pages of a listing of parts or uploads, of a thousand each.
const PAGES_MAX: usize = 1_000;

/// An upload that has begun.
pub(super) struct S3Upload {
    store: S3Store,
    token: UploadToken,
    path: String,
    size: u64,
    how: Publication,
    replaces: Option<Version>,
    tag: String,
}

impl S3Store {
    pub(super) async fn begin_upload(&self, aim: Aim<'_>) -> Result<Box<dyn Upload>, Failure> {
        let ask = Ask::object(Method::POST, aim.path)
            .query("uploads=".to_owned())
            .header(TAG, aim.tag);
        let with = ask
            .clone()
            .header(CHECKSUM_ALGORITHM, "CRC64NVME")
            .header(CHECKSUM_TYPE, "FULL_OBJECT");
        let answer = match self.ask_whole(&with).await {
            // A store that knows no such checksum.
            Err(refused)
                if refused.is(StatusCode::NOT_IMPLEMENTED) || refused.is(StatusCode::BAD_REQUEST) =>
            {
                let without = self.ask_whole(&ask).await;
                // An upload that began without cannot be ended with one.
                let refuses = &self.learnt.refuses_checksums;
                refuses.fetch_or(without.is_ok(), Ordering::Relaxed);
                without
            }
            other => other,
        };
        let failed = |refused| self.failed(Role::Target, Some(aim.path), "write it", &refused);
        let (_, body) = answer.map_err(failed)?;
        let id = Element::parse(&body)
            .and_then(|answer| answer.text_of("UploadId").map(str::to_owned))
            .filter(|id| !id.is_empty());
        let Some(id) = id else {
            return Err(self.odd_answer(Some(aim.path), "an upload has no id"));
        };
        Ok(Box::new(S3Upload::new(self, aim, UploadToken(id))))
    }

    /// Uploads below a prefix, the youngest first.
    pub(super) async fn list_uploads(&self, prefix: &str) -> Result<Vec<Unfinished>, Failure> {
        let prefix = format!("{}{prefix}", self.root);
        let mut found = Vec::new();
        let (mut key, mut id) = (String::new(), String::new());
        for _ in 0..PAGES_MAX {
            let mut pairs = vec![("uploads", ""), ("prefix", prefix.as_str())];
            if !key.is_empty() {
                pairs.extend([("key-marker", key.as_str()), ("upload-id-marker", id.as_str())]);
            }
            let answer = self
                .ask_xml(&Ask::bucket(query(&mut pairs)), "ListMultipartUploadsResult")
                .await;
            let failed = |refused| self.failed(Role::Target, None, "list unfinished uploads", &refused);
            let page = match answer {
                // A store that cannot list them: those of a killed process stay until its own rules end them.
                Err(refused) if refused.is(StatusCode::NOT_IMPLEMENTED) => break,
                other => other.map_err(failed)?,
            };
            for upload in page.all("Upload") {
                let field = |name: &str| upload.text_of(name).unwrap_or_default().to_owned();
                if let Some(path) = field("Key").strip_prefix(&self.root) {
                    let token = UploadToken(field("UploadId"));
                    let path = path.to_owned();
                    found.push((field("Initiated"), Unfinished { path, token }));
                }
            }
            if page.text_of("IsTruncated") != Some("true") {
                break;
            }
            let marker = |name: &str| page.text_of(name).unwrap_or_default().to_owned();
            (key, id) = (marker("NextKeyMarker"), marker("NextUploadIdMarker"));
        }
        // Times of one format sort as text.
        found.sort_by(|(a, _), (b, _)| b.cmp(a));
        Ok(found.into_iter().map(|(_, upload)| upload).collect())
    }
}

impl S3Upload {
    pub(super) fn new(store: &S3Store, aim: Aim<'_>, token: UploadToken) -> Self {
        Self {
            store: store.clone(),
            token,
            path: aim.path.to_owned(),
            size: aim.size,
            how: aim.how,
            replaces: aim.replaces.cloned(),
            tag: aim.tag.to_owned(),
        }
    }

    fn aim(&self) -> Aim<'_> {
        Aim {
            path: &self.path,
            size: self.size,
            how: self.how,
            replaces: self.replaces.as_ref(),
            tag: &self.tag,
            may_create_root: false,
        }
    }

    async fn put(&self, part: &Part) -> Result<Option<StoredPart>, Failure> {
        let number = part.number.to_string();
        let query = query(&mut [
            ("partNumber", number.as_str()),
            ("uploadId", self.token.0.as_str()),
        ]);
        let ask = Ask::object(Method::PUT, &self.path)
            .query(query)
            .payload(&part.chunks);
        let headers = match self.store.put_with_checksum(ask, part.checksum).await {
            Ok(headers) => headers,
            Err(refused) if refused.code == "NoSuchUpload" => return Ok(None),
            Err(refused) => return Err(self.failed("write it", &refused)),
        };
        let Some(etag) = text(&headers, &ETAG) else {
            return Err(self.store.odd_answer(Some(&self.path), "a part has no ETag"));
        };
        Ok(Some(StoredPart {
            number: part.number,
            size: part.size(),
            etag: etag.to_owned(),
            crc64nvme: text(&headers, &CHECKSUM).and_then(checksum_of).map(|crc| crc.0),
        }))
    }

    async fn list(&self) -> Result<Option<Vec<StoredPart>>, Failure> {
        let mut parts = Vec::new();
        let mut after = String::from("0");
        for _ in 0..PAGES_MAX {
            let query = query(&mut [
                ("uploadId", self.token.0.as_str()),
                ("part-number-marker", after.as_str()),
            ]);
            let ask = Ask::object(Method::GET, &self.path).query(query);
            let page = match self.store.ask_xml(&ask, "ListPartsResult").await {
                Ok(page) => page,
                Err(refused)
                    if refused.is(StatusCode::NOT_FOUND) || refused.is(StatusCode::NOT_IMPLEMENTED) =>
                {
                    return Ok(None);
                }
                Err(refused) => return Err(self.failed("list its parts", &refused)),
            };
            parts.extend(page.all("Part").filter_map(stored_part));
            if page.text_of("IsTruncated") != Some("true") {
                return Ok(Some(parts));
            }
            page.text_of("NextPartNumberMarker")
                .unwrap_or_default()
                .clone_into(&mut after);
        }
        Ok(Some(parts))
    }

    async fn finish(&self, parts: &[StoredPart], checksum: Option<Crc64>) -> Result<Published, Failure> {
        let query = query(&mut [("uploadId", self.token.0.as_str())]);
        let mut ask = Ask::object(Method::POST, &self.path)
            .query(query)
            .payload(&[Bytes::from(part_list(parts))]);
        ask = self.store.conditions(ask, self.aim());
        let refuses = &self.store.learnt.refuses_checksums;
        let told = checksum.filter(|_| !refuses.load(Ordering::Relaxed));
        if let Some(checksum) = told {
            ask = ask
                .header(CHECKSUM, &checksum_text(checksum))
                .header(CHECKSUM_TYPE, "FULL_OBJECT");
        }
        let answer = self.store.ask_whole(&ask).await.and_then(completed);
        self.store.published(self.aim(), checksum, answer).await
    }

    fn failed(&self, doing: &str, refused: &Refused) -> Failure {
        self.store.failed(Role::Target, Some(&self.path), doing, refused)
    }
}

/// Completing may take long, so a store answers with success first and says later, in the body, that it failed.
/// Source: the S3 API reference, CompleteMultipartUpload.
pub(super) fn completed((mut headers, body): (HeaderMap, Bytes)) -> Result<HeaderMap, Refused> {
    let answer = Element::parse(&body);
    match answer {
        Some(answer) if answer.name == "Error" => Err(Refused::answered(StatusCode::OK, &body)),
        Some(answer) => {
            // Here the ETag comes in the body.
            if let Some(etag) = answer.text_of("ETag").and_then(|etag| etag.parse().ok()) {
                headers.insert(ETAG, etag);
            }
            Ok(headers)
        }
        None => Err(Refused {
            status: None,
            code: String::new(),
            message: "the answer broke off".to_owned(),
        }),
    }
}

fn stored_part(part: &Element) -> Option<StoredPart> {
    Some(StoredPart {
        number: part.text_of("PartNumber")?.parse().ok()?,
        size: part.text_of("Size")?.parse().ok()?,
        etag: part.text_of("ETag")?.to_owned(),
        crc64nvme: part
            .text_of("ChecksumCRC64NVME")
            .and_then(checksum_of)
            .map(|crc| crc.0),
    })
}

fn part_list(parts: &[StoredPart]) -> String {
    let mut text =
        String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for part in parts {
        let etag = part.etag.replace('&', "&amp;").replace('<', "&lt;");
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>",
            part.number
        );
    }
    text.push_str("</CompleteMultipartUpload>");
    text
}

impl Upload for S3Upload {
    fn token(&self) -> Option<&UploadToken> {
        Some(&self.token)
    }

    fn put_part<'a>(&'a self, part: &'a Part) -> Doing<'a, Option<StoredPart>> {
        Box::pin(self.put(part))
    }

    fn fetch_part<'a>(&'a self, fetch: Fetch<'a>) -> Doing<'a, Fetched> {
        Box::pin(self.store.fetch(&self.path, &self.token, fetch))
    }

    fn parts(&self) -> Doing<'_, Option<Vec<StoredPart>>> {
        Box::pin(self.list())
    }

    fn complete<'a>(
        self: Box<Self>,
        parts: &'a [StoredPart],
        checksum: Option<Crc64>,
    ) -> Doing<'a, Published> {
        Box::pin(async move { self.finish(parts, checksum).await })
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let query = query(&mut [("uploadId", self.token.0.as_str())]);
            let ask = Ask::object(Method::DELETE, &self.path).query(query);
            if let Err(refused) = self.store.ask_whole(&ask).await
                && !refused.is(StatusCode::NOT_FOUND)
            {
                tracing::debug!(backend = %self.store.backend, status = ?refused.status, "an upload could not be given up");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_that_says_error_is_none() {
        let body = |text: &'static str| (HeaderMap::new(), Bytes::from_static(text.as_bytes()));
        let failed = completed(body("<Error><Code>InternalError</Code></Error>")).unwrap_err();
        assert!(failed.may_pass());
        assert!(completed(body("")).is_err(), "cut off");
        let whole =
            body("<CompleteMultipartUploadResult><ETag>&quot;e&quot;</ETag></CompleteMultipartUploadResult>");
        assert_eq!(text(&completed(whole).unwrap(), &ETAG), Some("\"e\""));
    }
}
