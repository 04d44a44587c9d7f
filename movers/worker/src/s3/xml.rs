//! The few shapes of XML that S3 answers with.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

/// How deep an answer may be nested. The shapes of S3 need five.
const DEPTH_MAX: usize = 16;

/// An element with its text and what lies in it; without attributes and name spaces.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// Reads an answer; `None` if it is no whole XML.
    pub(crate) fn parse(xml: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(xml).ok()?;
        let mut reader = Reader::from_str(text);
        let mut open: Vec<Element> = Vec::new();
        loop {
            let closed = match reader.read_event().ok()? {
                Event::Start(start) if open.len() < DEPTH_MAX => {
                    open.push(Self::named(start.local_name().as_ref()));
                    None
                }
                Event::Start(_) | Event::Eof => return None,
                Event::Empty(empty) => Some(Self::named(empty.local_name().as_ref())),
                Event::End(_) => Some(open.pop()?),
                Event::Text(text) => {
                    if let Some(top) = open.last_mut() {
                        top.text.push_str(&text.xml10_content());
                    }
                    None
                }
                Event::CData(text) => {
                    open.last_mut()?.text.push_str(&text.xml10_content());
                    None
                }
                Event::GeneralRef(reference) => {
                    open.last_mut()?.text.push(resolve(&reference)?);
                    None
                }
                _ => None,
            };
            if let Some(closed) = closed {
                match open.last_mut() {
                    Some(parent) => parent.children.push(closed),
                    None => return Some(closed),
                }
            }
        }
    }

    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// All children of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first child of a name.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.children
            .iter()
            .find(|child| child.name == name)
            .map(|child| child.text.as_str())
    }
}

fn resolve(reference: &BytesRef<'_>) -> Option<char> {
    if let Some(character) = reference.resolve_char_ref().ok()? {
        return Some(character);
    }
    match &**reference {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_with_its_escapes() {
        let xml = b"<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><Message>a &lt;b&gt; &#65;&amp;</Message><Empty/></Error>";
        let error = Element::parse(xml).unwrap();
        assert_eq!(error.text_of("Code"), Some("NoSuchKey"));
        assert_eq!(error.text_of("Message"), Some("a <b> A&"));
        assert_eq!(error.text_of("Empty"), Some(""));
    }

    #[test]
    fn what_is_cut_off_or_too_deep_is_nothing() {
        assert_eq!(Element::parse(b"<Error><Code>NoSu"), None);
        assert_eq!(Element::parse(b""), None);
        assert_eq!(Element::parse("<a>".repeat(1_000).as_bytes()), None);
    }
}
