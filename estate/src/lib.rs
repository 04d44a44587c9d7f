//! # What is
//!
//! The nouns of Domicile: domains, backends, links, datasets, objects and copies, with their names and units.
//!
//! ```text
//!  Domain ──offers──▶ Backend ◀──lies on── Copy ──of──▶ Dataset ──has──▶ Object
//!                     │     ▲
//!                     └─Link┘
//! ```
//!
//! This crate holds values and what can be said of a value by looking at it alone. It must not decide
//! anything, and it touches nothing: no clock, no randomness, no environment, no I/O.

mod backend;
mod copy;
mod country;
mod dataset;
mod domain;
mod key;
mod limits;
mod link;
mod name;
mod observed;
mod price;
mod quantity;
mod verify;

pub use backend::{AccessMode, Backend, CredentialsRef, Energy, FailureDomain, Location, Store, StoreKind};
pub use copy::{Copy, CopyState};
pub use country::{
    Country, CountryGroup, CountrySet, GroupTable, UnknownCountry, countries, country, grid_grams_per_kwh,
    group_table,
};
pub use dataset::{Access, Dataset, DatasetSummary, FairRecord, Object, Origin};
pub use domain::{AdmissionRule, Domain};
pub use key::{KeyRefusal, ObjectKey, TEMPORARY_PREFIX};
pub use limits::{Hours, RateLimits, Rates};
pub use link::{Link, LinkEnd};
pub use name::{BackendName, DatasetName, DomainName, LinkName, NameError, PolicyName};
pub use observed::{Observed, ObservedDataset, OriginFinding};
pub use price::{ListPrice, Price, PriceTier, price_list};
pub use quantity::{ByteCount, DecimalError, QuantityError, parse_decimal, parse_quantity};
pub use verify::Verify;

/// Labels of a domain, backend or dataset: key to value, in the order of the keys.
pub type Labels = std::collections::BTreeMap<String, String>;

/// Bytes in one GiB, the unit of every price per GiB.
pub const BYTES_PER_GIB: f64 = 1_073_741_824.0;
/// Hours in a mean month (365.25 days / 12), the unit of every figure per month.
pub const HOURS_PER_MONTH: f64 = 730.5;
