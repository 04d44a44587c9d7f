//! Reading what lies in one dataset's copies, and adopting what is right.

use std::collections::{BTreeMap, BTreeSet};

use domicile_catalogue::{CatalogueError, Finding, Inspection, PendingObject};
use domicile_estate::{BackendName, Dataset, DatasetName, ObjectKey};
use domicile_movers::{Digests, Failure, Place, Seen};
use futures::StreamExt as _;

use super::lists::Lists;
use super::lying::Objects;
use super::vote::Vote;
use crate::carry::{Carrier, judge, now_ms};

/// Objects read from the catalogue at once.
const PAGE: u32 = 256;
/// Objects read back at once.
const OBJECTS: usize = 8;
/// What is told of one dataset, one by one.
const TOLD: usize = 20;

/// What came of one dataset.
#[derive(Debug, Default)]
pub struct Adoption {
    /// Whether its origin was read.
    pub origin: bool,
    /// Objects of each copy that were read and match.
    pub whole: BTreeMap<BackendName, u64>,
    /// Objects that only copies told of, and whose bytes are those that a list of digests names.
    pub by_list: u64,
    /// Objects that only copies told of, that no list names, and that they agree on.
    pub by_agreement: u64,
    /// Objects that a list of digests names, and that lie nowhere.
    pub missing: u64,
    /// Objects whose bytes are not those of the dataset's object, or on which copies do not agree.
    pub differing: u64,
    /// Objects that could not be read.
    pub unread: u64,
    /// What a person should know, the first of it.
    pub told: Vec<String>,
}

impl Adoption {
    pub(super) fn tell(&mut self, text: String) {
        if self.told.len() < TOLD {
            self.told.push(text);
        }
    }

    fn count(&mut self, backend: &BackendName, objects: u64) {
        *self.whole.entry(backend.clone()).or_default() += objects;
    }
}

/// Reads for one dataset.
pub struct Adopting<'a> {
    /// The catalogue and the mover's hands.
    pub carrier: &'a Carrier,
    /// The dataset.
    pub dataset: &'a Dataset,
    /// What lies in what may be its copies.
    pub copies: &'a BTreeMap<BackendName, Objects>,
    /// What the lists of digests beside them say.
    pub lists: &'a Lists,
}

impl Adopting<'_> {
    /// Reads the origin if it is there, then the copies against it, then what only copies have against one another.
    pub async fn run(&self, origin: Option<&BackendName>) -> Result<Adoption, CatalogueError> {
        let mut adoption = Adoption::default();
        self.tell_lists(&mut adoption);
        if let Some(origin) = origin {
            adoption.origin = true;
            self.read_known(origin, None, &mut adoption).await?;
        }
        for (backend, there) in self.copies {
            self.read_known(backend, Some(there), &mut adoption).await?;
        }
        self.agree(&mut adoption).await?;
        Ok(adoption)
    }

    fn tell_lists(&self, adoption: &mut Adoption) {
        adoption.unread += self.lists.unread.len() as u64;
        for failure in &self.lists.unread {
            adoption.tell(failure.to_string());
        }
        for (backend, blake3) in &self.lists.damaged {
            adoption.tell(format!(
                "backend `{backend}`: the list of digests `{blake3}` is damaged and counts for nothing; the next `apply` \
                 writes it anew"
            ));
        }
    }

    fn name(&self) -> &DatasetName {
        &self.dataset.name
    }

    /// Reads the registered objects that are not yet known to be whole there: of a copy those that were listed.
    async fn read_known(
        &self,
        backend: &BackendName,
        there: Option<&Objects>,
        adoption: &mut Adoption,
    ) -> Result<(), CatalogueError> {
        let catalogue = &self.carrier.catalogue;
        let mut after: Option<ObjectKey> = None;
        let mut begun = false;
        loop {
            let page = catalogue
                .objects_missing_on(self.name(), backend, after.as_ref(), PAGE)
                .await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            let page: Vec<PendingObject> = page
                .into_iter()
                .filter(|object| there.is_none_or(|there| there.contains_key(&object.key)))
                .collect();
            let mut results: Vec<(PendingObject, Result<Seen, Failure>)> = Vec::new();
            let reads: Vec<_> = page
                .into_iter()
                .map(|object| async move {
                    let digests = match (&object.sha256, &object.blake3) {
                        (Some(_), None) => Digests::Both,
                        _ => Digests::Blake3,
                    };
                    let judge = |seen: &Seen| self.judge(&object, seen);
                    let seen = self.read(&object.key, backend, digests, &judge).await;
                    (object, seen)
                })
                .collect();
            let mut reads = futures::stream::iter(reads).buffered(OBJECTS);
            while let Some(result) = reads.next().await {
                results.push(result);
            }
            let found = conclude((backend, there.is_none()), results, self.lists, adoption);
            if found.is_empty() {
                continue;
            }
            if there.is_some() && !begun {
                catalogue.begin_copy(self.name(), backend).await?;
                begun = true;
            }
            catalogue.record_scrubbed(&found).await?;
            adoption.count(backend, found.len() as u64);
        }
        if begun {
            catalogue.end_copy(self.name(), backend).await?;
        }
        Ok(())
    }

    /// Whether what was read is right, where anything tells: what is registered, or a list.
    fn judge(&self, object: &PendingObject, seen: &Seen) -> Option<bool> {
        let known = judge((object.size, &object.sha256, &object.blake3), seen);
        known.or_else(|| self.lists.prove(&object.key, &seen.blake3).then_some(true))
    }

    /// Reads an object; once more where nothing tells whether the first reading is right, or it is not.
    async fn read(
        &self,
        key: &ObjectKey,
        backend: &BackendName,
        digests: Digests,
        judge: &(dyn Fn(&Seen) -> Option<bool> + Sync),
    ) -> Result<Seen, Failure> {
        let place: Place = self.carrier.layout.place(self.name(), key, backend);
        let Carrier {
            worker,
            progress,
            cancel,
            meter,
            ..
        } = self.carrier;
        let seen = worker.read_surely(&place, digests, judge, progress, cancel).await;
        meter.add_object();
        meter.add_bytes(seen.as_ref().map_or(0, |seen| seen.size));
        seen
    }

    /// Adopts what no origin tells of: where the copies that have an object agree on its bytes, or most of them do.
    async fn agree(&self, adoption: &mut Adoption) -> Result<(), CatalogueError> {
        let mut keys: BTreeMap<&ObjectKey, Vec<&BackendName>> = BTreeMap::new();
        for (backend, there) in self.copies {
            for key in there.keys() {
                keys.entry(key).or_default().push(backend);
            }
        }
        let mut missing: BTreeSet<&ObjectKey> = self.lists.keys().collect();
        missing.retain(|key| !keys.contains_key(key));
        let catalogue = &self.carrier.catalogue;
        let mut after: Option<ObjectKey> = None;
        loop {
            let page = catalogue.objects(self.name(), after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.object.key.clone());
            for known in page {
                keys.remove(&known.object.key);
                missing.remove(&known.object.key);
            }
        }
        for key in missing {
            adoption.missing += 1;
            let shown = key.as_str().escape_debug();
            adoption.tell(format!(
                "object `{shown}`: a list of digests names it, and no backend that was listed has it"
            ));
        }
        let keys: Vec<_> = keys.into_iter().collect();
        for chunk in keys.chunks(PAGE as usize) {
            let votes: Vec<_> = chunk
                .iter()
                .map(|(key, backends)| self.vote(key, backends))
                .collect();
            let votes: Vec<_> = futures::stream::iter(votes).buffered(OBJECTS).collect().await;
            let mut adopted = Vec::new();
            for vote in votes {
                adopted.extend(vote.decide(self.lists, adoption));
            }
            catalogue.adopt(self.name(), &adopted, now_ms()).await?;
            for object in &adopted {
                if self.lists.prove(&object.key, &object.blake3) {
                    adoption.by_list += 1;
                } else {
                    adoption.by_agreement += 1;
                }
                for holder in &object.holders {
                    adoption.count(holder, 1);
                }
            }
        }
        Ok(())
    }

    async fn vote(&self, key: &ObjectKey, backends: &[&BackendName]) -> Vote {
        let mut vote = Vote {
            key: key.clone(),
            seen: BTreeMap::new(),
            unread: Vec::new(),
        };
        for backend in backends {
            let judge = |seen: &Seen| {
                let proven = self.lists.prove(key, &seen.blake3);
                self.lists.names(key).then_some(proven)
            };
            match self.read(key, backend, Digests::Blake3, &judge).await {
                Ok(seen) => {
                    let holders = vote.seen.entry((seen.size, seen.blake3)).or_default();
                    holders.insert((*backend).clone());
                }
                Err(failure) => vote.unread.push(failure),
            }
        }
        vote
    }
}

/// What was read and matches. At an origin the first reading says what is right, in a copy of whose origin an object could
/// not be read its list.
fn conclude(
    (backend, origin): (&BackendName, bool),
    results: Vec<(PendingObject, Result<Seen, Failure>)>,
    lists: &Lists,
    adoption: &mut Adoption,
) -> Vec<Inspection> {
    let mut found = Vec::new();
    for (object, seen) in results {
        let shown = object.key.as_str().escape_debug();
        let seen = match seen {
            Ok(seen) => seen,
            Err(failure) => {
                adoption.unread += 1;
                adoption.tell(failure.to_string());
                continue;
            }
        };
        let is_listed = lists.prove(&object.key, &seen.blake3);
        let known = object.sha256.is_some() || object.blake3.is_some() || is_listed;
        let same = judge((object.size, &object.sha256, &object.blake3), &seen) != Some(false);
        if !known && !origin {
            adoption.unread += 1;
            adoption.tell(format!(
                "backend `{backend}`: object `{shown}`: its origin could not be read, so that nothing tells whether it is \
                 right"
            ));
        } else if same {
            found.push(Inspection {
                object_id: object.object_id,
                backend: backend.clone(),
                finding: Finding::Whole {
                    sha256: seen.sha256,
                    blake3: seen.blake3,
                },
                at_ms: now_ms(),
            });
        } else {
            adoption.differing += 1;
            adoption.tell(format!(
                "backend `{backend}`: object `{shown}`: other bytes than the dataset's object; left as it is{}",
                if is_listed {
                    ". They are those of its list of digests: the origin has changed or was damaged since"
                } else {
                    ""
                }
            ));
        }
    }
    found
}
