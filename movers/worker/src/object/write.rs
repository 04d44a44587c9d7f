//! Writing to an object store: nobody sees an object before its last byte is there.

use bytes::Bytes;
use domicile_movers::{Failure, FailureClass, Publication};
use futures::StreamExt;
use opendal::options::{ListOptions, WriteOptions};
use opendal::{Buffer, Error, ErrorKind, Writer};

use super::ObjectStore;
use crate::role::Role;

/// Objects below this go in one request, larger ones in parts of this size.
pub(crate) const PART: u64 = 8 * 1024 * 1024;
/// Parts under way at once.
const CONCURRENT: usize = 2;
/// Parts that an upload may have at most. Source: the S3 user guide, multipart upload limits.
const PARTS_MAX: u64 = 10_000;

/// An object that is being written or waits to be published.
pub(crate) enum StagedObject {
    /// Held here, and sent in one request when it is published.
    Whole(Vec<Bytes>),
    /// Parts lie at the store; closing the writer makes them one object.
    Parts(Box<Writer>),
}

impl std::fmt::Debug for StagedObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Whole(_) => "StagedObject::Whole",
            Self::Parts(_) => "StagedObject::Parts",
        })
    }
}

impl ObjectStore {
    /// Bytes of memory that writing an object of this size may take.
    pub(crate) fn buffer_bytes(&self, size: u64) -> u64 {
        if size < PART {
            return size;
        }
        // Those under way, and the one that is being filled.
        part_size(size) * (CONCURRENT as u64 + 1)
    }

    pub(crate) async fn stage(
        &self,
        path: &str,
        size: u64,
        how: Publication,
    ) -> Result<StagedObject, Failure> {
        if size < PART || !self.operator.info().capability().write_can_multi {
            return Ok(StagedObject::Whole(Vec::new()));
        }
        let options = WriteOptions {
            concurrent: CONCURRENT,
            chunk: usize::try_from(part_size(size)).ok(),
            ..self.options(how)
        };
        let writer = self.operator.writer_options(path, options).await;
        let writer = writer.map_err(|error| self.failed(Role::Target, Some(path), "write it", &error))?;
        Ok(StagedObject::Parts(Box::new(writer)))
    }

    /// Appends to a staged object. After a failure it must be discarded.
    pub(crate) async fn write(
        &self,
        staged: &mut StagedObject,
        path: &str,
        bytes: Bytes,
    ) -> Result<(), Failure> {
        match staged {
            StagedObject::Whole(parts) => parts.push(bytes),
            StagedObject::Parts(writer) => {
                let written = writer.write(bytes).await;
                written.map_err(|error| self.failed(Role::Target, Some(path), "write it", &error))?;
            }
        }
        Ok(())
    }

    /// Gives up what was staged. A writer that has failed is aborted, too: it must not be written to again.
    pub(crate) async fn discard(&self, staged: StagedObject) {
        if let StagedObject::Parts(mut writer) = staged
            && let Err(error) = writer.abort().await
        {
            tracing::debug!(backend = %self.backend, kind = ?error.kind(), "an upload could not be given up");
        }
    }

    /// Makes a staged object visible; `false` if something lies there already.
    pub(crate) async fn publish(
        &self,
        staged: StagedObject,
        path: &str,
        how: Publication,
    ) -> Result<bool, Failure> {
        let result = match staged {
            StagedObject::Whole(parts) => self
                .operator
                .write_options(path, Buffer::from(parts), self.options(how))
                .await
                .map(drop),
            StagedObject::Parts(mut writer) => match writer.close().await {
                Ok(_) => Ok(()),
                Err(error) => {
                    self.discard(StagedObject::Parts(writer)).await;
                    Err(error)
                }
            },
        };
        match result {
            Ok(()) => Ok(true),
            Err(error) if how == Publication::New && is_occupied(&error) => Ok(false),
            Err(error) => Err(self.published_in_vain(path, &error)),
        }
    }

    /// Some stores fold `\` to `/`, in every request alike, so that only a listing shows under which name an object
    /// really lies: it would be merged with another one. What lies under another name is removed and refused.
    pub(crate) async fn check_name(&self, path: &str) -> Result<(), Failure> {
        if !path.contains('\\') {
            return Ok(());
        }
        let failed = |error: Error| self.failed(Role::Target, Some(path), "look at its name", &error);
        let options = ListOptions {
            recursive: true,
            ..ListOptions::default()
        };
        let mut lister = self
            .operator
            .lister_options(path, options)
            .await
            .map_err(failed)?;
        while let Some(entry) = lister.next().await {
            if entry.map_err(failed)?.path() == path {
                return Ok(());
            }
        }
        self.delete(path).await?;
        let message = "the store holds it under another name (it changes `\\`); rename the object".to_owned();
        Err(self.failure(FailureClass::KeyRefused, Some(path), message))
    }

    fn published_in_vain(&self, path: &str, error: &Error) -> Failure {
        match error.kind() {
            // Somebody else writes there at the same moment: look again.
            ErrorKind::Conflict | ErrorKind::ConditionNotMatch => {
                let message = "another writer was at it at the same moment".to_owned();
                self.failure(FailureClass::Transient, Some(path), message)
            }
            _ => self.failed(Role::Target, Some(path), "write it", error),
        }
    }

    fn options(&self, how: Publication) -> WriteOptions {
        let conditional = self.operator.info().capability().write_with_if_not_exists;
        WriteOptions {
            if_not_exists: how == Publication::New && conditional,
            ..WriteOptions::default()
        }
    }
}

fn is_occupied(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists
    )
}

/// Bytes of a part, so that an object of this size has no more parts than a store takes.
fn part_size(size: u64) -> u64 {
    const MIB: u64 = 1024 * 1024;
    PART.max(size.div_ceil(PARTS_MAX).div_ceil(MIB) * MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_few_enough_for_any_object() {
        for size in [PART, 1 << 30, 80 << 30, 5 << 40] {
            assert!(size.div_ceil(part_size(size)) <= PARTS_MAX, "{size}");
        }
        assert_eq!(part_size(1 << 30), PART);
    }
}
