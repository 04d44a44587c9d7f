//! How fast to ask a store. Time comes in as a value, in microseconds from any beginning.

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
}
