//! Consignments: what one copy has to carry is offered in pieces, and any process that shares the catalogue takes them up
//! by leases, this one too.
//!
//! ```text
//!  objects that are missing ──cut──▶ offers ──lease──▶ transfers ──▶ verified and recorded, under the lease ──▶ ended
//!                                      ▲                   │
//!                                      └── lease expired ◀─┘ the process was killed or halted
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domicile_catalogue::{
    CatalogueError, Consignment, ConsignmentEnd, Held, Hold, Lease, PendingObject, Verification,
};
use domicile_estate::{BackendName, ByteCount, DatasetName};
use domicile_movers::tree::PART_MIN;
use domicile_movers::{Ending, Failure, Ledger, TransferId, TransferSpec};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::task::{JoinError, JoinSet};

use super::Carrier;
use super::copy::{self, Failures, PAGE};
use super::ended::{Done, each_recorded, record};
use super::lease::Keeper;

/// Objects and bytes of a batch of small objects, at most.
pub const BATCH_OBJECTS: usize = 256;
const BATCH_BYTES: u64 = 256 * 1024 * 1024;
/// Consignments that one process carries at once.
const CONSIGNMENTS: usize = 4;
/// Objects of one consignment under way at once.
const OBJECTS: usize = 32;
/// How often it is looked whether somebody else has ended, or has lost, what he carries.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How this process leases.
#[derive(Debug, Clone)]
pub struct Leasing {
    /// What it is called.
    pub worker: String,
    /// How long a lease lasts unless it is renewed.
    pub ttl: Duration,
}

impl Default for Leasing {
    fn default() -> Self {
        Self {
            worker: format!("process {}", std::process::id()),
            ttl: Duration::from_secs(30),
        }
    }
}

/// Cuts a page of objects into consignments: each object within which others can go on stands alone.
pub fn cut(
    carrier: &Carrier,
    (dataset, sources, target): (&DatasetName, &[BackendName], &BackendName),
    page: &[PendingObject],
) -> Vec<Consignment> {
    let alone = |object: &PendingObject| {
        carrier
            .worker
            .goes_on_within(target, object.size)
            .unwrap_or(false)
    };
    let mut all: Vec<Consignment> = Vec::new();
    let mut open = false;
    for object in page {
        let large = alone(object);
        if let (true, false, Some(last)) = (open, large, all.last_mut())
            && (last.objects as usize) < BATCH_OBJECTS
            && last.bytes.0 + object.size.0 <= BATCH_BYTES
        {
            last.last = object.key.clone();
            last.objects += 1;
            last.bytes = ByteCount(last.bytes.0 + object.size.0);
            continue;
        }
        all.push(Consignment {
            dataset: dataset.clone(),
            target: target.clone(),
            sources: sources.to_vec(),
            first: object.key.clone(),
            last: object.key.clone(),
            objects: 1,
            bytes: object.size,
        });
        open = !large;
    }
    all
}

/// Carries what is offered of a copy until all of it has ended, whoever carried it.
pub async fn carry_copy(
    carrier: &Carrier,
    (dataset, target): (&DatasetName, &BackendName),
    failures: &mut Failures,
) -> Result<(), CatalogueError> {
    let copy = (dataset, target);
    loop {
        // A task, so that its breaking down does not leave the copy without an end; one for all, so that small objects wake
        // no other thread.
        let mut porters = JoinSet::new();
        porters.spawn(carry_offered(carrier.clone(), (dataset.clone(), target.clone())));
        if let Some(ended) = porters.join_next().await {
            failures.merge(ended.map_err(|error| panicked(&error))??);
        }
        if carrier.cancel.is_cancelled() || failures.lost.is_some() {
            break;
        }
        if is_held(carrier, copy).await?.is_some() {
            return Ok(());
        }
        let offers = carrier.catalogue.offers(dataset, target).await?;
        if offers.waiting + offers.leased == 0 {
            failures.others(&offers.failed);
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if failures.lost.is_some() {
        // Everything else would fail in the same way.
        carrier.catalogue.withdraw_offers(Some(copy)).await?;
    }
    Ok(())
}

/// Carries what nobody carries of a copy, a few consignments at once.
async fn carry_offered(
    carrier: Carrier,
    (dataset, target): (DatasetName, BackendName),
) -> Result<Failures, CatalogueError> {
    let lost = AtomicBool::new(false);
    let porter = || async {
        let mut failures = Failures::default();
        while !carrier.cancel.is_cancelled() && !lost.load(Ordering::Relaxed) {
            let Some(keeper) = lease(&carrier, Some((&dataset, &target))).await? else {
                break;
            };
            failures.merge(carry(carrier.clone(), keeper).await?);
            lost.fetch_or(failures.lost.is_some(), Ordering::Relaxed);
        }
        Ok::<_, CatalogueError>(failures)
    };
    // Nothing is waited for beside them: one that holds the catalogue's writer must go on.
    let mut porters: FuturesUnordered<_> = (0..CONSIGNMENTS).map(|_| porter()).collect();
    let mut failures = Failures::default();
    while let Some(ended) = porters.next().await {
        failures.merge(ended?);
    }
    Ok(failures)
}

/// What a person has ordered of a copy.
pub async fn is_held(
    carrier: &Carrier,
    (dataset, target): (&DatasetName, &BackendName),
) -> Result<Option<Hold>, CatalogueError> {
    let mut holds = carrier.catalogue.holds().await?;
    Ok(holds.remove(&(dataset.clone(), target.clone())))
}

/// Takes up what is offered, of one copy or of any.
pub async fn lease(
    carrier: &Carrier,
    copy: Option<(&DatasetName, &BackendName)>,
) -> Result<Option<Arc<Keeper>>, CatalogueError> {
    let Leasing { worker, ttl } = &carrier.leasing;
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let lease = carrier.catalogue.lease(worker, copy, ttl_ms).await?;
    Ok(lease.map(|lease| Keeper::new(Arc::clone(&carrier.catalogue), lease, *ttl)))
}

/// Carries one consignment to its end, and tells what failed of it.
pub async fn carry(carrier: Carrier, keeper: Arc<Keeper>) -> Result<Failures, CatalogueError> {
    let _heartbeat = keeper.heartbeat();
    let Consignment {
        dataset,
        sources,
        target,
        ..
    } = &keeper.lease.consignment;
    let _expected = copy::expect(&carrier, dataset, (sources, target));
    let mut failures = Failures::default();
    let page = carrier
        .catalogue
        .objects_consigned(&keeper.lease.consignment, PAGE)
        .await?;
    carry_objects(&carrier, &keeper, page, &mut failures).await?;
    if keeper.is_lost() {
        return Ok(Failures::default());
    }
    if carrier.cancel.is_cancelled() {
        let _ = carrier.catalogue.give_back(&keeper.lease).await?;
        return Ok(failures);
    }
    let end = match failures.reason() {
        None => ConsignmentEnd::Done,
        Some(reason) => ConsignmentEnd::Failed(reason),
    };
    let held = carrier.catalogue.end_consignment(&keeper.lease, &end).await?;
    // Whoever has it now tells what failed.
    Ok(if held == Held::Yes {
        failures
    } else {
        Failures::default()
    })
}

async fn carry_objects(
    carrier: &Carrier,
    keeper: &Arc<Keeper>,
    page: Vec<PendingObject>,
    failures: &mut Failures,
) -> Result<(), CatalogueError> {
    let Consignment { dataset, target, .. } = &keeper.lease.consignment;
    let specified = specified(carrier, &keeper.lease.consignment, page).await?;
    let transfers = specified.into_iter().map(|(object, specified)| async move {
        let _slot = carrier.slots.enter(dataset, object.size.0).await;
        let ending = match specified {
            Ok((spec, ledger)) => transfer(carrier, keeper, &spec, ledger).await,
            Err(failure) => Ending::Failed(failure),
        };
        let result = match ending {
            Ending::Registered(receipt) => Some(Ok(receipt)),
            Ending::Failed(failure) | Ending::Unrecorded(failure) => Some(Err(failure)),
            Ending::Fenced | Ending::Cancelled => None,
        };
        (object, result)
    });
    let record = |ended| record(carrier, (dataset, target), Some(keeper.as_ref()), ended);
    each_recorded(transfers, OBJECTS, record, failures).await
}

/// A task of ours that broke down: its lease runs out, and others go on.
fn panicked(error: &JoinError) -> CatalogueError {
    CatalogueError::Corrupt {
        what: format!("a transfer broke down: {error}"),
    }
}

/// An object, what is to be done for it and what is recorded of that, or why nothing can be done.
type Specified = (PendingObject, Result<(TransferSpec, Ledger), Failure>);

/// What is to be done for each object, with what is recorded of it: while we have the lease, nobody else writes that.
async fn specified(
    carrier: &Carrier,
    consignment: &Consignment,
    mut page: Vec<PendingObject>,
) -> Result<Vec<Specified>, CatalogueError> {
    copy::largest_first(&mut page);
    let Consignment {
        dataset,
        sources,
        target,
        ..
    } = consignment;
    let mut named = Vec::with_capacity(page.len());
    for object in &page {
        recall_checksum(carrier, object).await?;
        let spec = copy::spec(carrier, dataset, (sources, target), object);
        named.push(spec.map(|spec| (TransferId::of(&spec, 0), spec)));
    }
    let ids: Vec<_> = named.iter().flatten().map(|(id, _)| id.clone()).collect();
    let mut ledgers = carrier.catalogue.ledgers(&ids).await?;
    let mut with_ledger = |(id, spec)| (spec, ledgers.remove(&id).unwrap_or_default());
    let specified: Vec<_> = named.into_iter().map(|one| one.map(&mut with_ledger)).collect();
    Ok(page.into_iter().zip(specified).collect())
}

async fn transfer(carrier: &Carrier, keeper: &Keeper, spec: &TransferSpec, ledger: Ledger) -> Ending {
    carrier
        .meter
        .add_there(ledger.parts.values().map(|part| part.size).sum());
    let known = (keeper.lease.epoch, ledger);
    let ending = carrier
        .worker
        .transfer_leased(spec, known, keeper, &carrier.progress, &carrier.cancel)
        .await;
    ending.unwrap_or_else(Ending::Failed)
}

/// Records objects as verified under the lease; with them the ledgers of large ones end, and what was learnt of their
/// checksums is kept.
pub(super) async fn record_under(
    carrier: &Carrier,
    keeper: &Keeper,
    done: &[Done],
    batch: &[Verification],
) -> Result<(), CatalogueError> {
    let Consignment { dataset, target, .. } = &keeper.lease.consignment;
    let large = done.iter().filter(|(object, _)| {
        carrier
            .worker
            .goes_on_within(target, object.size)
            .unwrap_or(false)
    });
    let ended: Vec<TransferId> = large
        .filter_map(|(object, _)| {
            let sources = &keeper.lease.consignment.sources;
            copy::spec(carrier, dataset, (sources, target), object).ok()
        })
        .map(|spec| TransferId::of(&spec, 0))
        .collect();
    let asked = Instant::now();
    let lease: &Lease = &keeper.lease;
    let held = carrier
        .catalogue
        .record_verified_under(lease, batch, &ended, keeper.ttl_ms())
        .await?;
    keeper.note(asked, held);
    let checksums: Vec<_> = done
        .iter()
        .filter_map(|(_, receipt)| Some((receipt.blake3.clone(), carrier.worker.checksum(&receipt.blake3)?)))
        .collect();
    carrier.catalogue.keep_checksums(&checksums).await
}

/// Tells the worker what an earlier one has found out of the same bytes.
async fn recall_checksum(carrier: &Carrier, object: &PendingObject) -> Result<(), CatalogueError> {
    let Some(blake3) = object.blake3.as_deref().filter(|_| object.size.0 > PART_MIN) else {
        return Ok(());
    };
    if carrier.worker.checksum(blake3).is_none()
        && let Some(kept) = carrier.catalogue.checksum(blake3).await?
    {
        carrier.worker.rely_on_checksum(blake3, kept);
    }
    Ok(())
}
