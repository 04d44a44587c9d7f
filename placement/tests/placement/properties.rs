//! What holds for every small estate. `DOMICILE_CASES` sets how many are tried.

use domicile_placement::{Problem, Solution, check, propose, solve};
use proptest::prelude::*;

use crate::oracle;
use crate::world::{carried_out, world};

fn cases() -> ProptestConfig {
    let cases = option_env!("DOMICILE_CASES")
        .and_then(|text| text.parse().ok())
        .unwrap_or(400);
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
}

fn assert_best(problem: &Problem, solution: &Solution) {
    let best = oracle::best(problem);
    assert_eq!(
        oracle::short_of(problem, &solution.sets),
        best.short,
        "shortfalls"
    );
    let o = &solution.objective;
    assert!(
        near(o.per_month, best.per_month),
        "{} is planned, {} is possible",
        o.per_month,
        best.per_month
    );
    assert!(
        near(o.per_month, o.storage + o.carbon + o.transfer),
        "the parts add up"
    );
    assert!(
        solution.lower_bound <= best.per_month * (1.0 + 1e-9) + 1e-12,
        "the bound is none"
    );
    assert!(
        near(solution.lower_bound, best.per_month),
        "the bound {} proves {}",
        solution.lower_bound,
        best.per_month
    );
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn small_estates_are_placed_optimally(seed in any::<u64>()) {
        let problem = world(seed);
        let solution = solve(&problem, None);
        prop_assert_eq!(check(&problem, &solution).err(), None);
        assert_best(&problem, &solution);
    }

    #[test]
    fn planning_again_gives_the_same_plan(seed in any::<u64>()) {
        let problem = world(seed);
        let wire = |problem: &Problem| serde_json::to_string(&propose(problem).to_wire(1)).unwrap();
        prop_assert_eq!(wire(&problem), wire(&problem.clone()));
    }

    #[test]
    fn a_plan_carried_out_is_improved_strictly_or_not_at_all(seed in any::<u64>()) {
        let mut problem = world(seed);
        for _ in 0..20 {
            let plan = propose(&problem);
            if plan.moves.is_empty() {
                return Ok(());
            }
            problem = carried_out(&problem, &plan);
        }
        prop_assert!(false, "planning does not come to rest");
    }
}
