//! One module for each command.

mod apply;
mod backend;
mod catalogue;
mod dataset;
mod frontier;
mod get;
mod init;
mod mover;
mod moves;
mod plan;
pub mod policy;
mod rebuild;
mod restore;
mod scan;
mod scrub;
mod set_origin;
mod solve;
mod status;
mod whereis;
mod why;
mod worth;

use clap::CommandFactory as _;

use crate::cli::{BackendCommand, CatalogueCommand, Cli, Command, DatasetCommand, PolicyCommand};
use crate::outcome::Outcome;
use crate::terminal;

/// Whether a command handles an interrupt itself: it finishes what is under way and leaves nothing half-done.
pub fn stops_by_itself(command: &Command) -> bool {
    matches!(command, Command::Apply(_) | Command::Mover(_))
}

/// Carries out what was asked.
pub async fn run(cli: &Cli) -> anyhow::Result<Outcome> {
    let global = &cli.global;
    match &cli.command {
        Command::Init(args) => init::init(global, args).await,
        Command::Plan(args) => plan::plan(global, args).await,
        Command::Solve(args) => solve::solve(global, args),
        Command::Apply(args) => apply::apply(global, args).await,
        Command::Moves(command) => moves::moves(global, command).await,
        Command::Mover(args) => mover::mover(global, args).await,
        Command::Why(args) => why::why(global, args).await,
        Command::Whereis(args) => whereis::whereis(global, args).await,
        Command::Status(args) => status::status(global, args).await,
        Command::Get(args) => get::get(global, args).await,
        Command::Describe(args) => get::describe(global, args).await,
        Command::Policy(PolicyCommand::Lint(files)) => policy::lint(global, files),
        Command::Policy(PolicyCommand::Test(files)) => policy::test(global, files),
        Command::Dataset(DatasetCommand::Import(args)) => dataset::import(global, args).await,
        Command::Dataset(DatasetCommand::Scrub(args)) => scrub::scrub(global, args).await,
        Command::Dataset(DatasetCommand::Restore(args)) => restore::restore(global, args).await,
        Command::Dataset(DatasetCommand::SetOrigin(args)) => set_origin::set_origin(global, args).await,
        Command::Backend(BackendCommand::Probe(args)) => backend::probe(global, args).await,
        Command::Backend(BackendCommand::Usage(args)) => backend::usage(global, args).await,
        Command::Backend(BackendCommand::Cordon(args)) => backend::cordon(global, &args.name).await,
        Command::Backend(BackendCommand::Uncordon(args)) => backend::uncordon(global, &args.name).await,
        Command::Backend(BackendCommand::Drain(args)) => backend::drain(global, &args.name).await,
        Command::Catalogue(CatalogueCommand::Backup(args)) => catalogue::backup(global, args).await,
        Command::Catalogue(CatalogueCommand::Rebuild(files)) => rebuild::rebuild(global, files).await,
        Command::Schema => {
            let schema = domicile_policies::json_schema();
            if !crate::answer::structured(global.output, &schema, std::slice::from_ref(&schema))? {
                terminal::answer(&serde_json::to_string_pretty(&schema)?);
            }
            Ok(Outcome::Done)
        }
        Command::Completion { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "domicile", &mut std::io::stdout());
            Ok(Outcome::Done)
        }
        Command::Version => {
            let version = serde_json::json!({"name": "domicile", "version": env!("CARGO_PKG_VERSION")});
            if !crate::answer::structured(global.output, &version, std::slice::from_ref(&version))? {
                terminal::answer(&format!("domicile {}", env!("CARGO_PKG_VERSION")));
            }
            Ok(Outcome::Done)
        }
    }
}
