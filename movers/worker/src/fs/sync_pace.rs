//! Whether many syncs are one of a whole file system, told by how long either takes here.

use std::time::Duration;

/// Which of the two ways is the faster one here: where others write much, a whole file system takes long.
#[derive(Debug, Clone, Default)]
pub(super) struct SyncPace {
    /// Nanoseconds for each of those who waited, over the last rounds.
    each: Option<u64>,
    whole: Option<u64>,
    /// Rounds since the other way was measured.
    whole_in_a_row: u32,
    /// Rounds for which nothing is synced as a whole.
    spared: u32,
}

impl SyncPace {
    /// Rounds after which the slower way is tried again.
    const SPARED: u32 = 16;
    /// Rounds after which the way that costs more of the processor is measured again.
    const MEASURED_EVERY: u32 = 64;
    /// As a whole it takes so little of the processor that it may take longer.
    const MAY_TAKE_TIMES: u64 = 2;

    /// Whether the next round may sync the whole.
    pub(super) fn allows_whole(&mut self) -> bool {
        if self.spared > 0 {
            self.spared -= 1;
            return false;
        }
        let unmeasured = self.each.is_none() && self.whole.is_some();
        !unmeasured && self.whole_in_a_row < Self::MEASURED_EVERY
    }

    /// A round in which so many were synced by themselves took so long.
    pub(super) fn took_each(&mut self, took: Duration, waited: usize) {
        self.each = Some(mean(self.each, took, waited));
        self.whole_in_a_row = 0;
    }

    /// The same of a round that synced the whole.
    pub(super) fn took_whole(&mut self, took: Duration, waited: usize) {
        let whole = mean(self.whole, took, waited);
        self.whole = Some(whole);
        self.whole_in_a_row += 1;
        if self
            .each
            .is_some_and(|each| whole > each.saturating_mul(Self::MAY_TAKE_TIMES))
        {
            self.spared = Self::SPARED;
            self.whole = None;
        }
    }
}

/// The mean of what was and what is: one slow round says little.
fn mean(before: Option<u64>, took: Duration, waited: usize) -> u64 {
    let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / (waited.max(1) as u64);
    before.map_or(took, |before| before / 2 + took / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_is_slow_as_a_whole_is_spared() {
        let mut pace = SyncPace::default();
        assert!(pace.allows_whole(), "nothing is known yet");
        pace.took_whole(Duration::from_secs(1), 10);
        assert!(!pace.allows_whole(), "the other way is measured");
        pace.took_each(Duration::from_millis(100), 10);
        assert!(pace.allows_whole());
        pace.took_whole(Duration::from_secs(1), 10);
        for _ in 0..SyncPace::SPARED {
            assert!(!pace.allows_whole());
            pace.took_each(Duration::from_millis(100), 10);
        }
        for _ in 0..SyncPace::MEASURED_EVERY {
            assert!(pace.allows_whole(), "it is tried again");
            pace.took_whole(Duration::from_millis(100), 10);
        }
        assert!(!pace.allows_whole(), "the other way is measured again");
    }
}
