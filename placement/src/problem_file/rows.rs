//! The rows of a problem file as they are written. Every structure of the problem is taken apart whole, so that a new
//! field cannot be forgotten here.

use std::borrow::Cow;

use domicile_estate::{CopyState, DatasetSummary, Energy, Price};
use serde::{Deserialize, Serialize};

use super::{API_VERSION, KIND};
use crate::problem::{
    Audit, Bars, Durability, Goal, GoalAim, Held, Hop, Movement, Place, Problem, Profile, Reason, Refused,
    Requirement, Spread, Subject, Terms,
};

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Head {
    pub api_version: String,
    pub kind: String,
    pub currency: String,
    pub rows: Counts,
}

/// How many rows of each kind follow.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counts {
    pub backends: usize,
    pub policies: usize,
    pub reasons: usize,
    pub requirements: usize,
    pub links: usize,
    pub profiles: usize,
    pub datasets: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendRow {
    pub name: String,
    pub provider: Option<String>,
    pub region: Option<String>,
    pub capacity: u64,
    pub price: PriceRow,
    pub energy: EnergyRow,
    pub reachable: bool,
    pub relays: bool,
    pub reasons: Vec<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PriceRow {
    pub currency: Option<String>,
    #[serde(rename = "storagePerGiBMonth")]
    pub storage_per_gib_month: f64,
    #[serde(rename = "ingressPerGiB")]
    pub ingress_per_gib: f64,
    #[serde(rename = "egressPerGiB")]
    pub egress_per_gib: f64,
    #[serde(rename = "egressWithinProviderPerGiB")]
    pub egress_within_provider_per_gib: f64,
    #[serde(rename = "egressWithinRegionPerGiB")]
    pub egress_within_region_per_gib: f64,
    #[serde(rename = "putPer1000")]
    pub put_per_1000: f64,
    #[serde(rename = "getPer1000")]
    pub get_per_1000: f64,
    pub min_object_size: u64,
    /// Billable bytes above which a price holds, and that price.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<(u64, f64)>,
    #[serde(default, skip_serializing_if = "is_zero_bytes")]
    pub included_storage: u64,
    #[serde(default, skip_serializing_if = "is_zero_amount")]
    pub base_fee_per_month: f64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

fn is_zero_bytes(bytes: &u64) -> bool {
    *bytes == 0
}

fn is_zero_amount(amount: &f64) -> bool {
    *amount == 0.0
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnergyRow {
    #[serde(rename = "gridGramsPerKWh")]
    pub grid_grams_per_kwh: f64,
    pub grid_source: String,
    #[serde(rename = "wattHoursPerTBHour")]
    pub watt_hours_per_tb_hour: f64,
    pub pue: f64,
    pub physical_copies: f64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyRow {
    pub name: String,
    pub enforced: bool,
    pub cost_per_month: Option<f64>,
    pub carbon_kg_per_month: Option<f64>,
    pub movement: MovementRow,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MovementRow {
    pub bytes: Option<u64>,
    pub cost: Option<f64>,
    pub payback_days: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReasonRow {
    pub rule: String,
    pub kind: String,
    pub bars: String,
    pub message: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequirementRow {
    pub policy: usize,
    pub name: String,
    pub copies: u32,
    pub place: String,
    /// The backends that it accepts, ascending.
    pub accepts: Vec<usize>,
    pub spread: Vec<SpreadRow>,
    pub durability: Option<DurabilityRow>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SpreadRow {
    pub across: String,
    pub groups: u32,
    pub group_of: Vec<Option<usize>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DurabilityRow {
    pub milli_nines: u32,
    /// For each backend, its failure domain and thousandths of a nine.
    pub of: Vec<Option<(usize, u32)>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkRow {
    pub from: usize,
    pub to: usize,
    pub forbidden: bool,
    #[serde(rename = "pricePerGiB")]
    pub price_per_gib: Option<f64>,
    pub bandwidth_bits_per_second: Option<u64>,
    pub latency_ms: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileRow {
    pub priority: i64,
    pub carbon_price_per_tonne: f64,
    pub horizon_months: u32,
    pub goals: Vec<GoalRow>,
    pub policies: Vec<usize>,
    pub requirements: Vec<usize>,
    /// Backend and reason.
    pub refused: Vec<(usize, usize)>,
    pub audits: Vec<AuditRow>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GoalRow {
    pub aim: String,
    pub slack_millionths: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditRow {
    pub policy: usize,
    pub refused: Vec<(usize, usize)>,
    pub requirements: Vec<usize>,
}

/// Name, bytes, objects, profile, whether the origin must stay, copies, billable bytes (minimum and sum; `None`: only the
/// minimum 0).
#[derive(Debug, Serialize, Deserialize)]
pub struct DatasetRow<'a>(
    #[serde(borrow)] pub Cow<'a, str>,
    pub u64,
    pub u64,
    pub usize,
    pub bool,
    pub Vec<CopyRow<'a>>,
    pub Option<Vec<(u64, u64)>>,
);

/// Backend, state, whether it is the origin, missing bytes, missing objects.
#[derive(Debug, Serialize, Deserialize)]
pub struct CopyRow<'a>(
    pub usize,
    #[serde(borrow)] pub Cow<'a, str>,
    pub bool,
    pub u64,
    pub u64,
);

/// The states of a copy and their words.
pub const STATES: [(CopyState, &str); 6] = [
    (CopyState::Unknown, "Unknown"),
    (CopyState::Listed, "Listed"),
    (CopyState::Incomplete, "Incomplete"),
    (CopyState::Verified, "Verified"),
    (CopyState::Damaged, "Damaged"),
    (CopyState::Retiring, "Retiring"),
];

pub const BARS: [(Bars, &str); 2] = [(Bars::Every, "Every"), (Bars::New, "New")];

pub const AIMS: [(GoalAim, &str); 2] = [(GoalAim::Carbon, "Carbon"), (GoalAim::Cost, "Cost")];

/// The word for a value. Every value is in its list.
pub fn word<T: PartialEq>(words: &[(T, &'static str)], value: &T) -> &'static str {
    words
        .iter()
        .find(|(known, _)| known == value)
        .map_or("", |(_, word)| word)
}

impl Head {
    /// The head of a problem's file.
    pub fn of(problem: &Problem, profiles: usize) -> Self {
        let Problem {
            currency,
            backends,
            policies,
            reasons,
            requirements,
            links,
            datasets,
        } = problem;
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            currency: currency.clone(),
            rows: Counts {
                backends: backends.len(),
                policies: policies.len(),
                reasons: reasons.len(),
                requirements: requirements.len(),
                links: links.len(),
                profiles,
                datasets: datasets.len(),
            },
        }
    }
}

impl From<&Place> for BackendRow {
    fn from(place: &Place) -> Self {
        let Place {
            name,
            provider,
            region,
            capacity,
            price,
            energy,
            reachable,
            relays,
            reasons,
        } = place;
        Self {
            name: name.to_string(),
            provider: provider.clone(),
            region: region.clone(),
            capacity: capacity.0,
            price: price.into(),
            energy: energy.into(),
            reachable: *reachable,
            relays: *relays,
            reasons: reasons.clone(),
        }
    }
}

impl From<&Price> for PriceRow {
    fn from(price: &Price) -> Self {
        let Price {
            currency,
            storage_per_gib_month,
            ingress_per_gib,
            egress_per_gib,
            egress_within_provider_per_gib,
            egress_within_region_per_gib,
            put_per_1000,
            get_per_1000,
            min_object_size,
            tiers,
            included_storage,
            base_fee_per_month,
            source,
        } = price;
        Self {
            currency: currency.clone(),
            storage_per_gib_month: *storage_per_gib_month,
            ingress_per_gib: *ingress_per_gib,
            egress_per_gib: *egress_per_gib,
            egress_within_provider_per_gib: *egress_within_provider_per_gib,
            egress_within_region_per_gib: *egress_within_region_per_gib,
            put_per_1000: *put_per_1000,
            get_per_1000: *get_per_1000,
            min_object_size: min_object_size.0,
            tiers: tiers
                .iter()
                .map(|tier| (tier.above.0, tier.storage_per_gib_month))
                .collect(),
            included_storage: included_storage.0,
            base_fee_per_month: *base_fee_per_month,
            source: source.clone(),
        }
    }
}

impl From<&Energy> for EnergyRow {
    fn from(energy: &Energy) -> Self {
        let Energy {
            grid_grams_per_kwh,
            grid_source,
            watt_hours_per_tb_hour,
            pue,
            physical_copies,
        } = energy;
        Self {
            grid_grams_per_kwh: *grid_grams_per_kwh,
            grid_source: grid_source.clone(),
            watt_hours_per_tb_hour: *watt_hours_per_tb_hour,
            pue: *pue,
            physical_copies: *physical_copies,
        }
    }
}

impl From<&Terms> for PolicyRow {
    fn from(terms: &Terms) -> Self {
        let Terms {
            name,
            enforced,
            cost_per_month,
            carbon_kg_per_month,
            movement:
                Movement {
                    bytes,
                    cost,
                    payback_days,
                },
        } = terms;
        Self {
            name: name.to_string(),
            enforced: *enforced,
            cost_per_month: *cost_per_month,
            carbon_kg_per_month: *carbon_kg_per_month,
            movement: MovementRow {
                bytes: *bytes,
                cost: *cost,
                payback_days: *payback_days,
            },
        }
    }
}

impl From<&Reason> for ReasonRow {
    fn from(reason: &Reason) -> Self {
        let Reason {
            rule,
            kind,
            bars,
            message,
        } = reason;
        Self {
            rule: rule.clone(),
            kind: kind.as_str().to_owned(),
            bars: word(&BARS, bars).to_owned(),
            message: message.clone(),
        }
    }
}

impl From<&Requirement> for RequirementRow {
    fn from(requirement: &Requirement) -> Self {
        let Requirement {
            policy,
            name,
            copies,
            place,
            accepts,
            spread,
            durability,
        } = requirement;
        let accepted = accepts.iter().enumerate().filter(|(_, accepts)| **accepts);
        let durability = durability
            .as_ref()
            .map(|Durability { milli_nines, of }| DurabilityRow {
                milli_nines: *milli_nines,
                of: of.clone(),
            });
        let spread = spread.iter().map(
            |Spread {
                 across,
                 groups,
                 group_of,
             }| SpreadRow {
                across: across.clone(),
                groups: *groups,
                group_of: group_of.clone(),
            },
        );
        Self {
            policy: *policy,
            name: name.clone(),
            copies: *copies,
            place: place.clone(),
            accepts: accepted.map(|(backend, _)| backend).collect(),
            spread: spread.collect(),
            durability,
        }
    }
}

impl From<(&(usize, usize), &Hop)> for LinkRow {
    fn from((&(from, to), hop): (&(usize, usize), &Hop)) -> Self {
        let Hop {
            forbidden,
            price_per_gib,
            bandwidth_bits_per_second,
            latency_ms,
        } = *hop;
        Self {
            from,
            to,
            forbidden,
            price_per_gib,
            bandwidth_bits_per_second,
            latency_ms,
        }
    }
}

impl From<&Profile> for ProfileRow {
    fn from(profile: &Profile) -> Self {
        let Profile {
            priority,
            carbon_price_per_tonne,
            horizon_months,
            goals,
            policies,
            requirements,
            refused,
            audits,
        } = profile;
        let goals = goals.iter().map(
            |Goal {
                 aim,
                 slack_millionths,
             }| GoalRow {
                aim: word(&AIMS, aim).to_owned(),
                slack_millionths: *slack_millionths,
            },
        );
        let audits = audits.iter().map(
            |Audit {
                 policy,
                 refused,
                 requirements,
             }| AuditRow {
                policy: *policy,
                refused: pairs(refused),
                requirements: requirements.clone(),
            },
        );
        Self {
            priority: *priority,
            carbon_price_per_tonne: *carbon_price_per_tonne,
            horizon_months: *horizon_months,
            goals: goals.collect(),
            policies: policies.clone(),
            requirements: requirements.clone(),
            refused: pairs(refused),
            audits: audits.collect(),
        }
    }
}

fn pairs(refused: &[Refused]) -> Vec<(usize, usize)> {
    refused
        .iter()
        .map(|Refused { backend, reason }| (*backend, *reason))
        .collect()
}

impl<'a> DatasetRow<'a> {
    /// The row of a dataset that has this profile.
    pub fn of(subject: &'a Subject, profile: usize) -> Self {
        let Subject {
            name,
            summary:
                DatasetSummary {
                    bytes,
                    objects,
                    billable,
                },
            keep_origin,
            copies,
            profile: _,
        } = subject;
        let plain = matches!(billable[..], [(minimum, sum)] if minimum.0 == 0 && sum == *bytes);
        let billable = billable.iter().map(|(minimum, sum)| (minimum.0, sum.0));
        Self(
            Cow::Borrowed(name.as_str()),
            bytes.0,
            *objects,
            profile,
            *keep_origin,
            copies.iter().map(CopyRow::from).collect(),
            (!plain).then(|| billable.collect()),
        )
    }
}

impl From<&Held> for CopyRow<'_> {
    fn from(held: &Held) -> Self {
        let Held {
            backend,
            origin,
            state,
            missing_bytes,
            missing_objects,
        } = held;
        Self(
            *backend,
            Cow::Borrowed(word(&STATES, state)),
            *origin,
            missing_bytes.0,
            *missing_objects,
        )
    }
}
