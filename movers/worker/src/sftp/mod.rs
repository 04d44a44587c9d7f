//! SFTP over the machine's own `ssh`, as `sftp` and `rsync` do it: keys, agents, jump hosts and known hosts are those that
//! already work there. A password cannot be given to it.
//!
//! OpenDAL's SFTP calls `ssh` too, and writes in place. Here an object is written under a temporary name, synced, and
//! renamed; the rename of this protocol refuses to overwrite.

mod connection;
mod wire;

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use domicile_estate::{Backend, CredentialsRef};
use domicile_movers::{Failure, FailureClass};
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use self::connection::{Address, Answering, Connection};
use self::wire::Answer;
use crate::ftp::host_and_port;
use crate::redact::Redactor;
use crate::tree::TreeStore;
use crate::tree::remote::{Abilities, Asked, Coming, Entry, Remote, Sending, Trouble, TroubleKind, below};

/// Bytes of one request to read or write: what every server takes (draft-ietf-secsh-filexfer-02, 3).
const BLOCK: u64 = 32 * 1024;
/// Requests of one file that are under way at once.
const UNDER_WAY: usize = 32;

/// Opens a folder behind SFTP as its manifest says. It asks nothing.
pub(crate) fn open(backend: &Backend) -> Result<TreeStore, Failure> {
    let refused = |class, message| Failure::of_backend(class, &backend.name, message);
    let option = |name: &str| backend.store.option(name).trim().to_owned();
    let endpoint = option("endpoint");
    let (host, port) = host_and_port(&endpoint, "sftp://", 22).ok_or_else(|| {
        let message = format!("its endpoint `{endpoint}` is no address such as `sftp://host:22`");
        refused(FailureClass::StoreMissing, message)
    })?;
    let key = match &backend.credentials {
        None => None,
        Some(CredentialsRef::File(path)) => Some(path.clone()),
        Some(_) => {
            let message = "`ssh` takes a private key from a file: use `credentials: {file: …}`, or none where `ssh` \
                           finds the key itself";
            return Err(refused(FailureClass::CredentialsRefused, message.to_owned()));
        }
    };
    let root = format!("/{}", option("root").trim_matches('/'));
    let place = format!("folder `{root}` of `{host}`");
    let config = Some(option("config")).filter(|config| !config.is_empty());
    let remote = Sftp {
        address: Address {
            host,
            port,
            user: option("user"),
            key,
            config,
        },
        root,
        connection: Arc::default(),
    };
    Ok(TreeStore::new(
        backend.name.clone(),
        Arc::new(remote),
        Redactor::default(),
        place,
    ))
}

/// A folder behind SFTP. All share one connection.
#[derive(Clone)]
struct Sftp {
    address: Address,
    /// Begins with `/`.
    root: String,
    connection: Arc<Mutex<Option<Arc<Connection>>>>,
}

impl fmt::Debug for Sftp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Sftp({}:{}{})",
            self.address.host, self.address.port, self.root
        )
    }
}

impl Sftp {
    fn path(&self, path: &str) -> String {
        below(&self.root, path)
    }

    async fn connection(&self) -> Result<Arc<Connection>, Trouble> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| !connection.has_ended()) {
            return Ok(connection.clone());
        }
        let connection = Arc::new(Connection::open(&self.address).await?);
        *kept = Some(connection.clone());
        Ok(connection)
    }

    /// One request about a path that is done or not.
    async fn do_it(&self, kind: u8, path: &str) -> Result<(), Trouble> {
        let path = self.path(path);
        let connection = self.connection().await?;
        let answer = connection.ask_and_wait(kind, |request| {
            let request = request.text(path.as_bytes());
            // A new folder is made with no attributes given.
            if kind == wire::MKDIR {
                request.number(0)
            } else {
                request
            }
        });
        done(answer.await?)
    }

    async fn open_handle(&self, path: &str, flags: u32) -> Result<(Arc<Connection>, Bytes), Trouble> {
        let connection = self.connection().await?;
        let path = self.path(path);
        let answer = connection
            .ask_and_wait(wire::OPEN, |request| {
                request.text(path.as_bytes()).number(flags).number(0)
            })
            .await?;
        Ok((connection, handle(answer)?))
    }
}

fn done(answer: Answer) -> Result<(), Trouble> {
    match answer {
        Answer::Status(0, _) => Ok(()),
        other => Err(not(other)),
    }
}

fn handle(answer: Answer) -> Result<Bytes, Trouble> {
    match answer {
        Answer::Handle(handle) => Ok(handle),
        other => Err(not(other)),
    }
}

/// What an answer means that is not the one that was wanted.
fn not(answer: Answer) -> Trouble {
    match answer {
        Answer::Status(code, message) => wire::trouble(code, &message),
        _ => Trouble::passing("the server answers something else than was asked"),
    }
}

impl Remote for Sftp {
    fn abilities(&self) -> Abilities {
        Abilities {
            writes: true,
            renames_exclusively: true,
            removes_empty_folders: true,
            guards_way: true,
        }
    }

    fn look<'a>(&'a self, path: &'a str) -> Asked<'a, Option<Entry>> {
        Box::pin(async move {
            let connection = self.connection().await?;
            let path = self.path(path);
            let answer = connection.ask_and_wait(wire::LSTAT, |request| request.text(path.as_bytes()));
            match answer.await? {
                Answer::Attributes(entry) => Ok(Some(entry)),
                other => match not(other) {
                    trouble if trouble.is(TroubleKind::Gone) => Ok(None),
                    // OpenSSH says "failure" where a part of the path is a file.
                    trouble if trouble.message.ends_with("Failure") => Ok(None),
                    trouble => Err(trouble),
                },
            }
        })
    }

    fn children<'a>(&'a self, folder: &'a str) -> Asked<'a, Vec<Entry>> {
        Box::pin(async move {
            let connection = self.connection().await?;
            let path = self.path(folder);
            let opened = connection.ask_and_wait(wire::OPENDIR, |request| request.text(path.as_bytes()));
            let handle = handle(opened.await?)?;
            let mut all = Vec::new();
            loop {
                let read = connection.ask_and_wait(wire::READDIR, |request| request.text(&handle));
                match read.await? {
                    Answer::Entries(entries) => all.extend(entries),
                    // The end.
                    Answer::Status(1, _) => break,
                    other => return Err(not(other)),
                }
            }
            let closed = connection.ask_and_wait(wire::CLOSE, |request| request.text(&handle));
            done(closed.await?)?;
            all.retain(|entry| entry.name != "." && entry.name != "..");
            Ok(all)
        })
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>, _: &'a Entry) -> Asked<'a, Box<dyn Coming>> {
        Box::pin(async move {
            let (connection, handle) = self.open_handle(path, wire::FLAG_READ).await?;
            Ok(Box::new(Reading {
                file: OpenFile { connection, handle },
                asked: VecDeque::new(),
                next: range.start,
                end: range.end,
            }) as Box<dyn Coming>)
        })
    }

    fn write<'a>(&'a self, path: &'a str, _: u64) -> Asked<'a, Box<dyn Sending>> {
        Box::pin(async move {
            let (connection, handle) = self.open_handle(path, wire::FLAGS_NEW).await?;
            Ok(Box::new(Writing {
                file: OpenFile { connection, handle },
                under_way: VecDeque::new(),
                offset: 0,
            }) as Box<dyn Sending>)
        })
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str, replace: bool) -> Asked<'a, ()> {
        Box::pin(async move {
            const REPLACING: &str = "posix-rename@openssh.com";
            let connection = self.connection().await?;
            let (old, new) = (self.path(from), self.path(to));
            let plain = || {
                connection.ask_and_wait(wire::RENAME, |request| {
                    request.text(old.as_bytes()).text(new.as_bytes())
                })
            };
            if !replace {
                let renamed = done(plain().await?);
                // "Failure" is all that is said where something is there.
                return match renamed {
                    Err(trouble) if self.look(to).await?.is_some() => {
                        Err(Trouble::new(TroubleKind::Exists, trouble.message))
                    }
                    other => other,
                };
            }
            if connection.has(REPLACING) {
                let renamed = connection.ask_and_wait(wire::EXTENDED, |request| {
                    request
                        .text(REPLACING.as_bytes())
                        .text(old.as_bytes())
                        .text(new.as_bytes())
                });
                return done(renamed.await?);
            }
            // For a moment there is neither the old nor the new one.
            if self.look(to).await?.is_some() {
                self.do_it(wire::REMOVE, to).await?;
            }
            done(plain().await?)
        })
    }

    fn remove<'a>(&'a self, path: &'a str) -> Asked<'a, ()> {
        Box::pin(self.do_it(wire::REMOVE, path))
    }

    fn make_folder<'a>(&'a self, path: &'a str) -> Asked<'a, ()> {
        Box::pin(self.do_it(wire::MKDIR, path))
    }

    fn remove_folder<'a>(&'a self, path: &'a str) -> Asked<'a, ()> {
        Box::pin(self.do_it(wire::RMDIR, path))
    }
}

/// A file that is open there, until this is dropped.
struct OpenFile {
    connection: Arc<Connection>,
    handle: Bytes,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let (connection, handle) = (self.connection.clone(), std::mem::take(&mut self.handle));
        if handle.is_empty() {
            return;
        }
        // Without a runtime there is no connection left either.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let closed = connection.ask_and_wait(wire::CLOSE, |request| request.text(&handle));
                // A server closes what is open when the connection ends.
                let _ = closed.await;
            });
        }
    }
}

/// A file that comes, some requests ahead.
struct Reading {
    file: OpenFile,
    /// Where each request begins and how much it asks for.
    asked: VecDeque<(u64, u64, Answering)>,
    next: u64,
    end: u64,
}

impl OpenFile {
    async fn ask(&self, offset: u64, size: u64) -> Result<Answering, Trouble> {
        let asked = self.connection.ask(wire::READ, |request| {
            request
                .text(&self.handle)
                .long(offset)
                .number(u32::try_from(size).unwrap_or(u32::MAX))
        });
        asked.await
    }
}

impl Coming for Reading {
    fn next(&mut self) -> Asked<'_, Option<Bytes>> {
        Box::pin(async move {
            while self.asked.len() < UNDER_WAY && self.next < self.end {
                let size = BLOCK.min(self.end - self.next);
                let answering = self.file.ask(self.next, size).await?;
                self.asked.push_back((self.next, size, answering));
                self.next += size;
            }
            let Some((offset, size, answering)) = self.asked.pop_front() else {
                return Ok(None);
            };
            match answering.await? {
                Answer::Data(bytes) => {
                    let came = bytes.len() as u64;
                    if came == 0 || came > size {
                        return Err(Trouble::passing(
                            "the server gives another number of bytes than was asked for",
                        ));
                    }
                    if came < size {
                        // Less than was asked for is no end: the rest is asked for again.
                        let answering = self.file.ask(offset + came, size - came).await?;
                        self.asked.push_front((offset + came, size - came, answering));
                    }
                    Ok(Some(bytes))
                }
                // The end, before all has come.
                Answer::Status(1, _) => Ok(None),
                other => Err(not(other)),
            }
        })
    }
}

/// A file that goes, some requests ahead.
struct Writing {
    file: OpenFile,
    under_way: VecDeque<Answering>,
    offset: u64,
}

impl Writing {
    async fn wait_for_one(&mut self) -> Result<(), Trouble> {
        match self.under_way.pop_front() {
            Some(answering) => done(answering.await?),
            None => Ok(()),
        }
    }
}

impl Sending for Writing {
    fn send(&mut self, bytes: Bytes) -> Asked<'_, ()> {
        Box::pin(async move {
            for block in bytes.chunks(usize::try_from(BLOCK).unwrap_or(usize::MAX)) {
                if self.under_way.len() >= UNDER_WAY {
                    self.wait_for_one().await?;
                }
                let (handle, offset) = (&self.file.handle, self.offset);
                let asked = self.file.connection.ask(wire::WRITE, |request| {
                    request.text(handle).long(offset).text(block)
                });
                self.under_way.push_back(asked.await?);
                self.offset += block.len() as u64;
            }
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<(), Trouble>> {
        Box::pin(async move {
            const SYNCING: &str = "fsync@openssh.com";
            while !self.under_way.is_empty() {
                self.wait_for_one().await?;
            }
            let connection = self.file.connection.clone();
            let handle = std::mem::take(&mut self.file.handle);
            if connection.has(SYNCING) {
                let synced = connection.ask_and_wait(wire::EXTENDED, |request| {
                    request.text(SYNCING.as_bytes()).text(&handle)
                });
                done(synced.await?)?;
            }
            done(
                connection
                    .ask_and_wait(wire::CLOSE, |request| request.text(&handle))
                    .await?,
            )
        })
    }
}
