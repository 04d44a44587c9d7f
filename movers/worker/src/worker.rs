//! Carries out what the pure crate decides.

use std::future::Future;

use domicile_estate::{BackendName, DatasetName};
use domicile_movers::retry::RetryPolicy;
use domicile_movers::{Digests, Failure, FailureClass, Place, Receipt, Seen, TransferSpec};

use crate::{Cancel, Listing, Progress, Stores};

/// Bounds of a worker.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes in buffers, over all transfers.
    pub buffer_bytes: u32,
    /// When to try again.
    pub retry: RetryPolicy,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            buffer_bytes: 96 * 1024 * 1024,
            retry: RetryPolicy::default(),
        }
    }
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeReport {
    /// Whether something lies at the root.
    pub holds_something: bool,
    /// Whether a small object was written, read back and deleted; `None` if that was not asked for.
    pub wrote: bool,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

/// Moves objects. All methods take `&self`: any number may be under way at once.
#[derive(Debug)]
pub struct Worker {
    #[expect(dead_code, reason = "the drivers come next")]
    stores: Stores,
    #[expect(dead_code, reason = "the drivers come next")]
    limits: Limits,
}

impl Worker {
    /// A worker over stores.
    #[must_use]
    pub fn new(stores: Stores, limits: Limits) -> Self {
        Self { stores, limits }
    }

    /// Carries one object to one backend, retries included, until it is verified or has failed.
    ///
    /// # Errors
    /// [`Failure`] says whom to blame.
    pub async fn transfer(
        &self,
        spec: &TransferSpec,
        _progress: &Progress,
        _cancel: &Cancel,
    ) -> Result<Receipt, Failure> {
        Err(self.not_yet(&spec.target.backend))
    }

    /// Carries many objects, at most `concurrency` at a time, and hands each result to `on_done`, in the order in
    /// which they end.
    pub async fn transfer_many<F, D>(
        &self,
        specs: impl Iterator<Item = TransferSpec> + Send,
        concurrency: usize,
        progress: &Progress,
        cancel: &Cancel,
        mut on_done: D,
    ) where
        D: FnMut(TransferSpec, Result<Receipt, Failure>) -> F + Send,
        F: Future<Output = ()> + Send,
    {
        let _ = concurrency;
        for spec in specs {
            let result = self.transfer(&spec, progress, cancel).await;
            on_done(spec, result).await;
        }
    }

    /// Reads an object from end to end. Whether the bytes are right is for the caller to say.
    ///
    /// # Errors
    /// `SourceGone`, `SourceUnreadable`, `StoreMissing`, `CredentialsRefused`, `Transient` after bounded retries.
    pub async fn read(
        &self,
        place: &Place,
        _digests: Digests,
        _progress: &Progress,
        _cancel: &Cancel,
    ) -> Result<Seen, Failure> {
        Err(self.not_yet(&place.backend))
    }

    /// Deletes an object, and the folders below `<root>/<dataset>/` that this leaves empty. One that is not there
    /// is deleted.
    ///
    /// # Errors
    /// `TargetDenied`, `StoreMissing`, `CredentialsRefused`, `Transient` after bounded retries.
    pub async fn delete(&self, place: &Place, _cancel: &Cancel) -> Result<(), Failure> {
        Err(self.not_yet(&place.backend))
    }

    /// Lists what lies below a prefix (empty, or ending with `/`), subfolders included, without what lies at or
    /// below the paths in `skip` (relative to the root) and without our temporary files.
    ///
    /// # Errors
    /// `StoreMissing`, `CredentialsRefused`, and for a folder `SourceGone` if the prefix is not there.
    pub async fn list(
        &self,
        backend: &BackendName,
        _prefix: &str,
        _skip: &[String],
    ) -> Result<Listing, Failure> {
        Err(self.not_yet(backend))
    }

    /// Looks whether a backend can be used: lists its root and, if `write`, writes a small object, reads it back
    /// and deletes it.
    ///
    /// # Errors
    /// What would hinder a transfer.
    pub async fn probe(&self, backend: &BackendName, _write: bool) -> Result<ProbeReport, Failure> {
        Err(self.not_yet(backend))
    }

    /// Removes the temporary files that crashed transfers left below `<root>/<dataset>/`, and returns how many.
    /// Files that a living process is writing stay.
    ///
    /// # Errors
    /// What hinders looking or removing.
    pub async fn sweep(&self, backend: &BackendName, _dataset: &DatasetName) -> Result<u64, Failure> {
        Err(self.not_yet(backend))
    }

    /// Whether the root is missing or has nothing in it but our temporary files: where the catalogue has recorded
    /// data this means that the store is not the one it was.
    ///
    /// # Errors
    /// What hinders looking.
    pub async fn is_empty_or_gone(&self, backend: &BackendName) -> Result<bool, Failure> {
        Err(self.not_yet(backend))
    }

    fn not_yet(&self, backend: &BackendName) -> Failure {
        Failure::of_backend(
            FailureClass::Transient,
            backend,
            "this build has no drivers yet".to_owned(),
        )
    }
}
