//! Tiers, included storage and base fees: what they add is in the objective, in its bound and in what is chosen.

use domicile_placement::{Problem, check, invariants, objective, propose_with_solution, solve, solve_at_scale};
use proptest::prelude::*;

use crate::properties::{assert_best, cases};
use crate::scale::{fallbacks, missing, some};
use crate::world::{Dice, carried_out, put_tariffs, tariffed};

/// The method for large estates, held against the exact one.
fn hold_large_against_small(problem: &Problem, seed: u64) -> Result<(), TestCaseError> {
    let (large, small) = (solve_at_scale(problem), solve(problem, None));
    let (by_large, by_small) = (missing(problem, &large), missing(problem, &small));
    prop_assert!(by_large >= by_small, "seed {seed}: it satisfies more than the exact method");
    prop_assert!(invariants::pl_5(problem, &large), "seed {seed}: PL-5");
    prop_assert_eq!(&large, &solve_at_scale(problem), "seed {}: another answer", seed);
    if by_large == by_small && fallbacks(problem, &large) == fallbacks(problem, &small) {
        let rounding = 1e-9 * small.objective.per_month.abs();
        prop_assert!(
            large.lower_bound <= small.objective.per_month + rounding,
            "seed {seed}: the bound {} is above {}", large.lower_bound, small.objective.per_month
        );
        prop_assert!(
            small.lower_bound <= large.objective.per_month + rounding,
            "seed {seed}: {} is below the exact bound {}", large.objective.per_month, small.lower_bound
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..cases() })]

    #[test]
    fn large_estates_with_tariffs_keep_every_rule_and_their_bound(seed in any::<u64>(), odd in any::<bool>()) {
        let mut problem = some(seed, odd);
        put_tariffs(&mut Dice::new(seed), &mut problem);
        hold_large_against_small(&problem, seed)?;
    }

    #[test]
    fn the_bound_of_the_method_for_large_estates_is_never_above_the_optimum(seed in any::<u64>()) {
        hold_large_against_small(&tariffed(seed), seed)?;
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn small_estates_with_tariffs_are_placed_optimally(seed in any::<u64>()) {
        let problem = tariffed(seed);
        let solution = solve(&problem, None);
        prop_assert_eq!(check(&problem, &solution).err(), None);
        assert_best(&problem, &solution);
    }

    #[test]
    fn plans_with_tariffs_keep_the_invariants_and_come_to_rest(seed in any::<u64>()) {
        let mut problem = tariffed(seed);
        let mut last: Option<(Vec<_>, f64)> = None;
        for round in 0..8 {
            let (solution, plan) = propose_with_solution(&problem);
            prop_assert_eq!(&propose_with_solution(&problem).0, &solution, "planned twice");
            prop_assert!(invariants::pl_2(&problem, &solution, &plan), "PL-2");
            prop_assert!(invariants::pl_4(&problem, &solution), "PL-4");
            prop_assert!(invariants::pl_5(&problem, &solution), "PL-5");
            prop_assert_eq!(objective(&problem, &solution.sets), solution.objective);
            if plan.moves.is_empty() {
                return Ok(());
            }
            prop_assert!(round < 7, "no rest");
            let missing = check(&problem, &solution).unwrap().missing;
            if let Some((before, most)) = &last && *before == missing {
                prop_assert!(solution.objective.per_month <= most * (1.0 + 1e-9), "{most} was reached before");
            }
            let now = carried_out(&problem, &plan);
            last = Some((missing, objective(&now, &solution.sets).per_month));
            problem = now;
        }
    }
}
