//! Carries out what the pure crate decides.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domicile_estate::{BackendName, ByteCount, DatasetName};
use domicile_movers::retry::{Decision, RetryPolicy, decide};
use domicile_movers::{
    Claim, DIGEST_LISTS, Digests, Ending, Epoch, Failure, FailureClass, LeasedTransfer, Ledger, Opening,
    Place, Receipt, Record, Seen, SourceVersion, Step, Transfer, TransferId, TransferSpec, UploadToken,
    lies_among_lists, tree,
};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;

use crate::by_store::KnownChecksums;
use crate::carry::{self, Carrier, Watch};
use crate::fan_out::{Expected, FanOut};
use crate::leased::{self, LeasedCarrier, Records};
use crate::listing::Listing;
use crate::memory::{LISTING, Share};
use crate::progress::{Cancel, Progress};
use crate::proof::by_chance;
use crate::role::Role;
use crate::store::{Aim, Crc64, Proven, Store};
use crate::stores::{Stores, check_path};

/// Pages of a listing that wait for whoever reads it.
const PAGES: usize = 4;

/// Readings of an object, until two of them agree.
const READINGS: usize = 3;

/// Bounds of a worker.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of objects that are held in memory, over everything that is under way; [`least_memory`](crate::least_memory) at
    /// least. The process itself takes some more.
    pub memory_bytes: u64,
    /// When to try again.
    pub retry: RetryPolicy,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 72 * 1024 * 1024,
            retry: RetryPolicy::default(),
        }
    }
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeReport {
    /// Whether something lies at the root.
    pub holds_something: bool,
    /// Whether a small object was written, read back and deleted; `false` if that was not asked for.
    pub wrote: bool,
    /// Whether the store has shown that it refuses bytes that do not match the checksum sent with them, and tells the
    /// checksum of what it holds: then its word can stand for reading back.
    pub proves_checksums: bool,
    /// Whether it has shown that it does not put an object where one is, if it is told so.
    pub refuses_to_overwrite: bool,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

/// Moves objects. All methods take `&self`: any number may be under way at once. They need tokio's runtime.
#[derive(Debug)]
pub struct Worker {
    pub(crate) stores: Arc<Stores>,
    fan_out: FanOut,
    retry: RetryPolicy,
    checksums: KnownChecksums,
}

impl Worker {
    /// A worker over stores.
    #[must_use]
    pub fn new(stores: Stores, limits: Limits) -> Self {
        Self {
            stores: Arc::new(stores),
            fan_out: FanOut::new(limits.memory_bytes),
            retry: limits.retry,
            checksums: KnownChecksums::default(),
        }
    }

    /// Carries one object to one backend, retries included, until it is verified or has failed.
    ///
    /// # Errors
    /// [`Failure`] says whom to blame.
    pub async fn transfer(
        &self,
        spec: &TransferSpec,
        progress: &Arc<Progress>,
        cancel: &Cancel,
    ) -> Result<Receipt, Failure> {
        let target = self.stores.at(&spec.target)?;
        let watch = watch(progress, cancel, &spec.target);
        let mut carrier = self.carrier(spec, target, Epoch(by_chance()), watch);
        let mut machine = Transfer::new(carrier.spec_with_spare().await?, self.retry);
        loop {
            match machine.step() {
                Step::Done(result) => {
                    carrier.discard().await;
                    if result.is_ok() {
                        carrier.remove_spare().await;
                    }
                    return result;
                }
                _ if cancel.is_cancelled() => {
                    carrier.discard().await;
                    return Err(carrier.watch.stopped());
                }
                step => {
                    let answer = carrier.carry_out(step).await;
                    machine.answer(answer);
                }
            }
        }
    }

    /// Carries one object under a lease, until it is verified, has failed, or the lease is lost. The caller registers what
    /// is verified; everything else is recorded on the way.
    ///
    /// # Errors
    /// [`Failure`] if the target cannot be used at all; whatever else fails is told by the ending.
    pub async fn transfer_leased(
        &self,
        spec: &TransferSpec,
        (epoch, ledger): (Epoch, Ledger),
        records: &dyn Records,
        progress: &Arc<Progress>,
        cancel: &Cancel,
    ) -> Result<Ending, Failure> {
        let target = self.stores.at(&spec.target)?;
        let goes_on = leased::goes_on(&*target, spec.size.0);
        let carrier = Carrier {
            // What an earlier lease may have published is looked for.
            must_look: ledger != Ledger::default(),
            ..self.carrier(spec, target, epoch, watch(progress, cancel, &spec.target))
        };
        // What the store copies by itself takes moments, and is not gone on with.
        let by_store = ledger == Ledger::default() && carrier.checksum_by_store(&spec.source).await.is_some();
        let id = TransferId::of(spec, 0);
        if by_store && goes_on {
            // Its upload is on no record; but that there may be one is, so that the sweep looks for it.
            let intended = Record::Intended(Opening {
                source: spec.source.clone(),
                version: SourceVersion {
                    size: spec.size.0,
                    etag: None,
                    modified_ms: None,
                },
                part_size: tree::part_size(spec.size.0),
            });
            if !records.record((&id, &spec.target.path), &intended).await? {
                return Ok(Ending::Fenced);
            }
        }
        let claim = Claim {
            id,
            epoch,
            ledger,
            part_size: (goes_on && !by_store).then(|| tree::part_size(spec.size.0)),
        };
        let with_spare = carrier.spec_with_spare().await?;
        let carrier = LeasedCarrier::new(carrier, &claim, records);
        Ok(carrier
            .run(LeasedTransfer::new(with_spare, self.retry, claim))
            .await)
    }

    /// The CRC-64/NVME of the large object with this BLAKE3, where this worker has computed both, or was told.
    #[must_use]
    pub fn checksum(&self, blake3: &str) -> Option<u64> {
        self.checksums.of(blake3).map(|checksum| checksum.0)
    }

    /// Takes it from whoever keeps what an earlier worker has computed: with it, stores can be taken at their word that
    /// they have copied the object by themselves.
    pub fn rely_on_checksum(&self, blake3: &str, crc64nvme: u64) {
        self.checksums.keep(blake3, Crc64(crc64nvme));
    }

    pub(crate) fn store(&self, backend: &BackendName) -> Result<Arc<dyn Store>, Failure> {
        self.stores.driver(backend)
    }

    pub(crate) fn assume(&self, backend: &BackendName, proven: Proven) {
        self.stores.assume(backend, proven);
    }

    fn carrier(&self, spec: &TransferSpec, target: Arc<dyn Store>, epoch: Epoch, watch: Watch) -> Carrier {
        Carrier {
            stores: self.stores.clone(),
            fan_out: self.fan_out.clone(),
            spec: spec.clone(),
            target,
            watch,
            staged: None,
            epoch,
            checksums: self.checksums.clone(),
            fetched_once: false,
            proof: None,
            must_look: false,
            skipped_look: false,
            looked_at: None,
        }
    }

    /// Announces a copy to a backend: what is read of these sources, below these prefixes, and is wanted by another copy
    /// too is read once for both. From folder to folder the system copies by itself, and nothing is announced.
    pub fn expect_copy(&self, sources: Vec<(BackendName, String)>, target: &BackendName) -> Expected {
        let is_folder = |backend: &BackendName| {
            let store = self.stores.driver(backend);
            store.is_ok_and(|store| store.as_folder().is_some())
        };
        let into_folder = is_folder(target);
        let shared = sources
            .into_iter()
            .filter(|(source, _)| !(into_folder && is_folder(source)));
        self.fan_out.expect(shared.collect(), target)
    }

    /// Whether another process can go on in the middle of an object of this size on a backend.
    ///
    /// # Errors
    /// What is wrong with the backend's manifest.
    pub fn goes_on_within(&self, backend: &BackendName, size: ByteCount) -> Result<bool, Failure> {
        let target = self.stores.driver(backend)?;
        Ok(size.0 > tree::part_size(size.0) && leased::goes_on(&*target, size.0))
    }

    /// Gives up the uploads of a copy that nobody goes on with, and returns how many.
    ///
    /// # Errors
    /// What hinders looking.
    pub async fn sweep_uploads(
        &self,
        backend: &BackendName,
        dataset: &DatasetName,
        kept: &[UploadToken],
    ) -> Result<u64, Failure> {
        let store = self.stores.driver(backend)?;
        let mut given_up = 0;
        for found in store.unfinished(&format!("{dataset}/")).await? {
            if kept.contains(&found.token) {
                continue;
            }
            if let Some(upload) = store.resume(Aim::nowhere(&found.path), &found.token) {
                upload.abort().await;
                given_up += 1;
            }
        }
        Ok(given_up)
    }

    /// Carries many objects, at most `concurrency` at a time, and hands each result to `on_done`, in the order in
    /// which they end. After a cancellation nothing new is begun.
    pub async fn transfer_many<F, D>(
        &self,
        specs: impl Iterator<Item = TransferSpec> + Send,
        concurrency: usize,
        progress: &Arc<Progress>,
        cancel: &Cancel,
        mut on_done: D,
    ) where
        D: FnMut(TransferSpec, Result<Receipt, Failure>) -> F + Send,
        F: Future<Output = ()> + Send,
    {
        let mut specs = specs.take_while(|_| !cancel.is_cancelled());
        let start = |spec: TransferSpec| async move {
            let result = self.transfer(&spec, progress, cancel).await;
            (spec, result)
        };
        let mut under_way: FuturesUnordered<_> = specs.by_ref().take(concurrency.max(1)).map(start).collect();
        while let Some((spec, result)) = under_way.next().await {
            on_done(spec, result).await;
            under_way.extend(specs.next().map(start));
        }
    }

    /// Reads an object from end to end, for a scrub or a first reading. Whether the bytes are right is for the
    /// caller to say.
    ///
    /// # Errors
    /// `SourceGone`, `SourceUnreadable`, `StoreMissing`, `CredentialsRefused`, `Transient` after bounded retries.
    pub async fn read(
        &self,
        place: &Place,
        digests: Digests,
        progress: &Arc<Progress>,
        cancel: &Cancel,
    ) -> Result<Seen, Failure> {
        let store = self.stores.at(place)?;
        let watch = watch(progress, cancel, place);
        let at = (place.path.as_str(), Role::Source);
        let count = Progress::add_verified;
        // How large it is nobody has asked.
        let memory = self
            .fan_out
            .budget()
            .take(carry::memory_of_reading(&*store, u64::MAX));
        let _memory = watch.or_stop(memory).await?;
        self.retrying(cancel, || carry::read(&*store, at, digests, count, &watch))
            .await
    }

    /// Reads an object as [`Worker::read`] does, and again where one reading is not enough: `judge` says whether what was
    /// seen is right, or `None` if nobody knows. Bits may turn on the way, so nobody is blamed, and nothing is taken for known,
    /// that two readings do not agree on.
    ///
    /// # Errors
    /// As [`Worker::read`]; `Transient` if no two readings agree and none is right.
    pub async fn read_surely(
        &self,
        place: &Place,
        digests: Digests,
        judge: &(dyn Fn(&Seen) -> Option<bool> + Sync),
        progress: &Arc<Progress>,
        cancel: &Cancel,
    ) -> Result<Seen, Failure> {
        let first = self.read(place, digests, progress, cancel).await?;
        let store = self.stores.at(place)?;
        match judge(&first) {
            Some(true) => return Ok(first),
            None if store.as_folder().is_some() || store.way_is_safe() => return Ok(first),
            Some(false) | None => {}
        }
        let mut readings = vec![first];
        while readings.len() < READINGS {
            let again = self.read(place, digests, progress, cancel).await?;
            if judge(&again) == Some(true) || readings.contains(&again) {
                return Ok(again);
            }
            readings.push(again);
        }
        let message = "all readings of it differ: check the store and the network to it".to_owned();
        Err(Failure::of_place(FailureClass::Transient, place, message))
    }

    /// Deletes an object. One that is not there is deleted. With `dataset`, which says that the object lies in our
    /// copy of this dataset, folders that this leaves empty go too, up to `<root>/<dataset>/`.
    ///
    /// # Errors
    /// `TargetDenied`, `TargetConflict` (something else than a plain object lies there), `StoreMissing`,
    /// `CredentialsRefused`, `Transient` after bounded retries.
    pub async fn delete(
        &self,
        place: &Place,
        dataset: Option<&DatasetName>,
        cancel: &Cancel,
    ) -> Result<(), Failure> {
        let store = self.stores.at(place)?;
        let in_copy = dataset.is_some_and(|dataset| {
            place
                .path
                .strip_prefix(dataset.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
        });
        self.retrying(cancel, || store.delete(&place.path, None, in_copy))
            .await
    }

    /// Lists what lies below a prefix (empty, or ending with `/`), subfolders included, without what lies at or
    /// below the paths in `skip` (relative to the root), and without our temporary files and lists of digests.
    ///
    /// # Errors
    /// What is wrong with the backend; what is wrong with its contents comes with the pages.
    pub async fn list(
        &self,
        backend: &BackendName,
        prefix: &str,
        skip: &[String],
    ) -> Result<Listing, Failure> {
        let store = self.stores.driver(backend)?;
        if !prefix.is_empty() {
            check_path(&*store, backend, prefix.trim_end_matches('/'))?;
        }
        let (sender, pages) = mpsc::channel(PAGES);
        let (prefix, mut skip) = (prefix.to_owned(), skip.to_vec());
        // What lies beside copies is no object; who wants it asks for it.
        if !lies_among_lists(&prefix) {
            skip.push(DIGEST_LISTS.to_owned());
        }
        let memory = self.fan_out.budget().clone();
        tokio::spawn(async move {
            let _memory = memory.take(LISTING).await;
            if let Err(failure) = store.list(&prefix, &skip, &sender).await {
                // Nobody listening any more is no failure.
                let _ = sender.send(Err(failure)).await;
            }
        });
        Ok(Listing { pages })
    }

    /// Looks whether a backend can be used: lists its root and, if `write`, writes a small object, reads it back
    /// and deletes it. It tries once. A folder that is yet to be made is in order where nothing is recorded
    /// (`may_be_new`): the first copy makes it.
    ///
    /// # Errors
    /// What would hinder a transfer.
    pub async fn probe(
        &self,
        backend: &BackendName,
        write: bool,
        may_be_new: bool,
    ) -> Result<ProbeReport, Failure> {
        let begun = Instant::now();
        let probed = self.stores.driver(backend)?.probe(write, may_be_new).await?;
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(ProbeReport {
            holds_something: probed.holds_something,
            wrote: probed.wrote,
            proves_checksums: probed.proven.checksums,
            refuses_to_overwrite: probed.proven.refuses_to_overwrite,
            took_ms,
        })
    }

    /// Removes what crashed transfers left below `<root>/<dataset>/` and nobody can go on with, and returns how many
    /// things: temporary files that no living process is writing. Uploads that another transfer can take up stay.
    ///
    /// # Errors
    /// What hinders looking or removing.
    pub async fn sweep(&self, backend: &BackendName, dataset: &DatasetName) -> Result<u64, Failure> {
        let prefix = format!("{}/", dataset.as_str());
        self.stores.driver(backend)?.sweep(&prefix).await
    }

    /// The same below a path that ends with `/`, or below the whole root.
    ///
    /// # Errors
    /// What hinders looking or removing.
    pub async fn sweep_below(&self, backend: &BackendName, prefix: &str) -> Result<u64, Failure> {
        self.stores.driver(backend)?.sweep(prefix).await
    }

    /// Gives up every upload below `<root>/<dataset>/` that was begun and not ended, and returns how many. Only for a
    /// moment when nobody writes there: it asks for nobody's lease.
    ///
    /// # Errors
    /// What hinders looking.
    pub async fn give_up_uploads(
        &self,
        backend: &BackendName,
        dataset: &DatasetName,
    ) -> Result<u64, Failure> {
        let store = self.stores.driver(backend)?;
        let prefix = format!("{}/", dataset.as_str());
        let mut given_up = 0;
        for found in store.unfinished(&prefix).await? {
            if let Some(upload) = store.resume(Aim::nowhere(&found.path), &found.token) {
                upload.abort().await;
                given_up += 1;
            }
        }
        Ok(given_up)
    }

    /// Whether each copy on a backend is read back when it is made, whatever its policies say: because the store's own
    /// word proves nothing.
    ///
    /// # Errors
    /// What is wrong with the manifest of the backend.
    pub async fn always_reads_back(&self, backend: &BackendName) -> Result<bool, Failure> {
        let store = self.stores.driver(backend)?;
        Ok(!store.proven().await.checksums)
    }

    /// Whether the root is missing or has nothing in it but our temporary files: where the catalogue has recorded
    /// data this means that the store is not the one it was.
    ///
    /// # Errors
    /// What hinders looking.
    pub async fn is_empty_or_gone(&self, backend: &BackendName) -> Result<bool, Failure> {
        self.stores.driver(backend)?.is_empty_or_gone().await
    }

    /// Memory for what is held besides objects.
    pub(crate) async fn memory(&self, bytes: u64) -> Option<Share> {
        self.fan_out.budget().take(bytes).await
    }

    /// Tries until it succeeds or `retry::decide` gives up.
    pub(crate) async fn retrying<T, F>(
        &self,
        cancel: &Cancel,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut attempts = 1;
        loop {
            let failure = match attempt().await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let Decision::RetryAfter { ms, reason } = decide(attempts, &failure, &self.retry) else {
                return Err(failure);
            };
            tracing::info!("{reason}");
            attempts += 1;
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(ms)) => {}
                () = cancel.cancelled() => return Err(failure),
            }
        }
    }
}

fn watch(progress: &Arc<Progress>, cancel: &Cancel, place: &Place) -> Watch {
    Watch {
        progress: progress.clone(),
        cancel: cancel.clone(),
        place: place.clone(),
    }
}
