//! Listing objects.

use domicile_estate::TEMPORARY_PREFIX;
use domicile_movers::{Failure, lies_among_lists};
use jiff::Timestamp;

use super::S3Store;
use super::ask::Ask;
use super::failure::Refused;
use super::keys::{decode, query};
use super::xml::Element;
use crate::fs::is_skipped;
use crate::listing::{Listed, ListedKind};
use crate::one_place::is_place_mark;
use crate::replacing::is_spare;
use crate::role::Role;
use crate::store::Pages;

/// One page of a listing.
pub(super) struct Page {
    pub objects: Vec<Listed>,
    /// Where the next one begins; `None` at the end.
    next: Option<String>,
}

impl S3Store {
    /// The first page below a prefix: the cheapest question that a store answers with reasons.
    pub(super) async fn first_page(&self, prefix: &str) -> Result<Page, Refused> {
        self.page(prefix, "8", None, None).await
    }

    pub(super) async fn list_objects(
        &self,
        prefix: &str,
        skip: &[String],
        pages: &Pages,
    ) -> Result<(), Failure> {
        let mut next = None;
        loop {
            let page = self.page(prefix, "1000", next.as_deref(), None).await;
            let page = page.map_err(|refused| self.failed(Role::Source, None, "list the store", &refused))?;
            let mut objects = page.objects;
            objects.retain(|found| {
                !found.path.ends_with('/')
                    && !is_spare(&found.path)
                    && !is_place_mark(&found.path)
                    && !is_skipped(&found.path, skip)
            });
            if !objects.is_empty() && pages.send(Ok(objects)).await.is_err() {
                // Nobody listens any more.
                return Ok(());
            }
            next = page.next;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether there is something besides temporary objects of ours.
    pub(super) async fn holds_something(&self) -> Result<bool, Failure> {
        let failed = |refused: Refused| self.failed(Role::Source, None, "list the store", &refused);
        let is_object = |found: &Listed| {
            !found.path.ends_with('/') && !is_temporary(&found.path) && !lies_among_lists(&found.path)
        };
        let page = self.first_page("").await.map_err(failed)?;
        if page.objects.iter().any(is_object) || page.next.is_none() {
            return Ok(page.objects.iter().any(is_object));
        }
        // What is ours may be all that is on the page: what comes after it at the root is asked for.
        let after = after_ours(&self.root);
        let mut page = self.page("", "1000", None, Some(&after)).await.map_err(failed)?;
        loop {
            let Some(next) = page.next.filter(|_| !page.objects.iter().any(is_object)) else {
                return Ok(page.objects.iter().any(is_object));
            };
            page = self.page("", "1000", Some(&next), None).await.map_err(failed)?;
        }
    }

    async fn page(
        &self,
        prefix: &str,
        keys: &str,
        next: Option<&str>,
        after: Option<&str>,
    ) -> Result<Page, Refused> {
        let prefix = format!("{}{prefix}", self.root);
        let mut pairs = vec![
            ("list-type", "2"),
            // So that a key with a character that XML cannot hold comes through.
            ("encoding-type", "url"),
            ("max-keys", keys),
            ("prefix", prefix.as_str()),
        ];
        pairs.extend(next.map(|next| ("continuation-token", next)));
        pairs.extend(after.map(|after| ("start-after", after)));
        let page = self
            .ask_xml(&Ask::bucket(query(&mut pairs)), "ListBucketResult")
            .await?;
        let broken = |what: &str| Refused {
            status: None,
            code: String::new(),
            message: format!("a listing is no S3: {what}"),
        };
        let encoded = page.text_of("EncodingType") == Some("url") && self.encodes(&page).await;
        let mut objects = Vec::new();
        for found in page.all("Contents") {
            let listed = self.listed(found, encoded);
            objects.push(listed.ok_or_else(|| broken("an object has no key or no size"))?);
        }
        let more = page.text_of("IsTruncated") == Some("true");
        let next = page.text_of("NextContinuationToken").filter(|_| more);
        if more && next.is_none() {
            return Err(broken("it goes on nowhere"));
        }
        Ok(Page {
            objects,
            next: next.map(str::to_owned),
        })
    }

    fn listed(&self, found: &Element, encoded: bool) -> Option<Listed> {
        let key = found.text_of("Key")?;
        let key = if encoded { decode(key)? } else { key.to_owned() };
        let path = key.strip_prefix(&self.root)?.to_owned();
        let modified = found.text_of("LastModified");
        let modified: Option<Timestamp> = modified.and_then(|text| text.parse().ok());
        // What the estate refuses as a key on such stores, since drivers of others trim it.
        let kind = if path.trim() == path {
            ListedKind::File
        } else {
            ListedKind::OuterWhiteSpace
        };
        Some(Listed {
            path,
            size: found.text_of("Size")?.parse().ok()?,
            modified_ms: modified.map(|time| time.as_millisecond()),
            kind,
        })
    }
}

/// A key behind all that is ours at the root: `.` is the next character after the `-` that our prefix ends with.
fn after_ours(root: &str) -> String {
    format!("{root}{}.", TEMPORARY_PREFIX.trim_end_matches('-'))
}

/// Whether it is an object of ours that no key can name.
fn is_temporary(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.starts_with(TEMPORARY_PREFIX)
}

#[cfg(test)]
mod tests {
    use domicile_movers::DIGEST_LISTS;

    use super::*;

    #[test]
    fn what_is_ours_at_the_root_lies_before_what_is_asked_for_next() {
        let after = after_ours("r/");
        for ours in [
            format!("r/{DIGEST_LISTS}/zz"),
            format!("r/{TEMPORARY_PREFIX}\u{10ffff}"),
        ] {
            assert!(ours < after, "{ours}");
        }
        for theirs in ["r/.domicile.txt", "r/.domicile0", "r/a"] {
            assert!(*theirs > *after, "{theirs}");
        }
    }
}
