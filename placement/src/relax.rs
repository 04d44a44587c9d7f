//! What would help: the smallest changes that would satisfy a dataset, each tried out.

use crate::refusals::Scene;

/// One change that would satisfy a dataset, everything else staying as planned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relaxation {
    /// The rule to change.
    pub rule: String,
    /// The change, briefly.
    pub change: String,
    /// The same for people.
    pub message: String,
}

/// The changes that would satisfy a dataset.
pub(crate) fn relaxations(_scene: &Scene<'_>, _dataset: usize) -> Vec<Relaxation> {
    Vec::new()
}
