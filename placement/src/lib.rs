//! # What should be
//!
//! Where every copy should lie, what that costs, and why nothing better can be had.
//!
//! ```text
//!  manifests, Observed ──pose──▶ Problem ──solve──▶ Solution ──check──▶ Plan ──▶ moves, refusals, relaxations
//!                                                        └─ lower bound, shadow prices: the proof
//! ```
//!
//! [`solve`] may find a placement by any method; [`check`] restates every rule independently of it, and no plan leaves
//! this crate unchecked. [`Standing`] takes changes up into a plan that stands, and [`problem_file`] writes a problem
//! down and reads it again. The crate must not know how bytes are moved, and it touches nothing: no clock, no randomness, no
//! environment, no I/O. Equal problems give equal plans; work is bounded by steps, never by seconds.

mod check;
mod contest;
mod cost;
mod digest;
mod explain;
mod goals;
mod ground;
pub mod invariants;
mod moves;
mod pareto;
mod plan;
mod pose;
mod problem;
pub mod problem_file;
mod refusals;
mod relax;
mod routes;
mod runner_up;
mod solution;
mod solve;
mod tally;
mod tariff;
pub mod wire;
mod worth;

pub use check::{Checked, Violated, check};
pub use cost::{
    CopyCost, Objective, TRANSFER_KWH_PER_GB, Transfer, carbon_kg_per_month, copy_cost, egress_per_gib,
    objective, storage_per_month, transfer,
};
pub use digest::input_digest;
pub use explain::{AuditState, CandidateState, Explanation, RequirementState, explain};
pub use goals::Followed;
pub use moves::{Action, Move, MoveId};
pub use pareto::{Frontier, ParetoPoint, pareto};
pub use plan::{
    DatasetPlan, Plan, ShadowPrice, Spelled, Warning, place, place_and_price, propose, propose_with_solution,
    spell_out,
};
pub use pose::{TakenFolder, keep_out, pose};
pub use problem::{
    Audit, Bars, Durability, Goal, GoalAim, Held, Hop, Movement, Place, Problem, Profile, Reason,
    RefusalKind, Refused, Requirement, Spread, Subject, Terms,
};
pub use refusals::{Refusal, Violation};
pub use relax::Relaxation;
pub use runner_up::RunnerUp;
pub use solution::{Shortage, Solution, Stuck};
pub use solve::{Change, Revision, Standing, solve, solve_at_scale};
pub use tally::Tally;
pub use tariff::TariffCharge;
pub use worth::{BudgetState, Estate, PolicyWorth, RuleCost, policy_worth};
