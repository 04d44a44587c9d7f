//! Digests, computed while bytes pass.

use crc_fast::CrcAlgorithm::Crc64Nvme;
use domicile_movers::tree::{self, ChainingValue};
use domicile_movers::{Digests, Seen};
use sha2::{Digest as _, Sha256};

use crate::store::Crc64;

/// Digests bytes as they pass.
pub(crate) struct Digester {
    size: u64,
    blake3: blake3::Hasher,
    sha256: Option<Sha256>,
    crc64: crc_fast::Digest,
}

impl Digester {
    pub(crate) fn new(digests: Digests) -> Self {
        let sha256 = (digests == Digests::Both).then(Sha256::new);
        Self {
            size: 0,
            blake3: blake3::Hasher::new(),
            sha256,
            crc64: crc_fast::Digest::new(Crc64Nvme),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        // In pieces that stay in the processor's cache from the first digest to the last.
        for piece in bytes.chunks(PIECE) {
            self.size += piece.len() as u64;
            self.blake3.update(piece);
            self.crc64.update(piece);
            if let Some(sha256) = &mut self.sha256 {
                sha256.update(piece);
            }
        }
    }

    /// The digests, and the checksum that a store may compute for itself.
    pub(crate) fn finish_with_checksum(self) -> (Seen, Crc64) {
        let checksum = Crc64(self.crc64.finalize());
        (self.finish(), checksum)
    }

    pub(crate) fn finish(self) -> Seen {
        Seen {
            size: self.size,
            sha256: self.sha256.map(|hasher| hex(&hasher.finalize())),
            blake3: hex(self.blake3.finalize().as_bytes()),
        }
    }
}

/// Bytes that every digest sees before the next ones come.
const PIECE: usize = 128 * 1024;

/// Digests one part of an object, for a tree that the parts make together in whatever order they come.
pub(crate) struct PartDigester {
    size: u64,
    blake3: tree::PartDigest,
    crc64: crc_fast::Digest,
}

impl PartDigester {
    /// For a part that begins at `offset`: a multiple of its size, which is a power of two of at least 1 KiB.
    pub(crate) fn at(offset: u64) -> Self {
        Self {
            size: 0,
            blake3: tree::PartDigest::at(offset),
            crc64: crc_fast::Digest::new(Crc64Nvme),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            self.size += piece.len() as u64;
            self.blake3.update(piece);
            self.crc64.update(piece);
        }
    }

    /// What the tree and the store need of this part.
    pub(crate) fn finish(self) -> PartDigest {
        PartDigest {
            size: self.size,
            chaining: self.blake3.finish(),
            checksum: Crc64(self.crc64.finalize()),
        }
    }
}

/// The digest of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartDigest {
    pub size: u64,
    /// Of the subtree of BLAKE3 that the part is.
    pub chaining: ChainingValue,
    pub checksum: Crc64,
}

/// The checksum of an object from those of its parts, in their order, each with its bytes.
pub(crate) fn join_checksums(parts: impl Iterator<Item = (Crc64, u64)>) -> Crc64 {
    Crc64(parts.fold(0, |joined, (part, size)| {
        crc_fast::checksum_combine(Crc64Nvme, joined, part.0, size)
    }))
}

/// Lower case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |four_bits: u8| char::from_digit(u32::from(four_bits), 16).unwrap_or_default();
    let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    let mut text = String::with_capacity(bytes.len() * 2);
    text.extend(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        let mut digester = Digester::new(Digests::Both);
        digester.update(b"a");
        digester.update(b"bc");
        let seen = digester.finish();
        assert_eq!(seen.size, 3);
        // FIPS 180-2, appendix B.1.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(seen.sha256.as_deref(), Some(sha256));
        assert_eq!(seen.blake3, blake3::hash(b"abc").to_hex().as_str());
        assert_eq!(Digester::new(Digests::Blake3).finish().sha256, None);
        // The check value of CRC-64/NVME in the NVM Express specification's catalogue entry: of the digits 1 to 9.
        let mut digester = Digester::new(Digests::Blake3);
        digester.update(b"123456789");
        assert_eq!(digester.finish_with_checksum().1, Crc64(0xae8b_1486_0a79_9888));
    }

    #[test]
    fn parts_in_any_number_make_the_digest_of_the_whole() {
        const PART: usize = 1024;
        for size in [
            PART + 1,
            2 * PART,
            2 * PART + 1,
            3 * PART,
            5 * PART - 7,
            8 * PART,
            21 * PART + 5,
        ] {
            let bytes: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
            let parts: Vec<_> = bytes
                .chunks(PART)
                .enumerate()
                .map(|(number, part)| {
                    let mut digester = PartDigester::at((number * PART) as u64);
                    digester.update(part);
                    digester.finish()
                })
                .collect();
            let chaining: Vec<_> = parts.iter().map(|part| part.chaining).collect();
            let blake3 = tree::root(PART as u64, size as u64, &chaining);
            let checksum = join_checksums(parts.iter().map(|part| (part.checksum, part.size)));
            let mut whole = Digester::new(Digests::Blake3);
            whole.update(&bytes);
            let (seen, expected) = whole.finish_with_checksum();
            assert_eq!((blake3, checksum), (Some(seen.blake3), expected), "{size}");
        }
    }
}
