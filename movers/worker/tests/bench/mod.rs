//! A bench: an origin and a folder to read back into, both plain folders, and the store under test between them.

#![allow(dead_code, reason = "each test file uses its own part of the bench")]

pub mod cutting;
pub mod s3s;
pub mod servers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domicile_estate::{
    AccessMode, Backend, BackendName, ByteCount, CredentialsRef, DatasetName, DomainName, Energy, Location,
    ObjectKey, Price, Store, StoreKind, Verify,
};
use domicile_movers::retry::RetryPolicy;
use domicile_movers::{Digests, Failure, Place, Receipt, Seen, TargetRecorded, TransferSpec};
use domicile_worker::{Cancel, CredentialValues, Limits, Listed, Progress, Stores, Worker};
use sha2::{Digest, Sha256};

/// The same tests on every kind of store that can be had here.
#[macro_export]
macro_rules! on_every_kind {
    ($($test:ident),+ $(,)?) => {
        $crate::on_one_kind!(on_fs, Fs, "", $($test),+);
        $crate::on_one_kind!(on_memory, Memory, "", $($test),+);
        $crate::on_one_kind!(on_s3, S3, "", $($test),+);
        $crate::on_one_kind!(on_s3s, S3, "s3s", $($test),+);
        $crate::on_one_kind!(on_azblob, Azblob, "azblob", $($test),+);
        $crate::on_one_kind!(on_gcs, Gcs, "gcs", $($test),+);
        $crate::on_one_kind!(on_webdav, Webdav, "webdav", $($test),+);
        $crate::on_one_kind!(on_ftp, Ftp, "ftp", $($test),+);
        $crate::on_one_kind!(on_ftps, Ftp, "ftps", $($test),+);
        $crate::on_one_kind!(on_vsftpd, Ftp, "vsftpd", $($test),+);
        $crate::on_one_kind!(on_sftp, Sftp, "sftp", $($test),+);
    };
}

/// The same tests on one server.
#[macro_export]
macro_rules! on_one_kind {
    ($module:ident, $kind:ident, $server:literal, $($test:ident),+) => {
        mod $module { $(#[tokio::test(flavor = "multi_thread")] async fn $test() {
            let bench = super::Bench::on(domicile_estate::StoreKind::$kind, $server);
            if let Some(bench) = bench { super::$test(bench).await }
        })+ }
    };
}

pub const DATASET: &str = "plants+2";

pub struct Bench {
    pub worker: Worker,
    pub progress: Arc<Progress>,
    pub cancel: Cancel,
    pub home: Arc<tempfile::TempDir>,
    backends: Vec<Backend>,
    variables: BTreeMap<String, String>,
    /// The kind of the store under test.
    pub kind: StoreKind,
    /// The server that it is on, by its name in `servers.py`.
    pub server: &'static str,
    /// The folder of this machine that the store is, if it is one.
    pub local: Option<PathBuf>,
}

/// A real S3 store from `DOMICILE_TEST_S3`, JSON with `endpoint`, `bucket`, `accessKeyId`, `secretAccessKey`.
pub struct S3Server {
    pub endpoint: String,
    pub bucket: String,
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl S3Server {
    pub fn given() -> Option<Self> {
        let Ok(text) = std::env::var("DOMICILE_TEST_S3") else {
            servers::skip("S3", "DOMICILE_TEST_S3 names no S3 store");
            return None;
        };
        let json: serde_json::Value = serde_json::from_str(&text).expect("DOMICILE_TEST_S3 is JSON");
        let field = |name: &str| {
            json[name]
                .as_str()
                .expect("a field of DOMICILE_TEST_S3")
                .to_owned()
        };
        Some(Self {
            endpoint: field("endpoint"),
            bucket: field("bucket"),
            access_key_id: field("accessKeyId"),
            secret_access_key: field("secretAccessKey"),
        })
    }

    pub fn variables(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("BENCH_ACCESS_KEY_ID".to_owned(), self.access_key_id.clone()),
            (
                "BENCH_SECRET_ACCESS_KEY".to_owned(),
                self.secret_access_key.clone(),
            ),
        ])
    }

    pub fn options(&self, root: &str) -> Vec<(&'static str, String)> {
        vec![
            ("endpoint", self.endpoint.clone()),
            ("bucket", self.bucket.clone()),
            ("root", root.to_owned()),
        ]
    }
}

pub fn name(text: &str) -> BackendName {
    BackendName::new(text).unwrap()
}

pub fn backend(backend_name: &str, kind: StoreKind, options: &[(&str, String)]) -> Backend {
    let country = domicile_estate::country("DE").unwrap();
    Backend {
        name: name(backend_name),
        labels: BTreeMap::new(),
        domain: DomainName::new("d").unwrap(),
        location: Location::default(),
        operator_country: country,
        store: Store {
            kind,
            options: options
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
        },
        credentials: (kind == StoreKind::S3).then(|| CredentialsRef::Env("BENCH".to_owned())),
        capacity: ByteCount(1 << 40),
        access_mode: AccessMode::ReadWrite,
        cordoned: false,
        drain: false,
        price: Price::default(),
        energy: Energy {
            grid_grams_per_kwh: 0.0,
            grid_source: String::new(),
            watt_hours_per_tb_hour: 0.0,
            pue: 1.0,
            physical_copies: 1.0,
        },
        nines: None,
        relay: false,
        limits: domicile_estate::RateLimits::default(),
    }
}

/// A store on a server, with a root of its own.
pub fn served(kind: StoreKind, server: &servers::Server, root: &str) -> Backend {
    let mut store = backend("store", kind, &[]);
    store.store.options.clone_from(&server.options);
    let above = server.options.get("root").map_or("", String::as_str);
    let root = format!("{above}/{root}");
    store.store.options.insert("root".to_owned(), root);
    store.credentials = match &server.file {
        Some(file) => Some(CredentialsRef::File(file.clone())),
        None if server.variables.is_empty() => None,
        None => Some(CredentialsRef::Env("BENCH".to_owned())),
    };
    store
}

/// Makes the folder that a store on a server is, and says where it lies on this machine.
fn local_folder(kind: StoreKind, server: &servers::Server, root: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let folder = match kind {
        StoreKind::Webdav | StoreKind::Ftp | StoreKind::Http => {
            server.folder.join(root.trim_start_matches('/'))
        }
        StoreKind::Sftp => PathBuf::from(root),
        _ => return None,
    };
    std::fs::create_dir_all(&folder).unwrap();
    // Some servers are another user.
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    Some(folder)
}

pub fn root_of(path: &Path) -> Vec<(&'static str, String)> {
    vec![("root", path.to_str().unwrap().to_owned())]
}

impl Bench {
    /// `None` where the kind needs a server that is not given.
    pub fn of(kind: StoreKind) -> Option<Self> {
        Self::on(kind, "")
    }

    /// The same on a server, by its name in `servers.py` if it is not that of the kind.
    pub fn on(kind: StoreKind, server: &'static str) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        // Short, for it counts towards the longest key that S3 holds.
        let unique = home.path().file_name().unwrap().to_str().unwrap().to_owned();
        let (options, variables) = match kind {
            StoreKind::Fs => (root_of(&home.path().join("store")), BTreeMap::new()),
            StoreKind::Memory => (vec![("root", unique)], BTreeMap::new()),
            StoreKind::S3 if server == "s3s" => {
                let endpoint = s3s::serve(&home.path().join("s3s"));
                let bucket = "bench".to_owned();
                let options = vec![("endpoint", endpoint), ("bucket", bucket), ("root", unique)];
                (options, s3s::variables())
            }
            StoreKind::S3 => {
                let server = S3Server::given()?;
                (server.options(&unique), server.variables())
            }
            _ => {
                let running = servers::Server::of(server)?;
                let store = served(kind, &running, &unique);
                let local = local_folder(kind, &running, store.store.option("root"));
                return Some(Self {
                    kind,
                    server,
                    local,
                    ..Self::with(home, &[store], running.variables)
                });
            }
        };
        let store = backend("store", kind, &options);
        Some(Self {
            kind,
            server,
            ..Self::with(home, &[store], variables)
        })
    }

    /// A bench with these backends besides `origin` and `back`.
    pub fn with(home: tempfile::TempDir, more: &[Backend], variables: BTreeMap<String, String>) -> Self {
        for folder in ["origin", "back", "store"] {
            std::fs::create_dir_all(home.path().join(folder)).unwrap();
        }
        let origin = backend("origin", StoreKind::Fs, &root_of(&home.path().join("origin")));
        let back = backend("back", StoreKind::Fs, &root_of(&home.path().join("back")));
        let backends = [origin, back].into_iter().chain(more.iter().cloned()).collect();
        Self::over(Arc::new(home), backends, variables)
    }

    /// A bench over the same stores, with a worker that knows nothing of this one's.
    pub fn again(&self) -> Self {
        let again = Self::over(self.home.clone(), self.backends.clone(), self.variables.clone());
        Self {
            kind: self.kind,
            server: self.server,
            local: self.local.clone(),
            ..again
        }
    }

    /// The same, and the store under test once more as `cut`, at the end of a line that may break; `None` where there is
    /// no line, or not only one (FTP).
    pub fn behind_a_line(&self) -> Option<(Self, cutting::Cutting)> {
        let mut cut = self
            .backends
            .iter()
            .find(|one| one.name == name("store"))?
            .clone();
        if self.kind == StoreKind::Ftp {
            return None;
        }
        let endpoint = cut.store.options.get_mut("endpoint")?;
        let (before, after) = endpoint.split_once("127.0.0.1:")?;
        let digits = after
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(after.len());
        let line = cutting::Cutting::before(after[..digits].parse().unwrap());
        *endpoint = format!("{before}127.0.0.1:{}{}", line.port, &after[digits..]);
        cut.name = name("cut");
        let mut backends = self.backends.clone();
        backends.push(cut);
        let behind = Self::over(self.home.clone(), backends, self.variables.clone());
        Some((behind, line))
    }

    fn over(
        home: Arc<tempfile::TempDir>,
        backends: Vec<Backend>,
        variables: BTreeMap<String, String>,
    ) -> Self {
        let retry = RetryPolicy {
            attempts: 3,
            first_ms: 5,
            longest_ms: 20,
        };
        let limits = Limits {
            retry,
            // Enough for the large object on a store of type `Memory`, which takes it only whole.
            memory_bytes: 96 * 1024 * 1024,
        };
        let stores = Stores::open(
            &backends.iter().collect::<Vec<_>>(),
            CredentialValues::given(variables.clone()),
        );
        Self {
            worker: Worker::new(stores, limits),
            progress: Arc::new(Progress::new()),
            cancel: Cancel::new(),
            home,
            backends,
            variables,
            kind: StoreKind::Fs,
            server: "",
            local: None,
        }
    }

    pub fn path(&self, of: &str) -> PathBuf {
        self.home.path().join(of)
    }

    /// Puts an object at the origin.
    pub fn seed(&self, key: &str, bytes: &[u8]) {
        let path = self.path("origin").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// From the origin to `target`, with the digest of these bytes.
    pub fn spec(&self, key: &str, bytes: &[u8], target: &str) -> TransferSpec {
        let dataset = DatasetName::new(DATASET).unwrap();
        let object_key = ObjectKey::new(key).unwrap();
        TransferSpec {
            target: Place {
                backend: name(target),
                path: object_key.path_in_copy(&dataset),
            },
            dataset,
            key: object_key,
            size: ByteCount(bytes.len() as u64),
            sha256: Some(sha256(bytes)),
            blake3: None,
            source: Place {
                backend: name("origin"),
                path: key.to_owned(),
            },
            alternatives: Vec::new(),
            target_recorded: TargetRecorded::Nothing,
            allow_create_root: false,
            verify: Verify::default(),
        }
    }

    pub async fn transfer(&self, spec: &TransferSpec) -> Result<Receipt, Failure> {
        self.worker.transfer(spec, &self.progress, &self.cancel).await
    }

    /// Puts an object into the store under test.
    pub async fn put(&self, key: &str, bytes: &[u8]) -> Receipt {
        self.seed(key, bytes);
        self.transfer(&self.spec(key, bytes, "store")).await.unwrap()
    }

    /// What the store under test gives for an object.
    pub async fn get(&self, key: &str) -> Result<Seen, Failure> {
        let place = Place {
            backend: name("store"),
            path: format!("{DATASET}/{key}"),
        };
        self.worker
            .read(&place, Digests::Both, &self.progress, &self.cancel)
            .await
    }

    pub async fn list(&self, prefix: &str) -> Vec<Listed> {
        let listing = self.worker.list(&name("store"), prefix, &[]).await.unwrap();
        let mut all = listing.all().await.unwrap();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Bytes that no compression and no repetition makes look right by accident.
pub fn bytes(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(size + 8);
    while out.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(size);
    out
}

/// Every plain file below a folder, with its bytes.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(top: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                walk(top, &path, found);
            } else if path.is_file() && !path.is_symlink() {
                let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    if folder.exists() {
        walk(folder, folder, &mut found);
    }
    found
}
