//! Warnings about links, prices, durability and movement.

use super::*;

/// Backends `a` and `b` in zones of one region, `c` elsewhere and read-only.
const ESTATE: &str = r#"apiVersion: domicile.dev/v1alpha1
kind: Domain
metadata: {name: home}
spec: {jurisdiction: DE}
---
{kind: Backend, metadata: {name: a}, spec: {domain: home, location: {country: DE, region: north, zone: z1, provider: p},
  store: {type: Memory}, capacity: 20Ti, failure: {nines: "4"}}}
---
{kind: Backend, metadata: {name: b}, spec: {domain: home, location: {country: DE, region: north, zone: z2, provider: p},
  store: {type: Memory}, capacity: 20Ti, failure: {nines: "3"}}}
---
{kind: Backend, metadata: {name: c}, spec: {domain: home, location: {country: DE, region: south, provider: q},
  store: {type: Memory}, capacity: 20Ti, accessMode: ReadOnly, price: {currency: EUR, egressPerGiB: "0.1"}}}
"#;

/// Message, help and marked text of every warning about the estate with further documents.
fn warnings(more: &[&str]) -> Vec<(String, String, String)> {
    let text = [&[ESTATE], more].concat().join("\n---\n");
    let source = crate::Source {
        name: "x".to_owned(),
        text: text.clone(),
        folder: "/".to_owned(),
        stored: false,
    };
    let manifests = crate::read(&[source]).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let shown = |found: Diagnostic| {
        let marked = text[found.offset..found.offset + found.length].to_owned();
        (found.message, found.help.unwrap_or_default(), marked)
    };
    lint(&manifests).into_iter().map(shown).collect()
}

#[track_caller]
fn one(more: &[&str], message: &str, help: &str, marked: &str) {
    let found = warnings(more);
    assert_eq!(found.len(), 1, "{more:?}: {found:#?}");
    assert!(found[0].0.contains(message), "{found:#?}");
    assert!(found[0].1.contains(help), "{found:#?}");
    assert_eq!(found[0].2, marked, "{found:#?}");
}

fn link(spec: &str) -> String {
    format!("{{kind: Link, metadata: {{name: way}}, spec: {spec}}}")
}

fn policy(spec: &str) -> String {
    format!(
        "{{kind: ReplicationPolicy, metadata: {{name: p}}, spec: {{selector: {{matchAll: true}}, {spec}}}}}"
    )
}

fn backend(price: &str) -> String {
    format!(
        "{{kind: Backend, metadata: {{name: e}}, spec: {{domain: home, location: {{country: DE}}, store: {{type: Memory}}, \
         capacity: 20Ti, price: {price}}}}}"
    )
}

#[test]
fn a_sound_estate_has_no_warnings() {
    let found = warnings(&[
        &link("{from: {region: north}, to: {provider: p}, latencyMilliseconds: 1}"),
        &backend(
            "{currency: EUR, storagePerGiBMonth: \"0.02\", tiers: [{above: 10Ti, storagePerGiBMonth: \"0.01\"}]}",
        ),
        &policy("require: [{name: r, nines: \"7\"}], movement: {maxBytes: 10Ti, maxCost: \"0\"}"),
    ]);
    assert_eq!(found, []);
}

#[test]
fn links_that_speak_of_nothing_are_said() {
    one(
        &[&link(
            "{from: {backend: a}, to: {backend: b}, bidirectional: true}",
        )],
        "the link `way` says nothing",
        "pricePerGiB",
        "way",
    );
    one(
        &[&link("{from: {region: nort}, to: {backend: b}, pricePerGiB: 1}")],
        "no backend has the region `nort`",
        "did you mean `north`?",
        "nort",
    );
    one(
        &[&link(
            "{from: {backend: a}, to: {provider: elsewhere}, pricePerGiB: 1}",
        )],
        "no backend has the provider `elsewhere`",
        "until a backend is there",
        "elsewhere",
    );
    one(
        &[&link("{from: {backend: c}, to: {region: south}, pricePerGiB: 1}")],
        "both ends of the link `way` are one backend",
        "",
        "way",
    );
}

#[test]
fn links_that_contradict_each_other_are_said() {
    let first = link("{from: {backend: a}, to: {region: south}, bidirectional: true, pricePerGiB: 1}");
    let other = |spec: &str| link(spec).replace("way", "xother");
    one(
        &[
            &first,
            &other("{from: {region: south}, to: {backend: a}, pricePerGiB: 2}"),
        ],
        "the links `way` and `xother` state another `pricePerGiB` of the same way",
        "that of `way` holds",
        "xother",
    );
    for fine in [
        "{from: {region: south}, to: {backend: a}, pricePerGiB: 1}",
        "{from: {region: south}, to: {backend: a}, latencyMilliseconds: 1}",
        "{from: {region: south}, to: {backend: b}, pricePerGiB: 2}",
    ] {
        assert_eq!(warnings(&[&first, &other(fine)]), [], "{fine}");
    }
    one(
        &[
            &link("{from: {backend: a}, to: {backend: b}, forbidden: false}"),
            &other("{from: {backend: a}, to: {backend: b}, forbidden: true}"),
        ],
        "another `forbidden`",
        "bytes must not go this way",
        "xother",
    );
}

#[test]
fn a_relay_that_cannot_be_written_is_said() {
    let relay = backend("{currency: EUR}").replace("capacity", "relay: true, accessMode: ReadOnly, capacity");
    one(
        &[&relay],
        "`e` is read-only and can relay nothing",
        "ReadWrite",
        "relay",
    );
}

#[test]
fn a_backend_that_every_way_to_is_forbidden_is_said() {
    one(
        &[&link("{from: {domain: home}, to: {backend: a}, forbidden: true}")],
        "links forbid every way to the backend `a`",
        "forbidden: false",
        "forbidden",
    );
    let allowed = link("{from: {backend: c}, to: {backend: a}, forbidden: false}").replace("way", "but");
    let forbidden = link("{from: {domain: home}, to: {backend: a}, forbidden: true}");
    assert_eq!(warnings(&[&forbidden, &allowed]), []);
    // Nothing goes to a read-only backend anyway.
    assert_eq!(
        warnings(&[&link("{from: {domain: home}, to: {backend: c}, forbidden: true}")]),
        []
    );
    // Forbidden both ways, `a` and `b` can still read `c`.
    let both = link("{from: {backend: a}, to: {backend: b}, bidirectional: true, forbidden: true}");
    assert_eq!(warnings(&[&both]), []);
}

#[test]
fn limits_that_are_in_their_own_way_are_said() {
    let hours = |days: &str, to: &str, rate: &str| {
        format!("{{days: [{days}], from: \"00:00\", to: \"{to}\", bytesPerSecond: {rate}}}")
    };
    let timetable = |hours: [&str; 2]| {
        let limits = format!("limits: {{timetable: [{}, {}]}}", hours[0], hours[1]);
        link(&format!("{{from: {{backend: a}}, to: {{backend: b}}, {limits}}}"))
    };
    let (week, night, saturday) = (
        hours("Mon, Tue, Sat", "24:00", "1Mi"),
        hours("Sat, Sun", "06:00", "2Mi"),
        hours("Sat", "06:00", "3Mi"),
    );
    one(
        &[&timetable([&week, &night])],
        "the hours 1 and 2 of the timetable of the link `way` overlap",
        "the first of them counts",
        "way",
    );
    one(
        &[&timetable([&week, &saturday])],
        "the hours 2 of the timetable of the link `way` never count",
        "put them first",
        "way",
    );
    let alike = hours("Sun", "06:00", "1Mi");
    assert_eq!(warnings(&[&timetable([&week, &alike])]), []);
    let ends = "{from: {backend: a}, to: {backend: b},";
    one(
        &[&link(&format!(
            "{ends} bandwidthBitsPerSecond: 8M, limits: {{bytesPerSecond: 2M}}}}"
        ))],
        "carries 1000000 bytes per second by its bandwidth",
        "bits",
        "way",
    );
    let first = link(&format!("{ends} limits: {{bytesPerSecond: 2M}}}}"));
    let other = link(&format!("{ends} limits: {{bytesPerSecond: 3M}}}}")).replace("way", "xother");
    one(
        &[&first, &other],
        "state another `limits` of the same way",
        "",
        "xother",
    );
}

#[test]
fn tiers_that_are_probably_not_meant_are_said() {
    one(
        &[&backend(
            "{currency: EUR, storagePerGiBMonth: \"0.02\", tiers: [{above: 10Ti, storagePerGiBMonth: \"0.2\"}]}",
        )],
        "storage on `e` gets dearer above 10.0 TiB: 0.2 after 0.02",
        "lower",
        "10Ti",
    );
    one(
        &[&backend(
            "{currency: EUR, storagePerGiBMonth: \"0.02\", tiers: [{above: 20Ti, storagePerGiBMonth: \"0.01\"}]}",
        )],
        "never reaches the tier above 20.0 TiB",
        "capacity",
        "20Ti",
    );
    let text = ESTATE.replace("currency: EUR", "currency: USD");
    let listed = |price: &str| {
        let source = crate::Source {
            name: "x".to_owned(),
            text: format!("{text}---\n{}", backend(price)),
            folder: "/".to_owned(),
            stored: false,
        };
        let manifests = crate::read(&[source]).unwrap_or_else(|errors| panic!("{errors:#?}"));
        lint(&manifests)
            .into_iter()
            .map(|found| found.help.unwrap_or_default())
            .collect::<Vec<_>>()
    };
    assert!(
        listed("{from: aws-s3/eu-central-1}").is_empty(),
        "a list's tiers are for backends of every size"
    );
    let found = listed("{from: aws-s3/eu-central-1, storagePerGiBMonth: \"0.01\"}");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("state `tiers` as well"), "{found:?}");
}

#[test]
fn nines_that_no_copies_reach_are_said() {
    one(
        &[&policy("require: [{name: r, nines: \"7.001\"}]")],
        "`r` asks for 7.001 nines, but all backends that fit reach 7 together (failure domains: 2)",
        "another zone",
        "\"7.001\"",
    );
    let in_one =
        policy("require: [{name: r, nines: \"5\", where: [{key: zone, operator: In, values: [z1]}]}]");
    one(&[&in_one], "reach 4 together (failure domains: 1)", "", "\"5\"");
    let unstated =
        policy("require: [{name: r, nines: \"5\", where: [{key: backend, operator: In, values: [c]}]}]");
    one(
        &[&unstated],
        "asks for 5 nines, but no backend that fits states any",
        "failure",
        "\"5\"",
    );
    // Two backends of one zone fail together, so that the better one alone counts.
    let twin = "{kind: Backend, metadata: {name: t}, spec: {domain: home, location: {country: DE, region: north, zone: z1, \
                provider: p}, store: {type: Memory}, capacity: 1Ti, failure: {nines: \"4\"}}}";
    one(
        &[twin, &policy("require: [{name: r, nines: \"8\"}]")],
        "reach 7 together",
        "",
        "\"8\"",
    );
}

#[test]
fn movement_that_keeps_everything_in_place_is_said() {
    one(
        &[&policy("movement: {maxBytes: 0}")],
        "lets no plan copy a byte",
        "largest dataset",
        "movement",
    );
    let test = "{kind: PolicyTest, metadata: {name: t}, spec: {datasets: [{name: big, domain: home, bytes: 2Ti}, \
                {name: small, domain: home}], expect: [{dataset: big, satisfied: true}]}}";
    one(
        &[&policy("movement: {maxBytes: 1Ti}"), test],
        "never lets a dataset like `big` of the test `t` move: it has 2.0 TiB, one plan may copy 1.0 TiB",
        "",
        "movement",
    );
    assert_eq!(
        warnings(&[&policy("movement: {maxBytes: 1Ti}, enforcement: Audit"), test]),
        []
    );
    // Between `a` and `b` nothing is charged, until a link says otherwise.
    let free = policy("movement: {maxCost: 0}");
    assert_eq!(warnings(&[&free]), []);
    one(
        &[
            &free,
            &link("{from: {domain: home}, to: {domain: home}, pricePerGiB: \"0.01\"}"),
        ],
        "no way between backends is free",
        "",
        "movement",
    );
}
