//! What is wrong, or worth saying, at a place of a source. Rendering is done elsewhere.

use crate::manifests::Source;

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
    /// The lines may hold a secret at a place that is not known: show the name of the source and the line's number,
    /// never their text.
    pub hide_source: bool,
    /// Places of secrets in the lines around the marked text: whoever shows these lines masks them first.
    pub masked: Vec<Place>,
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
            masked: Vec::new(),
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

    /// The text of its source as it may be shown: every byte of a masked place is a `*`, so that all offsets and lines
    /// stay; ends of lines stay too.
    #[must_use]
    pub fn shown_text(&self, source: &Source) -> String {
        let text = source.text.as_str();
        let mut bytes = text.as_bytes().to_vec();
        for place in self.masked.iter().filter(|place| place.source == self.source) {
            let mut start = place.offset.min(text.len());
            let mut end = place.offset.saturating_add(place.length).min(text.len());
            // Half a letter would be no text.
            while !text.is_char_boundary(start) {
                start -= 1;
            }
            while !text.is_char_boundary(end) {
                end += 1;
            }
            for byte in bytes.get_mut(start..end).unwrap_or_default() {
                if !matches!(byte, b'\n' | b'\r') {
                    *byte = b'*';
                }
            }
        }
        String::from_utf8(bytes).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_keep_offsets_lines_and_letters() {
        let source = Source {
            name: "x".to_owned(),
            text: "a: ß\r\nb: käse\nc".to_owned(),
            folder: "/".to_owned(),
            stored: false,
        };
        let place = |source, offset, length| Place {
            source,
            offset,
            length,
        };
        let shown = |masked| {
            let finding = Diagnostic {
                masked,
                ..Diagnostic::error(place(0, 0, 1), "x")
            };
            finding.shown_text(&source)
        };
        assert_eq!(shown(vec![]), source.text);
        assert_eq!(shown(vec![place(1, 0, 9)]), source.text);
        assert_eq!(shown(vec![place(0, 3, 6)]), "a: **\r\n** käse\nc");
        // From within a letter to within a letter, and beyond the end.
        assert_eq!(shown(vec![place(0, 4, 8)]), "a: **\r\n******se\nc");
        assert_eq!(shown(vec![place(0, 11, 99)]), "a: ß\r\nb: k****\n*");
    }
}
