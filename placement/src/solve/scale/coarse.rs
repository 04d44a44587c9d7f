//! A small program in place of a large one, for prices to begin with: the largest classes as one lot each, which stand
//! for the others of their shape too.

use std::collections::BTreeMap;

use super::catalog::Lot;
use super::stock::Stock;

/// What the lots of one class add up to.
struct Heap {
    class: u32,
    bytes: u128,
    objects: u128,
    billable: Vec<u128>,
}

/// A small program in place of a stock, of the largest `classes`: its lots, and what they bill.
pub(crate) fn lots(stock: &Stock, classes: usize) -> (Vec<Lot>, Vec<u64>) {
    let mut heaps = heaps(stock);
    heaps.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.class.cmp(&b.class)));
    let shape = |heap: &Heap| stock.catalog.classes[heap.class as usize].shape;
    let mut all: BTreeMap<u32, f64> = BTreeMap::new();
    let mut taken: BTreeMap<u32, f64> = BTreeMap::new();
    for (place, heap) in heaps.iter().enumerate() {
        *all.entry(shape(heap)).or_default() += heap.bytes as f64;
        if place < classes {
            *taken.entry(shape(heap)).or_default() += heap.bytes as f64;
        }
    }
    // What no lot of its own shape stands for is shared by all.
    let left: f64 = all
        .iter()
        .filter(|(shape, _)| !taken.contains_key(shape))
        .map(|(_, bytes)| bytes)
        .sum();
    let total: f64 = all.values().sum();
    let common = if total > left { total / (total - left) } else { 1.0 };
    heaps.truncate(classes);
    let mut lots = Vec::new();
    let mut billable = Vec::new();
    for heap in &heaps {
        let (of_shape, own) = (all[&shape(heap)], taken[&shape(heap)]);
        let factor = if own > 0.0 {
            common * of_shape / own
        } else {
            common
        };
        let scaled = |amount: u128| (amount as f64 * factor).round() as u64;
        lots.push(Lot {
            dataset: 0,
            class: heap.class,
            bytes: scaled(heap.bytes),
            objects: scaled(heap.objects),
            is_pile: true,
        });
        billable.extend(heap.billable.iter().map(|amount| scaled(*amount)));
    }
    (lots, billable)
}

fn heaps(stock: &Stock) -> Vec<Heap> {
    let minimums = stock.catalog.minimums.len();
    let mut heaps: Vec<Heap> = Vec::new();
    for (position, lot) in stock.lots.iter().enumerate() {
        if heaps.last().is_none_or(|heap| heap.class != lot.class) {
            heaps.push(Heap {
                class: lot.class,
                bytes: 0,
                objects: 0,
                billable: vec![0; minimums],
            });
        }
        let Some(heap) = heaps.last_mut() else { continue };
        heap.bytes += u128::from(lot.bytes);
        heap.objects += u128::from(lot.objects);
        let billed = &stock.billable[position * minimums..(position + 1) * minimums];
        heap.billable
            .iter_mut()
            .zip(billed)
            .for_each(|(sum, bytes)| *sum += u128::from(*bytes));
    }
    heaps
}
