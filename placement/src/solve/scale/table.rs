//! Numbers for keys, in the order in which they first come: what is looked up for every dataset of millions.
//!
//! Keys are few words each and stand side by side. A key is found by open addressing; the order of iteration, which
//! would be random, is never asked for.

/// Nothing stands at this slot.
const EMPTY: u32 = u32::MAX;
/// Slots of the first table.
const FIRST: usize = 64;

/// The keys.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// For each slot, the number of the key there; a power of two of them, at most half of them taken.
    slots: Vec<u32>,
    /// The words of all keys, and for each key where they end.
    words: Vec<u64>,
    ends: Vec<u32>,
}

impl Table {
    /// The number of a key, and whether it is new.
    pub fn number(&mut self, key: &[u64]) -> (u32, bool) {
        if self.slots.len() <= self.ends.len() * 2 {
            self.grow();
        }
        let slot = self.slot(key);
        if self.slots[slot] != EMPTY {
            return (self.slots[slot], false);
        }
        let number = self.ends.len() as u32;
        self.slots[slot] = number;
        self.words.extend_from_slice(key);
        self.ends.push(self.words.len() as u32);
        (number, true)
    }

    fn key(&self, number: u32) -> &[u64] {
        let at = number as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.words[start as usize..self.ends[at] as usize]
    }

    /// Where a key stands, or would.
    fn slot(&self, key: &[u64]) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = mixed(key) as usize & mask;
        while self.slots[slot] != EMPTY && self.key(self.slots[slot]) != key {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        self.slots = vec![EMPTY; (self.slots.len() * 2).max(FIRST)];
        for number in 0..self.ends.len() as u32 {
            let slot = self.slot(self.key(number));
            self.slots[slot] = number;
        }
    }
}

/// Words mixed into one: each is multiplied by the golden ratio, as Fibonacci hashing does (Knuth, The Art of Computer
/// Programming 3, 6.4), and high bits come down to where the mask looks.
fn mixed(key: &[u64]) -> u64 {
    key.iter().fold(key.len() as u64, |mixed, word| {
        let product = (mixed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        product ^ (product >> 32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_have_one_number_and_others_have_others() {
        let mut table = Table::default();
        let keys: Vec<Vec<u64>> = (0..1000u64)
            .map(|at| vec![at % 10; at as usize / 10 % 7])
            .collect();
        let mut first: std::collections::BTreeMap<Vec<u64>, u32> = std::collections::BTreeMap::new();
        for key in keys.iter().chain(&keys) {
            let (number, is_new) = table.number(key);
            let known = first.get(key).copied();
            assert_eq!(known.is_none(), is_new);
            assert_eq!(known.unwrap_or(first.len() as u32), number);
            first.insert(key.clone(), number);
        }
        assert_eq!(first.len(), 61);
    }
}
