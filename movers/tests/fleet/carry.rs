//! One task of one worker, carried out in the model, with what may go wrong at it.

use domicile_movers::invariants::{
    TargetEvent, mv1_act_is_guarded, mv4_removes_its_own, mv5_written_places_are_allowed,
};
use domicile_movers::{
    Answer, Epoch, Failure, FailureClass, PartPlan, PartReceipt, Publication, Record, Reply, SourceVersion,
    Step, StoredPart, TargetObject, Task, UploadToken,
};

use super::store::{Condition, PART, Put, TURNED, Visible, chaining, seen};
use super::{Fleet, Late, Mistake, Shows, Worker, version};

/// What goes wrong at one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    CrashBefore,
    CrashAfter,
    FailBefore,
    /// It was done, and the reply was lost.
    FailAfter,
    /// It arrives at the store a second time, later.
    Doubled,
    /// Bytes turn on their way.
    Turn,
    /// Somebody else writes to the target first.
    Intruder,
    /// The source changes first.
    SourceChanges,
    /// A person calls it off.
    Cancel,
}

impl Fleet {
    fn fault(&mut self) -> Fault {
        if self.undisturbed {
            return Fault::None;
        }
        match self.chance.below(40) {
            0 => Fault::CrashBefore,
            1 => Fault::CrashAfter,
            2 => Fault::FailBefore,
            3 | 4 => Fault::FailAfter,
            5 | 6 => Fault::Doubled,
            7 | 8 if self.case.lies => Fault::Turn,
            // Nobody can be kept from being overwritten where the store takes no conditions.
            9 if self.case.lies && self.case.traits.conditional => Fault::Intruder,
            10 if self.case.source_changes => Fault::SourceChanges,
            11 if self.case.lies && self.chance.one_in(20) => Fault::Cancel,
            _ => Fault::None,
        }
    }

    /// One task of a worker; `false` if that was its last, or it crashed.
    pub(super) fn step(&mut self, worker: &mut Worker) -> bool {
        if Self::has_ended(worker).is_some() {
            return false;
        }
        let fault = self.fault();
        let (serial, task) = worker.machine.task();
        assert_eq!(
            (serial, task.clone()),
            worker.machine.task(),
            "asking changes nothing"
        );
        self.only_sweep_helps |= self.leaves_what_nobody_knows(worker, &task, fault);
        match fault {
            Fault::CrashBefore => return false,
            Fault::FailBefore => {
                let reply = Self::no_reply(&task, worker);
                self.tell(worker, serial, reply);
                return true;
            }
            Fault::SourceChanges => self.version += 1,
            Fault::Intruder if self.store.visible.is_none() => {
                self.store.put_foreign(version(70, self.case.parts));
                self.intruded = true;
                self.events.push((Epoch(0), TargetEvent::Changed));
            }
            Fault::Cancel => {
                worker.machine.cancel();
                return true;
            }
            _ => {}
        }
        self.turned |= fault == Fault::Turn;
        let reply = self.carry_out(worker, &task, fault);
        match fault {
            Fault::CrashAfter => return false,
            Fault::FailAfter => {
                let reply = Self::no_reply(&task, worker);
                self.tell(worker, serial, reply);
            }
            _ => self.tell(worker, serial, reply),
        }
        // Where the store takes no conditions, a worker that is halted right between the check of its lease and its act
        // is beyond help; so there is no such moment in the model.
        let acts = matches!(
            worker.machine.task().1,
            Task::Publish { .. } | Task::Complete { .. } | Task::RemovePublished { .. }
        );
        if acts && !self.case.traits.conditional {
            return self.step(worker);
        }
        true
    }

    /// Whether an upload may be left that nobody who comes later can know of: that of a worker without a lease who dies before
    /// he has taken it back, one that is begun by a request that arrives again, and one that could not be given up. Whoever
    /// has the lease may die at any moment, and the next one cleans up.
    fn leaves_what_nobody_knows(&self, worker: &Worker, task: &Task, fault: Fault) -> bool {
        let stale = worker.epoch.0 != self.catalogue.epoch;
        match (fault, task) {
            (Fault::Doubled, Task::Begin(_)) | (Fault::FailBefore, Task::Abort(_) | Task::Reclaim) => true,
            (Fault::CrashAfter | Fault::FailAfter, Task::Begin(_)) => stale,
            (Fault::CrashBefore | Fault::CrashAfter, _) => stale && worker.untold,
            _ => false,
        }
    }

    /// Tells a reply, and perhaps once more an older one, which must change nothing.
    fn tell(&mut self, worker: &mut Worker, serial: u64, reply: Reply) {
        if let Some((old, echo)) = worker.echo.take() {
            let before = worker.machine.task();
            worker.machine.reply(old, echo);
            assert_eq!(before, worker.machine.task(), "a late reply changes nothing");
        }
        worker.machine.reply(serial, reply.clone());
        if self.chance.one_in(4) {
            worker.echo = Some((serial, reply));
        }
    }

    fn no_reply(task: &Task, worker: &mut Worker) -> Reply {
        if let Task::Carry(Step::Wait { .. }) = task {
            return Reply::Answer(Answer::Waited);
        }
        if matches!(task, Task::Carry(_) | Task::Publish { .. }) {
            // As the contract says, what was staged in one piece is gone after a failure.
            worker.staged = None;
        }
        let at = match task {
            Task::Carry(Step::ReadSource(place) | Step::Stage { source: place, .. })
            | Task::LookAtSource(place)
            | Task::Confirm { source: place, .. } => place.backend.clone(),
            _ => super::backend("target"),
        };
        Reply::Failed(Failure::of_object(
            FailureClass::Transient,
            &at,
            "d/k",
            "no reply".to_owned(),
        ))
    }

    fn carry_out(&mut self, worker: &mut Worker, task: &Task, fault: Fault) -> Reply {
        if let Task::Record(record) = task {
            return self.record(worker, record);
        }
        let accepted = worker.accepted.take();
        let reply = match task {
            Task::Carry(step) => self.carry_step(worker, step, fault),
            Task::Reclaim => self.reclaim(worker),
            Task::LookAtSource(_) => {
                worker.looked = Some(self.source_version());
                Reply::Source(match (&self.catalogue.ledger.opening, self.case.mistake) {
                    (Some(opening), Mistake::OtherVersionAtFirstLook) => opening.version.clone(),
                    _ => self.source_version(),
                })
            }
            Task::Confirm { seen, .. } if self.case.safe_way => Reply::Answer(Answer::Contents(seen.clone())),
            Task::Confirm { .. } => {
                let mut content = version(self.version, self.case.parts);
                if fault == Fault::Turn {
                    content[0] |= TURNED << 1;
                }
                Reply::Answer(Answer::Contents(seen(&content)))
            }
            Task::Begin(_) => {
                if fault == Fault::Doubled {
                    self.late.push(Late::Begin(worker.machine.tag()));
                }
                worker.untold = true;
                Reply::Begun(UploadToken(self.store.begin(worker.machine.tag())))
            }
            Task::ListParts(token) => {
                self.check_goes_on_with_what_it_saw(worker);
                self.list(token)
            }
            Task::CopyParts {
                token,
                opening,
                parts,
            } if self.case.mistake == Mistake::MixedVersions || opening.version == self.source_version() => {
                self.copy_parts(worker, token, parts, fault)
            }
            Task::CopyParts { .. } => Reply::SourceChanged,
            Task::ReadStaged { token, .. } => match self.uploaded(token) {
                Some(content) => self.show(worker, content, fault),
                None => Reply::NoUpload,
            },
            Task::Abort(token) => {
                worker.untold = false;
                if self.case.mistake != Mistake::NoAbort {
                    self.store.uploads.remove(&token.0);
                }
                Reply::Done
            }
            Task::Complete { .. } | Task::Publish { .. } | Task::RemovePublished { .. } => {
                assert!(
                    mv1_act_is_guarded(accepted.as_ref()),
                    "MV-1: {task:?} right after {accepted:?}"
                );
                self.act(worker, task, fault)
            }
            Task::Record(_) | Task::End(_) => unreachable!("these are dealt with"),
        };
        self.write_what_was_kept_back(worker);
        reply
    }

    fn record(&mut self, worker: &mut Worker, record: &Record) -> Reply {
        let late = match self.case.mistake {
            Mistake::PublishBeforeSeal => matches!(record, Record::Sealed(_)),
            Mistake::RecordAfterAct => matches!(record, Record::Intended(_)),
            _ => false,
        };
        if late {
            worker.kept_back = Some(record.clone());
            return Reply::Recorded;
        }
        if matches!(record, Record::Registered(_)) {
            self.remove_spare(worker);
        }
        self.registered_over.clone_from(&self.catalogue.ledger.token);
        if !self.catalogue.record(worker.epoch, record) {
            worker.accepted = None;
            return Reply::Fenced;
        }
        worker.untold &= !matches!(record, Record::Opened(_));
        self.check_receipt(worker.epoch, record);
        self.check_nothing_open(record);
        worker.accepted = Some(record.clone());
        Reply::Recorded
    }

    /// The lease is asked for between listing and giving up.
    fn reclaim(&mut self, worker: &Worker) -> Reply {
        let guarded = self.case.mistake != Mistake::UnguardedReclaim;
        if guarded && worker.epoch.0 != self.catalogue.epoch {
            return Reply::Fenced;
        }
        if self.case.mistake == Mistake::NoReclaim {
            return Reply::Done;
        }
        for upload in self.store.uploads.values() {
            let later = upload.tag.epoch > worker.epoch;
            assert!(!later, "an upload of a later lease is given up: {upload:?}");
        }
        self.store.reclaim(&self.id);
        Reply::Done
    }

    /// Who has just looked at the source goes on only with an upload of that version.
    fn check_goes_on_with_what_it_saw(&self, worker: &Worker) {
        let opening = worker.machine.ledger().opening.as_ref();
        if let (Some(opening), Some(looked)) = (opening, &worker.looked) {
            assert!(
                opening.version == *looked,
                "parts of {:?} are gone on with, and the source is {looked:?}",
                opening.version
            );
        }
    }

    /// What is registered must stay as it is: nobody may be able to complete an upload of ours any more.
    fn check_nothing_open(&self, record: &Record) {
        if let (Record::Registered(_), Some(token)) = (record, &self.registered_over) {
            assert!(
                !self.store.uploads.contains_key(&token.0),
                "it is registered, and an upload of it is open"
            );
        }
    }

    fn write_what_was_kept_back(&mut self, worker: &mut Worker) {
        if let Some(record) = worker.kept_back.take() {
            self.catalogue.record(worker.epoch, &record);
        }
    }

    fn source_version(&self) -> SourceVersion {
        SourceVersion {
            size: self.spec.size.0,
            etag: Some(format!("v{}", self.version)),
            modified_ms: None,
        }
    }

    /// What the source gives; turned only where the catalogue could tell, or somebody has to confirm it.
    fn read_source(&self, fault: Fault, confirmed: bool) -> Vec<u64> {
        let mut content = version(self.version, self.case.parts);
        if fault == Fault::Turn && (self.spec.has_digest() || confirmed && !self.case.safe_way) {
            content[0] |= TURNED;
        }
        content
    }

    fn carry_step(&mut self, worker: &mut Worker, step: &Step, fault: Fault) -> Reply {
        let answer = match step {
            Step::StatTarget => match &self.store.visible {
                None => Answer::Absent,
                Some(visible) => {
                    return Reply::Found(TargetObject {
                        size: PART * visible.content.len() as u64,
                        etag: self.store.traits.conditional.then(|| visible.etag.clone()),
                        written_by: visible.written_by.clone().filter(|_| self.store.traits.marks),
                    });
                }
            },
            Step::ReadTarget(_) => match self.store.visible.clone() {
                None => Answer::Absent,
                Some(Visible { mut content, .. }) => {
                    if fault == Fault::Turn {
                        content[0] |= TURNED;
                    }
                    self.events
                        .push((worker.epoch, TargetEvent::ReadBack(seen(&content))));
                    Answer::Contents(seen(&content))
                }
            },
            Step::ReadSource(_) => Answer::Contents(seen(&self.read_source(fault, false))),
            Step::Stage { .. } => {
                let content = self.read_source(fault, false);
                let staged = seen(&content);
                worker.staged = Some(content);
                Answer::Staged(staged)
            }
            Step::ReadStaged(_) => {
                let content = worker.staged.clone().expect("something is staged");
                return self.show(worker, content, fault);
            }
            Step::Discard => {
                worker.staged = None;
                Answer::Removed
            }
            Step::Wait { .. } => Answer::Waited,
            other => panic!("{other:?} is no task under a lease"),
        };
        Reply::Answer(answer)
    }

    /// What lies in an upload.
    fn uploaded(&self, token: &UploadToken) -> Option<Vec<u64>> {
        let upload = self.store.uploads.get(&token.0)?;
        Some(upload.parts.values().map(|(label, _)| *label).collect())
    }

    fn list(&self, token: &UploadToken) -> Reply {
        let Some(upload) = self.store.uploads.get(&token.0) else {
            return Reply::NoUpload;
        };
        let part = |(number, (_, etag)): (&u32, &(u64, String))| StoredPart {
            number: *number,
            size: PART,
            etag: etag.clone(),
            crc64nvme: None,
        };
        Reply::Parts(upload.parts.iter().map(part).collect())
    }

    /// Copies some of the parts, for a worker tells what has arrived before all have.
    fn copy_parts(
        &mut self,
        worker: &Worker,
        token: &UploadToken,
        parts: &[PartPlan],
        fault: Fault,
    ) -> Reply {
        // Either they turn on the way here, or on the way there.
        let turns_here = self.spec.has_digest() || !self.case.safe_way && self.chance.one_in(2);
        let (here, there) = if turns_here {
            (fault, Fault::None)
        } else {
            (Fault::None, fault)
        };
        let content = self.read_source(here, true);
        let mut receipts = Vec::new();
        for plan in parts {
            if !receipts.is_empty() && self.chance.one_in(3) {
                break;
            }
            let label = content[plan.number as usize - 1];
            let listed = self
                .store
                .uploads
                .get(&token.0)
                .and_then(|upload| upload.parts.get(&plan.number));
            let kept = plan
                .present
                .as_ref()
                .and_then(|part| listed.filter(|(stored, etag)| *stored == label && *etag == part.etag));
            let etag = match kept {
                Some((_, etag)) => etag.clone(),
                None => {
                    // One that was listed under another name than is recorded has to be sent.
                    if plan.present.is_none() {
                        self.check_not_sent_twice(worker, token, plan.number);
                    }
                    // A store that shows nothing refuses what turned, where it is to replace something.
                    let turn = there == Fault::Turn && (self.case.shows != Shows::Refuses || !self.case.ours);
                    let Some(etag) = self.store.put_part(&token.0, plan.number, label, turn) else {
                        return Reply::NoUpload;
                    };
                    if fault == Fault::Doubled {
                        self.late.push(Late::Part(token.0.clone(), plan.number, label));
                    }
                    etag
                }
            };
            receipts.push(PartReceipt {
                number: plan.number,
                size: PART,
                etag,
                chaining: chaining(label),
                crc64nvme: None,
            });
        }
        Reply::Copied(receipts)
    }

    /// A part whose receipt is recorded and that the store still has is not sent again by who has the lease.
    fn check_not_sent_twice(&self, worker: &Worker, token: &UploadToken, number: u32) {
        let ledger = &self.catalogue.ledger;
        let upload = self.store.uploads.get(&token.0);
        let stored = upload.and_then(|upload| upload.parts.get(&number));
        let recorded = ledger
            .parts
            .get(&number)
            .filter(|_| ledger.token.as_ref() == Some(token));
        if let (Some((_, etag)), Some(receipt)) = (stored, recorded) {
            assert!(
                worker.epoch.0 != self.catalogue.epoch || *etag != receipt.etag,
                "part {number} is sent again"
            );
        }
    }

    fn check_place(&self) {
        let written = [self.spec.target.backend.clone()];
        assert!(mv5_written_places_are_allowed(
            written.iter(),
            &written.iter().cloned().collect()
        ));
    }

    fn act(&mut self, worker: &mut Worker, task: &Task, fault: Fault) -> Reply {
        self.check_place();
        // A rename turns no bits, and a store that compares refuses those that turned.
        let may_turn = self.case.shows == Shows::Spare || !replaces_something(task);
        let turn = fault == Fault::Turn && may_turn;
        let tag = worker.machine.tag();
        let shown = worker.shown.take();
        let condition = |publication: Publication, replaces: &Option<String>| match publication {
            Publication::New => Condition::Nothing,
            Publication::Replace => Condition::This(replaces.clone()),
        };
        let doubled = fault == Fault::Doubled && self.case.traits.conditional;
        let put = match task {
            Task::RemovePublished { etag } => {
                if doubled {
                    self.late.push(Late::Remove(etag.clone()));
                }
                self.remove(etag.as_deref());
                return Reply::Done;
            }
            Task::Complete {
                token,
                parts,
                publication,
                replaces,
            } => {
                let etags: Vec<_> = parts
                    .iter()
                    .map(|part| (part.number, part.etag.clone()))
                    .collect();
                if let Some(content) = self.uploaded(token) {
                    self.check_was_shown(shown, *publication, &content);
                }
                let condition = condition(*publication, replaces);
                if doubled {
                    self.late
                        .push(Late::Complete(token.0.clone(), etags.clone(), condition.clone()));
                }
                self.store.complete(&token.0, &etags, condition, turn)
            }
            Task::Publish {
                publication,
                replaces,
            } => {
                let Some(content) = worker.staged.take() else {
                    panic!("published without having staged")
                };
                self.check_was_shown(shown, *publication, &content);
                let condition = condition(*publication, replaces);
                if doubled {
                    self.late
                        .push(Late::Put(content.clone(), tag.clone(), condition.clone()));
                }
                self.store.put(content, tag, condition, turn)
            }
            other => unreachable!("{other:?} changes nothing that is visible"),
        };
        match put {
            Put::Done(etag) => {
                self.events.push((Epoch(0), TargetEvent::Changed));
                if self.case.mistake == Mistake::SpareGoesEarly {
                    self.store.spare = None;
                }
                Reply::Published {
                    etag: self.case.traits.conditional.then_some(etag),
                }
            }
            Put::Occupied => Reply::Occupied,
            Put::NoUpload => Reply::NoUpload,
        }
    }

    fn remove(&mut self, etag: Option<&str>) {
        if let Some(removed) = self.store.remove(etag) {
            self.events.push((Epoch(0), TargetEvent::Changed));
            let registered = self
                .catalogue
                .end
                .as_ref()
                .is_some_and(|(_, end)| matches!(end, super::Final::Registered(_)));
            assert!(
                mv4_removes_its_own(removed.written_by.as_ref(), &self.id, registered),
                "MV-4: {removed:?} was removed"
            );
        }
    }

    /// One of the requests that were doubled arrives again.
    pub(super) fn deliver_late(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let at = self.chance.below(self.late.len());
        let put = match self.late.swap_remove(at) {
            Late::Begin(tag) => {
                self.store.begin(tag);
                return;
            }
            Late::Part(token, number, label) => {
                self.store.put_part(&token, number, label, false);
                return;
            }
            Late::Remove(etag) => return self.remove(etag.as_deref()),
            Late::Complete(token, etags, condition) => self.store.complete(&token, &etags, condition, false),
            Late::Put(content, tag, condition) => self.store.put(content, tag, condition, false),
        };
        if matches!(put, Put::Done(_)) {
            self.events.push((Epoch(0), TargetEvent::Changed));
        }
    }
}

fn replaces_something(task: &Task) -> bool {
    let (Task::Complete { publication, .. } | Task::Publish { publication, .. }) = task else {
        return false;
    };
    *publication == Publication::Replace
}
