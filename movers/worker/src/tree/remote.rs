//! What a folder on another machine can do: the few verbs that WebDAV, FTP and SFTP share.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::listing::ListedKind;

/// Something that is asked of the other machine.
pub(crate) type Asked<'a, T> = BoxFuture<'a, Result<T, Trouble>>;

/// What a kind of remote folder can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// Whether it can be written to at all.
    pub writes: bool,
    /// Whether its rename refuses to overwrite if it is told to, as far as its protocol says.
    pub renames_exclusively: bool,
    /// Whether it removes a folder only if that is empty.
    pub removes_empty_folders: bool,
    /// Whether SSH or TLS notices bits that turn on the way.
    pub guards_way: bool,
}

/// One thing in a remote folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name in the folder; not of use where a path was looked at.
    pub name: String,
    /// Its bytes, if it is a file and they are told.
    pub size: Option<u64>,
    /// When it was changed, by the clock of that machine.
    pub modified_ms: Option<i64>,
    /// What tells its state better than time and size, if there is something.
    pub etag: Option<String>,
    /// `None` for a folder.
    pub kind: Option<ListedKind>,
}

impl Entry {
    pub(crate) fn is_folder(&self) -> bool {
        self.kind.is_none()
    }

    pub(crate) fn is_file(&self) -> bool {
        self.kind == Some(ListedKind::File)
    }
}

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub kind: TroubleKind,
    /// In the words of the other machine.
    pub message: String,
}

/// The kinds of trouble that make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TroubleKind {
    /// Nothing is there.
    Gone,
    /// Something is there already.
    Exists,
    /// It may not be done.
    Denied,
    /// The credentials are not accepted.
    Credentials,
    /// There is no room.
    NoRoom,
    /// It cannot be held or named there.
    Name,
    /// It is another one than was asked for.
    Changed,
    /// The place cannot be used as its manifest says.
    Place,
    /// It may pass.
    Passing,
}

impl Trouble {
    pub(crate) fn new(kind: TroubleKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn passing(message: impl Into<String>) -> Self {
        Self::new(TroubleKind::Passing, message)
    }

    pub(crate) fn is(&self, kind: TroubleKind) -> bool {
        self.kind == kind
    }
}

/// Bytes that come.
pub(crate) trait Coming: Send {
    /// The next ones; `None` at the end.
    fn next(&mut self) -> Asked<'_, Option<Bytes>>;
}

/// A file that is being written.
pub(crate) trait Sending: Send {
    /// Appends.
    fn send(&mut self, bytes: Bytes) -> Asked<'_, ()>;
    /// Says that this was all, and waits until the other machine has it, durably where it can say so.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), Trouble>>;
}

/// A folder on another machine. Paths are below the root, without a `/` at either end; the root is the empty path.
pub(crate) trait Remote: fmt::Debug + Send + Sync {
    fn abilities(&self) -> Abilities;
    /// What lies at a path; `None` if nothing does.
    fn look<'a>(&'a self, path: &'a str) -> Asked<'a, Option<Entry>>;
    /// What lies in a folder.
    fn children<'a>(&'a self, folder: &'a str) -> Asked<'a, Vec<Entry>>;
    /// Reads a range that is not empty of a file, if it is in the state that was seen.
    fn read<'a>(&'a self, path: &'a str, range: Range<u64>, seen: &'a Entry) -> Asked<'a, Box<dyn Coming>>;
    /// Begins a file under a name that nobody else has.
    fn write<'a>(&'a self, path: &'a str, size: u64) -> Asked<'a, Box<dyn Sending>>;
    /// Renames a file; without `replace`, only if nothing is there, as far as the abilities say so.
    fn rename<'a>(&'a self, from: &'a str, to: &'a str, replace: bool) -> Asked<'a, ()>;
    /// Removes a file.
    fn remove<'a>(&'a self, path: &'a str) -> Asked<'a, ()>;
    /// Makes a folder in one that is there; `Exists` where one is.
    fn make_folder<'a>(&'a self, path: &'a str) -> Asked<'a, ()>;
    /// Removes a folder, which is empty for all that is known.
    fn remove_folder<'a>(&'a self, path: &'a str) -> Asked<'a, ()>;
}

/// A path of two parts.
pub(crate) fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// The whole path of what lies below a root, which begins with `/`. So does the path, also below the root `/` itself: what
/// does not is looked for by servers in the folder that they happen to be in.
pub(crate) fn below(root: &str, path: &str) -> String {
    if path.is_empty() {
        root.to_owned()
    } else {
        format!("{}/{path}", root.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_root_has_a_whole_path() {
        assert_eq!(below("/", "a/b"), "/a/b");
        assert_eq!(below("/data", "a"), "/data/a");
        assert_eq!(below("/data/", "a"), "/data/a");
        assert_eq!(below("/", ""), "/");
        assert_eq!(below("/data", ""), "/data");
    }
}
