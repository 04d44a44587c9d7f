//! Reading: into digests alone, or into a channel that a writer empties.

use std::sync::Arc;

use bytes::Bytes;
use domicile_movers::{Digests, Failure, Seen};
use tokio::sync::mpsc;

use crate::digest::Digester;
use crate::fs::{self, FsStore};
use crate::object::{self, ObjectStore};
use crate::progress::{Cancel, Progress};
use crate::role::Role;
use crate::stores::Driver;

/// Bytes in one chunk between a reader and a writer.
pub(crate) const CHUNK: usize = 256 * 1024;
/// Chunks between a reader and a writer.
pub(crate) const CHUNKS: usize = 8;

/// Chunks of an object. A failure of the reader comes as the last one.
pub(crate) type Chunks = mpsc::Receiver<Result<Bytes, Failure>>;

/// Which counter the bytes that are read go to.
#[derive(Clone)]
pub(crate) struct Counting {
    pub progress: Arc<Progress>,
    pub verifies: bool,
}

impl Counting {
    fn count(&self, bytes: u64) {
        if self.verifies {
            self.progress.add_verified(bytes);
        } else {
            self.progress.add_read(bytes);
        }
    }
}

/// Runs what blocks on a thread that may. A panic there goes on here: it is a bug, not a failure.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Cancelled: the runtime is going down, and nobody waits for an answer.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Reads an object from end to end and digests it.
pub(crate) async fn read(
    driver: &Driver,
    path: &str,
    role: Role,
    digests: Digests,
    counting: Counting,
    cancel: &Cancel,
) -> Result<Seen, Failure> {
    let count = move |bytes| counting.count(bytes);
    match driver {
        Driver::Object(store) => store.digest(path, role, digests, &count, cancel).await,
        Driver::Fs(store) => {
            let (store, path, cancel) = (store.clone(), path.to_owned(), cancel.clone());
            blocking(move || store.digest(&path, role, digests, &count, &cancel)).await
        }
    }
}

/// A source that is open for reading.
pub(crate) enum OpenSource {
    File(FsStore, fs::OpenObject),
    Object(ObjectStore, Box<object::OpenObject>),
}

impl OpenSource {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::File(_, object) => object.size(),
            Self::Object(_, object) => object.size,
        }
    }
}

pub(crate) async fn open_source(driver: &Driver, path: &str) -> Result<OpenSource, Failure> {
    match driver {
        Driver::Object(store) => {
            let object = store.open(path, Role::Source).await?;
            Ok(OpenSource::Object(store.clone(), Box::new(object)))
        }
        Driver::Fs(store) => {
            let (store, path) = (store.clone(), path.to_owned());
            blocking(move || {
                let object = store.open(&path, Role::Source)?;
                Ok(OpenSource::File(store, object))
            })
            .await
        }
    }
}

/// Reads an open source into a channel and digests it on the way; `None` if it did not come to the end, which the
/// channel then says, if anybody listens.
pub(crate) async fn read_into(
    open: OpenSource,
    path: String,
    chunks: mpsc::Sender<Result<Bytes, Failure>>,
    progress: Arc<Progress>,
    cancel: Cancel,
) -> Option<Seen> {
    match open {
        OpenSource::File(store, mut object) => {
            blocking(move || read_file(&store, &mut object, &path, &chunks, &progress, &cancel)).await
        }
        OpenSource::Object(store, mut object) => {
            let mut digester = Digester::new(Digests::Both);
            loop {
                match store.next(&mut object, &path, Role::Source, &cancel).await {
                    Ok(None) => return Some(digester.finish()),
                    Ok(Some(parts)) => {
                        for part in parts {
                            digester.update(&part);
                            progress.add_read(part.len() as u64);
                            chunks.send(Ok(part)).await.ok()?;
                        }
                    }
                    Err(failure) => {
                        chunks.send(Err(failure)).await.ok()?;
                        return None;
                    }
                }
            }
        }
    }
}

fn read_file(
    store: &FsStore,
    object: &mut fs::OpenObject,
    path: &str,
    chunks: &mpsc::Sender<Result<Bytes, Failure>>,
    progress: &Progress,
    cancel: &Cancel,
) -> Option<Seen> {
    let mut digester = Digester::new(Digests::Both);
    let mut nobody_listens = false;
    let read = store.read_open(object, path, Role::Source, &mut |bytes| {
        for chunk in bytes.chunks(CHUNK) {
            digester.update(chunk);
            progress.add_read(chunk.len() as u64);
            if chunks.blocking_send(Ok(Bytes::copy_from_slice(chunk))).is_err() {
                nobody_listens = true;
                return Err(store.stopped(path));
            }
        }
        store.unless_cancelled(path, cancel)
    });
    match read {
        Ok(()) => Some(digester.finish()),
        Err(failure) => {
            if !nobody_listens {
                // If nobody listens any more, the writer has a failure of its own.
                let _ = chunks.blocking_send(Err(failure));
            }
            None
        }
    }
}
