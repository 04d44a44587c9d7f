//! The manifests of an estate, read and checked together.

use std::collections::BTreeMap;

use domicile_estate::{
    Backend, BackendName, Dataset, DatasetName, Domain, DomainName, Link, LinkName, PolicyName,
};

use crate::diagnostic::{Diagnostic, Place};
use crate::expression::Expression;
use crate::policy::Policy;

/// One text to read manifests from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What errors call it: a path, `<stdin>`, or `catalogue`.
    pub name: String,
    /// The text: YAML 1.2 (or JSON), one document or many.
    pub text: String,
    /// The absolute folder that relative roots and credential files start at.
    pub folder: String,
    /// Whether the catalogue holds it already: a document of the same kind and name from a fresh source
    /// replaces it, and no other document of it is an error twice over.
    pub stored: bool,
}

/// What the manifests of an estate say, every value checked.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// The domains.
    pub domains: BTreeMap<DomainName, Domain>,
    /// The backends.
    pub backends: BTreeMap<BackendName, Backend>,
    /// What is said of the ways between backends; [`Manifests::ways`] says how they agree.
    pub links: BTreeMap<LinkName, Link>,
    /// The datasets that manifests describe; inventories register further ones.
    pub datasets: BTreeMap<DatasetName, Dataset>,
    /// The policies, Audit ones included.
    pub policies: BTreeMap<PolicyName, Policy>,
    /// The tests of policies.
    pub tests: Vec<crate::PolicyTest>,
    /// The admission rules of each domain that has some, compiled, in the order in which they are written.
    pub admissions: BTreeMap<DomainName, Vec<(String, Expression)>>,
    /// The one currency of the estate, `EUR` where no backend names one.
    pub currency: String,
    /// Every document in its canonical form, by kind and name, for the catalogue: roots absolute, no secrets.
    pub documents: Vec<Document>,
    /// What is no error but worth saying, such as an empty selection.
    pub warnings: Vec<Diagnostic>,
    /// Where documents and their rules are written, by a path such as `ReplicationPolicy/bio/require/three`.
    pub places: BTreeMap<String, Place>,
}

/// One manifest in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Document {
    /// `Domain`, `Backend`, `Link`, `Dataset`, `ReplicationPolicy` or `PolicyTest`.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// The whole document as JSON with sorted keys; reading it again gives the same values.
    pub json: String,
    /// Whether it came from a stored source.
    pub stored: bool,
}
