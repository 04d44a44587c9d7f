//! One retirement: re-check in one transaction, mark, delete, confirm, forget.

use std::collections::BTreeSet;

use domicile_catalogue::{CatalogueError, RetireError};
use domicile_estate::{BackendName, CopyState, ObjectKey};
use domicile_movers::Failure;
use domicile_scheduler::{Action, Event, RetireOutcome, Step};
use futures::StreamExt as _;

use super::Carrier;
use super::inspect::inspect_copy;

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
        return Ok(RetireOutcome::Failed {
            reason,
            transient: false,
        });
    }
    if carrier.layout.lost.contains(from) {
        // A folder that is not mounted looks empty; its copies must not be taken for deleted.
        let reason = format!("backend `{from}`: it is out of reach, so what it holds stays as recorded");
        return Ok(RetireOutcome::Failed {
            reason,
            transient: false,
        });
    }
    let counts = verify_listed_copies(carrier, step, from).await?;
    let allows = |others: &[BackendName]| {
        let mut verified: BTreeSet<BackendName> = others.iter().cloned().collect();
        if counts {
            verified.insert(from.clone());
        }
        demand.allows_retirement(&verified, from)
    };
    // INVARIANT: MV-4. Evaluated inside the transaction that sets the mark.
    let enough = |others: &[BackendName]| allows(others).is_ok();
    match carrier.catalogue.begin_retire(&step.dataset, from, &enough).await {
        Ok(()) => {}
        Err(RetireError::Catalogue(error)) => return Err(error),
        Err(refused) => {
            let why = match &refused {
                RetireError::TooFew { remaining, .. } => allows(remaining).err().map(|why| why.to_string()),
                _ => None,
            };
            let why = why.unwrap_or_else(|| refused.to_string());
            let reason = format!("the copy on `{from}` stays: {why}");
            return Ok(RetireOutcome::Needed { reason });
        }
    }
    if let Some(failure) = delete_objects(carrier, step, from).await? {
        let transient = failure.is_transient();
        return Ok(RetireOutcome::Failed {
            reason: failure.to_string(),
            transient,
        });
    }
    if let Err(failure) = carrier.worker.sweep(from, &step.dataset).await {
        let transient = failure.is_transient();
        return Ok(RetireOutcome::Failed {
            reason: failure.to_string(),
            transient,
        });
    }
    carrier.catalogue.end_retire(&step.dataset, from).await?;
    Ok(RetireOutcome::Retired)
}

/// An origin that was only listed does not count as verified; before another copy goes it is read. Returns whether the
/// copy on `from` counts itself: a damaged one is no loss to any requirement.
async fn verify_listed_copies(
    carrier: &Carrier,
    step: &Step,
    from: &BackendName,
) -> Result<bool, CatalogueError> {
    let Some(known) = carrier.catalogue.observed_dataset(&step.dataset, &[]).await? else {
        return Ok(false);
    };
    for copy in &known.copies {
        if copy.state == CopyState::Listed && copy.backend != *from {
            inspect_copy(carrier, &step.dataset, &copy.backend).await?;
        }
    }
    Ok(known.copy_on(from.as_str()).is_some_and(|copy| copy.is_current()))
}

async fn delete_objects(
    carrier: &Carrier,
    step: &Step,
    from: &BackendName,
) -> Result<Option<Failure>, CatalogueError> {
    let mut after: Option<ObjectKey> = None;
    loop {
        let page = carrier
            .catalogue
            .objects(&step.dataset, after.as_ref(), PAGE)
            .await?;
        let Some(last) = page.last().map(|numbered| numbered.object.key.clone()) else {
            return Ok(None);
        };
        let in_copy = !carrier.layout.is_origin(&step.dataset, from);
        let deletions = page.into_iter().map(|numbered| {
            let place = carrier.layout.place(&step.dataset, &numbered.object.key, from);
            let (carrier, dataset) = (carrier.clone(), step.dataset.clone());
            async move {
                carrier
                    .worker
                    .delete(&place, in_copy.then_some(&dataset), &carrier.cancel)
                    .await
            }
        });
        let deletions: Vec<_> = deletions.collect();
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
