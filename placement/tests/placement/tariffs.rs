//! Tiers, included storage and base fees: what they add is in the objective, in its bound and in what is chosen.

use domicile_placement::{check, invariants, objective, propose_with_solution, solve};
use proptest::prelude::*;

use crate::properties::{assert_best, cases};
use crate::world::{carried_out, tariffed};

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
