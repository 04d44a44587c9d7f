//! The room of one backend on the way, and whose retirement made it.

use std::collections::VecDeque;

use super::MoveId;

/// What is free on a backend: first what is free from the start, then what moves have freed, in their order.
///
/// INVARIANT: PL-3. Every byte that a copy takes was free from the start or was freed by one move, is taken once, and
/// the copy waits for that move. So at any moment, in whatever order moves run that wait as they say, the bytes of the
/// copies begun are covered, each by another one, by bytes free from the start and bytes that are freed by then: the
/// backend never holds more than its room. A copy waits for no other move than those whose bytes it takes, and as each
/// of a backend's copies and retirements ends at most one stretch of bytes, there are no more waits than moves.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool {
    /// Free in all.
    free: u128,
    untouched: u128,
    freed: VecDeque<(MoveId, u128)>,
}

impl Pool {
    pub fn new(free: u128) -> Self {
        Self {
            free,
            untouched: free,
            freed: VecDeque::new(),
        }
    }

    pub fn free(&self) -> u128 {
        self.free
    }

    /// Enters what a move frees.
    pub fn put(&mut self, bytes: u128, freed_by: MoveId) {
        self.free += bytes;
        if bytes > 0 {
            self.freed.push_back((freed_by, bytes));
        }
    }

    /// Takes room, first come first served, and tells whose moves made it.
    ///
    /// # Panics
    /// If there is not so much, which is a bug of the order.
    pub fn take(&mut self, bytes: u128, mut waits_for: impl FnMut(MoveId)) {
        assert!(bytes <= self.free, "PL-3: a copy was put in order without room");
        self.free -= bytes;
        let mut open = bytes - bytes.min(self.untouched);
        self.untouched -= bytes - open;
        while open > 0
            && let Some((freed_by, left)) = self.freed.front_mut()
        {
            waits_for(*freed_by);
            let taken = open.min(*left);
            *left -= taken;
            open -= taken;
            if *left == 0 {
                self.freed.pop_front();
            }
        }
    }
}
