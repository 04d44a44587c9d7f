//! Lists of digests beside copies, by which a copy can be proven when the catalogue is lost: written once a copy is whole,
//! replaced when its objects change, gone with the copy.
//!
//! ```text
//!  read what an interrupted run left ▶ sweep ▶ intend ▶ put, proven or read back ▶ … ▶ remove the old ones ▶ settle
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use domicile_catalogue::{Catalogue, CatalogueError, ListRow};
use domicile_estate::{BackendName, DatasetName, ObjectKey};
use domicile_movers::{DigestLines, DigestList, Failure, FailureClass, Place, list_path, lists_folder};
use domicile_worker::{Cancel, Worker};
use futures::{FutureExt as _, StreamExt as _};

use super::{Carrier, STEPS};

/// Objects read from the catalogue at once.
const PAGE: u32 = 4_096;

/// When lists are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// New versions are about to take the places of old ones. Until that is done the lists of both lie there, so that each
    /// object of the copy is in one of them at any time.
    BeforeRenewal,
    /// The copy is as it is known.
    AfterAll,
}

/// Writes the lists of a copy as far as digests of its dataset are known. Returns what hindered it: they are due then.
pub async fn write(
    carrier: &Carrier,
    (dataset, backend): (&DatasetName, &BackendName),
    moment: Moment,
) -> Result<Option<Failure>, CatalogueError> {
    let Carrier {
        catalogue,
        worker,
        layout,
        cancel,
        ..
    } = carrier;
    // An origin is its owner's, and the first reading of it says what is right.
    if layout.is_origin(dataset, backend) {
        return Ok(None);
    }
    let known = catalogue.lists(dataset, backend).await?;
    if moment == Moment::BeforeRenewal && known.is_empty() {
        return Ok(None);
    }
    let cut_off = known.iter().any(|list| !list.written);
    if cut_off && let Err(failure) = worker.sweep_below(backend, &lists_folder(dataset)).await {
        return Ok(Some(failure));
    }
    let mut writing = Writing {
        carrier,
        copy: (dataset, backend),
        known: &known,
        written: BTreeSet::new(),
    };
    if let Some(failure) = writing.all().await? {
        return Ok(Some(failure));
    }
    let mut lists = writing.written;
    let old = known.iter().filter(|list| !lists.contains(&list.blake3));
    let old: Vec<String> = old.map(|list| list.blake3.clone()).collect();
    if moment == Moment::BeforeRenewal {
        lists.extend(old);
    } else if let Some(failure) = delete(worker, (dataset, backend), &old, cancel).await {
        return Ok(Some(failure));
    }
    let lists: Vec<String> = lists.into_iter().collect();
    let complete = moment == Moment::AfterAll;
    catalogue.settle_lists(dataset, backend, &lists, complete).await?;
    Ok(None)
}

/// Copies whose lists are due that are read from the catalogue at once.
const DUE: u32 = 512;

/// What hindered lists from being written on a backend: the first copy, and why. The others there were left for another run.
pub type Hindered = BTreeMap<BackendName, (DatasetName, Failure)>;

/// Writes the lists that are due on backends of ours, until it is cancelled. A backend on which one cannot be written is left
/// alone, so that one that is down costs the patience for a few.
pub async fn write_due(
    carrier: &Carrier,
    is_ours: &(dyn Fn(&BackendName) -> bool + Sync),
) -> Result<Hindered, CatalogueError> {
    let layout = &carrier.layout;
    let usable = |backend: &BackendName| {
        is_ours(backend) && !layout.read_only.contains(backend) && !layout.lost.contains(backend)
    };
    let hindered = Mutex::new(Hindered::new());
    let held = || hindered.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last: Option<(DatasetName, BackendName)> = None;
    loop {
        let after = last.as_ref().map(|(dataset, backend)| (dataset, backend));
        let due = carrier.catalogue.lists_due(after, DUE).await?;
        let Some(end) = due.last().cloned() else { break };
        last = Some(end);
        let writes = due.into_iter().map(|(dataset, backend)| {
            let held = &held;
            async move {
                if carrier.cancel.is_cancelled() || !usable(&backend) || held().contains_key(&backend) {
                    return Ok(());
                }
                if let Some(failure) = write(carrier, (&dataset, &backend), Moment::AfterAll).await? {
                    held().entry(backend).or_insert((dataset, failure));
                }
                Ok::<_, CatalogueError>(())
            }
            // Boxed: their types would grow with each other's.
            .boxed()
        });
        let mut writes = futures::stream::iter(writes).buffer_unordered(STEPS);
        while let Some(written) = writes.next().await {
            written?;
        }
    }
    Ok(held().clone())
}

/// Removes the lists of a copy that is gone, or that is no copy of ours any more.
pub async fn remove(
    (catalogue, worker): (&Catalogue, &Worker),
    (dataset, backend): (&DatasetName, &BackendName),
    cancel: &Cancel,
) -> Result<Option<Failure>, CatalogueError> {
    let known = catalogue.lists(dataset, backend).await?;
    if known.is_empty() {
        return Ok(None);
    }
    let cut_off = known.iter().any(|list| !list.written);
    if cut_off && let Err(failure) = worker.sweep_below(backend, &lists_folder(dataset)).await {
        return Ok(Some(failure).filter(|failure| failure.class != FailureClass::StoreMissing));
    }
    let names: Vec<String> = known.into_iter().map(|list| list.blake3).collect();
    if let Some(failure) = delete(worker, (dataset, backend), &names, cancel).await {
        return Ok(Some(failure).filter(|failure| failure.class != FailureClass::StoreMissing));
    }
    catalogue.settle_lists(dataset, backend, &[], false).await?;
    Ok(None)
}

struct Writing<'a> {
    carrier: &'a Carrier,
    copy: (&'a DatasetName, &'a BackendName),
    known: &'a [ListRow],
    written: BTreeSet<String>,
}

impl Writing<'_> {
    async fn all(&mut self) -> Result<Option<Failure>, CatalogueError> {
        let mut lines = DigestLines::default();
        let mut after: Option<ObjectKey> = None;
        loop {
            let catalogue = &self.carrier.catalogue;
            let page = catalogue.objects(self.copy.0, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.object.key.clone());
            for numbered in &page {
                let object = &numbered.object;
                // What was never read has no digest yet.
                let Some(blake3) = &object.blake3 else { continue };
                if let Some(list) = lines.add(&object.key, blake3)
                    && let Some(failure) = self.put(list).await?
                {
                    return Ok(Some(failure));
                }
            }
        }
        match lines.end() {
            Some(list) => self.put(list).await,
            None => Ok(None),
        }
    }

    async fn put(&mut self, list: DigestList) -> Result<Option<Failure>, CatalogueError> {
        let (dataset, backend) = self.copy;
        let name = list.blake3().to_owned();
        if !self.known.iter().any(|known| known.blake3 == name) {
            self.carrier
                .catalogue
                .intend_list(dataset, backend, &name)
                .await?;
        }
        let place = place((dataset, backend), &name);
        let Carrier { worker, cancel, .. } = self.carrier;
        if let Err(failure) = worker.put_note(&place, list.into_bytes(), cancel).await {
            return Ok(Some(failure));
        }
        self.written.insert(name);
        Ok(None)
    }
}

fn place((dataset, backend): (&DatasetName, &BackendName), blake3: &str) -> Place {
    Place {
        backend: backend.clone(),
        path: list_path(dataset, blake3),
    }
}

async fn delete(
    worker: &Worker,
    copy: (&DatasetName, &BackendName),
    lists: &[String],
    cancel: &Cancel,
) -> Option<Failure> {
    for blake3 in lists {
        let removed = worker.remove_note(&place(copy, blake3), cancel).await;
        if let Err(failure) = removed {
            return Some(failure);
        }
    }
    None
}
