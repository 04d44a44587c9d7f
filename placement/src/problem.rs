//! The problem: everything that a placement depends on, as values.
//!
//! Backends, policies, rules and datasets are referred to by their index. Backends, policies and datasets stand in the
//! order of their names, so that "first" always means the first name in byte order.

use domicile_estate::{
    BackendName, ByteCount, CopyState, DatasetName, DatasetSummary, Energy, PolicyName, Price,
};

pub use domicile_policies::RefusalKind;

/// Everything that a placement depends on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Problem {
    /// The one currency of every amount, such as `EUR`.
    pub currency: String,
    /// The backends, sorted by name.
    pub backends: Vec<Place>,
    /// The policies, Audit ones included, sorted by name.
    pub policies: Vec<Terms>,
    /// Rules that refuse some backend, stated once and referred to by [`Refused`] and [`Place`].
    pub reasons: Vec<Reason>,
    /// Requirements, stated once and referred to by [`Subject::requirements`].
    pub requirements: Vec<Requirement>,
    /// The datasets, sorted by name.
    pub datasets: Vec<Subject>,
}

/// A backend, as far as placement looks at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Its name.
    pub name: BackendName,
    /// Who runs the disks; egress is cheaper within one provider.
    pub provider: Option<String>,
    /// The provider's region; egress is cheaper still within one.
    pub region: Option<String>,
    /// Bytes that it may hold.
    pub capacity: ByteCount,
    /// What it costs.
    pub price: Price,
    /// What it emits.
    pub energy: Energy,
    /// Whether its last probe or move succeeded; an unreachable backend is read from only if nothing else can be.
    pub reachable: bool,
    /// Reasons that hold for every dataset: cordon, drain, access mode, reachability.
    pub reasons: Vec<usize>,
}

/// A policy, as far as placement looks at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Its name.
    pub name: PolicyName,
    /// `false` for an Audit policy, which is reported and binds nothing.
    pub enforced: bool,
    /// Storage plus priced carbon per month of all copies of the datasets that it selects.
    pub cost_per_month: Option<f64>,
    /// Storage carbon in kg CO2e per month of the same copies.
    pub carbon_kg_per_month: Option<f64>,
}

/// Which copies a reason bars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bars {
    /// Every copy, also one that is there: confinement, admission, drain.
    Every,
    /// Only a copy that is not current there yet: cordon, read-only, unreachable.
    New,
}

/// A rule that refuses some backend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// The rule's bare name; `cordon`, `drain`, `accessMode` and `reachability` for what is no rule of a manifest.
    pub rule: String,
    /// Its kind.
    pub kind: RefusalKind,
    /// Which copies it bars.
    pub bars: Bars,
    /// Whose rule it is and what it says, for people.
    pub message: String,
}

/// Copies to be made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// The policy that it belongs to.
    pub policy: usize,
    /// Its name.
    pub name: String,
    /// How many copies.
    pub copies: u32,
    /// What its `where` says, for people; empty without one.
    pub place: String,
    /// For each backend, whether `where` accepts it.
    pub accepts: Vec<bool>,
    /// How far apart.
    pub spread: Vec<Spread>,
}

/// At least `groups` distinct values of a key among the copies that count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spread {
    /// The key, for people.
    pub across: String,
    /// How many distinct values.
    pub groups: u32,
    /// For each backend, the number of its group; `None`: it is in no group.
    pub group_of: Vec<Option<usize>>,
}

/// A dataset, as far as placement looks at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// Its name.
    pub name: DatasetName,
    /// Its size.
    pub summary: DatasetSummary,
    /// Who is served first when not everything fits: the higher.
    pub priority: i64,
    /// Price of a tonne of CO2e.
    pub carbon_price_per_tonne: f64,
    /// Months over which the cost of making a copy is spread; at least 1.
    pub horizon_months: u32,
    /// Whether the origin must stay.
    pub keep_origin: bool,
    /// The enforced policies that select it, ascending.
    pub policies: Vec<usize>,
    /// The requirements of those policies.
    pub requirements: Vec<usize>,
    /// What is there now, sorted by backend, one for each backend.
    pub copies: Vec<Held>,
    /// The rules that refuse a backend for this dataset, sorted.
    pub refused: Vec<Refused>,
    /// What Audit policies would do.
    pub audits: Vec<Audit>,
}

/// One copy that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Where.
    pub backend: usize,
    /// Whether it is the origin.
    pub origin: bool,
    /// What is known of it.
    pub state: CopyState,
    /// Bytes that a Copy to this backend would have to move.
    pub missing_bytes: ByteCount,
    /// Objects that a Copy to this backend would have to move.
    pub missing_objects: u64,
}

impl Held {
    /// Whether the copy counts, as [`domicile_estate::Copy::is_current`] has it.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.state.is_current(self.origin)
    }
}

/// One rule refuses one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// The backend.
    pub backend: usize,
    /// The rule, in [`Problem::reasons`].
    pub reason: usize,
}

/// What an Audit policy would do to a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The policy.
    pub policy: usize,
    /// What it would refuse.
    pub refused: Vec<Refused>,
    /// What it would require, in [`Problem::requirements`].
    pub requirements: Vec<usize>,
}

impl Subject {
    /// Whether a requirement reaches the dataset; otherwise it is never moved.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        !self.requirements.is_empty()
    }

    /// The recorded copy on a backend.
    #[must_use]
    pub fn copy_on(&self, backend: usize) -> Option<&Held> {
        self.copies.iter().find(|held| held.backend == backend)
    }

    /// Whether a current copy lies on a backend.
    #[must_use]
    pub fn is_current_on(&self, backend: usize) -> bool {
        self.copy_on(backend).is_some_and(Held::is_current)
    }

    /// Whether there is a copy to read from at all.
    #[must_use]
    pub fn has_current(&self) -> bool {
        self.copies.iter().any(Held::is_current)
    }

    /// The backend of the origin that must stay.
    #[must_use]
    pub fn kept_origin(&self) -> Option<usize> {
        self.copies
            .iter()
            .find(|held| held.origin && self.keep_origin)
            .map(|held| held.backend)
    }

    /// What is there now, as a placement: the current copies and the kept origin; if nothing is current, every
    /// recorded copy.
    #[must_use]
    pub fn now(&self) -> Vec<usize> {
        let any_current = self.has_current();
        let counts = |held: &&Held| !any_current || held.is_current() || (held.origin && self.keep_origin);
        self.copies
            .iter()
            .filter(counts)
            .map(|held| held.backend)
            .collect()
    }
}

impl Problem {
    /// The position of a dataset.
    #[must_use]
    pub fn dataset(&self, name: &str) -> Option<usize> {
        self.datasets
            .binary_search_by(|subject| subject.name.as_str().cmp(name))
            .ok()
    }

    /// The position of a backend.
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<usize> {
        self.backends
            .binary_search_by(|place| place.name.as_str().cmp(name))
            .ok()
    }

    /// Every reason that refuses a backend for a dataset: the backend's own, then the rules', each once.
    pub fn reasons_against<'a>(
        &'a self,
        subject: &'a Subject,
        backend: usize,
    ) -> impl Iterator<Item = usize> + 'a {
        let start = subject
            .refused
            .partition_point(|refused| refused.backend < backend);
        let rules = subject.refused[start..]
            .iter()
            .take_while(move |refused| refused.backend == backend);
        self.backends[backend]
            .reasons
            .iter()
            .copied()
            .chain(rules.map(|refused| refused.reason))
    }
}
