//! A model of the stores that one transfer touches: it carries out the machine's steps, and a schedule of numbers
//! says what goes wrong at each of them.

use domicile_estate::{BackendName, ByteCount, DatasetName, ObjectKey, Verify};
use domicile_movers::invariants::{
    EndState, TargetEvent, mv1_visible_is_complete, mv2_read_back_before_receipt,
    mv4_replaces_by_what_is_shown, mv4_some_version_is_whole,
};
use domicile_movers::retry::RetryPolicy;
use domicile_movers::{
    Answer, Failure, FailureClass, Place, Publication, Receipt, Seen, Step, TargetRecorded, Transfer,
    TransferSpec,
};

/// Steps of one run that no honest transfer needs: more is a loop.
const STEPS_MAX: u32 = 400;

/// Bytes told apart by a number; the object that is to be moved is number 0.
pub fn content(number: u64) -> Seen {
    // 8 and 9 have another size, all others the same.
    let size = if number >= 8 { 90 + number } else { 10 };
    Seen {
        size,
        sha256: Some(format!("s{number}")),
        blake3: format!("b{number}"),
    }
}

pub fn backend(name: &str) -> BackendName {
    BackendName::new(name).unwrap()
}

pub fn spec(sources: usize, target_recorded: TargetRecorded, knows_digest: bool) -> TransferSpec {
    let place = |name: &str| Place {
        backend: backend(name),
        path: "d/k".to_owned(),
    };
    TransferSpec {
        dataset: DatasetName::new("d").unwrap(),
        key: ObjectKey::new("k").unwrap(),
        size: ByteCount(10),
        sha256: knows_digest.then(|| "s0".to_owned()),
        blake3: None,
        source: place("source0"),
        alternatives: (1..sources).map(|n| place(&format!("source{n}"))).collect(),
        target: place("target"),
        target_recorded,
        allow_create_root: false,
        verify: Verify::default(),
    }
}

/// What goes wrong at one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    CrashBefore,
    CrashAfter,
    FailBefore,
    /// The step was done, and the reply was lost.
    FailAfter,
    /// What is read or written arrives as other bytes.
    Flip,
    /// Somebody else puts an object at the target first.
    Intruder,
}

impl Fault {
    /// Interruptions alone, which must change nothing about the end.
    pub fn interruption(number: u8) -> Self {
        match number % 8 {
            0 => Self::CrashBefore,
            1 => Self::CrashAfter,
            2 => Self::FailBefore,
            3 => Self::FailAfter,
            _ => Self::None,
        }
    }

    /// Interruptions and lies.
    pub fn any(number: u8) -> Self {
        match number % 16 {
            0 => Self::CrashBefore,
            1 => Self::CrashAfter,
            2 => Self::FailBefore,
            3 => Self::FailAfter,
            4..=6 => Self::Flip,
            7 => Self::Intruder,
            _ => Self::None,
        }
    }
}

/// How a store lets it be known what was written before it is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// It can be read under another name, and is renamed.
    Staged,
    /// It cannot, but the store refuses all other bytes.
    Refuses,
    /// It cannot: the bytes are put under a second name as well, and stay there until the first is verified.
    Spare,
}

#[derive(Debug, Clone)]
pub struct World {
    /// What the store shows.
    pub shows: Shows,
    /// What lies under the second name.
    spare: Option<u64>,
    /// What was shown of what is staged.
    shown: Option<u64>,
    /// What of ours lay there, until something was verified in its place.
    registered: Option<u64>,

    /// What each source holds.
    pub sources: Vec<Option<u64>>,
    /// What is visible at the target.
    pub target: Option<u64>,
    /// What was visible there before, and what others have put there.
    pub rightful: Vec<u64>,
    /// Temporary objects at the target.
    pub temporary: u64,
    /// What the present process has staged.
    staged: Option<u64>,
    /// The store itself has turned the visible bytes into others.
    corrupted: bool,
    events: Vec<TargetEvent>,
}

impl World {
    pub fn new(sources: &[Option<u64>], target: Option<u64>) -> Self {
        Self {
            shows: Shows::Staged,
            spare: None,
            shown: None,
            registered: None,
            sources: sources.to_vec(),
            target,
            rightful: target.into_iter().collect(),
            temporary: 0,
            staged: None,
            corrupted: false,
            events: Vec::new(),
        }
    }

    pub fn end(&self) -> EndState {
        EndState {
            visible: self.target.map(content),
            temporary: self.temporary,
        }
    }

    /// Runs a transfer to its end, restarting it after each crash. Every moment is checked against MV-1, every
    /// receipt against MV-2.
    pub fn run(
        &mut self,
        spec: &TransferSpec,
        mut faults: impl Iterator<Item = Fault>,
    ) -> Result<Receipt, Failure> {
        let policy = RetryPolicy {
            attempts: 3,
            first_ms: 1,
            longest_ms: 8,
        };
        if spec.target_recorded == TargetRecorded::Ours {
            self.registered = self.target.filter(|_| !self.corrupted).or(self.registered);
        }
        let mut machine = Transfer::new(spec.clone(), policy);
        for _ in 0..STEPS_MAX {
            let step = machine.step();
            assert_eq!(step, machine.step(), "asking changes nothing");
            if let Step::Done(result) = step {
                if let Ok(receipt) = &result {
                    self.check_receipt(receipt);
                    self.registered = None;
                    self.spare = None;
                }
                return result;
            }
            let fault = faults.next().unwrap_or(Fault::None);
            if fault == Fault::CrashBefore {
                machine = self.crash(spec, policy);
                continue;
            }
            let answer = match fault {
                Fault::FailBefore => self.failed(&step),
                _ => self.carry_out(&step, fault),
            };
            self.check_visible();
            match fault {
                Fault::CrashAfter => machine = self.crash(spec, policy),
                Fault::FailAfter => machine.answer(self.failed(&step)),
                _ => machine.answer(answer),
            }
        }
        panic!("the transfer does not end: {machine:?}");
    }

    /// What was staged is forgotten, and stays behind as a temporary object until it is reused.
    fn crash(&mut self, spec: &TransferSpec, policy: RetryPolicy) -> Transfer {
        self.staged = None;
        Transfer::new(spec.clone(), policy)
    }

    /// A transient failure; as the contract says, what was staged is gone after it.
    fn failed(&mut self, step: &Step) -> Answer {
        if matches!(step, Step::Wait { .. }) {
            return Answer::Waited;
        }
        self.staged = None;
        self.temporary = 0;
        let at = match step {
            Step::ReadSource(place) | Step::Stage { source: place, .. } => place.backend.clone(),
            _ => backend("target"),
        };
        Answer::Failed(Failure::of_object(
            FailureClass::Transient,
            &at,
            "d/k",
            "no reply".to_owned(),
        ))
    }

    fn carry_out(&mut self, step: &Step, fault: Fault) -> Answer {
        if fault == Fault::Intruder && self.target.is_none() {
            self.target = Some(5);
            self.rightful.push(5);
            self.events.push(TargetEvent::Changed);
        }
        let seen = |number: u64| content(if fault == Fault::Flip { 7 } else { number });
        match step {
            Step::StatTarget => match self.target {
                None => Answer::Absent,
                Some(number) => Answer::Found {
                    size: content(number).size,
                },
            },
            Step::ReadTarget(_) => match self.target {
                None => Answer::Absent,
                Some(number) => {
                    self.events.push(TargetEvent::ReadBack(seen(number)));
                    Answer::Contents(seen(number))
                }
            },
            Step::ReadSource(place) => match self.source(place) {
                Err(failure) => Answer::Failed(failure),
                Ok(number) => Answer::Contents(seen(number)),
            },
            Step::Stage { source, .. } => match self.source(source) {
                Err(failure) => Answer::Failed(failure),
                Ok(number) => {
                    let number = if fault == Fault::Flip { 7 } else { number };
                    self.staged = Some(number);
                    self.temporary = 1;
                    Answer::Staged(content(number))
                }
            },
            Step::ReadStaged(source) => self.show(source, fault),
            Step::Publish(publication) => self.publish(*publication, fault),
            Step::Discard => {
                self.staged = None;
                self.temporary = 0;
                Answer::Removed
            }
            Step::RemovePublished => {
                self.target = None;
                self.corrupted = false;
                self.events.push(TargetEvent::Changed);
                Answer::Removed
            }
            Step::Wait { .. } | Step::Done(_) => Answer::Waited,
        }
    }

    /// What turned on its way to the store is found here; what turns on the way back only looks so.
    fn show(&mut self, source: &Place, fault: Fault) -> Answer {
        let turned = fault == Fault::Flip;
        match self.shows {
            Shows::Refuses => return Answer::Assured,
            Shows::Staged => self.shown = self.staged.map(|staged| if turned { 7 } else { staged }),
            // What lies there whole is not written again: it may be all that is left.
            Shows::Spare if self.spare == self.staged => {
                self.shown = if turned { Some(7) } else { self.spare };
            }
            Shows::Spare => match self.source(source) {
                Err(failure) => return Answer::Failed(failure),
                Ok(number) => {
                    self.spare = Some(if turned { 7 } else { number });
                    self.shown = self.spare;
                }
            },
        }
        Answer::Contents(content(self.shown.expect("something is staged")))
    }

    fn publish(&mut self, publication: Publication, fault: Fault) -> Answer {
        let Some(staged) = self.staged else {
            panic!("published without having staged")
        };
        if publication == Publication::Replace {
            let (shown, assured) = (self.shown.take().map(content), self.shows == Shows::Refuses);
            assert!(
                mv4_replaces_by_what_is_shown(shown.as_ref(), assured, &content(staged)),
                "MV-4: {staged} is published, and {shown:?} was shown"
            );
            // A rename turns no bits, and a store that compares refuses those that turned.
            let fault = if self.shows == Shows::Spare {
                fault
            } else {
                Fault::None
            };
            return self.put(staged, fault);
        }
        if publication == Publication::New && self.target.is_some() {
            return Answer::Occupied;
        }
        self.put(staged, fault)
    }

    fn put(&mut self, staged: u64, fault: Fault) -> Answer {
        self.corrupted = fault == Fault::Flip;
        self.target = Some(if self.corrupted { 6 } else { staged });
        self.staged = None;
        self.temporary = 0;
        self.events.push(TargetEvent::Changed);
        Answer::Published
    }

    fn source(&self, place: &Place) -> Result<u64, Failure> {
        let index: usize = place
            .backend
            .as_str()
            .trim_start_matches("source")
            .parse()
            .unwrap();
        self.sources[index].ok_or_else(|| {
            Failure::of_object(
                FailureClass::SourceGone,
                &place.backend,
                &place.path,
                "gone".to_owned(),
            )
        })
    }

    fn check_visible(&self) {
        if let Some(old) = self.registered {
            let held: Vec<_> = self.target.into_iter().chain(self.spare).map(content).collect();
            assert!(
                mv4_some_version_is_whole(&held, &content(old), &content(0)),
                "MV-4: {old} was registered, and {held:?} is left"
            );
        }
        let Some(number) = self.target.filter(|_| !self.corrupted) else {
            return;
        };
        let before = self
            .rightful
            .iter()
            .find(|before| **before == number)
            .map(|before| content(*before));
        let visible = content(number);
        assert!(
            mv1_visible_is_complete(Some(&visible), before.as_ref(), &content(0)),
            "MV-1: {number} is visible"
        );
    }

    fn check_receipt(&self, receipt: &Receipt) {
        let recorded = Seen {
            size: receipt.size.0,
            sha256: receipt.sha256.clone(),
            blake3: receipt.blake3.clone(),
        };
        assert!(
            mv2_read_back_before_receipt(&self.events, &recorded),
            "MV-2: {:?}",
            self.events
        );
    }
}
