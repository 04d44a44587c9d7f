//! Steps that may begin as soon as there is room, a line for each backend, and the room itself.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{BackendName, ByteCount};

use crate::room::Rooms;
use crate::step::Step;

/// No step stands here. A step never needs as much: it is more than fits anywhere.
const NOBODY: u64 = u64::MAX;

/// The lines before all backends. Steps are known by their position in the plan's order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue {
    rooms: Rooms,
    lines: Vec<Line>,
    line_of: BTreeMap<BackendName, usize>,
    /// For each step its line and its place there.
    places: Vec<(usize, usize)>,
    /// Of each line the first step that has room.
    first: BTreeSet<usize>,
}

/// What is to be done at one backend, in the plan's order.
#[derive(Debug, Clone)]
struct Line {
    target: BackendName,
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
    pub(crate) fn new<'a>(steps: impl Iterator<Item = &'a Step>, rooms: Rooms) -> Self {
        let mut queue = Self {
            rooms,
            ..Self::default()
        };
        for (position, step) in steps.enumerate() {
            let line = queue.line(step.target());
            let steps = &mut queue.lines[line].steps;
            steps.push(position);
            queue.places.push((line, steps.len() - 1));
        }
        for line in &mut queue.lines {
            line.needs = vec![NOBODY; 2 * line.steps.len().next_power_of_two().max(1)];
        }
        queue
    }

    fn line(&mut self, target: &BackendName) -> usize {
        if let Some(line) = self.line_of.get(target) {
            return *line;
        }
        self.lines.push(Line {
            target: target.clone(),
            steps: Vec::new(),
            needs: Vec::new(),
            first: None,
        });
        self.line_of.insert(target.clone(), self.lines.len() - 1);
        self.lines.len() - 1
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// The steps at a backend, in the plan's order, whether they stand in line or not.
    pub(crate) fn at(&self, target: &BackendName) -> &[usize] {
        self.line_of
            .get(target)
            .map_or(&[], |line| self.lines[*line].steps.as_slice())
    }

    /// The first step in the plan's order that has room.
    pub(crate) fn first(&self) -> Option<usize> {
        self.first.first().copied()
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
        let line = self.places[step].0;
        self.rooms.reserve(&self.lines[line].target, bytes);
        self.look_again(line);
    }

    /// Gives back the room of what a step has retired.
    pub(crate) fn release(&mut self, step: usize, bytes: ByteCount) {
        let line = self.places[step].0;
        self.rooms.release(&self.lines[line].target, bytes);
        self.look_again(line);
    }

    fn look_again(&mut self, line: usize) {
        let line = &mut self.lines[line];
        let first = line.first_within(self.rooms.free(&line.target));
        if first == line.first {
            return;
        }
        if let Some(before) = std::mem::replace(&mut line.first, first) {
            self.first.remove(&before);
        }
        self.first.extend(first);
    }
}
