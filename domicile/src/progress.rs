//! Progress on standard error: bars on a terminal, else a line now and then, or events for programs.

mod bars;

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domicile_estate::ByteCount;
use domicile_movers::{Rate, eta_seconds};
use domicile_scheduler::StepState;
use indicatif::MultiProgress;
use serde_json::json;

use crate::carry::{Moving, Movings};
use crate::cli::{self, Global};
use bars::Bars;

/// How often a line is written where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(30);
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
    there: AtomicU64,
    objects: AtomicU64,
    failed: AtomicU64,
    /// What counts the same beside others.
    whole: Option<Arc<Self>>,
}

impl Meter {
    /// One that counts a part of what another one counts.
    pub fn within(whole: &Arc<Self>) -> Self {
        Self {
            whole: Some(Arc::clone(whole)),
            ..Self::default()
        }
    }

    fn add(&self, counter: fn(&Self) -> &AtomicU64, count: u64) {
        counter(self).fetch_add(count, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add(counter, count);
        }
    }

    /// Bytes were moved.
    pub fn add_bytes(&self, bytes: u64) {
        self.add(|all| &all.bytes, bytes);
    }

    /// Bytes were there already: they are done, but tell nothing of how fast it goes.
    pub fn add_there(&self, bytes: u64) {
        self.add(|all| &all.there, bytes);
    }

    /// An object is done.
    pub fn add_object(&self) {
        self.add(|all| &all.objects, 1);
    }

    /// An object failed.
    pub fn add_failure(&self) {
        self.add(|all| &all.failed, 1);
    }

    /// Bytes that are done and that no worker counts.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) + self.there.load(Ordering::Relaxed)
    }
}

/// One stage of work that is being watched; ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    task: tokio::task::JoinHandle<()>,
    bars: Option<MultiProgress>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(bars) = &self.bars {
            // Nobody is left to tell when standard error is closed.
            let _ = bars.clear();
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

/// How far a stage has come.
#[derive(Debug, Clone, Copy)]
struct Done {
    /// Those that were there before included.
    bytes: u64,
    objects: u64,
    failed: u64,
    /// Per second, of late.
    rate: Option<f64>,
}

impl Counters {
    fn look(&self, at: Duration, rate: &mut Rate) -> Done {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let moved = self.moved.as_deref();
        let moved = moved.map_or(0, domicile_worker::Progress::bytes_written) + load(&self.meter.bytes);
        rate.seen(u64::try_from(at.as_micros()).unwrap_or(u64::MAX), moved);
        Done {
            bytes: moved + load(&self.meter.there),
            objects: load(&self.meter.objects),
            failed: load(&self.meter.failed),
            rate: rate.per_second(),
        }
    }
}

/// Begins to watch a stage such as `reading`, with the bytes and objects that there are to do.
pub fn watch(global: &Global, stage: &'static str, total: (u64, u64), counters: Counters) -> Watch {
    watch_moves(global, stage, total, counters, Arc::default())
}

/// The same of a stage in which copies are under way, each of which is shown too.
pub fn watch_moves(
    global: &Global,
    stage: &'static str,
    total: (u64, u64),
    counters: Counters,
    movings: Arc<Movings>,
) -> Watch {
    let mode = Mode::of(global);
    let bars = (mode == Mode::Bars).then(|| Bars::new(stage, total.0));
    let multi = bars.as_ref().map(Bars::multi);
    let task = tokio::spawn(show(mode, (stage, total), counters, bars, movings));
    Watch { task, bars: multi }
}

async fn show(
    mode: Mode,
    (stage, total): (&'static str, (u64, u64)),
    counters: Counters,
    mut bars: Option<Bars>,
    movings: Arc<Movings>,
) {
    let every = match mode {
        Mode::Bars => Duration::from_millis(200),
        Mode::Plain => PLAIN_EVERY,
        Mode::Jsonl => EVENT_EVERY,
        Mode::None => return,
    };
    let started = Instant::now();
    let mut rate = Rate::default();
    counters.look(Duration::ZERO, &mut rate);
    let mut ticks = tokio::time::interval(every);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let done = counters.look(started.elapsed(), &mut rate);
        if let Some(bars) = &mut bars {
            bars.set_whole(done.bytes, (done.objects, total.1), done.rate);
            bars.set_moves(&movings.now());
            continue;
        }
        say_progress(mode, stage, done, total);
        if mode == Mode::Jsonl {
            movings.now().iter().for_each(|moving| say_moving(moving));
        }
    }
}

/// Tells programs how far a copy has come that is under way.
fn say_moving(moving: &Moving) {
    let event = json!({
        "event": "moving", "dataset": moving.dataset.as_str(), "to": moving.target.as_str(), "bytes": moving.done(),
        "totalBytes": moving.total(), "bytesPerSecond": moving.per_second(), "etaSeconds": moving.eta_seconds(),
    });
    let _ = writeln!(std::io::stderr().lock(), "{event}");
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

fn say_progress(mode: Mode, stage: &str, done: Done, total: (u64, u64)) {
    let Done {
        bytes,
        objects,
        failed,
        rate,
    } = done;
    let eta = eta_seconds(total.0.saturating_sub(bytes), rate);
    let line = if mode == Mode::Jsonl {
        json!({
            "event": "progress", "stage": stage, "bytes": bytes, "totalBytes": total.0, "objects": objects,
            "totalObjects": total.1, "failedObjects": failed, "bytesPerSecond": rate, "etaSeconds": eta,
        })
        .to_string()
    } else {
        format!(
            "{stage}: {} of {}, {objects} of {} objects, {}/s, ETA {}",
            ByteCount(bytes),
            ByteCount(total.0),
            total.1,
            ByteCount(rate.unwrap_or_default() as u64),
            eta.map_or_else(|| "unknown".to_owned(), |eta| duration(eta.ceil())),
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
    use super::*;

    #[test]
    fn what_was_there_is_done_and_not_fast() {
        let all = Arc::new(Meter::default());
        let part = Meter::within(&all);
        let counters = Counters {
            meter: Arc::clone(&all),
            moved: None,
        };
        let mut rate = Rate::default();
        counters.look(Duration::ZERO, &mut rate);
        part.add_there(1 << 30);
        part.add_bytes(500);
        part.add_object();
        let done = counters.look(Duration::from_secs(5), &mut rate);
        assert_eq!((done.bytes, done.objects, done.failed), ((1 << 30) + 500, 1, 0));
        assert_eq!(done.rate, Some(100.0));
        assert_eq!(part.bytes(), all.bytes());
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(0.4), "0 s");
        assert_eq!(duration(185.0), "3 m 5 s");
        assert_eq!(duration(22_200.0), "6 h 10 m");
        assert_eq!(duration(200_000.0), "2 d 7 h");
    }
}
