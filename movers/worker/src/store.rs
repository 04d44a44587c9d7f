//! What a store can do: a pair of traits that every driver implements, and nothing else that the rest of the worker
//! knows of it.
//!
//! ```text
//!  Source   stat · open (a range, of one version) · list
//!  Sink     put_whole · begin ─▶ Upload: put_part · parts · complete · abort
//!                       resume ─┘ (by a token, in another process too)
//!           delete · unfinished · sweep · probe
//! ```
//!
//! What a driver can and cannot do is declared in [`Capabilities`]; nobody asks what kind of store it is.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use domicile_movers::{Failure, FailureClass, Publication, Seen, StoredPart, UploadToken};
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::carry::Watch;
use crate::digest::PartDigest;
use crate::fs::FsStore;
use crate::listing::Listed;
use crate::role::Role;

/// What a probe writes, under a name that no listing shows and no key can have.
pub(crate) const PROBE_BYTES: &[u8] = b"domicile was here, and should have removed this\n";

/// Something that a driver is doing.
pub(crate) type Doing<'a, T> = BoxFuture<'a, Result<T, Failure>>;
/// Where the pages of a listing go.
pub(crate) type Pages = mpsc::Sender<Result<Vec<Listed>, Failure>>;

/// A driver: one store as source and as sink.
pub(crate) trait Store: Source + Sink + fmt::Debug + Send + Sync {
    /// The store as a folder of this machine, if it is one: from folder to folder the system copies by itself.
    fn as_folder(&self) -> Option<&FsStore> {
        None
    }
}

/// What a driver can do. A store that cannot do a thing safely says so here, and it is done another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// How large objects come in.
    pub parts: Parts,
    /// Objects up to this size are put in one request; not less than the smallest part.
    pub whole_max: u64,
    /// Whether white space at the ends of a path is lost.
    pub trims_paths: bool,
    /// Whether a missing root can be made.
    pub makes_root: bool,
    /// Whether a look at an object costs nothing to speak of.
    pub looks_cheaply: bool,
    /// Whether what comes in parts can be read back before anybody sees it under its name ([`Upload::seen`]).
    pub shows_staged: bool,
}

/// How a large object comes into a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// It cannot: whatever its size, it is held in memory and put whole.
    Never,
    /// One part after the other, and another process cannot go on.
    InOrder,
    /// In any order, this many at once.
    AnyOrder(usize),
}

/// Which state of an object: text that a store made, only ever compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version(pub String);

/// CRC-64/NVME of the bytes, which stores compute themselves over what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crc64(pub u64);

/// What a look at an object tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Its bytes.
    pub size: u64,
    /// Its state.
    pub version: Version,
    /// The store's own checksum of what it holds; `None` where it has none that is of use.
    pub checksum: Option<Crc64>,
    /// The transfer that wrote it; `None` where the store keeps no such note, or it was not ours.
    pub tag: Option<String>,
}

/// What is to be read.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    /// The path below the root.
    pub path: &'a str,
    /// On which side of a transfer.
    pub role: Role,
    /// Which of its bytes; all if `None`.
    pub range: Option<Range<u64>>,
    /// Only if it is still in this state.
    pub version: Option<&'a Version>,
}

impl<'a> Wanted<'a> {
    /// A whole object, in whatever state it is.
    pub(crate) fn whole(path: &'a str, role: Role) -> Self {
        Self {
            path,
            role,
            range: None,
            version: None,
        }
    }
}

/// What a store says of the bytes that it holds, as evidence against bits that turn on the way from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attested {
    /// Its CRC-64/NVME of the whole object.
    pub crc64: Option<Crc64>,
    /// Its MD5 of the whole object, in lower case hexadecimal.
    pub md5: Option<String>,
    /// Where the object was put in parts, what it says of these.
    pub in_parts: Option<InParts>,
}

/// What a store says of an object that somebody has put in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InParts {
    /// The MD5 of the MD5s of the parts, in lower case hexadecimal.
    pub md5: String,
    /// How many they are.
    pub count: u32,
    /// The state of the object.
    pub version: Version,
}

/// Where an object lies, as another store of the same service would call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Neighbour {
    /// The service and by whose right it is used, so that only equal ones reach each other.
    pub service: Service,
    /// The place within the service.
    pub place: String,
}

/// A service and who uses it: a digest, for it is shown where errors are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service([u8; 32]);

impl Service {
    /// The service that these texts, such as an address and a user, name together.
    pub(crate) fn named(texts: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for text in texts {
            // The length before each text: no two lists of texts give the same bytes.
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }
}

/// Bytes that are being read.
pub(crate) trait Content: Send {
    /// The bytes of the whole object when it was opened.
    fn size(&self) -> u64;
    /// Its state when it was opened.
    fn version(&self) -> &Version;
    /// What the store said of the whole object when it was opened.
    fn attested(&self) -> Attested {
        Attested::default()
    }
    /// The next bytes; `None` at the end. An object that changes meanwhile is a failure, here at the latest.
    fn next(&mut self) -> Doing<'_, Option<Bytes>>;
}

/// Where bytes come from.
pub(crate) trait Source {
    /// Looks at an object; `None` if nothing is there.
    fn stat<'a>(&'a self, path: &'a str, role: Role) -> Doing<'a, Option<Stat>>;
    /// Opens an object for reading.
    fn open<'a>(&'a self, wanted: Wanted<'a>) -> Doing<'a, Box<dyn Content>>;
    /// What the store says of the bytes of an object.
    fn attested<'a>(&'a self, _path: &'a str) -> Doing<'a, Attested> {
        Box::pin(async { Ok(Attested::default()) })
    }
    /// Where a part lies that somebody has put, of an object in this state; `None` where the store does not tell.
    fn part_of<'a>(&'a self, _path: &'a str, _number: u32, _: &'a Version) -> Doing<'a, Option<Range<u64>>> {
        Box::pin(async { Ok(None) })
    }
    /// Where an object lies for those stores that can fetch it without us.
    fn neighbour(&self, _path: &str) -> Option<Neighbour> {
        None
    }
    /// Whether bits that turn on the way from it are noticed anyhow: there is no way, or TLS guards it.
    fn way_is_safe(&self) -> bool {
        false
    }
    /// Lists what lies below a prefix, without what lies at or below the paths in `skip` and without temporary files
    /// of ours.
    fn list<'a>(&'a self, prefix: &'a str, skip: &'a [String], pages: &'a Pages) -> Doing<'a, ()>;
    /// Whether the root is missing or has nothing in it but temporary files of ours.
    fn is_empty_or_gone(&self) -> Doing<'_, bool>;
}

/// From whether a store holds something, whether it is empty or gone: one that is missing holds nothing.
pub(crate) fn empty_or_gone(holds: Result<bool, Failure>) -> Result<bool, Failure> {
    match holds {
        Ok(holds) => Ok(!holds),
        Err(failure) if failure.class == FailureClass::StoreMissing => Ok(true),
        Err(failure) => Err(failure),
    }
}

/// The folder that a path lies in, with its last `/`; empty at the root.
pub(crate) fn folder_of(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..=at])
}

/// Where an object is to go, and how it is to become visible there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim<'a> {
    /// The path below the root.
    pub path: &'a str,
    /// Its bytes.
    pub size: u64,
    /// Only if nothing is there, or in the place of what is ours.
    pub how: Publication,
    /// For `Replace`: only if it is still in this state, where that is known.
    pub replaces: Option<&'a Version>,
    /// A note of ours that tells which transfer wrote it, for stores that keep one.
    pub tag: &'a str,
    /// Whether a missing root may be made.
    pub may_create_root: bool,
}

impl<'a> Aim<'a> {
    /// For an upload that is only to be given up.
    pub(crate) fn nowhere(path: &'a str) -> Self {
        Self {
            path,
            size: 0,
            how: Publication::New,
            replaces: None,
            tag: "",
            may_create_root: false,
        }
    }
}

/// A small object that is to be put at once.
#[derive(Debug, Clone)]
pub(crate) struct Whole {
    /// Its bytes.
    pub chunks: Vec<Bytes>,
    /// Their checksum.
    pub checksum: Crc64,
}

impl Whole {
    /// Some bytes, of which nobody has the checksum yet.
    pub(crate) fn of(bytes: Bytes) -> Self {
        let checksum = Crc64(crc_fast::crc64_nvme(&bytes));
        Self {
            chunks: vec![bytes],
            checksum,
        }
    }
}

/// What came of making an object visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Published {
    /// It is visible under its name, durably.
    Done {
        /// Its state, where the store tells.
        version: Option<Version>,
        /// The checksum of what it has stored, where it tells that in the same answer.
        told: Option<Crc64>,
    },
    /// Something else lies there, and was left as it is.
    Occupied,
    /// The store knows no such upload any more, or not with these parts.
    NoUpload,
}

/// An upload that somebody began and nobody has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfinished {
    /// The path that it would have been visible under.
    pub path: String,
    /// By which it can be taken up again or given up.
    pub token: UploadToken,
}

/// Where bytes go.
pub(crate) trait Sink {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;
    /// Puts a small object, durably and at once.
    fn put_whole<'a>(&'a self, aim: Aim<'a>, whole: &'a Whole) -> Doing<'a, Published>;
    /// Begins an object that comes in parts. Nobody sees it before it is complete.
    fn begin<'a>(&'a self, aim: Aim<'a>) -> Doing<'a, Box<dyn Upload>>;
    /// Takes up what another process has begun; `None` if this store cannot. It asks the store nothing.
    fn resume(&self, aim: Aim<'_>, token: &UploadToken) -> Option<Box<dyn Upload>>;
    /// Whether it can fetch from there without us.
    fn reaches(&self, _from: &Neighbour) -> bool {
        false
    }
    /// From how many bytes on an object is worth going on with, where it can be.
    fn resumes_from(&self) -> u64 {
        0
    }
    /// Uploads below a prefix that nobody has ended, the youngest first.
    fn unfinished<'a>(&'a self, prefix: &'a str) -> Doing<'a, Vec<Unfinished>>;
    /// Removes an object, durably; what is not there is removed. With `only`, it is left where it is in another state.
    /// With `emptied`, folders that this leaves empty go too.
    fn delete<'a>(&'a self, path: &'a str, only: Option<&'a Version>, emptied: bool) -> Doing<'a, ()>;
    /// Removes what nobody sees and nobody can go on with below a prefix, and returns how many.
    fn sweep<'a>(&'a self, prefix: &'a str) -> Doing<'a, u64>;
    /// What the store has shown by itself, tried once; what cannot be tried now is not shown.
    fn proven(&self) -> BoxFuture<'_, Proven>;
    /// Takes this for shown, where nothing was tried yet.
    fn assume(&self, _: Proven) {}
    /// Whether it can be used: looks and, if `write`, writes a small object, reads it back and removes it. Where
    /// `may_be_new`, a root that is not there is in order.
    fn probe(&self, write: bool, may_be_new: bool) -> Doing<'_, Probed>;
}

/// What a store has shown rather than promised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Proven {
    /// It refuses bytes that do not match the checksum sent with them, and tells the checksum of what it holds.
    pub checksums: bool,
    /// It refuses to put an object where one is, if it is told to.
    pub refuses_to_overwrite: bool,
    /// Told to remove an object in one state, it leaves one in another where it is, in the same request. Others are looked
    /// at first.
    pub deletes_conditionally: bool,
}

impl Published {
    /// It is visible, and that is all the store says.
    pub(crate) const DONE: Self = Self::Done {
        version: None,
        told: None,
    };
}

impl Proven {
    /// What trying out has shown: nothing where it could not be tried.
    pub(crate) fn by_trying(tried: Result<Self, Failure>) -> Self {
        tried.unwrap_or_else(|failure| {
            tracing::info!("what the store can do is not known: {failure}");
            Self::default()
        })
    }
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probed {
    /// Whether something lies at the root.
    pub holds_something: bool,
    /// Whether something was written.
    pub wrote: bool,
    /// What it has shown; nothing if nothing was written.
    pub proven: Proven,
}

/// A part that is to be put. Its bytes are held: a part that gets lost on the way is sent again.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Its number, from 1.
    pub number: u32,
    /// Where in the object it begins.
    pub offset: u64,
    /// Its bytes.
    pub chunks: Vec<Bytes>,
    /// Their checksum.
    pub checksum: Crc64,
}

impl Part {
    pub(crate) fn size(&self) -> u64 {
        size_of_chunks(&self.chunks)
    }

    /// The part as a store has it that tells nothing of parts.
    pub(crate) fn stored_untold(&self) -> StoredPart {
        StoredPart {
            number: self.number,
            size: self.size(),
            etag: String::new(),
            crc64nvme: None,
        }
    }
}

/// A part that a store is to fetch from a neighbour.
#[derive(Debug, Clone)]
pub(crate) struct Fetch<'a> {
    pub from: &'a Neighbour,
    /// Only if the object is still in this state.
    pub version: &'a Version,
    /// Which of its bytes.
    pub range: Range<u64>,
    /// The number of the part, from 1.
    pub number: u32,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// The part is there.
    Part(StoredPart),
    /// The store knows no such upload any more.
    NoUpload,
    /// The store cannot, or will not: the bytes have to be sent.
    Refused,
}

/// A part that lies in a folder of this machine.
pub(crate) struct FolderPart {
    /// The folder, and where the whole object lies in it.
    pub from: FsStore,
    pub path: String,
    /// Only if it is still in this state.
    pub version: Version,
    /// Its number, from 1.
    pub number: u32,
    /// Where in the object it begins, and its bytes.
    pub offset: u64,
    pub size: u64,
    pub watch: Watch,
}

/// The bytes in chunks.
pub(crate) fn size_of_chunks(chunks: &[Bytes]) -> u64 {
    chunks.iter().map(|chunk| chunk.len() as u64).sum()
}

/// An object that comes in parts. What is dropped without an end may stay at the store, unseen, and can be swept.
pub(crate) trait Upload: Send + Sync {
    /// By which another process can take it up; `None` if none can.
    fn token(&self) -> Option<&UploadToken> {
        None
    }
    /// Puts one part; `None` if the store knows no such upload any more.
    fn put_part<'a>(&'a self, part: &'a Part) -> Doing<'a, Option<StoredPart>>;
    /// Has the store fetch a part from a neighbour: nothing of it passes through us. An object that has changed is a
    /// failure.
    fn fetch_part<'a>(&'a self, _: Fetch<'a>) -> Doing<'a, Fetched> {
        Box::pin(async { Ok(Fetched::Refused) })
    }
    /// Copies one part from a folder of this machine, if that can be done without handing the bytes in; then what was read
    /// comes back with the part, or `None` if the store knows no such upload any more.
    fn copy_part(&self, _: FolderPart) -> Option<Doing<'_, Option<(StoredPart, PartDigest)>>> {
        None
    }
    /// The parts that the store holds, none if it tells none; `None` if it knows no such upload any more.
    fn parts(&self) -> Doing<'_, Option<Vec<StoredPart>>> {
        Box::pin(async { Ok(Some(Vec::new())) })
    }
    /// Reads back what was written, from end to end, as the store has it before anybody sees it; nothing can be put any
    /// more after that. `None` if the store shows nothing until it is complete.
    fn seen(&self) -> Doing<'_, Option<Seen>> {
        Box::pin(async { Ok(None) })
    }
    /// Makes the parts, which are in order and all there, one object under its name, durably.
    fn complete<'a>(
        self: Box<Self>,
        parts: &'a [StoredPart],
        checksum: Option<Crc64>,
    ) -> Doing<'a, Published>;
    /// Gives it up; what cannot be removed now is swept later.
    fn abort(self: Box<Self>) -> BoxFuture<'static, ()>;
}
