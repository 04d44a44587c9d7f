//! What must stay met when a copy goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domicile_estate::BackendName;

/// What the policies of one dataset demand of its verified copies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// The requirements of all selecting policies. Datasets with the same policies and places share them: each names
    /// every backend that counts.
    pub requirements: Arc<[DemandedCopies]>,
    /// The origin, while its owner has not released it.
    pub kept_origin: Option<BackendName>,
}

/// One requirement, its rules already applied to the backends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DemandedCopies {
    /// Its name.
    pub name: String,
    /// How many copies.
    pub copies: u32,
    /// The admissible backends that its `where` accepts.
    pub eligible: BTreeSet<BackendName>,
    /// For each spread: how many groups, and the group of each backend that is in one.
    pub spreads: Vec<(u32, BTreeMap<BackendName, String>)>,
    /// How durable together, if it asks for that.
    pub durability: Option<DemandedNines>,
}

/// Yearly durability of the copies that count, in thousandths of a nine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DemandedNines {
    /// How many.
    pub milli_nines: u32,
    /// For each backend, its failure domain, of which only the best copy counts, and what it adds.
    pub of: BTreeMap<BackendName, (usize, u32)>,
}

/// Why a copy must not be deleted now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unprotected {
    /// It is the origin and its owner has not released it.
    #[error("it is the origin, and `keepOrigin` is true")]
    UnreleasedOrigin,
    /// No verified copy would be left.
    #[error("it is the last verified copy")]
    LastVerifiedCopy,
    /// A requirement would be less met than it is and than it demands.
    #[error("requirement `{requirement}` would be met by {left} verified copies where it demands {demanded}")]
    TooFewCopies {
        /// The requirement.
        requirement: String,
        /// Copies that would be left.
        left: u32,
        /// Copies demanded.
        demanded: u32,
    },
    /// A spread would be less met than it is and than it demands.
    #[error("requirement `{requirement}` would be spread over {left} groups where it demands {demanded}")]
    TooFewGroups {
        /// The requirement.
        requirement: String,
        /// Groups that would be left.
        left: u32,
        /// Groups demanded.
        demanded: u32,
    },
    /// The copies would be less durable than they are and than the requirement demands.
    #[error(
        "requirement `{requirement}` would have {left} thousandths of a nine where it demands {demanded}"
    )]
    TooFewNines {
        /// The requirement.
        requirement: String,
        /// Thousandths of a nine that would be left.
        left: u32,
        /// Thousandths demanded.
        demanded: u32,
    },
}

impl DemandedCopies {
    fn copies_in(&self, verified: &BTreeSet<BackendName>) -> u32 {
        count(verified.intersection(&self.eligible).count())
    }

    fn groups_in(&self, verified: &BTreeSet<BackendName>, groups: &BTreeMap<BackendName, String>) -> u32 {
        let eligible = verified.intersection(&self.eligible);
        count(
            eligible
                .filter_map(|backend| groups.get(backend))
                .collect::<BTreeSet<_>>()
                .len(),
        )
    }
}

impl DemandedNines {
    /// What verified copies add up to.
    pub(crate) fn nines_in(&self, verified: &BTreeSet<BackendName>, eligible: &BTreeSet<BackendName>) -> u32 {
        let mut best: BTreeMap<usize, u32> = BTreeMap::new();
        for (domain, nines) in verified
            .intersection(eligible)
            .filter_map(|backend| self.of.get(backend))
        {
            let most = best.entry(*domain).or_default();
            *most = nines.max(most).to_owned();
        }
        best.into_values().fold(0, u32::saturating_add)
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Demand {
    /// INVARIANT: MV-4. Whether the copy on `retiring` may be deleted, given the backends that hold a verified copy
    /// now (`retiring` among them or not). No requirement may be less met than it demands, or than it is already;
    /// never the last verified copy; never an unreleased origin.
    ///
    /// # Errors
    /// [`Unprotected`] says what stands against it.
    pub fn allows_retirement(
        &self,
        verified: &BTreeSet<BackendName>,
        retiring: &BackendName,
    ) -> Result<(), Unprotected> {
        if self.kept_origin.as_ref() == Some(retiring) {
            return Err(Unprotected::UnreleasedOrigin);
        }
        let mut left = verified.clone();
        left.remove(retiring);
        if left.is_empty() {
            return Err(Unprotected::LastVerifiedCopy);
        }
        for demanded in self.requirements.iter() {
            let (now, then) = (demanded.copies_in(verified), demanded.copies_in(&left));
            if then < now.min(demanded.copies) {
                return Err(Unprotected::TooFewCopies {
                    requirement: demanded.name.clone(),
                    left: then,
                    demanded: demanded.copies,
                });
            }
            if let Some(durability) = &demanded.durability {
                let nines = |copies| durability.nines_in(copies, &demanded.eligible);
                let (now, then) = (nines(verified), nines(&left));
                if then < now.min(durability.milli_nines) {
                    return Err(Unprotected::TooFewNines {
                        requirement: demanded.name.clone(),
                        left: then,
                        demanded: durability.milli_nines,
                    });
                }
            }
            for (groups, group_of) in &demanded.spreads {
                let (now, then) = (
                    demanded.groups_in(verified, group_of),
                    demanded.groups_in(&left, group_of),
                );
                if then < now.min(*groups) {
                    return Err(Unprotected::TooFewGroups {
                        requirement: demanded.name.clone(),
                        left: then,
                        demanded: *groups,
                    });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> BackendName {
        BackendName::new(text).unwrap()
    }

    fn set(names: &[&str]) -> BTreeSet<BackendName> {
        names.iter().map(|n| name(n)).collect()
    }

    fn two_in_two_zones() -> Demand {
        let group_of = [("a", "z1"), ("b", "z1"), ("c", "z2")];
        Demand {
            requirements: Arc::from([DemandedCopies {
                name: "two".to_owned(),
                copies: 2,
                eligible: set(&["a", "b", "c"]),
                spreads: vec![(
                    2,
                    group_of.iter().map(|(b, z)| (name(b), (*z).to_owned())).collect(),
                )],
                durability: None,
            }]),
            kept_origin: None,
        }
    }

    #[test]
    fn a_copy_goes_when_what_is_left_is_enough() {
        assert_eq!(
            two_in_two_zones().allows_retirement(&set(&["a", "b", "c"]), &name("b")),
            Ok(())
        );
        // `x` counts for nothing, so nothing is lost with it.
        assert_eq!(
            two_in_two_zones().allows_retirement(&set(&["a", "x"]), &name("x")),
            Ok(())
        );
    }

    #[test]
    fn a_copy_stays_when_a_requirement_would_be_less_met() {
        let refused = |verified: &[&str], retiring| {
            two_in_two_zones()
                .allows_retirement(&set(verified), &name(retiring))
                .unwrap_err()
        };
        assert!(matches!(
            refused(&["a", "c"], "a"),
            Unprotected::TooFewCopies {
                left: 1,
                demanded: 2,
                ..
            }
        ));
        assert!(matches!(
            refused(&["a", "b", "c"], "c"),
            Unprotected::TooFewGroups { left: 1, .. }
        ));
        // Already less met than demanded: it must not get worse still.
        assert!(matches!(
            refused(&["a", "x"], "a"),
            Unprotected::TooFewCopies { left: 0, .. }
        ));
        assert_eq!(refused(&["a"], "a"), Unprotected::LastVerifiedCopy);
        assert_eq!(refused(&[], "a"), Unprotected::LastVerifiedCopy);
    }

    #[test]
    fn an_unreleased_origin_never_goes() {
        let demand = Demand {
            requirements: Arc::default(),
            kept_origin: Some(name("a")),
        };
        let verified = set(&["a", "b", "c"]);
        assert_eq!(
            demand.allows_retirement(&verified, &name("a")),
            Err(Unprotected::UnreleasedOrigin)
        );
        assert_eq!(demand.allows_retirement(&verified, &name("b")), Ok(()));
    }

    #[test]
    fn a_copy_stays_when_the_others_would_not_last_as_long() {
        let of = [("a", (0, 4000)), ("b", (0, 5000)), ("c", (1, 3000))];
        let demand = Demand {
            requirements: Arc::from([DemandedCopies {
                name: "lasting".to_owned(),
                copies: 1,
                eligible: set(&["a", "b", "c"]),
                spreads: vec![],
                durability: Some(DemandedNines {
                    milli_nines: 7000,
                    of: of.into_iter().map(|(b, nines)| (name(b), nines)).collect(),
                }),
            }]),
            kept_origin: None,
        };
        // `a` and `b` fail together, so that the better of the two is enough; without `c` nothing is.
        let all = set(&["a", "b", "c"]);
        assert_eq!(demand.allows_retirement(&all, &name("a")), Ok(()));
        assert_eq!(demand.allows_retirement(&all, &name("b")), Ok(()));
        let refused = demand.allows_retirement(&all, &name("c"));
        assert!(matches!(
            refused,
            Err(Unprotected::TooFewNines {
                left: 5000,
                demanded: 7000,
                ..
            })
        ));
        // Short of it already: it must not get worse still.
        assert!(demand.allows_retirement(&set(&["a", "b"]), &name("b")).is_err());
        assert_eq!(demand.allows_retirement(&set(&["a", "b"]), &name("a")), Ok(()));
    }
}
