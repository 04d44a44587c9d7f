//! A plan for people: per dataset what changes and why, then the totals.

use std::fmt::Write as _;

use domicile_placement::{Action, DatasetPlan, Move, Plan};

use crate::amount;
use crate::cli::{Format, Global};
use crate::progress::duration;
use crate::terminal;

/// Datasets that are drawn one by one, unless more were asked for.
const DRAWN: usize = 40;
/// Refusals and relaxations of an unsatisfied dataset that are drawn, unless more were asked for.
const DRAWN_REASONS: usize = 6;
/// Bytes per second that an ETA assumes before anything was measured: a gigabit line, well used.
const ASSUMED_RATE: f64 = 100.0 * 1024.0 * 1024.0;

/// How to draw a plan.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether to colour.
    pub colour: bool,
    /// Whether to draw everything.
    pub wide: bool,
}

impl Style {
    /// The style that was asked for.
    pub fn of(global: &Global) -> Self {
        Self {
            colour: terminal::colour(global),
            wide: global.output == Format::Wide,
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// Something that is added or well.
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Something that goes or is amiss.
    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// Something to find at a glance.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// Draws a plan.
pub fn draw(name: &str, plan: &Plan, style: Style) -> String {
    let mut text = String::new();
    headline(&mut text, name, plan, style);
    let changed: Vec<&DatasetPlan> = plan
        .datasets
        .iter()
        .filter(|d| is_worth_drawing(plan, d))
        .collect();
    let limit = if style.wide { usize::MAX } else { DRAWN };
    for dataset in changed.iter().take(limit) {
        draw_dataset(&mut text, plan, dataset, style);
    }
    if changed.len() > limit {
        let _ = writeln!(
            text,
            "  … and {} more datasets; `-o wide` draws them all",
            changed.len() - limit
        );
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "  {} {}", style.red("!"), warning.message);
    }
    totals(&mut text, plan, style);
    if style.wide {
        text.push_str(&room(plan));
    }
    text
}

/// What one more GiB is worth, of each backend of which it is worth something.
pub fn room(plan: &Plan) -> String {
    let mut text = String::new();
    for price in plan
        .shadow_prices
        .iter()
        .filter(|price| price.per_gib_month > 0.0)
    {
        let _ = writeln!(
            text,
            "Room:   one more GiB on {} would save about {}",
            price.backend,
            amount::per_month(price.per_gib_month, &plan.currency),
        );
    }
    if text.is_empty() {
        text.push_str("Room:   more on any backend would save nothing\n");
    }
    text
}

fn moves_of<'a>(plan: &'a Plan, dataset: &DatasetPlan) -> &'a [Move] {
    let start = plan.moves.partition_point(|m| m.dataset < dataset.name);
    let length = plan.moves[start..].partition_point(|m| m.dataset == dataset.name);
    &plan.moves[start..start + length]
}

fn is_worth_drawing(plan: &Plan, dataset: &DatasetPlan) -> bool {
    !dataset.satisfied || !dataset.violations.is_empty() || !moves_of(plan, dataset).is_empty()
}

/// Counts of a plan: datasets that change, copies, retirements, bytes to move.
fn counts(plan: &Plan) -> (usize, usize, usize, u64) {
    let mut datasets: Vec<_> = plan.moves.iter().map(|m| &m.dataset).collect();
    datasets.dedup();
    let copies = plan
        .moves
        .iter()
        .filter(|m| matches!(m.action, Action::Copy { .. }));
    let bytes = copies.clone().map(|m| m.bytes.0).sum();
    (
        datasets.len(),
        copies.count(),
        plan.moves.iter().filter(|m| is_retire(m)).count(),
        bytes,
    )
}

fn is_retire(planned: &Move) -> bool {
    matches!(planned.action, Action::Retire { .. })
}

/// A number with its noun: `1 copy`, `2 copies`.
pub fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn headline(text: &mut String, name: &str, plan: &Plan, style: Style) {
    let (datasets, copies, retirements, bytes) = counts(plan);
    let what = if plan.moves.is_empty() {
        "nothing to do".to_owned()
    } else {
        format!(
            "{}, {}, {}, {} to move",
            plural(datasets, "dataset changes", "datasets change"),
            plural(copies, "copy", "copies"),
            plural(retirements, "retirement", "retirements"),
            domicile_estate::ByteCount(bytes),
        )
    };
    let digest: String = plan.input_digest.chars().take(15).collect();
    let proof = format!(
        "(inputs {digest}…; at most {} % above the best possible)",
        amount::number(plan.gap * 100.0)
    );
    let _ = writeln!(
        text,
        "{} {what}   {}",
        style.bold(&format!("Plan {name}:")),
        style.dim(&proof)
    );
}

fn draw_dataset(text: &mut String, plan: &Plan, dataset: &DatasetPlan, style: Style) {
    let policies: Vec<_> = dataset.policies.iter().map(ToString::to_string).collect();
    let because = if policies.is_empty() {
        String::new()
    } else {
        format!("   policies {}", policies.join(", "))
    };
    let sign = if dataset.satisfied && dataset.violations.is_empty() {
        "~".to_owned()
    } else {
        style.red("!")
    };
    let size = format!(
        "{} in {}",
        dataset.bytes,
        plural(dataset.objects as usize, "object", "objects")
    );
    let _ = writeln!(
        text,
        "  {sign} {}   {size}{}",
        style.bold(dataset.name.as_str()),
        style.dim(&because)
    );
    for planned in moves_of(plan, dataset) {
        draw_move(text, plan, planned, style);
    }
    let copies: Vec<_> = dataset.backends.iter().map(ToString::to_string).collect();
    let _ = writeln!(
        text,
        "      then on {}: {} -> {}, {}",
        if copies.is_empty() {
            "no backend".to_owned()
        } else {
            copies.join(", ")
        },
        amount::number(dataset.cost_now),
        amount::per_month(dataset.cost_planned, &plan.currency),
        amount::carbon_per_month(dataset.carbon_kg_per_month),
    );
    for violation in &dataset.violations {
        let _ = writeln!(text, "      {} {}", style.red("violation:"), violation.message);
    }
    if !dataset.satisfied {
        draw_unsatisfied(text, dataset, style);
    }
}

fn draw_move(text: &mut String, plan: &Plan, planned: &Move, style: Style) {
    let line = match &planned.action {
        Action::Copy { from, to, cost, .. } => {
            let waits = if planned.after.is_empty() {
                ""
            } else {
                ", once there is room"
            };
            let (from, cost) = (from.as_str(), amount::once(*cost, &plan.currency));
            style.green(&format!("+ {to}   {} from {from}, {cost}{waits}", planned.bytes))
        }
        Action::Retire { from } => {
            let waits = if planned.after.is_empty() {
                ""
            } else {
                ", after the copies are verified"
            };
            style.red(&format!("- {from}   {} retired{waits}", planned.bytes))
        }
    };
    let _ = writeln!(text, "      {line}");
}

fn draw_unsatisfied(text: &mut String, dataset: &DatasetPlan, style: Style) {
    let limit = if style.wide { usize::MAX } else { DRAWN_REASONS };
    // What is lacking comes first, with the backends counted; then who refuses.
    let (lacking, refused): (Vec<_>, Vec<_>) = dataset.refusals.iter().partition(|r| r.backends.is_empty());
    for refusal in &lacking {
        let _ = writeln!(text, "      {} {}", style.red("unsatisfied:"), refusal.message);
    }
    for refusal in refused.iter().take(limit) {
        let backends: Vec<_> = refusal.backends.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "        {} refused by {}: {}",
            backends.join(", "),
            refusal.rule,
            refusal.message
        );
    }
    for relaxation in dataset.relaxations.iter().take(limit) {
        let _ = writeln!(
            text,
            "        {} {}",
            style.bold("would help:"),
            relaxation.message
        );
    }
    let untold = refused.len().saturating_sub(limit);
    if untold > 0 {
        let _ = writeln!(
            text,
            "        … and {untold} more refusals: `domicile why {}`",
            dataset.name
        );
    }
}

fn totals(text: &mut String, plan: &Plan, style: Style) {
    let objective = &plan.objective;
    let now: f64 = plan.datasets.iter().map(|d| d.cost_now).sum();
    let unsatisfied = plan.datasets.iter().filter(|d| !d.satisfied).count();
    let _ = writeln!(
        text,
        "{} {}: storage {}, priced carbon {}, transfers {} ({} -> {} for what is kept); {}",
        style.bold("Totals:"),
        amount::per_month(objective.per_month, &plan.currency),
        amount::number(objective.storage),
        amount::number(objective.carbon),
        amount::number(objective.transfer),
        amount::number(now),
        amount::per_month(objective.storage + objective.carbon, &plan.currency),
        amount::carbon_per_month(objective.carbon_kg),
    );
    let (_, copies, _, bytes) = counts(plan);
    if copies > 0 {
        let _ = writeln!(
            text,
            "        {} to move: {}, {} kg CO2e once, ETA about {} at {}/s",
            domicile_estate::ByteCount(bytes),
            amount::once(objective.transfer_once, &plan.currency),
            amount::number(objective.transfer_carbon_kg),
            duration((bytes as f64 / ASSUMED_RATE).ceil()),
            domicile_estate::ByteCount(ASSUMED_RATE as u64),
        );
    }
    let _ = writeln!(
        text,
        "        {}, {} satisfied{}",
        plural(plan.datasets.len(), "dataset", "datasets"),
        plan.datasets.len() - unsatisfied,
        if unsatisfied > 0 {
            format!(", {}", style.red(&format!("{unsatisfied} unsatisfied")))
        } else {
            String::new()
        },
    );
}
