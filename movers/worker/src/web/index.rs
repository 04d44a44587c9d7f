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
            let whole = format!("{}/{path}", self.0.root);
            if !is_listing(&page, &whole) {
                return Err(no_listing(&page, &whole));
            }
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

/// What titles of listings say: of nginx, Apache, lighttpd, Python and others, in small letters.
const TITLES: &[&str] = &[
    "index of",
    "directory listing",
    "listing of",
    "directory:",
    "files within",
    "contents of",
];
/// Letters of a title that are told.
const TOLD: usize = 60;

/// Whether a page is the listing of a folder, by its path: its title or first heading says so, or names the folder, or it has
/// a link to the folder above. Any other page has links too, and they are no objects.
fn is_listing(page: &str, path: &str) -> bool {
    let above = path
        .trim_end_matches('/')
        .rsplit_once('/')
        .map(|(above, _)| format!("{above}/"));
    let leads_up = |link: String| {
        let target = decode(link.split(['?', '#']).next().unwrap_or_default());
        target
            .is_some_and(|target| matches!(target.as_str(), "../" | "..") || Some(&target) == above.as_ref())
    };
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let whole = path.trim_end_matches('/');
    let names_it = |heading: &str| {
        let is_name = !heading.is_empty() && heading.trim_matches('/') == name;
        is_name || (!whole.is_empty() && heading.contains(whole))
    };
    let says_so = |heading: &str| {
        let small = heading.to_lowercase();
        TITLES.iter().any(|title| small.contains(title))
    };
    let headings = ["title", "h1"].map(|tag| heading(page, tag));
    let mut headings = headings.iter().flatten();
    headings.any(|heading| says_so(heading) || names_it(heading)) || hrefs(page).any(leads_up)
}

/// It may pass: networks that want somebody to sign in answer so.
fn no_listing(page: &str, path: &str) -> Trouble {
    let titled = match heading(page, "title") {
        Some(title) => format!(" titled `{}`", title.chars().take(TOLD).collect::<String>()),
        None => String::new(),
    };
    Trouble::passing(format!(
        "`{path}` gave a page{titled} that is no list of files, as nginx, Apache or Python make it; look at it with a browser: \
         is the address right, has the folder a page of its own (`index.html`), or does the network want you to sign in?"
    ))
}

/// The text of the first element of this name, without what is nested in it.
fn heading(page: &str, tag: &str) -> Option<String> {
    let small = page.to_ascii_lowercase();
    let begin = small.find(&format!("<{tag}"))?;
    let begin = begin + small[begin..].find('>')? + 1;
    let end = begin + small[begin..].find(&format!("</{tag}"))?;
    let mut text = String::new();
    for (at, piece) in page[begin..end].split('<').enumerate() {
        text.push_str(match at {
            0 => piece,
            _ => piece.split_once('>').map_or("", |(_, after)| after),
        });
    }
    let text = plain(&text);
    let words: Vec<&str> = text.split_whitespace().collect();
    Some(words.join(" "))
}

/// Text without the marks that HTML writes for some letters.
fn plain(text: &str) -> String {
    text.replace("&#39;", "'")
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

/// What a page links to.
fn hrefs(page: &str) -> impl Iterator<Item = String> + '_ {
    let after = page.split("href=").skip(1).chain(page.split("HREF=").skip(1));
    after.filter_map(|after| {
        let quote = after
            .chars()
            .next()
            .filter(|quote| *quote == '"' || *quote == '\'')?;
        after[1..].split(quote).next().map(plain)
    })
}

/// The names that a page links to within its own folder, each once; folders with their `/`.
fn links(page: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for link in hrefs(page) {
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
    fn a_listing_is_told_from_any_other_page() {
        let listings = [
            (
                "/f/",
                "<html><head><title>Index of /f/</title></head><body><h1>Index of /f/</h1><a href='a'>a</a>",
            ),
            (
                "/",
                "<!DOCTYPE HTML><html><title>Directory listing for /</title><ul></ul></html>",
            ),
            (
                "/pub/f/",
                "<TITLE>server - /pub/f/</TITLE><H1>server - /pub/f/</H1><pre><A HREF=\"/pub/\">[Up]</A>",
            ),
            ("/pub/f/", "<title>f</title><h1><a href=\"../\">pub</a>/f</h1>"),
            ("/", "<title>/</title><a href=\"./a\">a</a>"),
            (
                "/f/",
                "<h1>Files of mine</h1><a href=\"../\">up</a><a href=\"a\">a</a>",
            ),
            ("/a & b/", "<h1>In <b>/a &amp; b/</b></h1>"),
        ];
        for (path, page) in listings {
            assert!(is_listing(page, path), "{page}");
        }
        let others = [
            (
                "/f/",
                "<html><head><title>Welcome to nginx!</title></head><body><h1>Welcome</h1><a href=\"docs/\">d</a>",
            ),
            (
                "/",
                "<html><body>Please sign in: <a href=\"login\">here</a></body></html>",
            ),
            ("/f/", "[{\"name\": \"a\", \"type\": \"file\"}]"),
            ("/f/", ""),
            ("/", "<title></title><a href=\"style.css\">"),
            ("/f/", "<title>unended"),
        ];
        for (path, page) in others {
            assert!(!is_listing(page, path), "{page}");
        }
        let told = no_listing(others[0].1, "/f/").message;
        assert!(
            told.contains("`/f/` gave a page titled `Welcome to nginx!`"),
            "{told}"
        );
    }

    #[test]
    fn links_lead_down_and_nowhere_else() {
        let page = r#"<a href="../">..</a><a href="?C=N;O=D">Name</a><a href="/top">x</a><a href='a%20b.txt'>a b</a>
            <a href="sub/">sub</a><a href="sub/">sub</a><a href="https://elsewhere/x">y</a><a href="...">dots</a>
            <a href="R&amp;D%3f">r</a><a href="a/b">deep</a>"#;
        assert_eq!(links(page), ["a b.txt", "sub/", "...", "R&D?"]);
    }
}
