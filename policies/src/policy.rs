//! Typed policies: what a ReplicationPolicy says once every value was checked.

use std::collections::BTreeSet;

use domicile_estate::{ByteCount, CountrySet, DomainName, PolicyName, Verify};

use crate::expression::Expression;

/// A replication policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// Rank among policies: objective settings, and who is served first when not everything fits.
    pub priority: i64,
    /// Which datasets it selects.
    pub selector: Selector,
    /// Where every copy must lie; all rules must accept a backend.
    pub confine: Vec<Rule>,
    /// Copies to be made; all must hold.
    pub require: Vec<Requirement>,
    /// Settings of the objective, if it states any.
    pub objective: Option<Objective>,
    /// What the datasets that it selects may cost and emit together.
    pub budget: Budget,
    /// How much one plan may move of the datasets that it selects.
    pub movement: Movement,
    /// How much proof each copy needs; of several policies the one that wants most holds. `None`: it does not say.
    pub verify: Option<Verify>,
    /// Seconds that a copy waits, once it could be retired, before it is; of several policies the longest time holds.
    pub drop_grace_seconds: Option<u64>,
    /// Whether it acts or only reports.
    pub enforcement: Enforcement,
}

/// Which datasets a policy selects. All given parts must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Every dataset.
    pub match_all: bool,
    /// Labels that must be equal.
    pub match_labels: domicile_estate::Labels,
    /// Expressions over labels.
    pub match_expressions: Vec<LabelExpression>,
    /// Owners; empty: any.
    pub domains: BTreeSet<DomainName>,
}

/// One expression over a label, as in Kubernetes: `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt`, `Lt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelExpression {
    /// The label.
    pub key: String,
    /// The operator.
    pub operator: Operator,
    /// The values; for `Gt` and `Lt` exactly one number.
    pub values: Vec<String>,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Equal to one of the values.
    In,
    /// Equal to none of the values; an absent value is equal to none.
    NotIn,
    /// Present.
    Exists,
    /// Absent.
    DoesNotExist,
    /// A number above the value.
    Gt,
    /// A number below the value.
    Lt,
}

/// A rule over one backend (and, by CEL, one dataset): an entry of `confine`.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The name that refusals quote.
    pub name: String,
    /// The test.
    pub test: Test,
}

/// The test of a rule or of an entry of `where`.
#[derive(Debug, Clone)]
pub enum Test {
    /// A key compared with values.
    Key {
        /// What is compared.
        key: Key,
        /// How.
        operator: Operator,
        /// With what, as written.
        values: Vec<String>,
        /// For keys of countries: the countries that the values stand for.
        countries: CountrySet,
    },
    /// An expression in CEL.
    Cel(Expression),
}

/// What a rule or a spread looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The backend's name.
    Backend,
    /// Its domain.
    Domain,
    /// Its provider.
    Provider,
    /// Its region.
    Region,
    /// Its zone.
    Zone,
    /// The soil.
    Country,
    /// The operator's law.
    OperatorCountry,
    /// Both: `In` wants both within the values, `NotIn` neither.
    Jurisdiction,
    /// Carbon intensity of its grid.
    GridGramsPerKwh,
    /// Its durability.
    Nines,
    /// A label.
    Label(String),
}

/// Copies to be made.
#[derive(Debug, Clone)]
pub struct Requirement {
    /// The name that refusals quote.
    pub name: String,
    /// How many.
    pub copies: u32,
    /// How durable together, in thousandths of a nine.
    pub milli_nines: Option<u32>,
    /// On which backends; all tests must accept.
    pub place: Vec<Test>,
    /// How far apart.
    pub spread: Vec<Spread>,
}

/// At least `groups` distinct values of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// The key.
    pub across: Key,
    /// How many distinct values.
    pub groups: u32,
}

/// Settings of the objective.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// Price of a tonne of CO2e in the estate's currency; 0: reported, not priced.
    pub carbon_price_per_tonne: f64,
    /// Months over which the cost of making a copy is spread.
    pub horizon_months: u32,
    /// What is minimised after cost, in order.
    pub goals: Vec<Goal>,
}

/// What is minimised once everything before it is within its slack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal {
    /// What.
    pub aim: Aim,
    /// By how much what came before may grow for it, in millionths: 20,000 is two per cent.
    pub slack_millionths: u32,
}

/// What can be minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// Cost per month, priced carbon and amortised transfers included.
    Cost,
    /// Storage carbon.
    Carbon,
}

impl Default for Objective {
    fn default() -> Self {
        Self {
            carbon_price_per_tonne: 0.0,
            horizon_months: 12,
            goals: Vec::new(),
        }
    }
}

/// What the datasets that a policy selects may cost and emit together, per month.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Budget {
    /// Storage plus priced carbon.
    pub cost_per_month: Option<f64>,
    /// Storage carbon in kg CO2e.
    pub carbon_kg_per_month: Option<f64>,
}

/// How much one plan may move of the datasets that a policy selects.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Movement {
    /// Bytes that one plan may copy.
    pub max_bytes: Option<ByteCount>,
    /// What the transfers of one plan may cost, once, without priced carbon.
    pub max_cost: Option<f64>,
    /// Days within which a change to a satisfied dataset must have saved what its transfers cost.
    pub payback_days: Option<u32>,
}

/// Whether a policy acts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// It confines, requires and sets.
    #[default]
    Enforce,
    /// It is only reported.
    Audit,
}
