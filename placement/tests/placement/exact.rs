//! Estates of up to 200 pairs of a dataset and a backend are planned exactly. `DOMICILE_ORACLE` sets how many are tried,
//! `DOMICILE_ORACLE_SEED` where they begin.

use domicile_placement::{check, objective, solve};
use proptest::prelude::*;

use crate::oracle;
use crate::reference::{Trial, Verdict};
use crate::small::{Twist, estate, of};
use crate::world::{durable, world};

/// Estates that are tried if nobody asks for another number.
const ESTATES: u64 = 120;
/// Of a hundred estates, how many the reference may leave undecided: it has its own limit of work.
const UNDECIDED: usize = 15;

fn number(text: Option<&str>, otherwise: u64) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn up_to_200_pairs_every_plan_is_proven_and_no_other_is_better() {
    let first = number(option_env!("DOMICILE_ORACLE_SEED"), 0);
    let count = number(option_env!("DOMICILE_ORACLE"), ESTATES);
    let mut undecided = Vec::new();
    for seed in first..first + count {
        let (twist, problem) = estate(seed);
        assert!(problem.datasets.len() * problem.backends.len() <= 200);
        let solution = solve(&problem, None);
        assert_eq!(check(&problem, &solution).err(), None, "seed {seed}, {twist:?}");
        assert!(
            solution.gap() <= 1e-9,
            "seed {seed}, {twist:?}: the gap is {}",
            solution.gap()
        );
        match Trial::of(&problem, &solution).verdict() {
            Verdict::Best => {}
            Verdict::Undecided => undecided.push((seed, twist)),
            Verdict::Beaten(level) => {
                panic!("seed {seed}, {twist:?}: there is a better plan, at level {level}")
            }
        }
    }
    assert!(
        undecided.len() * 100 <= UNDECIDED * count as usize,
        "the reference says nothing of {undecided:?}"
    );
}

/// Estates that a search without covers and without an order of what is alike did not finish.
#[test]
fn estates_that_were_hard_are_planned_exactly() {
    for (seed, twist, size) in [
        (75, Twist::EqualSizes, (25, 8)),
        (225, Twist::EqualSizes, (50, 4)),
        (257, Twist::Links, (25, 8)),
        (555, Twist::EqualSizes, (25, 8)),
        (635, Twist::EqualSizes, (10, 20)),
        (795, Twist::EqualSizes, (25, 8)),
        (1715, Twist::EqualSizes, (10, 20)),
    ] {
        let problem = of(seed, twist, size);
        let solution = solve(&problem, None);
        assert!(
            solution.gap() <= 1e-9,
            "seed {seed}: the gap is {}",
            solution.gap()
        );
        let verdict = Trial::of(&problem, &solution).verdict();
        assert_eq!(verdict, Verdict::Best, "seed {seed}");
    }
}

/// The reference sees where staying is worse than what can be planned.
#[test]
fn the_reference_finds_what_is_better_than_staying() {
    let mut beaten = 0;
    for seed in 0..40 {
        let (_, problem) = estate(seed);
        let best = solve(&problem, None);
        let mut worse = best.clone();
        worse.sets = problem.datasets.iter().map(|subject| subject.now()).collect();
        worse.objective = objective(&problem, &worse.sets);
        worse.lower_bound = worse.lower_bound.min(worse.objective.per_month);
        if check(&problem, &worse).is_err() || worse.sets == best.sets {
            continue;
        }
        beaten += usize::from(matches!(
            Trial::of(&problem, &worse).verdict(),
            Verdict::Beaten(_)
        ));
    }
    assert!(beaten > 3, "only {beaten} plans are seen to be worse");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Where every placement can be looked at, the reference says the same as the oracle that does so.
    #[test]
    fn the_reference_agrees_with_looking_at_every_placement(seed in any::<u64>(), nines in any::<bool>()) {
        let problem = if nines { durable(seed) } else { world(seed) };
        let solution = solve(&problem, None);
        let best = oracle::best(&problem);
        prop_assert_eq!(oracle::short_of(&problem, &solution.sets), best.short);
        prop_assert_eq!(Trial::of(&problem, &solution).verdict(), Verdict::Best, "seed {}", seed);
    }
}
