//! A set of candidates of one lot, in little memory: there is one for every lot, and a sweep makes one for every lot anew.

use std::ops::Deref;

/// Stands for the fallback of a class.
pub(crate) const FALLBACK: u16 = u16::MAX;
/// Members that need no memory of their own.
const FEW: usize = 7;

/// Positions of candidates, ascending; [`FALLBACK`] alone: what is there stays, though it is not admissible.
#[derive(Debug, Clone)]
pub(crate) struct Members(Kept);

#[derive(Debug, Clone)]
enum Kept {
    Few {
        count: u8,
        positions: [u16; FEW],
    },
    /// Boxed twice, so that sets of few members, which nearly all are, take two words and not three.
    Many(Box<Box<[u16]>>),
}

impl Members {
    /// What stands for the fallback.
    pub fn fallback() -> Self {
        Self::from(&[FALLBACK][..])
    }

    /// These positions, which must ascend.
    pub fn of(positions: &[usize]) -> Self {
        positions.iter().map(|position| *position as u16).collect()
    }
}

impl Default for Members {
    fn default() -> Self {
        Self::from(&[][..])
    }
}

impl Deref for Members {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        match &self.0 {
            Kept::Few { count, positions } => &positions[..usize::from(*count)],
            Kept::Many(positions) => positions,
        }
    }
}

impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl From<&[u16]> for Members {
    fn from(members: &[u16]) -> Self {
        let mut positions = [0; FEW];
        match positions.get_mut(..members.len()) {
            Some(few) => {
                few.copy_from_slice(members);
                Self(Kept::Few {
                    count: members.len() as u8,
                    positions,
                })
            }
            None => Self(Kept::Many(Box::new(members.into()))),
        }
    }
}

impl FromIterator<u16> for Members {
    fn from_iter<I: IntoIterator<Item = u16>>(members: I) -> Self {
        let mut members = members.into_iter();
        let (mut positions, mut count) = ([0; FEW], 0);
        while let Some(next) = members.next() {
            if count == FEW {
                let all = positions.into_iter().chain([next]).chain(members);
                return Self(Kept::Many(Box::new(all.collect())));
            }
            positions[count] = next;
            count += 1;
        }
        Self(Kept::Few {
            count: count as u8,
            positions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_what_it_was_made_of_whatever_its_size() {
        for count in 0..20u16 {
            let positions: Vec<u16> = (0..count).map(|at| at * 3).collect();
            let members: Members = positions.iter().copied().collect();
            assert_eq!(members[..], positions[..]);
            assert_eq!(members, Members::from(&positions[..]));
            assert_eq!(members.clone(), members);
        }
        assert_eq!(Members::of(&[1, 2])[..], [1, 2]);
        assert_eq!(Members::fallback()[..], [FALLBACK]);
        assert!(Members::default().is_empty());
    }

    #[test]
    fn a_set_takes_two_words() {
        assert_eq!(size_of::<Members>(), 16);
    }
}
