//! What can go wrong, and who is to blame.

use std::fmt;

use domicile_estate::BackendName;

use crate::Place;

/// What kind of failure it is: who is to blame, and whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureClass {
    /// It may go away by itself: a time-out, a lost connection, a busy store.
    Transient,
    /// The source's bytes are not those that are catalogued.
    SourceDamaged,
    /// The object is no longer at the source.
    SourceGone,
    /// The object has another size than it had when it was listed, and no digest of it is known.
    SourceChanged,
    /// The source may not or cannot be read.
    SourceUnreadable,
    /// The target has no room.
    TargetFull,
    /// Something else lies where the object should go.
    TargetConflict,
    /// The target may not be written.
    TargetDenied,
    /// The bucket or root is not there.
    StoreMissing,
    /// The store does not accept our credentials, or there are none.
    CredentialsRefused,
    /// The target gives back other bytes than it was given.
    TargetCorrupts,
    /// The store cannot hold the key byte for byte.
    KeyRefused,
    /// A person or a shutdown stopped it.
    Cancelled,
}

impl FailureClass {
    /// Every class, in order.
    pub const ALL: [FailureClass; 13] = [
        Self::Transient,
        Self::SourceDamaged,
        Self::SourceGone,
        Self::SourceChanged,
        Self::SourceUnreadable,
        Self::TargetFull,
        Self::TargetConflict,
        Self::TargetDenied,
        Self::StoreMissing,
        Self::CredentialsRefused,
        Self::TargetCorrupts,
        Self::KeyRefused,
        Self::Cancelled,
    ];

    /// The class as catalogues and programs write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "Transient",
            Self::SourceDamaged => "SourceDamaged",
            Self::SourceGone => "SourceGone",
            Self::SourceChanged => "SourceChanged",
            Self::SourceUnreadable => "SourceUnreadable",
            Self::TargetFull => "TargetFull",
            Self::TargetConflict => "TargetConflict",
            Self::TargetDenied => "TargetDenied",
            Self::StoreMissing => "StoreMissing",
            Self::CredentialsRefused => "CredentialsRefused",
            Self::TargetCorrupts => "TargetCorrupts",
            Self::KeyRefused => "KeyRefused",
            Self::Cancelled => "Cancelled",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failure, as a person reads it: which backend, which object, what happened and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure.
    pub class: FailureClass,
    /// The backend where it happened.
    pub backend: BackendName,
    /// The object's path below the backend's root; `None` where the failure is not about one object.
    pub object: Option<String>,
    /// What happened and what to do; free of credentials.
    pub message: String,
}

impl Failure {
    /// A failure with an object.
    #[must_use]
    pub fn of_object(class: FailureClass, backend: &BackendName, object: &str, message: String) -> Self {
        Self {
            class,
            backend: backend.clone(),
            object: Some(object.to_owned()),
            message,
        }
    }

    /// A failure with the object in a place.
    #[must_use]
    pub fn of_place(class: FailureClass, place: &Place, message: String) -> Self {
        Self::of_object(class, &place.backend, &place.path, message)
    }

    /// A failure of a backend as a whole.
    #[must_use]
    pub fn of_backend(class: FailureClass, backend: &BackendName, message: String) -> Self {
        Self {
            class,
            backend: backend.clone(),
            object: None,
            message,
        }
    }

    /// Whether it may go away by itself.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.class == FailureClass::Transient
    }

    /// Whether another source of the same object may serve.
    #[must_use]
    pub fn blames_source(&self) -> bool {
        matches!(
            self.class,
            FailureClass::SourceDamaged
                | FailureClass::SourceGone
                | FailureClass::SourceChanged
                | FailureClass::SourceUnreadable
        )
    }

    /// Whether every other object on this backend would fail in the same way, so that trying them is no use.
    #[must_use]
    pub fn blames_whole_backend(&self) -> bool {
        matches!(
            self.class,
            FailureClass::StoreMissing | FailureClass::CredentialsRefused
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backend `{}`: ", self.backend)?;
        if let Some(object) = &self.object {
            // A line break in a name must not look like a new line of output.
            write!(f, "object `{}`: ", object.escape_debug())?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: FailureClass) -> Failure {
        let backend = BackendName::new("b").unwrap();
        Failure::of_object(class, &backend, "d/a\nb", "it broke".to_owned())
    }

    #[test]
    fn a_failure_names_backend_and_object_on_one_line() {
        let text = failure(FailureClass::Transient).to_string();
        assert_eq!(text, "backend `b`: object `d/a\\nb`: it broke");
    }

    #[test]
    fn no_class_blames_two() {
        for class in FailureClass::ALL {
            let failure = failure(class);
            let blames = [
                failure.is_transient(),
                failure.blames_source(),
                failure.blames_whole_backend(),
            ];
            assert!(blames.iter().filter(|b| **b).count() <= 1, "{class}");
        }
    }
}
