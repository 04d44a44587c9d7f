//! Names as types, so that a backend's name is never taken for a dataset's.

use std::fmt;
use std::sync::Arc;

/// Longest name of a manifest object: a DNS-1123 subdomain, as in Kubernetes.
const MANIFEST_NAME_MAX: usize = 253;
/// Longest name of a dataset, in bytes. Inventories bring names that are no DNS names.
const DATASET_NAME_MAX: usize = 200;

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name must not be empty")]
    Empty,
    /// The text has more bytes than a name may have.
    #[error("a name has at most {max} bytes, this one has {bytes}")]
    TooLong {
        /// Bytes in the text.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The text is no DNS-1123 subdomain.
    #[error(
        "`{text}` is no valid name: use lower case letters, digits, `-` and `.`, and begin and end with a letter or digit"
    )]
    NotDns {
        /// What was given.
        text: String,
    },
    /// The text has a slash or a control character, or is one of the reserved names.
    #[error(
        "`{text}` is no valid dataset name: no slash, no control character, not `.`, `..` or `.domicile…`"
    )]
    NotADatasetName {
        /// What was given, control characters escaped.
        text: String,
    },
}

fn check_dns(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MANIFEST_NAME_MAX {
        return Err(NameError::TooLong {
            bytes: text.len(),
            max: MANIFEST_NAME_MAX,
        });
    }
    let label_ok = |label: &str| {
        let alnum = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = label.as_bytes();
        matches!((bytes.first(), bytes.last()), (Some(first), Some(last)) if alnum(*first) && alnum(*last))
            && bytes.iter().all(|c| alnum(*c) || *c == b'-')
    };
    if text.split('.').all(label_ok) {
        Ok(())
    } else {
        Err(NameError::NotDns {
            text: text.escape_debug().to_string(),
        })
    }
}

fn check_dataset(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > DATASET_NAME_MAX {
        return Err(NameError::TooLong {
            bytes: text.len(),
            max: DATASET_NAME_MAX,
        });
    }
    let reserved = text == "." || text == ".." || text.starts_with(".domicile");
    if reserved || text.contains('/') || text.chars().any(char::is_control) {
        return Err(NameError::NotADatasetName {
            text: text.escape_debug().to_string(),
        });
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a text as a name.
            ///
            /// # Errors
            /// [`NameError`] says what is wrong with the text.
            pub fn new(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same text, shared.
            #[must_use]
            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// The name of a domain: an organisation that keeps control of its own storage.
    DomainName,
    check_dns
);
name_type!(
    /// The name of a backend: one place that stores objects.
    BackendName,
    check_dns
);
name_type!(
    /// The name of a link: what is said of the way between backends.
    LinkName,
    check_dns
);
name_type!(
    /// The name of a replication policy.
    PolicyName,
    check_dns
);
name_type!(
    /// The name of a dataset: any text of at most 200 bytes without slashes and control characters, for
    /// inventories bring names such as `libstdc++6`. It is the first folder of every copy's path.
    DatasetName,
    check_dataset
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_names_are_dns_names() {
        for good in ["a", "giessen-fs", "a.b-c.d1", "0ad"] {
            assert!(BackendName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "-a", "a-", "a..b", "a_b", "a/b", "ä", "a\n"] {
            assert!(BackendName::new(bad).is_err(), "{bad:?}");
        }
        assert!(BackendName::new(&"a".repeat(254)).is_err());
    }

    #[test]
    fn dataset_names_are_any_text_that_can_be_one_folder() {
        for good in ["libstdc++6", "Größe 2", "a%b", "x", ".hidden", "…"] {
            assert!(DatasetName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".domicile", ".domicile-x", "a/b", "a\nb", "\0"] {
            assert!(DatasetName::new(bad).is_err(), "{bad:?}");
        }
        assert!(DatasetName::new(&"ä".repeat(101)).is_err());
    }
}
