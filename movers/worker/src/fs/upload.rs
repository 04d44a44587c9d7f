//! A large file that comes in parts, and that any process can go on with: what is there after a crash is told by reading it,
//! since nothing else says which bytes reached the disk.
//!
//! Its token is the path of its temporary file, whose name says for which object it is and who began it. It is not locked: a
//! halted process that wakes writes the bytes into it that are there already, or finds it gone.

use std::fs::File;

use crc_fast::CrcAlgorithm::Crc64Nvme;
use domicile_estate::TEMPORARY_PREFIX;
use domicile_movers::tree::part_size;
use domicile_movers::{Failure, Publication, Seen, StoredPart, UploadToken};
use futures::future::BoxFuture;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::FsStore;
use super::direct::{DirectFile, Piece, Span, pass};
use super::holes::Holes;
use super::stage::rename_new;
use crate::digest::{PartDigest, PartDigester};
use crate::role::Role;
use crate::store::{Aim, Crc64, Doing, FolderPart, Part, Published, Unfinished, Upload};
use crate::threads::blocking;

/// Smaller files are copied anew after a crash: that is done sooner than what has to be recorded for going on.
pub(super) const RESUMES_FROM: u64 = 64 * 1024 * 1024;
/// Digits by which an object and a transfer are told in a name.
const DIGITS: usize = 16;

/// One upload.
#[derive(Clone)]
pub(super) struct FolderUpload {
    store: FsStore,
    token: UploadToken,
    path: String,
    size: u64,
    how: Publication,
}

fn digits(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().as_str()[..DIGITS].to_owned()
}

/// How the names of all uploads of an object begin.
fn beginning(path: &str) -> String {
    format!("{TEMPORARY_PREFIX}{}-", digits(path))
}

/// Whether a name is of the form that we give to uploads. Others that begin alike are somebody's.
pub(super) fn is_upload_name(name: &str) -> bool {
    let middle = name
        .strip_prefix(TEMPORARY_PREFIX)
        .and_then(|rest| rest.strip_suffix(".upload"));
    let is_hex = |text: &str| text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    middle
        .and_then(|middle| middle.split_once('-'))
        .is_some_and(|(object, transfer)| is_hex(object) && is_hex(transfer))
}

impl FsStore {
    /// Makes an empty file for an upload.
    pub(super) fn begin_upload(&self, aim: Aim<'_>) -> Result<FolderUpload, Failure> {
        let path = aim.path;
        let (folder, name) = self.create_parent(path, aim.may_create_root)?;
        let temporary = format!("{}{}.upload", beginning(path), digits(aim.tag));
        let at = |errno| self.failed(Role::Target, path, "write it", errno);
        // What a request that came twice has left may have another name by now, and must not be cut off under that.
        match rustix::fs::unlinkat(&folder, &temporary, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(at(errno)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, &temporary, flags, Mode::from_raw_mode(0o666)).map_err(at)?;
        if let Err(failure) = self.reserve(&file, path, aim.size) {
            // Nobody hears of it, so nobody else would remove it before the next sweep.
            let _ = rustix::fs::unlinkat(&folder, &temporary, AtFlags::empty());
            return Err(failure);
        }
        let above = path.strip_suffix(name).unwrap_or_default();
        Ok(self.upload(aim, &UploadToken(format!("{above}{temporary}"))))
    }

    pub(super) fn upload(&self, aim: Aim<'_>, token: &UploadToken) -> FolderUpload {
        FolderUpload {
            store: self.clone(),
            token: token.clone(),
            path: aim.path.to_owned(),
            size: aim.size,
            how: aim.how,
        }
    }

    /// Uploads of one object, or of all below a folder.
    pub(super) fn uploads(&self, prefix: &str) -> Result<Vec<Unfinished>, Failure> {
        if !self.root_exists() {
            return Ok(Vec::new());
        }
        let at = |errno| self.failed(Role::Target, prefix, "look for unfinished uploads", errno);
        let (folder, deep) = match prefix.rsplit_once('/') {
            Some((folder, "")) => (folder, true),
            Some((folder, _)) => (folder, false),
            None => ("", prefix.is_empty()),
        };
        let own = beginning(prefix);
        let found = self.temporary_below(folder, deep, is_upload_name).map_err(at)?;
        let found = found.into_iter().filter_map(|token| {
            let name = token.rsplit('/').next().unwrap_or_default();
            let ours = name.starts_with(&own);
            (deep || ours).then(|| Unfinished {
                // The name of an object cannot be told from that of its file, where it is not known already.
                path: if ours { prefix.to_owned() } else { token.clone() },
                token: UploadToken(token),
            })
        });
        Ok(found.collect())
    }
}

impl FolderUpload {
    /// The file and its folder; `None` if it is gone.
    fn open(&self, flags: OFlags) -> Result<Option<(OwnedFd, &str, File)>, Failure> {
        let at = |errno| self.store.failed(Role::Target, &self.path, "write it", errno);
        let (folder, name) = match self.store.open_parent(&self.token.0) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(at)?,
        };
        if !is_upload_name(name) {
            return Ok(None);
        }
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&folder, name, flags, Mode::empty()) {
            Ok(file) => Ok(Some((folder, name, File::from(file)))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(at(errno)),
        }
    }

    fn write(&self, part: &Part) -> Result<Option<StoredPart>, Failure> {
        let Some((_, _, file)) = self.open(OFlags::WRONLY)? else {
            return Ok(None);
        };
        let to = DirectFile::of(&file, part.size());
        to.write_chunks(&part.chunks, part.offset)
            .map_err(|error| self.store.unwritten(&self.path, &error))?;
        Ok(Some(stored(part.number, part.size(), part.checksum)))
    }

    /// What lies there of each part, whole or not: its checksum tells whether it is what was meant.
    fn read(&self) -> Result<Option<Vec<StoredPart>>, Failure> {
        let Some((_, _, file)) = self.open(OFlags::RDONLY)? else {
            return Ok(None);
        };
        let failed = |error: std::io::Error| {
            self.store
                .failed_io(Role::Target, &self.path, "read what is there of it", &error)
        };
        let there = file.metadata().map_err(failed)?.len();
        let whole = part_size(self.size);
        let mut parts = Vec::new();
        let from = DirectFile::of(&file, there);
        for number in 1_u32.. {
            let offset = u64::from(number - 1) * whole;
            let size = whole.min(self.size.saturating_sub(offset));
            if size == 0 || offset + size > there {
                break;
            }
            let mut checksum = crc_fast::Digest::new(Crc64Nvme);
            let fill = |piece: &mut Piece, (length, at): Span| {
                let read = from.read_at(piece, length, offset + at);
                match read.map_err(|errno| failed(errno.into()))? {
                    read if read == length => Ok(()),
                    _ => Err(self.store.changed(&self.path)),
                }
            };
            pass(size, fill, |piece, _| {
                checksum.update(piece);
                Ok(())
            })?;
            parts.push(stored(number, size, Crc64(checksum.finalize())));
        }
        Ok(Some(parts))
    }

    /// Copies a part from another folder.
    fn copy(&self, part: &FolderPart) -> Result<Option<(StoredPart, PartDigest)>, Failure> {
        let Some((_, _, file)) = self.open(OFlags::WRONLY)? else {
            return Ok(None);
        };
        let object = part.from.open(&part.path, Role::Source)?;
        if object.version() != part.version {
            return Err(part.from.changed(&part.path));
        }
        let to = DirectFile::of(&file, part.size);
        let mut digester = PartDigester::at(part.offset);
        let mut holes = Holes::of(&object.file, part.offset + part.size);
        pass(
            part.size,
            |piece, (length, at)| {
                let at = part.offset + at;
                part.from
                    .read_and(&object, &part.path, (&mut piece[..length], at), |cached| {
                        digester.update(cached);
                    })?;
                part.watch.progress.add_read(length as u64);
                part.watch.go_on()
            },
            |bytes, at| {
                holes
                    .write(&to, bytes, part.offset + at)
                    .map_err(|error| self.store.unwritten(&self.path, &error))?;
                part.watch.progress.add_written(bytes.len() as u64);
                Ok(())
            },
        )?;
        holes
            .punch(&file, &to)
            .map_err(|error| self.store.unwritten(&self.path, &error))?;
        part.from.check_unchanged(&object, &part.path, Role::Source)?;
        let digest = digester.finish();
        Ok(Some((stored(part.number, digest.size, digest.checksum), digest)))
    }

    fn publish(&self) -> Result<Published, Failure> {
        let at = |errno| self.store.failed(Role::Target, &self.path, "publish it", errno);
        let Some((folder, temporary, file)) = self.open(OFlags::WRONLY)? else {
            return Ok(Published::NoUpload);
        };
        let length = file.metadata().map(|metadata| metadata.len()).ok();
        if length != Some(self.size) {
            return Ok(Published::NoUpload);
        }
        self.store.make_durable(&file, &self.path)?;
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let renamed = match self.how {
            Publication::Replace => rustix::fs::renameat(&folder, temporary, &folder, name),
            Publication::New => rename_new(&folder, temporary, name),
        };
        match renamed {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(Published::Occupied),
            Err(Errno::NOENT) => return Ok(Published::NoUpload),
            Err(errno) => return Err(at(errno)),
        }
        self.store.syncs.sync(&folder).map_err(at)?;
        Ok(Published::DONE)
    }

    fn remove(&self) {
        if let Ok(Some((folder, name, _))) = self.open(OFlags::WRONLY) {
            // What cannot be removed now is swept later.
            let _ = rustix::fs::unlinkat(&folder, name, AtFlags::empty());
        }
    }
}

/// A part is called by its checksum.
fn stored(number: u32, size: u64, checksum: Crc64) -> StoredPart {
    StoredPart {
        number,
        size,
        etag: format!("{:016x}", checksum.0),
        crc64nvme: Some(checksum.0),
    }
}

impl Upload for FolderUpload {
    fn token(&self) -> Option<&UploadToken> {
        Some(&self.token)
    }

    fn put_part<'a>(&'a self, part: &'a Part) -> Doing<'a, Option<StoredPart>> {
        let (upload, part) = (self.clone(), part.clone());
        Box::pin(blocking(move || upload.write(&part)))
    }

    fn copy_part(&self, part: FolderPart) -> Option<Doing<'_, Option<(StoredPart, PartDigest)>>> {
        let upload = self.clone();
        Some(Box::pin(blocking(move || upload.copy(&part))))
    }

    fn parts(&self) -> Doing<'_, Option<Vec<StoredPart>>> {
        let upload = self.clone();
        Box::pin(blocking(move || upload.read()))
    }

    fn seen(&self) -> Doing<'_, Option<Seen>> {
        let upload = self.clone();
        Box::pin(blocking(move || {
            let Some((_, _, file)) = upload.open(OFlags::RDWR)? else {
                return Ok(None);
            };
            upload.store.make_durable(&file, &upload.path)?;
            upload.store.see_staged(&file, &upload.path).map(Some)
        }))
    }

    fn complete<'a>(self: Box<Self>, _: &'a [StoredPart], _: Option<Crc64>) -> Doing<'a, Published> {
        Box::pin(blocking(move || self.publish()))
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(blocking(move || self.remove()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_an_upload_is_told_whatever_its_order_and_its_end() {
        let whole = part_size(RESUMES_FROM);
        for beyond in [0, 1, 4095, 4096, 4097] {
            let home = tempfile::tempdir().unwrap();
            let name = domicile_estate::BackendName::new("disk").unwrap();
            let store = FsStore::new(name, home.path().to_owned());
            let aim = Aim {
                size: RESUMES_FROM + beyond,
                ..Aim::nowhere("a")
            };
            let upload = store.begin_upload(aim).unwrap();
            assert_eq!(upload.read().unwrap(), Some(Vec::new()), "nothing came yet");
            let part = |number: u32, length: u64| {
                let bytes: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
                let mut digester = PartDigester::at(u64::from(number - 1) * whole);
                digester.update(&bytes);
                let checksum = digester.finish().checksum;
                let (first, second) = bytes.split_at(bytes.len() / 3);
                Part {
                    number,
                    offset: u64::from(number - 1) * whole,
                    chunks: vec![first.to_vec().into(), second.to_vec().into()],
                    checksum,
                }
            };
            let count = u32::try_from(aim.size.div_ceil(whole)).unwrap();
            let last = part(count, aim.size - u64::from(count - 1) * whole);
            let second = upload.write(&part(2, whole)).unwrap().unwrap();
            assert_eq!(upload.publish().unwrap(), Published::NoUpload, "it is not whole");
            let last = upload.write(&last).unwrap().unwrap();
            let parts = store.upload(aim, &upload.token).read().unwrap().unwrap();
            assert_eq!(parts.len() as u64, u64::from(count));
            assert_eq!(parts[1], second);
            assert_eq!(parts.last(), Some(&last), "{beyond}");
            let empty = Crc64(crc_fast::checksum(Crc64Nvme, &vec![0; whole as usize]));
            assert_eq!(
                parts[0],
                stored(1, whole, empty),
                "what has not come is not taken for it"
            );
        }
    }

    #[test]
    fn only_names_of_ours_are_taken_for_uploads() {
        let name = format!("{}{}.upload", beginning("d/k"), digits("tag"));
        assert!(is_upload_name(&name));
        for other in [
            ".domicile-upload",
            ".domicile-0123456789abcdef.part",
            ".domicile-0123456789abcdef.upload",
            ".domicile-0123456789abcdef-0123456789abcde.upload",
            "x.domicile-0123456789abcdef-0123456789abcdef.upload",
        ] {
            assert!(!is_upload_name(other), "{other}");
        }
    }
}
