//! # The binary
//!
//! One binary, one command line. It wires the pure crates to the world: reads manifests, opens the catalogue and the
//! stores, lets `placement` plan and `scheduler` order, carries out what they say, and draws the answers.
//!
//! ```text
//!  cli ──▶ commands ──▶ world (manifests + catalogue + origins) ──▶ placement ──▶ render
//!                └────▶ carry (Scheduler ⇄ worker, catalogue)
//! ```
//!
//! It must not decide anything about data; that is the pure crates' part.

mod amount;
mod answer;
mod apart;
mod carry;
mod certificate;
mod cli;
mod commands;
mod init;
mod inventory;
mod look;
mod outcome;
mod problems;
mod progress;
mod reading;
mod rebuild;
mod render;
mod taken;
mod terminal;
mod world;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Global};
use crate::outcome::{Outcome, Refusal};
use crate::reading::MarkedErrors;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    start_log(&cli.global);
    let outcome = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run_until_interrupted(&cli)),
        Err(error) => failed(&cli.global, &error.into()),
    };
    ExitCode::from(outcome.code())
}

/// clap exits with 2 for wrong usage, which means "changes are pending" here.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    // Nothing is to be done about a standard error that is closed.
    let _ = error.print();
    let asked_for = !error.use_stderr();
    ExitCode::from(if asked_for {
        Outcome::Done.code()
    } else {
        Outcome::Usage.code()
    })
}

fn start_log(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (_, 0) => "warn,sqlx=error",
        (_, 1) => "info,sqlx=error",
        (_, 2) => "domicile=debug,info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("DOMICILE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal::colour_errors(global))
        .init();
}

/// Commands that change things stop in good order by themselves (see `carry`); all others just end.
async fn run_until_interrupted(cli: &Cli) -> Outcome {
    let result = if commands::stops_by_itself(&cli.command) {
        commands::run(cli).await
    } else {
        tokio::select! {
            result = commands::run(cli) => result,
            _ = tokio::signal::ctrl_c() => return Outcome::Interrupted,
        }
    };
    result.unwrap_or_else(|error| failed(&cli.global, &error))
}

fn failed(global: &Global, error: &anyhow::Error) -> Outcome {
    if let Some(marked) = error.downcast_ref::<MarkedErrors>() {
        terminal::event(global, "error", &marked.to_string());
        return Outcome::Error;
    }
    let word = match global.progress {
        cli::Progress::Jsonl => "",
        _ if terminal::colour_errors(global) => "\u{1b}[31merror:\u{1b}[0m ",
        _ => "error: ",
    };
    terminal::event(global, "error", &format!("{word}{}", in_one_line(error)));
    error
        .downcast_ref::<Refusal>()
        .map_or(Outcome::Error, |refusal| refusal.outcome)
}

/// An error with its causes, each told once.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}
