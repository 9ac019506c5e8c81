//! The trace around a moment that an address names (D-30, D-53).

use std::fmt::Write as _;

use turnkeep_harness::report;
use turnkeep_harness::trace::{Entry, Event};

/// How many entries are shown on each side of the moment.
const AROUND: usize = 15;

/// Writes the entries around `ms`, bytes on the network left out, with a mark where the moment is.
pub(super) fn around(entries: &[Entry], ms: u64) -> String {
    let told: Vec<&Entry> = entries.iter().filter(|entry| !matches!(entry.event, Event::Net { .. })).collect();
    let at = told.partition_point(|entry| entry.ms < ms);
    let first = at.saturating_sub(AROUND);
    let last = (at + AROUND).min(told.len());
    let mut text = String::new();
    for (index, entry) in told.iter().enumerate().take(last).skip(first) {
        if index == at {
            let _ = writeln!(text, "---- {ms} ms ----");
        }
        let _ = writeln!(text, "{}", report::line(entry));
    }
    if at == last {
        let _ = writeln!(text, "---- {ms} ms ----");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(n: u64) -> Vec<Entry> {
        let entry = |ms| Entry { n: ms as usize, ms, host: "session".to_owned(), event: Event::Boot { boot: ms } };
        (0..n).map(entry).collect()
    }

    #[track_caller]
    fn check(n_entries: u64, ms: u64, before: usize, after: usize) {
        let text = around(&entries(n_entries), ms);

        let lines: Vec<&str> = text.lines().collect();
        let mark = lines.iter().position(|line| line.starts_with("----")).unwrap();
        assert_eq!((mark, lines.len() - mark - 1), (before, after), "{text}");
    }

    #[test]
    fn the_moment_is_marked_between_what_came_before_and_what_came_then() {
        check(100, 50, AROUND, AROUND);
        check(100, 0, 0, AROUND);
        check(100, 99, AROUND, 1);
        check(100, 1000, AROUND, 0);
        check(0, 5, 0, 0);
    }
}
