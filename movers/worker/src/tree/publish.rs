//! Writing: to a temporary name in the same folder, then renamed.

use std::sync::PoisonError;
use std::time::Duration;

use domicile_estate::TEMPORARY_PREFIX;
use domicile_movers::{Digests, Failure, FailureClass, Publication, Seen, StoredPart};
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use super::TreeStore;
use super::remote::{Sending, Trouble, TroubleKind};
use crate::digest::Digester;
use crate::proof::by_chance;
use crate::role::Role;
use crate::store::{
    Aim, Content as _, Crc64, Doing, PROBE_BYTES, Part, Published, Upload, Version, Wanted, Whole, folder_of,
};

/// Folders that are remembered as made.
const FOLDERS_MAX: usize = 10_000;
/// Looks at a lock that another writer holds, and how long to wait between them: a rename takes milliseconds.
const LOCK_TRIES: u32 = 50;
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// How far the writing of a file has come.
enum Writing {
    Open(Box<dyn Sending>),
    /// All of it is there.
    Done,
    /// After a failure: what came of it is not known.
    Broken,
}

/// A file under a temporary name that is being written.
pub(super) struct Staged {
    store: TreeStore,
    path: String,
    temporary: String,
    how: Publication,
    replaces: Option<Version>,
    writing: Mutex<Writing>,
}

impl TreeStore {
    pub(super) async fn put_at_once(&self, aim: Aim<'_>, whole: &Whole) -> Result<Published, Failure> {
        let staged = self.stage(aim).await?;
        match staged.append(&whole.chunks).await {
            Ok(()) => Box::new(staged).complete(&[], None).await,
            Err(failure) => {
                Box::new(staged).abort().await;
                Err(failure)
            }
        }
    }

    pub(super) async fn stage(&self, aim: Aim<'_>) -> Result<Staged, Failure> {
        let folder = folder_of(aim.path);
        let hash = blake3::hash(aim.path.as_bytes()).to_hex();
        let temporary = format!(
            "{folder}{TEMPORARY_PREFIX}{}-{:016x}.part",
            &hash.as_str()[..16],
            by_chance()
        );
        let failed = |trouble: Trouble| self.failed(Role::Target, Some(aim.path), "write it", &trouble);
        self.make_folders(folder, aim.may_create_root).await?;
        let sending = match self.remote.write(&temporary, aim.size).await {
            // Somebody has removed a folder that we had made.
            Err(trouble) if trouble.is(TroubleKind::Gone) => {
                self.forget_folders();
                self.make_folders(folder, aim.may_create_root).await?;
                self.remote.write(&temporary, aim.size).await
            }
            other => other,
        };
        Ok(Staged {
            store: self.clone(),
            path: aim.path.to_owned(),
            temporary,
            how: aim.how,
            replaces: aim.replaces.cloned(),
            writing: Mutex::new(Writing::Open(sending.map_err(failed)?)),
        })
    }

    pub(super) fn forget_folders(&self) {
        let folders = self.learnt.folders.lock();
        folders.unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Makes the folders of a path that ends with `/`, as far as they are missing.
    async fn make_folders(&self, folder: &str, may_create_root: bool) -> Result<(), Failure> {
        if let Err(failure) = self.check_root(Role::Target).await {
            if failure.class != FailureClass::StoreMissing || !may_create_root {
                return Err(failure);
            }
            self.make_folder("").await?;
        }
        for (at, _) in folder.match_indices('/') {
            let path = &folder[..at];
            let known = self.learnt.folders.lock();
            if known.unwrap_or_else(PoisonError::into_inner).contains(path) {
                continue;
            }
            self.make_folder(path).await?;
            let known = self.learnt.folders.lock();
            let mut known = known.unwrap_or_else(PoisonError::into_inner);
            if known.len() >= FOLDERS_MAX {
                known.clear();
            }
            known.insert(path.to_owned());
        }
        Ok(())
    }

    async fn make_folder(&self, path: &str) -> Result<(), Failure> {
        let failed = |trouble: &Trouble| self.failed(Role::Target, Some(path), "make its folder", trouble);
        let Err(trouble) = self.remote.make_folder(path).await else {
            return Ok(());
        };
        // Servers say in many ways that it is there already, or that something else is.
        let found = self.remote.look(path).await;
        match found.map_err(|trouble| failed(&trouble))? {
            Some(entry) if entry.is_folder() => Ok(()),
            Some(_) => {
                let message = "a file lies where its folder should be";
                Err(self.failure(FailureClass::TargetConflict, Some(path), message))
            }
            None => Err(failed(&trouble)),
        }
    }

    /// Makes what was written visible; it is gone from its temporary name or still there.
    async fn publish(&self, staged: &Staged) -> Result<Published, Failure> {
        let (from, to) = (&staged.temporary, &staged.path);
        let failed = |trouble: Trouble| self.failed(Role::Target, Some(to), "rename it", &trouble);
        if staged.how == Publication::Replace {
            if let Some(version) = &staged.replaces {
                let found = self.file_at(to, Role::Target).await?;
                if found.is_some_and(|found| super::version(&found) != *version) {
                    return Ok(Published::Occupied);
                }
            }
            return self
                .remote
                .rename(from, to, true)
                .await
                .map(|()| Published::DONE)
                .map_err(failed);
        }
        if self.is_exclusive().await? {
            return match self.remote.rename(from, to, false).await {
                Ok(()) => Ok(Published::DONE),
                Err(trouble) if trouble.is(TroubleKind::Exists) => Ok(Published::Occupied),
                Err(trouble) => Err(failed(trouble)),
            };
        }
        let lock = self.lock(to).await?;
        let published = self.publish_looking(from, to).await;
        if let Err(trouble) = self.remote.remove_folder(&lock).await {
            // It is swept later; until then this object cannot be written.
            tracing::info!(backend = %self.backend, "a lock stays: {}", one_word(&trouble));
        }
        published
    }

    async fn publish_looking(&self, from: &str, to: &str) -> Result<Published, Failure> {
        let failed = |trouble: Trouble| self.failed(Role::Target, Some(to), "rename it", &trouble);
        if self.remote.look(to).await.map_err(failed)?.is_some() {
            return Ok(Published::Occupied);
        }
        let renamed = self.remote.rename(from, to, false).await;
        renamed.map(|()| Published::DONE).map_err(failed)
    }

    /// A folder with the name of an object's lock: who makes it has the lock.
    async fn lock(&self, path: &str) -> Result<String, Failure> {
        let hash = blake3::hash(path.as_bytes()).to_hex();
        let lock = format!(
            "{}{TEMPORARY_PREFIX}{}.lock",
            folder_of(path),
            &hash.as_str()[..16]
        );
        for _ in 0..LOCK_TRIES {
            let Err(trouble) = self.remote.make_folder(&lock).await else {
                return Ok(lock);
            };
            let found = self.remote.look(&lock).await;
            let held = matches!(found, Ok(Some(entry)) if entry.is_folder());
            if !held && !trouble.is(TroubleKind::Exists) {
                return Err(self.failed(Role::Target, Some(path), "lock it", &trouble));
            }
            tokio::time::sleep(LOCK_WAIT).await;
        }
        let message =
            "another writer is at it, or one was killed in the middle: a lock is swept after an hour";
        Err(self.failure(FailureClass::Transient, Some(path), message))
    }

    /// Whether a rename refuses to overwrite; only seeing is believing.
    pub(super) async fn is_exclusive(&self) -> Result<bool, Failure> {
        if !self.remote.abilities().renames_exclusively {
            return Ok(false);
        }
        let tried = self.learnt.exclusive.get_or_try_init(|| async {
            let name = |n: u8| format!("{TEMPORARY_PREFIX}{n:016x}-{:016x}.part", by_chance());
            let names = [name(1), name(2)];
            let tried = self.try_to_overwrite(&names).await;
            for name in &names {
                // The one that was renamed is gone.
                let _ = self.remote.remove(name).await;
            }
            tried.map_err(|trouble| self.failed(Role::Target, None, "write a small object", &trouble))
        });
        tried.await.copied()
    }

    async fn try_to_overwrite(&self, [from, to]: &[String; 2]) -> Result<bool, Trouble> {
        for name in [from, to] {
            let mut sending = self.remote.write(name, PROBE_BYTES.len() as u64).await?;
            sending.send(bytes::Bytes::from_static(PROBE_BYTES)).await?;
            sending.finish().await?;
        }
        match self.remote.rename(from, to, false).await {
            Ok(()) => Ok(false),
            Err(trouble) if trouble.is(TroubleKind::Exists) => Ok(true),
            Err(trouble) => Err(trouble),
        }
    }

    /// Writes a small file at the root, reads it back and removes it.
    pub(super) async fn probe_write(&self) -> Result<(), Failure> {
        let path = format!("{TEMPORARY_PREFIX}{:016x}-{:016x}.part", 2, by_chance());
        let failed =
            |doing: &'static str| move |trouble: Trouble| self.failed(Role::Target, None, doing, &trouble);
        let write = failed("write a small object");
        let sending = self.remote.write(&path, PROBE_BYTES.len() as u64).await;
        let mut sending = sending.map_err(write)?;
        let sent = sending.send(bytes::Bytes::from_static(PROBE_BYTES)).await;
        sent.map_err(write)?;
        sending.finish().await.map_err(write)?;
        let mut content = self.open_content(Wanted::whole(&path, Role::Target)).await?;
        let mut back = Vec::new();
        while let Some(bytes) = content.next().await? {
            back.extend_from_slice(&bytes);
        }
        drop(content);
        let removed = self.remote.remove(&path).await;
        removed.map_err(failed("delete a small object"))?;
        if back == PROBE_BYTES {
            return Ok(());
        }
        let message = "gave back other bytes than were written; check the store";
        Err(self.failure(FailureClass::TargetCorrupts, None, message))
    }
}

fn one_word(trouble: &Trouble) -> String {
    format!("{:?}", trouble.kind)
}

impl Staged {
    /// Appends. After a failure nothing more can be written.
    async fn append(&self, chunks: &[bytes::Bytes]) -> Result<(), Failure> {
        let mut writing = self.writing.lock().await;
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            let Writing::Open(open) = &mut *writing else {
                return Err(self.broken());
            };
            if let Err(trouble) = open.send(chunk.clone()).await {
                *writing = Writing::Broken;
                return Err(self
                    .store
                    .failed(Role::Target, Some(&self.path), "write it", &trouble));
            }
        }
        Ok(())
    }

    fn broken(&self) -> Failure {
        self.store.failure(
            FailureClass::Transient,
            Some(&self.path),
            "its writing has broken off",
        )
    }

    /// Ends the writing: all bytes are at the server, under the temporary name.
    async fn finish(&self) -> Result<(), Failure> {
        let mut writing = self.writing.lock().await;
        match std::mem::replace(&mut *writing, Writing::Broken) {
            Writing::Open(sending) => {
                let finished = sending.finish().await;
                finished.map_err(|trouble| {
                    let path = Some(self.path.as_str());
                    self.store.failed(Role::Target, path, "write it", &trouble)
                })?;
            }
            Writing::Done => {}
            Writing::Broken => return Err(self.broken()),
        }
        *writing = Writing::Done;
        Ok(())
    }

    async fn read_back(&self) -> Result<Seen, Failure> {
        self.finish().await?;
        let wanted = Wanted::whole(&self.temporary, Role::Target);
        let mut content = self.store.open_content(wanted).await?;
        let mut digester = Digester::new(Digests::Blake3);
        while let Some(chunk) = content.next().await? {
            digester.update(&chunk);
        }
        Ok(digester.finish())
    }

    async fn discard(&self) {
        *self.writing.lock().await = Writing::Broken;
        if let Err(trouble) = self.store.remote.remove(&self.temporary).await
            && !trouble.is(TroubleKind::Gone)
        {
            tracing::debug!(backend = %self.store.backend, "a temporary file stays: {}", one_word(&trouble));
        }
    }
}

impl Upload for Staged {
    fn put_part<'a>(&'a self, part: &'a Part) -> Doing<'a, Option<StoredPart>> {
        Box::pin(async move {
            self.append(&part.chunks).await?;
            Ok(Some(part.stored_untold()))
        })
    }

    fn seen(&self) -> Doing<'_, Option<Seen>> {
        Box::pin(async move { self.read_back().await.map(Some) })
    }

    fn complete<'a>(self: Box<Self>, _: &'a [StoredPart], _: Option<Crc64>) -> Doing<'a, Published> {
        Box::pin(async move {
            let published = match self.finish().await {
                Ok(()) => self.store.publish(&self).await,
                Err(failure) => Err(failure),
            };
            if !matches!(published, Ok(Published::Done { .. })) {
                self.discard().await;
            }
            published
        })
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.discard().await })
    }
}
