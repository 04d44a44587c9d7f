//! Nothing that opens a store may be read in what is shown.

use std::fmt;
use std::sync::Arc;

/// Takes secrets out of texts that other software wrote.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    secrets: Arc<[String]>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(…)")
    }
}

impl Redactor {
    pub(crate) fn of<'a>(secrets: impl Iterator<Item = &'a str>) -> Self {
        Self {
            secrets: secrets
                .filter(|secret| !secret.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }

    /// The text without secrets, and without the query and user parts of URLs, which carry signatures and
    /// passwords.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.iter() {
            text = text.replace(secret.as_str(), "…");
        }
        text.split(' ').map(redact_word).collect::<Vec<_>>().join(" ")
    }
}

fn redact_word(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else {
        return word.to_owned();
    };
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?…"));
    let host_end = rest.find('/').unwrap_or(rest.len());
    let rest = rest[..host_end].rfind('@').map_or(rest, |at| &rest[at + 1..]);
    format!("{scheme}://{rest}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_queries_and_passwords_do_not_pass() {
        let redactor = Redactor::of(["AKIA1", "s/e+c", ""].into_iter());
        let shown = redactor.redact(
            "the key AKIA1 at https://user:pw@host:9000/b/o?X-Amz-Signature=abc is wrong (s/e+c), see http://h/a@b",
        );
        assert_eq!(
            shown,
            "the key … at https://host:9000/b/o?… is wrong (…), see http://h/a@b"
        );
        assert!(!format!("{redactor:?}").contains("AKIA1"));
    }
}
