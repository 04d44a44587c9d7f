//! The digest of an object from those of its parts: BLAKE3 is a tree, and a part that begins at a multiple of its own
//! size, a power of two, is a whole subtree of it. So parts may be read in any order, by anybody, at any time.
//!
//! Source: the BLAKE3 specification, sections 2.1 and 2.4 (chunks, parent nodes, the left subtree is the largest power of two of
//! chunks that leaves something for the right one).

use blake3::hazmat::{HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};

/// Bytes of the smallest part.
pub const PART_MIN: u64 = 8 * 1024 * 1024;
/// Parts that an upload may have at most. Source: the S3 user guide, limits of multipart uploads.
pub const PARTS_MAX: u64 = 10_000;

/// The value by which a part stands in the tree.
pub type ChainingValue = [u8; 32];

/// Bytes of the parts of an object: a power of two, so that there are few enough of them.
#[must_use]
pub fn part_size(object: u64) -> u64 {
    PART_MIN.max(object.div_ceil(PARTS_MAX).next_power_of_two())
}

/// A part's value while its bytes come in.
#[derive(Debug, Clone)]
pub struct PartDigest(blake3::Hasher);

impl PartDigest {
    /// For a part that begins at this offset, a multiple of the size of the parts.
    #[must_use]
    pub fn at(offset: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(offset);
        Self(hasher)
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The value once the whole part has come in; at least one byte.
    #[must_use]
    pub fn finish(&self) -> ChainingValue {
        self.0.finalize_non_root()
    }
}

/// The digest of an object of `size` bytes, in lower case hexadecimal, from the values of its parts in their order.
/// `None` if they are not those of such an object, or if there is only one: that has no place in a tree.
#[must_use]
pub fn root(part_size: u64, size: u64, parts: &[ChainingValue]) -> Option<String> {
    let fits = part_size.is_power_of_two()
        && part_size >= blake3::CHUNK_LEN as u64
        && size > part_size
        && size.div_ceil(part_size) == parts.len() as u64;
    if !fits {
        return None;
    }
    let (left, right) = children(part_size, size, parts);
    Some(
        merge_subtrees_root(&left, &right, Mode::Hash)
            .to_hex()
            .to_string(),
    )
}

fn children(part_size: u64, size: u64, parts: &[ChainingValue]) -> (ChainingValue, ChainingValue) {
    let left = left_subtree_len(size);
    // The left one is whole parts, for it is a power of two and not smaller than one.
    let (before, after) = parts.split_at(usize::try_from(left / part_size).unwrap_or(parts.len()));
    (node(part_size, left, before), node(part_size, size - left, after))
}

fn node(part_size: u64, size: u64, parts: &[ChainingValue]) -> ChainingValue {
    match parts {
        [only] => *only,
        _ => {
            let (left, right) = children(part_size, size, parts);
            merge_subtrees_non_root(&left, &right, Mode::Hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_give_the_digest_of_the_whole() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|n| (n * 31 % 251) as u8).collect();
        for part in [1024_usize, 2048, 8192, 65536] {
            for size in [part + 1, 2 * part, 2 * part + 7, 70_000] {
                let Some(bytes) = bytes.get(..size).filter(|_| size > part) else {
                    continue;
                };
                let values = bytes.chunks(part).enumerate().map(|(n, chunk)| {
                    let mut digest = PartDigest::at((n * part) as u64);
                    chunk.chunks(1000).for_each(|piece| digest.update(piece));
                    digest.finish()
                });
                let values: Vec<_> = values.collect();
                let whole = blake3::hash(bytes).to_hex().to_string();
                assert_eq!(
                    root(part as u64, size as u64, &values),
                    Some(whole),
                    "{size} in {part}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_tree_has_no_root() {
        let values = [[1; 32], [2; 32]];
        assert_eq!(root(1000, 2000, &values), None, "no power of two");
        assert_eq!(root(512, 1024, &values), None, "less than a chunk");
        assert_eq!(root(1024, 1024, values.get(..1).unwrap()), None, "one part");
        assert_eq!(root(1024, 4096, &values), None, "parts are missing");
        assert!(root(1024, 2048, &values).is_some());
    }

    #[test]
    fn parts_are_few_enough_for_any_object() {
        for size in [1, PART_MIN, 1 << 30, 80 << 30, 5 << 40] {
            let part = part_size(size);
            assert!(
                part.is_power_of_two() && size.div_ceil(part) <= PARTS_MAX,
                "{size}"
            );
        }
        assert_eq!(part_size(5 << 30), PART_MIN);
    }
}
