//! An explanation for people: policies, requirements, candidates with their costs, what would help.

use std::fmt::Write as _;

use domicile_placement::{CandidateState, Explanation};

use crate::amount;
use crate::render::plan::{Style, plural};
use crate::render::table;

/// Draws an explanation.
pub fn draw(explanation: &Explanation, currency: &str, style: Style) -> String {
    let mut text = String::new();
    headline(&mut text, explanation, style);
    requirements(&mut text, explanation, style);
    candidates(&mut text, explanation, currency);
    runner_up(&mut text, explanation, currency);
    for violation in &explanation.violations {
        let _ = writeln!(text, "{} {}", style.red("violation:"), violation.message);
    }
    help(&mut text, explanation, style);
    for audit in &explanation.audits {
        for refusal in &audit.refused {
            let _ = writeln!(text, "audit {}: would refuse, {}", audit.policy, refusal.message);
        }
        for (name, missing) in &audit.unmet {
            let _ = writeln!(
                text,
                "audit {}: requirement {name} would lack {missing}",
                audit.policy
            );
        }
    }
    text
}

fn headline(text: &mut String, explanation: &Explanation, style: Style) {
    let standing = if explanation.satisfied {
        "satisfied".to_owned()
    } else {
        style.red("unsatisfied")
    };
    let _ = writeln!(text, "{} is {standing}", style.bold(explanation.dataset.as_str()));
    let policies: Vec<_> = explanation.policies.iter().map(ToString::to_string).collect();
    if policies.is_empty() {
        let _ = writeln!(text, "no policy selects it, so it stays where it is");
        return;
    }
    let _ = writeln!(
        text,
        "selected by {}; priority {}, carbon at {} per tonne, copies paid off over {} months",
        policies.join(", "),
        explanation.priority,
        amount::number(explanation.carbon_price_per_tonne),
        explanation.horizon_months,
    );
}

fn requirements(text: &mut String, explanation: &Explanation, style: Style) {
    for requirement in &explanation.requirements {
        let mut asked = plural(requirement.copies as usize, "copy", "copies");
        if !requirement.place.is_empty() {
            let _ = write!(asked, " where {}", requirement.place);
        }
        for (across, groups) in &requirement.spread {
            let _ = write!(asked, ", over {groups} values of {across}");
        }
        let counting: Vec<_> = requirement.counting.iter().map(ToString::to_string).collect();
        let met = match &requirement.missing {
            None => style.green("met"),
            Some(missing) => style.red(&format!("lacks {missing}")),
        };
        let by = if counting.is_empty() {
            String::new()
        } else {
            format!(" by {}", counting.join(", "))
        };
        let _ = writeln!(
            text,
            "  {}/{}: {asked}: {met}{by}",
            requirement.policy, requirement.name
        );
    }
}

/// What a copy costs with everything else as planned.
fn in_all(candidate: &CandidateState) -> f64 {
    candidate.cost.per_month() + candidate.tariff_more
}

/// Storage at list price, and what tiers, included storage and base fee make of it.
fn storage(candidate: &CandidateState) -> String {
    let list = amount::number(candidate.cost.storage);
    match candidate.tariff_more {
        0.0 => list,
        more if more > 0.0 => format!("{list} + {}", amount::number(more)),
        less => format!("{list} - {}", amount::number(-less)),
    }
}

/// Taken ones first, then by what they would cost.
fn candidates(text: &mut String, explanation: &Explanation, currency: &str) {
    let mut sorted: Vec<&CandidateState> = explanation.candidates.iter().collect();
    sorted.sort_by(|a, b| {
        (!a.planned)
            .cmp(&!b.planned)
            .then(in_all(a).total_cmp(&in_all(b)))
            .then(a.backend.cmp(&b.backend))
    });
    let total = format!("{currency}/month");
    let mut table = table::table(&[
        "backend",
        "",
        &total,
        "storage",
        "carbon",
        "transfer",
        "room",
        "kg CO2e/month",
        "why",
    ]);
    for candidate in sorted {
        let cost = &candidate.cost;
        let why = if candidate.refusals.is_empty() {
            standing(candidate)
        } else {
            refusals(candidate)
        };
        table.add_row([
            candidate.backend.to_string(),
            if candidate.planned {
                "taken".to_owned()
            } else {
                String::new()
            },
            amount::number(in_all(candidate)),
            storage(candidate),
            amount::number(cost.carbon),
            amount::number(cost.transfer_per_month),
            amount::number(candidate.room_worth),
            amount::number(cost.carbon_kg),
            why,
        ]);
    }
    let _ = writeln!(text, "{}", table::text(&table));
    let _ = writeln!(text, "{}", explanation.tally);
}

fn standing(candidate: &CandidateState) -> String {
    match (candidate.planned, candidate.held, candidate.origin) {
        (true, Some(_), true) => "it is the origin".to_owned(),
        (true, Some(state), false) => format!("it is there, {}", format!("{state:?}").to_lowercase()),
        (true, None, _) => candidate
            .source
            .as_ref()
            .map_or_else(String::new, |s| format!("new, read from {s}")),
        (false, Some(_), _) => "it is there and no longer needed".to_owned(),
        (false, None, _) => "it may, and others cost less together".to_owned(),
    }
}

fn refusals(candidate: &CandidateState) -> String {
    let texts: Vec<_> = candidate
        .refusals
        .iter()
        .map(|r| format!("{} {}: {}", r.kind.as_str(), r.rule, r.message))
        .collect();
    texts.join("; ")
}

/// The best other set, and by how much it is worse.
fn runner_up(text: &mut String, explanation: &Explanation, currency: &str) {
    let Some(other) = &explanation.runner_up else {
        if explanation.satisfied && !explanation.requirements.is_empty() {
            let _ = writeln!(text, "runner-up: no other set of backends meets as much");
        }
        return;
    };
    let backends: Vec<_> = other.backends.iter().map(ToString::to_string).collect();
    let cost = if other.cost_more < 0.0 {
        format!("costs {} less", amount::per_month(-other.cost_more, currency))
    } else {
        format!("costs {} more", amount::per_month(other.cost_more, currency))
    };
    let room = match other.room_worth_more {
        0.0 => String::new(),
        more if more > 0.0 => format!(
            " and takes room worth {} more to others",
            amount::per_month(more, currency)
        ),
        less => format!(
            " and takes room worth {} less to others",
            amount::per_month(-less, currency)
        ),
    };
    let fits = if other.has_room {
        ""
    } else {
        "; beside the rest of the plan there is no room for it"
    };
    let exact = if other.exact {
        ""
    } else {
        " (the search was cut short: there may be a better one)"
    };
    let _ = writeln!(
        text,
        "runner-up: {} {cost}{room}{fits}{exact}",
        backends.join(", ")
    );
}

fn help(text: &mut String, explanation: &Explanation, style: Style) {
    if explanation.satisfied {
        return;
    }
    if explanation.relaxations.is_empty() {
        let _ = writeln!(
            text,
            "no change of rules, capacity or budgets was found that would satisfy it"
        );
    }
    for relaxation in &explanation.relaxations {
        let _ = writeln!(text, "{} {}", style.bold("would help:"), relaxation.message);
    }
}
