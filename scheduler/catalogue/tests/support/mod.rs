//! A catalogue on a temporary file, and short ways to say what is in it.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_catalogue::{
    Catalogue, DatasetSource, ImportOptions, InventoryRow, ListedObject, Mode, OriginListing, Verification,
};
use domicile_estate::{
    BackendName, ByteCount, CopyState, Dataset, DatasetName, DomainName, FairRecord, ObjectKey, Origin,
};

/// A catalogue and the folder that it lies in.
pub struct Fixture {
    pub folder: tempfile::TempDir,
    pub catalogue: Catalogue,
}

impl Fixture {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(&url(&folder), Mode::ReadWrite).await.unwrap();
        Self { folder, catalogue }
    }

    pub async fn reopened(self, mode: Mode) -> Self {
        let catalogue = Catalogue::open(&url(&self.folder), mode).await.unwrap();
        Self {
            folder: self.folder,
            catalogue,
        }
    }
}

pub fn url(folder: &tempfile::TempDir) -> String {
    format!("sqlite://{}/deep/catalogue.db", folder.path().display())
}

pub fn backend(name: &str) -> BackendName {
    BackendName::new(name).unwrap()
}

pub fn name(name: &str) -> DatasetName {
    DatasetName::new(name).unwrap()
}

pub fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

pub fn dataset(text: &str, origin: Option<(&str, &str)>) -> Dataset {
    Dataset {
        name: name(text),
        labels: Arc::new(BTreeMap::from([("theme".to_owned(), "plants".to_owned())])),
        domain: DomainName::new("giessen").unwrap(),
        record: Arc::new(FairRecord {
            title: text.to_owned(),
            ..FairRecord::default()
        }),
        origin: origin.map(|(at, prefix)| Origin {
            backend: backend(at),
            prefix: prefix.to_owned(),
        }),
        keep_origin: true,
    }
}

pub fn listing(text: &str, (at, prefix): (&str, &str), objects: &[(&str, u64, i64)]) -> OriginListing {
    let object = |(text, size, modified_ms): &(&str, u64, i64)| ListedObject {
        key: key(text),
        size: ByteCount(*size),
        modified_ms: Some(*modified_ms),
    };
    OriginListing {
        dataset: name(text),
        origin: Origin {
            backend: backend(at),
            prefix: prefix.to_owned(),
        },
        objects: objects.iter().map(object).collect(),
        findings: Vec::new(),
    }
}

/// Registers `d` with its origin on `src` and lists objects `a`, `b`, … of 10, 20, … bytes.
pub async fn register(catalogue: &Catalogue, objects: usize) {
    catalogue
        .register_dataset(&dataset("d", Some(("src", "p/"))), DatasetSource::Manifest)
        .await
        .unwrap();
    let keys: Vec<String> = (0..objects)
        .map(|at| char::from(b'a' + at as u8).to_string())
        .collect();
    let listed: Vec<(&str, u64, i64)> = keys
        .iter()
        .enumerate()
        .map(|(at, key)| (key.as_str(), 10 * (at as u64 + 1), 1))
        .collect();
    catalogue
        .record_origin(&listing("d", ("src", "p/"), &listed))
        .await
        .unwrap();
}

pub fn digest(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

pub fn verified(object_id: i64, at: &str) -> Verification {
    let byte = object_id as u8;
    Verification {
        object_id,
        backend: backend(at),
        sha256: Some(digest(byte)),
        blake3: digest(byte.wrapping_add(1)),
        at_ms: 7,
    }
}

/// Verifies the first objects of `d` on a backend, beginning the copy.
pub async fn verify(catalogue: &Catalogue, at: &str, objects: usize) {
    catalogue.begin_copy(&name("d"), &backend(at)).await.unwrap();
    read_back(catalogue, at, objects).await;
}

/// Records objects of a copy that is there already, such as the origin, as read and whole.
pub async fn read_back(catalogue: &Catalogue, at: &str, objects: usize) {
    let page = catalogue.objects(&name("d"), None, objects as u32).await.unwrap();
    let batch: Vec<Verification> = page.iter().map(|object| verified(object.object_id, at)).collect();
    catalogue.record_verified(&batch).await.unwrap();
}

pub async fn state(catalogue: &Catalogue, at: &str) -> Option<(CopyState, u64, u64)> {
    let observed = catalogue.observed(&[]).await.unwrap();
    let copy = observed.datasets.get(&name("d"))?.copy_on(at)?;
    Some((copy.state, copy.missing_objects, copy.missing_bytes.0))
}

pub fn options(trust: bool) -> ImportOptions {
    ImportOptions {
        domain: DomainName::new("giessen").unwrap(),
        backend: None,
        origin_prefix: String::new(),
        trust,
    }
}

pub fn row(line: u64, text: &str, object: &str, size: u64, replicas: &[&str]) -> InventoryRow {
    InventoryRow {
        line,
        dataset: name(text),
        key: key(object),
        size: ByteCount(size),
        sha256: None,
        labels: Arc::default(),
        replicas: replicas.iter().map(|at| backend(at)).collect(),
    }
}
