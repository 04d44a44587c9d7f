//! Folders on other machines: what WebDAV, FTP, SFTP and plain web servers have in common.
//!
//! ```text
//!  Source, Sink ──▶ TreeStore ──Remote──▶ dav · index (web/)  |  ftp/  |  sftp/
//!                    temporary name, rename, folders, sweeping
//! ```
//!
//! None of them has a checksum of what it holds, and few can say that nothing is to be overwritten. So an object is
//! written under a temporary name in its own folder and renamed when it is whole, and it is always read back. Where
//! a rename would overwrite in silence, a folder made beside it is the lock: making one is atomic everywhere.

mod publish;
pub(crate) mod remote;
mod walk;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use domicile_estate::BackendName;
use domicile_movers::tree::PART_MIN;
use domicile_movers::{Failure, FailureClass, UploadToken};
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use self::remote::{Coming, Entry, Remote, Trouble, TroubleKind};
use crate::blame::{failure, one_line};
use crate::redact::Redactor;
use crate::role::Role;
use crate::store::{
    Aim, Capabilities, Content, Doing, Pages, Parts, Probed, Proven, Published, Sink, Source, Stat, Store,
    Unfinished, Upload, Version, Wanted, Whole, empty_or_gone,
};

/// A store that is a folder on another machine. Cloning shares the connections.
#[derive(Clone)]
pub(crate) struct TreeStore {
    backend: BackendName,
    remote: Arc<dyn Remote>,
    redactor: Redactor,
    /// What a missing root is called, such as ``folder `/data` of `h` ``.
    place: Arc<str>,
    learnt: Arc<Learnt>,
}

#[derive(Debug, Default)]
struct Learnt {
    root_seen: AtomicBool,
    /// Folders that are there for all we know.
    folders: Mutex<BTreeSet<String>>,
    /// Whether its rename has been seen to refuse to overwrite.
    exclusive: OnceCell<bool>,
}

impl fmt::Debug for TreeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreeStore({}, {})", self.backend, self.place)
    }
}

impl Store for TreeStore {}

impl TreeStore {
    pub(crate) fn new(
        backend: BackendName,
        remote: Arc<dyn Remote>,
        redactor: Redactor,
        place: String,
    ) -> Self {
        Self {
            backend,
            remote,
            redactor,
            place: Arc::from(place),
            learnt: Arc::default(),
        }
    }

    fn failure(&self, class: FailureClass, path: Option<&str>, message: &str) -> Failure {
        failure((&self.backend, &self.redactor), class, path, message)
    }

    /// A trouble in the words of whoever runs the estate. `doing` ends the sentence "cannot …".
    fn failed(&self, role: Role, path: Option<&str>, doing: &str, trouble: &Trouble) -> Failure {
        use FailureClass::{
            CredentialsRefused, KeyRefused, SourceGone, SourceUnreadable, StoreMissing, TargetConflict,
            TargetDenied, TargetFull, Transient,
        };
        let side = |source, target| if role == Role::Source { source } else { target };
        let class = match trouble.kind {
            TroubleKind::Gone => side(SourceGone, Transient),
            TroubleKind::Exists => side(Transient, TargetConflict),
            TroubleKind::Denied => side(SourceUnreadable, TargetDenied),
            TroubleKind::Credentials => CredentialsRefused,
            TroubleKind::NoRoom => side(Transient, TargetFull),
            TroubleKind::Name => KeyRefused,
            TroubleKind::Place => StoreMissing,
            TroubleKind::Changed | TroubleKind::Passing => Transient,
        };
        let help = match class {
            CredentialsRefused => "; check the backend's credentials",
            StoreMissing => "; correct the manifest",
            TargetDenied | SourceUnreadable => "; give the user more rights",
            _ => "",
        };
        let message = format!("cannot {doing}: {}{help}", one_line(&trouble.message));
        // Credentials and places are the backend's, whatever object was asked for.
        let path = path.filter(|_| !matches!(class, CredentialsRefused | StoreMissing));
        self.failure(class, path, &message)
    }

    fn missing_root(&self) -> Failure {
        let message = format!(
            "the {} is not there; create it or correct the manifest",
            self.place
        );
        self.failure(FailureClass::StoreMissing, None, &message)
    }

    /// Where nothing was found, it may be that nothing is there at all.
    async fn check_root(&self, role: Role) -> Result<(), Failure> {
        if self.learnt.root_seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        let found = self.remote.look("").await;
        match found.map_err(|trouble| self.failed(role, None, "look at the root", &trouble))? {
            Some(entry) if entry.is_folder() => {
                self.learnt.root_seen.store(true, Ordering::Relaxed);
                Ok(())
            }
            _ => Err(self.missing_root()),
        }
    }

    /// The file at a path.
    async fn file_at(&self, path: &str, role: Role) -> Result<Option<Entry>, Failure> {
        let found = self.remote.look(path).await;
        match found.map_err(|trouble| self.failed(role, Some(path), "look at it", &trouble))? {
            None => self.check_root(role).await.map(|()| None),
            Some(entry) if entry.is_file() => Ok(Some(entry)),
            Some(_) => {
                let class = match role {
                    Role::Source => FailureClass::SourceGone,
                    Role::Target => FailureClass::TargetConflict,
                };
                Err(self.failure(class, Some(path), "what lies there is no plain file"))
            }
        }
    }

    async fn open_content(&self, wanted: Wanted<'_>) -> Result<TreeContent, Failure> {
        let Wanted { path, role, .. } = wanted;
        let Some(entry) = self.file_at(path, role).await? else {
            let class = match role {
                Role::Source => FailureClass::SourceGone,
                Role::Target => FailureClass::Transient,
            };
            return Err(self.failure(class, Some(path), "cannot open it: it is not there"));
        };
        let Some(size) = entry.size else {
            let message = "it is not told how large it is";
            return Err(self.failure(FailureClass::Transient, Some(path), message));
        };
        let version = version(&entry);
        if wanted.version.is_some_and(|expected| *expected != version) {
            let message = "it was changed while it was read";
            return Err(self.failure(FailureClass::Transient, Some(path), message));
        }
        let range = wanted.range.unwrap_or(0..size);
        let coming = if range.is_empty() {
            None
        } else {
            let read = self.remote.read(path, range.clone(), &entry).await;
            Some(read.map_err(|trouble| self.failed(role, Some(path), "read it", &trouble))?)
        };
        Ok(TreeContent {
            store: self.clone(),
            path: path.to_owned(),
            role,
            size,
            version,
            coming,
            left: range,
        })
    }
}

/// The state of a file, by what is told of it.
fn version(entry: &Entry) -> Version {
    Version(format!(
        "{}-{}-{}",
        entry.size.unwrap_or_default(),
        entry.modified_ms.unwrap_or_default(),
        entry.etag.as_deref().unwrap_or_default()
    ))
}

/// A file that is being read. What comes is counted: a connection that ends early says nothing by itself.
struct TreeContent {
    store: TreeStore,
    path: String,
    role: Role,
    size: u64,
    version: Version,
    coming: Option<Box<dyn Coming>>,
    left: Range<u64>,
}

impl Content for TreeContent {
    fn size(&self) -> u64 {
        self.size
    }

    fn version(&self) -> &Version {
        &self.version
    }

    fn next(&mut self) -> Doing<'_, Option<Bytes>> {
        Box::pin(async move {
            let Some(coming) = &mut self.coming else {
                return Ok(None);
            };
            let left = self.left.end - self.left.start;
            let next = coming.next().await;
            let next = next.map_err(|trouble| {
                self.store
                    .failed(self.role, Some(&self.path), "read it", &trouble)
            })?;
            let came = next.as_ref().map_or(0, |bytes| bytes.len() as u64);
            if came > left || (next.is_none() && left > 0) {
                let message = "it came cut short, or too long: the connection broke, or it was changed";
                return Err(self
                    .store
                    .failure(FailureClass::Transient, Some(&self.path), message));
            }
            self.left.start += came;
            Ok(next)
        })
    }
}

impl Source for TreeStore {
    fn stat<'a>(&'a self, path: &'a str, role: Role) -> Doing<'a, Option<Stat>> {
        Box::pin(async move {
            let found = self.file_at(path, role).await?;
            Ok(found.map(|entry| Stat {
                size: entry.size.unwrap_or_default(),
                version: version(&entry),
                checksum: None,
                tag: None,
            }))
        })
    }

    fn open<'a>(&'a self, wanted: Wanted<'a>) -> Doing<'a, Box<dyn Content>> {
        Box::pin(async move {
            let content = self.open_content(wanted).await?;
            Ok(Box::new(content) as Box<dyn Content>)
        })
    }

    fn way_is_safe(&self) -> bool {
        self.remote.abilities().guards_way
    }

    fn list<'a>(&'a self, prefix: &'a str, skip: &'a [String], pages: &'a Pages) -> Doing<'a, ()> {
        Box::pin(self.list_below(prefix, skip, pages))
    }

    fn is_empty_or_gone(&self) -> Doing<'_, bool> {
        Box::pin(async move { empty_or_gone(self.holds_something().await) })
    }
}

impl Sink for TreeStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            parts: Parts::InOrder,
            whole_max: PART_MIN,
            trims_paths: false,
            makes_root: true,
            looks_cheaply: false,
            shows_staged: true,
        }
    }

    fn put_whole<'a>(&'a self, aim: Aim<'a>, whole: &'a Whole) -> Doing<'a, Published> {
        Box::pin(self.put_at_once(aim, whole))
    }

    fn begin<'a>(&'a self, aim: Aim<'a>) -> Doing<'a, Box<dyn Upload>> {
        Box::pin(async move {
            let staged = self.stage(aim).await?;
            Ok(Box::new(staged) as Box<dyn Upload>)
        })
    }

    /// What a crash left of a file is not taken up: nothing tells which of its bytes reached the disk.
    fn resume(&self, _: Aim<'_>, _: &UploadToken) -> Option<Box<dyn Upload>> {
        None
    }

    fn unfinished<'a>(&'a self, _: &'a str) -> Doing<'a, Vec<Unfinished>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn delete<'a>(&'a self, path: &'a str, only: Option<&'a Version>, emptied: bool) -> Doing<'a, ()> {
        Box::pin(self.remove(path, only, emptied))
    }

    fn sweep<'a>(&'a self, prefix: &'a str) -> Doing<'a, u64> {
        Box::pin(self.sweep_below(prefix))
    }

    /// Whether its rename refuses or our lock does it makes no difference to who asks.
    fn proven(&self) -> BoxFuture<'_, Proven> {
        let proven = Proven {
            checksums: false,
            refuses_to_overwrite: self.remote.abilities().writes,
            deletes_conditionally: false,
        };
        Box::pin(std::future::ready(proven))
    }

    fn probe(&self, write: bool, may_be_new: bool) -> Doing<'_, Probed> {
        Box::pin(async move {
            let mut probed = Probed {
                holds_something: false,
                wrote: false,
                proven: Proven::default(),
            };
            match self.check_root(Role::Source).await {
                Err(failure) if may_be_new && failure.class == FailureClass::StoreMissing => {
                    return Ok(probed);
                }
                other => other?,
            }
            probed.holds_something = self.holds_something().await?;
            if write {
                self.probe_write().await?;
                probed.wrote = true;
                probed.proven = self.proven().await;
            }
            Ok(probed)
        })
    }
}

#[cfg(test)]
mod tests;
