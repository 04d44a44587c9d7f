//! Backends: places that store objects, with what they cost and emit.

use std::collections::BTreeMap;
use std::fmt;

use crate::{BackendName, ByteCount, Country, DomainName, Labels};

/// One place that stores objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// Its name in the estate.
    pub name: BackendName,
    /// Its labels, such as `media: hdd` or `tier: archive`.
    pub labels: Labels,
    /// The domain that offers it.
    pub domain: DomainName,
    /// Where the disks are, and who runs them.
    pub location: Location,
    /// The law that the operator answers to.
    pub operator_country: Country,
    /// How it is reached.
    pub store: Store,
    /// Where its credentials are found; never the credentials themselves.
    pub credentials: Option<CredentialsRef>,
    /// Bytes that it may hold.
    pub capacity: ByteCount,
    /// Whether it may be a target.
    pub access_mode: AccessMode,
    /// Nothing new goes there.
    pub cordoned: bool,
    /// It is to be emptied.
    pub drain: bool,
    /// What it costs.
    pub price: Price,
    /// What it emits.
    pub energy: Energy,
    /// Yearly durability of this backend alone, as a number of nines.
    pub nines: Option<f64>,
}

/// Where the disks are, and who runs them. An absent part belongs to no group of a spread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// The soil.
    pub country: Option<Country>,
    /// A region of the provider.
    pub region: Option<String>,
    /// A zone that fails on its own.
    pub zone: Option<String>,
    /// Who runs the disks.
    pub provider: Option<String>,
}

/// A kind of store that a mover can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreKind {
    /// A folder of a file system.
    Fs,
    /// An S3 bucket.
    S3,
    /// The memory of this process, for tests.
    Memory,
}

impl StoreKind {
    /// Every kind, in the order in which they are listed to users.
    pub const ALL: [StoreKind; 3] = [Self::Fs, Self::S3, Self::Memory];

    /// The kind as manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fs => "Fs",
            Self::S3 => "S3",
            Self::Memory => "Memory",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a backend is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The kind of store.
    pub kind: StoreKind,
    /// What the kind needs: `root` for all (absolute for `Fs`); `bucket`, `endpoint`, `region` for `S3`.
    pub options: BTreeMap<String, String>,
}

impl Store {
    /// One option, or the empty text.
    #[must_use]
    pub fn option(&self, name: &str) -> &str {
        self.options.get(name).map_or("", String::as_str)
    }
}

/// Where credentials are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialsRef {
    /// Environment variables with this prefix: `GIESSEN` stands for `GIESSEN_ACCESS_KEY_ID`,
    /// `GIESSEN_SECRET_ACCESS_KEY` and `GIESSEN_SESSION_TOKEN`.
    Env(String),
    /// A file with lines such as `access_key_id = …`, absolute.
    File(String),
    /// A Kubernetes secret by name.
    Secret(String),
}

/// Whether a backend may be written to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccessMode {
    /// Source and target.
    #[default]
    ReadWrite,
    /// A source, never a target.
    ReadOnly,
}

/// What a backend costs. Amounts are in the estate's one currency; none is below zero.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Price {
    /// ISO 4217 code; `None` where no price was given.
    pub currency: Option<String>,
    /// Per billable GiB and month.
    pub storage_per_gib_month: f64,
    /// Per GiB written.
    pub ingress_per_gib: f64,
    /// Per GiB read from another provider.
    pub egress_per_gib: f64,
    /// Per GiB read within one provider, between regions.
    pub egress_within_provider_per_gib: f64,
    /// Per GiB read within one region of one provider.
    pub egress_within_region_per_gib: f64,
    /// Per 1,000 objects written.
    pub put_per_1000: f64,
    /// Per 1,000 objects read.
    pub get_per_1000: f64,
    /// Bytes that an object is billed for at least.
    pub min_object_size: ByteCount,
}

/// What storing on a backend needs and emits. The coefficients' sources are in the crate's `data/README.md`.
#[derive(Debug, Clone, PartialEq)]
pub struct Energy {
    /// Carbon intensity of the grid in gCO2e/kWh.
    pub grid_grams_per_kwh: f64,
    /// Where that figure is from, for people: `given`, or the shipped table with its year.
    pub grid_source: String,
    /// Watt-hours that keep 1 TB (10^12 bytes) for an hour.
    pub watt_hours_per_tb_hour: f64,
    /// Power usage effectiveness of the data centre.
    pub pue: f64,
    /// Physical copies behind one logical copy.
    pub physical_copies: f64,
}
