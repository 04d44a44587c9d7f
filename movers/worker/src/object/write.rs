//! Writing to an object store: nobody sees an object before its last byte is there.

use domicile_movers::{Failure, FailureClass, Publication, StoredPart, tree};
use futures::StreamExt;
use futures::future::BoxFuture;
use opendal::options::{ListOptions, WriteOptions};
use opendal::{Buffer, Error, ErrorKind, Writer};
use tokio::sync::Mutex;

use super::ObjectStore;
use crate::role::Role;
use crate::store::{Aim, Crc64, Doing, Part, Published, Upload, Whole};

/// Parts under way at once within OpenDAL.
const CONCURRENT: usize = 2;

/// An object that comes in parts: parts lie at the store, and closing the writer makes them one object.
struct WriterUpload {
    store: ObjectStore,
    path: String,
    how: Publication,
    writer: Mutex<Writer>,
}

impl ObjectStore {
    pub(super) async fn put_at_once(&self, aim: Aim<'_>, whole: &Whole) -> Result<Published, Failure> {
        let written = self
            .operator
            .write_options(
                aim.path,
                Buffer::from(whole.chunks.clone()),
                self.options(aim.how),
            )
            .await;
        self.published(aim.path, aim.how, written.map(drop)).await
    }

    pub(super) async fn begin_writing(&self, aim: Aim<'_>) -> Result<Box<dyn Upload>, Failure> {
        let options = WriteOptions {
            concurrent: CONCURRENT,
            chunk: usize::try_from(tree::part_size(aim.size)).ok(),
            ..self.options(aim.how)
        };
        let writer = self.operator.writer_options(aim.path, options).await;
        let writer = writer.map_err(|error| self.failed(Role::Target, Some(aim.path), "write it", &error))?;
        Ok(Box::new(WriterUpload {
            store: self.clone(),
            path: aim.path.to_owned(),
            how: aim.how,
            writer: Mutex::new(writer),
        }))
    }

    async fn published(
        &self,
        path: &str,
        how: Publication,
        result: Result<(), Error>,
    ) -> Result<Published, Failure> {
        match result {
            Ok(()) => {
                self.check_name(path).await?;
                Ok(Published::DONE)
            }
            Err(error) if how == Publication::New && is_occupied(&error) => Ok(Published::Occupied),
            Err(error) => Err(self.published_in_vain(path, &error)),
        }
    }

    /// Some stores fold `\` to `/`, in every request alike, so that only a listing shows under which name an object
    /// really lies: it would be merged with another one. What lies under another name is removed and refused.
    async fn check_name(&self, path: &str) -> Result<(), Failure> {
        if !path.contains('\\') {
            return Ok(());
        }
        let failed = |error: Error| self.failed(Role::Target, Some(path), "look at its name", &error);
        let options = ListOptions {
            recursive: true,
            ..ListOptions::default()
        };
        let mut lister = self
            .operator
            .lister_options(path, options)
            .await
            .map_err(failed)?;
        while let Some(entry) = lister.next().await {
            if entry.map_err(failed)?.path() == path {
                return Ok(());
            }
        }
        self.remove(path, None).await?;
        let message = "the store holds it under another name (it changes `\\`); rename the object".to_owned();
        Err(self.failure(FailureClass::KeyRefused, Some(path), message))
    }

    fn published_in_vain(&self, path: &str, error: &Error) -> Failure {
        match error.kind() {
            // Somebody else writes there at the same moment: look again.
            ErrorKind::Conflict | ErrorKind::ConditionNotMatch => {
                let message = "another writer was at it at the same moment".to_owned();
                self.failure(FailureClass::Transient, Some(path), message)
            }
            _ => self.failed(Role::Target, Some(path), "write it", error),
        }
    }

    fn options(&self, how: Publication) -> WriteOptions {
        let conditional = self.operator.info().capability().write_with_if_not_exists;
        WriteOptions {
            if_not_exists: how == Publication::New && conditional,
            ..WriteOptions::default()
        }
    }
}

impl Upload for WriterUpload {
    /// Appends. After a failure the upload must be given up: the writer may have lost what it was given.
    fn put_part<'a>(&'a self, part: &'a Part) -> Doing<'a, Option<StoredPart>> {
        Box::pin(async move {
            let mut writer = self.writer.lock().await;
            let written = writer.write(Buffer::from(part.chunks.clone())).await;
            let failed = |error: Error| {
                self.store
                    .failed(Role::Target, Some(&self.path), "write it", &error)
            };
            written.map_err(failed)?;
            Ok(Some(part.stored_untold()))
        })
    }

    fn complete<'a>(self: Box<Self>, _: &'a [StoredPart], _: Option<Crc64>) -> Doing<'a, Published> {
        Box::pin(async move {
            let Self {
                store,
                path,
                how,
                writer,
            } = *self;
            let mut writer = writer.into_inner();
            let closed = writer.close().await.map(drop);
            if closed.is_err() {
                abort(&store, writer).await;
            }
            store.published(&path, how, closed).await
        })
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { abort(&self.store, self.writer.into_inner()).await })
    }
}

/// A writer that has failed is aborted, too: it must not be written to again.
async fn abort(store: &ObjectStore, mut writer: Writer) {
    if let Err(error) = writer.abort().await {
        tracing::debug!(backend = %store.backend, kind = ?error.kind(), "an upload could not be given up");
    }
}

pub(super) fn is_occupied(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists
    )
}
