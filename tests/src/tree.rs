//! Files below folders, bytes and chance, all repeatable.

use std::collections::BTreeMap;
use std::path::Path;

/// Pseudo-random numbers from a seed (splitmix64), so that a failed run can be repeated.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }
}

/// Bytes that depend on a seed alone.
#[must_use]
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.draw().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Every plain file below a folder but lists of digests: path below it, and bytes. Empty where the folder is missing.
///
/// # Panics
/// When a file cannot be read.
#[must_use]
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = everything(folder);
    found.retain(|path, _| !is_list(path));
    found
}

/// The lists of digests below a folder: path below it, and bytes.
///
/// # Panics
/// When a file cannot be read.
#[must_use]
pub fn digest_lists(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = everything(folder);
    found.retain(|path, _| is_list(path));
    found
}

fn everything(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    each(folder, folder, &mut |name, path| {
        let bytes =
            std::fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        found.insert(name, bytes);
    });
    found
}

/// Whether it lies where the lists of digests do. What is left there of one that was not finished is none.
fn is_list(path: &str) -> bool {
    path.split('/').any(|part| part == ".domicile-digests") && !is_temporary(path)
}

/// Calls back for every file below a folder with its path below the root, symbolic links aside.
fn each(root: &Path, folder: &Path, tell: &mut dyn FnMut(String, &Path)) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a folder entry").path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            each(root, &path, tell);
            continue;
        }
        let name = path.strip_prefix(root).expect("found below the root");
        tell(name.to_string_lossy().into_owned(), &path);
    }
}

/// The temporary files of ours below a folder, which no finished run may leave; their bytes are not looked at, since a run
/// may be taking them away.
#[must_use]
pub fn temporary_files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    each(folder, folder, &mut |name, _| found.push(name));
    found.retain(|path| is_temporary(path));
    found.sort();
    found
}

/// Whether a path ends with a name of our temporary files.
fn is_temporary(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .is_some_and(|name| name.starts_with(".domicile-"))
}
