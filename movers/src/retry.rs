//! When to try again: bounded, backed off, with a reason that a person can read (SC-2).

use crate::Failure;

/// How often and how long to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts at most, the first one included; 0 counts as 1.
    pub attempts: u32,
    /// The wait after the first attempt, in milliseconds; it doubles with each further one.
    pub first_ms: u64,
    /// The longest wait, in milliseconds.
    pub longest_ms: u64,
}

impl Default for RetryPolicy {
    /// Five attempts within about ten seconds: what outlasts that is for the scheduler, not for the mover.
    fn default() -> Self {
        Self {
            attempts: 5,
            first_ms: 400,
            longest_ms: 8_000,
        }
    }
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Wait and try again.
    RetryAfter {
        /// Milliseconds to wait.
        ms: u64,
        /// Why, for people.
        reason: String,
    },
    /// Stop trying.
    GiveUp {
        /// Why, for people.
        reason: String,
    },
}

/// Decides what to do after attempt number `attempt` (from 1) has failed.
///
/// Only transient failures are tried again. The wait lies between half and the whole of
/// `first_ms * 2^(attempt - 1)`, at most `longest_ms`: which part of it follows from the object and the attempt,
/// so that many objects do not come back at the same moment and equal inputs give equal outputs.
#[must_use]
pub fn decide(attempt: u32, failure: &Failure, policy: &RetryPolicy) -> Decision {
    if !failure.is_transient() {
        return Decision::GiveUp {
            reason: failure.to_string(),
        };
    }
    let attempts = policy.attempts.max(1);
    if attempt >= attempts {
        return Decision::GiveUp {
            reason: format!("{failure} (gave up after {attempt} attempts)"),
        };
    }
    let doublings = attempt.saturating_sub(1).min(32);
    let whole = policy
        .first_ms
        .saturating_mul(1 << doublings)
        .min(policy.longest_ms);
    let half = whole / 2;
    let ms = half + spread(failure.object.as_deref().unwrap_or_default(), attempt) % (whole - half + 1);
    Decision::RetryAfter {
        ms,
        reason: format!("{failure} (attempt {attempt} of {attempts}, again in {ms} ms)"),
    }
}

/// An even spread over u64 of (object, attempt): FNV-1a with a final mixing step, for FNV alone moves the low
/// bits too little when only the last byte differs.
fn spread(object: &str, attempt: u32) -> u64 {
    let bytes = object.bytes().chain(attempt.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domicile_estate::BackendName;

    use super::*;
    use crate::FailureClass;

    fn failure(class: FailureClass, object: &str) -> Failure {
        Failure::of_object(
            class,
            &BackendName::new("b").unwrap(),
            object,
            "no reply".to_owned(),
        )
    }

    #[test]
    fn only_what_may_go_away_is_tried_again() {
        for class in FailureClass::ALL {
            let again = matches!(
                decide(1, &failure(class, "o"), &RetryPolicy::default()),
                Decision::RetryAfter { .. }
            );
            assert_eq!(again, class == FailureClass::Transient, "{class}");
        }
    }

    #[test]
    fn retries_are_bounded_backed_off_and_have_a_reason() {
        let policy = RetryPolicy {
            attempts: 40,
            first_ms: 100,
            longest_ms: 1_000,
        };
        for attempt in 1..40 {
            let whole = (100u64 << (attempt - 1).min(20)).min(1_000);
            let Decision::RetryAfter { ms, reason } =
                decide(attempt, &failure(FailureClass::Transient, "o"), &policy)
            else {
                panic!("attempt {attempt} of 40 is not the last");
            };
            assert!((whole / 2..=whole).contains(&ms), "attempt {attempt}: {ms}");
            assert!(reason.contains("no reply") && reason.contains(&format!("attempt {attempt} of 40")));
        }
        let last = decide(40, &failure(FailureClass::Transient, "o"), &policy);
        assert!(matches!(last, Decision::GiveUp { reason } if reason.contains("40 attempts")));
        assert!(matches!(
            decide(
                1,
                &failure(FailureClass::Transient, "o"),
                &RetryPolicy {
                    attempts: 0,
                    ..policy
                }
            ),
            Decision::GiveUp { .. }
        ));
    }

    #[test]
    fn objects_do_not_come_back_at_one_moment() {
        let policy = RetryPolicy::default();
        let waits: BTreeSet<_> = (0..100)
            .filter_map(
                |n| match decide(3, &failure(FailureClass::Transient, &format!("o{n}")), &policy) {
                    Decision::RetryAfter { ms, .. } => Some(ms),
                    Decision::GiveUp { .. } => None,
                },
            )
            .collect();
        assert!(waits.len() > 80, "{} different waits", waits.len());
        let same = || decide(3, &failure(FailureClass::Transient, "o"), &policy);
        assert_eq!(same(), same());
    }
}
