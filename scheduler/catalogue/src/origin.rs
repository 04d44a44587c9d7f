//! Listings of origins, compared with what is registered. One pure comparison serves both `plan`, which only looks
//! at what would follow, and `apply`, which records it.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{ByteCount, DatasetName, ObjectKey, Observed, Origin, OriginFinding};
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::dataset::{OriginRow, is_place_of_copies, is_retiring, origin_row};
use crate::error::CatalogueError;
use crate::observed::{Tally, known, surroundings, tally};
use crate::origin_rows::{
    Known, Transition, insert_objects, known_objects, note_origin, write_dates, write_findings,
    write_transitions,
};
use crate::row::{PlacedState, backend_name, known_backend_id, raise_revision};

/// What lies at an origin now.
#[derive(Debug, Clone, PartialEq)]
pub struct OriginListing {
    /// The dataset.
    pub dataset: DatasetName,
    /// Where was looked.
    pub origin: Origin,
    /// Every object that a backend could hold.
    pub objects: Vec<ListedObject>,
    /// Names that were refused and things that are no files.
    pub findings: Vec<OriginFinding>,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key, below the origin's prefix.
    pub key: ObjectKey,
    /// Its size.
    pub size: ByteCount,
    /// When it was last written, in milliseconds since 1970, if the store tells.
    pub modified_ms: Option<i64>,
}

/// How an origin differs from what is registered.
#[derive(Debug, Clone, PartialEq)]
pub struct OriginDiff {
    /// The dataset.
    pub dataset: DatasetName,
    /// Objects that are new, by key.
    pub added: Vec<ListedObject>,
    /// Objects that are no longer there, by key.
    pub gone: Vec<ObjectKey>,
    /// Objects of another size or time than was registered, by key, as they are now.
    pub changed: Vec<ListedObject>,
    /// Names that were refused and things that are no files.
    pub refused: Vec<OriginFinding>,
}

impl OriginDiff {
    fn findings(&self) -> BTreeSet<OriginFinding> {
        let gone = self.gone.iter().map(|key| OriginFinding::Gone {
            key: key.as_str().to_owned(),
        });
        let changed = self.changed.iter().map(|object| OriginFinding::Changed {
            key: object.key.as_str().to_owned(),
        });
        gone.chain(changed).chain(self.refused.iter().cloned()).collect()
    }
}

/// What planning would start from if listings were recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreseen {
    /// The catalogue's view with the listings in it. The revision is that of the catalogue as it is.
    pub observed: Observed,
    /// How each listing differs, in the order of the listings; released and retiring origins are left out.
    pub diffs: Vec<OriginDiff>,
}

/// What one listing changes.
struct Comparison {
    diff: OriginDiff,
    /// Objects whose state at the origin changes: number, size, from, to.
    transitions: Vec<Transition>,
    /// Objects whose time was not known and is now.
    dated: Vec<(i64, i64)>,
}

#[derive(Clone, Copy)]
enum Seen {
    Same,
    Changed,
    Gone,
}

/// The state of an object at its origin after a listing, where it changes.
fn next_state(state: Option<PlacedState>, seen: Seen) -> Option<PlacedState> {
    match (seen, state) {
        (Seen::Gone, Some(PlacedState::Gone)) => None,
        (Seen::Gone, _) => Some(PlacedState::Gone),
        // Other bytes than those that were verified lie there, or it came back and nobody has read it since.
        (Seen::Changed, Some(PlacedState::Verified | PlacedState::Gone))
        | (Seen::Same, Some(PlacedState::Gone)) => Some(PlacedState::Unknown),
        (Seen::Changed | Seen::Same, _) => None,
    }
}

fn compare(known: &[Known], listing: &OriginListing) -> Comparison {
    let mut listed: BTreeMap<&ObjectKey, &ListedObject> = listing
        .objects
        .iter()
        .map(|object| (&object.key, object))
        .collect();
    let mut diff = OriginDiff {
        dataset: listing.dataset.clone(),
        added: Vec::new(),
        gone: Vec::new(),
        changed: Vec::new(),
        refused: listing.findings.clone(),
    };
    let mut transitions = Vec::new();
    let mut dated = Vec::new();
    for object in known {
        let seen = match listed.remove(&object.key) {
            None => {
                diff.gone.push(object.key.clone());
                Seen::Gone
            }
            Some(now) if differs(object, now) => {
                diff.changed.push(now.clone());
                Seen::Changed
            }
            Some(now) => {
                if let (None, Some(modified_ms)) = (object.modified_ms, now.modified_ms) {
                    dated.push((object.id, modified_ms));
                }
                Seen::Same
            }
        };
        if let Some(to) = next_state(object.at_origin, seen) {
            transitions.push(Transition {
                object: object.id,
                size: object.size,
                from: object.at_origin,
                to,
            });
        }
    }
    diff.added = listed.into_values().cloned().collect();
    diff.refused.sort();
    diff.refused.dedup();
    Comparison {
        diff,
        transitions,
        dated,
    }
}

/// Times count only where both are known.
fn differs(known: &Known, now: &ListedObject) -> bool {
    let times = known.modified_ms.zip(now.modified_ms);
    known.size != now.size || times.is_some_and(|(was, is)| was != is)
}

impl Catalogue {
    /// How an origin differs from what is registered, without recording it.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn diff_origin(&self, listing: &OriginListing) -> Result<OriginDiff, CatalogueError> {
        let mut tx = self.read().await?;
        let relation = relate(&mut tx, listing).await?;
        if matches!(relation, Relation::Closed) {
            return Ok(no_difference(listing));
        }
        let known = relation.known(&mut tx, listing).await?;
        Ok(compare(&known, listing).diff)
    }

    /// What planning would start from if these listings were recorded, each after the registration of its dataset
    /// with that origin. Nothing is written. `observed` is what planning started from before, with the same minimums:
    /// only the listed datasets are read anew, unless the catalogue has changed since.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn observed_with(
        &self,
        mut observed: Observed,
        minimums: &[ByteCount],
        listings: &[OriginListing],
    ) -> Result<Foreseen, CatalogueError> {
        let mut tx = self.read().await?;
        let before = observed.revision;
        surroundings(&mut tx, &mut observed).await?;
        if observed.revision != before {
            observed = known(&mut tx, minimums, false).await?.observed;
        }
        let mut diffs = Vec::new();
        for listing in listings {
            let relation = relate(&mut tx, listing).await?;
            if matches!(relation, Relation::Closed) {
                continue;
            }
            let known = relation.known(&mut tx, listing).await?;
            let comparison = compare(&known, listing);
            let registered = match relation.dataset() {
                Some(id) => tally(&mut tx, id, minimums).await?,
                None => None,
            };
            let mut tally = registered.unwrap_or_else(|| Tally::empty(asked(minimums)));
            foresee(&mut tx, &mut tally, &relation, listing).await?;
            take(&mut tally, &comparison, listing);
            observed
                .datasets
                .insert(listing.dataset.clone(), tally.observed());
            diffs.push(comparison.diff);
        }
        Ok(Foreseen { observed, diffs })
    }

    /// Records what lies at an origin: new objects join, gone and changed ones are noted as findings, what is
    /// registered of them stays. A listing of an origin whose deletion has begun changes nothing.
    ///
    /// Whether an empty listing is the truth or a root that is not mounted is for the caller to decide.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`] and [`CatalogueError::OtherOrigin`] if the dataset was not registered
    /// with this origin; nothing is changed then.
    pub async fn record_origin(&self, listing: &OriginListing) -> Result<OriginDiff, CatalogueError> {
        let mut tx = self.write().await?;
        let (dataset, backend) = match relate(&mut tx, listing).await? {
            Relation::Same { dataset, backend } => (dataset, backend),
            Relation::Closed => return Ok(no_difference(listing)),
            Relation::New => {
                return Err(CatalogueError::UnknownDataset {
                    dataset: listing.dataset.clone(),
                });
            }
            Relation::Other(_) => {
                return Err(CatalogueError::OtherOrigin {
                    dataset: listing.dataset.clone(),
                });
            }
        };
        let known = known_objects(&mut tx, dataset, Some(backend)).await?;
        let comparison = compare(&known, listing);
        let mut changed = note_origin(&mut tx, dataset, backend).await?;
        changed |= insert_objects(&mut tx, dataset, &comparison.diff.added).await?;
        changed |= write_transitions(&mut tx, dataset, backend, &comparison.transitions).await?;
        changed |= write_findings(&mut tx, dataset, &comparison.diff.findings()).await?;
        write_dates(&mut tx, &comparison.dated).await?;
        if changed {
            raise_revision(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(comparison.diff)
    }
}

fn no_difference(listing: &OriginListing) -> OriginDiff {
    OriginDiff {
        dataset: listing.dataset.clone(),
        added: Vec::new(),
        gone: Vec::new(),
        changed: Vec::new(),
        refused: Vec::new(),
    }
}

/// How a listing's origin stands to the recorded one.
enum Relation {
    /// The dataset is not registered.
    New,
    /// It is the recorded origin.
    Same { dataset: i64, backend: i64 },
    /// Another origin, or none, is recorded.
    Other(OriginRow),
    /// It was retired, or its deletion has begun.
    Closed,
}

/// Minimum object sizes in the order of a tally, each once.
fn asked(minimums: &[ByteCount]) -> impl Iterator<Item = ByteCount> {
    minimums.iter().copied().collect::<BTreeSet<_>>().into_iter()
}

impl Relation {
    /// The number of the dataset.
    fn dataset(&self) -> Option<i64> {
        match self {
            Self::New | Self::Closed => None,
            Self::Same { dataset, .. } => Some(*dataset),
            Self::Other(row) => Some(row.id),
        }
    }

    /// The objects that a listing is compared with, and what would be known of them at that origin.
    async fn known(
        &self,
        connection: &mut SqliteConnection,
        listing: &OriginListing,
    ) -> Result<Vec<Known>, CatalogueError> {
        match self {
            Self::New | Self::Closed => Ok(Vec::new()),
            Self::Same { dataset, backend } => known_objects(connection, *dataset, Some(*backend)).await,
            Self::Other(row) => {
                let backend = known_backend_id(connection, &listing.origin.backend).await?;
                let stays = match backend {
                    Some(backend) => {
                        is_place_of_copies(&listing.dataset, &listing.origin.prefix)
                            && row.origin_backend_id != Some(backend)
                            && !is_retiring(connection, row.id, backend).await?
                    }
                    None => false,
                };
                let mut known = known_objects(connection, row.id, backend.filter(|_| stays)).await?;
                // Registering this origin forgets them.
                for object in &mut known {
                    object.modified_ms = None;
                }
                Ok(known)
            }
        }
    }
}

async fn relate(
    connection: &mut SqliteConnection,
    listing: &OriginListing,
) -> Result<Relation, CatalogueError> {
    let Some(row) = origin_row(connection, &listing.dataset).await? else {
        return Ok(Relation::New);
    };
    let Some(backend) = known_backend_id(connection, &listing.origin.backend).await? else {
        return Ok(Relation::Other(row));
    };
    if row.is_released(backend, &listing.origin.prefix) {
        return Ok(Relation::Closed);
    }
    if row.origin_backend_id != Some(backend) || row.origin_prefix != listing.origin.prefix {
        return Ok(Relation::Other(row));
    }
    Ok(if is_retiring(connection, row.id, backend).await? {
        Relation::Closed
    } else {
        Relation::Same {
            dataset: row.id,
            backend,
        }
    })
}

/// What registering the dataset with this origin would do to the tally: the same as `register_dataset` does.
async fn foresee(
    connection: &mut SqliteConnection,
    tally: &mut Tally,
    relation: &Relation,
    listing: &OriginListing,
) -> Result<(), CatalogueError> {
    let Relation::Other(row) = relation else {
        return Ok(());
    };
    let stays_as_copy = is_place_of_copies(&listing.dataset, &listing.origin.prefix);
    if let Some(old) = row.origin_backend_id {
        let name: String = sqlx::query_scalar("SELECT name FROM backends WHERE id = ?")
            .bind(old)
            .fetch_one(connection)
            .await?;
        let stays = name != listing.origin.backend.as_str()
            && is_place_of_copies(&listing.dataset, &row.origin_prefix);
        let name = backend_name(&name)?;
        if stays && tally.copy(&name).is_some() {
            tally.copy_entry(&name).origin = false;
        } else {
            tally.remove_copy(name.as_str());
        }
    }
    let there = tally.copy(&listing.origin.backend);
    if !stays_as_copy || there.is_some_and(|copy| copy.retiring) {
        tally.remove_copy(listing.origin.backend.as_str());
    }
    Ok(())
}

/// Takes a comparison into a tally.
fn take(tally: &mut Tally, comparison: &Comparison, listing: &OriginListing) {
    for object in &comparison.diff.added {
        tally.objects += 1;
        tally.bytes += object.size.0;
        for (minimum, sum) in &mut tally.billable {
            sum.0 += object.size.0.max(minimum.0);
        }
    }
    let counts = tally.copy_entry(&listing.origin.backend);
    counts.origin = true;
    for transition in &comparison.transitions {
        let (from, to) = (transition.from, Some(transition.to));
        let step =
            |number: u64, state| number + u64::from(to == Some(state)) - u64::from(from == Some(state));
        counts.verified_objects = step(counts.verified_objects, PlacedState::Verified);
        counts.damaged_objects = step(counts.damaged_objects, PlacedState::Damaged);
        counts.gone_objects = step(counts.gone_objects, PlacedState::Gone);
        let bytes = |sum: u64, state| {
            let sum = sum + if to == Some(state) { transition.size.0 } else { 0 };
            sum - if from == Some(state) { transition.size.0 } else { 0 }
        };
        counts.verified_bytes = bytes(counts.verified_bytes, PlacedState::Verified);
        counts.gone_bytes = bytes(counts.gone_bytes, PlacedState::Gone);
    }
    tally.findings = comparison.diff.findings().into_iter().collect();
}
