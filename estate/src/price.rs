//! What a backend costs, and the shipped list of list prices.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::{ByteCount, parse_decimal, parse_quantity};

/// What a backend costs. Amounts are in the estate's one currency; none is below zero.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Price {
    /// ISO 4217 code; `None` where no price was given.
    pub currency: Option<String>,
    /// Per billable GiB and month.
    pub storage_per_gib_month: f64,
    /// Other prices of storage for what lies above some amount, ascending.
    pub tiers: Vec<PriceTier>,
    /// Billable bytes on the backend that the base fee pays for.
    pub included_storage: ByteCount,
    /// Per month, once, when the backend holds anything.
    pub base_fee_per_month: f64,
    /// Per GiB written.
    pub ingress_per_gib: f64,
    /// Per GiB read from another provider.
    pub egress_per_gib: f64,
    /// Per GiB read within one provider, between regions.
    pub egress_within_provider_per_gib: f64,
    /// Per GiB read within one region of one provider.
    pub egress_within_region_per_gib: f64,
    /// Per 1,000 objects written.
    pub put_per_1000: f64,
    /// Per 1,000 objects read.
    pub get_per_1000: f64,
    /// Bytes that an object is billed for at least.
    pub min_object_size: ByteCount,
    /// Where the figures are from, for people: `given`, or the name and date of a list price; empty without a price.
    pub source: String,
}

/// The price of what lies above some amount of billable storage on one backend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PriceTier {
    /// Above so many billable bytes on the backend, those that the base fee pays for included.
    pub above: ByteCount,
    /// Per billable GiB and month.
    pub storage_per_gib_month: f64,
}

impl Price {
    /// What a backend that holds so many billable bytes costs per month: the base fee if it holds anything, and every
    /// byte above the included ones at the price of the tier that it lies in. Bytes are counted from zero, so that the
    /// included ones use up the lowest tier.
    #[must_use]
    pub fn storage_per_month(&self, billable: ByteCount) -> f64 {
        if billable.0 == 0 {
            return 0.0;
        }
        let mut sum = self.base_fee_per_month;
        let mut price = self.storage_per_gib_month;
        let mut from = self.included_storage.0;
        for tier in &self.tiers {
            sum += ByteCount(tier.above.0.min(billable.0).saturating_sub(from)).gib() * price;
            price = tier.storage_per_gib_month;
            from = from.max(tier.above.0);
        }
        sum + ByteCount(billable.0.saturating_sub(from)).gib() * price
    }
}

/// A list price of a provider, as it was seen at a date.
#[derive(Debug, Clone, PartialEq)]
pub struct ListPrice {
    /// When it was seen or published, `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
    pub seen: &'static str,
    /// Where.
    pub source: &'static str,
    /// Rules of the provider that the figures do not hold; empty: none.
    pub limits: &'static str,
    /// The figures, with the currency.
    pub price: Price,
}

static LIST: LazyLock<BTreeMap<&'static str, ListPrice>> = LazyLock::new(|| {
    let lines = include_str!("../data/prices.csv").lines().skip(1);
    lines.filter_map(list_price).collect()
});

/// The shipped list prices by name, such as `aws-s3/eu-central-1`.
#[must_use]
pub fn price_list() -> &'static BTreeMap<&'static str, ListPrice> {
    &LIST
}

/// A row of the table. Its amounts of bytes are in the provider's own unit, such as 10^12 or 2^30 bytes.
fn list_price(line: &'static str) -> Option<(&'static str, ListPrice)> {
    let mut cells = line.split(',');
    let name = cells.next()?;
    let currency = cells.next()?;
    let unit = parse_quantity(cells.next()?).ok()?;
    // The one factor is a power of two, hence exact, and one division rounds once.
    let per_gib = |amount: f64| amount * crate::BYTES_PER_GIB / unit.0 as f64;
    let mut amount = || parse_decimal(cells.next()?).ok();
    let storage = amount()?;
    let included = amount()?;
    let base_fee_per_month = amount()?;
    let [ingress, egress, within_provider, within_region] = [amount()?, amount()?, amount()?, amount()?];
    let [put_per_million, get_per_million] = [amount()?, amount()?];
    let min_object_size = parse_quantity(cells.next()?).ok()?;
    let bytes = |units: f64| ByteCount((units * unit.0 as f64).round() as u64);
    let tier = |text: &str| {
        let (above, price) = text.split_once(':')?;
        Some(PriceTier {
            above: bytes(parse_decimal(above).ok()?),
            storage_per_gib_month: per_gib(parse_decimal(price).ok()?),
        })
    };
    let tiers = cells
        .next()?
        .split_terminator(';')
        .map(tier)
        .collect::<Option<_>>()?;
    let [seen, source, limits] = [cells.next()?, cells.next()?, cells.next()?];
    if cells.next().is_some() {
        return None;
    }
    let price = Price {
        currency: Some(currency.to_owned()),
        storage_per_gib_month: per_gib(storage),
        tiers,
        included_storage: bytes(included),
        base_fee_per_month,
        ingress_per_gib: per_gib(ingress),
        egress_per_gib: per_gib(egress),
        egress_within_provider_per_gib: per_gib(within_provider),
        egress_within_region_per_gib: per_gib(within_region),
        put_per_1000: put_per_million / 1000.0,
        get_per_1000: get_per_million / 1000.0,
        min_object_size,
        source: format!("{name}, {seen}"),
    };
    Some((
        name,
        ListPrice {
            seen,
            source,
            limits,
            price,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIB: u64 = 1 << 40;

    #[track_caller]
    fn close(left: f64, right: f64) {
        assert!(
            (left - right).abs() <= 1e-12 * right.abs(),
            "{left} is not {right}"
        );
    }

    #[test]
    fn every_row_of_the_table_is_read_and_dated() {
        let rows = include_str!("../data/prices.csv").lines().count() - 1;
        assert_eq!(price_list().len(), rows);
        assert!(rows >= 8);
        for (name, listed) in price_list() {
            assert!(listed.seen.starts_with("20"), "{name}");
            assert!(!listed.source.is_empty(), "{name}");
            assert_eq!(listed.price.currency.as_deref().map(str::len), Some(3), "{name}");
            assert!(listed.price.storage_per_gib_month > 0.0, "{name}");
            assert!(
                listed.price.tiers.is_sorted_by(|a, b| a.above < b.above),
                "{name}"
            );
        }
    }

    #[test]
    fn terabytes_become_gibibytes_exactly() {
        // 4.99 EUR for 10^12 bytes; 2^30 / 10^12 = 0.001073741824; their product by hand is 0.00535797170176.
        let hetzner = &price_list()["hetzner-object/fsn1"].price;
        close(hetzner.storage_per_gib_month, 0.005_357_971_701_76);
        close(hetzner.egress_per_gib, 0.001_073_741_824);
        assert_eq!(hetzner.included_storage, ByteCount(1_000_000_000_000));
        assert_eq!(hetzner.base_fee_per_month, 4.99);
        assert_eq!(hetzner.min_object_size, ByteCount(65_536));
        assert_eq!(hetzner.source, "hetzner-object/fsn1, 2025");
        // AWS counts 2^30 bytes as one GB, so that nothing is converted; 50 TB are 51,200 of them.
        let frankfurt = &price_list()["aws-s3/eu-central-1"].price;
        assert_eq!(frankfurt.storage_per_gib_month, 0.0245);
        assert_eq!(frankfurt.put_per_1000, 0.0054);
        assert_eq!(frankfurt.tiers[0].above, ByteCount(50 * TIB));
        assert_eq!(frankfurt.tiers[1].storage_per_gib_month, 0.0225);
    }

    #[test]
    fn a_base_fee_pays_for_what_is_included() {
        let hetzner = &price_list()["hetzner-object/fsn1"].price;
        assert_eq!(hetzner.storage_per_month(ByteCount(0)), 0.0);
        assert_eq!(hetzner.storage_per_month(ByteCount(1)), 4.99);
        close(hetzner.storage_per_month(ByteCount(1_000_000_000_000)), 4.99);
        // Three terabytes: the base fee, and two at 4.99.
        close(
            hetzner.storage_per_month(ByteCount(3_000_000_000_000)),
            3.0 * 4.99,
        );
    }

    #[test]
    fn each_tier_prices_what_lies_in_it() {
        let tier = |above, storage_per_gib_month| PriceTier {
            above: ByteCount(above),
            storage_per_gib_month,
        };
        let price = Price {
            storage_per_gib_month: 0.5,
            tiers: vec![tier(10 * TIB, 0.25), tier(20 * TIB, 0.125)],
            included_storage: ByteCount(2 * TIB),
            base_fee_per_month: 7.0,
            ..Price::default()
        };
        let cost = |tib: u64| price.storage_per_month(ByteCount(tib * TIB));
        assert_eq!(cost(1), 7.0);
        assert_eq!(cost(3), 7.0 + 512.0);
        assert_eq!(cost(10), 7.0 + 8.0 * 512.0);
        assert_eq!(cost(15), 7.0 + 8.0 * 512.0 + 5.0 * 256.0);
        assert_eq!(cost(24), 7.0 + 8.0 * 512.0 + 10.0 * 256.0 + 4.0 * 128.0);
        // What is included may reach beyond the first tier.
        let generous = Price {
            included_storage: ByteCount(12 * TIB),
            ..price
        };
        assert_eq!(generous.storage_per_month(ByteCount(11 * TIB)), 7.0);
        assert_eq!(
            generous.storage_per_month(ByteCount(21 * TIB)),
            7.0 + 8.0 * 256.0 + 128.0
        );
    }
}
