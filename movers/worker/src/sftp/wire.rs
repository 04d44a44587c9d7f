//! The packets of SFTP, version 3 (draft-ietf-secsh-filexfer-02), with the extensions of OpenSSH.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::listing::ListedKind;
use crate::tree::remote::{Entry, Trouble, TroubleKind};

pub(super) const INIT: u8 = 1;
pub(super) const VERSION: u8 = 2;
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const LSTAT: u8 = 7;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const REMOVE: u8 = 13;
pub(super) const MKDIR: u8 = 14;
pub(super) const RMDIR: u8 = 15;
pub(super) const RENAME: u8 = 18;
pub(super) const EXTENDED: u8 = 200;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;

pub(super) const FLAG_READ: u32 = 1;
/// To write, make, and fail where something is.
pub(super) const FLAGS_NEW: u32 = 2 | 8 | 0x20;

/// What an answer holds.
#[derive(Debug)]
pub(super) enum Answer {
    Status(u32, String),
    Handle(Bytes),
    Data(Bytes),
    Entries(Vec<Entry>),
    Attributes(Entry),
}

/// A request that is being put together: its kind, its number and what follows.
pub(super) struct Request {
    bytes: BytesMut,
}

impl Request {
    pub(super) fn new(kind: u8, number: u32) -> Self {
        let mut bytes = BytesMut::with_capacity(128);
        // The length comes when it is known.
        bytes.put_u32(0);
        bytes.put_u8(kind);
        bytes.put_u32(number);
        Self { bytes }
    }

    pub(super) fn text(mut self, text: &[u8]) -> Self {
        self.bytes.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.bytes.put_slice(text);
        self
    }

    pub(super) fn number(mut self, number: u32) -> Self {
        self.bytes.put_u32(number);
        self
    }

    pub(super) fn long(mut self, number: u64) -> Self {
        self.bytes.put_u64(number);
        self
    }

    pub(super) fn finish(mut self) -> Bytes {
        let length = u32::try_from(self.bytes.len() - 4).unwrap_or(u32::MAX);
        if let Some(start) = self.bytes.get_mut(..4) {
            start.copy_from_slice(&length.to_be_bytes());
        }
        self.bytes.freeze()
    }
}

fn number(bytes: &mut Bytes) -> Option<u32> {
    bytes.try_get_u32().ok()
}

pub(super) fn text(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(number(bytes)?).ok()?;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

/// Reads an answer behind its length: the number of the request and what is said to it. `None` if it is none.
pub(super) fn answer(mut bytes: Bytes) -> Option<(u32, Answer)> {
    let kind = bytes.try_get_u8().ok()?;
    let to = number(&mut bytes)?;
    let answer = match kind {
        STATUS => {
            let code = number(&mut bytes)?;
            let message = text(&mut bytes).unwrap_or_default();
            Answer::Status(code, String::from_utf8_lossy(&message).into_owned())
        }
        HANDLE => Answer::Handle(text(&mut bytes)?),
        DATA => Answer::Data(text(&mut bytes)?),
        NAME => {
            let count = number(&mut bytes)?;
            let mut entries = Vec::new();
            for _ in 0..count {
                let name = text(&mut bytes)?;
                let _for_people = text(&mut bytes)?;
                let mut entry = attributes(&mut bytes)?;
                match std::str::from_utf8(&name) {
                    Ok(name) => name.clone_into(&mut entry.name),
                    Err(_) => {
                        entry.name = String::from_utf8_lossy(&name).into_owned();
                        entry.kind = Some(ListedKind::NotUtf8);
                    }
                }
                entries.push(entry);
            }
            Answer::Entries(entries)
        }
        ATTRS => Answer::Attributes(attributes(&mut bytes)?),
        _ => return None,
    };
    Some((to, answer))
}

fn attributes(bytes: &mut Bytes) -> Option<Entry> {
    let flags = number(bytes)?;
    let size = match flags & 1 {
        0 => None,
        _ => Some(bytes.try_get_u64().ok()?),
    };
    if flags & 2 != 0 {
        let _owner = bytes.try_get_u64().ok()?;
    }
    let mode = match flags & 4 {
        0 => 0,
        _ => number(bytes)?,
    };
    let mut modified_ms = None;
    if flags & 8 != 0 {
        let _read = number(bytes)?;
        modified_ms = Some(i64::from(number(bytes)?) * 1_000);
    }
    if flags & 0x8000_0000 != 0 {
        for _ in 0..number(bytes)? {
            text(bytes)?;
            text(bytes)?;
        }
    }
    // The kinds of files of POSIX.
    let kind = match mode & 0o170_000 {
        0o040_000 => None,
        0o120_000 => Some(ListedKind::SymbolicLink),
        0o100_000 | 0 => Some(ListedKind::File),
        _ => Some(ListedKind::Special),
    };
    Some(Entry {
        name: String::new(),
        size,
        modified_ms,
        etag: None,
        kind,
    })
}

/// What a status that is not good means.
pub(super) fn trouble(code: u32, message: &str) -> Trouble {
    let said = message.to_ascii_lowercase();
    let kind = match code {
        2 => TroubleKind::Gone,
        3 => TroubleKind::Denied,
        // "Failure" is said for nearly everything.
        4 if said.contains("space") || said.contains("quota") => TroubleKind::NoRoom,
        4 if said.contains("exist") => TroubleKind::Exists,
        8 => TroubleKind::Place,
        _ => TroubleKind::Passing,
    };
    Trouble::new(kind, format!("the server said {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_their_length_first() {
        let request = Request::new(OPEN, 7).text(b"ab").number(1).long(2).finish();
        let expected: &[u8] = &[
            0, 0, 0, 23, 3, 0, 0, 0, 7, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2,
        ];
        assert_eq!(&request[..], expected);
    }

    #[test]
    fn answers_are_read_and_what_is_cut_off_is_none() {
        let mut bytes = vec![ATTRS, 0, 0, 0, 9, 0, 0, 0, 13];
        bytes.extend_from_slice(&5_u64.to_be_bytes());
        bytes.extend_from_slice(&0o100_644_u32.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2]);
        let (to, Answer::Attributes(entry)) = answer(Bytes::from(bytes.clone())).unwrap() else {
            panic!("no attributes");
        };
        assert_eq!(
            (to, entry.size, entry.modified_ms, entry.is_file()),
            (9, Some(5), Some(2_000), true)
        );
        for end in 0..bytes.len() {
            assert!(answer(Bytes::from(bytes[..end].to_vec())).is_none(), "{end}");
        }
    }
}
