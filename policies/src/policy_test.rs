//! Tests of policies: datasets made up for the test, and where they are expected to lie.

use std::collections::BTreeSet;

use domicile_estate::{BackendName, ByteCount, DatasetName, DomainName, Labels};

use crate::diagnostic::Place;

/// A `PolicyTest` manifest. It uses the domains, backends and policies that it is read with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyTest {
    /// Its name.
    pub name: String,
    /// Datasets that exist for this test only.
    pub datasets: Vec<FixtureDataset>,
    /// What must hold.
    pub expect: Vec<Expectation>,
    /// Where it is written.
    pub place: Place,
}

/// A dataset made up for a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixtureDataset {
    /// Its name.
    pub name: DatasetName,
    /// The owner.
    pub domain: DomainName,
    /// Its labels.
    pub labels: Labels,
    /// Sum of the sizes of its objects.
    pub bytes: ByteCount,
    /// Number of its objects.
    pub objects: u64,
    /// The backend that holds its origin, if it has one; the origin is kept.
    pub origin: Option<BackendName>,
}

/// One thing that must hold for one dataset: a fixture, or a dataset of the manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The dataset.
    pub dataset: DatasetName,
    /// What must hold.
    pub expected: Expected,
    /// Where it is written.
    pub place: Place,
}

/// What must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Its copies lie on exactly these backends.
    Backends(BTreeSet<BackendName>),
    /// A backend does not take it.
    Refused {
        /// The backend.
        backend: BackendName,
        /// The rule that refuses it; absent: any.
        rule: Option<String>,
        /// The kind of refusal; absent: any.
        kind: Option<RefusalKind>,
    },
    /// Every requirement of it is met, or not.
    Satisfied(bool),
    /// Exactly these backends may hold a copy of it.
    Admissible(BTreeSet<BackendName>),
}

/// What kind of rule refuses a backend, as plans write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalKind {
    /// A `confine` rule of a policy.
    Confinement,
    /// An `admission` rule of the backend's domain.
    Admission,
    /// The backend takes nothing new, or is to be emptied.
    Cordoned,
    /// The backend is a source only.
    ReadOnly,
    /// The last probe or move failed.
    Unreachable,
    /// No requirement wants a copy there.
    Requirement,
    /// There is no room.
    Capacity,
    /// A budget is used up.
    Budget,
}

impl RefusalKind {
    /// Every kind, in the order in which they are listed to users.
    pub const ALL: [RefusalKind; 8] = [
        Self::Confinement,
        Self::Admission,
        Self::Cordoned,
        Self::ReadOnly,
        Self::Unreachable,
        Self::Requirement,
        Self::Capacity,
        Self::Budget,
    ];

    /// The kind as plans and manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confinement => "Confinement",
            Self::Admission => "Admission",
            Self::Cordoned => "Cordoned",
            Self::ReadOnly => "ReadOnly",
            Self::Unreachable => "Unreachable",
            Self::Requirement => "Requirement",
            Self::Capacity => "Capacity",
            Self::Budget => "Budget",
        }
    }
}
