//! Whole lots are packed closely, the most important first.
//!
//! The program fills every backend to the brim, and whole lots never fit so exactly. What cannot be had for that reason
//! should be missing at the end of the line and not at its head: so less important lots step aside, others move from
//! backend to backend until the room that is left lies in one place, and then the less important ones take what remains.

use super::super::need::Shortfall;
use super::members::{FALLBACK, Members};
use super::placed::Placed;
use super::scales::Scales;
use super::stock::Stock;
use super::wish::Tolls;

/// Lots one after the other for which no room could be made, after which the others of their priority are not tried.
const IN_VAIN: usize = 12;
/// Lots that are asked to leave one backend at most.
const ASKED: usize = 400;

/// Packs the lots again, from the first priority of which something lacks.
pub(crate) fn pack(stock: &Stock, placed: &mut Placed, order: &[u32], tolls: &Tolls) {
    let rank = |lot: &u32| stock.shape(*lot as usize).rank;
    let lacks = |placed: &Placed, lot: usize| stock.shortfall(lot, &placed.sets[lot]) != stock.least(lot);
    let Some(first) = order.iter().find(|lot| lacks(placed, **lot as usize)).map(rank) else {
        return;
    };
    let others = order.partition_point(|lot| rank(lot) <= first);
    for lot in order[others..].iter().map(|lot| *lot as usize) {
        let stay = stock.stay_set(lot);
        if *placed.sets[lot] != *stay && placed.fits(stock, lot, &stay) {
            placed.change(stock, lot, stay);
        }
    }
    let mut scales = Scales::default();
    let of_first = order.partition_point(|lot| rank(lot) < first);
    for lots in order[of_first..].chunk_by(|a, b| rank(a) == rank(b)) {
        for lot in lots.iter().map(|lot| *lot as usize) {
            let short = stock.shortfall(lot, &placed.sets[lot]);
            let found = placed.best_within(stock, lot, tolls, None, &mut scales);
            if let Some(members) = found.filter(|members| stock.shortfall(lot, members) < short) {
                placed.change(stock, lot, members);
            }
        }
        let tenants = tenants(stock, placed);
        let mut in_vain = 0;
        for lot in lots.iter().map(|lot| *lot as usize) {
            if in_vain >= IN_VAIN || !lacks(placed, lot) || stock.lots[lot].bytes == 0 {
                continue;
            }
            if make_way(stock, placed, lot, &tenants, tolls, &mut scales) {
                in_vain = 0;
            } else {
                in_vain += 1;
            }
        }
    }
}

/// For each backend the lots that take room there, the largest first.
fn tenants(stock: &Stock, placed: &Placed) -> Vec<Vec<u32>> {
    let mut tenants = vec![Vec::new(); placed.used.len()];
    for (lot, members) in placed.sets.iter().enumerate() {
        stock.takes(lot, members, |backend| tenants[backend].push(lot as u32));
    }
    for lots in &mut tenants {
        lots.sort_by_key(|lot| (std::cmp::Reverse(stock.lots[*lot as usize].bytes), *lot));
    }
    tenants
}

/// Lays a set that misses less down where most of its room is free, and lets others move away. Whether that could be
/// done; if not, all is as it was.
fn make_way(
    stock: &Stock,
    placed: &mut Placed,
    lot: usize,
    tenants: &[Vec<u32>],
    tolls: &Tolls,
    scales: &mut Scales,
) -> bool {
    let short = stock.shortfall(lot, &placed.sets[lot]);
    let Some(members) = roomiest(stock, placed, lot, short, scales) else {
        return false;
    };
    let mut before = vec![(lot, placed.sets[lot].clone())];
    placed.change(stock, lot, members.clone());
    let mut backends = Vec::new();
    stock.takes(lot, &members, |backend| backends.push(backend));
    for backend in backends {
        let excess = |placed: &Placed| placed.used[backend].saturating_sub(stock.limits.room[backend]);
        // First those that together make the room, then the smallest that alone does.
        let (large, small) = (tenants[backend].iter().rev(), tenants[backend].iter());
        let all = small.map(|lot| (true, lot)).chain(large.map(|lot| (false, lot)));
        let mut asked = 0;
        for (is_part, other) in all.map(|(is_part, other)| (is_part, *other as usize)) {
            let lacks = excess(placed);
            if lacks == 0 || asked >= ASKED {
                break;
            }
            let is_smaller = u128::from(stock.lots[other].bytes) <= lacks;
            if other == lot || is_part != is_smaller || *placed.sets[other] == [FALLBACK] {
                continue;
            }
            let mut takes = false;
            stock.takes(other, &placed.sets[other], |at| takes |= at == backend);
            if !takes {
                continue;
            }
            asked += 1;
            let most = stock.shortfall(other, &placed.sets[other]);
            if let Some(members) = placed.best_within(stock, other, tolls, Some(most), scales) {
                before.push((other, placed.sets[other].clone()));
                placed.change(stock, other, members);
            }
        }
    }
    let is_done = placed.is_within(stock);
    if !is_done {
        for (lot, members) in before.into_iter().rev() {
            placed.change(stock, lot, members);
        }
    }
    is_done
}

/// The set that misses less than this for which the fewest bytes must make way.
fn roomiest(
    stock: &Stock,
    placed: &Placed,
    lot: usize,
    short: Shortfall,
    scales: &mut Scales,
) -> Option<Members> {
    let bytes = u128::from(stock.lots[lot].bytes);
    let (class, shape) = (stock.class(lot), stock.shape(lot));
    let lacks = |(position, backend): (usize, &u32)| {
        let (at, backend) = (position as u16, *backend as usize);
        let room = stock.limits.room[backend];
        if placed.sets[lot].contains(&at) || class.roomless().contains(&at) {
            0.0
        } else if room < bytes || !stock.could_fit(lot, position) {
            f64::INFINITY
        } else {
            1.0 + (placed.used[backend] + bytes).saturating_sub(room) as f64
        }
    };
    let prices = &mut scales.prices.candidates;
    prices.clear();
    prices.extend(shape.backends.iter().enumerate().map(lacks));
    let least = shape
        .needs
        .least_shortfall(|at| shape.needs.forced[at] || prices[at].is_finite());
    if least >= short {
        return None;
    }
    stock.choose_within(lot, least, scales)?;
    let members = Members::of(&scales.members);
    (stock.shortfall(lot, &members) < short).then_some(members)
}
