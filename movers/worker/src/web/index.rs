//! What a plain web server gives out: files by GET, and folders as pages of links, as nginx, Apache and others make them.

use std::ops::Range;

use http::Method;

use super::{Ask, Web, decode, entry};
use crate::listing::ListedKind;
use crate::tree::remote::{Abilities, Asked, Coming, Entry, Remote, Sending, Trouble, TroubleKind, joined};

/// A folder that a web server shows.
#[derive(Debug, Clone)]
pub(super) struct Index(pub Web);

fn cannot<T>() -> Result<T, Trouble> {
    let message = "a web server can only be read: say `accessMode: ReadOnly`";
    Err(Trouble::new(TroubleKind::Denied, message))
}

impl Remote for Index {
    fn abilities(&self) -> Abilities {
        Abilities {
            writes: false,
            renames_exclusively: false,
            removes_empty_folders: false,
            guards_way: self.0.is_guarded(),
        }
    }

    fn look<'a>(&'a self, path: &'a str) -> Asked<'a, Option<Entry>> {
        Box::pin(async move {
            let response = match self.0.ask(&Ask::new(Method::HEAD, path)).await {
                Err(trouble) if trouble.is(TroubleKind::Gone) => return Ok(None),
                // To the same path with a `/` at its end: it is a folder.
                Err(trouble) if trouble.is(TroubleKind::Place) && !path.is_empty() => {
                    return Ok(Some(folder(String::new())));
                }
                other => other?,
            };
            let found = entry(response.headers());
            Ok(Some(if path.is_empty() {
                folder(String::new())
            } else {
                found
            }))
        })
    }

    fn children<'a>(&'a self, of: &'a str) -> Asked<'a, Vec<Entry>> {
        Box::pin(async move {
            let path = if of.is_empty() {
                String::new()
            } else {
                format!("{of}/")
            };
            let response = self.0.ask(&Ask::new(Method::GET, &path)).await?;
            let page = self.0.http.all_bytes(response.into_body()).await?;
            let page = String::from_utf8_lossy(&page);
            let mut found = Vec::new();
            for link in links(&page) {
                match link.strip_suffix('/') {
                    Some(name) => found.push(folder(name.to_owned())),
                    None => {
                        // A page of links tells sizes for people, if at all.
                        let looked = self.look(&joined(of, &link)).await?;
                        found.extend(looked.map(|entry| Entry { name: link, ..entry }));
                    }
                }
            }
            Ok(found)
        })
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>, seen: &'a Entry) -> Asked<'a, Box<dyn Coming>> {
        Box::pin(async move {
            let read = self.0.read(path, range, seen).await;
            read.map_err(|trouble| match trouble.kind {
                TroubleKind::Exists => super::changed(),
                _ => trouble,
            })
        })
    }

    fn write<'a>(&'a self, _: &'a str, _: u64) -> Asked<'a, Box<dyn Sending>> {
        Box::pin(async { cannot() })
    }

    fn rename<'a>(&'a self, _: &'a str, _: &'a str, _: bool) -> Asked<'a, ()> {
        Box::pin(async { cannot() })
    }

    fn remove<'a>(&'a self, _: &'a str) -> Asked<'a, ()> {
        Box::pin(async { cannot() })
    }

    fn make_folder<'a>(&'a self, _: &'a str) -> Asked<'a, ()> {
        Box::pin(async { cannot() })
    }

    fn remove_folder<'a>(&'a self, _: &'a str) -> Asked<'a, ()> {
        Box::pin(async { cannot() })
    }
}

fn folder(name: String) -> Entry {
    Entry {
        name,
        size: None,
        modified_ms: None,
        etag: None,
        kind: None::<ListedKind>,
    }
}

/// The names that a page links to within its own folder, each once; folders with their `/`.
fn links(page: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for after in page.split("href=").skip(1).chain(page.split("HREF=").skip(1)) {
        let quote = after
            .chars()
            .next()
            .filter(|quote| *quote == '"' || *quote == '\'');
        let Some(link) = quote.and_then(|quote| after[1..].split(quote).next()) else {
            continue;
        };
        let link = link
            .replace("&amp;", "&")
            .replace("&#39;", "'")
            .replace("&quot;", "\"");
        let link = link.strip_prefix("./").unwrap_or(&link);
        // To the folder above, elsewhere, or to the same page in another order.
        if link.is_empty() || link.starts_with(['/', '?', '#']) || link.contains("://") {
            continue;
        }
        let Some(name) = decode(link.split(['?', '#']).next().unwrap_or_default()) else {
            continue;
        };
        let inner = name.trim_end_matches('/');
        let plain = !inner.is_empty() && !inner.contains('/') && inner != "." && inner != "..";
        if plain && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_down_and_nowhere_else() {
        let page = r#"<a href="../">..</a><a href="?C=N;O=D">Name</a><a href="/top">x</a><a href='a%20b.txt'>a b</a>
            <a href="sub/">sub</a><a href="sub/">sub</a><a href="https://elsewhere/x">y</a><a href="...">dots</a>
            <a href="R&amp;D%3f">r</a><a href="a/b">deep</a>"#;
        assert_eq!(links(page), ["a b.txt", "sub/", "...", "R&D?"]);
    }
}
