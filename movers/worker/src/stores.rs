//! The stores of an estate.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use domicile_estate::{Backend, BackendName, KeyRefusal, RateLimits, StoreKind};
use domicile_movers::{Failure, FailureClass, Place};

use crate::CredentialValues;
use crate::fs::FsStore;
use crate::limited::Limited;
use crate::store::{Proven, Store};
use crate::turnstile::Paces;
use crate::{ftp, object, s3, sftp, web};

/// The stores of an estate, by the names of their backends. A store is first touched when it is first used.
pub struct Stores {
    slots: BTreeMap<BackendName, Slot>,
    /// For the ways behind a link with limits what all who send over it keep to.
    links: BTreeMap<(BackendName, BackendName), Arc<Paces>>,
    credentials: CredentialValues,
}

/// What goes over one direction of a link at most, whichever of its ways it takes.
#[derive(Debug, Clone)]
pub struct LinkLimits {
    /// How much.
    pub limits: RateLimits,
    /// From which backend to which.
    pub ways: Vec<(BackendName, BackendName)>,
}

struct Slot {
    backend: Backend,
    driver: OnceLock<Result<Driver, Failure>>,
    /// What it has shown to an earlier process.
    assumed: OnceLock<Proven>,
}

/// How a store is driven.
pub(crate) type Driver = Arc<dyn Store>;

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.slots.keys()).finish()
    }
}

impl Stores {
    /// Takes backends as their manifests say. It touches no store and cannot fail: what is wrong with one backend
    /// is told by each use of that one, and holds up no other (SC-1).
    #[must_use]
    pub fn open(backends: &[&Backend], credentials: CredentialValues) -> Self {
        let slot = |backend: &Backend| Slot {
            backend: backend.clone(),
            driver: OnceLock::new(),
            assumed: OnceLock::new(),
        };
        let slots = backends
            .iter()
            .map(|backend| (backend.name.clone(), slot(backend)))
            .collect();
        Self {
            slots,
            links: BTreeMap::new(),
            credentials,
        }
    }

    /// With drivers that a test has made.
    #[cfg(test)]
    pub(crate) fn of(drivers: Vec<(Backend, Driver)>) -> Self {
        let backends: Vec<&Backend> = drivers.iter().map(|(backend, _)| backend).collect();
        let stores = Self::open(&backends, CredentialValues::given(BTreeMap::new()));
        for (backend, driver) in &drivers {
            let set = stores.slots[&backend.name].driver.set(Ok(Arc::clone(driver)));
            assert!(set.is_ok(), "nobody has opened it yet");
        }
        stores
    }

    /// With limits of links: what is read from one backend for another goes no faster than they allow.
    #[must_use]
    pub fn behind(mut self, links: Vec<LinkLimits>) -> Self {
        for LinkLimits { limits, ways } in links {
            let paces = Arc::new(Paces::new(limits));
            let shared = ways.into_iter().map(|way| (way, Arc::clone(&paces)));
            self.links.extend(shared);
        }
        self
    }

    /// The limits of the way from one backend to another; `None` where there are none.
    pub(crate) fn link(&self, from: &BackendName, to: &BackendName) -> Option<Arc<Paces>> {
        if self.links.is_empty() {
            return None;
        }
        self.links.get(&(from.clone(), to.clone())).map(Arc::clone)
    }

    pub(crate) fn driver(&self, backend: &BackendName) -> Result<Driver, Failure> {
        let Some(slot) = self.slots.get(backend) else {
            let message = "the estate has no backend of this name".to_owned();
            return Err(Failure::of_backend(FailureClass::StoreMissing, backend, message));
        };
        let opened = slot.driver.get_or_init(|| {
            let driver = open(&slot.backend, &self.credentials)?;
            if let Some(assumed) = slot.assumed.get() {
                driver.assume(*assumed);
            }
            let limits = &slot.backend.limits;
            // From folder to folder the system copies by itself, and is never overburdened by us.
            if limits.is_unlimited() && driver.as_folder().is_some() {
                return Ok(driver);
            }
            Ok(Arc::new(Limited::new(driver, limits.clone())) as Driver)
        });
        opened.clone()
    }

    /// What a store has shown to an earlier process, for when it is first used here.
    pub(crate) fn assume(&self, backend: &BackendName, proven: Proven) {
        if let Some(slot) = self.slots.get(backend) {
            // The first word holds.
            let _ = slot.assumed.set(proven);
        }
    }

    /// The store of a place, if its path leads nowhere else.
    pub(crate) fn at(&self, place: &Place) -> Result<Driver, Failure> {
        let driver = self.driver(&place.backend)?;
        check_path(&*driver, &place.backend, &place.path)?;
        Ok(driver)
    }
}

fn open(backend: &Backend, credentials: &CredentialValues) -> Result<Driver, Failure> {
    match backend.store.kind {
        StoreKind::Fs => {
            let root = PathBuf::from(backend.store.option("root"));
            if root.is_absolute() {
                return Ok(Arc::new(FsStore::new(backend.name.clone(), root)));
            }
            let message = format!("its root `{}` is no absolute path", root.display());
            Err(Failure::of_backend(
                FailureClass::StoreMissing,
                &backend.name,
                message,
            ))
        }
        StoreKind::S3 => Ok(Arc::new(s3::open(backend, credentials)?)),
        StoreKind::Memory | StoreKind::Azblob | StoreKind::Gcs => {
            Ok(Arc::new(object::open(backend, credentials)?))
        }
        StoreKind::Webdav | StoreKind::Http => Ok(Arc::new(web::open(backend, credentials)?)),
        StoreKind::Ftp => Ok(Arc::new(ftp::open(backend, credentials)?)),
        StoreKind::Sftp => Ok(Arc::new(sftp::open(backend)?)),
    }
}

/// Refuses a path that could lead elsewhere, or that this store would change. Keys are checked when they are
/// registered; this is the last gate before the store, whoever made the path.
pub(crate) fn check_path(store: &dyn Store, backend: &BackendName, path: &str) -> Result<(), Failure> {
    let refusal = match path {
        "" => Some(KeyRefusal::Empty),
        _ if path.starts_with('/') => Some(KeyRefusal::Absolute),
        _ if path.contains('\0') => Some(KeyRefusal::Nul),
        _ if path.split('/').any(str::is_empty) => Some(KeyRefusal::EmptyPart),
        _ if path.split('/').any(|part| part == "." || part == "..") => Some(KeyRefusal::DotPart),
        _ if store.capabilities().trims_paths && path.trim() != path => {
            Some(KeyRefusal::OuterWhiteSpace { kind: StoreKind::S3 })
        }
        _ => None,
    };
    match refusal {
        None => Ok(()),
        Some(refusal) => Err(Failure::of_object(
            FailureClass::KeyRefused,
            backend,
            path,
            refusal.to_string(),
        )),
    }
}
