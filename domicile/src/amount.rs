//! Amounts for people: rounded by significant digits, with unit and period. Programs get unrounded numbers.

/// A number with at least three significant digits, so that a small price never reads as 0.00: `1234.50`, `12.34`,
/// `0.00412`, `1.87e-7`.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 {
        return "0".to_owned();
    }
    if magnitude >= 1.0 {
        return format!("{value:.2}");
    }
    if magnitude < 1e-4 {
        return format!("{value:.2e}");
    }
    // 0.0x has its first digit at the second decimal: one more decimal for each power of ten below 1.
    let decimals = (-magnitude.log10()).ceil().max(1.0) as usize + 2;
    format!("{value:.decimals$}")
}

/// Money per month.
pub fn per_month(value: f64, currency: &str) -> String {
    format!("{} {currency}/month", number(value))
}

/// Money once.
pub fn once(value: f64, currency: &str) -> String {
    format!("{} {currency} once", number(value))
}

/// Carbon per month.
pub fn carbon_per_month(kg: f64) -> String {
    format!("{} kg CO2e/month", number(kg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_amounts_are_not_rounded_away() {
        assert_eq!(number(1234.5), "1234.50");
        assert_eq!(number(0.41), "0.410");
        assert_eq!(number(0.004_123), "0.00412");
        assert_eq!(number(-0.5), "-0.500");
        assert_eq!(number(0.0), "0");
        assert_eq!(number(4e-12), "4.00e-12");
        assert_eq!(once(0.4, "EUR"), "0.400 EUR once");
    }
}
