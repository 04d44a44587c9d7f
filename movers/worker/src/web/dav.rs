//! WebDAV (RFC 4918): PUT to a temporary name, MOVE with `Overwrite: F`.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use domicile_estate::TEMPORARY_PREFIX;
use futures::future::BoxFuture;
use http::header::HeaderName;
use http::{Method, StatusCode};
use tokio::sync::{OnceCell, mpsc};
use tokio::task::JoinHandle;

use super::{Ask, Web, bare_etag, decode, time_ms};
use crate::http1::Payload;
use crate::listing::ListedKind;
use crate::proof::by_chance;
use crate::s3::Element;
use crate::tree::remote::{Abilities, Asked, Coming, Entry, Remote, Sending, Trouble, TroubleKind};

/// Chunks of a PUT that wait to be sent.
const WAITING: usize = 4;
const WANTED: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><propfind xmlns=\"DAV:\"><prop><resourcetype/>\
                      <getcontentlength/><getlastmodified/><getetag/></prop></propfind>";
const DEPTH: HeaderName = HeaderName::from_static("depth");
const DESTINATION: HeaderName = HeaderName::from_static("destination");
const OVERWRITE: HeaderName = HeaderName::from_static("overwrite");

/// A folder behind WebDAV.
#[derive(Debug, Clone)]
pub(super) struct Dav {
    web: Web,
    /// Whether it moves things to names with `?`, `#` or `;` in them.
    keeps_marks: Arc<OnceCell<bool>>,
}

/// A method that HTTP itself does not have. The names are ours and are good.
fn method(name: &'static str) -> Method {
    Method::from_bytes(name.as_bytes()).unwrap_or_default()
}

impl Dav {
    pub(super) fn new(web: Web) -> Self {
        Self {
            web,
            keeps_marks: Arc::default(),
        }
    }

    /// Some servers take the target of a move for an address once more after they have decoded it, and cut the name off
    /// where a query or a fragment would begin: it would come to lie under another name, or on somebody else's object.
    async fn can_move_to(&self, path: &str) -> Result<(), Trouble> {
        if !path.contains(['?', '#', ';']) || *self.keeps_marks.get_or_try_init(|| self.try_marks()).await? {
            return Ok(());
        }
        let message =
            "this server cuts names off at `?`, `#` or `;` when it moves something there; rename the object";
        Err(Trouble::new(TroubleKind::Name, message))
    }

    async fn try_marks(&self) -> Result<bool, Trouble> {
        let cut = format!("{TEMPORARY_PREFIX}{:016x}", by_chance());
        let (from, to) = (format!("{cut}.part"), format!("{cut};a?b#c"));
        self.write(&from, 0).await?.finish().await?;
        let moved = self.move_to(&from, &to, false).await;
        let arrived = self.look(&to).await;
        for left in [&from, &to, &cut] {
            // Whichever of them is there.
            let _ = self.remove(left).await;
        }
        moved?;
        Ok(arrived?.is_some())
    }

    async fn move_to(&self, from: &str, to: &str, replace: bool) -> Result<(), Trouble> {
        let ask = Ask::new(method("MOVE"), from)
            .header(DESTINATION, &self.destination(to))
            .header(OVERWRITE, if replace { "T" } else { "F" });
        // Once: a second MOVE after a lost answer would find nothing to move.
        let response = self.web.ask_once(&ask).await?;
        self.web.http.all_bytes(response.into_body()).await?;
        Ok(())
    }

    /// What PROPFIND tells of a path, and of what lies in it if it is a folder and `depth` is 1.
    async fn properties(&self, path: &str, depth: &str) -> Result<Vec<(String, Entry)>, Trouble> {
        can_be_named(path)?;
        let mut ask = Ask::new(method("PROPFIND"), path)
            .header(DEPTH, depth)
            .header(http::header::CONTENT_TYPE, "application/xml");
        ask.payload = Payload::of(&[Bytes::from_static(WANTED.as_bytes())]);
        let response = self.web.ask(&ask).await?;
        if response.status() != StatusCode::MULTI_STATUS {
            let message = format!("the server said {} and knows no WebDAV here", response.status());
            return Err(Trouble::new(TroubleKind::Place, message));
        }
        let text = self.web.http.all_bytes(response.into_body()).await?;
        let answer = Element::parse(&text);
        let answer = answer.ok_or_else(|| Trouble::passing("the server's answer is no whole XML"))?;
        Ok(answer.children.iter().filter_map(described).collect())
    }

    /// Where a path would move to.
    fn destination(&self, path: &str) -> String {
        format!(
            "{}://{}{}",
            self.web.scheme,
            self.web.authority,
            self.web.encoded(path)
        )
    }

    /// The name below a folder of what an answer calls by an address; `None` for the folder itself.
    fn name_in(&self, folder: &str, href: &str) -> Option<String> {
        let whole = match folder {
            "" => format!("{}/", self.web.root),
            folder => format!("{}/{folder}/", self.web.root),
        };
        let name = href.strip_prefix(&whole)?.trim_end_matches('/');
        (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
    }
}

/// Some servers drop control characters without a word, and the object would lie under another name.
fn can_be_named(path: &str) -> Result<(), Trouble> {
    if path.contains(char::is_control) {
        let message = "WebDAV cannot name what has a control character in its name";
        return Err(Trouble::new(TroubleKind::Name, message));
    }
    Ok(())
}

/// A path and what lies there, from one `response`.
fn described(response: &Element) -> Option<(String, Entry)> {
    let child = |name: &str| response.children.iter().find(|child| child.name == name);
    let href = child("href")?.text.trim();
    // An address may be whole or only a path.
    let path = match href.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => href,
    };
    // What the server does not have of what was asked for comes in a propstat of its own.
    let good = response.children.iter().filter(|child| {
        child.name == "propstat"
            && child
                .children
                .iter()
                .any(|one| one.name == "status" && one.text.contains(" 200"))
    });
    let properties: Vec<&Element> = good
        .flat_map(|propstat| &propstat.children)
        .filter(|child| child.name == "prop")
        .flat_map(|prop| &prop.children)
        .collect();
    let text = |name: &str| {
        properties
            .iter()
            .find(|one| one.name == name)
            .map(|one| one.text.trim())
    };
    let is_folder = properties
        .iter()
        .any(|one| one.name == "resourcetype" && one.children.iter().any(|kind| kind.name == "collection"));
    let entry = Entry {
        name: String::new(),
        size: text("getcontentlength").and_then(|size| size.parse().ok()),
        modified_ms: text("getlastmodified").and_then(time_ms),
        etag: text("getetag").filter(|etag| !etag.is_empty()).map(bare_etag),
        kind: (!is_folder).then_some(ListedKind::File),
    };
    Some((decode(path)?, entry))
}

impl Remote for Dav {
    fn abilities(&self) -> Abilities {
        Abilities {
            writes: true,
            renames_exclusively: true,
            // DELETE takes all that lies in a folder with it (RFC 4918, 9.6.1).
            removes_empty_folders: false,
            guards_way: self.web.is_guarded(),
        }
    }

    fn look<'a>(&'a self, path: &'a str) -> Asked<'a, Option<Entry>> {
        Box::pin(async move {
            match self.properties(path, "0").await {
                Ok(found) => {
                    let entry = found.into_iter().next().map(|(_, entry)| entry);
                    entry
                        .map(Some)
                        .ok_or_else(|| Trouble::passing("the server tells nothing of it"))
                }
                Err(trouble) if trouble.is(TroubleKind::Gone) => Ok(None),
                Err(trouble) => Err(trouble),
            }
        })
    }

    fn children<'a>(&'a self, folder: &'a str) -> Asked<'a, Vec<Entry>> {
        Box::pin(async move {
            let path = if folder.is_empty() {
                String::new()
            } else {
                format!("{folder}/")
            };
            let found = self.properties(&path, "1").await?;
            Ok(found
                .into_iter()
                .filter_map(|(href, entry)| {
                    let name = self.name_in(folder, &href)?;
                    Some(Entry { name, ..entry })
                })
                .collect())
        })
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>, seen: &'a Entry) -> Asked<'a, Box<dyn Coming>> {
        Box::pin(async move {
            let read = self.web.read(path, range, seen).await;
            // Here the condition was that it is what was seen.
            read.map_err(|trouble| match trouble.kind {
                TroubleKind::Exists => super::changed(),
                _ => trouble,
            })
        })
    }

    fn write<'a>(&'a self, path: &'a str, size: u64) -> Asked<'a, Box<dyn Sending>> {
        Box::pin(async move {
            let (sender, receiver) = mpsc::channel(WAITING);
            let (web, path) = (self.web.clone(), path.to_owned());
            let put = tokio::spawn(async move {
                let mut ask = Ask::new(Method::PUT, &path);
                ask.payload = Payload::coming(receiver, size);
                // Once: its bytes are gone when they are sent.
                let response = web.ask_once(&ask).await?;
                web.http.all_bytes(response.into_body()).await?;
                Ok(())
            });
            Ok(Box::new(Put {
                sender: Some(sender),
                put: Some(put),
            }) as Box<dyn Sending>)
        })
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str, replace: bool) -> Asked<'a, ()> {
        Box::pin(async move {
            can_be_named(to)?;
            self.can_move_to(to).await?;
            self.move_to(from, to, replace).await
        })
    }

    fn remove<'a>(&'a self, path: &'a str) -> Asked<'a, ()> {
        Box::pin(async move {
            // A folder would go with all that lies in it.
            match self.look(path).await? {
                None => Ok(()),
                Some(entry) if entry.is_folder() => {
                    Err(Trouble::new(TroubleKind::Exists, "a folder lies there"))
                }
                Some(_) => self.web.do_it(&Ask::new(Method::DELETE, path)).await,
            }
        })
    }

    fn make_folder<'a>(&'a self, path: &'a str) -> Asked<'a, ()> {
        Box::pin(async move {
            let path = format!("{path}/");
            let made = self
                .web
                .do_it(&Ask::new(method("MKCOL"), path.trim_start_matches('/')))
                .await;
            // "Not allowed" says that something is there (RFC 4918, 9.3.1).
            made.map_err(|trouble| match trouble.kind {
                TroubleKind::Denied => Trouble::new(TroubleKind::Exists, trouble.message),
                _ => trouble,
            })
        })
    }

    /// Only locks of ours, which nobody puts anything into.
    fn remove_folder<'a>(&'a self, path: &'a str) -> Asked<'a, ()> {
        Box::pin(async move {
            if !self.children(path).await?.is_empty() {
                return Err(Trouble::new(TroubleKind::Exists, "something lies in it"));
            }
            self.web
                .do_it(&Ask::new(Method::DELETE, &format!("{path}/")))
                .await
        })
    }
}

/// A PUT under way. What is dropped breaks off, and the server has promised a length that it does not get.
struct Put {
    sender: Option<mpsc::Sender<Bytes>>,
    put: Option<JoinHandle<Result<(), Trouble>>>,
}

impl Put {
    async fn answer(&mut self) -> Result<(), Trouble> {
        self.sender = None;
        match self.put.take() {
            Some(put) => put.await.unwrap_or_else(|_| Err(broken_off())),
            None => Err(broken_off()),
        }
    }
}

fn broken_off() -> Trouble {
    Trouble::passing("the request has broken off")
}

impl Drop for Put {
    fn drop(&mut self) {
        if let Some(put) = &self.put {
            put.abort();
        }
    }
}

impl Sending for Put {
    fn send(&mut self, bytes: Bytes) -> Asked<'_, ()> {
        Box::pin(async move {
            let sent = match &self.sender {
                Some(sender) => sender.send(bytes).await.is_ok(),
                None => false,
            };
            if sent {
                return Ok(());
            }
            // It was refused before its end; the answer says why.
            Err(self.answer().await.err().unwrap_or_else(broken_off))
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<(), Trouble>> {
        Box::pin(async move { self.answer().await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_whatever_the_prefixes_are() {
        let xml = br#"<?xml version="1.0"?><ns0:multistatus xmlns:ns0="DAV:"><ns0:response>
            <ns0:href>http://h:1/dav/a%20b</ns0:href><ns0:propstat><ns0:prop><ns0:resourcetype/>
            <ns0:getcontentlength>5</ns0:getcontentlength><ns0:getetag>"x"</ns0:getetag></ns0:prop>
            <ns0:status>HTTP/1.1 200 OK</ns0:status></ns0:propstat><ns0:propstat><ns0:prop><ns0:getlastmodified/></ns0:prop>
            <ns0:status>HTTP/1.1 404 Not Found</ns0:status></ns0:propstat></ns0:response>
            <ns0:response><ns0:href>/dav/f/</ns0:href><ns0:propstat><ns0:prop><ns0:resourcetype><ns0:collection/>
            </ns0:resourcetype></ns0:prop><ns0:status>HTTP/1.1 200 OK</ns0:status></ns0:propstat></ns0:response>
            </ns0:multistatus>"#;
        let answer = Element::parse(xml).unwrap();
        let found: Vec<_> = answer.children.iter().filter_map(described).collect();
        let [(file, entry), (folder, below)] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(
            (file.as_str(), entry.size, entry.is_file()),
            ("/dav/a b", Some(5), true)
        );
        assert_eq!((entry.etag.as_deref(), entry.modified_ms), (Some("x"), None));
        assert_eq!((folder.as_str(), below.is_folder()), ("/dav/f/", true));
    }
}
