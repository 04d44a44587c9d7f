//! The plan as JSON: the versioned shape that programs read. Amounts are unrounded doubles.
//!
//! A document is written dataset by dataset. What is said of a dataset is made as it is written and kept nowhere, so
//! that a plan of a million datasets needs no room for their refusals. Fields stand in the order of their names.

use domicile_estate::{BackendName, PolicyName};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use crate::goals::Followed;
use crate::ground::Ground;
use crate::moves::{Action, Move};
use crate::plan::{DatasetPlan, Plan, ShadowPrice, Spelled, Spelling, Warning};
use crate::problem::Problem;
use crate::refusals::{Refusal, Scene};
use crate::relax::Relaxation;
use crate::solution::{Shortage, Solution};

/// The version of the shape.
pub const API_VERSION: &str = "domicile.dev/v1alpha1";
/// The kind of the document.
pub const KIND: &str = "Plan";

/// A plan as a document with its number, such as `plan-000001`. What a program adds to it stands in its place among
/// the plan's own fields.
#[derive(Debug, Clone)]
pub struct PlanDocument<'a> {
    plan: &'a Plan,
    problem: &'a Problem,
    solution: &'a Solution,
    number: u64,
    /// Whether it leaves out why satisfied datasets lie nowhere else.
    brief: bool,
    /// By name.
    added: Vec<(&'static str, serde_json::Value)>,
}

impl Plan {
    /// The plan as a document with its number. The problem and the solution are those that it was made of.
    #[must_use]
    pub fn to_wire<'a>(
        &'a self,
        problem: &'a Problem,
        solution: &'a Solution,
        number: u64,
    ) -> PlanDocument<'a> {
        PlanDocument {
            plan: self,
            problem,
            solution,
            number,
            brief: false,
            added: Vec::new(),
        }
    }
}

impl PlanDocument<'_> {
    /// The document without the refusals and relaxations of satisfied datasets: most of its length, and what a plan
    /// says of them can be asked again. For plans that are kept.
    #[must_use]
    pub fn brief(mut self) -> Self {
        self.brief = true;
        self
    }

    /// Adds a field that is not the plan's.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: serde_json::Value) -> Self {
        self.added.push((name, value));
        self.added.sort_by_key(|(name, _)| *name);
        self
    }
}

impl Serialize for PlanDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let plan = self.plan;
        let mut fields = serializer.serialize_map(None)?;
        let mut added = self.added.iter().peekable();
        for name in [
            "apiVersion",
            "datasets",
            "inputDigest",
            "kind",
            "moves",
            "name",
            "objective",
            "shadowPrices",
            "tariffs",
            "warnings",
        ] {
            while let Some((name, value)) = added.next_if(|(other, _)| *other < name) {
                fields.serialize_entry(name, value)?;
            }
            match name {
                "apiVersion" => fields.serialize_entry(name, API_VERSION)?,
                "datasets" => fields.serialize_entry(name, &Datasets(self))?,
                "inputDigest" => fields.serialize_entry(name, &plan.input_digest)?,
                "kind" => fields.serialize_entry(name, KIND)?,
                "moves" => fields.serialize_entry(name, &Each(&plan.moves, MoveDocument::from))?,
                "name" => fields.serialize_entry(name, &format!("plan-{:06}", self.number))?,
                "objective" => fields.serialize_entry(name, &ObjectiveDocument::from(plan))?,
                "shadowPrices" => {
                    fields.serialize_entry(name, &Each(&plan.shadow_prices, ShadowPriceDocument::from))?;
                }
                // An estate without tariffs says nothing of them.
                "tariffs" if plan.tariffs.is_empty() => {}
                "tariffs" => fields.serialize_entry(name, &Tariffs(self))?,
                _ => fields.serialize_entry(name, &Each(&plan.warnings, WarningDocument::from))?,
            }
        }
        for (name, value) in added {
            fields.serialize_entry(name, value)?;
        }
        fields.end()
    }
}

/// Things written one after another, each as the document that it becomes.
struct Each<'a, T, D>(&'a [T], fn(&'a T) -> D);

impl<T, D: Serialize> Serialize for Each<'_, T, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(self.1))
    }
}

/// What backends charge beside the list price.
struct Tariffs<'a>(&'a PlanDocument<'a>);

impl Serialize for Tariffs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let PlanDocument { plan, problem, .. } = self.0;
        serializer.collect_seq(plan.tariffs.iter().map(|charge| TariffDocument {
            at_list_per_month: charge.at_list,
            backend: problem.backends[charge.backend].name.as_str(),
            // Past 2^64 bytes, which no backend holds, the sum is told as that.
            billable_bytes: u64::try_from(charge.billed).unwrap_or(u64::MAX),
            next_gib_per_month: charge.next_gib,
            per_month: charge.at_list + charge.more,
            tariff_per_month: charge.more,
        }))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TariffDocument<'a> {
    at_list_per_month: f64,
    backend: &'a str,
    billable_bytes: u64,
    #[serde(rename = "nextGiBPerMonth")]
    next_gib_per_month: f64,
    per_month: f64,
    tariff_per_month: f64,
}

/// The datasets, each spelled out as it is written.
struct Datasets<'a>(&'a PlanDocument<'a>);

impl Serialize for Datasets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let PlanDocument {
            plan,
            problem,
            solution,
            brief,
            ..
        } = self.0;
        let ground = Ground::of(problem);
        let mut spelling = Spelling::new(Scene::new(problem, &ground, solution));
        let mut items = serializer.serialize_seq(Some(plan.datasets.len()))?;
        for (position, dataset) in plan.datasets.iter().enumerate() {
            let spelled = (!brief || !dataset.satisfied).then(|| spelling.dataset(position));
            items.serialize_element(&DatasetDocument::new(dataset, spelled.as_ref()))?;
        }
        items.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectiveDocument<'a> {
    carbon_kg_per_month: f64,
    carbon_per_month: f64,
    currency: &'a str,
    gap: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    goals: Vec<GoalDocument>,
    lower_bound: f64,
    per_month: f64,
    routed_once: f64,
    saved_by_routes: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shortages: Vec<ShortageDocument>,
    storage_per_month: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tariffs_per_month: Option<f64>,
    transfer_carbon_kg: f64,
    transfer_once: f64,
    transfer_per_month: f64,
}

/// What is missing of one priority.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShortageDocument {
    missing_copies: u64,
    missing_copies_at_least: u64,
    priority: i64,
}

impl From<&Shortage> for ShortageDocument {
    fn from(shortage: &Shortage) -> Self {
        Self {
            missing_copies: shortage.missing,
            missing_copies_at_least: shortage.at_least,
            priority: shortage.priority,
        }
    }
}

/// A goal after cost that was followed, and what that cost.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GoalDocument {
    carbon_kg_per_month: f64,
    cheapest_carbon_kg_per_month: f64,
    cheapest_per_month: f64,
    datasets: usize,
    minimise: &'static str,
    per_month: f64,
    slack_percent: f64,
}

impl From<&Followed> for GoalDocument {
    fn from(followed: &Followed) -> Self {
        Self {
            carbon_kg_per_month: followed.carbon_kg,
            cheapest_carbon_kg_per_month: followed.cheapest_carbon_kg,
            cheapest_per_month: followed.cheapest_per_month,
            datasets: followed.datasets,
            minimise: "Carbon",
            per_month: followed.per_month,
            slack_percent: f64::from(followed.slack_millionths) / 1e4,
        }
    }
}

impl<'a> From<&'a Plan> for ObjectiveDocument<'a> {
    fn from(plan: &'a Plan) -> Self {
        let o = &plan.objective;
        Self {
            carbon_kg_per_month: o.carbon_kg,
            carbon_per_month: o.carbon,
            currency: &plan.currency,
            gap: plan.gap,
            goals: plan.followed.iter().map(GoalDocument::from).collect(),
            lower_bound: plan.lower_bound,
            per_month: o.per_month,
            routed_once: plan.routed_once,
            saved_by_routes: o.transfer_once - plan.routed_once,
            shortages: plan.shortages.iter().map(ShortageDocument::from).collect(),
            storage_per_month: o.storage,
            tariffs_per_month: (!plan.tariffs.is_empty()).then_some(o.tariffs),
            transfer_carbon_kg: o.transfer_carbon_kg,
            transfer_once: o.transfer_once,
            transfer_per_month: o.transfer,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DatasetDocument<'a> {
    backends: Names<'a, BackendName>,
    bytes: u64,
    carbon_kg_per_month: f64,
    name: &'a str,
    objects: u64,
    policies: Names<'a, PolicyName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusals: Option<Each<'a, Refusal, RefusalDocument<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relaxations: Option<Each<'a, Relaxation, RelaxationDocument<'a>>>,
    satisfied: bool,
    storage_per_month: f64,
    violations: Each<'a, Refusal, RefusalDocument<'a>>,
}

impl<'a> DatasetDocument<'a> {
    fn new(dataset: &'a DatasetPlan, spelled: Option<&'a Spelled>) -> Self {
        Self {
            backends: Names(&dataset.backends),
            bytes: dataset.bytes.0,
            carbon_kg_per_month: dataset.carbon_kg_per_month,
            name: dataset.name.as_str(),
            objects: dataset.objects,
            policies: Names(&dataset.policies),
            refusals: spelled.map(|s| Each(&s.refusals[..], RefusalDocument::from as fn(&'a _) -> _)),
            relaxations: spelled
                .map(|s| Each(&s.relaxations[..], RelaxationDocument::from as fn(&'a _) -> _)),
            satisfied: dataset.satisfied,
            storage_per_month: dataset.storage_per_month,
            violations: Each(&dataset.violations, RefusalDocument::from),
        }
    }
}

/// Names as texts.
struct Names<'a, N>(&'a [N]);

impl<N: std::borrow::Borrow<str>> Serialize for Names<'_, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(N::borrow))
    }
}

/// A refusal or a violation.
#[derive(Serialize)]
struct RefusalDocument<'a> {
    backends: Names<'a, BackendName>,
    kind: &'a str,
    message: &'a str,
    rule: &'a str,
}

impl<'a> From<&'a Refusal> for RefusalDocument<'a> {
    fn from(refusal: &'a Refusal) -> Self {
        Self {
            backends: Names(&refusal.backends),
            kind: refusal.kind.as_str(),
            message: &refusal.message,
            rule: &refusal.rule,
        }
    }
}

#[derive(Serialize)]
struct RelaxationDocument<'a> {
    change: &'a str,
    message: &'a str,
    rule: &'a str,
}

impl<'a> From<&'a Relaxation> for RelaxationDocument<'a> {
    fn from(relaxation: &'a Relaxation) -> Self {
        Self {
            change: &relaxation.change,
            message: &relaxation.message,
            rule: &relaxation.rule,
        }
    }
}

#[derive(Serialize)]
struct ShadowPriceDocument<'a> {
    backend: &'a str,
    #[serde(rename = "perGiBMonth")]
    per_gib_month: f64,
}

impl<'a> From<&'a ShadowPrice> for ShadowPriceDocument<'a> {
    fn from(price: &'a ShadowPrice) -> Self {
        Self {
            backend: price.backend.as_str(),
            per_gib_month: price.per_gib_month,
        }
    }
}

#[derive(Serialize)]
struct WarningDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    kind: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
}

impl<'a> From<&'a Warning> for WarningDocument<'a> {
    fn from(warning: &'a Warning) -> Self {
        Self {
            backend: warning.backend.as_ref().map(BackendName::as_str),
            kind: warning.kind.as_str(),
            message: &warning.message,
            policy: warning.policy.as_ref().map(PolicyName::as_str),
        }
    }
}

/// A move as a document.
#[derive(Serialize)]
#[serde(tag = "action", rename_all_fields = "camelCase")]
#[allow(
    missing_docs,
    reason = "the fields are documented in MANIFESTS.md and on `Move`"
)]
pub enum MoveDocument<'a> {
    /// Makes, completes or repairs a copy.
    Copy {
        after: Vec<String>,
        bytes: u64,
        carbon_kg: f64,
        cost: f64,
        dataset: &'a str,
        from: &'a str,
        id: String,
        objects: u64,
        to: &'a str,
        via: Vec<&'a str>,
    },
    /// Deletes a copy.
    Retire {
        after: Vec<String>,
        bytes: u64,
        dataset: &'a str,
        from: &'a str,
        id: String,
        objects: u64,
    },
}

impl<'a> From<&'a Move> for MoveDocument<'a> {
    fn from(planned: &'a Move) -> Self {
        let after = planned.after.iter().map(ToString::to_string).collect();
        let id = planned.id.to_string();
        let (dataset, bytes, objects) = (planned.dataset.as_str(), planned.bytes.0, planned.objects);
        match &planned.action {
            Action::Copy {
                from,
                to,
                via,
                cost,
                carbon_kg,
            } => Self::Copy {
                after,
                bytes,
                carbon_kg: *carbon_kg,
                cost: *cost,
                dataset,
                from: from.as_str(),
                id,
                objects,
                to: to.as_str(),
                via: via.iter().map(BackendName::as_str).collect(),
            },
            Action::Retire { from } => Self::Retire {
                after,
                bytes,
                dataset,
                from: from.as_str(),
                id,
                objects,
            },
        }
    }
}
