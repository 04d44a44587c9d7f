//! What a run of the binary gave.

use serde_json::Value;

/// Exit code and text of one run.
#[derive(Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    /// The exit code; -1 where a signal ended it.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Everything else.
    pub stderr: String,
}

impl Outcome {
    /// Demands an exit code.
    ///
    /// # Panics
    /// With everything that was printed, when it is another one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "the exit code of {}", self.all());
        self
    }

    /// Demands a text on either stream.
    ///
    /// # Panics
    /// With everything that was printed, when it is missing.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "`{text}` is missing in {}",
            self.all()
        );
        self
    }

    /// Demands that a text is on neither stream.
    ///
    /// # Panics
    /// With everything that was printed, when it is there.
    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        assert!(
            !self.stdout.contains(text) && !self.stderr.contains(text),
            "`{text}` is in {}",
            self.all()
        );
        self
    }

    /// Takes stdout as JSON.
    ///
    /// # Panics
    /// With everything that was printed, when it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.all()))
    }

    /// Everything, for messages.
    #[must_use]
    pub fn all(&self) -> String {
        format!(
            "`{}`: {}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.code, self.stdout, self.stderr
        )
    }
}
