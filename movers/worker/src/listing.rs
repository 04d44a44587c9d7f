//! What a listing finds.

use domicile_movers::Failure;
use tokio::sync::mpsc;

/// Entries in one page of a listing.
pub(crate) const PAGE: usize = 1_000;

/// One thing found below a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path below the backend's root. Where it is no UTF-8, a readable approximation.
    pub path: String,
    /// Its bytes; 0 for what is no object.
    pub size: u64,
    /// When it was last changed, in milliseconds since 1970 UTC; `None` where the store does not say.
    pub modified_ms: Option<i64>,
    /// Whether it can be an object.
    pub kind: ListedKind,
}

/// Whether a thing found can be an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedKind {
    /// A plain object.
    File,
    /// Its name is no UTF-8, so that no other store could hold it byte for byte.
    NotUtf8,
    /// Its name begins or ends with white space, which the driver of this store would trim.
    OuterWhiteSpace,
    /// A symbolic link; it is not followed.
    SymbolicLink,
    /// A device, pipe or socket.
    Special,
}

impl ListedKind {
    /// Why it is no object, for people; `None` for an object.
    #[must_use]
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            Self::File => None,
            Self::NotUtf8 => Some("the name is no UTF-8"),
            Self::OuterWhiteSpace => Some("the name begins or ends with white space"),
            Self::SymbolicLink => Some("a symbolic link; links are not followed"),
            Self::Special => Some("a device, pipe or socket, not a plain file"),
        }
    }
}

/// A listing that is under way, page by page, in no particular order.
#[derive(Debug)]
pub struct Listing {
    pub(crate) pages: mpsc::Receiver<Result<Vec<Listed>, Failure>>,
}

impl Listing {
    /// The next page of at most 1,000 entries; `None` at the end. After an error nothing more comes, and what was
    /// listed before it is not all there is.
    pub async fn next_page(&mut self) -> Option<Result<Vec<Listed>, Failure>> {
        self.pages.recv().await
    }

    /// Everything at once, for small stores and tests.
    ///
    /// # Errors
    /// The failure that cut the listing off.
    pub async fn all(mut self) -> Result<Vec<Listed>, Failure> {
        let mut all = Vec::new();
        while let Some(page) = self.next_page().await {
            all.extend(page?);
        }
        Ok(all)
    }
}
