//! Estates that are too large for an oracle: the gap is the proof.

use domicile_placement::{check, solve};

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
