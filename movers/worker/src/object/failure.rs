//! What the errors of an object store mean, in words that hold no credential.

use domicile_movers::{Failure, FailureClass};
use opendal::{Error, ErrorKind};

use super::ObjectStore;
use crate::blame::{NO_ROOM, REFUSED_KEYS, advice, failure, one_line};
use crate::role::Role;

/// Codes of Azure that say that the keys are not accepted, or nothing may be done with them. Source: the list of common
/// error codes in the reference of Azure Storage.
const REFUSED_ACCOUNTS: [&str; 5] = [
    "AuthenticationFailed",
    "AuthorizationFailure",
    "InvalidAuthenticationInfo",
    "NoAuthenticationInformation",
    "AccountIsDisabled",
];

impl ObjectStore {
    pub(super) fn failure(&self, class: FailureClass, path: Option<&str>, message: String) -> Failure {
        failure((&self.backend, &self.redactor), class, path, &message)
    }

    /// An error of the store, in the words of whoever runs it. `doing` ends the sentence "cannot …".
    pub(super) fn failed(&self, role: Role, path: Option<&str>, doing: &str, error: &Error) -> Failure {
        let code = s3_field(error.message(), "code");
        let class = self.class(role, error, code.as_deref().unwrap_or_default());
        let advice = advice(class, self.anonymous);
        let place = if class == FailureClass::StoreMissing {
            format!(" ({})", self.place)
        } else {
            String::new()
        };
        self.failure(
            class,
            path,
            format!(
                "cannot {doing}{place}: {}{advice}",
                detail(error, code.as_deref())
            ),
        )
    }

    fn class(&self, role: Role, error: &Error, code: &str) -> FailureClass {
        use FailureClass::{
            CredentialsRefused, KeyRefused, SourceGone, SourceUnreadable, StoreMissing, TargetConflict,
            TargetDenied, TargetFull, Transient,
        };
        let side = |source, target| if role == Role::Source { source } else { target };
        if REFUSED_KEYS.contains(&code) || REFUSED_ACCOUNTS.contains(&code) {
            return CredentialsRefused;
        }
        if NO_ROOM.contains(&code) {
            return side(Transient, TargetFull);
        }
        if code == "KeyTooLongError" {
            return KeyRefused;
        }
        match error.kind() {
            ErrorKind::NotFound => side(SourceGone, Transient),
            ErrorKind::PermissionDenied => side(SourceUnreadable, TargetDenied),
            ErrorKind::ConfigInvalid => StoreMissing,
            ErrorKind::IsADirectory | ErrorKind::NotADirectory => side(SourceGone, TargetConflict),
            _ => Transient,
        }
    }
}

/// A field of the S3 error that OpenDAL prints into its message.
fn s3_field(message: &str, field: &str) -> Option<String> {
    let rest = message.split_once(&format!("{field}: \""))?.1;
    let mut value = String::new();
    let mut escaped = false;
    for c in rest.chars() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some(value).filter(|value| !value.is_empty()),
            c => value.push(c),
        }
    }
    None
}

fn detail(error: &Error, code: Option<&str>) -> String {
    let text = match (code, s3_field(error.message(), "message")) {
        (Some(code), Some(message)) => format!("{message} ({code})"),
        (Some(code), None) => code.to_owned(),
        (None, _) if error.message().trim().is_empty() || error.message().contains("S3Error") => {
            format!("the store said {}", kind_in_words(error.kind()))
        }
        // The innermost cause says what happened ("connection refused"); what wraps it says where, with URLs.
        (None, _) => match innermost(error) {
            Some(cause) => format!("{}: {cause}", error.message().trim()),
            None => error.message().trim().to_owned(),
        },
    };
    one_line(&text)
}

fn kind_in_words(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "that it is not there",
        ErrorKind::PermissionDenied => "that access is denied",
        ErrorKind::RateLimited => "that it is asked too often",
        ErrorKind::ConditionNotMatch => "that it was changed meanwhile",
        _ => "nothing about the cause",
    }
}

fn innermost(error: &Error) -> Option<String> {
    let mut cause = std::error::Error::source(error)?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Some(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_s_own_words_are_found() {
        let message =
            r#"S3Error { code: "NoSuchBucket", message: "The \"b\" is not", resource: "", request_id: "1" }"#;
        assert_eq!(s3_field(message, "code").as_deref(), Some("NoSuchBucket"));
        assert_eq!(s3_field(message, "message").as_deref(), Some("The \"b\" is not"));
        assert_eq!(s3_field(message, "resource"), None);
        assert_eq!(s3_field("plain", "code"), None);
    }
}
