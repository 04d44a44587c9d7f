//! The checksums that stores tell are kept beside the digests that they belong to.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

mod support;

use domicile_catalogue::Mode;
use support::Fixture;

#[tokio::test]
async fn a_checksum_is_kept_as_it_was_first_told_with_all_its_bits() {
    let fixture = Fixture::new().await;
    let (one, two) = ("0a".repeat(32), "ff".repeat(32));
    let kept = [(one.clone(), u64::MAX - 1), (two.clone(), 7)];
    fixture.catalogue.keep_checksums(&kept).await.unwrap();
    fixture
        .catalogue
        .keep_checksums(&[(two.clone(), 8)])
        .await
        .unwrap();
    let again = fixture.reopened(Mode::ReadOnly).await;
    let again = &again.catalogue;
    assert_eq!(again.checksum(&one).await.unwrap(), Some(u64::MAX - 1));
    assert_eq!(again.checksum(&two).await.unwrap(), Some(7));
    assert_eq!(again.checksum(&"0b".repeat(32)).await.unwrap(), None);
    assert!(again.checksum("no digest").await.is_err());
}
