//! The linear program over patterns: which mix of the known patterns is best, and what room and budgets are worth.
//!
//! Its answers are only ever advice. Prices become a bound by exact pricing, and mixes become placements by rounding,
//! so that nothing depends on how well the LP was solved.

use good_lp::{
    Constraint, DualValues, Expression, ProblemVariables, Solution as _, SolutionWithDual, SolverModel,
    Variable, clarabel, constraint, microlp, variable,
};

use super::pattern::Pattern;
use super::pricing::Market;
use super::rows::RowPrices;

/// One row of the LP that may bind.
struct Row {
    kind: RowKind,
    /// What the row is divided by, so that its numbers are near 1.
    scale: f64,
    limit: f64,
}

#[derive(Clone, Copy)]
enum RowKind {
    Room(usize),
    Budget(usize),
    Level(usize),
}

/// The best mix of the patterns known for each choice.
pub(crate) struct Mix {
    /// For each choice, for each of its patterns, its share.
    pub shares: Vec<Vec<f64>>,
    /// The prices of the rows.
    pub prices: RowPrices,
}

/// Prices and a mix by the interior-point method; `None` if it fails.
pub(crate) fn prices(market: &Market<'_>, patterns: &[Vec<Pattern>]) -> Option<Mix> {
    let model = Model::of(market, patterns);
    let mut problem = model
        .variables
        .clone()
        .minimise(model.objective.clone())
        .using(clarabel);
    let mut limits = Vec::new();
    model.choices().for_each(|row| {
        problem.add_constraint(row);
    });
    model
        .shared(market, patterns)
        .into_iter()
        .for_each(|row| limits.push(problem.add_constraint(row)));
    let mut solution = problem.solve().ok()?;
    let shares = model.shares(|share| solution.value(share));
    let duals = solution.compute_dual();
    let mut prices = RowPrices::zero(market.task, market.levels);
    for (row, reference) in model.rows.iter().zip(limits) {
        // A `<=` row of a minimum has a dual at or below zero; a price is its opposite.
        let price = (-duals.dual(reference) * model.unit / row.scale).max(0.0);
        let price = if price.is_finite() { price } else { 0.0 };
        match row.kind {
            RowKind::Room(backend) => prices.room[backend] = price,
            RowKind::Budget(budget) => prices.budgets[budget] = price,
            RowKind::Level(level) => prices.levels[level] = price,
        }
    }
    Some(Mix { shares, prices })
}

/// A mix at a vertex, where few choices are split; `None` if the simplex method fails.
pub(crate) fn vertex(market: &Market<'_>, patterns: &[Vec<Pattern>]) -> Option<Vec<Vec<f64>>> {
    let model = Model::of(market, patterns);
    let mut problem = model
        .variables
        .clone()
        .minimise(model.objective.clone())
        .using(microlp);
    let rows = model.choices().chain(model.shared(market, patterns));
    rows.for_each(|row| {
        problem.add_constraint(row);
    });
    let solution = problem.solve().ok()?;
    Some(model.shares(|share| solution.value(share)))
}

struct Model {
    variables: ProblemVariables,
    shares: Vec<Vec<Variable>>,
    objective: Expression,
    /// What the objective is divided by.
    unit: f64,
    rows: Vec<Row>,
}

impl Model {
    fn of(market: &Market<'_>, patterns: &[Vec<Pattern>]) -> Self {
        let mut variables = ProblemVariables::new();
        let shares: Vec<Vec<Variable>> = patterns
            .iter()
            .map(|of_choice| {
                of_choice
                    .iter()
                    .map(|_| variables.add(variable().min(0.0)))
                    .collect()
            })
            .collect();
        let measure = |index: usize, pattern: &Pattern| {
            market.aim.measure(market.task.choices[index].priority, pattern)
        };
        let largest = patterns
            .iter()
            .enumerate()
            .flat_map(|(index, of)| of.iter().map(move |p| measure(index, p)));
        let unit = largest.fold(0.0, f64::max);
        let unit = if unit > 0.0 { unit } else { 1.0 };
        let mut objective = Expression::with_capacity(patterns.iter().map(Vec::len).sum());
        for (index, of_choice) in patterns.iter().enumerate() {
            for (share, pattern) in shares[index].iter().zip(of_choice) {
                objective.add_mul(measure(index, pattern) / unit, *share);
            }
        }
        Self {
            variables,
            shares,
            objective,
            unit,
            rows: binding_rows(market, patterns),
        }
    }

    /// Each choice takes one pattern, or a mix that adds up to one.
    fn choices(&self) -> impl Iterator<Item = Constraint> + '_ {
        self.shares.iter().map(|shares| {
            let mut sum = Expression::with_capacity(shares.len());
            shares.iter().for_each(|share| sum.add_mul(1.0, *share));
            constraint!(sum == 1.0)
        })
    }

    fn shared(&self, market: &Market<'_>, patterns: &[Vec<Pattern>]) -> Vec<Constraint> {
        let mut sums: Vec<_> = self.rows.iter().map(|_| Expression::default()).collect();
        for (index, of_choice) in patterns.iter().enumerate() {
            for (share, pattern) in self.shares[index].iter().zip(of_choice) {
                for (sum, row) in sums.iter_mut().zip(&self.rows) {
                    let uses = uses(market, row.kind, index, pattern);
                    if uses > 0.0 {
                        sum.add_mul(uses / row.scale, *share);
                    }
                }
            }
        }
        sums.into_iter()
            .zip(&self.rows)
            .map(|(sum, row)| constraint!(sum <= row.limit / row.scale))
            .collect()
    }

    fn shares(&self, value: impl Fn(Variable) -> f64) -> Vec<Vec<f64>> {
        self.shares
            .iter()
            .map(|shares| shares.iter().map(|share| value(*share)).collect())
            .collect()
    }
}

/// What a pattern uses of a row.
fn uses(market: &Market<'_>, row: RowKind, index: usize, pattern: &Pattern) -> f64 {
    let choice = &market.task.choices[index];
    match row {
        RowKind::Room(backend) if pattern.takes.contains(&backend) => choice.bytes as f64,
        RowKind::Room(_) => 0.0,
        RowKind::Budget(budget) => pattern.spends[budget],
        RowKind::Level(level) => market.levels.settled[level].aim.measure(choice.priority, pattern),
    }
}

/// The rows that the known patterns could break; the others are free.
fn binding_rows(market: &Market<'_>, patterns: &[Vec<Pattern>]) -> Vec<Row> {
    let limits = &market.task.limits;
    let room = limits
        .room
        .iter()
        .enumerate()
        .map(|(backend, room)| (RowKind::Room(backend), *room as f64));
    let budgets = limits
        .budgets
        .iter()
        .enumerate()
        .map(|(budget, limit)| (RowKind::Budget(budget), *limit));
    let settled = market.levels.settled.iter().enumerate();
    let settled = settled.map(|(level, settled)| (RowKind::Level(level), settled.at_most));
    let binds = |(kind, limit): (RowKind, f64)| {
        let most_of = |(index, of_choice): (usize, &Vec<Pattern>)| -> f64 {
            of_choice
                .iter()
                .map(|pattern| uses(market, kind, index, pattern))
                .fold(0.0, f64::max)
        };
        let most: Vec<_> = patterns.iter().enumerate().map(most_of).collect();
        let largest = most.iter().copied().fold(0.0, f64::max);
        let scale = largest.max(limit.abs() / most.len().max(1) as f64);
        (most.iter().sum::<f64>() > limit && scale > 0.0).then_some(Row { kind, scale, limit })
    };
    room.chain(budgets).chain(settled).filter_map(binds).collect()
}
