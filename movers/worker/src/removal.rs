//! Deleting what is recorded, and nothing that somebody has put in its place.

use domicile_estate::{ByteCount, DatasetName};
use domicile_movers::{Failure, FailureClass, Place};

use crate::progress::Cancel;
use crate::replacing::{keeps_spares, spare_path};
use crate::role::Role;
use crate::store::Store;
use crate::worker::Worker;

impl Worker {
    /// Deletes an object, and looks that it is gone. One that is not there is deleted. With `size`, what has another
    /// size stays; and whatever it is that was looked at, nothing goes that took its place meanwhile. With `dataset`,
    /// folders of our copy that this leaves empty go too.
    ///
    /// # Errors
    /// `TargetConflict` if something else lies there, else as [`Worker::delete`].
    pub async fn delete_recorded(
        &self,
        place: &Place,
        dataset: Option<&DatasetName>,
        size: Option<ByteCount>,
        cancel: &Cancel,
    ) -> Result<(), Failure> {
        let store = self.stores.at(place)?;
        let in_copy = dataset.is_some_and(|dataset| {
            let below = place.path.strip_prefix(dataset.as_str());
            below.is_some_and(|rest| rest.starts_with('/'))
        });
        self.retrying(cancel, || delete(&*store, place, size, in_copy))
            .await?;
        if in_copy && keeps_spares(&*store).await {
            // Its replacement may have been cut off, or have ended when nobody could say whose the second name is. It goes
            // last: where the object stays, it may be the only sound one.
            let spare = spare_path(&place.path);
            self.retrying(cancel, || store.delete(&spare, None, false))
                .await?;
        }
        Ok(())
    }
}

async fn delete(
    store: &dyn Store,
    place: &Place,
    size: Option<ByteCount>,
    in_copy: bool,
) -> Result<(), Failure> {
    let refused = |class, message| Failure::of_place(class, place, message);
    let found = store.stat(&place.path, Role::Target).await?;
    if let (Some(found), Some(size)) = (&found, size)
        && found.size != size.0
    {
        let message = format!(
            "it has {} bytes and {} are recorded: somebody has changed it, so it is not deleted; `domicile dataset \
             scrub` looks at all of them",
            found.size, size.0
        );
        return Err(refused(FailureClass::TargetConflict, message));
    }
    // Where nothing is, folders may have been left empty.
    let only = found.as_ref().map(|found| &found.version);
    store.delete(&place.path, only, in_copy).await?;
    if found.is_some() && store.stat(&place.path, Role::Target).await?.is_some() {
        let message = "it was deleted, and something lies there still".to_owned();
        return Err(refused(FailureClass::Transient, message));
    }
    Ok(())
}
