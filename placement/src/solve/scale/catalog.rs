//! Datasets that choose alike, told once.
//!
//! A *shape* is what the policies leave to choose: the candidates and the needs. A *class* is a shape with what is there
//! now: current copies, sources, floors. A *unit* is what is placed: one dataset, with its class and its size. Nothing of
//! the size of datasets times backends is ever kept: what a candidate costs a unit is worked out where it is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_estate::{ByteCount, CopyState};

use crate::ground::{self, BudgetLimit, Ground};
use crate::problem::{Bars, Held, Problem, Profile, Subject};
use crate::routes;

use super::super::need::{Needs, Shortfall, Unit};
use super::class::{Classes, Fallback, NewClass, Rarity};
use super::rates::{Rates, Ways};
use super::table::Table;
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
    /// Whether every candidate's cost is in proportion to the bytes, as far as nothing of a copy is there.
    pub proportional: bool,
}

/// One need of copies, and at most one of groups among the same candidates: a matroid, in which greedy is exact.
#[derive(Debug, Clone)]
pub(crate) struct Simple {
    /// Copies that are wanted.
    pub copies: usize,
    /// Groups that are wanted among them.
    pub groups: usize,
    /// For each candidate, whether it counts as a copy and its group; [`NO_COPY`] and [`NO_GROUP`] stand for neither.
    pub group: Vec<u16>,
    /// The candidate that belongs to every set.
    pub forced: Option<usize>,
}

/// In place of a group: the candidate does not count as a copy.
pub(crate) const NO_COPY: u16 = u16::MAX;
/// In place of a group: it counts, and is in no group.
pub(crate) const NO_GROUP: u16 = u16::MAX - 1;

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
    pub classes: Classes,
    pub rates: Vec<Rates>,
    /// The enforced budgets.
    pub budgets: Vec<BudgetLimit>,
    /// Minimum object sizes above zero that some backend bills.
    pub minimums: Vec<ByteCount>,
    /// For each backend, its place in `minimums`.
    pub minimum_of: Vec<Option<usize>>,
    profiles: Vec<Admitted>,
    profile_of: BTreeMap<usize, u32>,
    /// What makes a class, word by word; and for each such key its class, or none if there is nothing to choose.
    class_keys: Table,
    class_of: Vec<Option<u32>>,
    /// What makes a shape; its number is the place in `shape_of`.
    shape_keys: Table,
    shape_of: Vec<u32>,
    rates_of: BTreeMap<(u64, u32), u32>,
    ways: Option<Arc<Ways>>,
    /// How relays are reached, by rates, relays and source.
    heads_of: BTreeMap<(u32, Vec<Relay>, u32), Arc<[Head]>>,
    overfull: Vec<bool>,
    /// The key that is asked for.
    key: Vec<u64>,
}

/// What a profile's rules say of each backend.
#[derive(Debug)]
struct Admitted {
    /// Keeps the profile alive, so that its address names it.
    profile: Arc<Profile>,
    /// For each backend, whether a copy that is there may count, and whether a new one may.
    held: Vec<bool>,
    new: Vec<bool>,
    /// For each backend, whether it takes new copies where nothing is there yet, and how many do.
    open: Vec<bool>,
    opened: usize,
    /// What copies cost, in [`Catalog::rates`].
    rates: u32,
}

/// What tells a class's candidates from what is open to its whole profile.
struct Differences {
    profile: u32,
    /// The kept origin: its backend, whether it counts, whether it is whole.
    forced: Option<(usize, bool, bool)>,
    /// Backends that are candidates and not open, or open and no candidates; ascending.
    backends: Vec<usize>,
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
            budgets: ground.budgets.clone(),
            overfull: (0..problem.backends.len())
                .map(|b| ground.is_overfull(problem, b))
                .collect(),
            ..Self::default()
        }
    }

    /// The class of a dataset, made if it is the first of it; `None` if the dataset has nothing to choose.
    pub fn class(&mut self, problem: &Problem, ground: &Ground, subject: &Subject) -> Option<u32> {
        if !subject.is_reached() || !subject.has_current() {
            return None;
        }
        let profile = self.profile(problem, &subject.profile);
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.push(u64::from(profile) << 1 | u64::from(subject.keep_origin));
        // Few words for each copy, for there may be hundreds of thousands of keys.
        for held in &subject.copies {
            key.push((held.backend as u64) << 8 | u64::from(held.origin) << 4 | held.state as u64);
            if !matches!(held.state, CopyState::Verified | CopyState::Listed) {
                key.extend([held.missing_bytes.0, held.missing_objects]);
            }
        }
        let (number, is_new) = self.class_keys.number(&key);
        self.key = key;
        if !is_new {
            return self.class_of[number as usize];
        }
        let class = self.make_class(problem, ground, subject, profile);
        let position = class.map(|class| {
            self.classes.push(class);
            self.classes.len() as u32 - 1
        });
        self.class_of.push(position);
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

    /// Whether a backend takes nothing new.
    pub fn is_overfull(&self, backend: usize) -> bool {
        self.overfull[backend]
    }

    /// Notes that a backend takes nothing new. Whether that is news, and [`Catalog::forget_rules`] is due.
    pub fn set_overfull(&mut self, backend: usize) -> bool {
        !std::mem::replace(&mut self.overfull[backend], true)
    }

    /// Forgets what rules said, since they have changed or no dataset comes any more; what was made stays.
    pub fn forget_rules(&mut self) {
        self.profile_of.clear();
        self.class_keys = Table::default();
        self.class_of = Vec::new();
        self.shape_keys = Table::default();
        self.shape_of = Vec::new();
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
        let open = new
            .iter()
            .zip(&self.overfull)
            .map(|(new, overfull)| *new && !overfull);
        let open: Vec<bool> = open.collect();
        self.profiles.push(Admitted {
            profile: profile.clone(),
            opened: open.iter().filter(|open| **open).count(),
            held,
            new,
            open,
            rates,
        });
        let position = self.profiles.len() as u32 - 1;
        self.profile_of.insert(address, position);
        position
    }

    /// `None` if there is no set in which any copy would be whole.
    fn make_class(
        &mut self,
        problem: &Problem,
        ground: &Ground,
        subject: &Subject,
        profile: u32,
    ) -> Option<NewClass> {
        let sources = sources(problem, subject);
        let relayed = self.relayed(problem, subject, profile, &sources);
        let differences = self.differences(problem, subject, profile, (&sources, &relayed));
        let admitted = &self.profiles[profile as usize];
        let (closed, opened): (Vec<usize>, Vec<usize>) = differences
            .backends
            .iter()
            .partition(|backend| admitted.open[**backend]);
        let candidates = admitted.opened + opened.len() - closed.len();
        if candidates <= usize::from(matches!(differences.forced, Some((.., false)))) {
            return None;
        }
        let shape = self.shape(problem, differences);
        let Shape {
            backends,
            needs,
            proportional,
            ..
        } = &self.shapes[shape as usize];
        let position = |backend: usize| {
            let position = backends.binary_search(&(backend as u32)).ok();
            position.map(|position| position as u16)
        };
        let positions = |wanted: &dyn Fn(&Held) -> bool| -> Vec<u16> {
            let wanted = subject.copies.iter().filter(|held| wanted(held));
            wanted.filter_map(|held| position(held.backend)).collect()
        };
        let kept_origin = subject.kept_origin();
        let stay = ground::stay(problem, ground, subject);
        let fallback = stay.iter().any(|backend| position(*backend).is_none()).then(|| {
            let takes = stay
                .iter()
                .filter(|backend| !ground::stays_anyway(subject, **backend));
            Fallback {
                set: stay.iter().map(|backend| *backend as u32).collect(),
                takes: takes.map(|backend| *backend as u32).collect(),
            }
        });
        let stay: Vec<u16> = stay.into_iter().filter_map(position).collect();
        let relayed = by_position(relayed, backends);
        let members: Vec<_> = stay.iter().map(|position| usize::from(*position)).collect();
        let partial = partial(subject, backends);
        Some(NewClass {
            shape,
            current: positions(&Held::is_current),
            kept: positions(&|held| held.is_current() || kept_origin == Some(held.backend)),
            roomless: positions(&|held| ground::stays_anyway(subject, held.backend)),
            floors: needs.had(&members),
            proportional: partial.is_empty() && relayed.is_empty() && *proportional,
            rarity: Rarity {
                partial,
                fallback,
                relayed,
            },
            stay,
            sources,
        })
    }

    /// How a dataset's candidates differ from what is open to its whole profile: by what is there, and by what cannot come.
    fn differences(
        &self,
        problem: &Problem,
        subject: &Subject,
        profile: u32,
        (sources, relayed): (&[u32], &[Relayed]),
    ) -> Differences {
        let admitted = &self.profiles[profile as usize];
        let rates = &self.rates[admitted.rates as usize];
        let can_come = |backend: usize| reaches(rates, sources, relayed, backend);
        let counts = |backend: usize| match subject.copy_on(backend) {
            Some(held) if held.is_current() => admitted.held[backend],
            Some(held) => admitted.new[backend] && !held.origin && can_come(backend),
            None => admitted.open[backend] && can_come(backend),
        };
        let kept_origin = subject.kept_origin();
        let differs = |backend: &usize| {
            let is_candidate = kept_origin == Some(*backend) || counts(*backend);
            is_candidate != admitted.open[*backend]
        };
        let backends = if rates.has_every_way {
            let there = subject.copies.iter().map(|held| held.backend);
            there.filter(differs).collect()
        } else {
            (0..problem.backends.len()).filter(differs).collect()
        };
        Differences {
            profile,
            forced: kept_origin.map(|origin| (origin, counts(origin), subject.is_current_on(origin))),
            backends,
        }
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
        let rates = self.profiles[profile as usize].rates;
        if self.rates[rates as usize].has_every_way {
            return Vec::new();
        }
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

    fn shape(&mut self, problem: &Problem, differences: Differences) -> u32 {
        let Differences {
            profile,
            forced,
            backends,
        } = differences;
        let forced_word = forced.map_or(u64::MAX, |(origin, counts, whole)| {
            (origin as u64) << 2 | u64::from(counts) << 1 | u64::from(whole)
        });
        let mut key = vec![u64::from(profile), forced_word];
        key.extend(backends.iter().map(|backend| *backend as u64));
        let (number, is_new) = self.shape_keys.number(&key);
        if !is_new {
            return self.shape_of[number as usize];
        }
        let open = self.profiles[profile as usize].open.iter().enumerate();
        let candidates = open.filter(|(backend, open)| **open != backends.contains(backend));
        let candidates = candidates.map(|(backend, _)| backend).collect();
        let shape = self.make_shape(problem, profile, forced, candidates);
        self.shapes.push(shape);
        let position = self.shapes.len() as u32 - 1;
        self.shape_of.push(position);
        position
    }

    fn make_shape(
        &self,
        problem: &Problem,
        profile: u32,
        forced: Option<(usize, bool, bool)>,
        candidates: Vec<usize>,
    ) -> Shape {
        let Admitted { profile, rates, .. } = &self.profiles[profile as usize];
        let is_forced = |backend: &usize| forced.is_some_and(|(origin, ..)| origin == *backend);
        let counted = candidates.iter().map(|backend| {
            let counts = forced.is_none_or(|(origin, counts, _)| origin != *backend || counts);
            (*backend, counts)
        });
        let whole = candidates
            .iter()
            .map(|backend| forced.is_none_or(|(origin, _, whole)| origin != *backend || whole));
        let requirements = profile
            .requirements
            .iter()
            .map(|position| &problem.requirements[*position]);
        let needs = Needs::of(
            requirements,
            &counted.collect::<Vec<_>>(),
            candidates.iter().map(is_forced).collect(),
            whole.collect(),
        );
        let selects = |budget: &BudgetLimit| profile.policies.binary_search(&budget.policy).is_ok();
        let budgets = (0u32..).zip(&self.budgets).filter(|(_, budget)| selects(budget));
        let by_bytes = |backend: &usize| self.minimum_of[*backend].is_none();
        Shape {
            budgets: budgets.map(|(position, _)| position).collect(),
            priority: profile.priority,
            rank: 0,
            rates: *rates,
            least: needs.least_shortfall(|_| true),
            simple: simple(&needs),
            needs,
            proportional: self.rates[*rates as usize].is_free_of_objects && candidates.iter().all(by_bytes),
            backends: candidates.into_iter().map(|backend| backend as u32).collect(),
        }
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
fn by_position(relayed: Vec<Relayed>, backends: &[u32]) -> Vec<Relayed> {
    let candidates = relayed.into_iter().filter_map(|mut relayed| {
        let position = backends.binary_search(&u32::from(relayed.position)).ok()?;
        relayed.position = position as u16;
        Some(relayed)
    });
    candidates.collect()
}

/// What is there in part: what a copy to it would have to move.
fn partial(subject: &Subject, backends: &[u32]) -> Vec<(u16, u64, u64)> {
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
fn sources(problem: &Problem, subject: &Subject) -> Vec<u32> {
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
            // More groups than there are numbers for are told apart by no such table.
            (Some(_), Some(part)) => u16::try_from(part.group).ok().filter(|group| *group < NO_GROUP)?,
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
