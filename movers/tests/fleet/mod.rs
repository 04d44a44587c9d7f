//! Several workers on one catalogue and one store, and everything that can go wrong at each of their steps: crashes,
//! lost, late and doubled replies, leases that expire while a worker sleeps, bytes that turn, a source that changes.

mod carry;
pub mod catalogue;
pub mod chance;
mod shown;
pub mod store;

use domicile_estate::{BackendName, ByteCount, DatasetName, ObjectKey, Verify};
use domicile_movers::invariants::{
    TargetEvent, mv1_visible_is_complete, mv2_read_back_before_receipt, mv4_some_version_is_whole,
};
use domicile_movers::retry::RetryPolicy;
use domicile_movers::{
    Claim, Ending, Epoch, LeasedTransfer, Place, Record, Reply, Seen, SourceVersion, TargetRecorded, Task,
    TransferId, TransferSpec, UploadToken,
};

use catalogue::{Catalogue, Final};
use chance::Chance;
use store::{Condition, Content, PART, Store, Traits, seen};

/// Workers at once.
const WORKERS: usize = 3;
/// Tasks of one undisturbed transfer that no honest one needs.
const TASKS_MAX: u32 = 600;
const POLICY: RetryPolicy = RetryPolicy {
    attempts: 4,
    first_ms: 1,
    longest_ms: 8,
};

/// Mistakes that the tests must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    None,
    /// The catalogue takes the records of lost leases.
    NoFencing,
    /// What is to be recorded before publishing is recorded afterwards.
    PublishBeforeSeal,
    /// An upload is recorded after it was begun.
    RecordAfterAct,
    /// Nobody notices that the source has changed since the upload was begun.
    MixedVersions,
    /// Uploads that may have begun are not looked for.
    NoReclaim,
    /// Who has lost the lease gives up what others have begun.
    UnguardedReclaim,
    /// Uploads are said to be given up, and are not.
    NoAbort,
    /// What takes the place of old bytes is not looked at before.
    ReplacesUnseen,
    /// Nobody notices that the source has changed between two workers.
    OtherVersionAtFirstLook,
    /// Who has lost the lease puts bytes under the second name.
    SpareWithoutLease,
    /// Who has lost the lease takes away what others have put under the second name.
    UnguardedSpare,
    /// The second name is taken away before the object itself was read back.
    SpareGoesEarly,
}

/// How a store lets it be known what was written before it takes the place of what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// It can be read under another name.
    Staged,
    /// It cannot, but the store refuses all other bytes.
    Refuses,
    /// It cannot: the bytes are put under a second name as well, and stay there until the first is verified.
    Spare,
}

/// What one schedule is about.
#[derive(Debug, Clone)]
pub struct Case {
    pub traits: Traits,
    /// Parts of the object; one goes in one piece.
    pub parts: usize,
    /// Which digests the catalogue knows.
    pub knows: (bool, bool),
    /// What lies at the target before: nothing, something else, or the object itself.
    pub before: Option<Content>,
    /// Whether what lies there before is ours.
    pub ours: bool,
    /// How the store lets it be known what is staged.
    pub shows: Shows,
    /// Whether the source may change.
    pub source_changes: bool,
    /// Whether bytes cannot turn between the source and us, so that a first reading is believed.
    pub safe_way: bool,
    /// Whether bytes may turn, and others may write to the target.
    pub lies: bool,
    pub mistake: Mistake,
}

/// Something that arrives at the store once more.
#[derive(Debug, Clone)]
enum Late {
    Begin(domicile_movers::UploadTag),
    Part(String, u32, u64),
    Complete(String, Vec<(u32, String)>, Condition),
    Put(Content, domicile_movers::UploadTag, Condition),
    Remove(Option<String>),
}

#[derive(Debug)]
struct Worker {
    machine: LeasedTransfer,
    epoch: Epoch,
    staged: Option<Content>,
    /// What was shown of it.
    shown: Option<Seen>,
    /// Whether it has begun an upload that the catalogue does not know.
    untold: bool,
    /// The version that it saw when it last looked at the source.
    looked: Option<SourceVersion>,
    /// The record that the catalogue has accepted right before.
    accepted: Option<Record>,
    /// A record that a mistaken worker keeps back.
    kept_back: Option<Record>,
    /// A reply that arrives again.
    echo: Option<(u64, Reply)>,
}

#[derive(Debug)]
pub struct Fleet {
    case: Case,
    id: TransferId,
    spec: TransferSpec,
    pub store: Store,
    pub catalogue: Catalogue,
    /// The version that the source has now.
    version: u64,
    workers: Vec<Option<Worker>>,
    late: Vec<Late>,
    /// Temporary files of crashed workers.
    temporary: u32,
    /// What was done at the target, and for a reading who read.
    events: Vec<(Epoch, TargetEvent)>,
    /// Whether anybody else ever wrote to the target, or bytes turned.
    intruded: bool,
    turned: bool,
    undisturbed: bool,
    /// The upload that was recorded as open right before the last record.
    registered_over: Option<UploadToken>,
    /// Something happened after which only the sweep can find what is left.
    only_sweep_helps: bool,
    chance: Chance,
}

fn backend(name: &str) -> BackendName {
    BackendName::new(name).unwrap()
}

fn spec(case: &Case) -> TransferSpec {
    let place = |name: &str| Place {
        backend: backend(name),
        path: "d/k".to_owned(),
    };
    let object = seen(&version(0, case.parts));
    TransferSpec {
        dataset: DatasetName::new("d").unwrap(),
        key: ObjectKey::new("k").unwrap(),
        size: ByteCount(PART * case.parts as u64),
        sha256: object.sha256.filter(|_| case.knows.0),
        blake3: case.knows.1.then_some(object.blake3),
        source: place("source"),
        alternatives: Vec::new(),
        target: place("target"),
        target_recorded: if case.ours {
            TargetRecorded::Ours
        } else {
            TargetRecorded::Nothing
        },
        allow_create_root: false,
        verify: Verify::default(),
    }
}

/// A version of the object.
pub fn version(number: u64, parts: usize) -> Content {
    (0..parts as u64).map(|part| number * 100 + part).collect()
}

impl Fleet {
    pub fn new(case: Case, seed: u64) -> Self {
        let spec = spec(&case);
        let catalogue = Catalogue {
            takes_anything: case.mistake == Mistake::NoFencing,
            ..Catalogue::default()
        };
        Self {
            id: TransferId::of(&spec, 0),
            store: Store::new(case.traits, case.before.clone()),
            spec,
            catalogue,
            version: 0,
            workers: (0..WORKERS).map(|_| None).collect(),
            late: Vec::new(),
            temporary: 0,
            events: Vec::new(),
            intruded: case.before.is_some(),
            turned: false,
            undisturbed: false,
            registered_over: None,
            only_sweep_helps: false,
            chance: Chance::new(seed),
            case,
        }
    }

    /// So many disturbed steps, then an undisturbed end; returns how the transfer ended.
    pub fn run(&mut self, steps: u32) -> Final {
        for _ in 0..steps {
            if self.chance.one_in(12) {
                self.deliver_late();
            }
            self.disturbed_step();
            self.check_visible();
        }
        self.undisturbed = true;
        self.let_everybody_finish();
        while !self.late.is_empty() {
            self.deliver_late();
            self.check_visible();
        }
        if !self.only_sweep_helps {
            assert!(
                self.store.uploads.is_empty(),
                "left without need: {:?}",
                self.store.uploads
            );
        }
        self.sweep();
        let Some((_, end)) = self.catalogue.end.clone() else {
            panic!("the transfer does not end")
        };
        self.check_end(&end);
        end
    }

    fn disturbed_step(&mut self) {
        let at = self.chance.below(WORKERS);
        let Some(mut worker) = self.workers[at].take() else {
            // A lease that somebody holds is taken over only now and then: it has expired.
            if self.catalogue.end.is_none() && (!self.is_held() || self.chance.one_in(6)) {
                self.workers[at] = Some(self.claim());
            }
            return;
        };
        if self.step(&mut worker) {
            self.workers[at] = Some(worker);
        } else if worker.staged.is_some() {
            self.temporary += 1;
        }
    }

    fn is_held(&self) -> bool {
        let holder = |worker: &Worker| worker.epoch.0 == self.catalogue.epoch;
        self.workers.iter().flatten().any(holder)
    }

    fn claim(&mut self) -> Worker {
        let epoch = self.catalogue.claim();
        let claim = Claim {
            id: self.id.clone(),
            epoch,
            ledger: self.catalogue.ledger.clone(),
            part_size: Some(PART),
        };
        Worker {
            machine: LeasedTransfer::new(self.spec.clone(), POLICY, claim),
            epoch,
            staged: None,
            shown: None,
            untold: false,
            looked: None,
            accepted: None,
            kept_back: None,
            echo: None,
        }
    }

    /// The sleepers wake and go on, and then somebody takes up what is not done.
    fn let_everybody_finish(&mut self) {
        for at in 0..WORKERS {
            if let Some(worker) = self.workers[at].take() {
                self.finish(worker);
            }
        }
        for _ in 0..8 {
            if self.catalogue.end.is_some() {
                return;
            }
            let worker = self.claim();
            self.finish(worker);
        }
        panic!(
            "it is not done however often it is taken up: {:?}",
            self.catalogue
        );
    }

    fn finish(&mut self, mut worker: Worker) {
        for _ in 0..TASKS_MAX {
            if !self.step(&mut worker) {
                return;
            }
            self.check_visible();
        }
        panic!("a worker does not end: {:?}", worker.machine);
    }

    /// What a later run sweeps: uploads of transfers that may have begun any, and temporary files.
    fn sweep(&mut self) {
        if self.catalogue.swept_later {
            self.store.reclaim(&self.id.clone());
        }
        self.temporary = 0;
    }

    fn wholes(&self) -> impl Iterator<Item = Seen> + '_ {
        (0..=self.version).map(|number| seen(&version(number, self.case.parts)))
    }

    /// MV-4, at each moment of replacing what was registered: some version of the object is whole, under one of its names.
    fn check_some_version_is_whole(&self) {
        let Some(old) = self.case.before.as_ref().filter(|_| self.case.ours) else {
            return;
        };
        let visible = self.store.visible.as_ref().map(|visible| seen(&visible.content));
        let spare = self.store.spare.as_deref().map(seen);
        let held: Vec<_> = visible.into_iter().chain(spare).collect();
        let whole = self
            .wholes()
            .any(|new| mv4_some_version_is_whole(&held, &seen(old), &new));
        assert!(
            whole,
            "MV-4: of {old:?} {:?} and {:?} are left",
            self.store.visible, self.store.spare
        );
    }

    fn check_visible(&self) {
        self.check_some_version_is_whole();
        let Some(visible) = self.store.visible.as_ref().filter(|visible| !visible.turned) else {
            return;
        };
        let now = seen(&visible.content);
        let before = visible.written_by.is_none().then_some(&now);
        assert!(
            self.wholes()
                .any(|whole| mv1_visible_is_complete(Some(&now), before, &whole)),
            "MV-1: {visible:?}"
        );
    }

    fn check_end(&self, end: &Final) {
        assert!(
            self.store.uploads.is_empty(),
            "uploads are left: {:?}",
            self.store.uploads
        );
        assert_eq!(self.temporary, 0, "temporary files are left");
        assert!(self.catalogue.registrations <= 1, "registered more than once");
        match end {
            Final::Registered(receipt) => {
                assert_eq!(self.store.spare, None, "a second name is left");
                let recorded = Seen {
                    size: receipt.size.0,
                    sha256: None,
                    blake3: receipt.blake3.clone(),
                };
                let visible = self.store.visible.as_ref();
                let now = visible.map(|visible| seen(&visible.content));
                assert!(
                    now.as_ref().is_some_and(|now| now.same_bytes(&recorded)),
                    "{recorded:?} is registered, and {visible:?} is visible"
                );
                assert_eq!(receipt.sha256, now.and_then(|now| now.sha256));
            }
            Final::Failed(failure) => {
                use domicile_movers::FailureClass::{
                    SourceChanged, SourceDamaged, TargetConflict, TargetCorrupts,
                };
                let cause = match failure.class {
                    // A store without marks does not tell our own object, published right before a crash, from another.
                    TargetConflict => {
                        self.intruded || !self.case.traits.marks && (self.version > 0 || self.turned)
                    }
                    TargetCorrupts => self.turned,
                    SourceDamaged | SourceChanged => self.version > 0 || self.turned,
                    _ => false,
                };
                assert!(cause, "there was no reason to fail: {failure}");
            }
            Final::Cancelled => {}
        }
    }

    /// MV-2, when a receipt is recorded: what others have read does not count.
    fn check_receipt(&self, by: Epoch, record: &Record) {
        let Record::Registered(receipt) = record else {
            return;
        };
        let recorded = Seen {
            size: receipt.size.0,
            sha256: None,
            blake3: receipt.blake3.clone(),
        };
        let counts = |(epoch, event): &&(Epoch, TargetEvent)| *event == TargetEvent::Changed || *epoch == by;
        let events: Vec<_> = self
            .events
            .iter()
            .filter(counts)
            .map(|(_, event)| event.clone())
            .collect();
        assert!(
            mv2_read_back_before_receipt(&events, &recorded),
            "MV-2: {recorded:?} after {events:?}"
        );
    }

    /// Whether a worker has come to its end.
    fn has_ended(worker: &Worker) -> Option<Ending> {
        match worker.machine.task() {
            (_, Task::End(ending)) => Some(ending),
            _ => None,
        }
    }
}
