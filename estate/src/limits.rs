//! How much may be asked of a backend, or goes over a link, by the time of the week.

/// Minutes of a day and of a week.
const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;
/// 1 January 1970 was a Thursday, the fourth day of a week that begins with Monday.
const FIRST_DAY: u64 = 3;
const MS_PER_MINUTE: u64 = 60_000;

/// Rates that one process keeps to; none of them is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Bytes per second, read and written together; `None`: any number.
    pub bytes_per_second: Option<u64>,
    /// Requests per second; `None`: any number.
    pub requests_per_second: Option<u64>,
}

/// Hours of some days of the week with rates of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Days, from Monday, 0, to Sunday, 6; those on which the hours begin.
    pub days: Vec<u8>,
    /// The first minute of the day, in UTC.
    pub from_minute: u32,
    /// The first minute that is no longer in it, in UTC; not later than `from_minute`: on the next day.
    pub to_minute: u32,
    /// The rates within.
    pub rates: Rates,
}

impl Hours {
    /// Whether a minute of the week is in it.
    fn holds(&self, minute: u32) -> bool {
        let length = (self.to_minute + DAY - self.from_minute - 1) % DAY + 1;
        self.days.iter().any(|day| {
            let begins = u32::from(*day) * DAY + self.from_minute;
            (minute + WEEK - begins % WEEK) % WEEK < length
        })
    }
}

/// How much may be asked of a backend, or goes over a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// At any time that no hours hold.
    pub usual: Rates,
    /// Hours with other rates; the first ones that hold count.
    pub timetable: Vec<Hours>,
}

impl RateLimits {
    /// Whether there is none at any time.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        let free = Rates::default();
        self.usual == free && self.timetable.iter().all(|hours| hours.rates == free)
    }

    /// Pairs of hours that hold at the same time and say different things, by their positions in the timetable: then the
    /// first of them counts. And hours that never count, for those before them always hold too.
    #[must_use]
    pub fn clashes(&self) -> (Vec<(usize, usize)>, Vec<usize>) {
        let (mut pairs, mut hidden) = (Vec::new(), Vec::new());
        for (later, hours) in self.timetable.iter().enumerate() {
            let before = &self.timetable[..later];
            if (0..WEEK).all(|minute| !hours.holds(minute) || before.iter().any(|one| one.holds(minute))) {
                hidden.push(later);
                continue;
            }
            let other = before.iter().position(|one| {
                one.rates != hours.rates && (0..WEEK).any(|minute| one.holds(minute) && hours.holds(minute))
            });
            pairs.extend(other.map(|other| (other, later)));
        }
        (pairs, hidden)
    }

    /// The rates at a time, in milliseconds since 1970.
    #[must_use]
    pub fn at(&self, epoch_ms: u64) -> Rates {
        let minutes = epoch_ms / MS_PER_MINUTE + FIRST_DAY * u64::from(DAY);
        // Below a week, which fits.
        let minute = u32::try_from(minutes % u64::from(WEEK)).unwrap_or(0);
        let hours = self.timetable.iter().find(|hours| hours.holds(minute));
        hours.map_or(self.usual, |hours| hours.rates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Saturday, 28 November 2026, 02:30 UTC.
    const SATURDAY_MS: u64 = 1_795_833_000_000;
    const HOUR_MS: u64 = 3_600_000;

    fn bytes(rate: u64) -> Rates {
        Rates {
            bytes_per_second: Some(rate),
            requests_per_second: None,
        }
    }

    #[test]
    fn the_first_hours_that_hold_count() {
        let limits = RateLimits {
            usual: bytes(1),
            timetable: vec![
                // Saturdays, 01:00 to 03:00.
                Hours {
                    days: vec![5],
                    from_minute: 60,
                    to_minute: 180,
                    rates: bytes(2),
                },
                // The night from Sunday to Monday.
                Hours {
                    days: vec![6],
                    from_minute: 22 * 60,
                    to_minute: 6 * 60,
                    rates: Rates::default(),
                },
                // Fridays and Saturdays, all day.
                Hours {
                    days: vec![4, 5],
                    from_minute: 0,
                    to_minute: 0,
                    rates: bytes(3),
                },
            ],
        };
        let at = |hours: u64| limits.at(SATURDAY_MS + hours * HOUR_MS);
        assert_eq!(at(0), bytes(2), "Saturday, 02:30");
        assert_eq!(at(1), bytes(3), "Saturday, 03:30");
        assert_eq!(at(21), bytes(3), "Saturday, 23:30");
        assert_eq!(at(22), bytes(1), "Sunday, 00:30");
        assert_eq!(at(44), Rates::default(), "Sunday, 22:30");
        assert_eq!(at(51), Rates::default(), "Monday, 05:30");
        assert_eq!(at(52), bytes(1), "Monday, 06:30");
        assert!(!limits.is_unlimited());
        assert!(RateLimits::default().is_unlimited());
        // Saturdays, 01:00 to 03:00, lie within Fridays and Saturdays, which come later and hold at other times too.
        assert_eq!(limits.clashes(), (vec![(0, 2)], vec![]));
        let mut turned = limits.clone();
        turned.timetable.swap(0, 2);
        assert_eq!(turned.clashes(), (vec![], vec![2]));
        assert_eq!(RateLimits::default().clashes(), (vec![], vec![]));
    }
}
