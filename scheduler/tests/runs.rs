//! Random plans under random failures: the order of safety holds in every run, and every run ends.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{BackendName, ByteCount, DatasetName};
use domicile_scheduler::{
    Action, Command, CopyOutcome, Demand, Event, HeldBy, Limits, Order, Orders, RetireCaps, RetireOutcome,
    Rooms, Scheduler, Step, StepId, StepState, Summary,
};
use proptest::prelude::*;

const BACKENDS: [&str; 4] = ["a", "b", "c", "d"];

fn backend(index: usize) -> BackendName {
    BackendName::new(BACKENDS[index % BACKENDS.len()]).expect("a name")
}

#[derive(Debug, Clone)]
struct Sketch {
    copy: bool,
    target: usize,
    bytes: u64,
    after: Vec<usize>,
}

fn sketch() -> impl Strategy<Value = Sketch> {
    (
        any::<bool>(),
        0..4usize,
        0..60u64,
        proptest::collection::vec(0..12usize, 0..3),
    )
        .prop_map(|(copy, target, bytes, after)| Sketch {
            copy,
            target,
            bytes,
            after,
        })
}

fn steps(sketches: &[Sketch]) -> Vec<Step> {
    let id = |n: usize| StepId::new(&format!("m{n:02}"));
    let step = |(n, s): (usize, &Sketch)| Step {
        id: id(n),
        dataset: DatasetName::new("d").expect("a name"),
        action: if s.copy {
            Action::Copy {
                sources: vec![backend(s.target + 1)],
                to: backend(s.target),
            }
        } else {
            Action::Retire {
                from: backend(s.target),
                demand: Demand::default(),
            }
        },
        // What is retired lay there before: 12 steps of at most 4 bytes are within the 60 that each backend holds.
        bytes: ByteCount(s.bytes),
        room: ByteCount(if s.copy { s.bytes } else { s.bytes % 5 }),
        objects: 1,
        // Only earlier steps, so that there is no cycle.
        after: s.after.iter().filter(|b| **b < n).map(|b| id(*b)).collect(),
        ended: Vec::new(),
        undoes: None,
    };
    sketches.iter().enumerate().map(step).collect()
}

fn rooms() -> Rooms {
    let mut rooms = Rooms::default();
    for n in 0..4 {
        rooms.insert(backend(n), ByteCount(100), ByteCount(60));
    }
    rooms
}

/// What the world answers: a number for each question, drawn beforehand.
struct World<'a> {
    answers: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    attempts: BTreeMap<StepId, u32>,
    occupied: BTreeMap<BackendName, u64>,
    done: BTreeSet<StepId>,
}

impl World<'_> {
    fn answer(&mut self) -> u8 {
        self.answers.next().copied().unwrap_or(0) % 10
    }

    fn begin(&mut self, step: &Step) -> bool {
        for before in &step.after {
            assert!(
                self.done.contains(before),
                "{} began before {before} was done",
                step.id
            );
        }
        let attempts = self.attempts.entry(step.id.clone()).or_default();
        *attempts += 1;
        *attempts == 1
    }

    fn copy(&mut self, step: &Step) -> Event {
        let first = self.begin(step);
        let occupied = self.occupied.entry(step.target().clone()).or_default();
        *occupied += if first { step.room.0 } else { 0 };
        assert!(
            *occupied <= 100 || step.room.0 == 0,
            "PL-3: {occupied} of 100 bytes on {}",
            step.target()
        );
        let failed = |transient, lost| CopyOutcome::Failed {
            reason: "broken".to_owned(),
            transient,
            lost,
        };
        let outcome = match self.answer() {
            0 => failed(false, Some(step.target().clone())),
            1 => failed(false, None),
            2 | 3 => failed(true, None),
            _ => {
                self.done.insert(step.id.clone());
                CopyOutcome::Verified
            }
        };
        Event::CopyEnded {
            id: step.id.clone(),
            outcome,
        }
    }

    fn retire(&mut self, step: &Step) -> Event {
        self.begin(step);
        let outcome = match self.answer() {
            0 => RetireOutcome::Failed {
                reason: "denied".to_owned(),
                transient: false,
            },
            1 => RetireOutcome::Failed {
                reason: "busy".to_owned(),
                transient: true,
            },
            2 => RetireOutcome::Needed {
                reason: "needed".to_owned(),
            },
            3 => RetireOutcome::NotYet {
                reason: "grace".to_owned(),
            },
            _ => {
                self.done.insert(step.id.clone());
                let occupied = self.occupied.entry(step.target().clone()).or_default();
                *occupied = occupied.saturating_sub(step.room.0);
                RetireOutcome::Retired
            }
        };
        Event::RetireEnded {
            id: step.id.clone(),
            outcome,
        }
    }
}

fn run(sketches: &[Sketch], answers: &[u8], stop_after: Option<usize>) -> (Summary, Scheduler) {
    run_within(RetireCaps::default(), sketches, answers, stop_after)
}

fn run_within(
    retiring: RetireCaps,
    sketches: &[Sketch],
    answers: &[u8],
    stop_after: Option<usize>,
) -> (Summary, Scheduler) {
    let mut scheduler = Scheduler::new(Limits {
        retiring,
        ..Limits::default()
    });
    let mut world = World {
        answers: answers.iter().cycle(),
        attempts: BTreeMap::new(),
        occupied: (0..4).map(|n| (backend(n), 60)).collect(),
        done: BTreeSet::new(),
    };
    let mut inbox = vec![Event::Approved {
        steps: steps(sketches),
        rooms: rooms(),
    }];
    let (mut now_ms, mut handled) = (0, 0);
    while let Some(event) = inbox.pop() {
        handled += 1;
        assert!(handled < 1_000, "the run does not end");
        if stop_after == Some(handled) {
            inbox.insert(0, Event::Stop);
        }
        for command in scheduler.handle(now_ms, event) {
            match command {
                Command::StartCopy(step) => inbox.insert(0, world.copy(&step)),
                Command::StartRetire(step) => inbox.insert(0, world.retire(&step)),
                Command::WakeAt { at_ms } => {
                    assert!(at_ms > now_ms, "a wait that is none");
                    now_ms = at_ms;
                    inbox.insert(0, Event::Woke);
                }
                Command::Settled(summary) => {
                    assert!(
                        world.attempts.values().all(|n| *n <= 3),
                        "SC-2: {:?}",
                        world.attempts
                    );
                    return (summary, scheduler);
                }
                Command::Note { .. } | Command::MarkUnreachable { .. } => {}
            }
        }
    }
    panic!("nothing to do, and not settled");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_and_keeps_the_order(
        sketches in proptest::collection::vec(sketch(), 0..12),
        answers in proptest::collection::vec(any::<u8>(), 1..40),
        stop_after in proptest::option::of(1..20usize),
    ) {
        let (summary, scheduler) = run(&sketches, &answers, stop_after);
        let undone = summary.failed.len() + summary.skipped.len() + summary.held.len();
        let ended = summary.copied + summary.retired + undone as u64;
        prop_assert_eq!(ended, sketches.len() as u64);
        for (id, reason) in summary.failed.iter().chain(&summary.skipped).chain(&summary.held) {
            prop_assert!(!reason.is_empty());
            prop_assert!(scheduler.state_of(id).is_some_and(StepState::is_final));
        }
    }

    #[test]
    fn no_run_retires_more_than_its_caps_and_none_retires_less_without_a_reason(
        sketches in proptest::collection::vec(sketch(), 0..12),
        answers in proptest::collection::vec(any::<u8>(), 1..40),
        copies in proptest::option::of(0..4u64),
        bytes in proptest::option::of(0..90u64),
    ) {
        let caps = RetireCaps { copies, bytes: bytes.map(ByteCount) };
        let (summary, scheduler) = run_within(caps, &sketches, &answers, None);
        let all = steps(&sketches);
        let retired: Vec<_> = all
            .iter()
            .filter(|step| !step.is_copy() && scheduler.state_of(&step.id) == Some(&StepState::Done))
            .collect();
        let total: u64 = retired.iter().map(|step| step.bytes.0).sum();
        prop_assert!(copies.is_none_or(|most| retired.len() as u64 <= most));
        prop_assert!(bytes.is_none_or(|most| total <= most));
        // Whatever the caps hold back would have broken them, counting what failed and may have deleted something.
        let gone = |step: &&Step| {
            let state = scheduler.state_of(&step.id);
            !step.is_copy() && matches!(state, Some(StepState::Done | StepState::Failed { .. }))
        };
        let (spent, used) = all.iter().filter(gone).fold((0, 0), |(n, b), step| (n + 1, b + step.bytes.0));
        for (id, _) in summary.held.iter().filter(|(_, reason)| reason.starts_with("held back")) {
            let step = all.iter().find(|step| step.id == *id).expect("a step");
            let over = copies.is_some_and(|most| spent + 1 > most)
                || bytes.is_some_and(|most| used + step.bytes.0 > most);
            prop_assert!(over, "{id} was held back for nothing");
        }
    }

    #[test]
    fn without_failures_all_that_fits_is_done(
        sketches in proptest::collection::vec(sketch(), 0..12),
    ) {
        let small: Vec<_> = sketches.into_iter().map(|s| Sketch { bytes: s.bytes % 3, ..s }).collect();
        let (summary, _) = run(&small, &[9], None);
        prop_assert_eq!(summary.copied + summary.retired, small.len() as u64);
    }
}

#[test]
fn a_lost_backend_does_not_hold_up_another() {
    // SC-1: the first copy finds `a` gone; the others to `a` fail at once with its reason, the one to `b` is made.
    let copy = |target| Sketch {
        copy: true,
        target,
        bytes: 1,
        after: vec![],
    };
    let sketches = [copy(0), copy(0), copy(0), copy(1), copy(0), copy(0)];
    let mut scheduler = Scheduler::new(Limits {
        running: 2,
        ..Limits::default()
    });
    let commands = scheduler.handle(
        0,
        Event::Approved {
            steps: steps(&sketches),
            rooms: rooms(),
        },
    );
    let started = commands
        .iter()
        .filter(|c| matches!(c, Command::StartCopy(_)))
        .count();
    assert_eq!(started, 2);
    let outcome = CopyOutcome::Failed {
        reason: "bucket `x` of backend `a` does not exist".to_owned(),
        transient: false,
        lost: Some(backend(0)),
    };
    let commands = scheduler.handle(
        1,
        Event::CopyEnded {
            id: StepId::new("m00"),
            outcome,
        },
    );
    assert!(
        commands
            .iter()
            .any(|c| matches!(c, Command::MarkUnreachable { .. }))
    );
    assert!(
        commands
            .iter()
            .any(|c| matches!(c, Command::StartCopy(step) if step.target() == &backend(1)))
    );
    assert!(matches!(
        scheduler.state_of(&StepId::new("m05")),
        Some(StepState::Failed { .. })
    ));
    // A late or doubled answer changes nothing.
    let again = Event::CopyEnded {
        id: StepId::new("m00"),
        outcome: CopyOutcome::Verified,
    };
    assert!(scheduler.handle(2, again).is_empty());
    assert!(matches!(
        scheduler.state_of(&StepId::new("m00")),
        Some(StepState::Failed { .. })
    ));
}

#[test]
fn a_copy_that_is_recorded_already_is_completed_on_a_full_backend() {
    let mut repair = steps(&[Sketch {
        copy: true,
        target: 0,
        bytes: 30,
        after: vec![],
    }]);
    repair[0].room = ByteCount(0);
    let mut full = Rooms::default();
    full.insert(backend(0), ByteCount(30), ByteCount(30));
    let mut scheduler = Scheduler::new(Limits::default());
    let commands = scheduler.handle(
        0,
        Event::Approved {
            steps: repair,
            rooms: full,
        },
    );
    assert!(commands.iter().any(|c| matches!(c, Command::StartCopy(_))));
}

#[test]
fn a_copy_waits_for_the_room_that_a_retirement_makes() {
    let sketches = [
        Sketch {
            copy: false,
            target: 3,
            bytes: 4,
            after: vec![],
        },
        Sketch {
            copy: true,
            target: 3,
            bytes: 44,
            after: vec![],
        },
    ];
    let mut scheduler = Scheduler::new(Limits::default());
    let commands = scheduler.handle(
        0,
        Event::Approved {
            steps: steps(&sketches),
            rooms: rooms(),
        },
    );
    assert!(!commands.iter().any(|c| matches!(c, Command::StartCopy(_))));
    let retired = Event::RetireEnded {
        id: StepId::new("m00"),
        outcome: RetireOutcome::Retired,
    };
    let commands = scheduler.handle(1, retired);
    assert!(commands.iter().any(|c| matches!(c, Command::StartCopy(_))));
}

#[test]
fn what_waits_for_a_retirement_that_waits_is_no_failure() {
    let sketches = [
        Sketch {
            copy: false,
            target: 3,
            bytes: 4,
            after: vec![],
        },
        Sketch {
            copy: true,
            target: 3,
            bytes: 44,
            after: vec![],
        },
        Sketch {
            copy: true,
            target: 2,
            bytes: 1,
            after: vec![0],
        },
    ];
    let (summary, _) = run(&sketches, &[3], None);
    let held: Vec<_> = summary.held.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(held, ["m00", "m01", "m02"]);
    assert_eq!((summary.failed.len(), summary.skipped.len()), (0, 0));
}

#[test]
fn what_a_person_holds_does_not_begin_until_it_is_lifted_and_holds_up_nothing_else() {
    let copy = |target| Sketch {
        copy: true,
        target,
        bytes: 1,
        after: vec![],
    };
    let all = steps(&[copy(0), copy(1), copy(2), copy(3)]);
    let order = |at: usize, order| ((DatasetName::new("d").expect("a name"), backend(at)), order);
    let started = |commands: &[Command]| -> Vec<BackendName> {
        let started = commands.iter().filter_map(|command| match command {
            Command::StartCopy(step) => Some(step.target().clone()),
            _ => None,
        });
        started.collect()
    };
    let ended = |at: usize, outcome| Event::CopyEnded {
        id: StepId::new(&format!("m0{at}")),
        outcome,
    };
    let mut scheduler = Scheduler::new(Limits::default());
    let orders = Orders::from([
        order(0, Order::Pause),
        order(1, Order::Pause),
        order(2, Order::Cancel),
    ]);
    assert_eq!(scheduler.handle(0, Event::Ordered(orders)), []);
    let approved = Event::Approved {
        steps: all,
        rooms: rooms(),
    };
    assert_eq!(started(&scheduler.handle(0, approved)), [backend(3)]);
    // One is resumed while the run goes on.
    let orders = Orders::from([order(1, Order::Pause), order(2, Order::Cancel)]);
    assert_eq!(
        started(&scheduler.handle(1, Event::Ordered(orders))),
        [backend(0)]
    );
    // Another one is paused in its middle.
    assert!(
        scheduler
            .handle(2, ended(3, CopyOutcome::Ordered(Order::Pause)))
            .len()
            == 1
    );
    let commands = scheduler.handle(3, ended(0, CopyOutcome::Verified));
    let Some(Command::Settled(summary)) = commands.last() else {
        panic!("it has not settled: {commands:?}");
    };
    let held: Vec<_> = summary.held.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!((summary.copied, held), (1, vec!["m01", "m02", "m03"]));
    let by = |at: usize| match scheduler.state_of(&StepId::new(&format!("m0{at}"))) {
        Some(StepState::Held { by, .. }) => *by,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [by(1), by(2), by(3)],
        [HeldBy::Pause, HeldBy::Cancel, HeldBy::Pause]
    );
}
