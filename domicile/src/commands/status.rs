//! `status`: how each dataset stands, by what is recorded; no store is asked.

use std::time::Duration;

use domicile_estate::Copy;
use domicile_placement::DatasetPlan;
use serde::Serialize;
use serde_json::{Value, json};

use super::plan::{Proposal, tell_damaged_origins, tell_silent};
use crate::answer;
use crate::cli::{Files, Format, Global, StatusArgs};
use crate::outcome::Outcome;
use crate::render::{self, table};
use crate::terminal;
use crate::world::{Reach, World, open_to_read};

/// How often `--watch` looks again.
const AGAIN: Duration = Duration::from_secs(2);

/// `status`.
pub async fn status(global: &Global, args: &StatusArgs) -> anyhow::Result<Outcome> {
    loop {
        let outcome = once(global).await?;
        if !args.watch {
            return Ok(outcome);
        }
        tokio::time::sleep(AGAIN).await;
        terminal::answer("");
    }
}

/// How things stand, as programs read it. Fields stand in the order of their names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    datasets: &'a [Row<'a>],
    kind: &'static str,
    revision: u64,
    shadow_prices: Vec<Value>,
}

/// How one dataset stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    bytes: u64,
    carbon_kg_per_month: f64,
    cost_per_month: f64,
    current_copies: usize,
    current_out_of_reach: usize,
    findings: usize,
    name: &'a str,
    objects: u64,
    pending_moves: usize,
    planned_copies: usize,
    state: &'static str,
}

/// A row for each dataset. Moves and datasets both stand by name, so that one walk over both counts the moves.
fn rows<'a>(world: &World, proposal: &'a Proposal) -> Vec<Row<'a>> {
    let mut moves = proposal.plan.moves.iter().map(|m| &m.dataset).peekable();
    let mut row = |dataset: &'a DatasetPlan| {
        let known = world.observed.datasets.get(&dataset.name);
        let copies = known.map_or(&[][..], |d| &d.copies);
        let counts = |copy: &&Copy| copy.is_current() && world.reach(&copy.backend) != Reach::Gone;
        let current = copies.iter().filter(counts);
        let mut pending = 0;
        while moves.next_if(|name| **name <= dataset.name).is_some() {
            pending += 1;
        }
        let state = match () {
            () if !dataset.satisfied => "Unsatisfied",
            () if !dataset.violations.is_empty() => "InViolation",
            () if pending > 0 => "Pending",
            () => "Satisfied",
        };
        Row {
            bytes: dataset.bytes.0,
            carbon_kg_per_month: dataset.carbon_kg_per_month,
            cost_per_month: dataset.cost_planned,
            current_copies: current.clone().count(),
            current_out_of_reach: current
                .filter(|c| world.reach(&c.backend) == Reach::Silent)
                .count(),
            findings: known.map_or(0, |d| d.findings.len()),
            name: dataset.name.as_str(),
            objects: dataset.objects,
            pending_moves: pending,
            planned_copies: dataset.backends.len(),
            state,
        }
    };
    proposal.plan.datasets.iter().map(&mut row).collect()
}

async fn once(global: &Global) -> anyhow::Result<Outcome> {
    let catalogue = open_to_read(global).await?;
    let world = World::load(global, catalogue, &Files::default()).await?;
    let proposal = Proposal::of(&world).await?;
    let rows = rows(&world, &proposal);
    let document = Document {
        api_version: "domicile.dev/v1alpha1",
        datasets: &rows,
        kind: "Status",
        revision: world.observed.revision,
        shadow_prices: shadow_prices(&proposal),
    };
    if !answer::structured(global.output, &document, &rows)? {
        draw(global, &proposal, &rows);
    }
    tell_silent(global, &proposal, &world);
    tell_damaged_origins(global, &proposal);
    Ok(proposal.outcome(&world))
}

/// What one more GiB of each backend is worth.
fn shadow_prices(proposal: &Proposal) -> Vec<Value> {
    let prices = proposal.plan.shadow_prices.iter();
    prices
        .map(|price| json!({"backend": price.backend.as_str(), "perGiBMonth": price.per_gib_month}))
        .collect()
}

fn draw(global: &Global, proposal: &Proposal, rows: &[Row<'_>]) {
    if global.output == Format::Name {
        terminal::answer(
            &rows
                .iter()
                .map(|row| format!("{}\n", row.name))
                .collect::<String>(),
        );
        return;
    }
    if rows.is_empty() {
        terminal::say(
            global,
            "no dataset is known; `domicile apply -f FOLDER` registers some",
        );
        return;
    }
    let cost = format!("{}/month", proposal.plan.currency);
    let cells = |(row, dataset): (&Row<'_>, &DatasetPlan)| {
        vec![
            dataset.name.to_string(),
            row.state.to_owned(),
            format!("{}/{}", row.current_copies, row.planned_copies),
            dataset.bytes.to_string(),
            crate::amount::number(dataset.cost_planned),
            crate::amount::number(dataset.carbon_kg_per_month),
        ]
    };
    let rows = rows.iter().zip(&proposal.plan.datasets).map(cells);
    table::answer_long(
        &["dataset", "state", "copies", "size", &cost, "kg CO2e/month"],
        rows,
    );
    if global.output == Format::Wide {
        terminal::answer(&render::plan::room(&proposal.plan));
    }
}
