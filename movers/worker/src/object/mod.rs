//! Object stores, through OpenDAL. It is used for what it does well (many dialects of many stores) and mistrusted
//! where it is known to err: ranges are always given, a writer that has failed is aborted and never used again,
//! and what was written is read back (MV-2).

mod failure;
mod open;
mod write;

use bytes::Bytes;
use domicile_estate::{BackendName, TEMPORARY_PREFIX};
use domicile_movers::{Digests, Failure, FailureClass, Seen};
use futures::StreamExt;
use opendal::options::{DeleteOptions, ListOptions, ReaderOptions};
use opendal::{BufferStream, ErrorKind, Metadata, Operator};

use crate::digest::Digester;
use crate::fs::is_skipped;
use crate::listing::{Listed, ListedKind, PAGE};
use crate::progress::Cancel;
use crate::redact::Redactor;
use crate::role::Role;

pub(crate) use open::open;
pub(crate) use write::{PART, StagedObject};

/// One object store.
#[derive(Debug, Clone)]
pub(crate) struct ObjectStore {
    backend: BackendName,
    operator: Operator,
    redactor: Redactor,
    anonymous: bool,
    /// What a missing store is called, such as ``bucket `x` ``.
    place: String,
}

/// An object that is being read.
pub(crate) struct OpenObject {
    /// Its bytes when it was opened.
    pub size: u64,
    /// `None` for an empty object, which no range can be asked of.
    stream: Option<BufferStream>,
}

impl ObjectStore {
    /// The size of the object under a path; `None` if nothing is there.
    pub(crate) async fn stat(&self, path: &str, role: Role) -> Result<Option<u64>, Failure> {
        Ok(self
            .metadata(path, role)
            .await?
            .map(|metadata| metadata.content_length()))
    }

    async fn metadata(&self, path: &str, role: Role) -> Result<Option<Metadata>, Failure> {
        match self.operator.stat(path).await {
            Ok(metadata) => Ok(Some(metadata)),
            // A HEAD has no body that would say what is wrong: a missing bucket looks like a missing object, and
            // a wrong key like a forbidden object. A listing says it.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                if let Err(cause) = self.first_entry(&parent(path)).await
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

    pub(crate) async fn open(&self, path: &str, role: Role) -> Result<OpenObject, Failure> {
        let Some(metadata) = self.metadata(path, role).await? else {
            let class = if role == Role::Source {
                FailureClass::SourceGone
            } else {
                FailureClass::Transient
            };
            return Err(self.failure(class, Some(path), "cannot open it: it is not there".to_owned()));
        };
        let size = metadata.content_length();
        if size == 0 {
            return Ok(OpenObject { size, stream: None });
        }
        // If it is replaced while it is read, the rest must not come from the new one.
        let conditional = self.operator.info().capability().read_with_if_match;
        let if_match = metadata.etag().filter(|_| conditional).map(str::to_owned);
        let failed = |error| self.failed(role, Some(path), "read it", &error);
        let options = ReaderOptions {
            if_match,
            ..ReaderOptions::default()
        };
        let reader = self
            .operator
            .reader_options(path, options)
            .await
            .map_err(failed)?;
        // Always with its end: an open range trusts a size that may be of another moment.
        let stream = reader.into_stream(0..size).await.map_err(failed)?;
        Ok(OpenObject {
            size,
            stream: Some(stream),
        })
    }

    /// The next bytes of an open object; `None` at its end.
    pub(crate) async fn next(
        &self,
        object: &mut OpenObject,
        path: &str,
        role: Role,
        cancel: &Cancel,
    ) -> Result<Option<Vec<Bytes>>, Failure> {
        let Some(stream) = &mut object.stream else {
            return Ok(None);
        };
        let next = tokio::select! {
            next = stream.next() => next,
            () = cancel.cancelled() => return Err(self.stopped(path)),
        };
        match next {
            None => Ok(None),
            Some(Ok(buffer)) => Ok(Some(Iterator::collect(buffer))),
            Some(Err(error)) => Err(self.failed(role, Some(path), "read it", &error)),
        }
    }

    /// Reads an object from end to end and digests it.
    pub(crate) async fn digest(
        &self,
        path: &str,
        role: Role,
        digests: Digests,
        count: &(dyn Fn(u64) + Sync),
        cancel: &Cancel,
    ) -> Result<Seen, Failure> {
        let mut object = self.open(path, role).await?;
        let mut digester = Digester::new(digests);
        while let Some(parts) = self.next(&mut object, path, role, cancel).await? {
            for part in parts {
                digester.update(&part);
                count(part.len() as u64);
            }
        }
        Ok(digester.finish())
    }

    pub(crate) fn stopped(&self, path: &str) -> Failure {
        self.failure(
            FailureClass::Cancelled,
            Some(path),
            "stopped on request".to_owned(),
        )
    }

    /// Removes an object; what is not there is removed.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        match self.operator.delete_options(path, DeleteOptions::default()).await {
            // A store answers that an object is not there with success; this is about the bucket, or as good as.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                match self.metadata(path, Role::Target).await {
                    Ok(_) => Ok(()),
                    Err(failure) => Err(failure),
                }
            }
            Err(error) => Err(self.failed(Role::Target, Some(path), "delete it", &error)),
            Ok(()) => Ok(()),
        }
    }

    /// Lists objects below a prefix, in pages; `page` says whether anybody still listens.
    pub(crate) async fn list(
        &self,
        prefix: &str,
        skip: &[String],
        pages: &tokio::sync::mpsc::Sender<Result<Vec<Listed>, Failure>>,
    ) -> Result<(), Failure> {
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
            if !metadata.is_file() || is_skipped(&path, skip) {
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

    /// Whether there is nothing but temporary objects of ours, or no bucket.
    pub(crate) async fn is_empty_or_gone(&self) -> Result<bool, Failure> {
        match self.first_entry("").await {
            Ok(found) => Ok(!found),
            Err(error) => match self.failed(Role::Source, None, "list the store", &error) {
                failure if failure.class == FailureClass::StoreMissing => Ok(true),
                failure => Err(failure),
            },
        }
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
            if entry.metadata().is_file() && !is_temporary(entry.path()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lists the store and, if `write`, writes a small object, reads it back and removes it. Says whether the
    /// store holds something.
    pub(crate) async fn probe(&self, write: Option<(&str, &'static [u8])>) -> Result<bool, Failure> {
        let holds = self.first_entry("").await;
        let holds = holds.map_err(|error| self.failed(Role::Source, None, "list the store", &error))?;
        let Some((name, bytes)) = write else {
            return Ok(holds);
        };
        let failed =
            |doing: &'static str| move |error: opendal::Error| self.failed(Role::Target, None, doing, &error);
        self.operator
            .write(name, bytes)
            .await
            .map_err(failed("write a small object"))?;
        let back = self
            .operator
            .read(name)
            .await
            .map_err(failed("read a small object back"))?;
        self.operator
            .delete(name)
            .await
            .map_err(failed("delete a small object"))?;
        if back.to_vec() == bytes {
            return Ok(holds);
        }
        let message = "gave back other bytes than were written; check the store".to_owned();
        Err(self.failure(FailureClass::TargetCorrupts, None, message))
    }
}

fn parent(path: &str) -> String {
    path.rsplit_once('/')
        .map_or(String::new(), |(folder, _)| format!("{folder}/"))
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
