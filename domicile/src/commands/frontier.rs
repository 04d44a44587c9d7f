//! `plan --pareto cost,carbon`: the plans between the cheapest and the greenest. Changes nothing.

use domicile_placement::{Frontier, ParetoPoint, Problem, pareto, place};
use serde_json::{Value, json};

use super::plan::tell_findings;
use crate::answer;
use crate::cli::{Format, Global};
use crate::outcome::Outcome;
use crate::render;
use crate::terminal;
use crate::world::World;

/// Plans that are made to find the frontier.
const SOLVES: usize = 33;
/// Datasets of one plan whose backends are told.
const TOLD_CHANGES: usize = 100;

/// `plan --pareto cost,carbon`.
pub async fn frontier(global: &Global, world: &World) -> anyhow::Result<Outcome> {
    let problem = world.problem().await?;
    let frontier = pareto(&problem, place(&problem, None), SOLVES);
    let points = points(&frontier, &problem);
    let document = json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "Frontier", "aims": ["cost", "carbon"],
        "currency": problem.currency, "supportedOnly": true, "complete": frontier.complete, "points": points,
    });
    if !answer::structured(global.output, &document, &points)? {
        if global.output == Format::Name {
            let numbers = (1..=frontier.points.len()).map(|number| format!("{number}\n"));
            terminal::answer(&numbers.collect::<String>());
        } else {
            terminal::answer(&render::frontier::draw(&frontier, &problem));
            terminal::say(
                global,
                "each plan is the best one at some price of carbon; between two of them there may be others that are \
                 best at none\nnothing was changed; the next plan is taken where `carbonPricePerTonne` of every policy \
                 is raised by more than what a tonne less costs",
            );
        }
    }
    tell_findings(global, world);
    Ok(Outcome::Done)
}

fn points(frontier: &Frontier, problem: &Problem) -> Vec<Value> {
    let all = frontier.points.iter().enumerate();
    all.map(|(at, found)| {
        let before = at.checked_sub(1).map(|before| &frontier.points[before]);
        point(problem, found, before)
    })
    .collect()
}

fn point(problem: &Problem, found: &ParetoPoint, before: Option<&ParetoPoint>) -> Value {
    let objective = &found.solution.objective;
    let changes = found.changed.iter().take(TOLD_CHANGES).map(|dataset| {
        let backends = found.solution.sets[*dataset]
            .iter()
            .map(|backend| problem.backends[*backend].name.as_str());
        json!({
            "dataset": problem.datasets[*dataset].name.as_str(), "backends": backends.collect::<Vec<_>>(),
        })
    });
    json!({
        "costPerMonth": found.cost(), "carbonKgPerMonth": found.carbon_kg,
        "storagePerMonth": objective.storage, "carbonPerMonth": objective.carbon,
        "transferPerMonth": objective.transfer, "storageCarbonKgPerMonth": objective.carbon_kg,
        "transferOnce": objective.transfer_once, "transferCarbonKg": objective.transfer_carbon_kg,
        "bytesToMove": found.bytes, "datasetsChanged": found.changed.len(),
        "changes": changes.collect::<Vec<_>>(),
        "costPerTonneLess": before.map(|before| render::frontier::per_tonne(before, found)),
    })
}
