//! From one folder to another.

use domicile_movers::{Digests, Failure, Publication, Seen};

use super::FsStore;
use super::driver::FileUpload;
use crate::carry::Watch;
use crate::digest::Digester;
use crate::role::Role;
use crate::store::{Content as _, Upload, Wanted};
use crate::threads::blocking;

/// What waits to be published, or the size that the source has instead of the one that was expected.
pub(crate) type FileCopy = Result<(Seen, Box<dyn Upload>), u64>;

impl FsStore {
    /// Copies an object from another folder to a file that waits to be published: one thread does it all, and what is
    /// read is hashed and written while it is still in the processor's cache.
    pub(crate) async fn copy_from(
        self,
        (from, source, size): (FsStore, String, u64),
        (path, how, may_create_root): (String, Publication, bool),
        digests: Digests,
        watch: Watch,
    ) -> Result<FileCopy, Failure> {
        blocking(move || {
            let content = from.open_content(&Wanted::whole(&source, Role::Source))?;
            if content.size() != size {
                return Ok(Err(content.size()));
            }
            let mut staged = self.stage(&path, may_create_root)?;
            let mut digester = Digester::new(digests);
            content.read_to_end(&mut |bytes| {
                digester.update(bytes);
                self.write(&mut staged, &path, bytes)?;
                watch.progress.add_read(bytes.len() as u64);
                watch.progress.add_written(bytes.len() as u64);
                if watch.cancel.is_cancelled() {
                    return Err(watch.stopped());
                }
                Ok(())
            })?;
            let upload: Box<dyn Upload> = Box::new(FileUpload::new(self, staged, path, how));
            Ok(Ok((digester.finish(), upload)))
        })
        .await
    }
}
