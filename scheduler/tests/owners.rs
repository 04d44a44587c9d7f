//! Owners who share a run: the small datasets of one do not wait for the large ones of another.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{BackendName, ByteCount, DatasetName, DomainName};
use domicile_scheduler::{
    Action, Command, CopyOutcome, Event, Limits, Owners, Rooms, Scheduler, Step, StepId,
};
use proptest::prelude::*;

const GIB: u64 = 1 << 30;

fn dataset(owner: &str, at: usize) -> DatasetName {
    DatasetName::new(&format!("{owner}-{at:03}")).expect("a name")
}

fn step(owner: &str, at: usize, bytes: u64) -> Step {
    Step {
        id: StepId::new(&format!("{owner}-{at:03}")),
        dataset: dataset(owner, at),
        action: Action::Copy {
            sources: vec![BackendName::new("from").expect("a name")],
            to: BackendName::new(if at.is_multiple_of(2) { "even" } else { "odd" }).expect("a name"),
        },
        bytes: ByteCount(bytes),
        room: ByteCount(bytes),
        objects: 1,
        after: Vec::new(),
        ended: Vec::new(),
        undoes: None,
    }
}

/// A run of the steps of these owners: how many, how large, and of which weight.
struct Run {
    scheduler: Scheduler,
    running: BTreeSet<(u64, StepId)>,
    sizes: BTreeMap<StepId, u64>,
    now: u64,
    begun: Vec<StepId>,
}

impl Run {
    fn new(all: &[(&str, usize, u64, u32)], running: usize) -> Self {
        let name = |text: &str| DomainName::new(text).expect("a name");
        let weights = all.iter().map(|(owner, _, _, weight)| (name(owner), *weight));
        let mut owners = Owners::new(weights.collect());
        let mut steps = Vec::new();
        for (owner, count, bytes, _) in all {
            for at in 0..*count {
                owners.insert(dataset(owner, at), name(owner));
                steps.push(step(owner, at, *bytes));
            }
        }
        let mut rooms = Rooms::default();
        for to in ["even", "odd"] {
            rooms.insert(
                BackendName::new(to).expect("a name"),
                ByteCount(u64::MAX),
                ByteCount(0),
            );
        }
        let limits = Limits {
            running,
            ..Limits::default()
        };
        let mut run = Self {
            scheduler: Scheduler::new(limits).sharing(owners),
            running: BTreeSet::new(),
            sizes: steps.iter().map(|step| (step.id.clone(), step.bytes.0)).collect(),
            now: 0,
            begun: Vec::new(),
        };
        run.tell(Event::Approved { steps, rooms });
        run
    }

    fn tell(&mut self, event: Event) {
        for command in self.scheduler.handle(0, event) {
            if let Command::StartCopy(step) = command {
                // Each moves a GiB in a moment.
                self.running
                    .insert((self.now + step.bytes.0 / GIB, step.id.clone()));
                self.begun.push(step.id);
            }
        }
    }

    /// Lets the step end that ends first; says whether there was one.
    fn end_one(&mut self) -> bool {
        let Some((now, id)) = self.running.pop_first() else {
            return false;
        };
        self.now = now;
        self.tell(Event::CopyEnded {
            id,
            outcome: CopyOutcome::Verified,
        });
        true
    }

    fn under_way(&self, owner: &str) -> u64 {
        let of_owner = self
            .running
            .iter()
            .filter(|(_, id)| id.as_str().starts_with(owner));
        of_owner.map(|(_, id)| self.sizes[id]).sum()
    }
}

#[test]
fn twenty_small_datasets_do_not_wait_for_fifty_large_ones() {
    let mut run = Run::new(&[("large", 50, 1024 * GIB, 1), ("small", 20, GIB, 1)], 16);
    let small = |run: &Run| {
        run.begun
            .iter()
            .filter(|id| id.as_str().starts_with("small"))
            .count()
    };
    assert_eq!(small(&run), 15, "one place for the first large one");
    while small(&run) < 20 {
        assert!(run.end_one());
    }
    assert!(run.now <= 2, "all small ones have begun by {}", run.now);
    while run.end_one() {}
    assert_eq!(run.begun.len(), 70);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_under_way_follows_the_weights(
        a in 1u32..6, b in 1u32..6, running in 12usize..40, sizes in (1u64..4, 1u64..4)
    ) {
        let mut run = Run::new(&[("a", 200, sizes.0 * GIB, a), ("b", 200, sizes.1 * GIB, b)], running);
        for _ in 0..100 {
            let (of_a, of_b) = (run.under_way("a") as f64 / f64::from(a), run.under_way("b") as f64 / f64::from(b));
            // By the dataset, which cannot be divided.
            let one = (sizes.0 as f64 / f64::from(a)).max(sizes.1 as f64 / f64::from(b)) * 1.01 * GIB as f64;
            prop_assert!((of_a - of_b).abs() <= one, "{of_a} and {of_b} a weight");
            prop_assert!(run.end_one());
        }
    }
}
