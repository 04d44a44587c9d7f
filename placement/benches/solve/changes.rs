//! Changes after which is planned again.

use std::collections::BTreeSet;

use domicile_estate::{ByteCount, CopyState, DatasetName};
use domicile_placement::{Bars, Change, Held, Problem, Reason, RefusalKind, Solution, Subject};

/// Of so many datasets one changes its size.
const ONE_IN: u64 = 100;

/// A kind of change.
pub struct Kind {
    /// What it is called.
    pub name: &'static str,
    /// Makes it; `None` if the problem is too small for it.
    pub make: fn(&Problem, &Solution) -> Option<Changed>,
}

/// Every kind.
pub const ALL: [Kind; 3] = [
    Kind {
        name: "drain",
        make: drained,
    },
    Kind {
        name: "sizes",
        make: resized,
    },
    Kind {
        name: "new",
        make: one_more,
    },
];

/// A problem after a change.
pub struct Changed {
    /// The problem.
    pub problem: Problem,
    /// What changed in it.
    pub changes: Vec<Change>,
    /// The datasets that the change itself concerns.
    pub touched: BTreeSet<usize>,
}

/// The problem after its plan was carried out: every set is there and verified, and nothing else.
pub fn carried_out(problem: &Problem, solution: &Solution) -> Problem {
    let mut after = problem.clone();
    for (subject, set) in after.datasets.iter_mut().zip(&solution.sets) {
        let copy = |backend: &usize| match subject.copy_on(*backend) {
            Some(held) if held.is_current() || held.origin => held.clone(),
            _ => verified(*backend),
        };
        // Without a current copy nothing can be made, and what is there stays.
        if subject.has_current() {
            subject.copies = set.iter().map(copy).collect();
        }
    }
    after
}

fn verified(backend: usize) -> Held {
    Held {
        backend,
        origin: false,
        state: CopyState::Verified,
        missing_bytes: ByteCount(0),
        missing_objects: 0,
    }
}

/// The backend with the median number of bytes is to be emptied.
fn drained(problem: &Problem, previous: &Solution) -> Option<Changed> {
    let mut used: Vec<(u128, usize)> = (0..problem.backends.len()).map(|backend| (0, backend)).collect();
    for (subject, set) in problem.datasets.iter().zip(&previous.sets) {
        set.iter()
            .for_each(|backend| used[*backend].0 += u128::from(subject.summary.bytes.0));
    }
    used.retain(|(bytes, _)| *bytes > 0);
    used.sort_unstable();
    let (_, backend) = *used.get(used.len() / 2)?;
    let mut problem = problem.clone();
    problem.reasons.push(Reason {
        rule: "drain".to_owned(),
        kind: RefusalKind::Cordoned,
        bars: Bars::Every,
        message: "the backend is being emptied".to_owned(),
    });
    problem.backends[backend].reasons.push(problem.reasons.len() - 1);
    let sets = previous.sets.iter().enumerate();
    let lay_there = sets.filter(|(_, set)| set.contains(&backend));
    Some(Changed {
        touched: lay_there.map(|(dataset, _)| dataset).collect(),
        changes: vec![Change::Drained { backend }],
        problem,
    })
}

/// One dataset in a hundred grows or shrinks by up to a half.
fn resized(problem: &Problem, _: &Solution) -> Option<Changed> {
    let mut problem = problem.clone();
    let mut touched = BTreeSet::new();
    for (dataset, subject) in problem.datasets.iter_mut().enumerate() {
        let number = mixed(dataset as u64);
        if number.is_multiple_of(ONE_IN) {
            let percent = 50 + number / ONE_IN % 101;
            resize(subject, percent);
            touched.insert(dataset);
        }
    }
    let changes = touched
        .iter()
        .map(|dataset| Change::Resized { dataset: *dataset });
    let changes: Vec<_> = changes.collect();
    (!touched.is_empty()).then_some(Changed {
        problem,
        changes,
        touched,
    })
}

fn resize(subject: &mut Subject, percent: u64) {
    let scaled = |bytes: ByteCount| {
        let bytes = u128::from(bytes.0) * u128::from(percent) / 100;
        ByteCount(u64::try_from(bytes).unwrap_or(u64::MAX))
    };
    let summary = &mut subject.summary;
    summary.bytes = scaled(summary.bytes);
    for (_, sum) in &mut summary.billable {
        *sum = scaled(*sum);
    }
}

/// One dataset more, like the middle one and with its origin alone.
fn one_more(problem: &Problem, previous: &Solution) -> Option<Changed> {
    let mut problem = problem.clone();
    let mut subject = problem.datasets.get(problem.datasets.len() / 2)?.clone();
    // After every other name, so that the others keep their positions.
    let last = problem.datasets.last()?.name.as_str();
    subject.name = DatasetName::new(&format!("{}~", &last[..last.len().min(100)])).ok()?;
    let source = subject.copies.iter().position(Held::is_current)?;
    subject.copies = vec![subject.copies[source].clone()];
    if subject.name <= problem.datasets.last()?.name {
        return None;
    }
    problem.datasets.push(subject);
    Some(Changed {
        touched: [previous.sets.len()].into(),
        changes: vec![Change::Added {
            dataset: previous.sets.len(),
        }],
        problem,
    })
}

/// A number that looks random, always the same: the finaliser of splitmix64 (Steele, Lea, Flood: Fast Splittable
/// Pseudorandom Number Generators, 2014).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
