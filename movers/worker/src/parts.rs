//! Large objects in parts: in any order, several at once, and each read, hashed and sent once.
//!
//! Each part is held in memory from the reading to the store's answer, so that one that gets lost on the way is sent
//! again without reading it again. The parts are subtrees of BLAKE3, so their digests make that of the object.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use domicile_estate::BackendName;
use domicile_movers::tree::{self, part_size};
use domicile_movers::{Digests, Failure, FailureClass, PartReceipt, Place, Seen, StoredPart};
use futures::StreamExt as _;
use md5::Md5;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::attest::{Confirmation, comes_again, turned};
use crate::carry::Watch;
use crate::digest::{PartDigest, PartDigester, hex, join_checksums};
use crate::fan_out::{FanOut, Memory, Want};
use crate::fs::memory_for;
use crate::many_md5::{Coming, RunningMd5};
use crate::role::Role;
use crate::store::{Content, Crc64, FolderPart, Part, Store, Upload, Version, Wanted};
use crate::turnstile::Paces;

/// The copying of one object in parts.
pub(crate) struct PartCopy<'a> {
    pub from: &'a Arc<dyn Store>,
    /// Where it lies.
    pub source: &'a BackendName,
    pub path: &'a str,
    /// Where it goes.
    pub target: &'a BackendName,
    pub size: u64,
    pub digests: Digests,
    pub upload: &'a dyn Upload,
    /// The limits of the way there.
    pub link: Option<Arc<Paces>>,
    /// Parts under way at once.
    pub at_once: usize,
    /// Who confirms what comes.
    pub confirmation: &'a Confirmation,
    pub fan_out: &'a FanOut,
    pub watch: &'a Watch,
}

/// What was copied in parts.
pub(crate) struct Copied {
    pub seen: Seen,
    pub checksum: Crc64,
    /// Where a store tells one that it has to be compared with.
    pub md5: Option<String>,
    /// In order.
    pub receipts: Vec<PartReceipt>,
}

/// What came of copying in parts.
pub(crate) enum Outcome {
    /// All parts lie at the store.
    Copied(Copied),
    /// The object at the source has another size.
    OtherSize(u64),
    /// The store knows no such upload any more.
    NoUpload,
}

/// SHA-256 and MD5 know no parts: where they are asked for, parts are read one after the other.
struct InTurn {
    next: watch::Sender<u32>,
    sha256: Option<Mutex<Sha256>>,
    /// Whoever has read his part takes it before he lets the next one read.
    md5: Option<tokio::sync::Mutex<RunningMd5>>,
}

/// What all parts of one copy share.
pub(crate) struct Shared {
    version: Version,
    turn: Option<InTurn>,
    there: BTreeMap<u32, StoredPart>,
}

impl Shared {
    /// For parts that need no SHA-256 together; the store already holds those in `there`, if their checksums agree.
    pub(crate) fn in_any_order(version: Version, there: impl Iterator<Item = StoredPart>) -> Self {
        Self {
            version,
            turn: None,
            there: there.map(|part| (part.number, part)).collect(),
        }
    }
}

impl PartCopy<'_> {
    /// Copies what is not among the parts in `there`, which the store holds already: those are read and hashed, and
    /// only sent again if the store's checksum of them is another one, or there is none.
    pub(crate) async fn run(&self, there: Vec<StoredPart>) -> Result<Outcome, Failure> {
        let first = self.open(1, None).await?;
        if first.0.size() != self.size {
            return Ok(Outcome::OtherSize(first.0.size()));
        }
        let sha256 = (self.digests == Digests::Both).then(|| Mutex::new(Sha256::new()));
        let md5 = matches!(self.confirmation, Confirmation::Md5(_))
            .then(|| tokio::sync::Mutex::new(RunningMd5::new()));
        let in_turn = sha256.is_some() || md5.is_some();
        let shared = Shared {
            version: first.0.version().clone(),
            turn: in_turn.then(|| InTurn {
                next: watch::Sender::new(1),
                sha256,
                md5,
            }),
            there: there.into_iter().map(|part| (part.number, part)).collect(),
        };
        let mut first = Some(first);
        let count = u32::try_from(self.size.div_ceil(part_size(self.size))).unwrap_or(u32::MAX);
        let parts = (1..=count).map(|number| {
            let (opened, shared) = (first.take(), &shared);
            async move { self.copy_part(number, opened, shared).await }
        });
        let mut under_way = futures::stream::iter(parts).buffer_unordered(self.at_once);
        let mut receipts = Vec::new();
        while let Some(part) = under_way.next().await {
            match part? {
                Some(receipt) => receipts.push(receipt),
                None => return Ok(Outcome::NoUpload),
            }
        }
        drop(under_way);
        receipts.sort_by_key(|receipt| receipt.number);
        self.sealed(receipts, shared.turn).map(Outcome::Copied)
    }

    fn sealed(&self, receipts: Vec<PartReceipt>, turn: Option<InTurn>) -> Result<Copied, Failure> {
        let chaining: Vec<_> = receipts.iter().map(|receipt| receipt.chaining).collect();
        let Some(blake3) = tree::root(part_size(self.size), self.size, &chaining) else {
            let message = "its parts do not make it whole".to_owned();
            let place = &self.watch.place;
            return Err(Failure::of_object(
                FailureClass::Transient,
                &place.backend,
                &place.path,
                message,
            ));
        };
        let (sha256, md5) = turn.map_or((None, None), |turn| (turn.sha256, turn.md5));
        let sha256 = sha256.map(|sha256| sha256.into_inner().unwrap_or_else(PoisonError::into_inner));
        let checksums = receipts
            .iter()
            .map(|receipt| (Crc64(receipt.crc64nvme.unwrap_or_default()), receipt.size));
        Ok(Copied {
            seen: Seen {
                size: self.size,
                sha256: sha256.map(|sha256| hex(&sha256.finalize())),
                blake3,
            },
            checksum: join_checksums(checksums),
            md5: md5.map(|md5| md5.into_inner().finish()),
            receipts,
        })
    }

    /// Opens a part at the source, with memory for it.
    async fn open(
        &self,
        number: u32,
        version: Option<&Version>,
    ) -> Result<(Box<dyn Content>, Memory), Failure> {
        let part_size = part_size(self.size);
        let offset = u64::from(number - 1) * part_size;
        let gate = self.confirmation.in_parts().map(|running| &running.gate);
        if let Some(gate) = gate {
            self.watch.or_stop(gate.turn(number)).await?;
        }
        let want = Want {
            from: self.from,
            source: self.source,
            path: self.path,
            range: Some(offset..(offset + part_size).min(self.size)),
            version,
            bytes: part_size,
            target: self.target,
            link: self.link.clone(),
            gate,
        };
        self.fan_out.open(want, self.watch).await
    }

    /// Copies one part; `None` if the store knows no such upload any more.
    pub(crate) async fn copy_part(
        &self,
        number: u32,
        opened: Option<(Box<dyn Content>, Memory)>,
        shared: &Shared,
    ) -> Result<Option<PartReceipt>, Failure> {
        if let Some(turn) = &shared.turn {
            // Nobody drops the sender while parts are under way.
            let _ = turn.next.subscribe().wait_for(|next| *next == number).await;
        } else if opened.is_none()
            && let Some(copied) = self.copy_between_folders(number, shared).await
        {
            return copied;
        }
        let (content, _memory) = match opened {
            Some(opened) => opened,
            None => self.open(number, Some(&shared.version)).await?,
        };
        let offset = u64::from(number - 1) * part_size(self.size);
        let in_parts = self.confirmation.in_parts();
        let coming = in_parts.and_then(|_| Coming::say(part_size(self.size)));
        let (chunks, digest) = self.read(content, offset, shared.turn.as_ref()).await?;
        drop(coming);
        let md5 = match &shared.turn {
            Some(turn) => {
                let md5 = match &turn.md5 {
                    Some(md5) => Some(md5.lock().await),
                    None => None,
                };
                turn.next.send_replace(number + 1);
                md5
            }
            None => None,
        };
        let of_it = chunks.clone();
        let confirm = async {
            if let Some(mut md5) = md5 {
                md5.update(&of_it).await;
            }
            if let Some(running) = in_parts {
                self.watch.or_stop(running.take_in(offset, &of_it)).await?;
            }
            self.again(number, &digest, shared).await
        };
        let there = shared.there.get(&number);
        let stored = match there.filter(|part| lies_there(part, &chunks, &digest)) {
            Some(part) => {
                confirm.await?;
                Some(part.clone())
            }
            None => {
                let part = Part {
                    number,
                    offset,
                    chunks,
                    checksum: digest.checksum,
                };
                let put = self.put(&part, &digest, shared);
                let (stored, ()) = futures::future::try_join(put, confirm).await?;
                stored
            }
        };
        Ok(stored.map(|stored| receipt(stored, &digest)))
    }

    /// From one folder to another the bytes need not be held, and go past the memory of the system; `None` if they have to
    /// pass through here.
    async fn copy_between_folders(
        &self,
        number: u32,
        shared: &Shared,
    ) -> Option<Result<Option<PartReceipt>, Failure>> {
        // What the system copies by itself goes by no limit.
        if shared.there.contains_key(&number) || self.link.is_some() {
            return None;
        }
        let offset = u64::from(number - 1) * part_size(self.size);
        let size = part_size(self.size).min(self.size.saturating_sub(offset));
        let copying = self.upload.copy_part(FolderPart {
            from: self.from.as_folder()?.clone(),
            path: self.path.to_owned(),
            version: shared.version.clone(),
            number,
            offset,
            size,
            watch: self.watch.clone(),
        })?;
        let copy = async {
            let memory = self.fan_out.budget().take(memory_for(size));
            let _memory = self.watch.or_stop(memory).await?;
            let copied = self.watch.or_stop(copying).await??;
            Ok(copied.map(|(stored, digest)| receipt(stored, &digest)))
        };
        Some(copy.await)
    }

    /// Brings a part to the target: the store fetches it by itself where it can.
    async fn put(
        &self,
        part: &Part,
        digest: &PartDigest,
        shared: &Shared,
    ) -> Result<Option<StoredPart>, Failure> {
        if let Some(stored) = self.fetched(part, digest, &shared.version).await? {
            return Ok(stored);
        }
        let stored = self.watch.or_stop(self.upload.put_part(part)).await??;
        self.watch.progress.add_written(digest.size);
        Ok(stored)
    }

    /// Reads a part for the second time, if that has to be.
    async fn again(&self, number: u32, first: &PartDigest, shared: &Shared) -> Result<(), Failure> {
        if !matches!(self.confirmation, Confirmation::Twice) {
            return Ok(());
        }
        let offset = u64::from(number - 1) * part_size(self.size);
        let wanted = Wanted {
            range: Some(offset..offset + first.size),
            version: Some(&shared.version),
            ..Wanted::whole(self.path, Role::Source)
        };
        if comes_again(&**self.from, wanted, first.checksum, (self.fan_out, self.watch)).await? {
            return Ok(());
        }
        Err(turned(&Place {
            backend: self.source.clone(),
            path: self.path.to_owned(),
        }))
    }

    async fn read(
        &self,
        mut content: Box<dyn Content>,
        offset: u64,
        turn: Option<&InTurn>,
    ) -> Result<(Vec<Bytes>, PartDigest), Failure> {
        let mut digester = PartDigester::at(offset);
        let mut chunks = Vec::new();
        while let Some(chunk) = self.watch.or_stop(content.next()).await?? {
            digester.update(&chunk);
            if let Some(sha256) = turn.and_then(|turn| turn.sha256.as_ref()) {
                let mut sha256 = sha256.lock().unwrap_or_else(PoisonError::into_inner);
                sha256.update(&chunk);
            }
            self.watch.progress.add_read(chunk.len() as u64);
            chunks.push(chunk);
        }
        Ok((chunks, digester.finish()))
    }
}

/// Whether a part that the store holds has these bytes: by its checksum, or where a listing tells none, by its ETag, which
/// is the MD5 of the part where a store encrypts nothing (the S3 API reference, "Object"). Nobody forges our own parts.
pub(crate) fn lies_there(part: &StoredPart, chunks: &[Bytes], digest: &PartDigest) -> bool {
    if part.size != digest.size {
        return false;
    }
    if let Some(checksum) = part.crc64nvme {
        return checksum == digest.checksum.0;
    }
    let mut md5 = Md5::new();
    chunks.iter().for_each(|chunk| md5.update(chunk));
    part.etag
        .trim_matches('"')
        .eq_ignore_ascii_case(&hex(&md5.finalize()))
}

fn receipt(stored: StoredPart, digest: &PartDigest) -> PartReceipt {
    PartReceipt {
        number: stored.number,
        size: stored.size,
        etag: stored.etag,
        chaining: digest.chaining,
        crc64nvme: Some(digest.checksum.0),
    }
}

/// The checksum of the object that parts make; `None` if one of them has none.
pub(crate) fn checksum_of(parts: &[PartReceipt]) -> Option<Crc64> {
    let checksums: Option<Vec<_>> = parts
        .iter()
        .map(|part| Some((Crc64(part.crc64nvme?), part.size)))
        .collect();
    checksums.map(|checksums| join_checksums(checksums.into_iter()))
}

/// What the store is told of a part that it has acknowledged.
pub(crate) fn stored(receipt: &PartReceipt) -> StoredPart {
    StoredPart {
        number: receipt.number,
        size: receipt.size,
        etag: receipt.etag.clone(),
        crc64nvme: receipt.crc64nvme,
    }
}
