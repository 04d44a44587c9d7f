//! Opening a store: from a manifest's words to an operator. It asks nothing of the store.

use std::time::Duration;

use domicile_estate::{Backend, StoreKind};
use domicile_movers::{Failure, FailureClass};
use opendal::layers::{RetryEvent, RetryLayer, TimeoutLayer};
use opendal::services::{Memory, S3};
use opendal::{HttpTransporter, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;

use super::ObjectStore;
use crate::credentials::{CredentialValues, Keys, resolve};
use crate::redact::Redactor;

/// How long a store may take to answer.
const ANSWER: Duration = Duration::from_secs(60);
/// How long one part may take: 8 MiB at 70 KB/s.
const PART: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(15);
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
        _ => open_s3(backend, keys.as_ref()),
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
        place: format!("bucket `{}`", backend.store.option("bucket")),
    })
}

fn open_s3(backend: &Backend, keys: Option<&Keys>) -> Result<Operator, String> {
    let store = &backend.store;
    let region = Some(store.option("region"))
        .filter(|region| !region.is_empty())
        .unwrap_or("us-east-1");
    let mut s3 = S3::default()
        .bucket(store.option("bucket"))
        .endpoint(store.option("endpoint"))
        .region(region)
        .root(store.option("root"))
        // Credentials come from where the manifest says and from nowhere else: not from the environment, a
        // profile or the machine's metadata service.
        .disable_config_load()
        .disable_ec2_metadata();
    s3 = match keys {
        None => s3.skip_signature(),
        Some(keys) => {
            let signed = s3
                .access_key_id(&keys.access_key_id)
                .secret_access_key(&keys.secret_access_key);
            match &keys.session_token {
                Some(token) => signed.session_token(token),
                None => signed,
            }
        }
    };
    let operator = Operator::new(s3).map_err(|error| error.message().to_owned())?;
    let context = operator.context().with_http_transport(transport()?);
    Ok(operator.with_context(context))
}

/// An HTTP client of the store's own: TLS by rustls with ring, which a C compiler alone can build.
fn transport() -> Result<HttpTransporter, String> {
    // The first one wins, and this is the only one that the process has.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .build()
        .map_err(|error| format!("cannot set up TLS: {error}"))?;
    Ok(HttpTransporter::new(ReqwestTransport::new(client)))
}
