//! What price tiers, included storage and a base fee add to storage at list price (docs/prices.md).
//!
//! ```text
//!  add ▲   ______                 the base fee at once,
//!      │  |      \                then nothing for what is included: the list price is given back,
//!      │  |       \_______        then the list price alone,
//!      │__|               \_____  then what a tier is cheaper, or dearer, by
//!      0─────────────────────────▶ all billed bytes on the backend
//! ```
//!
//! The list price, `storagePerGiBMonth` for each billed byte, is what each copy is charged with. The rest depends on all
//! copies together, and is charged to the backend.

use domicile_estate::{BYTES_PER_GIB, ByteCount, Price};

use crate::problem::{Problem, Subject};

/// What a backend charges beside the list price, as a function of all that it bills.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tariff {
    /// Once, if anything is billed.
    fee: f64,
    /// What each byte adds, from some byte on; ascending, the first from zero.
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    from: f64,
    /// What all before add, the fee apart.
    before: f64,
    /// For each byte; below zero where it is cheaper than the list price.
    slope: f64,
}

impl Tariff {
    /// The tariff of a price; `None` if the list price is all there is.
    pub fn of(price: &Price) -> Option<Self> {
        let list = price.storage_per_gib_month;
        let mut steps = vec![(0.0, -list)];
        let mut last = list;
        let mut from = price.included_storage;
        for tier in &price.tiers {
            if tier.above > from {
                steps.push((from.0 as f64, last - list));
                from = tier.above;
            }
            last = tier.storage_per_gib_month;
        }
        steps.push((from.0 as f64, last - list));
        let mut pieces: Vec<Piece> = Vec::new();
        for (at, (from, per_gib)) in steps.iter().enumerate() {
            let is_empty = steps.get(at + 1).is_some_and(|next| next.0 <= *from);
            if is_empty {
                continue;
            }
            let before = pieces
                .last()
                .map_or(0.0, |last: &Piece| last.before + last.slope * (from - last.from));
            pieces.push(Piece {
                from: *from,
                before,
                slope: per_gib / BYTES_PER_GIB,
            });
        }
        let fee = price.base_fee_per_month;
        let is_list = fee <= 0.0 && pieces.iter().all(|piece| piece.slope == 0.0);
        (!is_list).then_some(Self { fee, pieces })
    }

    /// What is added where so many bytes are billed.
    pub fn at(&self, billed: f64) -> f64 {
        if billed <= 0.0 {
            return 0.0;
        }
        let last = self.pieces.partition_point(|piece| piece.from < billed).max(1) - 1;
        let piece = &self.pieces[last];
        self.fee + piece.before + piece.slope * (billed - piece.from)
    }

    /// What so many bytes more add to so many.
    pub fn more(&self, billed: u128, more: u64) -> f64 {
        self.at((billed + u128::from(more)) as f64) - self.at(billed as f64)
    }

    /// The ends of an interval and where the slope changes within: between two of them the tariff is straight, but for
    /// the fee, which is paid at once above zero.
    fn corners(&self, least: f64, most: f64) -> impl Iterator<Item = f64> + '_ {
        let inner = self.pieces.iter().map(|piece| piece.from);
        let inner = inner.filter(move |from| *from > least && *from < most);
        [least]
            .into_iter()
            .chain(inner)
            .chain((most > least).then_some(most))
    }

    /// The least of the tariff less a toll on each byte, over an interval, and where it is.
    pub fn least(&self, toll: f64, (least, most): (f64, f64)) -> (f64, f64) {
        let mut best = (f64::INFINITY, least);
        for corner in self.corners(least, most) {
            let value = self.at(corner) - toll * corner;
            if value < best.0 {
                best = (value, corner);
            }
        }
        best
    }

    /// The corners of the largest convex function that is nowhere above the tariff on an interval.
    pub fn envelope(&self, least: f64, most: f64) -> Vec<(f64, f64)> {
        let mut hull: Vec<(f64, f64)> = Vec::new();
        for corner in self.corners(least, most) {
            let point = (corner, self.at(corner));
            while let [.., a, b] = hull.as_slice() {
                if (b.1 - a.1) * (point.0 - a.0) < (point.1 - a.1) * (b.0 - a.0) {
                    break;
                }
                hull.pop();
            }
            hull.push(point);
        }
        hull
    }

    /// The toll at which the envelope over an interval leads to so many bytes: the slope of the part that they lie in.
    pub fn toll(&self, (least, most): (f64, f64), billed: f64) -> f64 {
        let hull = self.envelope(least, most);
        let parts = hull.windows(2).map(|pair| (pair[1].0, slope(pair[0], pair[1])));
        let mut toll = 0.0;
        for (end, slope) in parts {
            toll = slope;
            if billed <= end {
                break;
            }
        }
        toll
    }
}

impl Tariff {
    /// What one byte adds after so many.
    pub fn slope_after(&self, billed: f64) -> f64 {
        let last = self.pieces.partition_point(|piece| piece.from <= billed).max(1) - 1;
        self.pieces[last].slope
    }

    /// How far the tariff is above its envelope over an interval, where so much is billed.
    pub fn above_envelope(&self, (least, most): (f64, f64), billed: f64) -> f64 {
        let billed = billed.clamp(least, most);
        let hull = self.envelope(least, most);
        let part = hull.windows(2).find(|pair| billed <= pair[1].0);
        let envelope = part.map_or_else(
            || hull.last().map_or(0.0, |last| last.1),
            |pair| pair[0].1 + slope(pair[0], pair[1]) * (billed - pair[0].0),
        );
        (self.at(billed) - envelope).max(0.0)
    }

    /// Where to cut an interval so that the envelope comes closest to the tariff where so much is billed, and by how
    /// much; `None` if it is there already. A cut at the lower end leaves it to itself.
    pub fn best_cut(&self, (least, most): (f64, f64), billed: f64) -> Option<(f64, f64)> {
        let whole = self.above_envelope((least, most), billed);
        let inner = self
            .corners(least, most)
            .filter(|corner| *corner > least && *corner < most);
        let jumps = least <= 0.0 && self.fee > 0.0 && most > 1.0;
        let mut best: Option<(f64, f64)> = None;
        for cut in jumps.then_some(least).into_iter().chain(inner) {
            let side = match cut {
                cut if cut <= least => (least + 1.0, most),
                cut if billed <= cut => (least, cut),
                cut => (cut, most),
            };
            let gain = whole - self.above_envelope(side, billed);
            if gain > 0.0 && best.is_none_or(|(_, most)| gain > most) {
                best = Some((cut, gain));
            }
        }
        best
    }
}

fn slope(a: (f64, f64), b: (f64, f64)) -> f64 {
    (b.1 - a.1) / (b.0 - a.0)
}

/// The tariffs of a problem's backends; empty if none has one.
pub(crate) fn tariffs(problem: &Problem) -> Vec<Option<Tariff>> {
    let tariffs: Vec<_> = problem
        .backends
        .iter()
        .map(|place| Tariff::of(&place.price))
        .collect();
    if tariffs.iter().any(Option::is_some) {
        tariffs
    } else {
        Vec::new()
    }
}

/// Bytes that a backend bills for a copy of a dataset.
pub(crate) fn billed(problem: &Problem, subject: &Subject, backend: usize) -> u64 {
    let minimum = problem.backends[backend].price.min_object_size;
    subject.summary.billable(minimum).0
}

/// Bytes that the copies of sets bill on each backend that has a tariff; zero for all others.
pub(crate) fn billed_by<'a>(
    problem: &Problem,
    tariffs: &[Option<Tariff>],
    sets: impl Iterator<Item = (&'a Subject, &'a [usize])>,
) -> Vec<u128> {
    let mut sums = vec![0u128; problem.backends.len()];
    for (subject, set) in sets {
        for backend in set.iter().copied().filter(|backend| tariffs[*backend].is_some()) {
            sums[backend] += u128::from(billed(problem, subject, backend));
        }
    }
    sums
}

/// A backend that charges more or less than the list price, and what for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TariffCharge {
    /// The backend, by its position in the problem.
    pub backend: usize,
    /// Bytes that all copies of the plan bill there.
    pub billed: u128,
    /// What they cost per month at list price.
    pub at_list: f64,
    /// What tiers, included storage and base fee add to that; below zero where they take away.
    pub more: f64,
    /// What one more billed GiB would cost per month.
    pub next_gib: f64,
}

/// What every backend with a tariff charges for sets, by backend.
pub(crate) fn charges(problem: &Problem, sets: &[Vec<usize>]) -> Vec<TariffCharge> {
    let tariffs = tariffs(problem);
    if tariffs.is_empty() {
        return Vec::new();
    }
    let pairs = problem.datasets.iter().zip(sets.iter().map(Vec::as_slice));
    let billed = billed_by(problem, &tariffs, pairs);
    let charge = |(backend, tariff): (usize, &Option<Tariff>)| {
        let tariff = tariff.as_ref()?;
        let list = problem.backends[backend].price.storage_per_gib_month;
        Some(TariffCharge {
            backend,
            billed: billed[backend],
            at_list: billed[backend] as f64 / BYTES_PER_GIB * list,
            more: tariff.at(billed[backend] as f64),
            next_gib: list + tariff.more(billed[backend], ByteCount(BYTES_PER_GIB as u64).0),
        })
    };
    tariffs.iter().enumerate().filter_map(charge).collect()
}

/// What tiers, included storage and base fees add to storage at list price, per month, over all backends.
pub(crate) fn more(problem: &Problem, sets: &[Vec<usize>]) -> f64 {
    charges(problem, sets).iter().map(|charge| charge.more).sum()
}

/// The same for what is there now.
pub(crate) fn more_now(problem: &Problem) -> f64 {
    if tariffs(problem).is_empty() {
        return 0.0;
    }
    let now: Vec<_> = problem.datasets.iter().map(Subject::now).collect();
    more(problem, &now)
}
