//! Whether two places are one: a folder that is mounted twice, a bucket under two names. Its objects would be taken for two
//! copies, and who deletes one of them deletes both.

use bytes::Bytes;
use domicile_estate::{BackendName, TEMPORARY_PREFIX};
use domicile_movers::{Failure, FailureClass, Place, Publication};

use crate::progress::Cancel;
use crate::role::Role;
use crate::store::{Aim, Crc64, PROBE_BYTES, Store, Whole};
use crate::worker::Worker;

impl Worker {
    /// Puts a mark below a path of one backend and looks for it below paths of others; the first that shows it is the
    /// same place. Paths are empty or end with `/`. The mark is removed. No listing shows it, and a later call finds it
    /// again if this one is killed.
    ///
    /// # Errors
    /// What hinders writing and removing the mark, or looking for it.
    pub async fn one_place(
        &self,
        at: &Place,
        others: &[Place],
        cancel: &Cancel,
    ) -> Result<Option<BackendName>, Failure> {
        let store = self.store(&at.backend)?;
        let path = mark(at, at);
        let put = self.retrying(cancel, || put(&*store, &path)).await;
        let found = match put {
            Ok(()) => self.look(at, others, cancel).await,
            Err(failure) => Err(failure),
        };
        self.retrying(cancel, || store.delete(&path, None, false)).await?;
        found
    }

    async fn look(
        &self,
        at: &Place,
        others: &[Place],
        cancel: &Cancel,
    ) -> Result<Option<BackendName>, Failure> {
        for other in others {
            let store = self.store(&other.backend)?;
            let path = mark(at, other);
            let seen = self.retrying(cancel, || store.stat(&path, Role::Source)).await?;
            if seen.is_some() {
                return Ok(Some(other.backend.clone()));
            }
        }
        Ok(None)
    }
}

/// Where the mark of one place would lie at another. Its name is that of the first alone, so that what a kill leaves is
/// never taken for the mark of somebody else.
fn mark(of: &Place, at: &Place) -> String {
    let name = format!("{}\0{}", of.backend, of.path);
    let name = blake3::hash(name.as_bytes()).to_hex();
    format!("{}{TEMPORARY_PREFIX}place-{}", at.path, &name[..16])
}

/// What an earlier call has left there is as good.
async fn put(store: &dyn Store, path: &str) -> Result<(), Failure> {
    match put_bytes(store, path, PROBE_BYTES).await {
        // A full store is one from which copies have to go: a name alone often fits.
        Err(failure) if failure.class == FailureClass::TargetFull => put_bytes(store, path, b"").await,
        other => other,
    }
}

async fn put_bytes(store: &dyn Store, path: &str, bytes: &'static [u8]) -> Result<(), Failure> {
    let whole = Whole {
        chunks: vec![Bytes::from_static(bytes)],
        checksum: Crc64(crc_fast::crc64_nvme(bytes)),
    };
    let aim = Aim {
        path,
        size: bytes.len() as u64,
        how: Publication::New,
        replaces: None,
        tag: "",
        may_create_root: false,
    };
    store.put_whole(aim, &whole).await.map(drop)
}
