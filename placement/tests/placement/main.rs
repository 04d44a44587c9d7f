//! Placement against an exhaustive oracle, against mutations, and over time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may end where a value is missing"
)]

mod exact;
mod explanations;
mod formulas;
mod goals;
mod knapsack;
mod large;
mod movement;
mod oracle;
mod order;
mod posing;
mod problem_files;
mod properties;
mod reference;
mod relaxations;
mod replay;
mod routes;
mod scale;
mod small;
mod tariffs;
mod world;
