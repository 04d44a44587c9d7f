//! The command line: what can be asked, with its help.

mod carrying;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use domicile_estate::ByteCount;

pub use carrying::{ApplyArgs, MoverArgs, MovesArgs, MovesCommand, Share};

/// The scheduler for data: decides where every copy lives, shows the price, and makes it so.
#[derive(Debug, Parser)]
#[command(
    name = "domicile",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        domicile plan -f deploy/quickstart          what would change, and what it costs\n  \
        domicile apply -f deploy/quickstart --yes   do it: copy, verify, and only then retire\n  \
        domicile why penguins                       why its copies lie where they lie\n\n\
        Exit codes: 0 done, 1 error, 2 changes pending (plan --detailed-exitcode), 3 some dataset is\n\
        unsatisfied, 4 stale plan, 5 some moves failed, 6 not authorised, 7 a test failed, 64 wrong usage,\n\
        130 interrupted."
)]
pub struct Cli {
    /// What applies to every command.
    #[command(flatten)]
    pub global: Global,
    /// What is asked.
    #[command(subcommand)]
    pub command: Command,
}

/// What applies to every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Form of the answer on standard output
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// Where the catalogue lies
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DOMICILE_CATALOGUE",
        default_value = "sqlite://.domicile/catalogue.db"
    )]
    pub catalogue: String,
    /// Do not ask before changes
    #[arg(long, global = true)]
    pub yes: bool,
    /// Colours in the answer; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// How progress is shown on standard error
    #[arg(long, global = true, value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
    /// Memory for bytes that are on their way, such as 72Mi or 1Gi; the process itself takes some 30 to 50 MiB more
    #[arg(long, global = true, value_name = "SIZE", value_parser = carrying::memory, default_value = "72Mi")]
    pub memory: ByteCount,
    /// Say nothing on standard error but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more on standard error; twice: still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For people, with more columns
    Wide,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
    /// One JSON document a line
    Jsonl,
    /// Names only
    Name,
}

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// Bars on a terminal, else a line now and then
    Auto,
    /// A line now and then
    Plain,
    /// One JSON event a line
    Jsonl,
    /// Nothing
    None,
}

/// Manifests to read beside what the catalogue holds.
#[derive(Debug, Args, Default, Clone)]
pub struct Files {
    /// Folder or file of manifests, or - for standard input; may be given more than once
    #[arg(short = 'f', long = "filename", value_name = "FOLDER|FILE|-")]
    pub files: Vec<PathBuf>,
    /// Leave out what the catalogue holds and the files no longer have; never deletes bytes
    #[arg(long, requires = "files")]
    pub prune: bool,
}

/// What is asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first folder of manifests from the places that you name, ready to plan with
    #[command(after_help = "Examples:\n  \
            domicile init                                                   asks\n  \
            domicile init --data /srv/photos --backend /mnt/disk2 --backend s3://archive --country DE\n  \
            domicile init --from ~/.config/rclone/rclone.conf --data /srv/photos --backend remote:bucket/folder my-estate\n\n\
            A place is a folder, s3://BUCKET[/PREFIX][?endpoint=URL&region=REGION], or REMOTE:PATH of an rclone.conf;\n\
            NAME= before it names it. Keys and passwords that stand in the rclone.conf are kept in files that only you can read,\n\
            never in a manifest; all others are taken from variables that are named for you.")]
    Init(InitArgs),
    /// Show what would change, why, and what it costs; changes nothing
    #[command(
        after_help = "Examples:\n  domicile plan -f estate/\n  domicile plan -f estate/ --out plan.json && domicile apply plan.json\n  domicile plan -f estate/ --pareto cost,carbon    what less carbon would cost\n  domicile plan -f estate/ --write-problem problem.jsonl.gz --anonymous"
    )]
    Plan(PlanArgs),
    /// Solve a problem that `plan --write-problem` wrote, check the solution and show its proof; touches nothing else
    #[command(after_help = "Examples:\n  \
            domicile solve problem.jsonl.gz             objective, lower bound, gap; CPU seconds on standard error\n  \
            domicile solve problem.jsonl.gz -o json     the same for programs\n  \
            domicile solve problem.jsonl.gz -o jsonl    one line a dataset: its name and the backends of its set\n  \
            domicile plan -f estate/ --write-problem problem.jsonl && domicile solve problem.jsonl\n\n\
            A problem file is JSON Lines, also compressed as .gz or .zst; `-` reads standard input.")]
    Solve(SolveArgs),
    /// Carry out a plan: copy, read back, verify, record, and only then retire
    #[command(
        after_help = "Examples:\n  domicile apply -f estate/\n  domicile apply plan.json --yes\n  domicile apply -f estate/ --max-retire 10 --max-retire-bytes 2Ti    delete little at a time\n  domicile apply -f estate/ --memory 1Gi --progress jsonl    more under way at once; events for a program"
    )]
    Apply(ApplyArgs),
    /// Help carry what a running or interrupted `apply` has approved; any number on one catalogue
    #[command(
        after_help = "Examples:\n  domicile mover            until it is interrupted\n  domicile mover --once     until nothing is offered any more\n  domicile mover --memory 1Gi      on a machine that has more to give\n  domicile mover --scrub-days 90   beside that, every copy is read back within about 90 days"
    )]
    Mover(MoverArgs),
    /// See how far the moves of the latest plan have come; pause, resume, retry or cancel them, whoever carries them
    #[command(subcommand)]
    Moves(MovesCommand),
    /// Explain where a dataset's copies lie: policies, candidates, refusals, costs, the runner-up, what would help
    #[command(
        after_help = "Examples:\n  domicile why hessian-plants\n  domicile why hessian-plants --backend giessen-archive\n  domicile why --policy eu-only            what it costs and emits, and what each of its rules costs"
    )]
    Why(WhyArgs),
    /// List the copies of a dataset, or of one object
    #[command(
        after_help = "Examples:\n  domicile whereis hessian-plants\n  domicile whereis hessian-plants/2024/plants.csv"
    )]
    Whereis(WhereisArgs),
    /// Show how each dataset stands
    #[command(
        after_help = "Examples:\n  domicile status\n  domicile status -o json --catalogue sqlite:///srv/catalogue.db"
    )]
    Status(StatusArgs),
    /// List domains, backends, datasets, policies, plans or moves
    #[command(
        after_help = "Examples:\n  domicile get backends\n  domicile get dataset hessian-plants -o yaml"
    )]
    Get(GetArgs),
    /// Show one thing with all that is known of it
    #[command(
        after_help = "Examples:\n  domicile describe dataset hessian-plants\n  domicile describe backend giessen-archive    what its store has shown, how full it is"
    )]
    Describe(DescribeArgs),
    /// Check and test policies
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Register and check datasets
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Look at backends and mark them
    #[command(subcommand)]
    Backend(BackendCommand),
    /// Keep a copy of what is known, or find it out again
    #[command(subcommand)]
    Catalogue(CatalogueCommand),
    /// Print the JSON Schema of the manifests
    Schema,
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  domicile completion bash > ~/.local/share/bash-completion/completions/domicile"
    )]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
}

/// `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder to write; there must be no manifests in it
    #[arg(default_value = "estate")]
    pub folder: PathBuf,
    /// An rclone.conf whose remotes may be named
    #[arg(long, value_name = "RCLONE.CONF")]
    pub from: Option<PathBuf>,
    /// Data to keep safe: it is read where it lies and never written; may be given more than once
    #[arg(long, value_name = "PLACE")]
    pub data: Vec<String>,
    /// A place for copies; without --data what holds something already is taken for data
    #[arg(long, value_name = "PLACE")]
    pub backend: Vec<String>,
    /// The country whose law you answer to; else that of your language setting
    #[arg(long, value_name = "CODE")]
    pub country: Option<String>,
    /// What your organisation is called here
    #[arg(long, default_value = "home", value_name = "NAME")]
    pub domain: String,
    /// Copies that there must be in all, the data itself included; else 2
    #[arg(long, value_name = "NUMBER", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100))]
    pub copies: Option<usize>,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Manifests to plan with
    #[command(flatten)]
    pub files: Files,
    /// Also write the plan with its inputs, for `apply`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Exit with 2 when changes are pending
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Also write the problem, before it is solved, for `solve`; compressed if the name ends with .gz or .zst
    #[arg(long, value_name = "FILE")]
    pub write_problem: Option<PathBuf>,
    /// In the problem file, numbers instead of names; sizes and prices stay
    #[arg(long, requires = "write_problem")]
    pub anonymous: bool,
    /// Show the plans between the cheapest and the greenest instead of one plan
    #[arg(long, value_enum, value_name = "AIMS", conflicts_with_all = ["out", "detailed_exitcode", "write_problem"])]
    pub pareto: Option<Aims>,
}

/// What a frontier lies between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Aims {
    /// Cost per month and carbon per month
    #[value(name = "cost,carbon", alias = "carbon,cost")]
    CostAndCarbon,
}

/// `solve`.
#[derive(Debug, Args)]
pub struct SolveArgs {
    /// The problem file, or - for standard input
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
}

/// `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The dataset
    #[arg(required_unless_present = "policy")]
    pub dataset: Option<String>,
    /// Only this backend
    #[arg(long, value_name = "BACKEND")]
    pub backend: Option<String>,
    /// What a policy costs and emits, and what each of its rules costs: the plan without that rule
    #[arg(long, value_name = "POLICY", conflicts_with_all = ["dataset", "backend"])]
    pub policy: Option<String>,
    /// Manifests to explain with
    #[command(flatten)]
    pub files: Files,
}

/// `whereis`.
#[derive(Debug, Args)]
pub struct WhereisArgs {
    /// The dataset, or one object of it
    #[arg(value_name = "DATASET[/OBJECT]")]
    pub what: String,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Show it again every two seconds until interrupted
    #[arg(long)]
    pub watch: bool,
}

/// A kind of thing to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Domains
    #[value(name = "domains", alias = "domain", alias = "Domain")]
    Domains,
    /// Backends
    #[value(name = "backends", alias = "backend", alias = "Backend")]
    Backends,
    /// Links between backends
    #[value(name = "links", alias = "link", alias = "Link")]
    Links,
    /// Datasets
    #[value(name = "datasets", alias = "dataset", alias = "ds", alias = "Dataset")]
    Datasets,
    /// Replication policies
    #[value(
        name = "policies",
        alias = "policy",
        alias = "replicationpolicy",
        alias = "replicationpolicies",
        alias = "ReplicationPolicy"
    )]
    Policies,
    /// Plans that were applied
    #[value(name = "plans", alias = "plan", alias = "Plan")]
    Plans,
    /// Moves of the latest plan
    #[value(name = "moves", alias = "move", alias = "Move")]
    Moves,
}

/// `get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// What to list
    #[arg(value_enum)]
    pub kind: Kind,
    /// Only this one
    pub name: Option<String>,
}

/// `describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// What it is
    #[arg(value_enum)]
    pub kind: Kind,
    /// Its name
    pub name: String,
}

/// `policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check manifests: every mistake at once, with its place; touches nothing
    #[command(after_help = "Example:\n  domicile policy lint -f estate/")]
    Lint(Files),
    /// Run the PolicyTest manifests: fixtures and the backends or refusals that they expect
    #[command(after_help = "Example:\n  domicile policy test -f estate/")]
    Test(Files),
}

/// `dataset`.
#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// Register many datasets from an inventory (CSV with the columns dataset, key, size), or by a scan of what lies
    /// in a place
    #[command(after_help = "Examples:\n  \
            domicile dataset import inventory.csv.zst -f estate.yaml --domain debian --backend debian-pool\n  \
            domicile dataset import --scan nas/photos -f estate/             each folder in there becomes a dataset\n  \
            domicile dataset import --scan nas/photos --as photos            all of it becomes one dataset\n\n\
            A scan moves nothing. Scanned again, a place tells what is new, gone or changed there; what was changed is\n\
            read and becomes a new version, which the next `apply` brings to the copies.")]
    Import(ImportArgs),
    /// Read copies back and compare them with what is recorded
    #[command(
        after_help = "Examples:\n  domicile dataset scrub\n  domicile dataset scrub hessian-plants --backend giessen-archive\n  domicile dataset scrub --sample 1%    every day: then all is read within 100 days"
    )]
    Scrub(ScrubArgs),
    /// Write a dataset back from whatever copies can be read: each object is compared with its recorded digest
    #[command(after_help = "Examples:\n  \
            domicile dataset restore penguins --to /mnt/rescue/penguins     into any folder\n  \
            domicile dataset restore penguins --backend field-station       where its origin lay, if that is its backend\n  \
            domicile dataset restore penguins --to /mnt/new -o json         what was written, what failed and why\n\n\
            Run it again to go on where it was: what is there already is read and compared. Files with other bytes are\n\
            left as they are unless you say --overwrite. Exit codes: 0 everything is there, 5 some objects are not.")]
    Restore(RestoreArgs),
    /// Make another place the origin, after the old one is lost: only where every object lies as it is recorded
    #[command(after_help = "Examples:\n  \
            domicile dataset set-origin penguins giessen-archive            its verified copy there becomes the origin\n  \
            domicile dataset set-origin penguins new-disk/rescued/penguins  a place that is read and compared first\n\n\
            The old origin is remembered as lost: nobody looks there until the manifest names a new one. Nothing is\n\
            deleted.")]
    SetOrigin(SetOriginArgs),
}

/// `dataset import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The inventory (also .zst, .gz, .xz), or - for standard input
    #[arg(required_unless_present = "scan", conflicts_with = "scan")]
    pub inventory: Option<PathBuf>,
    /// Register what lies in a backend or a part of it where it lies, instead of an inventory
    #[arg(long, value_name = "BACKEND[/PREFIX]", conflicts_with_all = ["backend", "prefix", "trust_inventory"])]
    pub scan: Option<String>,
    /// With --scan: one dataset of this name, instead of one for each folder
    #[arg(long = "as", value_name = "NAME", requires = "scan")]
    pub name: Option<String>,
    /// With --scan: a label of the new datasets; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", requires = "scan")]
    pub label: Vec<String>,
    /// Manifests that it refers to
    #[command(flatten)]
    pub files: Files,
    /// The owner of the datasets; with --scan that of the backend, if it is left out
    #[arg(long, required_unless_present = "scan")]
    pub domain: Option<String>,
    /// Where the datasets lie; without it the column `replicas` says so
    #[arg(long)]
    pub backend: Option<String>,
    /// Where the keys begin below the backend's root
    #[arg(long, default_value = "", value_name = "PREFIX")]
    pub prefix: String,
    /// Take what the inventory says as verified
    #[arg(long)]
    pub trust_inventory: bool,
}

/// `dataset restore`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("target").required(true).args(["to", "backend"]))]
pub struct RestoreArgs {
    /// The dataset
    pub dataset: String,
    /// Into this folder; it is made if it is not there
    #[arg(long, value_name = "FOLDER")]
    pub to: Option<PathBuf>,
    /// On this backend: where the origin lay, or as a copy like those that `apply` makes
    #[arg(long, value_name = "BACKEND")]
    pub backend: Option<String>,
    /// Replace files that have other bytes
    #[arg(long)]
    pub overwrite: bool,
    /// Manifests to read
    #[command(flatten)]
    pub files: Files,
}

/// `dataset set-origin`.
#[derive(Debug, Args)]
pub struct SetOriginArgs {
    /// The dataset
    pub dataset: String,
    /// The new origin; without a prefix the copy of the dataset on that backend
    #[arg(value_name = "BACKEND[/PREFIX]")]
    pub place: String,
    /// Manifests to read
    #[command(flatten)]
    pub files: Files,
}

/// `dataset scrub`.
#[derive(Debug, Args)]
pub struct ScrubArgs {
    /// The datasets; none: all
    pub datasets: Vec<String>,
    /// Only the copies on this backend
    #[arg(long)]
    pub backend: Option<String>,
    /// Only this share of them, from where the last sample ended: in time every object is read
    #[arg(long, value_name = "PERCENT")]
    pub sample: Option<Share>,
}

/// `backend`.
#[derive(Debug, Subcommand)]
pub enum BackendCommand {
    /// Try out what a store can do, leave nothing there, and keep what it has shown for a day
    ///
    /// Example: domicile backend probe giessen-archive; `domicile describe backend giessen-archive` shows it again
    Probe(BackendNames),
    /// Put nothing new there
    Cordon(OneBackend),
    /// Lift the marks that `cordon` and `drain` set
    Uncordon(OneBackend),
    /// Mark a backend to be emptied, and list what keeps it from being empty
    Drain(OneBackend),
    /// Show what lies on each backend
    Usage(BackendNames),
}

/// `catalogue`.
#[derive(Debug, Subcommand)]
pub enum CatalogueCommand {
    /// Write the catalogue as it is now to a file, also while others use it, and check that file
    #[command(after_help = "Examples:\n  \
            domicile catalogue backup /backups/catalogue-2026-11-28.db\n  \
            domicile catalogue backup nightly.db --overwrite\n\n\
            To go back to it, put the file where the catalogue lay, then let `domicile dataset scrub` read what is there.")]
    Backup(BackupArgs),
    /// Find out again what a lost catalogue knew: from the manifests, and by reading every copy that lies on the backends
    #[command(after_help = "Example:\n  \
            domicile catalogue rebuild -f estate/\n\n\
            Writes and deletes nothing on any backend. What equals the origin's content is verified. Where the origin is\n\
            gone, the list of digests beside a copy proves it, also the last one; without a list, what copies agree on is\n\
            taken for right, and that is said. Run again, it goes on where it was.\n\
            Exit codes: 0 every dataset has a whole copy, 3 some copies differ or are not whole, 5 something could not be\n\
            read.")]
    Rebuild(Files),
}

/// `catalogue backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file
    pub file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub overwrite: bool,
}

/// Backends by name.
#[derive(Debug, Args)]
pub struct BackendNames {
    /// The backends; none: all
    pub names: Vec<String>,
    /// Manifests to read
    #[command(flatten)]
    pub files: Files,
}

/// One backend by name.
#[derive(Debug, Args)]
pub struct OneBackend {
    /// The backend
    pub name: String,
}
