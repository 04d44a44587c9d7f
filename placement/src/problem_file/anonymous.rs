//! A problem without its names.

use std::collections::BTreeMap;

use domicile_estate::{BackendName, DatasetName, NameError, PolicyName};

use crate::problem::{Problem, Reason, RefusalKind};

/// The same problem with numbers instead of names, so that it can be shown to others: backends, datasets, policies, rules,
/// requirements, providers, regions and keys. Sizes, prices and what depends on what stay as they are. The order stays
/// too, so that the solution is the same.
///
/// # Errors
/// None: a number with a letter before it is a name.
pub fn anonymous(problem: &Problem) -> Result<Problem, NameError> {
    let mut hidden = problem.clone();
    let mut places = Numbers::new("place");
    let width = digits(problem.backends.len());
    for (at, place) in hidden.backends.iter_mut().enumerate() {
        place.name = BackendName::new(&format!("b{at:0width$}"))?;
        place.provider = place.provider.as_deref().map(|text| places.number(text));
        place.region = place.region.as_deref().map(|text| places.number(text));
        place.energy.grid_source = String::new();
    }
    let width = digits(problem.policies.len());
    for (at, terms) in hidden.policies.iter_mut().enumerate() {
        terms.name = PolicyName::new(&format!("p{at:0width$}"))?;
    }
    let mut rules = Numbers::new("rule");
    for (at, reason) in hidden.reasons.iter_mut().enumerate() {
        if is_a_manifests(reason) {
            reason.rule = rules.number(&reason.rule);
        }
        reason.message = format!("reason {at}");
    }
    let mut keys = Numbers::new("key");
    for (at, wanted) in hidden.requirements.iter_mut().enumerate() {
        wanted.name = format!("r{at}");
        wanted.place = String::new();
        for spread in &mut wanted.spread {
            spread.across = keys.number(&spread.across);
        }
    }
    let width = digits(problem.datasets.len());
    for (at, subject) in hidden.datasets.iter_mut().enumerate() {
        subject.name = DatasetName::new(&format!("d{at:0width$}"))?;
    }
    Ok(hidden)
}

/// Whether a person named the rule; `drain`, `cordon` and their like say nothing of anybody.
fn is_a_manifests(reason: &Reason) -> bool {
    matches!(reason.kind, RefusalKind::Confinement | RefusalKind::Admission)
}

/// Digits of the largest index: with all numbers equally long, their order as text is that as numbers.
fn digits(count: usize) -> usize {
    count.saturating_sub(1).to_string().len()
}

/// Equal texts get equal numbers.
struct Numbers {
    word: &'static str,
    of: BTreeMap<String, usize>,
}

impl Numbers {
    fn new(word: &'static str) -> Self {
        Self {
            word,
            of: BTreeMap::new(),
        }
    }

    fn number(&mut self, text: &str) -> String {
        let next = self.of.len();
        let number = *self.of.entry(text.to_owned()).or_insert(next);
        format!("{}-{number}", self.word)
    }
}
