//! Placement against an exhaustive oracle, against mutations, and over time.

mod large;
mod oracle;
mod properties;
mod world;
