//! `dataset import --scan`: what lies in a place becomes datasets where it lies, and a further scan notices what is new,
//! gone or changed. What its owner changed is read and becomes a new version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;
use domicile_catalogue::{DatasetSource, ListedObject, NewVersion, OriginDiff, OriginListing, Versioned};
use domicile_estate::{Dataset, DatasetName, ObjectKey, Origin};
use domicile_movers::{Digests, Place, Seen};
use domicile_policies::Source;
use domicile_worker::{Cancel, Listed, Progress};
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::plan::manifests_to_record;
use crate::answer;
use crate::cli::{Global, ImportArgs};
use crate::look;
use crate::outcome::{Outcome, Refusal};
use crate::progress::{self, Counters, Meter};
use crate::render::plan::plural;
use crate::render::table;
use crate::terminal;
use crate::world::{World, open_to_read, open_to_write};

/// Changed objects read at once.
const OBJECTS: usize = 8;
/// Changed objects recorded at once.
const BATCH: usize = 256;
/// What is told one by one.
const TOLD: usize = 20;

/// One dataset of a scan.
struct Found {
    name: DatasetName,
    prefix: String,
    /// Whether it was known before.
    known: bool,
    listed: Vec<Listed>,
}

/// What a scan found in its place.
struct Scan {
    found: Vec<Found>,
    /// Objects beside the folders that belong to no dataset.
    beside: u64,
    /// Folders whose names cannot be those of datasets.
    refused: BTreeSet<String>,
}

/// What a scan brought for one dataset.
struct Taken {
    diff: OriginDiff,
    versioned: Versioned,
    /// Changed objects that could not be read as they were listed.
    unread: Vec<String>,
}

/// `dataset import --scan`.
pub async fn scan(global: &Global, args: &ImportArgs, place: &str) -> anyhow::Result<Outcome> {
    let fresh = crate::reading::fresh_sources(&args.files)?;
    let reading = open_to_read(global).await?;
    let before = World::load_from(global, reading, fresh.clone(), args.files.prune).await?;
    let root = place_of(&before, place)?;
    let scan = find(&before, args, &root).await?;
    let domain = domain(&before, args, &root)?;
    let mut sources = fresh;
    sources.extend(manifests(args, &scan, &root, &domain)?);
    // Every mistake is found before the catalogue is made or changed.
    let reading = open_to_read(global).await?;
    World::load_from(global, reading, sources.clone(), args.files.prune).await?;
    let catalogue = open_to_write(global).await?;
    let _lock = catalogue.lock()?;
    let world = World::load_from(global, catalogue, sources, args.files.prune).await?;
    world
        .catalogue
        .record_manifests(&manifests_to_record(&world.manifests), &world.pruned)
        .await?;
    let mut rows = Vec::new();
    let mut outcome = Outcome::Done;
    for found in scan.found {
        let (name, known) = (found.name.clone(), found.known);
        let taken = take(global, &world, found).await?;
        if !taken.unread.is_empty() {
            outcome = outcome.or(Outcome::MovesFailed);
        }
        tell_one(global, &name, &taken);
        rows.push(row(&name, known, &taken));
    }
    tell(global, &root, (scan.beside, &scan.refused), &rows)?;
    Ok(outcome)
}

/// The place that was named: a backend, or a part of it.
fn place_of(world: &World, place: &str) -> anyhow::Result<Origin> {
    let (backend, prefix) = place.split_once('/').unwrap_or((place, ""));
    let backend = world.backend(backend)?.name.clone();
    let prefix = match prefix.trim_end_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    if prefix.starts_with('/') || prefix.split('/').any(|part| part == ".." || part == ".") {
        return Err(Refusal::usage(format!(
            "`{place}` is no backend with a prefix below its root, such as `nas/photos`"
        )));
    }
    Ok(Origin { backend, prefix })
}

/// The owner of new datasets.
fn domain(world: &World, args: &ImportArgs, root: &Origin) -> anyhow::Result<String> {
    match &args.domain {
        Some(domain) => Ok(domain.clone()),
        None => Ok(world.backend(root.backend.as_str())?.domain.to_string()),
    }
}

async fn find(world: &World, args: &ImportArgs, root: &Origin) -> anyhow::Result<Scan> {
    let at = |prefix: &str| {
        let mut datasets = world.datasets.values();
        datasets.find(|dataset| {
            let origin = dataset.origin.as_ref();
            origin.is_some_and(|origin| origin.backend == root.backend && origin.prefix == prefix)
        })
    };
    let whole = match (&args.name, at(&root.prefix)) {
        (Some(name), _) => Some(DatasetName::new(name).map_err(|error| Refusal::usage(error.to_string()))?),
        (None, Some(known)) => Some(known.name.clone()),
        (None, None) => None,
    };
    let listed = look::list_place(world, whole.as_ref(), root).await;
    let listed = listed.with_context(|| format!("`{}/{}` could not be listed", root.backend, root.prefix))?;
    let mut scan = Scan {
        found: Vec::new(),
        beside: 0,
        refused: BTreeSet::new(),
    };
    if let Some(name) = whole {
        let known = known_there(world, &name, root)?;
        scan.found.push(Found {
            name,
            prefix: root.prefix.clone(),
            known,
            listed,
        });
    } else {
        let mut folders: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
        for entry in listed {
            let below = entry.path.strip_prefix(&root.prefix).unwrap_or(&entry.path);
            match below.split_once('/') {
                Some((folder, _)) => folders.entry(folder.to_owned()).or_default().push(entry),
                None => scan.beside += 1,
            }
        }
        for (folder, listed) in folders {
            let prefix = format!("{}{folder}/", root.prefix);
            let name = match at(&prefix) {
                Some(known) => Ok(known.name.clone()),
                None => DatasetName::new(&folder),
            };
            let Ok(name) = name else {
                scan.refused.insert(folder);
                continue;
            };
            let origin = Origin {
                backend: root.backend.clone(),
                prefix: prefix.clone(),
            };
            let known = known_there(world, &name, &origin)?;
            scan.found.push(Found {
                name,
                prefix,
                known,
                listed,
            });
        }
    }
    refuse_nothing(world, root, &scan).await?;
    Ok(scan)
}

/// Whether a dataset is known with this origin. One of this name with another origin is somebody else's.
fn known_there(world: &World, name: &DatasetName, origin: &Origin) -> anyhow::Result<bool> {
    let Some(dataset) = world.datasets.get(name) else {
        return Ok(false);
    };
    match &dataset.origin {
        Some(known) if known == origin => Ok(true),
        Some(known) => anyhow::bail!(
            "there is a dataset `{name}` already, with its origin at `{}/{}`: give this one another name with `--as`",
            known.backend,
            known.prefix
        ),
        None => anyhow::bail!("there is a dataset `{name}` already: give this one another name with `--as`"),
    }
}

/// Nothing found is no news where the store may just not be mounted.
async fn refuse_nothing(world: &World, root: &Origin, scan: &Scan) -> anyhow::Result<()> {
    if scan.found.iter().any(|found| !found.listed.is_empty()) {
        return Ok(());
    }
    let shown = format!("{}/{}", root.backend, root.prefix);
    if scan.found.iter().any(|found| found.known) {
        let gone = world.worker.is_empty_or_gone(&root.backend).await?;
        anyhow::ensure!(
            !gone,
            "nothing lies on backend `{}` any more: is it mounted?",
            root.backend
        );
        return Ok(());
    }
    anyhow::ensure!(
        scan.beside == 0,
        "there is no folder in `{shown}`, only objects: `--as NAME` takes them as one dataset"
    );
    anyhow::bail!("nothing lies in `{shown}`")
}

/// Manifests of the datasets that are new.
fn manifests(args: &ImportArgs, scan: &Scan, root: &Origin, domain: &str) -> anyhow::Result<Vec<Source>> {
    let mut labels = BTreeMap::new();
    for label in &args.label {
        let (name, value) = label
            .split_once('=')
            .ok_or_else(|| Refusal::usage(format!("`{label}` is no label: write `name=value`")))?;
        labels.insert(name, value);
    }
    let new = scan.found.iter().filter(|found| !found.known);
    Ok(new
        .map(|found| Source {
            name: format!("scan of {}/{}", root.backend, found.prefix),
            text: json!({
                "apiVersion": "domicile.dev/v1alpha1", "kind": "Dataset",
                "metadata": {"name": found.name.as_str(), "labels": labels},
                "spec": {
                    "domain": domain,
                    "origin": {"backend": root.backend.as_str(), "prefix": found.prefix},
                },
            })
            .to_string(),
            folder: "/".to_owned(),
            stored: false,
        })
        .collect())
}

async fn take(global: &Global, world: &World, found: Found) -> anyhow::Result<Taken> {
    let dataset = Arc::clone(world.dataset(found.name.as_str())?);
    let origin = dataset
        .origin
        .clone()
        .context("a scanned dataset has an origin")?;
    let source = world
        .registered
        .get(&dataset.name)
        .map_or(DatasetSource::Manifest, |row| row.source);
    anyhow::ensure!(
        source == DatasetSource::Manifest,
        "dataset `{}` came by an inventory, which alone says what belongs to it: import that again",
        dataset.name
    );
    let catalogue = &world.catalogue;
    catalogue.register_dataset(&dataset, source).await?;
    let listing = look::listing_of(world, &dataset, &origin, found.listed);
    let diff = catalogue.record_origin(&listing).await?;
    let (versioned, unread) = renew(global, world, (&dataset, &origin), &diff.changed).await?;
    Ok(Taken {
        diff: refused_shown(diff, &listing),
        versioned,
        unread,
    })
}

fn refused_shown(diff: OriginDiff, listing: &OriginListing) -> OriginDiff {
    OriginDiff {
        refused: listing.findings.clone(),
        ..diff
    }
}

/// Reads what was changed, and takes it as new versions.
async fn renew(
    global: &Global,
    world: &World,
    (dataset, origin): (&Dataset, &Origin),
    changed: &[ListedObject],
) -> anyhow::Result<(Versioned, Vec<String>)> {
    let meter = Arc::new(Meter::default());
    let total = (changed.iter().map(|o| o.size.0).sum(), changed.len() as u64);
    let counters = Counters {
        meter: Arc::clone(&meter),
        moved: None,
    };
    let _watch = progress::watch(global, "reading what was changed", total, counters);
    let mut versioned = Versioned::default();
    let mut unread = Vec::new();
    for batch in changed.chunks(BATCH) {
        let reads: Vec<_> = batch
            .iter()
            .map(|object| read(world, origin, object.clone()))
            .collect();
        let mut results = futures::stream::iter(reads).buffered(OBJECTS);
        let mut versions = Vec::new();
        while let Some((size, result)) = results.next().await {
            meter.add_object();
            meter.add_bytes(size);
            match result {
                Ok(version) => versions.push(version),
                Err(reason) => unread.push(reason),
            }
        }
        let taken = world
            .catalogue
            .record_versions(&dataset.name, &origin.backend, &versions);
        let taken = taken.await?;
        versioned.replaced += taken.replaced;
        versioned.touched += taken.touched;
    }
    Ok((versioned, unread))
}

async fn read(world: &World, origin: &Origin, object: ListedObject) -> (u64, Result<NewVersion, String>) {
    let size = object.size.0;
    let place = Place {
        backend: origin.backend.clone(),
        path: format!("{}{}", origin.prefix, object.key),
    };
    let progress = Arc::new(Progress::new());
    // Nobody knows yet what is right.
    let judge = |_: &Seen| None;
    let cancel = Cancel::new();
    let seen = world
        .worker
        .read_surely(&place, Digests::Blake3, &judge, &progress, &cancel)
        .await;
    let version = match seen {
        Ok(seen) if seen.size == size => Ok(NewVersion {
            key: object.key,
            size: object.size,
            modified_ms: object.modified_ms,
            sha256: seen.sha256,
            blake3: seen.blake3,
        }),
        Ok(_) => Err(format!(
            "object `{}` changes while it is read",
            shown(&object.key)
        )),
        Err(failure) => Err(failure.to_string()),
    };
    (size, version)
}

fn shown(key: &ObjectKey) -> String {
    key.as_str().escape_debug().to_string()
}

fn tell_one(global: &Global, name: &DatasetName, taken: &Taken) {
    for key in taken.diff.gone.iter().take(TOLD) {
        let text = format!(
            "dataset `{name}`: object `{}` is no longer at the origin; its copies stay",
            shown(key)
        );
        terminal::say(global, &text);
    }
    for finding in taken.diff.refused.iter().take(TOLD) {
        let (_, key, meaning) = super::plan::describe_finding(finding);
        terminal::say(global, &format!("dataset `{name}`: object `{key}` {meaning}"));
    }
    for reason in taken.unread.iter().take(TOLD) {
        terminal::say(
            global,
            &format!("dataset `{name}`: not taken as a new version: {reason}"),
        );
    }
}

fn row(name: &DatasetName, known: bool, taken: &Taken) -> Value {
    json!({
        "dataset": name.as_str(), "registered": if known { "before" } else { "now" },
        "new": taken.diff.added.len(), "newVersions": taken.versioned.replaced, "touched": taken.versioned.touched,
        "gone": taken.diff.gone.len(), "refused": taken.diff.refused.len(), "unread": taken.unread.len(),
    })
}

fn tell(
    global: &Global,
    root: &Origin,
    (beside, refused): (u64, &BTreeSet<String>),
    rows: &[Value],
) -> anyhow::Result<()> {
    let names = rows.iter().filter_map(|row| row["dataset"].as_str());
    if !answer::structured(global.output, &answer::list(rows), rows)? && !answer::names(global.output, names)
    {
        let mut table = table::table(&["dataset", "registered", "new", "new versions", "gone", "refused"]);
        for row in rows {
            let text = |field: &str| row[field].as_str().unwrap_or("").to_owned();
            let number = |field: &str| row[field].as_u64().unwrap_or_default().to_string();
            table.add_row([
                text("dataset"),
                text("registered"),
                number("new"),
                number("newVersions"),
                number("gone"),
                number("refused"),
            ]);
        }
        terminal::answer(&table::text(&table));
    }
    if beside > 0 {
        let objects = plural(usize::try_from(beside).unwrap_or(usize::MAX), "object", "objects");
        let place = format!("{}/{}", root.backend, root.prefix);
        terminal::say(
            global,
            &format!(
                "{objects} beside the folders of `{place}` belong to no dataset; `--as NAME` takes all as one"
            ),
        );
    }
    for folder in refused {
        let text = format!(
            "the folder `{}` has no name that a dataset can have",
            folder.escape_debug()
        );
        terminal::say(global, &text);
    }
    let renewed = rows.iter().any(|row| row["newVersions"].as_u64() > Some(0));
    if renewed {
        terminal::say(
            global,
            "copies keep the old versions until the next `apply` replaces them, one copy after the other",
        );
    }
    Ok(())
}
