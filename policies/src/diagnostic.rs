//! What is wrong, or worth saying, at a place of a source. Rendering is done elsewhere.

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The manifests cannot be used.
    Error,
    /// They can, but probably do not say what was meant.
    Warning,
}

/// A range of bytes in one of the sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index into the sources that were read.
    pub source: usize,
    /// First byte.
    pub offset: usize,
    /// Number of bytes.
    pub length: usize,
}

/// One finding at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: lower case, no full stop, what the user wrote in backticks.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Index into the sources that were read.
    pub source: usize,
    /// First byte of the marked text.
    pub offset: usize,
    /// Number of bytes of the marked text.
    pub length: usize,
    /// The line may hold a secret: show the name of the source and the line's number, never its text.
    pub hide_source: bool,
}

impl Diagnostic {
    /// An error at a place.
    #[must_use]
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            help: None,
            source: place.source,
            offset: place.offset,
            length: place.length,
            hide_source: false,
        }
    }

    /// A warning at a place.
    #[must_use]
    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(place, message)
        }
    }

    /// The same with a help text.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    /// The same with the line's text kept back.
    #[must_use]
    pub fn hidden(self) -> Self {
        Self {
            hide_source: true,
            ..self
        }
    }

    /// The place as one value.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            source: self.source,
            offset: self.offset,
            length: self.length,
        }
    }
}
