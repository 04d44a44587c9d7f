//! Domains, backends and datasets from their documents.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_estate::{
    Access, AccessMode, AdmissionRule, Backend, BackendName, CredentialsRef, Dataset, DatasetName, Domain,
    DomainName, Energy, FairRecord, Labels, Location, Origin, RateLimits, Store, StoreKind,
    grid_grams_per_kwh,
};

use super::document::{Draft, Drafts};
use super::fields::NameOf;
use super::limits::limits;
use super::path;
use super::price::price;
use super::record::Record;
use super::report::{Report, looks_like_key};
use super::walk::credentials_help;
use crate::expression::Expression;

/// Mean carbon intensity of electricity in the world, for backends whose country is unknown: 480 gCO2e/kWh in 2023
/// (Ember, Global Electricity Review 2024).
const WORLD_GRID: (f64, &str) = (480.0, "world mean, Ember Global Electricity Review 2024");
/// Watt-hours per TB and hour of hard disks and of solid state disks, and a usual PUE: `data/README.md` of the estate.
const HDD_WATT_HOURS: f64 = 0.65;
const SSD_WATT_HOURS: f64 = 1.2;
const PUE: f64 = 1.2;

/// A domain with its compiled admission rules.
pub(super) fn domain(draft: &Draft, spec: &Record) -> Option<(Domain, Vec<(String, Expression)>)> {
    let mut rules = Vec::new();
    let mut compiled = Vec::new();
    for rule in spec.records("admission") {
        let expression = rule.expression("when")?;
        let name = rule.word("name")?;
        rules.push(AdmissionRule {
            name: name.clone(),
            when: expression.text().to_owned(),
        });
        compiled.push((name, expression.clone()));
    }
    let domain = Domain {
        name: DomainName::new(&draft.name).ok()?,
        labels: draft.labels.clone(),
        title: spec.text("title").to_owned(),
        jurisdiction: spec.country("jurisdiction")?,
        weight: spec
            .integer("weight")
            .and_then(|weight| u32::try_from(weight).ok())
            .unwrap_or(1),
        admission: rules,
    };
    Some((domain, compiled))
}

/// A backend. `folder` is where its relative paths start.
pub(super) fn backend(
    draft: &Draft,
    spec: &Record,
    folder: &str,
    domains: &BTreeMap<DomainName, Domain>,
    report: &mut Report<'_>,
) -> Option<Backend> {
    let location = spec.record("location").map(location).unwrap_or_default();
    let store = spec
        .record("store")
        .and_then(|record| store(record, folder, report));
    let credentials = spec
        .record("credentials")
        .map(|record| credentials(record, folder, report));
    let price = spec.record("price").map(|record| price(record, report));
    let energy = energy(draft, spec, &location, report);
    let domain = DomainName::new(spec.text("domain")).ok()?;
    let operator_country = match spec.country("operatorCountry") {
        Some(country) => country,
        None => domains.get(&domain)?.jurisdiction,
    };
    let credentials = match credentials {
        Some(found) => Some(found?),
        None => None,
    };
    let store = store?;
    let access_mode = match spec.text("accessMode") {
        "ReadOnly" => AccessMode::ReadOnly,
        _ => AccessMode::ReadWrite,
    };
    if store.kind == StoreKind::Http && access_mode == AccessMode::ReadWrite {
        let place = spec.key_of("store");
        let message = "an `Http` backend can only be read";
        report.error_help(place, message, "add `accessMode: ReadOnly`");
        return None;
    }
    Some(Backend {
        name: BackendName::new(&draft.name).ok()?,
        labels: draft.labels.clone(),
        domain,
        location,
        operator_country,
        store,
        credentials,
        capacity: spec.bytes("capacity")?,
        access_mode,
        cordoned: spec.boolean("cordoned").unwrap_or(false),
        drain: spec.boolean("drain").unwrap_or(false),
        relay: spec.boolean("relay").unwrap_or(false),
        limits: spec
            .record("limits")
            .map_or_else(RateLimits::default, |record| limits(record, report)),
        price: price.unwrap_or_default(),
        energy,
        nines: spec
            .record("failure")
            .and_then(|failure| failure.decimal("nines")),
    })
}

fn location(record: &Record) -> Location {
    Location {
        country: record.country("country"),
        region: record.word("region"),
        zone: record.word("zone"),
        provider: record.word("provider"),
    }
}

fn store(record: &Record, folder: &str, report: &mut Report<'_>) -> Option<Store> {
    let kind = StoreKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == record.variant)?;
    let mut options = BTreeMap::new();
    for name in ["root", "bucket", "container", "endpoint", "region", "user"] {
        if let Some(value) = record.word(name) {
            options.insert(name.to_owned(), value);
        }
    }
    if kind == StoreKind::Fs {
        let root = path::absolute(folder, &record.word("root")?);
        options.insert("root".to_owned(), root);
    }
    if kind != StoreKind::Fs
        && let Some(root) = record.word("root")
    {
        options.insert("root".to_owned(), path::absolute("", &root));
    }
    for file in ["config", "authority"] {
        if let Some(given) = record.word(file) {
            options.insert(file.to_owned(), path::absolute(folder, &given));
        }
    }
    if let Some(endpoint) = record.word("endpoint") {
        check_endpoint(record, &endpoint, schemes(kind), report)?;
    }
    Some(Store { kind, options })
}

/// How the endpoint of a kind of store may begin.
fn schemes(kind: StoreKind) -> &'static [&'static str] {
    match kind {
        StoreKind::Sftp => &["sftp://"],
        StoreKind::Ftp => &["ftps://", "ftp://"],
        _ => &["https://", "http://"],
    }
}

/// An endpoint is a plain URL: what else a URL can hold is a place for secrets.
fn check_endpoint(record: &Record, endpoint: &str, schemes: &[&str], report: &mut Report<'_>) -> Option<()> {
    let place = record.place_of("endpoint");
    if endpoint.contains(['@', '?', '#']) {
        report.secret(place);
        let message = "`endpoint` must not hold a user, a password or a query";
        report.error_help(record.key_of("endpoint"), message, credentials_help());
        return None;
    }
    let host = schemes.iter().find_map(|scheme| endpoint.strip_prefix(scheme));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/') || host.contains(char::is_whitespace))
    {
        let wanted: Vec<_> = schemes.iter().rev().map(|scheme| format!("`{scheme}`")).collect();
        let example = schemes.first().copied().unwrap_or_default();
        let example = match example {
            "https://" => "https://s3.example.org".to_owned(),
            scheme => format!("{scheme}host.example.org"),
        };
        report.error_help(
            place,
            format!("`endpoint` must be a URL with {}", wanted.join(" or ")),
            format!("write for example `{example}`"),
        );
        return None;
    }
    Some(())
}

fn credentials(record: &Record, folder: &str, report: &mut Report<'_>) -> Option<CredentialsRef> {
    if record.stated.len() != 1 {
        // Zero also where the only field was unknown, which was reported then.
        if record.stated.len() > 1 || record.items.is_empty() && record.place.length <= 2 {
            let message = "`credentials` must have exactly one of `env`, `file` and `secretRef`";
            report.error_help(record.place, message, credentials_help());
        }
        return None;
    }
    if let Some(prefix) = record.word("env") {
        let word = prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !word || prefix.starts_with(|c: char| c.is_ascii_digit()) {
            // It may be a secret that was put there by mistake.
            report.secret(record.place_of("env"));
            let message = "`env` must be the beginning of names of environment variables";
            report.error_help(
                record.key_of("env"),
                message,
                "use letters, digits and `_`, such as `GIESSEN`",
            );
            return None;
        }
        if looks_like_key(&prefix) {
            report.secret(record.place_of("env"));
        }
        return Some(CredentialsRef::Env(prefix));
    }
    if let Some(file) = record.word("file") {
        return Some(CredentialsRef::File(path::absolute(folder, &file)));
    }
    record
        .record("secretRef")
        .and_then(|secret| secret.word("name"))
        .map(CredentialsRef::Secret)
}

fn energy(draft: &Draft, spec: &Record, location: &Location, report: &mut Report<'_>) -> Energy {
    let given = spec.record("energy");
    let decimal = |name: &str| given.and_then(|energy| energy.decimal(name));
    let is_stated = |name: &str| given.is_some_and(|energy| energy.stated.contains(name));
    let (grid_grams_per_kwh, grid_source) = match decimal("gridGramsPerKWh") {
        Some(grams) => (grams, "given".to_owned()),
        None => match location.country.and_then(grid_grams_per_kwh) {
            Some((grams, year)) => (grams, format!("Ember/OWID {year}")),
            None => {
                if !is_stated("gridGramsPerKWh") {
                    warn_of_world_grid(draft, spec, location, report);
                }
                (WORLD_GRID.0, WORLD_GRID.1.to_owned())
            }
        },
    };
    let is_ssd = draft.labels.get("media").is_some_and(|media| media == "ssd");
    let copies = given
        .and_then(|energy| energy.integer("physicalCopies"))
        .unwrap_or(1);
    Energy {
        grid_grams_per_kwh,
        grid_source,
        watt_hours_per_tb_hour: decimal("wattHoursPerTBHour").unwrap_or(if is_ssd {
            SSD_WATT_HOURS
        } else {
            HDD_WATT_HOURS
        }),
        pue: decimal("pue").unwrap_or(PUE),
        // At most 100 by the table of fields.
        physical_copies: copies as f64,
    }
}

fn warn_of_world_grid(draft: &Draft, spec: &Record, location: &Location, report: &mut Report<'_>) {
    let stated = spec
        .record("location")
        .is_some_and(|record| record.stated.contains("country"));
    let why = match location.country {
        Some(country) => format!("the shipped table has no figure for the grid of `{country}`"),
        None if stated => return,
        None => "no country is known".to_owned(),
    };
    let place = spec.item("location").map_or(draft.place, |item| item.key);
    let message = format!(
        "`{}` is taken to run on the world's mean grid, {} g/kWh: {why}",
        draft.name, WORLD_GRID.0
    );
    report.warning(
        place,
        message,
        "state `location.country` or `energy.gridGramsPerKWh`",
    );
}

/// A dataset.
pub(super) fn dataset(
    draft: &Draft,
    spec: &Record,
    drafts: &Drafts,
    report: &mut Report<'_>,
) -> Option<Dataset> {
    let origin = match spec.record("origin") {
        Some(record) => Some(origin(record, drafts, report)?),
        None => None,
    };
    let texts = |name: &str| spec.texts(name).iter().map(|(text, _)| text.clone()).collect();
    Some(Dataset {
        name: DatasetName::new(&draft.name).ok()?,
        labels: Arc::new(Labels::clone(&draft.labels)),
        domain: DomainName::new(spec.text("domain")).ok()?,
        record: Arc::new(FairRecord {
            title: spec.text("title").to_owned(),
            description: spec.text("description").to_owned(),
            authors: texts("authors"),
            license: spec.text("license").to_owned(),
            keywords: texts("keywords"),
            format: spec.text("format").to_owned(),
            conforms_to: spec.text("conformsTo").to_owned(),
            access: match spec.text("access") {
                "Open" => Some(Access::Open),
                "Restricted" => Some(Access::Restricted),
                "Closed" => Some(Access::Closed),
                _ => None,
            },
        }),
        origin,
        keep_origin: spec.boolean("keepOrigin").unwrap_or(true),
    })
}

fn origin(record: &Record, drafts: &Drafts, report: &mut Report<'_>) -> Option<Origin> {
    if record.item("backend").is_some() {
        drafts.check(
            NameOf::Backend,
            record.text("backend"),
            record.place_of("backend"),
            report,
        );
    }
    let prefix = match path::prefix(record.text("prefix")) {
        Ok(prefix) => Some(prefix),
        Err(refusal) => {
            let message = format!(
                "`{}` is no prefix: {refusal}",
                record.text("prefix").escape_debug()
            );
            report.error_help(
                record.place_of("prefix"),
                message,
                "write a folder below the backend's root",
            );
            None
        }
    };
    Some(Origin {
        backend: BackendName::new(record.text("backend")).ok()?,
        prefix: prefix?,
    })
}
