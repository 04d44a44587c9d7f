//! `solve`: a problem file solved again, with the proof; no catalogue and no store is touched.

use domicile_placement::{Problem, Solution, check, input_digest};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::answer;
use crate::cli::{Format, Global, SolveArgs};
use crate::outcome::Outcome;
use crate::problems;
use crate::render::table;
use crate::terminal;

/// What was measured and found.
struct Replay {
    problem: Problem,
    solution: Solution,
    /// Datasets that miss a copy or a group.
    unsatisfied: usize,
    digest: String,
}

/// `solve`.
pub fn solve(global: &Global, args: &SolveArgs) -> anyhow::Result<Outcome> {
    let before = cpu_seconds();
    let problem = problems::read(&args.file)?;
    let read = cpu_seconds();
    let solution = domicile_placement::solve(&problem, None);
    let solved = cpu_seconds();
    let checked = check(&problem, &solution).map_err(|violated| {
        let rules: Vec<_> = violated.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(
            "the solution breaks {} rules, which is a mistake of this program; please send the problem file: {}",
            rules.len(),
            rules.join("; ")
        )
    })?;
    let done = cpu_seconds();
    let replay = Replay {
        unsatisfied: checked
            .missing
            .iter()
            .filter(|missing| **missing != (0, 0, 0))
            .count(),
        digest: input_digest(&problem),
        problem,
        solution,
    };
    replay.show(global)?;
    terminal::say(
        global,
        &format!(
            "CPU seconds: {:.3} to solve, {:.3} to read, {:.3} to check",
            solved - read,
            read - before,
            done - solved
        ),
    );
    Ok(if replay.unsatisfied > 0 {
        Outcome::Unsatisfied
    } else {
        Outcome::Done
    })
}

impl Replay {
    fn show(&self, global: &Global) -> anyhow::Result<()> {
        let sets = if global.output == Format::Jsonl {
            self.sets()
        } else {
            Vec::new()
        };
        if !answer::structured(global.output, &self.document(), &sets)? {
            terminal::answer(&self.drawn());
        }
        Ok(())
    }

    fn document(&self) -> Value {
        let (problem, solution) = (&self.problem, &self.solution);
        let objective = &solution.objective;
        let mut document = json!({
            "apiVersion": "domicile.dev/placement/v1", "kind": "Replay",
            "inputDigest": self.digest,
            "datasets": problem.datasets.len(), "backends": problem.backends.len(), "unsatisfied": self.unsatisfied,
            // As in a plan.
            "objective": {
                "currency": problem.currency, "perMonth": objective.per_month,
                "lowerBound": solution.lower_bound, "gap": solution.gap(),
                "storagePerMonth": objective.storage, "carbonPerMonth": objective.carbon,
                "transferPerMonth": objective.transfer, "carbonKgPerMonth": objective.carbon_kg,
                "transferOnce": objective.transfer_once, "transferCarbonKg": objective.transfer_carbon_kg,
            },
        });
        if objective.tariffs != 0.0 {
            document["objective"]["tariffsPerMonth"] = json!(objective.tariffs);
        }
        document
    }

    /// One value a dataset.
    fn sets(&self) -> Vec<Value> {
        let datasets = self.problem.datasets.iter().zip(&self.solution.sets);
        let value = |(subject, set): (&domicile_placement::Subject, &Vec<usize>)| {
            let names = set
                .iter()
                .map(|backend| self.problem.backends[*backend].name.as_str());
            json!({"dataset": subject.name.as_str(), "backends": names.collect::<Vec<_>>()})
        };
        datasets.map(value).collect()
    }

    fn drawn(&self) -> String {
        let (problem, solution) = (&self.problem, &self.solution);
        let money = format!("objective ({}/month)", problem.currency);
        let mut table = table::table(&[
            "datasets",
            "backends",
            &money,
            "lower bound",
            "gap",
            "unsatisfied",
        ]);
        table.add_row([
            problem.datasets.len().to_string(),
            problem.backends.len().to_string(),
            format!("{:.6}", solution.objective.per_month),
            format!("{:.6}", solution.lower_bound),
            format!("{:.2e}", solution.gap()),
            self.unsatisfied.to_string(),
        ]);
        table::text(&table)
    }
}

/// User and system time of all threads of this process so far: the clock `CLOCK_PROCESS_CPUTIME_ID` of POSIX.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
