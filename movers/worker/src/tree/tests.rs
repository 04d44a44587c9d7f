//! A remote folder that does what a real server cannot be told to do: cut an answer short, and have an old clock.

use std::collections::BTreeMap;

use super::remote::{Abilities, Asked, Sending};
use super::*;
use crate::listing::ListedKind;
use crate::store::size_of_chunks;

const HOUR_MS: i64 = 3_600_000;
const NOW_MS: i64 = 1_000 * HOUR_MS;

/// Files and folders by their paths; `None` for a folder.
type Things = Arc<Mutex<BTreeMap<String, (Option<Vec<u8>>, i64)>>>;

#[derive(Debug, Clone, Default)]
struct Shelf {
    things: Things,
    /// Bytes that are missing at the end of what is read.
    cut: usize,
}

impl Shelf {
    fn with(things: &[(&str, Option<&[u8]>, i64)]) -> Self {
        let shelf = Self::default();
        for (path, bytes, ms) in things {
            let thing = (bytes.map(<[u8]>::to_vec), *ms);
            shelf.things.lock().unwrap().insert((*path).to_owned(), thing);
        }
        shelf
    }

    fn store(&self) -> TreeStore {
        let backend = BackendName::new("shelf").unwrap();
        TreeStore::new(
            backend,
            Arc::new(self.clone()),
            Redactor::default(),
            "shelf".to_owned(),
        )
    }

    fn paths(&self) -> Vec<String> {
        self.things.lock().unwrap().keys().cloned().collect()
    }
}

fn entry(name: &str, (bytes, modified_ms): &(Option<Vec<u8>>, i64)) -> Entry {
    Entry {
        name: name.to_owned(),
        size: bytes.as_ref().map(|bytes| bytes.len() as u64),
        modified_ms: Some(*modified_ms),
        etag: None,
        kind: bytes.as_ref().map(|_| ListedKind::File),
    }
}

struct Given(Vec<Bytes>);

impl Coming for Given {
    fn next(&mut self) -> Asked<'_, Option<Bytes>> {
        let next = self.0.pop();
        Box::pin(async { Ok(next) })
    }
}

struct Taken(Things, String, Vec<Bytes>);

impl Sending for Taken {
    fn send(&mut self, bytes: Bytes) -> Asked<'_, ()> {
        self.2.push(bytes);
        Box::pin(async { Ok(()) })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), Trouble>> {
        let mut whole = Vec::with_capacity(size_of_chunks(&self.2) as usize);
        self.2.iter().for_each(|chunk| whole.extend_from_slice(chunk));
        self.0.lock().unwrap().insert(self.1, (Some(whole), NOW_MS));
        Box::pin(async { Ok(()) })
    }
}

impl Remote for Shelf {
    fn abilities(&self) -> Abilities {
        Abilities {
            writes: true,
            renames_exclusively: false,
            removes_empty_folders: true,
            guards_way: false,
        }
    }

    fn look<'a>(&'a self, path: &'a str) -> Asked<'a, Option<Entry>> {
        let root = path.is_empty().then(|| entry("", &(None, 0)));
        let found = self
            .things
            .lock()
            .unwrap()
            .get(path)
            .map(|thing| entry("", thing));
        Box::pin(async move { Ok(root.or(found)) })
    }

    fn children<'a>(&'a self, folder: &'a str) -> Asked<'a, Vec<Entry>> {
        let things = self.things.lock().unwrap();
        let below = things.iter().filter_map(|(path, thing)| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            (parent == folder).then(|| entry(name, thing))
        });
        let found = below.collect();
        Box::pin(async { Ok(found) })
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>, _: &'a Entry) -> Asked<'a, Box<dyn Coming>> {
        let bytes = self.things.lock().unwrap()[path].0.clone().unwrap();
        let bytes = Bytes::from(bytes).slice(range.start as usize..range.end as usize - self.cut);
        Box::pin(async { Ok(Box::new(Given(vec![bytes])) as Box<dyn Coming>) })
    }

    fn write<'a>(&'a self, path: &'a str, _: u64) -> Asked<'a, Box<dyn Sending>> {
        let taken = Taken(self.things.clone(), path.to_owned(), Vec::new());
        Box::pin(async { Ok(Box::new(taken) as Box<dyn Sending>) })
    }

    /// Overwrites without a word, as FTP does.
    fn rename<'a>(&'a self, from: &'a str, to: &'a str, _: bool) -> Asked<'a, ()> {
        let mut things = self.things.lock().unwrap();
        let thing = things.remove(from).unwrap();
        things.insert(to.to_owned(), thing);
        Box::pin(async { Ok(()) })
    }

    fn remove<'a>(&'a self, path: &'a str) -> Asked<'a, ()> {
        let gone = self.things.lock().unwrap().remove(path).is_none();
        Box::pin(async move {
            if gone {
                return Err(Trouble::new(TroubleKind::Gone, "nothing is there"));
            }
            Ok(())
        })
    }

    fn make_folder<'a>(&'a self, path: &'a str) -> Asked<'a, ()> {
        let mut things = self.things.lock().unwrap();
        let is_there = things.contains_key(path);
        things.entry(path.to_owned()).or_insert((None, NOW_MS));
        Box::pin(async move {
            if is_there {
                return Err(Trouble::new(TroubleKind::Exists, "it is there"));
            }
            Ok(())
        })
    }

    fn remove_folder<'a>(&'a self, path: &'a str) -> Asked<'a, ()> {
        self.remove(path)
    }
}

#[tokio::test]
async fn what_comes_cut_short_is_a_failure_and_not_a_short_object() {
    let mut shelf = Shelf::with(&[("d", None, 0), ("d/a", Some(b"0123456789"), 0)]);
    for range in [None, Some(2..8)] {
        for (cut, whole) in [(0, true), (1, false)] {
            shelf.cut = cut;
            let wanted = Wanted {
                range: range.clone(),
                ..Wanted::whole("d/a", Role::Source)
            };
            let mut content = shelf.store().open_content(wanted).await.unwrap();
            let mut last = content.next().await;
            while matches!(last, Ok(Some(_))) {
                last = content.next().await;
            }
            match last {
                Ok(_) => assert!(whole, "one byte is missing and nobody says so"),
                Err(failure) => {
                    assert!(!whole, "{failure}");
                    assert_eq!(failure.class, FailureClass::Transient);
                }
            }
        }
    }
}

#[tokio::test]
async fn what_was_left_behind_is_swept_by_the_clock_over_there() {
    let (hash, old) = ("0123456789abcdef", NOW_MS - HOUR_MS - 1);
    let part = |name: &str| format!("d/.domicile-{hash}-{name}000000000000000.part");
    let (left, fresh) = (part("1"), part("2"));
    let lock = format!("d/.domicile-{hash}.lock");
    let shelf = Shelf::with(&[
        ("d", None, 0),
        (&left, Some(b"x"), old),
        (&fresh, Some(b"x"), NOW_MS - 1_000),
        (&lock, None, old),
        ("d/.domicile-notes", Some(b"somebody's"), 0),
        ("d/old", Some(b"x"), 0),
    ]);
    assert_eq!(shelf.store().sweep("d/").await, Ok(2));
    assert_eq!(shelf.paths(), ["d", fresh.as_str(), "d/.domicile-notes", "d/old"]);
}

#[tokio::test]
async fn where_a_rename_would_overwrite_the_lock_does_not_let_it() {
    let shelf = Shelf::with(&[("d", None, 0), ("d/a", Some(b"theirs"), 0)]);
    let whole = Whole {
        chunks: vec![Bytes::from_static(b"ours")],
        checksum: crate::store::Crc64(0),
    };
    let aim = |path| Aim {
        size: 4,
        ..Aim::nowhere(path)
    };
    assert_eq!(
        shelf.store().put_whole(aim("d/a"), &whole).await,
        Ok(Published::Occupied)
    );
    let done = Published::DONE;
    assert_eq!(shelf.store().put_whole(aim("d/b"), &whole).await, Ok(done));
    assert_eq!(
        shelf.paths(),
        ["d", "d/a", "d/b"],
        "no temporary file and no lock stays"
    );
    assert_eq!(
        shelf.things.lock().unwrap()["d/a"].0.as_deref(),
        Some(&b"theirs"[..])
    );
}

#[tokio::test]
async fn what_turned_on_its_way_is_found_before_it_replaces_anything() {
    let shelf = Shelf::with(&[("d", None, 0), ("d/a", Some(b"old"), 0)]);
    let aim = Aim {
        size: 3,
        how: domicile_movers::Publication::Replace,
        ..Aim::nowhere("d/a")
    };
    let upload = shelf.store().begin(aim).await.unwrap();
    let part = crate::store::Part {
        number: 1,
        offset: 0,
        chunks: vec![Bytes::from_static(b"new")],
        checksum: crate::store::Crc64(0),
    };
    upload.put_part(&part).await.unwrap();
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let seen = upload.seen().await.unwrap().unwrap();
    assert_eq!((seen.size, seen.blake3), (3, digest(b"new")));
    let temporary = shelf.paths().into_iter().find(|path| path.contains(".domicile-"));
    let turned = (Some(b"nww".to_vec()), NOW_MS);
    shelf.things.lock().unwrap().insert(temporary.unwrap(), turned);
    assert_eq!(upload.seen().await.unwrap().unwrap().blake3, digest(b"nww"));
    upload.abort().await;
    assert_eq!(shelf.paths(), ["d", "d/a"]);
    let old = shelf.things.lock().unwrap()["d/a"].0.clone();
    assert_eq!(old.as_deref(), Some(&b"old"[..]));
}
