//! Steps that may begin as soon as there is room, a line for each owner at each backend, and the room itself.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{BackendName, ByteCount};
use domicile_movers::Shares;

use crate::owners::Owners;
use crate::room::Rooms;
use crate::step::Step;

/// No step stands here. A step never needs as much: it is more than fits anywhere.
const NOBODY: u64 = u64::MAX;

/// The lines before all backends. Steps are known by their position in the plan's order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue {
    rooms: Rooms,
    lines: Vec<Line>,
    at: BTreeMap<BackendName, At>,
    /// For each step its line and its place there.
    places: Vec<(usize, usize)>,
    owners: Vec<Owner>,
    /// Of each owner who has one the first step that has room.
    ready: BTreeSet<(usize, usize)>,
    shares: Shares<usize>,
}

/// What is to be done at one backend.
#[derive(Debug, Clone, Default)]
struct At {
    /// All of it, in the plan's order.
    steps: Vec<usize>,
    /// The line of each owner.
    lines: BTreeMap<usize, usize>,
}

#[derive(Debug, Clone)]
struct Owner {
    weight: u32,
    /// Of each of his lines the first step that has room.
    first: BTreeSet<usize>,
}

/// What is to be done at one backend for one owner, in the plan's order.
#[derive(Debug, Clone)]
struct Line {
    target: BackendName,
    owner: usize,
    steps: Vec<usize>,
    /// A tree over the places: the least room that a step below a node needs, the root at 1. So the first step that
    /// fits is found without asking those before it, however many of them wait for room.
    needs: Vec<u64>,
    /// The first step that has room.
    first: Option<usize>,
}

impl Line {
    fn set(&mut self, place: usize, need: u64) {
        let mut node = self.needs.len() / 2 + place;
        self.needs[node] = need;
        while node > 1 {
            node /= 2;
            self.needs[node] = self.needs[2 * node].min(self.needs[2 * node + 1]);
        }
    }

    fn first_within(&self, free: ByteCount) -> Option<usize> {
        let free = free.0.min(NOBODY - 1);
        if self.needs[1] > free {
            return None;
        }
        let leaves = self.needs.len() / 2;
        let mut node = 1;
        while node < leaves {
            node *= 2;
            if self.needs[node] > free {
                node += 1;
            }
        }
        Some(self.steps[node - leaves])
    }
}

impl Queue {
    /// Empty lines for these steps.
    pub(crate) fn new<'a>(steps: impl Iterator<Item = &'a Step>, rooms: Rooms, owners: &Owners) -> Self {
        let mut queue = Self {
            rooms,
            ..Self::default()
        };
        let mut numbers = BTreeMap::new();
        for (position, step) in steps.enumerate() {
            let name = owners.of(&step.dataset);
            let owner = *numbers.entry(name).or_insert_with(|| {
                queue.owners.push(Owner {
                    weight: owners.weight(name),
                    first: BTreeSet::new(),
                });
                queue.owners.len() - 1
            });
            let line = queue.line(step.target(), owner, position);
            let steps = &mut queue.lines[line].steps;
            steps.push(position);
            queue.places.push((line, steps.len() - 1));
        }
        for line in &mut queue.lines {
            line.needs = vec![NOBODY; 2 * line.steps.len().next_power_of_two().max(1)];
        }
        queue
    }

    /// The line of an owner at a backend, where this step is to be done.
    fn line(&mut self, target: &BackendName, owner: usize, step: usize) -> usize {
        let at = self.at.entry(target.clone()).or_default();
        at.steps.push(step);
        *at.lines.entry(owner).or_insert_with(|| {
            self.lines.push(Line {
                target: target.clone(),
                owner,
                steps: Vec::new(),
                needs: Vec::new(),
                first: None,
            });
            self.lines.len() - 1
        })
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// The steps at a backend, in the plan's order, whether they stand in line or not.
    pub(crate) fn at(&self, target: &BackendName) -> &[usize] {
        self.at.get(target).map_or(&[], |at| at.steps.as_slice())
    }

    /// The step that has room and comes next: the first in the plan's order of the owner whose turn it is.
    pub(crate) fn first(&self) -> Option<usize> {
        let waiting = self.ready.iter().map(|(_, owner)| owner);
        let waiting = waiting.map(|owner| (owner, self.owners[*owner].weight));
        let owner = self.shares.turn(waiting)?;
        self.owners[*owner].first.first().copied()
    }

    /// A step with so many bytes is under way from now on.
    pub(crate) fn begin(&mut self, step: usize, bytes: u64) {
        let owner = self.lines[self.places[step].0].owner;
        self.shares.begin(&owner, self.owners[owner].weight, bytes);
    }

    /// A step with so many bytes is no longer under way.
    pub(crate) fn end(&mut self, step: usize, bytes: u64) {
        self.shares.end(&self.lines[self.places[step].0].owner, bytes);
    }

    /// Puts a step in line with the room that it needs.
    pub(crate) fn insert(&mut self, step: usize, need: ByteCount) {
        let (line, place) = self.places[step];
        self.lines[line].set(place, need.0);
        self.look_again(line);
    }

    /// Takes a step out of its line, if it stands there.
    pub(crate) fn remove(&mut self, step: usize) {
        let (line, place) = self.places[step];
        self.lines[line].set(place, NOBODY);
        self.look_again(line);
    }

    /// Takes room for a step at its backend.
    pub(crate) fn reserve(&mut self, step: usize, bytes: ByteCount) {
        let target = self.lines[self.places[step].0].target.clone();
        self.rooms.reserve(&target, bytes);
        self.look_again_at(&target);
    }

    /// Gives back the room of what a step has retired.
    pub(crate) fn release(&mut self, step: usize, bytes: ByteCount) {
        let target = self.lines[self.places[step].0].target.clone();
        self.rooms.release(&target, bytes);
        self.look_again_at(&target);
    }

    fn look_again_at(&mut self, target: &BackendName) {
        let lines: Vec<usize> = self
            .at
            .get(target)
            .map_or_else(Vec::new, |at| at.lines.values().copied().collect());
        lines.into_iter().for_each(|line| self.look_again(line));
    }

    fn look_again(&mut self, line: usize) {
        let line = &mut self.lines[line];
        let first = line.first_within(self.rooms.free(&line.target));
        if first == line.first {
            return;
        }
        let owner = &mut self.owners[line.owner];
        let before = owner.first.first().copied();
        if let Some(before) = std::mem::replace(&mut line.first, first) {
            owner.first.remove(&before);
        }
        owner.first.extend(first);
        let now = owner.first.first().copied();
        if now != before {
            self.ready.extend(now.map(|step| (step, line.owner)));
            if let Some(before) = before {
                self.ready.remove(&(before, line.owner));
            }
        }
    }
}
