//! What a transfer under a lease does when something fails, is lost or is over: nothing of ours may be left that nobody
//! knows of.

use super::state::{State, Then};
use super::{Ending, LeasedTransfer, RESTARTS_MAX};
use crate::ledger::{Phase, Record};
use crate::retry::{Decision, decide};
use crate::{Answer, Failure, FailureClass, Place, Transfer};

impl LeasedTransfer {
    pub(super) fn upload_is_gone(&mut self) -> State {
        if self.claim.ledger.phase == Phase::Sealed {
            let failure = self.at_target("the upload is gone; it is looked whether the object is there");
            return State::Clear(Then::Answer(Answer::Failed(failure)));
        }
        State::Clear(Then::StartOver)
    }

    pub(super) fn cleared(&mut self, then: Then) -> State {
        match then {
            Then::Answer(answer) => self.answer(answer),
            Then::LookAgain => State::LookAtSource,
            Then::LookAtTarget => self.begin_inner(),
            Then::StartOver => self.start_over(),
            Then::Register(receipt) => {
                State::Finish(Record::Registered(receipt.clone()), Ending::Registered(receipt))
            }
            Then::Fail(failure) => State::Finish(Record::Failed(failure.clone()), Ending::Failed(failure)),
            Then::Cancel => State::Finish(Record::Cancelled, Ending::Cancelled),
        }
    }

    /// Begins anew, and without what was taken for known because it had been sealed.
    pub(super) fn start_over(&mut self) -> State {
        self.restarts += 1;
        if self.restarts > RESTARTS_MAX {
            let place = self.source();
            let message = format!(
                "it changes while it is read, what comes differs each time, or its upload is lost, {} times",
                self.restarts
            );
            let failure = Failure::of_place(FailureClass::Transient, &place, message);
            return State::Finish(Record::Released(failure.clone()), Ending::Failed(failure));
        }
        if self.inner.spec().has_digest() != self.planned.has_digest() {
            return self.begin_inner();
        }
        State::LookAtSource
    }

    /// The transfer's own steps from the first, and nothing taken for known but what is catalogued.
    pub(super) fn begin_inner(&mut self) -> State {
        self.inner = Transfer::new(self.planned.clone(), self.policy);
        State::Inner
    }

    pub(super) fn may_have_upload(&self) -> bool {
        let recorded = matches!(
            self.claim.ledger.phase,
            Phase::Intended | Phase::Opened | Phase::Sealed
        );
        recorded || self.unrecorded.is_some()
    }

    /// Nothing of ours may be left when a transfer ends for good.
    pub(super) fn clean_up(&mut self, then: Then) -> State {
        if !self.may_have_upload() {
            return self.cleared(then);
        }
        match self.claim.ledger.phase {
            Phase::Intended if self.unrecorded.is_none() => State::Reclaim(then),
            _ => State::Abort(then),
        }
    }

    pub(super) fn give_up_upload(&mut self, then: Then) -> State {
        match self.claim.ledger.phase {
            Phase::Planned => self.cleared(then),
            Phase::Published => State::Clear(then),
            _ => self.clean_up(then),
        }
    }

    /// An upload that the catalogue knows belongs to whoever has the lease now; one that it does not know, to us.
    pub(super) fn take_back(&mut self, ending: Ending) -> State {
        match self.unrecorded {
            Some(_) => State::TakeBack(ending),
            None => State::Ended(ending),
        }
    }

    pub(super) fn after_failure(&mut self, state: State, failure: Failure) -> State {
        match &state {
            State::Inner
            | State::LookAtSource
            | State::Compare(_)
            | State::List
            | State::Copy(_)
            | State::Begin(_)
            | State::Show(_)
            | State::Act(_) => return self.answer(Answer::Failed(failure)),
            _ => {}
        }
        match decide(self.attempt, &failure, &self.policy) {
            Decision::RetryAfter { ms, reason } => {
                self.attempt += 1;
                State::Pause {
                    ms,
                    reason,
                    then: Box::new(state),
                }
            }
            Decision::GiveUp { .. } => self.chore_is_given_up(state, failure),
        }
    }

    /// What could not be given up stays recorded, and is swept.
    pub(super) fn chore_is_given_up(&mut self, state: State, failure: Failure) -> State {
        match state {
            State::Abort(then @ Then::Fail(_)) | State::Reclaim(then @ Then::Fail(_)) => self.cleared(then),
            State::Abort(_) | State::Reclaim(_) => {
                State::Finish(Record::Released(failure.clone()), Ending::Failed(failure))
            }
            _ => self.take_back(Ending::Unrecorded(failure)),
        }
    }

    pub(super) fn at_target(&self, message: &str) -> Failure {
        let Place { backend, path } = &self.planned.target;
        Failure::of_object(FailureClass::Transient, backend, path, message.to_owned())
    }
}
