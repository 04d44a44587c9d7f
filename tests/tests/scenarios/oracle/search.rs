//! The best placement by trying everything. Written from the text of DESIGN.md section 3; it shares nothing with the code.

use std::collections::BTreeSet;

use super::world::{Across, Backend, Confine, Dataset, Require, World};

const GIB: f64 = 1_073_741_824.0;

/// The optimum.
#[derive(Debug)]
pub struct Best {
    /// Cost per month.
    pub cost: f64,
    /// For each dataset whether every requirement is met.
    pub satisfied: Vec<bool>,
    /// The backends of each dataset.
    pub backends: Vec<Vec<String>>,
}

/// One way to place one dataset.
#[derive(Debug, Clone, Copy)]
struct Way {
    set: u32,
    missing_copies: usize,
    missing_groups: usize,
    /// All but storage, which depends on what all datasets bill together.
    cost: f64,
}

/// What a solution is worth: for each priority from the top the missing copies and groups, then the cost.
type Worth = (Vec<(usize, usize)>, f64);

/// Tries every combination.
pub fn best(world: &World) -> Best {
    let ways: Vec<Vec<Way>> = (0..world.datasets.len())
        .map(|dataset| ways(world, dataset))
        .collect();
    let levels = levels(world);
    let mut chosen = vec![0; ways.len()];
    let mut best: Option<(Worth, Vec<Way>)> = None;
    loop {
        let solution: Vec<Way> = chosen.iter().zip(&ways).map(|(at, ways)| ways[*at]).collect();
        if fits(world, &solution) {
            let worth = worth(world, &levels, &solution);
            if best.as_ref().is_none_or(|(found, _)| better(&worth, found)) {
                best = Some((worth, solution));
            }
        }
        if !advance(&mut chosen, &ways) {
            break;
        }
    }
    let ((_, cost), solution) = best.expect("what is there now always fits");
    Best {
        cost,
        satisfied: solution
            .iter()
            .map(|way| way.missing_copies + way.missing_groups == 0)
            .collect(),
        backends: solution.iter().map(|way| names(world, way.set)).collect(),
    }
}

fn names(world: &World, set: u32) -> Vec<String> {
    let chosen = world
        .backends
        .iter()
        .enumerate()
        .filter(|(at, _)| set & (1 << at) != 0);
    chosen.map(|(_, backend)| backend.name.clone()).collect()
}

fn better(left: &Worth, right: &Worth) -> bool {
    left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)).is_lt()
}

fn advance(chosen: &mut [usize], ways: &[Vec<Way>]) -> bool {
    for (at, ways) in chosen.iter_mut().zip(ways) {
        *at += 1;
        if *at < ways.len() {
            return true;
        }
        *at = 0;
    }
    false
}

fn priority(world: &World, dataset: usize) -> i64 {
    let selecting = world.policies.iter().filter(|policy| policy.selects[dataset]);
    selecting.map(|policy| policy.priority).max().unwrap_or_default()
}

fn levels(world: &World) -> Vec<i64> {
    let all: BTreeSet<i64> = (0..world.datasets.len())
        .map(|dataset| priority(world, dataset))
        .collect();
    all.into_iter().rev().collect()
}

fn worth(world: &World, levels: &[i64], solution: &[Way]) -> Worth {
    let of_level = |level: &i64| {
        let ways = solution
            .iter()
            .enumerate()
            .filter(|(at, _)| priority(world, *at) == *level);
        ways.fold((0, 0), |(copies, groups), (_, way)| {
            (copies + way.missing_copies, groups + way.missing_groups)
        })
    };
    (
        levels.iter().map(of_level).collect(),
        storage(world, solution) + solution.iter().map(|way| way.cost).sum::<f64>(),
    )
}

/// What all backends cost for what they bill: each byte by the tier that it lies in, counted from zero; those that the
/// base fee pays for are free.
fn storage(world: &World, solution: &[Way]) -> f64 {
    let mut sum = 0.0;
    for (at, backend) in world.backends.iter().enumerate() {
        let there = solution
            .iter()
            .zip(&world.datasets)
            .filter(|(way, _)| way.set & (1 << at) != 0);
        let sizes = there.flat_map(|(_, dataset)| &dataset.sizes);
        let billed: u64 = sizes.map(|size| (*size).max(backend.minimum)).sum();
        if billed == 0 {
            continue;
        }
        sum += backend.fee;
        let price_above = |byte: u64| {
            let tier = backend.tiers.iter().rev().find(|(above, _)| *above <= byte);
            tier.map_or(backend.storage, |(_, price)| *price)
        };
        let mut from = backend.included;
        while from < billed {
            let next = backend
                .tiers
                .iter()
                .map(|(above, _)| *above)
                .find(|above| *above > from);
            let to = next.unwrap_or(billed).min(billed);
            sum += (to - from) as f64 / GIB * price_above(from);
            from = to;
        }
    }
    sum
}

fn fits(world: &World, solution: &[Way]) -> bool {
    world.backends.iter().enumerate().all(|(at, backend)| {
        let holds = solution
            .iter()
            .zip(&world.datasets)
            .filter(|(way, _)| way.set & (1 << at) != 0);
        holds
            .map(|(_, dataset)| dataset.sizes.iter().sum::<u64>())
            .sum::<u64>()
            <= backend.capacity
    })
}

/// Every set of backends that the rules leave to a dataset.
fn ways(world: &World, dataset: usize) -> Vec<Way> {
    let requirements: Vec<&Require> = world
        .policies
        .iter()
        .filter(|policy| policy.selects[dataset])
        .filter_map(|policy| policy.require.as_ref())
        .collect();
    let keep = world.datasets[dataset].keep;
    let admissible: u32 = (0..world.backends.len())
        .filter(|at| is_admissible(world, dataset, *at))
        .map(|at| 1 << at)
        .sum();
    let allowed = if keep { admissible | 1 } else { admissible };
    if requirements.is_empty() || allowed == 0 {
        return vec![way(world, dataset, &requirements, admissible, 1)];
    }
    (1..1_u32 << world.backends.len())
        .filter(|set| set & !allowed == 0 && (!keep || set & 1 == 1))
        .map(|set| way(world, dataset, &requirements, admissible, set))
        .collect()
}

fn is_admissible(world: &World, dataset: usize, at: usize) -> bool {
    let backend = &world.backends[at];
    let confined = world
        .policies
        .iter()
        .filter(|policy| policy.selects[dataset])
        .filter_map(|policy| policy.confine.as_ref())
        .all(|confine| accepts(confine, backend));
    confined && (at == 0 || !(backend.cordoned || backend.read_only))
}

fn accepts(confine: &Confine, backend: &Backend) -> bool {
    let soil = confine.countries.contains(&backend.country);
    let law = confine.countries.contains(&backend.operator);
    match (confine.jurisdiction, confine.inside) {
        (true, true) => soil && law,
        (true, false) => !soil && !law,
        (false, inside) => soil == inside,
    }
}

fn way(world: &World, dataset: usize, requirements: &[&Require], admissible: u32, set: u32) -> Way {
    let mut way = Way {
        set,
        missing_copies: 0,
        missing_groups: 0,
        cost: cost(world, dataset, set),
    };
    for require in requirements {
        let counted: Vec<&Backend> = world
            .backends
            .iter()
            .enumerate()
            .filter(|(at, _)| set & admissible & (1 << at) != 0)
            .map(|(_, backend)| backend)
            .filter(|backend| require.tier.is_none_or(|tier| tier == backend.tier))
            .collect();
        way.missing_copies += require.copies.saturating_sub(counted.len());
        if let Some((across, groups)) = require.spread {
            let distinct: BTreeSet<String> = counted
                .iter()
                .map(|backend| match across {
                    Across::Provider => backend.provider.to_string(),
                    Across::Country => backend.country.to_owned(),
                })
                .collect();
            way.missing_groups += groups.saturating_sub(distinct.len());
        }
    }
    way
}

/// Price of carbon per kg and months that a transfer is spread over, from the highest policy that states them.
fn settings(world: &World, dataset: usize) -> (f64, f64) {
    let mut stating: Vec<_> = world
        .policies
        .iter()
        .filter(|policy| policy.selects[dataset] && policy.objective.is_some())
        .collect();
    stating.sort_by(|a, b| b.priority.cmp(&a.priority).then(a.name.cmp(&b.name)));
    let (per_tonne, months) = stating
        .first()
        .and_then(|policy| policy.objective)
        .unwrap_or((0.0, 12));
    (per_tonne / 1000.0, months as f64)
}

fn cost(world: &World, dataset: usize, set: u32) -> f64 {
    let (carbon_price, months) = settings(world, dataset);
    let data = &world.datasets[dataset];
    let mut sum = 0.0;
    for (at, backend) in world
        .backends
        .iter()
        .enumerate()
        .filter(|(at, _)| set & (1 << at) != 0)
    {
        sum += kept(data, backend, carbon_price);
        if at != 0 {
            sum += made(data, &world.backends[0], backend, carbon_price) / months;
        }
    }
    sum
}

/// Priced carbon of one copy for a month.
fn kept(data: &Dataset, backend: &Backend, carbon_price: f64) -> f64 {
    let bytes = data.sizes.iter().sum::<u64>() as f64;
    let kwh = bytes / 1e12 * 730.5 * 0.65 * backend.physical as f64 * backend.pue / 1000.0;
    kwh * backend.grid / 1000.0 * carbon_price
}

/// Transfer and its priced carbon of one new copy, once. The only current copy is the origin.
fn made(data: &Dataset, from: &Backend, to: &Backend, carbon_price: f64) -> f64 {
    let bytes = data.sizes.iter().sum::<u64>() as f64;
    let objects = data.sizes.len() as f64;
    let near = from.provider == to.provider;
    let egress = match (near, from.region.is_some() && from.region == to.region) {
        (true, true) => from.egress[2],
        (true, false) => from.egress[1],
        (false, _) => from.egress[0],
    };
    let carbon = bytes / 1e9 * 0.001 * (from.grid + to.grid) / 2.0 / 1000.0;
    bytes / GIB * (egress + to.ingress) + objects / 1000.0 * (from.get + to.put) + carbon * carbon_price
}
