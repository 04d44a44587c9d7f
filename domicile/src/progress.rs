//! Progress on standard error: bars on a terminal, else a line now and then, or events for programs.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domicile_estate::ByteCount;
use domicile_scheduler::StepState;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::cli::{self, Global};

/// How often a line is written where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(30);
/// How many seconds the rate is measured over.
const PACE_SECONDS: f64 = 60.0;
/// How often an event is written for programs.
const EVENT_EVERY: Duration = Duration::from_secs(1);

/// What progress is shown as, once it is known whether standard error is a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Bars,
    Plain,
    Jsonl,
    None,
}

impl Mode {
    fn of(global: &Global) -> Self {
        match global.progress {
            _ if global.quiet => Self::None,
            cli::Progress::Auto if std::io::stderr().is_terminal() => Self::Bars,
            cli::Progress::Auto | cli::Progress::Plain => Self::Plain,
            cli::Progress::Jsonl => Self::Jsonl,
            cli::Progress::None => Self::None,
        }
    }
}

/// Counts what is done, cheaply, from any thread.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: AtomicU64,
    objects: AtomicU64,
    failed: AtomicU64,
}

impl Meter {
    /// Bytes were moved.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// An object is done.
    pub fn add_object(&self) {
        self.objects.fetch_add(1, Ordering::Relaxed);
    }

    /// An object failed.
    pub fn add_failure(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self, moved: Option<&domicile_worker::Progress>) -> (u64, u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let moved = moved.map_or(0, domicile_worker::Progress::bytes_written);
        (load(&self.bytes) + moved, load(&self.objects), load(&self.failed))
    }
}

/// One stage of work that is being watched; ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    task: tokio::task::JoinHandle<()>,
    bar: Option<ProgressBar>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What a watch reads.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Objects, and bytes that were not moved but are done.
    pub meter: Arc<Meter>,
    /// Bytes that the worker moves.
    pub moved: Option<Arc<domicile_worker::Progress>>,
}

/// Begins to watch a stage such as `copying`, with the bytes and objects that there are to do.
pub fn watch(global: &Global, stage: &'static str, total: (u64, u64), counters: Counters) -> Watch {
    let mode = Mode::of(global);
    let bar = (mode == Mode::Bars).then(|| new_bar(stage, total.0));
    let task = tokio::spawn(show(mode, stage, counters, bar.clone(), total));
    Watch { task, bar }
}

fn new_bar(stage: &'static str, bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    let template =
        "{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {msg}, ETA {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(stage);
    bar
}

async fn show(
    mode: Mode,
    stage: &'static str,
    counters: Counters,
    bar: Option<ProgressBar>,
    total: (u64, u64),
) {
    let every = match mode {
        Mode::Bars => Duration::from_millis(100),
        Mode::Plain => PLAIN_EVERY,
        Mode::Jsonl => EVENT_EVERY,
        Mode::None => return,
    };
    let started = Instant::now();
    let mut pace = Pace::default();
    let mut ticks = tokio::time::interval(every);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let (bytes, objects, failed) = counters.meter.read(counters.moved.as_deref());
        if let Some(bar) = &bar {
            bar.set_position(bytes);
            bar.set_message(format!("{objects}/{} objects", total.1));
        } else {
            let rate = pace.at(started.elapsed().as_secs_f64(), bytes);
            say_progress(mode, stage, (bytes, objects, failed), total, rate);
        }
    }
}

/// Tells programs where a move stands.
pub fn tell_move(global: &Global, id: &str, state: &StepState) {
    if Mode::of(global) != Mode::Jsonl {
        return;
    }
    let (word, reason) = match state {
        StepState::Waiting => ("waiting", ""),
        StepState::Running { .. } => ("running", ""),
        StepState::RetryAt { reason, .. } => ("retrying", reason.as_str()),
        StepState::Done => ("done", ""),
        StepState::Failed { reason } => ("failed", reason.as_str()),
        StepState::Held { reason, .. } => ("held", reason.as_str()),
        StepState::Skipped { reason } => ("skipped", reason.as_str()),
    };
    let event = json!({"event": "move", "id": id, "state": word, "reason": reason});
    let _ = writeln!(std::io::stderr().lock(), "{event}");
}

/// How fast it goes, by the last while: what was slow or fast long ago says little of what is left.
#[derive(Debug, Default)]
struct Pace {
    seen: VecDeque<(f64, u64)>,
}

impl Pace {
    /// Bytes per second, at so many seconds after the beginning with so many bytes done.
    fn at(&mut self, seconds: f64, bytes: u64) -> f64 {
        if self.seen.is_empty() {
            self.seen.push_back((0.0, 0));
        }
        self.seen.push_back((seconds, bytes));
        while self.seen.len() > 2
            && self
                .seen
                .get(1)
                .is_some_and(|(then, _)| seconds - then >= PACE_SECONDS)
        {
            self.seen.pop_front();
        }
        let (then, before) = self.seen.front().copied().unwrap_or_default();
        bytes.saturating_sub(before) as f64 / (seconds - then).max(0.001)
    }
}

fn say_progress(mode: Mode, stage: &str, done: (u64, u64, u64), total: (u64, u64), rate: f64) {
    let (bytes, objects, failed) = done;
    let left = total.0.saturating_sub(bytes) as f64;
    let eta_seconds = if rate > 0.0 { (left / rate).ceil() } else { 0.0 };
    let line = if mode == Mode::Jsonl {
        json!({
            "event": "progress", "stage": stage, "bytes": bytes, "totalBytes": total.0, "objects": objects,
            "totalObjects": total.1, "failedObjects": failed, "bytesPerSecond": rate, "etaSeconds": eta_seconds,
        })
        .to_string()
    } else {
        format!(
            "{stage}: {} of {}, {objects} of {} objects, {}/s, ETA {}",
            ByteCount(bytes),
            ByteCount(total.0),
            total.1,
            ByteCount(rate as u64),
            duration(eta_seconds),
        )
    };
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A duration for people: `6 h 10 m`, `3 m 5 s`, `12 s`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} m {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} m"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, duration};

    #[test]
    fn the_rate_is_that_of_the_last_while() {
        let mut pace = Pace::default();
        assert_eq!(pace.at(10.0, 1000), 100.0);
        assert_eq!(pace.at(20.0, 2000), 100.0);
        // It stands still: a minute later nothing of the old rate is left.
        assert!(pace.at(50.0, 2000) < 100.0);
        assert_eq!(pace.at(81.0, 2000), 0.0);
        assert_eq!(pace.at(111.0, 5000), 3000.0 / 61.0);
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(0.4), "0 s");
        assert_eq!(duration(185.0), "3 m 5 s");
        assert_eq!(duration(22_200.0), "6 h 10 m");
        assert_eq!(duration(200_000.0), "2 d 7 h");
    }
}
