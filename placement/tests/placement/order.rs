//! The order of moves between backends that have hardly any room.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_estate::{
    BackendName, ByteCount, CopyState, DatasetName, DatasetSummary, Energy, PolicyName, Price,
};
use domicile_placement::{
    Action, Bars, Held, Move, Movement, Place, Problem, Profile, Reason, RefusalKind, Requirement, Subject,
    Terms, invariants, propose,
};
use proptest::prelude::*;

use crate::world::{Dice, carried_out};

/// Bytes of every dataset.
const SIZE: u64 = 1000;

/// Datasets of equal size, each to leave one backend for another; `None`: it starts on `x`, which is being emptied and
/// has room for all. Backends are `b0` and on, then `x`.
fn estate(capacities: &[u64], ways: &[(Option<usize>, usize)]) -> Problem {
    let outside = capacities.len();
    let mut backends: Vec<_> = capacities
        .iter()
        .enumerate()
        .map(|(index, capacity)| place(&format!("b{index}"), *capacity))
        .collect();
    backends.push(Place {
        reasons: vec![0],
        ..place("x", SIZE * ways.len() as u64)
    });
    let requirement = |to: usize| Requirement {
        policy: 0,
        name: format!("to{to}"),
        copies: 1,
        place: String::new(),
        accepts: (0..=outside).map(|backend| backend == to).collect(),
        spread: Vec::new(),
        durability: None,
    };
    let subject = |(index, (from, to)): (usize, &(Option<usize>, usize))| Subject {
        name: DatasetName::new(&format!("d{index}")).unwrap(),
        summary: DatasetSummary::of_sizes([ByteCount(SIZE)].into_iter(), &[]),
        keep_origin: false,
        profile: Arc::new(Profile {
            policies: vec![0],
            requirements: vec![*to],
            ..Profile::default()
        }),
        copies: vec![origin(from.unwrap_or(outside))],
    };
    Problem {
        currency: "EUR".to_owned(),
        policies: vec![Terms {
            name: PolicyName::new("one").unwrap(),
            enforced: true,
            cost_per_month: None,
            carbon_kg_per_month: None,
            movement: Movement::default(),
        }],
        reasons: vec![Reason {
            rule: "drain".to_owned(),
            kind: RefusalKind::Cordoned,
            bars: Bars::Every,
            message: "the backend is being emptied".to_owned(),
        }],
        requirements: (0..outside).map(requirement).collect(),
        links: BTreeMap::new(),
        datasets: ways.iter().enumerate().map(subject).collect(),
        backends,
    }
}

fn place(name: &str, capacity: u64) -> Place {
    Place {
        name: BackendName::new(name).unwrap(),
        provider: None,
        region: None,
        capacity: ByteCount(capacity),
        price: Price::default(),
        energy: Energy {
            grid_grams_per_kwh: 0.0,
            grid_source: "given".to_owned(),
            watt_hours_per_tb_hour: 0.0,
            pue: 1.0,
            physical_copies: 1.0,
        },
        reachable: true,
        relays: false,
        reasons: Vec::new(),
    }
}

fn origin(backend: usize) -> Held {
    Held {
        backend,
        origin: true,
        state: CopyState::Listed,
        missing_bytes: ByteCount(0),
        missing_objects: 0,
    }
}

/// The review's estate: `d0` from outside and `d1` want the one free place of `b0`, and only `d1` gives `d2` the room
/// that it needs to leave `b0`.
#[test]
fn a_dataset_that_frees_nothing_lets_others_pass() {
    let problem = estate(&[2 * SIZE, SIZE], &[(None, 0), (Some(1), 0), (Some(0), 1)]);
    let plan = propose(&problem);
    assert!(plan.datasets.iter().all(|dataset| dataset.satisfied));
    assert_eq!(plan.moves.len(), 6);
    assert!(invariants::pl_3(&problem, &plan.moves));
    let find = |dataset: &str, copy: bool| {
        plan.moves
            .iter()
            .find(|m| m.dataset.as_str() == dataset && matches!(m.action, Action::Copy { .. }) == copy)
            .unwrap()
    };
    assert!(find("d1", true).after.is_empty());
    assert_eq!(find("d2", true).after, [find("d1", false).id.clone()]);
    assert_eq!(find("d0", true).after, [find("d2", false).id.clone()]);
}

/// Backends within their capacity now, datasets that change places between them.
fn tight(seed: u64) -> Problem {
    let mut dice = Dice::new(seed);
    let backends = 2 + dice.below(3) as usize;
    let mut used = vec![0; backends];
    let mut wanted = vec![0; backends];
    let mut ways = Vec::new();
    for _ in 0..2 + dice.below(6) {
        let from = (!dice.one_in(3)).then(|| dice.below(backends as u64) as usize);
        let to = dice.below(backends as u64) as usize;
        if from == Some(to) {
            continue;
        }
        from.into_iter().for_each(|from| used[from] += SIZE);
        wanted[to] += SIZE;
        ways.push((from, to));
    }
    let capacities: Vec<_> = used.iter().zip(&wanted).map(|(a, b)| (*a).max(*b)).collect();
    estate(&capacities, &ways)
}

/// Whether some order of whole datasets keeps every backend within its capacity, by trying them all.
fn has_order(problem: &Problem, open: &[usize], used: &[u64]) -> bool {
    open.is_empty()
        || open.iter().any(|&dataset| {
            let subject = &problem.datasets[dataset];
            let to = subject.profile.requirements[0];
            let mut used = used.to_vec();
            used[to] += SIZE;
            let fits = used[to] <= problem.backends[to].capacity.0;
            used[subject.copies[0].backend] -= SIZE;
            let rest: Vec<_> = open.iter().copied().filter(|other| *other != dataset).collect();
            fits && has_order(problem, &rest, &used)
        })
}

/// Lets moves run in a random order that their `after` allows, and says whether every backend had room all the time.
fn runs(problem: &Problem, moves: &[Move], dice: &mut Dice) -> bool {
    let mut state = problem.clone();
    let mut open = moves.to_vec();
    while !open.is_empty() {
        let ids: Vec<_> = open.iter().map(|planned| planned.id.clone()).collect();
        let ready: Vec<_> = (0..open.len())
            .filter(|place| open[*place].after.iter().all(|id| !ids.contains(id)))
            .collect();
        if ready.is_empty() {
            return false;
        }
        let next = open.remove(dice.pick(&ready));
        let step = domicile_placement::Plan {
            moves: vec![next],
            ..propose(&Problem::default())
        };
        state = carried_out(&state, &step);
        let overflows = |(backend, place): (usize, &Place)| {
            let held = state.datasets.iter().filter(|s| s.copy_on(backend).is_some());
            held.count() as u64 * SIZE > place.capacity.0
        };
        if state.backends.iter().enumerate().any(overflows) {
            return false;
        }
    }
    true
}

/// A retirement on a read-only backend would be refused for ever, and planned for ever.
#[test]
fn nothing_is_retired_from_a_read_only_backend() {
    let mut problem = estate(&[SIZE, SIZE], &[(Some(0), 1)]);
    problem.reasons.push(Reason {
        rule: "accessMode".to_owned(),
        kind: RefusalKind::ReadOnly,
        bars: Bars::New,
        message: "the backend is read-only".to_owned(),
    });
    problem.backends[0].reasons = vec![1];
    problem.backends[0].price.storage_per_gib_month = 1.0;
    let plan = propose(&problem);
    assert!(matches!(&plan.moves[..], [only] if matches!(only.action, Action::Copy { .. })));
    assert_eq!(*plan.datasets[0].backends, [problem.backends[1].name.clone()]);
    assert!(plan.datasets[0].satisfied && plan.datasets[0].violations.is_empty());
    let after = carried_out(&problem, &plan);
    assert!(after.datasets[0].copy_on(0).is_some());
    let again = propose(&after);
    assert!(again.moves.is_empty() && again.objective.per_month <= plan.objective.per_month);

    let mut drained = after;
    drained.backends[0].reasons = vec![0, 1];
    let plan = propose(&drained);
    assert!(plan.moves.is_empty() && plan.datasets[0].satisfied);
    let violations: Vec<_> = plan.datasets[0]
        .violations
        .iter()
        .map(|violation| (violation.rule.as_str(), violation.backends.as_slice()))
        .collect();
    assert_eq!(violations, [("drain", &[drained.backends[0].name.clone()][..])]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn moves_run_in_any_order_that_they_allow(seed in any::<u64>()) {
        let problem = tight(seed);
        let mut used = vec![0; problem.backends.len()];
        problem.datasets.iter().for_each(|subject| used[subject.copies[0].backend] += SIZE);
        let all: Vec<_> = (0..problem.datasets.len()).collect();
        let plan = propose(&problem);
        let whole = plan.datasets.iter().all(|dataset| dataset.satisfied);
        prop_assert!(!whole || has_order(&problem, &all, &used), "no order keeps within the capacities");
        prop_assert!(invariants::pl_3(&problem, &plan.moves), "PL-3");
        let mut dice = Dice::new(seed);
        for _ in 0..8 {
            prop_assert!(runs(&problem, &plan.moves, &mut dice), "a backend overflows on the way");
        }
    }
}
