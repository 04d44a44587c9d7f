//! How answers read for people.

pub mod frontier;
pub mod plan;
pub mod table;
pub mod why;
pub mod worth;
