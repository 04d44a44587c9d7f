//! Expressions in CEL over `backend`, `dataset` and `domain`, compiled once.

use std::fmt;
use std::sync::Arc;

/// A compiled expression with its text.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}
