//! The transfer of one object as a state machine: `step` says what to do next, `answer` is told what came of it.

use domicile_estate::ByteCount;

use crate::retry::{Decision, RetryPolicy, decide};
use crate::{Digests, Failure, FailureClass, Place, Receipt, Seen, TargetRecorded, TransferSpec};

/// How often bytes that the target gave back wrong are written anew.
const CORRUPT_WRITES_MAX: u32 = 2;
/// How often a source that gave wrong bytes is read again before anybody is blamed: they may have turned on the way.
const READ_AGAIN_MAX: u32 = 2;

/// How an object comes to be visible under its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// Only if nothing is there.
    New,
    /// In the place of an object of ours.
    Replace,
}

/// What to do next. Every step may be done twice, or be cut off by a crash, without harm (MV-3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Look whether an object is at the target, and its size. Answers: `Absent`, `Found`.
    StatTarget,
    /// Read the object at the target from end to end. Answers: `Contents`, `Absent`.
    ReadTarget(Digests),
    /// Read a source from end to end. Answer: `Contents`.
    ReadSource(Place),
    /// Copy a source to where nobody sees it under its name, durably. Answer: `Staged`.
    Stage {
        /// Where to read.
        source: Place,
        /// How it will be published, for stores that must know when they begin.
        publication: Publication,
    },
    /// Read what was staged back from the store, before it takes the place of what is there; where a store shows
    /// nothing that is not published, it is put under a second name, from this source once more, unless it lies there
    /// whole already, and read there. Answers: `Contents`, `Assured`.
    ReadStaged(Place),
    /// Make what was staged visible under its name, durably. Answers: `Published`, `Occupied`.
    Publish(Publication),
    /// Remove what was staged; nobody has seen it. Answer: `Removed`.
    Discard,
    /// Remove the object that this transfer has just published, for its bytes are wrong. Answer: `Removed`.
    RemovePublished,
    /// Wait. Answer: `Waited`.
    Wait {
        /// Milliseconds.
        ms: u64,
        /// Why, for people.
        reason: String,
    },
    /// Nothing more: this came of it.
    Done(Result<Receipt, Failure>),
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing is there.
    Absent,
    /// An object of this size is there.
    Found {
        /// Its bytes.
        size: u64,
    },
    /// It was read from end to end.
    Contents(Seen),
    /// It was copied; this is what passed through.
    Staged(Seen),
    /// The store itself publishes nothing but the bytes that were meant: it has shown that it refuses others.
    Assured,
    /// It is visible under its name.
    Published,
    /// Something has come to lie at the target since we looked.
    Occupied,
    /// It is removed, or was not there.
    Removed,
    /// The wait is over.
    Waited,
    /// The step failed; what it had staged is gone.
    Failed(Failure),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    StatTarget,
    ReadTarget,
    CompareWithSource {
        target: Seen,
    },
    Stage(Publication),
    /// What is there goes only for what has been shown to lie at the store.
    Show(Seen),
    Publish(Publication, Seen),
    Discard {
        then: Box<State>,
    },
    ReadBack {
        publication: Publication,
        staged: Seen,
    },
    RemovePublished,
    Wait {
        ms: u64,
        reason: String,
        then: Box<State>,
    },
    Done(Result<Receipt, Failure>),
}

/// The transfer of one object to one target.
#[derive(Debug, Clone)]
pub struct Transfer {
    spec: TransferSpec,
    policy: RetryPolicy,
    state: State,
    /// Attempts with the present source, the present one included.
    attempt: u32,
    source: usize,
    source_failures: Vec<Failure>,
    /// What the present source gave last when that was wrong, and how often it was.
    suspect: Option<Seen>,
    wrong_readings: u32,
    corrupt_writes: u32,
    /// Whether this very transfer has published an object that is still there: then it is ours.
    published: bool,
}

impl Transfer {
    /// A transfer that has not begun, or of which nobody knows how far it came: that makes no difference.
    #[must_use]
    pub fn new(spec: TransferSpec, policy: RetryPolicy) -> Self {
        Self {
            spec,
            policy,
            state: State::StatTarget,
            attempt: 1,
            source: 0,
            source_failures: Vec::new(),
            suspect: None,
            wrong_readings: 0,
            corrupt_writes: 0,
            published: false,
        }
    }

    /// What is transferred.
    #[must_use]
    pub fn spec(&self) -> &TransferSpec {
        &self.spec
    }

    /// Whether what lies at the target was written by this very transfer, perhaps before a crash.
    pub(crate) fn target_is_ours(&mut self, ours: bool) {
        self.published = ours;
    }

    /// What lies at the target matches, and is written anew all the same.
    pub(crate) fn replace_anyway(&mut self) {
        self.state = State::Stage(Publication::Replace);
    }

    /// What to do next. Asking changes nothing.
    #[must_use]
    pub fn step(&self) -> Step {
        match &self.state {
            State::StatTarget => Step::StatTarget,
            State::ReadTarget => Step::ReadTarget(self.spec.digests()),
            State::CompareWithSource { .. } => Step::ReadSource(self.present_source().clone()),
            State::Stage(publication) => Step::Stage {
                source: self.present_source().clone(),
                publication: *publication,
            },
            State::Show(_) => Step::ReadStaged(self.present_source().clone()),
            State::Publish(publication, _) => Step::Publish(*publication),
            State::Discard { .. } => Step::Discard,
            // Parts that were copied in any order, perhaps by others, have no SHA-256 together: reading back gives it.
            State::ReadBack { staged, .. } if staged.sha256.is_none() => {
                Step::ReadTarget(self.spec.digests())
            }
            State::ReadBack { .. } => Step::ReadTarget(Digests::Blake3),
            State::RemovePublished => Step::RemovePublished,
            State::Wait { ms, reason, .. } => Step::Wait {
                ms: *ms,
                reason: reason.clone(),
            },
            State::Done(result) => Step::Done(result.clone()),
        }
    }

    /// Takes what came of the step.
    ///
    /// # Panics
    /// If the answer is none of those that the step allows: that is a bug of the caller.
    pub fn answer(&mut self, answer: Answer) {
        let state = std::mem::replace(&mut self.state, State::StatTarget);
        self.state = match (state, answer) {
            (State::Done(result), _) => State::Done(result),
            (state, Answer::Failed(failure)) => self.after_failure(state, failure),
            (State::StatTarget | State::ReadTarget, Answer::Absent) => State::Stage(Publication::New),
            (State::StatTarget, Answer::Found { size }) if size == self.spec.size.0 => State::ReadTarget,
            (State::StatTarget, Answer::Found { size }) => {
                self.target_differs(&format!("with {size} bytes instead of {}", self.spec.size.0))
            }
            (State::ReadTarget, Answer::Contents(target)) => self.compare_target(target),
            (State::CompareWithSource { target }, Answer::Contents(source)) => {
                self.compare_with_source(target, &source)
            }
            (State::Stage(publication), Answer::Staged(seen)) => self.after_stage(publication, seen),
            (State::Show(staged), Answer::Contents(shown)) if !staged.same_bytes(&shown) => {
                let then = Box::new(self.written_in_vain("it held other bytes than were written"));
                State::Discard { then }
            }
            (State::Show(staged), Answer::Contents(_) | Answer::Assured) => {
                State::Publish(Publication::Replace, staged)
            }
            (State::Publish(publication, staged), Answer::Published) => {
                self.published = true;
                State::ReadBack { publication, staged }
            }
            (State::Publish(..), Answer::Occupied) => self.after_occupied(),
            (State::Discard { then }, Answer::Removed) | (State::Wait { then, .. }, Answer::Waited) => *then,
            (State::ReadBack { publication, staged }, Answer::Contents(seen)) => {
                self.after_read_back(publication, staged, &seen)
            }
            (State::ReadBack { .. }, Answer::Absent) => {
                self.published = false;
                self.written_in_vain("it was gone right after it was written")
            }
            (State::RemovePublished, Answer::Removed) => {
                self.published = false;
                self.written_in_vain("it gave back other bytes than were written")
            }
            (state, answer) => panic!("{answer:?} is no answer in {state:?}"),
        };
    }

    fn present_source(&self) -> &Place {
        self.spec.source(self.source).unwrap_or(&self.spec.source)
    }

    fn is_ours(&self) -> bool {
        self.published || self.spec.target_recorded == TargetRecorded::Ours
    }

    fn target_failure(&self, class: FailureClass, message: String) -> Failure {
        Failure::of_place(class, &self.spec.target, message)
    }

    fn target_differs(&self, how: &str) -> State {
        if self.is_ours() {
            return State::Stage(Publication::Replace);
        }
        let message = format!(
            "another object lies there {how}, and the catalogue does not record it as ours; it is left as it is: \
             move it away, or place the dataset elsewhere"
        );
        State::Done(Err(self.target_failure(FailureClass::TargetConflict, message)))
    }

    fn compare_target(&self, target: Seen) -> State {
        if !self.spec.matches(&target) {
            return self.target_differs("with other bytes");
        }
        if self.spec.has_digest() {
            return self.verified(target, None);
        }
        State::CompareWithSource { target }
    }

    fn compare_with_source(&mut self, target: Seen, source: &Seen) -> State {
        if !self.spec.matches(source) {
            let again = State::CompareWithSource { target };
            return self.read_again_or_blame(source, again);
        }
        if target.same_bytes(source) {
            let from = self.present_source().clone();
            return self.verified(target, Some(&from));
        }
        self.target_differs("with other bytes")
    }

    fn after_stage(&mut self, publication: Publication, seen: Seen) -> State {
        if self.spec.matches(&seen) {
            return match publication {
                Publication::New => State::Publish(publication, seen),
                Publication::Replace => State::Show(seen),
            };
        }
        let then = self.read_again_or_blame(&seen, State::Stage(publication));
        State::Discard { then: Box::new(then) }
    }

    /// Two readings that agree are what the source holds. One that nobody confirms says nothing: a bit may have turned on
    /// the way, or an answer may have come short.
    fn read_again_or_blame(&mut self, seen: &Seen, again: State) -> State {
        self.wrong_readings += 1;
        let agree = self.suspect.as_ref() == Some(seen);
        if !agree && self.wrong_readings <= READ_AGAIN_MAX {
            self.suspect = Some(seen.clone());
            return again;
        }
        let failure = if agree {
            self.damaged_source(seen)
        } else {
            let Place { backend, path } = self.present_source();
            let message = format!(
                "it gave other wrong bytes each time in {} readings: check the store and the network to it",
                self.wrong_readings
            );
            Failure::of_object(FailureClass::Transient, backend, path, message)
        };
        self.next_source(failure)
    }

    /// Where nothing was known but the size, another size says that the owner changed the object, not that a
    /// disk did.
    fn damaged_source(&self, seen: &Seen) -> Failure {
        let place = self.present_source();
        let (size, expected) = (seen.size, self.spec.size.0);
        let (class, message) = if !self.spec.has_digest() {
            (
                FailureClass::SourceChanged,
                format!("has {size} bytes instead of the {expected} that were listed"),
            )
        } else if size != expected {
            (
                FailureClass::SourceDamaged,
                format!("has {size} bytes instead of the {expected} catalogued"),
            )
        } else {
            (
                FailureClass::SourceDamaged,
                "its bytes do not match the catalogued digest".to_owned(),
            )
        };
        Failure::of_object(
            class,
            &place.backend,
            &place.path,
            format!("{message}; nothing was copied from it"),
        )
    }

    /// Goes on with the next source, or ends with the failure that says most: one that may go away, else the first.
    fn next_source(&mut self, failure: Failure) -> State {
        self.source_failures.push(failure);
        self.source += 1;
        self.attempt = 1;
        (self.suspect, self.wrong_readings) = (None, 0);
        if self.spec.source(self.source).is_some() {
            return State::StatTarget;
        }
        let mut failures = std::mem::take(&mut self.source_failures);
        // Where one source may answer later, the whole transfer is worth another try.
        let told = failures.iter().position(Failure::is_transient).unwrap_or(0);
        let mut first = failures.remove(told);
        for other in failures {
            first.message = format!("{}; {other}", first.message);
        }
        State::Done(Err(first))
    }

    fn after_occupied(&mut self) -> State {
        self.attempt += 1;
        let then = if self.attempt > self.policy.attempts.max(1) {
            let message = "another object comes and goes there while we write".to_owned();
            State::Done(Err(self.target_failure(FailureClass::TargetConflict, message)))
        } else {
            State::StatTarget
        };
        State::Discard { then: Box::new(then) }
    }

    fn after_read_back(&mut self, publication: Publication, staged: Seen, seen: &Seen) -> State {
        if !staged.same_bytes(seen) && publication == Publication::Replace {
            // The bytes were shown to lie at the store, and it may be this reading that is wrong. What was replaced is
            // gone, so nothing is removed: it is read once more, and then replaced again.
            return self.written_in_vain("it gave back other bytes than were written");
        }
        if !staged.same_bytes(seen) {
            return State::RemovePublished;
        }
        let staged = Seen {
            sha256: staged.sha256.or_else(|| seen.sha256.clone()),
            ..staged
        };
        let written = staged.size;
        let from = self.present_source().clone();
        match self.verified(staged, Some(&from)) {
            State::Done(Ok(receipt)) => State::Done(Ok(Receipt {
                adopted: false,
                bytes_written: written,
                ..receipt
            })),
            other => other,
        }
    }

    fn written_in_vain(&mut self, what: &str) -> State {
        self.corrupt_writes += 1;
        if self.corrupt_writes <= CORRUPT_WRITES_MAX {
            return State::StatTarget;
        }
        let message = format!(
            "{what}, {} times; check the store and its network",
            self.corrupt_writes
        );
        State::Done(Err(self.target_failure(FailureClass::TargetCorrupts, message)))
    }

    fn verified(&self, seen: Seen, source: Option<&Place>) -> State {
        State::Done(Ok(Receipt {
            size: ByteCount(seen.size),
            sha256: seen.sha256.or_else(|| self.spec.sha256.clone()),
            blake3: seen.blake3,
            adopted: true,
            bytes_written: 0,
            source: source.map(|place| place.backend.clone()),
            source_failures: self.source_failures.clone(),
        }))
    }

    fn after_failure(&mut self, state: State, failure: Failure) -> State {
        match (&state, failure.class) {
            (_, FailureClass::Cancelled) => return State::Done(Err(failure)),
            // An object of ours that cannot be read any more is damaged, and damaged ones are replaced.
            (State::ReadTarget, FailureClass::TargetCorrupts) if self.is_ours() => {
                return State::Stage(Publication::Replace);
            }
            (State::ReadBack { publication, .. }, FailureClass::TargetCorrupts) => {
                return match publication {
                    Publication::New => State::RemovePublished,
                    Publication::Replace => self.written_in_vain(&failure.message),
                };
            }
            // What could not be discarded now is swept later; it must not hide why it was to be discarded.
            (State::Discard { then }, _) => return (**then).clone(),
            _ => {}
        }
        match decide(self.attempt, &failure, &self.policy) {
            Decision::RetryAfter { ms, reason } => {
                self.attempt += 1;
                let then = match state {
                    State::ReadBack { .. } | State::RemovePublished => state,
                    _ => State::StatTarget,
                };
                State::Wait {
                    ms,
                    reason,
                    then: Box::new(then),
                }
            }
            Decision::GiveUp { reason } => {
                if self.source_is_to_blame(&state, &failure) {
                    return self.next_source(failure);
                }
                let message = if failure.is_transient() {
                    format!("{} (gave up after {} attempts)", failure.message, self.attempt)
                } else {
                    failure.message
                };
                debug_assert!(!reason.is_empty(), "a decision has a reason");
                State::Done(Err(Failure { message, ..failure }))
            }
        }
    }

    fn source_is_to_blame(&self, state: &State, failure: &Failure) -> bool {
        let reads_source = matches!(state, State::Stage(_) | State::CompareWithSource { .. });
        let at_source =
            failure.backend == self.present_source().backend && failure.backend != self.spec.target.backend;
        reads_source && (failure.blames_source() || at_source)
    }
}
