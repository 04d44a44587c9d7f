//! A small program in place of a large one, for prices to begin with: whole classes as one lot each, and some of them for
//! many.

use std::collections::BTreeMap;

use super::catalog::Lot;
use super::stock::Stock;

/// What the lots of one class add up to.
#[derive(Clone, Copy)]
struct Heap {
    class: u32,
    /// Its first lot, and the first one behind it.
    start: u32,
    end: u32,
    bytes: u128,
}

/// A small program in place of a stock, of about so many classes: its lots, and what they bill.
///
/// Half of them are the largest. Of the others every so many stands for those around it: of the same shape, and with as
/// many copies already, for what is there decides what is cheap.
pub(crate) fn lots(stock: &Stock, classes: usize) -> (Vec<Lot>, Vec<u64>) {
    let mut heaps = heaps(stock);
    heaps.sort_unstable_by(|a, b| b.bytes.cmp(&a.bytes).then(a.class.cmp(&b.class)));
    let others = heaps.split_off(heaps.len().min(classes / 2));
    let mut small = Small::default();
    heaps.iter().for_each(|heap| small.push(stock, heap, 1.0));
    let every = others.len() / (classes - classes / 2).max(1) + 1;
    let mut strata: BTreeMap<(usize, usize), Vec<Heap>> = BTreeMap::new();
    for heap in others {
        let class = stock.catalog.classes.get(heap.class as usize);
        strata
            .entry((class.shape(), class.current().len()))
            .or_default()
            .push(heap);
    }
    for stratum in strata.values() {
        let taken = || stratum.iter().skip(every.min(stratum.len()) / 2).step_by(every);
        let sum = |bytes: u128, heap: &Heap| bytes + heap.bytes;
        let (all, own) = (stratum.iter().fold(0, sum), taken().fold(0, sum));
        let factor = if own > 0 { all as f64 / own as f64 } else { 1.0 };
        taken().for_each(|heap| small.push(stock, heap, factor));
    }
    (small.lots, small.billable)
}

#[derive(Default)]
struct Small {
    lots: Vec<Lot>,
    billable: Vec<u64>,
}

impl Small {
    fn push(&mut self, stock: &Stock, heap: &Heap, factor: f64) {
        let scaled = |amount: u128| (amount as f64 * factor).round() as u64;
        let (start, end) = (heap.start as usize, heap.end as usize);
        let objects = stock.lots[start..end].iter().map(|lot| u128::from(lot.objects));
        self.lots.push(Lot {
            dataset: 0,
            class: heap.class,
            bytes: scaled(heap.bytes),
            objects: scaled(objects.sum()),
            is_pile: true,
        });
        let minimums = stock.catalog.minimums.len();
        self.billable.extend((0..minimums).map(|minimum| {
            let billed = (start..end).map(|lot| u128::from(stock.billable[lot * minimums + minimum]));
            scaled(billed.sum())
        }));
    }
}

fn heaps(stock: &Stock) -> Vec<Heap> {
    let mut heaps: Vec<Heap> = Vec::with_capacity(stock.catalog.classes.len());
    for (position, lot) in (0u32..).zip(&stock.lots) {
        let bytes = u128::from(lot.bytes);
        match heaps.last_mut().filter(|heap| heap.class == lot.class) {
            Some(heap) => (heap.end, heap.bytes) = (position + 1, heap.bytes + bytes),
            None => heaps.push(Heap {
                class: lot.class,
                start: position,
                end: position + 1,
                bytes,
            }),
        }
    }
    heaps
}
