//! Circles of full backends: where parts wait for each other's room, one of them makes way first.
//!
//! ```text
//!   d1: a ─▶ b      both full            d1: a ─▶ third, leaves a      d2: b ─▶ a      d1: third ─▶ b
//!   d2: b ─▶ a
//! ```
//!
//! The third place must be admissible for the dataset like any target, have room that nothing else of the plan will
//! need, and count for as much as the copy that goes: INVARIANT: MV-4 holds at every moment. Where the copy that goes
//! counts for nothing, no third place is needed.

use std::collections::{BTreeMap, BTreeSet};

use crate::ground;
use crate::problem::{Bars, Problem, Subject};
use crate::routes::{self, Leg};

use super::part::{Part, Parts, copies, current, narrow, signed};
use super::way::Way;
use super::{Action, Move, MoveId};

/// Circles that are broken in one plan at most.
const BROKEN: u32 = 1_000;
/// Parts that are tried for each backend without room.
const TRIED: usize = 8;

/// How a part makes way: it leaves one backend before its copies are made.
pub(super) struct Detour {
    /// The backend that it leaves early.
    pub left: usize,
    /// The third place, the copy to it, and its end; nothing where none is needed.
    pub end: Option<(usize, Move, Move)>,
}

impl Detour {
    /// What the early retirement waits for.
    pub fn leaves_after(&self) -> Box<[MoveId]> {
        self.end.iter().map(|(_, copy, _)| copy.id).collect()
    }
}

/// A way for one part to make room.
struct Idea {
    part: u32,
    left: usize,
    third: Option<(usize, Leg)>,
    legs: Vec<Leg>,
    /// Money with priced carbon that it costs beyond what was planned.
    extra: f64,
}

/// The parts that sit on backends without room.
pub(super) struct Circles {
    /// For each backend, what would leave it, by size.
    sitting: Vec<Vec<(u64, u32)>>,
    broken: u32,
}

impl Circles {
    pub fn of(way: &Way<'_>) -> Self {
        let mut sitting = vec![Vec::new(); way.lack.len()];
        for part in (0..narrow(way.done.len())).filter(|part| !way.done[*part as usize]) {
            for from in way.frees(part).filter(|from| way.is_scarce(*from)) {
                sitting[from].push((way.bytes(part), part));
            }
        }
        sitting.iter_mut().for_each(|parts| parts.sort_unstable());
        Self { sitting, broken: 0 }
    }

    /// Lets the part make way that can do so at the least cost. Whether there was one.
    pub fn break_one(&mut self, way: &mut Way<'_>) -> bool {
        if self.broken == BROKEN {
            return false;
        }
        self.broken += 1;
        let mut best: Option<Idea> = None;
        for full in 0..way.lack.len() {
            let waiting = way.waiting[full].values().filter_map(|queue| queue.first());
            let Some(least) = waiting.map(|(bytes, _)| *bytes).min() else {
                continue;
            };
            let needed = u128::from(least).saturating_sub(way.pools[full].free());
            let parts = &mut self.sitting[full];
            parts.retain(|(_, part)| !way.done[*part as usize] && !way.detours.contains_key(part));
            // The smallest that makes enough room, else the largest.
            let enough = parts.partition_point(|(bytes, _)| u128::from(*bytes) < needed);
            let larger = parts[enough..].iter().take(TRIED);
            let smaller = parts[..enough].iter().rev().take(TRIED);
            let tried: Vec<u32> = larger.chain(smaller).map(|(_, part)| *part).take(TRIED).collect();
            for part in tried {
                let idea = Idea::of(way, part, full);
                let is_better = |idea: &Idea| best.as_ref().is_none_or(|best| idea.extra < best.extra);
                if let Some(idea) = idea.filter(is_better) {
                    best = Some(idea);
                }
            }
        }
        let Some(idea) = best else { return false };
        idea.carry_out(way);
        true
    }
}

impl Idea {
    /// The cheapest way for a part to leave a backend before its copies are made.
    fn of(way: &Way<'_>, part: u32, left: usize) -> Option<Self> {
        let of = way.part(part);
        let subject = way.parts.subject(&of);
        let now: Vec<_> = current(subject).collect();
        let rest: Vec<_> = now.iter().copied().filter(|backend| *backend != left).collect();
        if !rest.is_empty() && keeps(way.problem(), subject, &now, &rest) {
            return Self::routed(way, part, left, None, &rest);
        }
        let mut best: Option<Self> = None;
        for third in thirds(way, &of, subject) {
            let mut held = rest.clone();
            held.push(third);
            if !keeps(way.problem(), subject, &now, &held) {
                continue;
            }
            let relays = relays(way, subject, Some(third));
            let Some(leg) = routes::tree(way.problem(), subject, &now, &[third], &relays) else {
                continue;
            };
            let idea = Self::routed(
                way,
                part,
                left,
                leg.into_iter().next().map(|leg| (third, leg)),
                &held,
            );
            let is_better = |idea: &Self| best.as_ref().is_none_or(|best| idea.extra < best.extra);
            if let Some(idea) = idea.filter(is_better) {
                best = Some(idea);
            }
        }
        best
    }

    fn routed(
        way: &Way<'_>,
        part: u32,
        left: usize,
        third: Option<(usize, Leg)>,
        sources: &[usize],
    ) -> Option<Self> {
        let of = way.part(part);
        let subject = way.parts.subject(&of);
        let to: Vec<_> = of.copies().map(|place| way.parts.backend(place)).collect();
        let relays = relays(way, subject, third.as_ref().map(|(third, _)| *third));
        let legs = routes::tree(way.problem(), subject, sources, &to, &relays)?;
        let per_kg = crate::cost::price_per_kg(subject);
        let planned: f64 = of
            .copies()
            .map(|place| priced(&way.parts.moves[place], per_kg))
            .sum();
        let new: f64 = third
            .iter()
            .map(|(_, leg)| leg)
            .chain(&legs)
            .map(|leg| leg.transfer.priced)
            .sum();
        Some(Self {
            part,
            left,
            third,
            legs,
            extra: new - planned,
        })
    }

    fn carry_out(self, way: &mut Way<'_>) {
        let (part, of) = (self.part, way.part(self.part));
        let (problem, subject) = (way.problem(), way.parts.subject(&of));
        way.take_out(part);
        let made = copies(problem, subject, &self.legs);
        for (place, planned) in of.copies().zip(made) {
            way.parts.moves[place] = planned;
        }
        let bytes = u128::from(subject.summary.bytes.0);
        let end = self.third.map(|(third, leg)| {
            let mut copy = Move::copy(problem, subject, &leg);
            let mut waits = BTreeSet::new();
            way.pools[third].take(bytes, |id| {
                waits.insert(id);
            });
            way.lack[third] += signed(bytes);
            copy.after = waits.into_iter().collect();
            // What reads the third place waits for the copy there.
            for (place, leg) in of.copies().zip(&self.legs).filter(|(_, leg)| leg.from == third) {
                debug_assert!(!leg.from_new, "the third place is no target");
                way.parts.moves[place].after = Box::new([copy.id]);
            }
            (third, copy, Move::retire(problem, subject, third))
        });
        let retirement = of
            .retirements()
            .find(|place| way.parts.backend(*place) == self.left);
        let id = retirement.map(|place| way.parts.moves[place].id);
        let left = self.left;
        way.detours.insert(part, Detour { left, end });
        id.into_iter().for_each(|id| way.free(of, left, id));
        way.look_again(part);
    }
}

fn priced(planned: &Move, per_kg: f64) -> f64 {
    match planned.action {
        Action::Copy { cost, carbon_kg, .. } => cost + carbon_kg * per_kg,
        Action::Retire { .. } => 0.0,
    }
}

/// The relays whose room is kept free for the largest copy that any part passes on there, if that is large enough for
/// this one: at this moment no other room on a relay is known to stay.
fn relays(way: &Way<'_>, subject: &Subject, third: Option<usize>) -> Vec<usize> {
    let bytes = signed(u128::from(subject.summary.bytes.0));
    let kept = |relay: &usize| way.parts.passing[*relay] >= bytes && Some(*relay) != third;
    way.parts.relays.iter().copied().filter(kept).collect()
}

/// Admissible places for a copy that makes way, with room that nothing else of the plan needs.
fn thirds(way: &Way<'_>, part: &Part, subject: &Subject) -> Vec<usize> {
    let Parts { problem, ground, .. } = &way.parts;
    let bytes = signed(u128::from(subject.summary.bytes.0));
    let is_target = |backend: usize| part.copies().any(|place| way.parts.backend(place) == backend);
    (0..problem.backends.len())
        .filter(|backend| way.parts.spare(&way.lack, *backend) >= bytes)
        .filter(|backend| subject.copy_on(*backend).is_none() && !is_target(*backend))
        .filter(|backend| ground::causes(problem, ground, subject, *backend).is_empty())
        .collect()
}

/// Whether every requirement is as well met by other copies, or as well as it asks for.
fn keeps(problem: &Problem, subject: &Subject, before: &[usize], after: &[usize]) -> bool {
    let counts = |backend: &&usize| {
        let mut reasons = problem.reasons_against(subject, **backend);
        !reasons.any(|reason| problem.reasons[reason].bars == Bars::Every)
    };
    subject.profile.requirements.iter().all(|requirement| {
        let requirement = &problem.requirements[*requirement];
        let counting = |copies: &[usize]| -> Vec<usize> {
            let accepted = copies.iter().filter(|backend| requirement.accepts[**backend]);
            accepted.filter(counts).copied().collect()
        };
        let (before, after) = (counting(before), counting(after));
        let groups = |copies: &[usize], group_of: &[Option<usize>]| {
            let groups: BTreeSet<_> = copies.iter().filter_map(|backend| group_of[*backend]).collect();
            groups.len()
        };
        let enough = |was: usize, is: usize, asked: u32| is >= was.min(asked as usize);
        let durable = requirement.durability.as_ref().is_none_or(|durability| {
            let of = |copies: &[usize]| {
                let mut best = BTreeMap::new();
                for (domain, nines) in copies.iter().filter_map(|backend| durability.of[*backend]) {
                    let most: &mut u32 = best.entry(domain).or_default();
                    *most = nines.max(*most);
                }
                best.into_values().map(u64::from).sum::<u64>()
            };
            of(&after) >= of(&before).min(u64::from(durability.milli_nines))
        });
        durable
            && enough(before.len(), after.len(), requirement.copies)
            && requirement.spread.iter().all(|spread| {
                let (was, is) = (
                    groups(&before, &spread.group_of),
                    groups(&after, &spread.group_of),
                );
                enough(was, is, spread.groups)
            })
    })
}
