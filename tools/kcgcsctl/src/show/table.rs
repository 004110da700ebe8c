// SPDX-License-Identifier: GPL-2.0

//! Tables without lines, as all commands show them.

use comfy_table::{presets, Table};

/// An empty table with these heads of columns.
pub(super) fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(heads.to_vec());
    table
}

/// The lines of the table, without blanks at their ends.
pub(super) fn text_of(mut table: Table) -> String {
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}
