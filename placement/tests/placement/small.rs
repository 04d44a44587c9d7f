//! Random estates of up to 200 pairs of a dataset and a backend, each of them difficult in one way.

use domicile_estate::{ByteCount, DatasetSummary};
use domicile_placement::{Durability, Hop, Problem, Subject};

use crate::world::{Dice, GIB, Shape, set_budgets, shaped, used};

/// Datasets and backends.
const SIZES: [(u64, u64); 6] = [(20, 10), (25, 8), (40, 5), (10, 20), (50, 4), (66, 3)];

const PIB: u64 = 1 << 50;

/// What makes an estate difficult.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twist {
    /// Little room beside what lies there now.
    Tight,
    /// Room for half of what is asked for.
    HalfRoom,
    /// The same, with many priorities.
    Priorities,
    /// Budgets for cost and carbon on every policy.
    Budgets,
    /// Every backend costs the same.
    EqualPrices,
    /// Every dataset has the same size.
    EqualSizes,
    /// Sizes from 0 to 10 PiB.
    AllSizes,
    /// Dear and forbidden ways.
    Links,
    /// Durability.
    Nines,
    /// Damage, over-full backends, fallbacks, unknown copies.
    Odd,
}

impl Twist {
    pub const ALL: [Self; 10] = [
        Self::Tight,
        Self::HalfRoom,
        Self::Priorities,
        Self::Budgets,
        Self::EqualPrices,
        Self::EqualSizes,
        Self::AllSizes,
        Self::Links,
        Self::Nines,
        Self::Odd,
    ];
}

/// The estate of a seed: sizes and twists take turns.
pub fn estate(seed: u64) -> (Twist, Problem) {
    let twists = Twist::ALL.len() as u64;
    let twist = Twist::ALL[(seed % twists) as usize];
    let size = SIZES[(seed / twists % SIZES.len() as u64) as usize];
    (twist, of(seed, twist, size))
}

/// An estate of so many datasets and backends.
pub fn of(seed: u64, twist: Twist, (datasets, backends): (u64, u64)) -> Problem {
    let mut dice = Dice::new(seed);
    let shape = Shape {
        backends,
        datasets,
        policies: 1 + dice.below(3),
        spare: dice.pick(&[0.05, 0.1, 0.2, 0.3]),
        odd: twist == Twist::Odd,
    };
    let mut problem = shaped(&mut dice, shape);
    match twist {
        Twist::Tight | Twist::Odd => {}
        Twist::HalfRoom => halve_room(&mut dice, &mut problem),
        Twist::Priorities => {
            for subject in &mut problem.datasets {
                std::sync::Arc::make_mut(&mut subject.profile).priority = dice.pick(&[-1, 0, 5, 9]);
            }
            halve_room(&mut dice, &mut problem);
        }
        Twist::Budgets => {
            for terms in &mut problem.policies {
                terms.cost_per_month = Some(0.0);
                terms.carbon_kg_per_month = dice.one_in(2).then_some(0.0);
            }
            set_budgets(&mut dice, &mut problem);
        }
        Twist::EqualPrices => {
            let (price, energy) = (
                problem.backends[0].price.clone(),
                problem.backends[0].energy.clone(),
            );
            for place in &mut problem.backends {
                (place.price, place.energy) = (price.clone(), energy.clone());
            }
        }
        Twist::EqualSizes => {
            resize(&mut problem, |_| vec![ByteCount(GIB)]);
            fill(&mut dice, &mut problem, shape.spare);
        }
        Twist::AllSizes => {
            resize(&mut problem, |index| any_sizes(&mut dice, index));
            fill(&mut dice, &mut problem, shape.spare);
        }
        Twist::Links => link(&mut dice, &mut problem),
        Twist::Nines => endure(&mut dice, &mut problem),
    }
    problem
}

/// Only the origins are there, and the backends have room for half of the copies that are asked for.
fn halve_room(dice: &mut Dice, problem: &mut Problem) {
    for subject in &mut problem.datasets {
        subject.copies.retain(|held| held.origin);
    }
    let requirements = &problem.requirements;
    let asked = |subject: &Subject| -> u64 {
        let copies = subject
            .profile
            .requirements
            .iter()
            .map(|r| requirements[*r].copies);
        copies.max().unwrap_or(0).into()
    };
    let bytes: u64 = problem
        .datasets
        .iter()
        .map(|subject| subject.summary.bytes.0 * asked(subject))
        .sum();
    let each = bytes as f64 / problem.backends.len() as f64;
    for backend in 0..problem.backends.len() {
        let room = (each * (0.2 + 0.6 * dice.share())) as u64;
        problem.backends[backend].capacity = ByteCount(room.max(used(problem, backend)));
    }
}

/// Capacities as in [`shaped`], once sizes have changed.
fn fill(dice: &mut Dice, problem: &mut Problem, spare: f64) {
    let bytes: u64 = problem
        .datasets
        .iter()
        .map(|subject| subject.summary.bytes.0)
        .sum();
    for backend in 0..problem.backends.len() {
        let room = (bytes as f64 * spare * 2.0 * dice.share()) as u64;
        problem.backends[backend].capacity = ByteCount(used(problem, backend) + room);
    }
}

fn resize(problem: &mut Problem, mut sizes: impl FnMut(usize) -> Vec<ByteCount>) {
    let minimums: Vec<_> = problem
        .backends
        .iter()
        .map(|place| place.price.min_object_size)
        .collect();
    for (index, subject) in problem.datasets.iter_mut().enumerate() {
        subject.summary = DatasetSummary::of_sizes(sizes(index).into_iter(), &minimums);
    }
}

/// Nothing at all for some datasets; for the others anything from a byte to 10 PiB.
fn any_sizes(dice: &mut Dice, index: usize) -> Vec<ByteCount> {
    match index % 10 {
        0 => Vec::new(),
        1 => vec![ByteCount(10 * PIB)],
        _ => vec![ByteCount((10.0 * PIB as f64).powf(dice.share()) as u64)],
    }
}

/// Prices and prohibitions on one way in three; no relays, which the reference does not know.
fn link(dice: &mut Dice, problem: &mut Problem) {
    let count = problem.backends.len();
    let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
    for way in pairs.filter(|(from, to)| from != to) {
        if dice.one_in(3) {
            let hop = Hop {
                forbidden: dice.one_in(2),
                price_per_gib: (!dice.one_in(3)).then(|| 4.0 * dice.share()),
                ..Hop::default()
            };
            problem.links.insert(way, hop);
        }
    }
}

fn endure(dice: &mut Dice, problem: &mut Problem) {
    let backend = |dice: &mut Dice| {
        let nines = 1_000 + 500 * dice.below(9) as u32;
        (!dice.one_in(4)).then(|| (dice.below(3) as usize, nines))
    };
    let of: Vec<_> = problem.backends.iter().map(|_| backend(dice)).collect();
    for requirement in &mut problem.requirements {
        requirement.durability = (!dice.one_in(3)).then(|| Durability {
            milli_nines: 1_000 + 250 * dice.below(40) as u32,
            of: of.clone(),
        });
    }
}
