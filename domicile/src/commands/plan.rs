//! `plan`, and what `apply` shares with it.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use domicile_catalogue::ManifestRow;
use domicile_estate::{BackendName, CopyState, DatasetName, OriginFinding};
use domicile_placement::wire::PlanDocument;
use domicile_placement::{Plan, Problem, Solution};
use domicile_policies::Manifests;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::frontier;
use crate::answer;
use crate::cli::{Format, Global, PlanArgs};
use crate::outcome::Outcome;
use crate::problems;
use crate::render;
use crate::terminal;
use crate::world::{World, open_to_read};

/// Findings at origins that are told one by one.
const TOLD_FINDINGS: usize = 20;

/// A plan with what it was made from.
pub struct Proposal {
    /// Its number.
    pub number: u64,
    /// The problem that it answers.
    pub problem: Problem,
    /// How the datasets are placed.
    pub solution: Solution,
    /// The plan.
    pub plan: Plan,
}

impl Proposal {
    /// Plans for a world that was looked at.
    pub async fn of(world: &World) -> anyhow::Result<Self> {
        Self::answering(world, world.problem().await?).await
    }

    /// Plans as an answer to a problem that was posed of this world.
    async fn answering(world: &World, problem: Problem) -> anyhow::Result<Self> {
        let (solution, plan) = domicile_placement::propose_with_solution(&problem);
        Ok(Self {
            number: world.catalogue.next_plan_number().await?,
            problem,
            solution,
            plan,
        })
    }

    /// The plan's name.
    pub fn name(&self) -> String {
        plan_name(self.number)
    }

    /// How a command ends that leaves the plan's state behind: some dataset is unsatisfied, a violation stays, or all
    /// is well.
    pub fn outcome(&self, world: &World) -> Outcome {
        if self.is_unhappy() || refused_keys(world) > 0 {
            Outcome::Unsatisfied
        } else {
            Outcome::Done
        }
    }

    /// Whether some dataset is unsatisfied, or a violation stays.
    pub fn is_unhappy(&self) -> bool {
        let mut datasets = self.plan.datasets.iter();
        datasets.any(|d| !d.satisfied || !d.violations.is_empty())
    }

    /// Backends that do not answer, with how many copies there count all the same, as they are recorded.
    fn silent(&self) -> impl Iterator<Item = (&BackendName, usize)> {
        let places = self.problem.backends.iter().enumerate();
        let holding = |at: usize| {
            let datasets = self.problem.datasets.iter();
            datasets.filter(|subject| subject.is_current_on(at)).count()
        };
        places
            .filter(|(_, place)| !place.reachable)
            .map(move |(at, place)| (&place.name, holding(at)))
            .filter(|(_, copies)| *copies > 0)
    }

    /// The plan as programs read it.
    pub fn wire(&self) -> PlanDocument<'_> {
        self.plan.to_wire(&self.problem, &self.solution, self.number)
    }

    /// The same with what was found at the origins.
    pub fn document(&self, world: &World) -> PlanDocument<'_> {
        let document = self.wire().with("findings", findings(world));
        let silent = self.silent();
        let silent = silent.map(|(name, copies)| json!({"backend": name.as_str(), "currentCopies": copies}));
        document.with("outOfReach", silent.collect())
    }
}

/// The name of a plan with this number.
pub fn plan_name(number: u64) -> String {
    format!("plan-{number:06}")
}

/// What a plan was made from, written beside it for `apply`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inputs {
    /// The catalogue's revision.
    pub catalogue_revision: u64,
    /// Whether what the manifests below no longer have is taken away.
    pub prune: bool,
    /// Every manifest in force, resolved, without secrets.
    pub manifests: Vec<Value>,
}

impl Inputs {
    fn of(world: &World) -> anyhow::Result<Self> {
        let manifests = world
            .manifests
            .documents
            .iter()
            .map(|d| serde_json::from_str(&d.json));
        Ok(Self {
            catalogue_revision: world.observed.revision,
            prune: !world.pruned.is_empty(),
            manifests: manifests.collect::<Result<_, _>>()?,
        })
    }
}

/// The manifests that are new or changed, as the catalogue keeps them.
pub fn manifests_to_record(manifests: &Manifests) -> Vec<ManifestRow> {
    let fresh = manifests.documents.iter().filter(|d| !d.stored);
    fresh
        .map(|d| ManifestRow {
            kind: d.kind.clone(),
            name: d.name.clone(),
            json: d.json.clone(),
        })
        .collect()
}

/// `plan`.
pub async fn plan(global: &Global, args: &PlanArgs) -> anyhow::Result<Outcome> {
    let catalogue = open_to_read(global).await?;
    let mut world = World::load(global, catalogue, &args.files).await?;
    world.look(global).await?;
    if args.pareto.is_some() {
        return frontier::frontier(global, &world).await;
    }
    let problem = world.problem().await?;
    if let Some(file) = &args.write_problem {
        write_problem(file, &problem, args.anonymous)?;
    }
    world.forget_copies();
    let proposal = Proposal::answering(&world, problem).await?;
    if let Some(out) = &args.out {
        write_out(out, &proposal, &world)?;
    }
    show(global, &proposal, &world)?;
    if global.output == Format::Table && !proposal.plan.moves.is_empty() {
        let next = args
            .out
            .as_ref()
            .map_or("`domicile apply` with the same -f".to_owned(), |out| {
                format!("`domicile apply {}`", out.display())
            });
        terminal::say(global, &format!("nothing was changed; {next} carries it out"));
    }
    let pending = args.detailed_exitcode && (!proposal.plan.moves.is_empty() || is_unrecorded(&world));
    let outcome = proposal.outcome(&world);
    Ok(if pending {
        outcome.or(Outcome::ChangesPending)
    } else {
        outcome
    })
}

/// Whether `apply` would record something beside moves: manifests, or what was found at origins.
fn is_unrecorded(world: &World) -> bool {
    !world.pruned.is_empty() || world.diffs.iter().any(|diff| !diff.added.is_empty())
}

fn write_out(path: &Path, proposal: &Proposal, world: &World) -> anyhow::Result<()> {
    let inputs = serde_json::to_value(Inputs::of(world)?)?;
    let document = proposal.document(world).with("inputs", inputs);
    let unwritten = || format!("`{}` could not be written", path.display());
    let mut file = BufWriter::with_capacity(1 << 16, File::create(path).with_context(unwritten)?);
    serde_json::to_writer_pretty(&mut file, &document)
        .map_err(std::io::Error::from)
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.flush())
        .with_context(unwritten)
}

/// Written before it is solved, so that a problem that is hard to solve can be shown to somebody.
fn write_problem(path: &Path, problem: &Problem, anonymous: bool) -> anyhow::Result<()> {
    if anonymous {
        problems::write(path, &domicile_placement::problem_file::anonymous(problem)?)
    } else {
        problems::write(path, problem)
    }
}

/// Answers with the plan, in the form asked for.
pub fn show(global: &Global, proposal: &Proposal, world: &World) -> anyhow::Result<()> {
    match global.output {
        Format::Name => terminal::answer(&proposal.name()),
        Format::Table | Format::Wide => {
            let style = render::plan::Style::of(global);
            let spell_out = |datasets: &[usize]| {
                domicile_placement::spell_out(&proposal.problem, &proposal.solution, datasets)
            };
            let drawn = render::plan::draw(&proposal.name(), &proposal.plan, spell_out, style);
            terminal::answer(&drawn);
        }
        Format::Json | Format::Yaml | Format::Jsonl => {
            let document = proposal.document(world);
            answer::structured(global.output, &document, std::slice::from_ref(&document))?;
        }
    }
    tell_findings(global, world);
    tell_silent(global, proposal, world);
    tell_damaged_origins(global, proposal);
    Ok(())
}

/// Tells on standard error which origins are damaged, and what mends them: no plan does, for they are their owners'.
pub fn tell_damaged_origins(global: &Global, proposal: &Proposal) {
    let problem = &proposal.problem;
    let damaged = problem.datasets.iter().flat_map(|subject| {
        let origins = subject
            .copies
            .iter()
            .filter(|held| held.origin && held.state == CopyState::Damaged);
        origins.map(move |held| (&subject.name, &problem.backends[held.backend].name))
    });
    for (name, backend) in damaged {
        terminal::say(
            global,
            &format!(
                "warning: dataset `{name}`: its origin on `{backend}` is damaged, and nothing is copied from it. What was \
                 changed on purpose, `domicile dataset import --scan {backend}` takes as a new version; then `domicile dataset \
                 restore {name} --backend {backend} --overwrite` puts the rest back from good copies"
            ),
        );
    }
}

/// Tells on standard error which copies count though nobody can look at them.
pub fn tell_silent(global: &Global, proposal: &Proposal, world: &World) {
    for (name, copies) in proposal.silent() {
        let why = world.observed.unreachable.get(name).map_or("", String::as_str);
        terminal::say(
            global,
            &format!(
                "warning: backend `{name}` is out of reach; copies there that count as they are recorded: {copies}. If it \
                 does not come back, `domicile backend drain {name}` has others made in their place ({why})"
            ),
        );
    }
}

fn refused_keys(world: &World) -> usize {
    found(world)
        .filter(|(_, finding)| matches!(finding, OriginFinding::RefusedKey { .. }))
        .count()
}

/// What was found at the origins of the datasets that are planned. Few of a million have any, and only those are
/// looked up.
fn found(world: &World) -> impl Iterator<Item = (&DatasetName, &OriginFinding)> {
    let datasets = world.observed.datasets.iter();
    let told = datasets.filter(|(name, d)| !d.findings.is_empty() && world.datasets.contains_key(*name));
    told.flat_map(|(name, d)| d.findings.iter().map(move |finding| (name, finding)))
}

fn findings(world: &World) -> Value {
    let rows = found(world).map(|(name, finding)| {
        let (kind, key, reason) = describe_finding(finding);
        json!({"dataset": name.as_str(), "kind": kind, "key": key, "message": reason})
    });
    Value::Array(rows.collect())
}

/// Kind, key and meaning of what was found at an origin.
pub fn describe_finding(finding: &OriginFinding) -> (&'static str, &str, String) {
    match finding {
        OriginFinding::Gone { key } => ("Gone", key, "is no longer at the origin".to_owned()),
        OriginFinding::Changed { key } => (
            "Changed",
            key,
            "has another size or time than was registered; it is not copied, until `dataset import --scan` takes it as a \
             new version"
                .to_owned(),
        ),
        OriginFinding::RefusedKey { key, reason } => {
            ("RefusedKey", key, format!("is not registered: {reason}"))
        }
        OriginFinding::NotAFile { key } => (
            "NotAFile",
            key,
            "is a symbolic link or no plain file; it is not followed and not registered".to_owned(),
        ),
    }
}

/// Tells on standard error what was found at the origins.
pub fn tell_findings(global: &Global, world: &World) {
    for (kind, name) in &world.pruned {
        terminal::say(
            global,
            &format!("note: {kind} `{name}` is taken away; its bytes stay where they are"),
        );
    }
    for remark in &world.sight.remarks {
        terminal::say(global, &format!("note: {remark}"));
    }
    for reason in world
        .sight
        .reach
        .values()
        .filter_map(|reach| reach.as_ref().err())
    {
        terminal::say(global, &format!("warning: {reason}"));
    }
    let mut told = 0;
    for (name, finding) in found(world) {
        told += 1;
        if told <= TOLD_FINDINGS {
            let (_, key, meaning) = describe_finding(finding);
            terminal::say(
                global,
                &format!("warning: dataset `{name}`: object `{key}` {meaning}"),
            );
        }
    }
    if told > TOLD_FINDINGS {
        terminal::say(
            global,
            &format!(
                "warning: and {} more; `-o json` has them all",
                told - TOLD_FINDINGS
            ),
        );
    }
}
