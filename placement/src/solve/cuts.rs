//! What whole copies say of room: rows that every placement keeps and that a mix of patterns may break.
//!
//! Datasets that do not fit on a backend together are a cover: of them, at least one is not there. A cover of the fewest
//! is lifted, so that the others count in it for as much as they keep out (Balas 1975, Padberg 1975). With such rows the
//! bound says what a mix of halves hides: that half a dataset is no dataset.

use good_lp::{
    DualValues, Expression, ProblemVariables, Solution as _, SolutionWithDual, SolverModel, Variable,
    clarabel, constraint, variable,
};

use super::tree::{Offer, Tree};

/// Rounds of cutting and solving again.
const ROUNDS: usize = 20;
/// How far a mix must break a row for it to be added.
const BROKEN: f64 = 0.01;
/// Price of a row, as a share of the largest, below which it says nothing.
const IDLE: f64 = 1e-7;
/// Relative rounding of a row's sum.
const ROUNDING: f64 = 1e-9;
/// Share of the gap that a round must close; after as many rounds as [`PATIENCE`] that do not, no more follow.
const PROGRESS: f64 = 0.01;
const PATIENCE: usize = 3;

/// What a mix of patterns is worth, and the rows' prices.
struct Mix {
    shares: Vec<Vec<f64>>,
    prices: Vec<f64>,
}

/// Adds rows to a tree as long as they raise its bound. Whether the bound stays below what is looked for.
pub(super) fn strengthen(tree: &mut Tree<'_>, below: f64) -> bool {
    let rows = rooms(tree);
    let first = tree.limits.len();
    let (mut reached, mut idle) = (f64::NEG_INFINITY, 0);
    for _ in 0..ROUNDS {
        let Some(mix) = mix(tree) else { break };
        let bound = tree.bound(&mix.prices);
        if bound > reached {
            tree.prices.clone_from(&mix.prices);
        }
        if bound >= below {
            return false;
        }
        idle = if bound < reached + PROGRESS * (below - bound) {
            idle + 1
        } else {
            0
        };
        reached = reached.max(bound);
        tree.drop_dear(below);
        if idle == PATIENCE || !cut(tree, &rows, &mix) {
            break;
        }
    }
    tree.drop_idle(first, IDLE);
    true
}

/// A row in which every choice uses all of its share or nothing.
struct Room {
    row: usize,
    /// For each choice, what it uses; zero if it never does.
    weights: Vec<f64>,
}

fn rooms(tree: &Tree<'_>) -> Vec<Room> {
    let of = |row: usize| {
        let weight = |offers: &Vec<Offer>| {
            let mut uses = offers.iter().filter_map(|offer| offer.of(row));
            let first = uses.next().unwrap_or(0.0);
            uses.all(|next| next == first).then_some(first)
        };
        let weights = tree.offers.iter().map(weight).collect::<Option<Vec<_>>>()?;
        Some(Room { row, weights })
    };
    (0..tree.limits.len()).filter_map(of).collect()
}

/// Adds the rows that a mix breaks. Whether there is any.
fn cut(tree: &mut Tree<'_>, rooms: &[Room], mix: &Mix) -> bool {
    let mut found = false;
    for room in rooms {
        let on = |(offers, shares): (&Vec<Offer>, &Vec<f64>)| -> f64 {
            let pairs = offers.iter().zip(shares);
            pairs
                .filter(|(offer, _)| offer.of(room.row).is_some())
                .map(|(_, share)| share)
                .sum()
        };
        let present: Vec<f64> = tree.offers.iter().zip(&mix.shares).map(on).collect();
        let limit = tree.limits[room.row];
        let Some((counts, most)) = cover(&room.weights, &present, limit) else {
            continue;
        };
        found = true;
        let row = tree.limits.len();
        tree.limits.push(1.0);
        tree.prices.push(0.0);
        for (offers, count) in tree.offers.iter_mut().zip(&counts) {
            for offer in offers.iter_mut().filter(|_| *count > 0.0) {
                if offer.of(room.row).is_some() {
                    offer.uses.push((row, *count / most));
                }
            }
        }
    }
    found
}

/// What each item counts, and the most that those which fit together count; `None` if no such row is broken.
fn cover(weights: &[f64], present: &[f64], limit: f64) -> Option<(Vec<f64>, f64)> {
    let least = limit + ROUNDING * limit.abs().max(1.0);
    let mut order: Vec<usize> = (0..weights.len()).filter(|item| weights[*item] > 0.0).collect();
    let dear = |item: usize| (1.0 - present[item]).max(0.0) / weights[item];
    order.sort_by(|a, b| {
        dear(*a)
            .total_cmp(&dear(*b))
            .then(weights[*b].total_cmp(&weights[*a]))
    });
    let mut members = Vec::new();
    let mut sum = 0.0;
    for item in &order {
        if sum > least {
            break;
        }
        members.push(*item);
        sum += weights[*item];
    }
    if sum <= least {
        return None;
    }
    // What is least there leaves first, if the others are still too many.
    members.sort_by(|a, b| present[*a].total_cmp(&present[*b]).then(a.cmp(b)));
    members.retain(|item| {
        let stays = sum - weights[*item] <= least;
        sum -= if stays { 0.0 } else { weights[*item] };
        stays
    });
    let most = members.len() - 1;
    let mut counts = vec![0.0; weights.len()];
    // For each count, the least weight of items that count so much together.
    members.sort_by(|a, b| weights[*a].total_cmp(&weights[*b]));
    let mut lightest = vec![0.0; most + 1];
    for (place, item) in members.iter().enumerate() {
        counts[*item] = 1.0;
        if place < most {
            lightest[place + 1] = lightest[place] + weights[*item];
        }
    }
    let mut others: Vec<usize> = order.into_iter().filter(|item| counts[*item] == 0.0).collect();
    others.sort_by(|a, b| {
        present[*b]
            .total_cmp(&present[*a])
            .then(weights[*b].total_cmp(&weights[*a]))
    });
    for item in others {
        let left = least - weights[item];
        let beside = lightest.iter().rposition(|weight| *weight <= left);
        let count = beside.map_or(most + 1, |beside| most - beside);
        if count == 0 {
            continue;
        }
        counts[item] = count as f64;
        for sum in (1..=most).rev() {
            let with = lightest[sum.saturating_sub(count)] + weights[item];
            lightest[sum] = lightest[sum].min(with);
        }
    }
    let there: f64 = counts
        .iter()
        .zip(present)
        .map(|(count, present)| count * present)
        .sum();
    (there > most as f64 + BROKEN).then_some((counts, most as f64))
}

/// The best mix of the patterns.
fn mix(tree: &Tree<'_>) -> Option<Mix> {
    let mut variables = ProblemVariables::new();
    let shares: Vec<Vec<Variable>> = tree
        .offers
        .iter()
        .map(|offers| {
            offers
                .iter()
                .map(|_| variables.add(variable().min(0.0)))
                .collect()
        })
        .collect();
    let pairs = || shares.iter().flatten().zip(tree.offers.iter().flatten());
    let largest = pairs().map(|(_, offer)| offer.measure).fold(0.0, f64::max);
    let unit = if largest > 0.0 { largest } else { 1.0 };
    let mut objective = Expression::with_capacity(shares.iter().map(Vec::len).sum());
    let mut sums = vec![Expression::default(); tree.limits.len()];
    for (share, offer) in pairs() {
        objective.add_mul(offer.measure / unit, *share);
        offer
            .uses
            .iter()
            .for_each(|(row, uses)| sums[*row].add_mul(*uses, *share));
    }
    let mut problem = variables.minimise(objective).using(clarabel);
    for shares in &shares {
        let mut sum = Expression::with_capacity(shares.len());
        shares.iter().for_each(|share| sum.add_mul(1.0, *share));
        problem.add_constraint(constraint!(sum == 1.0));
    }
    let rows = sums.into_iter().zip(&tree.limits);
    let rows: Vec<_> = rows
        .map(|(sum, limit)| problem.add_constraint(constraint!(sum <= *limit)))
        .collect();
    let mut solution = problem.solve().ok()?;
    let shares = shares
        .iter()
        .map(|shares| shares.iter().map(|share| solution.value(*share)).collect())
        .collect();
    let duals = solution.compute_dual();
    // A `<=` row of a minimum has a dual at or below zero; a price is its opposite.
    let price = |row| (-duals.dual(row) * unit).max(0.0);
    let prices: Vec<f64> = rows.into_iter().map(price).collect();
    prices
        .iter()
        .all(|price| price.is_finite())
        .then_some(Mix { shares, prices })
}
