//! A closer bound for a plan that stands, after a change that made room dearer.
//!
//! The standing tolls go on to prove a bound, but not a close one where a change fills what was free. So tolls are raised
//! where more would be taken than there is, step by step (Polyak, 1969: the size of a step is known where the value at the
//! optimum nearly is, and here it is nearly what the plan costs), each going on a little in the direction of those before
//! (Camerini, Fratta and Maffioli, 1975). Tolls only rise: then a lot that was not asked, and
//! whose best set is further from any other than the raise, still has that best set.

use super::members::Members;
use super::scales::Scales;
use super::stock::Stock;
use super::wish::{Tolls, Wish};

/// Steps at most.
const STEPS: usize = 8;
/// How much of the direction of a step goes into the next.
const GOES_ON: f64 = 0.8;
/// Lots asked in all steps at most.
const ASKED: usize = 100_000;
/// Margins are rounded; this much of one is sure.
const SURE: f64 = 0.999;

/// What every lot would take if it could, at the standing tolls.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    /// For each lot its best set, and what the next best exchange costs more.
    sets: Vec<Members>,
    margins: Vec<f32>,
}

/// Tolls above the standing ones, and how much more than those they prove.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    gain: f64,
    /// How far above the standing tolls, and the room that this was reckoned with.
    raise: Vec<f64>,
    room: Vec<f64>,
}

impl Proof {
    /// What it proves when backends have this room now. Lots may have come since: to them too, dearer room is only dearer.
    pub fn gain(&self, room: impl Fn(usize) -> f64) -> f64 {
        let dearer = (self.raise.iter().zip(&self.room))
            .enumerate()
            .map(|(backend, (raise, before))| raise * (room(backend) - before));
        f64::max(0.0, self.gain - dearer.sum::<f64>())
    }
}

/// What tolls above the standing ones prove.
struct Raised {
    /// What they prove more than the standing ones.
    gain: f64,
    /// What would be taken of each backend, beyond its room.
    excess: Vec<f64>,
    asked: usize,
}

impl Wants {
    /// Takes down what the lot asked last would take; a new lot comes behind all others.
    pub fn note(&mut self, stock: &Stock, lot: usize, scales: &Scales) {
        if lot >= self.sets.len() {
            self.sets.resize(lot + 1, Members::default());
            self.margins.resize(lot + 1, 0.0);
        }
        self.sets[lot] = Members::of(&scales.members);
        self.margins[lot] = stock.margin(lot, scales) as f32;
    }

    /// Makes room for so many more lots.
    pub fn reserve(&mut self, lots: usize) {
        self.sets.reserve(lots);
        self.margins.reserve(lots);
    }

    /// The tolls found that bring the bound closest to what the plan costs. `lacks`: what it costs above the bound at the standing
    /// tolls; so much of it is close enough. `best`: for each lot, the price of its best set, or less.
    pub fn closer(
        &self,
        stock: &Stock,
        (tolls, room): (&Tolls, &[f64]),
        best: &[f64],
        (lacks, enough): (f64, f64),
        scales: &mut Scales,
    ) -> Proof {
        let (mut at, mut most, mut asked) = (tolls.clone(), Proof::default(), 0);
        let mut way = vec![0.0; room.len()];
        for _ in 0..STEPS {
            let found = self.raised(stock, (tolls, &at), (room, best), scales);
            if found.gain > most.gain {
                most = Proof {
                    gain: found.gain,
                    raise: raise(tolls, &at),
                    room: room.to_vec(),
                };
            }
            asked += found.asked;
            for (backend, (on, excess)) in way.iter_mut().zip(&found.excess).enumerate() {
                *on = excess + GOES_ON * *on;
                if at.room[backend] <= tolls.room[backend] {
                    *on = on.max(0.0);
                }
            }
            let slope: f64 = way
                .iter()
                .zip(&found.excess)
                .map(|(on, excess)| on * excess)
                .sum();
            if lacks - most.gain <= enough || slope <= 0.0 || asked > ASKED {
                break;
            }
            let step = (lacks - found.gain) / slope;
            for ((toll, standing), on) in at.room.iter_mut().zip(&tolls.room).zip(&way) {
                *toll = (*toll + step * on).max(*standing);
            }
        }
        most
    }

    /// What these tolls prove more than the standing ones.
    fn raised(
        &self,
        stock: &Stock,
        (standing, tolls): (&Tolls, &Tolls),
        (room, best): (&[f64], &[f64]),
        scales: &mut Scales,
    ) -> Raised {
        let wish = Wish::cost();
        let raise = raise(standing, tolls);
        let mut found = Raised {
            gain: -(raise.iter().zip(room).map(|(raise, room)| raise * room)).sum::<f64>(),
            excess: room.iter().map(|room| -room).collect(),
            asked: 0,
        };
        for (lot, set) in self.sets.iter().enumerate() {
            let bytes = stock.lots[lot].bytes as f64;
            let (mut dearer, mut most) = (0.0, 0.0);
            stock.takes(lot, set, |backend| {
                dearer += raise[backend];
                most = f64::max(most, raise[backend]);
            });
            if most * bytes <= f64::from(self.margins[lot]) * SURE {
                found.gain += dearer * bytes;
                stock.takes(lot, set, |backend| found.excess[backend] += bytes);
                continue;
            }
            found.asked += 1;
            stock.weigh(lot, &wish, tolls, scales);
            found.gain += stock.choose_or_stay(lot, &wish, tolls, scales).bound - best[lot];
            let set = Members::of(&scales.members);
            stock.takes(lot, &set, |backend| found.excess[backend] += bytes);
        }
        // What has room at the standing toll is as cheap as it may be.
        let rows = found.excess.iter_mut().zip(&raise);
        rows.for_each(|(excess, raise)| {
            if *raise <= 0.0 {
                *excess = excess.max(0.0);
            }
        });
        found
    }
}

/// How far each backend's toll stands above the standing one.
fn raise(standing: &Tolls, raised: &Tolls) -> Vec<f64> {
    (raised.room.iter().zip(&standing.room))
        .map(|(raised, toll)| raised - toll)
        .collect()
}
