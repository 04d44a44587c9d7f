//! What one dataset needs of the backends that it may choose, and how far a set of them falls short.
//!
//! Every need has one form: candidates stand in groups, a group is worth its best chosen member, and the groups' worths
//! add up to what is wanted. Copies are groups of their own worth one each; spreads have a group for each value of
//! their key; durability has a group for each failure domain, worth the nines of its best member. So every need is
//! monotone and submodular, which is what the search for the best set stands on.

use crate::problem::Requirement;

/// What a need is counted in, in the order in which shortfalls weigh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    Copies,
    Groups,
    MilliNines,
}

impl Unit {
    /// All, the weightiest first.
    pub const ALL: [Self; 3] = [Self::Copies, Self::Groups, Self::MilliNines];
}

/// How far a set falls short, summed over all needs; what is missing first weighs most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Shortfall {
    /// Missing copies.
    pub copies: u32,
    /// Missing groups.
    pub groups: u32,
    /// Missing thousandths of a nine.
    pub milli_nines: u32,
}

impl Shortfall {
    /// What is missing in one unit.
    pub fn of(&self, unit: Unit) -> u32 {
        match unit {
            Unit::Copies => self.copies,
            Unit::Groups => self.groups,
            Unit::MilliNines => self.milli_nines,
        }
    }

    /// Adds what is missing of a need.
    pub fn add(&mut self, unit: Unit, missing: u32) {
        let sum = match unit {
            Unit::Copies => &mut self.copies,
            Unit::Groups => &mut self.groups,
            Unit::MilliNines => &mut self.milli_nines,
        };
        *sum = sum.saturating_add(missing);
    }
}

/// The group of a candidate in a need, and what it is worth there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// The group.
    pub group: u32,
    /// What the group is worth if this is its best chosen member; above zero.
    pub worth: u32,
}

/// One thing that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    /// What it is counted in.
    pub unit: Unit,
    /// How much is wanted.
    pub wanted: u32,
    /// For each candidate, its part; `None`: it does not count.
    pub parts: Vec<Option<Part>>,
    /// Number of groups.
    pub groups: usize,
}

/// Everything that is needed of the candidates, and what binds them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    /// For each requirement its copies, its spreads and its durability.
    pub needs: Vec<Need>,
    /// For each candidate, whether it belongs to every set: the kept origin.
    pub forced: Vec<bool>,
    /// For each candidate, whether it will be whole: not a damaged origin.
    pub whole: Vec<bool>,
    /// Positions of the needs that the others do not imply once all are met in full.
    pub core: Vec<usize>,
}

impl Needs {
    /// The needs of these requirements. `candidates`: for each candidate its backend and whether it counts at all.
    pub fn of<'r>(
        requirements: impl Iterator<Item = &'r Requirement>,
        candidates: &[(usize, bool)],
        forced: Vec<bool>,
        whole: Vec<bool>,
    ) -> Self {
        let mut needs = Vec::new();
        for requirement in requirements {
            let counts = |backend: usize, admissible: bool| admissible && requirement.accepts[backend];
            let need = |unit, wanted, part: &dyn Fn(usize) -> Option<(usize, u32)>| {
                let parts = candidates.iter().map(|(backend, admissible)| {
                    let (group, worth) = part(*backend).filter(|_| counts(*backend, *admissible))?;
                    (worth > 0).then_some((group, worth))
                });
                Need::numbered(unit, wanted, parts.collect())
            };
            needs.push(need(Unit::Copies, requirement.copies, &|backend| {
                Some((backend, 1))
            }));
            for spread in &requirement.spread {
                needs.push(need(Unit::Groups, spread.groups, &|backend| {
                    Some((spread.group_of[backend]?, 1))
                }));
            }
            if let Some(durability) = &requirement.durability {
                needs.push(need(Unit::MilliNines, durability.milli_nines, &|backend| {
                    durability.of[backend]
                }));
            }
        }
        let core = (0..needs.len())
            .filter(|need| !is_implied(&needs, *need))
            .collect();
        Self {
            needs,
            forced,
            whole,
            core,
        }
    }

    /// Number of candidates.
    pub fn candidates(&self) -> usize {
        self.forced.len()
    }

    /// For each need, what a set of candidates has of what is wanted.
    pub fn had(&self, members: &[usize]) -> Vec<u32> {
        self.needs.iter().map(|need| need.had(members)).collect()
    }

    /// How far a set of candidates falls short.
    pub fn shortfall(&self, members: &[usize]) -> Shortfall {
        let mut short = Shortfall::default();
        for need in &self.needs {
            short.add(need.unit, need.wanted - need.had(members));
        }
        short
    }

    /// How far a set falls short that has so much of each need.
    pub fn shortfall_of(&self, had: &[u32]) -> Shortfall {
        let mut short = Shortfall::default();
        for (need, had) in self.needs.iter().zip(had) {
            short.add(need.unit, need.wanted - had);
        }
        short
    }

    /// The least that any set of these candidates falls short: taking all is best for every need at once.
    pub fn least_shortfall(&self, allowed: impl Fn(usize) -> bool) -> Shortfall {
        let all: Vec<_> = (0..self.candidates()).filter(|member| allowed(*member)).collect();
        self.shortfall(&all)
    }
}

impl Need {
    /// Numbers the groups without gaps, in the order in which candidates have them.
    fn numbered(unit: Unit, wanted: u32, parts: Vec<Option<(usize, u32)>>) -> Self {
        let mut numbers = std::collections::BTreeMap::new();
        let parts = parts.into_iter().map(|part| {
            let (group, worth) = part?;
            let next = numbers.len() as u32;
            let group = *numbers.entry(group).or_insert(next);
            Some(Part { group, worth })
        });
        let parts = parts.collect();
        Self {
            unit,
            wanted,
            parts,
            groups: numbers.len(),
        }
    }

    /// What a set of candidates has of what is wanted.
    pub fn had(&self, members: &[usize]) -> u32 {
        let mut best: Vec<Part> = Vec::with_capacity(members.len());
        for part in members.iter().filter_map(|member| self.parts[*member]) {
            match best.iter_mut().find(|known| known.group == part.group) {
                Some(known) => known.worth = known.worth.max(part.worth),
                None => best.push(part),
            }
        }
        let sum = best.iter().fold(0u32, |sum, part| sum.saturating_add(part.worth));
        sum.min(self.wanted)
    }

    /// Whether a set that meets `other` in full meets this need in full.
    fn follows_from(&self, other: &Self) -> bool {
        let pairs = || self.parts.iter().zip(&other.parts);
        let alike = self.unit == other.unit && self.wanted <= other.wanted;
        let covers = pairs().all(|(own, others)| match (own, others) {
            (Some(own), Some(others)) => own.worth >= others.worth,
            (None, Some(_)) => false,
            (_, None) => true,
        });
        // Members of different groups there must be of different groups here.
        let mut group_there: Vec<Option<u32>> = vec![None; self.groups];
        let splits = pairs().all(|(own, others)| match (own, others) {
            (Some(own), Some(others)) => {
                *group_there[own.group as usize].get_or_insert(others.group) == others.group
            }
            _ => true,
        });
        alike && covers && splits
    }
}

/// Whether another need implies this one; of two that imply each other, the first stays.
fn is_implied(needs: &[Need], position: usize) -> bool {
    let need = &needs[position];
    needs.iter().enumerate().any(|(place, other)| {
        let implies = place != position && need.follows_from(other);
        implies && (place < position || !other.follows_from(need))
    })
}
