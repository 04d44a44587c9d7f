//! The header and single cells of an inventory.

use std::collections::HashMap;

use domicile_estate::ByteCount;

/// Where the columns are.
#[derive(Default)]
pub struct Columns {
    pub dataset: usize,
    pub key: usize,
    pub size: usize,
    pub sha256: Option<usize>,
    pub replicas: Option<usize>,
    pub labels: Vec<(usize, String)>,
    pub count: usize,
}

/// Finds the columns by the header.
pub fn columns(header: &csv::StringRecord) -> Result<Columns, String> {
    let mut found: HashMap<&str, usize> = HashMap::new();
    let mut columns = Columns {
        count: header.len(),
        ..Columns::default()
    };
    for (at, name) in header.iter().enumerate() {
        // Spreadsheets begin UTF-8 files with a byte order mark.
        let name = if at == 0 {
            name.trim_start_matches('\u{feff}')
        } else {
            name
        };
        if name.trim().is_empty() {
            return Err(format!("column {} has no name: name it, or leave it out", at + 1));
        }
        if found.insert(name, at).is_some() {
            return Err(format!("the column `{name}` comes twice: leave one out"));
        }
        if !["dataset", "key", "size", "sha256", "replicas"].contains(&name) {
            columns.labels.push((at, name.to_owned()));
        }
    }
    let needed = |name: &str| {
        found.get(name).copied().ok_or_else(|| {
            let there: Vec<String> = header
                .iter()
                .map(|name| format!("`{}`", name.escape_debug()))
                .collect();
            format!(
                "the column `{name}` is missing, it has {}: name the columns dataset, key and size",
                there.join(", ")
            )
        })
    };
    columns.dataset = needed("dataset")?;
    columns.key = needed("key")?;
    columns.size = needed("size")?;
    columns.sha256 = found.get("sha256").copied();
    columns.replicas = found.get("replicas").copied();
    Ok(columns)
}

/// A size in bytes.
pub fn size(text: &str) -> Result<ByteCount, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = text
        .parse::<u64>()
        .ok()
        .filter(|size| digits && i64::try_from(*size).is_ok());
    parsed.map(ByteCount).ok_or_else(|| {
        format!(
            "`{}` is no size: write whole bytes, such as 1048576, at most 2^63 - 1",
            text.escape_debug()
        )
    })
}

/// An empty cell is no digest.
pub fn sha256(text: &str) -> Result<Option<[u8; 32]>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let malformed = || {
        format!(
            "`{}` is no SHA-256: write 64 hexadecimal digits, or nothing",
            text.escape_debug()
        )
    };
    let nibble = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut digest = [0; 32];
    if text.len() != 64 {
        return Err(malformed());
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = match pair {
            [high, low] => nibble(*high).zip(nibble(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        }
        .ok_or_else(malformed)?;
    }
    Ok(Some(digest))
}
