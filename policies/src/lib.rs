//! # What ought to be
//!
//! Manifests become typed policies: read, checked value by value, and evaluated over backends and datasets.
//!
//! ```text
//!  text ──yaml──▶ Node ──fields, walk──▶ Manifests ──▶ Policy::selects, Test::accepts, Manifests::admits
//!                          └──────▶ Diagnostic (message, help, place)      └──▶ lint
//! ```
//!
//! It must not decide where anything goes, and it touches nothing: no clock, no randomness, no environment, no I/O.
//! The caller reads the files and renders the diagnostics.

mod diagnostic;
mod evaluate;
mod expression;
mod lint;
mod manifests;
mod policy;
mod policy_test;
mod read;
mod schema;
mod suggest;
mod ways;

pub use diagnostic::{Diagnostic, Place, Severity};
pub use evaluate::{DatasetFacts, Verdict};
pub use expression::{Expression, ExpressionError, Scope, Variables};
pub use lint::lint;
pub use manifests::{Document, Manifests, Source};
pub use policy::{
    Aim, Budget, Enforcement, Goal, Key, LabelExpression, Movement, Objective, Operator, Policy, Requirement,
    Rule, Selector, Spread, Test,
};
pub use policy_test::{Expectation, Expected, FixtureDataset, PolicyTest, RefusalKind};
pub use read::read;
pub use schema::{field_reference, json_schema};
pub use ways::Way;
