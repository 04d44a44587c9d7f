//! What a run took, and how it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domicile_placement::{Problem, Profile, Solution, check};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::changes::Changed;

/// What a run took.
#[derive(Clone, Copy)]
pub struct Measured {
    /// User and system time of all threads.
    pub cpu_seconds: f64,
    /// The most memory that the process held, the problem included; `None` where the system does not say.
    pub peak_mib: Option<f64>,
}

impl Measured {
    /// Runs once.
    pub fn of<T>(solve: impl FnOnce() -> T) -> (T, Self) {
        let before = cpu_seconds();
        let solution = solve();
        let measured = Self {
            cpu_seconds: cpu_seconds() - before,
            peak_mib: peak_mib(),
        };
        (solution, measured)
    }
}

/// POSIX's CLOCK_PROCESS_CPUTIME_ID: user and system time of all threads.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Lets Linux count the peak anew (proc(5), `clear_refs`), so that each file has its own; elsewhere it grows.
pub fn forget_peak() {
    // Where it cannot be forgotten, the peak is that of all files so far.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// VmHWM of proc(5).
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// One measurement.
pub struct Report {
    file: String,
    what: &'static str,
    datasets: usize,
    backends: usize,
    classes: usize,
    objective: f64,
    lower_bound: f64,
    gap: f64,
    unsatisfied: usize,
    measured: Measured,
    /// Datasets with another set than before, and those of them that the change itself did not touch.
    moved: Option<(usize, usize)>,
}

impl Report {
    /// The headings of the rows.
    pub const HEADINGS: &str = "| file | what | datasets x backends | classes | objective | lower bound | gap | unsatisfied | CPU s | peak MiB | moved (untouched ones) |\n|---|---|---|---|---|---|---|---|---|---|---|";

    /// Checks a solution and tells what it amounts to.
    pub fn of(
        file: &str,
        what: &'static str,
        problem: &Problem,
        solution: &Solution,
        measured: Measured,
    ) -> Result<Self, String> {
        let checked = check(problem, solution).map_err(|violated| {
            let rules: Vec<_> = violated.iter().take(5).map(ToString::to_string).collect();
            format!(
                "{file}, {what}: {} rules are broken: {}",
                violated.len(),
                rules.join("; ")
            )
        })?;
        Ok(Self {
            file: file.to_owned(),
            what,
            datasets: problem.datasets.len(),
            backends: problem.backends.len(),
            classes: classes(problem),
            objective: solution.objective.per_month,
            lower_bound: solution.lower_bound,
            gap: solution.gap(),
            unsatisfied: checked
                .missing
                .iter()
                .filter(|missing| **missing != (0, 0, 0))
                .count(),
            measured,
            moved: None,
        })
    }

    /// Counts the datasets whose set is another than before the change.
    pub fn count_moved(&mut self, changed: &Changed, previous: &Solution, replanned: &Solution) {
        let sets = previous.sets.iter().zip(&replanned.sets).enumerate();
        let moved: Vec<usize> = sets
            .filter(|(_, (before, after))| before != after)
            .map(|(dataset, _)| dataset)
            .collect();
        let untouched = moved.iter().filter(|dataset| !changed.touched.contains(dataset));
        self.moved = Some((moved.len(), untouched.count()));
    }

    /// As a row of a table.
    pub fn row(&self) -> String {
        let peak = self
            .measured
            .peak_mib
            .map_or("-".to_owned(), |mib| format!("{mib:.0}"));
        let moved = self.moved.map_or("-".to_owned(), |(moved, untouched)| {
            format!("{moved} ({untouched})")
        });
        format!(
            "| {} | {} | {} x {} | {} | {:.6} | {:.6} | {:.2e} | {} | {:.6} | {peak} | {moved} |",
            self.file,
            self.what,
            self.datasets,
            self.backends,
            self.classes,
            self.objective,
            self.lower_bound,
            self.gap,
            self.unsatisfied,
            self.measured.cpu_seconds,
        )
    }

    /// As a line of JSON.
    pub fn json(&self) -> String {
        json!({
            "file": self.file, "method": "domicile", "what": self.what, "datasets": self.datasets,
            "backends": self.backends, "classes": self.classes, "objective": self.objective,
            "bound": self.lower_bound, "gap": self.gap, "unsatisfied": self.unsatisfied,
            "cpuSeconds": self.measured.cpu_seconds, "peakMiB": self.measured.peak_mib,
            "moved": self.moved.map(|moved| moved.0), "movedUntouched": self.moved.map(|moved| moved.1),
        })
        .to_string()
    }
}

/// Datasets of which the policies say the same, and which lie in the same places: all that differs is their size.
fn classes(problem: &Problem) -> usize {
    let mut numbers: BTreeMap<*const Profile, usize> = BTreeMap::new();
    let classes: BTreeSet<_> = problem
        .datasets
        .iter()
        .map(|subject| {
            let next = numbers.len();
            let profile = *numbers.entry(Arc::as_ptr(&subject.profile)).or_insert(next);
            let copies: Vec<_> = subject
                .copies
                .iter()
                .map(|held| (held.backend, held.origin, held.state))
                .collect();
            (profile, subject.keep_origin, copies)
        })
        .collect();
    classes.len()
}
