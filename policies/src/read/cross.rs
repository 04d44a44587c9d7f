//! What no document can be blamed for alone: two currencies, two names for one place, origins within each other.

use std::collections::BTreeMap;

use domicile_estate::{AccessMode, Backend, StoreKind};

use super::Reading;
use super::document::Draft;
use super::fields::NameOf;
use super::price::listed;
use super::record::{Record, Typed};
use super::report::Report;
use crate::diagnostic::Place;
use crate::manifests::Manifests;

/// The currency of an estate in which no backend names one.
const DEFAULT_CURRENCY: &str = "EUR";

/// Checks documents against each other.
pub(super) fn check(reading: &Reading<'_>, manifests: &mut Manifests, report: &mut Report<'_>) {
    manifests.currency = currency(reading, report);
    same_places(reading, manifests, report);
    origins(reading, manifests, report);
    origins_over_backends(reading, manifests, report);
    copies_within_others(reading, manifests, report);
}

/// In the order of the sources, so that "the second" is what a reader takes for the second; stored ones first.
fn in_order<'r>(reading: &Reading<'r>, of: NameOf) -> Vec<(&'r Draft, &'r Record)> {
    let mut documents: Vec<_> = reading
        .of_kind(of)
        .filter(|(draft, _)| !draft.name.is_empty())
        .collect();
    documents.sort_by_key(|(draft, _)| (!draft.stored, draft.place));
    documents
}

fn currency(reading: &Reading<'_>, report: &mut Report<'_>) -> String {
    let mut first: Option<(&str, &str)> = None;
    let mut without: Option<Place> = None;
    for (draft, spec) in in_order(reading, NameOf::Backend) {
        let Some(price) = spec.record("price") else {
            continue;
        };
        let list = listed(price).and_then(|list| list.price.currency.as_deref());
        let currency = list.unwrap_or_else(|| price.text("currency"));
        if currency.is_empty() {
            if has_amount(price) {
                without.get_or_insert(spec.key_of("price"));
            }
            continue;
        }
        match first {
            None => first = Some((currency, &draft.name)),
            Some((one, name)) if one != currency => {
                let message =
                    format!("an estate has one currency: this is `{currency}`, that of `{name}` is `{one}`");
                let help = match list {
                    Some(_) => format!("state the prices of `{}` in `{one}`, without `from`", draft.name),
                    None => format!("convert the prices of `{}` to `{one}`", draft.name),
                };
                let field = if list.is_some() { "from" } else { "currency" };
                report.error_help(price.place_of(field), message, help);
            }
            Some(_) => {}
        }
    }
    if let (None, Some(place)) = (first, without) {
        let message =
            format!("prices are given and no backend names their currency: `{DEFAULT_CURRENCY}` is taken");
        report.warning(place, message, "state it once, for example `currency: EUR`");
    }
    first
        .map_or(DEFAULT_CURRENCY, |(currency, _)| currency)
        .to_owned()
}

/// Whether a price has an amount that is not zero.
fn has_amount(price: &Record) -> bool {
    let is_amount = |record: &Record| {
        let mut values = record.items.values().map(|item| &item.value);
        values.any(|value| matches!(value, Typed::Decimal(amount) if *amount > 0.0))
    };
    is_amount(price) || price.records("tiers").iter().any(is_amount)
}

/// The bytes that a backend stands for, as a comparable text that ends with a slash; `None` where no other backend can
/// have them.
fn place_of_bytes(backend: &Backend) -> Option<String> {
    let store = &backend.store;
    match store.kind {
        StoreKind::Fs => Some(format!("Fs {}/", store.option("root").trim_end_matches('/'))),
        StoreKind::Memory => None,
        kind => {
            let endpoint = store.option("endpoint").trim_end_matches('/').to_lowercase();
            let root = store.option("root").trim_matches('/');
            Some(format!(
                "{kind} {endpoint} {}{}/{root}{}",
                store.option("bucket"),
                store.option("container"),
                if root.is_empty() { "" } else { "/" }
            ))
        }
    }
}

/// Two backends over the same bytes would count as two copies.
fn same_places(reading: &Reading<'_>, manifests: &Manifests, report: &mut Report<'_>) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (draft, spec) in in_order(reading, NameOf::Backend) {
        let Some(backend) = manifests.backends.get(draft.name.as_str()) else {
            continue;
        };
        let Some(place) = place_of_bytes(backend) else {
            continue;
        };
        match seen.get(&place) {
            Some(first) => {
                let message = format!(
                    "`{}` and `{first}` are the same place: copies there would count twice",
                    draft.name
                );
                let help = "give one of them another `root` or bucket, or remove it";
                report.error_help(store_place(spec), message, help);
            }
            None => {
                seen.insert(place, &draft.name);
            }
        }
    }
}

fn store_place(spec: &Record) -> Place {
    let store = spec.record("store");
    let part = |name: &str| store.and_then(|store| store.item(name)).map(|item| item.place);
    part("root")
        .or_else(|| part("bucket"))
        .unwrap_or_else(|| spec.key_of("store"))
}

/// Of two origins, one within the other, retiring one would delete the other.
fn origins(reading: &Reading<'_>, manifests: &Manifests, report: &mut Report<'_>) {
    let mut origins: Vec<(&str, &str, usize)> = Vec::new();
    let documents = in_order(reading, NameOf::Dataset);
    for (rank, (draft, _)) in documents.iter().enumerate() {
        let dataset = manifests.datasets.get(draft.name.as_str());
        if let Some(origin) = dataset.and_then(|dataset| dataset.origin.as_ref()) {
            origins.push((origin.backend.as_str(), origin.prefix.as_str(), rank));
        }
    }
    origins.sort_unstable();
    // Sorted so, what contains others comes right before them.
    let mut container: Option<(&str, &str, usize)> = None;
    for (backend, prefix, rank) in origins {
        match container {
            Some((holder, outer, outer_rank)) if holder == backend && prefix.starts_with(outer) => {
                overlap(
                    &documents,
                    outer_rank.min(rank),
                    outer_rank.max(rank),
                    backend,
                    report,
                );
            }
            _ => container = Some((backend, prefix, rank)),
        }
    }
}

fn overlap(
    documents: &[(&Draft, &Record)],
    first: usize,
    second: usize,
    backend: &str,
    report: &mut Report<'_>,
) {
    let (Some((first, _)), Some((draft, spec))) = (documents.get(first), documents.get(second)) else {
        return;
    };
    let message = format!(
        "the origins of `{}` and `{}` on `{backend}` lie within each other",
        first.name, draft.name
    );
    report.error_help(
        origin_place(draft, spec),
        message,
        "give each dataset a `prefix` of its own",
    );
}

/// An origin that contains the root of another backend would take the copies there for its own objects; one that is the
/// whole of a backend takes the copies of other datasets there for its own.
fn origins_over_backends(reading: &Reading<'_>, manifests: &Manifests, report: &mut Report<'_>) {
    let roots: BTreeMap<String, &Backend> = manifests
        .backends
        .values()
        .filter_map(|backend| Some((place_of_bytes(backend)?, backend)))
        .collect();
    for (draft, spec) in in_order(reading, NameOf::Dataset) {
        let Some(origin) = manifests
            .datasets
            .get(draft.name.as_str())
            .and_then(|dataset| dataset.origin.as_ref())
        else {
            continue;
        };
        let Some(holder) = manifests.backends.get(&origin.backend) else {
            continue;
        };
        if let Some(root) = place_of_bytes(holder) {
            let whole = format!("{root}{}", origin.prefix);
            let within = roots
                .range(whole.clone()..)
                .take_while(|(place, _)| place.starts_with(&whole));
            if let Some((_, other)) = within
                .map(|(place, other)| (place, *other))
                .find(|(_, o)| o.name != holder.name)
            {
                let message = format!(
                    "the origin of `{}` contains the backend `{}`",
                    draft.name, other.name
                );
                let help = "its copies would be taken for new objects: keep the roots apart";
                report.error_help(origin_place(draft, spec), message, help);
            }
        }
        if origin.prefix.is_empty() && holder.access_mode == AccessMode::ReadWrite {
            let message = format!(
                "the origin of `{}` is the whole of `{}`, where copies of others may come",
                draft.name, holder.name
            );
            let help = "state a `prefix`, or make the backend `accessMode: ReadOnly`";
            report.warning(origin_place(draft, spec), message, help);
        }
    }
}

/// A copy of a dataset lies in a folder of the dataset's name. Where another backend or an origin lies in that very folder,
/// two things would have the same bytes, and to retire one would delete both.
fn copies_within_others(reading: &Reading<'_>, manifests: &Manifests, report: &mut Report<'_>) {
    let taking = manifests
        .backends
        .values()
        .filter(|b| b.access_mode == AccessMode::ReadWrite);
    let roots: BTreeMap<String, &Backend> = taking
        .filter_map(|backend| Some((place_of_bytes(backend)?, backend)))
        .collect();
    // The backend around a place, and the dataset whose copy there would lie around it.
    let around = |place: &str, own: &Backend| {
        place.match_indices('/').find_map(|(at, _)| {
            let (root, below) = place.split_at(at + 1);
            let outer = roots.get(root).filter(|outer| outer.name != own.name)?;
            let folder = below.split('/').next().filter(|folder| !folder.is_empty())?;
            let dataset = manifests.datasets.get(folder)?;
            Some((outer.name.clone(), dataset.name.clone()))
        })
    };
    let help = "keep the roots apart, give the dataset another name, or make the outer backend `accessMode: ReadOnly`";
    for (draft, spec) in in_order(reading, NameOf::Backend) {
        let backend = manifests.backends.get(draft.name.as_str());
        let place = backend.and_then(|backend| Some((backend, place_of_bytes(backend)?)));
        if let Some((outer, dataset)) = place.and_then(|(backend, place)| around(&place, backend)) {
            let message = format!(
                "`{}` lies where the copy of `{dataset}` on `{outer}` would lie: their copies would be one",
                draft.name
            );
            report.error_help(store_place(spec), message, help);
        }
    }
    for (draft, spec) in in_order(reading, NameOf::Dataset) {
        let dataset = manifests.datasets.get(draft.name.as_str());
        let origin = dataset.and_then(|dataset| dataset.origin.as_ref());
        let found = origin.and_then(|origin| {
            let holder = manifests.backends.get(&origin.backend)?;
            around(&format!("{}{}", place_of_bytes(holder)?, origin.prefix), holder)
        });
        if let Some((outer, dataset)) = found {
            let message = format!(
                "the origin of `{}` lies where the copy of `{dataset}` on `{outer}` would lie: they would be one",
                draft.name
            );
            report.error_help(origin_place(draft, spec), message, help);
        }
    }
}

fn origin_place(draft: &Draft, spec: &Record) -> Place {
    spec.record("origin").map_or(draft.place, |origin| {
        origin
            .item("prefix")
            .or(origin.item("backend"))
            .map_or(origin.place, |item| item.place)
    })
}
