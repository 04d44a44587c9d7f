//! The folder behind the traits of stores: each thing is done in one go on a thread that may block.

use std::fs::File;
use std::sync::Arc;

use domicile_estate::TEMPORARY_PREFIX;
use domicile_movers::{Publication, Seen, StoredPart, UploadToken, tree::PART_MIN};
use futures::future::BoxFuture;

use super::direct::DirectFile;
use super::upload::RESUMES_FROM;
use super::{FsStore, SMALL, StagedFile};
use crate::role::Role;
use crate::store::{
    Aim, Capabilities, Content, Crc64, Doing, PROBE_BYTES, Pages, Part, Parts, Probed, Proven, Published,
    Sink, Source, Stat, Store, Unfinished, Upload, Version, Wanted, Whole,
};
use crate::threads::{blocking, brief};

/// Parts of one file that are written at once: one that is written and one that is read.
const PARTS_AT_ONCE: usize = 2;

impl Store for FsStore {
    fn as_folder(&self) -> Option<&FsStore> {
        Some(self)
    }
}

impl Source for FsStore {
    fn stat<'a>(&'a self, path: &'a str, role: Role) -> Doing<'a, Option<Stat>> {
        let (store, path) = (self.clone(), path.to_owned());
        Box::pin(blocking(move || store.look(&path, role)))
    }

    fn open<'a>(&'a self, wanted: Wanted<'a>) -> Doing<'a, Box<dyn Content>> {
        if let Some(content) = self.open_cached(&wanted) {
            return Box::pin(std::future::ready(Ok(Box::new(content) as Box<dyn Content>)));
        }
        let store = self.clone();
        let (path, role, range) = (wanted.path.to_owned(), wanted.role, wanted.range);
        let version = wanted.version.cloned();
        Box::pin(blocking(move || {
            let content = store.open_content(&Wanted {
                path: &path,
                role,
                range,
                version: version.as_ref(),
            })?;
            Ok(Box::new(content) as Box<dyn Content>)
        }))
    }

    fn list<'a>(&'a self, prefix: &'a str, skip: &'a [String], pages: &'a Pages) -> Doing<'a, ()> {
        let (store, prefix, skip) = (self.clone(), prefix.to_owned(), skip.to_vec());
        let pages = pages.clone();
        Box::pin(blocking(move || {
            store.list(&prefix, &skip, &mut |page| pages.blocking_send(Ok(page)).is_ok())
        }))
    }

    fn is_empty_or_gone(&self) -> Doing<'_, bool> {
        let store = self.clone();
        Box::pin(blocking(move || store.has_nothing()))
    }
}

/// What the calls of the system promise, and tests of ours have seen.
const PROVEN: Proven = Proven {
    checksums: false,
    refuses_to_overwrite: true,
    deletes_conditionally: false,
};

impl Sink for FsStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            parts: Parts::AnyOrder(PARTS_AT_ONCE),
            whole_max: PART_MIN,
            trims_paths: false,
            makes_root: true,
            // It costs a thread's waking, and publishing tells as well.
            looks_cheaply: false,
            shows_staged: true,
        }
    }

    fn put_whole<'a>(&'a self, aim: Aim<'a>, whole: &'a Whole) -> Doing<'a, Published> {
        let (store, path, chunks) = (self.clone(), aim.path.to_owned(), whole.chunks.clone());
        let (how, create) = (aim.how, aim.may_create_root);
        let (size, is_small) = (aim.size, aim.size <= SMALL);
        let write = move || {
            let staged = store.stage(&path, create)?;
            store.reserve(&*staged.file, &path, size)?;
            let to = DirectFile::of(&*staged.file, size);
            to.write_chunks(&chunks, 0)
                .map_err(|error| store.unwritten(&path, &error))?;
            Ok((store, staged, path))
        };
        Box::pin(async move {
            if is_small {
                let (store, staged, path) = brief(write).await?;
                return store.publish_together(staged, path, how).await;
            }
            let publish = move || {
                let (store, staged, path) = write()?;
                store.finish(&staged, &path)?;
                store.publish(staged, &path, how)
            };
            blocking(publish).await
        })
    }

    fn begin<'a>(&'a self, aim: Aim<'a>) -> Doing<'a, Box<dyn Upload>> {
        let (store, path) = (self.clone(), aim.path.to_owned());
        let (how, create, size) = (aim.how, aim.may_create_root, aim.size);
        if size >= RESUMES_FROM {
            let tag = aim.tag.to_owned();
            return Box::pin(blocking(move || {
                let aim = Aim {
                    path: &path,
                    size,
                    how,
                    replaces: None,
                    tag: &tag,
                    may_create_root: create,
                };
                Ok(Box::new(store.begin_upload(aim)?) as Box<dyn Upload>)
            }));
        }
        Box::pin(blocking(move || {
            let staged = store.stage(&path, create)?;
            store.reserve(&*staged.file, &path, size)?;
            Ok(Box::new(FileUpload::new(store, staged, (path, size), how)) as Box<dyn Upload>)
        }))
    }

    fn resume(&self, aim: Aim<'_>, token: &UploadToken) -> Option<Box<dyn Upload>> {
        Some(Box::new(self.upload(aim, token)))
    }

    fn resumes_from(&self) -> u64 {
        RESUMES_FROM
    }

    fn unfinished<'a>(&'a self, prefix: &'a str) -> Doing<'a, Vec<Unfinished>> {
        let (store, prefix) = (self.clone(), prefix.to_owned());
        Box::pin(blocking(move || store.uploads(&prefix)))
    }

    fn delete<'a>(&'a self, path: &'a str, only: Option<&'a Version>, emptied: bool) -> Doing<'a, ()> {
        let (store, path, only) = (self.clone(), path.to_owned(), only.cloned());
        Box::pin(blocking(move || store.remove(&path, only.as_ref(), emptied)))
    }

    fn sweep<'a>(&'a self, prefix: &'a str) -> Doing<'a, u64> {
        let (store, folder) = (self.clone(), prefix.trim_end_matches('/').to_owned());
        Box::pin(blocking(move || store.sweep_below(&folder)))
    }

    /// The system renames without overwriting. It keeps no checksums.
    fn proven(&self) -> BoxFuture<'_, Proven> {
        Box::pin(std::future::ready(PROVEN))
    }

    fn probe(&self, write: bool, may_be_new: bool) -> Doing<'_, Probed> {
        let store = self.clone();
        Box::pin(blocking(move || {
            if may_be_new && !store.root_exists() {
                return Ok(Probed {
                    holds_something: false,
                    wrote: false,
                    proven: Proven::default(),
                });
            }
            store.check_root(Role::Source)?;
            let holds_something = !store.has_nothing()?;
            if write {
                store.probe_write(&format!("{TEMPORARY_PREFIX}probe"), PROBE_BYTES)?;
            }
            Ok(Probed {
                holds_something,
                wrote: write,
                proven: if write { PROVEN } else { Proven::default() },
            })
        }))
    }
}

/// A file that is written under a temporary name, which dropping it removes.
pub(super) struct FileUpload {
    store: FsStore,
    staged: Arc<StagedFile>,
    /// The same file, for all its parts.
    to: Arc<DirectFile<Arc<File>>>,
    path: String,
    size: u64,
    how: Publication,
}

impl FileUpload {
    pub(super) fn new(
        store: FsStore,
        staged: StagedFile,
        (path, size): (String, u64),
        how: Publication,
    ) -> Self {
        Self {
            store,
            to: Arc::new(DirectFile::of(Arc::clone(&staged.file), size)),
            staged: Arc::new(staged),
            path,
            size,
            how,
        }
    }
}

impl Upload for FileUpload {
    fn put_part<'a>(&'a self, part: &'a Part) -> Doing<'a, Option<StoredPart>> {
        let (store, staged, path) = (self.store.clone(), self.staged.clone(), self.path.clone());
        let (to, part) = (self.to.clone(), part.clone());
        Box::pin(blocking(move || {
            let _still = staged;
            to.write_chunks(&part.chunks, part.offset)
                .map_err(|error| store.unwritten(&path, &error))?;
            Ok(Some(part.stored_untold()))
        }))
    }

    fn seen(&self) -> Doing<'_, Option<Seen>> {
        let (store, staged, path) = (self.store.clone(), self.staged.clone(), self.path.clone());
        Box::pin(blocking(move || {
            store.finish(&staged, &path)?;
            let file = staged.reopen();
            let file = file.map_err(|errno| store.failed(Role::Target, &path, "read it back", errno))?;
            store.see_staged(&file, &path).map(Some)
        }))
    }

    fn complete<'a>(self: Box<Self>, _: &'a [StoredPart], _: Option<Crc64>) -> Doing<'a, Published> {
        Box::pin(async move {
            let Self {
                store,
                staged,
                to: _,
                path,
                size,
                how,
            } = *self;
            let Some(staged) = Arc::into_inner(staged) else {
                return Err(store.busy(&path, "a part of it is still being written"));
            };
            if size <= SMALL {
                return store.publish_together(staged, path, how).await;
            }
            blocking(move || {
                store.finish(&staged, &path)?;
                store.publish(staged, &path, how)
            })
            .await
        })
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(blocking(move || drop(self)))
    }
}
