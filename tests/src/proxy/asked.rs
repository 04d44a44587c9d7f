//! What a request to an S3 store is about.

/// What is asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An object in one piece.
    Put,
    /// A part of an upload.
    PutPart,
    /// An upload is begun.
    Begin,
    /// The parts of an upload become an object.
    Complete,
    /// An upload is given up.
    Abort,
    /// An object is read, or a range of it.
    Get,
    /// An object is looked at.
    Head,
    /// An object is removed.
    Delete,
    /// Objects, uploads or parts are listed.
    List,
    /// Anything else.
    Other,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What it is about.
    pub kind: Kind,
    /// The path with the bucket, as it was sent.
    pub path: String,
    /// The upload, where one is meant.
    pub upload: Option<String>,
    /// The number of the part, where one is meant.
    pub part: Option<u32>,
    /// Its bytes.
    pub length: u64,
    /// When it was signed, as `20130524T000000Z`.
    pub signed: Option<String>,
}

impl Asked {
    /// Reads `PUT /bucket/key?partNumber=1&uploadId=u HTTP/1.1`.
    pub(super) fn of(first: &str, length: u64, signed: Option<&str>) -> Self {
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let field = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .filter(|(n, _)| *n == name)
                .map(|(_, value)| value.to_owned())
                .next()
        };
        let upload = field("uploadId");
        let has_key = path.trim_matches('/').contains('/');
        let kind = match (method, upload.is_some()) {
            ("PUT", true) => Kind::PutPart,
            ("PUT", false) if has_key => Kind::Put,
            ("POST", true) => Kind::Complete,
            ("POST", false) if query.starts_with("uploads") => Kind::Begin,
            ("DELETE", true) => Kind::Abort,
            ("DELETE", false) => Kind::Delete,
            ("HEAD", _) => Kind::Head,
            ("GET", false) if has_key => Kind::Get,
            ("GET", _) => Kind::List,
            _ => Kind::Other,
        };
        Self {
            kind,
            path: path.to_owned(),
            upload,
            part: field("partNumber").and_then(|number| number.parse().ok()),
            length,
            signed: signed.map(str::to_owned),
        }
    }

    /// Whether it is about an object of ours, and not about one by which the store is tried out.
    #[must_use]
    pub fn is_about(&self, name: &str) -> bool {
        self.path.contains(name) && !self.path.contains("/.domicile-")
    }
}
