//! Many mistakes are told at once, each with its place, and nothing is written.

use domicile_tests::Estate;

/// Ten mistakes of ten kinds; the line of each ends with the words that its error must name.
const BROKEN: &str = r#"apiVersion: domicile.dev/v1alpha1
kind: Domain
metadata: {name: home}
spec: {title: Home, jurisdiction: DX}            # 1 `DX`
---
apiVersion: domicile.dev/v1alpha1
kind: Backend
metadata: {name: b1}
spec:
  domain: hom                                    # 2 `hom`
  location: {country: DE}
  store: {type: Fs, root: ../stores/b1}
  capacity: 40Tx                                 # 3 `40Tx`
  acessMode: ReadOnly                            # 4 `acessMode`
  price: {currency: EUR, storagePerGiBMonth: "cheap"}   # 5 `cheap`
---
apiVersion: domicile.dev/v1alpha1
kind: Dataset
metadata: {name: d}
spec:
  domain: home
  title: A dataset
  origin: {backend: b7, prefix: d/}              # 6 `b7`
---
apiVersion: domicile.dev/v1alpha1
kind: ReplicationPolicy
metadata: {name: p}
spec:
  selector: {matchAll: true}
  confine:
    - {name: eu, key: jurisdiction, operator: Inn, values: [EU]}   # 7 `Inn`
    - {name: un, key: country, operator: In, values: [EUU]}        # 8 `EUU`
    - {name: cel, cel: "backend.name =="}                          # 9 `cel`
  require:
    - {name: n, copies: 2, spread: [{across: domain, groups: 3}]}  # 10 `groups`
"#;

#[test]
fn ten_mistakes_give_ten_marked_errors_and_nothing_is_written() {
    let estate = Estate::new();
    estate.manifests(BROKEN);
    for command in [
        &["plan", "-f", "manifests"][..],
        &["apply", "-f", "manifests", "--yes"],
        &["policy", "lint", "-f", "manifests"],
    ] {
        let outcome = estate.run(command).exits(1);
        assert!(
            outcome.stdout.is_empty(),
            "errors are not data: {}",
            outcome.all()
        );
        let mut wanted = 0;
        for (at, line) in BROKEN.lines().enumerate() {
            let Some((_, mistake)) = line.split_once("# ") else {
                continue;
            };
            wanted += 1;
            let word = mistake.split('`').nth(1).expect("the word that the error names");
            let place = format!("estate.yaml:{}", at + 1);
            assert!(
                outcome.stderr.contains(&place),
                "{place} ({mistake}) is not marked in {}",
                outcome.all()
            );
            assert!(
                outcome.stderr.contains(word),
                "{mistake} is not named in {}",
                outcome.all()
            );
        }
        assert_eq!(wanted, 10);
        let marked = outcome.stderr.matches("estate.yaml:").count();
        assert_eq!(marked, 10, "one place for each mistake: {}", outcome.all());
        assert!(outcome.stderr.contains("help:"), "what to do: {}", outcome.all());
    }
    assert_eq!(estate.written(), Vec::new(), "nothing is written");
}

#[test]
fn a_misspelt_field_and_a_misspelt_name_are_suggested() {
    let estate = Estate::new();
    estate.manifests(BROKEN);
    estate
        .run(&["plan", "-f", "manifests"])
        .exits(1)
        .says("accessMode")
        .says("`home`");
}

#[test]
fn what_is_no_yaml_is_told_with_its_place() {
    let estate = Estate::new();
    estate.manifests("apiVersion: domicile.dev/v1alpha1\nkind: [Domain\n");
    estate
        .run(&["plan", "-f", "manifests"])
        .exits(1)
        .says("estate.yaml:");
}

#[test]
fn two_currencies_in_one_estate_are_refused() {
    let estate = crate::simple(&["b1"], 2);
    let text = std::fs::read_to_string(estate.path("manifests/estate.yaml")).expect("the manifests");
    estate.manifests(&text.replacen("currency: EUR", "currency: USD", 1));
    estate.plan().exits(1).says("USD").says("EUR");
}

#[test]
fn a_secret_in_a_manifest_is_refused_and_not_repeated() {
    let estate = crate::simple(&["b1"], 2);
    let text = std::fs::read_to_string(estate.path("manifests/estate.yaml")).expect("the manifests");
    let secret = "wJalrXUtnFEMIbPxRfiCYEXAMPLEKEY";
    estate.manifests(&text.replacen(
        "store: {type: Fs,",
        &format!("store: {{type: Fs, secretAccessKey: {secret},"),
        1,
    ));
    estate
        .run(&["apply", "-f", "manifests", "--yes"])
        .exits(1)
        .says("secretAccessKey")
        .never_says(secret);
    assert_eq!(
        estate
            .written()
            .iter()
            .filter(|(_, bytes)| contains(bytes, secret.as_bytes()))
            .count(),
        0
    );
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
