//! The one table of fields: what a manifest may say. The walk, the suggestions, the JSON Schema and the documentation
//! all read it.

mod limits;
mod link;
mod nouns;
mod rules;

use crate::expression::Scope;

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// As manifests write it.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) kind: Type,
    /// Whether it must be there.
    pub(crate) required: bool,
    /// What holds where it is absent; empty: nothing.
    pub(crate) default: &'static str,
    /// What it is, for people.
    pub(crate) doc: &'static str,
    /// A value as YAML.
    pub(crate) example: &'static str,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Type {
    /// A text.
    Text,
    /// A text that names something and is not empty.
    Word,
    /// `true` or `false`.
    Boolean,
    /// A whole number within bounds, both included.
    Integer(i64, i64),
    /// A decimal as text, or a whole number, of at least so much.
    Decimal(u32),
    /// A quantity of bytes.
    Quantity,
    /// Bits per second as a quantity, above zero.
    BitRate,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// The name of a document.
    Name(NameOf),
    /// An ISO 3166-1 alpha-2 code.
    Country,
    /// An ISO 4217 code.
    Currency,
    /// An expression in CEL.
    Expression(Scope),
    /// Texts by key.
    Labels,
    /// Texts.
    Texts,
    /// Texts or whole numbers, which are taken as texts.
    Values,
    /// Names of documents.
    Names(NameOf),
    /// An object.
    Object(&'static [Field]),
    /// An object that states exactly one of its fields.
    OneOf(&'static [Field]),
    /// A list of objects; where they have a `name`, it is unique.
    Objects(&'static [Field]),
    /// An object whose field `type` says which fields it has.
    Variants(&'static [(&'static str, &'static [Field])]),
}

/// What a name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NameOf {
    Domain,
    Backend,
    Link,
    Dataset,
    Policy,
    Test,
}

/// A kind of document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KindTable {
    /// As manifests write it.
    pub(crate) kind: &'static str,
    /// What its name names.
    pub(crate) name_of: NameOf,
    /// What it is, for people.
    pub(crate) doc: &'static str,
    /// Its `spec`.
    pub(crate) spec: &'static [Field],
}

/// The group and version of every kind.
pub(crate) const API_VERSION: &str = "domicile.dev/v1alpha1";
/// Most copies that one requirement may ask for, and most groups of a spread.
pub(crate) const COPIES_MAX: i64 = 100;

const fn required(name: &'static str, kind: Type, doc: &'static str, example: &'static str) -> Field {
    Field {
        name,
        kind,
        required: true,
        default: "",
        doc,
        example,
    }
}

const fn optional(
    name: &'static str,
    kind: Type,
    default: &'static str,
    doc: &'static str,
    example: &'static str,
) -> Field {
    Field {
        name,
        kind,
        required: false,
        default,
        doc,
        example,
    }
}

/// Every kind, in the order in which they are listed to users.
pub(crate) const KINDS: [KindTable; 6] = [
    KindTable {
        kind: "Domain",
        name_of: NameOf::Domain,
        doc: "An organisation that keeps control of its own storage.",
        spec: nouns::DOMAIN,
    },
    KindTable {
        kind: "Backend",
        name_of: NameOf::Backend,
        doc: "One place that stores objects.",
        spec: nouns::BACKEND,
    },
    KindTable {
        kind: "Link",
        name_of: NameOf::Link,
        doc: "What is said of the way from some backends to others; how several links agree is in `docs/links.md`.",
        spec: link::LINK,
    },
    KindTable {
        kind: "Dataset",
        name_of: NameOf::Dataset,
        doc: "A named set of objects, placed as one.",
        spec: nouns::DATASET,
    },
    KindTable {
        kind: "ReplicationPolicy",
        name_of: NameOf::Policy,
        doc: "Where copies of the datasets that it selects must lie, and how many there must be.",
        spec: rules::POLICY,
    },
    KindTable {
        kind: "PolicyTest",
        name_of: NameOf::Test,
        doc: "What the policies are expected to do with some datasets.",
        spec: rules::TEST,
    },
];

/// The fields around every `spec`, the `spec` itself apart.
pub(crate) const METADATA: &[Field] = &[
    required(
        "name",
        Type::Text,
        "The name; unique among documents of one kind.",
        "giessen-archive",
    ),
    optional(
        "labels",
        Type::Labels,
        "",
        "Labels, which selectors and rules read.",
        "{tier: archive}",
    ),
    optional(
        "annotations",
        Type::Labels,
        "",
        "Kept and not read.",
        "{owner: library}",
    ),
];
