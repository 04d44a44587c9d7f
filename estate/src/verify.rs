//! How much proof a copy needs.

/// How it is made sure that a target holds what was sent to it. In order: each proves more than the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verify {
    /// The store's own checksum over the bytes that it holds, where the store has shown that it refuses wrong ones;
    /// else, and where it has none, all bytes are read back.
    #[default]
    Checksum,
    /// Some windows of the object, drawn by chance, are read back besides; a small object is read back whole.
    Sample,
    /// All bytes are read back.
    Full,
}

impl Verify {
    /// Every way, in order.
    pub const ALL: [Verify; 3] = [Self::Checksum, Self::Sample, Self::Full];

    /// The way as manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checksum => "Checksum",
            Self::Sample => "Sample",
            Self::Full => "Full",
        }
    }
}
