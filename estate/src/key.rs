//! Keys of objects, and which stores can hold them byte for byte.

use std::fmt;
use std::sync::Arc;

use crate::{DatasetName, StoreKind};

/// How the names of our temporary files begin. No object may be called so, for a sweep would delete it.
pub const TEMPORARY_PREFIX: &str = ".domicile-";

/// Longest file name that common file systems hold, in bytes.
const COMPONENT_MAX: usize = 255;
/// Longest path below a root that we write, in bytes: Linux's `PATH_MAX` of 4096 less room for the root.
const FS_PATH_MAX: usize = 3072;
/// Longest key of an S3 object, in bytes.
const S3_KEY_MAX: usize = 1024;

/// The key of an object: its path below the origin's prefix, as valid UTF-8, without anything that a path can
/// be changed by (`..`, empty parts, a leading slash).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Arc<str>);

/// Why a store cannot hold a key byte for byte. Nothing is mapped or merged: such a key is refused by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// The key is empty.
    #[error("a key must not be empty")]
    Empty,
    /// The key begins with a slash.
    #[error("a key must not begin with `/`")]
    Absolute,
    /// The key ends with a slash, or has two in a row.
    #[error("a key must not have an empty part (`//` or a `/` at the end)")]
    EmptyPart,
    /// The key has a part `.` or `..`.
    #[error("a key must not have a part `.` or `..`")]
    DotPart,
    /// The key has a NUL byte.
    #[error("a key must not contain NUL")]
    Nul,
    /// A part is longer than a file name can be.
    #[error("a part of the key has {bytes} bytes, file names have at most {COMPONENT_MAX}")]
    PartTooLong {
        /// Bytes in the longest part.
        bytes: usize,
    },
    /// A part begins as our temporary files do.
    #[error("names that begin with `{TEMPORARY_PREFIX}` are kept for temporary files")]
    Temporary,
    /// The whole path is too long for the kind of store.
    #[error("the path has {bytes} bytes, a {kind} backend holds at most {max}")]
    TooLong {
        /// Bytes in dataset name, slash and key.
        bytes: usize,
        /// Bytes that the store can hold.
        max: usize,
        /// The kind of store.
        kind: StoreKind,
    },
    /// The key has a character that the protocol of the store ends its lines by, or that servers of it drop.
    #[error("the key has a line break or another control character, which a {kind} backend cannot name")]
    Control {
        /// The kind of store.
        kind: StoreKind,
    },
    /// The path begins or ends with white space, which the storage library trims.
    #[error("the path begins or ends with white space, which a {kind} backend cannot hold byte for byte")]
    OuterWhiteSpace {
        /// The kind of store.
        kind: StoreKind,
    },
}

impl ObjectKey {
    /// Takes a text as a key.
    ///
    /// # Errors
    /// [`KeyRefusal`] for a key that no store could hold byte for byte.
    pub fn new(text: &str) -> Result<Self, KeyRefusal> {
        if text.is_empty() {
            return Err(KeyRefusal::Empty);
        }
        if text.starts_with('/') {
            return Err(KeyRefusal::Absolute);
        }
        if text.contains('\0') {
            return Err(KeyRefusal::Nul);
        }
        for part in text.split('/') {
            match part {
                "" => return Err(KeyRefusal::EmptyPart),
                "." | ".." => return Err(KeyRefusal::DotPart),
                _ if part.len() > COMPONENT_MAX => {
                    return Err(KeyRefusal::PartTooLong { bytes: part.len() });
                }
                _ if part.starts_with(TEMPORARY_PREFIX) => return Err(KeyRefusal::Temporary),
                _ => {}
            }
        }
        if text.len() > FS_PATH_MAX {
            return Err(KeyRefusal::TooLong {
                bytes: text.len(),
                max: FS_PATH_MAX,
                kind: StoreKind::Fs,
            });
        }
        Ok(Self(Arc::from(text)))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The path of this object in a copy: `<dataset>/<key>`, below the backend's root.
    #[must_use]
    pub fn path_in_copy(&self, dataset: &DatasetName) -> String {
        format!("{dataset}/{self}")
    }

    /// Whether a store of this kind can hold a copy of the object byte for byte under its path.
    ///
    /// # Errors
    /// [`KeyRefusal`] names what the store would trim, fold or refuse. Sources: the S3 API reference (1,024 bytes),
    /// `normalize_path` of OpenDAL 0.59 (trims outer white space), RFC 959 (a command is a line), and wsgidav 4.3,
    /// which drops line breaks and tabs from names.
    pub fn fits(&self, dataset: &DatasetName, kind: StoreKind) -> Result<(), KeyRefusal> {
        let path = self.path_in_copy(dataset);
        let max = match kind {
            StoreKind::Fs | StoreKind::Webdav | StoreKind::Sftp | StoreKind::Ftp | StoreKind::Http => {
                FS_PATH_MAX
            }
            StoreKind::S3 | StoreKind::Azblob | StoreKind::Gcs => S3_KEY_MAX,
            StoreKind::Memory => usize::MAX,
        };
        if path.len() > max {
            return Err(KeyRefusal::TooLong {
                bytes: path.len(),
                max,
                kind,
            });
        }
        let cannot_be_named = match kind {
            StoreKind::Ftp => path.contains(['\r', '\n']),
            StoreKind::Webdav => path.chars().any(char::is_control),
            _ => false,
        };
        if cannot_be_named {
            return Err(KeyRefusal::Control { kind });
        }
        if kind != StoreKind::Fs && path.trim() != path {
            return Err(KeyRefusal::OuterWhiteSpace { kind });
        }
        Ok(())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_be_changed_by_a_path_are_refused() {
        let cases = [
            ("", KeyRefusal::Empty),
            ("/etc/passwd", KeyRefusal::Absolute),
            ("../x", KeyRefusal::DotPart),
            ("a/../../x", KeyRefusal::DotPart),
            ("./a", KeyRefusal::DotPart),
            ("a//b", KeyRefusal::EmptyPart),
            ("a/", KeyRefusal::EmptyPart),
            ("a\0b", KeyRefusal::Nul),
            ("d/.domicile-1", KeyRefusal::Temporary),
        ];
        for (text, refusal) in cases {
            assert_eq!(ObjectKey::new(text), Err(refusal), "{text:?}");
        }
        assert_eq!(
            ObjectKey::new(&"x".repeat(256)),
            Err(KeyRefusal::PartTooLong { bytes: 256 })
        );
    }

    #[test]
    fn odd_but_honest_keys_are_kept_as_they_are() {
        let long = ["abcdefghi"; 100].join("/");
        for text in [
            "a b",
            "a+b%20",
            "zeile\nzwei",
            "Größe/名前",
            "...",
            "-rf",
            "a\\b",
            " lead",
            &long,
        ] {
            assert_eq!(
                ObjectKey::new(text).map(|k| k.as_str().to_owned()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn a_store_that_trims_refuses_outer_white_space() {
        let dataset = DatasetName::new("d").expect("a name");
        let key = ObjectKey::new("a\n").expect("a key");
        assert!(key.fits(&dataset, StoreKind::Fs).is_ok());
        let broken = ObjectKey::new("a\tb\nc").unwrap();
        for kind in [StoreKind::Ftp, StoreKind::Webdav] {
            assert_eq!(broken.fits(&dataset, kind), Err(KeyRefusal::Control { kind }));
        }
        assert!(broken.fits(&dataset, StoreKind::Sftp).is_ok());
        assert_eq!(
            key.fits(&dataset, StoreKind::S3),
            Err(KeyRefusal::OuterWhiteSpace { kind: StoreKind::S3 })
        );
    }
}
