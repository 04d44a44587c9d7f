//! What has ended is recorded a batch at a time, while the rest goes on.
//!
//! ```text
//!  works ──▶ at most so many under way, all on one task ──▶ ended ──▶ a batch ──▶ recorded, in one commit
//! ```
//!
//! A commit waits for the disk and wakes two threads, and an object that has a task of its own wakes others: for small
//! objects either would cost more than to carry them. INVARIANT: whoever holds the catalogue's one writer is looked after until
//! he has let go of it: works and record are polled together, and nothing else is waited for beside them.

use std::future::Future;
use std::time::Duration;

use domicile_catalogue::{CatalogueError, PendingObject};
use domicile_estate::{BackendName, DatasetName};
use domicile_movers::{Failure, Receipt};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::Carrier;
use super::consign::record_under;
use super::copy::{Failures, note_bad_sources, take_back, verifications};
use super::lease::Keeper;

/// Objects recorded in one transaction, if so many end before the others have waited long enough.
const RECORD_BATCH: usize = 256;
/// What has ended waits so long for others at most: so much a kill undoes, and the next run finds it at the target.
const RECORD_EVERY: Duration = Duration::from_millis(250);

/// An object, and its receipt or what failed; nothing of either where it was stopped.
pub type Ended = (PendingObject, Option<Result<Receipt, Failure>>);

/// An object that lies at the target and is proven.
pub type Done = (PendingObject, Receipt);

/// Lets at most so many works be under way, and hands what has ended to `record`, until all is recorded. Once a whole backend is
/// lost, nothing more is begun, and what is under way is dropped: a later run sweeps.
pub async fn each_recorded<W, R>(
    works: impl Iterator<Item = W>,
    at_once: usize,
    record: impl Fn(Vec<Ended>) -> R,
    failures: &mut Failures,
) -> Result<(), CatalogueError>
where
    W: Future<Output = Ended>,
    R: Future<Output = Result<Failures, CatalogueError>>,
{
    let mut works = works.fuse();
    let mut under_way = FuturesUnordered::new();
    let mut recording = FuturesUnordered::new();
    let mut ended = Vec::new();
    let late = tokio::time::sleep(RECORD_EVERY);
    tokio::pin!(late);
    loop {
        while failures.lost.is_none()
            && under_way.len() < at_once
            && let Some(work) = works.next()
        {
            under_way.push(work);
        }
        let due = under_way.is_empty() || late.is_elapsed() || ended.len() >= RECORD_BATCH;
        if recording.is_empty() && due {
            if ended.is_empty() && under_way.is_empty() {
                return Ok(());
            }
            if !ended.is_empty() {
                recording.push(record(std::mem::take(&mut ended)));
            }
            late.as_mut().reset(tokio::time::Instant::now() + RECORD_EVERY);
        }
        tokio::select! {
            biased;
            Some(recorded) = recording.next() => {
                failures.merge(recorded?);
                if failures.lost.is_some() {
                    under_way.clear();
                }
            }
            Some(one) = under_way.next() => ended.push(one),
            () = &mut late, if !late.is_elapsed() => {}
        }
    }
}

/// Records what is verified, all at once, and tells what failed. Where other digests were recorded meanwhile (the source
/// changed between two readings), one by one, so that the others do not suffer.
pub async fn record(
    carrier: &Carrier,
    (dataset, to): (&DatasetName, &BackendName),
    keeper: Option<&Keeper>,
    ended: Vec<Ended>,
) -> Result<Failures, CatalogueError> {
    let (done, mut failures) = sift(carrier, ended).await?;
    if done.is_empty() {
        return Ok(failures);
    }
    match record_done(carrier, to, keeper, &done).await {
        Err(CatalogueError::DigestDiffers { .. }) => {}
        other => return other.map(|()| failures),
    }
    for one in &done {
        match record_done(carrier, to, keeper, std::slice::from_ref(one)).await {
            Err(CatalogueError::DigestDiffers { .. }) => {
                failures.add(&take_back(carrier, (dataset, to), one).await);
            }
            other => other?,
        }
    }
    Ok(failures)
}

/// Records objects as verified, under the lease where they were carried under one.
async fn record_done(
    carrier: &Carrier,
    to: &BackendName,
    keeper: Option<&Keeper>,
    done: &[Done],
) -> Result<(), CatalogueError> {
    let batch: Vec<_> = done.iter().flat_map(|one| verifications(one, to)).collect();
    match keeper {
        Some(keeper) => record_under(carrier, keeper, done, &batch).await,
        None => carrier.catalogue.record_verified(&batch).await,
    }
}

/// What is verified, and what failed of the rest. Sources that turned out to be damaged are recorded as such.
async fn sift(carrier: &Carrier, ended: Vec<Ended>) -> Result<(Vec<Done>, Failures), CatalogueError> {
    let mut failures = Failures::default();
    let mut done = Vec::with_capacity(ended.len());
    for (object, result) in ended {
        match result {
            Some(Ok(receipt)) => {
                note_bad_sources(carrier, &object, &receipt.source_failures).await?;
                carrier.meter.add_object();
                if receipt.adopted {
                    carrier.meter.add_there(object.size.0);
                }
                done.push((object, receipt));
            }
            Some(Err(failure)) => {
                note_bad_sources(carrier, &object, std::slice::from_ref(&failure)).await?;
                carrier.meter.add_failure();
                failures.add(&failure);
            }
            None => {}
        }
    }
    Ok((done, failures))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use domicile_estate::{ByteCount, ObjectKey};
    use domicile_movers::FailureClass;
    use tokio::sync::Mutex;

    use super::*;

    fn object(number: i64) -> PendingObject {
        PendingObject {
            object_id: number,
            key: ObjectKey::new("k").expect("a key"),
            size: ByteCount(1),
            sha256: None,
            blake3: None,
            modified_ms: None,
            ours_recorded: false,
            gone_at_origin: false,
            changed_at_origin: false,
        }
    }

    #[tokio::test]
    async fn all_is_recorded_once_in_batches_while_few_are_under_way() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let works = (0..1_000).map(|number| {
            let (now, most) = (&now, &most);
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
                now.fetch_sub(1, Ordering::Relaxed);
                (object(number), None)
            }
        });
        let batches = Mutex::new(Vec::new());
        let record = |ended: Vec<Ended>| async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let numbers: Vec<i64> = ended.into_iter().map(|(object, _)| object.object_id).collect();
            batches.lock().await.push(numbers);
            Ok(Failures::default())
        };
        let mut failures = Failures::default();
        each_recorded(works, 8, record, &mut failures)
            .await
            .expect("recorded");
        assert_eq!(most.into_inner(), 8);
        let batches = batches.into_inner();
        assert!(batches.len() < 100, "{} batches", batches.len());
        let mut numbers: Vec<i64> = batches.into_iter().flatten().collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn works_and_record_may_want_the_same_writer() {
        let writer = Mutex::new(0);
        let works = (0..600).map(|number| {
            let writer = &writer;
            async move {
                let mut written = writer.lock().await;
                tokio::task::yield_now().await;
                *written += 1;
                (object(number), None)
            }
        });
        let record = |_| async {
            *writer.lock().await += 1;
            Ok(Failures::default())
        };
        let mut failures = Failures::default();
        let all = each_recorded(works, 16, record, &mut failures);
        let all = tokio::time::timeout(Duration::from_secs(20), all).await;
        all.expect("nobody waits for ever").expect("recorded");
        assert!(writer.into_inner() > 600);
    }

    #[tokio::test]
    async fn nothing_is_begun_once_a_backend_is_lost() {
        let begun = AtomicUsize::new(0);
        let works = (0..10_000).map(|number| {
            let begun = &begun;
            async move {
                begun.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
                (object(number), None)
            }
        });
        let lost = BackendName::new("gone").expect("a name");
        let record = |_| async {
            let mut failures = Failures::default();
            failures.add(&Failure::of_backend(
                FailureClass::CredentialsRefused,
                &lost,
                "refused".to_owned(),
            ));
            Ok(failures)
        };
        let mut failures = Failures::default();
        each_recorded(works, 4, record, &mut failures)
            .await
            .expect("recorded");
        assert_eq!(failures.lost.as_ref(), Some(&lost));
        let begun = begun.into_inner();
        assert!(begun < 1_000, "{begun} were begun");
    }
}
