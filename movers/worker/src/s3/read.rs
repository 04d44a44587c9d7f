//! Looking at objects and reading them.

use std::ops::Range;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use domicile_movers::{Failure, FailureClass};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_MATCH, RANGE};
use http::{HeaderMap, Method, Response, StatusCode};

use super::S3Store;
use super::ask::Ask;
use super::failure::Refused;
use super::keys::query;
use crate::http1::Incoming;
use crate::role::Role;
use crate::store::{Attested, Content, Crc64, Doing, InParts, Stat, Version, Wanted, folder_of};

/// The CRC-64/NVME of a whole object or part, in base 64.
pub(super) const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum-crc64nvme");
/// Our note on an object: which transfer wrote it.
pub(super) const TAG: HeaderName = HeaderName::from_static("x-amz-meta-domicile-transfer");
const CHECKSUM_MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");
const ENCRYPTION: HeaderName = HeaderName::from_static("x-amz-server-side-encryption");
const CUSTOMER_KEY: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-customer-algorithm");
/// Parts of an object at most. Source: the S3 API reference, "Multipart upload limits".
const PARTS_MAX: u32 = 10_000;
/// How often one reading is taken up again where it broke off.
const BREAKS_MAX: u32 = 3;

/// A checksum as stores write it.
pub(super) fn checksum_text(checksum: Crc64) -> String {
    BASE64.encode(checksum.0.to_be_bytes())
}

/// Reads a checksum; `None` if it is not of a whole object (`…-3` is made of those of three parts).
pub(super) fn checksum_of(text: &str) -> Option<Crc64> {
    let bytes: [u8; 8] = BASE64.decode(text).ok()?.try_into().ok()?;
    Some(Crc64(u64::from_be_bytes(bytes)))
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(super) fn version(headers: &HeaderMap) -> Option<Version> {
    text(headers, &ETAG).map(|etag| Version(etag.to_owned()))
}

/// What the headers say of the bytes. An ETag of 32 digits is their MD5, unless a key of the customer's or of a key service
/// encrypts them. Source: the S3 API reference, "Object".
fn attested(headers: &HeaderMap) -> Attested {
    let encrypted = headers.contains_key(&CUSTOMER_KEY)
        || text(headers, &ENCRYPTION).is_some_and(|how| how.starts_with("aws:kms"));
    let etag = text(headers, &ETAG).map(|etag| etag.trim_matches('"').to_ascii_lowercase());
    // Stores differ in what they make of parts that they have encrypted, in whatever way.
    let plain = !encrypted && !headers.contains_key(&ENCRYPTION);
    let in_parts = etag.as_deref().filter(|_| plain).and_then(in_parts_of);
    Attested {
        crc64: text(headers, &CHECKSUM).and_then(checksum_of),
        in_parts: in_parts
            .zip(version(headers))
            .map(|((md5, count), version)| InParts { md5, count, version }),
        md5: etag.filter(|etag| !encrypted && is_md5(etag)),
    }
}

fn is_md5(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Reads the ETag of an object that was put in parts: 32 digits, a hyphen, and how many parts.
fn in_parts_of(etag: &str) -> Option<(String, u32)> {
    let (md5, count) = etag.split_once('-')?;
    let count = count
        .parse()
        .ok()
        .filter(|count| (1..=PARTS_MAX).contains(count))?;
    is_md5(md5).then(|| (md5.to_owned(), count))
}

impl S3Store {
    pub(super) async fn head(&self, path: &str, role: Role) -> Result<Option<Stat>, Failure> {
        let ask = Ask::object(Method::HEAD, path).header(CHECKSUM_MODE, "ENABLED");
        let refused = match self.ask(&ask).await {
            Ok(response) => {
                self.learnt.bucket_seen.store(true, Ordering::Relaxed);
                return self.stat_of(path, response.headers()).map(Some);
            }
            Err(refused) => refused,
        };
        let gone = refused.is(StatusCode::NOT_FOUND);
        if gone && self.learnt.bucket_seen.load(Ordering::Relaxed) {
            return Ok(None);
        }
        // A HEAD has no body that would say what is wrong: a missing bucket looks like a missing object, and a wrong key
        // like a forbidden object. A listing says it.
        if gone || refused.status.is_some_and(|status| status.is_client_error()) {
            match self.first_page(folder_of(path)).await {
                Err(cause) if self.failed(role, None, "", &cause).blames_whole_backend() => {
                    return Err(self.failed(role, None, "use the store", &cause));
                }
                Ok(_) => self.learnt.bucket_seen.store(true, Ordering::Relaxed),
                Err(_) => {}
            }
        }
        if gone {
            return Ok(None);
        }
        Err(self.failed(role, Some(path), "look at it", &refused))
    }

    pub(super) async fn attested_by_head(&self, path: &str) -> Result<Attested, Failure> {
        let ask = Ask::object(Method::HEAD, path).header(CHECKSUM_MODE, "ENABLED");
        match self.ask(&ask).await {
            Ok(response) => Ok(attested(response.headers())),
            Err(refused) => Err(self.failed(Role::Source, Some(path), "look at it", &refused)),
        }
    }

    /// Asks for one part as it was put: a store that knows parts answers with the range of it, others with the whole object.
    pub(super) async fn part_by_head(
        &self,
        path: &str,
        number: u32,
        version: &Version,
    ) -> Result<Option<Range<u64>>, Failure> {
        let ask = Ask::object(Method::HEAD, path)
            .query(query(&mut [("partNumber", &number.to_string())]))
            .header(IF_MATCH, &version.0);
        match self.ask(&ask).await {
            Ok(response) if response.status() == StatusCode::PARTIAL_CONTENT => {
                Ok(self.range_of(path, &response).ok().map(|(range, _)| range))
            }
            Ok(_) => Ok(None),
            Err(refused) if refused.is(StatusCode::PRECONDITION_FAILED) => Err(self.changed(path)),
            // It knows no parts, or not this one.
            Err(refused) if refused.status.is_some_and(|status| status.is_client_error()) => Ok(None),
            Err(refused) => Err(self.failed(Role::Source, Some(path), "look at a part of it", &refused)),
        }
    }

    fn stat_of(&self, path: &str, headers: &HeaderMap) -> Result<Stat, Failure> {
        let size = text(headers, &CONTENT_LENGTH).and_then(|size| size.parse().ok());
        let (Some(size), Some(version)) = (size, version(headers)) else {
            return Err(self.odd_answer(Some(path), "an object has no length or no ETag"));
        };
        Ok(Stat {
            size,
            version,
            checksum: text(headers, &CHECKSUM).and_then(checksum_of),
            tag: text(headers, &TAG).map(str::to_owned),
        })
    }

    /// Opens an object by asking for its bytes at once: a small one is one request.
    pub(super) async fn get(&self, wanted: Wanted<'_>) -> Result<S3Content, Failure> {
        let mut content = S3Content {
            store: self.clone(),
            path: wanted.path.to_owned(),
            role: wanted.role,
            size: 0,
            version: wanted.version.cloned().unwrap_or(Version(String::new())),
            attested: Attested::default(),
            left: wanted.range.clone().unwrap_or(0..0),
            body: None,
            breaks: 0,
        };
        if wanted.range.as_ref().is_some_and(Range::is_empty) {
            let stat = self.head(wanted.path, wanted.role).await?;
            let stat = stat.ok_or_else(|| self.gone(wanted.path, wanted.role))?;
            (content.size, content.version) = (stat.size, stat.version);
            return Ok(content);
        }
        let response = content.request(wanted.range.as_ref()).await?;
        let headers = response.headers();
        let range = self.range_of(wanted.path, &response)?;
        let Some(version) = version(headers) else {
            return Err(self.odd_answer(Some(wanted.path), "an object has no ETag"));
        };
        if wanted.version.is_some_and(|expected| *expected != version) {
            return Err(self.changed(wanted.path));
        }
        let (range, size) = range;
        if wanted
            .range
            .as_ref()
            .is_some_and(|wanted| range.start != wanted.start || range.end > wanted.end)
        {
            return Err(self.odd_answer(Some(wanted.path), "another range came than was asked for"));
        }
        content.attested = attested(headers);
        (content.size, content.version, content.left) = (size, version, range);
        content.body = Some(response.into_body());
        Ok(content)
    }

    fn gone(&self, path: &str, role: Role) -> Failure {
        let class = match role {
            Role::Source => FailureClass::SourceGone,
            Role::Target => FailureClass::Transient,
        };
        self.failure(class, Some(path), "cannot open it: it is not there")
    }

    /// Which bytes come, and of how many.
    fn range_of(&self, path: &str, response: &Response<Incoming>) -> Result<(Range<u64>, u64), Failure> {
        let found = told_range(response.status(), response.headers());
        found.ok_or_else(|| self.odd_answer(Some(path), "an answer has no length"))
    }
}

/// Which bytes an answer has, and of how many.
fn told_range(status: StatusCode, headers: &HeaderMap) -> Option<(Range<u64>, u64)> {
    // Some servers (rclone's is one) say 200 with a range: what they say of it holds.
    match text(headers, &CONTENT_RANGE) {
        Some(told) => parse_range(told),
        None if status == StatusCode::PARTIAL_CONTENT => None,
        None => {
            let length = text(headers, &CONTENT_LENGTH)?.parse().ok()?;
            Some((0..length, length))
        }
    }
}

/// Reads `bytes 0-99/1000`.
fn parse_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let last: u64 = last.parse().ok()?;
    Some((first.parse().ok()?..last.checked_add(1)?, size.parse().ok()?))
}

/// An object that is being read.
pub(super) struct S3Content {
    store: S3Store,
    path: String,
    role: Role,
    size: u64,
    version: Version,
    attested: Attested,
    left: Range<u64>,
    /// `None` where nothing is to come, or has to be asked for again.
    body: Option<Incoming>,
    breaks: u32,
}

impl S3Content {
    async fn request(&self, range: Option<&Range<u64>>) -> Result<Response<Incoming>, Failure> {
        let mut ask = Ask::object(Method::GET, &self.path);
        if range.is_none() {
            ask = ask.header(CHECKSUM_MODE, "ENABLED");
        }
        if let Some(range) = range {
            ask = ask.header(RANGE, &format!("bytes={}-{}", range.start, range.end - 1));
        }
        if !self.version.0.is_empty() {
            ask = ask.header(IF_MATCH, &self.version.0);
        }
        self.store
            .ask(&ask)
            .await
            .map_err(|refused| self.failed(&refused))
    }

    fn failed(&self, refused: &Refused) -> Failure {
        if refused.is(StatusCode::PRECONDITION_FAILED) || refused.is(StatusCode::RANGE_NOT_SATISFIABLE) {
            return self.store.changed(&self.path);
        }
        self.store.failed(self.role, Some(&self.path), "read it", refused)
    }

    /// Asks for what has not come yet, of the same version.
    async fn take_up(&mut self) -> Result<Incoming, Failure> {
        let left = self.left.clone();
        let response = self.request(Some(&left)).await?;
        let (range, _) = self.store.range_of(&self.path, &response)?;
        if range != left || version(response.headers()).as_ref() != Some(&self.version) {
            return Err(self.store.changed(&self.path));
        }
        Ok(response.into_body())
    }
}

impl Content for S3Content {
    fn size(&self) -> u64 {
        self.size
    }

    fn version(&self) -> &Version {
        &self.version
    }

    fn attested(&self) -> Attested {
        self.attested.clone()
    }

    fn next(&mut self) -> Doing<'_, Option<Bytes>> {
        Box::pin(async move {
            while !self.left.is_empty() {
                let mut body = match self.body.take() {
                    Some(body) => body,
                    None => self.take_up().await?,
                };
                let broken = match self.store.http.next_bytes(&mut body).await {
                    Ok(Some(bytes)) => {
                        self.left.start += bytes.len() as u64;
                        if self.left.start > self.left.end {
                            return Err(self
                                .store
                                .odd_answer(Some(&self.path), "it is longer than it said"));
                        }
                        self.body = Some(body);
                        return Ok(Some(bytes));
                    }
                    Ok(None) => Refused {
                        status: None,
                        code: String::new(),
                        message: "the answer ended too early".to_owned(),
                    },
                    Err(broken) => broken.into(),
                };
                self.breaks += 1;
                if self.breaks > BREAKS_MAX {
                    return Err(self.failed(&broken));
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
    fn checksums_are_written_as_s3_writes_them() {
        let checksum = Crc64(0xae8b_1486_0a79_9888);
        assert_eq!(checksum_of(&checksum_text(checksum)), Some(checksum));
        assert_eq!(checksum_of("AAAAAAAAAAA=-3"), None);
        assert_eq!(parse_range("bytes 5-9/20"), Some((5..10, 20)));
        assert_eq!(parse_range("bytes */20"), None);
    }

    #[test]
    fn what_headers_say_of_parts() {
        let told = |pairs: &[(HeaderName, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (name.clone(), value.parse().unwrap()));
            attested(&pairs.collect::<HeaderMap>())
        };
        let etag = "\"9BB58F26192E4BA00F01E2E7B136BBD8-3\"";
        let parts = told(&[(ETAG, etag)]).in_parts.unwrap();
        assert_eq!(
            (parts.md5.as_str(), parts.count),
            ("9bb58f26192e4ba00f01e2e7b136bbd8", 3)
        );
        assert_eq!(told(&[(ETAG, etag)]).md5, None);
        assert_eq!(told(&[(ETAG, etag), (ENCRYPTION, "AES256")]).in_parts, None);
        assert_eq!(told(&[(ETAG, etag), (CUSTOMER_KEY, "AES256")]).in_parts, None);
        for odd in [
            "9bb58f26192e4ba00f01e2e7b136bbd8",
            "9bb58f26192e4ba00f01e2e7b136bbd8-0",
            "a-2",
            "-",
        ] {
            assert_eq!(told(&[(ETAG, odd)]).in_parts, None, "{odd}");
        }
        assert_eq!(in_parts_of("9bb58f26192e4ba00f01e2e7b136bbd8-10001"), None);
    }

    #[test]
    fn a_range_is_one_whatever_the_status_says() {
        let told = |status, range: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, "5".parse().unwrap());
            if let Some(range) = range {
                headers.insert(CONTENT_RANGE, range.parse().unwrap());
            }
            told_range(status, &headers)
        };
        assert_eq!(told(StatusCode::OK, None), Some((0..5, 5)));
        // Taken for the whole object, it would be one of 5 bytes.
        assert_eq!(told(StatusCode::OK, Some("bytes 5-9/20")), Some((5..10, 20)));
        assert_eq!(
            told(StatusCode::PARTIAL_CONTENT, Some("bytes 5-9/20")),
            Some((5..10, 20))
        );
        assert_eq!(told(StatusCode::PARTIAL_CONTENT, None), None);
    }
}
