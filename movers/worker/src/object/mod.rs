//! Object stores, through OpenDAL. It is used for what it does well (many dialects of many stores) and mistrusted
//! where it is known to err: ranges are always given, a writer that has failed is aborted and never used again,
//! and what was written is read back (MV-2).

mod failure;
mod open;
mod read;
mod transport;
mod write;

use std::sync::Arc;

use domicile_estate::{BackendName, TEMPORARY_PREFIX};
use domicile_movers::tree::PART_MIN;
use domicile_movers::{Failure, FailureClass, UploadToken, lies_among_lists};
use futures::StreamExt;
use futures::future::BoxFuture;
use opendal::options::{DeleteOptions, ListOptions, WriteOptions};
use opendal::{ErrorKind, Metadata, Operator};
use tokio::sync::OnceCell;

use crate::fs::is_skipped;
use crate::listing::{Listed, ListedKind, PAGE};
use crate::one_place::is_place_mark;
use crate::proof::by_chance;
use crate::redact::Redactor;
use crate::replacing::is_spare;
use crate::role::Role;
use crate::store::{
    Aim, Capabilities, Content, Doing, PROBE_BYTES, Pages, Parts, Probed, Proven, Published, Sink, Source,
    Stat, Store, Unfinished, Upload, Version, Wanted, Whole, empty_or_gone, folder_of,
};

use write::is_occupied;

pub(crate) use open::open;

const PROBE_NAME: &str = ".domicile-probe";

/// One object store.
#[derive(Debug, Clone)]
pub(crate) struct ObjectStore {
    backend: BackendName,
    operator: Operator,
    redactor: Redactor,
    anonymous: bool,
    /// Whether there is no way to it, or TLS notices bits that turn on it.
    guarded: bool,
    /// What a missing store is called, such as ``bucket `x` ``.
    place: String,
    /// What it has shown when it was tried out.
    proven: Arc<OnceCell<Proven>>,
}

impl Store for ObjectStore {}

impl Source for ObjectStore {
    fn stat<'a>(&'a self, path: &'a str, role: Role) -> Doing<'a, Option<Stat>> {
        Box::pin(async move {
            let metadata = self.metadata(path, role).await?;
            Ok(metadata.map(|metadata| Stat {
                size: metadata.content_length(),
                version: version(&metadata),
                checksum: None,
                tag: None,
            }))
        })
    }

    fn open<'a>(&'a self, wanted: Wanted<'a>) -> Doing<'a, Box<dyn Content>> {
        Box::pin(async move {
            let content = self.open_content(wanted).await?;
            Ok(Box::new(content) as Box<dyn Content>)
        })
    }

    fn way_is_safe(&self) -> bool {
        self.guarded
    }

    fn list<'a>(&'a self, prefix: &'a str, skip: &'a [String], pages: &'a Pages) -> Doing<'a, ()> {
        Box::pin(self.list_pages(prefix, skip, pages))
    }

    /// Whether there is nothing but temporary objects of ours, or no bucket.
    fn is_empty_or_gone(&self) -> Doing<'_, bool> {
        Box::pin(async move { empty_or_gone(self.holds_something().await) })
    }
}

impl Sink for ObjectStore {
    fn capabilities(&self) -> Capabilities {
        let in_parts = self.operator.info().capability().write_can_multi;
        Capabilities {
            parts: if in_parts { Parts::InOrder } else { Parts::Never },
            whole_max: PART_MIN,
            trims_paths: true,
            makes_root: false,
            looks_cheaply: false,
            shows_staged: false,
        }
    }

    fn put_whole<'a>(&'a self, aim: Aim<'a>, whole: &'a Whole) -> Doing<'a, Published> {
        Box::pin(self.put_at_once(aim, whole))
    }

    fn begin<'a>(&'a self, aim: Aim<'a>) -> Doing<'a, Box<dyn Upload>> {
        Box::pin(self.begin_writing(aim))
    }

    /// OpenDAL keeps the ids of uploads to itself.
    fn resume(&self, _: Aim<'_>, _: &UploadToken) -> Option<Box<dyn Upload>> {
        None
    }

    fn unfinished<'a>(&'a self, _: &'a str) -> Doing<'a, Vec<Unfinished>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn delete<'a>(&'a self, path: &'a str, only: Option<&'a Version>, _: bool) -> Doing<'a, ()> {
        Box::pin(self.remove(path, only))
    }

    fn sweep<'a>(&'a self, _: &'a str) -> Doing<'a, u64> {
        Box::pin(async { Ok(0) })
    }

    /// OpenDAL tells no checksums; whether conditions are heeded is tried out.
    fn proven(&self) -> BoxFuture<'_, Proven> {
        Box::pin(async move { Proven::by_trying(self.try_out().await) })
    }

    fn assume(&self, proven: Proven) {
        // What this process has seen itself holds.
        let _ = self.proven.set(proven);
    }

    fn probe(&self, write: bool, _: bool) -> Doing<'_, Probed> {
        Box::pin(async move {
            let holds_something = self.holds_something().await?;
            let mut proven = Proven::default();
            if write {
                self.probe_write().await?;
                proven = self.try_out().await?;
            }
            Ok(Probed {
                holds_something,
                wrote: write,
                proven,
            })
        })
    }
}

impl ObjectStore {
    /// Whether there is something besides temporary objects of ours.
    async fn holds_something(&self) -> Result<bool, Failure> {
        let holds = self.first_entry("").await;
        holds.map_err(|error| self.failed(Role::Source, None, "list the store", &error))
    }

    async fn metadata(&self, path: &str, role: Role) -> Result<Option<Metadata>, Failure> {
        match self.operator.stat(path).await {
            Ok(metadata) => Ok(Some(metadata)),
            // A HEAD has no body that would say what is wrong: a missing bucket looks like a missing object, and
            // a wrong key like a forbidden object. A listing says it.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                if let Err(cause) = self.first_entry(folder_of(path)).await
                    && self
                        .failed(role, Some(path), "look at it", &cause)
                        .blames_whole_backend()
                {
                    return Err(self.failed(role, None, "use the store", &cause));
                }
                match error.kind() {
                    ErrorKind::NotFound => Ok(None),
                    _ => Err(self.failed(role, Some(path), "look at it", &error)),
                }
            }
            Err(error) => Err(self.failed(role, Some(path), "look at it", &error)),
        }
    }

    /// Removes an object; what is not there is removed.
    async fn remove(&self, path: &str, only: Option<&Version>) -> Result<(), Failure> {
        if let Some(only) = only {
            let found = self.metadata(path, Role::Target).await?;
            if found.is_none_or(|metadata| version(&metadata) != *only) {
                return Ok(());
            }
        }
        match self.operator.delete_options(path, DeleteOptions::default()).await {
            // A store answers that an object is not there with success; this is about the bucket, or as good as.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.metadata(path, Role::Target).await.map(drop)
            }
            Err(error) => Err(self.failed(Role::Target, Some(path), "delete it", &error)),
            Ok(()) => Ok(()),
        }
    }

    async fn list_pages(&self, prefix: &str, skip: &[String], pages: &Pages) -> Result<(), Failure> {
        let failed = |error| self.failed(Role::Source, None, "list the store", &error);
        let options = ListOptions {
            recursive: true,
            ..ListOptions::default()
        };
        let mut lister = self
            .operator
            .lister_options(prefix, options)
            .await
            .map_err(failed)?;
        let mut page = Vec::new();
        while let Some(entry) = lister.next().await {
            let entry = entry.map_err(failed)?;
            let (path, metadata) = entry.into_parts();
            let ours = is_spare(&path) || is_place_mark(&path);
            if !metadata.is_file() || ours || is_skipped(&path, skip) {
                continue;
            }
            page.push(listed(path, &metadata));
            if page.len() >= PAGE && pages.send(Ok(std::mem::take(&mut page))).await.is_err() {
                return Ok(());
            }
        }
        if !page.is_empty() {
            // Nobody listening any more is no failure.
            let _ = pages.send(Ok(page)).await;
        }
        Ok(())
    }

    /// Asks the store for one entry below a folder: the cheapest question that it answers with reasons.
    async fn first_entry(&self, folder: &str) -> Result<bool, opendal::Error> {
        let options = ListOptions {
            recursive: true,
            limit: Some(8),
            ..ListOptions::default()
        };
        let mut lister = self.operator.lister_options(folder, options).await?;
        while let Some(entry) = lister.next().await {
            let entry = entry?;
            let listed = !lies_among_lists(entry.path()) || lies_among_lists(folder);
            if listed && entry.metadata().is_file() && !is_temporary(entry.path()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes a few bytes and then others where they lie, under a name that no object has.
    async fn try_out(&self) -> Result<Proven, Failure> {
        let tried = self.proven.get_or_try_init(|| async {
            if !self.operator.info().capability().write_with_if_not_exists {
                return Ok(Proven::default());
            }
            let path = format!("{PROBE_NAME}-{:016x}", by_chance());
            let written = self.operator.write(&path, PROBE_BYTES).await;
            written.map_err(|error| self.failed(Role::Target, None, "write a small object", &error))?;
            let options = WriteOptions {
                if_not_exists: true,
                ..WriteOptions::default()
            };
            let again = self.operator.write_options(&path, PROBE_BYTES, options).await;
            self.remove(&path, None).await?;
            Ok(Proven {
                checksums: false,
                refuses_to_overwrite: again.is_err_and(|error| is_occupied(&error)),
                deletes_conditionally: false,
            })
        });
        tried.await.copied()
    }

    async fn probe_write(&self) -> Result<(), Failure> {
        let failed =
            |doing: &'static str| move |error: opendal::Error| self.failed(Role::Target, None, doing, &error);
        self.operator
            .write(PROBE_NAME, PROBE_BYTES)
            .await
            .map_err(failed("write a small object"))?;
        let back = self
            .operator
            .read(PROBE_NAME)
            .await
            .map_err(failed("read a small object back"))?;
        self.operator
            .delete(PROBE_NAME)
            .await
            .map_err(failed("delete a small object"))?;
        if back.to_vec() == PROBE_BYTES {
            return Ok(());
        }
        let message = "gave back other bytes than were written; check the store".to_owned();
        Err(self.failure(FailureClass::TargetCorrupts, None, message))
    }
}

/// A store that tells no ETag tells when an object was changed, and its size.
fn version(metadata: &Metadata) -> Version {
    let changed = || metadata.last_modified().map(|time| time.to_string());
    let state = metadata.etag().map(str::to_owned).or_else(changed);
    Version(format!(
        "{}-{}",
        metadata.content_length(),
        state.unwrap_or_default()
    ))
}

fn is_temporary(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .is_some_and(|name| name.starts_with(TEMPORARY_PREFIX))
}

fn listed(path: String, metadata: &Metadata) -> Listed {
    // OpenDAL trims white space at both ends of a path: such an object would be read as another one, or not at
    // all.
    let kind = if path.trim() == path {
        ListedKind::File
    } else {
        ListedKind::OuterWhiteSpace
    };
    let modified_ms = metadata
        .last_modified()
        .map(|time| time.into_inner().as_millisecond());
    Listed {
        path,
        size: metadata.content_length(),
        modified_ms,
        kind,
    }
}
