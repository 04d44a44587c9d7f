//! Who carries what, and how far it has come.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where its ground gives way"
)]

mod support;

use domicile_catalogue::DatasetSource;
use domicile_catalogue::{
    Catalogue, Consignment, ConsignmentEnd, Held, HeldMove, Hold, Lease, ManifestRow, Verification,
};
use domicile_estate::{ByteCount, Dataset, DomainName};
use domicile_movers::{
    Epoch, Ledger, Opening, PartReceipt, Phase, Place, Record, Seen, SourceVersion, TransferId, UploadToken,
};
use proptest::prelude::*;
use support::{Fixture, backend, dataset, key, name, register};

const TTL_MS: u64 = 60_000;

fn consignment(first: &str, last: &str) -> Consignment {
    Consignment {
        dataset: name("d"),
        target: backend("b"),
        sources: vec![backend("a"), backend("c")],
        first: key(first),
        last: key(last),
        objects: 2,
        bytes: ByteCount(20),
    }
}

/// How many objects of the dataset its copy is not known to hold.
async fn missing(catalogue: &Catalogue) -> usize {
    let objects = catalogue
        .objects_missing_on(&name("d"), &backend("b"), None, 9)
        .await;
    objects.unwrap().len()
}

async fn offered(consignments: &[Consignment]) -> Fixture {
    let fixture = Fixture::new().await;
    register(&fixture.catalogue, 3).await;
    fixture
        .catalogue
        .begin_copy(&name("d"), &backend("b"))
        .await
        .unwrap();
    fixture.catalogue.offer(consignments).await.unwrap();
    fixture
}

fn transfer(digit: char) -> TransferId {
    TransferId::parse(&digit.to_string().repeat(32)).unwrap()
}

async fn lease(fixture: &Fixture, worker: &str) -> Option<Lease> {
    fixture.catalogue.lease(worker, None, TTL_MS).await.unwrap()
}

async fn record(fixture: &Fixture, lease: &Lease, record: &Record) -> Held {
    let at = (&transfer('1'), "d/a");
    fixture
        .catalogue
        .record_transfer(lease, at, record, TTL_MS)
        .await
        .unwrap()
}

#[tokio::test]
async fn each_consignment_has_one_carrier_and_what_is_free_goes_first() {
    let fixture = offered(&[consignment("a", "b"), consignment("c", "c")]).await;
    let first = lease(&fixture, "one").await.unwrap();
    assert_eq!(first.consignment, consignment("a", "b"));
    let second = lease(&fixture, "two").await.unwrap();
    assert_eq!((second.consignment.first.as_str(), second.epoch), ("c", Epoch(1)));
    assert_eq!(lease(&fixture, "three").await, None);
    let copy = (&name("d"), &backend("b"));
    assert_eq!(fixture.catalogue.offers(copy.0, copy.1).await.unwrap().leased, 2);

    assert_eq!(fixture.catalogue.give_back(&second).await.unwrap(), Held::Yes);
    let again = fixture
        .catalogue
        .lease("three", Some(copy), TTL_MS)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((again.id, again.epoch), (second.id, Epoch(2)));
    let elsewhere = (&name("other"), &backend("b"));
    assert_eq!(
        fixture
            .catalogue
            .lease("four", Some(elsewhere), TTL_MS)
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn who_has_lost_the_lease_changes_nothing() {
    let fixture = offered(&[consignment("a", "a")]).await;
    // No time at all: it has expired as soon as it is given.
    let sleeper = fixture
        .catalogue
        .lease("sleeper", None, 0)
        .await
        .unwrap()
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let heir = lease(&fixture, "heir").await.unwrap();
    assert_eq!((heir.id, heir.epoch), (sleeper.id, Epoch(2)));

    let published = Record::Published {
        etag: Some("e".to_owned()),
    };
    assert_eq!(record(&fixture, &sleeper, &published).await, Held::No);
    assert_eq!(
        fixture.catalogue.ledger(&transfer('1')).await.unwrap(),
        Ledger::default()
    );
    assert_eq!(fixture.catalogue.renew(&sleeper, TTL_MS).await.unwrap(), Held::No);
    let end = ConsignmentEnd::Done;
    assert_eq!(
        fixture.catalogue.end_consignment(&sleeper, &end).await.unwrap(),
        Held::No
    );
    let object = fixture.catalogue.objects(&name("d"), None, 1).await.unwrap()[0].object_id;
    let verified = Verification {
        object_id: object,
        backend: backend("b"),
        sha256: Some("5".repeat(64)),
        blake3: "6".repeat(64),
        at_ms: 1,
    };
    let batch = [verified];
    let catalogue = &fixture.catalogue;
    assert_eq!(
        catalogue
            .record_verified_under(&sleeper, &batch, &[], TTL_MS)
            .await
            .unwrap(),
        Held::No
    );
    assert_eq!(missing(catalogue).await, 3);

    assert_eq!(
        catalogue
            .record_verified_under(&heir, &batch, &[], TTL_MS)
            .await
            .unwrap(),
        Held::Yes
    );
    assert_eq!(missing(catalogue).await, 2);
    assert_eq!(catalogue.end_consignment(&heir, &end).await.unwrap(), Held::Yes);
    assert_eq!(
        catalogue.end_consignment(&heir, &end).await.unwrap(),
        Held::No,
        "it has ended"
    );
}

#[tokio::test]
async fn what_is_withdrawn_is_fenced_and_offered_again_with_its_ledger() {
    let fixture = offered(&[consignment("a", "a")]).await;
    let carrier = lease(&fixture, "one").await.unwrap();
    assert_eq!(
        record(&fixture, &carrier, &Record::Intended(opening())).await,
        Held::Yes
    );
    assert_eq!(
        record(&fixture, &carrier, &Record::Opened(UploadToken("u".to_owned()))).await,
        Held::Yes
    );
    fixture.catalogue.withdraw_offers(None).await.unwrap();
    assert_eq!(record(&fixture, &carrier, &Record::Renewed).await, Held::No);
    assert_eq!(lease(&fixture, "two").await, None);

    fixture.catalogue.offer(&[consignment("a", "a")]).await.unwrap();
    let heir = lease(&fixture, "two").await.unwrap();
    assert!(heir.epoch > carrier.epoch);
    let ledger = fixture.catalogue.ledger(&transfer('1')).await.unwrap();
    assert_eq!(
        (ledger.phase, ledger.token),
        (Phase::Opened, Some(UploadToken("u".to_owned())))
    );
}

#[tokio::test]
async fn failures_are_told_with_their_reasons() {
    let fixture = offered(&[consignment("a", "a"), consignment("b", "c")]).await;
    let carrier = lease(&fixture, "one").await.unwrap();
    let end = ConsignmentEnd::Failed("the disk is full".to_owned());
    assert_eq!(
        fixture.catalogue.end_consignment(&carrier, &end).await.unwrap(),
        Held::Yes
    );
    let offers = fixture.catalogue.offers(&name("d"), &backend("b")).await.unwrap();
    assert_eq!(
        (offers.waiting, offers.failed),
        (1, vec!["the disk is full".to_owned()])
    );
}

#[tokio::test]
async fn the_sweep_finds_rows_and_spares_what_somebody_carries() {
    let fixture = offered(&[consignment("a", "a")]).await;
    let carrier = lease(&fixture, "one").await.unwrap();
    assert_eq!(
        record(&fixture, &carrier, &Record::Intended(opening())).await,
        Held::Yes
    );
    assert_eq!(
        fixture.catalogue.unswept().await.unwrap(),
        [],
        "somebody carries it"
    );

    fixture.catalogue.withdraw_offers(None).await.unwrap();
    let unswept = fixture.catalogue.unswept().await.unwrap();
    assert_eq!((unswept.len(), unswept[0].kept.len()), (1, 0));
    fixture.catalogue.note_swept(&unswept[0]).await.unwrap();
    // Its worker may still sleep and begin what it intended: the row stays.
    assert_eq!(fixture.catalogue.unswept().await.unwrap().len(), 1);

    fixture.catalogue.offer(&[consignment("a", "a")]).await.unwrap();
    let carrier = lease(&fixture, "two").await.unwrap();
    assert_eq!(
        record(&fixture, &carrier, &Record::Opened(UploadToken("u".to_owned()))).await,
        Held::Yes
    );
    assert_eq!(fixture.catalogue.give_back(&carrier).await.unwrap(), Held::Yes);
    let unswept = fixture.catalogue.unswept().await.unwrap();
    assert_eq!(
        unswept[0].kept,
        [UploadToken("u".to_owned())],
        "somebody can go on with it"
    );
}

#[tokio::test]
async fn nothing_stays_of_a_transfer_that_only_one_worker_had() {
    let fixture = offered(&[consignment("a", "a")]).await;
    let carrier = lease(&fixture, "one").await.unwrap();
    for next in [Record::Intended(opening()), Record::Cancelled] {
        assert_eq!(record(&fixture, &carrier, &next).await, Held::Yes);
    }
    assert_eq!(
        fixture
            .catalogue
            .end_consignment(&carrier, &ConsignmentEnd::Done)
            .await
            .unwrap(),
        Held::Yes
    );
    let unswept = fixture.catalogue.unswept().await.unwrap();
    fixture.catalogue.note_swept(&unswept[0]).await.unwrap();
    // A network may have doubled what began the upload: what comes late is looked for.
    assert_eq!(fixture.catalogue.unswept().await.unwrap().len(), 1);
    let path = fixture.catalogue.path().unwrap().to_owned();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let later = sqlx::query("UPDATE ledgers SET changed_ms = changed_ms - 600001");
    later.execute(&pool).await.unwrap();
    fixture.catalogue.note_swept(&unswept[0]).await.unwrap();
    assert_eq!(fixture.catalogue.unswept().await.unwrap(), []);
    fixture.catalogue.withdraw_offers(None).await.unwrap();
    let rows: i64 =
        sqlx::query_scalar("SELECT (SELECT count(*) FROM ledgers) + (SELECT count(*) FROM leases)")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(rows, 0);
}

fn opening() -> Opening {
    Opening {
        source: Place {
            backend: backend("a"),
            path: "a".to_owned(),
        },
        version: SourceVersion {
            size: 3000,
            etag: Some("v1".to_owned()),
            modified_ms: Some(-5),
        },
        part_size: 1024,
    }
}

fn any_record() -> impl Strategy<Value = Record> {
    let etag = prop::option::of(Just("e".to_owned()));
    let part = |(number, byte, crc)| PartReceipt {
        number,
        size: 1024,
        etag: format!("e{byte}"),
        chaining: [byte; 32],
        crc64nvme: crc,
    };
    let parts = prop::collection::vec((1..4_u32, any::<u8>(), any::<Option<u64>>()).prop_map(part), 1..3);
    let seen = |sha256: bool| Seen {
        size: 3000,
        sha256: sha256.then(|| "a".repeat(64)),
        blake3: "b".repeat(64),
    };
    prop_oneof![
        Just(Record::Intended(opening())),
        Just(Record::Opened(UploadToken("u".to_owned()))),
        parts.clone().prop_map(Record::Parts),
        parts.prop_map(Record::Parts),
        any::<bool>().prop_map(move |sha256| Record::Sealed(seen(sha256))),
        Just(Record::Renewed),
        etag.clone().prop_map(|etag| Record::Withdrawing { etag }),
        etag.prop_map(|etag| Record::Published { etag }),
        Just(Record::Cleared),
        Just(Record::Cancelled),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// The ledger on disk is the ledger in memory, whatever is recorded.
    #[test]
    fn the_ledger_is_what_the_machine_thinks_it_is(records in prop::collection::vec(any_record(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = offered(&[consignment("a", "a")]).await;
            let carrier = lease(&fixture, "one").await.unwrap();
            let mut ledger = Ledger::default();
            for next in &records {
                assert_eq!(record(&fixture, &carrier, next).await, Held::Yes);
                ledger.apply(next);
                assert_eq!(fixture.catalogue.ledger(&transfer('1')).await.unwrap(), ledger, "{next:?}");
            }
        });
    }
}

#[tokio::test]
async fn a_held_copy_is_taken_from_whoever_carries_it_and_given_to_nobody_until_it_is_lifted() {
    let fixture = offered(&[consignment("a", "b")]).await;
    let catalogue = &fixture.catalogue;
    let held = [HeldMove {
        id: "m".to_owned(),
        dataset: name("d"),
        backend: backend("b"),
        retires: false,
    }];
    for hold in [Hold::Paused, Hold::Cancelled] {
        let before = lease(&fixture, "one").await.expect("it is offered");
        catalogue.hold(1, &held, hold).await.unwrap();
        assert_eq!(catalogue.holds().await.unwrap()[&(name("d"), backend("b"))], hold);
        assert_eq!(catalogue.renew(&before, TTL_MS).await.unwrap(), Held::No);
        assert_eq!(
            record(&fixture, &before, &Record::Withdrawing { etag: None }).await,
            Held::No
        );
        let end = ConsignmentEnd::Done;
        assert_eq!(catalogue.end_consignment(&before, &end).await.unwrap(), Held::No);
        assert!(lease(&fixture, "two").await.is_none());
        assert!(catalogue.carriers().await.unwrap().is_empty());
        catalogue.lift(1, &held).await.unwrap();
        if hold == Hold::Cancelled {
            assert!(lease(&fixture, "two").await.is_none(), "it was withdrawn");
            catalogue.offer(&[consignment("a", "b")]).await.unwrap();
        }
        let after = lease(&fixture, "two").await.expect("it is offered again");
        assert!(after.epoch > before.epoch);
        assert!(catalogue.carriers().await.unwrap()[&(name("d"), backend("b"))].contains("two"));
        assert_eq!(catalogue.give_back(&after).await.unwrap(), Held::Yes);
    }
    // A plan that does not have the move forgets what was ordered of it.
    catalogue.hold(1, &held, Hold::Paused).await.unwrap();
    catalogue
        .keep_holds(&[(&name("d"), &backend("b"), false)].into_iter().collect())
        .await
        .unwrap();
    assert_eq!(catalogue.holds().await.unwrap().len(), 1);
    catalogue
        .keep_holds(&[(&name("d"), &backend("b"), true)].into_iter().collect())
        .await
        .unwrap();
    assert!(catalogue.holds().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_owner_with_less_under_way_comes_first() {
    let consigned = |first: &str, bytes| Consignment {
        first: key(first),
        last: key(first),
        bytes: ByteCount(bytes),
        ..consignment("a", "a")
    };
    let large: Vec<_> = ["a", "b", "c", "d"].map(|first| consigned(first, 1 << 30)).into();
    let fixture = offered(&large).await;
    let small = Dataset {
        domain: DomainName::new("marburg").unwrap(),
        ..dataset("small", None)
    };
    let registered = fixture
        .catalogue
        .register_dataset(&small, DatasetSource::Manifest);
    registered.await.unwrap();
    let theirs: Vec<_> = ["x", "y"]
        .map(|first| Consignment {
            dataset: name("small"),
            ..consigned(first, 10)
        })
        .into();
    fixture.catalogue.offer(&theirs).await.unwrap();
    let mut order = Vec::new();
    for _ in 0..6 {
        let taken = lease(&fixture, "one").await.expect("it is offered");
        order.push(taken.consignment.first.to_string());
    }
    // Nobody has anything under way: the first. Then the small ones, for theirs is less; then what is left.
    assert_eq!(order, ["a", "x", "y", "b", "c", "d"]);
}

#[tokio::test]
async fn rates_of_all_who_carry_a_copy_are_summed_and_each_tells_his_anew() {
    let fixture = offered(&[consignment("a", "b")]).await;
    let catalogue = &fixture.catalogue;
    let of = (name("d"), backend("b"));
    catalogue.note_rates("one", &[(of.clone(), 100.0)]).await.unwrap();
    catalogue.note_rates("two", &[(of.clone(), 20.0)]).await.unwrap();
    catalogue.note_rates("one", &[(of.clone(), 50.0)]).await.unwrap();
    assert_eq!(catalogue.rates().await.unwrap(), [(of, 70.0)].into());
    catalogue.note_rates("one", &[]).await.unwrap();
    catalogue.note_rates("two", &[]).await.unwrap();
    assert!(catalogue.rates().await.unwrap().is_empty());
    assert!(catalogue.bytes_in_parts().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_under_way_follows_the_weights_of_owners() {
    let consigned = |of: &str, at: usize| Consignment {
        dataset: name(of),
        first: key(&format!("k{at:02}")),
        last: key(&format!("k{at:02}")),
        ..consignment("a", "a")
    };
    let ours: Vec<_> = (0..40).map(|at| consigned("d", at)).collect();
    let fixture = offered(&ours).await;
    let theirs = Dataset {
        domain: DomainName::new("marburg").unwrap(),
        ..dataset("theirs", None)
    };
    let catalogue = &fixture.catalogue;
    catalogue
        .register_dataset(&theirs, DatasetSource::Manifest)
        .await
        .unwrap();
    let weighty = ManifestRow {
        kind: "Domain".to_owned(),
        name: "marburg".to_owned(),
        json: r#"{"kind": "Domain", "spec": {"jurisdiction": "DE", "weight": 3}}"#.to_owned(),
    };
    catalogue.record_manifests(&[weighty], &[]).await.unwrap();
    let consignments: Vec<_> = (0..40).map(|at| consigned("theirs", at)).collect();
    catalogue.offer(&consignments).await.unwrap();
    let mut theirs = 0;
    for taken in 1..=40_usize {
        let lease = lease(&fixture, "one").await.expect("it is offered");
        theirs += usize::from(lease.consignment.dataset == name("theirs"));
        assert!(
            (4 * theirs).abs_diff(3 * taken) <= 4,
            "{theirs} of {taken} are theirs"
        );
    }
}
