//! The order of the parts: each runs whole, its copies and then its retirements, as soon as it hurts nobody.
//!
//! A backend is *scarce* while the copies yet to be made there do not all fit. What runs there takes as much of the
//! room as of the need, so only retirements end scarcity, and a backend that is no longer scarce never is again. So:
//!
//! 1. A part whose targets are not scarce may run at any time.
//! 2. A part that frees no scarce backend helps nobody, and waits until its targets are not scarce.
//! 3. The others make up the knot. One that fits runs; the room it frees is given on at once, to one that stays within
//!    the knot (its strong component) and frees what is scarcest.
//!
//! Whole parts lose nothing: a copy that takes room before its dataset can retire anything could as well be made
//! later. Each part waits at one scarce backend that has no room for it, and is looked at again when that has; so the
//! time is near linear in the moves.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

use super::circle::{Circles, Detour};
use super::part::{Part, Parts, Spot, signed};
use super::pool::Pool;
use super::{Blocked, Move, MoveId};
use crate::problem::Problem;
use crate::solution::Stuck;

/// How often parts are looked at, for each part: what is still unordered then is taken for stuck.
const LOOKS: u64 = 64;
/// Parts up to which the knot is looked at anew before each step, where the quick order is stuck.
const CAREFUL: usize = 5_000;
/// Looks for which the queues at a backend keep their ranks, where there are more parts than that.
const RANKED_FOR: u32 = 32;

/// Which of the parts that fit runs first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taste {
    /// The largest, whose room is of use to most.
    Largest,
    /// The same, with the knot as it is at that moment: room never goes where it cannot come back from while there is
    /// another way.
    Careful,
    /// The smallest, after which most room is left.
    Smallest,
}

/// A part by its size; of equal ones the first by name is taken last from the front, and first from the back.
type Sized = (u64, Reverse<u32>);

/// Parts that wait at one scarce backend: by the scarcest backend that they free, then by size.
type Queue = BTreeMap<usize, BTreeSet<Sized>>;

/// The way from what is there now to a solution, simulated.
pub(super) struct Way<'a> {
    pub parts: Parts<'a>,
    pub pools: Vec<Pool>,
    /// As [`Parts::lack`], as it stands.
    pub lack: Vec<i128>,
    pub waiting: Vec<Queue>,
    /// Parts that free nothing scarce, at the backend for which they wait.
    parked: Vec<Vec<u32>>,
    pub done: Vec<bool>,
    ready: VecDeque<u32>,
    /// Scarce backends that may have room for somebody; the one freed last is on top.
    holes: Vec<usize>,
    /// Each copy beside the moves whose room it takes, copies together.
    waits: Vec<(u32, MoveId)>,
    /// The strong component of each backend in the knot.
    knot: Vec<usize>,
    /// Parts that go by a third place.
    pub detours: BTreeMap<u32, Detour>,
    /// For each backend, the queues there from the best on, and for how many looks that still holds.
    ranks: Vec<(u32, Vec<usize>)>,
    taste: Taste,
    looks: u64,
}

impl<'a> Way<'a> {
    /// The moves in their order, or the datasets whose copies wait for each other in circles that nothing breaks.
    pub fn find(parts: Parts<'a>) -> Result<Vec<Move>, Blocked> {
        let mut way = Self::begin(parts, Taste::Largest);
        way.run();
        let last = if way.in_the_knot() <= CAREFUL {
            Taste::Careful
        } else {
            Taste::Largest
        };
        for taste in [Taste::Smallest, last] {
            if way.done.iter().all(|done| *done) {
                return Ok(way.into_moves());
            }
            way = Self::begin(way.parts, taste);
            way.run();
        }
        let stuck = way.stuck();
        if stuck.is_empty() {
            return Ok(way.into_moves());
        }
        let mut circles = Circles::of(&way);
        while !way.done.iter().all(|done| *done) {
            if !circles.break_one(&mut way) {
                return Err(stuck);
            }
            way.run();
        }
        Ok(way.into_moves())
    }

    fn begin(parts: Parts<'a>, taste: Taste) -> Self {
        let backends = parts.problem.backends.len();
        let free = parts.ground.room.iter().zip(&parts.ground.used);
        let scarce = |backend: &usize| parts.lack[*backend] > 0;
        let mut way = Self {
            pools: free.map(|(room, used)| Pool::new(room - used)).collect(),
            lack: parts.lack.clone(),
            waiting: vec![Queue::new(); backends],
            parked: vec![Vec::new(); backends],
            done: vec![false; parts.parts.len()],
            ready: (0..super::part::narrow(parts.parts.len())).collect(),
            holes: (0..backends).rev().filter(scarce).collect(),
            waits: Vec::new(),
            knot: Vec::new(),
            detours: BTreeMap::new(),
            ranks: vec![(0, Vec::new()); backends],
            taste,
            looks: 0,
            parts,
        };
        way.knot = way.find_knot();
        way
    }

    /// Parts that find no room at once.
    fn in_the_knot(&self) -> usize {
        let scarce = |place: &usize| self.parts.lack[self.parts.backend(*place)] > 0;
        let parts = self.parts.parts.iter();
        parts
            .filter(|part| part.copies().any(|place| scarce(&place)))
            .count()
    }

    pub fn problem(&self) -> &'a Problem {
        self.parts.problem
    }

    pub fn part(&self, part: u32) -> Part {
        self.parts.parts[part as usize]
    }

    pub fn is_scarce(&self, backend: usize) -> bool {
        self.lack[backend] > 0
    }

    pub fn bytes(&self, part: u32) -> u64 {
        self.part(part).bytes
    }

    /// The strong components of the graph that leads from each scarce target to what is freed for it.
    fn find_knot(&self) -> Vec<usize> {
        let count = self.lack.len();
        let mut leads = vec![false; count * count];
        for part in 0..super::part::narrow(self.done.len()) {
            for to in self.scarce_targets(part) {
                for from in self.frees(part).filter(|from| self.is_scarce(*from)) {
                    leads[to * count + from] = true;
                }
            }
        }
        let edges = (0..count * count).filter(|edge| leads[*edge]);
        self.components(edges.map(|edge| (edge / count, edge % count)).collect())
    }

    /// The same of the parts that wait, each with the one backend at which it does.
    fn knot_now(&self) -> Vec<usize> {
        let mut edges = BTreeSet::new();
        for (to, queue) in self.waiting.iter().enumerate() {
            edges.extend(
                queue
                    .keys()
                    .filter(|from| self.is_scarce(**from))
                    .map(|from| (to, *from)),
            );
        }
        self.components(edges)
    }

    fn components(&self, edges: BTreeSet<(usize, usize)>) -> Vec<usize> {
        let mut graph = DiGraph::<(), ()>::new();
        let nodes: Vec<_> = self.lack.iter().map(|_| graph.add_node(())).collect();
        for (to, from) in edges {
            graph.add_edge(nodes[to], nodes[from], ());
        }
        let mut knot = vec![0; nodes.len()];
        for (number, component) in tarjan_scc(&graph).into_iter().enumerate() {
            component.into_iter().for_each(|node| knot[node.index()] = number);
        }
        knot
    }

    /// The scarce backends on which a part takes room.
    pub fn scarce_targets(&self, part: u32) -> impl Iterator<Item = usize> + '_ {
        let of = self.part(part);
        of.copies()
            .map(|place| self.parts.at[place])
            .filter(|spot| self.is_scarce(spot.backend()) && spot.takes_room())
            .map(Spot::backend)
    }

    /// The backends that a part frees, its detour's end aside.
    pub fn frees(&self, part: u32) -> impl Iterator<Item = usize> + '_ {
        let left = self.detours.get(&part).map(|detour| detour.left);
        let of = self.part(part);
        let retired = of.retirements().map(|place| self.parts.backend(place));
        retired.filter(move |from| Some(*from) != left)
    }

    /// Runs what can run.
    pub fn run(&mut self) {
        let most = LOOKS * (self.done.len() as u64 + 1);
        self.looks = 0;
        loop {
            while let Some(part) = self.ready.pop_front() {
                self.admit(part);
            }
            let Some(hole) = self.holes.pop() else { return };
            if self.looks > most {
                return;
            }
            if let Some(part) = self.best_for(hole) {
                self.holes.push(hole);
                self.run_part(part);
            }
        }
    }

    /// Runs a part whose targets are not scarce; lets another wait at one that is.
    fn admit(&mut self, part: u32) {
        let scarce: Vec<usize> = self.scarce_targets(part).collect();
        let Some(first) = scarce.first().copied() else {
            self.run_part(part);
            return;
        };
        let bytes = u128::from(self.bytes(part));
        let full = scarce.into_iter().find(|to| self.pools[*to].free() < bytes);
        self.wait_at(part, full.unwrap_or(first));
    }

    /// Lets a part wait at a scarce backend: in the queue of the scarcest backend that it frees, or, if it frees none,
    /// until the backend is not scarce.
    fn wait_at(&mut self, part: u32, backend: usize) {
        let scarcest = self.frees(part).filter(|from| self.is_scarce(*from));
        let Some(source) = scarcest.max_by_key(|from| (self.lack[*from], Reverse(*from))) else {
            self.parked[backend].push(part);
            return;
        };
        let entry = (self.bytes(part), Reverse(part));
        self.waiting[backend].entry(source).or_default().insert(entry);
        // Room that is there already is offered to it as well.
        if self.pools[backend].free() >= u128::from(entry.0) && self.holes.last() != Some(&backend) {
            self.holes.push(backend);
        }
    }

    /// Takes the best of the parts that wait at a backend and fit everywhere. One that lacks room at another backend
    /// waits there from now on.
    fn best_for(&mut self, hole: usize) -> Option<u32> {
        if self.taste == Taste::Careful {
            self.knot = self.knot_now();
        }
        loop {
            self.looks += 1;
            let (source, entry) = self.first_that_fits(hole)?;
            self.leave(hole, source, entry);
            let part = entry.1.0;
            let bytes = u128::from(entry.0);
            let full = self
                .scarce_targets(part)
                .find(|to| self.pools[*to].free() < bytes);
            let Some(full) = full else { return Some(part) };
            self.wait_at(part, full);
        }
    }

    /// Puts those into other queues whose source is scarce no more.
    fn queue_anew(&mut self, hole: usize) {
        let plenty: Vec<_> = self.waiting[hole]
            .keys()
            .copied()
            .filter(|from| !self.is_scarce(*from))
            .collect();
        for source in plenty {
            for (_, part) in self.waiting[hole].remove(&source).into_iter().flatten() {
                self.wait_at(part.0, hole);
            }
        }
    }

    /// The part to which the room of a backend is given.
    fn first_that_fits(&mut self, hole: usize) -> Option<(usize, Sized)> {
        if let Some(left) = self.ranks[hole].0.checked_sub(1) {
            self.ranks[hole].0 = left;
            if let Some(found) = self.first_in_rank(hole) {
                return Some(found);
            }
        }
        self.queue_anew(hole);
        self.rank(hole);
        self.first_in_rank(hole)
    }

    /// Ranks the queues at a backend: first whether what they free stays in the knot, then whether somebody waits for
    /// it there, then how much is lacking there. All of that changes slowly where many wait.
    fn rank(&mut self, hole: usize) {
        let score = |from: &usize| {
            let waited_for = !self.waiting[*from].is_empty();
            let stays = self.knot[*from] == self.knot[hole];
            Reverse((stays, waited_for, self.lack[*from], Reverse(*from)))
        };
        let mut order: Vec<_> = self.waiting[hole].keys().copied().collect();
        order.sort_by_cached_key(score);
        let looks = if self.done.len() > CAREFUL { RANKED_FOR } else { 0 };
        self.ranks[hole] = (looks, order);
    }

    fn first_in_rank(&self, hole: usize) -> Option<(usize, Sized)> {
        let free = u64::try_from(self.pools[hole].free()).unwrap_or(u64::MAX);
        let fitting = |from: &usize| {
            let queue = self.waiting[hole].get(from).filter(|_| self.is_scarce(*from))?;
            let entry = match self.taste {
                Taste::Largest | Taste::Careful => queue.range(..=(free, Reverse(0))).next_back(),
                Taste::Smallest => queue.first().filter(|(bytes, _)| *bytes <= free),
            };
            entry.map(|entry| (*from, *entry))
        };
        self.ranks[hole].1.iter().find_map(fitting)
    }

    fn leave(&mut self, backend: usize, source: usize, entry: Sized) {
        if let Some(queue) = self.waiting[backend].get_mut(&source) {
            queue.remove(&entry);
            if queue.is_empty() {
                self.waiting[backend].remove(&source);
            }
        }
    }

    /// Takes a part out of where it waits.
    pub fn take_out(&mut self, part: u32) {
        let entry = (self.bytes(part), Reverse(part));
        let targets: Vec<_> = self.scarce_targets(part).collect();
        for backend in targets {
            let holds =
                |(source, queue): (&usize, &BTreeSet<Sized>)| queue.contains(&entry).then_some(*source);
            if let Some(source) = self.waiting[backend].iter().find_map(holds) {
                self.leave(backend, source, entry);
            }
        }
    }

    fn run_part(&mut self, part: u32) {
        let of = self.part(part);
        for place in self.in_reading_order(of) {
            self.make(of, place);
        }
        for place in of.retirements() {
            let backend = self.parts.backend(place);
            if self
                .detours
                .get(&part)
                .is_none_or(|detour| detour.left != backend)
            {
                let id = self.parts.moves[place].id;
                self.free(of, backend, id);
            }
        }
        let end = self.detours.get(&part).and_then(|detour| detour.end.as_ref());
        if let Some((third, id)) = end.map(|(third, _, retire)| (*third, retire.id)) {
            self.free(of, third, id);
        }
        self.done[part as usize] = true;
    }

    /// The copies of a part, each after the one that it reads.
    fn in_reading_order(&self, part: Part) -> Vec<usize> {
        let mut open: Vec<_> = part.copies().collect();
        // Most read current copies, which are there.
        if open.iter().all(|place| self.parts.moves[*place].after.is_empty()) {
            return open;
        }
        let mut order = Vec::with_capacity(open.len());
        while !open.is_empty() {
            let unread: Vec<MoveId> = open.iter().map(|place| self.parts.moves[*place].id).collect();
            let waits = |place: &usize| {
                self.parts.moves[*place]
                    .after
                    .iter()
                    .any(|id| unread.contains(id))
            };
            let (later, now): (Vec<_>, Vec<_>) = open.into_iter().partition(waits);
            assert!(!now.is_empty(), "routes have no circle");
            order.extend(now);
            open = later;
        }
        order
    }

    /// Makes one copy: it takes room for good where it goes, and for a while on its relays.
    fn make(&mut self, part: Part, place: usize) {
        let bytes = u128::from(part.bytes);
        let to = self.parts.backend(place);
        let takes = if self.parts.at[place].takes_room() {
            bytes
        } else {
            0
        };
        let (waits, pools) = (&mut self.waits, &mut self.pools);
        let planned = &self.parts.moves[place];
        let mut wait = |id: MoveId| waits.push((super::part::narrow(place), id));
        pools[to].take(takes, &mut wait);
        let super::Action::Copy { via, .. } = &planned.action else {
            return;
        };
        for relay in via
            .iter()
            .filter_map(|relay| self.parts.problem.backend(relay.as_str()))
        {
            pools[relay].take(bytes, &mut wait);
            pools[relay].put(bytes, planned.id);
        }
    }

    /// Frees a backend. Where that ends scarcity, all that waited there is looked at again.
    pub fn free(&mut self, part: Part, backend: usize, freed_by: MoveId) {
        let bytes = u128::from(part.bytes);
        let was_scarce = self.is_scarce(backend);
        self.pools[backend].put(bytes, freed_by);
        self.lack[backend] -= signed(bytes);
        if self.is_scarce(backend) {
            self.holes.push(backend);
        } else if was_scarce {
            let mut released = std::mem::take(&mut self.parked[backend]);
            let queues = std::mem::take(&mut self.waiting[backend]);
            released.extend(queues.into_values().flatten().map(|(_, part)| part.0));
            released.sort_unstable();
            self.ready.extend(released);
        }
    }

    /// Has a part looked at again.
    pub fn look_again(&mut self, part: u32) {
        self.ready.push_back(part);
    }

    /// Datasets that did not run, each with the backends without room that they wait for.
    fn stuck(&self) -> Blocked {
        let open = (0u32..).zip(&self.done).filter(|(_, done)| !**done);
        open.map(|(part, _)| {
            (
                self.part(part).dataset as usize,
                Stuck::Circle(self.scarce_targets(part).collect()),
            )
        })
        .collect()
    }

    fn into_moves(self) -> Vec<Move> {
        let mut moves = self.parts.moves;
        for group in self.waits.chunk_by(|a, b| a.0 == b.0) {
            let planned = &mut moves[group[0].0 as usize];
            let ids = group.iter().map(|(_, id)| *id);
            planned.after = planned.after.iter().copied().chain(ids).collect();
        }
        let mut extra = Vec::new();
        for (number, part) in (0u32..).zip(&self.parts.parts) {
            let detour = self.detours.get(&number);
            let copies: Box<[MoveId]> = part.copies().map(|place| moves[place].id).collect();
            for place in part.retirements() {
                let early = detour.filter(|detour| detour.left == self.parts.at[place].backend());
                moves[place].after = early.map_or_else(|| copies.clone(), Detour::leaves_after);
            }
            for (_, copy, retire) in detour.into_iter().filter_map(|detour| detour.end.clone()) {
                let after = copies.clone();
                extra.extend([copy, Move { after, ..retire }]);
            }
        }
        for planned in moves.iter_mut().chain(&mut extra) {
            planned.after.sort_unstable();
        }
        if !extra.is_empty() {
            moves.extend(extra);
            // Stable: within a dataset the moves of each kind are sorted by backend.
            moves.sort_by(|a, b| (&a.dataset, a.rank()).cmp(&(&b.dataset, b.rank())));
        }
        moves
    }
}
