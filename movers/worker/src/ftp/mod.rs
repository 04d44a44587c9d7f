//! FTP, with TLS if it is asked for: files over two connections. What it lacks is made up for in `tree`: a lock, for its rename
//! overwrites; a read-back, for it has no checksums; counting, for a connection that ends early says nothing.
//!
//! OpenDAL's FTP is not used: it creates no empty files, appends to what lies there, and renames nothing.

mod line;
mod listing;
mod session;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use domicile_estate::Backend;
use domicile_movers::{Failure, FailureClass};
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::line::{Guard, Line};
use self::session::{ANSWER, Address, Session, within};
use crate::credentials::{CredentialValues, resolve};
use crate::redact::Redactor;
use crate::tree::TreeStore;
use crate::tree::remote::{Abilities, Asked, Coming, Entry, Remote, Sending, Trouble, TroubleKind, below};

/// Connections to one server at once: few servers allow many.
const SESSIONS: usize = 6;
/// Bytes that are read at once.
const BUFFER: usize = 256 * 1024;

/// Opens a folder behind FTP as its manifest says. It asks nothing.
pub(crate) fn open(backend: &Backend, values: &CredentialValues) -> Result<TreeStore, Failure> {
    let refused = |class, message| Failure::of_backend(class, &backend.name, message);
    let keys =
        resolve(backend, values).map_err(|message| refused(FailureClass::CredentialsRefused, message))?;
    let redactor = Redactor::of(keys.iter().map(|keys| keys.secret_access_key.as_str()));
    let endpoint = backend.store.option("endpoint").trim();
    let with_tls = endpoint.starts_with("ftps://");
    let scheme = if with_tls { "ftps://" } else { "ftp://" };
    let (host, port) = host_and_port(endpoint, scheme, 21).ok_or_else(|| {
        let message = format!("its endpoint `{endpoint}` is no address such as `ftps://host:21`");
        refused(FailureClass::StoreMissing, message)
    })?;
    let authority = backend.store.option("authority");
    let guard = with_tls.then(|| Guard::new(&host, authority)).transpose();
    let guard = guard.map_err(|message| refused(FailureClass::StoreMissing, message))?;
    let root = format!("/{}", backend.store.option("root").trim_matches('/'));
    let place = format!("folder `{root}` of `{host}`");
    let (user, password) = match keys {
        Some(keys) => (keys.access_key_id, keys.secret_access_key),
        None => ("anonymous".to_owned(), "domicile@".to_owned()),
    };
    let remote = Ftp {
        address: Address {
            host,
            port,
            user,
            password,
            guard,
        },
        root,
        idle: Arc::default(),
        free: Arc::new(Semaphore::new(SESSIONS)),
    };
    Ok(TreeStore::new(
        backend.name.clone(),
        Arc::new(remote),
        redactor,
        place,
    ))
}

/// The host and the port of an address with a scheme.
pub(crate) fn host_and_port(endpoint: &str, scheme: &str, usual: u16) -> Option<(String, u16)> {
    let rest = endpoint.strip_prefix(scheme)?.trim_end_matches('/');
    if rest.is_empty() || rest.contains(['/', '@']) {
        return None;
    }
    match rest.rsplit_once(':') {
        // An IPv6 address in brackets has colons of its own.
        Some((host, port)) if !port.ends_with(']') => Some((bare(host), port.parse().ok()?)),
        _ => Some((bare(rest), usual)),
    }
}

fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

/// A folder behind FTP.
#[derive(Clone)]
struct Ftp {
    address: Address,
    /// Begins with `/`.
    root: String,
    idle: Arc<Mutex<Vec<Session>>>,
    free: Arc<Semaphore>,
}

impl fmt::Debug for Ftp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ftp({}:{}{})", self.address.host, self.address.port, self.root)
    }
}

/// A connection in use, with its place among those that are allowed.
struct Held {
    session: Session,
    idle: Arc<Mutex<Vec<Session>>>,
    place: OwnedSemaphorePermit,
}

impl Held {
    /// To be used again. One that is dropped instead ends: what it is in the middle of is not known.
    fn give_back(self) {
        let Self { session, idle, place } = self;
        idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        drop(place);
    }
}

impl Ftp {
    fn path(&self, path: &str) -> String {
        below(&self.root, path)
    }

    async fn hold(&self) -> Result<Held, Trouble> {
        let place = self.free.clone().acquire_owned().await;
        let place = place.map_err(|_| Trouble::passing("the connections are closed"))?;
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let session = match kept {
                // Servers end connections that lie idle, and say so only when they are used.
                Some(mut session) => match session.ask("NOOP", "").await {
                    Ok(reply) if reply.code == 200 => session,
                    _ => continue,
                },
                None => Session::open(&self.address).await?,
            };
            return Ok(Held {
                session,
                idle: self.idle.clone(),
                place,
            });
        }
    }

    /// One command about a path, whose answer is good if it is one of `good`.
    async fn do_it(&self, command: &str, path: &str, good: &[u16]) -> Result<(), Trouble> {
        let mut held = self.hold().await?;
        let reply = held.session.ask(command, &self.path(path)).await?;
        held.give_back();
        reply.expect(good).map(drop)
    }

    async fn look_at(&self, session: &mut Session, path: &str) -> Result<Option<Entry>, Trouble> {
        if session.lists_for_machines {
            let reply = session.ask("MLST", path).await?;
            if reply.code == 250 {
                let mut lines = reply.text.lines().skip(1);
                // The root is told as the folder that one is in.
                let entry = lines.next().map(|line| line.replacen("type=cdir", "type=dir", 1));
                return Ok(entry.as_deref().and_then(listing::from_facts));
            }
            return gone_or(reply.trouble());
        }
        let reply = session.ask("SIZE", path).await?;
        if reply.code == 213 {
            let size = reply.text.trim().parse().ok();
            let time = session.ask("MDTM", path).await?;
            return Ok(Some(Entry {
                name: String::new(),
                size,
                modified_ms: (time.code == 213).then(|| listing::time_ms(&time.text)).flatten(),
                etag: None,
                kind: Some(crate::listing::ListedKind::File),
            }));
        }
        let trouble = reply.trouble();
        if session.ask("CWD", path).await?.code != 250 {
            return gone_or(trouble);
        }
        let time = session.ask("MDTM", path).await?;
        Ok(Some(Entry {
            name: String::new(),
            size: None,
            modified_ms: (time.code == 213).then(|| listing::time_ms(&time.text)).flatten(),
            etag: None,
            kind: None,
        }))
    }
}

fn gone_or<T>(trouble: Trouble) -> Result<Option<T>, Trouble> {
    if trouble.is(TroubleKind::Gone) {
        Ok(None)
    } else {
        Err(trouble)
    }
}

impl Remote for Ftp {
    fn abilities(&self) -> Abilities {
        Abilities {
            writes: true,
            // RNTO overwrites on most servers, and none has to say.
            renames_exclusively: false,
            removes_empty_folders: true,
            guards_way: self.address.guard.is_some(),
        }
    }

    fn look<'a>(&'a self, path: &'a str) -> Asked<'a, Option<Entry>> {
        Box::pin(async move {
            let mut held = self.hold().await?;
            let found = self.look_at(&mut held.session, &self.path(path)).await;
            if !matches!(&found, Err(trouble) if trouble.is(TroubleKind::Passing)) {
                held.give_back();
            }
            found
        })
    }

    fn children<'a>(&'a self, folder: &'a str) -> Asked<'a, Vec<Entry>> {
        Box::pin(async move {
            let mut held = self.hold().await?;
            let text = held.session.listing(&self.path(folder)).await?;
            let for_machines = held.session.lists_for_machines;
            held.give_back();
            let read = if for_machines {
                listing::from_facts
            } else {
                listing::from_long_line
            };
            Ok(text.lines().filter_map(read).collect())
        })
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>, _: &'a Entry) -> Asked<'a, Box<dyn Coming>> {
        Box::pin(async move {
            let mut held = self.hold().await?;
            let data = held.session.data("RETR", &self.path(path), range.start).await?;
            Ok(Box::new(Retrieved {
                data: Some(data),
                held: Some(held),
                left: range.end - range.start,
            }) as Box<dyn Coming>)
        })
    }

    fn write<'a>(&'a self, path: &'a str, _: u64) -> Asked<'a, Box<dyn Sending>> {
        Box::pin(async move {
            let mut held = self.hold().await?;
            let data = held.session.data("STOR", &self.path(path), 0).await?;
            Ok(Box::new(Stored { data, held }) as Box<dyn Sending>)
        })
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str, replace: bool) -> Asked<'a, ()> {
        Box::pin(async move {
            let mut held = self.hold().await?;
            let (from, to) = (self.path(from), self.path(to));
            held.session.ask("RNFR", &from).await?.expect(&[350])?;
            let mut reply = held.session.ask("RNTO", &to).await?;
            if replace && reply.code != 250 && reply.trouble().is(TroubleKind::Exists) {
                // A server that does not overwrite: for a moment there is neither the old nor the new one.
                held.session.ask("DELE", &to).await?.expect(&[250])?;
                held.session.ask("RNFR", &from).await?.expect(&[350])?;
                reply = held.session.ask("RNTO", &to).await?;
            }
            held.give_back();
            reply.expect(&[250]).map(drop)
        })
    }

    fn remove<'a>(&'a self, path: &'a str) -> Asked<'a, ()> {
        Box::pin(self.do_it("DELE", path, &[250]))
    }

    fn make_folder<'a>(&'a self, path: &'a str) -> Asked<'a, ()> {
        Box::pin(self.do_it("MKD", path, &[250, 257]))
    }

    fn remove_folder<'a>(&'a self, path: &'a str) -> Asked<'a, ()> {
        Box::pin(self.do_it("RMD", path, &[250]))
    }
}

/// A file that comes.
struct Retrieved {
    data: Option<Line>,
    held: Option<Held>,
    left: u64,
}

impl Coming for Retrieved {
    fn next(&mut self) -> Asked<'_, Option<Bytes>> {
        Box::pin(async move {
            let Some(data) = &mut self.data else {
                return Ok(None);
            };
            let wanted = usize::try_from(self.left).unwrap_or(BUFFER).min(BUFFER);
            let mut bytes = BytesMut::with_capacity(wanted);
            let mut limited = data.take(wanted as u64);
            let read = within(ANSWER, limited.read_buf(&mut bytes)).await?;
            self.left -= read as u64;
            if self.left > 0 && read > 0 {
                return Ok(Some(bytes.freeze()));
            }
            // Whether the file goes on behind the range makes no difference: the connection for bytes ends here, and
            // the server says what it thinks of that.
            self.data = None;
            if let Some(mut held) = self.held.take() {
                let reply = held.session.answer().await;
                match reply {
                    Ok(reply) if self.left == 0 || reply.code == 226 || reply.code == 250 => held.give_back(),
                    Ok(reply) => return Err(reply.trouble()),
                    Err(_) if self.left == 0 => {}
                    Err(trouble) => return Err(trouble),
                }
            }
            Ok((read > 0).then(|| bytes.freeze()))
        })
    }
}

/// A file that goes. What is dropped ends with its connection.
struct Stored {
    data: Line,
    held: Held,
}

impl Sending for Stored {
    fn send(&mut self, bytes: Bytes) -> Asked<'_, ()> {
        Box::pin(async move {
            let sent = within(ANSWER, self.data.write_all(&bytes)).await;
            if sent.is_ok() {
                return Ok(());
            }
            // It was refused before its end; the server may say why.
            match self.held.session.answer().await {
                Ok(reply) if reply.code >= 400 => Err(reply.trouble()),
                _ => sent,
            }
        })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), Trouble>> {
        Box::pin(async move {
            let Self { mut data, mut held } = *self;
            within(ANSWER, data.shutdown()).await?;
            // Not dropped before the server has said that it has all: what TLS has sent to us lies there unread, and to end a
            // connection with something unread in it is to break it off, with what is still on its way.
            let reply = held.session.answer().await?;
            drop(data);
            held.give_back();
            reply.expect(&[226, 250]).map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let read = |text| host_and_port(text, "ftp://", 21);
        assert_eq!(read("ftp://h"), Some(("h".to_owned(), 21)));
        assert_eq!(read("ftp://h:2121/"), Some(("h".to_owned(), 2121)));
        assert_eq!(read("ftp://[::1]:21"), Some(("::1".to_owned(), 21)));
        assert_eq!(read("ftp://[::1]"), Some(("::1".to_owned(), 21)));
        for bad in ["h", "http://h", "ftp://", "ftp://u@h", "ftp://h/x", "ftp://h:p"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
