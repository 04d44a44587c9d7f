//! Fields of domains, backends and datasets.

use super::limits::LIMITS;
use super::{Field, NameOf, Type, optional, required};
use crate::expression::Scope;

pub(super) const DOMAIN: &[Field] = &[
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
        "weight",
        Type::Integer(1, WEIGHT_MAX),
        "1",
        "Its share of what is under way, as an owner of datasets, against that of other owners.",
        "3",
    ),
    optional(
        "admission",
        Type::Objects(ADMISSION),
        "",
        "What it agrees to hold; all rules must be true; absent: everything.",
        "[{name: open-only, when: \"dataset.labels['sensitivity'] != 'restricted'\"}]",
    ),
];

/// The most that one owner may weigh more than another.
const WEIGHT_MAX: i64 = 1000;

const ADMISSION: &[Field] = &[
    required("name", Type::Word, "The name that refusals quote.", "open-only"),
    required(
        "when",
        Type::Expression(Scope::Admission),
        "An expression in CEL over `dataset` and `domain`.",
        "\"dataset.labels['sensitivity'] != 'restricted'\"",
    ),
];

pub(super) const BACKEND: &[Field] = &[
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
        "relay",
        Type::Boolean,
        "false",
        "true: copies on their way elsewhere may lie here for a while.",
        "true",
    ),
    optional(
        "limits",
        Type::Object(LIMITS),
        "",
        "How much each process that moves asks of it.",
        "{bytesPerSecond: 50Mi}",
    ),
    optional(
        "price",
        Type::Object(PRICE),
        "",
        "What it costs; how tiers, quota and fee add up is in `docs/prices.md`.",
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
            PREFIX,
        ],
    ),
    (
        "Azblob",
        &[
            required("container", Type::Word, "The container.", "archive"),
            optional(
                "endpoint",
                Type::Word,
                "that of the account",
                "The server's URL.",
                "https://account.blob.core.windows.net",
            ),
            PREFIX,
        ],
    ),
    (
        "Gcs",
        &[
            required("bucket", Type::Word, "The bucket.", "archive"),
            optional(
                "endpoint",
                Type::Word,
                "that of Google",
                "The server's URL.",
                "https://storage.googleapis.com",
            ),
            PREFIX,
        ],
    ),
    (
        "Webdav",
        &[
            required(
                "endpoint",
                Type::Word,
                "The server's URL.",
                "https://cloud.example.org/dav",
            ),
            FOLDER,
        ],
    ),
    (
        "Sftp",
        &[
            required(
                "endpoint",
                Type::Word,
                "The server.",
                "sftp://login.example.org:22",
            ),
            optional(
                "user",
                Type::Word,
                "as `ssh` takes it",
                "The user there.",
                "alice",
            ),
            optional(
                "config",
                Type::Word,
                "that of `ssh`",
                "A configuration for `ssh`; a relative one starts at the manifest's folder.",
                "./ssh_config",
            ),
            FOLDER,
        ],
    ),
    (
        "Ftp",
        &[
            required(
                "endpoint",
                Type::Word,
                "The server; with `ftps://` nothing goes without TLS.",
                "ftps://ftp.example.org:21",
            ),
            optional(
                "authority",
                Type::Word,
                "those of the system",
                "Certificates (PEM) that vouch for the server; a relative file starts at the manifest's folder.",
                "./ca.pem",
            ),
            FOLDER,
        ],
    ),
    (
        "Http",
        &[
            required(
                "endpoint",
                Type::Word,
                "The server's URL.",
                "https://data.example.org/files",
            ),
            FOLDER,
        ],
    ),
    ("Memory", &[]),
];

const FOLDER: Field = optional("root", Type::Word, "/", "A folder there.", "/data/domicile");

const PREFIX: Field = optional(
    "root",
    Type::Word,
    "/",
    "A prefix within the bucket.",
    "/domicile",
);

const CREDENTIALS: &[Field] = &[
    optional(
        "env",
        Type::Word,
        "",
        "Environment variables with this prefix; which ones is in `docs/backends.md`, for S3 `_ACCESS_KEY_ID`, \
         `_SECRET_ACCESS_KEY`, `_SESSION_TOKEN`.",
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
        "from",
        Type::Word,
        "",
        "A list price of `docs/prices.md`; every other field given here holds instead of the list's.",
        "aws-s3/eu-central-1",
    ),
    optional(
        "currency",
        Type::Currency,
        "that of `from`",
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
        "tiers",
        Type::Objects(PRICE_TIER),
        "",
        "Other prices of storage for what lies above some amount on this backend, ascending.",
        "[{above: 50Ti, storagePerGiBMonth: \"0.011\"}]",
    ),
    optional(
        "includedStorage",
        Type::Quantity,
        "0",
        "Billable bytes on this backend that the base fee pays for.",
        "1Ti",
    ),
    optional(
        "baseFeePerMonth",
        Type::Decimal(0),
        "0",
        "Per month, once, when the backend holds anything.",
        "\"4.99\"",
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

const PRICE_TIER: &[Field] = &[
    required(
        "above",
        Type::Quantity,
        "Above so many billable bytes on this backend.",
        "50Ti",
    ),
    required(
        "storagePerGiBMonth",
        Type::Decimal(0),
        "Per billable GiB and month.",
        "\"0.011\"",
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
    "Yearly durability of this backend alone; what it adds to others is in `docs/durability.md`.",
    "\"4\"",
)];

pub(super) const DATASET: &[Field] = &[
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
