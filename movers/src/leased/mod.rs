//! A transfer under a lease: the decisions of [`Transfer`], and around each act that could leave something behind the
//! records that let anybody else go on.
//!
//! ```text
//!  claim ─▶ look at the target ─▶ look at the source ─▶ Intended ─▶ begin ─▶ Opened ─▶ copy parts ─▶ Parts ─┐
//!    ▲                                 ▲                                         ▲                          │
//!    │ another worker, epoch + 1       └── clear ◀── abort ◀── source changed    └──────────────────────────┤
//!    │                                                                                                      ▼
//!  Fenced ◀── any record         Registered ◀── read back ◀── Published ◀── complete ◀── Sealed ◀── all parts
//! ```
//!
//! INVARIANT: the task before anything becomes visible or is removed is a record that the catalogue has accepted, so
//! that a worker that has lost its lease publishes nothing. A worker that is halted just there is kept from harm by the
//! store: its upload was given up, or what it would replace or remove has another etag by then.

mod giving_up;
mod state;
mod task;

use crate::ledger::{Ledger, Opening, PartPlan, Phase, Record, SourceVersion, UploadToken};
use crate::retry::RetryPolicy;
use crate::{
    Answer, Epoch, FailureClass, Place, Publication, Seen, Step, Transfer, TransferId, TransferSpec,
    UploadTag,
};

use state::{Guarded, State, Then};

pub use task::{Ending, Reply, TargetObject, Task};

/// How often an upload is begun anew because its source has changed or the upload is gone.
const RESTARTS_MAX: u32 = 4;

/// The right to carry out a transfer, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The transfer.
    pub id: TransferId,
    /// Our epoch.
    pub epoch: Epoch,
    /// What was recorded in earlier ones.
    pub ledger: Ledger,
    /// Bytes of a part, where the target can go on with an upload that another process began. Objects that are not
    /// larger go in one piece.
    pub part_size: Option<u64>,
}

/// A transfer under a lease: `task` says what to do next, `reply` is told what came of it.
#[derive(Debug, Clone)]
pub struct LeasedTransfer {
    planned: TransferSpec,
    policy: RetryPolicy,
    claim: Claim,
    inner: Transfer,
    state: State,
    serial: u64,
    /// An upload that we have begun and the catalogue does not know.
    unrecorded: Option<UploadToken>,
    /// What the object at the target was called when we last looked or wrote.
    etag: Option<String>,
    /// What the object that we published was called.
    published: Option<String>,
    /// What a worker that has lost its lease may yet remove or replace, and whether that is what lies there.
    withdrawn_by_others: Option<String>,
    must_replace: bool,
    restarts: u32,
    /// Attempts at the present chore.
    attempt: u32,
}

impl LeasedTransfer {
    /// A transfer that somebody has just taken up, whatever became of it before.
    #[must_use]
    pub fn new(spec: TransferSpec, policy: RetryPolicy, claim: Claim) -> Self {
        // What has arrived is of one source. It is gone on with from there, though another may be better by now.
        let spec = match &claim.ledger.opening {
            Some(opening) if matches!(claim.ledger.phase, Phase::Opened | Phase::Sealed) => {
                spec.reading_first(&opening.source)
            }
            _ => spec,
        };
        let mut pinned = spec.clone();
        if let (false, Some(sealed)) = (spec.has_digest(), &claim.ledger.sealed) {
            // What was sealed is what may be visible: it need not be read from the source again to be known.
            pinned.blake3 = Some(sealed.blake3.clone());
        }
        let mut inner = Transfer::new(pinned, policy);
        inner.target_is_ours(claim.ledger.phase == Phase::Published);
        let published = claim.ledger.etag.clone();
        let withdrawn_by_others = claim.ledger.withdrawn.clone();
        Self {
            planned: spec,
            inner,
            policy,
            claim,
            state: State::Inner,
            serial: 0,
            unrecorded: None,
            etag: published.clone(),
            published,
            withdrawn_by_others,
            must_replace: false,
            restarts: 0,
            attempt: 1,
        }
    }

    /// What marks our uploads and temporary files.
    #[must_use]
    pub fn tag(&self) -> UploadTag {
        UploadTag {
            transfer: self.claim.id.clone(),
            epoch: self.claim.epoch,
        }
    }

    /// What is recorded, as far as we know.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.claim.ledger
    }

    /// What to do next, and its number, by which its reply is known. Asking changes nothing.
    #[must_use]
    pub fn task(&self) -> (u64, Task) {
        if let Some(record) = self.state.record() {
            return (self.serial, Task::Record(record));
        }
        let task = match &self.state {
            State::Inner => Task::Carry(self.inner.step()),
            State::LookAtSource => Task::LookAtSource(self.source()),
            State::Compare(_) if self.planned.has_digest() => Task::Carry(Step::ReadSource(self.source())),
            State::Compare(seen) => Task::Confirm {
                source: self.source(),
                seen: seen.clone(),
                parts: self.claim.ledger.parts.values().cloned().collect(),
            },
            State::Reclaim(_) => Task::Reclaim,
            State::Begin(opening) => Task::Begin(opening.clone()),
            State::List => Task::ListParts(self.token()),
            State::Copy(parts) => self.copy_task(parts),
            State::Show(source) => Task::ReadStaged {
                token: self.token(),
                source: source.clone(),
            },
            State::Act(guarded) => self.guarded_task(*guarded),
            State::Abort(_) | State::TakeBack(_) => Task::Abort(self.token()),
            State::Pause { ms, reason, .. } => Task::Carry(Step::Wait {
                ms: *ms,
                reason: reason.clone(),
            }),
            State::Ended(ending) => Task::End(ending.clone()),
            _ => unreachable!("{:?} is a record", self.state),
        };
        (self.serial, task)
    }

    /// Takes what came of a task. A reply to any but the present one comes too late or for the second time, and
    /// changes nothing.
    ///
    /// # Panics
    /// If the reply is none of those that the task allows: that is a bug of the caller.
    pub fn reply(&mut self, serial: u64, reply: Reply) {
        if serial != self.serial || matches!(self.state, State::Ended(_)) {
            return;
        }
        self.serial += 1;
        let state = std::mem::replace(&mut self.state, State::Inner);
        self.state = match (state, reply) {
            (State::TakeBack(ending), _) => State::Ended(ending),
            (_, Reply::Fenced) => self.take_back(Ending::Fenced),
            (state, Reply::Failed(failure)) => self.after_failure(state, failure),
            (state, reply) => self.after(state, reply),
        };
    }

    /// The lease is lost, as the carrier has learnt apart from any task.
    pub fn fence(&mut self) {
        self.leave(Ending::Fenced);
    }

    /// A person calls it off: what was begun is given up. It makes no difference once it is over.
    pub fn cancel(&mut self) {
        if matches!(
            self.state,
            State::Ended(_) | State::TakeBack(_) | State::Finish(..)
        ) {
            return;
        }
        self.serial += 1;
        self.state = self.clean_up(Then::Cancel);
    }

    fn leave(&mut self, ending: Ending) {
        if !matches!(self.state, State::Ended(_)) {
            self.serial += 1;
            self.state = self.take_back(ending);
        }
    }

    fn in_parts(&self) -> bool {
        self.claim
            .part_size
            .is_some_and(|part| self.planned.size.0 > part)
    }

    fn source(&self) -> Place {
        match self.inner.step() {
            Step::Stage { source, .. } => source,
            _ => self.planned.source.clone(),
        }
    }

    fn token(&self) -> UploadToken {
        let token = self.unrecorded.as_ref().or(self.claim.ledger.token.as_ref());
        token.cloned().unwrap_or(UploadToken(String::new()))
    }

    fn copy_task(&self, parts: &[PartPlan]) -> Task {
        let Some(opening) = self.claim.ledger.opening.clone() else {
            unreachable!("parts are copied into an upload that was opened")
        };
        Task::CopyParts {
            token: self.token(),
            opening,
            parts: parts.to_vec(),
        }
    }

    fn guarded_task(&self, guarded: Guarded) -> Task {
        let publication = match self.inner.step() {
            Step::Publish(publication) => publication,
            _ => Publication::New,
        };
        let replaces = self.etag.clone().filter(|_| publication == Publication::Replace);
        match guarded {
            Guarded::Complete => Task::Complete {
                token: self.token(),
                parts: self.claim.ledger.parts.values().cloned().collect(),
                publication,
                replaces,
            },
            Guarded::Publish => Task::Publish {
                publication,
                replaces,
            },
            Guarded::Remove => Task::RemovePublished {
                etag: self.etag.clone(),
            },
        }
    }

    fn after(&mut self, state: State, reply: Reply) -> State {
        self.attempt = 1;
        match (state, reply) {
            (state, Reply::Recorded) => match state.record() {
                Some(record) => {
                    self.claim.ledger.apply(&record);
                    self.after_record(state)
                }
                None => panic!("nothing was to be recorded in {state:?}"),
            },
            (State::Inner, Reply::Answer(answer)) => self.answer(answer),
            (State::Inner, Reply::Found(object)) => self.found(object),
            (State::Show(_), Reply::Answer(answer)) => self.answer(answer),
            (State::Show(_), Reply::NoUpload) => {
                let failure = self.at_target("the upload is gone; it is looked whether the object is there");
                State::Clear(Then::Answer(Answer::Failed(failure)))
            }
            (State::Pause { then, .. }, Reply::Answer(Answer::Waited)) => *then,
            (State::Compare(parts), Reply::Answer(Answer::Contents(source))) => self.compared(&parts, source),
            (State::LookAtSource, Reply::Source(version)) => self.looked_at_source(version),
            (State::Reclaim(then), Reply::Done) => State::Clear(then),
            (State::Begin(_), Reply::Begun(token)) => {
                self.unrecorded = Some(token.clone());
                State::Open(token)
            }
            (State::List, Reply::Parts(stored)) => {
                let missing = self.claim.ledger.reconcile(self.planned.size, &stored);
                self.copy_or_seal(missing)
            }
            (State::List | State::Copy(_), Reply::NoUpload) => self.upload_is_gone(),
            (State::Copy(mut parts), Reply::Copied(receipts)) => {
                parts.retain(|plan| receipts.iter().all(|receipt| receipt.number != plan.number));
                State::Keep(receipts, parts)
            }
            (State::Copy(_), Reply::SourceChanged) => State::Abort(Then::StartOver),
            (State::Act(Guarded::Complete), Reply::Published { etag }) => State::Published(etag),
            (State::Act(Guarded::Publish), Reply::Published { etag }) => self.published(etag),
            (State::Act(_), Reply::Occupied) => self.answer(Answer::Occupied),
            (State::Act(Guarded::Complete), Reply::NoUpload) => {
                // Either it was published and the reply was lost, or somebody gave it up: the target knows.
                let failure = self.at_target("the upload is gone; it is looked whether the object is there");
                self.answer(Answer::Failed(failure))
            }
            (State::Act(Guarded::Remove), Reply::Done) => self.give_up_upload(Then::Answer(Answer::Removed)),
            (State::Abort(then), Reply::Done) => State::Clear(then),
            (state, reply) => panic!("{reply:?} is no reply in {state:?}"),
        }
    }

    fn after_record(&mut self, state: State) -> State {
        match state {
            State::Intend(opening) => State::Begin(opening),
            State::Open(_) => {
                self.unrecorded = None;
                let missing = self.claim.ledger.reconcile(self.planned.size, &[]);
                self.copy_or_seal(missing)
            }
            State::Keep(_, missing) => self.copy_or_seal(missing),
            State::Seal(_) => State::Act(Guarded::Complete),
            State::Renew(guarded) | State::Withdraw(guarded, _) => State::Act(guarded),
            State::Published(etag) => self.published(etag),
            State::Clear(then) => self.cleared(then),
            State::NoteWait { .. } => State::Inner,
            State::Finish(_, ending) => State::Ended(ending),
            other => unreachable!("{other:?} records nothing"),
        }
    }

    fn published(&mut self, etag: Option<String>) -> State {
        self.must_replace = false;
        self.etag.clone_from(&etag);
        self.published = etag;
        self.answer(Answer::Published)
    }

    /// Tells the transfer what came of its step, and turns its next one into what it takes under a lease.
    fn answer(&mut self, answer: Answer) -> State {
        self.inner.answer(answer);
        self.next()
    }

    fn next(&mut self) -> State {
        match self.inner.step() {
            Step::Stage { .. } if self.in_parts() => State::LookAtSource,
            Step::ReadStaged(source) if self.in_parts() => State::Show(source),
            Step::Publish(Publication::Replace) if !self.in_parts() => {
                State::Withdraw(Guarded::Publish, self.etag.clone())
            }
            Step::Publish(Publication::New) if !self.in_parts() => State::Renew(Guarded::Publish),
            Step::Publish(_) => match self.claim.ledger.whole(self.planned.size) {
                whole if whole.is_some() && whole == self.claim.ledger.sealed => {
                    State::Renew(Guarded::Complete)
                }
                Some(seen) => State::Seal(seen),
                None => unreachable!("only a whole is published"),
            },
            Step::Discard if self.in_parts() => self.give_up_upload(Then::Answer(Answer::Removed)),
            Step::RemovePublished => State::Withdraw(Guarded::Remove, self.etag.clone()),
            Step::Wait { ms, reason } => State::NoteWait { ms, reason },
            Step::Done(Ok(_)) if self.must_replace => {
                self.must_replace = false;
                self.inner.replace_anyway();
                self.next()
            }
            // An upload of ours that is still open could be completed by a sleeper after the reading that we rely on.
            Step::Done(Ok(_)) if self.may_have_upload() => self.clean_up(Then::LookAtTarget),
            Step::Done(Ok(receipt)) => self.cleared(Then::Register(receipt)),
            Step::Done(Err(failure))
                if failure.is_transient() || failure.class == FailureClass::Cancelled =>
            {
                State::Finish(Record::Released(failure.clone()), Ending::Failed(failure))
            }
            Step::Done(Err(failure)) => self.clean_up(Then::Fail(failure)),
            _ => State::Inner,
        }
    }

    fn found(&mut self, object: TargetObject) -> State {
        if object.etag.is_some() || object.written_by.is_some() {
            let marked = object.written_by.as_ref() == Some(&self.claim.id);
            let same = object.etag.is_some() && object.etag == self.published;
            self.inner.target_is_ours(marked || same);
        }
        self.must_replace = self.withdrawn_by_others.is_some() && self.withdrawn_by_others == object.etag;
        self.etag = object.etag;
        self.answer(Answer::Found { size: object.size })
    }

    fn looked_at_source(&mut self, version: SourceVersion) -> State {
        if version.size != self.planned.size.0 {
            return self.answer(Answer::Staged(Seen::of_size(version.size)));
        }
        let ledger = &self.claim.ledger;
        let (Step::Stage { source, .. }, Some(part_size)) = (self.inner.step(), self.claim.part_size) else {
            unreachable!("a source is looked at before it is staged in parts")
        };
        let opening = Opening {
            source,
            version,
            part_size: ledger.opening.as_ref().map_or(part_size, |known| known.part_size),
        };
        match ledger.phase {
            Phase::Intended => State::Reclaim(Then::LookAgain),
            Phase::Planned | Phase::Published => State::Intend(Opening { part_size, ..opening }),
            Phase::Opened | Phase::Sealed if ledger.opening.as_ref() == Some(&opening) => State::List,
            // Parts of two versions must never come together.
            Phase::Opened | Phase::Sealed => State::Abort(Then::StartOver),
        }
    }

    fn copy_or_seal(&mut self, missing: Vec<PartPlan>) -> State {
        if !missing.is_empty() {
            return State::Copy(missing);
        }
        let sealed = self.claim.ledger.sealed.as_ref();
        match self.claim.ledger.whole(self.planned.size) {
            Some(parts) if self.planned.sha256.is_some() && self.planned.blake3.is_none() => {
                State::Compare(parts)
            }
            // Nobody knows what the bytes should be, and some may have turned on the way.
            Some(parts) if !self.planned.has_digest() && sealed != Some(&parts) => State::Compare(parts),
            Some(seen) => self.answer(Answer::Staged(seen)),
            None => State::Abort(Then::StartOver),
        }
    }

    fn compared(&mut self, parts: &Seen, source: Seen) -> State {
        if self.planned.matches(&source) && !source.same_bytes(parts) {
            return State::Abort(Then::StartOver);
        }
        self.answer(Answer::Staged(source))
    }
}

#[cfg(test)]
mod tests {
    use domicile_estate::{BackendName, ByteCount, DatasetName, ObjectKey, Verify};

    use super::*;
    use crate::{Epoch, TargetRecorded, TransferId};

    fn place(backend: &str) -> Place {
        Place {
            backend: BackendName::new(backend).unwrap(),
            path: "d/k".to_owned(),
        }
    }

    /// What is looked at first by whoever goes on, where another copy has become the better source meanwhile.
    fn goes_on_at(source_of_the_first: &str) -> Place {
        let spec = TransferSpec {
            dataset: DatasetName::new("d").unwrap(),
            key: ObjectKey::new("k").unwrap(),
            size: ByteCount(24 << 20),
            sha256: None,
            blake3: Some("0".repeat(64)),
            source: place("near"),
            alternatives: vec![place("far"), place("origin")],
            target: place("target"),
            target_recorded: TargetRecorded::Nothing,
            allow_create_root: true,
            verify: Verify::Checksum,
        };
        let mut ledger = Ledger::default();
        ledger.apply(&Record::Intended(Opening {
            source: place(source_of_the_first),
            version: SourceVersion {
                size: 24 << 20,
                etag: None,
                modified_ms: None,
            },
            part_size: 8 << 20,
        }));
        ledger.apply(&Record::Opened(UploadToken("u".to_owned())));
        let claim = Claim {
            id: TransferId::of(&spec, 0),
            epoch: Epoch(2),
            ledger,
            part_size: Some(8 << 20),
        };
        let mut machine = LeasedTransfer::new(spec, RetryPolicy::default(), claim);
        loop {
            match machine.task() {
                (serial, Task::Carry(Step::StatTarget)) => {
                    machine.reply(serial, Reply::Answer(Answer::Absent));
                }
                (_, Task::LookAtSource(place)) => return place,
                (_, other) => panic!("{other:?} comes before the source is looked at"),
            }
        }
    }

    #[test]
    fn what_has_arrived_is_gone_on_with_from_the_source_that_it_came_from() {
        assert_eq!(goes_on_at("origin"), place("origin"));
        assert_eq!(goes_on_at("far"), place("far"));
        assert_eq!(goes_on_at("near"), place("near"));
        assert_eq!(goes_on_at("retired"), place("near"), "it is no source any more");
    }
}
