//! What the searches by branch and bound over patterns share: [`super::branch`], where rows are limits, and the one where
//! backends have tariffs.

/// Steps of the prices at the root and in a branch.
pub(super) const ROOT_STEPS: u32 = 300;
pub(super) const BRANCH_STEPS: u32 = 30;
/// Steps without gain after which steps become shorter.
const PATIENCE: u32 = 4;
/// Relative rounding that a row's sum may show.
pub(super) const ROUNDING: f64 = 1e-9;

/// The choices' best offers at some prices.
pub(super) struct Priced {
    /// No placement in the branch costs less.
    pub bound: f64,
    pub picked: Vec<usize>,
    /// For each choice, what its best costs.
    least: Vec<f64>,
    /// For each row, what the best use beyond what the row gives.
    pub over: Vec<f64>,
}

impl Priced {
    /// Picks the best of what is open for each choice. `worth` is what the rows add to the bound, `over` what is beyond them
    /// before anything is used.
    pub fn of<'o>(
        open: &[Vec<usize>],
        (worth, mut over): (f64, Vec<f64>),
        price: impl Fn(usize, usize) -> f64,
        uses: impl Fn(usize, usize) -> &'o [(usize, f64)],
    ) -> Self {
        let (mut picked, mut least) = (Vec::with_capacity(open.len()), Vec::with_capacity(open.len()));
        for (choice, offers) in open.iter().enumerate() {
            let mut best = (offers[0], f64::INFINITY);
            for offer in offers {
                let cost = price(choice, *offer);
                if cost < best.1 {
                    best = (*offer, cost);
                }
            }
            picked.push(best.0);
            least.push(best.1);
            for (row, uses) in uses(choice, best.0) {
                over[*row] += uses;
            }
        }
        Self {
            bound: worth + least.iter().sum::<f64>(),
            picked,
            least,
            over,
        }
    }

    /// Drops what takes the bound to `below` or above it, at the prices that this is of.
    pub fn drop_dear(&self, open: &mut [Vec<usize>], below: f64, price: impl Fn(usize, usize) -> f64) {
        for (choice, open) in open.iter_mut().enumerate().filter(|(_, open)| open.len() > 1) {
            let rest = self.bound - self.least[choice];
            open.retain(|offer| *offer == self.picked[choice] || rest + price(choice, *offer) < below);
        }
    }
}

/// How long the steps of the prices are: shorter where they gain nothing.
pub(super) struct Pace {
    /// The highest bound so far.
    pub highest: f64,
    stride: f64,
    idle: u32,
}

impl Pace {
    pub fn new() -> Self {
        Self {
            highest: f64::NEG_INFINITY,
            stride: 1.0,
            idle: 0,
        }
    }

    /// Takes the bound after a step. Whether it is the highest so far.
    pub fn rises(&mut self, bound: f64) -> bool {
        if bound > self.highest {
            (self.highest, self.idle) = (bound, 0);
            return true;
        }
        self.idle += 1;
        if self.idle == PATIENCE {
            (self.stride, self.idle) = (self.stride / 2.0, 0);
        }
        false
    }

    /// The length of the next step, at so much below what a placement must cost less than.
    pub fn length(&self, gap: f64) -> f64 {
        self.stride * gap
    }
}

/// The open choice that weighs most where the prices are least sure of it. `shares` counts for each choice how often each
/// offer was its best.
pub(super) fn undecided(open: &[Vec<usize>], shares: &[Vec<u32>], weights: &[f64]) -> Option<usize> {
    let doubt = |choice: &usize| {
        let all: u32 = shares[*choice].iter().sum();
        let most = shares[*choice].iter().max().copied().unwrap_or(0);
        (1.05 - f64::from(most) / f64::from(all.max(1))) * weights[*choice]
    };
    (0..open.len())
        .filter(|choice| open[*choice].len() > 1)
        .max_by(|a, b| doubt(a).total_cmp(&doubt(b)).then(b.cmp(a)))
}
