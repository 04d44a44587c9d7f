//! What changed since a plan was made, and what that comes to.

/// What changed since a plan was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A backend is to be emptied: the problem has a reason against it that bars every copy.
    Drained {
        /// The backend.
        backend: usize,
    },
    /// A dataset has another size.
    Resized {
        /// The dataset.
        dataset: usize,
    },
    /// There is one dataset more, behind all others.
    Added {
        /// The dataset.
        dataset: usize,
    },
}

/// What a change comes to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Revision {
    /// The datasets that have another set than before, with that set, ascending; of new ones, those that are to have another
    /// than they have.
    pub changed: Vec<(usize, Vec<usize>)>,
    /// What the plan costs per month now.
    pub per_month: f64,
    /// No plan that satisfies as much costs less.
    pub lower_bound: f64,
    /// Whether the plan could take all of it up, and all has room. If not, the whole has to be planned anew.
    pub fits: bool,
}

impl Revision {
    /// How far the plan can be from the best one, as a share of it.
    #[must_use]
    pub fn gap(&self) -> f64 {
        if self.per_month > 0.0 {
            ((self.per_month - self.lower_bound) / self.per_month).max(0.0)
        } else {
            0.0
        }
    }
}
