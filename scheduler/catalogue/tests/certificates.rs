//! What stores have shown is kept, the last word for each, and planning does not see it.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod support;

use domicile_catalogue::Mode;
use support::{Fixture, backend};

#[tokio::test]
async fn the_last_certificate_of_each_store_is_kept() {
    let fixture = Fixture::new().await;
    let before = fixture.catalogue.revision().await.unwrap();
    for (name, shown) in [("a", "{\"version\":1}"), ("b", "{}"), ("a", "{\"version\":2}")] {
        let backend = backend(name);
        let kept = fixture.catalogue.set_certificate(&backend, "S3 bucket=x", shown);
        kept.await.unwrap();
    }
    assert_eq!(fixture.catalogue.revision().await.unwrap(), before);
    let again = fixture.reopened(Mode::ReadOnly).await;
    let kept = again.catalogue.certificates().await.unwrap();
    assert_eq!(kept.len(), 2);
    let of_a = &kept[&backend("a")];
    assert_eq!(
        (of_a.place.as_str(), of_a.shown.as_str()),
        ("S3 bucket=x", "{\"version\":2}")
    );
    assert!(of_a.taken_ms > 1_700_000_000_000, "{}", of_a.taken_ms);
}
