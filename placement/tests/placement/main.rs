//! Placement against an exhaustive oracle, against mutations, and over time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may end where a value is missing"
)]

mod explanations;
mod formulas;
mod goals;
mod large;
mod movement;
mod oracle;
mod order;
mod posing;
mod problem_files;
mod properties;
mod relaxations;
mod replay;
mod routes;
mod scale;
mod tariffs;
mod world;
