//! A look at the stores before planning: which backends are there, and what lies at the origins. Nothing is recorded
//! and no object is read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use domicile_catalogue::{CatalogueError, DatasetSource, ListedObject, OriginListing};
use domicile_estate::{
    Backend, BackendName, ByteCount, Dataset, DatasetName, ObjectKey, ObservedDataset, Origin, OriginFinding,
    StoreKind,
};
use domicile_movers::{Failure, FailureClass};
use domicile_worker::{Listed, ListedKind};
use futures::StreamExt as _;

use crate::apart;
use crate::cli::Global;
use crate::progress::{self, Counters};
use crate::world::World;

/// Listings under way at once.
const LISTINGS: usize = 8;
/// Objects read from the catalogue at once.
const PAGE: u32 = 4_096;

/// What a look found.
#[derive(Debug, Default)]
pub struct Sight {
    /// Backends that were looked at: there, or why not.
    pub reach: BTreeMap<BackendName, Result<(), String>>,
    /// What lies at each origin that could be listed.
    pub listings: Vec<OriginListing>,
    /// What a person should know, such as an origin with nothing in it.
    pub remarks: Vec<String>,
}

impl Sight {
    /// What was listed: nothing where the prefix is not there. Any other failure says that the backend is out of reach.
    fn listed_or_lost(
        &mut self,
        origin: &Origin,
        result: Result<Vec<Listed>, Failure>,
    ) -> Option<Vec<Listed>> {
        match result {
            Ok(listed) => Some(listed),
            Err(failure) if failure.class == FailureClass::SourceGone => Some(Vec::new()),
            Err(failure) => {
                self.reach
                    .insert(origin.backend.clone(), Err(failure.to_string()));
                None
            }
        }
    }
}

/// Looks at every backend that was out of reach or holds what we recorded, and lists every origin whose content is
/// not taken on trust.
pub async fn look(global: &Global, world: &World) -> anyhow::Result<Sight> {
    apart::refuse_aliases(world)?;
    let mut sight = Sight::default();
    let origins = origins_to_list(world);
    let _watch = progress::watch(global, "looking at origins", (0, 0), Counters::default());
    look_at_roots(world, &mut sight).await;
    let lost: BTreeSet<BackendName> = sight
        .reach
        .iter()
        .filter(|(_, reach)| reach.is_err())
        .map(|(backend, _)| backend.clone())
        .collect();
    let reachable: Vec<_> = origins
        .into_iter()
        .filter(|(_, origin)| !lost.contains(&origin.backend))
        .collect();
    let (shared, own): (Vec<_>, Vec<_>) = reachable
        .into_iter()
        .partition(|(dataset, _)| is_of_inventory(world, &dataset.name));
    let others = CopiesOn::origins(world, shared.iter().chain(&own));
    let others = &others;
    let results: Vec<_> = futures::stream::iter(own)
        .map(|(dataset, origin)| async move {
            let skip = paths_of_others(world, others, Some(&dataset.name), origin);
            (dataset, origin, list(world, origin, &skip).await)
        })
        .buffered(LISTINGS)
        .collect()
        .await;
    for (dataset, origin, result) in results {
        take(world, &mut sight, dataset, origin, result);
    }
    look_at_inventories(world, &mut sight, others, &shared).await?;
    Ok(sight)
}

fn is_of_inventory(world: &World, dataset: &DatasetName) -> bool {
    let row = world.registered.get(dataset);
    row.is_some_and(|row| row.source == DatasetSource::Inventory)
}

/// Many datasets of an inventory lie below one prefix, and only the inventory says which object is whose. The place is
/// listed once; what no dataset has registered is nobody's.
async fn look_at_inventories(
    world: &World,
    sight: &mut Sight,
    others: &CopiesOn<'_>,
    shared: &[(&Dataset, &Origin)],
) -> Result<(), CatalogueError> {
    let mut by_place: BTreeMap<(&BackendName, &str), Vec<(&Dataset, &Origin)>> = BTreeMap::new();
    for (dataset, origin) in shared {
        by_place
            .entry((&origin.backend, &origin.prefix))
            .or_default()
            .push((dataset, origin));
    }
    for datasets in by_place.values() {
        let Some((_, origin)) = datasets.first() else {
            continue;
        };
        let skip = paths_of_others(world, others, None, origin);
        let result = list(world, origin, &skip).await;
        let Some(listed) = sight.listed_or_lost(origin, result) else {
            continue;
        };
        let files = listed.into_iter().filter(|entry| entry.kind == ListedKind::File);
        let files: BTreeMap<String, Listed> = files.map(|entry| (entry.path.clone(), entry)).collect();
        for (dataset, origin) in datasets {
            let listing = registered_part(world, dataset, origin, &files).await?;
            sight.listings.push(listing);
        }
    }
    Ok(())
}

/// What is there of the objects that a dataset has registered.
async fn registered_part(
    world: &World,
    dataset: &Dataset,
    origin: &Origin,
    files: &BTreeMap<String, Listed>,
) -> Result<OriginListing, CatalogueError> {
    let mut listing = empty_listing(dataset, origin);
    let mut after: Option<ObjectKey> = None;
    loop {
        let page = world
            .catalogue
            .objects(&dataset.name, after.as_ref(), PAGE)
            .await?;
        let Some(last) = page.last() else {
            return Ok(listing);
        };
        after = Some(last.object.key.clone());
        for numbered in page {
            let key = numbered.object.key;
            if let Some(entry) = files.get(&format!("{}{key}", origin.prefix)) {
                let (size, modified_ms) = (ByteCount(entry.size), entry.modified_ms);
                listing.objects.push(ListedObject {
                    key,
                    size,
                    modified_ms,
                });
            }
        }
    }
}

fn empty_listing(dataset: &Dataset, origin: &Origin) -> OriginListing {
    OriginListing {
        dataset: dataset.name.clone(),
        origin: origin.clone(),
        objects: Vec::new(),
        findings: Vec::new(),
    }
}

/// The origins that a plan looks at: not those that a trusted inventory vouches for, nor those that were retired.
fn origins_to_list(world: &World) -> Vec<(&Dataset, &Origin)> {
    let wanted = |dataset: &&Dataset| {
        let Some(row) = world.registered.get(&dataset.name) else {
            return true;
        };
        let same = row.dataset.origin == dataset.origin;
        let settled = same && (row.origin_trusted || row.origin_retiring);
        !settled && row.released_origin.as_deref() != dataset.origin.as_ref()
    };
    let with_origin = |dataset| -> Option<(&Dataset, &Origin)> {
        let dataset: &Dataset = dataset;
        Some((dataset, dataset.origin.as_ref()?))
    };
    world
        .datasets
        .values()
        .map(Arc::as_ref)
        .filter(wanted)
        .filter_map(with_origin)
        .collect()
}

/// A root that once held data and is gone or empty is out of reach, never empty.
async fn look_at_roots(world: &World, sight: &mut Sight) {
    let datasets = world.observed.datasets.values();
    let copies = datasets
        .flat_map(ObservedDataset::holders)
        .filter(|copy| !copy.trusted);
    let holding: BTreeSet<_> = copies.map(|copy| copy.backend.clone()).collect();
    for (name, backend) in &world.manifests.backends {
        let was_lost = world.observed.unreachable.contains_key(name);
        let may_be_gone = backend.store.kind == StoreKind::Fs && holding.contains(name);
        if !was_lost && !may_be_gone {
            continue;
        }
        let mut reach = Ok(());
        if may_be_gone {
            reach = match world.worker.is_empty_or_gone(name).await {
                Ok(false) => Ok(()),
                Ok(true) => Err(format!(
                    "backend `{name}`: the root `{}` is gone or empty, though copies are recorded there; is it mounted?",
                    backend.store.option("root")
                )),
                Err(failure) => Err(failure.to_string()),
            };
        }
        if was_lost && reach.is_ok() {
            let may_be_new = world.may_be_new(backend);
            reach = world
                .worker
                .probe(name, false, may_be_new)
                .await
                .map(|_| ())
                .map_err(|failure| failure.to_string());
        }
        sight.reach.insert(name.clone(), reach);
    }
}

async fn list(world: &World, origin: &Origin, skip: &[String]) -> Result<Vec<Listed>, Failure> {
    world
        .worker
        .list(&origin.backend, &origin.prefix, skip)
        .await?
        .all()
        .await
}

/// The datasets of which backends hold copies that are no origins, by backend. One look through all datasets serves
/// every origin that is listed.
struct CopiesOn<'w>(BTreeMap<&'w BackendName, BTreeSet<&'w str>>);

impl<'w> CopiesOn<'w> {
    /// The copies on the backends of some origins.
    fn origins<'o>(world: &'w World, origins: impl Iterator<Item = &'o (&'o Dataset, &'w Origin)>) -> Self
    where
        'w: 'o,
    {
        Self::on(world, origins.map(|(_, origin)| &origin.backend))
    }

    /// The copies on some backends.
    fn on(world: &'w World, backends: impl Iterator<Item = &'w BackendName>) -> Self {
        let mut on: BTreeMap<_, BTreeSet<&str>> =
            backends.map(|backend| (backend, BTreeSet::new())).collect();
        if on.is_empty() {
            return Self(on);
        }
        for (name, observed) in &world.observed.datasets {
            for copy in observed.copies.iter().filter(|copy| !copy.origin) {
                if let Some(names) = on.get_mut(&copy.backend) {
                    names.insert(name.as_str());
                }
            }
        }
        for (backend, name) in &world.presumed {
            if let Some(names) = on.get_mut(backend) {
                names.insert(name.as_str());
            }
        }
        Self(on)
    }

    /// The folders of copies that a listing below a prefix can meet: every entry of it is held against each of them. A
    /// copy's folder is its dataset's name and has no slash.
    fn met_below(&self, origin: &Origin) -> impl Iterator<Item = &'w str> {
        let names = self.0.get(&origin.backend);
        let (within, below) = match origin.prefix.split_once('/') {
            Some((first, _)) => (names.and_then(|names| names.get(first)), None),
            None => {
                let from = (Bound::Included(origin.prefix.as_str()), Bound::Unbounded);
                (None, names.map(|names| names.range::<str, _>(from)))
            }
        };
        let prefix = origin.prefix.clone();
        let below = below.into_iter().flatten();
        within
            .into_iter()
            .chain(below.take_while(move |name| name.starts_with(&prefix)))
            .copied()
    }
}

/// What lies below an origin's prefix and is not part of it: our copies of other datasets on the same backend, and
/// the roots of other backends inside this one.
fn paths_of_others(
    world: &World,
    others: &CopiesOn<'_>,
    dataset: Option<&DatasetName>,
    origin: &Origin,
) -> Vec<String> {
    let met = others.met_below(origin).map(str::to_owned);
    let is_other = |name: &String| dataset.is_none_or(|own| own.as_str() != name);
    let mut paths: Vec<String> = met.filter(is_other).collect();
    if let Some(backend) = world.manifests.backends.get(&origin.backend) {
        paths.extend(not_of_backend(world, backend));
    }
    paths
}

/// What lies below a backend's root and is not of that backend: our own house, and the roots of other backends.
pub fn not_of_backend(world: &World, backend: &Backend) -> Vec<String> {
    let mut paths = Vec::new();
    if backend.store.kind != StoreKind::Fs {
        return paths;
    }
    // Our own house, wherever it stands: the quickstart's copies and a catalogue are no objects of an origin.
    paths.push(".domicile".to_owned());
    let root = format!("{}/", backend.store.option("root").trim_end_matches('/'));
    let catalogue = world
        .catalogue
        .path()
        .and_then(|path| std::fs::canonicalize(path).ok());
    if let Some(below) = catalogue
        .as_ref()
        .and_then(|path| path.to_str()?.strip_prefix(&root))
    {
        paths.extend(["", "-wal", "-shm", ".lock"].map(|ending| format!("{below}{ending}")));
    }
    let others = world
        .manifests
        .backends
        .values()
        .filter(|b| b.store.kind == StoreKind::Fs && b.name != backend.name);
    paths
        .extend(others.filter_map(|other| other.store.option("root").strip_prefix(&root).map(str::to_owned)));
    paths
}

/// Lists a place that may become origins: without our copies of other datasets there, and without other backends' roots.
pub async fn list_place(
    world: &World,
    dataset: Option<&DatasetName>,
    origin: &Origin,
) -> Result<Vec<Listed>, Failure> {
    let skip = match world.manifests.backends.get_key_value(&origin.backend) {
        Some((backend, _)) => {
            let others = CopiesOn::on(world, std::iter::once(backend));
            paths_of_others(world, &others, dataset, origin)
        }
        None => Vec::new(),
    };
    match list(world, origin, &skip).await {
        Err(failure) if failure.class == FailureClass::SourceGone => Ok(Vec::new()),
        other => other,
    }
}

/// What was listed at one origin, as it is recorded.
pub fn listing_of(world: &World, dataset: &Dataset, origin: &Origin, listed: Vec<Listed>) -> OriginListing {
    let mut sight = Sight::default();
    take(world, &mut sight, dataset, origin, Ok(listed));
    let listing = sight.listings.pop();
    listing.unwrap_or_else(|| empty_listing(dataset, origin))
}

fn take(
    world: &World,
    sight: &mut Sight,
    dataset: &Dataset,
    origin: &Origin,
    result: Result<Vec<Listed>, Failure>,
) {
    let Some(listed) = sight.listed_or_lost(origin, result) else {
        return;
    };
    if listed.is_empty() {
        sight.remarks.push(format!(
            "dataset `{}`: nothing lies at its origin, prefix `{}` of backend `{}`",
            dataset.name, origin.prefix, origin.backend
        ));
    }
    let kinds = world.target_kinds();
    let mut listing = empty_listing(dataset, origin);
    for entry in listed {
        let below = entry
            .path
            .strip_prefix(&origin.prefix)
            .unwrap_or(&entry.path)
            .to_owned();
        match register(&dataset.name, &below, &entry, &kinds) {
            Ok(object) => listing.objects.push(object),
            Err(finding) => listing.findings.push(finding),
        }
    }
    sight.listings.push(listing);
}

/// Takes what was listed as an object, if every store that copies may be made on can hold it byte for byte.
fn register(
    dataset: &DatasetName,
    path: &str,
    entry: &Listed,
    kinds: &BTreeSet<StoreKind>,
) -> Result<ListedObject, OriginFinding> {
    let shown = || path.escape_debug().to_string();
    match entry.kind {
        ListedKind::File => {}
        kind @ (ListedKind::NotUtf8 | ListedKind::OuterWhiteSpace) => {
            let reason = kind.refusal().unwrap_or("it is no object").to_owned();
            return Err(OriginFinding::RefusedKey { key: shown(), reason });
        }
        ListedKind::SymbolicLink | ListedKind::Special => {
            return Err(OriginFinding::NotAFile { key: shown() });
        }
    }
    let checked = ObjectKey::new(path).and_then(|key| {
        kinds.iter().try_for_each(|kind| key.fits(dataset, *kind))?;
        Ok(key)
    });
    match checked {
        Ok(key) => Ok(ListedObject {
            key,
            size: ByteCount(entry.size),
            modified_ms: entry.modified_ms,
        }),
        Err(refusal) => Err(OriginFinding::RefusedKey {
            key: shown(),
            reason: refusal.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_meets_only_the_copies_below_or_around_its_prefix() {
        let backend = BackendName::new("b").unwrap();
        let names = ["plants", "plants-2", "stones"];
        let others = CopiesOn(BTreeMap::from([(&backend, BTreeSet::from(names))]));
        let met = |prefix: &str| {
            let origin = Origin {
                backend: backend.clone(),
                prefix: prefix.to_owned(),
            };
            others.met_below(&origin).collect::<Vec<_>>()
        };
        assert_eq!(met(""), names);
        assert_eq!(met("plants/"), ["plants"]);
        assert_eq!(met("plants/of/hesse/"), ["plants"]);
        assert_eq!(met("plant"), ["plants", "plants-2"]);
        assert!(met("birds/").is_empty());
    }
}
