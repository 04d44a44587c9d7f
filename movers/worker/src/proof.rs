//! Making sure of what was written, as far as the policies ask for it.

use domicile_estate::Verify;
use domicile_movers::tree::part_size;
use domicile_movers::{Answer, Digests, Failure, PartReceipt, Seen};

use crate::carry::{Carrier, read};
use crate::digest::PartDigester;
use crate::progress::Progress;
use crate::role::Role;
use crate::store::{Crc64, Wanted};

/// Windows that are read back of a large object where some have to be: a byte that is wrong in one of a hundred parts is
/// found by these in one of twelve readings, and a store that keeps nothing at once.
const WINDOWS: usize = 8;

/// What is known of the bytes that were sent.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    pub seen: Seen,
    /// What the store should compute over them.
    pub checksum: Option<Crc64>,
    /// Their parts, if they came in parts.
    pub parts: Vec<PartReceipt>,
    /// What the store said that it has stored, in its answer to the writing.
    pub told: Option<Crc64>,
}

impl Proof {
    pub(crate) fn of(seen: Seen) -> Self {
        Self {
            seen,
            checksum: None,
            parts: Vec::new(),
            told: None,
        }
    }
}

impl Carrier {
    /// Whether what is at the target is what was published there, if that can be told without reading it all; `None`
    /// where it has to be read.
    pub(crate) async fn told_by_store(&self, digests: Digests) -> Result<Option<Answer>, Failure> {
        let Some(proof) = &self.proof else {
            return Ok(None);
        };
        // SHA-256 knows no parts: who has only that to compare with has to read.
        let comparable = digests == Digests::Blake3 || proof.seen.sha256.is_some();
        if !comparable || self.spec.verify == Verify::Full || !self.target.proven().await.checksums {
            return Ok(None);
        }
        // What it said of the object when it took it is the same word as a look right afterwards would have.
        if self.spec.verify == Verify::Checksum && proof.told.is_some() && proof.told == proof.checksum {
            self.watch.progress.add_verified(proof.seen.size);
            return Ok(Some(Answer::Contents(proof.seen.clone())));
        }
        let path = self.spec.target.path.as_str();
        let stat = self.target.stat(path, Role::Target);
        let Some(stat) = self.watch.or_stop(stat).await?? else {
            return Ok(Some(Answer::Absent));
        };
        let same = stat.size == proof.seen.size && stat.checksum.is_some() && stat.checksum == proof.checksum;
        // Where it is another one, or none is told, reading says what is there.
        if !same || (self.spec.verify == Verify::Sample && !self.windows_match(proof).await?) {
            return Ok(None);
        }
        self.watch.progress.add_verified(stat.size);
        Ok(Some(Answer::Contents(proof.seen.clone())))
    }

    /// Reads some of the parts back. A small object has none: it is to be read whole.
    async fn windows_match(&self, proof: &Proof) -> Result<bool, Failure> {
        if proof.parts.is_empty() {
            return Ok(false);
        }
        let part_size = part_size(proof.seen.size);
        for _ in 0..WINDOWS.min(proof.parts.len()) {
            let drawn = by_chance() % proof.parts.len() as u64;
            let Some(part) = usize::try_from(drawn)
                .ok()
                .and_then(|drawn| proof.parts.get(drawn))
            else {
                continue;
            };
            let offset = drawn * part_size;
            let wanted = Wanted {
                range: Some(offset..offset + part.size),
                ..Wanted::whole(&self.spec.target.path, Role::Target)
            };
            let _memory = self.memory_for_reading(&*self.target).await?;
            let mut content = self.watch.or_stop(self.target.open(wanted)).await??;
            let mut digester = PartDigester::at(offset);
            while let Some(chunk) = self.watch.or_stop(content.next()).await?? {
                digester.update(&chunk);
            }
            if digester.finish().chaining != part.chaining {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) async fn read_target(&self, digests: Digests) -> Result<Answer, Failure> {
        if let Some(told) = self.told_by_store(digests).await? {
            return Ok(told);
        }
        let _memory = self.memory_for_reading(&*self.target).await?;
        let at = (self.spec.target.path.as_str(), Role::Target);
        let count = Progress::add_verified;
        let seen = read(&*self.target, at, digests, count, &self.watch).await;
        seen.map(Answer::Contents)
    }
}

/// A number that nobody can foresee: a store must not know which bytes will be looked at.
pub(crate) fn by_chance() -> u64 {
    std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0_u8)
}
