//! What a policy wants for the whole: what is minimised, and how much one plan may move.

use super::record::Record;
use super::report::Report;
use crate::policy::{Aim, Goal, Movement, Objective};

/// Most nines that may be asked for; no store states as many.
const NINES_MAX: u32 = 100;
/// Largest slack, in per cent.
const SLACK_PERCENT_MAX: u32 = 1000;

/// The settings of the objective.
pub(super) fn objective(record: &Record, report: &mut Report<'_>) -> Objective {
    let default = Objective::default();
    let months = record
        .integer("horizonMonths")
        .and_then(|months| u32::try_from(months).ok());
    Objective {
        carbon_price_per_tonne: record
            .decimal("carbonPricePerTonne")
            .unwrap_or(default.carbon_price_per_tonne),
        horizon_months: months.unwrap_or(default.horizon_months),
        goals: goals(record.records("goals"), report),
    }
}

/// What is minimised after cost, which always comes first.
fn goals(records: &[Record], report: &mut Report<'_>) -> Vec<Goal> {
    let mut goals = Vec::new();
    let mut before: Option<Aim> = None;
    let mut has_carbon = false;
    for (position, record) in records.iter().enumerate() {
        let Some(aim) = aim(record) else {
            // It was reported, and may have been meant as what the next one needs.
            before = None;
            continue;
        };
        let place = record.place_of("minimise");
        if position == 0 {
            check_first(record, aim, report);
        } else if before == Some(aim) || (aim == Aim::Carbon && has_carbon) {
            let message = format!("`{}` is minimised already", record.text("minimise"));
            report.error_help(
                place,
                message,
                "leave out the entry, or give the first one its slack",
            );
        }
        has_carbon |= aim == Aim::Carbon;
        before = Some(aim);
        let slack_millionths = fixed_point(record, "slackPercent", 4, SLACK_PERCENT_MAX, report).unwrap_or(0);
        if position > 0 {
            goals.push(Goal {
                aim,
                slack_millionths,
            });
        }
    }
    goals
}

fn aim(record: &Record) -> Option<Aim> {
    match record.text("minimise") {
        "Cost" => Some(Aim::Cost),
        "Carbon" => Some(Aim::Carbon),
        _ => None,
    }
}

fn check_first(record: &Record, aim: Aim, report: &mut Report<'_>) {
    if aim == Aim::Carbon {
        let message = "the first goal must be `Cost`: the slack of every other goal is a share of it, \
                       and the least carbon alone may cost any amount";
        let help = "write `[{minimise: Cost}, {minimise: Carbon, slackPercent: \"100\"}]`, \
                    or price carbon by `carbonPricePerTonne`";
        report.error_help(record.place_of("minimise"), message, help);
    } else if record.stated.contains("slackPercent") {
        let message = "the first goal has no slack: nothing comes before it that may grow";
        let help = "give the slack to the goal that makes use of it";
        report.error_help(record.key_of("slackPercent"), message, help);
    }
}

/// How durable the copies of a requirement must be together, in thousandths of a nine.
pub(super) fn milli_nines(record: &Record, report: &mut Report<'_>) -> Option<u32> {
    if record.decimal("nines") == Some(0.0) {
        report.error(record.place_of("nines"), "`nines` must be above zero");
        return None;
    }
    fixed_point(record, "nines", 3, NINES_MAX, report)
}

/// A decimal in units of its last allowed place.
fn fixed_point(record: &Record, name: &str, places: u32, max: u32, report: &mut Report<'_>) -> Option<u32> {
    let value = record.decimal(name)?;
    if value > f64::from(max) {
        report.error(
            record.place_of(name),
            format!("`{name}` must be at most {max}, this is {value}"),
        );
        return None;
    }
    // The shortest text that stands for the value is what was written, without trailing zeros.
    let text = value.to_string();
    let given = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    if given > places as usize {
        let message = format!("`{name}` has at most {places} places, this has {given}");
        report.error(record.place_of(name), message);
        return None;
    }
    // Bounded by `max`, hence far below 2^32.
    Some((value * f64::from(10u32.pow(places))).round() as u32)
}

/// How much one plan may move.
pub(super) fn movement(record: &Record) -> Movement {
    let days = record.integer("paybackDays");
    Movement {
        max_bytes: record.bytes("maxBytes"),
        max_cost: record.decimal("maxCost"),
        payback_days: days.and_then(|days| u32::try_from(days).ok()),
    }
}
