//! Ways through relays, for backends to which links forbid every direct one.
//!
//! What a way costs is a sum over its hops of what goes with bytes and what goes with objects. Which way is cheapest
//! depends on how many bytes there are for each object, so that all those are kept that are cheapest for some such
//! mixture: the corners of the lower hull, found by asking for the cheapest way at the mixture at which two known ones
//! cost the same. A relay takes only what it could hold, so that there is one hull for each size of relays.

use super::rates::{Rates, Step};

/// Sources that are in reach go before those that are not, and direct ways before relayed ones: the first tier that has a
/// way for a dataset counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Relayed {
    /// The candidate.
    pub position: u16,
    tiers: Vec<Vec<Way>>,
}

/// One way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Way {
    /// Bytes of the largest dataset that its relays could hold.
    pub most: u64,
    /// The hops to the last relay: all of the dataset goes there.
    head: Step,
    /// The last hop: what is missing goes there.
    tail: Step,
}

/// A relay, with what it could hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Relay {
    pub backend: u32,
    pub capacity: u64,
}

/// How a dataset goes to the last relay before its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Head {
    last: u32,
    most: u64,
    step: Step,
}

/// Mixtures that are looked at between two ways at most.
const MIXTURES: usize = 16;

impl Relayed {
    /// The ways to a candidate in the order in which they count; `None` if there are none at all.
    pub fn of(position: u16, mut tiers: Vec<Vec<Way>>) -> Option<Self> {
        tiers.retain(|ways| !ways.is_empty());
        (!tiers.is_empty()).then_some(Self { position, tiers })
    }

    /// Whether a dataset of so many bytes can go any of the ways.
    pub fn admits(&self, bytes: u64) -> bool {
        self.tiers.iter().flatten().any(|way| way.most >= bytes)
    }

    /// What making a copy costs per month, and in money once. `bytes`: the size that relays must hold; `whole` and
    /// `missing`: bytes and objects of the dataset, and what the copy lacks of them.
    pub fn making(&self, bytes: u64, whole: (f64, f64), missing: (f64, f64)) -> (f64, f64) {
        let admitted = |ways: &&Vec<Way>| ways.iter().any(|way| way.most >= bytes);
        let ways = self.tiers.iter().find(admitted).into_iter().flatten();
        let costs = ways.filter(|way| way.most >= bytes).map(|way| {
            let (head, tail) = (way.head, way.tail);
            (
                head.per_month(whole) + tail.per_month(missing),
                head.money(whole) + tail.money(missing),
            )
        });
        costs
            .reduce(|best, next| if next.0 < best.0 { next } else { best })
            .unwrap_or((f64::INFINITY, 0.0))
    }
}

/// Direct ways from these sources.
pub(crate) fn direct(rates: &Rates, sources: &[u32], to: u32) -> Vec<Way> {
    let way = |source: &u32| Way {
        most: u64::MAX,
        head: Step::default(),
        tail: rates.step(*source, to),
    };
    let ways = sources.iter().filter(|source| **source != to).map(way);
    ways.filter(|way| way.tail.is_allowed()).collect()
}

/// Ways on from the last relays.
pub(crate) fn through(rates: &Rates, heads: &[Head], to: u32) -> Vec<Way> {
    let way = |head: &Head| Way {
        most: head.most,
        head: head.step,
        tail: rates.step(head.last, to),
    };
    let ways = heads.iter().filter(|head| head.last != to).map(way);
    ways.filter(|way| way.tail.is_allowed()).collect()
}

/// How a dataset may go from a source to each relay.
pub(crate) fn heads(rates: &Rates, source: u32, relays: &[Relay]) -> Vec<Head> {
    let mut sizes: Vec<u64> = relays.iter().map(|relay| relay.capacity).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut heads: Vec<Head> = Vec::new();
    for most in sizes {
        let open: Vec<u32> = relays
            .iter()
            .filter(|relay| relay.capacity >= most)
            .map(|relay| relay.backend)
            .collect();
        for last in 0..open.len() {
            for step in hull(|mixture| cheapest(rates, source, &open, last, mixture)) {
                let known = |head: &&mut Head| head.last == open[last] && head.step == step;
                match heads.iter_mut().find(known) {
                    Some(head) => head.most = most,
                    None => heads.push(Head {
                        last: open[last],
                        most,
                        step,
                    }),
                }
            }
        }
    }
    heads
}

/// All that is cheapest at some mixture of bytes and objects.
fn hull(cheapest: impl Fn((f64, f64)) -> Option<Step>) -> Vec<Step> {
    // A little of the other breaks ties.
    let ends = [(1.0, 1e-9), (1e-9, 1.0)].map(&cheapest);
    let [Some(by_bytes), Some(by_objects)] = ends else {
        return Vec::new();
    };
    let mut found = vec![by_bytes];
    let mut open = vec![(by_bytes, by_objects)];
    for _ in 0..MIXTURES {
        let Some((a, b)) = open.pop() else { break };
        if a == b {
            continue;
        }
        found.push(b);
        // Where both cost the same.
        let mixture = (a.by_object - b.by_object, b.by_byte - a.by_byte);
        if mixture.0 <= 0.0 || mixture.1 <= 0.0 {
            continue;
        }
        let price = |step: &Step| step.by_byte * mixture.0 + step.by_object * mixture.1;
        if let Some(between) = cheapest(mixture)
            && price(&between) < price(&a) * (1.0 - 1e-12)
        {
            open.extend([(a, between), (between, b)]);
        }
    }
    found
}

/// The cheapest way at a mixture of bytes and objects from a source through some of these relays to one of them.
fn cheapest(
    rates: &Rates,
    source: u32,
    relays: &[u32],
    last: usize,
    (bytes, objects): (f64, f64),
) -> Option<Step> {
    let price = |step: &Step| step.by_byte * bytes + step.by_object * objects;
    let mut best: Vec<Step> = relays.iter().map(|relay| rates.step(source, *relay)).collect();
    for _ in 1..relays.len() {
        let mut changed = false;
        for from in 0..relays.len() {
            for to in (0..relays.len()).filter(|to| *to != from) {
                let next = best[from].and(rates.step(relays[from], relays[to]));
                if next.is_allowed() && price(&next) < price(&best[to]) {
                    best[to] = next;
                    changed = true;
                }
            }
        }
        if !changed {
            break;
        }
    }
    Some(best[last]).filter(Step::is_allowed)
}
