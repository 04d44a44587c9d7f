//! The stores of an estate.

use std::collections::BTreeMap;

use domicile_estate::{Backend, BackendName};

use crate::CredentialValues;

/// The stores of an estate, by the names of their backends. A store is first touched when it is first used.
#[derive(Debug)]
pub struct Stores {
    pub(crate) backends: BTreeMap<BackendName, Backend>,
    pub(crate) credentials: CredentialValues,
}

impl Stores {
    /// Takes backends as their manifests say. It touches no store and cannot fail: what is wrong with one backend
    /// is told by each use of that one, and holds up no other (SC-1).
    #[must_use]
    pub fn open(backends: &[&Backend], credentials: CredentialValues) -> Self {
        let backends = backends
            .iter()
            .map(|backend| (backend.name.clone(), (*backend).clone()))
            .collect();
        Self {
            backends,
            credentials,
        }
    }
}
