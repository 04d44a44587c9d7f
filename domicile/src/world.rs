//! What a command works on: manifests, datasets, and what is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domicile_catalogue::{
    Catalogue, CatalogueError, CertificateRow, DatasetSource, Known, ManifestRow, Mode, OriginDiff,
    Registered,
};
use domicile_estate::{
    AccessMode, Backend, BackendName, ByteCount, CopyState, Dataset, DatasetName, Observed, ObservedDataset,
    StoreKind,
};
use domicile_placement::Problem;
use domicile_policies::{Manifests, Source};
use domicile_worker::{CredentialValues, Limits, LinkLimits, Stores, Worker};
use serde_json::Value;

use crate::carry::now_ms;
use crate::cli::{Files, Global};
use crate::{certificate, look, reading, taken};

/// What a command works on.
pub struct World {
    /// The catalogue.
    pub catalogue: Arc<Catalogue>,
    /// Every manifest in force: fresh ones and those that the catalogue holds.
    pub manifests: Manifests,
    /// Kind and name of what the catalogue holds and `--prune` takes away.
    pub pruned: Vec<(String, String)>,
    /// Datasets of manifests and inventories.
    pub datasets: BTreeMap<DatasetName, Arc<Dataset>>,
    /// Datasets as the catalogue has them.
    pub registered: BTreeMap<DatasetName, Registered>,
    /// Backends whose manifest points to another place than before: what was verified there was verified elsewhere.
    pub moved: BTreeSet<BackendName>,
    /// What is known.
    pub observed: Observed,
    /// Folders on backends that are taken for copies of datasets although none is recorded: while a catalogue is rebuilt.
    pub presumed: BTreeSet<(BackendName, DatasetName)>,
    /// What stores have shown when they were tried out.
    pub certificates: BTreeMap<BackendName, CertificateRow>,
    /// What a look at the stores found.
    pub sight: look::Sight,
    /// How origins differ from what is registered.
    pub diffs: Vec<OriginDiff>,
    /// The mover's hands.
    pub worker: Arc<Worker>,
}

/// Whether a backend can be asked for what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The last that was asked of it was answered.
    There,
    /// The last probe or move failed: what it holds counts as it is recorded.
    Silent,
    /// No manifest describes it any more: what it holds counts for nothing.
    Gone,
}

impl Reach {
    /// For programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::There => "Reachable",
            Self::Silent => "Unreachable",
            Self::Gone => "NotInManifests",
        }
    }

    /// A state of a copy with what is to be known of its backend, for people.
    pub fn beside(self, state: &str) -> String {
        match self {
            Self::There => state.to_owned(),
            Self::Silent => format!("{state}; out of reach"),
            Self::Gone => format!("{state}; backend is in no manifest"),
        }
    }
}

/// Opens the catalogue to read; a missing one reads as empty and is not made.
pub async fn open_to_read(global: &Global) -> anyhow::Result<Arc<Catalogue>> {
    Ok(Arc::new(
        Catalogue::open(&global.catalogue, Mode::ReadOnly).await?,
    ))
}

/// Opens the catalogue to write; a missing one is made.
pub async fn open_to_write(global: &Global) -> anyhow::Result<Arc<Catalogue>> {
    Ok(Arc::new(
        Catalogue::open(&global.catalogue, Mode::ReadWrite).await?,
    ))
}

/// Every manifest in force: the fresh ones and, unless they are pruned, those that the catalogue holds.
pub fn in_force(
    global: &Global,
    stored: &[ManifestRow],
    fresh: Vec<Source>,
    prune: bool,
) -> anyhow::Result<Manifests> {
    let mut sources = fresh;
    if !prune {
        sources.extend(stored.iter().map(|row| Source {
            name: format!("catalogue: {} {}", row.kind, row.name),
            text: row.json.clone(),
            folder: "/".to_owned(),
            stored: true,
        }));
    }
    reading::manifests(global, &sources)
}

/// The manifests in force beside those that the catalogue holds.
pub struct Ruling {
    /// Every manifest in force.
    pub manifests: Manifests,
    /// Kind and name of what the catalogue holds and `--prune` takes away.
    pub pruned: Vec<(String, String)>,
    /// Backends whose manifest points to another place than before.
    pub moved: BTreeSet<BackendName>,
}

impl Ruling {
    /// Reads the manifests alone; what is known of datasets stays unread.
    pub async fn read(
        global: &Global,
        catalogue: &Catalogue,
        fresh: Vec<Source>,
        prune: bool,
    ) -> anyhow::Result<Self> {
        let stored = catalogue.manifests().await?;
        let manifests = in_force(global, &stored, fresh, prune)?;
        let kept: BTreeSet<_> = manifests
            .documents
            .iter()
            .map(|d| (d.kind.as_str(), d.name.as_str()))
            .collect();
        let pruned = stored
            .iter()
            .filter(|row| !kept.contains(&(row.kind.as_str(), row.name.as_str())))
            .map(|row| (row.kind.clone(), row.name.clone()))
            .collect();
        Ok(Self {
            moved: moved_backends(&stored, &manifests),
            manifests,
            pruned,
        })
    }

    /// A backend by name.
    pub fn backend(&self, name: &str) -> anyhow::Result<&Backend> {
        backend(&self.manifests, name)
    }

    /// The kinds of stores that copies may be made on.
    pub fn target_kinds(&self) -> BTreeSet<StoreKind> {
        target_kinds(&self.manifests)
    }
}

impl World {
    /// Reads the manifests and the catalogue; touches no store.
    pub async fn load(global: &Global, catalogue: Arc<Catalogue>, files: &Files) -> anyhow::Result<Self> {
        let fresh = reading::fresh_sources(files)?;
        Self::load_from(global, catalogue, fresh, files.prune).await
    }

    /// The same from sources that were read already.
    pub async fn load_from(
        global: &Global,
        catalogue: Arc<Catalogue>,
        fresh: Vec<Source>,
        prune: bool,
    ) -> anyhow::Result<Self> {
        let Ruling {
            manifests,
            pruned,
            moved,
        } = Ruling::read(global, &catalogue, fresh, prune).await?;
        let Known {
            registered,
            mut observed,
        } = catalogue.known(&minimums(&manifests)).await?;
        let datasets = datasets(&manifests, &registered);
        doubt(&mut observed, &moved);
        let backends: Vec<&Backend> = manifests.backends.values().collect();
        let worker = Worker::new(
            Stores::open(&backends, CredentialValues::from_environment()).behind(links(&manifests)),
            limits(global),
        );
        let certificates = catalogue.certificates().await?;
        for (name, row) in &certificates {
            let backend = manifests.backends.get(name);
            let shown = backend.and_then(|backend| certificate::relied_on(row, &backend.store, now_ms()));
            if let Some(shown) = shown {
                worker.rely_on(name, &shown);
            }
        }
        Ok(Self {
            certificates,
            catalogue,
            moved,
            pruned,
            datasets,
            registered,
            observed,
            presumed: BTreeSet::new(),
            sight: look::Sight::default(),
            diffs: Vec::new(),
            worker: Arc::new(worker),
            manifests,
        })
    }

    /// Looks at the stores: whether backends that were out of reach or held data are there, and what lies at the
    /// origins. Records nothing; `observed` is then what would be known if it were recorded.
    pub async fn look(&mut self, global: &Global) -> anyhow::Result<()> {
        self.sight = look::look(global, self).await?;
        let known = std::mem::take(&mut self.observed);
        let foreseen = self
            .catalogue
            .observed_with(known, &minimums(&self.manifests), &self.sight.listings)
            .await?;
        self.observed = foreseen.observed;
        doubt(&mut self.observed, &self.moved);
        self.diffs = foreseen.diffs;
        for (backend, reach) in &self.sight.reach {
            match reach {
                Ok(()) => self.observed.unreachable.remove(backend),
                Err(reason) => self.observed.unreachable.insert(backend.clone(), reason.clone()),
            };
        }
        Ok(())
    }

    /// The placement problem as things stand.
    pub async fn problem(&self) -> Result<Problem, CatalogueError> {
        let taken = taken::folders(self).await?;
        let mut problem = domicile_placement::pose(&self.manifests, &self.datasets, &self.observed);
        domicile_placement::keep_out(&mut problem, &taken);
        Ok(problem)
    }

    /// Forgets what is known of copies, to make room: the problem that was posed has it all. What was found at origins
    /// is still to be told.
    pub fn forget_copies(&mut self) {
        self.registered = BTreeMap::new();
        let datasets = &mut self.observed.datasets;
        datasets.retain(|_, known| !known.findings.is_empty());
    }

    /// A dataset by name, also one that no manifest describes any more: its copies are still there.
    pub fn dataset(&self, name: &str) -> anyhow::Result<&Arc<Dataset>> {
        let forgotten = || self.registered.get(name).map(|row| &row.dataset);
        let known = self.datasets.keys().map(DatasetName::as_str);
        self.datasets
            .get(name)
            .or_else(forgotten)
            .ok_or_else(|| unknown("dataset", name, known))
    }

    /// A backend by name.
    pub fn backend(&self, name: &str) -> anyhow::Result<&Backend> {
        backend(&self.manifests, name)
    }

    /// Whether a backend can be asked for what it holds, as it is recorded.
    pub fn reach(&self, backend: &BackendName) -> Reach {
        if !self.manifests.backends.contains_key(backend) {
            Reach::Gone
        } else if self.observed.unreachable.contains_key(backend) {
            Reach::Silent
        } else {
            Reach::There
        }
    }

    /// Whether a backend's root may be yet to be made: it may be written, and nothing is recorded there.
    pub fn may_be_new(&self, backend: &Backend) -> bool {
        let mut copies = self.observed.datasets.values().flat_map(ObservedDataset::holders);
        backend.access_mode == AccessMode::ReadWrite && !copies.any(|copy| copy.backend == backend.name)
    }

    /// The kinds of stores that copies may be made on.
    pub fn target_kinds(&self) -> BTreeSet<StoreKind> {
        target_kinds(&self.manifests)
    }
}

/// The bounds of the worker of this process.
pub fn limits(global: &Global) -> Limits {
    Limits {
        memory_bytes: global.memory.0,
        ..Limits::default()
    }
}

/// The links that limit what goes over them.
pub fn links(manifests: &Manifests) -> Vec<LinkLimits> {
    let limited = manifests.limited_ways().into_iter();
    let links = limited.filter_map(|((link, _), ways)| {
        let limits = manifests.links.get(&link)?.limits.clone()?;
        Some(LinkLimits { limits, ways })
    });
    links.collect()
}

fn backend<'a>(manifests: &'a Manifests, name: &str) -> anyhow::Result<&'a Backend> {
    let known = manifests.backends.keys().map(BackendName::as_str);
    let found = manifests.backends.get(name);
    found.ok_or_else(|| unknown("backend", name, known))
}

fn target_kinds(manifests: &Manifests) -> BTreeSet<StoreKind> {
    let backends = manifests.backends.values();
    let targets = backends.filter(|b| b.access_mode == AccessMode::ReadWrite);
    targets.map(|backend| backend.store.kind).collect()
}

/// Datasets of manifests and, where no manifest describes them, of inventories.
fn datasets(
    manifests: &Manifests,
    registered: &BTreeMap<DatasetName, Registered>,
) -> BTreeMap<DatasetName, Arc<Dataset>> {
    let of_inventories = registered.iter().filter(|(name, row)| {
        row.source == DatasetSource::Inventory && !manifests.datasets.contains_key(*name)
    });
    let of_inventories = of_inventories.map(|(name, row)| (name.clone(), Arc::clone(&row.dataset)));
    let of_manifests = manifests.datasets.iter();
    of_manifests
        .map(|(name, dataset)| (name.clone(), Arc::new(as_it_lies(dataset, registered.get(name)))))
        .chain(of_inventories)
        .collect()
}

/// A dataset with the origin that it has: where its manifest still names one that is lost, that which took its place.
fn as_it_lies(dataset: &Dataset, row: Option<&Registered>) -> Dataset {
    let mut dataset = dataset.clone();
    if let Some(row) = row
        && row.released_origin.as_deref() == dataset.origin.as_ref()
        && row.dataset.origin.is_some()
    {
        dataset.origin.clone_from(&row.dataset.origin);
    }
    dataset
}

/// Backends of which the stored and the fresh manifest name different places.
fn moved_backends(stored: &[ManifestRow], manifests: &Manifests) -> BTreeSet<BackendName> {
    let place = |json: &str| {
        let manifest: Value = serde_json::from_str(json).ok()?;
        let store = manifest.get("spec")?.get("store")?;
        Some(["type", "root", "bucket", "endpoint"].map(|field| store.get(field).cloned()))
    };
    let fresh = manifests
        .documents
        .iter()
        .filter(|d| d.kind == "Backend" && !d.stored);
    fresh
        .filter(|document| {
            let before = stored
                .iter()
                .find(|row| row.kind == "Backend" && row.name == document.name);
            before.is_some_and(|row| place(&row.json) != place(&document.json))
        })
        .filter_map(|document| BackendName::new(&document.name).ok())
        .collect()
}

/// Copies on a backend that points elsewhere now are unknown, as the catalogue will have it.
fn doubt(observed: &mut Observed, moved: &BTreeSet<BackendName>) {
    for dataset in observed.datasets.values_mut() {
        for copy in dataset
            .copies
            .iter_mut()
            .filter(|copy| moved.contains(&copy.backend))
        {
            copy.trusted = false;
            if copy.origin {
                copy.state = CopyState::Listed;
            } else {
                copy.state = CopyState::Unknown;
                copy.missing_bytes = dataset.summary.bytes;
                copy.missing_objects = dataset.summary.objects;
            }
        }
    }
}

/// The minimum object sizes that the estate's backends bill.
pub fn minimums(manifests: &Manifests) -> Vec<ByteCount> {
    let sizes: BTreeSet<ByteCount> = manifests
        .backends
        .values()
        .map(|b| b.price.min_object_size)
        .collect();
    sizes.into_iter().collect()
}

/// The error for a name that nothing has, with the nearest name that something has.
pub fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> anyhow::Error {
    let near = known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min();
    match near {
        Some((_, candidate)) => {
            anyhow::anyhow!(
                "there is no {what} `{}`; did you mean `{candidate}`?",
                name.escape_debug()
            )
        }
        None => anyhow::anyhow!(
            "there is no {what} `{}`: `domicile get {what}s` lists what there is, `-f` adds manifests",
            name.escape_debug()
        ),
    }
}
