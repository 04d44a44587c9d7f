//! The frontier of cost and carbon for people: a table, and a plot in plain characters.

use std::fmt::Write as _;

use domicile_estate::ByteCount;
use domicile_placement::{Frontier, ParetoPoint, Problem};

use crate::amount;
use crate::render::table;

/// Characters of the plot's field.
const WIDTH: usize = 60;
/// Lines of the plot's field.
const HEIGHT: usize = 16;
/// Datasets that a row names.
const NAMED: usize = 3;
/// What marks the plans, in the table and in the plot.
const MARKS: &str = "123456789abcdefghijklmnopqrstuvwxyz";

/// Draws a frontier.
pub fn draw(frontier: &Frontier, problem: &Problem) -> String {
    let mut text = String::new();
    let currency = &problem.currency;
    let money = format!("{currency}/month");
    let less = format!("{currency} per tonne less");
    let mut table = table::table(&["", &money, "kg CO2e/month", &less, "to move", "placed otherwise"]);
    for (at, point) in frontier.points.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &frontier.points[before]);
        table.add_row([
            mark(at).to_string(),
            amount::number(point.cost()),
            amount::number(point.carbon_kg),
            before.map_or_else(String::new, |before| amount::number(per_tonne(before, point))),
            ByteCount(point.bytes).to_string(),
            otherwise(problem, point),
        ]);
    }
    let _ = writeln!(text, "{}", table::text(&table));
    if frontier.points.len() > 1 {
        let _ = writeln!(text);
        plot(&mut text, &frontier.points, &money);
    } else {
        let _ = writeln!(text, "the cheapest plan is also the greenest");
    }
    if !frontier.complete {
        let _ = writeln!(text, "there may be further plans between these");
    }
    text
}

/// What a tonne less costs between two neighbours.
pub fn per_tonne(cheaper: &ParetoPoint, greener: &ParetoPoint) -> f64 {
    (greener.cost() - cheaper.cost()) / (cheaper.carbon_kg - greener.carbon_kg) * 1000.0
}

fn mark(at: usize) -> char {
    MARKS.chars().nth(at).unwrap_or('*')
}

/// The datasets that lie elsewhere than in the cheapest plan.
fn otherwise(problem: &Problem, point: &ParetoPoint) -> String {
    let mut names: Vec<_> = point
        .changed
        .iter()
        .take(NAMED)
        .map(|dataset| problem.datasets[*dataset].name.to_string())
        .collect();
    if point.changed.len() > NAMED {
        names.push(format!("and {} more", point.changed.len() - NAMED));
    }
    names.join(", ")
}

/// Cost upwards, carbon to the right; lines between neighbours in dots.
fn plot(text: &mut String, points: &[ParetoPoint], money: &str) {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return;
    };
    let (lowest, highest) = (first.cost(), last.cost());
    let (greenest, most) = (last.carbon_kg, first.carbon_kg);
    let share = |value: f64, from: f64, to: f64| {
        if to > from {
            (value - from) / (to - from)
        } else {
            0.0
        }
    };
    let column = |kg: f64| (share(kg, greenest, most) * (WIDTH - 1) as f64).round() as usize;
    let row = |cost: f64| (share(cost, lowest, highest) * (HEIGHT - 1) as f64).round() as usize;
    let mut field = vec![vec![' '; WIDTH]; HEIGHT];
    for pair in points.windows(2) {
        for step in 0..=WIDTH {
            let along = step as f64 / WIDTH as f64;
            let between = |a: f64, b: f64| a + (b - a) * along;
            let kg = between(pair[0].carbon_kg, pair[1].carbon_kg);
            let cost = between(pair[0].cost(), pair[1].cost());
            field[row(cost)][column(kg)] = '.';
        }
    }
    // The cheapest last, so that of marks in one place it is seen.
    for (at, point) in points.iter().enumerate().rev() {
        field[row(point.cost())][column(point.carbon_kg)] = mark(at);
    }
    let labels = [amount::number(highest), amount::number(lowest)];
    let margin = labels.iter().map(String::len).max().unwrap_or(0);
    let _ = writeln!(text, "{:>margin$}", money);
    for (from_top, line) in field.iter().rev().enumerate() {
        let label = match from_top {
            0 => labels[0].as_str(),
            last if last == HEIGHT - 1 => labels[1].as_str(),
            _ => "",
        };
        let line: String = line.iter().collect();
        let _ = writeln!(text, "{label:>margin$} |{}", line.trim_end());
    }
    let _ = writeln!(text, "{:margin$} +{}", "", "-".repeat(WIDTH));
    let (left, right) = (amount::number(greenest), amount::carbon_per_month(most));
    let gap = WIDTH.saturating_sub(left.len());
    let _ = writeln!(text, "{:margin$}  {left}{right:>gap$}", "");
}
