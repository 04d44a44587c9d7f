//! Tiers, included storage and base fees: what they add is in the objective, in its bound and in what is chosen.

use std::sync::Arc;

use domicile_estate::{ByteCount, CopyState, DatasetName, Price, PriceTier};
use domicile_placement::{
    Problem, Violated, check, explain, invariants, objective, propose_with_solution, solve, solve_at_scale,
};
use proptest::prelude::*;

use crate::formulas::{held, place, problem};
use crate::properties::{assert_best, cases};
use crate::scale::{fallbacks, missing, some};
use crate::world::{Dice, GIB, Shape, carried_out, put_tariffs, shaped, tariffed};

/// The method for large estates, held against the exact one.
fn hold_large_against_small(problem: &Problem, seed: u64) -> Result<(), TestCaseError> {
    let (large, small) = (solve_at_scale(problem), solve(problem, None));
    let (by_large, by_small) = (missing(problem, &large), missing(problem, &small));
    prop_assert!(
        by_large >= by_small,
        "seed {seed}: it satisfies more than the exact method"
    );
    prop_assert!(invariants::pl_5(problem, &large), "seed {seed}: PL-5");
    prop_assert_eq!(&large, &solve_at_scale(problem), "seed {}: another answer", seed);
    if by_large == by_small && fallbacks(problem, &large) == fallbacks(problem, &small) {
        let rounding = 1e-9 * small.objective.per_month.abs();
        prop_assert!(
            large.lower_bound <= small.objective.per_month + rounding,
            "seed {seed}: the bound {} is above {}",
            large.lower_bound,
            small.objective.per_month
        );
        prop_assert!(
            small.lower_bound <= large.objective.per_month + rounding,
            "seed {seed}: {} is below the exact bound {}",
            large.objective.per_month,
            small.lower_bound
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
        plans_come_to_rest(seed)?;
    }
}

/// A copy that was kept where it may not be, for want of better, is moved when room has become free, whatever that costs.
#[test]
fn a_plan_may_cost_more_than_the_last_one_where_less_is_kept_for_want_of_better() {
    plans_come_to_rest(2162015082981616637).unwrap();
}

fn plans_come_to_rest(seed: u64) -> Result<(), TestCaseError> {
    let mut problem = tariffed(seed);
    let mut last: Option<(_, f64)> = None;
    for round in 0..8 {
        let (solution, plan) = propose_with_solution(&problem);
        prop_assert_eq!(&propose_with_solution(&problem).0, &solution, "planned twice");
        prop_assert!(invariants::pl_2(&problem, &solution, &plan), "PL-2");
        prop_assert!(invariants::pl_4(&problem, &solution), "PL-4");
        prop_assert!(invariants::pl_5(&problem, &solution), "PL-5");
        prop_assert_eq!(objective(&problem, &solution.sets), solution.objective);
        if plan.moves.is_empty() {
            break;
        }
        prop_assert!(round < 7, "no rest");
        let lacks = (
            check(&problem, &solution).unwrap().missing,
            fallbacks(&problem, &solution),
        );
        if let Some((before, most)) = &last
            && *before == lacks
        {
            let now = solution.objective.per_month;
            prop_assert!(
                now <= most * (1.0 + 1e-9),
                "seed {seed}: {most} was reached before {now}"
            );
        }
        let now = carried_out(&problem, &plan);
        last = Some((lacks, objective(&now, &solution.sets).per_month));
        problem = now;
    }
    Ok(())
}

/// So many datasets of ten objects of 1 GiB on the first of four backends `a` to `d` at these prices; each is to have two
/// copies. Nothing is emitted, and transfers are free.
fn estate(datasets: usize, prices: [Price; 4]) -> Problem {
    let mut estate = problem();
    let names = ["a", "b", "c", "d"];
    estate.backends = names.into_iter().map(|name| place(name, 0.0)).collect();
    for (place, price) in estate.backends.iter_mut().zip(prices) {
        place.price = price;
        place.energy.grid_grams_per_kwh = 0.0;
        place.capacity = ByteCount(1000 * GIB);
    }
    let subject = estate.datasets[0].clone();
    estate.datasets = (0..datasets)
        .map(|index| {
            let mut subject = subject.clone();
            subject.name = DatasetName::new(&format!("d{index}")).unwrap();
            subject.copies = vec![held(0, true, CopyState::Listed)];
            subject
        })
        .collect();
    estate
}

fn list(storage: f64) -> Price {
    Price {
        storage_per_gib_month: storage,
        ..Price::default()
    }
}

fn tier(above: u64, storage: f64) -> PriceTier {
    PriceTier {
        above: ByteCount(above * GIB),
        storage_per_gib_month: storage,
    }
}

/// How many datasets lie on each backend, and the plan's cost.
fn counts(estate: &Problem) -> ([usize; 4], f64) {
    let solution = solve(estate, None);
    assert_eq!(check(estate, &solution).err(), None);
    let cost = solution.objective.per_month;
    assert!(
        (cost - solution.lower_bound).abs() <= 1e-9 * cost,
        "{} is proven",
        solution.lower_bound
    );
    let large = solve_at_scale(estate);
    assert_eq!(check(estate, &large).err(), None);
    assert!(large.lower_bound <= cost * (1.0 + 1e-9));
    assert!(
        (large.objective.per_month - cost).abs() <= 1e-6 * cost,
        "{} at scale",
        large.objective.per_month
    );
    let on = |backend| solution.sets.iter().filter(|set| set.contains(&backend)).count();
    ([0, 1, 2, 3].map(on), cost)
}

#[track_caller]
fn close(left: f64, right: f64) {
    assert!(
        (left - right).abs() <= 1e-9 * right.abs(),
        "{left} is not {right}"
    );
}

#[test]
fn a_base_fee_keeps_a_backend_closed_that_is_not_worth_opening() {
    // A GiB costs 0.1 on `b` and 0.2 on `c`, but `b` has a base fee of 5. Three datasets of 10 GiB would save 3 there.
    let with_fee = Price {
        base_fee_per_month: 5.0,
        ..list(0.1)
    };
    let prices = [list(0.5), with_fee, list(0.2), list(0.3)];
    let (on, cost) = counts(&estate(3, prices.clone()));
    assert_eq!(on, [3, 0, 3, 0]);
    close(cost, 3.0 * (5.0 + 2.0));
    // Six save 6, which is more than the fee.
    let (on, cost) = counts(&estate(6, prices));
    assert_eq!(on, [6, 6, 0, 0]);
    close(cost, 6.0 * (5.0 + 1.0) + 5.0);
}

#[test]
fn a_discount_for_much_makes_concentrating_right() {
    // `b` is dearer than `c` up to 20 GiB, and much cheaper above: 20 x 0.3 + 30 x 0.05 = 7.5, against 50 x 0.2 = 10.
    let discounted = Price {
        tiers: vec![tier(20, 0.05)],
        ..list(0.3)
    };
    let prices = [list(0.5), discounted, list(0.2), list(0.4)];
    let (on, cost) = counts(&estate(5, prices.clone()));
    assert_eq!(on, [5, 5, 0, 0]);
    close(cost, 5.0 * 5.0 + 7.5);
    // With two datasets there is nothing to concentrate.
    let (on, cost) = counts(&estate(2, prices));
    assert_eq!(on, [2, 0, 2, 0]);
    close(cost, 2.0 * (5.0 + 2.0));
}

#[test]
fn included_storage_is_filled_first_on_every_backend() {
    // 20 GiB are free on `b` and 30 on `c`, which are dearer than `d` above that: 2 + 3 datasets go there, the rest to `d`.
    let included = |gib, storage| Price {
        included_storage: ByteCount(gib * GIB),
        ..list(storage)
    };
    let prices = [list(0.5), included(20, 0.4), included(30, 0.35), list(0.3)];
    let (on, cost) = counts(&estate(7, prices));
    assert_eq!(on, [7, 2, 3, 2]);
    close(cost, 7.0 * 5.0 + 2.0 * 3.0);
}

#[test]
fn emptying_a_backend_saves_its_fee() {
    // Two datasets have a second copy on `b`, which with its fee of 9 is dearer than `c` for both together, though neither
    // would gain by leaving alone.
    let with_fee = Price {
        base_fee_per_month: 9.0,
        ..list(0.1)
    };
    let mut estate = estate(2, [list(0.5), with_fee, list(0.4), list(0.9)]);
    for subject in &mut estate.datasets {
        subject.copies.push(held(1, false, CopyState::Verified));
    }
    let (on, cost) = counts(&estate);
    assert_eq!(on, [2, 0, 2, 0]);
    close(cost, 2.0 * (5.0 + 4.0));
}

#[test]
fn the_charges_of_a_plan_add_up() {
    // On `b`: a fee of 2 for the first 5 GiB, up to 25 GiB for 0.1, above for 0.05: 2 + 20 x 0.1 + 25 x 0.05 = 5.25.
    let tariff = Price {
        base_fee_per_month: 2.0,
        included_storage: ByteCount(5 * GIB),
        tiers: vec![tier(25, 0.05)],
        ..list(0.1)
    };
    let estate = estate(5, [list(0.5), tariff, list(0.9), list(0.9)]);
    let (solution, plan) = propose_with_solution(&estate);
    let objective = solution.objective;
    close(objective.storage, 25.0 + 5.25);
    close(objective.tariffs, 5.25 - 5.0);
    close(objective.per_month, 30.25);
    let [charge] = plan.tariffs.as_slice() else {
        panic!("one backend has a tariff: {:?}", plan.tariffs)
    };
    assert_eq!((charge.backend, charge.billed), (1, u128::from(50 * GIB)));
    close(charge.at_list, 5.0);
    close(charge.more, 0.25);
    close(charge.next_gib, 0.05);
    let document: serde_json::Value =
        serde_json::from_str(&serde_json::to_string(&plan.to_wire(&estate, &solution, 1)).unwrap()).unwrap();
    close(document["objective"]["storagePerMonth"].as_f64().unwrap(), 30.25);
    close(document["objective"]["tariffsPerMonth"].as_f64().unwrap(), 0.25);
    let told = &document["tariffs"][0];
    assert_eq!(told["backend"], "b");
    assert_eq!(told["billableBytes"], 50 * GIB);
    close(told["perMonth"].as_f64().unwrap(), 5.25);
    // One dataset fewer on `b` saves 10 x 0.05 there, which is 0.5 less than its list price.
    let explanation = explain(&estate, &solution, 0);
    close(explanation.candidates[1].tariff_more, 0.5 - 1.0);
    assert_eq!(explanation.candidates[2].tariff_more, 0.0);
    close(explanation.runner_up.unwrap().cost_more, 9.0 - 0.5);
}

#[test]
fn a_wrong_charge_is_noticed() {
    let tariff = Price {
        base_fee_per_month: 2.0,
        ..list(0.1)
    };
    let estate = estate(2, [list(0.5), tariff, list(0.9), list(0.9)]);
    let mut wrong = solve(&estate, None);
    wrong.objective.tariffs -= 1.0;
    wrong.objective.storage -= 1.0;
    wrong.objective.per_month -= 1.0;
    wrong.lower_bound -= 1.0;
    let violated = check(&estate, &wrong).unwrap_err();
    let restated = |violated: &Violated| matches!(violated, Violated::WrongObjective { recomputed, .. } if (recomputed - 14.0).abs() < 1e-9);
    assert!(violated.iter().any(restated), "{violated:?}");
}

#[test]
fn where_no_choice_changes_a_tariff_it_is_paid_and_the_way_is_the_usual() {
    let free = |fee| Price {
        base_fee_per_month: fee,
        ..list(0.5)
    };
    let mut estate = estate(3, [free(4.0), list(0.1), list(0.2), list(0.3)]);
    let mut plain = estate.clone();
    plain.backends[0].price = free(0.0);
    let plain = solve(&plain, None);
    let charged = solve(&estate, None);
    assert_eq!(plain.sets, charged.sets);
    close(charged.objective.per_month, plain.objective.per_month + 4.0);
    close(charged.lower_bound, plain.lower_bound + 4.0);
    // No requirement reaches the third dataset: its copies cost what they cost, and fill the lower tiers.
    let profile = Arc::make_mut(&mut estate.datasets[2].profile);
    profile.requirements.clear();
    estate.backends[0].price.tiers = vec![tier(10, 0.25)];
    let (on, cost) = counts(&estate);
    assert_eq!(on, [3, 2, 0, 0]);
    close(cost, 4.0 + 10.0 * 0.5 + 20.0 * 0.25 + 2.0);
}

#[test]
fn estates_of_up_to_two_hundred_pairs_are_proven() {
    for (seed, (datasets, backends)) in (0u64..).zip([(20, 10), (25, 8), (40, 5), (10, 20), (50, 4), (33, 6)])
    {
        let mut dice = Dice::new(seed);
        let shape = Shape {
            backends,
            datasets,
            policies: 2,
            spare: 1.0,
            odd: false,
        };
        let mut problem = shaped(&mut dice, shape);
        put_tariffs(&mut dice, &mut problem);
        let solution = solve(&problem, None);
        assert_eq!(check(&problem, &solution).err(), None);
        assert!(
            solution.gap() <= 1e-9,
            "{datasets} x {backends}: a gap of {}",
            solution.gap()
        );
    }
}
