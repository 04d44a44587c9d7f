//! Places for objects under way at once, which owners share by their weights.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domicile_estate::{DatasetName, DomainName};
use domicile_movers::Shares;
use domicile_scheduler::Owners;
use tokio::sync::oneshot;

/// What an object takes of the turns of its owner: a small one takes a request's time, and of a large one a few parts are under
/// way at once.
const LEAST_BYTES: u64 = 256 * 1024;
const MOST_BYTES: u64 = 32 * 1024 * 1024;

/// Places for objects under way at once.
#[derive(Debug)]
pub struct Slots {
    owners: Owners,
    state: Mutex<State>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    owner: Option<DomainName>,
    bytes: u64,
    /// Whether somebody has it, so that giving it back makes room for others.
    taken: bool,
}

#[derive(Debug)]
struct State {
    free: usize,
    shares: Shares<Option<DomainName>>,
    waiting: BTreeMap<Option<DomainName>, VecDeque<(u64, oneshot::Sender<Slot>)>>,
}

impl Slots {
    /// So many places.
    pub fn new(free: usize, owners: Owners) -> Arc<Self> {
        Arc::new(Self {
            owners,
            state: Mutex::new(State {
                free,
                shares: Shares::new(),
                waiting: BTreeMap::new(),
            }),
        })
    }

    /// Whose datasets are whose.
    pub fn owners(&self) -> &Owners {
        &self.owners
    }

    /// Waits for a place for an object of a dataset.
    pub async fn enter(self: &Arc<Self>, dataset: &DatasetName, bytes: u64) -> Option<Slot> {
        let (sender, receiver) = oneshot::channel();
        let owner = self.owners.of(dataset).cloned();
        let bytes = bytes.clamp(LEAST_BYTES, MOST_BYTES);
        self.state()
            .waiting
            .entry(owner)
            .or_default()
            .push_back((bytes, sender));
        self.give();
        // Nobody drops a sender that waits.
        receiver.await.ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives free places to those whose turn it is.
    fn give(self: &Arc<Self>) {
        loop {
            let next = self.state().next(&self.owners);
            let Some((owner, bytes, sender)) = next else {
                return;
            };
            let slot = Slot {
                slots: Arc::clone(self),
                owner,
                bytes,
                taken: true,
            };
            if let Err(mut unwanted) = sender.send(slot) {
                // Whoever waited has gone away: the loop goes on with what is given back here.
                unwanted.taken = false;
            }
        }
    }
}

impl State {
    fn next(&mut self, owners: &Owners) -> Option<(Option<DomainName>, u64, oneshot::Sender<Slot>)> {
        if self.free == 0 {
            return None;
        }
        let weight = |owner: &Option<DomainName>| owners.weight(owner.as_ref());
        let waiting = self.waiting.keys().map(|owner| (owner, weight(owner)));
        let owner = self.shares.turn(waiting)?.clone();
        let line = self.waiting.get_mut(&owner)?;
        let (bytes, sender) = line.pop_front()?;
        if line.is_empty() {
            self.waiting.remove(&owner);
        }
        self.free -= 1;
        self.shares.begin(&owner, weight(&owner), bytes);
        Some((owner, bytes, sender))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut state = self.slots.state();
            state.free += 1;
            state.shares.end(&self.owner, self.bytes);
        }
        if self.taken {
            self.slots.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_objects_of_one_owner_pass_the_large_ones_of_another() {
        let name = |text: &str| DatasetName::new(text).expect("a name");
        let mut owners = Owners::new(BTreeMap::new());
        for text in ["large", "small"] {
            owners.insert(name(text), DomainName::new(text).expect("a name"));
        }
        let slots = Slots::new(4, owners);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.extend(slots.enter(&name("large"), 1 << 40).await);
        }
        // A hundred more large ones wait, then small ones come.
        let (order, mut begun) = tokio::sync::mpsc::unbounded_channel();
        for at in 0..110 {
            let (slots, order) = (Arc::clone(&slots), order.clone());
            let dataset = if at < 100 { "large" } else { "small" };
            tokio::spawn(async move {
                let slot = slots.enter(&name(dataset), 1 << 30).await;
                let _ = order.send((dataset, slot));
            });
            tokio::task::yield_now().await;
        }
        assert!(begun.try_recv().is_err(), "all places are taken");
        let mut turns = Vec::new();
        let mut kept = Vec::new();
        for _ in 0..4 {
            held.pop();
            let (dataset, slot) = begun.recv().await.expect("somebody waits");
            turns.push(dataset);
            kept.push(slot);
        }
        // Nothing tells objects of 32 MiB or more apart: both owners have as many places.
        assert_eq!(
            turns.iter().filter(|turn| **turn == "small").count(),
            2,
            "{turns:?}"
        );
        drop(kept);
        drop(held);
        for _ in 4..110 {
            // Each is dropped as it comes, so that the next one has its place.
            assert!(begun.recv().await.is_some_and(|(_, slot)| slot.is_some()));
        }
        assert_eq!(slots.state().free, 4);
    }

    #[tokio::test]
    async fn who_goes_away_holds_up_nobody() {
        let dataset = DatasetName::new("d").expect("a name");
        let slots = Slots::new(1, Owners::default());
        let first = slots.enter(&dataset, 1).await;
        let gone = {
            let mut gone = Box::pin(slots.enter(&dataset, 1));
            futures::future::poll_immediate(&mut gone).await.is_none()
        };
        assert!(gone);
        drop(first);
        assert!(slots.enter(&dataset, 1).await.is_some());
    }
}
