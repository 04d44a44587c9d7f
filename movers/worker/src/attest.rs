//! The first reading of an object: nobody knows its digest yet, so a bit that turned on the way would be taken for its
//! owner's for ever. Somebody has to confirm what came: the store by its own checksum or MD5 of the object, TLS for the way,
//! or a second reading.

use bytes::Bytes;
use domicile_movers::{Digests, Failure, FailureClass, PartReceipt, Place, Seen};
use md5::{Digest as _, Md5};

use crate::carry::Carrier;
use crate::digest::{Digester, hex};
use crate::memory::chunk_of;
use crate::parts::checksum_of;
use crate::role::Role;
use crate::store::{Attested, Crc64, Store, Wanted};

/// What a store's word means for bytes that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Same,
    Other,
    /// It says nothing that could be compared.
    Nothing,
}

impl Attested {
    fn word(&self, checksum: Option<Crc64>, md5: impl FnOnce() -> Option<String>) -> Word {
        let same = |same| if same { Word::Same } else { Word::Other };
        if let (Some(told), Some(checksum)) = (self.crc64, checksum) {
            return same(told == checksum);
        }
        let Some(told) = &self.md5 else {
            return Word::Nothing;
        };
        md5().map_or(Word::Nothing, |md5| same(*told == md5))
    }
}

impl Carrier {
    /// Confirms what was read into memory, if it was never read before.
    pub(crate) async fn confirm_small(
        &self,
        (from, source): (&dyn Store, &Place),
        (seen, checksum, chunks): (&Seen, Crc64, &[Bytes]),
        attested: &Attested,
    ) -> Result<(), Failure> {
        if self.is_known(from) {
            return Ok(());
        }
        let md5 = || {
            let mut md5 = Md5::new();
            chunks.iter().for_each(|chunk| md5.update(chunk));
            Some(hex(&md5.finalize()))
        };
        match attested.word(Some(checksum), md5) {
            Word::Same => Ok(()),
            Word::Other => Err(turned(source)),
            Word::Nothing if from.way_is_safe() => Ok(()),
            Word::Nothing => self.confirm_again((from, source), seen, None).await,
        }
    }

    /// Confirms what was copied in parts and never read before.
    pub(crate) async fn confirm_large(
        &self,
        (from, source): (&dyn Store, &Place),
        seen: &Seen,
        checksum: Option<Crc64>,
    ) -> Result<(), Failure> {
        if self.is_known(from) {
            return Ok(());
        }
        let attested = self.watch.or_stop(from.attested(&source.path)).await??;
        match attested.word(checksum, || None) {
            Word::Same => Ok(()),
            Word::Other => Err(turned(source)),
            Word::Nothing if from.way_is_safe() => Ok(()),
            Word::Nothing => self.confirm_again((from, source), seen, attested.md5).await,
        }
    }

    /// What a source holds, as far as its store says so, or as a second reading finds it. `parts` are what the first one saw.
    pub(crate) async fn confirmed(
        &self,
        source: &Place,
        seen: &Seen,
        parts: &[PartReceipt],
    ) -> Result<Seen, Failure> {
        let from = self.stores.at(source)?;
        if self.is_known(&*from) {
            return Ok(seen.clone());
        }
        let checksum = checksum_of(parts);
        let attested = self.watch.or_stop(from.attested(&source.path)).await??;
        match attested.word(checksum, || None) {
            Word::Same => Ok(seen.clone()),
            // The parts are not what the source holds, whatever that is.
            Word::Other => Ok(Seen::of_size(seen.size)),
            Word::Nothing if from.way_is_safe() => Ok(seen.clone()),
            Word::Nothing => self.read_again((&*from, source), attested.md5).await,
        }
    }

    fn is_known(&self, from: &dyn Store) -> bool {
        self.spec.has_digest() || from.as_folder().is_some()
    }

    async fn confirm_again(
        &self,
        at: (&dyn Store, &Place),
        seen: &Seen,
        md5: Option<String>,
    ) -> Result<(), Failure> {
        let again = self.read_again(at, md5).await?;
        if again.same_bytes(seen) {
            Ok(())
        } else {
            Err(turned(at.1))
        }
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
        let md5 = md5.map(|md5| hex(&md5.finalize()));
        if md5 != told {
            Err(turned(source))
        } else {
            Ok(digester.finish())
        }
    }
}

fn turned(source: &Place) -> Failure {
    let message = "what came is not what the store says it holds, or came otherwise the second time: check the network to it";
    Failure::of_object(
        FailureClass::Transient,
        &source.backend,
        &source.path,
        message.to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_counts_for_more_than_an_md5() {
        let told = Attested {
            crc64: Some(Crc64(1)),
            md5: Some("a".to_owned()),
        };
        let md5 = |text: &'static str| move || Some(text.to_owned());
        assert_eq!(told.word(Some(Crc64(1)), md5("b")), Word::Same);
        assert_eq!(told.word(Some(Crc64(2)), md5("a")), Word::Other);
        assert_eq!(told.word(None, md5("b")), Word::Other);
        assert_eq!(told.word(None, || None), Word::Nothing);
        assert_eq!(Attested::default().word(Some(Crc64(1)), md5("a")), Word::Nothing);
    }
}
