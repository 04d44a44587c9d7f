//! Writing and removing objects: nobody sees one before its last byte is there, and nobody else's is overwritten.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use domicile_estate::TEMPORARY_PREFIX;
use domicile_movers::{Failure, FailureClass, Publication};
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;

use super::S3Store;
use super::ask::Ask;
use super::failure::Refused;
use super::read::{CHECKSUM, TAG, checksum_of, checksum_text, text, version};
use crate::listing::Listed;
use crate::one_place::{LEFT_BEHIND_MS, is_chance, is_mark_size, is_place_mark};
use crate::proof::by_chance;
use crate::role::Role;
use crate::store::{Aim, Crc64, PROBE_BYTES, Proven, Published, Stat, Version, Wanted, Whole};

impl S3Store {
    pub(super) async fn put(&self, aim: Aim<'_>, whole: &Whole) -> Result<Published, Failure> {
        let ask = self
            .conditions(Ask::object(Method::PUT, aim.path), aim)
            .header(TAG, aim.tag)
            .payload(&whole.chunks);
        let answer = self.put_with_checksum(ask, whole.checksum).await;
        self.published(aim, Some(whole.checksum), answer).await
    }

    /// Sends bytes with their checksum; to a store that knows no such checksum, without.
    pub(super) async fn put_with_checksum(&self, ask: Ask, checksum: Crc64) -> Result<HeaderMap, Refused> {
        let refuses = &self.learnt.refuses_checksums;
        if !refuses.load(Ordering::Relaxed) {
            let with = ask.clone().header(CHECKSUM, &checksum_text(checksum));
            match self.ask_whole(&with).await {
                Err(refused) if knows_no_checksum(&refused) => {}
                other => return other.map(|(headers, _)| headers),
            }
        }
        let (headers, _) = self.ask_whole(&ask).await?;
        refuses.store(true, Ordering::Relaxed);
        Ok(headers)
    }

    /// What must hold for the object to be written.
    pub(super) fn conditions(&self, ask: Ask, aim: Aim<'_>) -> Ask {
        match (aim.how, aim.replaces) {
            (Publication::New, _) => ask.header(IF_NONE_MATCH, "*"),
            (Publication::Replace, Some(version)) => ask.header(IF_MATCH, &version.0),
            (Publication::Replace, None) => ask,
        }
    }

    /// What the answer to a write means. A lost answer is no answer: what lies there decides.
    pub(super) async fn published(
        &self,
        aim: Aim<'_>,
        checksum: Option<Crc64>,
        answer: Result<HeaderMap, Refused>,
    ) -> Result<Published, Failure> {
        let refused = match answer {
            Ok(headers) => {
                self.learnt.bucket_seen.store(true, Ordering::Relaxed);
                self.check_name(aim.path).await?;
                return Ok(Published::Done {
                    version: version(&headers),
                    told: text(&headers, &CHECKSUM).and_then(checksum_of),
                });
            }
            Err(refused) => refused,
        };
        let no_upload = refused.code == "NoSuchUpload" || refused.code == "InvalidPart";
        let occupied = refused.is(StatusCode::PRECONDITION_FAILED) || refused.code == "PreconditionFailed";
        if (no_upload || occupied || refused.may_pass())
            && let Some(ours) = self.is_ours(aim, checksum).await?
        {
            return Ok(Published::Done {
                version: Some(ours.version),
                told: ours.checksum,
            });
        }
        if occupied {
            return Ok(Published::Occupied);
        }
        if no_upload {
            return Ok(Published::NoUpload);
        }
        if refused.is(StatusCode::CONFLICT) {
            let message = "another writer was at it at the same moment";
            return Err(self.failure(FailureClass::Transient, Some(aim.path), message));
        }
        Err(self.failed(Role::Target, Some(aim.path), "write it", &refused))
    }

    /// Whether what lies there is what this very transfer has written: its note, its size and its checksum. Where the
    /// store keeps no note it is not.
    async fn is_ours(&self, aim: Aim<'_>, checksum: Option<Crc64>) -> Result<Option<Stat>, Failure> {
        if aim.tag.is_empty() {
            return Ok(None);
        }
        let found = match self.head(aim.path, Role::Target).await {
            Ok(found) => found,
            // It cannot be told now; the write as a whole is tried again.
            Err(failure) if failure.is_transient() => None,
            Err(failure) => return Err(failure),
        };
        Ok(found.filter(|found| {
            let same_checksum = match (found.checksum, checksum) {
                (Some(found), Some(sent)) => found == sent,
                _ => true,
            };
            found.tag.as_deref() == Some(aim.tag) && found.size == aim.size && same_checksum
        }))
    }

    /// Some stores fold `\` to `/`, in every request alike, so that only a listing shows under which name an object
    /// really lies: it would be merged with another one. What lies under another name is removed and refused.
    async fn check_name(&self, path: &str) -> Result<(), Failure> {
        if !path.contains('\\') {
            return Ok(());
        }
        let page = self.first_page(path).await;
        let page =
            page.map_err(|refused| self.failed(Role::Target, Some(path), "look at its name", &refused))?;
        if page.objects.iter().any(|found| found.path == path) {
            return Ok(());
        }
        self.remove(path, None).await?;
        let message = "the store holds it under another name (it changes `\\`); rename the object";
        Err(self.failure(FailureClass::KeyRefused, Some(path), message))
    }

    /// Removes an object; what is not there is removed.
    pub(super) async fn remove(&self, path: &str, only: Option<&Version>) -> Result<(), Failure> {
        let ask = Ask::object(Method::DELETE, path);
        let Some(only) = only else {
            return self.ask_to_remove(path, &ask).await;
        };
        if Proven::by_trying(self.try_out().await).deletes_conditionally {
            return self.ask_to_remove(path, &ask.header(IF_MATCH, &only.0)).await;
        }
        let found = self.head(path, Role::Target).await?;
        if found.is_none_or(|found| found.version != *only) {
            return Ok(());
        }
        self.ask_to_remove(path, &ask).await
    }

    async fn ask_to_remove(&self, path: &str, ask: &Ask) -> Result<(), Failure> {
        match self.ask_whole(ask).await {
            Ok(_) => Ok(()),
            // It is in another state, and stays.
            Err(refused) if refused.is(StatusCode::PRECONDITION_FAILED) => Ok(()),
            // A store answers that an object is not there with success; this is about the bucket, or as good as.
            Err(refused) if refused.is(StatusCode::NOT_FOUND) && refused.code != "NoSuchBucket" => {
                self.head(path, Role::Target).await.map(drop)
            }
            Err(refused) => Err(self.failed(Role::Target, Some(path), "delete it", &refused)),
        }
    }

    pub(super) async fn probe_write(&self) -> Result<(), Failure> {
        let path = &format!("{TEMPORARY_PREFIX}probe");
        let failed =
            |doing: &'static str| move |refused: Refused| self.failed(Role::Target, None, doing, &refused);
        let put = Ask::object(Method::PUT, path).payload(&[Bytes::from_static(PROBE_BYTES)]);
        self.ask_whole(&put)
            .await
            .map_err(failed("write a small object"))?;
        let wanted = Wanted::whole(path, Role::Target);
        let mut content = self.get(wanted).await?;
        let mut back = Vec::new();
        while let Some(bytes) = crate::store::Content::next(&mut content).await? {
            back.extend_from_slice(&bytes);
        }
        self.remove(path, None).await?;
        if back == PROBE_BYTES {
            return Ok(());
        }
        let message = "gave back other bytes than were written; check the store";
        Err(self.failure(FailureClass::TargetCorrupts, None, message))
    }

    /// Sends a few bytes with a wrong checksum, and then others where some lie, under a name that no object has: only a
    /// store that refuses proves anything by accepting.
    pub(super) async fn try_out(&self) -> Result<Proven, Failure> {
        let tried = self.learnt.proven.get_or_try_init(|| async {
            // Some stores make a bucket that is written to and not there.
            self.holds_something().await?;
            self.learnt.bucket_seen.store(true, Ordering::Relaxed);
            self.sweep_trials().await;
            // A name of its own, for others may try the same store at the same moment.
            let path = format!("{TEMPORARY_PREFIX}probe-{:016x}", by_chance());
            let proven = self.try_out_at(&path).await;
            self.ask_to_remove(&path, &Ask::object(Method::DELETE, &path))
                .await?;
            proven
        });
        tried.await.copied()
    }

    /// Removes what killed processes have left of trying the store out. What hinders that hinders nothing else.
    async fn sweep_trials(&self) {
        // Lists of digests, of which there are many, have the prefix too and not this letter.
        let Ok(page) = self.first_page(&format!("{TEMPORARY_PREFIX}p")).await else {
            return;
        };
        let now_ms = Timestamp::now().as_millisecond();
        for path in page
            .objects
            .iter()
            .filter(|found| is_left(found, now_ms))
            .map(|found| &found.path)
        {
            if let Err(refused) = self.ask_once(&Ask::object(Method::DELETE, path)).await {
                tracing::debug!(backend = %self.backend, ?refused, "a small object of ours stays");
            }
        }
    }

    async fn try_out_at(&self, path: &str) -> Result<Proven, Failure> {
        let put = Ask::object(Method::PUT, path).payload(&[Bytes::from_static(PROBE_BYTES)]);
        let right = Crc64(crc_fast::crc64_nvme(PROBE_BYTES));
        let wrong = put.clone().header(CHECKSUM, &checksum_text(Crc64(!right.0)));
        let refuses_wrong = match self.ask_once(&wrong).await {
            Ok(_) => false,
            Err(refused) => refused.is(StatusCode::BAD_REQUEST),
        };
        let written = self.put_with_checksum(put.clone(), right).await;
        written.map_err(|refused| self.failed(Role::Target, None, "write a small object", &refused))?;
        let found = self.head(path, Role::Target).await?;
        let tells = found.is_some_and(|found| found.checksum == Some(right));
        let refuses_to_overwrite = self.is_failed_by_condition(&put.header(IF_NONE_MATCH, "*")).await;
        let delete =
            Ask::object(Method::DELETE, path).header(IF_MATCH, "\"00000000000000000000000000000000\"");
        let deletes_conditionally = self.is_failed_by_condition(&delete).await;
        Ok(Proven {
            checksums: refuses_wrong && tells,
            refuses_to_overwrite,
            deletes_conditionally,
        })
    }

    async fn is_failed_by_condition(&self, ask: &Ask) -> bool {
        let answer = self.ask_once(ask).await;
        answer.is_err_and(|refused| refused.is(StatusCode::PRECONDITION_FAILED))
    }
}

/// Whether it is what a trial puts at the root, and nobody is at it any more. What only begins alike, or has another size, is
/// somebody's.
fn is_left(found: &Listed, now_ms: i64) -> bool {
    let is_trial = |name: &str| name.is_empty() || name.strip_prefix('-').is_some_and(is_chance);
    let trial = found
        .path
        .strip_prefix(TEMPORARY_PREFIX)
        .and_then(|name| name.strip_prefix("probe"));
    let of_ours = trial.is_some_and(is_trial) || is_place_mark(&found.path);
    let old = found
        .modified_ms
        .is_some_and(|modified| modified.saturating_add(LEFT_BEHIND_MS) < now_ms);
    of_ours && !found.path.contains('/') && is_mark_size(found.size) && old
}

/// Whether a store says that it does not know the checksum, rather than that the bytes do not match it.
fn knows_no_checksum(refused: &Refused) -> bool {
    refused.is(StatusCode::NOT_IMPLEMENTED)
        || (refused.is(StatusCode::BAD_REQUEST)
            && matches!(
                refused.code.as_str(),
                "NotImplemented" | "InvalidArgument" | "InvalidRequest"
            ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::ListedKind;

    #[test]
    fn only_old_trials_at_the_root_are_what_was_left() {
        let sized = |path: &str, modified_ms, size| Listed {
            path: path.to_owned(),
            size,
            modified_ms,
            kind: ListedKind::File,
        };
        let found = |path: &str, modified_ms| sized(path, modified_ms, PROBE_BYTES.len() as u64);
        let now = 10 * LEFT_BEHIND_MS;
        let probe = ".domicile-probe-0123456789abcdef";
        let place = ".domicile-place-0123456789abcdef";
        for path in [".domicile-probe", probe, place] {
            assert!(is_left(&found(path, Some(0)), now), "{path}");
            assert!(is_left(&sized(path, Some(0), 0), now), "{path}");
            assert!(!is_left(&sized(path, Some(0), 1), now), "{path}");
            assert!(!is_left(&found(path, Some(now - 60_000)), now), "{path}");
            assert!(!is_left(&found(path, None), now), "{path}");
        }
        for path in [
            ".domicile-a.spare",
            ".domicile-probes.tar",
            ".domicile-probe-1",
            ".domicile-place-1",
            ".domicile-place-0123456789abcdef.tar",
            ".domicile-probe-0123456789abcdef/somebody's",
            "a/.domicile-place-0123456789abcdef",
            "probe-0123456789abcdef",
        ] {
            assert!(!is_left(&found(path, Some(0)), now), "{path}");
        }
    }
}
