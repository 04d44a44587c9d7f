//! Whether a store encodes the keys of its listings. All are asked to, and some say that they do and do not (s3s-fs 0.14):
//! `a+b` is then the name of another object, and only a look at both tells which.

use http::Method;

use super::S3Store;
use super::ask::Ask;
use super::keys::decode;
use super::xml::Element;

/// Keys that are looked at to find out.
const LOOKS_MAX: usize = 4;

impl S3Store {
    /// Whether the keys of a page that says that they are encoded are.
    pub(super) async fn encodes(&self, page: &Element) -> bool {
        if let Some(encodes) = self.learnt.encodes.get() {
            return *encodes;
        }
        let keys = page.all("Contents").filter_map(|found| found.text_of("Key"));
        for key in keys.filter(|key| is_telling(key)).take(LOOKS_MAX) {
            let as_it_is = self.is_there(key).await;
            let decoded = match decode(key) {
                Some(decoded) => self.is_there(&decoded).await,
                None => Some(false),
            };
            if let (Some(as_it_is), Some(decoded)) = (as_it_is, decoded)
                && as_it_is != decoded
            {
                return *self.learnt.encodes.get_or_init(|| decoded);
            }
        }
        // As it says; where nothing is encoded in any key, it makes no difference.
        true
    }

    /// `None` where it cannot be told. Only what lies below the root is listed.
    async fn is_there(&self, key: &str) -> Option<bool> {
        let Some(path) = key.strip_prefix(&self.root) else {
            return Some(false);
        };
        match self.ask(&Ask::object(Method::HEAD, path)).await {
            Ok(_) => Some(true),
            Err(refused) => refused.is(http::StatusCode::NOT_FOUND).then_some(false),
        }
    }
}

/// Whether a key reads differently when it is decoded.
fn is_telling(key: &str) -> bool {
    key.contains(['%', '+'])
}
