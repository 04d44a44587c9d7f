//! A plan for people: per dataset what changes and why, then the totals.

use std::fmt::Write as _;

use domicile_estate::BackendName;
use domicile_placement::{Action, DatasetPlan, Move, Plan, Spelled};

use crate::amount;
use crate::cli::{Format, Global};
use crate::progress::duration;
use crate::terminal;

/// Datasets that are drawn one by one, unless more were asked for.
const DRAWN: usize = 40;
/// Refusals and relaxations of an unsatisfied dataset that are drawn, unless more were asked for.
const DRAWN_REASONS: usize = 6;
/// Backends with tariffs that a plan tells of, the others being counted.
const TOLD_TARIFFS: usize = 8;
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

/// Draws a plan. `spell_out` says of datasets, by their positions, why backends were not taken and what would help.
pub fn draw(name: &str, plan: &Plan, spell_out: impl Fn(&[usize]) -> Vec<Spelled>, style: Style) -> String {
    let mut text = String::new();
    headline(&mut text, name, plan, style);
    let changed = worth_drawing(plan);
    let limit = if style.wide { changed.len() } else { DRAWN };
    // Only of those that are drawn and unsatisfied is it asked why.
    let drawn = changed.iter().copied().take(limit);
    let unsatisfied: Vec<usize> = drawn.clone().filter(|d| !plan.datasets[*d].satisfied).collect();
    let spelled = spell_out(&unsatisfied);
    let mut spelled = unsatisfied.iter().zip(&spelled).peekable();
    for position in drawn {
        let why = spelled.next_if(|(dataset, _)| **dataset == position);
        draw_dataset(
            &mut text,
            plan,
            (&plan.datasets[position], why.map(|(_, why)| why)),
            style,
        );
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

/// The positions of datasets that change or that something is amiss with. Moves and datasets both stand by name.
fn worth_drawing(plan: &Plan) -> Vec<usize> {
    let mut moves = plan.moves.iter().map(|m| &m.dataset).peekable();
    let mut worth = Vec::new();
    for (position, dataset) in plan.datasets.iter().enumerate() {
        let mut moves_some = false;
        while moves.next_if(|name| **name <= dataset.name).is_some() {
            moves_some = true;
        }
        if moves_some || !dataset.satisfied || !dataset.violations.is_empty() {
            worth.push(position);
        }
    }
    worth
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

fn draw_dataset(
    text: &mut String,
    plan: &Plan,
    (dataset, why): (&DatasetPlan, Option<&Spelled>),
    style: Style,
) {
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
    let moves = moves_of(plan, dataset);
    for planned in moves {
        draw_move(text, plan, (planned, moves), style);
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
    if let Some(why) = why {
        draw_unsatisfied(text, dataset, why, style);
    }
}

/// Whether a move makes the copy on a backend.
fn makes(planned: &Move, backend: &BackendName) -> bool {
    matches!(&planned.action, Action::Copy { to, .. } if to == backend)
}

/// A move among those of its dataset.
fn draw_move(text: &mut String, plan: &Plan, (planned, moves): (&Move, &[Move]), style: Style) {
    let line = match &planned.action {
        Action::Copy {
            from, to, via, cost, ..
        } => {
            let source = moves
                .iter()
                .find(|other| makes(other, from) && planned.after.contains(&other.id));
            let read = if source.is_some() {
                ", once that copy is verified"
            } else {
                ""
            };
            let room = if planned.after.len() > usize::from(source.is_some()) {
                ", once there is room"
            } else {
                ""
            };
            let via: String = via.iter().map(|relay| format!(" by {relay}")).collect();
            let cost = amount::once(*cost, &plan.currency);
            style.green(&format!(
                "+ {to}   {} from {from}{via}, {cost}{read}{room}",
                planned.bytes
            ))
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

fn draw_unsatisfied(text: &mut String, dataset: &DatasetPlan, why: &Spelled, style: Style) {
    let limit = if style.wide { usize::MAX } else { DRAWN_REASONS };
    // What is lacking comes first, with the backends counted; then who refuses.
    let (lacking, refused): (Vec<_>, Vec<_>) = why.refusals.iter().partition(|r| r.backends.is_empty());
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
    for relaxation in why.relaxations.iter().take(limit) {
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

/// What the copies cost once by their routes, and what these save or, through a third place, cost more.
fn routed(plan: &Plan) -> String {
    let once = amount::once(plan.routed_once, &plan.currency);
    let saved = plan.objective.transfer_once - plan.routed_once;
    // What adding up leaves is no saving.
    let rounding = 1e-9 * plan.objective.transfer_once.abs().max(1.0);
    if saved > rounding {
        format!("{once} ({} saved by routes)", amount::number(saved))
    } else if saved < -rounding {
        format!("{once} ({} of it through third places)", amount::number(-saved))
    } else {
        once
    }
}

/// What backends with tiers, included storage or a base fee charge: those where it is most apart from the list price.
fn tariffs(text: &mut String, plan: &Plan) {
    let mut charges: Vec<_> = plan.tariffs.iter().filter(|charge| charge.more != 0.0).collect();
    charges.sort_by(|a, b| {
        b.more
            .abs()
            .total_cmp(&a.more.abs())
            .then(a.backend.cmp(&b.backend))
    });
    for charge in charges.iter().take(TOLD_TARIFFS) {
        let gib = charge.billed as f64 / domicile_estate::BYTES_PER_GIB;
        let _ = writeln!(
            text,
            "        {} bills {} GiB: {} at list price, {} with tiers, included storage and base fee",
            plan.shadow_prices[charge.backend].backend,
            amount::number(gib),
            amount::number(charge.at_list),
            amount::per_month(charge.at_list + charge.more, &plan.currency),
        );
    }
    if let Some(untold) = charges
        .len()
        .checked_sub(TOLD_TARIFFS)
        .filter(|untold| *untold > 0)
    {
        let _ = writeln!(
            text,
            "        … and {untold} more backends with tariffs: `-o json`"
        );
    }
}

fn totals(text: &mut String, plan: &Plan, style: Style) {
    let objective = &plan.objective;
    let now = plan.datasets.iter().map(|d| d.cost_now).sum::<f64>() + plan.tariffs_now;
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
    tariffs(text, plan);
    for goal in &plan.followed {
        let _ = writeln!(
            text,
            "        goal Carbon within {} % of cost for {}: {} instead of {}, {} instead of {}",
            f64::from(goal.slack_millionths) / 1e4,
            plural(goal.datasets, "dataset", "datasets"),
            amount::carbon_per_month(goal.carbon_kg),
            amount::carbon_per_month(goal.cheapest_carbon_kg),
            amount::per_month(goal.per_month, &plan.currency),
            amount::per_month(goal.cheapest_per_month, &plan.currency),
        );
    }
    for shortage in &plan.shortages {
        let _ = writeln!(
            text,
            "        not everything fits: priority {} lacks {}, at least {} in any plan that lacks no more above it",
            shortage.priority,
            plural(shortage.missing as usize, "copy", "copies"),
            shortage.at_least,
        );
    }
    let (_, copies, _, bytes) = counts(plan);
    if copies > 0 {
        let _ = writeln!(
            text,
            "        {} to move: {}, {} kg CO2e once, ETA about {} at {}/s",
            domicile_estate::ByteCount(bytes),
            routed(plan),
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
