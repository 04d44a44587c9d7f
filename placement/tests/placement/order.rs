//! The order of moves between backends that have hardly any room.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_estate::{
    BackendName, ByteCount, CopyState, DatasetName, DatasetSummary, Energy, PolicyName, Price,
};
use domicile_placement::{
    Action, Bars, Held, Move, Movement, Place, Problem, Profile, Reason, RefusalKind, Requirement, Subject,
    Terms, invariants, propose, propose_with_solution, spell_out,
};
use proptest::prelude::*;

use crate::world::{Dice, carried_out};

/// Bytes of every dataset.
pub const SIZE: u64 = 1000;

/// Datasets of equal size, each to leave one backend for another; `None`: it starts on `x`, which is being emptied and
/// has room for all. Backends are `b0` and on, then `x`.
pub fn estate(capacities: &[u64], ways: &[(Option<usize>, usize)]) -> Problem {
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
    assert_eq!(find("d2", true).after[..], [find("d1", false).id]);
    assert_eq!(find("d0", true).after[..], [find("d2", false).id]);
}

/// Lets the datasets lie anywhere for a while: each already counts where it lies, and would count on `spare`.
fn with_third_place(problem: &mut Problem, from: &[usize], spare: usize) {
    let policy = 0;
    for (dataset, from) in from.iter().enumerate() {
        let accepts = (0..problem.backends.len()).map(|backend| backend == *from || backend == spare);
        problem.requirements.push(Requirement {
            policy,
            name: format!("kept{dataset}"),
            copies: 1,
            place: String::new(),
            accepts: accepts.collect(),
            spread: Vec::new(),
            durability: None,
        });
    }
}

/// Two datasets on two full backends are to change places.
fn swap() -> Problem {
    let mut problem = estate(&[SIZE, SIZE, SIZE], &[(Some(0), 1), (Some(1), 0)]);
    problem.backends[2].price.egress_per_gib = 1.0;
    problem
}

fn actions(plan: &domicile_placement::Plan) -> Vec<(String, String)> {
    let name = |planned: &Move| match &planned.action {
        Action::Copy { from, to, .. } => (planned.dataset.to_string(), format!("{from} to {to}")),
        Action::Retire { from } => (planned.dataset.to_string(), format!("leave {from}")),
    };
    plan.moves.iter().map(name).collect()
}

#[test]
fn a_circle_of_full_backends_is_broken_through_a_third_place() {
    let problem = swap();
    let plan = propose(&problem);
    assert!(plan.datasets.iter().all(|dataset| dataset.satisfied));
    let moves = actions(&plan);
    let moves: Vec<_> = moves
        .iter()
        .map(|(d, what)| (d.as_str(), what.as_str()))
        .collect();
    let wanted = [
        ("d0", "b2 to b1"),
        ("d0", "b0 to b2"),
        ("d0", "leave b0"),
        ("d0", "leave b2"),
        ("d1", "b1 to b0"),
        ("d1", "leave b1"),
    ];
    assert_eq!(moves, wanted);
    let id = |place: usize| plan.moves[place].id;
    let sorted = |ids: &[usize]| {
        let mut ids: Vec<_> = ids.iter().map(|place| id(*place)).collect();
        ids.sort();
        ids
    };
    assert_eq!(
        plan.moves[0].after[..],
        sorted(&[1, 5]),
        "it reads the third place, and `b1` has room"
    );
    assert!(plan.moves[1].after.is_empty());
    assert_eq!(plan.moves[2].after[..], [id(1)]);
    assert_eq!(plan.moves[3].after[..], [id(0)]);
    assert_eq!(plan.moves[4].after[..], [id(2)]);
    assert!(invariants::pl_3(&problem, &plan.moves));
    assert!(invariants::mv_5(&problem, &plan.moves));
    assert!(invariants::sources_exist(&problem, &plan.moves));
    assert!(
        plan.routed_once > plan.objective.transfer_once,
        "the third place costs something"
    );
}

#[test]
fn what_no_third_place_helps_is_left_out_with_a_reason() {
    let mut full = swap();
    full.backends[2].capacity = ByteCount(SIZE - 1);
    let mut closed = swap();
    closed.backends[2].reasons = vec![0];
    // Each dataset counts where it lies, and would not on `b2`: no copy may go before another one counts (MV-4).
    let mut counted = swap();
    with_third_place(&mut counted, &[0, 1], 3);
    for (dataset, subject) in counted.datasets.iter_mut().enumerate() {
        Arc::make_mut(&mut subject.profile).requirements.push(3 + dataset);
    }
    for (dataset, backend) in [(0, 1), (1, 0)] {
        counted.requirements[3 + dataset].accepts[backend] = true;
    }
    for problem in [full, closed, counted] {
        let (solution, plan) = propose_with_solution(&problem);
        assert!(plan.datasets.iter().any(|dataset| !dataset.satisfied));
        let all: Vec<usize> = (0..problem.datasets.len()).collect();
        let told = spell_out(&problem, &solution, &all);
        let mut refusals = told.iter().flat_map(|told| &told.refusals);
        assert!(refusals.any(|refusal| refusal.message.contains("in a circle")));
        assert!(invariants::pl_3(&problem, &plan.moves));
    }
}

#[test]
fn a_third_place_that_counts_as_much_may_stand_in() {
    let mut problem = swap();
    with_third_place(&mut problem, &[0, 1], 2);
    for (dataset, backend) in [(0, 1), (1, 0)] {
        problem.requirements[3 + dataset].accepts[backend] = true;
        Arc::make_mut(&mut problem.datasets[dataset].profile)
            .requirements
            .push(3 + dataset);
    }
    let plan = propose(&problem);
    assert!(plan.datasets.iter().all(|dataset| dataset.satisfied));
    assert_eq!(plan.moves.len(), 6);
}

/// What counts for nothing where it lies, while another copy is whole, goes without a third place.
#[test]
fn a_copy_that_counts_for_nothing_makes_way_by_itself() {
    let mut problem = swap();
    problem.backends[2].capacity = ByteCount(0);
    let held = Held {
        backend: 3,
        origin: false,
        state: CopyState::Verified,
        ..origin(3)
    };
    problem.datasets[1].copies.push(held);
    let plan = propose(&problem);
    assert!(plan.datasets.iter().all(|dataset| dataset.satisfied));
    let early = plan
        .moves
        .iter()
        .find(|m| matches!(&m.action, Action::Retire { from } if from.as_str() == "b1"));
    assert!(early.unwrap().after.is_empty());
    assert!(invariants::pl_3(&problem, &plan.moves) && invariants::sources_exist(&problem, &plan.moves));
}

#[test]
fn hundreds_of_swaps_are_broken_through_one_spare_place() {
    let ways: Vec<_> = (0..600).map(|n| (Some(n % 2), (n + 1) % 2)).collect();
    let mut problem = estate(&[300 * SIZE, 300 * SIZE, 2 * SIZE], &ways);
    problem.datasets.sort_by(|a, b| a.name.cmp(&b.name));
    let plan = propose(&problem);
    assert!(plan.datasets.iter().all(|dataset| dataset.satisfied));
    assert_eq!(
        plan.moves.len(),
        1200 + 2,
        "one third place gives room to all, one after the other"
    );
    assert!(invariants::pl_3(&problem, &plan.moves));
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
    let mut problem = estate(&capacities, &ways);
    // Copies that cost nothing would be made for nothing.
    let places = problem.backends.iter_mut();
    places.for_each(|place| place.price.storage_per_gib_month = 1.0);
    problem
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

/// Whether a move makes a copy that does not stay.
fn is_detour(plan: &domicile_placement::Plan, planned: &Move) -> bool {
    let dataset = plan
        .datasets
        .iter()
        .find(|dataset| dataset.name == planned.dataset)
        .unwrap();
    matches!(&planned.action, Action::Copy { to, .. } if !dataset.backends.contains(to))
}

/// Lets moves run in a random order that their `after` allows, and says whether every backend had room all the time.
fn runs(problem: &Problem, moves: &[Move], dice: &mut Dice) -> bool {
    let mut state = problem.clone();
    let mut open = moves.to_vec();
    while !open.is_empty() {
        let ids: Vec<_> = open.iter().map(|planned| planned.id).collect();
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
        let ordered = has_order(&problem, &all, &used);
        let detours = plan.moves.iter().any(|planned| is_detour(&plan, planned));
        prop_assert!(!whole || detours || ordered, "no order keeps within the capacities");
        prop_assert!(!ordered || whole, "there is an order, and it was not found");
        prop_assert!(!ordered || !detours, "a third place is used where an order needs none");
        prop_assert!(invariants::pl_3(&problem, &plan.moves), "PL-3");
        let mut dice = Dice::new(seed);
        for _ in 0..8 {
            prop_assert!(runs(&problem, &plan.moves, &mut dice), "a backend overflows on the way");
        }
    }
}
