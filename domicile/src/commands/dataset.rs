//! `dataset import` and `dataset scrub`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use domicile_catalogue::{Catalogue, ImportOptions, ImportSummary, InventoryRow};
use domicile_estate::{BackendName, CopyState, DatasetName, DomainName};
use serde_json::{Value, json};

use super::apply::carrier;
use super::plan::manifests_to_record;
use crate::answer;
use crate::carry::{self, Inspected};
use crate::cli::{Files, Global, ImportArgs, ScrubArgs};
use crate::inventory::Inventory;
use crate::outcome::{Outcome, Refusal};
use crate::progress::{self, Counters};
use crate::terminal;
use crate::world::{Ruling, World, open_to_read, open_to_write};

/// Rows handed to the catalogue at once.
const BATCH: usize = 4_096;
/// Damaged objects that are told one by one.
const TOLD_DAMAGE: usize = 20;

/// One copy to scrub.
struct Target {
    dataset: DatasetName,
    backend: BackendName,
    origin: bool,
    bytes: u64,
    objects: u64,
}

/// `dataset scrub`: reads copies back, origins first, so that a copy of which nothing is known has something to be
/// compared with.
pub async fn scrub(global: &Global, args: &ScrubArgs) -> anyhow::Result<Outcome> {
    let world = World::load(global, open_to_read(global).await?, &Files::default()).await?;
    let targets = targets(&world, args)?;
    if targets.is_empty() {
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
    let carrier = carrier(&world);
    let total = (
        targets.iter().map(|t| t.bytes).sum(),
        targets.iter().map(|t| t.objects).sum(),
    );
    let counters = Counters {
        meter: carrier.meter.clone(),
        moved: Some(carrier.progress.clone()),
    };
    let watch = progress::watch(global, "reading back", total, counters);
    let mut rows = Vec::new();
    let mut outcome = Outcome::Done;
    for target in &targets {
        let inspected = carry::inspect_copy(&carrier, &target.dataset, &target.backend).await?;
        outcome = outcome.or(verdict(&inspected));
        rows.push(row(target, &inspected));
        tell(global, target, &inspected);
    }
    drop(watch);
    let names = rows.iter().filter_map(|row| row["dataset"].as_str());
    if !answer::structured(global.output, &answer::list(&rows), &rows)?
        && !answer::names(global.output, names)
    {
        draw(&rows);
    }
    let next = match outcome {
        Outcome::Done => "every object was read back and matches",
        Outcome::Unsatisfied => {
            "damaged copies no longer count; `domicile apply` repairs them from good ones"
        }
        _ => "some objects could not be read; nothing is concluded from that",
    };
    terminal::say(global, next);
    Ok(outcome)
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

fn targets(world: &World, args: &ScrubArgs) -> anyhow::Result<Vec<Target>> {
    let mut names = BTreeSet::new();
    for name in &args.datasets {
        names.insert(world.dataset(name)?.name.clone());
    }
    if let Some(backend) = &args.backend {
        world.backend(backend)?;
    }
    let mut targets = Vec::new();
    for (name, known) in &world.observed.datasets {
        if !names.is_empty() && !names.contains(name) {
            continue;
        }
        let wanted = |copy: &&domicile_estate::Copy| {
            copy.state != CopyState::Retiring
                && args.backend.as_ref().is_none_or(|b| b == copy.backend.as_str())
        };
        let mut copies: Vec<_> = known.copies.iter().filter(wanted).collect();
        copies.sort_by_key(|copy| !copy.origin);
        targets.extend(copies.into_iter().map(|copy| Target {
            dataset: name.clone(),
            backend: copy.backend.clone(),
            origin: copy.origin,
            bytes: known.summary.bytes.0,
            objects: known.summary.objects,
        }));
    }
    Ok(targets)
}

fn row(target: &Target, inspected: &Inspected) -> Value {
    let damaged = inspected
        .damaged
        .iter()
        .map(|(key, reason)| json!({"key": key.as_str(), "message": reason}));
    let unread = inspected.unread.iter().map(ToString::to_string);
    json!({
        "dataset": target.dataset.as_str(), "backend": target.backend.as_str(), "origin": target.origin,
        "whole": inspected.whole, "damaged": damaged.collect::<Vec<_>>(),
        "gone": inspected.gone.iter().map(|key| key.as_str()).collect::<Vec<_>>(),
        "unread": unread.collect::<Vec<_>>(),
    })
}

fn tell(global: &Global, target: &Target, inspected: &Inspected) {
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
    for failure in inspected.unread.iter().take(TOLD_DAMAGE) {
        terminal::say(
            global,
            &format!("not read: dataset `{}`: {failure}", target.dataset),
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

/// `dataset import`.
pub async fn import(global: &Global, args: &ImportArgs) -> anyhow::Result<Outcome> {
    // Every mistake that the command line and the manifests have is found before the catalogue is made.
    let fresh = crate::reading::fresh_sources(&args.files)?;
    let reading = open_to_read(global).await?;
    let existed = reading.path().is_some();
    let before = Ruling::read(global, &reading, fresh.clone(), args.files.prune).await?;
    reading.close().await;
    let options = options(&before, args)?;
    let kinds: Vec<_> = before.target_kinds().into_iter().collect();
    let mut inventory = Inventory::open(&args.inventory, &kinds)?;
    let catalogue = open_to_write(global).await?;
    let lock = catalogue.lock()?;
    let ruling = Ruling::read(global, &catalogue, fresh, args.files.prune).await?;
    let summary = match take_inventory(&catalogue, &ruling, &mut inventory, options).await {
        Ok(summary) => summary,
        Err(error) => {
            drop(lock);
            if !existed {
                unmake(&catalogue).await;
            }
            return Err(error);
        }
    };
    catalogue
        .record_manifests(&manifests_to_record(&ruling.manifests), &ruling.pruned)
        .await?;
    tell_import(global, &summary, args.trust_inventory)
}

fn options(ruling: &Ruling, args: &ImportArgs) -> anyhow::Result<ImportOptions> {
    let domains = ruling.manifests.domains.keys().map(DomainName::as_str);
    let domain = ruling.manifests.domains.get(args.domain.as_str());
    let domain = domain.ok_or_else(|| crate::world::unknown("domain", &args.domain, domains))?;
    let backend = args
        .backend
        .as_deref()
        .map(|name| ruling.backend(name))
        .transpose()?;
    let mut origin_prefix = args.prefix.clone();
    if !origin_prefix.is_empty() && !origin_prefix.ends_with('/') {
        origin_prefix.push('/');
    }
    if origin_prefix.starts_with('/') || origin_prefix.split('/').any(|part| part == "..") {
        return Err(Refusal::usage(format!(
            "`{}` is no prefix below a backend's root",
            args.prefix
        )));
    }
    Ok(ImportOptions {
        domain: domain.name.clone(),
        backend: backend.map(|b| b.name.clone()),
        origin_prefix,
        trust: args.trust_inventory,
    })
}

async fn take_inventory(
    catalogue: &Catalogue,
    ruling: &Ruling,
    inventory: &mut Inventory,
    options: ImportOptions,
) -> anyhow::Result<ImportSummary> {
    let has_backend = options.backend.is_some();
    let mut import = catalogue.begin_import(options).await?;
    let mut checked = None;
    loop {
        let rows = inventory.next_batch(BATCH)?;
        if rows.is_empty() {
            break;
        }
        check_replicas(ruling, &rows, has_backend, &mut checked)?;
        import.add(&rows).await?;
    }
    Ok(import.commit().await?)
}

/// Checks that every row says where its dataset lies and names backends that there are. Rows share their replicas, so
/// that those of the row before need no further look.
fn check_replicas(
    ruling: &Ruling,
    rows: &[InventoryRow],
    has_backend: bool,
    checked: &mut Option<Arc<[BackendName]>>,
) -> anyhow::Result<()> {
    for row in rows {
        if checked
            .as_ref()
            .is_some_and(|checked| Arc::ptr_eq(checked, &row.replicas))
        {
            continue;
        }
        anyhow::ensure!(
            has_backend || !row.replicas.is_empty(),
            "line {}: nothing says where dataset `{}` lies: name its backend with `--backend`, or in a column `replicas`",
            row.line,
            row.dataset
        );
        for backend in row.replicas.iter() {
            ruling
                .backend(backend.as_str())
                .with_context(|| format!("line {}, column `replicas`", row.line))?;
        }
        *checked = Some(Arc::clone(&row.replicas));
    }
    Ok(())
}

/// Takes a catalogue away that was made for an import which was then refused: a refusal changes nothing.
async fn unmake(catalogue: &Catalogue) {
    let Some(path) = catalogue.path().map(Path::to_path_buf) else {
        return;
    };
    catalogue.close().await;
    for ending in ["", "-wal", "-shm", ".lock"] {
        let mut file = path.clone().into_os_string();
        file.push(ending);
        let _ = std::fs::remove_file(file);
    }
    if let Some(folder) = path.parent() {
        // Only if nothing else is in it.
        let _ = std::fs::remove_dir(folder);
    }
}

fn tell_import(global: &Global, summary: &ImportSummary, trusted: bool) -> anyhow::Result<Outcome> {
    let document = json!({
        "datasets": summary.datasets, "datasetsAdded": summary.datasets_added, "objects": summary.objects,
        "objectsAdded": summary.objects_added, "bytes": summary.bytes.0, "copiesAdded": summary.copies_added,
    });
    if !answer::structured(global.output, &document, std::slice::from_ref(&document))? {
        terminal::answer(&format!(
            "{} datasets with {} objects, {}; new are {} datasets, {} objects and {} copies",
            summary.datasets,
            summary.objects,
            summary.bytes,
            summary.datasets_added,
            summary.objects_added,
            summary.copies_added
        ));
    }
    if !trusted {
        terminal::say(
            global,
            "what the inventory says of copies is unknown until `domicile dataset scrub` has read them",
        );
    }
    Ok(Outcome::Done)
}
