//! Owners who want more than can be under way at once: what is under way follows their weights, and nobody starves.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

use std::collections::{BTreeMap, VecDeque};

use domicile_movers::Shares;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What each owner still has to move, in pieces, and his weight.
struct Owner {
    weight: u32,
    pieces: VecDeque<u64>,
    moved: u64,
    /// How often others had a turn since he last had one while he waited with nothing under way.
    passed_over: usize,
}

/// Places at once, each of which moves a MiB in a moment.
struct Run {
    owners: BTreeMap<usize, Owner>,
    shares: Shares<usize>,
    /// Who has it, what is left of the piece, and the piece.
    places: Vec<Option<(usize, u64, u64)>>,
}

impl Run {
    fn new(places: usize, owners: &[(u32, Vec<u64>)]) -> Self {
        let owner = |(weight, pieces): &(u32, Vec<u64>)| Owner {
            weight: *weight,
            pieces: pieces.iter().copied().collect(),
            moved: 0,
            passed_over: 0,
        };
        Self {
            owners: owners.iter().map(owner).enumerate().collect(),
            shares: Shares::new(),
            places: vec![None; places],
        }
    }

    fn under_way(&self, owner: usize) -> u64 {
        let of_owner = self.places.iter().flatten().filter(|(of, ..)| *of == owner);
        of_owner.map(|(.., piece)| piece).sum()
    }

    fn fill(&mut self) {
        for at in 0..self.places.len() {
            if self.places[at].is_some() {
                continue;
            }
            let waiting = self.owners.iter().filter(|(_, owner)| !owner.pieces.is_empty());
            let Some(turn) = self
                .shares
                .turn(waiting.map(|(name, owner)| (name, owner.weight)))
                .copied()
            else {
                return;
            };
            for name in 0..self.owners.len() {
                let idle = self.under_way(name) == 0;
                let owner = self.owners.get_mut(&name).expect("an owner");
                if name == turn || !idle || owner.pieces.is_empty() {
                    owner.passed_over = 0;
                } else {
                    owner.passed_over += 1;
                }
            }
            let owner = self.owners.get_mut(&turn).expect("an owner");
            let piece = owner.pieces.pop_front().expect("a piece");
            self.shares.begin(&turn, owner.weight, piece);
            self.places[at] = Some((turn, piece, piece));
        }
    }

    fn moment(&mut self) {
        self.fill();
        for place in &mut self.places {
            let Some((owner, left, piece)) = place else {
                continue;
            };
            let step = MIB.min(*left);
            self.owners.get_mut(owner).expect("an owner").moved += step;
            *left -= step;
            if *left == 0 {
                self.shares.end(owner, *piece);
                *place = None;
            }
        }
    }

    fn all_wait(&self) -> bool {
        self.owners.values().all(|owner| !owner.pieces.is_empty())
    }
}

/// How many of all places an owner has at least and at most beside another one, where what both have under way differs by
/// one piece a weight: of 14 places, one sixth is 2 or 3.
fn places_for(own: u32, other: u32, places: usize) -> (f64, f64) {
    let (own, other, places) = (f64::from(own), f64::from(other), places as f64);
    let with = |pieces: f64| (places / other + pieces) / (1.0 / own + 1.0 / other);
    (with(-1.0), with(1.0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    /// One dataset of 1 TiB of one owner, twenty of 1 GiB of another, in consignments of 256 MiB.
    #[test]
    fn a_large_dataset_holds_up_no_small_ones(
        large in 1u32..6, small in 1u32..6, places in 12usize..40, large_first in any::<bool>()
    ) {
        let piece = 256 * MIB;
        let (many, few) = ((large, vec![piece; 4096]), (small, vec![piece; 80]));
        let (at, owners) = if large_first { (1, [many, few]) } else { (0, [few, many]) };
        let mut run = Run::new(places, &owners);
        loop {
            run.fill();
            if !run.all_wait() {
                break;
            }
            // By the piece, which cannot be divided, what is under way follows the weights.
            let per_weight = |owner: usize| run.under_way(owner) as f64 / f64::from(run.owners[&owner].weight);
            let unfair = (per_weight(0) - per_weight(1)).abs();
            prop_assert!(unfair <= piece as f64, "{} and {} a weight", per_weight(0), per_weight(1));
            run.moment();
        }
        // So the twenty are moved when the large one has had its share meanwhile, and no more.
        let (few, many) = (run.owners[&at].moved as f64, run.owners[&(1 - at)].moved as f64);
        let (least, most) = places_for(small, large, places);
        let as_many = |own: f64| own / (places as f64 - own);
        prop_assert!(few / many >= as_many(least) * 0.98, "{few} and {many} for {small} and {large}");
        prop_assert!(few / many <= as_many(most) * 1.02, "{few} and {many} for {small} and {large}");
        prop_assert!(few + (run.under_way(at) as f64) >= 20.0 * GIB as f64);
    }

    #[test]
    fn nobody_starves_whatever_pieces_others_have(
        owners in proptest::collection::vec((1u32..20, proptest::collection::vec(1u64..64, 1..40)), 2..12),
        places in 1usize..8,
    ) {
        let owners: Vec<(u32, Vec<u64>)> = owners.into_iter()
            .map(|(weight, pieces)| (weight, pieces.into_iter().map(|mib| mib * MIB).collect()))
            .collect();
        let mut run = Run::new(places, &owners);
        let all: usize = owners.iter().map(|(_, pieces)| pieces.len()).sum();
        // While he waits with nothing under way, each other may have turns for at most the largest piece at his own weight
        // more than he: 64 of 1 MiB and 20 times the weight.
        let bound = 64 * 20 * owners.len();
        let mut moments = 0;
        while run.owners.values().any(|owner| !owner.pieces.is_empty()) || run.places.iter().any(Option::is_some) {
            run.moment();
            moments += 1;
            prop_assert!(run.owners.values().all(|owner| owner.passed_over <= bound));
            prop_assert!(moments <= all * 64, "it ends");
        }
    }
}
