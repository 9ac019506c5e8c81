//! The little Markdown that the house's pages are read by: rows of a table, and what of a line is code.

/// Gives the cells of a table's row; none for any other line. A bar inside code divides cells as well, so our tables have none.
pub(crate) fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.trim().strip_prefix('|')?.trim_end_matches('|');
    Some(row.split('|').map(str::trim).collect())
}

/// Gives the pieces of a line between backquotes.
pub(crate) fn code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Gives the pieces of a line that are no code.
pub(crate) fn prose(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_cells_and_any_other_line_none() {
        assert_eq!(cells("  | A-1 | a b |  |"), Some(vec!["A-1", "a b", ""]));
        assert_eq!(cells("| A-1 | a b"), Some(vec!["A-1", "a b"]));
        assert_eq!(cells("A-1 | a b"), None);
    }

    #[test]
    fn every_second_piece_between_backquotes_is_code() {
        let line = "see `a` and `b`";

        assert_eq!(code(line).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(prose(line).collect::<Vec<_>>(), ["see ", " and ", ""]);
    }
}
