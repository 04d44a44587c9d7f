//! The parts of the simplex method: what stands in the basis, what comes and goes, and how far it is driven.

use super::members::Members;
use super::wish::Tolls;

/// What stands at one position of the basis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Basic {
    /// What is left of a row.
    Slack(usize),
    /// What lacks in a row.
    Over(usize),
    /// A set of a lot beside its key.
    Set(u32, Members),
}

/// Where prices are held at first.
pub(crate) struct BoxAround<'t> {
    pub tolls: &'t Tolls,
    /// How far a price may be from them: share of itself.
    pub share: f64,
    /// And share of the mean price of what is placed.
    pub of_mean: f64,
}

/// How closely a program is settled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// What a turn gains, as a share of the objective, when the program is done.
    pub done: f64,
    /// What a lot must gain to be moved in the first turn, as a share of its price.
    pub first: f64,
    /// Turns over the lots at most.
    pub turns: u32,
    /// Where the tolls begin so near to their end that far candidates need not be looked at: how far is near, as a share
    /// of the price of a set; otherwise zero.
    pub sifts: f64,
    /// What the mix may cost when nothing lacks, for the program to be settled at once.
    pub enough: f64,
}

/// The mean of prices. A vertex throws its prices about; their mean is steadier, and proves more.
#[derive(Debug, Default)]
pub(crate) struct Mean {
    pub sums: Vec<f64>,
    pub count: f64,
}

impl Mean {
    /// Begins anew.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes prices in.
    pub fn add(&mut self, prices: &[f64]) {
        self.sums.resize(prices.len(), 0.0);
        self.sums
            .iter_mut()
            .zip(prices)
            .for_each(|(sum, price)| *sum += price.max(0.0));
        self.count += 1.0;
    }
}

/// What comes into the basis.
pub(crate) enum Entering {
    Slack(usize),
    Over(usize),
    Set(u32, Members),
}

/// What it stops at.
pub(crate) enum Leaving {
    /// The entering lot's own key, which nothing else shares: it is replaced.
    OwnKey,
    Position(usize),
    /// The key of a lot that is split.
    Key(u32),
    Nothing,
}
