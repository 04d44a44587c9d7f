//! What a user names as a place: a folder, a bucket, a path of rclone's.

use std::path::Path;

use super::draft::{Credentials, Draft};
use super::remotes::{Leads, Remotes, S3_KEYS, variable_prefix};

/// A place as it was named, and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As it was written.
    pub named: String,
    /// The backend.
    pub draft: Draft,
}

impl Place {
    /// Understands `[NAME=]/folder`, `[NAME=]s3://bucket/prefix?endpoint=…&region=…` or `[NAME=]remote:path`.
    ///
    /// # Errors
    /// A sentence for people, without any secret.
    pub fn read(named: &str, remotes: &Remotes) -> Result<Self, String> {
        let (name, path) = split_name(named);
        let mut draft = if let Some(rest) = path.strip_prefix("s3://") {
            bucket(rest)?
        } else if let Some((scheme, _)) = path.split_once("://") {
            return Err(format!(
                "`{scheme}://` is not understood: name a folder, `s3://bucket/prefix`, or `remote:path` of an \
                 `rclone.conf`"
            ));
        } else {
            match path.split_once(':') {
                Some((remote, below))
                    if remotes.has(remote) || !path.contains('/') || !Path::new(path).exists() =>
                {
                    match remotes.follow(remote, below)? {
                        Leads::Folder(folder) => self::folder(&folder)?,
                        Leads::Store(draft) => *draft,
                    }
                }
                _ => self::folder(path)?,
            }
        };
        draft.name = match name {
            Some(name) => name.to_owned(),
            None => manifest_name(&last_part(&draft, path)),
        };
        Ok(Self {
            named: named.to_owned(),
            draft,
        })
    }
}

/// `NAME=` before a place, if there is one.
fn split_name(named: &str) -> (Option<&str>, &str) {
    match named.split_once('=') {
        Some((name, path)) if !name.is_empty() && manifest_name(name) == name => (Some(name), path),
        _ => (None, named),
    }
}

fn folder(path: &str) -> Result<Draft, String> {
    let path = match path.strip_prefix("~/") {
        Some(_) => return Err(format!("`{path}`: write the whole path instead of `~`")),
        None => path,
    };
    let absolute =
        std::path::absolute(path).map_err(|error| format!("`{path}` has no absolute path: {error}"))?;
    let root = absolute
        .to_str()
        .ok_or_else(|| format!("`{path}` has a name that is no UTF-8 text"))?;
    Ok(Draft::folder(
        String::new(),
        root.trim_end_matches('/').to_owned(),
    ))
}

fn bucket(rest: &str) -> Result<Draft, String> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (bucket, root) = path.split_once('/').unwrap_or((path, ""));
    if bucket.is_empty() {
        return Err(format!("`s3://{rest}` names no bucket"));
    }
    let mut draft = Draft::folder(String::new(), String::new());
    draft.kind = "S3";
    draft.options = [("bucket", bucket.to_owned())].into();
    if !root.trim_matches('/').is_empty() {
        draft.options.insert("root", root.trim_matches('/').to_owned());
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("endpoint", value)) => draft.options.insert("endpoint", value.to_owned()),
            Some(("region", value)) => draft.options.insert("region", value.to_owned()),
            _ => {
                return Err(format!(
                    "`{pair}` in `s3://{rest}` is not understood: `?endpoint=URL&region=REGION`"
                ));
            }
        };
    }
    draft.credentials = Credentials::Env {
        prefix: variable_prefix(bucket),
        endings: S3_KEYS,
    };
    Ok(draft)
}

fn last_part(draft: &Draft, path: &str) -> String {
    let root = draft.options.get("root").map_or("", String::as_str);
    let bucket = draft.options.get("bucket").or(draft.options.get("container"));
    let folder = root.rsplit('/').find(|part| !part.is_empty()).unwrap_or("");
    match bucket {
        Some(bucket) if folder.is_empty() => bucket.clone(),
        Some(bucket) => format!("{bucket}-{folder}"),
        None if folder.is_empty() => path.to_owned(),
        None => folder.to_owned(),
    }
}

/// A text as the name of a manifest: lower case letters, digits and `-`.
pub fn manifest_name(text: &str) -> String {
    let mut name = String::new();
    for letter in text.chars().map(|letter| letter.to_ascii_lowercase()) {
        if letter.is_ascii_lowercase() || letter.is_ascii_digit() {
            name.push(letter);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    // A label of a DNS name has at most 63 letters.
    name.truncate(63);
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(named: &str) -> Result<Place, String> {
        Place::read(named, &Remotes::default())
    }

    #[test]
    fn folders_and_buckets_get_names() {
        let name = |named: &str| read(named).unwrap().draft.name;
        assert_eq!(name("/srv/Photos of 2024/"), "photos-of-2024");
        assert_eq!(name("s3://archive"), "archive");
        assert_eq!(name("s3://archive/old/things"), "archive-things");
        assert_eq!(name("cold=s3://archive/old"), "cold");
        assert_eq!(name("/a=b/c"), "c");
    }

    #[test]
    fn a_bucket_with_its_server() {
        let draft = read("s3://b/p?endpoint=http://127.0.0.1:9000&region=eu")
            .unwrap()
            .draft;
        let options = [
            ("bucket", "b"),
            ("root", "p"),
            ("endpoint", "http://127.0.0.1:9000"),
            ("region", "eu"),
        ];
        assert_eq!(draft.options, options.map(|(k, v)| (k, v.to_owned())).into());
        assert_eq!(draft.variables(), ["B_ACCESS_KEY_ID", "B_SECRET_ACCESS_KEY"]);
        assert!(read("s3://b?color=red").unwrap_err().contains("color"));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        assert!(read("gopher://hole").unwrap_err().contains("gopher"));
        assert!(read("beta:bucket").unwrap_err().contains("--from"));
        assert!(read("s3://").unwrap_err().contains("no bucket"));
    }
}
