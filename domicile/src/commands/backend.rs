//! `backend probe|cordon|uncordon|drain|usage`.

use domicile_estate::{AccessMode, Backend, BackendName, ByteCount};
use domicile_movers::Failure;
use domicile_worker::{Certificate, CredentialValues, ProbeReport, Stores, Worker};
use serde_json::{Value, json};

use super::plan::Proposal;
use crate::answer;
use crate::certificate;
use crate::cli::{BackendNames, Files, Format, Global};
use crate::outcome::Outcome;
use crate::render::plan::plural;
use crate::render::table;
use crate::terminal;
use crate::world::{World, limits, open_to_read, open_to_write};

fn chosen<'a>(world: &'a World, names: &[String]) -> anyhow::Result<Vec<&'a Backend>> {
    if names.is_empty() {
        return Ok(world.manifests.backends.values().collect());
    }
    names.iter().map(|name| world.backend(name)).collect()
}

/// `backend probe`: list, and where writing is allowed try out what the store can do. What was found is recorded if there
/// is a catalogue that has the backend.
pub async fn probe(global: &Global, args: &BackendNames) -> anyhow::Result<Outcome> {
    let reading = open_to_read(global).await?;
    let exists = reading.path().is_some();
    let catalogue = if exists {
        open_to_write(global).await?
    } else {
        reading
    };
    let world = World::load(global, catalogue, &args.files).await?;
    // One that relies on nothing that an earlier probe has seen.
    let backends: Vec<_> = world.manifests.backends.values().collect();
    let worker = Worker::new(
        Stores::open(&backends, CredentialValues::from_environment()),
        limits(global),
    );
    let mut rows = Vec::new();
    let mut outcome = Outcome::Done;
    for backend in chosen(&world, &args.names)? {
        let write = backend.access_mode == AccessMode::ReadWrite;
        let result = try_out(&worker, &backend.name, write, world.may_be_new(backend)).await;
        if exists {
            match &result {
                Ok((_, certificate)) => {
                    world.catalogue.set_reachable(&backend.name).await?;
                    if let Some(certificate) = certificate {
                        keep(&world, backend, certificate).await?;
                    }
                }
                Err(failure) => {
                    world
                        .catalogue
                        .set_unreachable(&backend.name, &failure.to_string())
                        .await?
                }
            }
        }
        if result.is_err() {
            outcome = Outcome::Error;
        }
        rows.push(told(&backend.name, write, result));
    }
    let names = rows.iter().filter_map(|row| row["backend"].as_str());
    if !answer::structured(global.output, &answer::list(&rows), &rows)?
        && !answer::names(global.output, names)
    {
        let mut table = table::table(&["backend", "reachable", "took", "message", "shown"]);
        for row in &rows {
            let text = |field: &str| row[field].as_str().unwrap_or("").to_owned();
            let reachable = if row["reachable"] == true { "yes" } else { "no" };
            table.add_row([
                text("backend"),
                reachable.into(),
                format!("{} ms", row["tookMs"]),
                text("message"),
                text("shown"),
            ]);
        }
        terminal::answer(&table::text(&table));
    }
    Ok(outcome)
}

/// What came of trying a store out: how it was reached, and what it has shown if it was written to.
type Tried = Result<(ProbeReport, Option<Certificate>), Failure>;

async fn try_out(worker: &Worker, backend: &BackendName, write: bool, may_be_new: bool) -> Tried {
    let report = worker.probe(backend, write, may_be_new).await?;
    let certificate = match report.wrote {
        true => Some(worker.certify(backend).await?),
        false => None,
    };
    Ok((report, certificate))
}

fn told(backend: &BackendName, write: bool, result: Tried) -> Value {
    match result {
        Ok((report, certificate)) => json!({
            "backend": backend.as_str(), "reachable": true, "wrote": report.wrote, "tookMs": report.took_ms,
            "certificate": certificate.as_ref().map(certificate::kept),
            "shown": certificate.as_ref().map_or(String::new(), certificate::in_words),
            "message": match (report.wrote, write) {
                (true, _) => "listed, wrote, read back and deleted",
                (false, true) => "the folder is not there yet; the first copy makes it",
                (false, false) => "listed",
            },
        }),
        Err(failure) => {
            json!({
                "backend": backend.as_str(), "reachable": false, "wrote": false, "tookMs": 0,
                "certificate": Value::Null, "shown": "",
                "message": failure.to_string(),
            })
        }
    }
}

/// Keeps what a store has shown, for `describe backend` and for every mover of the next day.
async fn keep(world: &World, backend: &Backend, certificate: &Certificate) -> anyhow::Result<()> {
    let place = certificate::place(&backend.store);
    let shown = certificate::kept(certificate).to_string();
    world
        .catalogue
        .set_certificate(&backend.name, &place, &shown)
        .await?;
    Ok(())
}

async fn marked(global: &Global, name: &str) -> anyhow::Result<World> {
    // Looked up before the catalogue is made or changed.
    World::load(global, open_to_read(global).await?, &Files::default())
        .await?
        .backend(name)?;
    World::load(global, open_to_write(global).await?, &Files::default()).await
}

/// `backend cordon`.
pub async fn cordon(global: &Global, name: &str) -> anyhow::Result<Outcome> {
    let world = marked(global, name).await?;
    world
        .catalogue
        .set_cordoned(&world.backend(name)?.name, true)
        .await?;
    terminal::say(
        global,
        &format!("backend `{name}` is cordoned: nothing new goes there; `uncordon` lifts it"),
    );
    tell_marks(global, name, (true, world.observed.draining.contains(name)))
}

/// `backend uncordon`.
pub async fn uncordon(global: &Global, name: &str) -> anyhow::Result<Outcome> {
    let world = marked(global, name).await?;
    let backend = world.backend(name)?;
    world.catalogue.set_cordoned(&backend.name, false).await?;
    world.catalogue.set_draining(&backend.name, false).await?;
    terminal::say(global, &format!("the marks on backend `{name}` are lifted"));
    if backend.cordoned || backend.drain {
        terminal::say(
            global,
            "its manifest still says so: `cordoned` or `drain` is true there",
        );
    }
    tell_marks(global, name, (false, false))
}

/// The marks that commands set, for programs.
fn tell_marks(global: &Global, name: &str, (cordoned, draining): (bool, bool)) -> anyhow::Result<Outcome> {
    let marks = json!({"backend": name, "cordoned": cordoned, "draining": draining});
    if !answer::structured(global.output, &marks, std::slice::from_ref(&marks))? {
        answer::names(global.output, std::iter::once(name));
    }
    Ok(Outcome::Done)
}

/// `backend drain`: marks, and tells what would keep the backend from being empty.
pub async fn drain(global: &Global, name: &str) -> anyhow::Result<Outcome> {
    let world = marked(global, name).await?;
    world
        .catalogue
        .set_draining(&world.backend(name)?.name, true)
        .await?;
    let world = World::load(global, world.catalogue, &Files::default()).await?;
    let proposal = Proposal::of(&world).await?;
    let stays = |d: &&domicile_placement::DatasetPlan| d.backends.iter().any(|b| b.as_str() == name);
    let staying: Vec<_> = proposal.plan.datasets.iter().filter(stays).collect();
    let leaving = proposal.plan.moves.iter().filter(
        |m| matches!(&m.action, domicile_placement::Action::Retire { from } if from.as_str() == name),
    );
    let rows: Vec<Value> = staying
        .iter()
        .map(|d| {
            let why = d
                .violations
                .iter()
                .find(|v| v.backends.iter().any(|b| b.as_str() == name));
            json!({
                "dataset": d.name.as_str(), "bytes": d.bytes.0,
                "message": why.map_or("it has nowhere else to go".to_owned(), |v| v.message.clone()),
            })
        })
        .collect();
    terminal::say(
        global,
        &format!(
            "backend `{name}` is to be emptied: `domicile apply` retires {} there, {} stay",
            plural(leaving.count(), "copy", "copies"),
            staying.len()
        ),
    );
    if !answer::structured(global.output, &answer::list(&rows), &rows)? && !rows.is_empty() {
        if global.output == Format::Name {
            terminal::answer(
                &staying
                    .iter()
                    .map(|d| format!("{}\n", d.name))
                    .collect::<String>(),
            );
            return Ok(Outcome::Done);
        }
        let mut table = table::table(&["keeps it from being empty", "size", "why"]);
        for (row, dataset) in rows.iter().zip(&staying) {
            let why = row["message"].as_str().unwrap_or("").to_owned();
            table.add_row([dataset.name.to_string(), dataset.bytes.to_string(), why]);
        }
        terminal::answer(&table::text(&table));
    }
    Ok(Outcome::Done)
}

/// `backend usage`.
pub async fn usage(global: &Global, args: &BackendNames) -> anyhow::Result<Outcome> {
    let world = World::load(global, open_to_read(global).await?, &args.files).await?;
    let usage = world.catalogue.usage().await?;
    let mut rows = Vec::new();
    let mut table = table::table(&["backend", "copies", "objects", "used", "capacity", "full"]);
    for backend in chosen(&world, &args.names)? {
        let states = usage.get(&backend.name);
        let sum = |of: fn(&domicile_catalogue::StateUsage) -> u64| -> u64 {
            states.into_iter().flat_map(|s| s.values()).map(of).sum()
        };
        let (copies, objects, used) = (sum(|s| s.copies), sum(|s| s.objects), sum(|s| s.bytes.0));
        let full = if backend.capacity.0 == 0 {
            0.0
        } else {
            used as f64 / backend.capacity.0 as f64 * 100.0
        };
        let by_state: Value = states
            .into_iter()
            .flatten()
            .map(|(state, u)| {
                (
                    format!("{state:?}"),
                    json!({"copies": u.copies, "bytes": u.bytes.0}),
                )
            })
            .collect::<serde_json::Map<_, _>>()
            .into();
        rows.push(json!({
            "backend": backend.name.as_str(), "copies": copies, "objects": objects, "bytes": used,
            "capacity": backend.capacity.0, "byState": by_state,
        }));
        table.add_row([
            backend.name.to_string(),
            copies.to_string(),
            objects.to_string(),
            ByteCount(used).to_string(),
            backend.capacity.to_string(),
            format!("{full:.1} %"),
        ]);
    }
    let names = rows.iter().filter_map(|row| row["backend"].as_str());
    if !answer::structured(global.output, &answer::list(&rows), &rows)?
        && !answer::names(global.output, names)
    {
        terminal::answer(&table::text(&table));
    }
    Ok(Outcome::Done)
}
