//! Room on backends, bytes under way included.

use std::collections::BTreeMap;

use domicile_estate::{BackendName, ByteCount};

/// What each backend may hold and what it holds now, bytes under way and bytes yet to be retired included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rooms(BTreeMap<BackendName, Room>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    capacity: ByteCount,
    occupied: ByteCount,
}

impl Rooms {
    /// Enters a backend.
    pub fn insert(&mut self, backend: BackendName, capacity: ByteCount, occupied: ByteCount) {
        self.0.insert(backend, Room { capacity, occupied });
    }

    /// INVARIANT: PL-3. Whether `bytes` more fit on a backend now. Nothing fits on a backend that nobody entered;
    /// no bytes fit anywhere, also on a backend that is too full.
    #[must_use]
    pub fn has_room(&self, backend: &BackendName, bytes: ByteCount) -> bool {
        bytes.0 == 0
            || self.0.get(backend).is_some_and(|room| {
                room.occupied
                    .0
                    .checked_add(bytes.0)
                    .is_some_and(|after| after <= room.capacity.0)
            })
    }

    /// Bytes that still fit on a backend.
    #[must_use]
    pub fn free(&self, backend: &BackendName) -> ByteCount {
        self.0.get(backend).map_or(ByteCount(0), |room| {
            ByteCount(room.capacity.0.saturating_sub(room.occupied.0))
        })
    }

    pub(crate) fn reserve(&mut self, backend: &BackendName, bytes: ByteCount) {
        assert!(
            self.has_room(backend, bytes),
            "PL-3: a copy was started without room on `{backend}`"
        );
        if let Some(room) = self.0.get_mut(backend) {
            room.occupied.0 += bytes.0;
        }
    }

    pub(crate) fn release(&mut self, backend: &BackendName, bytes: ByteCount) {
        if let Some(room) = self.0.get_mut(backend) {
            room.occupied.0 = room.occupied.0.saturating_sub(bytes.0);
        }
    }
}
