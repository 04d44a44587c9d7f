//! Which changes would have to go together: an elastic linear program over the backends of one dataset.
//!
//! Every rule, state, limit and count may give way, each at the price of one; the cheapest way to satisfy the dataset
//! names the changes. The program is only ever advice: what it proposes is tried out like any other change.

use std::collections::BTreeMap;

use good_lp::{
    Expression, ProblemVariables, Solution as _, SolverModel, Variable, constraint, microlp, variable,
};

use super::change::{Change, Less};
use super::least::{self, Allowance};
use super::trial::Trial;
use crate::ground::{self, Cause};

/// Combinations that are asked for.
const PROPOSALS: usize = 4;
/// Share of a change below which the program does without it.
const NOISE: f64 = 1e-6;
/// What asking for one copy, group or nine less costs, where a rule costs one: rules are looked at first, since asking for
/// less alone was tried before.
const LESS: f64 = 10.0;

/// What may give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Rule(usize),
    State(usize, usize),
    Capacity(usize),
    Budget(usize),
    Copies(usize),
    Groups(usize, usize),
    Nines(usize),
}

/// Combinations of changes that may satisfy the dataset, the cheapest first.
pub(super) fn proposals(trial: &Trial<'_>) -> Vec<Vec<Change>> {
    let mut known: Vec<Vec<Family>> = Vec::new();
    let mut proposals = Vec::new();
    for _ in 0..PROPOSALS {
        let Some(amounts) = cheapest(trial, &known) else {
            break;
        };
        let families: Vec<_> = amounts.keys().copied().collect();
        if families.is_empty() || known.contains(&families) {
            break;
        }
        proposals.push(changes(trial, &amounts));
        known.push(families);
    }
    proposals
}

/// The program and what it is about.
struct Program {
    variables: ProblemVariables,
    objective: Expression,
    gives: BTreeMap<Family, Variable>,
    rows: Vec<good_lp::Constraint>,
}

impl Program {
    /// By how much a family gives way; at most `most`.
    fn gives(&mut self, family: Family, most: f64, price: f64) -> Variable {
        if let Some(known) = self.gives.get(&family) {
            return *known;
        }
        let gives = self.variables.add(variable().min(0.0).max(most));
        self.objective.add_mul(price, gives);
        self.gives.insert(family, gives);
        gives
    }
}

/// The cheapest families and how much each gives way, other than all of any known combination.
fn cheapest(trial: &Trial<'_>, known: &[Vec<Family>]) -> Option<BTreeMap<Family, f64>> {
    let mut program = Program {
        variables: ProblemVariables::new(),
        objective: Expression::default(),
        gives: BTreeMap::new(),
        rows: Vec::new(),
    };
    let places = places(trial, &mut program)?;
    counts(trial, &mut program, &places);
    budgets(trial, &mut program, &places);
    for families in known {
        let mut sum = Expression::default();
        for family in families {
            sum.add_mul(1.0, *program.gives.get(family)?);
        }
        #[allow(
            clippy::cast_precision_loss,
            reason = "a combination has a handful of members"
        )]
        let fewer = families.len() as f64 - 1.0;
        program.rows.push(constraint!(sum <= fewer));
    }
    let gives = program.gives;
    let mut model = program.variables.minimise(program.objective).using(microlp);
    for row in program.rows {
        model.add_constraint(row);
    }
    let solution = model.solve().ok()?;
    let amounts = gives.into_iter().map(|(family, by)| (family, solution.value(by)));
    Some(amounts.filter(|(_, amount)| *amount > NOISE).collect())
}

/// For each backend that could be made to hold a copy, whether it does; `None` if nothing can be copied at all.
fn places(trial: &Trial<'_>, program: &mut Program) -> Option<BTreeMap<usize, Variable>> {
    let (scene, dataset) = (trial.scene, trial.dataset);
    let (problem, subject) = (scene.problem, &scene.problem.datasets[dataset]);
    let mut places = BTreeMap::new();
    for backend in 0..problem.backends.len() {
        let causes = ground::causes(problem, scene.ground, subject, backend);
        if causes.contains(&Cause::NoSource) {
            return None;
        }
        if causes.contains(&Cause::DamagedOrigin) {
            continue;
        }
        let holds = program.variables.add(variable().min(0.0).max(1.0));
        places.insert(backend, holds);
        let mut families = Vec::new();
        let mut full = !scene.has_room(dataset, backend);
        for cause in causes {
            match cause {
                Cause::Rule(reason) if problem.backends[backend].reasons.contains(&reason) => {
                    families.push(Family::State(backend, reason));
                }
                Cause::Rule(reason) => families.push(Family::Rule(reason)),
                Cause::Overfull => full = true,
                _ => {}
            }
        }
        // What a lifted rule leaves: a copy that must go elsewhere finds the backend full as well.
        if full && !ground::stays_anyway(subject, backend) {
            families.push(Family::Capacity(backend));
        }
        for family in families {
            let gives = program.gives(family, 1.0, 1.0);
            program.rows.push(constraint!(holds <= gives));
        }
    }
    Some(places)
}

/// Copies, groups and nines of every requirement.
fn counts(trial: &Trial<'_>, program: &mut Program, places: &BTreeMap<usize, Variable>) {
    let problem = trial.scene.problem;
    for &position in &problem.datasets[trial.dataset].profile.requirements {
        let requirement = &problem.requirements[position];
        let counting: Vec<_> = places
            .iter()
            .filter(|(backend, _)| requirement.accepts[**backend])
            .collect();
        let most = f64::from(requirement.copies.saturating_sub(1));
        let mut copies = Expression::default();
        copies.add_mul(1.0, program.gives(Family::Copies(position), most, LESS));
        counting
            .iter()
            .for_each(|(_, holds)| copies.add_mul(1.0, **holds));
        program
            .rows
            .push(constraint!(copies >= f64::from(requirement.copies)));
        for (at, spread) in requirement.spread.iter().enumerate() {
            let mut members: BTreeMap<usize, Expression> = BTreeMap::new();
            for (backend, holds) in &counting {
                if let Some(group) = spread.group_of[**backend] {
                    members.entry(group).or_default().add_mul(1.0, **holds);
                }
            }
            let fewer = program.gives(Family::Groups(position, at), f64::from(spread.groups), LESS);
            let mut groups = Expression::default();
            groups.add_mul(1.0, fewer);
            for (_, sum) in members {
                let covered = program.variables.add(variable().min(0.0).max(1.0));
                groups.add_mul(1.0, covered);
                program.rows.push(constraint!(sum - covered >= 0.0));
            }
            program.rows.push(constraint!(groups >= f64::from(spread.groups)));
        }
        if let Some(asked) = &requirement.durability {
            let offers = counting.iter().filter_map(|(backend, holds)| {
                let (domain, milli_nines) = asked.of[**backend]?;
                Some((domain, in_nines(milli_nines), **holds))
            });
            nines(
                program,
                Family::Nines(position),
                in_nines(asked.milli_nines),
                offers,
            );
        }
    }
}

fn in_nines(milli_nines: u32) -> f64 {
    f64::from(milli_nines) / 1000.0
}

/// The nines of one requirement: no failure domain adds more than its best backend does. `offers`: failure domain,
/// nines and whether the backend holds a copy.
fn nines(
    program: &mut Program,
    family: Family,
    wanted: f64,
    offers: impl Iterator<Item = (usize, f64, Variable)>,
) {
    let mut domains: BTreeMap<usize, (Expression, f64)> = BTreeMap::new();
    for (domain, nines, holds) in offers {
        let (sum, best) = domains.entry(domain).or_default();
        sum.add_mul(nines, holds);
        *best = nines.max(*best);
    }
    let mut total = Expression::default();
    total.add_mul(1.0, program.gives(family, wanted, LESS));
    for (sum, best) in domains.into_values() {
        let adds = program.variables.add(variable().min(0.0).max(best));
        total.add_mul(1.0, adds);
        program.rows.push(constraint!(sum - adds >= 0.0));
    }
    program.rows.push(constraint!(total >= wanted));
}

/// What the others leave of every budget.
fn budgets(trial: &Trial<'_>, program: &mut Program, places: &BTreeMap<usize, Variable>) {
    let (scene, dataset) = (trial.scene, trial.dataset);
    let (problem, subject) = (scene.problem, &scene.problem.datasets[dataset]);
    for (at, budget) in scene.ground.budgets.iter().enumerate() {
        let spends = |backend: usize| budget.spends(problem, subject, backend);
        let largest = places.keys().map(|backend| spends(*backend)).fold(0.0, f64::max);
        if largest <= 0.0 {
            continue;
        }
        let own: f64 = scene.solution.sets[dataset].iter().map(|b| spends(*b)).sum();
        let left = (budget.limit() - (scene.spent[at] - own)).max(0.0) / largest;
        let count = f64::from(u32::try_from(places.len()).unwrap_or(u32::MAX));
        let more = program.gives(Family::Budget(at), count, 1.0);
        let mut sum = Expression::default();
        for (backend, holds) in places {
            sum.add_mul(spends(*backend) / largest, *holds);
        }
        program.rows.push(constraint!(sum - more <= left));
    }
}

/// The changes that give way so far; limits without end, to be made less once they are known to help.
fn changes(trial: &Trial<'_>, amounts: &BTreeMap<Family, f64>) -> Vec<Change> {
    let problem = trial.scene.problem;
    let mut lowered: BTreeMap<usize, Less> = BTreeMap::new();
    let mut changes = Vec::new();
    let stated = |position: usize| Less::stated(position, &problem.requirements[position]);
    for (family, amount) in amounts {
        // Counts are at most a hundred or so.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of copies or of thousandths of a nine"
        )]
        let count = |amount: f64| (amount - NOISE).ceil().max(0.0) as u32;
        match *family {
            Family::Rule(reason) => changes.push(Change::Lift(reason)),
            Family::State(backend, reason) => changes.push(Change::State { backend, reason }),
            Family::Capacity(backend) => changes.push(least::whole_capacity(trial, backend)),
            Family::Budget(at) => changes.push(least::without_limit(trial, Allowance::of(trial, at))),
            Family::Copies(position) => {
                let less = lowered.entry(position).or_insert_with(|| stated(position));
                less.copies = less.copies.saturating_sub(count(*amount)).max(1);
            }
            Family::Groups(position, at) => {
                let less = lowered.entry(position).or_insert_with(|| stated(position));
                less.groups[at] = less.groups[at].saturating_sub(count(*amount));
            }
            Family::Nines(position) => {
                let less = lowered.entry(position).or_insert_with(|| stated(position));
                let fewer = count(amount * 1000.0);
                less.milli_nines = less.milli_nines.map(|nines| nines.saturating_sub(fewer));
            }
        }
    }
    changes.extend(lowered.into_values().map(Change::Require));
    changes
}
