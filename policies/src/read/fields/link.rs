//! Fields of a link.

use super::{Field, NameOf, Type, optional, required};

pub(super) const LINK: &[Field] = &[
    required(
        "from",
        Type::OneOf(LINK_END),
        "The backends that are read.",
        "{provider: jlu}",
    ),
    required(
        "to",
        Type::OneOf(LINK_END),
        "The backends that are written.",
        "{backend: oslo}",
    ),
    optional(
        "bidirectional",
        Type::Boolean,
        "false",
        "true: it says the same of the way back.",
        "true",
    ),
    optional(
        "pricePerGiB",
        Type::Decimal(0),
        "",
        "Instead of the egress price of the backend that is read.",
        "\"0.01\"",
    ),
    optional(
        "bandwidthBitsPerSecond",
        Type::BitRate,
        "",
        "Bits per second, as a quantity.",
        "10G",
    ),
    optional(
        "latencyMilliseconds",
        Type::Integer(0, LATENCY_MILLISECONDS_MAX),
        "",
        "Milliseconds to the other end.",
        "12",
    ),
    optional(
        "forbidden",
        Type::Boolean,
        "",
        "true: bytes must not go this way; false: they may, though a less specific link forbids it.",
        "true",
    ),
    optional(
        "limits",
        Type::Object(super::limits::LINK_LIMITS),
        "",
        "How much each process that moves sends this way at most, all copies together; each direction has its own.",
        "{bytesPerSecond: 50Mi}",
    ),
];

/// Longest latency, in milliseconds: an hour.
const LATENCY_MILLISECONDS_MAX: i64 = 3_600_000;

const LINK_END: &[Field] = &[
    optional(
        "backend",
        Type::Name(NameOf::Backend),
        "",
        "This backend.",
        "giessen-archive",
    ),
    optional("region", Type::Word, "", "Every backend in this region.", "de-he"),
    optional(
        "domain",
        Type::Name(NameOf::Domain),
        "",
        "Every backend of this domain.",
        "jlu-giessen",
    ),
    optional(
        "provider",
        Type::Word,
        "",
        "Every backend of this provider.",
        "jlu",
    ),
];
