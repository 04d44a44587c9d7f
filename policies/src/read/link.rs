//! Links from their documents.

use domicile_estate::{BackendName, DomainName, Link, LinkEnd, LinkName};

use super::document::{Draft, Drafts};
use super::fields::NameOf;
use super::limits::limits;
use super::record::Record;
use super::report::Report;

/// A link; what is wrong in it is reported.
pub(super) fn link(draft: &Draft, spec: &Record, drafts: &Drafts, report: &mut Report<'_>) -> Option<Link> {
    let from = spec.record("from").and_then(|record| end(record, drafts, report));
    let to = spec.record("to").and_then(|record| end(record, drafts, report));
    if let (Some(LinkEnd::Backend(one)), Some(LinkEnd::Backend(other))) = (&from, &to)
        && one == other
    {
        let message = format!("a link goes from one backend to another, both ends are `{one}`");
        report.error_help(
            spec.key_of("to"),
            message,
            "name another backend, or some of them",
        );
    }
    let latency = spec.integer("latencyMilliseconds");
    Some(Link {
        name: LinkName::new(&draft.name).ok()?,
        from: from?,
        to: to?,
        bidirectional: spec.boolean("bidirectional").unwrap_or(false),
        price_per_gib: spec.decimal("pricePerGiB"),
        bandwidth_bits_per_second: spec.bytes("bandwidthBitsPerSecond").map(|bits| bits.0),
        latency_ms: latency.and_then(|latency| u64::try_from(latency).ok()),
        forbidden: spec.boolean("forbidden"),
        limits: spec.record("limits").map(|record| limits(record, report)),
    })
}

fn end(record: &Record, drafts: &Drafts, report: &mut Report<'_>) -> Option<LinkEnd> {
    for (field, of) in [("backend", NameOf::Backend), ("domain", NameOf::Domain)] {
        if record.item(field).is_some() {
            drafts.check(of, record.text(field), record.place_of(field), report);
        }
    }
    let backend = || {
        BackendName::new(record.text("backend"))
            .ok()
            .map(LinkEnd::Backend)
    };
    let region = || record.word("region").map(LinkEnd::Region);
    let domain = || DomainName::new(record.text("domain")).ok().map(LinkEnd::Domain);
    let provider = || record.word("provider").map(LinkEnd::Provider);
    backend().or_else(region).or_else(domain).or_else(provider)
}
