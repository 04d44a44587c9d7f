//! On which side of a transfer a store stands: the same error blames the source there and the target here.

/// The side of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Bytes come from it.
    Source,
    /// Bytes go to it.
    Target,
}
