//! Small objects of our own that lie beside copies, such as lists of digests. Each is called by the digest of its bytes: so it
//! proves itself, and nothing is ever put in the place of another thing.

use bytes::Bytes;
use domicile_movers::{Digests, Failure, FailureClass, Place, Publication};

use crate::digest::Digester;
use crate::progress::Cancel;
use crate::role::Role;
use crate::store::{Aim, Published, Store, Wanted, Whole};
use crate::worker::Worker;

/// A note as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their BLAKE3 in hexadecimal.
    pub blake3: String,
}

impl Worker {
    /// Puts a note under a path that is called by the digest of its bytes, durably. It is there once this returns: its store
    /// has proven that it holds these bytes, or they were read back. The same bytes are put there once.
    ///
    /// # Errors
    /// What hinders writing, after bounded retries; `Transient` if other bytes come back each time.
    pub async fn put_note(&self, place: &Place, bytes: Vec<u8>, cancel: &Cancel) -> Result<(), Failure> {
        let bytes = Bytes::from(bytes);
        let store = self.stores.at(place)?;
        let _memory = self.memory(bytes.len() as u64).await;
        self.retrying(cancel, || put(&*store, place, &bytes)).await
    }

    /// Reads a note of at most so many bytes.
    ///
    /// # Errors
    /// `SourceGone`; `SourceUnreadable` if it is larger; else as [`Worker::read`].
    pub async fn note(&self, place: &Place, most: u64, cancel: &Cancel) -> Result<Note, Failure> {
        let store = self.stores.at(place)?;
        let _memory = self.memory(most).await;
        let read = || read(&*store, place, (most, Role::Source));
        let note = self.retrying(cancel, read).await?;
        note.ok_or_else(|| {
            let message = format!("it has more than {most} bytes, which such a thing never has");
            Failure::of_place(FailureClass::SourceUnreadable, place, message)
        })
    }

    /// Removes a note, and folders that this leaves empty. One that is not there is removed.
    ///
    /// # Errors
    /// As [`Worker::delete`].
    pub async fn remove_note(&self, place: &Place, cancel: &Cancel) -> Result<(), Failure> {
        let store = self.stores.at(place)?;
        self.retrying(cancel, || store.delete(&place.path, None, true))
            .await
    }
}

async fn put(store: &dyn Store, place: &Place, bytes: &Bytes) -> Result<(), Failure> {
    let mut digester = Digester::new(Digests::Blake3);
    digester.update(bytes);
    let (wanted, checksum) = digester.finish_with_checksum();
    let whole = Whole {
        chunks: vec![bytes.clone()],
        checksum,
    };
    let aim = Aim {
        path: &place.path,
        size: bytes.len() as u64,
        how: Publication::New,
        replaces: None,
        // Who writes the same bytes under the same name is as good as we.
        tag: &wanted.blake3,
        may_create_root: false,
    };
    if let Published::Done { told, .. } = store.put_whole(aim, &whole).await?
        && told == Some(checksum)
        && store.proven().await.checksums
    {
        return Ok(());
    }
    let read_back = || read(store, place, (bytes.len() as u64, Role::Target));
    let sound = |seen: &Option<Note>| seen.as_ref().is_some_and(|note| note.blake3 == wanted.blake3);
    let first = read_back().await?;
    if sound(&first) {
        return Ok(());
    }
    // A bit may have turned on the way back: only two readings that agree say that what lies there is another thing.
    let second = read_back().await?;
    if sound(&second) {
        return Ok(());
    }
    if first == second {
        // The name is of no other use: what lies there turned on the way, or was cut off.
        store.delete(&place.path, None, false).await?;
    }
    let message = "other bytes came back than were written".to_owned();
    Err(Failure::of_place(FailureClass::Transient, place, message))
}

/// Reads a note; `None` if it is larger than that.
async fn read(store: &dyn Store, place: &Place, (most, role): (u64, Role)) -> Result<Option<Note>, Failure> {
    let mut content = store.open(Wanted::whole(&place.path, role)).await?;
    let mut bytes = Vec::new();
    while content.size() <= most
        && bytes.len() as u64 <= most
        && let Some(chunk) = content.next().await?
    {
        bytes.extend_from_slice(&chunk);
    }
    if content.size() > most || bytes.len() as u64 > most {
        return Ok(None);
    }
    let mut digester = Digester::new(Digests::Blake3);
    digester.update(&bytes);
    let blake3 = digester.finish().blake3;
    Ok(Some(Note { bytes, blake3 }))
}

#[cfg(test)]
mod tests;
