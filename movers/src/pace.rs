//! How fast to ask a store, and how much at once. Time comes in as a value, in microseconds from any beginning.

/// Spreads what is let through over time, so that a rate holds. Nothing is saved up while nobody asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Until when what was let through takes, at the rate.
    due_us: u64,
}

impl Pace {
    /// Microseconds to wait before so much is let through at a rate per second. It is counted as let through.
    pub fn take(&mut self, now_us: u64, amount: u64, per_second: u64) -> u64 {
        let begins = self.due_us.max(now_us);
        let takes = u128::from(amount) * 1_000_000 / u128::from(per_second.max(1));
        self.due_us = begins.saturating_add(u64::try_from(takes).unwrap_or(u64::MAX));
        begins - now_us
    }
}

/// Requests at once in the beginning, and the most there ever are.
const START: f64 = 32.0;
const MOST: f64 = 128.0;
/// Refusals of requests that were under way together are one refusal.
const TOGETHER_US: u64 = 1_000_000;

/// How many requests a store is asked at once: one more for each round that it answers, half as many when it is
/// overburdened, as TCP does (additive increase, multiplicative decrease).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crowd {
    allowed: f64,
    refused_us: Option<u64>,
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            allowed: START,
            refused_us: None,
        }
    }
}

impl Crowd {
    /// How many there may be at once; one at least.
    #[must_use]
    pub fn allowed(&self) -> usize {
        self.allowed as usize
    }

    /// A request was answered while so many were under way. What is not used proves nothing.
    pub fn answered(&mut self, under_way: usize) {
        if under_way >= self.allowed() {
            self.allowed = (self.allowed + 1.0 / self.allowed).min(MOST);
        }
    }

    /// The store had too much to do, or did not answer in time.
    pub fn overburdened(&mut self, now_us: u64) {
        let recent = self
            .refused_us
            .is_some_and(|then| now_us.saturating_sub(then) < TOGETHER_US);
        if !recent {
            self.allowed = (self.allowed / 2.0).max(1.0);
            self.refused_us = Some(now_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_mebibytes_at_one_a_second_take_ten_seconds() {
        const MIB: u64 = 1 << 20;
        let (mut pace, mut now_us) = (Pace::default(), 5_000_000);
        // As chunks come: the last one may go after nine seconds, and takes the tenth.
        for _ in 0..40 {
            now_us += pace.take(now_us, MIB / 4, MIB);
        }
        assert_eq!(now_us, 5_000_000 + 9_750_000);
        assert_eq!(pace.take(now_us, 1, MIB), 250_000);
        // An hour without anything saves nothing up.
        now_us += 3_600_000_000;
        assert_eq!(pace.take(now_us, MIB, MIB), 0);
        assert_eq!(pace.take(now_us, MIB, MIB), 1_000_000);
    }

    #[test]
    fn a_rate_that_changes_holds_from_then_on() {
        let mut pace = Pace::default();
        assert_eq!(pace.take(0, 10, 10), 0);
        assert_eq!(pace.take(0, 10, 1000), 1_000_000);
        assert_eq!(pace.take(0, 10, 1000), 1_010_000);
        assert_eq!(Pace::default().take(7, u64::MAX, 0), 0);
    }

    #[test]
    fn a_burdened_store_is_asked_less_at_once_and_more_again_as_it_answers() {
        let mut crowd = Crowd::default();
        assert_eq!(crowd.allowed(), 32);
        (0..40).for_each(|at| crowd.overburdened(at * 1000));
        assert_eq!(crowd.allowed(), 16, "one storm is one refusal");
        (1..9).for_each(|second| crowd.overburdened(second * 1_000_000));
        assert_eq!(crowd.allowed(), 1);
        // Each round of answers allows one more.
        crowd.answered(1);
        assert_eq!(crowd.allowed(), 2);
        (0..3).for_each(|_| crowd.answered(2));
        assert_eq!(crowd.allowed(), 3);
        (0..100).for_each(|_| crowd.answered(1));
        assert_eq!(crowd.allowed(), 3, "what is not used proves nothing");
        (0..100_000).for_each(|_| crowd.answered(1000));
        assert_eq!(crowd.allowed(), 128);
    }
}
