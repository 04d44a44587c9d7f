//! One copy: every object that is not yet whole on the target is carried, read back, verified and recorded.

use std::cmp::Reverse;

use domicile_catalogue::{CatalogueError, Hold, PendingObject, Verification};
use domicile_estate::{BackendName, DatasetName};
use domicile_movers::{Failure, FailureClass, TargetRecorded, TransferSpec};
use domicile_scheduler::{Action, CopyOutcome, Event, Step};
use domicile_worker::Expected;

use super::ended::{Done, each_recorded, record};
use super::lists::{self, Moment};
use super::{Carrier, consign, now_ms, order};

/// Objects read from the catalogue at once.
pub(super) const PAGE: u32 = 512;
/// Objects of one batch under way at once: small ones wait for the disk or the line most of the time.
const OBJECTS: usize = 128;
/// Failures of one copy that are told one by one; the others are counted.
const TOLD_FAILURES: usize = 5;

/// Carries one copy and tells how it ended.
pub async fn copy(carrier: Carrier, step: Step) -> Event {
    let (carrier, _moving) = carrier.of_move((&step.dataset, step.target()), step.bytes.0);
    let mut failures = Failures::default();
    let outcome = match run(&carrier, &step, &mut failures).await {
        Ok(Some(hold)) => CopyOutcome::Ordered(order(hold)),
        Ok(None) if failures.count == 0 => {
            write_lists(&carrier, &step).await;
            CopyOutcome::Verified
        }
        Ok(None) => failures.outcome(),
        Err(error) => CopyOutcome::Failed {
            reason: format!("dataset `{}`: {error}", step.dataset),
            transient: error.is_retryable(),
            lost: None,
        },
    };
    Event::CopyEnded { id: step.id, outcome }
}

/// The copy is whole. Lists that cannot be written now are due, and `apply` tries once more at its end.
async fn write_lists(carrier: &Carrier, step: &Step) {
    if carrier.cancel.is_cancelled() {
        return;
    }
    let copy = (&step.dataset, step.target());
    match lists::write(carrier, copy, Moment::AfterAll).await {
        Ok(None) => {}
        Ok(Some(failure)) => tracing::info!("lists of digests are not written yet: {failure}"),
        Err(error) => tracing::info!("lists of digests are not written yet: {error}"),
    }
}

/// What failed of a copy, for people.
#[derive(Debug, Default)]
pub struct Failures {
    count: u64,
    transient: u64,
    told: Vec<String>,
    /// A backend of which everything is out of reach.
    pub lost: Option<BackendName>,
}

impl Failures {
    /// Takes in what failed of a part of it.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.transient += other.transient;
        let room = TOLD_FAILURES.saturating_sub(self.told.len());
        self.told.extend(other.told.into_iter().take(room));
        self.lost = other.lost.or(self.lost.take());
    }

    /// Takes in what others have told of consignments that they carried. Another try may help.
    pub fn others(&mut self, reasons: &[String]) {
        let untold = reasons
            .iter()
            .filter(|reason| !self.told.contains(reason))
            .cloned();
        let untold: Vec<String> = untold.collect();
        self.count += untold.len() as u64;
        self.transient += untold.len() as u64;
        let room = TOLD_FAILURES.saturating_sub(self.told.len());
        self.told.extend(untold.into_iter().take(room));
    }

    /// Why, if anything failed.
    pub fn reason(&self) -> Option<String> {
        (self.count > 0).then(|| {
            let untold = self.count - self.told.len() as u64;
            let more = if untold > 0 {
                format!("; and {untold} more objects failed")
            } else {
                String::new()
            };
            format!("{}{more}", self.told.join("; "))
        })
    }

    pub(super) fn add(&mut self, failure: &Failure) {
        self.count += 1;
        self.transient += u64::from(failure.is_transient());
        if failure.blames_whole_backend() {
            self.lost = Some(failure.backend.clone());
        }
        if self.told.len() < TOLD_FAILURES {
            self.told.push(failure.to_string());
        }
    }

    fn outcome(self) -> CopyOutcome {
        CopyOutcome::Failed {
            reason: self.reason().unwrap_or_default(),
            transient: self.transient > 0,
            lost: self.lost,
        }
    }
}

/// Carries what is missing, unless a person has ordered otherwise.
async fn run(
    carrier: &Carrier,
    step: &Step,
    failures: &mut Failures,
) -> Result<Option<Hold>, CatalogueError> {
    let Action::Copy { sources, to } = &step.action else {
        unreachable!("StartCopy carries a copy")
    };
    if let Some(owner) = carrier.origin_in_the_way(&step.dataset, to).await? {
        let message = format!(
            "the folder `{}` there belongs to the origin of dataset `{owner}`; nothing is written into it: let a policy \
             place the dataset elsewhere, or register the origin with another prefix",
            step.dataset
        );
        failures.add(&Failure::of_backend(FailureClass::TargetConflict, to, message));
        return Ok(None);
    }
    let turn = carrier.turn(&step.dataset).await?;
    let _expected = expect(carrier, &step.dataset, (sources, to));
    carrier.catalogue.begin_copy(&step.dataset, to).await?;
    if turn.is_some()
        && let Some(failure) = lists::write(carrier, (&step.dataset, to), Moment::BeforeRenewal).await?
    {
        failures.add(&failure);
        return Ok(None);
    }
    // What a killed run left is swept before anything new is written.
    if let Err(failure) = carrier.worker.sweep(to, &step.dataset).await
        && failure.class != FailureClass::StoreMissing
    {
        failures.add(&failure);
        return Ok(None);
    }
    let first = carrier
        .catalogue
        .objects_missing_on(&step.dataset, to, None, PAGE)
        .await?;
    let cut = consign::cut(carrier, (&step.dataset, sources, to), &first);
    // One small batch is done before anybody else could take it up, and a killed run loses nothing of it.
    let large = cut
        .iter()
        .any(|part| part.objects == 1 && carrier.worker.goes_on_within(to, part.bytes).unwrap_or(false));
    if cut.len() <= 1 && !large {
        copy_page(carrier, step, (sources, to), first, failures).await?;
    } else {
        offer(carrier, step, (sources, to), first).await?;
        consign::carry_copy(carrier, (&step.dataset, to), failures).await?;
    }
    if carrier.cancel.is_cancelled() {
        // Others may go on with what is offered.
        return Ok(None);
    }
    if failures.count == 0 && is_short(carrier, step, to).await? {
        // What was offered is not there, and nobody says that it failed.
        let hold = consign::is_held(carrier, (&step.dataset, to)).await?;
        if hold.is_none() {
            let message = "what was offered of the copy was withdrawn".to_owned();
            failures.add(&Failure::of_backend(FailureClass::Transient, to, message));
        }
        return Ok(hold);
    }
    if failures.count == 0 && !carrier.cancel.is_cancelled() {
        // Everything is there, so what is still unfinished is of nobody. If it cannot be given up now, the next copy does.
        if let Err(failure) = carrier.worker.give_up_uploads(to, &step.dataset).await {
            tracing::info!("unfinished uploads stay: {failure}");
        }
    }
    carrier.catalogue.end_copy(&step.dataset, to).await?;
    Ok(None)
}

/// Whether a copy lacks anything, as far as is recorded.
async fn is_short(carrier: &Carrier, step: &Step, to: &BackendName) -> Result<bool, CatalogueError> {
    let missing = carrier
        .catalogue
        .objects_missing_on(&step.dataset, to, None, 1)
        .await?;
    Ok(!missing.is_empty())
}

/// Announces what is going to be read, so that it is read once for all copies that are made at the same time.
pub(super) fn expect(
    carrier: &Carrier,
    dataset: &DatasetName,
    (sources, to): (&[BackendName], &BackendName),
) -> Expected {
    let below = |backend: &BackendName| (backend.clone(), carrier.layout.prefix(dataset, backend));
    carrier
        .worker
        .expect_copy(sources.iter().map(below).collect(), to)
}

/// Offers all that a copy has to carry, and nothing of what an earlier attempt had offered.
async fn offer(
    carrier: &Carrier,
    step: &Step,
    (sources, to): (&[BackendName], &BackendName),
    first: Vec<PendingObject>,
) -> Result<(), CatalogueError> {
    let catalogue = &carrier.catalogue;
    catalogue.withdraw_offers(Some((&step.dataset, to))).await?;
    let mut page = first;
    while let Some(last) = page.last().map(|object| object.key.clone()) {
        let cut = consign::cut(carrier, (&step.dataset, sources, to), &page);
        catalogue.offer(&cut).await?;
        page = catalogue
            .objects_missing_on(&step.dataset, to, Some(&last), PAGE)
            .await?;
    }
    Ok(())
}

async fn copy_page(
    carrier: &Carrier,
    step: &Step,
    (sources, to): (&[BackendName], &BackendName),
    mut page: Vec<PendingObject>,
    failures: &mut Failures,
) -> Result<(), CatalogueError> {
    let dataset = &step.dataset;
    largest_first(&mut page);
    let transfers = page.into_iter().map(|object| async move {
        let _slot = carrier.slots.enter(dataset, object.size.0).await;
        let result = match spec(carrier, dataset, (sources, to), &object) {
            Ok(spec) => {
                let (progress, cancel) = (&carrier.progress, &carrier.cancel);
                carrier.worker.transfer(&spec, progress, cancel).await
            }
            Err(failure) => Err(failure),
        };
        (object, Some(result))
    });
    let record = |ended| record(carrier, (dataset, to), None, ended);
    each_recorded(transfers, OBJECTS, record, failures).await
}

/// What takes longest is begun first: else it is alone in the end, and an MD5 alone costs as much as many side by side.
pub(super) fn largest_first(page: &mut [PendingObject]) {
    page.sort_by_key(|object| Reverse(object.size));
}

/// What to carry, and from where: sources that are known not to have the object are left out.
pub(super) fn spec(
    carrier: &Carrier,
    dataset: &DatasetName,
    (sources, to): (&[BackendName], &BackendName),
    object: &PendingObject,
) -> Result<TransferSpec, Failure> {
    let unfit = object.gone_at_origin || object.changed_at_origin;
    let fit = |backend: &&BackendName| !(unfit && carrier.layout.is_origin(dataset, backend));
    let mut places = sources
        .iter()
        .filter(fit)
        .map(|b| carrier.layout.place(dataset, &object.key, b));
    let Some(source) = places.next() else {
        let (class, what) = if object.gone_at_origin {
            (
                FailureClass::SourceGone,
                "is no longer at its origin, and no other copy is whole",
            )
        } else {
            (
                FailureClass::SourceChanged,
                "has changed at its origin since it was registered; it is not copied",
            )
        };
        let blamed = sources.first().unwrap_or(to);
        return Err(Failure::of_object(
            class,
            blamed,
            object.key.as_str(),
            what.to_owned(),
        ));
    };
    Ok(TransferSpec {
        dataset: dataset.clone(),
        key: object.key.clone(),
        size: object.size,
        sha256: object.sha256.clone(),
        blake3: object.blake3.clone(),
        source,
        alternatives: places.collect(),
        target: carrier.layout.place(dataset, &object.key, to),
        target_recorded: if object.ours_recorded {
            TargetRecorded::Ours
        } else {
            TargetRecorded::Nothing
        },
        allow_create_root: carrier.layout.fresh.contains(to),
        verify: carrier.layout.verify(dataset),
    })
}

/// The target was read back. The source was read from end to end as well, and had the same bytes.
pub(super) fn verifications((object, receipt): &Done, to: &BackendName) -> Vec<Verification> {
    let backends = std::iter::once(to).chain(receipt.source.as_ref());
    let verification = |backend: &BackendName| Verification {
        object_id: object.object_id,
        backend: backend.clone(),
        sha256: receipt.sha256.clone(),
        blake3: receipt.blake3.clone(),
        at_ms: now_ms(),
    };
    backends.map(verification).collect()
}

/// What was just written is of another version than what is recorded: it must not stay under its name.
pub(super) async fn take_back(
    carrier: &Carrier,
    (dataset, to): (&DatasetName, &BackendName),
    (object, receipt): &Done,
) -> Failure {
    let place = carrier.layout.place(dataset, &object.key, to);
    if !receipt.adopted
        && let Err(failure) = carrier
            .worker
            .delete(&place, Some(dataset), &carrier.cancel)
            .await
    {
        return failure;
    }
    let blamed = receipt.source.as_ref().unwrap_or(to);
    let message = "it changed at its source while it was copied; another version is recorded".to_owned();
    Failure::of_object(FailureClass::SourceChanged, blamed, object.key.as_str(), message)
}

/// A source whose bytes are not those that are catalogued is recorded as damaged, so that it counts no more.
pub(super) async fn note_bad_sources(
    carrier: &Carrier,
    object: &PendingObject,
    failures: &[Failure],
) -> Result<(), CatalogueError> {
    for failure in failures.iter().filter(|f| f.class == FailureClass::SourceDamaged) {
        let reason = failure.to_string();
        carrier
            .catalogue
            .record_damaged(object.object_id, &failure.backend, &reason, now_ms())
            .await?;
    }
    Ok(())
}
