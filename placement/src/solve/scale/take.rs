//! Stock is taken: every dataset that chooses becomes a lot.

use crate::ground::Ground;
use crate::problem::{Problem, Subject};

use super::super::load::Limits;
use super::catalog::{Catalog, Lot};
use super::stock::Stock;

/// The lots of a problem, for the datasets that choose.
pub(crate) fn take_stock(
    problem: &Problem,
    ground: &Ground,
    chooses: impl Fn(usize) -> bool,
    limits: impl FnOnce(&[bool]) -> Limits,
) -> Stock {
    let mut catalog = Catalog::new(problem, ground);
    let mut lots = Vec::with_capacity(problem.datasets.len());
    let mut is_lot = vec![false; problem.datasets.len()];
    for (dataset, subject) in problem
        .datasets
        .iter()
        .enumerate()
        .filter(|(dataset, _)| chooses(*dataset))
    {
        if let Some(class) = catalog.class(problem, ground, subject) {
            lots.push(lot(dataset, class, subject));
            is_lot[dataset] = true;
        }
    }
    lots.sort_unstable_by_key(|lot: &Lot| {
        (lot.class, std::cmp::Reverse(lot.bytes), lot.objects, lot.dataset)
    });
    let priorities = catalog.rank();
    let billable = lots.iter().flat_map(|lot| {
        let summary = &problem.datasets[lot.dataset as usize].summary;
        catalog
            .minimums
            .iter()
            .map(|minimum| summary.billable(*minimum).0)
    });
    let billable = billable.collect();
    let limits = limits(&is_lot);
    let largest = lots.iter().map(|lot| lot.bytes).max().unwrap_or(0);
    let tight = (0u32..)
        .zip(&limits.room)
        .filter(|(_, room)| **room < u128::from(largest));
    Stock {
        tight: tight.map(|(backend, _)| backend).collect(),
        priorities,
        capacities: problem
            .backends
            .iter()
            .map(|place| u128::from(place.capacity.0))
            .collect(),
        catalog,
        lots,
        billable,
        limits,
    }
}

/// A dataset as a lot.
pub(crate) fn lot(dataset: usize, class: u32, subject: &Subject) -> Lot {
    Lot {
        dataset: dataset as u32,
        class,
        bytes: subject.summary.bytes.0,
        objects: subject.summary.objects,
        is_pile: false,
    }
}
