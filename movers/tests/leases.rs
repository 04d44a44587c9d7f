//! Transfers under leases, carried out by several workers at once that crash, sleep past their leases and wake again, on
//! stores that lose replies, take requests twice and turn bytes. Every schedule follows from its number.
//!
//! `DOMICILE_SCHEDULES` says how many are tried (100,000 take half a minute of a core), `DOMICILE_SCHEDULE` names a single one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod fleet;

use std::panic::{AssertUnwindSafe, catch_unwind};

use domicile_movers::FailureClass;

use fleet::catalogue::Final;
use fleet::chance::Chance;
use fleet::store::Traits;
use fleet::{Case, Fleet, Mistake, Shows, version};

/// Schedules that are tried unless somebody asks for more.
const SCHEDULES: u64 = 10_000;
/// Schedules within which each mistake must show.
const MISTAKEN_SCHEDULES: u64 = 20_000;

fn case(number: u64, mistake: Mistake) -> Case {
    let mut chance = Chance::new(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let parts = [1, 2, 3, 5][chance.below(4)];
    let conditional = !chance.one_in(3);
    let knows = [(false, false), (true, false), (false, true), (true, true)][chance.below(4)];
    let before = match chance.below(8) {
        0 => Some(version(0, parts)),
        1 => Some(version(71, parts)),
        2 => Some(version(72, parts + 1)),
        _ => None,
    };
    let case = Case {
        traits: Traits {
            conditional,
            marks: chance.one_in(2),
            stable_etags: chance.one_in(2),
        },
        parts,
        knows,
        ours: before.is_some() && chance.one_in(2),
        shows: [Shows::Staged, Shows::Refuses, Shows::Spare][chance.below(3)],
        before,
        source_changes: chance.one_in(3),
        lies: chance.one_in(2),
        // What a safe way hides are mistakes that confirming would find.
        safe_way: mistake == Mistake::MixedVersions || chance.one_in(2),
        mistake,
    };
    if mistake != Mistake::UnguardedSpare {
        return case;
    }
    // It takes two workers who replace an old version by different ones.
    Case {
        before: Some(version(71, parts)),
        ours: true,
        shows: Shows::Spare,
        knows: (false, false),
        source_changes: true,
        lies: true,
        ..case
    }
}

/// How a schedule ends; a broken invariant panics.
fn run(number: u64, mistake: Mistake) -> Final {
    let case = case(number, mistake);
    let steps = 10 + u32::try_from(number % 150).unwrap();
    Fleet::new(case, number).run(steps)
}

#[allow(
    clippy::disallowed_methods,
    reason = "how much is tried is for whoever runs the tests to say"
)]
fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

#[test]
fn no_schedule_breaks_an_invariant() {
    if let Some(number) = number_of("DOMICILE_SCHEDULE") {
        run(number, Mistake::None);
        return;
    }
    let (mut registered, mut failed) = (0, 0);
    for number in 0..number_of("DOMICILE_SCHEDULES").unwrap_or(SCHEDULES) {
        match catch_unwind(AssertUnwindSafe(|| run(number, Mistake::None))) {
            Ok(Final::Registered(_)) => registered += 1,
            Ok(Final::Failed(_) | Final::Cancelled) => failed += 1,
            Err(_) => panic!("schedule {number}: {:?}", case(number, Mistake::None)),
        }
    }
    // Were hardly any to succeed, or none to fail, nothing much would be tried.
    assert!(
        registered > failed && failed > registered / 50,
        "{registered} {failed}"
    );
}

/// Where nothing lies and nothing changes, whatever is interrupted ends as if nothing had been (MV-3).
#[test]
fn interruptions_change_nothing_about_the_end() {
    for number in 0..SCHEDULES / 2 {
        let case = Case {
            source_changes: false,
            lies: false,
            ..case(number, Mistake::None)
        };
        let mut once = Fleet::new(case.clone(), number);
        let plain = once.run(0);
        let mut often = Fleet::new(case, number);
        let interrupted = often.run(120);
        let class = |end: &Final| match end {
            Final::Failed(failure) => Some(failure.class),
            _ => None,
        };
        assert_eq!(class(&plain), class(&interrupted), "schedule {number}");
        let content = |fleet: &Fleet| {
            fleet
                .store
                .visible
                .as_ref()
                .map(|visible| visible.content.clone())
        };
        assert_eq!(content(&once), content(&often), "schedule {number}");
        assert!(
            matches!(plain, Final::Registered(_)) || class(&plain) == Some(FailureClass::TargetConflict),
            "schedule {number}: {plain:?}"
        );
    }
}

/// The test can fail: each of these mistakes is found.
#[test]
fn mistakes_are_found() {
    let silent = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = [
        Mistake::NoFencing,
        Mistake::PublishBeforeSeal,
        Mistake::RecordAfterAct,
        Mistake::MixedVersions,
        Mistake::NoReclaim,
        Mistake::UnguardedReclaim,
        Mistake::NoAbort,
        Mistake::ReplacesUnseen,
        Mistake::OtherVersionAtFirstLook,
        Mistake::SpareWithoutLease,
        Mistake::UnguardedSpare,
        Mistake::SpareGoesEarly,
    ]
    .map(|mistake| {
        let breaks = |number: &u64| catch_unwind(AssertUnwindSafe(|| run(*number, mistake))).is_err();
        (mistake, (0..MISTAKEN_SCHEDULES).find(breaks))
    });
    std::panic::set_hook(silent);
    for (mistake, number) in found {
        eprintln!("{mistake:?}: {number:?}");
        assert!(number.is_some(), "{mistake:?} is not found");
    }
}
