//! YAML 1.2 (and so JSON) to a tree that knows the place of every node.
//!
//! The tree is built from the parser's events with a stack of its own, so that no nesting is too deep for it, and so that
//! every duplicate key is found. Anchors, aliases and tags are refused: they hide what a reviewer sees.

use std::borrow::Cow;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::report::Report;
use super::walk;
use crate::diagnostic::Place;

/// Largest source, in bytes.
const SOURCE_BYTES_MAX: usize = 64 << 20;
/// Deepest nesting of lists and maps; the deepest field of a manifest lies at 8.
const DEPTH_MAX: usize = 24;

/// Most fields of one object; more are no manifest, and each is compared with the others.
const ENTRIES_MAX: usize = 2000;

/// A node with its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A key of a map with its place.
#[derive(Debug, Clone)]
pub(super) struct MapKey {
    pub(super) text: String,
    pub(super) place: Place,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    /// A number with a point or an exponent, or too large for an integer, as written.
    Float(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(MapKey, Node)>),
}

impl Value {
    /// The kind of value for messages.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Boolean(_) => "true or false",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a floating-point number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }
}

/// Reads every document of a text. `false`: the text is no YAML from some place on, and what follows is unknown.
pub(super) fn parse(text: &str, source: usize, report: &mut Report<'_>) -> (Vec<Node>, bool) {
    if text.len() > SOURCE_BYTES_MAX {
        let message = format!(
            "the text has {} bytes, at most {SOURCE_BYTES_MAX} are read",
            text.len()
        );
        report.error(
            Place {
                source,
                offset: 0,
                length: 0,
            },
            message,
        );
        return (Vec::new(), false);
    }
    let mut builder = Builder {
        offsets: Offsets::new(text),
        text,
        source,
        open: Vec::new(),
        done: Vec::new(),
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let taken = match event {
            Ok((event, span)) => builder.take(event, span, report),
            Err(error) => {
                let start = builder.offsets.byte(error.marker().index());
                let place = builder.visible(start);
                let message = format!("this is no valid YAML: {}", error.info().to_lowercase());
                report.syntax_error(place, message);
                false
            }
        };
        if !taken {
            let read = builder.done.last().map(|node| node.place);
            report.unread(source, read.map_or(0, |place| place.offset + place.length));
            return (builder.done, false);
        }
    }
    (builder.done, true)
}

/// Byte offsets of characters, for the parser counts characters.
struct Offsets {
    /// `None` where all characters are single bytes.
    table: Option<Vec<u32>>,
    end: usize,
}

impl Offsets {
    fn new(text: &str) -> Self {
        let table = || {
            text.char_indices()
                .map(|(offset, _)| u32::try_from(offset).unwrap_or(u32::MAX))
                .collect()
        };
        Self {
            table: (!text.is_ascii()).then(table),
            end: text.len(),
        }
    }

    fn byte(&self, character: usize) -> usize {
        match &self.table {
            None => character.min(self.end),
            Some(table) => table.get(character).map_or(self.end, |offset| *offset as usize),
        }
    }
}

/// A list or map that is not closed yet.
struct Open {
    start: usize,
    end: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map {
        entries: Vec<(MapKey, Node)>,
        key: Option<MapKey>,
    },
}

struct Builder<'t> {
    offsets: Offsets,
    text: &'t str,
    source: usize,
    open: Vec<Open>,
    done: Vec<Node>,
}

impl Builder<'_> {
    fn place(&self, start: usize, end: usize) -> Place {
        Place {
            source: self.source,
            offset: start,
            length: end.saturating_sub(start),
        }
    }

    /// The rest of the line at an offset, or one character.
    fn visible(&self, start: usize) -> Place {
        let rest = self.text.get(start..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default().trim_end();
        self.place(start, start + line.len())
    }

    /// The bytes of a scalar: its span without the white space that follows.
    fn scalar_place(&self, span: Span) -> Place {
        let (start, end) = (
            self.offsets.byte(span.start.index()),
            self.offsets.byte(span.end.index()),
        );
        let text = self.text.get(start..end).unwrap_or_default();
        self.place(start, start + text.trim_end().len())
    }

    /// `false` where the rest of the text cannot be read.
    fn take(&mut self, event: Event<'_>, span: Span, report: &mut Report<'_>) -> bool {
        let start = self.offsets.byte(span.start.index());
        match event {
            Event::Alias(_) => {
                let help = "write the value itself at each place";
                report.error_help(
                    self.visible(start),
                    "anchors and aliases (`&`, `*`) are not read",
                    help,
                );
                self.add(
                    Node {
                        place: self.scalar_place(span),
                        value: Value::Null,
                    },
                    report,
                );
            }
            Event::Scalar(text, style, anchor, tag) => {
                let place = self.scalar_place(span);
                self.refuse_marks(place, anchor, tag.is_some(), report);
                self.scalar(text, style, place, report);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_marks(self.visible(start), anchor, tag.is_some(), report);
                return self.begin(start, Items::List(Vec::new()), report);
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_marks(self.visible(start), anchor, tag.is_some(), report);
                return self.begin(
                    start,
                    Items::Map {
                        entries: Vec::new(),
                        key: None,
                    },
                    report,
                );
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.end(self.offsets.byte(span.end.index()), report);
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        true
    }

    fn refuse_marks(&self, place: Place, anchor: usize, tagged: bool, report: &mut Report<'_>) {
        if anchor != 0 {
            let help = "write the value itself at each place";
            report.error_help(place, "anchors and aliases (`&`, `*`) are not read", help);
        }
        if tagged {
            report.error_help(
                place,
                "tags (`!`) are not read",
                "quote a value to make it a text",
            );
        }
    }

    fn begin(&mut self, start: usize, items: Items, report: &mut Report<'_>) -> bool {
        if self.open.len() >= DEPTH_MAX {
            report.error(
                self.visible(start),
                format!("lists and objects are nested at most {DEPTH_MAX} deep"),
            );
            return false;
        }
        self.open.push(Open {
            start,
            end: start,
            items,
        });
        true
    }

    fn end(&mut self, end: usize, report: &mut Report<'_>) {
        let Some(open) = self.open.pop() else { return };
        // Block collections end where the next token begins; flow collections at their bracket.
        let bracket = self
            .text
            .as_bytes()
            .get(open.start)
            .is_some_and(|b| matches!(b, b'{' | b'['));
        let end = if bracket { end.max(open.end) } else { open.end };
        let place = self.place(open.start, end);
        let value = match open.items {
            Items::List(nodes) => Value::List(nodes),
            Items::Map { entries, .. } => Value::Map(entries),
        };
        self.add(Node { place, value }, report);
    }

    fn scalar(&mut self, text: Cow<'_, str>, style: ScalarStyle, place: Place, report: &mut Report<'_>) {
        let value = if style == ScalarStyle::Plain {
            plain(&text)
        } else {
            Value::Text(text.clone().into_owned())
        };
        if let Some(Open {
            items: Items::Map { key: key @ None, .. },
            ..
        }) = self.open.last_mut()
        {
            *key = Some(MapKey {
                text: text.into_owned(),
                place,
            });
            return;
        }
        self.add(Node { place, value }, report);
    }

    fn add(&mut self, node: Node, report: &mut Report<'_>) {
        let end = node.place.offset + node.place.length;
        let Some(open) = self.open.last_mut() else {
            self.done.push(node);
            return;
        };
        open.end = open.end.max(end);
        match &mut open.items {
            Items::List(nodes) => nodes.push(node),
            Items::Map { entries, key } => match key.take() {
                Some(key) if entries.len() >= ENTRIES_MAX => {
                    let message = format!("an object has at most {ENTRIES_MAX} fields");
                    walk::guard_dropped(&key, &node, report);
                    report.error(key.place, message);
                }
                Some(key) if entries.iter().any(|(other, _)| other.text == key.text) => {
                    walk::guard_dropped(&key, &node, report);
                    report.error(key.place, format!("`{}` is given twice", key.text));
                }
                Some(key) => entries.push((key, node)),
                None => {
                    walk::guard(&node, report);
                    report.error(node.place, "a key must be a text".to_owned());
                    *key = Some(MapKey {
                        text: String::new(),
                        place: node.place,
                    });
                }
            },
        }
    }
}

/// The value of an unquoted scalar by the core schema of YAML 1.2.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Boolean(true),
        "false" | "False" | "FALSE" => return Value::Boolean(false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let integer = match (unsigned == text, text.get(..2)) {
        (true, Some("0x")) => i64::from_str_radix(&text[2..], 16).ok(),
        (true, Some("0o")) => i64::from_str_radix(&text[2..], 8).ok(),
        _ => text.parse::<i64>().ok(),
    };
    if let Some(integer) = integer {
        return Value::Integer(integer);
    }
    let special = matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN");
    let number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && unsigned.parse::<f64>().is_ok();
    if special || number {
        Value::Float(text.to_owned())
    } else {
        Value::Text(text.to_owned())
    }
}
