//! What solving takes, on problem files: CPU seconds, peak memory, gap. Nothing here is asserted but that every solution
//! passes `check`; seconds are for people to read.
//!
//! ```text
//! cargo bench -p domicile-placement --bench solve -- [--replan] [--json] [--runs N] FILE...
//! ```
//!
//! `--replan` also measures three changes after the plan was carried out: one backend drained, one dataset in a hundred
//! with another size, one new dataset. `--runs` repeats each measurement and takes the least CPU time. Without files the
//! problems in `benches/problems` are solved.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench reads files and clocks, and prints"
)]

mod changes;
mod measure;

use std::io;
use std::path::{Path, PathBuf};

use domicile_placement::problem_file::Reader;
use domicile_placement::{Problem, Solution, Standing, solve};

use measure::{Measured, Report};

/// Plans that are carried out before something changes.
const ROUNDS: usize = 12;

/// What was asked for.
struct Asked {
    files: Vec<PathBuf>,
    json: bool,
    replan: bool,
    runs: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let asked = asked()?;
    if !asked.json {
        println!("{}", Report::HEADINGS);
    }
    for file in &asked.files {
        measure::forget_peak();
        let problem = read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let show = |report: Report| println!("{}", if asked.json { report.json() } else { report.row() });
        let (solution, measured) = measured(asked.runs, || solve(&problem, None));
        show(Report::of(&name, "solve", &problem, &solution, measured)?);
        if asked.replan {
            replans(&asked, &name, &problem, &solution, &show)?;
        }
    }
    Ok(())
}

/// The changes, each from the state in which the plan was carried out.
fn replans(
    asked: &Asked,
    name: &str,
    problem: &Problem,
    solution: &Solution,
    show: &dyn Fn(Report),
) -> Result<(), String> {
    // New copies are new, perhaps cheaper sources, so that a plan is settled only after some rounds.
    let mut settled = changes::carried_out(problem, solution);
    let mut previous = solve(&settled, Some(solution));
    for _ in 0..ROUNDS {
        settled = changes::carried_out(&settled, &previous);
        previous = solve(&settled, Some(&previous));
    }
    for change in changes::ALL {
        let Some(changed) = (change.make)(&settled, &previous) else {
            continue;
        };
        // The change is measured, and not the setting up, which is done once for any number of changes.
        let mut best: Option<(Solution, Measured)> = None;
        for _ in 0..asked.runs {
            let mut standing = Standing::of(&settled, &previous);
            let (_, measured) = Measured::of(|| standing.revise(&changed.problem, &changed.changes));
            let replanned = standing.solution(&changed.problem);
            if best
                .as_ref()
                .is_none_or(|(_, best)| measured.cpu_seconds < best.cpu_seconds)
            {
                best = Some((replanned, measured));
            }
        }
        let Some((replanned, measured)) = best else {
            continue;
        };
        let mut report = Report::of(name, change.name, &changed.problem, &replanned, measured)?;
        report.count_moved(&changed, &previous, &replanned);
        show(report);
    }
    Ok(())
}

fn measured(runs: usize, solve: impl Fn() -> Solution) -> (Solution, Measured) {
    let (solution, mut least) = Measured::of(&solve);
    for _ in 1..runs {
        let (_, again) = Measured::of(&solve);
        least.cpu_seconds = least.cpu_seconds.min(again.cpu_seconds);
        least.peak_mib = again.peak_mib;
    }
    (solution, least)
}

fn asked() -> Result<Asked, Box<dyn std::error::Error>> {
    let mut asked = Asked {
        files: Vec::new(),
        json: false,
        replan: false,
        runs: 1,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            // cargo says so to every bench.
            "--bench" => {}
            "--json" => asked.json = true,
            "--replan" => asked.replan = true,
            "--runs" => {
                let runs: usize = words.next().ok_or("`--runs` needs a number")?.parse()?;
                asked.runs = runs.max(1);
            }
            flag if flag.starts_with('-') => {
                return Err(format!("`{flag}` is not known; see the head of benches/solve/main.rs").into());
            }
            file => asked.files.push(file.into()),
        }
    }
    if asked.files.is_empty() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/problems");
        for entry in std::fs::read_dir(folder)? {
            asked.files.push(entry?.path());
        }
        asked
            .files
            .retain(|file| file.to_string_lossy().contains(".jsonl"));
        asked.files.sort();
    }
    Ok(asked)
}

fn read(file: &Path) -> Result<Problem, Box<dyn std::error::Error>> {
    let source = std::fs::File::open(file)?;
    let text: Box<dyn io::Read> = if file.extension().is_some_and(|ending| ending == "gz") {
        Box::new(flate2::read::MultiGzDecoder::new(source))
    } else {
        Box::new(source)
    };
    let mut reader = Reader::default();
    for line in io::BufRead::lines(io::BufReader::new(text)) {
        reader.line(&line?)?;
    }
    Ok(reader.finish()?)
}
