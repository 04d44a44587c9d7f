//! Paths and queries as they are sent, which is also as they are signed.

/// Appends a text with everything encoded but what SigV4 leaves as it is; `/` is left in paths.
pub(crate) fn encode(text: &str, keep_slash: bool, into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                into.push(char::from(byte))
            }
            b'/' if keep_slash => into.push('/'),
            byte => {
                into.push('%');
                into.push(char::from(HEX[usize::from(byte >> 4)]));
                into.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
}

/// A query from names and values, in the order of the names.
pub(super) fn query(pairs: &mut [(&str, &str)]) -> String {
    pairs.sort_unstable();
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        encode(name, false, &mut text);
        text.push('=');
        encode(value, false, &mut text);
    }
    text
}

/// Reads an encoded key of a listing; `None` if it is no text. S3 encodes it as forms are: a blank is `+`, and a plus `%2B`.
pub(super) fn decode(text: &str) -> Option<String> {
    crate::http1::decode(&text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_back() {
        for text in ["a/b c+d", "Größe/名前", "q?x=1&y", "%2e", "~", "zeile\nzwei"] {
            let mut encoded = String::new();
            encode(text, true, &mut encoded);
            assert_eq!(decode(&encoded).as_deref(), Some(text));
        }
        assert_eq!(
            query(&mut [("uploads", ""), ("prefix", "a/b")]),
            "prefix=a%2Fb&uploads="
        );
        assert_eq!(decode("%zz"), None);
    }
}
