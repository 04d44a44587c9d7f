//! What links and policies say for the whole, in the terms of the problem.

use domicile_policies::{Aim, Enforcement, Objective, Policy, Way};

use crate::problem::{Goal, GoalAim, Hop, Movement, Profile, Terms};

pub(super) fn hop(way: &Way) -> Hop {
    Hop {
        forbidden: way.forbidden,
        price_per_gib: way.price_per_gib,
        bandwidth_bits_per_second: way.bandwidth_bits_per_second,
        latency_ms: way.latency_ms,
    }
}

pub(super) fn terms(policy: &Policy) -> Terms {
    let enforced = policy.enforcement == Enforcement::Enforce;
    // An Audit policy limits nothing.
    let movement = if enforced {
        policy.movement
    } else {
        domicile_policies::Movement::default()
    };
    Terms {
        name: policy.name.clone(),
        enforced,
        cost_per_month: policy.budget.cost_per_month,
        carbon_kg_per_month: policy.budget.carbon_kg_per_month,
        movement: Movement {
            bytes: movement.max_bytes.map(|bytes| bytes.0),
            cost: movement.max_cost,
            payback_days: movement.payback_days,
        },
    }
}

/// The settings of an objective, and no rule.
pub(super) fn settings(objective: Option<&Objective>) -> Profile {
    let default = Objective::default();
    let objective = objective.unwrap_or(&default);
    let goal = |goal: &domicile_policies::Goal| Goal {
        aim: match goal.aim {
            Aim::Cost => GoalAim::Cost,
            Aim::Carbon => GoalAim::Carbon,
        },
        slack_millionths: goal.slack_millionths,
    };
    Profile {
        goals: objective.goals.iter().map(goal).collect(),
        carbon_price_per_tonne: objective.carbon_price_per_tonne,
        horizon_months: objective.horizon_months,
        ..Profile::default()
    }
}
