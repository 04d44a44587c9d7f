//! The problem: everything that a placement depends on, as values.
//!
//! Backends, policies, rules and datasets are referred to by their index. Backends, policies and datasets stand in the
//! order of their names, so that "first" always means the first name in byte order.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// What manifests say of the way from one backend to another, for the ordered pairs of which they say something.
    pub links: BTreeMap<(usize, usize), Hop>,
    /// The datasets, sorted by name.
    pub datasets: Vec<Subject>,
}

/// What manifests say of the way from one backend to another.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Hop {
    /// Whether bytes must not go this way.
    pub forbidden: bool,
    /// Per GiB, instead of the egress price of the backend that is read.
    pub price_per_gib: Option<f64>,
    /// Bits per second.
    pub bandwidth_bits_per_second: Option<u64>,
    /// Milliseconds.
    pub latency_ms: Option<u64>,
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
    /// Whether copies on their way elsewhere may lie here for a while.
    pub relays: bool,
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
    /// What one plan may move of the datasets that it selects.
    pub movement: Movement,
}

/// How much one plan may move.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Movement {
    /// Bytes that new copies may take to make.
    pub bytes: Option<u64>,
    /// Money, once, that new copies may cost to make, without priced carbon.
    pub cost: Option<f64>,
    /// Days within which a change to a satisfied dataset must have paid for its transfers.
    pub payback_days: Option<u32>,
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
    /// How durable together.
    pub durability: Option<Durability>,
}

/// Yearly durability of the copies that count, in thousandths of a nine. Copies in one failure domain fail together, so
/// that only the best of them counts; failure domains fail independently, so that their nines add up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Durability {
    /// How many thousandths of a nine.
    pub milli_nines: u32,
    /// For each backend, the number of its failure domain and its own thousandths of a nine; `None`: it adds none.
    pub of: Vec<Option<(usize, u32)>>,
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
    /// Whether the origin must stay.
    pub keep_origin: bool,
    /// What is there now, sorted by backend, one for each backend.
    pub copies: Vec<Held>,
    /// What the policies say of it; one value is shared by all datasets of which they say the same.
    pub profile: Arc<Profile>,
}

/// What the policies say of a dataset. Profiles have a total order, so that equal ones can be found and stated once.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Who is served first when not everything fits: the higher.
    pub priority: i64,
    /// Price of a tonne of CO2e.
    pub carbon_price_per_tonne: f64,
    /// Months over which the cost of making a copy is spread; at least 1.
    pub horizon_months: u32,
    /// What is minimised after cost, in order.
    pub goals: Vec<Goal>,
    /// The enforced policies that select it, ascending.
    pub policies: Vec<usize>,
    /// The requirements of those policies.
    pub requirements: Vec<usize>,
    /// The rules that refuse a backend for this dataset, sorted.
    pub refused: Vec<Refused>,
    /// What Audit policies would do.
    pub audits: Vec<Audit>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            priority: 0,
            carbon_price_per_tonne: 0.0,
            horizon_months: 12,
            goals: Vec::new(),
            policies: Vec::new(),
            requirements: Vec::new(),
            refused: Vec::new(),
            audits: Vec::new(),
        }
    }
}

impl Ord for Profile {
    fn cmp(&self, other: &Self) -> Ordering {
        self.priority
            .cmp(&other.priority)
            .then(
                self.carbon_price_per_tonne
                    .total_cmp(&other.carbon_price_per_tonne),
            )
            .then(self.horizon_months.cmp(&other.horizon_months))
            .then_with(|| self.goals.cmp(&other.goals))
            .then_with(|| self.policies.cmp(&other.policies))
            .then_with(|| self.requirements.cmp(&other.requirements))
            .then_with(|| self.refused.cmp(&other.refused))
            .then_with(|| self.audits.cmp(&other.audits))
    }
}

impl PartialOrd for Profile {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Profile {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Profile {}

/// What is minimised once everything before it is within its slack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Goal {
    /// What.
    pub aim: GoalAim,
    /// By how much what came before may grow for it, in millionths: 20,000 is two per cent.
    pub slack_millionths: u32,
}

/// What can be minimised after cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GoalAim {
    /// Storage carbon.
    Carbon,
    /// Cost per month, as without goals.
    Cost,
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
        !self.profile.requirements.is_empty()
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
            .profile
            .refused
            .partition_point(|refused| refused.backend < backend);
        let rules = subject.profile.refused[start..]
            .iter()
            .take_while(move |refused| refused.backend == backend);
        self.backends[backend]
            .reasons
            .iter()
            .copied()
            .chain(rules.map(|refused| refused.reason))
    }
}
