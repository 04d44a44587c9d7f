//! What can be asked of those who carry: `apply`, `mover`, `moves`, and how much is read back.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use domicile_estate::{ByteCount, parse_decimal, parse_quantity};

use super::Files;

/// `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A plan written by `plan --out`: carries out exactly that, or refuses it as stale
    #[arg(value_name = "PLAN", conflicts_with = "files")]
    pub plan: Option<PathBuf>,
    /// Manifests to apply
    #[command(flatten)]
    pub files: Files,
    /// Copies that this run retires at most; the others wait for another run
    #[arg(long, value_name = "N")]
    pub max_retire: Option<u64>,
    /// Bytes in the copies that this run retires at most, such as 500Gi
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_retire_bytes: Option<ByteCount>,
}

fn size(text: &str) -> Result<ByteCount, String> {
    parse_quantity(text).map_err(|error| error.to_string())
}

/// What a process may hold of objects in memory.
pub(super) fn memory(text: &str) -> Result<ByteCount, String> {
    let least = ByteCount(domicile_worker::least_memory());
    match size(text)? {
        enough if enough >= least => Ok(enough),
        _ => Err(format!("it needs {least} at least")),
    }
}

/// `mover`.
#[derive(Debug, Args)]
pub struct MoverArgs {
    /// End when nothing is offered, rather than wait for more
    #[arg(long)]
    pub once: bool,
    /// Seconds until others may take up what a mover carries that is not heard of any more
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub lease: u64,
    /// When there is nothing to carry, read copies back that were not for so many days
    #[arg(long, value_name = "DAYS")]
    pub scrub_days: Option<u32>,
}

/// `moves`.
#[derive(Debug, Subcommand)]
pub enum MovesCommand {
    /// List them: how much is done, how long the rest takes, who carries it
    #[command(
        after_help = "Examples:\n  domicile moves ls\n  domicile moves ls --dataset hessian-plants -o json"
    )]
    Ls(MovesArgs),
    /// Let them rest; what is under way stops, and nothing of it is lost
    #[command(
        after_help = "Examples:\n  domicile moves pause 5f1c2a     the beginning of an id is enough\n  domicile moves pause --backend giessen-archive"
    )]
    Pause(MovesArgs),
    /// Let paused moves go on
    #[command(after_help = "Example:\n  domicile moves resume --all")]
    Resume(MovesArgs),
    /// Have failed or cancelled moves tried again
    #[command(after_help = "Example:\n  domicile moves retry --all && domicile apply --yes")]
    Retry(MovesArgs),
    /// Have them not made, by this plan or a later one, until they are retried
    #[command(
        after_help = "Example:\n  domicile moves cancel --dataset hessian-plants --backend giessen-archive"
    )]
    Cancel(MovesArgs),
}

/// Which moves.
#[derive(Debug, Args)]
pub struct MovesArgs {
    /// Their ids, or how these begin
    pub ids: Vec<String>,
    /// Only those of this dataset
    #[arg(long)]
    pub dataset: Option<String>,
    /// Only those that write to this backend, or delete from it
    #[arg(long)]
    pub backend: Option<String>,
    /// All of them
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
}

/// A share, written as `1%` or `0.5%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    millionths: u32,
}

impl Share {
    /// This share of something, rounded up; of anything at least one.
    pub fn of(self, whole: u64) -> u64 {
        let share = (u128::from(whole) * u128::from(self.millionths)).div_ceil(1_000_000);
        u64::try_from(share).unwrap_or(u64::MAX).max(1)
    }
}

impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no share above 0% and up to 100%: write `1%` or `0.5%`");
        let percent = text.strip_suffix('%').ok_or_else(wrong)?;
        let percent = parse_decimal(percent).map_err(|_| wrong())?;
        let millionths = (percent * 10_000.0).round();
        if !(1.0..=1_000_000.0).contains(&millionths) {
            return Err(wrong());
        }
        Ok(Self {
            millionths: millionths as u32,
        })
    }
}
