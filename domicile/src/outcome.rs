//! How a command ended: text and exit code come from one value.

/// How a command ended. The order is that of MANIFESTS.md: where several apply, the first one gives the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The user interrupted it.
    Interrupted,
    /// It was asked wrongly.
    Usage,
    /// An error; nothing is half-done.
    Error,
    /// The plan is stale.
    Stale,
    /// A threshold or assertion failed.
    AssertionFailed,
    /// Some moves failed; everything else is done.
    MovesFailed,
    /// Done, but some dataset is unsatisfied or a violation stays.
    Unsatisfied,
    /// Changes are pending.
    ChangesPending,
    /// Done, or nothing to do.
    Done,
}

impl Outcome {
    /// The exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Interrupted => 130,
            Self::Usage => 64,
            Self::Error => 1,
            Self::Stale => 4,
            Self::AssertionFailed => 7,
            Self::MovesFailed => 5,
            Self::Unsatisfied => 3,
            Self::ChangesPending => 2,
            Self::Done => 0,
        }
    }

    /// The one of two that gives the code.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.min(other)
    }
}

/// An error that ends a command with another code than 1.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// How the command ended.
    pub outcome: Outcome,
    /// What, where and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal of how the command was asked.
    pub fn usage(message: impl Into<String>) -> anyhow::Error {
        Self {
            outcome: Outcome::Usage,
            message: message.into(),
        }
        .into()
    }

    /// A refusal of a plan that no longer fits.
    pub fn stale(message: impl Into<String>) -> anyhow::Error {
        Self {
            outcome: Outcome::Stale,
            message: message.into(),
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome::*;

    #[test]
    fn the_first_that_applies_gives_the_code() {
        let order = [
            Interrupted,
            Usage,
            Error,
            Stale,
            AssertionFailed,
            MovesFailed,
            Unsatisfied,
            ChangesPending,
            Done,
        ];
        assert_eq!(order.map(super::Outcome::code), [130, 64, 1, 4, 7, 5, 3, 2, 0]);
        assert!(order.is_sorted());
        assert_eq!(Unsatisfied.or(MovesFailed), MovesFailed);
        assert_eq!(Done.or(ChangesPending), ChangesPending);
    }
}
