//! Fields of policies and their tests.

use super::{COPIES_MAX, Field, NameOf, Type, optional, required};
use crate::expression::Scope;

/// Longest horizon, in months.
const HORIZON_MONTHS_MAX: i64 = 1200;
/// Longest time for a move to pay back, in days.
const PAYBACK_DAYS_MAX: i64 = 36_500;
/// Longest time that a copy waits before it is retired: ten years.
const DROP_GRACE_SECONDS_MAX: i64 = 315_360_000;

pub(super) const POLICY: &[Field] = &[
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
        "movement",
        Type::Object(MOVEMENT),
        "",
        "How much one plan may move of the datasets that it selects.",
        "{maxBytes: 10Ti}",
    ),
    optional(
        "verify",
        Type::Choice(&["Checksum", "Sample", "Full"]),
        "Checksum",
        "How much proof each new copy needs: the store's own checksum where it has shown that it refuses wrong ones, some windows read back besides, or every byte read back. Other stores are always read back in full. Of several policies the one that wants most holds.",
        "Full",
    ),
    optional(
        "dropGraceSeconds",
        Type::Integer(0, DROP_GRACE_SECONDS_MAX),
        "0",
        "How long a copy that is no longer wanted stays after its replacements were verified, before `apply` retires it. Of several policies the longest time holds.",
        "604800",
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
    optional(
        "copies",
        Type::Integer(1, COPIES_MAX),
        "none; with `nines` as many as the groups of `spread`, at least 1",
        "How many.",
        "3",
    ),
    optional(
        "nines",
        Type::Decimal(0),
        "",
        "Yearly durability of the copies together, in thousandths at most; `docs/durability.md` has the formula.",
        "\"11\"",
    ),
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
    optional(
        "goals",
        Type::Objects(GOAL),
        "cost alone",
        "What is minimised, one after the other, the first of them `Cost`; see `docs/objective.md`.",
        "[{minimise: Cost}, {minimise: Carbon, slackPercent: \"2\"}]",
    ),
];

const GOAL: &[Field] = &[
    required(
        "minimise",
        Type::Choice(&["Cost", "Carbon"]),
        "What is minimised.",
        "Carbon",
    ),
    optional(
        "slackPercent",
        Type::Decimal(0),
        "0",
        "How much each goal before it may grow for it; four places at most.",
        "\"2\"",
    ),
];

const MOVEMENT: &[Field] = &[
    optional(
        "maxBytes",
        Type::Quantity,
        "",
        "Bytes that one plan may copy.",
        "10Ti",
    ),
    optional(
        "maxCost",
        Type::Decimal(0),
        "",
        "What the transfers of one plan may cost, once, without priced carbon.",
        "\"50\"",
    ),
    optional(
        "paybackDays",
        Type::Integer(1, PAYBACK_DAYS_MAX),
        "",
        "Days within which a change to a satisfied dataset must have saved what its transfers cost.",
        "90",
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

pub(super) const TEST: &[Field] = &[
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
