//! Listing, sweeping and deleting below a remote folder.

use domicile_estate::TEMPORARY_PREFIX;
use domicile_movers::{DIGEST_LISTS, Failure};

use super::TreeStore;
use super::remote::{Entry, TroubleKind, joined};
use crate::fs::is_skipped;
use crate::listing::{Listed, PAGE};
use crate::one_place::{self, is_mark_size, is_place_mark};
use crate::proof::by_chance;
use crate::role::Role;
use crate::store::{Pages, Version};

/// How long nobody must have written to a temporary file before it is taken for left behind.
const LEFT_BEHIND_MS: i64 = 60 * 60 * 1_000;

impl TreeStore {
    /// The entries of a folder; of one that went away meanwhile, none.
    async fn entries(&self, folder: &str, role: Role) -> Result<Vec<Entry>, Failure> {
        match self.remote.children(folder).await {
            Err(trouble) if trouble.is(TroubleKind::Gone) => self.check_root(role).await.map(|()| Vec::new()),
            found => found.map_err(|trouble| self.failed(role, Some(folder), "list the folder", &trouble)),
        }
    }

    pub(super) async fn list_below(
        &self,
        prefix: &str,
        skip: &[String],
        pages: &Pages,
    ) -> Result<(), Failure> {
        self.check_root(Role::Source).await?;
        let prefix = prefix.trim_end_matches('/');
        let mut folders = vec![prefix.to_owned()];
        let mut page = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in self.entries(&folder, Role::Source).await? {
                let path = joined(&folder, &entry.name);
                if is_skipped(&path, skip) || is_ours(&entry.name) || is_mark(&entry) {
                    continue;
                }
                let Some(kind) = entry.kind else {
                    folders.push(path);
                    continue;
                };
                page.push(Listed {
                    path,
                    size: entry.size.unwrap_or_default(),
                    modified_ms: entry.modified_ms,
                    kind,
                });
                if page.len() >= PAGE && pages.send(Ok(std::mem::take(&mut page))).await.is_err() {
                    return Ok(());
                }
            }
        }
        if !page.is_empty() {
            // Nobody listening any more is no failure.
            let _ = pages.send(Ok(page)).await;
        }
        Ok(())
    }

    /// Whether there is something besides folders, temporary files and lists of ours.
    pub(super) async fn holds_something(&self) -> Result<bool, Failure> {
        self.check_root(Role::Source).await?;
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in self.entries(&folder, Role::Source).await? {
                match entry.is_folder() {
                    _ if is_ours(&entry.name) || is_mark(&entry) => {}
                    true if folder.is_empty() && entry.name == DIGEST_LISTS => {}
                    true => folders.push(joined(&folder, &entry.name)),
                    false => return Ok(true),
                }
            }
        }
        Ok(false)
    }

    /// Removes a file; what is not there is removed.
    pub(super) async fn remove(
        &self,
        path: &str,
        only: Option<&Version>,
        emptied: bool,
    ) -> Result<(), Failure> {
        if let Some(only) = only {
            let found = self.file_at(path, Role::Target).await?;
            if found.is_none_or(|found| super::version(&found) != *only) {
                return Ok(());
            }
        }
        match self.remote.remove(path).await {
            Err(trouble) if trouble.is(TroubleKind::Gone) => self.check_root(Role::Target).await?,
            removed => {
                removed.map_err(|trouble| self.failed(Role::Target, Some(path), "delete it", &trouble))?;
            }
        }
        if emptied && self.remote.abilities().removes_empty_folders {
            self.remove_emptied(path).await;
        }
        Ok(())
    }

    /// Folders that are left empty go, as far as they are: who writes one anew makes it again.
    async fn remove_emptied(&self, path: &str) {
        let mut folder = path;
        while let Some((above, _)) = folder.rsplit_once('/') {
            if self.remote.remove_folder(above).await.is_err() {
                return;
            }
            self.forget_folders();
            folder = above;
        }
    }

    /// Removes what was left behind below a prefix: temporary files and locks that nobody has touched for long, by the
    /// other machine's own clock.
    pub(super) async fn sweep_below(&self, prefix: &str) -> Result<u64, Failure> {
        self.check_root(Role::Target).await?;
        let mut left_behind = Vec::new();
        let mut folders = vec![prefix.trim_end_matches('/').to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in self.entries(&folder, Role::Target).await? {
                let path = joined(&folder, &entry.name);
                match entry.is_folder() {
                    _ if is_ours(&entry.name) || is_mark(&entry) => left_behind.push((path, entry)),
                    true => folders.push(path),
                    false => {}
                }
            }
        }
        if left_behind.is_empty() {
            return Ok(0);
        }
        let Some(now_ms) = self.clock_ms().await? else {
            return Ok(0);
        };
        let mut swept = 0;
        for (path, entry) in left_behind {
            let touched_ms = match entry.modified_ms {
                Some(ms) => Some(ms),
                None => self
                    .remote
                    .look(&path)
                    .await
                    .ok()
                    .flatten()
                    .and_then(|found| found.modified_ms),
            };
            let age_ms = match is_mark(&entry) {
                true => one_place::LEFT_BEHIND_MS,
                false => LEFT_BEHIND_MS,
            };
            if touched_ms.is_none_or(|ms| now_ms - ms < age_ms) {
                continue;
            }
            let removed = if entry.is_folder() {
                self.remote.remove_folder(&path).await
            } else {
                self.remote.remove(&path).await
            };
            match removed {
                Err(trouble) if trouble.is(TroubleKind::Gone) => {}
                Err(trouble) => return Err(self.failed(Role::Target, Some(&path), "sweep it", &trouble)),
                Ok(()) => swept += 1,
            }
        }
        Ok(swept)
    }

    /// What time it is over there, by a file that is written now.
    async fn clock_ms(&self) -> Result<Option<i64>, Failure> {
        let path = format!("{TEMPORARY_PREFIX}{:016x}-{:016x}.part", 0, by_chance());
        let failed = |trouble| self.failed(Role::Target, None, "write a small object", &trouble);
        let sending = self.remote.write(&path, 0).await.map_err(failed)?;
        sending.finish().await.map_err(failed)?;
        let found = self.remote.look(&path).await;
        self.remote.remove(&path).await.map_err(failed)?;
        Ok(found.map_err(failed)?.and_then(|found| found.modified_ms))
    }
}

/// Whether it is a mark that tells one place from another.
fn is_mark(entry: &Entry) -> bool {
    let fits = entry.size.is_none_or(is_mark_size);
    !entry.is_folder() && fits && is_place_mark(&entry.name)
}

/// Whether a name is of the form that we give to temporary files and locks. Others that begin alike are somebody's.
pub(super) fn is_ours(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(TEMPORARY_PREFIX) else {
        return false;
    };
    let hex = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match rest.rsplit_once('.') {
        Some((both, "part")) => both.split_once('-').is_some_and(|(a, b)| hex(a) && hex(b)),
        Some((hash, "lock")) => hex(hash),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_our_form_is_ours() {
        let hash = "0123456789abcdef";
        assert!(is_ours(&format!(".domicile-{hash}-{hash}.part")));
        assert!(is_ours(&format!(".domicile-{hash}.lock")));
        for name in [".domicile-x.part", ".domicile-", "a", ".domicile-notes.txt"] {
            assert!(!is_ours(name), "{name}");
        }
        assert!(
            !is_ours(&format!(".domicile-{hash}.part")),
            "a folder's own driver made that"
        );
    }
}
