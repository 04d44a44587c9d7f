//! Digests, computed while bytes pass.

use std::fmt::Write as _;

use domicile_movers::{Digests, Seen};
use sha2::{Digest as _, Sha256};

/// Digests bytes as they pass.
pub(crate) struct Digester {
    size: u64,
    blake3: blake3::Hasher,
    sha256: Option<Sha256>,
}

impl Digester {
    pub(crate) fn new(digests: Digests) -> Self {
        let sha256 = (digests == Digests::Both).then(Sha256::new);
        Self {
            size: 0,
            blake3: blake3::Hasher::new(),
            sha256,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.blake3.update(bytes);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
    }

    pub(crate) fn finish(self) -> Seen {
        Seen {
            size: self.size,
            sha256: self.sha256.map(|hasher| hex(&hasher.finalize())),
            blake3: hex(self.blake3.finalize().as_bytes()),
        }
    }
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
    }
}
