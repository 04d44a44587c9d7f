//! Fields of the limits of a backend.

use super::{Field, Type, optional, required};

const LIMIT_BYTES: Field = optional(
    "bytesPerSecond",
    Type::Quantity,
    "no limit",
    "Bytes per second, read and written together.",
    "50Mi",
);
const LIMIT_REQUESTS: Field = optional(
    "requestsPerSecond",
    Type::Integer(1, 1_000_000),
    "no limit",
    "Requests per second, such as a look at an object or a part that is put.",
    "100",
);

pub(super) const LIMITS: &[Field] = &[
    LIMIT_BYTES,
    LIMIT_REQUESTS,
    optional(
        "timetable",
        Type::Objects(LIMIT_HOURS),
        "",
        "Hours of the week with limits of their own; the first that hold count, and what they do not state is not limited then.",
        "[{days: [Sat, Sun], from: \"00:00\", to: \"24:00\"}]",
    ),
];

const LIMIT_HOURS: &[Field] = &[
    optional(
        "days",
        Type::Texts,
        "every day",
        "Days on which they begin: `Mon`, `Tue`, `Wed`, `Thu`, `Fri`, `Sat`, `Sun`.",
        "[Mon, Fri]",
    ),
    required("from", Type::Word, "When they begin, in UTC.", "\"08:00\""),
    required(
        "to",
        Type::Word,
        "When they end, in UTC; not after `from`: on the next day.",
        "\"18:00\"",
    ),
    LIMIT_BYTES,
    LIMIT_REQUESTS,
];
