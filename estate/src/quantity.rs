//! Sizes and decimals as users write them: `40Ti`, `500Gi`, `1500M`, `"0.0120"`.

use std::fmt;

/// A number of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteCount(pub u64);

impl ByteCount {
    /// The bytes in GiB (2^30 bytes), the unit of prices.
    #[must_use]
    pub fn gib(self) -> f64 {
        self.0 as f64 / crate::BYTES_PER_GIB
    }
}

impl fmt::Display for ByteCount {
    /// Binary units with three significant digits at most, such as `41.0 TiB`; whole bytes below 1 KiB.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        // 1023.95 would be printed as 1024.0, hence the margin.
        while value >= 1023.95 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        write!(f, "{value:.1} {}", UNITS[unit])
    }
}

/// Why a text is no quantity of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number with an optional unit.
    #[error("`{text}` is no size: write a number with a unit such as `40Ti`, `500Gi` or `1500M`")]
    Malformed {
        /// What was given.
        text: String,
    },
    /// A unit that Kubernetes quantities do not have.
    #[error(
        "`{unit}` is no unit of size: use `Ki`, `Mi`, `Gi`, `Ti`, `Pi`, `Ei` or `k`, `M`, `G`, `T`, `P`, `E`"
    )]
    UnknownUnit {
        /// The unit given.
        unit: String,
    },
    /// Below zero.
    #[error("`{text}` is below zero")]
    Negative {
        /// What was given.
        text: String,
    },
    /// More than 2^63 - 1 bytes.
    #[error("`{text}` is more than 8 EiB")]
    TooLarge {
        /// What was given.
        text: String,
    },
}

/// Reads a Kubernetes quantity as bytes: digits with an optional fraction and one of the units
/// `Ki Mi Gi Ti Pi Ei` (powers of 1024) or `k M G T P E` (powers of 1000). A fraction of a byte is rounded up, as
/// Kubernetes does.
///
/// # Errors
/// [`QuantityError`] for anything else, and for more than 2^63 - 1 bytes.
pub fn parse_quantity(text: &str) -> Result<ByteCount, QuantityError> {
    let malformed = || QuantityError::Malformed {
        text: text.to_owned(),
    };
    if let Some(rest) = text.strip_prefix('-')
        && rest.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(QuantityError::Negative {
            text: text.to_owned(),
        });
    }
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 18 {
        return Err(malformed());
    }
    let factor: u128 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "E" => 1_000_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        "Ei" => 1 << 60,
        _ if unit.starts_with(char::is_alphabetic) => {
            return Err(QuantityError::UnknownUnit {
                unit: unit.to_owned(),
            });
        }
        _ => return Err(malformed()),
    };
    let too_large = || QuantityError::TooLarge {
        text: text.to_owned(),
    };
    let digits = |part: &str| {
        if part.is_empty() {
            Ok(0)
        } else {
            part.parse::<u128>().map_err(|_| too_large())
        }
    };
    let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| malformed())?);
    let whole = digits(whole)?.checked_mul(factor).ok_or_else(too_large)?;
    let fraction = digits(fraction)?
        .checked_mul(factor)
        .ok_or_else(too_large)?
        .div_ceil(scale);
    let bytes = whole.checked_add(fraction).ok_or_else(too_large)?;
    // 2^63 - 1: what SQL and JSON readers can hold as an integer.
    u64::try_from(bytes)
        .ok()
        .filter(|b| i64::try_from(*b).is_ok())
        .map(ByteCount)
        .ok_or_else(too_large)
}

/// Why a text is no decimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no decimal number: write digits with an optional point, such as \"0.0120\"")]
pub struct DecimalError {
    /// What was given.
    pub text: String,
}

/// Reads a decimal such as `0.0120` or `-3`: digits with at most one point, no exponent, at most 30 characters.
///
/// # Errors
/// [`DecimalError`] for anything else.
pub fn parse_decimal(text: &str) -> Result<f64, DecimalError> {
    let error = || DecimalError {
        text: text.to_owned(),
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    let well_formed = digits.len() <= 30
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && digits.bytes().filter(|b| *b == b'.').count() <= 1;
    if !well_formed {
        return Err(error());
    }
    text.parse().map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_follow_kubernetes() {
        let cases = [
            ("0", 0),
            ("1500M", 1_500_000_000),
            ("40Ti", 40 << 40),
            ("500Gi", 500 << 30),
            ("1.5Ki", 1536),
            ("0.1Ki", 103),
            (".5Ki", 512),
            ("9223372036854775807", i64::MAX as u64),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_quantity(text), Ok(ByteCount(bytes)), "{text}");
        }
        for bad in [
            "",
            "Ti",
            "-1",
            "1 Gi",
            "1TB",
            "1e3",
            "1.2.3",
            "8Ei",
            "0x10",
            "1Kib",
            "99999999999999999999E",
        ] {
            assert!(parse_quantity(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn byte_counts_read_well() {
        assert_eq!(ByteCount(1023).to_string(), "1023 B");
        assert_eq!(ByteCount(1024).to_string(), "1.0 KiB");
        assert_eq!(ByteCount(1024 * 1024 - 1).to_string(), "1.0 MiB");
        assert_eq!(ByteCount(41 << 40).to_string(), "41.0 TiB");
        assert_eq!(ByteCount(u64::MAX).to_string(), "16.0 EiB");
    }

    #[test]
    fn decimals_are_plain() {
        assert_eq!(parse_decimal("0.0120"), Ok(0.012));
        assert_eq!(parse_decimal("-3"), Ok(-3.0));
        for bad in ["", ".", "1e3", "NaN", "inf", "1,5", "+1", "1.2.3", "0x1", " 1"] {
            assert!(parse_decimal(bad).is_err(), "{bad}");
        }
    }
}
