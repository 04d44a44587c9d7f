//! Routes: where the copies of one dataset are read, so that making all of them together costs least.
//!
//! ```text
//!   origin ══dear link══▶ abroad-1 ──▶ abroad-2        one crossing instead of three
//!                              └─────▶ abroad-3
//!   origin ──▶ relay ──▶ where no direct way is allowed
//! ```
//!
//! A new copy may be read from a current copy, from another new copy of the same plan, or from either through relays.
//! The cheapest such routes are a minimum-cost arborescence from the current copies to the new ones. Reading a new
//! copy as the formula of cost has it is always one of the choices, and putting it in never closes a circle; so no copy
//! is dearer than the formula says.

use std::ops::{Add, Sub};

use petgraph::algo::astar;
use petgraph::graph::DiGraph;

use crate::cost::{self, Transfer};
use crate::problem::{Problem, Subject};

/// Amounts of money are compared in these parts of the currency, so that equal sums are equal in any order.
const PARTS_PER_UNIT: f64 = 1e9;

/// How one new copy is made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Leg {
    /// Where it is written.
    pub to: usize,
    /// Where it is read: a current copy, or a new one.
    pub from: usize,
    /// Relays on the way, in order.
    pub via: Vec<usize>,
    /// Whether it is read from a new copy.
    pub from_new: bool,
    /// What all its hops cost together.
    pub transfer: Transfer,
}

/// What a way costs, in the order of importance: money with priced carbon; time on links of a stated bandwidth; other
/// copies that it must wait for. It only ever compares ways, so what is equal for all of them may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Weight {
    parts: i128,
    milliseconds: i128,
    waits: i64,
}

impl Add for Weight {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            parts: self.parts + other.parts,
            milliseconds: self.milliseconds + other.milliseconds,
            waits: self.waits + other.waits,
        }
    }
}

impl Sub for Weight {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            parts: self.parts - other.parts,
            milliseconds: self.milliseconds - other.milliseconds,
            waits: self.waits - other.waits,
        }
    }
}

/// A way from one backend to another, with relays between.
#[derive(Debug, Clone)]
struct Way {
    via: Vec<usize>,
    transfer: Transfer,
    weight: Weight,
}

/// Whether a dataset may lie on a backend on its way elsewhere (MV-5): the backend offers to relay, no rule of the
/// dataset's policies, of the domain or of the backend itself refuses a new copy there, and nothing of the dataset is
/// recorded there that a passing copy would be mistaken for.
pub(crate) fn may_relay(problem: &Problem, subject: &Subject, backend: usize) -> bool {
    would_relay(problem, subject, backend) && problem.backends[backend].capacity >= subject.summary.bytes
}

/// The same whatever the size of the dataset.
pub(crate) fn would_relay(problem: &Problem, subject: &Subject, backend: usize) -> bool {
    let place = &problem.backends[backend];
    place.relays
        && place.reachable
        && subject.copy_on(backend).is_none()
        && problem.reasons_against(subject, backend).next().is_none()
}

/// Making a copy through relays, from the cheapest of the sources; `None` if no such way is allowed.
pub(crate) fn relayed(
    problem: &Problem,
    subject: &Subject,
    sources: impl Iterator<Item = usize>,
    to: usize,
) -> Option<Transfer> {
    let relays: Vec<_> = (0..problem.backends.len())
        .filter(|relay| *relay != to && may_relay(problem, subject, *relay))
        .collect();
    if relays.is_empty() {
        return None;
    }
    sources
        .filter_map(|from| shortest(problem, subject, (from, to), &relays))
        .reduce(|best, next| if next.weight < best.weight { next } else { best })
        .map(|way| way.transfer)
}

/// The cheapest routes by which the targets can be made from the sources, in the order of the targets. `None` if some
/// target cannot be reached by allowed ways through these relays.
pub(crate) fn tree(
    problem: &Problem,
    subject: &Subject,
    sources: &[usize],
    targets: &[usize],
    relays: &[usize],
) -> Option<Vec<Leg>> {
    let relays: Vec<_> = relays
        .iter()
        .copied()
        .filter(|relay| !sources.contains(relay) && !targets.contains(relay))
        .filter(|relay| may_relay(problem, subject, *relay))
        .collect();
    // Node 0 stands for all sources, node `n + 1` for the target `n`.
    let mut edges = Vec::new();
    let mut ways = Vec::new();
    for (node, &to) in targets.iter().enumerate() {
        if let Some(way) = from_sources(problem, subject, sources, to, &relays) {
            edges.push(Edge::new(0, node + 1, way.weight));
            ways.push(way);
        }
        for (other, &from) in targets.iter().enumerate().filter(|(other, _)| *other != node) {
            if let Some(mut way) = cheapest(problem, subject, (from, to), &relays) {
                way.weight.waits += 1;
                edges.push(Edge::new(other + 1, node + 1, way.weight));
                ways.push(way);
            }
        }
    }
    let chosen = arborescence(targets.len() + 1, &edges)?;
    let leg = |(&to, edge): (&usize, &usize)| {
        let way = ways[*edge].clone();
        Leg {
            to,
            from: way.transfer.from,
            via: way.via,
            from_new: edges[*edge].from != 0,
            transfer: way.transfer,
        }
    };
    Some(targets.iter().zip(&chosen).map(leg).collect())
}

/// The cheapest way from the sources; from those out of reach only if nothing else leads there.
fn from_sources(
    problem: &Problem,
    subject: &Subject,
    sources: &[usize],
    to: usize,
    relays: &[usize],
) -> Option<Way> {
    let best = |reachable: bool| {
        let from = |from: &&usize| **from != to && problem.backends[**from].reachable == reachable;
        sources
            .iter()
            .filter(from)
            .filter_map(|from| cheapest(problem, subject, (*from, to), relays))
            .reduce(|best, next| if next.weight < best.weight { next } else { best })
    };
    best(true).or_else(|| best(false))
}

/// The cheapest way between two backends, direct or through relays.
fn cheapest(
    problem: &Problem,
    subject: &Subject,
    (from, to): (usize, usize),
    relays: &[usize],
) -> Option<Way> {
    let direct = direct(problem, subject, from, to);
    if relays.is_empty() {
        return direct;
    }
    // No chain of relays costs less than the cheapest way into one and the cheapest way out of one.
    let hop = |a: usize, b: usize| self::direct(problem, subject, a, b).map(|way| way.weight);
    let into = relays.iter().filter_map(|relay| hop(from, *relay)).min();
    let out_of = relays.iter().filter_map(|relay| hop(*relay, to)).min();
    let (Some(into), Some(out_of)) = (into, out_of) else {
        return direct;
    };
    match direct {
        Some(direct) if direct.weight <= into + out_of => Some(direct),
        direct => match (direct, shortest(problem, subject, (from, to), relays)) {
            (Some(direct), Some(way)) if direct.weight <= way.weight => Some(direct),
            (direct, way) => way.or(direct),
        },
    }
}

/// The direct way, if no link forbids it.
fn direct(problem: &Problem, subject: &Subject, from: usize, to: usize) -> Option<Way> {
    let hop = cost::hop(problem, from, to);
    if hop.is_some_and(|hop| hop.forbidden) {
        return None;
    }
    let transfer = cost::transfer_between(problem, subject, from, to);
    let bandwidth = hop.and_then(|hop| hop.bandwidth_bits_per_second);
    let milliseconds = bandwidth.map_or(0, |bits| {
        u128::from(transfer.bytes) * 8_000 / u128::from(bits.max(1))
    });
    Some(Way {
        via: Vec::new(),
        weight: Weight {
            parts: (transfer.priced * PARTS_PER_UNIT).round() as i128,
            milliseconds: i128::try_from(milliseconds).unwrap_or(i128::MAX / 4),
            waits: 0,
        },
        transfer,
    })
}

/// The cheapest way through at least one relay.
fn shortest(
    problem: &Problem,
    subject: &Subject,
    (from, to): (usize, usize),
    relays: &[usize],
) -> Option<Way> {
    let mut graph = DiGraph::new();
    let start = graph.add_node(from);
    let end = graph.add_node(to);
    let nodes: Vec<_> = relays.iter().map(|relay| graph.add_node(*relay)).collect();
    let mut connect = |a: petgraph::graph::NodeIndex, b: petgraph::graph::NodeIndex| {
        if let Some(mut way) = direct(problem, subject, graph[a], graph[b]) {
            way.weight.waits = 1;
            graph.add_edge(a, b, way.weight);
        }
    };
    for a in &nodes {
        connect(start, *a);
        connect(*a, end);
        nodes.iter().filter(|b| *b != a).for_each(|b| connect(*a, *b));
    }
    let (weight, path) = astar(
        &graph,
        start,
        |node| node == end,
        |edge| *edge.weight(),
        |_| Weight::default(),
    )?;
    let places: Vec<_> = path.iter().map(|node| graph[*node]).collect();
    let mut sum = cost::transfer_between(problem, subject, from, to);
    (sum.money, sum.carbon_kg, sum.priced) = (0.0, 0.0, 0.0);
    for pair in places.windows(2) {
        let hop = cost::transfer_between(problem, subject, pair[0], pair[1]);
        sum.money += hop.money;
        sum.carbon_kg += hop.carbon_kg;
        sum.priced += hop.priced;
    }
    Some(Way {
        via: places[1..places.len() - 1].to_vec(),
        transfer: sum,
        weight,
    })
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    from: usize,
    to: usize,
    weight: Weight,
}

impl Edge {
    fn new(from: usize, to: usize, weight: Weight) -> Self {
        Self { from, to, weight }
    }
}

/// For every node but the root 0, the edge into it that the cheapest arborescence takes; among equal ones the first.
/// By Chu, Liu and Edmonds: every node takes its cheapest edge; a circle is drawn together into one node, whose edges
/// from outside cost what they add to it.
fn arborescence(nodes: usize, edges: &[Edge]) -> Option<Vec<usize>> {
    let mut best: Vec<Option<usize>> = vec![None; nodes];
    for (index, edge) in edges.iter().enumerate().filter(|(_, edge)| edge.to != 0) {
        let is_better = |chosen: usize| edge.weight < edges[chosen].weight;
        if best[edge.to].is_none_or(is_better) {
            best[edge.to] = Some(index);
        }
    }
    let best: Vec<usize> = best.into_iter().skip(1).collect::<Option<_>>()?;
    let into = |node: usize| &edges[best[node - 1]];
    let (group_of, groups, circular) = circles(nodes, |node| into(node).from);
    if !circular.contains(&true) {
        return Some(best);
    }
    let mut inner = Vec::new();
    let mut origin = Vec::new();
    for (index, edge) in edges.iter().enumerate() {
        let (from, to) = (group_of[edge.from], group_of[edge.to]);
        if from == to || edge.to == 0 {
            continue;
        }
        let weight = if circular[to] {
            edge.weight - into(edge.to).weight
        } else {
            edge.weight
        };
        inner.push(Edge::new(from, to, weight));
        origin.push(index);
    }
    let chosen = arborescence(groups, &inner)?;
    let mut result = best;
    for edge in chosen.into_iter().map(|chosen| origin[chosen]) {
        result[edges[edge].to - 1] = edge;
    }
    Some(result)
}

/// Groups of nodes, each circle one of them and every other node alone; the root is group 0. For each group, whether it
/// is a circle.
fn circles(nodes: usize, parent: impl Fn(usize) -> usize) -> (Vec<usize>, usize, Vec<bool>) {
    let mut group_of = vec![usize::MAX; nodes];
    let mut seen_from = vec![0; nodes];
    group_of[0] = 0;
    let mut circular = vec![false];
    for start in 1..nodes {
        let mut node = start;
        while node != 0 && seen_from[node] == 0 {
            seen_from[node] = start;
            node = parent(node);
        }
        if node == 0 || seen_from[node] != start || group_of[node] != usize::MAX {
            continue;
        }
        let mut member = node;
        while group_of[member] == usize::MAX {
            group_of[member] = circular.len();
            member = parent(member);
        }
        circular.push(true);
    }
    for group in &mut group_of {
        if *group == usize::MAX {
            *group = circular.len();
            circular.push(false);
        }
    }
    (group_of, circular.len(), circular)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(list: &[(usize, usize, i128)]) -> Vec<Edge> {
        let edge = |(from, to, parts): &(usize, usize, i128)| {
            let weight = Weight {
                parts: *parts,
                ..Weight::default()
            };
            Edge::new(*from, *to, weight)
        };
        list.iter().map(edge).collect()
    }

    fn parents(nodes: usize, list: &[(usize, usize, i128)]) -> Option<Vec<usize>> {
        let edges = edges(list);
        let chosen = arborescence(nodes, &edges)?;
        Some(chosen.into_iter().map(|edge| edges[edge].from).collect())
    }

    #[test]
    fn a_circle_of_cheap_edges_is_entered_where_it_costs_least() {
        let list = [(0, 1, 10), (0, 2, 9), (1, 2, 1), (2, 1, 1), (2, 3, 1), (3, 1, 0)];
        assert_eq!(parents(4, &list), Some(vec![3, 0, 2]));
        assert_eq!(parents(3, &[(1, 2, 1), (2, 1, 1)]), None);
        assert_eq!(parents(1, &[]), Some(vec![]));
    }

    #[test]
    fn equal_sums_in_any_order_are_equal() {
        assert_eq!(parents(3, &[(0, 1, 1), (0, 2, 1), (1, 2, 1)]), Some(vec![0, 0]));
    }

    /// Every way of giving each node a parent, by trying them all.
    fn best_by_trial(nodes: usize, edges: &[Edge]) -> Option<i128> {
        fn go(node: usize, nodes: usize, edges: &[Edge], parent: &mut Vec<usize>, sum: i128) -> Option<i128> {
            if node == nodes {
                let reaches = |mut at: usize| {
                    for _ in 0..nodes {
                        at = parent[at];
                    }
                    at == 0
                };
                return (0..nodes).all(reaches).then_some(sum);
            }
            let into = edges.iter().filter(|edge| edge.to == node);
            into.filter_map(|edge| {
                parent[node] = edge.from;
                go(node + 1, nodes, edges, parent, sum + edge.weight.parts)
            })
            .min()
        }
        go(1, nodes, edges, &mut vec![0; nodes], 0)
    }

    #[test]
    fn no_tree_is_cheaper() {
        let mut state = 7u64;
        let mut below = |limit: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        for _ in 0..2_000 {
            let nodes = 2 + below(4) as usize;
            let mut list = Vec::new();
            for to in 1..nodes {
                for from in (0..nodes).filter(|from| *from != to) {
                    if below(4) > 0 {
                        list.push((from, to, i128::from(below(9))));
                    }
                }
            }
            let edges = edges(&list);
            let sum = |chosen: Vec<usize>| chosen.iter().map(|edge| edges[*edge].weight.parts).sum::<i128>();
            assert_eq!(
                arborescence(nodes, &edges).map(sum),
                best_by_trial(nodes, &edges),
                "{list:?}"
            );
        }
    }
}
