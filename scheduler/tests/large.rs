//! A run costs each of its steps no more for there being many.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::VecDeque;

use domicile_estate::{BackendName, ByteCount, DatasetName};
use domicile_scheduler::{
    Action, Command, CopyOutcome, Demand, Event, Limits, RetireOutcome, Rooms, Scheduler, Step, StepId,
};

const BACKENDS: usize = 100;

fn backend(index: usize) -> BackendName {
    BackendName::new(&format!("b{:03}", index % BACKENDS)).expect("a name")
}

fn step(number: usize, action: Action, after: Vec<StepId>) -> Step {
    Step {
        id: StepId::new(&format!("m{number:07}")),
        dataset: DatasetName::new("d").expect("a name"),
        action,
        bytes: ByteCount(1),
        room: ByteCount(1),
        objects: 1,
        after,
        ended: Vec::new(),
        undoes: None,
    }
}

/// Pairs of a copy and the retirement that waits for it. The backends are full but for one byte, so that nearly every
/// copy waits for room, which the retirements make on the next backend.
fn chained(pairs: usize) -> (Vec<Step>, Rooms) {
    let mut rooms = Rooms::default();
    for index in 0..BACKENDS {
        rooms.insert(backend(index), ByteCount(1_000_000), ByteCount(999_999));
    }
    let mut steps = Vec::with_capacity(2 * pairs);
    for pair in 0..pairs {
        let copy = Action::Copy {
            sources: vec![backend(pair + 1)],
            to: backend(pair),
        };
        let retire = Action::Retire {
            from: backend(pair + 1),
            demand: Demand::default(),
        };
        let copy = step(2 * pair, copy, Vec::new());
        let made = copy.id.clone();
        steps.push(copy);
        steps.push(step(2 * pair + 1, retire, vec![made]));
    }
    (steps, rooms)
}

fn run(pairs: usize) {
    let (steps, rooms) = chained(pairs);
    let mut scheduler = Scheduler::new(Limits::default());
    let mut inbox = VecDeque::from([Event::Approved { steps, rooms }]);
    while let Some(event) = inbox.pop_front() {
        for command in scheduler.handle(0, event) {
            match command {
                Command::StartCopy(step) => inbox.push_back(Event::CopyEnded {
                    id: step.id,
                    outcome: CopyOutcome::Verified,
                }),
                Command::StartRetire(step) => inbox.push_back(Event::RetireEnded {
                    id: step.id,
                    outcome: RetireOutcome::Retired,
                }),
                Command::Settled(summary) => {
                    assert_eq!((summary.copied, summary.retired), (pairs as u64, pairs as u64));
                    return;
                }
                Command::Note { .. } | Command::MarkUnreachable { .. } | Command::WakeAt { .. } => {}
            }
        }
    }
    panic!("nothing to do, and not settled");
}

/// With a scan of all steps at each event this would take minutes.
#[test]
fn every_step_of_a_long_run_is_done() {
    run(20_000);
}
