//! Folders on backends that belong to the origins of datasets: no copy of a dataset of the folder's name may lie there.
//! Whoever carries a copy refuses to write into one; here a plan is told before.

use std::collections::{BTreeMap, BTreeSet};

use domicile_catalogue::{Catalogue, CatalogueError, DatasetSource, OriginListing};
use domicile_estate::{BackendName, Dataset, DatasetName, Origin};
use domicile_placement::TakenFolder;

use crate::world::World;

/// What lies at the top of backends of origins whose prefixes name no folder, and whose it is.
type Tops = BTreeMap<BackendName, BTreeMap<String, DatasetName>>;

/// As it is recorded. Of inventories, which may be huge, only the prefixes are looked at, here and below.
async fn recorded(catalogue: &Catalogue, world: &World) -> Result<Tops, CatalogueError> {
    let without_folder = origins(world).filter(|(dataset, origin)| {
        let row = world.registered.get(&dataset.name);
        !origin.prefix.contains('/') && row.is_some_and(|row| row.source != DatasetSource::Inventory)
    });
    let backends: BTreeSet<&BackendName> = without_folder.map(|(_, origin)| &origin.backend).collect();
    let mut tops = Tops::new();
    for backend in backends {
        tops.insert(backend.clone(), catalogue.origin_folders(backend).await?);
    }
    Ok(tops)
}

/// Adds what was just listed.
fn add_listed(tops: &mut Tops, listings: &[OriginListing]) {
    let without_folder = listings.iter().filter(|one| !one.origin.prefix.contains('/'));
    for listing in without_folder {
        let at_backend = tops.entry(listing.origin.backend.clone()).or_default();
        let mut last = "";
        for object in &listing.objects {
            let first = object.key.as_str().split('/').next().unwrap_or_default();
            if first != last {
                last = first;
                let top = format!("{}{first}", listing.origin.prefix);
                at_backend.entry(top).or_insert_with(|| listing.dataset.clone());
            }
        }
    }
}

/// Every folder that a dataset could have for a copy and that belongs to the origin of another.
pub async fn folders(world: &World) -> Result<Vec<TakenFolder>, CatalogueError> {
    let mut tops = recorded(&world.catalogue, world).await?;
    add_listed(&mut tops, &world.sight.listings);
    let mut taken = BTreeSet::new();
    let mut take = |folder: &str, backend: &BackendName, owner: &DatasetName| {
        if folder != owner.as_str()
            && let Some(dataset) = world.datasets.get(folder)
        {
            taken.insert(TakenFolder {
                dataset: dataset.name.clone(),
                backend: backend.clone(),
                owner: owner.clone(),
            });
        }
    };
    let mut last: Option<(&Origin, &DatasetName)> = None;
    for (dataset, origin) in origins(world) {
        let Some((folder, _)) = origin.prefix.split_once('/') else {
            continue;
        };
        // An inventory's datasets mostly share one place.
        let same = last.is_some_and(|(other, owner)| other == origin && owner.as_str() != folder);
        let known = world.observed.datasets.get(&dataset.name);
        if !same && known.is_some_and(|known| known.summary.objects > 0) {
            take(folder, &origin.backend, &dataset.name);
            last = Some((origin, &dataset.name));
        }
    }
    for (backend, tops) in &tops {
        for (top, owner) in tops {
            take(top, backend, owner);
        }
    }
    let mut taken: Vec<TakenFolder> = taken.into_iter().collect();
    // One owner is enough to be told.
    taken.dedup_by(|a, b| (&a.dataset, &a.backend) == (&b.dataset, &b.backend));
    Ok(taken)
}

/// The origins that are there, or will be once the manifests are recorded.
fn origins(world: &World) -> impl Iterator<Item = (&Dataset, &Origin)> {
    world.datasets.values().filter_map(|dataset| {
        let origin = dataset.origin.as_ref()?;
        let row = world.registered.get(&dataset.name);
        let released = row.and_then(|row| row.released_origin.as_deref());
        (released != Some(origin)).then_some((dataset.as_ref(), origin))
    })
}
