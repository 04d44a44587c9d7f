//! `dataset scrub`: copies are read back and compared with what is recorded, all at once or some at a time.

use std::collections::{BTreeMap, BTreeSet};

use domicile_catalogue::Catalogue;
use domicile_estate::{BackendName, CopyState};
use domicile_movers::Failure;
use domicile_scheduler::{Scrubbable, order_scrubs};
use serde_json::{Value, json};

use super::apply::carrier;
use crate::answer;
use crate::carry::{self, Carrier, Inspected, Part};
use crate::cli::{Files, Global, ScrubArgs};
use crate::outcome::Outcome;
use crate::progress::{self, Counters};
use crate::terminal;
use crate::world::{World, open_to_read, open_to_write};

/// Damaged objects that are told one by one.
const TOLD_DAMAGE: usize = 20;

/// `dataset scrub`: origins first, so that a copy of which nothing is known has something to be compared with.
pub async fn scrub(global: &Global, args: &ScrubArgs) -> anyhow::Result<Outcome> {
    let world = World::load(global, open_to_read(global).await?, &Files::default()).await?;
    if targets(&world, args)?.is_empty() {
        terminal::say(global, "there is no copy to scrub");
        return Ok(Outcome::Done);
    }
    let catalogue = open_to_write(global).await?;
    let _lock = catalogue.lock()?;
    // Read again only if somebody changed something before we had the lock.
    let world = if catalogue.revision().await? == world.observed.revision {
        World { catalogue, ..world }
    } else {
        World::load(global, catalogue, &Files::default()).await?
    };
    let mut targets = targets(&world, args)?;
    if args.sample.is_some() {
        mark(&world.catalogue, &mut targets).await?;
    }
    let carrier = carrier(&world);
    let (rows, outcome) = read_back(global, args, &carrier, &targets).await?;
    let names = rows.iter().filter_map(|row| row["dataset"].as_str());
    if !answer::structured(global.output, &answer::list(&rows), &rows)?
        && !answer::names(global.output, names)
    {
        draw(&rows);
    }
    let next = match (outcome, args.sample) {
        (Outcome::Done, None) => "every object was read back and matches",
        (Outcome::Done, Some(_)) => {
            "every object that was read back matches; the next sample goes on from here"
        }
        (Outcome::Unsatisfied, _) => {
            "damaged copies no longer count, and nothing is read from them; `domicile apply` repairs them from good ones"
        }
        _ => "some objects could not be read; nothing is concluded from that",
    };
    terminal::say(global, next);
    Ok(outcome)
}

/// Reads the targets back, or of a sample as much as it takes.
async fn read_back(
    global: &Global,
    args: &ScrubArgs,
    carrier: &Carrier,
    targets: &[Scrubbable],
) -> anyhow::Result<(Vec<Value>, Outcome)> {
    let all = targets.iter().map(Scrubbable::effort).sum();
    let mut left = args.sample.map(|sample| sample.of(all));
    let share = |whole: u64| args.sample.map_or(whole, |sample| sample.of(whole));
    let total = (
        share(targets.iter().map(|t| t.bytes).sum()),
        share(targets.iter().map(|t| t.objects).sum()),
    );
    let counters = Counters {
        meter: carrier.meter.clone(),
        moved: Some(carrier.progress.clone()),
    };
    let watch = progress::watch(global, "reading back", total, counters);
    let (mut rows, mut outcome) = (Vec::new(), Outcome::Done);
    // What cannot be reached is not asked again for each of its copies.
    let mut dead: BTreeMap<&BackendName, Failure> = BTreeMap::new();
    for target in targets {
        if left == Some(0) {
            break;
        }
        let inspected = match dead.get(&target.backend) {
            Some(failure) => Inspected {
                unread: vec![failure.clone()],
                ..Inspected::default()
            },
            None => read_some(carrier, target, left).await?,
        };
        if inspected.out_of_reach
            && let Some(failure) = inspected.unread.last()
        {
            dead.insert(&target.backend, failure.clone());
        }
        left = left.map(|left| left.saturating_sub(inspected.effort));
        outcome = outcome.or(verdict(&inspected));
        rows.push(row(target, &inspected));
        tell(global, target, &inspected);
    }
    drop(watch);
    Ok((rows, outcome))
}

/// Reads a copy back, from where the last sample of it ended, and notes how far it came. Without an effort all of it.
pub async fn read_some(
    carrier: &Carrier,
    target: &Scrubbable,
    effort: Option<u64>,
) -> anyhow::Result<Inspected> {
    let (dataset, backend) = (&target.dataset, &target.backend);
    let after = match effort {
        Some(_) => {
            let mut marks = carrier.catalogue.scrub_marks().await?;
            marks
                .remove(&(dataset.clone(), backend.clone()))
                .and_then(|mark| mark.after)
        }
        None => None,
    };
    let inspected = carry::inspect_part(carrier, dataset, backend, Part { after, effort }).await?;
    let up_to = inspected.left_off.as_ref().filter(|_| !inspected.ended);
    if inspected.ended || (effort.is_some() && up_to.is_some()) {
        carrier.catalogue.note_scrubbed(dataset, backend, up_to).await?;
    }
    Ok(inspected)
}

/// Adds how far each was read, and puts those first whose turn it is.
pub async fn mark(catalogue: &Catalogue, targets: &mut [Scrubbable]) -> anyhow::Result<()> {
    let mut marks = catalogue.scrub_marks().await?;
    for target in targets.iter_mut() {
        let mark = marks.remove(&(target.dataset.clone(), target.backend.clone()));
        let mark = mark.unwrap_or_default();
        (target.under_way, target.ended_ms) = (mark.after.is_some(), mark.ended_ms);
    }
    order_scrubs(targets);
    Ok(())
}

fn verdict(inspected: &Inspected) -> Outcome {
    if !inspected.unread.is_empty() {
        Outcome::MovesFailed
    } else if inspected.is_whole() {
        Outcome::Done
    } else {
        Outcome::Unsatisfied
    }
}

fn targets(world: &World, args: &ScrubArgs) -> anyhow::Result<Vec<Scrubbable>> {
    let mut names = BTreeSet::new();
    for name in &args.datasets {
        names.insert(world.dataset(name)?.name.clone());
    }
    if let Some(backend) = &args.backend {
        world.backend(backend)?;
    }
    let wanted = |target: &Scrubbable| {
        (names.is_empty() || names.contains(&target.dataset))
            && args.backend.as_ref().is_none_or(|b| b == target.backend.as_str())
    };
    Ok(copies(world).filter(wanted).collect())
}

/// Every copy that can be read back, origins before the other copies of their datasets.
pub fn copies(world: &World) -> impl Iterator<Item = Scrubbable> {
    world.observed.datasets.iter().flat_map(|(name, known)| {
        let mut copies: Vec<_> = known
            .copies
            .iter()
            .filter(|copy| copy.state != CopyState::Retiring)
            .collect();
        copies.sort_by_key(|copy| !copy.origin);
        copies.into_iter().map(|copy| Scrubbable {
            dataset: name.clone(),
            backend: copy.backend.clone(),
            origin: copy.origin,
            bytes: known.summary.bytes.0,
            objects: known.summary.objects,
            under_way: false,
            ended_ms: None,
        })
    })
}

fn row(target: &Scrubbable, inspected: &Inspected) -> Value {
    let damaged = inspected
        .damaged
        .iter()
        .map(|(key, reason)| json!({"key": key.as_str(), "message": reason}));
    let unread = inspected.unread.iter().map(ToString::to_string);
    json!({
        "dataset": target.dataset.as_str(), "backend": target.backend.as_str(), "origin": target.origin,
        "whole": inspected.whole, "damaged": damaged.collect::<Vec<_>>(),
        "gone": inspected.gone.iter().map(|key| key.as_str()).collect::<Vec<_>>(),
        "unread": unread.collect::<Vec<_>>(), "complete": inspected.ended,
    })
}

/// Tells what is wrong, object by object.
pub fn tell(global: &Global, target: &Scrubbable, inspected: &Inspected) {
    let place = format!("dataset `{}` on backend `{}`", target.dataset, target.backend);
    for (key, reason) in inspected.damaged.iter().take(TOLD_DAMAGE) {
        let key = key.as_str().escape_debug();
        terminal::say(global, &format!("damaged: {place}: object `{key}`: {reason}"));
    }
    for key in inspected.gone.iter().take(TOLD_DAMAGE) {
        terminal::say(
            global,
            &format!(
                "gone: {place}: object `{}` is not there",
                key.as_str().escape_debug()
            ),
        );
    }
    // All of them say the same.
    let told = if inspected.out_of_reach { 1 } else { TOLD_DAMAGE };
    for failure in inspected.unread.iter().take(told) {
        terminal::say(
            global,
            &format!("not read: dataset `{}`: {failure}", target.dataset),
        );
    }
    if inspected.out_of_reach {
        terminal::say(
            global,
            &format!("{place}: the backend gives no answer, so that the rest was not asked for"),
        );
    }
}

fn draw(rows: &[Value]) {
    let mut table =
        crate::render::table::table(&["dataset", "backend", "whole", "damaged", "gone", "unread"]);
    for row in rows {
        let text = |field: &str| row[field].as_str().unwrap_or("").to_owned();
        let count = |field: &str| row[field].as_array().map_or(0, Vec::len).to_string();
        let cells = [text("dataset"), text("backend"), row["whole"].to_string()];
        table.add_row(
            cells
                .into_iter()
                .chain([count("damaged"), count("gone"), count("unread")]),
        );
    }
    terminal::answer(&crate::render::table::text(&table));
}
