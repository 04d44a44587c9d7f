//! The first reading of an object: nobody knows its digest yet, so a bit that turned on the way would be taken for its
//! owner's for ever. Somebody has to confirm what came: the store by its own checksum or MD5 of the object, TLS for the way,
//! or a second reading.
//!
//! Where an object was put in parts, the store tells the MD5 of their MD5s (`in_parts`).
//!
//! A second reading is held against the checksums of the first one, which cost a tenth of its digest. It is made piece by
//! piece as soon as each has come, while that is on its way to the target. It finds no bit that turns every time: so an MD5
//! counts for more wherever a store tells one, though it costs more (`many_md5`).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use domicile_movers::tree::part_size;
use domicile_movers::{Digests, Failure, FailureClass, PartReceipt, Place, Seen};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use md5::{Digest as _, Md5};

use crate::carry::{Carrier, Watch};
use crate::digest::{Digester, hex};
use crate::fan_out::FanOut;
use crate::in_parts::{PartsAt, RunningParts, agrees_in_memory};
use crate::many_md5::RunningMd5;
use crate::memory::chunk_of;
use crate::parts::{Copied, checksum_of};
use crate::role::Role;
use crate::store::{Attested, Crc64, Store, Version, Wanted};

/// Parts that are read again at once, where they were not when they came.
const AGAIN_AT_ONCE: usize = 4;
/// Parts that are under way at once where the MD5s of the store's are asked for.
const PARTS_SIDE_BY_SIDE: usize = 8;
/// Memory that each of them takes.
const AGAIN_BYTES: u64 = 1024 * 1024;

/// What a store's word means for bytes that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Same,
    Other,
    /// It says nothing that could be compared.
    Nothing,
}

/// Who confirms what comes in parts.
#[derive(Debug, Clone)]
pub(crate) enum Confirmation {
    /// It is known, or nothing can have happened to it on the way.
    Needless,
    /// The store says its checksum.
    Store(Crc64),
    /// The store says its MD5.
    Md5(String),
    /// The store says the MD5 of the MD5s of its parts.
    Parts(Arc<RunningParts>),
    /// Nobody: each part is read twice.
    Twice,
}

impl Confirmation {
    /// Whether what has come is what the store says it holds; what it says of parts takes more to ask ([`Carrier::agree`]).
    fn agrees(&self, checksum: Crc64, md5: Option<&str>) -> bool {
        match self {
            Self::Store(told) => *told == checksum,
            Self::Md5(told) => md5 == Some(told),
            Self::Needless | Self::Twice | Self::Parts(_) => true,
        }
    }

    pub(crate) fn in_parts(&self) -> Option<&RunningParts> {
        match self {
            Self::Parts(running) => Some(running),
            _ => None,
        }
    }

    /// How many parts are to be under way at once: the MD5s of many cost hardly more than that of one.
    pub(crate) fn parts_at_once(&self, without: usize) -> usize {
        match self {
            Self::Parts(_) => without.max(PARTS_SIDE_BY_SIDE),
            _ => without,
        }
    }

    /// The same where only so many of our parts are to be read: MD5s need all of them.
    pub(crate) fn of_so_many(self, parts: usize, size: u64) -> Self {
        let all = size.div_ceil(part_size(size));
        match self {
            Self::Parts(_) if parts as u64 != all => Self::Twice,
            same => same,
        }
    }
}

/// What a store told of a small object when it was opened.
pub(crate) struct Told<'a> {
    pub attested: &'a Attested,
    pub version: &'a Version,
    /// What was announced when it began to come.
    pub md5: Option<RunningMd5>,
}

/// Parts that came twice alike, in this process, from one source.
#[derive(Debug, Default)]
pub(crate) struct CameTwice {
    source: Option<Place>,
    parts: BTreeSet<(u32, u64)>,
}

impl CameTwice {
    pub(crate) fn from(&mut self, source: &Place) {
        if self.source.as_ref() != Some(source) {
            self.parts.clear();
            self.source = Some(source.clone());
        }
    }

    pub(crate) fn add(&mut self, part: &PartReceipt) {
        self.parts
            .extend(part.crc64nvme.map(|checksum| (part.number, checksum)));
    }

    fn has(&self, source: &Place, part: &PartReceipt) -> bool {
        let known = part.crc64nvme.map(|checksum| (part.number, checksum));
        self.source.as_ref() == Some(source) && known.is_some_and(|known| self.parts.contains(&known))
    }
}

impl Attested {
    async fn word(&self, checksum: Crc64, chunks: &[Bytes], announced: Option<RunningMd5>) -> Word {
        let same = match (self.crc64, &self.md5) {
            (Some(told), _) => told == checksum,
            (None, Some(told)) => {
                let mut md5 = announced.unwrap_or_else(RunningMd5::new);
                md5.update(chunks).await;
                *told == md5.finish()
            }
            (None, None) => return Word::Nothing,
        };
        if same { Word::Same } else { Word::Other }
    }
}

/// Reads bytes a second time and holds them against what the first reading made of them.
pub(crate) async fn comes_again(
    from: &dyn Store,
    wanted: Wanted<'_>,
    first: Crc64,
    (fan_out, watch): (&FanOut, &Watch),
) -> Result<bool, Failure> {
    let _memory = watch.or_stop(fan_out.second().take(AGAIN_BYTES)).await?;
    let mut content = watch.or_stop(from.open(wanted)).await??;
    let mut checksum = crc_fast::Digest::new(Crc64Nvme);
    while let Some(chunk) = watch.or_stop(content.next()).await?? {
        checksum.update(&chunk);
        watch.progress.add_read(chunk.len() as u64);
    }
    Ok(Crc64(checksum.finalize()) == first)
}

impl Carrier {
    /// Confirms what was read into memory, if it was never read before.
    pub(crate) async fn confirm_small(
        &self,
        (from, source): (&dyn Store, &Place),
        (checksum, chunks): (Crc64, &[Bytes]),
        told: Told<'_>,
    ) -> Result<(), Failure> {
        if self.is_known(from) {
            return Ok(());
        }
        let Told {
            attested,
            version,
            md5,
        } = told;
        match self.watch.or_stop(attested.word(checksum, chunks, md5)).await? {
            Word::Same => Ok(()),
            Word::Other => Err(turned(source)),
            Word::Nothing if from.way_is_safe() => Ok(()),
            Word::Nothing => {
                if let Some(parts) = &attested.in_parts
                    && self.watch.or_stop(agrees_in_memory(parts, chunks)).await?
                {
                    return Ok(());
                }
                let wanted = Wanted {
                    version: Some(version),
                    ..Wanted::whole(&source.path, Role::Source)
                };
                let same = comes_again(from, wanted, checksum, (&self.fan_out, &self.watch)).await?;
                if same { Ok(()) } else { Err(turned(source)) }
            }
        }
    }

    /// What a source holds of which something of another size began to come: an answer may have been cut short on the way, and
    /// twice alike, so that its store is asked what it has.
    pub(crate) async fn other_size(
        &self,
        (from, source): (&dyn Store, &Place),
        came: u64,
    ) -> Result<Seen, Failure> {
        let there = self
            .watch
            .or_stop(from.stat(&source.path, Role::Source))
            .await??;
        let expected = self.spec.size.0;
        if there.is_none_or(|there| there.size != expected) {
            return Ok(Seen::of_size(came));
        }
        let message = format!(
            "an answer had {came} bytes instead of the {expected} that the store says it holds: check the network to it"
        );
        Err(Failure::of_place(FailureClass::Transient, source, message))
    }

    /// Where an MD5 will be asked for of what now begins to come.
    pub(crate) fn md5_of_coming(&self, from: &dyn Store, told: &Attested) -> Option<RunningMd5> {
        let asked = told.crc64.is_none() && told.md5.is_some() && !self.is_known(from);
        asked.then(|| RunningMd5::of_coming(self.spec.size.0))
    }

    /// Who is to confirm what is going to be copied in parts.
    pub(crate) async fn confirmation(
        &self,
        (from, source): (&dyn Store, &Place),
    ) -> Result<Confirmation, Failure> {
        if self.is_known(from) {
            return Ok(Confirmation::Needless);
        }
        let attested = self.watch.or_stop(from.attested(&source.path)).await??;
        Ok(match (attested.crc64, attested.md5, attested.in_parts) {
            (Some(told), ..) => Confirmation::Store(told),
            _ if from.way_is_safe() => Confirmation::Needless,
            (None, Some(told), _) => Confirmation::Md5(told),
            (None, None, Some(parts)) => {
                let size = self.spec.size.0;
                let at = PartsAt::of(from, (&source.path, size), &parts);
                match self.watch.or_stop(at).await?? {
                    Some(at) => Confirmation::Parts(Arc::new(RunningParts::new(parts, at, size))),
                    None => Confirmation::Twice,
                }
            }
            (None, None, None) => Confirmation::Twice,
        })
    }

    /// Whether what was copied is what the store says it holds.
    pub(crate) async fn agree(
        &self,
        (from, source): (&dyn Store, &Place),
        confirmation: &Confirmation,
        copied: &Copied,
    ) -> Result<(), Failure> {
        let same = match confirmation {
            Confirmation::Parts(running) => {
                let all: Vec<_> = copied.receipts.iter().collect();
                self.parts_agree((from, source), running, &all).await?
            }
            other => other.agrees(copied.checksum, copied.md5.as_deref()),
        };
        if same { Ok(()) } else { Err(turned(source)) }
    }

    /// Whether parts are what the store says by the MD5s of its own. Where it is not sure where those lie, or not all were
    /// taken in, ours are read a second time.
    async fn parts_agree(
        &self,
        (from, source): (&dyn Store, &Place),
        running: &RunningParts,
        parts: &[&PartReceipt],
    ) -> Result<bool, Failure> {
        let size = self.spec.size.0;
        match running.verdict() {
            Some(true) => return Ok(true),
            Some(false) if running.at.is_told => {
                let is_so = running.at.is_so(from, (&source.path, size), &running.told);
                if self.watch.or_stop(is_so).await?? {
                    return Ok(false);
                }
            }
            _ => {}
        }
        self.come_again((from, source), size, parts).await
    }

    /// What a source holds, as far as its store says so, or as a second reading finds it. `parts` are what the first one saw.
    pub(crate) async fn confirmed(
        &self,
        source: &Place,
        (seen, parts): (&Seen, &[PartReceipt]),
        (came_twice, running): (&CameTwice, Option<&RunningParts>),
    ) -> Result<Seen, Failure> {
        let from = self.stores.at(source)?;
        // The parts are not what the source holds, whatever that is.
        let other = Ok(Seen::of_size(seen.size));
        if let Some(running) = running
            && checksum_of(parts).is_some()
        {
            let all: Vec<_> = parts.iter().collect();
            let same = self.parts_agree((&*from, source), running, &all).await?;
            return if same { Ok(seen.clone()) } else { other };
        }
        let same = match self.confirmation((&*from, source)).await? {
            Confirmation::Needless => true,
            Confirmation::Store(told) => checksum_of(parts).is_none_or(|checksum| checksum == told),
            Confirmation::Md5(told) => return self.read_again((&*from, source), Some(told)).await,
            Confirmation::Twice | Confirmation::Parts(_) if checksum_of(parts).is_none() => {
                return self.read_again((&*from, source), None).await;
            }
            Confirmation::Twice | Confirmation::Parts(_) => {
                let others = parts.iter().filter(|part| !came_twice.has(source, part));
                let others: Vec<_> = others.collect();
                self.come_again((&*from, source), seen.size, &others).await?
            }
        };
        if same { Ok(seen.clone()) } else { other }
    }

    /// Reads parts again that were read by another process, or before.
    async fn come_again(
        &self,
        (from, source): (&dyn Store, &Place),
        size: u64,
        parts: &[&PartReceipt],
    ) -> Result<bool, Failure> {
        let mut waiting = parts.iter();
        let mut again = FuturesUnordered::new();
        loop {
            let free = AGAIN_AT_ONCE - again.len();
            again.extend(waiting.by_ref().take(free).map(|part| {
                let offset = u64::from(part.number - 1) * part_size(size);
                let wanted = Wanted {
                    range: Some(offset..offset + part.size),
                    ..Wanted::whole(&source.path, Role::Source)
                };
                let first = Crc64(part.crc64nvme.unwrap_or_default());
                let one: BoxFuture<'_, _> =
                    Box::pin(comes_again(from, wanted, first, (&self.fan_out, &self.watch)));
                one
            }));
            match again.next().await.transpose()? {
                None => return Ok(true),
                Some(true) => {}
                Some(false) => return Ok(false),
            }
        }
    }

    fn is_known(&self, from: &dyn Store) -> bool {
        self.spec.has_digest() || from.as_folder().is_some()
    }

    /// Reads a source from end to end; what its store says of the MD5 must be so.
    async fn read_again(
        &self,
        (from, source): (&dyn Store, &Place),
        told: Option<String>,
    ) -> Result<Seen, Failure> {
        let memory = self.fan_out.second().take(chunk_of(self.spec.size.0));
        let _memory = self.watch.or_stop(memory).await?;
        let opened = from.open(Wanted::whole(&source.path, Role::Source));
        let mut content = self.watch.or_stop(opened).await??;
        let mut digester = Digester::new(Digests::Blake3);
        let mut md5 = told.is_some().then(Md5::new);
        while let Some(chunk) = self.watch.or_stop(content.next()).await?? {
            digester.update(&chunk);
            if let Some(md5) = &mut md5 {
                md5.update(&chunk);
            }
            self.watch.progress.add_read(chunk.len() as u64);
        }
        if md5.map(|md5| hex(&md5.finalize())) != told {
            return Err(turned(source));
        }
        Ok(digester.finish())
    }
}

pub(crate) fn turned(source: &Place) -> Failure {
    let message = "what came is not what the store says it holds, or came otherwise the second time: check the network to it";
    Failure::of_place(FailureClass::Transient, source, message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_has_to_be_what_the_store_says() {
        let (one, other) = (Crc64(1), Crc64(2));
        assert!(Confirmation::Store(one).agrees(one, None));
        assert!(!Confirmation::Store(one).agrees(other, None));
        assert!(Confirmation::Md5("a".to_owned()).agrees(one, Some("a")));
        assert!(!Confirmation::Md5("a".to_owned()).agrees(one, Some("b")));
        assert!(!Confirmation::Md5("a".to_owned()).agrees(one, None));
    }

    #[test]
    fn parts_that_came_twice_are_known_by_source_and_checksum() {
        let place = |path: &str| Place {
            backend: domicile_estate::BackendName::new("b").unwrap(),
            path: path.to_owned(),
        };
        let mut digester = crate::digest::PartDigester::at(0);
        digester.update(b"a");
        let chaining = digester.finish().chaining;
        let part = |number, crc64nvme| PartReceipt {
            number,
            size: 1,
            etag: String::new(),
            chaining,
            crc64nvme,
        };
        let mut twice = CameTwice::default();
        twice.from(&place("a"));
        twice.add(&part(1, Some(7)));
        twice.from(&place("a"));
        assert!(twice.has(&place("a"), &part(1, Some(7))));
        assert!(!twice.has(&place("a"), &part(1, Some(8))));
        assert!(!twice.has(&place("a"), &part(2, Some(7))));
        assert!(!twice.has(&place("a"), &part(1, None)));
        assert!(!twice.has(&place("b"), &part(1, Some(7))));
        twice.from(&place("b"));
        assert!(!twice.has(&place("b"), &part(1, Some(7))), "another source");
    }

    #[tokio::test]
    async fn a_checksum_counts_for_more_than_an_md5() {
        // RFC 1321, A.5.
        let (bytes, md5) = ([Bytes::from_static(b"abc")], "900150983cd24fb0d6963f7d28e17f72");
        let told = |crc64: Option<u64>, md5: Option<&str>| Attested {
            crc64: crc64.map(Crc64),
            md5: md5.map(str::to_owned),
            in_parts: None,
        };
        let one = Crc64(1);
        assert_eq!(
            told(Some(1), Some("other")).word(one, &bytes, None).await,
            Word::Same
        );
        assert_eq!(
            told(Some(2), Some(md5)).word(one, &bytes, None).await,
            Word::Other
        );
        assert_eq!(told(None, Some(md5)).word(one, &bytes, None).await, Word::Same);
        assert_eq!(
            told(None, Some("other")).word(one, &bytes, None).await,
            Word::Other
        );
        assert_eq!(told(None, None).word(one, &bytes, None).await, Word::Nothing);
    }
}
