//! A transfer under a lease, carried out on real stores: what goes in parts can be gone on with by any process.

use std::collections::BTreeSet;
use std::sync::Arc;

use domicile_movers::{
    Answer, Claim, Ending, Failure, FailureClass, LeasedTransfer, Opening, PartPlan, PartReceipt, Place,
    Publication, Record, Reply, Seen, SourceVersion, Step, TargetObject, Task, TransferId, UploadTag,
    UploadToken, tree,
};
use futures::future::BoxFuture;
use tokio::task::JoinSet;

use crate::attest::{CameTwice, Confirmation};
use crate::carry::Carrier;
use crate::parts::{PartCopy, Shared, checksum_of, stored};
use crate::progress::Cancel;
use crate::proof::Proof;
use crate::role::Role;
use crate::store::{Aim, Parts, Published, Store, Upload, Version};

/// Where the records of transfers go, and who says that a lease is lost.
pub trait Records: Send + Sync {
    /// Writes a record of the transfer to this path, if the lease is still ours; `false` if it is not.
    fn record<'a>(
        &'a self,
        transfer: (&'a TransferId, &'a str),
        record: &'a Record,
    ) -> BoxFuture<'a, Result<bool, Failure>>;
    /// Is pulled once the lease is known to be lost.
    fn lost(&self) -> &Cancel;
}

/// Parts under way. They go on while those that have arrived are recorded.
struct Flight {
    token: UploadToken,
    upload: Arc<dyn Upload>,
    from: Arc<dyn Store>,
    source: Place,
    shared: Arc<Shared>,
    confirmation: Arc<Confirmation>,
    begun: BTreeSet<u32>,
    tasks: JoinSet<Result<Option<PartReceipt>, Failure>>,
}

/// One transfer under a lease.
pub(crate) struct LeasedCarrier<'a> {
    pub carrier: Carrier,
    pub id: TransferId,
    pub tag: UploadTag,
    pub records: &'a dyn Records,
    flight: Option<Flight>,
    came_twice: CameTwice,
}

/// Whether an upload of so many bytes to a store can be gone on with by another process.
pub(crate) fn goes_on(target: &dyn Store, size: u64) -> bool {
    size >= target.resumes_from()
        && target
            .resume(Aim::nowhere(""), &UploadToken(String::new()))
            .is_some()
}

impl<'a> LeasedCarrier<'a> {
    pub(crate) fn new(carrier: Carrier, claim: &Claim, records: &'a dyn Records) -> Self {
        let tag = UploadTag {
            transfer: claim.id.clone(),
            epoch: claim.epoch,
        };
        Self {
            carrier,
            id: claim.id.clone(),
            tag,
            records,
            flight: None,
            came_twice: CameTwice::default(),
        }
    }

    /// Carries out the machine's tasks until it ends. The receipt is the caller's to register, with others.
    pub(crate) async fn run(mut self, mut machine: LeasedTransfer) -> Ending {
        let lost = self.records.lost().clone();
        let mut fenced = false;
        loop {
            let (serial, task) = machine.task();
            if let Task::End(ending) = task {
                self.flight = None;
                self.carrier.discard().await;
                // Where the lease is lost, the second name serves somebody else by now.
                let verified = matches!(ending, Ending::Registered(_));
                if verified {
                    self.remove_spare().await;
                }
                return ending;
            }
            tokio::select! {
                biased;
                () = lost.cancelled(), if !fenced => {
                    fenced = true;
                    machine.fence();
                }
                reply = self.carry_out(task) => machine.reply(serial, reply),
            }
        }
    }

    async fn remove_spare(&self) {
        match self.may_touch_spare().await {
            Ok(true) => self.carrier.remove_spare().await,
            Ok(false) => {}
            // It goes with its object.
            Err(failure) => tracing::info!("the second name of a replaced object may stay: {failure}"),
        }
    }

    async fn carry_out(&mut self, task: Task) -> Reply {
        let reply = match task {
            Task::Record(Record::Registered(_)) => Ok(Reply::Recorded),
            Task::Record(record) => self.record(&record).await,
            Task::Carry(Step::StatTarget) => self.stat_target().await,
            Task::Carry(Step::ReadStaged(source)) => self.read_staged(None, &source).await,
            Task::Carry(step) => match self.carrier.carry_out(step).await {
                Answer::Failed(failure) => Err(failure),
                answer => Ok(Reply::Answer(answer)),
            },
            Task::Reclaim => self.reclaim().await,
            Task::LookAtSource(place) => self.look_at_source(&place).await,
            Task::Confirm { source, seen, parts } => {
                let flight = self.flight.as_ref().filter(|flight| flight.source == source);
                let running = flight.and_then(|flight| flight.confirmation.in_parts());
                let confirmed = self
                    .carrier
                    .confirmed(&source, (&seen, &parts), (&self.came_twice, running))
                    .await;
                confirmed.map(|seen| Reply::Answer(Answer::Contents(seen)))
            }
            Task::ReadStaged { token, source } => self.read_staged(Some(&token), &source).await,
            Task::Begin(_) => self.begin().await,
            Task::ListParts(token) => self.list_parts(&token).await,
            Task::CopyParts {
                token,
                opening,
                parts,
            } => self.copy_parts(&token, &opening, &parts).await,
            Task::Complete {
                token,
                parts,
                publication,
                replaces,
            } => self.complete(&token, &parts, (publication, replaces)).await,
            Task::Publish {
                publication,
                replaces,
            } => self.publish((publication, replaces)).await,
            Task::Abort(token) => {
                self.give_up(&token).await;
                Ok(Reply::Done)
            }
            Task::RemovePublished { etag } => {
                self.carrier.proof = None;
                let path = &self.carrier.spec.target.path;
                let only = etag.map(Version);
                let removed = self.carrier.target.delete(path, only.as_ref(), false).await;
                removed.map(|()| Reply::Done)
            }
            Task::End(_) => unreachable!("the end is dealt with"),
        };
        reply.unwrap_or_else(Reply::Failed)
    }

    async fn record(&self, record: &Record) -> Result<Reply, Failure> {
        let at = (&self.id, self.carrier.spec.target.path.as_str());
        let held = self.records.record(at, record).await?;
        Ok(if held { Reply::Recorded } else { Reply::Fenced })
    }

    async fn stat_target(&mut self) -> Result<Reply, Failure> {
        let stat = self.carrier.look_at_target().await?;
        let Some(stat) = stat else {
            return Ok(Reply::Answer(Answer::Absent));
        };
        let written_by = stat.tag.as_deref().and_then(UploadTag::parse);
        Ok(Reply::Found(TargetObject {
            size: stat.size,
            etag: Some(stat.version.0),
            written_by: written_by.map(|tag| tag.transfer),
        }))
    }

    async fn look_at_source(&self, place: &Place) -> Result<Reply, Failure> {
        let store = self.carrier.stores.at(place)?;
        let stat = store.stat(&place.path, Role::Source);
        match self.carrier.watch.or_stop(stat).await?? {
            Some(stat) => Ok(Reply::Source(SourceVersion {
                size: stat.size,
                etag: Some(stat.version.0),
                modified_ms: None,
            })),
            None => Err(Failure::of_object(
                FailureClass::SourceGone,
                &place.backend,
                &place.path,
                "it is no longer there".to_owned(),
            )),
        }
    }

    fn aim<'b>(&'b self, tag: &'b str, how: Publication, replaces: Option<&'b Version>) -> Aim<'b> {
        let spec = &self.carrier.spec;
        Aim {
            path: &spec.target.path,
            size: spec.size.0,
            how,
            replaces,
            tag,
            may_create_root: spec.allow_create_root,
        }
    }

    async fn begin(&self) -> Result<Reply, Failure> {
        let tag = self.tag.to_string();
        let upload = self
            .carrier
            .target
            .begin(self.aim(&tag, Publication::New, None))
            .await?;
        match upload.token() {
            Some(token) => Ok(Reply::Begun(token.clone())),
            None => Err(self.broken("the store began an upload that nobody can go on with")),
        }
    }

    fn resume(&self, token: &UploadToken) -> Result<Box<dyn Upload>, Failure> {
        let tag = self.tag.to_string();
        let upload = self
            .carrier
            .target
            .resume(self.aim(&tag, Publication::New, None), token);
        upload.ok_or_else(|| self.broken("the store cannot go on with an upload any more"))
    }

    fn broken(&self, message: &str) -> Failure {
        let Place { backend, path } = &self.carrier.spec.target;
        Failure::of_object(FailureClass::Transient, backend, path, message.to_owned())
    }

    /// Every upload to our path is one of this transfer, whoever began it. The lease is asked for after they are listed: then
    /// all of them were begun before anybody else could have it, and they may be given up however long we are halted.
    async fn reclaim(&self) -> Result<Reply, Failure> {
        let path = &self.carrier.spec.target.path;
        let mut found = self.carrier.target.unfinished(path).await?;
        found.retain(|upload| upload.path == *path);
        if found.is_empty() {
            return Ok(Reply::Done);
        }
        if self.record(&Record::Renewed).await? == Reply::Fenced {
            return Ok(Reply::Fenced);
        }
        for upload in found {
            self.give_up_at(&upload.token).await;
        }
        Ok(Reply::Done)
    }

    async fn give_up(&mut self, token: &UploadToken) {
        self.flight = None;
        self.give_up_at(token).await;
    }

    async fn give_up_at(&self, token: &UploadToken) {
        let nowhere = Aim::nowhere(&self.carrier.spec.target.path);
        if let Some(upload) = self.carrier.target.resume(nowhere, token) {
            upload.abort().await;
        }
    }

    /// Reads back what is staged, in an upload or in one piece, before it replaces what is there.
    async fn read_staged(&mut self, token: Option<&UploadToken>, source: &Place) -> Result<Reply, Failure> {
        if !self.may_touch_spare().await? {
            return Ok(Reply::Fenced);
        }
        let Some(token) = token else {
            return Ok(Reply::Answer(self.carrier.read_staged(source).await?));
        };
        let answer = match self.resume(token)?.seen().await? {
            Some(seen) => Answer::Contents(seen),
            None if self.carrier.target.capabilities().shows_staged => return Ok(Reply::NoUpload),
            None => self.carrier.assured_or_spared(source).await?,
        };
        Ok(Reply::Answer(answer))
    }

    /// What lies under the second name is of whoever has the lease: who was halted beyond his must neither put anything
    /// there nor take it away.
    async fn may_touch_spare(&self) -> Result<bool, Failure> {
        if !self.carrier.may_have_spare().await {
            return Ok(true);
        }
        Ok(self.record(&Record::Renewed).await? == Reply::Recorded)
    }

    async fn list_parts(&self, token: &UploadToken) -> Result<Reply, Failure> {
        let upload = self.resume(token)?;
        let parts = self.carrier.watch.or_stop(upload.parts()).await??;
        Ok(parts.map_or(Reply::NoUpload, Reply::Parts))
    }

    async fn copy_parts(
        &mut self,
        token: &UploadToken,
        opening: &Opening,
        parts: &[PartPlan],
    ) -> Result<Reply, Failure> {
        let mut flight = match self.flight.take().filter(|flight| flight.token == *token) {
            Some(flight) => flight,
            None => self.take_off(token, opening, parts).await?,
        };
        self.fill(&mut flight, parts);
        // Whatever ends this early drops the flight, and with it the parts that are under way.
        let mut landed = self.carrier.watch.or_stop(flight.tasks.join_next()).await?;
        let mut receipts = Vec::new();
        while let Some(part) = landed {
            match part.map_err(|_| self.broken("a part was given up"))?? {
                Some(receipt) => {
                    if matches!(*flight.confirmation, Confirmation::Twice) {
                        self.came_twice.add(&receipt);
                    }
                    receipts.push(receipt);
                }
                None => return Ok(Reply::NoUpload),
            }
            // Those that have landed in the same moment are told together; none waits for another.
            landed = flight.tasks.try_join_next();
        }
        self.fill(&mut flight, parts);
        self.flight = Some(flight);
        Ok(Reply::Copied(receipts))
    }

    async fn take_off(
        &mut self,
        token: &UploadToken,
        opening: &Opening,
        parts: &[PartPlan],
    ) -> Result<Flight, Failure> {
        let there = parts.iter().filter_map(|plan| plan.present.clone());
        let version = Version(opening.version.etag.clone().unwrap_or_default());
        let from = self.carrier.stores.at(&opening.source)?;
        self.came_twice.from(&opening.source);
        let confirmation = self.carrier.confirmation((&*from, &opening.source)).await?;
        let confirmation = confirmation.of_so_many(parts.len(), self.carrier.spec.size.0);
        Ok(Flight {
            token: token.clone(),
            upload: Arc::from(self.resume(token)?),
            from,
            source: opening.source.clone(),
            shared: Arc::new(Shared::in_any_order(version, there)),
            confirmation: Arc::new(confirmation),
            begun: BTreeSet::new(),
            tasks: JoinSet::new(),
        })
    }

    /// Lets as many parts be under way as the target takes at once.
    fn fill(&self, flight: &mut Flight, parts: &[PartPlan]) {
        let target = &self.carrier.target;
        // Between folders a second part at once costs the processor's cache and gains nothing.
        let between_folders = flight.from.as_folder().is_some() && target.as_folder().is_some();
        let at_once = match target.capabilities().parts {
            Parts::AnyOrder(parts) if !between_folders => flight.confirmation.parts_at_once(parts),
            _ => 1,
        };
        for plan in parts {
            if flight.tasks.len() >= at_once {
                return;
            }
            if !flight.begun.insert(plan.number) {
                continue;
            }
            let number = plan.number;
            let (upload, from, shared) = (flight.upload.clone(), flight.from.clone(), flight.shared.clone());
            let (source, confirmation) = (flight.source.clone(), flight.confirmation.clone());
            let target = self.carrier.spec.target.backend.clone();
            let link = self.carrier.stores.link(&source.backend, &target);
            let (size, fan_out, watch) = (
                self.carrier.spec.size.0,
                self.carrier.fan_out.clone(),
                self.carrier.watch.clone(),
            );
            flight.tasks.spawn(async move {
                let copy = PartCopy {
                    from: &from,
                    source: &source.backend,
                    path: &source.path,
                    target: &target,
                    link,
                    size,
                    digests: domicile_movers::Digests::Blake3,
                    upload: &*upload,
                    at_once,
                    confirmation: &confirmation,
                    fan_out: &fan_out,
                    watch: &watch,
                };
                copy.copy_part(number, None, &shared).await
            });
        }
    }

    async fn complete(
        &mut self,
        token: &UploadToken,
        parts: &[PartReceipt],
        (how, replaces): (Publication, Option<String>),
    ) -> Result<Reply, Failure> {
        let (tag, replaces) = (self.tag.to_string(), replaces.map(Version));
        let aim = self.aim(&tag, how, replaces.as_ref());
        let Some(upload) = self.carrier.target.resume(aim, token) else {
            return Err(self.broken("the store cannot go on with an upload any more"));
        };
        let checksum = checksum_of(parts);
        let told: Vec<_> = parts.iter().map(stored).collect();
        let published = upload.complete(&told, checksum).await?;
        let size = self.carrier.spec.size.0;
        let chaining: Vec<_> = parts.iter().map(|part| part.chaining).collect();
        if let (Published::Done { .. }, Some(blake3)) =
            (&published, tree::root(tree::part_size(size), size, &chaining))
        {
            let seen = Seen {
                blake3,
                ..Seen::of_size(size)
            };
            let proof = Proof {
                checksum,
                parts: parts.to_vec(),
                ..Proof::of(seen)
            };
            self.carrier.checksums.learn(&proof);
            self.carrier.proof = Some(proof);
        }
        Ok(reply_of(published))
    }

    async fn publish(&mut self, (how, replaces): (Publication, Option<String>)) -> Result<Reply, Failure> {
        let replaces = replaces.map(Version);
        let published = self.carrier.publish_staged(how, replaces.as_ref()).await?;
        Ok(reply_of(published))
    }
}

fn reply_of(published: Published) -> Reply {
    match published {
        Published::Done { version, .. } => Reply::Published {
            etag: version.map(|version| version.0),
        },
        Published::Occupied => Reply::Occupied,
        Published::NoUpload => Reply::NoUpload,
    }
}
