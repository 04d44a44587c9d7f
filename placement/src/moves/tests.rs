//! The order of very many moves. The large ones are ignored: `cargo test -p domicile-placement --lib million -- --ignored`
//! below `time` says what they take; the one that only makes the estate is to be taken off.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_estate::{BackendName, ByteCount, CopyState, DatasetName, DatasetSummary, Energy, Price};

use super::{Action, Move, moves};
use crate::cost::Objective;
use crate::problem::{Held, Place, Problem, Profile, Requirement, Subject};
use crate::solution::Solution;
use crate::{invariants, problem::Hop};

/// A small generator of numbers, equal for equal seeds.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

fn place(index: usize) -> Place {
    Place {
        name: BackendName::new(&format!("b{index:03}")).unwrap(),
        provider: Some(format!("p{}", index % 7)),
        region: Some(format!("r{}", index % 13)),
        capacity: ByteCount(0),
        price: Price {
            storage_per_gib_month: 1.0,
            egress_per_gib: 0.01 * (index % 9) as f64,
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

/// Datasets that each leave one or two backends at random for one or two others, and an answer to where they go.
/// Backends have `spare_percent` beyond the larger of what they hold now and then.
fn churn(datasets: usize, backends: usize, spare_percent: u64) -> (Problem, Solution) {
    let mut dice = Dice(1);
    let profile = Arc::new(Profile {
        requirements: vec![0],
        policies: vec![],
        ..Profile::default()
    });
    let mut used = vec![(0, 0); backends];
    let (mut subjects, mut sets) = (Vec::new(), Vec::new());
    for index in 0..datasets {
        let bytes = 1 + dice.below(1 << 20) * (1 << dice.below(12));
        let mut pick = |count: u64, not: &[usize]| {
            let mut picked = Vec::new();
            while picked.len() < 1 + count as usize {
                let backend = dice.below(backends as u64) as usize;
                if !picked.contains(&backend) && !not.contains(&backend) {
                    picked.push(backend);
                }
            }
            picked.sort_unstable();
            picked
        };
        let now = pick(index as u64 % 2, &[]);
        let set = pick(index as u64 / 2 % 2, &now);
        now.iter().for_each(|backend| used[*backend].0 += bytes);
        set.iter().for_each(|backend| used[*backend].1 += bytes);
        let held = |backend: &usize| Held {
            backend: *backend,
            origin: false,
            state: CopyState::Verified,
            missing_bytes: ByteCount(0),
            missing_objects: 0,
        };
        subjects.push(Subject {
            name: DatasetName::new(&format!("dataset-{index:07}")).unwrap(),
            summary: DatasetSummary::of_sizes([ByteCount(bytes)].into_iter(), &[]),
            keep_origin: false,
            copies: now.iter().map(held).collect(),
            profile: Arc::clone(&profile),
        });
        sets.push(set);
    }
    let mut problem = Problem {
        backends: (0..backends).map(place).collect(),
        requirements: vec![Requirement {
            policy: 0,
            name: "any".to_owned(),
            copies: 1,
            place: String::new(),
            accepts: vec![true; backends],
            spread: Vec::new(),
            durability: None,
        }],
        datasets: subjects,
        ..Problem::default()
    };
    for (place, (now, then)) in problem.backends.iter_mut().zip(used) {
        place.capacity = ByteCount(now.max(then) + now.max(then) / 100 * spare_percent);
    }
    (problem, solution(sets, backends))
}

fn solution(sets: Vec<Vec<usize>>, backends: usize) -> Solution {
    Solution {
        sets,
        objective: Objective::default(),
        lower_bound: 0.0,
        shadow_prices: vec![0.0; backends],
        shortages: Vec::new(),
        stuck: BTreeMap::new(),
    }
}

fn waits(moves: &[Move]) -> usize {
    moves.iter().map(|planned| planned.after.len()).sum()
}

#[test]
fn thousands_of_moves_through_little_room_are_put_in_order() {
    for spare in [0, 1, 10] {
        let (problem, solution) = churn(4_000, 12, spare);
        let moves = moves(&problem, &solution).unwrap();
        assert!(moves.len() >= 8_000);
        assert!(invariants::pl_3(&problem, &moves), "{spare} % spare");
        // Every copy waits for those whose room it takes, and no more: each wait ends a stretch of room.
        assert!(waits(&moves) <= 6 * moves.len());
        let sorted = |pair: &[Move]| (&pair[0].dataset, pair[0].rank()) < (&pair[1].dataset, pair[1].rank());
        assert!(moves.windows(2).all(sorted));
    }
}

#[test]
#[ignore = "it takes seconds, and is there to be timed"]
fn a_million_datasets_are_made() {
    let (problem, _) = churn(1_000_000, 100, 2);
    assert_eq!(problem.datasets.len(), 1_000_000);
}

#[test]
#[ignore = "it takes seconds, and is there to be timed"]
fn a_million_datasets_with_room_are_moved() {
    let (problem, solution) = churn(1_000_000, 100, 120);
    let moves = moves(&problem, &solution).unwrap();
    assert_eq!(moves.len(), 3_000_000);
}

#[test]
#[ignore = "it takes seconds, and is there to be timed"]
fn a_million_datasets_are_moved() {
    let (problem, solution) = churn(1_000_000, 100, 2);
    let moves = moves(&problem, &solution).unwrap();
    let copies = moves
        .iter()
        .filter(|planned| matches!(planned.action, Action::Copy { .. }));
    assert_eq!((moves.len(), copies.count()), (3_000_000, 1_500_000));
}

#[test]
#[ignore = "it takes seconds, and is there to be timed"]
fn a_million_datasets_with_links_and_relays_are_moved() {
    let (mut problem, solution) = churn(1_000_000, 100, 10);
    let mut dice = Dice(2);
    for _ in 0..500 {
        let hop = Hop {
            forbidden: false,
            price_per_gib: (dice.below(2) == 0).then_some(0.02),
            bandwidth_bits_per_second: Some(1_000_000_000),
            latency_ms: None,
        };
        let pair = (dice.below(100) as usize, dice.below(100) as usize);
        problem.links.insert(pair, hop);
    }
    problem
        .backends
        .iter_mut()
        .step_by(20)
        .for_each(|place| place.relays = true);
    let moves = moves(&problem, &solution).unwrap();
    assert!(moves.len() >= 3_000_000);
}
