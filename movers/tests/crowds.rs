//! Stores that answer well up to some number of requests at once: the crowd finds that number, and finds it again.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use domicile_movers::Crowd;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000;

/// A store that works at `knee` requests at once; the others wait. Asked by somebody who always wants more.
struct Store {
    knee: usize,
    takes_us: u64,
    /// How much a request may take longer or less, in hundredths.
    jitter: u64,
    bytes: u64,
    chance: u64,
    now_us: u64,
    begun: BinaryHeap<Reverse<u64>>,
    waiting: usize,
}

impl Store {
    fn new(knee: usize, takes_us: u64, jitter: u64, bytes: u64, seed: u64) -> Self {
        Self {
            knee,
            takes_us,
            jitter,
            bytes,
            chance: seed | 1,
            now_us: 0,
            begun: BinaryHeap::new(),
            waiting: 0,
        }
    }

    fn draw(&mut self) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance
    }

    fn work(&mut self) {
        while self.begun.len() < self.knee && self.waiting > 0 {
            self.waiting -= 1;
            let spread = 2 * self.jitter + 1;
            let percent = 100 - self.jitter + self.draw() % spread;
            let ends = self.now_us + self.takes_us * percent / 100;
            self.begun.push(Reverse(ends));
        }
    }

    /// Goes on until this many answers, never asking more at once than is allowed and `wanted`.
    fn answer(&mut self, crowd: &mut Crowd, answers: usize, wanted: usize) {
        for _ in 0..answers {
            let most = crowd.allowed().min(wanted);
            while self.begun.len() + self.waiting < most {
                self.waiting += 1;
                self.work();
            }
            let under_way = self.begun.len() + self.waiting;
            let Some(Reverse(ended)) = self.begun.pop() else {
                return;
            };
            self.now_us = ended;
            self.work();
            crowd.answered(self.now_us, under_way, self.bytes);
        }
    }
}

/// What is allowed most of the time once it has settled: now and then something else is tried.
fn settled(store: &mut Store, crowd: &mut Crowd) -> usize {
    let rounds = usize::try_from(SECOND / (store.takes_us * 10)).unwrap_or(0);
    store.answer(crowd, 20_000 + 400 * rounds, 1000);
    let looks = (0..201).map(|_| {
        store.answer(crowd, 100 + rounds, 1000);
        crowd.allowed()
    });
    let mut allowed: Vec<usize> = looks.collect();
    allowed.sort_unstable();
    allowed[allowed.len() / 2]
}

/// Within a third of the knee, and one more for numbers that are small.
fn is_near(allowed: usize, knee: usize) -> bool {
    let third = (knee as f64 / 3.0).max(1.0);
    (allowed as f64 - knee as f64).abs() <= third
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_knee_is_found_and_found_again_after_storms_and_changes(
        knee in 1usize..110,
        other in 1usize..110,
        takes_us in 500u64..200_000,
        jitter in 0u64..20,
        bytes in prop_oneof![Just(0u64), Just(8 << 20)],
        seed in any::<u64>(),
    ) {
        let mut crowd = Crowd::default();
        let mut store = Store::new(knee, takes_us, jitter, bytes, seed);
        let found = settled(&mut store, &mut crowd);
        prop_assert!(is_near(found, knee), "{found} for {knee}");
        // A storm: one refusal halves, many together are one.
        let before = crowd.allowed();
        store.now_us += 10 * SECOND;
        (0..20).for_each(|at| crowd.overburdened(store.now_us + at * 1000));
        prop_assert_eq!(crowd.allowed(), (before / 2).max(1));
        let found = settled(&mut store, &mut crowd);
        prop_assert!(is_near(found, knee), "{found} for {knee} after a storm");
        // The store gets better or worse.
        store.knee = other;
        let found = settled(&mut store, &mut crowd);
        prop_assert!(is_near(found, other), "{found} for {other}, before {knee}");
    }

    #[test]
    fn what_is_not_used_changes_nothing(wanted in 1usize..20, seed in any::<u64>()) {
        let mut crowd = Crowd::default();
        let mut store = Store::new(4, 1000, 10, 0, seed);
        store.answer(&mut crowd, 20_000, wanted);
        prop_assert_eq!(crowd.allowed(), 32);
    }
}

#[test]
fn a_storm_that_goes_on_leaves_one_at_once() {
    let mut crowd = Crowd::default();
    assert_eq!(crowd.allowed(), 32);
    (0..40).for_each(|at| crowd.overburdened(at * 1000));
    assert_eq!(crowd.allowed(), 16, "one storm is one refusal");
    (1..9).for_each(|second| crowd.overburdened(second * SECOND));
    assert_eq!(crowd.allowed(), 1);
}

#[test]
fn a_store_that_never_minds_is_asked_as_much_as_ever() {
    let mut crowd = Crowd::default();
    Store::new(10_000, 5_000, 10, 0, 7).answer(&mut crowd, 100_000, 10_000);
    assert!(crowd.allowed() > 100, "{}", crowd.allowed());
}
