//! Random small estates, as problems.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_estate::{
    BackendName, ByteCount, CopyState, DatasetName, DatasetSummary, Energy, PolicyName, Price, PriceTier,
};
use domicile_placement::{
    Bars, Durability, Held, Movement, Place, Problem, Profile, Reason, RefusalKind, Refused, Requirement,
    Spread, Subject, Terms,
};

pub const GIB: u64 = 1 << 30;

/// A small generator of numbers: the test says the seed, and equal seeds give equal estates.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize].clone()
    }

    /// A number from 0 to 1.
    pub fn share(&mut self) -> f64 {
        self.below(1 << 20) as f64 / f64::from(1 << 20)
    }
}

/// How an estate is made.
#[derive(Clone, Copy)]
pub struct Shape {
    pub backends: u64,
    pub datasets: u64,
    pub policies: u64,
    /// Room beyond what is used now, as a share of all bytes; the smaller, the tighter.
    pub spare: f64,
    /// Whether unusual things happen: damage, over-full backends, fallbacks, unknown copies.
    pub odd: bool,
}

impl Shape {
    pub fn small(dice: &mut Dice) -> Self {
        Self {
            backends: 4 + dice.below(4),
            datasets: 1 + dice.below(4),
            policies: 1 + dice.below(3),
            spare: dice.pick(&[0.1, 0.3, 0.6, 3.0]),
            odd: dice.one_in(2),
        }
    }
}

/// The reasons that every world has: confinement, admission, drain, cordon, access mode, reachability.
const REASONS: [(&str, RefusalKind, Bars); 6] = [
    ("soil", RefusalKind::Confinement, Bars::Every),
    ("guests", RefusalKind::Admission, Bars::Every),
    ("drain", RefusalKind::Cordoned, Bars::Every),
    ("cordon", RefusalKind::Cordoned, Bars::New),
    ("accessMode", RefusalKind::ReadOnly, Bars::New),
    ("reachability", RefusalKind::Unreachable, Bars::New),
];

pub fn world(seed: u64) -> Problem {
    let mut dice = Dice::new(seed);
    let shape = Shape::small(&mut dice);
    shaped(&mut dice, shape)
}

/// A random small estate in which most requirements ask for nines as well.
pub fn durable(seed: u64) -> Problem {
    let mut problem = world(seed);
    let mut dice = Dice::new(seed ^ 2);
    let backend = |dice: &mut Dice| {
        let nines = 1_000 + 500 * dice.below(9) as u32;
        (!dice.one_in(4)).then(|| (dice.below(3) as usize, nines))
    };
    let of: Vec<_> = problem.backends.iter().map(|_| backend(&mut dice)).collect();
    for requirement in &mut problem.requirements {
        requirement.durability = (!dice.one_in(3)).then(|| Durability {
            milli_nines: 1_000 + 250 * dice.below(40) as u32,
            of: of.clone(),
        });
    }
    problem
}

pub fn shaped(dice: &mut Dice, shape: Shape) -> Problem {
    let backends: Vec<_> = (0..shape.backends).map(|index| place(dice, index)).collect();
    let policies = (0..shape.policies).map(|index| terms(dice, index)).collect();
    let requirements: Vec<_> = (0..shape.policies * 2)
        .map(|index| requirement(dice, index, shape))
        .collect();
    let reason = |(rule, kind, bars): (&str, _, _)| Reason {
        rule: rule.to_owned(),
        kind,
        bars,
        message: format!("rule {rule}"),
    };
    let minimums: Vec<_> = backends.iter().map(|place| place.price.min_object_size).collect();
    let mut problem = Problem {
        currency: "EUR".to_owned(),
        policies,
        reasons: REASONS.into_iter().map(reason).collect(),
        requirements,
        links: BTreeMap::new(),
        datasets: (0..shape.datasets)
            .map(|index| subject(dice, index, shape, &minimums))
            .collect(),
        backends,
    };
    set_capacities(dice, &mut problem, shape);
    set_budgets(dice, &mut problem);
    problem
}

fn place(dice: &mut Dice, index: u64) -> Place {
    let money = |dice: &mut Dice, most: f64| {
        if dice.one_in(4) {
            0.0
        } else {
            (dice.share() * most * 64.0).round() / 64.0
        }
    };
    let mut reasons = Vec::new();
    for (reason, chances) in [(2, 10), (3, 10), (4, 8), (5, 10)] {
        if dice.one_in(chances) {
            reasons.push(reason);
        }
    }
    Place {
        name: BackendName::new(&format!("b{index:03}")).unwrap(),
        provider: dice.pick(&[None, Some("p".to_owned()), Some("q".to_owned())]),
        region: dice.pick(&[None, Some("r".to_owned()), Some("s".to_owned())]),
        capacity: ByteCount(0),
        price: Price {
            currency: None,
            storage_per_gib_month: money(dice, 2.0),
            ingress_per_gib: money(dice, 1.0),
            egress_per_gib: money(dice, 4.0),
            egress_within_provider_per_gib: money(dice, 2.0),
            egress_within_region_per_gib: money(dice, 1.0),
            put_per_1000: money(dice, 5.0),
            get_per_1000: money(dice, 5.0),
            min_object_size: ByteCount(dice.pick(&[0, 0, GIB / 8, GIB])),
            ..Price::default()
        },
        energy: Energy {
            grid_grams_per_kwh: dice.pick(&[0.0, 50.0, 400.0, 800.0]),
            grid_source: "given".to_owned(),
            watt_hours_per_tb_hour: dice.pick(&[0.65, 1.2]),
            pue: dice.pick(&[1.0, 1.5]),
            physical_copies: dice.pick(&[1.0, 3.0]),
        },
        reachable: !reasons.contains(&5),
        relays: false,
        reasons,
    }
}

fn terms(dice: &mut Dice, index: u64) -> Terms {
    Terms {
        name: PolicyName::new(&format!("policy{index}")).unwrap(),
        enforced: true,
        cost_per_month: dice.one_in(4).then_some(0.0),
        carbon_kg_per_month: dice.one_in(6).then_some(0.0),
        movement: Movement::default(),
    }
}

fn requirement(dice: &mut Dice, index: u64, shape: Shape) -> Requirement {
    let copies = 1 + dice.below(3) as u32;
    let everywhere = dice.one_in(2);
    let mut spread = Vec::new();
    while dice.one_in(2) && spread.len() < 2 {
        let groups = 1 + dice.below(u64::from(copies)) as u32;
        let group_of = (0..shape.backends)
            .map(|_| (!dice.one_in(6)).then(|| dice.below(3) as usize))
            .collect();
        spread.push(Spread {
            across: format!("key{}", spread.len()),
            groups,
            group_of,
        });
    }
    Requirement {
        policy: (index / 2) as usize,
        name: format!("require{index}"),
        copies,
        place: "somewhere".to_owned(),
        accepts: (0..shape.backends)
            .map(|_| everywhere || !dice.one_in(3))
            .collect(),
        spread,
        durability: None,
    }
}

fn subject(dice: &mut Dice, index: u64, shape: Shape, minimums: &[ByteCount]) -> Subject {
    let sizes: Vec<_> = (0..1 + dice.below(4))
        .map(|_| ByteCount(1 + dice.below(3 * GIB)))
        .collect();
    let summary = DatasetSummary::of_sizes(sizes.iter().copied(), minimums);
    let policies: Vec<_> = (0..shape.policies as usize).filter(|_| !dice.one_in(4)).collect();
    let mut requirements = Vec::new();
    for policy in &policies {
        requirements.extend(
            [policy * 2, policy * 2 + 1]
                .into_iter()
                .filter(|_| !dice.one_in(3)),
        );
    }
    let mut refused = Vec::new();
    for backend in 0..shape.backends as usize {
        refused.extend(
            (0..2)
                .filter(|_| dice.one_in(7))
                .map(|reason| Refused { backend, reason }),
        );
    }
    Subject {
        name: DatasetName::new(&format!("d{index:04}")).unwrap(),
        copies: copies(dice, shape, &summary),
        summary,
        profile: Arc::new(Profile {
            priority: dice.pick(&[0, 0, 5]),
            carbon_price_per_tonne: dice.pick(&[0.0, 100.0, 1e6]),
            horizon_months: dice.pick(&[1, 12]),
            policies,
            requirements,
            refused,
            ..Profile::default()
        }),
        keep_origin: !dice.one_in(3),
    }
}

fn copies(dice: &mut Dice, shape: Shape, summary: &DatasetSummary) -> Vec<Held> {
    let origin = dice.below(shape.backends) as usize;
    let mut copies = Vec::new();
    for backend in 0..shape.backends as usize {
        if backend != origin && !dice.one_in(4) {
            continue;
        }
        let whole = if backend == origin {
            CopyState::Listed
        } else {
            CopyState::Verified
        };
        let broken = [
            CopyState::Damaged,
            CopyState::Unknown,
            CopyState::Incomplete,
            CopyState::Retiring,
        ];
        let state = if shape.odd && dice.one_in(5) {
            dice.pick(&broken)
        } else {
            whole
        };
        let missing = if state == whole {
            0
        } else {
            1 + dice.below(summary.bytes.0)
        };
        copies.push(Held {
            backend,
            origin: backend == origin,
            state,
            missing_bytes: ByteCount(missing),
            missing_objects: u64::from(state != whole),
        });
    }
    if shape.odd && dice.one_in(8) {
        copies.retain(|held| !held.origin);
    }
    copies
}

/// Bytes that copies take on a backend now.
pub fn used(problem: &Problem, backend: usize) -> u64 {
    let held = |subject: &Subject| subject.copy_on(backend).map_or(0, |_| subject.summary.bytes.0);
    problem.datasets.iter().map(held).sum()
}

fn set_capacities(dice: &mut Dice, problem: &mut Problem, shape: Shape) {
    let bytes: u64 = problem
        .datasets
        .iter()
        .map(|subject| subject.summary.bytes.0)
        .sum();
    for backend in 0..problem.backends.len() {
        let used = used(problem, backend);
        let spare = (bytes as f64 * shape.spare * dice.share()) as u64;
        let overfull = shape.odd && dice.one_in(10);
        problem.backends[backend].capacity = ByteCount(if overfull { used / 2 } else { used + spare });
    }
}

/// Budgets between what is spent now and twice that, or below it.
pub fn set_budgets(dice: &mut Dice, problem: &mut Problem) {
    for policy in 0..problem.policies.len() {
        let mut spent = (0.0, 0.0);
        for subject in problem
            .datasets
            .iter()
            .filter(|subject| subject.profile.policies.contains(&policy))
        {
            for backend in subject.now() {
                let place = &problem.backends[backend];
                let carbon = domicile_placement::carbon_kg_per_month(subject, place);
                spent.0 += domicile_placement::storage_per_month(subject, place)
                    + carbon * subject.profile.carbon_price_per_tonne / 1000.0;
                spent.1 += carbon;
            }
        }
        let factor = 0.7 + 2.0 * dice.share();
        let terms = &mut problem.policies[policy];
        terms.cost_per_month = terms.cost_per_month.map(|_| spent.0 * factor + 0.5);
        terms.carbon_kg_per_month = terms.carbon_kg_per_month.map(|_| spent.1 * factor);
    }
}

/// The state after a plan was carried out: copies verified, retired ones gone.
pub fn carried_out(problem: &Problem, plan: &domicile_placement::Plan) -> Problem {
    let mut after = problem.clone();
    for planned in &plan.moves {
        let position = problem.dataset(planned.dataset.as_str()).unwrap();
        let subject = &mut after.datasets[position];
        match &planned.action {
            domicile_placement::Action::Copy { to, .. } => {
                let backend = problem.backend(to.as_str()).unwrap();
                subject.copies.retain(|held| held.backend != backend);
                subject.copies.push(Held {
                    backend,
                    origin: false,
                    state: CopyState::Verified,
                    missing_bytes: ByteCount(0),
                    missing_objects: 0,
                });
                subject.copies.sort_by_key(|held| held.backend);
            }
            domicile_placement::Action::Retire { from } => {
                let backend = problem.backend(from.as_str()).unwrap();
                subject.copies.retain(|held| held.backend != backend);
            }
        }
    }
    after
}

/// Gives most backends tiers that get cheaper or dearer, included storage and a base fee.
pub fn put_tariffs(dice: &mut Dice, problem: &mut Problem) {
    let money = |dice: &mut Dice, most: f64| (dice.share() * most * 64.0).round() / 64.0;
    for place in &mut problem.backends {
        let price = &mut place.price;
        let mut above = 0;
        for _ in 0..dice.below(3) {
            above += 1 + dice.below(6 * GIB);
            price.tiers.push(PriceTier {
                above: ByteCount(above),
                storage_per_gib_month: money(dice, 2.0),
            });
        }
        if dice.one_in(3) {
            price.included_storage = ByteCount(dice.below(6 * GIB));
        }
        if dice.one_in(2) {
            price.base_fee_per_month = money(dice, 4.0);
        }
    }
}

/// A random small estate with tariffs.
pub fn tariffed(seed: u64) -> Problem {
    let mut problem = world(seed);
    put_tariffs(&mut Dice::new(seed ^ 3), &mut problem);
    problem
}
