//! The steps of one transfer, carried out on real stores.

use std::sync::Arc;

use domicile_movers::{Answer, Digests, Failure, FailureClass, Place, Publication, Seen, Step, TransferSpec};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::fs::{FsStore, StagedFile};
use crate::object::{ObjectStore, StagedObject};
use crate::progress::{Cancel, Progress};
use crate::pump::{self, CHUNK, CHUNKS, Chunks, Counting, blocking, read};
use crate::role::Role;
use crate::stores::{Driver, Stores};

/// What one transfer has in hand.
pub(crate) struct Carrier {
    pub stores: Arc<Stores>,
    pub budget: Budget,
    pub spec: TransferSpec,
    pub target: Driver,
    pub progress: Arc<Progress>,
    pub cancel: Cancel,
    pub staged: Option<Staged>,
}

/// What waits to be published, with its share of the memory.
pub(crate) struct Staged {
    what: StagedKind,
    _memory: OwnedSemaphorePermit,
}

enum StagedKind {
    File(StagedFile),
    Object(StagedObject),
}

/// The memory that all transfers share, in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    bytes: u32,
    free: Arc<Semaphore>,
}

impl Budget {
    pub(crate) fn new(bytes: u32) -> Self {
        let bytes = bytes.max(1);
        Self {
            bytes,
            free: Arc::new(Semaphore::new(bytes as usize)),
        }
    }

    /// Waits for a share. One transfer takes one share at a time, so that no two wait for each other; who asks
    /// for more than there is gets all.
    async fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let share = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.bytes);
        // The semaphore is never closed.
        self.free.clone().acquire_many_owned(share).await.ok()
    }
}

impl Carrier {
    /// Carries out one step of the machine.
    pub(crate) async fn carry_out(&mut self, step: Step) -> Answer {
        let result = match step {
            Step::StatTarget => self.stat_target().await,
            Step::ReadTarget(digests) => self.read_target(digests).await,
            Step::ReadSource(place) => self.read_source(&place).await,
            Step::Stage { source, publication } => self.stage(&source, publication).await,
            Step::Publish(publication) => self.publish(publication).await,
            Step::Discard => {
                self.discard().await;
                Ok(Answer::Removed)
            }
            Step::RemovePublished => self.remove_published().await,
            Step::Wait { ms, reason } => self.wait(ms, &reason).await,
            Step::Done(_) => Ok(Answer::Waited),
        };
        match result {
            Ok(answer) => answer,
            Err(failure) => {
                self.discard().await;
                Answer::Failed(failure)
            }
        }
    }

    async fn stat_target(&self) -> Result<Answer, Failure> {
        let path = self.spec.target.path.clone();
        let size = match &self.target {
            Driver::Object(store) => store.stat(&path, Role::Target).await,
            Driver::Fs(store) => {
                let store = store.clone();
                blocking(move || store.stat(&path, Role::Target)).await
            }
        };
        match size {
            Ok(None) => Ok(Answer::Absent),
            Ok(Some(size)) => Ok(Answer::Found { size }),
            // It will be made when something is written to it.
            Err(failure) if failure.class == FailureClass::StoreMissing && self.may_create_root() => {
                Ok(Answer::Absent)
            }
            Err(failure) => Err(failure),
        }
    }

    fn may_create_root(&self) -> bool {
        self.spec.allow_create_root && matches!(self.target, Driver::Fs(_))
    }

    async fn read_target(&self, digests: Digests) -> Result<Answer, Failure> {
        let count = Counting {
            progress: self.progress.clone(),
            verifies: true,
        };
        let seen = read(
            &self.target,
            &self.spec.target.path,
            Role::Target,
            digests,
            count,
            &self.cancel,
        )
        .await;
        seen.map(Answer::Contents)
    }

    async fn read_source(&self, place: &Place) -> Result<Answer, Failure> {
        let driver = self.source_driver(place)?;
        let count = Counting {
            progress: self.progress.clone(),
            verifies: false,
        };
        let seen = read(
            &driver,
            &place.path,
            Role::Source,
            Digests::Both,
            count,
            &self.cancel,
        )
        .await;
        seen.map(Answer::Contents)
    }

    fn source_driver(&self, place: &Place) -> Result<Driver, Failure> {
        let driver = self.stores.driver(&place.backend)?;
        driver.check_path(&place.backend, &place.path).map(|()| driver)
    }

    async fn stage(&mut self, source: &Place, how: Publication) -> Result<Answer, Failure> {
        let driver = self.source_driver(source)?;
        let buffers = (CHUNK * CHUNKS) as u64;
        let share = match &self.target {
            Driver::Fs(_) => self.spec.size.0.min(buffers),
            Driver::Object(store) => store.buffer_bytes(self.spec.size.0) + self.spec.size.0.min(buffers),
        };
        let memory = tokio::select! {
            memory = self.budget.take(share) => memory,
            () = self.cancel.cancelled() => None,
        };
        let Some(memory) = memory else {
            return Err(self.stopped());
        };
        let (seen, what) = match (&driver, &self.target) {
            (Driver::Fs(from), Driver::Fs(to)) => self.copy_file(from, &source.path, to).await?,
            (from, _) => self.pump(from, &source.path, how).await?,
        };
        self.staged = what.map(|what| Staged {
            what,
            _memory: memory,
        });
        Ok(Answer::Staged(seen))
    }

    fn stopped(&self) -> Failure {
        let target = &self.spec.target;
        Failure::of_object(
            FailureClass::Cancelled,
            &target.backend,
            &target.path,
            "stopped on request".to_owned(),
        )
    }

    /// From one folder to another: one thread does the whole object.
    async fn copy_file(
        &self,
        from: &FsStore,
        source: &str,
        to: &FsStore,
    ) -> Result<(Seen, Option<StagedKind>), Failure> {
        let (from, to, source) = (from.clone(), to.clone(), source.to_owned());
        let (path, size, create) = (
            self.spec.target.path.clone(),
            self.spec.size.0,
            self.spec.allow_create_root,
        );
        let (progress, cancel) = (self.progress.clone(), self.cancel.clone());
        blocking(move || {
            let mut object = from.open(&source, Role::Source)?;
            if object.size() != size {
                return Ok((wrong_size(object.size()), None));
            }
            let mut staged = to.stage(&path, create)?;
            let count = |bytes| {
                progress.add_read(bytes);
                progress.add_written(bytes);
            };
            let seen = to.copy(
                (&from, &mut object, &source),
                (&mut staged, &path),
                &count,
                &cancel,
            )?;
            Ok((seen, Some(StagedKind::File(staged))))
        })
        .await
    }

    async fn publish(&mut self, how: Publication) -> Result<Answer, Failure> {
        let path = self.spec.target.path.clone();
        let published = match (self.staged.take(), &self.target) {
            (
                Some(Staged {
                    what: StagedKind::File(staged),
                    ..
                }),
                Driver::Fs(store),
            ) => {
                let store = store.clone();
                blocking(move || store.publish(staged, &path, how)).await
            }
            (
                Some(Staged {
                    what: StagedKind::Object(staged),
                    _memory,
                }),
                Driver::Object(store),
            ) => {
                let size = self.spec.size.0;
                let published = store.publish(staged, &path, how).await;
                if published == Ok(true) {
                    store.check_name(&path).await?;
                }
                // Parts are counted as they go out; one request goes out here.
                if published == Ok(true) && size < crate::object::PART {
                    self.progress.add_written(size);
                }
                published
            }
            _ => Err(self.lost("nothing is staged")),
        };
        Ok(if published? {
            Answer::Published
        } else {
            Answer::Occupied
        })
    }

    fn lost(&self, what: &str) -> Failure {
        let target = &self.spec.target;
        Failure::of_object(
            FailureClass::Transient,
            &target.backend,
            &target.path,
            what.to_owned(),
        )
    }

    /// Gives up what is staged, if anything is. A staged file removes itself when it is dropped.
    pub(crate) async fn discard(&mut self) {
        if let Some(Staged {
            what: StagedKind::Object(staged),
            ..
        }) = self.staged.take()
            && let Driver::Object(store) = &self.target
        {
            store.discard(staged).await;
        }
    }

    async fn remove_published(&self) -> Result<Answer, Failure> {
        let path = self.spec.target.path.clone();
        match &self.target {
            Driver::Object(store) => store.delete(&path).await?,
            Driver::Fs(store) => {
                let store = store.clone();
                blocking(move || store.delete(&path, false)).await?;
            }
        }
        Ok(Answer::Removed)
    }

    async fn wait(&self, ms: u64, reason: &str) -> Result<Answer, Failure> {
        tracing::info!(target_backend = %self.spec.target.backend, "{reason}");
        self.progress.add_wait();
        tokio::select! {
            () = tokio::time::sleep(std::time::Duration::from_millis(ms)) => Ok(Answer::Waited),
            () = self.cancel.cancelled() => Err(self.stopped()),
        }
    }

    /// From any store to any other: a reader that digests and a writer, with a few chunks between them.
    async fn pump(
        &self,
        from: &Driver,
        source: &str,
        how: Publication,
    ) -> Result<(Seen, Option<StagedKind>), Failure> {
        let open = pump::open_source(from, source).await?;
        if open.size() != self.spec.size.0 {
            return Ok((wrong_size(open.size()), None));
        }
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let reader = pump::read_into(
            open,
            source.to_owned(),
            sender,
            self.progress.clone(),
            self.cancel.clone(),
        );
        let writer = async {
            match &self.target {
                Driver::Fs(store) => self.write_file(store.clone(), chunks).await.map(StagedKind::File),
                Driver::Object(store) => self
                    .write_object(store, chunks, how)
                    .await
                    .map(StagedKind::Object),
            }
        };
        let (seen, staged) = tokio::join!(reader, writer);
        match (seen, staged?) {
            (Some(seen), staged) => Ok((seen, Some(staged))),
            (None, StagedKind::Object(staged)) => {
                if let Driver::Object(store) = &self.target {
                    store.discard(staged).await;
                }
                Err(self.lost("the reader ended too early"))
            }
            (None, StagedKind::File(_)) => Err(self.lost("the reader ended too early")),
        }
    }

    async fn write_file(&self, store: FsStore, mut chunks: Chunks) -> Result<StagedFile, Failure> {
        let (path, create) = (self.spec.target.path.clone(), self.spec.allow_create_root);
        let progress = self.progress.clone();
        blocking(move || {
            let mut staged = store.stage(&path, create)?;
            while let Some(chunk) = chunks.blocking_recv() {
                let chunk = chunk?;
                store.write(&mut staged, &path, &chunk)?;
                progress.add_written(chunk.len() as u64);
            }
            store.finish(&staged, &path)?;
            Ok(staged)
        })
        .await
    }

    async fn write_object(
        &self,
        store: &ObjectStore,
        mut chunks: Chunks,
        how: Publication,
    ) -> Result<StagedObject, Failure> {
        let path = &self.spec.target.path;
        let mut staged = store.stage(path, self.spec.size.0, how).await?;
        let in_parts = matches!(staged, StagedObject::Parts(_));
        while let Some(chunk) = chunks.recv().await {
            let written = match chunk {
                Err(failure) => Err(failure),
                Ok(chunk) => {
                    let bytes = chunk.len() as u64;
                    let written = store.write(&mut staged, path, chunk).await;
                    if in_parts {
                        self.progress.add_written(bytes);
                    }
                    written
                }
            };
            if let Err(failure) = written {
                store.discard(staged).await;
                return Err(failure);
            }
        }
        Ok(staged)
    }
}

/// What is said of a source whose size alone shows that it is not the object: no byte of it is copied.
fn wrong_size(size: u64) -> Seen {
    Seen {
        size,
        sha256: None,
        blake3: String::new(),
    }
}
