//! Whose turn it is, where several owners want more than can be under way at once.
//!
//! The turn is his who has the least under way for his weight, so that what is under way follows the weights and whoever has
//! nothing there goes first. Of those who have equally little, his whose turn comes first by start-time fair queueing (Goyal,
//! Vin and Cheng, 1996): so that even where only one at a time may go, all have their shares, and who was away saves nothing up.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What one byte takes of the turns of an owner of weight 1.
const TURN_PER_BYTE: u128 = 1_000;

/// How an owner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// His weight; 0 counts as 1.
    pub weight: u32,
    /// Bytes of his that are under way.
    pub under_way: u64,
    /// When his next turn begins, by the turns.
    pub next: u64,
}

impl Standing {
    /// Of an owner with nothing under way.
    #[must_use]
    pub fn of_weight(weight: u32) -> Self {
        Self {
            weight,
            under_way: 0,
            next: 0,
        }
    }

    fn weight(self) -> u128 {
        u128::from(self.weight.max(1))
    }

    /// When what he begins now begins by the turns, of which the last began at `clock`; and his next turn is set.
    pub fn begin(&mut self, clock: u64, bytes: u64) -> u64 {
        let begins = self.next.max(clock);
        let takes = u128::from(bytes) * TURN_PER_BYTE / self.weight();
        self.next = begins.saturating_add(u64::try_from(takes).unwrap_or(u64::MAX));
        self.under_way = self.under_way.saturating_add(bytes);
        begins
    }

    fn cmp(self, other: Self, clock: u64) -> Ordering {
        let (mine, his) = (
            u128::from(self.under_way) * other.weight(),
            u128::from(other.under_way) * self.weight(),
        );
        mine.cmp(&his)
            .then_with(|| self.next.max(clock).cmp(&other.next.max(clock)))
    }
}

/// Whose turn it is of those who wait; of several that nothing tells apart the first.
pub fn turn<T>(waiting: impl IntoIterator<Item = (T, Standing)>, clock: u64) -> Option<T> {
    let first = waiting.into_iter().reduce(|first, other| {
        if other.1.cmp(first.1, clock) == Ordering::Less {
            other
        } else {
            first
        }
    });
    first.map(|(owner, _)| owner)
}

/// What each owner has under way.
#[derive(Debug, Clone, Default)]
pub struct Shares<O> {
    owners: BTreeMap<O, Standing>,
    clock: u64,
}

impl<O: Ord + Clone> Shares<O> {
    /// Nobody has anything under way.
    #[must_use]
    pub fn new() -> Self {
        Self {
            owners: BTreeMap::new(),
            clock: 0,
        }
    }

    /// Whose turn it is of those who wait, each with his weight.
    pub fn turn<'o>(&self, waiting: impl IntoIterator<Item = (&'o O, u32)>) -> Option<&'o O>
    where
        O: 'o,
    {
        let standing = |owner: &O, weight| {
            let known = self.owners.get(owner).copied();
            Standing {
                weight,
                ..known.unwrap_or(Standing::of_weight(weight))
            }
        };
        let waiting = waiting
            .into_iter()
            .map(|(owner, weight)| (owner, standing(owner, weight)));
        turn(waiting, self.clock)
    }

    /// So many bytes of an owner are under way from now on.
    pub fn begin(&mut self, owner: &O, weight: u32, bytes: u64) {
        let known = self.owners.entry(owner.clone());
        let standing = known.or_insert(Standing::of_weight(weight));
        standing.weight = weight;
        self.clock = standing.begin(self.clock, bytes);
    }

    /// So many bytes of an owner are no longer under way.
    pub fn end(&mut self, owner: &O, bytes: u64) {
        if let Some(standing) = self.owners.get_mut(owner) {
            standing.under_way = standing.under_way.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turn_is_his_who_has_the_least_for_his_weight() {
        let mut shares = Shares::new();
        let turn = |shares: &Shares<char>| shares.turn([(&'a', 1), (&'b', 3)]).copied();
        assert_eq!(turn(&shares), Some('a'), "nothing tells them apart");
        shares.begin(&'a', 1, 10);
        shares.begin(&'b', 3, 29);
        assert_eq!(turn(&shares), Some('b'));
        shares.begin(&'b', 3, 2);
        assert_eq!(turn(&shares), Some('a'));
        shares.end(&'b', 31);
        assert_eq!(turn(&shares), Some('b'));
        assert_eq!(Shares::<char>::new().turn([]), None);
    }

    #[test]
    fn where_one_at_a_time_may_go_all_have_their_shares() {
        let mut shares = Shares::new();
        let mut had = BTreeMap::from([('a', 0), ('b', 0), ('c', 0)]);
        let weights = [(&'a', 1), (&'b', 3), (&'c', 1)];
        for _ in 0..500 {
            let owner = *shares.turn(weights).expect("somebody waits");
            let (weight, bytes) = (
                if owner == 'b' { 3 } else { 1 },
                if owner == 'c' { 5 } else { 10 },
            );
            shares.begin(&owner, weight, bytes);
            shares.end(&owner, bytes);
            *had.entry(owner).or_default() += bytes;
        }
        let all: u64 = had.values().sum();
        for (owner, fifths) in [('a', 1), ('b', 3), ('c', 1)] {
            assert!((had[&owner] * 5).abs_diff(all * fifths) <= 5 * 30, "{had:?}");
        }
    }

    #[test]
    fn who_was_away_saves_nothing_up() {
        let mut shares = Shares::new();
        for _ in 0..100 {
            shares.begin(&'a', 1, 10);
            shares.end(&'a', 10);
        }
        let mut turns = String::new();
        for _ in 0..6 {
            let owner = *shares.turn([(&'a', 1), (&'b', 1)]).expect("somebody waits");
            shares.begin(&owner, 1, 10);
            shares.end(&owner, 10);
            turns.push(owner);
        }
        assert_eq!(turns, "bababa");
    }
}
