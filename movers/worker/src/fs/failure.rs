//! What the errors of a file system mean.

use domicile_movers::{Failure, FailureClass};
use rustix::io::Errno;

use super::FsStore;
use crate::role::Role;

impl FsStore {
    /// An error of the file system, in the words of whoever runs it. `doing` ends the sentence "cannot …".
    pub(super) fn failed(&self, role: Role, path: &str, doing: &str, errno: Errno) -> Failure {
        let (class, what) = meaning(role, errno);
        Failure::of_object(class, &self.backend, path, format!("cannot {doing}: {what}"))
    }

    pub(super) fn failed_io(&self, role: Role, path: &str, doing: &str, error: &std::io::Error) -> Failure {
        let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        self.failed(role, path, doing, errno)
    }

    /// An error about the root or a folder that no single object is to blame for.
    pub(super) fn failed_folder(&self, role: Role, doing: &str, errno: Errno) -> Failure {
        let (class, what) = meaning(role, errno);
        Failure::of_backend(class, &self.backend, format!("cannot {doing}: {what}"))
    }
}

fn meaning(role: Role, errno: Errno) -> (FailureClass, String) {
    use FailureClass::{
        KeyRefused, SourceGone, SourceUnreadable, TargetConflict, TargetCorrupts, TargetDenied, TargetFull,
        Transient,
    };
    let (source, target, what) = match errno {
        Errno::NOENT => (SourceGone, Transient, "it is not there"),
        Errno::ACCESS | Errno::PERM => (
            SourceUnreadable,
            TargetDenied,
            "permission denied; give the mover's user access",
        ),
        Errno::ROFS => (
            SourceUnreadable,
            TargetDenied,
            "the file system is mounted read-only",
        ),
        Errno::NOSPC => (
            Transient,
            TargetFull,
            "no space left on the file system; free some or lower the capacity",
        ),
        Errno::DQUOT => (Transient, TargetFull, "the disk quota is used up"),
        Errno::FBIG => (
            Transient,
            TargetFull,
            "the file system holds no file of this size",
        ),
        Errno::LOOP => (
            SourceUnreadable,
            TargetConflict,
            "a symbolic link lies on its path; links are not followed",
        ),
        Errno::NOTDIR => (SourceGone, TargetConflict, "a part of its path is no folder"),
        Errno::ISDIR | Errno::NOTEMPTY => (SourceUnreadable, TargetConflict, "a folder lies there"),
        Errno::NAMETOOLONG => (
            KeyRefused,
            KeyRefused,
            "the file system holds no name of this length",
        ),
        Errno::ILSEQ | Errno::INVAL => (
            SourceUnreadable,
            KeyRefused,
            "the file system does not hold this name",
        ),
        Errno::IO => (
            SourceUnreadable,
            TargetCorrupts,
            "the disk reports an input/output error",
        ),
        _ => (Transient, Transient, ""),
    };
    let class = if role == Role::Source { source } else { target };
    let what = if what.is_empty() {
        std::io::Error::from(errno).to_string()
    } else {
        what.to_owned()
    };
    (class, what)
}
