//! Whose datasets are whose, and what their owners weigh against each other.

use std::collections::BTreeMap;

use domicile_estate::{DatasetName, DomainName};

/// The owners of datasets. A dataset that is not entered belongs to nobody in particular, who weighs 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    of: BTreeMap<DatasetName, DomainName>,
    weights: BTreeMap<DomainName, u32>,
}

impl Owners {
    /// Nobody owns anything; so much do owners weigh.
    #[must_use]
    pub fn new(weights: BTreeMap<DomainName, u32>) -> Self {
        Self {
            of: BTreeMap::new(),
            weights,
        }
    }

    /// Enters a dataset.
    pub fn insert(&mut self, dataset: DatasetName, owner: DomainName) {
        self.of.insert(dataset, owner);
    }

    /// Whose a dataset is.
    #[must_use]
    pub fn of(&self, dataset: &DatasetName) -> Option<&DomainName> {
        self.of.get(dataset)
    }

    /// What an owner weighs.
    #[must_use]
    pub fn weight(&self, owner: Option<&DomainName>) -> u32 {
        let stated = owner.and_then(|owner| self.weights.get(owner));
        stated.copied().unwrap_or(1)
    }
}
