//! The best placement by looking at every one: written from DESIGN.md alone, sharing nothing with the solver or `check`
//! but the values of the problem.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::CopyState;
use domicile_placement::{Bars, Held, Place, Problem, RefusalKind, Subject};

/// What is counted, in the order in which it weighs.
const COPIES: usize = 0;
const GROUPS: usize = 1;
const MILLI_NINES: usize = 2;
const UNITS: usize = 3;

/// The best there is.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    /// For each priority from the top, missing copies, groups and thousandths of a nine; then the number of fallbacks.
    pub short: Vec<u32>,
    pub per_month: f64,
}

/// One set of one dataset.
pub struct Way {
    places: u32,
    /// Backends occupied in the end, the set and what is left alone.
    pub occupied: u32,
    pub short: Vec<u32>,
    /// All that the set costs where no other dataset is billed on its backends.
    pub cost: f64,
    /// Carbon and transfers; storage depends on what all datasets bill together.
    beside_storage: f64,
    /// For each backend, the bytes that the set bills there.
    bills: Vec<u64>,
    /// For each policy, cost and carbon that its budgets count.
    pub spends: Vec<(f64, f64)>,
}

/// The priorities from the top.
pub fn levels(problem: &Problem) -> Vec<i64> {
    let levels: BTreeSet<_> = problem
        .datasets
        .iter()
        .map(|subject| Reverse(subject.profile.priority))
        .collect();
    levels.into_iter().map(|level| level.0).collect()
}

pub fn best(problem: &Problem) -> Best {
    let levels = levels(problem);
    let mut ways: Vec<_> = problem
        .datasets
        .iter()
        .map(|subject| ways(problem, subject, &levels))
        .collect();
    for of_subject in &mut ways {
        of_subject.sort_by(|a, b| a.short.cmp(&b.short).then(a.cost.total_cmp(&b.cost)));
    }
    let mut search = Search {
        problem,
        ways: &ways,
        room: rooms(problem),
        limits: limits(problem),
        used: vec![0; problem.backends.len()],
        billed: vec![0; problem.backends.len()],
        spent: vec![(0.0, 0.0); problem.policies.len()],
        best: None,
    };
    search.descend(0, &vec![0; levels.len() * UNITS + 1], 0.0);
    search.best.expect("what is there now is always possible")
}

fn is_current(held: &Held) -> bool {
    held.state == CopyState::Verified || (held.origin && held.state == CopyState::Listed)
}

fn held_on(subject: &Subject, backend: usize) -> Option<&Held> {
    subject.copies.iter().find(|held| held.backend == backend)
}

fn has(set: u32, backend: usize) -> bool {
    set >> backend & 1 == 1
}

fn bits(backends: impl Iterator<Item = usize>) -> u32 {
    backends.fold(0, |set, backend| set | 1 << backend)
}

fn used_now(problem: &Problem, backend: usize) -> u64 {
    problem
        .datasets
        .iter()
        .filter(|s| held_on(s, backend).is_some())
        .map(|s| s.summary.bytes.0)
        .sum()
}

pub fn rooms(problem: &Problem) -> Vec<u64> {
    (0..problem.backends.len())
        .map(|b| problem.backends[b].capacity.0.max(used_now(problem, b)))
        .collect()
}

/// Rule 3.
fn is_admissible(problem: &Problem, subject: &Subject, backend: usize) -> bool {
    let held = held_on(subject, backend);
    let current = held.is_some_and(is_current);
    let rules = subject
        .profile
        .refused
        .iter()
        .filter(|refused| refused.backend == backend)
        .map(|refused| refused.reason);
    let mut all = rules.chain(problem.backends[backend].reasons.iter().copied());
    if all.any(|reason| problem.reasons[reason].bars == Bars::Every || !current) {
        return false;
    }
    // Without relays, a copy goes where some way leads from one that is current.
    let leads = |held: &&Held| {
        let hop = problem.links.get(&(held.backend, backend));
        is_current(held) && !hop.is_some_and(|hop| hop.forbidden)
    };
    let readable = subject.copies.iter().any(|held| leads(&held));
    let overfull = used_now(problem, backend) > problem.backends[backend].capacity.0;
    current || (readable && !held.is_some_and(|held| held.origin) && !(held.is_none() && overfull))
}

/// What a set has of what each requirement asks for: (had, wanted, unit), the rule 4.
fn had(problem: &Problem, subject: &Subject, set: u32) -> Vec<(u32, u32, usize)> {
    let mut had = Vec::new();
    for requirement in subject
        .profile
        .requirements
        .iter()
        .map(|requirement| &problem.requirements[*requirement])
    {
        let counts =
            |b: &usize| has(set, *b) && requirement.accepts[*b] && is_admissible(problem, subject, *b);
        let copies: Vec<_> = (0..problem.backends.len()).filter(counts).collect();
        had.push((
            (copies.len() as u32).min(requirement.copies),
            requirement.copies,
            COPIES,
        ));
        for spread in &requirement.spread {
            let groups: BTreeSet<_> = copies.iter().filter_map(|b| spread.group_of[*b]).collect();
            had.push(((groups.len() as u32).min(spread.groups), spread.groups, GROUPS));
        }
        if let Some(asked) = &requirement.durability {
            // docs/durability.md: the best of each failure domain, added up.
            let mut best: BTreeMap<usize, u32> = BTreeMap::new();
            for (domain, nines) in copies.iter().filter_map(|b| asked.of[*b]) {
                let known = best.entry(domain).or_default();
                *known = nines.max(*known);
            }
            let sum: u32 = best.into_values().sum();
            had.push((sum.min(asked.milli_nines), asked.milli_nines, MILLI_NINES));
        }
    }
    had
}

/// What a set has of the copies, groups and nines that each requirement of a dataset asks for.
pub fn met(problem: &Problem, subject: &Subject, set: &[usize]) -> Vec<u32> {
    let set = bits(set.iter().copied());
    had(problem, subject, set).into_iter().map(|had| had.0).collect()
}

/// Rules 5 to 7: every set that a dataset may have.
fn ways(problem: &Problem, subject: &Subject, levels: &[i64]) -> Vec<Way> {
    let all = |_: &Grounds| (1..1u32 << problem.backends.len()).collect();
    ways_among(problem, subject, levels, all)
}

/// The same without the sets that hold a copy which meets nothing: it only costs, so that a best placement without any
/// exists.
pub fn useful_ways(problem: &Problem, subject: &Subject, levels: &[i64]) -> Vec<Way> {
    ways_among(problem, subject, levels, |grounds| {
        let mut sets = Vec::new();
        grow(problem, subject, grounds, grounds.kept, 0, &mut sets);
        sets
    })
}

/// Adds a set and all that follow from it by further backends. Where a copy meets nothing in a set, it meets nothing in
/// any larger one either, so that no such set is left out.
fn grow(problem: &Problem, subject: &Subject, grounds: &Grounds, set: u32, from: usize, sets: &mut Vec<u32>) {
    let worth = |set: u32| {
        let met: Vec<u32> = had(problem, subject, set).into_iter().map(|had| had.0).collect();
        (set & (grounds.admissible | grounds.current) != 0, met)
    };
    let of_set = worth(set);
    let useless =
        |backend: &usize| has(set & !grounds.kept, *backend) && worth(set & !(1 << backend)) == of_set;
    if (0..problem.backends.len()).any(|backend| useless(&backend)) {
        return;
    }
    sets.push(set);
    for backend in from..problem.backends.len() {
        if has(grounds.admissible & !set, backend) {
            grow(problem, subject, grounds, set | 1 << backend, backend + 1, sets);
        }
    }
}

/// Backends as a dataset sees them.
struct Grounds {
    admissible: u32,
    current: u32,
    kept: u32,
}

impl Grounds {
    fn of(problem: &Problem, subject: &Subject) -> Self {
        let origin = subject
            .copies
            .iter()
            .find(|held| held.origin && subject.keep_origin);
        let current = subject.copies.iter().filter(|held| is_current(held));
        let admissible = |backend: &usize| is_admissible(problem, subject, *backend);
        Self {
            admissible: bits((0..problem.backends.len()).filter(admissible)),
            current: bits(current.map(|held| held.backend)),
            kept: bits(origin.map(|held| held.backend).into_iter()),
        }
    }
}

/// A set that a solution has, as a way.
pub fn way_of(problem: &Problem, subject: &Subject, set: &[usize], levels: &[i64]) -> Way {
    let set = bits(set.iter().copied());
    let grounds = Grounds::of(problem, subject);
    let chooses = grounds.current != 0 && !subject.profile.requirements.is_empty();
    let fallback = chooses && grounds.admissible != 0 && set & !(grounds.admissible | grounds.kept) != 0;
    way(problem, subject, set, fallback, levels)
}

fn ways_among(
    problem: &Problem,
    subject: &Subject,
    levels: &[i64],
    sets: impl FnOnce(&Grounds) -> Vec<u32>,
) -> Vec<Way> {
    let grounds = Grounds::of(problem, subject);
    let Grounds {
        admissible,
        current,
        kept,
    } = grounds;
    if current == 0 {
        let recorded = bits(subject.copies.iter().map(|held| held.backend));
        return vec![way(problem, subject, recorded, false, levels)];
    }
    if subject.profile.requirements.is_empty() {
        let stays = unreached(problem, subject, current, kept);
        return vec![way(problem, subject, stays, false, levels)];
    }
    let now = had(problem, subject, current);
    let may_be = |set: &u32| {
        let whole = set & (admissible | current) != 0;
        let after = had(problem, subject, *set);
        let keeps = now.iter().zip(&after).all(|(before, after)| after.0 >= before.0);
        set & kept == kept && set & !(admissible | kept) == 0 && whole && keeps
    };
    let mut ways: Vec<_> = sets(&grounds)
        .into_iter()
        .filter(may_be)
        .map(|set| way(problem, subject, set, false, levels))
        .collect();
    if current & (admissible | kept) == 0 {
        // With an admissible place somewhere, keeping inadmissible copies is a last resort.
        let anywhere = admissible != 0;
        ways.push(way(problem, subject, current | kept, anywhere, levels));
    }
    ways
}

fn unreached(problem: &Problem, subject: &Subject, current: u32, kept: u32) -> u32 {
    let confined = |backend: &usize| {
        subject
            .profile
            .refused
            .iter()
            .any(|r| r.backend == *backend && problem.reasons[r.reason].kind == RefusalKind::Confinement)
    };
    let confined = bits((0..problem.backends.len()).filter(confined));
    let stays = (current & !confined) | kept;
    if stays & current != 0 {
        return stays;
    }
    let mut cheapest: Option<(usize, f64)> = None;
    for backend in (0..problem.backends.len()).filter(|backend| has(current, *backend)) {
        let (money, _) = keeping(subject, &problem.backends[backend]);
        if cheapest.is_none_or(|(_, least)| money < least) {
            cheapest = Some((backend, money));
        }
    }
    stays | bits(cheapest.into_iter().map(|(backend, _)| backend))
}

fn way(problem: &Problem, subject: &Subject, set: u32, fallback: bool, levels: &[i64]) -> Way {
    let chosen: Vec<_> = (0..problem.backends.len())
        .filter(|backend| has(set, *backend))
        .collect();
    let readable = subject.copies.iter().any(is_current);
    let confined =
        |held: &Held| {
            subject.profile.refused.iter().any(|r| {
                r.backend == held.backend && problem.reasons[r.reason].kind == RefusalKind::Confinement
            })
        };
    let stays = |held: &&Held| match held.state {
        _ if !readable => true,
        CopyState::Unknown => true,
        CopyState::Incomplete | CopyState::Damaged => {
            subject.profile.requirements.is_empty() && !confined(held)
        }
        _ => false,
    };
    let left = bits(subject.copies.iter().filter(stays).map(|held| held.backend));
    let mut short = vec![0; levels.len() * UNITS + 1];
    let level = levels
        .iter()
        .position(|level| *level == subject.profile.priority)
        .unwrap();
    for (had, wanted, unit) in had(problem, subject, set) {
        short[level * UNITS + unit] += wanted - had;
    }
    *short.last_mut().unwrap() = u32::from(fallback);
    let keeping = |backend: &usize| keeping(subject, &problem.backends[*backend]);
    let carbon = |backend: &usize| keeping(backend).1 * subject.profile.carbon_price_per_tonne / 1e3;
    let beside_storage: f64 = chosen
        .iter()
        .map(|b| carbon(b) + making(problem, subject, *b))
        .sum();
    let bill = |b: usize| {
        let minimum = problem.backends[b].price.min_object_size;
        if has(set, b) {
            subject.summary.billable(minimum).0
        } else {
            0
        }
    };
    let total = chosen
        .iter()
        .map(keeping)
        .fold((0.0, 0.0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
    let selects = |policy: usize| {
        if subject.profile.policies.contains(&policy) {
            total
        } else {
            (0.0, 0.0)
        }
    };
    let spends = (0..problem.policies.len()).map(selects).collect();
    let bills: Vec<u64> = (0..problem.backends.len()).map(bill).collect();
    Way {
        places: set,
        occupied: set | left,
        short,
        cost: beside_storage + storage(problem, &bills),
        beside_storage,
        bills,
        spends,
    }
}

/// docs/prices.md: what is billed on all backends costs per month. Bytes are counted from zero, those that the base fee
/// pays for included.
fn storage(problem: &Problem, billed: &[u64]) -> f64 {
    let of = |(place, billed): (&Place, &u64)| {
        let price = &place.price;
        if *billed == 0 {
            return 0.0;
        }
        let mut sum = price.base_fee_per_month;
        let starts: Vec<(u64, f64)> = [(0, price.storage_per_gib_month)]
            .into_iter()
            .chain(
                price
                    .tiers
                    .iter()
                    .map(|tier| (tier.above.0, tier.storage_per_gib_month)),
            )
            .collect();
        for (at, (start, per_gib)) in starts.iter().enumerate() {
            let end = starts.get(at + 1).map_or(u64::MAX, |next| next.0);
            let (from, to) = ((*start).max(price.included_storage.0), end.min(*billed));
            sum += to.saturating_sub(from) as f64 / 1_073_741_824.0 * per_gib;
        }
        sum
    };
    problem.backends.iter().zip(billed).map(of).sum()
}

/// Storage with priced carbon, and carbon in kg, per month.
fn keeping(subject: &Subject, place: &Place) -> (f64, f64) {
    let billable = subject.summary.billable(place.price.min_object_size).0 as f64 / 1_073_741_824.0;
    let energy = &place.energy;
    let kg = subject.summary.bytes.0 as f64 / 1e12
        * 730.5
        * energy.watt_hours_per_tb_hour
        * energy.physical_copies
        * energy.pue
        / 1e3
        * energy.grid_grams_per_kwh
        / 1e3;
    (
        billable * place.price.storage_per_gib_month + kg * subject.profile.carbon_price_per_tonne / 1e3,
        kg,
    )
}

/// Making a copy, with priced carbon, per month.
fn making(problem: &Problem, subject: &Subject, to: usize) -> f64 {
    let recorded = held_on(subject, to);
    if recorded.is_some_and(|held| is_current(held) || held.origin) {
        return 0.0;
    }
    let (bytes, objects) = recorded.map_or((subject.summary.bytes.0, subject.summary.objects), |held| {
        (
            held.missing_bytes.0.min(subject.summary.bytes.0),
            held.missing_objects.min(subject.summary.objects),
        )
    });
    let sources: Vec<_> = subject
        .copies
        .iter()
        .filter(|held| is_current(held))
        .map(|held| held.backend)
        .filter(|from| !problem.links.get(&(*from, to)).is_some_and(|hop| hop.forbidden))
        .collect();
    let reachable: Vec<_> = sources
        .iter()
        .copied()
        .filter(|b| problem.backends[*b].reachable)
        .collect();
    let sources = if reachable.is_empty() { sources } else { reachable };
    let b = &problem.backends[to];
    let once = sources.into_iter().map(|from| {
        let a = &problem.backends[from];
        let egress = match (&a.provider, &b.provider, &a.region, &b.region) {
            (Some(p), Some(q), Some(r), Some(s)) if p == q && r == s => a.price.egress_within_region_per_gib,
            (Some(p), Some(q), _, _) if p == q => a.price.egress_within_provider_per_gib,
            _ => a.price.egress_per_gib,
        };
        let stated = problem.links.get(&(from, to)).and_then(|hop| hop.price_per_gib);
        let egress = stated.unwrap_or(egress);
        let gib = bytes as f64 / 1_073_741_824.0;
        let requests = objects as f64 / 1e3 * (a.price.get_per_1000 + b.price.put_per_1000);
        let grid = (a.energy.grid_grams_per_kwh + b.energy.grid_grams_per_kwh) / 2.0;
        let kg = bytes as f64 / 1e9 * 0.001 * grid / 1e3;
        gib * (egress + b.price.ingress_per_gib)
            + requests
            + kg * subject.profile.carbon_price_per_tonne / 1e3
    });
    let least = once.fold(f64::INFINITY, f64::min);
    if least.is_finite() {
        least / f64::from(subject.profile.horizon_months)
    } else {
        0.0
    }
}

/// For each policy, what may be spent: the budget, or what is spent now where that is more.
pub fn limits(problem: &Problem) -> Vec<(f64, f64)> {
    let mut limits = Vec::new();
    for (policy, terms) in problem.policies.iter().enumerate() {
        let mut now = (0.0, 0.0);
        for subject in problem
            .datasets
            .iter()
            .filter(|subject| subject.profile.policies.contains(&policy))
        {
            let readable = subject.copies.iter().any(is_current);
            let there = |held: &&Held| !readable || is_current(held) || (held.origin && subject.keep_origin);
            for held in subject.copies.iter().filter(there) {
                let (money, kg) = keeping(subject, &problem.backends[held.backend]);
                now = (now.0 + money, now.1 + kg);
            }
        }
        let limit = |stated: Option<f64>, now: f64| {
            stated.map_or(f64::INFINITY, |stated| stated.max(now) * (1.0 + 1e-9) + 1e-15)
        };
        limits.push((
            limit(terms.cost_per_month, now.0),
            limit(terms.carbon_kg_per_month, now.1),
        ));
    }
    limits
}

struct Search<'a> {
    problem: &'a Problem,
    ways: &'a [Vec<Way>],
    room: Vec<u64>,
    limits: Vec<(f64, f64)>,
    used: Vec<u64>,
    billed: Vec<u64>,
    spent: Vec<(f64, f64)>,
    best: Option<Best>,
}

impl Search<'_> {
    fn descend(&mut self, dataset: usize, short: &[u32], cost: f64) {
        // Shortfalls and costs only grow, so that a prefix that is not better leads nowhere.
        let per_month = cost + storage(self.problem, &self.billed);
        if self
            .best
            .as_ref()
            .is_some_and(|best| (best.short.as_slice(), best.per_month) <= (short, per_month))
        {
            return;
        }
        if dataset == self.ways.len() {
            self.best = Some(Best {
                short: short.to_vec(),
                per_month,
            });
            return;
        }
        let bytes = self.problem.datasets[dataset].summary.bytes.0;
        for way in &self.ways[dataset] {
            let takes: Vec<_> = (0..self.room.len())
                .filter(|backend| has(way.occupied, *backend))
                .collect();
            let spent: Vec<_> = self
                .spent
                .iter()
                .zip(&way.spends)
                .map(|(sum, next)| (sum.0 + next.0, sum.1 + next.1))
                .collect();
            let fits = takes
                .iter()
                .all(|backend| self.used[*backend] + bytes <= self.room[*backend])
                && spent
                    .iter()
                    .zip(&self.limits)
                    .all(|(spent, limit)| spent.0 <= limit.0 && spent.1 <= limit.1);
            if !fits {
                continue;
            }
            let before = std::mem::replace(&mut self.spent, spent);
            takes.iter().for_each(|backend| self.used[*backend] += bytes);
            self.billed
                .iter_mut()
                .zip(&way.bills)
                .for_each(|(sum, bytes)| *sum += bytes);
            let sum: Vec<_> = short.iter().zip(&way.short).map(|(a, b)| a + b).collect();
            self.descend(dataset + 1, &sum, cost + way.beside_storage);
            takes.iter().for_each(|backend| self.used[*backend] -= bytes);
            self.billed
                .iter_mut()
                .zip(&way.bills)
                .for_each(|(sum, bytes)| *sum -= bytes);
            self.spent = before;
        }
    }
}

/// The shortfalls of given sets, in the oracle's words.
pub fn short_of(problem: &Problem, sets: &[Vec<usize>]) -> Vec<u32> {
    let levels = levels(problem);
    let mut sum = vec![0; levels.len() * UNITS + 1];
    for (subject, set) in problem.datasets.iter().zip(sets) {
        let places = bits(set.iter().copied());
        let way = ways(problem, subject, &levels)
            .into_iter()
            .find(|way| way.places == places);
        let way = way.expect("the set is none that the dataset may have");
        sum.iter_mut()
            .zip(&way.short)
            .for_each(|(sum, short)| *sum += short);
    }
    sum
}
