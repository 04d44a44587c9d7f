//! What FTP servers tell of files: for machines (RFC 3659, MLSx), or as `ls -l` would print it.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::listing::ListedKind;
use crate::tree::remote::Entry;

/// A line of MLST or MLSD: facts, a blank, the name. `None` for the folder itself and what lies above it.
pub(super) fn from_facts(line: &str) -> Option<Entry> {
    let (facts, name) = line.trim_start_matches(' ').split_once(' ')?;
    let mut entry = Entry {
        name: name.to_owned(),
        size: None,
        modified_ms: None,
        etag: None,
        kind: Some(ListedKind::Special),
    };
    for fact in facts.split(';') {
        let Some((fact, value)) = fact.split_once('=') else {
            continue;
        };
        match fact.to_ascii_lowercase().as_str() {
            "size" => entry.size = value.parse().ok(),
            "modify" => entry.modified_ms = time_ms(value),
            // A state that changes when the file is replaced.
            "unique" => entry.etag = Some(value.to_owned()),
            "type" => match value.to_ascii_lowercase().as_str() {
                "file" => entry.kind = Some(ListedKind::File),
                "dir" => entry.kind = None,
                "cdir" | "pdir" => return None,
                kind if kind.contains("link") => entry.kind = Some(ListedKind::SymbolicLink),
                _ => {}
            },
            _ => {}
        }
    }
    Some(entry)
}

/// A time as RFC 3659 writes it: `20261128021500` or with a fraction, in UTC.
pub(super) fn time_ms(text: &str) -> Option<i64> {
    let digits = text.trim().split('.').next()?;
    let time = DateTime::strptime("%Y%m%d%H%M%S", digits).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// A line as `ls -l` prints it: `-rw-r--r-- 1 ftp ftp 5 Nov 28 02:15 name`. Its time is for people and is not taken.
pub(super) fn from_long_line(line: &str) -> Option<Entry> {
    let mut rest = line;
    let mut fields = Vec::with_capacity(8);
    for _ in 0..8 {
        rest = rest.trim_start_matches(' ');
        let (field, after) = rest.split_once(' ')?;
        fields.push(field);
        rest = after;
    }
    let size = fields.get(4)?.parse().ok()?;
    let (kind, name) = match fields.first()?.chars().next()? {
        '-' => (Some(ListedKind::File), rest),
        'd' => (None, rest),
        'l' => (
            Some(ListedKind::SymbolicLink),
            rest.split(" -> ").next().unwrap_or(rest),
        ),
        'b' | 'c' | 'p' | 's' => (Some(ListedKind::Special), rest),
        _ => return None,
    };
    (!name.is_empty() && name != "." && name != "..").then(|| Entry {
        name: name.to_owned(),
        size: Some(size),
        modified_ms: None,
        etag: None,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read() {
        let entry = from_facts("modify=20261128021500;size=12;type=file;unique=1g2; a b;c ").unwrap();
        assert_eq!((entry.name.as_str(), entry.size), ("a b;c ", Some(12)));
        assert_eq!(entry.modified_ms, Some(1_795_832_100_000));
        assert!(
            from_facts("type=dir;modify=20261128021500; sub")
                .unwrap()
                .is_folder()
        );
        assert_eq!(from_facts("type=cdir;modify=20261128021500; /"), None);
        assert_eq!(from_facts("nothing"), None);
    }

    #[test]
    fn long_lines_are_read_with_blanks_in_names() {
        let line = "-rw-r--r--    1 107      112           5 Nov 28 02:15  a  b";
        let entry = from_long_line(line).unwrap();
        assert_eq!(
            (entry.name.as_str(), entry.size, entry.is_file()),
            (" a  b", Some(5), true)
        );
        let folder = "drwxr-xr-x    2 107      112        4096 Nov 28  2025 sub";
        assert!(from_long_line(folder).unwrap().is_folder());
        assert_eq!(from_long_line("total 8"), None);
        assert_eq!(from_long_line("drwxr-xr-x    2 0 0 4096 Nov 28 02:15 ."), None);
    }
}
