//! `why --policy`: what a policy costs and emits, and what each of its rules costs.

use domicile_placement::{Estate, PolicyWorth, RuleCost, place, policy_worth};
use serde_json::{Value, json};

use super::plan::tell_findings;
use crate::answer;
use crate::cli::{Format, Global};
use crate::outcome::Outcome;
use crate::render;
use crate::terminal;
use crate::world::{World, unknown};

/// `why --policy NAME`.
pub async fn policy(global: &Global, mut world: World, name: &str) -> anyhow::Result<Outcome> {
    let known = || world.manifests.policies.keys().map(|policy| policy.as_str());
    if !known().any(|policy| policy == name) {
        return Err(unknown("policy", name, known()));
    }
    world.look(global).await?;
    let problem = world.problem().await?;
    let solution = place(&problem, None);
    let estate = Estate {
        manifests: &world.manifests,
        datasets: &world.datasets,
        observed: &world.observed,
    };
    let Some(worth) = policy_worth(&estate, &problem, &solution, name) else {
        anyhow::bail!("policy `{name}` is not part of the plan");
    };
    let document = document(&worth, &problem.currency);
    if !answer::structured(global.output, &document, std::slice::from_ref(&document))? {
        if global.output == Format::Name {
            let rules = worth.rules.iter().map(|rule| format!("{}\n", rule.rule));
            terminal::answer(&rules.collect::<String>());
        } else {
            let style = render::plan::Style::of(global);
            terminal::answer(&render::worth::draw(&worth, &problem.currency, style));
        }
    }
    tell_findings(global, &world);
    Ok(if worth.unsatisfied == 0 {
        Outcome::Done
    } else {
        Outcome::Unsatisfied
    })
}

fn document(worth: &PolicyWorth, currency: &str) -> Value {
    let spending = &worth.spending;
    let budgets = worth.budgets.iter().map(|budget| {
        let field = if budget.is_carbon {
            "carbonKgPerMonth"
        } else {
            "costPerMonth"
        };
        json!({"budget": field, "stated": budget.stated, "spent": budget.spent})
    });
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "PolicyCosts", "policy": worth.policy.as_str(),
        "currency": currency, "enforced": worth.enforced, "datasets": worth.datasets,
        "unsatisfied": worth.unsatisfied,
        "costPerMonth": spending.storage + spending.carbon + spending.transfer,
        "storagePerMonth": spending.storage, "carbonPerMonth": spending.carbon,
        "transferPerMonth": spending.transfer, "carbonKgPerMonth": spending.carbon_kg,
        "transferOnce": spending.transfer_once, "transferCarbonKg": spending.transfer_carbon_kg,
        "budgets": budgets.collect::<Vec<_>>(),
        "rules": worth.rules.iter().map(rule).collect::<Vec<_>>(),
        "strictest": worth.rules.first().map(|rule| rule.rule.as_str()),
        "untried": worth.untried,
    })
}

fn rule(rule: &RuleCost) -> Value {
    json!({
        "rule": rule.rule, "kind": rule.kind.as_str(), "savesPerMonth": rule.saves,
        "savesCarbonKgPerMonth": rule.saves_carbon_kg, "satisfiesMore": rule.satisfies,
    })
}
