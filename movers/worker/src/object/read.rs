//! Reading from an object store.

use std::collections::VecDeque;

use bytes::Bytes;
use domicile_movers::{Failure, FailureClass};
use futures::StreamExt;
use opendal::BufferStream;
use opendal::options::ReaderOptions;

use super::{ObjectStore, version};
use crate::role::Role;
use crate::store::{Content, Doing, Version, Wanted};

/// An object that is being read.
pub(super) struct ObjectContent {
    store: ObjectStore,
    path: String,
    role: Role,
    size: u64,
    version: Version,
    /// `None` for an empty range, which cannot be asked for.
    stream: Option<BufferStream>,
    /// What has come and was not yet asked for.
    come: VecDeque<Bytes>,
}

impl ObjectStore {
    pub(super) async fn open_content(&self, wanted: Wanted<'_>) -> Result<ObjectContent, Failure> {
        let Wanted { path, role, .. } = wanted;
        let Some(metadata) = self.metadata(path, role).await? else {
            let class = if role == Role::Source {
                FailureClass::SourceGone
            } else {
                FailureClass::Transient
            };
            return Err(self.failure(class, Some(path), "cannot open it: it is not there".to_owned()));
        };
        let (size, version) = (metadata.content_length(), version(&metadata));
        if wanted.version.is_some_and(|expected| *expected != version) {
            let message = "it was changed while it was read".to_owned();
            return Err(self.failure(FailureClass::Transient, Some(path), message));
        }
        let range = wanted.range.unwrap_or(0..size);
        let mut content = ObjectContent {
            store: self.clone(),
            path: path.to_owned(),
            role,
            size,
            version,
            stream: None,
            come: VecDeque::new(),
        };
        if range.is_empty() {
            return Ok(content);
        }
        // If it is replaced while it is read, the rest must not come from the new one.
        let conditional = self.operator.info().capability().read_with_if_match;
        let if_match = metadata.etag().filter(|_| conditional).map(str::to_owned);
        let failed = |error| self.failed(role, Some(path), "read it", &error);
        let options = ReaderOptions {
            if_match,
            ..ReaderOptions::default()
        };
        let reader = self.operator.reader_options(path, options).await;
        // Always with its end: an open range trusts a size that may be of another moment.
        let stream = reader.map_err(failed)?.into_stream(range).await;
        content.stream = Some(stream.map_err(failed)?);
        Ok(content)
    }
}

impl Content for ObjectContent {
    fn size(&self) -> u64 {
        self.size
    }

    fn version(&self) -> &Version {
        &self.version
    }

    fn next(&mut self) -> Doing<'_, Option<Bytes>> {
        Box::pin(async move {
            loop {
                if let Some(bytes) = self.come.pop_front() {
                    return Ok(Some(bytes));
                }
                let Some(stream) = &mut self.stream else {
                    return Ok(None);
                };
                match stream.next().await {
                    None => return Ok(None),
                    Some(Ok(buffer)) => self.come.extend(buffer),
                    Some(Err(error)) => {
                        return Err(self.store.failed(self.role, Some(&self.path), "read it", &error));
                    }
                }
            }
        })
    }
}
