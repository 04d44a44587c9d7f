//! Marks that show whether two places are one: each is noted in the catalogue before it is put, so that the next `apply`
//! removes what a kill has left.

use std::collections::BTreeSet;

use domicile_catalogue::{Catalogue, CatalogueError};
use domicile_estate::BackendName;
use domicile_movers::{Failure, FailureClass, Place};
use domicile_worker::{Cancel, Sameness, Worker, mark_below};

/// Whether one of the others is the very place; see [`Worker::one_place`].
pub async fn one_place(
    (catalogue, worker): (&Catalogue, &Worker),
    at: &Place,
    others: &[Place],
    cancel: &Cancel,
) -> Result<Result<Sameness, Failure>, CatalogueError> {
    let mark = mark_below(at);
    catalogue.intend_mark(&mark.backend, &mark.path).await?;
    let found = worker.one_place(&mark, others, cancel).await;
    let never_put = |failure: &Failure| failure.class == FailureClass::StoreMissing;
    if found.as_ref().map_or_else(never_put, |_| true) {
        catalogue.forget_mark(&mark.backend, &mark.path).await?;
    }
    Ok(found)
}

/// Removes the marks that killed runs have left on these backends. Returns what hindered it: the next run tries again.
pub async fn sweep(
    (catalogue, worker): (&Catalogue, &Worker),
    backends: &BTreeSet<&BackendName>,
    cancel: &Cancel,
) -> Result<Vec<Failure>, CatalogueError> {
    let mut hindered = Vec::new();
    for (backend, path) in catalogue.place_marks().await? {
        // What left the manifests cannot be reached.
        if !backends.contains(&backend) {
            continue;
        }
        let mark = Place { backend, path };
        match worker.remove_mark(&mark, cancel).await {
            Ok(()) => catalogue.forget_mark(&mark.backend, &mark.path).await?,
            Err(failure) => hindered.push(failure),
        }
    }
    Ok(hindered)
}
