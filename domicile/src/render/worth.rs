//! What a policy costs and emits, for people.

use std::fmt::Write as _;

use domicile_placement::{PolicyWorth, RuleCost};

use crate::amount;
use crate::render::plan::{Style, plural};
use crate::render::table;

/// Draws what a policy costs and emits.
pub fn draw(worth: &PolicyWorth, currency: &str, style: Style) -> String {
    let mut text = String::new();
    let spending = &worth.spending;
    let standing = match worth.unsatisfied {
        0 => "all satisfied".to_owned(),
        count => style.red(&format!("{count} unsatisfied")),
    };
    let _ = writeln!(
        text,
        "{} selects {}, {standing}",
        style.bold(worth.policy.as_str()),
        plural(worth.datasets, "dataset", "datasets"),
    );
    let _ = writeln!(
        text,
        "all their copies: {}: storage {}, priced carbon {}, transfers {}; {}",
        amount::per_month(spending.storage + spending.carbon + spending.transfer, currency),
        amount::number(spending.storage),
        amount::number(spending.carbon),
        amount::number(spending.transfer),
        amount::carbon_per_month(spending.carbon_kg),
    );
    if spending.transfer_once > 0.0 || spending.transfer_carbon_kg > 0.0 {
        let _ = writeln!(
            text,
            "copies to be made: {}, {} kg CO2e once",
            amount::once(spending.transfer_once, currency),
            amount::number(spending.transfer_carbon_kg),
        );
    }
    for budget in &worth.budgets {
        let unit = if budget.is_carbon { "kg CO2e" } else { currency };
        let _ = writeln!(
            text,
            "budget: {} of {} {unit}/month are spent",
            amount::number(budget.spent),
            amount::number(budget.stated),
        );
    }
    if worth.enforced {
        rules(&mut text, worth, currency, style);
    } else {
        let _ = writeln!(
            text,
            "it is an Audit policy: its rules bind nothing and cost nothing"
        );
    }
    text
}

fn rules(text: &mut String, worth: &PolicyWorth, currency: &str, style: Style) {
    let saved = format!("{currency}/month less");
    let mut table = table::table(&[
        "without",
        "kind",
        &saved,
        "kg CO2e/month less",
        "datasets more satisfied",
    ]);
    for rule in &worth.rules {
        table.add_row([
            rule.rule.clone(),
            rule.kind.as_str().to_owned(),
            amount::number(rule.saves),
            amount::number(rule.saves_carbon_kg),
            rule.satisfies.to_string(),
        ]);
    }
    if !worth.rules.is_empty() {
        let _ = writeln!(text, "{}", table::text(&table));
    }
    match worth.rules.first() {
        Some(rule) if costs_something(rule) => {
            let _ = writeln!(text, "{} {}", style.bold("strictest:"), strictest(rule, currency));
        }
        _ => {
            let _ = writeln!(text, "without any one of its rules the plan would cost as much");
        }
    }
    if !worth.untried.is_empty() {
        let _ = writeln!(
            text,
            "not tried, for they are too many: {}",
            worth.untried.join(", ")
        );
    }
}

/// Whether the plan differs without the rule by more than rounding.
fn costs_something(rule: &RuleCost) -> bool {
    rule.satisfies > 0 || rule.saves > 1e-9
}

fn strictest(rule: &RuleCost, currency: &str) -> String {
    let kind = rule.kind.as_str().to_lowercase();
    let satisfied = match rule.satisfies {
        more if more > 0 => format!(
            "{} more would be satisfied and ",
            plural(usize::try_from(more).unwrap_or(0), "dataset", "datasets")
        ),
        _ => String::new(),
    };
    let cost = if rule.saves < 0.0 {
        format!("{} more be spent", amount::per_month(-rule.saves, currency))
    } else {
        format!("{} would be saved", amount::per_month(rule.saves, currency))
    };
    format!("without {kind} {}, {satisfied}{cost}", rule.rule)
}
