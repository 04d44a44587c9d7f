//! Writing a dataset back from whatever copies can be read: into a folder outside the estate, or where its origin lay.

use std::sync::Arc;

use domicile_catalogue::{Catalogue, CatalogueError, NumberedObject, Verification};
use domicile_estate::{BackendName, DatasetName, ObjectKey, Verify};
use domicile_movers::{Failure, FailureClass, Place, Receipt, TargetRecorded, TransferSpec};
use domicile_worker::{Cancel, Progress, Worker};
use futures::StreamExt as _;

use super::{Layout, now_ms};
use crate::progress::Meter;

/// Objects read from the catalogue at once.
const PAGE: u32 = 512;
/// Objects under way at once.
const OBJECTS: usize = 16;
/// Failures that are kept; the others are counted.
const FAILURES_MAX: usize = 10_000;

/// What is restored, from where and to where.
pub struct Restoring<'a> {
    /// Tells which objects there are.
    pub catalogue: &'a Catalogue,
    /// The mover's hands; it knows the target, too.
    pub worker: &'a Worker,
    /// What lies where.
    pub layout: &'a Layout,
    /// The dataset.
    pub dataset: &'a DatasetName,
    /// Where to read, best first.
    pub sources: &'a [BackendName],
    /// Where to write.
    pub target: &'a BackendName,
    /// What every key is prefixed with there.
    pub prefix: &'a str,
    /// Whether files with other bytes may be replaced.
    pub overwrite: bool,
    /// The backend of the origin, if it is the origin that is restored: what was written is recorded there.
    pub origin: Option<&'a BackendName>,
    /// Bytes as the worker counts them.
    pub progress: Arc<Progress>,
    /// Objects as we count them.
    pub meter: Arc<Meter>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Restored {
    /// Objects that were written.
    pub written: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were there already, with the right bytes.
    pub there: u64,
    /// Objects that are not there now, with the reason; the first of them.
    pub failed: Vec<(ObjectKey, String)>,
    /// Copies of objects that were found damaged on the way: others were used.
    pub damaged: Vec<(i64, Failure)>,
    /// Whether the target took nothing more, so that the rest was not tried.
    pub stopped: bool,
}

impl Restoring<'_> {
    /// Restores every object. What fails is told and holds up nothing else, unless the target as a whole fails.
    pub async fn run(&self) -> Result<Restored, CatalogueError> {
        let mut restored = Restored::default();
        let mut after: Option<ObjectKey> = None;
        loop {
            let page = self.catalogue.objects(self.dataset, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(restored);
            };
            after = Some(last.object.key.clone());
            let transfers: Vec<_> = page.into_iter().map(|object| self.transfer(object)).collect();
            let mut results = futures::stream::iter(transfers).buffer_unordered(OBJECTS);
            let mut verified = Vec::new();
            while let Some((object, result)) = results.next().await {
                match result {
                    Ok(receipt) => verified.extend(self.take(&object, receipt, &mut restored)),
                    Err(failure) => self.take_failure(object, &failure, &mut restored),
                }
                if restored.stopped {
                    break;
                }
            }
            drop(results);
            if let Some(origin) = self.origin {
                self.catalogue
                    .record_restored(self.dataset, origin, &verified)
                    .await?;
            }
            if restored.stopped {
                return Ok(restored);
            }
        }
    }

    async fn transfer(&self, numbered: NumberedObject) -> (NumberedObject, Result<Receipt, Failure>) {
        let result = match self.spec(&numbered) {
            Ok(spec) => self.worker.transfer(&spec, &self.progress, &Cancel::new()).await,
            Err(failure) => Err(failure),
        };
        self.meter.add_object();
        (numbered, result)
    }

    fn spec(&self, numbered: &NumberedObject) -> Result<TransferSpec, Failure> {
        let object = &numbered.object;
        // Bytes of which no digest is known are right at the origin alone.
        let known = object.sha256.is_some() || object.blake3.is_some();
        let fit = |backend: &&BackendName| known || self.layout.is_origin(self.dataset, backend);
        let mut places = self
            .sources
            .iter()
            .filter(fit)
            .map(|backend| self.layout.place(self.dataset, &object.key, backend));
        let Some(source) = places.next() else {
            let message = "it was never read at its origin, so that nothing tells which bytes are right";
            let key = object.key.as_str();
            return Err(Failure::of_object(
                FailureClass::SourceGone,
                self.target,
                key,
                message.to_owned(),
            ));
        };
        Ok(TransferSpec {
            dataset: self.dataset.clone(),
            key: object.key.clone(),
            size: object.size,
            sha256: object.sha256.clone(),
            blake3: object.blake3.clone(),
            source,
            alternatives: places.collect(),
            target: Place {
                backend: self.target.clone(),
                path: format!("{}{}", self.prefix, object.key),
            },
            target_recorded: if self.overwrite {
                TargetRecorded::Ours
            } else {
                TargetRecorded::Nothing
            },
            allow_create_root: true,
            verify: Verify::Full,
        })
    }

    fn take(
        &self,
        object: &NumberedObject,
        receipt: Receipt,
        restored: &mut Restored,
    ) -> Option<Verification> {
        if receipt.adopted {
            restored.there += 1;
            self.meter.add_there(object.object.size.0);
        } else {
            restored.written += 1;
            restored.bytes += receipt.bytes_written;
        }
        let damaged = receipt.source_failures.into_iter();
        let damaged = damaged.filter(|failure| failure.class == FailureClass::SourceDamaged);
        restored
            .damaged
            .extend(damaged.map(|failure| (object.object_id, failure)));
        self.origin.map(|origin| Verification {
            object_id: object.object_id,
            backend: origin.clone(),
            sha256: receipt.sha256,
            blake3: receipt.blake3,
            at_ms: now_ms(),
        })
    }

    fn take_failure(&self, object: NumberedObject, failure: &Failure, restored: &mut Restored) {
        self.meter.add_failure();
        restored.stopped |= failure.backend == *self.target
            && (failure.blames_whole_backend() || failure.class == FailureClass::TargetFull);
        if failure.class == FailureClass::SourceDamaged {
            restored.damaged.push((object.object_id, failure.clone()));
        }
        let reason = match failure.class {
            FailureClass::TargetConflict if self.overwrite => format!(
                "no plain file lies there, which `--overwrite` does not replace; move it away: {}",
                failure.message
            ),
            FailureClass::TargetConflict => {
                "something else lies there, with other bytes; it was left as it is, `--overwrite` replaces it"
                    .to_owned()
            }
            _ => failure.to_string(),
        };
        if restored.failed.len() < FAILURES_MAX {
            restored.failed.push((object.object.key, reason));
        }
    }
}
