//! How fast something goes, and how long the rest takes. Time comes in as a value, in microseconds from any beginning.

/// What was seen so long ago counts a third (1/e) of what is seen now.
const MEMORY_US: f64 = 20_000_000.0;

/// A rate by what was seen of late: an exponentially weighted mean over time. It begins with the first look, so that what
/// was there before counts for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rate {
    last: Option<(u64, u64)>,
    sum: f64,
    weight: f64,
}

impl Rate {
    /// A counter that only rises stands at `total` now.
    pub fn seen(&mut self, now_us: u64, total: u64) {
        let Some((then_us, before)) = self.last else {
            self.last = Some((now_us, total));
            return;
        };
        if now_us <= then_us {
            return;
        }
        let took_us = (now_us - then_us) as f64;
        let kept = (-took_us / MEMORY_US).exp();
        let per_second = total.saturating_sub(before) as f64 * 1_000_000.0 / took_us;
        self.sum = self.sum * kept + per_second * (1.0 - kept);
        self.weight = self.weight * kept + (1.0 - kept);
        self.last = Some((now_us, total));
    }

    /// Per second; `None` before there were two looks.
    #[must_use]
    pub fn per_second(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

/// Seconds that so much takes at a rate; `None` where nobody can tell.
#[must_use]
pub fn eta_seconds(left: u64, per_second: Option<f64>) -> Option<f64> {
    match per_second {
        _ if left == 0 => Some(0.0),
        // Slower than a byte an hour stands still.
        Some(rate) if rate * 3600.0 >= 1.0 => Some(left as f64 / rate),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn what_was_there_before_is_not_fast() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(), None);
        rate.seen(0, 900_000_000);
        assert_eq!(rate.per_second(), None);
        rate.seen(SECOND, 900_000_100);
        assert_eq!(rate.per_second(), Some(100.0));
        assert_eq!(eta_seconds(500, rate.per_second()), Some(5.0));
    }

    #[test]
    fn a_steady_rate_is_told_from_the_first_second_on_and_a_new_one_within_a_minute() {
        let (mut rate, mut total) = (Rate::default(), 0);
        rate.seen(0, 0);
        // However often one looks.
        let mut now_us = 0;
        for at in 1..200 {
            let step = SECOND * (1 + at % 3) / 2;
            now_us += step;
            total += step / 1000;
            rate.seen(now_us, total);
            let told = rate.per_second().unwrap_or_default();
            assert!((told - 1000.0).abs() < 1.0, "{told}");
        }
        for _ in 0..60 {
            now_us += SECOND;
            total += 3000;
            rate.seen(now_us, total);
        }
        let told = rate.per_second().unwrap_or_default();
        assert!((2880.0..3000.0).contains(&told), "{told}");
        // It stands still.
        rate.seen(now_us + 200 * SECOND, total);
        assert!(rate.per_second().is_some_and(|told| told < 1.0));
        rate.seen(now_us + 2_000 * SECOND, total);
        assert_eq!(eta_seconds(1, rate.per_second()), None);
        assert_eq!(eta_seconds(0, None), Some(0.0));
    }
}
