//! How answers read for people.

pub mod plan;
pub mod table;
pub mod why;
