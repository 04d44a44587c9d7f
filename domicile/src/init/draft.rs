//! A backend as it will be written.

use std::collections::BTreeMap;

use domicile_estate::StoreKind;

/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// It needs none.
    None,
    /// Variables that the user sets, with this prefix; their endings.
    Env {
        /// What the names begin with.
        prefix: String,
        /// What they end with, after a `_`.
        endings: &'static [&'static str],
    },
    /// What stood in the `rclone.conf`: kept in plain in a file of its own beside the manifests, which only its owner can
    /// read.
    Kept(Vec<(&'static str, String)>),
    /// A file that is there already.
    File(String),
}

/// A backend as it will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// The kind of store, as manifests write it; this version may not have it.
    pub kind: &'static str,
    /// What the kind needs.
    pub options: BTreeMap<&'static str, String>,
    /// How it is opened.
    pub credentials: Credentials,
    /// Who runs it, if that is known.
    pub provider: String,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl Draft {
    /// A backend in a folder.
    pub fn folder(name: String, root: String) -> Self {
        Self {
            name,
            kind: StoreKind::Fs.as_str(),
            options: BTreeMap::from([("root", root)]),
            credentials: Credentials::None,
            provider: String::new(),
            notes: Vec::new(),
        }
    }

    /// Whether this version has a driver for it.
    pub fn is_supported(&self) -> bool {
        StoreKind::ALL.iter().any(|kind| kind.as_str() == self.kind)
    }

    /// Whether it can only be read.
    pub fn is_read_only(&self) -> bool {
        self.kind == "Http"
    }

    /// The folder, for a backend in one.
    pub fn root_folder(&self) -> Option<&str> {
        (self.kind == StoreKind::Fs.as_str()).then(|| self.options.get("root").map_or("", String::as_str))
    }

    /// Variables that the user must set.
    pub fn variables(&self) -> Vec<String> {
        match &self.credentials {
            Credentials::Env { prefix, endings } => endings
                .iter()
                .map(|ending| format!("{prefix}_{ending}"))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The file beside the manifests that keeps its credentials.
    pub fn kept_file(&self) -> Option<String> {
        matches!(self.credentials, Credentials::Kept(_)).then(|| format!("{}.keys", self.name))
    }
}
