//! Whether the folders of an estate are apart: what manifests say of them by name, the file system may contradict by links
//! and mounts.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use domicile_estate::{AccessMode, Backend, BackendName, DatasetName, StoreKind};
use domicile_movers::Place;
use domicile_placement::{Action, Move};
use domicile_worker::{Cancel, Sameness};

use crate::carry::one_place;
use crate::world::World;

/// A folder as the file system knows it.
struct Folder<'a> {
    backend: &'a Backend,
    root: PathBuf,
    /// The root, the folder that it lies in, and so on, each as the file system numbers it.
    inodes: Vec<Option<Inode>>,
}

/// The number of a folder on its device.
type Inode = (u64, u64);

impl<'a> Folder<'a> {
    fn of(backend: &'a Backend) -> Self {
        let root = resolved(Path::new(backend.store.option("root")));
        let inode = |folder: &Path| {
            std::fs::metadata(folder)
                .ok()
                .map(|found| (found.dev(), found.ino()))
        };
        Self {
            inodes: root.ancestors().map(inode).collect(),
            backend,
            root,
        }
    }

    fn inode(&self) -> Option<Inode> {
        self.inodes.first().copied().flatten()
    }

    /// What leads from this root to another one in it; `None` where that does not lie in it, under whatever name.
    fn leads_to(&self, other: &Folder<'_>) -> Option<PathBuf> {
        if let Ok(below) = other.root.strip_prefix(&self.root) {
            return Some(below.to_path_buf());
        }
        let inode = self.inode()?;
        let at = other.inodes.iter().position(|above| *above == Some(inode))?;
        let around = other.root.ancestors().nth(at)?;
        other.root.strip_prefix(around).ok().map(Path::to_path_buf)
    }
}

/// Two folders that are one place under two names would count as two copies, and retiring one would delete both.
pub fn refuse_aliases(world: &World) -> anyhow::Result<()> {
    let backends = world.manifests.backends.values();
    let folders: Vec<Folder<'_>> = backends
        .filter(|backend| backend.store.kind == StoreKind::Fs)
        .map(Folder::of)
        .collect();
    let (mut paths, mut inodes) = (BTreeMap::new(), BTreeMap::new());
    for folder in &folders {
        let name = &folder.backend.name;
        let by_path = paths.insert(&folder.root, name);
        // The same folder may be mounted at two places.
        let by_inode = folder.inode().and_then(|inode| inodes.insert(inode, name));
        if let Some(other) = by_path.or(by_inode) {
            anyhow::bail!(
                "the backends `{other}` and `{name}` are one folder under two names, `{}`: their copies would be one; \
                 take one of them out of the manifests",
                folder.root.display()
            );
        }
    }
    refuse_nested(world, &folders)
}

/// The same for stores on other machines, of which only trying tells: where two backends name one bucket and one root and
/// only their addresses differ, a mark is put into the one that a plan changes and looked for in the others.
pub async fn refuse_one_bucket(world: &World, moves: &[Move]) -> anyhow::Result<()> {
    let touched = moves.iter().map(|planned| match &planned.action {
        Action::Copy { to, .. } => to,
        Action::Retire { from } => from,
    });
    let touched: BTreeSet<&BackendName> = touched.collect();
    let mut alike: BTreeMap<(StoreKind, [&str; 3]), Vec<&Backend>> = BTreeMap::new();
    for backend in world.manifests.backends.values() {
        let remote = !matches!(backend.store.kind, StoreKind::Fs | StoreKind::Memory);
        if remote && !world.observed.unreachable.contains_key(&backend.name) {
            let named =
                ["bucket", "container", "root"].map(|name| backend.store.option(name).trim_matches('/'));
            alike
                .entry((backend.store.kind, named))
                .or_default()
                .push(backend);
        }
    }
    let at = |backend: &Backend| Place {
        backend: backend.name.clone(),
        path: String::new(),
    };
    let hands = (&*world.catalogue, &*world.worker);
    for backends in alike.into_values() {
        let mut tried: BTreeSet<&BackendName> = BTreeSet::new();
        for first in backends.iter().filter(|backend| touched.contains(&backend.name)) {
            tried.insert(&first.name);
            let others = backends.iter().filter(|other| !tried.contains(&other.name));
            let places: Vec<Place> = others.map(|other| at(other)).collect();
            if places.is_empty() {
                continue;
            }
            let untold = match one_place(hands, &at(first), &places, &Cancel::new()).await? {
                Ok(Sameness {
                    same: Some(other), ..
                }) => anyhow::bail!(
                    "the backends `{}` and `{other}` are one place under two addresses: their copies would be one; take \
                     one of them out of the manifests",
                    first.name
                ),
                Ok(sameness) => sameness.untold.into_values().collect(),
                Err(failure) => vec![failure],
            };
            // What hinders looking hinders copying as well, and is told there.
            for failure in untold {
                tracing::info!("whether it is one place with others is not known: {failure}");
            }
        }
    }
    Ok(())
}

/// A copy lies in a folder of its dataset's name: no root and no origin may lie in there.
fn refuse_nested(world: &World, folders: &[Folder<'_>]) -> anyhow::Result<()> {
    let takes = |folder: &&Folder<'_>| folder.backend.access_mode == AccessMode::ReadWrite;
    // Most estates have no roots within each other, and then no dataset has to be looked at.
    let mut near: BTreeMap<&BackendName, Vec<(&Folder<'_>, Way)>> = BTreeMap::new();
    for inner in folders {
        let name = &inner.backend.name;
        for outer in folders.iter().filter(takes).filter(|f| f.backend.name != *name) {
            if let Some(below) = outer.leads_to(inner) {
                if let Some(dataset) = copy_at(world, &below) {
                    anyhow::bail!(
                        "the root of backend `{name}` lies where the copy of `{dataset}` on `{}` would lie, in `{}`: \
                         their copies would be one; keep the roots apart",
                        outer.backend.name,
                        outer.root.display()
                    );
                }
                near.entry(name).or_default().push((outer, Way::Down(below)));
            } else if let Some(above) = inner.leads_to(outer) {
                near.entry(name).or_default().push((outer, Way::Up(above)));
            }
        }
    }
    for dataset in world.datasets.values().filter(|_| !near.is_empty()) {
        let Some(origin) = &dataset.origin else { continue };
        let Some(outers) = near.get(&origin.backend) else {
            continue;
        };
        for (outer, way) in outers {
            if let Some(copy) = way.to(&origin.prefix).and_then(|below| copy_at(world, &below)) {
                anyhow::bail!(
                    "the origin of dataset `{}` lies where the copy of `{copy}` on `{}` would lie, in `{}`: they would \
                     be one; keep the roots apart",
                    dataset.name,
                    outer.backend.name,
                    outer.root.display()
                );
            }
        }
    }
    Ok(())
}

/// How one root lies to another.
enum Way {
    /// It lies in the other: what leads there.
    Down(PathBuf),
    /// The other lies in it: what leads from it to the other.
    Up(PathBuf),
}

impl Way {
    /// What leads from the other root to a prefix below this one, if that lies there.
    fn to(&self, prefix: &str) -> Option<PathBuf> {
        match self {
            Self::Down(way) => Some(way.join(prefix)),
            Self::Up(way) => Path::new(prefix).strip_prefix(way).ok().map(Path::to_path_buf),
        }
    }
}

/// The dataset in the folder of whose copy a path below a root lies.
fn copy_at<'w>(world: &'w World, below: &Path) -> Option<&'w DatasetName> {
    let folder = below.components().next()?.as_os_str().to_str()?;
    let dataset = world.datasets.get(&DatasetName::new(folder).ok()?)?;
    Some(&dataset.name)
}

/// A path with its symbolic links followed, as far as it exists.
pub fn resolved(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(real) = std::fs::canonicalize(ancestor) {
            let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return real.join(rest);
        }
    }
    path.to_path_buf()
}
