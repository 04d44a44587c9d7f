//! One command at a time changes the world that a catalogue describes.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::Catalogue;
use crate::error::LockError;

/// The right to change things, until it is dropped. It is a lock of the operating system on a file beside the
/// database: a killed process loses it, and the file that stays behind is in nobody's way.
#[derive(Debug)]
pub struct CatalogueLock {
    /// `None` for a catalogue in memory, which nobody else can see.
    _file: Option<File>,
}

impl Catalogue {
    /// Takes the right to change things, without waiting.
    ///
    /// # Errors
    /// [`LockError::Held`] names the process that has it.
    pub fn lock(&self) -> Result<CatalogueLock, LockError> {
        let Some(path) = self.path() else {
            return Ok(CatalogueLock { _file: None });
        };
        let lock_path = lock_path(path).map_err(|source| LockError::Io {
            path: path.display().to_string(),
            source,
        })?;
        let io = |source| LockError::Io {
            path: lock_path.display().to_string(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    path: path.display().to_string(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        write_holder(&mut file).map_err(io)?;
        Ok(CatalogueLock { _file: Some(file) })
    }
}

/// Beside the database itself, links followed, so that every spelling of its path leads to one lock.
fn lock_path(path: &Path) -> std::io::Result<PathBuf> {
    let mut name = OsString::from(path.canonicalize()?);
    name.push(".lock");
    Ok(PathBuf::from(name))
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "process {}", std::process::id())
}

/// Who holds the lock, as it wrote itself down; it may not have come to that yet.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(100).read_to_string(&mut text) {
        Ok(_) if text.starts_with("process ") => text.escape_debug().to_string(),
        _ => "a process that has just begun".to_owned(),
    }
}
