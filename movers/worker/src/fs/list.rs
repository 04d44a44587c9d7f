//! Listing, sweeping and deleting in a folder.

use std::os::unix::ffi::OsStrExt;

use domicile_estate::TEMPORARY_PREFIX;
use domicile_movers::{Failure, FailureClass};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::FsStore;
use super::paths::{open_below, open_one};
use super::stage::{is_locked_by_another, is_still_named, is_temporary_name};
use super::upload::is_upload_name;
use crate::listing::{Listed, ListedKind, PAGE};
use crate::one_place::{LEFT_BEHIND_MS, is_mark_size, is_place_mark};
use crate::role::Role;
use crate::store::{Version, Wanted};

/// Where the pages of a listing go; `false` says that nobody listens any more.
pub(super) type Pages<'a> = &'a mut dyn FnMut(Vec<Listed>) -> bool;

impl FsStore {
    /// Lists plain files, and what is none, below a prefix.
    pub(super) fn list(&self, prefix: &str, skip: &[String], pages: Pages<'_>) -> Result<(), Failure> {
        let root = self.root(Role::Source)?;
        let prefix = prefix.trim_end_matches('/');
        let at = |folder: &str, errno| self.failed(Role::Source, folder, "list the folder", errno);
        open_below(root, prefix).map_err(|errno| at(prefix, errno))?;
        let mut folders = vec![prefix.to_owned()];
        let mut page = Vec::new();
        while let Some(folder) = folders.pop() {
            let opened = self.open_root().and_then(|root| open_below(root, &folder));
            let fd = match opened {
                // It went away since its parent was read.
                Err(Errno::NOENT) if folder != prefix => continue,
                other => other.map_err(|errno| at(&folder, errno))?,
            };
            let mut entries = Dir::read_from(&fd).map_err(|errno| at(&folder, errno))?;
            while let Some(entry) = entries.read() {
                let entry = entry.map_err(|errno| at(&folder, errno))?;
                match describe(&fd, &folder, &entry).map_err(|errno| at(&folder, errno))? {
                    Found::Nothing => {}
                    Found::Folder(path) if is_skipped(&path, skip) => {}
                    Found::Folder(path) => folders.push(path),
                    Found::Listed(listed) if is_skipped(&listed.path, skip) => {}
                    Found::Listed(listed) => page.push(listed),
                }
                if page.len() >= PAGE && !pages(std::mem::take(&mut page)) {
                    return Ok(());
                }
            }
        }
        if !page.is_empty() {
            pages(page);
        }
        Ok(())
    }

    /// Whether the root is missing or has nothing in it but temporary files of ours and what a fresh file system
    /// brings.
    pub(super) fn has_nothing(&self) -> Result<bool, Failure> {
        let root = match self.open_root() {
            Ok(root) => root,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(true),
            Err(errno) => return Err(self.failed_folder(Role::Source, "open the root", errno)),
        };
        let failed = |errno| self.failed_folder(Role::Source, "list the root", errno);
        let mut entries = Dir::read_from(&root).map_err(failed)?;
        while let Some(entry) = entries.read() {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            let nothing: [&[u8]; 3] = [b".", b"..", b"lost+found"];
            if !nothing.contains(&name.as_slice()) && !name.starts_with(TEMPORARY_PREFIX.as_bytes()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes a plain file, durably; what is not there is removed.
    pub(super) fn remove(
        &self,
        path: &str,
        only: Option<&Version>,
        remove_emptied_folders: bool,
    ) -> Result<(), Failure> {
        let found = self.look(path, Role::Target)?;
        if found.is_some_and(|found| only.is_none_or(|only| found.version == *only)) {
            let at = |errno| self.failed(Role::Target, path, "delete it", errno);
            let (folder, name) = self.open_parent(path).map_err(at)?;
            match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(at(errno)),
            }
            self.syncs.sync(&folder).map_err(at)?;
        }
        if remove_emptied_folders {
            self.remove_emptied(path);
        }
        Ok(())
    }

    /// Removes temporary files below a folder that no living process writes, and returns their number. Folders stay:
    /// they may be somebody's.
    pub(super) fn sweep_below(&self, folder: &str) -> Result<u64, Failure> {
        self.root(Role::Target)?;
        let at = |errno| self.failed(Role::Target, folder, "sweep the folder", errno);
        let mut swept = 0;
        for path in self
            .temporary_below(folder, true, |name| {
                is_temporary_name(name) || is_place_mark(name)
            })
            .map_err(at)?
        {
            let removed = match self.open_parent(&path) {
                Ok((folder, name)) => remove_if_abandoned(&folder, name),
                // It went away since it was listed.
                Err(Errno::NOENT) => Ok(false),
                Err(errno) => Err(errno),
            };
            swept += u64::from(removed.map_err(at)?);
        }
        Ok(swept)
    }

    /// The paths of temporary files in a folder or, if `deep`, below it.
    pub(super) fn temporary_below(
        &self,
        folder: &str,
        deep: bool,
        is: fn(&str) -> bool,
    ) -> Result<Vec<String>, Errno> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        let mut next = 0;
        while let Some(path) = folders.get(next).cloned() {
            next += 1;
            let fd = match self.open_root().and_then(|root| open_below(root, &path)) {
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => continue,
                other => other?,
            };
            let (names, temporary) = folders_and_temporary(&fd, is)?;
            if deep {
                folders.extend(names.iter().map(|name| join(&path, name)));
            }
            found.extend(temporary.iter().map(|name| join(&path, name)));
        }
        Ok(found)
    }

    /// Writes a small file at the root, reads it back and removes it.
    pub(super) fn probe_write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let staged = self.stage(name, false)?;
        self.write(&staged, name, bytes)?;
        self.finish(&staged, name)?;
        let temporary = super::stage::temporary_name(name);
        let wanted = Wanted::whole(&temporary, Role::Target);
        let back = self.open_content(&wanted)?.into_first();
        if back.as_deref() == Some(bytes) {
            return Ok(());
        }
        let message = "gave back other bytes than were written; check the disk".to_owned();
        Err(Failure::of_backend(
            FailureClass::TargetCorrupts,
            &self.backend,
            message,
        ))
    }
}

enum Found {
    Nothing,
    Folder(String),
    Listed(Listed),
}

fn describe(folder: &OwnedFd, path: &str, entry: &rustix::fs::DirEntry) -> Result<Found, Errno> {
    let name = entry.file_name();
    let bytes = name.to_bytes();
    if bytes == b"." || bytes == b".." {
        return Ok(Found::Nothing);
    }
    let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        other => other?,
    };
    let file_type = FileType::from_raw_mode(stat.st_mode);
    let shown = std::ffi::OsStr::from_bytes(bytes).to_string_lossy().into_owned();
    let kind = match file_type {
        _ if name.to_str().is_err() => ListedKind::NotUtf8,
        FileType::Directory => return Ok(Found::Folder(join(path, &shown))),
        FileType::RegularFile
            if is_temporary_name(&shown) || is_upload_name(&shown) || is_place_mark(&shown) =>
        {
            return Ok(Found::Nothing);
        }
        FileType::RegularFile => ListedKind::File,
        FileType::Symlink => ListedKind::SymbolicLink,
        _ => ListedKind::Special,
    };
    let is_file = file_type == FileType::RegularFile;
    let size = if is_file {
        u64::try_from(stat.st_size).unwrap_or(0)
    } else {
        0
    };
    let milliseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0) / 1_000_000;
    let modified_ms = stat
        .st_mtime
        .checked_mul(1_000)
        .and_then(|ms| ms.checked_add(milliseconds));
    Ok(Found::Listed(Listed {
        path: join(path, &shown),
        size,
        modified_ms,
        kind,
    }))
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// Whether a path is one of `skip` or lies below one.
pub(crate) fn is_skipped(path: &str, skip: &[String]) -> bool {
    skip.iter()
        .map(|skipped| skipped.trim_end_matches('/'))
        .any(|skipped| {
            !skipped.is_empty()
                && path
                    .strip_prefix(skipped)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
}

/// Names of the folders in a folder, and of our temporary files. What is no UTF-8 is not ours.
fn folders_and_temporary(fd: &OwnedFd, is: fn(&str) -> bool) -> Result<(Vec<String>, Vec<String>), Errno> {
    let (mut folders, mut temporary) = (Vec::new(), Vec::new());
    let mut entries = Dir::read_from(fd)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if name == "." || name == ".." {
            continue;
        }
        if is(name) {
            temporary.push(name.to_owned());
        } else if open_one(fd, name).is_ok() {
            folders.push(name.to_owned());
        }
    }
    Ok((folders, temporary))
}

fn is_mark_left(file: &OwnedFd) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(file)?;
    let modified_ms = stat.st_mtime.saturating_mul(1_000);
    let old = modified_ms.saturating_add(LEFT_BEHIND_MS) < jiff::Timestamp::now().as_millisecond();
    Ok(old && u64::try_from(stat.st_size).is_ok_and(is_mark_size))
}

fn remove_if_abandoned(folder: &OwnedFd, name: &str) -> Result<bool, Errno> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        // Gone, or a link or folder that somebody else made.
        Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Ok(false),
        other => other?,
    };
    if is_locked_by_another(&file)? || !is_still_named(folder, name, &file) {
        return Ok(false);
    }
    // Nobody holds a mark open while it is looked for.
    if is_place_mark(name) && !is_mark_left(&file)? {
        return Ok(false);
    }
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_swept_when_it_is_old_and_has_the_size_of_one() {
        let home = tempfile::tempdir().unwrap();
        let folder =
            rustix::fs::open(home.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let name = ".domicile-place-0123456789abcdef";
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
        for (bytes, age, goes) in [("", None, false), ("x", Some(old), false), ("", Some(old), true)] {
            std::fs::write(home.path().join(name), bytes).unwrap();
            if let Some(age) = age {
                let file = std::fs::File::options().write(true).open(home.path().join(name));
                file.unwrap().set_modified(age).unwrap();
            }
            assert_eq!(remove_if_abandoned(&folder, name), Ok(goes), "{bytes} {age:?}");
            assert_eq!(home.path().join(name).exists(), !goes);
        }
    }

    #[test]
    fn skipping_a_path_skips_what_lies_below_and_nothing_beside() {
        let skip = ["a/b/".to_owned(), "c".to_owned(), String::new()];
        for path in ["a/b", "a/b/x", "c"] {
            assert!(is_skipped(path, &skip), "{path}");
        }
        for path in ["a/bc", "a", "cd", "x/c"] {
            assert!(!is_skipped(path, &skip), "{path}");
        }
    }
}
