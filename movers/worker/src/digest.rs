//! Digests, computed while bytes pass.

use std::fmt::Write as _;

use blake3::hazmat::{
    ChainingValue, HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use crc_fast::CrcAlgorithm::Crc64Nvme;
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
    blake3: blake3::Hasher,
    crc64: crc_fast::Digest,
}

impl PartDigester {
    /// For a part that begins at `offset`: a multiple of its size, which is a power of two of at least 1 KiB.
    pub(crate) fn at(offset: u64) -> Self {
        let mut blake3 = blake3::Hasher::new();
        blake3.set_input_offset(offset);
        Self {
            size: 0,
            blake3,
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

    /// What the tree needs of this part.
    pub(crate) fn finish(self) -> PartDigest {
        PartDigest {
            size: self.size,
            chaining: self.blake3.finalize_non_root(),
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

/// The digest of an object of at least two parts, in order: all but the last are of `part_size`.
pub(crate) fn join(parts: &[PartDigest], part_size: u64) -> (Seen, Crc64) {
    let size = parts.iter().map(|part| part.size).sum();
    let left = left_subtree_len(size);
    let split = parts_in(left, part_size).min(parts.len());
    let (first, rest) = parts.split_at(split);
    let root = merge_subtrees_root(
        &subtree(first, left, part_size),
        &subtree(rest, size - left, part_size),
        Mode::Hash,
    );
    let mut crc64 = 0;
    for part in parts {
        crc64 = crc_fast::checksum_combine(Crc64Nvme, crc64, part.checksum.0, part.size);
    }
    let seen = Seen {
        size,
        sha256: None,
        blake3: hex(root.as_bytes()),
    };
    (seen, Crc64(crc64))
}

fn subtree(parts: &[PartDigest], size: u64, part_size: u64) -> ChainingValue {
    match parts {
        [] => ChainingValue::default(),
        [part] => part.chaining,
        parts => {
            let left = left_subtree_len(size);
            let (first, rest) = parts.split_at(parts_in(left, part_size).min(parts.len()));
            merge_subtrees_non_root(
                &subtree(first, left, part_size),
                &subtree(rest, size - left, part_size),
                Mode::Hash,
            )
        }
    }
}

fn parts_in(bytes: u64, part_size: u64) -> usize {
    usize::try_from(bytes / part_size).unwrap_or(usize::MAX)
}

/// Lower case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
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
            let (seen, checksum) = join(&parts, PART as u64);
            let mut whole = Digester::new(Digests::Blake3);
            whole.update(&bytes);
            assert_eq!((seen, checksum), whole.finish_with_checksum(), "{size}");
        }
    }
}
