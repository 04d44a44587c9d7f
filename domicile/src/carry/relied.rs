//! What a retirement relies on: the copies that would stay. The catalogue remembers that they were verified, perhaps long
//! ago. Before a copy goes they are looked at, one of them was read of late, and none of them is the very place that goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use domicile_catalogue::{Catalogue, CatalogueError, NumberedObject, ReadObject};
use domicile_estate::{BackendName, Copy, CopyState, DatasetName, ObservedDataset};
use domicile_movers::{Failure, FailureClass, Place};
use domicile_scheduler::Step;
use domicile_worker::{ListedKind, Worker};

use super::inspect::{Inspected, read_back};
use super::marks::one_place;
use super::{Carrier, now_ms};

/// Objects read from the catalogue at once.
const PAGE: u32 = 256;
/// What was read within a day, or since this run began, is not read again while two copies or more stay. The only one that
/// stays must have been read within both.
const FRESH_MS: i64 = 24 * 60 * 60 * 1000;

/// When something is read that is being read just now.
const NOW: i64 = i64::MAX;

/// The clocks of stores and ours differ, and some tell whole seconds.
const SAME_MS: i64 = 2_000;

/// What a listing shows: each path with its size in eight bytes, for a million objects are little to remember then, and when
/// it was changed, where the store says that.
pub type Listing = HashMap<u64, i64>;

/// What was seen of the copies of a dataset, before one of them goes.
#[derive(Debug, Default)]
pub(super) struct Relied {
    /// The others that are there.
    pub shown: BTreeSet<BackendName>,
    /// Since when each of their objects was read by ourselves, for those that were read of late.
    read: BTreeMap<BackendName, i64>,
    /// Why others that are recorded as whole do not count.
    doubts: Vec<(Doubt, String)>,
}

/// What is known of a copy that does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// It is not whole.
    NotWhole,
    /// Nobody knows whether it is whole.
    Unsure,
    /// Nobody knows now; that may go away by itself.
    Passing,
}

impl Doubt {
    fn of(failure: &Failure) -> Self {
        match failure.class {
            FailureClass::Transient | FailureClass::Cancelled => Self::Passing,
            _ => Self::Unsure,
        }
    }
}

impl Relied {
    fn doubt(&mut self, backend: &BackendName, (doubt, why): (Doubt, &str)) {
        self.shown.remove(backend);
        self.doubts
            .push((doubt, format!("the copy on `{backend}` {why}")));
    }

    /// Whether all that does not count is known not to be whole.
    pub fn is_sure(&self) -> bool {
        self.doubts.iter().all(|(doubt, _)| *doubt == Doubt::NotWhole)
    }

    /// Whether more may count if it is looked again.
    pub fn may_pass(&self) -> bool {
        self.doubts.iter().any(|(doubt, _)| *doubt == Doubt::Passing)
    }

    /// Why others do not count, for people; `None` if all do.
    pub fn why(&self) -> Option<String> {
        let whys: Vec<&str> = self.doubts.iter().map(|(_, why)| why.as_str()).collect();
        (!whys.is_empty()).then(|| whys.join("; "))
    }

    /// Has one copy read that is to be relied on.
    async fn read(
        &mut self,
        carrier: &Carrier,
        dataset: &DatasetName,
        backend: &BackendName,
    ) -> Result<(), CatalogueError> {
        // Of a root that is not mounted nothing is recorded: every object would be gone.
        match carrier.worker.is_empty_or_gone(backend).await {
            Ok(false) => {}
            Ok(true) => {
                let why = "is out of reach: the root is gone or empty; is it mounted?";
                self.doubt(backend, (Doubt::Unsure, why));
                return Ok(());
            }
            Err(failure) if is_no_answer(&failure) => {
                let why = format!("cannot be looked at: {failure}");
                self.doubt(backend, (Doubt::of(&failure), &why));
                return Ok(());
            }
            // What cannot be listed may be read.
            Err(_) => {}
        }
        let inspected = read_back(carrier, dataset, backend).await?;
        match what_is_wrong(&inspected) {
            Some((doubt, why)) => self.doubt(backend, (doubt, &why)),
            None => {
                self.read.insert(backend.clone(), NOW);
            }
        }
        Ok(())
    }

    /// Another copy that lies in the very place of the one that goes, so that it would go too. A copy that cannot tell is
    /// doubted.
    pub async fn same_place(
        &mut self,
        carrier: &Carrier,
        step: &Step,
        from: &BackendName,
    ) -> Result<Result<Option<BackendName>, Failure>, CatalogueError> {
        let place = |backend: &BackendName| Place {
            backend: backend.clone(),
            path: carrier.layout.prefix(&step.dataset, backend),
        };
        let others: Vec<Place> = self.shown.iter().map(place).collect();
        if others.is_empty() {
            return Ok(Ok(None));
        }
        let hands = (&*carrier.catalogue, &*carrier.worker);
        let sameness = match one_place(hands, &place(from), &others, &carrier.cancel).await? {
            Ok(sameness) => sameness,
            // Where not even the root was made, there is nothing that could be deleted.
            Err(failure) if failure.class == FailureClass::StoreMissing => return Ok(Ok(None)),
            Err(failure) => return Ok(Err(failure)),
        };
        for (backend, failure) in &sameness.untold {
            let why = format!("may lie in the same place, it cannot be looked at: {failure}");
            self.doubt(backend, (Doubt::of(failure), &why));
        }
        Ok(Ok(sameness.same))
    }

    /// One of those that stay is read from end to end, unless we read one of late: whatever the stores say of their own
    /// bytes. Where only one stays, it is read after its being the only one was decided.
    pub async fn read_one(&mut self, carrier: &Carrier, step: &Step) -> Result<(), CatalogueError> {
        let nearer = |a: &&BackendName, b: &&BackendName| {
            let (a, b) = (carrier.layout.reading(a), carrier.layout.reading(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        };
        while !self.is_one_read(carrier.began_ms) {
            // One that cannot be read is not shown any more.
            let Some(nearest) = self.shown.iter().min_by(nearer).cloned() else {
                break;
            };
            self.read(carrier, &step.dataset, &nearest).await?;
        }
        Ok(())
    }

    /// Whether one of those that stay was read as late as it must have been.
    fn is_one_read(&self, began_ms: i64) -> bool {
        let since_ms = match self.shown.len() {
            1 => began_ms.max(now_ms() - FRESH_MS),
            // All that is remembered was read of late.
            _ => i64::MIN,
        };
        let read_ms = self.shown.iter().filter_map(|shown| self.read.get(shown));
        read_ms.into_iter().any(|read_ms| *read_ms >= since_ms)
    }
}

/// An origin that was only listed does not count as verified; before another copy goes it is read. Returns what is recorded
/// then, and whether the copy on `from` counts itself: a damaged one is no loss to any requirement.
pub(super) async fn read_listed(
    carrier: &Carrier,
    step: &Step,
    from: &BackendName,
) -> Result<(Relied, bool), CatalogueError> {
    let mut relied = Relied::default();
    let Some(known) = carrier.catalogue.observed_dataset(&step.dataset, &[]).await? else {
        return Ok((relied, false));
    };
    for backend in others(&known, from, CopyState::Listed) {
        relied.shown.insert(backend.clone());
        if carrier.layout.lost.contains(backend) {
            relied.doubt(backend, (Doubt::Unsure, "is out of reach"));
        } else {
            relied.read(carrier, &step.dataset, backend).await?;
        }
    }
    let verified = others(&known, from, CopyState::Verified);
    relied.shown.extend(verified.cloned());
    let counts = known.copy_on(from.as_str()).is_some_and(|copy| copy.is_current());
    Ok((relied, counts))
}

/// Looks at the copies that stay, some of which may have been read just now.
pub(super) async fn look(
    carrier: &Carrier,
    step: &Step,
    (from, just_read): (&BackendName, &Relied),
) -> Result<Relied, CatalogueError> {
    let mut relied = Relied::default();
    let dataset = &step.dataset;
    let Some(known) = carrier.catalogue.observed_dataset(dataset, &[]).await? else {
        return Ok(relied);
    };
    for backend in others(&known, from, CopyState::Verified) {
        relied.shown.insert(backend.clone());
        if carrier.layout.lost.contains(backend) {
            relied.doubt(backend, (Doubt::Unsure, "is out of reach"));
            continue;
        }
        let prefix = carrier.layout.prefix(dataset, backend);
        let hands = (&*carrier.catalogue, &*carrier.worker);
        match is_there(hands, dataset, (backend, &prefix)).await? {
            Ok(Some(listing)) => {
                let by_ourselves = matches!(carrier.worker.always_reads_back(backend).await, Ok(true));
                let place = (backend, prefix.as_str());
                let read_ms = match just_read.read.get(backend) {
                    Some(just_now) => Some(*just_now),
                    None if by_ourselves => was_read_of_late(carrier, dataset, place, &listing).await?,
                    None => None,
                };
                relied
                    .read
                    .extend(read_ms.map(|read_ms| (backend.clone(), read_ms)));
            }
            // What is wrong is recorded, so that it is mended.
            Ok(None) => relied.read(carrier, dataset, backend).await?,
            Err(failure) if is_no_answer(&failure) => {
                let why = format!("cannot be looked at: {failure}");
                relied.doubt(backend, (Doubt::of(&failure), &why));
            }
            // A store that shows no listings may give the objects.
            Err(_) => relied.read(carrier, dataset, backend).await?,
        }
    }
    Ok(relied)
}

/// Whether asking for the objects one by one would be no use.
fn is_no_answer(failure: &Failure) -> bool {
    Doubt::of(failure) == Doubt::Passing || failure.blames_whole_backend()
}

/// The backends of the copies of a dataset beside one that are in a state.
fn others<'a>(
    known: &'a ObservedDataset,
    from: &'a BackendName,
    state: CopyState,
) -> impl Iterator<Item = &'a BackendName> {
    let wanted = move |copy: &&Copy| copy.backend != *from && copy.state == state && copy.is_current();
    known.copies.iter().filter(wanted).map(|copy| &copy.backend)
}

fn what_is_wrong(inspected: &Inspected) -> Option<(Doubt, String)> {
    let (gone, damaged) = (inspected.gone.len(), inspected.damaged.len());
    if gone + damaged > 0 {
        let why =
            format!("is recorded as verified and is not whole: {gone} objects are gone, {damaged} damaged");
        return Some((Doubt::NotWhole, why));
    }
    let passing = |failure: &&Failure| Doubt::of(failure) == Doubt::Passing;
    let unread = &inspected.unread;
    if let Some(failure) = unread.iter().find(passing).or(unread.first()) {
        return Some((Doubt::of(failure), format!("cannot be read: {failure}")));
    }
    (!inspected.ended).then(|| (Doubt::Passing, "was not read to its end".to_owned()))
}

/// Since when every object of a copy was read, if that is a short time ago, and none was changed since it was.
async fn was_read_of_late(
    carrier: &Carrier,
    dataset: &DatasetName,
    (backend, prefix): (&BackendName, &str),
    listing: &Listing,
) -> Result<Option<i64>, CatalogueError> {
    let now = now_ms();
    let since = carrier.began_ms.min(now - FRESH_MS);
    let fresh = |object: &ReadObject| {
        let changed_ms = listing.get(&short(&format!("{prefix}{}", object.key), object.size.0))?;
        // What was read in the future was read by a wrong clock.
        object
            .at_ms
            .filter(|at_ms| *at_ms >= since && *at_ms <= now + FRESH_MS && *changed_ms <= at_ms + SAME_MS)
    };
    let mut oldest_ms = NOW;
    let mut after = None;
    loop {
        let page = carrier
            .catalogue
            .objects_read(dataset, backend, after.as_ref(), PAGE)
            .await?;
        for object in &page {
            match fresh(object) {
                Some(at_ms) => oldest_ms = oldest_ms.min(at_ms),
                None => return Ok(None),
            }
        }
        let Some(last) = page.into_iter().next_back() else {
            return Ok(Some(oldest_ms));
        };
        after = Some(last.key);
    }
}

/// Whether a listing shows every object of a dataset in its size below a prefix, and if so all that it shows.
pub async fn is_there(
    (catalogue, worker): (&Catalogue, &Worker),
    dataset: &DatasetName,
    (backend, prefix): (&BackendName, &str),
) -> Result<Result<Option<Listing>, Failure>, CatalogueError> {
    let listed = match listed(worker, backend, prefix).await {
        Ok(listed) => listed,
        Err(failure) => return Ok(Err(failure)),
    };
    let mut after = None;
    loop {
        let page = catalogue.objects(dataset, after.as_ref(), PAGE).await?;
        let Some(last) = page.last().map(|numbered| numbered.object.key.clone()) else {
            return Ok(Ok(Some(listed)));
        };
        let is_listed = |numbered: &NumberedObject| {
            let object = &numbered.object;
            listed.contains_key(&short(&format!("{prefix}{}", object.key), object.size.0))
        };
        if !page.iter().all(is_listed) {
            return Ok(Ok(None));
        }
        after = Some(last);
    }
}

/// What lies below a prefix.
async fn listed(worker: &Worker, backend: &BackendName, prefix: &str) -> Result<Listing, Failure> {
    let mut found = Listing::new();
    let mut listing = worker.list(backend, prefix, &[]).await?;
    while let Some(page) = listing.next_page().await {
        let page = match page {
            Ok(page) => page,
            Err(failure) if failure.class == FailureClass::SourceGone => break,
            Err(failure) => return Err(failure),
        };
        for entry in page.iter().filter(|entry| entry.kind == ListedKind::File) {
            let modified_ms = entry.modified_ms.unwrap_or(i64::MIN);
            found.insert(short(&entry.path, entry.size), modified_ms);
        }
    }
    Ok(found)
}

fn short(path: &str, size: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (path, size).hash(&mut hasher);
    hasher.finish()
}
