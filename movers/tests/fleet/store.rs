//! A model of the target: uploads in parts that nobody sees before they are completed, conditional writes that are
//! honoured or not, and requests that arrive once more, later.

use std::collections::BTreeMap;

use domicile_movers::{Seen, TransferId, UploadTag, tree};

/// Bytes of a part.
pub const PART: u64 = 1024;
/// What bytes that were turned on their way look like.
pub const TURNED: u64 = 1 << 40;

/// An object, as one number for each of its parts.
pub type Content = Vec<u64>;

/// What reading a content tells.
pub fn seen(content: &[u64]) -> Seen {
    let size = PART * content.len() as u64;
    let values: Vec<_> = content.iter().map(|label| chaining(*label)).collect();
    Seen {
        size,
        sha256: Some(format!("s{content:?}")),
        blake3: tree::root(PART, size, &values).unwrap_or_else(|| format!("b{content:?}")),
    }
}

pub fn chaining(label: u64) -> tree::ChainingValue {
    let mut value = [0; 32];
    value[..8].copy_from_slice(&label.to_le_bytes());
    value
}

/// The object under its name.
#[derive(Debug, Clone)]
pub struct Visible {
    pub content: Content,
    pub etag: String,
    pub written_by: Option<TransferId>,
    /// The store or the network has turned its bytes.
    pub turned: bool,
}

#[derive(Debug, Clone)]
pub struct Upload {
    pub tag: UploadTag,
    /// By number: what is stored, and what it is called.
    pub parts: BTreeMap<u32, (u64, String)>,
    /// What was sent is not what was read.
    pub turned: bool,
}

/// What a store can do.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    /// Whether it honours conditions on writes and removals.
    pub conditional: bool,
    /// Whether it tells who wrote an object.
    pub marks: bool,
    /// Whether equal parts have equal names.
    pub stable_etags: bool,
}

#[derive(Debug, Clone)]
pub struct Store {
    pub traits: Traits,
    pub visible: Option<Visible>,
    /// What lies under the second name.
    pub spare: Option<Content>,
    pub uploads: BTreeMap<String, Upload>,
    names: u64,
}

/// What came of making something visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    Done(String),
    Occupied,
    NoUpload,
}

impl Store {
    pub fn new(traits: Traits, before: Option<Content>) -> Self {
        let mut store = Self {
            traits,
            visible: None,
            spare: None,
            uploads: BTreeMap::new(),
            names: 0,
        };
        if let Some(content) = before {
            store.put_foreign(content);
        }
        store
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("n{}", self.names)
    }

    pub fn put_foreign(&mut self, content: Content) {
        let etag = self.name();
        self.visible = Some(Visible {
            content,
            etag,
            written_by: None,
            turned: false,
        });
    }

    pub fn begin(&mut self, tag: UploadTag) -> String {
        let token = self.name();
        let upload = Upload {
            tag,
            parts: BTreeMap::new(),
            turned: false,
        };
        self.uploads.insert(token.clone(), upload);
        token
    }

    /// Stores a part; `turn` says that other bytes arrive than were sent.
    pub fn put_part(&mut self, token: &str, number: u32, label: u64, turn: bool) -> Option<String> {
        let stored = if turn { label | TURNED } else { label };
        let etag = if self.traits.stable_etags {
            format!("e{stored}")
        } else {
            self.name()
        };
        let upload = self.uploads.get_mut(token)?;
        upload.turned |= turn;
        upload.parts.insert(number, (stored, etag.clone()));
        Some(etag)
    }

    /// Completes an upload, if its parts are called as told.
    pub fn complete(
        &mut self,
        token: &str,
        etags: &[(u32, String)],
        condition: Condition,
        turn: bool,
    ) -> Put {
        let Some(upload) = self.uploads.get(token) else {
            return Put::NoUpload;
        };
        let stored = |(number, etag): &(u32, String)| {
            let (label, name) = upload.parts.get(number)?;
            (name == etag).then_some(*label)
        };
        let Some(content) = etags.iter().map(stored).collect::<Option<Content>>() else {
            return Put::NoUpload;
        };
        let (tag, turned) = (upload.tag.clone(), upload.turned);
        let put = self.put(content, tag, condition, turn);
        if let (Put::Done(_), Some(visible)) = (&put, &mut self.visible) {
            visible.turned |= turned;
            self.uploads.remove(token);
        }
        put
    }

    /// Writes an object at once.
    pub fn put(&mut self, mut content: Content, tag: UploadTag, condition: Condition, turn: bool) -> Put {
        if self.traits.conditional && !condition.holds(self.visible.as_ref()) {
            return Put::Occupied;
        }
        if let (true, Some(first)) = (turn, content.first_mut()) {
            *first |= TURNED;
        }
        let etag = self.name();
        self.visible = Some(Visible {
            content,
            etag: etag.clone(),
            written_by: Some(tag.transfer),
            turned: turn,
        });
        Put::Done(etag)
    }

    /// Removes the object, unless it is another one than told; returns what was removed.
    pub fn remove(&mut self, etag: Option<&str>) -> Option<Visible> {
        let other = |visible: &Visible| etag.is_some_and(|etag| etag != visible.etag);
        if self.traits.conditional && self.visible.as_ref().is_some_and(other) {
            return None;
        }
        self.visible.take()
    }

    /// Gives up every upload of a transfer.
    pub fn reclaim(&mut self, transfer: &TransferId) {
        self.uploads.retain(|_, upload| upload.tag.transfer != *transfer);
    }
}

/// Under which condition an object is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing is there.
    Nothing,
    /// This very object is there.
    This(Option<String>),
}

impl Condition {
    fn holds(&self, visible: Option<&Visible>) -> bool {
        match self {
            Self::Nothing => visible.is_none(),
            Self::This(None) => true,
            Self::This(Some(etag)) => visible.is_some_and(|visible| visible.etag == *etag),
        }
    }
}
