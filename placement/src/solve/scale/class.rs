//! The classes, side by side in memory: there may be hundreds of thousands, each of a few numbers.

use std::ops::Range;

use super::ways::Relayed;

/// Every class.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    heads: Vec<Head>,
    positions: Vec<u16>,
    numbers: Vec<u32>,
    /// What few classes have.
    rarities: Vec<Rarity>,
}

/// Where a class's lists lie: they follow one another.
#[derive(Debug)]
struct Head {
    shape: u32,
    /// Where its positions begin, and where each list of them ends from there: current, kept, roomless, stay.
    positions: u32,
    ends: [u32; 4],
    /// Where its numbers begin, and how many sources and floors there are.
    numbers: u32,
    sources: u32,
    floors: u32,
    /// Its place in [`Classes::rarities`], or past their end.
    rarity: u32,
    proportional: bool,
}

/// No rarity.
const NONE: u32 = u32::MAX;

/// What few classes have.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Rarity {
    /// Candidates of which some is there: position, bytes and objects that are missing.
    pub partial: Vec<(u16, u64, u64)>,
    /// What is kept if nothing is made, if that is no set of candidates.
    pub fallback: Option<Fallback>,
    /// Candidates to which no direct way leads from where copies are read: how they can be reached at all.
    pub relayed: Vec<Relayed>,
}

/// Inadmissible copies that stay for want of better.
#[derive(Debug, PartialEq)]
pub(crate) struct Fallback {
    /// The backends.
    pub set: Vec<u32>,
    /// Those where it takes room that is shared.
    pub takes: Vec<u32>,
}

/// A class to be put among the others: a shape with what is there now.
#[derive(Debug, Default)]
pub(crate) struct NewClass {
    pub shape: u32,
    /// Positions of the candidates that hold a current copy.
    pub current: Vec<u16>,
    /// Positions of the candidates that are not made anew: the current ones and a kept origin.
    pub kept: Vec<u16>,
    /// Positions of the candidates that take no room, since a copy stays there anyway.
    pub roomless: Vec<u16>,
    /// Positions of the candidates that are kept if nothing is made.
    pub stay: Vec<u16>,
    /// Backends to read from.
    pub sources: Vec<u32>,
    /// For each need, what is there now of it.
    pub floors: Vec<u32>,
    pub rarity: Rarity,
    /// Whether every candidate's cost is in proportion to the bytes.
    pub proportional: bool,
}

impl Classes {
    /// How many.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Puts a class behind the others.
    pub fn push(&mut self, class: NewClass) {
        let positions = self.positions.len();
        let mut ends = [0; 4];
        let lists = [&class.current, &class.kept, &class.roomless, &class.stay];
        for (end, list) in ends.iter_mut().zip(lists) {
            self.positions.extend_from_slice(list);
            *end = (self.positions.len() - positions) as u32;
        }
        let numbers = self.numbers.len() as u32;
        self.numbers.extend_from_slice(&class.sources);
        self.numbers.extend_from_slice(&class.floors);
        let is_rare = class.rarity != Rarity::default();
        self.heads.push(Head {
            shape: class.shape,
            positions: positions as u32,
            ends,
            numbers,
            sources: class.sources.len() as u32,
            floors: class.floors.len() as u32,
            rarity: if is_rare { self.rarities.len() as u32 } else { NONE },
            proportional: class.proportional,
        });
        if is_rare {
            self.rarities.push(class.rarity);
        }
    }

    /// A class.
    pub fn get(&self, class: usize) -> Class<'_> {
        Class {
            all: self,
            head: &self.heads[class],
        }
    }
}

/// One of the classes; what its lists are is told at [`NewClass`].
#[derive(Clone, Copy)]
pub(crate) struct Class<'c> {
    all: &'c Classes,
    head: &'c Head,
}

impl<'c> Class<'c> {
    /// Its shape.
    pub fn shape(self) -> usize {
        self.head.shape as usize
    }

    fn positions(self, list: Range<u32>) -> &'c [u16] {
        let start = self.head.positions as usize;
        &self.all.positions[start + list.start as usize..start + list.end as usize]
    }

    pub fn current(self) -> &'c [u16] {
        self.positions(0..self.head.ends[0])
    }

    pub fn kept(self) -> &'c [u16] {
        self.positions(self.head.ends[0]..self.head.ends[1])
    }

    pub fn roomless(self) -> &'c [u16] {
        self.positions(self.head.ends[1]..self.head.ends[2])
    }

    pub fn stay(self) -> &'c [u16] {
        self.positions(self.head.ends[2]..self.head.ends[3])
    }

    pub fn sources(self) -> &'c [u32] {
        let start = self.head.numbers as usize;
        &self.all.numbers[start..start + self.head.sources as usize]
    }

    pub fn floors(self) -> &'c [u32] {
        let start = self.head.numbers as usize + self.head.sources as usize;
        &self.all.numbers[start..start + self.head.floors as usize]
    }

    fn rarity(self) -> Option<&'c Rarity> {
        self.all.rarities.get(self.head.rarity as usize)
    }

    pub fn partial(self) -> &'c [(u16, u64, u64)] {
        self.rarity().map_or(&[], |rarity| &rarity.partial)
    }

    pub fn fallback(self) -> Option<&'c Fallback> {
        self.rarity().and_then(|rarity| rarity.fallback.as_ref())
    }

    pub fn relayed(self) -> &'c [Relayed] {
        self.rarity().map_or(&[], |rarity| &rarity.relayed)
    }

    pub fn is_proportional(self) -> bool {
        self.head.proportional
    }
}
