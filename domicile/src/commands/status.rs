//! `status`: how each dataset stands, by what is recorded; no store is asked.

use std::time::Duration;

use serde_json::{Value, json};

use super::plan::Proposal;
use crate::answer;
use crate::cli::{Files, Format, Global, StatusArgs};
use crate::outcome::Outcome;
use crate::render::{self, table};
use crate::terminal;
use crate::world::{World, open_to_read};

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

async fn once(global: &Global) -> anyhow::Result<Outcome> {
    let catalogue = open_to_read(global).await?;
    let world = World::load(global, catalogue, &Files::default()).await?;
    let proposal = Proposal::of(&world).await?;
    let rows: Vec<Value> = proposal.plan.datasets.iter().map(|dataset| {
        let known = world.observed.datasets.get(&dataset.name);
        let copies = known.map_or(&[][..], |d| &d.copies);
        let current = copies.iter().filter(|c| c.is_current()).count();
        let pending = proposal.plan.moves.iter().filter(|m| m.dataset == dataset.name).count();
        let state = match () {
            () if !dataset.satisfied => "Unsatisfied",
            () if !dataset.violations.is_empty() => "InViolation",
            () if pending > 0 => "Pending",
            () => "Satisfied",
        };
        json!({
            "name": dataset.name.as_str(), "state": state, "currentCopies": current, "plannedCopies": dataset.backends.len(),
            "pendingMoves": pending, "bytes": dataset.bytes.0, "objects": dataset.objects,
            "costPerMonth": dataset.cost_planned, "carbonKgPerMonth": dataset.carbon_kg_per_month,
            "findings": known.map_or(0, |d| d.findings.len()),
        })
    }).collect();
    let document = json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "Status", "revision": world.observed.revision, "datasets": rows,
        "shadowPrices": shadow_prices(&proposal),
    });
    if !answer::structured(global.output, &document, &rows)? {
        draw(global, &proposal, &rows);
    }
    Ok(proposal.outcome(&world))
}

/// What one more GiB of each backend is worth.
fn shadow_prices(proposal: &Proposal) -> Vec<Value> {
    let prices = proposal.plan.shadow_prices.iter();
    prices
        .map(|price| json!({"backend": price.backend.as_str(), "perGiBMonth": price.per_gib_month}))
        .collect()
}

fn draw(global: &Global, proposal: &Proposal, rows: &[Value]) {
    if global.output == Format::Name {
        terminal::answer(
            &rows
                .iter()
                .map(|r| format!("{}\n", r["name"].as_str().unwrap_or("")))
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
    let mut table = table::table(&["dataset", "state", "copies", "size", &cost, "kg CO2e/month"]);
    for (row, dataset) in rows.iter().zip(&proposal.plan.datasets) {
        table.add_row([
            dataset.name.to_string(),
            row["state"].as_str().unwrap_or("").to_owned(),
            format!("{}/{}", row["currentCopies"], row["plannedCopies"]),
            dataset.bytes.to_string(),
            crate::amount::number(dataset.cost_planned),
            crate::amount::number(dataset.carbon_kg_per_month),
        ]);
    }
    terminal::answer(&table::text(&table));
    if global.output == Format::Wide {
        terminal::answer(&render::plan::room(&proposal.plan));
    }
}
