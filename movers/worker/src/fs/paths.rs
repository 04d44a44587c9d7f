//! From the root to a folder, part by part, without following a symbolic link.

use domicile_movers::{Failure, FailureClass};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::FsStore;
use crate::role::Role;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl FsStore {
    pub(super) fn open_root(&self) -> Result<OwnedFd, Errno> {
        rustix::fs::open(&self.root, FOLDER, Mode::empty())
    }

    /// The root, or the failure that names it: a root that is not there blames the store, not an object.
    pub(super) fn root(&self, role: Role) -> Result<OwnedFd, Failure> {
        self.open_root().map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => self.missing_root(),
            errno => self.failed_folder(role, &format!("open the root `{}`", self.root.display()), errno),
        })
    }

    fn missing_root(&self) -> Failure {
        let message = format!(
            "the root `{}` is not there or is no folder; mount or create it",
            self.root.display().to_string().escape_debug()
        );
        Failure::of_backend(FailureClass::StoreMissing, &self.backend, message)
    }

    /// Fails if the root is missing: then "it is not there" says nothing about an object.
    pub(crate) fn check_root(&self, role: Role) -> Result<(), Failure> {
        self.root(role).map(drop)
    }

    /// Whether anything lies where the root should be.
    pub(crate) fn root_exists(&self) -> bool {
        !matches!(self.open_root(), Err(Errno::NOENT))
    }

    /// Makes the root and what leads to it, durably.
    pub(super) fn create_root(&self) -> Result<(), Failure> {
        let failed = |error: &std::io::Error| {
            let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
            self.failed_folder(
                Role::Target,
                &format!("create the root `{}`", self.root.display()),
                errno,
            )
        };
        let mut made = Vec::new();
        for folder in self.root.ancestors() {
            if folder.as_os_str().is_empty() || folder.exists() {
                break;
            }
            made.push(folder.to_owned());
        }
        std::fs::create_dir_all(&self.root).map_err(|error| failed(&error))?;
        for folder in made.iter().filter_map(|folder| folder.parent()) {
            std::fs::File::open(folder)
                .and_then(|file| file.sync_all())
                .map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// The folder that an object lies in, and the object's name in it.
    pub(super) fn open_parent<'p>(&self, path: &'p str) -> Result<(OwnedFd, &'p str), Errno> {
        let (folders, name) = split(path);
        Ok((open_folder(self.open_root()?, folders)?, name))
    }

    /// The same for an object that is to be written: folders that are missing are made, durably.
    pub(super) fn create_parent<'p>(
        &self,
        path: &'p str,
        allow_create_root: bool,
    ) -> Result<(OwnedFd, &'p str), Failure> {
        let root = match self.open_root() {
            Err(Errno::NOENT) if allow_create_root => {
                self.create_root()?;
                self.root(Role::Target)?
            }
            Err(_) => self.root(Role::Target)?,
            Ok(root) => root,
        };
        let (folders, name) = split(path);
        if let Some(folder) = open_at_once(&root, folders) {
            return Ok((folder, name));
        }
        let mut folder = root;
        for part in parts(folders) {
            folder = self
                .open_or_make(&folder, part)
                .map_err(|errno| self.failed(Role::Target, path, "make its folder", errno))?;
        }
        Ok((folder, name))
    }

    fn open_or_make(&self, folder: &OwnedFd, part: &str) -> Result<OwnedFd, Errno> {
        match open_one(folder, part) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        match rustix::fs::mkdirat(folder, part, Mode::from_raw_mode(0o777)) {
            Ok(()) => self.syncs.sync(folder)?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        open_one(folder, part)
    }

    /// Removes folders of a path that are empty, from the deepest up to its first part, which is removed too.
    pub(super) fn remove_emptied(&self, path: &str) {
        let (mut folders, _) = split(path);
        while !folders.is_empty() {
            let (above, name) = split(folders);
            let removed = self
                .open_root()
                .and_then(|root| open_below(root, above))
                .and_then(|folder| rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR));
            if removed.is_err() {
                // Not empty, or somebody else was faster: an empty folder that stays is no harm.
                return;
            }
            folders = above;
        }
    }
}

/// Folders and name of a path: `a/b/c` is `a/b` and `c`.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn parts(folders: &str) -> impl Iterator<Item = &str> {
    folders.split('/').filter(|part| !part.is_empty())
}

/// Opens a folder below another one in one call. `None` where anything is in the way, be it only that the system does not
/// know the call: the walk part by part tells what.
fn open_at_once(root: &OwnedFd, folders: &str) -> Option<OwnedFd> {
    if parts(folders).any(|part| part == ".." || part == ".") || folders.is_empty() {
        return None;
    }
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(root, folders, FOLDER | OFlags::NOFOLLOW, Mode::empty(), within).ok()
}

fn open_folder(root: OwnedFd, folders: &str) -> Result<OwnedFd, Errno> {
    open_at_once(&root, folders).map_or_else(|| open_below(root, folders), Ok)
}

/// Opens a folder below another one; a symbolic link on the way is `ELOOP`.
pub(super) fn open_below(root: OwnedFd, folders: &str) -> Result<OwnedFd, Errno> {
    let mut folder = root;
    for part in parts(folders) {
        folder = open_one(&folder, part)?;
    }
    Ok(folder)
}

pub(super) fn open_one(folder: &OwnedFd, part: &str) -> Result<OwnedFd, Errno> {
    if part == ".." || part == "." {
        return Err(Errno::INVAL);
    }
    rustix::fs::openat(folder, part, FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(|errno| {
        // Linux says ENOTDIR for a link that is not followed where a folder is asked for.
        let is_link = errno == Errno::NOTDIR
            && rustix::fs::statat(folder, part, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
                rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Symlink
            });
        if is_link { Errno::LOOP } else { errno }
    })
}
