//! # When
//!
//! The state machine that carries out a plan in a safe order. Events come in, commands go out; time comes in as a
//! value. Shells (the `apply` command, the simulator, tests) feed it and do what it says; they decide nothing.
//!
//! ```text
//!              Approved(plan)            StartCopy ──▶ worker: copy, read back, verify; catalogue: record
//!   shell ──────────────────▶ Scheduler ─StartRetire ─▶ catalogue: re-check in one transaction; worker: delete
//!         ◀─ CopyEnded, … ──            ─WakeAt ──────▶ clock
//!                                       ─Settled ─────▶ the end: what was done, what failed and why
//! ```
//!
//! The order of safety is the scheduler's: a copy is verified and recorded before anything that depends on it is
//! retired; a copy waits until its target has room; one failing backend never holds up another. Of owners who wait, his turn
//! it is who has the least under way for his weight.

mod approved;
mod caps;
mod demand;
mod events;
mod machine;
mod owners;
mod queue;
mod room;
mod run;
mod scrubs;
mod step;

pub use approved::approved;
pub use demand::{Demand, DemandedCopies, DemandedNines, Unprotected};
pub use events::{Command, CopyOutcome, Event, Limits, Order, Orders, RetireCaps, RetireOutcome, Summary};
pub use machine::Scheduler;
pub use owners::Owners;
pub use room::Rooms;
pub use scrubs::{Scrubbable, order_scrubs, scrub_effort};
pub use step::{Action, HeldBy, Step, StepId, StepState};
