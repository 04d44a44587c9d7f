//! Lists of digests that lie beside the copies of a dataset, so that a copy can be proven when nothing else is left: no
//! catalogue, no origin and no second copy.
//!
//! ```text
//!  <root>/<dataset>/<key>                               the copy
//!  <root>/.domicile-digests/<dataset>/<BLAKE3>.b3       its lists: `<BLAKE3>  <key>`, as `b3sum --check` reads them
//! ```
//!
//! A list is called by the digest of its own bytes: so that it proves itself, nothing is ever overwritten, and a new one
//! lies beside the old one until that has served. Where lists end depends on keys alone: an object that changes makes one
//! list anew and no other.

use domicile_estate::{DatasetName, ObjectKey};

/// The folder at the root of a backend in which the lists of all its copies lie. No key and no dataset can be called so.
pub const DIGEST_LISTS: &str = ".domicile-digests";
/// No list is longer than this and one line more.
pub const LIST_BYTES: usize = 4 * 1024 * 1024;
/// Reading refuses what is longer: no list of ours is.
pub const LIST_BYTES_MAX: u64 = 2 * LIST_BYTES as u64;
/// After one in this many keys a list ends, so that a change in one place leaves the others as they are.
const ENDS_ONE_IN: u64 = 32_768;

/// Lines of digests in the making.
#[derive(Debug, Default)]
pub struct DigestLines {
    text: String,
}

impl DigestLines {
    /// Adds an object with its BLAKE3 in hexadecimal. Objects come in the order of their keys. Returns the list if that ends
    /// it.
    pub fn add(&mut self, key: &ObjectKey, blake3: &str) -> Option<DigestList> {
        let key_text = key.as_str();
        // As b3sum does it: such names are marked by a backslash at the beginning of the line.
        let escaped = key_text.contains(['\\', '\n', '\r']);
        if escaped {
            self.text.push('\\');
        }
        self.text.push_str(blake3);
        self.text.push_str("  ");
        for letter in key_text.chars() {
            match letter {
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                other => self.text.push(other),
            }
        }
        self.text.push('\n');
        let ends = self.text.len() >= LIST_BYTES || ends_a_list(key_text);
        ends.then(|| self.end()).flatten()
    }

    /// The list of what was added since the last one; `None` if nothing was.
    pub fn end(&mut self) -> Option<DigestList> {
        let text = std::mem::take(&mut self.text);
        (!text.is_empty()).then(|| DigestList {
            blake3: blake3::hash(text.as_bytes()).to_hex().to_string(),
            text,
        })
    }
}

fn ends_a_list(key: &str) -> bool {
    let digest = blake3::hash(key.as_bytes());
    let first = digest
        .as_bytes()
        .first_chunk()
        .map_or(1, |b| u64::from_le_bytes(*b));
    first.is_multiple_of(ENDS_ONE_IN)
}

/// A list of digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestList {
    blake3: String,
    text: String,
}

impl DigestList {
    /// What is called by a digest, if its bytes have it and are lines of digests.
    #[must_use]
    pub fn proven(blake3: &str, bytes: Vec<u8>) -> Option<Self> {
        let text = String::from_utf8(bytes).ok()?;
        let list = Self {
            blake3: blake3::hash(text.as_bytes()).to_hex().to_string(),
            text,
        };
        let lines = list.text.lines().count();
        (list.blake3 == blake3 && list.entries().count() == lines).then_some(list)
    }

    /// BLAKE3 of its bytes in hexadecimal: what it is called.
    #[must_use]
    pub fn blake3(&self) -> &str {
        &self.blake3
    }

    /// Its bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.text.into_bytes()
    }

    /// Each key with the BLAKE3 of its object in hexadecimal. A line that is none is passed over.
    pub fn entries(&self) -> impl Iterator<Item = (ObjectKey, &str)> {
        self.text.lines().filter_map(entry)
    }
}

fn entry(line: &str) -> Option<(ObjectKey, &str)> {
    let (escaped, line) = match line.strip_prefix('\\') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (blake3, name) = line.split_once("  ")?;
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if blake3.len() != 64 || !blake3.bytes().all(hex) {
        return None;
    }
    let name = if escaped {
        unescaped(name)?
    } else {
        name.to_owned()
    };
    Some((ObjectKey::new(&name).ok()?, blake3))
}

fn unescaped(name: &str) -> Option<String> {
    let mut plain = String::with_capacity(name.len());
    let mut letters = name.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

/// The folder of a dataset's lists, below the root of a backend, with its last `/`.
#[must_use]
pub fn lists_folder(dataset: &DatasetName) -> String {
    format!("{DIGEST_LISTS}/{dataset}/")
}

/// Whether a path below the root of a backend is that of all lists, or lies there.
#[must_use]
pub fn lies_among_lists(path: &str) -> bool {
    let rest = path.strip_prefix(DIGEST_LISTS);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where the list lies that is called by a digest, below the root of a backend.
#[must_use]
pub fn list_path(dataset: &DatasetName, blake3: &str) -> String {
    format!("{DIGEST_LISTS}/{dataset}/{blake3}.b3")
}

/// Whose list lies at a path below the root of a backend, and what it is called; `None` if that is no list.
#[must_use]
pub fn list_at(path: &str) -> Option<(&str, &str)> {
    let below = path.strip_prefix(DIGEST_LISTS)?.strip_prefix('/')?;
    let (dataset, name) = below.split_once('/')?;
    let blake3 = name.strip_suffix(".b3")?;
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (blake3.len() == 64 && blake3.bytes().all(hex)).then_some((dataset, blake3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ObjectKey {
        ObjectKey::new(text).unwrap()
    }

    fn digest(of: &str) -> String {
        blake3::hash(of.as_bytes()).to_hex().to_string()
    }

    #[test]
    fn a_list_is_written_as_b3sum_writes_it_and_read_again() {
        let odd = ["a", "b/with space  two", "c\\d", "e\nf", "g\r", "Ü/ß"];
        let mut lines = DigestLines::default();
        for name in odd {
            assert_eq!(lines.add(&key(name), &digest(name)), None);
        }
        let list = lines.end().unwrap();
        assert_eq!(lines.end(), None);
        let text = String::from_utf8(list.clone().into_bytes()).unwrap();
        assert!(text.starts_with(&format!("{}  a\n", digest("a"))));
        // What b3sum 1.5 prints for such names.
        assert!(text.contains(&format!("\n\\{}  c\\\\d\n", digest("c\\d"))));
        assert!(text.contains(&format!("\n\\{}  e\\nf\n", digest("e\nf"))));
        let read = DigestList::proven(list.blake3(), text.into_bytes()).unwrap();
        let entries: Vec<_> = read.entries().map(|(k, d)| (k, d.to_owned())).collect();
        let wanted: Vec<_> = odd.iter().map(|name| (key(name), digest(name))).collect();
        assert_eq!(entries, wanted);
    }

    #[test]
    fn a_list_that_has_turned_or_is_no_list_proves_nothing() {
        let mut lines = DigestLines::default();
        lines.add(&key("a"), &digest("a"));
        let list = lines.end().unwrap();
        let name = list.blake3().to_owned();
        let bytes = list.into_bytes();
        for at in 0..bytes.len() {
            let mut turned = bytes.clone();
            turned[at] ^= 1;
            assert_eq!(DigestList::proven(&name, turned), None, "byte {at}");
        }
        assert!(DigestList::proven(&name, bytes[..bytes.len() - 1].to_vec()).is_none());
        for text in ["hello\n", "00  a\n", &format!("{}  ../a\n", digest("a"))] {
            let name = blake3::hash(text.as_bytes()).to_hex().to_string();
            assert!(DigestList::proven(&name, text.into()).is_none(), "{text}");
        }
    }

    #[test]
    fn an_object_that_changes_makes_one_list_anew() {
        let lists = |changed: usize| {
            let mut lines = DigestLines::default();
            let mut lists = Vec::new();
            for at in 0..200_000 {
                let version = if at == changed { "new" } else { "old" };
                lists.extend(lines.add(&key(&format!("many/{at:06}")), &digest(version)));
            }
            lists.extend(lines.end());
            lists
        };
        let (before, after) = (lists(usize::MAX), lists(100_000));
        assert_eq!(before.len(), after.len());
        assert!(before.len() > 3 && before.len() < 20, "{}", before.len());
        let others = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert_eq!(others, 1);
        assert!(before.iter().all(|list| list.text.len() <= LIST_BYTES + 100));
    }

    #[test]
    fn what_lies_in_the_folder_of_lists_is_a_list_by_its_name() {
        let dataset = DatasetName::new("d").unwrap();
        let name = digest("x");
        let path = list_path(&dataset, &name);
        assert!(path.starts_with(&lists_folder(&dataset)));
        assert_eq!(list_at(&path), Some(("d", name.as_str())));
        for path in [
            "d/a",
            ".domicile-digests/d/a.b3",
            ".domicile-digests/d/e/x.b3",
            ".domicile-digests/",
        ] {
            assert_eq!(list_at(path), None, "{path}");
        }
    }
}
