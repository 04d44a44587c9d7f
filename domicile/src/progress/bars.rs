//! Bars on a terminal: one for all, one for each copy that is under way, as many as fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_estate::{BackendName, ByteCount, DatasetName};
use domicile_movers::eta_seconds;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::duration;
use crate::carry::Moving;

/// Copies that have bars of their own at most; the others are summed.
const OWN_BARS: usize = 8;

/// The bars of a stage.
pub(super) struct Bars {
    multi: MultiProgress,
    whole: ProgressBar,
    own: BTreeMap<(DatasetName, BackendName), ProgressBar>,
    rest: Option<ProgressBar>,
}

impl Bars {
    pub(super) fn new(stage: &'static str, bytes: u64) -> Self {
        let multi = MultiProgress::new();
        let whole = bar(&multi, stage.to_owned(), bytes);
        Self {
            multi,
            whole,
            own: BTreeMap::new(),
            rest: None,
        }
    }

    pub(super) fn multi(&self) -> MultiProgress {
        self.multi.clone()
    }

    pub(super) fn set_whole(&self, bytes: u64, objects: (u64, u64), rate: Option<f64>) {
        let left = self.whole.length().unwrap_or_default().saturating_sub(bytes);
        self.whole.set_position(bytes);
        let pace = pace(rate, eta_seconds(left, rate));
        self.whole
            .set_message(format!(", {} of {}{pace}", objects.0, objects.1));
    }

    pub(super) fn set_moves(&mut self, now: &[Arc<Moving>]) {
        let of = |moving: &Moving| (moving.dataset.clone(), moving.target.clone());
        self.own.retain(|copy, bar| {
            let stays = now.iter().any(|moving| of(moving) == *copy);
            if !stays {
                bar.finish_and_clear();
                self.multi.remove(bar);
            }
            stays
        });
        let mut others = Vec::new();
        for moving in now {
            let copy = of(moving);
            if !self.own.contains_key(&copy) {
                if self.own.len() >= OWN_BARS {
                    others.push(moving);
                    continue;
                }
                let name = format!("  {} → {}", moving.dataset, moving.target);
                self.own
                    .insert(copy.clone(), bar(&self.multi, name, moving.total()));
            }
            if let Some(bar) = self.own.get(&copy) {
                bar.set_length(moving.total());
                bar.set_position(moving.done());
                bar.set_message(pace(moving.per_second(), moving.eta_seconds()));
            }
        }
        self.set_rest(&others);
    }

    fn set_rest(&mut self, others: &[&Arc<Moving>]) {
        if others.is_empty() {
            if let Some(bar) = self.rest.take() {
                bar.finish_and_clear();
                self.multi.remove(&bar);
            }
            return;
        }
        let rest = self
            .rest
            .get_or_insert_with(|| bar(&self.multi, String::new(), 0));
        rest.set_prefix(format!("  and {} more", others.len()));
        rest.set_length(others.iter().map(|moving| moving.total()).sum());
        rest.set_position(others.iter().map(|moving| moving.done()).sum());
    }
}

/// `, 10.0 MiB/s, ETA 3 m 5 s`, as far as it is known.
fn pace(rate: Option<f64>, eta_seconds: Option<f64>) -> String {
    let rate = rate.map(|rate| format!(", {}/s", ByteCount(rate as u64)));
    let eta = eta_seconds.map(|eta| format!(", ETA {}", duration(eta.ceil())));
    rate.unwrap_or_default() + &eta.unwrap_or_default()
}

fn bar(multi: &MultiProgress, prefix: String, bytes: u64) -> ProgressBar {
    let bar = multi.add(ProgressBar::new(bytes));
    // Eighty columns have room for all of it, and some ten for the bar.
    let template = "{prefix:20!} {wide_bar} {percent:>3}% of {binary_total_bytes}{msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(prefix);
    bar
}
