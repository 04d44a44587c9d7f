//! Reading a copy back and comparing it with what is recorded: for `dataset scrub`, and for origins before another
//! copy of the same dataset goes.

use std::sync::atomic::{AtomicBool, Ordering};

use domicile_catalogue::{CatalogueError, Finding, Inspection, NumberedObject};
use domicile_estate::{BackendName, ByteCount, DatasetName, Object, ObjectKey};
use domicile_movers::{Digests, Failure, FailureClass, Seen};
use domicile_scheduler::scrub_effort;
use futures::StreamExt as _;

use super::{Carrier, now_ms};

/// Objects read from the catalogue at once.
const PAGE: u32 = 256;
/// Objects read back at once.
const OBJECTS: usize = 8;

/// What reading a copy back found.
#[derive(Debug, Default)]
pub struct Inspected {
    /// Objects that are there and match.
    pub whole: u64,
    /// Objects that do not match, with what is wrong.
    pub damaged: Vec<(ObjectKey, String)>,
    /// Objects that are not there.
    pub gone: Vec<ObjectKey>,
    /// Objects that could not be read, with the reason; nothing is concluded from that.
    pub unread: Vec<Failure>,
    /// Whether the backend gave no answer at all, so that the rest was not asked for.
    pub out_of_reach: bool,
    /// The last key that was looked at.
    pub left_off: Option<ObjectKey>,
    /// Whether that was the end of the copy.
    pub ended: bool,
    /// What it took, as [`scrub_effort`] counts it.
    pub effort: u64,
}

/// Which part of a copy is read.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// What comes after this key; `None`: from the beginning.
    pub after: Option<ObjectKey>,
    /// Until this much effort was made, but one object at least; `None`: to the end.
    pub effort: Option<u64>,
}

impl Inspected {
    /// Whether every object was read and matches.
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.gone.is_empty() && self.unread.is_empty()
    }
}

/// Reads every object of a copy back and records what was found. A first reading sets an object's digests.
pub async fn inspect_copy(
    carrier: &Carrier,
    dataset: &DatasetName,
    backend: &BackendName,
) -> Result<Inspected, CatalogueError> {
    inspect_part(carrier, dataset, backend, Part::default()).await
}

/// The same, where what is read is not what the run is to do, so that it is not counted.
pub(super) async fn read_back(
    carrier: &Carrier,
    dataset: &DatasetName,
    backend: &BackendName,
) -> Result<Inspected, CatalogueError> {
    inspect(carrier, dataset, backend, (Part::default(), false)).await
}

/// Reads some objects of a copy back and records what was found.
pub async fn inspect_part(
    carrier: &Carrier,
    dataset: &DatasetName,
    backend: &BackendName,
    part: Part,
) -> Result<Inspected, CatalogueError> {
    inspect(carrier, dataset, backend, (part, true)).await
}

async fn inspect(
    carrier: &Carrier,
    dataset: &DatasetName,
    backend: &BackendName,
    (part, counts): (Part, bool),
) -> Result<Inspected, CatalogueError> {
    let mut inspected = Inspected {
        left_off: part.after,
        ..Inspected::default()
    };
    let most = part.effort.unwrap_or(u64::MAX);
    while inspected.effort < most {
        let mut page = carrier
            .catalogue
            .objects(dataset, inspected.left_off.as_ref(), PAGE)
            .await?;
        page.truncate(within(&page, &mut inspected.effort, most));
        let Some(last) = page.last().map(|numbered| numbered.object.key.clone()) else {
            inspected.ended = true;
            return Ok(inspected);
        };
        // A backend that gives no answer is asked in vain for each object that comes after.
        let dead = AtomicBool::new(false);
        let reads = page.into_iter().map(|numbered| {
            let at = Reading {
                carrier,
                dataset,
                backend,
                dead: &dead,
            };
            at.read(numbered)
        });
        let reads: Vec<_> = reads.collect();
        let results: Vec<_> = futures::stream::iter(reads).buffered(OBJECTS).collect().await;
        let mut findings = Vec::new();
        for (numbered, at_ms, seen) in results.into_iter().flatten() {
            if counts {
                carrier.meter.add_object();
            }
            if let Some(finding) = conclude(&numbered, seen, &mut inspected) {
                let (object_id, backend) = (numbered.object_id, backend.clone());
                findings.push(Inspection {
                    object_id,
                    backend,
                    finding,
                    at_ms,
                });
            }
        }
        carrier.catalogue.record_scrubbed(&findings).await?;
        inspected.out_of_reach = dead.load(Ordering::Relaxed);
        if carrier.cancel.is_cancelled() || inspected.out_of_reach {
            // The next one looks at these again.
            return Ok(inspected);
        }
        inspected.left_off = Some(last);
    }
    Ok(inspected)
}

/// Where objects are read back.
#[derive(Clone, Copy)]
struct Reading<'a> {
    carrier: &'a Carrier,
    dataset: &'a DatasetName,
    backend: &'a BackendName,
    /// Whether the backend gives no answer at all.
    dead: &'a AtomicBool,
}

impl Reading<'_> {
    /// One object, when the reading began, and what came of it; `None` if the backend was given up.
    async fn read(self, numbered: NumberedObject) -> Option<(NumberedObject, i64, Result<Seen, Failure>)> {
        if self.dead.load(Ordering::Relaxed) {
            return None;
        }
        let carrier = self.carrier;
        let object = &numbered.object;
        let place = carrier.layout.place(self.dataset, &object.key, self.backend);
        // What is changed while it is read is newer than that.
        let at_ms = now_ms();
        let judge = |seen: &Seen| judge((object.size, &object.sha256, &object.blake3), seen);
        let seen = carrier
            .worker
            .read_surely(
                &place,
                digests(object),
                &judge,
                &carrier.progress,
                &carrier.cancel,
            )
            .await;
        if let Err(failure) = &seen
            && self.gives_no_answer(failure).await
        {
            self.dead.store(true, Ordering::Relaxed);
        }
        Some((numbered, at_ms, seen))
    }

    /// Whether it is not this object alone.
    async fn gives_no_answer(self, failure: &Failure) -> bool {
        if failure.class != FailureClass::Transient || self.dead.load(Ordering::Relaxed) {
            return failure.blames_whole_backend();
        }
        let looked = self.carrier.worker.is_empty_or_gone(self.backend).await;
        looked.is_err_and(|failure| failure.class == FailureClass::Transient)
    }
}

/// How many objects of a page are read before so much effort was made, which is counted.
fn within(page: &[NumberedObject], effort: &mut u64, most: u64) -> usize {
    let mut count = 0;
    for numbered in page {
        if *effort >= most {
            break;
        }
        *effort = effort.saturating_add(scrub_effort(numbered.object.size.0, 1));
        count += 1;
    }
    count
}

/// What has to be computed to compare an object with what is recorded of it.
pub fn digests(object: &Object) -> Digests {
    if object.sha256.is_some() && object.blake3.is_none() {
        Digests::Both
    } else {
        Digests::Blake3
    }
}

/// Whether what was read is what is recorded: a size, a SHA-256 and a BLAKE3. `None` where no digest is.
pub fn judge(
    (size, sha256, blake3): (ByteCount, &Option<String>, &Option<String>),
    seen: &Seen,
) -> Option<bool> {
    let same = |want: &Option<String>, have: Option<&String>| Some(want.as_ref()? == have?);
    let sha256 = same(sha256, seen.sha256.as_ref());
    let blake3 = same(blake3, Some(&seen.blake3));
    let known = [sha256, blake3].into_iter().flatten().reduce(|a, b| a && b);
    if seen.size == size.0 { known } else { Some(false) }
}

fn conclude(
    numbered: &NumberedObject,
    seen: Result<Seen, Failure>,
    inspected: &mut Inspected,
) -> Option<Finding> {
    let object = &numbered.object;
    match seen {
        Ok(seen) => {
            let differs = |want: &Option<String>, have: Option<&String>| {
                want.as_ref().zip(have).is_some_and(|(want, have)| want != have)
            };
            let (sha256, blake3) = (seen.sha256, seen.blake3);
            let reason = if seen.size != object.size.0 {
                format!("it has {} bytes, {} are recorded", seen.size, object.size.0)
            } else if differs(&object.sha256, sha256.as_ref()) || differs(&object.blake3, Some(&blake3)) {
                "its digest is not the one recorded".to_owned()
            } else {
                inspected.whole += 1;
                return Some(Finding::Whole { sha256, blake3 });
            };
            inspected.damaged.push((object.key.clone(), reason.clone()));
            Some(Finding::Damaged { reason })
        }
        Err(failure) if failure.class == FailureClass::SourceGone => {
            inspected.gone.push(object.key.clone());
            Some(Finding::Gone)
        }
        Err(failure) => {
            inspected.unread.push(failure);
            None
        }
    }
}
