//! Opening a store: from a manifest's words to an operator. It asks nothing of the store.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domicile_estate::{Backend, StoreKind};
use domicile_movers::{Failure, FailureClass};
use opendal::layers::{RetryEvent, RetryLayer, TimeoutLayer};
use opendal::services::{Azblob, Gcs, Memory};
use opendal::{HttpTransporter, OperationContext, Operator};

use super::ObjectStore;
use super::transport::Transport;
use crate::credentials::{CredentialValues, resolve, resolve_document};
use crate::http1::Http;
use crate::redact::Redactor;

/// How long a store may take to answer.
const ANSWER: Duration = Duration::from_secs(60);
/// How long one part may take: 8 MiB at 70 KB/s.
const PART: Duration = Duration::from_secs(120);
/// OpenDAL's own retries, which save a big object from a single lost part; all others are ours, with reasons.
const PART_RETRIES: usize = 3;

/// What is made of a manifest before anything is asked.
struct Opened {
    operator: Operator,
    secrets: Vec<String>,
    anonymous: bool,
    guarded: bool,
    /// What a missing store is called.
    place: String,
}

/// Why a manifest does not lead to a store.
type Refusal = (FailureClass, String);

/// Opens an object store as its manifest says. Credentials come from where the manifest says and from nowhere else.
pub(crate) fn open(backend: &Backend, values: &CredentialValues) -> Result<ObjectStore, Failure> {
    let opened = match backend.store.kind {
        StoreKind::Azblob => azblob(backend, values),
        StoreKind::Gcs => gcs(backend, values),
        _ => memory(backend),
    };
    let opened = opened.map_err(|(class, message)| Failure::of_backend(class, &backend.name, message))?;
    let operator = opened
        .operator
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
        redactor: Redactor::of(opened.secrets.iter().map(String::as_str)),
        anonymous: opened.anonymous,
        guarded: opened.guarded,
        place: opened.place,
        // Where nothing outside this process writes, there is nothing to try out.
        proven: Arc::default(),
    })
}

fn memory(backend: &Backend) -> Result<Opened, Refusal> {
    let root = backend.store.option("root");
    let operator = Operator::new(Memory::default().root(root)).map_err(broken)?;
    Ok(Opened {
        operator,
        secrets: Vec::new(),
        anonymous: false,
        guarded: true,
        place: format!("root `{root}`"),
    })
}

fn azblob(backend: &Backend, values: &CredentialValues) -> Result<Opened, Refusal> {
    let keys = resolve(backend, values).map_err(refused)?;
    let option = |name: &str| backend.store.option(name).trim().to_owned();
    let container = option("container");
    let endpoint = match (option("endpoint"), &keys) {
        (endpoint, Some(keys)) if endpoint.is_empty() => {
            format!("https://{}.blob.core.windows.net", keys.access_key_id)
        }
        (endpoint, _) => endpoint,
    };
    let mut builder = Azblob::default()
        .container(&container)
        .endpoint(&endpoint)
        .root(&option("root"));
    builder = match &keys {
        Some(keys) => builder
            .account_name(&keys.access_key_id)
            .account_key(&keys.secret_access_key),
        None => builder.skip_signature(),
    };
    let operator = Operator::new(builder).map_err(broken)?;
    Ok(Opened {
        operator: over_http(operator, endpoint.starts_with("https:"))?,
        // The account is part of the address and no secret.
        secrets: keys.iter().map(|keys| keys.secret_access_key.clone()).collect(),
        anonymous: keys.is_none(),
        guarded: endpoint.starts_with("https:"),
        place: format!("container `{container}`"),
    })
}

fn gcs(backend: &Backend, values: &CredentialValues) -> Result<Opened, Refusal> {
    let document = resolve_document(backend, "SERVICE_ACCOUNT", values).map_err(refused)?;
    let option = |name: &str| backend.store.option(name).trim().to_owned();
    let (bucket, endpoint) = (option("bucket"), option("endpoint"));
    let mut builder = Gcs::default()
        .bucket(&bucket)
        .endpoint(&endpoint)
        .root(&option("root"))
        .disable_config_load()
        .disable_vm_metadata();
    builder = match &document {
        Some(document) => builder.credential(&BASE64_STANDARD.encode(document)),
        None => builder.skip_signature(),
    };
    let operator = Operator::new(builder).map_err(broken)?;
    // Tokens come from Google whatever the endpoint is.
    let with_tls = document.is_some() || !endpoint.starts_with("http:");
    Ok(Opened {
        operator: over_http(operator, with_tls)?,
        anonymous: document.is_none(),
        guarded: !endpoint.starts_with("http:"),
        secrets: document.into_iter().collect(),
        place: format!("bucket `{bucket}`"),
    })
}

fn refused(message: String) -> Refusal {
    (FailureClass::CredentialsRefused, message)
}

/// OpenDAL's own words have no secret in them: it refuses a key without showing it.
fn broken(error: opendal::Error) -> Refusal {
    (FailureClass::StoreMissing, error.message().to_owned())
}

/// By our own connections, so that one client with one way to do TLS serves every kind of store.
fn over_http(operator: Operator, with_tls: bool) -> Result<Operator, Refusal> {
    let http = Http::new(with_tls).map_err(|message| (FailureClass::StoreMissing, message))?;
    let context = OperationContext::new().with_http_transport(HttpTransporter::new(Transport(http)));
    Ok(operator.with_context(context))
}
