//! Domains: organisations that keep control of their own storage.

use crate::{Country, DomainName, Labels};

/// An organisation that offers storage and decides itself what it admits.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    /// Its name in the estate.
    pub name: DomainName,
    /// Its labels.
    pub labels: Labels,
    /// Its name for people.
    pub title: String,
    /// The law that its operator answers to.
    pub jurisdiction: Country,
    /// Its share of what is under way, as an owner, against that of other owners.
    pub weight: u32,
    /// What it agrees to hold; all rules must be true; none: everything.
    pub admission: Vec<AdmissionRule>,
}

/// One rule of admission: an expression in CEL over `dataset` and `domain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionRule {
    /// The name that refusals quote.
    pub name: String,
    /// The expression, as written.
    pub when: String,
}
