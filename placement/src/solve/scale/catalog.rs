//! Datasets that choose alike, told once.
//!
//! A *shape* is what the policies leave to choose: the candidates and the needs. A *class* is a shape with what is there
//! now: current copies, sources, floors. A *unit* is what is placed: one dataset, with its class and its size. Nothing of
//! the size of datasets times backends is ever kept: what a candidate costs a unit is worked out where it is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_estate::{ByteCount, CopyState};

use crate::ground::{self, BudgetLimit, Ground};
use crate::problem::{Bars, Problem, Profile, Subject};
use crate::routes;

use super::super::need::{Needs, Shortfall, Unit};
use super::rates::{Rates, Ways};
use super::ways::{self, Head, Relay, Relayed};

/// What the policies leave to choose.
#[derive(Debug)]
pub(crate) struct Shape {
    /// For each candidate its backend, ascending.
    pub backends: Vec<u32>,
    /// What is needed of them.
    pub needs: Needs,
    /// Who is served first.
    pub priority: i64,
    /// The place of its priority among all, the highest first.
    pub rank: u32,
    /// What copies cost, in [`Catalog::rates`].
    pub rates: u32,
    /// The budgets that count it, in [`Catalog::budgets`].
    pub budgets: Vec<u32>,
    /// The least that any set falls short.
    pub least: Shortfall,
    /// Where the needs are simple enough for the greedy choice: the copies, and the groups if any.
    pub simple: Option<Simple>,
}

/// One need of copies, and at most one of groups among the same candidates: a matroid, in which greedy is exact.
#[derive(Debug, Clone)]
pub(crate) struct Simple {
    /// Copies that are wanted.
    pub copies: usize,
    /// Groups that are wanted among them.
    pub groups: usize,
    /// For each candidate, whether it counts as a copy and its group; [`NO_COPY`] and [`NO_GROUP`] stand for neither.
    pub group: Vec<u32>,
    /// The candidate that belongs to every set.
    pub forced: Option<usize>,
}

/// In place of a group: the candidate does not count as a copy.
pub(crate) const NO_COPY: u32 = u32::MAX;
/// In place of a group: it counts, and is in no group.
pub(crate) const NO_GROUP: u32 = u32::MAX - 1;

/// A shape with what is there now.
#[derive(Debug)]
pub(crate) struct Class {
    /// Its shape.
    pub shape: u32,
    /// Positions of the candidates that hold a current copy.
    pub current: Box<[u16]>,
    /// Positions of the candidates that are not made anew: the current ones and a kept origin.
    pub kept: Box<[u16]>,
    /// Backends to read from.
    pub sources: Box<[u32]>,
    /// Positions of the candidates that take no room, since a copy stays there anyway.
    pub roomless: Box<[u16]>,
    /// Candidates of which some is there: position, bytes and objects that are missing.
    pub partial: Box<[(u16, u64, u64)]>,
    /// For each need, what is there now of it.
    pub floors: Box<[u32]>,
    /// Positions of the candidates that are kept if nothing is made.
    pub stay: Box<[u16]>,
    /// What is kept if nothing is made, if that is no set of candidates.
    pub fallback: Option<Box<Fallback>>,
    /// Candidates to which no direct way leads from where copies are read: how they can be reached at all.
    pub relayed: Box<[Relayed]>,
    /// Whether every candidate's cost is in proportion to the bytes.
    pub proportional: bool,
}

/// Inadmissible copies that stay for want of better.
#[derive(Debug)]
pub(crate) struct Fallback {
    /// The backends.
    pub set: Vec<u32>,
    /// Those where it takes room that is shared.
    pub takes: Vec<u32>,
}

/// One dataset to place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lot {
    /// Its position in the problem.
    pub dataset: u32,
    /// Its class.
    pub class: u32,
    /// Its size.
    pub bytes: u64,
    /// Its objects.
    pub objects: u64,
    /// Whether it stands for many, so that no room is too small for it.
    pub is_pile: bool,
}

/// Everything that lots are priced by.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub shapes: Vec<Shape>,
    pub classes: Vec<Class>,
    pub rates: Vec<Rates>,
    /// The enforced budgets.
    pub budgets: Vec<BudgetLimit>,
    /// Minimum object sizes above zero that some backend bills.
    pub minimums: Vec<ByteCount>,
    /// For each backend, its place in `minimums`.
    pub minimum_of: Vec<Option<usize>>,
    profiles: Vec<Admitted>,
    profile_of: BTreeMap<usize, u32>,
    class_of: BTreeMap<ClassKey, Option<u32>>,
    shape_of: BTreeMap<ShapeKey, u32>,
    rates_of: BTreeMap<(u64, u32), u32>,
    ways: Option<Arc<Ways>>,
    /// How relays are reached, by rates, relays and source.
    heads_of: BTreeMap<(u32, Vec<Relay>, u32), Arc<[Head]>>,
    overfull: Vec<bool>,
}

/// What a profile's rules say of each backend.
#[derive(Debug)]
struct Admitted {
    /// Keeps the profile alive, so that its address names it.
    profile: Arc<Profile>,
    /// For each backend, whether a copy that is there may count, and whether a new one may.
    held: Vec<bool>,
    new: Vec<bool>,
    /// What copies cost, in [`Catalog::rates`].
    rates: u32,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ClassKey {
    /// Mixed from all else, so that keys of different classes are told apart at once.
    mark: u64,
    profile: u32,
    keep_origin: bool,
    /// For each copy, where and what it is; and what is missing, if something is.
    copies: Box<[u64]>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ShapeKey {
    profile: u32,
    /// The kept origin: its backend, whether it counts, whether it is whole.
    forced: Option<(u32, bool, bool)>,
    backends: Vec<u32>,
}

impl Catalog {
    /// An empty catalog for the backends and budgets of a problem.
    pub fn new(problem: &Problem, ground: &Ground) -> Self {
        let mut minimums: Vec<_> = problem
            .backends
            .iter()
            .map(|place| place.price.min_object_size)
            .collect();
        minimums.sort_unstable();
        minimums.dedup();
        minimums.retain(|minimum| minimum.0 > 0);
        let minimum_of = problem.backends.iter().map(|place| {
            minimums
                .iter()
                .position(|minimum| *minimum == place.price.min_object_size)
        });
        Self {
            minimum_of: minimum_of.collect(),
            minimums,
            shapes: Vec::new(),
            classes: Vec::new(),
            rates: Vec::new(),
            budgets: ground.budgets.clone(),
            profiles: Vec::new(),
            profile_of: BTreeMap::new(),
            class_of: BTreeMap::new(),
            shape_of: BTreeMap::new(),
            rates_of: BTreeMap::new(),
            ways: None,
            heads_of: BTreeMap::new(),
            overfull: (0..problem.backends.len())
                .map(|b| ground.is_overfull(problem, b))
                .collect(),
        }
    }

    /// The class of a dataset, made if it is the first of it; `None` if the dataset has nothing to choose.
    pub fn class(&mut self, problem: &Problem, ground: &Ground, subject: &Subject) -> Option<u32> {
        if !subject.is_reached() || !subject.has_current() {
            return None;
        }
        // Few words for each copy, without padding: there may be hundreds of thousands of keys.
        let mut copies = Vec::with_capacity(subject.copies.len());
        for held in &subject.copies {
            let word = (held.backend as u64) << 8 | u64::from(held.origin) << 4 | held.state as u64;
            copies.push(word);
            if !matches!(held.state, CopyState::Verified | CopyState::Listed) {
                copies.extend([held.missing_bytes.0, held.missing_objects]);
            }
        }
        let profile = self.profile(problem, &subject.profile);
        let mix = |mark: u64, next: &u64| (mark ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let start = u64::from(profile) << 1 | u64::from(subject.keep_origin);
        let key = ClassKey {
            mark: copies.iter().fold(start, mix),
            profile,
            keep_origin: subject.keep_origin,
            copies: copies.into(),
        };
        if let Some(known) = self.class_of.get(&key) {
            return *known;
        }
        let class = self.make_class(problem, ground, subject, key.profile);
        let position = class.map(|class| {
            self.classes.push(class);
            self.classes.len() as u32 - 1
        });
        self.class_of.insert(key, position);
        position
    }

    /// Ranks the shapes by priority; the priorities, the highest first.
    pub fn rank(&mut self) -> Vec<i64> {
        let mut priorities: Vec<_> = self.shapes.iter().map(|shape| shape.priority).collect();
        priorities.sort_unstable_by(|a, b| b.cmp(a));
        priorities.dedup();
        for shape in &mut self.shapes {
            shape.rank = priorities.partition_point(|priority| *priority > shape.priority) as u32;
        }
        priorities
    }

    /// Notes that a backend takes nothing new. Whether that is news.
    pub fn set_overfull(&mut self, backend: usize) -> bool {
        !std::mem::replace(&mut self.overfull[backend], true)
    }

    /// Forgets what rules said, since they have changed; what was made stays.
    pub fn forget_rules(&mut self) {
        self.profile_of.clear();
        self.class_of.clear();
        self.shape_of.clear();
    }

    fn profile(&mut self, problem: &Problem, profile: &Arc<Profile>) -> u32 {
        let address = Arc::as_ptr(profile) as usize;
        if let Some(known) = self.profile_of.get(&address) {
            return *known;
        }
        let backends = problem.backends.len();
        let (mut held, mut new) = (vec![true; backends], vec![true; backends]);
        let own = problem.backends.iter().enumerate();
        let own = own.flat_map(|(backend, place)| place.reasons.iter().map(move |reason| (backend, *reason)));
        let rules = profile
            .refused
            .iter()
            .map(|refused| (refused.backend, refused.reason));
        for (backend, reason) in own.chain(rules) {
            new[backend] = false;
            held[backend] &= problem.reasons[reason].bars != Bars::Every;
        }
        let rates = self.rates_for(problem, profile);
        self.profiles.push(Admitted {
            profile: profile.clone(),
            held,
            new,
            rates,
        });
        let position = self.profiles.len() as u32 - 1;
        self.profile_of.insert(address, position);
        position
    }

    fn make_class(
        &mut self,
        problem: &Problem,
        ground: &Ground,
        subject: &Subject,
        profile: u32,
    ) -> Option<Class> {
        let kept_origin = subject.kept_origin();
        let sources = sources(problem, subject);
        let relayed = self.relayed(problem, subject, profile, &sources);
        let admitted = &self.profiles[profile as usize];
        let rates = &self.rates[admitted.rates as usize];
        let can_come = |backend: usize| reaches(rates, &sources, &relayed, backend);
        let counts = |backend: usize| match subject.copy_on(backend) {
            Some(held) if held.is_current() => admitted.held[backend],
            Some(held) => admitted.new[backend] && !held.origin && can_come(backend),
            None => admitted.new[backend] && !self.overfull[backend] && can_come(backend),
        };
        let backends: Vec<u32> = (0..problem.backends.len())
            .filter(|backend| kept_origin == Some(*backend) || counts(*backend))
            .map(|backend| backend as u32)
            .collect();
        let forced = kept_origin.map(|origin| (origin as u32, counts(origin), subject.is_current_on(origin)));
        let any_whole = backends
            .iter()
            .any(|b| forced.is_none_or(|(origin, _, whole)| origin != *b || whole));
        if !any_whole {
            return None;
        }
        let shape = self.shape(
            problem,
            ShapeKey {
                profile,
                forced,
                backends,
            },
        );
        let backends = &self.shapes[shape as usize].backends;
        let positions = |wanted: &dyn Fn(usize) -> bool| -> Box<[u16]> {
            let wanted = backends
                .iter()
                .enumerate()
                .filter(|(_, backend)| wanted(**backend as usize));
            wanted.map(|(position, _)| position as u16).collect()
        };
        let stay = ground::stay(problem, ground, subject);
        let is_candidate = |backend: &usize| backends.binary_search(&(*backend as u32)).is_ok();
        let fallback = (!stay.iter().all(is_candidate)).then(|| {
            let takes = stay
                .iter()
                .filter(|backend| !ground::stays_anyway(subject, **backend));
            Box::new(Fallback {
                set: stay.iter().map(|backend| *backend as u32).collect(),
                takes: takes.map(|backend| *backend as u32).collect(),
            })
        });
        let stay = positions(&|backend| stay.contains(&backend));
        let relayed = by_position(relayed, backends);
        let members: Vec<_> = stay.iter().map(|position| usize::from(*position)).collect();
        let partial = partial(subject, backends);
        Some(Class {
            shape,
            current: positions(&|backend| subject.is_current_on(backend)),
            kept: positions(&|backend| subject.is_current_on(backend) || kept_origin == Some(backend)),
            sources,
            roomless: positions(&|backend| ground::stays_anyway(subject, backend)),
            floors: self.shapes[shape as usize].needs.had(&members).into(),
            stay,
            fallback,
            proportional: partial.is_empty() && relayed.is_empty() && self.is_proportional(shape),
            partial,
            relayed,
        })
    }

    /// For each backend to which no direct way leads from the sources, how it can be reached at all; as its position
    /// stands the backend. In the order of [`crate::cost::transfer`]: sources in reach first, relays only where no direct
    /// way is allowed.
    fn relayed(
        &mut self,
        problem: &Problem,
        subject: &Subject,
        profile: u32,
        sources: &[u32],
    ) -> Vec<Relayed> {
        if problem.links.is_empty() {
            return Vec::new();
        }
        let rates = self.profiles[profile as usize].rates;
        let current = subject.copies.iter().filter(|held| held.is_current());
        let all: Vec<u32> = current.map(|held| held.backend as u32).collect();
        let far: Vec<u32> = all
            .iter()
            .copied()
            .filter(|from| !sources.contains(from))
            .collect();
        let (mut near_heads, mut far_heads) = (None, None);
        let mut relayed = Vec::new();
        for to in 0..problem.backends.len() as u32 {
            let known = &self.rates[rates as usize];
            if all.contains(&to) || known.making_a_byte(sources, to).is_finite() {
                continue;
            }
            let near = near_heads.get_or_insert_with(|| self.heads(problem, subject, rates, sources));
            let beyond = far_heads.get_or_insert_with(|| self.heads(problem, subject, rates, &far));
            let known = &self.rates[rates as usize];
            let tiers = vec![
                ways::through(known, near, to),
                ways::direct(known, &far, to),
                ways::through(known, beyond, to),
            ];
            relayed.extend(Relayed::of(to as u16, tiers));
        }
        relayed
    }

    /// How the relays that a dataset may use are reached from these sources.
    fn heads(&mut self, problem: &Problem, subject: &Subject, rates: u32, sources: &[u32]) -> Vec<Head> {
        let relays =
            (0..problem.backends.len()).filter(|relay| routes::would_relay(problem, subject, *relay));
        let relays: Vec<Relay> = relays
            .map(|relay| Relay {
                backend: relay as u32,
                capacity: problem.backends[relay].capacity.0,
            })
            .collect();
        if relays.is_empty() {
            return Vec::new();
        }
        let mut heads = Vec::new();
        for source in sources {
            let known = &self.rates[rates as usize];
            let own = self.heads_of.entry((rates, relays.clone(), *source));
            heads.extend_from_slice(own.or_insert_with(|| ways::heads(known, *source, &relays).into()));
        }
        heads
    }

    fn is_proportional(&self, shape: u32) -> bool {
        let shape = &self.shapes[shape as usize];
        let rates = &self.rates[shape.rates as usize];
        let by_bytes = |backend: &u32| self.minimum_of[*backend as usize].is_none();
        rates.is_free_of_objects && shape.backends.iter().all(by_bytes)
    }

    fn shape(&mut self, problem: &Problem, key: ShapeKey) -> u32 {
        if let Some(known) = self.shape_of.get(&key) {
            return *known;
        }
        let profile = self.profiles[key.profile as usize].profile.clone();
        let is_forced = |backend: &u32| key.forced.is_some_and(|(origin, ..)| origin == *backend);
        let counted = key.backends.iter().map(|backend| {
            let counts = key
                .forced
                .is_none_or(|(origin, counts, _)| origin != *backend || counts);
            (*backend as usize, counts)
        });
        let whole = key
            .backends
            .iter()
            .map(|b| key.forced.is_none_or(|(origin, _, whole)| origin != *b || whole));
        let requirements = profile
            .requirements
            .iter()
            .map(|position| &problem.requirements[*position]);
        let needs = Needs::of(
            requirements,
            &counted.collect::<Vec<_>>(),
            key.backends.iter().map(is_forced).collect(),
            whole.collect(),
        );
        let selects = |budget: &BudgetLimit| profile.policies.binary_search(&budget.policy).is_ok();
        let budgets = (0u32..).zip(&self.budgets).filter(|(_, budget)| selects(budget));
        let shape = Shape {
            budgets: budgets.map(|(position, _)| position).collect(),
            priority: profile.priority,
            rank: 0,
            rates: self.profiles[key.profile as usize].rates,
            least: needs.least_shortfall(|_| true),
            simple: simple(&needs),
            needs,
            backends: key.backends.clone(),
        };
        self.shapes.push(shape);
        let position = self.shapes.len() as u32 - 1;
        self.shape_of.insert(key, position);
        position
    }

    fn rates_for(&mut self, problem: &Problem, profile: &Profile) -> u32 {
        let key = (profile.carbon_price_per_tonne.to_bits(), profile.horizon_months);
        if let Some(known) = self.rates_of.get(&key) {
            return *known;
        }
        let ways = self.ways.get_or_insert_with(|| Arc::new(Ways::of(problem)));
        self.rates.push(Rates::of(ways, profile));
        let position = self.rates.len() as u32 - 1;
        self.rates_of.insert(key, position);
        position
    }
}

/// Whether a copy can come to a backend from these sources, directly or through relays.
fn reaches(rates: &Rates, sources: &[u32], relayed: &[Relayed], backend: usize) -> bool {
    let is_relayed = |relayed: &Relayed| usize::from(relayed.position) == backend;
    rates.making_a_byte(sources, backend as u32).is_finite() || relayed.iter().any(is_relayed)
}

/// Relayed backends as candidates: from where they stand among all backends to their positions.
fn by_position(relayed: Vec<Relayed>, backends: &[u32]) -> Box<[Relayed]> {
    let candidates = relayed.into_iter().filter_map(|mut relayed| {
        let position = backends.binary_search(&u32::from(relayed.position)).ok()?;
        relayed.position = position as u16;
        Some(relayed)
    });
    candidates.collect()
}

/// What is there in part: what a copy to it would have to move.
fn partial(subject: &Subject, backends: &[u32]) -> Box<[(u16, u64, u64)]> {
    let some = subject
        .copies
        .iter()
        .filter(|held| !held.is_current() && !held.origin);
    let some = some.filter_map(|held| {
        let position = backends.binary_search(&(held.backend as u32)).ok()?;
        let bytes = held.missing_bytes.0.min(subject.summary.bytes.0);
        Some((
            position as u16,
            bytes,
            held.missing_objects.min(subject.summary.objects),
        ))
    });
    some.collect()
}

/// Where a new copy may be read: the current copies, those in reach if there is any.
fn sources(problem: &Problem, subject: &Subject) -> Box<[u32]> {
    let current = || subject.copies.iter().filter(|held| held.is_current());
    let in_reach = |backend: usize| problem.backends[backend].reachable;
    let any_in_reach = current().any(|held| in_reach(held.backend));
    current()
        .filter(|held| !any_in_reach || in_reach(held.backend))
        .map(|held| held.backend as u32)
        .collect()
}

/// Whether needs are simple: what is left once implied ones are dropped is one need of copies and at most one of groups
/// among candidates that all count as copies; and everything can be met.
fn simple(needs: &Needs) -> Option<Simple> {
    if needs.least_shortfall(|_| true) != Shortfall::default() {
        return None;
    }
    let (mut copies, mut groups) = (None, None);
    for position in &needs.core {
        let slot = match needs.needs[*position].unit {
            Unit::Copies => &mut copies,
            Unit::Groups => &mut groups,
            Unit::MilliNines => return None,
        };
        if slot.replace(*position).is_some() {
            return None;
        }
    }
    let copies = &needs.needs[copies?];
    let groups = groups.map(|groups: usize| &needs.needs[groups]);
    let mut group = Vec::with_capacity(needs.candidates());
    for candidate in 0..needs.candidates() {
        let own = groups.and_then(|groups| groups.parts[candidate]);
        group.push(match (copies.parts[candidate], own) {
            (None, Some(_)) => return None,
            (None, None) => NO_COPY,
            (Some(_), None) => NO_GROUP,
            (Some(_), Some(part)) => part.group,
        });
    }
    let (copies, groups) = (
        copies.wanted as usize,
        groups.map_or(0, |groups| groups.wanted as usize),
    );
    (copies > 0 && groups <= copies).then_some(Simple {
        copies,
        groups,
        group,
        forced: needs.forced.iter().position(|forced| *forced),
    })
}
