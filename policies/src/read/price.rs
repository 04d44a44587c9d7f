//! What a backend costs: what its manifest states, and the list price that it names.

use domicile_estate::{ListPrice, Price, PriceTier, price_list};

use super::record::Record;
use super::report::Report;
use crate::suggest;

/// The list price that a price names, if there is one of that name.
pub(super) fn listed(record: &Record) -> Option<&'static ListPrice> {
    price_list().get(record.text("from"))
}

/// A price, every stated field in place of the list's; what is wrong in it is reported.
pub(super) fn price(record: &Record, report: &mut Report<'_>) -> Price {
    let list = listed(record);
    if record.item("from").is_some() {
        check_list(record, list, report);
    }
    let base = list.map(|list| list.price.clone()).unwrap_or_default();
    let amount = |name: &str, listed: f64| record.decimal(name).unwrap_or(listed);
    Price {
        currency: base.currency.or_else(|| record.word("currency")),
        storage_per_gib_month: amount("storagePerGiBMonth", base.storage_per_gib_month),
        tiers: if record.stated.contains("tiers") {
            tiers(record, report)
        } else {
            base.tiers
        },
        included_storage: record.bytes("includedStorage").unwrap_or(base.included_storage),
        base_fee_per_month: amount("baseFeePerMonth", base.base_fee_per_month),
        ingress_per_gib: amount("ingressPerGiB", base.ingress_per_gib),
        egress_per_gib: amount("egressPerGiB", base.egress_per_gib),
        egress_within_provider_per_gib: amount(
            "egressWithinProviderPerGiB",
            base.egress_within_provider_per_gib,
        ),
        egress_within_region_per_gib: amount("egressWithinRegionPerGiB", base.egress_within_region_per_gib),
        put_per_1000: amount("putPer1000", base.put_per_1000),
        get_per_1000: amount("getPer1000", base.get_per_1000),
        min_object_size: record.bytes("minObjectSize").unwrap_or(base.min_object_size),
        source: match list {
            Some(_) => list_source(&base.source, record),
            None => "given".to_owned(),
        },
    }
}

/// The list price with what the manifest states in its place.
fn list_source(listed: &str, record: &Record) -> String {
    let own = record
        .items
        .keys()
        .filter(|name| !matches!(**name, "from" | "currency"));
    let own: Vec<&str> = own.copied().collect();
    if own.is_empty() {
        return listed.to_owned();
    }
    format!("{listed}; given: {}", own.join(", "))
}

fn check_list(record: &Record, list: Option<&ListPrice>, report: &mut Report<'_>) {
    /// Names that a help lists at most.
    const NAMES_SHOWN: usize = 12;
    let name = record.text("from");
    let Some(list) = list else {
        let names = || price_list().keys().copied();
        let help = match suggest::nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names().count() <= NAMES_SHOWN => format!("there are {}", suggest::list(names())),
            None => "the list is in `docs/prices.md`".to_owned(),
        };
        report.error_help(
            record.place_of("from"),
            format!("there is no list price `{name}`"),
            help,
        );
        return;
    };
    let listed = list.price.currency.as_deref().unwrap_or_default();
    let stated = record.text("currency");
    if !stated.is_empty() && stated != listed {
        let message = format!("the list price `{name}` is in `{listed}`, not in `{stated}`");
        let help = format!("leave out `currency`, or state every price in `{stated}` without `from`");
        report.error_help(record.place_of("currency"), message, help);
    }
}

fn tiers(record: &Record, report: &mut Report<'_>) -> Vec<PriceTier> {
    let mut tiers: Vec<PriceTier> = Vec::new();
    for entry in record.records("tiers") {
        let (Some(above), Some(price)) = (entry.bytes("above"), entry.decimal("storagePerGiBMonth")) else {
            continue;
        };
        let place = entry.place_of("above");
        if above.0 == 0 {
            let help = "state it as `storagePerGiBMonth` beside `tiers`";
            report.error_help(
                place,
                "`above` must be above zero: the price from zero on is no tier",
                help,
            );
            continue;
        }
        if let Some(before) = tiers.last()
            && above <= before.above
        {
            let message = format!(
                "tiers must ascend: this begins at {above}, the one before it at {}",
                before.above
            );
            report.error_help(place, message, "order them by `above`, each amount once");
            continue;
        }
        tiers.push(PriceTier {
            above,
            storage_per_gib_month: price,
        });
    }
    tiers
}
