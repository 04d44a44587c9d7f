//! Times as S3 and HTTP write them.

/// Seconds since 1970.
pub(super) fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// Days since 1970 of a date. Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Seconds since 1970 of `20130524T000000Z`.
pub(super) fn seconds(signed: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| signed.get(range)?.parse::<i64>().ok();
    let day = days(number(0..4)?, number(4..6)?, number(6..8)?);
    Some(day * 86_400 + number(9..11)? * 3_600 + number(11..13)? * 60 + number(13..15)?)
}

/// A time as HTTP writes it.
pub(super) fn http_date(unix: i64) -> String {
    const WEEK: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const YEAR: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let day = unix.div_euclid(86_400);
    let second = unix.rem_euclid(86_400);
    let mut year = 1970;
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let month = (1..=12)
        .rev()
        .find(|month| days(year, *month, 1) <= day)
        .unwrap_or(1);
    let of_month = day - days(year, month, 1) + 1;
    format!(
        "{}, {of_month:02} {} {year} {:02}:{:02}:{:02} GMT",
        WEEK[day.rem_euclid(7) as usize],
        YEAR[month as usize - 1],
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        assert_eq!(seconds("20130524T000000Z"), Some(1_369_353_600));
        assert_eq!(seconds("20240229T235959Z"), Some(1_709_251_199));
        assert_eq!(http_date(1_709_251_199), "Thu, 29 Feb 2024 23:59:59 GMT");
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
