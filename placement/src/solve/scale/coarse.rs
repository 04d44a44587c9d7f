//! A small program in place of a large one, for prices to begin with: whole classes as one lot each, and some of them for
//! many.

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

/// A small program in place of a stock, of about so many classes: its lots, and what they bill.
///
/// Half of them are the largest. Of the others every so many stands for those around it: of the same shape, and with as
/// many copies already, for what is there decides what is cheap.
pub(crate) fn lots(stock: &Stock, classes: usize) -> (Vec<Lot>, Vec<u64>) {
    let mut heaps = heaps(stock);
    heaps.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.class.cmp(&b.class)));
    let others = heaps.split_off(heaps.len().min(classes / 2));
    let mut small = Small::default();
    heaps.iter().for_each(|heap| small.push(heap, 1.0));
    let every = others.len() / (classes - classes / 2).max(1) + 1;
    let mut strata: BTreeMap<(u32, usize), Vec<Heap>> = BTreeMap::new();
    for heap in others {
        let class = &stock.catalog.classes[heap.class as usize];
        strata
            .entry((class.shape, class.current.len()))
            .or_default()
            .push(heap);
    }
    for stratum in strata.values() {
        let taken = || stratum.iter().skip(every.min(stratum.len()) / 2).step_by(every);
        let sum = |bytes: u128, heap: &Heap| bytes + heap.bytes;
        let (all, own) = (stratum.iter().fold(0, sum), taken().fold(0, sum));
        let factor = if own > 0 { all as f64 / own as f64 } else { 1.0 };
        taken().for_each(|heap| small.push(heap, factor));
    }
    (small.lots, small.billable)
}

#[derive(Default)]
struct Small {
    lots: Vec<Lot>,
    billable: Vec<u64>,
}

impl Small {
    fn push(&mut self, heap: &Heap, factor: f64) {
        let scaled = |amount: u128| (amount as f64 * factor).round() as u64;
        self.lots.push(Lot {
            dataset: 0,
            class: heap.class,
            bytes: scaled(heap.bytes),
            objects: scaled(heap.objects),
            is_pile: true,
        });
        self.billable
            .extend(heap.billable.iter().map(|amount| scaled(*amount)));
    }
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
