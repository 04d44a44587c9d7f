//! Estates that are too large for an oracle: the gap is the proof.

use domicile_placement::{check, objective, propose_with_solution, solve};

use crate::routes::connect;
use crate::world::{Dice, Shape, shaped};

#[test]
fn a_tight_estate_of_500_datasets_and_20_backends_has_a_small_gap() {
    let mut dice = Dice::new(7);
    let shape = Shape {
        backends: 20,
        datasets: 500,
        policies: 3,
        spare: 0.12,
        odd: false,
    };
    let problem = shaped(&mut dice, shape);
    let solution = solve(&problem, None);
    assert_eq!(check(&problem, &solution).err(), None);
    let tight = solution
        .shadow_prices
        .iter()
        .filter(|price| **price > 0.0)
        .count();
    assert!(tight > 2, "nothing is tight, so that the test shows nothing");
    assert!(solution.gap() < 0.01, "the gap is {}", solution.gap());
}

#[test]
fn twenty_five_datasets_on_eight_backends_come_out_exactly() {
    for seed in 0..12 {
        let mut dice = Dice::new(seed);
        let shape = Shape {
            backends: 8,
            datasets: 25,
            policies: 3,
            spare: 0.2,
            odd: false,
        };
        let problem = shaped(&mut dice, shape);
        let solution = solve(&problem, None);
        assert_eq!(check(&problem, &solution).err(), None);
        assert!(
            solution.gap() < 1e-6,
            "seed {seed}: the gap is {}",
            solution.gap()
        );
    }
}

/// Links make some ways dear and forbid others: no copy goes where none leads, and each costs what the formulas say, or
/// `propose` panics.
#[test]
fn a_large_estate_with_links_is_placed_by_the_formulas() {
    for seed in 0..6 {
        let mut dice = Dice::new(seed);
        let shape = Shape {
            backends: 12,
            datasets: 400,
            policies: 3,
            spare: 0.3,
            odd: false,
        };
        let mut problem = shaped(&mut dice, shape);
        connect(&mut problem, seed);
        let (solution, plan) = propose_with_solution(&problem);
        assert!(plan.moves.len() > 50, "seed {seed}: hardly anything moves");
        let formulas = objective(&problem, &solution.sets).per_month;
        let stated = solution.objective.per_month;
        assert!((stated - formulas).abs() <= 1e-9 * formulas, "seed {seed}");
    }
}
