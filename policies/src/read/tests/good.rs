use domicile_estate::{AccessMode, ByteCount, CredentialsRef, DatasetName};

use super::*;
use crate::evaluate::{DatasetFacts, Verdict};
use crate::policy::{Aim, Goal};

pub(crate) const ESTATE: &str = r#"
apiVersion: domicile.dev/v1alpha1
kind: Domain
metadata: {name: jlu-giessen}
spec:
  title: Justus Liebig University Giessen
  jurisdiction: DE
  weight: 3
  admission:
    - {name: guests-unrestricted, when: "dataset.domain == domain.name || dataset.labels['sensitivity'] != 'restricted'"}
---
kind: Domain
metadata: {name: guest}
spec: {jurisdiction: NO}
---
kind: Backend
metadata: {name: giessen-archive, labels: {media: hdd, tier: archive}}
spec:
  domain: jlu-giessen
  location: {country: DE, region: de-he, zone: rz1, provider: jlu}
  operatorCountry: DE
  store: {type: Fs, root: ./data/archive}
  credentials: {env: GIESSEN}
  capacity: 40Ti
  accessMode: ReadWrite
  cordoned: false
  drain: false
  relay: true
  limits: {bytesPerSecond: 50Mi, timetable: [{days: [Sat, Sun], from: "22:00", to: "06:30", requestsPerSecond: 100}, {from: "00:00", to: "24:00"}]}
  price: {currency: EUR, storagePerGiBMonth: "0.0120", ingressPerGiB: "0", egressPerGiB: "0.08",
          egressWithinProviderPerGiB: "0.02", egressWithinRegionPerGiB: "0", putPer1000: "0.005", getPer1000: "0.0004",
          minObjectSize: 64Ki, includedStorage: 1Ti, baseFeePerMonth: "4.99",
          tiers: [{above: 10Ti, storagePerGiBMonth: "0.0110"}, {above: 20Ti, storagePerGiBMonth: "0.01"}]}
  energy: {gridGramsPerKWh: 380, wattHoursPerTBHour: "0.65", pue: "1.3", physicalCopies: 3}
  failure: {nines: "4"}
---
kind: Backend
metadata: {name: giessen-fs, labels: {media: ssd}}
spec:
  domain: jlu-giessen
  location: {country: DE}
  store: {type: Fs, root: /srv/giessen}
  capacity: 1000000000
---
kind: Backend
metadata: {name: falkenstein}
spec:
  domain: guest
  location: {country: DE, region: fsn1, provider: hetzner}
  store: {type: S3, bucket: b, endpoint: "https://fsn1.example.org"}
  capacity: 100Ti
  price: {from: hetzner-object/fsn1, egressPerGiB: "0.002"}
---
kind: Link
metadata: {name: giessen-falkenstein}
spec:
  from: {backend: giessen-archive}
  to: {region: fsn1}
  bidirectional: true
  pricePerGiB: "0"
  bandwidthBitsPerSecond: 10G
  latencyMilliseconds: 12
  forbidden: false
  limits: {bytesPerSecond: 40Mi, timetable: [{from: "05:15", to: "06:45", requestsPerSecond: 9}]}
---
kind: Link
metadata: {name: nothing-to-guests}
spec: {from: {provider: jlu}, to: {domain: guest}, forbidden: true}
---
kind: Backend
metadata: {name: oslo}
spec:
  domain: guest
  store: {type: S3, bucket: b, endpoint: "https://s3.example.org", region: x}
  credentials: {file: keys/oslo}
  capacity: 1Ti
---
kind: Dataset
metadata: {name: hessian-plants, labels: {theme: biodiversity, sensitivity: public}}
spec:
  domain: jlu-giessen
  title: Plants of Hesse
  authors: [A, B]
  access: Open
  origin: {backend: giessen-fs, prefix: plants/}
  keepOrigin: true
---
kind: ReplicationPolicy
metadata: {name: biodiversity}
spec:
  priority: 0
  selector: {matchLabels: {theme: biodiversity}}
  confine:
    - {name: eu-soil-and-law, key: jurisdiction, operator: In, values: [EU, CH]}
    - {name: no-tape, cel: "backend.labels['tier'] != 'tape'"}
  require:
    - name: three-apart
      copies: 3
      where: [{key: tier, operator: In, values: [warm, archive]}]
      spread: [{across: domain, groups: 3}, {across: zone, groups: 2}]
    - {name: nine-nines, nines: "9.5"}
  objective: {carbonPricePerTonne: "100", horizonMonths: 12,
              goals: [{minimise: Cost}, {minimise: Carbon, slackPercent: "2.5"}]}
  budget: {costPerMonth: "200", carbonKgPerMonth: "50"}
  movement: {maxBytes: 10Ti, maxCost: "50", paybackDays: 90}
  enforcement: Enforce
---
kind: PolicyTest
metadata: {name: plants}
spec:
  datasets:
    - {name: made-up, domain: guest, labels: {theme: biodiversity}, bytes: 2Gi, objects: 5, origin: oslo}
  expect:
    - {dataset: hessian-plants, backends: [giessen-fs, giessen-archive]}
    - {dataset: made-up, refused: {backend: oslo, rule: eu-soil-and-law, kind: Confinement}}
    - {dataset: made-up, satisfied: false}
    - {dataset: made-up, admissible: [giessen-fs]}
"#;

fn estate() -> Manifests {
    read(&[source(ESTATE)]).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

#[test]
fn the_example_of_the_contract_is_read() {
    let manifests = estate();
    assert_eq!(manifests.currency, "EUR");
    assert_eq!(manifests.documents.len(), 11);
    let archive = &manifests.backends["giessen-archive"];
    assert_eq!(archive.capacity, ByteCount(40 << 40));
    assert_eq!(archive.store.option("root"), "/estate/data/archive");
    assert_eq!(
        archive.credentials,
        Some(CredentialsRef::Env("GIESSEN".to_owned()))
    );
    assert_eq!(archive.price.storage_per_gib_month, 0.012);
    assert_eq!(archive.energy.grid_source, "given");
    assert_eq!(archive.energy.physical_copies, 3.0);
    assert_eq!(archive.nines, Some(4.0));
    assert_eq!(archive.access_mode, AccessMode::ReadWrite);
    let limits = &archive.limits;
    assert_eq!(limits.usual.bytes_per_second, Some(50 << 20));
    assert_eq!(limits.usual.requests_per_second, None);
    let hours = &limits.timetable[0];
    assert_eq!(
        (&hours.days[..], hours.from_minute, hours.to_minute),
        (&[5, 6][..], 1320, 390)
    );
    assert_eq!(hours.rates.requests_per_second, Some(100));
    assert_eq!(
        (limits.timetable[1].days.len(), limits.timetable[1].to_minute),
        (7, 1440)
    );
    assert!(manifests.backends["oslo"].limits.is_unlimited());
    assert!(archive.relay && !manifests.backends["oslo"].relay);
    let policy = &manifests.policies["biodiversity"];
    assert_eq!(policy.require[0].copies, 3);
    assert_eq!(
        (policy.require[1].copies, policy.require[1].milli_nines),
        (1, Some(9500))
    );
    let goal = Goal {
        aim: Aim::Carbon,
        slack_millionths: 25_000,
    };
    assert_eq!(
        policy
            .objective
            .as_ref()
            .map(|objective| objective.goals.as_slice()),
        Some(&[goal][..])
    );
    assert_eq!(policy.movement.max_bytes, Some(ByteCount(10 << 40)));
    assert_eq!(
        (policy.movement.max_cost, policy.movement.payback_days),
        (Some(50.0), Some(90))
    );
    assert_eq!(
        policy.confine[0].describe(),
        "jurisdiction In EU, CH (groups as of 2026-11-22)"
    );
    assert_eq!(policy.confine[1].describe(), "`backend.labels['tier'] != 'tape'`");
    assert_eq!(manifests.tests[0].expect.len(), 4);
    assert_eq!(
        manifests.datasets["hessian-plants"]
            .origin
            .as_ref()
            .map(|o| o.prefix.as_str()),
        Some("plants/")
    );
}

#[test]
fn links_say_what_they_state_and_nothing_else() {
    let manifests = estate();
    let weights: Vec<u32> = manifests.domains.values().map(|domain| domain.weight).collect();
    assert_eq!(weights, [1, 3], "a guest weighs what nobody has stated");
    let link = &manifests.links["giessen-falkenstein"];
    assert_eq!(link.from.parts(), ("backend", "giessen-archive"));
    assert_eq!(link.to.parts(), ("region", "fsn1"));
    assert!(link.bidirectional);
    assert_eq!(link.price_per_gib, Some(0.0));
    assert_eq!(link.bandwidth_bits_per_second, Some(10_000_000_000));
    assert_eq!((link.latency_ms, link.forbidden), (Some(12), Some(false)));
    let limits = link.limits.as_ref().expect("limits");
    assert_eq!(limits.usual.bytes_per_second, Some(40 << 20));
    assert_eq!(limits.timetable[0].rates.requests_per_second, Some(9));
    let other = &manifests.links["nothing-to-guests"];
    assert_eq!(other.limits, None);
    assert_eq!(
        (other.bidirectional, other.price_per_gib, other.forbidden),
        (false, None, Some(true))
    );
}

#[test]
fn a_price_is_the_list_price_with_what_is_stated_in_its_place() {
    let manifests = estate();
    let price = &manifests.backends["falkenstein"].price;
    let list = &domicile_estate::price_list()["hetzner-object/fsn1"].price;
    assert_eq!(price.source, "hetzner-object/fsn1, 2025; given: egressPerGiB");
    assert_eq!(price.egress_per_gib, 0.002);
    let rest = domicile_estate::Price {
        egress_per_gib: list.egress_per_gib,
        source: list.source.clone(),
        ..price.clone()
    };
    assert_eq!(rest, *list);
    let own = &manifests.backends["giessen-archive"].price;
    assert_eq!((own.source.as_str(), own.tiers.len()), ("given", 2));
    assert_eq!(own.tiers[1].above, ByteCount(20 << 40));
    assert_eq!(own.tiers[1].storage_per_gib_month, 0.01);
    assert_eq!(
        (own.included_storage, own.base_fee_per_month),
        (ByteCount(1 << 40), 4.99)
    );
    assert_eq!(
        manifests.backends["oslo"].price,
        domicile_estate::Price::default()
    );
    // An empty list takes the list price's tiers away.
    let read_price = |price: &str| {
        let text = ESTATE.replacen("{from: hetzner-object/fsn1, egressPerGiB: \"0.002\"}", price, 1);
        let text = text.replace("currency: EUR", "currency: USD");
        read(&[source(&text)]).expect("good").backends["falkenstein"]
            .price
            .clone()
    };
    assert_eq!(
        read_price("{from: aws-s3/us-east-1, currency: USD}").tiers.len(),
        2
    );
    assert_eq!(read_price("{from: aws-s3/us-east-1, tiers: []}").tiers, []);
}

#[test]
fn what_is_not_stated_has_its_default() {
    let manifests = estate();
    let fast = &manifests.backends["giessen-fs"];
    assert_eq!(fast.operator_country.code(), "DE");
    assert_eq!(fast.energy.watt_hours_per_tb_hour, 1.2);
    assert_eq!(fast.energy.pue, 1.2);
    assert!(
        fast.energy.grid_source.starts_with("Ember/OWID 20"),
        "{}",
        fast.energy.grid_source
    );
    assert_eq!(fast.price.currency, None);
    let oslo = &manifests.backends["oslo"];
    assert_eq!(oslo.operator_country.code(), "NO");
    assert_eq!(oslo.energy.grid_grams_per_kwh, 480.0);
    assert_eq!(oslo.energy.watt_hours_per_tb_hour, 0.65);
    assert_eq!(
        oslo.credentials,
        Some(CredentialsRef::File("/estate/keys/oslo".to_owned()))
    );
    assert_eq!(manifests.warnings.len(), 1, "{:?}", manifests.warnings);
    assert!(
        manifests.warnings[0]
            .message
            .contains("`oslo` is taken to run on the world's mean grid")
    );
}

#[test]
fn rules_and_admissions_judge() {
    let manifests = estate();
    let policy = &manifests.policies["biodiversity"];
    let plants = &manifests.datasets["hessian-plants"];
    let facts = DatasetFacts {
        name: &plants.name,
        domain: &plants.domain,
        labels: &plants.labels,
        bytes: ByteCount(1),
        objects: 1,
    };
    assert!(policy.selects(&facts));
    assert!(
        policy.confine[0]
            .accepts(&manifests.backends["giessen-fs"], &facts)
            .is_accepted()
    );
    assert_eq!(
        policy.confine[0].accepts(&manifests.backends["oslo"], &facts),
        Verdict::Refused
    );
    assert_eq!(manifests.refuses(&plants.domain, &facts), None);
    let guest = manifests.domains["guest"].name.clone();
    let labels = [("sensitivity".to_owned(), "restricted".to_owned())].into();
    let secret = DatasetFacts {
        domain: &guest,
        labels: &labels,
        ..facts
    };
    let refused = manifests.refuses(&plants.domain, &secret);
    assert_eq!(refused, Some(("guests-unrestricted", Verdict::Refused)));
    assert_eq!(manifests.refuses(&guest, &secret), None);
    assert!(!policy.selects(&secret));
}

#[test]
fn canonical_documents_read_the_same_again() {
    let first = estate();
    let again: Vec<Source> = first
        .documents
        .iter()
        .map(|document| Source {
            name: "catalogue".to_owned(),
            text: document.json.clone(),
            folder: "/elsewhere".to_owned(),
            stored: true,
        })
        .collect();
    let second = read(&again).unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert_eq!(first.domains, second.domains);
    assert_eq!(first.backends, second.backends);
    assert_eq!(first.links, second.links);
    assert_eq!(first.datasets, second.datasets);
    assert_eq!(format!("{:?}", first.policies), format!("{:?}", second.policies));
    let json = |manifests: &Manifests| -> Vec<String> {
        manifests.documents.iter().map(|d| d.json.clone()).collect()
    };
    assert_eq!(json(&first), json(&second));
    assert!(second.documents.iter().all(|document| document.stored));
}

#[test]
fn a_status_is_not_read_and_not_kept() {
    let text = "{apiVersion: domicile.dev/v1alpha1, kind: Domain, metadata: {name: a}, spec: {jurisdiction: FR}, \
                status: {wrong: 1}}";
    let manifests = read(&[source(text)]).expect("good");
    assert!(
        !manifests.documents[0].json.contains("status"),
        "{}",
        manifests.documents[0].json
    );
}

#[test]
fn a_fresh_document_replaces_a_stored_one() {
    let stored =
        "{apiVersion: domicile.dev/v1alpha1, kind: Domain, metadata: {name: a}, spec: {jurisdiction: XX}}";
    let fresh =
        "{apiVersion: domicile.dev/v1alpha1, kind: Domain, metadata: {name: a}, spec: {jurisdiction: FR}}";
    for order in [[true, false], [false, true]] {
        let sources = order.map(|is_stored| Source {
            stored: is_stored,
            ..source(if is_stored { stored } else { fresh })
        });
        let manifests = read(&sources).expect("the stored one does not count");
        assert_eq!(manifests.domains["a"].jurisdiction.code(), "FR");
        assert!(!manifests.documents[0].stored);
    }
}

#[test]
fn names_of_datasets_are_any_text() {
    let text =
        "{apiVersion: domicile.dev/v1alpha1, kind: Domain, metadata: {name: a}, spec: {jurisdiction: FR}}
---
{kind: Dataset, metadata: {name: libstdc++6}, spec: {domain: a}}";
    let manifests = read(&[source(text)]).expect("a good name");
    assert!(
        manifests
            .datasets
            .contains_key(&DatasetName::new("libstdc++6").expect("a name"))
    );
}
