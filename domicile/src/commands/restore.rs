//! `dataset restore`: the way back. Each object is taken from the first copy that has the recorded bytes, written, read
//! back and compared.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use domicile_catalogue::{Catalogue, CatalogueLock};
use domicile_estate::{
    AccessMode, Backend, BackendName, ByteCount, Copy, CopyState, Dataset, Origin, Store, StoreKind,
};
use domicile_placement::RefusalKind;
use domicile_scheduler::{Action, CopyOutcome, Event, Step, StepId};
use domicile_worker::{CredentialValues, Progress, Stores, Worker};
use serde_json::json;

use super::apply::carrier;
use crate::answer;
use crate::apart::resolved;
use crate::carry::{self, Layout, Restored, Restoring};
use crate::cli::{Global, RestoreArgs};
use crate::outcome::{Outcome, Refusal};
use crate::progress::{self, Counters, Meter};
use crate::terminal;
use crate::world::{World, limits, links, open_to_read, open_to_write};

/// What a folder outside the estate is called while it is written.
const FOLDER: &str = "the-folder";
/// Objects that are told one by one.
const TOLD: usize = 20;

/// Where a dataset is written back.
enum Target {
    /// Into a folder; it may be the one where the origin lay.
    Folder { root: PathBuf, origin: Option<Origin> },
    /// Where the origin lay.
    Origin(Origin),
    /// A copy like those that `apply` makes.
    Copy(BackendName),
}

impl Target {
    async fn of(world: &World, dataset: &Dataset, args: &RestoreArgs) -> anyhow::Result<Self> {
        let origin = dataset.origin.as_ref().filter(|_| !is_released(world, dataset));
        if let Some(folder) = &args.to {
            let root = std::path::absolute(folder)
                .with_context(|| format!("the folder `{}` has no absolute path", folder.display()))?;
            let same = |origin: &&Origin| {
                let at = folder_of(world, origin);
                at.is_some_and(|at| resolved(&at) == resolved(&root))
            };
            let origin = origin.filter(same).cloned();
            return Ok(Self::Folder { root, origin });
        }
        let backend = world.backend(args.backend.as_deref().unwrap_or_default())?;
        let at_origin = origin.filter(|origin| origin.backend == backend.name);
        refuse_unwanted(world, dataset, backend, at_origin.is_some()).await?;
        Ok(match at_origin {
            Some(origin) => Self::Origin(origin.clone()),
            None => Self::Copy(backend.name.clone()),
        })
    }

    /// The backend of the origin, if what is restored is the origin.
    fn origin(&self) -> Option<&BackendName> {
        match self {
            Self::Folder { origin, .. } => origin.as_ref().map(|origin| &origin.backend),
            Self::Origin(origin) => Some(&origin.backend),
            Self::Copy(_) => None,
        }
    }
}

/// Whether the origin that a dataset names was retired or is lost.
fn is_released(world: &World, dataset: &Dataset) -> bool {
    let row = world.registered.get(&dataset.name);
    row.and_then(|row| row.released_origin.as_deref())
        .is_some_and(|released| Some(released) == dataset.origin.as_ref())
}

/// The folder that an origin lies in, if it lies in one.
fn folder_of(world: &World, origin: &Origin) -> Option<PathBuf> {
    let backend = world.manifests.backends.get(&origin.backend)?;
    let whole = origin.prefix.is_empty() || origin.prefix.ends_with('/');
    (backend.store.kind == StoreKind::Fs && whole)
        .then(|| Path::new(backend.store.option("root")).join(&origin.prefix))
}

/// A copy may lie only where `apply` could make one: a confinement holds here as well (MV-5).
async fn refuse_unwanted(
    world: &World,
    dataset: &Dataset,
    backend: &Backend,
    at_origin: bool,
) -> anyhow::Result<()> {
    if at_origin {
        anyhow::ensure!(
            backend.access_mode == AccessMode::ReadWrite,
            "backend `{}` is read-only: set `accessMode: ReadWrite` in its manifest while the origin is restored, or \
             restore with `--to` into a folder",
            backend.name
        );
        return Ok(());
    }
    let problem = world.problem().await?;
    let position = problem.backend(backend.name.as_str());
    let subject = problem
        .dataset(dataset.name.as_str())
        .map(|at| &problem.datasets[at]);
    let (Some(position), Some(subject)) = (position, subject) else {
        return Ok(());
    };
    let mut against = problem
        .reasons_against(subject, position)
        .map(|reason| &problem.reasons[reason]);
    // Whether it can be reached is about to be seen.
    if let Some(reason) = against.find(|reason| reason.kind != RefusalKind::Unreachable) {
        anyhow::bail!(
            "dataset `{}` may not lie on backend `{}`: {}; restore it to another backend, or with `--to` into a folder",
            dataset.name,
            backend.name,
            reason.message
        );
    }
    Ok(())
}

/// `dataset restore`.
pub async fn restore(global: &Global, args: &RestoreArgs) -> anyhow::Result<Outcome> {
    let world = World::load(global, open_to_read(global).await?, &args.files).await?;
    let dataset = Arc::clone(world.dataset(&args.dataset)?);
    let target = Target::of(&world, &dataset, args).await?;
    let sources = sources(global, &world, &dataset, &target).await?;
    match &target {
        Target::Copy(to) if args.overwrite => Err(Refusal::usage(format!(
            "on backend `{to}` only objects that are recorded as ours are replaced: `--overwrite` is for `--to` and for \
             the origin"
        ))),
        Target::Copy(to) => restore_copy(global, args, (&dataset, to), sources).await,
        _ => restore_objects(global, args, (world, &dataset, &target), &sources).await,
    }
}

/// The copies to read, best first: verified ones, then the origin, then what may be whole in parts. What is read is
/// compared with the recorded digest, so that a doubtful copy does no harm.
async fn sources(
    global: &Global,
    world: &World,
    dataset: &Dataset,
    target: &Target,
) -> anyhow::Result<Vec<BackendName>> {
    let known = world.observed.datasets.get(&dataset.name);
    let rank = |copy: &Copy| match copy.state {
        CopyState::Verified => 0,
        CopyState::Listed => 1,
        CopyState::Incomplete => 2,
        CopyState::Damaged => 3,
        CopyState::Unknown => 4,
        CopyState::Retiring => 5,
    };
    let skipped = |name: &BackendName| match target {
        Target::Copy(to) => to == name,
        _ => target.origin() == Some(name),
    };
    let mut copies: Vec<&Copy> = known.map_or(Vec::new(), |known| known.copies.iter().collect());
    copies.retain(|copy| !skipped(&copy.backend) && world.manifests.backends.contains_key(&copy.backend));
    copies.sort_by_key(|copy| rank(copy));
    let mut sources = Vec::new();
    let mut lost = Vec::new();
    for copy in copies {
        match world.worker.probe(&copy.backend, false, false).await {
            Ok(report) if report.holds_something => sources.push(copy.backend.clone()),
            Ok(_) => lost.push(format!("backend `{}`: nothing lies there", copy.backend)),
            Err(failure) => lost.push(failure.to_string()),
        }
    }
    for reason in &lost {
        terminal::say(global, &format!("left out: {reason}"));
    }
    // What has no objects needs nobody to read them from.
    let empty = known.is_some_and(|known| known.summary.objects == 0);
    anyhow::ensure!(
        empty || !sources.is_empty(),
        "no copy of dataset `{0}` can be read: `domicile whereis {0}` lists what is recorded",
        dataset.name
    );
    Ok(sources)
}

/// The catalogue to record what is restored in, and the right to do so.
async fn to_record(global: &Global) -> anyhow::Result<(Arc<Catalogue>, CatalogueLock)> {
    let catalogue = open_to_write(global).await?;
    let lock = catalogue.lock()?;
    Ok((catalogue, lock))
}

async fn restore_copy(
    global: &Global,
    args: &RestoreArgs,
    (dataset, to): (&Dataset, &BackendName),
    sources: Vec<BackendName>,
) -> anyhow::Result<Outcome> {
    let (catalogue, _lock) = to_record(global).await?;
    let world = World::load(global, catalogue, &args.files).await?;
    let carrier = carrier(&world);
    let known = world.observed.datasets.get(&dataset.name);
    let summary = known.map(|known| known.summary.clone()).unwrap_or_default();
    let (meter, moved) = (Arc::clone(&carrier.meter), Some(Arc::clone(&carrier.progress)));
    let total = (summary.bytes.0, summary.objects);
    let watch = progress::watch(global, "restoring", total, Counters { meter, moved });
    let step = Step {
        id: StepId::new("restore"),
        dataset: dataset.name.clone(),
        action: Action::Copy {
            sources,
            to: to.clone(),
        },
        bytes: summary.bytes,
        room: ByteCount(0),
        objects: summary.objects,
        after: Vec::new(),
        ended: Vec::new(),
        undoes: None,
    };
    // What is recorded there may be gone: that is why one restores.
    if known.is_some_and(|known| known.copy_on(to.as_str()).is_some()) {
        carry::inspect_copy(&carrier, &dataset.name, to).await?;
    }
    let ended = carry::copy(carrier, step).await;
    drop(watch);
    let failure = match ended {
        Event::CopyEnded {
            outcome: CopyOutcome::Failed { reason, .. },
            ..
        } => Some(reason),
        _ => None,
    };
    let document = json!({
        "dataset": dataset.name.as_str(), "to": to.as_str(), "objects": summary.objects, "bytes": summary.bytes.0,
        "failed": failure.iter().map(|reason| json!({"message": reason})).collect::<Vec<_>>(),
    });
    if !answer::structured(global.output, &document, std::slice::from_ref(&document))? && failure.is_none() {
        terminal::answer(&format!(
            "{} objects, {}, lie on backend `{to}` and are verified; the next `apply` keeps them there only if a policy \
             wants them there",
            summary.objects, summary.bytes
        ));
    }
    Ok(match failure {
        None => Outcome::Done,
        Some(reason) => {
            terminal::say(global, &format!("failed: {reason}"));
            Outcome::MovesFailed
        }
    })
}

async fn restore_objects(
    global: &Global,
    args: &RestoreArgs,
    (world, dataset, target): (World, &Dataset, &Target),
    sources: &[BackendName],
) -> anyhow::Result<Outcome> {
    let recording = match target.origin() {
        Some(_) => Some(to_record(global).await?),
        None => None,
    };
    let catalogue = recording
        .as_ref()
        .map_or(&world.catalogue, |(catalogue, _)| catalogue);
    let (worker, name, prefix) = writer(global, &world, target)?;
    let below = dataset_folder(target, &prefix);
    if let Err(failure) = worker.sweep_below(&name, &below).await {
        tracing::info!("nothing was swept: {failure}");
    }
    let layout = Layout::new(
        &world.observed,
        world.datasets.values().map(AsRef::as_ref),
        world.manifests.backends.values(),
    );
    let known = world.observed.datasets.get(&dataset.name);
    let total = known.map_or((0, 0), |known| (known.summary.bytes.0, known.summary.objects));
    let restoring = Restoring {
        catalogue,
        worker: &worker,
        layout: &layout,
        dataset: &dataset.name,
        sources,
        target: &name,
        prefix: &prefix,
        overwrite: args.overwrite,
        origin: target.origin(),
        progress: Arc::new(Progress::new()),
        meter: Arc::new(Meter::default()),
    };
    let counters = Counters {
        meter: Arc::clone(&restoring.meter),
        moved: Some(Arc::clone(&restoring.progress)),
    };
    let watch = progress::watch(global, "restoring", total, counters);
    let restored = restoring.run().await?;
    drop(watch);
    note_damage(global, &restored).await;
    tell(global, (dataset, target), total.1, &restored)
}

/// What temporary files of a killed run lie below.
fn dataset_folder(target: &Target, prefix: &str) -> String {
    match target {
        Target::Folder { .. } => String::new(),
        // Where the prefix is no folder its files begin so, and lie in the folder above.
        _ => prefix
            .rfind('/')
            .map_or(String::new(), |at| prefix[..=at].to_owned()),
    }
}

/// A worker that knows the target, the target's name, and what every key is prefixed with there.
fn writer(global: &Global, world: &World, target: &Target) -> anyhow::Result<(Worker, BackendName, String)> {
    let mut backends: Vec<&Backend> = world.manifests.backends.values().collect();
    let folder = match target {
        Target::Folder { root, .. } => Some(folder_backend(&backends, root)?),
        _ => None,
    };
    backends.extend(&folder);
    let stores = Stores::open(&backends, CredentialValues::from_environment());
    let worker = Worker::new(stores.behind(links(&world.manifests)), limits(global));
    Ok(match (target, folder) {
        (_, Some(folder)) => (worker, folder.name, String::new()),
        (Target::Origin(origin), None) => (worker, origin.backend.clone(), origin.prefix.clone()),
        _ => anyhow::bail!("there is nothing to write to"),
    })
}

/// A folder outside the estate as a place to write to.
fn folder_backend(backends: &[&Backend], root: &Path) -> anyhow::Result<Backend> {
    let model = backends.first().context("the catalogue knows no backend")?;
    let mut name = FOLDER.to_owned();
    while backends.iter().any(|backend| backend.name.as_str() == name) {
        name.push_str("-0");
    }
    let root = root
        .to_str()
        .context("the folder has a name that is no UTF-8 text")?;
    Ok(Backend {
        name: BackendName::new(&name)?,
        store: Store {
            kind: StoreKind::Fs,
            options: [("root".to_owned(), root.to_owned())].into(),
        },
        credentials: None,
        access_mode: AccessMode::ReadWrite,
        ..(*model).clone()
    })
}

/// Damaged copies are recorded, so that they count no more. Restoring does not depend on it.
async fn note_damage(global: &Global, restored: &Restored) {
    for (_, failure) in restored.damaged.iter().take(TOLD) {
        terminal::say(global, &format!("damaged: {failure}"));
    }
    if restored.damaged.is_empty() {
        return;
    }
    let noted = async {
        let catalogue = open_to_write(global).await?;
        for (object, failure) in &restored.damaged {
            let (reason, at_ms) = (failure.to_string(), carry::now_ms());
            catalogue
                .record_damaged(*object, &failure.backend, &reason, at_ms)
                .await?;
        }
        anyhow::Ok(())
    };
    if let Err(error) = noted.await {
        terminal::say(
            global,
            &format!("warning: the damage could not be recorded: {error}"),
        );
    }
}

fn tell(
    global: &Global,
    (dataset, target): (&Dataset, &Target),
    objects: u64,
    restored: &Restored,
) -> anyhow::Result<Outcome> {
    let shown = match target {
        Target::Folder { root, .. } => root.display().to_string(),
        Target::Origin(origin) => format!("{}/{}", origin.backend, origin.prefix),
        Target::Copy(to) => to.to_string(),
    };
    for (key, reason) in restored.failed.iter().take(TOLD) {
        let key = key.as_str().escape_debug();
        terminal::say(global, &format!("failed: object `{key}`: {reason}"));
    }
    let failed = restored
        .failed
        .iter()
        .map(|(key, reason)| json!({"key": key.as_str(), "message": reason}));
    let document = json!({
        "dataset": dataset.name.as_str(), "to": shown, "objects": objects, "written": restored.written,
        "bytesWritten": restored.bytes, "alreadyThere": restored.there, "damagedCopies": restored.damaged.len(),
        "failed": failed.collect::<Vec<_>>(),
    });
    let missing = objects.saturating_sub(restored.written + restored.there);
    if !answer::structured(global.output, &document, std::slice::from_ref(&document))? {
        terminal::answer(&format!(
            "{} of {objects} objects lie in {shown} as they are recorded: {} written and read back ({}), {} were there \
             already",
            restored.written + restored.there,
            restored.written,
            ByteCount(restored.bytes),
            restored.there
        ));
    }
    if missing == 0 {
        return Ok(Outcome::Done);
    }
    let stopped = if restored.stopped {
        ", the rest was not tried"
    } else {
        ""
    };
    terminal::say(
        global,
        &format!("{missing} objects are missing there{stopped}; the same command goes on where it was"),
    );
    Ok(Outcome::MovesFailed)
}
