//! What the answers of an S3 store mean, in words that hold no credential.

use domicile_movers::{Failure, FailureClass};
use http::StatusCode;

use super::S3Store;
use super::xml::Element;
use crate::blame::{NO_ROOM, REFUSED_KEYS, advice, failure, one_line};
use crate::http1::Broken;
use crate::role::Role;

/// Codes that are about the bucket.
const NO_STORE: [&str; 4] = [
    "NoSuchBucket",
    "InvalidBucketName",
    "PermanentRedirect",
    "AllAccessDisabled",
];

/// What a store answered instead of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// `None` if no answer came.
    pub status: Option<StatusCode>,
    /// Its code, such as `NoSuchKey`; empty where it gave none.
    pub code: String,
    /// Its own words, or what broke the connection.
    pub message: String,
}

impl Refused {
    pub(super) fn answered(status: StatusCode, body: &[u8]) -> Self {
        let error = Element::parse(body).filter(|error| error.name == "Error");
        let field = |name: &str| {
            let text = error.as_ref().and_then(|error| error.text_of(name));
            text.unwrap_or_default().trim().to_owned()
        };
        Self {
            status: Some(status),
            code: field("Code"),
            message: field("Message"),
        }
    }

    pub(super) fn is(&self, status: StatusCode) -> bool {
        self.status == Some(status)
    }

    /// Whether the same request may well succeed in a moment: the store was busy, or the connection broke.
    pub(super) fn may_pass(&self) -> bool {
        let Some(status) = self.status else { return true };
        let of_the_way = [
            "RequestTimeout",
            "BadDigest",
            "IncompleteBody",
            "InternalError",
            "SlowDown",
        ];
        status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
            || status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT
            || of_the_way.contains(&self.code.as_str())
    }

    fn detail(&self) -> String {
        let status = || match self.status {
            Some(status) => format!("the store answered {status}"),
            None => "the store gave no answer".to_owned(),
        };
        let text = match (self.code.as_str(), self.message.as_str()) {
            ("", "") => status(),
            ("", message) => format!("{}: {message}", status()),
            (code, "") => code.to_owned(),
            (code, message) => format!("{message} ({code})"),
        };
        one_line(&text)
    }
}

impl From<Broken> for Refused {
    fn from(broken: Broken) -> Self {
        Self {
            status: None,
            code: String::new(),
            message: broken.0,
        }
    }
}

impl S3Store {
    pub(super) fn failure(&self, class: FailureClass, path: Option<&str>, message: &str) -> Failure {
        failure((&self.backend, &self.redactor), class, path, message)
    }

    /// A refusal in the words of whoever runs the store. `doing` ends the sentence "cannot …".
    pub(super) fn failed(&self, role: Role, path: Option<&str>, doing: &str, refused: &Refused) -> Failure {
        let class = class(role, refused);
        let advice = match class {
            FailureClass::CredentialsRefused if refused.code == "RequestTimeTooSkewed" => {
                "; set the clocks of this machine and of the store"
            }
            _ if refused.status.is_some_and(|status| status.is_redirection()) => {
                "; the bucket is served at another address: correct `endpoint` and `region`"
            }
            class => advice(class, self.signer.is_none()),
        };
        let place = if class == FailureClass::StoreMissing {
            format!(" (bucket `{}`)", self.bucket)
        } else {
            String::new()
        };
        let blamed = path.filter(|_| {
            !matches!(
                class,
                FailureClass::StoreMissing | FailureClass::CredentialsRefused
            )
        });
        self.failure(
            class,
            blamed,
            &format!("cannot {doing}{place}: {}{advice}", refused.detail()),
        )
    }

    /// An answer that S3 does not give.
    pub(super) fn odd_answer(&self, path: Option<&str>, what: &str) -> Failure {
        let message = format!("the store's answer is no S3: {what}");
        self.failure(FailureClass::Transient, path, &message)
    }

    pub(super) fn changed(&self, path: &str) -> Failure {
        let message = "it was changed while it was read";
        self.failure(FailureClass::Transient, Some(path), message)
    }
}

fn class(role: Role, refused: &Refused) -> FailureClass {
    use FailureClass::{
        CredentialsRefused, KeyRefused, SourceGone, SourceUnreadable, StoreMissing, TargetDenied, TargetFull,
        Transient,
    };
    let side = |source, target| if role == Role::Source { source } else { target };
    let code = refused.code.as_str();
    match refused.status {
        _ if REFUSED_KEYS.contains(&code) => CredentialsRefused,
        _ if NO_ROOM.contains(&code) => side(Transient, TargetFull),
        _ if NO_STORE.contains(&code) => StoreMissing,
        _ if code == "KeyTooLongError" => KeyRefused,
        Some(StatusCode::NOT_FOUND) => side(SourceGone, Transient),
        Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED) => {
            side(SourceUnreadable, TargetDenied)
        }
        Some(StatusCode::INSUFFICIENT_STORAGE) => side(Transient, TargetFull),
        _ => Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_s_own_words_are_found() {
        let body = b"<Error><Code>NoSuchBucket</Code><Message>The \"b\" is\n not</Message></Error>";
        let refused = Refused::answered(StatusCode::NOT_FOUND, body);
        assert_eq!(refused.detail(), "The \"b\" is not (NoSuchBucket)");
        assert_eq!(class(Role::Target, &refused), FailureClass::StoreMissing);
        let page = Refused::answered(StatusCode::BAD_GATEWAY, b"<html>oops");
        assert_eq!(page.detail(), "the store answered 502 Bad Gateway");
        assert!(page.may_pass() && !refused.may_pass());
    }

    #[test]
    fn each_class_is_one_that_the_side_can_be_blamed_for() {
        let refused = |status: u16, code: &str| Refused {
            status: StatusCode::from_u16(status).ok(),
            code: code.to_owned(),
            message: String::new(),
        };
        for (status, code, source, target) in [
            (
                403,
                "SignatureDoesNotMatch",
                FailureClass::CredentialsRefused,
                FailureClass::CredentialsRefused,
            ),
            (
                403,
                "AccessDenied",
                FailureClass::SourceUnreadable,
                FailureClass::TargetDenied,
            ),
            (
                404,
                "NoSuchKey",
                FailureClass::SourceGone,
                FailureClass::Transient,
            ),
            (
                400,
                "EntityTooLarge",
                FailureClass::Transient,
                FailureClass::TargetFull,
            ),
            (507, "", FailureClass::Transient, FailureClass::TargetFull),
            (503, "SlowDown", FailureClass::Transient, FailureClass::Transient),
            (
                400,
                "KeyTooLongError",
                FailureClass::KeyRefused,
                FailureClass::KeyRefused,
            ),
        ] {
            let refused = refused(status, code);
            assert_eq!(class(Role::Source, &refused), source, "{code}");
            assert_eq!(class(Role::Target, &refused), target, "{code}");
        }
    }
}
