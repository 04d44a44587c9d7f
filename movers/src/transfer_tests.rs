//! The state machine against a model of a target.
