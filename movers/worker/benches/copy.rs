//! Copies everything below one store to another, as a user's `apply` would, without a catalogue: what the worker alone
//! takes. `benches/compare.py` runs it beside other tools; docs/moving.md says how.
//!
//! ```text
//! copy FROM TO [--verify Full|Sample|Checksum] [--at-once N]
//! ```
//! A store is a folder, or `s3:ENDPOINT/BUCKET[/ROOT]` with keys in `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; other
//! keys for the second store in `TO_ACCESS_KEY_ID` and `TO_SECRET_ACCESS_KEY`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has failed, and it prints its figures"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use domicile_estate::{
    AccessMode, Backend, BackendName, ByteCount, CredentialsRef, DatasetName, DomainName, Energy, Location,
    ObjectKey, Price, Store, StoreKind, Verify,
};
use domicile_movers::{Place, TargetRecorded, TransferSpec};
use domicile_worker::{Cancel, CredentialValues, Limits, Progress, Stores, Worker};

fn backend(name: &str, address: &str) -> Backend {
    let (kind, options, credentials) = match address.strip_prefix("s3:") {
        None => (StoreKind::Fs, vec![("root", address.to_owned())], None),
        Some(address) => {
            let (scheme, rest) = address.split_once("://").expect("s3:http://host:port/bucket");
            let mut parts = rest.splitn(3, '/');
            let mut part = || parts.next().unwrap_or_default().to_owned();
            let endpoint = format!("{scheme}://{}", part());
            let options = vec![("endpoint", endpoint), ("bucket", part()), ("root", part())];
            let of_its_own = std::env::var("TO_ACCESS_KEY_ID").is_ok() && name == "to";
            let keys = if of_its_own { "TO" } else { "AWS" };
            (StoreKind::S3, options, Some(CredentialsRef::Env(keys.to_owned())))
        }
    };
    Backend {
        name: BackendName::new(name).unwrap(),
        labels: BTreeMap::new(),
        domain: DomainName::new("d").unwrap(),
        location: Location::default(),
        operator_country: domicile_estate::country("DE").unwrap(),
        store: Store {
            kind,
            options: options
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        },
        credentials,
        capacity: ByteCount(1 << 50),
        access_mode: AccessMode::ReadWrite,
        cordoned: false,
        drain: false,
        price: Price::default(),
        energy: Energy {
            grid_grams_per_kwh: 0.0,
            grid_source: String::new(),
            watt_hours_per_tb_hour: 0.0,
            pue: 1.0,
            physical_copies: 1.0,
        },
        nines: None,
        relay: false,
        limits: domicile_estate::RateLimits::default(),
    }
}

#[tokio::main]
async fn main() {
    // On a thread of the runtime, as `apply` does it: the main thread would have to be woken for every answer.
    tokio::spawn(copy()).await.unwrap();
}

fn options(mut arguments: impl Iterator<Item = String>) -> (Verify, usize) {
    let (mut verify, mut at_once) = (Verify::default(), 32);
    while let (Some(option), Some(value)) = (arguments.next(), arguments.next()) {
        match option.as_str() {
            "--verify" => {
                verify = Verify::ALL
                    .into_iter()
                    .find(|verify| verify.as_str() == value)
                    .expect("Full, Sample or Checksum");
            }
            "--at-once" => at_once = value.parse().expect("a number"),
            other => panic!("what is `{other}`?"),
        }
    }
    (verify, at_once)
}

async fn copy() {
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let mut arguments = arguments.into_iter();
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        println!("copy FROM TO [--verify Full|Sample|Checksum] [--at-once N]");
        return;
    };
    let (verify, at_once) = options(arguments);
    let backends = [backend("from", &from), backend("to", &to)];
    let stores = Stores::open(
        &backends.iter().collect::<Vec<_>>(),
        CredentialValues::from_environment(),
    );
    let worker = Worker::new(stores, Limits::default());
    let (progress, cancel) = (Arc::new(Progress::new()), Cancel::new());
    let begun = Instant::now();
    let dataset = DatasetName::new("d").unwrap();
    let listing = worker.list(&backends[0].name, "", &[]).await.unwrap();
    let mut found = listing.all().await.unwrap();
    // As `apply` begins them.
    found.sort_by_key(|found| std::cmp::Reverse(found.size));
    let specs = found.into_iter().map(|found| {
        let key = ObjectKey::new(&found.path).unwrap();
        TransferSpec {
            target: Place {
                backend: backends[1].name.clone(),
                path: key.path_in_copy(&dataset),
            },
            dataset: dataset.clone(),
            key,
            size: ByteCount(found.size),
            sha256: None,
            blake3: None,
            source: Place {
                backend: backends[0].name.clone(),
                path: found.path,
            },
            alternatives: Vec::new(),
            target_recorded: TargetRecorded::Nothing,
            allow_create_root: true,
            verify,
        }
    });
    let mut failed = 0;
    worker
        .transfer_many(specs, at_once, &progress, &cancel, |_, result| {
            if let Err(failure) = result {
                failed += 1;
                println!("{failure}");
            }
            std::future::ready(())
        })
        .await;
    println!(
        "{} bytes written, {} verified, {failed} failed, {:.2} s",
        progress.bytes_written(),
        progress.bytes_verified(),
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(failed, 0, "every object has to come through");
}
