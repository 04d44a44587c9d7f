//! The one table of fields: what a manifest may say. The walk, the suggestions, the JSON Schema and the documentation
//! all read it.

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
/// Longest horizon, in months.
const HORIZON_MONTHS_MAX: i64 = 1200;

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
pub(crate) const KINDS: [KindTable; 5] = [
    KindTable {
        kind: "Domain",
        name_of: NameOf::Domain,
        doc: "An organisation that keeps control of its own storage.",
        spec: DOMAIN,
    },
    KindTable {
        kind: "Backend",
        name_of: NameOf::Backend,
        doc: "One place that stores objects.",
        spec: BACKEND,
    },
    KindTable {
        kind: "Dataset",
        name_of: NameOf::Dataset,
        doc: "A named set of objects, placed as one.",
        spec: DATASET,
    },
    KindTable {
        kind: "ReplicationPolicy",
        name_of: NameOf::Policy,
        doc: "Where copies of the datasets that it selects must lie, and how many there must be.",
        spec: POLICY,
    },
    KindTable {
        kind: "PolicyTest",
        name_of: NameOf::Test,
        doc: "What the policies are expected to do with some datasets.",
        spec: TEST,
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

const DOMAIN: &[Field] = &[
    optional(
        "title",
        Type::Text,
        "",
        "Its name for people.",
        "Justus Liebig University Giessen",
    ),
    required(
        "jurisdiction",
        Type::Country,
        "The law that its operator answers to.",
        "DE",
    ),
    optional(
        "admission",
        Type::Objects(ADMISSION),
        "",
        "What it agrees to hold; all rules must be true; absent: everything.",
        "[{name: open-only, when: \"dataset.labels['sensitivity'] != 'restricted'\"}]",
    ),
];

const ADMISSION: &[Field] = &[
    required("name", Type::Word, "The name that refusals quote.", "open-only"),
    required(
        "when",
        Type::Expression(Scope::Admission),
        "An expression in CEL over `dataset` and `domain`.",
        "\"dataset.labels['sensitivity'] != 'restricted'\"",
    ),
];

const BACKEND: &[Field] = &[
    required(
        "domain",
        Type::Name(NameOf::Domain),
        "The domain that offers it.",
        "jlu-giessen",
    ),
    optional(
        "location",
        Type::Object(LOCATION),
        "",
        "Where the disks are, and who runs them.",
        "{country: DE}",
    ),
    optional(
        "operatorCountry",
        Type::Country,
        "the domain's jurisdiction",
        "The law that the operator answers to.",
        "DE",
    ),
    required(
        "store",
        Type::Variants(STORES),
        "How it is reached.",
        "{type: Fs, root: ./data/archive}",
    ),
    optional(
        "credentials",
        Type::Object(CREDENTIALS),
        "",
        "Where the credentials are found; never the credentials themselves.",
        "{env: GIESSEN}",
    ),
    required("capacity", Type::Quantity, "Bytes that it may hold.", "40Ti"),
    optional(
        "accessMode",
        Type::Choice(&["ReadWrite", "ReadOnly"]),
        "ReadWrite",
        "ReadOnly: a source, never a target.",
        "ReadOnly",
    ),
    optional(
        "cordoned",
        Type::Boolean,
        "false",
        "true: nothing new goes there.",
        "true",
    ),
    optional(
        "drain",
        Type::Boolean,
        "false",
        "true: it is to be emptied.",
        "true",
    ),
    optional(
        "price",
        Type::Object(PRICE),
        "",
        "What it costs.",
        "{currency: EUR, storagePerGiBMonth: \"0.012\"}",
    ),
    optional(
        "energy",
        Type::Object(ENERGY),
        "",
        "What it needs and emits.",
        "{gridGramsPerKWh: 380}",
    ),
    optional(
        "failure",
        Type::Object(FAILURE),
        "",
        "How likely it is to lose data.",
        "{nines: \"4\"}",
    ),
];

const LOCATION: &[Field] = &[
    optional("country", Type::Country, "", "The soil.", "DE"),
    optional("region", Type::Word, "", "A region of the provider.", "de-he"),
    optional("zone", Type::Word, "", "A zone that fails on its own.", "rz1"),
    optional("provider", Type::Word, "", "Who runs the disks.", "jlu"),
];

const STORES: &[(&str, &[Field])] = &[
    (
        "Fs",
        &[required(
            "root",
            Type::Word,
            "A folder; a relative one starts at the manifest's folder.",
            "./data/archive",
        )],
    ),
    (
        "S3",
        &[
            required("bucket", Type::Word, "The bucket.", "archive"),
            optional(
                "endpoint",
                Type::Word,
                "that of AWS",
                "The server's URL.",
                "https://s3.example.org",
            ),
            optional(
                "region",
                Type::Word,
                "",
                "The region that requests are signed for.",
                "eu-central-1",
            ),
            optional(
                "root",
                Type::Word,
                "/",
                "A prefix within the bucket.",
                "/domicile",
            ),
        ],
    ),
    ("Memory", &[]),
];

const CREDENTIALS: &[Field] = &[
    optional(
        "env",
        Type::Word,
        "",
        "Environment variables with this prefix: `_ACCESS_KEY_ID`, `_SECRET_ACCESS_KEY`, `_SESSION_TOKEN`.",
        "GIESSEN",
    ),
    optional(
        "file",
        Type::Word,
        "",
        "A file; a relative one starts at the manifest's folder.",
        "./giessen.keys",
    ),
    optional(
        "secretRef",
        Type::Object(SECRET_REF),
        "",
        "A Kubernetes secret.",
        "{name: giessen}",
    ),
];

const SECRET_REF: &[Field] = &[required("name", Type::Word, "The secret's name.", "giessen")];

const PRICE: &[Field] = &[
    optional(
        "currency",
        Type::Currency,
        "",
        "ISO 4217 code; one in the whole estate.",
        "EUR",
    ),
    optional(
        "storagePerGiBMonth",
        Type::Decimal(0),
        "0",
        "Per billable GiB and month.",
        "\"0.0120\"",
    ),
    optional(
        "ingressPerGiB",
        Type::Decimal(0),
        "0",
        "Per GiB written.",
        "\"0\"",
    ),
    optional(
        "egressPerGiB",
        Type::Decimal(0),
        "0",
        "Per GiB read from another provider.",
        "\"0.08\"",
    ),
    optional(
        "egressWithinProviderPerGiB",
        Type::Decimal(0),
        "0",
        "Per GiB read within one provider, between regions.",
        "\"0.02\"",
    ),
    optional(
        "egressWithinRegionPerGiB",
        Type::Decimal(0),
        "0",
        "Per GiB read within one region of one provider.",
        "\"0\"",
    ),
    optional(
        "putPer1000",
        Type::Decimal(0),
        "0",
        "Per 1,000 objects written.",
        "\"0.005\"",
    ),
    optional(
        "getPer1000",
        Type::Decimal(0),
        "0",
        "Per 1,000 objects read.",
        "\"0.0004\"",
    ),
    optional(
        "minObjectSize",
        Type::Quantity,
        "0",
        "Bytes that an object is billed for at least.",
        "64Ki",
    ),
];

const ENERGY: &[Field] = &[
    optional(
        "gridGramsPerKWh",
        Type::Decimal(0),
        "by country, from the shipped table",
        "Carbon intensity of the grid in gCO2e/kWh.",
        "380",
    ),
    optional(
        "wattHoursPerTBHour",
        Type::Decimal(0),
        "0.65; 1.2 where the label media is ssd",
        "Watt-hours that keep 1 TB (10^12 bytes) for an hour.",
        "\"0.65\"",
    ),
    optional(
        "pue",
        Type::Decimal(1),
        "1.2",
        "Power usage effectiveness of the data centre.",
        "\"1.3\"",
    ),
    optional(
        "physicalCopies",
        Type::Integer(1, 100),
        "1",
        "Physical copies behind one logical copy.",
        "3",
    ),
];

const FAILURE: &[Field] = &[optional(
    "nines",
    Type::Decimal(0),
    "",
    "Yearly durability of this backend alone.",
    "\"4\"",
)];

const DATASET: &[Field] = &[
    required("domain", Type::Name(NameOf::Domain), "The owner.", "jlu-giessen"),
    optional("title", Type::Text, "", "Its title.", "Plants of Hesse"),
    optional(
        "description",
        Type::Text,
        "",
        "What it is.",
        "Counts of plants by parish.",
    ),
    optional("authors", Type::Texts, "", "Who made it.", "[Ada Lovelace]"),
    optional(
        "license",
        Type::Text,
        "",
        "Its licence, best as an SPDX id.",
        "CC0-1.0",
    ),
    optional("keywords", Type::Texts, "", "Words to find it by.", "[botany]"),
    optional("format", Type::Text, "", "The format of its objects.", "text/csv"),
    optional(
        "conformsTo",
        Type::Text,
        "",
        "A specification that it conforms to.",
        "https://example.org/spec",
    ),
    optional(
        "access",
        Type::Choice(&["Open", "Restricted", "Closed"]),
        "",
        "Who may read it.",
        "Open",
    ),
    optional(
        "origin",
        Type::Object(ORIGIN),
        "",
        "Where it lies now; registered in place, never changed.",
        "{backend: giessen-fs, prefix: plants/}",
    ),
    optional(
        "keepOrigin",
        Type::Boolean,
        "true",
        "false: the owner's release of the origin.",
        "false",
    ),
];

const ORIGIN: &[Field] = &[
    required(
        "backend",
        Type::Name(NameOf::Backend),
        "The backend.",
        "giessen-fs",
    ),
    optional(
        "prefix",
        Type::Text,
        "",
        "The folder below the backend's root.",
        "plants/",
    ),
];

const POLICY: &[Field] = &[
    optional(
        "priority",
        Type::Integer(-1_000_000_000, 1_000_000_000),
        "0",
        "Whose objective holds, and who is served first when not everything fits.",
        "10",
    ),
    required(
        "selector",
        Type::Object(SELECTOR),
        "Which datasets it selects.",
        "{matchLabels: {theme: plants}}",
    ),
    optional(
        "confine",
        Type::Objects(CONFINE),
        "",
        "Every copy, and every hop on the way, lies here; all must hold.",
        "[{name: eu, key: jurisdiction, operator: In, values: [EU]}]",
    ),
    optional(
        "require",
        Type::Objects(REQUIRE),
        "",
        "Copies to be made; all must hold.",
        "[{name: two, copies: 2}]",
    ),
    optional(
        "objective",
        Type::Object(OBJECTIVE),
        "",
        "Settings of the objective.",
        "{carbonPricePerTonne: \"100\"}",
    ),
    optional(
        "budget",
        Type::Object(BUDGET),
        "",
        "Over all datasets that it selects.",
        "{costPerMonth: \"200\"}",
    ),
    optional(
        "enforcement",
        Type::Choice(&["Enforce", "Audit"]),
        "Enforce",
        "Audit: reported, not acted on.",
        "Audit",
    ),
];

const SELECTOR: &[Field] = &[
    optional("matchAll", Type::Boolean, "false", "true: every dataset.", "true"),
    optional(
        "matchLabels",
        Type::Labels,
        "",
        "Labels that must be equal.",
        "{theme: plants}",
    ),
    optional(
        "matchExpressions",
        Type::Objects(LABEL_EXPRESSION),
        "",
        "Expressions over labels.",
        "[{key: theme, operator: Exists}]",
    ),
    optional(
        "domains",
        Type::Names(NameOf::Domain),
        "",
        "Owners.",
        "[jlu-giessen]",
    ),
];

const OPERATORS: Type = Type::Choice(&["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]);

const LABEL_EXPRESSION: &[Field] = &[
    required("key", Type::Word, "The label.", "theme"),
    required("operator", OPERATORS, "How it is compared.", "In"),
    optional("values", Type::Values, "", "With what.", "[plants, animals]"),
];

const RULE_KEY: Field = optional(
    "key",
    Type::Word,
    "",
    "`backend`, `domain`, `provider`, `region`, `zone`, `country`, `operatorCountry`, `jurisdiction`, \
     `gridGramsPerKWh`, `nines`, or a label.",
    "jurisdiction",
);
const RULE_OPERATOR: Field = optional("operator", OPERATORS, "", "How it is compared.", "In");
const RULE_VALUES: Field = optional("values", Type::Values, "", "With what.", "[EU, CH]");
const RULE_CEL: Field = optional(
    "cel",
    Type::Expression(Scope::Rule),
    "",
    "An expression in CEL over `backend` and `dataset`, instead of key, operator and values.",
    "\"backend.labels['tier'] == 'warm'\"",
);

const CONFINE: &[Field] = &[
    required(
        "name",
        Type::Word,
        "The name that refusals quote.",
        "eu-soil-and-law",
    ),
    RULE_KEY,
    RULE_OPERATOR,
    RULE_VALUES,
    RULE_CEL,
];

const WHERE: &[Field] = &[RULE_KEY, RULE_OPERATOR, RULE_VALUES, RULE_CEL];

const REQUIRE: &[Field] = &[
    required("name", Type::Word, "The name that refusals quote.", "three-apart"),
    required("copies", Type::Integer(1, COPIES_MAX), "How many.", "3"),
    optional(
        "where",
        Type::Objects(WHERE),
        "",
        "On which backends; all must hold.",
        "[{key: tier, operator: In, values: [warm]}]",
    ),
    optional(
        "spread",
        Type::Objects(SPREAD),
        "",
        "How far apart.",
        "[{across: domain, groups: 2}]",
    ),
];

const SPREAD: &[Field] = &[
    required(
        "across",
        Type::Word,
        "The key whose values are counted.",
        "domain",
    ),
    required(
        "groups",
        Type::Integer(1, COPIES_MAX),
        "How many distinct values there must be.",
        "2",
    ),
];

const OBJECTIVE: &[Field] = &[
    optional(
        "carbonPricePerTonne",
        Type::Decimal(0),
        "0",
        "Price of a tonne of CO2e in the estate's currency; 0: reported, not priced.",
        "\"100\"",
    ),
    optional(
        "horizonMonths",
        Type::Integer(1, HORIZON_MONTHS_MAX),
        "12",
        "Months over which the cost of making a copy is spread.",
        "12",
    ),
];

const BUDGET: &[Field] = &[
    optional(
        "costPerMonth",
        Type::Decimal(0),
        "",
        "Storage plus priced carbon.",
        "\"200\"",
    ),
    optional(
        "carbonKgPerMonth",
        Type::Decimal(0),
        "",
        "Storage carbon in kg CO2e.",
        "\"50\"",
    ),
];

const TEST: &[Field] = &[
    optional(
        "datasets",
        Type::Objects(FIXTURE),
        "",
        "Datasets that exist for this test only.",
        "[{name: made-up, domain: jlu-giessen}]",
    ),
    required(
        "expect",
        Type::Objects(EXPECT),
        "What must hold.",
        "[{dataset: made-up, satisfied: true}]",
    ),
];

const FIXTURE: &[Field] = &[
    required("name", Type::Name(NameOf::Dataset), "Its name.", "made-up"),
    required("domain", Type::Name(NameOf::Domain), "The owner.", "jlu-giessen"),
    optional("labels", Type::Labels, "", "Its labels.", "{theme: plants}"),
    optional(
        "bytes",
        Type::Quantity,
        "1Gi",
        "Sum of the sizes of its objects.",
        "10Gi",
    ),
    optional(
        "objects",
        Type::Integer(1, i64::MAX),
        "1",
        "Number of its objects.",
        "100",
    ),
    optional(
        "origin",
        Type::Name(NameOf::Backend),
        "",
        "The backend that holds its origin.",
        "giessen-fs",
    ),
];

const EXPECT: &[Field] = &[
    required(
        "dataset",
        Type::Name(NameOf::Dataset),
        "A dataset of the test or of the manifests.",
        "made-up",
    ),
    optional(
        "backends",
        Type::Names(NameOf::Backend),
        "",
        "Its copies lie on exactly these backends.",
        "[giessen-fs]",
    ),
    optional(
        "refused",
        Type::Object(REFUSED),
        "",
        "A backend does not take it.",
        "{backend: cloud, kind: Confinement}",
    ),
    optional(
        "satisfied",
        Type::Boolean,
        "",
        "Whether every requirement is met.",
        "true",
    ),
    optional(
        "admissible",
        Type::Names(NameOf::Backend),
        "",
        "Exactly these backends may hold a copy.",
        "[giessen-fs]",
    ),
];

const REFUSED: &[Field] = &[
    required("backend", Type::Name(NameOf::Backend), "The backend.", "cloud"),
    optional(
        "rule",
        Type::Word,
        "",
        "The rule that refuses it; absent: any.",
        "eu-soil-and-law",
    ),
    optional(
        "kind",
        Type::Choice(&[
            "Confinement",
            "Admission",
            "Cordoned",
            "ReadOnly",
            "Unreachable",
            "Requirement",
            "Capacity",
            "Budget",
        ]),
        "",
        "The kind of refusal; absent: any.",
        "Confinement",
    ),
];
