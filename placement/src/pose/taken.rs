//! Folders of copies that belong to somebody else.

use std::sync::Arc;

use domicile_estate::{BackendName, DatasetName};

use crate::problem::{Bars, Problem, Reason, RefusalKind, Refused};

/// The folder on a backend in which a copy of a dataset would lie, and that belongs to the origin of another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TakenFolder {
    /// The dataset whose copy would lie there.
    pub dataset: DatasetName,
    /// Where.
    pub backend: BackendName,
    /// The dataset whose origin lies there.
    pub owner: DatasetName,
}

/// Keeps new copies out of folders that are taken: each such dataset is refused by that backend. Of what is not in the
/// problem nothing is said.
pub fn keep_out(problem: &mut Problem, taken: &[TakenFolder]) {
    for folder in taken {
        let dataset = problem.dataset(folder.dataset.as_str());
        let backend = problem.backend(folder.backend.as_str());
        let (Some(dataset), Some(backend)) = (dataset, backend) else {
            continue;
        };
        let reason = problem.reasons.len();
        problem.reasons.push(Reason {
            rule: "origin".to_owned(),
            kind: RefusalKind::ReadOnly,
            bars: Bars::New,
            message: format!(
                "the folder `{}` on `{}` belongs to the origin of dataset `{}`, and nothing is written into it",
                folder.dataset, folder.backend, folder.owner
            ),
        });
        let refused = &mut Arc::make_mut(&mut problem.datasets[dataset].profile).refused;
        refused.push(Refused { backend, reason });
        refused.sort_unstable();
    }
}
