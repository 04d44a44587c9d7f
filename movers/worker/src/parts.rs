//! Large objects in parts: in any order, several at once, and each read, hashed and sent once.
//!
//! Each part is held in memory from the reading to the store's answer, so that one that gets lost on the way is sent
//! again without reading it again. The parts are subtrees of BLAKE3, so their digests make that of the object.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use domicile_movers::{Digests, Failure, Seen};
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::carry::{Budget, Watch};
use crate::digest::{PartDigest, PartDigester, hex, join};
use crate::role::Role;
use crate::store::{Content, Crc64, Part, PartReceipt, Store, Upload, Version, Wanted};

/// The smallest part, and the largest object that goes whole: the digest of an object is joined from two parts at
/// least. S3 wants 5 MiB or more in a part, and a power of two makes a part a subtree of BLAKE3.
pub(crate) const PART_MIN: u64 = 8 * 1024 * 1024;
/// Parts that an upload may have at most. Source: the S3 user guide, multipart upload limits.
const PARTS_MAX: u64 = 10_000;

/// Bytes of a part, so that an object of this size has no more parts than a store takes.
pub(crate) fn part_size(size: u64) -> u64 {
    size.div_ceil(PARTS_MAX).next_power_of_two().max(PART_MIN)
}

/// The copying of one object in parts.
pub(crate) struct PartCopy<'a> {
    pub from: &'a dyn Store,
    pub path: &'a str,
    pub size: u64,
    pub digests: Digests,
    pub upload: &'a dyn Upload,
    /// Parts under way at once.
    pub at_once: usize,
    pub budget: &'a Budget,
    pub watch: &'a Watch,
}

/// What was copied in parts.
pub(crate) struct Copied {
    pub seen: Seen,
    pub checksum: Crc64,
    /// In order.
    pub receipts: Vec<PartReceipt>,
}

/// SHA-256 knows no parts: where it is asked for, they are read one after the other.
struct InTurn {
    next: watch::Sender<u32>,
    sha256: Mutex<Sha256>,
}

impl PartCopy<'_> {
    /// Copies what is not among the parts in `there`, which the store holds already: those are read and hashed, and
    /// only sent again if the store's checksum of them is another one, or there is none. `None` if the object at the
    /// source has another size.
    pub(crate) async fn run(&self, there: Vec<PartReceipt>) -> Result<Result<Copied, u64>, Failure> {
        let part_size = part_size(self.size);
        let first = self.from.open(self.wanted(0, part_size, None)).await?;
        if first.size() != self.size {
            return Ok(Err(first.size()));
        }
        let version = first.version().clone();
        let there: BTreeMap<u32, PartReceipt> = there.into_iter().map(|part| (part.number, part)).collect();
        let turn = (self.digests == Digests::Both).then(|| InTurn {
            next: watch::Sender::new(0),
            sha256: Mutex::new(Sha256::new()),
        });
        let mut first = Some(first);
        let count = u32::try_from(self.size.div_ceil(part_size)).unwrap_or(u32::MAX);
        let parts = (0..count).map(|number| {
            let opened = first.take();
            let (version, turn, there) = (&version, turn.as_ref(), there.get(&number));
            async move { self.copy_part(number, opened, version, turn, there).await }
        });
        let mut under_way = futures::stream::iter(parts).buffer_unordered(self.at_once);
        let mut done = BTreeMap::new();
        while let Some(part) = under_way.next().await {
            let (digest, receipt) = part?;
            done.insert(receipt.number, (digest, receipt));
        }
        drop(under_way);
        let (digests, receipts): (Vec<_>, Vec<_>) = done.into_values().unzip();
        let (mut seen, checksum) = join(&digests, part_size);
        if let Some(turn) = turn {
            let sha256 = turn
                .sha256
                .into_inner()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            seen.sha256 = Some(hex(&sha256.finalize()));
        }
        Ok(Ok(Copied {
            seen,
            checksum,
            receipts,
        }))
    }

    fn wanted<'v>(&'v self, offset: u64, part_size: u64, version: Option<&'v Version>) -> Wanted<'v> {
        Wanted {
            path: self.path,
            role: Role::Source,
            range: Some(offset..(offset + part_size).min(self.size)),
            version,
        }
    }

    async fn copy_part(
        &self,
        number: u32,
        opened: Option<Box<dyn Content>>,
        version: &Version,
        turn: Option<&InTurn>,
        there: Option<&PartReceipt>,
    ) -> Result<(PartDigest, PartReceipt), Failure> {
        if let Some(turn) = turn {
            // Nobody drops the sender while parts are under way.
            let _ = turn.next.subscribe().wait_for(|next| *next == number).await;
        }
        let part_size = part_size(self.size);
        let offset = u64::from(number) * part_size;
        let _memory = self.watch.or_stop(self.budget.take(part_size)).await?;
        let content = match opened {
            Some(content) => content,
            None => {
                let wanted = self.wanted(offset, part_size, Some(version));
                self.watch.or_stop(self.from.open(wanted)).await??
            }
        };
        let (chunks, digest) = self.read(content, offset, turn).await?;
        if let Some(turn) = turn {
            turn.next.send_replace(number + 1);
        }
        let same =
            |receipt: &&PartReceipt| receipt.size == digest.size && receipt.checksum == Some(digest.checksum);
        if let Some(receipt) = there.filter(same) {
            return Ok((digest, receipt.clone()));
        }
        let part = Part {
            number,
            offset,
            chunks,
            checksum: digest.checksum,
        };
        let receipt = self.watch.or_stop(self.upload.put_part(&part)).await??;
        self.watch.progress.add_written(digest.size);
        Ok((digest, receipt))
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
            if let Some(turn) = turn {
                let mut sha256 = turn
                    .sha256
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                sha256.update(&chunk);
            }
            self.watch.progress.add_read(chunk.len() as u64);
            chunks.push(chunk);
        }
        Ok((chunks, digester.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_few_enough_for_any_object_and_subtrees_of_blake3() {
        for size in [PART_MIN + 1, 1 << 30, 80 << 30, 5 << 40] {
            let part = part_size(size);
            assert!(
                size.div_ceil(part) <= PARTS_MAX && part.is_power_of_two(),
                "{size}"
            );
        }
        assert_eq!(part_size(1 << 30), PART_MIN);
    }
}
