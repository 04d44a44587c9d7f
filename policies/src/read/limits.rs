//! Limits of backends and links from their records.

use domicile_estate::{Hours, RateLimits, Rates};

use super::record::Record;
use super::report::Report;

/// Days of the week as manifests write them.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// How much may be asked, or sent; hours that cannot be read are reported.
pub(super) fn limits(record: &Record, report: &mut Report<'_>) -> RateLimits {
    let timetable = record.records("timetable").iter();
    RateLimits {
        usual: rates(record, report),
        timetable: timetable.filter_map(|hours| hours_of(hours, report)).collect(),
    }
}

fn rates(record: &Record, report: &mut Report<'_>) -> Rates {
    let requests = record.integer("requestsPerSecond");
    let bytes = record.bytes("bytesPerSecond").map(|bytes| bytes.0);
    if bytes == Some(0) {
        report.error_help(
            record.place_of("bytesPerSecond"),
            "a limit of 0 bytes per second lets nothing move",
            "leave it out for no limit; `domicile moves pause` lets moves rest, `cordoned: true` keeps copies away",
        );
    }
    Rates {
        bytes_per_second: bytes,
        requests_per_second: requests.and_then(|requests| u64::try_from(requests).ok()),
    }
}

fn hours_of(record: &Record, report: &mut Report<'_>) -> Option<Hours> {
    let mut days = Vec::new();
    for (text, place) in record.texts("days") {
        match DAYS.iter().position(|day| day == text) {
            // Seven days at most.
            Some(day) => days.push(day as u8),
            None => {
                let message = format!("`{text}` is no day of the week");
                report.error_help(*place, message, format!("write one of {}", DAYS.join(", ")));
            }
        }
    }
    if record.texts("days").is_empty() {
        days = (0..7).collect();
    }
    let mut minute = |field: &str| {
        let text = record.text(field);
        let minute = minute_of_day(text);
        if minute.is_none() && record.item(field).is_some() {
            let message = format!("`{text}` is no time of the day");
            report.error_help(
                record.place_of(field),
                message,
                "write it in UTC, as in `\"08:30\"`",
            );
        }
        minute
    };
    Some(Hours {
        days,
        from_minute: minute("from")?,
        to_minute: minute("to")?,
        rates: rates(record, report),
    })
}

/// `08:30` is the minute 510 of a day, `24:00` the last.
fn minute_of_day(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| {
        let two = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        two.then(|| digits.parse::<u32>().ok()).flatten()
    };
    let minute = number(hours)? * 60 + number(minutes).filter(|minutes| *minutes < 60)?;
    (minute <= 24 * 60).then_some(minute)
}
