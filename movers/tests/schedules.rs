//! The state machine against a model of its stores: chosen cases, and random schedules of crashes, lost replies and
//! lies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod model;

use domicile_movers::invariants::mv3_same_end;
use domicile_movers::{FailureClass, TargetRecorded};
use proptest::prelude::*;

use model::{Fault, Shows, World, content, spec};

fn ours(recorded: bool) -> TargetRecorded {
    if recorded {
        TargetRecorded::Ours
    } else {
        TargetRecorded::Nothing
    }
}

/// A schedule with one fault at one step.
fn at(step: usize, fault: Fault) -> impl Iterator<Item = Fault> {
    std::iter::repeat_n(Fault::None, step).chain([fault])
}

#[test]
fn a_plain_transfer_ends_with_a_receipt() {
    let mut world = World::new(&[Some(0)], None);
    let receipt = world
        .run(&spec(1, TargetRecorded::Nothing, true), std::iter::empty())
        .unwrap();
    assert_eq!(
        (receipt.adopted, receipt.bytes_written, receipt.sha256.as_deref()),
        (false, 10, Some("s0"))
    );
    assert_eq!(receipt.source, Some(model::backend("source0")));
    assert_eq!(world.end().visible, Some(content(0)));
}

#[test]
fn what_is_there_and_equal_is_adopted_without_writing() {
    for knows_digest in [true, false] {
        let mut world = World::new(&[Some(0)], Some(0));
        let receipt = world
            .run(
                &spec(1, TargetRecorded::Nothing, knows_digest),
                std::iter::empty(),
            )
            .unwrap();
        assert_eq!((receipt.adopted, receipt.bytes_written), (true, 0));
    }
}

#[test]
fn what_differs_is_refused_or_if_it_is_ours_replaced() {
    for (there, knows_digest) in [(3, true), (3, false), (8, true), (8, false)] {
        let mut world = World::new(&[Some(0)], Some(there));
        let failure = world
            .run(
                &spec(1, TargetRecorded::Nothing, knows_digest),
                std::iter::empty(),
            )
            .unwrap_err();
        assert_eq!(failure.class, FailureClass::TargetConflict);
        assert_eq!(world.target, Some(there));
        world
            .run(&spec(1, TargetRecorded::Ours, knows_digest), std::iter::empty())
            .unwrap();
        assert_eq!(world.target, Some(0));
    }
}

#[test]
fn a_damaged_source_overwrites_nothing() {
    for (source, class) in [
        (Some(3), FailureClass::SourceDamaged),
        (Some(8), FailureClass::SourceDamaged),
        (None, FailureClass::SourceGone),
    ] {
        for there in [None, Some(4)] {
            let mut world = World::new(&[source], there);
            let failure = world
                .run(&spec(1, TargetRecorded::Ours, true), std::iter::empty())
                .unwrap_err();
            assert_eq!((failure.class, failure.backend.as_str()), (class, "source0"));
            assert_eq!((world.target, world.temporary), (there, 0));
        }
    }
    let changed =
        World::new(&[Some(8)], None).run(&spec(1, TargetRecorded::Nothing, false), std::iter::empty());
    assert_eq!(changed.unwrap_err().class, FailureClass::SourceChanged);
}

#[test]
fn the_next_source_serves_and_the_damage_is_told() {
    let mut world = World::new(&[Some(3), None, Some(0)], None);
    let receipt = world
        .run(&spec(3, TargetRecorded::Nothing, true), std::iter::empty())
        .unwrap();
    assert_eq!(receipt.source, Some(model::backend("source2")));
    let classes: Vec<_> = receipt
        .source_failures
        .iter()
        .map(|failure| failure.class)
        .collect();
    assert_eq!(classes, [FailureClass::SourceDamaged, FailureClass::SourceGone]);
}

#[test]
fn a_source_that_never_answers_gives_way_to_the_next() {
    // Stat, then three attempts at staging with a stat and a wait each.
    let faults = (0..9).map(|n| {
        if n % 3 == 1 {
            Fault::FailBefore
        } else {
            Fault::None
        }
    });
    let mut world = World::new(&[Some(0), Some(0)], None);
    let receipt = world
        .run(&spec(2, TargetRecorded::Nothing, true), faults)
        .unwrap();
    assert_eq!(receipt.source, Some(model::backend("source1")));
    assert_eq!(receipt.source_failures.len(), 1);
}

#[test]
fn a_transfer_that_may_succeed_later_says_so() {
    let faults = (0..20).map(|n| {
        // The first source is read twice before it is blamed: five steps. Then each attempt fails at its staging.
        if n < 5 || n % 3 != 0 {
            Fault::None
        } else {
            Fault::FailBefore
        }
    });
    let mut world = World::new(&[Some(3), Some(0)], None);
    let failure = world
        .run(&spec(2, TargetRecorded::Nothing, true), faults)
        .unwrap_err();
    assert!(
        failure.is_transient() && failure.message.contains("source0"),
        "{failure}"
    );
}

#[test]
fn bytes_that_the_target_turned_do_not_stay() {
    // Stat, stage, publish: the third step writes other bytes than it was given.
    let mut world = World::new(&[Some(0)], None);
    world
        .run(&spec(1, TargetRecorded::Nothing, true), at(2, Fault::Flip))
        .unwrap();
    assert_eq!(world.target, Some(0));

    let always = (0..100).map(|n| if n % 5 == 2 { Fault::Flip } else { Fault::None });
    let failure = World::new(&[Some(0)], None)
        .run(&spec(1, TargetRecorded::Nothing, true), always)
        .unwrap_err();
    assert_eq!(failure.class, FailureClass::TargetCorrupts, "{failure}");
}

#[test]
fn who_comes_first_is_not_overwritten() {
    let mut world = World::new(&[Some(0)], None);
    let failure = world
        .run(&spec(1, TargetRecorded::Nothing, true), at(2, Fault::Intruder))
        .unwrap_err();
    assert_eq!(failure.class, FailureClass::TargetConflict);
    assert_eq!((world.target, world.temporary), (Some(5), 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// MV-1, MV-2 (in the model, at every moment) and MV-3: interruptions change nothing about the end.
    #[test]
    fn interruptions_change_nothing_about_the_end(
        schedule in prop::collection::vec(any::<u8>(), 0..60),
        sources in prop::collection::vec(prop::sample::select(vec![Some(0), Some(3), Some(8), None]), 1..4),
        there in prop::sample::select(vec![None, Some(0), Some(3), Some(9)]),
        recorded: bool,
        knows_digest: bool,
        shows in prop::sample::select(vec![Shows::Staged, Shows::Refuses, Shows::Spare]),
    ) {
        // Without a digest the first source that answers defines the object; only whole sources are honest then.
        let knows_digest = knows_digest || sources.contains(&Some(3));
        let spec = spec(sources.len(), ours(recorded), knows_digest);
        let mut once = World::new(&sources, there);
        once.shows = shows;
        let result = once.run(&spec, std::iter::empty());

        let mut interrupted = World::new(&sources, there);
        interrupted.shows = shows;
        let mut faults = schedule.iter().map(|number| Fault::interruption(*number));
        let mut last = interrupted.run(&spec, &mut faults);
        // A move that failed is taken up again; what the schedule has left is used up before the last time.
        while faults.len() > 0 || matches!(&last, Err(failure) if failure.is_transient()) {
            last = interrupted.run(&spec, &mut faults);
        }
        if last.is_ok() || result.is_err() {
            interrupted.temporary = 0; // The sweep after a move.
        }
        prop_assert!(mv3_same_end(&once.end(), &interrupted.end()), "{:?} {:?}", once.end(), interrupted.end());
        prop_assert_eq!(result.map_err(|f| f.class).map(|r| r.sha256), last.map_err(|f| f.class).map(|r| r.sha256));
    }

    /// MV-1, MV-2 and, for what is replaced, MV-4 hold whatever lies the stores tell, and every transfer ends.
    #[test]
    fn lies_of_stores_are_never_recorded(
        schedule in prop::collection::vec(any::<u8>(), 0..80),
        sources in prop::collection::vec(prop::sample::select(vec![Some(0), Some(3), Some(8), None]), 1..4),
        there in prop::sample::select(vec![None, Some(0), Some(3), Some(9)]),
        recorded: bool,
        shows in prop::sample::select(vec![Shows::Staged, Shows::Refuses, Shows::Spare]),
    ) {
        let spec = spec(sources.len(), ours(recorded), true);
        let mut world = World::new(&sources, there);
        world.shows = shows;
        let mut faults = schedule.iter().map(|number| Fault::any(*number));
        loop {
            let begun = faults.len();
            let result = world.run(&spec, &mut faults);
            if let Ok(receipt) = &result {
                prop_assert_eq!((receipt.sha256.as_deref(), receipt.size.0), (Some("s0"), 10));
            }
            if faults.len() == begun || faults.len() == 0 {
                break;
            }
        }
    }
}
