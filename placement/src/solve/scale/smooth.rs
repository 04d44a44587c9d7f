//! Tolls by Newton's method on a smoothed program.
//!
//! Thousands of small lots that tie make the simplex method walk from tie to tie. Here every candidate's price is first
//! shaken a little, each lot's its own way, so that ties break one lot after the other and what is used of a backend
//! changes smoothly with the tolls. The tolls at which the use meets the room are then found by Newton's method, and
//! the shaking is made smaller and smaller. It is advice as all else: the bound is by exact pricing without shaking.

use super::members::Members;
use super::pool::{Choosing, Pool};
use super::stock::Stock;
use super::wish::{Tolls, Wish};

/// Steps for each width at most.
const STEPS: usize = 8;
/// Sweeps over the rows of the equations of a step.
const RELAXATIONS: usize = 60;
/// How far a toll may go in one step, in widths.
const REACH: f64 = 1.0;
/// What a step must gain to be followed by another, as a share of the width.
const DONE: f64 = 3e-2;
/// Lots from which on only one of so many small ones is asked while prices are shaken by more than this; small are those
/// of less than so many times the mean.
const MANY: usize = 50_000;
const ONE_OF: usize = 4;
const SAMPLED: f64 = 1e-4;
const MEAN_TIMES: f64 = 4.0;
/// Candidates further than this from being chosen, in widths, are dropped for good.
const DROPPED: f64 = 6.0;

/// How a program is smoothed.
pub(crate) struct Smoothing {
    /// How far prices are shaken, as a share of the price of a copy, one time after the other.
    pub widths: &'static [f64],
    /// How much dearer than the dearest member a candidate may be, as such a share too.
    pub share: f64,
}

/// The tolls at which use and room meet as these lots move, from the given ones; what they choose there goes to `sets`.
/// `None` if the smoothed program cannot ask most of them.
pub(crate) fn smooth(
    stock: &Stock,
    (wish, tolls): (&Wish, &Tolls),
    lots: &[u32],
    how: &Smoothing,
    sets: &mut [Members],
) -> Option<Tolls> {
    let pool = Pool::of(stock, wish, tolls, lots, how.share);
    if pool.lots().len() * 2 < lots.len() {
        return None;
    }
    let rows = Smooth::of(stock, wish, pool, sets).settle(tolls, how.widths, sets);
    Some(Tolls {
        room: rows[..tolls.room.len()].to_vec(),
        levels: rows[tolls.room.len() + 1..].to_vec(),
        ..tolls.clone()
    })
}

/// The lots that are asked again and again, with the rest of the estate as it stands.
struct Smooth<'s> {
    stock: &'s Stock,
    pool: Pool,
    /// What all others use of each backend, then of what takes no room, then of each level.
    others: Vec<f64>,
    rooms: Vec<f64>,
    /// The row of what takes no room.
    nowhere: usize,
    /// The mean price of a copy for each byte, and what one copy of each lot costs in all.
    per_byte: f64,
    total: f64,
    bytes: f64,
}

/// What the lots ask for at some tolls.
#[derive(Debug, Clone, Default)]
struct Answer {
    /// The value of the dual program.
    value: f64,
    /// What is used beyond the room of each backend.
    excess: Vec<f64>,
    /// How the use of each backend falls with each toll.
    curvature: Vec<f64>,
}

impl<'s> Smooth<'s> {
    /// The lots of a pool; all others keep their sets.
    fn of(stock: &'s Stock, wish: &Wish, pool: Pool, sets: &[Members]) -> Self {
        let rooms = stock.limits.room.iter().map(|room| *room as f64);
        let rooms: Vec<f64> = rooms.chain([0.0]).chain(wish.at_most.iter().copied()).collect();
        let nowhere = stock.limits.room.len();
        let mut others = vec![0.0; rooms.len()];
        let mut next = pool.lots().iter().peekable();
        let (mut bytes, mut total) = (0.0, 0.0);
        for (lot, members) in sets.iter().enumerate() {
            let size = stock.lots[lot].bytes as f64;
            if let Some(pooled) = next.next_if(|next| next.lot as usize == lot) {
                bytes += size;
                total += pooled.of_copy * size;
            } else {
                stock.takes(lot, members, |backend| others[backend] += size);
                for (level, amount) in wish.of_levels(stock, lot, members) {
                    others[nowhere + 1 + level] += amount;
                }
            }
        }
        Self {
            per_byte: total / f64::max(bytes, 1.0),
            total,
            bytes,
            stock,
            pool,
            others,
            rooms,
            nowhere,
        }
    }

    /// The tolls at which use and room meet, from these; the sets that the lots choose there go to `sets`.
    fn settle(mut self, tolls: &Tolls, widths: &[f64], sets: &mut [Members]) -> Vec<f64> {
        let rows = tolls.room.iter().chain([&0.0]).chain(&tolls.levels);
        let mut tolls: Vec<f64> = rows.copied().collect();
        for (at, width) in widths.iter().copied().enumerate() {
            self.settle_at(&mut tolls, width);
            let others = &mut self.others;
            let share = if at + 1 < widths.len() {
                DROPPED * width
            } else {
                f64::NEG_INFINITY
            };
            if at % 2 == 1 && at + 1 < widths.len() {
                continue;
            }
            self.pool
                .tighten(self.stock, &tolls, (width, share), |pool, place, choosing| {
                    let pooled = pool.lots()[place];
                    pool.backends(place, choosing)
                        .for_each(|backend| others[backend] += pooled.bytes);
                    pool.lacks(place, choosing, |row, amount| others[row] += amount);
                    sets[pooled.lot as usize] = pool.positions(place, choosing);
                });
        }
        tolls
    }

    /// For how many a lot stands at this width: many small ones say as much as all do, while prices are shaken far.
    fn stands_for(&self, place: usize, width: f64, large: f64) -> f64 {
        let lots = self.pool.lots();
        let is_asked = lots.len() < MANY || width < SAMPLED || lots[place].bytes >= large;
        match place % ONE_OF {
            _ if is_asked => 1.0,
            0 => ONE_OF as f64,
            _ => 0.0,
        }
    }

    fn settle_at(&self, tolls: &mut Vec<f64>, width: f64) {
        let mut now = self.ask(tolls, width);
        let mut reach = REACH * width;
        for _ in 0..STEPS {
            let there = self.step(&now, tolls, reach);
            let then = self.ask(&there, width);
            let gained = then.value - now.value;
            if gained > 0.0 {
                *tolls = there;
                now = then;
            } else {
                reach *= 0.25;
            }
            if gained >= 0.0 && gained <= DONE * width * self.total {
                break;
            }
        }
    }

    /// Asks every lot at shaken prices.
    fn ask(&self, tolls: &[f64], width: f64) -> Answer {
        let rows = tolls.len();
        let mut answer = Answer {
            value: 0.0,
            excess: self.others.clone(),
            curvature: vec![0.0; rows * rows],
        };
        let large = MEAN_TIMES * self.bytes / self.pool.lots().len().max(1) as f64;
        let mut choosing = Choosing::default();
        for (place, pooled) in self.pool.lots().iter().enumerate() {
            let stands_for = self.stands_for(place, width, large);
            if stands_for == 0.0 || !self.pool.choose(self.stock, place, tolls, width, &mut choosing) {
                continue;
            }
            let bytes = pooled.bytes * stands_for;
            answer.value += choosing.value * bytes;
            for backend in self.pool.backends(place, &choosing) {
                answer.excess[backend] += bytes;
            }
            self.pool.lacks(place, &choosing, |row, amount| {
                answer.excess[row] += amount * stands_for
            });
            let near = (width * 0.5, tolls);
            self.pool
                .ties(self.stock, place, near, &choosing, |gone, come, weight| {
                    let weight = weight * stands_for;
                    let ((gone, less), (come, more)) = (gone, come);
                    answer.curvature[gone * rows + gone] += weight * less * less;
                    answer.curvature[come * rows + come] += weight * more * more;
                    answer.curvature[gone * rows + come] -= weight * less * more;
                    answer.curvature[come * rows + gone] -= weight * less * more;
                });
        }
        for (row, room) in self.rooms.iter().enumerate() {
            answer.value += tolls[row] * (self.others[row] - room);
            answer.excess[row] -= room;
        }
        answer.excess[self.nowhere] = 0.0;
        answer
    }

    /// How far the toll of a row may go for a reach in widths.
    fn reach(&self, row: usize, toll: f64, reach: f64) -> f64 {
        if row < self.nowhere {
            return reach * self.per_byte;
        }
        let of_copy = self.total / self.pool.lots().len().max(1) as f64;
        reach * of_copy.max(toll)
    }

    /// The tolls that promise most within reach; none falls below zero.
    fn step(&self, now: &Answer, tolls: &[f64], reach: f64) -> Vec<f64> {
        let rows = tolls.len();
        let mut step = vec![0.0; rows];
        for _ in 0..RELAXATIONS {
            for row in (0..rows).filter(|row| *row != self.nowhere) {
                let reach = self.reach(row, tolls[row], reach);
                let of_row = &now.curvature[row * rows..(row + 1) * rows];
                let bends: f64 = of_row.iter().zip(&step).map(|(bend, by)| bend * by).sum();
                let slope = now.excess[row] - bends + of_row[row] * step[row];
                let best = if of_row[row] > 0.0 {
                    slope / of_row[row]
                } else {
                    slope.signum() * reach
                };
                step[row] = best.clamp((-tolls[row]).max(-reach), reach);
            }
        }
        tolls
            .iter()
            .zip(&step)
            .map(|(toll, by)| (toll + by).max(0.0))
            .collect()
    }
}
