use super::good::ESTATE;
use super::*;

/// What is replaced in the good estate, by what, and what must then be said: message, help, marked text.
#[rustfmt::skip]
const CASES: &[(&str, &str, &str, &str, &str)] = &[
    ("jurisdiction: NO", "jurisdiction: XX", "no country code", "two-letter code of ISO 3166-1 such as `DE`", "XX"),
    ("jurisdiction: NO", "jurisdiction: GR1", "no country code", "did you mean `GR`?", "GR1"),
    ("jurisdiction: NO", "jurisdiction: EU", "`EU` is a group of countries; name one country", "such as `DE`", "EU"),
    ("country: DE, region", "country: GDPR-ADEQUATE+US-DPF, region", "is a group of countries; name one", "", "GDPR"),
    ("values: [EU, CH]", "values: [EU, XK]", "no known group", "such as `DE`, or a group such as `EU`", "XK"),
    ("values: [EU, CH]", "values: [EU+US-DPF, CH]", "no condition of the group `EU`", "write `EU` alone", "EU+US-DPF"),
    ("title: Justus Liebig University Giessen", "title: 5", "`title` must be a text", "quotes", "5"),
    ("{name: biodiversity}", "{name: Biodiversity}", "no valid name", "", "Biodiversity"),
    ("domain.name ||", "doman.name ||", "`doman` is no variable", "did you mean `domain`?", ""),
    ("zone: rz1, provider", "zone: 1, provider", "`zone` must be a text", "quotes", "1"),
    ("type: Fs, root: /srv", "typ: Fs, root: /srv", "`store` lacks `type`", "`Fs`", "store"),
    ("type: Fs, root: /srv", "type: FS, root: /srv", "no type of store", "did you mean `Fs`?", "FS"),
    ("type: Fs, root: /srv", "type: Fs, rot: /srv", "`store` has no field `rot`", "did you mean `root`?", "rot"),
    ("{env: GIESSEN}", "{env: GIESSEN, file: x}", "exactly one of", "credentials", "{env: GIESSEN, file: x}"),
    ("capacity: 1Ti", "capacity: -1Ti", "below zero", "", "-1Ti"),
    ("capacity: 1Ti", "capacity: 1.5", "a floating-point number", "with a unit", "1.5"),
    ("capacity: 1Ti", "capacity: [1]", "`capacity` must be a size, this is a list", "", "capacity"),
    ("accessMode: ReadWrite", "accessMode: readonly", "no value of `accessMode`", "did you mean `ReadOnly`?", "readonly"),
    ("cordoned: false", "cordoned: no", "must be `true` or `false`", "write `false`", "no"),
    ("ingressPerGiB: \"0\"", "ingressPerGiB: \"-1\"", "must not be below zero", "", "\"-1\""),
    ("ingressPerGiB: \"0\"", "ingressPerGiB: \"1e3\"", "no decimal number", "", "\"1e3\""),
    ("currency: EUR", "currency: euro", "no currency code", "EUR", "euro"),
    ("pue: \"1.3\"", "pue: \"0.9\"", "`pue` must be at least 1", "", "\"0.9\""),
    ("physicalCopies: 3", "physicalCopies: 0", "at least 1", "", "0"),
    ("physicalCopies: 3", "physicalCopies: \"3\"", "a whole number", "without quotes: 3", "\"3\""),
    ("access: Open", "access: open", "no value of `access`", "did you mean `Open`?", "open"),
    ("authors: [A, B]", "authors: A", "`authors` must be a list", "[Ada Lovelace]", "A"),
    ("prefix: plants/", "prefix: ../plants", "is no prefix", "", "../plants"),
    ("prefix: plants/", "prefix: /plants", "must not begin with `/`", "", "/plants"),
    ("origin: {backend: giessen-fs", "origin: {backend: giesen-fs", "there is no backend `giesen-fs`", "did you mean `giessen-fs`?", "giesen-fs"),
    ("priority: 0", "priority: high", "a whole number", "", "high"),
    ("{matchLabels: {theme: biodiversity}}", "{matchAll: true, domains: [guest]}", "together", "leave out", "matchAll"),
    ("{matchLabels: {theme: biodiversity}}", "{domains: [gest]}", "there is no domain `gest`", "did you mean `guest`?", "gest"),
    ("{matchLabels: {theme: biodiversity}}", "{matchExpressions: [{key: a, operator: In}]}", "at least one value", "", "In"),
    ("values: [EU, CH]", "values: [EUU, CH]", "no known group", "did you mean `EU`?", "EUU"),
    ("values: [EU, CH]", "values: [GDPR-ADEQUATE-CONDITIONAL]", "only under conditions", "US-DPF", "GDPR-ADEQUATE-CONDITIONAL"),
    ("key: jurisdiction, operator: In, values: [EU, CH]", "key: domain, operator: In, values: [gest]", "there is no domain `gest`", "did you mean `guest`?", "gest"),
    ("operator: In, values: [EU, CH]", "operator: Exists, values: [EU]", "`Exists` takes no values", "", "values"),
    ("operator: In, values: [EU, CH]", "operator: Gt, values: [EU]", "cannot be compared by `Gt`", "gridGramsPerKWh", "Gt"),
    ("key: jurisdiction, operator: In, values: [EU, CH]", "key: nines, operator: Gt, values: [x]", "is no number", "", "x"),
    ("key: jurisdiction, operator: In, values: [EU, CH]", "key: nines, operator: Gt, values: [1, 2]", "exactly one value", "", "values"),
    ("operator: In, values: [EU, CH]", "operator: in, values: [EU]", "no value of `operator`", "did you mean `In`?", "in"),
    ("key: jurisdiction, operator: In, values: [EU, CH]", "operator: In, values: [EU]", "the rule lacks `key`", "cel", "name"),
    ("{name: no-tape, cel:", "{name: eu-soil-and-law, cel:", "two entries named `eu-soil-and-law`", "", "eu-soil-and-law"),
    ("{name: no-tape, cel:", "{cel:", "`confine[]` lacks `name`", "", "cel"),
    ("{name: no-tape, cel:", "{name: no-tape, key: tier, cel:", "either `cel` or", "two rules", "\"backend.labels['tier'] != 'tape'\""),
    ("\"backend.labels['tier'] != 'tape'\"", "\"backend.labels['tier']\"", "must be true or false", "", "\"backend.labels['tier']\""),
    ("copies: 3", "copies: 0", "`copies` must be at least 1", "", "0"),
    ("copies: 3", "copies: 101", "`copies` must be at most 100", "", "101"),
    ("across: domain, groups: 3", "across: jurisdiction, groups: 2", "two countries, not one group", "country", "jurisdiction"),
    ("across: domain, groups: 3", "across: zone, groups: 2", "`zone` is spread across twice", "", "zone"),
    ("from: {backend: giessen-archive}", "from: {backend: giessen-archiv}", "there is no backend `giessen-archiv`", "did you mean `giessen-archive`?", "giessen-archiv"),
    ("to: {domain: guest}", "to: {domain: gest}", "there is no domain `gest`", "did you mean `guest`?", "gest"),
    ("from: {provider: jlu}", "from: {provider: jlu, domain: guest}", "`from` must have exactly one of", "write for example `{backend:", "from"),
    ("from: {provider: jlu}", "from: {}", "`from` must have exactly one of", "", "from"),
    ("from: {provider: jlu}", "from: {provider: }", "`from` must have exactly one of", "", "from"),
    ("from: {provider: jlu}", "from: {povider: jlu}", "`from` has no field `povider`", "did you mean `provider`?", "povider"),
    ("from: {provider: jlu}", "from: {land: DE}", "`from` has no field `land`", "`backend`", "land"),
    ("from: {provider: jlu}", "from: jlu", "`from` must be an object", "`backend`", "jlu"),
    ("from: {provider: jlu}, ", "", "`spec` lacks `from`", "from: {provider: jlu}", "spec"),
    ("to: {region: fsn1}", "to: {backend: giessen-archive}", "both ends are `giessen-archive`", "another backend", "to"),
    ("bidirectional: true", "bidirectional: both", "must be `true` or `false`", "", "both"),
    ("bandwidthBitsPerSecond: 10G", "bandwidthBitsPerSecond: 10Gbps", "`10Gbps` is no number of bits per second", "`10G`", "10Gbps"),
    ("bandwidthBitsPerSecond: 10G", "bandwidthBitsPerSecond: 0", "must be above zero", "forbidden: true", "0"),
    ("bandwidthBitsPerSecond: 10G", "bandwidthBitsPerSecond: 1.5", "must be a number of bits per second", "10G", "1.5"),
    ("latencyMilliseconds: 12", "latencyMilliseconds: -1", "must be at least 0", "", "-1"),
    ("latencyMilliseconds: 12", "latency: 12", "`spec` has no field `latency`", "", "latency"),
    ("pricePerGiB: \"0\"", "pricePerGiB: \"-1\"", "must not be below zero", "", "\"-1\""),
    ("kind: Link", "kind: Lnk", "`Lnk` is no kind of manifest", "did you mean `Link`?", "Lnk"),
    ("days: [Sat, Sun]", "days: [Sat, Sonntag]", "`Sonntag` is no day of the week", "Mon, Tue", "Sonntag"),
    ("bytesPerSecond: 40Mi", "bytesPerSecond: 0", "a limit of 0 bytes per second lets nothing move", "moves pause", "0"),
    ("to: \"06:45\"", "to: \"06:65\"", "`06:65` is no time of the day", "in UTC", "\"06:65\""),
    ("requestsPerSecond: 9", "requestsPerSecond: 0", "at least 1", "", "0"),
    ("weight: 3", "weight: 0", "`weight` must be at least 1", "", "0"),
    ("from: \"22:00\"", "from: \"10 pm\"", "`10 pm` is no time of the day", "in UTC", "\"10 pm\""),
    ("to: \"06:30\"", "to: \"24:30\"", "`24:30` is no time of the day", "in UTC", "\"24:30\""),
    ("requestsPerSecond: 100", "requestsPerSecond: 0", "`requestsPerSecond` must be at least 1", "", "0"),
    ("relay: true", "relay: yes", "must be `true` or `false`", "write `true`", "yes"),
    ("from: hetzner-object/fsn1", "from: hetzner-object/fsn2", "there is no list price `hetzner-object/fsn2`", "did you mean `hetzner-object/fsn1`?", "hetzner-object/fsn2"),
    ("from: hetzner-object/fsn1", "from: tape", "there is no list price `tape`", "there are `aws-s3/eu-central-1`", "tape"),
    ("from: hetzner-object/fsn1", "from: hetzner-object/fsn1, currency: USD", "is in `EUR`, not in `USD`", "leave out `currency`", "USD"),
    ("from: hetzner-object/fsn1", "from: wasabi-hot", "this is `USD`, that of `giessen-archive` is `EUR`", "in `EUR`, without `from`", "wasabi-hot"),
    ("{above: 20Ti,", "{above: 10Ti,", "tiers must ascend", "order them", "10Ti"),
    ("{above: 10Ti,", "{above: 0,", "`above` must be above zero", "storagePerGiBMonth", "0"),
    ("{above: 10Ti, storagePerGiBMonth: \"0.0110\"}", "{above: 10Ti}", "`tiers[]` lacks `storagePerGiBMonth`", "", "above"),
    ("includedStorage: 1Ti", "includedStorage: 1TB", "no unit of size", "", "1TB"),
    ("baseFeePerMonth: \"4.99\"", "baseFee: \"4.99\"", "`price` has no field `baseFee`", "", "baseFee"),
    ("nines: \"9.5\"", "nines: 0", "`nines` must be above zero", "", "0"),
    ("nines: \"9.5\"", "nines: \"9.1234\"", "`nines` has at most 3 places, this has 4", "", "\"9.1234\""),
    ("nines: \"9.5\"", "nines: \"101\"", "`nines` must be at most 100", "", "\"101\""),
    ("nines: \"9.5\"", "spread: []", "`require[]` lacks `copies`", "with `nines` it may be left out", "name"),
    ("nines: \"9.5\"", "nines: \"9.5\", copies: 1, spread: [{across: zone, groups: 2}]", "1 copies cannot lie in 2 groups", "", "2"),
    ("[{minimise: Cost}, ", "[", "the first goal must be `Cost`", "carbonPricePerTonne", "Carbon"),
    ("{minimise: Cost},", "{minimise: Cost, slackPercent: 1},", "the first goal has no slack", "", "slackPercent"),
    ("{minimise: Cost},", "{minimise: Cost}, {minimise: Carbon},", "`Carbon` is minimised already", "leave out", "Carbon"),
    ("{minimise: Cost},", "{minimise: Cost}, {minimise: Cost},", "`Cost` is minimised already", "leave out", "Cost"),
    ("{minimise: Cost},", "{minimise: Costs},", "no value of `minimise`", "did you mean `Cost`?", "Costs"),
    ("slackPercent: \"2.5\"", "slackPercent: \"2.00001\"", "at most 4 places", "", "\"2.00001\""),
    ("slackPercent: \"2.5\"", "slackPercent: \"1001\"", "at most 1000", "", "\"1001\""),
    ("maxBytes: 10Ti", "maxByte: 10Ti", "`movement` has no field `maxByte`", "did you mean `maxBytes`?", "maxByte"),
    ("maxCost: \"50\"", "maxCost: 5.5", "floating-point number", "write it as a text", "5.5"),
    ("paybackDays: 90", "paybackDays: 0", "at least 1", "", "0"),
    ("horizonMonths: 12", "horizonMonths: 0", "at least 1", "", "0"),
    ("enforcement: Enforce", "enforcement: Audt", "no value of `enforcement`", "did you mean `Audit`?", "Audt"),
    ("dataset: hessian-plants, backends", "dataset: hesian-plants, backends", "there is no dataset", "did you mean `hessian-plants`?", "hesian-plants"),
    ("satisfied: false", "satisfied: false, backends: [oslo]", "exactly one of", "", "dataset"),
    ("kind: Confinement", "kind: Confined", "no value of `kind`", "", "Confined"),
    ("{jurisdiction: NO}", "{jurisdiction: NO, jurisdiction: SE}", "`jurisdiction` is given twice", "", "jurisdiction"),
    ("{jurisdiction: NO}", "{jurisdiction: &x NO}", "anchors and aliases", "write the value", "&x NO"),
    ("{jurisdiction: NO}", "{jurisdiction: !!str NO}", "tags", "quote", "!!str NO"),
];

/// The estate of the other tests with one line replaced, and what must then be said.
fn changed(from: &str, to: &str) -> Vec<(String, String, String)> {
    assert!(ESTATE.contains(from), "{from}");
    errors(&ESTATE.replacen(from, to, 1))
}

#[test]
fn every_class_of_mistake_is_found_and_marked() {
    for (from, to, message, help, marked) in CASES {
        let found = changed(from, to);
        let hit = found.iter().find(|found| found.0.contains(message));
        let Some((_, got_help, got_marked)) = hit else {
            panic!("{to}: no `{message}` in {found:#?}")
        };
        assert!(got_help.contains(help), "{to}: {got_help}");
        assert!(
            marked.is_empty() || got_marked.starts_with(marked),
            "{to}: marked {got_marked:?}"
        );
        assert!(found.len() <= 2, "{to}: {found:#?}");
    }
}
