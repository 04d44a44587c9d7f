//! A new version of an object, or a sound one for a damaged one, in the place of what lies there: the old bytes go only when
//! the new ones are known to lie at the store.
//!
//! - Where files are renamed, the file is read back under its temporary name.
//! - A store that has shown that it refuses a wrong checksum publishes only what it has compared itself: a part or an
//!   object with other bytes never came in.
//! - Any other store shows nothing until the old bytes are gone. There the new ones are put under a second name, read back,
//!   and stay there until the object itself was read back. A later transfer can read them there, too.

use domicile_estate::TEMPORARY_PREFIX;
use domicile_movers::{
    Answer, Digests, Failure, FailureClass, Place, Publication, Seen, TargetRecorded, TransferSpec,
};

use crate::carry::{Carrier, StagedHow, read};
use crate::progress::Progress;
use crate::role::Role;
use crate::store::{Aim, Part, Published, Store, folder_of, size_of_chunks};

/// Whether new bytes are put under a second name before they replace others.
pub(crate) async fn keeps_spares(store: &dyn Store) -> bool {
    !store.capabilities().shows_staged && !store.proven().await.checksums
}

/// The second name of an object: the same each time, so that any later transfer finds what lies there.
pub(crate) fn spare_path(path: &str) -> String {
    let digest = blake3::hash(path.as_bytes()).to_hex();
    format!(
        "{}{TEMPORARY_PREFIX}{}.spare",
        folder_of(path),
        &digest.as_str()[..16]
    )
}

/// Whether a name is of the form that we give to second names. Others that begin alike are somebody's.
pub(crate) fn is_spare(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let hash = name
        .strip_prefix(TEMPORARY_PREFIX)
        .and_then(|rest| rest.strip_suffix(".spare"));
    hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl Carrier {
    fn spare(&self) -> Place {
        Place {
            backend: self.spec.target.backend.clone(),
            path: spare_path(&self.spec.target.path),
        }
    }

    pub(crate) async fn may_have_spare(&self) -> bool {
        self.spec.target_recorded == TargetRecorded::Ours && keeps_spares(&*self.target).await
    }

    /// What is to be transferred; what an earlier transfer that was cut off has put under the second name is a source too.
    pub(crate) async fn spec_with_spare(&self) -> Result<TransferSpec, Failure> {
        let mut spec = self.spec.clone();
        if self.may_have_spare().await {
            let spare = self.spare();
            let found = self.target.stat(&spare.path, Role::Target).await?;
            if found.is_some_and(|found| found.size == spec.size.0) {
                spec.alternatives.push(spare);
            }
        }
        Ok(spec)
    }

    /// The object is verified: the second name has served.
    pub(crate) async fn remove_spare(&self) {
        if !self.may_have_spare().await {
            return;
        }
        if let Err(failure) = self.target.delete(&self.spare().path, None, false).await {
            tracing::info!("the second name of a replaced object stays: {failure}");
        }
    }

    /// Reads back what is staged, before it replaces what is there.
    pub(crate) async fn read_staged(&mut self, source: &Place) -> Result<Answer, Failure> {
        self.stage_where_it_shows().await?;
        let Some(staged) = &self.staged else {
            return Err(self.lost("nothing is staged"));
        };
        if let StagedHow::Parts(upload, _) = &staged.how
            && let Some(seen) = self.watch.or_stop(upload.seen()).await??
        {
            self.watch.progress.add_verified(seen.size);
            return Ok(Answer::Contents(seen));
        }
        self.assured_or_spared(source).await
    }

    /// A small object that is held in memory goes to where it can be read back.
    async fn stage_where_it_shows(&mut self) -> Result<(), Failure> {
        if !self.target.capabilities().shows_staged {
            return Ok(());
        }
        let whole = match &self.staged {
            Some(staged) => match &staged.how {
                StagedHow::Whole(whole, _) => whole.clone(),
                StagedHow::Parts(..) => return Ok(()),
            },
            None => return Ok(()),
        };
        let (tag, replaces) = (self.tag(), self.looked_at.clone());
        let aim = Aim {
            replaces: replaces.as_ref(),
            ..self.aim(Publication::Replace, &tag)
        };
        let upload = self.watch.or_stop(self.target.begin(aim)).await??;
        let part = Part {
            number: 1,
            offset: 0,
            chunks: whole.chunks,
            checksum: whole.checksum,
        };
        let put = self.watch.or_stop(upload.put_part(&part)).await;
        let Ok(Ok(Some(stored))) = put else {
            upload.abort().await;
            let lost = || self.lost("the store has lost the upload");
            return Err(put.and_then(|put| put).err().unwrap_or_else(lost));
        };
        if let Some(staged) = &mut self.staged {
            staged.how = StagedHow::Parts(upload, vec![stored]);
        }
        Ok(())
    }

    /// For a store that shows nothing before it is published.
    pub(crate) async fn assured_or_spared(&mut self, source: &Place) -> Result<Answer, Failure> {
        // Of nothing no bit can turn.
        if self.spec.size.0 == 0 || !keeps_spares(&*self.target).await {
            return Ok(Answer::Assured);
        }
        let spare = self.spare();
        if *source == spare {
            // It lies there already, and was just read from there with the right digest.
            return Ok(Answer::Assured);
        }
        let found = self.target.stat(&spare.path, Role::Target).await?;
        if found.is_some_and(|found| found.size == self.spec.size.0) {
            // What lies there whole is not written again: it may be all that is left. Only two readings that agree say that
            // it is something else.
            let first = self.read_spare(&spare).await?;
            let whole = |seen: &Seen| match &self.staged {
                Some(staged) => staged.proof.seen.same_bytes(seen),
                None => self.spec.matches(seen),
            };
            if whole(&first) || self.read_spare(&spare).await? != first {
                return Ok(Answer::Contents(first));
            }
        }
        self.put_spare(&spare, source).await?;
        self.read_spare(&spare).await.map(Answer::Contents)
    }

    async fn read_spare(&self, spare: &Place) -> Result<Seen, Failure> {
        let at = (spare.path.as_str(), Role::Target);
        let count = Progress::add_verified;
        read(&*self.target, at, Digests::Blake3, count, &self.watch).await
    }

    async fn put_spare(&mut self, spare: &Place, source: &Place) -> Result<(), Failure> {
        let tag = self.tag();
        let whole = self.staged.as_ref().and_then(|staged| match &staged.how {
            StagedHow::Whole(whole, _) => Some(whole.clone()),
            StagedHow::Parts(..) => None,
        });
        let published = match whole {
            // What is in memory already: asking for more of it might wait for ever.
            Some(whole) => {
                let aim = Aim {
                    path: &spare.path,
                    ..self.aim(Publication::Replace, &tag)
                };
                let put = self.watch.or_stop(self.target.put_whole(aim, &whole)).await??;
                self.watch.progress.add_written(size_of_chunks(&whole.chunks));
                put
            }
            None => {
                let mut second = self.beside(spare);
                let staged = second.stage_from(source, Publication::Replace).await?;
                if !self.spec.matches(&staged) {
                    second.discard().await;
                    return Err(self.lost("the source gave other bytes the second time"));
                }
                second.publish_staged(Publication::Replace, None).await?
            }
        };
        match published {
            Published::Done { .. } => Ok(()),
            Published::Occupied | Published::NoUpload => Err(Failure::of_object(
                FailureClass::Transient,
                &spare.backend,
                &spare.path,
                "it could not be put under a second name".to_owned(),
            )),
        }
    }

    /// The same transfer to another name.
    fn beside(&self, target: &Place) -> Self {
        Self {
            stores: self.stores.clone(),
            fan_out: self.fan_out.clone(),
            spec: TransferSpec {
                target: target.clone(),
                ..self.spec.clone()
            },
            target: self.target.clone(),
            watch: self.watch.clone(),
            staged: None,
            epoch: self.epoch,
            checksums: self.checksums.clone(),
            fetched_once: self.fetched_once,
            proof: None,
            must_look: true,
            skipped_look: false,
            looked_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_name_lies_beside_and_is_no_key() {
        let spare = spare_path("d/deep/k");
        assert!(spare.starts_with("d/deep/.domicile-") && spare.ends_with(".spare"));
        assert!(domicile_estate::ObjectKey::new(&spare[2..]).is_err());
        assert_ne!(spare, spare_path("d/deep/l"));
        assert!(is_spare(&spare) && !is_spare("d/.domicile-notes.spare") && !is_spare("d/k"));
    }
}
