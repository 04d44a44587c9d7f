//! What a retirement relies on: the copies that would stay. The catalogue remembers that they were verified, perhaps long
//! ago. Before a copy goes they are looked at, one of them was read of late, and none of them is the very place that goes.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use domicile_catalogue::{Catalogue, CatalogueError, NumberedObject};
use domicile_estate::{BackendName, Copy, CopyState, DatasetName, ObservedDataset};
use domicile_movers::{Failure, FailureClass, Place};
use domicile_scheduler::Step;
use domicile_worker::{ListedKind, Worker};

use super::inspect::{Inspected, inspect_copy};
use super::{Carrier, now_ms};

/// Objects read from the catalogue at once.
const PAGE: u32 = 256;
/// What was read within a day, or since this run began, is not read again.
const FRESH_MS: i64 = 24 * 60 * 60 * 1000;

/// The clocks of stores and ours differ, and some tell whole seconds.
const SAME_MS: i64 = 2_000;

/// What was seen of the copies of a dataset, before one of them goes.
#[derive(Debug, Default)]
pub(super) struct Relied {
    /// The others that are there.
    pub shown: BTreeSet<BackendName>,
    /// Why others that are recorded as whole do not count, for people.
    pub doubts: Vec<String>,
}

impl Relied {
    fn doubt(&mut self, backend: &BackendName, why: &str) {
        self.shown.remove(backend);
        self.doubts.push(format!("the copy on `{backend}` {why}"));
    }

    /// Has one copy read that is to be relied on, and says whether it may be.
    async fn read(
        &mut self,
        carrier: &Carrier,
        dataset: &DatasetName,
        backend: &BackendName,
    ) -> Result<bool, CatalogueError> {
        let inspected = inspect_copy(carrier, dataset, backend).await?;
        if !inspected.is_whole() || !inspected.ended {
            self.doubt(backend, &what_is_wrong(&inspected));
        }
        Ok(self.shown.contains(backend))
    }
}

/// An origin that was only listed does not count as verified; before another copy goes it is read. Returns whether the
/// copy on `from` counts itself: a damaged one is no loss to any requirement.
pub(super) async fn read_listed(
    carrier: &Carrier,
    step: &Step,
    from: &BackendName,
) -> Result<bool, CatalogueError> {
    let Some(known) = carrier.catalogue.observed_dataset(&step.dataset, &[]).await? else {
        return Ok(false);
    };
    for copy in others(&known, from).filter(|copy| copy.state == CopyState::Listed) {
        inspect_copy(carrier, &step.dataset, &copy.backend).await?;
    }
    Ok(known.copy_on(from.as_str()).is_some_and(|copy| copy.is_current()))
}

/// Looks at the copies that stay.
pub(super) async fn look(
    carrier: &Carrier,
    step: &Step,
    from: &BackendName,
) -> Result<Relied, CatalogueError> {
    let mut relied = Relied::default();
    let Some(known) = carrier.catalogue.observed_dataset(&step.dataset, &[]).await? else {
        return Ok(relied);
    };
    let others: Vec<&Copy> = others(&known, from).collect();
    let mut fresh = false;
    for copy in &others {
        let backend = &copy.backend;
        relied.shown.insert(backend.clone());
        let prefix = carrier.layout.prefix(&step.dataset, backend);
        let hands = (&*carrier.catalogue, &*carrier.worker);
        match is_there(hands, &step.dataset, (backend, &prefix)).await? {
            Ok(Some(changed_ms)) => {
                // The last one that stays is read by ourselves, whatever its store says of its own bytes.
                let on_word =
                    others.len() == 1 && !matches!(carrier.worker.always_reads_back(backend).await, Ok(true));
                let read = (backend, changed_ms);
                fresh |= !on_word && was_read_of_late(carrier, &step.dataset, read).await?;
            }
            // What is wrong is recorded, so that it is mended.
            Ok(None) => fresh |= relied.read(carrier, &step.dataset, backend).await?,
            Err(failure) => relied.doubt(backend, &format!("cannot be looked at: {failure}")),
        }
    }
    if !fresh {
        for backend in relied.shown.clone() {
            if relied.read(carrier, &step.dataset, &backend).await? {
                break;
            }
        }
    }
    Ok(relied)
}

/// The current copies of a dataset beside one.
fn others<'a>(known: &'a ObservedDataset, from: &'a BackendName) -> impl Iterator<Item = &'a Copy> {
    known
        .copies
        .iter()
        .filter(move |copy| copy.backend != *from && copy.is_current())
}

/// Another copy that lies in the very place of the one that goes, so that it would go too.
pub(super) async fn same_place(
    carrier: &Carrier,
    step: &Step,
    (from, shown): (&BackendName, &BTreeSet<BackendName>),
) -> Result<Option<BackendName>, Failure> {
    let place = |backend: &BackendName| Place {
        backend: backend.clone(),
        path: carrier.layout.prefix(&step.dataset, backend),
    };
    let others: Vec<Place> = shown.iter().map(place).collect();
    carrier
        .worker
        .one_place(&place(from), &others, &carrier.cancel)
        .await
}

fn what_is_wrong(inspected: &Inspected) -> String {
    if let Some(failure) = inspected.unread.first() {
        return format!("cannot be read: {failure}");
    }
    let (gone, damaged) = (inspected.gone.len(), inspected.damaged.len());
    format!("is recorded as verified and is not whole: {gone} objects are gone, {damaged} damaged")
}

/// Whether every object of a copy was read a short time ago, and none was changed since.
async fn was_read_of_late(
    carrier: &Carrier,
    dataset: &DatasetName,
    (backend, changed_ms): (&BackendName, i64),
) -> Result<bool, CatalogueError> {
    let now = now_ms();
    let since = carrier.began_ms.min(now - FRESH_MS);
    let between = carrier.catalogue.read_between(dataset, backend).await?;
    // What was read in the future was read by a wrong clock.
    Ok(between.is_some_and(|(first, last)| {
        first >= since && last <= now + FRESH_MS && changed_ms <= last + SAME_MS
    }))
}

/// Whether a listing shows every object of a dataset in its size below a prefix, and if so when the last of them was
/// changed.
pub async fn is_there(
    (catalogue, worker): (&Catalogue, &Worker),
    dataset: &DatasetName,
    (backend, prefix): (&BackendName, &str),
) -> Result<Result<Option<i64>, Failure>, CatalogueError> {
    let (listed, changed_ms) = match listed(worker, backend, prefix).await {
        Ok(listed) => listed,
        Err(failure) => return Ok(Err(failure)),
    };
    let mut after = None;
    loop {
        let page = catalogue.objects(dataset, after.as_ref(), PAGE).await?;
        let Some(last) = page.last().map(|numbered| numbered.object.key.clone()) else {
            return Ok(Ok(Some(changed_ms)));
        };
        let is_listed = |numbered: &NumberedObject| {
            let object = &numbered.object;
            listed.contains(&short(&format!("{prefix}{}", object.key), object.size.0))
        };
        if !page.iter().all(is_listed) {
            return Ok(Ok(None));
        }
        after = Some(last);
    }
}

/// What lies below a prefix, each path with its size in eight bytes: a million objects are little to remember. And when the
/// last of it was changed, where the store says that.
async fn listed(
    worker: &Worker,
    backend: &BackendName,
    prefix: &str,
) -> Result<(HashSet<u64>, i64), Failure> {
    let (mut found, mut changed_ms) = (HashSet::new(), i64::MIN);
    let mut listing = worker.list(backend, prefix, &[]).await?;
    while let Some(page) = listing.next_page().await {
        let page = match page {
            Ok(page) => page,
            Err(failure) if failure.class == FailureClass::SourceGone => break,
            Err(failure) => return Err(failure),
        };
        for entry in page.iter().filter(|entry| entry.kind == ListedKind::File) {
            found.insert(short(&entry.path, entry.size));
            changed_ms = changed_ms.max(entry.modified_ms.unwrap_or(i64::MIN));
        }
    }
    Ok((found, changed_ms))
}

fn short(path: &str, size: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (path, size).hash(&mut hasher);
    hasher.finish()
}
