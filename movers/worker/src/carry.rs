//! The steps of one transfer, carried out on real stores.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use domicile_movers::{
    Answer, Digests, Epoch, Failure, FailureClass, Place, Publication, Seen, Step, StoredPart,
    TargetRecorded, TransferId, TransferSpec, UploadTag,
};

use crate::attest::Told;
use crate::by_store::KnownChecksums;
use crate::digest::Digester;
use crate::fan_out::{FanOut, Memory, Want};
use crate::fs::{self, FsStore, memory_for};
use crate::memory::{Share, chunk_of};
use crate::parts::{Outcome, PartCopy, stored};
use crate::progress::{Cancel, Progress};
use crate::proof::Proof;
use crate::role::Role;
use crate::store::{Aim, Content, Parts, Published, Stat, Store, Upload, Version, Wanted, Whole};
use crate::stores::Stores;
use crate::turnstile::Paces;

/// Objects up to this size are put without a look at the target first.
const LOOK_ABOVE: u64 = 256 * 1024;

/// What one transfer has in hand.
pub(crate) struct Carrier {
    pub stores: Arc<Stores>,
    pub fan_out: FanOut,
    pub spec: TransferSpec,
    pub target: Arc<dyn Store>,
    pub watch: Watch,
    pub staged: Option<Staged>,
    /// Tells what this transfer writes from what others write.
    pub epoch: Epoch,
    /// What stores may be taken at their word for.
    pub checksums: KnownChecksums,
    /// Whether the target has tried to fetch the object by itself.
    pub fetched_once: bool,
    /// What was published last, for checking it.
    pub proof: Option<Proof>,
    /// Whether something lies at the target for all we know.
    pub must_look: bool,
    /// Whether nobody has looked at the target yet.
    pub skipped_look: bool,
    /// What lay at the target when it was last looked at.
    pub looked_at: Option<Version>,
}

/// What waits to be published.
pub(crate) struct Staged {
    pub(crate) how: StagedHow,
    pub(crate) proof: Proof,
    /// Bytes that count as written once it is published.
    uncounted: u64,
}

pub(crate) enum StagedHow {
    /// In memory, with its share of it.
    Whole(Whole, Memory),
    /// At the store, unseen.
    Parts(Box<dyn Upload>, Vec<StoredPart>),
}

/// Who counts what a transfer does, and may stop it.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub progress: Arc<Progress>,
    pub cancel: Cancel,
    /// The object that a stop is told of.
    pub place: Place,
}

impl Watch {
    /// Waits for something, unless it is stopped.
    pub(crate) async fn or_stop<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(self.stopped()),
            done = work => Ok(done),
        }
    }

    /// For work that blocks: fails once it is stopped.
    pub(crate) fn go_on(&self) -> Result<(), Failure> {
        if self.cancel.is_cancelled() {
            return Err(self.stopped());
        }
        Ok(())
    }

    pub(crate) fn stopped(&self) -> Failure {
        let Place { backend, path } = &self.place;
        Failure::of_object(
            FailureClass::Cancelled,
            backend,
            path,
            "stopped on request".to_owned(),
        )
    }
}

/// Where bytes that were read are counted.
pub(crate) type Count = fn(&Progress, u64);

/// Reads an object from end to end and digests it; `count` is told the bytes. Whoever calls it holds memory for a chunk.
pub(crate) async fn read(
    store: &dyn Store,
    (path, role): (&str, Role),
    digests: Digests,
    count: Count,
    watch: &Watch,
) -> Result<Seen, Failure> {
    if let Some(folder) = store.as_folder() {
        let at = (path.to_owned(), role);
        // The system may have it ready in memory, from the disk: then no other thread is needed.
        if let Some(bytes) = folder.read_cached(path, role) {
            let mut digester = Digester::new(digests);
            digester.update(&bytes);
            count(&watch.progress, bytes.len() as u64);
            return Ok(digester.finish());
        }
        return folder.clone().see(at, digests, count, watch.clone()).await;
    }
    let opened = store.open(Wanted::whole(path, role));
    let mut content = watch.or_stop(opened).await??;
    let mut digester = Digester::new(digests);
    while let Some(chunk) = watch.or_stop(content.next()).await?? {
        digester.update(&chunk);
        count(&watch.progress, chunk.len() as u64);
    }
    Ok(digester.finish())
}

/// What reading an object of a size piece by piece takes.
pub(crate) fn memory_of_reading(store: &dyn Store, size: u64) -> u64 {
    match store.as_folder() {
        Some(_) => memory_for(size),
        None => chunk_of(size),
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
            Step::ReadStaged(source) => self.read_staged(&source).await,
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

    async fn stat_target(&mut self) -> Result<Answer, Failure> {
        let found = self.look_at_target().await?;
        Ok(found.map_or(Answer::Absent, |stat| Answer::Found { size: stat.size }))
    }

    /// What lies at the target; nothing, too, where publishing will tell.
    pub(crate) async fn look_at_target(&mut self) -> Result<Option<Stat>, Failure> {
        self.skipped_look = self.may_skip_look().await;
        if self.skipped_look {
            return Ok(None);
        }
        match self.target.stat(&self.spec.target.path, Role::Target).await {
            // It will be made when something is written to it.
            Err(failure) if failure.class == FailureClass::StoreMissing && self.may_create_root() => Ok(None),
            Err(failure) => Err(failure),
            Ok(found) => {
                self.watch.progress.expect_something(found.is_some());
                self.looked_at = found.as_ref().map(|stat| stat.version.clone());
                Ok(found)
            }
        }
    }

    /// A small object is put without looking first, which is half the requests: a store that refuses to overwrite says
    /// itself if something is there. It is looked where that was seen of late, for then it is likely again.
    async fn may_skip_look(&self) -> bool {
        let small = self.spec.size.0 <= LOOK_ABOVE && self.spec.target_recorded == TargetRecorded::Nothing;
        small
            && !self.must_look
            && !self.watch.progress.expects_something()
            && !self.target.capabilities().looks_cheaply
            && self.target.proven().await.refuses_to_overwrite
    }

    fn may_create_root(&self) -> bool {
        self.spec.allow_create_root && self.target.capabilities().makes_root
    }

    async fn read_source(&self, place: &Place) -> Result<Answer, Failure> {
        let store = self.stores.at(place)?;
        let _memory = self.memory_for_reading(&*store).await?;
        let at = (place.path.as_str(), Role::Source);
        let seen = read(&*store, at, self.spec.digests(), Progress::add_read, &self.watch).await;
        seen.map(Answer::Contents)
    }

    /// Memory for reading the object piece by piece. Nothing of it is held already.
    pub(crate) async fn memory_for_reading(&self, store: &dyn Store) -> Result<Option<Share>, Failure> {
        let bytes = memory_of_reading(store, self.spec.size.0);
        let memory = self.fan_out.budget().take(bytes);
        self.watch.or_stop(memory).await
    }

    pub(crate) fn tag(&self) -> String {
        let transfer = TransferId::of(&self.spec, 0);
        let epoch = self.epoch;
        UploadTag { transfer, epoch }.to_string()
    }

    pub(crate) fn aim<'a>(&'a self, how: Publication, tag: &'a str) -> Aim<'a> {
        Aim {
            path: &self.spec.target.path,
            size: self.spec.size.0,
            how,
            replaces: None,
            tag,
            may_create_root: self.spec.allow_create_root,
        }
    }

    async fn stage(&mut self, source: &Place, how: Publication) -> Result<Answer, Failure> {
        let staged = self.stage_from(source, how).await;
        let useless = match &staged {
            Ok(seen) => !self.spec.matches(seen),
            Err(failure) => failure.blames_source(),
        };
        if useless && self.skipped_look {
            // What is there already may make the source needless: go back and look.
            self.must_look = true;
            let found = self.target.stat(&self.spec.target.path, Role::Target).await;
            if matches!(found, Ok(Some(_))) {
                return Err(self.lost("something is there already"));
            }
        }
        staged.map(Answer::Staged)
    }

    pub(crate) async fn stage_from(&mut self, source: &Place, how: Publication) -> Result<Seen, Failure> {
        let from = self.stores.at(source)?;
        let able = self.target.capabilities();
        let whole = self.spec.size.0 <= able.whole_max || able.parts == Parts::Never;
        let is_limited = self.link(source).is_some();
        match (from.as_folder(), self.target.as_folder()) {
            // What the system copies by itself goes by no limit.
            (Some(from), Some(to)) if !is_limited => {
                self.copy_file(from.clone(), source, to.clone(), how).await
            }
            _ if whole => self.stage_whole(&from, source).await,
            _ => match self.stage_by_store(&from, source, how).await? {
                Some(seen) => Ok(seen),
                None => self.stage_parts(&from, source, how).await,
            },
        }
    }

    /// The limits of the way from a source to the target.
    pub(crate) fn link(&self, source: &Place) -> Option<Arc<Paces>> {
        self.stores.link(&source.backend, &self.spec.target.backend)
    }

    /// From one folder to another: one thread does the whole object.
    async fn copy_file(
        &mut self,
        from: FsStore,
        source: &Place,
        to: FsStore,
        how: Publication,
    ) -> Result<Seen, Failure> {
        let size = self.spec.size.0;
        let memory = self.fan_out.budget().take(memory_for(size));
        let _memory = self.watch.or_stop(memory).await?;
        let from = (from, source.path.clone(), size);
        let path = self.spec.target.path.clone();
        let to = to.copy_from(
            from,
            (path, how, self.spec.allow_create_root),
            self.spec.digests(),
            self.watch.clone(),
        );
        match to.await? {
            Ok((seen, upload)) => {
                self.staged = Some(Staged {
                    how: StagedHow::Parts(upload, Vec::new()),
                    proof: Proof::of(seen.clone()),
                    uncounted: if size <= fs::SMALL { size } else { 0 },
                });
                Ok(seen)
            }
            Err(size) => Ok(Seen::of_size(size)),
        }
    }

    /// A small object: into memory, and out of it when it is published.
    async fn stage_whole(&mut self, from: &Arc<dyn Store>, source: &Place) -> Result<Seen, Failure> {
        let want = Want {
            from,
            source: &source.backend,
            path: &source.path,
            range: None,
            version: None,
            bytes: self.spec.size.0,
            target: &self.spec.target.backend,
            link: self.link(source),
            gate: None,
        };
        let (mut content, memory) = self.fan_out.open(want, &self.watch).await?;
        if content.size() != self.spec.size.0 {
            return self.other_size((&**from, source), content.size()).await;
        }
        let told = content.attested();
        let md5 = self.md5_of_coming(&**from, &told);
        let mut digester = Digester::new(self.spec.digests());
        let chunks = self.collect(&mut *content, &mut digester).await?;
        let (seen, checksum) = digester.finish_with_checksum();
        let told = Told {
            attested: &told,
            version: content.version(),
            md5,
        };
        self.confirm_small((&**from, source), (checksum, &chunks), told)
            .await?;
        self.staged = Some(Staged {
            how: StagedHow::Whole(Whole { chunks, checksum }, memory),
            proof: Proof {
                checksum: Some(checksum),
                ..Proof::of(seen.clone())
            },
            uncounted: seen.size,
        });
        Ok(seen)
    }

    async fn collect(
        &self,
        content: &mut dyn Content,
        digester: &mut Digester,
    ) -> Result<Vec<Bytes>, Failure> {
        let mut chunks = Vec::new();
        while let Some(chunk) = self.watch.or_stop(content.next()).await?? {
            digester.update(&chunk);
            self.watch.progress.add_read(chunk.len() as u64);
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    async fn stage_parts(
        &mut self,
        from: &Arc<dyn Store>,
        source: &Place,
        how: Publication,
    ) -> Result<Seen, Failure> {
        let tag = self.tag();
        let confirmation = self.confirmation((&**from, source)).await?;
        let at_once = match self.target.capabilities().parts {
            Parts::AnyOrder(parts) => confirmation.parts_at_once(parts),
            Parts::InOrder | Parts::Never => 1,
        };
        let (upload, there) = self.take_up(self.aim(how, &tag)).await?;
        let copy = PartCopy {
            from,
            source: &source.backend,
            path: &source.path,
            target: &self.spec.target.backend,
            link: self.link(source),
            size: self.spec.size.0,
            digests: self.spec.digests(),
            upload: &*upload,
            at_once,
            confirmation: &confirmation,
            fan_out: &self.fan_out,
            watch: &self.watch,
        };
        match copy.run(there).await {
            Ok(Outcome::Copied(copied)) => {
                if let Err(failure) = self.agree((&**from, source), &confirmation, &copied).await {
                    upload.abort().await;
                    return Err(failure);
                }
                self.staged = Some(Staged {
                    how: StagedHow::Parts(upload, copied.receipts.iter().map(stored).collect()),
                    proof: Proof {
                        seen: copied.seen.clone(),
                        checksum: Some(copied.checksum),
                        parts: copied.receipts,
                        told: None,
                    },
                    uncounted: 0,
                });
                Ok(copied.seen)
            }
            Ok(Outcome::OtherSize(size)) => {
                upload.abort().await;
                self.other_size((&**from, source), size).await
            }
            Ok(Outcome::NoUpload) => Err(self.lost("the store has lost the upload")),
            Err(failure) => {
                // What is there stays where the next try can go on with it, in this process or another.
                let goes_on = failure.is_transient() || failure.class == FailureClass::Cancelled;
                if upload.token().is_none() || !goes_on {
                    upload.abort().await;
                }
                Err(failure)
            }
        }
    }

    /// An upload of this object that somebody has begun and nobody has ended, with the parts that are there, or a new
    /// one.
    async fn take_up(&self, aim: Aim<'_>) -> Result<(Box<dyn Upload>, Vec<StoredPart>), Failure> {
        let unfinished = self.target.unfinished(aim.path);
        let unfinished = self.watch.or_stop(unfinished).await??;
        for found in unfinished.iter().filter(|found| found.path == aim.path) {
            let Some(upload) = self.target.resume(aim, &found.token) else {
                continue;
            };
            if let Some(parts) = self.watch.or_stop(upload.parts()).await?? {
                return Ok((upload, parts));
            }
        }
        let upload = self.watch.or_stop(self.target.begin(aim)).await??;
        Ok((upload, Vec::new()))
    }

    /// Keeps what lies at the store, unseen, until it is published.
    pub(crate) fn staged_in_parts(
        &mut self,
        upload: Box<dyn Upload>,
        parts: Vec<StoredPart>,
        proof: Proof,
    ) -> Seen {
        let seen = proof.seen.clone();
        let how = StagedHow::Parts(upload, parts);
        self.staged = Some(Staged {
            how,
            proof,
            uncounted: 0,
        });
        seen
    }

    async fn publish(&mut self, how: Publication) -> Result<Answer, Failure> {
        match self.publish_staged(how, None).await? {
            Published::Done { .. } => Ok(Answer::Published),
            Published::Occupied => Ok(Answer::Occupied),
            Published::NoUpload => Err(self.lost("the store has lost the upload")),
        }
    }

    /// Makes what is staged visible; with `replaces`, only in the place of that very object.
    pub(crate) async fn publish_staged(
        &mut self,
        how: Publication,
        replaces: Option<&Version>,
    ) -> Result<Published, Failure> {
        let tag = self.tag();
        let Some(Staged {
            how: staged,
            mut proof,
            uncounted,
        }) = self.staged.take()
        else {
            return Err(self.lost("nothing is staged"));
        };
        let aim = Aim {
            replaces,
            ..self.aim(how, &tag)
        };
        let published = match staged {
            StagedHow::Whole(whole, _memory) => self.target.put_whole(aim, &whole).await?,
            StagedHow::Parts(upload, parts) => upload.complete(&parts, proof.checksum).await?,
        };
        match published {
            Published::Done { told, .. } => {
                proof.told = told;
                self.watch.progress.add_written(uncounted);
                self.checksums.learn(&proof);
                self.proof = Some(proof);
            }
            Published::Occupied => {
                self.must_look = true;
                self.watch.progress.expect_something(true);
            }
            Published::NoUpload => {}
        }
        Ok(published)
    }

    pub(crate) fn lost(&self, what: &str) -> Failure {
        let Place { backend, path } = &self.spec.target;
        Failure::of_object(FailureClass::Transient, backend, path, what.to_owned())
    }

    /// Gives up what is staged, if anything is.
    pub(crate) async fn discard(&mut self) {
        if let Some(Staged {
            how: StagedHow::Parts(upload, _),
            ..
        }) = self.staged.take()
        {
            upload.abort().await;
        }
    }

    async fn remove_published(&mut self) -> Result<Answer, Failure> {
        self.proof = None;
        self.target.delete(&self.spec.target.path, None, false).await?;
        Ok(Answer::Removed)
    }

    async fn wait(&self, ms: u64, reason: &str) -> Result<Answer, Failure> {
        tracing::info!(target_backend = %self.spec.target.backend, "{reason}");
        self.watch.progress.add_wait();
        let sleep = tokio::time::sleep(std::time::Duration::from_millis(ms));
        self.watch.or_stop(sleep).await.map(|()| Answer::Waited)
    }
}
