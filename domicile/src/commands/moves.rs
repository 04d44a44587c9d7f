//! `moves`: how far the moves of the latest plan have come, and what people order of them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use domicile_catalogue::{HeldMove, Hold, MoveRecord, MoveState};
use domicile_estate::{BackendName, ByteCount, DatasetName, RateLimits};
use domicile_movers::eta_seconds;
use serde_json::{Value, json};

use super::plan::plan_name;
use crate::answer;
use crate::carry::now_ms;
use crate::cli::{Files, Global, MovesArgs, MovesCommand};
use crate::outcome::{Outcome, Refusal};
use crate::progress::duration;
use crate::render::plan::plural;
use crate::render::table;
use crate::terminal;
use crate::world::{World, open_to_read, open_to_write};

/// `moves`.
pub async fn moves(global: &Global, command: &MovesCommand) -> anyhow::Result<Outcome> {
    match command {
        MovesCommand::Ls(args) => list(global, args).await,
        MovesCommand::Pause(args) => order(global, args, Order::Pause).await,
        MovesCommand::Resume(args) => order(global, args, Order::Resume).await,
        MovesCommand::Retry(args) => order(global, args, Order::Retry).await,
        MovesCommand::Cancel(args) => order(global, args, Order::Cancel).await,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Pause,
    Resume,
    Retry,
    Cancel,
}

impl Order {
    /// Whether it says anything of a move in this state.
    fn is_about(self, state: MoveState) -> bool {
        match self {
            Self::Pause => matches!(state, MoveState::Pending | MoveState::Running),
            Self::Resume => state == MoveState::Paused,
            Self::Retry => matches!(state, MoveState::Failed | MoveState::Cancelled),
            Self::Cancel => !matches!(state, MoveState::Done | MoveState::Cancelled),
        }
    }

    fn what(self) -> (&'static str, &'static str) {
        match self {
            Self::Pause => (
                "paused",
                "whoever carries them stops; `domicile moves resume` lifts it",
            ),
            Self::Resume => (
                "resumed",
                "a running `apply` or `mover` goes on, else the next `apply`",
            ),
            Self::Retry => (
                "to be tried again",
                "a `mover` takes up what is offered, the next `apply` the others",
            ),
            Self::Cancel => ("cancelled", "no `apply` makes them until `domicile moves retry`"),
        }
    }
}

/// A move of the latest plan, as it is recorded.
struct Recorded {
    record: MoveRecord,
    document: Value,
    held: HeldMove,
}

impl Recorded {
    fn of(record: MoveRecord) -> anyhow::Result<Self> {
        let document: Value = serde_json::from_str(&record.json)?;
        let text = |field: &str| document.get(field).and_then(Value::as_str);
        let at = match text("action") {
            Some("Copy") => text("to"),
            _ => text("from"),
        };
        let broken = || format!("the move `{}` of the catalogue is broken", record.id);
        let held = HeldMove {
            id: record.id.clone(),
            dataset: DatasetName::new(text("dataset").with_context(broken)?).with_context(broken)?,
            backend: BackendName::new(at.with_context(broken)?).with_context(broken)?,
            retires: text("action") != Some("Copy"),
        };
        Ok(Self {
            record,
            document,
            held,
        })
    }

    fn text(&self, field: &str) -> String {
        let text = self.document.get(field).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    }

    fn bytes(&self) -> u64 {
        self.document.get("bytes").and_then(Value::as_u64).unwrap_or(0)
    }
}

/// The latest plan with those of its moves that are meant.
async fn chosen(world: &World, args: &MovesArgs) -> anyhow::Result<(u64, Vec<Recorded>)> {
    if let Some(dataset) = &args.dataset {
        world.dataset(dataset)?;
    }
    if let Some(backend) = &args.backend {
        world.backend(backend)?;
    }
    let plan = world.catalogue.next_plan_number().await? - 1;
    let records = world.catalogue.moves(plan).await?.into_iter();
    let all: Vec<Recorded> = records.map(Recorded::of).collect::<Result<_, _>>()?;
    let mut meant = BTreeSet::new();
    for given in &args.ids {
        // An empty variable of a script would mean whichever there is.
        if given.is_empty() {
            return Err(Refusal::usage(
                "an empty text is the id of no move: `domicile moves ls` lists them",
            ));
        }
        let found: Vec<_> = all.iter().filter(|m| m.record.id.starts_with(given)).collect();
        match found[..] {
            [one] => drop(meant.insert(one.record.id.clone())),
            [] => {
                let known = all.iter().map(|m| m.record.id.as_str());
                return Err(crate::world::unknown("move", given, known));
            }
            _ => {
                return Err(Refusal::usage(format!(
                    "`{given}` begins the ids of {} moves: write more of it",
                    found.len()
                )));
            }
        }
    }
    let wanted = |one: &Recorded| {
        (meant.is_empty() || meant.contains(&one.record.id))
            && args
                .dataset
                .as_ref()
                .is_none_or(|dataset| dataset == one.held.dataset.as_str())
            && args
                .backend
                .as_ref()
                .is_none_or(|backend| backend == one.held.backend.as_str())
    };
    Ok((plan, all.into_iter().filter(wanted).collect()))
}

async fn order(global: &Global, args: &MovesArgs, order: Order) -> anyhow::Result<Outcome> {
    if args.ids.is_empty() && args.dataset.is_none() && args.backend.is_none() && !args.all {
        return Err(Refusal::usage(
            "which moves? give their ids, `--dataset D`, `--backend B` or `--all`; `domicile moves ls` lists them",
        ));
    }
    // Whoever runs has the lock; orders are for him.
    let world = World::load(global, open_to_write(global).await?, &Files::default()).await?;
    let (plan, chosen) = chosen(&world, args).await?;
    let about: Vec<_> = chosen
        .iter()
        .filter(|one| order.is_about(one.record.state))
        .map(|one| one.held.clone())
        .collect();
    match order {
        Order::Pause => world.catalogue.hold(plan, &about, Hold::Paused).await?,
        Order::Cancel => world.catalogue.hold(plan, &about, Hold::Cancelled).await?,
        Order::Resume | Order::Retry => world.catalogue.lift(plan, &about).await?,
    }
    let rows: Vec<Value> = about.iter().map(|held| json!({"id": held.id})).collect();
    let (done, next) = order.what();
    if !answer::structured(global.output, &answer::list(&rows), &rows)?
        && !answer::names(global.output, about.iter().map(|held| held.id.as_str()))
    {
        terminal::answer(&format!("{} {done}", plural(about.len(), "move", "moves")));
    }
    if !about.is_empty() {
        terminal::say(global, next);
    }
    Ok(Outcome::Done)
}

/// What holds the bytes of a copy to a rate now: the lowest limit of the backend that is read, of the one that is written and
/// of the link between them.
fn held_to(world: &World, from: &str, to: &str, now_ms: u64) -> Option<(String, u64)> {
    let manifests = &world.manifests;
    let rate = |limits: &RateLimits| limits.at(now_ms).bytes_per_second;
    let backends = [from, to].into_iter().filter_map(|name| {
        let backend = manifests.backends.get(name)?;
        Some((format!("backend `{name}`"), rate(&backend.limits)?))
    });
    let ways = manifests.limited_ways().into_iter();
    let links = ways.filter_map(|((link, _), ways)| {
        ways.iter()
            .find(|(a, b)| a.as_str() == from && b.as_str() == to)?;
        let limits = manifests.links.get(&link)?.limits.as_ref()?;
        Some((format!("link `{link}`"), rate(limits)?))
    });
    backends.chain(links).min_by_key(|(_, rate)| *rate)
}

/// How far a move has come.
struct Standing {
    done: u64,
    /// Bytes per second of late, over all who carry it.
    per_second: Option<f64>,
    left_seconds: Option<f64>,
    /// What holds it to so many bytes per second now.
    held_to: Option<(String, u64)>,
}

/// What the catalogue knows of copies that are under way.
struct UnderWay {
    carriers: BTreeMap<(DatasetName, BackendName), BTreeSet<String>>,
    rates: BTreeMap<(DatasetName, BackendName), f64>,
    in_parts: BTreeMap<(DatasetName, BackendName), u64>,
}

impl UnderWay {
    async fn read(world: &World) -> anyhow::Result<Self> {
        Ok(Self {
            carriers: world.catalogue.carriers().await?,
            rates: world.catalogue.rates().await?,
            in_parts: world.catalogue.bytes_in_parts().await?,
        })
    }
}

/// Bytes that are recorded as whole or as parts of large objects, and the time that the others take at the rate that those who
/// carry them have measured of late: what was there before they began does not count as fast.
fn standing(world: &World, one: &Recorded, under_way: &UnderWay) -> Standing {
    let bytes = one.bytes();
    if one.record.state == MoveState::Done {
        return Standing {
            done: bytes,
            per_second: None,
            left_seconds: None,
            held_to: None,
        };
    }
    let known = world.observed.datasets.get(one.held.dataset.as_str());
    let copy = known.and_then(|known| known.copy_on(one.held.backend.as_str()));
    let missing = copy
        .filter(|_| !one.held.retires)
        .map_or(bytes, |copy| copy.missing_bytes.0);
    let of = (one.held.dataset.clone(), one.held.backend.clone());
    let in_parts = under_way.in_parts.get(&of).copied().unwrap_or(0);
    let done = bytes.saturating_sub(missing.saturating_sub(in_parts));
    let runs = one.record.state == MoveState::Running;
    let per_second = under_way.rates.get(&of).copied().filter(|_| runs);
    let now_ms = u64::try_from(now_ms()).unwrap_or_default();
    let held_to = held_to(world, &one.text("from"), &one.text("to"), now_ms);
    Standing {
        done,
        per_second,
        held_to: held_to.filter(|_| !one.held.retires),
        left_seconds: per_second.and_then(|rate| eta_seconds(bytes - done, Some(rate))),
    }
}

async fn list(global: &Global, args: &MovesArgs) -> anyhow::Result<Outcome> {
    let world = World::load(global, open_to_read(global).await?, &Files::default()).await?;
    let (plan, chosen) = chosen(&world, args).await?;
    let under_way = UnderWay::read(&world).await?;
    let rows: Vec<Value> = chosen.iter().map(|one| row(&world, one, &under_way)).collect();
    let ids = chosen.iter().map(|one| one.record.id.as_str());
    if answer::structured(global.output, &answer::list(&rows), &rows)? || answer::names(global.output, ids) {
        return Ok(Outcome::Done);
    }
    if chosen.is_empty() {
        terminal::say(global, "there is no such move in the latest plan");
        return Ok(Outcome::Done);
    }
    let headings = [
        "id",
        "dataset",
        "action",
        "at",
        "done",
        "size",
        "state",
        "rate",
        "left",
        "held to",
        "carried by",
        "reason",
    ];
    let mut table = table::table(&headings);
    for (one, row) in chosen.iter().zip(&rows) {
        let standing = standing(&world, one, &under_way);
        let carried_by = row["carriedBy"].as_array().map_or(&[][..], Vec::as_slice);
        let carried_by: Vec<_> = carried_by.iter().filter_map(Value::as_str).collect();
        table.add_row([
            one.record.id.clone(),
            one.held.dataset.to_string(),
            one.text("action"),
            one.held.backend.to_string(),
            ByteCount(standing.done).to_string(),
            ByteCount(one.bytes()).to_string(),
            one.record.state.as_str().to_owned(),
            standing
                .per_second
                .map(|rate| format!("{}/s", ByteCount(rate as u64)))
                .unwrap_or_default(),
            standing.left_seconds.map(duration).unwrap_or_default(),
            standing
                .held_to
                .map(|(by, rate)| format!("{}/s by {by}", ByteCount(rate)))
                .unwrap_or_default(),
            carried_by.join(", "),
            one.record.reason.clone(),
        ]);
    }
    terminal::answer(&table::text(&table));
    terminal::say(global, &format!("these are the moves of {}", plan_name(plan)));
    Ok(Outcome::Done)
}

fn row(world: &World, one: &Recorded, under_way: &UnderWay) -> Value {
    let standing = standing(world, one, under_way);
    let copy = (one.held.dataset.clone(), one.held.backend.clone());
    json!({
        "id": one.record.id, "dataset": one.held.dataset.as_str(), "action": one.text("action"),
        "from": one.text("from"), "to": one.text("to"), "bytes": one.bytes(), "doneBytes": standing.done,
        "bytesPerSecond": standing.per_second, "etaSeconds": standing.left_seconds, "state": one.record.state.as_str(), "attempts": one.record.attempts,
        "reason": one.record.reason, "carriedBy": under_way.carriers.get(&copy),
        "heldTo": standing.held_to.map(|(by, rate)| json!({"bytesPerSecond": rate, "by": by})),
    })
}
