//! The plan as JSON: the versioned shape that programs read. Amounts are unrounded doubles.

use serde::{Deserialize, Serialize};

use domicile_estate::{BackendName, ByteCount, DatasetName, NameError, PolicyName};

use crate::cost::Objective;
use crate::moves::{Action, Move, MoveIdError};
use crate::plan::{DatasetPlan, Plan, ShadowPrice, Warning};
use crate::problem::RefusalKind;
use crate::refusals::Refusal;
use crate::relax::Relaxation;

/// The version of the shape.
pub const API_VERSION: &str = "domicile.dev/v1alpha1";
/// The kind of the document.
pub const KIND: &str = "Plan";

macro_rules! shape {
    ($(#[$doc:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        #[allow(missing_docs, reason = "the fields are documented in MANIFESTS.md and on the types of the plan")]
        pub struct $name { $($(#[$meta])* pub $field: $type,)* }
    };
}

shape!(/// A whole plan.
    PlanDocument {
        api_version: String,
        kind: String,
        name: String,
        input_digest: String,
        objective: ObjectiveDocument,
        datasets: Vec<DatasetDocument>,
        moves: Vec<MoveDocument>,
        shadow_prices: Vec<ShadowPriceDocument>,
        warnings: Vec<WarningDocument>,
    }
);
shape!(/// The objective and its proof; per month unless its name says otherwise.
    ObjectiveDocument {
        currency: String,
        per_month: f64,
        lower_bound: f64,
        gap: f64,
        storage_per_month: f64,
        carbon_per_month: f64,
        transfer_per_month: f64,
        carbon_kg_per_month: f64,
        transfer_once: f64,
        transfer_carbon_kg: f64,
        #[serde(default)] routed_once: f64,
        #[serde(default)] saved_by_routes: f64,
    }
);
shape!(/// One dataset.
    DatasetDocument {
        name: String,
        satisfied: bool,
        backends: Vec<String>,
        bytes: u64,
        objects: u64,
        storage_per_month: f64,
        carbon_kg_per_month: f64,
        policies: Vec<String>,
        violations: Vec<RefusalDocument>,
        refusals: Vec<RefusalDocument>,
        relaxations: Vec<RelaxationDocument>,
    }
);
shape!(/// A refusal or a violation.
    RefusalDocument { rule: String, kind: String, backends: Vec<String>, message: String, }
);
shape!(/// A relaxation.
    RelaxationDocument { rule: String, change: String, message: String, }
);
shape!(/// A shadow price.
    ShadowPriceDocument { backend: String, #[serde(rename = "perGiBMonth")] per_gib_month: f64, }
);

/// A warning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarningDocument {
    /// `Capacity` or `Budget`.
    pub kind: String,
    /// The backend that is too full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The policy whose budget is overspent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What is the matter.
    pub message: String,
}

/// A move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all_fields = "camelCase")]
#[allow(
    missing_docs,
    reason = "the fields are documented in MANIFESTS.md and on `Move`"
)]
pub enum MoveDocument {
    /// Makes, completes or repairs a copy.
    Copy {
        id: String,
        dataset: String,
        from: String,
        to: String,
        via: Vec<String>,
        bytes: u64,
        objects: u64,
        cost: f64,
        carbon_kg: f64,
        after: Vec<String>,
    },
    /// Deletes a copy.
    Retire {
        id: String,
        dataset: String,
        from: String,
        bytes: u64,
        objects: u64,
        after: Vec<String>,
    },
}

/// Why a document is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Another kind or version.
    #[error(
        "this is a `{kind}` of `{api_version}`, not a `Plan` of `domicile.dev/v1alpha1`: make it anew with `domicile plan --out`"
    )]
    NotAPlan {
        /// The kind given.
        kind: String,
        /// The version given.
        api_version: String,
    },
    /// A name that none can be.
    #[error("the plan names what cannot exist: {0}")]
    Name(#[from] NameError),
    /// An id of a move that none can be.
    #[error("the plan names a move that cannot exist: {0}")]
    MoveId(#[from] MoveIdError),
    /// A kind of refusal that there is not.
    #[error("`{kind}` is no kind of refusal")]
    UnknownKind {
        /// The kind given.
        kind: String,
    },
}

impl Plan {
    /// The plan as a document with its number: `plan-000001`.
    #[must_use]
    pub fn to_wire(&self, number: u64) -> PlanDocument {
        let o = &self.objective;
        PlanDocument {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            name: format!("plan-{number:06}"),
            input_digest: self.input_digest.clone(),
            objective: ObjectiveDocument {
                currency: self.currency.clone(),
                per_month: o.per_month,
                lower_bound: self.lower_bound,
                gap: self.gap,
                storage_per_month: o.storage,
                carbon_per_month: o.carbon,
                transfer_per_month: o.transfer,
                carbon_kg_per_month: o.carbon_kg,
                transfer_once: o.transfer_once,
                transfer_carbon_kg: o.transfer_carbon_kg,
                routed_once: self.routed_once,
                saved_by_routes: o.transfer_once - self.routed_once,
            },
            datasets: self.datasets.iter().map(DatasetDocument::from).collect(),
            moves: self.moves.iter().map(MoveDocument::from).collect(),
            shadow_prices: self.shadow_prices.iter().map(ShadowPriceDocument::from).collect(),
            warnings: self.warnings.iter().map(WarningDocument::from).collect(),
        }
    }
}

impl TryFrom<PlanDocument> for Plan {
    type Error = DocumentError;

    /// Reads a plan back. What is for rendering only is not written, and comes back empty.
    fn try_from(document: PlanDocument) -> Result<Self, DocumentError> {
        if document.kind != KIND || document.api_version != API_VERSION {
            return Err(DocumentError::NotAPlan {
                kind: document.kind,
                api_version: document.api_version,
            });
        }
        let o = document.objective;
        let objective = Objective {
            per_month: o.per_month,
            storage: o.storage_per_month,
            carbon: o.carbon_per_month,
            transfer: o.transfer_per_month,
            carbon_kg: o.carbon_kg_per_month,
            transfer_once: o.transfer_once,
            transfer_carbon_kg: o.transfer_carbon_kg,
        };
        Ok(Self {
            input_digest: document.input_digest,
            currency: o.currency,
            objective,
            routed_once: o.routed_once,
            lower_bound: o.lower_bound,
            gap: o.gap,
            datasets: document
                .datasets
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            moves: document
                .moves
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            shadow_prices: document
                .shadow_prices
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            warnings: document
                .warnings
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
        })
    }
}

fn texts(names: &[BackendName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn backends(texts: &[String]) -> Result<Vec<BackendName>, NameError> {
    texts.iter().map(|text| BackendName::new(text)).collect()
}

fn kind(text: &str) -> Result<RefusalKind, DocumentError> {
    let unknown = || DocumentError::UnknownKind {
        kind: text.to_owned(),
    };
    RefusalKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(unknown)
}

impl From<&DatasetPlan> for DatasetDocument {
    fn from(dataset: &DatasetPlan) -> Self {
        Self {
            name: dataset.name.to_string(),
            satisfied: dataset.satisfied,
            backends: texts(&dataset.backends),
            bytes: dataset.bytes.0,
            objects: dataset.objects,
            storage_per_month: dataset.storage_per_month,
            carbon_kg_per_month: dataset.carbon_kg_per_month,
            policies: dataset.policies.iter().map(ToString::to_string).collect(),
            violations: dataset.violations.iter().map(RefusalDocument::from).collect(),
            refusals: dataset.refusals.iter().map(RefusalDocument::from).collect(),
            relaxations: dataset.relaxations.iter().map(RelaxationDocument::from).collect(),
        }
    }
}

impl TryFrom<DatasetDocument> for DatasetPlan {
    type Error = DocumentError;

    fn try_from(document: DatasetDocument) -> Result<Self, DocumentError> {
        let policies = document
            .policies
            .iter()
            .map(|policy| PolicyName::new(policy))
            .collect::<Result<_, _>>()?;
        let relaxation = |r: RelaxationDocument| Relaxation {
            rule: r.rule,
            change: r.change,
            message: r.message,
        };
        Ok(Self {
            name: DatasetName::new(&document.name)?,
            satisfied: document.satisfied,
            backends: backends(&document.backends)?,
            bytes: ByteCount(document.bytes),
            objects: document.objects,
            storage_per_month: document.storage_per_month,
            carbon_kg_per_month: document.carbon_kg_per_month,
            policies,
            violations: document
                .violations
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            refusals: document
                .refusals
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            relaxations: document.relaxations.into_iter().map(relaxation).collect(),
            now: Vec::new(),
            cost_now: 0.0,
            cost_planned: 0.0,
        })
    }
}

impl From<&Refusal> for RefusalDocument {
    fn from(refusal: &Refusal) -> Self {
        Self {
            rule: refusal.rule.clone(),
            kind: refusal.kind.as_str().to_owned(),
            backends: texts(&refusal.backends),
            message: refusal.message.clone(),
        }
    }
}

impl TryFrom<RefusalDocument> for Refusal {
    type Error = DocumentError;

    fn try_from(document: RefusalDocument) -> Result<Self, DocumentError> {
        let backends = backends(&document.backends)?;
        Ok(Self {
            kind: kind(&document.kind)?,
            rule: document.rule,
            backends,
            message: document.message,
        })
    }
}

impl From<&Relaxation> for RelaxationDocument {
    fn from(relaxation: &Relaxation) -> Self {
        let Relaxation {
            rule,
            change,
            message,
        } = relaxation.clone();
        Self {
            rule,
            change,
            message,
        }
    }
}

impl From<&ShadowPrice> for ShadowPriceDocument {
    fn from(price: &ShadowPrice) -> Self {
        Self {
            backend: price.backend.to_string(),
            per_gib_month: price.per_gib_month,
        }
    }
}

impl TryFrom<ShadowPriceDocument> for ShadowPrice {
    type Error = DocumentError;

    fn try_from(document: ShadowPriceDocument) -> Result<Self, DocumentError> {
        Ok(Self {
            backend: BackendName::new(&document.backend)?,
            per_gib_month: document.per_gib_month,
        })
    }
}

impl From<&Warning> for WarningDocument {
    fn from(warning: &Warning) -> Self {
        Self {
            kind: warning.kind.as_str().to_owned(),
            backend: warning.backend.as_ref().map(ToString::to_string),
            policy: warning.policy.as_ref().map(ToString::to_string),
            message: warning.message.clone(),
        }
    }
}

impl TryFrom<WarningDocument> for Warning {
    type Error = DocumentError;

    fn try_from(document: WarningDocument) -> Result<Self, DocumentError> {
        Ok(Self {
            kind: kind(&document.kind)?,
            backend: document.backend.map(|name| BackendName::new(&name)).transpose()?,
            policy: document.policy.map(|name| PolicyName::new(&name)).transpose()?,
            message: document.message,
        })
    }
}

impl From<&Move> for MoveDocument {
    fn from(planned: &Move) -> Self {
        let Move {
            id,
            dataset,
            action,
            bytes,
            objects,
            after,
        } = planned.clone();
        let (id, dataset, bytes) = (id.to_string(), dataset.to_string(), bytes.0);
        let after = after.iter().map(ToString::to_string).collect();
        match action {
            Action::Copy {
                from,
                to,
                via,
                cost,
                carbon_kg,
            } => {
                let (from, to, via) = (from.to_string(), to.to_string(), texts(&via));
                Self::Copy {
                    id,
                    dataset,
                    from,
                    to,
                    via,
                    bytes,
                    objects,
                    cost,
                    carbon_kg,
                    after,
                }
            }
            Action::Retire { from } => Self::Retire {
                id,
                dataset,
                from: from.to_string(),
                bytes,
                objects,
                after,
            },
        }
    }
}

impl TryFrom<MoveDocument> for Move {
    type Error = DocumentError;

    fn try_from(document: MoveDocument) -> Result<Self, DocumentError> {
        let (id, dataset, action, bytes, objects, after) = match document {
            MoveDocument::Copy {
                id,
                dataset,
                from,
                to,
                via,
                bytes,
                objects,
                cost,
                carbon_kg,
                after,
            } => {
                let (from, to) = (BackendName::new(&from)?, BackendName::new(&to)?);
                let action = Action::Copy {
                    from,
                    to,
                    via: backends(&via)?.into(),
                    cost,
                    carbon_kg,
                };
                (id, dataset, action, bytes, objects, after)
            }
            MoveDocument::Retire {
                id,
                dataset,
                from,
                bytes,
                objects,
                after,
            } => (
                id,
                dataset,
                Action::Retire {
                    from: BackendName::new(&from)?,
                },
                bytes,
                objects,
                after,
            ),
        };
        Ok(Self {
            id: id.parse()?,
            dataset: DatasetName::new(&dataset)?,
            action,
            bytes: ByteCount(bytes),
            objects,
            after: after.iter().map(|id| id.parse()).collect::<Result<_, _>>()?,
        })
    }
}
