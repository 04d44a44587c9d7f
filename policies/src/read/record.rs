//! What the walk makes of a node: typed values with their places.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{ByteCount, Country, Labels};

use crate::diagnostic::Place;
use crate::expression::Expression;

/// A value of the type that its field asks for.
#[derive(Debug, Clone)]
pub(super) enum Typed {
    Boolean(bool),
    Integer(i64),
    Decimal(f64),
    Bytes(ByteCount),
    Text(String),
    Country(Country),
    Expression(Expression),
    Labels(Labels),
    Texts(Vec<(String, Place)>),
    Record(Record),
    Records(Vec<Record>),
}

/// A value with its place and that of its key.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) key: Place,
    pub(super) place: Place,
    pub(super) value: Typed,
}

/// An object whose fields were checked. Fields that are wrong are missing from `items`; that they are was reported.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    pub(super) place: Place,
    /// Fields that the manifest states, the wrong ones included.
    pub(super) stated: BTreeSet<&'static str>,
    pub(super) items: BTreeMap<&'static str, Item>,
    /// The value of `type` where it says which fields there are.
    pub(super) variant: &'static str,
}

impl Record {
    pub(super) fn item(&self, name: &str) -> Option<&Item> {
        self.items.get(name)
    }

    /// Where a field's value is; the object where it is absent.
    pub(super) fn place_of(&self, name: &str) -> Place {
        self.item(name).map_or(self.place, |item| item.place)
    }

    /// Where a field's key is; the object where it is absent.
    pub(super) fn key_of(&self, name: &str) -> Place {
        self.item(name).map_or(self.place, |item| item.key)
    }

    /// A text, or the empty one.
    pub(super) fn text(&self, name: &str) -> &str {
        match self.item(name).map(|item| &item.value) {
            Some(Typed::Text(text)) => text,
            _ => "",
        }
    }

    /// A text that is not empty, owned.
    pub(super) fn word(&self, name: &str) -> Option<String> {
        Some(self.text(name))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    }

    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        match self.item(name)?.value {
            Typed::Boolean(boolean) => Some(boolean),
            _ => None,
        }
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        match self.item(name)?.value {
            Typed::Integer(integer) => Some(integer),
            _ => None,
        }
    }

    pub(super) fn decimal(&self, name: &str) -> Option<f64> {
        match self.item(name)?.value {
            Typed::Decimal(decimal) => Some(decimal),
            _ => None,
        }
    }

    pub(super) fn bytes(&self, name: &str) -> Option<ByteCount> {
        match self.item(name)?.value {
            Typed::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn country(&self, name: &str) -> Option<Country> {
        match self.item(name)?.value {
            Typed::Country(country) => Some(country),
            _ => None,
        }
    }

    pub(super) fn expression(&self, name: &str) -> Option<&Expression> {
        match &self.item(name)?.value {
            Typed::Expression(expression) => Some(expression),
            _ => None,
        }
    }

    pub(super) fn labels(&self, name: &str) -> Labels {
        match self.item(name).map(|item| &item.value) {
            Some(Typed::Labels(labels)) => labels.clone(),
            _ => Labels::new(),
        }
    }

    pub(super) fn texts(&self, name: &str) -> &[(String, Place)] {
        match self.item(name).map(|item| &item.value) {
            Some(Typed::Texts(texts)) => texts,
            _ => &[],
        }
    }

    pub(super) fn record(&self, name: &str) -> Option<&Record> {
        match &self.item(name)?.value {
            Typed::Record(record) => Some(record),
            _ => None,
        }
    }

    pub(super) fn records(&self, name: &str) -> &[Record] {
        match self.item(name).map(|item| &item.value) {
            Some(Typed::Records(records)) => records,
            _ => &[],
        }
    }
}
