//! Paths as texts: made absolute and normalised without asking any file system.

use domicile_estate::{KeyRefusal, ObjectKey};

/// A path below a folder, or an absolute one, without `.`, `..` and empty parts.
pub(super) fn absolute(folder: &str, path: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{folder}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The prefix of an origin: empty, or the parts with one slash each at the end.
pub(super) fn prefix(text: &str) -> Result<String, KeyRefusal> {
    if text.starts_with('/') {
        return Err(KeyRefusal::Absolute);
    }
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.is_empty() {
        return Ok(String::new());
    }
    let joined = parts.join("/");
    ObjectKey::new(&joined)?;
    Ok(format!("{joined}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_absolute_and_normalised() {
        let cases = [
            ("a/./b/../c", "/estate/a/c"),
            ("./data/", "/estate/data"),
            ("../x", "/x"),
            ("../../../x", "/x"),
            ("/srv//data/", "/srv/data"),
            (".", "/estate"),
        ];
        for (path, expected) in cases {
            assert_eq!(absolute("/estate", path), expected, "{path}");
            assert_eq!(
                absolute("/elsewhere", &absolute("/estate", path)),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn prefixes_stay_below_the_root() {
        assert_eq!(prefix(""), Ok(String::new()));
        assert_eq!(prefix("./"), Ok(String::new()));
        assert_eq!(prefix("plants"), Ok("plants/".to_owned()));
        assert_eq!(prefix("a//b/./c/"), Ok("a/b/c/".to_owned()));
        assert_eq!(prefix("/etc"), Err(KeyRefusal::Absolute));
        assert_eq!(prefix("a/../b"), Err(KeyRefusal::DotPart));
        assert_eq!(prefix("a/.domicile-x/"), Err(KeyRefusal::Temporary));
    }
}
