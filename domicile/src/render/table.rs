//! Tables as Kubernetes draws them: upper-case headings, no lines, one thing a row.

use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Table, Width, presets};

use crate::terminal;

/// Rows of a long table that are drawn at once.
const PAGE: usize = 4_096;
/// Columns of space that the library leaves at both sides of a cell.
const MARGIN: u16 = 2;

fn plain() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// A table with headings.
pub fn table(headings: &[&str]) -> Table {
    let mut table = plain();
    table.set_header(headings.iter().map(|heading| Cell::new(heading.to_uppercase())));
    table
}

/// The table as text, without the margin that the library leaves at the left and right.
pub fn text(table: &Table) -> String {
    let lines = table
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// Answers with a table of any length, page by page: a million rows as cells would need many times the memory of their
/// text. The rows are made twice, once for the widths of the columns.
pub fn answer_long(headings: &[&str], rows: impl Iterator<Item = Vec<String>> + Clone) {
    let mut widths = table(headings).column_max_content_widths();
    each_page(rows.clone(), plain(), |page| {
        let wider = page.column_max_content_widths();
        widths
            .iter_mut()
            .zip(wider)
            .for_each(|(width, other)| *width = (*width).max(other));
    });
    each_page(rows, table(headings), |page| {
        page.set_constraints(
            widths
                .iter()
                .map(|width| ColumnConstraint::LowerBoundary(Width::Fixed(width + MARGIN))),
        );
        terminal::answer(&text(page));
    });
}

/// Hands on the rows by pages, the first of them in the table given, also if there are none.
fn each_page(mut rows: impl Iterator<Item = Vec<String>>, first: Table, mut done: impl FnMut(&mut Table)) {
    let mut page = first;
    loop {
        page.add_rows(rows.by_ref().take(PAGE));
        done(&mut page);
        if page.row_count() < PAGE {
            return;
        }
        page = plain();
    }
}
