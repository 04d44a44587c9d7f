//! Links: what is said of the way from some backends to others.

use crate::{Backend, BackendName, DomainName, LinkName, RateLimits};

/// What is said of the way from some backends to others. A field that is `None` says nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its name in the estate.
    pub name: LinkName,
    /// Where it begins.
    pub from: LinkEnd,
    /// Where it ends.
    pub to: LinkEnd,
    /// Whether it says the same of the way back.
    pub bidirectional: bool,
    /// Per GiB, instead of the egress price of the backend that is read.
    pub price_per_gib: Option<f64>,
    /// Bits per second.
    pub bandwidth_bits_per_second: Option<u64>,
    /// Milliseconds.
    pub latency_ms: Option<u64>,
    /// Whether bytes must not go this way.
    pub forbidden: Option<bool>,
    /// How much goes this way at most, over all that it speaks of in one direction; stated and empty: any amount.
    pub limits: Option<RateLimits>,
}

impl Link {
    /// Whether it says nothing at all.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.price_per_gib.is_none()
            && self.bandwidth_bits_per_second.is_none()
            && self.latency_ms.is_none()
            && self.forbidden.is_none()
            && self.limits.is_none()
    }
}

/// Some backends, as an end of a link. The later kinds are the more specific.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkEnd {
    /// Those of one provider.
    Provider(String),
    /// Those of one domain.
    Domain(DomainName),
    /// Those in one region.
    Region(String),
    /// One backend.
    Backend(BackendName),
}

impl LinkEnd {
    /// Whether a backend is one of them.
    #[must_use]
    pub fn holds(&self, backend: &Backend) -> bool {
        match self {
            Self::Provider(provider) => backend.location.provider.as_ref() == Some(provider),
            Self::Domain(domain) => backend.domain == *domain,
            Self::Region(region) => backend.location.region.as_ref() == Some(region),
            Self::Backend(name) => backend.name == *name,
        }
    }

    /// The kind of the end, as manifests write it, and its value.
    #[must_use]
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Provider(provider) => ("provider", provider),
            Self::Domain(domain) => ("domain", domain.as_str()),
            Self::Region(region) => ("region", region),
            Self::Backend(backend) => ("backend", backend.as_str()),
        }
    }

    /// How specific it is: the higher, the more.
    #[must_use]
    pub fn specificity(&self) -> u8 {
        match self {
            Self::Provider(_) => 0,
            Self::Domain(_) => 1,
            Self::Region(_) => 2,
            Self::Backend(_) => 3,
        }
    }
}
