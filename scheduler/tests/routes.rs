//! Plans with routes, relays and third places, from the problem to the end of the run, in a world that keeps count.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may end where a value is missing"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domicile_estate::{
    BackendName, ByteCount, CopyState, DatasetName, DatasetSummary, Energy, PolicyName, Price,
};
use domicile_placement::{
    Held, Hop, Movement, Place, Problem, Profile, Requirement, Subject, Terms, propose,
};
use domicile_scheduler::{
    Action, Command, CopyOutcome, Event, Limits, RetireOutcome, Scheduler, Step, StepState, Summary, approved,
};

const SIZE: u64 = 1000;

fn place(name: usize, capacity: u64) -> Place {
    Place {
        name: BackendName::new(&format!("b{name}")).unwrap(),
        provider: None,
        region: None,
        capacity: ByteCount(capacity),
        price: Price {
            storage_per_gib_month: 1.0,
            ..Price::default()
        },
        energy: Energy {
            grid_grams_per_kwh: 0.0,
            grid_source: "given".to_owned(),
            watt_hours_per_tb_hour: 0.0,
            pue: 1.0,
            physical_copies: 1.0,
        },
        reachable: true,
        relays: false,
        reasons: Vec::new(),
    }
}

/// Datasets of which each lies on one backend and is wanted on others.
fn estate(capacities: &[u64], datasets: &[(usize, &[usize])], keep_origin: bool) -> Problem {
    let requirement = |to: usize| Requirement {
        policy: 0,
        name: format!("to{to}"),
        copies: 1,
        place: String::new(),
        accepts: (0..capacities.len()).map(|backend| backend == to).collect(),
        spread: Vec::new(),
        durability: None,
    };
    let subject = |(index, (from, to)): (usize, &(usize, &[usize]))| Subject {
        name: DatasetName::new(&format!("d{index:02}")).unwrap(),
        summary: DatasetSummary::of_sizes([ByteCount(SIZE)].into_iter(), &[]),
        keep_origin,
        profile: Arc::new(Profile {
            policies: vec![0],
            requirements: to.to_vec(),
            ..Profile::default()
        }),
        copies: vec![Held {
            backend: *from,
            origin: true,
            state: CopyState::Listed,
            missing_bytes: ByteCount(0),
            missing_objects: 0,
        }],
    };
    Problem {
        currency: "EUR".to_owned(),
        backends: capacities
            .iter()
            .enumerate()
            .map(|(n, capacity)| place(n, *capacity))
            .collect(),
        policies: vec![Terms {
            name: PolicyName::new("one").unwrap(),
            enforced: true,
            cost_per_month: None,
            carbon_kg_per_month: None,
            movement: Movement::default(),
        }],
        requirements: (0..capacities.len()).map(requirement).collect(),
        datasets: datasets.iter().enumerate().map(subject).collect(),
        ..Problem::default()
    }
}

fn name(backend: usize) -> BackendName {
    BackendName::new(&format!("b{backend}")).unwrap()
}

fn forbid(problem: &mut Problem, from: usize, to: usize) {
    let hop = Hop {
        forbidden: true,
        ..Hop::default()
    };
    problem.links.insert((from, to), hop);
}

/// What lies where while a plan is carried out, and every hop that bytes took.
struct World<'a> {
    problem: &'a Problem,
    whole: BTreeMap<DatasetName, BTreeSet<BackendName>>,
    hops: Vec<(BackendName, BackendName)>,
    /// Copies to these backends fail.
    broken: &'a [usize],
}

impl World<'_> {
    fn assert_room(&self) {
        for place in &self.problem.backends {
            let there = self
                .whole
                .values()
                .filter(|copies| copies.contains(&place.name))
                .count();
            assert!(
                there as u64 * SIZE <= place.capacity.0,
                "PL-3: `{}` overflows",
                place.name
            );
        }
    }

    fn copy(&mut self, step: &Step) -> Event {
        let Action::Copy { sources, to } = &step.action else {
            panic!("a copy")
        };
        let copies = self.whole.get_mut(&step.dataset).unwrap();
        let source = sources.iter().find(|source| copies.contains(*source)).cloned();
        let broken = self.broken.iter().any(|backend| name(*backend) == *to);
        let outcome = match source {
            Some(source) if !broken => {
                self.hops.push((source, to.clone()));
                copies.insert(to.clone());
                CopyOutcome::Verified
            }
            _ => CopyOutcome::Failed {
                reason: "broken".to_owned(),
                transient: false,
                lost: None,
            },
        };
        self.assert_room();
        Event::CopyEnded {
            id: step.id.clone(),
            outcome,
        }
    }

    /// As the carrier does it: with the re-check against what is whole at that moment.
    fn retire(&mut self, step: &Step) -> Event {
        let Action::Retire { from, demand } = &step.action else {
            panic!("a retirement")
        };
        let copies = self.whole.get_mut(&step.dataset).unwrap();
        let outcome = match demand.allows_retirement(copies, from) {
            Ok(()) => {
                copies.remove(from);
                RetireOutcome::Retired
            }
            Err(why) => RetireOutcome::Needed {
                reason: why.to_string(),
            },
        };
        Event::RetireEnded {
            id: step.id.clone(),
            outcome,
        }
    }
}

/// Plans and carries out; the answers come in the order of a seed.
fn run<'a>(problem: &'a Problem, broken: &'a [usize], mut seed: u64) -> (World<'a>, Summary, Scheduler) {
    let plan = propose(problem);
    let (steps, rooms) = approved(problem, &plan);
    let whole = problem.datasets.iter().map(|subject| {
        let copies = subject
            .copies
            .iter()
            .map(|held| problem.backends[held.backend].name.clone());
        (subject.name.clone(), copies.collect())
    });
    let mut world = World {
        problem,
        whole: whole.collect(),
        hops: Vec::new(),
        broken,
    };
    let mut scheduler = Scheduler::new(Limits::default());
    let mut running: Vec<Command> = Vec::new();
    let mut event = Event::Approved { steps, rooms };
    for now_ms in 0..10_000 {
        for command in scheduler.handle(now_ms, event.clone()) {
            match command {
                Command::Settled(summary) => return (world, summary, scheduler),
                Command::Note { id, .. } => {
                    assert!(!id.is_part(), "the catalogue knows moves, not their parts")
                }
                Command::StartCopy(_) | Command::StartRetire(_) => running.push(command),
                Command::WakeAt { .. } | Command::MarkUnreachable { .. } => {}
            }
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let next = (seed >> 33) as usize % running.len();
        event = match running.swap_remove(next) {
            Command::StartCopy(step) => world.copy(&step),
            Command::StartRetire(step) => world.retire(&step),
            other => panic!("{other:?}"),
        };
    }
    panic!("the run does not end")
}

fn hops(world: &World<'_>) -> Vec<String> {
    world
        .hops
        .iter()
        .map(|(from, to)| format!("{from}>{to}"))
        .collect()
}

fn fan_out() -> Problem {
    let mut problem = estate(&[SIZE; 4], &[(0, &[1, 2, 3])], true);
    for abroad in 1..4 {
        let dear = Hop {
            price_per_gib: Some(1e6),
            ..Hop::default()
        };
        problem.links.insert((0, abroad), dear);
    }
    problem
}

#[test]
fn three_copies_abroad_cross_the_dear_link_once() {
    let problem = fan_out();
    for seed in 0..20 {
        let (world, summary, _) = run(&problem, &[], seed);
        assert_eq!(
            (summary.copied, summary.failed.len(), summary.skipped.len()),
            (3, 0, 0)
        );
        assert_eq!(
            world.hops.iter().filter(|(from, _)| *from == name(0)).count(),
            1,
            "{:?}",
            hops(&world)
        );
    }
}

/// SC-1: what was to read a copy that failed reads another one.
#[test]
fn the_branches_go_on_where_the_first_copy_fails() {
    let problem = fan_out();
    let (world, summary, _) = run(&problem, &[1], 1);
    assert_eq!(
        (summary.copied, summary.failed.len(), summary.skipped.len()),
        (2, 1, 0)
    );
    let mut hops = hops(&world);
    hops.sort();
    assert_eq!(hops, ["b0>b2", "b0>b3"]);
}

#[test]
fn no_forbidden_link_is_crossed_for_want_of_another_source() {
    let mut problem = fan_out();
    forbid(&mut problem, 0, 2);
    forbid(&mut problem, 3, 2);
    problem.backends[1].relays = true;
    let (world, summary, _) = run(&problem, &[], 1);
    assert_eq!(summary.copied, 3);
    assert!(
        hops(&world).contains(&"b1>b2".to_owned()),
        "the new copy on `b1` is where `b2` can read"
    );
    let (world, summary, _) = run(&problem, &[1], 1);
    assert_eq!(hops(&world), ["b0>b3"]);
    let (_, reason) = &summary.skipped[0];
    assert_eq!(reason, "nothing to read, for the copy on `b1` was not made");
}

fn relayed(keep_origin: bool) -> Problem {
    let mut problem = estate(
        &[3 * SIZE, 3 * SIZE, SIZE],
        &[(0, &[1]), (0, &[1]), (0, &[1])],
        keep_origin,
    );
    forbid(&mut problem, 0, 1);
    problem.backends[2].relays = true;
    problem
}

#[test]
fn a_relay_is_empty_again_after_each_copy() {
    for (seed, keep) in (0..20).flat_map(|seed| [(seed, true), (seed, false)]) {
        let problem = relayed(keep);
        let (world, summary, _) = run(&problem, &[], seed);
        let retired = if keep { 0 } else { 3 };
        assert_eq!((summary.copied, summary.retired), (3, retired));
        assert!(
            summary.failed.is_empty() && summary.skipped.is_empty(),
            "{summary:?}"
        );
        assert_eq!(hops(&world).iter().filter(|hop| *hop == "b0>b2").count(), 3);
        assert!(
            world
                .whole
                .values()
                .all(|copies| !copies.contains(&name(2)) && copies.contains(&name(1)))
        );
    }
}

#[test]
fn a_relay_is_emptied_also_where_the_copy_fails() {
    let problem = relayed(false);
    let (world, summary, scheduler) = run(&problem, &[1], 3);
    assert_eq!((summary.copied, summary.retired, summary.failed.len()), (0, 0, 3));
    assert!(
        world.whole.values().all(|copies| copies.iter().eq([&name(0)])),
        "{:?}",
        world.whole
    );
    for (id, _) in &summary.failed {
        assert!(!id.is_part() && matches!(scheduler.state_of(id), Some(StepState::Failed { .. })));
    }
}

#[test]
fn a_relay_that_takes_nothing_is_told_once_as_the_cause() {
    let problem = relayed(false);
    let (world, summary, _) = run(&problem, &[2], 3);
    assert_eq!((summary.copied, summary.retired), (0, 0));
    assert!(
        summary
            .skipped
            .iter()
            .any(|(_, reason)| reason.contains("the copy on `b2` was not made"))
    );
    assert!(world.whole.values().all(|copies| copies.iter().eq([&name(0)])));
}

#[test]
fn two_full_backends_change_places_through_a_third() {
    for seed in 0..40 {
        let problem = estate(&[SIZE, SIZE, SIZE], &[(0, &[1]), (1, &[0])], false);
        let (world, summary, _) = run(&problem, &[], seed);
        assert_eq!((summary.copied, summary.retired), (3, 3), "{summary:?}");
        let places: Vec<_> = world.whole.values().flatten().cloned().collect();
        assert_eq!(places, [name(1), name(0)]);
    }
}

/// Where the third place fails, everything stays, and nothing is lost.
#[test]
fn a_third_place_that_fails_leaves_all_as_it_was() {
    let problem = estate(&[SIZE, SIZE, SIZE], &[(0, &[1]), (1, &[0])], false);
    let (world, summary, _) = run(&problem, &[2], 1);
    assert_eq!((summary.copied, summary.retired), (0, 0), "{summary:?}");
    let places: Vec<_> = world.whole.values().flatten().cloned().collect();
    assert_eq!(places, [name(0), name(1)]);
}
