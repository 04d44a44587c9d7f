//! `apply`: plan, show, ask, record, carry out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use domicile_catalogue::{CatalogueLock, DatasetSource, PlanState, Unswept};
use domicile_estate::BackendName;
use domicile_movers::FailureClass;
use domicile_placement::wire::MoveDocument;
use domicile_placement::{Action, Move};
use domicile_policies::Source;
use domicile_scheduler::{Owners, RetireCaps, Summary, approved};
use domicile_worker::{Cancel, Progress};
use serde_json::{Value, json};

use super::plan::{self, Inputs, Proposal};
use crate::answer;
use crate::apart;
use crate::carry::consign::Leasing;
use crate::carry::{self, Carrier, Layout, Slots, lists};
use crate::cli::{ApplyArgs, Format, Global};
use crate::outcome::{Outcome, Refusal};
use crate::progress::Meter;
use crate::render::plan::plural;
use crate::terminal;
use crate::world::{World, in_force, open_to_read, open_to_write};

/// A text in a folder of manifests that `apply` shows when everything is done.
const NEXT_STEPS: &str = "next-steps.txt";
/// Failed moves that are told one by one.
const TOLD_FAILURES: usize = 20;

/// `apply`.
pub async fn apply(global: &Global, args: &ApplyArgs) -> anyhow::Result<Outcome> {
    if !global.yes && !terminal::can_ask() {
        return Err(Refusal::usage(
            "there is no terminal to ask on: `--yes` applies without asking, `domicile plan` shows what would change",
        ));
    }
    // The files are read before the catalogue is made: a command that refuses its input leaves nothing behind.
    let request = Request::read(args)?;
    request.check(global).await?;
    let catalogue = open_to_write(global).await?;
    let lock = catalogue.lock()?;
    if let Some(inputs) = &request.inputs {
        refuse_if_changed(catalogue.revision().await?, inputs)?;
    }
    let mut world = World::load_from(global, catalogue, request.sources, request.prune).await?;
    world.look(global).await?;
    let proposal = Proposal::of(&world).await?;
    if let Some(digest) = &request.digest
        && *digest != proposal.plan.input_digest
    {
        return Err(Refusal::stale(
            "the plan is stale: what lies at the origins or backends has changed; plan again",
        ));
    }
    let caps = RetireCaps {
        copies: args.max_retire,
        bytes: args.max_retire_bytes,
    };
    let outcome = carry_out(global, &world, &proposal, caps, &lock).await?;
    for file in request.next_steps.iter().filter(|_| outcome == Outcome::Done) {
        terminal::say(global, &std::fs::read_to_string(file).unwrap_or_default());
    }
    Ok(outcome)
}

/// Bytes of a recorded plan that are kept together.
const PART_BYTES: usize = 1 << 20;

/// What is to be applied.
struct Request {
    sources: Vec<Source>,
    prune: bool,
    inputs: Option<Inputs>,
    digest: Option<String>,
    next_steps: Vec<PathBuf>,
}

impl Request {
    fn read(args: &ApplyArgs) -> anyhow::Result<Self> {
        if let Some(path) = &args.plan {
            return Self::read_plan(path);
        }
        let texts = args.files.files.iter().map(|folder| folder.join(NEXT_STEPS));
        Ok(Self {
            sources: crate::reading::fresh_sources(&args.files)?,
            prune: args.files.prune,
            inputs: None,
            digest: None,
            next_steps: texts.filter(|file| file.is_file()).collect(),
        })
    }

    fn read_plan(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        if path.is_dir() {
            return Err(Refusal::usage(format!(
                "`{shown}` is a folder: `domicile apply -f {shown}` applies manifests"
            )));
        }
        let text =
            std::fs::read_to_string(path).with_context(|| format!("the plan `{shown}` could not be read"))?;
        let broken = || format!("`{shown}` is no plan written by `domicile plan --out`");
        let mut document: Value = serde_json::from_str(&text).with_context(broken)?;
        let inputs = document.get_mut("inputs").map(Value::take).with_context(broken)?;
        let inputs: Inputs = serde_json::from_value(inputs).with_context(broken)?;
        let digest = document
            .get("inputDigest")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .with_context(broken)?;
        let sources = inputs.manifests.iter().map(|manifest| Source {
            name: format!("{shown}"),
            text: manifest.to_string(),
            folder: "/".to_owned(),
            stored: false,
        });
        Ok(Self {
            sources: sources.collect(),
            prune: inputs.prune,
            digest: Some(digest),
            inputs: Some(inputs),
            next_steps: Vec::new(),
        })
    }

    /// Finds every mistake of the files, together with what the catalogue holds, before anything is written.
    async fn check(&self, global: &Global) -> anyhow::Result<()> {
        let stored = open_to_read(global).await?.manifests().await?;
        in_force(global, &stored, self.sources.clone(), self.prune)?;
        Ok(())
    }
}

fn refuse_if_changed(revision: u64, inputs: &Inputs) -> anyhow::Result<()> {
    if revision == inputs.catalogue_revision {
        return Ok(());
    }
    Err(Refusal::stale(format!(
        "the plan is stale: it was made at revision {} of the catalogue, which is now at {revision}; plan again",
        inputs.catalogue_revision
    )))
}

async fn carry_out(
    global: &Global,
    world: &World,
    proposal: &Proposal,
    caps: RetireCaps,
    _lock: &CatalogueLock,
) -> anyhow::Result<Outcome> {
    if global.output == Format::Table || global.output == Format::Wide {
        plan::show(global, proposal, world)?;
    } else {
        plan::tell_findings(global, world);
    }
    if !proposal.plan.moves.is_empty() && !global.yes {
        match terminal::confirmed("carry out this plan?") {
            Some(true) => {}
            Some(false) => {
                terminal::say(global, "nothing was changed");
                return Ok(Outcome::Done);
            }
            None => return Err(Refusal::usage("nobody answered: `--yes` applies without asking")),
        }
    }
    sweep_marks(global, world).await?;
    if !proposal.plan.moves.is_empty() {
        apart::refuse_one_bucket(world, &proposal.plan.moves).await?;
    }
    // What an interrupted run had offered is offered anew if this plan wants it, too.
    world.catalogue.withdraw_offers(None).await?;
    record(world).await?;
    keep_waiting(world, proposal).await?;
    let carrier = carrier(world);
    sweep_interrupted(global, &carrier).await?;
    sweep_uploads(global, &carrier).await?;
    let work = approved(&proposal.problem, &proposal.plan);
    let summary = if work.0.is_empty() {
        Summary::default()
    } else {
        record_plan(world, proposal).await?;
        let summary = carry::carry(global, carrier.clone(), proposal.number, work, caps).await?;
        sweep_uploads(global, &carrier).await?;
        let clean = summary.failed.is_empty() && summary.skipped.is_empty();
        let state = match (clean, summary.held.is_empty()) {
            (true, true) => PlanState::Done,
            (true, false) => PlanState::Waiting,
            (false, _) => PlanState::Failed,
        };
        world.catalogue.plan_state(proposal.number, state).await?;
        summary
    };
    if !summary.stopped {
        write_lists(global, world, &carrier).await?;
    }
    tell(global, world, proposal, &summary)
}

/// Writes the lists of digests that are due, until somebody interrupts it.
async fn write_lists(global: &Global, world: &World, carrier: &Carrier) -> anyhow::Result<()> {
    let is_ours = |backend: &BackendName| world.manifests.backends.contains_key(backend);
    let writing = lists::write_due(carrier, &is_ours);
    tokio::pin!(writing);
    let hindered = tokio::select! {
        hindered = &mut writing => hindered?,
        _ = tokio::signal::ctrl_c() => {
            carrier.cancel.cancel();
            writing.await?
        }
    };
    for (backend, (dataset, failure)) in hindered {
        let text = format!(
            "warning: backend `{backend}`: the list of digests of dataset `{dataset}` could not be written there, nor any \
             after it; the next `apply` tries again: {failure}"
        );
        terminal::say(global, &text);
    }
    Ok(())
}

/// A copy that is not to be retired any more waits anew if it is to be later; and what people have ordered of moves that
/// are not planned any more is over.
async fn keep_waiting(world: &World, proposal: &Proposal) -> anyhow::Result<()> {
    let moves = proposal.plan.moves.iter();
    let retired = moves.filter_map(|planned| match &planned.action {
        Action::Retire { from } => Some((&planned.dataset, from)),
        Action::Copy { .. } => None,
    });
    world.catalogue.keep_waiting(&retired.collect()).await?;
    let moves = proposal.plan.moves.iter();
    let moved = moves.map(|planned| match &planned.action {
        Action::Retire { from } => (&planned.dataset, from, true),
        Action::Copy { to, .. } => (&planned.dataset, to, false),
    });
    Ok(world.catalogue.keep_holds(&moved.collect()).await?)
}

/// Records what was read: manifests, datasets, what lies at the origins, which backends are out of reach.
pub async fn record(world: &World) -> anyhow::Result<()> {
    let catalogue = &world.catalogue;
    for backend in &world.moved {
        catalogue.doubt_backend(backend).await?;
    }
    // One that comes again under the name may lead elsewhere, and then nobody would know any more where this one led.
    for (_, name) in world.pruned.iter().filter(|(kind, _)| kind == "Backend") {
        if let Ok(backend) = BackendName::new(name.as_str()) {
            catalogue.doubt_backend(&backend).await?;
        }
    }
    catalogue
        .record_manifests(&plan::manifests_to_record(&world.manifests), &world.pruned)
        .await?;
    for dataset in world.manifests.datasets.values() {
        catalogue
            .register_dataset(dataset, DatasetSource::Manifest)
            .await?;
    }
    for listing in &world.sight.listings {
        catalogue.record_origin(listing).await?;
    }
    for (backend, reach) in &world.sight.reach {
        match reach {
            Ok(()) => catalogue.set_reachable(backend).await?,
            Err(reason) => catalogue.set_unreachable(backend, reason).await?,
        }
    }
    Ok(())
}

/// The carrier of a world's moves.
pub fn carrier(world: &World) -> Carrier {
    Carrier {
        catalogue: Arc::clone(&world.catalogue),
        worker: Arc::clone(&world.worker),
        layout: Arc::new(
            Layout::new(
                &world.observed,
                world.datasets.values().map(Arc::as_ref),
                world.manifests.backends.values(),
            )
            .guarded(&world.observed, &world.datasets, &world.manifests.policies),
        ),
        progress: Arc::new(Progress::new()),
        meter: Arc::new(Meter::default()),
        cancel: Cancel::new(),
        began_ms: carry::now_ms(),
        slots: Slots::new(carry::OBJECTS_UNDER_WAY, owners(world)),
        movings: Arc::default(),
        leasing: Leasing::default(),
        folders: Arc::default(),
        turns: Arc::default(),
    }
}

/// Whose datasets are whose, and what owners weigh.
fn owners(world: &World) -> Owners {
    let domains = world.manifests.domains.values();
    let mut owners = Owners::new(
        domains
            .map(|domain| (domain.name.clone(), domain.weight))
            .collect(),
    );
    for dataset in world.datasets.values() {
        owners.insert(dataset.name.clone(), dataset.domain.clone());
    }
    owners
}

/// Gives up the uploads that runs left behind and nobody goes on with.
pub async fn sweep_uploads(global: &Global, carrier: &Carrier) -> anyhow::Result<()> {
    for unswept in carrier.catalogue.unswept().await? {
        let Unswept {
            dataset,
            backend,
            kept,
        } = &unswept;
        match carrier.worker.sweep_uploads(backend, dataset, kept).await {
            Ok(_) => carrier.catalogue.note_swept(&unswept).await?,
            Err(failure) => terminal::say(
                global,
                &format!("warning: uploads that an interrupted run left stay: {failure}"),
            ),
        }
    }
    Ok(())
}

/// Removes the marks of runs that were killed.
async fn sweep_marks(global: &Global, world: &World) -> anyhow::Result<()> {
    let hands = (&*world.catalogue, &*world.worker);
    let unreachable = &world.observed.unreachable;
    let backends = world.manifests.backends.keys();
    let backends = backends.filter(|name| !unreachable.contains_key(*name)).collect();
    for failure in carry::sweep_marks(hands, &backends, &Cancel::new()).await? {
        terminal::say(
            global,
            &format!("warning: a mark that an interrupted run left stays: {failure}"),
        );
    }
    Ok(())
}

/// Removes the temporary files of runs that were killed, also where the new plan writes nothing.
async fn sweep_interrupted(global: &Global, carrier: &Carrier) -> anyhow::Result<()> {
    for (dataset, backend) in carrier.catalogue.interrupted().await? {
        match carrier.worker.sweep(&backend, &dataset).await {
            Ok(_) => carrier.catalogue.clear_interrupted(&dataset, &backend).await?,
            // It was killed before it had made the root.
            Err(failure)
                if failure.class == FailureClass::StoreMissing && carrier.layout.is_fresh(&backend) =>
            {
                carrier.catalogue.clear_interrupted(&dataset, &backend).await?;
            }
            Err(failure) => terminal::say(
                global,
                &format!("warning: what an interrupted run left stays: {failure}"),
            ),
        }
    }
    Ok(())
}

/// Records the plan and its moves. What it says of satisfied datasets beside where they lie is left out: at a million
/// datasets that is more than a database takes, and `plan` and `why` say it again.
async fn record_plan(world: &World, proposal: &Proposal) -> anyhow::Result<()> {
    let mut parts = Parts::default();
    serde_json::to_writer(&mut parts, &proposal.wire().brief())?;
    let moves = proposal.plan.moves.iter();
    let moves = moves.map(|planned| (planned.id.to_string(), MoveDocument::from(planned)));
    let digest = &proposal.plan.input_digest;
    Ok(world
        .catalogue
        .record_plan(proposal.number, digest, parts.0, moves)
        .await?)
}

/// A text in parts, none much longer than the others: none is ever moved to make room for more.
#[derive(Default)]
struct Parts(Vec<Vec<u8>>);

impl std::io::Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.last_mut() {
            Some(part) if part.len() + bytes.len() <= PART_BYTES => part.extend_from_slice(bytes),
            _ => {
                let mut part = Vec::with_capacity(PART_BYTES.max(bytes.len()));
                part.extend_from_slice(bytes);
                self.0.push(part);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Tells of moves one by one, as far as one can read them.
fn say_each(global: &Global, proposal: &Proposal, how: &str, moves: &[(&str, &String)]) {
    for (id, reason) in moves.iter().take(TOLD_FAILURES) {
        let planned = proposal.plan.moves.iter().find(|m| m.id.to_string() == *id);
        let what = planned.map_or_else(String::new, |m| format!("dataset `{}`: ", m.dataset));
        terminal::say(global, &format!("{how}: {what}{reason}"));
    }
    if moves.len() > TOLD_FAILURES {
        let more = moves.len() - TOLD_FAILURES;
        terminal::say(global, &format!("{how}: {more} more: `domicile get moves`"));
    }
}

/// How it ended. Copies that a person or a bound holds back leave their datasets unsatisfied for now.
fn came_of(world: &World, proposal: &Proposal, summary: &Summary) -> Outcome {
    if summary.stopped {
        return Outcome::Interrupted;
    }
    let mut outcome = proposal.outcome(world);
    if !(summary.failed.is_empty() && summary.skipped.is_empty()) {
        outcome = outcome.or(Outcome::MovesFailed);
    }
    let held: BTreeSet<&str> = summary.held.iter().map(|(id, _)| id.as_str()).collect();
    let mut moves = proposal.plan.moves.iter();
    let is_held_copy = |planned: &Move| {
        matches!(planned.action, Action::Copy { .. }) && held.contains(planned.id.to_string().as_str())
    };
    if !held.is_empty() && moves.any(is_held_copy) {
        outcome = outcome.or(Outcome::Unsatisfied);
    }
    outcome
}

fn tell(global: &Global, world: &World, proposal: &Proposal, summary: &Summary) -> anyhow::Result<Outcome> {
    let told: Vec<_> = summary
        .failed
        .iter()
        .chain(&summary.skipped)
        .map(|(id, reason)| (id.as_str(), reason))
        .collect();
    let held: Vec<_> = summary
        .held
        .iter()
        .map(|(id, reason)| (id.as_str(), reason))
        .collect();
    say_each(global, proposal, "waits", &held);
    say_each(global, proposal, "failed", &told);
    let outcome = came_of(world, proposal, summary);
    let happened = if proposal.plan.moves.is_empty() {
        "nothing to do".to_owned()
    } else {
        format!(
            "{}: {} verified, {} retired, {}{}",
            proposal.name(),
            plural(summary.copied as usize, "copy", "copies"),
            summary.retired,
            plural(told.len(), "move failed", "moves failed"),
            match held.len() {
                0 => String::new(),
                waiting => format!(", {}", plural(waiting, "move waits", "moves wait")),
            },
        )
    };
    let standing = match outcome {
        Outcome::Interrupted => "interrupted; `domicile apply` goes on where it was",
        Outcome::MovesFailed => "some moves failed; `domicile apply` tries them again",
        Outcome::Unsatisfied if held.is_empty() && !proposal.is_unhappy() => {
            "every dataset is satisfied, but for what cannot be registered: the warnings say which objects nobody keeps safe"
        }
        Outcome::Unsatisfied => {
            "some dataset is unsatisfied or in violation; `domicile why DATASET` says why"
        }
        _ => "every dataset is satisfied",
    };
    match global.output {
        Format::Table | Format::Wide => terminal::answer(&format!("{happened}; {standing}")),
        Format::Name => terminal::answer(&proposal.name()),
        Format::Json | Format::Yaml | Format::Jsonl => {
            let failed = told
                .iter()
                .map(|(id, reason)| json!({"id": id, "message": reason}));
            let held = held
                .iter()
                .map(|(id, reason)| json!({"id": id, "message": reason}));
            let result = json!({
                "copied": summary.copied, "retired": summary.retired, "failed": failed.collect::<Vec<_>>(),
                "held": held.collect::<Vec<_>>(),
            });
            let document = proposal.document(world).with("result", result);
            answer::structured(global.output, &document, std::slice::from_ref(&document))?;
        }
    }
    Ok(outcome)
}
