//! One retirement: re-check in one transaction, wait, mark, delete what is recorded, confirm, forget.

use std::collections::BTreeSet;

use domicile_catalogue::{CatalogueError, CopyObject, ListedObject, OriginListing, RetireError, Retirement};
use domicile_estate::{BackendName, ByteCount, DatasetName, Object, ObjectKey, Origin};
use domicile_movers::{Digests, Failure, FailureClass, Place, Seen};
use domicile_scheduler::{Action, Demand, Event, RetireOutcome, Step};
use futures::StreamExt as _;

use super::relied::Relied;
use super::{Carrier, lists, relied};
use crate::progress::duration;

/// Objects read from the catalogue at once.
const PAGE: u32 = 256;
/// Objects deleted at once.
const OBJECTS: usize = 8;

/// Retires one copy and tells how it ended.
pub async fn retire(carrier: Carrier, step: Step) -> Event {
    let outcome = match run(&carrier, &step).await {
        Ok(outcome) => outcome,
        Err(error) => RetireOutcome::Failed {
            reason: format!("dataset `{}`: {error}", step.dataset),
            transient: error.is_retryable(),
        },
    };
    Event::RetireEnded { id: step.id, outcome }
}

async fn run(carrier: &Carrier, step: &Step) -> Result<RetireOutcome, CatalogueError> {
    let Action::Retire { from, demand } = &step.action else {
        unreachable!("StartRetire carries a retirement")
    };
    if carrier.layout.read_only.contains(from) {
        let reason = format!(
            "backend `{from}`: it is read-only, so the copy cannot be retired; set `accessMode: ReadWrite`, or let the \
             policies keep it"
        );
        return Ok(refused(reason));
    }
    if carrier.layout.lost.contains(from) {
        // A folder that is not mounted looks empty; its copies must not be taken for deleted.
        let reason = format!("backend `{from}`: it is out of reach, so what it holds stays as recorded");
        return Ok(refused(reason));
    }
    if let Some(refusal) = changed_since_verified(carrier, step, from).await? {
        return Ok(refusal);
    }
    if let Some(outcome) = begin(carrier, step, (from, demand)).await? {
        return Ok(outcome);
    }
    if let Some(failure) = delete_objects(carrier, step, from).await? {
        return Ok(failed(&failure));
    }
    if let Some(failure) = delete_what_is_beside(carrier, step, from).await? {
        return Ok(failed(&failure));
    }
    carrier.catalogue.end_retire(&step.dataset, from).await?;
    Ok(RetireOutcome::Retired)
}

/// Temporary files, and the lists of digests, which prove what is there as long as anything is.
async fn delete_what_is_beside(
    carrier: &Carrier,
    step: &Step,
    from: &BackendName,
) -> Result<Option<Failure>, CatalogueError> {
    if !carrier.layout.is_origin(&step.dataset, from)
        && let Err(failure) = carrier.worker.sweep(from, &step.dataset).await
        && failure.class != FailureClass::StoreMissing
    {
        return Ok(Some(failure));
    }
    let hands = (&*carrier.catalogue, &*carrier.worker);
    lists::remove(hands, (&step.dataset, from), &carrier.cancel).await
}

/// Marks the copy as being retired, if what stays is enough: by what is recorded, and then by what is seen.
async fn begin(
    carrier: &Carrier,
    step: &Step,
    (from, demand): (&BackendName, &Demand),
) -> Result<Option<RetireOutcome>, CatalogueError> {
    let grace_ms = match step.undoes {
        None => carrier.layout.grace_ms(&step.dataset),
        Some(_) => 0,
    };
    let allows = |others: &[BackendName], counts: bool| {
        let mut verified: BTreeSet<BackendName> = others.iter().cloned().collect();
        if counts {
            verified.insert(from.clone());
        }
        demand.allows_retirement(&verified, from)
    };
    // Origins that were only listed are no verified copies yet: they are read before anything is counted.
    let (listed, counts) = relied::read_listed(carrier, step, from).await?;
    let is_enough = |relied: &Relied| {
        let shown: Vec<_> = relied.shown.iter().cloned().collect();
        allows(&shown, counts).is_ok()
    };
    if let Some(outcome) = undecided(carrier, from, (&listed, is_enough(&listed))) {
        return Ok(Some(outcome));
    }
    let by_record = |others: &[BackendName]| allows(others, counts).is_ok();
    let may = carrier
        .catalogue
        .may_retire(&step.dataset, from, grace_ms, &by_record);
    let why = |refused: &RetireError| match refused {
        RetireError::TooFew { remaining, .. } => allows(remaining, counts).err().map(|why| why.to_string()),
        _ => None,
    };
    if let Some(outcome) = answer(step, from, may.await, &why)? {
        return Ok(Some(outcome));
    }
    let mut relied = relied::look(carrier, step, (from, &listed)).await?;
    if let Some(outcome) = same_place(carrier, step, (from, &mut relied)).await? {
        return Ok(Some(outcome));
    }
    relied.read_one(carrier, step).await?;
    if let Some(outcome) = undecided(carrier, from, (&relied, is_enough(&relied))) {
        return Ok(Some(outcome));
    }
    let shown = |others: &[BackendName]| {
        let shown = others.iter().filter(|other| relied.shown.contains(*other));
        shown.cloned().collect::<Vec<_>>()
    };
    // INVARIANT: MV-4. Evaluated inside the transaction that sets the mark.
    let enough = |others: &[BackendName]| allows(&shown(others), counts).is_ok();
    let begun = carrier
        .catalogue
        .begin_retire(&step.dataset, from, grace_ms, &enough);
    let outcome = answer(step, from, begun.await, &why)?;
    Ok(outcome.map(|outcome| match (outcome, relied.why()) {
        // Something that is recorded as whole is not: that is why.
        (RetireOutcome::Needed { reason }, Some(doubts)) => RetireOutcome::Needed {
            reason: format!("{reason}; {doubts}"),
        },
        (outcome, _) => outcome,
    }))
}

/// A copy that lies in the very place of another does not go.
async fn same_place(
    carrier: &Carrier,
    step: &Step,
    (from, relied): (&BackendName, &mut Relied),
) -> Result<Option<RetireOutcome>, CatalogueError> {
    Ok(match relied.same_place(carrier, step, from).await? {
        Ok(None) => None,
        Ok(Some(other)) => Some(refused(format!(
            "backend `{from}`: the copy there lies in the very place of the copy on `{other}`, which would go with it: \
             they are one place under two names; take one of them out of the manifests"
        ))),
        Err(failure) => Some(failed(&failure)),
    })
}

/// Where too few copies are left only because nobody knows of some, nothing is concluded: the catalogue is not asked, since
/// the time of waiting would begin anew.
fn undecided(
    carrier: &Carrier,
    from: &BackendName,
    (relied, is_enough): (&Relied, bool),
) -> Option<RetireOutcome> {
    let stopped = carrier.cancel.is_cancelled();
    if is_enough || (relied.is_sure() && !stopped) {
        return None;
    }
    let why = relied.why().unwrap_or_else(|| "it was interrupted".to_owned());
    Some(RetireOutcome::Failed {
        reason: format!("the copy on `{from}` stays until the others were looked at: {why}"),
        transient: stopped || relied.may_pass(),
    })
}

/// What the catalogue's answer means for the step; `None`: the copy may go.
fn answer(
    step: &Step,
    from: &BackendName,
    begun: Result<Retirement, RetireError>,
    why: &dyn Fn(&RetireError) -> Option<String>,
) -> Result<Option<RetireOutcome>, CatalogueError> {
    match begun {
        Ok(Retirement::Begun) => Ok(None),
        Ok(Retirement::Waits { left_ms }) => {
            let left = duration(left_ms.div_ceil(1000) as f64);
            let reason = format!(
                "the copy on `{from}` waits for {left} more (`dropGraceSeconds`); any `apply` after that retires it"
            );
            Ok(Some(RetireOutcome::NotYet { reason }))
        }
        Err(RetireError::Catalogue(error)) => Err(error),
        // The copy was to be made in this same run, and ended before anything was recorded.
        Err(RetireError::NoCopy { .. }) if step.undoes.is_some() => Ok(Some(RetireOutcome::Retired)),
        Err(refused) => {
            let why = why(&refused).unwrap_or_else(|| refused.to_string());
            let reason = format!("the copy on `{from}` stays: {why}");
            Ok(Some(RetireOutcome::Needed { reason }))
        }
    }
}

fn failed(failure: &Failure) -> RetireOutcome {
    RetireOutcome::Failed {
        reason: failure.to_string(),
        transient: failure.is_transient(),
    }
}

/// Trying again would not help.
fn refused(reason: String) -> RetireOutcome {
    RetireOutcome::Failed {
        reason,
        transient: false,
    }
}

/// Deletes what is ours. Somebody else's object under a key of the dataset, which an earlier copy refused to
/// overwrite, stays.
async fn delete_objects(
    carrier: &Carrier,
    step: &Step,
    from: &BackendName,
) -> Result<Option<Failure>, CatalogueError> {
    let mut after: Option<ObjectKey> = None;
    loop {
        let page = carrier
            .catalogue
            .objects_of_copy(&step.dataset, from, after.as_ref(), PAGE)
            .await?;
        let Some(last) = page.last().map(|object| object.object.key.clone()) else {
            return Ok(None);
        };
        let deletions: Vec<_> = page
            .into_iter()
            .map(|object| delete(carrier.clone(), step.dataset.clone(), from.clone(), object))
            .collect();
        let results: Vec<_> = futures::stream::iter(deletions)
            .buffer_unordered(OBJECTS)
            .collect()
            .await;
        if let Some(failure) = results.into_iter().find_map(Result::err) {
            return Ok(Some(failure));
        }
        after = Some(last);
    }
}

async fn delete(
    carrier: Carrier,
    dataset: DatasetName,
    from: BackendName,
    object: CopyObject,
) -> Result<(), Failure> {
    let place = carrier.layout.place(&dataset, &object.object.key, &from);
    if !object.ours && !is_what_we_would_have_written(&carrier, &place, &object.object).await? {
        return Ok(());
    }
    let in_copy = !carrier.layout.is_origin(&dataset, &from);
    // What was found damaged may have any size.
    let size = object.whole.then_some(object.object.size);
    carrier
        .worker
        .delete_recorded(&place, in_copy.then_some(&dataset), size, &carrier.cancel)
        .await
}

/// A run that was killed between publishing and recording leaves an object of ours that is not recorded: it has the
/// very bytes of the dataset's object.
async fn is_what_we_would_have_written(
    carrier: &Carrier,
    place: &Place,
    object: &Object,
) -> Result<bool, Failure> {
    let Some(blake3) = &object.blake3 else {
        return Ok(false);
    };
    let judge = |seen: &Seen| Some(seen.blake3 == *blake3);
    let seen = carrier
        .worker
        .read_surely(place, Digests::Blake3, &judge, &carrier.progress, &carrier.cancel);
    match seen.await {
        Ok(seen) => Ok(seen.blake3 == *blake3),
        // Neither is there anything where not even the root was made.
        Err(failure)
            if matches!(
                failure.class,
                FailureClass::SourceGone | FailureClass::StoreMissing
            ) =>
        {
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}

/// What was verified is what may go: an origin that holds other bytes now than were read keeps them.
async fn changed_since_verified(
    carrier: &Carrier,
    step: &Step,
    from: &BackendName,
) -> Result<Option<RetireOutcome>, CatalogueError> {
    let Some(prefix) = carrier.layout.origin_prefix(&step.dataset, from) else {
        return Ok(None);
    };
    let listed = match carrier.worker.list(from, prefix, &[]).await {
        Ok(listing) => listing.all().await,
        Err(failure) => Err(failure),
    };
    let listed = match listed {
        Ok(listed) => listed,
        // Nothing is there any more that could have changed.
        Err(failure) if failure.class == FailureClass::SourceGone => return Ok(None),
        Err(failure) => return Ok(Some(failed(&failure))),
    };
    let objects = listed.into_iter().filter_map(|entry| {
        let key = ObjectKey::new(entry.path.strip_prefix(prefix)?).ok()?;
        Some(ListedObject {
            key,
            size: ByteCount(entry.size),
            modified_ms: entry.modified_ms,
        })
    });
    let origin = Origin {
        backend: from.clone(),
        prefix: prefix.to_owned(),
    };
    let listing = OriginListing {
        dataset: step.dataset.clone(),
        origin,
        objects: objects.collect(),
        findings: Vec::new(),
    };
    let diff = carrier.catalogue.diff_origin(&listing).await?;
    Ok(diff.changed.first().map(|changed| {
        refused(format!(
            "backend `{from}`: object `{}`: it has changed since it was registered, so the origin stays; {} such objects",
            changed.key.as_str().escape_debug(),
            diff.changed.len()
        ))
    }))
}
