//! Opening a store: from a manifest's words to an address. It asks nothing of the store.

use std::sync::Arc;

use domicile_estate::Backend;
use domicile_movers::{Failure, FailureClass};
use http::Uri;
use http::uri::Scheme;

use super::sign::Signer;
use super::{Endpoint, S3Store};
use crate::credentials::{CredentialValues, Keys, resolve};
use crate::http1::Http;
use crate::redact::Redactor;

/// The region where a manifest names none.
const REGION: &str = "us-east-1";

/// Opens an S3 store as its manifest says. Credentials come from where the manifest says and from nowhere else.
pub(crate) fn open(backend: &Backend, values: &CredentialValues) -> Result<S3Store, Failure> {
    let refused = |class, message| Failure::of_backend(class, &backend.name, message);
    let keys =
        resolve(backend, values).map_err(|message| refused(FailureClass::CredentialsRefused, message))?;
    let redactor = Redactor::of(keys.iter().flat_map(Keys::secrets));
    let option = |name: &str| backend.store.option(name).trim().to_owned();
    let region = Some(option("region")).filter(|region| !region.is_empty());
    let missing = |message: String| refused(FailureClass::StoreMissing, redactor.redact(&message));
    let bucket = option("bucket");
    if bucket.is_empty() {
        return Err(missing("its manifest names no bucket".to_owned()));
    }
    let endpoint = endpoint(&option("endpoint"), region.as_deref()).map_err(missing)?;
    let http = Http::new(endpoint.scheme == Scheme::HTTPS).map_err(missing)?;
    let root = match option("root").trim_matches('/') {
        "" => String::new(),
        root => format!("{root}/"),
    };
    let signer = keys.map(|keys| Arc::new(Signer::new(keys, region.unwrap_or_else(|| REGION.to_owned()))));
    Ok(S3Store {
        backend: backend.name.clone(),
        http,
        signer,
        redactor,
        endpoint,
        bucket,
        root,
        learnt: Arc::default(),
    })
}

/// Without an endpoint it is AWS.
fn endpoint(text: &str, region: Option<&str>) -> Result<Endpoint, String> {
    let text = match text {
        "" => format!("https://s3.{}.amazonaws.com", region.unwrap_or(REGION)),
        text if text.contains("://") => text.to_owned(),
        text => format!("https://{text}"),
    };
    let broken = || format!("its endpoint `{text}` is no address");
    let uri: Uri = text.parse().map_err(|_| broken())?;
    let path = uri.path().trim_end_matches('/').to_owned();
    let parts = uri.into_parts();
    let scheme = parts.scheme.ok_or_else(broken)?;
    if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
        return Err(broken());
    }
    let authority = parts.authority.ok_or_else(broken)?;
    // A user and password in an address would be shown in every error.
    if authority.as_str().contains('@') {
        return Err("its endpoint has a user in it: give `credentials` instead".to_owned());
    }
    Ok(Endpoint {
        scheme,
        authority,
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_people_write_them() {
        let read = |text: &str, region| {
            let endpoint = endpoint(text, region).unwrap();
            format!("{}://{}{}", endpoint.scheme, endpoint.authority, endpoint.path)
        };
        assert_eq!(read("", Some("eu-west-1")), "https://s3.eu-west-1.amazonaws.com");
        assert_eq!(read("s3.example.org", None), "https://s3.example.org");
        assert_eq!(read("http://127.0.0.1:8333/", None), "http://127.0.0.1:8333");
        assert_eq!(read("https://h/store/", None), "https://h/store");
        for bad in ["ftp://h", "http://u:p@h", "http://", "a b"] {
            assert!(endpoint(bad, None).is_err(), "{bad}");
        }
    }
}
