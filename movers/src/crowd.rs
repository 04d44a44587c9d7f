//! How much to ask a store at once. Time comes in as a value, in microseconds from any beginning.
//!
//! ```text
//!  measure ──▶ try more ── it brings more ──▶ more still …
//!     ▲            └────── it does not ────▶ back, measure ──▶ try less ── it costs nothing ──▶ less still …
//!     └─────────────────────── rest ◀─────────────────────────────┘ it does
//!  overburdened (503, 429, a time-out), at any time: half as many, and anew
//! ```
//!
//! Below the point from which on a store only lets requests wait, more at once bring more in proportion, and beyond it they
//! bring nothing. So the test is by what share of the proportion the work per second grows or falls; hill climbing of this
//! kind is what adaptive limits of concurrency do since TCP Vegas (Brakmo and Peterson, 1995).

/// Requests at once in the beginning, and the most there ever are.
const START: usize = 32;
const MOST: usize = 128;
/// Refusals of requests that were under way together are one refusal.
const TOGETHER_US: u64 = 1_000_000;
/// What a request takes besides its bytes, in bytes that could be moved meanwhile.
const REQUEST_BYTES: u64 = 64 * 1024;
/// A window lasts so many rounds, answers and microseconds at least.
const ROUNDS: usize = 4;
const WINDOW_ANSWERS: usize = 32;
const WINDOW_US: u64 = 50_000;
/// The share of the proportional gain that more at once must bring, and that fewer may cost.
const SHARE: f64 = 0.5;
/// Windows in which nothing is tried once neither more nor less is better.
const REST: u32 = 8;

/// How many requests a store is asked at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crowd {
    /// What has proven best so far.
    level: usize,
    phase: Phase,
    window: Window,
    refused_us: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// What the level brings, before this is tried.
    Measure(Way),
    /// This many, after the level brought so much per second; with whether trying this way was good before.
    Try {
        way: Way,
        at: usize,
        base: f64,
        went: bool,
    },
    /// So many windows are left.
    Rest(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    More,
    Less,
}

/// Answers that are measured together. They may come in bursts, of as many as were asked together, so that a window goes from
/// the beginning of one burst to that of another.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Window {
    /// Answers to what was asked before it.
    skip: usize,
    /// Whether those have passed, and it is measured.
    counts: bool,
    since_us: u64,
    last_us: Option<u64>,
    answers: usize,
    /// Answers while as many were under way as may be.
    full: usize,
    work: u64,
}

impl Window {
    /// Takes note of the time of an answer; says whether a burst begins with it: it comes later than answers do on the mean.
    fn begins_burst(&mut self, now_us: u64) -> bool {
        let Some(last_us) = self.last_us.replace(now_us) else {
            self.since_us = now_us;
            return false;
        };
        let gap_us = now_us.saturating_sub(last_us);
        let mean_us = now_us.saturating_sub(self.since_us) / self.answers.max(1) as u64;
        gap_us > 0 && gap_us >= mean_us
    }

    fn after(self, skip: usize, now_us: u64) -> Self {
        Self {
            skip,
            counts: skip == 0,
            since_us: now_us,
            last_us: self.last_us,
            ..Self::default()
        }
    }
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            level: START,
            phase: Phase::Measure(Way::More),
            window: Window::default(),
            refused_us: None,
        }
    }
}

impl Crowd {
    /// How many there may be at once; one at least.
    #[must_use]
    pub fn allowed(&self) -> usize {
        match self.phase {
            Phase::Try { at, .. } => at,
            Phase::Measure(_) | Phase::Rest(_) => self.level,
        }
    }

    /// Bytes came or went outside of a request's time, such as those of an object that was opened before.
    pub fn moved(&mut self, bytes: u64) {
        self.window.work = self.window.work.saturating_add(bytes);
    }

    /// A request with so many bytes was answered while so many were under way, itself included.
    pub fn answered(&mut self, now_us: u64, under_way: usize, bytes: u64) {
        let begins_burst = self.window.begins_burst(now_us);
        if begins_burst && self.is_over(now_us) {
            let Window {
                answers, full, work, ..
            } = self.window;
            let took_us = now_us.saturating_sub(self.window.since_us);
            let allowed = self.allowed();
            self.phase = self.after(
                4 * full >= 3 * answers,
                work as f64 * 1_000_000.0 / took_us as f64,
            );
            let skip = match self.allowed() {
                same if same == allowed => 0,
                other => allowed.max(other),
            };
            self.window = self.window.after(skip, now_us);
        } else if begins_burst && !self.window.counts && self.window.answers >= self.window.skip {
            self.window = self.window.after(0, now_us);
        }
        let allowed = self.allowed();
        let window = &mut self.window;
        window.answers += 1;
        window.full += usize::from(under_way >= allowed);
        window.work = window.work.saturating_add(bytes).saturating_add(REQUEST_BYTES);
    }

    fn is_over(&self, now_us: u64) -> bool {
        let took_us = now_us.saturating_sub(self.window.since_us);
        let needed = WINDOW_ANSWERS.max(ROUNDS * self.allowed());
        self.window.counts && self.window.answers >= needed && took_us >= WINDOW_US
    }

    /// The store had too much to do, or did not answer in time.
    pub fn overburdened(&mut self, now_us: u64) {
        let recent = self
            .refused_us
            .is_some_and(|then| now_us.saturating_sub(then) < TOGETHER_US);
        if !recent {
            self.level = (self.allowed() / 2).max(1);
            self.phase = Phase::Measure(Way::More);
            self.window = Window::default();
            self.refused_us = Some(now_us);
        }
    }

    fn after(&mut self, is_full: bool, per_second: f64) -> Phase {
        match self.phase {
            // What is not used proves nothing.
            Phase::Try { way, .. } if !is_full => Phase::Measure(way),
            phase if !is_full => phase,
            Phase::Measure(way) => self.try_on(way, per_second, false),
            Phase::Try { way, at, base, went } => {
                let grown = at as f64 / self.level as f64 - 1.0;
                if per_second >= base * (1.0 + SHARE * grown) {
                    self.level = at;
                    self.try_on(way, per_second, true)
                } else if way == Way::More && !went {
                    Phase::Measure(Way::Less)
                } else {
                    Phase::Rest(REST)
                }
            }
            Phase::Rest(0) => self.try_on(Way::More, per_second, false),
            Phase::Rest(left) => Phase::Rest(left - 1),
        }
    }

    fn try_on(&self, way: Way, base: f64, went: bool) -> Phase {
        let at = match way {
            Way::More => (self.level + (self.level / 4).max(1)).min(MOST),
            Way::Less => (self.level - (self.level / 5).max(1)).max(1),
        };
        match at == self.level {
            true if way == Way::More && !went => Phase::Measure(Way::Less),
            true => Phase::Rest(REST),
            false => Phase::Try { way, at, base, went },
        }
    }
}
