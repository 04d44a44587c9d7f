//! Whether two places are one: a folder that is mounted twice, a bucket under two names. Its objects would be taken for two
//! copies, and who deletes one of them deletes both.

use std::collections::BTreeMap;

use bytes::Bytes;
use domicile_estate::{BackendName, TEMPORARY_PREFIX};
use domicile_movers::{Failure, FailureClass, Place, Publication};

use crate::progress::Cancel;
use crate::proof::by_chance;
use crate::role::Role;
use crate::store::{Aim, PROBE_BYTES, Published, Store, Whole};
use crate::worker::Worker;

/// From this age on a mark is one that was left behind. A look takes seconds, but it may wait for a busy store, and clocks
/// differ.
pub(crate) const LEFT_BEHIND_MS: i64 = 6 * 60 * 60 * 1_000;
/// What marks are called after the prefix; digits by chance follow.
const MARK: &str = "place-";

/// What a mark has shown.
#[derive(Debug, Default)]
pub struct Sameness {
    /// The first of the others that is the same place.
    pub same: Option<BackendName>,
    /// Those before it that could not be looked at, with the reason.
    pub untold: BTreeMap<BackendName, Failure>,
}

impl Worker {
    /// Puts a mark that [`mark_below`] has named and looks for it below paths of others, which are empty or end with `/`;
    /// the first that shows it is the same place. The mark is removed. No listing shows it, and no other call takes it for
    /// its own, should this one be killed.
    ///
    /// # Errors
    /// What hinders writing and removing the mark.
    pub async fn one_place(
        &self,
        mark: &Place,
        others: &[Place],
        cancel: &Cancel,
    ) -> Result<Sameness, Failure> {
        let store = self.store(&mark.backend)?;
        let path = &mark.path;
        let name = path.rsplit('/').next().unwrap_or_default();
        let mut tries = 0;
        let put = self.retrying(cancel, || {
            tries += 1;
            put(&*store, mark, tries > 1)
        });
        let found = match put.await {
            Ok(()) => Ok(self.look(name, others, cancel).await),
            Err(failure) => Err(failure),
        };
        self.retrying(cancel, || store.delete(path, None, false)).await?;
        found
    }

    /// Removes a mark that was left behind. What has no name of a mark stays.
    ///
    /// # Errors
    /// What hinders it; where there is no root any more, nothing does.
    pub async fn remove_mark(&self, mark: &Place, cancel: &Cancel) -> Result<(), Failure> {
        let store = self.store(&mark.backend)?;
        if !is_place_mark(&mark.path) {
            return Ok(());
        }
        let removed = self
            .retrying(cancel, || store.delete(&mark.path, None, true))
            .await;
        match removed {
            Err(failure) if failure.class == FailureClass::StoreMissing => Ok(()),
            removed => removed,
        }
    }

    async fn look(&self, name: &str, others: &[Place], cancel: &Cancel) -> Sameness {
        let mut sameness = Sameness::default();
        for other in others {
            match self.shows(name, other, cancel).await {
                Ok(false) => {}
                Ok(true) => {
                    sameness.same = Some(other.backend.clone());
                    break;
                }
                Err(failure) => drop(sameness.untold.insert(other.backend.clone(), failure)),
            }
        }
        sameness
    }

    async fn shows(&self, name: &str, other: &Place, cancel: &Cancel) -> Result<bool, Failure> {
        let store = self.store(&other.backend)?;
        let path = format!("{}{name}", other.path);
        let seen = self.retrying(cancel, || store.stat(&path, Role::Source)).await?;
        Ok(seen.is_some())
    }
}

/// Where a mark goes below a path, which is empty or ends with `/`.
#[must_use]
pub fn mark_below(at: &Place) -> Place {
    Place {
        backend: at.backend.clone(),
        path: format!("{}{}", at.path, mark_name()),
    }
}

/// A name of its own for each call: what a kill leaves, and what another process looks for at the same moment, is never
/// taken for it.
fn mark_name() -> String {
    format!("{TEMPORARY_PREFIX}{MARK}{:016x}", by_chance())
}

/// Whether a name is of the form that we give to marks. Others that begin alike are somebody's.
pub(crate) fn is_place_mark(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let digits = name
        .strip_prefix(TEMPORARY_PREFIX)
        .and_then(|rest| rest.strip_prefix(MARK));
    digits.is_some_and(is_chance)
}

/// Whether it is a number by chance as our names have it.
pub(crate) fn is_chance(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 16 && text.bytes().all(digit)
}

/// Whether something is as large as a mark or a trial of ours.
pub(crate) fn is_mark_size(size: u64) -> bool {
    size == 0 || size == PROBE_BYTES.len() as u64
}

/// Puts the mark there. Only `again` it may lie there already: the answer to the first try was lost.
async fn put(store: &dyn Store, at: &Place, again: bool) -> Result<(), Failure> {
    let path = at.path.as_str();
    let published = match put_bytes(store, path, PROBE_BYTES).await {
        // A full store is one from which copies have to go: a name alone often fits.
        Err(failure) if failure.class == FailureClass::TargetFull => put_bytes(store, path, b"").await?,
        other => other?,
    };
    match published {
        Published::Done { .. } => Ok(()),
        Published::Occupied if again => Ok(()),
        Published::Occupied | Published::NoUpload => {
            let message = "the store says that something lies under a name that nobody has used".to_owned();
            Err(Failure::of_object(
                FailureClass::TargetConflict,
                &at.backend,
                path,
                message,
            ))
        }
    }
}

async fn put_bytes(store: &dyn Store, path: &str, bytes: &'static [u8]) -> Result<Published, Failure> {
    let whole = Whole::of(Bytes::from_static(bytes));
    let aim = Aim {
        path,
        size: bytes.len() as u64,
        how: Publication::New,
        replaces: None,
        tag: "",
        may_create_root: false,
    };
    store.put_whole(aim, &whole).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_has_a_name_of_its_own_and_only_such_names_are_marks() {
        let (one, other) = (mark_name(), mark_name());
        assert_ne!(one, other);
        assert!(is_place_mark(&one) && is_place_mark(&format!("a/{other}")));
        let hash = "0123456789abcdef";
        assert!(is_place_mark(&format!(".domicile-place-{hash}")));
        for name in [
            format!(".domicile-place-{hash}/x"),
            format!(".domicile-place-{hash}0"),
            format!(".domicile-place-{}", hash.to_uppercase()),
            format!(".domicile-places-{hash}"),
            format!("place-{hash}"),
            ".domicile-place-".to_owned(),
        ] {
            assert!(!is_place_mark(&name), "{name}");
        }
    }
}
