//! Copies that a store makes by itself, from a neighbour at the same service: what we need not send, nor read.
//!
//! ```text
//!  the checksum of the bytes is known:   source ── service ──▶ target      nothing goes through us
//!
//!  it is not:                            source ──▶ worker (digest)        one way, for nobody else says what the
//!                                           └───── service ──▶ target      source holds; part by part, in that state
//! ```
//!
//! INVARIANT: MV-1, MV-2: nobody sees the parts before the store has told checksums of what it fetched that are those of
//! the wanted bytes. A checksum that the store noted when the source was written proves nothing of what it fetched: so
//! it is asked for ranges that nobody has written as such, and has to read them to tell.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use domicile_movers::tree::{PART_MIN, PARTS_MAX};
use domicile_movers::{Failure, Place, Publication, Seen, StoredPart};
use futures::StreamExt as _;

use crate::carry::Carrier;
use crate::digest::{PartDigest, join_checksums};
use crate::parts::{PartCopy, lies_there};
use crate::proof::Proof;
use crate::role::Role;
use crate::store::{Aim, Crc64, Fetch, Fetched, Neighbour, Part, Parts, Store, Upload, Version};

/// Bytes that a store fetches in one request: few enough that it answers before it is taken for silent, and no multiple of
/// what anybody sends as a part.
const RANGE_MAX: u64 = 127 * 1024 * 1024 + 1;
/// Bytes of the smallest part that is not the last. Source: the S3 user guide, limits of multipart uploads.
const RANGE_MIN: u64 = 5 * 1024 * 1024 + 1;
/// How many checksums are remembered.
const REMEMBERED: usize = 16 * 1024;

/// The CRC-64/NVME of bytes whose BLAKE3 is known, both computed here in one pass: by it a store's word can be compared
/// with a digest. Only of objects that come in parts.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownChecksums(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    by_blake3: BTreeMap<String, Crc64>,
    oldest: VecDeque<String>,
}

impl KnownChecksums {
    pub(crate) fn learn(&self, proof: &Proof) {
        if let Some(checksum) = proof.checksum.filter(|_| proof.seen.size > PART_MIN) {
            self.keep(&proof.seen.blake3, checksum);
        }
    }

    pub(crate) fn keep(&self, blake3: &str, checksum: Crc64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.by_blake3.insert(blake3.to_owned(), checksum).is_none() {
            known.oldest.push_back(blake3.to_owned());
        }
        if known.oldest.len() > REMEMBERED
            && let Some(oldest) = known.oldest.pop_front()
        {
            known.by_blake3.remove(&oldest);
        }
    }

    pub(crate) fn of(&self, blake3: &str) -> Option<Crc64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.by_blake3.get(blake3).copied()
    }
}

/// The ranges of an object that a store fetches, at least two.
fn ranges(size: u64) -> impl Iterator<Item = Range<u64>> {
    let even = RANGE_MAX.max(size.div_ceil(PARTS_MAX) | 1);
    let length = even.min((size / 2 + 1).max(RANGE_MIN));
    (0..size.div_ceil(length)).map(move |at| at * length..(at * length + length).min(size))
}

impl Carrier {
    /// The checksum that the object must have, if its store can be taken at its word that it has copied it from this
    /// source by itself.
    pub(crate) async fn checksum_by_store(&self, source: &Place) -> Option<(Neighbour, Crc64)> {
        // What a store copies by itself goes by no limit of a link.
        if self.fetched_once || self.spec.size.0 <= PART_MIN || self.link(source).is_some() {
            return None;
        }
        let from = self.stores.at(source).ok()?;
        let neighbour = from.neighbour(&source.path)?;
        let checksum = self.checksums.of(self.spec.blake3.as_deref()?)?;
        let reached = self.target.reaches(&neighbour) && self.target.proven().await.checksums;
        reached.then_some((neighbour, checksum))
    }

    /// Has the target fetch the object, unseen; `None` where bytes have to go through us: then they also tell who is to
    /// blame. It is tried once.
    pub(crate) async fn stage_by_store(
        &mut self,
        from: &Arc<dyn Store>,
        source: &Place,
        how: Publication,
    ) -> Result<Option<Seen>, Failure> {
        let Some((neighbour, checksum)) = self.checksum_by_store(source).await else {
            return Ok(None);
        };
        let (Some(blake3), size) = (self.spec.blake3.clone(), self.spec.size.0) else {
            return Ok(None);
        };
        self.fetched_once = true;
        let Some(stat) = self
            .watch
            .or_stop(from.stat(&source.path, Role::Source))
            .await??
        else {
            return Ok(None);
        };
        if stat.size != size || stat.checksum.is_some_and(|told| told != checksum) {
            return Ok(None);
        }
        let replaced = match how {
            Publication::New => None,
            // Whoever comes back to this after it has lost its lease must replace nothing but that.
            Publication::Replace => {
                let found = self.target.stat(&self.spec.target.path, Role::Target);
                match self.watch.or_stop(found).await?? {
                    Some(found) => Some(found.version),
                    None => return Ok(None),
                }
            }
        };
        let tag = self.tag();
        let aim = Aim {
            replaces: replaced.as_ref(),
            ..self.aim(how, &tag)
        };
        let upload = self.watch.or_stop(self.target.begin(aim)).await??;
        let parts = self.fetch_all(&*upload, &neighbour, &stat.version).await;
        let told = parts.as_ref().ok().and_then(|parts| checksum_of(parts.as_ref()?));
        let (Ok(Some(parts)), true) = (&parts, told == Some(checksum)) else {
            // Nobody else knows of it, so that nobody goes on with it.
            upload.abort().await;
            return parts.map(|_| None);
        };
        let proof = Proof {
            checksum: Some(checksum),
            ..Proof::of(Seen {
                size,
                sha256: self.spec.sha256.clone(),
                blake3,
            })
        };
        Ok(Some(self.staged_in_parts(upload, parts.clone(), proof)))
    }

    /// All parts in order; `None` where the store cannot.
    async fn fetch_all(
        &self,
        upload: &dyn Upload,
        from: &Neighbour,
        version: &Version,
    ) -> Result<Option<Vec<StoredPart>>, Failure> {
        let at_once = match self.target.capabilities().parts {
            Parts::AnyOrder(parts) => parts,
            Parts::InOrder | Parts::Never => 1,
        };
        let parts = (1..)
            .zip(ranges(self.spec.size.0))
            .map(|(number, range)| async move {
                let size = range.end - range.start;
                let fetch = Fetch {
                    from,
                    version,
                    range,
                    number,
                };
                let fetched = self.watch.or_stop(upload.fetch_part(fetch)).await??;
                let Fetched::Part(part) = fetched else {
                    return Ok(None);
                };
                self.watch.progress.add_fetched(size);
                Ok(Some(part))
            });
        let mut under_way = futures::stream::iter(parts).buffered(at_once);
        let mut all = Vec::new();
        while let Some(part) = under_way.next().await {
            match part? {
                Some(part) => all.push(part),
                None => return Ok(None),
            }
        }
        Ok(Some(all))
    }
}

/// What the store says of all that it fetched; `None` if it says nothing of one part.
fn checksum_of(parts: &[StoredPart]) -> Option<Crc64> {
    let told: Option<Vec<_>> = parts
        .iter()
        .map(|part| Some((Crc64(part.crc64nvme?), part.size)))
        .collect();
    told.map(|told| join_checksums(told.into_iter()))
}

impl PartCopy<'_> {
    /// Has the target fetch a part that was read, if it reaches the source. `None` where the bytes have to be sent: it
    /// cannot, or it tells nothing of what it has fetched that would show that it is what we have read.
    pub(crate) async fn fetched(
        &self,
        part: &Part,
        digest: &PartDigest,
        version: &Version,
    ) -> Result<Option<Option<StoredPart>>, Failure> {
        let Some(from) = self.from.neighbour(self.path).filter(|_| !version.0.is_empty()) else {
            return Ok(None);
        };
        let fetch = Fetch {
            from: &from,
            version,
            range: part.offset..part.offset + digest.size,
            number: part.number,
        };
        match self.watch.or_stop(self.upload.fetch_part(fetch)).await?? {
            Fetched::Part(stored) if lies_there(&stored, &part.chunks, digest) => {
                self.watch.progress.add_fetched(digest.size);
                Ok(Some(Some(stored)))
            }
            Fetched::NoUpload => Ok(Some(None)),
            Fetched::Part(_) | Fetched::Refused => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_make_the_object_and_are_no_parts_of_ours() {
        for size in [PART_MIN + 1, 10 << 20, 16 << 20, 200 << 20, 5 << 30, 5 << 40] {
            let all: Vec<_> = ranges(size).collect();
            assert!(
                all.len() >= 2 && all.len() as u64 <= PARTS_MAX,
                "{size}: {}",
                all.len()
            );
            assert_eq!((all[0].start, all[all.len() - 1].end), (0, size));
            for (one, next) in all.iter().zip(&all[1..]) {
                assert_eq!(one.end, next.start);
                assert!(one.end - one.start >= 5 << 20, "{size}");
                assert!(one.end % PART_MIN != 0, "{size}: {one:?}");
            }
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_of_large_objects() {
        let known = KnownChecksums::default();
        let proof = |n: usize, size| Proof {
            checksum: Some(Crc64(n as u64)),
            ..Proof::of(Seen {
                blake3: n.to_string(),
                ..Seen::of_size(size)
            })
        };
        known.learn(&proof(0, PART_MIN));
        assert_eq!(known.of("0"), None);
        (1..=REMEMBERED + 1).for_each(|n| known.learn(&proof(n, PART_MIN + 1)));
        assert_eq!((known.of("1"), known.of("2")), (None, Some(Crc64(2))));
    }
}
