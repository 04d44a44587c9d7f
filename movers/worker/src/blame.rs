//! What drivers of object stores say alike of a refusal, in words that hold no credential.

use domicile_estate::BackendName;
use domicile_movers::{Failure, FailureClass};

use crate::redact::Redactor;

/// Codes of S3 that say that the keys are not accepted. Source: the list of error codes in the S3 API reference.
pub(crate) const REFUSED_KEYS: [&str; 8] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "AuthorizationHeaderMalformed",
    "InvalidSecurity",
    "RequestTimeTooSkewed",
];
/// Codes that say that there is no room.
pub(crate) const NO_ROOM: [&str; 5] = [
    "InsufficientStorage",
    "QuotaExceeded",
    "EntityTooLarge",
    "XMinioStorageFull",
    "InsufficientCapacity",
];
/// Longest text of a store that is passed on, in characters.
const DETAIL_MAX: usize = 300;

/// A failure of an object, or of the whole backend where no path is given.
pub(crate) fn failure(
    (backend, redactor): (&BackendName, &Redactor),
    class: FailureClass,
    path: Option<&str>,
    message: &str,
) -> Failure {
    let message = redactor.redact(message);
    match path {
        Some(path) => Failure::of_object(class, backend, path, message),
        None => Failure::of_backend(class, backend, message),
    }
}

/// What to do about it, as the end of a sentence; empty where nothing is known to help.
pub(crate) fn advice(class: FailureClass, anonymous: bool) -> &'static str {
    match class {
        FailureClass::StoreMissing => "; create the bucket or correct the manifest",
        FailureClass::TargetFull => {
            "; there is no room: make some, or give its manifest the capacity that it has"
        }
        FailureClass::CredentialsRefused => "; check the backend's credentials",
        FailureClass::SourceUnreadable | FailureClass::TargetDenied if anonymous => {
            "; no credentials are given for this backend: add `credentials`"
        }
        FailureClass::SourceUnreadable | FailureClass::TargetDenied => "; give the key more rights",
        _ => "",
    }
}

/// A text of a store in one line, cut where it is too long.
pub(crate) fn one_line(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(DETAIL_MAX) {
        Some((end, _)) => format!("{}…", &one_line[..end]),
        None => one_line,
    }
}
