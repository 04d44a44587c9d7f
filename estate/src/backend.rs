//! Backends: places that store objects, with what they cost and emit.

use std::collections::BTreeMap;
use std::fmt;

use crate::{BackendName, ByteCount, Country, DomainName, Labels, Price, RateLimits};

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
    /// Whether copies on their way elsewhere may lie here for a while.
    pub relay: bool,
    /// How much it may be asked.
    pub limits: RateLimits,
    /// What it costs.
    pub price: Price,
    /// What it emits.
    pub energy: Energy,
    /// Yearly durability of this backend alone, as a number of nines.
    pub nines: Option<f64>,
}

/// What fails together: copies within it are lost at once, and what happens in one says nothing of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureDomain<'b> {
    /// A zone of a region of a provider.
    Zone(Option<&'b str>, Option<&'b str>, &'b str),
    /// A region of a provider, where no zone is known.
    Region(Option<&'b str>, &'b str),
    /// The organisation that offers the backend, where no place is known.
    Domain(&'b DomainName),
}

impl Backend {
    /// What fails together with the backend: its zone, else its region, else its domain.
    #[must_use]
    pub fn failure_domain(&self) -> FailureDomain<'_> {
        let location = &self.location;
        let (provider, region) = (location.provider.as_deref(), location.region.as_deref());
        match (location.zone.as_deref(), region) {
            (Some(zone), _) => FailureDomain::Zone(provider, region, zone),
            (None, Some(region)) => FailureDomain::Region(provider, region),
            (None, None) => FailureDomain::Domain(&self.domain),
        }
    }

    /// Its yearly durability in whole thousandths of a nine; what is below one is cut off, so that nothing is promised
    /// that was not stated.
    #[must_use]
    pub fn milli_nines(&self) -> Option<u32> {
        // A decimal of at most three places is within this of its thousandths.
        const ROUNDING: f64 = 1e-6;
        self.nines.map(|nines| {
            (nines * 1000.0 + ROUNDING)
                .floor()
                .clamp(0.0, f64::from(u32::MAX)) as u32
        })
    }
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
    /// A container of Azure Blob Storage.
    Azblob,
    /// A bucket of Google Cloud Storage.
    Gcs,
    /// A folder behind WebDAV.
    Webdav,
    /// A folder behind SFTP, reached by the machine's own `ssh`.
    Sftp,
    /// A folder behind FTP, or FTP with TLS.
    Ftp,
    /// Files that a web server gives out; they can only be read.
    Http,
    /// The memory of this process, for tests.
    Memory,
}

impl StoreKind {
    /// Every kind, in the order in which they are listed to users.
    pub const ALL: [StoreKind; 9] = [
        Self::Fs,
        Self::S3,
        Self::Azblob,
        Self::Gcs,
        Self::Webdav,
        Self::Sftp,
        Self::Ftp,
        Self::Http,
        Self::Memory,
    ];

    /// The kind as manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fs => "Fs",
            Self::S3 => "S3",
            Self::Azblob => "Azblob",
            Self::Gcs => "Gcs",
            Self::Webdav => "Webdav",
            Self::Sftp => "Sftp",
            Self::Ftp => "Ftp",
            Self::Http => "Http",
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
    /// What the kind needs, by the names of manifests: `root` for most (absolute for `Fs`), `bucket` or `container`,
    /// `endpoint`, `region`.
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
    /// Environment variables with this prefix. Which ones follows from the kind of store: `GIESSEN` stands for
    /// `GIESSEN_ACCESS_KEY_ID`, `GIESSEN_SECRET_ACCESS_KEY` and `GIESSEN_SESSION_TOKEN` where the store is `S3`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::country;

    fn backend(provider: &str, region: &str, zone: &str, nines: Option<f64>) -> Backend {
        let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Backend {
            name: BackendName::new("b").expect("a name"),
            labels: Labels::new(),
            domain: DomainName::new("d").expect("a name"),
            location: Location {
                country: None,
                region: part(region),
                zone: part(zone),
                provider: part(provider),
            },
            operator_country: country("DE").expect("a country"),
            store: Store {
                kind: StoreKind::Memory,
                options: BTreeMap::new(),
            },
            credentials: None,
            capacity: ByteCount(1),
            access_mode: AccessMode::ReadWrite,
            cordoned: false,
            drain: false,
            relay: false,
            limits: crate::RateLimits::default(),
            price: Price::default(),
            energy: Energy {
                grid_grams_per_kwh: 0.0,
                grid_source: String::new(),
                watt_hours_per_tb_hour: 0.0,
                pue: 1.0,
                physical_copies: 1.0,
            },
            nines,
        }
    }

    #[test]
    fn what_fails_together_is_the_smallest_known_place() {
        let same = |a: &Backend, b: &Backend| a.failure_domain() == b.failure_domain();
        let zone = backend("p", "r", "z", None);
        assert!(same(&zone, &backend("p", "r", "z", Some(1.0))));
        // A zone's name says nothing without its region and provider.
        assert!(!same(&zone, &backend("p", "s", "z", None)));
        assert!(!same(&zone, &backend("q", "r", "z", None)));
        assert!(!same(&zone, &backend("p", "r", "", None)));
        assert!(same(&backend("p", "r", "", None), &backend("p", "r", "", None)));
        assert!(!same(&backend("p", "r", "", None), &backend("q", "r", "", None)));
        // Without a place it is the domain, whoever runs the disks.
        assert!(same(&backend("p", "", "", None), &backend("q", "", "", None)));
    }

    #[test]
    fn nines_are_counted_in_thousandths() {
        let milli = |nines| backend("", "", "", nines).milli_nines();
        assert_eq!(milli(None), None);
        assert_eq!(milli(Some(0.0)), Some(0));
        assert_eq!(milli(Some(1.001)), Some(1001));
        assert_eq!(milli(Some(4.1)), Some(4100));
        assert_eq!(milli(Some(2.9999)), Some(2999));
        assert_eq!(milli(Some(1e30)), Some(u32::MAX));
    }
}
