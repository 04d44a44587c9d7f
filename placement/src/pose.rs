//! From what ought to be and what is to the problem: every rule is asked about every backend, and what depends on no
//! dataset is asked only once.

mod taken;
mod terms;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domicile_estate::{
    AccessMode, Backend, Dataset, DatasetName, DomainName, Labels, Observed, ObservedDataset,
};
use domicile_policies::{DatasetFacts, Enforcement, Manifests, Objective, Policy, Test, Variables, Verdict};

use crate::problem::{
    Audit, Bars, Durability, Held, Place, Problem, Profile, Reason, RefusalKind, Refused, Requirement,
    Spread, Subject,
};
pub use taken::{TakenFolder, keep_out};
use terms::{hop, settings, terms};

/// Poses the problem of placing these datasets (of manifests and inventories together), given what is observed. A
/// dataset that is observed but not given, such as one whose manifest was taken away, stays where it is and takes its
/// room.
#[must_use]
pub fn pose(
    manifests: &Manifests,
    datasets: &BTreeMap<DatasetName, Arc<Dataset>>,
    observed: &Observed,
) -> Problem {
    let mut posing = Posing::new(manifests);
    let places = manifests
        .backends
        .values()
        .map(|backend| posing.place(backend, observed))
        .collect();
    let names: BTreeSet<_> = datasets.keys().chain(observed.datasets.keys()).collect();
    let nothing = ObservedDataset::default();
    let subjects = names.into_iter().map(|name| {
        let known = observed.datasets.get(name).unwrap_or(&nothing);
        posing.subject(name, datasets.get(name).map(Arc::as_ref), known)
    });
    let subjects = subjects.collect();
    Problem {
        currency: manifests.currency.clone(),
        backends: places,
        policies: manifests.policies.values().map(terms).collect(),
        reasons: posing.reasons.items,
        requirements: posing.requirements.items,
        links: manifests
            .ways()
            .into_iter()
            .map(|(pair, way)| (pair, hop(&way)))
            .collect(),
        datasets: subjects,
    }
}

/// Values that are stated once and referred to by their position.
struct Stated<T> {
    items: Vec<T>,
    positions: BTreeMap<T, usize>,
}

impl<T: Ord + Clone> Stated<T> {
    fn new() -> Self {
        Self {
            items: Vec::new(),
            positions: BTreeMap::new(),
        }
    }

    fn state(&mut self, item: T) -> usize {
        let next = self.items.len();
        let position = *self.positions.entry(item.clone()).or_insert(next);
        if position == next {
            self.items.push(item);
        }
        position
    }
}

/// The policies that select a dataset, and whether any of their rules looks at more of it than its owner and labels.
type Selecting = (Arc<[usize]>, bool);

/// What a profile follows from, where no rule looks closer: the policies, and what is not admitted.
type ProfileKey = (Arc<[usize]>, Vec<Refused>);

struct Posing<'a> {
    manifests: &'a Manifests,
    reasons: Stated<Reason>,
    requirements: Stated<Requirement>,
    /// Which backends a `confine` rule refuses, by policy and rule, where that depends on no dataset.
    confined: BTreeMap<(usize, usize), Vec<Refused>>,
    /// Requirements by policy and position, where they depend on no dataset.
    required: BTreeMap<(usize, usize), usize>,
    /// By owner and labels of a dataset.
    selecting: BTreeMap<(&'a DomainName, &'a Labels), Selecting>,
    profiles: BTreeMap<ProfileKey, Arc<Profile>>,
    /// Every profile once.
    stated: BTreeSet<Arc<Profile>>,
    /// The profile of a dataset of which no manifest tells.
    untold: Arc<Profile>,
    positions: BTreeMap<&'a str, usize>,
    /// For each backend its failure domain and its thousandths of a nine, as [`Durability::of`] has them.
    durable: Vec<Option<(usize, u32)>>,
}

impl<'a> Posing<'a> {
    fn new(manifests: &'a Manifests) -> Self {
        Self {
            manifests,
            reasons: Stated::new(),
            requirements: Stated::new(),
            confined: BTreeMap::new(),
            required: BTreeMap::new(),
            selecting: BTreeMap::new(),
            profiles: BTreeMap::new(),
            stated: BTreeSet::new(),
            untold: Arc::new(settings(None)),
            positions: manifests
                .backends
                .values()
                .enumerate()
                .map(|(position, backend)| (backend.name.as_str(), position))
                .collect(),
            durable: durable(manifests),
        }
    }

    fn backends(&self) -> impl Iterator<Item = &'a Backend> + use<'a> {
        self.manifests.backends.values()
    }

    fn place(&mut self, backend: &Backend, observed: &Observed) -> Place {
        let unreachable = observed.unreachable.get(&backend.name);
        let reasons = own_reasons(backend, observed)
            .into_iter()
            .map(|reason| self.reasons.state(reason))
            .collect();
        Place {
            name: backend.name.clone(),
            provider: backend.location.provider.clone(),
            region: backend.location.region.clone(),
            capacity: backend.capacity,
            price: backend.price.clone(),
            energy: backend.energy.clone(),
            reachable: unreachable.is_none(),
            relays: backend.relay,
            reasons,
        }
    }

    fn subject(
        &mut self,
        name: &DatasetName,
        dataset: Option<&'a Dataset>,
        known: &ObservedDataset,
    ) -> Subject {
        let held = |copy: &domicile_estate::Copy| {
            self.positions.get(copy.backend.as_str()).map(|backend| Held {
                backend: *backend,
                origin: copy.origin,
                state: copy.state,
                missing_bytes: copy.missing_bytes,
                missing_objects: copy.missing_objects,
            })
        };
        // As long as it comes to be and no longer: there are millions of these lists.
        let mut copies = Vec::with_capacity(known.copies.len());
        copies.extend(known.copies.iter().filter_map(held));
        copies.sort_by_key(|held| held.backend);
        Subject {
            name: name.clone(),
            summary: known.summary.clone(),
            keep_origin: dataset.is_none_or(|dataset| dataset.keep_origin),
            copies,
            profile: match dataset {
                Some(dataset) => self.profile(dataset, &DatasetFacts::new(dataset, &known.summary)),
                None => self.untold.clone(),
            },
        }
    }

    /// What the policies say of a dataset. Most datasets share theirs with many others.
    fn profile(&mut self, dataset: &'a Dataset, facts: &DatasetFacts<'_>) -> Arc<Profile> {
        let (selecting, looks_closer) = self.selecting(dataset, facts);
        let not_admitted = self.not_admitted(facts);
        if looks_closer {
            let profile = self.make_profile(&selecting, not_admitted, facts);
            return self.state(profile);
        }
        let key = (selecting, not_admitted);
        if let Some(known) = self.profiles.get(&key) {
            return known.clone();
        }
        let profile = self.make_profile(&key.0, key.1.clone(), facts);
        let profile = self.state(profile);
        self.profiles.insert(key, profile.clone());
        profile
    }

    fn state(&mut self, profile: Profile) -> Arc<Profile> {
        if let Some(known) = self.stated.get(&profile) {
            return known.clone();
        }
        let shared = Arc::new(profile);
        self.stated.insert(shared.clone());
        shared
    }

    /// The policies that select a dataset; a selector looks at its owner and labels alone.
    fn selecting(&mut self, dataset: &'a Dataset, facts: &DatasetFacts<'_>) -> Selecting {
        let key = (&dataset.domain, &*dataset.labels);
        if let Some(known) = self.selecting.get(&key) {
            return known.clone();
        }
        let all = self.manifests.policies.values().enumerate();
        let selecting = all.filter(|(_, policy)| policy.selects(facts));
        let mut looks_closer = false;
        let positions = selecting.map(|(position, policy)| {
            looks_closer |= policy.confine.iter().any(|rule| rule.test.depends_on_dataset())
                || policy
                    .require
                    .iter()
                    .flat_map(|wanted| &wanted.place)
                    .any(Test::depends_on_dataset);
            position
        });
        let positions: Arc<[usize]> = positions.collect();
        self.selecting.insert(key, (positions.clone(), looks_closer));
        (positions, looks_closer)
    }

    fn make_profile(
        &mut self,
        selecting: &[usize],
        not_admitted: Vec<Refused>,
        facts: &DatasetFacts<'_>,
    ) -> Profile {
        let manifests = self.manifests;
        let policies: Vec<_> = manifests.policies.values().collect();
        let mut profile = Profile::default();
        let mut priority = None;
        let mut stated: Option<(i64, &Objective)> = None;
        for &index in selecting {
            let policy = policies[index];
            let refused = self.confined(index, policy, facts);
            let requirements = self.required(index, policy, facts);
            if policy.enforcement == Enforcement::Audit {
                profile.audits.push(Audit {
                    policy: index,
                    refused,
                    requirements,
                });
                continue;
            }
            profile.policies.push(index);
            profile.refused.extend(refused);
            profile.requirements.extend(requirements);
            priority = priority.max(Some(policy.priority));
            // Policies come by name, so that of equal priorities the first name wins.
            if let Some(objective) = &policy.objective
                && stated
                    .as_ref()
                    .is_none_or(|(priority, _)| policy.priority > *priority)
            {
                stated = Some((policy.priority, objective));
            }
        }
        profile.refused.extend(not_admitted);
        profile.refused.sort_unstable();
        profile.refused.dedup();
        Profile {
            priority: priority.unwrap_or(0),
            policies: profile.policies,
            requirements: profile.requirements,
            refused: profile.refused,
            audits: profile.audits,
            ..settings(stated.map(|(_, objective)| objective))
        }
    }

    /// What a policy's `confine` rules refuse.
    fn confined(&mut self, index: usize, policy: &Policy, facts: &DatasetFacts<'_>) -> Vec<Refused> {
        let mut refused = Vec::new();
        for (position, rule) in policy.confine.iter().enumerate() {
            if let Some(known) = self.confined.get(&(index, position)) {
                refused.extend_from_slice(known);
                continue;
            }
            let mut by_rule = Vec::new();
            for (backend, place) in self.backends().enumerate() {
                let verdict = rule.test.accepts(place, facts);
                let words = format!(
                    "policy `{}`, rule `{}`: {}",
                    policy.name,
                    rule.name,
                    rule.describe()
                );
                let reason = reason_of(&rule.name, RefusalKind::Confinement, words, &verdict);
                by_rule.extend(reason.map(|reason| Refused {
                    backend,
                    reason: self.reasons.state(reason),
                }));
            }
            refused.extend_from_slice(&by_rule);
            if !rule.test.depends_on_dataset() {
                self.confined.insert((index, position), by_rule);
            }
        }
        refused
    }

    /// What a policy requires.
    fn required(&mut self, index: usize, policy: &Policy, facts: &DatasetFacts<'_>) -> Vec<usize> {
        let mut required = Vec::new();
        for (position, wanted) in policy.require.iter().enumerate() {
            if let Some(known) = self.required.get(&(index, position)) {
                required.push(*known);
                continue;
            }
            let accepts = |backend: &Backend| {
                wanted
                    .place
                    .iter()
                    .all(|test| test.accepts(backend, facts).is_accepted())
            };
            let requirement = Requirement {
                policy: index,
                name: wanted.name.clone(),
                copies: wanted.copies,
                place: wanted
                    .place
                    .iter()
                    .map(Test::describe)
                    .collect::<Vec<_>>()
                    .join(" and "),
                accepts: self.backends().map(accepts).collect(),
                spread: wanted.spread.iter().map(|spread| self.spread(spread)).collect(),
                durability: wanted.milli_nines.map(|milli_nines| Durability {
                    milli_nines,
                    of: self.durable.clone(),
                }),
            };
            let stated = self.requirements.state(requirement);
            required.push(stated);
            if !wanted.place.iter().any(Test::depends_on_dataset) {
                self.required.insert((index, position), stated);
            }
        }
        required
    }

    fn spread(&self, spread: &domicile_policies::Spread) -> Spread {
        let values: Vec<_> = self
            .backends()
            .map(|backend| spread.across.value(backend))
            .collect();
        let groups: BTreeSet<_> = values.iter().flatten().collect();
        let group = |value: &Option<String>| {
            value
                .as_ref()
                .and_then(|value| groups.iter().position(|group| *group == value))
        };
        Spread {
            across: spread.across.as_str().to_owned(),
            groups: spread.groups,
            group_of: values.iter().map(group).collect(),
        }
    }

    /// What the domains of the backends do not admit: every rule that does not accept.
    fn not_admitted(&mut self, facts: &DatasetFacts<'_>) -> Vec<Refused> {
        let mut refused = Vec::new();
        for (domain, rules) in &self.manifests.admissions {
            for (rule, expression) in rules {
                let variables = Variables {
                    backend: None,
                    dataset: Some(*facts),
                    domain: self.manifests.domains.get(domain),
                };
                let verdict = expression.holds(&variables);
                let words = format!(
                    "domain `{domain}` admits only datasets for which `{}`",
                    expression.text()
                );
                let Some(reason) = reason_of(rule, RefusalKind::Admission, words, &verdict) else {
                    continue;
                };
                let reason = self.reasons.state(reason);
                let own = self
                    .backends()
                    .enumerate()
                    .filter(|(_, backend)| backend.domain == *domain);
                refused.extend(own.map(|(backend, _)| Refused { backend, reason }));
            }
        }
        refused
    }
}

/// Failure domains are numbered in their order, so that equal manifests give equal numbers.
fn durable(manifests: &Manifests) -> Vec<Option<(usize, u32)>> {
    let backends = || manifests.backends.values();
    let mut domains: Vec<_> = backends().map(Backend::failure_domain).collect();
    domains.sort_unstable();
    domains.dedup();
    let own = |backend: &Backend| {
        let number = domains.binary_search(&backend.failure_domain()).ok()?;
        Some((number, backend.milli_nines()?))
    };
    backends().map(own).collect()
}

fn reason_of(rule: &str, kind: RefusalKind, words: String, verdict: &Verdict) -> Option<Reason> {
    let message = match verdict {
        Verdict::Accepted => return None,
        Verdict::Refused => words,
        Verdict::Failed(error) => format!("{words} (it could not be evaluated: {error})"),
    };
    Some(Reason {
        rule: rule.to_owned(),
        kind,
        bars: Bars::Every,
        message,
    })
}

/// What a backend itself refuses for every dataset. Marks set by command count as the manifest does.
fn own_reasons(backend: &Backend, observed: &Observed) -> Vec<Reason> {
    let reason = |rule: &str, kind, bars, message: &str| Reason {
        rule: rule.to_owned(),
        kind,
        bars,
        message: message.to_owned(),
    };
    let mut reasons = Vec::new();
    if backend.drain || observed.draining.contains(&backend.name) {
        reasons.push(reason(
            "drain",
            RefusalKind::Cordoned,
            Bars::Every,
            "the backend is being emptied",
        ));
    }
    if backend.cordoned || observed.cordoned.contains(&backend.name) {
        let message = "the backend is cordoned: nothing new goes there";
        reasons.push(reason("cordon", RefusalKind::Cordoned, Bars::New, message));
    }
    if backend.access_mode == AccessMode::ReadOnly {
        let message = "the backend is read-only: a source, never a target";
        reasons.push(reason("accessMode", RefusalKind::ReadOnly, Bars::New, message));
    }
    if let Some(why) = observed.unreachable.get(&backend.name) {
        let message = format!("the backend does not answer: {why}");
        reasons.push(reason(
            "reachability",
            RefusalKind::Unreachable,
            Bars::New,
            &message,
        ));
    }
    reasons
}
