//! What is known of staged bytes before they take the place of others, and what lies under a second name for that.

use domicile_movers::invariants::mv4_replaces_by_what_is_shown;
use domicile_movers::{Answer, Publication, Reply, Seen};

use super::carry::Fault;
use super::store::{TURNED, seen};
use super::{Fleet, Mistake, Shows, Worker};

impl Fleet {
    /// What is staged, read back: bytes may have turned on their way there, or turn on their way here.
    pub(super) fn show(&mut self, worker: &mut Worker, mut content: Vec<u64>, fault: Fault) -> Reply {
        if self.case.shows == Shows::Refuses || self.case.mistake == Mistake::ReplacesUnseen {
            return Reply::Answer(Answer::Assured);
        }
        if self.case.shows == Shows::Spare {
            match self.put_spare(worker, &content, fault) {
                Some(spare) => content = spare,
                None => return Reply::Fenced,
            }
        } else if fault == Fault::Turn {
            content[0] |= TURNED;
        }
        worker.shown = Some(seen(&content));
        Reply::Answer(Answer::Contents(seen(&content)))
    }

    /// Puts bytes under the second name, unless they lie there already: it may be all that is left. Returns what is read
    /// there; `None` if the lease is lost.
    fn put_spare(&mut self, worker: &Worker, content: &[u64], fault: Fault) -> Option<Vec<u64>> {
        let has_lease = worker.epoch.0 == self.catalogue.epoch;
        if !has_lease && self.case.mistake != Mistake::SpareWithoutLease {
            return None;
        }
        if self.store.spare.as_deref() != Some(content) {
            let mut spare = content.to_vec();
            if fault == Fault::Turn {
                spare[0] |= TURNED;
            }
            self.store.spare = Some(spare);
        }
        self.store.spare.clone()
    }

    /// The object is verified: the second name has served. The lease is asked for right before.
    pub(super) fn remove_spare(&mut self, worker: &Worker) {
        let has_lease = worker.epoch.0 == self.catalogue.epoch;
        if has_lease || self.case.mistake == Mistake::UnguardedSpare {
            self.store.spare = None;
        }
    }

    /// MV-4: the bytes that take the place of others were seen at the store, or it refuses all others.
    pub(super) fn check_was_shown(&self, shown: Option<Seen>, publication: Publication, content: &[u64]) {
        let assured = self.case.shows == Shows::Refuses || publication == Publication::New;
        assert!(
            mv4_replaces_by_what_is_shown(shown.as_ref(), assured, &seen(content)),
            "MV-4: {content:?} replaces, and {shown:?} was shown"
        );
    }
}
