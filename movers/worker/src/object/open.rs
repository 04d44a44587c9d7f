//! Opening a store: from a manifest's words to an operator. It asks nothing of the store.

use std::time::Duration;

use domicile_estate::{Backend, StoreKind};
use domicile_movers::{Failure, FailureClass};
use opendal::Operator;
use opendal::layers::{RetryEvent, RetryLayer, TimeoutLayer};
use opendal::services::Memory;

use super::ObjectStore;
use crate::credentials::{CredentialValues, Keys, resolve};
use crate::redact::Redactor;

/// How long a store may take to answer.
const ANSWER: Duration = Duration::from_secs(60);
/// How long one part may take: 8 MiB at 70 KB/s.
const PART: Duration = Duration::from_secs(120);
/// OpenDAL's own retries, which save a big object from a single lost part; all others are ours, with reasons.
const PART_RETRIES: usize = 3;

/// Opens an object store as its manifest says.
pub(crate) fn open(backend: &Backend, values: &CredentialValues) -> Result<ObjectStore, Failure> {
    let refused = |class, message| Failure::of_backend(class, &backend.name, message);
    let keys =
        resolve(backend, values).map_err(|message| refused(FailureClass::CredentialsRefused, message))?;
    let redactor = Redactor::of(keys.iter().flat_map(Keys::secrets));
    let operator = match backend.store.kind {
        StoreKind::Memory => Operator::new(Memory::default().root(backend.store.option("root")))
            .map_err(|error| error.message().to_owned()),
        // These have drivers of our own.
        StoreKind::Fs | StoreKind::S3 => Err("this kind of store has another driver".to_owned()),
    };
    let operator =
        operator.map_err(|message| refused(FailureClass::StoreMissing, redactor.redact(&message)))?;
    let operator = operator
        .layer(TimeoutLayer::new().with_timeout(ANSWER).with_io_timeout(PART))
        .layer(
            RetryLayer::new()
                .with_max_times(PART_RETRIES)
                .with_min_delay(Duration::from_millis(200))
                .with_max_delay(Duration::from_secs(5))
                // Says no more than the kind of error: its text may hold what nobody should read.
                .with_notify(|event: RetryEvent<'_>| {
                    tracing::debug!(operation = ?event.op, kind = ?event.err.kind(), "asking the store again");
                }),
        );
    Ok(ObjectStore {
        backend: backend.name.clone(),
        operator,
        redactor,
        anonymous: keys.is_none(),
        place: format!("root `{}`", backend.store.option("root")),
    })
}
