//! Nines that no copies can reach.

use std::collections::BTreeMap;

use domicile_estate::{Backend, FailureDomain};

use super::Lint;
use crate::policy::Requirement;

impl Lint<'_> {
    /// `accepted` are the backends that may count for the requirement.
    pub(super) fn durability(&mut self, requirement: &Requirement, accepted: &[&Backend], path: &str) {
        let Some(wanted) = requirement.milli_nines else {
            return;
        };
        // That no backend fits at all is said elsewhere.
        if accepted.is_empty() {
            return;
        }
        let path = format!("{path}/nines");
        let mut best: BTreeMap<FailureDomain<'_>, u32> = BTreeMap::new();
        for backend in accepted {
            if let Some(nines) = backend.milli_nines() {
                let held = best.entry(backend.failure_domain()).or_default();
                *held = nines.max(*held);
            }
        }
        if best.is_empty() {
            let message = format!(
                "`{}` asks for {} nines, but no backend that fits states any",
                requirement.name,
                nines(u64::from(wanted))
            );
            self.warn(&path, message, "state `failure: {nines: …}` of the backends");
            return;
        }
        let reach: u64 = best.values().map(|nines| u64::from(*nines)).sum();
        if reach < u64::from(wanted) {
            let message = format!(
                "`{}` asks for {} nines, but all backends that fit reach {} together (failure domains: {})",
                requirement.name,
                nines(u64::from(wanted)),
                nines(reach),
                best.len()
            );
            self.warn(
                &path,
                message,
                "ask for fewer nines, loosen a rule, or add a backend in another zone or region",
            );
        }
    }
}

fn nines(milli: u64) -> f64 {
    milli as f64 / 1000.0
}
