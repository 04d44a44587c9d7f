//! What lies where, when nothing is known any more: each backend is listed once, and by the first part of its path each
//! object is told whose copy it may be.

use std::collections::{BTreeMap, BTreeSet};

use domicile_catalogue::OriginListing;
use domicile_estate::{AccessMode, Backend, BackendName, DatasetName, ObjectKey};
use domicile_movers::{DIGEST_LISTS, Failure, FailureClass, list_at};
use domicile_worker::ListedKind;

use crate::look;
use crate::world::World;

/// Objects in what may be a copy: their sizes by key.
pub type Objects = BTreeMap<ObjectKey, u64>;

/// What lies on the backends.
#[derive(Debug, Default)]
pub struct Lying {
    /// Per dataset and backend what lies below `<root>/<dataset>/`.
    pub copies: BTreeMap<DatasetName, BTreeMap<BackendName, Objects>>,
    /// Per dataset the lists of digests: on which backend, and what each is called.
    pub lists: BTreeMap<DatasetName, Vec<(BackendName, String)>>,
    /// Top folders, or objects at the root, that belong to no dataset we know, with the number of objects in them.
    pub strangers: BTreeMap<(BackendName, String), u64>,
    /// Backends that could not be listed, with the reason.
    pub unlisted: BTreeMap<BackendName, Failure>,
    /// Backends whose lists of digests could not be found out, with the reason.
    pub without_lists: BTreeMap<BackendName, Failure>,
}

impl Lying {
    /// Lists every backend. What belongs to an origin is passed over.
    pub async fn find(world: &World) -> Self {
        let mut lying = Self::default();
        for backend in world.manifests.backends.values() {
            let origins: Vec<(&DatasetName, &str)> = world
                .datasets
                .values()
                .filter_map(|dataset| Some((dataset, dataset.origin.as_ref()?)))
                .filter(|(_, origin)| origin.backend == backend.name)
                .map(|(dataset, origin)| (&dataset.name, origin.prefix.as_str()))
                .collect();
            if let Err(failure) = lying.list(world, backend, &origins).await {
                lying.unlisted.insert(backend.name.clone(), failure);
            } else if let Err(failure) = lying.find_lists(world, backend).await {
                lying.without_lists.insert(backend.name.clone(), failure);
            }
        }
        lying
    }

    async fn list(
        &mut self,
        world: &World,
        backend: &Backend,
        origins: &[(&DatasetName, &str)],
    ) -> Result<(), Failure> {
        let skip = look::not_of_backend(world, backend);
        let mut listing = world.worker.list(&backend.name, "", &skip).await?;
        while let Some(page) = listing.next_page().await {
            for entry in page?.into_iter().filter(|entry| entry.kind == ListedKind::File) {
                self.take(world, backend, origins, (&entry.path, entry.size));
            }
        }
        Ok(())
    }

    async fn find_lists(&mut self, world: &World, backend: &Backend) -> Result<(), Failure> {
        let folder = format!("{DIGEST_LISTS}/");
        let mut listing = world.worker.list(&backend.name, &folder, &[]).await?;
        while let Some(page) = listing.next_page().await {
            let page = match page {
                // There are none.
                Err(failure) if failure.class == FailureClass::SourceGone => return Ok(()),
                page => page?,
            };
            for entry in page {
                if let Some((dataset, blake3)) = list_at(&entry.path)
                    && let Some((name, _)) = world.datasets.get_key_value(dataset)
                {
                    let lists = self.lists.entry(name.clone()).or_default();
                    lists.push((backend.name.clone(), blake3.to_owned()));
                }
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        world: &World,
        backend: &Backend,
        origins: &[(&DatasetName, &str)],
        (path, size): (&str, u64),
    ) {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let dataset = world.datasets.get_key_value(first).map(|(name, _)| name);
        let may_be_copy = |name: &&DatasetName| {
            !origins
                .iter()
                .any(|(owner, prefix)| owner == name || holds(prefix, path))
        };
        if let (Some(name), Ok(key)) = (dataset.filter(may_be_copy), ObjectKey::new(rest)) {
            let copies = self.copies.entry(name.clone()).or_default();
            copies.entry(backend.name.clone()).or_default().insert(key, size);
            return;
        }
        if !origins.iter().any(|(_, prefix)| path.starts_with(prefix)) {
            let stranger = (backend.name.clone(), first.to_owned());
            *self.strangers.entry(stranger).or_default() += 1;
        }
    }
}

/// Whether an origin with a folder of its own has the path. One that begins at the root has everything but our copies.
fn holds(prefix: &str, path: &str) -> bool {
    !prefix.is_empty() && path.starts_with(prefix)
}

/// The datasets of which copies may lie in the same root as an origin without a folder of its own: until it is known
/// better, a folder there with such a name is no part of that origin.
pub fn presumed(world: &World) -> BTreeSet<(BackendName, DatasetName)> {
    let mut presumed = BTreeSet::new();
    let rootless = world.datasets.values().filter_map(|dataset| {
        let origin = dataset
            .origin
            .as_ref()
            .filter(|origin| !origin.prefix.contains('/'))?;
        let backend = world.manifests.backends.get(&origin.backend)?;
        (backend.access_mode == AccessMode::ReadWrite).then_some((&dataset.name, &origin.backend))
    });
    for (owner, backend) in rootless {
        let others = world.datasets.keys().filter(|name| *name != owner);
        presumed.extend(others.map(|name| (backend.clone(), name.clone())));
    }
    presumed
}

/// Whether a listing found nothing, as that of a lost origin does.
pub fn is_lost(listing: &OriginListing) -> bool {
    listing.objects.is_empty() && listing.findings.is_empty()
}
