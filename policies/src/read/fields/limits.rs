//! Fields of the limits of a backend and of a link.

use super::{Field, Type, optional, required};

const BYTES: Field = optional(
    "bytesPerSecond",
    Type::Quantity,
    "no limit",
    "Bytes per second, read and written together.",
    "50Mi",
);
const REQUESTS: Field = optional(
    "requestsPerSecond",
    Type::Integer(1, 1_000_000),
    "no limit",
    "Requests per second, such as a look at an object or a part that is put.",
    "100",
);
const LINK_BYTES: Field = Field {
    doc: "Bytes per second; what two copies take of one reading counts for both.",
    ..BYTES
};
const LINK_REQUESTS: Field = Field {
    doc: "Objects, or parts of large ones, per second.",
    ..REQUESTS
};

const DAYS: Field = optional(
    "days",
    Type::Texts,
    "every day",
    "Days on which they begin: `Mon`, `Tue`, `Wed`, `Thu`, `Fri`, `Sat`, `Sun`.",
    "[Mon, Fri]",
);
const FROM: Field = required("from", Type::Word, "When they begin, in UTC.", "\"08:00\"");
const TO: Field = required(
    "to",
    Type::Word,
    "When they end, in UTC; not after `from`: on the next day.",
    "\"18:00\"",
);

const fn timetable(hours: &'static [Field]) -> Field {
    optional(
        "timetable",
        Type::Objects(hours),
        "",
        "Hours of the week with limits of their own; the first that hold count, and what they do not state is not limited then.",
        "[{days: [Sat, Sun], from: \"00:00\", to: \"24:00\"}]",
    )
}

/// Of a backend.
pub(super) const LIMITS: &[Field] = &[BYTES, REQUESTS, timetable(&[DAYS, FROM, TO, BYTES, REQUESTS])];
/// Of a link.
pub(super) const LINK_LIMITS: &[Field] = &[
    LINK_BYTES,
    LINK_REQUESTS,
    timetable(&[DAYS, FROM, TO, LINK_BYTES, LINK_REQUESTS]),
];
