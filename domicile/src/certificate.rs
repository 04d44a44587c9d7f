//! Certificates as the catalogue keeps them: what a store has shown, for which place, and how long that is relied on.

use domicile_catalogue::CertificateRow;
use domicile_estate::Store;
use domicile_worker::Certificate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How long what a store has shown is taken for shown: a day. Servers are brought up to date, and proxies come between.
const RELIED_ON_MS: i64 = 24 * 60 * 60 * 1_000;

/// The form in which certificates are kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    version: u32,
    checksums: bool,
    refuses_to_overwrite: bool,
    /// Not in what was kept before it was tried.
    #[serde(default)]
    deletes_conditionally: bool,
    one_writer_wins: bool,
    replaces: bool,
    keeps_empty: bool,
    reads_ranges: bool,
    keeps_odd_names: bool,
    goes_on: bool,
    took_ms: u64,
}

const VERSION: u32 = 1;

impl From<&Certificate> for Kept {
    fn from(of: &Certificate) -> Self {
        Self {
            version: VERSION,
            checksums: of.checksums,
            refuses_to_overwrite: of.refuses_to_overwrite,
            deletes_conditionally: of.deletes_conditionally,
            one_writer_wins: of.one_writer_wins,
            replaces: of.replaces,
            keeps_empty: of.keeps_empty,
            reads_ranges: of.reads_ranges,
            keeps_odd_names: of.keeps_odd_names,
            goes_on: of.goes_on,
            took_ms: of.took_ms,
        }
    }
}

impl TryFrom<Kept> for Certificate {
    type Error = u32;

    /// The error is a version that is not known.
    fn try_from(kept: Kept) -> Result<Self, u32> {
        if kept.version != VERSION {
            return Err(kept.version);
        }
        Ok(Self {
            checksums: kept.checksums,
            refuses_to_overwrite: kept.refuses_to_overwrite,
            deletes_conditionally: kept.deletes_conditionally,
            one_writer_wins: kept.one_writer_wins,
            replaces: kept.replaces,
            keeps_empty: kept.keeps_empty,
            reads_ranges: kept.reads_ranges,
            keeps_odd_names: kept.keeps_odd_names,
            goes_on: kept.goes_on,
            took_ms: kept.took_ms,
        })
    }
}

/// Which place a store is, as text: a certificate is about this one and no other.
pub fn place(store: &Store) -> String {
    let options = store
        .options
        .iter()
        .map(|(name, value)| format!(" {name}={value}"));
    format!("{}{}", store.kind, options.collect::<String>())
}

/// A certificate as it is kept.
pub fn kept(certificate: &Certificate) -> Value {
    json!(Kept::from(certificate))
}

/// What a certificate says that can be relied on now: it is about this place, and of late.
pub fn relied_on(row: &CertificateRow, store: &Store, now_ms: i64) -> Option<Certificate> {
    let age_ms = now_ms.checked_sub(row.taken_ms)?;
    if row.place != place(store) || !(0..RELIED_ON_MS).contains(&age_ms) {
        return None;
    }
    let kept: Kept = serde_json::from_str(&row.shown).ok()?;
    Certificate::try_from(kept).ok()
}

/// A certificate for people and programs, with what has become of it.
pub fn shown(row: &CertificateRow, store: &Store, now_ms: i64) -> Value {
    let mut value: Value = serde_json::from_str(&row.shown).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("takenAtMs".to_owned(), json!(row.taken_ms));
        fields.insert("ofThisPlace".to_owned(), json!(row.place == place(store)));
        let relied_on = relied_on(row, store, now_ms).is_some();
        fields.insert("reliedOn".to_owned(), json!(relied_on));
    }
    value
}

/// What was shown, in a few words for a table.
pub fn in_words(certificate: &Certificate) -> String {
    let lines = [
        (
            certificate.checksums,
            "checksums",
            "no checksums: copies are read back whole",
        ),
        (
            certificate.refuses_to_overwrite,
            "refuses to overwrite",
            "overwrites",
        ),
        (
            certificate.one_writer_wins,
            "one of two writers wins",
            "two writers may both win",
        ),
        (certificate.replaces, "", "cannot replace"),
        (certificate.keeps_empty, "", "loses empty objects"),
        (certificate.reads_ranges, "", "gives no ranges"),
        (certificate.keeps_odd_names, "", "refuses odd names"),
        (
            certificate.goes_on,
            "goes on within an object",
            "begins objects anew",
        ),
    ];
    let said = lines
        .iter()
        .map(|(holds, yes, no)| if *holds { *yes } else { *no });
    said.filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domicile_estate::StoreKind;

    use super::*;

    #[test]
    fn a_certificate_is_relied_on_for_a_day_and_for_its_own_place() {
        let store = |root: &str| Store {
            kind: StoreKind::Sftp,
            options: BTreeMap::from([("root".to_owned(), root.to_owned())]),
        };
        let certificate = Certificate {
            refuses_to_overwrite: true,
            took_ms: 7,
            ..Certificate::default()
        };
        let row = CertificateRow {
            place: place(&store("/a")),
            taken_ms: 1_000,
            shown: kept(&certificate).to_string(),
        };
        assert_eq!(
            relied_on(&row, &store("/a"), 1_000 + RELIED_ON_MS - 1),
            Some(certificate)
        );
        assert_eq!(relied_on(&row, &store("/a"), 1_000 + RELIED_ON_MS), None);
        assert_eq!(
            relied_on(&row, &store("/a"), 999),
            None,
            "it is from another clock"
        );
        assert_eq!(relied_on(&row, &store("/b"), 2_000), None);
        let newer = CertificateRow {
            shown: row.shown.replace("\"version\":1", "\"version\":2"),
            ..row
        };
        assert_eq!(relied_on(&newer, &store("/a"), 2_000), None);
    }
}
