//! Backends with what they cost, and the links between them.

use domicile_estate::{AccessMode, Backend, ByteCount, Link, LinkEnd, Price, RateLimits, Rates, price_list};
use serde_json::{Value, json};

use super::{Headings, Item, Items, manifest, whole};
use crate::carry::now_ms;
use crate::world::World;
use crate::{amount, certificate};

pub(super) fn backends(world: &World) -> Items<'_> {
    let headings: Headings = (
        &["name", "domain", "soil", "law", "store", "capacity", "marks"],
        &["storage", "price from", "grid"],
    );
    Items::of(headings, world.manifests.backends.values(), |backend| {
        of_backend(world, backend)
    })
}

fn of_backend<'w>(world: &'w World, backend: &'w Backend) -> Item<'w> {
    let name = &backend.name;
    let country = backend
        .location
        .country
        .map_or_else(String::new, |c| c.to_string());
    let currency = &world.manifests.currency;
    let with_status = move || {
        let mut value = manifest(world, "Backend", name.as_str());
        if let Some(fields) = value.as_object_mut() {
            let mut status = status(backend, currency);
            if let (Some(status), Some(row)) = (status.as_object_mut(), world.certificates.get(name)) {
                let shown = certificate::shown(row, &backend.store, now_ms());
                status.insert("certificate".to_owned(), shown);
            }
            fields.insert("status".to_owned(), status);
        }
        value
    };
    Item {
        name: name.to_string(),
        cells: vec![
            backend.domain.to_string(),
            country,
            backend.operator_country.to_string(),
            backend.store.kind.to_string(),
            backend.capacity.to_string(),
            marks(world, backend).join(", "),
        ],
        wide: vec![
            storage(&backend.price, currency),
            backend.price.source.clone(),
            format!(
                "{} g/kWh ({})",
                backend.energy.grid_grams_per_kwh, backend.energy.grid_source
            ),
        ],
        value: Box::new(with_status),
    }
}

fn marks(world: &World, backend: &Backend) -> Vec<&'static str> {
    let name = &backend.name;
    let observed = &world.observed;
    let marks = [
        (backend.cordoned || observed.cordoned.contains(name), "cordoned"),
        (backend.drain || observed.draining.contains(name), "draining"),
        (backend.access_mode == AccessMode::ReadOnly, "read-only"),
        (observed.unreachable.contains_key(name), "unreachable"),
        (backend.relay, "relay"),
    ];
    marks
        .into_iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, mark)| mark)
        .collect()
}

/// The price of storage in one cell.
fn storage(price: &Price, currency: &str) -> String {
    let mut text = format!(
        "{} {currency}/GiB/month",
        amount::number(price.storage_per_gib_month)
    );
    for tier in &price.tiers {
        text.push_str(&format!(
            ", {} above {}",
            amount::number(tier.storage_per_gib_month),
            tier.above
        ));
    }
    if price.included_storage.0 > 0 {
        text.push_str(&format!(", {} included", price.included_storage));
    }
    if price.base_fee_per_month > 0.0 {
        text.push_str(&format!(
            ", base fee {}",
            amount::per_month(price.base_fee_per_month, currency)
        ));
    }
    text
}

/// What holds where the manifest states nothing, with where it is from.
fn status(backend: &Backend, currency: &str) -> Value {
    let price = &backend.price;
    let tiers = price
        .tiers
        .iter()
        .map(|tier| json!({"above": tier.above.0, "storagePerGiBMonth": tier.storage_per_gib_month}));
    let mut shown = json!({
        "currency": currency, "source": price.source,
        "storagePerGiBMonth": price.storage_per_gib_month, "tiers": tiers.collect::<Vec<_>>(),
        "includedStorage": price.included_storage.0, "baseFeePerMonth": price.base_fee_per_month,
        "ingressPerGiB": price.ingress_per_gib, "egressPerGiB": price.egress_per_gib,
        "egressWithinProviderPerGiB": price.egress_within_provider_per_gib,
        "egressWithinRegionPerGiB": price.egress_within_region_per_gib,
        "putPer1000": price.put_per_1000, "getPer1000": price.get_per_1000,
        "minObjectSize": price.min_object_size.0,
    });
    // The source of a list price begins with its name.
    let listed = price
        .source
        .split(',')
        .next()
        .and_then(|name| price_list().get(name));
    if let (Some(listed), Some(fields)) = (listed, shown.as_object_mut()) {
        fields.insert("seen".to_owned(), json!(listed.seen));
        fields.insert("listSource".to_owned(), json!(listed.source));
        fields.insert("limits".to_owned(), json!(listed.limits));
    }
    json!({
        "price": shown,
        "energy": {"gridGramsPerKWh": backend.energy.grid_grams_per_kwh, "gridSource": backend.energy.grid_source},
    })
}

pub(super) fn links(world: &World) -> Items<'_> {
    let headings: Headings = (
        &[
            "name",
            "from",
            "",
            "to",
            "price",
            "bandwidth",
            "latency",
            "forbidden",
            "limits",
        ],
        &[],
    );
    Items::of(headings, world.manifests.links.values(), |link| {
        of_link(world, link)
    })
}

fn of_link<'w>(world: &'w World, link: &'w Link) -> Item<'w> {
    let currency = &world.manifests.currency;
    let price = link
        .price_per_gib
        .map(|price| format!("{} {currency}/GiB", amount::number(price)));
    let latency = link.latency_ms.map(|latency| format!("{latency} ms"));
    let forbidden = link
        .forbidden
        .map(|forbidden| if forbidden { "yes" } else { "no" });
    let way = if link.bidirectional { "<->" } else { "->" };
    Item {
        name: link.name.to_string(),
        cells: vec![
            end(&link.from),
            way.to_owned(),
            end(&link.to),
            price.unwrap_or_default(),
            link.bandwidth_bits_per_second.map(bit_rate).unwrap_or_default(),
            latency.unwrap_or_default(),
            forbidden.unwrap_or_default().to_owned(),
            link.limits.as_ref().map(limited).unwrap_or_default(),
        ],
        wide: vec![],
        value: whole(world, "Link", link.name.as_str()),
    }
}

/// How much may go over a link, as far as a cell holds it.
fn limited(limits: &RateLimits) -> String {
    let Rates {
        bytes_per_second,
        requests_per_second,
    } = limits.usual;
    let bytes = bytes_per_second.map(|bytes| format!("{}/s", ByteCount(bytes)));
    let requests = requests_per_second.map(|requests| format!("{requests} requests/s"));
    let hours = (!limits.timetable.is_empty()).then(|| "by hours".to_owned());
    let all: Vec<String> = [bytes, requests, hours].into_iter().flatten().collect();
    all.join(", ")
}

fn end(end: &LinkEnd) -> String {
    let (kind, value) = end.parts();
    format!("{kind} {value}")
}

/// Bits per second in units of powers of ten.
fn bit_rate(bits: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1_000_000_000_000, "Tbit/s"),
        (1_000_000_000, "Gbit/s"),
        (1_000_000, "Mbit/s"),
        (1_000, "kbit/s"),
    ];
    let unit = UNITS.into_iter().find(|(size, _)| bits >= *size);
    unit.map_or_else(
        || format!("{bits} bit/s"),
        |(size, unit)| format!("{} {unit}", amount::number(bits as f64 / size as f64)),
    )
}
