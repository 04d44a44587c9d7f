//! Placement against an exhaustive oracle, against mutations, and over time.

mod oracle;
mod properties;
mod world;
