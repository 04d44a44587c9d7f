//! Tables as Kubernetes draws them: upper-case headings, no lines, one thing a row.

use comfy_table::{Cell, ContentArrangement, Table, presets};

/// A table with headings.
pub fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
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
