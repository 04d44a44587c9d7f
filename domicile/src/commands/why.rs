//! `why`: explains where a dataset's copies lie.

use domicile_placement::{
    CandidateState, Explanation, Refusal, Relaxation, RunnerUp, Tally, explain, place_and_price,
};
use serde_json::{Value, json};

use super::plan::tell_findings;
use super::worth;
use crate::answer;
use crate::cli::{Format, Global, WhyArgs};
use crate::outcome::Outcome;
use crate::render;
use crate::terminal;
use crate::world::{World, open_to_read};

/// `why`.
pub async fn why(global: &Global, args: &WhyArgs) -> anyhow::Result<Outcome> {
    let (asked, policy) = (args.dataset.as_deref(), args.policy.as_deref());
    let catalogue = open_to_read(global).await?;
    let mut world = World::load(global, catalogue, &args.files).await?;
    if let Some(policy) = policy {
        return worth::policy(global, world, policy).await;
    }
    let asked = asked.unwrap_or_default();
    let name = world.dataset(asked)?.name.clone();
    if let Some(backend) = &args.backend {
        world.backend(backend)?;
    }
    world.look(global).await?;
    let problem = world.problem().await?;
    world.forget_copies();
    let solution = place_and_price(&problem);
    let Some(dataset) = problem.dataset(name.as_str()) else {
        anyhow::bail!("dataset `{name}` is not part of the plan");
    };
    let mut explanation = explain(&problem, &solution, dataset);
    if let Some(only) = &args.backend {
        explanation
            .candidates
            .retain(|candidate| candidate.backend.as_str() == only);
        explanation
            .refusals
            .retain(|refusal| refusal.backends.iter().any(|b| b.as_str() == only));
    }
    let document = document(&explanation, &problem.currency);
    if !answer::structured(global.output, &document, std::slice::from_ref(&document))? {
        if global.output == Format::Name {
            let planned = explanation.candidates.iter().filter(|c| c.planned);
            terminal::answer(&planned.map(|c| format!("{}\n", c.backend)).collect::<String>());
        } else {
            let style = render::plan::Style::of(global);
            terminal::answer(&render::why::draw(&explanation, &problem.currency, style));
        }
    }
    tell_findings(global, &world);
    let happy = explanation.satisfied && explanation.violations.is_empty();
    Ok(if happy {
        Outcome::Done
    } else {
        Outcome::Unsatisfied
    })
}

fn document(explanation: &Explanation, currency: &str) -> Value {
    let names = |names: &[domicile_estate::BackendName]| {
        names
            .iter()
            .map(|name| Value::from(name.as_str()))
            .collect::<Vec<_>>()
    };
    let requirements = explanation.requirements.iter().map(|requirement| {
        let spread = requirement
            .spread
            .iter()
            .map(|(across, groups)| json!({"across": across, "groups": groups}));
        json!({
            "policy": requirement.policy.as_str(), "name": requirement.name, "copies": requirement.copies,
            "where": requirement.place, "spread": spread.collect::<Vec<_>>(),
            "counting": names(&requirement.counting), "missing": requirement.missing,
        })
    });
    let audits = explanation.audits.iter().map(|audit| {
        let unmet = audit
            .unmet
            .iter()
            .map(|(name, lacks)| json!({"requirement": name, "missing": lacks}));
        json!({
            "policy": audit.policy.as_str(), "refused": audit.refused.iter().map(refusal).collect::<Vec<_>>(),
            "unmet": unmet.collect::<Vec<_>>(),
        })
    });
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "Explanation", "dataset": explanation.dataset.as_str(),
        "currency": currency, "satisfied": explanation.satisfied,
        "policies": explanation.policies.iter().map(|p| p.as_str()).collect::<Vec<_>>(),
        "priority": explanation.priority, "carbonPricePerTonne": explanation.carbon_price_per_tonne,
        "horizonMonths": explanation.horizon_months, "requirements": requirements.collect::<Vec<_>>(),
        "candidates": explanation.candidates.iter().map(candidate).collect::<Vec<_>>(),
        "tally": tally(&explanation.tally),
        "runnerUp": explanation.runner_up.as_ref().map(runner_up),
        "violations": explanation.violations.iter().map(refusal).collect::<Vec<_>>(),
        "refusals": explanation.refusals.iter().map(refusal).collect::<Vec<_>>(),
        "relaxations": explanation.relaxations.iter().map(relaxation).collect::<Vec<_>>(),
        "audits": audits.collect::<Vec<_>>(),
    })
}

fn candidate(candidate: &CandidateState) -> Value {
    let cost = &candidate.cost;
    let mut told = json!({
        "backend": candidate.backend.as_str(), "planned": candidate.planned, "origin": candidate.origin,
        "held": candidate.held.map(|state| format!("{state:?}")), "source": candidate.source.as_ref().map(|s| s.as_str()),
        "storagePerMonth": cost.storage, "carbonPerMonth": cost.carbon, "carbonKgPerMonth": cost.carbon_kg,
        "transferPerMonth": cost.transfer_per_month, "costPerMonth": cost.per_month() + candidate.tariff_more,
        "roomWorthPerMonth": candidate.room_worth,
        "refusals": candidate.refusals.iter().map(refusal).collect::<Vec<_>>(),
    });
    // Most backends charge the list price and no more.
    if candidate.tariff_more != 0.0 {
        told["tariffPerMonth"] = json!(candidate.tariff_more);
    }
    told
}

fn tally(tally: &Tally) -> Value {
    let reasons = tally
        .reasons
        .iter()
        .map(|(reason, count)| json!({"reason": reason, "backends": count}));
    json!({
        "fit": tally.fit, "total": tally.total, "reasons": reasons.collect::<Vec<_>>(),
        "message": tally.to_string(),
    })
}

fn runner_up(other: &RunnerUp) -> Value {
    let backends: Vec<_> = other.backends.iter().map(|b| b.as_str()).collect();
    json!({
        "backends": backends, "costMorePerMonth": other.cost_more,
        "roomWorthMorePerMonth": other.room_worth_more, "hasRoom": other.has_room, "exact": other.exact,
    })
}

fn refusal(refusal: &Refusal) -> Value {
    let backends: Vec<_> = refusal.backends.iter().map(|b| b.as_str()).collect();
    json!({"rule": refusal.rule, "kind": refusal.kind.as_str(), "backends": backends, "message": refusal.message})
}

fn relaxation(relaxation: &Relaxation) -> Value {
    json!({"rule": relaxation.rule, "change": relaxation.change, "message": relaxation.message})
}
